// process.hpp: a peer process, its lines, and its end.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace canary::test {

class Process {
 public:
  explicit Process(const std::vector<std::string>& command) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error{"pipe2"};
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = ends[0];
  }
  Process(Process&& other) noexcept
      : pid_{std::exchange(other.pid_, -1)}, out_{std::exchange(other.out_, -1)}, rest_{std::move(other.rest_)} {}
  Process& operator=(Process&&) = delete;
  ~Process() {
    if (pid_ > 0) (void)kill();
    if (out_ >= 0) ::close(out_);
  }

  /// The next line; nothing at the end, or when none has come in time.
  [[nodiscard]] std::optional<std::string> line(std::chrono::milliseconds at_most = std::chrono::minutes{2}) {
    const auto deadline = std::chrono::steady_clock::now() + at_most;
    for (;;) {
      if (const std::size_t end = rest_.find('\n'); end != std::string::npos) {
        std::string one = rest_.substr(0, end);
        rest_.erase(0, end + 1);
        return one;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd ready{out_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) == 0) return {};
      char block[4'096];
      const ssize_t got = ::read(out_, block, sizeof block);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return {};
      rest_.append(block, static_cast<std::size_t>(got));
    }
  }
  /// Every line up to its end.
  [[nodiscard]] std::vector<std::string> lines() {
    std::vector<std::string> all;
    while (std::optional<std::string> one = line()) all.push_back(*std::move(one));
    return all;
  }

  void signal(int number) const { ::kill(pid_, number); }
  int kill() {
    signal(SIGKILL);
    return wait();
  }
  /// Exit code; 128 + signal when it was killed.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string rest_;
};

}  // namespace canary::test
