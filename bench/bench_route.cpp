// bench_route: what one decision costs, beside the seeded hash of its key alone and the loop alone.
//
// Axes: key (8, 16, 36, 64 bytes of text, or a number), versions per task, threads, and the task: `held` by the caller,
// or picked at random among 1 to 100,000 handles in memory (1 for comparison: the same loop). `hot` asks
// for one decision after another, `chain` picks each key by the decision before, so that nothing overlaps.
// `beside_guard` rows decide while the second processor is idle, or judges candidates without a pause.
// Every row walks the same sequence of (task, key); its sum of points and records is checked against the partitions.
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include "canary/control/guard.hpp"
#include "canary/core/router.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

/// A router with all its tasks split alike.
struct World {
  World(std::size_t task_count, std::size_t version_count) {
    const Shares shares{weights_of(version_count)};
    for (std::size_t i = 0; i != task_count; ++i) {
      tasks.push_back(router.task("task_" + std::to_string(i)));
      router.set_split(tasks.back(), shares.span());
    }
  }
  Router router;
  std::vector<Task> tasks;
};

/// Built once and kept: repetitions are interleaved.
World& world_of(std::size_t tasks, std::size_t versions) {
  static std::mutex mutex;
  static std::map<std::pair<std::size_t, std::size_t>, std::unique_ptr<World>> worlds;
  const std::lock_guard lock{mutex};
  tasks = std::max<std::size_t>(1, tasks);
  auto& world = worlds[{tasks, versions}];
  if (!world) world = std::make_unique<World>(tasks, versions);
  return *world;
}

/// Walks over tasks in an order that no prefetcher and no branch predictor follows. Each step is computed from its
/// number alone, so that the loop itself has no chain.
class Walk {
 public:
  explicit Walk(std::size_t tasks) : tasks_{std::max<std::size_t>(1, tasks)} {}
  [[nodiscard]] std::size_t at(std::size_t step) const {
    auto mixed = static_cast<std::uint32_t>(step % period) * 0x9E37'79B1u;
    mixed = (mixed ^ mixed >> 15) * 0x85EB'CA77u;
    return std::uint64_t{mixed} * tasks_ >> 32;
  }
  static constexpr std::size_t period = std::size_t{1} << 18;

 private:
  std::size_t tasks_;
};

enum class What { loop, hash, route, reader };
enum class Mode { hot, chain };

struct Axes {
  What what;
  Mode mode;
  std::size_t key_length;  // 0: a number
  std::size_t versions;
  std::size_t tasks;  // 0: one, held by the caller
  auto operator<=>(const Axes&) const = default;
};

struct Answer {
  std::uint64_t sum = 0;
  std::size_t next = 0;  // the key that the decision picks in chain mode
};

Answer answer_of(const Decision& decision) {
  const auto place = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&decision.record()));
  return {place + decision.point(), static_cast<std::size_t>(place / sizeof(VersionRecord) + decision.point())};
}

/// What the timed loop must sum up to: points by the hash, owners by the partition's own binary search, and each
/// owner's record by the decision for the first point of one of its runs.
template <class Keys>
std::uint64_t expected_sum(const Axes& axes, const Keys& keys, std::size_t iterations) {
  World& world = world_of(axes.tasks, axes.versions);
  std::map<std::size_t, std::pair<Partition, std::map<Owner, const VersionRecord*>>> known;
  const auto owner_record = [&](std::size_t task, Point point) {
    auto [at, fresh] = known.try_emplace(task);
    auto& [partition, records] = at->second;
    if (fresh) {
      partition = world.router.partition(world.tasks[task]);
      for (const Run& run : partition.runs()) {
        const VersionRecord& record = world.router.decide(world.tasks[task], run.start).record();
        const VersionName name = world.router.version(world.tasks[task], run.owner);
        const bool right = record.owner == run.owner && std::string_view{record.model, record.model_size} == name.model;
        records[run.owner] = right ? &record : nullptr;  // null breaks the sum
      }
    }
    return records[partition.owner_at(point)];
  };
  Walk walk{axes.tasks};
  std::uint64_t sum = 0;
  std::size_t key = 0;
  for (std::size_t i = 0; i != iterations; ++i) {
    const std::size_t task = walk.at(i);
    const Point point = point_of(keys[key], world.tasks[task].seed());
    const Answer answer = axes.what == What::route || axes.what == What::reader
                              ? answer_of(Decision{owner_record(task, point), point, 0})
                              : Answer{point, point};
    sum += answer.sum;
    key = axes.mode == Mode::hot ? i + 1 : answer.next;
  }
  return sum;
}

/// Hot sums repeat with the walk's period (a multiple of the keys), so one period is enough; a chain has none.
template <class Keys>
std::uint64_t expected_once(const Axes& axes, const Keys& keys, std::size_t iterations) {
  static std::mutex mutex;
  static std::map<Axes, std::uint64_t> known;
  const std::lock_guard lock{mutex};
  const std::size_t period = axes.mode == Mode::hot ? Walk::period : iterations;
  const auto [at, fresh] = known.try_emplace(axes, 0);
  if (fresh) at->second = expected_sum(axes, keys, period) * (iterations / period);
  return at->second;
}

template <class Keys, What what, Mode mode, bool held>
[[gnu::noinline]] std::uint64_t timed_loop(benchmark::State& state, const Keys& keys, const World& world,
                                           Reader* reader) {
  const Walk walk{world.tasks.size()};
  const Router& router = world.router;
  const Task* tasks = world.tasks.data();
  const Task only = tasks[0];
  std::uint64_t sum = 0;
  std::size_t step = 0;
  std::size_t key = 0;
  for (auto _ : state) {
    const Task task = held ? only : tasks[walk.at(step)];
    Answer answer;
    if constexpr (what == What::loop) {
      auto bytes = keys[key];
      benchmark::DoNotOptimize(bytes);
      std::uint64_t seed = task.seed();
      benchmark::DoNotOptimize(seed);
    } else if constexpr (what == What::hash) {
      const Point point = point_of(keys[key], task.seed());
      answer = {point, point};
    } else if constexpr (what == What::route) {
      answer = answer_of(router.route(task, keys[key]));
    } else {
      answer = answer_of(reader->route(task, keys[key]));
    }
    sum += answer.sum;
    ++step;
    key = mode == Mode::hot ? step : answer.next;
  }
  return sum;
}

template <class Keys, What what, Mode mode, bool held>
void run(benchmark::State& state, const Axes& axes) {
  pin_to(state.thread_index());
  static std::mutex mutex;
  static std::map<std::size_t, std::unique_ptr<Keys>> all_keys;
  Keys* keys = nullptr;
  {
    const std::lock_guard lock{mutex};
    auto& made = all_keys[axes.key_length];
    if (!made) made = std::make_unique<Keys>(axes.key_length);
    keys = made.get();
  }
  World& world = world_of(axes.tasks, axes.versions);
  const auto iterations = static_cast<std::size_t>(state.max_iterations);
  const std::uint64_t expected = what == What::loop ? 0 : expected_once(axes, *keys, iterations);
  benchmark::DoNotOptimize(world.router.route(world.tasks[0], std::uint64_t{0}));  // attaches the thread
  Reader reader = world.router.reader();
  const std::uint64_t sum = timed_loop<Keys, what, mode, held>(state, *keys, world, &reader);
  if (sum != expected) state.SkipWithError(wrong_route);
  state.SetItemsProcessed(state.iterations());
}

template <class Keys, What what, Mode mode>
void add(const char* name, Axes axes, std::size_t iterations) {
  axes.what = what;
  axes.mode = mode;
  const std::string key = axes.key_length == 0 ? "u64" : std::to_string(axes.key_length);
  const std::string full = std::string{name} + (mode == Mode::hot ? "/hot" : "/chain") + "/key:" + key +
                           "/versions:" + std::to_string(axes.versions) +
                           "/tasks:" + (axes.tasks == 0 ? "held" : std::to_string(axes.tasks));
  // The hash with two threads shows what the machine's two processors are worth.
  const int most_threads = what == What::route || (what == What::hash && mode == Mode::hot) ? 2 : 1;
  for (int threads = 1; threads <= most_threads; ++threads) {
    benchmark::RegisterBenchmark(full.c_str(),
                                 axes.tasks == 0 ? run<Keys, what, mode, true> : run<Keys, what, mode, false>, axes)
        ->Iterations(static_cast<benchmark::IterationCount>(iterations))
        ->Threads(threads)
        ->ComputeStatistics("min", least)
        ->UseRealTime();
  }
}

template <class Keys>
void add_key(std::size_t length) {
  constexpr std::size_t hot = std::size_t{1} << 20;
  constexpr std::size_t chain = std::size_t{1} << 18;
  for (const std::size_t tasks : {std::size_t{0}, std::size_t{1}, std::size_t{1'000}, std::size_t{100'000}}) {
    const Axes base{.what = {}, .mode = {}, .key_length = length, .versions = 2, .tasks = tasks};
    add<Keys, What::loop, Mode::hot>("loop", base, hot);
    add<Keys, What::hash, Mode::hot>("hash", base, hot);
    add<Keys, What::hash, Mode::chain>("hash", base, chain);
    add<Keys, What::reader, Mode::hot>("reader", base, hot);
    for (const std::size_t versions : {2u, 4u, 16u, 256u}) {
      if (tasks == 100'000 && versions > 4) continue;  // gigabytes of columns: no longer a question of routing
      Axes axes = base;
      axes.versions = versions;
      add<Keys, What::route, Mode::hot>("route", axes, hot);
      add<Keys, What::route, Mode::chain>("route", axes, chain);
    }
  }
}

/// A guard that has nothing else to do, on the second processor.
class Judging {
 public:
  Judging() : thread_{[this] { work(); }} {}
  Judging(const Judging&) = delete;
  Judging& operator=(const Judging&) = delete;
  ~Judging() {
    stop_ = true;
    thread_.join();
  }

 private:
  [[nodiscard]] static std::vector<LifeEpoch> life() {
    EvidenceCounts counts{0};
    Interaction row;
    row.id = InteractionId::first_at(InteractionId::start_us + 86'400'000'000);
    row.at_us = InteractionId::time_us(row.id);
    for (int i = 0; i != 10'000; ++i) {
      const Arm arm = i % 10 == 0 ? Arm::candidate : Arm::baseline;
      row.error = i % 7 == 0 ? 1 : 0;
      counts.assign(CountedBy::unit, arm, row.id);
      counts.settle(CountedBy::unit, arm, row, Frozen{}, 1'000'000);
    }
    Epoch epoch;
    epoch.revision = 2;
    epoch.baseline_points = ring_points - ring_points / 10;
    epoch.candidates = {{1, ring_points / 10, 2}};
    return {{epoch, counts}};
  }
  void work() {
    pin_to(1);
    GuardConfig config;
    config.metrics = {{.name = "ok"}};
    const std::vector<LifeEpoch> epochs = life();
    while (!stop_.load(std::memory_order_relaxed)) {
      const double log_e = judge(config, {1, epochs, {}}, {.display = false}).log_e_rollback;
      benchmark::DoNotOptimize(log_e);
    }
  }

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void run_beside(benchmark::State& state, bool judging) {
  const auto guard = judging ? std::make_unique<Judging>() : nullptr;
  run<TextKeys, What::route, Mode::hot, true>(
      state, {.what = What::route, .mode = Mode::hot, .key_length = 36, .versions = 2, .tasks = 0});
}

void register_all() {
  for (const bool judging : {false, true})
    benchmark::RegisterBenchmark(judging ? "beside_guard/judging" : "beside_guard/idle", run_beside, judging)
        ->Iterations(1 << 20)
        ->ComputeStatistics("min", least)
        ->UseRealTime();
  for (const std::size_t length : {8u, 16u, 36u, 64u}) add_key<TextKeys>(length);
  add_key<NumberKeys>(0);
}

}  // namespace
}  // namespace canary::bench

CANARY_BENCH_MAIN(canary::bench::register_all)
