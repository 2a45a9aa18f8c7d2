// canary history TASK: who changed what, when, why, with the evidence.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "registry_view.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

struct HistoryOptions {
  std::string task;
  std::uint32_t limit = HistoryFilter{}.newest;
};

void run(Context& context, const HistoryOptions& options) {
  const Workspace workspace{context};
  const TaskConfig& task = workspace.task(options.task);
  const std::vector<PastChange> changes = past_changes(*workspace.store, task.name, options.limit);
  if (context.json)
    return write_document(context.out, boost::json::object{{"history", history_documents(task.name, changes)}});
  if (changes.empty()) return context.out.write("task " + task.name + " was never changed\n");
  history_table(changes).write(context.out);
}

}  // namespace

void add_history(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "history", "Lists who changed a task's traffic, when and why");
  const auto options = std::make_shared<HistoryOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  noun.add_option("--limit", options->limit, "The newest N changes only")->at_least_one()->type_name("N");
  noun.footer("The newest change comes last. Long notes and evidence are cut; --json has them whole.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
