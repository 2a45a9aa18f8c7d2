// A forked child must leave its parent's rings alone: their memory may be a file that both see.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "history.hpp"
#include "recorder_support.hpp"

namespace recorder_fork_test {

namespace {

using namespace canary;
using namespace canary::test;

/// Zeroed cells that a child shares.
template <class Atomics>
class SharedRing {
 public:
  using Cell = typename BasicRecorder<Atomics>::Cell;
  explicit SharedRing(std::size_t cells) : bytes_{cells * sizeof(Cell)} {
    void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    cells_ = static_cast<Cell*>(at);
  }
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;
  ~SharedRing() { munmap(cells_, bytes_); }
  [[nodiscard]] Cell* data() const { return cells_; }
  [[nodiscard]] std::vector<char> copy() const {
    const auto* bytes = reinterpret_cast<const char*>(cells_);
    return {bytes, bytes + bytes_};
  }

 private:
  std::size_t bytes_;
  Cell* cells_;
};

/// Runs `work` in a child; what it returned, or -1 if it did not return.
template <class Work>
int in_child(Work work) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(60);  // a deadlock ends the child
    _exit(work());
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Everything a recorder that came from the parent must refuse, from this thread and from a new one.
template <class Recorder>
bool refuses_all(Recorder& recorder) {
  Decision decision = decision_of(1);
  Decision had_one = decision_of(1);
  had_one.set_interaction(99);
  const auto refused = [&] {
    return !recorder.record(decision, {}) && !recorder.record(std::as_const(decision), {.ok = false}) &&
           !recorder.record(had_one, {}) && !recorder.assign(decision) && !recorder.feedback(99, 0.5) &&
           decision.interaction() == 0;
  };
  bool elsewhere = false;
  std::thread{[&] { elsewhere = refused(); }}.join();
  return refused() && elsewhere;
}

/// One that the child makes for itself records as any other.
template <class Atomics>
bool own_works() {
  Recording<Atomics> own{2, 8};
  own.set_node(5);
  own.recorder.set_time(noon_us);
  Decision decision = decision_of(2);
  if (!own.recorder.assign(decision) || !own.recorder.record(decision, {})) return false;
  bool elsewhere = false;
  std::thread{[&] { elsewhere = own.recorder.record(decision_of(3), {}); }}.join();
  return elsewhere && own.drain(0).size() == 2 && own.drain(1).size() == 1 && own.recorder.vacant_lanes() == 1;
}

TEST_CASE("fork: a child's records are refused, change nothing in the parent's rings, and the parent goes on",
          "[core][recorder][fork]") {
#if defined(CANARY_TSAN)
  SKIP("ThreadSanitizer does not follow a fork with threads");
#endif
  using Atomics = Apart<21>;
  const SharedRing<Atomics> held{8};
  const SharedRing<Atomics> vacant{8};
  auto r = std::make_unique<Recording<Atomics>>(0);
  r->set_node(1);
  r->recorder.set_time(noon_us);
  REQUIRE(r->recorder.add_lane(held.data(), 8));
  REQUIRE(r->recorder.add_lane(vacant.data(), 8));
  r->positions = {0, 0};
  for (std::uint32_t i = 0; i != 3; ++i) REQUIRE(r->recorder.record(decision_of(0, i), {}));
  const std::vector<char> before = held.copy();
  const std::vector<char> empty = vacant.copy();

  CHECK(in_child([&] {
          if (!refuses_all(r->recorder)) return 1;
          if (r->recorder.vacant_lanes() != 0) return 2;
          if (!own_works<Atomics>()) return 3;
          if (!refuses_all(r->recorder)) return 4;
          r.reset();  // the parent's recorder may end in the child
          return own_works<Atomics>() ? 0 : 5;
        }) == 0);
  CHECK(held.copy() == before);
  CHECK(vacant.copy() == empty);

  CHECK(r->recorder.vacant_lanes() == 1);
  for (std::uint32_t i = 3; i != 5; ++i) REQUIRE(r->recorder.record(decision_of(0, i), {}));
  const std::vector<Entry> entries = r->drain();
  REQUIRE(entries.size() == 5);
  for (std::uint32_t i = 0; i != 5; ++i) CHECK(entries[i].point == i);
  CHECK(r->torn == 0);
}

TEST_CASE("fork: a grandchild's and a late child's records are refused too", "[core][recorder][fork]") {
#if defined(CANARY_TSAN)
  SKIP("ThreadSanitizer does not follow a fork with threads");
#endif
  using Atomics = Apart<22>;
  const SharedRing<Atomics> ring{8};
  Recording<Atomics> r{0};
  REQUIRE(r.recorder.add_lane(ring.data(), 8));
  REQUIRE(r.recorder.record(decision_of(0), {}));
  const std::vector<char> before = ring.copy();
  CHECK(in_child([&] { return in_child([&] { return refuses_all(r.recorder) ? 0 : 1; }); }) == 0);
  CHECK(ring.copy() == before);
}

TEST_CASE("fork: children of a process whose threads record and end work, and its rings stay in order",
          "[core][recorder][fork]") {
#if defined(CANARY_TSAN) || defined(CANARY_ASAN)
  SKIP("a sanitizer's own locks may be held by a thread that ends while this one forks");
#endif
  if (!full_speed) SKIP("so may an emulator's");
  using Atomics = Apart<23>;
  std::vector<std::unique_ptr<SharedRing<Atomics>>> rings;
  Recording<Atomics> r{0};
  for (int i = 0; i != 3; ++i) {
    rings.push_back(std::make_unique<SharedRing<Atomics>>(64));
    REQUIRE(r.recorder.add_lane(rings.back()->data(), 64));
    r.positions.push_back(0);
  }
  REQUIRE(r.recorder.record(decision_of(0), {}));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> kept{0};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) kept += r.recorder.record(decision_of(1), {});
  });
  threads.emplace_back([&] {
    while (!stop) std::thread{[&] { kept += r.recorder.record(decision_of(2), {}); }}.join();
  });
  std::uint64_t drained = 0;
  for (int i = 0; i != 40; ++i) {
    CHECK(in_child([&] {
            if (!refuses_all(r.recorder)) return 1;
            return own_works<Atomics>() ? 0 : 2;
          }) == 0);
    for (std::size_t lane = 0; lane != 3; ++lane) drained += r.drain(lane).size();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (std::size_t lane = 0; lane != 3; ++lane) drained += r.drain(lane).size();
  CHECK(drained == kept + 1);
  CHECK(r.torn == 0);
}

}  // namespace

}  // namespace recorder_fork_test
