// lane.hpp: one thread's ring of entries, and which thread has which. Layer core; the rings behind recorder.hpp.
//
// One thread writes, one drainer reads. An entry says by its stamp that it is whole, so that the two share no index but
// `drained`, which the writer looks at when the ring seems full. Lanes are never freed, only handed on: a thread takes
// one at its first record and gives it back when it ends. A forked child has none of its parent's: their memory may be a
// file that both see.
//
// Others may look at entries, and free none, if the drainer waits for them before it says (L2): engine_trip.hpp does.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

#include "canary/core/entry.hpp"
#include "canary/core/slots.hpp"
#include "canary/core/text_ring.hpp"

namespace canary::detail {

/// What a lane is doing for its recorder.
enum class LaneState : std::uintptr_t {
  held = 0,    ///< a thread writes to it
  vacant = 1,  ///< it waits for a thread
  dead = 2,    ///< it belongs to the process that this one was forked from
};

/// Whose a lane is: the recorder's address with a LaneState in its low bits, 0 for no recorder. One word, so that a recorder
/// that goes and a thread that ends cannot pass each other. An address will do for a name: a recorder strikes it off every
/// lane before it goes, and a lane that a thread holds goes to nobody else.
enum class Tenancy : std::uintptr_t {
  orphan = static_cast<std::uintptr_t>(LaneState::held),    ///< its recorder is gone, its thread is not
  unused = static_cast<std::uintptr_t>(LaneState::vacant),  ///< nobody's
};

[[nodiscard]] inline Tenancy tenancy_of(const void* recorder, LaneState state) noexcept {
  return static_cast<Tenancy>(reinterpret_cast<std::uintptr_t>(recorder) | static_cast<std::uintptr_t>(state));
}
[[nodiscard]] inline LaneState state_of(Tenancy tenancy) noexcept {
  return static_cast<LaneState>(static_cast<std::uintptr_t>(tenancy) & 3);
}

template <class Atomics>
struct alignas(64) Lane {
  static constexpr std::uint64_t no_end = ~std::uint64_t{0};

  // The writer's, on one cache line.
  Cell<Atomics>* cells = nullptr;
  std::uint64_t mask = 0;
  std::uint64_t next = 0;     ///< position of the next entry, counted from 0
  std::uint64_t stop = 0;     ///< the first position that prepare() must see: one test for the ring and for ids
  std::uint64_t id_base = 0;  ///< an entry's id less its position
  std::int64_t id_tick = 0;   ///< time when the block of ids was taken
  std::uint64_t limit = 0;    ///< first position that would overwrite what is not drained, as far as is known
  typename Atomics::template atomic<Tenancy> tenancy{Tenancy::unused};

  alignas(64) typename Atomics::template atomic<std::uint64_t> drained{0};  ///< entries before it may be overwritten
  std::uint64_t id_end = no_end;            // the writer's: first position beyond the block of ids
  std::uint64_t id_block = 0;               // and how many it took
  BasicTextRing<Atomics>* texts = nullptr;  // the writer's; null where none are kept
  Lane* next_of_thread = nullptr;           // owner thread only
  Lane* next_of_domain = nullptr;           // never changes once it is listed

  /// Sees that there is room for the entry at `next`; false when the ring is full.
  [[nodiscard]] bool prepare() noexcept {
    // (L1) acquire: pairs with (L2). What the drainer read there, it read before this overwrites it.
    if (next == limit) limit = drained.load(std::memory_order_acquire) + mask + 1;
    if (next == limit) return false;
    stop = next < id_end ? std::min(limit, id_end) : next + 1;
    return true;
  }

  /// The id that the entry at `next` gets, while it is not `stop`.
  [[nodiscard, gnu::always_inline]] std::uint64_t next_id() const noexcept { return id_base + next; }

  /// Where the entry at `position` goes. Words are written where they shall stand: an entry that is put together first needs
  /// more registers than there are.
  [[nodiscard, gnu::always_inline]] Cell<Atomics>& cell_at(std::uint64_t position) const noexcept {
    return cells[position & mask];
  }

  /// Makes it the entry at `next`, which must not be `stop`; its words fold to `fold`.
  [[gnu::always_inline]] void seal(Cell<Atomics>& cell, std::uint64_t position, std::uint64_t fold) noexcept {
    // (L3) release: pairs with (L4). Whoever sees the stamp sees the words that it checks.
    cell.stamp.store(stamp_of(position, fold), std::memory_order_release);
    next = position + 1;
  }

  /// Appends an entry; false when the ring is full.
  [[nodiscard]] bool push(const EntryWords& words) noexcept {
    if (next == stop && !prepare()) [[unlikely]]
      return false;
    Cell<Atomics>& cell = cell_at(next);
    cell.words = words;
    seal(cell, next, fold_of(words));
    return true;
  }

  /// Gives `visit(words, whole)` each entry from `position` on, at most `most` of them; the position after the last.
  template <class Visit>
  std::uint64_t read(std::uint64_t position, std::uint64_t most, Visit visit) const {
    return read_cells(cells, mask, position, most, visit);
  }
  template <class Visit>
  static std::uint64_t read_cells(const Cell<Atomics>* cells, std::uint64_t mask, std::uint64_t position,
                                  std::uint64_t most, Visit visit) {
    for (; most != 0; --most, ++position) {
      const Cell<Atomics>& cell = cells[position & mask];
      // (L4) acquire: pairs with (L3).
      const std::uint64_t stamp = cell.stamp.load(std::memory_order_acquire);
      if (!is_of(stamp, position)) break;
      visit(cell.words, stamp == stamp_of(position, cell.words));
    }
    return position;
  }

  /// Lets the writer have everything before `position` again.
  void release(std::uint64_t position) noexcept {
    // (L2) release: pairs with (L1).
    drained.store(position, std::memory_order_release);
  }

  /// Makes it the calling thread's, if it waits for one of this recorder's.
  [[nodiscard]] bool take(const void* recorder) noexcept {
    Tenancy vacant = tenancy_of(recorder, LaneState::vacant);
    if (tenancy.load(std::memory_order_relaxed) != vacant) return false;
    // (L5) acquire: pairs with (L6). The next writer goes on where the last one stopped.
    return tenancy.compare_exchange_strong(vacant, tenancy_of(recorder, LaneState::held), std::memory_order_acquire,
                                           std::memory_order_relaxed);
  }

  /// The other way round; one whose recorder is gone becomes nobody's, a parent's stays dead. What is left of its block of
  /// ids is good for the next thread, until the tick ends.
  void give_back() noexcept {
    Tenancy held = tenancy.load(std::memory_order_relaxed);
    while (state_of(held) == LaneState::held) {
      const auto vacant = static_cast<std::uintptr_t>(held) | static_cast<std::uintptr_t>(LaneState::vacant);
      // (L6) release: pairs with (L5).
      if (tenancy.compare_exchange_weak(held, static_cast<Tenancy>(vacant), std::memory_order_release,
                                        std::memory_order_relaxed))
        return;
    }
  }

  /// Strikes the recorder off: nobody's from now on, or from when its thread gives it back. A dead lane stays dead: caches
  /// of shared objects that were not told of the fork may name it.
  void retire() noexcept {
    Tenancy now = tenancy.load(std::memory_order_relaxed);
    while (state_of(now) != LaneState::dead) {
      const Tenancy after = state_of(now) == LaneState::held ? Tenancy::orphan : Tenancy::unused;
      // acq_rel: passes on what (L6) released to who opens the lane next.
      if (tenancy.compare_exchange_weak(now, after, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    }
  }
};

/// All lanes of one shared object. Never destroyed.
template <class Atomics>
class LaneDomain {
 public:
  using LaneType = Lane<Atomics>;

  [[nodiscard]] static LaneDomain& local() noexcept {
    union Immortal {  // no destructor runs at exit
      constexpr Immortal() noexcept : domain{} {}
      ~Immortal() {}
      LaneDomain domain;
    };
    static constinit Immortal immortal;
    return immortal.domain;
  }

  /// A lane for a recorder, waiting for a thread; null without memory.
  [[nodiscard]] LaneType* open(const void* recorder, Cell<Atomics>* cells, std::size_t count,
                               BasicTextRing<Atomics>* texts) noexcept {
    watch_forks();
    const std::lock_guard guard{mutex_};
    LaneType* lane = first_;
    while (lane != nullptr && lane->tenancy.load(std::memory_order_acquire) != Tenancy::unused)  // (L5)
      lane = lane->next_of_domain;
    if (lane == nullptr) {
      lane = new (std::nothrow) LaneType;  // never freed: a thread may look at it when its recorder is gone
      if (lane == nullptr) return nullptr;
      lane->next_of_domain = std::exchange(first_, lane);
    }
    lane->cells = cells;
    lane->mask = count - 1;
    lane->texts = texts;
    lane->next = lane->stop = lane->id_end = 0;
    lane->limit = count;
    lane->drained.store(0, std::memory_order_relaxed);
    lane->tenancy.store(tenancy_of(recorder, LaneState::vacant), std::memory_order_release);  // (L6)
    return lane;
  }

 private:
  static void watch_forks() noexcept;
  static void after_in_child() noexcept;

  std::mutex mutex_;
  LaneType* first_ = nullptr;
};

/// What one thread knows without asking: the lane it used last. One and no more: threads that use two recorders in turn
/// search their lanes, which costs nanoseconds, and all others save them.
template <class Atomics>
struct LaneCache {
  /// Stands in where there is no lane: of no recorder.
  static inline constinit Lane<Atomics> no_lane{};

  Lane<Atomics>* last = &no_lane;
  Lane<Atomics>* attached = nullptr;  // every lane this thread holds through this shared object
  bool exited = false;

  /// constinit and trivially destroyed: a dynamic constructor would cost every record a guard.
  [[nodiscard]] static LaneCache& local() noexcept {
    static constinit thread_local LaneCache cache;
    return cache;
  }

  /// The lane that this thread holds of a recorder; null if none. Lets go of those whose recorders are gone.
  [[nodiscard]] Lane<Atomics>* find(const void* recorder) noexcept {
    Lane<Atomics>* found = nullptr;
    for (Lane<Atomics>** at = &attached; *at != nullptr;) {
      Lane<Atomics>* lane = *at;
      const Tenancy now = lane->tenancy.load(std::memory_order_relaxed);
      if (now == tenancy_of(recorder, LaneState::held)) found = lane;
      if (now != Tenancy::orphan && state_of(now) == LaneState::held) {
        at = &lane->next_of_thread;
        continue;
      }
      *at = lane->next_of_thread;
      if (last == lane) last = &no_lane;  // whoever has it next must not share it
      lane->give_back();
    }
    return found;
  }
};

/// Gives a thread's lanes back when it ends; touched on attach alone.
template <class Atomics>
struct LaneExit {
  bool armed = false;

  static void arm() noexcept {
    static thread_local LaneExit hook;
    hook.armed = true;
  }

  ~LaneExit() {
    auto& cache = LaneCache<Atomics>::local();
    cache.exited = true;
    cache.last = &cache.no_lane;
    auto* lane = std::exchange(cache.attached, nullptr);
    while (lane != nullptr) {
      auto* next = lane->next_of_thread;
      lane->give_back();
      lane = next;
    }
  }
};

template <class Atomics>
void LaneDomain<Atomics>::watch_forks() noexcept {
  static constinit std::atomic<bool> watched{false};
  if (watched.exchange(true, std::memory_order_relaxed)) return;
  pthread_atfork([] { local().mutex_.lock(); }, [] { local().mutex_.unlock(); }, after_in_child);
}

template <class Atomics>
void LaneDomain<Atomics>::after_in_child() noexcept {
  LaneDomain& domain = local();
  domain.mutex_.unlock();
  for (LaneType* lane = domain.first_; lane != nullptr; lane = lane->next_of_domain)
    if (lane->tenancy.load(std::memory_order_relaxed) != Tenancy::unused)
      lane->tenancy.store(tenancy_of(nullptr, LaneState::dead), std::memory_order_relaxed);
}

}  // namespace canary::detail
