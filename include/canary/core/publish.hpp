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

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include <boost/container/small_vector.hpp>

namespace canary {

/// The atomics a publication runs on. A checker brings its own to see every access of the very same code.
struct StdAtomics {
  template <class T>
  using atomic = std::atomic<T>;
};

template <class T, class Atomics = StdAtomics>
class Publication;

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Who holds a slot: nobody, a Reader handle, or the thread with this pthread_self().
enum class Holder : std::uint64_t { nobody = 0, handle = 1 };

[[nodiscard]] inline Holder this_thread() noexcept { return static_cast<Holder>((std::uint64_t)pthread_self()); }

/// One reader's place: what it pins. A cache line each, since every re-pin writes to it.
template <class Atomics>
struct alignas(64) Slot {
  static constexpr std::uint64_t vacated = 0;  ///< publication of a slot whose router is gone

  typename Atomics::template atomic<const void*> pin{nullptr};
  typename Atomics::template atomic<Holder> holder{Holder::nobody};
  typename Atomics::template atomic<std::uint64_t> publication{vacated};
  Slot* next_of_thread = nullptr;  // owner thread only
  const void* domain = nullptr;    // owner thread only; null in a slot that only stands in for one
};

template <class Atomics>
struct SlotBlock {
  static constexpr std::size_t size = 256;
  std::array<Slot<Atomics>, size> slots{};
  typename Atomics::template atomic<SlotBlock*> next{nullptr};
};

/// What the domain needs to know of a publication when the process forks.
struct ForkLock {
  std::mutex mutex;
  ForkLock* next = nullptr;
};

template <class Atomics>
struct ThreadCache;

/// All slots of one shared object. Never destroyed: threads may end after every static is gone. A shared object that
/// made a publication must stay loaded as long as threads that read it live.
template <class Atomics>
class SlotDomain {
 public:
  static constexpr std::size_t prepared = 1'024;
  using SlotType = Slot<Atomics>;

  constexpr SlotDomain() noexcept = default;
  SlotDomain(const SlotDomain&) = delete;
  SlotDomain& operator=(const SlotDomain&) = delete;

  /// The domain of the shared object this is compiled into. Hidden visibility makes one for each.
  [[nodiscard]] static SlotDomain& local() noexcept {
    union Immortal {  // no destructor runs at exit
      constexpr Immortal() noexcept : domain{} {}
      ~Immortal() {}
      SlotDomain domain;
    };
    static constinit Immortal immortal;
    return immortal.domain;
  }

  /// Lets fork() find every mutex free and the child only the slots of the thread that lives on.
  /// To be called in each shared object before it takes a slot or publishes.
  static void watch_forks() noexcept {
    static constinit std::atomic<bool> watched{false};
    if (!watched.exchange(true, std::memory_order_relaxed))
      pthread_atfork(before_fork, after_in_parent, after_in_child);
  }

  [[nodiscard]] std::uint64_t new_publication_id() noexcept {
    return 1 + last_id_.fetch_add(1, std::memory_order_relaxed);
  }

  void enlist(ForkLock& lock) noexcept {
    const std::lock_guard guard{list_mutex_};
    lock.next = std::exchange(locks_, &lock);
  }

  void delist(ForkLock& lock) noexcept {
    const std::lock_guard guard{list_mutex_};
    ForkLock** at = &locks_;
    while (*at != &lock) at = &(*at)->next;
    *at = lock.next;
  }

  /// A free slot, now the caller's; null when all are taken and no memory is to be had for more.
  [[nodiscard]] SlotType* claim(Holder holder) noexcept {
    for (std::size_t i = 0; i != prepared; ++i) {
      if (!take(slots_[i], holder)) continue;
      // (6) seq_cst: pairs with (7). A writer that still sees the old limit has swapped before this; then the
      // claimer's re-check (3), which follows, sees the swap.
      for (std::size_t seen = limit_.load(std::memory_order_seq_cst); seen <= i;)
        if (limit_.compare_exchange_weak(seen, i + 1, std::memory_order_seq_cst)) break;
      return &slots_[i];
    }
    return claim_beyond(holder);
  }

  static void give_back(SlotType& slot) noexcept {
    // (8) release: pairs with (5) and (9). What this reader read, it read before the writer frees it and before the
    // next holder starts.
    slot.pin.store(nullptr, std::memory_order_release);
    slot.publication.store(SlotType::vacated, std::memory_order_relaxed);
    slot.holder.store(Holder::nobody, std::memory_order_release);
  }

  template <class Visit>
  void for_each_slot(Visit visit) noexcept {
    // (7) seq_cst: pairs with (6), likewise for the blocks beyond.
    const std::size_t limit = limit_.load(std::memory_order_seq_cst);
    for (std::size_t i = 0; i != limit; ++i) visit(slots_[i]);
    for (auto* block = beyond_.load(std::memory_order_seq_cst); block;
         block = block->next.load(std::memory_order_seq_cst))
      for (SlotType& slot : block->slots) visit(slot);
  }

 private:
  static bool take(SlotType& slot, Holder holder) noexcept {
    Holder free = Holder::nobody;
    if (slot.holder.load(std::memory_order_relaxed) != free) return false;
    // (9) acquire: pairs with (8).
    return slot.holder.compare_exchange_strong(free, holder, std::memory_order_acquire, std::memory_order_relaxed);
  }

  [[nodiscard]] SlotType* claim_beyond(Holder holder) noexcept {
    auto* link = &beyond_;
    for (;;) {
      auto* block = link->load(std::memory_order_seq_cst);  // (6)
      if (!block) {
        auto* made = new (std::nothrow) SlotBlock<Atomics>;  // never freed: a domain keeps what it once needed
        if (!made) return nullptr;
        if (link->compare_exchange_strong(block, made, std::memory_order_seq_cst))
          block = made;
        else
          delete made;
      }
      for (SlotType& slot : block->slots)
        if (take(slot, holder)) return &slot;
      link = &block->next;
    }
  }

  static void before_fork() noexcept {
    SlotDomain& domain = local();
    domain.list_mutex_.lock();
    for (ForkLock* lock = domain.locks_; lock; lock = lock->next) lock->mutex.lock();
  }

  static void after_in_parent() noexcept {
    SlotDomain& domain = local();
    for (ForkLock* lock = domain.locks_; lock; lock = lock->next) lock->mutex.unlock();
    domain.list_mutex_.unlock();
  }

  static void after_in_child() noexcept {
    after_in_parent();
    const Holder self = this_thread();
    local().for_each_slot([self](SlotType& slot) {
      const Holder holder = slot.holder.load(std::memory_order_relaxed);
      if (holder != Holder::nobody && holder != Holder::handle && holder != self) give_back(slot);
    });
    ThreadCache<Atomics>::local().random = 0;
  }

  std::array<SlotType, prepared> slots_{};
  typename Atomics::template atomic<std::size_t> limit_{0};
  typename Atomics::template atomic<SlotBlock<Atomics>*> beyond_{nullptr};
  std::atomic<std::uint64_t> last_id_{0};
  std::mutex list_mutex_;
  ForkLock* locks_ = nullptr;
};

/// What one thread knows without asking: the slots of the publications it read last.
template <class Atomics>
struct ThreadCache {
  static constexpr std::size_t ways = 4;
  /// Stands in where there is no slot: it pins nothing and belongs to no publication.
  static inline constinit Slot<Atomics> no_slot{};

  std::array<Slot<Atomics>*, ways> slots{&no_slot, &no_slot, &no_slot, &no_slot};
  Slot<Atomics>* attached = nullptr;  // every slot this thread holds through this shared object
  std::uint64_t random = 0;           // state of the draw for requests without a key
  bool exited = false;

  /// constinit and trivially destroyed: a dynamic constructor would cost every read a guard.
  [[nodiscard]] static ThreadCache& local() noexcept {
    static constinit thread_local ThreadCache cache;
    return cache;
  }
};

/// A seed that differs between threads (by `place`, which is the thread's own), processes, and a parent and its child.
[[nodiscard]] inline std::uint64_t fresh_seed(const void* place) noexcept {
  const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(place));
  return now ^ std::rotl(address, 20) ^ std::rotl(static_cast<std::uint64_t>(getpid()), 44);
}

/// Gives a thread's slots back when it ends; touched on attach alone.
template <class Atomics>
struct ThreadExit {
  bool armed = false;

  static void arm() noexcept {
    static thread_local ThreadExit hook;
    hook.armed = true;
  }

  ~ThreadExit() {
    auto& cache = ThreadCache<Atomics>::local();
    cache.exited = true;
    cache.slots.fill(&ThreadCache<Atomics>::no_slot);
    for (auto* slot = std::exchange(cache.attached, nullptr); slot;) {
      auto* next = slot->next_of_thread;
      SlotDomain<Atomics>::give_back(*slot);
      slot = next;
    }
  }
};

}  // namespace detail

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
