#!/usr/bin/env bash
# Every test, in CI's order:  scripts/check.sh [STEP...]   (all steps without a name; --list names them)
#
# A failing step does not stop the later ones. The last line sums up: `N passed, N failed` or, with skipped ones,
# `N passed, N failed, N skipped`; the exit status is 1 if anything failed.
#
# A step is a function step_NAME. It counts what its ctest runs report (JUnit files), what it prints as lines
# `PASS name`, `FAIL name`, `SKIP name`, or, with neither, itself: exit status 0 passed, 77 skipped, else failed.
. "$(dirname "$0")/lib.sh"

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
export LC_ALL=C.UTF-8
logs="$ROOT/build/check"
step_dir=''   # where the running step puts its JUnit files

# The steps of scripts/soak.sh can be named here too.
# Optimised code and the tool are tested by release, assertions and clang by asan; dev is for people, and lends headers and
# tidy its commands. The tool under sanitizers, and core by clang alone, are for soak.
STEPS=(format layers readme headers bare asan tsan release bench consume aarch64 fuzz model npm loop tidy demo)

configure_and_build() { cmake --preset "$1" "${@:2}" && cmake --build --preset "$1"; }
run_ctest() { ctest --preset "$1" --output-junit "$step_dir/$1.xml" "${@:2}"; }
configure_build_test() { configure_and_build "$1" && run_ctest "$@"; }

# Old sanitizer runtimes lose their shadow memory to the address randomisation of new kernels.
sanitized() {
  local plain=(env)
  if setarch "$(uname -m)" -R true 2>/dev/null; then plain=(setarch "$(uname -m)" -R); fi
  # The build runs the tests too, to list them.
  cmake --preset "$1" && "${plain[@]}" cmake --build --preset "$1" &&
    "${plain[@]}" ctest --preset "$1" --output-junit "$step_dir/$1.xml"
}

# Core and golden tests for another processor, under qemu-user.
emulated() {
  if [ "$(uname -m)" = "$1" ]; then echo "this machine is one itself"; return 77; fi
  have "$1-linux-gnu-g++" || { echo "no cross compiler for $1 on offer here"; return 77; }
  [ -d "$CANARY_DEPS_DIR/catch2-$1-linux-gnu" ] || { echo "no Catch2 v3 for $1 on offer here"; return 77; }
  configure_build_test "$1"
}

clang_here() { [ -n "$(llvm_tool clang++)" ] || { echo "no clang on this machine"; return 77; }; }

step_format() { scripts/format.sh --check; }

step_layers() { scripts/check_layers.py --self-test && scripts/check_layers.py; }

step_readme() { scripts/check_readme.py; }

step_headers() { cmake --preset dev && cmake --build --preset dev --target all_verify_interface_header_sets; }

# The model has a step of its own, which tells what it found.
step_dev() { configure_build_test dev -LE model; }

step_bare() { configure_build_test bare; }

step_asan() { clang_here && sanitized asan; }

step_tsan() { clang_here && sanitized tsan; }

step_clang() { clang_here && configure_build_test clang; }

step_release() { configure_build_test release; }

# Not for the figures: each bench checks its own answers.
step_bench() { bench/run.sh --quick build/release/bench; }

step_consume() { tests/consume/run.sh; }

step_aarch64() { emulated aarch64; }

# A bounded number of runs each; time without bound is for soak.
step_fuzz() { clang_here && configure_build_test fuzz; }

# Each search keeps one processor busy.
step_model() {
  local status=0
  tests/model/run.sh lane >"$step_dir/lane.log" 2>&1 &
  tests/model/run.sh sticky_pin || status=$?
  wait $! || status=$?
  cat "$step_dir/lane.log"
  return "$status"
}

step_npm() { scripts/npm_golden.sh; }

# With what release has built.
step_loop() { scripts/tuning_loop.sh build/release; }

step_tidy() { scripts/tidy.sh; }

# Of what release has built.
step_demo() { CANARY_DEMO_PRESET=release scripts/demo.sh; }

# Long runs, by scripts/soak.sh alone.
step_s390x() { emulated s390x; }
step_soak() { configure_build_test soak; }
step_soak_asan() { clang_here && sanitized soak-asan; }
step_soak_tsan() { clang_here && sanitized soak-tsan; }
step_soak_fuzz() { scripts/fuzz.sh 1800; }

# One PostgreSQL for all steps that test stores, from the first of them to the end. Without one those tests skip.
postgres_dir=''
postgres_up() {
  if [ -n "$postgres_dir" ] || [ -n "${CANARY_TEST_POSTGRES:-}" ]; then return; fi
  postgres_dir="$(mktemp -d)"
  if scripts/postgres.sh start "$postgres_dir" >"$logs/postgres.log" 2>&1 </dev/null; then
    set -a
    . "$postgres_dir/env"
    set +a
  else
    tail -n 1 "$logs/postgres.log"
  fi
}
postgres_down() {
  if [ -z "$postgres_dir" ]; then return; fi
  scripts/postgres.sh stop "$postgres_dir" >>"$logs/postgres.log" 2>&1 </dev/null || true
  rm -rf "$postgres_dir"
}

attribute() { sed -n "s/^.*<testsuite.*[ \"]$1=\"\([0-9]*\)\".*$/\1/p" <<<"$2" | head -n 1; }

# Sums a JUnit file of ctest's: prints `passed failed skipped`.
count_junit() {
  local head tests failures skipped
  head="$(tr '\n\t' '  ' <"$1" | grep -o '<testsuite [^>]*>' | head -n 1)"
  tests="$(attribute tests "$head")" failures="$(attribute failures "$head")"
  skipped=$(($(attribute skipped "$head") + $(attribute disabled "$head")))
  echo "$((tests - failures - skipped)) $failures $skipped"
}

count() { grep -c "^$1 " "$2" || true; }

# Runs one step and leaves its counts in p, f, s.
run_step() {
  local name="$1" log="$logs/$1.log" status=0 start=$SECONDS xml numbers
  step_dir="$logs/$name"
  rm -rf "$step_dir" && mkdir -p "$step_dir"
  case "$name" in dev | asan | tsan | release | soak*) postgres_up ;; esac
  ("step_$name") >"$log" 2>&1 </dev/null || status=$?

  p="$(count PASS "$log")" f="$(count FAIL "$log")" s="$(count SKIP "$log")"
  for xml in "$step_dir"/*.xml; do
    if [ -e "$xml" ]; then
      read -r -a numbers <<<"$(count_junit "$xml")"
      p=$((p + numbers[0])) f=$((f + numbers[1])) s=$((s + numbers[2]))
    fi
  done
  if [ $((p + f + s)) = 0 ]; then
    case "$status" in 0) p=1 ;; 77) s=1 ;; *) f=1 ;; esac
  elif [ "$status" != 0 ] && [ "$f" = 0 ]; then
    f=1
  fi
  report "$name" "$log" $((SECONDS - start))
}

report() {
  local colour="$GREEN" counts="$p passed, $f failed"
  if [ "$s" != 0 ]; then colour="$YELLOW" counts="$counts, $s skipped"; fi
  if [ "$f" != 0 ]; then
    # All of a short log, and of a long one what matters most: errors, failed tests, the end.
    if [ "$(wc -l <"$2")" -le 200 ]; then cat "$2"; else
      grep -nE 'error:|FAILED|FAIL |\*\*\*|Error' "$2" | head -n 60 || true
      tail -n 100 "$2"
    fi
    colour="$RED"
  elif [ "$s" != 0 ]; then
    # Skipping is never silent.
    grep -E '^SKIP |\(Skipped\)' "$2" | sort -u || true
    if [ $((p + s)) = 1 ]; then tail -n 3 "$2"; fi
  elif [ "$p" = 1 ]; then
    tail -n 1 "$2"
  fi
  printf '%s%-10s %s%s (%s s)\n' "$colour" "$1" "$counts" "$PLAIN" "$3"
}

if [ "${1:-}" = --list ]; then printf '%s\n' "${STEPS[@]}"; exit; fi
if [ $# = 0 ]; then set -- "${STEPS[@]}"; fi
for step in "$@"; do declare -F "step_$step" >/dev/null || die "no step named $step; there are: ${STEPS[*]}"; done

mkdir -p "$logs"
trap postgres_down EXIT
passed=0 failed=0 skipped=0
for step in "$@"; do
  printf '%-10s ...\n' "$step"
  run_step "$step"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo "logs are in build/check; this took $((SECONDS / 60)) min $((SECONDS % 60)) s"
if [ "$skipped" = 0 ]; then echo "$passed passed, $failed failed"
else echo "$passed passed, $failed failed, $skipped skipped"; fi
[ "$failed" = 0 ]
