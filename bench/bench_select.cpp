// bench_select: from a point to its owner, canary's columns against what one would write or take from a library.
//
// Every row reads the same 65,536 random points, too many for a branch predictor to learn. Rows that can follow the
// partition (scans, searches, other columns) must reach the partition's checksum exactly; those with a mapping of their
// own must give every owner its share, within 6 sigma of chance. Weights: support.hpp, weights_of().
#include <cmath>
#include <memory>
#include <random>
#include <span>

#if __has_include(<absl/random/discrete_distribution.h>) && defined(CANARY_BENCH_ABSL)
#include <absl/random/discrete_distribution.h>
#endif
#if __has_include(<gsl/gsl_randist.h>) && defined(CANARY_BENCH_GSL)
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#endif

#include "canary/core/alias_table.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

constexpr std::size_t point_count = 65'536;

const std::vector<Point>& points() {
  static const std::vector<Point> made = [] {
    std::vector<Point> all(point_count);
    Random random{2'026};
    for (Point& p : all) p = static_cast<Point>(random() >> 32);
    return all;
  }();
  return made;
}

/// What all rows are made from.
struct Split {
  explicit Split(std::size_t n)
      : weights{weights_of(n)}, partition{rebalance(Partition{}, wanted_of(weights)).partition} {}
  std::vector<std::uint32_t> weights;
  Partition partition;
};

// Each rival picks an owner by operator()(Point), or by pick(generator) if it draws its numbers itself.

class Alias {
 public:
  explicit Alias(const Split& split) : table_{compile(split.partition)} {}
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    return select(table_.cells.data(), table_.columns_log2, point);
  }

 private:
  AliasTable table_;
};

/// The same columns, chosen by a branch. Most columns have no cut inside, so that it predicts well; at two even shares
/// it could not.
class ColumnsBranch {
 public:
  explicit ColumnsBranch(const Split& split) : partition_{split.partition} {
    log2_ = std::min(detail::columns_log2_of(partition_), max_columns_log2);
    const std::uint64_t width = ring_points >> log2_;
    for (std::size_t i = 0; i != std::size_t{1} << log2_; ++i) {
      const std::size_t first = partition_.run_at(static_cast<Point>(i * width));
      const std::size_t last = partition_.run_at(static_cast<Point>((i + 1) * width - 1));
      const auto runs = partition_.runs();
      columns_.push_back({first == last ? 0 : runs[last].start, runs[first].owner, runs[last].owner, last - first > 1});
    }
  }
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    const Naive& column = columns_[std::uint64_t{point} >> (32 - log2_)];
    if (column.crowded) return partition_.owner_at(point);
    return point < column.cut ? column.below : column.above;
  }

 private:
  struct Naive {
    Point cut;
    Owner below;
    Owner above;
    bool crowded;
  };
  const Partition& partition_;
  int log2_ = 0;
  std::vector<Naive> columns_;
};

/// The textbook's alias table (Walker 1977, built by Vose 1991), with the ?: that everybody writes. No change of weights
/// leaves it: rebuilt, up to three times the least possible keys move.
class NaiveAlias {
 public:
  explicit NaiveAlias(const Split& split) : columns_(split.weights.size()) {
    const auto n = columns_.size();
    std::vector<std::uint64_t> left;  // in units of 1 / (n * total_ppm)
    std::vector<std::size_t> small;
    std::vector<std::size_t> large;
    for (std::size_t i = 0; i != n; ++i) {
      left.push_back(std::uint64_t{split.weights[i]} * n);
      (left[i] < total_ppm ? small : large).push_back(i);
    }
    for (std::size_t i = 0; i != n; ++i) columns_[i] = {0xFFFF'FFFF, owner(i), owner(i)};
    while (!small.empty() && !large.empty()) {
      const std::size_t s = small.back();
      const std::size_t l = large.back();
      small.pop_back();
      columns_[s] = {static_cast<std::uint32_t>((left[s] << 32) / total_ppm), owner(s), owner(l)};
      left[l] -= total_ppm - left[s];
      if (left[l] >= total_ppm) continue;
      large.pop_back();
      small.push_back(l);
    }
  }
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    const std::uint64_t scaled = std::uint64_t{point} * columns_.size();
    const Naive& column = columns_[scaled >> 32];
    return static_cast<std::uint32_t>(scaled) < column.cut ? column.below : column.above;
  }

 private:
  struct Naive {
    std::uint32_t cut;
    Owner below;
    Owner above;
  };
  static Owner owner(std::size_t i) { return static_cast<Owner>(i + 1); }
  std::vector<Naive> columns_;
};

class SingleCompare {  // two versions side by side: the floor
 public:
  explicit SingleCompare(const Split& split) : runs_{split.partition.runs()} {}
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    const std::uint32_t both = runs_[0].owner | std::uint32_t{runs_[1].owner} << 16;
    return static_cast<std::uint16_t>(both >> (point >= runs_[1].start ? 16 : 0));
  }

 private:
  std::span<const Run> runs_;
};

class LinearScan {
 public:
  explicit LinearScan(const Split& split) : runs_{split.partition.runs()} {}
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    std::size_t i = 1;
    while (i != runs_.size() && runs_[i].start <= point) ++i;
    return runs_[i - 1].owner;
  }

 private:
  std::span<const Run> runs_;
};

class UpperBound {
 public:
  explicit UpperBound(const Split& split) : partition_{split.partition} {}
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const { return partition_.owner_at(point); }

 private:
  const Partition& partition_;
};

/// A byte for each 0.01 %: cannot express less, nor more than 256 versions.
class SlotTable {
 public:
  explicit SlotTable(const Split& split) : slots_(10'000) {
    std::uint64_t end = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i != split.weights.size(); ++i)
      for (end += split.weights[i]; at * 100 < end && at != slots_.size(); ++at)
        slots_[at] = static_cast<std::uint8_t>(i);
  }
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    return static_cast<std::uint16_t>(slots_[std::uint64_t{point} * 10'000 >> 32] + 1);
  }

 private:
  std::vector<std::uint8_t> slots_;
};

/// Weighted clusters as Envoy walks them: a modulo, then cumulative ranges behind pointers.
class EnvoyLike {
 public:
  explicit EnvoyLike(const Split& split) {
    for (std::size_t i = 0; i != split.weights.size(); ++i)
      clusters_.push_back(std::make_unique<Cluster>(Cluster{split.weights[i], static_cast<Owner>(i + 1)}));
  }
  [[gnu::always_inline]] std::uint16_t operator()(Point point) const {
    const std::uint64_t value = point % total_ppm;
    std::uint64_t begin = 0;
    for (const auto& cluster : clusters_) {
      const std::uint64_t end = begin + cluster->weight;
      if (value >= begin && value < end) return cluster->owner;
      begin = end;
    }
    return 0;
  }

 private:
  struct Cluster {
    std::uint32_t weight;
    Owner owner;
  };
  std::vector<std::unique_ptr<Cluster>> clusters_;
};

/// The points again, for distributions that ask a generator; endless.
class Replay {
 public:
  using result_type = std::uint32_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return 0xFFFF'FFFF; }
  result_type operator()() { return points_[at_++ % point_count]; }

 private:
  const Point* points_ = points().data();
  std::size_t at_ = 0;
};

class StdDiscrete {
 public:
  explicit StdDiscrete(const Split& split) : distribution_(split.weights.begin(), split.weights.end()) {}
  std::uint16_t pick(Replay& replay) { return static_cast<std::uint16_t>(distribution_(replay) + 1); }

 private:
  std::discrete_distribution<int> distribution_;
};

#if defined(CANARY_BENCH_ABSL)
class AbslDiscrete {
 public:
  explicit AbslDiscrete(const Split& split) : distribution_(split.weights.begin(), split.weights.end()) {}
  std::uint16_t pick(Replay& replay) { return static_cast<std::uint16_t>(distribution_(replay) + 1); }

 private:
  absl::discrete_distribution<int> distribution_;
};
#endif

#if defined(CANARY_BENCH_GSL)
class GslDiscrete {
 public:
  explicit GslDiscrete(const Split& split) {
    const std::vector<double> weights(split.weights.begin(), split.weights.end());
    table_ = gsl_ran_discrete_preproc(weights.size(), weights.data());
    rng_ = gsl_rng_alloc(&type);
  }
  GslDiscrete(const GslDiscrete&) = delete;
  GslDiscrete& operator=(const GslDiscrete&) = delete;
  ~GslDiscrete() {
    gsl_rng_free(rng_);
    gsl_ran_discrete_free(table_);
  }
  std::uint16_t pick(Replay& /*replay*/) { return static_cast<std::uint16_t>(gsl_ran_discrete(rng_, table_) + 1); }

 private:
  static Point next(void* state) { return points()[(*static_cast<std::size_t*>(state))++ % point_count]; }
  static constexpr gsl_rng_type type{
      "replay",
      0xFFFF'FFFF,
      0,
      sizeof(std::size_t),
      [](void* state, unsigned long) { *static_cast<std::size_t*>(state) = 0; },
      [](void* state) -> unsigned long { return next(state); },
      [](void* state) { return next(state) / 4'294'967'296.0; },
  };
  gsl_ran_discrete_t* table_;
  gsl_rng* rng_;
};
#endif

template <class Rival>
concept DrawsItself = requires(Rival& rival, Replay& replay) {
  rival.pick(replay);
};

template <class Rival>
[[gnu::noinline]] std::uint64_t timed_loop(benchmark::State& state, Rival& rival) {
  std::uint64_t sum = 0;
  if constexpr (DrawsItself<Rival>) {
    Replay replay;
    for (auto _ : state) sum += rival.pick(replay);
  } else {
    const Point* all = points().data();
    std::size_t i = 0;
    for (auto _ : state) sum += rival(all[i++ % point_count]);
  }
  return sum;
}

enum class Check { partition, shares };

/// True if `sum` over `count` picks is what the weights promise, within 6 sigma; owner numbers are the values.
bool sum_fits(std::uint64_t sum, double count, const std::vector<std::uint32_t>& weights) {
  double mean = 0;
  double square = 0;
  for (std::size_t i = 0; i != weights.size(); ++i) {
    const double share = weights[i] / 1e6;
    mean += share * static_cast<double>(i + 1);
    square += share * static_cast<double>((i + 1) * (i + 1));
  }
  // Repeated passes over the same points add nothing to chance.
  const double sigma = std::sqrt((square - mean * mean) / static_cast<double>(point_count));
  return std::abs(static_cast<double>(sum) / count - mean) < 6 * sigma + 1e-4 * static_cast<double>(weights.size());
}

template <class Rival, Check check>
void run(benchmark::State& state, std::size_t n) {
  pin_to(0);
  const Split split{n};
  Rival rival{split};
  const std::uint64_t sum = timed_loop(state, rival);
  const auto iterations = static_cast<std::size_t>(state.iterations());
  bool right;
  if constexpr (check == Check::partition) {
    std::uint64_t expected = 0;  // by the runs' ends, one after another: nothing the rows share
    const auto runs = split.partition.runs();
    for (const Point point : points())
      for (std::size_t i = 0; i != runs.size(); ++i)
        if (point >= runs[i].start && point < split.partition.end_of(i)) expected += runs[i].owner;
    right = sum == expected * (iterations / point_count);
  } else {
    right = sum_fits(sum, static_cast<double>(iterations), split.weights);
  }
  if (!right) state.SkipWithError(wrong_route);
  state.counters["columns"] = static_cast<double>(std::size_t{1} << detail::columns_log2_of(split.partition));
}

/// Reads the points and nothing else.
void run_loop(benchmark::State& state) {
  pin_to(0);
  const Point* all = points().data();
  std::size_t i = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) sum += all[i++ % point_count];
  benchmark::DoNotOptimize(sum);
}

template <class Rival, Check check>
void add(const std::string& name, std::size_t n, std::size_t passes) {
  benchmark::RegisterBenchmark((name + "/versions:" + std::to_string(n)).c_str(), run<Rival, check>, n)
      ->Iterations(static_cast<benchmark::IterationCount>(point_count * passes))
      ->ComputeStatistics("min", least);
}

void register_all() {
  benchmark::RegisterBenchmark("loop", run_loop)->Iterations(point_count * 64)->ComputeStatistics("min", least);
  add<SingleCompare, Check::partition>("single_compare", 2, 64);
  for (const std::size_t n : {2u, 4u, 16u, 64u, 256u, 1'024u}) {
    add<Alias, Check::partition>("canary", n, 64);
    add<ColumnsBranch, Check::partition>("columns_branch", n, 16);
    add<NaiveAlias, Check::shares>("naive_alias", n, 16);
    add<LinearScan, Check::partition>("linear_scan", n, n > 64 ? 1 : 8);
    add<UpperBound, Check::partition>("upper_bound", n, 8);
    add<EnvoyLike, Check::shares>("envoy_like", n, n > 64 ? 1 : 8);
    if (n <= 256) add<SlotTable, Check::shares>("slot_table", n, 64);
    add<StdDiscrete, Check::shares>("std_discrete", n, 8);
#if defined(CANARY_BENCH_ABSL)
    add<AbslDiscrete, Check::shares>("absl_discrete", n, 8);
#endif
#if defined(CANARY_BENCH_GSL)
    add<GslDiscrete, Check::shares>("gsl_discrete", n, 8);
#endif
  }
}

}  // namespace
}  // namespace canary::bench

CANARY_BENCH_MAIN(canary::bench::register_all)
