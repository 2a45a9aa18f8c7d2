// Threads and recorders that come and go.
#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "history.hpp"
#include "recorder_support.hpp"

namespace recorder_threads_test {

namespace {

using namespace canary;
using namespace canary::test;

TEST_CASE("lanes: a thousand threads, one after another, share one", "[core][recorder][threads]") {
  Recording<Apart<11>> r{1, 4'096};
  for (std::uint32_t i = 0; i != 1'000; ++i) {
    std::thread{[&] {
      REQUIRE(r.recorder.record(decision_of(0, i), {}));
      CHECK(r.recorder.vacant_lanes() == 0);
    }}.join();
    REQUIRE(r.recorder.vacant_lanes() == 1);
  }
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 1'000);
  for (std::uint32_t i = 0; i != 1'000; ++i) REQUIRE(entries[i].point == i);
}

TEST_CASE("lanes: more threads than lanes, and those without one are refused until one comes free",
          "[core][recorder][threads]") {
  Recording<Apart<12>> r{2, 64};
  std::barrier step{4};
  std::atomic<int> kept{0};
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i)
    threads.emplace_back([&] {
      kept += r.recorder.record(decision_of(1), {});
      step.arrive_and_wait();
    });
  step.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
  CHECK(kept == 2);
  CHECK(r.drops[1] == 1);
  CHECK(r.recorder.vacant_lanes() == 2);
  CHECK(r.recorder.record(decision_of(1), {}));
}

/// Every entry that was kept, by thread: `point` is the thread and `cost_microusd` its count.
struct Ledger {
  std::map<std::uint32_t, std::uint64_t> next;
  std::uint64_t entries = 0;
  std::uint64_t wrong = 0;
  void add(const std::vector<Entry>& drained) {
    for (const Entry& entry : drained) {
      wrong += entry.cost_microusd != next[entry.point]++ || entry.tokens_in != entry.point * 3 + 1;
      ++entries;
    }
  }
};

TEST_CASE("lanes: no entry is lost or doubled while threads come and go under a draining thread",
          "[core][recorder][threads]") {
  constexpr std::uint32_t threads = 8;
  Recording<Apart<13>> r{threads, 32};
  r.set_node(1);
  std::atomic<std::uint64_t> kept{0};
  std::atomic<bool> stop{false};
  Ledger ledger;
  std::thread drainer{[&] {
    for (std::int64_t tick = 0;; ++tick) {
      const bool last = stop;
      r.recorder.set_time(noon_us + tick * 1'000);
      std::uint64_t fetched = 0;
      for (std::size_t lane = 0; lane != threads; ++lane) {
        const std::vector<Entry> entries = r.drain(lane);
        ledger.add(entries);
        fetched += entries.size();
      }
      if (last && fetched == 0) return;
      if (fetched == 0) std::this_thread::yield();
    }
  }};
  const std::uint32_t rounds = (full_speed ? 300u : 30u) * static_cast<std::uint32_t>(soak_factor());
  std::vector<std::thread> churn;
  for (std::uint32_t place = 0; place != threads; ++place)
    churn.emplace_back([&, place] {
      Random random{place};
      for (std::uint32_t round = 0; round != rounds; ++round) {
        const std::uint32_t entries = random.below(200);
        std::thread{[&, entries, name = round * threads + place] {
          for (std::uint64_t i = 0; i != entries; ++i)
            while (!r.recorder.record(decision_of(0, name),
                                      {.tokens_in = name * 3 + 1, .cost_microusd = static_cast<std::int64_t>(i)}))
              std::this_thread::yield();  // full, or its lane is on its way from another thread
          kept += entries;
        }}.join();
      }
    });
  for (std::thread& thread : churn) thread.join();
  stop = true;
  drainer.join();
  CHECK(ledger.entries == kept);
  CHECK(ledger.wrong == 0);
  CHECK(r.torn == 0);
  CHECK(r.recorder.vacant_lanes() == threads);
}

TEST_CASE("lanes: a recorder may go before the threads that used it, again and again", "[core][recorder][threads]") {
  using Atomics = Apart<14>;
  std::barrier step{2};
  std::unique_ptr<Recording<Atomics>> r;
  std::thread other{[&] {
    for (int round = 0; round != 50; ++round) {
      step.arrive_and_wait();
      CHECK(r->recorder.record(decision_of(0), {}));
      step.arrive_and_wait();  // the recorder goes, this thread stays
    }
  }};
  std::set<const void*> lanes;
  for (int round = 0; round != 50; ++round) {
    r = std::make_unique<Recording<Atomics>>();
    lanes.insert(&r->recorder.lane(0));
    step.arrive_and_wait();
    step.arrive_and_wait();
    CHECK(r->drain().size() == 1);
    r.reset();
  }
  other.join();
  CHECK(lanes.size() <= 2);  // the one that its thread has not given back yet, and the next
}

TEST_CASE("lanes: many recorders, one after another in one thread, need no more lanes than two",
          "[core][recorder][threads]") {
  std::set<const void*> lanes;
  for (int round = 0; round != 1'000; ++round) {
    Recording<Apart<15>> r;
    lanes.insert(&r.recorder.lane(0));
    REQUIRE(r.recorder.record(decision_of(0), {}));
    REQUIRE(r.drain().size() == 1);
  }
  CHECK(lanes.size() <= 2);
}

TEST_CASE("lanes: what a thread has of a recorder that is gone is not what the next one writes to",
          "[core][recorder][threads]") {
  using Atomics = Apart<16>;
  auto first = std::make_unique<Recording<Atomics>>();
  const void* lane = &first->recorder.lane(0);
  REQUIRE(first->recorder.record(decision_of(0), {}));
  first.reset();
  Recording<Atomics> second{0};
  CHECK_FALSE(second.recorder.record(decision_of(0), {}));  // no lane to be had, but the first one's is let go
  Recording<Atomics> third;
  REQUIRE(&third.recorder.lane(0) == lane);
  std::barrier step{2};
  std::thread other{[&] {
    CHECK(third.recorder.record(decision_of(1), {}));
    step.arrive_and_wait();
    step.arrive_and_wait();
  }};
  step.arrive_and_wait();
  CHECK_FALSE(third.recorder.record(decision_of(2), {}));
  const std::vector<Entry> entries = third.drain();
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].task == 1);
  step.arrive_and_wait();
  other.join();
}

TEST_CASE("lanes: two recorders in one thread, and five for four ways, keep to themselves",
          "[core][recorder][threads]") {
  for (const std::size_t count : {2u, 5u}) {
    std::vector<std::unique_ptr<Recording<Apart<17>>>> all;
    for (std::size_t i = 0; i != count; ++i) all.push_back(std::make_unique<Recording<Apart<17>>>(2, 128));
    for (std::uint32_t i = 0; i != 100; ++i)
      for (std::size_t at = 0; at != count; ++at)
        REQUIRE(all[at]->recorder.record(decision_of(0, i), {.tokens_in = static_cast<std::uint32_t>(at)}));
    for (std::size_t at = 0; at != count; ++at) {
      CHECK(all[at]->recorder.vacant_lanes() == 1);  // one lane each, however often the cache forgot it
      const std::vector<Entry> entries = all[at]->drain();
      REQUIRE(entries.size() == 100);
      for (std::uint32_t i = 0; i != 100; ++i) {
        REQUIRE(entries[i].point == i);
        REQUIRE(entries[i].tokens_in == at);
      }
    }
  }
}

Recording<Apart<18>>* at_exit = nullptr;
int kept_at_exit = 0;

struct RecordsAtExit {
  std::uint32_t name;
  ~RecordsAtExit() {
    for (std::uint32_t i = 0; i != 3; ++i) kept_at_exit += at_exit->recorder.record(decision_of(2, name), {});
  }
};

/// Runs a thread that has recorded before, after or never when its RecordsAtExit is made.
enum class First { hook, object, nothing };
void exit_with(First first) {
  std::thread{[first] {
    if (first == First::hook) REQUIRE(at_exit->recorder.record(decision_of(1), {}));
    thread_local RecordsAtExit object{static_cast<std::uint32_t>(first)};
    (void)object.name;
    if (first == First::object) REQUIRE(at_exit->recorder.record(decision_of(1), {}));
  }}.join();
}

TEST_CASE("lanes: a record while its thread ends is kept or refused, and leaves no lane behind",
          "[core][recorder][threads]") {
  Recording<Apart<18>> r;
  at_exit = &r;
  exit_with(First::hook);  // the object goes first, while the lane is there
  CHECK(kept_at_exit == 3);
  CHECK(r.recorder.vacant_lanes() == 1);
  CHECK(r.drain().size() == 4);
  kept_at_exit = 0;
  exit_with(First::object);  // the lane is given back before the object goes
  CHECK(kept_at_exit == 0);
  CHECK(r.drops[2] == 3);
  CHECK(r.recorder.vacant_lanes() == 1);
  CHECK(r.drain().size() == 1);
  kept_at_exit = 0;
  exit_with(First::nothing);  // its first record is in the destructor
  CHECK(kept_at_exit == 3);
  CHECK(r.recorder.vacant_lanes() == 1);
  CHECK(r.drain().size() == 3);
}

TEST_CASE("lanes: recorders end while threads that used them end, and every lane comes back",
          "[core][recorder][threads]") {
  using Atomics = Apart<19>;
  std::set<const void*> lanes;
  const int rounds = full_speed ? 2'000 : 200;
  for (int round = 0; round != rounds; ++round) {
    auto r = std::make_unique<Recording<Atomics>>(2, 8);
    lanes.insert(&r->recorder.lane(0));
    lanes.insert(&r->recorder.lane(1));
    std::atomic<int> recorded{0};
    std::vector<std::thread> threads;
    for (int i = 0; i != 2; ++i)
      threads.emplace_back([&] {
        Recording<Atomics>* mine = r.get();
        while (!mine->recorder.record(decision_of(0), {})) std::this_thread::yield();
        ++recorded;
      });
    while (recorded != 2) std::this_thread::yield();
    r.reset();  // against the threads' ends
    Recording<Atomics> next{2, 8};
    lanes.insert(&next.recorder.lane(0));
    REQUIRE(next.recorder.record(decision_of(1), {}));
    for (std::thread& thread : threads) thread.join();
    REQUIRE(next.recorder.vacant_lanes() == 1);
    REQUIRE(next.drain().size() == 1);
  }
  CHECK(lanes.size() <= 6);
}

}  // namespace

}  // namespace recorder_threads_test
