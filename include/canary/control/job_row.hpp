// job_row.hpp: a fine-tune job as a store's row: what every store keeps, checks and refuses alike. Layer control.
//
// The rules, which a database holds by its schema, so that a second program cannot break them either:
//   - an id is unique, [a-z0-9-]{1,40}; a job keeps its id and its task, and is never deleted
//   - a revision goes up by exactly 1 with each change; a job begins at 1, without a version
//   - SUCCEEDED, FAILED and CANCELLED stay as they are; only with one of them a job is closed
//   - a job gets one version, of its own task, which no other job has and which exists; only SUCCEEDED has one
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/job.hpp"
#include "canary/control/job_text.hpp"
#include "canary/control/store.hpp"
#include "canary/control/stored_text.hpp"
#include "canary/core/task_state.hpp"

namespace canary {

/// What a store will not take more of for one job, as job_text() has it.
inline constexpr std::size_t max_job_bytes = std::size_t{4} << 20;

/// The columns of a job's row: what is queried or constrained, and the whole as a text.
struct JobRow {
  std::string id;
  std::string task;
  std::string provider;         ///< for people; what is no text stands there as U+FFFD, and whole in `job`
  std::string provider_job_id;  ///< the same
  std::string status;
  std::string phase;
  std::uint64_t revision = 0;
  TimeUs created_at_us = 0;
  TimeUs changed_at_us = 0;
  std::uint32_t version = 0;
  std::string job;  ///< job_text()
  friend bool operator==(const JobRow&, const JobRow&) = default;
};

[[nodiscard]] inline JobRow job_row(const Job& job) {
  std::string provider_space;
  std::string id_space;
  return {job.id,
          job.task,
          std::string{stored_text(job.provider, provider_space)},
          std::string{stored_text(job.provider_job_id, id_space)},
          std::string{to_string(job.status)},
          std::string{to_string(job.phase)},
          job.revision,
          job.created_at_us,
          job.changed_at_us,
          job.version,
          job_text(job)};
}

/// Errors  nothing for a row whose text is no job's, or another one's than its columns say.
[[nodiscard]] inline std::optional<Job> parse_job_row(const JobRow& row) {
  std::optional<Job> job = parse_job(row.job);
  if (job && job_row(*job) != row) job.reset();
  return job;
}

/// What is said of a row that parse_job_row() does not take.
[[nodiscard]] inline std::string corrupt_job(std::string_view id) {
  return "job `" + std::string{id} + "`: its row makes no sense";
}

[[nodiscard]] constexpr bool is_job_id(std::string_view id) noexcept {
  const auto legal = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !id.empty() && id.size() <= 40 && std::all_of(id.begin(), id.end(), legal);
}

/// Errors  StoreError invalid, in words, for what can be no row of any store.
inline void check_job(const Job& job) {
  const auto refuse = [&](const std::string& words, std::string hint = {}) {
    throw StoreError{StoreErrc::invalid, (is_job_id(job.id) ? "job " + job.id + ": " : std::string{"a job: "}) + words,
                     std::move(hint)};
  };
  if (!is_job_id(job.id)) refuse("its id is none", "an id is 1 to 40 of a-z 0-9 -");
  if (!detail::is_task_name(job.task)) refuse("its task has no name", "a task name is 1 to 128 of A-Z a-z 0-9 _ . -");
  if (job.revision == 0 || job.revision > std::numeric_limits<std::int64_t>::max()) refuse("revisions count from 1");
  if (job.phase == JobPhase::closed && !has_ended(job.status)) refuse("it is closed and has not ended");
  if (job.version > max_version_number) refuse("it has a version that cannot be");
  if (job.version != 0 && job.status != JobStatus::succeeded) refuse("it has a version without success");
  if (job.revision == 1 && job.version != 0) refuse("it begins with a version");
  if (const std::size_t bytes = job_text(job).size(); bytes > max_job_bytes)
    refuse("its row would have " + std::to_string(bytes) + " bytes",
           "at most " + std::to_string(max_job_bytes) + " are kept");
}

/// The same for the job that is written with a change of its task.
inline void check_job(const Commit& change) {
  if (!change.job) return;
  check_job(*change.job);
  if (change.job->task != change.task)
    throw StoreError{StoreErrc::invalid, "job " + change.job->id + ": it is not of the task that is changed"};
}

/// Errors  StoreError invalid where `before` cannot become `job`, for stores that have no schema to say so.
inline void check_job_change(const Job& before, const Job& job) {
  const auto refuse = [&](const char* words) { throw StoreError{StoreErrc::invalid, "job " + job.id + ": " + words}; };
  if (job.task != before.task) refuse("a job keeps its task");
  if (has_ended(before.status) && job.status != before.status) refuse("a job that has ended stays as it ended");
  if (before.version != 0 && job.version != before.version) refuse("a job keeps its version");
}

/// The jobs of a task as a restored store has them: nobody holds one any more, and one that was not sent when the backup was
/// made may have been since, so it is looked for first.
/// Errors  StoreError invalid for a job that does not fit the task.
[[nodiscard]] inline std::vector<Job> restored_jobs(const TaskContents& contents) {
  std::vector<Job> jobs = contents.jobs;
  for (Job& job : jobs) {
    check_job(job);
    if (job.task != contents.task.name || job.version > contents.task.version_count)
      throw StoreError{StoreErrc::invalid, "job " + job.id + ": it does not fit the task that it came with"};
    job.holder.clear();
    job.held_until_us = 0;
    if (job.phase == JobPhase::stored) job.phase = JobPhase::creating;
  }
  return jobs;
}

}  // namespace canary
