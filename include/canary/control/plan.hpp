// plan.hpp: what a command does to a task, as pure functions: the task as it stands in, the change to be written out.
// Layer control; no store, no clock. registry.hpp loads, asks here, and commits.
//
// Shares: a task's versions hold at most 100 %, the default holds the rest. The base of a version is the ACTIVE version
// with the largest share other than itself, else the default; `canary` trades with the base alone. A version past its
// shutdown date gains nothing. Whatever the weights do, the partition follows by minimal movement; only a rollback of the
// task puts a stored partition back as it was.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/lifecycle.hpp"
#include "canary/control/percent.hpp"
#include "canary/control/store.hpp"
#include "canary/control/time_text.hpp"
#include "canary/core/partition.hpp"

namespace canary {

enum class RegistryErrc : std::uint8_t {
  not_found,     ///< no such task, version or revision
  conflict,      ///< changed by someone else meanwhile: look again, and say it again if it still holds
  illegal_step,  ///< the version's status, its traffic or its shutdown date forbids it
  invalid,       ///< a share or a text that no version can have
};

/// Thrown for a change that cannot be made. Nothing was changed.
class RegistryError : public std::runtime_error {
 public:
  RegistryError(RegistryErrc what_kind, const std::string& message, std::string what_to_do = {})
      : std::runtime_error{message}, code{what_kind}, hint{std::move(what_to_do)} {}
  RegistryErrc code;
  std::string hint;
};

/// What a new version is registered with.
struct NewVersion {
  std::string model = {};
  std::string provider = {};
  std::string note = {};
  std::string shutdown_date = {};  ///< YYYY-MM-DD or RFC 3339 in UTC; empty: none known
  Lineage lineage = {};
};

/// Who asks for a change, when and why.
struct Author {
  std::string actor;
  std::string note;
  std::string evidence;  ///< one JSON document, or empty
  TimeUs at_us = 0;
};

/// Longest texts, in bytes.
inline constexpr std::size_t max_model_bytes = 1'024;
inline constexpr std::size_t max_note_bytes = 16'384;
inline constexpr std::size_t max_evidence_bytes = 1'048'576;

/// The version's row in a task; it must have been loaded.
[[nodiscard]] const ModelVersion& version_of(const TaskRecord& task, std::uint32_t number);

/// Number of the version that gives or takes when `number` changes its share; 0 is the default.
[[nodiscard]] std::uint32_t base_of(const TaskRecord& task, std::uint32_t number) noexcept;

/// True from the first moment of the shutdown date on.
[[nodiscard]] inline bool past_shutdown(const ModelVersion& row, TimeUs now_us) {
  return !row.shutdown_date.empty() && row.shutdown_date <= time_text(now_us);
}

[[nodiscard]] Commit plan_register(const TaskRecord& task, const NewVersion& wanted, const Author& author);
[[nodiscard]] Commit plan_canary(const TaskRecord& task, std::uint32_t number, std::uint32_t ppm, const Author& author);
[[nodiscard]] Commit plan_promote(const TaskRecord& task, std::uint32_t number, std::uint32_t ppm,
                                  const Author& author);
/// One version to 0 % and DEPRECATED; its base takes its traffic, or the default when the base is past its shutdown date.
[[nodiscard]] Commit plan_rollback_version(const TaskRecord& task, std::uint32_t number, const Author& author);
/// `deprecate` or `archive`.
[[nodiscard]] Commit plan_step(const TaskRecord& task, std::uint32_t number, Step step, const Author& author);

/// Restores the task as it stood at history row `target`.
/// Input   `since`: every row after it, oldest first; the versions that those rows name, and those of its partition.
[[nodiscard]] Commit plan_restore(const TaskRecord& task, const HistoryRow& target,
                                  const std::vector<HistoryRow>& since, const Author& author);

/// The revision that `rollback TASK` restores: the one before the last change of weights. A rollback counts as the
/// revision it restored, so that saying it again goes further back and never forth. Nothing when there is none.
/// Input   row_at: a history row by its revision, from 1.
template <class RowAt>
[[nodiscard]] std::optional<std::uint32_t> revision_before_last_change(std::uint32_t revision, RowAt&& row_at);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// A change that is being put together.
class Draft {
 public:
  Draft(const TaskRecord& task, std::string_view action, std::uint32_t number, const Author& author)
      : task_{task}, author_{author} {
    commit_.task = task.name;
    commit_.expected_revision = task.revision;
    commit_.token = task.token;
    HistoryRow& row = commit_.row;
    row.revision = task.revision + 1;
    row.at_us = author.at_us;
    row.actor = author.actor;
    row.action = action;
    row.number = number;
    row.note = author.note;
    row.evidence = author.evidence;
    for (const ModelVersion& each : task.versions)
      if (each.weight_ppm != 0) weights_.push_back({static_cast<Owner>(each.number), each.weight_ppm});
  }

  void set_weight(std::uint32_t number, std::uint32_t ppm) {
    const auto at = std::find_if(weights_.begin(), weights_.end(), [&](const auto& w) { return w.owner == number; });
    if (at != weights_.end())
      at->ppm = ppm;
    else if (ppm != 0)
      weights_.push_back({static_cast<Owner>(number), ppm});
  }
  void set_status(std::uint32_t number, Status status) {
    const Status before = version_of(task_, number).status;
    if (before != status) commit_.row.status_changes.push_back({number, before, status});
  }
  void add_version(ModelVersion row) { commit_.versions.push_back(std::move(row)); }

  /// With the least movement to the weights that were set.
  [[nodiscard]] Commit finish() {
    std::erase_if(weights_, [](const WantedShare& w) { return w.ppm == 0; });
    if (weights_.size() > max_shares)
      throw RegistryError{RegistryErrc::invalid,
                          "more than 1,024 versions would share the traffic of task " + task_.name,
                          "take the share from some of them first"};
    Rebalanced to = rebalance(task_.partition, weights_);
    commit_.row.points_moved = to.points_moved;
    commit_.row.points_minimum = to.points_minimum;
    return finish(std::move(to.partition));
  }

  [[nodiscard]] Commit finish(Partition partition) {
    std::vector<ModelVersion> gains;
    for (const ModelVersion& old : task_.versions) {
      ModelVersion row = old;
      row.weight_ppm = weight_in(partition, old.number);
      for (const StatusChange& change : commit_.row.status_changes)
        if (change.number == row.number) row.status = change.after;
      if (row == old) continue;
      row.changed_at_us = author_.at_us;
      (row.weight_ppm > old.weight_ppm ? gains : commit_.versions).push_back(std::move(row));
    }
    // Who loses comes first: the sum is legal after each row.
    commit_.versions.insert(commit_.versions.end(), gains.begin(), gains.end());
    commit_.row.partition = std::move(partition);
    return std::move(commit_);
  }

  [[nodiscard]] HistoryRow& row() noexcept { return commit_.row; }

  [[nodiscard]] static std::uint32_t weight_in(const Partition& partition, std::uint32_t number) noexcept {
    for (const OwnerShare& share : partition.shares())
      if (share.owner == number) return share.ppm;
    return 0;
  }

 private:
  const TaskRecord& task_;
  const Author& author_;
  std::vector<WantedShare> weights_;
  Commit commit_;
};

/// Half the sum of |change| in points.
[[nodiscard]] inline std::uint64_t least_movement(const Partition& before, const Partition& after) noexcept {
  std::uint64_t gained = 0;
  for (const OwnerShare& share : after.shares()) {
    const auto old = std::find_if(before.shares().begin(), before.shares().end(),
                                  [&](const OwnerShare& s) { return s.owner == share.owner; });
    const std::uint64_t had = old == before.shares().end() ? 0 : old->points;
    if (share.points > had) gained += share.points - had;
  }
  return gained;
}

/// How a message names a version, its model included.
[[nodiscard]] inline std::string named(const TaskRecord& task, std::uint32_t number) {
  return number == 0 ? "the default" : version_id(task.name, number);
}

inline void refuse_if_past(const TaskRecord& task, const ModelVersion& row, TimeUs now_us) {
  if (past_shutdown(row, now_us))
    throw RegistryError{
        RegistryErrc::illegal_step,
        named(task, row.number) + " cannot gain traffic: its model was shut down on " + row.shutdown_date,
        "promote a version whose model lives on"};
}

[[nodiscard]] inline std::uint32_t default_ppm(const TaskRecord& task) noexcept {
  return Draft::weight_in(task.partition, default_owner);
}

/// Scales the shares of everybody but `number` to `left_ppm` together, by largest remainder; the lower number goes first.
inline void scale_others(const TaskRecord& task, std::uint32_t number, std::uint32_t left_ppm, const Author& author,
                         Draft& draft) {
  struct Part {
    std::uint32_t number;
    std::uint64_t before;
    std::uint64_t after;
    std::uint64_t remainder;
  };
  std::vector<Part> parts;
  std::uint64_t sum = 0;
  // What nobody took before may go to those alone whose models live on.
  const bool grows = left_ppm > total_ppm - version_of(task, number).weight_ppm;
  for (const OwnerShare& share : task.partition.shares()) {
    if (share.owner == number) continue;
    if (grows && share.owner != default_owner && past_shutdown(version_of(task, share.owner), author.at_us)) {
      left_ppm -= share.ppm;
      continue;
    }
    parts.push_back({share.owner, share.ppm, 0, 0});
    sum += share.ppm;
  }
  if (sum == 0) return;  // the default takes it
  std::uint64_t given = 0;
  for (Part& part : parts) {
    part.after = part.before * left_ppm / sum;
    part.remainder = part.before * left_ppm % sum;
    given += part.after;
  }
  std::vector<Part*> order;
  order.reserve(parts.size());
  for (Part& part : parts) order.push_back(&part);
  std::sort(order.begin(), order.end(), [](const Part* a, const Part* b) {
    return a->remainder != b->remainder ? a->remainder > b->remainder : a->number < b->number;
  });
  for (std::size_t i = 0; given != left_ppm && i != order.size(); ++i, ++given) ++order[i]->after;
  for (const Part& part : parts)
    if (part.number != default_owner) draft.set_weight(part.number, static_cast<std::uint32_t>(part.after));
}

}  // namespace detail

inline const ModelVersion& version_of(const TaskRecord& task, std::uint32_t number) {
  const auto at = std::lower_bound(task.versions.begin(), task.versions.end(), number,
                                   [](const ModelVersion& row, std::uint32_t wanted) { return row.number < wanted; });
  if (at != task.versions.end() && at->number == number) return *at;
  const std::string has = task.version_count == 0   ? "it has none yet"
                          : task.version_count == 1 ? "it has one, " + version_id(task.name, 1)
                                                    : "it has " + version_id(task.name, 1) + " to " +
                                                          version_id(task.name, task.version_count);
  throw RegistryError{RegistryErrc::not_found, "no version " + version_id(task.name, number),
                      task.version_count == 0 ? "register one: canary model register " + task.name + " MODEL" : has};
}

inline std::uint32_t base_of(const TaskRecord& task, std::uint32_t number) noexcept {
  const ModelVersion* base = nullptr;
  for (const ModelVersion& each : task.versions) {
    if (each.number == number || each.status != Status::active || each.weight_ppm == 0) continue;
    if (base == nullptr || each.weight_ppm > base->weight_ppm) base = &each;
  }
  return base == nullptr ? 0 : base->number;
}

inline Commit plan_register(const TaskRecord& task, const NewVersion& wanted, const Author& author) {
  if (task.version_count >= max_version_number)
    throw RegistryError{RegistryErrc::invalid, "task " + task.name + " has as many versions as a task can have",
                        "start a new task"};
  ModelVersion row;
  row.number = task.version_count + 1;
  row.model = wanted.model;
  row.provider = wanted.provider;
  row.note = wanted.note;
  row.created_at_us = row.changed_at_us = author.at_us;
  row.shutdown_date = wanted.shutdown_date;
  row.lineage = wanted.lineage;
  detail::Draft draft{task, "register", row.number, author};
  draft.add_version(std::move(row));
  return draft.finish(task.partition);
}

inline Commit plan_canary(const TaskRecord& task, std::uint32_t number, std::uint32_t ppm, const Author& author) {
  const ModelVersion& row = version_of(task, number);
  if (!may_canary(row.status))
    throw RegistryError{RegistryErrc::illegal_step,
                        detail::named(task, number) + " is " + std::string{to_string(row.status)} +
                            ": only CANDIDATE and ACTIVE versions take a canary share",
                        row.status == Status::deprecated ? "canary model promote brings it back" : "register it anew"};
  const std::uint32_t base = base_of(task, number);
  const std::uint32_t base_ppm = base == 0 ? detail::default_ppm(task) : version_of(task, base).weight_ppm;
  detail::Draft draft{task, "canary", number, author};
  if (ppm > row.weight_ppm) {
    detail::refuse_if_past(task, row, author.at_us);
    const std::uint32_t most = row.weight_ppm + base_ppm;
    if (ppm > most)
      throw RegistryError{RegistryErrc::invalid,
                          detail::named(task, number) + " cannot get " + percent_text(ppm) + " %: its base, " +
                              detail::named(task, base) + ", can give so much that it has " + percent_text(most) +
                              " % at most",
                          "take the share from other versions first, or use canary model promote"};
  } else if (ppm < row.weight_ppm && base != 0) {
    detail::refuse_if_past(task, version_of(task, base), author.at_us);
  }
  draft.set_weight(number, ppm);
  if (base != 0) draft.set_weight(base, base_ppm + row.weight_ppm - ppm);
  return draft.finish();
}

inline Commit plan_promote(const TaskRecord& task, std::uint32_t number, std::uint32_t ppm, const Author& author) {
  const ModelVersion& row = version_of(task, number);
  const std::optional<Status> status = after(Step::promote, row.status);
  if (!status)
    throw RegistryError{RegistryErrc::illegal_step, detail::named(task, number) + " is ARCHIVED for good",
                        "register its model anew"};
  if (ppm > total_ppm)
    throw RegistryError{RegistryErrc::invalid, detail::named(task, number) + " cannot get more than 100 %"};
  if (ppm > row.weight_ppm) detail::refuse_if_past(task, row, author.at_us);
  detail::Draft draft{task, "promote", number, author};
  draft.set_status(number, *status);
  draft.set_weight(number, ppm);
  if (ppm != total_ppm) {
    detail::scale_others(task, number, total_ppm - ppm, author, draft);
    return draft.finish();
  }
  for (const ModelVersion& other : task.versions) {
    if (other.number == number) continue;
    draft.set_weight(other.number, 0);
    if (other.status == Status::active) draft.set_status(other.number, Status::deprecated);
  }
  return draft.finish();
}

inline Commit plan_rollback_version(const TaskRecord& task, std::uint32_t number, const Author& author) {
  const ModelVersion& row = version_of(task, number);
  const std::optional<Status> status = after(Step::deprecate, row.status);
  if (!status)
    throw RegistryError{RegistryErrc::illegal_step, detail::named(task, number) + " is ARCHIVED: it has no traffic"};
  detail::Draft draft{task, "rollback", number, author};
  draft.set_status(number, *status);
  draft.set_weight(number, 0);
  const std::uint32_t base = base_of(task, number);
  if (base != 0 && !past_shutdown(version_of(task, base), author.at_us))
    draft.set_weight(base, version_of(task, base).weight_ppm + row.weight_ppm);
  return draft.finish();
}

inline Commit plan_step(const TaskRecord& task, std::uint32_t number, Step step, const Author& author) {
  const ModelVersion& row = version_of(task, number);
  const std::string_view action = step == Step::archive ? "archive" : "deprecate";
  const std::optional<Status> status = after(step, row.status);
  if (!status)
    throw RegistryError{RegistryErrc::illegal_step,
                        detail::named(task, number) + " is " + std::string{to_string(row.status)} +
                            ": no step leads from there to " + (step == Step::archive ? "ARCHIVED" : "DEPRECATED"),
                        step == Step::archive ? "deprecate it first" : ""};
  if (row.weight_ppm != 0)
    throw RegistryError{RegistryErrc::illegal_step,
                        detail::named(task, number) + " has " + percent_text(row.weight_ppm) + " % of the traffic",
                        "canary model rollback " + version_id(task.name, number) + " takes it to 0 % and DEPRECATED"};
  detail::Draft draft{task, action, number, author};
  draft.set_status(number, *status);
  return draft.finish(task.partition);
}

inline Commit plan_restore(const TaskRecord& task, const HistoryRow& target, const std::vector<HistoryRow>& since,
                           const Author& author) {
  detail::Draft draft{task, "rollback", 0, author};
  for (const OwnerShare& share : target.partition.shares()) {
    if (share.owner == default_owner) continue;
    const ModelVersion& row = version_of(task, share.owner);
    const bool archived = row.status == Status::archived;
    if (archived || past_shutdown(row, author.at_us))
      throw RegistryError{RegistryErrc::illegal_step,
                          "revision " + std::to_string(target.revision) +
                              " cannot be restored: " + detail::named(task, row.number) + " had a share, and is " +
                              (archived ? "ARCHIVED now" : "past its shutdown date " + row.shutdown_date),
                          "canary model rollback " + task.name + " --to names another revision"};
  }
  std::vector<std::pair<std::uint32_t, Status>> was;
  for (auto row = since.rbegin(); row != since.rend(); ++row)
    for (const StatusChange& change : row->status_changes) {
      const auto at = std::find_if(was.begin(), was.end(), [&](const auto& w) { return w.first == change.number; });
      if (at == was.end())
        was.emplace_back(change.number, change.before);
      else
        at->second = change.before;
    }
  for (const auto& [number, status] : was)
    if (version_of(task, number).status != Status::archived) draft.set_status(number, status);
  draft.row().restores = target.revision;
  draft.row().points_moved = points_moved(task.partition, target.partition);
  draft.row().points_minimum = detail::least_movement(task.partition, target.partition);
  return draft.finish(target.partition);
}

template <class RowAt>
std::optional<std::uint32_t> revision_before_last_change(std::uint32_t revision, RowAt&& row_at) {
  while (revision != 0) {
    const HistoryRow& row = row_at(revision);
    if (row.action == "rollback" && row.number == 0) {
      revision = row.restores;
      continue;
    }
    if (row.points_moved != 0) return revision - 1;
    --revision;
  }
  return {};
}

}  // namespace canary
