#include <array>
#include <string>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/nearest.hpp"

namespace nearest_test {

using canary::edit_distance;
using canary::nearest;

TEST_CASE("nearest: distances are those of a table by hand", "[control][nearest]") {
  CHECK(edit_distance("", "", 9) == 0);
  CHECK(edit_distance("abc", "abc", 9) == 0);
  CHECK(edit_distance("abc", "abd", 9) == 1);
  CHECK(edit_distance("abc", "ab", 9) == 1);
  CHECK(edit_distance("abc", "acb", 9) == 1);
  CHECK(edit_distance("kitten", "sitting", 9) == 3);
  CHECK(edit_distance("Percent", "percent", 9) == 0);
  CHECK(edit_distance("abcdef", "uvwxyz", 2) == 3);  // gives up at once
}

TEST_CASE("nearest: finds what hands and memory get wrong, and nothing far-fetched", "[control][nearest]") {
  constexpr std::array<std::string_view, 4> keys{"default_model", "force_env", "salt", "api_key_env"};
  CHECK(nearest("defualt_model", keys) == "default_model");
  CHECK(nearest("DEFAULT_MODEL", keys) == "default_model");
  CHECK(nearest("slat", keys) == "salt");
  CHECK(nearest("api_key", keys) == "api_key_env");
  CHECK(nearest("colour", keys).empty());
  CHECK(nearest("", keys).empty());
  CHECK(nearest("x", keys).empty());
}

TEST_CASE("nearest: a word of 10 MB costs nothing", "[control][nearest]") {
  const std::string huge(10'000'000, 'x');
  const std::array<std::string, 2> candidates{huge + 'y', "salt"};
  CHECK(nearest(huge, candidates).empty());
}

}  // namespace nearest_test
