// The publication under threads that do their worst, with retired values poisoned and their memory used again.
#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "canary/core/publish.hpp"
#include "history.hpp"

namespace publish_stress_test {

namespace {

using canary::test::Random;

/// Valid while `twice` is twice `value`; poisoned when retired.
struct Cell {
  std::atomic<std::uint64_t> value{0};
  std::atomic<std::uint64_t> twice{0};
};

constexpr std::uint64_t poison = 0xDEAD'DEAD'DEAD'DEAD;

/// Few cells, used again and again: a pointer soon means another value than it did.
class Pool {
 public:
  Cell* take(std::uint64_t value) {
    const std::lock_guard guard{mutex_};
    Cell* cell = free_.back();
    free_.pop_back();
    cell->value.store(value, std::memory_order_relaxed);
    cell->twice.store(2 * value, std::memory_order_relaxed);
    return cell;
  }
  /// As take(), of a certain cell that must be free.
  Cell* take_this(Cell* cell, std::uint64_t value) {
    {
      const std::lock_guard guard{mutex_};
      const auto at = std::find(free_.begin(), free_.end(), cell);
      REQUIRE(at != free_.end());
      free_.erase(at);
      free_.push_back(cell);
    }
    return take(value);
  }
  void give_back(Cell* cell) noexcept {
    cell->value.store(poison, std::memory_order_relaxed);
    cell->twice.store(poison, std::memory_order_relaxed);
    const std::lock_guard guard{mutex_};
    free_.insert(free_.begin(), cell);
  }
  Pool() {
    for (Cell& cell : cells_) free_.push_back(&cell);
  }

 private:
  std::array<Cell, 16> cells_;
  std::vector<Cell*> free_;
  std::mutex mutex_;
};

Pool pool;
void dispose(Cell* cell) noexcept { pool.give_back(cell); }

/// Atomics that give other threads a chance where it hurts, and that can leave out the sticky pin's re-check: told to,
/// the second load of a pointer answers what the first one did.
template <bool rechecks>
struct Shaky {
  template <class X>
  struct atomic : std::atomic<X> {
    using std::atomic<X>::atomic;

    X load(std::memory_order order) const noexcept {
      thread_local X before{};
      if constexpr (!rechecks && std::is_same_v<X, Cell*>)
        if (order == std::memory_order_seq_cst) return before;
      before = std::atomic<X>::load(order);
      return before;
    }
    void store(X value, std::memory_order order) noexcept {
      if constexpr (std::is_same_v<X, const void*>) {
        thread_local Random random{reinterpret_cast<std::uintptr_t>(this)};
        if (random.below(4) == 0) std::this_thread::yield();
      }
      std::atomic<X>::store(value, order);
    }
  };
};

/// Bad reads seen by three readers while `publishes` values go by, or until the first one.
template <bool rechecks>
std::uint64_t bad_reads(int publishes) {
  using Cells = canary::Publication<Cell, Shaky<rechecks>>;
  Cells cells{pool.take(1), dispose};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> bad{0};
  std::atomic<std::uint64_t> reads{0};
  std::atomic<int> started{0};
  std::vector<std::thread> readers;
  for (int i = 0; i != 3; ++i)
    readers.emplace_back([&, i] {
      std::uint64_t mine = 0;
      typename Cells::Reader reader{cells};
      const auto check = [&](const Cell& cell) {
        const std::uint64_t value = cell.value.load(std::memory_order_relaxed);
        if (value == poison || cell.twice.load(std::memory_order_relaxed) != 2 * value) bad.fetch_add(1);
      };
      started.fetch_add(1);
      started.notify_one();
      for (; !stop.load(std::memory_order_relaxed); ++mine)
        if (i == 0)
          reader.read(check);
        else
          cells.read(check);
      reads.fetch_add(mine);
    });
  for (int seen = 0; seen != 3; seen = started.load()) started.wait(seen);
  for (int i = 0; i != publishes && (rechecks || bad.load() == 0); ++i) {
    const auto lock = cells.lock();
    cells.prepare();
    cells.publish(pool.take(static_cast<std::uint64_t>(i) + 2));
    if (cells.retired_count() > 4) bad.fetch_add(1'000'000);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  if (rechecks) WARN(publishes << " publishes against " << reads.load() << " reads, " << bad.load() << " bad");
  return bad.load();
}

/// Two threads that each store, and then load what the other stores, all seq_cst: one of them must see it. The publication
/// stands on that, and some emulators do not give it (QEMU 7 runs STLR and LDAR of aarch64 without a barrier in between).
bool keeps_seq_cst() {
  constexpr int rounds = 50'000;
  std::atomic<int> mine{0};
  std::atomic<int> other{0};
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  int other_saw = 0;
  std::thread thread{[&] {
    for (int i = 1; i <= rounds; ++i) {
      while (begun.load() != i) {
      }
      other.store(1);
      other_saw = mine.load();
      ended.store(i);
    }
  }};
  int broken = 0;
  for (int i = 1; i <= rounds; ++i) {
    mine.store(0);
    other.store(0);
    begun.store(i);
    mine.store(1);
    const int saw = other.load();
    while (ended.load() != i) {
    }
    broken += saw == 0 && other_saw == 0;
  }
  thread.join();
  return broken == 0;
}

TEST_CASE("publication: no reader ever sees a retired value", "[core][publish][stress]") {
  if (!canary::test::full_speed && !keeps_seq_cst()) SKIP("this machine, or what emulates it, breaks seq_cst itself");
  CHECK(bad_reads<true>((canary::test::full_speed ? 1'000'000 : 20'000) * canary::test::soak_factor()) == 0);
}

// It ends with the first bad read; the bound is there for a machine that shows none in minutes.
TEST_CASE("publication: the same stress catches a pin that is not re-checked", "[core][publish][stress]") {
  CHECK(bad_reads<false>(500'000'000) > 0);
}

/// Atomics that let the test act between the look at `current` and the pin, the very moment that the re-check is for,
/// and between the pin and the re-check.
std::function<void()> before_pin;
std::function<void()> after_pin;

template <bool rechecks>
struct Meddling {
  template <class X>
  struct atomic : Shaky<rechecks>::template atomic<X> {
    using Shaky<rechecks>::template atomic<X>::atomic;

    void store(X value, std::memory_order order) noexcept {
      if constexpr (std::is_same_v<X, const void*>)
        if (before_pin) std::exchange(before_pin, nullptr)();
      Shaky<rechecks>::template atomic<X>::store(value, order);
      if constexpr (std::is_same_v<X, const void*>)
        if (after_pin) std::exchange(after_pin, nullptr)();
    }
  };
};

template <bool rechecks>
using Meddled = canary::Publication<Cell, Meddling<rechecks>>;

template <bool rechecks>
void publish(Meddled<rechecks>& cells, Cell* cell) {
  const auto lock = cells.lock();
  cells.prepare();
  cells.publish(cell);
}

template <bool rechecks>
std::uint64_t value_read_across_a_publish() {
  Meddled<rechecks> cells{pool.take(1), dispose};
  before_pin = [&] { publish(cells, pool.take(2)); };
  return cells.read([](const Cell& cell) { return cell.value.load(std::memory_order_relaxed); });
}

TEST_CASE("publication: a publish between look and pin is noticed by the re-check alone", "[core][publish]") {
  CHECK(value_read_across_a_publish<true>() == 2);
  CHECK(value_read_across_a_publish<false>() == poison);
}

// A reader of `first` is about to pin an address that is freed and given to `second`, which goes, and given back to
// `first`: the re-check passes, so `second` must not have cleared the pin on its way out.
TEST_CASE("publication: one that goes leaves the pins of another's readers alone, whatever they name",
          "[core][publish]") {
  using Cells = Meddled<true>;
  Cells first{pool.take(1), dispose};
  Cell* const contested = pool.take(2);
  publish(first, contested);
  std::unique_ptr<Cells> second;
  before_pin = [&] {
    publish(first, pool.take(3));  // `contested` is free
    second = std::make_unique<Cells>(pool.take_this(contested, 100), dispose);
  };
  after_pin = [&] {
    second.reset();
    publish(first, pool.take_this(contested, 4));
  };
  // On a thread of its own: its pin is its first.
  std::thread{[&] {
    first.read([&](const Cell& cell) {
      CHECK(cell.value.load() == 4);
      publish(first, pool.take(5));
      CHECK(cell.value.load() == 4);
    });
  }}.join();
}

}  // namespace

}  // namespace publish_stress_test
