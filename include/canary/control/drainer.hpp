// drainer.hpp: from lanes into the store: interactions, counts and position in one transaction. Layer control; no thread,
// no clock, no file: whoever owns the lanes calls pass() again and again.
//
// What a pass could not deliver the next one does, from the position that the store has: after any error the drainer
// forgets what it knows and asks. So an entry is in the store exactly once, whatever died in between. Memory is bounded by
// a batch, a thousand windows and the units of at most eight lives a task (32 to 64 bytes each, about a million a life).
//
// Lanes are merged by time. An outcome that still comes before its assignment, which another thread recorded in the same
// moment, waits for it in memory; after a crash it is found in the store.
// Proved by tests/model (with the lanes), tests/control/drainer_test.cpp and tests/fault/recording_*_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "canary/control/drain_counts.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/core/recorder.hpp"
#include "canary/core/text_ring.hpp"

namespace canary {

/// Names of tasks by their index in the router that recorded; empty for one that is not known.
using TaskNames = std::function<std::string_view(std::uint32_t)>;

/// One lane, as a drainer sees it.
struct DrainLane {
  std::uint32_t number = 0;  ///< of the spool, never given again
  const Recorder::Cell* cells = nullptr;
  std::uint64_t mask = 0;
  std::uint64_t position = 0;             ///< everything before is in the store
  std::size_t names = 0;                  ///< which TaskNames: lanes of an earlier process have their own
  bool finished = false;                  ///< nobody writes to it any more
  std::optional<std::uint64_t> end = {};  ///< of a finished lane; found at the first look
  const TextRing* texts = nullptr;        ///< of the same thread; null where payloads are off
  std::uint64_t text_position = 0;        ///< all texts before are in the store
  bool texts_read = true;                 ///< to their end, at the last pass

  /// True for a finished lane of which everything is in the store.
  [[nodiscard]] bool drained() const noexcept { return finished && end && position >= *end && texts_read; }
  /// What a store knows the lane's texts by.
  [[nodiscard]] std::uint32_t text_number() const noexcept { return number | 0x8000'0000; }
};

struct DrainerOptions {
  std::size_t batch = 65'536;                     ///< entries that one transaction takes at most
  std::size_t text_bytes = std::size_t{8} << 20;  ///< texts that it takes, about
  std::function<DrainTask(std::string_view)> task = [](std::string_view) { return DrainTask{}; };
  /// The newest epoch of a task that opened at or before a revision; nothing when there is none. May throw StoreError.
  std::function<std::optional<OpenedEpoch>(std::string_view, std::uint32_t)> epoch =
      [](std::string_view, std::uint32_t) -> std::optional<OpenedEpoch> { return {}; };
  /// A fresh interaction id, for what was recorded before the spool had its node.
  std::function<std::uint64_t(std::uint32_t node, TimeUs)> new_id = [](std::uint32_t, TimeUs) { return 0; };
};

/// What was drained since the drainer was made.
struct DrainTotals {
  std::uint64_t interactions = 0;
  std::uint64_t assigned = 0;
  std::uint64_t feedback = 0;
  std::uint64_t feedback_refused = 0;  ///< the interaction had feedback before, or never came
  std::uint64_t doubled = 0;           ///< outcomes of an interaction that had one: left out
  std::uint64_t torn = 0;              ///< entries that were not whole: dropped
  std::uint64_t nameless = 0;          ///< entries of a task whose name is not known: dropped

  DrainTotals& operator+=(const DrainTotals& more) noexcept {
    interactions += more.interactions;
    assigned += more.assigned;
    feedback += more.feedback;
    feedback_refused += more.feedback_refused;
    doubled += more.doubled;
    torn += more.torn;
    nameless += more.nameless;
    return *this;
  }
};

/// Drains one spool. For one thread at a time.
class Drainer {
 public:
  Drainer(InteractionStore& store, std::string spool, DrainerOptions options)
      : store_{store}, spool_{std::move(spool)}, options_{std::move(options)} {}

  /// What the store knows of the spool; asks unless it is known. Lanes that the store has more of are moved there.
  const SpoolRecord& contact(std::vector<DrainLane>& lanes, TimeUs now_us);
  [[nodiscard]] const std::optional<SpoolRecord>& record() const noexcept { return record_; }

  /// Takes one batch of what the lanes have into the store, and moves their positions.
  /// Input   names[i] for lanes whose `names` is i.
  /// Output  true if there may be more.
  /// Errors  StoreError; then the positions stand where they stood.
  bool pass(std::vector<DrainLane>& lanes, std::span<const TaskNames> names, TimeUs now_us);

  /// Asks for its tasks' options anew.
  void configure() {
    for (auto& [name, task] : tasks_) task->options = options_.task(name);
  }

  /// Counts entries of a task that were not recorded; they go into the store with the next batch.
  void count_drops(std::string_view task, std::uint64_t more) { drops_[std::string{task}] += more; }
  [[nodiscard]] const DrainTotals& totals() const noexcept { return totals_; }

  /// Closes what other spools left open that have been silent for so long that no outcome can count any more, and folds
  /// those that have been for a week. One that was not gone goes on under another node.
  void close_silent(TimeUs now_us);

 private:
  using Task = detail::DrainedTask;
  using Watch = detail::Watch;

  enum class Seen : std::uint8_t { nothing, whole, torn };

  /// What is known of a row beside what the store keeps.
  struct About {
    Task* task = nullptr;
    const Watch* watch = nullptr;  ///< null: nothing is compared there
    detail::Kept<WindowCounts>* window = nullptr;
    bool paired = true;            ///< it has had its interaction id since it was routed or recorded
    bool counts_for_unit = false;  ///< as far as is known before the store is asked
  };
  static constexpr std::size_t no_row = static_cast<std::size_t>(-1);
  struct UnitAsk {
    UnitKey key;
    detail::WatchPart part;
    std::size_t row = no_row;  ///< whose outcome it is
    Task* task = nullptr;
    std::optional<Interaction> early = {};  ///< the outcome, where that was drained before
    const Watch* watch = nullptr;           ///< and what it is counted by
  };

  void forget() noexcept;
  void find_open(std::uint32_t serial);
  [[nodiscard]] static Seen look(const DrainLane& lane, std::uint64_t position) noexcept;
  [[nodiscard]] static bool has_next(DrainLane& lane, std::uint64_t position) noexcept;
  void fetch(std::vector<DrainLane>& lanes, std::span<const TaskNames> names);
  void fetch_texts(std::vector<DrainLane>& lanes, std::span<const TaskNames> names);
  void take(const Entry& entry, std::size_t which, std::span<const TaskNames> names);
  [[nodiscard]] Task* task_of(std::uint32_t index, std::size_t which, std::span<const TaskNames> names);
  [[nodiscard]] Task& task_of(std::string_view name);
  void prepare(TimeUs now_us);
  void prepare_assigned();
  void prepare_outcomes();
  void prepare_feedback();
  [[nodiscard]] std::unordered_map<std::uint64_t, Interaction> find_stored(std::vector<std::uint64_t> ids);
  [[nodiscard]] std::optional<Interaction> early_outcome(
      std::uint64_t id, const std::unordered_map<std::uint64_t, Interaction>& stored) const;
  void keep_early(const Interaction& outcome);
  void deliver(Delivery& to, TimeUs now_us);
  void number_tasks(Delivery& to);
  void add_rows(Delivery& to);
  void count_row(std::size_t at);
  void count_units(Delivery& to);
  void settle_units(Delivery& to);
  void settle_unit(const UnitAsk& ask);
  void settle(CountedBy by, const detail::WatchPart& part, const Interaction& outcome, const Watch& watch,
              const Task& task);
  [[nodiscard]] UnitAsk* claim_for(std::uint64_t id, const detail::Life& life);
  [[nodiscard]] std::vector<JoinedFeedback> join_found(Delivery& to);
  void join_feedback(Delivery& to, TimeUs now_us);
  void count_score(const JoinedFeedback& joined, std::size_t at, std::vector<UnitAsk>& asks);
  void prepare_drops(TimeUs now_us);
  [[nodiscard]] std::optional<std::string> name_of(std::uint32_t number);
  void close(TimeUs now_us);
  [[nodiscard]] bool anything_to_write(TimeUs now_us) const;
  void settle_down(std::vector<DrainLane>& lanes);
  void drops_delivered() noexcept;
  void put_counts(Delivery& to);
  void put_drops(Delivery& to, TimeUs now_us);

  InteractionStore& store_;
  std::string spool_;
  DrainerOptions options_;
  std::optional<SpoolRecord> record_;
  std::optional<std::uint64_t> committing_;  ///< generation whose commit was not answered
  TimeUs known_since_us_ = 0;                ///< units assigned from then on are in the tables
  DrainTotals totals_;
  std::map<std::string, std::unique_ptr<Task>, std::less<>> tasks_;
  std::vector<std::vector<Task*>> task_of_lane_;                   ///< by names and index
  std::map<std::string, std::uint64_t, std::less<>> drops_;        ///< still to be written
  std::map<std::string, std::uint64_t, std::less<>> batch_drops_;  ///< of those, what the batch writes
  std::map<std::string, std::pair<std::uint32_t, std::uint64_t>, std::less<>> stored_drops_;  // window and count
  std::uint64_t batch_number_ = 0;
  TimeUs complete_us_ = 0;       ///< what was recorded before is in the store
  TimeUs look_waiting_us_ = 0;   ///< when to look at the scores that wait for their interaction
  WaitingPlace waiting_from_;    ///< and where to begin
  std::vector<Feedback> retry_;  ///< those that waited, to be joined by the next batch
  bool scores_wait_ = false;     ///< as far as is known: then a pass without entries looks at them, too
  std::unordered_map<std::uint64_t, Interaction> early_;  // outcomes that wait for their assignment
  std::deque<std::uint64_t> early_order_;

  // One batch.
  std::vector<std::uint64_t> ends_;       // by lane
  std::vector<std::uint64_t> text_ends_;  // likewise
  std::vector<Texts> texts_;
  std::vector<Interaction> rows_;
  std::vector<About> about_rows_;
  std::vector<Interaction> assigned_;
  std::vector<About> about_assigned_;
  std::vector<Feedback> feedback_;
  std::vector<bool> doubled_;    // rows that the store had
  std::size_t first_retry_ = 0;  ///< of feedback_: from here on they waited
  bool all_read_ = false;        ///< every lane was read to its end
  std::vector<UnitAsk> claims_;
  std::unordered_multimap<std::uint64_t, std::size_t> claim_of_;  // by interaction
  std::vector<UnitAsk> settles_;
  std::map<std::uint64_t, std::pair<Task*, const Watch*>> scored_;  // by interaction that feedback is for
  DrainTotals batch_;
};

}  // namespace canary

#include "canary/control/drainer_pass.hpp"
