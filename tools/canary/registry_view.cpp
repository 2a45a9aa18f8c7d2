#include "registry_view.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "canary/control/percent.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/utf8.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

json::array shares_document(std::string_view task, const Partition& partition) {
  json::array shares;
  for (const OwnerShare& share : partition.shares())
    shares.push_back({{"id", json_text(owner_id(task, share.owner))}, {"weight_ppm", share.ppm}});
  return shares;
}

/// Evidence is a document of its own; a text that is none, from another program, is given as a text.
json::value evidence_document(std::string_view evidence) {
  if (evidence.empty()) return nullptr;
  json::error_code error;
  json::value document = json::parse(json::string_view{evidence.data(), evidence.size()}, error);
  if (error) return json_text(evidence);
  return document;
}

/// Shares that a change touched: `@default 100 -> 95, @1 0 -> 5 %`.
std::string changed_shares(const PastChange& change) {
  std::vector<std::uint32_t> owners;
  for (const Partition* partition : {&change.before, &change.row.partition})
    for (const OwnerShare& share : partition->shares()) owners.push_back(share.owner);
  std::sort(owners.begin(), owners.end());
  owners.erase(std::unique(owners.begin(), owners.end()), owners.end());
  std::string text;
  for (const std::uint32_t owner : owners) {
    const std::uint32_t before = weight_in(change.before, owner);
    const std::uint32_t after = weight_in(change.row.partition, owner);
    if (before == after) continue;
    if (!text.empty()) text += ", ";
    text += owner_id({}, owner) + ' ' + percent_text(before) + " -> " + percent_text(after);
  }
  return text.empty() ? "-" : text + " %";
}

/// What the change named: its version, or the revision that it restored.
std::string subject(const HistoryRow& row) {
  if (row.number != 0) return owner_id({}, row.number);
  return row.action == "rollback" ? "to " + std::to_string(row.restores) : "-";
}

}  // namespace

std::vector<PastChange> past_changes(Store& store, std::string_view task, std::uint32_t newest) {
  HistoryFilter filter;
  filter.newest = newest + (newest != filter.newest ? 1 : 0);  // one more, for the split before the first
  std::vector<HistoryRow> rows = store.history(task, filter);
  const std::size_t only_before = rows.size() > newest ? 1 : 0;
  Partition before = only_before != 0 ? rows.front().partition : Partition{};
  std::vector<PastChange> changes;
  changes.reserve(rows.size());
  for (std::size_t i = only_before; i != rows.size(); ++i) {
    changes.push_back({std::move(before), std::move(rows[i])});
    before = changes.back().row.partition;
  }
  return changes;
}

std::optional<PastChange> last_change_of_weights(Store& store, std::string_view task, std::uint32_t revision) {
  constexpr std::uint32_t page = 64;
  while (revision != 0) {
    std::vector<HistoryRow> rows = store.history(task, {.to = revision, .newest = page});
    for (std::size_t i = rows.size(); i-- != 0;) {
      if (rows[i].points_moved == 0) continue;
      PastChange change{{}, std::move(rows[i])};
      const std::uint32_t before = change.row.revision - 1;
      if (before != 0) {
        std::vector<HistoryRow> earlier = store.history(task, {.from = before, .to = before});
        if (!earlier.empty()) change.before = std::move(earlier.front().partition);
      }
      return change;
    }
    if (rows.empty() || rows.front().revision >= revision) break;
    revision = rows.front().revision - 1;
  }
  return {};
}

std::string owner_id(std::string_view task, std::uint32_t owner) {
  return owner == default_owner ? std::string{task} + "@default" : version_id(task, owner);
}

std::uint32_t weight_in(const Partition& partition, std::uint32_t owner) {
  for (const OwnerShare& share : partition.shares())
    if (share.owner == owner) return share.ppm;
  return 0;
}

json::object version_document(std::string_view task, const ModelVersion& row) {
  return {{"id", json_text(version_id(task, row.number))},
          {"task", json_text(task)},
          {"model", json_text(row.model)},
          {"provider", json_text(row.provider)},
          {"status", json_text(to_string(row.status))},
          {"weight_ppm", row.weight_ppm},
          {"created_at", json_text(time_text(row.created_at_us))},
          {"note", json_text(row.note)},
          {"shutdown_date", text_or_null(row.shutdown_date)},
          {"lineage",
           {{"job", text_or_null(row.lineage.job)},
            {"training_file_hash", text_or_null(row.lineage.training_file_hash)},
            {"base_model", text_or_null(row.lineage.base_model)},
            {"prompt_version", text_or_null(row.lineage.prompt_version)}}}};
}

json::object history_document(std::string_view task, const PastChange& change) {
  const HistoryRow& row = change.row;
  return {{"revision", row.revision},
          {"at", json_text(time_text(row.at_us))},
          {"actor", json_text(row.actor)},
          {"action", json_text(row.action)},
          {"note", json_text(row.note)},
          {"before", shares_document(task, change.before)},
          {"after", shares_document(task, row.partition)},
          {"points_moved", row.points_moved},
          {"points_minimum", row.points_minimum},
          {"evidence", evidence_document(row.evidence)}};
}

json::array history_documents(std::string_view task, const std::vector<PastChange>& changes) {
  json::array documents;
  documents.reserve(changes.size());
  for (const PastChange& change : changes) documents.push_back(history_document(task, change));
  return documents;
}

Table history_table(const std::vector<PastChange>& changes) {
  const bool any_evidence = std::any_of(changes.begin(), changes.end(),
                                        [](const PastChange& change) { return !change.row.evidence.empty(); });
  Table table;
  std::vector<std::string> heading{"REVISION", "AT", "ACTOR", "ACTION", "VERSION", "SHARES", "MOVED", "NOTE"};
  if (any_evidence) heading.push_back("EVIDENCE");
  table.row(std::move(heading));
  for (const PastChange& change : changes) {
    const HistoryRow& row = change.row;
    std::vector<std::string> cells{
        std::to_string(row.revision), time_cell(row.at_us),        cell(row.actor, 24), row.action, subject(row),
        changed_shares(change),       ring_text(row.points_moved), cell(row.note)};
    if (any_evidence) cells.push_back(cell(row.evidence, 1'024));
    table.row(std::move(cells));
  }
  return table;
}

std::string cell(std::string_view text, std::size_t most_characters) {
  std::size_t end = 0;
  for (std::size_t count = 0; end < text.size(); ++count) {
    if (count == most_characters) break;
    end += std::max<std::size_t>(1, utf8_sequence(text.substr(end)));
  }
  std::string shown;
  append_visible(shown, text.substr(0, end));
  if (end < text.size()) shown += "...";
  return shown;
}

std::string time_cell(TimeUs at_us) {
  const TimeUs part = at_us % 1'000'000;
  return time_text(at_us - (part < 0 ? part + 1'000'000 : part));
}

std::string ring_text(std::uint64_t points) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g %%", 100.0 * static_cast<double>(points) / static_cast<double>(ring_points));
  return text;
}

}  // namespace canary::cli
