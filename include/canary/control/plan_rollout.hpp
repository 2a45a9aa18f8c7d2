// plan_rollout.hpp: what a rollout's commands, and the guard, do to a task, as pure functions. Layer control; as plan.hpp.
//
// A step is a canary share: it trades with the base alone. The step of 100 % is a promotion, and the rollout's end. Only a
// CANDIDATE is ramped. Whatever else changes a version's share or its status settles its rollout: it pauses, or ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/epoch.hpp"
#include "canary/control/plan.hpp"
#include "canary/control/rollout.hpp"
#include "canary/control/store.hpp"

namespace canary {

/// Gives a version its first step, whatever share it had.
[[nodiscard]] Commit plan_start_rollout(const TaskRecord& task, std::uint32_t number,
                                        const std::vector<std::uint32_t>& steps_ppm, const Author& author);
[[nodiscard]] Commit plan_pause_rollout(const TaskRecord& task, std::uint32_t number, const Author& author);
/// Goes on from the largest step below 100 % that is not above the share that the version has, or from the first: what
/// somebody took from it, or gave it, meanwhile is not kept unproved.
[[nodiscard]] Commit plan_resume_rollout(const TaskRecord& task, std::uint32_t number, const Author& author);
/// To the next step; behind the last one it is finished.
[[nodiscard]] Commit plan_advance_rollout(const TaskRecord& task, std::uint32_t number, const Author& author);
/// The version to 0 %; it stays CANDIDATE.
[[nodiscard]] Commit plan_abort_rollout(const TaskRecord& task, std::uint32_t number, const Author& author);
/// The guard's: a CANDIDATE to 0 % and DEPRECATED, whether it has a rollout or not.
[[nodiscard]] Commit plan_rollback_candidate(const TaskRecord& task, std::uint32_t number, const Author& author);

/// Writes into a planned change what it does to the task's other rollouts. Part of every change, once its epoch is in it.
void settle_rollouts(const TaskRecord& before, Commit& planned);

/// Rollouts of a task.
/// Errors  StoreError corrupt.
[[nodiscard]] std::vector<Rollout> stored_rollouts(const TaskRecord& task);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Why, in words: the author's, or who it was.
[[nodiscard]] inline std::string rollout_words(std::string_view what, const Author& author) {
  if (!author.note.empty()) return rollout_reason(author.note);
  return rollout_reason(std::string{what} + (author.actor.empty() ? "" : " by " + author.actor));
}

/// Writes a rollout into a change, in its new state.
inline void write_rollout(Commit& planned, std::vector<Rollout> rollouts, Rollout rollout) {
  put_rollout(rollouts, std::move(rollout));
  planned.row.rollouts = rollouts_text(rollouts);
}

[[noreturn]] inline void refuse_move(const TaskRecord& task, const Rollout& rollout, std::string_view verb,
                                     std::string hint) {
  throw RegistryError{RegistryErrc::illegal_step,
                      "the rollout of " + named(task, rollout.number) + " is " + std::string{to_string(rollout.state)} +
                          ": it cannot be " + std::string{verb},
                      std::move(hint)};
}

/// A version's rollout after a move.
/// Errors  RegistryError not_found for a version that has none, illegal_step for a move that its state does not allow.
[[nodiscard]] inline Rollout moved_rollout(const TaskRecord& task, const std::vector<Rollout>& rollouts,
                                           std::uint32_t number, RolloutMove move, std::string_view verb) {
  (void)version_of(task, number);
  const Rollout* found = find_rollout(rollouts, number);
  const std::string id = named(task, number);
  if (found == nullptr)
    throw RegistryError{RegistryErrc::not_found, id + " has no rollout", "canary rollout start " + id + " begins one"};
  const std::optional<RolloutState> to = after(move, found->state);
  if (!to)
    refuse_move(task, *found, verb,
                found->state == RolloutState::running  ? "it goes on already"
                : found->state == RolloutState::paused ? "canary rollout resume " + id + " lets it go on"
                                                       : "canary rollout start " + id + " begins a new one");
  Rollout made = *found;
  made.state = *to;
  return made;
}

/// Errors  RegistryError illegal_step for a version that no rollout may ramp.
inline void check_rampable(const TaskRecord& task, const ModelVersion& row) {
  if (row.status == Status::candidate) return;
  std::string hint = "register its model anew: canary model register " + task.name + " MODEL";
  if (row.status == Status::deprecated)
    hint = "canary model promote " + named(task, row.number) + " brings it back, or " + hint;
  throw RegistryError{
      RegistryErrc::illegal_step,
      named(task, row.number) + " is " + std::string{to_string(row.status)} +
          (row.status == Status::deprecated ? ": what was taken back is not ramped again, only CANDIDATE versions are"
                                            : ": only CANDIDATE versions are ramped"),
      std::move(hint)};
}

/// A CANDIDATE on a step of its rollout.
[[nodiscard]] inline Commit plan_step_share(const TaskRecord& task, const Rollout& rollout, std::string_view action,
                                            const Author& author) {
  const std::uint32_t ppm = rollout.steps_ppm[rollout.step];
  Commit planned = ppm == total_ppm ? plan_promote(task, rollout.number, ppm, author)
                                    : plan_canary(task, rollout.number, ppm, author);
  const std::uint32_t base = base_of(task, rollout.number);
  if (ppm != total_ppm && Draft::weight_in(planned.row.partition, base) == 0)
    throw RegistryError{RegistryErrc::invalid,
                        "the step of " + percent_text(ppm) + " % would leave the base of " +
                            named(task, rollout.number) + ", " + named(task, base) + ", nothing to be compared with",
                        "take back another candidate's share, or begin a rollout with smaller steps"};
  planned.row.action = action;
  return planned;
}

/// A version to 0 %; its base takes its traffic, or the default when the base is past its shutdown date.
inline void give_back(const TaskRecord& task, std::uint32_t number, const Author& author, Draft& draft) {
  draft.set_weight(number, 0);
  const std::uint32_t base = base_of(task, number);
  if (base != 0 && !past_shutdown(version_of(task, base), author.at_us))
    draft.set_weight(base, version_of(task, base).weight_ppm + version_of(task, number).weight_ppm);
}

/// A version's status after a change; nothing where neither side of it tells.
[[nodiscard]] inline std::optional<Status> status_after(const TaskRecord& before, const Commit& planned,
                                                        std::uint32_t number) {
  for (const StatusChange& change : planned.row.status_changes)
    if (change.number == number) return change.after;
  for (const ModelVersion& row : before.versions)
    if (row.number == number) return row.status;
  return {};
}

/// True if a candidate is compared with another version after the change.
[[nodiscard]] inline bool changes_baseline(const TaskRecord& before, const Commit& planned, std::uint32_t number) {
  const std::optional<Epoch> was = parse_epoch(before.epoch);
  const std::optional<Epoch> now = parse_epoch(planned.row.epoch);
  return was && now && now->find(number) != nullptr && was->baseline != now->baseline;
}

/// What a change does to a rollout that it did not mean; nothing when that goes on as before.
[[nodiscard]] inline std::optional<Rollout> settled(const TaskRecord& before, const Commit& planned,
                                                    const Rollout& rollout) {
  const std::uint32_t had = Draft::weight_in(before.partition, rollout.number);
  const std::uint32_t has = Draft::weight_in(planned.row.partition, rollout.number);
  const std::optional<Status> status = status_after(before, planned, rollout.number);
  const std::string by = planned.row.action + (planned.row.actor.empty() ? std::string{} : " by " + planned.row.actor);
  std::optional<RolloutMove> move;
  std::string why;
  if (status == Status::deprecated || status == Status::archived) {
    move = RolloutMove::abort;
    why = "the version is " + std::string{to_string(*status)} + " since " + by;
  } else if (status == Status::active && has == total_ppm) {
    move = RolloutMove::finish;
    why = "the version has all of the traffic since " + by;
  } else if (status == Status::active && rollout.state == RolloutState::running) {
    move = RolloutMove::pause;
    why = "the version is ACTIVE since " + by + ": only a CANDIDATE is ramped";
  } else if (had != has && rollout.state == RolloutState::running) {
    move = RolloutMove::pause;
    why = "its share was changed from " + percent_text(had) + " to " + percent_text(has) + " %: " + by;
  } else if (rollout.state == RolloutState::running && changes_baseline(before, planned, rollout.number)) {
    move = RolloutMove::pause;
    why = "it is compared with another baseline since " + by;
  }
  if (!move) return {};
  Rollout made = rollout;
  made.state = after(*move, rollout.state).value_or(rollout.state);
  made.since_us = planned.row.at_us;
  made.reason = rollout_reason(why);
  return made;
}

}  // namespace detail

inline std::vector<Rollout> stored_rollouts(const TaskRecord& task) {
  std::optional<std::vector<Rollout>> rollouts = parse_rollouts(task.rollouts);
  if (!rollouts)
    throw StoreError{
        StoreErrc::corrupt, "task " + task.name + ": its rollouts make no sense",
        "written by another version of this program, or damaged: take this one on every server, or restore "
        "a backup: canary store restore"};
  return *std::move(rollouts);
}

inline Commit plan_start_rollout(const TaskRecord& task, std::uint32_t number,
                                 const std::vector<std::uint32_t>& steps_ppm, const Author& author) {
  detail::check_rampable(task, version_of(task, number));
  const std::string id = detail::named(task, number);
  if (!are_rollout_steps(steps_ppm))
    throw RegistryError{RegistryErrc::invalid, "a rollout cannot go by these steps",
                        "name 1 to " + std::to_string(most_rollout_steps) +
                            " shares from 0.0001 to 100 %, each larger than the one before: 1,5,25,50,100"};
  if (steps_ppm.front() == total_ppm)
    throw RegistryError{RegistryErrc::invalid, "a first step of 100 % leaves nothing to compare " + id + " with",
                        "begin with less, or promote it at once: canary model promote " + id};
  std::vector<Rollout> rollouts = stored_rollouts(task);
  const Rollout* had = find_rollout(rollouts, number);
  if (had != nullptr && !after(RolloutMove::start, had->state))
    detail::refuse_move(task, *had, "started",
                        had->state == RolloutState::paused ? "canary rollout resume " + id + " lets it go on"
                                                           : "canary rollout status " + id + " says where it stands");
  Rollout made{number, RolloutState::running, 0, steps_ppm, author.at_us, detail::rollout_words("started", author)};
  Commit planned = detail::plan_step_share(task, made, "rollout start", author);
  detail::write_rollout(planned, std::move(rollouts), std::move(made));
  return planned;
}

inline Commit plan_pause_rollout(const TaskRecord& task, std::uint32_t number, const Author& author) {
  std::vector<Rollout> rollouts = stored_rollouts(task);
  Rollout made = detail::moved_rollout(task, rollouts, number, RolloutMove::pause, "paused");
  if (find_rollout(rollouts, number)->state != made.state) made.since_us = author.at_us;  // else it is paused already
  made.reason = detail::rollout_words("paused", author);
  detail::Draft draft{task, "rollout pause", number, author};
  Commit planned = draft.finish(task.partition);
  detail::write_rollout(planned, std::move(rollouts), std::move(made));
  return planned;
}

inline Commit plan_resume_rollout(const TaskRecord& task, std::uint32_t number, const Author& author) {
  std::vector<Rollout> rollouts = stored_rollouts(task);
  Rollout made = detail::moved_rollout(task, rollouts, number, RolloutMove::resume, "resumed");
  detail::check_rampable(task, version_of(task, number));
  const std::uint32_t has_ppm = version_of(task, number).weight_ppm;
  while (made.step != 0 && (made.steps_ppm[made.step] > has_ppm || made.steps_ppm[made.step] == total_ppm)) --made.step;
  const auto reached = [&](std::uint32_t ppm) { return ppm <= has_ppm && ppm != total_ppm; };
  while (!made.last() && reached(made.steps_ppm[made.step + 1])) ++made.step;
  made.since_us = author.at_us;
  made.reason = detail::rollout_words("resumed", author);
  Commit planned = detail::plan_step_share(task, made, "rollout resume", author);
  detail::write_rollout(planned, std::move(rollouts), std::move(made));
  return planned;
}

inline Commit plan_advance_rollout(const TaskRecord& task, std::uint32_t number, const Author& author) {
  std::vector<Rollout> rollouts = stored_rollouts(task);
  Rollout made = detail::moved_rollout(task, rollouts, number, RolloutMove::advance, "advanced");
  const ModelVersion& row = version_of(task, number);
  detail::check_rampable(task, row);
  const std::string id = detail::named(task, number);
  if (row.weight_ppm != made.steps_ppm[made.step])
    throw RegistryError{RegistryErrc::illegal_step,
                        "the share of " + id + ", " + percent_text(row.weight_ppm) + " %, is not that of its step, " +
                            percent_text(made.steps_ppm[made.step]) + " %",
                        "canary rollout pause " + id + ", then resume it"};
  made.since_us = author.at_us;
  made.reason = detail::rollout_words("advanced", author);
  const bool passed = made.last();
  if (!passed) ++made.step;
  if (passed || made.steps_ppm[made.step] == total_ppm) made.state = RolloutState::finished;
  Commit planned = detail::plan_step_share(
      task, made, made.state == RolloutState::finished ? "rollout finish" : "rollout advance", author);
  detail::write_rollout(planned, std::move(rollouts), std::move(made));
  return planned;
}

inline Commit plan_abort_rollout(const TaskRecord& task, std::uint32_t number, const Author& author) {
  std::vector<Rollout> rollouts = stored_rollouts(task);
  Rollout made = detail::moved_rollout(task, rollouts, number, RolloutMove::abort, "aborted");
  made.since_us = author.at_us;
  made.reason = detail::rollout_words("aborted", author);
  detail::Draft draft{task, "rollout abort", number, author};
  const bool ramped =
      version_of(task, number).status == Status::candidate;  // an ACTIVE one has its share by other means
  if (ramped) detail::give_back(task, number, author, draft);
  Commit planned = ramped ? draft.finish() : draft.finish(task.partition);
  detail::write_rollout(planned, std::move(rollouts), std::move(made));
  return planned;
}

/// Rollouts that make no sense stay as they are: they must not keep harm in traffic.
inline Commit plan_rollback_candidate(const TaskRecord& task, std::uint32_t number, const Author& author) {
  const ModelVersion& row = version_of(task, number);
  if (row.status != Status::candidate)
    throw RegistryError{RegistryErrc::illegal_step, detail::named(task, number) + " is " +
                                                        std::string{to_string(row.status)} +
                                                        ": the guard takes back CANDIDATE versions alone"};
  Commit planned = plan_rollback_version(task, number, author);
  std::optional<std::vector<Rollout>> rollouts = parse_rollouts(task.rollouts);
  const Rollout* found = rollouts ? find_rollout(*rollouts, number) : nullptr;
  if (found == nullptr || !after(RolloutMove::rollback, found->state)) return planned;
  Rollout made = *found;
  made.state = *after(RolloutMove::rollback, found->state);
  made.since_us = author.at_us;
  made.reason = detail::rollout_words("rolled back", author);
  detail::write_rollout(planned, *std::move(rollouts), std::move(made));
  return planned;
}

/// Rollouts that make no sense stay as they are: whoever asks for them is told.
inline void settle_rollouts(const TaskRecord& before, Commit& planned) {
  const bool meant = !planned.row.rollouts.empty();
  const std::string& text = meant ? planned.row.rollouts : before.rollouts;
  const std::optional<std::vector<Rollout>> rollouts = parse_rollouts(text);
  if (!rollouts) return;
  std::vector<Rollout> after_all = *rollouts;
  bool changed = false;
  for (const Rollout& each : *rollouts) {
    if (!is_live(each.state) || (meant && each.number == planned.row.number)) continue;
    std::optional<Rollout> other = detail::settled(before, planned, each);
    if (!other) continue;
    put_rollout(after_all, *std::move(other));
    changed = true;
  }
  if (changed) planned.row.rollouts = rollouts_text(after_all);
}

}  // namespace canary
