// What every store promises of fine-tune jobs, by a PostgreSQL database; and what only a server can do to them.
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "../adapters/postgres_database.hpp"
#include "../adapters/tcp_proxy.hpp"
#include "canary/adapters/postgres_store.hpp"

namespace {

class PostgresPlace {
 public:
  [[nodiscard]] std::unique_ptr<canary::Store> open() const {
    return std::make_unique<canary::PostgresStore>(database_.url());
  }

 private:
  test::PostgresDatabase database_;
};

/// The server of a URL through a proxy.
std::string through(const std::string& url, const test::TcpProxy& proxy) {
  return url.substr(0, url.find('@') + 1) + "127.0.0.1:" + std::to_string(proxy.port()) + url.substr(url.rfind('/'));
}
std::uint16_t port_of(const std::string& url) {
  return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}

constexpr std::array<canary::PostgresMigration, 3> migrations{{
    canary::detail::postgres_migrations[0],
    canary::detail::postgres_migrations[1],
    {"ALTER TABLE canary_jobs ADD COLUMN ticket text NOT NULL DEFAULT ''"},
}};
/// What a program of this schema is compiled with.
canary::PostgresOptions program(std::size_t schema) {
  canary::PostgresOptions options;
  options.schema.migrations = std::span{migrations}.first(schema);
  return options;
}

}  // namespace

#define CANARY_STORE_PLACE PostgresPlace
#include "job_contract.hpp"

TEST_CASE("jobs, postgres: another program cannot break what must hold", "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore store{database.url()};
  for (const char* id : {"done", "open"}) REQUIRE(store.put_job(job_of(id)) == CommitResult::done);
  REQUIRE(store.commit(success_of(store, *store.find_job("done"))) == CommitResult::done);
  change(store, "checks", {version_of(2, 0)});
  const auto before = everything_in(store);
  test::Sql other{database.url()};
  for (const char* attempt : {
           "DELETE FROM canary_jobs",
           "TRUNCATE canary_jobs",
           "UPDATE canary_jobs SET revision = revision + 1, status = 'FAILED' WHERE id = 'done'",
           "UPDATE canary_jobs SET revision = revision + 1, status = 'RUNNING' WHERE id = 'done'",
           "UPDATE canary_jobs SET revision = revision + 1, status = 'PAUSED' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, phase = 'lost' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, phase = 'closed' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 2 WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision - 1 WHERE id = 'done'",
           "UPDATE canary_jobs SET provider = 'x' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, id = 'other' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, task = 'risks' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, version = 2 WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, version = 1, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, version = 3, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, version = -1, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE canary_jobs SET revision = revision + 1, version = 2 WHERE id = 'done'",
           "UPDATE canary_jobs SET revision = revision + 1, version = 0 WHERE id = 'done'",
           "INSERT INTO canary_jobs VALUES ('done', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO canary_jobs VALUES ('new', 'checks', '', '', 'QUEUED', 'stored', 2, 0, 0, 0, '')",
           "INSERT INTO canary_jobs VALUES ('new', 'checks', '', '', 'SUCCEEDED', 'closed', 1, 0, 0, 2, '')",
           "INSERT INTO canary_jobs VALUES ('NEW', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO canary_jobs VALUES ('', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO canary_jobs VALUES ('new', '', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
       }) {
    CAPTURE(attempt);
    const std::string state = other.state(attempt);
    CAPTURE(state, other.said());
    CHECK(state.substr(0, 2) == "23");
  }
  CHECK(same(everything_in(store), before));
}

TEST_CASE("jobs, postgres: a row whose text is none, or another's, is told as corrupt, by its id",
          "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore store{database.url()};
  REQUIRE(store.put_job(job_of("well")) == CommitResult::done);
  test::Sql other{database.url()};
  std::string id = "visa-";
  for (const char* damage : {"job = 'garbage'", "job = job || ' '", "status = 'RUNNING'", "changed_at_us = 7",
                             "job = (SELECT job FROM canary_jobs WHERE id = 'well')"}) {
    CAPTURE(damage);
    id += '1';
    REQUIRE(store.put_job(job_of(id)) == CommitResult::done);
    other.run(std::string{"UPDATE canary_jobs SET revision = revision + 1, "} + damage + " WHERE id = '" + id + "'");
    const StoreError error = test::error_of([&] { (void)store.find_job(id); });
    CHECK(error.code == StoreErrc::corrupt);
    CHECK(std::string{error.what()}.find("job `" + id + "`") != std::string::npos);
    CHECK(refusal([&] { (void)store.jobs({}); }) == StoreErrc::corrupt);
    CHECK(store.find_job("well"));
  }
}

TEST_CASE("jobs, postgres: open jobs, and those of a task, are found by an index", "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  (void)canary::PostgresStore{database.url()}.info();
  test::Sql other{database.url()};
  other.run("SET enable_seqscan = off");
  const auto plan = [&](const std::string& where) {
    return other.run("EXPLAIN (FORMAT JSON) SELECT job FROM canary_jobs WHERE " + where +
                     " ORDER BY created_at_us DESC, id DESC LIMIT 5");
  };
  CHECK(plan("phase <> 'closed'").find("canary_jobs_open") != std::string::npos);
  CHECK(plan("task = 'x'").find("canary_jobs_task") != std::string::npos);
}

TEST_CASE("jobs, postgres: a put whose answer is lost is made out", "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore direct{database.url()};
  Job job = job_of("visa-1");
  REQUIRE(direct.put_job(job) == CommitResult::done);
  test::TcpProxy proxy{port_of(database.url())};
  canary::PostgresStore store{through(database.url(), proxy)};
  REQUIRE(store.find_job("visa-1"));
  Job next = job;
  next.note = "ours";
  ++next.revision;
  const auto others = [&] {
    Job theirs = direct.find_job("visa-1").value();
    theirs.note += "theirs";
    ++theirs.revision;
    (void)direct.put_job(theirs);
  };

  SECTION("the server had it: done") {
    proxy.arm(test::TcpProxy::Cut::after);
    CHECK(store.put_job(next) == CommitResult::done);
    CHECK((*direct.find_job("visa-1") == next));
  }
  SECTION("the server had a new one: done") {
    proxy.arm(test::TcpProxy::Cut::after);
    CHECK(store.put_job(job_of("visa-2")) == CommitResult::done);
    CHECK(direct.find_job("visa-2"));
  }
  SECTION("the server had it, and another went on from it: a conflict, which looking at the row solves") {
    proxy.arm(test::TcpProxy::Cut::after, others);
    CHECK(store.put_job(next) == CommitResult::conflict);
    CHECK(store.find_job("visa-1")->note == "ourstheirs");
  }
  SECTION("the server never had it: unreachable, and nothing was written") {
    proxy.arm(test::TcpProxy::Cut::before);
    CHECK(refusal([&] { (void)store.put_job(next); }) == StoreErrc::unreachable);
    CHECK((*direct.find_job("visa-1") == job));
    CHECK(store.put_job(next) == CommitResult::done);
  }
  SECTION("the server never had a new one: unreachable, and it is not there") {
    proxy.arm(test::TcpProxy::Cut::before);
    CHECK(refusal([&] { (void)store.put_job(job_of("visa-2")); }) == StoreErrc::unreachable);
    CHECK_FALSE(direct.find_job("visa-2"));
  }
  SECTION("the server never had it, and another was first: conflict") {
    proxy.arm(test::TcpProxy::Cut::before, others);
    CHECK(store.put_job(next) == CommitResult::conflict);
    CHECK(direct.find_job("visa-1")->note == "theirs");
  }
  SECTION("a success whose answer is lost registers one version") {
    proxy.arm(test::TcpProxy::Cut::after);
    CHECK(store.commit(success_of(store, job)) == CommitResult::done);
    CHECK(direct.find_job("visa-1")->version == 1);
    CHECK(load_all(direct, "checks").versions.size() == 1);
  }
  SECTION("a success that never came registers none") {
    proxy.arm(test::TcpProxy::Cut::before);
    CHECK(refusal([&] { (void)store.commit(success_of(store, job)); }) == StoreErrc::unreachable);
    CHECK((*direct.find_job("visa-1") == job));
    CHECK(load_all(direct, "checks").versions.empty());
  }
  CHECK(proxy.cuts() == 1);
}

TEST_CASE("jobs, postgres: a database that may only be read tells its jobs, and a put is told as read-only",
          "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  const Job job = job_of("visa-1");
  REQUIRE(std::make_unique<canary::PostgresStore>(database.url())->put_job(job) == CommitResult::done);
  test::Sql{database.url()}.run("ALTER DATABASE " + database.name() + " SET default_transaction_read_only = on");
  canary::PostgresStore store{database.url()};
  CHECK((*store.find_job("visa-1") == job));
  CHECK(store.jobs({.open = true}).size() == 1);
  CHECK(everything_in(store).at(0).jobs.size() == 1);
  Job next = job;
  ++next.revision;
  CHECK(refusal([&] { (void)store.put_job(next); }) == StoreErrc::read_only);
  CHECK(refusal([&] { (void)store.commit(success_of(store, job)); }) == StoreErrc::read_only);
}

TEST_CASE("jobs, postgres: a store of schema 1 keeps none, says so, and has room for them once it is migrated",
          "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore old_program{database.url(), program(1)};
  change(old_program, "checks", {version_of(1, 5)});
  canary::PostgresStore store{database.url()};
  const Job job = job_of("visa-1");
  const auto none = [&](const std::function<void()>& call) {
    const StoreError error = test::error_of(call);
    return error.code == StoreErrc::schema_older && std::string{error.what()}.ends_with("which keeps no jobs") &&
           error.hint.find("canary store migrate") != std::string::npos;
  };
  CHECK(none([&] { (void)store.jobs({}); }));
  CHECK(none([&] { (void)store.find_job("visa-1"); }));
  CHECK(none([&] { (void)store.put_job(job); }));
  CHECK(none([&] { (void)store.commit(success_of(store, job)); }));
  CHECK(load_all(store, "checks").revision == 1);

  const test::PostgresDatabase elsewhere;
  canary::PostgresStore full{elsewhere.url()};
  REQUIRE(full.put_job(job) == CommitResult::done);
  CHECK(none([&] { replace_by(store, everything_in(full)); }));  // they would be lost
  const auto backup = everything_in(store);
  CHECK(backup.at(0).jobs.empty());
  replace_by(full, backup);  // one of before there were jobs
  CHECK(full.jobs({}).empty());
  CHECK(full.tasks().size() == 1);

  CHECK(std::make_unique<canary::PostgresStore>(database.url())->migrate() == 1);
  CHECK(store.jobs({}).empty());  // noticed while running
  REQUIRE(store.put_job(job) == CommitResult::done);
  CHECK(store.commit(success_of(store, job)) == CommitResult::done);
  CHECK(store.find_job("visa-1")->version == 2);
}

TEST_CASE("jobs, postgres: a newer schema is noticed by every call, and works with the program of before its migration",
          "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore two{database.url(), program(2)};
  canary::PostgresStore three{database.url(), program(3)};
  Job job = job_of("visa-1");
  REQUIRE(two.put_job(job) == CommitResult::done);
  go_on(three, job, [](Job& row) { row.note = "of a newer program"; });
  CHECK(two.find_job("visa-1") == job);
  CHECK(two.jobs({}).size() == 1);
  CHECK(three.migrate() == 2);
  CHECK(refusal([&] { (void)two.jobs({}); }) == StoreErrc::schema_newer);
  CHECK(refusal([&] { (void)two.find_job("visa-1"); }) == StoreErrc::schema_newer);
  CHECK(refusal([&] { (void)two.put_job(job_of("visa-2")); }) == StoreErrc::schema_newer);
  CHECK(refusal([&] { (void)two.commit(success_of(three, job)); }) == StoreErrc::schema_newer);
  CHECK(three.commit(success_of(three, job)) == CommitResult::done);
  CHECK(three.jobs({}).size() == 1);
}

TEST_CASE("jobs, postgres: a database that was made anew by an older program is told as such, not as damaged",
          "[contract][jobs][postgres]") {
  const test::PostgresDatabase database;
  canary::PostgresStore store{database.url()};
  REQUIRE(store.put_job(job_of("visa-1")) == CommitResult::done);
  test::Sql{database.url()}.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  (void)canary::PostgresStore{database.url(), program(1)}.info();
  CHECK(refusal([&] { (void)store.jobs({}); }) == StoreErrc::schema_older);
  CHECK(refusal([&] { (void)store.find_job("visa-1"); }) == StoreErrc::schema_older);
  CHECK(refusal([&] { (void)store.put_job(job_of("visa-1")); }) == StoreErrc::schema_older);
}
