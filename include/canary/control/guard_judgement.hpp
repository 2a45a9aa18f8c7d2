// guard_judgement.hpp: the questions that the guard asks of a candidate's life, in their order. Layer control; a part of
// guard.hpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/guard_metric.hpp"
#include "canary/control/guard_step.hpp"
#include "canary/control/guard_words.hpp"
#include "canary/control/sample_ratio.hpp"
#include "canary/control/verdict.hpp"

namespace canary::detail {

/// Log of what an e-value must reach.
[[nodiscard]] inline double log_threshold(double alpha, double candidates) noexcept {
  return std::log(std::max(1.0, candidates)) - std::log(alpha);
}

/// What is wrong with a configuration; empty if it can be judged by.
[[nodiscard]] inline std::string fault_of(const GuardConfig& config, const GuardStep& step) {
  const auto odds = [](double alpha) { return alpha > 0 && alpha < 1; };
  const auto margin = [](double value) { return value >= 0 && std::isfinite(value); };
  if (config.metrics.empty()) return "no metric is configured, so nothing is watched: name one in the task's guard";
  if (!odds(config.alpha_rollback)) return "alpha_rollback is not between 0 and 1";
  if (!odds(config.alpha_advance)) return "alpha_advance is not between 0 and 1";
  double weights = 0;
  for (const MetricConfig& each : config.metrics) {
    if (!margin(each.margin)) return "the margin of " + in_ticks(each.name) + " is not a number from 0 on";
    if (!margin(advance_margin(each, step.index)))
      return "the advance margin of " + in_ticks(each.name) + " is not a number from 0 on";
    if (!margin(each.weight)) return "the weight of " + in_ticks(each.name) + " is not a number from 0 on";
    if (!margin(each.error_ratio)) return "the error ratio of " + in_ticks(each.name) + " is not a number from 0 on";
    weights += each.weight;
  }
  return margin(weights) && weights > 0 ? "" : "the weights of the metrics add up to nothing";
}

/// One kind of records, over the epochs in which both arms had traffic.
struct Tally {
  std::string_view of;
  SampleRatio ratio;
  [[nodiscard]] bool mismatch() const noexcept { return ratio.log_e >= -std::log(sample_ratio_alpha); }
  [[nodiscard]] bool short_of() const noexcept { return number(ratio.observed) < ratio.expected; }
};

template <class Count>
[[nodiscard]] Tally tally(std::string_view of, const canary::Life& life, Count&& count) {
  Tally made{of, {}};
  for (const LifeEpoch& each : life.epochs) {
    const double share = share_of(each.epoch, life.candidate);
    if (!(share > 0 && share < 1)) continue;
    const std::uint64_t candidate = count(each.counts.of(CountedBy::unit, Arm::candidate));
    const std::uint64_t baseline = count(each.counts.of(CountedBy::unit, Arm::baseline));
    made.ratio.log_e += log_sample_ratio(share, candidate, baseline);
    made.ratio.expected += share * (number(candidate) + number(baseline));
    made.ratio.observed += candidate;
  }
  return made;
}

/// Requests that come with one observation of a metric.
[[nodiscard]] inline double requests_per_observation(const canary::Life& life, MetricUnit unit) noexcept {
  if (unit == MetricUnit::request) return 1;
  double requests = 0;
  double units = 0;
  for (const LifeEpoch& each : life.epochs)
    for (const Arm arm : {Arm::baseline, Arm::candidate}) {
      requests += number(each.counts.of(CountedBy::request, arm).assigned);
      units += number(each.counts.of(CountedBy::unit, arm).assigned);
    }
  return units > 0 && requests > units ? requests / units : 1;
}

/// A judgement in the making. Each question answers with true if it settles the verdict.
class Judgement {
 public:
  Judgement(const GuardConfig& config, const canary::Life& life, const GuardStep& step)
      : config_{config}, life_{life}, step_{step} {}

  [[nodiscard]] Verdict run() {
    const std::string fault = fault_of(config_, step_);
    if (fault.empty()) look();
    (void)(unusable(fault) || one_sided() || wrong_split() || harmful() || at_the_end() || lost_outcomes() ||
           unrecorded() || too_early() || proved());
    return std::move(verdict_);
  }

 private:
  bool hold(std::string reason) { return settle(Action::hold, std::move(reason)); }
  bool settle(Action action, std::string reason) {
    verdict_.action = action;
    verdict_.reason = std::move(reason);
    return true;
  }

  bool unusable(const std::string& fault) { return !fault.empty() && hold(fault); }

  void look() {
    assignments_ = tally("assignments", life_, [](const ArmCounts& arm) { return arm.assigned; });
    outcomes_ = tally("outcomes", life_, [](const ArmCounts& arm) { return arm.settled; });
    verdict_.sample_ratio = (outcomes_.ratio.log_e > assignments_.ratio.log_e ? outcomes_ : assignments_).ratio;
    for (const LifeEpoch& each : life_.epochs) {
      const double share = share_of(each.epoch, life_.candidate);
      const ArmCounts& arm = each.counts.of(CountedBy::unit, Arm::candidate);
      if (share > 0 && share < 1) verdict_.units += arm.settled + arm.missing;
      compared_ = compared_ || (share > 0 && share < 1);
      now_ = share;
      const Candidate* candidate = each.epoch.find(life_.candidate);
      whole_ = candidate != nullptr && candidate->points == ring_points;
    }
    double weights = 0;
    for (const MetricConfig& each : config_.metrics) weights += each.weight;
    std::vector<double> logs;
    const auto candidates = static_cast<double>(step_.candidates);
    verdict_.threshold_rollback = log_threshold(config_.alpha_rollback, candidates);
    evidence_.reserve(config_.metrics.size());
    verdict_.metrics.reserve(config_.metrics.size());
    for (const MetricConfig& metric : config_.metrics) {
      const MetricEvidence& seen = evidence_.emplace_back(metric, config_.metrics, life_);
      MetricVerdict& made = verdict_.metrics.emplace_back();
      const double margin = advance_margin(metric, step_.index);
      const double log_weight = std::log(metric.weight / weights);
      made.name = metric.name;
      made.kind = metric.kind;
      made.log_e_rollback = seen.log_rollback();
      made.log_e_advance = seen.log_advance(margin);
      made.threshold_rollback = verdict_.threshold_rollback - log_weight;
      made.threshold_advance = log_threshold(config_.alpha_advance, candidates);
      made.baseline = seen.baseline();
      made.candidate = seen.candidate();
      if (seen.comparable()) logs.push_back(log_weight + made.log_e_rollback);
      if (!step_.display) continue;
      made.interval = seen.interval();
      made.requests_to_verdict = seen.requests_to_verdict(made.threshold_rollback, made.threshold_advance, margin,
                                                          requests_per_observation(life_, metric.unit));
    }
    verdict_.log_e_rollback = logs.empty() ? 0 : log_mean_exp(logs) + std::log(static_cast<double>(logs.size()));
  }

  bool one_sided() {
    if (compared_) return false;
    if (step_.last && whole_) return at_the_end();
    return hold(life_.epochs.empty() ? "the candidate has had no traffic yet: give it a share"
                                     : "only one of the two arms has had traffic: there is nothing to compare with");
  }

  bool wrong_split() {
    return mismatched(assignments_, "check which servers record, and that all of them route by it");
  }
  bool lost_outcomes() {
    return mismatched(outcomes_, "check where outcomes of one of the two get lost, or wait while many are open");
  }
  bool mismatched(const Tally& tally, std::string_view advice) {
    if (!tally.mismatch()) return false;
    const bool back = tally.short_of() && config_.on_missing == OnMissing::rollback;
    return settle(back ? Action::rollback : Action::hold, mismatch_words(tally.of, tally.ratio, advice));
  }

  bool harmful() {
    if (!(verdict_.log_e_rollback >= verdict_.threshold_rollback)) return false;
    std::size_t worst = 0;
    while (!evidence_[worst].comparable()) ++worst;  // there is one, or there were no evidence
    for (std::size_t i = 0; i != verdict_.metrics.size(); ++i)
      if (evidence_[i].comparable() && excess(i) > excess(worst)) worst = i;
    return settle(Action::rollback, harm_words(config_.metrics[worst], verdict_.metrics[worst], verdict_));
  }
  [[nodiscard]] double excess(std::size_t i) const noexcept {
    return verdict_.metrics[i].log_e_rollback - verdict_.metrics[i].threshold_rollback;
  }

  bool at_the_end() {
    if (now_ < 1) return false;
    if (!whole_)
      return hold(
          "the baseline has no traffic left, others have the rest: there is nothing to compare with; give the "
          "baseline a share");
    if (!step_.last) return hold("the candidate serves all of the traffic: there is nothing to compare with");
    return settle(Action::finish, "the candidate serves all of the traffic and the last step is reached");
  }

  bool unrecorded() {
    for (std::size_t i = 0; i != evidence_.size(); ++i) {
      const MetricConfig& metric = config_.metrics[i];
      const MetricEvidence& seen = evidence_[i];
      if (seen.observed_baseline() == 0 && seen.observed_candidate() == 0)
        return hold(unrecorded_words(metric, verdict_.units != 0));
      if (!seen.recorded_alike() || !seen.comparable()) {
        const bool back = seen.candidate_recorded_less() && config_.on_missing == OnMissing::rollback;
        return settle(back ? Action::rollback : Action::hold,
                      in_ticks(metric.name) +
                          " is recorded for another share of the candidate's units than of the "
                          "baseline's: the two cannot be compared; record it for all or for a random part");
      }
    }
    return false;
  }

  bool too_early() {
    if (verdict_.units < config_.units_min)
      return hold("the candidate has " + std::to_string(verdict_.units) + " of the " +
                  std::to_string(config_.units_min) + " units that an advance needs at least");
    for (std::size_t i = 0; i != evidence_.size(); ++i)
      if (evidence_[i].observed_candidate() < config_.units_min)
        return hold(in_ticks(config_.metrics[i].name) + " is recorded for " +
                    std::to_string(evidence_[i].observed_candidate()) +
                    " of the candidate's units, and an advance needs " + std::to_string(config_.units_min) +
                    " at least");
    if (step_.age_s < config_.step_min_s)
      return hold("the step is " + std::to_string(step_.age_s) + " s old and lasts " +
                  std::to_string(config_.step_min_s) + " s at least");
    return false;
  }

  bool proved() {
    std::size_t least = 0;
    const auto lead = [&](std::size_t i) {
      return verdict_.metrics[i].log_e_advance - verdict_.metrics[i].threshold_advance;
    };
    for (std::size_t i = 0; i != verdict_.metrics.size(); ++i)
      if (!(lead(i) >= lead(least))) least = i;
    const MetricConfig& metric = config_.metrics[least];
    const double margin = advance_margin(metric, step_.index);
    if (!(lead(least) >= 0)) return hold(open_words(metric, verdict_.metrics[least], margin, verdict_));
    return settle(step_.last ? Action::finish : Action::advance,
                  proof_words(metric, verdict_.metrics[least], margin, verdict_.metrics.size()));
  }

  const GuardConfig& config_;
  const canary::Life& life_;
  const GuardStep& step_;
  Verdict verdict_;
  std::vector<MetricEvidence> evidence_;
  Tally assignments_;
  Tally outcomes_;
  bool compared_ = false;  // both arms had traffic at some time
  double now_ = 0;         // share in the last epoch, of the two arms
  bool whole_ = false;     // in which the candidate had the whole ring
};

}  // namespace canary::detail
