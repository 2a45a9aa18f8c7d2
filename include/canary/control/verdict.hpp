// verdict.hpp: what the guard answers: an action, its reason in words, and the figures behind both. Layer control.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/e_value.hpp"

namespace canary {

enum class Action : std::uint8_t {
  hold,      ///< leave the split as it is
  advance,   ///< to the next step
  finish,    ///< the last step is passed
  rollback,  ///< take the candidate's traffic back
};

[[nodiscard]] constexpr std::string_view to_text(Action action) noexcept {
  switch (action) {
    case Action::hold:
      return "hold";
    case Action::advance:
      return "advance";
    case Action::finish:
      return "finish";
    case Action::rollback:
      return "rollback";
  }
  return "";
}

/// An arm's observations of a metric and their mean: share of successes, score, microdollars; of a latency the share of
/// requests within the middle threshold, which is longer for the candidate by the margin.
struct ArmValue {
  std::uint64_t count = 0;
  double value = 0;
  friend bool operator==(const ArmValue&, const ArmValue&) = default;
};

struct MetricVerdict {
  std::string name;
  MetricKind kind = MetricKind::success;
  double log_e_rollback = 0;      ///< against "no harm beyond the margin"
  double log_e_advance = 0;       ///< against "harm of the advance margin or more"
  double threshold_rollback = 0;  ///< that the first must reach if no other metric speaks for a rollback
  double threshold_advance = 0;   ///< that the second must reach, in every metric
  ArmValue baseline;              ///< by `unit`, missing ones included
  ArmValue candidate;
  Interval interval;  ///< of candidate - baseline, in the unit of the values; holds at all times, 95 %
  std::optional<std::uint64_t> requests_to_verdict;  ///< of both arms, if it goes on like this; none: not in sight
};

/// The records of the candidate beside what its share promises: the worse of assignments and outcomes.
struct SampleRatio {
  double log_e = 0;  ///< against "as promised"; log(1,000) is a mismatch
  double expected = 0;
  std::uint64_t observed = 0;
};

struct Verdict {
  Action action = Action::hold;
  std::string reason;  ///< what is compared, how sure it is, what would change it
  std::vector<MetricVerdict> metrics;
  SampleRatio sample_ratio;
  std::uint64_t units = 0;        ///< of the candidate's life, with an outcome or closed without one
  double log_e_rollback = 0;      ///< of all metrics together
  double threshold_rollback = 0;  ///< that it must reach
};

}  // namespace canary
