// Facts -> alerts: what begins, what is over, and that nothing is said in between.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/alert_watch.hpp"

namespace alert_watch_test {

using namespace canary;

namespace {

constexpr TimeUs second = 1'000'000;
constexpr TimeUs day = 86'400 * second;

TimeUs at(const char* date) { return date_us(date).value(); }

ModelVersion model_row(std::uint32_t number, const char* shutdown, std::uint32_t weight_ppm = 100'000) {
  ModelVersion row;
  row.number = number;
  row.model = "m";
  row.status = Status::active;
  row.weight_ppm = weight_ppm;
  row.shutdown_date = shutdown;
  return row;
}

GuardLook look(std::uint32_t number, double log_e) {
  GuardLook each;
  each.number = number;
  each.since = 4;
  each.verdict.sample_ratio = {log_e, 120, 80};
  return each;
}

Degradation worse(bool found, double recent, double bound = 0.95) {
  return {
      .kind = MetricKind::success, .found = found, .recent = recent, .past = 0.97, .bound = bound, .outcomes = 1'200};
}

}  // namespace

TEST_CASE("alert watch: a store that is degraded for a while is told once, and its recovery once", "[control][alert]") {
  AlertWatch watch{{}};
  CHECK(watch.store("", 0).empty());
  CHECK(watch.store("no reply", 1 * second).empty());
  CHECK(watch.store("", 20 * second).empty());  // a flicker
  CHECK(watch.store("no reply", 30 * second).empty());
  CHECK(watch.store("no reply", 59 * second).empty());
  const std::vector<Alert> begun = watch.store("no reply", 60 * second);
  REQUIRE(begun.size() == 1);
  CHECK(begun[0].kind == AlertKind::store_degraded);
  CHECK(begun[0].message.find("no reply") != std::string::npos);
  CHECK_FALSE(begun[0].resolved);
  CHECK(watch.store("no reply", 900 * second).empty());
  CHECK(watch.store("", 901 * second).empty());
  CHECK(watch.store("no reply", 930 * second).empty());  // not well for long enough
  CHECK(watch.store("", 940 * second).empty());
  const std::vector<Alert> over = watch.store("", 1'000 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(over[0].key == begun[0].key);
  CHECK(over[0].at_us == 1'000 * second);
  CHECK(watch.store("", 1'001 * second).empty());
  AlertWatch named{{}, "host"};
  CHECK(named.store("no reply", second).empty());
  CHECK(named.store("no reply", 60 * second).at(0).key == "store_degraded/host");  // another server's may stand on
}

TEST_CASE("alert watch: trouble with a store that a process before told of is over when it is well",
          "[control][alert]") {
  AlertWatch watch{{}, "host"};
  watch.resume_store();
  CHECK(watch.store("", 1 * second).empty());
  CHECK(watch.store("no reply", 40 * second).empty());
  CHECK(watch.store("no reply", 140 * second).empty());  // it was told already
  CHECK(watch.store("", 150 * second).empty());
  const std::vector<Alert> over = watch.store("", 210 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(over[0].key == "store_degraded/host");
  CHECK(watch.store("", 300 * second).empty());
}

TEST_CASE("alert watch: a clock that is set back holds up neither a beginning nor an end", "[control][alert]") {
  AlertWatch watch{{}};
  CHECK(watch.store("no reply", 2 * day).empty());
  CHECK(watch.store("no reply", 1 * day).empty());
  REQUIRE(watch.store("no reply", 1 * day + 30 * second).size() == 1);
  CHECK(watch.store("", 1 * day + 31 * second).empty());
  CHECK(watch.store("", 10 * second).empty());
  const std::vector<Alert> over = watch.store("", 70 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
}

TEST_CASE("alert watch: drops are told by task, and are over after an hour without", "[control][alert]") {
  AlertWatch watch{{}};
  CHECK(watch.drops("a", 0, 1).empty());
  const std::vector<Alert> begun = watch.drops("a", 17, 2);
  REQUIRE(begun.size() == 1);
  CHECK(begun[0].task == "a");
  CHECK(begun[0].message.find("17") != std::string::npos);
  CHECK(watch.drops("a", 40, 3).empty());
  CHECK(watch.drops("b", 1, 3).size() == 1);
  REQUIRE(watch.drops("a", 0, 4).size() == 1);
  CHECK(watch.drops("a", 1, 5).size() == 1);
}

TEST_CASE("alert watch: a shutdown is told 30 days, 7 days and 1 day before, and when it is past", "[control][alert]") {
  AlertWatch watch{{}};
  const std::vector<ModelVersion> rows{model_row(2, "2027-01-14")};
  const auto seen = [&](const char* date) { return watch.shutdowns("t", rows, at(date)); };
  CHECK(seen("2026-12-14").empty());  // 31 days
  const std::vector<Alert> first = seen("2026-12-15");
  REQUIRE(first.size() == 1);
  CHECK(first[0].message == "t@2: its model m is shut down in 30 days, on 2027-01-14");
  CHECK(first[0].version == "t@2");
  CHECK(seen("2026-12-20").empty());
  const std::vector<Alert> week = seen("2027-01-07T00:00:00Z");
  REQUIRE(week.size() == 1);
  CHECK(week[0].message.find("in 7 days") != std::string::npos);
  CHECK(week[0].key == first[0].key);  // so that one end ends all that was told
  CHECK_FALSE(week[0].resolved);
  const std::vector<Alert> last = seen("2027-01-13T08:00:00Z");
  REQUIRE(last.size() == 1);
  CHECK(last[0].message.find("in 1 day,") != std::string::npos);
  CHECK(seen("2027-01-13T23:59:59Z").empty());
  const std::vector<Alert> past = seen("2027-01-14");
  REQUIRE(past.size() == 1);
  CHECK(past[0].message.find("was shut down on 2027-01-14") != std::string::npos);
  CHECK(seen("2027-02-01").empty());
  CHECK(seen("2027-01-10").empty());  // a clock that was set back
  const std::vector<Alert> over = watch.shutdowns("t", {}, at("2027-02-02"));
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(over[0].key == first[0].key);
  CHECK(over[0].message.find("was shut down on") != std::string::npos);  // the words of the last stage
}

TEST_CASE("alert watch: a process that starts late tells the last stage alone, and days are configured",
          "[control][alert]") {
  AlertWatch late{{}};
  const std::vector<ModelVersion> rows{model_row(2, "2027-01-14"), model_row(3, "2027-01-14T12:00:00Z", 0),
                                       model_row(4, ""), model_row(5, "no date")};
  const std::vector<Alert> told = late.shutdowns("t", rows, at("2027-01-10"));
  REQUIRE(told.size() == 2);
  CHECK(told[0].key == "shutdown_near/t@2/2027-01-14");
  ModelVersion idle = model_row(2, "2027-01-14", 0);
  idle.status = Status::deprecated;
  CHECK(AlertWatch{{}}.shutdowns("t", std::vector{idle}, at("2027-01-10")).empty());
  AlertsConfig config;
  config.shutdown_days = 90;
  CHECK(AlertWatch{config}.shutdowns("t", rows, at("2026-11-01")).size() == 2);
  config.shutdown_days = 3;
  AlertWatch short_notice{config};
  CHECK(short_notice.shutdowns("t", rows, at("2027-01-08")).empty());
  CHECK(short_notice.shutdowns("t", rows, at("2027-01-11")).size() == 1);
  config.shutdown_days = 0;
  CHECK(AlertWatch{config}.shutdowns("t", rows, at("2027-01-13")).empty());
  CHECK(AlertWatch{config}.shutdowns("t", rows, at("2027-01-15")).size() == 2);
}

TEST_CASE("alert watch: a new date ends what stood for the old one", "[control][alert]") {
  AlertWatch watch{{}};
  REQUIRE(watch.shutdowns("t", std::vector{model_row(2, "2027-01-14")}, at("2027-01-10")).size() == 1);
  const std::vector<Alert> over = watch.shutdowns("t", std::vector{model_row(2, "2028-01-14")}, at("2027-01-10"));
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
}

TEST_CASE("alert watch: a sample-ratio mismatch is told at 1,000 to 1 and stands until it is far below",
          "[control][alert]") {
  AlertWatch watch{{}};
  const double mismatch = std::log(1'000);
  CHECK(watch.sample_ratios("t", std::vector{look(2, mismatch - 0.01)}, 1).empty());
  const std::vector<Alert> begun = watch.sample_ratios("t", std::vector{look(2, mismatch), look(3, 0)}, 2);
  REQUIRE(begun.size() == 1);
  CHECK(begun[0].version == "t@2");
  CHECK(begun[0].message.find("80 records where its share promises 120") != std::string::npos);
  CHECK(watch.sample_ratios("t", std::vector{look(2, mismatch * 0.6), look(3, 0)}, 3).empty());
  CHECK(watch.sample_ratios("t", std::vector{look(2, mismatch + 1), look(3, 0)}, 4).empty());
  CHECK(watch.sample_ratios("other", {}, 5).empty());
  const std::vector<Alert> gone = watch.sample_ratios("t", std::vector{look(3, 0)}, 6);
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].resolved);
  REQUIRE(watch.sample_ratios("t", std::vector{look(3, mismatch)}, 7).size() == 1);
  REQUIRE(watch.sample_ratios("t", std::vector{look(3, 1)}, 8).size() == 1);
}

TEST_CASE("alert watch: a degradation stands until the bound that it broke is kept for half an hour",
          "[control][alert]") {
  AlertWatch watch{{}};
  const auto see = [&](const Degradation& each, TimeUs now_us) {
    return watch.degradation("t", 2, std::vector{each}, now_us);
  };
  CHECK(see(worse(false, 0.97), 0).empty());
  const std::vector<Alert> begun = see(worse(true, 0.9), 600 * second);
  REQUIRE(begun.size() == 1);
  CHECK(begun[0].message ==
        "t@2: 90 % of the last 1200 requests succeeded; it was never below 97 % at these hours of the "
        "seven days before, and down to 95 % is tolerated");
  CHECK(see(worse(true, 0.9), 1'200 * second).empty());
  CHECK(see(worse(false, 0.9, 0.85), 2 * day).empty());  // its past has become bad; it is not well for that
  CHECK(see(worse(false, 0.96), 3 * day).empty());
  CHECK(see(worse(false, 0.94), 3 * day + 1'200 * second).empty());  // not yet
  CHECK(see(worse(false, 0.96), 3 * day + 1'800 * second).empty());
  const std::vector<Alert> over = see(worse(false, 0.96), 3 * day + 3'600 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(see(worse(true, 0.9), 4 * day).size() == 1);
  CHECK(see(worse(true, 0.9), 10 * day).empty());
  const std::vector<Alert> its_past = see(worse(true, 0.9), 11 * day);
  REQUIRE(its_past.size() == 1);
  CHECK(its_past[0].resolved);
  CHECK(its_past[0].message.find("seven days") != std::string::npos);
}

TEST_CASE("alert watch: a degradation is over when its version is out of use", "[control][alert]") {
  AlertWatch watch{{}};
  REQUIRE(watch.degradation("t", 0, std::vector{worse(true, 0.9)}, 1).size() == 1);
  CHECK(watch.out_of_use("t", 1, 2).empty());
  const std::vector<Alert> over = watch.out_of_use("t", 0, 3);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(over[0].version == "t@default");
  CHECK(watch.out_of_use("t", 0, 4).empty());
}

TEST_CASE("alert watch: a degradation of what is not measured for a day is over, and says why", "[control][alert]") {
  AlertWatch watch{{}};
  const auto see = [&](std::vector<Degradation> found, TimeUs now_us) {
    return watch.degradation("t", 2, found, now_us);
  };
  REQUIRE(see({worse(true, 0.9)}, 1).size() == 1);
  CHECK(see({}, 600 * second).empty());
  CHECK(see({worse(false, 0.9)}, 20 * 3'600 * second).empty());  // a quiet night is over
  CHECK(see({}, 21 * 3'600 * second).empty());
  CHECK(see({}, 40 * 3'600 * second).empty());
  CHECK(see({}, 44 * 3'600 * second).empty());
  const std::vector<Alert> over = see({}, 45 * 3'600 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(over[0].message.find("over, it is no longer measured: t@2: 90 %") == 0);
  CHECK(see({}, 90 * 3'600 * second).empty());
}

TEST_CASE("alert watch: when nobody wants to hear of degradations any more, those that stand are over",
          "[control][alert]") {
  AlertWatch watch{{}};
  REQUIRE(watch.degradation("t", 2, std::vector{worse(true, 0.9)}, 1).size() == 1);
  const std::vector<Alert> over = watch.unwatched(2);
  REQUIRE(over.size() == 1);
  CHECK(over[0].message.find("over, it is no longer watched") == 0);
  CHECK(watch.unwatched(3).empty());
}

TEST_CASE("alert watch: each rollback has a key of its own", "[control][alert]") {
  const Alert first = rollback_alert("t", 2, 7, "it fails", 5);
  CHECK(first.kind == AlertKind::rollback);
  CHECK(first.message == "t@2 was rolled back at revision 7: it fails");
  CHECK(first.key != rollback_alert("t", 2, 9, "it fails", 5).key);
  CHECK(first.key == rollback_alert("t", 2, 7, "another server says so", 6).key);
}

TEST_CASE("dates: what a text means, to the second, and nothing for what is none", "[control][time]") {
  CHECK(date_us("1970-01-01") == 0);
  CHECK(date_us("2026-11-22T17:35:29Z") == 1'795'368'929'000'000);
  CHECK(date_us("2000-02-29") == 951'782'400'000'000);
  CHECK(date_us("1969-12-31T23:59:59Z") == -1'000'000);
  CHECK_FALSE(date_us("2026-02-29"));
  CHECK_FALSE(date_us("soon"));
  for (TimeUs us = -3'000 * day; us < 40'000 * day; us += 37 * day + 12'345 * second)
    CHECK(date_us(time_text(us)) == us);
}

}  // namespace alert_watch_test
