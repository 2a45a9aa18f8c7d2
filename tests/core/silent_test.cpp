// Deciding allocates nothing and takes no lock: the C library's functions for both are replaced by ones that count.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "canary/core/router.hpp"

namespace {

// Volatile: a compiler knows malloc and operator new, and that the library's own touch no variable of ours.
constinit thread_local volatile int allocations = 0;
constinit thread_local volatile int locks = 0;

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
  allocations = allocations + 1;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  allocations = allocations + 1;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  allocations = allocations + 1;
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  allocations = allocations + 1;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr;
}
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  locks = locks + 1;
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_lock");
  return real(mutex);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  locks = locks + 1;
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  return real(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  locks = locks + 1;
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  return real(lock);
}
int pthread_spin_lock(pthread_spinlock_t* lock) noexcept {
  locks = locks + 1;
  static auto* const real = next<int(pthread_spinlock_t*)>("pthread_spin_lock");
  return real(lock);
}
}

namespace {

using namespace canary;

struct Noise {
  int allocations;
  int locks;
  friend bool operator==(const Noise&, const Noise&) = default;
};

/// What `work` did on this thread.
template <class Work>
Noise noise_of(Work work) {
  const Noise before{allocations, locks};
  work();
  return {allocations - before.allocations, locks - before.locks};
}

constexpr Noise silence{0, 0};

TEST_CASE("silence: the counters see an allocation and a lock that are added", "[core][silent]") {
  std::mutex mutex;
  std::shared_mutex shared;
  int* volatile kept = nullptr;
  CHECK(noise_of([&] { kept = new int{1}; }) == Noise{1, 0});
  delete kept;
  void* volatile block = nullptr;
  CHECK(noise_of([&] { block = std::malloc(1); }) == Noise{1, 0});
  std::free(block);
  CHECK(noise_of([&] { const std::lock_guard guard{mutex}; }) == Noise{0, 1});
  CHECK(noise_of([&] { const std::shared_lock guard{shared}; }) == Noise{0, 1});
}

TEST_CASE("silence: deciding allocates nothing and takes no lock, also after changes", "[core][silent]") {
  Router router;
  const Task small = router.task("small", {.default_model = "base"});
  const Task large = router.task("large", {.default_model = "base"});
  const Task forced = router.task("forced", {.default_model = "base", .forced_model = "f"});
  std::vector<std::string> models;
  for (int i = 0; i != 300; ++i) models.push_back("m" + std::to_string(i));
  std::vector<VersionShare> shares;
  for (const std::string& model : models) shares.push_back({.model = model, .weight_ppm = 3'000});
  const std::vector<std::string> texts{"", "user-42", std::string(36, 'u'), std::string(300, 'l')};
  const std::vector<std::string_view> views{texts.begin(), texts.end()};
  std::vector<Decision> decisions(views.size());
  Reader reader = router.reader();
  (void)router.route(small, "k");  // attaches this thread

  for (std::uint32_t round = 0; round != 20; ++round) {
    shares[round].weight_ppm += round;
    REQUIRE(router.set_split(large, shares));
    REQUIRE(router.set_split(small, {{.model = "a", .weight_ppm = 100'000 + round}}));
    std::uint64_t sum = 0;
    CHECK(noise_of([&] {
            for (const Task task : {small, large, forced, Task{}}) {
              for (const std::string_view key : views) sum += router.route(task, key).model().size();
              for (std::uint64_t key = 0; key != 1'000; ++key) {
                sum += router.route(task, key).point();
                sum += reader.route(task, key).version_id().size();
                sum += router.route(task).revision();
              }
              router.route_many(task, views, decisions);
            }
          }) == silence);
    CHECK(sum != 0);
  }
}

TEST_CASE("silence: a thread's first decision takes no lock of ours and allocates its exit hook at most",
          "[core][silent]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  (void)router.route(task, "k");
  Noise first{};
  std::thread{[&] { first = noise_of([&] { (void)router.route(task, "k"); }); }}.join();
  // For the hook the C library may also take its loader's lock, which is not counted here.
  CHECK(first.locks == 0);
  CHECK(first.allocations <= 1);
}

}  // namespace
