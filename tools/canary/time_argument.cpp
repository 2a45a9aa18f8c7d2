#include "time_argument.hpp"

#include <charconv>
#include <cstddef>
#include <system_error>

#include "canary/control/time_text.hpp"
#include "context.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

/// Takes a text apart from the front; once something was not there, it stays failed.
class Scanner {
 public:
  explicit Scanner(std::string_view text) noexcept : rest_{text} {}

  /// Exactly so many digits.
  std::int64_t digits(std::size_t count) noexcept {
    std::int64_t value = 0;
    for (std::size_t i = 0; i != count; ++i) {
      if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return fail();
      value = value * 10 + (rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }
  /// One of these characters.
  char one_of(std::string_view wanted) noexcept {
    if (rest_.empty() || wanted.find(rest_.front()) == std::string_view::npos) return static_cast<char>(fail());
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  /// `.123456` in microseconds; 0 where there is none.
  std::int64_t fraction() noexcept {
    if (rest_.empty() || rest_.front() != '.') return 0;
    rest_.remove_prefix(1);
    std::int64_t value = 0;
    std::size_t count = 0;
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; rest_.remove_prefix(1), ++count)
      if (count < 6) value = value * 10 + (rest_.front() - '0');
    if (count == 0) return fail();
    for (; count < 6; ++count) value *= 10;
    return value;
  }
  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
  [[nodiscard]] char next() const noexcept { return rest_.empty() ? '\0' : rest_.front(); }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  int fail() noexcept {
    failed_ = true;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool failed_ = false;
};

/// Source  Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
constexpr std::int64_t days_to(std::int64_t year, std::int64_t month, std::int64_t day) noexcept {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = year / 400;
  const std::int64_t of_era = year - era * 400;
  const std::int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}
static_assert(days_to(1970, 1, 1) == 0 && days_to(2024, 3, 1) == 19'783);

std::optional<TimeUs> parse_date(std::string_view text) noexcept {
  Scanner in{text};
  const std::int64_t year = in.digits(4);
  in.one_of("-");
  const std::int64_t month = in.digits(2);
  in.one_of("-");
  const std::int64_t day = in.digits(2);
  if (in.failed() || year < 1970 || month < 1 || month > 12 || day < 1 ||
      day > detail::days_in(static_cast<unsigned>(year), static_cast<unsigned>(month)))
    return {};
  const std::int64_t midnight_s = days_to(year, month, day) * 86'400;
  if (in.at_end()) return midnight_s * 1'000'000;
  in.one_of("Tt ");
  const std::int64_t hour = in.digits(2);
  in.one_of(":");
  const std::int64_t minute = in.digits(2);
  const std::int64_t second = in.next() == ':' ? (in.one_of(":"), in.digits(2)) : 0;
  const std::int64_t fraction_us = in.fraction();
  std::int64_t offset_s = 0;
  if (const char zone = in.next(); zone == '+' || zone == '-') {
    in.one_of("+-");
    const std::int64_t hours = in.digits(2);
    if (in.next() == ':') in.one_of(":");
    const std::int64_t minutes = in.digits(2);
    if (hours > 23 || minutes > 59) return {};
    offset_s = (hours * 3'600 + minutes * 60) * (zone == '+' ? 1 : -1);
  } else if (zone != '\0') {
    in.one_of("Zz");
  }
  if (in.failed() || !in.at_end() || hour > 23 || minute > 59 || second > 60) return {};
  const TimeUs at_us = (midnight_s + hour * 3'600 + minute * 60 + second - offset_s) * 1'000'000 + fraction_us;
  if (at_us < 0) return {};
  return at_us;
}

/// The bounds of each unit lie in 1973 and in the year 5138: no time that anybody means is read as another's.
std::optional<TimeUs> parse_number(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return {};
  constexpr std::uint64_t most_seconds = 100'000'000'000;
  if (number < most_seconds) {
    Scanner rest{std::string_view{end, static_cast<std::size_t>(text.data() + text.size() - end)}};
    const std::int64_t fraction_us = rest.fraction();
    if (rest.failed() || !rest.at_end()) return {};
    return static_cast<TimeUs>(number) * 1'000'000 + fraction_us;
  }
  if (end != text.data() + text.size()) return {};
  if (number < most_seconds * 1'000) return static_cast<TimeUs>(number) * 1'000;
  if (number < most_seconds * 1'000'000) return static_cast<TimeUs>(number);
  return static_cast<TimeUs>(number / 1'000);
}

/// `2h` as microseconds.
std::optional<TimeUs> parse_span(std::string_view text) noexcept {
  if (text.empty()) return {};
  TimeUs unit_us = 1'000'000;
  switch (text.back()) {
    case 's':
      break;
    case 'm':
      unit_us *= 60;
      break;
    case 'h':
      unit_us *= 3'600;
      break;
    case 'd':
      unit_us *= 86'400;
      break;
    default:
      return {};
  }
  text.remove_suffix(1);
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count > 1'000'000'000) return {};
  constexpr TimeUs most_us = 9'000'000'000'000'000'000;
  if (count != 0 && unit_us > most_us / count) return {};
  return count * unit_us;
}

TimeUs time_option(std::string_view option, std::string_view text, TimeUs now_us) {
  if (const std::optional<TimeUs> ago = parse_span(text)) return now_us > *ago ? now_us - *ago : 0;
  if (const std::optional<TimeUs> at = parse_time(text)) return *at;
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::usage, std::string{option} + ": \"" + shown + "\" is no time",
                "2026-11-22T17:35:29Z, 2026-11-22, or so long ago: 90s, 15m, 2h, 7d"};
}

}  // namespace

std::optional<TimeUs> parse_time(std::string_view text) noexcept {
  const bool date = text.size() > 4 && text[4] == '-';
  return date ? parse_date(text) : parse_number(text);
}

TimeRange TimeOptions::range(TimeUs now_us) const {
  TimeRange range;
  if (!since.empty()) range.since_us = time_option("--since", since, now_us);
  if (!until.empty()) range.until_us = time_option("--until", until, now_us);
  if (range.since_us >= range.until_us)
    throw Failure{Exit::usage, "--until is not after --since", "--since is the earlier of the two"};
  return range;
}

void add_time_options(Syntax verb, TimeOptions& options) {
  add_text(verb, "--since", options.since, "Recorded at this time or later")->type_name("TIME");
  add_text(verb, "--until", options.until, "Recorded before this time")->type_name("TIME");
}

}  // namespace canary::cli
