// engine_trip.hpp: a process that stops a candidate for itself, before the store agrees and while it is down. Layer engine; a part
// of engine.hpp.
//
// Every split on its way to the router passes here, so that one in which versions are compared can be published once more with a
// candidate's points given to its base: all decisions then say `tripped`, and are no evidence, since the split is no longer the
// one that is known. That lasts until the task has another revision.
//
// What there is to see stands in the lanes. A thread reads them every 50 ms, and the drain thread does before it gives entries
// back, so that each is seen once, whoever comes first:
//
//   (T1) A look reads entries from where the last one ended, under `mutex_`, and by (L4) of lane.hpp sees them whole.
//   (T2) before_release() has taken `mutex_` and read beyond what is about to be released, when the drainer says (L2). So what
//        a look reads was not released when it began, and cannot be while it lasts; by (L1) no writer overwrites it.
//
// So the lanes' words need no other atomics, and a request's thread notices nothing.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"
#include "canary/control/trip.hpp"
#include "canary/control/trip_watch.hpp"
#include "canary/core/recorder.hpp"
#include "canary/core/router.hpp"

namespace canary {

/// A candidate that this process sends nothing to, though the store says that it has a share.
struct Trip {
  std::string task;
  std::string version;         ///< `TASK@N`
  std::uint32_t revision = 0;  ///< of the split that it was stopped in; another one lifts the trip
  TimeUs since_us = 0;
  double log_e = 0;    ///< natural logarithm of the evidence against "no harm beyond the margin"
  std::string reason;  ///< what was compared, and how sure it is
};

/// Publishes splits, and those that are tripped in their place. Calls may come from any thread.
class Tripwire {
 public:
  /// The epoch of a task's revision; nothing if it has none. May throw: it is asked again.
  using EpochOf = std::function<std::optional<OpenedEpoch>(std::string_view, std::uint32_t)>;
  using Told = std::function<void(const Trip&)>;

  explicit Tripwire(Router& router) : router_{router} {}

  /// Gives the router a task's split, or keeps the task tripped where it is the revision that it tripped in.
  /// Input   who is compared in it, and the task's guard.
  SplitResult publish(Task task, std::string_view name, const StoredSplit& split, const Epoch& compared,
                      const GuardConfig& guard);
  /// Revisions mean something else from now on: the store is another. What was seen and what is tripped is forgotten.
  void forget();

  /// Reads this recorder's lanes from now on. Before anybody records; the recorder outlives every look.
  void watch(Recorder& recorder);
  /// The drainer is about to let the writer of a lane have everything before the position.
  void before_release(std::size_t lane, std::uint64_t position);
  /// One look at the lanes: looks up epochs, judges, trips, and then tells. For one thread at a time.
  void look(const EpochOf& epoch_of, const Told& told, TimeUs now_us);

  [[nodiscard]] std::vector<Trip> trips() const;
  /// Names of the tasks that have metrics, and a split in which versions are compared.
  [[nodiscard]] std::set<std::string, std::less<>> compared() const;

 private:
  using Steady = std::chrono::steady_clock;

  /// A split with all that it refers to.
  struct OwnSplit {
    Partition partition;
    std::vector<ServingVersion> versions;
    std::vector<std::string> ids;
    std::vector<bool> watched;
    std::uint32_t revision = 0;
    Owner forced = default_owner;
    bool default_watched = false;
  };
  struct Watched {
    Task task;
    std::string name;
    OwnSplit split;
    Epoch compared;
    bool on = true;  ///< the guard has metrics
    TripWatch seen;
    std::vector<Trip> trips;
    std::vector<std::uint32_t> stopped;  ///< numbers of the trips' versions
  };
  struct Wanted {
    std::uint32_t index = 0;
    std::string name;
    std::uint32_t revision = 0;
  };

  [[nodiscard]] static OwnSplit copy_of(const StoredSplit& split);
  SplitResult load(const Watched& watched);
  void read_lane(std::size_t at);
  [[nodiscard]] std::vector<Wanted> read_lanes();
  void look_up(const std::vector<Wanted>& wanted, const EpochOf& epoch_of);
  void judge(std::uint32_t index, TimeUs now_us, std::vector<Trip>& made);
  bool trip(Watched& watched, const Overwhelming& found, TimeUs now_us);

  Router& router_;
  mutable std::mutex mutex_;                // guards all but the last
  std::map<std::uint32_t, Watched> tasks_;  // those in which versions are compared, by index
  Recorder* recorder_ = nullptr;
  std::array<std::uint64_t, Recorder::max_lanes> positions_{};  // everything before was seen, or need not be
  Steady::time_point next_look_up_{};                           // of the looking thread
};

/// Looks every so often, on a thread of its own.
class TripThread {
 public:
  /// Errors  std::system_error without a thread.
  TripThread(Tripwire& wire, Tripwire::EpochOf epoch_of, Tripwire::Told told);
  TripThread(const TripThread&) = delete;
  TripThread& operator=(const TripThread&) = delete;
  ~TripThread();

 private:
  void run();

  Tripwire& wire_;
  Tripwire::EpochOf epoch_of_;
  Tripwire::Told told_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

inline constexpr std::chrono::milliseconds trip_look_every{50};  // 20 looks a second see harm before people do
inline constexpr std::chrono::milliseconds trip_look_most{1'000};
inline constexpr std::chrono::seconds trip_look_up_pause{1};  // after a look-up that failed

/// True if the epoch is the very comparison that this split makes: else a program that keeps none has changed it since.
[[nodiscard]] inline bool same_comparison(const Epoch& epoch, const Epoch& compared) {
  return epoch.baseline == compared.baseline && epoch.baseline_points == compared.baseline_points &&
         std::equal(
             epoch.candidates.begin(), epoch.candidates.end(), compared.candidates.begin(), compared.candidates.end(),
             [](const Candidate& a, const Candidate& b) { return a.number == b.number && a.points == b.points; });
}

}  // namespace detail

inline SplitResult Tripwire::publish(Task task, std::string_view name, const StoredSplit& split, const Epoch& compared,
                                     const GuardConfig& guard) {
  const std::lock_guard lock{mutex_};
  const auto index = static_cast<std::uint32_t>(task.index());
  const auto known = tasks_.find(index);
  const bool again = known != tasks_.end() && known->second.split.revision == split.revision;
  const bool tripped = again && !known->second.trips.empty();
  if (!tripped && (compared.candidates.empty() || guard.metrics.empty())) {
    const SplitResult result = router_.load_split(task, split);
    if (result && known != tasks_.end()) tasks_.erase(known);
    return result;
  }
  Watched made{.task = task,
               .name = std::string{name},
               .split = copy_of(split),
               .compared = compared,
               .on = !guard.metrics.empty(),
               .seen = {},
               .trips = {},
               .stopped = {}};
  if (tripped) made.stopped = known->second.stopped;
  const SplitResult result = load(made);
  if (!result) return result;
  if (tripped) made.trips = std::move(known->second.trips);
  if (known != tasks_.end()) made.seen = std::move(known->second.seen);
  made.seen.configure(guard);
  made.seen.expect(split.revision);
  tasks_.insert_or_assign(index, std::move(made));
  return result;
}

inline Tripwire::OwnSplit Tripwire::copy_of(const StoredSplit& split) {
  OwnSplit made{.partition = split.partition,
                .versions = {},
                .ids = {},
                .watched = {},
                .revision = split.revision,
                .forced = split.forced,
                .default_watched = split.default_watched};
  for (const StoredVersion& each : split.versions) {
    made.versions.push_back({each.owner, std::string{each.model}, Status::active});
    made.ids.emplace_back(each.id);
    made.watched.push_back(each.watched);
  }
  return made;
}

inline SplitResult Tripwire::load(const Watched& watched) {
  const OwnSplit& split = watched.split;
  std::vector<StoredVersion> versions;
  versions.reserve(split.versions.size());
  for (std::size_t i = 0; i != split.versions.size(); ++i)
    versions.push_back(
        {static_cast<Owner>(split.versions[i].number), split.ids[i], split.versions[i].model, split.watched[i]});
  const bool tripped = !watched.stopped.empty();
  const Partition partition =
      tripped ? without(split.partition, watched.stopped, watched.compared.baseline) : split.partition;
  return router_.load_split(watched.task,
                            {partition, versions, split.revision, split.forced, split.default_watched, tripped});
}

inline void Tripwire::forget() {
  const std::lock_guard lock{mutex_};
  tasks_.clear();
}

inline void Tripwire::watch(Recorder& recorder) {
  const std::lock_guard lock{mutex_};
  recorder_ = &recorder;
}

inline std::vector<Trip> Tripwire::trips() const {
  const std::lock_guard lock{mutex_};
  std::vector<Trip> all;
  for (const auto& [index, watched] : tasks_) all.insert(all.end(), watched.trips.begin(), watched.trips.end());
  return all;
}

inline std::set<std::string, std::less<>> Tripwire::compared() const {
  const std::lock_guard lock{mutex_};
  std::set<std::string, std::less<>> names;
  for (const auto& [index, watched] : tasks_)
    if (watched.on) names.insert(watched.name);
  return names;
}

// --- looking ---------------------------------------------------------------------------------------------------------

/// Where nothing is compared there is nothing to read.
inline void Tripwire::before_release(std::size_t lane, std::uint64_t position) {
  const std::lock_guard lock{mutex_};  // (T2)
  if (recorder_ != nullptr && !tasks_.empty()) read_lane(lane);
  positions_[lane] = std::max(positions_[lane], position);
}

inline void Tripwire::read_lane(std::size_t at) {
  const auto& lane = recorder_->lane(at);
  // (T1) As many as a ring holds: all that was there when it began, and it ends though the writer goes on.
  positions_[at] = lane.read(positions_[at], lane.mask + 1, [this](const detail::EntryWords& words, bool whole) {
    const Entry entry = detail::unpack(words);
    if (!whole || !entry.watched) return;
    if (const auto found = tasks_.find(entry.task); found != tasks_.end()) found->second.seen.take(entry);
  });
}

/// What must be looked up, too.
inline std::vector<Tripwire::Wanted> Tripwire::read_lanes() {
  std::vector<Wanted> wanted;
  const std::lock_guard lock{mutex_};
  if (recorder_ == nullptr || tasks_.empty()) return wanted;
  for (std::size_t i = 0, end = recorder_->lane_count(); i != end; ++i) read_lane(i);
  for (auto& [index, watched] : tasks_) {
    watched.seen.end_look();
    if (const auto revision = watched.seen.wants()) wanted.push_back({index, watched.name, *revision});
  }
  return wanted;
}

inline void Tripwire::look_up(const std::vector<Wanted>& wanted, const EpochOf& epoch_of) {
  const Steady::time_point start = Steady::now();
  if (start < next_look_up_) return;
  for (const Wanted& each : wanted) {
    std::optional<OpenedEpoch> opened;
    try {
      opened = epoch_of(each.name, each.revision);
    } catch (const std::exception&) {  // status() tells of the store; a wait for it must not keep this from judging
      const Steady::time_point now = Steady::now();
      next_look_up_ = now + std::max<Steady::duration>(detail::trip_look_up_pause, 4 * (now - start));
      return;
    }
    const std::lock_guard lock{mutex_};
    const auto at = tasks_.find(each.index);
    if (at == tasks_.end()) continue;
    Watched& watched = at->second;
    const bool newest = watched.split.revision == each.revision;
    if (newest && opened && !detail::same_comparison(opened->epoch, watched.compared)) opened.reset();
    watched.seen.open(each.revision, std::move(opened));
  }
}

inline void Tripwire::look(const EpochOf& epoch_of, const Told& told, TimeUs now_us) {
  look_up(read_lanes(), epoch_of);
  std::vector<std::uint32_t> indices;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& [index, watched] : tasks_) indices.push_back(index);
  }
  std::vector<Trip> made;
  for (const std::uint32_t index : indices) judge(index, now_us, made);
  for (const Trip& each : made)
    if (told) told(each);
}

/// One task at a time, so that nobody waits for all of them.
inline void Tripwire::judge(std::uint32_t index, TimeUs now_us, std::vector<Trip>& made) {
  const std::lock_guard lock{mutex_};
  const auto at = tasks_.find(index);
  if (at == tasks_.end() || !at->second.on) return;
  for (const Overwhelming& each : at->second.seen.judge())
    if (trip(at->second, each, now_us)) made.push_back(at->second.trips.back());
}

/// False if it was stopped before, or nobody could take its place.
inline bool Tripwire::trip(Watched& watched, const Overwhelming& found, TimeUs now_us) {
  if (std::find(watched.stopped.begin(), watched.stopped.end(), found.number) != watched.stopped.end()) return false;
  if (watched.compared.baseline == 0 && router_.version(watched.task, default_owner).model.empty()) return false;
  watched.stopped.push_back(found.number);
  if (!load(watched)) {
    watched.stopped.pop_back();
    watched.seen.expect(watched.split.revision);  // at the next look
    return false;
  }
  watched.trips.push_back({watched.name, version_id(watched.name, found.number), watched.split.revision, now_us,
                           found.log_e, found.reason});
  return true;
}

// --- the thread ------------------------------------------------------------------------------------------------------

inline TripThread::TripThread(Tripwire& wire, Tripwire::EpochOf epoch_of, Tripwire::Told told)
    : wire_{wire}, epoch_of_{std::move(epoch_of)}, told_{std::move(told)}, thread_{[this] { run(); }} {}

inline TripThread::~TripThread() {
  {
    const std::lock_guard lock{mutex_};
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

inline void TripThread::run() {
  std::unique_lock lock{mutex_};
  using Steady = std::chrono::steady_clock;
  Steady::duration pause = detail::trip_look_every;
  while (!stopped_.wait_for(lock, pause, [this] { return stop_; })) {
    lock.unlock();
    const Steady::time_point start = Steady::now();
    try {
      wire_.look(epoch_of_, told_, Registry::system_time());
      // A twentieth of the time, where there are thousands of tasks.
      const Steady::duration took = Steady::now() - start;
      pause = std::clamp<Steady::duration>(19 * took, detail::trip_look_every, detail::trip_look_most);
    } catch (const std::exception&) {
      pause = detail::trip_look_most;  // out of memory: the next look begins where this one ended
    }
    lock.lock();
  }
}

}  // namespace canary
