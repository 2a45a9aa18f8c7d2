#include "alert_sinks.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "canary/adapters/command_alert.hpp"
#include "canary/adapters/log_alert.hpp"
#include "canary/control/webhook_url.hpp"
#include "failure.hpp"
#include "providers.hpp"

namespace canary::cli {
namespace {

std::unique_ptr<AlertSink> open_command(const Config& config) {
  const std::vector<std::string>& command = config.alerts.command;
  const std::string& program = command.front();
  if (::access(program.c_str(), X_OK) != 0)
    throw Failure{Exit::invalid_input, "alerts.command: " + program + " cannot be run: " + std::strerror(errno),
                  "name the path of a program; PATH is not searched, and a relative one starts from the configuration"};
  return std::make_unique<CommandSink>(CommandOptions{.command = command, .hidden = secret_variables(config)});
}

}  // namespace

std::vector<AlertSinkPlan> alert_sink_plans(const Config& config) {
  const AlertsConfig& alerts = config.alerts;
  std::vector<AlertSinkPlan> plans;
  if (!alerts.webhook.empty())
    plans.push_back({"webhook " + shown_url(alerts.webhook), [alerts] { return open_webhook(alerts); }});
  if (!alerts.command.empty())
    plans.push_back({"command " + alerts.command.front(), [config] { return open_command(config); }});
  if (alerts.log) plans.push_back({"log", [] { return std::make_unique<LogSink>(); }});
  return plans;
}

std::vector<std::unique_ptr<AlertSink>> make_alert_sinks(const Config& config) {
  std::vector<std::unique_ptr<AlertSink>> sinks;
  for (const AlertSinkPlan& plan : alert_sink_plans(config)) sinks.push_back(plan.make());
  return sinks;
}

#ifndef CANARY_CLI_HTTP
std::unique_ptr<AlertSink> open_webhook(const AlertsConfig&) {
  throw Failure{Exit::invalid_input, "alerts.webhook: this program was built without libcurl",
                "build it where libcurl4-openssl-dev is installed, or use alerts.command"};
}
#endif

}  // namespace canary::cli
