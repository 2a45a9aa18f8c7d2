// log_alert.hpp: alerts as lines, for stderr or a log file. Layer adapters; needs a POSIX system for the process's name.
#pragma once

#if !__has_include(<unistd.h>)
#error "log_alert.hpp needs a POSIX system: gethostname"
#endif

#include <unistd.h>

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
  constexpr std::size_t most = 2'000;
  const std::string_view about = alert.version.empty() ? alert.task : alert.version;
  std::string line = time_text(alert.at_us) + " canary alert: " + std::string{to_text(alert.kind)};
  if (alert.resolved) line += " resolved";
  if (!about.empty()) line += ' ' + detail::shown(about, 256);
  line += ": " + detail::shown(alert.message, most);
  if (!alert.hint.empty()) line += "; " + detail::shown(alert.hint, most);
  if (alert.missed != 0) line += " (" + std::to_string(alert.missed) + " alerts before this one were dropped)";
  return line;
}

class LogSink : public AlertSink {
 public:
  /// Input   a stream that stays open as long as this lives.
  explicit LogSink(std::FILE* to = stderr) : to_{to} {}

  [[nodiscard]] std::string name() const override { return "log"; }
  [[nodiscard]] Sent send(const Alert& alert) override {
    const std::string line = alert_line(alert) + '\n';
    const bool written = std::fwrite(line.data(), 1, line.size(), to_) == line.size() && std::fflush(to_) == 0;
    if (!written) std::clearerr(to_);
    return written ? Sent{} : Sent{SendResult::try_again, "the log cannot be written"};
  }

 private:
  std::FILE* to_;
};

}  // namespace canary
