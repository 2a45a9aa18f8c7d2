// canary model promote|canary|rollback|deprecate|archive: what moves traffic, and the steps in a version's life.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "change_view.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

struct StepOptions {
  std::string id;
  std::optional<std::string> percent;
  ChangeArguments change;
};

struct RollbackOptions {
  std::string subject;  ///< TASK or ID
  std::optional<std::uint32_t> revision;
  ChangeArguments change;
};

/// What a verb does to the version that was named.
using Verb = Change (*)(Registry&, const VersionId&, const StepOptions&, const ChangeOptions&);

Change promote(Registry& registry, const VersionId& id, const StepOptions& options, const ChangeOptions& change) {
  return registry.promote(id.task, id.number, options.percent ? percent_argument(*options.percent) : total_ppm, change);
}

Change canary_share(Registry& registry, const VersionId& id, const StepOptions& options, const ChangeOptions& change) {
  return registry.canary(id.task, id.number, percent_argument(*options.percent), change);
}

Change deprecate(Registry& registry, const VersionId& id, const StepOptions&, const ChangeOptions& change) {
  return registry.deprecate(id.task, id.number, change);
}

Change archive(Registry& registry, const VersionId& id, const StepOptions&, const ChangeOptions& change) {
  return registry.archive(id.task, id.number, change);
}

ChangeReport run(const Workspace& workspace, Verb verb, const StepOptions& options) {
  const VersionId id = workspace.version(options.id);
  const TaskConfig& task = workspace.task(id.task);
  Registry registry{*workspace.store};
  const ChangeOptions change = options.change.options(task.guard);
  return {task, verb(registry, id, options, change), change.dry_run};
}

ChangeReport roll_back(const Workspace& workspace, const RollbackOptions& options) {
  const bool of_version = options.subject.find('@') != std::string::npos;  // no task's name has one
  if (of_version && options.revision)
    throw Failure{Exit::usage, "--to goes with a task: a version goes to 0 %",
                  "canary model rollback TASK --to REVISION"};
  Registry registry{*workspace.store};
  if (of_version) {
    const VersionId id = workspace.version(options.subject);
    const TaskConfig& task = workspace.task(id.task);
    const ChangeOptions change = options.change.options(task.guard);
    return {task, registry.rollback_version(id.task, id.number, change), change.dry_run};
  }
  const TaskConfig& task = workspace.task(options.subject);
  const ChangeOptions change = options.change.options(task.guard);
  return {task, registry.rollback(task.name, options.revision, change), change.dry_run};
}

std::shared_ptr<StepOptions> add_step(Syntax verb) {
  const auto options = std::make_shared<StepOptions>();
  add_text(verb, "id", options->id, "Version, TASK@N")->required()->type_name("ID");
  add_change_options(verb, options->change);
  return options;
}

Argument add_percent(Syntax verb, StepOptions& options, const char* description) {
  const auto take = [&options](const std::string& text) { options.percent = unprotect(text); };
  return *verb.add_option("percent", take, description)->type_name("PERCENT");
}

void add_promote(Syntax model, Context& context) {
  const Syntax verb = add_noun(model, context, "promote", "Makes a version ACTIVE, with all of the traffic or a part");
  const auto options = add_step(verb);
  add_percent(verb, *options, "Its share (default: 100)");
  verb.footer(
      "Below 100, the others and the default give in proportion. At 100, every other version goes to 0, and those "
      "that\n"
      "were ACTIVE to DEPRECATED. Percentages: 10, 10%, 0.5, down to 0.0001.");
  verb.callback([&context, options] {
    const Workspace workspace{context};
    write_change_of_weights(context, run(workspace, promote, *options));
  });
}

void add_canary(Syntax model, Context& context) {
  const Syntax verb =
      add_noun(model, context, "canary", "Gives a version a share; only the base version gives or takes");
  const auto options = add_step(verb);
  add_percent(verb, *options, "Its share")->required();
  verb.footer(
      "The base is the ACTIVE version with the largest share other than this one, else the default.\n"
      "Percentages: 10, 10%, 0.5, down to 0.0001.");
  verb.callback([&context, options] {
    const Workspace workspace{context};
    write_change_of_weights(context, run(workspace, canary_share, *options));
  });
}

void add_rollback(Syntax model, Context& context) {
  const Syntax verb =
      add_noun(model, context, "rollback", "Takes back a task's last change of weights, or one version");
  const auto options = std::make_shared<RollbackOptions>();
  add_text(verb, "task", options->subject,
           "TASK: every key gets the version it had; ID: that version to 0 %, DEPRECATED")
      ->required()
      ->type_name("TASK|ID");
  verb.add_option(
          "--to", [options](const std::string& revision) { options->revision = revision_argument("--to", revision); },
          "Back to this revision of the task (default: the one before the last change of weights)")
      ->type_name("REVISION");
  add_change_options(verb, options->change);
  verb.callback([&context, options] {
    const Workspace workspace{context};
    write_change_of_weights(context, roll_back(workspace, *options));
  });
}

void add_status_step(Syntax model, Context& context, const char* name, const char* description, Verb step) {
  const Syntax verb = add_noun(model, context, name, description);
  const auto options = add_step(verb);
  verb.callback([&context, options, step] {
    const Workspace workspace{context};
    write_change_of_version(context, run(workspace, step, *options));
  });
}

}  // namespace

void add_model_changes(Syntax model, Context& context) {
  add_promote(model, context);
  add_canary(model, context);
  add_rollback(model, context);
  add_status_step(model, context, "deprecate", "Steps a version without traffic down to DEPRECATED", deprecate);
  add_status_step(model, context, "archive", "Puts a DEPRECATED version out of use for good", archive);
}

}  // namespace canary::cli
