#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>
#include <vector>

#include "canary/core/router.hpp"
#include "history.hpp"

namespace publish_fork_test {

namespace {

using namespace canary;

struct Forked {
  template <class T>
  using atomic = std::atomic<T>;
};

/// What a child may do: route as before, change, route the change; with the slots of its one thread alone.
int child(BasicRouter<Forked>& router, BasicReader<Forked>& reader, Task task, Point parents) {
  alarm(60);  // a deadlock ends the child
  const Decision before = router.route(task, "k");
  if (before.model() != "a" && before.model() != "b") return 1;
  const Decision by_handle = reader.route(task, "k");
  if (by_handle.model() != "a" && by_handle.model() != "b") return 2;
  if (!router.set_split(task, {{.model = "child", .weight_ppm = 1'000'000}})) return 3;
  if (router.route(task, "k").model() != "child" || reader.route(task, "k").model() != "child") return 4;
  std::size_t held = 0;
  detail::SlotDomain<Forked>::local().for_each_slot(
      [&](auto& slot) { held += slot.holder.load() != detail::Holder::nobody; });
  if (held != 2) return 5;  // this thread's and the handle's
  if (router.route(task).point() == parents) return 6;
  int routed = 0;
  std::thread{[&] { routed = router.route(task, "k").model() == "child"; }}.join();
  return routed == 1 ? 0 : 7;
}

TEST_CASE("fork: a child of a process that is publishing routes and changes on its own", "[core][publish][fork]") {
#if defined(CANARY_TSAN)
  SKIP("ThreadSanitizer does not follow a fork with threads");
#endif
  BasicRouter<Forked> router;
  const Task task = router.task("t");
  router.set_split(task, {{.model = "a", .weight_ppm = 1'000'000}});
  BasicReader<Forked> reader = router.reader();
  (void)router.route(task, "k");
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int i = 0; !stop; ++i) router.set_split(task, {{.model = i % 2 == 0 ? "a" : "b", .weight_ppm = 1'000'000}});
  });
  threads.emplace_back([&] {
    while (!stop) (void)router.route(task, "x");
  });
  for (int i = 0; i != 40; ++i) {
    // The next draw, which the child must not repeat: splitmix64 is deterministic, so the parent draws after forking.
    int pipes[2];
    REQUIRE(pipe(pipes) == 0);
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      Point parents = 0;
      if (read(pipes[0], &parents, sizeof parents) != sizeof parents) _exit(8);
      _exit(child(router, reader, task, parents));
    }
    const Point parents = router.route(task).point();
    REQUIRE(write(pipes[1], &parents, sizeof parents) == sizeof parents);
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    close(pipes[0]);
    close(pipes[1]);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(router.route(task, "k").model() != "child");
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

}  // namespace publish_fork_test
