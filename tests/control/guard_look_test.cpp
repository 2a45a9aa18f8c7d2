// What a store has of a task -> a verdict for each candidate in flight.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/guard_look.hpp"
#include "canary/control/registry.hpp"
#include "guard_world.hpp"

namespace guard_look_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr TimeUs start = guard_start;
using World = GuardWorld;

bool says(const GuardLook& look, std::string_view words) {
  INFO(look.verdict.reason);
  return look.verdict.reason.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("guard look: a task that is not in the store, or without a candidate with a share, has nothing to judge",
          "[control][guard]") {
  World world;
  CHECK(world.look().empty());  // candidates at 0 %
  world.task.name = "unknown";
  CHECK(world.look().empty());
  world.task.name = "t";
  world.registry.promote("t", 1, 10 * percent);
  CHECK(world.look().empty());  // ACTIVE
  world.registry.canary("t", 2, 5 * percent);
  REQUIRE(world.look().size() == 1);
  world.registry.rollback_version("t", 2);
  CHECK(world.look().empty());
}

TEST_CASE("guard look: a candidate without evidence is held, with all that is known of it", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);
  const auto looks = world.look(start + 90'000'000);
  REQUIRE(looks.size() == 1);
  CHECK(looks[0].number == 1);
  CHECK(looks[0].baseline_id == "t@default");
  CHECK(looks[0].weight_ppm == 100'000);
  CHECK(looks[0].since == 4);
  CHECK(looks[0].revision == 4);
  CHECK(looks[0].step.index == 2);
  CHECK_FALSE(looks[0].step.last);
  CHECK(looks[0].step.age_s == 90);
  CHECK(looks[0].step.candidates == 1);
  CHECK(looks[0].verdict.action == Action::hold);
  CHECK(says(looks[0], "no outcome has been recorded yet"));
  CHECK(world.look(start - 1'000'000)[0].step.age_s == 0);  // another machine's clock
}

TEST_CASE("guard look: counts of all servers and all epochs of the life are judged together", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);  // 4
  world.now += 1'000'000'000;
  world.registry.canary("t", 1, 25 * percent);  // 5
  world.put(4, 4, counts_of(4'500, 450, 500, 100), "1");
  world.put(4, 4, counts_of(4'500, 450, 500, 100), "2");
  world.put(4, 5, counts_of(750, 75, 250, 50), "2");
  world.put(3, 3, counts_of(750, 0, 250, 250), "1");  // another life's
  world.put(4, 9, counts_of(750, 0, 250, 250), "1");  // an epoch that nobody opened
  const auto looks = world.look(world.now + 5'000'000);
  REQUIRE(looks.size() == 1);
  CHECK(looks[0].since == 4);
  CHECK(looks[0].revision == 5);
  CHECK(looks[0].step.index == 3);
  CHECK(looks[0].step.age_s == 5);
  CHECK(looks[0].verdict.units == 1'250);
  REQUIRE(looks[0].verdict.metrics.size() == 1);
  CHECK(looks[0].verdict.metrics[0].baseline == ArmValue{9'750, 0.9});
  CHECK(looks[0].verdict.metrics[0].candidate == ArmValue{1'250, 0.8});
  CHECK(looks[0].verdict.action == Action::rollback);
  const std::vector<LifeEpoch> life =
      life_epochs(*world.store.interactions(), "t", {1, 0, 4}, world.store.history("t", {}));
  REQUIRE(life.size() == 2);
  CHECK(looks[0].verdict.log_e_rollback == judge(world.task.guard, {1, life, {}}, looks[0].step).log_e_rollback);
}

TEST_CASE("guard look: a new life from 0 % does not know the one before", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);  // 4
  world.put(4, 4, counts_of(9'000, 900, 1'000, 900));
  CHECK(world.look()[0].verdict.action == Action::rollback);
  world.registry.canary("t", 1, 0);             // 5
  world.registry.canary("t", 1, 10 * percent);  // 6
  const auto looks = world.look();
  REQUIRE(looks.size() == 1);
  CHECK(looks[0].since == 6);
  CHECK(looks[0].verdict.units == 0);
  CHECK(looks[0].verdict.action == Action::hold);
}

TEST_CASE("guard look: two candidates are two lives, and share the odds", "[control][guard]") {
  World world;
  world.registry.promote("t", 3);
  world.registry.canary("t", 1, 10 * percent);  // 5
  const double alone = world.look()[0].verdict.threshold_rollback;
  world.registry.canary("t", 2, 5 * percent);         // 6
  world.put(5, 6, counts_of(850, 85, 100, 10), "1");  // of 85 : 10
  world.put(6, 6, counts_of(8'500, 100, 500, 400), "1");
  const auto looks = world.look();
  REQUIRE(looks.size() == 2);
  CHECK(looks[0].number == 1);
  CHECK(looks[1].number == 2);
  CHECK(looks[1].baseline_id == "t@3");
  CHECK(looks[0].verdict.action == Action::hold);
  CHECK(looks[1].verdict.action == Action::rollback);
  CHECK(looks[0].verdict.threshold_rollback > alone);
  CHECK(looks[0].step.candidates == 2);
}

TEST_CASE("guard look: a step begins when the candidate got its share, whatever else changed", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);
  world.now += 60'000'000;
  world.registry.canary("t", 2, 5 * percent);
  const auto looks = world.look(start + 100'000'000);
  REQUIRE(looks.size() == 2);
  CHECK(looks[0].step.age_s == 100);
  CHECK(looks[1].step.age_s == 40);
}

TEST_CASE("guard look: the last step is the last that is configured", "[control][guard]") {
  World world;
  world.task.guard.steps_ppm = {10 * percent, 50 * percent};
  CHECK_FALSE(step_at(world.task.guard, 5 * percent).last);
  CHECK_FALSE(step_at(world.task.guard, 49 * percent).last);
  CHECK(step_at(world.task.guard, 50 * percent).last);
  CHECK(step_at(world.task.guard, 60 * percent).last);
  world.task.guard.steps_ppm = {10 * percent};
  CHECK_FALSE(step_at(world.task.guard, 5 * percent).last);  // below it
  world.task.guard.steps_ppm = {};
  CHECK(step_at(world.task.guard, 5 * percent).last);
}

TEST_CASE("guard look: evidence that makes no sense is told, and never guessed at", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);
  const auto error = [&world]() -> std::optional<StoreError> {
    try {
      (void)world.look();
      return {};
    } catch (const StoreError& thrown) {
      return thrown;
    }
  };
  CHECK_FALSE(error());
  std::string other = counts_of(9'000, 900, 1'000, 100).bytes();
  other[0] = 0x65;  // another format
  for (const std::string& bytes :
       {other, std::string{}, std::string{"nonsense"}, counts_of(9, 0, 1, 0).bytes().substr(0, 20),
        counts_of(9'000, 900, 1'000, 100, 2).bytes()}) {  // the last: of thresholds that the epoch has not
    world.put(4, 4, bytes);
    const auto thrown = error();
    REQUIRE(thrown);
    CHECK(thrown->code == StoreErrc::corrupt);
    CHECK(std::string{thrown->what()} == "task t: the evidence of version t@1 at revision 4 makes no sense");
    CHECK_FALSE(thrown->hint.empty());
  }
  world.put(4, 4, counts_of(9'000, 900, 1'000, 100));
  CHECK_FALSE(error());
}

TEST_CASE("guard look: a split that was changed without an epoch is held in words", "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);
  world.put(4, 4, counts_of(9'000, 900, 1'000, 900));
  const TaskRecord before = world.store.load("t", {.all = true});
  Commit change;
  change.task = "t";
  change.expected_revision = before.revision;
  change.versions = {before.versions[0]};
  change.versions[0].weight_ppm = 20 * percent;
  change.row.revision = before.revision + 1;
  change.row.at_us = start;
  change.row.actor = "old";
  change.row.action = "canary";
  change.row.number = 1;
  const WantedShare wanted[] = {{0, 80 * percent}, {1, 20 * percent}};
  change.row.partition = rebalance(before.partition, wanted).partition;
  REQUIRE(world.store.commit(change) == CommitResult::done);
  const auto looks = world.look();
  REQUIRE(looks.size() == 1);
  CHECK(looks[0].verdict.action == Action::hold);
  CHECK(says(looks[0], "give the candidate its share once more"));
}

TEST_CASE("guard look: candidates that one rollback brought back together are held in words", "[control][guard]") {
  GuardWorld world;
  (void)world.registry.canary("t", 1, 10 * percent);
  (void)world.registry.canary("t", 2, 10 * percent);
  (void)world.registry.promote("t", 3);
  (void)world.registry.rollback("t");
  const std::vector<GuardLook> looks = world.look();
  REQUIRE(looks.size() == 2);
  for (const GuardLook& each : looks) {
    CHECK(each.since == world.revision());
    CHECK(each.verdict.action == Action::hold);
    CHECK(each.verdict.reason.find("began together with t@" + std::to_string(3 - each.number)) != std::string::npos);
  }
  for (const std::uint32_t number : {2u, 1u}) {  // the first to begin anew leaves the other with what both did
    CHECK(world.look().at(0).verdict.reason.find("together") != std::string::npos);
    (void)world.registry.canary("t", number, 0);
    (void)world.registry.canary("t", number, 10 * percent);
  }
  for (const GuardLook& each : world.look()) CHECK(each.verdict.reason.find("together") == std::string::npos);
}

}  // namespace guard_look_test
