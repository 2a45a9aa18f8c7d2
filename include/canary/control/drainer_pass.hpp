// drainer_pass.hpp: one pass of a drainer: fetch, prepare, deliver. Layer control; a part of drainer.hpp.
// fetch() reads lanes, prepare() reads the store, deliver() writes: nothing is read from the store inside a transaction but
// what the transaction itself answers. Counts are changed in memory before the commit; when it fails all of them go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "canary/control/bytes.hpp"
#include "canary/control/drainer.hpp"
#include "canary/control/merge_counts.hpp"
#include "canary/core/mix.hpp"

namespace canary {
namespace detail {

inline constexpr TimeUs second_us = 1'000'000;
inline constexpr TimeUs minute_us = 60 * second_us;
inline constexpr TimeUs waiting_look_us = 10 * second_us;
inline constexpr TimeUs waiting_most_us =
    TimeUs{24} * 60 * minute_us;  // a score whose interaction has not come by then never will
inline constexpr std::size_t waiting_most = 1'000;
inline constexpr TimeUs alive_every_us = TimeUs{24} * 60 * minute_us;  // a spool without entries shows that it is there
inline constexpr TimeUs gone_after_us = TimeUs{7} * 24 * 60 * minute_us;  // one that does not is folded
inline constexpr std::size_t most_early = 65'536;                         // outcomes that wait for their assignment
inline constexpr std::size_t most_windows = 1'024;                        // of 15 KB
inline constexpr std::size_t most_watches = 256;                          // revisions of a task
inline constexpr std::size_t most_lives = 8;          // of a task, with their units; those in flight are found again
inline constexpr std::uint64_t unit_count_look = 64;  // batches between two looks at what other servers counted

/// True for the share of ids whose rows are kept.
[[nodiscard]] inline bool keeps(double share, std::uint64_t id) noexcept {
  return share >= 1 || static_cast<double>(mix(id) >> 11) * 0x1p-53 < share;
}

}  // namespace detail

inline void Drainer::forget() noexcept {
  record_.reset();
  tasks_.clear();
  stored_drops_.clear();
  early_.clear();
  early_order_.clear();
  retry_.clear();
  waiting_from_ = {};
  task_of_lane_.clear();
  look_waiting_us_ = 0;
  complete_us_ = 0;
}

inline const SpoolRecord& Drainer::contact(std::vector<DrainLane>& lanes, TimeUs now_us) {
  if (record_) return *record_;
  const SpoolRecord claimed = store_.claim(spool_, now_us);
  find_open(claimed.serial);
  record_ = claimed;
  // The answer to the last commit was lost, but it was made: what has no position must not be written again.
  if (committing_ && record_->generation > *committing_) {
    totals_ += batch_;
    drops_delivered();
  }
  committing_.reset();
  known_since_us_ = now_us;
  for (DrainLane& lane : lanes)
    for (const LanePosition& known : record_->lanes) {
      if (known.lane == lane.number) lane.position = std::max(lane.position, known.position);
      if (known.lane == lane.text_number()) lane.text_position = std::max(lane.text_position, known.position);
    }
  return *record_;
}

/// What is open in epochs that are over is closed by its time too, though nothing more of them is drained.
inline void Drainer::find_open(std::uint32_t serial) {
  detail::CountsReader counts{store_, serial, batch_number_};
  for (const CountsRow& row : store_.counts({.kind = CountsKind::evidence, .serial = serial}))
    if (const std::optional<std::string> name = name_of(row.task)) counts.wake(task_of(*name), row);
}

inline bool Drainer::pass(std::vector<DrainLane>& lanes, std::span<const TaskNames> names, TimeUs now_us) {
  try {
    (void)contact(lanes, now_us);
    ++batch_number_;
    fetch(lanes, names);
    prepare(now_us);
    close(now_us);
    if (!anything_to_write(now_us)) {
      settle_down(lanes);
      return !all_read_;
    }
    const std::unique_ptr<Delivery> delivery = store_.begin(*record_);
    if (!delivery) {  // its counts were closed by another, or it was restored
      forget();
      return true;
    }
    deliver(*delivery, now_us);
    std::vector<LanePosition> positions;
    for (std::size_t i = 0; i != lanes.size(); ++i) {
      positions.push_back({lanes[i].number, ends_[i]});
      if (lanes[i].texts != nullptr) positions.push_back({lanes[i].text_number(), text_ends_[i]});
    }
    std::sort(positions.begin(), positions.end(), [](const auto& a, const auto& b) { return a.lane < b.lane; });
    committing_ = record_->generation;
    delivery->commit(positions, now_us);
    committing_.reset();
    ++record_->generation;
    record_->at_us = now_us;
    record_->lanes = std::move(positions);
    settle_down(lanes);
    return !all_read_;
  } catch (...) {
    forget();
    throw;
  }
}

/// What the batch took need not be written again; what was counted after it must be.
inline void Drainer::drops_delivered() noexcept {
  for (const auto& [name, count] : batch_drops_)
    if (const auto at = drops_.find(name); at != drops_.end()) {
      at->second -= count;
      if (at->second == 0) drops_.erase(at);
    }
  batch_drops_.clear();
}

/// The batch is in the store.
inline void Drainer::settle_down(std::vector<DrainLane>& lanes) {
  for (std::size_t i = 0; i != lanes.size(); ++i) {
    lanes[i].position = ends_[i];
    lanes[i].text_position = text_ends_[i];
  }
  totals_ += batch_;
  drops_delivered();
  for (auto& [name, task] : tasks_) {
    for (auto& [key, kept] : task->windows) kept.changed = false;
    for (auto& [since, life] : task->lives)
      for (auto& [epoch, kept] : life->evidence) kept.changed = false;
    if (task->windows.size() > detail::most_windows)
      std::erase_if(task->windows, [this](const auto& entry) { return entry.second.used != batch_number_; });
  }
  const auto full = [](const auto& entry) {
    return entry.second->watches.size() > detail::most_watches || entry.second->lives.size() > detail::most_lives;
  };
  if (std::any_of(tasks_.begin(), tasks_.end(), full)) forget();
}

// --- fetch -----------------------------------------------------------------------------------------------------------

inline Drainer::Seen Drainer::look(const DrainLane& lane, std::uint64_t position) noexcept {
  const Recorder::Cell& cell = lane.cells[position & lane.mask];
  const std::uint64_t stamp = cell.stamp.load(std::memory_order_acquire);  // (L4)
  if (!detail::is_of(stamp, position)) return lane.finished ? Seen::torn : Seen::nothing;
  return stamp == detail::stamp_of(position, cell.words) ? Seen::whole : Seen::torn;
}

/// True if there is an entry, or what is left of one.
inline bool Drainer::has_next(DrainLane& lane, std::uint64_t position) noexcept {
  if (!lane.finished) return look(lane, position) != Seen::nothing;
  if (!lane.end) {  // whatever lies before the last whole entry was written, and may have been torn by a crash
    lane.end = lane.position;
    for (std::uint64_t at = lane.position; at != lane.position + lane.mask + 1; ++at)
      if (look(lane, at) == Seen::whole) lane.end = at + 1;
  }
  return position < *lane.end;
}

/// Fills a batch, the oldest entries first.
inline void Drainer::fetch(std::vector<DrainLane>& lanes, std::span<const TaskNames> names) {
  rows_.clear();
  about_rows_.clear();
  assigned_.clear();
  about_assigned_.clear();
  feedback_.clear();
  batch_ = {};
  batch_drops_.clear();
  ends_.clear();
  for (const DrainLane& lane : lanes) {
    ends_.push_back(lane.position);
  }
  constexpr TimeUs never = std::numeric_limits<TimeUs>::max();
  const auto head = [&](std::size_t at) {
    if (!has_next(lanes[at], ends_[at])) return never;
    return detail::unpack(lanes[at].cells[ends_[at] & lanes[at].mask].words).at_us;
  };
  std::vector<TimeUs> heads;
  for (std::size_t i = 0; i != lanes.size(); ++i) heads.push_back(head(i));
  std::size_t room = options_.batch;
  while (room != 0) {
    std::size_t first = lanes.size();
    TimeUs next = never;  // the oldest of all others
    for (std::size_t i = 0; i != lanes.size(); ++i) {
      if (heads[i] == never) continue;
      if (first == lanes.size() || heads[i] < heads[first]) {
        if (first != lanes.size()) next = std::min(next, heads[first]);
        first = i;
      } else {
        next = std::min(next, heads[i]);
      }
    }
    if (first == lanes.size()) break;
    DrainLane& lane = lanes[first];
    do {
      const std::uint64_t position = ends_[first]++;
      --room;
      if (look(lane, position) == Seen::whole) {
        const Entry entry = detail::unpack(lane.cells[position & lane.mask].words);
        take(entry, lane.names, names);
      } else {
        ++batch_.torn;
      }
      heads[first] = head(first);
    } while (room != 0 && heads[first] <= next && heads[first] != never);
  }
  all_read_ = room != 0;
  fetch_texts(lanes, names);
}

/// Of the same sample as the rows.
inline void Drainer::fetch_texts(std::vector<DrainLane>& lanes, std::span<const TaskNames> names) {
  texts_.clear();
  text_ends_.clear();
  std::size_t bytes = 0;
  for (DrainLane& lane : lanes) {
    std::uint64_t position = lane.text_position;
    Texts texts;
    lane.texts_read = lane.texts == nullptr;
    while (lane.texts != nullptr && bytes < options_.text_bytes) {
      if (!lane.texts->read(position, texts)) {
        lane.texts_read = true;
        break;
      }
      if (texts.id == 0) ++batch_.torn;
      bytes += texts.request.size() + texts.response.size() + sizeof texts;
      if (texts.id == 0) continue;
      const Task* task = task_of(texts.task, lane.names, names);
      if (task != nullptr && detail::keeps(task->options.keep, texts.id)) texts_.push_back(std::move(texts));
    }
    all_read_ = all_read_ && lane.texts_read;
    text_ends_.push_back(position);
  }
}

inline void Drainer::take(const Entry& entry, std::size_t which, std::span<const TaskNames> names) {
  if (entry.kind == EntryKind::feedback) {
    feedback_.push_back({entry.id, entry.at_us, entry.score});
    return;
  }
  Task* task = task_of(entry.task, which, names);
  if (task == nullptr || (entry.kind != EntryKind::outcome && entry.kind != EntryKind::assigned)) {
    ++batch_.nameless;
    return;
  }
  Interaction row;
  row.id = entry.id;
  row.at_us = entry.at_us;
  row.revision = entry.revision;
  row.point = entry.point;
  row.number = entry.number;
  row.reason = entry.reason;
  row.error = entry.error;
  row.latency_us = entry.latency_us;
  row.score = entry.score;
  row.tokens_in = entry.tokens_in;
  row.tokens_out = entry.tokens_out;
  row.cost_microusd = std::min<std::uint64_t>(entry.cost_microusd, std::numeric_limits<std::int64_t>::max());
  const bool paired = row.id != 0;  // else nobody waits for it: it was made before the spool had its node
  if (!paired) row.id = options_.new_id(record_->node, row.at_us);
  const bool outcome = entry.kind == EntryKind::outcome;
  (outcome ? batch_.interactions : batch_.assigned) += 1;
  (outcome ? rows_ : assigned_).push_back(row);
  (outcome ? about_rows_ : about_assigned_).push_back({task, nullptr, nullptr, paired});
}

/// By its index in the router that recorded; null for one whose name is not known.
inline Drainer::Task* Drainer::task_of(std::uint32_t index, std::size_t which, std::span<const TaskNames> names) {
  if (task_of_lane_.size() <= which) task_of_lane_.resize(which + 1);
  std::vector<Task*>& known = task_of_lane_[which];
  if (index < known.size() && known[index] != nullptr) return known[index];
  const std::string_view name = names[which](index);
  if (name.empty()) return nullptr;
  if (known.size() <= index) known.resize(index + std::size_t{1});
  return known[index] = &task_of(name);
}

inline Drainer::Task& Drainer::task_of(std::string_view name) {
  auto at = tasks_.find(name);
  if (at == tasks_.end()) {
    at = tasks_.emplace(std::string{name}, std::make_unique<Task>()).first;
    at->second->name = name;
    at->second->options = options_.task(name);
    at->second->number = store_.find_task(name);
  }
  return *at->second;
}

// --- prepare ---------------------------------------------------------------------------------------------------------

/// Brings what the batch will count into memory.
inline void Drainer::prepare(TimeUs now_us) {
  claims_.clear();
  claim_of_.clear();
  settles_.clear();
  scored_.clear();
  if (look_waiting_us_ - now_us > 10 * detail::waiting_look_us) look_waiting_us_ = now_us;  // the clock went back
  prepare_assigned();
  prepare_outcomes();
  prepare_feedback();
  prepare_drops(now_us);
}

inline void Drainer::prepare_assigned() {
  detail::CountsReader counts{store_, record_->serial, batch_number_};
  std::vector<std::uint64_t> ids;  // whose outcome may be in the store alone
  for (std::size_t i = 0; i != assigned_.size(); ++i) {
    const Interaction& row = assigned_[i];
    const Watch* watch = about_assigned_[i].watch = counts.watch(*about_assigned_[i].task, row, options_.epoch);
    if (watch != nullptr && row.reason == Reason::split && row.at_us <= known_since_us_) ids.push_back(row.id);
  }
  const std::unordered_map<std::uint64_t, Interaction> stored = find_stored(std::move(ids));
  for (std::size_t i = 0; i != assigned_.size(); ++i) {
    const Interaction& row = assigned_[i];
    Task& task = *about_assigned_[i].task;
    const Watch* watch = about_assigned_[i].watch;
    if (watch == nullptr || row.reason != Reason::split) continue;
    watch->for_each(row.number, [&](const detail::WatchPart& part) {
      detail::Life& life = *part.life;
      if (batch_number_ - life.looked >= detail::unit_count_look) counts.look_again(task, life);
      const std::uint64_t* known = life.units.find(row.point);
      if (known != nullptr && *known != detail::UnitTable::asked) return;
      if (!UnitSample::has(row.point, life.level())) return;  // whether or not its outcome was drained before
      life.units.put(row.point, row.id);
      const std::optional<Interaction> early = early_outcome(row.id, stored);
      claim_of_.emplace(row.id, claims_.size());
      claims_.push_back({{0, life.since, row.point, row.id, early.has_value()}, part, no_row, &task, early, watch});
    });
  }
}

/// Finds what each outcome settles.
inline void Drainer::prepare_outcomes() {
  detail::CountsReader counts{store_, record_->serial, batch_number_};
  for (std::size_t i = 0; i != rows_.size(); ++i) {
    const Interaction& row = rows_[i];
    About& about = about_rows_[i];
    about.window = &counts.window(*about.task, row);
    const bool may_count = about.paired && row.reason == Reason::split;
    about.watch = may_count ? counts.watch(*about.task, row, options_.epoch) : nullptr;
    if (about.watch == nullptr) continue;
    about.watch->for_each(row.number, [&](const detail::WatchPart& part) {
      detail::Life& life = *part.life;
      const std::uint64_t* id = life.units.find(row.point);
      const bool older = InteractionId::time_us(row.id) <= known_since_us_;  // its unit may be known to the store alone
      if (id != nullptr && *id == detail::UnitTable::asked) keep_early(row);
      if (id != nullptr && *id != row.id && !older) return;
      if (id == nullptr && !UnitSample::has(row.point, std::max(0, life.level() - 1))) return;
      about.counts_for_unit = true;
      // Claimed by this very batch: the store need not be asked twice.
      if (UnitAsk* claim = claim_for(row.id, life); claim != nullptr && claim->row == no_row) {
        claim->row = i;
        claim->key.settled = true;
      } else {
        settles_.push_back({{0, life.since, row.point, row.id, true}, part, i, about.task});
      }
    });
  }
}

/// Rows that the store has, in one look.
inline std::unordered_map<std::uint64_t, Interaction> Drainer::find_stored(std::vector<std::uint64_t> ids) {
  std::unordered_map<std::uint64_t, Interaction> found;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (!ids.empty()) store_.find(ids, [&](const Interaction& row) { found.emplace(row.id, row); });
  return found;
}

/// An outcome that was drained before its assignment, since another thread recorded it. From before this drainer knew
/// anything it can be in the store alone.
inline std::optional<Interaction> Drainer::early_outcome(
    std::uint64_t id, const std::unordered_map<std::uint64_t, Interaction>& stored) const {
  if (const auto at = early_.find(id); at != early_.end()) return at->second;
  if (const auto at = stored.find(id); at != stored.end()) return at->second;
  return {};
}

/// Keeps an outcome whose unit nobody has claimed so far: its assignment may be in another lane.
inline void Drainer::keep_early(const Interaction& outcome) {
  if (InteractionId::node(outcome.id) != record_->node || !early_.emplace(outcome.id, outcome).second) return;
  early_order_.push_back(outcome.id);
  while (early_order_.size() > detail::most_early) {
    early_.erase(early_order_.front());
    early_order_.pop_front();
  }
}

/// The claim that this batch makes for an interaction in a life; null if it makes none.
inline Drainer::UnitAsk* Drainer::claim_for(std::uint64_t id, const detail::Life& life) {
  const auto [first, last] = claim_of_.equal_range(id);
  for (auto at = first; at != last; ++at)
    if (claims_[at->second].part.life == &life) return &claims_[at->second];
  return nullptr;
}

/// Finds the interactions that scores are for, so that their counts can be changed.
inline void Drainer::prepare_feedback() {
  batch_.feedback = feedback_.size();
  const std::size_t fresh = feedback_.size();
  feedback_.insert(feedback_.end(), retry_.begin(), retry_.end());
  first_retry_ = fresh;
  detail::CountsReader counts{store_, record_->serial, batch_number_};
  std::map<std::uint64_t, std::size_t> here;  // rows of this batch, by id
  if (!feedback_.empty())
    for (std::size_t i = 0; i != rows_.size(); ++i) here.emplace(rows_[i].id, i);
  std::vector<std::uint64_t> ids;
  for (const Feedback& each : feedback_)
    if (!here.contains(each.id)) ids.push_back(each.id);
  const std::unordered_map<std::uint64_t, Interaction> stored = find_stored(std::move(ids));
  for (const Feedback& each : feedback_) {
    if (const auto at = here.find(each.id); at != here.end()) {
      scored_[each.id] = {about_rows_[at->second].task, about_rows_[at->second].watch};
      continue;
    }
    const auto at = stored.find(each.id);
    if (at == stored.end()) continue;
    const Interaction& found = at->second;
    const std::optional<std::string> name = name_of(found.task);
    if (!name) continue;
    Task& task = task_of(*name);
    (void)counts.window(task, found);
    scored_[each.id] = {&task, found.reason == Reason::split ? counts.watch(task, found, options_.epoch) : nullptr};
  }
}

/// What is counted already in this window.
inline void Drainer::prepare_drops(TimeUs now_us) {
  const std::uint32_t window = window_of(now_us);
  for (const auto& [name, more] : drops_) {
    auto [at, fresh] = stored_drops_.try_emplace(name, window, 0);
    if (!fresh && at->second.first == window) continue;
    at->second = {window, 0};
    const std::optional<std::uint32_t> task = store_.find_task(name);
    if (!task) continue;
    for (const CountsRow& row : store_.counts({CountsKind::drops, task, 0, window, window, record_->serial}))
      at->second.second = detail::NumberReader{row.bytes}.take();
  }
}

inline std::optional<std::string> Drainer::name_of(std::uint32_t number) {
  for (const auto& [name, task] : tasks_)
    if (task->number == number) return name;
  for (const auto& [known, name] : store_.task_names())
    if (known == number) return name;
  return {};
}

/// Assignments whose time for an outcome is over are failures, once everything of that time is in the store.
inline void Drainer::close(TimeUs now_us) {
  if (!all_read_) return;
  complete_us_ = std::max(complete_us_, now_us);
  constexpr TimeUs slack_us =
      5 * detail::second_us;  // a thread may be held up between its look at the clock and the ring
  for (auto& [name, task] : tasks_) {
    const TimeUs over_us = complete_us_ - task->options.outcome_timeout_us - slack_us;
    for (auto& [since, life] : task->lives)
      for (auto& [epoch, kept] : life->evidence)
        if (kept.counts.close_before(EvidenceCounts::minute_of(over_us))) kept.changed = true;
  }
}

// --- deliver ---------------------------------------------------------------------------------------------------------

inline bool Drainer::anything_to_write(TimeUs now_us) const {
  if (scores_wait_ && now_us >= look_waiting_us_) return true;
  if (now_us - record_->at_us > detail::alive_every_us) return true;
  if (!rows_.empty() || !assigned_.empty() || !feedback_.empty() || !claims_.empty() || !texts_.empty()) return true;
  if (!drops_.empty() || batch_.torn != 0 || batch_.nameless != 0) return true;
  for (const auto& [name, task] : tasks_)
    for (const auto& [since, life] : task->lives)
      for (const auto& [epoch, kept] : life->evidence)
        if (kept.changed) return true;
  return false;
}

inline void Drainer::deliver(Delivery& to, TimeUs now_us) {
  number_tasks(to);
  for (std::size_t i = 0; i != assigned_.size(); ++i)
    if (about_assigned_[i].watch != nullptr && assigned_[i].reason == Reason::split)
      about_assigned_[i].watch->for_each(assigned_[i].number, [&](const detail::WatchPart& part) {
        part.evidence->counts.assign(CountedBy::request, part.arm, assigned_[i].id);
        part.evidence->changed = true;
      });
  add_rows(to);
  count_units(to);
  join_feedback(to, now_us);
  std::vector<Payload> payloads;
  payloads.reserve(texts_.size());
  for (const Texts& each : texts_) payloads.push_back({each.id, each.request, each.response});
  if (!payloads.empty()) to.add_payloads(payloads);
  put_counts(to);
  put_drops(to, now_us);
}

inline void Drainer::number_tasks(Delivery& to) {
  for (auto& [name, task] : tasks_)
    if (!task->number) task->number = to.task_number(name);
  for (std::size_t i = 0; i != rows_.size(); ++i) rows_[i].task = *about_rows_[i].task->number;
}

/// Writes the rows, and counts those that are new.
inline void Drainer::add_rows(Delivery& to) {
  std::vector<Interaction> kept;
  kept.reserve(rows_.size());
  for (std::size_t i = 0; i != rows_.size(); ++i) {
    const bool unit = about_rows_[i].counts_for_unit;  // its score may come later, by its row
    if (unit || detail::keeps(about_rows_[i].task->options.keep, rows_[i].id)) kept.push_back(rows_[i]);
  }
  const auto by_id = [](const Interaction& a, const Interaction& b) { return a.id < b.id; };
  if (!std::is_sorted(kept.begin(), kept.end(), by_id)) std::stable_sort(kept.begin(), kept.end(), by_id);
  std::map<std::uint64_t, std::size_t> left_out;
  if (!kept.empty())
    for (const std::uint64_t id : to.add(kept)) ++left_out[id];
  doubled_.assign(rows_.size(), false);
  for (std::size_t i = rows_.size(); i-- != 0 && !left_out.empty();) {
    const auto at = left_out.find(rows_[i].id);
    if (at == left_out.end()) continue;
    doubled_[i] = true;
    ++batch_.doubled;
    if (--at->second == 0) left_out.erase(at);
  }
  for (std::size_t i = 0; i != rows_.size(); ++i)
    if (!doubled_[i]) count_row(i);
}

inline void Drainer::count_row(std::size_t at) {
  const Interaction& row = rows_[at];
  const About& about = about_rows_[at];
  about.window->counts.add(row);
  about.window->changed = true;
  if (about.watch == nullptr) return;
  about.watch->for_each(row.number, [&](const detail::WatchPart& part) {
    settle(CountedBy::request, part, row, *about.watch, *about.task);
  });
}

/// Claims units for their first assignment, and settles those whose outcome has come.
inline void Drainer::count_units(Delivery& to) {
  std::vector<UnitKey> keys;
  std::vector<bool> answers;
  for (UnitAsk& ask : claims_) {
    ask.key.task = *ask.task->number;
    keys.push_back(ask.key);
  }
  if (!keys.empty()) to.claim_units(keys, answers);
  std::vector<std::size_t> had;  // claims of units that had an interaction: another, or this very one
  for (std::size_t i = 0; i != claims_.size(); ++i) {
    const UnitAsk& ask = claims_[i];
    if (!answers[i]) {
      had.push_back(i);
      continue;
    }
    ++ask.part.life->unit_count;
    ask.part.evidence->counts.assign(CountedBy::unit, ask.part.arm, ask.key.id);
    ask.part.evidence->changed = true;
    if (ask.row != no_row || ask.early) settle_unit(ask);
  }
  keys.clear();
  for (const std::size_t i : had) keys.push_back(claims_[i].key);
  if (!keys.empty()) to.find_units(keys, answers);
  for (std::size_t i = 0; i != had.size(); ++i) {
    const UnitAsk& ask = claims_[had[i]];
    if (!answers[i])
      ask.part.life->units.put(ask.key.point, detail::UnitTable::others);
    else if (ask.row != no_row || ask.early)
      settles_.push_back(ask);
  }
  settle_units(to);
}

inline void Drainer::settle_unit(const UnitAsk& ask) {
  const Interaction& outcome = ask.row != no_row ? rows_[ask.row] : *ask.early;
  const Watch& watch = ask.row != no_row ? *about_rows_[ask.row].watch : *ask.watch;
  settle(CountedBy::unit, ask.part, outcome, watch, *ask.task);
}

/// What another server assigned is open there, and nothing here settles it.
inline void Drainer::settle(CountedBy by, const detail::WatchPart& part, const Interaction& outcome, const Watch& watch,
                            const Task& task) {
  EvidenceCounts& counts = part.evidence->counts;
  if (InteractionId::node(outcome.id) == record_->node)
    counts.settle(by, part.arm, outcome, watch.epoch.frozen, task.options.outcome_timeout_us);
  else
    counts.settle_late(by, part.arm);
  part.evidence->changed = true;
}

inline void Drainer::settle_units(Delivery& to) {
  std::vector<UnitKey> keys;
  std::vector<bool> answers;
  std::vector<std::size_t> asks;
  for (std::size_t i = 0; i != settles_.size(); ++i) {
    UnitAsk& ask = settles_[i];
    if (ask.row != no_row && doubled_[ask.row]) continue;
    ask.key.task = *ask.task->number;
    keys.push_back(ask.key);
    asks.push_back(i);
  }
  if (!keys.empty()) to.settle_units(keys, answers);
  for (std::size_t i = 0; i != keys.size(); ++i) {
    const UnitAsk& ask = settles_[asks[i]];
    detail::UnitTable& units = ask.part.life->units;
    if (answers[i]) {
      settle_unit(ask);
      continue;
    }
    if (units.find(ask.key.point) != nullptr) continue;
    units.put(ask.key.point, detail::UnitTable::asked);
    if (ask.row != no_row) keep_early(rows_[ask.row]);
  }
}

/// Joins scores to interactions that were found before, so that they are counted. One whose interaction came between that
/// look and this transaction waits like one whose interaction is still to come.
inline std::vector<JoinedFeedback> Drainer::join_found(Delivery& to) {
  std::vector<Feedback> asked;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i != feedback_.size(); ++i)
    if (scored_.contains(feedback_[i].id)) {
      asked.push_back(feedback_[i]);
      places.push_back(i);
    }
  std::vector<JoinedFeedback> answers;
  if (!asked.empty()) to.join(asked, answers);
  std::vector<JoinedFeedback> joined(feedback_.size());
  for (std::size_t i = 0; i != answers.size(); ++i) joined[places[i]] = answers[i];
  return joined;
}

inline void Drainer::join_feedback(Delivery& to, TimeUs now_us) {
  const bool look = now_us >= look_waiting_us_;
  std::vector<JoinedFeedback> joined = join_found(to);
  std::vector<Feedback> early;
  std::vector<std::uint64_t> done;
  std::vector<UnitAsk> asks;
  std::vector<Interaction> scored;
  for (std::size_t i = 0; i != joined.size(); ++i) {
    const bool waited = i >= first_retry_;
    const bool known = joined[i].result != Joined::unknown;
    const bool hopeless = now_us - feedback_[i].at_us > detail::waiting_most_us;
    if (!known && !waited && !hopeless) early.push_back(feedback_[i]);
    if (waited && (known || hopeless)) done.push_back(feedback_[i].id);
    if (joined[i].result == Joined::already || (!known && hopeless)) ++batch_.feedback_refused;
    if (joined[i].result != Joined::done) continue;
    count_score(joined[i], scored.size(), asks);
    scored.push_back(joined[i].interaction);
  }
  std::vector<UnitKey> keys;
  std::vector<bool> counted;
  keys.reserve(asks.size());
  for (const UnitAsk& ask : asks) keys.push_back(ask.key);
  if (!keys.empty()) to.find_units(keys, counted);
  for (std::size_t i = 0; i != keys.size(); ++i)
    if (counted[i]) asks[i].part.evidence->counts.add_score(CountedBy::unit, asks[i].part.arm, scored[asks[i].row]);
  if (!early.empty()) to.put_waiting(early);
  scores_wait_ = scores_wait_ || !early.empty();
  if (!done.empty()) to.drop_waiting(done);
  retry_.clear();
  if (look) {
    batch_.feedback_refused += to.drop_waiting_before(now_us - detail::waiting_most_us);
    const bool from_the_oldest = waiting_from_ == WaitingPlace{};
    const std::size_t looks = to.waiting(waiting_from_, detail::waiting_most, retry_);
    scores_wait_ = looks != 0 || !from_the_oldest;
    look_waiting_us_ = now_us + (scores_wait_ ? 1 : 6) * detail::waiting_look_us;
  }
}

/// A score that came after its outcome; what units it counts for is asked by the caller.
inline void Drainer::count_score(const JoinedFeedback& joined, std::size_t at, std::vector<UnitAsk>& asks) {
  const Interaction& row = joined.interaction;
  const auto& scored = scored_.at(row.id);
  const auto& task = scored.first;
  const auto& watch = scored.second;
  if (const auto window = task->windows.find({std::uint32_t{row.number}, window_of(row.at_us)});
      window != task->windows.end()) {
    if (joined.before == no_score)
      window->second.counts.add_score(row.score);
    else
      window->second.counts.replace_score(joined.before, row.score);
    window->second.changed = true;
  }
  if (watch == nullptr || joined.before != no_score) return;  // evidence counts the first score that there is
  watch->for_each(row.number, [&](const detail::WatchPart& part) {
    part.evidence->counts.add_score(CountedBy::request, part.arm, row);
    part.evidence->changed = true;
    asks.push_back({{*task->number, part.life->since, row.point, row.id, true}, part, at, task});
  });
}

inline void Drainer::put_counts(Delivery& to) {
  for (const auto& [name, task] : tasks_) {
    for (const auto& [key, kept] : task->windows)
      if (kept.changed) to.put({CountsKind::window, *task->number, key.first, key.second, 0, kept.counts.bytes()});
    for (const auto& [since, life] : task->lives)
      for (const auto& [epoch, kept] : life->evidence)
        if (kept.changed) to.put({CountsKind::evidence, *task->number, since, epoch, 0, kept.counts.bytes()});
  }
}

inline void Drainer::put_drops(Delivery& to, TimeUs now_us) {
  const std::uint32_t window = window_of(now_us);
  batch_drops_ = drops_;
  for (const auto& [name, more] : batch_drops_) {
    const std::uint32_t task = to.task_number(name);
    std::uint64_t& count = stored_drops_[name].second;
    count += more;
    std::string bytes;
    detail::put_number(bytes, count);
    to.put({CountsKind::drops, task, 0, window, 0, std::move(bytes)});
  }
}

inline void Drainer::close_silent(TimeUs now_us) {
  if (!record_) return;
  const std::vector<std::pair<std::uint32_t, std::string>> names = store_.task_names();
  const auto timeout_us = [&](std::uint32_t task) {
    for (const auto& [number, name] : names)
      if (number == task) return options_.task(name).outcome_timeout_us;
    return DrainTask{}.outcome_timeout_us;
  };
  for (const SpoolRecord& other : store_.spools()) {
    if (other.serial == record_->serial) continue;
    std::vector<CountsRow> closed;
    bool open = false;
    for (CountsRow& row : store_.counts({.kind = CountsKind::evidence, .serial = other.serial})) {
      // So long that a server that only lost its store for a while is not taken for gone.
      const TimeUs over_us = now_us - timeout_us(row.task) - 10 * detail::minute_us;
      std::optional<EvidenceCounts> counts = EvidenceCounts::parse(row.bytes);
      const bool over = other.at_us <= over_us && counts && counts->close_before(EvidenceCounts::minute_of(over_us));
      open = open || !counts || !counts->open().empty();
      if (!over) continue;
      row.bytes = counts->bytes();
      closed.push_back(std::move(row));
    }
    if (closed.empty()) {
      if (!open && now_us - other.at_us > detail::gone_after_us) (void)store_.fold(other, merge_counts);
      continue;
    }
    const std::unique_ptr<Delivery> delivery = store_.begin(other);
    if (!delivery) continue;  // it is not so silent
    for (const CountsRow& row : closed) delivery->put(row);
    delivery->commit(other.lanes, other.at_us);
  }
}

}  // namespace canary
