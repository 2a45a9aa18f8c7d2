// toml_reader.hpp: text -> toml::table, with every syntax fault. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/faults.hpp"
#include "canary/control/toml_outline.hpp"

namespace canary::detail {

/// Text -> toml::table with every syntax fault collected.
class TomlReader {
 public:
  /// A table header that cannot be read is replaced by one of this name, so that its keys do not land in the table above.
  static constexpr std::string_view unreadable = "canary: unreadable ";

  TomlReader(std::string_view text, Faults& faults) : text_{text}, faults_{faults} {}

  /// Nothing when the text cannot be read at all.
  [[nodiscard]] std::optional<toml::table> read() {
    if (!check_bytes()) return {};
    for (std::size_t round = 0; round <= most_rounds; ++round) {
      const TomlOutline outline{text()};
      if (outline.too_deep()) {
        faults_.add(*outline.too_deep(), 1, "a dotted key with more than 64 parts");
        return {};
      }
      if (const auto& refusal = outline.refusal()) {
        faults_.add(refusal->line, refusal->column, std::string{refusal->message});
        if (!blank_out(outline, refusal->line)) return {};
        continue;
      }
      try {
        return toml::parse(text());
      } catch (const toml::parse_error& error) {
        faults_.add(error.source(), without_values(error.description()));
        // A text that ends too early has its fault anywhere before.
        if (error.description().find("end-of-file") != std::string_view::npos) return {};
        if (!blank_out(outline, error.source().begin.line)) return {};
      }
    }
    return {};
  }

 private:
  static constexpr std::size_t most_rounds = 64;                      // each one reads the whole file again,
  static constexpr std::size_t recover_up_to = std::size_t{1} << 20;  // which for a large one takes too long

  [[nodiscard]] std::string_view text() const noexcept { return patched_.empty() ? text_ : std::string_view{patched_}; }

  /// Bytes that no TOML holds: told here, since toml++ places them a character off.
  bool check_bytes() {
    const std::size_t bad = first_invalid_utf8(text_);
    const std::size_t zero = text_.find('\0');
    const std::size_t first = std::min(bad, zero);
    if (first >= text_.size()) return true;
    const auto line =
        static_cast<std::size_t>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(first), '\n'));
    const std::size_t start = first == 0 ? 0 : text_.rfind('\n', first - 1) + 1;  // npos + 1 is 0
    const std::size_t column = utf8_length(text_.substr(start, first - start)) + 1;
    faults_.add(line + 1, column, bad < zero ? "invalid UTF-8" : "a NUL byte", "save the file as UTF-8 text");
    return false;
  }

  /// Replaces the statement that holds a line by empty lines; false when that cannot be done with certainty.
  bool blank_out(const TomlOutline& outline, std::size_t line) {
    const auto statement = outline.statement(line);
    if (!statement || text_.size() > recover_up_to) return false;
    if (patched_.empty()) patched_ = text_;
    std::string blank;
    const auto begin = patched_.begin() + static_cast<std::ptrdiff_t>(statement->first);
    const auto end = patched_.begin() + static_cast<std::ptrdiff_t>(statement->second);
    const auto first = std::find_if(begin, end, [](char c) { return c != ' ' && c != '\t'; });
    if (first != end && *first == '[') blank = "[\"" + std::string{unreadable} + std::to_string(++headers_) + "\"]";
    blank.append(static_cast<std::size_t>(std::count(begin, end, '\n')), '\n');
    if (blank.empty()) blank = "\n";
    patched_.replace(begin, end, blank);
    return true;
  }

  /// What toml++ says, without what it saw: that may be part of a secret.
  static std::string without_values(std::string_view description) {
    constexpr std::string_view opening = "Error while parsing ";
    if (description.starts_with(opening)) description.remove_prefix(opening.size());
    std::string text{description.substr(0, description.find(", saw "))};
    const std::size_t value = std::min(text.find(": '"), text.find("interpret '"));
    if (value != std::string::npos) {
      const std::size_t open = text.find('\'', value);
      const std::size_t close = text.rfind('\'');
      if (close > open) text.replace(open, close - open + 1, "this");
    }
    return shown(text, 256);
  }

  std::string_view text_;
  std::string patched_;  // empty until something had to be blanked out
  Faults& faults_;
  std::size_t headers_ = 0;
};

}  // namespace canary::detail
