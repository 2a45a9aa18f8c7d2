#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace bad_input_test {

using namespace canary::test;

namespace {

/// The message of a refusal of this configuration, exit 5 both ways.
std::string refusal(const Place& place, std::string_view config) {
  place.write("canary.toml", config);
  const auto [exit, error] = place.failure({"route", "t", "k"});
  CHECK(exit == 5);
  CHECK(text_of(error.at("code")) == "invalid_input");
  const Answer text = place.run({"route", "t", "k"});
  CHECK(text.exit == 5);
  CHECK(text.out.empty());
  CHECK_FALSE(text.err.empty());
  return text_of(error.at("message"));
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("bad input: every fault of the configuration is told with its place, in JSON too", "[cli][bad]") {
  const Place place;
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.t]\ndefualt_model = 'm'\nforce_env = 5\n");
  const auto [exit, error] = place.failure({"route", "t", "k"});
  CHECK(exit == 5);
  const auto& faults = error.at("faults").as_array();
  REQUIRE(faults.size() == 2);
  CHECK(text_of(faults[0].at("file")) == "canary.toml");
  CHECK(faults[0].at("line").to_number<int>() == 4);
  CHECK(faults[0].at("column").to_number<int>() == 1);
  CHECK(text_of(faults[0].at("hint")) == "did you mean \"default_model\"?");
  CHECK(faults[1].at("line").to_number<int>() == 5);
  const Answer text = place.run({"route", "t", "k"});
  CHECK(has(text.err, "canary.toml:4:1: error: unknown key"));
  CHECK(has(text.err, "canary.toml:5:13: error: expected a string"));
}

TEST_CASE("bad input: configurations that no command starts with", "[cli][bad]") {
  const Place place;
  const auto split = [](const std::string& percent) {
    return "[store]\nurl = 'memory:'\n[task.t]\n[[task.t.version]]\nmodel = 'a'\npercent = " + percent + "\n";
  };
  CHECK(has(refusal(place, split("101")), "over 100 %"));
  CHECK(has(refusal(place, split("-1")), "negative"));
  CHECK(has(refusal(place, split("nan")), "not a number"));
  CHECK(has(refusal(place, split("5") + "[[task.t.version]]\nmodel = 'a'\npercent = 1\n"), "duplicate version"));
  CHECK(has(refusal(place, split("60") + "[[task.t.version]]\nmodel = 'b'\npercent = 60\n"), "more than 100 %"));
  CHECK(has(refusal(place, ""), "canary init"));
  CHECK(has(refusal(place, "[task.t]\n# \xFF\n"), "canary.toml:2:3: error: invalid UTF-8"));
  CHECK(has(refusal(place, "[task.t]\n" + std::string(10'000'000, 'x') + " = 1\n"), "unknown key"));
}

TEST_CASE("bad input: a configuration that cannot be read says why", "[cli][bad]") {
  const Place place;
  CHECK(has(text_of(place.failure({"route", "t", "k"}).second.at("message")), "No such file"));
  std::filesystem::create_directory(place.path() / "canary.toml");
  CHECK(has(text_of(place.failure({"route", "t", "k"}).second.at("message")), "is a directory"));
  std::filesystem::create_symlink("nowhere", place.path() / "dangling");
  const auto [exit, error] = place.failure({"--config", "dangling", "route", "t", "k"});
  CHECK(exit == 5);
  CHECK(has(text_of(error.at("message")), "No such file"));
}

TEST_CASE("bad input: a file without permission is refused", "[cli][bad]") {
  const ConfiguredPlace place;
  place.write("keys", "a\n");
  std::filesystem::permissions(place.path() / "canary.toml", std::filesystem::perms::none);
  std::string line = "\"$CANARY\" route checks k";
  if (::geteuid() == 0) {
    if (place.shell("command -v setpriv").exit != 0)
      SKIP("root reads everything, and there is no setpriv to be someone else");
    if (place.shell("chmod 755 . && setpriv --reuid=65534 --clear-groups test -x \"$CANARY\"").exit != 0)
      SKIP("nobody may run the program where it stands");
    line = "setpriv --reuid=65534 --clear-groups " + line;
  }
  const Answer answer = place.shell(line);
  CHECK(answer.exit == 5);
  CHECK(has(answer.err, "canary.toml: error: cannot be opened: Permission denied"));
}

TEST_CASE("bad input: an unknown task is not found, with the nearest", "[cli][bad]") {
  const ConfiguredPlace place;
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"route", "chekcs", "k"},
                                                    {"why", "chekcs", "k"},
                                                    {"simulate", "chekcs", "--keys", "canary.toml"}}) {
    const auto [exit, error] = place.failure(arguments);
    CHECK(exit == 3);
    CHECK(text_of(error.at("code")) == "not_found");
    CHECK(text_of(error.at("hint")) == "did you mean \"checks\"?");
  }
}

TEST_CASE("bad input: CSV without the column lists the columns and the nearest", "[cli][bad]") {
  const ConfiguredPlace place;
  place.write("keys.csv", "user_id,country\n1,de\n");
  const auto [exit, error] = place.failure({"route", "checks", "--keys", "keys.csv", "--column", "userid"});
  CHECK(exit == 5);
  CHECK(text_of(error.at("message")) == "keys.csv:1: no column \"userid\"; the columns are: user_id, country");
  CHECK(text_of(error.at("hint")) == "did you mean \"user_id\"?");
}

TEST_CASE("bad input: broken CSV is refused with its place, after what was good", "[cli][bad]") {
  const ConfiguredPlace place;
  const auto message = [&](std::string_view text) {
    place.write("keys.csv", text);
    const auto [exit, error] = place.failure({"simulate", "checks", "--keys", "keys.csv", "--column", "k"});
    CHECK(exit == 5);
    return text_of(error.at("message"));
  };
  CHECK(message("k,n\n\"a,1\nb,2\n") == "keys.csv:2:1: the quote that opens here is never closed");
  CHECK(message("k,n\n\"a\"b,1\n") == "keys.csv:2:4: text after a closing quote");
  CHECK(message("k,n\na\"b,1\n") == "keys.csv:2:2: a quote inside a field");
  CHECK(message("k,n\na,1\nb\n") == "keys.csv:3: a record of 1 fields under a header of 2");
  CHECK(message("k,k\na,1\n") == "keys.csv:1: two columns are named \"k\"");
  CHECK(message("") == "keys.csv:1: no header: the file is empty");
  CHECK(message("\xFF\xFEk\0") == "keys.csv: is UTF-16");
}

TEST_CASE("bad input: a line of 10 MB is routed, one over the limit is refused", "[cli][bad]") {
  const ConfiguredPlace place;
  const std::string long_key(10'000'000, 'k');
  place.write("keys", "a\n" + long_key + "\nb\n");
  const Answer routed = place.run({"--json", "route", "checks", "--keys", "keys"});
  CHECK(routed.exit == 0);
  CHECK(lines_of(routed.out).size() == 3);
  place.write("keys.csv", "k\na\n\"" + long_key + "\"\n");
  CHECK(lines_of(place.run({"--json", "route", "checks", "--keys", "keys.csv", "--column", "k"}).out).size() == 2);

  place.write("keys", "a\n" + std::string(40'000'000, 'k') + "\nb\n");
  const Answer refused = place.run({"--json", "route", "checks", "--keys", "keys"});
  CHECK(refused.exit == 5);
  CHECK(has(lines_of(refused.out).back(), "keys:2: a line of more than 16 MiB"));
}

TEST_CASE("bad input: a key file that cannot be read says why", "[cli][bad]") {
  const ConfiguredPlace place;
  CHECK(has(text_of(place.failure({"route", "checks", "--keys", "absent"}).second.at("message")),
            "absent: cannot be opened"));
  const auto [exit, error] = place.failure({"route", "checks", "--keys", "."});
  CHECK(exit == 5);
  CHECK(text_of(error.at("message")) == ".: cannot be read: Is a directory");
}

TEST_CASE("bad input: nothing that a terminal would obey comes back in a message", "[cli][bad]") {
  const ConfiguredPlace place;
  const std::string escape = "\x1b[31m\xC2\x9B";
  using Arguments = std::vector<std::string>;
  for (const Arguments& arguments :
       {Arguments{"route", "no" + escape + "task", "u"}, Arguments{"route", "checks", "--keys", escape},
        Arguments{"--config", escape, "route", "checks", "u"}, Arguments{"route", "--" + escape},
        Arguments{"init", "."}, Arguments{escape}}) {
    const Answer answer = place.run(arguments);
    CHECK(answer.exit != 0);
    CHECK_FALSE(has(answer.err, "\x1b"));
    CHECK_FALSE(has(answer.err, "\xC2\x9B"));
  }
}

TEST_CASE("bad input: a failure keeps its exit code when nobody reads the results any more", "[cli][bad]") {
  const ConfiguredPlace place;
  for (const char* flag : {"", "--json "}) {
    // Opened for both, then for writing, then the reading end closed: a pipe that nobody reads, without a race.
    const Answer direct = place.shell("mkfifo p; exec 4<>p 5>p 4<&-; $CANARY " + std::string{flag} +
                                      "route nowhere u >&5 2>/dev/null; echo code $?; rm p");
    CHECK(has(direct.out, "code 3"));
  }
}

TEST_CASE("bad input: an empty --config is a mistake, an empty CANARY_CONFIG is none", "[cli][bad]") {
  const ConfiguredPlace place;
  CHECK(place.run({"--config", "", "route", "checks", "u"}).exit == 2);
  CHECK(place.run({"route", "checks", "u"}, {}, {{"CANARY_CONFIG", ""}}).exit == 0);
}

}  // namespace bad_input_test
