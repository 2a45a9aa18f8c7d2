// registry_view.hpp: versions, splits and history in the shapes that JSON and tables give them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"
#include "output.hpp"

namespace canary::cli {

/// A row of history, and the split that it changed.
struct PastChange {
  Partition before;
  HistoryRow row;
};

/// A task's newest changes, oldest first.
[[nodiscard]] std::vector<PastChange> past_changes(Store& store, std::string_view task, std::uint32_t newest);

/// The change that made the split of a revision; nothing when nobody changed a weight up to there.
[[nodiscard]] std::optional<PastChange> last_change_of_weights(Store& store, std::string_view task,
                                                               std::uint32_t revision);

/// Id of an owner in a stored partition; 0 is the default.
[[nodiscard]] std::string owner_id(std::string_view task, std::uint32_t owner);

[[nodiscard]] std::uint32_t weight_in(const Partition& partition, std::uint32_t owner);

[[nodiscard]] boost::json::object version_document(std::string_view task, const ModelVersion& row);
[[nodiscard]] boost::json::object history_document(std::string_view task, const PastChange& change);
[[nodiscard]] boost::json::array history_documents(std::string_view task, const std::vector<PastChange>& changes);

/// A row for each change, the newest last.
[[nodiscard]] Table history_table(const std::vector<PastChange>& changes);

/// On one line; what is too long for a table ends in dots.
[[nodiscard]] std::string cell(std::string_view text, std::size_t most_characters = 48);

/// To the second, for people.
[[nodiscard]] std::string time_cell(TimeUs at_us);

/// Points as a part of the ring: `4 %`, `0.0001 %`.
[[nodiscard]] std::string ring_text(std::uint64_t points);

}  // namespace canary::cli
