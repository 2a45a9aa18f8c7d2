// canary guard check TASK: what the guard says of each candidate now. The other verbs have files of their own.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/registry.hpp"
#include "guard_view.hpp"
#include "recorded.hpp"

namespace canary::cli {
namespace {

void check(Context& context, const std::string& name) {
  const Recorded recorded{context};
  const TaskConfig& task = recorded.task(name);
  const std::vector<GuardLook> looks =
      guard_look(*recorded.store, *recorded.interactions, task, Registry::system_time());
  if (context.json) {
    boost::json::array candidates;
    for (const GuardLook& look : looks) candidates.push_back(look_document(task.name, look));
    return write_document(context.out,
                          boost::json::object{{"task", json_text(task.name)}, {"candidates", std::move(candidates)}});
  }
  if (looks.empty())
    return context.out.write("no candidate of " + task.name +
                             " has a share: nothing to judge; canary model canary ID PERCENT gives one\n");
  for (const GuardLook& look : looks) {
    if (&look != &looks.front()) context.out.write("\n");
    write_look(context.out, task, look);
  }
}

}  // namespace

void add_guard_check(Syntax guard, Context& context) {
  const Syntax verb = add_noun(guard, context, "check", "Says of each candidate what the evidence so far allows");
  const auto task = std::make_shared<std::string>();
  add_text(verb, "task", *task, "Task, as configured")->required()->type_name("TASK");
  verb.footer(
      "Changes nothing, and may be asked at any time and however often: the odds of a false verdict stay what the "
      "task's\n"
      "guard says (alpha_rollback, alpha_advance). HARM and NO HARM are odds, such as 87 of 100: 100 to 1 is needed. "
      "The\n"
      "DIFFERENCE, candidate less baseline, is where 95 % confidence puts it, at all times at once. REQUESTS LEFT is "
      "an\n"
      "estimate, of both versions together, until the metric alone decides. Latency counts the share of requests "
      "within\n"
      "the middle one of its thresholds, cost is in millionths of a US dollar. Imported interactions are no evidence: "
      "nobody\n"
      "drew their version by lot.");
  verb.callback([&context, task] { check(context, *task); });
}

void add_guard(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "guard",
                               "Tells whether a candidate does harm, acts on it, and says how much traffic that takes");
  noun.require_subcommand(1);
  add_guard_check(noun, context);
  add_guard_run(noun, context);
  add_guard_replay(noun, context);
  add_guard_plan(noun, context);
}

}  // namespace canary::cli
