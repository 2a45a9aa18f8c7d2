// http_retry.hpp: which answers are worth another try, and how long to wait for it. Layer adapters; needs libcurl.
// Apart from http.hpp, since only a caller knows whether a request may be made twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "canary/adapters/http.hpp"
#include "canary/control/backoff.hpp"

namespace canary {

struct HttpRetry {
  std::uint32_t tries = 4;
  Backoff backoff{.first_ms = 500, .longest_ms = 30'000};
  std::uint32_t retry_after_most_s = 120;  ///< a server that asks for more is not waited for
};

/// True for answers that may be others later: 408, 429 and 5xx.
[[nodiscard]] constexpr bool may_change(int status) noexcept {
  return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

/// True for errors that may be gone later.
[[nodiscard]] constexpr bool may_change(HttpErrc code) noexcept {
  return code == HttpErrc::connect || code == HttpErrc::tls || code == HttpErrc::timeout || code == HttpErrc::reset;
}

/// How long to wait after an answer or an error that may change.
/// Input   failures so far, from 1; what the server asked for; `draw` evenly in [0, 1).
/// Output  nothing when it is time to give up.
[[nodiscard]] constexpr std::optional<std::uint32_t> retry_wait_ms(const HttpRetry& retry, std::uint32_t failures,
                                                                   std::optional<std::uint32_t> retry_after_s,
                                                                   double draw) noexcept {
  if (failures >= retry.tries || retry_after_s.value_or(0) > retry.retry_after_most_s) return {};
  return std::max(backoff_ms(retry.backoff, failures, draw), retry_after_s.value_or(0) * 1'000);
}

/// Sends until there is an answer that will not change. Only for requests that may be made twice.
/// Input   `wait(milliseconds)`: false to give up; `draw()`: evenly in [0, 1).
/// Output  the last answer.
/// Errors  the last HttpError.
template <class Wait, class Draw>
[[nodiscard]] HttpResponse send_retrying(HttpClient& client, const HttpRequest& request, const HttpRetry& retry,
                                         Wait wait, Draw draw) {
  for (std::uint32_t failures = 1;; ++failures) {
    std::optional<std::uint32_t> wait_ms;
    try {
      HttpResponse response = client.send(request);
      if (!may_change(response.status)) return response;
      wait_ms = retry_wait_ms(retry, failures, response.retry_after_s, draw());
      if (!wait_ms || !wait(*wait_ms)) return response;
    } catch (const HttpError& error) {
      if (!may_change(error.code)) throw;
      wait_ms = retry_wait_ms(retry, failures, {}, draw());
      if (!wait_ms || !wait(*wait_ms)) throw;
    }
  }
}

}  // namespace canary
