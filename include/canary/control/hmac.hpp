// hmac.hpp: a proof that a message comes from somebody who has the key. Layer control.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "canary/control/sha256.hpp"

namespace canary {

/// HMAC-SHA256, 32 bytes; hex_text() makes digits of them.
/// Source  RFC 2104, RFC 4231.
[[nodiscard]] inline std::array<unsigned char, 32> hmac_sha256(std::string_view key, std::string_view message) {
  constexpr std::size_t block = 64;
  std::array<char, block> padded{};
  if (key.size() > block) {
    Sha256 hash;
    hash.add(key);
    const std::array<unsigned char, 32> short_key = hash.digest();
    for (std::size_t i = 0; i != short_key.size(); ++i) padded[i] = static_cast<char>(short_key[i]);
  } else {
    for (std::size_t i = 0; i != key.size(); ++i) padded[i] = key[i];
  }
  const auto with_pad = [&padded](unsigned char pad) {
    std::string bytes;
    for (const char byte : padded) bytes += static_cast<char>(static_cast<unsigned char>(byte) ^ pad);
    return bytes;
  };
  Sha256 inner;
  inner.add(with_pad(0x36));
  inner.add(message);
  const std::array<unsigned char, 32> digest = inner.digest();
  Sha256 outer;
  outer.add(with_pad(0x5C));
  outer.add({reinterpret_cast<const char*>(digest.data()), digest.size()});
  return outer.digest();
}

}  // namespace canary
