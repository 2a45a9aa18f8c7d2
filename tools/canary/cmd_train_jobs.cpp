// canary train start|status|watch|cancel: fine-tune jobs, from the data file to the candidate version.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/process_mark.hpp"
#include "canary/control/job_step.hpp"
#include "canary/control/tuner.hpp"
#include "canary/control/tuner_follow.hpp"
#include "file_bytes.hpp"
#include "interrupt.hpp"
#include "job_view.hpp"
#include "providers.hpp"
#include "row_progress.hpp"
#include "train_jobs.hpp"
#include "train_report.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// --- what the verbs share --------------------------------------------------------------------------------------------

/// Ends early when a signal came.
void wait_for(std::uint32_t wait_ms) {
  constexpr std::chrono::milliseconds slice{50};
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{wait_ms};
  for (Interrupts::check(); std::chrono::steady_clock::now() < until; Interrupts::check())
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(slice, until - std::chrono::steady_clock::now()));
}

/// One tuner over a workspace's store and providers.
class Desk {
 public:
  Desk(const Workspace& workspace, const std::string& ca_file)
      : workspace_{workspace},
        providers_{workspace.config, ca_file},
        random_{std::random_device{}()},
        tuner_{*workspace.store, [this](const Job& job) -> Provider& { return provider_of(job); }, options()} {}

  [[nodiscard]] Tuner& tuner() noexcept { return tuner_; }
  [[nodiscard]] Store& store() noexcept { return *workspace_.store; }
  [[nodiscard]] Provider& provider_of(const Job& job) { return providers_.of(job.provider); }
  [[nodiscard]] Providers& providers() noexcept { return providers_; }

  /// Job ids tell their age and say nothing else; lower case, since some providers take them into a model's name.
  [[nodiscard]] std::string new_id() {
    std::string digits;
    for (const char c : time_text(Registry::system_time()).substr(0, 19))
      if (c >= '0' && c <= '9') digits += c;
    constexpr std::string_view letters = "0123456789abcdefghijkmnpqrstuvwxyz";
    std::string id = "ft-" + digits.substr(0, 8) + '-' + digits.substr(8) + '-';
    for (int i = 0; i != 8; ++i) id += letters[random_() % letters.size()];
    return id;
  }

 private:
  [[nodiscard]] TunerOptions options() {
    TunerOptions made;
    made.holder = process_mark();
    made.is_gone = [](const std::string& holder) { return process_is_gone(holder); };
    made.hash_file = [](const std::string& path) { return hash_of_file(path); };
    made.draw = [this] { return std::uniform_real_distribution<double>{0, 1}(random_); };
    made.settle_ms = [this](const Job& job) {
      const ProviderConfig* found = workspace_.config.find_provider(job.provider);
      return found == nullptr ? ProviderConfig{}.settle_ms : found->settle_ms;
    };
    return made;
  }

  const Workspace& workspace_;
  Providers providers_;
  std::mt19937_64 random_;
  Tuner tuner_;
};

/// Ends a provider's call when a signal comes: one may take half a minute, and an upload an hour.
class CallEnder {
 public:
  explicit CallEnder(Providers& providers) : thread_{[this, &providers] { watch(providers); }} {}
  CallEnder(const CallEnder&) = delete;
  CallEnder& operator=(const CallEnder&) = delete;
  ~CallEnder() {
    {
      const std::lock_guard lock{mutex_};
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void watch(Providers& providers) {
    std::unique_lock lock{mutex_};
    while (!changed_.wait_for(lock, std::chrono::milliseconds{50}, [this] { return over_; }))
      if (Interrupts::pending()) providers.cancel();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // begins when the rest is there
};

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

void tell(const Job& job, std::string_view words) {
  std::string line = job.id + ": ";
  append_visible(line, words);
  std::fputs((line + '\n').c_str(), stderr);
}

/// Says on stderr what is new, once each.
class Teller {
 public:
  void news(const Job& job, const JobNews& news) {
    std::string words = news.words;
    if (!news.hint.empty()) words += "; " + news.hint;
    if (words.empty() && news.kind != JobNews::Kind::waits) words = std::string{to_string(job.status)};
    if (words.empty()) words = job.provider_status;
    std::string& last = last_[job.id];
    if (!words.empty() && words != last) tell(job, words);
    last = std::move(words);
  }
  /// What the provider says happened, as far as it was not told before.
  void events(const Job& job, Provider& provider) {
    if (job.provider_job_id.empty()) return;
    std::string& after = after_[job.id];
    try {
      for (const JobEvent& event : provider.events(job.provider_job_id, after)) {
        tell(job, (event.level.empty() || event.level == "info" ? "" : event.level + ": ") + event.message);
        after = event.id;
      }
    } catch (const ProviderError&) {  // NOLINT(bugprone-empty-catch): they are asked for again with the next poll
    }
  }

 private:
  std::map<std::string, std::string, std::less<>> last_;
  std::map<std::string, std::string, std::less<>> after_;
};

// --- start -----------------------------------------------------------------------------------------------------------

struct StartOptions {
  std::string task;
  std::string train;
  std::string validation;
  std::string ca_file;
  std::string suffix;
  std::string grader;
  std::string learning_rate;
  std::string beta;
  std::optional<std::uint32_t> seed;
  std::uint32_t batch_size = 0;
  PreflightOptions preflight;
  ChangeArguments change;
  bool again = false;
  bool watch = false;
};

double positive_argument(std::string_view option, const std::string& text) {
  if (text.empty()) return 0;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size() || !(value > 0) || value > 1e6)
    throw Failure{Exit::usage, std::string{option} + " is no number above 0"};
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

/// What stands in the file, and what the environment says instead.
FineTuneConfig settings_of(Config config) {
  apply_environment(config, [](const char* name) { return std::getenv(name); });
  return std::move(config.fine_tune);
}

Job wanted_job(const FineTuneConfig& settings, const StartOptions& options, const DatasetReport& report) {
  const ChangeOptions change = options.change.options();
  Job job;
  job.task = options.task;
  job.provider = settings.provider;
  job.base_model = settings.base_model;
  job.prompt_version = settings.prompt_version;
  job.suffix = options.suffix;
  job.method.type = report.format == DatasetFormat::dpo             ? "dpo"
                    : report.format == DatasetFormat::reinforcement ? "reinforcement"
                                                                    : "supervised";
  job.method.epochs = options.preflight.epochs;
  job.method.batch_size = options.batch_size;
  job.method.learning_rate_multiplier = positive_argument("--learning-rate", options.learning_rate);
  job.method.beta = positive_argument("--beta", options.beta);
  job.method.grader = grader_argument(options.grader);
  job.method.seed = options.seed;
  job.training_file = fs::absolute(options.train).lexically_normal().string();
  job.training_file_hash = report.training_sha256;
  if (!options.validation.empty()) {
    job.validation_file = fs::absolute(options.validation).lexically_normal().string();
    job.validation_file_hash = report.validation_sha256;
  }
  job.actor = change.actor;
  job.note = change.note;
  if (job.method.type == "reinforcement" && job.method.grader.empty())
    throw Failure{Exit::usage, "reinforcement needs a grader", "--grader FILE, with the grader as a JSON object"};
  if (job.method.type != "dpo" && job.method.beta != 0)
    throw Failure{Exit::usage, "--beta is for preferences (dpo) alone", "leave it out"};
  return job;
}

/// Saying it twice must not pay twice.
void refuse_second(Store& store, const Job& wanted) {
  for (const Job& job : store.jobs({.task = wanted.task, .open = true})) {
    if (job.training_file_hash != wanted.training_file_hash || job.base_model != wanted.base_model ||
        job.provider != wanted.provider || job.prompt_version != wanted.prompt_version)
      continue;
    throw Failure{Exit::conflict, "job " + job.id + " trains " + job.base_model + " on the same file already",
                  "canary train watch " + job.id + " follows it; --again starts another one beside it"};
  }
}

void check_settings(const Workspace& workspace, const FineTuneConfig& settings, const StartOptions& options) {
  (void)workspace.task(options.task);
  if (settings.base_model.empty())
    throw Failure{Exit::invalid_input, "no base model to train",
                  "set fine_tune.base_model in " + workspace.config_file + ", or AI_FT_BASE_MODEL"};
  if (options.suffix.size() > 64) throw Failure{Exit::usage, "--suffix is longer than 64 characters", "shorten it"};
  if (options.seed.value_or(0) > 0x7FFF'FFFFU)
    throw Failure{Exit::usage, "--seed is above 2147483647", "choose a smaller one"};
}

void write_started(Context& context, const Job& job, bool dry_run) {
  if (context.json) {
    json::object document{{"job", job_document(job)}};
    if (dry_run) document["dry_run"] = true;
    return write_document(context.out, std::move(document));
  }
  write_job(context.out, job);
  if (dry_run)
    context.out.write("dry run: nothing was sent or stored\n");
  else if (!has_ended(job.status))
    context.out.write("canary train watch " + job.id + " follows it to its end, and registers its version\n");
}

/// Until the provider has the job, or `to_the_end` until it has ended. Before the provider has it, one that cannot be reached
/// is waited for by the `patient` alone: its adapter has tried several times by then.
/// Output  what to do about the last trouble; may be empty.
std::string drive(Desk& desk, std::vector<Job>& jobs, bool to_the_end, bool patient) {
  const CallEnder ender{desk.providers()};
  Teller teller;
  RowProgress progress{"bytes sent"};
  std::optional<Failure> failure;
  std::string hint;
  FollowHooks hooks;
  hooks.wait = [](std::uint32_t wait_ms) {
    wait_for(wait_ms);
    return true;
  };
  hooks.progress = [&progress](std::uint64_t sent, std::uint64_t total) { progress.update_of(sent, total); };
  hooks.on_store = [](const StoreError& error) {
    warn("the store cannot be reached: " + std::string{error.what()} + "; it is tried again");
    return error.code == StoreErrc::unreachable;
  };
  hooks.on_news = [&](const Job& job, const JobNews& news) {
    if (news.trouble != ProviderErrc::cancelled) teller.news(job, news);
    if (to_the_end) teller.events(job, desk.provider_of(job));
    if (news.trouble) hint = news.hint;
    const bool away = news.trouble == ProviderErrc::unavailable || news.trouble == ProviderErrc::limited;
    const bool give_up = news.trouble == ProviderErrc::denied || (away && job.phase == JobPhase::stored && !patient);
    if (give_up && news.kind != JobNews::Kind::closed) {
      failure.emplace(Exit::provider, news.words, news.hint);
      return false;
    }
    const bool sent = job.phase == JobPhase::following || job.phase == JobPhase::closed;
    return to_the_end || !sent;
  };
  const auto let_go = [&] {
    for (Job& job : jobs) {
      try {
        desk.tuner().release(job);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): its time runs out by itself
      }
    }
  };
  try {
    follow_jobs(desk.tuner(), desk.store(), jobs, hooks);
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
  if (failure) throw *failure;
  return hint;
}

void start(Context& context, const StartOptions& options) {
  const Workspace workspace{context};
  const FineTuneConfig settings = settings_of(workspace.config);
  check_settings(workspace, settings, options);
  Desk desk{workspace, options.ca_file};
  Job job;
  job.provider = settings.provider;
  if (!options.change.dry_run) (void)desk.provider_of(job);  // a key that is missing is told before anything is read
  const DatasetReport report = run_preflight(settings, options.train, options.validation, options.preflight);
  if (!report.ok) return refuse_dataset(context, report);
  warn_of_dataset(report);
  job = wanted_job(settings, options, report);
  job.id = desk.new_id();
  if (!options.again) refuse_second(*workspace.store, job);
  if (options.change.dry_run) {
    job.created_at_us = Registry::system_time();
    return write_started(context, job, true);
  }
  const Interrupts interrupts;
  std::vector<Job> jobs{std::move(job)};
  desk.tuner().add(jobs.front());
  std::string what_to_do;
  try {
    what_to_do = drive(desk, jobs, options.watch, false);
  } catch (const Interrupted&) {
    tell(jobs.front(), "stays open: canary train watch " + jobs.front().id + " goes on with it");
    throw;
  } catch (const Failure& failure) {
    throw Failure{failure.exit, failure.what(),
                  failure.hint + (failure.hint.empty() ? "" : "; ") + "job " + jobs.front().id +
                      " stays open: canary train watch " + jobs.front().id + " goes on with it"};
  }
  const Job& done = jobs.front();
  if (done.status == JobStatus::failed)
    throw Failure{
        Exit::provider, "job " + done.id + " failed: " + done.error,
        what_to_do.empty() && done.provider_job_id.empty() ? "nothing was started at the provider" : what_to_do};
  write_started(context, done, false);
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

/// Asks the provider once. A job that has succeeded gets its version by this.
void refresh(Desk& desk, Job& job) {
  if (job.phase != JobPhase::following) return;
  try {
    const JobNews news = desk.tuner().step(job);
    if (news.trouble) warn("job " + job.id + " is as it was known last: " + news.words);
  } catch (const Failure& failure) {  // a provider that cannot be had
    warn("job " + job.id + " is as it was known last: " + failure.what());
  }
}

void status(Context& context, const JobOptions& options) {
  const Workspace workspace{context};
  Desk desk{workspace, options.ca_file};
  if (!options.id.empty()) {
    Job job = found_job(*workspace.store, options.id);
    if (!options.offline) refresh(desk, job);
    if (context.json) return write_document(context.out, json::object{{"job", job_document(job)}});
    write_job(context.out, job);
    if (wants_hold(next_step(job)))
      context.out.write("the provider does not have it yet: canary train watch " + job.id + " goes on with it\n");
    return;
  }
  if (!options.task.empty()) (void)workspace.task(options.task);
  std::vector<Job> jobs = workspace.store->jobs({.task = options.task});
  if (!options.offline)
    for (Job& job : jobs) refresh(desk, job);
  if (context.json) {
    json::array documents;
    for (const Job& job : jobs) documents.push_back(job_document(job));
    return write_document(context.out, json::object{{"jobs", std::move(documents)}});
  }
  if (jobs.empty()) return context.out.write("no job so far: canary train start TASK FILE begins one\n");
  jobs_table(jobs).write(context.out);
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
  if (options.id.empty()) {
    json::array documents;
    for (const Job& job : jobs) documents.push_back(job_document(job));
    if (context.json) return write_document(context.out, json::object{{"jobs", std::move(documents)}});
    if (jobs.empty()) return context.out.write("no job is open\n");
    return jobs_table(jobs).write(context.out);
  }
  const Job& job = jobs.front();
  if (context.json)
    write_document(context.out, json::object{{"job", job_document(job)}});
  else
    write_job(context.out, job);
  context.exit = exit_of(job);
}

void cancel(Context& context, const JobOptions& options) {
  const Workspace workspace{context};
  Desk desk{workspace, options.ca_file};
  const Interrupts interrupts;
  std::vector<Job> jobs{found_job(*workspace.store, options.id)};
  Job& job = jobs.front();
  if (job.phase == JobPhase::following && !has_ended(job.status)) refresh(desk, job);  // it may have ended meanwhile
  desk.tuner().ask_cancel(job);
  context.committed = "the wish is stored: canary train watch " + job.id + " tells the provider";
  JobNews news;
  for (int tries = 0; tries != 4 && job.phase != JobPhase::closed; ++tries) {
    news = desk.tuner().step(job);
    if (news.kind == JobNews::Kind::held || news.trouble) break;
    if (news.kind == JobNews::Kind::waits) wait_for(std::min<std::uint32_t>(news.wait_ms, 1'000));
  }
  desk.tuner().release(job);
  if (news.trouble && job.phase != JobPhase::closed)
    throw Failure{Exit::provider, "job " + job.id + " is not cancelled yet: " + news.words, news.hint};
  if (context.json) return write_document(context.out, json::object{{"job", job_document(job)}});
  write_job(context.out, job);
  if (!has_ended(job.status))
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
  add_text(verb, "train", options->train, "Training data, JSONL")->required()->type_name("TRAIN");
  add_text(verb, "validation", options->validation, "Validation data, JSONL")->type_name("VAL");
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
          "--seed", [options](const std::string& text) { options->seed = revision_argument("--seed", text); },
          "Makes a training repeatable, as far as the provider can")
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
    add_text(verb, "job", options->id, "Job (default: all)")->type_name("JOB");
    add_text(verb, "--task", options->task, "Only this task's")->type_name("TASK");
    verb.add_flag("--offline", options->offline, "Only what is stored: no provider is asked");
    add_ca_file(verb, options->ca_file);
    verb.callback([&context, options] { status(context, *options); });
  }
  {
    const Syntax verb = add_noun(train, context, "watch", "Follows jobs to their end, after a crash too");
    const auto options = std::make_shared<JobOptions>();
    add_text(verb, "job", options->id, "Job (default: every open one)")->type_name("JOB");
    add_ca_file(verb, options->ca_file);
    verb.footer(
        "What the providers say is told on stderr as it comes. The exit code of a single job: 0 SUCCEEDED, 6 FAILED,\n"
        "1 CANCELLED.");
    verb.callback([&context, options] { watch(context, *options); });
  }
  const Syntax verb = add_noun(train, context, "cancel", "Cancels a job");
  const auto options = std::make_shared<JobOptions>();
  add_text(verb, "job", options->id, "Job")->required()->type_name("JOB");
  add_ca_file(verb, options->ca_file);
  verb.callback([&context, options] { cancel(context, *options); });
}

}  // namespace canary::cli
