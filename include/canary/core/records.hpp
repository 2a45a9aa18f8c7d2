// records.hpp: the texts and version records that decisions point to. Layer core, writer's side.
// Nothing here moves or is freed before the router, so that a Decision may be kept and handed to any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include <boost/container/vector.hpp>

#include "canary/core/snapshot.hpp"

namespace canary::detail {

/// Texts that stay where they are, each followed by a zero byte.
class TextArena {
 public:
  /// Where the next text will stand.
  struct Mark {
    std::size_t blocks;
    char* next;
    std::size_t left;
  };
  [[nodiscard]] Mark mark() const noexcept { return {blocks_.size(), next_, left_}; }

  /// Forgets every text kept since, which nobody may have seen.
  void rewind(const Mark& mark) noexcept {
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(mark.blocks), blocks_.end());
    next_ = mark.next;
    left_ = mark.left;
  }

  /// A lasting copy of the parts, joined. May throw std::bad_alloc.
  [[nodiscard]] std::string_view keep(std::string_view text, std::string_view tail = {}) {
    const std::size_t size = text.size() + tail.size();
    char* at = reserve(size + 1);
    std::copy(text.begin(), text.end(), at);
    std::copy(tail.begin(), tail.end(), at + text.size());
    at[size] = '\0';
    return {at, size};
  }

 private:
  static constexpr std::size_t block_size = 4'096;

  char* reserve(std::size_t size) {
    if (size > left_) {
      const std::size_t block = std::max(size, block_size);
      blocks_.push_back(std::unique_ptr<char[]>{new char[block]});
      next_ = blocks_.back().get();
      left_ = block;
    }
    left_ -= size;
    return std::exchange(next_, next_ + size);
  }

  boost::container::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

/// Where a task's records stand: room for `capacity` of them from index `base`, the first `written` in place.
struct RecordRange {
  std::uint32_t base = 0;
  std::uint32_t capacity = 0;
  std::uint32_t written = 0;
};

/// All version records of a router, addressed by index. A range never crosses memory that is not in one piece.
class RecordStore {
 public:
  /// A range of fresh records; capacity 0 when the index is used up. May throw std::bad_alloc.
  [[nodiscard]] RecordRange allocate(std::uint32_t count) {
    if (count > left_) {
      const std::uint32_t blocks = (count + RecordBlock::size - 1) / RecordBlock::size;
      const std::size_t first = block_count_;
      if ((first + blocks) * RecordBlock::size > TaskEntry::max_base) return {};
      grow_directory(first + blocks);
      memory_.push_back(std::unique_ptr<VersionRecord[]>{new VersionRecord[std::size_t{blocks} * RecordBlock::size]});
      for (std::uint32_t i = 0; i != blocks; ++i)
        directory_[first + i] = memory_.back().get() + std::size_t{i} * RecordBlock::size;
      block_count_ = first + blocks;
      next_ = static_cast<std::uint32_t>(first * RecordBlock::size);
      left_ = blocks * RecordBlock::size;
    }
    left_ -= count;
    return {std::exchange(next_, next_ + count), count, 0};
  }

  [[nodiscard]] VersionRecord& at(std::uint32_t index) noexcept {
    return directory_[index / RecordBlock::size][index % RecordBlock::size];
  }

  /// For snapshots: the blocks' addresses.
  [[nodiscard]] const VersionRecord* const* blocks() const noexcept { return directory_; }

 private:
  void grow_directory(std::size_t blocks) {
    if (blocks <= directory_size_) return;
    const std::size_t size = std::max(blocks, directory_size_ * 2);
    // Former directories stay for the readers of older snapshots: all together they are smaller than this one.
    directories_.push_back(std::unique_ptr<VersionRecord* []> { new VersionRecord* [size] {} });
    std::copy_n(directory_, block_count_, directories_.back().get());
    directory_ = directories_.back().get();
    directory_size_ = size;
  }

  boost::container::vector<std::unique_ptr<VersionRecord[]>> memory_;
  boost::container::vector<std::unique_ptr<VersionRecord*[]>> directories_;
  VersionRecord** directory_ = nullptr;
  std::size_t directory_size_ = 0;
  std::size_t block_count_ = 0;
  std::uint32_t next_ = 0;
  std::uint32_t left_ = 0;
};

}  // namespace canary::detail
