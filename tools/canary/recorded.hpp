// recorded.hpp: what commands about interactions work on, and the words for what they show.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/interaction_store.hpp"
#include "time_argument.hpp"
#include "workspace.hpp"

namespace canary::cli {

// Nouns, and verbs of `interactions`, as in context.hpp.
void add_interactions(Syntax root, Context& context);
void add_interactions_import(Syntax interactions, Context& context);
void add_interactions_stats(Syntax interactions, Context& context);
void add_interactions_feedback(Syntax interactions, Context& context);
void add_export(Syntax root, Context& context);

/// The configuration, its store, and the interactions in it.
struct Recorded : Workspace {
  /// Errors  as Workspace; StoreError for a store that cannot be reached, or whose schema keeps no interactions.
  explicit Recorded(const Context& context);

  /// Number of a version that exists, TASK@N or TASK@default; 0 is the default.
  /// Errors  Failure not_found for one that does not, invalid_input for what no version of the task is called.
  [[nodiscard]] std::uint16_t version_number(const TaskConfig& task, std::string_view id) const;

  std::unique_ptr<InteractionStore> interactions;
};

/// Ids of interactions that may have been recorded in a time. An id has the time of its decision: it is older than the
/// outcome by as long as the request took, and newer only where a node makes more ids than a millisecond has.
/// Input   the longest that anybody waits for an outcome.
[[nodiscard]] InteractionFilter filter_of(const TimeRange& range, TimeUs longest_us);

/// Longest time-out of an outcome of a task, or of all of them; a day at least.
[[nodiscard]] TimeUs longest_outcome_us(const Config& config, const TaskConfig* task);

/// `checks@2`, `checks@default`, or `checks@forced` for a forced model that is no version.
[[nodiscard]] std::string version_word(std::string_view task, const Interaction& row);

/// A score as the shortest number that reads back as it: 0.93
[[nodiscard]] std::string score_text(std::uint32_t billionths);

}  // namespace canary::cli
