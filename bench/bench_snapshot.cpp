// bench_snapshot: reading what a writer may replace at any time, canary's sticky pin against what one would use instead.
//
// Axes: 1 or 2 readers; `idle`, or `busy`: a writer publishes 10,000 times a second (on the second processor; two readers
// share theirs with it). Every row reads the same two words of the snapshot: the second is the first's complement, and a
// freed snapshot is poisoned before it goes, so that a torn or stale read shows.
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>

#if defined(CANARY_BENCH_BOOST)
#include <boost/smart_ptr/atomic_shared_ptr.hpp>
#include <boost/smart_ptr/make_shared.hpp>
#include <boost/smart_ptr/shared_ptr.hpp>
#endif
#if defined(CANARY_BENCH_URCU)
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-qsbr.h>
#endif

#include "canary/core/publish.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

constexpr std::uint64_t sound = ~std::uint64_t{0};

struct Payload {
  explicit Payload(std::uint64_t v) : value{v}, complement{~v} {}
  ~Payload() {
    // Through volatile: a store before a free is dead to the compiler.
    *const_cast<volatile std::uint64_t*>(&value) = 0xDEAD;
    *const_cast<volatile std::uint64_t*>(&complement) = 0xDEAD;
  }
  std::uint64_t value;
  std::uint64_t complement;
};

[[gnu::always_inline]] inline std::uint64_t use(const Payload& payload) { return payload.value ^ payload.complement; }

// Each rival: publish(value) by one writer; a Reader per thread with read(), which gives use() of the current payload.

/// The floor: no reclamation at all, so the payloads stay.
class BareAcquire {
 public:
  BareAcquire() {
    for (std::uint64_t i = 0; i != kept; ++i) payloads_.push_back(std::make_unique<Payload>(i));
    current_ = payloads_[0].get();
  }
  void publish(std::uint64_t value) { current_.store(payloads_[value % kept].get(), std::memory_order_release); }
  struct Reader {
    explicit Reader(BareAcquire& all) : current{&all.current_} {}
    [[gnu::always_inline]] std::uint64_t read() { return use(*current->load(std::memory_order_acquire)); }
    const std::atomic<const Payload*>* current;
  };

 private:
  static constexpr std::uint64_t kept = 64;
  std::vector<std::unique_ptr<Payload>> payloads_;
  alignas(64) std::atomic<const Payload*> current_;
};

class StickyPin {
 public:
  void publish(std::uint64_t value) {
    const auto lock = publication.lock();
    publication.prepare();
    publication.publish(new Payload{value});
  }
  struct Reader {
    explicit Reader(StickyPin& all) : publication{&all.publication} {}
    [[gnu::always_inline]] std::uint64_t read() {
      return publication->read([](const Payload& payload) { return use(payload); });
    }
    const Publication<Payload>* publication;
  };
  static void dispose(Payload* payload) noexcept { delete payload; }
  Publication<Payload> publication{new Payload{0}, dispose};
};

/// The same by an explicit handle instead of the thread's cache.
class StickyPinReader : public StickyPin {
 public:
  struct Reader {
    explicit Reader(StickyPinReader& all) : reader{all.publication} {}
    [[gnu::always_inline]] std::uint64_t read() {
      return reader.read([](const Payload& payload) { return use(payload); });
    }
    Publication<Payload>::Reader reader;
  };
};

template <class Mutex, class ReadLock>
class Locked {
 public:
  void publish(std::uint64_t value) {
    auto next = std::make_unique<Payload>(value);
    const std::unique_lock lock{mutex_};
    current_.swap(next);
  }
  struct Reader {
    explicit Reader(Locked& all) : locked{&all} {}
    [[gnu::always_inline]] std::uint64_t read() {
      const ReadLock lock{locked->mutex_};
      return use(*locked->current_);
    }
    Locked* locked;
  };

 private:
  Mutex mutex_;
  std::unique_ptr<Payload> current_ = std::make_unique<Payload>(0);
};
using Mutex = Locked<std::mutex, std::unique_lock<std::mutex>>;
using SharedMutex = Locked<std::shared_mutex, std::shared_lock<std::shared_mutex>>;

class StdSharedPtr {
 public:
  void publish(std::uint64_t value) { current_.store(std::make_shared<const Payload>(value)); }
  struct Reader {
    explicit Reader(StdSharedPtr& all) : current{&all.current_} {}
    [[gnu::always_inline]] std::uint64_t read() { return use(*current->load(std::memory_order_acquire)); }
    std::atomic<std::shared_ptr<const Payload>>* current;
  };

 private:
  std::atomic<std::shared_ptr<const Payload>> current_{std::make_shared<const Payload>(0)};
};

#if defined(CANARY_BENCH_BOOST)
class BoostSharedPtr {
 public:
  void publish(std::uint64_t value) { current_.store(boost::make_shared<const Payload>(value)); }
  struct Reader {
    explicit Reader(BoostSharedPtr& all) : current{&all.current_} {}
    [[gnu::always_inline]] std::uint64_t read() { return use(*current->load()); }
    boost::atomic_shared_ptr<const Payload>* current;
  };

 private:
  boost::atomic_shared_ptr<const Payload> current_{boost::make_shared<const Payload>(0)};
};
#endif

#if defined(CANARY_BENCH_URCU)
/// Readers promise to pass a quiescent state every `every` reads; a reader that stops reading stalls the writer.
template <int every>
class UrcuQsbr {
 public:
  UrcuQsbr() : current_{new Payload{0}} {}
  UrcuQsbr(const UrcuQsbr&) = delete;
  UrcuQsbr& operator=(const UrcuQsbr&) = delete;
  ~UrcuQsbr() { delete current_; }
  void publish(std::uint64_t value) {
    Payload* old = rcu_xchg_pointer(&current_, new Payload{value});
    urcu_qsbr_synchronize_rcu();
    delete old;
  }
  struct Reader {
    explicit Reader(UrcuQsbr& all) : current{&all.current_} { urcu_qsbr_register_thread(); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { urcu_qsbr_unregister_thread(); }
    [[gnu::always_inline]] std::uint64_t read() {
      urcu_qsbr_read_lock();
      const std::uint64_t seen = use(*rcu_dereference(*current));
      urcu_qsbr_read_unlock();
      if (--until == 0) {
        urcu_qsbr_quiescent_state();
        until = every;
      }
      return seen;
    }
    Payload** current;
    int until = every;
  };

 private:
  Payload* current_;
};
#endif

/// Publishes on schedule until it is destroyed.
template <class Rival>
class Writer {
 public:
  Writer(Rival& rival, std::int64_t every_ns)
      : thread_{[this, &rival, every_ns] {
          pin_to(1);
          wake_on_time();
          std::int64_t at = now_ns();
          while (!stop_.load(std::memory_order_relaxed)) {
            rival.publish(published_ + 1);
            ++published_;
            sleep_until_ns(at += every_ns);
          }
        }} {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { stop(); }
  std::uint64_t stop() {
    stop_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
    return published_;
  }

 private:
  std::atomic<bool> stop_{false};
  std::uint64_t published_ = 0;
  std::thread thread_;
};

template <class Reader>
[[gnu::noinline]] std::uint64_t timed_loop(benchmark::State& state, Reader& reader) {
  std::uint64_t sum = 0;
  for (auto _ : state) sum += reader.read();
  return sum;
}

template <class Rival>
void run(benchmark::State& state, bool busy) {
  static Rival rival;
  static std::unique_ptr<Writer<Rival>> writer;
  pin_to(state.thread_index());
  const std::int64_t begin = now_ns();
  if (state.thread_index() == 0 && busy) writer = std::make_unique<Writer<Rival>>(rival, 100'000);
  std::uint64_t sum = 0;
  {
    typename Rival::Reader reader{rival};
    reader.read();  // attaches
    sum = timed_loop(state, reader);
  }
  if (sum != sound * static_cast<std::uint64_t>(state.iterations())) state.SkipWithError(wrong_route);
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() != 0 || !busy) return;
  const std::uint64_t published = writer->stop();
  state.counters["publishes_per_s"] = static_cast<double>(published) * 1e9 / static_cast<double>(now_ns() - begin);
  writer.reset();
}

/// The loop with what every row does to its payload.
void run_loop(benchmark::State& state) {
  pin_to(state.thread_index());
  const Payload payload{static_cast<std::uint64_t>(state.threads())};
  const Payload* at = &payload;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(at);
    sum += use(*at);
  }
  if (sum != sound * static_cast<std::uint64_t>(state.iterations())) state.SkipWithError(wrong_route);
}

template <class Rival>
void add(const std::string& name, std::size_t iterations) {
  for (const bool busy : {false, true})
    for (const int threads : {1, 2})
      benchmark::RegisterBenchmark((name + (busy ? "/busy" : "/idle")).c_str(), run<Rival>, busy)
          ->Iterations(static_cast<benchmark::IterationCount>(iterations))
          ->Threads(threads)
          ->ComputeStatistics("min", least)
          ->UseRealTime();
}

void register_all() {
  constexpr std::size_t fast = 20'000'000;
  constexpr std::size_t slow = 500'000;
  benchmark::RegisterBenchmark("loop", run_loop)->Iterations(fast)->ComputeStatistics("min", least)->UseRealTime();
  add<BareAcquire>("bare_acquire", fast);
  add<StickyPin>("canary", fast);
  add<StickyPinReader>("canary_reader", fast);
#if defined(CANARY_BENCH_URCU)
  add<UrcuQsbr<1>>("urcu_qsbr_each", fast);
  add<UrcuQsbr<64>>("urcu_qsbr_64", fast);
#endif
  add<Mutex>("mutex", slow);
  add<SharedMutex>("shared_mutex", slow);
  add<StdSharedPtr>("std_atomic_shared_ptr", slow);
#if defined(CANARY_BENCH_BOOST)
  add<BoostSharedPtr>("boost_atomic_shared_ptr", slow);
#endif
}

}  // namespace
}  // namespace canary::bench

CANARY_BENCH_MAIN(canary::bench::register_all)
