// What PostgresStore promises beside the contract of every store.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/postgres_store.hpp"
#include "postgres_database.hpp"
#include "tcp_proxy.hpp"

namespace postgres_store_test {

namespace {

using canary::Commit;
using canary::CommitResult;
using canary::PostgresMigration;
using canary::PostgresOptions;
using canary::PostgresStore;
using canary::Status;
using canary::StoreDelta;
using canary::StoreErrc;
using canary::StoreError;
using canary::StorePosition;
using canary::TaskRecord;
using std::chrono::milliseconds;
using test::change;
using test::change_to;
using test::error_of;
using test::PostgresDatabase;
using test::Sql;
using test::TcpProxy;
using test::version_of;
using Clock = std::chrono::steady_clock;

/// Another host and port in a URL.
std::string through_port(const std::string& url, std::uint16_t port) {
  const std::size_t at = url.find('@') + 1;
  return url.substr(0, at) + "127.0.0.1:" + std::to_string(port) + url.substr(url.rfind('/'));
}
std::uint16_t port_of(const std::string& url) {
  return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}
std::string password_of(const std::string& url) {
  const std::size_t from = url.find(':', url.find("://") + 3) + 1;
  return url.substr(from, url.find('@') - from);
}
bool mentions(const StoreError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos ||
         error.hint.find(part) != std::string::npos;
}

// Programs of a later schema.
constexpr std::array<PostgresMigration, 3> migrations{{
    canary::detail::postgres_migrations[0],
    canary::detail::postgres_migrations[1],
    {"ALTER TABLE canary_tasks ADD COLUMN owner text NOT NULL DEFAULT '';"
     "ALTER TABLE canary_history ADD COLUMN ticket text NOT NULL DEFAULT ''"},
}};
PostgresOptions program(std::size_t schema) {
  PostgresOptions options;
  options.schema.migrations = std::span{migrations}.first(schema);
  return options;
}

TaskRecord load(PostgresStore& store, std::string_view task) { return store.load(task, {.all = true}); }

}  // namespace

TEST_CASE("postgres: a URL that makes no sense is refused, and never repeated", "[adapters][postgres]") {
  for (const char* url : {"", "mysql://u:hunter2@h/d", "postgresql://u:hunter2%zz@h/d",
                          "postgresql://u:hunter2@h:port/d", "postgresql://u:hunter2/x@h:5432/d",
                          "postgresql://u:12/hunter2@h:5432/d", "postgresql://u:hunter2@h/d?no_such=hunter2",
                          "postgresql://u:hunter2@h/d?connect_timeout=soon", "host=h password=hunter2"}) {
    CAPTURE(url);
    const StoreError error = error_of([&] { PostgresStore{url}; });
    CHECK(error.code == StoreErrc::invalid);
    CHECK_FALSE(mentions(error, "hunter2"));
  }
}

TEST_CASE("postgres: nobody there is unreachable, within the time-out", "[adapters][postgres]") {
  std::uint16_t closed = 0;
  {
    const test::Listener gone;
    closed = gone.port();
  }
  const test::Listener silent;
  struct Case {
    std::uint16_t port;
    std::string parameters;
    std::uint32_t timeout_ms;
    milliseconds least;
  };
  for (const Case& each : {Case{closed, "", 5'000, milliseconds{0}}, Case{silent.port(), "", 200, milliseconds{190}},
                           Case{silent.port(), "?connect_timeout=1", 60'000, milliseconds{990}}}) {
    const std::string url =
        "postgresql://canary:hunter2@127.0.0.1:" + std::to_string(each.port) + "/canary" + each.parameters;
    PostgresOptions options;
    options.timeout_ms = each.timeout_ms;
    PostgresStore store{url, options};
    const auto follower = store.follow();
    for (const bool follow : {false, true}) {
      CAPTURE(each.port, each.parameters, follow);
      const auto start = Clock::now();
      const StoreError error = error_of([&] {
        if (follow)
          (void)follower->changes({});
        else
          (void)store.tasks();
      });
      const auto took = Clock::now() - start;
      CHECK(error.code == StoreErrc::unreachable);
      CHECK(took >= each.least);
      CHECK(took < each.least + milliseconds{2'000});
      CHECK(mentions(error, "127.0.0.1:" + std::to_string(each.port)));
      CHECK_FALSE(mentions(error, "hunter2"));
    }
  }
}

TEST_CASE("postgres: who may not come in is denied, in words without a password", "[adapters][postgres]") {
  const PostgresDatabase database;
  const std::string password = password_of(database.url());
  CHECK(password.size() == 24);
  std::string wrong = database.url();
  wrong.replace(wrong.find(password), password.size(), "hunter2");
  StoreError error = error_of([&] { (void)PostgresStore{wrong}.info(); });
  CHECK(error.code == StoreErrc::denied);
  CHECK(mentions(error, "authentication failed"));
  CHECK_FALSE(mentions(error, "hunter2"));

  wrong = database.url();
  wrong.erase(wrong.find(":" + password), password.size() + 1);
  CHECK(error_of([&] { (void)PostgresStore{wrong}.info(); }).code == StoreErrc::denied);

  error = error_of([&] { (void)PostgresStore{test::with_database(database.url(), "no_such_database")}.info(); });
  CHECK(error.code == StoreErrc::denied);
  CHECK(mentions(error, "no_such_database"));
  CHECK(mentions(error, "createdb"));
  CHECK_FALSE(mentions(error, password));

  PostgresStore store{database.url()};
  CHECK(store.info().place.find(password) == std::string::npos);
  Sql other{database.url()};
  other.run("CREATE ROLE " + database.name() + "_r LOGIN PASSWORD 'hunter2'");
  std::string stranger = database.url();
  stranger.replace(stranger.find("canary:" + password), 7 + password.size(), database.name() + "_r:hunter2");
  error = error_of([&] { (void)PostgresStore{stranger}.tasks(); });
  CHECK(error.code == StoreErrc::denied);
  CHECK(mentions(error, "permission denied"));
  other.run("DROP ROLE " + database.name() + "_r");
}

TEST_CASE("postgres: a database that may only be read says so", "[adapters][postgres]") {
  const PostgresDatabase database;
  REQUIRE(change(*std::make_unique<PostgresStore>(database.url()), "checks", {version_of(1, 5)}) == CommitResult::done);
  Sql{database.url()}.run("ALTER DATABASE " + database.name() + " SET default_transaction_read_only = on");
  PostgresStore store{database.url()};
  CHECK(load(store, "checks").revision == 1);
  CHECK(error_of([&] { (void)change(store, "checks", {version_of(1, 6)}); }).code == StoreErrc::read_only);
  CHECK(store.follow()->changes({}).tasks.size() == 1);
}

TEST_CASE("postgres: a text with a NUL character is invalid, and nothing is written", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  auto row = version_of(1, 0);
  row.note = std::string{"a\0b", 3};
  const StoreError error = error_of([&] { (void)change(store, "checks", {row}); });
  CHECK(error.code == StoreErrc::invalid);
  CHECK(mentions(error, "NUL"));
  row.note = "\xFF\xFE";
  CHECK(error_of([&] { (void)change(store, "checks", {row}); }).code == StoreErrc::invalid);
  CHECK(load(store, "checks").revision == 0);
  CHECK(change(store, "checks", {version_of(1, 0)}) == CommitResult::done);
}

TEST_CASE("postgres: another program cannot break what must hold", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  REQUIRE(change(store, "checks", {version_of(1, 600'000, Status::active)}) == CommitResult::done);
  REQUIRE(change(store, "checks", {version_of(2, 0, Status::archived)}) == CommitResult::done);
  Sql other{database.url()};
  const auto info = store.info();
  for (const char* sql : {
           "UPDATE canary_versions SET weight_ppm = 1000001 WHERE number = 1",
           "UPDATE canary_versions SET weight_ppm = -1 WHERE number = 1",
           "UPDATE canary_versions SET status = 'LIVE' WHERE number = 1",
           "UPDATE canary_versions SET weight_ppm = 1 WHERE number = 2",
           "UPDATE canary_versions SET status = 'ACTIVE' WHERE number = 2",
           "UPDATE canary_versions SET number = 9 WHERE number = 1",
           "UPDATE canary_versions SET task = 'other' WHERE number = 1",
           "INSERT INTO canary_versions SELECT task, 4, model, provider, status, 0, note, 0, 0, '', '', '', '', ''"
           " FROM canary_versions WHERE number = 1",
           "INSERT INTO canary_versions SELECT task, 1, model, provider, status, 0, note, 0, 0, '', '', '', '', ''"
           " FROM canary_versions WHERE number = 1 ON CONFLICT DO NOTHING",
           "INSERT INTO canary_versions SELECT task, 3, model, provider, status, 400001, note, 0, 0, '', '', '', '', ''"
           " FROM canary_versions WHERE number = 1",
           "DELETE FROM canary_versions",
           "TRUNCATE canary_versions",
           "UPDATE canary_history SET note = 'it was not me'",
           "DELETE FROM canary_history WHERE revision = 2",
           "TRUNCATE canary_history",
           "TRUNCATE canary_tasks CASCADE",
           "INSERT INTO canary_history SELECT task, 4, commit_id, 0, '', '', 0, '', partition, 0, 0, 0, '', ''"
           " FROM canary_history WHERE revision = 2",
           "INSERT INTO canary_history SELECT task, 3, commit_id, 0, '', '', 0, '', partition, 0, 0, 0, '', ''"
           " FROM canary_history WHERE revision = 2",
           "UPDATE canary_tasks SET revision = revision + 1",  // without its row of history
           "UPDATE canary_tasks SET revision = revision + 2",
           "UPDATE canary_tasks SET revision = 1",
           "UPDATE canary_tasks SET partition = '0:0|0:1000000'",
           "UPDATE canary_tasks SET allocated_ppm = 0",
           "UPDATE canary_tasks SET version_count = 7",
           "UPDATE canary_tasks SET name = 'other'",
           "DELETE FROM canary_tasks",
           "INSERT INTO canary_tasks (name, revision, partition) VALUES ('new', 1, '0:0|0:1000000')",
           "INSERT INTO canary_tasks (name, revision, partition) VALUES ('new', 2, '0:0|0:1000000')",
           "DELETE FROM canary_store",
           "TRUNCATE canary_store",
           "INSERT INTO canary_store VALUES (2, 1, 'x', 0)",
           "UPDATE canary_store SET change = 0",
           "UPDATE canary_store SET token = 'x'",
       }) {
    CAPTURE(sql);
    const std::string state = other.state(sql);
    CAPTURE(state, other.said());
    CHECK(state.substr(0, 2) == "23");
  }
  CHECK(other.run("SELECT allocated_ppm FROM canary_tasks") == "600000");
  CHECK(load(store, "checks").revision == 2);
  CHECK(store.history("checks", {}).size() == 2);
  CHECK(store.info().token == info.token);
}

TEST_CASE("postgres: the sum of the weights is kept whoever changes them", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  REQUIRE(change(store, "checks", {version_of(1, 600'000)}) == CommitResult::done);
  REQUIRE(change(store, "checks", {version_of(2, 300'000)}) == CommitResult::done);
  Sql other{database.url()};
  CHECK(other.run("SELECT allocated_ppm FROM canary_tasks") == "900000");
  other.run("UPDATE canary_versions SET weight_ppm = 100000 WHERE number = 1");
  CHECK(other.run("SELECT allocated_ppm FROM canary_tasks") == "400000");
}

TEST_CASE("postgres: rows that contradict themselves are corrupt, and are not routed by", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  REQUIRE(change(store, "checks", {version_of(1, 600'000)}) == CommitResult::done);
  Sql other{database.url()};
  for (const char* sql :
       {"UPDATE canary_versions SET weight_ppm = 500000", "UPDATE canary_versions SET weight_ppm = 0",
        "UPDATE canary_tasks SET partition = '0:0|0:1000001'", "UPDATE canary_tasks SET partition = ''"}) {
    CAPTURE(sql);
    const std::string before = other.run("SELECT partition FROM canary_tasks");
    other.run(
        "BEGIN;ALTER TABLE canary_tasks DISABLE TRIGGER ALL;ALTER TABLE canary_versions DISABLE TRIGGER ALL;"
        "UPDATE canary_tasks SET change = change + 1;" +
        std::string{sql} + ";COMMIT");
    CHECK(error_of([&] { (void)load(store, "checks"); }).code == StoreErrc::corrupt);
    CHECK(error_of([&] { (void)store.follow()->changes({}); }).code == StoreErrc::corrupt);
    other.run("UPDATE canary_tasks SET partition = '" + before + "';UPDATE canary_versions SET weight_ppm = 600000");
  }
  CHECK(load(store, "checks").revision == 1);
  other.run("ALTER TABLE canary_store DISABLE TRIGGER ALL;DELETE FROM canary_store");
  CHECK(error_of([&] { (void)load(store, "checks"); }).code == StoreErrc::corrupt);
}

TEST_CASE("postgres: two that begin on an empty database at once agree", "[adapters][postgres]") {
  const PostgresDatabase database;
  constexpr int programs = 8;
  std::atomic<int> failures{0};
  std::array<std::string, programs> tokens;
  std::vector<std::thread> threads;
  for (int i = 0; i != programs; ++i)
    threads.emplace_back([&, i] {
      try {
        tokens[static_cast<std::size_t>(i)] = PostgresStore{database.url()}.info().token;
      } catch (const std::exception&) {
        ++failures;
      }
    });
  for (std::thread& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(std::count(tokens.begin(), tokens.end(), tokens[0]) == programs);
}

TEST_CASE("postgres: a program works with its schema and the one before, and refuses others in words",
          "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore one{database.url(), program(1)};
  PostgresStore two{database.url(), program(2)};
  PostgresStore three{database.url(), program(3)};
  REQUIRE(change(one, "checks", {version_of(1, 1)}) == CommitResult::done);
  CHECK(two.info().schema == 1);
  CHECK(two.info().program_schema == 2);
  CHECK(change(two, "checks", {version_of(2, 2)}) == CommitResult::done);
  StoreError error = error_of([&] { (void)three.tasks(); });
  CHECK(error.code == StoreErrc::schema_older);
  CHECK(mentions(error, "schema 1"));
  CHECK(mentions(error, "2 and 3"));
  CHECK(mentions(error, "canary store migrate"));
  CHECK(error_of([&] { (void)change(three, "checks", {}); }).code == StoreErrc::schema_older);

  const auto follower = one.follow();
  const StorePosition position = follower->changes({}).position;
  CHECK(two.migrate() == 1);  // while the others are running
  CHECK(two.migrate() == 2);
  CHECK(two.info().schema == 2);
  CHECK(change(two, "checks", {version_of(1, 3)}) == CommitResult::done);
  CHECK(change(three, "checks", {version_of(1, 4)}) == CommitResult::done);
  CHECK(load(three, "checks").revision == 4);
  error = error_of([&] { (void)load(one, "checks"); });
  CHECK(error.code == StoreErrc::schema_newer);
  CHECK(mentions(error, "schema 2"));
  CHECK(mentions(error, "works with 1"));
  CHECK(error_of([&] { (void)follower->changes(position); }).code == StoreErrc::schema_newer);
  canary::TaskRecord now = load(two, "checks");
  CHECK(error_of([&] { (void)one.commit(change_to(now, {version_of(1, 5)})); }).code == StoreErrc::schema_newer);
  CHECK(error_of([&] { (void)one.migrate(); }).code == StoreErrc::schema_newer);
  CHECK(error_of([&] { one.replace_all([] { return std::nullopt; }); }).code == StoreErrc::schema_newer);
  CHECK(error_of([&] { one.read_all([](auto&&) {}); }).code == StoreErrc::schema_newer);

  CHECK(three.migrate() == 2);
  CHECK(change(three, "checks", {version_of(1, 6)}) == CommitResult::done);
  CHECK(error_of([&] { (void)change(two, "checks", {version_of(1, 7)}); }).code == StoreErrc::schema_newer);
}

TEST_CASE("postgres: an old store goes several schemas forward at once, one program of several does it",
          "[adapters][postgres]") {
  const PostgresDatabase database;
  REQUIRE(change(*std::make_unique<PostgresStore>(database.url(), program(1)), "checks", {version_of(1, 1)}) ==
          CommitResult::done);
  std::array<std::uint32_t, 4> had{};
  std::vector<std::thread> threads;
  for (std::uint32_t& each : had)
    threads.emplace_back([&] {
      try {
        each = PostgresStore{database.url(), program(3)}.migrate();
      } catch (const std::exception&) {
      }
    });
  for (std::thread& each : threads) each.join();
  std::sort(had.begin(), had.end());
  CHECK(had == std::array<std::uint32_t, 4>{1, 3, 3, 3});
  PostgresStore store{database.url(), program(3)};
  CHECK(load(store, "checks").revision == 1);
}

TEST_CASE("postgres: a migration that fails changes nothing", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore one{database.url(), program(1)};
  REQUIRE(change(one, "checks", {version_of(1, 1)}) == CommitResult::done);
  constexpr std::array<PostgresMigration, 2> bad{
      {migrations[0], {"ALTER TABLE canary_versions ADD COLUMN region text; SELECT 1 / 0"}}};
  PostgresOptions options;
  options.schema.migrations = bad;
  PostgresStore two{database.url(), options};
  CHECK_THROWS_AS(two.migrate(), StoreError);
  CHECK(one.info().schema == 1);
  CHECK(change(one, "checks", {version_of(1, 2)}) == CommitResult::done);
  CHECK(Sql{database.url()}.run("SELECT count(*) FROM information_schema.columns WHERE column_name = 'region'") == "0");
}

TEST_CASE("postgres: a connection that the server ended between two calls is not noticed", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  const auto follower = store.follow();
  REQUIRE(change(store, "checks", {version_of(1, 1)}) == CommitResult::done);
  StorePosition position = follower->changes({}).position;
  Sql other{database.url()};
  const auto end_all = [&] {
    other.run(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()");
  };
  end_all();
  CHECK(load(store, "checks").revision == 1);
  const Commit next = change_to(load(store, "checks"), {version_of(1, 2)});
  end_all();
  CHECK(store.commit(next) == CommitResult::done);
  CHECK(follower->changes(position).tasks.size() == 1);
  end_all();
  follower->wait(milliseconds{100});
  CHECK(follower->changes(position).tasks.size() == 1);
}

TEST_CASE("postgres: a follower makes no tables: a database without them is out of reach", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  const auto follower = store.follow();
  CHECK(error_of([&] { (void)follower->changes({}); }).code == StoreErrc::unreachable);
  CHECK(Sql{database.url()}.run("SELECT to_regclass('canary_store') IS NULL") == "t");
  (void)store.info();
  CHECK(follower->changes({}).everything);
}

TEST_CASE("postgres: NOTIFY wakes a follower, on a second connection too", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresOptions options;
  options.poll_ms = 60'000;
  PostgresStore store{database.url(), options};
  (void)store.info();  // makes the tables
  const auto follower = store.follow();
  StorePosition position = follower->changes({}).position;
  Sql other{database.url()};
  for (std::uint32_t i = 1; i != 4; ++i) {
    const auto start = Clock::now();
    std::thread later{[&] {
      std::this_thread::sleep_for(milliseconds{50});
      (void)change(store, "checks", {version_of(1, i)});
    }};
    follower->wait(milliseconds{30'000});
    later.join();
    CHECK(Clock::now() - start < milliseconds{10'000});
    const StoreDelta delta = follower->changes(position);
    CHECK(delta.tasks.size() == 1);
    position = delta.position;
    if (i == 2) {
      other.run(
          "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
          " WHERE datname = current_database() AND pid <> pg_backend_pid()");
      follower->wait(milliseconds{5'000});
      (void)follower->changes(position);
    }
  }
}

TEST_CASE("postgres: without NOTIFY a follower polls", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresOptions options;
  options.poll_ms = 100;
  options.listen = false;
  PostgresStore store{database.url(), options};
  (void)store.info();
  const auto follower = store.follow();
  const StorePosition position = follower->changes({}).position;
  (void)change(store, "checks", {version_of(1, 1)});
  const auto start = Clock::now();
  follower->wait(milliseconds{30'000});
  const auto took = Clock::now() - start;
  CHECK(took >= milliseconds{75});
  CHECK(took < milliseconds{5'000});
  CHECK(follower->changes(position).tasks.size() == 1);
}

TEST_CASE("postgres: a COMMIT whose answer is lost is made out", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore direct{database.url()};
  REQUIRE(change(direct, "checks", {version_of(1, 1)}) == CommitResult::done);
  TcpProxy proxy{port_of(database.url())};
  PostgresStore store{through_port(database.url(), proxy.port())};
  const Commit next = change_to(load(store, "checks"), {version_of(1, 2)});

  SECTION("the server had it: done") {
    proxy.arm(TcpProxy::Cut::after);
    CHECK(store.commit(next) == CommitResult::done);
    CHECK(load(direct, "checks").revision == 2);
  }
  SECTION("the server had it, and another change came after: done") {
    proxy.arm(TcpProxy::Cut::after, [&] { (void)change(direct, "checks", {version_of(1, 3)}); });
    CHECK(store.commit(next) == CommitResult::done);
    CHECK(load(direct, "checks").revision == 3);
  }
  SECTION("the server never had it: unreachable, and nothing was changed") {
    proxy.arm(TcpProxy::Cut::before);
    const StoreError error = error_of([&] { (void)store.commit(next); });
    CHECK(error.code == StoreErrc::unreachable);
    CHECK_FALSE(error.unknown);
    CHECK(load(direct, "checks").revision == 1);
    CHECK(store.commit(next) == CommitResult::done);
  }
  SECTION("the server had it, and cannot be asked any more: unknown") {
    proxy.arm(TcpProxy::Cut::after, [&] { proxy.refuse(); });
    const StoreError error = error_of([&] { (void)store.commit(next); });
    CHECK(error.code == StoreErrc::unreachable);
    CHECK(error.unknown);
    CHECK(load(direct, "checks").revision == 2);
  }
  SECTION("the server never had it, and another was first: conflict") {
    proxy.arm(TcpProxy::Cut::before, [&] { (void)change(direct, "checks", {version_of(1, 3)}); });
    CHECK(store.commit(next) == CommitResult::conflict);
    CHECK(load(direct, "checks").revision == 2);
    CHECK(load(direct, "checks").versions[0].weight_ppm == 3);
  }
  SECTION("the same for a replacement") {
    const std::string token = store.info().token;
    const auto nothing = [&]() -> std::optional<canary::TaskContents> { return {}; };
    proxy.arm(TcpProxy::Cut::before);
    CHECK(error_of([&] { store.replace_all(nothing); }).code == StoreErrc::unreachable);
    CHECK(store.info().token == token);
    CHECK(store.tasks().size() == 1);
    proxy.arm(TcpProxy::Cut::after);
    store.replace_all(nothing);
    CHECK(direct.info().token != token);
    CHECK(direct.tasks().empty());
  }
  CHECK(proxy.cuts() >= 1);
}

TEST_CASE("postgres: what a commit calls unwritten is never written later", "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresStore direct{database.url()};
  REQUIRE(change(direct, "checks", {version_of(1, 1)}) == CommitResult::done);
  Sql other{database.url()};
  // Another transaction holds what a commit waits for.
  other.run("BEGIN;SELECT change FROM canary_store FOR UPDATE");
  PostgresOptions options;
  options.timeout_ms = 300;
  PostgresStore store{database.url(), options};
  const Commit next = change_to(load(store, "checks"), {version_of(1, 2)});
  const auto start = Clock::now();
  CHECK(error_of([&] { (void)store.commit(next); }).code == StoreErrc::unreachable);
  CHECK(Clock::now() - start < milliseconds{3'000});
  other.run("COMMIT");
  std::this_thread::sleep_for(milliseconds{500});
  CHECK(load(direct, "checks").revision == 1);
  CHECK(store.commit(next) == CommitResult::done);
}

TEST_CASE("postgres: a program that stalls in a transaction does not stop the others for long",
          "[adapters][postgres]") {
  const PostgresDatabase database;
  PostgresOptions options;
  options.timeout_ms = 1'000;
  PostgresStore store{database.url(), options};
  REQUIRE(change(store, "checks", {version_of(1, 1)}) == CommitResult::done);
  Commit next = change_to(load(store, "checks"), {version_of(1, 2)});
  TcpProxy proxy{port_of(database.url())};
  PostgresStore stalled{through_port(database.url(), proxy.port()), options};
  std::optional<CommitResult> second;
  // The COMMIT is held back for longer than both time-outs; the other one gets through meanwhile.
  (void)load(stalled, "checks");
  proxy.arm(TcpProxy::Cut::hold, [&] { second = store.commit(next); });
  CHECK(stalled.commit(next) == CommitResult::conflict);
  REQUIRE(second);
  CHECK(*second == CommitResult::done);
}

TEST_CASE("postgres: many writers of many tasks through a pooler that hands out connections by the transaction",
          "[adapters][postgres]") {
  const char* pool = std::getenv("CANARY_TEST_PGBOUNCER");
  if (pool == nullptr) SKIP("no pgbouncer");
  const PostgresDatabase database;
  const std::string url = test::with_database(pool, database.name());
  PostgresOptions options;
  options.poll_ms = 50;
  PostgresStore reader{url, options};
  (void)reader.info();
  const auto follower = reader.follow();
  StorePosition position = follower->changes({}).position;
  constexpr int writers = 6;
  constexpr std::uint32_t changes = 20;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int i = 0; i != writers; ++i)
    threads.emplace_back([&, i] {
      try {
        PostgresStore store{url};
        const std::string task = "task-" + std::to_string(i);
        for (std::uint32_t n = 1; n <= changes; ++n)
          if (change(store, task, {version_of(1, n)}) != CommitResult::done) ++failures;
      } catch (const std::exception&) {
        ++failures;
      }
    });
  std::map<std::string, std::uint32_t> seen;
  const auto until = Clock::now() + milliseconds{60'000};
  const auto complete = [&] {
    return seen.size() == writers &&
           std::all_of(seen.begin(), seen.end(), [](auto& task) { return task.second == changes; });
  };
  while (!complete() && Clock::now() < until) {
    follower->wait(milliseconds{1'000});
    const StoreDelta delta = follower->changes(position);
    CHECK(delta.position.change >= position.change);
    position = delta.position;
    for (const auto& split : delta.tasks) seen[split.task] = split.revision;
  }
  for (std::thread& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(complete());
  for (const auto& [task, revision] : seen) CHECK(reader.history(task, {}).size() == changes);
}

}  // namespace postgres_store_test
