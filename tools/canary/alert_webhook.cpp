// The one translation unit that compiles the webhook, and libcurl's headers.
#include "alert_sinks.hpp"
#include "canary/adapters/webhook.hpp"
#include "failure.hpp"

namespace canary::cli {

std::unique_ptr<AlertSink> open_webhook(const AlertsConfig& config) {
  WebhookOptions options;
  options.url = config.webhook;
  options.secret_env = config.webhook_secret_env;
  try {
    return std::make_unique<WebhookSink>(options);
  } catch (const WebhookError& error) {
    throw Failure{Exit::invalid_input, error.what()};
  }
}

}  // namespace canary::cli
