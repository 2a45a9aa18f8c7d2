#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "output.hpp"

namespace canary::cli {

using namespace std::chrono_literals;

// Not into the middle of results that go to the same terminal.
Progress::Progress(Results results)
    : next_{Clock::now() + 1s},
      watched_{wants_colour(STDERR_FILENO) && !(results == Results::stream && ::isatty(STDOUT_FILENO) == 1)} {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(std::uint64_t keys, std::uint64_t bytes, std::optional<std::uint64_t> bytes_total) {
  if (!watched_ || Clock::now() < next_) return;
  next_ = Clock::now() + 100ms;
  shown_ = true;
  std::string line = "\r\x1b[K" + thousands(keys) + " keys, " + thousands(bytes >> 20) + " MiB";
  if (bytes_total && *bytes_total != 0) {
    constexpr std::uint64_t width = 30;
    const std::uint64_t filled = std::min(width, bytes * width / *bytes_total);
    line +=
        "  [" + std::string(filled, '#') + std::string(width - filled, '.') + "]  " + share_text(bytes, *bytes_total);
  }
  std::fputs(line.c_str(), stderr);
}

}  // namespace canary::cli
