// guard_pass.hpp: one pass of the guard: judges every candidate in flight, and acts on what is proved. Layer control.
//
// Harm is rolled back, whether the candidate has a rollout or not; a running rollout whose step is proved goes on. Each act
// is written against the revision that was judged, so in a fleet exactly one guard acts on a verdict: the others are told
// of a conflict, which is no error. Whatever a task's rows hold, the other tasks are judged. An act whose answer was lost is
// looked up in the history once the store is back, so that somebody is told of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/guard_look.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"
#include "canary/control/verdict_json.hpp"

namespace canary {

struct GuardAct;

/// Acts of passes before of which nobody knows yet whether they stand in the store: what a guard that runs keeps from one
/// pass to the next. One for a task at most, since the next act is written against the same revision.
using LostActs = std::map<std::string, GuardAct, std::less<>>;

struct GuardPassOptions {
  std::string actor = "guard";  ///< in history, usually guard@HOST
  std::string note = {};        ///< put behind the reason of each act, in history
  bool display = false;         ///< intervals and requests to a verdict, too, which take some time
  bool dry_run = false;         ///< says what it would do
  Registry::Clock clock = Registry::system_time;
  LostActs* lost = nullptr;  ///< outlives the pass; null: what is lost is told by nobody
};

/// A candidate, what was found of it, and what was done.
struct GuardAct {
  std::string task;
  GuardLook look;
  bool acted = false;          ///< rolled back, or brought to the next step, by this pass
  bool conflict = false;       ///< somebody else changed the task first: what was judged is over
  std::uint32_t revision = 0;  ///< of the change, where it acted
  std::string words;           ///< what happened, or why nothing did; empty for a hold, whose verdict says why
  std::string evidence = {};   ///< as it was to stand in the history; of a lost act alone
};

/// A task that could not be judged, or not be acted on.
struct GuardFault {
  std::string task;
  StoreError error;
};

struct GuardPass {
  std::vector<GuardAct> acts;  ///< lost ones that were found, then every candidate that was judged, by task and number
  std::vector<GuardFault> faults;  ///< one for each task at most
  std::vector<std::string> left;   ///< tasks that were not looked at, since two before them could not reach the store
};

/// Judges the candidates of these tasks, and acts.
/// Errors  none of the store's: they are told in the result. After two tasks in turn that could not reach it the rest is left.
[[nodiscard]] GuardPass guard_pass(Store& store, InteractionStore& interactions, std::span<const TaskConfig> tasks,
                                   const GuardPassOptions& options = {});

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// A reason as a note: metrics may have any name, history takes no control characters.
[[nodiscard]] inline std::string guard_note(std::string_view reason, std::string_view note) {
  std::string space;
  std::string_view rest = stored_text(reason, space);
  std::string text;
  while (!rest.empty() && text.size() < max_note_bytes / 2) {
    const std::size_t length = std::max<std::size_t>(1, utf8_sequence(rest));
    text += is_control(rest) ? std::string_view{"?"} : rest.substr(0, length);
    rest.remove_prefix(length);
  }
  if (!note.empty()) (text += "; ") += note;
  return text;
}

enum class Lost : std::uint8_t {
  unknown,  ///< its revision has not come: it was not written, or not yet
  done,     ///< the act says so now
  never,    ///< somebody else's change has its revision
};

/// After a commit of unknown outcome: somebody must be told of it if it was done.
[[nodiscard]] inline Lost found_lost(Store& store, GuardAct& act, const GuardPassOptions& options) {
  const std::uint32_t revision = act.look.revision + 1;
  const std::vector<HistoryRow> rows = store.history(act.task, {.from = revision, .to = revision});
  if (rows.empty()) return Lost::unknown;
  const HistoryRow& row = rows.front();
  if (row.number != act.look.number || row.actor != options.actor || row.evidence != act.evidence) return Lost::never;
  act.acted = true;
  act.revision = revision;
  act.words = "done, though the store's answer was lost";
  return Lost::done;
}

/// Looks up what passes before have lost, whatever tasks are judged now: a candidate that was taken back is compared no more.
/// Output  false when the store could not be reached; what was not asked about stays.
inline bool recall_lost(Store& store, const GuardPassOptions& options, std::vector<GuardAct>& acts) {
  if (options.lost == nullptr) return true;
  for (auto at = options.lost->begin(); at != options.lost->end();) {
    try {
      const Lost found = found_lost(store, at->second, options);
      if (found == Lost::done) acts.push_back(at->second);
      at = found == Lost::unknown ? std::next(at) : options.lost->erase(at);
    } catch (const StoreError& error) {
      if (error.code == StoreErrc::unreachable || error.code == StoreErrc::denied) return false;
      ++at;  // its task says what is wrong
    }
  }
  return true;
}

/// A pass over one task.
class GuardRound {
 public:
  GuardRound(Store& store, InteractionStore& interactions, const TaskConfig& task, const GuardPassOptions& options)
      : store_{store}, interactions_{interactions}, task_{task}, options_{options}, registry_{store, options.clock} {}

  /// An act changes what the others are judged by, so they are looked at again.
  void run(std::vector<GuardAct>& acts) {
    const std::size_t first = acts.size();
    const auto by_number = [](const GuardAct& a, const GuardAct& b) { return a.look.number < b.look.number; };
    try {
      while (true) {
        std::vector<GuardLook> looks = guard_look(store_, interactions_, task_, options_.clock(), options_.display);
        std::erase_if(looks, [&](const GuardLook& each) { return handled_.contains(each.number); });
        const auto wanting = next(looks);
        if (wanting == looks.end()) {
          for (GuardLook& each : looks) acts.push_back(held(std::move(each)));
          break;
        }
        handled_.insert(wanting->number);
        acts.push_back(act(std::move(*wanting)));
      }
    } catch (...) {
      std::sort(acts.begin() + static_cast<std::ptrdiff_t>(first), acts.end(), by_number);
      throw;
    }
    std::sort(acts.begin() + static_cast<std::ptrdiff_t>(first), acts.end(), by_number);
  }

 private:
  [[nodiscard]] static bool goes_on(const GuardLook& look) noexcept {
    const bool proved = look.verdict.action == Action::advance || look.verdict.action == Action::finish;
    return proved && look.rollout && look.rollout->state == RolloutState::running;
  }

  /// Harm comes first.
  [[nodiscard]] static std::vector<GuardLook>::iterator next(std::vector<GuardLook>& looks) {
    const auto harmful = std::find_if(looks.begin(), looks.end(),
                                      [](const GuardLook& each) { return each.verdict.action == Action::rollback; });
    return harmful != looks.end() ? harmful : std::find_if(looks.begin(), looks.end(), goes_on);
  }

  [[nodiscard]] GuardAct held(GuardLook look) const {
    GuardAct made{.task = task_.name, .look = std::move(look), .words = {}};
    if (made.look.verdict.action == Action::hold) return made;
    if (!made.look.rollout || !is_live(made.look.rollout->state))
      made.words = "not advanced: no rollout of it is under way, so its share is a person's to raise";
    else
      made.words = "not advanced: its rollout is paused, " + made.look.rollout->reason;
    return made;
  }

  [[nodiscard]] GuardAct act(GuardLook look) {
    GuardAct made{.task = task_.name, .look = std::move(look), .words = {}};
    const GuardLook& found = made.look;
    ChangeOptions change{.actor = options_.actor,
                         .note = guard_note(found.verdict.reason, options_.note),
                         .evidence = verdict_json(found, max_evidence_bytes),
                         .dry_run = options_.dry_run,
                         .expected_revision = found.revision};
    add_thresholds(change, task_.guard);
    try {
      const Change done = found.verdict.action == Action::rollback
                              ? registry_.rollback_rollout(task_.name, found.number, change)
                              : registry_.advance_rollout(task_.name, found.number, change);
      made.acted = !options_.dry_run;
      if (made.acted && options_.lost != nullptr) options_.lost->erase(task_.name);  // written now, so not before
      made.revision = made.acted ? done.row.revision : 0;
      made.words = words_of(found, done);
    } catch (const RegistryError& error) {
      made.conflict = error.code == RegistryErrc::conflict;
      made.words = made.conflict ? "somebody else was first: " : "this was refused: ";
      made.words += error.what();
      if (!made.conflict && !error.hint.empty()) made.words += "; " + error.hint;
      if (!made.conflict && found.verdict.action != Action::rollback) pause(made, error);
    } catch (const StoreError& error) {
      if (!error.unknown) throw;
      made.evidence = change.evidence;
      if (options_.lost != nullptr) options_.lost->insert_or_assign(task_.name, made);
      if (found_lost(store_, made, options_) != Lost::done) throw;
      if (options_.lost != nullptr) options_.lost->erase(task_.name);
    }
    return made;
  }

  /// A step that cannot be taken: the rollout says so, instead of running for ever.
  void pause(GuardAct& made, const RegistryError& refused) {
    if (options_.dry_run) return;
    try {
      const Change done = registry_.pause_rollout(
          task_.name, made.look.number,
          {.actor = options_.actor,
           .note = guard_note(std::string{"its next step was refused: "} + refused.what(), options_.note),
           .expected_revision = made.look.revision});
      made.revision = done.row.revision;
      made.words += "; its rollout is paused";
    } catch (const RegistryError& error) {
      made.conflict = error.code == RegistryErrc::conflict;
    }
  }

  [[nodiscard]] std::string words_of(const GuardLook& look, const Change& done) const {
    const std::string would = options_.dry_run ? "would be " : "";
    const std::string share = percent_text(done.changed.weight_ppm) + " %";
    if (look.verdict.action == Action::rollback)
      return would + "rolled back: from " + percent_text(look.weight_ppm) + " to " + share;
    const std::string from = "from " + percent_text(look.weight_ppm) + " to " + share;
    return would + (done.row.action == "rollout finish" ? "finished: " : "advanced: ") + from;
  }

  Store& store_;
  InteractionStore& interactions_;
  const TaskConfig& task_;
  const GuardPassOptions& options_;
  Registry registry_;
  std::set<std::uint32_t> handled_;
};

}  // namespace detail

inline GuardPass guard_pass(Store& store, InteractionStore& interactions, std::span<const TaskConfig> tasks,
                            const GuardPassOptions& options) {
  GuardPass pass;
  int unreachable = detail::recall_lost(store, options, pass.acts) ? 0 : 1;
  for (const TaskConfig& task : tasks) {
    if (unreachable == 2) {  // each more would wait as long
      pass.left.push_back(task.name);
      continue;
    }
    try {
      detail::GuardRound{store, interactions, task, options}.run(pass.acts);
      unreachable = 0;
    } catch (const StoreError& error) {
      pass.faults.push_back({task.name, error});
      unreachable = error.code == StoreErrc::unreachable || error.code == StoreErrc::denied ? unreachable + 1 : 0;
    }
  }
  return pass;
}

}  // namespace canary
