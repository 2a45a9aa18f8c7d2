// interaction.hpp: a recorded decision with its outcome, as stores keep it. Layer control.
#pragma once

#include <cstdint>
#include <string_view>

#include "canary/core/entry.hpp"
#include "canary/core/outcome.hpp"
#include "canary/core/types.hpp"

namespace canary {

/// One recorded decision with its outcome. Its task is known from where it is: a store's own number of the task.
struct Interaction {
  std::uint64_t id = 0;    ///< InteractionId: rises with time, unique in a fleet
  std::int64_t at_us = 0;  ///< when the outcome was recorded, to the recorder's tick
  std::uint32_t task = 0;  ///< the store's number of the task
  std::uint32_t revision = 0;
  Point point = 0;           ///< the sticky unit
  std::uint16_t number = 0;  ///< of the version; 0: the default, or a forced model that is no version
  Reason reason = Reason::split;
  std::uint8_t error = 0;                 ///< ErrorKind
  std::uint32_t latency_us = no_latency;  ///< or no_latency
  std::uint32_t score = no_score;         ///< billionths, or no_score
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
  std::uint64_t cost_microusd = 0;  ///< at most 2^63 - 1
  friend bool operator==(const Interaction&, const Interaction&) = default;
};

/// Texts of an interaction, kept where payloads are on.
struct Payload {
  std::uint64_t id = 0;
  std::string_view request;
  std::string_view response;
};

/// A score that came later.
struct Feedback {
  std::uint64_t id = 0;
  std::int64_t at_us = 0;
  std::uint32_t score = 0;  ///< billionths
  friend bool operator==(const Feedback&, const Feedback&) = default;
};

}  // namespace canary
