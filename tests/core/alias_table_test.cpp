#include "canary/core/alias_table.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <vector>

#include "history.hpp"

namespace alias_table_test {

namespace {

using namespace canary;
using canary::test::Random;

void check_agrees(const Partition& partition, Random& random) {
  const AliasTable table = compile(partition, 2);
  bool agrees = true;
  const auto check = [&](Point point) {
    const std::uint16_t owner = select(table.cells.data(), table.columns_log2, point);
    agrees = agrees && owner == partition.owner_at(point) + 2;
  };
  for (const Run& run : partition.runs()) {
    check(run.start);
    check(run.start - 1);  // of the first run: the ring's last point
    check(run.start + 1);
  }
  for (int i = 0; i != 200; ++i) check(static_cast<Point>(random.next()));
  REQUIRE(agrees);
}

TEST_CASE("alias table: two versions are one column of 8 bytes (by hand)", "[core][alias]") {
  const std::vector<WantedShare> wanted{{1, 900'000}, {2, 100'000}};
  const Partition partition = rebalance({}, wanted).partition;
  const AliasTable table = compile(partition);
  CHECK(table.columns_log2 == 0);
  REQUIRE(table.cells.size() == 1);
  const Point cut = partition.runs()[1].start;
  CHECK(table.cells[0].cut == cut);
  CHECK(select(table.cells.data(), 0, 0) == partition.runs()[0].owner);
  CHECK(select(table.cells.data(), 0, cut - 1) == partition.runs()[0].owner);
  CHECK(select(table.cells.data(), 0, cut) == partition.runs()[1].owner);
  CHECK(select(table.cells.data(), 0, 0xFFFF'FFFF) == partition.runs()[1].owner);
}

TEST_CASE("alias table: it names the owner that the partition names, at every cut and beside it", "[core][alias]") {
  Random random{7};
  for (std::uint32_t versions = 2; versions <= 96; versions += 1 + versions / 4) {
    std::vector<WantedShare> wanted;
    for (std::uint32_t i = 1; i <= versions; ++i) wanted.push_back({static_cast<Owner>(i), 0});
    Partition partition;
    for (int c = 0; c != 40; ++c) {
      test::change_weights(wanted, random);
      partition = rebalance(partition, wanted).partition;
      check_agrees(partition, random);
    }
  }
}

TEST_CASE("alias table: cuts too close for 4,096 columns go to a list and are still right", "[core][alias]") {
  Random random{11};
  // Owners 1..40 take turns on stretches of one to three points, far below a column's 2^20.
  Partition::Runs runs{{0, 0}};
  for (std::uint32_t i = 0, at = 1u << 20; i != 200; ++i, at += 1 + random.below(3))
    runs.push_back({at, static_cast<Owner>(1 + i % 40)});
  runs.push_back({0xFFFF'FFF0, 1});
  runs.push_back({0xFFFF'FFFE, 2});
  runs.push_back({0xFFFF'FFFF, 3});
  const Partition partition{std::move(runs), {}};
  const AliasTable table = compile(partition);
  CHECK(table.columns_log2 == max_columns_log2);
  CHECK(table.cells.size() > 4'096);
  check_agrees(partition, random);
}

TEST_CASE("alias table: cuts on the borders of columns need no finer table", "[core][alias]") {
  Random random{13};
  const auto eighths = [](std::uint32_t shift) {
    Partition::Runs runs{{0, 0}};
    for (std::uint32_t i = 1; i != 8; ++i) runs.push_back({(i << 29) + shift, static_cast<Owner>(i)});
    return Partition{std::move(runs), {}};
  };
  CHECK(compile(eighths(0)).columns_log2 == 2);  // every other cut on a border, the rest alone inside
  check_agrees(eighths(0), random);
  CHECK(compile(eighths(1)).columns_log2 == 3);
  check_agrees(eighths(1), random);
}

}  // namespace

}  // namespace alias_table_test
