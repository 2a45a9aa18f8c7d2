// tuner.hpp: takes fine-tune jobs from their row in the store to a registered version, whatever dies in between. Layer
// control; job_step.hpp says what comes next, this asks the provider and writes down the answer.
//
// Any number of processes may work on a store's jobs. What must not be done twice at once (files, creation) is done by the
// process that holds the job: its name and a time stand in the row, and another takes over when the time has passed, or at
// once when the holder is known to be gone. Polling needs no hold: rows are written against their revision, and a version
// is registered in one transaction with the closing of its job, so exactly once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/backoff.hpp"
#include "canary/control/job.hpp"
#include "canary/control/job_step.hpp"
#include "canary/control/provider.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"

namespace canary {

struct TunerOptions {
  std::string holder = "canary";  ///< this process, by a name that no other has
  /// True for a holder that is known to be no more; then its time is not waited for.
  std::function<bool(const std::string& holder)> is_gone = [](const std::string&) { return false; };
  /// SHA-256 of a file, in hex: it must still be the one that was checked. Not looked at without. May throw std::exception.
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
};

/// Works on the jobs of a store. One thread.
/// Errors  StoreError and RegistryError of the store; the next step goes on from what it has. Providers' are told as news.
class Tuner {
 public:
  using ProviderOf = std::function<Provider&(const Job&)>;

  /// Input   `provider_of`: may throw ProviderError for a provider that cannot be had now.
  Tuner(Store& store, ProviderOf provider_of, TunerOptions options = {})
      : store_{store}, provider_of_{std::move(provider_of)}, options_{std::move(options)} {}

  /// Writes a new job down, held by this process. Nothing is sent.
  /// Errors  RegistryError conflict for an id that is taken.
  void add(Job& job);

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
  JobNews act(Job& job, JobStep next, const UploadProgress& progress);
  JobNews upload(Job& job, bool training, const UploadProgress& progress);
  JobNews send(Job& job);
  JobNews look(Job& job);
  JobNews poll(Job& job);
  JobNews finish(Job& job, const ProviderJob& said);
  JobNews close(Job& job, JobStatus status, const std::string& error);
  JobNews troubled(Job& job, JobStep next, const ProviderError& error);
  void look_up(Job& job, std::string& shutdown_date);
  [[nodiscard]] JobNews waits(const Backoff& backoff, std::uint32_t failures, std::string words = {}) const;
  [[nodiscard]] JobNews after_save(const Job& job, bool saved) const;

  /// Of a job, while this process follows it.
  struct Memory {
    std::uint32_t failures = 0;   // in a row
    std::uint32_t looks = 0;      // for a job that may have been made
    std::uint32_t unchanged = 0;  // polls in a row
    std::uint32_t missing = 0;    // answers in a row that say there is no such job
    std::uint32_t nameless = 0;   // answers in a row that name no model
  };

  static constexpr std::uint32_t most_tries = 4;  // of what a job can do without, and of answers that make no sense

  Store& store_;
  ProviderOf provider_of_;
  TunerOptions options_;
  std::map<std::string, Memory, std::less<>> memory_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline void Tuner::add(Job& job) {
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
    const bool fits = stored->phase == job.phase && stored->holder == job.holder;  // a wish to cancel does
    job = *std::move(stored);
    if (!fits) return false;
  }
  return false;
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

inline JobNews Tuner::step(Job& job, const UploadProgress& progress) {
  const JobStep next = next_step(job);
  if (next == JobStep::none) return {.kind = JobNews::Kind::closed};
  if (wants_hold(next) && !hold(job)) {
    if (next_step(job) != next) return {.kind = JobNews::Kind::moved};
    return {.kind = JobNews::Kind::held,
            .wait_ms = backoff_ms(options_.poll, 1, options_.draw()),
            .words = "another process works on it: " + job.holder};
  }
  try {
    JobNews news = act(job, next, progress);
    memory_[job.id].failures = 0;
    return news;
  } catch (const ProviderError& error) {
    return troubled(job, next, error);
  }
}

inline JobNews Tuner::act(Job& job, JobStep next, const UploadProgress& progress) {
  switch (next) {
    case JobStep::upload_training:
      return upload(job, true, progress);
    case JobStep::upload_validation:
      return upload(job, false, progress);
    case JobStep::send:
      return send(job);
    case JobStep::look:
      return look(job);
    case JobStep::poll:
      return poll(job);
    case JobStep::give_up:
      return close(job, JobStatus::cancelled, "cancelled before it was sent");
    case JobStep::none:
      break;
  }
  return {.kind = JobNews::Kind::closed};
}

/// What a provider refuses of a job that it does not have yet ends the job; all else is told, and tried again.
inline JobNews Tuner::troubled(Job& job, JobStep next, const ProviderError& error) {
  Memory& memory = memory_[job.id];
  const bool certain = error.code == ProviderErrc::denied || error.code == ProviderErrc::refused ||
                       error.code == ProviderErrc::not_found;
  const bool before = next == JobStep::upload_training || next == JobStep::upload_validation;
  JobNews news = before && certain ? close(job, JobStatus::failed, error.what())
                                   : waits(options_.retry, ++memory.failures, error.what());
  news.wait_ms = std::max(news.wait_ms, error.retry_after_ms);
  news.trouble = error.code;
  news.words = error.what();
  news.hint = error.hint;
  return news;
}

inline JobNews Tuner::close(Job& job, JobStatus status, const std::string& error) {
  return after_save(job, save(job, [&](Job& next) {
                      close_job(next, status, error, options_.now_us());
                      next.holder.clear();
                      next.held_until_us = 0;
                    }));
}

inline JobNews Tuner::upload(Job& job, bool training, const UploadProgress& progress) {
  const std::string path = training ? job.training_file : job.validation_file;
  const std::string& expected = training ? job.training_file_hash : job.validation_file_hash;
  if (options_.hash_file && !expected.empty()) {
    std::string fault;
    try {
      if (options_.hash_file(path) != expected)
        fault = path + " is not the file that was checked: it has changed since";
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) return close(job, JobStatus::failed, fault);
  }
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
  const std::string id = provider_of_(job).upload(path, renewing);
  if (job.phase != JobPhase::stored || job.holder != options_.holder) return {.kind = JobNews::Kind::moved};
  return after_save(job,
                    save(job, [&](Job& next) { (training ? next.training_file_id : next.validation_file_id) = id; }));
}

inline JobNews Tuner::send(Job& job) {
  Provider& provider = provider_of_(job);
  const bool written = save(job, [&](Job& next) {
    next.phase = JobPhase::creating;
    next.sent_at_us = options_.now_us();
  });
  if (!written || job.phase != JobPhase::creating) return {.kind = JobNews::Kind::moved};
  memory_[job.id].looks = 0;
  std::optional<ProviderJob> said;
  try {
    said = provider.create_job(job);
  } catch (const ProviderError& error) {
    (void)save(job, [&](Job& next) {
      if (take_in_failed_creation(next, error, options_.now_us()) && next.phase == JobPhase::closed)
        next.holder.clear();
    });
    JobNews news;
    if (job.phase == JobPhase::closed) {
      news.kind = JobNews::Kind::closed;
    } else {
      news = waits(error.code == ProviderErrc::unclear ? options_.look : options_.retry, ++memory_[job.id].failures);
      news.wait_ms = std::max(news.wait_ms, error.retry_after_ms);
    }
    news.trouble = error.code;
    news.words = error.what();
    news.hint = error.hint;
    return news;
  }
  return after_save(job, save(job, [&](Job& next) { take_in(next, *said, options_.now_us()); }));
}

inline JobNews Tuner::look(Job& job) {
  constexpr TimeUs second_us = 1'000'000;
  Provider& provider = provider_of_(job);
  const std::vector<ProviderJob> found = provider.find_jobs(job, job.sent_at_us / second_us);
  if (!found.empty()) {
    for (std::size_t i = 1; i != found.size(); ++i) {
      if (has_ended(found[i].status)) continue;
      try {
        (void)provider.cancel_job(found[i].id);  // made twice, by a sender that was thought to be dead
      } catch (const ProviderError&) {           // NOLINT(bugprone-empty-catch): it may have ended meanwhile
      }
    }
    return after_save(job, save(job, [&](Job& next) { take_in(next, found.front(), options_.now_us()); }));
  }
  const TimeUs settled = job.sent_at_us + TimeUs{options_.settle_ms(job)} * 1'000;
  const TimeUs now = options_.now_us();
  // A clock that went back must not make anybody wait for ever.
  if (now < settled && now >= job.sent_at_us) {
    JobNews news =
        waits(options_.look, ++memory_[job.id].looks, "its creation was sent, and the provider does not show it yet");
    const auto left_ms = static_cast<std::uint32_t>((settled - now) / 1'000 + 1);
    news.wait_ms = std::min(news.wait_ms, left_ms);
    return news;
  }
  if (job.cancel_asked) return close(job, JobStatus::cancelled, "cancelled before the provider had it");
  return send(job);
}

inline JobNews Tuner::poll(Job& job) {
  Provider& provider = provider_of_(job);
  Memory& memory = memory_[job.id];
  std::optional<ProviderJob> said;
  if (job.cancel_asked) {
    try {
      said = provider.cancel_job(job.provider_job_id);
    } catch (const ProviderError& error) {
      if (error.code != ProviderErrc::refused) throw;  // else it has ended, which the provider tells next
    }
  }
  try {
    if (!said || !has_ended(said->status)) said = provider.get_job(job.provider_job_id);
    memory.missing = 0;
  } catch (const ProviderError& error) {
    const bool settled = options_.now_us() > job.sent_at_us + TimeUs{options_.settle_ms(job)} * 1'000;
    if (error.code != ProviderErrc::not_found || ++memory.missing < most_tries || !settled) throw;
    return close(job, JobStatus::failed, "the provider does not know the job any more");
  }
  if (said->status == JobStatus::succeeded) return finish(job, *said);
  Job next = job;
  take_in(next, *said, options_.now_us());
  if (next == job) return waits(options_.poll, ++memory.unchanged);
  memory.unchanged = 0;
  const bool saved = save(job, [&](Job& row) { take_in(row, *said, options_.now_us()); });
  if (!saved || job.phase == JobPhase::closed) return after_save(job, saved);
  return waits(options_.poll, 1);
}

/// What a version can do without is asked for a few times.
inline void Tuner::look_up(Job& job, std::string& shutdown_date) {
  const auto try_to = [&](auto&& ask) {
    try {
      ask(provider_of_(job));
    } catch (const ProviderError& error) {
      const bool again = may_change(error.code) && memory_[job.id].failures + 1 < most_tries;
      if (again || error.code == ProviderErrc::cancelled) throw;
    }
  };
  try_to([&](Provider& provider) { job.checkpoints = provider.checkpoints(job.provider_job_id); });
  try_to([&](Provider& provider) {
    shutdown_date = provider.shutdown_date(job.model);
    if (shutdown_date.empty()) shutdown_date = provider.shutdown_date(job.base_model);
  });
}

inline JobNews Tuner::finish(Job& job, const ProviderJob& said) {
  if (said.model.empty()) {
    if (++memory_[job.id].nameless < most_tries)
      return waits(options_.poll, memory_[job.id].nameless, "it has succeeded, and the provider names no model yet");
    return close(job, JobStatus::failed, "it has succeeded, and the provider names no model");
  }
  Job done = job;
  take_in(done, said, options_.now_us());
  std::string shutdown_date;
  look_up(done, shutdown_date);
  close_job(done, JobStatus::succeeded, {}, options_.now_us());
  done.changed_at_us = options_.now_us();
  done.holder.clear();
  done.held_until_us = 0;
  ++done.revision;
  NewVersion wanted{.model = done.model, .provider = done.provider, .note = done.note, .shutdown_date = shutdown_date};
  wanted.lineage = {done.id, done.training_file_hash, done.base_model, done.prompt_version};
  ChangeOptions change{.actor = done.actor, .note = done.note};
  try {
    done.version = Registry{store_, options_.now_us}.register_job(done, wanted, change).changed.number;
    job = std::move(done);
    return {.kind = JobNews::Kind::closed};
  } catch (const RegistryError& error) {
    if (error.code == RegistryErrc::conflict) {  // somebody else has done something with the job
      if (std::optional<Job> stored = store_.find_job(job.id)) job = *std::move(stored);
      return {.kind = JobNews::Kind::moved};
    }
    return close(job, JobStatus::failed, "its model cannot be registered: " + std::string{error.what()});
  }
}

}  // namespace canary
