// A provider that runs a program: what it trains, how it ends, and what is left of it when we die.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "canary/adapters/command_provider.hpp"
#include "temporary_folder.hpp"

namespace command_provider_test {

using namespace canary;

namespace {

/// A folder with chats to train on, a gate to hold a trainer at, and a place for its jobs.
struct Place {
  Place() {
    std::string chats;
    for (int i = 0; i != 20; ++i)
      chats +=
          R"({"messages":[{"role":"user","content":"Who goes there?"},{"role":"assistant","content":"Arrr, it be )" +
          std::to_string(i) + " o' the crew!\"}]}\n";
    folder.write("train.jsonl", chats);
    folder.write("val.jsonl", chats.substr(0, chats.find('\n') + 1));
    if (::mkfifo(gate().c_str(), 0600) != 0) throw std::runtime_error{"mkfifo"};
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder.path() / name).string(); }
  [[nodiscard]] std::string gate() const { return path("gate"); }
  [[nodiscard]] CommandProviderOptions options(std::vector<std::string> more = {}) const {
    CommandProviderOptions options;
    options.command = {CANARY_TEST_TINY_TRAINER,
                       "{training_file}",
                       "{output}",
                       "--epochs",
                       "{epochs}",
                       "--seed",
                       "{seed}",
                       "--ran",
                       path("ran")};
    options.command.insert(options.command.end(), more.begin(), more.end());
    options.folder = path("jobs");
    return options;
  }
  [[nodiscard]] Job job(const std::string& id = "job-1") const {
    Job job;
    job.id = id;
    job.task = "checks";
    job.base_model = "tiny";
    job.training_file_id = path("train.jsonl");
    job.method.epochs = 4;
    return job;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in{folder.path() / name, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  /// How many trainers have begun.
  [[nodiscard]] std::size_t ran() const {
    const std::string lines = read("ran");
    return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'));
  }
  /// Lets a trainer through, once it has come.
  void open_gate() const { ::close(::open(gate().c_str(), O_WRONLY)); }
  /// Numbers of the supervisor and of the trainer.
  [[nodiscard]] std::pair<pid_t, pid_t> processes(const std::string& id = "job-1") const {
    std::ifstream in{folder.path() / "jobs" / id / "process"};
    std::string boot;
    std::string start;
    std::pair<pid_t, pid_t> found{0, 0};
    in >> boot >> found.first >> start >> found.second;
    return found;
  }
  TemporaryFolder folder;
};

template <class Condition>
bool wait_until(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{120};
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return condition();
}

ProviderJob end_of(CommandProvider& provider, const std::string& id = "job-1") {
  ProviderJob job;
  REQUIRE(wait_until([&] { return has_ended((job = provider.get_job(id)).status); }));
  return job;
}

/// The code of the error that `call` throws, and its words.
template <class Call>
std::pair<std::optional<ProviderErrc>, std::string> error_of(Call call) {
  try {
    call();
  } catch (const ProviderError& error) {
    return {error.code, error.what() + (" | " + error.hint)};
  }
  return {};
}

bool childless() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

/// Waits until it has printed so many whole lines.
bool has_printed(CommandProvider& provider, std::size_t lines, const std::string& id = "job-1") {
  return wait_until([&] { return provider.events(id, "").size() >= lines; });
}

}  // namespace

TEST_CASE("command provider: a real model is trained end to end, and everything about it is told",
          "[adapters][provider]") {
  const Place place;
  CommandProviderOptions options = place.options({"--validation", "{validation_file}", "--base", "{base_model}"});
  CommandProvider provider{options};
  CHECK(provider.place() == "command " CANARY_TEST_TINY_TRAINER);
  std::uint64_t sent = 0;
  Job job = place.job();
  job.training_file_id = provider.upload(place.path("train.jsonl"), [&](std::uint64_t now, std::uint64_t all) {
    CHECK(now == all);
    sent = now;
  });
  job.validation_file_id = provider.upload(place.path("val.jsonl"), {});
  CHECK(job.training_file_id == place.path("train.jsonl"));
  CHECK(sent == place.read("train.jsonl").size());
  job.method.seed = 4711;
  const ProviderJob made = provider.create_job(job);
  CHECK(made.id == "job-1");
  CHECK(made.seed == 4711u);
  const ProviderJob done = end_of(provider);
  INFO(done.error);
  CHECK(done.status == JobStatus::succeeded);
  CHECK(done.provider_status == "exited 0");
  CHECK(done.model == place.path("jobs/job-1/output/model.txt"));
  CHECK(std::filesystem::file_size(done.model) > 1'000);
  CHECK(done.trained_tokens > 1'000);
  CHECK(done.finished_at_s > 1'700'000'000);

  const std::vector<Checkpoint> checkpoints = provider.checkpoints("job-1");
  REQUIRE(checkpoints.size() == 4);
  double last_loss = 100;
  for (std::size_t i = 0; i != checkpoints.size(); ++i) {
    CHECK(checkpoints[i].step == i + 1);
    CHECK(std::filesystem::exists(checkpoints[i].model));
    const boost::json::value metrics = boost::json::parse(checkpoints[i].metrics);
    const double loss = metrics.at("train_loss").to_number<double>();
    CHECK(loss < last_loss);  // it learns
    last_loss = loss;
  }
  CHECK(last_loss < 4.0);  // ln 96 = 4.56 without having learnt anything

  const std::vector<JobEvent> events = provider.events("job-1", "");
  REQUIRE(events.size() == 9);
  CHECK(events[0].id == "1");
  CHECK(events[0].message.starts_with("step 1 of 4, loss 4.5"));
  CHECK(events[1].message.starts_with("checkpoint at step 1: "));
  CHECK(events[8].message == "result: " + done.model);
  CHECK(events[8].level == "info");
  CHECK(events[8].at_s > 1'700'000'000);
  CHECK(provider.events("job-1", "7").size() == 2);
  CHECK(provider.events("job-1", "9").empty());
  CHECK(provider.shutdown_date(done.model).empty());
  CHECK(place.ran() == 1);
  CHECK(childless());
}

TEST_CASE("command provider: a job without a seed gets one that can be had again", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  const ProviderJob one = provider.create_job(place.job());
  REQUIRE(one.seed);
  (void)end_of(provider);
  const Place other;
  CommandProvider again{other.options()};
  CHECK(again.create_job(other.job()).seed == one.seed);
  CHECK(again.create_job(other.job("job-2")).seed != one.seed);
  (void)end_of(again);
  (void)end_of(again, "job-2");
  CHECK(place.read("jobs/job-1/output/model.txt") == other.read("jobs/job-1/output/model.txt"));
  CHECK(place.read("jobs/job-1/output/model.txt") != other.read("jobs/job-2/output/model.txt"));
}

TEST_CASE("command provider: a job is made once, however often that is asked for", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate()})};
  CHECK(provider.find_jobs(place.job(), 0).empty());
  CHECK(provider.create_job(place.job()).status == JobStatus::running);
  CHECK(provider.create_job(place.job()).status == JobStatus::running);
  CommandProvider other{place.options({"--gate", place.gate()})};
  CHECK(other.create_job(place.job()).id == "job-1");
  REQUIRE(other.find_jobs(place.job(), 0).size() == 1);
  CHECK(other.find_jobs(place.job("job-2"), 0).empty());
  place.open_gate();
  CHECK(end_of(provider).status == JobStatus::succeeded);
  CHECK(other.create_job(place.job()).status == JobStatus::succeeded);
  CHECK(place.ran() == 1);
}

TEST_CASE("command provider: two that make the same job at once start one trainer", "[adapters][provider]") {
  const Place place;
  for (int round = 0; round != 10; ++round) {
    const Job job = place.job("job-" + std::to_string(round));
    std::vector<std::thread> threads;
    for (int i = 0; i != 4; ++i)
      threads.emplace_back([&] {
        CommandProvider provider{place.options()};
        (void)provider.create_job(job);
      });
    for (std::thread& each : threads) each.join();
    CommandProvider provider{place.options()};
    CHECK(end_of(provider, job.id).status == JobStatus::succeeded);
  }
  CHECK(place.ran() == 10);
}

TEST_CASE("command provider: while it trains it says how far it is and when it may be done", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate()})};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  const ProviderJob now = provider.get_job("job-1");
  CHECK(now.status == JobStatus::running);
  CHECK(now.provider_status == "running");
  CHECK(now.expected_end_s > 1'700'000'000);
  CHECK(now.model.empty());
  CHECK(now.finished_at_s == 0);
  CHECK(provider.checkpoints("job-1").size() == 1);
  place.open_gate();
  CHECK(end_of(provider).status == JobStatus::succeeded);
}

TEST_CASE("command provider: cancel ends it by SIGTERM, and one that is deaf by SIGKILL", "[adapters][provider]") {
  const bool deaf = GENERATE(false, true);
  const Place place;
  CommandProviderOptions options = place.options({"--gate", place.gate()});
  if (deaf) options.command.emplace_back("--deaf");
  options.grace_ms = deaf ? 50 : 600'000;
  CommandProvider provider{options};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  const pid_t trainer = place.processes().second;
  const ProviderJob asked = provider.cancel_job("job-1");
  CHECK((asked.provider_status == "cancelling" || asked.status == JobStatus::cancelled));
  const ProviderJob end = end_of(provider);
  CHECK(end.status == JobStatus::cancelled);
  CHECK(end.provider_status == (deaf ? "signal 9" : "signal 15"));
  CHECK(end.error.empty());
  CHECK(end.model.empty());
  CHECK(detail::start_of(trainer) == 0);
  CHECK(error_of([&] { (void)provider.cancel_job("job-1"); }).first == ProviderErrc::refused);
}

TEST_CASE("command provider: a cancelled job stays cancelled though the program ends well", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate(), "--polite"})};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  (void)provider.cancel_job("job-1");
  const ProviderJob end = end_of(provider);
  CHECK(end.status == JobStatus::cancelled);
  CHECK(end.provider_status == "exited 0");
  CHECK(end.model.empty());
}

TEST_CASE("command provider: what the program started ends with it", "[adapters][provider]") {
  const bool cancelled = GENERATE(false, true);
  const Place place;
  place.folder.write("run",
                     "#!/bin/sh\n(trap '' TERM; exec sleep 600) & echo $! > \"$1/helper\"\n[ \"$2\" = stay ] && wait\n"
                     "echo '{\"event\":\"result\",\"model\":\"m\"}'\n");
  ::chmod(place.path("run").c_str(), 0755);
  CommandProviderOptions options = place.options();
  options.command = {place.path("run"), place.folder.path().string(), cancelled ? "stay" : "go"};
  options.grace_ms = 50;
  CommandProvider provider{options};
  (void)provider.create_job(place.job());
  REQUIRE(wait_until([&] { return place.read("helper").ends_with('\n'); }));
  if (cancelled) (void)provider.cancel_job("job-1");
  CHECK(end_of(provider).status == (cancelled ? JobStatus::cancelled : JobStatus::succeeded));
  const auto helper = static_cast<pid_t>(std::stoi(place.read("helper")));
  CHECK(wait_until([&] { return detail::start_of(helper) == 0; }));
}

TEST_CASE("command provider: how it failed is said", "[adapters][provider]") {
  struct Case {
    std::vector<std::string> arguments;
    std::string status;
    std::string words;
  };
  const std::vector<Case> cases{
      {{"--exit", "3"}, "exited 3", "exit status 3: told to fail"},
      {{"--crash"}, "signal 6", "signal 6 (Aborted)"},
      {{"--crash", "--complain", "3"}, "signal 6", "complaint 3 of a trainer"},
      {{"--no-result"}, "exited 0", "named no model: expected a line {\"event\":\"result\""},
      {{"--no-result", "--say", R"({"event":"result","model":""})"}, "exited 0", "named no model"},
      {{"--no-result", "--say", R"({"event":"result","model":["m"]})"}, "exited 0", "named no model"},
      {{"--no-result", "--say", R"({"event":"result","model":"a\u001bb"})"}, "exited 0", "no registry takes"},
      {{"--no-result", "--say", R"({"event":"result","model":")" + std::string(1'025, 'm') + "\"}"},
       "exited 0",
       "no registry takes"},
      {{"--flood"}, "signal 15", "printed too much on stdout"},
  };
  for (const Case& each : cases) {
    const Place place;
    CommandProviderOptions options = place.options(each.arguments);
    options.output_bytes = 100'000;
    CommandProvider provider{options};
    (void)provider.create_job(place.job());
    const ProviderJob end = end_of(provider);
    INFO(each.words << " in: " << end.error);
    CHECK(end.status == JobStatus::failed);
    CHECK(end.provider_status == each.status);
    CHECK(end.error.find(each.words) != std::string::npos);
    CHECK(end.model.empty());
  }
  CHECK(childless());
}

TEST_CASE("command provider: garbage on stdout is kept as events and harms nothing", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options({"--garbage"})};
  (void)provider.create_job(place.job());
  const ProviderJob end = end_of(provider);
  INFO(end.error);
  CHECK(end.status == JobStatus::succeeded);
  CHECK(end.model.ends_with("/output/model.txt"));
  const std::vector<JobEvent> events = provider.events("job-1", "");
  CHECK(events.size() == 9 + 6);
  for (const JobEvent& each : events) {
    CHECK(each.message.size() <= 2'100);
    CHECK(each.message.find('\x1B') == std::string::npos);
    CHECK(first_invalid_utf8(each.message) == each.message.size());
  }
}

TEST_CASE("command provider: of stderr the newest is kept, and no more than was allowed", "[adapters][provider]") {
  const Place place;
  CommandProviderOptions options = place.options({"--complain", "50000", "--exit", "1", "--no-result"});
  options.log_bytes = 65'536;
  CommandProvider provider{options};
  (void)provider.create_job(place.job());
  CHECK(end_of(provider).status == JobStatus::failed);
  const std::string newest = place.read("jobs/job-1/stderr.log");
  const std::string before = place.read("jobs/job-1/stderr.log.1");
  CHECK(newest.ends_with("complaint 50000 of a trainer\n"));
  CHECK(newest.size() + before.size() <= 65'536);
  CHECK(newest.size() + before.size() > 20'000);
  CHECK((before + newest).find("complaint 49000 of") != std::string::npos);
}

TEST_CASE("command provider: a program that cannot be run is refused, and the job can be made later",
          "[adapters][provider]") {
  const Place place;
  CommandProviderOptions options = place.options();
  const std::string good = options.command[0];
  options.command[0] = "/nonexistent/trainer";
  auto [code, words] = error_of([&] { (void)CommandProvider{options}.create_job(place.job()); });
  CHECK(code == ProviderErrc::refused);
  CHECK(words.find("/nonexistent/trainer cannot be run: No such file") != std::string::npos);
  CHECK(words.find("PATH is not searched") != std::string::npos);
  options.command[0] = place.path("train.jsonl");  // no right to run it
  std::tie(code, words) = error_of([&] { (void)CommandProvider{options}.create_job(place.job()); });
  CHECK(code == ProviderErrc::refused);
  CHECK(words.find("Permission denied") != std::string::npos);
  options.command.clear();
  CHECK(error_of([&] { (void)CommandProvider{options}.create_job(place.job()); }).first == ProviderErrc::refused);
  options = place.options();
  CommandProvider provider{options};
  CHECK(provider.find_jobs(place.job(), 0).empty());
  CHECK(error_of([&] { (void)provider.get_job("job-1"); }).first == ProviderErrc::not_found);
  (void)provider.create_job(place.job());
  CHECK(end_of(provider).status == JobStatus::succeeded);
  CHECK(place.ran() == 1);
  CHECK(childless());
}

TEST_CASE("command provider: an argument that nearly is a placeholder is refused; other braces stay",
          "[adapters][provider]") {
  const Place place;
  const auto [code, words] =
      error_of([&] { (void)CommandProvider{place.options({"{trainig_file}"})}.create_job(place.job()); });
  CHECK(code == ProviderErrc::refused);
  CHECK(words.find("{trainig_file} is no placeholder") != std::string::npos);
  CHECK(words.find("{training_file}") != std::string::npos);
  CHECK(place.ran() == 0);
  std::string text = R"({"lr":{base_model},"{job}":{}} {print} {)";
  CHECK(detail::fill_in(text, {{"job", "{base_model}"}, {"base_model", "b"}}));
  CHECK(text == R"({"lr":b,"{base_model}":{}} {print} {)");
}

TEST_CASE("command provider: the program gets its arguments as they are, and none of the secrets",
          "[adapters][provider]") {
  ::setenv("CANARY_TEST_SECRET", "Zq7SECRETq7Z", 1);
  ::setenv("CANARY_TEST_PLAIN", "plain", 1);
  const int leaky = ::fcntl(0, F_DUPFD, 77);  // without close-on-exec, as a host may have it
  REQUIRE(leaky >= 77);
  const Place place;
  place.folder.write("run",
                     "#!/bin/sh\nenv > \"$1/env\"; ls /proc/self/fd > \"$1/fds\"; cp /proc/self/status \"$1/status\"\n"
                     "printf '%s|' \"$@\" > \"$1/arguments\"; ps -o sid=,pgid=,pid= -p $$ > \"$1/ps\"\n"
                     "echo '{\"event\":\"result\",\"model\":\"m\"}'\n");
  ::chmod(place.path("run").c_str(), 0755);
  CommandProviderOptions options = place.options();
  const std::string folder = place.folder.path().string();
  options.command = {place.path("run"),  folder, "two words", "", "$HOME; rm *", "{job}/{epochs}/{base_model}",
                     "{validation_file}"};
  options.hidden = {"CANARY_TEST_SECRET"};
  ::setenv("CANARY_TEST_BOTH", "inherited", 1);
  options.environment = {"CANARY_TEST_MORE=more", "CANARY_TEST_BOTH=own"};
  CommandProvider provider{options};
  (void)provider.create_job(place.job());
  const ProviderJob end = end_of(provider);
  ::close(leaky);
  ::unsetenv("CANARY_TEST_SECRET");
  ::unsetenv("CANARY_TEST_PLAIN");
  ::unsetenv("CANARY_TEST_BOTH");
  INFO(end.error);
  CHECK(end.status == JobStatus::succeeded);
  CHECK(place.read("arguments") == folder + "|two words||$HOME; rm *|job-1/4/tiny||");
  CHECK(place.read("env").find("Zq7SECRETq7Z") == std::string::npos);
  CHECK(place.read("env").find("CANARY_TEST_PLAIN=plain") != std::string::npos);
  CHECK(place.read("env").find("CANARY_TEST_MORE=more") != std::string::npos);
  CHECK(place.read("env").find("CANARY_TEST_BOTH=own") != std::string::npos);
  CHECK(place.read("env").find("inherited") == std::string::npos);
  CHECK(place.read("status").find("SigBlk:\t0000000000000000") != std::string::npos);
  CHECK(place.read("fds").find('\n' + std::to_string(leaky) + '\n') == std::string::npos);
  for (const auto& file : std::filesystem::recursive_directory_iterator{folder + "/jobs"})
    if (file.is_regular_file())
      CHECK(place.read(std::filesystem::relative(file.path(), folder).string()).find("Zq7SECRETq7Z") ==
            std::string::npos);
}

TEST_CASE("command provider: a host that ignores its children, or waits for all of them, is no hindrance",
          "[adapters][provider]") {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGCHLD, &ignore, &before);
  const Place place;
  CommandProvider provider{place.options({"--exit", "3"})};
  (void)provider.create_job(place.job());
  const ProviderJob end = end_of(provider);
  ::sigaction(SIGCHLD, &before, nullptr);
  CHECK(end.provider_status == "exited 3");
}

TEST_CASE("command provider: a job goes on when who started it is killed, and another follows it to its end",
          "[adapters][provider]") {
  const Place place;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t starter = ::fork();
  if (starter == 0) {
    CommandProvider provider{place.options({"--gate", place.gate()})};
    (void)provider.create_job(place.job());
    (void)!::write(ends[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ends[0], &byte, 1) == 1);
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CommandProvider provider{place.options({"--gate", place.gate()})};
  const std::vector<ProviderJob> found = provider.find_jobs(place.job(), 0);
  REQUIRE(found.size() == 1);
  CHECK(found[0].status == JobStatus::running);
  const auto [supervisor, trainer] = place.processes();
  CHECK(::getsid(supervisor) != ::getsid(0));  // so that no terminal takes it along
  CHECK(::getsid(trainer) == ::getsid(supervisor));
  CHECK(::getpgid(trainer) == trainer);
  const auto shown = [pid = supervisor](const char* what) {  // to everybody who lists processes
    std::ifstream in{"/proc/" + std::to_string(pid) + '/' + what, std::ios::binary};
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    std::erase(text, '\0');
    return text;
  };
  CHECK(shown("cmdline") == "canary-trains");
  CHECK(shown("environ").empty());
  place.open_gate();
  const ProviderJob end = end_of(provider);
  CHECK(end.status == JobStatus::succeeded);
  CHECK(std::filesystem::exists(end.model));
  CHECK(provider.events("job-1", "").size() == 9);
  CHECK(place.ran() == 1);
}

TEST_CASE("command provider: killed at any moment of a start, one trainer runs in the end", "[adapters][provider]") {
  std::mt19937 random{20260507};
  const Place place;
  constexpr int rounds = 60;
  for (int round = 0; round != rounds; ++round) {
    const Job job = place.job("job-" + std::to_string(round));
    const pid_t starter = ::fork();
    if (starter == 0) {
      CommandProvider provider{place.options()};
      (void)provider.create_job(job);
      ::_exit(0);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds{random() % 6'000};
    while (std::chrono::steady_clock::now() < until) continue;
    ::kill(starter, SIGKILL);
    ::waitpid(starter, nullptr, 0);
    CommandProvider provider{place.options()};
    (void)provider.create_job(job);
    const ProviderJob end = end_of(provider, job.id);
    INFO(end.error);
    CHECK(end.status == JobStatus::succeeded);
  }
  CHECK(place.ran() == rounds);
}

TEST_CASE("command provider: a SIGTERM to every process is no wish to cancel", "[adapters][provider]") {
  const bool to_the_trainer = GENERATE(false, true);
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate()})};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  const auto [supervisor, trainer] = place.processes();
  ::kill(supervisor, SIGTERM);
  if (to_the_trainer) ::kill(trainer, SIGTERM);
  if (!to_the_trainer) place.open_gate();
  const ProviderJob end = end_of(provider);
  CHECK(end.status == (to_the_trainer ? JobStatus::failed : JobStatus::succeeded));
  CHECK(end.provider_status == (to_the_trainer ? "signal 15" : "exited 0"));
}

TEST_CASE("command provider: a trainer that somebody kills has failed, by that signal", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate()})};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  ::kill(place.processes().second, SIGKILL);
  const ProviderJob end = end_of(provider);
  CHECK(end.status == JobStatus::failed);
  CHECK(end.error.find("signal 9 (Killed)") != std::string::npos);
}

TEST_CASE("command provider: without its supervisor a trainer is still followed, and can be cancelled",
          "[adapters][provider]") {
  const bool cancelled = GENERATE(false, true);
  const Place place;
  CommandProvider provider{place.options({"--gate", place.gate()})};
  (void)provider.create_job(place.job());
  REQUIRE(has_printed(provider, 2));
  ::kill(place.processes().first, SIGKILL);
  REQUIRE(wait_until([&] { return provider.get_job("job-1").provider_status == "running without its supervisor"; }));
  CHECK(provider.create_job(place.job()).status == JobStatus::running);  // and none is started beside it
  if (cancelled)
    (void)provider.cancel_job("job-1");
  else
    place.open_gate();
  const ProviderJob end = end_of(provider);
  CHECK(end.status == (cancelled ? JobStatus::cancelled : JobStatus::failed));
  CHECK(end.provider_status == "vanished");
  if (!cancelled) CHECK(end.error.find("the trainer has vanished") != std::string::npos);
  CHECK(place.ran() == 1);
}

TEST_CASE("command provider: a number that another process has now is not taken for the trainer",
          "[adapters][provider]") {
  const Place place;
  const std::string boot = detail::boot_name();
  const std::string self = std::to_string(::getpid());
  const std::string start = std::to_string(detail::start_of(::getpid()));
  CHECK(start != "0");
  struct Case {
    std::string process;
    JobStatus status;
  };
  const std::vector<Case> cases{
      {boot + " 0 0 " + self + ' ' + start + '\n', JobStatus::running},
      {boot + " 0 0 " + self + " 1\n", JobStatus::failed},                                           // a reused number
      {"00000000-1111-2222-3333-444444444444 0 0 " + self + ' ' + start + '\n', JobStatus::failed},  // a restart since
      {boot + " 0 0 99999999 7\n", JobStatus::failed},
      {boot + " 0 0 1 1\n", JobStatus::failed},
      {"", JobStatus::failed},
      {"\0\xFF nonsense", JobStatus::failed},
      {boot + " 0 0 -1 -1\n", JobStatus::failed},
      {boot + " 0 0 99999999999999999999 1\n", JobStatus::failed},
  };
  CommandProvider provider{place.options()};
  for (std::size_t i = 0; i != cases.size(); ++i) {
    const std::string id = "job-" + std::to_string(i);
    std::filesystem::create_directories(place.folder.path() / "jobs" / id);
    place.folder.write("jobs/" + id + "/process", cases[i].process);
    INFO(cases[i].process);
    const ProviderJob job = provider.get_job(id);
    CHECK(job.status == cases[i].status);
    if (job.status == JobStatus::failed) CHECK(job.error.find("vanished") != std::string::npos);
    if (job.status == JobStatus::failed)
      CHECK(error_of([&] { (void)provider.cancel_job(id); }).first == ProviderErrc::refused);
  }
}

TEST_CASE("command provider: a folder that holds nonsense is read without harm", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  (void)provider.create_job(place.job());
  (void)end_of(provider);
  std::mt19937 random{7};
  for (int round = 0; round != 200; ++round) {
    const char* name =
        std::vector<const char*>{"exit", "process", "job.json", "events.jsonl", "stderr.log"}[random() % 5];
    std::string bytes(random() % 300, '\0');
    for (char& c : bytes)
      c = random() % 3 == 0 ? static_cast<char>(random()) : " \n{}\":exitd0signal9none"[random() % 24];
    place.folder.write(std::string{"jobs/job-1/"} + name, bytes);
    CommandProvider fresh{place.options()};
    (void)fresh.get_job("job-1");
    (void)fresh.events("job-1", std::to_string(random()));
    (void)fresh.checkpoints("job-1");
  }
  std::filesystem::remove(place.folder.path() / "jobs/job-1/events.jsonl");
  REQUIRE(::mkfifo(place.path("jobs/job-1/events.jsonl").c_str(), 0600) == 0);  // nobody waits for a writer
  CommandProvider fresh{place.options()};
  (void)fresh.get_job("job-1");
  CHECK(fresh.events("job-1", "").empty());
}

TEST_CASE("command provider: lines of any length and number are read in pieces, each event once",
          "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  (void)provider.create_job(place.job());
  (void)end_of(provider);
  std::string lines;
  for (int i = 1; i != 3'501; ++i) lines += "line " + std::to_string(i) + '\n';
  lines += std::string(300'000, 'x') + '\n' + R"({"event":"error","message":"last, without an end"})";
  place.folder.write("jobs/job-1/events.jsonl", lines);
  CommandProvider fresh{place.options()};
  std::vector<JobEvent> all;
  for (std::string after;;) {
    const std::vector<JobEvent> some = fresh.events("job-1", after);
    CHECK(some.size() <= 1'000);
    if (some.empty()) break;
    all.insert(all.end(), some.begin(), some.end());
    after = some.back().id;
  }
  REQUIRE(all.size() == 3'502);
  for (std::size_t i = 0; i != 3'500; ++i) CHECK(all[i].message == "line " + std::to_string(i + 1));
  CHECK(all[3'500].message.size() < 3'000);
  CHECK(all[3'501].message == "last, without an end");
  CHECK(all[3'501].level == "error");
  CHECK(fresh.events("job-1", "3000").size() == 502);  // back again
  CHECK(fresh.events("job-1", "no number").size() == 1'000);
}

TEST_CASE("command provider: checkpoints hold no more than a row has room for", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  (void)provider.create_job(place.job());
  (void)end_of(provider);
  std::string lines;
  const auto checkpoint = [&](const std::string& model, int step, const std::string& metrics) {
    lines += R"({"event":"checkpoint","model":")" + model + R"(","step":)" + std::to_string(step) +
             R"(,"metrics":{"x":")" + metrics + "\"}}\n";
  };
  checkpoint("good", 1, "short");
  checkpoint("chatty", 2, std::string(50'000, 'x'));
  checkpoint(std::string(2'000, 'm'), 3, "short");
  checkpoint("bad\\u001b", 4, "short");
  place.folder.write("jobs/job-1/events.jsonl", lines);
  CommandProvider fresh{place.options()};
  CHECK((fresh.checkpoints("job-1") == std::vector<Checkpoint>{{"good", 1, R"({"x":"short"})"}, {"chatty", 2, ""}}));
}

TEST_CASE("command provider: a line is not told before it is whole", "[adapters][provider]") {
  const Place place;
  place.folder.write("lines", "one\ntw");
  const detail::OwnFd file{::open(place.path("lines").c_str(), O_RDONLY)};
  detail::GrowingLines lines{file.get(), {}};
  CHECK(lines.next(false) == "one");
  CHECK_FALSE(lines.next(false));
  CHECK(lines.place().lines == 1);
  std::ofstream{place.path("lines"), std::ios::app} << "o\nthree";
  CHECK(lines.next(false) == "two");
  CHECK_FALSE(lines.next(false));
  CHECK(lines.next(true) == "three");
  CHECK_FALSE(lines.next(true));
  CHECK(lines.place().lines == 3);
  detail::GrowingLines later{file.get(), {4, 1}};
  CHECK(later.next(true) == "two");
}

TEST_CASE("command provider: files and ids that cannot be meant are refused", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  CHECK(error_of([&] { (void)provider.upload(place.path("missing"), {}); }).first == ProviderErrc::refused);
  CHECK(error_of([&] { (void)provider.upload(place.folder.path().string(), {}); }).second.find("is no file") !=
        std::string::npos);
  CHECK(error_of([&] { (void)provider.upload(place.gate(), {}); }).first == ProviderErrc::refused);
  for (const char* id : {"", "..", "../job-1", "a/b", "JOB", "job_1", "a b"}) {
    INFO(id);
    CHECK(error_of([&] { (void)provider.get_job(id); }).first == ProviderErrc::not_found);
    CHECK(error_of([&] { (void)provider.cancel_job(id); }).first == ProviderErrc::not_found);
    CHECK(error_of([&] { (void)provider.events(id, ""); }).first == ProviderErrc::not_found);
    CHECK(error_of([&] { (void)provider.create_job(place.job(id)); }).first == ProviderErrc::refused);
    CHECK(provider.find_jobs(place.job(id), 0).empty());
  }
  CHECK(error_of([&] { (void)provider.create_job(place.job(std::string(41, 'a'))); }).first == ProviderErrc::refused);
}

TEST_CASE("command provider: a folder that cannot be made is said, by its name", "[adapters][provider]") {
  const Place place;
  CommandProviderOptions options = place.options();
  options.folder = place.path("train.jsonl") + "/jobs";  // below a file
  const auto [code, words] = error_of([&] { (void)CommandProvider{options}.create_job(place.job()); });
  CHECK(code == ProviderErrc::refused);
  CHECK(words.find(place.path("train.jsonl")) != std::string::npos);
  CHECK(words.find("`folder`") != std::string::npos);
  options.folder.clear();
  CHECK(error_of([&] { (void)CommandProvider{options}.create_job(place.job()); }).first == ProviderErrc::refused);
  const pid_t other = ::fork();
  if (other == 0) {  // root is forbidden nothing
    constexpr uid_t nobody = 65'534;
    if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(2);
    options.folder = "/proc/self/fdinfo/jobs";
    if (error_of([&] { (void)CommandProvider{options}.create_job(place.job()); }).first == std::nullopt) ::_exit(3);
    options.folder = place.path("closed");
    ::_exit(error_of([&] { (void)CommandProvider{options}.create_job(place.job()); }).first == ProviderErrc::denied
                ? 0
                : 1);
  }
  int status = 0;
  ::waitpid(other, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("command provider: on a full disk nothing starts, and an end is written once there is room again",
          "[adapters][provider]") {
  const Place place;
  const std::string disk = place.path("disk");
  std::filesystem::create_directory(disk);
  const pid_t apart = ::fork();  // a disk of its own, which nobody else sees
  if (apart == 0) {
    constexpr int no_disk = 77;
    if (::unshare(::geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) ::_exit(no_disk);
    (void)::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=2m") != 0) ::_exit(no_disk);
    CommandProviderOptions options = place.options({"--gate", place.gate(), "--exit", "3"});
    options.folder = disk + "/jobs";
    const auto fill = [&] {
      std::ofstream file{disk + "/filler", std::ios::app};
      const std::string page(4'096, 'x');
      while (file.write(page.data(), static_cast<std::streamsize>(page.size())).flush()) continue;
    };
    CommandProvider provider{options};
    std::filesystem::create_directories(options.folder);
    fill();
    if (error_of([&] { (void)provider.create_job(place.job()); }).first != ProviderErrc::unavailable) ::_exit(1);
    if (!provider.find_jobs(place.job(), 0).empty()) ::_exit(2);
    std::filesystem::remove(disk + "/filler");
    (void)provider.create_job(place.job());
    if (!wait_until([&] { return provider.events("job-1", "").size() >= 2; })) ::_exit(3);
    fill();
    const pid_t trainer = [&] {
      std::ifstream in{options.folder + "/job-1/process"};
      std::string word;
      pid_t found = 0;
      in >> word >> word >> word >> found;
      return found;
    }();
    place.open_gate();
    if (!wait_until([&] { return detail::start_of(trainer) == 0; })) ::_exit(4);
    if (provider.get_job("job-1").status != JobStatus::running) ::_exit(5);  // nobody knows yet how it ended
    std::filesystem::remove(disk + "/filler");
    if (!wait_until([&] { return has_ended(provider.get_job("job-1").status); })) ::_exit(6);
    ::_exit(provider.get_job("job-1").provider_status == "exited 3" ? 0 : 7);
  }
  int status = 0;
  ::waitpid(apart, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SKIP("no disk can be mounted here");
  CHECK(status == 0);
}

TEST_CASE("command provider: after cancel() every call ends at once", "[adapters][provider]") {
  const Place place;
  CommandProvider provider{place.options()};
  provider.cancel();
  CHECK(error_of([&] { (void)provider.create_job(place.job()); }).first == ProviderErrc::cancelled);
  CHECK(error_of([&] { (void)provider.get_job("job-1"); }).first == ProviderErrc::cancelled);
  CHECK(error_of([&] { (void)provider.upload(place.path("train.jsonl"), {}); }).first == ProviderErrc::cancelled);
  CHECK(place.ran() == 0);
}

TEST_CASE("command provider: lines are understood as far as they can be", "[adapters][provider]") {
  using Kind = detail::TrainerEvent::Kind;
  const auto parse = [](std::string_view line) { return detail::parse_trainer_event(line); };
  CHECK(parse(R"({"event":"progress","step":3,"of":10,"loss":1.5,"at":1764400000})").at_s == 1'764'400'000);
  CHECK(parse(R"({"event":"progress","step":3.0,"of":10})").step == 3);
  CHECK(parse(R"({"event":"progress","step":-3,"of":1e300})").of == 0);
  CHECK(parse(R"({"event":"progress","step":18446744073709551615})").step == 18'446'744'073'709'551'615u);
  CHECK(parse(R"({"event":"checkpoint","model":"m","step":1,"loss":2,"x":"y"})").metrics == R"({"loss":2,"x":"y"})");
  CHECK(parse(R"({"event":"checkpoint","model":"m","metrics":{"a":1},"loss":2})").metrics == R"({"a":1})");
  CHECK(parse(R"(  {"event":"error","message":"no"})").message == "no");
  for (const char* line : {"", " ", "{", "[]", "null", "7", "{\"event\":null}", "{\"event\":\"other\"}",
                           "{\"event\":{}}", "{\"event\":\"result\"} trailing", "\xFF{}", "Epoch 1/3 loss=0.5"}) {
    INFO(line);
    CHECK(parse(line).kind == Kind::other);
  }
  CHECK(parse(std::string(100'000, '{')).kind == Kind::other);
  CHECK(detail::trainer_words(parse("Epoch 1/3"), "Epoch 1/3") == "Epoch 1/3");
  CHECK(detail::trainer_words(parse(R"({"event":"progress","step":3,"of":10,"loss":1.25})"), "") ==
        "step 3 of 10, loss 1.25");
}

}  // namespace command_provider_test
