// canary interactions stats [TASK]: what each version did, from the counts of all servers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/bytes.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/window.hpp"
#include "recorded.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct StatsOptions {
  std::string task;
  TimeOptions times;
};

struct VersionStats {
  std::string id;
  WindowCounts counts;
  std::uint64_t dropped = 0;  ///< of the whole task
};

/// Windows that have a part in the time.
struct Windows {
  explicit Windows(const TimeRange& range)
      : from{window_of(range.since_us)},
        to{range.until_us / window_us >= 0xFFFF'FFFF ? 0xFFFF'FFFF : window_of(range.until_us - 1)} {}
  std::uint32_t from;
  std::uint32_t to;
};

[[noreturn]] void refuse_counts(std::string_view task) {
  throw StoreError{StoreErrc::corrupt, "task " + std::string{task} + ": counts that make no sense",
                   "restore a backup: canary store restore"};
}

std::uint64_t dropped(InteractionStore& store, std::string_view name, std::uint32_t task, const Windows& windows) {
  std::uint64_t sum = 0;
  for (const CountsRow& row :
       store.counts({.kind = CountsKind::drops, .task = task, .of = 0, .from = windows.from, .to = windows.to})) {
    detail::NumberReader in{row.bytes};
    sum += in.take();
    if (!in.done()) refuse_counts(name);
  }
  return sum;
}

/// A version at a time: a year of ten-minute windows takes some 50 MB.
WindowCounts merged(InteractionStore& store, std::string_view name, std::uint32_t task, std::uint32_t number,
                    const Windows& windows) {
  WindowCounts sum;
  for (const CountsRow& row :
       store.counts({.kind = CountsKind::window, .task = task, .of = number, .from = windows.from, .to = windows.to})) {
    const std::optional<WindowCounts> counts = WindowCounts::parse(row.bytes);
    if (!counts) refuse_counts(name);
    sum.merge(*counts);
  }
  return sum;
}

void add_task_rows(const Recorded& recorded, const std::string& name, const Windows& windows,
                   std::vector<VersionStats>& all) {
  const std::optional<std::uint32_t> task = recorded.interactions->find_task(name);
  if (!task) return;
  const std::uint64_t drops = dropped(*recorded.interactions, name, *task, windows);
  const std::uint32_t count = recorded.store->load(name, {.in_play = false}).version_count;
  for (std::uint32_t number = 0; number <= count; ++number) {
    const WindowCounts counts = merged(*recorded.interactions, name, *task, number, windows);
    if (counts.count == 0 && counts.scored == 0) continue;
    all.push_back({number == 0 ? name + "@default" : version_id(name, number), counts, drops});
  }
}

/// In the order of the configuration; those that the store alone knows come last.
std::vector<std::string> recorded_tasks(const Recorded& recorded) {
  std::vector<std::string> names;
  names.reserve(recorded.config.tasks.size());
  for (const TaskConfig& task : recorded.config.tasks) names.push_back(task.name);
  for (auto& [number, name] : recorded.interactions->task_names())
    if (recorded.config.find_task(name) == nullptr) names.push_back(std::move(name));
  return names;
}

double rate(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

json::value latency(const WindowCounts& counts, double share) {
  const std::optional<double> value = counts.latency_us.quantile(share);
  if (!value) return nullptr;
  return static_cast<std::uint64_t>(std::llround(*value));
}

json::object document(const VersionStats& version) {
  const WindowCounts& counts = version.counts;
  const std::optional<double> score = counts.score_mean();
  return {
      {"id", json_text(version.id)},
      {"count", counts.count},
      {"errors", counts.errors},
      {"error_rate", rate(counts.errors, counts.count)},
      {"scored", counts.scored},
      {"score_mean", score ? json::value(*score) : json::value(nullptr)},
      {"latency_us", {{"p50", latency(counts, 0.50)}, {"p95", latency(counts, 0.95)}, {"p99", latency(counts, 0.99)}}},
      {"tokens_in", counts.tokens_in},
      {"tokens_out", counts.tokens_out},
      {"cost_microusd", counts.cost_microusd},
      {"dropped", version.dropped}};
}

std::string milliseconds(const WindowCounts& counts, double share) {
  const std::optional<double> value = counts.latency_us.quantile(share);
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof text, *value < 100'000 ? "%.3g ms" : "%.0f ms", *value / 1'000);
  return text;
}

std::string dollars(std::uint64_t microusd) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", static_cast<double>(microusd) / 1e6);
  return text;
}

void write_text(Context& context, const std::vector<VersionStats>& all) {
  if (all.empty()) return context.out.write("no interactions\n");
  Table table;
  table.row({"VERSION", "COUNT", "ERRORS", "RATE", "SCORED", "MEAN", "P50", "P95", "P99", "TOKENS IN", "TOKENS OUT",
             "COST $", "DROPPED (TASK)"});
  for (const VersionStats& version : all) {
    const WindowCounts& counts = version.counts;
    char mean[16] = "-";
    if (const std::optional<double> score = counts.score_mean()) std::snprintf(mean, sizeof mean, "%.4f", *score);
    table.row({cell(version.id, 256), thousands(counts.count), thousands(counts.errors),
               share_text(counts.errors, counts.count), thousands(counts.scored), mean, milliseconds(counts, 0.50),
               milliseconds(counts, 0.95), milliseconds(counts, 0.99), thousands(counts.tokens_in),
               thousands(counts.tokens_out), dollars(counts.cost_microusd), thousands(version.dropped)});
  }
  table.write(context.out);
}

void run(Context& context, const StatsOptions& options) {
  const Recorded recorded{context};
  const std::vector<std::string> names =
      options.task.empty() ? recorded_tasks(recorded) : std::vector<std::string>{recorded.task(options.task).name};
  const Windows windows{options.times.range(Registry::system_time())};
  std::vector<VersionStats> all;
  for (const std::string& name : names) add_task_rows(recorded, name, windows, all);
  if (!context.json) return write_text(context, all);
  json::array documents;
  for (const VersionStats& version : all) documents.push_back(document(version));
  write_document(context.out, json::object{{"versions", std::move(documents)}});
}

}  // namespace

void add_interactions_stats(Syntax interactions, Context& context) {
  Syntax verb = add_noun(interactions, context, "stats", "Counts, errors, scores, latencies and costs of each version");
  const auto options = std::make_shared<StatsOptions>();
  add_text(verb, "task", options->task, "Task, as configured (default: all of them)")->type_name("TASK");
  add_time_options(verb, options->times);
  verb.footer(
      std::string{time_footer} +
      "\nCounts are kept by ten minutes, of every interaction whatever sample_percent says: windows that the time "
      "touches are\n"
      "counted whole. Percentiles are within 1/64, 1.6 %, of the value. DROPPED is of the whole task: entries that "
      "did not\n"
      "fit into the recorder's rings.");
  verb.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
