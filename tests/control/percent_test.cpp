#include <limits>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/percent.hpp"

namespace percent_test {

using canary::parse_percent;
using canary::percent_text;
using canary::ppm_of_percent;

TEST_CASE("percent: every share of 1 ppm and up survives the way through a decimal", "[control][percent]") {
  for (std::uint32_t ppm = 0; ppm <= canary::total_ppm; ++ppm) {
    const std::string text = percent_text(ppm);
    if (parse_percent(text) != ppm) FAIL("parse_percent(" << text << ")");
    if (ppm_of_percent(std::stod(text)) != ppm) FAIL("ppm_of_percent(" << text << ")");
  }
}

TEST_CASE("percent: the forms that the command line promises are read", "[control][percent]") {
  CHECK(parse_percent("10") == 100'000u);
  CHECK(parse_percent("10%") == 100'000u);
  CHECK(parse_percent("0.5") == 5'000u);
  CHECK(parse_percent("0.0001") == 1u);
  CHECK(parse_percent("100") == 1'000'000u);
  CHECK(parse_percent("100.0000%") == 1'000'000u);
  CHECK(parse_percent("0") == 0u);
}

TEST_CASE("percent: what is no percentage is refused, never rounded", "[control][percent]") {
  for (const char* text :
       {"",    "%",  "10%%", "-1", "+1",    " 1",      "1 ",      "1e1",      "0x10", "nan",     "inf",
        "1,5", ".5", "5.",   ".",  "1.2.3", "0.00001", "0.00010", "100.0001", "101",  "1000000", "99999999999999999999",
        "1\n"}) {
    INFO('"' << text << '"');
    CHECK_FALSE(parse_percent(text));
  }
  CHECK_FALSE(parse_percent(std::string_view{"1\0", 2}));
}

TEST_CASE("percent: numbers that are no share of whole ppm are refused", "[control][percent]") {
  using Limits = std::numeric_limits<double>;
  for (const double value : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), -0.0001, -1.0, 100.0001,
                             1e300, 0.00005, 0.00001, 33.33333, 99.99999, Limits::denorm_min()}) {
    INFO(value);
    CHECK_FALSE(ppm_of_percent(value));
  }
  CHECK(ppm_of_percent(0.1) == 1'000u);
  CHECK(ppm_of_percent(33.3333) == 333'333u);
}

TEST_CASE("percent: text is the shortest that says it", "[control][percent]") {
  CHECK(percent_text(0) == "0");
  CHECK(percent_text(1) == "0.0001");
  CHECK(percent_text(105'000) == "10.5");
  CHECK(percent_text(1'000'000) == "100");
}

}  // namespace percent_test
