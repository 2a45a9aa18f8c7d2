// time_text.hpp: times as RFC 3339 in UTC, `2026-11-22T17:35:29.123456Z`. Layer control; no clock, no locale, no zone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace canary {
namespace detail {

struct Date {
  std::int64_t year;
  unsigned month;
  unsigned day;
};

/// Days since 1970-01-01 to a date of the proleptic Gregorian calendar.
/// Source  Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
[[nodiscard]] constexpr Date date_of(std::int64_t days) noexcept {
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146'097);
  const unsigned year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted = (5 * day_of_year + 2) / 153;
  const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
  return {static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * shifted + 2) / 5 + 1};
}

/// The other way round.
[[nodiscard]] constexpr std::int64_t days_to(std::int64_t year, unsigned month, unsigned day) noexcept {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + static_cast<std::int64_t>(day_of_era) - 719'468;
}

[[nodiscard]] constexpr unsigned days_in(unsigned year, unsigned month) noexcept {
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (month == 2) return leap ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

}  // namespace detail

/// Microseconds since 1970 as text; a whole second has no fraction. Years 0 to 9999; beyond, the nearest of them.
[[nodiscard]] inline std::string time_text(std::int64_t us) {
  constexpr std::int64_t first = -62'167'219'200'000'000;
  constexpr std::int64_t last = 253'402'300'799'999'999;
  us = us < first ? first : us > last ? last : us;
  std::int64_t seconds = us / 1'000'000;
  std::int64_t fraction = us % 1'000'000;
  if (fraction < 0) {
    fraction += 1'000'000;
    --seconds;
  }
  std::int64_t days = seconds / 86'400;
  std::int64_t of_day = seconds % 86'400;
  if (of_day < 0) {
    of_day += 86'400;
    --days;
  }
  const detail::Date date = detail::date_of(days);
  const auto digits = [](std::int64_t value, std::size_t width) {
    const std::string text = std::to_string(value);
    return std::string(width - (text.size() < width ? text.size() : width), '0') + text;
  };
  std::string text = digits(date.year, 4) + '-' + digits(date.month, 2) + '-' + digits(date.day, 2) + 'T' +
                     digits(of_day / 3'600, 2) + ':' + digits(of_day / 60 % 60, 2) + ':' + digits(of_day % 60, 2);
  if (fraction != 0) text += '.' + digits(fraction, 6);
  return text + 'Z';
}

/// True for `YYYY-MM-DD`, with or without `THH:MM:SSZ`: texts of this form compare as the times do.
[[nodiscard]] constexpr bool is_date(std::string_view text) noexcept {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != 10 && text.size() != form.size()) return false;
  for (std::size_t i = 0; i != text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (form[i] == 'd' ? !digit : text[i] != form[i]) return false;
  }
  const auto number = [text](std::size_t at, std::size_t count) {
    unsigned value = 0;
    for (std::size_t i = at; i != at + count; ++i) value = value * 10 + static_cast<unsigned>(text[i] - '0');
    return value;
  };
  const unsigned month = number(5, 2);
  const unsigned day = number(8, 2);
  if (month < 1 || month > 12 || day < 1 || day > detail::days_in(number(0, 4), month)) return false;
  return text.size() == 10 || (number(11, 2) < 24 && number(14, 2) < 60 && number(17, 2) < 60);
}

/// Microseconds since 1970 to a text that is_date() takes; nothing for any other.
[[nodiscard]] constexpr std::optional<std::int64_t> date_us(std::string_view text) noexcept {
  if (!is_date(text)) return {};
  const auto number = [text](std::size_t at, std::size_t count) {
    unsigned value = 0;
    for (std::size_t i = at; i != at + count; ++i) value = value * 10 + static_cast<unsigned>(text[i] - '0');
    return value;
  };
  std::int64_t seconds = detail::days_to(number(0, 4), number(5, 2), number(8, 2)) * 86'400;
  if (text.size() != 10)
    seconds += std::int64_t{number(11, 2)} * 3'600 + std::int64_t{number(14, 2)} * 60 + number(17, 2);
  return seconds * 1'000'000;
}

}  // namespace canary
