#include "guard_alerts.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

#include "alert_sinks.hpp"
#include "canary/adapters/alert_mark.hpp"
#include "canary/adapters/host_name.hpp"
#include "canary/adapters/log_alert.hpp"
#include "canary/control/registry.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

// A first try and, after a failure, two more fit into it. Then each alert has one last try of this long; after that a
// program that hangs gets a second to end.
constexpr std::chrono::milliseconds patience{3'000};
constexpr std::uint32_t last_try_ms = 2'000;

AlertRoundOptions round_options(const std::string& state) {
  const AlertMark mark{state};
  AlertRoundOptions options{.place = alert_place(host_name(), state), .store_stood = mark.stands()};
  options.remember_store = [mark](bool stands) { mark.set(stands); };
  return options;
}

std::string visible(const std::string& text) {
  std::string out;
  append_visible(out, text);
  return out;
}

}  // namespace

void warn_in_time(const std::string& text) {
  constexpr std::chrono::milliseconds at_most{1'000};
  const std::atomic<bool> never{false};
  const std::string line = coloured(STDERR_FILENO, "33", "warning:") + ' ' + text + '\n';
  (void)canary::detail::write_in_time(STDERR_FILENO, line, at_most, never);
}

GuardAlerts::GuardAlerts(const Config& config, bool once, bool dry_run)
    : config_{config}, once_{once}, round_{config.alerts, round_options(config.store.state)} {
  if (dry_run) return;
  std::vector<std::unique_ptr<AlertSink>> sinks = make_alert_sinks(config);
  if (sinks.empty()) return;
  AlertDeskOptions options;
  options.source = process_name();
  options.repeat_s = config.alerts.repeat_s;
  options.stop_ms = last_try_ms;
  desk_.emplace(std::move(sinks), std::move(options));
}

void GuardAlerts::tell(Store& store, InteractionStore& interactions, const GuardPass& pass) {
  if (!desk_) return;
  const TimeUs now_us = Registry::system_time();
  std::vector<Alert> told =
      once_ ? rollback_alerts(pass, now_us) : round_.of_pass(store, interactions, config_.tasks, pass, now_us);
  for (Alert& alert : told) desk_->raise(std::move(alert));
  warn_of_sinks();
}

void GuardAlerts::warn_of_sinks() {
  for (const SinkStatus& sink : desk_->status().sinks) {
    const bool fails = !sink.last_error.empty();
    if (fails == failing_.contains(sink.name)) continue;
    if (fails)
      failing_.insert(sink.name);
    else
      failing_.erase(sink.name);
    warn_in_time("alerts to " + visible(sink.name) + (fails ? " fail: " + visible(sink.last_error) : " arrive again"));
  }
}

void GuardAlerts::finish() noexcept {
  if (!desk_) return;
  try {
    (void)desk_->flush(patience);
    desk_->stop();
    for (const SinkStatus& sink : desk_->status().sinks) {
      const std::uint64_t lost = sink.failed + sink.dropped + sink.queued;
      if (lost == 0) continue;
      warn_in_time(std::to_string(lost) + (lost == 1 ? " alert" : " alerts") + " to " + visible(sink.name) +
                   (lost == 1 ? " was" : " were") + " not delivered" +
                   (sink.last_error.empty() ? "" : ", at last since: " + visible(sink.last_error)));
    }
  } catch (const std::exception&) {  // no memory for a better one
    std::fputs("warning: it is not known whether every alert was delivered\n", stderr);
  }
  desk_.reset();
}

}  // namespace canary::cli
