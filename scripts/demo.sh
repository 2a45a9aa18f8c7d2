#!/usr/bin/env bash
# Builds the tool and the demo's two parts, quietly, and runs them: fewest keys moved, and a rollout under guard. CANARY_DEMO_PRESET: where they are built, preset demo unless set.
. "$(dirname "$0")/lib.sh"

mkdir -p build
log=build/demo.log preset="${CANARY_DEMO_PRESET:-demo}"
say "building (log in $log)"
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target canary_cli canary_demo canary_story; } >"$log" 2>&1 </dev/null; then
  tail -n 60 "$log" >&2
  die "the build failed"
fi
"build/$preset/examples/canary_demo" </dev/null
say "a rollout under guard"
exec "build/$preset/examples/canary_story" </dev/null
