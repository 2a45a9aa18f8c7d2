#include "canary/core/partition.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

#include "canary/core/alias_table.hpp"
#include "history.hpp"

namespace partition_test {

namespace {

using namespace canary;
using canary::test::Random;

Rebalanced change(const Partition& before, const std::vector<WantedShare>& wanted) {
  return rebalance(before, {wanted.data(), wanted.size()});
}

std::map<Owner, std::uint64_t> points_by_owner(const Partition& partition) {
  std::map<Owner, std::uint64_t> points;
  const auto runs = partition.runs();
  for (std::size_t i = 0; i != runs.size(); ++i) points[runs[i].owner] += partition.end_of(i) - runs[i].start;
  return points;
}

std::map<Owner, std::uint32_t> ppm_by_owner(const Partition& partition) {
  std::map<Owner, std::uint32_t> ppm;
  for (const OwnerShare& share : partition.shares()) ppm[share.owner] = share.ppm;
  return ppm;
}

/// Points of each ordered pair (owner before, owner after), found by walking the cuts of both.
std::map<std::pair<Owner, Owner>, std::uint64_t> flows(const Partition& before, const Partition& after) {
  std::vector<std::uint64_t> cuts{ring_points};
  for (const Run& run : before.runs()) cuts.push_back(run.start);
  for (const Run& run : after.runs()) cuts.push_back(run.start);
  std::sort(cuts.begin(), cuts.end());
  std::map<std::pair<Owner, Owner>, std::uint64_t> found;
  for (std::size_t i = 1; i < cuts.size(); ++i) {
    if (cuts[i] == cuts[i - 1]) continue;
    const auto at = static_cast<Point>(cuts[i - 1]);
    found[{before.owner_at(at), after.owner_at(at)}] += cuts[i] - cuts[i - 1];
  }
  return found;
}

TEST_CASE("partition: a new one belongs to the default", "[core][partition]") {
  const Partition partition;
  CHECK(partition.valid());
  CHECK(partition.owner_at(0) == default_owner);
  CHECK(partition.owner_at(0xFFFF'FFFF) == default_owner);
  CHECK(partition.end_of(0) == ring_points);
}

TEST_CASE("partition: weights become points by largest remainder, the lower owner first (by hand)",
          "[core][partition]") {
  // 2^32 / 3 = 1,431,655,765 and 1/3; three equal remainders, one point left over. 333,333 ppm leave 1 ppm to the
  // default.
  const Rebalanced thirds = change({}, {{1, 333'333}, {2, 333'333}, {3, 333'333}});
  // 333,333 * 2^32 / 10^6 = 1,431,654,333.6..., 1 * 2^32 / 10^6 = 4,294.967...: remainders .644, .644, .644, .967
  const auto points = points_by_owner(thirds.partition);
  CHECK(points.at(0) == 4'295);
  CHECK(points.at(1) == 1'431'654'334);
  CHECK(points.at(2) == 1'431'654'334);
  CHECK(points.at(3) == 1'431'654'333);
  CHECK(thirds.points_moved == ring_points - 4'295);
}

TEST_CASE("partition: a tie in the remainders goes to the lower owner, in whatever order they are named",
          "[core][partition]") {
  // With 1 ppm = 4,295 points held by owner 9, 2^32 - 4,295 are left for 999,999 ppm. Owners 1 to 3 have a third each:
  // 4,294,963,001 = 3 * 1,431,654,333 + 2.
  const Partition first = change({}, {{9, 1}}).partition;
  REQUIRE(points_by_owner(first).at(9) == 4'295);
  const auto points = points_by_owner(change(first, {{3, 333'333}, {9, 1}, {2, 333'333}, {1, 333'333}}).partition);
  CHECK(points.at(9) == 4'295);
  CHECK(points.at(1) == 1'431'654'334);
  CHECK(points.at(2) == 1'431'654'334);
  CHECK(points.at(3) == 1'431'654'333);
}

TEST_CASE("partition: 90/10 to 75/25 moves 15 % and nobody else", "[core][partition]") {
  const Rebalanced first = change({}, {{1, 900'000}, {2, 100'000}});
  const Rebalanced second = change(first.partition, {{1, 750'000}, {2, 250'000}});
  CHECK(second.points_moved == second.points_minimum);
  const auto moved = flows(first.partition, second.partition);
  CHECK(moved.at({1, 2}) == second.points_moved);
  CHECK_FALSE(moved.contains({2, 1}));
  CHECK(second.points_moved == points_by_owner(first.partition).at(1) - points_by_owner(second.partition).at(1));
}

TEST_CASE("partition: rolling back a middle version moves its keys and no others", "[core][partition]") {
  const Partition three = change({}, {{1, 700'000}, {2, 250'000}, {3, 50'000}}).partition;
  const Rebalanced back = change(three, {{1, 950'000}, {2, 0}, {3, 50'000}});
  const auto moved = flows(three, back.partition);
  CHECK(back.points_moved == points_by_owner(three).at(2));
  CHECK(moved.at({2, 1}) == back.points_moved);
  for (const auto& [pair, points] : moved) CHECK((pair.first == pair.second || pair == std::pair<Owner, Owner>{2, 1}));
}

TEST_CASE("partition: the same weights again move nothing and change no run", "[core][partition]") {
  const Partition before = change({}, {{1, 700'001}, {2, 250'000}, {3, 49'998}}).partition;
  const Rebalanced again = change(before, {{3, 49'998}, {2, 250'000}, {1, 700'001}});
  CHECK(again.points_moved == 0);
  CHECK(again.partition == before);
}

TEST_CASE("partition: 1 ppm is a share, and 1,024 versions find room", "[core][partition]") {
  std::vector<WantedShare> wanted;
  for (Owner owner = 1; owner <= max_shares; ++owner) wanted.push_back({owner, 1});
  const Rebalanced sliver = change({}, wanted);
  CHECK(sliver.partition.valid());
  for (const auto& [owner, points] : points_by_owner(sliver.partition)) {
    if (owner != default_owner) CHECK((points == 4'294 || points == 4'295));
  }
  for (WantedShare& w : wanted) w.ppm = 976;
  const Rebalanced even = change(sliver.partition, wanted);
  CHECK(even.partition.valid());
  CHECK(even.points_moved == even.points_minimum);
}

/// All that rebalance() promises of one change.
void check_change(const Partition& before, const Rebalanced& after) {
  const auto had = points_by_owner(before);
  const auto has = points_by_owner(after.partition);
  std::map<Owner, std::int64_t> delta;
  for (const auto& [owner, points] : had) delta[owner] -= static_cast<std::int64_t>(points);
  for (const auto& [owner, points] : has) delta[owner] += static_cast<std::int64_t>(points);
  std::uint64_t change_sum = 0;
  for (const auto& [owner, points] : delta) change_sum += static_cast<std::uint64_t>(points < 0 ? -points : points);

  const auto ppm_had = ppm_by_owner(before);
  const auto ppm_has = ppm_by_owner(after.partition);
  std::uint64_t moved = 0;
  bool kept = true;
  for (const auto& [pair, points] : flows(before, after.partition)) {
    if (pair.first == pair.second) continue;
    moved += points;
    // No arm of unchanged weight gains or loses a point.
    for (const Owner owner : {pair.first, pair.second})
      kept = kept && !(ppm_had.contains(owner) && ppm_has.contains(owner) && ppm_had.at(owner) == ppm_has.at(owner));
  }
  // One assertion a change: a hundred thousand of them are counted, not their parts.
  REQUIRE((kept && after.partition.valid() && moved == change_sum / 2 && after.points_moved == moved &&
           after.points_minimum == moved));
}

TEST_CASE("rebalance: no change moves more keys than the least possible", "[core][partition]") {
  const int histories = (test::full_speed ? 1'050 : 40) * test::soak_factor();
  constexpr int changes = 100;
  int checked = 0;
  for (int h = 0; h != histories; ++h) {
    Random random{static_cast<std::uint64_t>(h)};
    std::vector<WantedShare> wanted;
    const std::uint32_t versions = 2 + random.below(h % 8 == 0 ? 63 : 15);
    for (std::uint32_t i = 1; i <= versions; ++i) wanted.push_back({static_cast<Owner>(i), 0});
    Partition partition;
    for (int c = 0; c != changes; ++c) {
      test::change_weights(wanted, random);
      Rebalanced next = change(partition, wanted);
      check_change(partition, next);
      partition = std::move(next.partition);
      ++checked;
    }
  }
  WARN(checked << " random changes checked");
}

TEST_CASE("rebalance: what operators do keeps the median table at 8 columns or fewer", "[core][partition]") {
  std::array<int, 33> tables{};
  int total = 0;
  for (std::uint64_t seed = 0; seed != 300; ++seed) {
    test::Operator hand{seed};
    Partition partition;
    for (int c = 0; c != 60; ++c, ++total) {
      const auto wanted = hand.next();
      Rebalanced next = change(partition, wanted);
      REQUIRE(next.points_moved == next.points_minimum);
      partition = std::move(next.partition);
      ++tables[static_cast<std::size_t>(detail::columns_log2_of(partition))];
    }
  }
  std::string histogram;
  int below = 0;
  std::size_t median = 0;
  for (std::size_t k = 0; k != tables.size(); ++k) {
    if (tables[k] != 0) histogram += " " + std::to_string(1ull << k) + ":" + std::to_string(tables[k]);
    if (2 * below < total) median = k;
    below += tables[k];
  }
  WARN("columns per table: changes " << histogram << "; median " << (1u << median));
  CHECK((1u << median) <= 8);
}

TEST_CASE("partition: what does not cover the ring, or lies about its shares, is not valid", "[core][partition]") {
  const auto made = [](Partition::Runs runs, Partition::Shares shares) {
    return Partition{std::move(runs), std::move(shares)};
  };
  const std::uint64_t half = ring_points / 2;
  CHECK(made({{0, 0}, {1u << 31, 1}}, {{0, 500'000, half}, {1, 500'000, half}}).valid());
  CHECK_FALSE(made({}, {}).valid());
  CHECK_FALSE(made({{1, 0}}, {{0, 1'000'000, ring_points - 1}}).valid());
  CHECK_FALSE(made({{0, 0}, {1u << 31, 0}}, {{0, 1'000'000, ring_points}}).valid());
  CHECK_FALSE(made({{0, 0}, {1u << 31, 1}, {5, 2}}, {{0, 500'000, half}, {1, 500'000, half}}).valid());
  CHECK_FALSE(made({{0, 0}, {1u << 31, 1}}, {{0, 500'000, half}}).valid());
  CHECK_FALSE(made({{0, 0}, {1u << 31, 1}}, {{0, 400'000, half}, {1, 500'000, half}}).valid());
  CHECK_FALSE(made({{0, 0}, {1u << 31, 1}}, {{0, 500'000, half - 1}, {1, 500'000, half + 1}}).valid());
}

}  // namespace

}  // namespace partition_test
