// alert_sinks.hpp: where a configuration sends alerts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "canary/control/alert.hpp"
#include "canary/control/config.hpp"

namespace canary::cli {

/// A sink that is configured, and perhaps cannot be made.
struct AlertSinkPlan {
  std::string name;  ///< without secrets
  /// Errors  Failure with what to do: a secret that is not set, a program that cannot be run, a build without libcurl.
  std::function<std::unique_ptr<AlertSink>()> make;
};

/// Webhook, command and log, as far as each is configured.
[[nodiscard]] std::vector<AlertSinkPlan> alert_sink_plans(const Config& config);

/// All of them, for an AlertDesk.
/// Errors  Failure for the first that cannot be made.
[[nodiscard]] std::vector<std::unique_ptr<AlertSink>> make_alert_sinks(const Config& config);

/// The one door to libcurl.
/// Errors  Failure as above.
[[nodiscard]] std::unique_ptr<AlertSink> open_webhook(const AlertsConfig& config);

}  // namespace canary::cli
