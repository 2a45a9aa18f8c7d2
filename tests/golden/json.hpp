// json.hpp: as much strict JSON as the golden file needs: RFC 8259 without negative numbers, fractions and exponents.
// Of its own, since the golden tests build wherever core does: without exceptions, without RTTI, for any processor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace golden {

/// One JSON value. Asking it for what it is not ends the program: a golden file of another shape proves nothing.
class Json {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, text, array, object };

  [[nodiscard]] bool is(Kind kind) const noexcept { return kind_ == kind; }
  [[nodiscard]] std::uint64_t number() const { return expect(Kind::number, "a number").number_; }
  [[nodiscard]] const std::string& text() const { return expect(Kind::text, "a text").text_; }
  [[nodiscard]] const std::vector<Json>& items() const { return expect(Kind::array, "an array").items_; }
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  [[nodiscard]] const Json& operator[](std::string_view name) const {
    const Json* found = find(name);
    if (found == nullptr) broken("has no member", name);
    return *found;
  }
  [[nodiscard]] const Json& operator[](std::size_t place) const {
    if (place >= items().size()) broken("is an array that is too short", "");
    return items_[place];
  }

 private:
  friend class JsonReader;

  [[nodiscard]] const Json* find(std::string_view name) const {
    expect(Kind::object, "an object");
    for (std::size_t i = 0; i != names_.size(); ++i)
      if (names_[i] == name) return &items_[i];
    return nullptr;
  }
  const Json& expect(Kind kind, std::string_view what) const {
    if (kind_ != kind) broken("is not", what);
    return *this;
  }
  [[noreturn]] static void broken(const char* fault, std::string_view what) {
    std::fprintf(stderr, "JSON: a value %s %.*s\n", fault, static_cast<int>(what.size()), what.data());
    std::abort();
  }

  Kind kind_ = Kind::null;
  std::uint64_t number_ = 0;  // 1 for true
  std::string text_;
  std::vector<Json> items_;         // of an array or an object
  std::vector<std::string> names_;  // of an object's items
};

/// Reads one document.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : rest_{text}, whole_{text} {}

  /// False if the text is not exactly one value; error() says what and where.
  [[nodiscard]] bool read(Json& into) {
    if (!value(into, 0)) return false;
    skip_space();
    return rest_.empty() || fail("something follows the value");
  }
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

 private:
  static constexpr int deepest = 32;

  bool fail(std::string_view why) {
    std::size_t line = 1;
    std::size_t column = 1;
    for (const char c : whole_.substr(0, whole_.size() - rest_.size())) {
      column = c == '\n' ? 1 : column + 1;
      line += c == '\n';
    }
    if (error_.empty()) error_ = std::to_string(line) + ':' + std::to_string(column) + ": " + std::string{why};
    return false;
  }

  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

  bool take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool value(Json& into, int depth) {
    skip_space();
    if (depth == deepest) return fail("nested too deeply");
    if (rest_.empty()) return fail("a value is missing");
    switch (rest_[0]) {
      case '{':
        return members(into, depth);
      case '[':
        return elements(into, depth);
      case '"':
        into.kind_ = Json::Kind::text;
        return string(into.text_);
      case 't':
        return word("true", into, Json::Kind::boolean, 1);
      case 'f':
        return word("false", into, Json::Kind::boolean, 0);
      case 'n':
        return word("null", into, Json::Kind::null, 0);
      default:
        return number(into);
    }
  }

  bool word(std::string_view name, Json& into, Json::Kind kind, std::uint64_t as_number) {
    if (!rest_.starts_with(name)) return fail("no such word");
    rest_.remove_prefix(name.size());
    into.kind_ = kind;
    into.number_ = as_number;
    return true;
  }

  bool number(Json& into) {
    std::size_t digits = 0;
    for (; digits != rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits) {
      const auto digit = static_cast<std::uint64_t>(rest_[digits] - '0');
      if (into.number_ > (std::numeric_limits<std::uint64_t>::max() - digit) / 10)
        return fail("the number is too large");
      into.number_ = into.number_ * 10 + digit;
    }
    if (digits == 0) return fail("no value");
    if (digits > 1 && rest_[0] == '0') return fail("a number with a leading zero");
    if (digits != rest_.size() && (rest_[digits] == '.' || (rest_[digits] | 0x20) == 'e'))
      return fail("not an integer");
    rest_.remove_prefix(digits);
    into.kind_ = Json::Kind::number;
    return true;
  }

  bool elements(Json& into, int depth) {
    into.kind_ = Json::Kind::array;
    rest_.remove_prefix(1);
    if (take(']')) return true;
    do {
      if (!value(into.items_.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']') || fail("`,` or `]` is missing");
  }

  bool members(Json& into, int depth) {
    into.kind_ = Json::Kind::object;
    rest_.remove_prefix(1);
    if (take('}')) return true;
    do {
      skip_space();
      std::string name;
      if (!rest_.starts_with('"')) return fail("a member's name is missing");
      if (!string(name)) return false;
      if (into.has(name)) return fail("the member is there twice");
      into.names_.push_back(std::move(name));
      if (!take(':')) return fail("`:` is missing");
      if (!value(into.items_.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take('}') || fail("`,` or `}` is missing");
  }

  bool string(std::string& into) {
    for (rest_.remove_prefix(1); !rest_.empty(); rest_.remove_prefix(1)) {
      const char c = rest_[0];
      if (c == '"') {
        rest_.remove_prefix(1);
        return true;
      }
      // Only ASCII stands unescaped: no editor can then normalise a key into another one.
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x80)
        return fail("not a plain character");
      if (c != '\\')
        into += c;
      else if (!escape(into))
        return false;
    }
    return fail("the text has no end");
  }

  /// Leaves `rest_` at the escape's last character.
  bool escape(std::string& into) {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    rest_.remove_prefix(1);
    const std::size_t simple = rest_.empty() ? std::string_view::npos : names.find(rest_[0]);
    if (simple != std::string_view::npos) {
      into += meanings[simple];
      return true;
    }
    std::uint32_t code = 0;
    if (!unit(code)) return fail("no such escape");
    if (code >= 0xD800 && code < 0xDC00) {
      std::uint32_t low = 0;
      rest_.remove_prefix(1);
      if (!rest_.starts_with('\\')) return fail("half a surrogate pair");
      rest_.remove_prefix(1);
      if (!unit(low) || low < 0xDC00 || low > 0xDFFF) return fail("half a surrogate pair");
      code = 0x1'0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      return fail("half a surrogate pair");
    }
    append_utf8(into, code);
    return true;
  }

  /// `uXXXX`; leaves `rest_` at the last digit.
  bool unit(std::uint32_t& code) {
    if (rest_.size() < 5 || rest_[0] != 'u') return false;
    for (const char c : rest_.substr(1, 4)) {
      const std::size_t digit = std::string_view{"0123456789abcdefABCDEF"}.find(c);
      if (digit == std::string_view::npos) return false;
      code = code << 4 | static_cast<std::uint32_t>(digit < 16 ? digit : digit - 6);
    }
    rest_.remove_prefix(4);
    return true;
  }

  static void append_utf8(std::string& into, std::uint32_t code) {
    const auto tail = [&](int shift) { into += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
    if (code < 0x80) {
      into += static_cast<char>(code);
    } else if (code < 0x800) {
      into += static_cast<char>(0xC0 | code >> 6);
      tail(0);
    } else if (code < 0x1'0000) {
      into += static_cast<char>(0xE0 | code >> 12);
      tail(6), tail(0);
    } else {
      into += static_cast<char>(0xF0 | code >> 18);
      tail(12), tail(6), tail(0);
    }
  }

  std::string_view rest_;
  std::string_view whole_;
  std::string error_;
};

}  // namespace golden
