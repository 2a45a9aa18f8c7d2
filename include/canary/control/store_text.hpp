// store_text.hpp: partitions and status changes as one text each, for stores that keep them in a column. Layer control.
// Meant to be read by people too, at the prompt of their database:
//   partition        `0:0 3865470566:2|0:900000 2:100000`    run start:owner, by start; | ; owner:ppm, by owner
//   status changes   `2:ACTIVE>DEPRECATED 3:CANDIDATE>ACTIVE`
// The form is part of the schema: it changes with the schema's number only.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/store.hpp"
#include "canary/core/partition.hpp"

namespace canary {

[[nodiscard]] inline std::string partition_text(const Partition& partition) {
  std::string text;
  const auto add = [&text](std::uint64_t left, std::uint64_t right) {
    if (!text.empty() && text.back() != '|') text += ' ';
    text += std::to_string(left) + ':' + std::to_string(right);
  };
  for (const Run& run : partition.runs()) add(run.start, run.owner);
  text += '|';
  for (const OwnerShare& share : partition.shares()) add(share.owner, share.ppm);
  return text;
}

[[nodiscard]] inline std::string status_changes_text(const std::vector<StatusChange>& changes) {
  std::string text;
  for (const StatusChange& change : changes) {
    if (!text.empty()) text += ' ';
    text += std::to_string(change.number) + ':';
    (((text += to_string(change.before)) += '>') += to_string(change.after));
  }
  return text;
}

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Takes a decimal number of at most `most` off the front of `text`.
[[nodiscard]] inline std::optional<std::uint64_t> take_number(std::string_view& text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value > most) return {};
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

[[nodiscard]] inline bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

/// Takes `number:number` pairs, one space between two of them, off the front of `text`, up to its end or a `|`.
template <class Add>
[[nodiscard]] bool take_pairs(std::string_view& text, std::uint64_t most_left, std::uint64_t most_right, Add add) {
  do {
    const auto left = take_number(text, most_left);
    if (!left || !take(text, ':')) return false;
    const auto right = take_number(text, most_right);
    if (!right) return false;
    add(*left, *right);
  } while (take(text, ' '));
  return true;
}

}  // namespace detail

/// Errors  nothing for a text that is no valid partition, down to shares that do not fit the runs.
[[nodiscard]] inline std::optional<Partition> parse_partition(std::string_view text) {
  constexpr std::uint64_t most_owner = std::numeric_limits<Owner>::max();
  Partition::Runs runs;
  Partition::Shares shares;
  const auto add_run = [&](std::uint64_t start, std::uint64_t owner) {
    runs.push_back({static_cast<Point>(start), static_cast<Owner>(owner)});
  };
  const auto add_share = [&](std::uint64_t owner, std::uint64_t ppm) {
    shares.push_back({static_cast<Owner>(owner), static_cast<std::uint32_t>(ppm), 0});
  };
  if (!detail::take_pairs(text, ring_points - 1, most_owner, add_run) || !detail::take(text, '|') ||
      !detail::take_pairs(text, most_owner, total_ppm, add_share) || !text.empty())
    return {};
  for (std::size_t i = 0; i != runs.size(); ++i) {
    const std::uint64_t end = i + 1 == runs.size() ? ring_points : runs[i + 1].start;
    const auto share = std::lower_bound(shares.begin(), shares.end(), runs[i].owner,
                                        [](const OwnerShare& s, Owner owner) { return s.owner < owner; });
    if (end <= runs[i].start || share == shares.end() || share->owner != runs[i].owner) return {};
    share->points += end - runs[i].start;
  }
  Partition partition{std::move(runs), std::move(shares)};
  if (!partition.valid()) return {};
  return partition;
}

/// Errors  nothing for a text that is no list of status changes.
[[nodiscard]] inline std::optional<std::vector<StatusChange>> parse_status_changes(std::string_view text) {
  std::vector<StatusChange> changes;
  const auto take_status = [&text](std::string_view ends) {
    const std::string_view word = text.substr(0, text.find_first_of(ends));
    text.remove_prefix(word.size());
    return parse_status(word);
  };
  while (!text.empty()) {
    if (!changes.empty() && !detail::take(text, ' ')) return {};
    const auto number = detail::take_number(text, max_version_number);
    if (!number || !detail::take(text, ':')) return {};
    const auto before = take_status(">");
    if (!before || !detail::take(text, '>')) return {};
    const auto after = take_status(" ");
    if (!after) return {};
    changes.push_back({static_cast<std::uint32_t>(*number), *before, *after});
  }
  return changes;
}

}  // namespace canary
