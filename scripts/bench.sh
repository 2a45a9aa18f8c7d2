#!/usr/bin/env bash
# Builds the benches and hands over to bench/run.sh, which measures and draws the report.
. "$(dirname "$0")/lib.sh"

cmake --preset release -DCANARY_BUILD_TESTS=OFF
cmake --build --preset release
exec bench/run.sh build/release/bench "$@"
