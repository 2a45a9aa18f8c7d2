// publish.hpp: one writer swaps a snapshot, readers never wait. Layer core.
//
// The sticky pin: a hazard pointer that stays set between reads. A reader compares `current` with what its thread has
// pinned; equal, it reads on. Only after a publication does it write: it pins the new snapshot and checks that
// `current` still names it. The writer swaps `current`, then frees every retired snapshot that no slot pins.
//
// Cost    a read is one acquire load and compares in the thread's cache; a publish scans the slots in use.
// Bounds  at most readers + 1 snapshots are alive. A stopped reader holds back one snapshot and stalls nobody.
// Not for signal handlers: a handler may interrupt its own thread between pin and check.
// Proved by tests/model (Spin) and tests/core/publish_stress_test.cpp; argued in docs/decisions/0004-publication.md.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include <boost/container/small_vector.hpp>

#include "canary/core/slots.hpp"

namespace canary {

template <class T, class Atomics = StdAtomics>
class Publication;

// ---------------------------------------------------------------------------------------------------------------------

/// A pointer to an immutable T that one writer at a time replaces and any number of threads read.
/// `Dispose` frees a T that nobody can see any more.
template <class T, class Atomics>
class Publication {
  using Domain = detail::SlotDomain<Atomics>;
  using Cache = detail::ThreadCache<Atomics>;
  using SlotType = detail::Slot<Atomics>;

 public:
  using Dispose = void (*)(T*) noexcept;
  class Reader;

  /// Starts with `first`, which it owns from now on.
  Publication(T* first, Dispose dispose) noexcept
      : current_{first},
        domain_{Domain::local()},
        id_{domain_.new_publication_id()},
        way_{id_ % Cache::ways},
        dispose_{dispose} {
    Domain::watch_forks();
    domain_.enlist(lock_);
  }

  Publication(const Publication&) = delete;
  Publication& operator=(const Publication&) = delete;

  /// No thread may be reading or hold a Reader any more; threads that have read may live on.
  ~Publication() {
    domain_.delist(lock_);
    T* last = current_.load(std::memory_order_relaxed);
    domain_.for_each_slot([&](SlotType& slot) {
      // Only this publication's: another's reader may be about to pin, and re-check, an address that is ours by now.
      if (slot.publication.load(std::memory_order_relaxed) != id_) return;
      // By value: its thread may end meanwhile, and the slot go to another publication.
      const void* pinned = slot.pin.load(std::memory_order_relaxed);
      if (pinned == last || std::find(retired_.begin(), retired_.end(), pinned) != retired_.end())
        slot.pin.compare_exchange_strong(pinned, nullptr, std::memory_order_relaxed);
      std::uint64_t mine = id_;
      slot.publication.compare_exchange_strong(mine, SlotType::vacated, std::memory_order_relaxed);
    });
    for (T* snapshot : retired_) dispose_(snapshot);
    dispose_(last);
  }

  /// Runs use(snapshot, args...) on the current snapshot, which stays alive meanwhile. Everything is passed by value:
  /// a capture by reference would force it out of registers. `use` must not read the same publication again: after a
  /// change that would let go of the snapshot it works on.
  /// Cost    wait-free while nothing is published; a publication inside a re-pin costs one more turn.
  template <class Use, class... Args>
  [[gnu::always_inline]] decltype(auto) read(Use use, Args... args) const noexcept {
    const SlotType* slot = Cache::local().slots[way_];
    // (1) acquire: pairs with (4). Whoever sees a publication sees what its publisher did before. The contents do not
    // hang on it: what is used is pinned, and every pin has passed (3).
    const T* seen = current_.load(std::memory_order_acquire);
    // Whose slot it is need not be asked. A pin that has passed (3) keeps its snapshot alive; were it another
    // publication's, there would be two living snapshots at one address. A publication that goes clears its own slots'
    // pins before it frees.
    if (slot->pin.load(std::memory_order_relaxed) == seen) [[likely]]
      return use(*seen, args...);
    return read_after_change(use, args...);
  }

  /// Serialises writers; hold it from reading writer() state to publish().
  [[nodiscard]] std::unique_lock<std::mutex> lock() const noexcept { return std::unique_lock{lock_.mutex}; }

  /// The current snapshot, for the holder of lock().
  [[nodiscard]] const T& writers() const noexcept { return *current_.load(std::memory_order_relaxed); }

  /// Makes room, so that publish() itself cannot fail. May throw std::bad_alloc; nothing has changed then.
  void prepare() { retired_.reserve(retired_.size() + 1); }

  /// Replaces the current snapshot, then frees every retired one that no reader pins. Under lock(), after prepare().
  void publish(T* next) noexcept {
    // (4) seq_cst: release part pairs with (1); in the single order with (5) it is the other half of (2)-(3).
    retired_.push_back(current_.exchange(next, std::memory_order_seq_cst));
    reclaim();
  }

  /// Snapshots that are alive: the current one and those that readers still pin. Under lock().
  template <class Visit>
  void for_each_alive(Visit visit) const {
    for (const T* snapshot : retired_) visit(*snapshot);
    visit(writers());
  }

  [[nodiscard]] std::size_t retired_count() const noexcept { return retired_.size(); }

 private:
  /// Pins what is current.
  const T* pin(SlotType& slot) const noexcept {
    const T* seen = current_.load(std::memory_order_acquire);
    if (slot.pin.load(std::memory_order_relaxed) == seen) return seen;  // another publication took the thread's way
    for (;;) {
      // (2) seq_cst: pairs with (5). Either the writer's scan sees this pin, or (3) sees the writer's swap.
      slot.pin.store(seen, std::memory_order_seq_cst);
      // (3) seq_cst: pairs with (4), see (2). It must itself acquire: an address may have come back with new contents.
      const T* again = current_.load(std::memory_order_seq_cst);
      if (again == seen) return seen;
      seen = again;
    }
  }

  template <class Use, class... Args>
  [[gnu::noinline, gnu::cold]] decltype(auto) read_after_change(Use use, Args... args) const noexcept {
    Cache& cache = Cache::local();
    if (cache.exited) return read_once(use, args...);
    SlotType* slot = cache.slots[way_];
    if (!is_mine(*slot)) slot = cache.slots[way_] = attached_slot(cache);
    if (stands_in(*slot)) return read_locked(use, args...);
    return use(*pin(*slot), args...);
  }

  /// By its domain, not its address: each shared object has a stand-in of its own.
  [[nodiscard]] static bool stands_in(const SlotType& slot) noexcept { return slot.domain == nullptr; }

  [[nodiscard]] bool is_mine(const SlotType& slot) const noexcept {
    return slot.domain == &domain_ && slot.publication.load(std::memory_order_relaxed) == id_;
  }

  /// The slot this thread holds for this publication: the one it has, one whose router is gone, or a new one;
  /// no_slot if there is none to be had.
  [[nodiscard]] SlotType* attached_slot(Cache& cache) const noexcept {
    SlotType* vacated = nullptr;
    for (SlotType* slot = cache.attached; slot; slot = slot->next_of_thread) {
      if (is_mine(*slot)) return slot;
      if (slot->domain == &domain_ && slot->publication.load(std::memory_order_relaxed) == SlotType::vacated)
        vacated = slot;
    }
    if (!vacated) {
      Domain::watch_forks();
      detail::ThreadExit<Atomics>::arm();
      vacated = domain_.claim(detail::this_thread());
      if (!vacated) return &Cache::no_slot;
      vacated->domain = &domain_;
      vacated->next_of_thread = std::exchange(cache.attached, vacated);
    }
    vacated->publication.store(id_, std::memory_order_relaxed);
    return vacated;
  }

  /// For a thread whose exit hook has run: nothing of it may stay behind.
  template <class Use, class... Args>
  decltype(auto) read_once(Use use, Args... args) const noexcept {
    SlotType* slot = domain_.claim(detail::this_thread());
    if (!slot) return read_locked(use, args...);
    const auto give_back = [](SlotType* held) { Domain::give_back(*held); };
    const std::unique_ptr<SlotType, decltype(give_back)> holding{slot, give_back};
    return use(*pin(*slot), args...);
  }

  /// With no slot to be had, the writer's mutex keeps the snapshot alive.
  template <class Use, class... Args>
  decltype(auto) read_locked(Use use, Args... args) const noexcept {
    const std::lock_guard guard{lock_.mutex};
    return use(writers(), args...);
  }

  void reclaim() noexcept {
    auto kept = retired_.begin();  // [begin, kept) are pinned
    domain_.for_each_slot([&](SlotType& slot) {
      // (5) seq_cst: pairs with (2). After the swap (4) in the single order, so a pin it does not see is re-checked.
      const void* pinned = slot.pin.load(std::memory_order_seq_cst);
      if (pinned == nullptr) return;
      const auto at = std::find(kept, retired_.end(), pinned);
      if (at != retired_.end()) std::iter_swap(at, kept++);
    });
    for (auto at = kept; at != retired_.end(); ++at) dispose_(*at);
    retired_.erase(kept, retired_.end());
  }

  // What a read touches comes first and never changes but for `current_`.
  typename Atomics::template atomic<T*> current_;
  Domain& domain_;
  std::uint64_t id_;
  std::size_t way_;
  Dispose dispose_;
  alignas(64) mutable detail::ForkLock lock_;
  boost::container::small_vector<T*, 8> retired_;
};

/// A reader's place held by an object instead of the thread: skips the thread-local look-up. One thread at a time uses
/// it; it must go before its publication does.
template <class T, class Atomics>
class Publication<T, Atomics>::Reader {
 public:
  explicit Reader(const Publication& publication) noexcept
      : publication_{&publication}, slot_{publication.domain_.claim(detail::Holder::handle)} {
    Domain::watch_forks();
    if (slot_ == nullptr) {
      slot_ = &Cache::no_slot;
      return;
    }
    slot_->domain = &publication.domain_;
    slot_->publication.store(publication.id_, std::memory_order_relaxed);
  }
  Reader(Reader&& other) noexcept
      : publication_{other.publication_}, slot_{std::exchange(other.slot_, &Cache::no_slot)} {}
  Reader& operator=(Reader&& other) noexcept {
    std::swap(publication_, other.publication_);
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~Reader() {
    if (!stands_in(*slot_)) Domain::give_back(*slot_);
  }

  /// As Publication::read(). A reader that found no slot, or was moved from, goes through the writer's mutex.
  template <class Use, class... Args>
  [[gnu::always_inline]] decltype(auto) read(Use use, Args... args) noexcept {
    const T* seen = publication_->current_.load(std::memory_order_acquire);  // (1)
    if (slot_->pin.load(std::memory_order_relaxed) == seen) [[likely]]
      return use(*seen, args...);
    return read_after_change(use, args...);
  }

 private:
  template <class Use, class... Args>
  [[gnu::noinline, gnu::cold]] decltype(auto) read_after_change(Use use, Args... args) noexcept {
    if (stands_in(*slot_)) return publication_->read_locked(use, args...);
    return use(*publication_->pin(*slot_), args...);
  }

  const Publication* publication_;
  SlotType* slot_;
};

}  // namespace canary
