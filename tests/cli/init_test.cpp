#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

using namespace canary::test;

TEST_CASE("init: what it writes works with every command", "[cli][init]") {
  const Place place;
  const Answer init = place.run({"init"});
  CHECK(init.exit == 0);
  CHECK(init.out == "created canary.toml\n");
  CHECK(place.read("canary.toml").starts_with("# canary.toml"));
  const std::string task = "checklist_enrichment";
  CHECK(place.run({"route", task, "user-42"}).exit == 0);
  CHECK(place.run({"why", task, "user-42"}).exit == 0);
  CHECK(place.run({"simulate", task, "--keys", "-", "--set", task + "@1=25"}, "a\nb\n").exit == 0);
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
  place.write("canary.toml", text);
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
