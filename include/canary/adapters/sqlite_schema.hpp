// sqlite_schema.hpp: the tables of an SQLite store, as numbered steps. Layer adapters; a part of sqlite_store.hpp.
// Constraints and triggers hold what must never be wrong, whichever program writes: the weights of a task sum to at most
// 100 %, version numbers are given in turn and never again, history has no gap and does not change, a job is as
// job_row.hpp says.
//
// Triggers refuse by RAISE(ABORT): a CHECK alone would be skipped by a statement with OR IGNORE. Tables are WITHOUT ROWID,
// since OR REPLACE by a rowid would delete a row that no trigger sees.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace canary {

/// The step from one schema to the next. A new schema must still be read and written by the program before it.
struct SqliteMigration {
  const char* change;               ///< statements that bring the tables there
  const char* guards = nullptr;     ///< makes the triggers, all of them, as they stand from then on; null: as before
  const char* no_guards = nullptr;  ///< and drops them
};

/// A program's schema; its number is that of its steps. Tests make programs of other schemas by it.
struct SqliteSchema {
  std::span<const SqliteMigration> migrations;
  [[nodiscard]] constexpr std::uint32_t number() const noexcept {
    return static_cast<std::uint32_t>(migrations.size());
  }
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// `cnry`: in the file's header, so that no other program's database is taken for a store.
inline constexpr std::int64_t sqlite_application_id = 0x636E7279;

/// One text behind the other.
template <std::size_t first_size, std::size_t second_size>
[[nodiscard]] constexpr auto joined(const char (&first)[first_size], const char (&second)[second_size]) {
  std::array<char, first_size + second_size - 1> text{};
  std::copy_n(second, second_size, std::copy_n(first, first_size - 1, text.begin()));
  return text;
}

inline constexpr const char* sqlite_tables_1 = R"sql(
CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  schema INTEGER NOT NULL CHECK (schema > 0),
  token TEXT NOT NULL CHECK (token <> ''),  -- another one after a restore
  change INTEGER NOT NULL                   -- counts the changes of all tasks
) STRICT;
INSERT INTO store (id, schema, token, change) VALUES (1, 1, lower(hex(randomblob(16))), 0);
CREATE TABLE tasks (
  name TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL CHECK (revision BETWEEN 0 AND 4294967295),
  change INTEGER NOT NULL,  -- of the store, when the task changed last
  version_count INTEGER NOT NULL CHECK (version_count BETWEEN 0 AND 65000),
  allocated_ppm INTEGER NOT NULL CONSTRAINT "weights over 100 %" CHECK (allocated_ppm BETWEEN 0 AND 1000000),
  partition TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_change ON tasks (change);
CREATE TABLE versions (
  task TEXT NOT NULL REFERENCES tasks (name),
  number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 65000),
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('CANDIDATE', 'ACTIVE', 'DEPRECATED', 'ARCHIVED')),
  weight_ppm INTEGER NOT NULL CHECK (weight_ppm BETWEEN 0 AND 1000000),
  note TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  changed_at_us INTEGER NOT NULL,
  shutdown_date TEXT NOT NULL,
  job TEXT NOT NULL,
  training_file_hash TEXT NOT NULL,
  base_model TEXT NOT NULL,
  prompt_version TEXT NOT NULL,
  PRIMARY KEY (task, number),
  CONSTRAINT "an archived version with a weight" CHECK (status <> 'ARCHIVED' OR weight_ppm = 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_status ON versions (task, status);
CREATE INDEX versions_by_weight ON versions (task, weight_ppm);
CREATE INDEX versions_by_model ON versions (task, model);
CREATE TABLE history (
  task TEXT NOT NULL REFERENCES tasks (name),
  revision INTEGER NOT NULL CHECK (revision BETWEEN 1 AND 4294967295),
  commit_id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
  at_us INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  number INTEGER NOT NULL,
  note TEXT NOT NULL,
  partition TEXT NOT NULL,
  points_moved INTEGER NOT NULL,
  points_minimum INTEGER NOT NULL,
  restores INTEGER NOT NULL,
  status_changes TEXT NOT NULL,
  evidence TEXT NOT NULL,
  PRIMARY KEY (task, revision)
) STRICT, WITHOUT ROWID;
)sql";

inline constexpr char sqlite_guards_1[] = R"sql(
CREATE TRIGGER store_stays BEFORE DELETE ON store BEGIN
  SELECT RAISE(ABORT, 'the row of the store stays');
END;
CREATE TRIGGER store_counts_up BEFORE UPDATE OF change ON store WHEN NEW.change < OLD.change BEGIN
  SELECT RAISE(ABORT, 'the count of changes goes up only');
END;

CREATE TRIGGER tasks_begin_empty BEFORE INSERT ON tasks
WHEN NEW.revision <> 0 OR NEW.version_count <> 0 OR NEW.allocated_ppm <> 0
  OR EXISTS (SELECT 1 FROM tasks WHERE name = NEW.name) BEGIN
  SELECT RAISE(ABORT, 'a task begins once, at revision 0 and without versions');
END;
CREATE TRIGGER tasks_stay BEFORE DELETE ON tasks BEGIN
  SELECT RAISE(ABORT, 'a task is never deleted');
END;
CREATE TRIGGER tasks_keep_name BEFORE UPDATE OF name ON tasks WHEN NEW.name <> OLD.name BEGIN
  SELECT RAISE(ABORT, 'a task keeps its name');
END;
CREATE TRIGGER tasks_count_up BEFORE UPDATE OF revision ON tasks
WHEN NEW.revision <> OLD.revision + 1
  OR OLD.revision <> coalesce((SELECT max(revision) FROM history WHERE task = OLD.name), 0) BEGIN
  SELECT RAISE(ABORT, 'a revision follows one that has its history row');
END;
CREATE TRIGGER tasks_count_versions BEFORE UPDATE OF version_count ON tasks
WHEN NEW.version_count <> coalesce((SELECT max(number) FROM versions WHERE task = OLD.name), 0) BEGIN
  SELECT RAISE(ABORT, 'the count of versions is the last number given');
END;
CREATE TRIGGER tasks_sum_weights BEFORE UPDATE OF allocated_ppm ON tasks
WHEN NEW.allocated_ppm <> coalesce((SELECT sum(weight_ppm) FROM versions WHERE task = OLD.name AND weight_ppm > 0), 0)
BEGIN
  SELECT RAISE(ABORT, 'the allocated weight is the sum of the weights');
END;

CREATE TRIGGER versions_in_turn BEFORE INSERT ON versions
WHEN NEW.number IS NOT (SELECT version_count + 1 FROM tasks WHERE name = NEW.task) BEGIN
  SELECT RAISE(ABORT, 'the number of a version is out of turn');
END;
CREATE TRIGGER versions_fit BEFORE INSERT ON versions
WHEN NEW.weight_ppm + (SELECT allocated_ppm FROM tasks WHERE name = NEW.task) > 1000000 BEGIN
  SELECT RAISE(ABORT, 'the weights of the task sum to more than 100 %');
END;
CREATE TRIGGER versions_fit_again BEFORE UPDATE OF weight_ppm ON versions
WHEN NEW.weight_ppm - OLD.weight_ppm + (SELECT allocated_ppm FROM tasks WHERE name = NEW.task) > 1000000 BEGIN
  SELECT RAISE(ABORT, 'the weights of the task sum to more than 100 %');
END;
CREATE TRIGGER versions_counted AFTER INSERT ON versions BEGIN
  UPDATE tasks SET version_count = NEW.number, allocated_ppm = allocated_ppm + NEW.weight_ppm WHERE name = NEW.task;
END;
CREATE TRIGGER versions_summed AFTER UPDATE OF weight_ppm ON versions WHEN NEW.weight_ppm <> OLD.weight_ppm BEGIN
  UPDATE tasks SET allocated_ppm = allocated_ppm + NEW.weight_ppm - OLD.weight_ppm WHERE name = NEW.task;
END;
CREATE TRIGGER versions_keep_number BEFORE UPDATE OF task, number ON versions
WHEN NEW.task <> OLD.task OR NEW.number <> OLD.number BEGIN
  SELECT RAISE(ABORT, 'a version keeps its task and number');
END;
CREATE TRIGGER versions_archived_for_good BEFORE UPDATE ON versions
WHEN OLD.status = 'ARCHIVED' AND (NEW.status <> 'ARCHIVED' OR NEW.weight_ppm <> 0) BEGIN
  SELECT RAISE(ABORT, 'an archived version stays archived');
END;
CREATE TRIGGER versions_stay BEFORE DELETE ON versions BEGIN
  SELECT RAISE(ABORT, 'a version is never deleted');
END;

CREATE TRIGGER history_in_turn BEFORE INSERT ON history
WHEN NEW.revision IS NOT (SELECT revision FROM tasks WHERE name = NEW.task)
  OR EXISTS (SELECT 1 FROM history WHERE task = NEW.task AND revision = NEW.revision) BEGIN
  SELECT RAISE(ABORT, 'a history row is of the revision that its task has');
END;
CREATE TRIGGER history_stays_as_it_is BEFORE UPDATE ON history BEGIN
  SELECT RAISE(ABORT, 'history does not change');
END;
CREATE TRIGGER history_stays BEFORE DELETE ON history BEGIN
  SELECT RAISE(ABORT, 'history is never deleted');
END;
)sql";

inline constexpr char sqlite_no_guards_1[] = R"sql(
DROP TRIGGER store_stays; DROP TRIGGER store_counts_up;
DROP TRIGGER tasks_begin_empty; DROP TRIGGER tasks_stay; DROP TRIGGER tasks_keep_name; DROP TRIGGER tasks_count_up;
DROP TRIGGER tasks_count_versions; DROP TRIGGER tasks_sum_weights;
DROP TRIGGER versions_in_turn; DROP TRIGGER versions_fit; DROP TRIGGER versions_fit_again;
DROP TRIGGER versions_counted; DROP TRIGGER versions_summed; DROP TRIGGER versions_keep_number;
DROP TRIGGER versions_archived_for_good; DROP TRIGGER versions_stay;
DROP TRIGGER history_in_turn; DROP TRIGGER history_stays_as_it_is; DROP TRIGGER history_stays;
)sql";

/// Interactions, and what is counted of them. A row of `interactions` comes with every request, so it has no index but its
/// key, which rises: another would cost as much again as the row.
inline constexpr const char* sqlite_tables_2 = R"sql(
ALTER TABLE tasks ADD COLUMN epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN rollouts TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN rollouts TEXT NOT NULL DEFAULT '';
CREATE TABLE recorded_tasks (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE spools (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given again
  spool TEXT NOT NULL UNIQUE,
  node INTEGER NOT NULL UNIQUE CHECK (node BETWEEN 0 AND 4095),
  generation INTEGER NOT NULL CHECK (generation >= 0),
  at_us INTEGER NOT NULL,
  lanes BLOB NOT NULL  -- lane and position by turns, in LEB128
) STRICT;
CREATE TABLE interactions (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  at_us INTEGER NOT NULL,
  task INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  point INTEGER NOT NULL,
  number INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  error INTEGER NOT NULL,
  latency_us INTEGER,
  score INTEGER,  -- billionths
  rescored INTEGER NOT NULL DEFAULT 0,  -- by feedback, which happens once
  tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL,
  cost_microusd INTEGER NOT NULL
) STRICT;
CREATE TABLE payloads (
  id INTEGER PRIMARY KEY,
  request TEXT NOT NULL,
  response TEXT NOT NULL
) STRICT;
CREATE TABLE counts (
  kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),  -- of a window, of evidence, of drops
  task INTEGER NOT NULL,
  of INTEGER NOT NULL,
  at INTEGER NOT NULL,
  serial INTEGER NOT NULL,  -- of the spool; 0: of spools that are gone
  bytes BLOB NOT NULL,
  PRIMARY KEY (kind, task, of, at, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_by_serial ON counts (serial, kind, at);
CREATE TABLE units (
  task INTEGER NOT NULL,
  life INTEGER NOT NULL,
  point INTEGER NOT NULL,
  id INTEGER NOT NULL,
  settled INTEGER NOT NULL CHECK (settled IN (0, 1)),
  PRIMARY KEY (task, life, point)
) STRICT, WITHOUT ROWID;
CREATE TABLE waiting_feedback (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  at_us INTEGER NOT NULL,
  score INTEGER NOT NULL
) STRICT;
CREATE INDEX waiting_feedback_by_time ON waiting_feedback (at_us);
CREATE TABLE jobs (
  id TEXT NOT NULL PRIMARY KEY CHECK (id NOT GLOB '*[^a-z0-9-]*' AND length(id) BETWEEN 1 AND 40),
  task TEXT NOT NULL CHECK (task <> ''),
  provider TEXT NOT NULL,
  provider_job_id TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  phase TEXT NOT NULL CHECK (phase IN ('stored', 'creating', 'following', 'closed')),
  revision INTEGER NOT NULL CHECK (revision > 0),
  created_at_us INTEGER NOT NULL,
  changed_at_us INTEGER NOT NULL,
  version INTEGER NOT NULL CHECK (version BETWEEN 0 AND 65000),
  job TEXT NOT NULL,  -- the whole row
  CONSTRAINT "a version without success" CHECK (version = 0 OR status = 'SUCCEEDED'),
  CONSTRAINT "closed and not ended" CHECK (phase <> 'closed' OR status IN ('SUCCEEDED', 'FAILED', 'CANCELLED'))
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_by_task ON jobs (task, created_at_us);
CREATE INDEX jobs_open ON jobs (created_at_us) WHERE phase <> 'closed';
CREATE UNIQUE INDEX jobs_by_version ON jobs (task, version) WHERE version <> 0;
)sql";

inline constexpr char sqlite_job_guards[] = R"sql(
CREATE TRIGGER jobs_begin_once BEFORE INSERT ON jobs
WHEN NEW.revision <> 1 OR NEW.version <> 0 OR EXISTS (SELECT 1 FROM jobs WHERE id = NEW.id) BEGIN
  SELECT RAISE(ABORT, 'a job begins once, at revision 1 and without a version');
END;
CREATE TRIGGER jobs_keep_task BEFORE UPDATE ON jobs WHEN NEW.id <> OLD.id OR NEW.task <> OLD.task BEGIN
  SELECT RAISE(ABORT, 'a job keeps its id and its task');
END;
CREATE TRIGGER jobs_count_up BEFORE UPDATE ON jobs WHEN NEW.revision <> OLD.revision + 1 BEGIN
  SELECT RAISE(ABORT, 'the revision of a job goes up by 1');
END;
CREATE TRIGGER jobs_ended_for_good BEFORE UPDATE ON jobs
WHEN NEW.status <> OLD.status AND OLD.status IN ('SUCCEEDED', 'FAILED', 'CANCELLED') BEGIN
  SELECT RAISE(ABORT, 'a job that has ended stays as it ended');
END;
CREATE TRIGGER jobs_one_version BEFORE UPDATE ON jobs
WHEN NEW.version <> OLD.version AND (OLD.version <> 0
  OR NOT EXISTS (SELECT 1 FROM versions WHERE task = NEW.task AND number = NEW.version)
  OR EXISTS (SELECT 1 FROM jobs WHERE task = NEW.task AND version = NEW.version AND version <> 0)) BEGIN
  SELECT RAISE(ABORT, 'a job gets one version, which is there and no other job''s');
END;
CREATE TRIGGER jobs_stay BEFORE DELETE ON jobs BEGIN
  SELECT RAISE(ABORT, 'a job is never deleted');
END;
)sql";

inline constexpr char sqlite_no_job_guards[] = R"sql(
DROP TRIGGER jobs_begin_once; DROP TRIGGER jobs_keep_task; DROP TRIGGER jobs_count_up;
DROP TRIGGER jobs_ended_for_good; DROP TRIGGER jobs_one_version; DROP TRIGGER jobs_stay;
)sql";

inline constexpr auto sqlite_guards_2 = joined(sqlite_guards_1, sqlite_job_guards);
inline constexpr auto sqlite_no_guards_2 = joined(sqlite_no_guards_1, sqlite_no_job_guards);

/// The first schema that keeps epochs, rollouts, interactions and jobs.
inline constexpr std::uint32_t sqlite_records_from = 2;

}  // namespace detail

inline constexpr std::array<SqliteMigration, 2> sqlite_migrations{{
    {detail::sqlite_tables_1, detail::sqlite_guards_1, detail::sqlite_no_guards_1},
    {detail::sqlite_tables_2, detail::sqlite_guards_2.data(), detail::sqlite_no_guards_2.data()},
}};
inline constexpr SqliteSchema sqlite_schema{sqlite_migrations};

}  // namespace canary
