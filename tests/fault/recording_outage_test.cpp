// PostgreSQL is away while two threads record: what the rings hold is delivered, what they do not is counted.
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/adapters/postgres_store.hpp"
#include "canary/engine.hpp"
#include "own_server.hpp"
#include "recorded.hpp"

namespace recording_outage_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr std::uint32_t threads = 2;
constexpr std::uint32_t paced = 4'000;   // by each thread: with their assignments half of a ring
constexpr std::uint32_t flood = 40'000;  // more than a ring holds
constexpr std::chrono::minutes long_enough{5};

std::unique_ptr<Store> store(const Server& server) {
  PostgresOptions options;
  options.timeout_ms = 300;
  return std::make_unique<PostgresStore>(server.url, options);
}

Config configuration(const Server& server) {
  Config config;
  config.store.url = server.url;
  config.store.state = server.state_file();
  config.recorder.spool = server.spool();
  config.recorder.lane_mb = 1;  // 16,384 entries
  config.recorder.flush_ms = 5;
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  config.tasks.push_back(task);
  return config;
}

/// Records under one source; what is kept is numbered from 1 without a gap.
class Source {
 public:
  Source(Engine& engine, std::uint32_t source) : engine_{engine}, source_{source} {}
  void record(std::uint32_t count, std::chrono::nanoseconds pause) {
    const Task task = engine_.task("checks");
    auto next = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i != count; ++i, next += pause) {
      const std::uint32_t number = kept + 1;
      Decision decision = engine_.route(task, std::uint64_t{source_} << 32 | tried++);
      kept += engine_.record(decision, {.latency_us = number % 5'000,
                                        .ok = number % 11 != 0,
                                        .score = (number % 101) / 100.0,
                                        .tokens_in = source_,
                                        .tokens_out = number});
      if (pause.count() != 0) std::this_thread::sleep_until(next);  // the pace of its requests
    }
  }
  std::uint32_t kept = 0;
  std::uint32_t tried = 0;

 private:
  Engine& engine_;
  std::uint32_t source_;
};

}  // namespace

TEST_CASE(
    "outage: what two threads record while PostgreSQL is away is there afterwards, once; what no ring holds is counted",
    "[fault]") {
  const Server server;
  {
    const std::unique_ptr<Store> operators = store(server);
    (void)Registry{*operators}.register_version("checks", {.model = "v1"});
    (void)Registry{*operators}.canary("checks", 1, 250'000);
  }
  const std::chrono::seconds away{soak_factor() != 1 ? 60 : 5};
  Engine engine{configuration(server), store(server)};
  std::vector<Source> sources;
  for (std::uint32_t i = 0; i != threads; ++i) sources.emplace_back(engine, i + 1);
  for (Source& source : sources) source.record(500, {});
  REQUIRE(engine.flush(long_enough));

  std::uint64_t dropped_while_paced = 1;
  REQUIRE(server.control("pause") == 0);
  {
    std::barrier<> together{threads};
    std::vector<std::thread> running;
    for (Source& source : sources)
      running.emplace_back([&] {
        source.record(paced, std::chrono::nanoseconds{away} / paced);
        together.arrive_and_wait();
        if (&source == sources.data()) dropped_while_paced = engine.status().recording.dropped;
        together.arrive_and_wait();
        source.record(flood, {});
        together.arrive_and_wait();  // none gets the other's ring
      });
    for (std::thread& thread : running) thread.join();
  }
  CHECK(dropped_while_paced == 0);
  CHECK_FALSE(engine.status().recording.message.empty());
  REQUIRE(server.control("resume") == 0);
  REQUIRE(engine.flush(long_enough));

  const std::unique_ptr<Store> look = std::make_unique<PostgresStore>(server.url);
  const auto rows = recorded_rows(*look);
  const Sequences found = sequences_of(rows);
  for (std::uint32_t i = 0; i != threads; ++i) {
    CHECK(sources[i].kept >= 500 + paced);
    CHECK(sources[i].kept < sources[i].tried);
    CHECK(is_whole(found.at(i + 1), sources[i].kept));
  }
  CHECK(recorded_windows(*look) == windows_of(rows));
  const RecordingStatus status = engine.status().recording;
  CHECK(status.message.empty());
  CHECK(recorded_drops(*look) == status.dropped);

  std::map<Arm, ArmCounts> sums;
  for (const auto& [id, row] : rows) {
    ArmCounts& sum = sums[row.number == 1 ? Arm::candidate : Arm::baseline];
    ++sum.settled;
    sum.failed += row.error != 0;
  }
  const EvidenceCounts evidence = recorded_evidence(*look, "checks");
  for (const Arm arm : {Arm::baseline, Arm::candidate}) {
    CHECK(evidence.of(CountedBy::request, arm).settled == sums[arm].settled);
    CHECK(evidence.of(CountedBy::request, arm).failed == sums[arm].failed);
    CHECK(evidence.of(CountedBy::request, arm).late == 0);
  }
  std::printf("away %lld s: %zu rows delivered, %llu entries dropped and counted\n",
              static_cast<long long>(away.count()), rows.size(), static_cast<unsigned long long>(status.dropped));
}

}  // namespace recording_outage_test
