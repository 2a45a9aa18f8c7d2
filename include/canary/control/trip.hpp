// trip.hpp: what one process has seen of a candidate by itself, and when that is enough to stop it here at once, before the
// store agrees. Layer control; entries in, a verdict out: no clock, no thread, no store.
//
// The guard's e-values on the counts of this process alone, against a threshold a hundred times as high. They are valid for the
// reason that the guard's are: a unit's arm is a coin of the epoch's known share whatever the base does, each unit is counted
// once by its first assignment that this process made in the candidate's life, and which units a process sees has nothing to do
// with their arm. Two things are weaker here than in the store, and both are why the threshold is higher:
//   - other processes count the same units by themselves, and so does this one after a restart;
//   - an outcome that is open counts for nothing, not even when its time is over: what this process did not see it may have
//     missed. So a candidate whose answers only come later has fewer of them for a while, and one that never answers does not
//     trip; the guard sees that. Nor are scores seen that come by feedback.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/guard.hpp"
#include "canary/control/interaction.hpp"
#include "canary/control/unit_table.hpp"
#include "canary/core/entry.hpp"
#include "canary/core/partition.hpp"

namespace canary {

/// How much more a process wants than the guard before it acts alone. A hundred processes that trip by mistake with odds of
/// alpha/100 each, restarts among them, do so with odds of alpha together.
inline constexpr double overwhelming = 100;

/// One candidate's life, as one process has seen it.
/// Cost    16 bytes and up to 48 more a unit, of at most some 2^19 units, and as much for each outcome that is open.
class LocalEvidence {
 public:
  LocalEvidence(std::uint32_t number, std::uint32_t since) noexcept : number_{number}, since_{since} {}

  /// Counts by an epoch of this life from now on, too.
  void open(const Epoch& epoch);
  /// A decision that is waited for; one of another version than the epoch compares is not counted.
  /// Input   an entry that the split chose, with an id, of an epoch that was opened.
  void assign(const Entry& entry, const Epoch& epoch, std::int64_t timeout_us);
  /// An outcome; false, and nothing is counted, where its assignment is not open here: not seen yet, or settled before.
  bool settle(const Entry& entry, std::int64_t timeout_us);

  /// `rollback` if the evidence is overwhelming. Input: candidates in flight, which share alpha.
  [[nodiscard]] Verdict judge(const GuardConfig& config, std::size_t candidates) const;

  /// True if anything was settled since it was asked last.
  [[nodiscard]] bool grown() noexcept { return std::exchange(grown_, false); }
  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  [[nodiscard]] std::uint32_t since() const noexcept { return since_; }
  [[nodiscard]] std::span<const LifeEpoch> epochs() const noexcept { return epochs_; }

 private:
  struct Waiting {
    std::uint32_t epoch = 0;
    Arm arm = Arm::baseline;
    bool unit = false;  ///< counted as one, too
  };
  static constexpr std::size_t most_waiting = std::size_t{1} << 17;  // of each half

  [[nodiscard]] LifeEpoch* find(std::uint32_t epoch) noexcept;
  void turn_over(std::int64_t now_us, std::int64_t timeout_us);

  std::uint32_t number_;
  std::uint32_t since_;
  std::vector<LifeEpoch> epochs_;  // by revision
  detail::UnitTable units_;
  // Two halves: when the younger is full, or as old as an outcome may be, it becomes the elder, and that one is let go.
  std::unordered_map<std::uint64_t, Waiting> waiting_;
  std::unordered_map<std::uint64_t, Waiting> elder_;
  std::int64_t turned_us_ = 0;
  bool grown_ = false;
};

/// The partition of a process that has stopped versions: their points, and no others, are the base's.
[[nodiscard]] Partition without(const Partition& partition, std::span<const std::uint32_t> stopped, std::uint32_t base);

// ---------------------------------------------------------------------------------------------------------------------

namespace detail {

/// So many units as four are thinned like the store's: one process needs no million to see what is overwhelming.
[[nodiscard]] inline int local_sample_level(std::size_t units) noexcept { return UnitSample::level(4 * units); }

/// What counts look at.
[[nodiscard]] inline Interaction interaction_of(const Entry& entry) noexcept {
  Interaction made;
  made.id = entry.id;
  made.at_us = entry.at_us;
  made.revision = entry.revision;
  made.point = entry.point;
  made.number = entry.number;
  made.reason = entry.reason;
  made.error = entry.error;
  made.latency_us = entry.latency_us;
  made.score = entry.score;
  made.cost_microusd = entry.cost_microusd;
  return made;
}

}  // namespace detail

inline void LocalEvidence::open(const Epoch& epoch) {
  const Candidate* found = epoch.find(number_);
  if (found == nullptr || found->since != since_ || find(epoch.revision) != nullptr) return;
  const auto place = std::find_if(epochs_.begin(), epochs_.end(),
                                  [&](const LifeEpoch& each) { return each.epoch.revision > epoch.revision; });
  epochs_.insert(place, {epoch, EvidenceCounts{epoch.frozen.latency_us.size()}});
}

inline LifeEpoch* LocalEvidence::find(std::uint32_t epoch) noexcept {
  for (LifeEpoch& each : epochs_)
    if (each.epoch.revision == epoch) return &each;
  return nullptr;
}

inline void LocalEvidence::assign(const Entry& entry, const Epoch& epoch, std::int64_t timeout_us) {
  LifeEpoch* to = find(epoch.revision);
  const bool candidate = entry.number == number_;
  if (to == nullptr || (!candidate && entry.number != epoch.baseline)) return;
  turn_over(entry.at_us, timeout_us);
  const Arm arm = candidate ? Arm::candidate : Arm::baseline;
  const auto [at, fresh] = waiting_.try_emplace(entry.id, Waiting{epoch.revision, arm, false});
  if (!fresh) return;
  to->counts.assign(CountedBy::request, arm, entry.id);
  if (units_.find(entry.point) != nullptr) return;
  if (!UnitSample::has(entry.point, detail::local_sample_level(units_.size()))) return;
  units_.put(entry.point, entry.id);
  to->counts.assign(CountedBy::unit, arm, entry.id);
  at->second.unit = true;
}

inline bool LocalEvidence::settle(const Entry& entry, std::int64_t timeout_us) {
  turn_over(entry.at_us, timeout_us);
  auto* half = &waiting_;
  auto at = half->find(entry.id);
  if (at == half->end()) {
    half = &elder_;
    at = half->find(entry.id);
    if (at == half->end()) return false;
  }
  const Waiting found = at->second;
  half->erase(at);
  const Interaction outcome = detail::interaction_of(entry);
  LifeEpoch& to = *find(found.epoch);  // epochs stay
  to.counts.settle(CountedBy::request, found.arm, outcome, to.epoch.frozen, timeout_us);
  if (found.unit) to.counts.settle(CountedBy::unit, found.arm, outcome, to.epoch.frozen, timeout_us);
  grown_ = true;
  return true;
}

/// Memory of what never gets an outcome is bounded by time and by number.
inline void LocalEvidence::turn_over(std::int64_t now_us, std::int64_t timeout_us) {
  if (waiting_.size() < most_waiting && now_us - turned_us_ <= timeout_us) return;
  elder_.swap(waiting_);
  waiting_.clear();
  turned_us_ = now_us;
  for (LifeEpoch& each : epochs_) each.counts.forget_before(EvidenceCounts::minute_of(now_us - 2 * timeout_us));
}

inline Verdict LocalEvidence::judge(const GuardConfig& config, std::size_t candidates) const {
  GuardConfig local = config;
  local.alpha_rollback /= overwhelming;
  local.on_missing = OnMissing::hold;  // what this process did not see is no reason
  GuardStep step;
  step.candidates = candidates;
  step.display = false;
  return canary::judge(local, {number_, epochs_, {}}, step);
}

inline Partition without(const Partition& partition, std::span<const std::uint32_t> stopped, std::uint32_t base) {
  std::vector<WantedShare> wanted;
  std::uint32_t given = 0;
  for (const OwnerShare& share : partition.shares())
    if (std::find(stopped.begin(), stopped.end(), share.owner) != stopped.end())
      given += share.ppm;
    else if (share.owner != default_owner)
      wanted.push_back({share.owner, share.ppm});
  const auto owner = static_cast<Owner>(base);
  const auto at = std::find_if(wanted.begin(), wanted.end(), [&](const auto& each) { return each.owner == owner; });
  if (at != wanted.end())
    at->ppm += given;
  else if (owner != default_owner)
    wanted.push_back({owner, given});
  return rebalance(partition, wanted).partition;
}

}  // namespace canary
