#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "guarded_place.hpp"
#include "program.hpp"

namespace rollout_test {

using namespace canary::test;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

struct RolloutPlace : DatabasePlace {
  RolloutPlace() { register_models({"v1", "v2"}); }
  boost::json::object rollout(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "rollout");
    return json(arguments).at("rollout").as_object();
  }
};

std::string keys_of(const boost::json::object& object) {
  std::string keys;
  for (const auto& [key, value] : object) keys += std::string{key} + ' ';
  return keys;
}

}  // namespace

TEST_CASE("rollout start: the first step, by the base alone, with the fields that scripts rely on", "[cli][rollout]") {
  const RolloutPlace place;
  const auto found = place.rollout({"start", "checks@1", "--steps", "0.5,5%,25", "--note", "trained in | October"});
  CHECK(keys_of(found) == "id state step steps_percent since reason history ");
  CHECK(text_of(found.at("id")) == "checks@1");
  CHECK(text_of(found.at("state")) == "running");
  CHECK(number_of(found.at("step")) == 1);
  CHECK(boost::json::serialize(found.at("steps_percent")) == "[5E-1,5,25]");
  CHECK(text_of(found.at("since")).ends_with("Z"));
  CHECK(text_of(found.at("reason")) == "trained in | October");
  REQUIRE(found.at("history").as_array().size() == 1);
  const auto& row = found.at("history").at(0).as_object();
  CHECK(text_of(row.at("action")) == "rollout start");
  CHECK(text_of(row.at("note")) == "trained in | October");
  CHECK(row.at("points_moved") == row.at("points_minimum"));
  CHECK(place.shares().at("checks@1") == 5'000);
}

TEST_CASE("rollout start: without steps it goes by the task's configuration", "[cli][rollout]") {
  const RolloutPlace place;
  CHECK(boost::json::serialize(place.rollout({"start", "checks@1"}).at("steps_percent")) == "[1,5,10,25,50,100]");
  const Answer text = place.run({"rollout", "start", "checks@2", "--actor", "ada"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "checks@2: the rollout is running, step 1 of 6, 1 %: revision 4"));
  CHECK(has(text.out, "steps: 1, 5, 10, 25, 50, 100 %"));
  CHECK(has(text.out, "No metric is configured for checks, so the guard never advances it"));
}

TEST_CASE("rollout: pause, resume and abort keep their promise, and status tells it", "[cli][rollout]") {
  const RolloutPlace place;
  place.done({"rollout", "start", "checks@1", "--steps", "10,50"});
  CHECK(text_of(place.rollout({"pause", "checks@1", "--actor", "ada"}).at("reason")) == "paused by ada");
  CHECK(text_of(place.rollout({"status", "checks@1"}).at("state")) == "paused");
  CHECK(place.shares().at("checks@1") == 100'000);
  CHECK(text_of(place.rollout({"resume", "checks@1"}).at("state")) == "running");
  CHECK(text_of(place.rollout({"abort", "checks@1", "--note", "no"}).at("state")) == "aborted");
  CHECK(place.shares().at("checks@1") == 0);
  CHECK(text_of(place.json({"model", "show", "checks@1"}).at("version").at("status")) == "CANDIDATE");
  const auto found = place.rollout({"status", "checks@1"});
  CHECK(text_of(found.at("reason")) == "no");
  CHECK(found.at("history").as_array().size() == 4);
  place.done({"rollout", "start", "checks@1", "--steps", "20"});  // a rollout of its own
  CHECK(place.rollout({"status", "checks@1"}).at("history").as_array().size() == 1);
  const Answer text = place.run({"rollout", "status", "checks@1"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "step 1 of 1, 20 %"));
  CHECK(has(text.out, "rollout start"));
}

TEST_CASE("rollout: a change by hand pauses it, with the reason in its status and its history", "[cli][rollout]") {
  const RolloutPlace place;
  place.done({"rollout", "start", "checks@1", "--steps", "10,50"});
  place.done({"model", "canary", "checks@1", "2", "--actor", "ada"});
  place.done({"model", "canary", "checks@2", "1"});  // has nothing to do with it
  const auto found = place.rollout({"status", "checks@1"});
  CHECK(text_of(found.at("state")) == "paused");
  CHECK(text_of(found.at("reason")) == "its share was changed from 10 to 2 %: canary by ada");
  REQUIRE(found.at("history").as_array().size() == 2);
  CHECK(text_of(found.at("history").at(1).at("action")) == "canary");
}

TEST_CASE("rollout status: of all tasks, of one, and of none", "[cli][rollout]") {
  const RolloutPlace place;
  CHECK(boost::json::serialize(place.json({"rollout", "status"})) == R"({"rollouts":[]})");
  CHECK(has(place.run({"rollout", "status"}).out, "no rollout so far"));
  place.done({"rollout", "start", "checks@1"});
  place.done({"rollout", "start", "checks@2"});
  CHECK(place.json({"rollout", "status"}).at("rollouts").as_array().size() == 2);
  const auto all = place.json({"rollout", "status", "checks"}).at("rollouts").as_array();
  REQUIRE(all.size() == 2);
  CHECK(text_of(all[1].at("id")) == "checks@2");
  CHECK(all[1].at("history").as_array().size() == 1);
  CHECK(place.json({"rollout", "status", "risks"}).at("rollouts").as_array().empty());
  const Answer text = place.run({"rollout", "status"});
  CHECK(lines_of(text.out).size() == 3);
}

TEST_CASE("rollout: a dry run says what it would do, and does nothing", "[cli][rollout]") {
  const RolloutPlace place;
  const auto planned = place.json({"rollout", "start", "checks@1", "--dry-run"});
  CHECK(planned.at("dry_run").as_bool());
  CHECK(text_of(planned.at("rollout").at("state")) == "running");
  CHECK(has(place.run({"rollout", "start", "checks@1", "--dry-run"}).out, "dry run: nothing was changed"));
  CHECK(place.json({"rollout", "status"}).at("rollouts").as_array().empty());
  CHECK(place.shares().at("checks@default") == 1'000'000);
}

TEST_CASE("rollout bad input: unknown versions and tasks are not found, and so is a rollout that never was",
          "[cli][rollout][bad]") {
  const RolloutPlace place;
  for (const char* verb : {"start", "pause", "resume", "abort", "status"}) {
    CHECK(has(place.refused(3, {"rollout", verb, "checks@9"}), "no version checks@9"));
    CHECK(has(place.refused(3, {"rollout", verb, "chekcs@1"}), "did you mean \"checks\"?"));
    CHECK(has(place.refused(5, {"rollout", verb, "checks@x"}), "checks@1 for one"));
    if (verb != std::string_view{"start"})
      CHECK(has(place.refused(3, {"rollout", verb, "checks@1"}), "canary rollout start checks@1 begins one"));
  }
  CHECK(has(place.refused(3, {"rollout", "status", "chekcs"}), "did you mean \"checks\"?"));
  CHECK(has(place.refused(5, {"rollout", "start", "checks"}), "checks@1 for one"));
}

TEST_CASE("rollout bad input: steps that do not rise, or are no shares, are refused", "[cli][rollout][bad]") {
  const RolloutPlace place;
  const auto steps = [&](const std::string& text) {
    return place.refused(5, {"rollout", "start", "checks@1", "--steps", text});
  };
  for (const char* text : {"5,1", "1,1", "0,5", "0", "1,5,5,100"})
    CHECK(has(steps(text), "each larger than the one before"));
  for (const char* text : {",", "1,", "1,,5", "1;5", "1,101", "-1,5", "0.00001,5", "a", "1, 5", "[1,5]"})
    CHECK(has(steps(text), "is not a percentage"));
  CHECK(has(steps("100"), "canary model promote checks@1"));
  CHECK(place.json({"rollout", "status"}).at("rollouts").as_array().empty());
  place.done({"rollout", "start", "checks@1", "--steps", "0.0001,100"});
  CHECK(place.shares().at("checks@1") == 1);
}

TEST_CASE("rollout bad input: what stands in the way is a conflict, with a way out", "[cli][rollout][bad]") {
  const RolloutPlace place;
  place.done({"rollout", "start", "checks@1"});
  CHECK(has(place.refused(4, {"rollout", "start", "checks@1"}), "canary rollout status checks@1"));
  CHECK(has(place.refused(4, {"rollout", "resume", "checks@1"}), "is running: it cannot be resumed"));
  place.done({"rollout", "abort", "checks@1"});
  CHECK(has(place.refused(4, {"rollout", "pause", "checks@1"}), "canary rollout start checks@1"));
  place.done({"model", "promote", "checks@2", "10"});
  CHECK(has(place.refused(4, {"rollout", "start", "checks@2"}), "only CANDIDATE versions are ramped"));
  place.done({"model", "rollback", "checks@1"});
  CHECK(has(place.refused(4, {"rollout", "start", "checks@1"}), "canary model promote checks@1 brings it back"));
}

TEST_CASE("rollout bad input: on memory: there are no rollouts", "[cli][rollout][bad]") {
  const DatabasePlace place;
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.checks]\ndefault_model = 'm'\n");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"rollout", "start", "checks@1"},
                                                    {"rollout", "status"},
                                                    {"guard", "run"},
                                                    {"guard", "run", "--once"}})
    CHECK(has(place.refused(5, arguments), "registry commands need a database"));
}

}  // namespace rollout_test
