// http_retry.hpp: which answers are worth another try, and how long to wait for it. Layer adapters; needs libcurl.
// Apart from http.hpp, since only a caller knows whether a request may be made twice.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

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

/// True for an answer that asks for another try: by `x-should-retry` where it has that, else by its status; 409 too, which
/// says that somebody else is at it.
[[nodiscard]] inline bool asks_again(const HttpResponse& response) {
  const std::string* asked = response.find("x-should-retry");
  if (asked != nullptr && (*asked == "true" || *asked == "false")) return *asked == "true";
  return may_change(response.status) || response.status == 409;
}

/// How long an answer asks to be left alone: `retry-after-ms`, which may have a fraction, goes before Retry-After.
[[nodiscard]] std::optional<std::uint64_t> retry_after_ms(const HttpResponse& response);

/// How long to wait after an answer or an error that may change.
/// Input   failures so far, from 1; what the server asked for; `draw` evenly in [0, 1).
/// Output  nothing when it is time to give up.
[[nodiscard]] constexpr std::optional<std::uint32_t> retry_wait_ms(const HttpRetry& retry, std::uint32_t failures,
                                                                   std::optional<std::uint64_t> asked_ms,
                                                                   double draw) noexcept {
  const std::uint64_t most_ms = std::uint64_t{retry.retry_after_most_s} * 1'000;
  if (failures >= retry.tries || asked_ms.value_or(0) > most_ms) return {};
  const std::uint32_t own_ms = backoff_ms(retry.backoff, failures, draw);
  // Never before the time that was asked for, and not together with everybody else who was asked.
  const std::uint64_t then_ms = asked_ms ? *asked_ms + static_cast<std::uint64_t>(draw * own_ms) : 0;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(std::max<std::uint64_t>(own_ms, then_ms), 0xFFFF'FFFF));
}

/// Sends until there is an answer that will not change. Only for requests that may be made twice.
/// Input   `wait(milliseconds)`: false to give up; `draw()`: evenly in [0, 1); `again(response)`: true for an answer that
///         is worth another try.
/// Output  the last answer.
/// Errors  the last HttpError.
template <class Wait, class Draw, class Again = bool (*)(const HttpResponse&)>
[[nodiscard]] HttpResponse send_retrying(HttpClient& client, const HttpRequest& request, const HttpRetry& retry,
                                         Wait wait, Draw draw, Again again = &asks_again) {
  for (std::uint32_t failures = 1;; ++failures) {
    std::optional<std::uint32_t> wait_ms;
    try {
      HttpResponse response = client.send(request);
      if (!again(response)) return response;
      wait_ms = retry_wait_ms(retry, failures, retry_after_ms(response), draw());
      if (!wait_ms || !wait(*wait_ms)) return response;
    } catch (const HttpError& error) {
      if (!may_change(error.code)) throw;
      wait_ms = retry_wait_ms(retry, failures, {}, draw());
      if (!wait_ms || !wait(*wait_ms)) throw;
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------

inline std::optional<std::uint64_t> retry_after_ms(const HttpResponse& response) {
  if (const std::string* text = response.find("retry-after-ms")) {
    std::uint64_t ms = 0;
    const char* end = text->data() + text->size();
    const auto [stopped, error] = std::from_chars(text->data(), end, ms);
    if (error == std::errc{} && (stopped == end || *stopped == '.')) return stopped == end ? ms : ms + 1;
  }
  if (!response.retry_after_s) return {};
  return std::uint64_t{*response.retry_after_s} * 1'000;
}

}  // namespace canary
