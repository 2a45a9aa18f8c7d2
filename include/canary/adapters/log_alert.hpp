// log_alert.hpp: alerts as lines, for stderr or a log file. Layer adapters; needs a POSIX system.
#pragma once

#if !__has_include(<unistd.h>)
#error "log_alert.hpp needs a POSIX system: gethostname, poll"
#endif

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "canary/control/alert.hpp"
#include "canary/control/faults.hpp"

namespace canary {

/// `host:pid`, for AlertDeskOptions::source.
[[nodiscard]] inline std::string process_name() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return std::string{host[0] == '\0' ? "unknown" : host} + ':' + std::to_string(::getpid());
}

/// `2026-11-22T17:35:29Z canary alert: rollback checks@2: ...; ...`, with nothing in it that a terminal would obey.
[[nodiscard]] inline std::string alert_line(const Alert& alert) {
  constexpr std::size_t most = 1'500;  // so that a pipe takes a line at once, and other writers stay out of it
  const std::string_view about = alert.version.empty() ? alert.task : alert.version;
  std::string line = time_text(alert.at_us) + " canary alert: " + std::string{to_text(alert.kind)};
  if (alert.resolved) line += " resolved";
  if (!about.empty()) line += ' ' + detail::shown(about, 256);
  line += ": " + detail::shown(alert.message, most);
  if (!alert.hint.empty()) line += "; " + detail::shown(alert.hint, most);
  if (alert.missed != 0) line += " (" + std::to_string(alert.missed) + " alerts before this one were dropped)";
  return line;
}

namespace detail {

/// Writes to a descriptor behind which perhaps nobody reads: a pipe that says it has room takes PIPE_BUF bytes at once,
/// unless another writer comes in between.
/// Output  what was wrong; nullptr: all is written.
[[nodiscard]] inline const char* write_in_time(int fd, std::string_view text, std::chrono::milliseconds at_most,
                                               const std::atomic<bool>& cancelled) {
  constexpr int slice_ms = 50;
  const auto end = std::chrono::steady_clock::now() + at_most;
  while (!text.empty()) {
    if (cancelled.load(std::memory_order_relaxed)) return "the log was given up: the program ends";
    pollfd one{fd, POLLOUT, 0};
    const int ready = ::poll(&one, 1, slice_ms);
    if (ready > 0 && (one.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return "nobody reads the log any more";
    if (ready > 0) {
      const ssize_t put = ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (put < 0 && errno != EINTR && errno != EAGAIN) return "the log cannot be written";
      if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
    }
    if (std::chrono::steady_clock::now() >= end && !text.empty()) return "nobody reads the log";
  }
  return nullptr;
}

}  // namespace detail

/// Past the stream's buffer, which it empties: a thread that waits in the stream would keep everybody out of it.
class LogSink : public AlertSink {
 public:
  /// Input   a stream that stays open as long as this lives.
  explicit LogSink(std::FILE* to = stderr) : to_{to} {}

  [[nodiscard]] std::string name() const override { return "log"; }
  [[nodiscard]] Sent send(const Alert& alert) override {
    const std::string line = alert_line(alert) + '\n';
    const int fd = ::fileno(to_);
    if (fd < 0) return send_to_stream(line);
    if (to_ != stderr) (void)std::fflush(to_);
    constexpr std::chrono::milliseconds at_most{2'000};
    const char* fault = detail::write_in_time(fd, line, at_most, cancelled_);
    return fault == nullptr ? Sent{} : Sent{SendResult::try_again, fault};
  }
  void cancel() noexcept override { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  /// One in memory, say.
  [[nodiscard]] Sent send_to_stream(const std::string& line) {
    const bool written = std::fwrite(line.data(), 1, line.size(), to_) == line.size() && std::fflush(to_) == 0;
    if (!written) std::clearerr(to_);
    return written ? Sent{} : Sent{SendResult::try_again, "the log cannot be written"};
  }

  std::FILE* to_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace canary
