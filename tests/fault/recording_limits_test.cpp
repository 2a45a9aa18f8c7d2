// Where recording keeps less than everything, on purpose: by sample, for want of rings, and when it has to end.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <latch>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"

namespace recording_limits_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr std::chrono::minutes long_enough{5};  // for what must come; nothing waits so long unless it is broken

/// An engine on a fragile store in memory.
struct World {
  World() {
    config.store.url = "database";
    config.store.state.clear();
    config.recorder.spool = (folder.path() / "spool").string();
    config.recorder.lane_mb = 1;
    config.recorder.flush_ms = 5;
    TaskConfig task;
    task.name = "checks";
    task.default_model = "base";
    config.tasks.push_back(task);
  }
  [[nodiscard]] std::unique_ptr<Engine> engine() const {
    return std::make_unique<Engine>(config, std::make_unique<FragileStore>(shared));
  }

  std::shared_ptr<FragileStore::Shared> shared = std::make_shared<FragileStore::Shared>();
  TemporaryFolder folder;
  Config config;
};

std::string await_message(const Engine& engine, std::string_view words) {
  for (;;) {
    std::string message = engine.status().recording.message;
    if (message.find(words) != std::string::npos) return message;
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("recording: texts follow the sample of rows: those of a row that is not kept are not kept", "[fault]") {
  World world;
  world.config.recorder.payloads = true;
  world.config.tasks[0].sample_ppm = 100'000;
  const auto engine = world.engine();
  const Task task = engine->task("checks");
  constexpr int count = 2'000;
  for (int i = 0; i != count; ++i) {
    const std::string request = "request " + std::to_string(i);
    Decision decision = engine->route(task, request);
    while (!engine->record(decision, {.latency_us = 1, .request = request, .response = "answer"}))
      std::this_thread::yield();
  }
  REQUIRE(engine->flush(long_enough));
  REQUIRE(engine->status().recording.lost_texts == 0);
  int rows = 0;
  int with_texts = 0;
  const auto kept = world.shared->store.interactions();
  kept->read({}, [&](const Interaction&, const Payload&) { return ++rows, true; });
  kept->read({.with_payload = true}, [&](const Interaction&, const Payload& texts) {
    with_texts += texts.request.starts_with("request ") && texts.response == "answer";
    return true;
  });
  CHECK(rows > 130);  // 200 by 13: five standard deviations
  CHECK(rows < 270);
  CHECK(with_texts == rows);
  CHECK(world.shared->payloads == rows);
}

TEST_CASE("recording: an engine with its rings in memory ends though the store stays away, after its time-out",
          "[fault]") {
  World world;
  world.config.recorder.spool.clear();
  world.config.store.timeout_ms = 50;
  auto engine = world.engine();
  REQUIRE(engine->flush(long_enough));
  world.shared->down = true;
  const Task task = engine->task("checks");
  for (int i = 0; i != 100; ++i) REQUIRE(engine->record(engine->route(task, "key"), {}));
  engine.reset();  // what is in memory alone goes with it
  world.shared->down = false;
  int rows = 0;
  world.shared->store.interactions()->read({}, [&](const Interaction&, const Payload&) { return ++rows, true; });
  CHECK(rows == 0);
}

TEST_CASE("recording: a thread for which no ring is left drops, counts its drops and is told of; others go on",
          "[fault]") {
  World world;
  world.config.recorder.spool_mb = 4;  // four rings
  const auto engine = world.engine();
  const Task task = engine->task("checks");
  constexpr int threads = 4;
  std::latch attached{threads};
  std::atomic<bool> done = false;
  std::vector<std::thread> holders;
  std::atomic<int> kept = 0;
  for (int i = 0; i != threads; ++i)
    holders.emplace_back([&] {
      while (!engine->record(engine->route(task, "key"), {})) std::this_thread::yield();
      ++kept;
      attached.count_down();
      done.wait(false);
      while (!engine->record(engine->route(task, "key"), {})) std::this_thread::yield();
      ++kept;
    });
  attached.wait();
  const std::uint64_t before = engine->status().recording.dropped;
  CHECK_FALSE(engine->record(engine->route(task, "key"), {}));
  CHECK(engine->status().recording.dropped == before + 1);
  CHECK(await_message(*engine, "every ring has its thread").find("recorder.spool_mb") != std::string::npos);
  done = true;
  done.notify_all();
  for (std::thread& holder : holders) holder.join();
  CHECK(kept == 2 * threads);
  while (!engine->record(engine->route(task, "key"), {})) std::this_thread::yield();  // a ring that was given back
  CHECK(engine->flush(long_enough));
}

}  // namespace recording_limits_test
