// What every store promises of fine-tune jobs, by an SQLite file; and what other programs cannot do to them there.
#include <sys/stat.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../adapters/sqlite_place.hpp"
#include "canary/adapters/sqlite_store.hpp"

namespace {

class SqlitePlace {
 public:
  [[nodiscard]] std::unique_ptr<canary::Store> open() const {
    return std::make_unique<canary::SqliteStore>("sqlite:" + file_.path);
  }

 private:
  SqliteFile file_;
};

/// What a program of the first schema is compiled with.
canary::SqliteOptions first_schema() {
  return {.timeout_ms = 200, .schema = {std::span{canary::sqlite_migrations}.first(1)}};
}

}  // namespace

#define CANARY_STORE_PLACE SqlitePlace
#include "job_contract.hpp"

TEST_CASE("jobs, sqlite: a second program that writes plain SQL cannot break what must never be wrong",
          "[contract][jobs][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  for (const char* id : {"done", "open"}) REQUIRE(store->put_job(job_of(id)) == CommitResult::done);
  REQUIRE(store->commit(success_of(*store, *store->find_job("done"))) == CommitResult::done);
  change(*store, "checks", {version_of(2, 0)});
  const auto before = everything_in(*store);
  PlainSql other{file.path};
  const std::string columns =
      "(id, task, provider, provider_job_id, status, phase, revision, created_at_us,"
      " changed_at_us, version, job) VALUES ";
  for (const std::string& attempt : std::vector<std::string>{
           "DELETE FROM jobs",
           "UPDATE jobs SET revision = revision + 1, status = 'FAILED' WHERE id = 'done'",
           "UPDATE jobs SET revision = revision + 1, status = 'RUNNING' WHERE id = 'done'",
           "UPDATE jobs SET revision = revision + 1, status = 'PAUSED' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, phase = 'lost' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, phase = 'closed' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 2 WHERE id = 'open'",
           "UPDATE jobs SET revision = revision - 1 WHERE id = 'done'",
           "UPDATE jobs SET provider = 'x' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, id = 'other' WHERE id = 'open'",
           "UPDATE OR REPLACE jobs SET revision = 2, id = 'done' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, task = 'risks' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, version = 2 WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, version = 1, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE OR REPLACE jobs SET revision = revision + 1, version = 1, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, version = 3, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, version = -1, status = 'SUCCEEDED' WHERE id = 'open'",
           "UPDATE jobs SET revision = revision + 1, version = 2 WHERE id = 'done'",
           "UPDATE jobs SET revision = revision + 1, version = 0 WHERE id = 'done'",
           "INSERT INTO jobs " + columns + "('done', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "REPLACE INTO jobs " + columns + "('done', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO jobs " + columns + "('new', 'checks', '', '', 'QUEUED', 'stored', 2, 0, 0, 0, '')",
           "INSERT INTO jobs " + columns + "('new', 'checks', '', '', 'SUCCEEDED', 'closed', 1, 0, 0, 2, '')",
           "INSERT INTO jobs " + columns + "('NEW', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO jobs " + columns + "('', 'checks', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
           "INSERT INTO jobs " + columns + "('new', '', '', '', 'QUEUED', 'stored', 1, 0, 0, 0, '')",
       }) {
    INFO(attempt);
    CHECK(other.run(attempt) == SQLITE_CONSTRAINT);
  }
  CHECK(same(everything_in(*store), before));
}

TEST_CASE("jobs, sqlite: a row whose text is none, or another's, is told as corrupt, by its id",
          "[contract][jobs][sqlite]") {
  for (const char* damage :
       {"job = 'garbage'", "job = ''", "job = job || ' '", "job = replace(job, 'phase stored', 'phase lost')",
        "job = (SELECT job FROM jobs WHERE id = 'visa-2')", "status = 'RUNNING'", "phase = 'creating'",
        "changed_at_us = 7", "provider = 'other'", "job = substr(job, 1, length(job) / 2)"}) {
    INFO(damage);
    const SqliteFile file;
    const auto store = file.open();
    for (const char* id : {"visa-1", "visa-2"}) REQUIRE(store->put_job(job_of(id)) == CommitResult::done);
    PlainSql{file.path}.must(std::string{"UPDATE jobs SET revision = revision + 1, "} + damage +
                             " WHERE id = 'visa-1'");
    for (const auto& call :
         std::vector<std::function<void()>>{[&] { (void)store->find_job("visa-1"); }, [&] { (void)store->jobs({}); },
                                            [&] { (void)everything_in(*store); }}) {
      std::string words;
      try {
        call();
      } catch (const StoreError& error) {
        words = error.what();
        CHECK(error.code == StoreErrc::corrupt);
      }
      CHECK(words.find("job `visa-1`") != std::string::npos);
    }
    CHECK(store->find_job("visa-2"));
  }
}

TEST_CASE("jobs, sqlite: open jobs, and those of a task, are found by an index", "[contract][jobs][sqlite]") {
  const SqliteFile file;
  (void)file.open()->info();
  PlainSql other{file.path};
  const auto plan = [&](const std::string& where) {
    return other.ask("EXPLAIN QUERY PLAN SELECT job FROM jobs WHERE " + where +
                     " ORDER BY created_at_us DESC, id DESC LIMIT 5");
  };
  for (const auto& [where, index] : {std::pair{"phase <> 'closed'", "jobs_open"}, {"task = 'x'", "jobs_by_task"}}) {
    INFO(plan(where));
    CHECK(plan(where).find(index) != std::string::npos);
    CHECK(plan(where).find("TEMP B-TREE") == std::string::npos);  // nothing is sorted
  }
}

TEST_CASE("jobs, sqlite: a file that may only be read tells its jobs, and a put is told as read-only",
          "[contract][jobs][sqlite]") {
  const SqliteFile file;
  const Job job = job_of("visa-1");
  REQUIRE(file.open()->put_job(job) == CommitResult::done);
  REQUIRE(::chmod(file.path.c_str(), 0444) == 0);
  REQUIRE(::chmod(file.folder.path().c_str(), 0555) == 0);
  CHECK(as_a_common_user([&] {
          const auto store = file.open();
          if (store->find_job("visa-1") != job || store->jobs({.open = true}).size() != 1) return 1;
          if (everything_in(*store).at(0).jobs.size() != 1) return 2;
          Job next = job;
          ++next.revision;
          if (refusal([&] { (void)store->put_job(next); }) != StoreErrc::read_only) return 3;
          if (refusal([&] { (void)store->commit(success_of(*store, job)); }) != StoreErrc::read_only) return 4;
          return store->find_job("visa-1") == job ? 0 : 5;
        }) == 0);
  REQUIRE(::chmod(file.folder.path().c_str(), 0777) == 0);
}

TEST_CASE("jobs, sqlite: a file of schema 1 keeps none, says so, and has room for them once it is migrated",
          "[contract][jobs][sqlite]") {
  const SqliteFile file;
  const auto old_program = file.open(first_schema());
  change(*old_program, "checks", {version_of(1, 5)});
  const auto store = file.open();
  const Job job = job_of("visa-1");
  const auto none = [&](auto call) {
    try {
      call();
    } catch (const StoreError& error) {
      return error.code == StoreErrc::schema_older && std::string{error.what()}.ends_with("schema 1 keeps no jobs") &&
             error.hint.find("canary store migrate") != std::string::npos;
    }
    return false;
  };
  CHECK(none([&] { (void)store->jobs({}); }));
  CHECK(none([&] { (void)store->find_job("visa-1"); }));
  CHECK(none([&] { (void)store->put_job(job); }));
  CHECK(none([&] { (void)store->commit(success_of(*store, job)); }));
  CHECK(load_all(*store, "checks").revision == 1);

  const SqliteFile elsewhere;
  REQUIRE(elsewhere.open()->put_job(job) == CommitResult::done);
  CHECK(none([&] { replace_by(*store, everything_in(*elsewhere.open())); }));  // they would be lost
  const auto backup = everything_in(*store);
  CHECK(backup.at(0).jobs.empty());
  replace_by(*elsewhere.open(), backup);  // one of before there were jobs
  CHECK(elsewhere.open()->jobs({}).empty());
  CHECK(elsewhere.open()->tasks().size() == 1);
  change(*old_program, "checks", {version_of(1, 6)});

  CHECK(store->migrate() == 1);
  CHECK(store->jobs({}).empty());
  REQUIRE(store->put_job(job) == CommitResult::done);
  CHECK(store->commit(success_of(*store, job)) == CommitResult::done);
  CHECK(store->find_job("visa-1")->version == 2);
  PlainSql other{file.path};
  CHECK(other.run("DELETE FROM jobs") == SQLITE_CONSTRAINT);  // its guards came with it
}

TEST_CASE("jobs, sqlite: what a killed process had put is there", "[contract][jobs][sqlite]") {
  const SqliteFile file;
  CHECK(in_another_process([&] {
          auto* store = file.open().release();  // its end does not come
          Job job = job_of("visa-1");
          if (store->put_job(job) != CommitResult::done) return 1;
          job.phase = JobPhase::creating;
          ++job.revision;
          return store->put_job(job) == CommitResult::done ? 0 : 2;
        }) == 0);
  CHECK(file.open()->find_job("visa-1")->phase == JobPhase::creating);
}
