// percent.hpp: percentages as people write them <-> ppm, exactly. Layer control.
// 1 % = 10,000 ppm. What is finer than 1 ppm is refused, never rounded: a share that is not what was asked for would
// show up only in the bill. Nothing here depends on the locale.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "canary/core/types.hpp"

namespace canary {

inline constexpr std::uint32_t ppm_per_percent = 10'000;

/// A number of percent in ppm; empty unless it is one of 0, 0.0001, ... 100.
[[nodiscard]] constexpr std::optional<std::uint32_t> ppm_of_percent(double percent) noexcept {
  if (!(percent >= 0.0 && percent <= 100.0)) return {};  // NaN fails both
  const double exact = percent * ppm_per_percent;
  auto ppm = static_cast<std::uint32_t>(exact);
  if (exact - ppm >= 0.5) ++ppm;  // to the nearest: std::lround is not constexpr
  // The quotient is the double nearest to ppm / 10,000: the one that a decimal with up to four places is read as.
  if (static_cast<double>(ppm) / ppm_per_percent != percent) return {};
  return ppm;
}

/// `10`, `10%`, `0.5`, down to `0.0001`, in ppm; empty for all else.
/// Errors  a sign, an exponent, hex, a space, NaN, over 100, more than four places after the point.
[[nodiscard]] constexpr std::optional<std::uint32_t> parse_percent(std::string_view text) noexcept {
  if (text.ends_with('%')) text.remove_suffix(1);
  std::uint32_t ppm = 0;
  std::size_t digits = 0;
  std::size_t places = 0;
  bool after_point = false;
  for (const char c : text) {
    if (c == '.' && !after_point && digits != 0) {
      after_point = true;
      continue;
    }
    if (c < '0' || c > '9' || (after_point && ++places > 4)) return {};
    ppm = ppm * 10 + static_cast<std::uint32_t>(c - '0');
    if (ppm > total_ppm) return {};
    ++digits;
  }
  if (digits == 0 || (after_point && places == 0)) return {};
  for (; places != 4; ++places) {
    ppm *= 10;
    if (ppm > total_ppm) return {};
  }
  return ppm;
}

/// ppm as the shortest percentage: 105000 -> `10.5`. parse_percent() reads it back.
[[nodiscard]] inline std::string percent_text(std::uint32_t ppm) {
  std::string text = std::to_string(ppm / ppm_per_percent);
  if (const std::uint32_t rest = ppm % ppm_per_percent; rest != 0) {
    std::string places = std::to_string(ppm_per_percent + rest).substr(1);
    places.erase(places.find_last_not_of('0') + 1);
    text += '.' + places;
  }
  return text;
}

}  // namespace canary
