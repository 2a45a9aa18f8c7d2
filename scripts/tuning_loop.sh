#!/usr/bin/env bash
# The whole way from recorded interactions to routed traffic, and the five services of examples/, against a server of somebody
# else's that speaks as OpenAI does (tests/tuning, from npm):  scripts/tuning_loop.sh [BUILD_DIR]
#
# BUILD_DIR is build/release unless given, and built. Exit status 77 where that server cannot run.
. "$(dirname "$0")/lib.sh"
build="${1:-build/release}"

have node || { echo "no Node.js on this machine"; exit 77; }
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 15) ? 0 : 1)' ||
  { echo "that server needs Node.js 20.15, this is $(node --version)"; exit 77; }
test="$build/tests/cli/canary_test_tuning" services="$build/examples/canary_example_05_services"
[ -x "$test" ] && [ -x "$services" ] || { echo "not built: $test, $services"; exit 1; }

# Installed once per lock file, so that a second run needs no network.
if [ ! tests/tuning/node_modules/.package-lock.json -nt tests/tuning/package-lock.json ]; then
  (cd tests/tuning && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier >/dev/null)
fi

port="$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')"
log="$(mktemp)"
(cd tests/tuning && exec node_modules/.bin/llmock -h 127.0.0.1 -p "$port" -f fixtures --metrics) >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for ((i = 0; ; ++i)); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  if [ "$i" = 300 ] || ! kill -0 "$server" 2>/dev/null; then cat "$log"; echo "that server did not start"; exit 1; fi
  sleep 0.1
done
export no_proxy=127.0.0.1

failed=0
run() {
  local name="$1" out status=0
  shift
  out="$("$@" 2>&1)" || status=$?
  if [ "$status" = 0 ]; then echo "PASS tuning_loop/$name"; else failed=1; echo "FAIL tuning_loop/$name"; printf '%s\n' "$out"; fi
}
run "the whole loop" env CANARY_TEST_AIMOCK="http://127.0.0.1:$port" "$test" \
  "tuning loop: the same against a server of somebody else's"

services_answer() {
  local out
  out="$(CANARY_CHAT_URL="http://127.0.0.1:$port/v1" "$services" data/visa.toml)" || { printf '%s\n' "$out"; return 1; }
  printf '%s\n' "$out"
  local expected
  for expected in "^checklist_enrichment  *checklist_enrichment@1 *split *passport, photo, proof of funds$" \
    "^checklist_enrichment  *checklist_enrichment@default *split *passport" "^document_check  *document_check@default" \
    "^risk_explanation  *risk_explanation@default" "^document_explanation  *document_explanation@default" \
    "^rules_extraction  *rules_extraction@default" "^forced:  *checklist_enrichment@forced *forced " \
    "^recorded: checklist_enrichment@1 split [1-9]" "^recorded: checklist_enrichment@default split [1-9]" \
    "^recorded: checklist_enrichment@forced forced 1$" "^recorded: rules_extraction@default fallback 1$" \
    "^store away:  *checklist_enrichment@default *fallback "; do
    grep -q "$expected" <<<"$out" || { echo "missing: $expected"; return 1; }
  done
}
run "five services" services_answer
exit "$failed"
