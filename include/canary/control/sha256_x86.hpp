// sha256_x86.hpp: SHA-256 by the instructions that x86 processors have for it. Layer control; a part of sha256.hpp.
// Compiled for any x86-64, used where the processor says at run time that it has them; empty elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define CANARY_SHA256_X86 1

#include <cpuid.h>
#include <immintrin.h>

namespace canary::detail {

/// True if this processor has SHA and what goes with it: SSSE3 and SSE4.1.
[[nodiscard]] inline bool has_sha_instructions() noexcept {
  static const bool has = [] {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c >> 9 & 1) == 0 || (c >> 19 & 1) == 0) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
  }();
  return has;
}

/// Takes so many blocks of 64 bytes into a state of eight words.
/// Source  Intel SHA Extensions, 2013: two registers hold ABEF and CDGH, an instruction does two rounds, two more make four
///         words of the message schedule.
__attribute__((target("sha,ssse3,sse4.1"))) inline void sha256_blocks_x86(std::uint32_t* state,
                                                                          const unsigned char* blocks,
                                                                          std::size_t count,
                                                                          const std::uint32_t* constants) noexcept {
  auto* halves = reinterpret_cast<__m128i*>(state);
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(halves), 0xB1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(halves + 1), 0x1B);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
  for (; count != 0; --count, blocks += 64) {
    const __m128i abef_before = abef;
    const __m128i cdgh_before = cdgh;
    __m128i w[4];  // the last sixteen words of the schedule
    for (int i = 0; i != 4; ++i)
      w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks) + i), big_endian);
#pragma GCC unroll 16
    for (int four = 0; four != 16; ++four) {
      __m128i& oldest = w[four & 3];
      const __m128i newest = w[(four + 3) & 3];
      if (four >= 4) {
        const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, w[(four + 1) & 3]),
                                          _mm_alignr_epi8(newest, w[(four + 2) & 3], 4));
        oldest = _mm_sha256msg2_epu32(sum, newest);
      }
      const __m128i k = _mm_loadu_si128(reinterpret_cast<const __m128i*>(constants) + four);
      const __m128i rounds = _mm_add_epi32(oldest, k);
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, rounds);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(rounds, 0x0E));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i abef_turned = _mm_shuffle_epi32(abef, 0x1B);  // a, b, e, f
  const __m128i cdgh_turned = _mm_shuffle_epi32(cdgh, 0xB1);  // g, h, c, d
  _mm_storeu_si128(halves, _mm_blend_epi16(abef_turned, cdgh_turned, 0xF0));
  _mm_storeu_si128(halves + 1, _mm_alignr_epi8(cdgh_turned, abef_turned, 8));
}

}  // namespace canary::detail

#else
#define CANARY_SHA256_X86 0
#endif
