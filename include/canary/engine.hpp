// engine.hpp: the whole wired together: config -> store -> router, and the router kept up to date. Layer engine.
//
// An Engine publishes what its store holds, follows it on one thread, and compiles the environment's overrides in. When
// the store cannot be reached it goes on with the last good state, from memory or from disk, tries again by itself and
// says so in status(). Routing never waits for any of that and cannot fail. What becomes of decisions goes through its
// recorder into the same store; record() never waits either.
// Where a task has metrics, a guard on a thread of its own judges the candidates that the store has, and acts.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "canary/adapters/state_file.hpp"
#include "canary/control/config.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/splits.hpp"
#include "canary/control/store.hpp"
#include "canary/core/router.hpp"
#include "canary/engine_guard.hpp"
#include "canary/engine_recording.hpp"
#include "canary/engine_trip.hpp"

namespace canary {

enum class Health : std::uint8_t {
  ok,        ///< routing by what the store holds, as far as anyone can know
  degraded,  ///< routing by the last good state: `message` says why
};

/// How an engine is doing.
struct EngineStatus {
  Health health = Health::degraded;
  std::string message;        ///< what is wrong and what to do; empty when all is well
  bool from_disk = false;     ///< the splits come from the state file: the store was not reached yet
  TimeUs contact_us = 0;      ///< last time the store answered; 0: never
  StorePosition position;     ///< how far the store has been read
  std::uint64_t changes = 0;  ///< splits published since the start
  std::vector<Trip> trips;    ///< candidates that this process has stopped for itself, until their task's next revision
  RecordingStatus recording;
  GuardStatus guard;
};

struct EngineOptions {
  /// One thread follows the store. Without it the store is read once, and again by refresh().
  bool follow = true;
  /// What is recorded goes into a spool, and from there into the store, by two threads. Without it record() keeps nothing.
  bool record = true;
  /// Longest time between two looks at the store when nothing woke the follower.
  std::uint32_t poll_ms = 1'000;
  /// One thread judges the candidates in the store, and acts, where a task has metrics and the store is followed. Without it
  /// somebody else's guard does, or guard_now().
  bool guard = true;
  /// Time between two passes of the guard, give or take a quarter.
  std::uint32_t guard_ms = 1'000;
  /// Told of each act of the guard, and of each candidate whose verdict has changed, on the thread of the pass. Must not
  /// throw, and must not call guard_now().
  std::function<void(const GuardAct&)> on_guard = {};
  /// Told of each alert, on the thread of the pass, which goes on without metrics too: rollbacks that this guard made, and
  /// what it finds wrong with the store's tasks (docs/decisions/0013-alerts.md). Every engine that has it looks for itself. Must
  /// neither block nor throw, nor call guard_now(): give it to an AlertDesk that outlives the engine.
  std::function<void(const Alert&)> on_alert = {};
  /// Told of each change of health, on the thread that found it. Must not throw, and must not call the engine.
  std::function<void(const EngineStatus&)> on_health = {};
  /// Told when this process has stopped a candidate for itself, on a thread of the engine's own, once the router knows of
  /// it. Must not throw, nor end the engine; it may wake a guard.
  std::function<void(const Trip&)> on_trip = {};
  std::function<const char*(const char*)> environment = [](const char* name) -> const char* {
    return std::getenv(name);
  };
};

/// Routes by a store. Its Decisions and views live as long as it does.
class Engine {
 public:
  /// Reads the store, or the last good state when that cannot be reached; waits no longer than the store's time-out.
  /// Input   a store, or null with store.url `memory:`, where the splits stand in the configuration.
  /// Errors  std::system_error without a thread to follow or to guard with. A store that is down is no error: see status().
  explicit Engine(const Config& config, std::unique_ptr<Store> store = nullptr, EngineOptions options = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  /// No thread may be routing.
  ~Engine();

  /// A configured task; an empty one, which falls back, for any other name.
  [[nodiscard]] Task task(std::string_view name) const noexcept { return router_.find(name); }

  /// As Router::route(). Where versions are compared the decision gets its interaction id, and is waited for: one without
  /// an outcome by the task's outcome_timeout_s is a failure of its version.
  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::string_view key) const noexcept {
    return noted(router_.route(task, key));
  }
  [[nodiscard, gnu::always_inline]] Decision route(Task task, std::uint64_t key) const noexcept {
    return noted(router_.route(task, key));
  }
  [[nodiscard]] Decision route(Task task) const noexcept { return noted(router_.route(task)); }
  void route_many(Task task, std::span<const std::string_view> keys, std::span<Decision> decisions) const noexcept {
    router_.route_many(task, keys, decisions);
    for (Decision& decision : decisions.first(std::min(keys.size(), decisions.size()))) decision = noted(decision);
  }

  /// Keeps what became of a decision, and gives it an interaction id if it has none.
  /// Output  true if it is kept: it reaches the store once, though the process may die. False, and counted, when the
  /// thread's ring is full; false without a store.
  /// Cost    a few nanoseconds, wait-free, no system call; docs/decisions/0009-recording.md
  [[gnu::always_inline]] bool record(Decision& decision, const Outcome& outcome) noexcept {
    return recording_ != nullptr && recording_->recorder().record(decision, outcome);
  }
  /// As above, for a decision that shall stay as it is: a fresh id, where it has none, is not given back.
  [[gnu::always_inline]] bool record(const Decision& decision, const Outcome& outcome) noexcept {
    return recording_ != nullptr && recording_->recorder().record(decision, outcome);
  }
  /// Gives an interaction of any process a score, once, in the place of the one that its outcome had.
  /// Input   Decision::interaction() of a recorded decision; a score in [0, 1].
  /// Output  false for what cannot be meant, and when it was not kept.
  bool feedback(std::uint64_t interaction, double score) noexcept {
    return recording_ != nullptr && recording_->recorder().feedback(interaction, score);
  }
  /// Waits until everything recorded before the call is in the store; false if it is not by then.
  bool flush(std::chrono::milliseconds at_most) { return recording_ == nullptr || recording_->flush(at_most); }

  /// For Reader handles, and for looking at partitions.
  [[nodiscard]] const Router& router() const noexcept { return router_; }

  /// Makes changes in the engine's store, which every engine on it follows, this one included.
  /// Errors  std::logic_error without a store.
  [[nodiscard]] Registry registry();

  [[nodiscard]] EngineStatus status() const;

  /// Looks at the store now, on the calling thread, over a connection of its own: what was committed before the call is
  /// published when it returns true.
  bool refresh();

  /// One pass of the guard now, on the calling thread; what it does is published when it returns.
  /// Output  what it found and did; nothing without a store.
  GuardPass guard_now() { return guard_ == nullptr ? GuardPass{} : guard_->pass(); }

  /// Takes a new configuration and reads the environment again, on the calling thread: new tasks, defaults, overrides, and with `memory:` the
  /// splits. The store stays the one that the engine has. Tasks that left the configuration keep what they had.
  ApplyResult reload(const Config& config);

 private:
  /// How the last good state was found.
  enum class Found : std::uint8_t { none, whole, damaged };

  [[nodiscard, gnu::always_inline]] Decision noted(Decision decision) const noexcept {
    if (decision.record().watched && recording_ != nullptr) [[unlikely]]
      recording_->recorder().assign(decision);
    return decision;
  }
  void apply_config();
  void start_recording();
  void start_guard();
  void start_tripping();
  void stop_following();
  [[nodiscard]] std::vector<std::string> new_tasks() const;
  bool make_store();
  bool look(Follower& by);
  [[nodiscard]] Follower& own_follower();
  void publish(const StoreDelta& delta);
  void publish(const TaskSplit& split);
  void publish_again();
  [[nodiscard]] std::optional<ServingVersion> forced_version(const TaskSplit& split);
  [[nodiscard]] Found load_last_good();
  void save_last_good();
  void fail(const std::string& why, const std::string& hint = {});
  void succeed();
  [[nodiscard]] std::string trouble() const;
  void tell(Health health, std::string message, bool answered);
  void follow();

  Router router_;
  Tripwire tripwire_{router_};
  std::unique_ptr<Store> store_;
  EngineOptions options_;
  std::unique_ptr<Follower> follower_;  // the following thread's own

  std::mutex work_;                  // one look at a time; guards what follows
  std::unique_ptr<Follower> asker_;  // for looks of other threads
  Follower* looking_ = nullptr;      // the one whose look this is; null when the store cannot be asked
  Config config_;
  ApplyResult applied_;
  std::map<std::string, std::string, std::less<>> forced_;  // model by task, as the environment was at the last reload
  std::map<std::string, TaskSplit, std::less<>> known_;
  std::map<std::string, std::string, std::less<>> faults_;  // by task
  std::set<std::string, std::less<>> unresolved_;           // tasks whose forced model could not be looked up
  StorePosition position_;
  bool reachable_ = false;  // at the last look
  bool unsaved_ = false;
  std::string state_fault_;
  std::chrono::steady_clock::time_point last_save_{};
  std::chrono::steady_clock::duration save_took_{};

  mutable std::mutex status_mutex_;  // guards these two
  EngineStatus status_;
  bool told_once_ = false;

  std::atomic<bool> stop_ = false;
  std::thread thread_;
  std::unique_ptr<Recording> recording_;  // after what it uses
  std::unique_ptr<EngineGuard> guard_;    // and this
  std::unique_ptr<TripThread> tripper_;   // and these
};

// ---------------------------------------------------------------------------------------------------------------------

inline Engine::Engine(const Config& config, std::unique_ptr<Store> store, EngineOptions options)
    : store_{std::move(store)}, options_{std::move(options)}, config_{config} {
  apply_config();
  if (config_.store.in_memory() || store_ == nullptr) {
    status_.health = config_.store.in_memory() ? Health::ok : Health::degraded;
    if (!config_.store.in_memory()) status_.message = "the engine was given no store";
    return;
  }
  follower_ = store_->follow();
  if (load_last_good() != Found::none || make_store()) (void)look(*follower_);
  if (options_.record) start_recording();
  if (options_.follow) thread_ = std::thread{[this] { follow(); }};
  try {
    start_guard();
    start_tripping();
  } catch (...) {  // no thread was to be had
    if (guard_ != nullptr) guard_->stop();
    stop_following();
    throw;
  }
}

/// An empty place becomes a store, but not where a state file tells that there was one before: a database that went
/// missing must not come back empty and take all traffic to the defaults.
inline bool Engine::make_store() {
  try {
    (void)store_->info();
    return true;
  } catch (const StoreError& error) {
    fail(error.what(), error.hint);
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return false;
}

inline Engine::~Engine() {
  tripper_.reset();                       // it hurries the guard
  if (guard_ != nullptr) guard_->stop();  // it publishes what it does
  stop_following();
  last_save_ = {};
  if (follower_ != nullptr) save_last_good();
}

inline void Engine::stop_following() {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_relaxed);  // interrupt() and join() order all else
  follower_->interrupt();
  thread_.join();
}

inline Registry Engine::registry() {
  if (store_ == nullptr) throw std::logic_error{"this engine has no store: its splits stand in the configuration"};
  return Registry{*store_};
}

inline EngineStatus Engine::status() const {
  EngineStatus status;
  {
    const std::lock_guard lock{status_mutex_};
    status = status_;
  }
  if (recording_ != nullptr) status.recording = recording_->status();
  status.trips = tripwire_.trips();
  if (guard_ != nullptr) status.guard = guard_->status();
  return status;
}

/// Before anybody can route: no decision shall go unnoted.
inline void Engine::start_recording() {
  RecordingOptions options;
  options.reachable = reachable_;
  options.before_release = [this](std::size_t lane, std::uint64_t position) {
    tripwire_.before_release(lane, position);
  };
  recording_ = std::make_unique<Recording>(config_, *store_, std::move(options));
  std::vector<std::string> names;
  for (const TaskConfig& task : config_.tasks)
    if (const Task made = router_.find(task.name); made && static_cast<std::size_t>(made.index()) == names.size())
      names.push_back(task.name);
  recording_->configure(config_, 0, std::move(names));
  tripwire_.watch(recording_->recorder());
}

inline void Engine::start_guard() {
  EngineGuardOptions options;
  options.every_ms = options_.guard_ms;
  options.on_guard = options_.on_guard;
  options.on_alert = options_.on_alert;
  options.trouble = [this] { return trouble(); };
  options.compared = [this] { return tripwire_.compared(); };
  options.after_act = [this] { (void)refresh(); };
  options.before_hurry = [this] { (void)flush(std::chrono::milliseconds{500}); };
  guard_ = std::make_unique<EngineGuard>(*store_, std::move(options));
  guard_->configure(config_, options_.guard, options_.follow);
}

inline void Engine::start_tripping() {
  if (recording_ == nullptr) return;
  const auto epoch_of = [this](std::string_view name, std::uint32_t at) { return recording_->epoch_of(name, at); };
  const auto told = [this](const Trip& trip) {
    guard_->hurry();
    if (options_.on_trip) options_.on_trip(trip);
  };
  tripper_ = std::make_unique<TripThread>(tripwire_, epoch_of, told);
}

/// Tasks that the router will have when it has the configuration, in the order that it will number them.
inline std::vector<std::string> Engine::new_tasks() const {
  std::vector<std::string> names;
  for (const TaskConfig& task : config_.tasks) {
    const TaskOptions made{task.default_model, task.salt, forced_model(task, options_.environment)};
    if (!detail::is_task_name(task.name) || detail::check_options(made) != Errc::ok || router_.find(task.name))
      continue;
    if (std::find(names.begin(), names.end(), task.name) == names.end()) names.push_back(task.name);
  }
  return names;
}

inline bool Engine::refresh() {
  const std::lock_guard lock{work_};
  return follower_ == nullptr || look(own_follower());
}

inline ApplyResult Engine::reload(const Config& config) {
  const std::lock_guard lock{work_};
  const StoreConfig store = config_.store;
  config_ = config;
  config_.store = store;
  // Their names come first: what is recorded of them must be known by name, whatever happens next.
  if (recording_ != nullptr)
    recording_->configure(config_, static_cast<std::uint32_t>(router_.task_count()), new_tasks());
  apply_config();
  if (guard_ != nullptr) guard_->configure(config_, options_.guard, options_.follow);
  if (follower_ == nullptr) return applied_;
  looking_ = reachable_ ? &own_follower() : nullptr;
  for (const auto& [name, split] : known_) publish(split);  // a forced model may be another version now
  looking_ = nullptr;
  return applied_;
}

/// The environment is read here and nowhere else, on the thread that made the engine or reloads it.
inline void Engine::apply_config() {
  forced_.clear();
  for (const TaskConfig& task : config_.tasks) forced_.emplace(task.name, forced_model(task, options_.environment));
  const auto environment = [this](const char* name) -> const char* {
    for (const TaskConfig& task : config_.tasks)
      if (task.force_env == name) return forced_[task.name].c_str();
    return nullptr;
  };
  applied_ = apply(config_, router_, environment);
  for (const TaskChange& change : applied_.changes) {
    faults_.erase(change.task);
    if (change.error != Errc::ok)
      faults_.emplace(change.task, "task " + change.task + " stays as it was: " + std::string{to_string(change.error)});
  }
}

/// A follower is for one thread, and while one follows, its follower waits.
inline Follower& Engine::own_follower() {
  if (!thread_.joinable()) return *follower_;
  if (asker_ == nullptr) asker_ = store_->follow();
  return *asker_;
}

/// One look at the store. True if it answered.
inline bool Engine::look(Follower& by) {
  looking_ = &by;
  try {
    const StoreDelta delta = by.changes(position_);
    reachable_ = true;
    publish(delta);
    publish_again();
    position_ = delta.position;
    save_last_good();
    succeed();
    return true;
  } catch (const StoreError& error) {
    reachable_ = false;
    fail(error.what(), error.hint);
  } catch (const std::exception& error) {
    reachable_ = false;
    fail(error.what());
  }
  return false;
}

/// What could not be published, or not as it should be, at the looks before.
inline void Engine::publish_again() {
  std::set<std::string, std::less<>> names;
  names.swap(unresolved_);
  for (const auto& [name, words] : faults_) names.insert(name);
  for (const std::string& name : names)
    if (const auto known = known_.find(name); known != known_.end()) publish(known->second);
}

inline void Engine::publish(const StoreDelta& delta) {
  if (delta.everything) {
    std::map<std::string, TaskSplit, std::less<>> gone;
    gone.swap(known_);
    faults_.clear();
    tripwire_.forget();
    for (const TaskSplit& split : delta.tasks) gone.erase(split.task);
    for (const auto& [name, split] : gone) publish(TaskSplit{name, 0, {}, {}});
    unsaved_ = true;
  }
  for (const TaskSplit& split : delta.tasks) {
    publish(split);
    known_.insert_or_assign(split.task, split);
    unsaved_ = true;
  }
}

/// Gives the router a split. One that makes no sense is told, and keeps nobody else's from being published.
inline void Engine::publish(const TaskSplit& split) {
  const Task task = router_.find(split.task);
  const TaskConfig* config = config_.find_task(split.task);
  if (!task || config == nullptr) return;  // in the store, but none of this process's business
  std::vector<ServingVersion> listed = split.versions;
  const std::optional<ServingVersion> forced = forced_version(split);
  const auto is_forced = [&](const ServingVersion& each) { return each.number == forced->number; };
  if (forced && std::none_of(listed.begin(), listed.end(), is_forced)) listed.push_back(*forced);
  std::vector<std::string> ids;
  ids.reserve(listed.size());
  std::vector<StoredVersion> versions;
  const Epoch compared = who_is_compared(split.versions, split.partition);
  const auto watched = [&](std::uint32_t number) {
    return !compared.candidates.empty() && (number == compared.baseline || compared.find(number) != nullptr);
  };
  for (const ServingVersion& each : listed) {
    ids.push_back(version_id(split.task, each.number));
    versions.push_back({static_cast<Owner>(each.number), ids.back(), each.model, watched(each.number)});
  }
  const auto forced_owner = static_cast<Owner>(forced ? forced->number : 0);
  const StoredSplit stored{split.partition, versions, split.revision, forced_owner, watched(0)};
  const SplitResult result = tripwire_.publish(task, split.task, stored, compared, config->guard);
  faults_.erase(split.task);
  if (result) {
    const std::lock_guard lock{status_mutex_};
    ++status_.changes;
    return;
  }
  faults_.emplace(split.task, "task " + split.task + " keeps what it had, its revision " +
                                  std::to_string(split.revision) +
                                  " cannot be published: " + std::string{to_string(result.error)});
}

/// The registered version whose model the environment forces on the task, if it is one. With the store out of reach it
/// can only be one that serves; the next look that reaches it asks again.
inline std::optional<ServingVersion> Engine::forced_version(const TaskSplit& split) {
  const auto at = forced_.find(split.task);
  if (at == forced_.end() || at->second.empty()) return {};
  const std::string& model = at->second;
  if (looking_ != nullptr) {
    try {
      const std::optional<std::uint32_t> number = looking_->find_model(split.task, model);
      if (!number) return {};
      return ServingVersion{*number, model, Status::active};
    } catch (const StoreError&) {
      looking_ = nullptr;  // the others would wait as long
    }
  }
  unresolved_.insert(split.task);
  const auto serves = std::find_if(split.versions.rbegin(), split.versions.rend(),
                                   [&](const ServingVersion& each) { return each.model == model; });
  if (serves == split.versions.rend()) return {};
  return *serves;
}

inline Engine::Found Engine::load_last_good() {
  if (config_.store.state.empty()) return Found::none;
  try {
    const std::optional<StoreState> state = load_state(config_.store.state, config_.store.url);
    if (!state) return Found::none;
    for (const TaskSplit& split : state->tasks) {
      publish(split);
      known_.insert_or_assign(split.task, split);
    }
    const std::lock_guard lock{status_mutex_};
    status_.from_disk = true;
    return Found::whole;
  } catch (const std::exception& error) {
    state_fault_ = error.what();
    return Found::damaged;
  }
}

/// A state that cannot be saved is told, and is no reason to stop. Saving takes a twentieth of the time at most.
inline void Engine::save_last_good() {
  using Steady = std::chrono::steady_clock;
  const Steady::time_point start = Steady::now();
  if (config_.store.state.empty() || !unsaved_ || start < last_save_ + 20 * save_took_) return;
  try {
    StoreState state{config_.store.url, position_, {}};
    for (const auto& [name, split] : known_) state.tasks.push_back(split);
    save_state(config_.store.state, state);
    unsaved_ = false;
    state_fault_.clear();
  } catch (const std::exception& error) {
    state_fault_ = error.what();
  }
  last_save_ = Steady::now();
  save_took_ = last_save_ - start;
}

/// The store did not answer.
inline void Engine::fail(const std::string& why, const std::string& hint) {
  std::string message = hint.empty() ? why : why + "; " + hint;
  if (!state_fault_.empty()) message += "; " + state_fault_;
  tell(Health::degraded, std::move(message), false);
}

/// It did; what else is wrong is told all the same.
inline void Engine::succeed() {
  std::string message = faults_.empty() ? state_fault_ : faults_.begin()->second;
  tell(faults_.empty() ? Health::ok : Health::degraded, std::move(message), true);
}

inline std::string Engine::trouble() const {
  const std::lock_guard lock{status_mutex_};
  return status_.health == Health::ok ? std::string{} : status_.message;
}

inline void Engine::tell(Health health, std::string message, bool answered) {
  EngineStatus told;
  {
    const std::lock_guard lock{status_mutex_};
    if (answered) {
      status_.from_disk = false;
      status_.contact_us = Registry::system_time();
      status_.position = position_;
    }
    if (told_once_ && status_.health == health && status_.message == message) return;
    told_once_ = true;
    status_.health = health;
    status_.message = std::move(message);
    told = status_;
  }
  if (options_.on_health) options_.on_health(told);
}

inline void Engine::follow() {
  while (!stop_.load(std::memory_order_relaxed)) {
    follower_->wait(std::chrono::milliseconds{options_.poll_ms});
    if (stop_.load(std::memory_order_relaxed)) return;
    const std::lock_guard lock{work_};
    (void)look(*follower_);
  }
}

}  // namespace canary
