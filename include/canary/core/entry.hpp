// entry.hpp: what one record() writes: 64 bytes, of one cache line, that say by themselves whether they are whole.
// Layer core. Seven words of contents and a stamp: 48 bits of the entry's position, 16 of a check over the contents.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "canary/core/outcome.hpp"
#include "canary/core/types.hpp"

namespace canary {

enum class EntryKind : std::uint8_t {
  outcome = 0,   ///< of a decision; 0, which costs nothing to write
  assigned = 1,  ///< a decision was made whose outcome shall be waited for
  feedback = 2,  ///< a score for an earlier interaction: only id, time and score mean anything
};

/// How interaction ids are made: 41 bits of milliseconds since 2024-01-01, 12 of the node, 10 that count.
/// 0 is no id. Ids of one node rise; a node that makes more than 1,024 a millisecond runs ahead of the time.
struct InteractionId {
  static constexpr int count_bits = 10;
  static constexpr int node_bits = 12;
  static constexpr std::uint32_t nodes = 1u << node_bits;
  static constexpr std::int64_t start_us = 1'704'067'200'000'000;  ///< 2024-01-01T00:00:00Z

  /// The first id of a node at `cursor`, its count of ids since the start, 1,024 to a millisecond.
  [[nodiscard]] static constexpr std::uint64_t at(std::uint64_t cursor, std::uint32_t node) noexcept {
    return (cursor >> count_bits) << (count_bits + node_bits) | std::uint64_t{node} << count_bits |
           (cursor & ((1u << count_bits) - 1));
  }
  [[nodiscard]] static constexpr std::uint64_t cursor_at(std::int64_t time_us) noexcept {
    return time_us <= start_us ? 0 : static_cast<std::uint64_t>((time_us - start_us) / 1'000) << count_bits;
  }
  /// Beyond it ids would need more than 63 bits: in 2093.
  static constexpr std::uint64_t last_cursor = (std::uint64_t{1} << (63 - node_bits)) - 1;
  /// Ids that the cursor's millisecond has left.
  [[nodiscard]] static constexpr std::uint64_t left_at(std::uint64_t cursor) noexcept {
    constexpr std::uint64_t all = std::uint64_t{1} << count_bits;
    return all - cursor % all;
  }
  /// To the millisecond.
  [[nodiscard]] static constexpr std::int64_t time_us(std::uint64_t id) noexcept {
    return start_us + static_cast<std::int64_t>(id >> (count_bits + node_bits)) * 1'000;
  }
  [[nodiscard]] static constexpr std::uint32_t node(std::uint64_t id) noexcept {
    return static_cast<std::uint32_t>(id >> count_bits) & (nodes - 1);
  }
  /// The least id of that time, whatever the node.
  [[nodiscard]] static constexpr std::uint64_t first_at(std::int64_t time_us) noexcept {
    return at(cursor_at(time_us), 0);
  }
};

/// One entry, taken apart.
struct Entry {
  std::uint64_t id = 0;    ///< interaction; 0: none was to be had
  std::int64_t at_us = 0;  ///< since 1970, to the drainer's tick
  std::uint32_t task = 0;  ///< its index in the router that decided
  std::uint32_t revision = 0;
  Point point = 0;
  std::uint16_t number = 0;  ///< of the version; 0: the default
  EntryKind kind = EntryKind::outcome;
  Reason reason = Reason::split;
  std::uint8_t error = 0;  ///< ErrorKind; 0 to 15
  bool watched = false;    ///< the version was compared with another
  bool payload = false;    ///< a payload with this id was written before
  std::uint32_t latency_us = no_latency;
  std::uint32_t score = no_score;  ///< billionths
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
  std::uint64_t cost_microusd = 0;
  friend bool operator==(const Entry&, const Entry&) = default;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

using EntryWords = std::array<std::uint64_t, 7>;

// What each word holds.
[[nodiscard]] constexpr std::uint64_t two(std::uint32_t low, std::uint32_t high) noexcept {
  return low | std::uint64_t{high} << 32;
}
[[nodiscard]] constexpr std::uint64_t id_word(std::uint64_t id, bool payload) noexcept {
  return id | std::uint64_t{payload} << 63;
}
inline constexpr int time_bits = 56;  // two thousand years of microseconds
inline constexpr std::int64_t last_time_us = (std::int64_t{1} << time_bits) - 1;
[[nodiscard]] constexpr std::uint64_t time_word(std::int64_t at_us, EntryKind kind, std::uint8_t error) noexcept {
  const auto what = static_cast<std::uint64_t>(kind) | static_cast<std::uint64_t>(error) << 4;
  return static_cast<std::uint64_t>(at_us) | what << time_bits;
}
[[nodiscard]] constexpr std::uint64_t version_word(std::uint32_t task, std::uint16_t number, Reason reason,
                                                   bool watched) noexcept {
  return task | std::uint64_t{number} << 32 | static_cast<std::uint64_t>(reason) << 48 | std::uint64_t{watched} << 56;
}
/// The same of a record, whose last three fields are loaded at once.
[[nodiscard, gnu::always_inline]] inline std::uint64_t version_word(const VersionRecord& record) noexcept {
  if constexpr (std::endian::native != std::endian::little)
    return version_word(record.task, record.number, record.reason, record.watched);
  constexpr std::size_t begin = offsetof(VersionRecord, number);
  static_assert(offsetof(VersionRecord, reason) == begin + 2 && offsetof(VersionRecord, watched) == begin + 3);
  std::uint32_t high;
  std::memcpy(&high, reinterpret_cast<const char*>(&record) + begin, sizeof high);
  return two(record.task, high);
}

/// Both with 1 added, so that 0 is what is not known, and the commonest word costs nothing to make.
[[nodiscard]] constexpr std::uint64_t result_word(std::uint32_t latency_us, std::uint32_t score) noexcept {
  return two(latency_us + 1, score + 1);
}

[[nodiscard, gnu::always_inline]] constexpr EntryWords pack(const Entry& entry) noexcept {
  return {id_word(entry.id, entry.payload),
          time_word(entry.at_us, entry.kind, entry.error),
          two(entry.point, entry.revision),
          version_word(entry.task, entry.number, entry.reason, entry.watched),
          result_word(entry.latency_us, entry.score),
          two(entry.tokens_in, entry.tokens_out),
          entry.cost_microusd};
}

[[nodiscard]] constexpr Entry unpack(const EntryWords& words) noexcept {
  const auto low = [](std::uint64_t word) { return static_cast<std::uint32_t>(word); };
  const auto high = [](std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); };
  Entry entry;
  entry.id = words[0] & ~(std::uint64_t{1} << 63);
  entry.payload = words[0] >> 63 != 0;
  entry.at_us = static_cast<std::int64_t>(words[1]) & last_time_us;
  entry.kind = static_cast<EntryKind>(words[1] >> time_bits & 0xF);
  entry.error = static_cast<std::uint8_t>(words[1] >> (time_bits + 4));
  entry.point = low(words[2]);
  entry.revision = high(words[2]);
  entry.task = low(words[3]);
  entry.number = static_cast<std::uint16_t>(words[3] >> 32);
  entry.reason = static_cast<Reason>(words[3] >> 48 & 0xFF);
  entry.watched = words[3] >> 56 != 0;
  entry.latency_us = low(words[4]) - 1;
  entry.score = high(words[4]) - 1;
  entry.tokens_in = low(words[5]);
  entry.tokens_out = high(words[5]);
  entry.cost_microusd = words[6];
  return entry;
}

inline constexpr int check_bits = 16;

/// All words in one, each by an odd factor, so that no single one can change unseen. Words of a factor are such that small
/// steps of one are none of the other's: a word of the lap before shows beside those of this one. Sums, since every turn of a
/// word costs.
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t fold_of(std::uint64_t id, std::uint64_t time,
                                                                  std::uint64_t place, std::uint64_t chosen,
                                                                  std::uint64_t result, std::uint64_t tokens,
                                                                  std::uint64_t cost) noexcept {
  return 3 * (time + result) + 5 * (place + tokens) + (id + cost) + chosen;
}
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t fold_of(const EntryWords& words) noexcept {
  return fold_of(words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
}

/// The stamp of the entry at `position`, counted from 0, whose words fold to `fold`; never 0, which memory begins with.
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t stamp_of(std::uint64_t position,
                                                                   std::uint64_t fold) noexcept {
  return (position + 1) << check_bits | (fold * 0x9E37'79B9'7F4A'7C15) >> (64 - check_bits);
}
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t stamp_of(std::uint64_t position,
                                                                   const EntryWords& words) noexcept {
  return stamp_of(position, fold_of(words));
}

/// True for a stamp of this position, whatever its check says.
[[nodiscard]] constexpr bool is_of(std::uint64_t stamp, std::uint64_t position) noexcept {
  return stamp >> check_bits == (position + 1) << check_bits >> check_bits;
}

/// Where an entry stands.
template <class Atomics>
struct alignas(64) Cell {
  EntryWords words;
  typename Atomics::template atomic<std::uint64_t> stamp;
};

}  // namespace detail
}  // namespace canary
