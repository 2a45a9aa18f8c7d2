// backoff.hpp: how long to wait before the next try: doubling, bounded, and never in step with others. Layer control.
#pragma once

#include <cstdint>

namespace canary {

struct Backoff {
  std::uint32_t first_ms = 1'000;      ///< after the first failure
  std::uint32_t longest_ms = 300'000;  ///< it doubles up to here
};

/// Wait after so many failures in a row, from 1.
/// Input   `draw`: evenly in [0, 1), so that a fleet that failed together does not come back together.
/// Output  between the half of the doubled wait and all of it.
[[nodiscard]] constexpr std::uint32_t backoff_ms(const Backoff& backoff, std::uint32_t failures, double draw) noexcept {
  std::uint64_t wait = backoff.first_ms;
  for (std::uint32_t i = 1; i < failures && wait < backoff.longest_ms; ++i) wait *= 2;
  if (wait > backoff.longest_ms) wait = backoff.longest_ms;
  return static_cast<std::uint32_t>(static_cast<double>(wait) * (0.5 + 0.5 * draw));
}

}  // namespace canary
