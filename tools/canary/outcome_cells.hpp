// outcome_cells.hpp: what cells of a CSV file say of an outcome. Each reads the whole cell or nothing.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "canary/core/outcome.hpp"

namespace canary::cli {

/// As spreadsheets and data frames write truth, in any case.
[[nodiscard]] inline std::optional<bool> parse_ok(std::string_view text) {
  if (text.size() > 5) return {};
  std::string word;
  for (const char c : text) word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const std::string_view yes : {"1", "true", "yes", "1.0"})
    if (word == yes) return true;
  for (const std::string_view no : {"0", "false", "no", "0.0"})
    if (word == no) return false;
  return {};
}
inline constexpr std::string_view ok_forms = "1, 0, true, false, yes or no";

/// A score in billionths.
[[nodiscard]] inline std::optional<std::uint32_t> parse_score(std::string_view text) noexcept {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::uint32_t billionths = score_billionths(value);  // none for NaN and what lies outside
  if (error != std::errc{} || end != text.data() + text.size() || billionths == no_score) return {};
  return billionths;
}
inline constexpr std::string_view score_forms = "a number from 0 to 1, 0.93 for one";

/// A number from 0 to `most`, to the nearest whole one: data frames write counts as 812000.0.
[[nodiscard]] inline std::optional<std::uint64_t> parse_amount(std::string_view text, std::uint64_t most) noexcept {
  const char* const first = text.data();
  const char* const last = first + text.size();
  std::uint64_t whole = 0;
  if (const auto [end, error] = std::from_chars(first, last, whole); error == std::errc{} && end == last)
    return whole <= most ? std::optional{whole} : std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(first, last, value);
  constexpr double exact = 9'007'199'254'740'992;  // 2^53
  if (error != std::errc{} || end != last || !(value >= 0 && value <= exact)) return {};
  const auto nearest = static_cast<std::uint64_t>(std::llround(value));
  return nearest <= most ? std::optional{nearest} : std::nullopt;
}

/// The word of an ErrorKind, or `none`.
[[nodiscard]] inline std::optional<ErrorKind> parse_error(std::string_view text) noexcept {
  if (text == "none") return ErrorKind::none;
  for (std::uint8_t kind = 1; kind != error_kinds; ++kind)
    if (text == to_string(static_cast<ErrorKind>(kind))) return static_cast<ErrorKind>(kind);
  return {};
}
inline constexpr std::string_view error_forms =
    "timeout, rate_limited, refused, server, network, invalid_output, cancelled, other or none";

}  // namespace canary::cli
