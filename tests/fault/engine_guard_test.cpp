// The guard of an engine: a thread beside the others, which acts by itself and survives its store's absence.
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../control/guard_world.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"

namespace engine_guard_test {

using namespace canary;
using canary::test::counts_of;
using canary::test::FragileStore;
using canary::test::percent;

namespace {

/// What a guard told, to be waited for.
class Told {
 public:
  void tell(const GuardAct& act) {
    const std::lock_guard lock{mutex_};
    acts_.push_back(act);
    changed_.notify_all();
  }
  [[nodiscard]] GuardAct await(const std::function<bool(const GuardAct&)>& wanted) {
    std::unique_lock lock{mutex_};
    for (std::size_t next = 0;; ++next) {
      changed_.wait(lock, [&] { return next < acts_.size(); });
      if (wanted(acts_[next])) return acts_[next];
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GuardAct> acts_;
};

bool has_acted(const GuardAct& act) { return act.acted; }

/// A store with task `checks`, whose version 1 is on the first step of a rollout, and an engine on it.
struct World {
  World() {
    config.store.url = "sqlite:none.db";
    config.store.state.clear();
    config.recorder.spool.clear();
    TaskConfig task;
    task.name = "checks";
    task.default_model = "base";
    task.guard.metrics = {{.name = "ok"}};
    config.tasks.push_back(task);
    options.record = false;
    options.guard_ms = 1;
    options.on_guard = [this](const GuardAct& act) { told.tell(act); };
    Registry registry{shared->store};
    registry.register_version("checks", {.model = "v1"});
    registry.start_rollout("checks", 1, {10 * percent, 50 * percent, 100 * percent});
  }
  void put(std::uint64_t failed, std::uint32_t at = 2) const {
    test::put_evidence(shared->store, "checks", 2, at, counts_of(9'000, 900, 1'000, failed).bytes());
  }
  [[nodiscard]] std::unique_ptr<Engine> engine() {
    return std::make_unique<Engine>(config, std::make_unique<FragileStore>(shared), options);
  }
  [[nodiscard]] std::uint32_t weight() const {
    return version_of(shared->store.load("checks", {.all = true}), 1).weight_ppm;
  }

  std::shared_ptr<FragileStore::Shared> shared = std::make_shared<FragileStore::Shared>();
  Config config;
  EngineOptions options;
  Told told;
};

int served_by(const Engine& engine, std::string_view id) {
  const Task task = engine.task("checks");
  int served = 0;
  for (int key = 0; key != 1'000; ++key) served += engine.route(task, std::to_string(key)).version_id() == id ? 1 : 0;
  return served;
}

}  // namespace

TEST_CASE("engine guard: harm is rolled back by itself, and the own router follows before anybody is told",
          "[engine]") {
  World world;
  std::unique_ptr<Engine> engine;
  int served_when_told = -1;
  std::mutex made;
  world.options.on_guard = [&](const GuardAct& act) {
    if (act.acted) {
      const std::lock_guard lock{made};
      served_when_told = served_by(*engine, "checks@1");
    }
    world.told.tell(act);
  };
  {
    const std::lock_guard lock{made};
    engine = world.engine();
  }
  CHECK(served_by(*engine, "checks@1") > 50);
  CHECK(engine->status().guard.on);
  world.put(400);
  const GuardAct act = world.told.await(has_acted);
  CHECK(act.look.verdict.action == Action::rollback);
  CHECK(served_when_told == 0);
  CHECK(world.weight() == 0);
  const HistoryRow row = world.shared->store.history("checks", {.newest = 1}).at(0);
  CHECK(row.actor.starts_with("guard@"));
  CHECK_FALSE(row.evidence.empty());
  CHECK(engine->status().guard.acts == 1);
}

TEST_CASE("engine guard: a proved step goes on by itself", "[engine]") {
  World world;
  world.put(50);
  const auto engine = world.engine();
  CHECK(world.told.await(has_acted).words == "advanced: from 10 to 50 %");
  CHECK(world.weight() >= 50 * percent);  // it may have gone on meanwhile
}

TEST_CASE("engine guard: with the store gone it says so and goes on when it is back", "[engine]") {
  World world;
  const auto engine = world.engine();
  (void)world.told.await([](const GuardAct& act) { return act.look.verdict.action == Action::hold; });
  world.shared->down = true;
  while (engine->status().guard.message.empty()) std::this_thread::yield();
  CHECK(engine->status().guard.message.find("the store is down") != std::string::npos);
  world.put(400);
  CHECK(engine->guard_now().faults.size() == 1);
  world.shared->down = false;
  CHECK(world.told.await(has_acted).look.verdict.action == Action::rollback);
  while (!engine->status().guard.message.empty()) std::this_thread::yield();
  CHECK(engine->status().guard.pass_us != 0);
}

TEST_CASE("engine guard: without metrics, without a thread or when it is not wanted there is none, until a reload",
          "[engine]") {
  World world;
  world.put(400);
  SECTION("not wanted") {
    world.options.guard = false;
    CHECK_FALSE(world.engine()->status().guard.on);
  }
  SECTION("not followed") {
    world.options.follow = false;
    CHECK_FALSE(world.engine()->status().guard.on);
  }
  SECTION("no metrics") {
    const Config guarded = world.config;
    world.config.tasks[0].guard.metrics.clear();
    const auto engine = world.engine();
    CHECK_FALSE(engine->status().guard.on);
    CHECK(engine->guard_now().acts.empty());
    CHECK(world.weight() == 10 * percent);
    engine->reload(guarded);
    CHECK(engine->status().guard.on);
    (void)world.told.await(has_acted);
    return;
  }
  SECTION("in memory") {
    world.config.store.url = "memory:";
    Engine engine{world.config};
    CHECK_FALSE(engine.status().guard.on);
    CHECK(engine.guard_now().acts.empty());
  }
  CHECK(world.weight() == 10 * percent);
}

TEST_CASE("engine guard: a pass on demand acts and is published when it returns", "[engine]") {
  World world;
  world.options.follow = false;
  const auto engine = world.engine();
  CHECK_FALSE(engine->guard_now().acts.at(0).acted);
  CHECK(served_by(*engine, "checks@1") > 50);
  world.put(400);
  CHECK(engine->guard_now().acts.at(0).acted);
  CHECK(served_by(*engine, "checks@1") == 0);
  CHECK(engine->guard_now().acts.empty());
}

TEST_CASE("engine guard: a rollback whose answer was lost is told as done", "[engine]") {
  World world;
  world.options.guard = false;
  const auto engine = world.engine();
  world.put(400);
  world.shared->lost_changes = 1;
  const GuardPass pass = engine->guard_now();
  CHECK(pass.faults.empty());
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.acts[0].acted);
  CHECK(pass.acts[0].revision == world.shared->store.load("checks", {}).revision);
  CHECK(world.weight() == 0);
  CHECK(served_by(*engine, "checks@1") == 0);
}

TEST_CASE("engine guard: of many engines on one store one acts on a verdict", "[engine]") {
  World world;
  std::vector<std::unique_ptr<Engine>> engines;
  for (int i = 0; i != 6; ++i) engines.push_back(world.engine());
  world.put(400);
  (void)world.told.await(has_acted);
  for (const auto& each : engines)
    while (served_by(*each, "checks@1") != 0) std::this_thread::yield();
  engines.clear();
  int rollbacks = 0;
  for (const HistoryRow& row : world.shared->store.history("checks", {})) rollbacks += row.action == "rollback" ? 1 : 0;
  CHECK(rollbacks == 1);
}

}  // namespace engine_guard_test
