// memory_delivery.hpp: what a MemoryStore keeps of interactions, and one transaction of a drainer. Layer control; a part of
// memory_store.hpp. A delivery writes down what it would change, and changes it when it commits.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/control/interaction_store.hpp"
#include "canary/control/stored_text.hpp"

namespace canary::detail {

struct MemoryPayload {
  std::string request;
  std::string response;
};

/// Rows by their keys.
struct MemoryRows {
  using UnitOf = std::tuple<std::uint32_t, std::uint32_t, Point>;  ///< task, life, point
  /// Kind, task, of, at, serial.
  using CountsOf = std::tuple<CountsKind, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>;

  std::map<std::string, std::uint32_t, std::less<>> tasks;
  std::map<std::uint64_t, Interaction> interactions;
  std::set<std::uint64_t> rescored;  ///< by feedback
  std::map<std::uint64_t, MemoryPayload> payloads;
  std::map<UnitOf, UnitKey> units;
  std::map<std::uint64_t, Feedback> waiting;
  std::map<CountsOf, std::string> counts;
};

/// What the InteractionStores of one MemoryStore share.
struct MemoryRecorded {
  std::mutex mutex;
  std::condition_variable delivered;
  bool delivering = false;
  MemoryRows rows;
  std::map<std::uint32_t, SpoolRecord> spools;  ///< by serial
  std::uint32_t last_serial = 0;

  [[nodiscard]] bool is_current(const SpoolRecord& spool) const {
    const auto at = spools.find(spool.serial);
    return at != spools.end() && at->second.spool == spool.spool && at->second.generation == spool.generation;
  }

  /// What a restore cannot keep: revisions begin anew, and evidence is told apart by them.
  void forget_evidence() {
    const std::lock_guard lock{mutex};
    std::erase_if(rows.counts, [](const auto& row) { return std::get<0>(row.first) == CountsKind::evidence; });
    rows.units.clear();
    rows.waiting.clear();
    for (auto& [serial, spool] : spools) ++spool.generation;
  }
};

class MemoryDelivery final : public Delivery {
 public:
  /// Input   `recorded.delivering` is this one's.
  MemoryDelivery(std::shared_ptr<MemoryRecorded> recorded, SpoolRecord spool)
      : recorded_{std::move(recorded)}, spool_{std::move(spool)} {}
  ~MemoryDelivery() override { end(); }
  MemoryDelivery(const MemoryDelivery&) = delete;
  MemoryDelivery& operator=(const MemoryDelivery&) = delete;

  [[nodiscard]] std::uint32_t task_number(std::string_view task) override;
  [[nodiscard]] std::vector<std::uint64_t> add(std::span<const Interaction> rows) override;
  void add_payloads(std::span<const Payload> rows) override;
  void claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) override;
  void settle_units(std::span<const UnitKey> units, std::vector<bool>& first) override;
  void find_units(std::span<const UnitKey> units, std::vector<bool>& counted) override;
  void join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) override;
  void put_waiting(std::span<const Feedback> rows) override;
  [[nodiscard]] std::size_t waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) override;
  void drop_waiting(std::span<const std::uint64_t> ids) override;
  std::size_t drop_waiting_before(TimeUs time_us) override;
  void put(const CountsRow& row) override;
  void commit(std::span<const LanePosition> lanes, TimeUs now_us) override;

 private:
  [[nodiscard]] std::unique_lock<std::mutex> lock() const {
    if (over_) throw StoreError{StoreErrc::invalid, "the delivery is over: begin another"};
    return std::unique_lock{recorded_->mutex};
  }
  void end() noexcept {
    if (over_) return;
    over_ = true;
    const std::lock_guard lock{recorded_->mutex};
    recorded_->delivering = false;
    recorded_->delivered.notify_all();
  }

  /// The row as this delivery sees it: its own first.
  template <class Map>
  [[nodiscard]] const typename Map::mapped_type* find(Map MemoryRows::*rows, const typename Map::key_type& key) const {
    for (const MemoryRows* each : {&mine_, &std::as_const(recorded_->rows)})
      if (const auto at = (each->*rows).find(key); at != (each->*rows).end()) return &at->second;
    return nullptr;
  }
  [[nodiscard]] const UnitKey* find_unit(const UnitKey& unit) const {
    const UnitKey* found = find(&MemoryRows::units, {unit.task, unit.life, unit.point});
    return found != nullptr && found->id == unit.id ? found : nullptr;
  }

  /// All that wait, the oldest first.
  [[nodiscard]] std::vector<Feedback> waiting_list() const;

  std::shared_ptr<MemoryRecorded> recorded_;
  SpoolRecord spool_;
  MemoryRows mine_;                  ///< rows that are new, or that stand over others
  std::set<std::uint64_t> dropped_;  ///< from the waiting list
  bool over_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------

inline std::uint32_t MemoryDelivery::task_number(std::string_view task) {
  const auto held = lock();
  const std::string name{task};
  if (const std::uint32_t* known = find(&MemoryRows::tasks, name)) return *known;
  return mine_.tasks[name] = static_cast<std::uint32_t>(recorded_->rows.tasks.size() + mine_.tasks.size() + 1);
}

inline std::vector<std::uint64_t> MemoryDelivery::add(std::span<const Interaction> rows) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  const auto held = lock();
  std::vector<std::uint64_t> left_out;
  for (Interaction row : rows) {
    if (row.id == 0 || row.id > most)
      throw StoreError{StoreErrc::invalid, "the number " + std::to_string(row.id) + " is no id of an interaction"};
    row.cost_microusd = std::min(row.cost_microusd, most);
    if (find(&MemoryRows::interactions, row.id) != nullptr)
      left_out.push_back(row.id);
    else
      mine_.interactions.emplace(row.id, row);
  }
  return left_out;
}

inline void MemoryDelivery::add_payloads(std::span<const Payload> rows) {
  const auto held = lock();
  std::string request;
  std::string response;
  for (const Payload& row : rows)
    mine_.payloads.emplace(row.id, MemoryPayload{std::string{stored_text(row.request, request)},
                                                 std::string{stored_text(row.response, response)}});
}

inline void MemoryDelivery::claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) {
  const auto held = lock();
  fresh.assign(units.size(), false);
  for (std::size_t i = 0; i != units.size(); ++i) {
    const MemoryRows::UnitOf key{units[i].task, units[i].life, units[i].point};
    fresh[i] = find(&MemoryRows::units, key) == nullptr;
    if (fresh[i]) mine_.units.emplace(key, units[i]);
  }
}

inline void MemoryDelivery::settle_units(std::span<const UnitKey> units, std::vector<bool>& first) {
  const auto held = lock();
  first.assign(units.size(), false);
  for (std::size_t i = 0; i != units.size(); ++i) {
    const UnitKey* unit = find_unit(units[i]);
    first[i] = unit != nullptr && !unit->settled;
    if (!first[i]) continue;
    UnitKey settled = *unit;
    settled.settled = true;
    mine_.units.insert_or_assign({settled.task, settled.life, settled.point}, settled);
  }
}

inline void MemoryDelivery::find_units(std::span<const UnitKey> units, std::vector<bool>& counted) {
  const auto held = lock();
  counted.assign(units.size(), false);
  for (std::size_t i = 0; i != units.size(); ++i) counted[i] = find_unit(units[i]) != nullptr;
}

inline void MemoryDelivery::join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) {
  const auto held = lock();
  joined.assign(rows.size(), {});
  for (std::size_t i = 0; i != rows.size(); ++i) {
    const Interaction* found = find(&MemoryRows::interactions, rows[i].id);
    if (found == nullptr) continue;
    joined[i] = {Joined::already, *found, found->score};
    if (recorded_->rows.rescored.contains(rows[i].id) || !mine_.rescored.insert(rows[i].id).second) continue;
    joined[i].result = Joined::done;
    joined[i].interaction.score = rows[i].score;
    mine_.interactions.insert_or_assign(rows[i].id, joined[i].interaction);
  }
}

inline void MemoryDelivery::put_waiting(std::span<const Feedback> rows) {
  const auto held = lock();
  for (const Feedback& row : rows) {
    const bool waits = recorded_->rows.waiting.contains(row.id) && !dropped_.contains(row.id);
    if (!waits) mine_.waiting.emplace(row.id, row);
  }
}

inline std::vector<Feedback> MemoryDelivery::waiting_list() const {
  std::vector<Feedback> rows;
  for (const auto& [id, row] : recorded_->rows.waiting)
    if (!dropped_.contains(id)) rows.push_back(row);
  for (const auto& [id, row] : mine_.waiting) rows.push_back(row);
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return std::tie(a.at_us, a.id) < std::tie(b.at_us, b.id); });
  return rows;
}

inline std::size_t MemoryDelivery::waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) {
  const auto held = lock();
  ready.clear();
  std::size_t looks = 0;
  for (const Feedback& row : waiting_list()) {
    if (std::tie(row.at_us, row.id) <= std::tie(from.at_us, from.id)) continue;
    if (looks == waiting_at_once || ready.size() == most) return looks;
    ++looks;
    from = {row.at_us, row.id};
    if (find(&MemoryRows::interactions, row.id) != nullptr) ready.push_back(row);
  }
  from = {};
  return looks;
}

inline void MemoryDelivery::drop_waiting(std::span<const std::uint64_t> ids) {
  const auto held = lock();
  for (const std::uint64_t id : ids) {
    mine_.waiting.erase(id);
    dropped_.insert(id);
  }
}

inline std::size_t MemoryDelivery::drop_waiting_before(TimeUs time_us) {
  const auto held = lock();
  std::size_t dropped = 0;
  for (const Feedback& row : waiting_list()) {
    if (row.at_us >= time_us || dropped == waiting_at_once) break;
    mine_.waiting.erase(row.id);
    dropped_.insert(row.id);
    ++dropped;
  }
  return dropped;
}

inline void MemoryDelivery::put(const CountsRow& row) {
  const auto held = lock();
  mine_.counts.insert_or_assign({row.kind, row.task, row.of, row.at, spool_.serial}, row.bytes);
}

inline void MemoryDelivery::commit(std::span<const LanePosition> lanes, TimeUs now_us) {
  {
    const auto held = lock();
    if (!recorded_->is_current(spool_))
      throw StoreError{StoreErrc::invalid,
                       "spool " + spool_.spool + ": was delivered, or counted anew, by somebody else"};
    MemoryRows& rows = recorded_->rows;
    for (const std::uint64_t id : dropped_) rows.waiting.erase(id);
    const auto take = [](auto& from, auto& into) {
      for (auto& [key, row] : from) into.insert_or_assign(key, std::move(row));
    };
    take(mine_.tasks, rows.tasks);
    take(mine_.interactions, rows.interactions);
    rows.rescored.merge(mine_.rescored);
    rows.payloads.merge(mine_.payloads);  // those that were there first stay
    take(mine_.units, rows.units);
    take(mine_.waiting, rows.waiting);
    take(mine_.counts, rows.counts);
    SpoolRecord& spool = recorded_->spools.at(spool_.serial);
    ++spool.generation;
    spool.at_us = now_us;
    spool.lanes.assign(lanes.begin(), lanes.end());
    std::sort(spool.lanes.begin(), spool.lanes.end(), [](const auto& a, const auto& b) { return a.lane < b.lane; });
  }
  end();
}

}  // namespace canary::detail
