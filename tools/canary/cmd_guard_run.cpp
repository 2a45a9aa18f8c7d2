// canary guard run: judges the candidates of every task and acts, once or until it is told to stop.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/host_name.hpp"
#include "canary/control/guard_news.hpp"
#include "canary/control/guard_pass.hpp"
#include "canary/control/time_text.hpp"
#include "guard_alerts.hpp"
#include "guard_view.hpp"
#include "interrupt.hpp"
#include "recorded.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct GuardRunOptions {
  bool once = false;
  std::uint32_t interval_s = 1;
  ChangeArguments change;
};

GuardPassOptions pass_options(const GuardRunOptions& options) {
  GuardPassOptions made;
  made.actor = options.change.actor ? *options.change.actor : guard_actor();
  made.note = options.change.note;
  made.dry_run = options.change.dry_run;
  made.display = options.once;
  // What no history could keep is refused before anything is judged.
  detail::check_text("actor's name", made.actor, max_model_bytes, false);
  detail::check_text("note", made.note, max_note_bytes / 4, true);
  return made;
}

json::object act_document(const GuardAct& act) {
  json::object document = look_document(act.task, act.look);
  document["acted"] = act.acted;
  document["conflict"] = act.conflict;
  document["happened"] = act.words.empty() ? json::value(nullptr) : json::value(json_text(act.words));
  document["revision"] = act.acted ? json::value(act.revision) : json::value(nullptr);
  return document;
}

json::object task_document(const std::string& task, const std::vector<const GuardAct*>& acts) {
  json::array candidates;
  for (const GuardAct* each : acts)
    if (each->task == task) candidates.push_back(act_document(*each));
  return {{"task", json_text(task)}, {"candidates", std::move(candidates)}};
}

std::string happened(const GuardAct& act) {
  std::string text = act.words;
  if (act.acted) text += "; revision " + std::to_string(act.revision);
  return text;
}

/// Every task; one that could not be judged says so at the end, and is how the command ends.
void write_pass(Context& context, const Workspace& workspace, const GuardPass& pass) {
  std::set<std::string> faulty;
  for (const GuardFault& fault : pass.faults) faulty.insert(fault.task);
  std::vector<const GuardAct*> acts;
  for (const GuardAct& each : pass.acts) {
    acts.push_back(&each);
    if (each.acted)
      context.committed += (context.committed.empty() ? "" : ", ") + version_id(each.task, each.look.number);
  }
  if (!context.committed.empty()) context.committed = "what the guard did stands: " + context.committed;
  if (context.json) {
    for (const TaskConfig& task : workspace.config.tasks)
      if (!faulty.contains(task.name)) write_document(context.out, task_document(task.name, acts));
  } else {
    for (const GuardAct* each : acts) {
      if (each != acts.front()) context.out.write("\n");
      write_look(context.out, workspace.task(each->task), each->look, happened(*each));
    }
    if (acts.empty() && faulty.empty()) context.out.write("no candidate has a share: nothing to judge\n");
  }
  if (pass.faults.empty()) return;
  context.committed.clear();  // it is told above
  const GuardFault& first = pass.faults.front();
  const Failure failure = failure_of(first.error);
  throw Failure{failure.exit, "task " + first.task + " was not judged: " + failure.what(), failure.hint};
}

/// What is new, a line each.
void write_news(Context& context, const std::vector<const GuardAct*>& news) {
  if (context.json) {
    std::set<std::string> told;
    for (const GuardAct* each : news)
      if (told.insert(each->task).second) write_document(context.out, task_document(each->task, news));
  } else {
    for (const GuardAct* each : news) {
      std::string line = time_cell(Registry::system_time()) + ' ' + version_id(each->task, each->look.number) + ": ";
      append_visible(line, each->words.empty() ? std::string{to_text(each->look.verdict.action)} : happened(*each));
      append_visible(line, ", because " + each->look.verdict.reason);
      context.out.write(line + '\n');
    }
  }
  context.out.flush();
}

/// Ends early when a signal came.
void wait(std::chrono::milliseconds time) {
  constexpr std::chrono::milliseconds slice{50};
  const auto until = std::chrono::steady_clock::now() + time;
  for (Interrupts::check(); std::chrono::steady_clock::now() < until; Interrupts::check())
    std::this_thread::sleep_for(std::min(time, slice));
}

/// Goes on whatever becomes of the store, and asks it less and less often while it is away.
[[noreturn]] void watch(Context& context, const Workspace& workspace, const GuardRunOptions& options,
                        GuardAlerts& alerts) {
  GuardPassOptions how = pass_options(options);
  LostActs lost;
  how.lost = &lost;
  const std::unique_ptr<InteractionStore> interactions = workspace.store->interactions();
  GuardNews news;
  std::string trouble;
  const std::chrono::milliseconds every = std::chrono::seconds{options.interval_s};
  constexpr std::chrono::milliseconds longest = std::chrono::seconds{30};
  for (std::chrono::milliseconds pause = every;;) {
    Interrupts::check();
    const GuardPass pass = guard_pass(*workspace.store, *interactions, workspace.config.tasks, how);
    alerts.tell(*workspace.store, *interactions, pass);  // before the news, whose reader may have gone
    write_news(context, news.of(pass));
    std::string words;
    for (const GuardFault& fault : pass.faults) {
      if (words.empty()) words = "task " + fault.task + " is not guarded: " + fault.error.what();
      if (words.size() < 1'024 && !fault.error.hint.empty() && &fault == &pass.faults.front())
        words += "; " + fault.error.hint;
    }
    if (words != trouble) warn_in_time(words.empty() ? "all tasks are guarded again" : words);
    pause = words.empty() ? every : std::max(every, std::min(pause * 2, longest));
    trouble = std::move(words);
    wait(pause);
  }
}

void run(Context& context, const GuardRunOptions& options) {
  if (options.once) {
    const Recorded recorded{context};
    GuardAlerts alerts{recorded.config, true, options.change.dry_run};
    const GuardPass pass =
        guard_pass(*recorded.store, *recorded.interactions, recorded.config.tasks, pass_options(options));
    alerts.tell(*recorded.store, *recorded.interactions, pass);
    write_pass(context, recorded, pass);
    return context.out.flush();  // before anybody waits for a receiver
  }
  const Interrupts interrupts;
  const Workspace workspace{context};
  GuardAlerts alerts{workspace.config, false, options.change.dry_run};
  try {
    watch(context, workspace, options, alerts);
  } catch (const Interrupted&) {
    context.exit = Exit::done;  // this is how it ends
  }
}

}  // namespace

void add_guard_run(Syntax guard, Context& context) {
  const Syntax verb =
      add_noun(guard, context, "run", "Judges the candidates of every task and acts: next step, or rollback");
  const auto options = std::make_shared<GuardRunOptions>();
  verb.add_flag("--once", options->once, "One pass, and what it found (default: until SIGINT or SIGTERM)");
  verb.add_option("--interval", options->interval_s, "Between two passes (default: 1)")
      ->at_least_one()
      ->type_name("SECONDS");
  add_text(verb, "--note", options->change.note, "Put behind the reason of each act, in the history")
      ->may_be_empty()
      ->type_name("TEXT");
  verb.add_option(
          "--actor",
          [options](const std::string& name) {
            options->change.actor = unprotect(name);
            if (options->change.actor->empty()) throw Failure{Exit::usage, "--actor names nobody", "leave it out"};
          },
          "Who, for the history (default: guard@HOST)")
      ->type_name("NAME");
  verb.add_flag("--dry-run", options->change.dry_run, "Says what it would do, and does nothing");
  verb.footer(
      "A candidate that does harm goes to 0 % and DEPRECATED, whether it has a rollout or not. A running rollout "
      "whose\n"
      "step is proved goes on; no other share is raised. Any number of guards may run: one of them acts on a verdict.\n"
      "With --json each task is a document on a line of its own; without --once, tasks with news alone. Alerts go "
      "where\n"
      "[alerts] of the configuration sends them; at the end they are waited for some seconds, and never by the guard. "
      "With\n"
      "--once rollbacks alone are told: what goes on, such as a shutdown that comes near or a store that is away, is "
      "for\n"
      "guards that run, which can tell when it is over. A store that is away is how --once ends.");
  verb.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
