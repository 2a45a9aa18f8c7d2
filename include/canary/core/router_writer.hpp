// router_writer.hpp: how a router changes. Layer core; included by router.hpp, which documents the calls.
// Every change computes all that may fail, publishes, and only then commits to the writer's state.
#pragma once

#include <cstdlib>

#include "canary/core/router.hpp"

namespace canary {
namespace detail {

[[noreturn]] inline void no_memory() {
#if defined(__cpp_exceptions)
  throw std::bad_alloc{};
#else
  std::abort();
#endif
}

/// splitmix64's finisher (Steele, Lea, Flood 2014).
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
  x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
  return x ^ x >> 31;
}

inline constexpr std::size_t longest_text = 0xFFFF;  // sizes in a VersionRecord are 16 bits

[[nodiscard]] constexpr Errc check_options(const TaskOptions& options) noexcept {
  const bool fits = options.default_model.size() <= longest_text && options.forced_model.size() <= longest_text;
  return fits ? Errc::ok : Errc::invalid_version;
}

[[nodiscard]] inline Errc check_shares(std::span<const VersionShare> shares) noexcept {
  if (shares.size() > max_shares) return Errc::too_many_versions;
  std::uint64_t sum = 0;
  for (const VersionShare& share : shares) {
    if (share.model.empty() || share.model.size() > longest_text || share.id.size() > longest_text)
      return Errc::invalid_version;
    sum += share.weight_ppm;
  }
  return sum <= total_ppm ? Errc::ok : Errc::over_total;
}

/// True for the ids that no version may have: the task's default and its override go by them.
[[nodiscard]] constexpr bool is_reserved(std::string_view task, std::string_view id) noexcept {
  if (id.substr(0, task.size()) != task) return false;
  return id.substr(task.size()) == "@default" || id.substr(task.size()) == "@forced";
}

[[nodiscard]] inline VersionRecord make_record(TaskIndex task, Version version, Owner owner, Reason reason) noexcept {
  return {version.model.data(),
          version.id.data(),
          static_cast<std::uint32_t>(task),
          static_cast<std::uint16_t>(version.model.size()),
          static_cast<std::uint16_t>(version.id.size()),
          owner,
          reason};
}

/// Puts a task and the texts back as they were unless the change went through.
class Undo {
 public:
  Undo(TaskState& state, TextArena& texts)
      : state_{&state},
        texts_{texts},
        mark_{texts.mark()},
        default_model_{state.default_model},
        forced_model_{state.forced_model},
        forced_id_{state.forced_id},
        records_{state.records},
        revision_{state.revision},
        had_split_{state.split != nullptr},
        known_{had_split_ ? state.split->versions.size() : 0} {}
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() {
    if (state_ == nullptr) return;
    state_->default_model = default_model_;
    state_->forced_model = forced_model_;
    state_->forced_id = forced_id_;
    state_->records = records_;
    state_->revision = revision_;
    if (had_split_)
      state_->split->forget_after(known_);
    else
      state_->split.reset();
    texts_.rewind(mark_);
  }
  void keep() noexcept { state_ = nullptr; }

 private:
  TaskState* state_;
  TextArena& texts_;
  TextArena::Mark mark_;
  std::string_view default_model_;
  std::string_view forced_model_;
  std::string_view forced_id_;
  RecordRange records_;
  std::uint32_t revision_;
  bool had_split_;
  std::size_t known_;
};

}  // namespace detail

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
  if (!share.id.empty()) return {texts_.keep(share.id), model};
  for (std::size_t number = state.split->versions.size() + 1;; ++number) {
    char digits[24];
    char* at = std::end(digits);
    for (std::size_t rest = number; rest != 0; rest /= 10) *--at = static_cast<char>('0' + rest % 10);
    *--at = '@';
    const std::string_view id = texts_.keep(state.name, {at, static_cast<std::size_t>(std::end(digits) - at)});
    if (!state.split->by_id.contains(id)) return {id, model};  // else the caller has named another version so
  }
}

/// Brings the task's records in line with its names. Records that readers may see are never written: when one of those
/// would change, or room is short, all move to a new range.
template <class Atomics>
Errc BasicRouter<Atomics>::write_records(detail::TaskState& state) {
  const auto task = static_cast<TaskIndex>(&state - tasks_.data());
  const std::uint32_t needed = state.records_needed();
  boost::container::small_vector<VersionRecord, 8> records;
  records.reserve(needed);
  records.push_back(
      detail::make_record(task, {state.default_id, state.default_model}, default_owner, Reason::fallback));
  if (needed > detail::forced_place) {
    detail::Version forced{state.forced_id, state.forced_model};
    Owner owner = default_owner;
    if (state.split && !state.forced_model.empty()) owner = state.split->find({.model = state.forced_model});
    if (owner != default_owner) forced = state.split->versions[owner - 1u];
    records.push_back(detail::make_record(task, forced, owner, Reason::forced));
  }
  if (state.split) {
    const Reason reason = state.default_model.empty() ? Reason::fallback : Reason::split;
    records.push_back(detail::make_record(task, {state.default_id, state.default_model}, default_owner, reason));
    Owner owner = default_owner;
    for (const detail::Version& version : state.split->versions)
      records.push_back(detail::make_record(task, version, ++owner, Reason::split));
  }
  bool fits = needed <= state.records.capacity;
  for (std::uint32_t i = 0; fits && i != state.records.written; ++i)
    fits = records[i] == records_.at(state.records.base + i);
  detail::RecordRange range = state.records;
  if (!fits) {
    range = records_.allocate(std::bit_ceil(needed));
    if (range.capacity == 0) return Errc::full;
  }
  for (; range.written != needed; ++range.written) records_.at(range.base + range.written) = records[range.written];
  state.records = range;
  return Errc::ok;
}

template <class Atomics>
Errc BasicRouter<Atomics>::publish(const detail::TaskState& state, const Partition& partition,
                                   std::uint32_t task_count) {
  const auto all = [](std::uint16_t place) { return Column{0, {place, place}}; };
  const auto shares = partition.shares();
  const bool serves_a_version = shares.size() > 1 || shares[0].owner != default_owner;
  AliasTable table;
  if (!state.forced_model.empty())
    table.cells.push_back(all(detail::forced_place));
  else if (!serves_a_version)
    table.cells.push_back(all(detail::fallback_place));
  else
    table = compile(partition, detail::version_offset);
  const auto log2 = static_cast<std::uint32_t>(table.columns_log2);
  const detail::Entry entry{table.cells[0], state.records.base << detail::Entry::log2_bits | log2, state.revision};
  const auto index = static_cast<std::uint32_t>(&state - tasks_.data());
  const auto cells = log2 == 0 ? 0u : static_cast<std::uint32_t>(table.cells.size());
  return publish_entry({index, entry, table.cells.data(), cells}, task_count);
}

template <class Atomics>
Errc BasicRouter<Atomics>::publish_entry(const detail::EntryChange& change, std::uint32_t task_count) {
  publication_.prepare();
  retired_pages_.reserve(retired_pages_.size() + 1);
  const detail::Snapshot& now = publication_.writers();
  const std::uint32_t place = change.index >> detail::Page::log2_size;
  const detail::Page* old = place < now.page_count ? now.pages()[place] : nullptr;
  detail::Snapshot* next = detail::Snapshot::make(std::max(now.page_count, place + 1));
  if (next == nullptr) return Errc::out_of_memory;
  detail::Page* page = detail::copy_page(old, change);
  if (page == nullptr) {
    detail::Snapshot::dispose(next);
    return Errc::out_of_memory;
  }
  std::copy_n(now.pages(), now.page_count, next->pages());
  next->pages()[place] = page;
  next->task_count = task_count;
  next->record_blocks = records_.blocks();
  next->sequence = page->born = now.sequence + 1;
  const std::uint64_t sequence = next->sequence;
  publication_.publish(next);
  if (old != nullptr) retired_pages_.push_back({const_cast<detail::Page*>(old), sequence});
  free_pages();
  return Errc::ok;
}

/// Frees every replaced page that no living snapshot holds. A stopped reader keeps only its own snapshot's pages.
template <class Atomics>
void BasicRouter<Atomics>::free_pages() noexcept {
  const auto in_use = [this](const RetiredPage& old) {
    bool used = false;
    publication_.for_each_alive([&](const detail::Snapshot& alive) {
      used = used || (old.page->born <= alive.sequence && alive.sequence < old.retired);
    });
    return used;
  };
  auto kept = retired_pages_.begin();
  for (const RetiredPage& old : retired_pages_) {
    if (in_use(old))
      *kept++ = old;
    else
      detail::Page::dispose(old.page);
  }
  retired_pages_.erase(kept, retired_pages_.end());
}

}  // namespace canary
