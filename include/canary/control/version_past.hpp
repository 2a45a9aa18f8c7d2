// version_past.hpp: what a version did in the last eight days, by hours, and in the last day by windows. Layer control.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "canary/control/interaction_store.hpp"
#include "canary/control/store.hpp"
#include "canary/control/window.hpp"

namespace canary {

/// Windows that are over, of one version, over all servers. A window counts as over a minute after its end; what a server
/// delivers later still changes it.
/// Cost    5 MB while it lives.
class VersionPast {
 public:
  static constexpr std::uint32_t hour_windows = 6;
  static constexpr std::uint32_t day_windows = 24 * hour_windows;
  static constexpr std::uint32_t days = 7;
  static constexpr std::int64_t settle_us = 60'000'000;

  explicit VersionPast(TimeUs now_us)
      : end_{window_of(now_us - settle_us)},
        first_hour_{hour_of(begin())},
        hours_(hour_of(end_) - first_hour_ + 1),
        windows_(std::min(end_, day_windows)) {}

  /// First window that matters.
  [[nodiscard]] std::uint32_t begin() const noexcept {
    constexpr std::uint32_t all = (days + 1) * day_windows + 2 * hour_windows;
    return end_ > all ? end_ - all : 0;
  }
  /// First window that is not over.
  [[nodiscard]] std::uint32_t end() const noexcept { return end_; }
  /// First window of the last day.
  [[nodiscard]] std::uint32_t recent() const noexcept { return end_ - static_cast<std::uint32_t>(windows_.size()); }

  /// Adds what one server counted; windows that do not matter are left out.
  void add(std::uint32_t window, const WindowCounts& counts) noexcept {
    if (window < begin() || window >= end_) return;
    hours_[hour_of(window) - first_hour_].merge(counts);
    if (window >= recent()) windows_[window - recent()].merge(counts);
  }

  /// A window of the last day.
  [[nodiscard]] const WindowCounts& window(std::uint32_t at) const noexcept { return windows_[at - recent()]; }
  /// Adds whole hours to `sum`, counted from 1970, from `first` to before `last`; those that are not kept are empty.
  void add_hours(std::uint32_t first, std::uint32_t last, WindowCounts& sum) const noexcept {
    for (std::uint32_t hour = std::max(first, first_hour_); hour < last && hour - first_hour_ < hours_.size(); ++hour)
      sum.merge(hours_[hour - first_hour_]);
  }
  [[nodiscard]] static constexpr std::uint32_t hour_of(std::uint32_t window) noexcept { return window / hour_windows; }

 private:
  std::uint32_t end_;
  std::uint32_t first_hour_;
  std::vector<WindowCounts> hours_;
  std::vector<WindowCounts> windows_;
};

/// Reads it.
/// Input   `number` of the version; 0: the task's default.
/// Errors  StoreError; `corrupt` for counts that make no sense.
/// Cost    a row for each server and window: about a thousand a server.
[[nodiscard]] inline VersionPast version_past(InteractionStore& store, std::string_view task, std::uint32_t number,
                                              TimeUs now_us) {
  VersionPast past{now_us};
  const std::optional<std::uint32_t> found = store.find_task(task);
  if (!found || past.end() == 0) return past;
  for (const CountsRow& row : store.counts(
           {.kind = CountsKind::window, .task = found, .of = number, .from = past.begin(), .to = past.end() - 1})) {
    const std::optional<WindowCounts> counts = WindowCounts::parse(row.bytes);
    if (!counts)
      throw StoreError{StoreErrc::corrupt, "task " + std::string{task} + ": counts that make no sense",
                       "restore a backup: canary store restore"};
    past.add(row.at, *counts);
  }
  return past;
}

/// Entries of a task that were not recorded in the last hour: rings were full.
/// Errors  StoreError.
[[nodiscard]] inline std::uint64_t drops_of(InteractionStore& store, std::string_view task, TimeUs now_us) {
  const std::optional<std::uint32_t> found = store.find_task(task);
  if (!found) return 0;
  std::uint64_t sum = 0;
  const std::uint32_t now = window_of(now_us);
  const std::uint32_t from = now < VersionPast::hour_windows ? 0 : now - VersionPast::hour_windows;
  for (const CountsRow& row : store.counts({.kind = CountsKind::drops, .task = found, .of = 0, .from = from}))
    sum += detail::NumberReader{row.bytes}.take();
  return sum;
}

}  // namespace canary
