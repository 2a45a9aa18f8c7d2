// job.hpp: a fine-tune job as the store keeps it: what it was asked for, how far it has come, what came of it. Layer
// control; provider.hpp says how a provider is asked, tuner.hpp what is done next.
//
//   QUEUED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED        any of the first two may be skipped; the last three are ends
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/time_us.hpp"

namespace canary {

/// Where a job stands. The numbers are persisted nowhere; the words are.
enum class JobStatus : std::uint8_t { queued, running, succeeded, failed, cancelled };

/// The word that stores, tables and JSON use.
[[nodiscard]] constexpr std::string_view to_string(JobStatus status) noexcept {
  switch (status) {
    case JobStatus::queued:
      return "QUEUED";
    case JobStatus::running:
      return "RUNNING";
    case JobStatus::succeeded:
      return "SUCCEEDED";
    case JobStatus::failed:
      return "FAILED";
    case JobStatus::cancelled:
      return "CANCELLED";
  }
  return "unknown";
}

inline constexpr std::array<JobStatus, 5> job_statuses{JobStatus::queued, JobStatus::running, JobStatus::succeeded,
                                                       JobStatus::failed, JobStatus::cancelled};

/// The status behind a word; nothing for any other text.
[[nodiscard]] constexpr std::optional<JobStatus> parse_job_status(std::string_view word) noexcept {
  for (const JobStatus status : job_statuses)
    if (to_string(status) == word) return status;
  return {};
}

/// True for a status that nothing follows.
[[nodiscard]] constexpr bool has_ended(JobStatus status) noexcept {
  return status == JobStatus::succeeded || status == JobStatus::failed || status == JobStatus::cancelled;
}

/// True if a job may go from one status to the other. A provider's RUNNING may become QUEUED again, when it was paused.
[[nodiscard]] constexpr bool may_follow(JobStatus from, JobStatus to) noexcept {
  return !has_ended(from) || from == to;
}

/// What is known to have been done for a job. Each is stored before what comes after it is begun.
enum class JobPhase : std::uint8_t {
  stored,     ///< nothing was sent yet, but files perhaps
  creating,   ///< its creation was sent, or is about to be: look before it is sent again
  following,  ///< the provider has it: provider_job_id is known
  closed,     ///< ended; on success its version is registered
};

[[nodiscard]] constexpr std::string_view to_string(JobPhase phase) noexcept {
  switch (phase) {
    case JobPhase::stored:
      return "stored";
    case JobPhase::creating:
      return "creating";
    case JobPhase::following:
      return "following";
    case JobPhase::closed:
      return "closed";
  }
  return "unknown";
}

inline constexpr std::array<JobPhase, 4> job_phases{JobPhase::stored, JobPhase::creating, JobPhase::following,
                                                    JobPhase::closed};

[[nodiscard]] constexpr std::optional<JobPhase> parse_job_phase(std::string_view word) noexcept {
  for (const JobPhase phase : job_phases)
    if (to_string(phase) == word) return phase;
  return {};
}

/// A model at a step of its training, usable by itself.
struct Checkpoint {
  std::string model;
  std::uint64_t step = 0;
  std::string metrics;  ///< one JSON object, as the provider wrote it; may be empty
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

/// How to train; 0 and empty leave it to the provider.
struct TrainingMethod {
  std::string type = "supervised";  ///< supervised, dpo, reinforcement
  std::uint32_t epochs = 0;
  std::uint32_t batch_size = 0;
  double learning_rate_multiplier = 0;
  double beta = 0;                         ///< dpo
  std::string grader = {};                 ///< reinforcement: one JSON object
  std::optional<std::uint32_t> seed = {};  ///< at most 2^31 - 1
  friend bool operator==(const TrainingMethod&, const TrainingMethod&) = default;
};

/// A fine-tune job's row. Texts hold no secret.
struct Job {
  std::string id;  ///< ours: [a-z0-9-]{1,40}, unique in a store and beyond; the provider is given it to find the job by
  std::string task;
  std::string provider;  ///< name of a [provider.NAME] table
  std::string provider_job_id;
  JobStatus status = JobStatus::queued;
  std::string provider_status;  ///< as the provider said it
  std::string base_model;
  std::string prompt_version;
  std::string suffix;  ///< of the model's name, as the user wished it; may be empty
  TrainingMethod method;
  std::string training_file;       ///< absolute path
  std::string validation_file;     ///< empty: none
  std::string training_file_hash;  ///< SHA-256, in hex, when the job was made
  std::string validation_file_hash;
  std::string training_file_id;  ///< at the provider
  std::string validation_file_id;
  JobPhase phase = JobPhase::stored;
  TimeUs created_at_us = 0;
  TimeUs changed_at_us = 0;
  TimeUs sent_at_us = 0;      ///< when its creation was sent last; 0: never
  TimeUs finished_at_us = 0;  ///< 0: not yet
  std::uint64_t trained_tokens = 0;
  std::string model;  ///< what came of it
  std::vector<Checkpoint> checkpoints;
  std::string error;          ///< why it failed, or what keeps it waiting
  bool cancel_asked = false;  ///< by a person; the provider is told until it answers
  std::string actor;          ///< who started it
  std::string note;
  std::uint32_t version = 0;   ///< number of the version that came of it; 0: none
  std::string holder;          ///< process that works on it; see tuner.hpp. Empty: nobody
  TimeUs held_until_us = 0;    ///< the holder has it until then
  std::uint64_t revision = 0;  ///< counts the row's changes, from 1; 0: not stored yet
  friend bool operator==(const Job&, const Job&) = default;
};

/// Which jobs to bring, oldest first.
struct JobFilter {
  std::string task = {};               ///< empty: of every task
  bool open = false;                   ///< only those whose phase is not `closed`
  std::uint32_t newest = 0xFFFF'FFFF;  ///< at most so many, the newest of them
};

}  // namespace canary
