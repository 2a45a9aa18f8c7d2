// canary why TASK KEY [--at REVISION]: how one decision came to be.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/core/hash.hpp"
#include "context.hpp"
#include "registry_view.hpp"
#include "session.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct WhyOptions {
  std::string task;
  std::string key;
  std::optional<std::uint32_t> at;
};

struct PointPlace {
  Point point = 0;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};

std::string hexadecimal(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// One decision with all that is said of it.
struct Explanation {
  Decision decision;
  std::uint32_t revision = 0;
  PointPlace place;
  std::optional<PastChange> change;  ///< with a database: the change that made the split
};

/// Who set it, in the shape of a history row. A split in a file has neither a time nor a person, and no database.
json::object set_by_file(const Session& session, std::uint32_t revision) {
  json::object row{{"revision", revision},
                   {"at", nullptr},
                   {"actor", nullptr},
                   {"action", "config"},
                   {"note", json_text(session.config_file)},
                   {"before", json::array{}},
                   {"after", json::array{}},
                   {"points_moved", 0},
                   {"points_minimum", 0},
                   {"evidence", nullptr}};
  if (!session.forced_by().empty()) {
    row["action"] = "environment";
    row["note"] = json_text(session.forced_by());
    return row;
  }
  const std::vector<Participant> all = session.participants();
  json::array after;
  for (const Participant& p : all)
    if (p.weight_ppm != 0) after.push_back({{"id", json_text(p.id)}, {"weight_ppm", p.weight_ppm}});
  row["before"] = json::array{{{"id", json_text(all.front().id)}, {"weight_ppm", total_ppm}}};
  row["after"] = std::move(after);
  row["points_moved"] = session.split.points_moved;
  row["points_minimum"] = session.split.points_minimum;
  return row;
}

json::value set_by(const Session& session, const Explanation& found) {
  const bool by_file = session.in_file() && session.split.revision != 0;
  if (!session.forced_by().empty() || by_file) return set_by_file(session, found.revision);
  if (!found.change) return nullptr;  // no share was ever set, or nobody can be asked
  return history_document(session.settings.name, *found.change);
}

std::string set_by_text(const Session& session, const Explanation& found) {
  if (!session.forced_by().empty()) return "environment variable " + std::string{session.forced_by()};
  if (session.in_file())
    return session.split.revision != 0 ? session.config_file : "nobody: the task has no version with a share";
  if (!found.change)
    return session.store() == nullptr ? "not known: the database cannot be reached" : "nobody: no share was ever set";
  const HistoryRow& row = found.change->row;
  std::string text = cell(row.actor) + " at " + time_cell(row.at_us) + ", " + row.action + ", revision " +
                     std::to_string(row.revision);
  if (!row.note.empty()) text += ": " + cell(row.note, 1'024);
  return text;
}

void write_text(Context& context, const WhyOptions& options, const Session& session, const Explanation& found) {
  std::string key;
  append_visible(key, options.key);
  const auto line = [&](std::string_view name, const std::string& text) {
    context.out.write(coloured(1, "1", std::string{name} + std::string(10 - name.size(), ' ')) + text + '\n');
  };
  std::string model;
  append_visible(model, found.decision.model());
  line("task", options.task);
  line("key", key);
  line("seed",
       hexadecimal(session.task.seed()) + "  hash of the task's " + (session.settings.salt.empty() ? "name" : "salt"));
  line("point", thousands(found.place.point) + " of 4,294,967,296");
  line("run", thousands(found.place.start) + " to before " + thousands(found.place.end));
  line("version", std::string{found.decision.version_id()});
  line("model", model.empty() ? "none" : model);
  line("reason", std::string{to_string(found.decision.reason())});
  line("revision", std::to_string(found.revision));
  line("set by", set_by_text(session, found));
}

/// The task as it stood at a revision, with every version that had a share.
TaskRecord record_at(const Session& session, std::uint32_t revision) {
  if (session.in_file())
    throw Failure{Exit::invalid_input, "--at needs a database: a split in the file has no history",
                  "leave --at out to explain today's decision"};
  if (session.store() == nullptr)
    throw Failure{Exit::store, "--at needs the database, which cannot be reached",
                  "leave --at out to explain the decision by the last good state"};
  const std::string& task = session.settings.name;
  TaskRecord record;
  record.name = task;
  record.revision = revision;
  if (revision == 0) return record;  // the untouched ring
  std::vector<HistoryRow> rows = session.store()->history(task, {.from = revision, .to = revision});
  if (rows.empty()) {
    const std::uint32_t now = session.store()->load(task, {.in_play = false}).revision;
    throw Failure{Exit::not_found, "task " + task + " never had revision " + std::to_string(revision),
                  now == 0 ? "it was never changed" : "it has 0 to " + std::to_string(now)};
  }
  record.partition = std::move(rows.front().partition);
  VersionFilter filter;
  filter.in_play = false;
  for (const OwnerShare& share : record.partition.shares())
    if (share.owner != default_owner) filter.numbers.push_back(share.owner);
  record.versions = session.store()->load(task, filter).versions;
  return record;
}

Explanation explain(const Session& session, const Router& router, Task task, std::string_view key) {
  Explanation found;
  found.decision = router.route(task, key);
  found.revision = found.decision.revision();
  const Partition partition = router.partition(task);
  const std::size_t run = partition.run_at(found.decision.point());
  found.place = {found.decision.point(), partition.runs()[run].start, partition.end_of(run)};
  if (session.store() != nullptr)
    found.change = last_change_of_weights(*session.store(), session.settings.name, found.revision);
  return found;
}

void run(Context& context, const WhyOptions& options) {
  const Session session{context.config_file, options.task};
  Router past;
  Task task = session.task;
  if (options.at) {
    const TaskRecord record = record_at(session, *options.at);
    task = add_task(past, session.settings);
    load_split(past, task, record);
  }
  Explanation found = explain(session, options.at ? past : session.router(), task, options.key);
  // An override is the environment's of today, and today's router knows whether its model is a registered version.
  if (!session.forced_by().empty())
    found.decision = session.router().route(session.task, std::string_view{options.key});
  if (!context.json) return write_text(context, options, session, found);
  write_document(context.out, json::object{{"task", json_text(options.task)},
                                           {"key", json_text(options.key)},
                                           {"seed", hexadecimal(session.task.seed())},
                                           {"point", found.place.point},
                                           {"run", {{"start", found.place.start}, {"end", found.place.end}}},
                                           {"version", json_text(found.decision.version_id())},
                                           {"model", json_text(found.decision.model())},
                                           {"reason", json_text(to_string(found.decision.reason()))},
                                           {"revision", found.revision},
                                           {"set_by", set_by(session, found)}});
}

}  // namespace

void add_why(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "why", "Explains one decision");
  const auto options = std::make_shared<WhyOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_text(noun, "key", options->key, "Key; put -- before one that starts with a dash")->required()->type_name("KEY");
  noun.add_option(
          "--at", [options](const std::string& revision) { options->at = revision_argument("--at", revision); },
          "Explain the decision as it was at this revision (needs a database)")
      ->type_name("REVISION");
  noun.footer(
      "The seed is 64 bits, more than JSON numbers hold exactly, hence a string: \"0x\" and 16 hex digits. A run goes "
      "from\n"
      "its start to before its end. A split in the file has no history: a process that has reloaded its file may have\n"
      "laid out the same shares differently. What the environment forces now, it forces with --at too.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
