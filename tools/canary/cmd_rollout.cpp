// canary rollout start|pause|resume|abort|status: staged ramps, which the guard advances.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/percent.hpp"
#include "canary/control/plan_rollout.hpp"
#include "rollout_view.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct RolloutOptions {
  std::string id;
  std::optional<std::string> steps;
  ChangeArguments change;
};

/// What a verb does to the rollout of the version that was named.
using RolloutVerb = Change (*)(Registry&, const VersionId&, const TaskConfig&, const RolloutOptions&);

/// `1,5,25,50,100`
std::vector<std::uint32_t> steps_argument(std::string_view text) {
  std::vector<std::uint32_t> steps_ppm;
  while (true) {
    const std::size_t end = text.find(',');
    steps_ppm.push_back(percent_argument(text.substr(0, end)));
    if (end == std::string_view::npos) return steps_ppm;
    text.remove_prefix(end + 1);
  }
}

Change start(Registry& registry, const VersionId& id, const TaskConfig& task, const RolloutOptions& options) {
  const std::vector<std::uint32_t> steps_ppm = options.steps ? steps_argument(*options.steps) : task.guard.steps_ppm;
  return registry.start_rollout(id.task, id.number, steps_ppm, options.change.options(task.guard));
}

Change pause(Registry& registry, const VersionId& id, const TaskConfig& task, const RolloutOptions& options) {
  return registry.pause_rollout(id.task, id.number, options.change.options(task.guard));
}

Change resume(Registry& registry, const VersionId& id, const TaskConfig& task, const RolloutOptions& options) {
  return registry.resume_rollout(id.task, id.number, options.change.options(task.guard));
}

Change abort_rollout(Registry& registry, const VersionId& id, const TaskConfig& task, const RolloutOptions& options) {
  return registry.abort_rollout(id.task, id.number, options.change.options(task.guard));
}

/// The version's rollout as a change left it.
Rollout rollout_after(const Change& change, std::uint32_t number) {
  const auto rollouts = parse_rollouts(change.row.rollouts);
  const Rollout* found = rollouts ? find_rollout(*rollouts, number) : nullptr;
  if (found == nullptr) throw Failure{Exit::failed, "the change holds no rollout", ""};
  return *found;
}

void write_change(Context& context, const TaskConfig& task, const Change& change, bool dry_run) {
  const ModelVersion& version = change.changed;
  const Rollout rollout = rollout_after(change, version.number);
  const std::string before = percent_text(weight_in(change.before.partition, version.number));
  context.out.write(version_id(task.name, version.number) + ": the rollout " + (dry_run ? "would be " : "is ") +
                    std::string{to_string(rollout.state)} + ", " + rollout_step_text(rollout) + ": revision " +
                    std::to_string(change.row.revision) + '\n');
  context.out.write("It " + std::string{dry_run ? "would have " : "has "} + percent_text(version.weight_ppm) +
                    " % of the traffic, after " + before + " %; steps: " + rollout_steps_text(rollout) + '\n');
  if (rollout.state == RolloutState::running)
    context.out.write(task.guard.metrics.empty()
                          ? "No metric is configured for " + task.name + ", so the guard never advances it\n"
                          : "The guard takes it from step to step, or back: canary guard run, or a server's own\n");
  if (dry_run) context.out.write("dry run: nothing was changed\n");
}

void run(Context& context, RolloutVerb verb, const RolloutOptions& options) {
  const Workspace workspace{context};
  const VersionId id = workspace.version(options.id);
  const TaskConfig& task = workspace.task(id.task);
  Registry registry{*workspace.store};
  const Change change = verb(registry, id, task, options);
  const bool dry_run = options.change.dry_run;
  // It stands whatever becomes of the words about it: saying it again would be another change.
  if (!dry_run)
    context.committed = "the change stands: task " + task.name + ", revision " + std::to_string(change.row.revision);
  if (!context.json) return write_change(context, task, change, dry_run);
  RolloutReport report{task.name, rollout_after(change, id.number), {}};
  report.changes = rollout_changes(*workspace.store, task.name, id.number);
  json::object document{{"rollout", rollout_document(report)}};
  if (dry_run) document["dry_run"] = true;
  write_document(context.out, std::move(document));
}

// --- status ----------------------------------------------------------------------------------------------------------

void status_of(Context& context, const Workspace& workspace, const std::string& text) {
  const VersionId id = workspace.version(text);
  const TaskRecord record = workspace.store->load(id.task, {.in_play = false, .numbers = {id.number}});
  (void)version_of(record, id.number);
  const std::vector<Rollout> rollouts = stored_rollouts(record);
  const Rollout* found = find_rollout(rollouts, id.number);
  if (found == nullptr)
    throw Failure{Exit::not_found, text + " has no rollout", "canary rollout start " + text + " begins one"};
  RolloutReport report{record.name, *found, rollout_changes(*workspace.store, id.task, id.number)};
  if (context.json) return write_document(context.out, json::object{{"rollout", rollout_document(report)}});
  rollouts_table({report}).write(context.out);
  context.out.write("\n");
  history_table(report.changes).write(context.out);
}

/// Of one task, or of all that are configured.
void status_of_tasks(Context& context, const Workspace& workspace, const std::optional<std::string>& wanted) {
  std::vector<std::string> names;
  if (wanted)
    names.push_back(workspace.task(*wanted).name);
  else
    for (const TaskConfig& task : workspace.config.tasks) names.push_back(task.name);
  std::vector<RolloutReport> reports;
  for (const std::string& name : names)
    for (const Rollout& each : stored_rollouts(workspace.store->load(name, {.in_play = false})))
      reports.push_back({name, each, {}});
  if (context.json) {
    json::array documents;
    for (RolloutReport& each : reports) {
      each.changes = rollout_changes(*workspace.store, each.task, each.rollout.number);
      documents.push_back(rollout_document(each));
    }
    return write_document(context.out, json::object{{"rollouts", std::move(documents)}});
  }
  if (reports.empty()) return context.out.write("no rollout so far: canary rollout start ID begins one\n");
  rollouts_table(reports).write(context.out);
}

// --- command line ----------------------------------------------------------------------------------------------------

std::shared_ptr<RolloutOptions> add_change(Syntax verb, Context& context, RolloutVerb what) {
  const auto options = std::make_shared<RolloutOptions>();
  add_text(verb, "id", options->id, "Version, TASK@N")->required()->type_name("ID");
  add_change_options(verb, options->change);
  verb.callback([&context, options, what] { run(context, what, *options); });
  return options;
}

void add_rollout_start(Syntax rollout, Context& context) {
  const Syntax verb = add_noun(rollout, context, "start", "Gives a CANDIDATE its first step, and lets the guard go on");
  const auto options = add_change(verb, context, start);
  verb.add_option(
          "--steps", [options](const std::string& steps) { options->steps = unprotect(steps); },
          "Rising shares in percent (default: steps_percent of the task's guard)")
      ->type_name("1,5,25,50,100");
  verb.footer(
      "The guard brings it to the next step when harm of the step's advance_margin is ruled out, and takes it back "
      "when\n"
      "harm is proved: `canary guard run`, or the guard of a server. The step of 100 promotes it. Whoever changes its\n"
      "share by hand pauses it.");
}

void add_status(Syntax rollout, Context& context) {
  const Syntax verb = add_noun(rollout, context, "status", "Shows rollouts, where they stand and why");
  const auto subject = std::make_shared<std::optional<std::string>>();
  const auto take = [subject](const std::string& text) { *subject = unprotect(text); };
  verb.add_option("task", take, "Version or task (default: all tasks)")->type_name("ID|TASK");
  verb.callback([&context, subject] {
    const Workspace workspace{context};
    if (*subject && (*subject)->find('@') != std::string::npos)  // no task's name has one
      return status_of(context, workspace, **subject);
    status_of_tasks(context, workspace, *subject);
  });
}

}  // namespace

void add_rollout(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "rollout", "Ramps a version up in steps, which the guard takes");
  noun.require_subcommand(1);
  add_rollout_start(noun, context);
  add_change(add_noun(noun, context, "pause", "Keeps a rollout on its step; harm is still taken back"), context, pause);
  const Syntax resumed = add_noun(noun, context, "resume", "Lets a paused rollout go on");
  add_change(resumed, context, resume);
  resumed.footer(
      "It goes on from the largest step that is not above the share that the version has, or from the first.");
  add_change(add_noun(noun, context, "abort", "Ends a rollout: the version to 0 %, it stays CANDIDATE"), context,
             abort_rollout);
  add_status(noun, context);
}

}  // namespace canary::cli
