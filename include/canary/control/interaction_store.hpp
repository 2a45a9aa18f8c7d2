// interaction_store.hpp: where interactions, evidence and the position of every spool outlive the process. Layer control.
//
// What a drainer writes, it writes as one Delivery: a transaction that holds the interactions, the counts that they change
// and how far the spool is drained, against the spool's generation. Whoever comes with another generation has lost: the
// spool was delivered by somebody else, or its counts were closed. So each entry is in the store exactly once, whatever
// dies when: after a commit of unknown outcome claim() tells how far the spool is.
//
// Counts are rows of one spool each, which only its drainer writes, as bytes that add up (window.hpp, evidence.hpp): no
// two servers wait for each other. Every adapter passes tests/contract/interaction_contract.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/bytes.hpp"
#include "canary/control/interaction.hpp"
#include "canary/control/store.hpp"

namespace canary {

/// Everything before `position` in this lane of a spool is in the store. Lanes are never numbered again.
struct LanePosition {
  std::uint32_t lane = 0;
  std::uint64_t position = 0;
  friend bool operator==(const LanePosition&, const LanePosition&) = default;
};

/// What a store knows of a spool.
struct SpoolRecord {
  std::string spool;                ///< its id: 32 hexadecimal digits
  std::uint32_t serial = 0;         ///< the store's number for it, from 1, never given again; 0: the store's own rows
  std::uint32_t node = 0;           ///< for interaction ids; no other spool of the store has it
  std::uint64_t generation = 0;     ///< counts what was committed for it
  TimeUs at_us = 0;                 ///< of the last commit, by the clock of who made it
  std::vector<LanePosition> lanes;  ///< by lane
  friend bool operator==(const SpoolRecord&, const SpoolRecord&) = default;
};

enum class CountsKind : std::uint8_t {
  window = 1,    ///< WindowCounts of a version: `of` is its number, `at` the window
  evidence = 2,  ///< EvidenceCounts of a candidate's life: `of` is the revision it began with, `at` the epoch's
  drops = 3,     ///< entries of a task that were not recorded, one number by put_number(): `of` is 0, `at` the window
};

inline constexpr CountsKind counts_kinds[] = {CountsKind::window, CountsKind::evidence, CountsKind::drops};

/// Counts of one spool.
struct CountsRow {
  CountsKind kind = CountsKind::window;
  std::uint32_t task = 0;    ///< the store's number of the task
  std::uint32_t of = 0;      ///< see CountsKind
  std::uint32_t at = 0;      ///< see CountsKind
  std::uint32_t serial = 0;  ///< of the spool
  std::string bytes;
  friend bool operator==(const CountsRow&, const CountsRow&) = default;
};

/// Which counts to read.
struct CountsFilter {
  CountsKind kind = CountsKind::window;
  std::optional<std::uint32_t> task = {};
  std::optional<std::uint32_t> of = {};
  std::uint32_t from = 0;          ///< first `at`
  std::uint32_t to = 0xFFFF'FFFF;  ///< last `at`
  std::optional<std::uint32_t> serial = {};
};

/// A unit of a candidate's life: counted once, by its first assignment.
struct UnitKey {
  std::uint32_t task = 0;  ///< the store's number of the task
  std::uint32_t life = 0;  ///< revision that the life began with
  Point point = 0;
  std::uint64_t id = 0;  ///< the interaction that counts for it
  bool settled = false;  ///< its outcome has come
  friend bool operator==(const UnitKey&, const UnitKey&) = default;
};

/// What became of a score that came later.
enum class Joined : std::uint8_t {
  done,     ///< the interaction has it now
  unknown,  ///< no such interaction, or its row was not kept
  already,  ///< it had feedback before, which stays
};

struct JoinedFeedback {
  Joined result = Joined::unknown;
  Interaction interaction = {};     ///< with the score that it has now; nothing in it when unknown
  std::uint32_t before = no_score;  ///< the score that it had: its outcome's
};

/// A place in the list of scores that wait, which goes by their time and id.
struct WaitingPlace {
  TimeUs at_us = std::numeric_limits<TimeUs>::min();
  std::uint64_t id = 0;
  friend bool operator==(const WaitingPlace&, const WaitingPlace&) = default;
};

/// Which interactions to read, in the order of their ids.
struct InteractionFilter {
  std::optional<std::uint32_t> task = {};
  std::optional<std::uint16_t> number = {};
  std::uint64_t from = 1;  ///< first id
  std::uint64_t to = std::numeric_limits<std::int64_t>::max();
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  bool newest_first = false;
  bool with_payload = false;  ///< those alone that have one
};

/// One transaction of a drainer. Taken back at its end unless committed. Calls throw StoreError; it is of no use then.
class Delivery {
 public:
  virtual ~Delivery() = default;

  /// The store's number of a task, given at its first use and never again. Void if this is not committed.
  [[nodiscard]] virtual std::uint32_t task_number(std::string_view task) = 0;

  /// Adds interactions; ids that the store has already are left out.
  /// Input   ids in [1, 2^63).
  /// Output  ids that were left out, in no order, once for each row.
  /// Cost    a microsecond a row in SQLite, two in PostgreSQL, when ids rise.
  [[nodiscard]] virtual std::vector<std::uint64_t> add(std::span<const Interaction> rows) = 0;
  /// Adds texts, as stored_text() makes them; the first of an id stay.
  virtual void add_payloads(std::span<const Payload> rows) = 0;

  /// Gives each unit its interaction, settled as it says, unless it has one: fresh[i] says whether units[i] was new. Each key comes once.
  virtual void claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) = 0;
  /// first[i] says whether units[i] has this very interaction and was not settled; it is settled from then on.
  virtual void settle_units(std::span<const UnitKey> units, std::vector<bool>& first) = 0;
  /// counted[i] says whether units[i] has this very interaction, settled or not.
  virtual void find_units(std::span<const UnitKey> units, std::vector<bool>& counted) = 0;

  /// Gives interactions the scores that came later, once each, in the place of the score that its outcome had.
  virtual void join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) = 0;
  /// Keeps scores whose interaction is not there yet; the first of an id stays.
  virtual void put_waiting(std::span<const Feedback> rows) = 0;
  /// Looks through those that wait, the oldest first, for those whose interaction is there by now, as this delivery sees it.
  /// Input   `from`: where to go on; brought to where the look ended, and at the end of the list to its beginning.
  /// Output  how many it looked at; `ready`: those that can be joined, from 1 to `most`.
  /// Cost    of waiting_at_once looks by an id, however many wait: the list is gone through in as many calls as it takes.
  [[nodiscard]] virtual std::size_t waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) = 0;
  /// Takes ids off the list.
  virtual void drop_waiting(std::span<const std::uint64_t> ids) = 0;
  /// Takes off those that are older than that, waiting_at_once of them at most; how many these were.
  virtual std::size_t drop_waiting_before(TimeUs time_us) = 0;
  static constexpr std::size_t waiting_at_once = 16'384;

  /// Writes the spool's own counts, over what stood there. `serial` is not looked at.
  virtual void put(const CountsRow& row) = 0;

  /// Ends it.
  /// Input   how far the spool's lanes are drained now: all that it has, the others are forgotten.
  /// Errors  StoreError; with `unknown` set, when it could not be made out whether it was committed: claim() tells.
  virtual void commit(std::span<const LanePosition> lanes, TimeUs now_us) = 0;
};

/// Calls may come from one thread at a time. Making one touches nothing: the first call connects.
class InteractionStore {
 public:
  virtual ~InteractionStore() = default;

  /// What the store knows of a spool; makes it known where it is new.
  /// Errors  StoreErrc::full when every node has its spool.
  [[nodiscard]] virtual SpoolRecord claim(std::string_view spool, TimeUs now_us) = 0;
  /// Every spool that the store knows.
  [[nodiscard]] virtual std::vector<SpoolRecord> spools() = 0;
  /// Begins a transaction for a spool; null when its generation is another by now.
  [[nodiscard]] virtual std::unique_ptr<Delivery> begin(const SpoolRecord& spool) = 0;
  /// Puts what a spool counted into the store's own rows (serial 0), by `merge(kind, ours, theirs)` where there is such a row
  /// already, and forgets the spool.
  /// Output  false when its generation is another by now.
  virtual bool fold(const SpoolRecord& spool,
                    const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) = 0;

  /// The store's number of a task; nothing when it has none.
  [[nodiscard]] virtual std::optional<std::uint32_t> find_task(std::string_view task) = 0;
  /// Names by number.
  [[nodiscard]] virtual std::vector<std::pair<std::uint32_t, std::string>> task_names() = 0;
  [[nodiscard]] virtual std::vector<CountsRow> counts(const CountsFilter& filter) = 0;

  /// Gives `take` each interaction, with its texts where it has some and `with_payload` asks; until it answers false.
  /// While it runs others may write. `take` must not call this store.
  virtual void read(const InteractionFilter& filter,
                    const std::function<bool(const Interaction&, const Payload&)>& take) = 0;

  /// Gives `take` those of these interactions that there are, in any order. `take` must not call this store.
  /// Input   ids, each once.
  /// Cost    a microsecond each in SQLite; in PostgreSQL one statement for 8,192 of them.
  virtual void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) = 0;

  /// Takes away what is older: interactions with their texts, and windows. In parts, so that nobody waits for long.
  /// Output  false when there is more to take away: call again.
  virtual bool forget_before(TimeUs time_us) = 0;
  /// Takes away the units of a task's lives that began at revision `to` or before, but for those that are named. In parts
  /// of 10,000 of them.
  /// Output  false when there is more to take away: call again.
  virtual bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Positions as one value, by lane.
[[nodiscard]] inline std::string lanes_bytes(std::span<const LanePosition> lanes) {
  std::vector<LanePosition> sorted{lanes.begin(), lanes.end()};
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.lane < b.lane; });
  std::string bytes;
  for (const LanePosition& each : sorted) {
    put_number(bytes, each.lane);
    put_number(bytes, each.position);
  }
  return bytes;
}

}  // namespace detail
}  // namespace canary
