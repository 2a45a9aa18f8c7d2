// slots.hpp: where readers say what they read. Layer core; the slots, thread caches and hooks behind publish.hpp.
// A slot is one reader's place in a domain of them. Threads take theirs on their first read and give it back when they
// end; a forked child keeps those of the one thread it has. Slots are never freed, only handed on. Orders of memory are
// numbered together with those of publish.hpp.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>

namespace canary {

/// The atomics a publication runs on. A checker brings its own to see every access of the very same code.
struct StdAtomics {
  template <class T>
  using atomic = std::atomic<T>;
};

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

}  // namespace canary
