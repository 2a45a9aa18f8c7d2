// command_supervisor.hpp: a trainer, and who waits for it, both apart from this process. Layer adapters; Linux; a part of
// command_provider.hpp.
//
// A trainer runs for hours, and what started it may be restarted meanwhile. So it is no child of ours: a supervisor, forked
// off into a session of its own, starts it, waits for it, and writes down how it ended. In the job's folder:
//
//   lock           locked from before the start until the supervisor has ended: whoever finds it free starts nothing twice
//   process        who runs: the machine's boot, then number and start of the supervisor and of the trainer
//   events.jsonl   what the trainer prints
//   stderr.log     what it complains of; at half of `log_bytes` it becomes stderr.log.1, and another begins
//   cancel         somebody asked for its end
//   exit           how it ended: `exited 0 none 1764400000` or `signal 9 cancelled 1764400000`
//
// The trainer does not begin before `process` is on disk, so that nobody has to guess whether one runs. What comes after the
// fork calls the system and nothing else: this process may have threads, and their locks are never released there.
#pragma once

#if !defined(__linux__)
#error "command_provider.hpp needs Linux: locks of open files, signalfd, /proc"
#endif

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

namespace canary::detail {

/// A descriptor that closes itself, and is none of the first three, which a trainer gets others for.
class OwnFd {
 public:
  explicit OwnFd(int fd = -1) noexcept : fd_{fd} {
    if (fd < 0 || fd > 2) return;
    fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    ::close(fd);
  }
  OwnFd(OwnFd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  OwnFd& operator=(OwnFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnFd() { close(); }
  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// A line of words and numbers, made without the allocator. What does not fit is left out.
class PlainLine {
 public:
  PlainLine& operator<<(std::string_view text) noexcept {
    for (const char c : text)
      if (size_ != bytes_.size()) bytes_[size_++] = c;
    return *this;
  }
  PlainLine& operator<<(std::uint64_t number) noexcept {
    std::array<char, 20> digits;
    std::size_t at = digits.size();
    do digits[--at] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    return *this << std::string_view{digits.data() + at, digits.size() - at};
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<char, 192> bytes_;
  std::size_t size_ = 0;
};

/// Puts a whole file in the place of `name`, on disk when it returns; a crash leaves the old one or this.
/// Output  0, or the error.
[[nodiscard]] inline int put_file(int folder, const char* name, const char* fresh, std::string_view text) noexcept {
  const int fd = ::openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno;
  int error = 0;
  while (!text.empty() && error == 0) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put >= 0)
      text.remove_prefix(static_cast<std::size_t>(put));
    else if (errno != EINTR)
      error = errno;
  }
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  ::close(fd);
  if (error == 0 && ::renameat(folder, fresh, folder, name) != 0) error = errno;
  if (error == 0)
    ::fsync(folder);
  else
    ::unlinkat(folder, fresh, 0);
  return error;
}

/// What the system says of a process, from its state on; all of it is 0 for one that is not there.
class ProcessStat {
 public:
  explicit ProcessStat(pid_t pid) noexcept {
    PlainLine path;
    path << "/proc/" << static_cast<std::uint64_t>(pid) << "/stat" << std::string_view{"\0", 1};
    // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): it ends with the NUL that was put there
    const int fd = ::open(path.view().data(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t got = ::read(fd, bytes_.data(), bytes_.size());
    ::close(fd);
    rest_ = {bytes_.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
    const std::size_t name_end = rest_.rfind(") ");  // a program's name may have anything in it
    rest_.remove_prefix(name_end == std::string_view::npos ? rest_.size() : name_end + 2);
  }
  ProcessStat(const ProcessStat&) = delete;
  ProcessStat& operator=(const ProcessStat&) = delete;

  /// True unless it has ended, and is only waited for.
  [[nodiscard]] bool lives() const noexcept { return !rest_.empty() && rest_.front() != 'Z' && rest_.front() != 'X'; }
  /// A number of it, as the system's manual counts them: 3 is the state.
  [[nodiscard]] std::uint64_t field(int number) const noexcept {
    std::string_view rest = rest_;
    for (int i = 3; i != number && !rest.empty(); ++i)
      rest.remove_prefix(std::min(std::min(rest.find(' '), rest.size() - 1) + 1, rest.size()));
    std::uint64_t value = 0;
    for (; !rest.empty() && rest.front() >= '0' && rest.front() <= '9'; rest.remove_prefix(1))
      value = value * 10 + static_cast<std::uint64_t>(rest.front() - '0');
    return value;
  }

 private:
  std::array<char, 1'024> bytes_;
  std::string_view rest_ = {};
};

/// When a process began, in ticks since the machine did; 0: there is none, or what is left of one that has ended.
[[nodiscard]] inline std::uint64_t start_of(pid_t pid) noexcept {
  const ProcessStat stat{pid};
  constexpr int start = 22;
  return stat.lives() ? stat.field(start) : 0;
}

/// Why a supervisor ended its trainer.
enum class TrainerEnd : std::uint8_t { none, cancelled, output };

[[nodiscard]] constexpr std::string_view to_string(TrainerEnd end) noexcept {
  return end == TrainerEnd::none ? "none" : end == TrainerEnd::cancelled ? "cancelled" : "output";
}

/// All that a supervisor needs, made before the fork. Descriptors are above 2 and close on exec.
struct TrainerPlan {
  int folder = -1;  ///< of the job
  int lock = -1;    ///< locked
  int events = -1;  ///< to append to
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  std::string_view boot = {};
  std::uint32_t grace_ms = 10'000;
  std::uint64_t log_bytes = 1 << 20;
  std::uint64_t output_bytes = 1 << 30;
};

/// What the forked process does. No member allocates, throws or takes a lock.
class Supervisor {
 public:
  /// Input   `report`: gets one int, 0 when the trainer runs, else why it does not.
  Supervisor(const TrainerPlan& plan, int report) noexcept : plan_{plan}, report_{report} {}

  [[noreturn]] void run() noexcept;

 private:
  struct Pipe {
    int read = -1;
    int write = -1;
  };

  void leave_host() const noexcept;
  [[noreturn]] void run_trainer(int go, int failed, int complaints) const noexcept;
  [[nodiscard]] int let_go(const Pipe& go, const Pipe& failed) const noexcept;
  [[noreturn]] void watch() noexcept;
  [[noreturn]] void finish() noexcept;
  void end_trainer(TrainerEnd why) noexcept;
  void take_complaints() noexcept;
  void keep(std::string_view text) noexcept;
  [[nodiscard]] bool is_cancelled() const noexcept;
  [[nodiscard]] bool was_told_to_look() const noexcept;
  [[nodiscard]] bool has_exited() const noexcept;
  [[nodiscard]] bool prints_too_much() const noexcept;
  [[nodiscard]] bool open(Pipe& pipe) const noexcept;
  [[noreturn]] void give_up(int error) const noexcept;

  const TrainerPlan plan_;
  int report_;
  int signals_ = -1;
  int complaints_ = -1;
  int log_ = -1;
  std::uint64_t logged_ = 0;
  pid_t child_ = -1;
  TrainerEnd end_ = TrainerEnd::none;
  std::int64_t kill_at_ms_ = 0;
};

/// Starts a supervisor and, by it, the trainer.
/// Output  0 when the trainer runs; an error when nothing does; -1 when that is not known.
[[nodiscard]] inline int start_trainer(const TrainerPlan& plan, const std::atomic<bool>& cancelled) noexcept;

// ---------------------------------------------------------------------------------------------------------------------

[[nodiscard]] inline std::int64_t steady_ms() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

inline void close_between(unsigned first, unsigned last) noexcept {
  if (first > last) return;
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, first, last, 0u) == 0) return;
#endif
  rlimit limit{};
  constexpr rlim_t most = 1 << 20;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > most) limit.rlim_cur = most;
  for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; ++fd) ::close(static_cast<int>(fd));
}

/// The host's arguments and variables, as the system shows them of every process. Those may be secrets, and this one is to
/// live on when the host has ended. They are this process's own copy, at the end of its stack.
inline void forget_command_line() noexcept {
  constexpr int arguments_begin = 48;
  constexpr int variables_end = 51;
  const ProcessStat stat{::getpid()};
  const auto begin = static_cast<std::uintptr_t>(stat.field(arguments_begin));
  const auto end = static_cast<std::uintptr_t>(stat.field(variables_end));
  constexpr std::string_view name = "canary-trains";
  if (begin == 0 || end <= begin + name.size()) return;
  char* text = reinterpret_cast<char*>(begin);  // NOLINT(performance-no-int-to-ptr): the system tells it as a number
  std::memset(text, 0, end - begin);
  std::memcpy(text, name.data(), name.size());
}

/// Apart from the host in all that can be told apart: its terminal, its descriptors, its secrets.
inline void Supervisor::leave_host() const noexcept {
  forget_command_line();
  ::prctl(PR_SET_DUMPABLE, 0);  // no core dump either
  ::prctl(PR_SET_NAME, "canary-trains");
  ::signal(SIGCHLD, SIG_DFL);  // the host may ignore it, and then nobody learns how a child ended
  std::array<int, 4> kept{plan_.folder, plan_.lock, plan_.events, report_};
  std::sort(kept.begin(), kept.end());
  unsigned from = 3;
  for (const int fd : kept) {
    close_between(from, static_cast<unsigned>(fd) - 1);
    from = static_cast<unsigned>(fd) + 1;
  }
  close_between(from, ~0u);
  for (int fd = 0; fd != 3; ++fd) {
    ::close(fd);
    (void)!::open("/dev/null", O_RDWR);  // the lowest that is free
  }
}

inline bool Supervisor::open(Pipe& pipe) const noexcept {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  pipe = {ends[0], ends[1]};
  return true;
}

/// The lock goes first: who hears of the failure may begin anew at once.
inline void Supervisor::give_up(int error) const noexcept {
  ::close(plan_.lock);
  (void)!::write(report_, &error, sizeof error);
  ::_exit(1);
}

inline void Supervisor::run() noexcept {
  leave_host();
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGCHLD);
  ::sigaddset(&wanted, SIGTERM);
  signals_ = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  Pipe go;
  Pipe failed;
  Pipe complaints;
  if (signals_ < 0 || !open(go) || !open(failed) || !open(complaints)) give_up(errno);
  child_ = ::fork();
  if (child_ < 0) give_up(errno);
  if (child_ == 0) {
    ::close(go.write);
    run_trainer(go.read, failed.write, complaints.write);
  }
  ::setpgid(child_, child_);  // by both, whoever comes first
  ::close(go.read);
  ::close(failed.write);
  ::close(complaints.write);
  complaints_ = complaints.read;
  ::fcntl(complaints_, F_SETFL, O_NONBLOCK);
  if (const int error = let_go(go, failed); error != 0) {
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;  // it has the lock too
    ::unlinkat(plan_.folder, "process", 0);
    give_up(error);
  }
  const int well = 0;
  (void)!::write(report_, &well, sizeof well);
  ::close(report_);
  ::close(failed.read);
  (void)!::chdir("/");
  if (is_cancelled()) end_trainer(TrainerEnd::cancelled);
  watch();
}

/// Writes down who runs, then lets the trainer begin.
/// Output  0, or why it did not.
inline int Supervisor::let_go(const Pipe& go, const Pipe& failed) const noexcept {
  const pid_t self = ::getpid();
  PlainLine line;
  line << plan_.boot << " " << static_cast<std::uint64_t>(self) << " " << start_of(self) << " "
       << static_cast<std::uint64_t>(child_) << " " << start_of(child_) << "\n";
  if (const int error = put_file(plan_.folder, "process", "process.new", line.view()); error != 0) return error;
  (void)!::write(go.write, "g", 1);
  ::close(go.write);
  int error = 0;
  ssize_t got = 0;
  while ((got = ::read(failed.read, &error, sizeof error)) < 0 && errno == EINTR) continue;
  return got == sizeof error ? error : 0;  // closed by exec
}

inline void Supervisor::run_trainer(int go, int failed, int complaints) const noexcept {
  ::setpgid(0, 0);
  ::dup2(plan_.events, 1);
  ::dup2(complaints, 2);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  char word = 0;
  if (::read(go, &word, 1) != 1) ::_exit(127);  // the supervisor is gone: nobody would know of this one
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan_.arguments[0], plan_.arguments, plan_.environment);
  const int error = errno;
  (void)!::write(failed, &error, sizeof error);
  ::_exit(127);
}

inline void Supervisor::watch() noexcept {
  constexpr std::int64_t look_ms = 1'000;  // at how much it has printed
  for (;;) {
    std::int64_t wait_ms = look_ms;
    if (end_ != TrainerEnd::none) wait_ms = std::clamp<std::int64_t>(kill_at_ms_ - steady_ms(), 0, look_ms);
    std::array<pollfd, 2> ready{{{signals_, POLLIN, 0}, {complaints_, POLLIN, 0}}};
    ::poll(ready.data(), ready.size(), static_cast<int>(wait_ms));
    take_complaints();
    const bool told = was_told_to_look();
    if (has_exited()) finish();
    if (told && is_cancelled()) end_trainer(TrainerEnd::cancelled);
    if (prints_too_much()) end_trainer(TrainerEnd::output);
    if (end_ == TrainerEnd::none || steady_ms() < kill_at_ms_) continue;
    ::kill(-child_, SIGKILL);
    kill_at_ms_ = steady_ms() + look_ms;
  }
}

/// SIGTERM alone is no wish to cancel: whoever ends a service, or a machine, sends it to every process.
inline bool Supervisor::is_cancelled() const noexcept {
  return ::faccessat(plan_.folder, "cancel", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

inline bool Supervisor::was_told_to_look() const noexcept {
  bool told = false;
  signalfd_siginfo one{};
  while (::read(signals_, &one, sizeof one) == static_cast<ssize_t>(sizeof one))
    told = told || one.ssi_signo == static_cast<std::uint32_t>(SIGTERM);
  return told;
}

/// It is not waited for yet: until then its number is nobody else's, and its group can be ended.
inline bool Supervisor::has_exited() const noexcept {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

inline bool Supervisor::prints_too_much() const noexcept {
  struct stat now {};
  return ::fstat(plan_.events, &now) == 0 && static_cast<std::uint64_t>(now.st_size) > plan_.output_bytes;
}

inline void Supervisor::end_trainer(TrainerEnd why) noexcept {
  if (end_ != TrainerEnd::none) return;
  end_ = why;
  kill_at_ms_ = steady_ms() + plan_.grace_ms;
  ::kill(-child_, SIGTERM);
  ::kill(-child_, SIGCONT);  // one that was stopped hears nothing
}

/// A disk that is full now may not be later, and how a trainer ended is worth waiting for.
inline void Supervisor::finish() noexcept {
  ::kill(-child_, SIGKILL);  // what it has left behind would hold its memory, and write where nobody looks
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) continue;
  take_complaints();
  PlainLine line;
  if (WIFEXITED(status))
    line << "exited " << static_cast<std::uint64_t>(WEXITSTATUS(status));
  else
    line << "signal " << static_cast<std::uint64_t>(WTERMSIG(status));
  line << " " << to_string(end_) << " " << static_cast<std::uint64_t>(::time(nullptr)) << "\n";
  for (;;) {
    const int error = put_file(plan_.folder, "exit", "exit.new", line.view());
    if (error != ENOSPC && error != EDQUOT) ::_exit(0);
    const timespec second{1, 0};
    ::nanosleep(&second, nullptr);
  }
}

inline void Supervisor::take_complaints() noexcept {
  std::array<char, 16'384> block;
  constexpr int most = 64;  // blocks at once: one that never stops must not keep a signal waiting
  for (int i = 0; complaints_ >= 0 && i != most; ++i) {
    const ssize_t got = ::read(complaints_, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) ::close(std::exchange(complaints_, -1));
    if (got <= 0) return;
    keep({block.data(), static_cast<std::size_t>(got)});
  }
}

inline void Supervisor::keep(std::string_view text) noexcept {
  if (log_ >= 0 && logged_ + text.size() > plan_.log_bytes / 2) {
    ::close(std::exchange(log_, -1));
    ::renameat(plan_.folder, "stderr.log", plan_.folder, "stderr.log.1");
  }
  if (log_ < 0) {
    log_ = ::openat(plan_.folder, "stderr.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    logged_ = 0;
  }
  while (log_ >= 0 && !text.empty()) {
    const ssize_t put = ::write(log_, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;  // the disk is full, say: a log is not worth more
    logged_ += static_cast<std::uint64_t>(put);
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

inline int start_trainer(const TrainerPlan& plan, const std::atomic<bool>& cancelled) noexcept {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
  OwnFd heard{ends[0]};
  OwnFd report{ends[1]};
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);  // no handler of the host's may run in what is forked
  const pid_t between = ::fork();
  if (between == 0) {
    ::setsid();
    const pid_t own = ::fork();  // in its session, but not its leader: no terminal can become its own
    if (own == 0) Supervisor{plan, report.get()}.run();
    const int error = errno;
    if (own < 0) (void)!::write(report.get(), &error, sizeof error);
    ::_exit(0);
  }
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (between < 0) return error;
  report.close();
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) continue;
  int said = -1;
  for (;;) {
    pollfd ready{heard.get(), POLLIN, 0};
    const int some = ::poll(&ready, 1, 100);
    if (some > 0 && ::read(heard.get(), &said, sizeof said) != static_cast<ssize_t>(sizeof said)) return -1;
    if (some > 0) return said;
    if (cancelled.load(std::memory_order_relaxed)) return -1;
  }
}

}  // namespace canary::detail
