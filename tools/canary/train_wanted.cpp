#include "train_wanted.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/tuner.hpp"
#include "failure.hpp"
#include "file_bytes.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

double positive_argument(std::string_view option, const std::string& text, double most) {
  if (text.empty()) return 0;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size() || !(value > 0))
    throw Failure{Exit::usage, std::string{option} + " is no number above 0"};
  if (value > most)
    throw Failure{Exit::usage, std::string{option} + " is above " + thousands(static_cast<std::uint64_t>(most)),
                  "choose a smaller one"};
  return value;
}

/// Values that a grader's file holds; the provider knows what they mean.
std::string grader_argument(const std::string& path) {
  if (path.empty()) return {};
  const std::string text = text_of_file(path, std::size_t{1} << 20);
  json::error_code error;
  const json::value value = json::parse(json::string_view{text.data(), text.size()}, error);
  if (error || !value.is_object())
    throw Failure{Exit::invalid_input, path + " holds no JSON object", "--grader names a file with the grader"};
  return json::serialize(value);
}

std::string type_of(std::optional<DatasetFormat> format) {
  return format == DatasetFormat::dpo             ? "dpo"
         : format == DatasetFormat::reinforcement ? "reinforcement"
         : format                                 ? "supervised"
                                                  : "";
}

/// What a first line looks like; nothing where only the preflight can tell.
std::optional<DatasetFormat> format_of_first_line(const std::string& path) {
  std::string line(std::size_t{1} << 20, '\0');
  std::ifstream file{path, std::ios::binary};
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, file.gcount())));
  line.resize(std::min(line.size(), line.find('\n')));
  json::error_code error;
  const json::value value = json::parse(json::string_view{line.data(), line.size()}, error);
  const json::object* example = error ? nullptr : value.if_object();
  if (example == nullptr) return {};
  if (example->contains("preferred_output")) return DatasetFormat::dpo;
  const json::value* messages = example->if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->get_array().empty()) return {};
  const json::object* last = messages->get_array().back().if_object();
  const json::value* role = last == nullptr ? nullptr : last->if_contains("role");
  if (role == nullptr || !role->is_string()) return {};
  if (role->get_string() == "assistant") return DatasetFormat::chat;
  return {};  // a question alone may be for a grader, or a fault
}

/// Options that go with one method alone.
void check_method(const Job& job) {
  const TrainingMethod& method = job.method;
  if (method.type == "reinforcement" && method.grader.empty())
    throw Failure{Exit::usage, "reinforcement needs a grader", "--grader FILE, with the grader as a JSON object"};
  if (method.type != "reinforcement" && !method.grader.empty())
    throw Failure{Exit::usage, "--grader is for reinforcement alone", "leave it out, or see --format"};
  if (method.type != "dpo" && method.beta != 0)
    throw Failure{Exit::usage, "--beta is for preferences (dpo) alone", "leave it out"};
}

/// Ranges that OpenAI and Azure have.
void check_ranges(ProviderKind kind, const TrainingMethod& method) {
  if (kind != ProviderKind::openai && kind != ProviderKind::azure) return;
  const auto most = [](const char* option, std::uint32_t value, std::uint32_t limit) {
    if (value > limit)
      throw Failure{Exit::usage, std::string{option} + ' ' + std::to_string(value) + " is more than the provider takes",
                    "1 to " + std::to_string(limit)};
  };
  most("--epochs", method.epochs, 50);
  most("--batch-size", method.batch_size, 256);
  if (method.beta > 2) throw Failure{Exit::usage, "--beta is more than the provider takes", "above 0, and at most 2"};
}

/// A pipe gives its bytes once, and they are read twice: to be checked, and to be sent.
void check_file(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error || fs::is_regular_file(status) || fs::is_directory(status)) return;  // the preflight has words for these
  std::string shown;
  append_visible(shown, path);
  throw Failure{Exit::invalid_input, shown + " is no regular file", "write the examples into one: they are read twice"};
}

}  // namespace

Job wanted_job(const Workspace& workspace, const FineTuneConfig& settings, ProviderKind kind,
               const StartOptions& options) {
  (void)workspace.task(options.task);
  if (settings.base_model.empty())
    throw Failure{Exit::invalid_input, "no base model to train",
                  "set fine_tune.base_model in " + workspace.config_file + ", or AI_FT_BASE_MODEL"};
  if (options.suffix.size() > 64) throw Failure{Exit::usage, "--suffix is longer than 64 characters", "shorten it"};
  const ChangeOptions change = options.change.options();
  Job job;
  job.task = options.task;
  job.provider = settings.provider;
  job.base_model = settings.base_model;
  job.prompt_version = settings.prompt_version;
  job.suffix = options.suffix;
  job.method.epochs = options.preflight.epochs;
  job.method.batch_size = options.batch_size;
  job.method.learning_rate_multiplier = positive_argument("--learning-rate", options.learning_rate, 1e6);
  job.method.beta = positive_argument("--beta", options.beta, 1e6);
  job.method.seed = options.seed;
  job.actor = change.actor;
  job.note = change.note;
  check_ranges(kind, job.method);
  check_wanted(job);
  check_file(options.train);
  if (!options.validation.empty()) check_file(options.validation);
  job.method.grader = grader_argument(options.grader);
  const std::string& format = options.preflight.format;
  job.method.type = type_of(format.empty() ? format_of_first_line(options.train) : parse_dataset_format(format));
  if (!job.method.type.empty()) check_method(job);
  job.training_file = fs::absolute(options.train).lexically_normal().string();
  if (!options.validation.empty()) job.validation_file = fs::absolute(options.validation).lexically_normal().string();
  return job;
}

void take_in_report(Job& job, const DatasetReport& report) {
  if (report.format) job.method.type = type_of(report.format);
  if (job.method.type.empty()) job.method.type = "supervised";  // data of a shape that a program of one's own knows
  job.training_file_hash = report.training_sha256;
  if (!job.validation_file.empty()) job.validation_file_hash = report.validation_sha256;
  check_method(job);
}

namespace {

/// True where nothing but the file's bytes could make them differ.
bool may_be_same(const Job& job, const Job& wanted) {
  return job.id != wanted.id && job.base_model == wanted.base_model && job.provider == wanted.provider &&
         job.prompt_version == wanted.prompt_version;
}

}  // namespace

std::optional<Job> same_open_job(Store& store, const Job& wanted) {
  for (Job& job : store.jobs({.task = wanted.task, .open = true}))
    if (may_be_same(job, wanted) && job.training_file_hash == wanted.training_file_hash) return std::move(job);
  return {};
}

void refuse_for(const Job& other) {
  throw Failure{Exit::conflict, "job " + other.id + " trains " + other.base_model + " on the same file already",
                "canary train watch " + other.id + " follows it; --again starts another one beside it"};
}

void refuse_second(Store& store, Job wanted) {
  const std::vector<Job> open = store.jobs({.task = wanted.task, .open = true});
  if (std::none_of(open.begin(), open.end(), [&](const Job& job) { return may_be_same(job, wanted); })) return;
  try {
    wanted.training_file_hash = hash_of_file(wanted.training_file);
  } catch (const std::system_error&) {
    return;  // the preflight says what is wrong with it
  }
  for (const Job& job : open)
    if (may_be_same(job, wanted) && job.training_file_hash == wanted.training_file_hash) refuse_for(job);
}

}  // namespace canary::cli
