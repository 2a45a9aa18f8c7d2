// stored_text.hpp: a payload's text as every store can keep it. Layer control.
// Prompts and answers are whatever a server was handed; a column of text takes UTF-8, and PostgreSQL's no NUL.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "canary/control/utf8.hpp"

namespace canary {

/// U+FFFD, which stands for what was not text.
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

/// The text with U+FFFD for each NUL and for each byte that is not part of well-formed UTF-8.
/// Input   `space`: holds the result where it differs from `text`.
/// Cost    a look at each byte; nothing is copied where all is well.
[[nodiscard]] inline std::string_view stored_text(std::string_view text, std::string& space) {
  const auto good_until = [](std::string_view rest) {
    return std::min(rest.find('\0'), first_invalid_utf8(rest));  // npos is larger than any size
  };
  std::size_t good = good_until(text);
  if (good == text.size()) return text;
  space.clear();
  for (;; good = good_until(text)) {
    space += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty()) return space;
    space += replacement_character;
    text.remove_prefix(1);
  }
}

}  // namespace canary
