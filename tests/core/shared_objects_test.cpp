#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>
#include <vector>

#include "shared_objects_side.hpp"

namespace shared_objects_test {

namespace {

const Side& load(const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(handle != nullptr);
  const auto* side = static_cast<const Side*>(dlsym(handle, "canary_side"));
  REQUIRE(side != nullptr);
  return *side;
}

TEST_CASE("shared objects: two that include canary share one router", "[core][publish][shared]") {
  const Side& one = load(SIDE_ONE);
  const Side& two = load(SIDE_TWO);
  REQUIRE(one.domain() != two.domain());  // hidden visibility: else this tests nothing

  canary::Router* router = one.make();
  const canary::Task task = one.add(router, "t", "base");
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i != 4; ++i)
    threads.emplace_back([&, i] {
      for (std::uint64_t key = 0; !stop.load(std::memory_order_relaxed); ++key) {
        const canary::Decision d = (i % 2 == 0 ? one : two).route(router, task, key);
        wrong += d.model() != "base" && d.model() != "a";
      }
    });
  for (std::uint32_t i = 0; i != 3'000; ++i) wrong += !(i % 2 == 0 ? one : two).split(router, task, "a", i * 100);
  for (std::uint64_t key = 0; key != 1'000; ++key)
    wrong += one.route(router, task, key).version_id() != two.route(router, task, key).version_id();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(one.slots_held() == 2);  // this thread, through either side; the others have given theirs back
  CHECK(two.slots_held() == 0);

  {
    // Moved by one side's code, used by the other's: without a slot it goes through the mutex, and pins nothing.
    canary::Reader reader = router->reader();
    CHECK(reader.route(task, 1).model() == one.route(router, task, 1).model());
    canary::Reader taken = two.take(reader);
    CHECK(reader.route(task, 1).model() == taken.route(task, 1).model());  // NOLINT(bugprone-use-after-move)
    canary::Reader back = one.take(taken);
    CHECK(taken.route(task, 1).model() == back.route(task, 1).model());  // NOLINT(bugprone-use-after-move)
    CHECK(one.stand_in_is_clean());
    CHECK(two.stand_in_is_clean());
  }

  const pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    const bool routed = two.split(router, task, "a", 1'000'000) && two.route(router, task, 1).model() == "a" &&
                        one.route(router, task, 1).model() == "a";
    _exit(routed ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);

  one.destroy(router);
  // A router of the other side may get the same address; no cache mistakes it for the old one.
  canary::Router* second = two.make();
  const canary::Task other = two.add(second, "u", "second");
  CHECK(one.route(second, other, 1).model() == "second");
  CHECK(two.route(second, other, 1).model() == "second");
  two.destroy(second);
}

}  // namespace

}  // namespace shared_objects_test
