#include <cstdint>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/utf8.hpp"

namespace utf8_test {

using canary::first_invalid_utf8;
using canary::utf8_length;
using canary::utf8_sequence;

namespace {

std::string encoded(std::uint32_t code) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xC0 | code >> 6), byte(0x80 | (code & 63))};
  if (code < 0x10000) return {byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63))};
  return {byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 63)), byte(0x80 | (code >> 6 & 63)),
          byte(0x80 | (code & 63))};
}

}  // namespace

TEST_CASE("utf8: every character is well-formed, every surrogate and all beyond the last is not", "[control][utf8]") {
  for (std::uint32_t code = 0; code < 0x120000; ++code) {
    const std::string text = encoded(code);
    const bool character = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    if (utf8_sequence(text) != (character ? text.size() : 0)) FAIL("U+" << std::hex << code);
  }
}

TEST_CASE("utf8: overlong, cut and stray bytes are invalid, wherever they stand", "[control][utf8]") {
  for (const std::string bad :
       {"\xC0\x80", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98"})
    for (std::size_t before = 0; before != 20; ++before)
      for (const std::string after : {"", "a", "plain text behind it"}) {
        const std::string text = std::string(before, 'x') + bad + after;
        CHECK(first_invalid_utf8(text) == before);
      }
}

TEST_CASE("utf8: columns count characters", "[control][utf8]") {
  CHECK(utf8_length("") == 0);
  CHECK(utf8_length("abc") == 3);
  CHECK(utf8_length("\xC3\xBC"
                    "b\xE2\x82\xAC") == 3);
}

}  // namespace utf8_test
