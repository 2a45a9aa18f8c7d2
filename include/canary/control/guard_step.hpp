// guard_step.hpp: where a candidate stands in its ramp, and what that step asks for. Layer control; a part of guard.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "canary/control/config.hpp"

namespace canary {

/// Where a candidate stands in its ramp.
struct GuardStep {
  std::size_t index = 0;       ///< in GuardConfig::steps_ppm
  bool last = false;           ///< no step follows
  std::uint64_t age_s = 0;     ///< since the step began
  std::size_t candidates = 1;  ///< of the task that are compared at the same time: they share both alphas
  bool display = true;         ///< intervals and requests_to_verdict, too
};

/// What a step allows: the margin that must be excluded before it is left.
/// Output  NaN if the metric has none.
[[nodiscard]] double advance_margin(const MetricConfig& metric, std::size_t step) noexcept;

/// The step that a share stands on: the largest that is not above it, else the first.
[[nodiscard]] std::size_t step_of(const GuardConfig& config, std::uint32_t weight_ppm) noexcept;

// ---------------------------------------------------------------------------------------------------------------------

inline double advance_margin(const MetricConfig& metric, std::size_t step) noexcept {
  if (metric.advance_margin.empty()) return std::numeric_limits<double>::quiet_NaN();
  return metric
      .advance_margin[metric.advance_margin.size() == 1 ? 0 : std::min(step, metric.advance_margin.size() - 1)];
}

inline std::size_t step_of(const GuardConfig& config, std::uint32_t weight_ppm) noexcept {
  std::size_t step = 0;
  for (std::size_t i = 0; i != config.steps_ppm.size(); ++i)
    if (config.steps_ppm[i] <= weight_ppm) step = i;
  return step;
}

}  // namespace canary
