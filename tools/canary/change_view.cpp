#include "change_view.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/percent.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

/// A version's line in the table of a change.
struct Line {
  std::uint32_t owner = 0;
  std::string model;
  std::string status;
};

std::string status_text(const Change& change, const ModelVersion& row) {
  for (const StatusChange& status : change.row.status_changes)
    if (status.number == row.number)
      return std::string{to_string(status.before)} + " -> " + std::string{to_string(status.after)};
  return std::string{to_string(row.status)};
}

/// The default, and each version that the change touched or that has a share.
std::vector<Line> lines_of(const ChangeReport& report) {
  const Change& change = report.change;
  std::vector<Line> lines{{default_owner, cell(report.task.default_model), ""}};
  for (const ModelVersion& row : change.before.versions) {
    const std::string status = status_text(change, row);
    const bool shown = row.number == change.changed.number || row.weight_ppm != 0 ||
                       weight_in(change.row.partition, row.number) != 0 || status != to_string(row.status);
    if (shown) lines.push_back({row.number, cell(row.model), status});
  }
  return lines;
}

void write_shares(Context& context, const ChangeReport& report) {
  const Change& change = report.change;
  Table table;
  table.row({"VERSION", "MODEL", "STATUS", "BEFORE", "AFTER"});
  for (const Line& line : lines_of(report))
    table.row({owner_id(report.task.name, line.owner), line.model, line.status,
               percent_text(weight_in(change.before.partition, line.owner)) + " %",
               percent_text(weight_in(change.row.partition, line.owner)) + " %"});
  context.out.write("\n");
  table.write(context.out);
}

/// What happened, in a sentence without its end.
std::string sentence(const ChangeReport& report) {
  const HistoryRow& row = report.change.row;
  if (row.number == 0)
    return "task " + report.task.name + (report.dry_run ? " would be" : " is") + " as it was at revision " +
           std::to_string(row.restores);
  const ModelVersion& version = report.change.changed;
  const std::string before = percent_text(weight_in(report.change.before.partition, row.number));
  return owner_id(report.task.name, row.number) + (report.dry_run ? " would have " : " has ") +
         percent_text(version.weight_ppm) + " % of the traffic, after " + before + " %, and " +
         (report.dry_run ? "be " : "is ") + std::string{to_string(version.status)};
}

void end_dry_run(Context& context, const ChangeReport& report) {
  if (report.dry_run) context.out.write("dry run: nothing was changed\n");
}

/// A change stands whatever becomes of the words about it: saying it again would be another change.
void note_commit(Context& context, const ChangeReport& report) {
  if (!report.dry_run)
    context.committed =
        "the change stands: task " + report.task.name + ", revision " + std::to_string(report.change.row.revision);
}

json::value version_or_null(const ChangeReport& report) {
  const ModelVersion& version = report.change.changed;
  if (version.number == 0) return nullptr;
  return version_document(report.task.name, version);
}

void write(Context& context, const ChangeReport& report, json::object document) {
  if (report.dry_run) document["dry_run"] = true;
  write_document(context.out, std::move(document));
}

}  // namespace

void write_change_of_weights(Context& context, const ChangeReport& report) {
  const HistoryRow& row = report.change.row;
  note_commit(context, report);
  if (context.json)
    return write(context, report,
                 {{"version", version_or_null(report)},
                  {"revision", row.revision},
                  {"points_moved", row.points_moved},
                  {"points_minimum", row.points_minimum}});
  context.out.write(sentence(report) + ": revision " + std::to_string(row.revision) + '\n');
  context.out.write(thousands(row.points_moved) + " points of the ring " + (report.dry_run ? "would move" : "moved") +
                    ", the least possible is " + thousands(row.points_minimum) + "; " + ring_text(row.points_moved) +
                    " of all keys " + (report.dry_run ? "would get" : "get") + " another version\n");
  write_shares(context, report);
  end_dry_run(context, report);
}

void write_change_of_version(Context& context, const ChangeReport& report) {
  const HistoryRow& row = report.change.row;
  note_commit(context, report);
  const ModelVersion& version = report.change.changed;
  if (context.json) return write(context, report, {{"version", version_document(report.task.name, version)}});
  std::string line = owner_id(report.task.name, version.number) + (report.dry_run ? " would be " : " is ");
  if (row.action == "register")
    line += "a " + std::string{to_string(version.status)} + " at 0 %, model " + cell(version.model, 1'024);
  else if (row.status_changes.empty())
    line += std::string{to_string(version.status)} + ", as before";
  else
    line += std::string{to_string(version.status)} + ", after " + std::string{to_string(row.status_changes[0].before)};
  context.out.write(line + ": revision " + std::to_string(row.revision) + '\n');
  end_dry_run(context, report);
}

}  // namespace canary::cli
