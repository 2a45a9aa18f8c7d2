// postgres_jobs.hpp: fine-tune jobs as rows of PostgreSQL, both ways. Layer adapters; needs libpq. Part of
// postgres_store.hpp. Every function works in a store that keeps jobs, within the caller's transaction where it writes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_rows.hpp"
#include "canary/adapters/postgres_schema.hpp"
#include "canary/adapters/postgres_session.hpp"
#include "canary/control/job_row.hpp"

namespace canary::detail {

/// A statement that names their table would fail where there is none.
/// Errors  StoreError for a store that keeps no jobs.
inline void check_keeps_jobs(PostgresSession& session) {
  if (session.last_schema() < postgres_records_from) session.check_schema(session.schema());  // or not any more
  session.check_records(session.last_schema(), "jobs");
}

/// A statement for the schema's number with the newest jobs, the oldest of them first.
[[nodiscard]] inline std::string postgres_select_jobs(std::string_view where) {
  return "SELECT s.schema, j.id, j.task, j.provider, j.provider_job_id, j.status, j.phase, j.revision,"
         " j.created_at_us, j.changed_at_us, j.version, j.job FROM canary_store s"
         " LEFT JOIN LATERAL (SELECT * FROM canary_jobs " +
         std::string{where} +
         " ORDER BY created_at_us DESC, id DESC LIMIT $1) j ON true ORDER BY j.created_at_us, j.id";
}

[[nodiscard]] inline Job postgres_job(PostgresFields fields) {
  JobRow row;
  row.id = fields.text();
  row.task = fields.text();
  row.provider = fields.text();
  row.provider_job_id = fields.text();
  row.status = fields.text();
  row.phase = fields.text();
  row.revision = fields.number<std::uint64_t>();
  row.created_at_us = fields.number<TimeUs>();
  row.changed_at_us = fields.number<TimeUs>();
  row.version = fields.number<std::uint32_t>();
  row.job = fields.text();
  std::optional<Job> job = parse_job_row(row);
  if (!job) throw postgres_nonsense(corrupt_job(row.id));
  return *std::move(job);
}

/// Input   `values`: of the statement, of postgres_select_jobs().
[[nodiscard]] inline std::vector<Job> read_jobs(PostgresSession& session, std::string_view sql,
                                                const std::vector<PostgresValue>& values) {
  const auto rows = session.connection().run(sql, values);
  session.check_schema(rows);
  std::vector<Job> jobs;
  for (int i = 0; i != rows.size() && !rows.null(i, 1); ++i) jobs.push_back(postgres_job({rows, i, 1}));
  return jobs;
}

[[nodiscard]] inline std::vector<Job> read_jobs(PostgresSession& session, const JobFilter& filter) {
  static const std::array<std::string, 4> statements{postgres_select_jobs(""), postgres_select_jobs("WHERE task = $2"),
                                                     postgres_select_jobs("WHERE phase <> 'closed'"),
                                                     postgres_select_jobs("WHERE phase <> 'closed' AND task = $2")};
  const std::size_t which = (filter.open ? 2u : 0u) + (filter.task.empty() ? 0u : 1u);
  std::vector<PostgresValue> values{filter.newest};
  if (!filter.task.empty()) values.emplace_back(filter.task);
  return read_jobs(session, statements[which], values);
}

[[nodiscard]] inline std::optional<Job> read_job(PostgresSession& session, std::string_view id) {
  static const std::string statement = postgres_select_jobs("WHERE id = $2");
  if (!is_job_id(id)) return {};  // which may be no text that could be asked for
  std::vector<Job> found = read_jobs(session, statement, {1, id});
  if (found.empty()) return {};
  return std::move(found.front());
}

/// Input   `sql`: a statement that takes the columns of a row, in their order.
/// Output  false where it wrote nothing.
[[nodiscard]] inline bool run_with(PostgresConnection& connection, std::string_view sql, const JobRow& row) {
  return connection
      .run(sql, {row.id, row.task, row.provider, row.provider_job_id, row.status, row.phase, row.revision,
                 row.created_at_us, row.changed_at_us, row.version, row.job})
      .touched();
}

/// False where there is a job of this id.
[[nodiscard]] inline bool insert_job(PostgresConnection& connection, const Job& job) {
  return run_with(connection,
                  "INSERT INTO canary_jobs (id, task, provider, provider_job_id, status, phase, revision,"
                  " created_at_us, changed_at_us, version, job)"
                  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
                  job_row(job));
}

/// False where its row is of another revision than the one before, or there is none.
[[nodiscard]] inline bool write_job(PostgresConnection& connection, const Job& job) {
  if (job.revision == 1) return insert_job(connection, job);
  return run_with(connection,
                  "UPDATE canary_jobs SET task = $2, provider = $3, provider_job_id = $4, status = $5, phase = $6,"
                  " revision = $7::bigint, created_at_us = $8, changed_at_us = $9, version = $10, job = $11"
                  " WHERE id = $1 AND revision = $7::bigint - 1",
                  job_row(job));
}

}  // namespace canary::detail
