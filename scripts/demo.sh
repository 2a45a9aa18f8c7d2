#!/usr/bin/env bash
# Builds the tool and the demo, quietly, and runs the demo. CANARY_DEMO_PRESET: where they are built, preset demo unless set.
. "$(dirname "$0")/lib.sh"

mkdir -p build
log=build/demo.log preset="${CANARY_DEMO_PRESET:-demo}"
say "building (log in $log)"
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target canary_cli canary_demo; } >"$log" 2>&1 </dev/null; then
  tail -n 60 "$log" >&2
  die "the build failed"
fi
exec "build/$preset/examples/canary_demo" "$@" </dev/null
