// time_argument.hpp: times as people and files write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "syntax.hpp"

#include "canary/control/store.hpp"

namespace canary::cli {

/// `2026-11-22T17:35:29.123456Z`, with an offset instead of Z, a space instead of T, without seconds, or without a
/// zone, which is UTC; `2026-11-22`; or a number since 1970: seconds, which may have a fraction, milliseconds,
/// microseconds or nanoseconds, told apart by how large it is. What is finer than a microsecond is cut off.
/// Errors  nothing for all else, and for what is before 1970.
[[nodiscard]] std::optional<TimeUs> parse_time(std::string_view text) noexcept;

/// What parse_time() takes, in words.
inline constexpr const char* time_forms =
    "RFC 3339, 2026-11-22T17:35:29Z for one, or seconds, milliseconds or microseconds since 1970";

/// When something was recorded: from `since` on, before `until`.
struct TimeRange {
  TimeUs since_us = 0;
  TimeUs until_us = INT64_MAX;

  [[nodiscard]] bool has(TimeUs at_us) const noexcept { return since_us <= at_us && at_us < until_us; }
  [[nodiscard]] bool everything() const noexcept { return since_us == 0 && until_us == INT64_MAX; }
};

/// --since and --until, as typed.
struct TimeOptions {
  std::string since;
  std::string until;

  /// Errors  Failure usage for what is no time, and for a range that ends before it begins.
  [[nodiscard]] TimeRange range(TimeUs now_us) const;
};

void add_time_options(Syntax verb, TimeOptions& options);

/// What the help says of them.
inline constexpr const char* time_footer =
    "Times: 2026-11-22T17:35:29Z, 2026-11-22 (UTC), seconds since 1970, or so long ago: 90s, 15m, 2h, 7d.";

}  // namespace canary::cli
