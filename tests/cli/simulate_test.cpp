#include <cstdint>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace simulate_test {

using namespace canary::test;

namespace {

std::uint64_t number(const boost::json::value& value) { return value.to_number<std::uint64_t>(); }

std::string keys(int count) {
  std::string text;
  for (int i = 0; i != count; ++i) text += "user-" + std::to_string(i) + '\n';
  return text;
}

}  // namespace

TEST_CASE("simulate: counts are those of route, before and after, key by key", "[cli][simulate]") {
  const ConfiguredPlace place;
  const std::string input = keys(5'000);
  const auto result = place.json({"simulate", "checks", "--keys", "-", "--set", "checks@1=20%"}, input);
  CHECK(number(result.at("keys")) == 5'000);
  REQUIRE(result.at("before").as_array().size() == 3);
  const char* ids[] = {"checks@default", "checks@1", "checks@2"};
  const Answer routed = place.run({"--json", "route", "checks", "--keys", "-"}, input);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != 3; ++i) {
    const auto& before = result.at("before").as_array().at(i);
    CHECK(text_of(before.at("id")) == ids[i]);
    CHECK(text_of(result.at("after").as_array().at(i).at("id")) == ids[i]);
    std::uint64_t count = 0;
    for (const std::string& line : lines_of(routed.out))
      count += line.find("\"version\":\"" + std::string{ids[i]} + '"') != std::string::npos;
    CHECK(number(before.at("count")) == count);
    sum += number(result.at("after").as_array().at(i).at("count"));
  }
  CHECK(sum == 5'000);
  // The default gives, the other version keeps every key.
  const auto count = [&](const char* when, std::size_t i) {
    return number(result.at(when).as_array().at(i).at("count"));
  };
  CHECK(count("after", 2) == count("before", 2));
  CHECK(number(result.at("moved_keys")) == count("after", 1) - count("before", 1));
  CHECK(number(result.at("points_moved")) == number(result.at("points_minimum")));
  CHECK(number(result.at("points_moved")) == 429'496'730);  // a tenth of the ring, by largest remainder
  CHECK(result.at("ns_per_decision").to_number<double>() > 0);
}

TEST_CASE("simulate: without --set nothing moves, and the file is not touched", "[cli][simulate]") {
  const ConfiguredPlace place;
  const std::string file = place.read("canary.toml");
  const auto result = place.json({"simulate", "checks", "--keys", "-"}, keys(1'000));
  CHECK(result.at("before") == result.at("after"));
  CHECK(number(result.at("moved_keys")) == 0);
  CHECK(number(result.at("points_moved")) == 0);
  CHECK(number(result.at("points_minimum")) == 0);
  CHECK(place.read("canary.toml") == file);
}

TEST_CASE("simulate: versions are set together, by id or by model, in any order", "[cli][simulate]") {
  const ConfiguredPlace place;
  const std::string input = keys(1'000);
  const auto one = place.json({"simulate", "checks", "--keys", "-", "--set", "v1=0", "--set", "v2=100"}, input);
  const auto two =
      place.json({"simulate", "checks", "--keys", "-", "--set", "checks@2=100%", "--set", "checks@1=0"}, input);
  CHECK(one.at("after") == two.at("after"));
  CHECK(number(one.at("after").as_array().at(2).at("count")) == 1'000);
}

TEST_CASE("simulate: a share that the default cannot give names the largest possible", "[cli][simulate]") {
  const ConfiguredPlace place;
  const auto [exit, error] = place.failure({"simulate", "checks", "--keys", "canary.toml", "--set", "v1=95.5"});
  CHECK(exit == 5);
  CHECK(text_of(error.at("message")) == "the shares add up to 100.5 %; the default can give checks@1 at most 95 %");
}

TEST_CASE("simulate: an unknown version is not found, with the nearest", "[cli][simulate]") {
  const ConfiguredPlace place;
  const auto [exit, error] = place.failure({"simulate", "checks", "--keys", "canary.toml", "--set", "cheks@1=5"});
  CHECK(exit == 3);
  CHECK(text_of(error.at("code")) == "not_found");
  CHECK(text_of(error.at("hint")) == "did you mean \"checks@1\"?");
}

TEST_CASE("simulate: bad percentages and the default's are refused", "[cli][simulate]") {
  const ConfiguredPlace place;
  for (const char* percent : {"", "nan", "-1", "inf", "0x5", "101", "0.00001", "1e1", " 1", "ten"}) {
    const auto [exit, error] =
        place.failure({"simulate", "checks", "--keys", "canary.toml", "--set", std::string{"v1="} + percent});
    INFO(percent);
    CHECK(exit == 5);
    CHECK(text_of(error.at("code")) == "invalid_input");
  }
  CHECK(place.failure({"simulate", "checks", "--keys", "canary.toml", "--set", "checks@default=5"}).first == 5);
}

TEST_CASE("simulate: under an override every key is the forced model's, before and after", "[cli][simulate]") {
  const ConfiguredPlace place;
  const Answer answer =
      place.run({"--json", "simulate", "checks", "--keys", "-", "--set", "v1=50"}, keys(100), {{"CHECKS_FORCE", "x"}});
  const auto result = boost::json::parse(answer.out).as_object();
  CHECK(text_of(result.at("after").as_array().back().at("id")) == "checks@forced");
  CHECK(number(result.at("after").as_array().back().at("count")) == 100);
  CHECK(number(result.at("moved_keys")) == 0);
  CHECK(answer.err.find("CHECKS_FORCE") != std::string::npos);
}

TEST_CASE("simulate: no keys at all is said, and is no failure", "[cli][simulate]") {
  const ConfiguredPlace place;
  const Answer answer = place.run({"--json", "simulate", "checks", "--keys", "-"});
  CHECK(answer.exit == 0);
  CHECK(number(boost::json::parse(answer.out).at("keys")) == 0);
  CHECK(answer.err == "warning: stdin: no keys in it\n");
}

TEST_CASE("simulate: text is a table with shares and readable numbers", "[cli][simulate]") {
  const ConfiguredPlace place;
  const Answer answer = place.run({"simulate", "checks", "--keys", "-", "--set", "v1=20"}, keys(2'000));
  CHECK(answer.exit == 0);
  CHECK(answer.out.find("TRIED SHARE") != std::string::npos);
  CHECK(answer.out.find("2,000 keys") != std::string::npos);
  CHECK(answer.out.find("429,496,730 points of the ring move, the least possible is 429,496,730") != std::string::npos);
}

}  // namespace simulate_test
