#!/usr/bin/env bash
# The long runs: core and golden tests on big-endian s390x under qemu-user, property and stress tests with many times
# their rounds (CANARY_SOAK=1), every source compiled alone, and long fuzzing. Ends like scripts/check.sh.
exec "$(dirname "$0")/check.sh" s390x clang dev soak soak_asan soak_tsan soak_fuzz
