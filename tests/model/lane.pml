// lane.pml: the rings of core/lane.hpp with their drainer, store and restart, as a machine that Spin searches to the end.
// Entries go from threads through a ring in memory that outlives the process into a store, each exactly once.
//
//   Thread (has the lane)                            Drainer
//     position == limit:                               stamp = cell.stamp.load(acquire)       (L4)
//       limit = drained.load(acquire) + cells  (L1)    stamp is of this position: read the words, else stop
//     words (plain)                                    commit entries and position, against the store's generation
//     stamp.store(position, release)           (L3)    answer unknown: ask the store where it is
//   its end:                                           drained.store(position, release)       (L2)
//     lane.tenancy.cas(held -> vacant, release) (L6) Process that comes after a crash
//   another thread:                                    as the drainer, from max(drained, the store's position)
//     lane.tenancy.cas(vacant -> held, acquire) (L5)
//
// Why this machine is weak enough to tell the orders apart
//
//   Stores. As in sticky_pin.pml: each process has a store buffer. RELEASE entries leave from the head only; PLAIN entries
//     overtake entries of other locations, a release before them too; two stores to one location keep their order.
//     An entry's words are two locations, so that half of it can be there without the other.
//   Loads. An acquire load reads memory at once. A plain load may be satisfied early, back to the last acquire load of its
//     process, and late, up to its next release store: seeds that weaken (L4) or (L5) let loads come early, those that
//     weaken (L2) or (L1) let loads come late. C++ orders a relaxed load before a store that hangs on it by a branch no
//     more than before any other; processors do.
//   Crash. A process that is killed loses what its threads had not executed. What they had stored becomes visible, all of
//     it: a processor finishes what it has retired, and the ring is a mapped file that the kernel keeps.
//   Store. One transaction at a time is tried. It is committed at once, or not at all, or by the server at any later time though
//     the answer was lost: then another may have gone in before, which its generation shows.
//
// With LOOKER the process has a third thread that reads entries and frees none (engine_trip.hpp): it holds a mutex while it looks
// (T1), and the drainer takes that and reads what was not seen before it stores `drained` (T2).
//
// The checks in an entry's stamp are not modelled: nothing here may rely on them. What is modelled of a stamp is its position.
//
// Macros under `#if` are seeds and witnesses, as in sticky_pin.pml; listed and run by run.sh.

#ifndef CELLS
#define CELLS 2             // of the ring
#endif
#ifndef FIRST
#define FIRST 3             // entries of the first thread, which then ends
#endif
#ifndef SECOND
#define SECOND 2            // entries of the second, in the same lane
#endif
#ifndef BATCH
#define BATCH 2             // entries that the drainer takes at once
#endif
#ifndef CRASHES
#define CRASHES 2           // the process, then the one that comes after it
#endif
#ifndef UNKNOWN
#define UNKNOWN 2           // commits whose answer is lost
#endif
#define CAPACITY 4          // entries in a store buffer; a store into a full buffer waits

#define BIT(entry) (1 << (entry))

// --- orders, and the seeds that weaken them -----------------------------------------------------------------------------

#define PLAIN 0
#define RELEASE 1

#if defined(L2_RELAXED)
#define DRAINED_ORDER PLAIN
#else
#define DRAINED_ORDER RELEASE
#endif
#if defined(L3_RELAXED)
#define STAMP_ORDER PLAIN
#else
#define STAMP_ORDER RELEASE
#endif
#if defined(L6_RELAXED)
#define VACANT_ORDER PLAIN
#else
#define VACANT_ORDER RELEASE
#endif

// --- memory -------------------------------------------------------------------------------------------------------------

#define WORD_A 0            // + cell
#define WORD_B CELLS        // + cell
#define STAMP (2 * CELLS)   // + cell
#define NEXT (3 * CELLS)    // the lane's plain fields, which one thread leaves to the next
#define LIMIT (NEXT + 1)
#define VACANT (NEXT + 2)   // 1: waits for a thread
#define DRAINED (NEXT + 3)
#define LOCATIONS (NEXT + 4)

#define DRAINER 2           // process ids of threads are 0 and 1

byte memory[LOCATIONS];
chan buffer[3] = [CAPACITY] of { byte, byte, byte };                  // order, location, value

bool alive = true;          // the process that records
#if defined(LOOKER)
bool looking;               // the mutex
byte seen;                  // entries before it were looked at
#endif

// --- the store ----------------------------------------------------------------------------------------------------------

byte position;              // of the lane: everything before is in
byte generation;            // counts what was committed
byte delivered;             // entries that are in, as bits

bool pending;               // a transaction whose answer was lost and that the server may still commit
byte pending_entries, pending_position, pending_generation;
byte unknowns;

// --- what the properties look at and the algorithm does not -------------------------------------------------------------

byte begun;                 // entries of which a word was written; an entry's number, from 1, is what its words say
byte returned;              // entries whose push() returned true, as bits
bool ended;                 // both threads have
bool finished;              // everything that was recorded has been drained

hidden byte order_, location_, value_;                                // the entry on its way to memory

inline store(who, order, location, value) { buffer[who]!order, location, value }

inline becomes_visible() {
  if
  :: location_ < STAMP ->                                             // KEPT: what is overwritten is in the store
     assert(memory[location_] == 0 || memory[location_] == value_ || (delivered & BIT(memory[location_])))
  :: else
  fi;
  memory[location_] = value_
}

// --- threads ------------------------------------------------------------------------------------------------------------

#define CELL(at) ((at) % CELLS)

// next: position of the next entry. L1_RELAXED: the load of `drained` is satisfied when the words have been stored already.
inline push(me) {
#if defined(L1_RELAXED)
  begun++;
  entry = begun;
  store(me, PLAIN, WORD_A + CELL(next), entry);
  store(me, PLAIN, WORD_B + CELL(next), entry);
  if
  :: next == limit -> atomic { memory[DRAINED] + CELLS > next -> limit = memory[DRAINED] + CELLS }
  :: else
  fi;
#else
  atomic {
    next != limit || memory[DRAINED] + CELLS > next ->                // a push into a full ring changes nothing
    if
    :: next == limit -> limit = memory[DRAINED] + CELLS               // (L1)
#if defined(WITNESS_LAP)
       ; assert(false)
#endif
    :: else
    fi;
#if defined(LIMIT_ONE_TOO_FAR)
    limit++;
#endif
    begun++;
    entry = begun
#if defined(STAMP_FIRST)
    ; store(me, STAMP_ORDER, STAMP + CELL(next), next + 1)
#endif
  }
  store(me, PLAIN, WORD_A + CELL(next), entry);
  store(me, PLAIN, WORD_B + CELL(next), entry);
#endif
#if !defined(STAMP_FIRST)
#if defined(STAMP_WITHOUT_POSITION)
  store(me, STAMP_ORDER, STAMP + CELL(next), 1);
#else
  store(me, STAMP_ORDER, STAMP + CELL(next), next + 1);               // (L3)
#endif
#endif
  atomic { next++; returned = returned | BIT(entry); entry = 0; pushed++ }
}

active proctype first() {
  byte next, limit = CELLS, entry, pushed;
  {
    do
    :: pushed < FIRST -> push(0)
    :: else -> break
    od;
    store(0, PLAIN, NEXT, next);
    store(0, PLAIN, LIMIT, limit);
    store(0, VACANT_ORDER, VACANT, 1)                                 // (L6)
  } unless { !alive }
}

active proctype second() {
  byte next, limit, entry, pushed;
  {
#if defined(TAKE_HELD)
    next = FIRST;                                                     // right by luck, and too early all the same
    limit = memory[LIMIT];
#elif defined(L5_RELAXED)                                              // loaded before it is known that they stand
    atomic { next = memory[NEXT]; limit = memory[LIMIT] }
    atomic { memory[VACANT] -> memory[VACANT] = 0 }
#else
    atomic {
      memory[VACANT] -> memory[VACANT] = 0;                           // (L5)
      next = memory[NEXT];
      limit = memory[LIMIT]
    }
#endif
    do
    :: pushed < SECOND -> push(1)
    :: else -> break
    od;
    ended = true
  } unless { !alive }
}

// --- drainer ------------------------------------------------------------------------------------------------------------

// Of the entry at `at`: both words, which must be of one entry.
inline read_words() {
  word_a = memory[WORD_A + CELL(at)];
  word_b = memory[WORD_B + CELL(at)]
}
inline take_entry() {
  assert(word_a == word_b && word_a != 0);                            // WHOLE
  entries = entries | BIT(word_a);
  at++;
  word_a = 0;
  word_b = 0
}

#if defined(STAMP_WITHOUT_POSITION)
#define STANDS_AT(place) (memory[STAMP + CELL(place)] != 0)
#else
#define STANDS_AT(place) (memory[STAMP + CELL(place)] == (place) + 1)
#endif

// Reads from `at` on, as far as it likes; `entries` and `at` say what it has.
inline fetch(from) {
  at = from;
  entries = 0;
  do
  :: at - from < BATCH ->
#if defined(L4_RELAXED)
     read_words();
     if
     :: atomic { STANDS_AT(at) -> take_entry() }
     :: atomic { !STANDS_AT(at) -> word_a = 0; word_b = 0; break }
     fi
#else
     if
     :: STANDS_AT(at) ->                                              // (L4)
#if defined(L2_RELAXED)
        skip; store(DRAINER, DRAINED_ORDER, DRAINED, at + 1);         // the words are loaded after it
#endif
        read_words();
        take_entry()
     :: !STANDS_AT(at) -> break
     fi
#endif
  :: at != from -> break
  od
}

inline commit_now(what, until) {
  assert(!(delivered & what));                                        // ONCE
  delivered = delivered | what;
  position = until;
  generation++
}

// One transaction with `entries` and `at`. `mine` is the generation that it was begun with. Leaves `known`: the drainer has its answer.
inline deliver() {
  atomic {
    known = false;
#if !defined(GENERATION_NOT_COMPARED)
    if
    :: mine != generation -> skip                                     // refused: ask where the store is
    :: else ->
#else
    if
    :: true ->
#endif
       if
#if defined(POSITION_APART)
       :: assert(!(delivered & entries)); delivered = delivered | entries; generation++; known = true
#else
       :: commit_now(entries, at); mine = generation; known = true
#endif
       :: unknowns < UNKNOWN -> unknowns++; commit_now(entries, at)   // in, but the answer is lost
#if defined(WITNESS_UNKNOWN)
          ; assert(false)
#endif
       :: unknowns < UNKNOWN -> unknowns++                            // lost on the way there
       :: unknowns < UNKNOWN && !pending ->                           // on its way, for as long as it takes
          unknowns++;
          pending = true;
          pending_entries = entries;
          pending_position = at;
          pending_generation = mine
       fi
    fi
  }
#if defined(POSITION_APART)
  if
  :: known -> atomic { position = at; mine = generation }
  :: else
  fi
#endif
}

// What a drainer does after each transaction: where it goes on, and with which generation.
inline settle(from) {
  atomic {
    if
    :: known -> from = at
#if defined(UNKNOWN_IS_FAILURE)
    :: !known -> mine = generation
#elif defined(UNKNOWN_IS_SUCCESS)
    :: !known -> from = at; mine = generation
#else
    :: !known -> from = position; mine = generation                   // asks
#endif
    fi;
    entries = 0;
    at = 0;
    known = false
  }
}

// --- looker -------------------------------------------------------------------------------------------------------------

// Takes the mutex and looks at what stands there, at least up to `least`.
inline look(least) {
  atomic { !looking -> looking = true }                               // (T1), (T2)
#if defined(LOOK_WITHOUT_MUTEX)
  looking = false;
#endif
  do
  :: STANDS_AT(seen) ->                                               // (L4)
     look_a = memory[WORD_A + CELL(seen)];
     look_b = memory[WORD_B + CELL(seen)];
     atomic {
       assert(look_a == look_b && look_a == seen + 1);                // WHOLE, and none is left out
       look_a = 0;
       look_b = 0;
       seen++
     }
  :: seen >= least -> break
  od;
  looking = false
}

#define NOTHING_LEFT                                                                                                     \
  (ended && empty(buffer[0]) && empty(buffer[1]) && from == begun && !pending)

active proctype drainer() {
  byte from, at, entries, mine, word_a, word_b;
  bool known;
#if defined(LOOKER)
  byte look_a, look_b;
#endif
  {
    do
    :: STANDS_AT(from) ->
       fetch(from);
#if defined(RELEASE_BEFORE_COMMIT)
       store(DRAINER, DRAINED_ORDER, DRAINED, at);
#endif
       deliver();
       settle(from);
#if !defined(RELEASE_BEFORE_COMMIT) && !defined(L2_RELAXED)
       if
       :: from != memory[DRAINED] ->
#if defined(LOOKER) && !defined(RELEASE_BEFORE_LOOK) && !defined(RELEASE_WITHOUT_LOOK)
          look(from);                                                 // (T2)
#endif
          store(DRAINER, DRAINED_ORDER, DRAINED, from)                // (L2)
#if defined(RELEASE_BEFORE_LOOK)
          ; look(from)
#endif
       :: else
       fi
#endif
    :: NOTHING_LEFT -> break
    od;
    atomic { assert(delivered == returned); finished = true }         // ALL
  } unless { !alive }
}

#if defined(LOOKER)
active proctype looker() {
  byte look_a, look_b;
  {
end:
    do
    :: !finished -> look(0)
    :: finished -> break
    od
  } unless { !alive }
}
#endif

// --- the server's late commit --------------------------------------------------------------------------------------------

active proctype server() {
end:
  do
  :: atomic {
       pending ->
       if
#if !defined(GENERATION_NOT_COMPARED)
       :: pending_generation != generation -> skip
       :: pending_generation == generation ->
#else
       :: true ->
#endif
          commit_now(pending_entries, pending_position)
#if defined(WITNESS_LATE)
          ; assert(false)
#endif
       :: true -> skip                                                // or it never comes
       fi;
       pending = false;
       pending_entries = 0;
       pending_position = 0;
       pending_generation = 0
     }
  od
}

// --- crash and what comes after -------------------------------------------------------------------------------------------

inline flush(who) {
  do
  :: buffer[who]?order_, location_, value_ -> becomes_visible()
  :: empty(buffer[who]) -> break
  od
}

active proctype successor() {
  byte from, at, entries, mine, word_a, word_b, crashes;
  bool known;
#if CRASHES > 0
  if
  :: finished -> goto over                                            // nothing happened
  :: atomic {
       alive = false;
       flush(0);
       flush(1);
       flush(DRAINER)
#if defined(WITNESS_CRASH_HALF)
       ; assert(memory[WORD_A] == memory[WORD_B])
#endif
     }
  fi;
restart:
  atomic {
    crashes++;
    at = 0;
    entries = 0;
    word_a = 0;
    word_b = 0;
    known = false;
#if defined(RESTART_FROM_DRAINED)
    from = memory[DRAINED];
#else
    from = (memory[DRAINED] > position -> memory[DRAINED] : position);
#endif
    mine = generation
  }
  do
  :: STANDS_AT(from) ->
     fetch(from);
     if
     :: deliver()
     :: crashes < CRASHES -> goto restart
     fi;
     if
     :: settle(from)
     :: crashes < CRASHES -> goto restart
     fi
  :: !STANDS_AT(from) && !pending -> break
  od;
  assert((returned & delivered) == returned);                         // ALL
over:
#endif
  skip
}

// --- the way from the buffers to memory -----------------------------------------------------------------------------------

#define FROM_HEAD(process) d_step { buffer[process]?order_, location_, value_ -> becomes_visible() }
#define OVERTAKE(process, place)                                                                                          \
  d_step { buffer[process]??PLAIN, eval(place), value_ -> location_ = place; becomes_visible() }

active proctype shore() {
end:
  do
  :: FROM_HEAD(0)
  :: FROM_HEAD(1)
  :: FROM_HEAD(DRAINER)
  :: OVERTAKE(0, WORD_A + 0)
  :: OVERTAKE(0, WORD_A + 1)
  :: OVERTAKE(0, WORD_B + 0)
  :: OVERTAKE(0, WORD_B + 1)
  :: OVERTAKE(0, NEXT)
  :: OVERTAKE(0, LIMIT)
  :: OVERTAKE(1, WORD_A + 0)
  :: OVERTAKE(1, WORD_A + 1)
  :: OVERTAKE(1, WORD_B + 0)
  :: OVERTAKE(1, WORD_B + 1)
#if CELLS > 2
  :: OVERTAKE(0, WORD_A + 2)
  :: OVERTAKE(0, WORD_B + 2)
  :: OVERTAKE(1, WORD_A + 2)
  :: OVERTAKE(1, WORD_B + 2)
#endif
#if defined(L3_RELAXED)
  :: OVERTAKE(0, STAMP + 0)
  :: OVERTAKE(0, STAMP + 1)
  :: OVERTAKE(1, STAMP + 0)
  :: OVERTAKE(1, STAMP + 1)
#endif
#if defined(L6_RELAXED)
  :: OVERTAKE(0, VACANT)
#endif
  od
}
