// canary why TASK KEY [--at REVISION]: how one decision came to be.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <boost/json.hpp>

#include "canary/core/hash.hpp"
#include "context.hpp"
#include "session.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct WhyOptions {
  std::string task;
  std::string key;
  std::optional<std::uint32_t> at;
};

struct Place {
  Point point = 0;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};

std::string hexadecimal(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Who set it, in the shape of a history row. A split in a file has neither a time nor a person.
json::value set_by(const Session& session, const Decision& decision) {
  json::object row{{"revision", decision.revision()},
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
  if (session.split.revision == 0) return nullptr;  // no split was ever set
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

void write_text(Context& context, const WhyOptions& options, const Session& session, const Decision& decision,
                const Place& place) {
  std::string key;
  append_visible(key, options.key);
  const auto line = [&](std::string_view name, const std::string& text) {
    context.out.write(coloured(1, "1", std::string{name} + std::string(10 - name.size(), ' ')) + text + '\n');
  };
  std::string model;
  append_visible(model, decision.model());
  line("task", options.task);
  line("key", key);
  line("seed",
       hexadecimal(session.task.seed()) + "  hash of the task's " + (session.settings.salt.empty() ? "name" : "salt"));
  line("point", thousands(place.point) + " of 4,294,967,296");
  line("run", thousands(place.start) + " to before " + thousands(place.end));
  line("version", std::string{decision.version_id()});
  line("model", model.empty() ? "none" : model);
  line("reason", std::string{to_string(decision.reason())});
  line("revision", std::to_string(decision.revision()));
  if (!session.forced_by().empty())
    line("set by", "environment variable " + std::string{session.forced_by()});
  else if (session.split.revision != 0)
    line("set by", session.config_file);
  else
    line("set by", "nobody: the task has no version with a share");
}

void run(Context& context, const WhyOptions& options) {
  const Session session{context.config_file, options.task};
  if (options.at)
    throw Failure{Exit::invalid_input, "--at needs a database: a split in the file has no history",
                  "leave --at out to explain today's decision"};
  const Decision decision = session.router.route(session.task, std::string_view{options.key});
  const Partition partition = session.router.partition(session.task);
  const std::size_t run = partition.run_at(decision.point());
  const Place place{decision.point(), partition.runs()[run].start, partition.end_of(run)};
  if (!context.json) return write_text(context, options, session, decision, place);
  write_document(context.out, json::object{{"task", json_text(options.task)},
                                           {"key", json_text(options.key)},
                                           {"seed", hexadecimal(session.task.seed())},
                                           {"point", place.point},
                                           {"run", {{"start", place.start}, {"end", place.end}}},
                                           {"version", json_text(decision.version_id())},
                                           {"model", json_text(decision.model())},
                                           {"reason", json_text(to_string(decision.reason()))},
                                           {"revision", decision.revision()},
                                           {"set_by", set_by(session, decision)}});
}

}  // namespace

void add_why(CLI::App& root, Context& context) {
  CLI::App& noun = add_noun(root, context, "why", "Explains one decision");
  const auto options = std::make_shared<WhyOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_text(noun, "key", options->key, "Key; put -- before one that starts with a dash")->required()->type_name("KEY");
  noun.add_option_function<std::uint32_t>(
          "--at", [options](std::uint32_t revision) { options->at = revision; },
          "Explain the decision as it was at this revision (needs a database)")
      ->type_name("REVISION");
  noun.footer(
      "The seed is 64 bits, more than JSON numbers hold exactly, hence a string: \"0x\" and 16 hex digits. A run goes "
      "from\n"
      "its start to before its end. A split in the file has no history: a process that has reloaded its file may have\n"
      "laid out the same shares differently.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
