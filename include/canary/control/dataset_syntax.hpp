// dataset_syntax.hpp: why a line is no JSON, in words that say how to mend it. Layer control.
// Whether it is JSON a library says; this looks a second time at lines that are not, for the habits that are behind most of
// them: commas at the end, Python's quotes and words, texts cut in two by a line break.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "canary/control/dataset_codes.hpp"
#include "canary/control/utf8.hpp"

namespace canary {

/// Deepest nesting of an example.
inline constexpr std::size_t json_depth_max = 64;

struct SyntaxFault {
  FindingCode code = FindingCode::json_syntax;
  std::size_t at = 0;  ///< byte
  std::string message;
};

namespace detail {

/// Walks a text by the grammar of RFC 8259 up to its first fault; without recursion.
class JsonExplainer {
 public:
  explicit JsonExplainer(std::string_view text) noexcept : text_{text} {}

  [[nodiscard]] std::optional<SyntaxFault> run() {
    while (!fault_) {
      while (at_ != text_.size() && is_space(text_[at_])) ++at_;
      if (at_ == text_.size()) {
        if (next_ != Next::end || depth_ != 0) ends_early();
        break;
      }
      take(text_[at_]);
    }
    return std::move(fault_);
  }

 private:
  enum class Next : std::uint8_t { value, first_item, first_key, key, colon, end };

  static constexpr bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
  static constexpr bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  void fail(FindingCode code, std::size_t at, std::string message) { fault_ = {code, at, std::move(message)}; }
  [[nodiscard]] char peek(std::size_t ahead = 0) const noexcept {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool in_object() const noexcept { return depth_ != 0 && objects_[depth_ - 1]; }
  [[nodiscard]] std::string_view closer() const noexcept { return in_object() ? "}" : "]"; }

  void take(char c) {
    comma_ = std::exchange(comma_now_, std::nullopt);
    switch (next_) {
      case Next::first_item:
        return c == ']' ? close() : value(c);
      case Next::value:
        return value(c);
      case Next::first_key:
        return c == '}' ? close() : key(c);
      case Next::key:
        return key(c);
      case Next::colon:
        if (c != ':')
          return fail(FindingCode::missing_colon, at_,
                      "no colon behind a key, but " + found(c) + "; write \"key\": value");
        ++at_;
        next_ = Next::value;
        return;
      case Next::end:
        return after_value(c);
    }
  }

  void open(bool object) {
    if (depth_ == json_depth_max)
      return fail(
          FindingCode::too_deep, at_,
          "nested more than " + std::to_string(json_depth_max) + " deep; providers refuse such data: flatten it");
    objects_[depth_++] = object;
    ++at_;
    next_ = object ? Next::first_key : Next::first_item;
  }
  void close() {
    --depth_;
    ++at_;
    next_ = Next::end;
    after_string_ = false;
  }

  void value(char c) {
    after_string_ = c == '"';
    if (c == '{' || c == '[') return open(c == '{');
    if (c == '"') return string();
    if (c == '-' || is_digit(c)) return number();
    if (is_letter(c)) return literal();
    no_value(c);
  }

  void no_value(char c) {
    if ((c == ']' || c == '}') && comma_) return fail(FindingCode::trailing_comma, *comma_, trailing_words());
    if (c == ',' || c == ']' || c == '}')
      return fail(FindingCode::missing_value, at_, "expected a value, found " + found(c) + "; write null for none");
    if (c == '\'') return fail(FindingCode::single_quotes, at_, quote_words);
    if (c == '+' || c == '.')
      return fail(FindingCode::bad_number, at_,
                  "a number begins with a digit or \"-\", not with " + found(c) + "; write 0.5 for .5");
    foreign(c, "a value");
  }

  void key(char c) {
    if (c == '"') {
      string();
      next_ = Next::colon;
      return;
    }
    if (c == '}' && comma_) return fail(FindingCode::trailing_comma, *comma_, trailing_words());
    if (c == '\'') return fail(FindingCode::single_quotes, at_, quote_words);
    if (is_letter(c) || c == '_' || c == '$')
      return fail(FindingCode::unquoted_key, at_, "a key without quotes; write it as \"key\"");
    foreign(c, "a key in double quotes");
  }

  void after_value(char c) {
    if (depth_ == 0)
      return fail(FindingCode::extra_data, at_,
                  c == ',' ? "a comma behind the example; a line of JSONL has none: take it out"
                           : "more behind the example: found " + found(c) + "; write one object a line");
    if (c == ',') {
      comma_now_ = at_++;
      next_ = in_object() ? Next::key : Next::value;
      return;
    }
    if (c == closer()[0]) return close();
    if (c == '}' || c == ']')
      return fail(
          FindingCode::mismatched_bracket, at_,
          "expected \",\" or \"" + std::string{closer()} + "\", found " + found(c) + "; brackets close in pairs");
    if (after_string_ && (is_letter(c) || is_digit(c)))
      return fail(FindingCode::unescaped_quote, at_,
                  "text goes on behind its closing quote; a quote within a text is written \\\"");
    if (c == '"' || c == '{' || c == '[' || c == '-' || is_digit(c) || is_letter(c))
      return fail(FindingCode::missing_comma, at_, "no comma before " + found(c) + "; put one there");
    foreign(c, "\",\" or \"" + std::string{closer()} + '"');
  }

  void literal() {
    const std::size_t begin = at_;
    while (is_letter(peek())) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    next_ = Next::end;
    if (word == "true" || word == "false" || word == "null") return;
    if (word == "True" || word == "False" || word == "None")
      return fail(FindingCode::python_literal, begin,
                  "Python's " + std::string{word} + " is no JSON; write " +
                      (word == "None"   ? "null"
                       : word == "True" ? "true"
                                        : "false") +
                      ", or make the line by json.dumps()");
    if (word == "NaN" || word == "Infinity")
      return fail(FindingCode::not_a_number, begin, std::string{word} + " is no JSON; write a number, or null");
    fail(FindingCode::bad_literal, begin,
         "a word without quotes; a text stands in double quotes, and the only words are true, false and null");
  }

  void number() {
    const std::size_t begin = at_;
    next_ = Next::end;
    if (peek() == '-') ++at_;
    if (peek() == 'I') return fail(FindingCode::not_a_number, begin, "-Infinity is no JSON; write a number, or null");
    const bool zero = peek() == '0';
    if (!digits())
      return fail(FindingCode::bad_number, begin, "a minus without a digit behind it; write a number, or quote a text");
    if (zero && at_ - begin > (text_[begin] == '-' ? 2u : 1u))
      return fail(FindingCode::bad_number, begin,
                  "a number with a zero in front; take the zero out, or quote it as a text");
    if (peek() == '.') {
      ++at_;
      if (!digits())
        return fail(FindingCode::bad_number, at_, "no digit behind the point of a number; write 1.0 for 1.");
    }
    if (peek() != 'e' && peek() != 'E') return;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    const std::size_t exponent = at_;
    if (!digits())
      return fail(FindingCode::bad_number, at_, "no digit in the exponent of a number; write it as in 1e5");
    std::size_t first = exponent;
    while (first != at_ && text_[first] == '0') ++first;
    if (at_ - first > 8)
      fail(FindingCode::number_too_large, begin, "a number too large for any computer; write a smaller one");
  }
  bool digits() noexcept {
    const std::size_t begin = at_;
    while (is_digit(peek())) ++at_;
    return at_ != begin;
  }

  void string() {
    const std::size_t begin = at_++;
    next_ = Next::end;
    while (at_ != text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return;
      }
      if (c == '\\') {
        if (!escape()) return;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        return control(c);
      } else {
        const std::size_t size = utf8_sequence(text_.substr(at_, 4));
        if (size == 0) return not_utf8();
        at_ += size;
      }
    }
    fail(FindingCode::json_truncated, begin,
         "this text has no closing quote on its line; write a line break within a text as \\n");
  }

  /// False after a fault; also at the end of the line, which string() then tells.
  bool escape() {
    const char c = peek(1);
    if (at_ + 1 == text_.size()) {
      ++at_;
      return true;
    }
    if (c != 'u') {
      if (std::string_view{"\"\\/bfnrt"}.find(c) == std::string_view::npos) {
        fail(FindingCode::bad_escape, at_,
             c == '\'' ? "\\' is no JSON; a single quote needs no backslash"
                       : "a backslash before " + found(c) + "; write a backslash itself as \\\\");
        return false;
      }
      at_ += 2;
      return true;
    }
    const std::size_t begin = at_;
    const std::optional<unsigned> first = hex(begin);
    if (!first) return false;
    at_ += 6;
    if (*first < 0xD800 || *first > 0xDFFF) return true;
    const bool pair = *first < 0xDC00 && peek() == '\\' && peek(1) == 'u';
    const std::optional<unsigned> second = pair ? hex(at_) : std::nullopt;
    if (pair && !second) return false;
    if (!second || *second < 0xDC00 || *second > 0xDFFF) {
      fail(FindingCode::lone_surrogate, begin,
           "half of a character: a \\u escape from D800 to DFFF stands alone; write the character itself, or both "
           "halves");
      return false;
    }
    at_ += 6;
    return true;
  }
  /// Value of the escape \uXXXX at `begin`.
  std::optional<unsigned> hex(std::size_t begin) {
    unsigned value = 0;
    for (std::size_t i = begin + 2; i != begin + 6; ++i) {
      const char c = i < text_.size() ? text_[i] : '\0';
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit(c) && (lower < 'a' || lower > 'f')) {
        fail(FindingCode::bad_escape, begin,
             "too few digits of a \\u escape; it takes four hexadecimal ones, as in \\u00e9");
        return {};
      }
      value = value << 4 | static_cast<unsigned>(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return value;
  }

  void control(char c) {
    if (c == '\0')
      return fail(FindingCode::nul_byte, at_, "a NUL byte; the file is damaged, or no text: take the byte out");
    fail(FindingCode::control_character, at_,
         std::string{"a control character within a text; write "} + (c == '\t' ? "a tab as \\t" : "it as \\u00XX"));
  }

  void not_utf8() {
    fail(FindingCode::invalid_utf8, at_, "a byte that is no UTF-8; save the file as UTF-8, or convert it with iconv");
  }

  void foreign(char c, const std::string& expected) {
    const std::string_view here = text_.substr(at_, 4);
    if (c == '\0') return control(c);
    if (utf8_sequence(here) == 0) return not_utf8();
    for (const std::string_view quote : {"\u201C", "\u201D", "\u201E", "\u2018", "\u2019", "\u00AB", "\u00BB"})
      if (here.starts_with(quote))
        return fail(FindingCode::typographic_quotes, at_,
                    "a typographic quote; write the plain one, \", which is the only one in JSON");
    if (c == '/' || c == '#') return fail(FindingCode::comment, at_, "a comment; JSON has none: take it out");
    fail(FindingCode::json_syntax, at_, "found " + found(c) + "; here JSON has " + expected);
  }

  void ends_early() {
    const char* expected = next_ == Next::value                             ? "a value"
                           : next_ == Next::first_item                      ? "a value or \"]\""
                           : next_ == Next::first_key || next_ == Next::key ? "a key"
                           : next_ == Next::colon                           ? "\":\""
                           : in_object()                                    ? "\",\" or \"}\""
                                                                            : "\",\" or \"]\"";
    fail(FindingCode::json_truncated, at_,
         std::string{"the line ends in the middle of the example: expected "} + expected +
             "; an example stands whole on one line");
  }

  [[nodiscard]] std::string trailing_words() const {
    return "a comma before the closing \"" + std::string{closer()} + "\"; take it out";
  }
  /// One character; more of the data is not shown.
  static std::string found(char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) return "a character that is no ASCII";
    if (byte < 0x20 || byte == 0x7F) return "a control character";
    return c == '"' ? "a quote" : std::string{'"'} + c + '"';
  }

  static constexpr const char* quote_words =
      "single quotes are no JSON; write double quotes, or make the line by json.dumps() instead of str()";

  std::string_view text_;
  std::size_t at_ = 0;
  Next next_ = Next::value;
  bool after_string_ = false;
  std::optional<std::size_t> comma_;  // where the token before this one is a comma
  std::optional<std::size_t> comma_now_;
  std::bitset<json_depth_max> objects_;
  std::size_t depth_ = 0;
  std::optional<SyntaxFault> fault_;
};

}  // namespace detail

/// The first fault of a text that is to be JSON; nothing for good JSON.
/// Input   any bytes.
/// Cost    linear, no recursion. Numbers whose exponent has nine digits count as faults.
[[nodiscard]] inline std::optional<SyntaxFault> explain_json(std::string_view text) {
  return detail::JsonExplainer{text}.run();
}

}  // namespace canary
