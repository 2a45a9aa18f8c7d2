// command_state.hpp: what a job's folder says of its trainer. Layer adapters; Linux; a part of command_provider.hpp.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "canary/adapters/command_supervisor.hpp"

namespace canary::detail {

/// The beginning of a file in a folder; nothing if there is none that can be read. Links are not followed, nor is anything
/// waited for: a trainer may put what it likes there.
[[nodiscard]] inline std::optional<std::string> read_small(int folder, const char* name, std::size_t most = 4'096) {
  const OwnFd fd{::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (!fd) return {};
  std::string text(most, '\0');
  std::size_t size = 0;
  while (size != most) {
    const ssize_t got = ::read(fd.get(), text.data() + size, most - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {};
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

/// Which start of the machine this is: numbers of processes begin anew with each.
[[nodiscard]] inline std::string boot_name() {
  std::string name = read_small(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64).value_or("");
  while (!name.empty() && name.back() <= ' ') name.pop_back();
  return name.empty() || name.find(' ') != std::string::npos ? "unknown" : name;
}

[[nodiscard]] inline struct flock whole_file() noexcept {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

/// Locks a file for as long as its descriptor, or one that a fork made of it, is open.
/// Output  0; EAGAIN or EACCES where another has it.
[[nodiscard]] inline int lock_file(int fd) noexcept {
  struct flock lock = whole_file();
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

/// True if somebody has it locked. Nobody is kept from locking it by being asked.
[[nodiscard]] inline bool is_locked(int folder) noexcept {
  const OwnFd fd{::openat(folder, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  struct flock lock = whole_file();
  return fd && ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/// A trainer, as its folder and the system tell.
struct TrainerState {
  enum class Phase : std::uint8_t {
    none,      ///< never started
    starting,  ///< somebody is at it
    running,
    ended,     ///< with `code` or by `signal`
    vanished,  ///< it ran, runs no more, and nobody has seen its end
  };
  Phase phase = Phase::none;
  bool cancel_asked = false;
  bool supervised = false;
  pid_t supervisor = 0;
  pid_t trainer = 0;  ///< of the running one; its group has the same number
  std::int64_t started_at_s = 0;
  bool by_signal = false;
  int code = 0;  ///< exit status, or the signal
  TrainerEnd end = TrainerEnd::none;
  std::int64_t finished_at_s = 0;
};

/// Words of a line, one after the other.
class Words {
 public:
  explicit Words(std::string_view text) noexcept : rest_{text.substr(0, text.find('\n'))} {}

  [[nodiscard]] std::string_view word() noexcept {
    const std::string_view one = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(std::min(rest_.size(), one.size() + 1));
    return one;
  }
  /// A number of at most `most`; failed() for anything else.
  [[nodiscard]] std::int64_t number(std::int64_t most) noexcept {
    const std::string_view one = word();
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), value);
    failed_ = failed_ || error != std::errc{} || end != one.data() + one.size() || value < 0 || value > most;
    return failed_ ? 0 : value;
  }
  void want(bool good) noexcept { failed_ = failed_ || !good; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

/// Who runs; false for what no supervisor wrote.
inline bool read_process(std::string_view text, TrainerState& state) {
  constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t most_pid = std::numeric_limits<pid_t>::max();
  Words words{text};
  const bool this_boot = words.word() == boot_name();
  const auto supervisor = static_cast<pid_t>(words.number(most_pid));
  const std::int64_t supervisor_start = words.number(any);
  const auto trainer = static_cast<pid_t>(words.number(most_pid));
  const std::int64_t trainer_start = words.number(any);
  if (words.failed()) return false;
  const auto alive = [this_boot](pid_t pid, std::int64_t start) {
    return this_boot && pid > 1 && start > 0 && start_of(pid) == static_cast<std::uint64_t>(start);
  };
  if (alive(supervisor, supervisor_start)) state.supervisor = supervisor;
  if (alive(trainer, trainer_start)) state.trainer = trainer;
  return true;
}

/// How it ended; false for what no supervisor wrote.
inline bool read_exit(std::string_view text, TrainerState& state) {
  constexpr std::int64_t last_time = 253'402'300'799;  // of year 9999
  Words words{text};
  const std::string_view how = words.word();
  words.want(how == "exited" || how == "signal");
  state.by_signal = how == "signal";
  state.code = static_cast<int>(words.number(255));
  const std::string_view why = words.word();
  words.want(why == "none" || why == "cancelled" || why == "output");
  state.end = why == "cancelled" ? TrainerEnd::cancelled : why == "output" ? TrainerEnd::output : TrainerEnd::none;
  state.finished_at_s = words.number(last_time);
  return !words.failed();
}

[[nodiscard]] inline std::int64_t changed_at_s(int folder, const char* name) noexcept {
  struct stat found {};
  return ::fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) == 0 ? std::int64_t{found.st_mtim.tv_sec} : 0;
}

/// The lock is asked first: a supervisor writes the end before it lets go, so a free lock means that all has been said.
[[nodiscard]] inline TrainerState look_at_trainer(int folder) {
  using Phase = TrainerState::Phase;
  TrainerState state;
  state.supervised = is_locked(folder);
  state.cancel_asked = ::faccessat(folder, "cancel", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  const std::optional<std::string> process = read_small(folder, "process");
  const bool known = process && read_process(*process, state);
  if (process) state.started_at_s = changed_at_s(folder, "process");
  if (const std::optional<std::string> end = read_small(folder, "exit"); end && read_exit(*end, state)) {
    state.phase = Phase::ended;
  } else if (state.supervised) {
    state.phase = known ? Phase::running : Phase::starting;
  } else if (known && state.trainer != 0) {
    state.phase = Phase::running;
  } else if (process || end) {
    state.phase = Phase::vanished;
    state.finished_at_s = changed_at_s(folder, "events.jsonl");
  }
  return state;
}

/// One that was started after the lock was asked, and ended before the rest was read, has not vanished: a second look tells.
[[nodiscard]] inline TrainerState trainer_state(int folder) {
  const TrainerState state = look_at_trainer(folder);
  return state.phase == TrainerState::Phase::vanished ? look_at_trainer(folder) : state;
}

}  // namespace canary::detail
