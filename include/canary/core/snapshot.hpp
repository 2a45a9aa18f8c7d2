// snapshot.hpp: every task's table, immutable, in copy-on-write pages. Layer core.
// A task is an entry of 16 bytes that holds its table when one column is enough, so that 100,000 tasks stay dense in
// cache. A change copies the one page its task is on and the list of pages, never the whole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "canary/core/alias_table.hpp"

namespace canary::detail {

/// One task's table and records.
struct TaskEntry {
  Column column;  ///< the table itself at k = 0; else `cut` is where its columns begin, in cells of the page
  std::uint32_t base_and_log2;  ///< record of owner 0, 27 bits; k, 5 bits
  std::uint32_t revision;

  static constexpr int log2_bits = 5;
  static constexpr std::uint32_t max_base = (std::uint32_t{1} << (32 - log2_bits)) - 1;
  [[nodiscard]] int columns_log2() const noexcept { return static_cast<int>(base_and_log2 & ((1u << log2_bits) - 1)); }
  [[nodiscard]] std::uint32_t base() const noexcept { return base_and_log2 >> log2_bits; }
};
static_assert(sizeof(TaskEntry) == 16, "four tasks to a cache line: at 100,000 tasks density is all");

/// 128 tasks, then the columns of those that need more than one. A page costs 2.6 KB to copy, and a million tasks make
/// 7,813 of them, so that neither the page nor the list of pages dominates a change.
struct alignas(64) Page {
  static constexpr std::uint32_t log2_size = 7;
  static constexpr std::uint32_t size = 1u << log2_size;

  TaskEntry entries[size];
  std::uint32_t cells[size];  ///< each task's count of cells behind the page, 0 at k = 0
  std::uint32_t cell_count;   ///< all of them, with padding
  std::uint64_t born;         ///< sequence of the first snapshot that holds the page

  [[nodiscard]] Column* columns() noexcept { return reinterpret_cast<Column*>(this + 1); }
  [[nodiscard]] const Column* columns() const noexcept { return reinterpret_cast<const Column*>(this + 1); }

  /// Null without memory.
  [[nodiscard]] static Page* make(std::size_t cell_count) noexcept {
    void* memory =
        ::operator new (sizeof(Page) + cell_count * sizeof(Column), std::align_val_t{alignof(Page)}, std::nothrow);
    if (!memory) return nullptr;
    Page* page = ::new (memory) Page;
    page->cell_count = static_cast<std::uint32_t>(cell_count);
    return page;
  }
  static void dispose(Page* page) noexcept {
    ::operator delete (static_cast<void*>(page), std::align_val_t{alignof(Page)});
  }
};

/// Records in blocks that never move; an index is (block, place).
struct RecordBlock {
  static constexpr std::uint32_t log2_size = 10;
  static constexpr std::uint32_t size = 1u << log2_size;
};

/// One task as a reader sees it; valid as long as its snapshot is.
struct TaskView {
  const Column* columns;
  const VersionRecord* base;
  int columns_log2;
  std::uint32_t revision;

  [[nodiscard, gnu::always_inline]] Decision decide(Point point) const noexcept {
    // One column, the commonest table: nothing but the compare waits for the point, and it is never crowded.
    if (columns_log2 == 0) return {base + columns->owners[point >= columns->cut ? 1 : 0], point, revision};
    const std::uint16_t owner = select_column(columns, columns_log2, point);
    if (owner == crowded) [[unlikely]]
      return decide_crowded(columns, base, columns_log2, revision, point);
    return {base + owner, point, revision};
  }
  /// All by value and called last: the usual way through decide() saves no register for it.
  [[gnu::noinline, gnu::cold]] static Decision decide_crowded(const Column* columns, const VersionRecord* base,
                                                              int columns_log2, std::uint32_t revision,
                                                              Point point) noexcept {
    return {base + select_crowded(columns, columns_log2, point), point, revision};
  }
  void prefetch(Point point) const noexcept {
    __builtin_prefetch(columns + (std::uint64_t{point} >> (32 - columns_log2)));
  }
};

/// What every task unknown to the snapshot looks like.
inline constexpr Column no_column{};
inline constexpr TaskView no_task{&no_column, &no_version, 0, 0};

/// What a reader sees: the tasks, and where the records are. Followed by its list of pages.
struct Snapshot {
  std::uint32_t task_count;
  std::uint32_t page_count;
  const VersionRecord* const* record_blocks;
  std::uint64_t sequence;

  [[nodiscard]] const Page** pages() noexcept { return reinterpret_cast<const Page**>(this + 1); }
  [[nodiscard]] const Page* const* pages() const noexcept { return reinterpret_cast<const Page* const*>(this + 1); }

  /// Null without memory.
  [[nodiscard]] static Snapshot* make(std::uint32_t page_count) noexcept {
    void* memory = ::operator new(sizeof(Snapshot) + page_count * sizeof(Page*), std::nothrow);
    if (!memory) return nullptr;
    auto* snapshot = ::new (memory) Snapshot{0, page_count, nullptr, 0};
    std::fill_n(snapshot->pages(), page_count, nullptr);
    return snapshot;
  }
  static void dispose(Snapshot* snapshot) noexcept { ::operator delete(static_cast<void*>(snapshot)); }

  /// The record that an entry's base names. In bytes: a record's size is 2^log2_bits, so that one mask gives its offset.
  [[nodiscard, gnu::always_inline]] const VersionRecord* record(std::uint32_t base_and_log2) const noexcept {
    static_assert(sizeof(VersionRecord) == std::size_t{1} << TaskEntry::log2_bits);
    constexpr std::uint32_t in_block = (RecordBlock::size - 1) << TaskEntry::log2_bits;
    const VersionRecord* block = record_blocks[base_and_log2 >> (RecordBlock::log2_size + TaskEntry::log2_bits)];
    return reinterpret_cast<const VersionRecord*>(reinterpret_cast<const char*>(block) + (base_and_log2 & in_block));
  }

  [[nodiscard, gnu::always_inline]] TaskView view(TaskIndex task) const noexcept {
    const auto index = static_cast<std::uint32_t>(task);
    if (index >= task_count) [[unlikely]]
      return no_task;
    const Page* page = pages()[index >> Page::log2_size];
    const TaskEntry& entry = page->entries[index % Page::size];
    const int columns_log2 = entry.columns_log2();
    return {columns_log2 == 0 ? &entry.column : page->columns() + entry.column.cut, record(entry.base_and_log2),
            columns_log2, entry.revision};
  }
};
static_assert(sizeof(Snapshot) % alignof(Page*) == 0);

/// One task's new entry; at k = 0 it counts no cells.
struct EntryChange {
  std::uint32_t index;
  TaskEntry entry;
  const Column* cells;
  std::uint32_t cell_count;
};

/// Room that a table takes behind its page: rounded up, so that a table of up to eight columns is one cache line.
[[nodiscard]] constexpr std::size_t padded_cells(std::size_t cells) noexcept { return (cells + 7) / 8 * 8; }

/// Copies a page (null: a fresh one) with one entry changed. Null without memory.
[[nodiscard]] inline Page* copy_page(const Page* from, const EntryChange& change) noexcept {
  const std::uint32_t place = change.index % Page::size;
  std::size_t cells = padded_cells(change.cell_count);
  if (from != nullptr) cells += from->cell_count - padded_cells(from->cells[place]);
  Page* page = Page::make(cells);
  if (page == nullptr) return nullptr;
  if (from != nullptr) {
    std::memcpy(page->entries, from->entries, sizeof page->entries);
    std::memcpy(page->cells, from->cells, sizeof page->cells);
  } else {
    std::fill_n(page->entries, Page::size, TaskEntry{});
    std::fill_n(page->cells, Page::size, 0u);
  }
  page->entries[place] = change.entry;
  page->cells[place] = change.cell_count;
  std::uint32_t at = 0;
  if (cells != 0) {
    for (std::uint32_t i = 0; i != Page::size; ++i) {
      if (page->cells[i] == 0) continue;
      const Column* source = i == place ? change.cells : from->columns() + from->entries[i].column.cut;
      std::memcpy(page->columns() + at, source, page->cells[i] * sizeof(Column));
      page->entries[i].column.cut = at;
      at += static_cast<std::uint32_t>(padded_cells(page->cells[i]));
    }
  }
  return page;
}

}  // namespace canary::detail
