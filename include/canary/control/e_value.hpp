// e_value.hpp: how strongly counts speak against "no harm" or against "harm": betting e-values. Layer control.
//
// A fair game whose stakes are fixed before the coin of the split falls: under the claim that is tested, the capital is
// expected to stay at or below 1 at whatever time somebody looks, so 1/alpha is passed with a chance of alpha at most
// (Ville's inequality). With share pi, value y, centre mu:
//
//   Z = (y - mu)/pi for the candidate, -(y - mu)/(1 - pi) for the baseline;   E[Z | past] = the difference of the means
//   against "difference >= -tolerance" (rollback)   E = mean over 16 bets of prod (1 + bet (-tolerance - Z))^count
//   against "difference <= -tolerance" (advance)    E = mean over 16 bets of prod (1 + bet ( tolerance + Z))^count
//   bet = min(d pi (1 - pi)/variance, 0.95/worst loss),   d = 0.001 ... 0.5, evenly in its logarithm
//
// The share is known and stands still within a stratum (an epoch), so drift of the base and ramps cannot fool it; centre
// and variance come from before the epoch, and any values keep the promise, good ones give power.
// Cost: cells x 32 logarithms a stratum, 16 for each of the two arms. Nothing allocates.
// Source: Waudby-Smith & Ramdas 2024; Lindon & Malek 2022; docs/decisions/0011-guard.md
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "canary/control/evidence.hpp"

namespace canary {

inline constexpr std::size_t bets = 16;

/// The logarithm of each bet's capital. Those of several strata add up.
using BetLogs = std::array<double, bets>;

/// What is tested.
enum class Claim : std::uint8_t {
  no_harm,  ///< "the candidate is worse by the tolerance at most": capital speaks for a rollback
  harm,     ///< "the candidate is worse by the tolerance or more": capital speaks for an advance
};

/// How often a value was seen.
struct Cell {
  double value = 0;
  double baseline = 0;
  double candidate = 0;
};

/// Counts of one epoch, with what stood still in it. Higher values are better; cells rise by value.
struct Stratum {
  double share = 0;        ///< of the candidate among both, known; 0 or 1: no evidence
  double centre = 0.5;     ///< from before the epoch
  double variance = 0.25;  ///< from before the epoch
  std::size_t size = 0;    ///< cells in use; all values that may occur are listed, since the worst one bounds the bets
  std::array<Cell, value_bins> cells{};

  [[nodiscard]] std::span<const Cell> used() const noexcept { return {cells.data(), size}; }
  void add(Cell cell) noexcept {
    if (size != cells.size()) cells[size++] = cell;
  }
  /// True if both arms may get traffic.
  [[nodiscard]] bool compares() const noexcept { return share > 0 && share < 1 && size != 0; }
};

/// Adds what a stratum does to each bet's capital.
/// Input   any counts and any share; a stratum that compares nothing leaves `logs` as they are. `times`: every count that
///         often, to look ahead. A tolerance that is no number makes every log that.
void bet_on(BetLogs& logs, const Stratum& stratum, double tolerance, Claim claim, double times = 1) noexcept;

/// log of the mean of exp(logs), without overflow.
[[nodiscard]] double log_mean_exp(std::span<const double> logs) noexcept;

/// Log of the e-value against a claim, over all strata.
/// Output  0 without evidence; never infinite for counts below 2^64.
[[nodiscard]] inline double log_capital(std::span<const Stratum> strata, double tolerance, Claim claim,
                                        double times = 1) noexcept {
  BetLogs logs{};
  for (const Stratum& each : strata) bet_on(logs, each, tolerance, claim, times);
  return log_mean_exp(logs);
}

/// Where the difference of the means (candidate - baseline) lies.
struct Interval {
  double low = 0;
  double high = 0;
  friend bool operator==(const Interval&, const Interval&) = default;
};

/// All differences that the evidence does not speak against at alpha, half on each side; holds at all times at once.
/// Output  the widest possible one without evidence.
/// Cost    48 evaluations of log_capital: for display.
[[nodiscard]] Interval confidence_interval(std::span<const Stratum> strata, double alpha) noexcept;

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// 0.001 * 500^(j/15).
inline constexpr std::array<double, bets> bet_sizes{
    0.001,
    0.00151332195791627,
    0.002290143348311533,
    0.0034657242157757322,
    0.005244756555815561,
    0.007937005259840996,
    0.012011244339814313,
    0.018176879801338513,
    0.0275074713297703,
    0.041627660370093654,
    0.06299605249474365,
    0.09533330950234158,
    0.1442699905907214,
    0.21832694462931235,
    0.330398959312308,
    0.5,
};

inline constexpr double largest_loss = 0.95;    // of the capital, by a single observation
inline constexpr double least_variance = 1e-4;  // or a spotless history would stake all on the first fault

/// The largest bet: everything is scaled by share (1 - share), so that no share is too small to divide by.
[[nodiscard]] inline double capped(double size, double variance, double worst) noexcept {
  const double wanted = size / variance;
  return worst > 0 ? std::min(wanted, largest_loss / worst) : wanted;
}

/// What a stratum's stakes are made of: an observation changes the capital by the factor 1 + bet * gain().
struct Stakes {
  double share;
  double sign;
  double centre;
  double shift;  // tolerance, scaled

  Stakes(const Stratum& stratum, double tolerance, Claim claim) noexcept
      : share{stratum.share},
        sign{claim == Claim::no_harm ? -1.0 : 1.0},
        centre{std::abs(stratum.centre) < 1e15 ? stratum.centre : 0.5},
        shift{sign * tolerance * share * (1 - share)} {}

  [[nodiscard]] double candidate(double value) const noexcept { return shift + sign * (value - centre) * (1 - share); }
  [[nodiscard]] double baseline(double value) const noexcept { return shift - sign * (value - centre) * share; }
  /// The largest loss of a single observation; gains are straight lines, so an end of the values has it.
  [[nodiscard]] double worst(double lowest, double highest) const noexcept {
    return -std::min(std::min(candidate(lowest), candidate(highest)), std::min(baseline(lowest), baseline(highest)));
  }
};

[[nodiscard]] inline double usable_variance(double variance) noexcept {
  return variance >= least_variance ? variance : std::isnan(variance) ? 0.25 : least_variance;
}

/// So many observations that pay so much for each unit that is bet.
struct GainSeen {
  double gain, count;
};

/// sum count log(1 + bet gain) for bets so small that its series ends soon, whatever the number of gains: of sixteen bets the
/// most are, and logarithms were the larger part of a judgement.
class SmallBets {
 public:
  explicit SmallBets(std::span<const GainSeen> all) noexcept {
    for (const GainSeen& each : all) {
      largest_ = std::max(largest_, std::abs(each.gain));
      double power = each.count;
      for (double& moment : moments_) moment += power *= each.gain;
    }
  }
  /// The first term that is left out is below 1e-17 of the first.
  [[nodiscard]] bool holds(double bet) const noexcept { return bet * largest_ <= 1.0 / 16; }
  [[nodiscard]] double log(double bet) const noexcept {
    double sum = 0;
    for (std::size_t k = moments_.size(); k != 0; --k) sum = bet * (moments_[k - 1] / static_cast<double>(k) - sum);
    return sum;
  }

 private:
  std::array<double, 14> moments_{};  // sum count gain^k, from k = 1 on
  double largest_ = 0;
};

}  // namespace detail

inline void bet_on(BetLogs& logs, const Stratum& stratum, double tolerance, Claim claim, double times) noexcept {
  if (!stratum.compares()) return;
  const detail::Stakes stakes{stratum, tolerance, claim};
  const double variance = detail::usable_variance(stratum.variance);
  const double worst = stakes.worst(stratum.used().front().value, stratum.used().back().value);
  std::array<detail::GainSeen, 2 * value_bins> all;  // what there is, side by side: most bins are empty
  std::size_t size = 0;
  for (const Cell& cell : stratum.used()) {
    if (cell.candidate > 0) all[size++] = {stakes.candidate(cell.value), cell.candidate};
    if (cell.baseline > 0) all[size++] = {stakes.baseline(cell.value), cell.baseline};
  }
  const detail::SmallBets small{std::span{all}.first(size)};
  double last_bet = -1;
  double last_log = 0;
  for (std::size_t j = 0; j != bets; ++j) {
    const double bet = detail::capped(detail::bet_sizes[j], variance, worst);
    if (bet != last_bet) {  // where the cap holds, all larger bets are the same
      last_bet = bet;
      last_log = 0;
      if (small.holds(bet))
        last_log = small.log(bet);
      else
        for (std::size_t i = 0; i != size; ++i) last_log += all[i].count * std::log1p(bet * all[i].gain);
      last_log *= times;
    }
    logs[j] += last_log;
  }
}

inline double log_mean_exp(std::span<const double> logs) noexcept {
  if (logs.empty()) return -std::numeric_limits<double>::infinity();
  const double most = *std::max_element(logs.begin(), logs.end());
  if (!std::isfinite(most)) return most;
  double sum = 0;
  for (const double each : logs)
    if (each - most > -40) sum += std::exp(each - most);  // the others lie below the last digit
  return most + std::log(sum / static_cast<double>(logs.size()));
}

inline Interval confidence_interval(std::span<const Stratum> strata, double alpha) noexcept {
  double reach = 0;
  for (const Stratum& each : strata)
    if (each.compares()) reach = std::max(reach, each.used().back().value - each.used().front().value);
  if (!(alpha > 0 && alpha < 1)) return {-reach, reach};
  const double enough = std::log(2 / alpha);
  const auto edge = [&](Claim claim, double from, double to) {  // `from` is spoken against, if anything is
    for (int step = 0; step != 24; ++step) {
      const double middle = (from + to) / 2;
      (log_capital(strata, -middle, claim) >= enough ? from : to) = middle;
    }
    return from;
  };
  return {edge(Claim::harm, -reach, reach), edge(Claim::no_harm, reach, -reach)};
}

}  // namespace canary
