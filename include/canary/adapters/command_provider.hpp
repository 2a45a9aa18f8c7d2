// command_provider.hpp: fine-tuning by a program of one's own. Layer adapters; Linux, Boost.JSON (link Boost::json, or include
// <boost/json/src.hpp> in one source file).
//
// The program is started without a shell, in a session of its own. It prints JSON lines on stdout (command_events.hpp) and
// ends with status 0 after a line that names its model. A supervisor that is no child of this process waits for it
// (command_supervisor.hpp), so it goes on when this process ends, and any other on the same folder can follow it. Each job
// has a folder by its id, made for one start and no other: creating it again finds the job that is there.
//
// Where a service manager ends all processes of a service together, it ends trainers too: start them from the command line,
// or tell it to leave them (systemd: KillMode=process).
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/command_environment.hpp"
#include "canary/adapters/command_events.hpp"
#include "canary/adapters/command_state.hpp"
#include "canary/adapters/command_supervisor.hpp"
#include "canary/control/faults.hpp"
#include "canary/control/job.hpp"
#include "canary/control/nearest.hpp"
#include "canary/control/provider.hpp"
#include "canary/control/stored_text.hpp"
#include "canary/core/hash.hpp"

namespace canary {

struct CommandProviderOptions {
  /// The program's path, which PATH is not searched for, and its arguments. In these is put in its place: {training_file},
  /// {validation_file} (empty: none), {base_model}, {job}, {output} (a folder for the model), {epochs} (0: the program's own
  /// choice), {seed} (made of the job's id where it has none).
  std::vector<std::string> command;
  std::string folder;                         ///< where jobs have theirs; it is made
  std::vector<std::string> environment = {};  ///< NAME=VALUE, before the variables that this process has
  std::vector<std::string> hidden = {};       ///< variables that it does not get: those with secrets
  std::uint32_t grace_ms = 10'000;            ///< from SIGTERM to SIGKILL, when it is cancelled
  std::uint64_t log_bytes = 1 << 20;          ///< kept of its stderr, the newest
  std::uint64_t output_bytes = 1 << 30;       ///< of stdout; a program that prints more is ended, and has failed
};

class CommandProvider final : public Provider {
 public:
  /// Errors  std::system_error where there is no current folder.
  explicit CommandProvider(CommandProviderOptions options);

  [[nodiscard]] std::string place() const override {
    return "command " + (options_.command.empty() ? std::string{} : options_.command.front());
  }
  /// Nothing is copied: the id is the file's absolute path.
  [[nodiscard]] std::string upload(const std::string& path, const UploadProgress& progress) override;
  /// Errors  `refused` for a program that cannot be run; `denied`, `unavailable` for a folder that cannot be written, for good
  /// or for now; `unclear` when the supervisor was killed at once. Nothing runs but then.
  [[nodiscard]] ProviderJob create_job(const Job& job) override;
  [[nodiscard]] std::vector<ProviderJob> find_jobs(const Job& job, std::int64_t since_s) override;
  [[nodiscard]] ProviderJob get_job(const std::string& provider_job_id) override;
  /// SIGTERM to the program and all of its group, SIGKILL after `grace_ms`; all by the supervisor. What it does after
  /// SIGTERM is its own affair: the job is cancelled, whatever its status is.
  [[nodiscard]] ProviderJob cancel_job(const std::string& provider_job_id) override;
  /// Ids are numbers of lines. At most a thousand at once; asked again after the last it goes on.
  [[nodiscard]] std::vector<JobEvent> events(const std::string& provider_job_id, const std::string& after) override;
  /// At most a thousand, the newest.
  [[nodiscard]] std::vector<Checkpoint> checkpoints(const std::string& provider_job_id) override;
  [[nodiscard]] std::string shutdown_date(const std::string&) override {
    check();
    return {};
  }
  void cancel() noexcept override { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  using State = detail::TrainerState;
  using Place = detail::GrowingLines::Place;

  /// What was read of a job's lines.
  struct Read {
    Place scanned;
    detail::TrainerEvent result;  ///< the last
    detail::TrainerEvent error;
    detail::TrainerEvent progress;
    std::vector<Checkpoint> checkpoints;
    Place told;  ///< by events()
  };
  static constexpr std::size_t most_at_once = 1'000;
  static constexpr std::size_t most_metrics = 2'000;   ///< bytes of a checkpoint's
  static constexpr std::size_t most_remembered = 256;  ///< jobs; what was read of others is read again

  void check() const;
  [[noreturn]] static void fail(int error, const std::string& what, const std::string& hint = {});
  [[nodiscard]] detail::OwnFd find_folder(const std::string& id) const;
  [[nodiscard]] detail::OwnFd existing(const std::string& id) const;
  [[nodiscard]] detail::OwnFd make_folder(const std::string& id) const;
  [[nodiscard]] std::vector<std::string> arguments_for(const Job& job, std::uint32_t seed) const;
  void write_intent(int folder, const Job& job, const std::vector<std::string>& arguments, std::uint32_t seed) const;
  void start(const Job& job, int folder, const detail::OwnFd& lock);
  [[nodiscard]] Read& read_of(const std::string& id);
  [[nodiscard]] Read& scan(const std::string& id, int folder, bool ended);
  [[nodiscard]] ProviderJob told(const std::string& id, int folder, const State& state);
  static void tell_end(ProviderJob& job, const State& state, const Read& read, int folder);
  static void succeed(ProviderJob& job, const Read& read);
  [[nodiscard]] static bool is_model(const std::string& name);
  [[nodiscard]] static std::string last_words(int folder, const Read& read);

  CommandProviderOptions options_;
  std::filesystem::path folder_;
  std::map<std::string, Read, std::less<>> read_;
  std::atomic<bool> cancelled_{false};
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// As Job::id: it becomes the name of a folder.
[[nodiscard]] constexpr bool is_job_id(std::string_view id) noexcept {
  const auto legal = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !id.empty() && id.size() <= 40 && std::all_of(id.begin(), id.end(), legal);
}

using Placeholder = std::pair<std::string_view, std::string>;

/// `text` with each {name} replaced. Any other braces stay, since arguments may be JSON.
/// Output  false, and `text` the name, for one that nearly is a placeholder.
[[nodiscard]] inline bool fill_in(std::string& text, const std::vector<Placeholder>& values) {
  std::vector<std::string_view> names;
  names.reserve(values.size());
  for (const Placeholder& each : values) names.push_back(each.first);
  std::string filled;
  std::string_view rest = text;
  for (std::size_t open = 0; (open = rest.find('{')) != std::string_view::npos;) {
    filled += rest.substr(0, open);
    rest.remove_prefix(open);
    const std::size_t end = rest.find_first_of("{}", 1);
    const bool whole = end != std::string_view::npos && rest[end] == '}';
    const std::string_view name = whole ? rest.substr(1, end - 1) : std::string_view{};
    const auto known = std::find_if(values.begin(), values.end(), [&](const auto& each) { return each.first == name; });
    if (known == values.end() && !nearest(name, names).empty()) {
      text = name;
      return false;
    }
    filled += known == values.end() ? std::string_view{"{"} : std::string_view{known->second};
    rest.remove_prefix(known == values.end() ? 1 : end + 1);
  }
  text = filled.append(rest);
  return true;
}

}  // namespace detail

inline CommandProvider::CommandProvider(CommandProviderOptions options)
    : options_{std::move(options)},
      folder_{options_.folder.empty() ? std::filesystem::path{} : std::filesystem::absolute(options_.folder)} {}

inline void CommandProvider::check() const {
  if (cancelled_.load(std::memory_order_relaxed)) throw ProviderError{ProviderErrc::cancelled, "cancelled"};
}

inline void CommandProvider::fail(int error, const std::string& what, const std::string& hint) {
  const bool for_now = error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE || error == ENOMEM ||
                       error == EAGAIN || error == EIO || error == ETXTBSY;
  const bool forbidden = error == EACCES || error == EPERM || error == EROFS;
  throw ProviderError{for_now     ? ProviderErrc::unavailable
                      : forbidden ? ProviderErrc::denied
                                  : ProviderErrc::refused,
                      what + ": " + std::strerror(error), hint};
}

inline std::string CommandProvider::upload(const std::string& path, const UploadProgress& progress) {
  check();
  const detail::OwnFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) fail(errno, detail::shown(path, 500), "name a file that can be read");
  struct stat found {};
  if (::fstat(file.get(), &found) != 0 || !S_ISREG(found.st_mode))
    throw ProviderError{ProviderErrc::refused, detail::shown(path, 500) + " is no file", "name a file of JSON lines"};
  std::error_code error;
  const std::string absolute = std::filesystem::canonical(path, error).string();
  if (error) fail(error.value(), detail::shown(path, 500));
  const auto size = static_cast<std::uint64_t>(found.st_size);
  if (progress) progress(size, size);
  return absolute;
}

/// A job's folder; an empty descriptor where there is none.
inline detail::OwnFd CommandProvider::find_folder(const std::string& id) const {
  check();
  if (!detail::is_job_id(id)) return detail::OwnFd{};
  detail::OwnFd folder{::open((folder_ / id).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
  if (!folder && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
    fail(errno, (folder_ / id).string() + " cannot be opened");
  return folder;
}

/// As above, of a job that was started.
inline detail::OwnFd CommandProvider::existing(const std::string& id) const {
  detail::OwnFd folder = find_folder(id);
  if (!folder || detail::trainer_state(folder.get()).phase == State::Phase::none)
    throw ProviderError{ProviderErrc::not_found, "no job " + detail::shown(id, 64) + " in " + folder_.string(),
                        "jobs are where they were started: see the provider's `folder`"};
  return folder;
}

inline detail::OwnFd CommandProvider::make_folder(const std::string& id) const {
  const std::string hint = "see the provider's `folder`";
  if (folder_.empty()) throw ProviderError{ProviderErrc::refused, "no folder for jobs is named", hint};
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) fail(error.value(), folder_.string() + " cannot be made", hint);
  const std::string path = (folder_ / id).string();
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail(errno, path + " cannot be made", hint);
  detail::OwnFd folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
  if (!folder) fail(errno, path + " cannot be opened", hint);
  if (::mkdirat(folder.get(), "output", 0700) != 0 && errno != EEXIST) fail(errno, path + "/output", hint);
  return folder;
}

inline std::vector<std::string> CommandProvider::arguments_for(const Job& job, std::uint32_t seed) const {
  const auto file = [](const std::string& id, const std::string& path) { return id.empty() ? path : id; };
  const std::vector<detail::Placeholder> values{
      {"training_file", file(job.training_file_id, job.training_file)},
      {"validation_file", file(job.validation_file_id, job.validation_file)},
      {"base_model", job.base_model},
      {"job", job.id},
      {"output", (folder_ / job.id / "output").string()},
      {"epochs", std::to_string(job.method.epochs)},
      {"seed", std::to_string(seed)},
  };
  std::vector<std::string> arguments = options_.command;
  for (std::string& each : arguments) {
    const bool known = detail::fill_in(each, values);
    if (!known || each.find('\0') != std::string::npos)
      throw ProviderError{
          ProviderErrc::refused,
          known ? "an argument with a NUL in it" : "{" + each + "} is no placeholder of a command",
          "expected {training_file}, {validation_file}, {base_model}, {job}, {output}, {epochs}, {seed}"};
  }
  return arguments;
}

/// What is about to run, for people, and for a later process of ours.
inline void CommandProvider::write_intent(int folder, const Job& job, const std::vector<std::string>& arguments,
                                          std::uint32_t seed) const {
  std::string space;
  const auto text = [&space](const std::string& from) {
    const std::string_view good = stored_text(from, space);
    return boost::json::string{good.data(), good.size()};
  };
  boost::json::object intent;
  intent["format"] = 1;
  intent["job"] = text(job.id);
  intent["task"] = text(job.task);
  intent["base_model"] = text(job.base_model);
  intent["seed"] = seed;
  boost::json::array& command = intent["command"].emplace_array();
  for (const std::string& each : arguments) command.push_back(text(each));
  const int error = detail::put_file(folder, "job.json", "job.json.new", boost::json::serialize(intent) + '\n');
  if (error != 0) fail(error, (folder_ / job.id).string() + " cannot be written", "see the provider's `folder`");
}

inline ProviderJob CommandProvider::create_job(const Job& job) {
  check();
  if (!detail::is_job_id(job.id))
    throw ProviderError{ProviderErrc::refused, "a job's id that cannot be a folder's name",
                        "expected 1 to 40 of a-z, 0-9 and -"};
  if (options_.command.empty())
    throw ProviderError{ProviderErrc::refused, "no program is named", "see the provider's `command`"};
  const detail::OwnFd folder = make_folder(job.id);
  const std::string path = (folder_ / job.id).string();
  const detail::OwnFd lock{::openat(folder.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!lock) fail(errno, path + "/lock cannot be opened", "see the provider's `folder`");
  const int taken = detail::lock_file(lock.get());
  if (taken != 0 && taken != EAGAIN && taken != EACCES)
    fail(taken, path + "/lock cannot be locked", "name a folder whose file system has locks");
  // With the lock nobody else is at it: what was not started by now, nobody has started.
  if (taken == 0 && ::faccessat(folder.get(), "process", F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
      ::faccessat(folder.get(), "exit", F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
    ::unlinkat(folder.get(), "cancel", 0);
    start(job, folder.get(), lock);
  }
  return told(job.id, folder.get(), detail::trainer_state(folder.get()));
}

inline void CommandProvider::start(const Job& job, int folder, const detail::OwnFd& lock) {
  constexpr std::uint32_t seeds = 0x7FFF'FFFF;
  const std::uint32_t seed = job.method.seed.value_or(static_cast<std::uint32_t>(seed_of(job.id) & seeds));
  std::vector<std::string> arguments = arguments_for(job, seed);
  write_intent(folder, job, arguments, seed);
  std::vector<std::string> variables = detail::environment_without(options_.hidden, options_.environment);
  const detail::OwnFd events{
      ::openat(folder, "events.jsonl", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!events) fail(errno, (folder_ / job.id).string() + " cannot be written", "see the provider's `folder`");
  const std::vector<char*> argument_pointers = detail::pointers_to(arguments);
  const std::vector<char*> variable_pointers = detail::pointers_to(variables);
  const std::string boot = detail::boot_name();
  detail::TrainerPlan plan;
  plan.folder = folder;
  plan.lock = lock.get();
  plan.events = events.get();
  plan.arguments = argument_pointers.data();
  plan.environment = variable_pointers.data();
  plan.boot = boot;
  plan.grace_ms = options_.grace_ms;
  plan.log_bytes = options_.log_bytes;
  plan.output_bytes = options_.output_bytes;
  const int error = detail::start_trainer(plan, cancelled_);
  if (error == 0) return;
  if (error < 0)
    throw ProviderError{ProviderErrc::unclear, "nobody knows whether " + arguments.front() + " was started"};
  const bool folder_is_full = error == ENOSPC || error == EDQUOT;
  if (folder_is_full) fail(error, (folder_ / job.id).string() + " cannot be written");
  try {
    fail(error, detail::shown(arguments.front(), 500) + " cannot be run",
         "see the provider's `command`: the path of a program; PATH is not searched");
  } catch (const ProviderError& failed) {
    if (failed.code != ProviderErrc::denied) throw;
    throw ProviderError{ProviderErrc::refused, failed.what(), failed.hint};  // no account is short of a right here
  }
}

inline std::vector<ProviderJob> CommandProvider::find_jobs(const Job& job, std::int64_t) {
  const detail::OwnFd folder = find_folder(job.id);
  if (!folder) return {};
  const State state = detail::trainer_state(folder.get());
  if (state.phase == State::Phase::none) return {};
  return {told(job.id, folder.get(), state)};
}

inline ProviderJob CommandProvider::get_job(const std::string& provider_job_id) {
  const detail::OwnFd folder = existing(provider_job_id);
  return told(provider_job_id, folder.get(), detail::trainer_state(folder.get()));
}

/// The mark is there before the signal: a supervisor that is not listening yet looks for it when it is.
inline ProviderJob CommandProvider::cancel_job(const std::string& provider_job_id) {
  const detail::OwnFd folder = existing(provider_job_id);
  State state = detail::trainer_state(folder.get());
  if (state.phase == State::Phase::ended || state.phase == State::Phase::vanished)
    throw ProviderError{ProviderErrc::refused, "job " + provider_job_id + " has ended"};
  const detail::OwnFd mark{
      ::openat(folder.get(), "cancel", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600)};
  if (!mark) fail(errno, (folder_ / provider_job_id).string() + "/cancel cannot be made");
  const std::int64_t asked_s = detail::changed_at_s(folder.get(), "cancel");
  state = detail::trainer_state(folder.get());
  int failed = 0;
  if (state.phase == State::Phase::running && state.supervisor != 0) {
    failed = ::kill(state.supervisor, SIGTERM);
  } else if (state.phase == State::Phase::running && state.trainer != 0) {  // somebody has killed its supervisor
    const bool patient = std::time(nullptr) <= asked_s + std::int64_t{options_.grace_ms} / 1'000;
    failed = ::kill(-state.trainer, patient ? SIGTERM : SIGKILL);
  }
  if (failed != 0 && errno != ESRCH) fail(errno, "job " + provider_job_id + " cannot be ended");
  return told(provider_job_id, folder.get(), detail::trainer_state(folder.get()));
}

inline CommandProvider::Read& CommandProvider::read_of(const std::string& id) {
  if (read_.size() >= most_remembered && !read_.contains(id)) read_.clear();
  return read_[id];
}

/// Reads what has come since the last look.
inline CommandProvider::Read& CommandProvider::scan(const std::string& id, int folder, bool ended) {
  using Kind = detail::TrainerEvent::Kind;
  Read& read = read_of(id);
  const detail::OwnFd file{::openat(folder, "events.jsonl", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (!file) return read;
  detail::GrowingLines lines{file.get(), read.scanned};
  while (const std::optional<std::string_view> line = lines.next(ended)) {
    check();
    detail::TrainerEvent event = detail::parse_trainer_event(*line);
    if (event.kind == Kind::result)
      read.result = std::move(event);
    else if (event.kind == Kind::error)
      read.error = std::move(event);
    else if (event.kind == Kind::progress)
      read.progress = std::move(event);
    else if (event.kind == Kind::checkpoint && is_model(event.model)) {
      if (event.metrics.size() > most_metrics) event.metrics.clear();
      if (read.checkpoints.size() == most_at_once) read.checkpoints.erase(read.checkpoints.begin());
      read.checkpoints.push_back({std::move(event.model), event.step, std::move(event.metrics)});
    }
    read.scanned = lines.place();
  }
  return read;
}

inline ProviderJob CommandProvider::told(const std::string& id, int folder, const State& state) {
  using Phase = State::Phase;
  const bool ended = state.phase == Phase::ended || state.phase == Phase::vanished;
  const Read& read = scan(id, folder, ended);
  ProviderJob job;
  job.id = id;
  constexpr std::size_t most_intent = 1 << 20;
  boost::json::error_code error;
  const std::string text = detail::read_small(folder, "job.json", most_intent).value_or("");
  const boost::json::value intent = boost::json::parse(text, error);
  if (const boost::json::object* object = error ? nullptr : intent.if_object(); object != nullptr)
    job.seed = static_cast<std::uint32_t>(std::min<std::uint64_t>(detail::count_in(*object, "seed"), 0x7FFF'FFFF));
  if (ended) {
    tell_end(job, state, read, folder);
    return job;
  }
  job.status = state.phase == Phase::running ? JobStatus::running : JobStatus::queued;
  job.provider_status = state.cancel_asked              ? "cancelling"
                        : state.phase != Phase::running ? "starting"
                        : state.supervised              ? "running"
                                                        : "running without its supervisor";
  const detail::TrainerEvent& last = read.progress;
  if (last.step != 0 && last.of > last.step && state.started_at_s != 0) {
    const auto now = std::int64_t{std::time(nullptr)};
    const double left = static_cast<double>(now - state.started_at_s) * static_cast<double>(last.of - last.step) /
                        static_cast<double>(last.step);
    constexpr double longest = 1e9;  // 30 years: no estimate
    if (left >= 0 && left < longest) job.expected_end_s = now + static_cast<std::int64_t>(left);
  }
  return job;
}

inline void CommandProvider::tell_end(ProviderJob& job, const State& state, const Read& read, int folder) {
  job.finished_at_s = state.finished_at_s;
  job.status = JobStatus::failed;
  if (state.phase == State::Phase::vanished) {
    job.provider_status = "vanished";
    if (state.cancel_asked)
      job.status = JobStatus::cancelled;
    else
      job.error =
          "the trainer has vanished: it runs no more, and nobody has seen how it ended (the machine was started anew, "
          "or "
          "its supervisor was killed)";
    return;
  }
  job.provider_status = (state.by_signal ? "signal " : "exited ") + std::to_string(state.code);
  if (state.end == detail::TrainerEnd::cancelled) {
    job.status = JobStatus::cancelled;
  } else if (state.end == detail::TrainerEnd::output) {
    job.error = "the trainer was ended: it printed too much on stdout, which is for events";
  } else if (!state.by_signal && state.code == 0) {
    succeed(job, read);
  } else {
    const std::string words = last_words(folder, read);
    const char* name = state.by_signal ? ::strsignal(state.code) : nullptr;
    job.error = "the trainer ended with " +
                (state.by_signal ? "signal " + std::to_string(state.code) + " (" + (name == nullptr ? "?" : name) + ")"
                                 : "exit status " + std::to_string(state.code)) +
                (words.empty() ? "" : ": " + words);
  }
}

/// True for a name that a registry takes.
inline bool CommandProvider::is_model(const std::string& name) {
  constexpr std::size_t longest = 1'024;  // max_model_bytes
  return !name.empty() && name.size() <= longest && detail::shown(name, longest) == name;
}

inline void CommandProvider::succeed(ProviderJob& job, const Read& read) {
  const std::string& model = read.result.model;
  const bool told = read.result.kind == detail::TrainerEvent::Kind::result;
  if (!told || model.empty()) {
    job.error =
        "the trainer ended well, but named no model: expected a line {\"event\":\"result\",\"model\":\"...\"} on "
        "stdout";
  } else if (!is_model(model)) {
    job.error = "the trainer names a model that no registry takes: it is too long, or has control characters";
  } else {
    job.status = JobStatus::succeeded;
    job.model = model;
    job.trained_tokens = read.result.trained_tokens;
  }
}

/// The last error that it told, or its last line on stderr.
inline std::string CommandProvider::last_words(int folder, const Read& read) {
  constexpr std::size_t most = 1'000;
  if (!read.error.message.empty()) return detail::shown(read.error.message, most);
  for (const char* name : {"stderr.log", "stderr.log.1"}) {
    const detail::OwnFd file{::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
    std::array<char, 4'096> tail;
    const off_t size = file ? ::lseek(file.get(), 0, SEEK_END) : -1;
    if (size <= 0) continue;
    const ssize_t got =
        ::pread(file.get(), tail.data(), tail.size(), std::max<off_t>(0, size - static_cast<off_t>(tail.size())));
    std::string_view text{tail.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
    const std::size_t end = text.find_last_not_of(" \t\r\n");
    if (end == std::string_view::npos) continue;
    text = text.substr(0, end + 1);
    const std::size_t line = text.rfind('\n');
    return detail::shown(text.substr(line == std::string_view::npos ? 0 : line + 1), most);
  }
  return {};
}

inline std::vector<JobEvent> CommandProvider::events(const std::string& provider_job_id, const std::string& after) {
  constexpr std::size_t most_bytes = 1 << 20;
  const detail::OwnFd folder = existing(provider_job_id);
  const State state = detail::trainer_state(folder.get());
  const bool ended = state.phase == State::Phase::ended || state.phase == State::Phase::vanished;
  const detail::OwnFd file{::openat(folder.get(), "events.jsonl", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  std::uint64_t known = 0;  // an id that is none of ours: from the beginning
  std::from_chars(after.data(), after.data() + after.size(), known);
  Read& read = read_of(provider_job_id);
  detail::GrowingLines lines{file.get(), read.told.lines <= known ? read.told : Place{}};
  const std::int64_t changed_at_s = detail::changed_at_s(folder.get(), "events.jsonl");
  std::vector<JobEvent> events;
  std::size_t bytes = 0;
  while (events.size() != most_at_once && bytes < most_bytes) {
    check();
    const std::optional<std::string_view> line = lines.next(ended);
    if (!line) break;
    const std::uint64_t number = lines.place().lines;
    if (number <= known) continue;
    const detail::TrainerEvent event = detail::parse_trainer_event(*line);
    const bool is_error = event.kind == detail::TrainerEvent::Kind::error;
    events.push_back({std::to_string(number), event.at_s != 0 ? event.at_s : changed_at_s, is_error ? "error" : "info",
                      detail::trainer_words(event, *line)});
    bytes += events.back().message.size();
  }
  read.told = lines.place();
  return events;
}

inline std::vector<Checkpoint> CommandProvider::checkpoints(const std::string& provider_job_id) {
  const detail::OwnFd folder = existing(provider_job_id);
  const State state = detail::trainer_state(folder.get());
  const bool ended = state.phase == State::Phase::ended || state.phase == State::Phase::vanished;
  std::vector<Checkpoint> found = scan(provider_job_id, folder.get(), ended).checkpoints;
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

}  // namespace canary
