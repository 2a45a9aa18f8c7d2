// sticky_pin.pml: the publication of core/publish.hpp as a machine that Spin searches to the end.
// A hazard pointer that stays set between reads: a reader whose pin still names `current` stores nothing.
//
//   Reader                                       Writer (one at a time, under a mutex)
//     cur = current.load(acquire)         (1)      fill next (plain stores)
//     cur == what this thread pinned: use it       old = current.exchange(next, seq_cst)  (4)
//     loop: pin.store(cur, seq_cst)       (2)      retired += old
//           again = current.load(seq_cst) (3)      for each slot: p = pin.load(seq_cst)   (5)
//           again == cur: use it                   free every retired snapshot that no p names
//           cur = again
//
// Why this machine is weak enough to tell the orders apart
//
//   Stores. Each process has a store buffer; a store becomes visible when it leaves the buffer, at any later moment.
//     RELEASE and SEQ_CST entries leave from the head only: all that the process stored before is visible by then. PLAIN
//     entries (plain and relaxed stores) overtake entries of other locations, a release before them too; two stores to
//     one location keep their order (coherence). ARMv8 promises no more of STR and STLR.
//   Loads. An acquire load reads memory at once, whatever its process still has in the buffer: ARMv8's LDAPR may pass an
//     earlier STLR, x86's MOV an earlier MOV. A seq_cst load waits until its own buffer holds no SEQ_CST entry, as ARMv8's
//     LDAR waits for an earlier STLR and everything on x86 for an earlier XCHG. It does not wait for a RELEASE entry: C++
//     orders a store before a later load of another location only when both are seq_cst. Some hardware gives more (ARMv8
//     compiles both kinds of store to STLR), but the language does not promise it, so the machine does not. The moment a
//     SEQ_CST entry leaves its buffer and the moment a seq_cst load reads are their places in C++'s single total order.
//   Exchange. Only the writer stores to `current`, so an exchange reads what the writer stored last, and its store may wait
//     in the buffer like any other (after LDAXR/STLXR later loads may pass the STLXR).
//   Compare-and-set of a slot's owner. Several threads write there, so it waits until its process's buffer is empty and acts on
//     memory itself. That is at least acq_rel; the one load that could still pass it is (1), which (3) checks again.
//   Loads of contents. A plain load may be satisfied early, though not before an earlier acquire load of its process: `stale`
//     holds the cells that were raw at some moment since the reader's last acquire load, and may read as raw. It may be
//     satisfied late too, until the reader's next store of its pin, a release: so a snapshot counts as held from its check
//     until the next pin (or null) is stored.
//
// Snapshots live in a few cells, and the writer takes the lowest free one, so an address comes back at once (A, B, A).
//
// The macros under `#if` are of three kinds, all listed and run by run.sh: a seed breaks one thing and must be found; a
// witness says that a situation never comes up and must be refuted, so that the search is known to pass through it;
// FIRST_RELAXED weakens (1), where acquire is not what keeps a snapshot safe, and must hold.

#define READERS 2           // process ids 0 and 1
#define SLOTS 2             // either reader may hold either slot
#ifndef READS
#define READS 3             // by each reader
#endif
#ifndef PUBLISHES
#define PUBLISHES 4
#endif
#define CELLS 4             // a pinned one per slot, the current one, the next one: the writer must never need more
#define CAPACITY 4          // entries in a store buffer; the algorithm needs 3, and a store into a full buffer waits
#define WRITER READERS      // its process id

#define NONE 0              // the null pointer; cells are 1 .. CELLS
#define NO_SLOT 255
#define BIT(cell) (1 << (cell))
#define CELL_1 2            // BIT(1)
#define CELLS_2_TO_4 28
#define EVERY_CELL 30

// --- orders, and the seeds that weaken them -----------------------------------------------------------------------------

#define PLAIN 0
#define RELEASE 1
#define SEQ_CST 2

#if defined(PIN_RELEASE)
#define PIN_ORDER RELEASE
#else
#define PIN_ORDER SEQ_CST
#endif

#if defined(SWAP_RELEASE)                                             // acq_rel, as far as its store goes
#define SWAP_ORDER RELEASE
#elif defined(SWAP_RELAXED) || defined(SWAP_RELAXED_THEN_FENCE)
#define SWAP_ORDER PLAIN
#else
#define SWAP_ORDER SEQ_CST
#endif

#if defined(GIVE_BACK_OWNER_RELAXED)
#define OWNER_ORDER PLAIN
#else
#define OWNER_ORDER RELEASE
#endif

#define NO_SEQ_CST_WAITS(process) (!(buffer[process]??[SEQ_CST, _, _]))

#if defined(RELOAD_ACQUIRE) || defined(RELOAD_RELAXED_AFTER_FENCE)
#define RELOAD_MAY_READ true
#else
#define RELOAD_MAY_READ NO_SEQ_CST_WAITS(_pid)
#endif

#if defined(SCAN_ACQUIRE)
#define SCAN_MAY_READ true
#elif defined(SWAP_RELAXED_THEN_FENCE)                                // the fence comes too late for the contents
#define SCAN_MAY_READ empty(buffer[WRITER])
#else
#define SCAN_MAY_READ NO_SEQ_CST_WAITS(WRITER)
#endif

// --- memory -------------------------------------------------------------------------------------------------------------

// Locations, as store buffers name them.
#define CURRENT 0
#define PIN 1               // + slot
#define OWNER 3             // + slot
#define CONTENTS 4          // + cell
#define RAW 0               // not filled, or words of an earlier snapshot and of the next one side by side
#define WHOLE 1

chan buffer[READERS + 1] = [CAPACITY] of { byte, byte, byte };        // order, location, value

byte current = 1;
byte pin[SLOTS];
bit owner[SLOTS];           // 1: taken
byte raw = CELLS_2_TO_4;    // cells whose contents are RAW; cell 1 is published from the start

byte wanted[READERS];       // each reader's `cur`: the cell that it is about to take, NONE between reads

// --- what the properties look at and the algorithm does not -------------------------------------------------------------

byte live = CELL_1;         // cells that are published and not freed since
byte recent = CELL_1;       // cells that a read which begins now may answer with
byte held[READERS];         // the cell that a reader may be reading from
byte allowed[READERS];      // `recent` for the read that is under way, 0 between reads
byte stale[READERS];        // cells that may read as RAW, among those in the reader's view
#if defined(WITNESS_ABA)
bit came_back[READERS];     // the wanted cell was freed after (1)
#endif
#if defined(WITNESS_HANDOVER)
byte last_reader[SLOTS] = NONE;                                       // process id + 1
#endif

// With (1) an acquire, a reader looks at the cell it wants and at no other. A relaxed (1) lets any load of contents come early.
#if defined(FIRST_RELAXED)
#define IN_VIEW(who) EVERY_CELL
#else
#define IN_VIEW(who) (wanted[who] == NONE -> 0 : BIT(wanted[who]))
#endif

// A store enters the buffer of the process that executes it.
inline store(order, location, value) {
  buffer[_pid]!order, location, value
}

// What every acquire load does: no later load was satisfied before this moment.
inline acquire() {
  stale[_pid] = raw & IN_VIEW(_pid)
}

hidden byte order_, location_, value_;                                // the entry on its way to memory

inline becomes_visible() {
  if
  :: location_ == CURRENT -> current = value_
  :: location_ >= PIN && location_ < PIN + SLOTS -> pin[location_ - PIN] = value_
  :: location_ >= OWNER && location_ < OWNER + SLOTS -> owner[location_ - OWNER] = value_
  :: location_ > CONTENTS && value_ == WHOLE -> raw = raw & ~BIT(location_ - CONTENTS)
  :: location_ > CONTENTS && value_ == RAW ->
     assert(held[0] + CONTENTS != location_ && held[1] + CONTENTS != location_);    // WHOLE: nobody looks on
     raw = raw | BIT(location_ - CONTENTS);
     stale[0] = stale[0] | (BIT(location_ - CONTENTS) & IN_VIEW(0));
     stale[1] = stale[1] | (BIT(location_ - CONTENTS) & IN_VIEW(1))
  fi
}

// --- reader -------------------------------------------------------------------------------------------------------------

inline claim() {
#if defined(CLAIM_WITHOUT_CAS)
  if
  :: owner[0] == 0 -> slot = 0
  :: owner[1] == 0 -> slot = 1
  fi;
  store(RELEASE, OWNER + slot, 1)
#else
  empty(buffer[_pid]);
  if
  :: owner[0] == 0 -> owner[0] = 1; slot = 0
  :: owner[1] == 0 -> owner[1] = 1; slot = 1
  fi
#endif
#if defined(WITNESS_HANDOVER)
  ; assert(last_reader[slot] == NONE || last_reader[slot] == _pid + 1);
  last_reader[slot] = _pid + 1
#endif
}

// From here on the reader may look into the snapshot, until it stores another pin.
inline take() {
  assert(live & BIT(wanted[_pid]));                                   // FREED: what a reader takes is not freed yet
  assert(!(stale[_pid] & BIT(wanted[_pid])));                         // WHOLE: all of it reads as filled
  assert(allowed[_pid] & BIT(wanted[_pid]));                          // RECENT: no older than a publish that had returned
#if defined(WITNESS_ABA)
  assert(!came_back[_pid]);
  came_back[_pid] = 0;
#endif
  held[_pid] = wanted[_pid];
  pinned = wanted[_pid];
  wanted[_pid] = NONE;
  allowed[_pid] = 0;
  stale[_pid] = stale[_pid] & IN_VIEW(_pid)
}

active [READERS] proctype reader() {
  byte again;
  byte pinned;                                                        // the thread's plain copy of its pin
  byte slot = NO_SLOT;
  byte reads;

next_read:
  do
  :: atomic {
       reads < READS -> reads++;
       if
       :: slot == NO_SLOT -> claim()                                  // one step with (1): nobody can tell a claim put off
       :: else
       fi;
       allowed[_pid] = recent;
       wanted[_pid] = current;                                        // (1)
#if defined(STICKY_WITHOUT_LOOK)
       if
       :: pinned != NONE -> wanted[_pid] = pinned
       :: else
       fi;
#endif
#if !defined(FIRST_RELAXED)
       acquire();
#endif
       if
       :: wanted[_pid] == pinned ->                                   // sticky: nothing is stored
#if defined(WITNESS_STICKY)
          assert(false);
#endif
          take(); goto next_read
       :: else
       fi
     }
     do
     :: atomic { store(PIN_ORDER, PIN + slot, wanted[_pid]); held[_pid] = NONE }    // (2)
#if defined(RECHECK_REMOVED)
        atomic { take(); break }
#endif
#if defined(RELOAD_RELAXED_AFTER_FENCE)
        atomic { empty(buffer[_pid]); acquire() }                     // the fence; (3) itself then acquires nothing
#endif
        atomic {
          RELOAD_MAY_READ;
          again = current;                                            // (3)
          if
          :: again == wanted[_pid] ->
#if !defined(RELOAD_RELAXED_AFTER_FENCE)
             acquire();
#endif
             again = NONE; take(); break
          :: else ->
#if defined(WITNESS_MOVED)
             assert(false);
#endif
#if defined(WITNESS_ABA)
             came_back[_pid] = 0;
#endif
             wanted[_pid] = again;
             again = NONE;
             acquire()
#if defined(RETRY_WITHOUT_PIN)
             ; take(); break
#endif
          fi
        }
     od;

  :: atomic {                                                         // the slot goes back: two stores of its own, one step
       slot != NO_SLOT ->
#if defined(GIVE_BACK_OWNER_FIRST)
       store(RELEASE, OWNER + slot, 0);
       store(RELEASE, PIN + slot, NONE);
#else
       store(RELEASE, PIN + slot, NONE);
       store(OWNER_ORDER, OWNER + slot, 0);
#endif
       slot = NO_SLOT;
#if !defined(PINNED_OUTLIVES_SLOT)
       pinned = NONE;
#endif
#if !defined(GIVE_BACK_WHILE_IN_USE)
       held[_pid] = NONE
#endif
     }
#if defined(GIVE_BACK_WHILE_IN_USE)
     held[_pid] = NONE
#endif

  :: reads == READS -> break                                          // with its pin set, too: a reader that stopped
  od
}

// --- writer -------------------------------------------------------------------------------------------------------------

inline fill() {
  store(PLAIN, CONTENTS + next, RAW);
  store(PLAIN, CONTENTS + next, WHOLE)
}

inline notice(who) {
  if
  :: allowed[who] != 0 -> allowed[who] = allowed[who] | BIT(next)
  :: else
  fi
}

inline swap() {                                                       // (4)
  store(SWAP_ORDER, CURRENT, next);
  retired = retired | BIT(now);
  now = next;
  live = live | BIT(next);
  recent = recent | BIT(next);
  notice(0);
  notice(1)
}

inline look_at(slot) {
  atomic {
    SCAN_MAY_READ;
#if defined(WAIT_FOR_READERS)
    !(BIT(pin[slot]) & retired);
#endif
    seen = seen | (BIT(pin[slot]) & EVERY_CELL)
  }
}

inline scan() {                                                       // (5)
#if !defined(SCAN_MISSES_A_SLOT)
  look_at(0);
#endif
  look_at(1)
}

inline free_unpinned() {
#if defined(FREE_ONLY_THE_LATEST)
  seen = seen | ~latest;
#endif
  assert(!(BIT(held[0]) & retired & ~seen));                          // HELD: what is freed is in no reader's hands
  assert(!(BIT(held[1]) & retired & ~seen));
#if defined(WITNESS_ABA)
  came_back[0] = came_back[0] || (BIT(wanted[0]) & retired & ~seen);
  came_back[1] = came_back[1] || (BIT(wanted[1]) & retired & ~seen);
#endif
  live = live & ~(retired & ~seen);
  retired = retired & seen
}

#define COUNT(cells) (((cells) >> 1 & 1) + ((cells) >> 2 & 1) + ((cells) >> 3 & 1) + ((cells) >> 4 & 1))

active proctype writer() {
  byte now = 1;                                                       // what this writer published last
  byte next, retired, seen, publishes;
#if defined(FREE_ONLY_THE_LATEST)
  byte latest;
#endif

  do
  :: atomic {
       publishes < PUBLISHES ->
       publishes++;
       next = 1;
       do
       :: (BIT(now) | retired) & BIT(next) -> next++
       :: else -> break
       od;
       assert(next <= CELLS);                                         // BOUNDED: one cell is always free
#if defined(FREE_ONLY_THE_LATEST)
       latest = BIT(now);
#endif
#if !defined(FILL_AFTER_SWAP)
       fill();
#endif
#if !defined(SCAN_BEFORE_SWAP)
       swap();
#endif
#if defined(FILL_AFTER_SWAP)
       fill();
#endif
#if defined(FREE_BEFORE_SCAN)
       free_unpinned();
#endif
     }
#if defined(SPIN_FOR_READERS)
     do
     :: scan(); if :: !(seen & retired) -> break :: else -> seen = 0 fi
     od;
#else
     scan();
#endif
     atomic {
#if defined(SCAN_BEFORE_SWAP)
       swap();
#endif
#if !defined(FREE_BEFORE_SCAN)
       free_unpinned();
#endif
       assert(COUNT(retired) <= SLOTS);                               // BOUNDED: with `current`, slots + 1 at most
#if defined(WITNESS_BOUND)
       assert(COUNT(retired) < SLOTS);
#endif
       recent = BIT(now);
#if !defined(FREE_BEFORE_SCAN)
       seen = 0;
#endif
       next = NONE
     }
  :: else -> break
  od
}

// --- the way from the buffers to memory -----------------------------------------------------------------------------------

#define FROM_HEAD(process) d_step { buffer[process]?order_, location_, value_ -> becomes_visible() }
#define OVERTAKE(process, place)                                                                                          \
  d_step { buffer[process]??PLAIN, eval(place), value_ -> location_ = place; becomes_visible() }

active proctype memory() {
end:
  do
  :: FROM_HEAD(0)
  :: FROM_HEAD(1)
  :: FROM_HEAD(WRITER)
  :: OVERTAKE(WRITER, CONTENTS + 1)
  :: OVERTAKE(WRITER, CONTENTS + 2)
  :: OVERTAKE(WRITER, CONTENTS + 3)
  :: OVERTAKE(WRITER, CONTENTS + 4)
#if defined(SWAP_RELAXED) || defined(SWAP_RELAXED_THEN_FENCE)
  :: OVERTAKE(WRITER, CURRENT)
#endif
#if defined(GIVE_BACK_OWNER_RELAXED)
  :: OVERTAKE(0, OWNER + 0)
  :: OVERTAKE(0, OWNER + 1)
  :: OVERTAKE(1, OWNER + 0)
  :: OVERTAKE(1, OWNER + 1)
#endif
  od
}
