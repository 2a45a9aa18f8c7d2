// An engine that sees a candidate fail stops it for itself: while the store is down, for its own requests alone, and without a word
// in the evidence until the task's next revision.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"
#include "recorded.hpp"

namespace engine_trip_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr std::chrono::minutes long_enough{5};  // for what must come; nothing waits so long unless it is broken

/// A fragile store over an SQLite file, with a candidate that has 30 % of a task.
struct World {
  TemporaryFolder folder;
  std::shared_ptr<FragileStore::Shared> shared;
  std::map<std::string, std::string> environment;
  Config config;
  std::mutex mutex;
  std::vector<Trip> told;

  World() {
    config.store.url = "sqlite:" + (folder.path() / "canary.db").string();
    config.store.state.clear();
    config.recorder.spool.clear();
    config.recorder.lane_mb = 1;
    config.recorder.flush_ms = 5;
    TaskConfig task;
    task.name = "checks";
    task.default_model = "base";
    task.force_env = "FORCE";
    task.guard.metrics = {MetricConfig{.name = "ok"}};
    config.tasks.push_back(task);
    shared = std::make_shared<FragileStore::Shared>(std::make_unique<SqliteStore>(config.store.url));
    (void)registry().register_version("checks", {.model = "v1"});
    (void)registry().canary("checks", 1, 300'000);
  }
  [[nodiscard]] Registry registry() const { return Registry{shared->store}; }

  /// One that knows the epoch of its split, as far as there is one to know.
  [[nodiscard]] std::unique_ptr<Engine> engine() {
    EngineOptions options;
    options.poll_ms = 1;
    options.guard = false;  // it would be first, now and then
    options.on_trip = [this](const Trip& trip) {
      const std::lock_guard lock{mutex};
      told.push_back(trip);
    };
    options.environment = [this](const char* name) -> const char* {
      const auto at = environment.find(name);
      return at == environment.end() ? nullptr : at->second.c_str();
    };
    const int before = shared->histories;
    auto made = std::make_unique<Engine>(config, std::make_unique<FragileStore>(shared), options);
    while (shared->histories == before) std::this_thread::yield();
    return made;
  }
  [[nodiscard]] std::vector<Trip> await_told(std::size_t count) {
    for (;; std::this_thread::yield()) {
      const std::lock_guard lock{mutex};
      if (told.size() >= count) return told;
    }
  }
};

/// One request; the candidate's fails.
Decision serve(Engine& engine, std::uint64_t key, bool bad = true) {
  Decision decision = engine.route(engine.task("checks"), key);
  (void)engine.record(decision, {.latency_us = 5, .ok = !bad || decision.record().number != 1});
  return decision;
}

/// Serves until the engine has stopped the candidate; keys that were used.
std::uint64_t serve_until_tripped(Engine& engine, std::uint64_t key = 0) {
  while (serve(engine, key++).reason() != Reason::tripped) std::this_thread::yield();
  return key;
}

std::uint64_t assigned(const EvidenceCounts& counts, CountedBy by) {
  return counts.of(by, Arm::baseline).assigned + counts.of(by, Arm::candidate).assigned;
}

}  // namespace

TEST_CASE("engine trip: a candidate that fails is stopped though the store cannot be reached, and status says why",
          "[fault][trip]") {
  World world;
  const auto engine = world.engine();
  world.shared->down = true;
  (void)serve_until_tripped(*engine);
  const std::vector<Trip> told = world.await_told(1);
  for (std::uint64_t key = 0; key != 10'000; ++key) {
    const Decision decision = engine->route(engine->task("checks"), key);
    REQUIRE(decision.reason() == Reason::tripped);
    REQUIRE(decision.version_id() == "checks@default");
    REQUIRE(decision.revision() == 2);
    REQUIRE(decision.interaction() == 0);  // nobody waits for it
  }
  const std::vector<Trip> trips = engine->status().trips;
  REQUIRE(trips.size() == 1);
  REQUIRE(told.size() == 1);
  for (const Trip& trip : {trips[0], told[0]}) {
    CHECK(trip.task == "checks");
    CHECK(trip.version == "checks@1");
    CHECK(trip.revision == 2);
    CHECK(trip.since_us > 0);
    CHECK(trip.log_e > 9.2);  // a hundred times 1/.01
    CHECK(trip.reason.find("`ok`") != std::string::npos);
  }
  world.shared->down = false;  // else its end waits for the store
}

TEST_CASE("engine trip: from then on the process adds nothing to either arm's evidence, and its interactions are kept",
          "[fault][trip]") {
  World world;
  const auto engine = world.engine();
  const std::uint64_t first = serve_until_tripped(*engine);
  REQUIRE(engine->flush(long_enough));
  const EvidenceCounts before = recorded_evidence(world.shared->store, "checks");
  CHECK(assigned(before, CountedBy::unit) > 50);
  Decision last;
  for (std::uint64_t key = first; key != first + 1'000; ++key) last = serve(*engine, key);
  CHECK(last.interaction() != 0);
  CHECK(engine->feedback(last.interaction(), 0.25));
  REQUIRE(engine->flush(long_enough));
  CHECK(recorded_evidence(world.shared->store, "checks") == before);
  const auto rows = recorded_rows(world.shared->store);
  CHECK(std::count_if(rows.begin(), rows.end(), [](const auto& row) { return row.second.reason == Reason::tripped; }) >=
        1'000);
  CHECK(rows.at(last.interaction()).score == score_billionths(0.25));
}

TEST_CASE("engine trip: another revision lifts it, the same evidence trips that one too, and another life begins anew",
          "[fault][trip]") {
  World world;
  const auto engine = world.engine();
  std::uint64_t key = serve_until_tripped(*engine);
  (void)world.registry().register_version("checks", {.model = "v2"});  // the weights stand still
  const std::vector<Trip> told = world.await_told(2);
  CHECK(told[0].revision == 2);
  CHECK(told[1].revision == 3);
  CHECK(engine->route(engine->task("checks"), key).revision() == 3);
  CHECK(engine->route(engine->task("checks"), key).reason() == Reason::tripped);
  CHECK(engine->status().trips.size() == 1);

  (void)world.registry().canary("checks", 1, 0);
  while (engine->route(engine->task("checks"), key).revision() != 4) std::this_thread::yield();
  CHECK(engine->route(engine->task("checks"), key).reason() == Reason::fallback);  // no version has a share
  CHECK(engine->status().trips.empty());

  (void)world.registry().canary("checks", 1, 300'000);
  while (engine->route(engine->task("checks"), key).revision() != 5) std::this_thread::yield();
  int candidates = 0;
  for (int i = 0; i != 1'000; ++i) {
    const Decision decision = serve(*engine, key++, false);
    REQUIRE(decision.reason() == Reason::split);
    candidates += decision.record().number == 1;
  }
  CHECK(candidates > 200);
  REQUIRE(engine->flush(long_enough));
  CHECK(engine->status().trips.empty());
  (void)serve_until_tripped(*engine, key);
  CHECK(engine->status().trips.at(0).revision == 5);
}

TEST_CASE("engine trip: a reload keeps it, and an override goes before it", "[fault][trip]") {
  World world;
  const auto engine = world.engine();
  const std::uint64_t key = serve_until_tripped(*engine);
  const auto reason = [&] { return engine->route(engine->task("checks"), key).reason(); };
  (void)engine->reload(world.config);
  CHECK(reason() == Reason::tripped);
  world.environment["FORCE"] = "v1";
  (void)engine->reload(world.config);
  CHECK(reason() == Reason::forced);
  CHECK(engine->route(engine->task("checks"), key).version_id() == "checks@1");
  CHECK(engine->status().trips.size() == 1);
  world.environment.clear();
  world.shared->down = true;
  (void)engine->reload(world.config);
  CHECK(reason() == Reason::tripped);
  Config unwatched = world.config;
  unwatched.tasks[0].guard.metrics.clear();
  (void)engine->reload(unwatched);
  CHECK(reason() == Reason::tripped);
  world.shared->down = false;
}

TEST_CASE("engine trip: of two engines on one store only the one that saw the failures stops", "[fault][trip]") {
  World world;
  const auto seeing = world.engine();
  const auto other = world.engine();
  for (std::uint64_t key = 0; key != 2'000; ++key) (void)serve(*other, key, false);
  (void)serve_until_tripped(*seeing, 1'000'000);
  REQUIRE(other->flush(long_enough));
  REQUIRE(seeing->flush(long_enough));
  int candidates = 0;
  for (std::uint64_t key = 2'000; key != 4'000; ++key) {
    const Decision decision = serve(*other, key, false);
    REQUIRE(decision.reason() == Reason::split);
    candidates += decision.record().number == 1;
  }
  CHECK(candidates > 500);
  CHECK(other->status().trips.empty());
  CHECK(seeing->status().trips.size() == 1);
}

TEST_CASE("engine trip: threads that record for each other trip it like one, and every one of them is stopped",
          "[fault][trip]") {
  World world;
  const auto engine = world.engine();
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<Decision> handed;  // routed here, recorded there
  for (std::uint64_t i = 0; i != 4; ++i)
    threads.emplace_back([&, i] {
      for (std::uint64_t key = i << 32;; ++key) {
        const Decision decision = engine->route(engine->task("checks"), key);
        if (decision.reason() == Reason::tripped) return;
        std::optional<Decision> other;
        {
          const std::lock_guard lock{mutex};
          handed.push_back(decision);
          if (key % 4 != 0) {
            other = handed.front();
            handed.erase(handed.begin());
          }
        }
        if (other) (void)engine->record(*other, {.ok = other->record().number != 1});
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(engine->status().trips.size() == 1);
  CHECK(engine->flush(long_enough));
}

TEST_CASE("engine trip: nobody is stopped where the base has no model, and nothing is looked up without a metric",
          "[fault][trip]") {
  World world;
  SECTION("without a metric") {
    world.config.tasks[0].guard.metrics.clear();
    EngineOptions options;
    Engine engine{world.config, std::make_unique<FragileStore>(world.shared), options};
    for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE(serve(engine, key).reason() != Reason::tripped);
    REQUIRE(engine.flush(long_enough));
    CHECK(engine.status().trips.empty());
  }
  SECTION("without a default") {
    world.config.tasks[0].default_model.clear();
    const auto engine = world.engine();
    for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE(serve(*engine, key).reason() != Reason::tripped);
    REQUIRE(engine->flush(long_enough));
    CHECK(engine->status().trips.empty());
  }
}

// --- the lanes ---------------------------------------------------------------------------------------------------------

namespace {

/// A recorder with a ring of 64 and a tripwire that reads it.
struct Ring {
  Router router;
  Tripwire wire{router};
  std::vector<Recorder::Counter> drops = std::vector<Recorder::Counter>(4);
  Recorder::Counter cursor{0};
  Recorder recorder{drops};
  std::vector<Recorder::Cell> cells = std::vector<Recorder::Cell>(64);
  Task task = router.task("checks", {.default_model = "base"});
  Partition partition;
  std::vector<StoredVersion> versions{{1, "checks@1", "v1", true}};
  Epoch epoch;
  std::uint64_t drained = 0;

  Ring() {
    recorder.set_time(1'795'368'929'000'000);
    recorder.set_node(3, cursor);
    REQUIRE(recorder.add_lane(cells.data(), cells.size()));
    const std::vector<WantedShare> shares{{1, 300'000}};
    partition = rebalance(Partition{}, shares).partition;
    epoch = who_is_compared({{1, "v1", Status::candidate}}, partition);
    epoch.revision = epoch.candidates.at(0).since = 7;
    wire.watch(recorder);
    publish();
    look();
  }
  void publish() {
    GuardConfig guard;
    guard.metrics = {MetricConfig{.name = "ok"}};
    REQUIRE(wire.publish(task, "checks", {partition, versions, 7, default_owner, true}, epoch, guard));
  }
  void look() {
    wire.look([this](std::string_view, std::uint32_t) { return OpenedEpoch{epoch, 0}; }, {}, 1);
  }
  /// False if the ring is full.
  bool request(std::uint64_t key, bool bad = true) {
    Decision decision = router.route(task, key);
    if (!recorder.assign(decision)) return false;
    return recorder.record(decision, {.ok = !bad || decision.record().number != 1});
  }
  /// As the drainer does.
  void release() {
    while (detail::is_of(cells[drained % 64].stamp.load(std::memory_order_acquire), drained)) ++drained;
    wire.before_release(0, drained);
    recorder.lane(0).release(drained);
  }
};

}  // namespace

TEST_CASE("trip: what is drained and written over before anybody looks was seen all the same", "[fault][trip]") {
  Ring ring;
  for (std::uint64_t key = 0; key != 300; ++key) {
    REQUIRE(ring.request(key));
    if (key % 20 == 0) ring.release();
  }
  CHECK(ring.wire.trips().empty());
  ring.look();
  CHECK(ring.wire.trips().size() == 1);
  CHECK(ring.router.route(ring.task, "user").reason() == Reason::tripped);
}

TEST_CASE("trip: what was drained while nothing was compared is not looked for, and what comes after is",
          "[fault][trip]") {
  Ring ring;
  ring.wire.forget();
  const auto serve = [&ring](std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t key = first; key != first + count; ++key) {
      REQUIRE(ring.request(key));
      if (key % 20 == 0) ring.release();
    }
    ring.release();
  };
  serve(0, 1'000);
  ring.publish();
  ring.look();
  ring.look();
  CHECK(ring.wire.trips().empty());
  serve(1'000, 300);
  ring.look();
  CHECK(ring.wire.trips().size() == 1);
}

TEST_CASE("trip: a candidate is not stopped for a default that has no model, and is when there is one again",
          "[fault][trip]") {
  Ring ring;
  for (std::uint64_t key = 0; key != 600; ++key) {
    if (key == 300) {
      REQUIRE(ring.router.configure(ring.task, {}) == Errc::ok);
      ring.look();
      CHECK(ring.wire.trips().empty());
      REQUIRE(ring.router.configure(ring.task, {.default_model = "base"}) == Errc::ok);
    }
    REQUIRE(ring.request(key));
    if (key % 20 == 0) ring.release();
  }
  ring.look();
  CHECK(ring.wire.trips().size() == 1);
}

TEST_CASE("trip: looking, draining and recording get along on a small ring", "[fault][trip]") {
  Ring ring;
  std::atomic<bool> done = false;
  std::thread drainer{[&] {
    while (!done) ring.release();
  }};
  std::thread looker{[&] {
    while (!done) ring.look();
  }};
  constexpr std::uint64_t good = 50'000;  // a thousand times round
  for (std::uint64_t key = 0; ring.router.route(ring.task, key).reason() != Reason::tripped; ++key)
    while (!ring.request(key, key >= good)) std::this_thread::yield();
  done = true;
  drainer.join();
  looker.join();
  CHECK(ring.wire.trips().size() == 1);
}

}  // namespace engine_trip_test
