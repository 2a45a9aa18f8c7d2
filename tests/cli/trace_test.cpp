#include <cmath>
#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"
#include "test_paths.hpp"

namespace trace_test {

using namespace canary::test;

namespace {

const std::string trace = std::string{CANARY_SHARED_DATA_DIR} + "/traces/azure_conv_2023.csv";

/// Half the width of the interval that holds a binomial count with probability 99.99 %.
double bound(double keys, double share) { return 3.8906 * std::sqrt(keys * share * (1 - share)) + 0.5; }

void check_counts(const boost::json::value& counts, const double (&shares)[3], double keys) {
  for (std::size_t i = 0; i != 3; ++i) {
    const auto count = counts.as_array().at(i).at("count").to_number<double>();
    INFO(counts.as_array().at(i).at("id") << ": " << count << " of " << keys << " at " << shares[i]);
    CHECK(std::abs(count - keys * shares[i]) <= bound(keys, shares[i]));
  }
}

}  // namespace

TEST_CASE("trace: all requests of a real trace get their shares within the 99.99 % bounds", "[cli][trace]") {
  if (!std::filesystem::exists(trace)) SKIP("no trace at " << trace);
  const ConfiguredPlace place;
  const auto result =
      place.json({"simulate", "checks", "--keys", trace, "--column", "TIMESTAMP", "--set", "v1=25", "--set", "v2=0.5"});
  const auto keys = result.at("keys").to_number<double>();
  CHECK(keys == 19'366);
  check_counts(result.at("before"), {0.85, 0.10, 0.05}, keys);
  check_counts(result.at("after"), {0.745, 0.25, 0.005}, keys);
  CHECK(result.at("points_moved") == result.at("points_minimum"));
  // 15 % go to v1 and 4.5 % leave v2: the default gives 10.5 %, so 15 % of the ring moves.
  CHECK(std::abs(result.at("moved_keys").to_number<double>() - keys * 0.15) <= bound(keys, 0.15));
}

}  // namespace trace_test
