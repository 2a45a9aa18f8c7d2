// Prints random changes of weights and what rebalance() made of them, a line each, for partition_oracle.py:
//   owner=ppm,... | owner=points,... | points moved
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "canary/core/partition.hpp"
#include "history.hpp"

int main(int argc, char** argv) {
  using namespace canary;
  const int histories = argc > 1 ? std::atoi(argv[1]) : 50;
  for (int h = 0; h != histories; ++h) {
    test::Random random{static_cast<std::uint64_t>(h) + 1'000};
    std::vector<WantedShare> wanted;
    const std::uint32_t versions = 2 + random.below(6);
    for (std::uint32_t i = 1; i <= versions; ++i) wanted.push_back({static_cast<Owner>(i), 0});
    Partition partition;
    std::puts("new");
    for (int c = 0; c != 10; ++c) {
      test::change_weights(wanted, random);
      Rebalanced next = rebalance(partition, {wanted.data(), wanted.size()});
      for (const OwnerShare& share : next.partition.shares()) std::printf("%u=%u,", share.owner, share.ppm);
      std::printf("|");
      for (const OwnerShare& share : next.partition.shares())
        std::printf("%u=%llu,", share.owner, static_cast<unsigned long long>(share.points));
      std::printf("|%llu\n", static_cast<unsigned long long>(next.points_moved));
      partition = std::move(next.partition);
    }
  }
}
