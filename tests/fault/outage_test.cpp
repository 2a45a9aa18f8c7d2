// PostgreSQL hangs, dies and comes back under an engine that is routing. The server is one of the test's own.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/postgres_store.hpp"
#include "canary/engine.hpp"
#include "own_server.hpp"

namespace outage_test {

using namespace canary;
using canary::test::Server;

namespace {

class Watch {
 public:
  void tell(const EngineStatus& status) {
    const std::lock_guard lock{mutex_};
    health_ = status.health;
    changed_.notify_all();
  }
  void await(Health health) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return health_ == health; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Health> health_;
};

/// Threads that route all the time and count every answer that is none of the task's versions.
class Load {
 public:
  explicit Load(const Engine& engine) {
    for (int i = 0; i != 2; ++i) threads_.emplace_back([this, &engine] { run(engine); });
  }
  ~Load() { (void)failed(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  [[nodiscard]] std::uint64_t failed() {
    stop_ = true;
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
    return failed_;
  }
  [[nodiscard]] std::uint64_t routed() const { return routed_; }

 private:
  void run(const Engine& engine) {
    const Task task = engine.task("checks");
    for (std::uint64_t key = 0; !stop_; ++key) {
      const Decision decision = engine.route(task, key);
      failed_ += decision.reason() != Reason::split || (decision.model() != "base" && decision.model() != "v1");
      ++routed_;
      std::this_thread::yield();
    }
  }
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> failed_ = 0;
  std::atomic<std::uint64_t> routed_ = 0;
  std::vector<std::thread> threads_;
};

Config configuration(const Server& server) {
  Config config;
  config.store.url = server.url;
  config.store.state = server.state_file();
  config.recorder.spool = server.spool();
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  config.tasks.push_back(task);
  return config;
}

std::unique_ptr<Store> store(const Server& server) {
  PostgresOptions options;
  options.timeout_ms = 300;
  return std::make_unique<PostgresStore>(server.url, options);
}

}  // namespace

TEST_CASE("outage: PostgreSQL hangs, dies and returns under load: no route fails, and the engine recovers by itself",
          "[fault]") {
  const Server server;
  const std::unique_ptr<Store> operators = store(server);
  (void)Registry{*operators}.register_version("checks", {.model = "v1"});
  (void)Registry{*operators}.canary("checks", 1, 250'000);

  Watch watch;
  EngineOptions options;
  options.on_health = [&watch](const EngineStatus& status) { watch.tell(status); };
  const Config config = configuration(server);
  const Engine engine{config, store(server), options};
  watch.await(Health::ok);
  Load load{engine};

  for (const auto& [down, up] : {std::pair{"pause", "resume"}, std::pair{"kill", "restart"}}) {
    REQUIRE(server.control(down) == 0);
    watch.await(Health::degraded);
    CHECK_FALSE(engine.status().message.empty());
    CHECK(engine.status().message.find(server.password()) == std::string::npos);

    const Engine started{config, store(server)};  // while it is down
    CHECK(started.status().health == Health::degraded);
    CHECK(started.status().from_disk);
    const Task task = started.task("checks");
    for (std::uint64_t key = 0; key != 1'000; ++key)
      REQUIRE(started.route(task, key).version_id() == engine.route(task, key).version_id());

    REQUIRE(server.control(up) == 0);
    watch.await(Health::ok);
    // And it follows again; the operator's own connection comes back with the next call.
    const std::uint32_t revision = Registry{*operators}.canary("checks", 1, 300'000).row.revision;
    while (engine.router().revision(task) != revision || started.router().revision(task) != revision)
      std::this_thread::yield();
  }
  CHECK(load.failed() == 0);
  CHECK(load.routed() > 1'000);
}

}  // namespace outage_test
