// Every allocation of every change fails once: the change says so, nothing has changed, and the next one goes through.
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "canary/core/router.hpp"

namespace {

constinit thread_local int allocations_left = -1;  // negative: no end

bool refused() noexcept { return allocations_left >= 0 && allocations_left-- == 0; }

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (refused()) return nullptr;
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  void* memory = allocate(size, alignof(std::max_align_t));
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  void* memory = allocate(size, static_cast<std::size_t>(alignment));
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

using namespace canary;

/// What anybody could see of a task.
struct Seen {
  std::uint32_t revision;
  Partition partition;
  std::vector<std::string> answers;
  std::size_t tasks;
  std::string next_version;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen look(const Router& router, Task task, Owner next) {
  Seen seen{router.revision(task),
            router.partition(task),
            {},
            router.task_count(),
            std::string{router.version(task, next).id}};
  for (std::uint64_t key = 0; key != 200; ++key) {
    const Decision d = router.route(task, key);
    seen.answers.push_back(std::string{d.version_id()} + ' ' + std::string{d.model()} + ' ' +
                           std::string{to_string(d.reason())});
  }
  return seen;
}

/// Lets the 1st, 2nd, 3rd ... allocation of `change` fail until none is left to fail; returns how many there were.
template <class Change>
int fail_every_allocation(Router& router, Task task, Owner next, Change change) {
  const Seen before = look(router, task, next);
  for (int n = 0;; ++n) {
    allocations_left = n;
    const bool done = change();
    const bool failed = allocations_left < 0;
    allocations_left = -1;
    if (!failed) {
      REQUIRE(done);
      return n;
    }
    INFO("allocation " << n);
    // A failed reservation of something not needed yet may be survived; otherwise nothing has changed.
    if (done) return n;
    REQUIRE(look(router, task, next) == before);
  }
}

TEST_CASE("out of memory: a change that fails at any allocation changes nothing, and the next goes through",
          "[core][oom]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  std::vector<std::string> models;
  for (int i = 0; i != 300; ++i) models.push_back("a-model-with-a-rather-long-name-" + std::to_string(i));
  Owner known = 0;
  for (const std::size_t count : {1u, 2u, 6u, 40u, 300u}) {
    std::vector<VersionShare> shares;
    for (std::size_t i = 0; i != count; ++i)
      shares.push_back({.model = models[i], .weight_ppm = static_cast<std::uint32_t>(1'000 + 7 * i)});
    const int failed = fail_every_allocation(router, task, static_cast<Owner>(known + 1),
                                             [&] { return router.set_split(task, shares).error == Errc::ok; });
    CHECK(failed > 3);
    known = static_cast<Owner>(count);
    CHECK(router.version(task, known).id == "t@" + std::to_string(known));
  }
  const auto configure = [&](const char* base, const char* forced) {
    return fail_every_allocation(router, task, static_cast<Owner>(known + 1), [&] {
      return router.configure(task, {.default_model = base, .forced_model = forced}) == Errc::ok;
    });
  };
  CHECK(configure("other", "") > 0);
  CHECK(configure("other", "pinned") > 0);
  CHECK(configure("base", "") > 0);
  CHECK(router.route(task, std::uint64_t{1}).reason() == Reason::split);
}

TEST_CASE("out of memory: a task that cannot be added is no task, and can be added later", "[core][oom]") {
  Router router;
  const Task task = router.task("first", {.default_model = "base"});
  for (int i = 0; i != 300; ++i) {
    const std::string name = "task-" + std::to_string(i);
    Task added;
    fail_every_allocation(router, task, 1, [&] {
      added = router.task(name, {.default_model = "base", .forced_model = i % 2 == 0 ? "pinned" : ""});
      return static_cast<bool>(added);
    });
    REQUIRE(router.find(name) == added);
    REQUIRE(router.route(added, "k").model() == (i % 2 == 0 ? "pinned" : "base"));
  }
  CHECK(router.task_count() == 301);
}

}  // namespace
