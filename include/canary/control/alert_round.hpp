// alert_round.hpp: a pass of the guard, and what the store holds -> alerts. Layer control; without a clock or a thread.
//
// After each pass it tells who was taken back, and whose records contradict their share. Once a minute it looks at every
// task, guarded or not: dropped outcomes, dates of shutdown, who is in use; once a window, at each version in use beside its
// own past. A task that cannot be read is told as trouble with the store, and hides no other. The next verdict waits for
// all this, so what one pass looks at is bounded: of many tasks, some come a few passes later.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/alert.hpp"
#include "canary/control/alert_watch.hpp"
#include "canary/control/config.hpp"
#include "canary/control/degradation.hpp"
#include "canary/control/guard_pass.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/store.hpp"
#include "canary/control/version_past.hpp"
#include "canary/control/window.hpp"
#include "canary/core/types.hpp"

namespace canary {

struct AlertRoundOptions {
  std::string place = {};          ///< who looks, by a name that stays over restarts: the host, and which of its stores
  std::size_t tasks_at_once = 64;  ///< tasks that are looked at after one pass: two or three short queries each
  std::size_t pasts_at_once = 2;   ///< pasts that are read after one pass: about a thousand rows a server each
  bool store_stood = false;        ///< a process before told of trouble with the store, and not of its end
  std::function<void(bool stands)> remember_store = {};  ///< told of both, so that the next process knows
};

/// What a pass did that people must hear of: who was taken back.
[[nodiscard]] std::vector<Alert> rollback_alerts(const GuardPass& pass, TimeUs now_us);

/// Who tells what, after each pass. One thread at a time; times must not go back by more than clocks do.
class AlertRound {
 public:
  /// Drops are counted by ten minutes and dates by days, so a minute is soon enough, and costs the store next to nothing.
  static constexpr TimeUs look_every_us = 60'000'000;
  /// A store that did not answer is asked again so much later: each look would wait for its time-out, and the guard with it.
  static constexpr TimeUs rest_us = 30'000'000;

  explicit AlertRound(AlertsConfig config, AlertRoundOptions options = {})
      : config_{std::move(config)}, options_{std::move(options)}, watch_{config_, options_.place} {
    if (options_.store_stood) watch_.resume_store();
  }

  /// Takes another configuration; what stands goes on standing.
  void configure(const AlertsConfig& config) {
    config_ = config;
    watch_.configure(config);
  }

  /// Input   every configured task, whether the pass judged it or not; what stood for any other is over.
  /// Output  what is new since the last call.
  /// Errors  none of the store's: they are told, once they have lasted.
  [[nodiscard]] std::vector<Alert> of_pass(Store& store, InteractionStore& interactions,
                                           std::span<const TaskConfig> tasks, const GuardPass& pass, TimeUs now_us);

  /// Input   what is wrong with the store as the rest of the process sees it; empty: nothing. It holds until the next call.
  [[nodiscard]] std::vector<Alert> of_health(std::string_view fault, TimeUs now_us) {
    health_ = fault;
    return store_alerts(now_us);
  }

 private:
  struct Past {
    std::uint32_t end = 0;  ///< windows before it were looked at
    std::string fault = {};
  };
  struct State {
    TimeUs looked_us = 0;  ///< 0: it is due
    std::string fault = {};
    std::map<std::uint32_t, Past> in_use = {};  ///< by number; 0: the default
  };
  using Tasks = std::span<const TaskConfig>;

  [[nodiscard]] std::vector<Alert> store_alerts(TimeUs now_us);
  void tell_acts(Tasks tasks, const GuardPass& pass, TimeUs now_us);
  void forget_others(Tasks tasks, TimeUs now_us);
  void look_at_tasks(Store& store, InteractionStore& interactions, Tasks tasks, TimeUs now_us);
  void look_at_pasts(InteractionStore& interactions, Tasks tasks, TimeUs now_us);
  void forget_pasts(TimeUs now_us);
  void look(Store& store, InteractionStore& interactions, const std::string& task, State& state, TimeUs now_us);
  void use(const std::string& task, State& state, const std::set<std::uint32_t>& numbers, TimeUs now_us);
  [[nodiscard]] bool rests(TimeUs now_us) const noexcept {
    return now_us < rests_until_us_ && rests_until_us_ - now_us <= rest_us;  // a clock that was set back ends it
  }
  [[nodiscard]] const std::string& trouble() const noexcept;
  void add(std::vector<Alert> alerts) { std::move(alerts.begin(), alerts.end(), std::back_inserter(out_)); }

  AlertsConfig config_;
  AlertRoundOptions options_;
  AlertWatch watch_;
  std::map<std::string, State, std::less<>> states_;  // by task
  std::string health_;
  std::string unguarded_;  // the first fault of the last pass
  TimeUs rests_until_us_ = 0;
  std::size_t next_task_ = 0;  // where the looks go on
  std::size_t next_past_ = 0;
  bool pasts_wanted_ = false;
  std::vector<Alert> out_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Each further call would wait as long.
[[nodiscard]] inline bool is_away(const StoreError& error) noexcept {
  return error.code == StoreErrc::unreachable || error.code == StoreErrc::denied;
}

[[nodiscard]] inline std::string fault_words(const std::string& before, const StoreError& error) {
  return before + error.what() + (error.hint.empty() ? "" : "; " + error.hint);
}

[[nodiscard]] inline bool is_back(const GuardAct& act) noexcept {
  return act.acted && act.look.verdict.action == Action::rollback;
}

/// Versions that are ACTIVE and have traffic, and 0 for a default that has some.
[[nodiscard]] inline std::set<std::uint32_t> numbers_in_use(const TaskRecord& record) {
  std::set<std::uint32_t> numbers;
  std::uint32_t given_ppm = 0;
  for (const ModelVersion& row : record.versions) {
    given_ppm += row.weight_ppm;
    if (row.status == Status::active && row.weight_ppm != 0) numbers.insert(row.number);
  }
  if (given_ppm < total_ppm) numbers.insert(0);
  return numbers;
}

}  // namespace detail

inline std::vector<Alert> rollback_alerts(const GuardPass& pass, TimeUs now_us) {
  std::vector<Alert> told;
  for (const GuardAct& act : pass.acts)
    if (detail::is_back(act))
      told.push_back(rollback_alert(act.task, act.look.number, act.revision, act.look.verdict.reason, now_us));
  return told;
}

inline std::vector<Alert> AlertRound::of_pass(Store& store, InteractionStore& interactions, Tasks tasks,
                                              const GuardPass& pass, TimeUs now_us) {
  out_.clear();
  unguarded_.clear();
  if (!pass.faults.empty()) {
    const GuardFault& first = pass.faults.front();
    unguarded_ = detail::fault_words("task " + first.task + " is not guarded: ", first.error);
  }
  forget_others(tasks, now_us);
  tell_acts(tasks, pass, now_us);
  const bool away = std::any_of(pass.faults.begin(), pass.faults.end(),
                                [](const GuardFault& each) { return detail::is_away(each.error); });
  if (!away && !rests(now_us)) look_at_tasks(store, interactions, tasks, now_us);
  if (!away && !rests(now_us)) look_at_pasts(interactions, tasks, now_us);
  add(store_alerts(now_us));
  return std::exchange(out_, {});
}

inline std::vector<Alert> AlertRound::store_alerts(TimeUs now_us) {
  std::vector<Alert> told = watch_.store(trouble(), now_us);
  if (!told.empty() && options_.remember_store) options_.remember_store(!told.back().resolved);
  return told;
}

/// A task that was not judged, or not to the end, keeps what stands.
inline void AlertRound::tell_acts(Tasks tasks, const GuardPass& pass, TimeUs now_us) {
  std::map<std::string_view, std::vector<GuardLook>> looks;
  for (const TaskConfig& task : tasks) looks.try_emplace(task.name);
  add(rollback_alerts(pass, now_us));
  for (const GuardAct& act : pass.acts)
    if (const auto of = looks.find(act.task); of != looks.end() && !detail::is_back(act))
      of->second.push_back(act.look);
  bool away = false;
  for (const GuardFault& fault : pass.faults) {
    looks.erase(fault.task);
    away = away || detail::is_away(fault.error);
  }
  for (const auto& [task, all] : looks)
    if (!away || !all.empty()) add(watch_.sample_ratios(task, all, now_us));  // away: it may have been left out
}

inline void AlertRound::forget_others(Tasks tasks, TimeUs now_us) {
  std::set<std::string_view> names;
  for (const TaskConfig& task : tasks) names.insert(task.name);
  for (auto at = states_.begin(); at != states_.end();) {
    auto& [task, state] = *at;
    if (names.contains(task)) {
      ++at;
      continue;
    }
    add(watch_.sample_ratios(task, {}, now_us));
    add(watch_.drops(task, 0, now_us));
    add(watch_.shutdowns(task, {}, now_us));
    use(task, state, {}, now_us);
    at = states_.erase(at);
  }
  for (const std::string_view name : names) states_.try_emplace(std::string{name});
}

inline void AlertRound::look_at_tasks(Store& store, InteractionStore& interactions, Tasks tasks, TimeUs now_us) {
  std::size_t left = options_.tasks_at_once;
  for (std::size_t i = 0, first = next_task_; i != tasks.size(); ++i) {
    next_task_ = (first + i) % tasks.size();
    const std::string& task = tasks[next_task_].name;
    State& state = states_.find(task)->second;
    const bool due = state.looked_us == 0 || now_us < state.looked_us || now_us - state.looked_us >= look_every_us;
    if (!due) continue;
    if (left-- == 0) return;
    state.looked_us = now_us;
    try {
      look(store, interactions, task, state, now_us);
      state.fault.clear();
    } catch (const StoreError& error) {
      state.fault = detail::fault_words("", error);
      if (!detail::is_away(error)) continue;
      state.looked_us = 0;
      rests_until_us_ = now_us + rest_us;
      return;
    }
  }
}

inline void AlertRound::look(Store& store, InteractionStore& interactions, const std::string& task, State& state,
                             TimeUs now_us) {
  const TaskRecord record = store.load(task, {});
  add(watch_.shutdowns(task, record.versions, now_us));
  use(task, state, detail::numbers_in_use(record), now_us);
  add(watch_.drops(task, drops_of(interactions, task, now_us), now_us));
}

inline void AlertRound::use(const std::string& task, State& state, const std::set<std::uint32_t>& numbers,
                            TimeUs now_us) {
  std::erase_if(state.in_use, [&](const auto& each) {
    if (numbers.contains(each.first)) return false;
    add(watch_.out_of_use(task, each.first, now_us));
    return true;
  });
  for (const std::uint32_t number : numbers) state.in_use.try_emplace(number);
}

inline void AlertRound::look_at_pasts(InteractionStore& interactions, Tasks tasks, TimeUs now_us) {
  const bool wanted = config_.degradation.false_alarm_days != 0;
  if (std::exchange(pasts_wanted_, wanted) && !wanted) forget_pasts(now_us);
  if (!wanted) return;
  const std::uint32_t end = window_of(now_us - VersionPast::settle_us);
  std::size_t left = options_.pasts_at_once;
  for (std::size_t i = 0, first = next_past_; i != tasks.size(); ++i) {
    next_past_ = (first + i) % tasks.size();
    const std::string& task = tasks[next_past_].name;
    for (auto& [number, past] : states_.find(task)->second.in_use) {
      if (past.end == end) continue;
      if (left-- == 0) return;
      past.end = end;
      try {
        const VersionPast seen = version_past(interactions, task, number, now_us);
        add(watch_.degradation(task, number, degradations(seen, config_.degradation), now_us));
        past.fault.clear();
      } catch (const StoreError& error) {
        past.fault = detail::fault_words("", error);
        if (!detail::is_away(error)) continue;
        past.end = 0;
        rests_until_us_ = now_us + rest_us;
        return;
      }
    }
  }
}

/// Whoever wants them again is told anew.
inline void AlertRound::forget_pasts(TimeUs now_us) {
  add(watch_.unwatched(now_us));
  for (auto& [task, state] : states_)
    for (auto& [number, past] : state.in_use) past = {};
}

/// What is wrong with the store, the worst first; empty: nothing.
inline const std::string& AlertRound::trouble() const noexcept {
  static const std::string none;
  if (!health_.empty()) return health_;
  if (!unguarded_.empty()) return unguarded_;
  for (const auto& [task, state] : states_) {
    if (!state.fault.empty()) return state.fault;
    for (const auto& [number, past] : state.in_use)
      if (!past.fault.empty()) return past.fault;
  }
  return none;
}

}  // namespace canary
