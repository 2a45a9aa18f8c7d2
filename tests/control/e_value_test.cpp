// Betting e-values, error ratios and sample ratios: golden values, counts that add up, no input that breaks them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/e_value.hpp"
#include "canary/control/error_ratio.hpp"
#include "canary/control/game.hpp"
#include "canary/control/sample_ratio.hpp"

namespace e_value_test {

using namespace canary;

namespace {

/// To 1e-9 of the value, and of 1 near zero.
bool near(double made, double expected, double within = 1e-9) {
  return std::abs(made - expected) <= within * std::max(1.0, std::abs(expected));
}

Stratum successes(double share, double mean, double failed_baseline, double ok_baseline, double failed_candidate,
                  double ok_candidate) {
  Stratum made{.share = share, .centre = mean, .variance = mean * (1 - mean)};
  made.add({0, failed_baseline, failed_candidate});
  made.add({1, ok_baseline, ok_candidate});
  return made;
}

struct Golden {
  const char* name;
  std::vector<Stratum> strata;
  double rollback;     // tolerance 0
  double rollback_01;  // tolerance .01
  double advance_02;   // margin .02
};

std::vector<Golden> golden() {
  return {
      {"healthy",
       {successes(0.1, 0.9, 900, 8'100, 100, 900)},
       -0.9367091718142126,
       -1.3298608219710648,
       0.5005418676664175},
      {"drop of 5 points",
       {successes(0.1, 0.9, 900, 8'100, 150, 850)},
       8.473026405640343,
       4.571279568245066,
       -1.8937768789375535},
      {"dead candidate, 40 requests",
       {successes(0.1, 0.99, 0, 36, 4, 0)},
       8.26206002586541,
       7.925749522037945,
       -2.098276473326612},
      {"ramp",
       {successes(0.01, 0.95, 50, 940, 1, 9), successes(0.1, 0.93, 500, 8'500, 90, 910),
        successes(0.5, 0.92, 420, 4'580, 520, 4'480)},
       9.954287927301692,
       2.3983338516452775,
       -1.8365412814563764},
      {"1e10 requests",
       {successes(0.1, 0.9, 900'000'000, 8'100'000'000, 100'050'000, 899'950'000)},
       -4481.220103244129,
       -104481.814443062,
       1811251.1929782892},
      {"empty", {successes(0.1, 0.9, 0, 0, 0, 0)}, 0, 0, 0},
  };
}

const std::vector<std::uint64_t> extreme_counts{
    0, 1, 7, 1'000'003, std::uint64_t{1} << 53, (std::uint64_t{1} << 63) - 1, std::uint64_t{1} << 63};
const std::vector<double> extreme_shares{
    std::numeric_limits<double>::denorm_min(), 1e-300, 1e-12, 0x1p-32, 0.1, 0.5, 0.9, 1 - 0x1p-32, 1 - 0x1p-53};

}  // namespace

TEST_CASE("e-value: agrees with the reference to 1e-9", "[control][guard]") {
  for (const Golden& each : golden()) {
    INFO(each.name);
    CHECK(near(log_capital(each.strata, 0, Claim::no_harm), each.rollback));
    CHECK(near(log_capital(each.strata, 0.01, Claim::no_harm), each.rollback_01));
    CHECK(near(log_capital(each.strata, 0.02, Claim::harm), each.advance_02));
  }
}

TEST_CASE("e-value: strata in any order, cut into shards or not, say the same to 1e-12", "[control][guard]") {
  std::mt19937_64 random{3};
  for (const Golden& each : golden()) {
    // Shards of the same epoch share its frozen figures, so their bets' logs add up.
    std::vector<Stratum> shards;
    for (const Stratum& whole : each.strata) {
      std::vector<Stratum> cut(1'000, successes(whole.share, whole.centre, 0, 0, 0, 0));
      for (std::size_t cell = 0; cell != whole.size; ++cell) {
        const auto scatter = [&](double left, double Cell::*arm) {
          for (Stratum& shard : cut) {
            const double piece =
                &shard == &cut.back() ? left : std::floor(left * static_cast<double>(random() % 5) / 999);
            shard.cells[cell].*arm = piece;
            left -= piece;
          }
        };
        scatter(whole.cells[cell].baseline, &Cell::baseline);
        scatter(whole.cells[cell].candidate, &Cell::candidate);
      }
      shards.insert(shards.end(), cut.begin(), cut.end());
    }
    std::shuffle(shards.begin(), shards.end(), random);
    INFO(each.name);
    CHECK(near(log_capital(shards, 0.01, Claim::no_harm), each.rollback_01, 1e-9));
    CHECK(near(log_capital(shards, 0.01, Claim::no_harm), log_capital(each.strata, 0.01, Claim::no_harm), 1e-12));
  }
}

TEST_CASE("e-value: a share of 0 or 1, or no number, is no evidence", "[control][guard]") {
  for (const double share : {0.0, 1.0, -1.0, 2.0, std::nan("")}) {
    const std::vector<Stratum> strata{successes(share, 0.9, 10, 90, 90, 10)};
    INFO(share);
    CHECK(log_capital(strata, 0, Claim::no_harm) == 0);
    CHECK(log_capital(strata, 0, Claim::harm) == 0);
    CHECK(log_sample_ratio(share, 10, 1'000) == 0);
    const std::vector<FailureCounts> failures{{share, 10, 100}};
    CHECK(log_ratio_capital(failures, 1) == 0);
  }
}

TEST_CASE("e-value: finite for any counts, shares, centres and variances", "[control][guard]") {
  std::mt19937_64 random{5};
  const auto any = [&](const auto& list) { return list[random() % list.size()]; };
  const std::vector<double> figures{0,
                                    1,
                                    0.5,
                                    1e-300,
                                    -3,
                                    1e9,
                                    std::nan(""),
                                    std::numeric_limits<double>::infinity(),
                                    -std::numeric_limits<double>::infinity()};
  const std::vector<double> tolerances{0, 1e-9, 0.005, 0.3, 1, 50};
  int odd = 0;
  for (int round = 0; round != 20'000; ++round) {
    Stratum made{.share = any(extreme_shares), .centre = any(figures), .variance = any(figures)};
    const auto count = [&] { return static_cast<double>(any(extreme_counts)); };
    const std::size_t size = round % 2 == 0 ? 2 : value_bins;
    for (std::size_t i = 0; i != size; ++i)
      made.add({static_cast<double>(i) / static_cast<double>(size - 1), count(), count()});
    const double tolerance = any(tolerances);
    for (const Claim claim : {Claim::no_harm, Claim::harm})
      odd += std::isfinite(log_capital({&made, 1}, tolerance, claim)) ? 0 : 1;
    if (round % 100 == 0) {
      const Interval interval = confidence_interval({&made, 1}, 0.05);
      odd += interval.low >= -1 && interval.high <= 1 ? 0 : 1;
    }
    const FailureCounts failures{made.share, count(), count()};
    odd += std::isfinite(log_ratio_capital({&failures, 1}, any(tolerances))) ? 0 : 1;
    odd += std::isfinite(log_sample_ratio(made.share, any(extreme_counts), any(extreme_counts))) ? 0 : 1;
  }
  CHECK(odd == 0);
}

TEST_CASE("e-value: under the claim, the next observation is expected to gain nothing", "[control][guard]") {
  // The heart of the guarantee: for each bet, the mean factor over the coin of the split and the outcomes is at most 1.
  for (const double share : {0.01, 0.1, 0.5, 0.97})
    for (const double base : {0.02, 0.6, 0.9, 0.999})
      for (const double centre : {0.3, 0.9, 1.0})
        for (const double tolerance : {0.0, 0.01}) {
          const double candidate = std::max(0.0, base - tolerance);
          for (const Claim claim : {Claim::no_harm, Claim::harm}) {
            const auto factors = [&](Arm arm, int ok) {
              BetLogs logs{};
              Stratum one = successes(share, centre, 0, 0, 0, 0);
              (arm == Arm::candidate ? one.cells[ok == 1].candidate : one.cells[ok == 1].baseline) = 1;
              bet_on(logs, one, base - candidate, claim);
              return logs;
            };
            const BetLogs baseline_bad = factors(Arm::baseline, 0), baseline_ok = factors(Arm::baseline, 1);
            const BetLogs candidate_bad = factors(Arm::candidate, 0), candidate_ok = factors(Arm::candidate, 1);
            for (std::size_t j = 0; j != bets; ++j) {
              const double mean =
                  (1 - share) * ((1 - base) * std::exp(baseline_bad[j]) + base * std::exp(baseline_ok[j])) +
                  share * ((1 - candidate) * std::exp(candidate_bad[j]) + candidate * std::exp(candidate_ok[j]));
              INFO("share " << share << " base " << base << " centre " << centre << " bet " << j);
              CHECK(mean <= 1 + 1e-12);
            }
          }
        }
}

TEST_CASE("e-value: a game played one by one ends with the capital of its counts", "[control][guard]") {
  std::mt19937_64 random{11};
  for (const Claim claim : {Claim::no_harm, Claim::harm}) {
    Stratum counted = successes(0.2, 0.9, 0, 0, 0, 0);
    Game game{counted, 0.01, claim};
    for (int i = 0; i != 3'000; ++i) {
      const Arm arm = random() % 5 == 0 ? Arm::candidate : Arm::baseline;
      const std::size_t ok = random() % 100 < 88 ? 1 : 0;
      game.see(arm, ok);
      (arm == Arm::candidate ? counted.cells[ok].candidate : counted.cells[ok].baseline) += 1;
    }
    CHECK(near(std::log(game.capital()), log_capital({&counted, 1}, 0.01, claim)));
  }
}

TEST_CASE("interval: holds the difference that is there, and narrows with more counts", "[control][guard]") {
  const std::vector<Stratum> few{successes(0.1, 0.9, 90, 810, 15, 85)};
  const std::vector<Stratum> many{successes(0.1, 0.9, 90'000, 810'000, 15'000, 85'000)};
  const Interval wide = confidence_interval(few, 0.05);
  const Interval narrow = confidence_interval(many, 0.05);
  CHECK(wide.low < -0.05);
  CHECK(wide.high > -0.05);
  CHECK(narrow.low < -0.05);
  CHECK(narrow.high > -0.05);
  CHECK(narrow.low > wide.low);
  CHECK(narrow.high < wide.high);
  CHECK(narrow.high < -0.04);
  const std::vector<Stratum> none{successes(0.1, 0.9, 0, 0, 0, 0)};
  CHECK(confidence_interval(none, 0.05) == Interval{-1, 1});
  CHECK(confidence_interval(few, 0) == Interval{-1, 1});
}

TEST_CASE("error ratio: agrees with the reference to 1e-9", "[control][guard]") {
  const auto of = [](double candidate, double baseline) {
    const FailureCounts counts{0.1, baseline, candidate};
    return log_ratio_capital({&counts, 1}, 1);
  };
  CHECK(near(of(100, 900), -2.5781083515275767));
  CHECK(near(of(150, 900), 6.823682265930691));
  CHECK(near(of(4, 0), 5.927183170494631));
  CHECK(of(0, 0) == 0);
}

TEST_CASE("error ratio: what is tolerated is no evidence", "[control][guard]") {
  const FailureCounts twice{0.1, 900, 200};
  CHECK(log_ratio_capital({&twice, 1}, 1) > 20);
  CHECK(log_ratio_capital({&twice, 1}, 2) < 0);
  CHECK(log_ratio_capital({&twice, 1}, 0) == 0);
  CHECK(log_ratio_capital({&twice, 1}, std::nan("")) == 0);
}

TEST_CASE("sample ratio: agrees with 60-digit arithmetic to 1e-9, up to 1e10 counts", "[control][guard]") {
  CHECK(near(log_sample_ratio(0.1, 1'000, 9'000), -1.1997136268885353));
  CHECK(near(log_sample_ratio(0.1, 900, 9'000), 3.077273762832205));
  CHECK(near(log_sample_ratio(0.1, 1'000'000, 9'000'000) + log_sample_ratio(0.5, 500, 500), -4.9527612792947995));
  CHECK(near(log_sample_ratio(0.1, 1'000'000'000, 9'000'000'000), -8.05989046520876));
  CHECK(near(log_sample_ratio(0.1, 1'001'000'000, 9'000'000'000), 441.7746980151876));
  CHECK(near(log_sample_ratio(0.01, 1, 99), -0.04841205437035611));
  CHECK(log_sample_ratio(0.5, 0, 0) == 0);
}

TEST_CASE("sample ratio: its two arms are alike", "[control][guard]") {
  for (const std::uint64_t n : {1ull, 100ull, 12'345'678ull})
    for (const std::uint64_t c : {n / 7, n / 2, n})
      CHECK(near(log_sample_ratio(0.25, c, n - c), log_sample_ratio(0.75, n - c, c), 1e-11));
}

}  // namespace e_value_test
