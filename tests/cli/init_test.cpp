#include <cstddef>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace init_test {

using namespace canary::test;

namespace {

/// The file without a database: the split that it comments out stands in it.
std::string in_memory(std::string text) {
  const auto replace = [&text](const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
  };
  replace("url = \"sqlite:canary.db\"", "url = \"memory:\"");
  for (const char* line : {"[[task.checklist_enrichment.version]]", "model = ", "percent = "})
    replace('\n' + std::string{"# "} + line, '\n' + std::string{line});
  return text;
}

}  // namespace

TEST_CASE("init: what it writes works with every command", "[cli][init]") {
  const Place place;
  const Answer init = place.run({"init"});
  CHECK(init.exit == 0);
  CHECK(init.out == "created canary.toml\n");
  CHECK(place.read("canary.toml").starts_with("# canary.toml"));
  const std::string task = "checklist_enrichment";
  CHECK(place.run({"route", task, "user-42"}).exit == 0);  // before there is a version, by the default
  const std::string first = task + "@1";
  place.write("users.csv", "user_id,country\na,de\nb,fr\n");
  place.write("old.csv", "user,passed,old_ok,new_ok\na,1,1,1\nb,0,1,0\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"model", "register", task, "ft:gpt-4o-mini:acme:v7", "--note", "trained on October"},
        {"model", "canary", first, "5", "--dry-run"},
        {"model", "canary", first, "5"},
        {"model", "promote", first},
        {"model", "rollback", task},
        {"history", task},
        {"store", "backup", "nightly.db"},
        {"route", task, "user-42", "user-43"},
        {"route", task, "--keys", "users.csv", "--column", "user_id"},
        {"why", task, "user-42"},
        {"simulate", task, "--keys", "users.csv", "--column", "user_id", "--set", first + "=25"},
        {"interactions", "stats", task},
        {"interactions", "import", task, "old.csv", "--version", first, "--ok", "passed", "--key", "user"},
        {"rollout", "start", first, "--steps", "1,5,25,50,100"},
        {"rollout", "status", task},
        {"guard", "run", "--once"},
        {"guard", "check", task},
        {"guard", "plan", task, "--drop", "0.02"},
        {"guard", "replay", task, "old.csv", "--baseline", "old_ok", "--candidate", "new_ok", "--repeat", "3"},
        {"completion", "bash"}}) {
    const Answer answer = place.run(arguments);
    INFO(arguments[0] << ' ' << arguments[1] << ": " << answer.err);
    CHECK(answer.exit == 0);
  }
}

TEST_CASE("init: without a database the split may stand in the file, as it says", "[cli][init]") {
  const Place place;
  REQUIRE(place.run({"init"}).exit == 0);
  place.write("canary.toml", in_memory(place.read("canary.toml")));
  const std::string task = "checklist_enrichment";
  CHECK(place.run({"route", task, "user-42"}).exit == 0);
  CHECK(place.run({"simulate", task, "--keys", "-", "--set", task + "@1=25"}, "a\nb\n").exit == 0);
}

TEST_CASE("init: no directory named is no directory", "[cli][init][bad]") {
  const Place place;
  const auto [exit, error] = place.failure({"init", ""});
  CHECK(exit == 2);
  CHECK(text_of(error.at("message")) == "no directory named");
  CHECK_FALSE(text_of(error.at("hint")).empty());
}

TEST_CASE("init: every line that it comments out is one that the parser takes", "[cli][init]") {
  const Place place;
  REQUIRE(place.run({"init"}).exit == 0);
  std::string text;
  for (std::string line : lines_of(place.read("canary.toml"))) {
    // A comment that is a key or a table once its mark is gone; the salt's "..." is an example of one.
    const bool setting = line.starts_with("# [") || (line.starts_with("# ") && line.find(" = ") < 25);
    text += (setting ? line.substr(2) : line) + '\n';
  }
  REQUIRE(text.find("\n[provider.openai]") != std::string::npos);
  REQUIRE(text.find("\nadvance_margin = ") != std::string::npos);
  const std::size_t url = text.find("sqlite:canary.db");  // versions in the file, which are uncommented too, need
  REQUIRE(url != std::string::npos);                      // another store
  place.write("canary.toml", text.replace(url, 16, "memory:"));
  const Answer answer = place.run({"route", "checklist_enrichment", "k"});
  INFO(answer.err);
  CHECK(answer.exit == 0);
}

TEST_CASE("init: makes the directory, and never overwrites", "[cli][init]") {
  const Place place;
  const auto created = place.json({"init", "deep/er"});
  CHECK(text_of(created.at("created").as_array().at(0)) == "deep/er/canary.toml");
  place.write("deep/er/canary.toml", "mine");
  const auto [exit, error] = place.failure({"init", "deep/er"});
  CHECK(exit == 4);
  CHECK(text_of(error.at("code")) == "conflict");
  CHECK(place.read("deep/er/canary.toml") == "mine");
}

TEST_CASE("init: a place that cannot be written to is exit 1", "[cli][init]") {
  const Place place;
  place.write("file", "");
  const auto [exit, error] = place.failure({"init", "file/below"});
  CHECK(exit == 1);
  CHECK(text_of(error.at("code")) == "failed");
}

}  // namespace init_test
