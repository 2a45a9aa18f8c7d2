// recorder_peer: a server that records as fast as it can, for tests that kill it.
//   recorder_peer URL FOLDER SOURCE MODE
// Two threads, sources SOURCE and SOURCE + 1, record the numbers 1, 2, 3, ... of the task `checks`. The last number that
// record() answered true for stands in FOLDER/confirmed-SOURCE, two numbers of 64 bits, which outlive this process.
// MODE `fast`: as fast as it goes; `commits`: slowly, while another thread flushes all the time, so that there is always a
// commit under way; `routed`: as fast, each routed and assigned before.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "canary/engine.hpp"
#include "peer_store.hpp"
#include "recorder_peer.hpp"

using namespace canary;

namespace {

using Confirmed = std::atomic<std::uint64_t>;
static_assert(Confirmed::is_always_lock_free);

/// Zero before anything is recorded.
Confirmed* map_confirmed(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, 2 * sizeof(Confirmed)) != 0) return nullptr;
  void* at = ::mmap(nullptr, 2 * sizeof(Confirmed), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return at == MAP_FAILED ? nullptr : static_cast<Confirmed*>(at);
}

void record(Engine& engine, std::uint32_t source, std::string_view mode, Confirmed& confirmed) {
  const Task task = engine.task("checks");
  Decision decision = engine.route(task, std::uint64_t{source});
  decision.set_interaction(0);
  for (std::uint32_t number = 1;; ++number) {
    Outcome outcome;
    outcome.latency_us = number % 5'000;
    outcome.tokens_in = source;
    outcome.tokens_out = number;
    if (mode == "routed") decision = engine.route(task, std::uint64_t{number});
    while (!engine.record(static_cast<const Decision&>(decision), outcome)) std::this_thread::yield();
    confirmed.store(number, std::memory_order_relaxed);
    if (mode == "commits" && number % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
}

int run(const std::string& url, const std::string& folder, std::uint32_t source, std::string_view mode) {
  Confirmed* confirmed = map_confirmed(folder + "/confirmed-" + std::to_string(source));
  if (confirmed == nullptr) return 3;
  Engine engine{test::recorder_config(url, folder), test::peer_store(url)};
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i != 2; ++i)
    threads.emplace_back([&, i] { record(engine, source + i, mode, confirmed[i]); });
  std::puts("recording");
  std::fflush(stdout);
  while (mode == "commits") (void)engine.flush(std::chrono::seconds{1});
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    return run(argv[1], argv[2], static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)), argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "recorder_peer: %s\n", error.what());
    return 1;
  }
}
