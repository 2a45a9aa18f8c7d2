// guard.hpp: evidence -> verdict -> action {hold, advance, finish, rollback}. Layer control.
//
// Rolls back when the weighted mean of the metrics' e-values reaches candidates/alpha_rollback; advances only when every
// metric's e-value against harm reaches candidates/alpha_advance and the records match the split. Both hold whenever and
// however often one looks. Everything else is a hold that says what it waits for; nothing is ever shipped because nothing
// was proved. A pure function: no clock, no store; the registry acts, and writes the evidence into history.
//
// It does not see: harm between looks that is over by the next; harm below the margin; outcomes that nobody records. And
// while outcomes are open, a slower candidate's are a little fewer than its share.
// Cost: some ten microseconds for a task of four metrics; with `display` some hundred.
#pragma once

#include "canary/control/config.hpp"
#include "canary/control/guard_judgement.hpp"
#include "canary/control/guard_metric.hpp"
#include "canary/control/guard_step.hpp"
#include "canary/control/verdict.hpp"

namespace canary {

/// Judges a candidate by its life.
/// Input   any counts, any configuration: what makes no sense is a hold that says so.
[[nodiscard]] Verdict judge(const GuardConfig& config, const Life& life, const GuardStep& step);

// ---------------------------------------------------------------------------------------------------------------------

inline Verdict judge(const GuardConfig& config, const Life& life, const GuardStep& step) {
  return detail::Judgement{config, life, step}.run();
}

}  // namespace canary
