// guard_strata.hpp: evidence of an epoch -> what is bet on: a metric's values, counts and frozen figures. Layer control.
//
// Each kind becomes values of which more is better. A missing outcome is a failure, a score of 0, slower than every
// threshold; it costs nothing that anybody knows. What is open counts as nothing yet.
//
//   success  0 or 1
//   score    0, 1/20 ... 1
//   latency  for each of up to five thresholds T: 1 if at most T; the candidate has until T (1 + margin)
//   cost     minus the cost, in means of the baseline; beyond ten times its 99th percentile as that
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/e_value.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/latency_thresholds.hpp"

namespace canary {

/// One epoch of a candidate's life, with the counts of all servers.
struct LifeEpoch {
  Epoch epoch;
  EvidenceCounts counts;
};

/// Counts as they stood earlier.
struct Restart {
  std::uint32_t k = 1;                 ///< number of this snapshot in the candidate's life, from 1, given once
  std::vector<EvidenceCounts> counts;  ///< of the life's first epochs, in their order
};

/// What the guard compares: a candidate's life.
struct Life {
  std::uint32_t candidate = 0;        ///< number of the version
  std::span<const LifeEpoch> epochs;  ///< from its latest start from 0 % on, in their order
  std::span<const Restart> restarts = {};
};

/// The candidate's chance of a request among the two arms' ones. 0 or 1: nothing is compared.
[[nodiscard]] double share_of(const Epoch& epoch, std::uint32_t candidate) noexcept;

/// What a metric bets on in one epoch: a stratum for each threshold of latency, else one.
/// Output  nothing where no arm or no threshold is there to be compared.
[[nodiscard]] std::vector<Stratum> strata_of(const MetricConfig& metric, std::span<const MetricConfig> all,
                                             const Epoch& epoch, const ArmCounts& baseline, const ArmCounts& candidate,
                                             double share, Claim claim);

/// Observations of an arm that are bet on: with a value, or missing for good.
[[nodiscard]] std::uint64_t counted(MetricKind kind, const ArmCounts& arm) noexcept;

/// Of those, the ones with an outcome that tells the metric's value.
[[nodiscard]] std::uint64_t observed(MetricKind kind, const ArmCounts& arm) noexcept;

/// Leaves what was counted since an earlier snapshot; false if that is no snapshot of these.
[[nodiscard]] bool subtract(ArmCounts& from, const ArmCounts& earlier) noexcept;

[[nodiscard]] inline CountedBy counted_by(MetricUnit unit) noexcept {
  return unit == MetricUnit::key ? CountedBy::unit : CountedBy::request;
}

// ---------------------------------------------------------------------------------------------------------------------

inline double share_of(const Epoch& epoch, std::uint32_t candidate) noexcept {
  const Candidate* found = epoch.find(candidate);
  if (found == nullptr || found->points == 0) return 0;
  const auto points = static_cast<double>(found->points);
  return points / (points + static_cast<double>(epoch.baseline_points));
}

namespace detail {

[[nodiscard]] inline double number(std::uint64_t count) noexcept { return static_cast<double>(count); }

[[nodiscard]] inline std::uint64_t at_most(const ArmCounts& arm, std::size_t threshold) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != arm.latency.size() && i <= threshold; ++i) sum += arm.latency[i];
  return sum;
}

[[nodiscard]] inline std::uint64_t sum_of(std::span<const std::uint64_t> counts) noexcept {
  std::uint64_t sum = 0;
  for (const std::uint64_t each : counts) sum += each;
  return sum;
}

}  // namespace detail

inline std::vector<Stratum> strata_of(const MetricConfig& metric, std::span<const MetricConfig> all, const Epoch& epoch,
                                      const ArmCounts& baseline, const ArmCounts& candidate, double share,
                                      Claim claim) {
  using detail::number;
  std::vector<Stratum> strata;
  if (!(share > 0 && share < 1)) return strata;
  strata.reserve(metric.kind == MetricKind::latency ? latency_quantiles.size() : 1);
  const Frozen& frozen = epoch.frozen;
  switch (metric.kind) {
    case MetricKind::success: {
      const double mean = frozen.success_mean;
      Stratum& made = strata.emplace_back(Stratum{.share = share, .centre = mean, .variance = mean * (1 - mean)});
      made.add({0, number(baseline.failures()), number(candidate.failures())});
      made.add({1, number(baseline.successes()), number(candidate.successes())});
      break;
    }
    case MetricKind::score: {
      Stratum& made =
          strata.emplace_back(Stratum{.share = share, .centre = frozen.score_mean, .variance = frozen.score_variance});
      for (std::size_t i = 0; i != value_bins; ++i)
        made.add({number(i) / (value_bins - 1), number(baseline.score[i]), number(candidate.score[i])});
      break;
    }
    case MetricKind::latency:
      for (const ThresholdPair& pair : threshold_pairs(metric, all, frozen, claim)) {
        Stratum& made = strata.emplace_back(
            Stratum{.share = share, .centre = pair.share, .variance = pair.share * (1 - pair.share)});
        const std::uint64_t fast_baseline = detail::at_most(baseline, pair.baseline);
        const std::uint64_t fast_candidate = detail::at_most(candidate, pair.candidate);
        made.add({0, number(detail::sum_of(baseline.latency) - fast_baseline),
                  number(detail::sum_of(candidate.latency) - fast_candidate)});
        made.add({1, number(fast_baseline), number(fast_candidate)});
      }
      break;
    case MetricKind::cost: {
      const double mean = frozen.cost_mean;
      if (!(frozen.cost_cap_microusd > 0) || !(mean > 0)) break;
      // As costs commonly spread (twice their mean squared, and what rounding adds): the frozen one is an upper bound.
      const double usual = 2 * mean * mean + mean / (value_bins - 1);
      Stratum& made = strata.emplace_back(
          Stratum{.share = share, .centre = -1, .variance = std::min(frozen.cost_variance, usual) / (mean * mean)});
      for (std::size_t i = value_bins; i-- != 0;)
        made.add({-number(i) / (value_bins - 1) / mean, number(baseline.cost[i]), number(candidate.cost[i])});
      break;
    }
  }
  return strata;
}

inline std::uint64_t counted(MetricKind kind, const ArmCounts& arm) noexcept {
  switch (kind) {
    case MetricKind::success:
      return arm.settled + arm.missing;
    case MetricKind::score:
      return detail::sum_of(arm.score);
    case MetricKind::latency:
      return detail::sum_of(arm.latency);
    case MetricKind::cost:
      return detail::sum_of(arm.cost);
  }
  return 0;
}

inline std::uint64_t observed(MetricKind kind, const ArmCounts& arm) noexcept {
  const std::uint64_t all = counted(kind, arm);
  return kind == MetricKind::cost ? all : all - std::min(all, arm.missing);
}

inline bool subtract(ArmCounts& from, const ArmCounts& earlier) noexcept {
  bool fits = earlier.latency.size() <= from.latency.size();
  const auto take = [&](std::uint64_t& count, std::uint64_t before) {
    fits = fits && before <= count;
    count -= std::min(count, before);
  };
  take(from.assigned, earlier.assigned);
  take(from.settled, earlier.settled);
  take(from.missing, earlier.missing);
  take(from.late, earlier.late);
  take(from.failed, earlier.failed);
  for (std::size_t i = 0; i != value_bins; ++i) {
    take(from.score[i], earlier.score[i]);
    take(from.cost[i], earlier.cost[i]);
  }
  for (std::size_t i = 0; fits && i != earlier.latency.size(); ++i) take(from.latency[i], earlier.latency[i]);
  return fits;
}

}  // namespace canary
