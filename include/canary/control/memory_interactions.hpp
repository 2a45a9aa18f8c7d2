// memory_interactions.hpp: an InteractionStore that lives and dies with its MemoryStore. Layer control.
// There is one delivery at a time: another waits for it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/control/interaction_store.hpp"
#include "canary/control/memory_delivery.hpp"
#include "canary/control/window.hpp"
#include "canary/core/recorder.hpp"

namespace canary::detail {

class MemoryInteractions final : public InteractionStore {
 public:
  explicit MemoryInteractions(std::shared_ptr<MemoryRecorded> recorded) : recorded_{std::move(recorded)} {}

  [[nodiscard]] SpoolRecord claim(std::string_view spool, TimeUs now_us) override;
  [[nodiscard]] std::vector<SpoolRecord> spools() override;
  [[nodiscard]] std::unique_ptr<Delivery> begin(const SpoolRecord& spool) override;
  bool fold(const SpoolRecord& spool,
            const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) override;
  [[nodiscard]] std::optional<std::uint32_t> find_task(std::string_view task) override;
  [[nodiscard]] std::vector<std::pair<std::uint32_t, std::string>> task_names() override;
  [[nodiscard]] std::vector<CountsRow> counts(const CountsFilter& filter) override;
  void read(const InteractionFilter& filter,
            const std::function<bool(const Interaction&, const Payload&)>& take) override;
  void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) override;
  bool forget_before(TimeUs time_us) override;
  bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) override;

 private:
  struct Found {
    Interaction interaction;
    MemoryPayload payload;
  };
  /// The first that the filter wants; its `most` is not looked at.
  [[nodiscard]] std::optional<Found> next(const InteractionFilter& filter) const;

  std::shared_ptr<MemoryRecorded> recorded_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline SpoolRecord MemoryInteractions::claim(std::string_view spool, TimeUs now_us) {
  const std::lock_guard lock{recorded_->mutex};
  std::set<std::uint32_t> nodes;
  for (const auto& [serial, each] : recorded_->spools) {
    if (each.spool == spool) return each;
    nodes.insert(each.node);
  }
  std::uint32_t node = 0;
  while (nodes.contains(node)) ++node;
  if (node == InteractionId::nodes)
    throw StoreError{StoreErrc::full, "all " + std::to_string(InteractionId::nodes) + " nodes have their spool",
                     "close the spools of servers that are gone"};
  SpoolRecord made{std::string{spool}, ++recorded_->last_serial, node, 0, now_us, {}};
  return recorded_->spools.emplace(made.serial, made).first->second;
}

inline std::vector<SpoolRecord> MemoryInteractions::spools() {
  const std::lock_guard lock{recorded_->mutex};
  std::vector<SpoolRecord> all;
  for (const auto& [serial, each] : recorded_->spools) all.push_back(each);
  return all;
}

inline std::unique_ptr<Delivery> MemoryInteractions::begin(const SpoolRecord& spool) {
  constexpr std::chrono::seconds most{5};
  std::unique_lock lock{recorded_->mutex};
  if (!recorded_->delivered.wait_for(lock, most, [this] { return !recorded_->delivering; }))
    throw StoreError{StoreErrc::unreachable, "another delivery is under way for longer than the time-out"};
  if (!recorded_->is_current(spool)) return nullptr;
  auto delivery = std::make_unique<MemoryDelivery>(recorded_, spool);
  recorded_->delivering = true;
  return delivery;
}

inline bool MemoryInteractions::fold(
    const SpoolRecord& spool, const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) {
  const std::lock_guard lock{recorded_->mutex};
  if (!recorded_->is_current(spool)) return false;
  auto& counts = recorded_->rows.counts;
  auto folded = counts;
  for (const auto& [key, theirs] : counts) {
    if (std::get<4>(key) != spool.serial) continue;
    auto ours_of = key;
    std::get<4>(ours_of) = 0;
    const auto ours = folded.find(ours_of);
    folded.insert_or_assign(ours_of, ours == folded.end() ? theirs : merge(std::get<0>(key), ours->second, theirs));
    folded.erase(key);
  }
  counts = std::move(folded);
  recorded_->spools.erase(spool.serial);
  return true;
}

inline std::optional<std::uint32_t> MemoryInteractions::find_task(std::string_view task) {
  const std::lock_guard lock{recorded_->mutex};
  const auto at = recorded_->rows.tasks.find(task);
  if (at == recorded_->rows.tasks.end()) return {};
  return at->second;
}

inline std::vector<std::pair<std::uint32_t, std::string>> MemoryInteractions::task_names() {
  const std::lock_guard lock{recorded_->mutex};
  std::vector<std::pair<std::uint32_t, std::string>> names;
  for (const auto& [name, number] : recorded_->rows.tasks) names.emplace_back(number, name);
  std::sort(names.begin(), names.end());
  return names;
}

inline std::vector<CountsRow> MemoryInteractions::counts(const CountsFilter& filter) {
  const std::lock_guard lock{recorded_->mutex};
  std::vector<CountsRow> rows;
  for (const auto& [key, bytes] : recorded_->rows.counts) {
    const auto& [kind, task, of, at, serial] = key;
    const bool wanted = kind == filter.kind && filter.task.value_or(task) == task && filter.of.value_or(of) == of &&
                        at >= filter.from && at <= filter.to && filter.serial.value_or(serial) == serial;
    if (wanted) rows.push_back({kind, task, of, at, serial, bytes});
  }
  return rows;
}

inline std::optional<MemoryInteractions::Found> MemoryInteractions::next(const InteractionFilter& filter) const {
  const std::lock_guard lock{recorded_->mutex};
  const auto& rows = recorded_->rows.interactions;
  const auto first = rows.lower_bound(filter.from);
  const auto last = rows.upper_bound(filter.to);
  const auto find = [&](auto from, auto to) -> std::optional<Found> {
    for (; from != to; ++from) {
      const Interaction& row = from->second;
      if (filter.task.value_or(row.task) != row.task || filter.number.value_or(row.number) != row.number) continue;
      if (!filter.with_payload) return Found{row, {}};
      const auto payload = recorded_->rows.payloads.find(row.id);
      if (payload != recorded_->rows.payloads.end()) return Found{row, payload->second};
    }
    return {};
  };
  return filter.newest_first ? find(std::make_reverse_iterator(last), std::make_reverse_iterator(first))
                             : find(first, last);
}

inline void MemoryInteractions::read(const InteractionFilter& filter,
                                     const std::function<bool(const Interaction&, const Payload&)>& take) {
  InteractionFilter rest = filter;
  for (; rest.most != 0 && rest.from <= rest.to; --rest.most) {
    const std::optional<Found> found = next(rest);
    if (!found) return;
    const std::uint64_t id = found->interaction.id;
    if (!take(found->interaction, {id, found->payload.request, found->payload.response})) return;
    (rest.newest_first ? rest.to : rest.from) = rest.newest_first ? id - 1 : id + 1;
  }
}

inline void MemoryInteractions::find(std::span<const std::uint64_t> ids,
                                     const std::function<void(const Interaction&)>& take) {
  std::vector<Interaction> found;
  {
    const std::lock_guard lock{recorded_->mutex};
    const auto& rows = recorded_->rows.interactions;
    for (const std::uint64_t id : ids)
      if (const auto at = rows.find(id); at != rows.end()) found.push_back(at->second);
  }
  for (const Interaction& row : found) take(row);
}

inline bool MemoryInteractions::forget_before(TimeUs time_us) {
  const std::lock_guard lock{recorded_->mutex};
  MemoryRows& rows = recorded_->rows;
  std::erase_if(rows.payloads, [&](const auto& payload) {
    const auto of = rows.interactions.find(payload.first);
    return of == rows.interactions.end() ? payload.first < InteractionId::first_at(time_us)
                                         : of->second.at_us < time_us;
  });
  std::erase_if(rows.interactions, [&](const auto& row) { return row.second.at_us < time_us; });
  std::erase_if(rows.counts, [&](const auto& row) {
    return std::get<0>(row.first) == CountsKind::window && std::get<3>(row.first) < window_of(time_us);
  });
  return true;
}

inline bool MemoryInteractions::forget_units(std::uint32_t task, std::uint32_t to,
                                             std::span<const std::uint32_t> living) {
  const std::lock_guard lock{recorded_->mutex};
  std::erase_if(recorded_->rows.units, [&](const auto& row) {
    const UnitKey& unit = row.second;
    return unit.task == task && unit.life <= to && std::find(living.begin(), living.end(), unit.life) == living.end();
  });
  return true;
}

}  // namespace canary::detail
