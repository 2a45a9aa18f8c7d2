// engine_guard.hpp: the guard of an engine: a thread that judges the candidates of its store and acts. Layer engine; a part
// of engine.hpp.
//
// Every engine of a fleet may have one: acts are written against the revision that was judged, so one of them wins. A store
// that does not answer stops the guard alone: it says so in its status and comes back later and later, up to 30 s. The same
// thread tells alerts after each pass, where somebody wants them, of tasks without a guard too.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "canary/adapters/alert_mark.hpp"
#include "canary/adapters/host_name.hpp"
#include "canary/control/alert.hpp"
#include "canary/control/alert_round.hpp"
#include "canary/control/config.hpp"
#include "canary/control/guard_news.hpp"
#include "canary/control/guard_pass.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/store.hpp"

namespace canary {

/// How an engine's guard is doing.
struct GuardStatus {
  bool on = false;              ///< it has tasks to judge, on a thread of its own
  TimeUs pass_us = 0;           ///< end of the last pass in which every task was judged; 0: none yet
  std::uint64_t passes = 0;     ///< such ones since the start
  std::uint64_t acts = 0;       ///< rollbacks and steps that this guard made
  std::uint64_t conflicts = 0;  ///< those in which somebody else was first
  std::string message;          ///< what is wrong and what to do; empty when all is well
};

struct EngineGuardOptions {
  std::uint32_t every_ms = 1'000;
  /// Told of each act, and of each candidate whose verdict is another than at the pass before.
  std::function<void(const GuardAct&)> on_guard = {};
  /// Told of each alert; without it nothing is looked at for them.
  std::function<void(const Alert&)> on_alert = {};
  std::function<std::string()> trouble = {};  ///< with the store, as the rest of the engine sees it; empty: none
  /// Names of the tasks that are worth a look at the store: a fleet of servers must not ask for a thousand tasks a second in
  /// which nothing is compared.
  std::function<std::set<std::string, std::less<>>()> compared = {};
  std::function<void()> after_act = {};     ///< so that the own router follows at once
  std::function<void()> before_hurry = {};  ///< brings what was seen into the store
};

/// Judges the tasks that have metrics. Calls may come from any thread.
class EngineGuard {
 public:
  /// Input   `store`: outlives this.
  EngineGuard(Store& store, EngineGuardOptions options) : store_{store}, options_{std::move(options)} {}
  EngineGuard(const EngineGuard&) = delete;
  EngineGuard& operator=(const EngineGuard&) = delete;
  ~EngineGuard() { stop(); }

  /// Ends the thread, once a pass that is under way has ended.
  void stop();

  /// Takes the tasks. The thread begins, where one may, with the first that has metrics and is to be judged, or at once
  /// where alerts are wanted.
  /// Errors  std::system_error without a thread.
  void configure(const Config& config, bool judges, bool with_thread);

  /// One pass, on the calling thread.
  GuardPass pass();

  /// The thread's next pass comes at once: somebody has seen harm.
  void hurry();

  [[nodiscard]] GuardStatus status() const;

 private:
  void run();
  [[nodiscard]] std::chrono::milliseconds pause();
  void watch();
  [[nodiscard]] GuardPass judge_all();
  [[nodiscard]] InteractionStore& interactions();
  void tell_alerts(const GuardPass& pass);
  void note(const GuardPass& pass);
  void note_fault(const std::string& words);

  Store& store_;
  const EngineGuardOptions options_;

  std::mutex pass_;  // one pass at a time; guards these four
  std::unique_ptr<InteractionStore> interactions_;
  GuardNews news_;
  LostActs lost_;
  std::optional<AlertRound> round_;
  const std::string actor_ = guard_actor();

  mutable std::mutex mutex_;       // guards these, never held while the store is asked
  std::vector<TaskConfig> all_;    // configured
  std::vector<TaskConfig> tasks_;  // of these, to be judged
  AlertsConfig alerts_;
  std::string state_;    // path
  bool judges_ = false;  // by itself
  GuardStatus status_;
  int failed_ = 0;  // passes in turn
  bool stopping_ = false;
  bool hurry_ = false;
  std::condition_variable wake_;

  std::minstd_rand jitter_{std::random_device{}()};  // the thread's own
  std::thread thread_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline void EngineGuard::stop() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

inline void EngineGuard::configure(const Config& config, bool judges, bool with_thread) {
  const std::lock_guard lock{mutex_};
  all_ = config.tasks;
  alerts_ = config.alerts;
  state_ = config.store.state;
  tasks_.clear();
  for (const TaskConfig& task : config.tasks)
    if (!task.guard.metrics.empty()) tasks_.push_back(task);
  judges_ = judges && with_thread && !tasks_.empty();
  if (with_thread && (judges_ || options_.on_alert) && !thread_.joinable()) thread_ = std::thread{[this] { run(); }};
  status_.on = judges_;
}

inline GuardStatus EngineGuard::status() const {
  const std::lock_guard lock{mutex_};
  return status_;
}

inline void EngineGuard::hurry() {
  const std::lock_guard lock{mutex_};
  hurry_ = true;
  wake_.notify_all();
}

inline GuardPass EngineGuard::pass() {
  const std::lock_guard lock{pass_};
  GuardPass done = judge_all();
  note(done);
  const auto acted = [](const GuardAct& each) { return each.acted || each.conflict; };
  if (options_.after_act && std::any_of(done.acts.begin(), done.acts.end(), acted)) options_.after_act();
  for (const GuardAct* each : news_.of(done))
    if (options_.on_guard) options_.on_guard(*each);
  tell_alerts(done);
  return done;
}

/// What a pass tells when there is nobody to judge.
inline void EngineGuard::watch() {
  const std::lock_guard lock{pass_};
  tell_alerts({});
  const std::lock_guard well{mutex_};
  status_.message.clear();
  failed_ = 0;
}

inline void EngineGuard::tell_alerts(const GuardPass& pass) {
  if (!options_.on_alert) return;
  std::vector<TaskConfig> tasks;
  AlertsConfig alerts;
  std::string state;
  {
    const std::lock_guard lock{mutex_};
    tasks = all_;
    alerts = alerts_;
    state = state_;
  }
  if (!round_) {
    const AlertMark mark{state};
    AlertRoundOptions how{.place = alert_place(host_name(), state), .store_stood = mark.stands()};
    how.remember_store = [mark](bool stands) { mark.set(stands); };
    round_.emplace(alerts, std::move(how));
  }
  round_->configure(alerts);
  const TimeUs now_us = Registry::system_time();
  const std::string trouble = options_.trouble ? options_.trouble() : std::string{};
  for (const Alert& each : round_->of_health(trouble, now_us)) options_.on_alert(each);
  for (const Alert& each : round_->of_pass(store_, interactions(), tasks, pass, now_us)) options_.on_alert(each);
}

inline InteractionStore& EngineGuard::interactions() {
  if (interactions_ == nullptr) interactions_ = store_.interactions();
  return *interactions_;
}

inline GuardPass EngineGuard::judge_all() {
  std::vector<TaskConfig> tasks;
  {
    const std::lock_guard lock{mutex_};
    tasks = tasks_;
  }
  if (options_.compared) {
    const std::set<std::string, std::less<>> compared = options_.compared();
    std::erase_if(tasks, [&](const TaskConfig& each) { return !compared.contains(each.name); });
  }
  GuardPassOptions options;
  options.actor = actor_;
  options.lost = &lost_;
  return guard_pass(store_, interactions(), tasks, options);
}

inline void EngineGuard::note(const GuardPass& pass) {
  const std::lock_guard lock{mutex_};
  for (const GuardAct& each : pass.acts) {
    status_.acts += each.acted ? 1 : 0;
    status_.conflicts += each.conflict ? 1 : 0;
  }
  status_.message.clear();
  if (pass.faults.empty()) {
    status_.pass_us = Registry::system_time();
    ++status_.passes;
    failed_ = 0;
    return;
  }
  const StoreError& error = pass.faults.front().error;
  status_.message = "task " + pass.faults.front().task + " is not guarded: " + error.what();
  if (!error.hint.empty()) status_.message += "; " + error.hint;
  ++failed_;
}

inline void EngineGuard::note_fault(const std::string& words) {
  const std::lock_guard lock{mutex_};
  status_.message = words;
  ++failed_;
}

/// Guards that started together do not ask together for long.
inline std::chrono::milliseconds EngineGuard::pause() {
  constexpr std::uint64_t most_ms = 30'000;
  const std::uint64_t every_ms = std::max<std::uint32_t>(1, options_.every_ms);
  const std::uint64_t later_ms = every_ms << std::min(failed_, 8);
  const std::uint64_t wait_ms = failed_ == 0 ? every_ms : std::max(every_ms, std::min(later_ms, most_ms));
  std::uniform_int_distribution<std::uint64_t> around{wait_ms - wait_ms / 4, wait_ms + wait_ms / 4};
  return std::chrono::milliseconds{around(jitter_)};
}

inline void EngineGuard::run() {
  std::unique_lock lock{mutex_};
  while (!stopping_) {
    const bool urged = std::exchange(hurry_, false);
    const bool judges = judges_;
    lock.unlock();
    try {
      if (urged && options_.before_hurry) options_.before_hurry();
      if (judges)
        (void)pass();
      else
        watch();
    } catch (const std::exception& error) {  // out of memory, for one: the next pass tries again
      note_fault(error.what());
    }
    lock.lock();
    wake_.wait_for(lock, pause(), [this] { return stopping_ || hurry_; });
  }
}

}  // namespace canary
