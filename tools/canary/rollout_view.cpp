#include "rollout_view.hpp"

#include <optional>
#include <utility>

#include "canary/control/percent.hpp"
#include "canary/control/time_text.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

/// A whole number where it is one.
json::value percent_document(std::uint32_t ppm) {
  if (ppm % ppm_per_percent == 0) return ppm / ppm_per_percent;
  return static_cast<double>(ppm) / ppm_per_percent;
}

}  // namespace

std::vector<PastChange> rollout_changes(Store& store, std::string_view task, std::uint32_t number) {
  std::vector<PastChange> all = past_changes(store, task, HistoryFilter{}.newest);
  std::vector<PastChange> found;
  std::optional<Rollout> before;
  for (PastChange& change : all) {
    const HistoryRow& row = change.row;
    std::optional<Rollout> now = before;
    if (const auto rollouts = parse_rollouts(row.rollouts); rollouts && !row.rollouts.empty()) {
      const Rollout* entry = find_rollout(*rollouts, number);
      now = entry == nullptr ? std::optional<Rollout>{} : *entry;
    }
    if (row.number == number && row.action == "rollout start") found.clear();
    const bool begun = now.has_value() || before.has_value();
    if (begun && (row.number == number || now != before)) found.push_back(std::move(change));
    before = std::move(now);
  }
  return found;
}

json::object rollout_document(const RolloutReport& report) {
  const Rollout& rollout = report.rollout;
  json::array steps;
  for (const std::uint32_t ppm : rollout.steps_ppm) steps.push_back(percent_document(ppm));
  return {{"id", json_text(version_id(report.task, rollout.number))},
          {"state", json_text(to_string(rollout.state))},
          {"step", rollout.step + 1},
          {"steps_percent", std::move(steps)},
          {"since", json_text(time_text(rollout.since_us))},
          {"reason", json_text(rollout.reason)},
          {"history", history_documents(report.task, report.changes)}};
}

std::string rollout_step_text(const Rollout& rollout) {
  return "step " + std::to_string(rollout.step + 1) + " of " + std::to_string(rollout.steps_ppm.size()) + ", " +
         percent_text(rollout.steps_ppm[rollout.step]) + " %";
}

std::string rollout_steps_text(const Rollout& rollout) {
  std::string text;
  for (const std::uint32_t ppm : rollout.steps_ppm) (text += text.empty() ? "" : ", ") += percent_text(ppm);
  return text + " %";
}

Table rollouts_table(const std::vector<RolloutReport>& reports) {
  Table table;
  table.row({"ROLLOUT", "STATE", "STEP", "STEPS", "SINCE", "REASON"});
  for (const RolloutReport& report : reports) {
    const Rollout& rollout = report.rollout;
    table.row({version_id(report.task, rollout.number), std::string{to_string(rollout.state)},
               rollout_step_text(rollout), rollout_steps_text(rollout), time_cell(rollout.since_us),
               cell(rollout.reason, 256)});
  }
  return table;
}

}  // namespace canary::cli
