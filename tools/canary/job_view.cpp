#include "job_view.hpp"

#include <string>
#include <string_view>

#include "canary/control/store.hpp"
#include "canary/control/time_text.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

json::value time_or_null(TimeUs at_us) {
  return at_us == 0 ? json::value(nullptr) : json::value(json_text(time_text(at_us)));
}

json::object method_document(const TrainingMethod& method) {
  json::object document{{"type", json_text(method.type)}};
  if (method.epochs != 0) document["n_epochs"] = method.epochs;
  if (method.batch_size != 0) document["batch_size"] = method.batch_size;
  if (method.learning_rate_multiplier != 0) document["learning_rate_multiplier"] = method.learning_rate_multiplier;
  if (method.beta != 0) document["beta"] = method.beta;
  return document;
}

}  // namespace

json::object job_document(const Job& job, std::string_view shutdown_date) {
  json::array checkpoints;
  for (const Checkpoint& each : job.checkpoints)
    checkpoints.push_back({{"model", json_text(each.model)}, {"step", each.step}});
  return {
      {"id", json_text(job.id)},
      {"task", json_text(job.task)},
      {"provider", json_text(job.provider)},
      {"provider_job_id", text_or_null(job.provider_job_id)},
      {"status", json_text(to_string(job.status))},
      {"provider_status", text_or_null(job.provider_status)},
      {"base_model", json_text(job.base_model)},
      {"prompt_version", json_text(job.prompt_version)},
      {"training_file", json_text(job.training_file)},
      {"validation_file", text_or_null(job.validation_file)},
      {"created_at", json_text(time_text(job.created_at_us))},
      {"finished_at", time_or_null(job.finished_at_us)},
      {"trained_tokens", job.trained_tokens == 0 ? json::value(nullptr) : json::value(job.trained_tokens)},
      {"error", text_or_null(job.error)},
      {"version", job.version == 0 ? json::value(nullptr) : json::value(json_text(version_id(job.task, job.version)))},
      {"model", text_or_null(job.model)},
      {"shutdown_date", text_or_null(shutdown_date)},
      {"phase", json_text(to_string(job.phase))},
      {"method", method_document(job.method)},
      {"seed", job.method.seed ? json::value(*job.method.seed) : json::value(nullptr)},
      {"training_file_hash", text_or_null(job.training_file_hash)},
      {"validation_file_hash", text_or_null(job.validation_file_hash)},
      {"checkpoints", std::move(checkpoints)},
      {"cancel_asked", job.cancel_asked},
      {"actor", json_text(job.actor)},
      {"note", json_text(job.note)}};
}

Table jobs_table(const std::vector<Job>& jobs) {
  Table table;
  table.row({"JOB", "TASK", "STATUS", "PROVIDER", "BASE MODEL", "VERSION", "CREATED", "ERROR"});
  for (const Job& job : jobs) {
    std::string status{to_string(job.status)};
    if (job.phase == JobPhase::stored || job.phase == JobPhase::creating) status += ", not sent";
    if (job.cancel_asked && !has_ended(job.status)) status += ", to be cancelled";
    table.row({cell(job.id), cell(job.task), status, cell(job.provider), cell(job.base_model, 32),
               job.version == 0 ? "-" : version_id(job.task, job.version), time_cell(job.created_at_us),
               job.error.empty() ? "-" : cell(job.error)});
  }
  return table;
}

void write_job(Output& out, const Job& job, std::string_view shutdown_date) {
  const auto line = [&out](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    std::string text{name};
    text.resize(std::max<std::size_t>(text.size() + 1, 18), ' ');
    append_visible(text, value);
    out.write(text + '\n');
  };
  line("job", job.id);
  line("task", job.task);
  line("status", to_string(job.status));
  line("provider", job.provider);
  line("provider's job", job.provider_job_id);
  line("provider's status", job.provider_status);
  line("base model", job.base_model);
  line("prompt version", job.prompt_version);
  line("training file", job.training_file);
  line("validation file", job.validation_file);
  line("created", time_text(job.created_at_us));
  if (job.finished_at_us != 0) line("finished", time_text(job.finished_at_us));
  if (job.trained_tokens != 0) line("trained tokens", thousands(job.trained_tokens));
  line("model", job.model);
  line("model's end", shutdown_date);
  if (job.version != 0)
    line("version", version_id(job.task, job.version) + ", CANDIDATE at 0 % when it was registered");
  line("error", job.error);
}

}  // namespace canary::cli
