// rollout_view.hpp: rollouts in the shapes that JSON and people get them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/rollout.hpp"
#include "canary/control/store.hpp"
#include "output.hpp"
#include "registry_view.hpp"

namespace canary::cli {

/// A rollout with the changes that belong to it, oldest first.
struct RolloutReport {
  std::string task;
  Rollout rollout;
  std::vector<PastChange> changes;
};

/// The changes of a task since the rollout's start that named its version, or moved the rollout.
[[nodiscard]] std::vector<PastChange> rollout_changes(Store& store, std::string_view task, std::uint32_t number);

/// `step` counts from 1.
[[nodiscard]] boost::json::object rollout_document(const RolloutReport& report);

/// A row for each rollout.
[[nodiscard]] Table rollouts_table(const std::vector<RolloutReport>& reports);

/// `step 2 of 5, 5 %`
[[nodiscard]] std::string rollout_step_text(const Rollout& rollout);

/// `1, 5, 25, 50, 100 %`
[[nodiscard]] std::string rollout_steps_text(const Rollout& rollout);

}  // namespace canary::cli
