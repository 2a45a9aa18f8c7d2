// plan_epoch.hpp: the epoch that a change of weights opens, as pure functions. Layer control; a part of registry.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "canary/control/epoch.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/store.hpp"
#include "canary/control/window.hpp"

namespace canary {

/// True if the change gives anybody another share.
[[nodiscard]] bool changes_weights(const TaskRecord& before, const Commit& planned) noexcept;

/// True if the change begins a rollout of a version whose share no epoch knows: a program that keeps none gave it.
[[nodiscard]] bool begins_unwatched(const TaskRecord& before, const Commit& planned);

/// Who is compared after the change, and since when. A candidate's life goes on while it has a share; from 0 % a new one
/// begins, and when it is compared with another baseline. Of several candidates the lives go on then: evidence is kept by the
/// revision that a life began with, so it must be one's own; of what was counted before they use nothing (guard_look.hpp).
/// The frozen figures are not filled in.
[[nodiscard]] Epoch plan_epoch(const TaskRecord& before, const Commit& planned);

/// What a version did on all servers from a time on.
[[nodiscard]] WindowCounts counts_since(InteractionStore& store, std::string_view task, std::uint32_t number,
                                        TimeUs from_us);

// ---------------------------------------------------------------------------------------------------------------------

inline bool changes_weights(const TaskRecord& before, const Commit& planned) noexcept {
  const auto old = before.partition.shares();
  const auto now = planned.row.partition.shares();
  const auto same = [](const OwnerShare& a, const OwnerShare& b) { return a.owner == b.owner && a.points == b.points; };
  return planned.row.points_moved != 0 || !std::equal(old.begin(), old.end(), now.begin(), now.end(), same);
}

inline bool begins_unwatched(const TaskRecord& before, const Commit& planned) {
  if (planned.row.action != "rollout start" && planned.row.action != "rollout resume") return false;
  const std::optional<Epoch> last = parse_epoch(before.epoch);
  return !last || last->find(planned.row.number) == nullptr;
}

inline Epoch plan_epoch(const TaskRecord& before, const Commit& planned) {
  std::vector<ServingVersion> serving;
  const auto add = [&](const ModelVersion& row) {
    const auto at =
        std::find_if(serving.begin(), serving.end(), [&](const auto& each) { return each.number == row.number; });
    if (at == serving.end())
      serving.push_back({row.number, row.model, row.status});
    else
      at->status = row.status;
  };
  for (const ModelVersion& row : before.versions) add(row);
  for (const ModelVersion& row : planned.versions) add(row);
  Epoch epoch = who_is_compared(serving, planned.row.partition);
  epoch.revision = planned.row.revision;
  const std::optional<Epoch> last = parse_epoch(before.epoch);
  const bool anew = last && last->baseline != epoch.baseline && epoch.candidates.size() == 1;
  for (Candidate& each : epoch.candidates) {
    each.since = epoch.revision;
    const Candidate* had = last ? last->find(each.number) : nullptr;
    // The points tell whether a program that knows no epochs changed the weights since.
    for (const OwnerShare& share : before.partition.shares())
      if (had != nullptr && !anew && share.owner == each.number && share.points == had->points) each.since = had->since;
  }
  return epoch;
}

inline WindowCounts counts_since(InteractionStore& store, std::string_view task, std::uint32_t number, TimeUs from_us) {
  WindowCounts sum;
  const std::optional<std::uint32_t> found = store.find_task(task);
  if (!found) return sum;
  for (const CountsRow& row :
       store.counts({.kind = CountsKind::window, .task = found, .of = number, .from = window_of(from_us)}))
    if (const std::optional<WindowCounts> counts = WindowCounts::parse(row.bytes)) sum.merge(*counts);
  return sum;
}

}  // namespace canary
