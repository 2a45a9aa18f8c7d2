// recorded.hpp: what a store has recorded, and what must hold of it whatever happened on the way.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/evidence.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/store.hpp"
#include "canary/control/window.hpp"

namespace canary::test {

/// Every row, by id. No id may come twice.
[[nodiscard]] inline std::map<std::uint64_t, Interaction> recorded_rows(Store& store) {
  std::map<std::uint64_t, Interaction> rows;
  std::uint64_t doubled = 0;
  store.interactions()->read({}, [&](const Interaction& row, const Payload&) {
    doubled += !rows.emplace(row.id, row).second;
    return true;
  });
  REQUIRE(doubled == 0);
  REQUIRE((rows.empty() || rows.begin()->first != 0));
  return rows;
}

/// How often each sequence number of each source came: a source writes its own into tokens_in and numbers into tokens_out.
using Sequences = std::map<std::uint32_t, std::map<std::uint32_t, int>>;

[[nodiscard]] inline Sequences sequences_of(const std::map<std::uint64_t, Interaction>& rows) {
  Sequences found;
  for (const auto& [id, row] : rows) ++found[row.tokens_in][row.tokens_out];
  return found;
}

/// True if they are 1 to `count`, once each.
[[nodiscard]] inline bool is_whole(const std::map<std::uint32_t, int>& sequence, std::size_t count) {
  std::uint32_t next = 1;
  for (const auto& [number, times] : sequence)
    if (number != next++ || times != 1) return false;
  return sequence.size() == count;
}

/// Counts of all servers by task, version and window.
using Windows = std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, WindowCounts>;

[[nodiscard]] inline Windows recorded_windows(Store& store) {
  Windows windows;
  for (const CountsRow& row : store.interactions()->counts({.kind = CountsKind::window})) {
    const auto counts = WindowCounts::parse(row.bytes);
    REQUIRE(counts);
    windows[{row.task, row.of, row.at}].merge(*counts);
  }
  return windows;
}

/// What they must be, by the rows.
[[nodiscard]] inline Windows windows_of(const std::map<std::uint64_t, Interaction>& rows) {
  Windows windows;
  for (const auto& [id, row] : rows) windows[{row.task, row.number, window_of(row.at_us)}].add(row);
  return windows;
}

/// Evidence of a task's only candidate in its only epoch, of all servers.
[[nodiscard]] inline EvidenceCounts recorded_evidence(Store& store, std::string_view task) {
  const std::unique_ptr<InteractionStore> kept = store.interactions();
  EvidenceCounts sum;
  const auto number = kept->find_task(task);
  if (!number) return sum;
  for (const CountsRow& row : kept->counts({.kind = CountsKind::evidence, .task = number})) {
    const auto counts = EvidenceCounts::parse(row.bytes);
    REQUIRE(counts);
    sum.merge(*counts);
  }
  return sum;
}

/// Drops of all tasks and servers.
[[nodiscard]] inline std::uint64_t recorded_drops(Store& store) {
  std::uint64_t drops = 0;
  for (const CountsRow& row : store.interactions()->counts({.kind = CountsKind::drops}))
    drops += detail::NumberReader{row.bytes}.take();
  return drops;
}

}  // namespace canary::test
