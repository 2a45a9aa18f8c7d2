// job_step.hpp: what is done next for a fine-tune job, as pure functions of its row. Layer control; tuner.hpp acts.
//
// The row says what is known to have been done, and is written before each call that must not be made twice. Only the
// creation of a job is such a call. Its row says `creating` before it is sent; whoever finds it so, after a crash or after
// an answer that was lost, looks for the job at the provider first, and sends again only when none has come to light within
// `settle_ms`: a request may be under way for a while after its sender has died.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "canary/control/job.hpp"
#include "canary/control/provider.hpp"

namespace canary {

enum class JobStep : std::uint8_t {
  none,               ///< it is closed
  upload_training,    ///< the training file goes to the provider
  upload_validation,  ///< the validation file does
  send,               ///< its creation is written down, then sent
  look,               ///< it may be at the provider already
  poll,               ///< the provider is asked how it goes
  give_up,            ///< somebody wanted it cancelled before it was sent
};

/// What comes next.
[[nodiscard]] constexpr JobStep next_step(const Job& job) noexcept {
  switch (job.phase) {
    case JobPhase::stored:
      if (job.cancel_asked) return JobStep::give_up;
      if (job.training_file_id.empty()) return JobStep::upload_training;
      if (!job.validation_file.empty() && job.validation_file_id.empty()) return JobStep::upload_validation;
      return JobStep::send;
    case JobPhase::creating:
      return JobStep::look;
    case JobPhase::following:
      return JobStep::poll;
    case JobPhase::closed:
      return JobStep::none;
  }
  return JobStep::none;
}

/// True when every file that its creation names is at the provider.
[[nodiscard]] constexpr bool files_are_there(const Job& job) noexcept {
  return !job.training_file_id.empty() && (job.validation_file.empty() || !job.validation_file_id.empty());
}

/// Nothing that was made for the job can be older, in Unix time, whichever of its creations it came of.
[[nodiscard]] constexpr std::int64_t made_since_s(const Job& job) noexcept { return job.created_at_us / 1'000'000; }

/// True for what only one process may do at a time: whoever does it holds the job.
[[nodiscard]] constexpr bool wants_hold(JobStep step) noexcept {
  return step != JobStep::none && step != JobStep::poll;
}

/// The job is closed by this; what it had come to stays.
inline void close_job(Job& job, JobStatus status, std::string_view error, TimeUs now_us) {
  job.phase = JobPhase::closed;
  job.status = status;
  job.error = error;
  if (job.finished_at_us == 0) job.finished_at_us = now_us;
}

/// Takes in what a provider says. A job that it has finished with stays open until its version is registered, or, without
/// one, is closed here.
/// Input   `said`: of this job. Its status never makes one that has ended run again.
inline void take_in(Job& job, const ProviderJob& said, TimeUs now_us) {
  constexpr TimeUs second_us = 1'000'000;
  job.phase = JobPhase::following;
  job.provider_job_id = said.id;
  job.provider_status = said.provider_status;
  if (said.trained_tokens != 0) job.trained_tokens = said.trained_tokens;
  if (said.finished_at_s > 0) job.finished_at_us = said.finished_at_s * second_us;
  if (!said.model.empty()) job.model = said.model;
  if (said.seed && !job.method.seed) job.method.seed = said.seed;
  job.error = said.error;
  if (!may_follow(job.status, said.status)) return;
  if (said.status == JobStatus::failed) {
    close_job(job, said.status, said.error.empty() ? "it failed, and the provider does not say why" : said.error,
              now_us);
  } else if (said.status == JobStatus::cancelled) {
    close_job(job, said.status, said.error, now_us);
  } else if (said.status != JobStatus::succeeded) {
    job.status = said.status;  // success is said together with its version
  }
}

/// What a failed creation leaves behind.
/// Input   `again`: one was sent before it whose outcome nobody knows, so it is looked for before the next.
/// Output  true if it is certain that no job was made by this one.
[[nodiscard]] inline bool take_in_failed_creation(Job& job, const ProviderError& error, TimeUs now_us,
                                                  bool again = false) {
  job.error = error.what();
  switch (error.code) {
    case ProviderErrc::denied:
    case ProviderErrc::refused:
    case ProviderErrc::not_found:
      close_job(job, JobStatus::failed, error.what(), now_us);
      return true;
    case ProviderErrc::limited:
    case ProviderErrc::unavailable:
      if (again) return true;
      job.phase = JobPhase::stored;  // to be sent again as if for the first time
      job.sent_at_us = 0;
      return true;
    case ProviderErrc::unclear:
    case ProviderErrc::too_large:
    case ProviderErrc::cancelled:
      break;
  }
  return false;
}

}  // namespace canary
