// router_publish.hpp: a changed task into records and a new snapshot. Layer core; a part of router.hpp.
// Records and pages that readers may see are never written to: a change makes new ones, and the old pages are freed when
// no snapshot that is alive holds them.
#pragma once

#include "canary/core/router.hpp"
#include "canary/core/router_change.hpp"

namespace canary {

/// Brings the task's records in line with its names. Records that readers may see are never written: when one of those
/// would change, or room is short, all move to a new range.
template <class Atomics>
Errc BasicRouter<Atomics>::write_records(detail::TaskState& state) {
  const auto task = static_cast<TaskIndex>(&state - tasks_.data());
  const std::uint32_t needed = state.records_needed();
  boost::container::small_vector<VersionRecord, 8> records;
  records.reserve(needed);
  records.push_back(
      detail::make_record(task, {state.default_id, state.default_model}, default_owner, Reason::fallback));
  if (needed > detail::forced_place) {
    detail::Version forced{state.forced_id, state.forced_model};
    Owner owner = default_owner;
    if (state.split && !state.forced_model.empty())
      owner = state.stored ? state.forced_owner : state.split->find({.model = state.forced_model});
    if (owner != default_owner && state.split->versions[owner - 1u].model != state.forced_model) owner = default_owner;
    if (owner != default_owner) forced = state.split->versions[owner - 1u];
    records.push_back(detail::make_record(task, forced, owner, Reason::forced));
  }
  if (state.split) {
    const Reason chosen = state.tripped ? Reason::tripped : Reason::split;
    const Reason reason = state.default_model.empty() ? Reason::fallback : chosen;
    records.push_back(detail::make_record(task, {state.default_id, state.default_model, 0, state.default_watched},
                                          default_owner, reason));
    Owner owner = default_owner;
    for (const detail::Version& version : state.split->versions)
      records.push_back(detail::make_record(task, version, ++owner, chosen));
  }
  bool fits = needed <= state.records.capacity;
  for (std::uint32_t i = 0; fits && i != state.records.written; ++i)
    fits = records[i] == records_.at(state.records.base + i);
  detail::RecordRange range = state.records;
  if (!fits) {
    range = records_.allocate(std::bit_ceil(needed));
    if (range.capacity == 0) return Errc::full;
  }
  for (; range.written != needed; ++range.written) records_.at(range.base + range.written) = records[range.written];
  state.records = range;
  return Errc::ok;
}

template <class Atomics>
Errc BasicRouter<Atomics>::publish(const detail::TaskState& state, const Partition& partition,
                                   std::uint32_t task_count) {
  const auto all = [](std::uint16_t place) { return Column{0, {place, place}}; };
  const auto shares = partition.shares();
  const bool serves_a_version = shares.size() > 1 || shares[0].owner != default_owner;
  AliasTable table;
  if (!state.forced_model.empty())
    table.cells.push_back(all(detail::forced_place));
  else if (!serves_a_version && !state.tripped)  // the default that a tripped version's part went to is no fallback
    table.cells.push_back(all(detail::fallback_place));
  else
    table = compile(partition, detail::version_offset);
  const auto log2 = static_cast<std::uint32_t>(table.columns_log2);
  const detail::TaskEntry entry{table.cells[0], state.records.base << detail::TaskEntry::log2_bits | log2,
                                state.revision};
  const auto index = static_cast<std::uint32_t>(&state - tasks_.data());
  const auto cells = log2 == 0 ? 0u : static_cast<std::uint32_t>(table.cells.size());
  return publish_entry({index, entry, table.cells.data(), cells}, task_count);
}

template <class Atomics>
Errc BasicRouter<Atomics>::publish_entry(const detail::EntryChange& change, std::uint32_t task_count) {
  publication_.prepare();
  retired_pages_.reserve(retired_pages_.size() + 1);
  const detail::Snapshot& now = publication_.writers();
  const std::uint32_t place = change.index >> detail::Page::log2_size;
  const detail::Page* old = place < now.page_count ? now.pages()[place] : nullptr;
  detail::Snapshot* next = detail::Snapshot::make(std::max(now.page_count, place + 1));
  if (next == nullptr) return Errc::out_of_memory;
  detail::Page* page = detail::copy_page(old, change);
  if (page == nullptr) {
    detail::Snapshot::dispose(next);
    return Errc::out_of_memory;
  }
  std::copy_n(now.pages(), now.page_count, next->pages());
  next->pages()[place] = page;
  next->task_count = task_count;
  next->record_blocks = records_.blocks();
  next->sequence = page->born = now.sequence + 1;
  const std::uint64_t sequence = next->sequence;
  publication_.publish(next);
  if (old != nullptr) retired_pages_.push_back({const_cast<detail::Page*>(old), sequence});
  free_pages();
  return Errc::ok;
}

/// Frees every replaced page that no living snapshot holds. A stopped reader keeps only its own snapshot's pages.
template <class Atomics>
void BasicRouter<Atomics>::free_pages() noexcept {
  const auto in_use = [this](const RetiredPage& old) {
    bool used = false;
    publication_.for_each_alive([&](const detail::Snapshot& alive) {
      used = used || (old.page->born <= alive.sequence && alive.sequence < old.retired);
    });
    return used;
  };
  auto kept = retired_pages_.begin();
  for (const RetiredPage& old : retired_pages_) {
    if (in_use(old))
      *kept++ = old;
    else
      detail::Page::dispose(old.page);
  }
  retired_pages_.erase(kept, retired_pages_.end());
}

}  // namespace canary
