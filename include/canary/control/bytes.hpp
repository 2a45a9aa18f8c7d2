// bytes.hpp: numbers as bytes that every machine reads alike, for counts that a store keeps as one value. Layer control.
// LEB128: seven bits a byte, the lowest first. A reader never trusts what it reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace canary::detail {

inline void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

/// Takes numbers off the front of a text; once it has failed it gives zeros and stays failed.
class NumberReader {
 public:
  explicit NumberReader(std::string_view bytes) noexcept : rest_{bytes} {}

  [[nodiscard]] std::uint64_t take() noexcept {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    failed_ = true;
    rest_ = {};
    return 0;
  }
  /// As above; more than `most` fails.
  [[nodiscard]] std::uint64_t take(std::uint64_t most) noexcept {
    const std::uint64_t value = take();
    if (value <= most) return value;
    failed_ = true;
    return 0;
  }
  /// True when everything was read, and was well.
  [[nodiscard]] bool done() const noexcept { return !failed_ && rest_.empty(); }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace canary::detail
