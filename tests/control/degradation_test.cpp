// Is a version worse than its own past? What is found, how soon, and how seldom for nothing.
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/degradation.hpp"
#include "canary/control/memory_store.hpp"

namespace degradation_test {

using namespace canary;

namespace {

constexpr TimeUs now = 1'795'368'000'000'000;  // 2026-11-22
constexpr std::uint32_t windows = 8 * VersionPast::day_windows + 2 * VersionPast::hour_windows;

/// So many requests with so many failures, all of one latency, and one score.
WindowCounts window_of_requests(std::uint64_t count, std::uint64_t failures, std::uint32_t latency_us = 100'000,
                                double score = 0.9) {
  WindowCounts counts;
  counts.count = count;
  counts.errors = failures;
  counts.latency_us.add(latency_us, count);
  counts.scored = count;
  counts.score_sum = static_cast<std::uint64_t>(score * score_one) * count;
  const auto millionths = static_cast<std::uint64_t>(score * 1e6);
  counts.score_square_sum = millionths * millionths * count;
  return counts;
}

/// A past in which `of(window, age)` tells what was in each, `age` windows before the end.
template <class Of>
VersionPast past_of(const Of& of) {
  VersionPast past{now};
  for (std::uint32_t age = 1; age <= windows; ++age) past.add(past.end() - age, of(past.end() - age, age));
  return past;
}

const Degradation& of_kind(const std::vector<Degradation>& all, MetricKind kind) {
  for (const Degradation& each : all)
    if (each.kind == kind) return each;
  FAIL("no such metric");
  return all.front();
}

}  // namespace

TEST_CASE("degradation: a version that stays as it is is none", "[control][degradation]") {
  const std::vector<Degradation> all = degradations(past_of([](auto, auto) { return window_of_requests(200, 6); }), {});
  REQUIRE(all.size() == 3);
  for (const Degradation& each : all) {
    CHECK_FALSE(each.found);
    CHECK(each.outcomes == 1'200);
  }
  CHECK(of_kind(all, MetricKind::success).recent == 0.97);
}

TEST_CASE("degradation: each metric is found by itself, with figures that people know", "[control][degradation]") {
  constexpr std::uint32_t hours = 2 * VersionPast::hour_windows;
  SECTION("success") {
    const auto all =
        degradations(past_of([&](auto, auto age) { return window_of_requests(200, age <= hours ? 24 : 6); }), {});
    const Degradation& found = of_kind(all, MetricKind::success);
    CHECK(found.found);
    CHECK(found.recent == 0.88);
    CHECK(std::abs(found.past - 0.97) < 0.001);
    CHECK(std::abs(found.bound - 0.95) < 0.001);
    CHECK_FALSE(of_kind(all, MetricKind::score).found);
    CHECK_FALSE(of_kind(all, MetricKind::latency).found);
  }
  SECTION("score") {
    const auto all = degradations(
        past_of([&](auto, auto age) { return window_of_requests(200, 6, 100'000, age <= hours ? 0.84 : 0.9); }), {});
    const Degradation& found = of_kind(all, MetricKind::score);
    CHECK(found.found);
    CHECK(std::abs(found.recent - 0.84) < 1e-6);
    CHECK(std::abs(found.bound - 0.88) < 1e-6);
    CHECK_FALSE(of_kind(all, MetricKind::success).found);
  }
  SECTION("latency") {
    const auto all = degradations(past_of([&](auto, auto age) {
                                    WindowCounts counts = window_of_requests(180, 6);
                                    counts.latency_us.add(age <= hours ? 400'000 : 200'000, 20);
                                    return counts;
                                  }),
                                  {});
    const Degradation& found = of_kind(all, MetricKind::latency);
    CHECK(found.found);
    CHECK(std::abs(found.recent - 400'000) < 400'000 / 64.0);
    CHECK(std::abs(found.bound - 250'000) < 250'000 / 64.0);
    CHECK_FALSE(of_kind(all, MetricKind::success).found);
  }
}

TEST_CASE("degradation: what the margin tolerates is none, however much of it", "[control][degradation]") {
  const auto all =
      degradations(past_of([](auto, auto age) {
                     const bool late = age <= VersionPast::day_windows;
                     return window_of_requests(1'000'000, late ? 49'000 : 30'000, 100'000, late ? 0.881 : 0.9);
                   }),
                   {});
  for (const Degradation& each : all) CHECK_FALSE(each.found);
}

TEST_CASE("degradation: a daily swing is none, the same fall at another hour is", "[control][degradation]") {
  // At night, one failure in five; the day has few.
  const auto failures = [](std::uint32_t window) {
    const std::uint32_t hour = VersionPast::hour_of(window) % 24;
    return hour < 6 ? 40u : 4u;
  };
  const VersionPast swings = past_of([&](auto window, auto) { return window_of_requests(200, failures(window)); });
  CHECK_FALSE(of_kind(degradations(swings, {}), MetricKind::success).found);
  const std::uint32_t hour_now = VersionPast::hour_of(swings.end() - 1) % 24;
  REQUIRE((hour_now >= 8 && hour_now < 22));  // the day
  const VersionPast falls = past_of([&](auto window, auto age) {
    return window_of_requests(200, age <= VersionPast::hour_windows ? 40 : failures(window));
  });
  CHECK(of_kind(degradations(falls, {}), MetricKind::success).found);
}

TEST_CASE("degradation: one burst is none, since three windows of six must be bad", "[control][degradation]") {
  const auto all =
      degradations(past_of([](auto, auto age) { return window_of_requests(200, age == 1 ? 200 : 6); }), {});
  const Degradation& burst = of_kind(all, MetricKind::success);
  CHECK(burst.log_e == burst.threshold);
  CHECK_FALSE(burst.found);
}

TEST_CASE("degradation: after it is over the evidence goes away within hours", "[control][degradation]") {
  const auto all = degradations(
      past_of([](auto, auto age) { return window_of_requests(200, age > 12 && age <= 60 ? 100 : 6); }), {});
  const Degradation& over = of_kind(all, MetricKind::success);
  CHECK_FALSE(over.found);
  CHECK(over.log_e < over.threshold);
}

TEST_CASE("degradation: without enough of a past nothing is said", "[control][degradation]") {
  CHECK(degradations(VersionPast{now}, {}).empty());
  CHECK(degradations(VersionPast{0}, {}).empty());
  CHECK(
      degradations(past_of([](auto, auto age) { return window_of_requests(age <= 100 ? 500 : 0, 100); }), {}).empty());
  CHECK(degradations(past_of([](auto, auto) { return window_of_requests(0, 0); }), {}).empty());
  const DegradationConfig off{.false_alarm_days = 0};
  CHECK(degradations(past_of([](auto, auto) { return window_of_requests(200, 100); }), off).empty());
}

TEST_CASE("degradation: extreme counts, all failures, no failures, sums below zero: no NaN", "[control][degradation]") {
  const std::uint64_t huge = std::uint64_t{1} << 52;
  for (const std::uint64_t before : {std::uint64_t{0}, huge})
    for (const std::uint64_t after : {std::uint64_t{0}, huge}) {
      const VersionPast past = past_of([&](auto, auto age) {
        WindowCounts counts = window_of_requests(1, 0);
        counts.count = huge;
        counts.errors = age <= 12 ? after : before;
        counts.scored = 0ull - 1;
        counts.score_sum = 0ull - score_one;
        return counts;
      });
      for (const Degradation& each : degradations(past, {})) {
        CHECK_FALSE(std::isnan(each.log_e));
        CHECK(each.log_e <= each.threshold);
        CHECK(each.kind != MetricKind::score);
        if (each.kind == MetricKind::success) CHECK(each.found == (before == 0 && after == huge));
      }
    }
}

TEST_CASE("degradation: at the bound itself the mean time to a false alarm is what is promised",
          "[control][degradation]") {
  // Fixed seed. The mean of 400 runs that are at least 500 windows long on average lies below 430 with odds of 1 in 500.
  constexpr double promised = 500;
  std::mt19937_64 random{7};
  const auto mean_length = [&](const auto& factors) {
    double sum = 0;
    constexpr int runs = 400;
    for (int run = 0; run != runs; ++run) {
      ChangeDetector detector{std::log(promised)};
      int length = 0;
      do {
        detector.see(factors());
        ++length;
      } while (detector.value() < std::log(promised) && length != 20'000);
      sum += length;
    }
    return sum / runs;
  };
  for (const double bound : {0.01, 0.07, 0.5}) {
    std::binomial_distribution<int> failures{100, bound};
    CHECK(mean_length([&] {
            const int bad = failures(random);
            return detail::share_factors(bad, 100 - bad, bound);
          }) > 430);
  }
  for (const double bound : {0.2, 0.9}) {  // scores that are 0 or 1: nothing varies more
    std::binomial_distribution<int> good{100, bound};
    CHECK(mean_length([&] {
            const int ones = good(random);
            return detail::mean_factors(100, ones, ones, bound);
          }) > 430);
  }
}

TEST_CASE("degradation: a fall of five points is found within hours", "[control][degradation]") {
  // 200 requests a window fail 3 % of the time, then 8 %, where 5 % is tolerated.
  std::mt19937_64 random{11};
  const double threshold = std::log(365.0 * VersionPast::day_windows);
  for (int run = 0; run != 20; ++run) {
    ChangeDetector detector{threshold};
    int after = 0;
    for (int window = 0; window != 144; ++window) detector.see(detail::share_factors(6, 194, 0.05));
    std::binomial_distribution<int> failures{200, 0.08};
    while (detector.value() < threshold && after != 144) {
      const int bad = failures(random);
      detector.see(detail::share_factors(bad, 200 - bad, 0.05));
      ++after;
    }
    CHECK(after < 24);  // four hours
  }
}

TEST_CASE("version past: windows of all servers are added up, those that are not over are left out",
          "[control][degradation]") {
  MemoryStore store;
  const std::uint32_t last = window_of(now - VersionPast::settle_us) - 1;
  for (const char spool : {'1', '2'}) {
    const auto to = store.interactions();
    const SpoolRecord claimed = to->claim(std::string(31, '0') + spool, now);
    const auto delivery = to->begin(claimed);
    REQUIRE(delivery);
    const std::uint32_t task = delivery->task_number("t");
    for (const std::uint32_t at : {last, last + 1, last - windows})
      delivery->put({CountsKind::window, task, 3, at, 0, window_of_requests(10, 1).bytes()});
    std::string seven;
    detail::put_number(seven, 7);
    delivery->put({CountsKind::drops, task, 0, last, 0, seven});
    delivery->put({CountsKind::drops, task, 0, last - 7, 0, seven});
    delivery->commit({}, now);
  }
  const auto from = store.interactions();
  const VersionPast past = version_past(*from, "t", 3, now);
  CHECK(past.window(last).count == 20);
  WindowCounts all;
  past.add_hours(0, 0xFFFF'FFFF, all);
  CHECK(all.count == 20);
  CHECK(version_past(*from, "t", 4, now).window(last).count == 0);
  CHECK(version_past(*from, "unknown", 3, now).window(last).count == 0);
  CHECK(drops_of(*from, "t", now) == 14);
  CHECK(drops_of(*from, "unknown", now) == 0);
}

}  // namespace degradation_test
