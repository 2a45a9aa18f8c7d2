// guard_look.hpp: a task's candidates as a store has them -> what the guard says of each. Layer control.
//
// Reads and decides nothing else: the task's epoch names its candidates and since when each of them lives; history has the
// epochs of such a life, and the evidence rows of all servers the counts of each epoch, which are merged. A candidate whose
// evidence cannot be compared is held, with the reason in words; a store whose rows make no sense is an error.
// Cost: for each candidate its history and its evidence rows, one for each server and epoch of its life.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/guard.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/rollout.hpp"
#include "canary/control/store.hpp"
#include "canary/control/verdict.hpp"

namespace canary {

/// One candidate in flight, judged.
struct GuardLook {
  std::uint32_t number = 0;      ///< of the candidate
  std::string baseline_id;       ///< `TASK@N`, or `TASK@default`
  std::uint32_t weight_ppm = 0;  ///< of the candidate, now
  std::uint32_t since = 0;       ///< revision that its life began with
  std::uint32_t revision = 0;    ///< of the task, that was judged: an act on the verdict expects it
  GuardStep step;
  Verdict verdict;
  std::optional<Rollout> rollout = {};  ///< its ramp; nothing where it has none, or the task's make no sense
};

/// Judges every candidate that has a share.
/// Input   `now_us`: for the age of its step.
/// Output  by number; empty for a task that is not in the store, or has no candidate with a share.
/// Errors  StoreError; `corrupt` for epochs and evidence that make no sense.
[[nodiscard]] std::vector<GuardLook> guard_look(Store& store, InteractionStore& interactions, const TaskConfig& task,
                                                TimeUs now_us, bool display = true);

/// The epochs of a candidate's life, each with the counts of all servers.
/// Input   the task's history, from the life's beginning on.
/// Errors  StoreError corrupt.
[[nodiscard]] std::vector<LifeEpoch> life_epochs(InteractionStore& interactions, std::string_view task,
                                                 const Candidate& candidate, const std::vector<HistoryRow>& history);

/// Where a candidate stands in its ramp.
[[nodiscard]] GuardStep step_at(const GuardConfig& config, std::uint32_t weight_ppm) noexcept;

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

[[noreturn]] inline void refuse_evidence(std::string_view task, const std::string& what) {
  throw StoreError{StoreErrc::corrupt, "task " + std::string{task} + ": " + what,
                   "written by another version of this program, or damaged: take this one on every server, or restore "
                   "a backup: canary store restore"};
}

[[nodiscard]] inline Epoch stored_epoch(std::string_view task, std::uint32_t revision, std::string_view text) {
  std::optional<Epoch> epoch = parse_epoch(text);
  if (!epoch) refuse_evidence(task, "the epoch of revision " + std::to_string(revision) + " makes no sense");
  return *std::move(epoch);
}

/// What a program that knows no epochs has done to the split since; empty if nothing.
[[nodiscard]] inline std::string changed_since(const Epoch& epoch, const Candidate& candidate,
                                               const Partition& partition) {
  if (candidate.since == 0)
    return "no evidence is counted for it: a program that keeps none gave it its share; give it 0 %, then its share "
           "once more";
  std::uint64_t candidate_points = 0;
  std::uint64_t baseline_points = 0;
  for (const OwnerShare& share : partition.shares()) {
    if (share.owner == candidate.number) candidate_points = share.points;
    if (share.owner == epoch.baseline) baseline_points = share.points;
  }
  if (candidate_points == candidate.points && baseline_points == epoch.baseline_points) return "";
  return "the split is another than the evidence is counted for: a program that keeps none has changed it; give the "
         "candidate its share once more, and evidence begins anew";
}

/// Evidence is kept by the revision that a life began with, so lives that one change began cannot be told apart, not even
/// when one of them is over. Empty for one that began alone.
[[nodiscard]] inline std::string began_together(std::string_view task, const std::vector<LifeEpoch>& epochs,
                                                const Candidate& candidate) {
  for (const LifeEpoch& life : epochs)
    for (const Candidate& each : life.epoch.candidates)
      if (each.number != candidate.number && each.since == candidate.since)
        return "it began together with " + version_id(task, each.number) +
               " in one change, so their evidence cannot be told apart; give it 0 %, then its share once more";
  return "";
}

/// When the candidate got the share that it has.
[[nodiscard]] inline TimeUs step_began_us(const std::vector<HistoryRow>& history, const std::vector<LifeEpoch>& epochs,
                                          std::uint32_t number) {
  std::uint32_t revision = 0;
  std::uint64_t points = 0;
  for (const LifeEpoch& each : epochs) {
    const Candidate* found = each.epoch.find(number);
    if (revision != 0 && found->points == points) continue;
    revision = each.epoch.revision;
    points = found->points;
  }
  for (const HistoryRow& row : history)
    if (row.revision == revision) return row.at_us;
  return 0;
}

}  // namespace detail

inline GuardStep step_at(const GuardConfig& config, std::uint32_t weight_ppm) noexcept {
  GuardStep step;
  step.index = step_of(config, weight_ppm);
  step.last = config.steps_ppm.empty() || weight_ppm >= config.steps_ppm.back();
  return step;
}

inline std::vector<LifeEpoch> life_epochs(InteractionStore& interactions, std::string_view task,
                                          const Candidate& candidate, const std::vector<HistoryRow>& history) {
  std::vector<LifeEpoch> epochs;
  std::map<std::uint32_t, std::size_t> places;
  for (const HistoryRow& row : history) {
    if (row.epoch.empty() || row.revision < candidate.since) continue;
    Epoch epoch = detail::stored_epoch(task, row.revision, row.epoch);
    const Candidate* found = epoch.find(candidate.number);
    if (found == nullptr || found->since != candidate.since) continue;
    places.emplace(epoch.revision, epochs.size());
    const std::size_t thresholds = epoch.frozen.latency_us.size();
    epochs.push_back({std::move(epoch), EvidenceCounts{thresholds}});
  }
  const std::optional<std::uint32_t> number = interactions.find_task(task);
  if (!number) return epochs;
  for (const CountsRow& row : interactions.counts(
           {.kind = CountsKind::evidence, .task = number, .of = candidate.since, .from = candidate.since})) {
    const auto place = places.find(row.at);
    if (place == places.end()) continue;  // of an epoch that was opened since the history was read
    LifeEpoch& to = epochs[place->second];
    const std::optional<EvidenceCounts> counts = EvidenceCounts::parse(row.bytes);
    const std::size_t bins = to.epoch.frozen.latency_us.size() + 1;
    if (!counts || counts->of(CountedBy::unit, Arm::baseline).latency.size() != bins)
      detail::refuse_evidence(task, "the evidence of version " + version_id(task, candidate.number) + " at revision " +
                                        std::to_string(row.at) + " makes no sense");
    to.counts.merge(*counts);
  }
  return epochs;
}

inline std::vector<GuardLook> guard_look(Store& store, InteractionStore& interactions, const TaskConfig& task,
                                         TimeUs now_us, bool display) {
  const TaskRecord record = store.load(task.name, {});
  Epoch now;
  if (!record.epoch.empty()) now = detail::stored_epoch(task.name, record.revision, record.epoch);
  std::vector<std::pair<Candidate, std::uint32_t>> in_flight;  // with the weight
  for (const ModelVersion& row : record.versions) {
    if (row.status != Status::candidate || row.weight_ppm == 0) continue;
    const Candidate* found = now.find(row.number);
    in_flight.emplace_back(found != nullptr ? *found : Candidate{row.number, 0, 0}, row.weight_ppm);
  }
  std::sort(in_flight.begin(), in_flight.end(),
            [](const auto& a, const auto& b) { return a.first.number < b.first.number; });
  const std::vector<Rollout> rollouts = parse_rollouts(record.rollouts).value_or(std::vector<Rollout>{});
  std::vector<GuardLook> looks;
  for (const auto& [candidate, weight_ppm] : in_flight) {
    GuardLook look{.number = candidate.number,
                   .baseline_id = now.baseline == 0 ? task.name + "@default" : version_id(task.name, now.baseline),
                   .weight_ppm = weight_ppm,
                   .since = candidate.since,
                   .revision = record.revision,
                   .step = step_at(task.guard, weight_ppm),
                   .verdict = {}};
    if (const Rollout* found = find_rollout(rollouts, candidate.number)) {
      look.rollout = *found;
      if (is_live(found->state)) look.step.last = found->last();
    }
    std::vector<HistoryRow> history;
    std::vector<LifeEpoch> epochs;
    if (candidate.since != 0) {
      history = store.history(task.name, {.from = candidate.since, .to = record.revision});
      epochs = life_epochs(interactions, task.name, candidate, history);
    }
    look.step.candidates = in_flight.size();
    look.step.display = display;
    const TimeUs age_us = now_us - detail::step_began_us(history, epochs, candidate.number);
    look.step.age_s = age_us > 0 ? static_cast<std::uint64_t>(age_us / 1'000'000) : 0;  // another machine's clock
    std::string held = detail::changed_since(now, candidate, record.partition);
    if (held.empty()) held = detail::began_together(task.name, epochs, candidate);
    std::erase_if(epochs, [&](const LifeEpoch& each) { return each.epoch.baseline != now.baseline; });
    if (held.empty())
      look.verdict = judge(task.guard, {candidate.number, epochs, {}}, look.step);
    else
      look.verdict.reason = std::move(held);
    looks.push_back(std::move(look));
  }
  return looks;
}

}  // namespace canary
