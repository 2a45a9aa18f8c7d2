// Partitions and status changes as text: what is written is read back, anything else is refused.
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/store_text.hpp"

namespace store_text_test {

namespace {

using canary::Partition;
using canary::Status;
using canary::StatusChange;
using canary::WantedShare;

/// A partition that has been through a few changes.
Partition changed(std::vector<std::vector<WantedShare>> steps) {
  Partition partition;
  for (const auto& wanted : steps) partition = rebalance(partition, wanted).partition;
  return partition;
}

std::vector<WantedShare> even(std::uint32_t versions, std::uint32_t ppm) {
  std::vector<WantedShare> wanted;
  for (std::uint32_t number = 1; number <= versions; ++number)
    wanted.push_back({static_cast<canary::Owner>(number), ppm});
  return wanted;
}

}  // namespace

TEST_CASE("store text: a partition reads as its runs and shares", "[control][store]") {
  CHECK(partition_text(Partition{}) == "0:0|0:1000000");
  CHECK(partition_text(changed({{{2, 100'000}}})) == "0:2 429496730:0|0:900000 2:100000");
  CHECK(canary::parse_partition("0:0 3865470566:2|0:900000 2:100000"));  // the header's example
  CHECK(partition_text(changed({{{2, 1'000'000}}})) == "0:2|2:1000000");
}

TEST_CASE("store text: every partition is read back as it was", "[control][store]") {
  const std::vector<Partition> partitions{
      Partition{},
      changed({{{1, 1}}}),
      changed({{{65'000, 999'999}}}),
      changed({{{1, 100'000}}, {{1, 50'000}, {2, 333'333}}, {{2, 333'333}, {3, 666'667}}, {{3, 10}}}),
      changed({even(7, 100'000), even(100, 10'000)}),
      changed({even(1'000, 1'000)}),
  };
  for (const Partition& partition : partitions) {
    const std::string text = partition_text(partition);
    INFO(text.substr(0, 200));
    const auto parsed = canary::parse_partition(text);
    REQUIRE(parsed);
    CHECK((*parsed == partition));
    CHECK((partition_text(*parsed) == text));
  }
}

TEST_CASE("store text: what is no valid partition is refused", "[control][store]") {
  for (const char* text : {
           "",
           "|",
           "0:0",
           "0:0|",
           "|0:1000000",
           "garbage",
           "0:0|0:1000000 ",
           " 0:0|0:1000000",
           "0:0  5:1|0:1000000",
           "0:0|0:1000000|",
           "0:0|0:1000000\n",
           "0-0|0:1000000",
           "0:0,5:1|0:1000000",
           "+0:0|0:1000000",
           "-0:0|0:1000000",
           "0:0|0:999999",                        // not the whole
           "0:0|0:1000001",                       // more than it
           "0:0|0:500000 0:500000",               // an owner twice
           "1:0|0:1000000",                       // does not begin at 0
           "0:1|0:1000000",                       // an owner without a share
           "0:0|0:900000 2:100000",               // a share without points
           "0:0 5:2|2:100000 0:900000",           // shares out of order
           "0:0 5:2 3:0|0:900000 2:100000",       // runs out of order
           "0:0 5:2 5:0|0:900000 2:100000",       // a run of nothing
           "0:0 5:0|0:1000000",                   // two runs that are one
           "0:0 4294967296:2|0:900000 2:100000",  // beyond the ring
           "0:65536|65536:1000000",               // beyond an owner
           "0:0 18446744073709551616:2|0:1 2:1",  // beyond any number
           "0:0 5:2|0:900000 2:100000 3:0",       // a share of nothing
           "0:0|0:-1",
       }) {
    INFO(text);
    CHECK_FALSE(canary::parse_partition(text));
  }
  CHECK_FALSE(canary::parse_partition(std::string("0:0|0:1000000\0", 14)));
}

TEST_CASE("store text: status changes are read back as they were", "[control][store]") {
  const std::vector<std::vector<StatusChange>> lists{
      {},
      {{1, Status::candidate, Status::active}},
      {{2, Status::active, Status::deprecated}, {65'000, Status::deprecated, Status::archived}},
  };
  for (const auto& list : lists) {
    const auto parsed = canary::parse_status_changes(status_changes_text(list));
    REQUIRE(parsed);
    CHECK(*parsed == list);
  }
  CHECK(status_changes_text(lists[2]) == "2:ACTIVE>DEPRECATED 65000:DEPRECATED>ARCHIVED");
}

TEST_CASE("store text: what is no list of status changes is refused", "[control][store]") {
  for (const char* text :
       {" ", "1", "1:", "1:ACTIVE", "1:ACTIVE>", "1:ACTIVE>active", "1:ON>OFF", "x:ACTIVE>ARCHIVED",
        "65001:ACTIVE>ARCHIVED", "1:ACTIVE>ARCHIVED ", " 1:ACTIVE>ARCHIVED", "1:ACTIVE>ARCHIVED,",
        "1:ACTIVE>ARCHIVED  2:ACTIVE>ARCHIVED", "1:ACTIVE>ARCHIVED2:ACTIVE>ARCHIVED", "-1:ACTIVE>ACTIVE"}) {
    INFO(text);
    CHECK_FALSE(canary::parse_status_changes(text));
  }
}

}  // namespace store_text_test
