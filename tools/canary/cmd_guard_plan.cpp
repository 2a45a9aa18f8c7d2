// canary guard plan TASK: how many requests a verdict takes, before there are any.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/guard.hpp"
#include "canary/control/guard_plan.hpp"
#include "canary/control/guard_words.hpp"
#include "canary/control/percent.hpp"
#include "configuration.hpp"
#include "guard_view.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct PlanArguments {
  std::string task;
  std::optional<std::string> drop;
  std::optional<std::string> percent;
  std::string baseline = "0.9";
};

/// One share of the candidate.
struct PlannedStep {
  std::uint32_t weight_ppm = 0;
  double drop = 0;
  double advance_margin = 0;
  std::optional<std::uint64_t> to_rollback;  ///< of a candidate worse by the drop
  std::optional<std::uint64_t> to_advance;   ///< of one that is as good
};

struct GuardPlan {
  MetricConfig metric;
  bool example = false;  ///< the task has no such metric: this one has the defaults
  double baseline = 0.9;
  double alpha_rollback = 0.01;  ///< the metric's part of it
  double alpha_advance = 0.05;
  std::vector<PlannedStep> steps;
};

/// What is left of an alpha for a metric that shares it by weight.
double share_of_alpha(const GuardConfig& guard, const MetricConfig& metric) {
  double weights = 0;
  for (const MetricConfig& each : guard.metrics) weights += each.weight;
  return weights > 0 ? guard.alpha_rollback * metric.weight / weights : guard.alpha_rollback;
}

PlannedStep planned(const GuardPlan& plan, const GuardConfig& guard, std::uint32_t weight_ppm,
                    std::optional<double> drop) {
  PlannedStep step;
  step.weight_ppm = weight_ppm;
  step.advance_margin = advance_margin(plan.metric, step_of(guard, weight_ppm));
  step.drop = drop ? *drop : std::min(step.advance_margin, plan.baseline);  // NaN stays: it is the first of the two
  if (std::isnan(step.drop))
    throw Failure{Exit::invalid_input, "the task's guard has no advance_margin to take the drop from",
                  "name it: --drop 0.02"};
  PlanOptions options{.baseline = plan.baseline,
                      .drop = step.drop,
                      .percent = static_cast<double>(weight_ppm) / ppm_per_percent,
                      .alpha = plan.alpha_rollback,
                      .tolerance = plan.metric.margin};
  step.to_rollback = requests_needed(options);
  options.drop = 0;
  options.alpha = plan.alpha_advance;
  options.tolerance = step.advance_margin;
  options.claim = Claim::harm;
  step.to_advance = requests_needed(options);
  return step;
}

GuardPlan plan_of(const PlanArguments& arguments, const GuardConfig& guard) {
  GuardPlan plan;
  plan.metric = metric_of(guard, MetricKind::success);
  plan.example = std::none_of(guard.metrics.begin(), guard.metrics.end(),
                              [](const MetricConfig& each) { return each.kind == MetricKind::success; });
  plan.baseline = number_argument("--baseline", arguments.baseline, 0.000'001, 0.999'999,
                                  "the baseline's share of successes, between 0 and 1: 0.95 for one");
  plan.alpha_rollback = share_of_alpha(guard, plan.metric);
  plan.alpha_advance = guard.alpha_advance;
  std::optional<double> drop;
  if (arguments.drop)
    drop = number_argument("--drop", *arguments.drop, 0, 1,
                           "a difference of two shares of successes, from 0 to 1: 0.02 for one");
  if (drop && *drop > plan.baseline)
    throw Failure{Exit::invalid_input,
                  "no version can be worse by " + detail::figure(*drop) + " than a baseline that succeeds in " +
                      detail::figure(plan.baseline) + " of its requests",
                  "--drop is a difference of two shares: at most " + detail::figure(plan.baseline) + " here"};
  std::vector<std::uint32_t> shares;
  if (arguments.percent)
    shares.push_back(part_argument(*arguments.percent));
  else
    std::copy_if(guard.steps_ppm.begin(), guard.steps_ppm.end(), std::back_inserter(shares),
                 [](std::uint32_t ppm) { return ppm != 0 && ppm < total_ppm; });
  if (shares.empty())
    throw Failure{Exit::invalid_input, "the task's guard has no step below 100 %", "name a share: --percent 10"};
  for (const std::uint32_t ppm : shares) plan.steps.push_back(planned(plan, guard, ppm, drop));
  return plan;
}

json::value number_or_null(const std::optional<std::uint64_t>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

json::object document(const std::string& task, const GuardPlan& plan) {
  json::array steps;
  for (const PlannedStep& step : plan.steps)
    steps.push_back({{"percent", static_cast<double>(step.weight_ppm) / ppm_per_percent},
                     {"drop", step.drop},
                     {"requests_to_rollback", number_or_null(step.to_rollback)},
                     {"advance_margin", finite(step.advance_margin)},
                     {"requests_to_advance", number_or_null(step.to_advance)}});
  json::value metric = plan.example ? json::value(nullptr) : json::value(json_text(plan.metric.name));
  return {
      {"task", json_text(task)},      {"metric", std::move(metric)},           {"baseline", plan.baseline},
      {"margin", plan.metric.margin}, {"alpha_rollback", plan.alpha_rollback}, {"alpha_advance", plan.alpha_advance},
      {"steps", std::move(steps)}};
}

void write_text(Output& out, const GuardPlan& plan) {
  const auto requests = [](const std::optional<std::uint64_t>& count) { return count ? thousands(*count) : "never"; };
  const auto points = [](double share) {
    return std::isnan(share) ? std::string{"none"} : detail::figure(100 * share) + " points";
  };
  std::string name;
  append_visible(name, plan.metric.name);
  if (plan.example)
    out.write(
        "The task has no metric of kind success, so the guard does not judge by one. An example, with the "
        "defaults:\n");
  out.write("The baseline succeeds in " + detail::figure(100 * plan.baseline) + " % of its requests; " +
            (plan.example ? "the metric" : '`' + name + '`') + " tolerates " + points(plan.metric.margin) + ".\n");
  Table table;
  table.row({"TRAFFIC", "WORSE BY", "UNTIL ROLLBACK", "RULED OUT", "UNTIL ADVANCE"});
  for (const PlannedStep& step : plan.steps)
    table.row({percent_text(step.weight_ppm) + " %", points(step.drop), requests(step.to_rollback),
               points(step.advance_margin), requests(step.to_advance)});
  table.write(out);
  if (std::any_of(plan.steps.begin(), plan.steps.end(), [](const auto& step) { return !step.to_rollback; }))
    out.write("Never: what the margin tolerates is not rolled back.\n");
}

void run(Context& context, const PlanArguments& arguments) {
  const std::string config_file = config_path(context.config_file);
  const Config config = load_configuration(config_file);
  const TaskConfig& task = configured_task(config, config_file, arguments.task);
  const GuardPlan plan = plan_of(arguments, task.guard);
  if (context.json) return write_document(context.out, document(task.name, plan));
  write_text(context.out, plan);
}

/// An option that may be left out.
void add_optional(Syntax verb, const std::string& name, std::optional<std::string>& target, const char* type,
                  const std::string& description) {
  verb.add_option(
          name, [&target](const std::string& text) { target = unprotect(text); }, description)
      ->type_name(type);
}

}  // namespace

void add_guard_plan(Syntax guard, Context& context) {
  const Syntax verb = add_noun(guard, context, "plan", "Estimates how many requests a verdict takes");
  const auto arguments = std::make_shared<PlanArguments>();
  add_text(verb, "task", arguments->task, "Task whose guard decides, as configured")->required()->type_name("TASK");
  add_optional(verb, "--drop", arguments->drop, "X",
               "By which the candidate succeeds less often, 0.02 for one (default: the step's advance_margin)");
  add_optional(verb, "--percent", arguments->percent, "PERCENT",
               "The candidate's share of the traffic (default: each of the task's steps)");
  add_text(verb, "--baseline,--rate", arguments->baseline, "The baseline's share of successes (default: 0.9)")
      ->type_name("X");
  verb.footer(
      "For the task's first metric of kind success, or an example where it has none (in JSON its name is null then). "
      "UNTIL ROLLBACK: requests of both versions until about half of the "
      "candidates\n"
      "that are WORSE BY so much are taken back; UNTIL ADVANCE: until about half of those that are as good may leave "
      "the step,\n"
      "since harm of what is to be RULED OUT is. Where unit = \"key\", a user's first request alone counts. Needs no "
      "database.");
  verb.callback([&context, arguments] { run(context, *arguments); });
}

}  // namespace canary::cli
