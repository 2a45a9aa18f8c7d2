// error_ratio.hpp: an e-value for rare errors: how many times as often the candidate fails. Layer control.
//
// Among failures alone, the candidate's are a known share if it fails as often as the baseline times r0: a coin of bias
// q0 = pi r0/(pi r0 + 1 - pi). Twelve bets say that it fails m times as often as that:
//
//   E = mean over m of (q/q0)^(failures of the candidate) ((1 - q)/(1 - q0))^(failures of the baseline)
//
// Where one request in ten thousand fails, this needs a fraction of the traffic that a difference of means needs.
// Cost: 12 logarithms a stratum.   Source: Lindon, Sanden, Shirikian 2022; docs/decisions/0011-guard.md
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "canary/control/e_value.hpp"

namespace canary {

/// Failures of one epoch.
struct FailureCounts {
  double share = 0;  ///< of the candidate among both, known; 0 or 1: no evidence
  double baseline = 0;
  double candidate = 0;
};

inline constexpr std::size_t ratio_bets = 12;
using RatioLogs = std::array<double, ratio_bets>;

/// Adds what an epoch's failures do to each bet's capital.
/// Input   `tolerated`: the ratio of failure rates that is no harm; nothing happens unless it is a number above 0.
inline void bet_on_ratio(RatioLogs& logs, const FailureCounts& counts, double tolerated, double times = 1) noexcept {
  constexpr double least = 1.05;
  constexpr double most = 16;
  if (!(counts.share > 0 && counts.share < 1) || !(tolerated > 0) || !std::isfinite(tolerated)) return;
  const double odds = counts.share * tolerated;
  const double bias = odds / (odds + (1 - counts.share));
  for (std::size_t j = 0; j != ratio_bets; ++j) {
    const double log_m = std::log(least) + std::log(most / least) * static_cast<double>(j) / (ratio_bets - 1);
    const double both = std::log1p(bias * std::expm1(log_m));
    logs[j] += times * (counts.candidate * (log_m - both) - counts.baseline * both);
  }
}

/// Log of the e-value against "the candidate fails at most `tolerated` times as often as the baseline".
[[nodiscard]] inline double log_ratio_capital(std::span<const FailureCounts> epochs, double tolerated,
                                              double times = 1) noexcept {
  RatioLogs logs{};
  for (const FailureCounts& each : epochs) bet_on_ratio(logs, each, tolerated, times);
  return log_mean_exp(logs);
}

}  // namespace canary
