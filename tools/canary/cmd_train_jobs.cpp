// canary train start|status|watch|cancel: fine-tune jobs, from the data file to the candidate version.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/dataset.hpp"
#include "canary/control/job_step.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/tuner.hpp"
#include "guard_view.hpp"
#include "interrupt.hpp"
#include "job_view.hpp"
#include "output.hpp"
#include "providers.hpp"
#include "train_drive.hpp"
#include "train_jobs.hpp"
#include "train_report.hpp"
#include "train_wanted.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

[[nodiscard]] Job found_job(Store& store, const std::string& id) {
  if (std::optional<Job> job = store.find_job(id)) return *std::move(job);
  std::string shown;
  append_visible(shown, id.substr(0, 64));
  throw Failure{Exit::not_found, "no job \"" + shown + '"', "canary train status lists them"};
}

/// How a command ends that has seen a job to its end.
[[nodiscard]] Exit exit_of(const Job& job) {
  if (job.status == JobStatus::failed) return Exit::provider;
  if (job.status == JobStatus::cancelled) return Exit::failed;
  return Exit::done;
}

// --- start -----------------------------------------------------------------------------------------------------------

/// What stands in the file, and what the environment says instead.
FineTuneConfig settings_of(Config config) {
  apply_environment(config, [](const char* name) { return std::getenv(name); });
  return std::move(config.fine_tune);
}

void warn_of_cost(const FineTuneConfig& settings, const Estimate& estimate) {
  if (estimate.cost_usd || settings.cost_max_usd <= 0) return;
  std::string model;
  append_visible(model, settings.base_model);
  warn("nobody knows what this will cost, so cost_max_usd does not hold: no price of " + model +
       " in [fine_tune.price_per_million_usd]");
}

void write_started(Context& context, const Job& job, const Estimate& estimate, bool dry_run) {
  if (context.json) {
    json::object document{{"job", job_document(job)}, {"estimate", estimate_document(estimate)}};
    if (dry_run) document["dry_run"] = true;
    return write_document(context.out, std::move(document));
  }
  write_job(context.out, job);
  context.out.write("estimate          " + estimate_words(estimate) + '\n');
  if (dry_run)
    context.out.write("dry run: nothing was sent or stored\n");
  else if (!has_ended(job.status))
    context.out.write("canary train watch " + job.id + " follows it to its end, and registers its version\n");
}

/// Of two starts at once, that both looked before either was stored, one gives way: to a job that is older, or whose start has
/// written down that it saw no other. Such a mark is a row's second revision.
/// Errors  Failure conflict; the job is closed then, and nothing was sent.
void give_way(Desk& desk, Job& job) {
  const auto older = [&job](const Job& other) {
    return std::tie(other.created_at_us, other.id) < std::tie(job.created_at_us, job.id);
  };
  constexpr int most_looks = 100;
  for (int looks = 0; looks != most_looks; ++looks) {
    const std::optional<Job> other = same_open_job(desk.store(), job);
    if (!other) break;
    if (older(*other) || other->revision > 1) {
      desk.tuner().ask_cancel(job);
      (void)desk.tuner().step(job);
      refuse_for(*other);
    }
    wait_for(20);  // it is about to mark its row, or to give way
  }
  (void)desk.tuner().renew(job);
}

[[nodiscard]] Failure with_open_job(const Failure& failure, const Job& job) {
  return Failure{failure.exit, failure.what(),
                 failure.hint + (failure.hint.empty() ? "" : "; ") + "job " + job.id +
                     " stays open: canary train watch " + job.id + " goes on with it"};
}

void start(Context& context, const StartOptions& options) {
  const Workspace workspace{context};
  const FineTuneConfig settings = settings_of(workspace.config);
  PreflightOptions preflight = options.preflight;
  preflight.provider = provider_config(workspace.config, settings.provider).kind;
  Job job = wanted_job(workspace, settings, preflight.provider, options);
  Desk desk{workspace, options.ca_file};
  if (!options.change.dry_run) (void)desk.provider_of(job);  // a key that is missing is told before anything is read
  if (!options.again) refuse_second(*workspace.store, job);
  const DatasetReport report = run_preflight(settings, options.train, options.validation, preflight);
  if (!report.ok) return refuse_dataset(context, report);
  warn_of_dataset(report);
  warn_of_cost(settings, report.estimate);
  take_in_report(job, report);
  job.id = desk.new_id();
  if (!options.again) {
    if (const std::optional<Job> other = same_open_job(*workspace.store, job)) refuse_for(*other);
  }
  if (options.change.dry_run) {
    job.created_at_us = Registry::system_time();
    return write_started(context, job, report.estimate, true);
  }
  const Interrupts interrupts;
  std::vector<Job> jobs{std::move(job)};
  desk.tuner().add(jobs.front());
  std::string what_to_do;
  try {
    if (!options.again) give_way(desk, jobs.front());
    what_to_do = drive(desk, jobs, options.watch, false);
  } catch (const Interrupted&) {
    tell(jobs.front(), "stays open: canary train watch " + jobs.front().id + " goes on with it");
    throw;
  } catch (const Failure& failure) {
    if (failure.exit == Exit::conflict) throw;  // it has given way
    throw with_open_job(failure, jobs.front());
  }
  const Job& done = jobs.front();
  if (done.status == JobStatus::failed)
    throw Failure{
        Exit::provider, "job " + done.id + " failed: " + done.error,
        what_to_do.empty() && done.provider_job_id.empty() ? "nothing was started at the provider" : what_to_do};
  write_started(context, done, report.estimate, false);
  context.exit = options.watch ? exit_of(done) : Exit::done;
}

// --- status ----------------------------------------------------------------------------------------------------------

struct JobOptions {
  std::string id;
  std::string ca_file;
  std::string task;
  bool offline = false;
  bool all = false;
};

/// Asks the provider once. A job that has succeeded gets its version by this. What is wrong with one job is told, and the
/// others are shown all the same.
/// Errors  StoreError for a store that cannot be reached.
void refresh(Desk& desk, Job& job) {
  if (job.phase != JobPhase::following) return;
  const auto tell_trouble = [&job](const std::string& words, const std::string& hint) {
    std::string line = "job " + job.id + " is as it was known last: ";
    append_visible(line, words + (hint.empty() ? "" : "; ") + hint);
    warn(line);
  };
  try {
    const JobNews news = desk.tuner().step(job);
    if (news.trouble == ProviderErrc::cancelled)
      tell_trouble("its provider does not answer", "--offline asks nobody");
    else if (news.trouble || news.lasting)
      tell_trouble(news.words, news.hint);
  } catch (const StoreError& error) {
    if (error.code == StoreErrc::unreachable) throw;
    tell_trouble(error.what(), error.hint);
  } catch (const RegistryError& error) {
    tell_trouble(error.what(), error.hint);
  }
}

/// When the models that came of jobs are shut down, by job; a date that is near is warned of.
class Shutdowns {
 public:
  Shutdowns(const Workspace& workspace, const std::vector<Job>& jobs) {
    std::map<std::string, VersionFilter, std::less<>> numbers;
    for (const Job& job : jobs)
      if (job.version != 0) numbers[job.task].numbers.push_back(job.version);
    for (auto& [task, filter] : numbers) {
      std::sort(filter.numbers.begin(), filter.numbers.end());
      for (const ModelVersion& row : workspace.store->load(task, filter).versions)
        if (!row.shutdown_date.empty()) dates_[row.lineage.job] = row.shutdown_date;
    }
    for (const Job& job : jobs) warn_if_near(job, workspace.config.alerts.shutdown_days);
  }
  [[nodiscard]] std::string_view of(const Job& job) const {
    const auto at = dates_.find(job.id);
    return at == dates_.end() ? std::string_view{} : std::string_view{at->second};
  }

 private:
  void warn_if_near(const Job& job, std::uint32_t near_days) const {
    const std::optional<TimeUs> date = date_us(of(job));
    if (!date) return;
    constexpr TimeUs day_us = TimeUs{86'400} * 1'000'000;
    const TimeUs left_days = (*date - Registry::system_time()) / day_us;
    if (left_days > TimeUs{near_days}) return;
    std::string line = version_id(job.task, job.version) + ": its model ";
    append_visible(line, job.model);
    warn(line + (*date <= Registry::system_time() ? " was" : " is") + " shut down on " + std::string{of(job)} +
         "; train on a base model that lives on");
  }

  std::map<std::string, std::string, std::less<>> dates_;
};

void write_one(Context& context, const Workspace& workspace, const Job& job) {
  const Shutdowns shutdowns{workspace, {job}};
  if (context.json)
    write_document(context.out, json::object{{"job", job_document(job, shutdowns.of(job))}});
  else
    write_job(context.out, job, shutdowns.of(job));
}

void write_all(Context& context, const Workspace& workspace, const std::vector<Job>& jobs, const std::string& none) {
  const Shutdowns shutdowns{workspace, jobs};
  if (context.json) {
    json::array documents;
    for (const Job& job : jobs) documents.push_back(job_document(job, shutdowns.of(job)));
    return write_document(context.out, json::object{{"jobs", std::move(documents)}});
  }
  if (jobs.empty()) return context.out.write(none + '\n');
  jobs_table(jobs).write(context.out);
}

/// Who looks a job up does not wait for long.
constexpr std::chrono::seconds status_patience{10};

void status(Context& context, const JobOptions& options) {
  const Workspace workspace{context};
  Desk desk{workspace, options.ca_file};
  const CallEnder ender{desk.providers(), status_patience};
  if (!options.id.empty()) {
    Job job = found_job(*workspace.store, options.id);
    if (!options.offline) refresh(desk, job);
    write_one(context, workspace, job);
    if (!context.json && wants_hold(next_step(job)))
      context.out.write("the provider does not have it yet: canary train watch " + job.id + " goes on with it\n");
    return;
  }
  if (!options.task.empty()) (void)workspace.task(options.task);
  std::vector<Job> jobs = workspace.store->jobs({.task = options.task});
  if (!options.offline)
    for (Job& job : jobs) refresh(desk, job);
  write_all(context, workspace, jobs, "no job so far: canary train start TASK FILE begins one");
}

// --- watch, cancel ---------------------------------------------------------------------------------------------------

void watch(Context& context, const JobOptions& options) {
  const Workspace workspace{context};
  Desk desk{workspace, options.ca_file};
  const Interrupts interrupts;
  std::vector<Job> jobs;
  if (!options.id.empty())
    jobs.push_back(found_job(*workspace.store, options.id));
  else
    jobs = workspace.store->jobs({.open = true});
  (void)drive(desk, jobs, true, true);
  if (options.id.empty()) return write_all(context, workspace, jobs, "no job is open");
  write_one(context, workspace, jobs.front());
  context.exit = exit_of(jobs.front());
}

/// Tells the provider, as long as that does not take long.
/// Errors  Interrupted.
JobNews cancel_now(Desk& desk, Job& job) {
  const CallEnder ender{desk.providers()};
  JobNews news;
  for (int tries = 0; tries != 4 && job.phase != JobPhase::closed; ++tries) {
    news = desk.tuner().step(job);
    if (job.phase != JobPhase::closed) Interrupts::check();  // it has ended the call: no trouble of the provider's
    if (news.kind == JobNews::Kind::held || news.trouble) break;
    if (news.kind == JobNews::Kind::waits) wait_for(std::min<std::uint32_t>(news.wait_ms, 1'000));
  }
  return news;
}

void cancel(Context& context, const JobOptions& options) {
  const Workspace workspace{context};
  Desk desk{workspace, options.ca_file};
  const Interrupts interrupts;
  Job job = found_job(*workspace.store, options.id);
  if (job.phase == JobPhase::following && !has_ended(job.status)) {  // it may have ended meanwhile
    const CallEnder ender{desk.providers()};
    const bool asked = job.cancel_asked;  // by a call before this, whose wish the provider did not take
    refresh(desk, job);
    if (asked && job.phase == JobPhase::closed && job.status == JobStatus::cancelled)
      return write_one(context, workspace, job);
    Interrupts::check();
  }
  desk.tuner().ask_cancel(job);
  context.committed = "the wish is stored: canary train watch " + job.id + " tells the provider";
  JobNews news;
  try {
    news = cancel_now(desk, job);
  } catch (const Interrupted&) {
    tell(job, context.committed);
    desk.tuner().release(job);
    throw;
  }
  desk.tuner().release(job);
  if (news.trouble && job.phase != JobPhase::closed)
    throw Failure{Exit::provider, "job " + job.id + " is not cancelled yet: " + news.words, news.hint};
  write_one(context, workspace, job);
  if (!context.json && !has_ended(job.status))
    context.out.write("it is to be cancelled, and the provider is not done with that: canary train watch " + job.id +
                      '\n');
}

// --- command line ----------------------------------------------------------------------------------------------------

void add_ca_file(Syntax verb, std::string& target) {
  add_text(verb, "--ca-file", target, "Certificates to trust (default: SSL_CERT_FILE, else the system's)")
      ->type_name("FILE");
}

void add_start(Syntax train, Context& context) {
  const Syntax verb = add_noun(train, context, "start", "Checks the data, then starts a fine-tune job");
  const auto options = std::make_shared<StartOptions>();
  add_text(verb, "task", options->task, "Task that the model is for")->required()->type_name("TASK");
  add_text(verb, "train", options->train, "Training data, JSONL")->required()->must_not_be_empty()->type_name("TRAIN");
  add_text(verb, "validation", options->validation, "Validation data, JSONL")->must_not_be_empty()->type_name("VAL");
  add_preflight_options(verb, options->preflight);
  add_text(verb, "--suffix", options->suffix, "Part of the new model's name, at most 64 characters")->type_name("TEXT");
  verb.add_option("--batch-size", options->batch_size, "Examples a step (default: the provider's choice)")
      ->at_least_one()
      ->type_name("N");
  add_text(verb, "--learning-rate", options->learning_rate, "Multiplier of the learning rate (default: the provider's)")
      ->type_name("X");
  add_text(verb, "--beta", options->beta, "For preferences (dpo)")->type_name("X");
  add_text(verb, "--grader", options->grader, "For reinforcement: a file with the grader, a JSON object")
      ->type_name("FILE");
  verb.add_option(
          "--seed",
          [options](const std::string& text) {
            options->seed = static_cast<std::uint32_t>(count_argument("--seed", text, 0, 0x7FFF'FFFF));
          },
          "Makes a training repeatable, as far as the provider can; 0 to 2147483647")
      ->type_name("N");
  verb.add_flag("--again", options->again, "Although an open job trains on the same file");
  verb.add_flag("--watch", options->watch, "Follows the job to its end");
  add_ca_file(verb, options->ca_file);
  add_change_options(verb, options->change);
  verb.footer(
      "Provider, base model and prompt version stand in [fine_tune]; AI_FT_PROVIDER, AI_FT_BASE_MODEL and\n"
      "AI_FT_PROMPT_VERSION go before it. The job is stored before anything is sent: whatever dies, canary train "
      "watch\n"
      "goes on with it, and there is one job at the provider and one version in the end. Success registers a "
      "CANDIDATE\n"
      "at 0 %.");
  verb.callback([&context, options] { start(context, *options); });
}

}  // namespace

void add_train_jobs(Syntax train, Context& context) {
  add_start(train, context);
  {
    const Syntax verb = add_noun(train, context, "status", "Shows jobs, as their providers tell them now");
    const auto options = std::make_shared<JobOptions>();
    add_text(verb, "job", options->id, "Job (default: all)")->must_not_be_empty()->type_name("JOB");
    add_text(verb, "--task", options->task, "Only this task's")->type_name("TASK");
    verb.add_flag("--offline", options->offline, "Only what is stored: no provider is asked");
    add_ca_file(verb, options->ca_file);
    verb.callback([&context, options] { status(context, *options); });
  }
  {
    const Syntax verb = add_noun(train, context, "watch", "Follows jobs to their end, after a crash too");
    const auto options = std::make_shared<JobOptions>();
    add_text(verb, "job", options->id, "Job (default: every open one)")->must_not_be_empty()->type_name("JOB");
    add_ca_file(verb, options->ca_file);
    verb.footer(
        "What the providers say is told on stderr as it comes. The exit code of a single job: 0 SUCCEEDED, 6 FAILED,\n"
        "1 CANCELLED.");
    verb.callback([&context, options] { watch(context, *options); });
  }
  const Syntax verb = add_noun(train, context, "cancel", "Cancels a job");
  const auto options = std::make_shared<JobOptions>();
  add_text(verb, "job", options->id, "Job")->required()->must_not_be_empty()->type_name("JOB");
  add_ca_file(verb, options->ca_file);
  verb.callback([&context, options] { cancel(context, *options); });
}

}  // namespace canary::cli
