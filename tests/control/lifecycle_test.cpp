#include <algorithm>
#include <array>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/lifecycle.hpp"
#include "canary/control/time_text.hpp"

namespace lifecycle_test {

using namespace canary;

namespace {

constexpr std::array all{Status::candidate, Status::active, Status::deprecated, Status::archived};

}  // namespace

TEST_CASE("lifecycle: the legal steps are those of the table, and no others", "[control][lifecycle]") {
  const auto reaches = [](Status from, Status to) {
    return after(Step::promote, from) == to || after(Step::deprecate, from) == to || after(Step::archive, from) == to;
  };
  for (const Status from : all)
    for (const Status to : all) {
      const bool legal = (from == to && from != Status::candidate) ||
                         (from == Status::candidate && (to == Status::active || to == Status::deprecated)) ||
                         (from == Status::active && to == Status::deprecated) ||
                         (from == Status::deprecated && (to == Status::active || to == Status::archived));
      INFO(to_string(from) << " -> " << to_string(to));
      CHECK(reaches(from, to) == legal);
    }
  CHECK(after(Step::promote, Status::deprecated) == Status::active);
  CHECK_FALSE(after(Step::deprecate, Status::archived));
  CHECK_FALSE(after(Step::promote, Status::archived));
}

TEST_CASE("lifecycle: words are read back as what they were written from", "[control][lifecycle]") {
  for (const Status status : all) CHECK(parse_status(to_string(status)) == status);
  CHECK_FALSE(parse_status("active"));
  CHECK_FALSE(parse_status(""));
}

TEST_CASE("time: microseconds are RFC 3339 in UTC", "[control][time]") {
  CHECK(time_text(0) == "1970-01-01T00:00:00Z");
  CHECK(time_text(1) == "1970-01-01T00:00:00.000001Z");
  CHECK(time_text(-1) == "1969-12-31T23:59:59.999999Z");
  CHECK(time_text(951'782'400'000'000) == "2000-02-29T00:00:00Z");
  CHECK(time_text(1'795'376'129'250'000) == "2026-11-22T19:35:29.250000Z");
  CHECK(time_text(4'107'542'400'000'000) == "2100-03-01T00:00:00Z");
  CHECK(time_text(INT64_MAX) == "9999-12-31T23:59:59.999999Z");
  CHECK(time_text(INT64_MIN) == "0000-01-01T00:00:00Z");
}

TEST_CASE("time: dates that are none are told from those that are", "[control][time]") {
  for (const char* date : {"2027-01-14", "2024-02-29", "2000-02-29", "2027-01-14T23:59:59Z"}) CHECK(is_date(date));
  for (const char* text :
       {"", "2027-1-14", "2027-13-01", "2027-00-10", "2027-01-00", "2023-02-29", "1900-02-29", "2027-04-31",
        "2027-01-14 ", "20270114", "2027-01-14T24:00:00Z", "2027-01-14T00:00:00", "2027/01/14", "soon"}) {
    INFO(text);
    CHECK_FALSE(is_date(text));
  }
}

}  // namespace lifecycle_test
