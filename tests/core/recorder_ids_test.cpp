// Interaction ids: unique, rising, and of the time that the drainer tells.
#include <algorithm>
#include <barrier>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "recorder_support.hpp"

namespace recorder_ids_test {

namespace {

using namespace canary;
using namespace canary::test;

std::uint64_t next_id(Recording<>& r) {
  Decision decision = decision_of(0);
  REQUIRE(r.recorder.record(decision, {}));
  (void)r.drain();
  return decision.interaction();
}

TEST_CASE("ids: they rise, name their node, and say the time to the millisecond", "[core][recorder][ids]") {
  for (const std::uint32_t node : {0u, 1u, InteractionId::nodes - 1}) {
    Recording<> r;
    r.set_node(node);
    std::uint64_t last = 0;
    for (std::int64_t tick = 0; tick != 200; ++tick) {
      const std::int64_t now = noon_us + tick * 1'300;
      r.recorder.set_time(now);
      for (int i = 0; i != 20; ++i) {
        const std::uint64_t id = next_id(r);
        REQUIRE(id > last);
        REQUIRE(InteractionId::node(id) == node);
        REQUIRE(InteractionId::time_us(id) == now / 1'000 * 1'000);
        last = id;
      }
    }
  }
}

TEST_CASE("ids: they never go back when the clock does", "[core][recorder][ids]") {
  Recording<> r;
  r.set_node(3);
  std::uint64_t last = 0;
  for (const std::int64_t at : {std::int64_t{0}, std::int64_t{5'000'000}, std::int64_t{-3'600'000'000},
                                std::int64_t{1'000}, std::int64_t{-noon_us}, std::int64_t{6'000'000}}) {
    r.recorder.set_time(noon_us + at);
    for (int i = 0; i != 2'000; ++i) {
      const std::uint64_t id = next_id(r);
      REQUIRE(id > last);
      last = id;
    }
  }
  CHECK(InteractionId::time_us(last) >= noon_us + 6'000'000);
}

TEST_CASE("ids: they go on from the node's counter, wherever it stands", "[core][recorder][ids]") {
  for (const std::uint64_t more : {0u, 1u, 63u, 1'000u, 1'023u}) {
    Recording<> r;
    const std::uint64_t counted = InteractionId::cursor_at(noon_us) + 5'000 * 1'024 + more;
    r.cursor = counted;
    r.set_node(2);
    r.recorder.set_time(noon_us);
    std::uint64_t last = InteractionId::at(counted, 2) - 1;
    for (int i = 0; i != 5'000; ++i) {
      const std::uint64_t id = next_id(r);
      REQUIRE(id > last);
      REQUIRE(InteractionId::node(id) == 2);
      last = id;
    }
  }
}

TEST_CASE("ids: the first of node 0 is not 0, though the clock stands before the beginning", "[core][recorder][ids]") {
  Recording<> r;
  r.set_node(0);
  const std::uint64_t first = next_id(r);
  CHECK(first != 0);
  CHECK(next_id(r) > first);
}

TEST_CASE("ids: without a node there are none, nothing is assigned, and outcomes are kept all the same",
          "[core][recorder][ids]") {
  Recording<> r;
  r.recorder.set_time(noon_us);
  CHECK(next_id(r) == 0);
  Decision decision = decision_of(2);
  CHECK_FALSE(r.recorder.assign(decision));
  CHECK(decision.interaction() == 0);
  CHECK(r.drops[2] == 1);
  CHECK(r.drain().empty());
  CHECK(next_id(r) == 0);
  CHECK(r.recorder.feedback(1, 1));
  r.set_node(7);
  CHECK(r.recorder.assign(decision));
  CHECK(InteractionId::node(decision.interaction()) == 7);
  CHECK(next_id(r) > decision.interaction());
}

TEST_CASE("ids: there are some from the moment that a node is known, in the middle of a tick",
          "[core][recorder][ids]") {
  Recording<> r;
  r.recorder.set_time(noon_us);
  Decision decision = decision_of(0);
  for (int i = 0; i != 3; ++i) CHECK_FALSE(r.recorder.assign(decision));
  r.set_node(1);
  CHECK(r.recorder.assign(decision));
}

TEST_CASE("ids: a clock that is a lifetime ahead makes none, and does no harm to those after it",
          "[core][recorder][ids]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  const std::uint64_t before = next_id(r);
  r.recorder.set_time(std::numeric_limits<std::int64_t>::max());
  for (int i = 0; i != 10; ++i) CHECK(next_id(r) == 0);
  r.recorder.set_time(noon_us + 1'000);
  const std::uint64_t after = next_id(r);
  CHECK(after > before);
  CHECK(InteractionId::time_us(after) == noon_us + 1'000);
}

TEST_CASE("ids: a node that makes more than a millisecond has runs ahead, and its ids stay unique",
          "[core][recorder][ids]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  std::uint64_t last = 0;
  for (int i = 0; i != 10'000; ++i) {
    const std::uint64_t id = next_id(r);
    REQUIRE(id > last);
    last = id;
  }
  CHECK(InteractionId::time_us(last) - noon_us >= 9'000);
  CHECK(InteractionId::time_us(last) - noon_us <= 10'000);
}

/// What threads that record at once were given; `ticks` milliseconds go by, all threads at the same one.
template <class Each>
std::vector<std::vector<std::uint64_t>> ids_by_tick(Recording<>& r, int threads, int ticks, Each each) {
  std::vector<std::vector<std::uint64_t>> by_tick(static_cast<std::size_t>(ticks));
  std::vector<std::vector<std::uint64_t>> mine(static_cast<std::size_t>(threads));
  std::barrier step{threads + 1};
  std::vector<std::thread> running;
  for (auto& ids : mine)
    running.emplace_back([&] {
      for (int tick = 0; tick != ticks; ++tick) {
        step.arrive_and_wait();
        for (int i = 0; i != each(tick); ++i) {
          Decision decision = decision_of(0);
          if (r.recorder.record(decision, {})) ids.push_back(decision.interaction());
        }
        step.arrive_and_wait();
      }
    });
  for (int tick = 0; tick != ticks; ++tick) {
    r.recorder.set_time(noon_us + tick * 1'000);
    step.arrive_and_wait();
    step.arrive_and_wait();
    for (std::size_t lane = 0; lane != r.positions.size(); ++lane) (void)r.drain(lane);
    for (auto& ids : mine) {
      auto& all = by_tick[static_cast<std::size_t>(tick)];
      all.insert(all.end(), ids.begin(), ids.end());
      ids.clear();
    }
  }
  for (std::thread& thread : running) thread.join();
  return by_tick;
}

TEST_CASE("ids: of many threads of two nodes no two are alike, and those of a later tick are higher",
          "[core][recorder][ids]") {
  std::vector<std::uint64_t> all;
  for (const std::uint32_t node : {1u, 2u}) {
    Recording<> r{8, 256};
    r.set_node(node);
    std::uint64_t highest = 0;
    for (const std::vector<std::uint64_t>& ids : ids_by_tick(r, 8, 50, [](int) { return 60; })) {
      REQUIRE(ids.size() == 8 * 60);
      REQUIRE(*std::min_element(ids.begin(), ids.end()) > highest);
      highest = *std::max_element(ids.begin(), ids.end());
      all.insert(all.end(), ids.begin(), ids.end());
    }
  }
  std::sort(all.begin(), all.end());
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

TEST_CASE("ids: many threads with little to do do not run ahead of the time, not even after they had much",
          "[core][recorder][ids]") {
  constexpr int threads = 32;
  constexpr int burst = 300;  // 9,600 ids: more than nine milliseconds
  Recording<> r{threads, 512};
  r.set_node(1);
  int tick = 0;
  for (const std::vector<std::uint64_t>& ids :
       ids_by_tick(r, threads, 150, [](int at) { return at == 50 ? burst : 3; })) {
    REQUIRE(ids.size() == static_cast<std::size_t>(threads * (tick == 50 ? burst : 3)));
    for (const std::uint64_t id : ids)
      if (tick < 50 || tick > 100) REQUIRE(InteractionId::time_us(id) == noon_us + tick * 1'000);
    ++tick;
  }
}

}  // namespace

}  // namespace recorder_ids_test
