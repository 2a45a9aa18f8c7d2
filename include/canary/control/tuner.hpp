// tuner.hpp: takes fine-tune jobs from their row in the store to a registered version, whatever dies in between. Layer
// control; job_step.hpp says what comes next, this asks the provider and writes down the answer.
//
// Any number of processes may work on a store's jobs. What must not be done twice at once (files, creation) is done by the
// process that holds the job: its name and a time stand in the row, and another takes over when the time has passed, or at
// once when the holder is known to be gone. Polling needs no hold: rows are written against their revision, and a version
// is registered in one transaction with the closing of its job, so exactly once. Which of a provider's jobs is followed is
// settled by the row: once it names one, any other that was made for it is cancelled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/control/backoff.hpp"
#include "canary/control/job.hpp"
#include "canary/control/job_row.hpp"
#include "canary/control/job_step.hpp"
#include "canary/control/provider.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"
#include "canary/control/time_text.hpp"

namespace canary {

struct TunerOptions {
  std::string holder = "canary";  ///< this process, by a name that no other has
  /// True for a holder that is known to be no more; then its time is not waited for.
  std::function<bool(const std::string& holder)> is_gone = [](const std::string&) { return false; };
  /// SHA-256 of a file, in hex: it must still be the one that was checked. Not looked at without. Throws std::system_error:
  /// a file that is gone ends the job, any other trouble is waited for.
  std::function<std::string(const std::string& path)> hash_file = {};
  std::function<TimeUs()> now_us = Registry::system_time;
  std::function<double()> draw = [] { return 0.5; };  ///< evenly in [0, 1)
  std::uint32_t hold_ms = 120'000;                    ///< longer than any call of a provider but an upload
  /// Longest that the creation of a job may take to show at its provider.
  std::function<std::uint32_t(const Job& job)> settle_ms = [](const Job&) -> std::uint32_t { return 60'000; };
  Backoff look{.first_ms = 500, .longest_ms = 10'000};      ///< between two looks for a job that may have been made
  Backoff poll{.first_ms = 500, .longest_ms = 60'000};      ///< while nothing changes
  Backoff retry{.first_ms = 1'000, .longest_ms = 120'000};  ///< after what may be gone later
};

/// What one step came to.
struct JobNews {
  enum class Kind : std::uint8_t {
    moved,   ///< something was done, and the next step may be taken at once
    waits,   ///< nothing to do before `wait_ms` is over
    held,    ///< another process works on it
    closed,  ///< it has ended; on success its version is registered
  };
  Kind kind = Kind::moved;
  std::uint32_t wait_ms = 0;
  std::optional<ProviderErrc> trouble = {};  ///< what the provider answered instead
  std::string words = {};                    ///< what stands in the way, for people
  std::string hint = {};
  bool lasting = false;  ///< waiting will not help: somebody must do something
};

/// Refuses what the registry would refuse once the training is paid for.
/// Errors  RegistryError invalid.
void check_wanted(const Job& job);

/// Works on the jobs of a store. One thread.
/// Errors  StoreError and RegistryError of the store; the next step goes on from what it has. Providers' are told as news.
class Tuner {
 public:
  using ProviderOf = std::function<Provider&(const Job&)>;

  /// Input   `provider_of`: may throw ProviderError for a provider that cannot be had now.
  Tuner(Store& store, ProviderOf provider_of, TunerOptions options = {})
      : store_{store}, provider_of_{std::move(provider_of)}, options_{std::move(options)} {}

  /// Writes a new job down, held by this process. Nothing is sent.
  /// Errors  RegistryError conflict for an id that is taken, invalid as check_wanted().
  void add(Job& job);

  /// Writes down once more that this process holds it.
  /// Output  false if another does by now.
  bool renew(Job& job);

  /// Does what comes next for a job, and brings `job` to what the store has then.
  JobNews step(Job& job, const UploadProgress& progress = {});

  /// Writes down that somebody wants it cancelled; step() tells the provider.
  /// Errors  RegistryError illegal_step for a job that has ended.
  void ask_cancel(Job& job);

  /// Lets go of a job, so that others need not wait.
  void release(Job& job);

  /// How long to leave a job alone that nothing new was heard of.
  [[nodiscard]] const TunerOptions& options() const noexcept { return options_; }

 private:
  using Mutate = std::function<void(Job&)>;

  [[nodiscard]] bool hold(Job& job);
  [[nodiscard]] bool save(Job& job, const Mutate& mutate);
  [[nodiscard]] bool reload(Job& job, JobStep next);
  JobNews act(Job& job, JobStep next, Provider& provider, const UploadProgress& progress);
  JobNews upload(Job& job, bool training, Provider& provider, const UploadProgress& progress);
  [[nodiscard]] std::string file_fault(const std::string& path, const std::string& expected_hash) const;
  JobNews send(Job& job, Provider& provider);
  JobNews not_made(Job& job, bool again, const ProviderError& error);
  JobNews look(Job& job, Provider& provider);
  JobNews follow(Job& job, Provider& provider, const std::vector<ProviderJob>& made);
  [[nodiscard]] static std::vector<ProviderJob> found_quietly(const Job& job, Provider& provider);
  static void cancel_others(const std::vector<ProviderJob>& made, const std::string& kept, Provider& provider);
  JobNews poll(Job& job, Provider& provider);
  JobNews unknown_there(Job& job, const ProviderError& error);
  JobNews finish(Job& job, const ProviderJob& said, Provider& provider);
  JobNews stay_open(Job& job, const ProviderJob& said, const std::string& words);
  JobNews close(Job& job, JobStatus status, const std::string& error);
  JobNews troubled(Job& job, JobStep next, const ProviderError& error);
  void look_up(Job& job, std::string& shutdown_date, Provider& provider);
  [[nodiscard]] TimeUs unsettled_us(const Job& job);
  [[nodiscard]] JobNews waits(const Backoff& backoff, std::uint32_t failures, std::string words = {}) const;
  [[nodiscard]] JobNews after_save(const Job& job, bool saved) const;
  static void tell(JobNews& news, const ProviderError& error);

  /// Of a job, while this process follows it.
  struct Memory {
    std::uint32_t failures = 0;   // in a row
    std::uint32_t looks = 0;      // for a job that may have been made
    std::uint32_t sends = 0;      // of its creation
    std::uint32_t unchanged = 0;  // polls in a row
    TimeUs first_look_us = 0;     // after its creation was sent last
    bool sole = false;            // this process sent its creation, once, and was answered
    bool sent_again = false;      // and here more than once
  };

  static constexpr std::uint32_t most_tries = 4;                 // of what a job can do without
  static constexpr std::uint32_t most_sends = 6;                 // of a creation that is never answered, by one process
  static constexpr TimeUs patience_us = TimeUs{5} * 60'000'000;  // with a success that names no model

  Store& store_;
  ProviderOf provider_of_;
  TunerOptions options_;
  std::map<std::string, Memory, std::less<>> memory_;
};

// ---------------------------------------------------------------------------------------------------------------------

namespace detail {

/// What is registered of a job.
[[nodiscard]] inline NewVersion version_of(const Job& job, const std::string& shutdown_date) {
  NewVersion wanted{.model = job.model, .provider = job.provider, .note = job.note, .shutdown_date = shutdown_date};
  wanted.lineage = {job.id, job.training_file_hash, job.base_model, job.prompt_version};
  return wanted;
}

/// Leaves out of a row what it can do without, until a store takes it.
inline void fit_row(Job& job) {
  constexpr std::size_t spare = 1'024;  // the closing is longer than what stood before
  const auto fits = [&job] { return job_text(job).size() + spare <= max_job_bytes; };
  if (fits()) return;
  for (Checkpoint& each : job.checkpoints) each.metrics.clear();
  while (!fits() && !job.checkpoints.empty())  // the oldest half
    job.checkpoints.erase(job.checkpoints.begin(),
                          job.checkpoints.begin() + static_cast<std::ptrdiff_t>((job.checkpoints.size() + 1) / 2));
}

}  // namespace detail

inline void check_wanted(const Job& job) {
  NewVersion wanted = detail::version_of(job, {});
  wanted.model = "to come";
  detail::check_version(wanted);
  detail::check_text("actor's name", job.actor, max_model_bytes, false);
}

inline void Tuner::add(Job& job) {
  check_wanted(job);
  const TimeUs now = options_.now_us();
  job.created_at_us = job.changed_at_us = now;
  job.holder = options_.holder;
  job.held_until_us = now + TimeUs{options_.hold_ms} * 1'000;
  job.revision = 1;
  if (store_.put_job(job) == CommitResult::conflict)
    throw RegistryError{RegistryErrc::conflict, "there is a job " + job.id + " already", "say it again"};
}

/// True when the row stands as `mutate` made it. False when somebody else has done something that this does not fit: `job`
/// is then what they made of it.
inline bool Tuner::save(Job& job, const Mutate& mutate) {
  constexpr int most_attempts = 16;
  for (int i = 0; i != most_attempts; ++i) {
    Job next = job;
    mutate(next);
    const TimeUs now = options_.now_us();
    if (next.holder == options_.holder) next.held_until_us = now + TimeUs{options_.hold_ms} * 1'000;
    next.changed_at_us = now;
    ++next.revision;
    if (store_.put_job(next) == CommitResult::done) {
      job = std::move(next);
      return true;
    }
    std::optional<Job> stored = store_.find_job(job.id);
    if (!stored)
      throw RegistryError{RegistryErrc::not_found, "there is no job " + job.id + " any more",
                          "was an older backup restored?"};
    const bool fits = stored->phase == job.phase && stored->holder == job.holder &&  // a wish to cancel does
                      stored->provider_job_id == job.provider_job_id;
    job = *std::move(stored);
    if (!fits) return false;
  }
  return false;
}

/// Brings in what others have written meanwhile, a wish to cancel for one.
/// Output  false if something else comes next by now, or another process is at it.
inline bool Tuner::reload(Job& job, JobStep next) {
  std::optional<Job> stored = store_.find_job(job.id);
  if (!stored)
    throw RegistryError{RegistryErrc::not_found, "there is no job " + job.id + " any more",
                        "was an older backup restored?"};
  job = *std::move(stored);
  return next_step(job) == next && (!wants_hold(next) || job.holder == options_.holder);
}

inline bool Tuner::renew(Job& job) {
  return save(job, [](Job&) {}) && job.holder == options_.holder;
}

inline bool Tuner::hold(Job& job) {
  const TimeUs now = options_.now_us();
  if (job.holder == options_.holder && job.held_until_us > now + TimeUs{options_.hold_ms} * 500) return true;
  const bool others = !job.holder.empty() && job.holder != options_.holder && job.held_until_us > now;
  if (others && !options_.is_gone(job.holder)) return false;
  return save(job, [&](Job& next) { next.holder = options_.holder; }) && job.holder == options_.holder;
}

inline void Tuner::release(Job& job) {
  if (job.holder == options_.holder)
    (void)save(job, [](Job& next) {
      next.holder.clear();
      next.held_until_us = 0;
    });
}

inline void Tuner::ask_cancel(Job& job) {
  do {
    if (has_ended(job.status) || job.phase == JobPhase::closed)
      throw RegistryError{RegistryErrc::illegal_step,
                          "job " + job.id + " has ended: it is " + std::string{to_string(job.status)},
                          "only QUEUED and RUNNING jobs can be cancelled"};
  } while (!save(job, [](Job& next) { next.cancel_asked = true; }));
}

inline JobNews Tuner::waits(const Backoff& backoff, std::uint32_t failures, std::string words) const {
  JobNews news{.kind = JobNews::Kind::waits, .wait_ms = backoff_ms(backoff, failures, options_.draw())};
  news.words = std::move(words);
  return news;
}

inline JobNews Tuner::after_save(const Job& job, bool saved) const {
  if (saved && job.phase == JobPhase::closed) return {.kind = JobNews::Kind::closed};
  return {.kind = JobNews::Kind::moved};  // what somebody else made of it is looked at next
}

inline void Tuner::tell(JobNews& news, const ProviderError& error) {
  news.wait_ms = std::max(news.wait_ms, error.retry_after_ms);
  news.trouble = error.code;
  news.words = error.what();
  news.hint = error.hint;
  news.lasting = error.code == ProviderErrc::denied || error.code == ProviderErrc::too_large;
}

inline JobNews Tuner::step(Job& job, const UploadProgress& progress) {
  JobStep next = next_step(job);
  if (next == JobStep::none) return {.kind = JobNews::Kind::closed};
  if (wants_hold(next)) {
    if (!hold(job)) {
      if (next_step(job) != next) return {.kind = JobNews::Kind::moved};
      return {.kind = JobNews::Kind::held,
              .wait_ms = backoff_ms(options_.poll, 1, options_.draw()),
              .words = "another process works on it: " + job.holder};
    }
    next = next_step(job);  // taking hold may have brought a wish to cancel
    if (next == JobStep::none) return {.kind = JobNews::Kind::closed};
  }
  if (next == JobStep::give_up) return close(job, JobStatus::cancelled, "cancelled before it was sent");
  Provider* provider = nullptr;
  try {
    provider = &provider_of_(job);
  } catch (const ProviderError& error) {
    return troubled(job, JobStep::none, error);  // it has refused nothing of the job
  }
  try {
    JobNews news = act(job, next, *provider, progress);
    if (!news.trouble) memory_[job.id].failures = 0;
    return news;
  } catch (const ProviderError& error) {
    return troubled(job, next, error);
  }
}

inline JobNews Tuner::act(Job& job, JobStep next, Provider& provider, const UploadProgress& progress) {
  switch (next) {
    case JobStep::upload_training:
      return upload(job, true, provider, progress);
    case JobStep::upload_validation:
      return upload(job, false, provider, progress);
    case JobStep::send:
      return send(job, provider);
    case JobStep::look:
      return look(job, provider);
    case JobStep::poll:
      return poll(job, provider);
    case JobStep::give_up:
    case JobStep::none:
      break;
  }
  return {.kind = JobNews::Kind::closed};
}

/// What a provider refuses of a job that it does not have yet ends the job; all else is told, and tried again.
inline JobNews Tuner::troubled(Job& job, JobStep next, const ProviderError& error) {
  const bool certain = error.code == ProviderErrc::denied || error.code == ProviderErrc::refused ||
                       error.code == ProviderErrc::not_found;
  const bool before = next == JobStep::upload_training || next == JobStep::upload_validation;
  JobNews news = before && certain ? close(job, JobStatus::failed, error.what())
                                   : waits(options_.retry, ++memory_[job.id].failures, error.what());
  tell(news, error);
  return news;
}

inline JobNews Tuner::close(Job& job, JobStatus status, const std::string& error) {
  return after_save(job, save(job, [&](Job& next) {
                      close_job(next, status, error, options_.now_us());
                      next.holder.clear();
                      next.held_until_us = 0;
                    }));
}

/// Why a file is not the one that was checked; empty if it is.
/// Errors  ProviderError unavailable for one that cannot be read for now.
inline std::string Tuner::file_fault(const std::string& path, const std::string& expected_hash) const {
  if (!options_.hash_file || expected_hash.empty()) return {};
  try {
    if (options_.hash_file(path) == expected_hash) return {};
    return path + " is not the file that was checked: it has changed since";
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::no_such_file_or_directory) return error.what();
    throw ProviderError{ProviderErrc::unavailable, error.what(), "it is read again later"};
  }
}

inline JobNews Tuner::upload(Job& job, bool training, Provider& provider, const UploadProgress& progress) {
  const std::string path = training ? job.training_file : job.validation_file;
  const std::string fault = file_fault(path, training ? job.training_file_hash : job.validation_file_hash);
  if (!fault.empty()) return close(job, JobStatus::failed, fault);
  // Half of the hold may pass before it is renewed.
  TimeUs renew_at = options_.now_us() + TimeUs{options_.hold_ms} * 500;
  const UploadProgress renewing = [&](std::uint64_t sent, std::uint64_t total) {
    if (progress) progress(sent, total);
    if (options_.now_us() < renew_at) return;
    renew_at = options_.now_us() + TimeUs{options_.hold_ms} * 500;
    try {
      (void)save(job, [](Job&) {});
    } catch (const StoreError&) {  // NOLINT(bugprone-empty-catch): if it is still away afterwards, that is told then
    }
  };
  const std::string id = provider.upload(path, renewing);
  if (job.phase != JobPhase::stored || job.holder != options_.holder) return {.kind = JobNews::Kind::moved};
  return after_save(job,
                    save(job, [&](Job& next) { (training ? next.training_file_id : next.validation_file_id) = id; }));
}

inline JobNews Tuner::send(Job& job, Provider& provider) {
  const bool again = job.phase == JobPhase::creating;  // one that was sent before may have been done after all
  const bool written = save(job, [&](Job& next) {
    if (next.cancel_asked) return;  // by another process, just now
    next.phase = JobPhase::creating;
    next.sent_at_us = options_.now_us();
  });
  if (!written || job.cancel_asked || job.phase != JobPhase::creating) return {.kind = JobNews::Kind::moved};
  Memory& memory = memory_[job.id];
  memory.looks = 0;
  memory.first_look_us = 0;
  ++memory.sends;
  std::vector<ProviderJob> made;
  try {
    const ProviderJob said = provider.create_job(job);
    if (again) made = found_quietly(job, provider);
    if (std::none_of(made.begin(), made.end(), [&](const ProviderJob& each) { return each.id == said.id; }))
      made.push_back(said);
  } catch (const ProviderError& error) {
    const bool certain = error.code == ProviderErrc::denied || error.code == ProviderErrc::refused ||
                         error.code == ProviderErrc::not_found;
    if (again && certain) made = found_quietly(job, provider);  // before it is closed for that
    if (made.empty()) return not_made(job, again, error);
  }
  memory.sole = !again;
  memory.sent_again = again;
  return follow(job, provider, made);
}

inline JobNews Tuner::not_made(Job& job, bool again, const ProviderError& error) {
  (void)save(job, [&](Job& next) {
    if (take_in_failed_creation(next, error, options_.now_us(), again) && next.phase == JobPhase::closed)
      next.holder.clear();
  });
  JobNews news{.kind = JobNews::Kind::closed};
  if (job.phase != JobPhase::closed)
    news = waits(error.code == ProviderErrc::unclear ? options_.look : options_.retry, ++memory_[job.id].failures);
  tell(news, error);
  return news;
}

/// Every job that was made for ours; none where the provider cannot tell now.
inline std::vector<ProviderJob> Tuner::found_quietly(const Job& job, Provider& provider) {
  try {
    return provider.find_jobs(job, made_since_s(job));
  } catch (const ProviderError&) {
    return {};  // another look comes with the polls
  }
}

/// Made more than once, by a sender that was thought to be dead, or by an answer that was lost for good.
inline void Tuner::cancel_others(const std::vector<ProviderJob>& made, const std::string& kept, Provider& provider) {
  for (const ProviderJob& each : made) {
    if (each.id == kept || has_ended(each.status)) continue;
    try {
      (void)provider.cancel_job(each.id);
    } catch (const ProviderError&) {  // NOLINT(bugprone-empty-catch): it may have ended meanwhile
    }
  }
}

/// Writes down which of these is followed, the oldest that has not ended badly, then cancels the others.
inline JobNews Tuner::follow(Job& job, Provider& provider, const std::vector<ProviderJob>& made) {
  const auto good = std::find_if(made.begin(), made.end(), [](const ProviderJob& each) {
    return each.status != JobStatus::failed && each.status != JobStatus::cancelled;
  });
  const ProviderJob& kept = good == made.end() ? made.front() : *good;
  const bool saved = save(job, [&](Job& next) { take_in(next, kept, options_.now_us()); });
  // Whoever else has taken the job over follows another one, or has given it up; or still looks, and will find these.
  if (saved || job.phase == JobPhase::following || job.phase == JobPhase::closed)
    cancel_others(made, job.provider_job_id, provider);
  return after_save(job, saved);
}

/// How long a creation may still take to show; not above 0 once it has had its time. A clock that went back counts from this
/// process's first look.
inline TimeUs Tuner::unsettled_us(const Job& job) {
  const TimeUs now = options_.now_us();
  Memory& memory = memory_[job.id];
  if (memory.first_look_us == 0 || memory.first_look_us > now) memory.first_look_us = now;
  const bool known = job.sent_at_us != 0 && job.sent_at_us <= now;
  return (known ? job.sent_at_us : memory.first_look_us) + TimeUs{options_.settle_ms(job)} * 1'000 - now;
}

inline JobNews Tuner::look(Job& job, Provider& provider) {
  if (!reload(job, JobStep::look)) return {.kind = JobNews::Kind::moved};
  const std::vector<ProviderJob> found = provider.find_jobs(job, made_since_s(job));
  if (!found.empty()) return follow(job, provider, found);
  Memory& memory = memory_[job.id];
  if (const TimeUs left_us = unsettled_us(job); left_us > 0) {
    JobNews news = waits(options_.look, ++memory.looks, "its creation was sent, and the provider does not show it yet");
    news.wait_ms = static_cast<std::uint32_t>(std::min<TimeUs>(news.wait_ms, left_us / 1'000 + 1));
    return news;
  }
  if (job.cancel_asked) return close(job, JobStatus::cancelled, "cancelled before the provider had it");
  if (!files_are_there(job))  // a row of an older backup
    return after_save(job, save(job, [](Job& next) {
                        next.phase = JobPhase::stored;
                        next.sent_at_us = 0;
                      }));
  if (memory.sends < most_sends) return send(job, provider);
  JobNews news = waits(options_.retry, ++memory.looks,
                       "its creation was sent " + std::to_string(memory.sends) +
                           " times and never answered: it is looked for, and not sent again");
  news.trouble = ProviderErrc::unclear;
  news.hint = "see whether the provider is well; canary train watch " + job.id + " begins anew, canary train cancel " +
              job.id + " gives it up";
  return news;
}

inline JobNews Tuner::poll(Job& job, Provider& provider) {
  if (!reload(job, JobStep::poll)) return {.kind = JobNews::Kind::moved};
  const bool twins = !memory_[job.id].sole && unsettled_us(job) > 0;
  if (twins) cancel_others(found_quietly(job, provider), job.provider_job_id, provider);
  Memory& memory = memory_[job.id];
  std::optional<ProviderError> not_cancelled;
  std::optional<ProviderJob> said;
  if (job.cancel_asked) {
    try {
      said = provider.cancel_job(job.provider_job_id);
    } catch (const ProviderError& error) {
      if (error.code == ProviderErrc::cancelled) throw;
      not_cancelled = error;  // it may have ended, which the provider tells next
    }
  }
  try {
    if (!said || !has_ended(said->status)) said = provider.get_job(job.provider_job_id);
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::not_found) throw;
    return unknown_there(job, error);
  }
  if (said->status == JobStatus::succeeded) {
    if (!twins || !memory.sent_again) return finish(job, *said, provider);
    return waits(options_.look, ++memory.looks, "it has succeeded; whether it was made twice will show in a moment");
  }
  Job next = job;
  take_in(next, *said, options_.now_us());
  const bool changed = next != job;
  memory.unchanged = changed ? 0 : memory.unchanged;
  if (changed) {
    const bool saved = save(job, [&](Job& row) { take_in(row, *said, options_.now_us()); });
    if (!saved || job.phase == JobPhase::closed) return after_save(job, saved);
  }
  if (!not_cancelled) return waits(options_.poll, ++memory.unchanged);
  JobNews news = waits(options_.retry, ++memory.failures);
  tell(news, *not_cancelled);
  return news;
}

/// A provider that does not know a job which it had may be asked with another key, or be another place. Nothing ends for
/// that but what somebody wants ended.
inline JobNews Tuner::unknown_there(Job& job, const ProviderError& error) {
  if (job.cancel_asked && unsettled_us(job) <= 0)
    return close(job, JobStatus::cancelled,
                 "cancelled; the provider does not know the job: " + std::string{error.what()});
  throw ProviderError{ProviderErrc::not_found,
                      "the provider does not know the job any more: " + std::string{error.what()},
                      "is it asked with another key, or at another base_url, than when the job was made? canary train "
                      "cancel " +
                          job.id + " closes it",
                      error.retry_after_ms};
}

/// What a version can do without is asked for a few times.
inline void Tuner::look_up(Job& job, std::string& shutdown_date, Provider& provider) {
  const auto try_to = [&](auto&& ask) {
    try {
      ask();
    } catch (const ProviderError& error) {
      const bool again = may_change(error.code) && memory_[job.id].failures + 1 < most_tries;
      if (again || error.code == ProviderErrc::cancelled) throw;
    }
  };
  try_to([&] { job.checkpoints = provider.checkpoints(job.provider_job_id); });
  try_to([&] {
    shutdown_date = provider.shutdown_date(job.model);
    if (shutdown_date.empty()) shutdown_date = provider.shutdown_date(job.base_model);
  });
  if (!is_date(shutdown_date)) shutdown_date.clear();
}

/// Success that cannot be registered: what is known of it is stored, and told. It has been paid for, so it ends by a person.
inline JobNews Tuner::stay_open(Job& job, const ProviderJob& said, const std::string& words) {
  const auto mutate = [&](Job& row) {
    take_in(row, said, options_.now_us());
    if (row.finished_at_us == 0) row.finished_at_us = options_.now_us();
    row.error = words;
  };
  Job next = job;
  mutate(next);
  if (next != job && !save(job, mutate)) return {.kind = JobNews::Kind::moved};
  return waits(options_.poll, ++memory_[job.id].unchanged, words);
}

inline JobNews Tuner::finish(Job& job, const ProviderJob& said, Provider& provider) {
  const std::string closes = "canary train cancel " + job.id + " closes it";
  if (said.model.empty()) {
    JobNews news = stay_open(job, said, "it has succeeded, and the provider names no model yet");
    if (news.kind != JobNews::Kind::waits || options_.now_us() - job.finished_at_us < patience_us) return news;
    if (job.cancel_asked) return close(job, JobStatus::cancelled, "it has succeeded, and the provider names no model");
    news.hint = "see the provider's own pages for its name; " + closes;
    return news;
  }
  Job done = job;
  take_in(done, said, options_.now_us());
  std::string shutdown_date;
  look_up(done, shutdown_date, provider);
  close_job(done, JobStatus::succeeded, {}, options_.now_us());
  done.changed_at_us = options_.now_us();
  done.holder.clear();
  done.held_until_us = 0;
  ++done.revision;
  detail::fit_row(done);
  try {
    const NewVersion wanted = detail::version_of(done, shutdown_date);
    const ChangeOptions change{.actor = done.actor, .note = done.note};
    done.version = Registry{store_, options_.now_us}.register_job(done, wanted, change).changed.number;
    job = std::move(done);
    return {.kind = JobNews::Kind::closed};
  } catch (const RegistryError& error) {
    if (error.code == RegistryErrc::conflict) {  // somebody else has done something with the job
      if (std::optional<Job> stored = store_.find_job(job.id)) job = *std::move(stored);
      return {.kind = JobNews::Kind::moved};
    }
    const std::string words = "its model cannot be registered: " + std::string{error.what()};
    JobNews news = stay_open(job, said, words);
    if (news.kind == JobNews::Kind::waits && job.cancel_asked) return close(job, JobStatus::cancelled, words);
    news.hint = (error.hint.empty() ? std::string{} : error.hint + "; ") + "canary model register " + job.task +
                " takes a name by hand; " + closes;
    news.lasting = true;
    return news;
  }
}

}  // namespace canary
