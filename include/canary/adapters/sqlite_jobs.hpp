// sqlite_jobs.hpp: fine-tune jobs, to and from SQLite. Layer adapters; a part of sqlite_store.hpp.
// Every function works within the caller's transaction, in a file that keeps jobs.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/control/job_row.hpp"

namespace canary::detail {

/// A statement for jobs, the newest first.
[[nodiscard]] inline std::string sqlite_select_jobs(std::string_view where) {
  return "SELECT id, task, provider, provider_job_id, status, phase, revision, created_at_us, changed_at_us, version, "
         "job FROM jobs " +
         std::string{where} + " ORDER BY created_at_us DESC, id DESC LIMIT ?2";
}

[[nodiscard]] inline Job read_job(const SqliteConnection& db, const SqliteQuery& query) {
  const JobRow row{query.text(0),
                   query.text(1),
                   query.text(2),
                   query.text(3),
                   query.text(4),
                   query.text(5),
                   query.number<std::uint64_t>(6),
                   query.integer(7),
                   query.integer(8),
                   query.number(9),
                   query.text(10)};
  std::optional<Job> job = parse_job_row(row);
  if (!job) db.fail_corrupt(corrupt_job(row.id));
  return *std::move(job);
}

[[nodiscard]] inline std::vector<Job> read_jobs(SqliteConnection& db, const JobFilter& filter) {
  static const std::array<std::string, 4> statements{sqlite_select_jobs(""), sqlite_select_jobs("WHERE task = ?1"),
                                                     sqlite_select_jobs("WHERE phase <> 'closed'"),
                                                     sqlite_select_jobs("WHERE phase <> 'closed' AND task = ?1")};
  const std::size_t which = (filter.open ? 2u : 0u) + (filter.task.empty() ? 0u : 1u);
  SqliteQuery query{db, statements[which].c_str(), filter.task, filter.newest};
  std::vector<Job> jobs;
  while (query.next()) jobs.push_back(read_job(db, query));
  std::reverse(jobs.begin(), jobs.end());
  return jobs;
}

[[nodiscard]] inline std::optional<Job> read_job(SqliteConnection& db, std::string_view id) {
  static const std::string statement = sqlite_select_jobs("WHERE id = ?1");
  SqliteQuery query{db, statement.c_str(), id, 1};
  if (!query.next()) return {};
  return read_job(db, query);
}

/// True where the job is the next change of its row, or the first of a new one.
[[nodiscard]] inline bool is_next(SqliteConnection& db, const Job& job) {
  SqliteQuery query{db, "SELECT revision FROM jobs WHERE id = ?1", job.id};
  return job.revision == (query.next() ? query.number<std::uint64_t>(0) : 0) + 1;
}

/// Input   `sql`: a statement that takes the columns of a row, in their order.
inline void run_with(SqliteConnection& db, const char* sql, const JobRow& row) {
  run(db, sql, row.id, row.task, row.provider, row.provider_job_id, row.status, row.phase, row.revision,
      row.created_at_us, row.changed_at_us, row.version, row.job);
}

inline void add_job(SqliteConnection& db, const Job& job) {
  run_with(db,
           "INSERT INTO jobs (id, task, provider, provider_job_id, status, phase, revision, created_at_us, "
           "changed_at_us, version, job) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
           job_row(job));
}

/// Input   a job that is_next().
inline void put_job(SqliteConnection& db, const Job& job) {
  if (job.revision == 1) return add_job(db, job);
  run_with(db,
           "UPDATE jobs SET task = ?2, provider = ?3, provider_job_id = ?4, status = ?5, phase = ?6, revision = ?7, "
           "created_at_us = ?8, changed_at_us = ?9, version = ?10, job = ?11 WHERE id = ?1",
           job_row(job));
}

}  // namespace canary::detail
