// router.hpp: bytes in, Decision out. Layer core.
// One acquire load, one hash, one table read; never allocates, never waits, cannot fail.
//
// Readers call route() from any thread. Changes (task, configure, set_split) are serialised inside and publish a new
// snapshot; a thread in the middle of a decision finishes it on the snapshot it has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include <boost/container/small_vector.hpp>

#include "canary/core/hash.hpp"
#include "canary/core/publish.hpp"
#include "canary/core/task_state.hpp"

namespace canary {

/// A version as why and simulate show it.
struct VersionName {
  std::string_view id;
  std::string_view model;
};

/// A version in a stored split: what its partition calls it, and what decisions say.
struct StoredVersion {
  Owner owner = default_owner;
  std::string_view id;
  std::string_view model;
  bool watched = false;  ///< compared with another: its decisions say so, and an engine records who was assigned to it
};

/// A task's split as a store keeps it.
struct StoredSplit {
  const Partition& partition;
  std::span<const StoredVersion> versions;  ///< every owner of the partition but the default; others may be there too
  std::uint32_t revision = 0;
  Owner forced = default_owner;  ///< the listed version that the forced model stands for; the default: none does
  bool default_watched = false;  ///< as StoredVersion::watched
  bool tripped = false;  ///< not as the store has it: this process took a version's part away; all decisions say so
};

template <class Atomics>
class BasicReader;

/// Decides which version answers a request.
/// Cost    a page of 2.6 KB copied per change; 16 bytes and 32 a version per task. A thread's first read attaches it: the
/// C library may take its loader's lock and allocate once for the exit hook.
template <class Atomics = StdAtomics>
class BasicRouter {
 public:
  using Reader = BasicReader<Atomics>;

  BasicRouter() : publication_{first_snapshot(), dispose} {}
  BasicRouter(const BasicRouter&) = delete;
  BasicRouter& operator=(const BasicRouter&) = delete;
  /// No thread may be routing or hold a Reader; decisions end with their router.
  ~BasicRouter();

  // --- requests ------------------------------------------------------------------------------------------------------

  /// Picks the version that serves `key`.
  /// Input   any bytes; the same key keeps its version while weights stand still.
  /// Output  always a Decision; reason() says why.
  /// Errors  none; a task with nothing to choose from answers with its default, an unknown one with an empty model.
  /// Cost    wait-free between changes, O(1) in the number of versions.
  /// Source  docs/decisions/0003-partition.md; figures in bench/results/
  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::string_view key) const noexcept {
    return decide(task, point_of(key, task.seed()));
  }
  /// As above for a number, which hashes as its 8 little-endian bytes.
  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::uint64_t key) const noexcept {
    return decide(task, point_of(key, task.seed()));
  }
  /// As above without a key: drawn at random for each request, in proportion to the weights.
  [[nodiscard]] Decision route(Task task) const noexcept { return decide(task, random_point()); }

  /// Routes keys[i] into decisions[i], as many as both have; one snapshot serves the whole batch.
  void route_many(Task task, std::span<const std::string_view> keys, std::span<Decision> decisions) const noexcept {
    publication_.read([=](const detail::Snapshot& now) { many(now.view(task.index()), task.seed(), keys, decisions); });
  }
  void route_many(Task task, std::span<const std::uint64_t> keys, std::span<Decision> decisions) const noexcept {
    publication_.read([=](const detail::Snapshot& now) { many(now.view(task.index()), task.seed(), keys, decisions); });
  }

  /// The decision for a point that is known already.
  [[nodiscard, gnu::always_inline]] Decision decide(Task task, Point point) const noexcept {
    return publication_.read(
        [](const detail::Snapshot& now, TaskIndex index, Point at)
            __attribute__((always_inline)) { return now.view(index).decide(at); },
        task.index(), point);
  }

  /// A reader for callers who own their threads: it skips the thread-local look-up.
  [[nodiscard]] Reader reader() const noexcept { return Reader{*this}; }

  // --- changes -------------------------------------------------------------------------------------------------------

  /// Finds the task, or adds it with these options; for a task that is there they are left alone (see configure()).
  /// Errors  an empty Task for a name outside [A-Za-z0-9_.-]{1,128}, and when nothing more fits; it routes to fallback.
  /// Cost    a few microseconds; once, at start-up.
  [[nodiscard]] Task task(std::string_view name, const TaskOptions& options = {}) noexcept;

  /// Finds the task; an empty one if there is none.
  [[nodiscard]] Task find(std::string_view name) const noexcept;

  /// Sets a task's default and forced model; empty means none. The salt stays: a different one is refused. The revision
  /// stays too: it counts changes of the split.
  Errc configure(Task task, const TaskOptions& options) noexcept;

  /// Gives the task's versions these shares and moves the fewest keys from what stood before. Versions left out go
  /// to 0; what the shares leave over goes to the task's default.
  /// Errors  see Errc; nothing has changed then.
  /// Cost    microseconds for a few versions, milliseconds at hundreds, tens of them and more at a thousand.
  SplitResult set_split(Task task, std::span<const VersionShare> shares) noexcept;
  SplitResult set_split(Task task, std::initializer_list<VersionShare> shares) noexcept {
    return set_split(task, std::span{shares.begin(), shares.size()});
  }

  /// Gives the task the very partition that was stored, at its revision, whatever stood before; or, of a process that
  /// tripped, one that it made of it. Decisions of such a split say `tripped` and are not watched, whoever they name.
  /// Output  points_moved and points_minimum stay 0: they belong to the change that made the partition.
  /// Errors  see Errc; nothing has changed then.
  SplitResult load_split(Task task, const StoredSplit& stored) noexcept;

  // --- looking -------------------------------------------------------------------------------------------------------

  /// A copy of the task's partition; of an unknown task, the untouched ring. May throw std::bad_alloc.
  [[nodiscard]] Partition partition(Task task) const;

  /// The name behind an owner in the task's partition; empty for one it never had.
  [[nodiscard]] VersionName version(Task task, Owner owner) const noexcept;

  [[nodiscard]] std::uint32_t revision(Task task) const noexcept;
  [[nodiscard]] std::size_t task_count() const noexcept;

 private:
  template <class>
  friend class BasicReader;

  using Wanted = boost::container::small_vector<WantedShare, 8>;

  struct RetiredPage {
    detail::Page* page;
    std::uint64_t retired;  ///< sequence of the first snapshot without it
  };

  static void dispose(detail::Snapshot* snapshot) noexcept { detail::Snapshot::dispose(snapshot); }
  static detail::Snapshot* first_snapshot();
  static Point random_point() noexcept;

  template <class Key>
  static void many(const detail::TaskView& view, std::uint64_t seed, std::span<const Key> keys,
                   std::span<Decision> decisions) noexcept;

  [[nodiscard]] detail::TaskState* state_of(Task task) noexcept;
  [[nodiscard]] const detail::TaskState* state_of(Task task) const noexcept {
    return const_cast<BasicRouter*>(this)->state_of(task);
  }

  // The writer's side: change_*() computes everything that may fail, publishes, then commits to `state`.
  template <class Change>
  static Errc guarded(Change change) noexcept;
  Errc add_task(std::string_view name, const TaskOptions& options, Task& added);
  Errc change_options(detail::TaskState& state, const TaskOptions& options);
  Errc change_split(detail::TaskState& state, std::span<const VersionShare> shares, SplitResult& result);
  Errc change_stored(detail::TaskState& state, const StoredSplit& stored);
  Errc renumber(detail::TaskState& state, const StoredSplit& stored, Partition& renumbered);
  Errc resolve(const detail::TaskState& state, std::span<const VersionShare> shares, Wanted& wanted);
  [[nodiscard]] detail::Version name_version(const detail::TaskState& state, const VersionShare& share);
  void set_options(detail::TaskState& state, const TaskOptions& options);
  Errc write_records(detail::TaskState& state);
  Errc publish(const detail::TaskState& state, const Partition& partition, std::uint32_t task_count);
  Errc publish_entry(const detail::EntryChange& change, std::uint32_t task_count);
  void free_pages() noexcept;

  Publication<detail::Snapshot, Atomics> publication_;
  boost::container::vector<detail::TaskState> tasks_;
  detail::NameIndex names_;
  detail::TextArena texts_;
  detail::RecordStore records_;
  boost::container::vector<RetiredPage> retired_pages_;
};

/// The router on the standard library's atomics.
using Router = BasicRouter<>;

/// A thread's own way into a router; see BasicRouter::reader(). One thread at a time uses it, and it goes first.
template <class Atomics>
class BasicReader {
 public:
  explicit BasicReader(const BasicRouter<Atomics>& router) noexcept : reader_{router.publication_} {}

  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::string_view key) noexcept {
    return decide(task, point_of(key, task.seed()));
  }
  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::uint64_t key) noexcept {
    return decide(task, point_of(key, task.seed()));
  }
  [[nodiscard]] Decision route(Task task) noexcept { return decide(task, BasicRouter<Atomics>::random_point()); }

  [[nodiscard, gnu::always_inline]] Decision decide(Task task, Point point) noexcept {
    return reader_.read(
        [](const detail::Snapshot& now, TaskIndex index, Point at)
            __attribute__((always_inline)) { return now.view(index).decide(at); },
        task.index(), point);
  }

 private:
  typename Publication<detail::Snapshot, Atomics>::Reader reader_;
};

using Reader = BasicReader<StdAtomics>;

}  // namespace canary

#include "canary/core/router_publish.hpp"
#include "canary/core/router_writer.hpp"
