#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace history_test {

using namespace canary::test;

namespace {

boost::json::array history(const DatabasePlace& place, std::vector<std::string> more = {}) {
  more.insert(more.begin(), {"history", "checks"});
  return place.json(more).at("history").as_array();
}

std::string shares_text(const boost::json::value& shares) {
  std::string text;
  for (const auto& share : shares.as_array())
    text += text_of(share.at("id")) + ':' + std::to_string(number_of(share.at("weight_ppm"))) + ' ';
  return text;
}

}  // namespace

TEST_CASE("history: who, what, why, and the shares before and after, in order", "[cli][history]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "5", "--note", "first users", "--actor", "ann"});
  place.done({"model", "promote", "checks@1", "--actor", "bob"});
  const auto rows = history(place);
  REQUIRE(rows.size() == 3);
  CHECK(text_of(rows[0].at("action")) == "register");
  CHECK(shares_text(rows[0].at("before")) == "checks@default:1000000 ");
  CHECK(rows[0].at("before") == rows[0].at("after"));
  CHECK(number_of(rows[0].at("points_moved")) == 0);
  CHECK(number_of(rows[1].at("revision")) == 2);
  CHECK(text_of(rows[1].at("actor")) == "ann");
  CHECK(text_of(rows[1].at("action")) == "canary");
  CHECK(text_of(rows[1].at("note")) == "first users");
  CHECK(shares_text(rows[1].at("before")) == "checks@default:1000000 ");
  CHECK(shares_text(rows[1].at("after")) == "checks@default:950000 checks@1:50000 ");
  CHECK(number_of(rows[1].at("points_moved")) == 214'748'365);
  CHECK(rows[1].at("points_moved") == rows[1].at("points_minimum"));
  CHECK(rows[1].at("evidence").is_null());
  CHECK(shares_text(rows[2].at("before")) == "checks@default:950000 checks@1:50000 ");
  CHECK(shares_text(rows[2].at("after")) == "checks@1:1000000 ");
  CHECK(text_of(rows[2].at("at")) >= text_of(rows[1].at("at")));
  CHECK(text_of(rows[2].at("at")).ends_with("Z"));
}

TEST_CASE("history: --limit brings the newest, with the split before them", "[cli][history]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  for (const char* percent : {"1", "2", "3"}) place.done({"model", "canary", "checks@1", percent});
  const auto all = history(place);
  REQUIRE(all.size() == 4);
  for (std::size_t limit = 1; limit != 6; ++limit) {
    const auto some = history(place, {"--limit", std::to_string(limit)});
    REQUIRE(some.size() == std::min<std::size_t>(limit, 4));
    for (std::size_t i = 0; i != some.size(); ++i) CHECK(some[i] == all[all.size() - some.size() + i]);
  }
  CHECK(history(place, {"--limit", "4294967295"}).size() == 4);
}

TEST_CASE("history: text is a table with the newest last", "[cli][history]") {
  const DatabasePlace place;
  CHECK(place.run({"history", "checks"}).out == "task checks was never changed\n");
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "5", "--note", "two\nlines", "--actor", "ann"});
  place.done({"model", "rollback", "checks", "--note", std::string(200, 'n')});
  const auto lines = lines_of(place.run({"history", "checks"}).out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].starts_with("REVISION"));
  CHECK(lines[2].find("@default 100 -> 95, @1 0 -> 5 %") != std::string::npos);
  CHECK(lines[2].find("ann") != std::string::npos);
  CHECK(lines[2].ends_with("two\\x0Alines") + lines[2].ends_with("two\\x0alines") == 1);
  CHECK(lines[3].find("to 1") != std::string::npos);
  CHECK(lines[3].ends_with("nnn..."));
}

TEST_CASE("history: evidence is a document of its own", "[cli][history]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  // As a guard would have left it; rows are never changed, so the guard on that is lifted for the test.
  place.sql("DROP TRIGGER history_stays_as_it_is; UPDATE history SET evidence = '{\"log_e\":7.5}'");
  CHECK(history(place)[0].at("evidence").at("log_e").to_number<double>() == 7.5);
  CHECK(place.run({"history", "checks"}).out.find("{\"log_e\":7.5}") != std::string::npos);
  place.sql("UPDATE history SET evidence = 'not json'");
  CHECK(text_of(history(place)[0].at("evidence")) == "not json");
}

TEST_CASE("history: the actor is --actor, else CANARY_ACTOR, else who is logged in", "[cli][history]") {
  const DatabasePlace place;
  const auto actor = [&](const std::vector<std::string>& more,
                         const std::vector<std::pair<std::string, std::string>>& environment) {
    std::vector<std::string> arguments{"model", "register", "checks", "m"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    REQUIRE(place.run(arguments, {}, environment).exit == 0);
    return text_of(history(place).back().at("actor"));
  };
  CHECK(actor({"--actor", "ann"}, {{"CANARY_ACTOR", "bob"}, {"USER", "eve"}}) == "ann");
  CHECK(actor({}, {{"CANARY_ACTOR", "bob"}, {"USER", "eve"}}) == "bob");
  CHECK(actor({}, {{"CANARY_ACTOR", ""}, {"USER", "eve"}}) == "eve");
  const std::string from_system = lines_of(place.shell("id -un").out).at(0);
  CHECK(actor({}, {}) == from_system);
}

}  // namespace history_test
