#include "guard_view.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/control/guard_words.hpp"
#include "canary/control/percent.hpp"
#include "canary/control/rollout.hpp"
#include "canary/control/verdict_json.hpp"
#include "registry_view.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

json::object arm_document(const ArmValue& arm) { return {{"count", arm.count}, {"value", finite(arm.value)}}; }

json::object metric_document(const MetricVerdict& metric) {
  const std::optional<std::uint64_t> requests = metric.requests_to_verdict;
  return {{"name", json_text(metric.name)},
          {"kind", json_text(kind_word(metric.kind))},
          {"log_e_rollback", finite(metric.log_e_rollback)},
          {"log_e_advance", finite(metric.log_e_advance)},
          {"threshold_rollback", finite(metric.threshold_rollback)},
          {"threshold_advance", finite(metric.threshold_advance)},
          {"baseline", arm_document(metric.baseline)},
          {"candidate", arm_document(metric.candidate)},
          {"interval", json::array{finite(metric.interval.low), finite(metric.interval.high)}},
          {"requests_to_verdict", requests ? json::value(*requests) : json::value(nullptr)}};
}

/// A mean in the unit that people think of it in.
std::string value_text(MetricKind kind, double value) {
  switch (kind) {
    case MetricKind::success:
    case MetricKind::latency:
      return detail::figure(100 * value) + " %";
    case MetricKind::score:
      return detail::figure(value);
    case MetricKind::cost:
      return detail::figure(value) + " u$";
  }
  return "";
}

std::string arm_text(MetricKind kind, const ArmValue& arm) {
  return arm.count == 0 ? "-" : value_text(kind, arm.value) + " of " + thousands(arm.count);
}

std::string interval_text(const MetricVerdict& metric) {
  const Interval& between = metric.interval;
  if (metric.candidate.count == 0 || metric.baseline.count == 0) return "-";
  if (!std::isfinite(between.low) || !std::isfinite(between.high)) return "-";
  const bool of_shares = metric.kind == MetricKind::success || metric.kind == MetricKind::latency;
  const auto text = [&](double value) {
    return (value > 0 ? "+" : "") + detail::figure(of_shares ? 100 * value : value);
  };
  return text(between.low) + " to " + text(between.high) +
         (of_shares                         ? " points"
          : metric.kind == MetricKind::cost ? " u$"
                                            : "");
}

std::string evidence_text(double log_e, double threshold) {
  if (!std::isfinite(threshold)) return detail::e_figure(log_e) + " of never";
  return detail::e_figure(log_e) + " of " + detail::e_figure(threshold);
}

Table metrics_table(const GuardLook& look, const std::string& id) {
  Table table;
  table.row({"METRIC", "KIND", look.baseline_id, id, "DIFFERENCE", "HARM", "NO HARM", "REQUESTS LEFT"});
  for (const MetricVerdict& metric : look.verdict.metrics)
    table.row({cell(metric.name), std::string{kind_word(metric.kind)}, arm_text(metric.kind, metric.baseline),
               arm_text(metric.kind, metric.candidate), interval_text(metric),
               evidence_text(metric.log_e_rollback, metric.threshold_rollback),
               evidence_text(metric.log_e_advance, metric.threshold_advance),
               metric.requests_to_verdict ? thousands(*metric.requests_to_verdict) : "-"});
  return table;
}

/// How far off a verdict is, if it goes on like this.
std::string distance_text(const Verdict& verdict) {
  std::uint64_t most = 0;
  for (const MetricVerdict& metric : verdict.metrics) {
    if (!metric.requests_to_verdict)
      return "No verdict on " + detail::in_ticks(metric.name) + " is in sight, as far as its outcomes tell.";
    most = std::max(most, *metric.requests_to_verdict);
  }
  if (most == 0) return "The outcomes that are there are enough; what holds it is told above.";
  return "About " + thousands(most) + " more requests of both versions decide, if it goes on like this.";
}

/// `, step 2 of 6`: of its rollout, or of the task's configuration.
std::string step_text(const TaskConfig& task, const GuardLook& look) {
  if (look.rollout && is_live(look.rollout->state))
    return ", step " + std::to_string(look.rollout->step + 1) + " of " +
           std::to_string(look.rollout->steps_ppm.size()) + " of its " + std::string{to_string(look.rollout->state)} +
           " rollout";
  const std::size_t steps = task.guard.steps_ppm.size();
  return steps == 0 ? "" : ", step " + std::to_string(look.step.index + 1) + " of " + std::to_string(steps);
}

/// What would change the verdict, or what follows from it.
std::string outlook(const TaskConfig& task, const GuardLook& look, const std::string& id) {
  const Verdict& verdict = look.verdict;
  const bool proved = verdict.action == Action::advance || verdict.action == Action::finish;
  if (proved && look.rollout && look.rollout->state == RolloutState::running)
    return "Its rollout goes on with the guard's next pass: canary guard run";
  if (proved && look.rollout && look.rollout->state == RolloutState::paused)
    return "Its rollout is paused: canary rollout resume " + id;
  switch (verdict.action) {
    case Action::rollback:
      return "Take its traffic back: canary model rollback " + id;
    case Action::finish:
      return "Nothing speaks against it: canary model promote " + id;
    case Action::advance: {
      const std::vector<std::uint32_t>& steps = task.guard.steps_ppm;
      const auto next = std::upper_bound(steps.begin(), steps.end(), look.weight_ppm);
      if (next == steps.end()) return "";
      if (*next == total_ppm) return "The next step is all of the traffic: canary model promote " + id;
      return "The next step: canary model canary " + id + ' ' + percent_text(*next);
    }
    case Action::hold:
      break;
  }
  if (verdict.metrics.empty()) return "";
  std::string text = "It is rolled back when HARM, over all metrics, reaches " +
                     detail::e_figure(verdict.threshold_rollback) + " to 1 (now " +
                     detail::e_figure(verdict.log_e_rollback) + "), and advances when NO HARM reaches " +
                     detail::e_figure(verdict.metrics.front().threshold_advance) + " to 1 in ";
  text += verdict.metrics.size() == 1 ? "its metric" : "every metric";
  if (verdict.units < task.guard.units_min)
    text += ", with " + std::to_string(task.guard.units_min) + " units at least";
  text += ". " + distance_text(verdict);
  if (verdict.units == 0)
    text +=
        " Imported interactions, and those from before revision " + std::to_string(look.since) + ", are no evidence.";
  return text;
}

std::string_view colour_of(Action action) {
  switch (action) {
    case Action::rollback:
      return "1;31";
    case Action::advance:
    case Action::finish:
      return "1;32";
    case Action::hold:
      break;
  }
  return "1";
}

}  // namespace

json::value finite(double value) { return std::isfinite(value) ? json::value(value) : json::value(nullptr); }

std::string margin_text(double margin) { return std::isnan(margin) ? std::string{"none"} : detail::figure(margin); }

std::string_view kind_word(MetricKind kind) noexcept { return to_text(kind); }

MetricConfig metric_of(const GuardConfig& guard, MetricKind kind) {
  for (const MetricConfig& metric : guard.metrics)
    if (metric.kind == kind) return metric;
  return {.name = std::string{kind_word(kind)}, .kind = kind};
}

json::object look_document(std::string_view task, const GuardLook& look) {
  const Verdict& verdict = look.verdict;
  json::array metrics;
  for (const MetricVerdict& metric : verdict.metrics) metrics.push_back(metric_document(metric));
  return {{"id", json_text(version_id(task, look.number))},
          {"baseline", json_text(look.baseline_id)},
          {"action", json_text(to_text(verdict.action))},
          {"reason", json_text(verdict.reason)},
          {"metrics", std::move(metrics)},
          {"sample_ratio",
           {{"log_e", finite(verdict.sample_ratio.log_e)},
            {"expected", finite(verdict.sample_ratio.expected)},
            {"observed", verdict.sample_ratio.observed}}},
          {"units", verdict.units}};
}

void write_look(Output& out, const TaskConfig& task, const GuardLook& look, std::string_view outcome) {
  const Verdict& verdict = look.verdict;
  const std::string id = version_id(task.name, look.number);
  out.write(id + ": " + coloured(1, colour_of(verdict.action), to_text(verdict.action)) + '\n');
  out.write("Compared with " + look.baseline_id + " since revision " + std::to_string(look.since) + ", at " +
            percent_text(look.weight_ppm) + " %" + step_text(task, look) + "; " + thousands(verdict.units) +
            (verdict.units == 1 ? " unit" : " units") + " of it so far.\n");
  std::string reason;
  append_visible(reason, verdict.reason);
  out.write("Because " + reason + ".\n");
  if (verdict.sample_ratio.expected > 0)
    out.write("Its records: " + thousands(verdict.sample_ratio.observed) + " where its share promises " +
              detail::figure(verdict.sample_ratio.expected) + " (" + detail::e_figure(verdict.sample_ratio.log_e) +
              " to 1 against the split, 1,000 is a mismatch).\n");
  if (!verdict.metrics.empty()) metrics_table(look, id).write(out);
  std::string last;
  append_visible(last, outcome);
  if (last.empty()) last = outlook(task, look, id);
  if (!last.empty()) out.write(last + '\n');
}

double number_argument(std::string_view option, const std::string& text, double least, double most,
                       std::string_view expected) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::invalid_input, std::string{option} + " is \"" + shown + '"', "expected " + std::string{expected}};
}

std::uint64_t count_argument(std::string_view option, const std::string& text, std::uint64_t least,
                             std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::usage, std::string{option} + " is \"" + shown + '"',
                "expected a whole number from " + std::to_string(least) + " to " + std::to_string(most)};
}

std::uint32_t part_argument(const std::string& text) {
  const std::uint32_t ppm = percent_argument(text);
  if (ppm != 0 && ppm != total_ppm) return ppm;
  throw Failure{Exit::invalid_input,
                ppm == 0 ? "at 0 % the candidate has no traffic" : "at 100 % the baseline has no traffic",
                "nothing can be compared: name a share between the two, 10 for one"};
}

}  // namespace canary::cli
