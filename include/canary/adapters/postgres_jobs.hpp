// postgres_jobs.hpp: fine-tune jobs as rows of PostgreSQL, both ways. Layer adapters; needs libpq. Part of
// postgres_store.hpp. Every function works in a store that keeps jobs, within the caller's transaction where it writes.
#pragma once

#include <algorithm>
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
#include "canary/control/job_row.hpp"

namespace canary::detail {

/// A statement for jobs, the newest first.
[[nodiscard]] inline std::string postgres_select_jobs(std::string_view where) {
  return "SELECT id, task, provider, provider_job_id, status, phase, revision, created_at_us, changed_at_us, version,"
         " job FROM canary_jobs " +
         std::string{where} + " ORDER BY created_at_us DESC, id DESC LIMIT $1";
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

[[nodiscard]] inline std::vector<Job> read_jobs(PostgresConnection& connection, const JobFilter& filter) {
  static const std::array<std::string, 4> statements{postgres_select_jobs(""), postgres_select_jobs("WHERE task = $2"),
                                                     postgres_select_jobs("WHERE phase <> 'closed'"),
                                                     postgres_select_jobs("WHERE phase <> 'closed' AND task = $2")};
  const std::size_t which = (filter.open ? 2u : 0u) + (filter.task.empty() ? 0u : 1u);
  std::vector<PostgresValue> values{filter.newest};
  if (!filter.task.empty()) values.emplace_back(filter.task);
  const auto rows = connection.run(statements[which], values);
  std::vector<Job> jobs;
  for (int i = rows.size(); i-- != 0;) jobs.push_back(postgres_job({rows, i}));
  return jobs;
}

[[nodiscard]] inline std::optional<Job> read_job(PostgresConnection& connection, std::string_view id) {
  static const std::string statement = postgres_select_jobs("WHERE id = $2");
  const auto rows = connection.run(statement, {1, id});
  if (rows.size() == 0) return {};
  return postgres_job({rows, 0});
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
