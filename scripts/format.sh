#!/usr/bin/env bash
# Formats our C++ sources; with --check it changes nothing and fails when something would change.
. "$(dirname "$0")/lib.sh"

tool="$(clang_format_tool)"
if [ -z "$tool" ]; then
  echo "no clang-format $CLANG_FORMAT_VERSION on this machine; other versions format otherwise"
  if [ "${1:-}" = --check ]; then exit 77; fi
  exit 1
fi
mapfile -t files < <(sources '*.hpp' '*.cpp' '*.h')
if [ ${#files[@]} = 0 ]; then exit 0; fi
if [ "${1:-}" = --check ]; then
  if ! "$tool" --dry-run --Werror "${files[@]}"; then echo "make format puts this right"; exit 1; fi
else
  "$tool" -i "${files[@]}"
fi
