// splits.hpp: a Config into a Router. Layer control.
// Adds the tasks, compiles their environment overrides in, and gives each the split that its file states. Said again
// after a reload, it touches only what changed: a task that stands as the file says keeps its revision, and a changed
// one moves the fewest keys. A task that left the file keeps what it had, since a router forgets no task.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/core/router.hpp"

namespace canary {

/// What apply() did to one task; tasks that it left alone are not listed.
struct TaskChange {
  std::string task;
  bool added = false;
  bool options_changed = false;  ///< the default or the forced model
  bool split_changed = false;
  SplitResult split = {};  ///< when the split changed
  Errc error = Errc::ok;   ///< salt_fixed, for one: the task stays as it was
};

struct ApplyResult {
  std::vector<TaskChange> changes;  ///< in the order of the configuration
  [[nodiscard]] bool ok() const noexcept {
    return std::all_of(changes.begin(), changes.end(), [](const TaskChange& c) { return c.error == Errc::ok; });
  }
};

/// The model that a task's environment variable forces now; empty when it has none, or it is unset or empty.
template <class Lookup>
[[nodiscard]] std::string_view forced_model(const TaskConfig& task, Lookup&& lookup) {
  if (task.force_env.empty()) return {};
  const char* value = lookup(task.force_env.c_str());
  return value == nullptr ? std::string_view{} : std::string_view{value};
}

/// Makes `router` stand as `config` says; with a database store the shares come from there, and are not touched here.
/// Input   a look-up like std::getenv: const char* by const char*, null when unset.
/// Errors  per task in the result; the other tasks are applied.
template <class Lookup>
ApplyResult apply(const Config& config, Router& router, Lookup&& lookup);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Every version that the task has had, by model; the first of each model stands for it, as in set_split().
[[nodiscard]] inline std::map<std::string_view, Owner> versions_by_model(const Router& router, Task task) {
  std::map<std::string_view, Owner> owners;
  for (std::size_t owner = 1; owner <= max_versions; ++owner) {
    const auto version = router.version(task, static_cast<Owner>(owner));
    if (version.id.empty()) break;
    owners.emplace(version.model, static_cast<Owner>(owner));
  }
  return owners;
}

/// True if the router's split is the one that the file states, down to versions that wait at 0 %.
[[nodiscard]] inline bool split_stands(const TaskConfig& wanted, const Router& router, Task task) {
  const std::map<std::string_view, Owner> owners = versions_by_model(router, task);
  const Partition partition = router.partition(task);
  const auto shares = partition.shares();
  std::size_t served = 0;
  for (const StaticVersion& version : wanted.versions) {
    const auto known = owners.find(version.model);
    if (known == owners.end()) return false;
    const auto share = std::lower_bound(shares.begin(), shares.end(), known->second,
                                        [](const OwnerShare& s, Owner owner) { return s.owner < owner; });
    const std::uint32_t ppm = share == shares.end() || share->owner != known->second ? 0 : share->ppm;
    if (ppm != version.weight_ppm) return false;
    served += ppm != 0;
  }
  const auto by_versions = [](const OwnerShare& s) { return s.owner != default_owner; };
  return static_cast<std::size_t>(std::count_if(shares.begin(), shares.end(), by_versions)) == served;
}

/// Brings a task that is there already to its default and forced model.
inline void apply_options(const TaskConfig& wanted, const TaskOptions& options, Router& router, Task task,
                          TaskChange& change) {
  if (seed_of(wanted.salt.empty() ? std::string_view{wanted.name} : wanted.salt) != task.seed()) {
    change.error = Errc::salt_fixed;
    return;
  }
  const Decision any = router.decide(task, 0);
  const std::string_view forced = any.reason() == Reason::forced ? any.model() : std::string_view{};
  if (router.version(task, default_owner).model == options.default_model && forced == options.forced_model) return;
  change.error = router.configure(task, options);
  change.options_changed = change.error == Errc::ok;
}

inline void apply_split(const TaskConfig& wanted, Router& router, Task task, TaskChange& change) {
  if (split_stands(wanted, router, task)) return;
  std::vector<VersionShare> shares;
  shares.reserve(wanted.versions.size());
  for (const StaticVersion& version : wanted.versions) shares.push_back({version.model, version.weight_ppm, {}});
  change.split = router.set_split(task, shares);
  change.error = change.split.error;
  change.split_changed = change.error == Errc::ok;
}

}  // namespace detail

template <class Lookup>
ApplyResult apply(const Config& config, Router& router, Lookup&& lookup) {
  ApplyResult result;
  for (const TaskConfig& wanted : config.tasks) {
    TaskChange change;
    change.task = wanted.name;
    const TaskOptions options{wanted.default_model, wanted.salt, forced_model(wanted, lookup)};
    Task task = router.find(wanted.name);
    if (task) {
      detail::apply_options(wanted, options, router, task, change);
    } else {
      task = router.task(wanted.name, options);
      change.added = static_cast<bool>(task);
      if (!task) change.error = detail::is_task_name(wanted.name) ? Errc::full : Errc::invalid_name;
    }
    if (change.error == Errc::ok && config.store.in_memory()) detail::apply_split(wanted, router, task, change);
    if (change.added || change.options_changed || change.split_changed || change.error != Errc::ok)
      result.changes.push_back(change);
  }
  return result;
}

}  // namespace canary
