// Rollouts over simulated requests, through an engine's routing, recording and guard, from the first step to the end.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "../core/history.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/engine.hpp"

namespace rollout_simulation_test {

using namespace canary;
using canary::test::Random;

namespace {

struct InMemory {
  MemoryStore store;  // copies share what they hold
  [[nodiscard]] std::unique_ptr<Store> open() const { return std::make_unique<MemoryStore>(store); }
};

struct InSqlite {
  TemporaryFolder folder;
  [[nodiscard]] std::unique_ptr<Store> open() const {
    return std::make_unique<SqliteStore>("sqlite:" + (folder.path() / "canary.db").string());
  }
};

struct Outcomes {
  Rollout rollout;
  ModelVersion version;
  std::uint64_t requests = 0;
  std::uint64_t of_candidate = 0;
};

/// Serves fresh users, 90 of 100 well by the base and `successes` of 1,000 by the candidate, until the rollout ends. The
/// guard looks after each thousand requests.
template <class Place>
Outcomes ramp(std::uint32_t successes, std::uint64_t seed) {
  const Place place;
  Config config;
  config.store.url = "sqlite:elsewhere";
  config.store.state.clear();
  config.recorder.spool.clear();
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  task.guard.metrics = {{.name = "ok"}};
  config.tasks.push_back(task);
  EngineOptions options;
  options.follow = false;
  const std::unique_ptr<Store> store = place.open();
  Engine engine{config, place.open(), options};
  engine.registry().register_version("checks", {.model = "v1"});
  engine.registry().start_rollout("checks", 1, {10'000, 50'000, 250'000, 500'000, 1'000'000});
  REQUIRE(engine.refresh());
  const Task handle = engine.task("checks");
  Random random{seed};
  Outcomes seen;
  while (seen.rollout.state == RolloutState::running && seen.requests != 400'000) {
    for (int i = 0; i != 1'000; ++i, ++seen.requests) {
      Decision decision = engine.route(handle, "user-" + std::to_string(seed) + '-' + std::to_string(seen.requests));
      const bool candidate = decision.version_id() == "checks@1";
      seen.of_candidate += candidate ? 1 : 0;
      Outcome outcome;
      outcome.ok = random.below(1'000) < (candidate ? successes : 900);
      REQUIRE(engine.record(decision, outcome));
    }
    REQUIRE(engine.flush(std::chrono::minutes{1}));
    const GuardPass pass = engine.guard_now();
    REQUIRE(pass.faults.empty());
    for (const GuardAct& act : pass.acts) REQUIRE_FALSE(act.conflict);
    const TaskRecord record = store->load("checks", {.all = true});
    seen.rollout = stored_rollouts(record).at(0);
    seen.version = version_of(record, 1);
  }
  return seen;
}

}  // namespace

TEMPLATE_TEST_CASE("rollout: an equal candidate climbs all of its steps to 100 %", "[fault][rollout]", InMemory,
                   InSqlite) {
  const Outcomes seen = ramp<TestType>(900, 1);
  CHECK(seen.rollout.state == RolloutState::finished);
  CHECK(seen.rollout.step == 4);
  CHECK(seen.version.status == Status::active);
  CHECK(seen.version.weight_ppm == total_ppm);
  WARN("an equal candidate was at 100 % after " << seen.requests << " requests, of which it served "
                                                << seen.of_candidate);
}

TEMPLATE_TEST_CASE("rollout: a candidate 5 points worse is rolled back on its way", "[fault][rollout]", InMemory,
                   InSqlite) {
  const Outcomes seen = ramp<TestType>(850, 2);
  CHECK(seen.rollout.state == RolloutState::rolled_back);
  CHECK(seen.version.status == Status::deprecated);
  CHECK(seen.version.weight_ppm == 0);
  CHECK(seen.of_candidate < 5'000);
  WARN("a candidate 5 points worse was rolled back at step " << seen.rollout.step + 1 << " after " << seen.requests
                                                             << " requests; it cost " << seen.of_candidate
                                                             << " of the candidate's");
}

}  // namespace rollout_simulation_test
