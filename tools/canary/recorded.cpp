#include "recorded.hpp"

#include <algorithm>

#include "canary/core/recorder.hpp"

namespace canary::cli {

Recorded::Recorded(const Context& context) : Workspace{context} {
  (void)store->tasks();  // it makes the schema where there is none, which interactions() never does
  interactions = store->interactions();
}

std::uint16_t Recorded::version_number(const TaskConfig& task, std::string_view id) const {
  if (id == task.name + "@default") return 0;
  const VersionId version = version_argument(task, id);
  const TaskRecord record = store->load(task.name, {.in_play = false, .numbers = {version.number}});
  return static_cast<std::uint16_t>(version_of(record, version.number).number);
}

InteractionFilter filter_of(const TimeRange& range, TimeUs longest_us) {
  constexpr TimeUs ahead_us = 3'600'000'000;
  InteractionFilter filter;
  if (range.since_us > longest_us)
    filter.from = std::max<std::uint64_t>(1, InteractionId::first_at(range.since_us - longest_us));
  // What was recorded before the first id's time has ids from there on.
  const TimeUs until_us = std::max(range.until_us, InteractionId::start_us);
  constexpr TimeUs last_us = InteractionId::start_us + static_cast<TimeUs>(InteractionId::last_cursor >> 10) * 1'000;
  if (until_us < last_us - ahead_us) filter.to = InteractionId::first_at(until_us + ahead_us);
  return filter;
}

TimeUs longest_outcome_us(const Config& config, const TaskConfig* task) {
  constexpr TimeUs day_s = 86'400;
  TimeUs longest_s = day_s;
  for (const TaskConfig& each : config.tasks)
    if (task == nullptr || task->name == each.name)
      longest_s = std::max<TimeUs>(longest_s, each.guard.outcome_timeout_s);
  return longest_s * 1'000'000;
}

std::string version_word(std::string_view task, const Interaction& row) {
  if (row.number != 0) return version_id(task, row.number);
  return std::string{task} + (row.reason == Reason::forced ? "@forced" : "@default");
}

std::string score_text(std::uint32_t billionths) {
  if (billionths == score_one) return "1";
  std::string places = std::to_string(score_one + billionths).substr(1);
  places.erase(places.find_last_not_of('0') + 1);
  return places.empty() ? "0" : "0." + places;
}

}  // namespace canary::cli
