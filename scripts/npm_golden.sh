#!/usr/bin/env bash
# The independent implementation in JavaScript: `npm test` in tests/golden, with its one package from npm.
. "$(dirname "$0")/lib.sh"

cd tests/golden
# Installed once per lock file, so that a second run needs no network.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier
fi
npm test --no-update-notifier
