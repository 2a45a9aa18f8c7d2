// outcome.hpp: what became of a request. Layer core.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace canary {

/// Why a request failed.
enum class ErrorKind : std::uint8_t {
  none,            ///< it did not
  timeout,         ///< no answer in time
  rate_limited,    ///< the provider wants fewer requests
  refused,         ///< the model or a filter declined
  server,          ///< the provider failed
  network,         ///< the provider was not reached
  invalid_output,  ///< an answer that cannot be used
  cancelled,       ///< the caller went away
  other,
};

inline constexpr std::uint8_t error_kinds = 9;

/// The kind in the word that JSON and tables use; `none` is empty.
[[nodiscard]] constexpr std::string_view to_string(ErrorKind kind) noexcept {
  constexpr std::string_view words[error_kinds] = {"",        "timeout",        "rate_limited", "refused", "server",
                                                   "network", "invalid_output", "cancelled",    "other"};
  const auto at = static_cast<std::uint8_t>(kind);
  return at < error_kinds ? words[at] : "other";
}

/// What became of one decision. What makes no sense is left out and counted; the outcome itself is recorded.
struct Outcome {
  std::int64_t latency_us = -1;       ///< negative: not measured; more than 71 minutes counts as that
  bool ok = true;                     ///< false: it failed, whatever `error` says
  std::optional<double> score = {};   ///< quality in [0, 1]; it may come later, by feedback()
  std::uint32_t tokens_in = 0;        ///< of the request
  std::uint32_t tokens_out = 0;       ///< of the answer
  std::int64_t cost_microusd = 0;     ///< millionths of a US dollar
  ErrorKind error = ErrorKind::none;  ///< other than `none`: it failed, whatever `ok` says
  std::string_view request = {};      ///< text for training export, kept only where payloads are on
  std::string_view response = {};     ///< likewise
};

/// Scores are kept in billionths, so that sums are exact in any order.
inline constexpr std::uint32_t score_one = 1'000'000'000;
inline constexpr std::uint32_t no_score = 0xFFFF'FFFF;

/// A score in billionths; no_score for NaN and what lies outside [0, 1].
[[nodiscard]] constexpr std::uint32_t score_billionths(double score) noexcept {
  // NOLINTNEXTLINE(bugprone-incorrect-roundings): not below 0, and lround() is no constant expression
  return score >= 0 && score <= 1 ? static_cast<std::uint32_t>(score * score_one + 0.5) : no_score;
}

/// A latency that is not known; longer ones than can be kept count as the longest.
inline constexpr std::uint32_t no_latency = 0xFFFF'FFFF;
inline constexpr std::uint32_t longest_latency_us = no_latency - 1;

}  // namespace canary
