// hash.hpp: key bytes -> Point. Layer core; the one place that includes xxHash.
// seed = XXH3_64(salt); point = XXH3_64(key, seed) >> 32. The salt goes into the seed: XOR-ed on afterwards, it would
// correlate every task's assignment with every other's. docs/assignment.md pins the values for other languages.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL  // inlined with a constant length, an 8-byte key costs a few instructions; and nothing to link
#endif
#ifndef XXH_FORCE_MEMORY_ACCESS
// By memcpy. For g++ it would read through a pointer to another type, and once that is inlined beside whoever wrote the key,
// the write may be left out: an 8-byte number on aarch64 hashed as what the stack held.
#define XXH_FORCE_MEMORY_ACCESS 0
#endif
#include <xxhash.h>

#include <bit>
#include <cstdint>
#include <string_view>

#include "canary/core/types.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// g++ would call it in a caller that grows large, as one that routes and records: some 1.5 ns.
static inline XXH64_hash_t XXH3_64bits_withSeed(const void* input, size_t size, XXH64_hash_t seed)
    __attribute__((always_inline));
#endif

namespace canary {

/// The hash seed of a task with this salt.
[[nodiscard]] inline std::uint64_t seed_of(std::string_view salt) noexcept {
  return XXH3_64bits(salt.data(), salt.size());
}

/// Where a text key falls.
/// Cost    about 4 ns at 36 bytes.
/// Source  XXH3, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
[[nodiscard, gnu::always_inline]] inline Point point_of(std::string_view key, std::uint64_t seed) noexcept {
  return static_cast<Point>(XXH3_64bits_withSeed(key.data(), key.size(), seed) >> 32);
}

/// Where a number falls: it hashes as its 8 little-endian bytes, on every machine.
[[nodiscard, gnu::always_inline]] inline Point point_of(std::uint64_t key, std::uint64_t seed) noexcept {
  if constexpr (std::endian::native == std::endian::big) key = __builtin_bswap64(key);
  return static_cast<Point>(XXH3_64bits_withSeed(&key, sizeof key, seed) >> 32);
}

/// A check over bytes; not for keys.
[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace canary
