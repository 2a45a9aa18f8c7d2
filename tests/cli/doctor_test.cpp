#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace doctor_test {

using namespace canary::test;

namespace {

struct Diagnosis {
  int exit = 0;
  std::map<std::string, std::pair<bool, std::string>> checks;

  [[nodiscard]] bool ok(const std::string& name) const {
    INFO(name);
    REQUIRE(checks.contains(name));
    INFO(checks.at(name).second);
    return checks.at(name).first;
  }
  [[nodiscard]] std::string message(const std::string& name) const {
    INFO(name);
    REQUIRE(checks.contains(name));
    return checks.at(name).second;
  }
};

Diagnosis diagnose(const Place& place, const std::vector<std::pair<std::string, std::string>>& environment = {}) {
  const Answer answer = place.run({"doctor", "--json"}, {}, environment);
  INFO(answer.out << answer.err);
  REQUIRE(lines_of(answer.out).size() == 1);
  Diagnosis diagnosis{answer.exit, {}};
  const boost::json::value document = boost::json::parse(answer.out);
  for (const auto& check : document.at("checks").as_array())
    diagnosis.checks[text_of(check.at("name"))] = {check.at("ok").as_bool(), text_of(check.at("message"))};
  return diagnosis;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("doctor: a sound deployment is exit 0, every check ok", "[cli][doctor]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "5"});
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 0);
  for (const char* name :
       {"config", "store", "store.schema", "store.read", "store.write", "state", "task.checks.default_model",
        "task.checks.override", "task.checks.shares", "task.checks.shutdown", "clock", "memory.locked", "memory.max"})
    CHECK(found.ok(name));
  CHECK(has(found.message("task.checks.shares"), "checks@default 95 %, checks@1 5 %"));
  const Answer text = place.run({"doctor"});
  CHECK(text.exit == 0);
  CHECK(text.out.ends_with("all is well\n"));
  CHECK(place.json({"history", "checks"}).at("history").as_array().size() == 2);  // looking changed nothing
}

TEST_CASE("doctor: before the first command it makes no database", "[cli][doctor]") {
  const DatabasePlace place;
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 0);
  CHECK(has(found.message("store"), "not there yet"));
  CHECK_FALSE(std::filesystem::exists(place.path() / "canary.db"));
  CHECK_FALSE(std::filesystem::exists(place.path() / "canary.state"));
}

TEST_CASE("doctor: one bad thing never hides the others", "[cli][doctor]") {
  const DatabasePlace place;
  place.write(
      "canary.toml",
      "[store]\nurl = 'sqlite:canary.db'\nstate = 'nowhere/canary.state'\n"
      "[provider.openai]\napi_key_env = 'KEY_OF_OPENAI'\n[provider.here]\nkind = 'command'\ncommand = ['./train']\n"
      "[provider.gone]\nkind = 'command'\ncommand = ['./nowhere']\n[task.checks]\nforce_env = "
      "'CHECKS_FORCE'\n[task.risks]\ndefault_model = 'steady'\n");
  place.write("train", "#!/bin/sh\n");
  std::filesystem::permissions(place.path() / "train", std::filesystem::perms::owner_all);
  place.register_models({"v1", "v2"});
  place.done({"model", "promote", "checks@1"});
  place.sql("UPDATE versions SET shutdown_date = '2020-01-01' WHERE number = 1");
  const Diagnosis found = diagnose(place, {{"CHECKS_FORCE", "v2"}, {"AI_FT_PROVIDER", "her"}});
  CHECK(found.exit == 1);
  CHECK_FALSE(found.ok("state"));
  CHECK_FALSE(found.ok("task.checks.default_model"));
  CHECK_FALSE(found.ok("task.checks.override"));
  CHECK(has(found.message("task.checks.override"), "CHECKS_FORCE"));
  CHECK_FALSE(found.ok("task.checks.shutdown"));
  CHECK(has(found.message("task.checks.shutdown"), "checks@1 has 100 % of the traffic"));
  CHECK_FALSE(found.ok("provider.openai"));
  CHECK(found.ok("provider.here"));
  CHECK_FALSE(found.ok("provider.gone"));
  CHECK(has(found.message("provider.gone"), "nowhere"));
  CHECK_FALSE(found.ok("fine_tune.provider"));
  CHECK(has(found.message("fine_tune.provider"), "here"));
  CHECK(found.ok("store.write"));
  CHECK(found.ok("task.checks.shares"));
  CHECK(found.ok("task.risks.shares"));
  const Answer text = place.run({"doctor"});
  CHECK(text.exit == 1);
  CHECK(has(text.out, "BAD  state"));
  CHECK(has(text.out, " faults\n"));
}

TEST_CASE("doctor: a key is set or not, and never shown", "[cli][doctor]") {
  const DatabasePlace place;
  place.write("canary.toml",
              "[store]\nurl = 'memory:'\n[provider.openai]\napi_key_env = 'KEY_OF_OPENAI'\n"
              "[task.t]\ndefault_model = 'm'\n");
  const Answer set = place.run({"doctor"}, {}, {{"KEY_OF_OPENAI", "sk-Q7f"}});
  CHECK(set.exit == 0);
  CHECK(has(set.out, "KEY_OF_OPENAI is set"));
  CHECK_FALSE(has(set.out, "Q7f"));
  CHECK(diagnose(place, {{"KEY_OF_OPENAI", ""}}).exit == 1);
}

TEST_CASE("doctor: a clock behind the newest change is told", "[cli][doctor]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.sql("DROP TRIGGER history_stays_as_it_is; UPDATE history SET at_us = 4000000000000000");
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 1);
  CHECK_FALSE(found.ok("clock"));
  CHECK(has(found.message("clock"), "task checks at 2096-10-02"));
}

TEST_CASE("doctor: a store out of reach is exit 7, and the rest is looked at all the same", "[cli][doctor]") {
  const DatabasePlace place;
  place.write("canary.toml",
              "[store]\nurl = 'postgresql://127.0.0.1:1/x'\ntimeout_ms = 1000\n[task.checks]\ndefault_model = 'm'\n");
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 7);
  CHECK_FALSE(found.ok("store"));
  CHECK(found.ok("task.checks.default_model"));
  CHECK(found.ok("clock"));
}

TEST_CASE("doctor: without a configuration the machine is looked at", "[cli][doctor]") {
  const Place place;
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 5);
  CHECK_FALSE(found.ok("config"));
  CHECK(has(found.message("config"), "canary init"));
  CHECK(found.ok("clock"));
}

TEST_CASE("doctor: shares that do not fit the partition are told", "[cli][doctor]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "5"});
  place.sql("UPDATE versions SET weight_ppm = 60000 WHERE number = 1");
  const Diagnosis found = diagnose(place);
  CHECK(found.exit == 1);
  CHECK_FALSE(found.ok("task.checks.shares"));
  CHECK(found.ok("task.risks.shares"));
}

}  // namespace doctor_test
