// What PostgresStore promises of interactions beside the contract of every store: days as tables, several servers, lost
// connections, older schemas.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "canary/adapters/postgres_store.hpp"
#include "postgres_database.hpp"
#include "tcp_proxy.hpp"

namespace postgres_interactions_test {

namespace {

using canary::CountsKind;
using canary::Delivery;
using canary::Feedback;
using canary::Interaction;
using canary::InteractionId;
using canary::InteractionStore;
using canary::Joined;
using canary::JoinedFeedback;
using canary::LanePosition;
using canary::Payload;
using canary::PostgresOptions;
using canary::PostgresStore;
using canary::SpoolRecord;
using canary::StoreErrc;
using canary::StoreError;
using canary::TimeUs;
using canary::UnitKey;
using test::error_of;
using test::PostgresDatabase;
using test::Sql;
using test::TcpProxy;
using Ids = std::vector<std::uint64_t>;

constexpr TimeUs day_us = 86'400'000'000;
constexpr TimeUs hour_us = 3'600'000'000;
constexpr TimeUs midnight_us = 20'500 * day_us;  // 2026-02-16
const std::string spool_a(32, 'a');
const std::string spool_b(32, 'b');

std::uint64_t id_at(TimeUs time_us, std::uint64_t count = 0) { return InteractionId::first_at(time_us) + count; }

std::vector<Interaction> rows_of(const Ids& ids) {
  std::vector<Interaction> rows;
  for (const std::uint64_t id : ids) {
    Interaction row;
    row.id = id;
    row.at_us = InteractionId::time_us(id);
    rows.push_back(row);
  }
  return rows;
}

Ids ids_in(InteractionStore& kept) {
  Ids ids;
  kept.read({}, [&](const Interaction& row, const Payload&) {
    ids.push_back(row.id);
    return true;
  });
  return ids;
}

/// A database with the schema, and a server on it.
struct Server {
  explicit Server(const std::string& url, PostgresOptions options = {}) : store{url, options} {
    (void)store.tasks();
    kept = store.interactions();
  }
  PostgresStore store;
  std::unique_ptr<InteractionStore> kept;
};

void deliver(InteractionStore& kept, const std::string& spool, const std::function<void(Delivery&)>& work) {
  const auto delivery = kept.begin(kept.claim(spool, midnight_us));
  REQUIRE(delivery != nullptr);
  work(*delivery);
  delivery->commit({}, midnight_us);
}
void deliver(InteractionStore& kept, const std::string& spool, const Ids& ids) {
  deliver(kept, spool, [&](Delivery& to) { CHECK(to.add(rows_of(ids)).empty()); });
}

/// The days of a table, sorted, a space between two.
std::string days(const PostgresDatabase& database, const std::string& table = "canary_interactions") {
  return Sql{database.url()}.run(
      "SELECT string_agg(right(inhrelid::regclass::text, 8), ' ' ORDER BY inhrelid::regclass"
      "::text) FROM pg_inherits WHERE inhparent = '" +
      table + "'::regclass");
}

void end_all(const PostgresDatabase& database) {
  Sql{database.url()}.run(
      "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
      " WHERE datname = current_database() AND pid <> pg_backend_pid()");
}

/// Returns once somebody waits for a lock; false if nobody does.
[[nodiscard]] bool somebody_waits(const PostgresDatabase& database) {
  Sql sql{database.url()};
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (sql.run("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND wait_event_type = 'Lock'") == "0") {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string through_port(const std::string& url, std::uint16_t port) {
  const std::size_t at = url.find('@') + 1;
  return url.substr(0, at) + "127.0.0.1:" + std::to_string(port) + url.substr(url.rfind('/'));
}
std::uint16_t port_of(const std::string& url) {
  return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}

PostgresOptions program(std::size_t schema) {
  PostgresOptions options;
  options.schema.migrations = std::span{canary::detail::postgres_migrations}.first(schema);
  return options;
}

bool mentions(const StoreError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos ||
         error.hint.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("postgres interactions: each day of ids is a table, of whatever year, to the millisecond",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  const std::uint64_t last = std::numeric_limits<std::int64_t>::max();
  Ids ids{1,
          id_at(midnight_us - 1'000, (1u << 22) - 1),
          id_at(midnight_us),
          id_at(midnight_us + day_us - 1'000),
          id_at(midnight_us + 3'652 * day_us),
          last};
  const Ids sorted = ids;
  std::swap(ids[1], ids[4]);
  deliver(*server.kept, spool_a, [&](Delivery& to) {
    CHECK(to.add(rows_of(ids)).empty());
    to.add_payloads(std::vector<Payload>{{id_at(midnight_us), "q", "a"}});
  });
  CHECK(ids_in(*server.kept) == sorted);
  CHECK(days(database) == "20240101 20260215 20260216 20360216 20930906");
  CHECK(days(database, "canary_payloads") == "20260216");
  Sql sql{database.url()};
  CHECK(sql.run("SELECT count(*) FROM canary_interactions_20260216") == "2");
  const auto delivery = server.kept->begin(server.kept->claim(spool_a, midnight_us));
  CHECK(error_of([&] { (void)delivery->add(rows_of({last + 1})); }).code == StoreErrc::invalid);
}

TEST_CASE("postgres interactions: several servers that begin the same days at once all get through",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  (void)Server{database.url()};
  constexpr std::uint64_t servers = 6;
  std::atomic<std::uint64_t> ready{0};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i != servers; ++i)
    threads.emplace_back([&, i] {
      try {
        const Server mine{database.url()};
        const SpoolRecord spool = mine.kept->claim(std::string(32, static_cast<char>('a' + i)), midnight_us);
        ++ready;
        while (ready != servers) std::this_thread::yield();
        const auto delivery = mine.kept->begin(spool);
        if (!delivery->add(rows_of({id_at(midnight_us, i), id_at(midnight_us + day_us, i)})).empty()) ++failures;
        delivery->add_payloads(std::vector<Payload>{{id_at(midnight_us, i), "q", "a"}});
        delivery->commit({}, midnight_us);
      } catch (const std::exception&) {
        ++failures;
      }
    });
  for (std::thread& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(ids_in(*Server{database.url()}.kept).size() == 2 * servers);
  CHECK(days(database) == "20260216 20260217");
}

TEST_CASE("postgres interactions: the next day is there before its first interaction",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us - 1'000)});
  CHECK(days(database) == "20260215");
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us - 1'000, 1)});
  CHECK(days(database) == "20260215 20260216");
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us - 1'000, 2), id_at(midnight_us)});  // midnight passes
  deliver(*server.kept, spool_a, Ids{});
  CHECK(days(database) == "20260215 20260216 20260217");
  CHECK(ids_in(*server.kept).size() == 4);

  // A day that cannot be made ahead stops nobody today.
  Sql{database.url()}.run("CREATE TABLE canary_interactions_20260218 ()");
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us + day_us)});
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us + day_us, 1)});
  CHECK(ids_in(*server.kept).size() == 6);
}

TEST_CASE("postgres interactions: retention drops whole days, and servers that knew them go on",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  const Server other{database.url()};
  Ids ids;
  for (int day = 0; day != 4; ++day) ids.push_back(id_at(midnight_us + day * day_us + hour_us));
  const auto add_all = [&](Delivery& to) {
    CHECK(to.add(rows_of(ids)).empty());
    to.add_payloads(std::vector<Payload>{{ids[0], "q", "a"}, {ids[3], "q", "a"}});
  };
  deliver(*other.kept, spool_b, add_all);
  deliver(*other.kept, spool_b, Ids{});
  CHECK(days(database) == "20260216 20260217 20260218 20260219 20260220");
  const TimeUs line_us = midnight_us + 2 * day_us + 2 * hour_us;
  int parts = 1;
  for (; parts != 100 && !server.kept->forget_before(line_us); ++parts) {
  }
  CHECK(parts == 4);  // two days of interactions, one of texts, and the rest
  CHECK(days(database) == "20260218 20260219 20260220");
  CHECK(days(database, "canary_payloads") == "20260219 20260220");
  CHECK(ids_in(*server.kept) == Ids{ids[3]});  // that of the third day went by itself
  CHECK(server.kept->forget_before(line_us));

  deliver(*other.kept, spool_b, Ids{ids[0], ids[2]});  // which believes that the day is there
  CHECK(ids_in(*server.kept) == Ids{ids[0], ids[2], ids[3]});
}

TEST_CASE("postgres interactions: a connection lost in the middle of a delivery leaves nothing",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us)});
  const SpoolRecord before = server.kept->claim(spool_a, midnight_us);
  {
    const auto delivery = server.kept->begin(before);
    (void)delivery->task_number("checks");
    (void)delivery->add(rows_of({id_at(midnight_us, 1), id_at(midnight_us - day_us)}));
    delivery->put({CountsKind::window, 1, 1, 1, 0, "w"});
    end_all(database);
    const StoreError error = error_of([&] { (void)delivery->add(rows_of({id_at(midnight_us, 2)})); });
    CHECK(error.code == StoreErrc::unreachable);
    CHECK_FALSE(error.unknown);
    // It is over, and never writes into what comes after it on the same connection.
    const auto next = server.kept->begin(before);
    REQUIRE(next != nullptr);
    CHECK(error_of([&] { (void)delivery->task_number("others"); }).code == StoreErrc::unreachable);
    CHECK(error_of([&] { delivery->commit({}, midnight_us); }).code == StoreErrc::unreachable);
  }
  CHECK(server.kept->claim(spool_a, midnight_us) == before);
  CHECK(ids_in(*server.kept) == Ids{id_at(midnight_us)});
  CHECK_FALSE(server.kept->find_task("checks"));
  deliver(*server.kept, spool_a, [&](Delivery& to) {
    CHECK(to.task_number("checks") != 0);
    CHECK(to.add(rows_of({id_at(midnight_us, 1), id_at(midnight_us - day_us)})).empty());
  });
  CHECK(ids_in(*server.kept).size() == 3);
  CHECK(server.kept->find_task("checks"));
}

TEST_CASE("postgres interactions: a connection that the server ended between two calls is not noticed",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us)});
  end_all(database);
  CHECK(ids_in(*server.kept).size() == 1);
  end_all(database);
  const SpoolRecord spool = server.kept->claim(spool_a, midnight_us);
  end_all(database);
  const auto delivery = server.kept->begin(spool);
  REQUIRE(delivery != nullptr);
  delivery->commit({}, midnight_us);
}

TEST_CASE("postgres interactions: of a commit without an answer it is said that it is unknown, and claim() tells",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  TcpProxy proxy{port_of(database.url())};
  (void)Server{database.url()};
  const Server server{through_port(database.url(), proxy.port())};
  const SpoolRecord before = server.kept->claim(spool_a, midnight_us);
  const bool heard = GENERATE(true, false);
  {
    const auto delivery = server.kept->begin(before);
    (void)delivery->task_number("checks");
    (void)delivery->add(rows_of({id_at(midnight_us)}));
    proxy.arm(heard ? TcpProxy::Cut::after : TcpProxy::Cut::before);
    const StoreError error = error_of([&] { delivery->commit(std::vector<LanePosition>{{0, 9}}, midnight_us); });
    CHECK(error.code == StoreErrc::unreachable);
    CHECK(error.unknown);
  }
  const SpoolRecord after = server.kept->claim(spool_a, midnight_us);
  CHECK(after.generation == before.generation + (heard ? 1 : 0));
  CHECK(after.lanes.size() == (heard ? 1u : 0u));
  CHECK((server.kept->begin(before) == nullptr) == heard);
  deliver(*server.kept, spool_a, [&](Delivery& to) {
    CHECK(to.add(rows_of({id_at(midnight_us)})).size() == (heard ? 1u : 0u));
    (void)to.task_number("checks");
  });
  CHECK(server.kept->find_task("checks"));
  CHECK(ids_in(*server.kept).size() == 1);
}

TEST_CASE(
    "postgres interactions: a store of the schema before keeps versions and no interactions, until it is migrated",
    "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  PostgresStore old{database.url(), program(1)};
  REQUIRE(test::change(old, "checks", {test::version_of(1, 5)}) == canary::CommitResult::done);
  PostgresStore store{database.url(), program(2)};
  const auto kept = store.interactions();
  const auto refused = [&](auto call) {
    const StoreError error = error_of(call);
    CHECK(error.code == StoreErrc::schema_older);
    CHECK(mentions(error, "schema 1"));
    CHECK(mentions(error, "canary store migrate"));
  };
  refused([&] { (void)kept->claim(spool_a, 1); });
  refused([&] { (void)kept->spools(); });
  refused([&] { (void)kept->begin({}); });
  refused([&] { (void)kept->fold({}, [](auto, auto, auto) { return std::string{}; }); });
  refused([&] { (void)kept->find_task("checks"); });
  refused([&] { (void)kept->task_names(); });
  refused([&] { (void)kept->counts({}); });
  refused([&] { kept->read({}, [](auto&, auto&) { return true; }); });
  refused([&] { (void)kept->forget_before(midnight_us); });

  // A change of weights, whose epoch this schema cannot keep.
  const auto change_with_epoch = [&] {
    auto change = test::change_to(store.load("checks", {.all = true}), {test::version_of(1, 6)});
    change.row.epoch = "an epoch";
    change.row.rollouts = "a rollout";
    return store.commit(change);
  };
  CHECK(change_with_epoch() == canary::CommitResult::done);
  CHECK(store.load("checks", {}).epoch.empty());
  CHECK(store.history("checks", {}).back().epoch.empty());
  CHECK(store.load("checks", {}).rollouts.empty());
  CHECK(store.history("checks", {}).back().rollouts.empty());
  CHECK(store.follow()->changes({}).tasks.size() == 1);
  store.replace_all([given = false, all = canary::TaskContents{store.load("checks", {.all = true}),
                                                               store.history("checks", {})}]() mutable {
    return std::exchange(given, true) ? std::optional<canary::TaskContents>{} : all;
  });

  PostgresStore third{database.url(), program(2)};
  CHECK(third.migrate() == 1);  // while the others are running
  CHECK(change_with_epoch() == canary::CommitResult::done);
  CHECK(store.load("checks", {}).epoch == "an epoch");
  CHECK(store.load("checks", {}).rollouts == "a rollout");
  CHECK(store.history("checks", {}).back().epoch == "an epoch");
  CHECK(store.history("checks", {}).back().rollouts == "a rollout");
  CHECK(store.history("checks", {}).front().epoch.empty());
  deliver(*kept, spool_a, Ids{id_at(midnight_us)});
  CHECK(ids_in(*kept).size() == 1);
}

TEST_CASE("postgres interactions: no tables are made for them in an empty database",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  PostgresStore store{database.url()};
  const auto kept = store.interactions();
  CHECK(error_of([&] { (void)kept->claim(spool_a, 1); }).code == StoreErrc::unreachable);
  CHECK(Sql{database.url()}.run("SELECT to_regclass('canary_store') IS NULL") == "t");
  (void)store.tasks();
  CHECK(kept->claim(spool_a, 1).generation == 0);
}

TEST_CASE("postgres interactions: each new spool gets the lowest free node, and there are no more than nodes",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  Sql sql{database.url()};
  sql.run(
      "INSERT INTO canary_spools (spool, node, at_us) SELECT 'spool ' || n, n, 0 FROM generate_series(0, 4095) n"
      " WHERE n NOT IN (7, 9, 4095)");
  CHECK(server.kept->claim(spool_a, 1).node == 7);
  std::array<std::uint32_t, 2> nodes{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i != nodes.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        nodes[i] = Server{database.url()}.kept->claim("at once " + std::to_string(i), 1).node;
      } catch (const std::exception&) {
      }
    });
  for (std::thread& each : threads) each.join();
  CHECK(std::set<std::uint32_t>(nodes.begin(), nodes.end()) == std::set<std::uint32_t>{9, 4095});
  CHECK(error_of([&] { (void)server.kept->claim(spool_b, 1); }).code == StoreErrc::full);
  CHECK(server.kept->claim(spool_a, 1).node == 7);
}

TEST_CASE("postgres interactions: a server that waits for another's delivery has what the other left",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server one{database.url()};
  const Server two{database.url()};
  deliver(*one.kept, spool_a, Ids{id_at(midnight_us)});  // the day is there
  const bool commits = GENERATE(true, false);
  const Ids ids{id_at(midnight_us, 1), id_at(midnight_us, 2)};
  const std::vector<UnitKey> units{{1, 1, 5, ids[0], false}, {1, 1, 6, ids[1], false}};
  const std::vector<Feedback> score{{id_at(midnight_us), 1, 500}};
  std::vector<bool> fresh;
  std::vector<JoinedFeedback> joined;

  enum class Step : std::uint8_t { add, claim, join };
  const auto step = static_cast<Step>(GENERATE(0, 1, 2));
  auto delivery = one.kept->begin(one.kept->claim(spool_a, 1));
  if (step == Step::add) (void)delivery->add(rows_of(ids));
  if (step == Step::claim) delivery->claim_units(units, fresh);
  if (step == Step::join) delivery->join(score, joined);
  std::size_t left_out = 0;
  std::vector<bool> fresh_too;
  std::vector<JoinedFeedback> joined_too;
  std::exception_ptr failure;
  std::thread waiting{[&] {
    try {
      const auto second = two.kept->begin(two.kept->claim(spool_b, 1));
      if (step == Step::add) left_out = second->add(rows_of({ids[1], id_at(midnight_us, 3)})).size();
      if (step == Step::claim) second->claim_units(std::vector<UnitKey>{units[1], {1, 1, 4, 9, false}}, fresh_too);
      if (step == Step::join) second->join(std::vector<Feedback>{{id_at(midnight_us), 1, 700}}, joined_too);
      second->commit({}, 1);
    } catch (...) {
      failure = std::current_exception();
    }
  }};
  CHECK(somebody_waits(database));
  if (commits) delivery->commit({}, 1);
  delivery.reset();
  waiting.join();
  REQUIRE(failure == nullptr);
  if (step == Step::add) CHECK(left_out == (commits ? 1u : 0u));
  if (step == Step::claim) CHECK(fresh_too == std::vector<bool>{!commits, true});
  if (step == Step::join) {
    CHECK(joined_too[0].result == (commits ? Joined::already : Joined::done));
    CHECK(joined_too[0].interaction.score == (commits ? 500u : 700u));
  }
}

TEST_CASE(
    "postgres interactions: a restore waits for a delivery that is under way, and no older one is committed after it",
    "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  Server server{database.url()};
  const Server other{database.url()};
  auto delivery = other.kept->begin(other.kept->claim(spool_a, 1));
  std::vector<bool> fresh;
  delivery->claim_units(std::vector<UnitKey>{{1, 1, 5, 6, false}}, fresh);
  delivery->put({CountsKind::evidence, 1, 1, 1, 0, "e"});
  std::exception_ptr failure;
  std::thread restore{[&] {
    try {
      server.store.replace_all([]() -> std::optional<canary::TaskContents> { return {}; });
    } catch (...) {
      failure = std::current_exception();
    }
  }};
  CHECK(somebody_waits(database));
  delivery->commit({}, 1);
  restore.join();
  CHECK(failure == nullptr);
  CHECK(other.kept->counts({.kind = CountsKind::evidence}).empty());
  CHECK(Sql{database.url()}.run("SELECT count(*) FROM canary_units") == "0");
  CHECK(other.kept->claim(spool_a, 1).generation == 2);
}

TEST_CASE("postgres interactions: while a delivery is open nothing else is done on its connection",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  const SpoolRecord spool = server.kept->claim(spool_a, 1);
  {
    const auto delivery = server.kept->begin(spool);
    CHECK(error_of([&] { (void)server.kept->begin(spool); }).code == StoreErrc::invalid);
    CHECK(error_of([&] { (void)server.kept->counts({}); }).code == StoreErrc::invalid);
    CHECK(delivery->add(rows_of({id_at(midnight_us)})).empty());
    delivery->commit({}, 1);
  }
  CHECK(ids_in(*server.kept).size() == 1);
}

TEST_CASE("postgres interactions: rows that make no sense are corrupt, and reach nobody",
          "[adapters][postgres][interactions]") {
  const PostgresDatabase database;
  const Server server{database.url()};
  deliver(*server.kept, spool_a, Ids{id_at(midnight_us)});
  Sql sql{database.url()};
  for (const char* change : {"number = -1", "number = 65536", "reason = 4", "error = 256", "task = -1",
                             "point = 4294967296", "tokens_in = -1", "score = 4294967296"}) {
    CAPTURE(change);
    sql.run(std::string{"BEGIN;UPDATE canary_interactions SET "} + change + ";COMMIT");
    CHECK(error_of([&] { (void)ids_in(*server.kept); }).code == StoreErrc::corrupt);
    sql.run(
        "UPDATE canary_interactions SET number = 0, reason = 0, error = 0, task = 0, point = 0, tokens_in = 0,"
        " score = NULL");
    CHECK(ids_in(*server.kept).size() == 1);
  }
  sql.run("UPDATE canary_spools SET lanes = '\\x80'");
  CHECK(error_of([&] { (void)server.kept->spools(); }).code == StoreErrc::corrupt);
}

TEST_CASE(
    "postgres interactions: deliveries of several servers through a pooler that hands out connections by the "
    "transaction",
    "[adapters][postgres][interactions]") {
  const char* pool = std::getenv("CANARY_TEST_PGBOUNCER");
  if (pool == nullptr) SKIP("no pgbouncer");
  const PostgresDatabase database;
  const std::string url = test::with_database(pool, database.name());
  (void)Server{url};
  constexpr std::uint64_t servers = 6;
  constexpr std::uint64_t rounds = 20;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i != servers; ++i)
    threads.emplace_back([&, i] {
      try {
        const Server mine{url};
        const std::string spool(32, static_cast<char>('a' + i));
        for (std::uint64_t round = 0; round != rounds; ++round) {
          const auto delivery = mine.kept->begin(mine.kept->claim(spool, 1));
          const std::uint64_t id = id_at(midnight_us, round * servers + i);
          const std::uint32_t task = delivery->task_number("checks");
          if (!delivery->add(rows_of({id})).empty()) ++failures;
          std::vector<bool> fresh;
          delivery->claim_units(std::vector<UnitKey>{{task, 1, static_cast<canary::Point>(i), id, false}}, fresh);
          if (fresh[0] != (round == 0)) ++failures;
          delivery->put({CountsKind::window, task, 1, 1, 0, std::to_string(round)});
          delivery->commit({}, 1);
        }
      } catch (const std::exception&) {
        ++failures;
      }
    });
  for (std::thread& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(ids_in(*Server{url}.kept).size() == servers * rounds);
}

}  // namespace postgres_interactions_test
