#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each for long:  scripts/fuzz.sh [SECONDS_PER_TARGET]
# A target NAME starts from tests/fuzz/corpus/NAME, if there is one; what it finds on the way stays in build/.
. "$(dirname "$0")/lib.sh"

seconds="${1:-600}"
if [ -z "$(llvm_tool clang++)" ]; then echo "no clang on this machine"; exit 77; fi
cmake --preset fuzz
cmake --build --preset fuzz

status=0
for program in build/fuzz/tests/fuzz/fuzz_*; do
  if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
  name="${program##*/}"
  found="build/fuzz/found/$name"
  mkdir -p "$found"
  given=()
  if [ -d "tests/fuzz/corpus/$name" ]; then given+=("tests/fuzz/corpus/$name"); fi
  if [ -e "tests/fuzz/${name#fuzz_}.dict" ]; then given+=("-dict=tests/fuzz/${name#fuzz_}.dict"); fi
  # Another seed every time, unlike the bounded runs of the tests: long runs are there to find what is new.
  if "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$found-" "$found" "${given[@]}"; then
    echo "PASS fuzz: $name for $seconds s"
  else
    echo "FAIL fuzz: $name; the input is at $found-*"
    status=1
  fi
done
exit "$status"
