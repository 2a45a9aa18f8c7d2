// guard_words.hpp: the guard's reasons in plain words. Layer control; a part of guard.hpp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "canary/control/config.hpp"
#include "canary/control/verdict.hpp"

namespace canary::detail {

[[nodiscard]] inline std::string in_ticks(std::string_view name) { return '`' + std::string{name} + '`'; }

/// Four digits, or a whole number, whatever the locale.
[[nodiscard]] inline std::string figure(double value) {
  char text[40];
  const bool whole = std::abs(value) >= 1'000 && std::abs(value) < 1e15;
  const auto end = whole ? std::to_chars(std::begin(text), std::end(text), value, std::chars_format::fixed, 0)
                         : std::to_chars(std::begin(text), std::end(text), value, std::chars_format::general, 4);
  return {std::begin(text), end.ptr};
}

/// How large an e-value is, from its logarithm.
[[nodiscard]] inline std::string e_figure(double log_e) {
  return log_e > 30 ? "e^" + figure(std::min(log_e, 1e14)) : figure(std::exp(log_e));
}

[[nodiscard]] inline std::string_view what(MetricKind kind) noexcept {
  switch (kind) {
    case MetricKind::success:
      return "share of successes";
    case MetricKind::score:
      return "mean score";
    case MetricKind::latency:
      return "share of requests within the middle threshold";
    case MetricKind::cost:
      return "mean cost in microdollars";
  }
  return "";
}

/// `ok`: share of successes 0.897 against the baseline's 0.949
[[nodiscard]] inline std::string compared_words(const MetricConfig& metric, const MetricVerdict& seen) {
  return in_ticks(metric.name) + ": " + std::string{what(metric.kind)} + ' ' + figure(seen.candidate.value) + " of " +
         std::to_string(seen.candidate.count) + " against the baseline's " + figure(seen.baseline.value) + " of " +
         std::to_string(seen.baseline.count);
}

[[nodiscard]] inline std::string margin_words(const MetricConfig& metric, double margin) {
  switch (metric.kind) {
    case MetricKind::success:
    case MetricKind::score:
      return figure(margin);
    case MetricKind::latency:
    case MetricKind::cost:
      return figure(100 * margin) + " %";
  }
  return "";
}

/// The same of an advance margin, which is a share of requests where latency is meant.
[[nodiscard]] inline std::string advance_words(const MetricConfig& metric, double margin) {
  return metric.kind == MetricKind::cost ? figure(100 * margin) + " %" : figure(margin);
}

[[nodiscard]] inline std::string harm_words(const MetricConfig& metric, const MetricVerdict& seen,
                                            const Verdict& verdict) {
  const std::string beyond = metric.kind == MetricKind::success && metric.error_ratio > 0
                                 ? figure(metric.error_ratio) + " times the baseline's failures"
                             : metric.kind == MetricKind::latency && metric.slo_us != 0
                                 ? std::string{"the baseline's share"}
                                 : "the margin of " + margin_words(metric, metric.margin);
  return compared_words(metric, seen) + "; worse by more than " + beyond + " (evidence " +
         e_figure(verdict.log_e_rollback) + " to 1 over all metrics, needed " + e_figure(verdict.threshold_rollback) +
         ')';
}

[[nodiscard]] inline std::string proof_words(const MetricConfig& metric, const MetricVerdict& seen, double margin,
                                             std::size_t metrics) {
  return compared_words(metric, seen) + "; harm of " + advance_words(metric, margin) +
         " or more is ruled out (evidence " + e_figure(seen.log_e_advance) + " to 1, needed " +
         e_figure(seen.threshold_advance) + ")" + (metrics == 1 ? "" : ", as it is for every other metric");
}

[[nodiscard]] inline std::string open_words(const MetricConfig& metric, const MetricVerdict& seen, double margin,
                                            const Verdict& verdict) {
  std::string out = compared_words(metric, seen) + "; harm of " + advance_words(metric, margin) +
                    " is not ruled out yet (evidence " + e_figure(seen.log_e_advance) + " to 1, needed " +
                    e_figure(seen.threshold_advance) + "), and harm beyond the margin is not proved (" +
                    e_figure(verdict.log_e_rollback) + " to 1, needed " + e_figure(verdict.threshold_rollback) + ')';
  if (seen.requests_to_verdict)
    out += "; about " + figure(static_cast<double>(*seen.requests_to_verdict)) +
           " more requests decide, if it goes on like this";
  return out;
}

[[nodiscard]] inline std::string mismatch_words(std::string_view of, const SampleRatio& ratio,
                                                std::string_view advice) {
  return "the candidate has " + std::to_string(ratio.observed) + ' ' + std::string{of} + " where its share promises " +
         figure(ratio.expected) + " (evidence " + e_figure(ratio.log_e) +
         " to 1 against the split, 1000 is a mismatch): " + std::string{advice};
}

[[nodiscard]] inline std::string unrecorded_words(const MetricConfig& metric, bool any_outcome) {
  if (!any_outcome) return "no outcome has been recorded yet: nothing can be said about " + in_ticks(metric.name);
  switch (metric.kind) {
    case MetricKind::success:
      return "no outcome of " + in_ticks(metric.name) + " has been recorded yet";
    case MetricKind::score:
      return "nobody records a score, which " + in_ticks(metric.name) + " watches: record one, or give feedback";
    case MetricKind::latency:
      return "no latency is counted for " + in_ticks(metric.name) +
             ": either nobody records one, or the baseline's percentiles were not known when the split changed last";
    case MetricKind::cost:
      return "no cost is counted for " + in_ticks(metric.name) +
             ": either nobody records one, or the baseline's were not known when the split changed last";
  }
  return "";
}

}  // namespace canary::detail
