// history.hpp: random changes of weights, for tests. The same seed makes the same changes on every machine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "canary/core/partition.hpp"

// Instrumented, emulated or unoptimised, a test does a bounded share of its runs.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CANARY_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define CANARY_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CANARY_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CANARY_ASAN 1
#endif
#if defined(__x86_64__) && defined(__OPTIMIZE__) && !defined(CANARY_TSAN) && !defined(CANARY_ASAN)
#define CANARY_FULL_SPEED 1
#endif

namespace canary::test {

#if defined(CANARY_FULL_SPEED)
inline constexpr bool full_speed = true;
#else
inline constexpr bool full_speed = false;
#endif

/// splitmix64: the standard library's distributions differ from one to another.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_{seed} {}
  std::uint64_t next() {
    std::uint64_t x = state_ += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
  }
  /// Below `end`.
  std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>((next() >> 32) * end >> 32); }

 private:
  std::uint64_t state_;
};

/// Random runs take this many times as long when asked to soak.
inline int soak_factor() { return std::getenv("CANARY_SOAK") != nullptr ? 20 : 1; }

/// Weights for owners 1..n that change a little or a lot, with shares down to 1 ppm and owners at 0.
inline void change_weights(std::vector<WantedShare>& wanted, Random& random) {
  const auto count = static_cast<std::uint32_t>(wanted.size());
  std::uint32_t free = total_ppm;
  for (const WantedShare& w : wanted) free -= w.ppm;
  const std::uint32_t touched = random.below(3) == 0 ? count : 1 + random.below(std::min(count, 4u));
  for (std::uint32_t i = 0; i != touched; ++i) {
    WantedShare& w = wanted[touched == count ? i : random.below(count)];
    free += w.ppm;
    switch (random.below(6)) {
      case 0:
        w.ppm = 0;
        break;
      case 1:
        w.ppm = std::min(1 + random.below(3), free);
        break;
      case 2:
        w.ppm = std::min((1 + random.below(50)) * 10'000, free);
        break;
      default:
        w.ppm = random.below(free / (touched == count ? 1 + count / 4 : 1) + 1);
        break;
    }
    free -= w.ppm;
  }
}

/// What operators do: register, ramp, roll back, promote; up to four canaries beside the active version.
class Operator {
 public:
  explicit Operator(std::uint64_t seed) : random_{seed} {}

  std::vector<WantedShare> next() {
    static constexpr std::uint32_t starts[] = {1'000, 5'000, 10'000, 50'000, 100'000};
    static constexpr std::uint32_t ramps[] = {1'000, 10'000, 50'000, 150'000, 200'000};
    const std::uint32_t dice = random_.below(100);
    if ((dice < 35 && canaries_.size() < 4) || canaries_.empty()) {
      canaries_.push_back({++last_, starts[random_.below(5)]});
    } else {
      const auto at = canaries_.begin() + random_.below(static_cast<std::uint32_t>(canaries_.size()));
      if (dice < 75) {
        at->ppm = ramps[random_.below(5)];
      } else {
        if (dice >= 85) active_ = at->owner;
        canaries_.erase(at);
      }
    }
    std::vector<WantedShare> wanted = canaries_;
    std::uint32_t rest = total_ppm;
    for (const WantedShare& w : wanted) rest -= w.ppm;
    if (active_ != default_owner) wanted.push_back({active_, rest});
    return wanted;
  }

 private:
  Random random_;
  std::vector<WantedShare> canaries_;
  Owner active_ = default_owner;
  Owner last_ = default_owner;
};

}  // namespace canary::test
