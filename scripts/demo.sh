#!/usr/bin/env bash
# Builds the tool and the demo, quietly, and runs the demo.
. "$(dirname "$0")/lib.sh"

mkdir -p build
log=build/demo.log
say "building (log in $log)"
if ! { cmake --preset demo && cmake --build --preset demo; } >"$log" 2>&1 </dev/null; then
  tail -n 60 "$log" >&2
  die "the build failed"
fi
exec build/demo/examples/canary_demo "$@" </dev/null
