// guard_plan.hpp: how much traffic a verdict takes, before there is any. Layer control.
//
// A formula, not a simulation: the first number of requests at which the e-value of the mean counts reaches its threshold.
// Half of the runs take longer. Measured beside simulations in bench/guard_quality.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "canary/control/e_value.hpp"

namespace canary {

struct PlanOptions {
  double baseline = 0.9;  ///< its share of successes
  double drop = 0;        ///< by which the candidate's is lower
  double percent = 10;    ///< of the candidate
  double alpha = 0.01;
  double tolerance = 0;          ///< the margin; of an advance: that which is to be ruled out
  Claim claim = Claim::no_harm;  ///< no_harm: until a rollback; harm: until an advance
};

/// Requests of both arms that about half of the runs need for the verdict.
/// Output  nothing if the verdict never comes: the drop is tolerated, or one arm has no traffic.
[[nodiscard]] inline std::optional<std::uint64_t> requests_needed(const PlanOptions& options) noexcept {
  const double share = options.percent / 100;
  const double candidate = std::min(1.0, std::max(0.0, options.baseline - options.drop));
  Stratum mean{.share = share, .centre = options.baseline, .variance = options.baseline * (1 - options.baseline)};
  mean.add({0, (1 - share) * (1 - options.baseline), share * (1 - candidate)});
  mean.add({1, (1 - share) * options.baseline, share * candidate});
  if (!mean.compares() || !(options.alpha > 0 && options.alpha < 1)) return {};
  const auto decided = [&](double requests) {
    return log_capital({&mean, 1}, options.tolerance, options.claim, requests) >= -std::log(options.alpha);
  };
  double enough = 1;
  while (!decided(enough)) {
    enough *= 2;
    if (enough > 0x1p50) return {};
  }
  for (double few = enough / 2; enough - few > 0.5;) {
    const double middle = (few + enough) / 2;
    (decided(middle) ? enough : few) = middle;
    if (middle == few && enough - few < enough * 1e-12) break;
  }
  return static_cast<std::uint64_t>(std::ceil(enough));
}

}  // namespace canary
