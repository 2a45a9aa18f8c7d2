// bench_record: what record() costs after a decision, and its ring beside other queues of 64-byte items.
//
// A pass fills a ring of 4,096 cells (256 KiB: it stays in the second-level cache, as with a drainer behind it) and is timed
// by the thread's own processor time; then the ring is emptied, which is not timed, and every entry is checked. In `drained`
// rows a second thread empties it all the while, looking every 5 us; what it has not done by the end of the pass is waited
// for untimed, so that nothing is ever full. Rings lie in memory or in a file that is mapped shared, as a spool's are.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(CANARY_BENCH_LOCKFREE)
#include <boost/lockfree/spsc_queue.hpp>
#endif

#include "canary/core/recorder.hpp"
#include "canary/core/router.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

constexpr std::size_t cells = 4'096;
constexpr std::size_t passes = 64;
constexpr const char* wrong_entries = "wrong entries: the timing is void";

[[nodiscard]] std::int64_t cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

enum class Where { memory, file };

/// Zeroed cells, in memory or in a file without a name.
class Ring {
 public:
  explicit Ring(Where where) {
    void* at = MAP_FAILED;
    if (where == Where::memory) {
      at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    } else {
      const char* folder = std::getenv("CANARY_BENCH_FOLDER");
      std::string name = std::string{folder == nullptr ? "." : folder} + "/ring.XXXXXX";
      const int file = mkstemp(name.data());
      if (file >= 0 && posix_fallocate(file, 0, bytes) == 0)
        at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
      if (file >= 0) {
        unlink(name.c_str());
        close(file);
      }
    }
    if (at == MAP_FAILED) std::abort();
    cells_ = static_cast<Recorder::Cell*>(at);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { munmap(cells_, bytes); }
  [[nodiscard]] Recorder::Cell* data() const { return cells_; }

 private:
  static constexpr std::size_t bytes = cells * sizeof(Recorder::Cell);
  Recorder::Cell* cells_;
};

/// What a caller knows when a model has answered.
struct Measured {
  std::int64_t latency_us;
  std::int64_t cost_microusd;
  double score;
  std::uint32_t tokens_in;
  std::uint32_t tokens_out;
};

/// No two alike.
class Measurements {
 public:
  static constexpr std::size_t count = 256;
  Measurements() {
    Random random{5};
    for (Measured& m : all_)
      m = {static_cast<std::int64_t>(200'000 + random() % 4'000'000), static_cast<std::int64_t>(random() % 20'000),
           static_cast<double>(random() % 1'001) / 1'000, static_cast<std::uint32_t>(100 + random() % 4'000),
           static_cast<std::uint32_t>(20 + random() % 1'000)};
  }
  [[nodiscard]] const Measured& operator[](std::size_t i) const { return all_[i % count]; }

 private:
  std::array<Measured, count> all_;
};

struct World {
  World() {
    const Shares shares{weights_of(2)};
    task = router.task("task");
    router.set_split(task, shares.span());
    for (std::size_t i = 0; i != TextKeys::count; ++i) decisions.push_back(router.route(task, keys[i]));
  }
  TextKeys keys{36};
  Router router;
  Task task;
  std::vector<Decision> decisions;
};

/// A recorder with one ring, a node and a clock that a drainer's tick would keep.
struct Recording {
  explicit Recording(Where where) : ring{where} {
    recorder.add_lane(ring.data(), cells);
    recorder.set_node(1, cursor);
  }
  /// Empties the ring; false unless it holds `count` whole entries with rising ids that sum to the points given.
  bool empty(std::size_t count, EntryKind kind, std::uint64_t points) {
    bool right = true;
    std::uint64_t sum = 0;
    std::uint64_t last = 0;
    auto& lane = recorder.lane(0);
    const std::uint64_t end = lane.read(position, cells, [&](const detail::EntryWords& words, bool whole) {
      const Entry entry = detail::unpack(words);
      right = right && whole && entry.kind == kind && entry.id > last;
      last = entry.id;
      sum += entry.point;
    });
    right = right && end - position == count && sum == points;
    lane.release(position = end);
    recorder.set_time(time += 1'000);
    return right;
  }
  Ring ring;
  std::array<Recorder::Counter, 2> drops{};
  Recorder::Counter cursor{0};
  Recorder recorder{drops};
  std::uint64_t position = 0;
  std::int64_t time = InteractionId::start_us + 86'400'000'000;
};

enum class What { route, record, route_record, route_record_score, route_assign };

/// Timed: a pass over `cells` keys. Output: the sum of the points.
template <What what>
[[gnu::noinline]] std::uint64_t pass(const World& world, Recorder& recorder, const Measurements& measurements) {
  const Router& router = world.router;
  const Task task = world.task;
  const Decision* decisions = world.decisions.data();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != cells; ++i) {
    const Measured& m = measurements[i];
    if constexpr (what == What::record) {
      sum += recorder.record(decisions[i % TextKeys::count], {.latency_us = m.latency_us,
                                                              .tokens_in = m.tokens_in,
                                                              .tokens_out = m.tokens_out,
                                                              .cost_microusd = m.cost_microusd});
      continue;
    }
    Decision decision = router.route(task, world.keys[i]);
    if constexpr (what == What::route_record)
      recorder.record(decision, {.latency_us = m.latency_us,
                                 .tokens_in = m.tokens_in,
                                 .tokens_out = m.tokens_out,
                                 .cost_microusd = m.cost_microusd});
    if constexpr (what == What::route_record_score)
      recorder.record(decision, {.latency_us = m.latency_us,
                                 .score = m.score,
                                 .tokens_in = m.tokens_in,
                                 .tokens_out = m.tokens_out,
                                 .cost_microusd = m.cost_microusd});
    if constexpr (what == What::route_assign) recorder.assign(decision);
    // What a caller reads of it anyway.
    sum += decision.point() + reinterpret_cast<std::uintptr_t>(&decision.record());
  }
  return sum;
}

template <What what>
void run(benchmark::State& state, Where where) {
  pin_to(0);
  static const World the_world;
  static const Measurements the_measurements;
  const World* known = &the_world;
  const Measurements* measured = &the_measurements;
  benchmark::DoNotOptimize(known);  // a caller's key and figures are at no fixed address
  benchmark::DoNotOptimize(measured);
  const World& world = *known;
  Recording recording{where};
  std::uint64_t points = 0;
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i != cells; ++i) {
    const Decision decision = world.router.route(world.task, world.keys[i]);
    points += decision.point();
    expected += decision.point() + reinterpret_cast<std::uintptr_t>(&decision.record());
  }
  if (what == What::record) expected = cells;
  const EntryKind kind = what == What::route_assign ? EntryKind::assigned : EntryKind::outcome;
  bool right = true;
  const auto once = [&] {
    const std::int64_t begin = cpu_ns();
    const std::uint64_t sum = pass<what>(world, recording.recorder, *measured);
    const std::int64_t end = cpu_ns();
    right = right && sum == expected &&
            recording.empty(what == What::route ? 0 : cells, kind, what == What::route ? 0 : points);
    return static_cast<double>(end - begin) / 1e9 / cells;
  };
  for (int i = 0; i != 4; ++i) once();  // maps what the kernel has left to the first touch
  for (auto _ : state) state.SetIterationTime(once());
  if (!right) state.SkipWithError(wrong_entries);
}

// --- queues -------------------------------------------------------------------------------------------------------------

struct Item {
  std::uint64_t words[8];
};
static_assert(sizeof(Item) == sizeof(Recorder::Cell));

/// Seven words and their stamp: the same 64 bytes, which say besides whether they are whole.
class LaneQueue {
 public:
  LaneQueue() {
    lane_.cells = ring_.data();
    lane_.mask = cells - 1;
    lane_.limit = cells;  // ids have no end here
  }
  bool push(const Item& item) {
    const auto& w = item.words;
    return lane_.push({w[0], w[1], w[2], w[3], w[4], w[5], w[6]});
  }
  template <class Visit>
  void drain(Visit visit) {
    position_ =
        lane_.read(position_, cells, [&](const detail::EntryWords& words, bool whole) { visit(whole ? words[0] : 0); });
    lane_.release(position_);
  }

 private:
  Ring ring_{Where::memory};
  detail::Lane<StdAtomics> lane_;
  std::uint64_t position_ = 0;
};

class MutexVector {
 public:
  MutexVector() {
    items_.reserve(cells);
    taken_.reserve(cells);
  }
  bool push(const Item& item) {
    const std::lock_guard guard{mutex_};
    items_.push_back(item);
    return true;
  }
  template <class Visit>
  void drain(Visit visit) {
    {
      const std::lock_guard guard{mutex_};
      items_.swap(taken_);
    }
    for (const Item& item : taken_) visit(item.words[0]);
    taken_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  std::vector<Item> taken_;
};

#if defined(CANARY_BENCH_LOCKFREE)
class BoostSpsc {
 public:
  bool push(const Item& item) { return queue_.push(item); }
  template <class Visit>
  void drain(Visit visit) {
    queue_.consume_all([&](const Item& item) { visit(item.words[0]); });
  }

 private:
  boost::lockfree::spsc_queue<Item, boost::lockfree::capacity<cells>> queue_;
};
#endif

/// Empties a queue every 5 us on the second processor.
template <class Queue>
class DrainThread {
 public:
  explicit DrainThread(Queue& queue) : queue_{queue}, thread_{[this] { work(); }} {}
  DrainThread(const DrainThread&) = delete;
  DrainThread& operator=(const DrainThread&) = delete;
  ~DrainThread() {
    stop_ = true;
    thread_.join();
  }
  /// Waits for `count` items altogether; their sum.
  std::uint64_t wait_for(std::uint64_t count) const {
    while (count_.load(std::memory_order_acquire) != count) std::this_thread::yield();
    return sum_.load(std::memory_order_relaxed);
  }

 private:
  void work() {
    pin_to(1);
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      queue_.drain([&](std::uint64_t value) {
        ++count;
        sum += value;
      });
      sum_.store(sum, std::memory_order_relaxed);
      count_.store(count, std::memory_order_release);
      for (const std::int64_t until = now_ns() + 5'000; now_ns() < until;) {
      }
    }
  }

  Queue& queue_;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> sum_{0};
  std::thread thread_;
};

template <class Queue>
[[gnu::noinline]] std::uint64_t fill(Queue& queue, std::uint64_t first) {
  std::uint64_t pushed = 0;
  for (std::uint64_t i = first; i != first + cells; ++i)
    pushed += queue.push(Item{{i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7}});
  return pushed;
}

template <class Queue, bool drained>
void run_queue(benchmark::State& state) {
  pin_to(0);
  auto queue = std::make_unique<Queue>();
  std::unique_ptr<DrainThread<Queue>> thread;
  if (drained) thread = std::make_unique<DrainThread<Queue>>(*queue);
  std::uint64_t next = 1;
  std::uint64_t sum = 0;
  bool right = true;
  const auto once = [&] {
    const std::int64_t begin = cpu_ns();
    const std::uint64_t pushed = fill(*queue, next);
    const std::int64_t end = cpu_ns();
    next += cells;
    if (drained)
      sum = thread->wait_for(next - 1);
    else
      queue->drain([&](std::uint64_t value) { sum += value; });
    right = right && pushed == cells && sum == next * (next - 1) / 2;
    return static_cast<double>(end - begin) / 1e9 / cells;
  };
  for (int i = 0; i != 4; ++i) once();
  for (auto _ : state) state.SetIterationTime(once());
  if (!right) state.SkipWithError(wrong_entries);
}

// --- main ---------------------------------------------------------------------------------------------------------------

void add(const std::string& name, std::function<void(benchmark::State&)> body) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(body))
      ->Iterations(passes)
      ->ComputeStatistics("min", least)
      ->UseManualTime();
}

template <class Queue>
void add_queue(const std::string& name) {
  add("queue/" + name + "/burst", run_queue<Queue, false>);
  add("queue/" + name + "/drained", run_queue<Queue, true>);
}

void register_all() {
  const auto row = [](const std::string& name, auto body, Where where) {
    add(name, [=](benchmark::State& state) { body(state, where); });
  };
  row("route", run<What::route>, Where::memory);
  row("record/memory", run<What::record>, Where::memory);
  for (const Where where : {Where::memory, Where::file}) {
    const std::string at = where == Where::memory ? "memory" : "file";
    row("route_record/" + at, run<What::route_record>, where);
    row("route_record_score/" + at, run<What::route_record_score>, where);
    row("route_assign/" + at, run<What::route_assign>, where);
  }
  add_queue<LaneQueue>("canary");
  add_queue<MutexVector>("mutex_vector");
#if defined(CANARY_BENCH_LOCKFREE)
  add_queue<BoostSpsc>("boost_spsc");
#endif
}

}  // namespace
}  // namespace canary::bench

CANARY_BENCH_MAIN(canary::bench::register_all)
