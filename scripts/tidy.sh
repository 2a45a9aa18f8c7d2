#!/usr/bin/env bash
# clang-tidy over the public headers, by those that include all others, and over the tool; it reads the compile commands
# of preset dev.
. "$(dirname "$0")/lib.sh"

tool="$(clang_tidy_tool)"
if [ -z "$tool" ]; then echo "no clang-tidy $CLANG_TIDY_VERSION on this machine"; exit 77; fi
cmake --preset dev >/dev/null
cmake --build --preset dev --target all_verify_interface_header_sets >/dev/null

# g++'s warnings are not clang's.
mapfile -t units < <(
  python3 - <<'PYTHON'
import json
import re
for entry in json.load(open("build/dev/compile_commands.json")):
    if re.search(r"header_sets/canary/(canary\.hpp|adapters/)|/tools/canary/", entry["file"]):
        print(entry["file"])
PYTHON
)
printf '%s\n' "${units[@]}" |
  xargs -n 1 -P "$(nproc)" "$tool" --quiet -p build/dev --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-error
