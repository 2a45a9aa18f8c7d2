// interaction_ids.hpp: interaction ids for rows whose times are in any order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>

#include "canary/control/store.hpp"
#include "canary/core/entry.hpp"

namespace canary::cli {

/// Ids of one node, each of its row's millisecond, or of the next one that has any left. What was given is kept as
/// runs, so that a million rows of one moment cost no more than any others.
class InteractionIds {
 public:
  /// Input   `first`: where in each millisecond to begin. The node may have been another's, who gave ids out from 0 on.
  InteractionIds(std::uint32_t node, std::uint32_t first) noexcept
      : node_{node}, first_{first % (1u << InteractionId::count_bits)} {}

  /// An id that was not given since the last forget(); for times that rise it rises.
  [[nodiscard]] std::uint64_t next(TimeUs at_us) {
    std::uint64_t cursor = std::max<std::uint64_t>(InteractionId::cursor_at(at_us) + first_, 1);  // 0 is no id
    auto after = given_.upper_bound(cursor);
    auto run = after;
    if (after != given_.begin() && std::prev(after)->second >= cursor)
      cursor = (run = std::prev(after))->second++;
    else
      run = given_.emplace_hint(after, cursor, cursor + 1);
    if (after != given_.end() && after->first == run->second) {  // they have met
      run->second = after->second;
      given_.erase(after);
    }
    return InteractionId::at(cursor, node_);
  }

  /// Forgets what was given when that is much: the store finds out what comes again.
  void forget_some() {
    if (given_.size() > most_runs) given_.clear();
  }

 private:
  static constexpr std::size_t most_runs = 65'536;
  std::uint32_t node_;
  std::uint32_t first_;
  std::map<std::uint64_t, std::uint64_t> given_;  // by its first cursor, the one past its last
};

}  // namespace canary::cli
