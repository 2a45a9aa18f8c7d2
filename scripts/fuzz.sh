#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each:  scripts/fuzz.sh SECONDS_PER_TARGET
# A target NAME starts from tests/fuzz/corpus/NAME, if there is one; what it finds on the way stays in build/.
. "$(dirname "$0")/lib.sh"

seconds="${1:-40}"
if [ -z "$(llvm_tool clang++)" ]; then echo "no clang on this machine"; exit 77; fi
cmake --preset fuzz
cmake --build --preset fuzz

status=0
for program in build/fuzz/tests/fuzz/fuzz_*; do
  if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
  name="${program##*/}"
  found="build/fuzz/found/$name"
  mkdir -p "$found"
  seeds=()
  for folder in "tests/fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}"; do
    if [ -d "$folder" ]; then seeds+=("$folder"); fi
  done
  # A fixed seed: a failure in CI is one that can be had again.
  if "$program" -seed=20231116 -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$found-" "$found" "${seeds[@]}"; then
    echo "PASS fuzz: $name for $seconds s"
  else
    echo "FAIL fuzz: $name; the input is at $found-*"
    status=1
  fi
done
exit "$status"
