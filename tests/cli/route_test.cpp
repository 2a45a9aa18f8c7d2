#include <chrono>
#include <map>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/router.hpp"
#include "program.hpp"

namespace route_test {

using namespace canary::test;

namespace {

#if defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

/// What the library decides with the split of ConfiguredPlace.
class Oracle {
 public:
  Oracle() : task_{router_.task("checks", {.default_model = "base"})} {
    router_.set_split(task_, {{.model = "v1", .weight_ppm = 100'000}, {.model = "v2", .weight_ppm = 50'000}});
  }
  [[nodiscard]] canary::Decision route(std::string_view key) const { return router_.route(task_, key); }

 private:
  canary::Router router_;
  canary::Task task_;
};

}  // namespace

TEST_CASE("route: each key gets the library's decision, on a line of its own", "[cli][route]") {
  const ConfiguredPlace place;
  const Oracle oracle;
  std::vector<std::string> arguments{"--json", "route", "checks"};
  for (int i = 0; i != 500; ++i) arguments.push_back("user-" + std::to_string(i));
  const Answer answer = place.run(arguments);
  REQUIRE(answer.exit == 0);
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 500);
  for (std::size_t i = 0; i != lines.size(); ++i) {
    const auto line = boost::json::parse(lines[i]).as_object();
    const std::string key = "user-" + std::to_string(i);
    const canary::Decision expected = oracle.route(key);
    CHECK(line.size() == 6);
    CHECK(text_of(line.at("key")) == key);
    CHECK(text_of(line.at("version")) == expected.version_id());
    CHECK(text_of(line.at("model")) == expected.model());
    CHECK(text_of(line.at("reason")) == "split");
    CHECK(line.at("point").to_number<std::uint32_t>() == expected.point());
    CHECK(line.at("revision").to_number<std::uint32_t>() == expected.revision());
  }
}

TEST_CASE("route: arguments, plain lines, CRLF, a byte order mark, CSV and stdin all mean the same keys",
          "[cli][route]") {
  const ConfiguredPlace place;
  const std::string expected = place.run({"--json", "route", "checks", "alpha", "beta", "gamma"}).out;
  REQUIRE(lines_of(expected).size() == 3);
  const auto same = [&](const std::string& text, const std::vector<std::string>& options) {
    place.write("keys.txt", text);
    std::vector<std::string> arguments{"--json", "route", "checks", "--keys", "keys.txt"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    INFO(text);
    CHECK(place.run(arguments).out == expected);
    arguments[4] = "-";
    CHECK(place.run(arguments, text).out == expected);
  };
  same("alpha\nbeta\ngamma\n", {});
  same("alpha\nbeta\ngamma", {});
  same("alpha\r\nbeta\r\ngamma\r\n", {});
  same(
      "\xEF\xBB\xBF"
      "alpha\nbeta\ngamma\n",
      {});
  same("n,user\n1,alpha\n2,beta\n3,gamma\n", {"--column", "user"});
  same("\xEF\xBB\xBFuser,n\r\nalpha,1\r\n\"beta\",2\r\n\r\n\"gamma\",\"a,\"\"b\"\"\r\nc\"\r\n", {"--column", "user"});
}

TEST_CASE("route: keys are bytes, whatever they look like", "[cli][route]") {
  const ConfiguredPlace place;
  const Oracle oracle;
  const std::vector<std::string> keys{"version", "[a,b]", "++",   "%%",   "",        "{}",
                                      "-5",      "a=b",   "a\tb", "\x01", "\xC3\xBC"};
  for (const std::string& key : keys) {
    const Answer answer = place.run({"--json", "route", "checks", "--", key});
    INFO(key);
    REQUIRE(answer.exit == 0);
    const auto line = boost::json::parse(answer.out).as_object();
    CHECK(text_of(line.at("key")) == key);
    CHECK(line.at("point").to_number<std::uint32_t>() == oracle.route(key).point());
  }
  CHECK(lines_of(place.run({"--json", "route", "checks", "version", "[a,b]", "++", "%%", "", "--", "--json", "--"}).out)
            .size() == 7);
}

TEST_CASE("route: a key that is not UTF-8 is routed by its bytes, and its JSON stays JSON", "[cli][route]") {
  const ConfiguredPlace place;
  const Oracle oracle;
  const std::string key = "a\xFF\"\xE2\x82";
  const Answer answer = place.run({"--json", "route", "checks", "--keys", "-"}, key + '\n');
  const auto line = boost::json::parse(answer.out).as_object();
  CHECK(text_of(line.at("key")) == "a\xEF\xBF\xBD\"\xEF\xBF\xBD");
  CHECK(text_of(line.at("key_hex")) == "61ff22e282");
  CHECK(line.at("point").to_number<std::uint32_t>() == oracle.route(key).point());
  const Answer text = place.run({"route", "checks", "--keys", "-"}, "a\x1b[31m\xFF\n");
  CHECK(text.out.find("a\\x1b[31m\\xff\n") != std::string::npos);  // nothing that a terminal would obey
}

TEST_CASE("route: empty keys are routed, and pointed out", "[cli][route]") {
  const ConfiguredPlace place;
  const Answer plain = place.run({"--json", "route", "checks", "--keys", "-"}, "a\n\nb\n\n");
  CHECK(lines_of(plain.out).size() == 4);
  CHECK(plain.err == "warning: stdin: 2 keys are empty, the first in line 2; they all get the same version\n");
  const Answer csv = place.run({"--json", "route", "checks", "--keys", "-", "--column", "k"}, "k,n\na,1\n,2\n\n");
  CHECK(lines_of(csv.out).size() == 2);
  CHECK(csv.err == "warning: stdin: 1 key is empty, the first in line 3; they all get the same version\n");
}

TEST_CASE("route: no keys at all is said, and is no failure", "[cli][route]") {
  const ConfiguredPlace place;
  const Answer answer = place.run({"--json", "route", "checks", "--keys", "-"});
  CHECK(answer.exit == 0);
  CHECK(answer.out.empty());
  CHECK(answer.err == "warning: stdin: no keys in it\n");
}

TEST_CASE("route: a *.csv file without --column gives its first column, and says so", "[cli][route]") {
  const ConfiguredPlace place;
  place.write("keys.CSV", "user,n\nalpha,1\n");
  const Answer answer = place.run({"--json", "route", "checks", "--keys", "keys.CSV"});
  CHECK(answer.out == place.run({"--json", "route", "checks", "alpha"}).out);
  CHECK(answer.err == "warning: keys.CSV: read as CSV, keys from its first column \"user\"; --column names another\n");
}

TEST_CASE("route: a task without versions answers with its default", "[cli][route]") {
  const ConfiguredPlace place;
  const auto line = place.json({"route", "risks", "k"});
  CHECK(text_of(line.at("version")) == "risks@default");
  CHECK(text_of(line.at("model")) == "steady");
}

TEST_CASE("route: the environment's model overrides, by id when it is a version, and the user is told",
          "[cli][route]") {
  const ConfiguredPlace place;
  const auto forced = [&](const std::string& model) {
    return place.run({"--json", "route", "checks", "k"}, {}, {{"CHECKS_FORCE", model}});
  };
  CHECK(forced("v2").out.find("\"version\":\"checks@2\",\"model\":\"v2\",\"reason\":\"forced\"") != std::string::npos);
  CHECK(forced("else").out.find("\"version\":\"checks@forced\",\"model\":\"else\",\"reason\":\"forced\"") !=
        std::string::npos);
  CHECK(forced("else").err.find("CHECKS_FORCE") != std::string::npos);
  CHECK(forced("").out == place.run({"--json", "route", "checks", "k"}).out);
}

TEST_CASE("route: text is a table with the key last", "[cli][route]") {
  const ConfiguredPlace place;
  const auto lines = lines_of(place.run({"route", "checks", "some key"}).out);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].starts_with("VERSION"));
  CHECK(lines[0].find("KEY") == lines[1].find("some key"));
}

TEST_CASE("route: a million keys a second, in memory that does not grow with the file", "[cli][route]") {
  if (sanitized) SKIP("sanitizers reserve terabytes and take their time");
  const ConfiguredPlace place;
  constexpr int count = 3'000'000;
  {
    std::string keys;
    keys.reserve(count * 13);
    for (int i = 0; i != count; ++i) keys += "user-" + std::to_string(i) + '\n';
    place.write("keys", keys);
  }
  const Answer answer = place.shell(
      "ulimit -v 300000; time \"$CANARY\" route checks --keys keys --json > out && wc -l < out && tail -n 1 out");
  INFO(answer.err);
  REQUIRE(answer.exit == 0);
  CHECK(lines_of(answer.out).at(0) == std::to_string(count));
  CHECK(lines_of(answer.out).at(1).starts_with("{\"key\":\"user-2999999\""));
#ifdef NDEBUG
  const std::size_t at = answer.err.find("user\t0m");
  REQUIRE(at != std::string::npos);
  CHECK(std::stod(answer.err.substr(at + 7)) < 3.0);
#endif
}

}  // namespace route_test
