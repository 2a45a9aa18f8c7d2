// What a request's thread does in an engine makes no system call, though its ring lies in a file: a filter of the kernel's
// ends the process at the first. The engine's own threads go on with theirs.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "canary/engine.hpp"
#include "recorded.hpp"

namespace engine_silent_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr int not_permitted = 77;
constexpr std::uint32_t requests = 5'000;  // with their assignments and feedback they fit into one ring

/// From here on any system call of this thread but the end of the process is its end. False where the kernel forbids that.
bool forbid_system_calls() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

Config configuration(const TemporaryFolder& folder) {
  Config config;
  config.store.url = "sqlite:" + (folder.path() / "canary.db").string();
  config.store.state.clear();
  config.recorder.spool = (folder.path() / "spool").string();
  config.recorder.lane_mb = 1;
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  config.tasks.push_back(task);
  return config;
}

std::unique_ptr<Store> store_of(const Config& config) { return std::make_unique<SqliteStore>(config.store.url); }

/// In a child: routes and records without a system call, or, when `noisy`, with one. How it ended.
int status_of_requests(const Config& config, bool noisy) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    Engine engine{config, store_of(config)};
    if (!engine.status().recording.on_disk) _exit(3);
    const Task task = engine.task("checks");
    (void)engine.record(engine.route(task, "key"), {});  // attaches this thread
    (void)engine.flush(std::chrono::seconds{60});
    if (!forbid_system_calls()) _exit(not_permitted);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i != requests; ++i) {
      Decision decision = engine.route(task, std::uint64_t{i});
      kept += engine.record(decision, {.latency_us = i, .score = 0.5, .tokens_in = 1, .tokens_out = i + 1});
      kept -= !engine.feedback(decision.interaction(), 0.25);
      if (noisy && getppid() == 0) _exit(4);
    }
    _exit(kept == requests ? 0 : 2);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_CASE("silence: routing, recording and feedback in an engine with its ring in a file make no system call",
          "[fault][silent]") {
  const TemporaryFolder folder;
  const Config config = configuration(folder);
  {
    const std::unique_ptr<Store> store = store_of(config);
    (void)Registry{*store}.register_version("checks", {.model = "v1"});
    (void)Registry{*store}.canary("checks", 1, 500'000);
  }
  const int caught = status_of_requests(config, true);
  if (WIFEXITED(caught) && WEXITSTATUS(caught) == not_permitted)
    SKIP("the kernel does not let a process filter its calls");
  REQUIRE(WIFSIGNALED(caught));  // the filter sees a call that is made
  CHECK(WTERMSIG(caught) == SIGSYS);
  const int status = status_of_requests(config, false);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  Engine next{config, store_of(config)};  // the child ended at once: what it recorded is in its file
  REQUIRE(next.flush(std::chrono::minutes{5}));
  std::uint32_t found = 0;
  for (const auto& [id, row] : recorded_rows(*store_of(config))) found += row.tokens_in == 1;
  CHECK(found >= requests);
}

}  // namespace engine_silent_test
