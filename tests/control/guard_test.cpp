// The guard: every way a verdict can go, and that none is ever reached by lack of evidence.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/bytes.hpp"
#include "canary/control/guard.hpp"

namespace guard_test {

using namespace canary;

namespace {

/// Counts with chosen figures, by the bytes that a store would give.
EvidenceCounts counts_of(const ArmCounts& unit_baseline, const ArmCounts& unit_candidate,
                         const ArmCounts& request_baseline, const ArmCounts& request_candidate) {
  const std::size_t bins = std::max<std::size_t>(1, unit_baseline.latency.size());
  std::string bytes;
  detail::put_number(bytes, 0x66);
  detail::put_number(bytes, bins);
  for (const ArmCounts* arm : {&unit_baseline, &unit_candidate, &request_baseline, &request_candidate}) {
    for (const std::uint64_t value : {arm->assigned, arm->settled, arm->missing, arm->late, arm->failed})
      detail::put_number(bytes, value);
    for (const std::uint64_t value : arm->score) detail::put_number(bytes, value);
    for (const std::uint64_t value : arm->cost) detail::put_number(bytes, value);
    for (std::size_t i = 0; i != bins; ++i) detail::put_number(bytes, i < arm->latency.size() ? arm->latency[i] : 0);
  }
  detail::put_number(bytes, 0);  // closed before
  detail::put_number(bytes, 0);  // open
  const auto parsed = EvidenceCounts::parse(bytes);
  REQUIRE(parsed);
  return *parsed;
}

EvidenceCounts counts_of(const ArmCounts& baseline, const ArmCounts& candidate) {
  return counts_of(baseline, candidate, baseline, candidate);
}

ArmCounts arm(std::uint64_t assigned, std::uint64_t failed, std::uint64_t missing = 0) {
  ArmCounts made;
  made.assigned = assigned;
  made.settled = assigned - missing;
  made.missing = missing;
  made.failed = failed;
  return made;
}

constexpr std::uint32_t number = 7;

/// An epoch in which the candidate has so many percent of both arms' points.
LifeEpoch epoch(double percent, EvidenceCounts counts, double mean = 0.9) {
  LifeEpoch made{{}, std::move(counts)};
  const auto points = static_cast<std::uint64_t>(percent / 100 * 0x1p32);
  made.epoch.baseline_points = 0x1'0000'0000 - points;
  if (points != 0) made.epoch.candidates = {{number, points, 12}};
  made.epoch.frozen.success_mean = mean;
  made.epoch.frozen.outcomes = 1'000;
  return made;
}

GuardConfig watching(MetricConfig metric = {.name = "ok"}) {
  GuardConfig config;
  config.metrics = {std::move(metric)};
  return config;
}

Verdict judged(const GuardConfig& config, const std::vector<LifeEpoch>& epochs, const GuardStep& step = {},
               const std::vector<Restart>& restarts = {}) {
  return judge(config, {number, epochs, restarts}, step);
}

bool says(const Verdict& verdict, std::string_view words) { return verdict.reason.find(words) != std::string::npos; }

const EvidenceCounts nothing{0};

}  // namespace

TEST_CASE("guard: without a metric, traffic or outcomes it holds and says which is missing", "[control][guard]") {
  const LifeEpoch healthy = epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 1'000)));
  Verdict verdict = judged(GuardConfig{}, {healthy});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "no metric is configured"));

  verdict = judged(watching(), {});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "no traffic yet"));

  for (const double percent : {0.0, 100.0}) {
    verdict = judged(watching(),
                     {epoch(percent, counts_of(arm(percent == 0 ? 1'000 : 0, 0), arm(percent == 0 ? 0 : 1'000, 500)))});
    CHECK(verdict.action == Action::hold);
    CHECK(says(verdict, "only one of the two"));
  }

  verdict = judged(watching(), {epoch(10, nothing)});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "no outcome has been recorded yet"));
  CHECK(verdict.units == 0);
}

TEST_CASE("guard: an equal candidate advances, and finishes on the last step", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 1'000)))};
  Verdict verdict = judged(watching(), life, {.index = 2});
  CHECK(verdict.action == Action::advance);
  CHECK(says(verdict, "harm of 0.04 or more is ruled out"));
  CHECK(verdict.units == 10'000);
  CHECK(verdict.metrics.at(0).log_e_advance >= verdict.metrics[0].threshold_advance);
  CHECK(verdict.metrics[0].interval.low < 0);
  CHECK(verdict.metrics[0].interval.high > 0);
  CHECK(verdict.metrics[0].candidate == ArmValue{10'000, 0.9});
  CHECK(verdict.metrics[0].requests_to_verdict == 0);
  CHECK(judged(watching(), life, {.index = 2, .last = true}).action == Action::finish);
}

TEST_CASE("guard: harm beyond the margin is rolled back, in words with figures", "[control][guard]") {
  const Verdict verdict = judged(watching(), {epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 1'500)))});
  CHECK(verdict.action == Action::rollback);
  CHECK(says(verdict, "`ok`"));
  CHECK(says(verdict, "0.85 of 10000 against the baseline's 0.9 of 90000"));
  CHECK(verdict.log_e_rollback >= verdict.threshold_rollback);
  CHECK(verdict.metrics.at(0).interval.high < 0);
}

TEST_CASE("guard: harm within the margin is not rolled back, nor does it advance where the margin forbids",
          "[control][guard]") {
  MetricConfig metric{.name = "ok"};
  metric.margin = 0.06;
  metric.advance_margin = {0.03};
  const Verdict verdict = judged(watching(metric), {epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 1'500)))});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "is not ruled out yet"));
}

TEST_CASE("guard: a verdict that is not in sight yet comes with the requests it takes", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(1'800, 180), arm(200, 20)))};
  const Verdict verdict = judged(watching(), life, {.index = 4});
  CHECK(verdict.action == Action::hold);
  REQUIRE(verdict.metrics.at(0).requests_to_verdict);
  CHECK(*verdict.metrics[0].requests_to_verdict > 5'000);
  CHECK(*verdict.metrics[0].requests_to_verdict < 100'000);
  CHECK(says(verdict, "more requests decide"));
  // Where sticky users send ten requests each, ten times as many requests pass until then.
  const std::vector<LifeEpoch> sticky{
      epoch(10, counts_of(arm(1'800, 180), arm(200, 20), arm(18'000, 1'800), arm(2'000, 200)))};
  const auto ten_times = judged(watching(), sticky, {.index = 4}).metrics.at(0).requests_to_verdict;
  REQUIRE(ten_times);
  CHECK(*ten_times / 9 > *verdict.metrics[0].requests_to_verdict);
  CHECK(*ten_times / 11 < *verdict.metrics[0].requests_to_verdict);
  CHECK_FALSE(judged(watching(), life, {.index = 4, .display = false}).metrics.at(0).requests_to_verdict);
}

TEST_CASE("guard: drift of the base during a ramp is no harm, though pooled figures say so", "[control][guard]") {
  // Simpson's paradox: the base falls from .98 to .80 while the candidate's share rises, both arms alike in each epoch.
  const std::vector<LifeEpoch> life{epoch(1, counts_of(arm(99'000, 1'980), arm(1'000, 20)), 0.98),
                                    epoch(50, counts_of(arm(50'000, 10'000), arm(50'000, 10'000)), 0.98)};
  const Verdict verdict = judged(watching(), life, {.index = 4});
  CHECK(verdict.action == Action::advance);
  CHECK(verdict.metrics.at(0).baseline.value - verdict.metrics[0].candidate.value > 0.07);
  CHECK(verdict.metrics[0].log_e_rollback < 0);
}

TEST_CASE("guard: outcomes that are missing are failures", "[control][guard]") {
  const Verdict verdict = judged(watching(), {epoch(10, counts_of(arm(900, 9), arm(100, 0, 60)), 0.99)});
  CHECK(verdict.action == Action::rollback);
  CHECK(verdict.metrics.at(0).candidate.value == 0.4);
}

TEST_CASE("guard: open assignments count as nothing yet", "[control][guard]") {
  ArmCounts open = arm(100, 0);
  open.settled = 40;
  const Verdict verdict = judged(watching(), {epoch(10, counts_of(arm(900, 9), open), 0.99)});
  CHECK(verdict.units == 40);
  CHECK(verdict.action == Action::hold);
  CHECK(verdict.metrics.at(0).candidate == ArmValue{40, 1});
}

TEST_CASE("guard: a split that the records contradict holds, however well the candidate does", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(90'000, 9'000), arm(8'000, 400)))};
  GuardConfig config = watching();
  Verdict verdict = judged(config, life);
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "8000 assignments"));
  CHECK(verdict.sample_ratio.log_e >= std::log(1'000));
  CHECK(verdict.sample_ratio.observed == 8'000);
  CHECK(std::abs(verdict.sample_ratio.expected - 9'800) < 1);
  config.on_missing = OnMissing::rollback;
  CHECK(judged(config, life).action == Action::rollback);
  // More than its share is no shortfall.
  CHECK(judged(config, {epoch(10, counts_of(arm(90'000, 9'000), arm(12'000, 600)))}).action == Action::hold);
}

TEST_CASE("guard: outcomes that get lost in one arm hold, and harm that they prove comes first", "[control][guard]") {
  ArmCounts losing = arm(10'000, 1'000, 0);
  losing.settled = 8'000;
  losing.failed = 800;  // the other 2,000 are open
  Verdict verdict = judged(watching(), {epoch(10, counts_of(arm(90'000, 9'000), losing))});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "8000 outcomes"));
  losing.missing = 2'000;  // now they are closed
  verdict = judged(watching(), {epoch(10, counts_of(arm(90'000, 9'000), losing))});
  CHECK(verdict.action == Action::rollback);
  CHECK(says(verdict, "`ok`"));
}

TEST_CASE("guard: a metric that nobody records holds, and the others do not advance without it", "[control][guard]") {
  GuardConfig config = watching();
  config.metrics.push_back({.name = "quality", .kind = MetricKind::score});
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 1'000)))};
  Verdict verdict = judged(config, life);
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "nobody records a score, which `quality` watches"));
  config.metrics[1].kind = MetricKind::latency;
  CHECK(says(judged(config, life), "no latency is counted"));
  config.metrics[1].kind = MetricKind::cost;
  CHECK(says(judged(config, life), "no cost is counted"));
  // Harm in what is recorded still rolls back.
  CHECK(judged(config, {epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 2'000)))}).action == Action::rollback);
}

TEST_CASE("guard: a score that only one arm records cannot be compared", "[control][guard]") {
  GuardConfig config = watching({.name = "quality", .kind = MetricKind::score});
  ArmCounts baseline = arm(9'000, 0);
  ArmCounts candidate = arm(1'000, 0);
  baseline.score[16] = 9'000;
  candidate.score[16] = 600;
  const std::vector<LifeEpoch> life{epoch(10, counts_of(baseline, candidate))};
  CHECK(judged(config, life).action == Action::hold);
  CHECK(says(judged(config, life), "`quality` is recorded for another share"));
  config.on_missing = OnMissing::rollback;
  CHECK(judged(config, life).action == Action::rollback);
}

TEST_CASE("guard: scores and costs are compared by their means", "[control][guard]") {
  ArmCounts baseline = arm(18'000, 0);
  ArmCounts same = arm(2'000, 0);
  baseline.score[16] = 9'000;
  baseline.score[18] = 9'000;
  same.score[16] = 1'000;
  same.score[18] = 1'000;
  ArmCounts worse = arm(2'000, 0);
  worse.score[14] = 2'000;
  GuardConfig config = watching({.name = "quality", .kind = MetricKind::score});
  const auto scored = [&](const ArmCounts& candidate) {
    LifeEpoch made = epoch(10, counts_of(baseline, candidate));
    made.epoch.frozen.score_mean = 0.85;
    made.epoch.frozen.score_variance = 0.0025;
    return std::vector<LifeEpoch>{made};
  };
  CHECK(judged(config, scored(same), {.index = 2}).action == Action::advance);
  CHECK(judged(config, scored(worse), {.index = 2}).action == Action::rollback);
  CHECK(std::abs(judged(config, scored(same)).metrics.at(0).baseline.value - 0.85) < 1e-12);

  config = watching({.name = "price", .kind = MetricKind::cost, .margin = 0.2, .advance_margin = {0.2}});
  const auto costing = [&](std::uint64_t at_two) {
    ArmCounts of_baseline = arm(18'000, 0);
    ArmCounts of_candidate = arm(2'000, 0);
    of_baseline.cost[0] = 6'000;
    of_baseline.cost[1] = 12'000;
    of_candidate.cost[0] = 667;
    of_candidate.cost[1] = 1'333 - at_two;
    of_candidate.cost[2] = at_two;
    LifeEpoch made = epoch(10, counts_of(of_baseline, of_candidate));
    made.epoch.frozen.cost_cap_microusd = 3'000;
    made.epoch.frozen.cost_mean = 1.0 / 30;  // 100 microdollars
    made.epoch.frozen.cost_variance = 0.0322;
    return std::vector<LifeEpoch>{made};
  };
  Verdict verdict = judged(config, costing(0), {.index = 2});
  CHECK(verdict.action == Action::advance);
  CHECK(says(verdict, "harm of 20 % or more is ruled out"));
  CHECK(std::abs(verdict.metrics.at(0).baseline.value - 100) < 1e-9);
  verdict = judged(config, costing(1'000), {.index = 2});
  CHECK(verdict.action == Action::rollback);
  CHECK(verdict.metrics.at(0).interval.low > 20);  // dearer by more than 20 microdollars
}

TEST_CASE("guard: latency is compared at the baseline's percentiles, the candidate's with their margin",
          "[control][guard]") {
  MetricConfig metric{.name = "speed", .kind = MetricKind::latency, .margin = 0.25, .advance_margin = {0.05}};
  GuardConfig config = watching(metric);
  Frozen frozen;
  for (const std::uint32_t each : {1'000u, 1'500u, 2'000u, 2'600u, 4'000u}) {
    frozen.latency_us.push_back(each);
    frozen.latency_us.push_back(each + each / 4);
  }
  std::sort(frozen.latency_us.begin(), frozen.latency_us.end());
  const auto pairs = threshold_pairs(metric, config.metrics, frozen, Claim::no_harm);
  REQUIRE(pairs.size() == 5);
  for (std::size_t i = 0; i != 5; ++i) {
    CHECK(frozen.latency_us[pairs[i].candidate] == frozen.latency_us[pairs[i].baseline] * 5 / 4);
    CHECK(pairs[i].share == latency_quantiles[i]);
  }
  std::mt19937_64 random{13};
  const auto served = [&](double slower) {
    const auto counts = [&](std::uint64_t count, double factor) {
      ArmCounts made = arm(count, 0);
      made.latency.resize(frozen.latency_us.size() + 1);
      for (std::uint64_t i = 0; i != count; ++i) {
        const double latency =
            1'000 * std::pow(1 - static_cast<double>(random() >> 11) * 0x1p-53, -0.36) * factor * 0.78;
        const auto at = std::lower_bound(frozen.latency_us.begin(), frozen.latency_us.end(), latency);
        ++made.latency[static_cast<std::size_t>(at - frozen.latency_us.begin())];
      }
      return made;
    };
    LifeEpoch made = epoch(10, counts_of(counts(45'000, 1), counts(5'000, slower)));
    made.epoch.frozen.latency_us = frozen.latency_us;
    return std::vector<LifeEpoch>{made};
  };
  CHECK(judged(config, served(1.0), {.index = 2}).action == Action::advance);
  CHECK(judged(config, served(1.25), {.index = 2}).action == Action::advance);
  CHECK(judged(config, served(1.8), {.index = 2}).action == Action::rollback);
  // Margins that have changed since the epoch opened tolerate no less than they say.
  config.metrics[0].margin = 0.3;
  CHECK(judged(config, served(1.25), {.index = 2}).action != Action::rollback);
  // One objective of the service alone; where it is not among the thresholds, nothing is counted.
  config.metrics[0].slo_us = 2'000;
  CHECK(judged(config, served(1.8), {.index = 2}).action == Action::rollback);
  config.metrics[0].slo_us = 2'001;
  CHECK(judged(config, served(1.8), {.index = 2}).action == Action::hold);
}

TEST_CASE("guard: percentiles are told from their margins whatever the margins are", "[control][guard]") {
  std::mt19937_64 random{29};
  for (int round = 0; round != 500; ++round) {
    WindowCounts window;
    for (int i = 0; i != 500; ++i) {
      Interaction row;
      row.latency_us = static_cast<std::uint32_t>(1 + random() % (1u << (random() % 24)));
      window.add(row);
    }
    std::vector<MetricConfig> all;
    std::vector<double> margins;
    for (std::size_t i = 0, count = 1 + random() % 3; i != count; ++i) {
      margins.push_back(static_cast<double>(random() % 40) / 50);
      all.push_back({.name = "speed", .kind = MetricKind::latency, .margin = margins.back()});
    }
    const Frozen frozen = freeze(window, margins);
    for (const MetricConfig& each : all)
      for (const ThresholdPair& pair : threshold_pairs(each, all, frozen, Claim::no_harm)) {
        const double wanted = frozen.latency_us[pair.baseline] * (1 + each.margin);
        CHECK(std::abs(frozen.latency_us[pair.candidate] - wanted) <= 1 + each.margin);
      }
  }
}

TEST_CASE("guard: too few units, or too young a step, never advance", "[control][guard]") {
  GuardConfig config = watching({.name = "ok", .advance_margin = {0.9}});
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(891, 89), arm(99, 10)))};
  Verdict verdict = judged(config, life);
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "99 of the 100 units"));
  config.units_min = 99;
  CHECK(judged(config, life).action == Action::advance);
  config.step_min_s = 3'600;
  verdict = judged(config, life, {.age_s = 3'599});
  CHECK(verdict.action == Action::hold);
  CHECK(says(verdict, "3599 s old"));
  CHECK(judged(config, life, {.age_s = 3'600}).action == Action::advance);
}

TEST_CASE("guard: candidates that are compared at the same time share alpha", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(9'000, 900), arm(1'000, 155)))};
  const Verdict alone = judged(watching(), life);
  const Verdict among = judged(watching(), life, {.candidates = 1'000'000});
  CHECK(alone.action == Action::rollback);
  CHECK(among.action == Action::hold);
  CHECK(std::abs(among.threshold_rollback - alone.threshold_rollback - std::log(1e6)) < 1e-9);
  CHECK(std::abs(among.metrics.at(0).threshold_advance - alone.metrics.at(0).threshold_advance - std::log(1e6)) < 1e-9);
}

TEST_CASE("guard: metrics are weighed, and each must hold for an advance", "[control][guard]") {
  GuardConfig config = watching();
  config.metrics.push_back({.name = "quality", .kind = MetricKind::score, .weight = 3});
  ArmCounts baseline = arm(90'000, 9'000);
  ArmCounts candidate = arm(10'000, 1'000);
  baseline.score[16] = 90'000;
  candidate.score[15] = 10'000;
  const Verdict verdict = judged(config, {epoch(10, counts_of(baseline, candidate))}, {.index = 3});
  CHECK(verdict.action == Action::rollback);
  CHECK(says(verdict, "`quality`"));
  CHECK(std::abs(verdict.metrics.at(0).threshold_rollback - std::log(400)) < 1e-9);
  CHECK(std::abs(verdict.metrics.at(1).threshold_rollback - std::log(100 / 0.75)) < 1e-9);
  config.metrics[1].margin = 0.2;  // tolerated, but not ruled out
  CHECK(judged(config, {epoch(10, counts_of(baseline, candidate))}, {.index = 3}).action == Action::hold);
}

TEST_CASE("guard: damage that comes late is seen by the game that starts with its epoch", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(900'000, 90'000), arm(100'000, 9'000))),
                                    epoch(25, counts_of(arm(7'500, 750), arm(2'500, 450)))};
  std::vector<Stratum> from_start;
  for (const LifeEpoch& each : life)
    from_start.push_back(
        strata_of(watching().metrics[0], {}, each.epoch, each.counts.of(CountedBy::unit, Arm::baseline),
                  each.counts.of(CountedBy::unit, Arm::candidate), share_of(each.epoch, number), Claim::no_harm)
            .at(0));
  CHECK(log_capital(from_start, 0.005, Claim::no_harm) < 0);
  CHECK(judged(watching(), life, {.index = 3}).action == Action::rollback);
}

TEST_CASE("guard: snapshots of the counts are games of their own; what is no snapshot is left out",
          "[control][guard]") {
  const EvidenceCounts before = counts_of(arm(900'000, 90'000), arm(100'000, 9'000));
  const EvidenceCounts after = counts_of(arm(909'000, 90'900), arm(101'000, 9'250));
  const std::vector<LifeEpoch> life{epoch(10, after)};
  CHECK(judged(watching(), life, {.index = 4}).action != Action::rollback);
  CHECK(judged(watching(), life, {.index = 4}, {{1, {before}}}).action == Action::rollback);
  // A number counts once, or the capital could be made at will.
  const double once = judged(watching(), life, {}, {{1, {before}}}).log_e_rollback;
  CHECK(judged(watching(), life, {}, {{1, {before}}, {1, {before}}}).log_e_rollback == once);
  CHECK(judged(watching(), life, {}, {{9, {before}}}).log_e_rollback < once);
  const double without = judged(watching(), life).log_e_rollback;
  CHECK(judged(watching(), life, {}, {{0, {before}}}).log_e_rollback == without);
  const EvidenceCounts foreign = counts_of(arm(1'000'000, 90'000), arm(100'000, 9'000));
  CHECK(std::abs(judged(watching(), life, {}, {{1, {foreign}}}).log_e_rollback - without) < 1e-12);
}

TEST_CASE("guard: rare errors are compared by their ratio where that is asked for", "[control][guard]") {
  MetricConfig metric{.name = "ok", .error_ratio = 1.5};
  const auto failing = [&](std::uint64_t failed) {
    return std::vector<LifeEpoch>{epoch(10, counts_of(arm(900'000, 90), arm(100'000, failed)), 0.9999)};
  };
  CHECK(judged(watching(metric), failing(60), {.index = 2}).action == Action::rollback);
  CHECK(judged(watching(metric), failing(14), {.index = 2}).action == Action::advance);
  CHECK(judged(watching(), failing(60), {.index = 2}).action == Action::advance);  // half a permille is within .005
}

TEST_CASE("guard: a metric by request counts requests", "[control][guard]") {
  MetricConfig metric{.name = "ok", .unit = MetricUnit::request};
  const std::vector<LifeEpoch> life{
      epoch(10, counts_of(arm(900, 90), arm(100, 10), arm(90'000, 9'000), arm(10'000, 1'500)))};
  CHECK(judged(watching(metric), life).action == Action::rollback);
  CHECK(judged(watching(), life).action == Action::hold);
}

TEST_CASE("guard: at 100 % the ramp ends, unless what was seen before proves harm", "[control][guard]") {
  const LifeEpoch half = epoch(50, counts_of(arm(5'000, 500), arm(5'000, 500)));
  const LifeEpoch harmed = epoch(50, counts_of(arm(5'000, 500), arm(5'000, 1'500)));
  const LifeEpoch whole = epoch(100, counts_of(arm(0, 0), arm(5'000, 4'000)));
  CHECK(judged(watching(), {half, whole}, {.index = 5, .last = true}).action == Action::finish);
  CHECK(judged(watching(), {half, whole}, {.index = 5}).action == Action::hold);
  CHECK(judged(watching(), {harmed, whole}, {.index = 5, .last = true}).action == Action::rollback);
  CHECK(judged(watching(), {whole}, {.index = 5, .last = true}).action == Action::finish);
}

TEST_CASE("guard: a configuration that makes no sense is a hold that says so", "[control][guard]") {
  const std::vector<LifeEpoch> life{epoch(10, counts_of(arm(90'000, 9'000), arm(10'000, 5'000)))};
  const auto hold_for = [&](auto&& change, std::string_view words) {
    GuardConfig config = watching();
    change(config);
    const Verdict verdict = judged(config, life);
    INFO(verdict.reason);
    CHECK(verdict.action == Action::hold);
    CHECK(says(verdict, words));
  };
  hold_for([](GuardConfig& config) { config.alpha_rollback = 0; }, "alpha_rollback");
  hold_for([](GuardConfig& config) { config.alpha_advance = std::nan(""); }, "alpha_advance");
  hold_for([](GuardConfig& config) { config.metrics[0].margin = std::nan(""); }, "the margin of `ok`");
  hold_for([](GuardConfig& config) { config.metrics[0].margin = -1; }, "the margin of `ok`");
  hold_for([](GuardConfig& config) { config.metrics[0].advance_margin.clear(); }, "the advance margin of `ok`");
  hold_for([](GuardConfig& config) { config.metrics[0].weight = 0; }, "add up to nothing");
  hold_for([](GuardConfig& config) { config.metrics[0].error_ratio = -1; }, "the error ratio of `ok`");
}

TEST_CASE("guard: whatever the counts, no figure is lost and no lack of evidence ships", "[control][guard]") {
  std::mt19937_64 random{31};
  const std::vector<std::uint64_t> sizes{0, 1, 5, 1'000, 1'000'000'007, (std::uint64_t{1} << 63) / 32};
  GuardConfig config = watching();
  config.metrics.push_back({.name = "quality", .kind = MetricKind::score});
  config.metrics.push_back({.name = "speed", .kind = MetricKind::latency, .margin = 0.1});
  config.metrics.push_back({.name = "price", .kind = MetricKind::cost});
  config.metrics.push_back({.name = "rare", .error_ratio = 2});
  for (int round = 0; round != 1'000; ++round) {
    const auto any = [&] { return sizes[random() % sizes.size()]; };
    const auto some = [&] {
      ArmCounts made;
      made.settled = any();
      made.missing = any();
      made.assigned = made.settled + made.missing;
      made.failed = std::min(made.settled, any());
      for (std::size_t i = 0; i != value_bins; ++i) made.score[i] = made.cost[i] = any();
      for (int i = 0; i != 4; ++i) made.latency.push_back(any());
      return made;
    };
    std::vector<LifeEpoch> life;
    for (int i = 0; i != 3; ++i) {
      LifeEpoch& made = life.emplace_back(epoch(i == 0 ? 2e-8 : 40 * i, counts_of(some(), some(), some(), some())));
      made.epoch.frozen.latency_us = {1, 2, 4'000'000'000};
      made.epoch.frozen.cost_cap_microusd = i == 1 ? 1e-3 : 5'000;
      made.epoch.frozen.cost_mean = i == 2 ? 1e-12 : 0.1;
      made.epoch.frozen.success_mean = i == 1 ? 1 : 0.5;
    }
    const Verdict verdict = judged(config, life, {.display = round % 20 == 0});
    bool finite = std::isfinite(verdict.log_e_rollback) && std::isfinite(verdict.sample_ratio.log_e);
    bool proved = true;
    for (const MetricVerdict& each : verdict.metrics) {
      for (const double value : {each.log_e_rollback, each.log_e_advance, each.baseline.value, each.candidate.value,
                                 each.interval.low, each.interval.high})
        finite = finite && std::isfinite(value);
      proved = proved && each.log_e_advance >= each.threshold_advance;
    }
    CHECK(finite);
    CHECK((verdict.action != Action::advance || proved));
    CHECK_FALSE(verdict.reason.empty());
  }
}

TEST_CASE("guard: counts of a thousand servers say the same as their sum", "[control][guard]") {
  std::mt19937_64 random{37};
  EvidenceCounts whole{0};
  EvidenceCounts merged{0};
  std::vector<EvidenceCounts> shards(1'000, EvidenceCounts{0});
  const Frozen frozen;
  constexpr std::int64_t now = 1'795'368'929'000'000;
  for (std::uint64_t i = 0; i != 20'000; ++i) {
    Interaction row;
    row.id = InteractionId::at(InteractionId::cursor_at(now) + i % 1'024, 3);
    row.at_us = now;
    const Arm arm = random() % 10 == 0 ? Arm::candidate : Arm::baseline;
    row.error = random() % 100 < (arm == Arm::candidate ? 14u : 10u) ? 1 : 0;
    for (EvidenceCounts* each : {&whole, &shards[random() % shards.size()]}) {
      each->assign(CountedBy::unit, arm, row.id);
      each->settle(CountedBy::unit, arm, row, frozen, 600'000'000);
    }
  }
  for (const EvidenceCounts& each : shards) merged.merge(each);
  const Verdict one = judged(watching(), {epoch(10, whole)});
  const Verdict many = judged(watching(), {epoch(10, merged)});
  CHECK(std::abs(one.log_e_rollback - many.log_e_rollback) <= 1e-12);
  CHECK(one.reason == many.reason);
  CHECK(one.units == many.units);
}

TEST_CASE("guard: the step tells the margin, and the share the step", "[control][guard]") {
  const MetricConfig metric;
  CHECK(advance_margin(metric, 0) == 0.10);
  CHECK(advance_margin(metric, 4) == 0.02);
  CHECK(advance_margin(metric, 9) == 0.02);
  CHECK(advance_margin({.name = "ok", .advance_margin = {0.05}}, 3) == 0.05);
  CHECK(std::isnan(advance_margin({.name = "ok", .advance_margin = {}}, 3)));
  const GuardConfig config;
  CHECK(step_of(config, 0) == 0);
  CHECK(step_of(config, 10'000) == 0);
  CHECK(step_of(config, 60'000) == 1);
  CHECK(step_of(config, total_ppm) == 5);
}

}  // namespace guard_test
