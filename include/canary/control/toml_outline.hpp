// toml_outline.hpp: what can be told of a TOML text before a parser sees it. Layer control: text in, places out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/utf8.hpp"

namespace canary::detail {

/// What can be known of a TOML text without parsing it: where statements start, and what must not reach the parser.
/// toml++ 3.3 puts each part of a dotted key one call deeper, so that a key of a few hundred thousand parts overflows the
/// stack. It takes for granted, and asserts, that a table's header begins with a name, a date's time with a digit and an
/// array's element with no brace. And letters beyond ASCII, where none may stand, run it into code declared unreachable.
class TomlOutline {
 public:
  static constexpr std::size_t deepest_key = 64;

  /// Something that must not reach the parser.
  struct Refusal {
    std::size_t line;
    std::size_t column;
    std::string_view message;
  };

  explicit TomlOutline(std::string_view text) : text_{text} {
    if (text.starts_with("\xEF\xBB\xBF")) at_ = line_start_ = 3;
    while (at_ < text_.size() && !too_deep_) step();
  }

  [[nodiscard]] std::optional<std::size_t> too_deep() const noexcept { return too_deep_; }
  /// The first of its kind.
  [[nodiscard]] const std::optional<Refusal>& refusal() const noexcept { return refusal_; }

  /// [begin, end) of the statement that holds `line` (from 1), whole lines; nothing when its end is not certain.
  [[nodiscard]] std::optional<std::pair<std::size_t, std::size_t>> statement(std::size_t line) const noexcept {
    const auto after = std::upper_bound(starts_.begin(), starts_.end(), line,
                                        [](std::size_t l, const Start& start) { return l < start.line; });
    if (after == starts_.begin()) return {};
    if (after == starts_.end() && nesting_ != 0) return {};
    return std::pair{std::prev(after)->offset, after == starts_.end() ? text_.size() : after->offset};
  }

 private:
  struct Start {
    std::size_t line;
    std::size_t offset;
  };

  void step() {
    if (line_begins_) {
      line_begins_ = false;
      if (nesting_ == 0) {
        starts_.push_back({line_, at_});
        begins_value_ = in_value_ = false;
        const std::size_t first = text_.find_first_not_of(" \t", at_);
        header_ = first != std::string_view::npos && text_[first] == '[';
        if (header_ && !names_something(first + 1)) refuse("table header: expected a name");
      }
    }
    const char c = text_[at_];
    if (begins_value_ && ((c >= '0' && c <= '9') || c == '+' || c == '-')) refuse_date();
    if (begins_value_ && c == '}') refuse("expected a value before the brace");
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '#')
      begins_value_ = !header_ && (c == '=' || c == ',' || c == '[');
    if (c == '=') in_value_ = true;
    if (c == '{') in_value_ = false;
    switch (c) {
      case '\n':
        new_line();
        break;
      case '#':
        at_ = std::min(text_.find('\n', at_), text_.size());
        return;
      case '"':
      case '\'':
        skip_string(c);
        return;
      case '[':
      case '{':
        ++nesting_;
        dots_ = 0;
        break;
      case ']':
      case '}':
        nesting_ -= nesting_ != 0;
        dots_ = 0;
        break;
      case '=':
      case ',':
        dots_ = 0;
        break;
      case '.':
        if (++dots_ >= deepest_key) too_deep_ = line_;
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x80) refuse("a character that stands in strings and comments only");
    }
    ++at_;
  }

  /// Where a value begins with a digit: a colon or a dash behind a digit makes it a date or a time.
  void refuse_date() {
    for (std::size_t i = at_ + 1; i < text_.size() && i < at_ + 128; ++i) {
      const char c = text_[i];
      const bool after_digit = text_[i - 1] >= '0' && text_[i - 1] <= '9';
      if (after_digit && (c == ':' || c == '-')) return refuse("a date or time, which no key here takes");
      if (std::string_view{" \t\r\n,]}#"}.find(c) != std::string_view::npos) return;
    }
  }

  void refuse(std::string_view message) {
    if (!refusal_) refusal_ = {line_, utf8_length(text_.substr(line_start_, at_ - line_start_)) + 1, message};
  }

  /// True unless what follows a header's first bracket is neither a name nor what the parser refuses by itself.
  [[nodiscard]] bool names_something(std::size_t at) const noexcept {
    const auto skip_blanks = [&] { at = std::min(text_.find_first_not_of(" \t", at), text_.size()); };
    skip_blanks();
    if (at < text_.size() && text_[at] == '[') {
      ++at;
      skip_blanks();
    }
    if (at == text_.size()) return true;
    const char c = text_[at];
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view{"_-\"']"}.find(c) != std::string_view::npos;
  }

  void new_line() {
    ++line_;
    line_start_ = at_ + 1;
    dots_ = 0;
    line_begins_ = true;
    if (header_) nesting_ = 0;  // a table's header ends with its line, closed or not
    header_ = false;
  }

  /// True if the quote at hand goes on with a word: no string, but the parser reads a wrong word to its end first.
  [[nodiscard]] bool inside_word() const noexcept {
    const char before = at_ == 0 ? ' ' : text_[at_ - 1];
    const bool letter =
        (before >= 'A' && before <= 'Z') || (before >= 'a' && before <= 'z') || (before >= '0' && before <= '9');
    return letter || before == '_' || before == '-' || before == '+' || (in_value_ && before == '.');
  }

  void skip_string(char quote) {
    if (inside_word()) refuse("a quote inside a word");
    const std::string_view triple = quote == '"' ? "\"\"\"" : "'''";
    const bool long_string = text_.substr(at_, 3) == triple;
    for (at_ += long_string ? 3 : 1; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\\' && quote == '"') {
        const std::size_t next = text_.find_first_not_of(" \t\r\n", at_ + 1);
        if (next != std::string_view::npos && static_cast<unsigned char>(text_[next]) >= 0x80)
          refuse("a backslash before a character beyond ASCII");
        ++at_;
        if (at_ < text_.size() && text_[at_] == '\n') {
          if (!long_string) return;
          line_start_ = at_ + 1;
          ++line_;
        }
      } else if (c == '\n') {
        if (!long_string) return;  // a fault that toml++ will name; the next line starts afresh
        line_start_ = at_ + 1;
        ++line_;
      } else if (c == quote && (!long_string || text_.substr(at_, 3) == triple)) {
        at_ += long_string ? 3 : 1;
        while (long_string && at_ < text_.size() && text_[at_] == quote) ++at_;  // up to two quotes may end the text
        return;
      }
    }
    if (long_string) nesting_ = std::numeric_limits<std::size_t>::max();  // never closed: no end is certain
  }

  std::string_view text_;
  std::vector<Start> starts_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t line_start_ = 0;
  std::size_t nesting_ = 0;
  std::size_t dots_ = 0;
  bool line_begins_ = true;
  bool header_ = false;
  bool begins_value_ = false;  // what comes next is a value, not a key
  bool in_value_ = false;
  std::optional<std::size_t> too_deep_;
  std::optional<Refusal> refusal_;
};

}  // namespace canary::detail
