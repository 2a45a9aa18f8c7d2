// recorder.hpp: record(decision, outcome) into the calling thread's lane, drained elsewhere. Layer core.
//
// Works on memory that it is given and knows no file, store or clock: add_lane() brings rings, set_time() the time,
// set_node() the right to make interaction ids. A full ring drops the entry and counts the drop; nothing ever waits.
// A thread's first record attaches it to a lane: the C library may take its loader's lock and allocate once for the hook
// that gives it back. Not for signal handlers.
//
// Cost    a few nanoseconds and no system call; figures in bench/results.
// Proved by tests/model (Spin: ring, drainer, crash and a commit of unknown outcome), tests/core/recorder_*_test.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "canary/core/entry.hpp"
#include "canary/core/lane.hpp"
#include "canary/core/outcome.hpp"
#include "canary/core/text_ring.hpp"

namespace canary {

/// Keeps what became of decisions until a drainer fetches it.
template <class Atomics = StdAtomics>
class BasicRecorder {
 public:
  using Cell = detail::Cell<Atomics>;
  using LaneType = detail::Lane<Atomics>;
  using Counter = typename Atomics::template atomic<std::uint64_t>;

  static constexpr std::size_t max_lanes = 1'024;
  /// Of a recorder that makes no ids.
  static constexpr std::uint32_t no_node = 0xFFFF'FFFF;

  /// Input   `drops`: one counter for each task, by its index; the last counts for all beyond. They outlive the recorder.
  explicit BasicRecorder(std::span<Counter> drops) noexcept : drops_{drops} {}
  BasicRecorder(const BasicRecorder&) = delete;
  BasicRecorder& operator=(const BasicRecorder&) = delete;
  /// No thread may be recording; threads that have recorded may live on.
  ~BasicRecorder() {
    for (std::size_t i = 0; i != lane_count(); ++i) lanes_[i]->retire();
  }

  // --- requests ------------------------------------------------------------------------------------------------------

  /// Keeps what became of a decision, and gives it an interaction id if it has none.
  /// Output  true if it is kept. False, and no id, for a decision of no task, without a lane, and when the ring is full.
  /// Cost    wait-free.
  [[gnu::always_inline]] bool record(Decision& decision, const Outcome& outcome) noexcept {
    const std::int64_t now_us = now_us_.load(std::memory_order_relaxed);
    LaneType* lane = cached_lane();
    if (!is_ready(lane, now_us) || decision.record().task == no_task || !is_usual(outcome)) [[unlikely]] {
      const Kept kept = record_slowly(decision, copy_of(outcome));
      decision.set_interaction(kept.id);
      return kept.is_kept;
    }
    if (decision.interaction() == 0) [[likely]]
      decision.set_interaction(lane->next_id());
    append(*lane, decision, detail::time_word(now_us, EntryKind::outcome, 0), measures_of(outcome));
    return true;
  }
  /// As above, for a decision that shall stay as it is: its interaction gets an id that nobody learns.
  [[gnu::always_inline]] bool record(const Decision& decision, const Outcome& outcome) noexcept {
    Decision copy = decision;
    return record(copy, outcome);
  }

  /// Notes that the decision was made, so that a missing outcome shows. Gives it its interaction id.
  /// Output  as record(); false without a node, too: what has no id cannot be paired.
  [[gnu::always_inline]] bool assign(Decision& decision) noexcept {
    const std::int64_t now_us = now_us_.load(std::memory_order_relaxed);
    LaneType* lane = cached_lane();
    if (!is_ready(lane, now_us) || decision.record().task == no_task || lane->next_id() == 0) [[unlikely]] {
      decision.set_interaction(assign_slowly(decision));
      return decision.interaction() != 0;
    }
    decision.set_interaction(lane->next_id());
    append(*lane, decision, detail::time_word(now_us, EntryKind::assigned, 0), {});
    return true;
  }

  /// Notes a score for an earlier interaction.
  /// Output  false for id 0, a score outside [0, 1], without a lane, and when the ring is full.
  bool feedback(std::uint64_t id, double score) noexcept {
    Entry entry;
    entry.kind = EntryKind::feedback;
    entry.id = id;
    entry.score = score_billionths(score);
    if (id == 0 || id >> 63 != 0 || entry.score == no_score) {
      invalid_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    LaneType* lane = cached_lane();
    if (!is_mine(lane)) lane = attach();
    entry.at_us = now_us_.load(std::memory_order_relaxed);
    if (lane != nullptr && lane->push(detail::pack(entry))) return true;
    return drop(drops_.size());
  }

  // --- the drainer's side --------------------------------------------------------------------------------------------

  /// Brings a ring of `count` cells, a power of two, all zero, and one for texts where they are kept. Both outlive the
  /// recorder. One thread at a time.
  /// Output  false when there are max_lanes, or no memory is to be had.
  bool add_lane(Cell* cells, std::size_t count, BasicTextRing<Atomics>* texts = nullptr) noexcept {
    const std::size_t at = lane_count();
    if (at == max_lanes) return false;
    lanes_[at] = Domain::local().open(this, cells, count, texts);
    if (lanes_[at] == nullptr) return false;
    lane_count_.store(at + 1, std::memory_order_release);  // (L7) pairs with (L8): whoever counts it finds it
    return true;
  }

  [[nodiscard]] std::size_t lane_count() const noexcept {
    return lane_count_.load(std::memory_order_acquire);  // (L8)
  }
  [[nodiscard]] LaneType& lane(std::size_t at) noexcept { return *lanes_[at]; }
  /// Lanes that wait for a thread.
  [[nodiscard]] std::size_t vacant_lanes() const noexcept {
    const auto vacant = detail::tenancy_of(this, detail::LaneState::vacant);
    std::size_t count = 0;
    for (std::size_t i = 0, end = lane_count(); i != end; ++i)
      count += lanes_[i]->tenancy.load(std::memory_order_relaxed) == vacant;
    return count;
  }

  /// What entries say of the time until it is called again. Interaction ids never go back, whatever it says.
  void set_time(std::int64_t now_us) noexcept {
    now_us_.store(std::clamp<std::int64_t>(now_us, 0, detail::last_time_us), std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t time() const noexcept { return now_us_.load(std::memory_order_relaxed); }

  /// Lets it make interaction ids. Input: a number below InteractionId::nodes that no other recorder has, and a counter that
  /// outlives the recorder, at least as high as any that this node had; the same counter at every call.
  void set_node(std::uint32_t node, Counter& cursor) noexcept {
    if (cursor_ != &cursor) cursor_ = &cursor;     // of another node, perhaps, while threads read it
    node_.store(node, std::memory_order_release);  // (L9) pairs with (L10): whoever sees the node sees its counter
  }

  /// Entries that were not kept; [i] is of task i, the last of all beyond.
  [[nodiscard]] std::span<const Counter> drops() const noexcept { return drops_; }
  /// Outcomes that were kept without a part that made no sense, and feedback that was not kept for it.
  [[nodiscard]] std::uint64_t invalid() const noexcept { return invalid_.load(std::memory_order_relaxed); }
  /// Outcomes that were kept without their texts, for want of room or of an id.
  [[nodiscard]] std::uint64_t lost_texts() const noexcept { return lost_texts_.load(std::memory_order_relaxed); }

 private:
  using Domain = detail::LaneDomain<Atomics>;
  using Cache = detail::LaneCache<Atomics>;
  static constexpr std::uint64_t most_ids = 256;  ///< that a lane takes at once

  /// The lane this thread wrote to last, which may be another recorder's.
  [[nodiscard, gnu::always_inline]] LaneType* cached_lane() const noexcept { return Cache::local().last; }
  [[nodiscard, gnu::always_inline]] bool is_mine(const LaneType* lane) const noexcept {
    return lane->tenancy.load(std::memory_order_relaxed) == detail::tenancy_of(this, detail::LaneState::held);
  }

  /// True for this thread's lane of this recorder, with room and with ids of this tick.
  [[nodiscard, gnu::always_inline]] bool is_ready(const LaneType* lane, std::int64_t now_us) const noexcept {
    return is_mine(lane) && lane->next != lane->stop && lane->id_tick == now_us;
  }
  /// Such a lane; null for a decision of no task, when there is none to be had, and when it is full.
  [[nodiscard]] LaneType* ready_lane(const Decision& decision, std::int64_t now_us) noexcept {
    if (decision.record().task == no_task) return nullptr;
    LaneType* lane = cached_lane();
    if (!is_mine(lane)) lane = attach();
    if (lane == nullptr) return nullptr;
    if (lane->next >= lane->id_end || lane->id_tick != now_us || lane->next_id() == 0) take_ids(*lane, now_us);
    return lane->prepare() ? lane : nullptr;
  }

  [[nodiscard, gnu::noinline, gnu::cold]] LaneType* attach() noexcept {
    Cache& cache = Cache::local();
    if (LaneType* lane = cache.find(this)) return cache.last = lane;
    if (cache.exited) return nullptr;  // nobody would give it back
    for (std::size_t i = 0, count = lane_count(); i != count; ++i) {
      if (!lanes_[i]->take(this)) continue;
      detail::LaneExit<Atomics>::arm();
      lanes_[i]->next_of_thread = cache.attached;
      cache.attached = lanes_[i];
      return cache.last = lanes_[i];
    }
    return nullptr;
  }

  /// As many as the lane uses in a tick, or up to twice that: a thousand lanes with little to do must not use up the
  /// millisecond's ids, and a busy one must not ask often.
  void take_ids(LaneType& lane, std::int64_t now_us) noexcept {
    const bool used_up = lane.next >= lane.id_end;
    const bool again = lane.id_tick == now_us;
    lane.id_tick = now_us;
    lane.id_base = 0 - lane.next;  // makes 0, of the next one alone
    lane.id_end = lane.next + 1;
    const std::uint32_t node = node_.load(std::memory_order_acquire);  // (L10)
    if (node == no_node) return;
    lane.id_block = std::clamp(again     ? 2 * lane.id_block
                               : used_up ? lane.id_block
                                         : lane.id_block / 2,
                               std::uint64_t{1}, most_ids);
    // Relaxed: the counter orders nothing but itself.
    std::uint64_t cursor = cursor_->load(std::memory_order_relaxed);
    std::uint64_t mine = 0;
    std::uint64_t count = 0;
    do {
      mine = std::max({cursor, InteractionId::cursor_at(now_us), std::uint64_t{1}});  // 0 of node 0 would be no id
      count = std::min(lane.id_block, InteractionId::left_at(mine));
      if (mine > InteractionId::last_cursor) return;  // a clock that is a lifetime wrong must not use up all ids
    } while (!cursor_->compare_exchange_weak(cursor, mine + count, std::memory_order_relaxed));
    lane.id_base = InteractionId::at(mine, node) - lane.next;
    lane.id_end = lane.next + count;
  }

  static constexpr auto no_task = static_cast<std::uint32_t>(TaskIndex::none);

  /// The words of an entry that come from its outcome; zero where there is none.
  struct Measures {
    std::uint64_t result = 0;  ///< latency and score
    std::uint64_t tokens = 0;
    std::uint64_t cost_microusd = 0;
  };

  /// True for an outcome that stands in an entry as it is: no failure, nothing that must be left out, no texts.
  [[nodiscard, gnu::always_inline]] static bool is_usual(const Outcome& outcome) noexcept {
    constexpr auto one = std::bit_cast<std::uint64_t>(1.0);  // non-negative doubles are in the order of their bits
    return outcome.ok && outcome.error == ErrorKind::none &&
           (static_cast<std::uint64_t>(outcome.latency_us) + 1) >> 32 == 0 && outcome.cost_microusd >= 0 &&
           outcome.request.empty() && outcome.response.empty() &&
           std::bit_cast<std::uint64_t>(outcome.score.value_or(0)) <= one;
  }
  /// Of a usual one: what result_word() makes of it, in fewer steps.
  [[nodiscard, gnu::always_inline]] static Measures measures_of(const Outcome& outcome) noexcept {
    std::uint64_t result = static_cast<std::uint64_t>(outcome.latency_us) + 1;
    if (outcome.score)
      // NOLINTNEXTLINE(bugprone-incorrect-roundings): a usual one is not below 0, and lround() is a call
      result |= static_cast<std::uint64_t>(static_cast<std::int64_t>(outcome.score.value_or(0) * score_one + 0.5) + 1)
                << 32;
    return {result, detail::two(outcome.tokens_in, outcome.tokens_out),
            static_cast<std::uint64_t>(outcome.cost_microusd)};
  }

  /// An outcome whose address is taken has to lie in memory, on the way of every record: what goes out of line is a copy,
  /// field by field.
  [[nodiscard, gnu::always_inline]] static Outcome copy_of(const Outcome& outcome) noexcept {
    Outcome copy;
    copy.latency_us = outcome.latency_us;
    copy.ok = outcome.ok;
    if (outcome.score) copy.score = *outcome.score;  // NOLINT(bugprone-optional-value-conversion): by value, see above
    copy.tokens_in = outcome.tokens_in;
    copy.tokens_out = outcome.tokens_out;
    copy.cost_microusd = outcome.cost_microusd;
    copy.error = outcome.error;
    copy.request = outcome.request;
    copy.response = outcome.response;
    return copy;
  }

  struct Kept {
    std::uint64_t id;
    bool is_kept;
  };

  /// Where the lane has to be seen to, or the outcome: a failure, one of which a part must be left out, or one with texts.
  [[nodiscard, gnu::noinline, gnu::cold]] Kept record_slowly(Decision decision, const Outcome& outcome) noexcept {
    const std::int64_t now_us = now_us_.load(std::memory_order_relaxed);
    LaneType* lane = ready_lane(decision, now_us);
    if (lane == nullptr) return {decision.interaction(), drop(decision.record().task)};
    if (decision.interaction() == 0) decision.set_interaction(lane->next_id());
    if (!outcome.request.empty() || !outcome.response.empty()) keep_texts(*lane, decision, outcome);
    append(*lane, decision, detail::time_word(now_us, EntryKind::outcome, error_of(outcome)), mended(outcome));
    return {decision.interaction(), true};
  }

  [[nodiscard]] static std::uint8_t error_of(const Outcome& outcome) noexcept {
    const bool unnamed = !outcome.ok && outcome.error == ErrorKind::none;
    return static_cast<std::uint8_t>(unnamed ? ErrorKind::other : std::min(outcome.error, ErrorKind::other));
  }

  /// What makes no sense is left out.
  [[nodiscard]] Measures mended(const Outcome& outcome) noexcept {
    const std::uint32_t score = outcome.score ? score_billionths(*outcome.score) : no_score;
    const bool odd = outcome.latency_us < -1 || outcome.cost_microusd < 0 || outcome.error > ErrorKind::other ||
                     (outcome.score && score == no_score);
    if (odd) invalid_.fetch_add(1, std::memory_order_relaxed);
    const auto latency = std::min<std::int64_t>(outcome.latency_us, longest_latency_us);
    return {detail::result_word(latency < 0 ? no_latency : static_cast<std::uint32_t>(latency), score),
            detail::two(outcome.tokens_in, outcome.tokens_out),
            static_cast<std::uint64_t>(std::max<std::int64_t>(outcome.cost_microusd, 0))};
  }

  /// Before their entry, so that whoever finds it finds them.
  void keep_texts(LaneType& lane, const Decision& decision, const Outcome& outcome) noexcept {
    const std::uint64_t id = decision.interaction();
    const std::uint32_t task = decision.record().task;
    if (lane.texts != nullptr && (id == 0 || !lane.texts->push(id, task, outcome.request, outcome.response)))
      lost_texts_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Output  the id; 0 if it is not kept.
  [[nodiscard, gnu::noinline, gnu::cold]] std::uint64_t assign_slowly(Decision decision) noexcept {
    const std::int64_t now_us = now_us_.load(std::memory_order_relaxed);
    LaneType* lane = ready_lane(decision, now_us);
    if (lane == nullptr || lane->next_id() == 0) {
      drop(decision.record().task);
      return 0;
    }
    decision.set_interaction(lane->next_id());
    append(*lane, decision, detail::time_word(now_us, EntryKind::assigned, 0), {});
    return decision.interaction();
  }

  /// Into a lane that is ready.
  [[gnu::always_inline]] static void append(LaneType& lane, const Decision& decision, std::uint64_t time,
                                            const Measures& measures) noexcept {
    const auto& [result, tokens, cost] = measures;
    const std::uint64_t id = decision.interaction();
    const std::uint64_t place = detail::two(decision.point(), decision.revision());
    const std::uint64_t position = lane.next;
    Cell& cell = lane.cell_at(position);
    const std::uint64_t chosen = detail::version_word(decision.record());
    cell.words[0] = id;
    cell.words[1] = time;
    cell.words[2] = place;
    cell.words[3] = chosen;
    cell.words[4] = result;
    cell.words[5] = tokens;
    cell.words[6] = cost;
    lane.seal(cell, position, detail::fold_of(id, time, place, chosen, result, tokens, cost));
  }

  [[gnu::noinline, gnu::cold]] bool drop(std::size_t task) noexcept {
    if (!drops_.empty()) drops_[std::min(task, drops_.size() - 1)].fetch_add(1, std::memory_order_relaxed);
    return false;
  }

  // Read by every record, written by the drainer's tick alone.
  typename Atomics::template atomic<std::int64_t> now_us_{0};
  std::span<Counter> drops_;
  typename Atomics::template atomic<std::uint32_t> node_{no_node};
  Counter* cursor_ = nullptr;
  Counter invalid_{0};
  Counter lost_texts_{0};
  typename Atomics::template atomic<std::size_t> lane_count_{0};
  std::array<LaneType*, max_lanes> lanes_{};
};

/// The recorder on the standard library's atomics.
using Recorder = BasicRecorder<>;

}  // namespace canary
