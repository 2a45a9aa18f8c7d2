// canary interactions list: what was recorded, the newest first. The other verbs have files of their own.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/registry.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/utf8.hpp"
#include "recorded.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

struct ListOptions {
  std::string task;
  std::string id;
  TimeOptions times;
  std::uint64_t limit = 50;
  bool errors = false;
};

/// Prints interactions as they come, in memory that does not grow with them.
class InteractionLines {
 public:
  InteractionLines(Context& context, InteractionStore& store) : context_{context} {
    for (auto& [number, name] : store.task_names()) names_.emplace(number, std::move(name));
  }

  void write(const Interaction& row) {
    const auto name = names_.find(row.task);
    const std::string_view task = name == names_.end() ? std::string_view{"?"} : std::string_view{name->second};
    if (context_.json)
      write_json(task, row);
    else
      write_text(task, row);
    any_ = true;
    context_.out.settle();
  }

  void end() {
    if (!any_ && !context_.json) context_.out.write("no interactions\n");
  }

 private:
  void write_json(std::string_view task, const Interaction& row) {
    std::string& to = context_.out.buffer();
    const auto text = [&to](std::string_view key, std::string_view value) {
      to += key;
      append_json_string(to, value);
    };
    const auto number = [&to](std::string_view key, std::uint64_t value) {
      to += key;
      append_number(to, value);
    };
    text("{\"id\":", std::to_string(row.id));  // as text: a double does not hold 63 bits
    text(",\"at\":", time_text(row.at_us));
    text(",\"task\":", task);
    text(",\"version\":", version_word(task, row));
    text(",\"reason\":", to_string(row.reason));
    to += row.error == 0 ? ",\"ok\":true,\"error\":null" : ",\"ok\":false";
    if (row.error != 0) text(",\"error\":", to_string(static_cast<ErrorKind>(row.error)));
    if (row.latency_us == no_latency)
      to += ",\"latency_us\":null";
    else
      number(",\"latency_us\":", row.latency_us);
    (to += ",\"score\":") += row.score == no_score ? "null" : score_text(row.score);
    number(",\"tokens_in\":", row.tokens_in);
    number(",\"tokens_out\":", row.tokens_out);
    number(",\"cost_microusd\":", row.cost_microusd);
    to += "}\n";
  }

  static void left(std::string& to, std::string_view text, std::size_t width) {
    to += text;
    to.append(width + 2 - std::min(width, text.size()), ' ');
  }
  static void right(std::string& to, std::string_view text, std::size_t width) {
    to.append(width - std::min(width, text.size()), ' ');
    (to += text) += "  ";
  }

  static std::string dollars(std::uint64_t microusd) {
    std::string places = std::to_string(1'000'000 + microusd % 1'000'000).substr(1);
    return '$' + std::to_string(microusd / 1'000'000) + '.' + places;
  }

  void write_text(std::string_view task, const Interaction& row) {
    if (!any_)
      context_.out.write(coloured(1, "1",
                                  "ID                   AT                    OUTCOME           LATENCY  SCORE        "
                                  "TOKENS  COST       REASON    VERSION") +
                         '\n');
    std::string& to = context_.out.buffer();
    left(to, std::to_string(row.id), 19);
    left(to, time_cell(row.at_us), 20);
    left(to, row.error == 0 ? "ok" : to_string(static_cast<ErrorKind>(row.error)), 14);
    right(to, row.latency_us == no_latency ? "-" : thousands(row.latency_us / 1'000) + " ms", 9);
    left(to, row.score == no_score ? "-" : score_text(row.score), 5);
    right(to, std::to_string(row.tokens_in) + '+' + std::to_string(row.tokens_out), 12);
    left(to, dollars(row.cost_microusd), 9);
    left(to, to_string(row.reason), 8);
    to += version_word(task, row) + '\n';
  }

  Context& context_;
  std::map<std::uint32_t, std::string> names_;
  bool any_ = false;
};

/// The task that is meant, by its name or by its version's.
const TaskConfig* wanted_task(const Recorded& recorded, const ListOptions& options) {
  if (!options.task.empty()) return &recorded.task(options.task);
  if (options.id.empty()) return nullptr;
  return &recorded.task(std::string_view{options.id}.substr(0, options.id.rfind('@')));
}

void list(Context& context, const ListOptions& options) {
  const Recorded recorded{context};
  const TaskConfig* task = wanted_task(recorded, options);
  const TimeRange range = options.times.range(Registry::system_time());
  InteractionFilter filter = filter_of(range, longest_outcome_us(recorded.config, task));
  filter.newest_first = true;
  InteractionLines lines{context, *recorded.interactions};
  if (!options.id.empty()) filter.number = recorded.version_number(*task, options.id);
  if (task != nullptr) {
    filter.task = recorded.interactions->find_task(task->name);
    if (!filter.task) return lines.end();
  }
  std::uint64_t left = options.limit;
  recorded.interactions->read(filter, [&](const Interaction& row, const Payload&) {
    if (!range.has(row.at_us) || (options.errors && row.error == 0)) return true;
    if (filter.number == 0 && row.reason == Reason::forced) return true;  // of no version
    lines.write(row);
    return --left != 0;
  });
  lines.end();
}

void add_interactions_list(Syntax interactions, Context& context) {
  const Syntax verb = add_noun(interactions, context, "list", "Lists what was recorded, the newest first");
  const auto options = std::make_shared<ListOptions>();
  add_text(verb, "task", options->task, "Task, as configured (default: all of them)")->type_name("TASK");
  add_text(verb, "--version", options->id, "Of this version: TASK@N or TASK@default")->type_name("ID");
  add_time_options(verb, options->times);
  verb.add_option("--limit", options->limit, "At most N of them (default: 50)")->at_least_one()->type_name("N");
  verb.add_flag("--errors", options->errors, "Those alone that failed");
  verb.footer(std::string{time_footer} +
              "\nWith --json, a line for each interaction; its id is text, since a double does not hold 63 bits.");
  verb.callback([&context, options] { list(context, *options); });
}

}  // namespace

void add_interactions(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "interactions", "Brings in, shows and scores recorded outcomes");
  noun.require_subcommand(1);
  add_interactions_import(noun, context);
  add_interactions_list(noun, context);
  add_interactions_stats(noun, context);
  add_interactions_feedback(noun, context);
}

}  // namespace canary::cli
