// dataset_lines.hpp: bytes that come in pieces, cut into lines. Layer control.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace canary {

/// A line within one piece is handed on where it lies; what is cut by a piece's end is put together, up to a length.
/// Cost    memory for the longest line, and never more than that length.
class LineCutter {
 public:
  explicit LineCutter(std::size_t line_bytes_max) noexcept : most_{line_bytes_max} {}

  /// Calls `on_line(line, whole)` for each line that ends in `bytes`, without its line break. Of a line that is too long
  /// `whole` is false and `line` is empty.
  template <class OnLine>
  void feed(std::string_view bytes, OnLine&& on_line) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      if (end == std::string_view::npos) return keep(bytes);
      take(bytes.substr(0, end), on_line);
      bytes.remove_prefix(end + 1);
    }
  }

  /// The last line, if nothing ended it.
  template <class OnLine>
  void finish(OnLine&& on_line) {
    if (!begun_.empty() || too_long_) take({}, on_line);
  }

 private:
  template <class OnLine>
  void take(std::string_view end, OnLine&& on_line) {
    if (begun_.empty() && !too_long_)
      return end.size() > most_ ? on_line(std::string_view{}, false) : on_line(end, true);
    keep(end);
    if (too_long_)
      on_line(std::string_view{}, false);
    else
      on_line(std::string_view{begun_}, true);
    begun_.clear();
    too_long_ = false;
  }
  void keep(std::string_view part) {
    too_long_ |= part.size() > most_ - begun_.size();
    if (too_long_) return begun_.clear();
    const std::size_t needed = begun_.size() + part.size();
    if (needed > begun_.capacity()) begun_.reserve(std::min(most_, std::max(needed, 2 * begun_.capacity())));
    begun_ += part;
  }

  std::size_t most_;
  std::string begun_;
  bool too_long_ = false;
};

}  // namespace canary
