// Recording allocates nothing, takes no lock and calls no system: the C library's functions are replaced by ones that
// count, and a filter of the kernel's ends a process at its first call.
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "recorder_support.hpp"

namespace {

// Volatile: a compiler knows malloc and operator new, and that the library's own touch no variable of ours.
constinit thread_local volatile int allocations = 0;
constinit thread_local volatile int locks = 0;

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
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  allocations = allocations + 1;
  return __libc_memalign(alignment, size);
}
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  locks = locks + 1;
  static auto* const real = reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  return real(mutex);
}
}

namespace {

using namespace canary;
using namespace canary::test;

struct Noise {
  int allocations;
  int locks;
  friend bool operator==(const Noise&, const Noise&) = default;
};

template <class Work>
Noise noise_of(Work work) {
  const Noise before{allocations, locks};
  work();
  return {allocations - before.allocations, locks - before.locks};
}

/// Everything that a request's thread may call, with rings that fill up and ticks that go by; how much was kept.
int record_everything(Recording<>& r) {
  int kept = 0;
  for (int tick = 0; tick != 50; ++tick) {
    r.recorder.set_time(noon_us + tick * 1'000);
    for (std::uint32_t i = 0; i != 1'000; ++i) {
      Decision decision = decision_of(i % 5, i);
      kept += r.recorder.assign(decision);
      kept += r.recorder.record(decision, {.latency_us = i, .score = 0.5, .tokens_in = i});
      kept += r.recorder.record(std::as_const(decision), {.ok = false, .score = 7.0, .cost_microusd = -1});
      kept += r.recorder.record(Decision{}, {});
      kept += r.recorder.feedback(decision.interaction(), 0.5);
    }
    const std::uint64_t drained = r.recorder.lane(0).next;
    r.recorder.lane(0).release(drained);
  }
  return kept;
}

TEST_CASE("silence: the counters see an allocation and a lock that are added", "[core][silent]") {
  std::mutex mutex;
  int* volatile kept = nullptr;
  CHECK(noise_of([&] { kept = new int{1}; }) == Noise{1, 0});
  delete kept;
  CHECK(noise_of([&] { const std::lock_guard guard{mutex}; }) == Noise{0, 1});
}

TEST_CASE("silence: recording allocates nothing and takes no lock, also when rings are full", "[core][silent]") {
  Recording<> r{1, 1'024};
  r.set_node(1);
  REQUIRE(r.recorder.record(decision_of(0), {}));  // attaches this thread
  int kept = 0;
  CHECK(noise_of([&] { kept = record_everything(r); }) == Noise{0, 0});
  CHECK(kept == 50 * 1'024 - 1);
}

TEST_CASE("silence: a thread's first record takes no lock of ours and allocates its exit hook at most",
          "[core][silent]") {
  Recording<> r{2};
  REQUIRE(r.recorder.record(decision_of(0), {}));
  Noise first{};
  std::thread{[&] { first = noise_of([&] { (void)r.recorder.record(decision_of(0), {}); }); }}.join();
  // For the hook the C library may also take its loader's lock, which is not counted here.
  CHECK(first.locks == 0);
  CHECK(first.allocations <= 1);
}

constexpr int not_permitted = 77;

/// From here on any system call but the end of the process is its end. False where the kernel does not let us.
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

/// How a child ended that ran `work` where no system call is allowed.
template <class Work>
int status_without_system_calls(Work work) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    Recording<> r{1, 1'024};  // its own: a child may not use its parent's
    r.set_node(1);
    if (!r.recorder.record(decision_of(0), {})) _exit(1);
    if (!forbid_system_calls()) _exit(not_permitted);
    _exit(work(r));
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}

TEST_CASE("silence: recording makes no system call", "[core][silent]") {
  const int caught = status_without_system_calls([](Recording<>&) { return getppid() == 0 ? 2 : 3; });
  if (WIFEXITED(caught) && WEXITSTATUS(caught) == not_permitted)
    SKIP("the kernel does not let a process filter its calls");
  REQUIRE(WIFSIGNALED(caught));  // the filter sees a call that is made
  CHECK(WTERMSIG(caught) == SIGSYS);
  const int status =
      status_without_system_calls([](Recording<>& r) { return record_everything(r) == 50 * 1'024 - 1 ? 0 : 2; });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
