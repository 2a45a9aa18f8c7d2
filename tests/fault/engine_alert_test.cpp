// What an engine tells people by itself: rollbacks of its guard, and what it finds wrong with any of its tasks.
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../control/guard_world.hpp"
#include "canary/control/alert_desk.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"
#include "guard_config.hpp"

namespace engine_alert_test {

using namespace canary;
using canary::test::counts_of;
using canary::test::FragileStore;
using canary::test::percent;

namespace {

/// What was told, to be waited for.
class Told {
 public:
  void tell(const Alert& alert) {
    const std::lock_guard lock{mutex_};
    alerts_.push_back(alert);
    changed_.notify_all();
  }
  [[nodiscard]] Alert await(AlertKind kind) {
    std::unique_lock lock{mutex_};
    for (std::size_t next = 0;; ++next) {
      changed_.wait(lock, [&] { return next < alerts_.size(); });
      if (alerts_[next].kind == kind) return alerts_[next];
    }
  }
  [[nodiscard]] std::size_t count(AlertKind kind) {
    const std::lock_guard lock{mutex_};
    std::size_t count = 0;
    for (const Alert& each : alerts_) count += each.kind == kind ? 1 : 0;
    return count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Alert> alerts_;
};

/// A store with task `checks`, whose version 1 has a share, and a model that is to be shut down.
struct World {
  World() {
    config.store.url = "sqlite:none.db";
    config.store.state.clear();
    config.recorder.spool.clear();
    config.tasks.push_back(test::guarded_task("checks"));
    options.record = false;
    options.guard_ms = 1;
    options.on_alert = [this](const Alert& alert) { told.tell(alert); };
    Registry registry{shared->store};
    const TimeUs in_a_week_us = Registry::system_time() + TimeUs{86'400} * 7 * 1'000'000;
    registry.register_version("checks", {.model = "v1", .shutdown_date = time_text(in_a_week_us).substr(0, 10)});
    registry.canary("checks", 1, 10 * percent);
  }
  void put_harm() const {
    test::put_evidence(shared->store, "checks", 2, 2, counts_of(9'000, 900, 1'000, 400).bytes());
  }
  [[nodiscard]] std::unique_ptr<Engine> engine() {
    return std::make_unique<Engine>(config, std::make_unique<FragileStore>(shared), options);
  }

  std::shared_ptr<FragileStore::Shared> shared = std::make_shared<FragileStore::Shared>();
  Config config;
  EngineOptions options;
  Told told;
};

}  // namespace

TEST_CASE("engine alerts: a rollback by its guard is told once, after the own router has followed", "[engine][alert]") {
  World world;
  std::mutex made;
  std::unique_ptr<Engine> engine;
  std::uint32_t revision_when_told = 0;
  world.options.on_alert = [&](const Alert& alert) {
    const std::lock_guard lock{made};
    if (alert.kind == AlertKind::rollback)
      revision_when_told = engine->route(engine->task("checks"), "somebody").revision();
    world.told.tell(alert);
  };
  {
    const std::lock_guard lock{made};
    engine = world.engine();
  }
  world.put_harm();
  const Alert alert = world.told.await(AlertKind::rollback);
  CHECK(alert.version == "checks@1");
  CHECK(alert.key == "rollback/checks@1/3");
  CHECK(revision_when_told == 3);
  for (int pass = 0; pass != 3; ++pass) CHECK(engine->guard_now().acts.empty());
  CHECK(world.told.count(AlertKind::rollback) == 1);
}

TEST_CASE("engine alerts: tasks without a guard are looked at, and judged by nobody", "[engine][alert]") {
  World world;
  world.put_harm();
  SECTION("no metrics") { world.config.tasks[0].guard.metrics.clear(); }
  SECTION("no guard wanted") { world.options.guard = false; }
  {
    const auto engine = world.engine();
    CHECK(world.told.await(AlertKind::shutdown_near).version == "checks@1");
    CHECK_FALSE(engine->status().guard.on);
  }
  CHECK(world.told.count(AlertKind::rollback) == 0);
  CHECK(version_of(world.shared->store.load("checks", {.all = true}), 1).weight_ppm == 10 * percent);
}

TEST_CASE("engine alerts: nobody to tell, or no thread to do it, and nothing is looked at", "[engine][alert]") {
  World world;
  world.config.tasks[0].guard.metrics.clear();
  SECTION("nobody") {
    world.options.on_alert = {};
    const auto engine = world.engine();
    CHECK(engine->guard_now().faults.empty());
  }
  SECTION("no thread") {
    world.options.follow = false;
    const auto engine = world.engine();
    CHECK(world.told.count(AlertKind::shutdown_near) == 0);
    CHECK(engine->guard_now().acts.empty());
    CHECK(world.told.count(AlertKind::shutdown_near) == 1);  // but on demand
  }
}

TEST_CASE("engine alerts: a guard that begins with a reload tells of what it does", "[engine][alert]") {
  World world;
  const Config guarded = world.config;
  world.config.tasks[0].guard.metrics.clear();
  world.put_harm();
  const auto engine = world.engine();
  (void)world.told.await(AlertKind::shutdown_near);
  engine->reload(guarded);
  CHECK(world.told.await(AlertKind::rollback).version == "checks@1");
  CHECK(engine->status().guard.on);
}

TEST_CASE("engine alerts: through a desk they reach a sink, and the engine may end before it", "[engine][alert]") {
  /// Keeps what it is sent.
  class Kept : public AlertSink {
   public:
    explicit Kept(Told& told) : told_{told} {}
    std::string name() const override { return "kept"; }
    Sent send(const Alert& alert) override {
      told_.tell(alert);
      return {};
    }

   private:
    Told& told_;
  };
  World world;
  world.put_harm();
  std::vector<std::unique_ptr<AlertSink>> sinks;
  sinks.push_back(std::make_unique<Kept>(world.told));
  AlertDesk desk{std::move(sinks), {.source = "here"}};
  world.options.on_alert = [&desk](const Alert& alert) { desk.raise(alert); };
  const auto engine = world.engine();
  const Alert alert = world.told.await(AlertKind::rollback);
  CHECK(alert.source == "here");
  CHECK_FALSE(alert.id.empty());
}

}  // namespace engine_alert_test
