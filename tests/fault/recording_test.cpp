// From record() through the spool into the store, while stores fail, clocks jump, threads come and go and processes end.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/merge_counts.hpp"
#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "fragile_store.hpp"
#include "peer_store.hpp"
#include "recorded.hpp"
#include "sites.hpp"

namespace recording_test {

using namespace canary;
using namespace canary::test;
namespace fs = std::filesystem;

namespace {

constexpr std::chrono::minutes long_enough{5};  // for what must come; nothing waits so long unless it is broken

Config config_in(const fs::path& folder, const std::vector<std::string>& tasks = {"checks", "risks"}) {
  Config config;
  config.store.url = "database";
  config.store.state.clear();
  config.recorder.spool = (folder / "spool").string();
  config.recorder.lane_mb = 1;  // 16,384 entries
  config.recorder.flush_ms = 5;
  for (const std::string& name : tasks) {
    TaskConfig task;
    task.name = name;
    task.default_model = "base";
    config.tasks.push_back(task);
  }
  return config;
}

Outcome outcome_of(std::uint32_t source, std::uint32_t number) {
  Outcome outcome;
  outcome.latency_us = number % 5'000;
  outcome.ok = number % 11 != 0;
  if (number % 3 == 0) outcome.score = (number % 101) / 100.0;
  outcome.tokens_in = source;
  outcome.tokens_out = number;
  outcome.cost_microusd = number % 977;
  return outcome;
}

/// Records numbers 1 to count; how many were kept. One that was dropped is tried again when `insist`.
std::uint32_t record_all(Engine& engine, std::uint32_t source, std::uint32_t count, bool insist = true,
                         std::string_view task_name = "checks") {
  const Task task = engine.task(task_name);
  std::uint32_t kept = 0;
  for (std::uint32_t number = 1; number <= count; ++number) {
    const Decision decision = engine.route(task, std::uint64_t{source} << 32 | number);
    while (!engine.record(decision, outcome_of(source, insist ? number : kept + 1)))
      if (!insist || (std::this_thread::yield(), false)) goto dropped;
    ++kept;
  dropped:;
  }
  return kept;
}

void give_candidate(Store& store, std::uint32_t ppm = 300'000) {
  (void)Registry{store}.register_version("checks", {.model = "v1"});
  (void)Registry{store}.canary("checks", 1, ppm);
}

/// A fragile store in memory.
struct World {
  std::shared_ptr<FragileStore::Shared> shared = std::make_shared<FragileStore::Shared>();
  TemporaryFolder folder;
  Config config = config_in(folder.path());

  [[nodiscard]] std::unique_ptr<Store> store() const { return std::make_unique<FragileStore>(shared); }
  [[nodiscard]] std::unique_ptr<Engine> engine() const { return std::make_unique<Engine>(config, store()); }
  [[nodiscard]] std::map<std::uint64_t, Interaction> rows() const { return recorded_rows(shared->store); }
};

/// Runs `work` in a process of its own, which ends as if it had been killed.
int in_another_process(const auto& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    int answer = 99;
    try {
      answer = work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in another process: %s\n", error.what());
    }
    std::_Exit(answer);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/// Waits until the engine has tried, and failed, to deliver.
std::string await_trouble(const Engine& engine) {
  for (;;) {
    const RecordingStatus status = engine.status().recording;
    if (!status.message.empty()) return status.message;
    std::this_thread::yield();
  }
}

}  // namespace

TEMPLATE_TEST_CASE(
    "recording: what four threads record is in the store once when flush() says so, and counted as it is", "[fault]",
    CANARY_TEST_SITES) {
  const TestType site;
  const TemporaryFolder folder;
  const std::unique_ptr<Store> store = peer_store(site.url());
  give_candidate(*store);
  Config config = config_in(folder.path());
  config.recorder.lane_mb = 4;
  constexpr std::uint32_t count =
      8'000;  // with their assignments they fit into one ring, should all threads have the same
  {
    Engine engine{config, peer_store(site.url())};
    std::vector<std::thread> threads;
    std::atomic<std::uint32_t> kept = 0;
    for (std::uint32_t i = 1; i <= 4; ++i)
      threads.emplace_back([&, i] { kept += record_all(engine, i, count, true, i < 4 ? "checks" : "risks"); });
    for (std::thread& thread : threads) thread.join();
    CHECK(kept == 4 * count);
    CHECK(engine.flush(long_enough));
    const auto rows = recorded_rows(*store);  // before the engine ends
    const Sequences found = sequences_of(rows);
    CHECK(found.size() == 4);
    for (const auto& [source, numbers] : found) CHECK(is_whole(numbers, count));
    CHECK(recorded_windows(*store) == windows_of(rows));
    for (const auto& [id, row] : rows) {
      const Outcome expected = outcome_of(row.tokens_in, row.tokens_out);
      REQUIRE(row.latency_us == expected.latency_us);
      REQUIRE(row.error == (expected.ok ? 0 : static_cast<std::uint8_t>(ErrorKind::other)));
      REQUIRE(row.score == (expected.score ? score_billionths(*expected.score) : no_score));
      REQUIRE(row.cost_microusd == static_cast<std::uint64_t>(expected.cost_microusd));
    }
    const RecordingStatus status = engine.status().recording;
    CHECK(status.on);
    CHECK(status.on_disk);
    CHECK(status.message.empty());
    CHECK(status.drained.interactions == 4 * count);
    CHECK(status.drained.torn + status.drained.nameless + status.drained.doubled == 0);
    CHECK(status.dropped == 0);
    CHECK(status.contact_us > 0);
  }
  CHECK(recorded_rows(*store).size() == 4 * count);
}

TEST_CASE("recording: flush() ends though threads record faster than any store takes it", "[fault]") {
  World world;
  world.config.recorder.lane_mb = 4;  // a ring holds as much as a batch
  const auto engine = world.engine();
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&] {
      const Decision decision = engine->route(engine->task("risks"), "key");
      while (!stop) (void)engine->record(decision, {});
    });
  Decision before = engine->route(engine->task("checks"), "key");
  while (!engine->record(before, outcome_of(1, 1))) std::this_thread::yield();
  CHECK(engine->flush(long_enough));
  int found = 0;
  world.shared->store.interactions()->read(
      {.from = before.interaction(), .to = before.interaction()},
      [&](const Interaction& row, const Payload&) { return found += row.tokens_in == 1; });
  CHECK(found == 1);
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("recording: without a store, or when it is not wanted, nothing is kept and no file made", "[fault]") {
  const World world;
  Config config = world.config;
  EngineOptions options;
  options.record = false;
  Engine without{config, world.store(), options};
  config.store.url = "memory:";
  Engine in_memory{config};
  for (Engine* engine : {&without, &in_memory}) {
    CHECK_FALSE(engine->record(engine->route(engine->task("checks"), "key"), {}));
    CHECK_FALSE(engine->feedback(5, 1));
    CHECK(engine->flush(std::chrono::milliseconds{0}));
    CHECK_FALSE(engine->status().recording.on);
  }
  CHECK_FALSE(fs::exists(world.config.recorder.spool));
}

TEST_CASE("recording: threads that come and go hand their rings on, and lose nothing", "[fault]") {
  const World world;
  const auto engine = world.engine();
  std::uint32_t source = 0;
  for (int wave = 0; wave != 50; ++wave) {
    std::vector<std::thread> threads;
    for (int i = 0; i != 4; ++i)
      threads.emplace_back([&engine, mine = ++source] { (void)record_all(*engine, mine, 100); });
    for (std::thread& thread : threads) thread.join();
  }
  CHECK(engine->flush(long_enough));
  const Sequences found = sequences_of(world.rows());
  CHECK(found.size() == 200);
  for (const auto& [mine, numbers] : found) CHECK(is_whole(numbers, 100));
  std::size_t lanes = 0;
  for (const auto& each : fs::recursive_directory_iterator{world.config.recorder.spool})
    lanes += each.path().filename().string().starts_with("lane-");
  CHECK(lanes <= 16);
}

// --- stores that fail --------------------------------------------------------------------------------------------------

TEST_CASE("recording: an engine starts and records while the store is down, and delivers when it is there", "[fault]") {
  const World world;
  world.shared->down = true;
  const auto engine = world.engine();
  CHECK(record_all(*engine, 1, 5'000) == 5'000);
  Decision decision = engine->route(engine->task("checks"), "key");
  CHECK(engine->record(decision, outcome_of(2, 1)));
  CHECK(decision.interaction() == 0);  // nobody has said yet which ids are its own
  CHECK(await_trouble(*engine).find("the store is down") != std::string::npos);
  CHECK_FALSE(engine->flush(std::chrono::milliseconds{1}));
  world.shared->down = false;
  CHECK(engine->flush(long_enough));
  const Sequences found = sequences_of(world.rows());
  CHECK(is_whole(found.at(1), 5'000));
  CHECK(is_whole(found.at(2), 1));
  CHECK(engine->status().recording.message.empty());
  CHECK(engine->record(decision, outcome_of(2, 2)));
  CHECK(decision.interaction() != 0);
}

TEST_CASE("recording: a store that goes away under load costs nothing until rings are full; what is dropped is counted",
          "[fault]") {
  const World world;
  const auto engine = world.engine();
  CHECK(record_all(*engine, 9, 5'000) == 5'000);
  constexpr std::uint32_t tried = 40'000;
  std::vector<std::uint32_t> kept(2);
  std::vector<std::thread> threads;
  std::atomic<int> done = 0;
  world.shared->down = true;
  for (std::uint32_t i = 0; i != 2; ++i)
    threads.emplace_back([&, i] {
      kept[i] = record_all(*engine, i, tried, false);
      ++done;
      while (done != 2) std::this_thread::yield();  // the other shall not get this one's ring
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::uint32_t each : kept) {
    CHECK(each >= 16'384);
    CHECK(each < tried);
  }
  RecordingStatus status = engine->status().recording;
  CHECK(status.dropped + kept[0] + kept[1] == 2 * tried);
  CHECK(await_trouble(*engine).find("the store is down") != std::string::npos);
  world.shared->down = false;
  CHECK(engine->flush(long_enough));
  const auto rows = world.rows();
  const Sequences found = sequences_of(rows);
  for (std::uint32_t i = 0; i != 2; ++i) CHECK(is_whole(found.at(i), kept[i]));
  CHECK(is_whole(found.at(9), 5'000));
  CHECK(recorded_drops(world.shared->store) == 2 * tried - kept[0] - kept[1]);
  CHECK(recorded_windows(world.shared->store) == windows_of(rows));
  status = engine->status().recording;
  CHECK(status.message.empty());
  CHECK(status.drained.interactions == rows.size());
}

TEST_CASE("recording: commits that fail, and those whose answer is lost, neither lose nor double anything", "[fault]") {
  World world;
  world.config.recorder.flush_ms = 1;
  give_candidate(world.shared->store);
  const auto engine = world.engine();
  Random random{3};
  std::uint32_t recorded = 0;
  std::uint32_t dropped = 0;
  for (int round = 0; round != 30; ++round) {
    world.shared->lost_answers = static_cast<int>(random.below(2));
    world.shared->broken_commits = static_cast<int>(random.below(2));
    const std::uint32_t more = random.below(3'000);
    for (std::uint32_t i = 0; i != more; ++i) {
      const Decision decision = engine->route(engine->task("checks"), std::uint64_t{random.below(2'000)});
      REQUIRE(engine->record(decision, outcome_of(1, ++recorded)));
    }
    if (round % 7 == 0)  // of the same batch, perhaps: counted once too
      for (std::uint32_t i = 0; i != 20'000; ++i)
        dropped += !engine->record(engine->route(engine->task("risks"), "key"), outcome_of(2 + i % 7, i));
    REQUIRE(engine->flush(long_enough));
  }
  const auto rows = world.rows();
  CHECK(is_whole(sequences_of(rows).at(1), recorded));
  CHECK(recorded_windows(world.shared->store) == windows_of(rows));
  CHECK(recorded_drops(world.shared->store) == dropped);
  const EvidenceCounts evidence = recorded_evidence(world.shared->store, "checks");
  for (const CountedBy by : {CountedBy::unit, CountedBy::request})
    for (const Arm arm : {Arm::baseline, Arm::candidate}) {
      const ArmCounts& counts = evidence.of(by, arm);
      CHECK(counts.assigned == counts.settled);
      CHECK(counts.late + counts.missing == 0);
    }
  CHECK(evidence.of(CountedBy::request, Arm::candidate).assigned +
            evidence.of(CountedBy::request, Arm::baseline).assigned ==
        recorded);
}

TEMPLATE_TEST_CASE("recording: a store that is restored from a backup meanwhile loses and doubles nothing", "[fault]",
                   CANARY_TEST_SITES) {
  const TestType site;
  const TemporaryFolder folder;
  const std::unique_ptr<Store> store = peer_store(site.url());
  give_candidate(*store);
  std::vector<TaskContents> backup;
  store->read_all([&](TaskContents&& task) { backup.push_back(std::move(task)); });
  Engine engine{config_in(folder.path()), peer_store(site.url())};
  std::uint32_t kept = 0;
  std::thread load{[&] { kept = record_all(engine, 1, 30'000); }};
  for (int i = 0; i != 10; ++i) {
    std::size_t next = 0;
    store->replace_all([&]() -> std::optional<TaskContents> {
      if (next == backup.size()) return {};
      return backup[next++];
    });
    CHECK(engine.flush(long_enough));
  }
  load.join();
  CHECK(engine.flush(long_enough));
  const auto rows = recorded_rows(*store);
  CHECK(is_whole(sequences_of(rows).at(1), kept));
  CHECK(recorded_windows(*store) == windows_of(rows));
}

TEST_CASE("recording: an engine whose spool the store was told to forget goes on under another node", "[fault]") {
  const World world;
  const auto engine = world.engine();
  CHECK(engine->flush(long_enough));
  std::atomic<bool> stop = false;
  std::uint32_t kept = 0;
  std::thread load{[&] {
    while (!stop) {
      kept += engine->record(engine->route(engine->task("checks"), "key"), outcome_of(1, kept + 1));
      std::this_thread::yield();
    }
  }};
  const std::unique_ptr<InteractionStore> kept_there = world.shared->store.interactions();
  const auto own = [&] { return kept_there->spools().front(); };
  const std::uint32_t node = own().node;
  while (!kept_there->fold(own(), merge_counts)) std::this_thread::yield();
  CHECK(kept_there->claim(std::string(32, 'a'), 1).node == node);  // somebody else has it now
  CHECK(engine->flush(long_enough));
  for (std::uint64_t id = 0; id == 0 || InteractionId::node(id) == node;) {  // within a tick
    Decision decision = engine->route(engine->task("risks"), "key");
    if (engine->record(decision, outcome_of(2, 1))) id = decision.interaction();
    std::this_thread::yield();
  }
  stop = true;
  load.join();
  CHECK(engine->flush(long_enough));
  const auto rows = world.rows();
  CHECK(is_whole(sequences_of(rows).at(1), kept));
  CHECK(recorded_windows(world.shared->store) == windows_of(rows));
}

TEST_CASE("recording: a file of an older schema is waited for in words, and delivered to when it was migrated",
          "[fault]") {
  const SqliteSite site;
  const TemporaryFolder folder;
  SqliteOptions old;
  old.schema = {sqlite_schema.migrations.first(1)};
  SqliteStore older{site.url(), old};  // keeps it from being brought forward by itself
  (void)older.tasks();
  REQUIRE(older.info().schema == 1);
  Engine engine{config_in(folder.path()), peer_store(site.url())};
  CHECK(record_all(engine, 1, 1'000) == 1'000);
  const std::string words = await_trouble(engine);
  INFO(words);
  CHECK(words.find("keeps no interactions") != std::string::npos);
  CHECK(words.find("canary store migrate") != std::string::npos);
  CHECK(peer_store(site.url())->migrate() == 1);
  CHECK(engine.flush(long_enough));
  CHECK(is_whole(sequences_of(recorded_rows(*peer_store(site.url()))).at(1), 1'000));
}

TEST_CASE("recording: what an engine could not deliver before its end the next one delivers", "[fault]") {
  const World world;
  {
    const auto engine = world.engine();
    CHECK(engine->flush(long_enough));
    world.shared->down = true;
    CHECK(record_all(*engine, 1, 3'000) == 3'000);
  }
  CHECK(world.rows().empty());
  {
    const auto engine = world.engine();  // while it is still down
    CHECK(record_all(*engine, 2, 3'000) == 3'000);
  }
  CHECK(world.rows().empty());
  world.shared->down = false;
  const auto engine = world.engine();
  CHECK(engine->flush(long_enough));
  const Sequences found = sequences_of(world.rows());
  CHECK(is_whole(found.at(1), 3'000));
  CHECK(is_whole(found.at(2), 3'000));
}

TEST_CASE("recording: rings in memory are delivered before the engine ends, when the store comes back in time",
          "[fault]") {
  World world;
  world.config.recorder.spool.clear();
  world.config.store.timeout_ms = 60'000;
  auto engine = world.engine();
  CHECK_FALSE(engine->status().recording.on_disk);
  CHECK(engine->flush(long_enough));
  world.shared->down = true;
  CHECK(record_all(*engine, 1, 3'000) == 3'000);
  std::thread end{[&] { engine.reset(); }};
  for (const int before = world.shared->asked; world.shared->asked < before + 2;) std::this_thread::yield();
  world.shared->down = false;
  end.join();
  CHECK(is_whole(sequences_of(world.rows()).at(1), 3'000));
}

TEST_CASE("recording: several engines that end and start deliver each other's spools, and leave one", "[fault]") {
  const World world;
  world.shared->down = true;
  {
    std::vector<std::unique_ptr<Engine>> engines;
    for (std::uint32_t i = 1; i <= 4; ++i) {
      engines.push_back(world.engine());
      CHECK(record_all(*engines.back(), i, 1'000) == 1'000);
    }
  }
  world.shared->down = false;
  const auto engine = world.engine();
  CHECK(engine->flush(long_enough));
  const Sequences found = sequences_of(world.rows());
  for (std::uint32_t i = 1; i <= 4; ++i) CHECK(is_whole(found.at(i), 1'000));
  const fs::directory_iterator spools{world.config.recorder.spool};
  CHECK(std::distance(begin(spools), end(spools)) == 1);
  CHECK(engine->status().recording.drained.interactions == 4'000);
}

TEST_CASE("recording: tasks that a reload brings are known by name when the process dies right after", "[fault]") {
  World world;
  const fs::path folder = world.folder.path();
  CHECK(in_another_process([&] {
          auto shared = std::make_shared<FragileStore::Shared>();
          shared->down = true;
          Engine engine{config_in(folder, {"checks", "checks"}), std::make_unique<FragileStore>(shared)};
          if (record_all(engine, 1, 10) != 10) return 1;
          Config more = config_in(folder, {"late", "checks", "not a name!", "late", "later"});
          more.tasks[0].default_model = std::string(70'000, 'x');  // the router takes neither of that name
          (void)engine.reload(more);
          if (engine.task("late") != Task{} && record_all(engine, 2, 10, true, "late") != 10) return 2;
          if (record_all(engine, 3, 10, true, "later") != 10) return 3;
          (void)engine.reload(config_in(folder, {"last"}));
          return record_all(engine, 4, 10, true, "last") == 10 ? 0 : 4;
        }) == 0);
  const auto engine = world.engine();
  CHECK(engine->flush(long_enough));
  std::map<std::uint32_t, std::string> names;
  for (const auto& [number, name] : world.shared->store.interactions()->task_names()) names.emplace(number, name);
  std::map<std::uint32_t, std::set<std::string>> by_source;
  for (const auto& [id, row] : world.rows()) by_source[row.tokens_in].insert(names.at(row.task));
  CHECK(by_source[1] == std::set<std::string>{"checks"});
  CHECK(by_source[3] == std::set<std::string>{"later"});
  CHECK(by_source[4] == std::set<std::string>{"last"});
  for (const auto& [source, numbers] : sequences_of(world.rows())) CHECK(is_whole(numbers, 10));
}

TEST_CASE("recording: the share of rows that a task keeps can be small; its counts count all", "[fault]") {
  World world;
  world.config.tasks[0].sample_ppm = 100'000;
  const auto engine = world.engine();
  CHECK(record_all(*engine, 1, 10'000) == 10'000);
  CHECK(engine->flush(long_enough));
  const std::size_t sampled = world.rows().size();
  CHECK(sampled > 850);  // 1,000 by 30: five standard deviations
  CHECK(sampled < 1'150);
  WindowCounts all;
  for (const auto& [key, counts] : recorded_windows(world.shared->store)) all.merge(counts);
  CHECK(all.count == 10'000);
  CHECK(all.tokens_out == 10'000ull * 10'001 / 2);

  world.config.tasks[0].sample_ppm = total_ppm;
  (void)engine->reload(world.config);  // from now on
  CHECK(record_all(*engine, 2, 1'000) == 1'000);
  CHECK(engine->flush(long_enough));
  CHECK(is_whole(sequences_of(world.rows()).at(2), 1'000));
}

// --- evidence ------------------------------------------------------------------------------------------------------------

namespace {

/// A queue between threads.
class Decisions {
 public:
  void put(const Decision& decision) {
    const std::lock_guard lock{mutex_};
    waiting_.push_back(decision);
    changed_.notify_all();
  }
  void close() {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    changed_.notify_all();
  }
  std::optional<Decision> take() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return {};
    const Decision first = waiting_.front();
    waiting_.pop_front();
    return first;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Decision> waiting_;
  bool closed_ = false;
};

constexpr std::int64_t timeout_us = 600'000'000;

Arm arm_of(const Decision& decision) { return decision.record().number == 1 ? Arm::candidate : Arm::baseline; }

}  // namespace

TEMPLATE_TEST_CASE("evidence: other threads bring the outcomes, and every sum is what the interactions say", "[fault]",
                   CANARY_TEST_SITES) {
  const TestType site;
  const TemporaryFolder folder;
  const std::unique_ptr<Store> store = peer_store(site.url());
  give_candidate(*store);
  Engine engine{config_in(folder.path()), peer_store(site.url())};
  const Task task = engine.task("checks");
  EvidenceCounts expected;
  std::map<Point, Decision> first;
  Decisions queue;
  std::atomic<std::uint32_t> number = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i != 2; ++i)
    threads.emplace_back([&] {
      while (const auto decision = queue.take()) {
        const std::uint32_t mine = ++number;
        while (!engine.record(*decision, outcome_of(1, mine))) std::this_thread::yield();
      }
    });
  constexpr std::uint64_t keys = 3'000;
  Random random{11};
  for (int i = 0; i != 20'000; ++i) {
    Decision decision = engine.route(task, std::uint64_t{random.below(keys)});
    while (decision.interaction() == 0) {  // no ring as yet, or a full one
      std::this_thread::yield();
      decision = engine.route(task, std::uint64_t{random.below(keys)});
    }
    REQUIRE(decision.reason() == Reason::split);
    expected.assign(CountedBy::request, arm_of(decision), decision.interaction());
    if (first.emplace(decision.point(), decision).second)
      expected.assign(CountedBy::unit, arm_of(decision), decision.interaction());
    if (i % 10 != 0) queue.put(decision);  // the others never have an outcome
  }
  queue.close();
  for (std::thread& thread : threads) thread.join();
  REQUIRE(engine.flush(long_enough));
  const auto rows = recorded_rows(*store);
  CHECK(is_whole(sequences_of(rows).at(1), 18'000));
  for (const auto& [id, row] : rows) {
    const Arm arm = row.number == 1 ? Arm::candidate : Arm::baseline;
    expected.settle(CountedBy::request, arm, row, {}, timeout_us);
    if (first.at(row.point).interaction() == id) expected.settle(CountedBy::unit, arm, row, {}, timeout_us);
  }
  const EvidenceCounts found = recorded_evidence(*store, "checks");
  for (const CountedBy by : {CountedBy::unit, CountedBy::request})
    for (const Arm arm : {Arm::baseline, Arm::candidate}) {
      INFO("by " << static_cast<int>(by) << ", arm " << static_cast<int>(arm));
      CHECK(found.of(by, arm).assigned == expected.of(by, arm).assigned);
      CHECK(found.of(by, arm).settled == expected.of(by, arm).settled);
      CHECK(found.of(by, arm) == expected.of(by, arm));
    }
  CHECK(found.open() == expected.open());
  CHECK(first.size() > keys * 9 / 10);
}

TEST_CASE("evidence: forced and fallback decisions, and tasks where nothing is compared, are none", "[fault]") {
  World world;
  give_candidate(world.shared->store);
  world.config.tasks[0].force_env = "FORCE";
  EngineOptions options;
  options.environment = [](const char*) { return "v1"; };
  Engine engine{world.config, world.store(), options};
  for (const char* task : {"checks", "risks"}) CHECK(record_all(engine, 1, 500, true, task) == 500);
  CHECK(engine.route(engine.task("checks"), "key").reason() == Reason::forced);
  CHECK(engine.route(engine.task("risks"), "key").reason() == Reason::fallback);
  CHECK(engine.flush(long_enough));
  CHECK(world.rows().size() == 1'000);
  for (const char* task : {"checks", "risks"}) {
    const EvidenceCounts found = recorded_evidence(world.shared->store, task);
    for (const CountedBy by : {CountedBy::unit, CountedBy::request})
      for (const Arm arm : {Arm::baseline, Arm::candidate}) CHECK(found.of(by, arm) == ArmCounts{.latency = {0}});
  }
}

// --- clocks --------------------------------------------------------------------------------------------------------------

namespace {

constexpr TimeUs second_us = 1'000'000;
constexpr TimeUs hour_us = 3'600 * second_us;

/// A recording whose clock is the test's.
class Timed {
 public:
  Timed(const Config& config, Store& store, TimeUs start_us) : clock_us_{start_us} {
    RecordingOptions options;
    options.tick = std::chrono::milliseconds{1};
    options.clock = [this] { return clock_us_.load(); };
    recording_ = std::make_unique<Recording>(config, store, options);
    std::vector<std::string> names;
    for (const TaskConfig& task : config.tasks) names.push_back(task.name);
    recording_->configure(config, 0, names);
  }
  /// Returns when everybody sees it.
  void set(TimeUs now_us) {
    clock_us_ = now_us;
    while (recorder().time() != now_us) std::this_thread::yield();
  }
  [[nodiscard]] TimeUs now_us() const { return clock_us_; }
  [[nodiscard]] Recorder& recorder() { return recording_->recorder(); }
  [[nodiscard]] Recording& operator*() const { return *recording_; }
  [[nodiscard]] Recording* operator->() const { return recording_.get(); }
  void flush() { REQUIRE(recording_->flush(long_enough)); }

 private:
  std::atomic<TimeUs> clock_us_;
  std::unique_ptr<Recording> recording_;
};

constexpr VersionRecord record_of(std::uint16_t number) {
  VersionRecord record;
  record.task = 0;
  record.number = number;
  record.reason = Reason::split;
  record.watched = true;
  return record;
}
constexpr VersionRecord compared[] = {record_of(0), record_of(1)};

/// As route() makes them where versions are compared: the candidate's, each of a unit of its own.
std::vector<Decision> assign(Recorder& recorder, std::size_t count, Point from, std::uint32_t revision = 2) {
  std::vector<Decision> decisions;
  for (std::size_t i = 0; i != count; ++i) {
    Decision decision{&compared[1], from + static_cast<Point>(i), revision};
    REQUIRE(recorder.assign(decision));
    decisions.push_back(decision);
  }
  return decisions;
}

TimeUs real_now_us() { return Registry::system_time(); }

}  // namespace

TEST_CASE("evidence: an outcome after the time-out is late, and none at all is a failure when its time is over",
          "[fault]") {
  const World world;
  give_candidate(world.shared->store);
  const TimeUs start_us = real_now_us() / (60 * second_us) * (60 * second_us) + 120 * second_us;
  Timed timed{world.config, world.shared->store, start_us};
  const std::vector<Decision> decisions = assign(timed.recorder(), 100, 1'000);
  const auto settle = [&](std::size_t from, std::size_t to) {
    for (; from != to; ++from) REQUIRE(timed.recorder().record(decisions[from], outcome_of(1, 1)));
    timed.flush();
  };
  const auto check = [&](std::uint64_t settled, std::uint64_t late, std::uint64_t missing) {
    const EvidenceCounts found = recorded_evidence(world.shared->store, "checks");
    for (const CountedBy by : {CountedBy::unit, CountedBy::request}) {
      const ArmCounts& counts = found.of(by, Arm::candidate);
      INFO("counted by " << static_cast<int>(by));
      CHECK(counts.assigned == 100);
      CHECK(counts.settled == settled);
      CHECK(counts.late == late);
      CHECK(counts.missing == missing);
      CHECK(found.of(by, Arm::baseline) == ArmCounts{.latency = {0}});
    }
  };
  settle(0, 40);
  check(40, 0, 0);
  timed.set(start_us + timeout_us);  // in the last moment
  settle(40, 60);
  check(60, 0, 0);
  timed.set(start_us + timeout_us + second_us);
  settle(60, 80);
  check(60, 20, 0);
  timed.set(start_us + timeout_us + 200 * second_us);
  timed.flush();
  check(60, 20, 40);  // those that came late are failures too
  settle(80, 90);
  check(60, 30, 40);
  settle(0, 10);  // a second outcome counts for nothing
  check(60, 30, 40);
  CHECK(world.rows().size() == 90);
  CHECK(timed->status().drained.doubled == 10);
}

TEST_CASE("evidence: a process that takes a spool over settles what the one before it assigned", "[fault]") {
  const World world;
  give_candidate(world.shared->store);
  const TimeUs start_us = real_now_us() + hour_us;
  std::vector<Decision> decisions;
  {
    Timed timed{world.config, world.shared->store, start_us};
    decisions = assign(timed.recorder(), 100, 1'000);
    for (std::size_t i = 0; i != 30; ++i) REQUIRE(timed.recorder().record(decisions[i], {}));
  }
  Timed timed{world.config, world.shared->store, start_us + 100 * second_us};
  for (std::size_t i = 20; i != 60; ++i) REQUIRE(timed.recorder().record(decisions[i], {}));
  timed.flush();
  timed.set(start_us + 2 * hour_us);
  timed.flush();
  const EvidenceCounts found = recorded_evidence(world.shared->store, "checks");
  for (const CountedBy by : {CountedBy::unit, CountedBy::request}) {
    CHECK(found.of(by, Arm::candidate).assigned == 100);
    CHECK(found.of(by, Arm::candidate).settled == 60);
    CHECK(found.of(by, Arm::candidate).missing == 40);
  }
}

TEST_CASE("evidence: what a silent server left open another closes, once", "[fault]") {
  const World world;
  give_candidate(world.shared->store);
  const TimeUs start_us = real_now_us() + hour_us;
  {
    Timed gone{world.config, world.shared->store, start_us};
    (void)assign(gone.recorder(), 50, 1'000);
  }
  Config elsewhere = world.config;
  elsewhere.recorder.spool = (world.folder.path() / "elsewhere").string();
  for (int i = 0; i != 2; ++i) {
    Timed other{elsewhere, world.shared->store, start_us + hour_us};
    other.flush();
    const EvidenceCounts found = recorded_evidence(world.shared->store, "checks");
    CHECK(found.of(CountedBy::unit, Arm::candidate).missing == 50);
    CHECK(found.of(CountedBy::unit, Arm::candidate).assigned == 50);
    CHECK(found.open().empty());
  }
  Timed back{world.config, world.shared->store, start_us + hour_us + second_us};
  (void)assign(back.recorder(), 50, 2'000);
  back.flush();
  CHECK(recorded_evidence(world.shared->store, "checks").of(CountedBy::unit, Arm::candidate).assigned == 100);
}

TEST_CASE("recording: a clock that goes back makes no id twice, and loses nothing", "[fault]") {
  const World world;
  const TimeUs start_us = real_now_us();
  std::set<std::uint64_t> ids;
  std::uint64_t last = 0;
  std::uint32_t number = 0;
  TimeUs now_us = start_us;
  Random random{8};
  for (int run = 0; run != 3; ++run) {
    Timed timed{world.config, world.shared->store, now_us};
    timed.flush();
    for (int i = 0; i != 20; ++i) {
      now_us += random.below(2) == 0 ? -static_cast<TimeUs>(random.below(7'200)) * second_us
                                     : static_cast<TimeUs>(random.below(3'600)) * second_us;
      timed.set(now_us);
      for (std::uint32_t count = random.below(3'000); count-- != 0;) {
        Decision decision{&compared[0], 5, 0};
        while (!timed.recorder().record(decision, outcome_of(1, number + 1))) std::this_thread::yield();
        ++number;
        REQUIRE(decision.interaction() > last);
        last = decision.interaction();
        ids.insert(last);
      }
    }
  }
  const auto rows = world.rows();
  CHECK(is_whole(sequences_of(rows).at(1), number));
  CHECK(ids.size() == number);
  for (const auto& [id, row] : rows) REQUIRE(ids.contains(id));
  CHECK(recorded_windows(world.shared->store) == windows_of(rows));
}

TEST_CASE("recording: interactions older than keep_days leave the store, with their windows", "[fault]") {
  World world;
  world.config.recorder.keep_days = 30;
  const TimeUs start_us = real_now_us();
  constexpr TimeUs day_us = 24 * hour_us;
  const auto record_at = [&](TimeUs at_us, std::uint32_t source) {
    Timed timed{world.config, world.shared->store, at_us};
    for (std::uint32_t i = 1; i <= 100; ++i)
      REQUIRE(timed.recorder().record(Decision{&compared[0], 5, 0}, outcome_of(source, i)));
    timed.flush();
  };
  record_at(start_us, 1);
  record_at(start_us + 20 * day_us, 2);
  CHECK(world.rows().size() == 200);
  record_at(start_us + 31 * day_us, 3);  // keeps house at its start
  Sequences found = sequences_of(world.rows());
  CHECK_FALSE(found.contains(1));
  CHECK(is_whole(found.at(2), 100));
  CHECK(is_whole(found.at(3), 100));
  CHECK(recorded_windows(world.shared->store) == windows_of(world.rows()));
  world.config.recorder.keep_days = 0;
  record_at(start_us + 1'000 * day_us, 4);
  CHECK(world.rows().size() == 300);
}

TEST_CASE("recording: counts that make no sense keep a spool that is gone, and nothing else from being tidied up",
          "[fault]") {
  World world;
  world.config.recorder.keep_days = 30;
  const TimeUs start_us = real_now_us();
  constexpr TimeUs day_us = 24 * hour_us;
  const auto kept = world.shared->store.interactions();
  for (const char id : {'d', 'e'}) {
    const SpoolRecord spool = kept->claim(std::string(32, id), start_us);
    const auto delivery = kept->begin(spool);
    delivery->put({CountsKind::drops, 1, 0, 1, 0, "\x80"});
    delivery->commit({}, start_us);
  }
  {
    Timed timed{world.config, world.shared->store, start_us};
    for (std::uint32_t i = 1; i <= 100; ++i)
      REQUIRE(timed.recorder().record(Decision{&compared[0], 5, 0}, outcome_of(1, i)));
    timed.flush();
  }
  CHECK(world.rows().size() == 100);
  Timed timed{world.config, world.shared->store, start_us + 31 * day_us};
  timed.flush();
  CHECK(world.rows().empty());
  CHECK(kept->spools().size() == 2);  // its own, and the one that cannot be added to the first
}

TEST_CASE("evidence: units of a life go when it has been over for a week, and those of others stay", "[fault]") {
  const World world;
  Store& store = world.shared->store;
  const TimeUs start_us = real_now_us();
  constexpr TimeUs day_us = 24 * hour_us;
  TimeUs change_us = start_us - hour_us;
  Registry registry{store, [&] { return change_us; }};
  (void)registry.register_version("checks", {.model = "v1"});
  const auto begin_life = [&] { return registry.canary("checks", 1, 300'000).row.revision; };
  const std::uint32_t first = begin_life();
  std::vector<std::uint32_t> lives{first};
  const auto claim = [&](TimeUs at_us) {
    Timed timed{world.config, store, at_us};
    (void)assign(timed.recorder(), 100, 1'000, lives.back());
    timed.flush();
  };
  const auto units_of = [&](std::uint32_t life) {
    const auto kept = store.interactions();
    const auto delivery = kept->begin(kept->claim(std::string(32, 'e'), start_us));
    std::vector<UnitKey> units;
    for (Point point = 1'000; point != 1'100; ++point)
      units.push_back({kept->find_task("checks").value(), life, point, 1, false});
    std::vector<bool> fresh;
    delivery->claim_units(units, fresh);
    return std::count(fresh.begin(), fresh.end(), false);
  };
  claim(start_us);
  change_us = start_us + 20 * day_us;  // long after its last unit
  (void)registry.canary("checks", 1, 0);
  change_us += hour_us;
  lives.push_back(begin_life());
  REQUIRE(lives.back() > first);
  claim(change_us + hour_us);
  CHECK(units_of(first) == 100);
  CHECK(units_of(lives.back()) == 100);
  change_us += hour_us;
  (void)registry.canary("checks", 1, 400'000);  // another epoch of the same life
  claim(start_us + 26 * day_us);
  CHECK(units_of(first) == 100);  // a spool that was cut off may still bring some
  claim(start_us + 28 * day_us);  // keeps house at its start
  CHECK(units_of(first) == 0);
  CHECK(units_of(lives.back()) == 100);
}

// --- feedback ------------------------------------------------------------------------------------------------------------

TEST_CASE("feedback: it joins its interaction once, from this engine or another, at once, later or before it is known",
          "[fault]") {
  const World world;
  give_candidate(world.shared->store);
  const TimeUs start_us = real_now_us();
  Config elsewhere = world.config;
  elsewhere.recorder.spool = (world.folder.path() / "elsewhere").string();
  const std::unique_ptr<Store> fragile = world.store();
  Timed one{world.config, *fragile, start_us};
  Timed two{elsewhere, world.shared->store, start_us};
  one.flush();
  two.flush();
  std::vector<Decision> decisions;
  const auto record = [&](std::size_t count) {
    for (std::size_t i = 0; i != count; ++i) {
      Decision decision{&compared[1], static_cast<Point>(decisions.size() + 1), 2};
      REQUIRE(one.recorder().assign(decision));
      Outcome outcome = outcome_of(1, static_cast<std::uint32_t>(decisions.size() + 1));
      outcome.score.reset();
      REQUIRE(one.recorder().record(decision, outcome));
      decisions.push_back(decision);
    }
  };
  const auto score = [&](Timed& by, std::size_t from, std::size_t to, double value) {
    for (; from != to; ++from) REQUIRE(by.recorder().feedback(decisions[from].interaction(), value));
  };
  const auto scores = [&](std::uint32_t value) {
    const auto rows = world.rows();
    return std::count_if(rows.begin(), rows.end(), [&](const auto& each) { return each.second.score == value; });
  };
  record(60);
  score(one, 0, 10, 0.25);  // with its outcome
  one.flush();
  CHECK(scores(250'000'000) == 10);
  score(one, 10, 20, 0.25);  // later
  one.flush();
  CHECK(scores(250'000'000) == 20);
  score(two, 20, 30, 0.25);  // from another engine
  two.flush();
  CHECK(scores(250'000'000) == 30);
  score(one, 0, 10, 0.5);  // twice: the first stays
  score(two, 10, 20, 0.5);
  one.flush();
  two.flush();
  CHECK(scores(250'000'000) == 30);
  CHECK(one->status().drained.feedback_refused == 10);
  CHECK(two->status().drained.feedback_refused == 10);

  world.shared->down = true;
  record(10);
  score(two, 60, 70, 0.75);  // before the store has heard of it
  two.flush();
  CHECK(scores(750'000'000) == 0);
  world.shared->down = false;
  one.flush();
  for (int i = 0; i != 3; ++i) {
    two.set(two.now_us() + 61 * second_us);
    two.flush();
  }
  CHECK(scores(750'000'000) == 10);

  REQUIRE(two.recorder().feedback(12'345, 1));  // of nobody
  two.flush();
  CHECK(two->status().drained.feedback_refused == 10);
  for (int i = 0; i != 3; ++i) {
    two.set(two.now_us() + 25 * hour_us);
    two.flush();
  }
  CHECK(two->status().drained.feedback_refused == 11);
  CHECK_FALSE(two.recorder().feedback(0, 1));
  CHECK_FALSE(two.recorder().feedback(decisions[0].interaction(), 1.5));
  CHECK(two->status().invalid == 2);

  const auto rows = world.rows();
  CHECK(rows.size() == 70);
  CHECK(recorded_windows(world.shared->store) == windows_of(rows));
  EvidenceCounts expected;
  for (const auto& [id, row] : rows) expected.assign(CountedBy::unit, Arm::candidate, id);
  for (const auto& [id, row] : rows) expected.settle(CountedBy::unit, Arm::candidate, row, {}, timeout_us);
  const EvidenceCounts found = recorded_evidence(world.shared->store, "checks");
  CHECK(found.of(CountedBy::unit, Arm::candidate) == expected.of(CountedBy::unit, Arm::candidate));
  CHECK(found.of(CountedBy::request, Arm::candidate) == expected.of(CountedBy::unit, Arm::candidate));
}

}  // namespace recording_test
