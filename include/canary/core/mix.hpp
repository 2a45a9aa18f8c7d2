// mix.hpp: a number whose every bit hangs on every bit of another. Layer core.
#pragma once

#include <cstdint>

namespace canary::detail {

/// splitmix64's finisher (Steele, Lea, Flood 2014).
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
  x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
  return x ^ x >> 31;
}

}  // namespace canary::detail
