// guard_replay.hpp: what the guard would have done on recorded outcomes, many times over. Layer control.
//
// Each row holds what both versions answered to one request. A run draws rows with replacement, gives each to one of the
// two at random by the share, and asks the guard after every request; centre, variance and thresholds are frozen from
// 2,000 draws of the baseline before. One metric, every row a unit of its own, the e-value from the start alone. The same
// column twice measures how often a version that does no harm is taken back.
// Deterministic: a run hangs on the seed and its number alone, so runs may be done by several threads.
// Cost: about 25 ns a request; latency, with its five thresholds, 100.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/game.hpp"
#include "canary/core/mix.hpp"
#include "canary/core/types.hpp"

namespace canary {

/// What both versions made of one request: 1 or 0 for success, a score in [0, 1], microseconds, microdollars. NaN: there
/// was no outcome, which is a failure.
struct ReplayRow {
  double baseline = 0;
  double candidate = 0;
};

struct ReplayOptions {
  MetricKind kind = MetricKind::success;
  std::uint32_t share_ppm = 100'000;  ///< of the candidate
  std::uint64_t requests = 100'000;   ///< a run's longest
  std::uint64_t repeat = 100;
  std::uint64_t seed = 1;
  double margin = 0.005;  ///< see MetricConfig, as for the next
  double advance_margin = 0.02;
  double alpha_rollback = 0.01;
  double alpha_advance = 0.05;
};

enum class ReplayEnd : std::uint8_t { held, rolled_back, advanced };

struct ReplayRun {
  ReplayEnd end = ReplayEnd::held;
  std::uint64_t requests = 0;  ///< until then
};

struct ReplayResult {
  std::uint64_t runs = 0;
  std::uint64_t rolled_back = 0;
  std::uint64_t advanced = 0;
  std::uint64_t held = 0;
  std::optional<double> median_requests_to_rollback;  ///< of those that were rolled back
  std::optional<double> median_requests_to_advance;
};

/// One run, of the number `run`.
/// Input   without rows, or with a share of nothing or all, every run is held.
[[nodiscard]] ReplayRun replay_run(std::span<const ReplayRow> rows, const ReplayOptions& options, std::uint64_t run);

/// What runs add up to.
[[nodiscard]] ReplayResult summary(std::span<const ReplayRun> runs);

/// All runs, one after the other.
[[nodiscard]] inline ReplayResult replay(std::span<const ReplayRow> rows, const ReplayOptions& options) {
  std::vector<ReplayRun> runs;
  for (std::uint64_t run = 0; run != options.repeat; ++run) runs.push_back(replay_run(rows, options, run));
  return summary(runs);
}

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// splitmix64: the same draws on every machine.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) noexcept : state_{seed} {}
  std::uint64_t operator()() noexcept { return mix(state_ += 0x9E37'79B9'7F4A'7C15); }

 private:
  std::uint64_t state_;
};

/// The place of one of `size`, from the upper half of a draw.
[[nodiscard]] inline std::size_t place_in(std::uint64_t draw, std::size_t size) noexcept {
  return static_cast<std::size_t>((draw >> 32) * size >> 32);
}

/// One run's games: a pair for each threshold of latency, else one.
class ReplayTable {
 public:
  ReplayTable(const ReplayOptions& options, double share, std::vector<double> frozen);

  /// Sees an outcome; `draw` rounds scores and costs.
  void see(Arm arm, double value, std::uint64_t draw) noexcept;
  [[nodiscard]] double capital_rollback() const noexcept;
  [[nodiscard]] double capital_advance() const noexcept;

 private:
  struct Pair {
    Game rollback;
    Game advance;
    double slowest_baseline;   // threshold
    double slowest_candidate;  // threshold with its margin
  };
  void add(const Stratum& stratum, const ReplayOptions& options, double slowest = 0);
  [[nodiscard]] std::size_t cell(const Pair& pair, Arm arm, double value, std::uint64_t draw) const noexcept;

  MetricKind kind_;
  double cost_cap_ = 0;
  std::vector<Pair> pairs_;
};

inline ReplayTable::ReplayTable(const ReplayOptions& options, double share, std::vector<double> frozen)
    : kind_{options.kind} {
  const auto count = static_cast<double>(frozen.size());
  const bool unit = kind_ == MetricKind::success || kind_ == MetricKind::score;
  double sum = 0;
  double squares = 0;
  for (double& each : frozen) {
    if (std::isnan(each)) each = kind_ == MetricKind::latency ? std::numeric_limits<double>::infinity() : 0;
    if (unit) each = std::clamp(each, 0.0, 1.0);
    sum += each;
    squares += each * each;
  }
  const double mean = sum / count;
  std::sort(frozen.begin(), frozen.end());
  const auto quantile = [&](double at) { return frozen[static_cast<std::size_t>(at * (count - 1))]; };
  Stratum made{.share = share, .centre = mean};
  switch (kind_) {
    case MetricKind::success:
      made.variance = mean * (1 - mean);
      made.add({0});
      made.add({1});
      add(made, options);
      return;
    case MetricKind::score:
      made.variance = squares / count - mean * mean;
      for (std::size_t i = 0; i != value_bins; ++i) made.add({static_cast<double>(i) / (value_bins - 1)});
      add(made, options);
      return;
    case MetricKind::latency:
      made.add({0});
      made.add({1});
      for (const double at : latency_quantiles) {
        made.centre = at;
        made.variance = at * (1 - at);
        add(made, options, quantile(at));
      }
      return;
    case MetricKind::cost:
      cost_cap_ = 10 * quantile(0.99);
      if (!(cost_cap_ > 0) || !(mean > 0)) return;
      made.centre = -1;
      made.variance = 2 + cost_cap_ / mean / (value_bins - 1);
      for (std::size_t i = value_bins; i-- != 0;)
        made.add({-static_cast<double>(i) / (value_bins - 1) * cost_cap_ / mean});
      add(made, options);
      return;
  }
}

inline void ReplayTable::add(const Stratum& stratum, const ReplayOptions& options, double slowest) {
  const double tolerance = kind_ == MetricKind::latency ? 0 : options.margin;
  pairs_.push_back({Game{stratum, tolerance, Claim::no_harm}, Game{stratum, options.advance_margin, Claim::harm},
                    slowest, slowest * (1 + options.margin)});
}

inline std::size_t ReplayTable::cell(const Pair& pair, Arm arm, double value, std::uint64_t draw) const noexcept {
  switch (kind_) {
    case MetricKind::success:
      return value >= 0.5 ? 1 : 0;  // NaN is not
    case MetricKind::score:
      return std::isnan(value) ? 0 : value_bin(value, draw);
    case MetricKind::latency:
      return value <= (arm == Arm::baseline ? pair.slowest_baseline : pair.slowest_candidate);
    case MetricKind::cost:
      return value_bins - 1 - (std::isnan(value) ? 0 : value_bin(value / cost_cap_, draw));
  }
  return 0;
}

inline void ReplayTable::see(Arm arm, double value, std::uint64_t draw) noexcept {
  for (Pair& each : pairs_) {
    const std::size_t at = cell(each, arm, value, draw);
    each.rollback.see(arm, at);
    each.advance.see(arm, at);
  }
}

inline double ReplayTable::capital_rollback() const noexcept {
  double sum = 0;
  for (const Pair& each : pairs_) sum += each.rollback.capital();
  return pairs_.empty() ? 0 : sum / static_cast<double>(pairs_.size());
}

inline double ReplayTable::capital_advance() const noexcept {
  double least = pairs_.empty() ? 0 : pairs_.front().advance.capital();
  for (const Pair& each : pairs_) least = std::min(least, each.advance.capital());
  return least;
}

}  // namespace detail

inline ReplayRun replay_run(std::span<const ReplayRow> rows, const ReplayOptions& options, std::uint64_t run) {
  constexpr std::size_t frozen_draws = 2'000;
  const auto points = static_cast<std::uint64_t>(static_cast<double>(options.share_ppm) / total_ppm * 0x1p32);
  if (rows.empty() || points == 0 || points >= 0x1'0000'0000) return {ReplayEnd::held, options.requests};
  detail::Draws draw{detail::mix(options.seed) ^ detail::mix(~run)};
  std::vector<double> frozen;
  frozen.reserve(frozen_draws);
  for (std::size_t i = 0; i != frozen_draws; ++i)
    frozen.push_back(rows[detail::place_in(draw(), rows.size())].baseline);
  detail::ReplayTable table{options, static_cast<double>(points) * 0x1p-32, std::move(frozen)};
  const double enough_rollback = 1 / options.alpha_rollback;
  const double enough_advance = 1 / options.alpha_advance;
  const bool rounds = options.kind == MetricKind::score || options.kind == MetricKind::cost;
  for (std::uint64_t request = 1; request <= options.requests; ++request) {
    const std::uint64_t drawn = draw();
    const ReplayRow& row = rows[detail::place_in(drawn, rows.size())];
    const Arm arm = (drawn & 0xFFFF'FFFF) < points ? Arm::candidate : Arm::baseline;
    table.see(arm, arm == Arm::candidate ? row.candidate : row.baseline, rounds ? draw() : 0);
    if (table.capital_rollback() >= enough_rollback) return {ReplayEnd::rolled_back, request};
    if (table.capital_advance() >= enough_advance) return {ReplayEnd::advanced, request};
  }
  return {ReplayEnd::held, options.requests};
}

inline ReplayResult summary(std::span<const ReplayRun> runs) {
  ReplayResult result;
  std::vector<double> rolled_back;
  std::vector<double> advanced;
  for (const ReplayRun& each : runs) {
    if (each.end == ReplayEnd::rolled_back) rolled_back.push_back(static_cast<double>(each.requests));
    if (each.end == ReplayEnd::advanced) advanced.push_back(static_cast<double>(each.requests));
  }
  const auto median = [](std::vector<double>& values) -> std::optional<double> {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
  };
  result.runs = runs.size();
  result.rolled_back = rolled_back.size();
  result.advanced = advanced.size();
  result.held = result.runs - result.rolled_back - result.advanced;
  result.median_requests_to_rollback = median(rolled_back);
  result.median_requests_to_advance = median(advanced);
  return result;
}

}  // namespace canary
