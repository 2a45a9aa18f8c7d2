// webhook.hpp: alerts to an URL, as JSON that is signed. Layer adapters; needs libcurl.
//
//   POST, Content-Type: application/json, the body alert_json()
//   Canary-Delivery: the alert's id, the same at every try
//   Canary-Signature: t=UNIXTIME,v1=HEX     HEX = HMAC-SHA256 with the secret over "UNIXTIME.BODY", as Stripe signs
//
// A receiver computes HEX anew over the bytes that came, compares in constant time, refuses a time that is minutes old, and
// knows by Canary-Delivery what it has had. Redirects are not followed: what is signed is meant for this URL.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "canary/adapters/http.hpp"
#include "canary/adapters/http_retry.hpp"
#include "canary/control/alert.hpp"
#include "canary/control/hmac.hpp"
#include "canary/control/webhook_url.hpp"

namespace canary {

struct WebhookOptions {
  std::string url;
  std::string secret_env = "CANARY_WEBHOOK_SECRET";  ///< variable with the secret
  std::string ca_file = {};                          ///< see HttpClientOptions
  std::uint32_t connect_ms = 5'000;
  std::uint32_t total_ms = 10'000;
  std::uint32_t patience_s = 600;  ///< a Retry-After counts up to here
  std::function<const char*(const char*)> environment = [](const char* name) -> const char* {
    return std::getenv(name);
  };
};

/// A webhook that cannot be: what() says why and what to do.
class WebhookError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The header that proves where a body comes from.
[[nodiscard]] inline std::string webhook_signature(std::string_view secret, std::int64_t unix_s,
                                                   std::string_view body) {
  const std::string time = std::to_string(unix_s);
  return "t=" + time + ",v1=" + hex_text(hmac_sha256(secret, (time + '.').append(body)));
}

class WebhookSink : public AlertSink {
 public:
  /// Reads the secret.
  /// Errors  WebhookError for a variable that is not set, and for an URL that alerts may not be sent to.
  explicit WebhookSink(const WebhookOptions& options);

  [[nodiscard]] std::string name() const override { return "webhook " + shown_url(options_.url); }
  /// 2xx is delivered, whatever becomes of its body. What says that the alert itself, or who sends it, is not wanted (400,
  /// 401, 410, 413, 414, 415, 422) is refused. All else comes again, and as late as Retry-After asks: a receiver that is being
  /// put in place answers 403, 404 or a redirect for a while. So does whatever keeps an answer from coming.
  [[nodiscard]] Sent send(const Alert& alert) override;
  void cancel() noexcept override { client_.cancel(); }

 private:
  [[nodiscard]] Sent answer(const HttpResponse& response) const;

  WebhookOptions options_;
  std::string secret_;
  HttpClient client_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline WebhookSink::WebhookSink(const WebhookOptions& options)
    : options_{options}, client_{{.ca_file = options.ca_file, .user_agent = "canary-alerts"}} {
  if (const UrlFault fault = webhook_url_fault(options_.url); !fault.message.empty())
    throw WebhookError{"alerts.webhook: " + std::string{fault.message} + "; " + std::string{fault.hint}};
  const char* secret = options_.secret_env.empty() ? nullptr : options_.environment(options_.secret_env.c_str());
  if (secret == nullptr || *secret == '\0')
    throw WebhookError{"alerts.webhook: no secret to sign with: " +
                       (options_.secret_env.empty() ? "webhook_secret_env names no variable"
                                                    : "the variable " + options_.secret_env + " is not set") +
                       "; export the secret that the receiver knows in it"};
  secret_ = secret;
}

inline Sent WebhookSink::send(const Alert& alert) {
  const std::int64_t now_s =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  HttpRequest request;
  request.method = "POST";
  request.url = options_.url;
  request.body = alert_json(alert);
  request.headers = {{"Content-Type", "application/json"},
                     {"Canary-Delivery", alert.id},
                     {"Canary-Signature", webhook_signature(secret_, now_s, request.body)}};
  request.connect_ms = options_.connect_ms;
  request.total_ms = options_.total_ms;
  request.body_bytes = 4'096;  // nobody reads it
  request.cut_body = true;
  request.body_ms = 1'000;
  try {
    return answer(client_.send(request));
  } catch (const HttpError& error) {
    const bool again = may_change(error.code) || error.code == HttpErrc::cancelled;
    return {again ? SendResult::try_again : SendResult::refused,
            error.hint.empty() ? error.what() : error.what() + ("; " + error.hint)};
  }
}

inline Sent WebhookSink::answer(const HttpResponse& response) const {
  const std::string said = shown_url(options_.url) + " answered " + std::to_string(response.status);
  if (response.status >= 200 && response.status <= 299) return {SendResult::delivered, said};
  constexpr std::array unwanted{400, 401, 410, 413, 414, 415, 422};
  const bool refused = std::find(unwanted.begin(), unwanted.end(), response.status) != unwanted.end();
  Sent sent{refused ? SendResult::refused : SendResult::try_again, said};
  if (!refused) sent.wait_ms = std::min(response.retry_after_s.value_or(0), options_.patience_s) * 1'000;
  if (response.status >= 300 && response.status <= 399)
    sent.message +=
        ": redirects are not followed, since what is signed is meant for this URL; name the one that answers in "
        "alerts.webhook";
  else if (!may_change(response.status))
    sent.message += "; see alerts.webhook, and whether the receiver knows the same secret";
  return sent;
}

}  // namespace canary
