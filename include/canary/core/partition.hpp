// partition.hpp: who owns which part of the ring; rebalance() with minimal movement. Layer core.
//
// A partition is a list of runs: a start and an owner each, the end is where the next one starts. Weights in ppm become
// points that sum to exactly 2^32. rebalance() takes from whoever shrinks and gives to whoever grows, and touches
// nothing else: the points that change hands are half the sum of |change|, and no assignment could do with fewer. Among
// all such moves it picks those that keep the compiled table small. The price is that a partition has history.
//
// Source  docs/decisions/0003-partition.md
// docs/decisions/0003-partition.md
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

#include <boost/container/small_vector.hpp>
#include <boost/container/vector.hpp>

#include "canary/core/types.hpp"

namespace canary {

/// A version within its task: 0 is the task's default, N the version numbered N.
using Owner = std::uint16_t;
inline constexpr Owner default_owner = 0;

/// A stretch of the ring with one owner; it ends where the next run starts, the last one at 2^32.
struct Run {
  Point start = 0;
  Owner owner = default_owner;
  friend constexpr bool operator==(const Run&, const Run&) noexcept = default;
};

/// An owner's weight and the points it came to.
struct OwnerShare {
  Owner owner = default_owner;
  std::uint32_t ppm = 0;
  std::uint64_t points = 0;
  friend constexpr bool operator==(const OwnerShare&, const OwnerShare&) noexcept = default;
};

/// An owner's wanted weight.
struct WantedShare {
  Owner owner = default_owner;
  std::uint32_t ppm = 0;
};

/// Who owns which part of the ring. A new one belongs to the default wholly.
class Partition {
 public:
  using Runs = boost::container::vector<Run>;
  using Shares = boost::container::vector<OwnerShare>;

  Partition() : runs_(1, Run{}), shares_(1, OwnerShare{default_owner, total_ppm, ring_points}) {}

  /// From what was stored. Check with valid() before use.
  Partition(Runs runs, Shares shares) : runs_{std::move(runs)}, shares_{std::move(shares)} {}

  [[nodiscard]] std::span<const Run> runs() const noexcept { return {runs_.data(), runs_.size()}; }
  /// Owners with a weight, by owner; the default is among them when it has one.
  [[nodiscard]] std::span<const OwnerShare> shares() const noexcept { return {shares_.data(), shares_.size()}; }

  /// First point after the run.
  [[nodiscard]] std::uint64_t end_of(std::size_t run) const noexcept {
    return run + 1 == runs_.size() ? ring_points : runs_[run + 1].start;
  }

  /// Position of the run that holds a point. O(log runs).
  [[nodiscard]] std::size_t run_at(Point point) const noexcept {
    const auto after = std::upper_bound(runs_.begin(), runs_.end(), point,
                                        [](Point value, const Run& run) { return value < run.start; });
    return static_cast<std::size_t>(after - runs_.begin()) - 1;
  }

  [[nodiscard]] Owner owner_at(Point point) const noexcept { return runs_[run_at(point)].owner; }

  /// True if the runs cover the ring in order, and the shares say what the runs hold and sum to the whole.
  [[nodiscard]] bool valid() const;

  friend bool operator==(const Partition&, const Partition&) = default;

 private:
  Runs runs_;
  Shares shares_;
};

/// A new partition and what it took to get there.
struct Rebalanced {
  Partition partition;
  std::uint64_t points_moved = 0;    ///< counted from the two partitions
  std::uint64_t points_minimum = 0;  ///< half the sum of |change|
};

/// Points that have another owner in `after` than in `before`.
[[nodiscard]] std::uint64_t points_moved(const Partition& before, const Partition& after) noexcept;

/// Gives each owner its weight and moves the fewest points.
/// Input   wanted weights in any order, no owner twice, at most 1,000,000 ppm; the default takes what they leave.
/// Output  an owner of unchanged weight keeps every point; the others share the rest by largest remainder.
/// Errors  std::bad_alloc only.
/// Cost    microseconds for a few versions, milliseconds at hundreds, tens of them and more at a thousand.
[[nodiscard]] Rebalanced rebalance(const Partition& before, std::span<const WantedShare> wanted);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// The least k at which two neighbouring cuts do not lie inside the same one of 2^k columns. A cut on a border is free.
[[nodiscard]] constexpr int columns_log2_for(Point left, Point right) noexcept {
  return std::min(32 - std::countr_zero(left), std::countl_zero(left ^ right) + 1);
}

/// One owner on its way from what it has to what it wants.
struct Balance {
  Owner owner;
  std::uint32_t ppm;
  std::uint64_t want;
  std::int64_t missing;  ///< points still to get; negative: to give
};

/// rebalance() at work: moves one stretch after another, each as a whole to one taker.
class Rebalancer {
 public:
  Rebalancer(const Partition& before, std::span<const WantedShare> wanted)
      : runs_(before.runs().begin(), before.runs().end()) {
    set_targets(before, wanted);
  }

  void run() {
    while (std::any_of(balances_.begin(), balances_.end(), [](const Balance& b) { return b.missing < 0; })) step();
  }

  [[nodiscard]] std::uint64_t points_to_move() const noexcept {
    std::uint64_t sum = 0;
    for (const Balance& b : balances_) sum += static_cast<std::uint64_t>(b.missing > 0 ? b.missing : 0);
    return sum;  // what the takers miss is what the givers have too much: half the sum of |change|
  }

  [[nodiscard]] Partition take() {
    Partition::Shares shares;
    for (const Balance& b : balances_)
      if (b.ppm != 0) shares.push_back({b.owner, b.ppm, b.want});
    return {std::move(runs_), std::move(shares)};
  }

 private:
  /// One way to move a stretch: [start, start + size) of a run goes to balances_[taker].
  struct Move {
    std::uint64_t score = ~std::uint64_t{0};
    std::size_t run = 0;
    std::size_t taker = 0;
    std::uint64_t start = 0;
    std::uint64_t size = 0;
  };

  // Every placement is tried while that is cheap; beyond, the ones that merge runs and the taker that misses most.
  static constexpr std::size_t every_taker_up_to = 512;  // runs x takers
  static constexpr std::size_t every_place_up_to = 256;  // runs

  void set_targets(const Partition& before, std::span<const WantedShare> wanted);
  void share_out(std::span<Balance> changed, std::uint64_t points, std::uint64_t ppm);
  void step();
  void measure_columns();
  void consider(std::size_t run, std::uint64_t surplus, std::size_t taker, Move& best) const;
  [[nodiscard]] std::uint64_t score(const Move& move, std::uint64_t surplus) const;
  void apply(const Move& move);

  [[nodiscard]] std::uint64_t end_of(std::size_t run) const noexcept {
    return run + 1 == runs_.size() ? ring_points : runs_[run + 1].start;
  }
  [[nodiscard]] std::size_t index_of(Owner owner) const noexcept {
    return static_cast<std::size_t>(std::lower_bound(balances_.begin(), balances_.end(), owner,
                                                     [](const Balance& b, Owner o) { return b.owner < o; }) -
                                    balances_.begin());
  }

  Partition::Runs runs_;
  boost::container::small_vector<Balance, 8> balances_;           // by owner
  boost::container::small_vector<std::int8_t, 16> columns_to_;    // [i]: columns needed by cuts 1..i
  boost::container::small_vector<std::int8_t, 16> columns_from_;  // [i]: columns needed by cuts i..end
};

inline void Rebalancer::set_targets(const Partition& before, std::span<const WantedShare> wanted) {
  std::uint32_t left = total_ppm;
  for (const WantedShare& w : wanted) {
    balances_.push_back({w.owner, w.ppm, 0, 0});
    left -= w.ppm;
  }
  balances_.push_back({default_owner, left, 0, 0});
  std::sort(balances_.begin(), balances_.end(), [](const Balance& a, const Balance& b) { return a.owner < b.owner; });
  const std::size_t named = balances_.size();
  for (const OwnerShare& had : before.shares()) {
    const auto end = balances_.begin() + static_cast<std::ptrdiff_t>(named);
    const auto at = std::lower_bound(balances_.begin(), end, had.owner,
                                     [](const Balance& b, Owner owner) { return b.owner < owner; });
    if (at == end || at->owner != had.owner) balances_.push_back({had.owner, 0, 0, 0});
  }
  std::sort(balances_.begin(), balances_.end(), [](const Balance& a, const Balance& b) { return a.owner < b.owner; });

  // Whoever keeps its weight keeps its points; the changed ones share what is left.
  boost::container::small_vector<Balance, 8> changed;
  std::uint64_t free_points = ring_points;
  std::uint64_t free_ppm = total_ppm;
  auto had = before.shares().begin();
  for (Balance& b : balances_) {
    const bool known = had != before.shares().end() && had->owner == b.owner;
    b.missing = known ? -static_cast<std::int64_t>(had->points) : 0;
    if (known && had->ppm == b.ppm) {
      b.want = had->points;
      free_points -= b.want;
      free_ppm -= b.ppm;
    } else if (b.ppm != 0) {
      changed.push_back(b);
    }
    if (known) ++had;
  }
  share_out({changed.data(), changed.size()}, free_points, free_ppm);
  for (const Balance& b : changed) balances_[index_of(b.owner)].want = b.want;
  for (Balance& b : balances_) b.missing += static_cast<std::int64_t>(b.want);
}

/// Largest remainder: the parts sum to `points` exactly; at equal remainders the lower owner goes first.
inline void Rebalancer::share_out(std::span<Balance> changed, std::uint64_t points, std::uint64_t ppm) {
  std::uint64_t given = 0;
  for (Balance& b : changed) given += b.want = b.ppm * points / ppm;  // below 2^52
  std::sort(changed.begin(), changed.end(), [=](const Balance& a, const Balance& b) {
    const std::uint64_t rest_a = a.ppm * points % ppm;
    const std::uint64_t rest_b = b.ppm * points % ppm;
    return rest_a != rest_b ? rest_a > rest_b : a.owner < b.owner;
  });
  for (std::size_t i = 0; given != points && i != changed.size(); ++i, ++given) ++changed[i].want;
}

inline void Rebalancer::step() {
  measure_columns();
  boost::container::small_vector<std::size_t, 8> takers;
  std::size_t neediest = 0;
  for (std::size_t i = 0; i != balances_.size(); ++i) {
    if (balances_[i].missing <= 0) continue;
    if (takers.empty() || balances_[i].missing > balances_[neediest].missing) neediest = i;
    takers.push_back(i);
  }
  const bool every_taker = runs_.size() * takers.size() <= every_taker_up_to;
  Move best;
  for (std::size_t run = 0; run != runs_.size(); ++run) {
    const std::int64_t missing = balances_[index_of(runs_[run].owner)].missing;
    if (missing >= 0) continue;
    const auto surplus = static_cast<std::uint64_t>(-missing);
    if (every_taker) {
      for (const std::size_t taker : takers) consider(run, surplus, taker, best);
      continue;
    }
    consider(run, surplus, neediest, best);
    if (run != 0) consider(run, surplus, index_of(runs_[run - 1].owner), best);
    if (run + 1 != runs_.size()) consider(run, surplus, index_of(runs_[run + 1].owner), best);
  }
  apply(best);
}

inline void Rebalancer::measure_columns() {
  const std::size_t n = runs_.size();
  columns_to_.assign(n + 1, 0);
  columns_from_.assign(n + 1, 0);
  for (std::size_t i = 2; i < n; ++i)
    columns_to_[i] = std::max<std::int8_t>(
        columns_to_[i - 1], static_cast<std::int8_t>(columns_log2_for(runs_[i - 1].start, runs_[i].start)));
  for (std::size_t i = n; i-- > 2;)
    columns_from_[i - 1] = std::max<std::int8_t>(
        columns_from_[i], static_cast<std::int8_t>(columns_log2_for(runs_[i - 1].start, runs_[i].start)));
}

/// Tries the places where the taker's stretch may stand in the run: at either end, or on the border of a column.
inline void Rebalancer::consider(std::size_t run, std::uint64_t surplus, std::size_t taker, Move& best) const {
  if (balances_[taker].missing <= 0) return;
  const std::uint64_t start = runs_[run].start;
  const std::uint64_t end = end_of(run);
  const std::uint64_t size = std::min({end - start, surplus, static_cast<std::uint64_t>(balances_[taker].missing)});
  const auto try_at = [&](std::uint64_t at) {
    Move move{0, run, taker, at, size};
    move.score = score(move, surplus);
    if (move.score < best.score) best = move;
  };
  try_at(start);
  if (size == end - start) return;
  try_at(end - size);
  if (runs_.size() > every_place_up_to) return;
  for (int columns_log2 = 1; columns_log2 <= 8; ++columns_log2) {
    const std::uint64_t mask = (ring_points >> columns_log2) - 1;
    const std::uint64_t up = (start + mask) & ~mask;
    if (up + size <= end) try_at(up);
    const std::uint64_t down = (end & ~mask) - size;
    if ((end & ~mask) >= start + size) try_at(down);
  }
}

/// Smaller is better: first the columns the table would need, then the runs, then the points left to move.
inline std::uint64_t Rebalancer::score(const Move& move, std::uint64_t surplus) const {
  const std::size_t i = move.run;
  const std::size_t n = runs_.size();
  const Owner taker = balances_[move.taker].owner;
  const std::uint64_t start = runs_[i].start;
  const std::uint64_t end = end_of(i);
  const bool at_start = move.start == start;
  const bool at_end = move.start + move.size == end;
  const bool joins_left = at_start && i != 0 && runs_[i - 1].owner == taker;
  const bool joins_right = at_end && i + 1 != n && runs_[i + 1].owner == taker;

  Point cuts[6];
  int count = 0;
  if (i >= 2) cuts[count++] = runs_[i - 1].start;
  if (i != 0 && !joins_left) cuts[count++] = static_cast<Point>(start);
  if (!at_start) cuts[count++] = static_cast<Point>(move.start);
  if (!at_end) cuts[count++] = static_cast<Point>(move.start + move.size);
  if (i + 1 != n && !joins_right) cuts[count++] = static_cast<Point>(end);
  if (i + 2 < n) cuts[count++] = runs_[i + 2].start;
  int columns = std::max<int>(i >= 2 ? columns_to_[i - 1] : 0, i + 2 < n ? columns_from_[i + 2] : 0);
  for (int c = 1; c < count; ++c) columns = std::max(columns, columns_log2_for(cuts[c - 1], cuts[c]));

  const auto missing = static_cast<std::uint64_t>(balances_[move.taker].missing);
  const std::uint64_t runs = n + (at_start ? 0u : 1u) + (at_end ? 0u : 1u) - (joins_left ? 1u : 0u) -
                             (joins_right ? 1u : 0u) + (surplus > move.size ? 1u : 0u) +
                             (missing > move.size ? 1u : 0u);
  return static_cast<std::uint64_t>(columns) << 58 | runs << 33 | (ring_points - move.size);
}

inline void Rebalancer::apply(const Move& move) {
  const Owner giver = runs_[move.run].owner;
  const Owner taker = balances_[move.taker].owner;
  balances_[index_of(giver)].missing += static_cast<std::int64_t>(move.size);
  balances_[move.taker].missing -= static_cast<std::int64_t>(move.size);

  const std::uint64_t end = end_of(move.run);
  auto at = runs_.begin() + static_cast<std::ptrdiff_t>(move.run);
  if (move.start != at->start)
    at = runs_.insert(at + 1, Run{static_cast<Point>(move.start), taker});
  else
    at->owner = taker;
  if (move.start + move.size != end)
    at = runs_.insert(at + 1, Run{static_cast<Point>(move.start + move.size), giver}) - 1;
  if (at + 1 != runs_.end() && (at + 1)->owner == taker) runs_.erase(at + 1);
  if (at != runs_.begin() && (at - 1)->owner == taker) runs_.erase(at);
}

}  // namespace detail

inline Rebalanced rebalance(const Partition& before, std::span<const WantedShare> wanted) {
  detail::Rebalancer rebalancer{before, wanted};
  const std::uint64_t minimum = rebalancer.points_to_move();
  rebalancer.run();
  Rebalanced result{rebalancer.take(), 0, minimum};
  result.points_moved = points_moved(before, result.partition);
  return result;
}

inline std::uint64_t points_moved(const Partition& before, const Partition& after) noexcept {
  std::uint64_t moved = 0;
  std::uint64_t at = 0;
  for (std::size_t i = 0, j = 0; at != ring_points;) {
    const std::uint64_t end = std::min(before.end_of(i), after.end_of(j));
    if (before.runs()[i].owner != after.runs()[j].owner) moved += end - at;
    at = end;
    if (before.end_of(i) == end) ++i;
    if (after.end_of(j) == end) ++j;
  }
  return moved;
}

inline bool Partition::valid() const {
  if (runs_.empty() || runs_[0].start != 0) return false;
  boost::container::small_vector<OwnerShare, 8> held;
  for (std::size_t i = 0; i != runs_.size(); ++i) {
    if (i != 0 && (runs_[i].start <= runs_[i - 1].start || runs_[i].owner == runs_[i - 1].owner)) return false;
    held.push_back({runs_[i].owner, 0, end_of(i) - runs_[i].start});
  }
  std::sort(held.begin(), held.end(), [](const OwnerShare& a, const OwnerShare& b) { return a.owner < b.owner; });
  std::size_t owners = 0;
  for (std::size_t i = 1; i < held.size(); ++i) {
    if (held[i].owner == held[owners].owner)
      held[owners].points += held[i].points;
    else
      held[++owners] = held[i];
  }
  std::uint64_t ppm = 0;
  std::size_t next = 0;
  for (const OwnerShare& share : shares_) {
    ppm += share.ppm;
    if (share.ppm == 0 || next > owners || held[next].owner != share.owner || held[next].points != share.points)
      return false;
    ++next;
  }
  return next == owners + 1 && ppm == total_ppm;
}

}  // namespace canary
