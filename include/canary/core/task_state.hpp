// task_state.hpp: what a router's writer knows of its tasks. Layer core, writer's side; readers see snapshots only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string_view>

#include <boost/container/flat_map.hpp>
#include <boost/container/vector.hpp>

#include "canary/core/hash.hpp"
#include "canary/core/partition.hpp"
#include "canary/core/records.hpp"

namespace canary::detail {

/// A version as its task knows it; its owner is its position + 1.
struct Version {
  std::string_view id;
  std::string_view model;
  std::uint16_t number = 0;  ///< in the store; its owner where there is none
  bool watched = false;
};

/// The versions and the partition of a task that has had a split.
struct Split {
  Partition partition;
  boost::container::vector<Version> versions;
  boost::container::flat_map<std::string_view, Owner> by_id;
  boost::container::flat_map<std::string_view, Owner> by_model;  ///< the first version of each model

  /// The version that a share names; default_owner when it is new.
  [[nodiscard]] Owner find(const VersionShare& share) const noexcept {
    const auto& names = share.id.empty() ? by_model : by_id;
    const auto at = names.find(share.id.empty() ? share.model : share.id);
    return at == names.end() ? default_owner : at->second;
  }

  /// The version of this id and this model. A store that was restored gives an id out again, to another model: then both
  /// are here, and `by_id` has the first.
  [[nodiscard]] Owner find_exactly(const Version& wanted) const noexcept {
    const auto at = by_id.find(wanted.id);
    if (at == by_id.end()) return default_owner;
    if (versions[at->second - 1u].model == wanted.model) return at->second;
    for (std::size_t i = versions.size(); i-- != 0;)
      if (versions[i].id == wanted.id && versions[i].model == wanted.model) return static_cast<Owner>(i + 1);
    return default_owner;
  }

  Owner add(Version version) {
    versions.push_back(version);  // first: forget_after() counts these
    const auto owner = static_cast<Owner>(versions.size());
    by_id.emplace(version.id, owner);
    by_model.emplace(version.model, owner);
    return owner;
  }

  /// Forgets the versions added after there were `count`.
  void forget_after(std::size_t count) noexcept {
    if (versions.size() == count) return;
    const auto newer = [count](const auto& entry) { return entry.second > count; };
    by_id.erase(std::remove_if(by_id.begin(), by_id.end(), newer), by_id.end());
    by_model.erase(std::remove_if(by_model.begin(), by_model.end(), newer), by_model.end());
    versions.erase(versions.begin() + static_cast<std::ptrdiff_t>(count), versions.end());
  }
};

/// Places in a task's record range before its versions: owner N stands at `version_offset` + N.
enum RecordPlace : std::uint16_t { fallback_place = 0, forced_place = 1, version_offset = 2 };

/// One task.
struct TaskState {
  std::string_view name;
  std::string_view default_model;
  std::string_view forced_model;
  std::string_view default_id;
  std::string_view forced_id;  ///< unless a version of the task has the forced model
  std::uint64_t seed = 0;
  RecordRange records;
  std::uint32_t revision = 0;
  bool stored = false;  ///< the split comes from a store, which knows the version of a forced model too
  bool default_watched = false;
  bool tripped = false;                ///< the split is not the store's: decisions say so
  Owner forced_owner = default_owner;  ///< that version
  std::unique_ptr<Split> split;        // most of a million tasks may never have one

  [[nodiscard]] std::uint32_t records_needed() const noexcept {
    if (split) return version_offset + 1u + static_cast<std::uint32_t>(split->versions.size());
    return forced_model.empty() ? forced_place : version_offset;
  }
};

/// Tasks by name: open addressing over indices.
class NameIndex {
 public:
  /// Position of `name` in `tasks`, or tasks.size().
  template <class Tasks>
  [[nodiscard]] std::size_t find(std::string_view name, const Tasks& tasks) const noexcept {
    if (slots_.empty()) return tasks.size();
    for (std::size_t at = seed_of(name);; ++at) {
      const std::uint32_t slot = slots_[at & (slots_.size() - 1)];
      if (slot == vacant) return tasks.size();
      if (tasks[slot].name == name) return slot;
    }
  }

  /// Makes room for one more. May throw std::bad_alloc; nothing has changed then.
  template <class Tasks>
  void reserve_one(const Tasks& tasks) {
    if ((tasks.size() + 1) * 2 <= slots_.size()) return;
    boost::container::vector<std::uint32_t> bigger(std::max<std::size_t>(16, slots_.size() * 2), vacant);
    slots_.swap(bigger);
    for (std::size_t i = 0; i != tasks.size(); ++i) insert(tasks[i].name, i);
  }

  void insert(std::string_view name, std::size_t index) noexcept {
    std::size_t at = seed_of(name);
    while (slots_[at & (slots_.size() - 1)] != vacant) ++at;
    slots_[at & (slots_.size() - 1)] = static_cast<std::uint32_t>(index);
  }

 private:
  static constexpr std::uint32_t vacant = 0xFFFF'FFFF;
  boost::container::vector<std::uint32_t> slots_;
};

/// True for 1 to 128 of A-Z a-z 0-9 _ . -
[[nodiscard]] constexpr bool is_task_name(std::string_view name) noexcept {
  const auto legal = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), legal);
}

}  // namespace canary::detail
