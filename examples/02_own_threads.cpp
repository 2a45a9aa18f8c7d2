// Threads that a server owns: a Reader each, batches, and requests that have no key.
#include <canary/core/router.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int requests = 200'000;

struct Counts {
  int base = 0;
  int canary = 0;
};

/// Routes until told to stop, while another thread changes the split.
Counts serve(const canary::Router& router, canary::Task task, const std::atomic<bool>& stop) {
  Counts counts;
  // [readme:reader]
  canary::Reader reader = router.reader();  // this thread's own way in: skips the thread-local look-up
  for (std::uint64_t user = 0; !stop.load(std::memory_order_relaxed); ++user) {
    const canary::Decision d = reader.route(task, user);
    ++(d.model() == "base" ? counts.base : counts.canary);
  }
  // [/readme:reader]
  return counts;
}

}  // namespace

int main() {
  canary::Router router;
  const canary::Task task = router.task("risk_explanation", {.default_model = "base"});
  router.set_split(task, {{.model = "canary", .weight_ppm = 10'000}});

  std::atomic<bool> stop{false};
  std::vector<Counts> counts(2);
  std::vector<std::thread> threads;
  for (Counts& mine : counts) threads.emplace_back([&] { mine = serve(router, task, stop); });
  for (std::uint32_t percent = 1; percent <= 100; ++percent) {
    router.set_split(task, {{.model = "canary", .weight_ppm = percent * 10'000}});  // no reader waits for this
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const Counts& c : counts) std::printf("a thread routed %d requests to base, %d to canary\n", c.base, c.canary);

  router.set_split(task, {{.model = "canary", .weight_ppm = 250'000}});
  // [readme:batch]
  const std::string_view keys[] = {"user-40", "user-41", "user-42", "user-43"};
  canary::Decision decisions[std::size(keys)];
  router.route_many(task, keys, decisions);  // one look at the split for all of them, memory fetched ahead
  // [/readme:batch]
  bool good = true;
  for (std::size_t i = 0; i != std::size(keys); ++i) {
    const canary::Decision d = decisions[i];
    good = good && d.version_id() == router.route(task, keys[i]).version_id();
    std::printf("%.*s -> %.*s\n", static_cast<int>(keys[i].size()), keys[i].data(), static_cast<int>(d.model().size()),
                d.model().data());
  }

  // Nothing to be sticky to: each request draws anew.
  int drawn = 0;
  for (int i = 0; i != requests; ++i) drawn += router.route(task).model() == "canary";
  std::printf("without a key %.2f %% went to canary, 25 %% were asked for\n", 100.0 * drawn / requests);
  // 2,000 is more than ten standard deviations.
  return good && drawn > requests / 4 - 2'000 && drawn < requests / 4 + 2'000 ? 0 : 1;
}
