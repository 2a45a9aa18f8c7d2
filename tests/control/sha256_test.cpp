#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/sha256.hpp"
#include "canary/core/mix.hpp"

namespace sha256_test {

using namespace canary;

TEST_CASE("sha256: the processor's own instructions give what the formula gives", "[control][sha256]") {
#if CANARY_SHA256_X86
  if (!detail::has_sha_instructions()) SKIP("this processor has none");
  std::vector<unsigned char> blocks(64 * 33);
  for (std::size_t i = 0; i != blocks.size(); ++i) blocks[i] = static_cast<unsigned char>(detail::mix(i));
  detail::Sha256State state{1, 2, 3, 4, 5, 6, 7, 0xFFFF'FFFF};
  for (std::size_t count = 0; count <= 33; ++count) {
    detail::Sha256State formula = state;
    detail::Sha256State own = state;
    for (std::size_t i = 0; i != count; ++i) detail::sha256_block(formula, blocks.data() + 64 * i);
    detail::sha256_blocks_x86(own.data(), blocks.data(), count, detail::sha256_constants.data());
    CHECK(own == formula);
    state = formula;
  }
#else
  SKIP("this processor has none");
#endif
}

TEST_CASE("sha256: pieces across blocks make no difference", "[control][sha256]") {
  std::string text;
  for (int i = 0; i != 1'000; ++i) text += static_cast<char>(detail::mix(static_cast<std::uint64_t>(i)));
  Sha256 whole;
  whole.add(text);
  const std::string expected = whole.finish();
  for (std::size_t piece = 1; piece != 200; ++piece) {
    Sha256 hash;
    for (std::size_t at = 0; at < text.size(); at += piece) hash.add(std::string_view{text}.substr(at, piece));
    CHECK(hash.finish() == expected);
  }
}

}  // namespace sha256_test
