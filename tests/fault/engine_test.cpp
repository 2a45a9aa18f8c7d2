#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"

namespace engine_test {

using namespace canary;
using canary::test::FragileStore;

namespace {

/// Waits for states of health; nothing here sleeps.
class Watch {
 public:
  void tell(const EngineStatus& status) {
    const std::lock_guard lock{mutex_};
    seen_ = status;
    changed_.notify_all();
  }
  [[nodiscard]] EngineStatus await(Health health) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return seen_ && seen_->health == health; });
    return *seen_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<EngineStatus> seen_;
};

struct World {
  std::shared_ptr<FragileStore::Shared> shared = std::make_shared<FragileStore::Shared>();
  TemporaryFolder folder;
  std::map<std::string, std::string> environment;
  Config config;

  World() {
    config.store.url = "sqlite:none.db";
    config.store.state = (folder.path() / "canary.state").string();
    config.recorder.spool.clear();
    TaskConfig task;
    task.name = "checks";
    task.default_model = "base";
    task.force_env = "FORCE";
    config.tasks.push_back(task);
  }
  [[nodiscard]] Registry registry() const { return Registry{shared->store}; }
  [[nodiscard]] EngineOptions options(bool follow) const {
    EngineOptions options;
    options.follow = follow;
    options.record = false;  // tests/fault/recording_test.cpp
    options.poll_ms = 1;
    options.environment = [this](const char* name) -> const char* {
      const auto at = environment.find(name);
      return at == environment.end() ? nullptr : at->second.c_str();
    };
    return options;
  }
  [[nodiscard]] std::unique_ptr<Engine> engine(bool follow = false) const {
    return std::make_unique<Engine>(config, std::make_unique<FragileStore>(shared), options(follow));
  }
  void ramp(std::uint32_t ppm) const {
    if (shared->store.load("checks", {}).revision == 0) (void)registry().register_version("checks", {.model = "v1"});
    (void)registry().canary("checks", 1, ppm);
  }
};

int served_by(const Engine& engine, std::string_view id) {
  const Task task = engine.task("checks");
  int count = 0;
  for (std::uint64_t key = 0; key != 1'000; ++key) count += engine.route(task, key).version_id() == id;
  return count;
}

}  // namespace

TEST_CASE("engine: what the store holds is what it routes by", "[engine]") {
  const World world;
  world.ramp(250'000);
  const auto engine = world.engine();
  CHECK(engine->status().health == Health::ok);
  CHECK(engine->router().revision(engine->task("checks")) == 2);
  const int served = served_by(*engine, "checks@1");
  CHECK(served > 180);
  CHECK(served < 320);
  CHECK(engine->route(engine->task("other"), "key").reason() == Reason::fallback);
}

TEST_CASE("engine: changes are followed by themselves", "[engine]") {
  const World world;
  world.ramp(0);
  const auto engine = world.engine(true);
  world.ramp(1'000'000);
  const Task task = engine->task("checks");
  while (engine->route(task, "key").version_id() != "checks@1") std::this_thread::yield();
  (void)world.registry().rollback("checks");
  while (engine->route(task, "key").version_id() != "checks@default") std::this_thread::yield();
}

TEST_CASE("engine: with the store gone it routes on, says so, and recovers by itself", "[engine]") {
  const World world;
  world.ramp(250'000);
  Watch watch;
  EngineOptions options = world.options(true);
  options.on_health = [&watch](const EngineStatus& status) { watch.tell(status); };
  const Engine engine{world.config, std::make_unique<FragileStore>(world.shared), options};
  (void)watch.await(Health::ok);
  const int served = served_by(engine, "checks@1");
  world.shared->down = true;
  CHECK(watch.await(Health::degraded).message.find("the store is down") != std::string::npos);
  CHECK(engine.status().health == Health::degraded);
  CHECK(served_by(engine, "checks@1") == served);
  world.ramp(500'000);
  CHECK(served_by(engine, "checks@1") == served);
  world.shared->down = false;
  (void)watch.await(Health::ok);
  CHECK(served_by(engine, "checks@1") > served);
}

TEST_CASE("engine: one that starts while the store is down routes by the last good state", "[engine]") {
  const World world;
  world.ramp(250'000);
  const int served = served_by(*world.engine(), "checks@1");
  world.shared->down = true;
  const auto engine = world.engine();
  CHECK(engine->status().health == Health::degraded);
  CHECK(engine->status().from_disk);
  CHECK(served_by(*engine, "checks@1") == served);
  CHECK(engine->router().revision(engine->task("checks")) == 2);
  world.shared->down = false;
  CHECK(engine->refresh());
  CHECK_FALSE(engine->status().from_disk);
}

TEST_CASE("engine: without store and state it answers with the defaults, and says so", "[engine]") {
  const World world;
  world.shared->down = true;
  const auto engine = world.engine();
  CHECK(engine->status().health == Health::degraded);
  CHECK_FALSE(engine->status().from_disk);
  const Decision decision = engine->route(engine->task("checks"), "key");
  CHECK(decision.model() == "base");
  CHECK(decision.reason() == Reason::fallback);
}

TEST_CASE("engine: a state file that was cut or edited is told and not believed", "[engine]") {
  World world;
  world.ramp(250'000);
  (void)world.engine();
  const std::filesystem::path file = world.config.store.state;
  std::string text;
  {
    std::ifstream in{file, std::ios::binary};
    text.assign(std::istreambuf_iterator<char>{in}, {});
  }
  world.shared->down = true;
  for (std::size_t cut = 0; cut < text.size(); cut += 7) {
    std::ofstream{file, std::ios::binary} << text.substr(0, cut);
    CHECK_THROWS_AS(load_state(file, world.config.store.url), StateFileError);
  }
  for (std::size_t at = 0; at < text.size(); at += 3) {
    std::string edited = text;
    edited[at] = static_cast<char>(edited[at] ^ 1);
    std::ofstream{file, std::ios::binary} << edited;
    CHECK_THROWS_AS(load_state(file, world.config.store.url), StateFileError);
  }
  const auto engine = world.engine();
  CHECK_FALSE(engine->status().from_disk);
  CHECK(engine->route(engine->task("checks"), "key").model() == "base");
}

TEST_CASE("engine: a folder that takes no state file is told, and routing goes on", "[engine]") {
  World world;
  world.ramp(1'000'000);
  world.config.store.state = (world.folder.path() / "none" / "canary.state").string();
  const auto engine = world.engine();
  CHECK(engine->status().message.find("canary.state") != std::string::npos);
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@1");
}

TEST_CASE("engine: the environment's override wins within one reload, by id when it is a version", "[engine]") {
  World world;
  world.ramp(0);
  const auto engine = world.engine();
  const Task task = engine->task("checks");
  CHECK(engine->route(task, "key").reason() == Reason::fallback);
  world.environment["FORCE"] = "v1";
  CHECK(engine->reload(world.config).ok());
  CHECK(engine->route(task, "key").reason() == Reason::forced);
  CHECK(engine->route(task, "key").version_id() == "checks@1");
  world.environment["FORCE"] = "other";
  (void)engine->reload(world.config);
  CHECK(engine->route(task, "key").version_id() == "checks@forced");
  CHECK(engine->route(task, "key").model() == "other");
  world.environment["FORCE"] = "";
  (void)engine->reload(world.config);
  CHECK(engine->route(task, "key").reason() == Reason::fallback);
}

TEST_CASE("engine: an override may name a candidate that has a share, and later splits are published all the same",
          "[engine]") {
  World world;
  world.ramp(250'000);
  world.environment["FORCE"] = "v1";
  const auto engine = world.engine();
  CHECK(engine->status().health == Health::ok);
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@1");
  world.ramp(500'000);
  CHECK(engine->refresh());
  CHECK(engine->router().revision(engine->task("checks")) == 3);
}

TEST_CASE("engine: a reload works while the store is down", "[engine]") {
  World world;
  world.ramp(1'000'000);
  const auto engine = world.engine();
  world.shared->down = true;
  CHECK_FALSE(engine->refresh());
  world.environment["FORCE"] = "v1";
  world.config.tasks.front().default_model = "newer";
  TaskConfig added;
  added.name = "risks";
  added.default_model = "base";
  world.config.tasks.push_back(added);
  CHECK(engine->reload(world.config).ok());
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@1");
  CHECK(engine->route(engine->task("risks"), "key").model() == "base");
}

TEST_CASE("engine: a restored store replaces everything, and tasks that it lacks fall back", "[engine]") {
  const World world;
  world.ramp(1'000'000);
  const auto engine = world.engine();
  const Task task = engine->task("checks");
  CHECK(engine->route(task, "key").version_id() == "checks@1");
  world.shared->store.replace_all([] { return std::optional<TaskContents>{}; });
  CHECK(engine->refresh());
  CHECK(engine->route(task, "key").version_id() == "checks@default");
  CHECK(engine->router().revision(task) == 0);
}

TEST_CASE("engine: one task whose row makes no sense keeps what it had, and holds up no other", "[engine]") {
  World world;
  TaskConfig second;
  second.name = "risks";
  second.default_model = "base";
  world.config.tasks.push_back(second);
  world.ramp(1'000'000);
  const auto engine = world.engine();
  // No registry writes a version without a model; another program may.
  TaskRecord broken = world.shared->store.load("checks", {.all = true});
  broken.versions.front().model.clear();
  Commit commit{"checks", broken.revision, broken.versions, {}};
  commit.row.revision = broken.revision + 1;
  commit.row.partition = broken.partition;
  REQUIRE(world.shared->store.commit(commit) == CommitResult::done);
  (void)world.registry().register_version("risks", {.model = "r1"});
  (void)world.registry().canary("risks", 1, 1'000'000);
  CHECK(engine->refresh());
  CHECK(engine->route(engine->task("checks"), "key").model() == "v1");
  CHECK(engine->route(engine->task("risks"), "key").model() == "r1");
  CHECK(engine->status().health == Health::degraded);
  CHECK(engine->status().message.find("checks") != std::string::npos);
}

TEST_CASE("engine: a task that could not be published is tried again", "[engine]") {
  const World world;
  world.ramp(1'000'000);
  const auto engine = world.engine();
  TaskRecord row = world.shared->store.load("checks", {.all = true});
  const auto write = [&](const std::string& model) {
    row.versions.front().model = model;
    Commit commit{"checks", row.revision, row.versions, {}};
    commit.row.revision = ++row.revision;
    commit.row.partition = row.partition;
    REQUIRE(world.shared->store.commit(commit) == CommitResult::done);
  };
  write("");
  CHECK(engine->refresh());
  CHECK(engine->status().health == Health::degraded);
  write("mended");
  CHECK(engine->refresh());
  CHECK(engine->status().health == Health::ok);
  CHECK(engine->route(engine->task("checks"), "key").model() == "mended");
}

TEST_CASE("engine: an override of the time of an outage gets its version's id when the store is back", "[engine]") {
  World world;
  world.ramp(0);
  const auto engine = world.engine();
  world.shared->down = true;
  CHECK_FALSE(engine->refresh());
  world.environment["FORCE"] = "v1";
  (void)engine->reload(world.config);
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@forced");
  world.shared->down = false;
  CHECK(engine->refresh());
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@1");
}

TEST_CASE("engine: an override never stands for an archived version, however long the process has known it",
          "[engine]") {
  World world;
  for (const char* model : {"v1", "v1"}) (void)world.registry().register_version("checks", {.model = model});
  world.environment["FORCE"] = "v1";
  const auto engine = world.engine();
  const Task task = engine->task("checks");
  CHECK(engine->route(task, "key").version_id() == "checks@2");
  (void)world.registry().deprecate("checks", 2);
  (void)world.registry().archive("checks", 2);
  CHECK(engine->refresh());
  CHECK(engine->route(task, "key").version_id() == "checks@1");
}

TEST_CASE("engine: the state of another store is not believed", "[engine]") {
  World world;
  world.ramp(1'000'000);
  (void)world.engine();
  world.config.store.url = "sqlite:other.db";
  world.shared->down = true;
  const auto engine = world.engine();
  CHECK_FALSE(engine->status().from_disk);
  CHECK(engine->status().message.find("another store") != std::string::npos);
}

TEST_CASE("engine: a state file keeps the rights that it had", "[engine]") {
  namespace fs = std::filesystem;
  const World world;
  world.ramp(0);
  (void)world.engine();
  const fs::path file = world.config.store.state;
  CHECK((fs::status(file).permissions() & fs::perms::mask) == fs::perms{0644});
  fs::permissions(file, fs::perms{0660});
  world.ramp(5);
  (void)world.engine();
  CHECK((fs::status(file).permissions() & fs::perms::mask) == fs::perms{0660});
}

TEST_CASE("engine: one task with an odd name does not spoil the state of the others", "[engine]") {
  const World world;
  world.ramp(1'000'000);
  TaskContents odd;
  odd.task.name = "odd\nname";
  std::vector<TaskContents> all{odd};
  world.shared->store.read_all([&](TaskContents&& each) { all.push_back(std::move(each)); });
  std::size_t next = 0;
  world.shared->store.replace_all([&]() -> std::optional<TaskContents> {
    if (next == all.size()) return {};
    return all[next++];
  });
  (void)world.engine();
  world.shared->down = true;
  CHECK(world.engine()->status().from_disk);
}

TEST_CASE("engine: its registry changes what it routes by", "[engine]") {
  const World world;
  world.ramp(0);
  const auto engine = world.engine();
  (void)engine->registry().canary("checks", 1, 1'000'000);
  CHECK(engine->refresh());
  CHECK(engine->route(engine->task("checks"), "key").version_id() == "checks@1");
}

TEST_CASE("engine: with memory: the splits stand in the configuration and a store is not needed", "[engine]") {
  World world;
  world.config.store.url = "memory:";
  world.config.tasks.front().versions.push_back({"v1", 1'000'000});
  Engine engine{world.config};
  CHECK(engine.status().health == Health::ok);
  CHECK(engine.route(engine.task("checks"), "key").model() == "v1");
  CHECK_THROWS_AS(engine.registry(), std::logic_error);
  world.config.tasks.front().versions.front().weight_ppm = 0;
  CHECK(engine.reload(world.config).ok());
  CHECK(engine.route(engine.task("checks"), "key").model() == "base");
}

TEST_CASE("engine: routing threads see only whole splits while changes are followed", "[engine]") {
  const World world;
  world.ramp(500'000);
  const auto engine = world.engine(true);
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> routed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&] {
      const Task task = engine->task("checks");
      for (std::uint64_t key = 0; !stop; ++key) {
        const Decision decision = engine->route(task, key);
        if (decision.model() != "base" && decision.model() != "v1") std::abort();
        routed.fetch_add(1, std::memory_order_relaxed);
      }
    });
  for (std::uint32_t i = 0; i != 300; ++i) world.ramp(1'000 * i);
  while (engine->router().revision(engine->task("checks")) != 302) std::this_thread::yield();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(routed > 0);
}

}  // namespace engine_test
