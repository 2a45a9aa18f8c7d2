#include "canary/core/hash.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace hash_test {

namespace {

using canary::point_of;
using canary::seed_of;

TEST_CASE("hash: a number falls where its 8 little-endian bytes fall", "[core][hash]") {
  const std::uint64_t seed = seed_of("checklist_enrichment");
  for (const std::uint64_t number : {0ull, 1ull, 42ull, 0x0123'4567'89AB'CDEFull, ~0ull}) {
    std::string bytes;
    for (int i = 0; i != 8; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
    CHECK(point_of(number, seed) == point_of(std::string_view{bytes}, seed));
  }
}

TEST_CASE("hash: every byte and the length of a key count", "[core][hash]") {
  const std::uint64_t seed = seed_of("task");
  const std::string key(300, 'k');
  for (std::size_t size = 0; size != key.size(); ++size) {
    const std::string_view text{key.data(), size};
    CHECK(point_of(text, seed) != point_of(std::string_view{key.data(), size + 1}, seed));
    if (size == 0) continue;
    std::string other{text};
    other[size / 2] = 'x';
    CHECK(point_of(text, seed) != point_of(std::string_view{other}, seed));
  }
}

// Keys are fixed, so the verdict is too: a good hash would fail for one set of keys in a million.
TEST_CASE("hash: a million keys spread evenly (chi-square, odds 1e-6)", "[core][hash]") {
  constexpr std::size_t cells = 256;
  constexpr double limit = 377.2;  // chi-square with 255 degrees of freedom exceeds it once in 10^6
  constexpr int keys = 1'000'000;
  const auto chi_square = [](const std::array<int, cells>& seen) {
    const double expected = double{keys} / cells;
    double sum = 0;
    for (const int n : seen) sum += (n - expected) * (n - expected) / expected;
    return sum;
  };
  for (const char* salt : {"checklist_enrichment", "document_check", "a", ""}) {
    const std::uint64_t seed = seed_of(salt);
    std::array<int, cells> numbers{};
    std::array<int, cells> texts{};
    std::string text = "user-";
    for (int i = 0; i != keys; ++i) {
      ++numbers[point_of(static_cast<std::uint64_t>(i), seed) >> 24];
      text.resize(5);
      text += std::to_string(i);
      ++texts[point_of(std::string_view{text}, seed) >> 24];
    }
    CHECK(chi_square(numbers) < limit);
    CHECK(chi_square(texts) < limit);
  }
}

TEST_CASE("hash: two tasks assign a million keys independently (|z| < 4)", "[core][hash]") {
  constexpr int keys = 1'000'000;
  const std::array<const char*, 4> salts{"checklist_enrichment", "document_check", "task-1", "task-2"};
  for (const double share : {0.1, 0.5}) {
    const auto limit = static_cast<std::uint32_t>(share * 4'294'967'296.0);
    for (std::size_t a = 0; a != salts.size(); ++a) {
      for (std::size_t b = a + 1; b != salts.size(); ++b) {
        int both = 0;
        for (int i = 0; i != keys; ++i) {
          const auto key = static_cast<std::uint64_t>(i);
          both += point_of(key, seed_of(salts[a])) < limit && point_of(key, seed_of(salts[b])) < limit;
        }
        const double p = share * share;
        const double z = (both - keys * p) / std::sqrt(keys * p * (1 - p));
        INFO(salts[a] << " and " << salts[b] << ", z = " << z);
        CHECK(std::abs(z) < 4);
      }
    }
  }
}

}  // namespace

}  // namespace hash_test
