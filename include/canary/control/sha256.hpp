// sha256.hpp: SHA-256 of bytes that come in pieces, as `sha256sum` prints it. Layer control.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "canary/control/sha256_x86.hpp"

namespace canary {

/// Two hexadecimal digits for each byte.
template <std::size_t size>
[[nodiscard]] std::string hex_text(const std::array<unsigned char, size>& bytes) {
  std::string text;
  text.reserve(2 * size);
  for (const unsigned char byte : bytes) (text += "0123456789abcdef"[byte >> 4]) += "0123456789abcdef"[byte & 15];
  return text;
}

namespace detail {

inline constexpr std::array<std::uint32_t, 64> sha256_constants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using Sha256State = std::array<std::uint32_t, 8>;

inline void sha256_block(Sha256State& state, const unsigned char* block) noexcept {
  std::array<std::uint32_t, 64> w;
  for (std::size_t i = 0; i != 16; ++i) {
    w[i] = 0;
    for (std::size_t byte = 0; byte != 4; ++byte) w[i] = w[i] << 8 | block[4 * i + byte];
  }
  for (std::size_t i = 16; i != 64; ++i) {
    const std::uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const std::uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i != 64; ++i) {
    const std::uint32_t one = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t first = h + one + ((e & f) ^ (~e & g)) + sha256_constants[i] + w[i];
    const std::uint32_t zero = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t second = zero + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const Sha256State more{a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i != 8; ++i) state[i] += more[i];
}

/// Takes so many blocks of 64 bytes, by the processor's own instructions where it has them.
inline void sha256_blocks(Sha256State& state, const unsigned char* blocks, std::size_t count) noexcept {
#if CANARY_SHA256_X86
  if (has_sha_instructions()) return sha256_blocks_x86(state.data(), blocks, count, sha256_constants.data());
#endif
  for (; count != 0; --count, blocks += 64) sha256_block(state, blocks);
}

}  // namespace detail

/// Source  FIPS 180-4. Cost: some 200 MB/s; 1 to 2 GB/s where the processor has instructions for it.
class Sha256 {
 public:
  void add(std::string_view bytes) noexcept {
    bytes_ += bytes.size();
    const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
    std::size_t left = bytes.size();
    if (filled_ != 0) {
      const std::size_t taken = std::min(left, block_.size() - filled_);
      std::memcpy(block_.data() + filled_, at, taken);
      filled_ += taken;
      at += taken;
      left -= taken;
      if (filled_ != block_.size()) return;
      detail::sha256_blocks(state_, block_.data(), 1);
      filled_ = 0;
    }
    detail::sha256_blocks(state_, at, left / block_.size());
    filled_ = left % block_.size();
    if (filled_ != 0) std::memcpy(block_.data(), at + left - filled_, filled_);
  }

  /// 32 bytes. Nothing may be added after it.
  [[nodiscard]] std::array<unsigned char, 32> digest() noexcept {
    const std::uint64_t bits = bytes_ * 8;
    add(std::string_view{"\x80", 1});
    while (filled_ != block_.size() - 8) add(std::string_view{"\0", 1});
    char length[8];
    for (int i = 0; i != 8; ++i) length[i] = static_cast<char>(bits >> (56 - 8 * i));
    add({length, sizeof length});
    std::array<unsigned char, 32> bytes;
    for (std::size_t i = 0; i != bytes.size(); ++i)
      bytes[i] = static_cast<unsigned char>(state_[i / 4] >> (24 - 8 * (i % 4)) & 0xFF);
    return bytes;
  }
  /// The same as 64 hexadecimal digits.
  [[nodiscard]] std::string finish() { return hex_text(digest()); }

 private:
  detail::Sha256State state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_{};
  std::size_t filled_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace canary
