// trip_watch.hpp: entries of one task, as this process's lanes have them -> the candidates to be stopped here. Layer control;
// pure like trip.hpp.
//
// Lanes are read one after another, so that an outcome may be seen before its assignment, which another thread recorded. That
// one was written earlier: it stands in its lane when the outcome is seen, and the next look has read that lane to its end. So
// an outcome without an assignment waits until then and no longer. Entries of a revision whose epoch is still being looked up
// wait for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/drain_counts.hpp"
#include "canary/control/epoch.hpp"
#include "canary/control/trip.hpp"
#include "canary/core/entry.hpp"

namespace canary {

/// A candidate that this process should send nothing more.
struct Overwhelming {
  std::uint32_t number = 0;
  double log_e = 0;    ///< evidence against "no harm beyond the margin"
  std::string reason;  ///< in words
};

/// What one process knows of a task's candidates by itself.
class TripWatch {
 public:
  /// Judges by this from now on.
  void configure(const GuardConfig& config) { config_ = config; }
  /// Entries of this revision will come; its epoch is not known yet. Once more: as if it were new, so that it is judged again.
  void expect(std::uint32_t revision);
  /// The oldest revision of which nobody has said what its epoch is.
  [[nodiscard]] std::optional<std::uint32_t> wants() const;
  /// The epoch of an expected revision; nothing: none is known, so none of its entries counts.
  void open(std::uint32_t revision, std::optional<OpenedEpoch> opened);

  /// Takes an entry of the task.
  void take(const Entry& entry);
  /// Every lane has been read to where it ended when the look began.
  void end_look();

  /// Who is overwhelmingly worse, of the candidates of the newest revision; asks about those only whose counts grew.
  [[nodiscard]] std::vector<Overwhelming> judge();

 private:
  struct Revision {
    bool known = false;
    std::optional<OpenedEpoch> opened;
  };
  static constexpr std::size_t most_revisions = 64;
  static constexpr std::size_t most_held = 65'536;

  [[nodiscard]] std::int64_t timeout_us() const noexcept { return std::int64_t{config_.outcome_timeout_s} * 1'000'000; }
  bool settle(const Entry& entry, const Epoch& epoch);

  GuardConfig config_;
  std::map<std::uint32_t, Revision> revisions_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, LocalEvidence> lives_;  // by candidate and beginning
  std::uint32_t newest_ = 0;
  bool anew_ = false;           // the newest has not been judged
  std::vector<Entry> held_;     // of revisions whose epoch is not known yet
  std::vector<Entry> early_;    // outcomes of this look without an assignment
  std::vector<Entry> waiting_;  // and of the last
};

// ---------------------------------------------------------------------------------------------------------------------

inline void TripWatch::expect(std::uint32_t revision) {
  newest_ = revision;
  anew_ = true;
  revisions_.try_emplace(revision);
  while (revisions_.size() > most_revisions) revisions_.erase(revisions_.begin());
}

inline std::optional<std::uint32_t> TripWatch::wants() const {
  for (const auto& [revision, about] : revisions_)
    if (!about.known) return revision;
  return {};
}

inline void TripWatch::open(std::uint32_t revision, std::optional<OpenedEpoch> opened) {
  const auto at = revisions_.find(revision);
  if (at == revisions_.end() || at->second.known) return;
  at->second = {true, std::move(opened)};
  if (at->second.opened) {
    const Epoch& epoch = at->second.opened->epoch;
    if (revision == newest_)
      std::erase_if(lives_, [&](const auto& life) {
        const Candidate* found = epoch.find(life.second.number());
        return found == nullptr || found->since != life.second.since();
      });
    for (const Candidate& each : epoch.candidates)
      lives_.try_emplace({each.number, each.since}, each.number, each.since).first->second.open(epoch);
  }
  std::vector<Entry> held;
  held.swap(held_);
  for (const Entry& entry : held) take(entry);
}

inline void TripWatch::take(const Entry& entry) {
  if (!entry.watched || entry.reason != Reason::split || entry.id == 0) return;
  const auto at = revisions_.find(entry.revision);
  if (at == revisions_.end()) return;
  if (!at->second.known) {
    if (held_.size() < most_held) held_.push_back(entry);
    return;
  }
  if (!at->second.opened) return;
  constexpr std::int64_t skew_us = 5'000'000;
  if (entry.at_us + skew_us < at->second.opened->opened_at_us) return;  // of another store's revision of this number
  const Epoch& epoch = at->second.opened->epoch;
  if (entry.kind == EntryKind::assigned) {
    for (auto& [name, life] : lives_) life.assign(entry, epoch, timeout_us());
  } else if (entry.kind == EntryKind::outcome && !settle(entry, epoch)) {
    if (early_.size() < most_held) early_.push_back(entry);
  }
}

/// In every life that waits for it; false if none does.
inline bool TripWatch::settle(const Entry& entry, const Epoch& epoch) {
  if (entry.number != epoch.baseline && epoch.find(entry.number) == nullptr) return true;  // nobody's
  bool settled = false;
  for (auto& [name, life] : lives_) settled = life.settle(entry, timeout_us()) || settled;
  return settled;
}

inline void TripWatch::end_look() {
  std::vector<Entry> last;
  last.swap(waiting_);
  std::vector<Entry> fresh;
  fresh.swap(early_);
  for (const Entry& entry : last) take(entry);
  early_.clear();  // waited long enough
  for (const Entry& entry : fresh) take(entry);
  waiting_.swap(early_);
}

inline std::vector<Overwhelming> TripWatch::judge() {
  std::vector<Overwhelming> found;
  const auto at = revisions_.find(newest_);
  if (at == revisions_.end() || !at->second.opened) return found;
  const bool anew = std::exchange(anew_, false);
  const Epoch& epoch = at->second.opened->epoch;
  for (auto& [name, life] : lives_) {
    if (!life.grown() && !anew) continue;
    Verdict verdict = life.judge(config_, epoch.candidates.size());
    if (verdict.action == Action::rollback)
      found.push_back({life.number(), verdict.log_e_rollback, std::move(verdict.reason)});
  }
  return found;
}

}  // namespace canary
