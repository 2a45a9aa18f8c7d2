// Threads and routers that come and go.
#include <atomic>
#include <barrier>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "canary/core/router.hpp"

namespace publish_threads_test {

namespace {

using namespace canary;

/// A domain of its own for each set of tests, so that slots can be counted: an Atomics type apart makes one.
template <int>
struct Apart {
  template <class T>
  using atomic = std::atomic<T>;
};

template <class Atomics>
std::size_t slots_held() {
  std::size_t held = 0;
  detail::SlotDomain<Atomics>::local().for_each_slot(
      [&](auto& slot) { held += slot.holder.load() != detail::Holder::nobody; });
  return held;
}

TEST_CASE("threads: a thousand that come and go leak no slot", "[core][publish][threads]") {
  using Atomics = Apart<1>;
  BasicRouter<Atomics> router;
  const Task task = router.task("t", {.default_model = "base"});
  for (int i = 0; i != 1'000; ++i) {
    std::thread{[&] { REQUIRE(router.route(task, "k").model() == "base"); }}.join();
    if (i % 100 == 0) router.set_split(task, {{.model = "a", .weight_ppm = 1}});
  }
  CHECK(slots_held<Atomics>() == 0);
}

TEST_CASE("threads: more at once than there are prepared slots all route", "[core][publish][threads]") {
  using Atomics = Apart<2>;
  BasicRouter<Atomics> router;
  const Task task = router.task("t", {.default_model = "base"});
  constexpr int handles = 1'000;  // most of the prepared slots, so that a hundred threads are enough to run over
  std::vector<BasicReader<Atomics>> readers;
  for (int i = 0; i != handles; ++i) readers.push_back(router.reader());
  constexpr int threads = 100;
  std::barrier together{threads};
  std::atomic<int> right{0};
  std::vector<std::thread> running;
  for (int i = 0; i != threads; ++i)
    running.emplace_back([&] {
      right += router.route(task, "k").model() == "base";
      together.arrive_and_wait();
      router.set_split(task, {{.model = "all", .weight_ppm = 1'000'000}});
      right += router.route(task, "k").model() == "all";
    });
  for (std::thread& thread : running) thread.join();
  CHECK(right == 2 * threads);
  CHECK(slots_held<Atomics>() == handles);
  readers.clear();
  CHECK(slots_held<Atomics>() == 0);
}

TEST_CASE("threads: a router may go while threads that used it live on", "[core][publish][threads]") {
  using Atomics = Apart<3>;
  std::barrier step{2};
  std::unique_ptr<BasicRouter<Atomics>> router;
  std::thread other{[&] {
    for (int round = 0; round != 20; ++round) {
      step.arrive_and_wait();
      CHECK(router->route(router->find("t"), "k").model() == "base");
      step.arrive_and_wait();  // the router goes, this thread stays
      step.arrive_and_wait();
    }
  }};
  for (int round = 0; round != 20; ++round) {
    router = std::make_unique<BasicRouter<Atomics>>();
    (void)router->task("t", {.default_model = "base"});
    step.arrive_and_wait();
    step.arrive_and_wait();
    router.reset();
    CHECK(slots_held<Atomics>() == 1);  // one slot, used again for every router
    step.arrive_and_wait();
  }
  other.join();
  CHECK(slots_held<Atomics>() == 0);
}

TEST_CASE("threads: many routers in one thread take slots only while they live", "[core][publish][threads]") {
  using Atomics = Apart<4>;
  for (int round = 0; round != 2'000; ++round) {
    BasicRouter<Atomics> router;
    const Task task = router.task("t", {.default_model = "base"});
    if (router.route(task, "k").model() != "base") FAIL("wrong model in round " << round);
  }
  CHECK(slots_held<Atomics>() == 1);
}

struct RoutesAtExit;
std::atomic<int> routed_at_exit{0};
std::atomic<const BasicRouter<Apart<5>>*> exit_router{nullptr};

/// Constructed before the thread attaches, so destroyed after its exit hook has run.
struct RoutesAtExit {
  Task task;
  ~RoutesAtExit() {
    const auto* router = exit_router.load();
    for (int i = 0; i != 3; ++i) routed_at_exit += router->route(task, "k").model() == "base";
  }
};

TEST_CASE("threads: route() after a thread's exit hook still answers and leaves no slot behind",
          "[core][publish][threads]") {
  using Atomics = Apart<5>;
  BasicRouter<Atomics> router;
  const Task task = router.task("t", {.default_model = "base"});
  exit_router = &router;
  std::thread{[&] {
    thread_local RoutesAtExit at_exit{task};
    (void)at_exit.task;
    CHECK(router.route(task, "k").model() == "base");
  }}.join();
  CHECK(routed_at_exit == 3);
  CHECK(slots_held<Atomics>() == 0);
}

TEST_CASE("threads: readers, writers, new tasks and keyless requests at once", "[core][publish][threads]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i)
    threads.emplace_back([&, i] {
      std::vector<Decision> kept;
      for (std::uint64_t key = 0; !stop.load(std::memory_order_relaxed); ++key) {
        const Decision d = i == 0 ? router.route(task) : router.route(task, key);
        const bool known = d.model() == "base" || d.model() == "a" || d.model() == "b";
        wrong += !known || d.version_id().substr(0, 2) != "t@";
        if (key % 1'000 == 0 && kept.size() < 1'000) kept.push_back(d);
      }
      for (const Decision& d : kept) wrong += d.model().empty();
    });
  threads.emplace_back([&] {
    for (int i = 0; i != 500; ++i) wrong += !router.task("task-" + std::to_string(i), {.default_model = "x"});
  });
  for (std::uint32_t i = 0; i != 2'000; ++i) {
    router.set_split(task, {{.model = "a", .weight_ppm = i * 100}, {.model = "b", .weight_ppm = (2'000 - i) * 300}});
    if (i % 10 == 0) router.configure(task, {.default_model = "base", .forced_model = i % 20 == 0 ? "b" : ""});
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace

}  // namespace publish_threads_test
