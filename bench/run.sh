#!/usr/bin/env bash
# Runs every bench and draws the report:  bench/run.sh [--quick] [BUILD_DIR]
#
# BUILD_DIR is where the programs are, build/release/bench unless given (`make bench` builds them first). Raw results and
# the report go to bench/results/; with --quick, a minute's run for a look, to BUILD_DIR/results instead.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
command_line="bench/run.sh${*:+ $*}"

quick=no build=''
for argument in "$@"; do
  case "$argument" in
    --quick) quick=yes ;;
    -*) echo "usage: $0 [--quick] [BUILD_DIR]" >&2; exit 2 ;;
    *) build="$argument" ;;
  esac
done
build="$(cd "${build:-$here/../build/release/bench}" && pwd)"
[ -x "$build/bench_route" ] || { echo "no benches in $build: run make bench" >&2; exit 1; }

results="$here/results" repetitions=9 rounds=15 round_ms=250 changes=300 sink_rows=10000000 tool_rows=2000000 tool_examples=1000000 dataset_mb=600 compile_runs=5 headers=() filter=.
if [ "$quick" = yes ]; then
  results="$build/results" repetitions=3 rounds=4 round_ms=150 changes=60 sink_rows=300000 tool_rows=200000 tool_examples=50000 dataset_mb=60 compile_runs=1
  headers=(canary/canary.hpp canary/engine.hpp canary/adapters/json_dataset.hpp)
  filter='-(tasks:1000000|key:(8|16|64)/.*tasks:1000)'
fi
mkdir -p "$results"

say() { printf '== %s (%s s so far)\n' "$*" "$SECONDS"; }
bench() {
  local program="$1" name="$2"
  shift 2
  say "$name"
  "$build/$program" --benchmark_repetitions="$repetitions" --benchmark_enable_random_interleaving=true \
    --benchmark_report_aggregates_only=true --benchmark_out="$results/$name.json" --benchmark_out_format=json \
    --benchmark_filter="$filter" "$@" >"$results/$name.log" 2>&1 ||
    { cat "$results/$name.log"; echo "$name failed" >&2; exit 1; }
  grep -q '"error_occurred": true' "$results/$name.json" && { grep -B12 error_message "$results/$name.json"; exit 1; }
  # Whose machine it was is nobody's business.
  sed -i 's|"executable": ".*/|"executable": "|; /"host_name"/d' "$results/$name.json"
  rm "$results/$name.log"
}

bench bench_route route
bench bench_route_native route_native --benchmark_filter='(key:(36|u64))/versions:2/tasks:held/.*threads:1$'
bench bench_select select
bench bench_snapshot snapshot
bench bench_publish publish --benchmark_repetitions=$(((repetitions + 1) / 2))
CANARY_BENCH_FOLDER="$build" bench bench_record record  # its rings in files lie where the build does
say tail
"$build/bench_tail" --rounds "$rounds" --round-ms "$round_ms" --out "$results/tail.json"
store_work="$(mktemp -d "$build/store.XXXXXX")"
server_work="$(mktemp -d)"  # where the server's own user may go, which a home need not be
trap 'rm -rf "$store_work" "$server_work"' EXIT
# With PostgreSQL where it is installed, each bench with a server of its own.
with_stores() {
  local name="$1" status=0
  shift
  say "$name"
  local program=("$build/bench_$name" --folder "$store_work" --out "$results/$name.json" "$@")
  "$here/../scripts/postgres.sh" run "$server_work" -- \
    bash -c '"$@" --postgres "$CANARY_TEST_POSTGRES"' bench "${program[@]}" >"$store_work/log" 2>&1 || status=$?
  if [ "$status" = 77 ]; then status=0; "${program[@]}" >"$store_work/log" 2>&1 || status=$?; fi
  if [ "$status" != 0 ]; then cat "$store_work/log"; echo "$name failed" >&2; exit 1; fi
}
with_stores store --changes "$changes"
with_stores sink --rows "$sink_rows" --keys "$sink_rows"
say tool
"$here/tool_flow" --canary "$build/../bin/canary" --folder "$store_work" --rows "$tool_rows" --examples "$tool_examples" \
  --out "$results/tool.json" >"$store_work/log" 2>&1 || { cat "$store_work/log"; echo "tool failed" >&2; exit 1; }
say dataset
"$build/bench_dataset" --folder "$store_work" --mb "$dataset_mb" --out "$results/dataset.json"
say compile_time
"$here/compile_time" --runs "$compile_runs" --out "$results/compile_time.json" "${headers[@]}"
say report
"$here/report" --results "$results" --command "$command_line"
say "done: $results/README.md"
