// progress.hpp: a line on stderr while something long runs, and only when somebody watches.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace canary::cli {

/// Silent for the first second, on anything but a terminal, with NO_COLOR and with TERM=dumb.
class Progress {
 public:
  enum class Results { stream, at_end };  ///< when the command prints what it found
  explicit Progress(Results results);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  ///< wipes the line

  void update(std::uint64_t keys, std::uint64_t bytes, std::optional<std::uint64_t> bytes_total);

 private:
  using Clock = std::chrono::steady_clock;
  bool shown_ = false;
  Clock::time_point next_;
  bool watched_;
};

}  // namespace canary::cli
