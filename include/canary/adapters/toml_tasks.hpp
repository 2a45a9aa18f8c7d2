// toml_tasks.hpp: [task.NAME] -> TaskConfig: versions, guard and metrics. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/toml_sections.hpp"
#include "canary/control/percent.hpp"
#include "canary/core/outcome.hpp"
#include "canary/core/task_state.hpp"

namespace canary::detail {

inline void ConfigReader::task(std::string_view name, const toml::key& key, const toml::table& table) {
  TaskConfig to;
  to.name = name;
  if (!is_task_name(name))
    faults_.add(key.source(), "task name " + in_quotes(name), "a task name is 1 to 128 of A-Z a-z 0-9 _ . -");
  const std::string where = "task." + shown(name, 128);
  section(table, where,
          {{"default_model", [&](const Node& n) { (void)text(n, "a model's name", to.default_model); }},
           {"force_env", [&](const Node& n) { variable(n, to.force_env); }},
           {"salt", [&](const Node& n) { (void)text(n, "a salt", to.salt); }},
           {"sample_percent", [&](const Node& n) { (void)share(n, to.sample_ppm); }},
           {"version", [&](const Node& n) { versions(n, to); }},
           {"guard", [&](const Node& n) { guard(n, to); }}});
  config_.tasks.push_back(std::move(to));
}

inline void ConfigReader::versions(const Node& node, TaskConfig& task) {
  const std::string where = "task." + shown(task.name, 128) + ".version";
  std::vector<const toml::table*> tables;
  each_in_array(node, where, [&](const toml::table& table) {
    StaticVersion to;
    section(table, where,
            {{"model", [&](const Node& n) { (void)text(n, "a model's name", to.model); }},
             {"percent", [&](const Node& n) { (void)share(n, to.weight_ppm); }}});
    for (const std::string_view key : {"model", "percent"})
      if (!table.contains(key) && !broken_)
        faults_.add(table.source(), "missing " + in_quotes(key) + " in " + where,
                    key == "model" ? "name the model that this version serves" : "give its share, e.g. percent = 10");
    task.versions.push_back(std::move(to));
    tables.push_back(&table);
  });
  check_versions(task, tables);
  splits_.push_back(tables.empty() ? &node : tables.front());
}

/// With a database the shares live there, and a second place for them would have to lose.
inline void ConfigReader::check_splits() {
  if (config_.store.in_memory() || broken_) return;
  for (const Node* split : splits_)
    faults_.add(split->source(), "a split in the file, but the store is a database",
                "register versions with `canary model register TASK MODEL`, or set store.url = \"memory:\"");
}

inline void ConfigReader::check_versions(TaskConfig& task, const std::vector<const toml::table*>& tables) {
  std::set<std::string_view> models;
  std::uint64_t sum_ppm = 0;
  for (std::size_t i = 0; i != tables.size(); ++i) {
    const StaticVersion& version = task.versions[i];
    const Node* model = tables[i]->get("model");
    const Node* percent = tables[i]->get("percent");
    if (!version.model.empty() && !models.insert(version.model).second)
      faults_.add(model->source(), "duplicate version: " + in_quotes(version.model) + " stands above already",
                  "a task names each model once");
    const bool was_within = sum_ppm <= total_ppm;
    sum_ppm += version.weight_ppm;
    if (was_within && sum_ppm > total_ppm && percent != nullptr)
      faults_.add(percent->source(), "the shares of " + shown(task.name, 128) + " add up to more than 100 %",
                  "at most " + percent_text(total_ppm - static_cast<std::uint32_t>(sum_ppm - version.weight_ppm)) +
                      " is left here");
    if (i == max_shares) faults_.add(tables[i]->source(), "more than 1024 versions in one task");
  }
}

inline void ConfigReader::guard(const Node& node, TaskConfig& task) {
  GuardConfig& to = task.guard;
  const std::string where = "task." + shown(task.name, 128) + ".guard";
  std::vector<const toml::table*> tables;
  section(node, where,
          {{"alpha_rollback", [&](const Node& n) { open_odds(n, to.alpha_rollback); }},
           {"alpha_advance", [&](const Node& n) { open_odds(n, to.alpha_advance); }},
           {"steps_percent",
            [&](const Node& n) {
              const toml::array* steps = n.as_array();
              if (steps == nullptr || steps->empty()) return wrong_type(n, "rising percentages, e.g. [1, 10, 50, 100]");
              to.steps_ppm.clear();
              for (const Node& step : *steps) {
                std::uint32_t ppm = 0;
                if (!share(step, ppm)) continue;
                if (ppm <= (to.steps_ppm.empty() ? 0 : to.steps_ppm.back()))
                  faults_.add(step.source(), "a step that does not rise", "expected rising percentages above 0");
                to.steps_ppm.push_back(ppm);
              }
            }},
           {"outcome_timeout_s", [&](const Node& n) { count(n, 1, 30 * 86'400, "seconds", to.outcome_timeout_s); }},
           {"units_min",
            [&](const Node& n) {
              auto units = static_cast<std::uint32_t>(to.units_min);
              count(n, 0, 1'000'000'000, "units", units);
              to.units_min = units;
            }},
           {"step_min_s", [&](const Node& n) { count(n, 0, 365 * 86'400, "seconds", to.step_min_s); }},
           {"on_missing",
            [&](const Node& n) {
              choice(n, {{"hold", OnMissing::hold}, {"rollback", OnMissing::rollback}}, to.on_missing);
            }},
           {"metric", [&](const Node& n) {
              each_in_array(n, where + ".metric", [&](const toml::table& table) {
                metric(table, to, where + ".metric");
                tables.push_back(&table);
              });
            }}});
  check_margins(to, tables);
  check_metrics(to, tables);
}

inline void ConfigReader::metric(const toml::table& table, GuardConfig& guard, const std::string& where) {
  MetricConfig to;
  section(table, where,
          {{"name", [&](const Node& n) { (void)text(n, "a metric's name", to.name); }},
           {"kind",
            [&](const Node& n) {
              choice(n,
                     {{"success", MetricKind::success},
                      {"score", MetricKind::score},
                      {"latency", MetricKind::latency},
                      {"cost", MetricKind::cost}},
                     to.kind);
            }},
           {"margin", [&](const Node& n) { (void)number(n, to.margin); }},
           {"advance_margin",
            [&](const Node& n) {
              to.advance_margin.clear();
              const toml::array* list = n.as_array();
              const auto add = [&](const Node& value) {
                double margin = 0;
                if (number(value, margin)) to.advance_margin.push_back(margin);
              };
              if (list == nullptr) return add(n);
              for (const Node& value : *list) add(value);
            }},
           {"unit",
            [&](const Node& n) {
              choice(n, {{"key", MetricUnit::key}, {"request", MetricUnit::request}}, to.unit);
            }},
           {"weight", [&](const Node& n) { (void)number(n, 0, 1e9, to.weight); }},
           {"slo_us", [&](const Node& n) { count(n, 1, longest_latency_us, "microseconds", to.slo_us); }},
           {"error_ratio", [&](const Node& n) { (void)number(n, 1, 100, to.error_ratio); }}});
  check_ranges(to, table);
  if (!table.contains("name") && !broken_)
    faults_.add(table.source(), "missing \"name\" in " + where, "name the metric");
  guard.metrics.push_back(std::move(to));
}

/// Which range a margin has follows the metric's kind, which may stand behind it.
inline void ConfigReader::check_ranges(const MetricConfig& metric, const toml::table& table) {
  const Node* kind = table.get("kind");
  const std::string word = kind == nullptr ? "success" : kind->value_or(std::string{});
  if (metric.kind == MetricKind::success && word != "success") return;  // no kind at all, which is said already
  const auto check = [&](const Node* node, bool ratio) {
    const std::optional<double> value = node != nullptr && node->is_number() ? node->value<double>() : std::nullopt;
    if (value && !is_margin(*value, ratio))
      faults_.add(node->source(), "out of range",
                  "expected, for kind = " + in_quotes(word) + ", " + std::string{margin_range(ratio)});
  };
  check(table.get("margin"), is_margin_ratio(metric.kind));
  const bool ratio = is_advance_margin_ratio(metric.kind);
  const Node* advance = table.get("advance_margin");
  check(advance, ratio);
  if (const toml::array* list = advance != nullptr ? advance->as_array() : nullptr)
    for (const Node& each : *list) check(&each, ratio);
}

/// advance_margin speaks of the steps that can be left; 100 % is the last one and is not.
inline void ConfigReader::check_margins(GuardConfig& guard, const std::vector<const toml::table*>& tables) {
  const auto below_all = [](std::uint32_t ppm) { return ppm < total_ppm; };
  const auto steps = static_cast<std::size_t>(std::count_if(guard.steps_ppm.begin(), guard.steps_ppm.end(), below_all));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i != tables.size(); ++i) {
    const MetricConfig& metric = guard.metrics[i];
    const Node* margin = tables[i]->get("advance_margin");
    if (metric.advance_margin.size() != 1 && metric.advance_margin.size() != steps)
      faults_.add(margin != nullptr ? margin->source() : tables[i]->source(),
                  (margin != nullptr ? "advance_margin has " : "no advance_margin, and the default one has ") +
                      std::to_string(metric.advance_margin.size()) + " numbers for " + std::to_string(steps) +
                      (steps == 1 ? " step" : " steps") + " below 100 %",
                  "give one number for each such step, or one for all");
    if (!metric.name.empty() && !names.insert(metric.name).second)
      faults_.add(tables[i]->source(), "duplicate metric " + in_quotes(metric.name), "name each metric once");
  }
}

/// Keys that fit their metric's kind, weights that add up, and no more thresholds of latency than an epoch holds.
inline void ConfigReader::check_metrics(const GuardConfig& guard, const std::vector<const toml::table*>& tables) {
  const auto refuse = [&](const toml::table& table, std::string_view key, MetricKind kind, MetricKind wanted,
                          std::string_view word) {
    const Node* node = table.get(key);
    if (node == nullptr || kind == wanted) return;
    faults_.add(node->source(), std::string{key} + " in a metric of another kind",
                std::string{key} + " is for kind = " + in_quotes(word));
  };
  double weights = 0;
  std::size_t latencies = 0;
  for (std::size_t i = 0; i != tables.size(); ++i) {
    const MetricKind kind = guard.metrics[i].kind;
    refuse(*tables[i], "slo_us", kind, MetricKind::latency, "latency");
    refuse(*tables[i], "error_ratio", kind, MetricKind::success, "success");
    weights += guard.metrics[i].weight;
    if (kind == MetricKind::latency && ++latencies == most_latency_metrics + 1)
      faults_.add(tables[i]->source(),
                  "more than " + std::to_string(most_latency_metrics) + " metrics of latency in one task");
  }
  if (!tables.empty() && !(weights > 0))
    faults_.add(tables.front()->source(), "the weights of the metrics add up to nothing",
                "leave weight out, or give one of them a weight above 0");
}

}  // namespace canary::detail
