// provider_wire.hpp: what a fine-tune API answers, as words, numbers and times that can be trusted. Part of
// openai_provider.hpp and together_provider.hpp. Layer adapters; needs Boost.JSON. No network here.
//
// An answer is hostile text: whatever is missing, or of another type than expected, reads as nothing; texts are cut, lose
// what a terminal would obey, and lose the key, should a server repeat it.
#pragma once

#if !__has_include(<boost/json.hpp>)
#error \
    "fine-tune providers need Boost.JSON (Boost 1.75 or newer): install libboost-dev, and link Boost::json or include <boost/json/src.hpp> in one source file"
#endif

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <boost/json.hpp>

#include "canary/control/job.hpp"
#include "canary/control/stored_text.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/utf8.hpp"

namespace canary::detail {

inline constexpr std::size_t most_said_words = 500;  ///< of a message for people
inline constexpr std::size_t most_said_name = 512;   ///< of an id or a model's name

/// Nothing for bytes that are no JSON, or nested deeper than 32.
[[nodiscard]] inline std::optional<boost::json::value> parse_said(std::string_view bytes) {
  boost::json::error_code error;
  boost::json::value value = boost::json::parse(boost::json::string_view{bytes.data(), bytes.size()}, error);
  if (error) return {};
  return value;
}

/// Text for a request: UTF-8 without NUL, at most so many bytes, never cut in the middle of a character.
[[nodiscard]] inline boost::json::string sent_text(std::string_view text, std::size_t most = 512) {
  std::string space;
  std::string_view good = stored_text(text, space);
  if (good.size() > most) {
    good = good.substr(0, most);
    good = good.substr(0, first_invalid_utf8(good));
  }
  return boost::json::string{good.data(), good.size()};
}

/// Text of an answer, for people: one line, cut, nothing that a terminal would obey.
/// Input   `secret`: is left out, wherever it stands; one shorter than 8 bytes could be any word, and is not looked for.
[[nodiscard]] inline std::string said_words(std::string_view text, std::string_view secret,
                                            std::size_t most = most_said_words) {
  std::string clean{text};
  if (secret.size() >= 8)
    for (std::size_t at = 0; (at = clean.find(secret, at)) != std::string::npos;)
      clean.replace(at, secret.size(), "***");
  std::string out;
  std::string_view rest = clean;
  while (!rest.empty() && out.size() < most) {
    const std::size_t length = utf8_sequence(rest);
    if (length == 0) {
      out += replacement_character;
    } else if (is_control(rest) || is_invisible(rest)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += rest.substr(0, length);
    }
    rest.remove_prefix(std::max<std::size_t>(1, length));
  }
  if (!rest.empty()) out += "...";
  return out;
}

/// Unix time of `2027-01-14`, of RFC 3339 with or without a zone (then UTC), and of a number as text.
[[nodiscard]] std::optional<std::int64_t> time_of(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> time_of(const boost::json::value& value);

/// Our status for a provider's word, in any case of letters; RUNNING for one that is unknown: it is asked for again.
[[nodiscard]] JobStatus status_of(std::string_view said);

/// An object of an answer, or what stands there instead of one.
class Said {
 public:
  /// Input   both must outlive it.
  Said(const boost::json::value& value, std::string_view secret) : value_{&value}, secret_{secret} {}

  [[nodiscard]] bool is_object() const noexcept { return value_->is_object(); }
  [[nodiscard]] bool is_number() const noexcept { return value_->is_number(); }

  /// A member; null where there is none.
  [[nodiscard]] Said at(std::string_view name) const {
    static const boost::json::value nothing;
    const boost::json::object* object = value_->if_object();
    const boost::json::value* found =
        object == nullptr ? nullptr : object->if_contains(boost::json::string_view{name.data(), name.size()});
    return {found == nullptr ? nothing : *found, secret_};
  }

  /// The members of an array, or of the array that a list has as `data`; null for anything else.
  [[nodiscard]] const boost::json::array* rows() const {
    return value_->is_array() ? value_->if_array() : at("data").value_->if_array();
  }

  [[nodiscard]] std::string_view raw() const noexcept {
    const boost::json::string* text = value_->if_string();
    return text == nullptr ? std::string_view{} : std::string_view{text->data(), text->size()};
  }
  [[nodiscard]] std::string words(std::size_t most = most_said_words) const { return said_words(raw(), secret_, most); }

  /// An id or a model's name; empty where it is none that could be kept and sent again.
  [[nodiscard]] std::string name() const {
    const std::string_view text = raw();
    if (text.size() > most_said_name || said_words(text, secret_, most_said_name) != text) return {};
    return std::string{text};
  }

  [[nodiscard]] std::uint64_t count() const noexcept {
    if (const std::uint64_t* number = value_->if_uint64()) return *number;
    if (const std::int64_t* number = value_->if_int64()) return *number < 0 ? 0 : static_cast<std::uint64_t>(*number);
    const double* number = value_->if_double();
    return number != nullptr && *number > 0 && *number < 1e18 ? static_cast<std::uint64_t>(*number) : 0;
  }
  [[nodiscard]] bool is_true() const noexcept {
    const bool* truth = value_->if_bool();
    return truth != nullptr && *truth;
  }

  /// Unix time; 0 where there is none.
  [[nodiscard]] std::int64_t time_s() const { return time_of(*value_).value_or(0); }
  /// YYYY-MM-DD; empty where there is none.
  [[nodiscard]] std::string date() const {
    const std::optional<std::int64_t> time = time_of(*value_);
    return time ? time_text(*time * 1'000'000).substr(0, 10) : std::string{};
  }

  /// As JSON; empty where there is none, or more than so many bytes of it.
  [[nodiscard]] std::string json(std::size_t most) const {
    if (value_->is_null()) return {};
    const std::string text = boost::json::serialize(*value_);
    return text.size() > most ? std::string{} : said_words(text, secret_, most);
  }

 private:
  const boost::json::value* value_;
  std::string_view secret_;
};

/// What an API says is wrong.
struct SaidFault {
  std::string words;  ///< with the code in brackets; empty where nothing was said
  std::string code;
};

/// Of `{"error":{"message","type","code"}}`, `{"error":"..."}`, `{"message":"..."}`, `{"detail":"..."}`; else the first of
/// the bytes as they are.
[[nodiscard]] SaidFault fault_of(std::string_view body, std::string_view secret);

// ---------------------------------------------------------------------------------------------------------------------

inline std::optional<std::int64_t> time_of(std::string_view text) {
  constexpr std::int64_t second_us = 1'000'000;
  constexpr std::int64_t last_s = 253'402'300'799;  // of the year 9999
  const auto digit = [&text](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  std::int64_t number = 0;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && stopped == text.data() + text.size())
    return number > 0 && number <= last_s ? std::optional{number} : std::nullopt;
  if (text.size() == 10) {
    const std::optional<std::int64_t> us = date_us(text);
    return us && *us > 0 ? std::optional{*us / second_us} : std::nullopt;
  }
  if (text.size() < 19) return {};
  std::string whole{text.substr(0, 19)};
  if (whole[10] == ' ' || whole[10] == 't') whole[10] = 'T';
  const std::optional<std::int64_t> us = date_us(whole + 'Z');
  if (!us) return {};
  text.remove_prefix(19);
  if (text.starts_with('.')) {
    std::size_t end = 1;
    while (digit(end)) ++end;
    if (end == 1) return {};
    text.remove_prefix(end);
  }
  std::int64_t time = *us / second_us;
  if (text.size() == 6 && (text[0] == '+' || text[0] == '-') && digit(1) && digit(2) && text[3] == ':' && digit(4) &&
      digit(5)) {
    const std::int64_t hours = (text[1] - '0') * 10 + (text[2] - '0');
    const std::int64_t minutes = (text[4] - '0') * 10 + (text[5] - '0');
    if (hours > 23 || minutes > 59) return {};
    time -= (text[0] == '+' ? 1 : -1) * (hours * 3'600 + minutes * 60);
  } else if (!text.empty() && text != "Z" && text != "z") {
    return {};
  }
  return time > 0 && time <= last_s ? std::optional{time} : std::nullopt;
}

inline std::optional<std::int64_t> time_of(const boost::json::value& value) {
  if (const boost::json::string* text = value.if_string()) return time_of(std::string_view{text->data(), text->size()});
  const double* fraction = value.if_double();
  if (fraction != nullptr && !(*fraction >= 1 && *fraction < 1e12)) return {};
  if (fraction != nullptr) return time_of(std::to_string(static_cast<std::int64_t>(*fraction)));
  const std::int64_t* number = value.if_int64();
  return number == nullptr ? std::nullopt : time_of(std::to_string(*number));
}

inline JobStatus status_of(std::string_view said) {
  using enum JobStatus;
  constexpr std::array<std::pair<std::string_view, JobStatus>, 14> table{{
      {"validating_files", queued},
      {"queued", queued},
      {"pending", queued},
      {"started", queued},
      {"validating", queued},
      {"validated", queued},
      {"succeeded", succeeded},
      {"completed", succeeded},
      {"failed", failed},
      {"error", failed},
      {"failed_validation", failed},
      {"user_error", failed},
      {"cancelled", cancelled},
      {"canceled", cancelled},
  }};
  if (said.size() > 64) return running;
  std::string word{said};
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  for (const auto& [known, status] : table)
    if (known == word) return status;
  return running;
}

inline SaidFault fault_of(std::string_view body, std::string_view secret) {
  SaidFault fault;
  const std::optional<boost::json::value> parsed = parse_said(body);
  if (!parsed) return {said_words(body, secret, 200), {}};
  const Said whole{*parsed, secret};
  const Said error = whole.at("error");
  const Said& from = error.is_object() ? error : whole;
  for (const char* name : {"message", "detail", "error"})
    if (fault.words.empty()) fault.words = from.at(name).words();
  for (const char* name : {"code", "type"})
    if (fault.code.empty()) fault.code = from.at(name).words(64);
  if (!fault.code.empty()) fault.words += (fault.words.empty() ? "(" : " (") + fault.code + ')';
  if (fault.words.empty()) fault.words = whole.json(200);
  return fault;
}

}  // namespace canary::detail
