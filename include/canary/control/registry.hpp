// registry.hpp: the only writer of traffic: load, plan, commit. Layer control.
// A change is planned from the task as it stands and committed against that revision. When somebody else was first, it is
// planned anew, as often as that is safe: a share, a promotion or a registration means the same on the new revision. A
// plain rollback of a task does not, since the change it would take back is another one now.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/plan.hpp"
#include "canary/control/plan_epoch.hpp"
#include "canary/control/plan_rollout.hpp"
#include "canary/control/store.hpp"
#include "canary/control/store_text.hpp"
#include "canary/control/utf8.hpp"
#include "canary/core/task_state.hpp"

namespace canary {

/// Who asks for a change and why; `dry_run` plans it and writes nothing.
struct ChangeOptions {
  std::string actor = {};
  std::string note = {};
  std::string evidence = {};
  bool dry_run = false;
  /// The change is meant for the task at this revision alone: at another, or when somebody else is first, it is a conflict,
  /// and never planned anew.
  std::optional<std::uint32_t> expected_revision = {};
  std::vector<double> latency_margins = {};  ///< of the task's latency metrics: thresholds are frozen with them too
  std::vector<std::uint32_t> slos_us = {};   ///< of theirs: thresholds, whatever the baseline did
};

/// Adds the margins and the objectives of a task's latency metrics, by which thresholds of latency are frozen.
void add_thresholds(ChangeOptions& options, const GuardConfig& guard);

/// What a change did, or would do.
struct Change {
  TaskRecord before;     ///< the versions that the change looked at
  HistoryRow row;        ///< as it stands in history now; with dry_run, as it would
  ModelVersion changed;  ///< the version that the change named, after it; number 0 when it named none
};

/// TASK@N taken apart.
struct VersionId {
  std::string_view task;
  std::uint32_t number = 0;
};

/// Errors  nothing for a text that is no id of a registered version: TASK@default is none.
[[nodiscard]] std::optional<VersionId> parse_version_id(std::string_view id) noexcept;

/// Changes the versions and the traffic of tasks in a store. One thread at a time.
/// Errors  RegistryError when the change cannot be made, StoreError when the store cannot do it; nothing was changed then.
class Registry {
 public:
  using Clock = std::function<TimeUs()>;

  explicit Registry(Store& store, Clock clock = system_time) : store_{store}, clock_{std::move(clock)} {}

  /// A new CANDIDATE at 0 %.
  Change register_version(std::string_view task, const NewVersion& wanted, const ChangeOptions& options = {});
  /// The version that came of a fine-tune job, in one transaction with the job's closing.
  /// Input   `job`: as it shall stand but for its version, with the revision after that of its row.
  /// Errors  RegistryError conflict too when somebody else has changed the job.
  Change register_job(Job job, const NewVersion& wanted, const ChangeOptions& options = {});
  /// Gives a version this share; its base alone gives or takes.
  Change canary(std::string_view task, std::uint32_t number, std::uint32_t ppm, const ChangeOptions& options = {});
  /// Makes a version ACTIVE with this share. Below 100 % the others give in proportion; at 100 % they go to 0, and those
  /// that were ACTIVE to DEPRECATED.
  Change promote(std::string_view task, std::uint32_t number, std::uint32_t ppm = total_ppm,
                 const ChangeOptions& options = {});
  /// One version to 0 % and DEPRECATED.
  Change rollback_version(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  /// Partition, shares and statuses as they stood before the last change of weights, or at `revision`.
  Change rollback(std::string_view task, std::optional<std::uint32_t> revision = {}, const ChangeOptions& options = {});
  Change deprecate(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  Change archive(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});

  // Rollouts: plan_rollout.hpp says what each does.
  Change start_rollout(std::string_view task, std::uint32_t number, const std::vector<std::uint32_t>& steps_ppm,
                       const ChangeOptions& options = {});
  Change pause_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  Change resume_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  Change advance_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  Change abort_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});
  /// The guard's: a CANDIDATE to 0 % and DEPRECATED, whether it has a rollout or not.
  Change rollback_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options = {});

  [[nodiscard]] static TimeUs system_time() {
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  }

  /// Times a change is planned anew when others are first.
  static constexpr int most_attempts = 64;

 private:
  using Plan = std::function<Commit(const TaskRecord&, const Author&)>;

  Change change(std::string_view task, std::uint32_t number, const ChangeOptions& options, const Plan& plan);
  std::optional<Change> attempt(std::string_view task, const VersionFilter& filter, const ChangeOptions& options,
                                std::uint32_t number, const Plan& plan);
  std::optional<Change> attempt_rollback(std::string_view task, std::optional<std::uint32_t> revision,
                                         const ChangeOptions& options);
  std::optional<Change> commit(TaskRecord before, Commit planned, const ChangeOptions& options, std::uint32_t number);
  void open_epoch(const TaskRecord& before, Commit& planned, const ChangeOptions& options);
  [[nodiscard]] std::vector<HistoryRow> rows_up_to(std::string_view task, std::uint32_t revision);
  [[nodiscard]] Author author(const ChangeOptions& options) const;
  static void check_revision(const TaskRecord& task, const ChangeOptions& options);
  [[noreturn]] static void lost(std::string_view task);

  Store& store_;
  Clock clock_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// A text that stores, tables and JSON can hold; notes may have line breaks and tabs, names no control characters at all.
inline void check_text(std::string_view what, std::string_view text, std::size_t most_bytes, bool lines) {
  const auto refuse = [what](const std::string& why, std::string hint) {
    throw RegistryError{RegistryErrc::invalid, "the " + std::string{what} + ' ' + why, std::move(hint)};
  };
  if (text.size() > most_bytes)
    refuse("has " + std::to_string(text.size()) + " bytes", "at most " + std::to_string(most_bytes) + " are kept");
  if (first_invalid_utf8(text) != text.size()) refuse("is not UTF-8", "convert it");
  for (std::size_t at = 0; at < text.size(); at += utf8_sequence(text.substr(at))) {
    if (is_control(text.substr(at)) && !(lines && (text[at] == '\n' || text[at] == '\t' || text[at] == '\r')))
      refuse("has a control character at byte " + std::to_string(at + 1), "leave it out");
    if (!lines && is_invisible(text.substr(at)))
      refuse("has an invisible character at byte " + std::to_string(at + 1),
             "leave it out: two names would look alike");
  }
}

inline void check_version(const NewVersion& wanted) {
  if (wanted.model.empty()) throw RegistryError{RegistryErrc::invalid, "the model has no name", "name the model"};
  check_text("model's name", wanted.model, max_model_bytes, false);
  check_text("note", wanted.note, max_note_bytes, true);
  check_text("provider's name", wanted.provider, max_model_bytes, false);
  check_text("job", wanted.lineage.job, max_model_bytes, false);
  check_text("training file's hash", wanted.lineage.training_file_hash, max_model_bytes, false);
  check_text("base model's name", wanted.lineage.base_model, max_model_bytes, false);
  check_text("prompt version", wanted.lineage.prompt_version, max_model_bytes, false);
  if (!wanted.shutdown_date.empty() && !is_date(wanted.shutdown_date))
    throw RegistryError{RegistryErrc::invalid, "the shutdown date is no date", "YYYY-MM-DD, 2027-01-14 for one"};
}

}  // namespace detail

inline void add_thresholds(ChangeOptions& options, const GuardConfig& guard) {
  for (const MetricConfig& metric : guard.metrics) {
    if (metric.kind != MetricKind::latency) continue;
    options.latency_margins.push_back(metric.margin);
    if (metric.slo_us != 0) options.slos_us.push_back(metric.slo_us);
  }
}

inline std::optional<VersionId> parse_version_id(std::string_view id) noexcept {
  const std::size_t at = id.rfind('@');
  if (at == std::string_view::npos || !detail::is_task_name(id.substr(0, at))) return {};
  std::string_view digits = id.substr(at + 1);
  if (digits.empty() || digits.front() < '1' || digits.front() > '9') return {};  // one way to write each
  const std::optional<std::uint64_t> number = detail::take_number(digits, max_version_number);
  if (!number || !digits.empty()) return {};
  return VersionId{id.substr(0, at), static_cast<std::uint32_t>(*number)};
}

inline Author Registry::author(const ChangeOptions& options) const {
  detail::check_text("actor's name", options.actor, max_model_bytes, false);
  detail::check_text("note", options.note, max_note_bytes, true);
  detail::check_text("evidence", options.evidence, max_evidence_bytes, true);
  return {options.actor, options.note, options.evidence, clock_()};
}

inline void Registry::lost(std::string_view task) {
  throw RegistryError{RegistryErrc::conflict, "task " + std::string{task} + " was changed by someone else meanwhile",
                      "see canary history " + std::string{task} + ", and say it again if it still holds"};
}

inline void Registry::check_revision(const TaskRecord& task, const ChangeOptions& options) {
  if (options.expected_revision.value_or(task.revision) == task.revision) return;
  throw RegistryError{RegistryErrc::conflict,
                      "task " + task.name + " was changed by someone else meanwhile: it is at revision " +
                          std::to_string(task.revision) + ", and the change was meant for " +
                          std::to_string(*options.expected_revision),
                      "see canary history " + task.name + ", and say it again if it still holds"};
}

/// Every change of weights opens one, with what the baseline did before frozen into it.
inline void Registry::open_epoch(const TaskRecord& before, Commit& planned, const ChangeOptions& options) {
  Epoch epoch = plan_epoch(before, planned);
  constexpr TimeUs week_us = 7 * TimeUs{86'400'000'000};
  if (!epoch.candidates.empty()) {
    try {
      const std::unique_ptr<InteractionStore> interactions = store_.interactions();
      epoch.frozen = freeze(counts_since(*interactions, planned.task, epoch.baseline, planned.row.at_us - week_us),
                            options.latency_margins, options.slos_us);
    } catch (const StoreError&) {
      // Any figures keep what the guard promises; a store that cannot tell them must not stop a rollback.
      epoch.frozen = freeze({}, {}, options.slos_us);
    }
  }
  planned.row.epoch = epoch_text(epoch);
}

inline std::optional<Change> Registry::commit(TaskRecord before, Commit planned, const ChangeOptions& options,
                                              std::uint32_t number) {
  if (changes_weights(before, planned) || begins_unwatched(before, planned)) open_epoch(before, planned, options);
  settle_rollouts(before, planned);
  if (!options.dry_run && store_.commit(planned) == CommitResult::conflict) return {};
  Change done{std::move(before), planned.row, {}};
  for (const ModelVersion& old : done.before.versions)
    if (old.number == number) done.changed = old;
  for (const ModelVersion& row : planned.versions)
    if (row.number == number) done.changed = row;
  return done;
}

inline std::optional<Change> Registry::attempt(std::string_view task, const VersionFilter& filter,
                                               const ChangeOptions& options, std::uint32_t number, const Plan& plan) {
  TaskRecord before = store_.load(task, filter);
  check_revision(before, options);
  const Commit planned = plan(before, author(options));
  return commit(std::move(before), planned, options, planned.row.number != 0 ? planned.row.number : number);
}

inline Change Registry::change(std::string_view task, std::uint32_t number, const ChangeOptions& options,
                               const Plan& plan) {
  VersionFilter filter;
  if (number != 0) filter.numbers.push_back(number);
  const int attempts = options.expected_revision ? 1 : most_attempts;
  for (int i = 0; i != attempts; ++i)
    if (std::optional<Change> done = attempt(task, filter, options, number, plan)) return *std::move(done);
  lost(task);
}

inline Change Registry::register_version(std::string_view task, const NewVersion& wanted,
                                         const ChangeOptions& options) {
  if (!detail::is_task_name(task))
    throw RegistryError{RegistryErrc::invalid, "a task name is 1 to 128 of A-Z a-z 0-9 _ . -"};
  detail::check_version(wanted);
  return change(task, 0, options,
                [&](const TaskRecord& now, const Author& by) { return plan_register(now, wanted, by); });
}

inline Change Registry::register_job(Job job, const NewVersion& wanted, const ChangeOptions& options) {
  detail::check_version(wanted);
  return change(job.task, 0, options, [&](const TaskRecord& now, const Author& by) {
    const std::optional<Job> stored = store_.find_job(job.id);
    if (!stored || stored->revision + 1 != job.revision)
      throw RegistryError{RegistryErrc::conflict, "job " + job.id + " was changed by someone else meanwhile",
                          "canary train status " + job.id + " tells what became of it"};
    Commit planned = plan_register(now, wanted, by);
    job.version = planned.row.number;
    planned.job = job;
    return planned;
  });
}

inline Change Registry::canary(std::string_view task, std::uint32_t number, std::uint32_t ppm,
                               const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_canary(now, number, ppm, by); });
}

inline Change Registry::promote(std::string_view task, std::uint32_t number, std::uint32_t ppm,
                                const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_promote(now, number, ppm, by); });
}

inline Change Registry::rollback_version(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_rollback_version(now, number, by); });
}

inline Change Registry::deprecate(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_step(now, number, Step::deprecate, by); });
}

inline Change Registry::archive(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_step(now, number, Step::archive, by); });
}

inline Change Registry::start_rollout(std::string_view task, std::uint32_t number,
                                      const std::vector<std::uint32_t>& steps_ppm, const ChangeOptions& options) {
  return change(task, number, options, [&](const TaskRecord& now, const Author& by) {
    Commit planned = plan_start_rollout(now, number, steps_ppm, by);
    // A store of an older schema keeps neither rollouts nor what they are judged by, and says so here.
    (void)store_.interactions()->find_task(task);
    return planned;
  });
}

inline Change Registry::pause_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_pause_rollout(now, number, by); });
}

inline Change Registry::resume_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_resume_rollout(now, number, by); });
}

/// Said twice it means two steps: one that was lost is not tried again on another revision.
inline Change Registry::advance_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  VersionFilter filter;
  filter.numbers.push_back(number);
  const auto plan = [&](const TaskRecord& now, const Author& by) { return plan_advance_rollout(now, number, by); };
  if (std::optional<Change> done = attempt(task, filter, options, number, plan)) return *std::move(done);
  lost(task);
}

inline Change Registry::abort_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_abort_rollout(now, number, by); });
}

inline Change Registry::rollback_rollout(std::string_view task, std::uint32_t number, const ChangeOptions& options) {
  return change(task, number, options,
                [&](const TaskRecord& now, const Author& by) { return plan_rollback_candidate(now, number, by); });
}

inline Change Registry::rollback(std::string_view task, std::optional<std::uint32_t> revision,
                                 const ChangeOptions& options) {
  // A named revision stays the same whoever was first.
  const int attempts = revision && !options.expected_revision ? most_attempts : 1;
  for (int i = 0; i != attempts; ++i)
    if (std::optional<Change> done = attempt_rollback(task, revision, options)) return *std::move(done);
  lost(task);
}

/// History rows up to a revision, some hundred of them; the last is that revision's.
inline std::vector<HistoryRow> Registry::rows_up_to(std::string_view task, std::uint32_t revision) {
  constexpr std::uint32_t most = 256;
  std::vector<HistoryRow> rows =
      store_.history(task, {.from = revision > most ? revision - most + 1 : 1, .to = revision});
  const std::uint32_t wanted = std::min(revision, most);
  if (rows.size() != wanted || rows.front().revision + wanted - 1 != revision)
    throw StoreError{
        StoreErrc::corrupt,
        "the history of task " + std::string{task} + " has a gap before revision " + std::to_string(revision),
        "restore a backup: canary store restore FILE"};
  return rows;
}

inline std::optional<Change> Registry::attempt_rollback(std::string_view task, std::optional<std::uint32_t> revision,
                                                        const ChangeOptions& options) {
  if (!detail::is_task_name(task))
    throw RegistryError{RegistryErrc::not_found, "a task name is 1 to 128 of A-Z a-z 0-9 _ . -"};
  const Author by = author(options);
  const TaskRecord first = store_.load(task, {.in_play = false});
  const std::uint32_t now = first.revision;
  check_revision(first, options);
  if (revision && *revision > now)
    throw RegistryError{RegistryErrc::not_found,
                        "task " + std::string{task} + " never had revision " + std::to_string(*revision),
                        now == 0 ? "it was never changed" : "it has 0 to " + std::to_string(now)};
  std::vector<HistoryRow> page;  // a store far away is not asked row by row
  const auto look = [&](std::uint32_t at) -> const HistoryRow& {
    if (page.empty() || at < page.front().revision || at > page.back().revision) page = rows_up_to(task, at);
    return page[at - page.front().revision];
  };
  std::optional<std::uint32_t> found;
  if (now != 0) found = revision ? revision : revision_before_last_change(now, look);
  if (!found)
    throw RegistryError{RegistryErrc::illegal_step,
                        "task " + std::string{task} + " has no change of weights that could be taken back",
                        "see canary history " + std::string{task}};
  const HistoryRow target = *found == 0 ? HistoryRow{} : rows_up_to(task, *found).back();
  const std::vector<HistoryRow> since = store_.history(task, {.from = *found + 1, .to = now});
  VersionFilter filter;
  for (const OwnerShare& share : target.partition.shares())
    if (share.owner != default_owner) filter.numbers.push_back(share.owner);
  for (const HistoryRow& each : since)
    for (const StatusChange& status : each.status_changes) filter.numbers.push_back(status.number);
  std::sort(filter.numbers.begin(), filter.numbers.end());
  filter.numbers.erase(std::unique(filter.numbers.begin(), filter.numbers.end()), filter.numbers.end());
  TaskRecord before = store_.load(task, filter);
  if (before.revision != now || before.token != first.token) return {};
  const Commit planned = plan_restore(before, target, since, by);
  return commit(std::move(before), planned, options, 0);
}

}  // namespace canary
