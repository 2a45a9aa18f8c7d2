// row_progress.hpp: progress.hpp for what counts rows instead of keys.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "output.hpp"

namespace canary::cli {

/// A line on stderr while something long runs, and only when somebody watches. Silent for the first second, on anything
/// but a terminal, with NO_COLOR and with TERM=dumb. For commands that print what they found at their end.
class RowProgress {
 public:
  /// Input   `what` is counted: "rows".
  explicit RowProgress(std::string_view what) : what_{what}, watched_{wants_colour(STDERR_FILENO)} {}
  RowProgress(const RowProgress&) = delete;
  RowProgress& operator=(const RowProgress&) = delete;
  ~RowProgress() {  // wipes the line
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }

  void update(std::uint64_t rows, std::uint64_t bytes = 0, std::optional<std::uint64_t> bytes_total = {}) {
    if (!is_time()) return;
    std::string line = thousands(rows) + ' ' + std::string{what_};
    if (bytes != 0) line += ", " + thousands(bytes >> 20) + " MiB";
    show(line + bar(bytes, bytes_total.value_or(0)));
  }
  /// What is counted out of so many.
  void update_of(std::uint64_t done, std::uint64_t total) {
    if (is_time()) show(thousands(done) + " of " + thousands(total) + ' ' + std::string{what_} + bar(done, total));
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_time() {
    if (!watched_ || Clock::now() < next_) return false;
    next_ = Clock::now() + std::chrono::milliseconds{100};
    return true;
  }
  [[nodiscard]] static std::string bar(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return "";
    constexpr std::uint64_t width = 30;
    const std::uint64_t filled = std::min(width, part * width / whole);
    return "  [" + std::string(filled, '#') + std::string(width - filled, '.') + "]  " + share_text(part, whole);
  }
  void show(const std::string& line) {
    shown_ = true;
    std::fputs(("\r\x1b[K" + line).c_str(), stderr);
  }

  std::string_view what_;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + std::chrono::seconds{1};
  bool watched_;
};

}  // namespace canary::cli
