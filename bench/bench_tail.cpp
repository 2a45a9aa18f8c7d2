// bench_tail: how long batches of 64 decisions take, while another thread publishes 1,000 times a second and while none does.
//
//   bench_tail [--rounds N] [--round-ms N] [--out FILE]
//
// Rounds of both kinds alternate in one process, so that both see the same machine; the report takes medians over rounds.
// Two series. `closed`: a batch starts when the one before has ended. A stall then delays the batches that would have come
// meanwhile without their being measured (coordinated omission). `schedule`: batches are due every 10 us and measured from
// when they were due, so that a stall counts for everything that waits behind it.
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>

#include "canary/core/router.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

constexpr std::size_t batch_size = 64;
constexpr std::int64_t due_every_ns = 10'000;
constexpr std::int64_t publish_every_ns = 1'000'000;
constexpr double quantiles[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
constexpr const char* quantile_names[] = {"p50", "p90", "p99", "p99.9", "p99.99"};

#if defined(__x86_64__)
[[gnu::always_inline]] inline std::uint64_t ticks() {
  unsigned core;
  return __rdtscp(&core);
}
#else
[[gnu::always_inline]] inline std::uint64_t ticks() { return static_cast<std::uint64_t>(now_ns()); }
#endif

double measure_ticks_per_ns() {
  const std::uint64_t ticks_begin = ticks();
  const std::int64_t begin = now_ns();
  while (now_ns() - begin < 20'000'000) {
  }
  return static_cast<double>(ticks() - ticks_begin) / static_cast<double>(now_ns() - begin);
}

struct World {
  explicit World(std::size_t count) {
    for (std::size_t i = 0; i != count; ++i) {
      tasks.push_back(router.task("task_" + std::to_string(i)));
      router.set_split(tasks.back(), splits[0].span());
    }
  }
  Shares splits[2]{Shares{{900'000, 100'000}}, Shares{{890'000, 110'000}}};
  Router router;
  std::vector<Task> tasks;
  TextKeys keys{36};
};

/// Publishes on schedule while it is told to, on the second processor.
class Writer {
 public:
  explicit Writer(World& world) : world_{world}, thread_{[this] { work(); }} {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    stop_ = true;
    set_busy(true);
    thread_.join();
  }
  void set_busy(bool busy) {
    busy_ = busy;
    busy_.notify_all();
  }
  [[nodiscard]] std::uint64_t published() const { return published_; }

 private:
  void work() {
    pin_to(1);
    wake_on_time();
    Random random{1};
    while (!stop_) {
      busy_.wait(false);
      std::int64_t at = now_ns();
      while (busy_ && !stop_) {
        const Task task = world_.tasks[random() % world_.tasks.size()];
        world_.router.set_split(task, world_.splits[random() % 2].span());
        ++published_;
        sleep_until_ns(at += publish_every_ns);
      }
    }
  }

  World& world_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};
  std::atomic<std::uint64_t> published_{0};
  std::thread thread_;
};

/// One batch; false if a decision's point or task is not the right one.
[[gnu::noinline]] std::uint64_t route_batch(const World& world, std::size_t begin, const Task* tasks,
                                            const VersionRecord** last) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != batch_size; ++i) {
    const Decision decision = world.router.route(tasks[i], world.keys[begin + i]);
    sum += decision.point();
    *last = &decision.record();
  }
  return sum;
}

struct Series {
  Histogram times;
  bool right = true;
};

Series measure(const World& world, bool scheduled, std::int64_t round_ns, double ticks_per_ns) {
  Series series;
  Random random{7};
  Task tasks[batch_size];
  const auto due_every = static_cast<std::uint64_t>(static_cast<double>(due_every_ns) * ticks_per_ns);
  std::uint64_t due = ticks() + due_every;
  const std::uint64_t end = ticks() + static_cast<std::uint64_t>(static_cast<double>(round_ns) * ticks_per_ns);
  for (std::size_t batch = 0;; ++batch) {
    for (Task& task : tasks) task = world.tasks[(random() >> 32) * world.tasks.size() >> 32];
    std::uint64_t begin = ticks();
    if (scheduled) {
      while (ticks() < due) {
      }
      begin = due;
      due += due_every;
    }
    const VersionRecord* last = nullptr;
    const std::uint64_t sum = route_batch(world, batch * batch_size, tasks, &last);
    const std::uint64_t now = ticks();
    series.times.add(now - begin);
    if (batch % 256 == 0) {
      std::uint64_t expected = 0;
      for (std::size_t i = 0; i != batch_size; ++i)
        expected += point_of(world.keys[batch * batch_size + i], tasks[i].seed());
      const auto task = static_cast<std::uint32_t>(tasks[batch_size - 1].index());
      series.right = series.right && sum == expected && last->task == task && last->reason == Reason::split;
    }
    if (now > end) return series;
  }
}

struct Options {
  int rounds = 15;
  int round_ms = 250;
  const char* out = nullptr;
};

bool run(const Options& options) {
  std::FILE* out = options.out == nullptr ? stdout : std::fopen(options.out, "w");
  if (out == nullptr) return false;
  const double ticks_per_ns = measure_ticks_per_ns();
  const std::time_t now = std::time(nullptr);
  char date[64];
  std::strftime(date, sizeof date, "%FT%T+00:00", std::gmtime(&now));
  std::fprintf(out,
               "{\"context\": {\"date\": \"%s\", \"compiler\": \"%s\", \"flags\": \"%s\", \"batch\": %zu, "
               "\"due_every_ns\": %lld, \"publish_every_ns\": %lld, \"rounds\": %d, \"round_ms\": %d},\n\"rounds\": [",
               date, __VERSION__, CANARY_BENCH_FLAGS, batch_size, static_cast<long long>(due_every_ns),
               static_cast<long long>(publish_every_ns), options.rounds, options.round_ms);
  bool right = true;
  const char* comma = "";
  for (const std::size_t tasks : {std::size_t{1'000}, std::size_t{100'000}}) {
    auto world = std::make_unique<World>(tasks);
    Writer writer{*world};
    measure(*world, false, 50'000'000, ticks_per_ns);  // warms up
    for (int round = 0; round != options.rounds; ++round) {
      for (const bool scheduled : {false, true}) {
        for (const int half : {0, 1}) {
          const bool busy = (half + round) % 2 == 1;  // either kind goes first in turn
          const std::uint64_t before = writer.published();
          writer.set_busy(busy);
          const Series series = measure(*world, scheduled, std::int64_t{options.round_ms} * 1'000'000, ticks_per_ns);
          writer.set_busy(false);
          right = right && series.right;
          std::fprintf(out,
                       "%s\n{\"tasks\": %zu, \"series\": \"%s\", \"kind\": \"%s\", \"round\": %d, \"batches\": %llu, "
                       "\"published\": %llu",
                       comma, tasks, scheduled ? "schedule" : "closed", busy ? "busy" : "idle", round,
                       static_cast<unsigned long long>(series.times.count()),
                       static_cast<unsigned long long>(writer.published() - before));
          for (std::size_t q = 0; q != std::size(quantiles); ++q)
            std::fprintf(out, ", \"%s\": %.1f", quantile_names[q],
                         static_cast<double>(series.times.quantile(quantiles[q])) / ticks_per_ns);
          std::fprintf(out, ", \"max\": %.1f}", static_cast<double>(series.times.max()) / ticks_per_ns);
          comma = ",";
        }
      }
    }
  }
  std::fprintf(out, "\n],\n\"right\": %s}\n", right ? "true" : "false");
  if (out != stdout) std::fclose(out);
  if (!right) std::fprintf(stderr, "%s\n", wrong_route);
  return right;
}

}  // namespace
}  // namespace canary::bench

int main(int argc, char** argv) {
  canary::bench::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) options.rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--round-ms") == 0) options.round_ms = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--out") == 0) options.out = argv[i + 1];
  }
  canary::bench::pin_to(0);
  return canary::bench::run(options) ? 0 : 1;
}
