// engine_recording.hpp: an engine's recorder, its spool and the threads that bring both into the store. Layer engine; a part of
// engine.hpp.
//
// Two threads: one keeps the time that entries say and lanes for threads to come, every 5 ms; one drains. A store that does
// not answer stops the second alone: entries wait in the lanes, at most spool_mb of them, then are dropped and counted.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "canary/adapters/spool.hpp"
#include "canary/control/config.hpp"
#include "canary/control/drainer.hpp"
#include "canary/control/store.hpp"
#include "canary/core/recorder.hpp"

namespace canary {

/// How recording is doing.
struct RecordingStatus {
  bool on = false;               ///< false without a store: record() keeps nothing
  bool on_disk = false;          ///< what is recorded survives the process
  std::string message;           ///< what is wrong and what to do; empty when all is well
  DrainTotals drained;           ///< since the start
  std::uint64_t dropped = 0;     ///< entries that were not kept, of all tasks, since the start
  std::uint64_t lost_texts = 0;  ///< outcomes kept without their texts
  std::uint64_t invalid = 0;     ///< outcomes kept without a part that made no sense, and feedback not kept for it
  TimeUs contact_us = 0;         ///< last time that everything recorded was in the store
};

struct RecordingOptions {
  std::chrono::milliseconds tick{5};
  bool reachable =
      true;  ///< the store answered a moment ago: the spool may ask it for its node before the first record
  std::function<TimeUs()> clock = [] {
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  };
  /// Told, on the drain thread, that a lane's writer is about to get everything before a position back.
  std::function<void(std::size_t lane, std::uint64_t position)> before_release = [](std::size_t, std::uint64_t) {};
};

/// Everything between record() and the store.
class Recording {
 public:
  /// Input   `store`: its history names the epochs; it outlives this.
  /// Errors  none: where the spool or the store cannot be used, status() says so.
  Recording(const Config& config, Store& store, RecordingOptions options = {});
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  /// Delivers what there is, for as long as the store's time-out; the rest stays in the spool.
  ~Recording();

  [[nodiscard]] Recorder& recorder() noexcept { return recorder_; }

  /// Takes a new configuration. Input: names of the router's tasks from index `first` on, before anything of them is recorded.
  void configure(const Config& config, std::uint32_t first, std::vector<std::string> names);

  /// Waits until everything that was recorded before the call is in the store; false if it is not by then.
  bool flush(std::chrono::milliseconds at_most);

  [[nodiscard]] RecordingStatus status() const;

  /// The newest epoch at or before a revision, from history; nothing where there is none. From any thread.
  /// Errors  StoreError.
  [[nodiscard]] std::optional<OpenedEpoch> epoch_of(std::string_view task, std::uint32_t revision);

 private:
  using Steady = std::chrono::steady_clock;

  /// A spool and what drains it.
  struct Source {
    std::unique_ptr<Spool> spool;
    std::unique_ptr<Drainer> drainer;
    std::vector<DrainLane> lanes;
    std::vector<TaskNames> names;
  };

  /// Lives of a task's candidates, and the last revision that it had when they were looked up.
  struct Lives {
    std::uint32_t newest = 0;
    std::vector<std::uint32_t> watched;
  };

  void tick();
  void top_up_lanes();
  void drain();
  void await_work();
  bool drain_everything();
  bool drain_own();
  [[nodiscard]] bool has_passed(const std::map<std::uint32_t, DrainLane>& ends) const;
  [[nodiscard]] bool out_of_time();
  bool drain_one(Source& source);
  void contact(Source& source, TimeUs now_us);
  void first_contact();
  void take_fresh_lanes();
  void release(Source& source);
  void keep_house();
  void find_orphans();
  void forget_old(TimeUs now_us);
  void forget_units(TimeUs now_us);
  [[nodiscard]] Lives lives_since(std::string_view task, TimeUs time_us);
  [[nodiscard]] bool crowded() const noexcept;
  [[nodiscard]] std::unique_ptr<Drainer> make_drainer(Spool& spool);
  void add_backlog(Source& source);
  void report_drops();
  void tell(const std::string& message, bool delivered);

  Store& store_;
  const RecordingOptions options_;
  const std::string directory_;
  const std::chrono::milliseconds timeout_;
  std::unique_ptr<InteractionStore> interactions_;
  std::vector<Recorder::Counter> drops_;
  std::vector<std::uint64_t> reported_drops_;  // drain thread only
  Recorder recorder_;

  mutable std::mutex mutex_;  // guards these, down to the line
  Config config_;
  std::deque<std::string> names_;       // by index in the router; they stay where they are
  std::vector<SpoolLane> fresh_lanes_;  // until the drain thread has them
  std::string spool_fault_;
  std::string orphan_fault_;
  RecordingStatus status_;
  std::uint64_t flushes_wanted_ = 0;
  std::uint64_t flushes_done_ = 0;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::condition_variable flushed_;
  // -----------------------------------------------------------------------------------------

  std::mutex spool_mutex_;  // the tick makes lanes, the drain thread removes them
  Source own_;
  std::vector<std::unique_ptr<Source>> orphans_;
  DrainTotals gone_;                    // of orphans that were removed
  std::chrono::milliseconds pause_{0};  // after a failure
  std::minstd_rand jitter_{std::random_device{}()};
  Steady::time_point next_orphans_{};
  Steady::time_point next_house_{};
  Steady::time_point next_units_{};
  std::vector<std::pair<std::uint32_t, std::string>> units_of_;  // tasks whose units are still to be looked at
  Steady::time_point give_up_{};                                 // when stopping
  std::optional<TimeUs> forgetting_before_us_{};                 // until everything older is gone
  std::atomic<bool> ticking_{true};
  std::atomic<bool> configured_{false};  // the drain thread shall look at the configuration again
  std::thread ticker_;
  std::thread drainer_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

inline constexpr std::size_t spare_lanes = 4;  // for threads to come
inline constexpr std::size_t most_drop_tasks = 4'096;
inline constexpr std::string_view all_rings_taken =
    "every ring has its thread, and what further threads record is dropped; raise recorder.spool_mb";
inline constexpr std::chrono::milliseconds most_pause{5'000};
inline constexpr std::chrono::seconds orphans_every{30};
inline constexpr std::chrono::minutes house_every{10};
inline constexpr std::chrono::hours units_every{24};
inline constexpr std::chrono::milliseconds units_at_once{50};  // what is recorded meanwhile waits
inline constexpr TimeUs late_spool_us = gone_after_us;         // a spool that comes later may claim units anew

/// What is wrong, and what to do where that is known.
[[nodiscard]] inline std::string words_of(const std::exception& error) {
  const auto* of_store = dynamic_cast<const StoreError*>(&error);
  const bool hint = of_store != nullptr && !of_store->hint.empty();
  return hint ? std::string{error.what()} + "; " + of_store->hint : std::string{error.what()};
}

/// The process may go to another folder.
[[nodiscard]] inline std::string lasting_path(const std::string& path) {
  std::error_code ignored;
  return path.empty() ? path : std::filesystem::absolute(path, ignored).string();
}

/// One past the last entry that a lane has at this moment. Entries stand without a gap, so it is found by halves.
[[nodiscard]] inline std::uint64_t end_of(const DrainLane& lane) noexcept {
  std::uint64_t low = lane.position;
  for (std::uint64_t high = low + lane.mask + 1; low != high;) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (is_of(lane.cells[middle & lane.mask].stamp.load(std::memory_order_relaxed), middle))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

[[nodiscard]] inline SpoolOptions spool_options(const RecorderConfig& config) noexcept {
  return {std::uint64_t{config.lane_mb} << 20, std::uint64_t{config.spool_mb} << 20,
          config.payloads ? std::uint64_t{config.payload_mb} << 20 : 0};
}

}  // namespace detail

inline Recording::Recording(const Config& config, Store& store, RecordingOptions options)
    : store_{store},
      options_{std::move(options)},
      directory_{detail::lasting_path(config.recorder.spool)},
      timeout_{config.store.timeout_ms},
      interactions_{store.interactions()},
      drops_(detail::most_drop_tasks),
      reported_drops_(detail::most_drop_tasks),
      recorder_{drops_},
      config_{config} {
  own_.spool = std::make_unique<Spool>(directory_, detail::spool_options(config.recorder));
  own_.drainer = make_drainer(*own_.spool);
  own_.names.push_back([this](std::uint32_t index) -> std::string_view {
    const std::lock_guard lock{mutex_};
    return index < names_.size() ? std::string_view{names_[index]} : std::string_view{};
  });
  add_backlog(own_);
  recorder_.set_time(options_.clock());
  if (const auto node = own_.spool->node()) recorder_.set_node(*node, own_.spool->cursor());
  if (options_.reachable) first_contact();
  status_.on = true;
  top_up_lanes();
  ticker_ = std::thread{[this] { tick(); }};
  drainer_ = std::thread{[this] { drain(); }};
}

inline Recording::~Recording() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
    give_up_ = Steady::now() + timeout_;
  }
  wake_.notify_all();
  drainer_.join();
  ticking_.store(false, std::memory_order_relaxed);
  ticker_.join();
}

inline void Recording::configure(const Config& config, std::uint32_t first, std::vector<std::string> names) {
  std::string fault;
  {
    const std::lock_guard lock{spool_mutex_};
    own_.spool->add_names(first, names);
    fault = own_.spool->fault();
  }
  const std::lock_guard lock{mutex_};
  spool_fault_ = fault;
  config_ = config;                                    // but the spool stays where it is
  configured_.store(true, std::memory_order_relaxed);  // the lock orders it
  names_.resize(first);
  for (std::string& name : names) names_.push_back(std::move(name));
}

inline bool Recording::flush(std::chrono::milliseconds at_most) {
  std::unique_lock lock{mutex_};
  const std::uint64_t mine = ++flushes_wanted_;
  wake_.notify_all();
  return flushed_.wait_for(lock, at_most, [&] { return flushes_done_ >= mine; });
}

inline RecordingStatus Recording::status() const {
  const std::lock_guard lock{mutex_};
  RecordingStatus status = status_;
  if (status.message.empty()) status.message = spool_fault_;
  if (status.message.empty()) status.message = orphan_fault_;
  status.on_disk = own_.spool->on_disk();
  for (const Recorder::Counter& drops : recorder_.drops()) status.dropped += drops.load(std::memory_order_relaxed);
  status.invalid = recorder_.invalid();
  status.lost_texts = recorder_.lost_texts();
  return status;
}

// --- the tick --------------------------------------------------------------------------------------------------------

inline void Recording::tick() {
  while (ticking_.load(std::memory_order_relaxed)) {
    recorder_.set_time(options_.clock());
    top_up_lanes();
    std::this_thread::sleep_for(options_.tick);
  }
}

/// Lanes for threads to come: a thread must not wait for one to be made.
inline void Recording::top_up_lanes() {
  while (recorder_.vacant_lanes() < detail::spare_lanes) {
    std::optional<SpoolLane> made;
    std::string fault;
    {
      const std::lock_guard lock{spool_mutex_};
      if (recorder_.lane_count() == Recorder::max_lanes) return;
      if (const SpoolLane* lane = own_.spool->add_lane()) made = *lane;
      fault = own_.spool->fault();
    }
    const std::lock_guard lock{mutex_};
    if (!made && fault.empty() && recorder_.vacant_lanes() == 0) fault = std::string{detail::all_rings_taken};
    spool_fault_ = fault;
    if (!made) return;
    fresh_lanes_.push_back(*made);
    if (!recorder_.add_lane(made->cells, made->count, made->texts)) return;
  }
}

// --- the drain thread ------------------------------------------------------------------------------------------------

inline void Recording::drain() {
  for (;;) {
    std::uint64_t wanted = 0;
    bool stopping = false;
    {
      const std::lock_guard lock{mutex_};
      wanted = flushes_wanted_;
      stopping = stopping_;
    }
    const bool delivered = drain_everything();
    if (delivered) {
      keep_house();
      const std::lock_guard lock{mutex_};
      flushes_done_ = wanted;
      flushed_.notify_all();
    }
    if (stopping && (delivered || own_.spool->on_disk() || Steady::now() >= give_up_)) return;
    await_work();
  }
}

/// Waits for the next batch: a moment, or until lanes fill or somebody asks.
inline void Recording::await_work() {
  std::unique_lock lock{mutex_};
  const bool well = pause_.count() == 0;
  const auto until = Steady::now() + (well ? std::chrono::milliseconds{config_.recorder.flush_ms} : pause_);
  while (Steady::now() < until) {
    if (stopping_ && (well || own_.spool->on_disk() || Steady::now() >= give_up_)) return;
    if (well && (flushes_wanted_ > flushes_done_ || crowded())) return;
    wake_.wait_until(lock, std::min(until, Steady::now() + options_.tick));
  }
}

/// True when a lane has so much that waiting for the clock would risk a full ring.
inline bool Recording::crowded() const noexcept {
  return std::any_of(own_.lanes.begin(), own_.lanes.end(), [](const DrainLane& lane) {
    const std::uint64_t ahead = lane.position + (lane.mask + 1) / 8;
    return !lane.finished && detail::is_of(lane.cells[ahead & lane.mask].stamp.load(std::memory_order_relaxed), ahead);
  });
}

/// Everything that was there at the call, in as many batches as it takes; false if the store did not take it.
inline bool Recording::drain_everything() {
  try {
    if (!drain_own()) return false;
    find_orphans();
    for (auto& orphan : orphans_) {
      while (drain_one(*orphan))  // what is recorded meanwhile must not wait until its rings are full
        if (out_of_time() || !drain_own()) return false;
      const auto drained = [](const DrainLane& lane) { return lane.drained(); };
      if (!std::all_of(orphan->lanes.begin(), orphan->lanes.end(), drained)) continue;
      gone_ += orphan->drainer->totals();
      orphan->spool->remove();
      orphan.reset();
    }
    std::erase(orphans_, nullptr);
    pause_ = {};
    tell({}, true);
    return true;
  } catch (const std::exception& error) {
    tell(detail::words_of(error), false);
  }
  // Between half and the whole of a pause that doubles, so that a fleet does not come back all at once.
  const auto longer = std::clamp(pause_ * 2, std::chrono::milliseconds{100}, detail::most_pause);
  pause_ = longer / 2 + std::chrono::milliseconds{jitter_() % static_cast<unsigned>(longer.count() / 2 + 1)};
  return false;
}

/// What this process recorded before the call, and all that earlier runs did. False when it has to stop before that is done.
inline bool Recording::drain_own() {
  if (configured_.exchange(false, std::memory_order_relaxed)) own_.drainer->configure();
  take_fresh_lanes();
  std::map<std::uint32_t, DrainLane>
      ends;  // positions to reach: threads that never pause must not keep this from ending
  for (const DrainLane& lane : own_.lanes) {
    if (lane.finished) continue;
    DrainLane& end = ends.emplace(lane.number, lane).first->second;
    end.position = detail::end_of(lane);
    if (lane.texts != nullptr) end.text_position = lane.texts->written();
  }
  while (drain_one(own_) && !has_passed(ends))
    if (out_of_time()) return false;
  return true;
}

inline bool Recording::has_passed(const std::map<std::uint32_t, DrainLane>& ends) const {
  return std::none_of(own_.lanes.begin(), own_.lanes.end(), [&](const DrainLane& lane) {
    const auto end = ends.find(lane.number);
    if (end == ends.end()) return lane.finished;  // else it came later
    return lane.position < end->second.position || lane.text_position < end->second.text_position;
  });
}

/// True when the process waits for the end, and has waited long enough.
inline bool Recording::out_of_time() {
  const std::lock_guard lock{mutex_};
  return stopping_ && Steady::now() >= give_up_;
}

/// One batch of one spool; true if there is more.
inline bool Recording::drain_one(Source& source) {
  const bool own = &source == &own_;
  if (own) {
    take_fresh_lanes();
    report_drops();
  }
  const TimeUs now_us = options_.clock();
  contact(source, now_us);
  const bool more = source.drainer->pass(source.lanes, source.names, now_us);
  release(source);
  return more;
}

/// Without the store decisions have no interaction ids until it answers, but for a spool that knows its node.
inline void Recording::contact(Source& source, TimeUs now_us) {
  const SpoolRecord& record = source.drainer->contact(source.lanes, now_us);
  if (source.spool->node() == record.node) return;
  source.spool->set_node(record.node);
  if (&source == &own_) recorder_.set_node(record.node, source.spool->cursor());
}

inline void Recording::first_contact() {
  try {
    contact(own_, options_.clock());
  } catch (const std::exception& error) {
    tell(detail::words_of(error), false);
  }
}

inline void Recording::take_fresh_lanes() {
  const std::lock_guard lock{mutex_};
  for (const SpoolLane& lane : fresh_lanes_)
    own_.lanes.push_back({lane.number, lane.cells, lane.count - 1, 0, 0, false, {}, lane.texts, 0});
  fresh_lanes_.clear();
}

/// Gives writers their room back, and removes what earlier runs left when it is delivered.
inline void Recording::release(Source& source) {
  const std::lock_guard lock{spool_mutex_};
  source.spool->save_names();
  for (const DrainLane& lane : source.lanes) source.spool->set_drained(lane.number, lane.position, lane.text_position);
  for (std::size_t i = 0; &source == &own_ && i != recorder_.lane_count(); ++i) {
    auto& writer = recorder_.lane(i);
    for (const DrainLane& lane : source.lanes) {
      if (lane.cells != writer.cells) continue;
      options_.before_release(i, lane.position);
      writer.release(lane.position);
    }
  }
  for (const DrainLane& lane : source.lanes)
    if (lane.drained()) source.spool->remove_lane(lane.number);
  std::erase_if(source.lanes, [](const DrainLane& lane) { return lane.drained(); });
}

inline void Recording::report_drops() {
  const std::span<const Recorder::Counter> drops = recorder_.drops();
  for (std::size_t i = 0; i != drops.size(); ++i) {
    const std::uint64_t now = drops[i].load(std::memory_order_relaxed);
    if (now == reported_drops_[i]) continue;
    const std::string_view name = own_.names[0](static_cast<std::uint32_t>(i));
    if (!name.empty()) own_.drainer->count_drops(name, now - reported_drops_[i]);
    reported_drops_[i] = now;
  }
}

inline void Recording::tell(const std::string& message, bool delivered) {
  const std::lock_guard lock{mutex_};
  status_.message = message;
  status_.drained = own_.drainer->totals();
  status_.drained += gone_;
  for (const auto& orphan : orphans_)
    if (orphan) status_.drained += orphan->drainer->totals();
  if (delivered) status_.contact_us = options_.clock();
}

// --- what others left behind -----------------------------------------------------------------------------------------

inline std::unique_ptr<Drainer> Recording::make_drainer(Spool& spool) {
  DrainerOptions options;
  options.task = [this](std::string_view name) {
    const std::lock_guard lock{mutex_};
    const TaskConfig* task = config_.find_task(name);
    if (task == nullptr) return DrainTask{};
    return DrainTask{task->sample_ppm / 1e6, std::int64_t{task->guard.outcome_timeout_s} * 1'000'000};
  };
  options.epoch = [this](std::string_view task, std::uint32_t revision) { return epoch_of(task, revision); };
  options.new_id = [&spool](std::uint32_t node, TimeUs at_us) {
    Recorder::Counter& cursor = spool.cursor();
    std::uint64_t now = cursor.load(std::memory_order_relaxed);
    std::uint64_t mine = InteractionId::cursor_at(at_us);
    if (mine > InteractionId::last_cursor) mine = 1;  // a clock that is a lifetime wrong
    const std::uint64_t least = std::max<std::uint64_t>(mine, 1);
    do mine = std::max(now, least);
    while (!cursor.compare_exchange_weak(now, mine + 1, std::memory_order_relaxed));
    return InteractionId::at(mine, node);
  };
  return std::make_unique<Drainer>(*interactions_, spool.id(), std::move(options));
}

/// The newest epoch at or before a revision, from history; rows of an older program have none.
inline std::optional<OpenedEpoch> Recording::epoch_of(std::string_view task, std::uint32_t revision) {
  constexpr std::uint32_t page = 64;
  for (std::uint32_t to = revision; to != 0;) {
    const std::vector<HistoryRow> rows = store_.history(task, {.from = to > page ? to - page + 1 : 1, .to = to});
    for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
      if (row->epoch.empty() && row->points_moved == 0) continue;
      std::optional<Epoch> epoch = parse_epoch(row->epoch);
      if (!epoch) return {};
      return OpenedEpoch{*std::move(epoch), row->at_us};
    }
    to = to > page ? to - page : 0;
  }
  return {};
}

/// Lanes of earlier runs of a spool.
inline void Recording::add_backlog(Source& source) {
  std::vector<std::uint32_t> runs;
  if (source.names.empty()) source.names.push_back([](std::uint32_t) { return std::string_view{}; });
  for (const SpoolLane& lane : source.spool->lanes()) {
    auto at = std::find(runs.begin(), runs.end(), lane.run);
    if (at == runs.end()) {
      runs.push_back(lane.run);
      at = runs.end() - 1;
      source.names.push_back([names = source.spool->names(lane.run)](std::uint32_t index) -> std::string_view {
        return index < names.size() ? std::string_view{names[index]} : std::string_view{};
      });
    }
    source.lanes.push_back({lane.number,
                            lane.cells,
                            lane.count - 1,
                            lane.drained,
                            static_cast<std::size_t>(at - runs.begin()) + 1,
                            true,
                            {},
                            lane.texts,
                            lane.text_drained});
  }
}

inline void Recording::find_orphans() {
  if (Steady::now() < next_orphans_) return;
  next_orphans_ = Steady::now() + detail::orphans_every;
  std::string fault;
  std::vector<std::unique_ptr<Spool>> found = Spool::orphans(directory_, fault);
  {
    const std::lock_guard lock{mutex_};
    orphan_fault_ = fault;
  }
  for (std::unique_ptr<Spool>& spool : found) {
    auto source = std::make_unique<Source>();
    source->spool = std::move(spool);
    source->drainer = make_drainer(*source->spool);
    add_backlog(*source);
    orphans_.push_back(std::move(source));
  }
}

inline void Recording::keep_house() {
  const bool due = Steady::now() >= next_house_;
  if (!due && !forgetting_before_us_ && units_of_.empty()) return;
  if (due) next_house_ = Steady::now() + detail::house_every;
  const TimeUs now_us = options_.clock();
  const auto attempt = [this](auto work) {
    try {
      work();
    } catch (const std::exception& error) {
      tell(detail::words_of(error), true);
    }
  };
  if (due) attempt([&] { own_.drainer->close_silent(now_us); });
  attempt([&] {
    forget_old(now_us);
    forget_units(now_us);
  });
}

/// One part, so that what is recorded meanwhile need not wait.
inline void Recording::forget_old(TimeUs now_us) {
  std::uint32_t days = 0;
  {
    const std::lock_guard lock{mutex_};
    days = config_.recorder.keep_days;
  }
  constexpr TimeUs day_us = 86'400'000'000;
  if (!forgetting_before_us_ && days != 0) forgetting_before_us_ = now_us - days * day_us;
  // The same line until it is reached: one that moves on begins anew each time.
  if (forgetting_before_us_ && interactions_->forget_before(*forgetting_before_us_)) forgetting_before_us_.reset();
}

/// Units of lives that have been over for so long that no spool will ask for them, some of them.
inline void Recording::forget_units(TimeUs now_us) {
  if (units_of_.empty() && Steady::now() >= next_units_) {
    next_units_ = Steady::now() + detail::units_every;
    units_of_ = interactions_->task_names();
  }
  for (const auto until = Steady::now() + detail::units_at_once; !units_of_.empty() && Steady::now() < until;) {
    const auto& [number, name] = units_of_.back();
    const Lives lives = lives_since(name, now_us - detail::late_spool_us);
    if (!interactions_->forget_units(number, lives.newest, lives.watched)) break;
    units_of_.pop_back();
  }
}

/// Those that were watched at that time or later: a life is over from the change of weights whose epoch has it no more.
/// So they are the candidates of every epoch back to the one that was open then.
inline Recording::Lives Recording::lives_since(std::string_view task, TimeUs time_us) {
  constexpr std::uint32_t page = 64;
  Lives lives;
  for (std::uint32_t to = HistoryFilter{}.to; to != 0;) {
    const std::vector<HistoryRow> rows = store_.history(task, {.to = to, .newest = page});
    for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
      lives.newest = std::max(lives.newest, row->revision);
      if (row->epoch.empty() && row->points_moved == 0) continue;
      if (const std::optional<Epoch> epoch = parse_epoch(row->epoch))
        for (const Candidate& each : epoch->candidates) lives.watched.push_back(each.since);
      if (row->at_us <= time_us) return lives;
    }
    to = rows.empty() ? 0 : rows.front().revision - 1;
  }
  return lives;
}

}  // namespace canary
