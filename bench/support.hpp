// support.hpp: what every bench needs: pinned threads, keys and weights that are the same on every machine, a histogram.
#pragma once

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "canary/core/partition.hpp"
#include "canary/core/types.hpp"

namespace canary::bench {

/// What a bench says when its answers are not the expected ones.
inline constexpr const char* wrong_route = "wrong route: the timing is void";

/// Pins the calling thread to the nth of the processors that this process may use.
inline void pin_to(int nth) {
  static const cpu_set_t allowed = [] {  // read once: every pin narrows what can be read later
    cpu_set_t set;
    CPU_ZERO(&set);
    pthread_getaffinity_np(pthread_self(), sizeof set, &set);
    return set;
  }();
  nth %= std::max(1, CPU_COUNT(&allowed));
  for (int cpu = 0; cpu != CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || nth-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

/// splitmix64: fixed seeds, so that every run and every rival sees the same input.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_{seed} {}
  std::uint64_t operator()() {
    std::uint64_t x = state_ += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
  }

 private:
  std::uint64_t state_;
};

/// Text keys of one length; 36 bytes look like a UUID.
class TextKeys {
 public:
  static constexpr std::size_t count = 256;  // with their views 4 to 20 KiB: what a server has just parsed lies in L1

  explicit TextKeys(std::size_t length) : bytes_(count * length, '0') {
    Random random{length};
    for (char& c : bytes_) c = "0123456789abcdef"[random() % 16];
    for (std::size_t i = 0; i != count; ++i) {
      char* key = bytes_.data() + i * length;
      if (length == 36)
        for (const std::size_t dash : {8u, 13u, 18u, 23u}) key[dash] = '-';
      views_[i] = {key, length};
    }
  }
  TextKeys(const TextKeys&) = delete;
  TextKeys& operator=(const TextKeys&) = delete;

  [[nodiscard]] std::string_view operator[](std::size_t i) const { return views_[i % count]; }

 private:
  std::string bytes_;
  std::array<std::string_view, count> views_;
};

/// Number keys.
class NumberKeys {
 public:
  static constexpr std::size_t count = 256;
  explicit NumberKeys(std::size_t /*length*/) {
    Random random{64};
    for (std::uint64_t& key : keys_) key = random();
  }
  [[nodiscard]] std::uint64_t operator[](std::size_t i) const { return keys_[i % count]; }

 private:
  std::array<std::uint64_t, count> keys_;
};

/// Weights of `n` versions, summing to 1,000,000 ppm: up to 16 what an operator's ramp looks like (a main version, a
/// challenger, small ones), beyond that drawn at random, each at least 1/(4n).
inline std::vector<std::uint32_t> weights_of(std::size_t n) {
  if (n == 2) return {900'000, 100'000};
  if (n == 4) return {700'000, 200'000, 90'000, 10'000};
  std::vector<std::uint32_t> weights(n);
  if (n == 16) {
    weights = {500'000, 200'000, 100'000, 50'000, 50'000};
    while (weights.size() != n) weights.push_back(weights.size() < 12 ? 10'000 : weights.size() < 15 ? 7'500 : 7'500);
  } else {
    Random random{n};
    std::vector<double> raw(n);
    double sum = 0;
    for (double& r : raw) sum += r = 0.25 + static_cast<double>(random() % 1'000'000) / 1e6;
    for (std::size_t i = 0; i != n; ++i) weights[i] = static_cast<std::uint32_t>(raw[i] / sum * 1e6);
  }
  std::uint32_t given = 0;
  for (const std::uint32_t w : weights) given += w;
  weights[0] += total_ppm - given;
  return weights;
}

/// The same as owners 1 to n.
inline std::vector<WantedShare> wanted_of(const std::vector<std::uint32_t>& weights) {
  std::vector<WantedShare> wanted;
  for (std::size_t i = 0; i != weights.size(); ++i) wanted.push_back({static_cast<Owner>(i + 1), weights[i]});
  return wanted;
}

/// What set_split() takes for these weights: models "model-1" to "model-n".
class Shares {
 public:
  explicit Shares(const std::vector<std::uint32_t>& weights) {
    for (std::size_t i = 0; i != weights.size(); ++i) models_.push_back("model-" + std::to_string(i + 1));
    for (std::size_t i = 0; i != weights.size(); ++i) shares_.push_back({models_[i], weights[i]});
  }
  Shares(const Shares&) = delete;
  Shares& operator=(const Shares&) = delete;
  [[nodiscard]] std::span<const VersionShare> span() const { return shares_; }

 private:
  std::vector<std::string> models_;
  std::vector<VersionShare> shares_;
};

[[nodiscard]] inline std::int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Sleeps until a point in time instead of for a while, so that a schedule never drifts.
inline void sleep_until_ns(std::int64_t at) {
  const timespec until{at / 1'000'000'000, at % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
  }
}

/// The kernel's default gathers wake-ups within 50 us; a writer's schedule needs better.
inline void wake_on_time() { prctl(PR_SET_TIMERSLACK, 1UL); }

/// Log-linear histogram: values up to 2^40 with 1/64 relative error, the exact maximum beside it.
class Histogram {
 public:
  void add(std::uint64_t value) {
    ++counts_[bucket_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  /// The least bucket value at or below which the share `q` of all values lies.
  [[nodiscard]] std::uint64_t quantile(double q) const {
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i != counts_.size(); ++i)
      if ((seen += counts_[i]) > rank) return std::min(value_of(i), max_);
    return max_;
  }

 private:
  static constexpr int fine_bits = 6;
  static constexpr std::size_t fine = std::size_t{1} << fine_bits;
  static std::size_t bucket_of(std::uint64_t value) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - fine_bits - 1);
    const auto at = (static_cast<std::size_t>(shift) << fine_bits) + static_cast<std::size_t>(value >> shift);
    return std::min(at, std::size_t{40} * fine - 1);
  }
  static std::uint64_t value_of(std::size_t bucket) {  // upper end
    if (bucket < 2 * fine) return bucket;
    const std::size_t shift = bucket / fine - 1;
    return ((bucket - shift * fine + 1) << shift) - 1;
  }
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(40 * fine, 0);
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

/// The least of the repetitions: what the machine can do when nobody disturbs it.
inline double least(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

#ifndef CANARY_BENCH_FLAGS
#define CANARY_BENCH_FLAGS "unknown"
#endif

/// What the figures depend on, written into every result file.
inline void add_context() {
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", __VERSION__);
#else
  benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
  benchmark::AddCustomContext("flags", CANARY_BENCH_FLAGS);
  benchmark::AddCustomContext("canary", std::string{version});
}

}  // namespace canary::bench

/// main() of a bench whose cases are added by `register_all`.
#define CANARY_BENCH_MAIN(register_all)                               \
  int main(int argc, char** argv) {                                   \
    canary::bench::pin_to(0);                                         \
    canary::bench::add_context();                                     \
    benchmark::Initialize(&argc, argv);                               \
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1; \
    register_all();                                                   \
    benchmark::RunSpecifiedBenchmarks();                              \
    return 0;                                                         \
  }
