// degradation.hpp: is a version worse than its own past? No candidate needed. Layer control; pure, without a clock.
//
// Of each metric a bound is set for every hour: the worst that the version was in the same hours (one before and one after
// included) of the seven days before, or what the week as a whole shows with 99 % confidence, whichever is worse; and the
// margin on top. Success: share of failures. Score: mean. Latency: 95th percentile, so that 5 % of requests may be slower.
//
//   M = (M before + 1) * E of the window,   E = what bets against "not worse than the bound" gained in it
//   alert at M >= c = windows in `false_alarm_days`, when at least 3 of the last 6 windows lie beyond their bound
//
// Promise: while the chance of a failure (of a slow request; one less the mean score) stays within the bound, given all
// that was before and however it drifts below it, the mean time to a false alarm is c windows or more, whenever one looks.
// So daily and weekly swings are none as long as one of the seven days had them; the first day of its kind may be one.
// Not promised: that the cause is the version. Harder requests, a bad hour of the provider or one user's many failing
// requests make it worse as well. A slide slower than the margin in a week is not seen, nor what is not recorded; an outcome
// that never comes is in no window. What was bad on one of the seven days is not seen again at that time of day.
// Cost: some 700 additions of window counts, which are 1,800 numbers each.
// Source: Shin, Ramdas, Rinaldo 2024 (e-detectors); Fan, Grama, Liu 2015 for scores; docs/decisions/0013-alerts.md
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/e_value.hpp"
#include "canary/control/version_past.hpp"

namespace canary {

/// How a version does, beside its past, in one metric.
struct Degradation {
  MetricKind kind = MetricKind::success;
  bool found = false;    ///< it is worse
  double log_e = 0;      ///< evidence; at most the threshold
  double threshold = 0;  ///< that it must reach
  double recent = 0;     ///< share of successes, mean score, 95th percentile in microseconds: of the last six windows
  double past = 0;       ///< the worst that it was
  double bound = 0;      ///< with the margin
  std::uint64_t outcomes = 0;  ///< in those windows
};

/// Looks at each metric that the version has enough of: 1,000 outcomes in the week, 100 in the hours of one day.
/// Output  success, score and latency, as far as there is a past; empty where `false_alarm_days` is 0.
[[nodiscard]] std::vector<Degradation> degradations(const VersionPast& past, const DegradationConfig& config);

/// Sums over all times when the change may have come: Shiryaev and Roberts, with several bets at once.
class ChangeDetector {
 public:
  static constexpr std::size_t bets = 8;
  using Factors = std::array<double, bets>;  ///< logarithms

  explicit ChangeDetector(double threshold) noexcept : threshold_{threshold} {
    logs_.fill(-std::numeric_limits<double>::infinity());
  }
  void see(const Factors& factors) noexcept {
    const double most = threshold_ + std::log(static_cast<double>(bets));  // more would only take longer to go away
    for (std::size_t j = 0; j != bets; ++j) {
      const double before = std::max(logs_[j], 0.0) + std::log1p(std::exp(-std::abs(logs_[j])));  // log(M + 1)
      logs_[j] = std::min(before + factors[j], most);
    }
  }
  /// At most the threshold, a logarithm like it.
  [[nodiscard]] double value() const noexcept { return std::min(log_mean_exp(logs_), threshold_); }

 private:
  double threshold_;
  Factors logs_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

inline constexpr double past_z = 2.326;  // 99 %, on one side
inline constexpr std::uint64_t least_in_week = 1'000;
inline constexpr std::uint64_t least_in_hours = 100;
inline constexpr double slow_share = 0.05;

/// What bets gain from so many trials with so many bad ones, against "bad at most with chance `bound`".
[[nodiscard]] inline ChangeDetector::Factors share_factors(double bad, double good, double bound) noexcept {
  ChangeDetector::Factors factors{};
  if (!(bound > 0 && bound < 1)) return factors;
  for (std::size_t j = 0; j != factors.size(); ++j) {
    const double odds = 1.1 * std::pow(1.466, static_cast<double>(j)) * bound / (1 - bound);  // 1.1 to 16 times
    const double other = odds / (1 + odds);
    factors[j] = bad * std::log(other / bound) + good * std::log((1 - other) / (1 - bound));
  }
  return factors;
}

/// The same for values in [0, 1] of which only sums are known, against "the mean is at least `bound`":
/// log(1 + y) >= y - y^2 (-log(1 - b) - b)/b^2 for y >= -b.
[[nodiscard]] inline ChangeDetector::Factors mean_factors(double count, double sum, double squares,
                                                          double bound) noexcept {
  ChangeDetector::Factors factors{};
  if (!(bound > 0 && bound <= 1)) return factors;
  const double widest = std::max(1 - bound, 0.05);
  const double first = count * bound - sum;
  const double second = std::max(count * bound * bound - 2 * bound * sum + squares, 0.0);
  for (std::size_t j = 0; j != factors.size(); ++j) {
    const double loss = 0.5 * std::pow(0.6, static_cast<double>(j));  // the largest of one observation: 1.4 % to 50 %
    const double bet = loss / widest;
    const double b = std::max(bet * (1 - bound), 1e-6);
    factors[j] = bet * first - bet * bet * second * (-std::log1p(-b) - b) / (b * b);
  }
  return factors;
}

/// Upper end of where a share lies, by Wilson's score.
[[nodiscard]] inline double share_at_most(double bad, double all) noexcept {
  const double share = bad / all;
  const double z = past_z * past_z / all;
  return (share + z / 2 + past_z * std::sqrt(share * (1 - share) / all + z / (4 * all))) / (1 + z);
}

[[nodiscard]] inline std::uint64_t outcomes_of(MetricKind kind, const WindowCounts& counts) noexcept {
  if (kind == MetricKind::success) return counts.count;
  if (kind == MetricKind::latency) return counts.latency_us.total();
  // Scores that replace others may leave a window's sums below zero.
  const bool sound = counts.scored < std::uint64_t{1} << 53 && counts.score_sum <= counts.scored * score_one;
  return sound ? counts.scored : 0;
}

/// What a metric was: higher is worse for all, so a share of failures, 1 - mean, microseconds.
[[nodiscard]] inline double badness(MetricKind kind, const WindowCounts& counts) noexcept {
  if (kind == MetricKind::success) return static_cast<double>(counts.errors) / static_cast<double>(counts.count);
  if (kind == MetricKind::score) return 1 - counts.score_mean().value_or(1);
  return counts.latency_us.quantile(1 - slow_share).value_or(0);
}

/// The same with 99 % confidence.
[[nodiscard]] inline double badness_at_most(MetricKind kind, const WindowCounts& counts) noexcept {
  const auto all = static_cast<double>(outcomes_of(kind, counts));
  if (kind == MetricKind::success) return share_at_most(static_cast<double>(counts.errors), all);
  if (kind == MetricKind::score) {
    const double mean = counts.score_mean().value_or(1);
    const double variance = std::max(static_cast<double>(counts.score_square_sum) / (1e12 * all) - mean * mean, 0.0);
    return std::min(1 - mean + past_z * std::sqrt(variance / all), 1.0);
  }
  const double share = 1 - slow_share + past_z * std::sqrt(slow_share * (1 - slow_share) / all);
  return counts.latency_us.quantile(std::min(share, 1.0)).value_or(0);
}

inline constexpr std::array<MetricKind, 3> past_kinds{MetricKind::success, MetricKind::score, MetricKind::latency};

/// The worst that each of them was, as badness; nothing without enough of a past.
using WorstOfPast = std::array<std::optional<double>, past_kinds.size()>;

/// By hours of the last day. `week` is all that was before the day before the hour: it grows with the hours.
[[nodiscard]] inline std::vector<WorstOfPast> worst_by_hour(const VersionPast& past) {
  constexpr std::uint32_t day = 24;
  std::vector<WorstOfPast> all;
  if (past.end() <= past.recent()) return all;
  const std::uint32_t first = VersionPast::hour_of(past.recent());
  const std::uint32_t last = VersionPast::hour_of(past.end() - 1);
  if (first < VersionPast::days * day + 1) return std::vector<WorstOfPast>(last - first + 1);
  WindowCounts week;
  past.add_hours(first - VersionPast::days * day - 1, first - day + 1, week);
  for (std::uint32_t hour = first; hour <= last; ++hour) {
    past.add_hours(hour - day + 1, hour - day + 2, week);
    WorstOfPast worst;
    for (std::uint32_t back = 1; back <= VersionPast::days; ++back) {
      WindowCounts hours;
      past.add_hours(hour - back * day - 1, hour - back * day + 2, hours);
      for (std::size_t i = 0; i != past_kinds.size(); ++i)
        if (outcomes_of(past_kinds[i], hours) >= least_in_hours)
          worst[i] = std::max(worst[i].value_or(0), badness(past_kinds[i], hours));
    }
    for (std::size_t i = 0; i != past_kinds.size(); ++i) {
      if (outcomes_of(past_kinds[i], week) < least_in_week) worst[i].reset();
      if (worst[i]) worst[i] = std::max(*worst[i], badness_at_most(past_kinds[i], week));
    }
    all.push_back(worst);
  }
  return all;
}

/// Badness that is still no harm.
[[nodiscard]] inline double with_margin(MetricKind kind, double worst, const DegradationConfig& config) noexcept {
  if (kind == MetricKind::success) return worst + config.success_margin;
  if (kind == MetricKind::score) return worst + config.score_margin;
  return worst * (1 + config.latency_margin);
}

/// Requests that took longer, for certain.
[[nodiscard]] inline std::uint64_t slower_than(const Histogram& latencies, double bound) noexcept {
  std::uint64_t within = 0;
  for (std::size_t i = 0; i != Histogram::buckets && static_cast<double>(Histogram::lowest(i)) <= bound; ++i)
    within += latencies.at(i);
  return latencies.total() - within;
}

[[nodiscard]] inline ChangeDetector::Factors factors_of(MetricKind kind, const WindowCounts& counts,
                                                        double bound) noexcept {
  const auto all = static_cast<double>(outcomes_of(kind, counts));
  if (kind == MetricKind::success) {
    const auto bad = static_cast<double>(counts.errors);
    return share_factors(bad, all - bad, bound);
  }
  if (kind == MetricKind::latency) {
    const auto bad = static_cast<double>(slower_than(counts.latency_us, bound));
    return share_factors(bad, all - bad, slow_share);
  }
  constexpr double rounding = 2.1e-6;  // squares are of six digits, cut off
  return mean_factors(all, static_cast<double>(counts.score_sum) / score_one,
                      static_cast<double>(counts.score_square_sum) / 1e12 + rounding * all, 1 - bound);
}

/// As people read it: the share of successes, the mean score.
[[nodiscard]] inline double shown_value(MetricKind kind, double badness) noexcept {
  return kind == MetricKind::latency ? badness : 1 - std::min(badness, 1.0);
}

[[nodiscard]] inline std::optional<Degradation> degradation_of(std::size_t metric, const VersionPast& past,
                                                               const std::vector<WorstOfPast>& by_hour,
                                                               const DegradationConfig& config) {
  const MetricKind kind = past_kinds[metric];
  constexpr std::size_t last_windows = 6;
  constexpr int least_beyond = 3;
  struct Seen {
    std::uint32_t window;
    bool beyond;
  };
  const double threshold = std::log(static_cast<double>(config.false_alarm_days) * VersionPast::day_windows);
  ChangeDetector detector{threshold};
  std::vector<Seen> seen;
  std::optional<double> worst;
  for (std::uint32_t at = past.recent(); at != past.end(); ++at) {
    worst = by_hour[VersionPast::hour_of(at) - VersionPast::hour_of(past.recent())][metric];
    const WindowCounts& counts = past.window(at);
    if (!worst || outcomes_of(kind, counts) == 0) continue;
    const double bound = with_margin(kind, *worst, config);
    detector.see(factors_of(kind, counts, bound));
    seen.push_back({at, badness(kind, counts) > bound});
  }
  if (seen.empty() || !worst) return {};
  WindowCounts last;
  int beyond = 0;
  for (std::size_t i = seen.size() - std::min(seen.size(), last_windows); i != seen.size(); ++i) {
    last.merge(past.window(seen[i].window));
    beyond += seen[i].beyond ? 1 : 0;
  }
  Degradation result{.kind = kind, .log_e = detector.value(), .threshold = threshold};
  result.found = result.log_e >= threshold && beyond >= least_beyond;
  result.recent = shown_value(kind, badness(kind, last));
  result.past = shown_value(kind, *worst);
  result.bound = shown_value(kind, with_margin(kind, *worst, config));
  result.outcomes = outcomes_of(kind, last);
  return result;
}

}  // namespace detail

inline std::vector<Degradation> degradations(const VersionPast& past, const DegradationConfig& config) {
  std::vector<Degradation> all;
  if (config.false_alarm_days == 0) return all;
  const std::vector<detail::WorstOfPast> by_hour = detail::worst_by_hour(past);
  for (std::size_t metric = 0; metric != detail::past_kinds.size(); ++metric)
    if (const std::optional<Degradation> found = detail::degradation_of(metric, past, by_hour, config))
      all.push_back(*found);
  return all;
}

}  // namespace canary
