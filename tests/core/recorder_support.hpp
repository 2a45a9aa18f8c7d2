// recorder_support.hpp: rings, decisions and a drainer, for tests of the recorder.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "canary/core/recorder.hpp"

namespace canary::test {

/// A domain of lanes of its own for each set of tests, so that lanes can be counted: an Atomics type apart makes one.
template <int>
struct Apart {
  template <class T>
  using atomic = std::atomic<T>;
};

/// A recorder, its rings in memory, and a drainer that remembers how far it is.
template <class Atomics = StdAtomics, std::size_t tasks = 4>
struct Recording {
  using Recorder = BasicRecorder<Atomics>;
  using Cell = typename Recorder::Cell;

  explicit Recording(std::size_t lanes = 1, std::size_t cells = 64) {
    for (std::size_t i = 0; i != lanes; ++i) add(cells);
  }
  void add(std::size_t cells) {
    rings.push_back(std::make_unique<Cell[]>(cells));
    positions.push_back(0);
    recorder.add_lane(rings.back().get(), cells);
  }
  void set_node(std::uint32_t node) { recorder.set_node(node, cursor); }

  /// Takes what a lane has, and lets it be overwritten unless `keep`; entries that are not whole count as torn.
  std::vector<Entry> drain(std::size_t lane = 0, bool keep = false) {
    std::vector<Entry> entries;
    positions[lane] =
        recorder.lane(lane).read(positions[lane], ~std::uint64_t{0}, [&](const detail::EntryWords& words, bool whole) {
          torn += !whole;
          entries.push_back(detail::unpack(words));
        });
    if (!keep) recorder.lane(lane).release(positions[lane]);
    return entries;
  }

  std::array<typename Recorder::Counter, tasks> drops{};
  typename Recorder::Counter cursor{0};
  std::vector<std::unique_ptr<Cell[]>> rings;
  std::vector<std::uint64_t> positions;
  std::uint64_t torn = 0;
  Recorder recorder{drops};
};

/// What a router would point to.
inline constexpr VersionRecord record_of(std::uint32_t task, std::uint16_t number = 0, Reason reason = Reason::split,
                                         bool watched = false) {
  VersionRecord record;
  record.task = task;
  record.number = number;
  record.reason = reason;
  record.watched = watched;
  return record;
}
inline constexpr VersionRecord records[] = {record_of(0), record_of(1), record_of(2), record_of(3), record_of(4)};

inline Decision decision_of(std::size_t task, Point point = 7, std::uint32_t revision = 3) {
  return {&records[task], point, revision};
}

/// Noon of a day in 2026.
inline constexpr std::int64_t noon_us = 1'790'000'000'000'000;

}  // namespace canary::test
