// guard_metric.hpp: one metric over a candidate's life -> its two e-values, and what a person wants to see. Layer control.
//
// Against damage that comes late, a tenth of the capital is kept for games that start anew: at the beginning of each epoch,
// and at snapshots of the counts that the caller kept,
//
//   E = 0.9 E_0 + 0.05 sum E_{epoch i on}/(i (i + 1)) + 0.05 sum E_{snapshot k on}/(k (k + 1)),   i, k = 1, 2, ...
//
// with numbers that are fixed before the outcomes come. A snapshot that is not there counts 0. Against harm (to advance)
// only the game from the start counts, and of a latency's thresholds the least sure one, since each must hold.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "canary/control/error_ratio.hpp"
#include "canary/control/guard_strata.hpp"
#include "canary/control/sample_ratio.hpp"
#include "canary/control/verdict.hpp"

namespace canary {

inline constexpr double interval_alpha = 0.05;  // of the intervals that are shown

/// A metric's counts over a life, made ready to be bet on.
class MetricEvidence {
 public:
  MetricEvidence(const MetricConfig& metric, std::span<const MetricConfig> all, const Life& life);

  /// Log of the e-value against "no harm beyond the margin", restarts included.
  [[nodiscard]] double log_rollback() const;
  /// Log of the e-value against "harm of `margin` or more".
  [[nodiscard]] double log_advance(double margin, double times = 1) const;
  /// Log of the e-value from the start alone, if everything had come `times` as often.
  [[nodiscard]] double log_rollback_from_start(double times) const;

  [[nodiscard]] const ArmValue& baseline() const noexcept { return baseline_; }
  [[nodiscard]] const ArmValue& candidate() const noexcept { return candidate_; }
  /// Observations whose value was recorded.
  [[nodiscard]] std::uint64_t observed_baseline() const noexcept { return observed_baseline_; }
  [[nodiscard]] std::uint64_t observed_candidate() const noexcept { return observed_candidate_; }
  /// True if each arm has its share of what is bet on: else a mean off its frozen centre would look like a difference.
  [[nodiscard]] bool comparable() const noexcept { return log_counted_alike_ < -std::log(sample_ratio_alpha); }
  /// True if each arm has its share of the values that are recorded.
  [[nodiscard]] bool recorded_alike() const noexcept { return log_recorded_alike_ < -std::log(sample_ratio_alpha); }
  [[nodiscard]] bool candidate_recorded_less() const noexcept { return recorded_less_; }
  [[nodiscard]] Interval interval() const;
  /// Further requests of both arms until either log reaches its threshold, if it goes on like this.
  /// Input   `per_observation`: requests that come with one that counts.
  [[nodiscard]] std::optional<std::uint64_t> requests_to_verdict(double threshold_rollback, double threshold_advance,
                                                                 double advance_margin, double per_observation) const;

 private:
  using Series = std::vector<Stratum>;  // of one threshold, or of the only value; one for each epoch
  [[nodiscard]] double tolerance() const noexcept { return metric_.kind == MetricKind::latency ? 0 : metric_.margin; }
  [[nodiscard]] std::vector<Series> series(const Life& life, const Restart* since, Claim claim) const;
  [[nodiscard]] double log_mixture(std::size_t nth) const;
  struct Capital {
    BetLogs difference{};
    RatioLogs ratio{};
  };
  void bet(Capital& capital, const Stratum& stratum, double times) const;
  [[nodiscard]] double log_of(const Capital& capital) const noexcept;
  [[nodiscard]] double log_from_start(const Series& strata, double times) const;
  [[nodiscard]] const std::vector<Series>& harmed() const noexcept {
    return metric_.kind == MetricKind::latency ? harmed_ : harm_free_;
  }
  void sum_up(const Life& life);

  const MetricConfig& metric_;
  std::span<const MetricConfig> all_;
  std::vector<Series> harm_free_;  // by threshold
  std::vector<Series> harmed_;     // the same to advance, where it differs
  struct Late {
    std::uint32_t k;
    std::vector<Series> series;
  };
  std::vector<Late> restarts_;
  ArmValue baseline_;
  ArmValue candidate_;
  std::uint64_t observed_baseline_ = 0;
  std::uint64_t observed_candidate_ = 0;
  double log_counted_alike_ = 0;   // sample ratios, over units
  double log_recorded_alike_ = 0;  // the same without missing ones
  bool recorded_less_ = false;
  double unit_of_value_ = 1;  // of a value that is bet on, in the unit that is shown
};

// ---------------------------------------------------------------------------------------------------------------------

inline MetricEvidence::MetricEvidence(const MetricConfig& metric, std::span<const MetricConfig> all, const Life& life)
    : metric_{metric}, all_{all}, harm_free_{series(life, nullptr, Claim::no_harm)} {
  // The two differ where a threshold with the margin is not there, see threshold_pairs().
  if (metric.kind == MetricKind::latency) harmed_ = series(life, nullptr, Claim::harm);
  std::vector<std::uint32_t> given;
  for (const Restart& each : life.restarts) {
    if (each.k == 0 || std::find(given.begin(), given.end(), each.k) != given.end()) continue;
    given.push_back(each.k);
    restarts_.push_back({each.k, series(life, &each, Claim::no_harm)});
  }
  sum_up(life);
}

inline std::vector<MetricEvidence::Series> MetricEvidence::series(const Life& life, const Restart* since,
                                                                  Claim claim) const {
  const CountedBy by = counted_by(metric_.unit);
  std::vector<Series> made;
  for (std::size_t i = 0; i != life.epochs.size(); ++i) {
    const LifeEpoch& each = life.epochs[i];
    const double share = share_of(each.epoch, life.candidate);
    std::vector<Stratum> strata;
    if (since == nullptr || i >= since->counts.size()) {
      strata = strata_of(metric_, all_, each.epoch, each.counts.of(by, Arm::baseline),
                         each.counts.of(by, Arm::candidate), share, claim);
    } else {
      ArmCounts baseline = each.counts.of(by, Arm::baseline);
      ArmCounts candidate = each.counts.of(by, Arm::candidate);
      const bool fits = subtract(baseline, since->counts[i].of(by, Arm::baseline)) &&
                        subtract(candidate, since->counts[i].of(by, Arm::candidate));
      if (!fits) return {};
      strata = strata_of(metric_, all_, each.epoch, baseline, candidate, share, claim);
    }
    if (made.size() < strata.size()) made.resize(strata.size());
    for (std::size_t nth = 0; nth != strata.size(); ++nth) {
      made[nth].resize(life.epochs.size());
      made[nth][i] = strata[nth];
    }
  }
  return made;
}

namespace detail {

[[nodiscard]] inline FailureCounts failures_of(const Stratum& stratum) noexcept {
  return {stratum.share, stratum.cells[0].baseline, stratum.cells[0].candidate};
}

/// Log of 1/(k (k + 1)).
[[nodiscard]] inline double log_restart_weight(std::size_t k) noexcept {
  return -std::log(static_cast<double>(k)) - std::log1p(static_cast<double>(k));
}

}  // namespace detail

inline void MetricEvidence::bet(Capital& capital, const Stratum& stratum, double times) const {
  if (metric_.kind == MetricKind::success && metric_.error_ratio > 0)
    bet_on_ratio(capital.ratio, detail::failures_of(stratum), metric_.error_ratio, times);
  else
    bet_on(capital.difference, stratum, tolerance(), Claim::no_harm, times);
}

inline double MetricEvidence::log_of(const Capital& capital) const noexcept {
  const bool ratio = metric_.kind == MetricKind::success && metric_.error_ratio > 0;
  return ratio ? log_mean_exp(capital.ratio) : log_mean_exp(capital.difference);
}

inline double MetricEvidence::log_from_start(const Series& strata, double times) const {
  Capital capital;
  for (const Stratum& each : strata) bet(capital, each, times);
  return log_of(capital);
}

inline double MetricEvidence::log_mixture(std::size_t nth) const {
  constexpr double late_share = 0.05;
  const Series& strata = harm_free_[nth];
  std::vector<double> parts;
  Capital capital;
  for (std::size_t i = strata.size(); i-- != 0;) {  // backwards: the game from an epoch on holds all later ones
    bet(capital, strata[i], 1);
    parts.push_back(log_of(capital) + (i == 0 ? std::log(0.9) : std::log(late_share) + detail::log_restart_weight(i)));
  }
  for (const Late& each : restarts_)
    if (nth < each.series.size())
      parts.push_back(std::log(late_share) + detail::log_restart_weight(each.k) + log_from_start(each.series[nth], 1));
  return log_mean_exp(parts) + std::log(static_cast<double>(parts.size()));
}

inline double MetricEvidence::log_rollback() const {
  std::vector<double> logs;
  for (std::size_t nth = 0; nth != harm_free_.size(); ++nth) logs.push_back(log_mixture(nth));
  return logs.empty() ? 0 : log_mean_exp(logs);
}

inline double MetricEvidence::log_rollback_from_start(double times) const {
  std::vector<double> logs;
  logs.reserve(harm_free_.size());
  for (const Series& each : harm_free_) logs.push_back(log_from_start(each, times));
  return logs.empty() ? 0 : log_mean_exp(logs);
}

inline double MetricEvidence::log_advance(double margin, double times) const {
  double least = std::numeric_limits<double>::infinity();
  for (const Series& each : harmed()) least = std::min(least, log_capital(each, margin, Claim::harm, times));
  return harmed().empty() ? 0 : least;
}

inline Interval MetricEvidence::interval() const {
  if (harmed().empty()) return {-1, 1};
  const Interval found = confidence_interval(harmed()[harmed().size() / 2], interval_alpha);
  if (unit_of_value_ >= 0) return {found.low * unit_of_value_, found.high * unit_of_value_};
  return {found.high * unit_of_value_, found.low * unit_of_value_};
}

inline std::optional<std::uint64_t> MetricEvidence::requests_to_verdict(double threshold_rollback,
                                                                        double threshold_advance, double advance_margin,
                                                                        double per_observation) const {
  const double seen = detail::number(baseline_.count) + detail::number(candidate_.count);
  if (candidate_.count == 0 || baseline_.count == 0 || !std::isfinite(per_observation)) return {};
  const auto decided = [&](double times) {
    return log_rollback_from_start(times) >= threshold_rollback ||
           log_advance(advance_margin, times) >= threshold_advance;
  };
  double enough = 1;
  for (int doubling = 0; !decided(enough); ++doubling, enough *= 2)
    if (doubling == 16) return {};
  double few = enough / 2;
  if (enough == 1) return 0;
  for (int step = 0; step != 8; ++step) {
    const double middle = (few + enough) / 2;
    (decided(middle) ? enough : few) = middle;
  }
  const double requests = std::ceil(seen * (enough - 1) * per_observation);
  if (!(requests < 9e18)) return {};
  return static_cast<std::uint64_t>(requests);
}

inline void MetricEvidence::sum_up(const Life& life) {
  const CountedBy by = counted_by(metric_.unit);
  double recorded_expected = 0;
  double recorded_units = 0;
  for (const LifeEpoch& each : life.epochs) {
    const double share = share_of(each.epoch, life.candidate);
    if (!(share > 0 && share < 1)) continue;
    observed_baseline_ += observed(metric_.kind, each.counts.of(by, Arm::baseline));
    observed_candidate_ += observed(metric_.kind, each.counts.of(by, Arm::candidate));
    const std::uint64_t units_baseline = observed(metric_.kind, each.counts.of(CountedBy::unit, Arm::baseline));
    const std::uint64_t units_candidate = observed(metric_.kind, each.counts.of(CountedBy::unit, Arm::candidate));
    const std::uint64_t bet_baseline = counted(metric_.kind, each.counts.of(CountedBy::unit, Arm::baseline));
    const std::uint64_t bet_candidate = counted(metric_.kind, each.counts.of(CountedBy::unit, Arm::candidate));
    const bool none_missing = bet_baseline == units_baseline && bet_candidate == units_candidate;
    const double recorded_alike = log_sample_ratio(share, units_candidate, units_baseline);
    log_recorded_alike_ += recorded_alike;
    log_counted_alike_ += none_missing ? recorded_alike : log_sample_ratio(share, bet_candidate, bet_baseline);
    recorded_expected += share * (detail::number(units_baseline) + detail::number(units_candidate));
    recorded_units += detail::number(units_candidate);
    if (metric_.kind == MetricKind::cost && each.epoch.frozen.cost_cap_microusd > 0)
      unit_of_value_ = -each.epoch.frozen.cost_cap_microusd * each.epoch.frozen.cost_mean;  // that of the last epoch
  }
  recorded_less_ = recorded_units < recorded_expected;
  if (harmed().empty()) return;
  double baseline = 0;
  double candidate = 0;
  double baseline_sum = 0;
  double candidate_sum = 0;
  for (const Stratum& each : harmed()[harmed().size() / 2])
    for (const Cell& cell : each.used()) {
      baseline += cell.baseline;
      candidate += cell.candidate;
      baseline_sum += cell.baseline * cell.value * unit_of_value_;
      candidate_sum += cell.candidate * cell.value * unit_of_value_;
    }
  const auto made = [](double count, double sum) {
    return ArmValue{static_cast<std::uint64_t>(std::min(count, 1.8e19)), count > 0 ? sum / count : 0};
  };
  baseline_ = made(baseline, baseline_sum);
  candidate_ = made(candidate, candidate_sum);
}

}  // namespace canary
