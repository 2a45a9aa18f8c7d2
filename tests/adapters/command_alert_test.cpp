// Alerts to a program: what it gets, what its end means, and what is left of it.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/command_alert.hpp"
#include "temporary_folder.hpp"

namespace command_alert_test {

using namespace canary;

namespace {

/// A script in a folder of its own, which is its first argument.
struct Script {
  explicit Script(const std::string& body) {
    folder.write("run", "#!/bin/sh\n" + body + "\n");
    ::chmod((folder.path() / "run").c_str(), 0755);
  }
  [[nodiscard]] CommandOptions options() const {
    return {.command = {(folder.path() / "run").string(), folder.path().string()}};
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in{folder.path() / name, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  [[nodiscard]] bool wait_for(const std::string& name) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    while (read(name).empty() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return !read(name).empty();
  }
  TemporaryFolder folder;
};

Alert named(const std::string& message) {
  Alert alert;
  alert.message = message;
  return alert;
}

/// True if this process has no child any more, ended or not.
bool childless() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

}  // namespace

TEST_CASE("command: the program gets the JSON on stdin and its arguments as they are", "[adapters][command]") {
  const Script script{R"(cat > "$1/got"; printf '%s|' "$@" > "$1/arguments")"};
  CommandOptions options = script.options();
  options.command.insert(options.command.end(), {"two words", "", "$HOME; rm *"});
  CommandSink sink{options};
  Alert alert = named("h\xC3\xA9");
  CHECK(sink.send(alert).result == SendResult::delivered);
  CHECK(script.read("got") == alert_json(alert) + '\n');
  CHECK(script.read("arguments") == script.folder.path().string() + "|two words||$HOME; rm *|");
  CHECK(sink.name() == "command " + options.command[0]);
  CHECK(childless());
}

TEST_CASE("command: a long alert arrives whole, and a program that does not read is no harm", "[adapters][command]") {
  const Script reads{R"(wc -c > "$1/got")"};
  CommandSink reading{reads.options()};
  const Alert alert = named(std::string(3'000'000, 'x'));
  CHECK(reading.send(alert).result == SendResult::delivered);
  CHECK(std::stoul(reads.read("got")) == alert_json(alert).size() + 1);
  const Script ignores{"exit 0"};
  CommandSink ignoring{ignores.options()};
  CHECK(ignoring.send(alert).result == SendResult::delivered);  // and no SIGPIPE
}

TEST_CASE("command: its exit status says what became of it", "[adapters][command]") {
  const Script fails{"exit 3"};
  CommandSink failing{fails.options()};
  const Sent failed = failing.send(named("a"));
  CHECK(failed.result == SendResult::try_again);
  CHECK(failed.message.ends_with("exit status 3"));
  const Script dies{"kill -9 $$"};
  CommandSink dying{dies.options()};
  const Sent died = dying.send(named("a"));
  CHECK(died.result == SendResult::try_again);
  CHECK(died.message.ends_with("signal 9"));
  CommandSink missing{{.command = {"/nonexistent/program"}}};
  const Sent refused = missing.send(named("a"));
  CHECK(refused.result == SendResult::refused);
  CHECK(refused.message.find("No such file") != std::string::npos);
  CHECK(refused.message.find("alerts.command") != std::string::npos);
  CommandSink none{{}};
  CHECK(none.send(named("a")).result == SendResult::refused);
  CHECK(childless());
}

TEST_CASE("command: one that takes too long is asked to end, then ended, with all that it started",
          "[adapters][command]") {
  const Script polite{
      R"(trap 'echo asked > "$1/asked"; exit 1' TERM; echo up > "$1/up"; while :; do sleep 0.01; done)"};
  CommandOptions options = polite.options();
  options.timeout_ms = 300;
  options.grace_ms = 60'000;
  CommandSink asked{options};
  const Sent sent = asked.send(named("a"));
  CHECK(sent.result == SendResult::try_again);
  CHECK(sent.message.find("longer than 300 ms") != std::string::npos);
  if (polite.read("up") == "up\n") CHECK(polite.read("asked") == "asked\n");
  const Script deaf{R"(trap '' TERM; sleep 600 & echo $! > "$1/grandchild"; wait; sleep 600)"};
  options = deaf.options();
  options.timeout_ms = 300;
  options.grace_ms = 50;
  CommandSink ended{options};
  CHECK(ended.send(named("a")).result == SendResult::try_again);
  CHECK(childless());
}

TEST_CASE("command: cancel ends one that runs, and all that would come later", "[adapters][command]") {
  const Script hangs{R"(echo up > "$1/up"; exec sleep 600)"};
  CommandOptions options = hangs.options();
  options.timeout_ms = 600'000;
  CommandSink sink{options};
  std::thread other{[&] {
    (void)hangs.wait_for("up");
    sink.cancel();
  }};
  CHECK(sink.send(named("a")).result == SendResult::try_again);
  other.join();
  CHECK(sink.send(named("a")).result == SendResult::try_again);
  CHECK(childless());
}

TEST_CASE("command: it gets neither the secret, nor descriptors, nor blocked signals", "[adapters][command]") {
  ::setenv("CANARY_TEST_SECRET", "Zq7SECRETq7Z", 1);
  ::setenv("CANARY_TEST_PLAIN", "plain", 1);
  const int leaky = ::fcntl(0, F_DUPFD, 77);  // without close-on-exec, as a host may have it
  REQUIRE(leaky >= 77);
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const Script script{R"(env > "$1/env"; ls /proc/self/fd > "$1/fds")"};
  CommandOptions options = script.options();
  options.hidden = {"CANARY_TEST_SECRET"};
  CommandSink sink{options};
  const Sent sent = sink.send(named("a"));
  // Without a shell, which may take the mask off by itself.
  CommandSink copies{{.command = {"/usr/bin/env", "cp", "/proc/self/status", script.folder.path().string()}}};
  CHECK(copies.send(named("a")).result == SendResult::delivered);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(leaky);
  ::unsetenv("CANARY_TEST_SECRET");
  ::unsetenv("CANARY_TEST_PLAIN");
  CHECK(sent.result == SendResult::delivered);
  CHECK(script.read("env").find("Zq7SECRETq7Z") == std::string::npos);
  CHECK(script.read("env").find("CANARY_TEST_PLAIN=plain") != std::string::npos);
  CHECK(script.read("status").find("SigBlk:\t0000000000000000") != std::string::npos);
  CHECK(script.read("fds").find('\n' + std::to_string(leaky) + '\n') == std::string::npos);
}

TEST_CASE("command: where the host takes every child's status, that is said, and nothing is delivered twice",
          "[adapters][command]") {
  const Script script{"exit 0"};
  CommandSink sink{script.options()};
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGCHLD, &ignore, &before);
  const Sent sent = sink.send(named("a"));
  ::sigaction(SIGCHLD, &before, nullptr);
  CHECK(sent.result == SendResult::refused);
  CHECK(sent.message.find("exit status was taken") != std::string::npos);
}

}  // namespace command_alert_test
