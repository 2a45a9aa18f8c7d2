// alias_table.hpp: a Partition compiled to columns. Layer core.
// The ring is cut into 2^k equal columns; a column with one cut inside knows who owns either side. Finding an owner is
// a shift, a load and a compare, whatever the number of versions, and never a branch on the point.
//
// k is the least at which no column holds two cuts, at most 12. A column still crowded there points to a short sorted
// list behind the columns, so that movement never has to give way to layout.
// Source  Walker 1977 (alias method), its columns aligned to a persisted partition; docs/decisions/0003-partition.md
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

#include <boost/container/small_vector.hpp>

#include "canary/core/partition.hpp"

namespace canary {

/// One column, or one element of a crowded column's list: {start, {owner, 0}}.
struct Column {
  std::uint32_t cut = 0;  ///< first point of the second owner; in a crowded column where its list begins, in cells
  std::uint16_t owners[2] = {};  ///< of the points before the cut, and from the cut on
};
static_assert(sizeof(Column) == 8, "eight columns fill one cache line");

/// Owner value that says "look into the list". Real owners stay below.
inline constexpr std::uint16_t crowded = 0xFFFF;

/// Finest table: 4,096 columns, 32 KiB.
inline constexpr int max_columns_log2 = 12;

/// The owner of a point, or `crowded`.
/// Input   the columns that compile() made, and their k.
/// Cost    about 1 ns at any number of owners.
[[nodiscard, gnu::always_inline]] inline std::uint16_t select_column(const Column* columns, int columns_log2,
                                                                     Point point) noexcept;

/// The owner of a point. A crowded column adds a search among the few runs inside it.
[[nodiscard]] inline std::uint16_t select(const Column* columns, int columns_log2, Point point) noexcept;

/// The cells of a compiled table: 2^k columns, then the lists of crowded ones.
struct AliasTable {
  boost::container::small_vector<Column, 8> cells;
  int columns_log2 = 0;
};

/// Compiles a partition. An owner N becomes `owner_offset + N`.
/// Cost    linear in columns and runs.
[[nodiscard]] AliasTable compile(const Partition& partition, std::uint16_t owner_offset = 0);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// The list's first cell is {length}; then the runs that begin in the column, the first of them holding its left end.
[[nodiscard]] inline std::uint16_t select_crowded(const Column* columns, int columns_log2, Point point) noexcept {
  const Column* length = columns + columns[std::uint64_t{point} >> (32 - columns_log2)].cut;
  const Column* first = length + 1;
  const Column* after = std::upper_bound(first + 1, first + length->cut, point,
                                         [](Point value, const Column& run) { return value < run.cut; });
  return (after - 1)->owners[0];
}

[[nodiscard]] inline int columns_log2_of(const Partition& partition) noexcept {
  int needed = 0;
  const auto runs = partition.runs();
  for (std::size_t i = 2; i < runs.size(); ++i)
    needed = std::max(needed, columns_log2_for(runs[i - 1].start, runs[i].start));
  return needed;
}

}  // namespace detail

inline std::uint16_t select_column(const Column* columns, int columns_log2, Point point) noexcept {
  // 64-bit: with one column the shift is by 32.
  const Column* column = columns + (std::uint64_t{point} >> (32 - columns_log2));
  // An index, not ?:, which GCC may make a branch that no predictor can learn.
  return column->owners[point >= column->cut ? 1 : 0];
}

inline std::uint16_t select(const Column* columns, int columns_log2, Point point) noexcept {
  const std::uint16_t owner = select_column(columns, columns_log2, point);
  return owner == crowded ? detail::select_crowded(columns, columns_log2, point) : owner;
}

inline AliasTable compile(const Partition& partition, std::uint16_t owner_offset) {
  AliasTable table;
  table.columns_log2 = std::min(detail::columns_log2_of(partition), max_columns_log2);
  const std::size_t columns = std::size_t{1} << table.columns_log2;
  const std::uint64_t width = ring_points >> table.columns_log2;
  const auto runs = partition.runs();
  const auto owner_of = [&](std::size_t run) { return static_cast<std::uint16_t>(owner_offset + runs[run].owner); };
  table.cells.resize(columns);
  for (std::size_t i = 0, run = 0; i != columns; ++i) {
    const std::uint64_t begin = i * width;
    const std::size_t first = run;  // the run that holds the column's left end
    while (run + 1 != runs.size() && runs[run + 1].start < begin + width) ++run;
    if (run == first) {
      table.cells[i] = {0, {owner_of(run), owner_of(run)}};
    } else if (run == first + 1) {
      table.cells[i] = {runs[run].start, {owner_of(first), owner_of(run)}};
    } else {
      const std::size_t list = table.cells.size();
      table.cells[i] = {static_cast<std::uint32_t>(list), {crowded, crowded}};
      table.cells.push_back({static_cast<std::uint32_t>(run - first + 1), {0, 0}});
      for (std::size_t r = first; r <= run; ++r) table.cells.push_back({runs[r].start, {owner_of(r), 0}});
    }
    if (run + 1 != runs.size() && runs[run + 1].start == begin + width) ++run;
  }
  return table;
}

}  // namespace canary
