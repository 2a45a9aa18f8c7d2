// evidence.hpp: all that the guard reads: counts of one candidate's life in one epoch, of the candidate and of its baseline.
// Layer control. Counts of any number of servers add up; nothing here knows a clock or a store.
//
// Two ways to count stand side by side, since a metric may want either: by unit (a key's first assignment in the
// candidate's life, once) and by request. An assignment opens, its outcome settles it, and what is still open when the
// time for outcomes is over is closed as a failure, for good: an outcome that comes after that is late and counts for
// nothing. What is open is kept by the minute of its assignment, which every interaction id tells.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/bytes.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/interaction.hpp"
#include "canary/core/mix.hpp"
#include "canary/core/recorder.hpp"

namespace canary {

enum class Arm : std::uint8_t { baseline = 0, candidate = 1 };
enum class CountedBy : std::uint8_t { unit = 0, request = 1 };

/// Bins of a score or a cost: values in [0, 1] in twentieths, rounded at random so that the mean stays.
inline constexpr std::size_t value_bins = 21;

/// The bin of a value in [0, 1]. `draw` decides between the two neighbours; the same draw gives the same bin.
[[nodiscard]] inline std::size_t value_bin(double value, std::uint64_t draw) noexcept {
  const double scaled = std::clamp(value, 0.0, 1.0) * (value_bins - 1);
  const double below = std::floor(scaled);
  const double chance = static_cast<double>(draw >> 11) * 0x1p-53;
  return static_cast<std::size_t>(below) + (scaled - below > chance ? 1u : 0u);
}

/// One arm, counted one way.
struct ArmCounts {
  std::uint64_t assigned = 0;
  std::uint64_t settled = 0;  ///< of those, with an outcome in time
  std::uint64_t missing = 0;  ///< of those, closed without one: failures
  std::uint64_t late = 0;     ///< outcomes that came when it was closed: counted nowhere else
  std::uint64_t failed = 0;   ///< of the settled
  std::array<std::uint64_t, value_bins> score{};
  std::array<std::uint64_t, value_bins> cost{};
  std::vector<std::uint64_t>
      latency;  ///< [i]: at most the i-th threshold and above the one before; the last: above all

  [[nodiscard]] std::uint64_t failures() const noexcept { return failed + missing; }
  [[nodiscard]] std::uint64_t successes() const noexcept { return settled - failed; }
  void merge(const ArmCounts& other);
  friend bool operator==(const ArmCounts&, const ArmCounts&) = default;
};

/// Assignments of one minute without an outcome so far.
struct Open {
  std::uint32_t minute = 0;  ///< since 1970
  CountedBy by = CountedBy::unit;
  Arm arm = Arm::baseline;
  std::int64_t count = 0;  ///< below 0: so many outcomes were drained before their assignments
  friend bool operator==(const Open&, const Open&) = default;
};

class EvidenceCounts {
 public:
  /// Input   thresholds of latency that the epoch has.
  explicit EvidenceCounts(std::size_t thresholds = 0) {
    for (auto& way : arms_)
      for (ArmCounts& arm : way) arm.latency.resize(thresholds + 1);
  }

  [[nodiscard]] const ArmCounts& of(CountedBy by, Arm arm) const noexcept {
    return arms_[static_cast<std::size_t>(by)][static_cast<std::size_t>(arm)];
  }
  /// What is open, by minute.
  [[nodiscard]] const std::vector<Open>& open() const noexcept { return open_; }

  void assign(CountedBy by, Arm arm, std::uint64_t id);
  /// An outcome, unless its assignment was closed, or it comes later than `timeout_us` after it. Where nothing is open
  /// its assignment is still to come: another thread's lane has it.
  void settle(CountedBy by, Arm arm, const Interaction& outcome, const Frozen& frozen, std::int64_t timeout_us);
  /// An outcome whose assignment is not open here.
  void settle_late(CountedBy by, Arm arm) noexcept { ++mine(by, arm).late; }
  /// A score that came after its outcome.
  void add_score(CountedBy by, Arm arm, const Interaction& scored) noexcept {
    ++mine(by, arm).score[score_bin(scored)];
  }
  /// Closes what was assigned before the minute; true if there was anything. Outcomes whose assignment never came, since
  /// it was dropped, tell of it themselves.
  bool close_before(std::uint32_t minute);
  /// Lets go of what was assigned before the minute without a word on it: of a reader that may have missed outcomes.
  void forget_before(std::uint32_t minute);
  /// Adds another server's counts of the same epoch.
  void merge(const EvidenceCounts& other);

  [[nodiscard]] std::string bytes() const;
  /// Errors  nothing for bytes that are not of bytes().
  [[nodiscard]] static std::optional<EvidenceCounts> parse(std::string_view bytes);

  [[nodiscard]] static constexpr std::uint32_t minute_of(std::int64_t time_us) noexcept {
    return time_us <= 0 ? 0 : static_cast<std::uint32_t>(time_us / 60'000'000);
  }

  friend bool operator==(const EvidenceCounts&, const EvidenceCounts&) = default;

 private:
  static constexpr std::uint64_t format = 0x66;  // whoever reads another kind's bytes shall notice

  [[nodiscard]] ArmCounts& mine(CountedBy by, Arm arm) noexcept {
    return arms_[static_cast<std::size_t>(by)][static_cast<std::size_t>(arm)];
  }
  [[nodiscard]] std::vector<Open>::iterator find_open(const Open& wanted) {
    return std::lower_bound(open_.begin(), open_.end(), wanted, [](const Open& a, const Open& b) {
      if (a.minute != b.minute) return a.minute < b.minute;
      return a.by != b.by ? a.by < b.by : a.arm < b.arm;
    });
  }
  [[nodiscard]] static bool same(const Open& a, const Open& b) noexcept {
    return a.minute == b.minute && a.by == b.by && a.arm == b.arm;
  }
  [[nodiscard]] static std::size_t score_bin(const Interaction& row) noexcept {
    return value_bin(static_cast<double>(row.score) / score_one, detail::mix(row.id));
  }
  void add_open(const Open& more);

  std::array<std::array<ArmCounts, 2>, 2> arms_;
  std::vector<Open> open_;
  std::uint32_t closed_before_ = 0;  // minute; what was assigned earlier is closed
};

/// Which units are counted: all of a young life, then every second, fourth and so on of those that come, so that a life
/// has about a million however many keys there are. What was counted stays.
struct UnitSample {
  static constexpr std::uint64_t first = std::uint64_t{1} << 18;  ///< units until the first halving
  static constexpr std::uint64_t each = std::uint64_t{1} << 17;   ///< and from one to the next

  /// Halvings after so many units.
  [[nodiscard]] static constexpr int level(std::uint64_t units) noexcept {
    if (units < first) return 0;
    const std::uint64_t level = 1 + (units - first) / each;
    return level > 31 ? 31 : static_cast<int>(level);
  }
  /// By a hash that has nothing to do with the one that chose the version.
  [[nodiscard]] static constexpr bool has(Point point, int level) noexcept {
    return level == 0 || detail::mix(point ^ 0x756E'6974'0000'0000) >> (64 - level) == 0;
  }
};

// ---------------------------------------------------------------------------------------------------------------------

inline void ArmCounts::merge(const ArmCounts& other) {
  assigned += other.assigned;
  settled += other.settled;
  missing += other.missing;
  late += other.late;
  failed += other.failed;
  for (std::size_t i = 0; i != value_bins; ++i) {
    score[i] += other.score[i];
    cost[i] += other.cost[i];
  }
  if (latency.size() < other.latency.size()) latency.resize(other.latency.size());
  for (std::size_t i = 0; i != other.latency.size(); ++i) latency[i] += other.latency[i];
}

inline void EvidenceCounts::add_open(const Open& more) {
  const auto at = find_open(more);
  if (at == open_.end() || !same(*at, more)) {
    open_.insert(at, more);
    return;
  }
  at->count += more.count;
  if (at->count == 0) open_.erase(at);
}

inline void EvidenceCounts::assign(CountedBy by, Arm arm, std::uint64_t id) {
  ++mine(by, arm).assigned;
  add_open({minute_of(InteractionId::time_us(id)), by, arm, 1});
}

inline void EvidenceCounts::settle(CountedBy by, Arm arm, const Interaction& outcome, const Frozen& frozen,
                                   std::int64_t timeout_us) {
  ArmCounts& counts = mine(by, arm);
  const std::int64_t assigned_us = InteractionId::time_us(outcome.id);
  const Open settled{minute_of(assigned_us), by, arm, -1};
  if (settled.minute < closed_before_ || outcome.at_us - assigned_us > timeout_us) {
    ++counts.late;
    return;
  }
  add_open(settled);
  ++counts.settled;
  if (outcome.error != 0) ++counts.failed;
  if (outcome.score != no_score) ++counts.score[score_bin(outcome)];
  if (frozen.cost_cap_microusd > 0)
    ++counts.cost[value_bin(static_cast<double>(outcome.cost_microusd) / frozen.cost_cap_microusd,
                            detail::mix(outcome.id + 1))];
  if (outcome.latency_us != no_latency && !frozen.latency_us.empty()) {
    const auto bin = std::lower_bound(frozen.latency_us.begin(), frozen.latency_us.end(), outcome.latency_us);
    const auto place = static_cast<std::size_t>(bin - frozen.latency_us.begin());
    if (place < counts.latency.size()) ++counts.latency[place];
  }
}

inline bool EvidenceCounts::close_before(std::uint32_t minute) {
  auto at = open_.begin();
  for (; at != open_.end() && at->minute < minute; ++at) {
    ArmCounts& counts = mine(at->by, at->arm);
    if (at->count < 0) {
      counts.assigned += static_cast<std::uint64_t>(-at->count);
      continue;
    }
    const auto count = static_cast<std::uint64_t>(at->count);
    counts.missing += count;
    counts.score[0] += count;
    if (counts.latency.size() > 1) counts.latency.back() += count;
  }
  const bool any = at != open_.begin();
  open_.erase(open_.begin(), at);
  if (any) closed_before_ = std::max(closed_before_, minute);
  return any;
}

inline void EvidenceCounts::forget_before(std::uint32_t minute) {
  const auto end =
      std::find_if(open_.begin(), open_.end(), [minute](const Open& each) { return each.minute >= minute; });
  open_.erase(open_.begin(), end);
  closed_before_ = std::max(closed_before_, minute);
}

inline void EvidenceCounts::merge(const EvidenceCounts& other) {
  for (std::size_t by = 0; by != arms_.size(); ++by)
    for (std::size_t arm = 0; arm != arms_[by].size(); ++arm) arms_[by][arm].merge(other.arms_[by][arm]);
  for (const Open& each : other.open_) add_open(each);
  closed_before_ = std::max(closed_before_, other.closed_before_);
}

inline std::string EvidenceCounts::bytes() const {
  std::string out;
  detail::put_number(out, format);
  detail::put_number(out, arms_[0][0].latency.size());
  for (const auto& way : arms_)
    for (const ArmCounts& arm : way) {
      for (const std::uint64_t value : {arm.assigned, arm.settled, arm.missing, arm.late, arm.failed})
        detail::put_number(out, value);
      for (const std::uint64_t value : arm.score) detail::put_number(out, value);
      for (const std::uint64_t value : arm.cost) detail::put_number(out, value);
      for (const std::uint64_t value : arm.latency) detail::put_number(out, value);
    }
  detail::put_number(out, closed_before_);
  detail::put_number(out, open_.size());
  for (const Open& each : open_) {
    detail::put_number(out, each.minute);
    detail::put_number(out, static_cast<std::uint64_t>(each.by) * 2 + static_cast<std::uint64_t>(each.arm));
    detail::put_number(out, static_cast<std::uint64_t>(each.count));
  }
  return out;
}

inline std::optional<EvidenceCounts> EvidenceCounts::parse(std::string_view bytes) {
  detail::NumberReader in{bytes};
  if (in.take() != format) return {};
  const std::uint64_t bins = in.take(65);
  if (in.failed() || bins == 0) return {};
  EvidenceCounts counts{bins - 1};
  for (auto& way : counts.arms_)
    for (ArmCounts& arm : way) {
      for (std::uint64_t* value : {&arm.assigned, &arm.settled, &arm.missing, &arm.late, &arm.failed})
        *value = in.take();
      for (std::uint64_t& value : arm.score) value = in.take();
      for (std::uint64_t& value : arm.cost) value = in.take();
      for (std::uint64_t& value : arm.latency) value = in.take();
    }
  counts.closed_before_ = static_cast<std::uint32_t>(in.take(0xFFFF'FFFF));
  for (std::uint64_t left = in.take(); left != 0 && !in.failed(); --left) {
    Open each;
    each.minute = static_cast<std::uint32_t>(in.take(0xFFFF'FFFF));
    const std::uint64_t which = in.take(3);
    each.by = static_cast<CountedBy>(which / 2);
    each.arm = static_cast<Arm>(which % 2);
    each.count = static_cast<std::int64_t>(in.take());
    if (!in.failed()) counts.add_open(each);
  }
  if (!in.done()) return {};
  return counts;
}

}  // namespace canary
