// alert_watch.hpp: facts about stores, versions and candidates -> alerts. Layer control; pure, without a clock.
//
// Each call is told how things stand and answers with what has changed: an alert when something begins, one with `resolved`
// when it is over, nothing in between. To be over, it must have been well for a while, so that what flickers is told once.
// The memory is this object's alone: a new process tells again what it finds, under the same keys, by which receivers know
// it; trouble with a store, which one server has for itself, may be handed on (resume_store).
//
//   kind            begins                                         is over
//   store_degraded  degraded for 30 s                              well for 60 s
//   drops           outcomes dropped in the last hour              none in an hour
//   shutdown_near   `shutdown_days`, told anew 7 and 1 day         out of use, or the date is another
//                   before and when it is past: one key
//   sample_ratio    records contradict a share, 1,000 to 1         evidence below the root of that, or no candidate
//   degradation     see degradation.hpp                            30 min within the bound it broke; or seven days on;
//                                                                  or a day in which it could not be measured
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/alert.hpp"
#include "canary/control/config.hpp"
#include "canary/control/degradation.hpp"
#include "canary/control/guard_look.hpp"
#include "canary/control/guard_words.hpp"
#include "canary/control/sample_ratio.hpp"
#include "canary/control/store.hpp"
#include "canary/control/version_past.hpp"

namespace canary {

/// A candidate was taken back: always told, once for each revision.
/// Input   the guard's reason; the revision that took it back.
[[nodiscard]] Alert rollback_alert(std::string_view task, std::uint32_t number, std::uint32_t revision,
                                   std::string_view reason, TimeUs at_us);

/// One for every kind of fact; any of them may be called at any time, by one thread at a time.
class AlertWatch {
 public:
  /// Input   who looks, by a name that stays over restarts: what is one server's own has it in its key.
  explicit AlertWatch(AlertsConfig config, std::string place = {})
      : config_{std::move(config)}, place_{std::move(place)} {}

  /// Takes another configuration; what stands goes on standing.
  void configure(AlertsConfig config) { config_ = std::move(config); }

  /// Input   what is wrong with the store; empty: nothing.
  [[nodiscard]] std::vector<Alert> store(std::string_view fault, TimeUs now_us);
  /// A process before this one told of trouble with the store, and not of its end: that is this one's to tell.
  void resume_store();

  /// Input   drops_of().
  [[nodiscard]] std::vector<Alert> drops(std::string_view task, std::uint64_t in_last_hour, TimeUs now_us);

  /// Input   a task's versions, as Store::load() brings them: those in play matter.
  [[nodiscard]] std::vector<Alert> shutdowns(std::string_view task, std::span<const ModelVersion> versions,
                                             TimeUs now_us);

  /// Input   guard_look()'s answer: all candidates of the task.
  [[nodiscard]] std::vector<Alert> sample_ratios(std::string_view task, std::span<const GuardLook> looks,
                                                 TimeUs now_us);

  /// Input   an ACTIVE version with traffic (0: the default), and degradations() of its version_past().
  [[nodiscard]] std::vector<Alert> degradation(std::string_view task, std::uint32_t number,
                                               std::span<const Degradation> found, TimeUs now_us);
  /// A version of which degradation() will not be asked any more, since it is out of use.
  [[nodiscard]] std::vector<Alert> out_of_use(std::string_view task, std::uint32_t number, TimeUs now_us);
  /// Nothing will be asked of degradation() any more, since nobody wants to hear of it.
  [[nodiscard]] std::vector<Alert> unwatched(TimeUs now_us);

 private:
  static constexpr TimeUs second_us = 1'000'000;
  static constexpr TimeUs day_us = 86'400 * second_us;

  struct State {
    Alert alert = {};
    bool stands = false;
    TimeUs bad_since_us = 0;  ///< 0: it is not
    TimeUs well_since_us = 0;
    double bound = 0;        ///< degradation: what it broke
    std::int64_t stage = 0;  ///< shutdown: days before it that were told
    TimeUs stands_since_us = 0;
    TimeUs unmeasured_since_us = 0;  ///< degradation; 0: it is measured
  };
  enum class Now : std::uint8_t { bad, between, well };

  void follow(Alert alert, Now now, TimeUs now_us, TimeUs after_us, TimeUs quiet_us, std::vector<Alert>& out);
  void end_unmeasured(const std::string& prefix, const std::set<std::string>& measured, TimeUs now_us,
                      std::vector<Alert>& out);
  [[nodiscard]] Alert store_alert(std::string_view fault) const;
  void end(const std::string& key, std::string_view why, TimeUs now_us, std::vector<Alert>& out);
  void end_all(const std::string& prefix, std::string_view why, TimeUs now_us, std::vector<Alert>& out,
               const std::function<bool(const std::string&)>& ends);

  AlertsConfig config_;
  std::string place_;
  std::map<std::string, State, std::less<>> states_;  // by key
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

[[nodiscard]] inline std::string owner_words(std::string_view task, std::uint32_t number) {
  return number == 0 ? std::string{task} + "@default" : version_id(task, number);
}

/// `1 day`, `30 days`
[[nodiscard]] inline std::string days_words(std::int64_t days) {
  return std::to_string(days) + (days == 1 ? " day" : " days");
}

/// The stage of a shutdown that is `left` days off: the least of the days before that are told; none: too far.
[[nodiscard]] inline std::optional<std::int64_t> shutdown_stage(std::int64_t left, std::uint32_t first_days) {
  std::optional<std::int64_t> stage;
  for (const std::int64_t days : {std::int64_t{first_days}, std::int64_t{7}, std::int64_t{1}, std::int64_t{0}})
    if (left <= days && days <= std::max<std::int64_t>(first_days, 0)) stage = std::min(stage.value_or(days), days);
  return stage;
}

[[nodiscard]] inline std::string degradation_words(const std::string& id, const Degradation& seen) {
  const std::string last = " of the last " + std::to_string(seen.outcomes) + ' ';
  const auto percent = [](double share) { return figure(100 * share) + " %"; };
  const auto ms = [](double us) { return figure(us / 1'000) + " ms"; };
  switch (seen.kind) {
    case MetricKind::success:
      return id + ": " + percent(seen.recent) + last + "requests succeeded; it was never below " + percent(seen.past) +
             " at these hours of the seven days before, and down to " + percent(seen.bound) + " is tolerated";
    case MetricKind::score:
      return id + ": the mean score" + last + "is " + figure(seen.recent) + "; it was never below " +
             figure(seen.past) + " at these hours of the seven days before, and down to " + figure(seen.bound) +
             " is tolerated";
    default:
      return id + ": the 95th percentile" + last + "latencies is " + ms(seen.recent) + "; it was never above " +
             ms(seen.past) + " at these hours of the seven days before, and up to " + ms(seen.bound) + " is tolerated";
  }
}

[[nodiscard]] inline std::string_view key_word(MetricKind kind) noexcept {
  return kind == MetricKind::success ? "success" : kind == MetricKind::score ? "score" : "latency";
}

}  // namespace detail

inline Alert rollback_alert(std::string_view task, std::uint32_t number, std::uint32_t revision,
                            std::string_view reason, TimeUs at_us) {
  const std::string id = version_id(task, number);
  return {.kind = AlertKind::rollback,
          .task = std::string{task},
          .version = id,
          .at_us = at_us,
          .message = id + " was rolled back at revision " + std::to_string(revision) + ": " + std::string{reason},
          .hint = "canary history " + std::string{task} + " shows the evidence; a person starts it again, or nobody",
          .key = "rollback/" + id + '/' + std::to_string(revision)};
}

/// What begins and what ends, for one key.
inline void AlertWatch::follow(Alert alert, Now now, TimeUs now_us, TimeUs after_us, TimeUs quiet_us,
                               std::vector<Alert>& out) {
  const auto at = states_.find(alert.key);
  if (at == states_.end() && now != Now::bad) return;
  State& state = at == states_.end() ? states_[alert.key] : at->second;
  alert.at_us = now_us;
  // A clock that was set back must not hold up what is timed by it for as long.
  for (TimeUs* since : {&state.bad_since_us, &state.well_since_us, &state.stands_since_us})
    *since = std::min(*since, now_us);
  if (now == Now::bad) {
    state.well_since_us = 0;
    if (state.bad_since_us == 0) state.bad_since_us = now_us;
    if (state.stands || now_us - state.bad_since_us < after_us) return;
    state.stands = true;
    state.stands_since_us = now_us;
    state.alert = alert;
    out.push_back(std::move(alert));
    return;
  }
  state.bad_since_us = 0;
  if (!state.stands) return void(states_.erase(alert.key));
  if (now == Now::between) return void(state.well_since_us = 0);
  if (state.well_since_us == 0) state.well_since_us = now_us;
  if (now_us - state.well_since_us < quiet_us) return;
  const std::string key = alert.key;
  end(key, "", now_us, out);
}

/// Ends what stands, with the words of its beginning.
inline void AlertWatch::end(const std::string& key, std::string_view why, TimeUs now_us, std::vector<Alert>& out) {
  const auto at = states_.find(key);
  if (at == states_.end()) return;
  if (at->second.stands) {
    Alert over = std::move(at->second.alert);
    over.resolved = true;
    over.at_us = now_us;
    over.message = (why.empty() ? "over: " : "over, " + std::string{why} + ": ") + over.message;
    over.hint.clear();
    out.push_back(std::move(over));
  }
  states_.erase(at);
}

inline void AlertWatch::end_all(const std::string& prefix, std::string_view why, TimeUs now_us, std::vector<Alert>& out,
                                const std::function<bool(const std::string&)>& ends) {
  std::vector<std::string> keys;
  for (auto at = states_.lower_bound(prefix); at != states_.end() && at->first.starts_with(prefix); ++at)
    if (ends(at->first)) keys.push_back(at->first);
  for (const std::string& key : keys) end(key, why, now_us, out);
}

inline std::vector<Alert> AlertWatch::store(std::string_view fault, TimeUs now_us) {
  std::vector<Alert> out;
  follow(store_alert(fault), fault.empty() ? Now::well : Now::bad, now_us, 30 * second_us, 60 * second_us, out);
  return out;
}

inline void AlertWatch::resume_store() {
  Alert alert = store_alert("told by a process that has ended");
  std::string key = alert.key;
  states_.insert_or_assign(std::move(key), State{.alert = std::move(alert), .stands = true});
}

inline Alert AlertWatch::store_alert(std::string_view fault) const {
  return {.kind = AlertKind::store_degraded,
          .message = "trouble with the store: " + std::string{fault},
          .hint = "canary doctor says what to do; servers route by their last good state, and record",
          .key = place_.empty() ? "store_degraded" : "store_degraded/" + place_};
}

inline std::vector<Alert> AlertWatch::drops(std::string_view task, std::uint64_t in_last_hour, TimeUs now_us) {
  std::vector<Alert> out;
  const std::string name{task};
  follow({.kind = AlertKind::drops,
          .task = name,
          .message = name + ": " + std::to_string(in_last_hour) +
                     " outcomes were not recorded in the last hour: rings were full",
          .hint = "raise recorder.spool_mb (recorder.lane_mb for a single busy thread), and see whether the store was "
                  "out of reach",
          .key = "drops/" + name},
         in_last_hour == 0 ? Now::well : Now::bad, now_us, 0, 0, out);
  return out;
}

inline std::vector<Alert> AlertWatch::shutdowns(std::string_view task, std::span<const ModelVersion> versions,
                                                TimeUs now_us) {
  std::vector<Alert> out;
  std::set<std::string> standing;
  for (const ModelVersion& row : versions) {
    const std::optional<TimeUs> date = date_us(row.shutdown_date);
    const bool in_use = row.weight_ppm != 0 || row.status == Status::active;
    if (!date || !in_use) continue;
    const std::int64_t left = now_us >= *date ? 0 : (*date - now_us + day_us - 1) / day_us;
    const std::optional<std::int64_t> stage = detail::shutdown_stage(left, config_.shutdown_days);
    if (!stage) continue;
    const std::string id = version_id(task, row.number);
    Alert alert{.kind = AlertKind::shutdown_near, .task = std::string{task}, .version = id};
    alert.message = id + ": its model " + row.model +
                    (left == 0 ? " was shut down on " : " is shut down in " + detail::days_words(left) + ", on ") +
                    row.shutdown_date;
    alert.hint = "promote a version whose model lives on";
    alert.key = "shutdown_near/" + id + '/' + row.shutdown_date;
    standing.insert(alert.key);
    const auto told = states_.find(alert.key);
    if (told != states_.end() && told->second.stage <= *stage) continue;
    const std::string key = alert.key;
    if (told != states_.end()) states_.erase(told);  // the next stage is told under the same key, so one end ends all
    follow(std::move(alert), Now::bad, now_us, 0, 0, out);
    states_.at(key).stage = *stage;
  }
  end_all("shutdown_near/" + std::string{task} + '@', "the version is out of use, or its date has changed", now_us, out,
          [&](const std::string& key) { return !standing.contains(key); });
  return out;
}

inline std::vector<Alert> AlertWatch::sample_ratios(std::string_view task, std::span<const GuardLook> looks,
                                                    TimeUs now_us) {
  std::vector<Alert> out;
  std::set<std::string> compared;
  const double mismatch = -std::log(sample_ratio_alpha);
  for (const GuardLook& look : looks) {
    const SampleRatio& ratio = look.verdict.sample_ratio;
    const std::string id = version_id(task, look.number);
    Alert alert{.kind = AlertKind::sample_ratio, .task = std::string{task}, .version = id};
    alert.message = id + ": " + std::to_string(ratio.observed) + " records where its share promises " +
                    detail::figure(ratio.expected) + ": nothing can be said of it by records that contradict the split";
    alert.hint =
        "see whether outcomes of one version get lost, or are recorded twice: canary guard check " + std::string{task};
    alert.key = "sample_ratio/" + id + '/' + std::to_string(look.since);
    compared.insert(alert.key);
    const Now now = ratio.log_e >= mismatch ? Now::bad : ratio.log_e < mismatch / 2 ? Now::well : Now::between;
    follow(std::move(alert), now, now_us, 0, 0, out);
  }
  end_all("sample_ratio/" + std::string{task} + '@', "it is no longer compared", now_us, out,
          [&](const std::string& key) { return !compared.contains(key); });
  return out;
}

inline std::vector<Alert> AlertWatch::degradation(std::string_view task, std::uint32_t number,
                                                  std::span<const Degradation> found, TimeUs now_us) {
  std::vector<Alert> out;
  std::set<std::string> measured;
  const std::string id = detail::owner_words(task, number);
  for (const Degradation& each : found) {
    Alert alert{.kind = AlertKind::degradation, .task = std::string{task}, .version = id};
    alert.message = detail::degradation_words(id, each);
    alert.hint = "see what changed at the provider or in the requests: canary interactions stats " + std::string{task};
    alert.key = "degradation/" + id + '/' + std::string{detail::key_word(each.kind)};
    const std::string key = alert.key;
    measured.insert(key);
    const auto state = states_.find(key);
    if (state == states_.end()) {
      follow(std::move(alert), each.found ? Now::bad : Now::well, now_us, 0, 0, out);
      if (each.found) states_.at(key).bound = each.bound;
      continue;
    }
    state->second.unmeasured_since_us = 0;
    // Its past has the bad days in it by now; what it broke is what it must keep.
    const double bound = state->second.bound;
    const bool within = each.kind == MetricKind::latency ? each.recent <= bound : each.recent >= bound;
    if (now_us - state->second.stands_since_us >= VersionPast::days * day_us)
      end(key, "it has been so for seven days, which are its past now", now_us, out);
    else
      follow(std::move(alert), within && !each.found ? Now::well : Now::between, now_us, 0, 1'800 * second_us, out);
  }
  end_unmeasured("degradation/" + id + '/', measured, now_us, out);
  return out;
}

/// A metric that has no outcomes any more, or no past: nobody would ever say that it is well. A day, since quiet hours come
/// every night.
inline void AlertWatch::end_unmeasured(const std::string& prefix, const std::set<std::string>& measured, TimeUs now_us,
                                       std::vector<Alert>& out) {
  end_all(prefix, "it is no longer measured", now_us, out, [&](const std::string& key) {
    if (measured.contains(key)) return false;
    TimeUs& since_us = states_.find(key)->second.unmeasured_since_us;
    if (since_us == 0 || since_us > now_us) since_us = now_us;
    return now_us - since_us >= day_us;
  });
}

inline std::vector<Alert> AlertWatch::out_of_use(std::string_view task, std::uint32_t number, TimeUs now_us) {
  std::vector<Alert> out;
  end_all("degradation/" + detail::owner_words(task, number) + '/', "it is out of use", now_us, out,
          [](const std::string&) { return true; });
  return out;
}

inline std::vector<Alert> AlertWatch::unwatched(TimeUs now_us) {
  std::vector<Alert> out;
  end_all("degradation/", "it is no longer watched: alerts.degradation.false_alarm_days is 0", now_us, out,
          [](const std::string&) { return true; });
  return out;
}

}  // namespace canary
