// drain_counts.hpp: what a drainer keeps in memory of the counts that it writes. Layer control; a part of drainer.hpp.
// Its own spool's rows only: what stands in the store is what stood here at the last commit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/epoch.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/unit_table.hpp"
#include "canary/control/window.hpp"

namespace canary {

/// What a task's interactions are kept by.
struct DrainTask {
  double keep = 1;                                ///< share of the interactions whose own row is kept
  std::int64_t outcome_timeout_us = 600'000'000;  ///< an assignment without an outcome by then is a failure
};

/// The epoch that a revision belongs to, and when it opened.
struct OpenedEpoch {
  Epoch epoch;
  TimeUs opened_at_us = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Counts and whether the store has them so.
template <class Counts>
struct Kept {
  Counts counts;
  bool changed = false;
  std::uint64_t used = 0;  ///< batch that used it last
};

/// A candidate's life.
struct Life {
  std::uint32_t since = 0;
  UnitTable units;
  std::uint64_t unit_count = 0;                            ///< of all servers, as far as is known
  std::uint64_t looked = 0;                                ///< batch that asked for it
  std::map<std::uint32_t, Kept<EvidenceCounts>> evidence;  ///< by epoch

  [[nodiscard]] int level() const noexcept { return UnitSample::level(unit_count); }
};

/// One arm of one comparison that a decision belongs to.
struct WatchPart {
  Life* life = nullptr;
  Kept<EvidenceCounts>* evidence = nullptr;
  Arm arm = Arm::baseline;
};

/// A revision of a task: who is compared there.
struct Watch {
  Epoch epoch;
  TimeUs opened_at_us = 0;
  std::vector<std::pair<std::uint32_t, WatchPart>> parts;  ///< candidates' by number, each with its life

  /// Gives use(part) every part that a decision for a version belongs to.
  template <class Use>
  void for_each(std::uint16_t number, Use use) const {
    for (const auto& [candidate, part] : parts) {
      if (candidate == number) use(WatchPart{part.life, part.evidence, Arm::candidate});
      if (epoch.baseline == number) use(WatchPart{part.life, part.evidence, Arm::baseline});
    }
  }
};

struct DrainedTask {
  std::string name;
  DrainTask options;
  std::optional<std::uint32_t> number;                      ///< the store's, once it has one
  std::map<std::uint32_t, std::unique_ptr<Watch>> watches;  ///< by revision; null: nothing is compared
  std::map<std::uint32_t, std::unique_ptr<Life>> lives;     ///< by their beginning
  std::map<std::pair<std::uint32_t, std::uint32_t>, Kept<WindowCounts>> windows;  ///< by version and window
};

/// Finds counts, in memory or in the store.
class CountsReader {
 public:
  CountsReader(InteractionStore& store, std::uint32_t serial, std::uint64_t batch)
      : store_{store}, serial_{serial}, batch_{batch} {}

  Kept<WindowCounts>& window(DrainedTask& task, const Interaction& row) {
    const std::pair key{std::uint32_t{row.number}, window_of(row.at_us)};
    auto at = task.windows.find(key);
    if (at == task.windows.end()) {
      at = task.windows.emplace(key, Kept<WindowCounts>{}).first;
      if (const auto bytes = load(task, CountsKind::window, key.first, key.second))
        at->second.counts = parsed<WindowCounts>(*bytes, task);
    }
    at->second.used = batch_;
    return at->second;
  }

  /// How many units a life has by now, by all servers.
  void look_again(const DrainedTask& task, Life& life) {
    life.unit_count = std::max(life.unit_count, units_of(task, life.since));
    life.looked = batch_;
  }

  /// Who is compared at the row's revision; null when nobody is.
  const Watch* watch(DrainedTask& task, const Interaction& row,
                     const std::function<std::optional<OpenedEpoch>(std::string_view, std::uint32_t)>& epoch) {
    auto at = task.watches.find(row.revision);
    if (at == task.watches.end()) {
      std::unique_ptr<Watch> made;
      std::optional<OpenedEpoch> opened = epoch(task.name, row.revision);
      if (opened && !opened->epoch.candidates.empty()) made = make_watch(task, *std::move(opened));
      at = task.watches.emplace(row.revision, std::move(made)).first;
    }
    const Watch* watch = at->second.get();
    // Recorded before the revision was: of a store that was restored since, which gives revisions out anew.
    constexpr TimeUs skew_us = 5'000'000;
    return watch == nullptr || row.at_us + skew_us < watch->opened_at_us ? nullptr : watch;
  }

  /// Brings evidence in which something is open into memory.
  void wake(DrainedTask& task, const CountsRow& row) {
    EvidenceCounts counts = parsed<EvidenceCounts>(row.bytes, task);
    if (!counts.open().empty())
      life(task, row.of).evidence.try_emplace(row.at, Kept<EvidenceCounts>{std::move(counts)});
  }

 private:
  Life& life(DrainedTask& task, std::uint32_t since) {
    std::unique_ptr<Life>& life = task.lives[since];
    if (!life) {
      life = std::make_unique<Life>();
      life->since = since;
      look_again(task, *life);
    }
    return *life;
  }

  std::unique_ptr<Watch> make_watch(DrainedTask& task, OpenedEpoch opened) {
    auto watch = std::make_unique<Watch>();
    watch->epoch = std::move(opened.epoch);
    watch->opened_at_us = opened.opened_at_us;
    const std::uint32_t epoch = watch->epoch.revision;
    for (const Candidate& each : watch->epoch.candidates) {
      Life& life = this->life(task, each.since);
      const std::size_t thresholds = watch->epoch.frozen.latency_us.size();
      const auto [kept, fresh] = life.evidence.try_emplace(epoch, Kept<EvidenceCounts>{EvidenceCounts{thresholds}});
      if (fresh)
        if (const auto bytes = load(task, CountsKind::evidence, each.since, epoch))
          kept->second.counts = parsed<EvidenceCounts>(*bytes, task);
      watch->parts.push_back({each.number, {&life, &kept->second, Arm::candidate}});
    }
    return watch;
  }

  /// Units of a life, by all servers.
  [[nodiscard]] std::uint64_t units_of(const DrainedTask& task, std::uint32_t since) {
    if (!task.number) return 0;
    std::uint64_t units = 0;
    for (const CountsRow& row : store_.counts({.kind = CountsKind::evidence, .task = task.number, .of = since})) {
      const EvidenceCounts counts = parsed<EvidenceCounts>(row.bytes, task);
      for (const Arm arm : {Arm::baseline, Arm::candidate}) units += counts.of(CountedBy::unit, arm).assigned;
    }
    return units;
  }

  [[nodiscard]] std::optional<std::string> load(const DrainedTask& task, CountsKind kind, std::uint32_t of,
                                                std::uint32_t at) {
    if (!task.number) return {};
    std::vector<CountsRow> rows =
        store_.counts({.kind = kind, .task = task.number, .of = of, .from = at, .to = at, .serial = serial_});
    if (rows.empty()) return {};
    return std::move(rows.front().bytes);
  }

  template <class Counts>
  [[nodiscard]] static Counts parsed(const std::string& bytes, const DrainedTask& task) {
    std::optional<Counts> counts = Counts::parse(bytes);
    if (!counts)
      throw StoreError{StoreErrc::corrupt, "task " + task.name + ": counts that make no sense",
                       "restore a backup: canary store restore"};
    return *std::move(counts);
  }

  InteractionStore& store_;
  std::uint32_t serial_;
  std::uint64_t batch_;
};

}  // namespace detail
}  // namespace canary
