// command_alert.hpp: alerts to a program of one's own, as JSON on its standard input. Layer adapters; needs a POSIX system.
//
// The program is run for each alert, without a shell, in a process group of its own, with every signal as new processes
// have it, its output thrown away, and no descriptor of this process but the JSON. Exit status 0 says that it was
// delivered, any other that it is to be tried again. After `timeout_ms` the group gets SIGTERM, and SIGKILL `grace_ms`
// later; its status is always taken, so no zombie stays. The JSON lies in an unnamed file, not in a pipe: no SIGPIPE, and
// nobody waits for a reader.
#pragma once

#if !__has_include(<spawn.h>) || !__has_include(<sys/wait.h>)
#error "command_alert.hpp needs a POSIX system: posix_spawn, waitpid"
#endif

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/adapters/command_environment.hpp"
#include "canary/control/alert.hpp"

namespace canary {

struct CommandOptions {
  std::vector<std::string> command;      ///< the program's path, which PATH is not searched for, and its arguments
  std::vector<std::string> hidden = {};  ///< variables that it does not get: those with secrets
  std::uint32_t timeout_ms = 10'000;
  std::uint32_t grace_ms = 1'000;
};

class CommandSink : public AlertSink {
 public:
  explicit CommandSink(CommandOptions options) : options_{std::move(options)} {}

  [[nodiscard]] std::string name() const override {
    return "command " + (options_.command.empty() ? std::string{} : options_.command.front());
  }
  /// Errors  refused for a program that cannot be started.
  [[nodiscard]] Sent send(const Alert& alert) override;
  void cancel() noexcept override {
    const std::lock_guard lock{mutex_};
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  [[nodiscard]] Sent wait(pid_t child);
  [[nodiscard]] std::optional<Sent> wait_until(pid_t child, std::chrono::steady_clock::time_point end, bool ends_early);

  CommandOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// An unnamed file with these bytes, to be read from its beginning; never inherited by accident.
class InputFile {
 public:
  explicit InputFile(std::string_view bytes) {
#ifdef MFD_CLOEXEC
    fd_ = ::memfd_create("canary-alert", MFD_CLOEXEC);
#else
    std::string name = (std::filesystem::temp_directory_path() / "canary-alert-XXXXXX").string();
    fd_ = ::mkstemp(name.data());
    if (fd_ >= 0) ::fcntl(fd_, F_SETFD, FD_CLOEXEC);
    if (fd_ >= 0) ::unlink(name.c_str());
#endif
    if (fd_ < 0) throw std::system_error{errno, std::generic_category(), "no file for an alert"};
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) {
        const int reason = errno;
        ::close(fd_);
        throw std::system_error{reason, std::generic_category(), "no file for an alert"};
      }
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    ::lseek(fd_, 0, SEEK_SET);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() { ::close(fd_); }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

/// How a new process begins.
class SpawnSettings {
 public:
  explicit SpawnSettings(int input) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_adddup2(&actions_, input, 0);
    ::posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0);
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 34)
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, 3);  // the host's own may lack close-on-exec
#endif
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::sigdelset(&all, SIGKILL);
    ::sigdelset(&all, SIGSTOP);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  [[nodiscard]] const posix_spawn_file_actions_t* actions() const noexcept { return &actions_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const noexcept { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace detail

inline Sent CommandSink::send(const Alert& alert) {
  if (options_.command.empty()) return {SendResult::refused, "no program is named; see alerts.command"};
  {
    const std::lock_guard lock{mutex_};
    if (cancelled_) return {SendResult::try_again, "cancelled"};
  }
  const detail::InputFile input{alert_json(alert) + '\n'};
  const detail::SpawnSettings settings{input.get()};
  std::vector<std::string> arguments = options_.command;
  std::vector<std::string> variables = detail::environment_without(options_.hidden);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, options_.command.front().c_str(), settings.actions(), settings.attributes(),
                                   detail::pointers_to(arguments).data(), detail::pointers_to(variables).data());
  if (failed == 0) return wait(child);
  const bool for_now = failed == EAGAIN || failed == ENOMEM || failed == EMFILE || failed == ENFILE;
  return {for_now ? SendResult::try_again : SendResult::refused,
          options_.command.front() + " cannot be run: " + std::strerror(failed) + "; see alerts.command"};
}

inline Sent CommandSink::wait(pid_t child) {
  const auto after = [](std::uint32_t ms) { return std::chrono::steady_clock::now() + std::chrono::milliseconds{ms}; };
  if (std::optional<Sent> sent = wait_until(child, after(options_.timeout_ms), true)) return *std::move(sent);
  ::kill(-child, SIGTERM);
  std::optional<Sent> ended = wait_until(child, after(options_.grace_ms), false);
  if (!ended) {
    ::kill(-child, SIGKILL);
    ended = wait_until(child, std::chrono::steady_clock::time_point::max(), false);
  }
  if (ended->result == SendResult::delivered) return *std::move(ended);  // it was as good as done
  return {SendResult::try_again, options_.command.front() + " was ended: it took longer than " +
                                     std::to_string(options_.timeout_ms) + " ms, or the program ends"};
}

/// Looks at the child until it has ended, more and more seldom; nothing when the time is over, or when it is cancelled.
inline std::optional<Sent> CommandSink::wait_until(pid_t child, std::chrono::steady_clock::time_point end,
                                                   bool ends_early) {
  constexpr std::chrono::milliseconds longest{50};
  std::chrono::milliseconds step{1};
  while (true) {
    int status = 0;
    const pid_t got = ::waitpid(child, &status, WNOHANG);
    if (got == child) {
      const std::string name = options_.command.front();
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Sent{SendResult::delivered, name + " took it"};
      const std::string how = WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                                : "signal " + std::to_string(WTERMSIG(status));
      return Sent{SendResult::try_again, name + ": " + how};
    }
    if (got < 0 && errno != EINTR)  // SIGCHLD is ignored, or somebody waits for every child
      return Sent{SendResult::refused, options_.command.front() +
                                           ": its exit status was taken by another part of this "
                                           "process, so nobody knows what became of it"};
    if (std::chrono::steady_clock::now() >= end) return {};
    std::unique_lock lock{mutex_};
    if (ends_early && changed_.wait_for(lock, step, [this] { return cancelled_; })) return {};
    if (!ends_early) changed_.wait_for(lock, step, [] { return false; });
    step = std::min(2 * step, longest);
  }
}

}  // namespace canary
