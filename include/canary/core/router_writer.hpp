// router_writer.hpp: how a router changes. Layer core; included by router.hpp, which documents the calls.
// Every change computes all that may fail, publishes, and only then commits to the writer's state.
#pragma once

#include "canary/core/router.hpp"
#include "canary/core/router_change.hpp"

namespace canary {

template <class Atomics>
BasicRouter<Atomics>::~BasicRouter() {
  const detail::Snapshot& last = publication_.writers();
  for (std::uint32_t i = 0; i != last.page_count; ++i)
    detail::Page::dispose(const_cast<detail::Page*>(last.pages()[i]));
  for (const RetiredPage& old : retired_pages_) detail::Page::dispose(old.page);
}

template <class Atomics>
detail::Snapshot* BasicRouter<Atomics>::first_snapshot() {
  detail::Snapshot* snapshot = detail::Snapshot::make(0);
  if (snapshot == nullptr) detail::no_memory();
  return snapshot;
}

/// A Weyl sequence through splitmix64's finisher; a forked child draws numbers of its own.
template <class Atomics>
Point BasicRouter<Atomics>::random_point() noexcept {
  std::uint64_t& state = detail::ThreadCache<Atomics>::local().random;
  if (state == 0) [[unlikely]]
    state = detail::mix(detail::fresh_seed(&state));
  state += 0x9E37'79B9'7F4A'7C15;
  return static_cast<Point>(detail::mix(state) >> 32);
}

template <class Atomics>
template <class Key>
void BasicRouter<Atomics>::many(const detail::TaskView& view, std::uint64_t seed, std::span<const Key> keys,
                                std::span<Decision> decisions) noexcept {
  // Three passes over a few keys each: their bytes are fetched while others hash, their columns while others are
  // chosen.
  constexpr std::size_t batch = 16;
  const std::size_t count = std::min(keys.size(), decisions.size());
  Point points[batch];
  for (std::size_t begin = 0; begin < count; begin += batch) {
    const std::size_t size = std::min(batch, count - begin);
    if constexpr (std::is_same_v<Key, std::string_view>)
      for (std::size_t i = begin + batch; i < std::min(begin + 2 * batch, count); ++i)
        __builtin_prefetch(keys[i].data());
    for (std::size_t i = 0; i != size; ++i) {
      points[i] = point_of(keys[begin + i], seed);
      view.prefetch(points[i]);
    }
    for (std::size_t i = 0; i != size; ++i) decisions[begin + i] = view.decide(points[i]);
  }
}

template <class Atomics>
template <class Change>
Errc BasicRouter<Atomics>::guarded(Change change) noexcept {
#if defined(__cpp_exceptions)
  try {
    return change();
  } catch (...) {
    return Errc::out_of_memory;  // nothing else throws in here
  }
#else
  return change();
#endif
}

template <class Atomics>
Task BasicRouter<Atomics>::task(std::string_view name, const TaskOptions& options) noexcept {
  const auto lock = publication_.lock();
  const std::size_t at = names_.find(name, tasks_);
  if (at != tasks_.size()) return {static_cast<TaskIndex>(at), tasks_[at].seed};
  Task added;
  guarded([&] { return add_task(name, options, added); });
  return added;
}

template <class Atomics>
Task BasicRouter<Atomics>::find(std::string_view name) const noexcept {
  const auto lock = publication_.lock();
  const std::size_t at = names_.find(name, tasks_);
  return at == tasks_.size() ? Task{} : Task{static_cast<TaskIndex>(at), tasks_[at].seed};
}

template <class Atomics>
Errc BasicRouter<Atomics>::configure(Task task, const TaskOptions& options) noexcept {
  const auto lock = publication_.lock();
  detail::TaskState* state = state_of(task);
  if (state == nullptr) return Errc::unknown_task;
  return guarded([&] { return change_options(*state, options); });
}

template <class Atomics>
SplitResult BasicRouter<Atomics>::set_split(Task task, std::span<const VersionShare> shares) noexcept {
  SplitResult result;
  const auto lock = publication_.lock();
  detail::TaskState* state = state_of(task);
  result.error = state == nullptr ? Errc::unknown_task : guarded([&] { return change_split(*state, shares, result); });
  return result;
}

template <class Atomics>
SplitResult BasicRouter<Atomics>::load_split(Task task, const StoredSplit& stored) noexcept {
  SplitResult result;
  const auto lock = publication_.lock();
  detail::TaskState* state = state_of(task);
  result.error = state == nullptr ? Errc::unknown_task : guarded([&] { return change_stored(*state, stored); });
  if (result) result.revision = stored.revision;
  return result;
}

template <class Atomics>
Partition BasicRouter<Atomics>::partition(Task task) const {
  const auto lock = publication_.lock();
  const detail::TaskState* state = state_of(task);
  return state != nullptr && state->split ? state->split->partition : Partition{};
}

template <class Atomics>
VersionName BasicRouter<Atomics>::version(Task task, Owner owner) const noexcept {
  const auto lock = publication_.lock();
  const detail::TaskState* state = state_of(task);
  if (state == nullptr) return {};
  if (owner == default_owner) return {state->default_id, state->default_model};
  if (!state->split || owner > state->split->versions.size()) return {};
  const detail::Version& version = state->split->versions[owner - 1u];
  return {version.id, version.model};
}

template <class Atomics>
std::uint32_t BasicRouter<Atomics>::revision(Task task) const noexcept {
  const auto lock = publication_.lock();
  const detail::TaskState* state = state_of(task);
  return state == nullptr ? 0 : state->revision;
}

template <class Atomics>
std::size_t BasicRouter<Atomics>::task_count() const noexcept {
  const auto lock = publication_.lock();
  return tasks_.size();
}

template <class Atomics>
detail::TaskState* BasicRouter<Atomics>::state_of(Task task) noexcept {
  const auto index = static_cast<std::size_t>(task.index());
  // The seed tells most handles of other routers.
  return index < tasks_.size() && tasks_[index].seed == task.seed() ? &tasks_[index] : nullptr;
}

template <class Atomics>
Errc BasicRouter<Atomics>::add_task(std::string_view name, const TaskOptions& options, Task& added) {
  if (!detail::is_task_name(name)) return Errc::invalid_name;
  if (const Errc error = detail::check_options(options); error != Errc::ok) return error;
  const auto index = static_cast<std::uint32_t>(tasks_.size());
  if (index == static_cast<std::uint32_t>(TaskIndex::none)) return Errc::full;
  names_.reserve_one(tasks_);
  if (tasks_.size() == tasks_.capacity()) tasks_.reserve(std::max<std::size_t>(16, tasks_.size() * 2));

  struct Undo {
    BasicRouter* router;
    detail::TextArena::Mark mark = router->texts_.mark();
    ~Undo() {
      if (router == nullptr) return;
      router->tasks_.pop_back();
      router->texts_.rewind(mark);
    }
  };
  tasks_.emplace_back();
  Undo undo{this};
  detail::TaskState& state = tasks_.back();
  state.name = texts_.keep(name);
  state.default_id = texts_.keep(name, "@default");
  state.seed = seed_of(options.salt.empty() ? name : options.salt);
  set_options(state, options);
  if (const Errc error = write_records(state); error != Errc::ok) return error;
  if (const Errc error = publish(state, Partition{}, index + 1); error != Errc::ok) return error;
  undo.router = nullptr;
  names_.insert(state.name, index);
  added = Task{static_cast<TaskIndex>(index), state.seed};
  return Errc::ok;
}

template <class Atomics>
void BasicRouter<Atomics>::set_options(detail::TaskState& state, const TaskOptions& options) {
  if (state.default_model != options.default_model) state.default_model = texts_.keep(options.default_model);
  if (state.forced_model != options.forced_model) state.forced_model = texts_.keep(options.forced_model);
  if (!state.forced_model.empty() && state.forced_id.empty()) state.forced_id = texts_.keep(state.name, "@forced");
}

template <class Atomics>
Errc BasicRouter<Atomics>::change_options(detail::TaskState& state, const TaskOptions& options) {
  if (const Errc error = detail::check_options(options); error != Errc::ok) return error;
  if (!options.salt.empty() && seed_of(options.salt) != state.seed) return Errc::salt_fixed;
  detail::Undo undo{state, texts_};
  set_options(state, options);
  if (const Errc error = write_records(state); error != Errc::ok) return error;
  const std::uint32_t tasks = publication_.writers().task_count;
  const Errc error = publish(state, state.split ? state.split->partition : Partition{}, tasks);
  if (error == Errc::ok) undo.keep();
  return error;
}

template <class Atomics>
Errc BasicRouter<Atomics>::change_split(detail::TaskState& state, std::span<const VersionShare> shares,
                                        SplitResult& result) {
  if (const Errc error = detail::check_shares(shares); error != Errc::ok) return error;
  detail::Undo undo{state, texts_};
  if (!state.split) state.split = std::make_unique<detail::Split>();
  state.stored = false;
  state.tripped = false;
  state.default_watched = false;
  for (detail::Version& version : state.split->versions) version.watched = false;
  Wanted wanted;
  if (const Errc error = resolve(state, shares, wanted); error != Errc::ok) return error;
  Rebalanced to = rebalance(state.split->partition, {wanted.data(), wanted.size()});
  if (const Errc error = write_records(state); error != Errc::ok) return error;
  ++state.revision;
  if (const Errc error = publish(state, to.partition, publication_.writers().task_count); error != Errc::ok)
    return error;
  undo.keep();
  state.split->partition = std::move(to.partition);
  result.revision = state.revision;
  result.points_moved = to.points_moved;
  result.points_minimum = to.points_minimum;
  return Errc::ok;
}

template <class Atomics>
Errc BasicRouter<Atomics>::change_stored(detail::TaskState& state, const StoredSplit& stored) {
  detail::Undo undo{state, texts_};
  if (!state.split) state.split = std::make_unique<detail::Split>();
  Partition partition;
  if (const Errc error = renumber(state, stored, partition); error != Errc::ok) return error;
  if (const Errc error = write_records(state); error != Errc::ok) return error;
  state.revision = stored.revision;
  if (const Errc error = publish(state, partition, publication_.writers().task_count); error != Errc::ok) return error;
  undo.keep();
  state.split->partition = std::move(partition);
  return Errc::ok;
}

/// A stored partition in this router's owners, which count versions in the order they came.
template <class Atomics>
Errc BasicRouter<Atomics>::renumber(detail::TaskState& state, const StoredSplit& stored, Partition& renumbered) {
  detail::Split& split = *state.split;
  boost::container::flat_map<Owner, Owner> mine;
  mine.emplace(default_owner, default_owner);
  for (const StoredVersion& version : stored.versions) {
    const bool fits = !version.model.empty() && !version.id.empty() && version.owner != default_owner &&
                      version.model.size() <= detail::longest_text && version.id.size() <= detail::longest_text;
    if (!fits || detail::is_reserved(state.name, version.id)) return Errc::invalid_version;
    Owner owner = split.find_exactly({version.id, version.model});
    if (owner == default_owner) {
      if (split.versions.size() == max_versions) return Errc::too_many_versions;
      owner = split.add({texts_.keep(version.id), texts_.keep(version.model), version.owner});
    }
    if (!mine.emplace(version.owner, owner).second) return Errc::duplicate_version;
  }
  Partition::Runs runs(stored.partition.runs().begin(), stored.partition.runs().end());
  Partition::Shares shares(stored.partition.shares().begin(), stored.partition.shares().end());
  const auto translate = [&mine](Owner& owner) {
    const auto at = mine.find(owner);
    if (at == mine.end()) return false;
    owner = at->second;
    return true;
  };
  if (shares.size() > max_shares + 1) return Errc::too_many_versions;
  for (Run& run : runs)
    if (!translate(run.owner)) return Errc::invalid_partition;
  for (OwnerShare& share : shares)
    if (!translate(share.owner)) return Errc::invalid_partition;
  std::sort(shares.begin(), shares.end(), [](const OwnerShare& a, const OwnerShare& b) { return a.owner < b.owner; });
  state.stored = true;
  state.forced_owner = default_owner;
  if (const auto forced = mine.find(stored.forced); forced != mine.end()) state.forced_owner = forced->second;
  renumbered = Partition{std::move(runs), std::move(shares)};
  if (!renumbered.valid()) return Errc::invalid_partition;
  for (detail::Version& version : split.versions) version.watched = false;
  for (const StoredVersion& version : stored.versions)
    split.versions[mine.find(version.owner)->second - 1u].watched = version.watched;
  state.default_watched = stored.default_watched;
  state.tripped = stored.tripped;
  return Errc::ok;
}

/// Shares to owners; versions never seen before are added.
template <class Atomics>
Errc BasicRouter<Atomics>::resolve(const detail::TaskState& state, std::span<const VersionShare> shares,
                                   Wanted& wanted) {
  detail::Split& split = *state.split;
  for (const VersionShare& share : shares) {
    if (detail::is_reserved(state.name, share.id)) return Errc::invalid_version;
    Owner owner = split.find(share);
    if (owner == default_owner) {
      if (split.versions.size() == max_versions) return Errc::too_many_versions;
      owner = split.add(name_version(state, share));
    } else if (split.versions[owner - 1u].model != share.model) {
      return Errc::version_mismatch;
    }
    wanted.push_back({owner, share.weight_ppm});
  }
  std::sort(wanted.begin(), wanted.end(), [](const WantedShare& a, const WantedShare& b) { return a.owner < b.owner; });
  const auto twin = std::adjacent_find(wanted.begin(), wanted.end(),
                                       [](const WantedShare& a, const WantedShare& b) { return a.owner == b.owner; });
  return twin == wanted.end() ? Errc::ok : Errc::duplicate_version;
}

template <class Atomics>
detail::Version BasicRouter<Atomics>::name_version(const detail::TaskState& state, const VersionShare& share) {
  const std::string_view model = texts_.keep(share.model);
  const auto own = static_cast<std::uint16_t>(state.split->versions.size() + 1);
  if (!share.id.empty()) return {texts_.keep(share.id), model, own};
  for (std::size_t number = state.split->versions.size() + 1;; ++number) {
    char digits[24];
    char* at = std::end(digits);
    for (std::size_t rest = number; rest != 0; rest /= 10) *--at = static_cast<char>('0' + rest % 10);
    *--at = '@';
    const std::string_view id = texts_.keep(state.name, {at, static_cast<std::size_t>(std::end(digits) - at)});
    if (!state.split->by_id.contains(id)) return {id, model, own};  // else the caller has named another version so
  }
}

}  // namespace canary
