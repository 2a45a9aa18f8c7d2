// Replays: what is measured is what is promised, the same on every machine.
#include <cmath>
#include <cstdint>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/guard_plan.hpp"
#include "canary/control/guard_replay.hpp"

namespace guard_replay_test {

using namespace canary;

namespace {

double uniform(detail::Draws& draw) { return static_cast<double>(draw() >> 11) * 0x1p-53; }

std::vector<ReplayRow> successes(double baseline, double candidate) {
  std::vector<ReplayRow> rows;
  for (int i = 0; i != 1'000; ++i)  // the very shares, in an order that tells nothing
    rows.push_back({i % 1'000 < baseline * 1'000 ? 1.0 : 0.0, (i * 7) % 1'000 < candidate * 1'000 ? 1.0 : 0.0});
  return rows;
}

std::vector<ReplayRow> latencies(double slower) {
  detail::Draws draw{17};
  std::vector<ReplayRow> rows;
  for (int i = 0; i != 4'000; ++i) {
    const double latency =
        1e5 * std::exp(0.5 * std::sqrt(-2 * std::log(1 - uniform(draw))) * std::cos(6.2831853 * uniform(draw)));
    rows.push_back({latency, latency * slower});
  }
  return rows;
}

}  // namespace

TEST_CASE("replay: a version that does no harm is rolled back no more often than alpha", "[control][guard]") {
  // 600 runs at alpha .05: more than 45 of them by chance alone in less than one of 200 series, had it exactly 5 %.
  for (const double p : {0.6, 0.9, 0.99}) {
    const ReplayResult result = replay(successes(p, p), {.requests = 20'000,
                                                         .repeat = 600,
                                                         .margin = 0,
                                                         .advance_margin = 0,
                                                         .alpha_rollback = 0.05,
                                                         .alpha_advance = 0.001});
    INFO(p << ": " << result.rolled_back << " of " << result.runs);
    CHECK(result.rolled_back <= 45);
    CHECK(result.runs == 600);
    CHECK(result.held + result.rolled_back + result.advanced == result.runs);
  }
}

TEST_CASE("replay: a version that is worse by the advance margin advances no more often than alpha",
          "[control][guard]") {
  const ReplayResult result =
      replay(successes(0.9, 0.88),
             {.requests = 20'000, .repeat = 600, .margin = 0.5, .advance_margin = 0.02, .alpha_advance = 0.05});
  CHECK(result.rolled_back == 0);
  CHECK(result.advanced <= 45);
}

TEST_CASE("replay: harm is rolled back, and an equal version advances", "[control][guard]") {
  const ReplayResult harmed = replay(successes(0.9, 0.8), {.requests = 20'000, .repeat = 100});
  CHECK(harmed.rolled_back == 100);
  REQUIRE(harmed.median_requests_to_rollback);
  CHECK(*harmed.median_requests_to_rollback < 3'000);
  CHECK_FALSE(harmed.median_requests_to_advance);
  const ReplayResult equal = replay(successes(0.9, 0.9), {.requests = 60'000, .repeat = 100, .advance_margin = 0.03});
  CHECK(equal.advanced >= 97);
}

TEST_CASE("replay: scores, latencies and costs are judged as successes are", "[control][guard]") {
  std::vector<ReplayRow> scores;
  detail::Draws draw{3};
  for (int i = 0; i != 2'000; ++i) {
    const double score = 0.5 + 0.5 * uniform(draw);
    scores.push_back({score, score - 0.1});
  }
  const ReplayOptions options{.kind = MetricKind::score, .requests = 5'000, .repeat = 50};
  CHECK(replay(scores, options).rolled_back == 50);

  ReplayOptions slow{.kind = MetricKind::latency, .requests = 20'000, .repeat = 50, .margin = 0, .advance_margin = 0};
  CHECK(replay(latencies(1.25), slow).rolled_back == 50);
  CHECK(replay(latencies(1), slow).rolled_back <= 4);
  slow.margin = 0.25;  // up to a quarter slower is tolerated
  CHECK(replay(latencies(1.25), slow).rolled_back <= 4);
  CHECK(replay(latencies(1.8), slow).rolled_back == 50);

  ReplayOptions dear{.kind = MetricKind::cost, .requests = 40'000, .repeat = 20, .margin = 0.1, .advance_margin = 0};
  CHECK(replay(latencies(1.05), dear).rolled_back <= 2);
  CHECK(replay(latencies(1.5), dear).rolled_back == 20);
}

TEST_CASE("replay: outcomes that are missing are failures", "[control][guard]") {
  std::vector<ReplayRow> rows(1'000, {1, 1});
  for (std::size_t i = 0; i < rows.size(); i += 5) rows[i].candidate = std::nan("");
  for (const MetricKind kind : {MetricKind::success, MetricKind::score, MetricKind::latency}) {
    const ReplayResult result = replay(rows, {.kind = kind, .requests = 5'000, .repeat = 20});
    CHECK(result.rolled_back == 20);
  }
}

TEST_CASE("replay: the seed and the number of a run decide it", "[control][guard]") {
  const std::vector<ReplayRow> rows = successes(0.9, 0.85);
  const ReplayOptions options{.requests = 20'000, .repeat = 20, .seed = 9};
  const ReplayRun once = replay_run(rows, options, 7);
  const ReplayRun again = replay_run(rows, options, 7);
  CHECK(once.requests == again.requests);
  CHECK(once.end == again.end);
  ReplayOptions other = options;
  other.seed = 10;
  CHECK(replay_run(rows, other, 7).requests != once.requests);
}

TEST_CASE("replay: nothing to compare is held", "[control][guard]") {
  const ReplayOptions options{.requests = 100, .repeat = 3};
  CHECK(replay({}, options).held == 3);
  for (const std::uint32_t share : {0u, total_ppm, total_ppm + 1}) {
    ReplayOptions one_sided = options;
    one_sided.share_ppm = share;
    CHECK(replay(successes(0.9, 0.1), one_sided).held == 3);
  }
  CHECK(summary({}).runs == 0);
  const std::vector<ReplayRow> spotless(10, {1, 1});
  CHECK(replay(spotless, options).rolled_back == 0);
}

TEST_CASE("plan: names about the median of what replays need", "[control][guard]") {
  for (const double drop : {0.05, 0.1}) {
    const auto planned = requests_needed({.baseline = 0.9, .drop = drop, .percent = 10, .alpha = 0.05});
    const ReplayResult result =
        replay(successes(0.9, 0.9 - drop),
               {.repeat = 200, .margin = 0, .advance_margin = 0, .alpha_rollback = 0.05, .alpha_advance = 1e-9});
    REQUIRE(planned);
    REQUIRE(result.median_requests_to_rollback);
    const double ratio = static_cast<double>(*planned) / *result.median_requests_to_rollback;
    INFO(drop << ": " << *planned << " planned, " << *result.median_requests_to_rollback << " seen");
    CHECK(ratio > 0.8);
    CHECK(ratio < 1.5);
  }
  CHECK(requests_needed({.drop = 0, .tolerance = 0.02, .claim = Claim::harm}) > 1'000);
}

TEST_CASE("plan: says so where a verdict never comes", "[control][guard]") {
  CHECK_FALSE(requests_needed({.drop = 0}));
  CHECK_FALSE(requests_needed({.drop = 0.01, .tolerance = 0.02}));
  CHECK_FALSE(requests_needed({.drop = 0.1, .percent = 0}));
  CHECK_FALSE(requests_needed({.drop = 0.1, .percent = 100}));
  CHECK_FALSE(requests_needed({.drop = 0.1, .alpha = 0}));
}

}  // namespace guard_replay_test
