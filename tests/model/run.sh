#!/bin/sh
# Searches a model to the end, then shows that the search would have noticed: each seeded fault must be found.
# Needs spin and cc; works in a temporary folder. Exit: 0 all as it must be, 1 not, 77 a tool is missing.
#   run.sh                  everything of both models, sticky_pin and lane
#   run.sh MODEL            everything of one
#   run.sh MODEL NAME...    only these seeds, each with the steps that lead to its failure
set -u

if [ $# = 0 ]; then sh "$0" sticky_pin && sh "$0" lane; exit; fi
case $1 in
  sticky_pin | lane) subject=$1 model=$1.pml && shift ;;
  *) echo "usage: run.sh [sticky_pin|lane [NAME...]]" >&2; exit 1 ;;
esac
source=$(cd "$(dirname "$0")" && pwd)/$model
cc=${CC:-cc}
for tool in spin "$cc"; do
  command -v "$tool" >/dev/null 2>&1 || { echo "spin model: skipped, '$tool' is not installed"; exit 77; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/$subject.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" && cp "$source" "$model" || exit 1

depth_limit=10000    # steps; the longest run has 1023, and a run cut short is reported as such
memory_mb=4000

if [ "$subject" = sticky_pin ]; then
# Each size is enough for its purpose: the base run has every figure of the model, the others the least that bites.
processes="reader writer"
small="-DREADS=2 -DPUBLISHES=3"
orders='
PIN_RELEASE                 (2) the pin is stored with release
RELOAD_ACQUIRE              (3) the re-load is acquire
SWAP_RELEASE                (4) the swap is acq_rel
SCAN_ACQUIRE                (5) the scan loads with acquire
SWAP_RELAXED                (4) the swap is relaxed
SWAP_RELAXED_THEN_FENCE     (4) relaxed, a seq_cst fence after it
RELOAD_RELAXED_AFTER_FENCE  (3) relaxed, a seq_cst fence before it
GIVE_BACK_OWNER_RELAXED     owner = free is relaxed'
steps='
RECHECK_REMOVED             no (3): the pin is trusted as stored
RETRY_WITHOUT_PIN           (3) moved, the new one is used unpinned
STICKY_WITHOUT_LOOK         a pinned reader never loads current
FILL_AFTER_SWAP             published first, filled afterwards
SCAN_BEFORE_SWAP            pins are read before the swap
FREE_BEFORE_SCAN            frees by the answer of the last scan
SCAN_MISSES_A_SLOT          one slot is not read
FREE_ONLY_THE_LATEST        a snapshot once kept is kept forever
WAIT_FOR_READERS            the writer blocks until pins move on
SPIN_FOR_READERS            the writer scans until pins move on
CLAIM_WITHOUT_CAS           a slot is claimed by load and store
GIVE_BACK_OWNER_FIRST       owner = free before pin = null
GIVE_BACK_WHILE_IN_USE      pin = null before the last load
PINNED_OUTLIVES_SLOT        the plain copy survives the slot'
witnesses='
WITNESS_STICKY              no read ever finds its pin current
WITNESS_MOVED               no re-load ever finds another snapshot
WITNESS_ABA                 no address comes back between (1), (3)
WITNESS_HANDOVER            no slot ever changes its reader
WITNESS_BOUND               no reader pair ever pins two retired'
else
processes="first second drainer successor"
small=
larger="-DCELLS=3 -DFIRST=4 -DSECOND=1 -DBATCH=3 -DUNKNOWN=1"
looked="-DLOOKER -DSECOND=1 -DCRASHES=1 -DUNKNOWN=1"
looked_small="-DLOOKER -DCRASHES=0 -DUNKNOWN=0"
orders='
L1_RELAXED                  (L1) drained is loaded after words stand
L2_RELAXED                  (L2) drained is stored before words load
L3_RELAXED                  (L3) the stamp is relaxed
L4_RELAXED                  (L4) the words are loaded before the stamp
L5_RELAXED                  (L5) the lane is read before it is taken
L6_RELAXED                  (L6) vacant is relaxed'
steps='
RELEASE_BEFORE_COMMIT       drained moves before the commit
POSITION_APART              the position has a transaction of its own
UNKNOWN_IS_FAILURE          a lost answer is taken for a failure
UNKNOWN_IS_SUCCESS          a lost answer is taken for a success
GENERATION_NOT_COMPARED     a late commit goes in after another
RESTART_FROM_DRAINED        after a crash the store is not asked
STAMP_FIRST                 the stamp is stored before the words
STAMP_WITHOUT_POSITION      a stamp says that something stands there
LIMIT_ONE_TOO_FAR           one cell more than there are
TAKE_HELD                   a lane is taken before it is given back
RELEASE_BEFORE_LOOK         (T2) drained moves before the look
RELEASE_WITHOUT_LOOK        (T2) drained moves without one
LOOK_WITHOUT_MUTEX          (T1) nothing keeps the drainer from it'
witnesses='
WITNESS_LAP                 no thread ever finds its ring full
WITNESS_UNKNOWN             no commit with a lost answer is ever in
WITNESS_LATE                no late commit ever goes in
WITNESS_CRASH_HALF          no crash ever leaves half an entry'
fi

# build <compiler options> <preprocessor options>: ./pan, the program that searches.
build() {
  # shellcheck disable=SC2086
  spin -a -P"$cc -E -x c -std=gnu99 $2" "$model" >spin.log 2>&1 &&
    "$cc" -O2 -w -DNOFAIR -DCOLLAPSE -DMEMLIM=$memory_mb $1 -o pan pan.c >>spin.log 2>&1 && return
  cat spin.log
  echo "spin model: cannot build '$2'"
  exit 1
}

# safety / cycles <hash table bits> <preprocessor options>: the search's report in ./report. A run that never ends is a cycle:
# with no state marked as progress, every cycle is one without progress.
safety() { build -DSAFETY "$2"; ./pan -m$depth_limit -w"$1" >report 2>&1; }
cycles() { build -DNP "$2"; ./pan -l -m$depth_limit -w"$1" >report 2>&1; }

states() { sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' report; }
depth() { sed -n 's/.*depth reached \([0-9]*\).*/\1/p' report; }
memory() { sed -n 's/^ *\([0-9]*\)[.0-9]*[^0-9]*total actual memory usage.*/\1/p' report; }
seconds() { sed -n 's/.*elapsed time \([0-9.]*\) seconds.*/\1/p' report; }

# exhausted: the search saw every state, every line of the programs ran, and nothing failed.
exhausted() {
  grep -q 'Full statespace search' report && grep -q 'errors: 0$' report &&
    ! grep -q -e 'max search depth too small' -e 'not completed' -e 'MEMLIM' -e 'out of memory' report || return
  for process in $processes; do
    grep -A1 "unreached in proctype $process\$" report | grep -q '(0 of ' || return
  done
}

# The property that fell, by the variables in the assertion that spin prints.
fallen() {
  case $(grep -m1 '^pan:1:' report) in
    *'held[0]+'*) echo WHOLE ;;
    *word_* | *look_*) echo WHOLE ;;
    *returned*) echo ALL ;;
    *entries*) echo ONCE ;;
    *delivered*) echo KEPT ;;
    *held*) echo HELD ;;
    *live*) echo FREED ;;
    *stale*) echo WHOLE ;;
    *allowed*) echo RECENT ;;
    *retired* | *next*) echo BOUNDED ;;
    *'invalid end state'* | *'non-progress cycle'*) echo ENDS ;;
    *'assertion violated'*) echo reached ;;
  esac
}

row() { printf '%-27s %-42s %10s %6s  %s\n' "$@"; }

# hold <safety|cycles> <hash table bits> <preprocessor options> <name> <words>
hold() {
  "$1" "$2" "$3"
  if exhausted; then verdict="holds ($(seconds) s, $(memory) MB)"; else verdict=FAILS; failed=1; cat report; fi
  row "$4" "$5" "$(states)" "$(depth)" "$verdict"
}

# What a seed is built with, when not small.
options_of() {
  case $1 in
    RELEASE_BEFORE_LOOK | RELEASE_WITHOUT_LOOK | LOOK_WITHOUT_MUTEX) echo "$looked_small -D$1" ;;
    *) echo "-D$1" ;;
  esac
}

# fall <name> <words>: counts it in `found` when something falls.
fall() {
  case $1 in
    SPIN_FOR_READERS) cycles 22 "$small -D$1" ;;
    *) safety 22 "$(options_of "$1")" ;;
  esac
  verdict=$(fallen)
  tried=$((tried + 1))
  if [ -n "$verdict" ]; then found=$((found + 1)); else verdict=SURVIVES; failed=1; cat report; fi
  row "$1" "$2" "$(states)" "$(depth)" "$verdict"
}

fall_all() {
  tried=0 found=0
  while read -r name words; do
    [ -z "$name" ] || fall "$name" "$words"
  done <<END
$1
END
}

failed=0
if [ $# -gt 0 ]; then
  for name; do
    words=$(printf '%s\n' "$orders$steps$witnesses" | sed -n "s/^$name  *//p")
    [ -n "$words" ] || { echo "spin model: no seed '$name'"; exit 1; }
    tried=0 found=0
    fall "$name" "$words"
    if [ "$name" != SPIN_FOR_READERS ]; then
      build "-DSAFETY -DREACH" "$small $(options_of "$name")"    # -i: the shortest way to a failure that the smaller model has
      ./pan -i -m$depth_limit >report 2>&1
    fi
    spin -t -p -g -P"$cc -E -x c -std=gnu99 $small $(options_of "$name")" "$model"
  done
  exit $failed
fi

row run what states depth result
hold safety 26 "" base "the algorithm as it is"
base_states=$(states) base_depth=$(depth) base_failed=$failed
if [ "$subject" = sticky_pin ]; then
  hold cycles 24 "$small" base "the same, smaller: no run goes on forever"
  hold safety 24 "$small -DFIRST_RELAXED" FIRST_RELAXED "(1) relaxed, smaller: not what is relied on"
else
  hold safety 26 "$larger" base "with three cells, three entries at a time"
  processes="$processes looker"
  hold safety 26 "$looked" base "with one who looks and frees nothing"
fi
fall_all "$witnesses"
witnessed="$found / $tried"
fall_all "$orders$steps"

[ $base_failed = 0 ] && base="exhausted ($base_states states, depth $base_depth)" || base="NOT exhausted or in error"
echo "situations reached: $witnessed"
echo "spin: base $base, killed $found / seeded $tried"
exit $failed
