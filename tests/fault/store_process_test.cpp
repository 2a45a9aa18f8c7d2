// Other processes on the same store: they race, they die in the middle, they are of another release.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "peer_store.hpp"
#include "process.hpp"
#include "sites.hpp"

namespace store_process_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr const char* peer = CANARY_TEST_PEER_0;
constexpr const char* peer_of_next = CANARY_TEST_PEER_1;
constexpr const char* peer_of_after_next = CANARY_TEST_PEER_2;

/// `schema N`, of this program or of releases to come.
std::string schema_words(std::uint32_t ahead) { return "schema " + std::to_string(sqlite_schema.number() + ahead); }

void add_versions(Store& store) {
  for (int i = 0; i != 4; ++i) (void)Registry{store}.register_version("checks", {.model = "v" + std::to_string(i + 1)});
}

/// What must hold whatever happened: no gap, no half change, weights that are the partition's.
void check_invariants(Store& store) {
  const TaskRecord task = store.load("checks", {.all = true});
  const std::vector<HistoryRow> rows = store.history("checks", {});
  REQUIRE(rows.size() == task.revision);
  std::uint64_t sum = 0;
  for (const ModelVersion& row : task.versions) {
    REQUIRE(row.weight_ppm == detail::Draft::weight_in(task.partition, row.number));
    sum += row.weight_ppm;
  }
  REQUIRE(sum + detail::default_ppm(task) == total_ppm);
  for (std::size_t i = 0; i != rows.size(); ++i) {
    REQUIRE(rows[i].revision == i + 1);
    REQUIRE(rows[i].partition.valid());
    const Partition before = i == 0 ? Partition{} : rows[i - 1].partition;
    REQUIRE(points_moved(before, rows[i].partition) == rows[i].points_moved);
  }
  if (!rows.empty()) REQUIRE(rows.back().partition == task.partition);
}

/// note -> revision, of the successes that peers told.
void collect(const std::string& line, std::map<std::string, std::uint32_t>& told) {
  if (!line.starts_with("done ")) return;
  const std::size_t space = line.find(' ', 5);
  REQUIRE(told.emplace(line.substr(space + 1), std::stoul(line.substr(5, space - 5))).second);
}

}  // namespace

TEMPLATE_TEST_CASE("store: 8 processes race 1,000 share changes, and every success is in history exactly once",
                   "[fault]", CANARY_TEST_SITES) {
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  add_versions(*store);
  std::vector<Process> peers;
  for (int i = 0; i != 8; ++i)
    peers.emplace_back(std::vector<std::string>{peer, site.url(), "race", "checks", "125", std::to_string(i + 1)});
  std::map<std::string, std::uint32_t> told;
  std::size_t answers = 0;
  for (Process& process : peers) {
    for (const std::string& line : process.lines()) {
      const bool known = line.starts_with("done ") || line == "conflict" || line == "refused";
      INFO(line);
      REQUIRE(known);
      collect(line, told);
      ++answers;
    }
    CHECK(process.wait() == 0);
  }
  CHECK(answers == 1'000);
  check_invariants(*store);
  const std::vector<HistoryRow> rows = store->history("checks", {});
  REQUIRE(rows.size() == told.size() + 4);
  for (std::size_t i = 4; i != rows.size(); ++i) {
    const auto at = told.find(rows[i].note);
    REQUIRE(at != told.end());
    REQUIRE(at->second == rows[i].revision);
  }
  CHECK(told.size() > 300);
}

TEMPLATE_TEST_CASE("store: a process killed at any moment leaves whole changes, and loses none that it was told of",
                   "[fault]", CANARY_TEST_SITES) {
  const TestType site;
  const int kills = (TestType::is_sqlite ? 500 : 100) * soak_factor();
  {
    const std::unique_ptr<Store> store = peer_store(site.url());
    add_versions(*store);
  }
  Random random{2'026};
  std::map<std::string, std::uint32_t> told;
  std::uint32_t revision = 4;
  for (int i = 0; i != kills; ++i) {
    Process process{{peer, site.url(), "churn", "checks", std::to_string(i)}};
    // After so many of its lines, then anywhere in what follows.
    for (std::uint32_t lines = random.below(4); lines-- != 0;)
      if (const auto line = process.line()) collect(*line, told);
    const timespec pause{0, static_cast<long>(random.below(4'000'000))};
    ::nanosleep(&pause, nullptr);
    REQUIRE(process.kill() == 128 + SIGKILL);
    for (const std::string& line : process.lines()) collect(line, told);
    const std::unique_ptr<Store> store = peer_store(site.url());
    const TaskRecord task = store->load("checks", {});
    REQUIRE(task.revision >= revision);
    revision = task.revision;
    const std::vector<HistoryRow> last = store->history("checks", {.newest = 1});
    REQUIRE(last.back().revision == revision);
    REQUIRE(last.back().partition == task.partition);
  }
  const std::unique_ptr<Store> store = peer_store(site.url());
  check_invariants(*store);
  std::map<std::string, std::uint32_t> kept;
  for (const HistoryRow& row : store->history("checks", {})) kept.emplace(row.note, row.revision);
  for (const auto& [note, at] : told) REQUIRE(kept[note] == at);
  INFO(told.size() << " changes told");
  CHECK(revision > static_cast<std::uint32_t>(kills));
}

TEST_CASE("store: two releases share a file of the older schema, and a newer schema is refused in words", "[fault]") {
  const SqliteSite site;
  const auto ask = [&](const char* program, const char* command) {
    Process process{{program, site.url(), command, "checks"}};
    const auto lines = process.lines();
    return std::pair{process.wait(), lines.empty() ? std::string{} : lines.front()};
  };
  const std::unique_ptr<Store> store = peer_store(site.url());
  add_versions(*store);  // this program, of the first of three schemas, keeps the file open

  CHECK(ask(peer_of_next, "show") == std::pair{0, std::string{"revision 4"}});
  const auto [exit, words] = ask(peer_of_after_next, "show");
  CHECK(exit == 1);
  CHECK(words.find(schema_words(0)) != std::string::npos);
  CHECK(words.find("canary store migrate") != std::string::npos);

  // Both write, at once.
  Process newer{{peer_of_next, site.url(), "race", "checks", "100", "1"}};
  Process older{{peer, site.url(), "race", "checks", "100", "2"}};
  CHECK(newer.lines().size() == 100);
  CHECK(older.lines().size() == 100);
  CHECK(newer.wait() == 0);
  CHECK(older.wait() == 0);
  check_invariants(*store);

  const std::uint32_t revision = store->load("checks", {}).revision;
  CHECK(ask(peer_of_next, "migrate") == std::pair{0, schema_words(0).substr(7) + ' ' + schema_words(1).substr(7)});
  const auto [old_exit, old_words] = ask(peer, "show");
  CHECK(old_exit == 1);
  CHECK(old_words.find(schema_words(1)) != std::string::npos);
  CHECK_THROWS_AS(store->load("checks", {}), StoreError);  // noticed while running
  CHECK(ask(peer_of_next, "show") == std::pair{0, "revision " + std::to_string(revision)});
  CHECK(ask(peer_of_after_next, "show") == std::pair{0, "revision " + std::to_string(revision)});
}

TEST_CASE("store: an older file is brought forward by itself when nobody else has it open", "[fault]") {
  const SqliteSite site;
  {
    const std::unique_ptr<Store> store = peer_store(site.url());
    add_versions(*store);
  }
  Process process{{peer_of_after_next, site.url(), "show", "checks"}};
  CHECK(process.lines() == std::vector<std::string>{"revision 4"});
  CHECK(process.wait() == 0);
  const std::unique_ptr<Store> store = peer_store(site.url());
  CHECK_THROWS_AS(store->load("checks", {}), StoreError);
  CHECK(store->info().schema == sqlite_schema.number() + 2);
}

TEMPLATE_TEST_CASE("store: a backup under load is one moment, and restoring it under load is seen whole", "[fault]",
                   CANARY_TEST_SITES) {
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  add_versions(*store);
  const std::unique_ptr<Follower> follower = store->follow();
  const std::string token = follower->changes({}).position.token;
  Process load{{peer, site.url(), "churn", "checks", "7"}};
  for (int i = 0; i != 50; ++i) REQUIRE(load.line());

  const SqliteSite other;
  const std::unique_ptr<Store> copy = peer_store(other.url());
  std::vector<TaskContents> contents;
  store->read_all([&](TaskContents&& task) { contents.push_back(std::move(task)); });
  std::size_t next = 0;
  const auto give = [&]() -> std::optional<TaskContents> {
    if (next == contents.size()) return {};
    return contents[next++];
  };
  copy->replace_all(give);
  check_invariants(*copy);
  const std::uint32_t revision = copy->load("checks", {}).revision;
  CHECK(revision > 4);

  for (int i = 0; i != 50; ++i) REQUIRE(load.line());
  next = 0;
  store->replace_all(give);
  const StoreDelta delta = follower->changes({token, 1});
  CHECK(delta.everything);
  CHECK(delta.position.token != token);
  while (store->load("checks", {}).revision == revision)
    REQUIRE(load.line());  // the load goes on upon what was restored
  (void)load.kill();
  check_invariants(*store);
}

TEMPLATE_TEST_CASE("engine: looks and reloads of other threads do not disturb the one that follows", "[fault]",
                   CANARY_TEST_SITES) {
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  add_versions(*store);
  Config config;
  config.store.url = "database";
  config.store.state.clear();
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  task.force_env = "FORCE";
  config.tasks.push_back(task);
  EngineOptions options;
  options.poll_ms = 1;
  options.record = false;
  options.environment = [](const char*) { return "v2"; };
  Engine engine{config, peer_store(site.url()), options};
  std::thread looks{[&] {
    for (int i = 0; i != 100; ++i) CHECK(engine.refresh());
  }};
  std::thread reloads{[&] {
    for (int i = 0; i != 100; ++i) (void)engine.reload(config);
  }};
  for (std::uint32_t i = 0; i != 50; ++i) (void)Registry{*store}.canary("checks", 1, i);
  looks.join();
  reloads.join();
  CHECK(engine.refresh());
  CHECK(engine.router().revision(engine.task("checks")) == 54);
  CHECK(engine.route(engine.task("checks"), "key").version_id() == "checks@2");
}

TEST_CASE("engine: a database that went missing is not made anew, and takes no traffic to the default", "[fault]") {
  namespace fs = std::filesystem;
  const SqliteSite site;
  Config config;
  config.store.url = site.url();
  config.store.state = (site.folder.path() / "canary.state").string();
  config.recorder.spool = (site.folder.path() / "spool").string();
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  config.tasks.push_back(task);
  const fs::path file = site.folder.path() / "canary.db";
  {
    const std::unique_ptr<Store> store = peer_store(site.url());
    add_versions(*store);
    (void)Registry{*store}.promote("checks", 1);
    const Engine engine{config, peer_store(site.url())};
    CHECK(engine.route(engine.task("checks"), "key").version_id() == "checks@1");
  }
  fs::remove(file);
  {
    const Engine engine{config, peer_store(site.url())};
    CHECK(engine.status().health == Health::degraded);
    CHECK(engine.route(engine.task("checks"), "key").version_id() == "checks@1");
  }
  CHECK_FALSE(fs::exists(file));
  fs::resize_file(config.store.state, 40);  // and the state is damaged on top of that
  const Engine engine{config, peer_store(site.url())};
  CHECK(engine.status().health == Health::degraded);
  CHECK(engine.status().message.find("canary.state") != std::string::npos);
  CHECK_FALSE(fs::exists(file));
}

}  // namespace store_process_test
