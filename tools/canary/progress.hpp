// progress.hpp: a line on stderr while something long runs, and only when somebody watches.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace canary::cli {

/// Silent for the first second, on anything but a terminal, and with TERM=dumb.
class Progress {
 public:
  Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  ///< wipes the line

  void update(std::uint64_t keys, std::uint64_t bytes, std::optional<std::uint64_t> bytes_total);

 private:
  using Clock = std::chrono::steady_clock;
  bool shown_ = false;
  bool watched_;
  Clock::time_point next_;
};

}  // namespace canary::cli
