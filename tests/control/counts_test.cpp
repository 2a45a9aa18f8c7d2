// Histograms, windows and evidence: counts that add up, and bytes that nobody needs to trust.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/epoch.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/histogram.hpp"
#include "canary/control/merge_counts.hpp"
#include "canary/control/window.hpp"

namespace counts_test {

using namespace canary;

namespace {

constexpr TimeUs now = 1'795'368'929'000'000;  // 2026-11-22
constexpr TimeUs timeout_us = 600'000'000;

std::uint64_t id_at(TimeUs time_us, std::uint64_t count = 0) {
  return InteractionId::at(InteractionId::cursor_at(time_us) + count, 3);
}

Interaction outcome(std::uint64_t id, TimeUs at_us) {
  Interaction row;
  row.id = id;
  row.at_us = at_us;
  return row;
}

Interaction random_row(std::mt19937_64& random) {
  Interaction row = outcome(id_at(now + static_cast<TimeUs>(random() % 600'000'000), random() % 1'024), now);
  row.error = random() % 4 == 0 ? 1 : 0;
  row.latency_us = random() % 9 == 0 ? no_latency : static_cast<std::uint32_t>(random() >> (32 + random() % 30));
  row.score = random() % 3 == 0 ? no_score : static_cast<std::uint32_t>(random() % (score_one + 1ull));
  row.tokens_in = static_cast<std::uint32_t>(random());
  row.cost_microusd = random() % 100'000;
  return row;
}

}  // namespace

TEST_CASE("histogram: every value falls into a bucket that holds it and is no wider than 1/32 of it", "[control]") {
  std::mt19937_64 random{7};
  std::vector<std::uint32_t> values{0, 1, 63, 64, 65, 127, 128, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFE, 0xFFFF'FFFF};
  for (int i = 0; i != 100'000; ++i) values.push_back(static_cast<std::uint32_t>(random() >> (32 + random() % 32)));
  const auto fits = [](std::uint32_t value) {
    const std::size_t bucket = Histogram::bucket_of(value);
    if (bucket >= Histogram::buckets || Histogram::lowest(bucket) > value) return false;
    const std::uint64_t width = Histogram::lowest(bucket + 1) - Histogram::lowest(bucket);
    return value < Histogram::lowest(bucket + 1) && (width == 1 || width * 32 <= Histogram::lowest(bucket));
  };
  CHECK(std::find_if_not(values.begin(), values.end(), fits) == values.end());
}

TEST_CASE("histogram: a percentile is off by 1/64 of the exact one at most", "[control]") {
  std::mt19937_64 random{11};
  for (int round = 0; round != 200; ++round) {
    Histogram histogram;
    std::vector<std::uint32_t> values;
    const int shift = static_cast<int>(random() % 32);
    for (std::size_t i = 0, count = 1 + random() % 500; i != count; ++i)
      values.push_back(static_cast<std::uint32_t>(random() >> 32) >> shift);
    for (const std::uint32_t value : values) histogram.add(value);
    std::sort(values.begin(), values.end());
    for (const double share : {0.01, 0.5, 0.9, 0.95, 0.99, 1.0}) {
      const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(share * static_cast<double>(values.size()))));
      const double exact = values[rank - 1];
      INFO("share " << share << " of " << values.size());
      CHECK(std::abs(*histogram.quantile(share) - exact) <= exact / 64 + 0.5);
    }
  }
  CHECK_FALSE(Histogram{}.quantile(0.5));
}

TEST_CASE("window: shards add up to the whole, in any order, and survive their bytes", "[control]") {
  std::mt19937_64 random{13};
  WindowCounts whole;
  std::vector<WindowCounts> shards(100);
  for (int i = 0; i != 20'000; ++i) {
    const Interaction row = random_row(random);
    whole.add(row);
    shards[random() % shards.size()].add(row);
  }
  std::shuffle(shards.begin(), shards.end(), random);
  WindowCounts sum;
  for (const WindowCounts& shard : shards) {
    const auto parsed = WindowCounts::parse(shard.bytes());
    REQUIRE(parsed);
    CHECK(*parsed == shard);
    sum.merge(*parsed);
  }
  CHECK(sum == whole);
}

TEST_CASE("window and evidence: damaged bytes are refused or give counts, and never crash", "[control]") {
  std::mt19937_64 random{17};
  WindowCounts window;
  EvidenceCounts evidence{5};
  for (int i = 0; i != 50; ++i) {
    const Interaction row = random_row(random);
    window.add(row);
    evidence.assign(CountedBy::unit, Arm::candidate, row.id);
  }
  for (const std::string& bytes : {window.bytes(), evidence.bytes()}) {
    for (std::size_t size = 0; size != bytes.size(); ++size) {
      CHECK_FALSE(WindowCounts::parse(bytes.substr(0, size)));
      CHECK_FALSE(EvidenceCounts::parse(bytes.substr(0, size)));
    }
    for (int i = 0; i != 20'000; ++i) {
      std::string damaged = bytes;
      for (std::size_t flips = 1 + random() % 4; flips != 0; --flips)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      (void)WindowCounts::parse(damaged);
      (void)EvidenceCounts::parse(damaged);
    }
  }
}

TEST_CASE("evidence: an assignment is settled by its outcome, or closed as a failure, and never both", "[control]") {
  EvidenceCounts counts{0};
  const Frozen frozen;
  counts.assign(CountedBy::unit, Arm::candidate, id_at(now, 1));
  counts.assign(CountedBy::unit, Arm::candidate, id_at(now, 2));
  counts.settle(CountedBy::unit, Arm::candidate, outcome(id_at(now, 1), now + 5), frozen, timeout_us);
  const std::uint32_t minute = EvidenceCounts::minute_of(now);
  CHECK_FALSE(counts.close_before(minute));
  CHECK(counts.close_before(minute + 1));
  CHECK_FALSE(counts.close_before(minute + 1));
  counts.settle(CountedBy::unit, Arm::candidate, outcome(id_at(now, 2), now + 5), frozen, timeout_us);
  const ArmCounts& arm = counts.of(CountedBy::unit, Arm::candidate);
  CHECK(arm.assigned == 2);
  CHECK(arm.settled == 1);
  CHECK(arm.missing == 1);
  CHECK(arm.late == 1);
  CHECK(arm.failures() == 1);
  CHECK(arm.successes() == 1);
  CHECK(arm.score[0] == 1);
  CHECK(counts.open().empty());
  CHECK(counts.of(CountedBy::unit, Arm::baseline) == EvidenceCounts{0}.of(CountedBy::unit, Arm::baseline));
}

TEST_CASE("evidence: an outcome after the time-out is late, though its minute is still open", "[control]") {
  EvidenceCounts counts{0};
  counts.assign(CountedBy::request, Arm::baseline, id_at(now));
  counts.settle(CountedBy::request, Arm::baseline, outcome(id_at(now), now + timeout_us + 1'000), Frozen{}, timeout_us);
  CHECK(counts.of(CountedBy::request, Arm::baseline).late == 1);
  CHECK(counts.of(CountedBy::request, Arm::baseline).settled == 0);
  CHECK(counts.open().size() == 1);
}

TEST_CASE("evidence: latencies fall into the bins between thresholds, the threshold itself below", "[control]") {
  Frozen frozen;
  frozen.latency_us = {100, 200, 400};
  EvidenceCounts counts{3};
  std::uint64_t count = 0;
  for (const std::uint32_t latency : {0u, 100u, 101u, 200u, 400u, 401u, 0xFFFF'FFFEu, no_latency}) {
    Interaction row = outcome(id_at(now, count++), now);
    row.latency_us = latency;
    counts.assign(CountedBy::unit, Arm::baseline, row.id);
    counts.settle(CountedBy::unit, Arm::baseline, row, frozen, timeout_us);
  }
  CHECK(counts.of(CountedBy::unit, Arm::baseline).latency == std::vector<std::uint64_t>{2, 2, 1, 2});
}

TEST_CASE("evidence: rounding to bins keeps the mean, and the same interaction has the same bin", "[control]") {
  std::mt19937_64 random{19};
  for (const double value : {0.0, 0.013, 0.5, 0.777, 0.999, 1.0}) {
    double sum = 0;
    constexpr int draws = 40'000;
    for (int i = 0; i != draws; ++i) {
      const std::uint64_t draw = random();
      const std::size_t bin = value_bin(value, draw);
      if (bin >= value_bins || bin != value_bin(value, draw)) FAIL("bin " << bin << " of " << value);
      sum += static_cast<double>(bin) / (value_bins - 1);
    }
    // Five standard deviations of the mean of bins that are a twentieth apart.
    CHECK(std::abs(sum / draws - value) <= 5 * 0.025 / std::sqrt(draws));
  }
  CHECK(value_bin(-1, 0) == 0);
  CHECK(value_bin(7, ~std::uint64_t{0}) == value_bins - 1);
}

TEST_CASE("evidence: a thousand shards add up to the whole, what is open included", "[control]") {
  std::mt19937_64 random{23};
  Frozen frozen;
  frozen.latency_us = {1'000, 100'000};
  frozen.cost_cap_microusd = 50'000;
  EvidenceCounts whole{2};
  std::vector<EvidenceCounts> shards(1'000, EvidenceCounts{2});
  for (int i = 0; i != 30'000; ++i) {
    const Interaction row = random_row(random);
    const auto by = static_cast<CountedBy>(random() % 2);
    const auto arm = static_cast<Arm>(random() % 2);
    const bool settled = random() % 8 != 0;
    EvidenceCounts& shard = shards[random() % shards.size()];
    for (EvidenceCounts* counts : {&whole, &shard}) {
      counts->assign(by, arm, row.id);
      if (settled) counts->settle(by, arm, row, frozen, timeout_us);
    }
  }
  EvidenceCounts sum{2};
  for (const EvidenceCounts& shard : shards) {
    const auto parsed = EvidenceCounts::parse(shard.bytes());
    REQUIRE(parsed);
    CHECK(*parsed == shard);
    sum.merge(*parsed);
  }
  CHECK(sum == whole);
}

TEST_CASE("merge_counts: each kind adds up by its own rule, and bytes of another are refused", "[control]") {
  const auto refused = [](CountsKind kind, const std::string& ours, const std::string& theirs) {
    try {
      (void)merge_counts(kind, ours, theirs);
    } catch (const StoreError& error) {
      return error.code == StoreErrc::corrupt;
    }
    return false;
  };
  WindowCounts window;
  window.count = 300;
  EvidenceCounts evidence{2};
  evidence.assign(CountedBy::unit, Arm::candidate, InteractionId::first_at(1'800'000'000'000'000));
  std::string drops;
  detail::put_number(drops, 300);
  CHECK(WindowCounts::parse(merge_counts(CountsKind::window, window.bytes(), window.bytes()))->count == 600);
  const auto twice = EvidenceCounts::parse(merge_counts(CountsKind::evidence, evidence.bytes(), evidence.bytes()));
  CHECK(twice->of(CountedBy::unit, Arm::candidate).assigned == 2);
  CHECK(twice->open().size() == 1);
  std::string sum;
  detail::put_number(sum, 600);
  CHECK(merge_counts(CountsKind::drops, drops, drops) == sum);
  const std::string bytes[] = {window.bytes(), evidence.bytes(), drops};
  for (const CountsKind kind : counts_kinds)
    for (std::size_t i = 0; i != std::size(bytes); ++i) {
      const std::string& own = bytes[static_cast<std::size_t>(kind) - 1];
      if (bytes[i] == own) continue;
      CHECK(refused(kind, own, bytes[i]));
      CHECK(refused(kind, bytes[i], own));
      CHECK(refused(kind, own, ""));
    }
}

TEST_CASE("unit sample: each halving keeps half of what the one before kept, whatever the version's share",
          "[control]") {
  std::mt19937_64 random{29};
  int kept[6] = {};
  int low = 0;  // of the third halving: points in the lower tenth of the ring
  constexpr int points = 200'000;
  for (int i = 0; i != points; ++i) {
    const auto point = static_cast<Point>(random());
    for (int level = 0; level != 6; ++level) {
      const bool has = UnitSample::has(point, level);
      kept[level] += has ? 1 : 0;
      if (level != 0 && has && !UnitSample::has(point, level - 1)) FAIL("point " << point);
    }
    if (UnitSample::has(point, 3) && point < 0xFFFF'FFFF / 10) ++low;
  }
  for (int level = 0; level != 6; ++level) {
    const double expected = points / std::pow(2.0, level);
    CHECK(std::abs(kept[level] - expected) <= 5 * std::sqrt(expected) + 1);
  }
  CHECK(std::abs(low - kept[3] / 10.0) <= 5 * std::sqrt(kept[3] / 10.0));
  CHECK(UnitSample::level(0) == 0);
  CHECK(UnitSample::level(UnitSample::first - 1) == 0);
  CHECK(UnitSample::level(UnitSample::first) == 1);
  CHECK(UnitSample::level(std::numeric_limits<std::uint64_t>::max()) == 31);
}

TEST_CASE("epoch: its text reads back as the same epoch, down to the last bit of its figures", "[control]") {
  std::mt19937_64 random{31};
  for (int i = 0; i != 2'000; ++i) {
    Epoch epoch;
    epoch.revision = static_cast<std::uint32_t>(random());
    epoch.baseline = static_cast<std::uint32_t>(random() % 65'000);
    epoch.baseline_points = random() % ring_points;
    for (std::uint64_t left = random() % 4; left != 0; --left)
      epoch.candidates.push_back({static_cast<std::uint32_t>(random() % 65'000), random() % ring_points,
                                  static_cast<std::uint32_t>(random())});
    Frozen& frozen = epoch.frozen;
    frozen.outcomes = random();
    for (double* value : {&frozen.success_mean, &frozen.score_mean, &frozen.score_variance, &frozen.cost_cap_microusd,
                          &frozen.cost_mean, &frozen.cost_variance})
      *value = std::ldexp(static_cast<double>(random() >> 11), -static_cast<int>(random() % 80));
    for (std::uint32_t at = 1; at < 1'000'000 && random() % 8 != 0;
         at += 1 + static_cast<std::uint32_t>(random() % 9'999))
      if (frozen.latency_us.size() < 64) frozen.latency_us.push_back(at);
    const std::string text = epoch_text(epoch);
    INFO(text);
    REQUIRE(parse_epoch(text) == epoch);
    CHECK_FALSE(parse_epoch(text + ' '));
    CHECK_FALSE(parse_epoch(text.substr(0, text.rfind('|'))));
  }
  CHECK_FALSE(parse_epoch(""));
  CHECK_FALSE(parse_epoch("1|0:1||0 .5 .5 .25 0 .5 .25|7 7"));
}

TEST_CASE("epoch: figures are frozen from what the baseline did, and stay neutral without any", "[control]") {
  CHECK(freeze({}, {0.25}) == Frozen{});
  WindowCounts counts;
  for (std::uint32_t i = 1; i <= 1'000; ++i) {
    Interaction row = outcome(i, now);
    row.latency_us = i * 1'000;
    row.error = i % 10 == 0 ? 1 : 0;
    row.score = i % 2 == 0 ? score_one : score_one / 2;
    row.cost_microusd = 100;
    counts.add(row);
  }
  const Frozen frozen = freeze(counts, {0.25});
  CHECK(frozen.outcomes == 1'000);
  CHECK(std::abs(frozen.success_mean - 0.9) < 1e-12);
  CHECK(std::abs(frozen.score_mean - 0.75) < 1e-9);
  CHECK(std::abs(frozen.score_variance - 0.0625) < 1e-6);
  CHECK(std::abs(frozen.cost_cap_microusd - 1'000) <= 1'000 / 64.0);
  REQUIRE(frozen.latency_us.size() == 10);
  CHECK(std::abs(frozen.latency_us.front() - 500'000.0) <= 500'000 / 64.0);
  CHECK(std::abs(frozen.latency_us.back() - 990'000 * 1.25) <= 990'000 * 1.25 / 64);
}

}  // namespace counts_test
