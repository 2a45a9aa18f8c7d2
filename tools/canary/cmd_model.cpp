// canary model register|list|show: the versions of tasks. cmd_model_change.cpp moves traffic between them.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/percent.hpp"
#include "change_view.hpp"
#include "job_view.hpp"
#include "registry_view.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct RegisterOptions {
  std::string task;
  NewVersion version;
  ChangeArguments change;
};

void register_version(Context& context, const RegisterOptions& options) {
  const Workspace workspace{context};
  const TaskConfig& task = workspace.task(options.task);
  NewVersion wanted = options.version;
  wanted.note = options.change.note;
  Registry registry{*workspace.store};
  const ChangeOptions change = options.change.options();
  write_change_of_version(context, {task, registry.register_version(task.name, wanted, change), change.dry_run});
}

// --- list ------------------------------------------------------------------------------------------------------------

json::object task_document(const TaskRecord& record, const TaskConfig* config) {
  json::array versions;
  versions.reserve(record.versions.size());
  for (const ModelVersion& row : record.versions) versions.push_back(version_document(record.name, row));
  return {{"task", json_text(record.name)},
          {"revision", record.revision},
          {"default_model", json_text(config == nullptr ? std::string_view{} : config->default_model)},
          {"default_weight_ppm", weight_in(record.partition, default_owner)},
          {"versions", std::move(versions)}};
}

void write_task(Context& context, const TaskRecord& record, const TaskConfig* config) {
  std::string heading = record.name + "  revision " + std::to_string(record.revision) + ", ";
  heading += percent_text(weight_in(record.partition, default_owner)) + " % to the default";
  if (config == nullptr)
    heading += "; not in the configuration";
  else if (!config->default_model.empty())
    heading += ", " + cell(config->default_model);
  context.out.write(coloured(1, "1", heading) + '\n');
  if (record.versions.empty())
    return context.out.write("no versions yet: canary model register " + record.name + " MODEL\n");
  Table table;
  table.row({"VERSION", "MODEL", "PROVIDER", "STATUS", "SHARE", "CREATED", "SHUTDOWN", "NOTE"});
  for (const ModelVersion& row : record.versions)
    table.row({version_id(record.name, row.number), cell(row.model), cell(row.provider, 16),
               std::string{to_string(row.status)}, percent_text(row.weight_ppm) + " %", time_cell(row.created_at_us),
               row.shutdown_date, cell(row.note)});
  table.write(context.out);
}

/// In the order of the configuration; those that the store alone knows come last.
std::vector<std::string> listed_tasks(const Workspace& workspace) {
  std::vector<std::string> names;
  std::set<std::string_view> known;
  for (const TaskConfig& task : workspace.config.tasks) {
    names.push_back(task.name);
    known.insert(task.name);
  }
  for (std::string& name : workspace.store->tasks())
    if (!known.contains(name)) names.push_back(std::move(name));
  return names;
}

void list(Context& context, const std::optional<std::string>& wanted) {
  const Workspace workspace{context};
  const std::vector<std::string> names =
      wanted ? std::vector<std::string>{workspace.task(*wanted).name} : listed_tasks(workspace);
  json::array documents;
  for (const std::string& name : names) {
    const TaskRecord record = workspace.store->load(name, {.all = true});
    const TaskConfig* config = workspace.config.find_task(name);
    if (context.json) {
      documents.push_back(task_document(record, config));
      continue;
    }
    if (name != names.front()) context.out.write("\n");
    write_task(context, record, config);
  }
  if (context.json) write_document(context.out, json::object{{"tasks", std::move(documents)}});
}

// --- show ------------------------------------------------------------------------------------------------------------

/// True if the change had to do with the version.
bool concerns(const PastChange& change, std::uint32_t number) {
  const auto& statuses = change.row.status_changes;
  return change.row.number == number ||
         std::any_of(statuses.begin(), statuses.end(), [=](const StatusChange& s) { return s.number == number; }) ||
         weight_in(change.before, number) != weight_in(change.row.partition, number);
}

/// What a version's job knows beside its row: nothing for a version that came of none of ours.
std::optional<Job> job_of(Store& store, const ModelVersion& row) {
  if (row.lineage.job.empty()) return {};
  try {
    return store.find_job(row.lineage.job);
  } catch (const StoreError& error) {
    if (error.code != StoreErrc::schema_older) throw;
    return {};  // no store of that schema has jobs
  }
}

void add_lineage(json::object& version, const std::optional<Job>& job) {
  if (!job) return;
  const json::object whole = job_document(*job);
  json::object& lineage = version["lineage"].as_object();
  for (const char* key : {"provider_job_id", "training_file", "validation_file", "validation_file_hash", "method",
                          "seed", "trained_tokens", "checkpoints"})
    lineage[key] = whole.at(key);
}

void write_version(Context& context, const TaskConfig& task, const ModelVersion& row, const std::optional<Job>& job) {
  const auto line = [&context](std::string_view name, const std::string& text) {
    if (!text.empty())
      context.out.write(coloured(1, "1", std::string{name} + std::string(15 - name.size(), ' ')) + text + '\n');
  };
  constexpr std::size_t whole = 20'000;
  line("version", version_id(task.name, row.number));
  line("model", cell(row.model, whole));
  line("provider", cell(row.provider, whole));
  line("status", std::string{to_string(row.status)});
  line("share", percent_text(row.weight_ppm) + " %");
  line("created", time_cell(row.created_at_us));
  line("shutdown date", row.shutdown_date);
  line("note", cell(row.note, whole));
  line("job", cell(row.lineage.job, whole));
  line("training file", cell(row.lineage.training_file_hash, whole));
  line("base model", cell(row.lineage.base_model, whole));
  line("prompt version", cell(row.lineage.prompt_version, whole));
  if (job) {
    line("provider's job", cell(job->provider_job_id, whole));
    line("trained tokens", job->trained_tokens == 0 ? "" : thousands(job->trained_tokens));
    line("seed", job->method.seed ? std::to_string(*job->method.seed) : "");
    for (const Checkpoint& each : job->checkpoints)
      line("checkpoint", "step " + std::to_string(each.step) + ", " + cell(each.model, whole));
  }
  context.out.write("\n");
}

void show(Context& context, const std::string& id) {
  const Workspace workspace{context};
  const VersionId wanted = workspace.version(id);
  const TaskRecord record = workspace.store->load(wanted.task, {.in_play = false, .numbers = {wanted.number}});
  const ModelVersion& row = version_of(record, wanted.number);
  std::vector<PastChange> changes = past_changes(*workspace.store, wanted.task, HistoryFilter{}.newest);
  std::erase_if(changes, [&](const PastChange& change) { return !concerns(change, wanted.number); });
  const std::optional<Job> job = job_of(*workspace.store, row);
  if (context.json) {
    json::object document = version_document(wanted.task, row);
    add_lineage(document, job);
    return write_document(context.out, json::object{{"version", std::move(document)},
                                                    {"history", history_documents(wanted.task, changes)}});
  }
  write_version(context, workspace.task(wanted.task), row, job);
  history_table(changes).write(context.out);
}

// --- command line ----------------------------------------------------------------------------------------------------

void add_register(Syntax model, Context& context) {
  const Syntax verb = add_noun(model, context, "register", "Registers a model as a new CANDIDATE at 0 %");
  const auto options = std::make_shared<RegisterOptions>();
  NewVersion& version = options->version;
  add_text(verb, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_text(verb, "model", version.model, "Model, as its provider calls it")->required()->type_name("MODEL");
  add_text(verb, "--provider", version.provider, "Who serves it")->type_name("NAME");
  add_text(verb, "--shutdown-date", version.shutdown_date,
           "The provider's last day for it: no new traffic from then on")
      ->type_name("YYYY-MM-DD");
  add_text(verb, "--base-model", version.lineage.base_model, "What it was fine-tuned from")->type_name("MODEL");
  add_text(verb, "--prompt-version", version.lineage.prompt_version, "Prompt that it was trained with")
      ->type_name("NAME");
  add_text(verb, "--training-file-hash", version.lineage.training_file_hash, "Hash of what it was trained on")
      ->type_name("HASH");
  add_text(verb, "--job", version.lineage.job, "Fine-tune job that made it")->type_name("ID");
  add_change_options(verb, options->change);
  verb.callback([&context, options] { register_version(context, *options); });
}

void add_list(Syntax model, Context& context) {
  const Syntax verb = add_noun(model, context, "list", "Lists the versions of a task, or of all, with their shares");
  const auto task = std::make_shared<std::optional<std::string>>();
  const auto take = [task](const std::string& text) { *task = unprotect(text); };
  verb.add_option("task", take, "Task, as configured (default: all of them)")->type_name("TASK");
  verb.callback([&context, task] { list(context, *task); });
}

void add_show(Syntax model, Context& context) {
  const Syntax verb = add_noun(model, context, "show", "Shows one version, its lineage and its history");
  const auto id = std::make_shared<std::string>();
  add_text(verb, "id", *id, "Version, TASK@N")->required()->type_name("ID");
  verb.callback([&context, id] { show(context, *id); });
}

}  // namespace

void add_model(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "model", "Registers model versions and moves traffic between them");
  noun.require_subcommand(1);
  add_register(noun, context);
  add_list(noun, context);
  add_show(noun, context);
  add_model_changes(noun, context);
}

}  // namespace canary::cli
