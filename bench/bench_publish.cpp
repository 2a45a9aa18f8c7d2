// bench_publish: what a change costs its writer. Readers never notice; bench_tail shows that.
//
// set_split() moves a random task among 1 to 1,000,000 between 10 % and 11 %, each call timed alone: the counters hold the
// median and the 99th percentile, since a mean of such calls is the allocator's worst moments. After every run the task's
// decisions must follow its new split.
#include <map>
#include <memory>

#include "canary/core/router.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

struct World {
  explicit World(std::size_t count) {
    const Shares shares{weights_of(2)};
    for (std::size_t i = 0; i != count; ++i) tasks.push_back(router.task("task_" + std::to_string(i)));
    // A million tasks that all have a split take a gigabyte; the tables, which is what a change copies, are the same.
    const std::size_t step = count > 100'000 ? 100 : 1;
    for (std::size_t i = 0; i < count; i += step) split.push_back(i);
    for (const std::size_t i : split) router.set_split(tasks[i], shares.span());
  }
  Router router;
  std::vector<Task> tasks;
  std::vector<std::size_t> split;
};

World& world_of(std::size_t tasks) {
  static std::map<std::size_t, std::unique_ptr<World>> worlds;
  auto& world = worlds[tasks];
  if (!world) world = std::make_unique<World>(tasks);
  return *world;
}

/// True if the owner that the partition names serves every run's first and last point.
bool decides_rightly(const Router& router, Task task) {
  const Partition partition = router.partition(task);
  if (!partition.valid()) return false;
  const auto runs = partition.runs();
  for (std::size_t i = 0; i != runs.size(); ++i)
    for (const std::uint64_t point : {std::uint64_t{runs[i].start}, partition.end_of(i) - 1})
      if (router.decide(task, static_cast<Point>(point)).record().owner != runs[i].owner) return false;
  return true;
}

void set_split(benchmark::State& state, std::size_t tasks) {
  World& world = world_of(tasks);
  const Shares shares[2]{Shares{{900'000, 100'000}}, Shares{{890'000, 110'000}}};
  Random random{tasks};
  Histogram times;
  bool right = true;
  std::size_t turn = 0;
  for (auto _ : state) {
    const Task task = world.tasks[world.split[random() % world.split.size()]];
    const std::int64_t begin = now_ns();
    const SplitResult result = world.router.set_split(task, shares[turn++ / 7 % 2].span());
    const std::int64_t took = now_ns() - begin;
    state.SetIterationTime(static_cast<double>(took) * 1e-9);
    times.add(static_cast<std::uint64_t>(took));
    right = right && result && result.points_moved == result.points_minimum;
    if (turn % 64 == 0) right = right && decides_rightly(world.router, task);
  }
  if (!right) state.SkipWithError(wrong_route);
  state.counters["p50_us"] = static_cast<double>(times.quantile(0.50)) / 1e3;
  state.counters["p99_us"] = static_cast<double>(times.quantile(0.99)) / 1e3;
}

/// One change of weights in the control plane: two versions trade 1 %, and the partition becomes columns.
void rebalance_and_compile(benchmark::State& state, std::size_t n) {
  std::vector<WantedShare> wanted = wanted_of(weights_of(n));
  const std::uint32_t step = std::min(wanted[0].ppm, 10'000u) / 2;
  Partition partition = rebalance(Partition{}, wanted).partition;
  bool right = true;
  bool back = false;
  for (auto _ : state) {
    wanted[0].ppm += back ? step : -step;
    wanted[1].ppm += back ? -step : step;
    back = !back;
    Rebalanced to = rebalance(partition, wanted);
    AliasTable table = compile(to.partition);
    benchmark::DoNotOptimize(table.cells.data());
    right = right && to.points_moved == to.points_minimum;
    partition = std::move(to.partition);
  }
  if (!right || !partition.valid()) state.SkipWithError(wrong_route);
}

/// From the untouched ring to n versions at once.
void first_split(benchmark::State& state, std::size_t n) {
  const std::vector<WantedShare> wanted = wanted_of(weights_of(n));
  bool right = true;
  for (auto _ : state) {
    const Rebalanced to = rebalance(Partition{}, wanted);
    AliasTable table = compile(to.partition);
    benchmark::DoNotOptimize(table.cells.data());
    right = right && to.points_moved == to.points_minimum;
  }
  if (!right) state.SkipWithError(wrong_route);
}

/// A router's start-up: `tasks` calls of task() by name.
void add_tasks(benchmark::State& state, std::size_t tasks) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i != tasks; ++i) names.push_back("task_" + std::to_string(i));
  bool right = true;
  double total_s = 0;
  for (auto _ : state) {
    const std::int64_t begin = now_ns();
    auto router = std::make_unique<Router>();
    for (const std::string& name : names) benchmark::DoNotOptimize(router->task(name));
    const double took_s = static_cast<double>(now_ns() - begin) * 1e-9;
    state.SetIterationTime(took_s);
    total_s += took_s;
    right = right && router->task_count() == tasks;
  }
  if (!right) state.SkipWithError(wrong_route);
  state.counters["ns_per_task"] = total_s * 1e9 / static_cast<double>(tasks) / static_cast<double>(state.iterations());
}

void register_all() {
  const auto add = [](const std::string& name, auto run, std::size_t n, int iterations) {
    return benchmark::RegisterBenchmark(name.c_str(), run, n)
        ->Iterations(iterations)
        ->Unit(benchmark::kMicrosecond)
        ->ComputeStatistics("min", least);
  };
  for (const std::size_t tasks : {1u, 1'000u, 100'000u, 1'000'000u})
    add("set_split/tasks:" + std::to_string(tasks), set_split, tasks, 4'000)->UseManualTime();
  for (const std::size_t n : {2u, 16u, 64u, 256u, 1'024u}) {
    const int iterations = n <= 16 ? 2'000 : n <= 256 ? 100 : 5;
    add("rebalance/versions:" + std::to_string(n), rebalance_and_compile, n, iterations);
    add("first_split/versions:" + std::to_string(n), first_split, n, n <= 16 ? 500 : n <= 256 ? 5 : 1);
  }
  add("add_tasks/tasks:100000", add_tasks, 100'000, 1)->UseManualTime();
}

}  // namespace
}  // namespace canary::bench

CANARY_BENCH_MAIN(canary::bench::register_all)
