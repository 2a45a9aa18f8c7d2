// One pass of the guard: what it does with a verdict, and what it never does.
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/guard_news.hpp"
#include "canary/control/guard_pass.hpp"
#include "canary/control/verdict_json.hpp"
#include "guard_world.hpp"

namespace guard_pass_test {

using namespace canary;
using namespace canary::test;

namespace {

const std::vector<std::uint32_t> ramp{percent, 5 * percent, 25 * percent, 50 * percent, 100 * percent};

struct World : GuardWorld {
  World() { task.guard.steps_ppm = ramp; }

  GuardPass pass(GuardPassOptions options = {}) {
    options.actor = "guard@here";
    options.clock = [this] { return now; };
    const std::vector<TaskConfig> tasks{task};
    return guard_pass(store, *store.interactions(), tasks, options);
  }
  /// Evidence of the only epoch of a life that began with the last change, at a share of 1 to 100 parts.
  void put_harm(std::uint32_t baseline = 99'000, std::uint32_t candidate = 1'000) {
    put(revision(), revision(), counts_of(baseline, baseline / 10, candidate, candidate * 3 / 10));
  }
  void put_proof(std::uint32_t baseline = 99'000, std::uint32_t candidate = 1'000) {
    put(revision(), revision(), counts_of(baseline, baseline / 10, candidate, candidate / 10));
  }
  [[nodiscard]] ModelVersion row(std::uint32_t number) { return version_of(record(), number); }
  [[nodiscard]] HistoryRow last() { return store.history("t", {.newest = 1}).at(0); }
  [[nodiscard]] std::optional<Rollout> rollout(std::uint32_t number) {
    const auto all = stored_rollouts(record());
    const Rollout* found = find_rollout(all, number);
    return found == nullptr ? std::optional<Rollout>{} : *found;
  }
};

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("guard pass: nothing proved is nothing done", "[control][guard]") {
  World world;
  CHECK(world.pass().acts.empty());  // no candidate with a share
  world.registry.start_rollout("t", 1, ramp);
  const TaskRecord before = world.record();
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.faults.empty());
  CHECK_FALSE(pass.acts[0].acted);
  CHECK_FALSE(pass.acts[0].conflict);
  CHECK(pass.acts[0].words.empty());
  CHECK(pass.acts[0].look.rollout->state == RolloutState::running);
  CHECK(world.record() == before);
}

TEST_CASE("guard pass: harm is rolled back, with the evidence in history", "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, ramp);
  world.put_harm();
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 1);
  const GuardAct& act = pass.acts[0];
  CHECK(act.acted);
  CHECK(act.words == "rolled back: from 1 to 0 %");
  CHECK(act.revision == world.revision());
  CHECK(world.row(1).status == Status::deprecated);
  CHECK(world.row(1).weight_ppm == 0);
  CHECK(world.rollout(1)->state == RolloutState::rolled_back);
  CHECK(world.rollout(1)->reason == act.look.verdict.reason);
  const HistoryRow row = world.last();
  CHECK(row.actor == "guard@here");
  CHECK(row.action == "rollback");
  CHECK(row.number == 1);
  CHECK(row.note == act.look.verdict.reason);
  CHECK(row.points_moved == row.points_minimum);
  CHECK(row.evidence == verdict_json(act.look, max_evidence_bytes));
  CHECK(has(row.evidence, R"({"action":"rollback","reason":"`ok`: share of successes 0.7 of 1000)"));
  CHECK(has(row.evidence, R"("baseline":{"count":99000,"value":0.9},"candidate":{"count":1000,"value":0.7}})"));
  CHECK(world.pass().acts.empty());  // there is nothing left to judge
}

TEST_CASE("guard pass: a paused rollout, and a share by hand, are rolled back for harm, and never raised",
          "[control][guard]") {
  World world;
  SECTION("paused") {
    world.registry.start_rollout("t", 1, ramp);
    const std::uint32_t life = world.revision();
    world.registry.pause_rollout("t", 1, {.actor = "ada", .note = "holiday"});
    world.put(life, life, counts_of(99'000, 9'900, 1'000, 100));
    const GuardPass held = world.pass();
    REQUIRE(held.acts.size() == 1);
    CHECK(held.acts[0].look.verdict.action == Action::advance);
    CHECK_FALSE(held.acts[0].acted);
    CHECK(held.acts[0].words == "not advanced: its rollout is paused, holiday");
    CHECK(world.row(1).weight_ppm == percent);
    world.put(life, life, counts_of(99'000, 9'900, 1'000, 300));
    CHECK(world.pass().acts.at(0).acted);
    CHECK(world.rollout(1)->state == RolloutState::rolled_back);
  }
  SECTION("by hand") {
    world.registry.canary("t", 1, percent);
    world.put_proof();
    const GuardPass held = world.pass();
    REQUIRE(held.acts.size() == 1);
    CHECK_FALSE(held.acts[0].acted);
    CHECK(has(held.acts[0].words, "not advanced: no rollout of it is under way"));
    CHECK(world.row(1).weight_ppm == percent);
    world.put_harm();
    CHECK(world.pass().acts.at(0).acted);
    CHECK_FALSE(world.rollout(1));
  }
  CHECK(world.row(1).weight_ppm == 0);
  CHECK(world.row(1).status == Status::deprecated);
}

TEST_CASE("guard pass: a proved step brings a rollout to the next one, and the last one finishes it",
          "[control][guard]") {
  World world;
  SECTION("to the next") {
    world.registry.start_rollout("t", 1, ramp);
    world.put_proof();
    const GuardPass pass = world.pass();
    CHECK(pass.acts.at(0).acted);
    CHECK(pass.acts.at(0).words == "advanced: from 1 to 5 %");
    CHECK(world.row(1).weight_ppm == 5 * percent);
    CHECK(world.rollout(1)->step == 1);
    CHECK(has(world.last().evidence, R"("action":"advance")"));
    CHECK(world.last().note == pass.acts[0].look.verdict.reason);
  }
  SECTION("promoted") {
    world.registry.start_rollout("t", 1, {50 * percent, 100 * percent});
    world.put_proof(10'000, 10'000);
    CHECK(world.pass().acts.at(0).words == "finished: from 50 to 100 %");
    CHECK(world.row(1).status == Status::active);
    CHECK(world.rollout(1)->state == RolloutState::finished);
    CHECK(world.pass().acts.empty());
  }
  SECTION("finished below 100 %") {
    world.registry.start_rollout("t", 1, {50 * percent});
    world.put_proof(10'000, 10'000);
    CHECK(world.pass().acts.at(0).words == "finished: from 50 to 50 %");
    CHECK(world.row(1).status == Status::candidate);
    CHECK(world.rollout(1)->state == RolloutState::finished);
    const std::uint32_t revision = world.revision();
    CHECK_FALSE(world.pass().acts.at(0).acted);  // it stays there
    CHECK(world.revision() == revision);
  }
}

TEST_CASE("guard pass: a step lasts as long as it is configured to", "[control][guard]") {
  World world;
  world.task.guard.step_min_s = 60;
  world.registry.start_rollout("t", 1, ramp);
  world.put_proof();
  world.now += 59'000'000;
  CHECK_FALSE(world.pass().acts.at(0).acted);
  world.now += 1'000'000;
  CHECK(world.pass().acts.at(0).acted);
}

TEST_CASE("guard pass: of several candidates each has its verdict acted on, harm first", "[control][guard]") {
  World world;
  world.registry.promote("t", 3);
  world.registry.start_rollout("t", 1, {10 * percent, 20 * percent});  // 5
  world.registry.start_rollout("t", 2, {10 * percent, 20 * percent});  // 6
  world.put(5, 5, counts_of(18'000, 1'800, 2'000, 200), "1");
  world.put(5, 6, counts_of(16'000, 1'600, 2'000, 200), "2");
  world.put(6, 6, counts_of(16'000, 1'600, 2'000, 900), "3");
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 2);
  CHECK(pass.acts[0].look.number == 1);
  CHECK(pass.acts[0].acted);
  CHECK(pass.acts[1].look.number == 2);
  CHECK(pass.acts[1].acted);
  CHECK(pass.acts[1].revision + 1 == pass.acts[0].revision);
  CHECK(world.row(1).weight_ppm == 20 * percent);
  CHECK(world.row(2).status == Status::deprecated);
  CHECK(world.row(3).weight_ppm == 80 * percent);
}

TEST_CASE("guard pass: a step that the base cannot give is told, and pauses the rollout", "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, {10 * percent, 90 * percent});  // 4
  world.registry.canary("t", 2, 40 * percent);
  world.put(4, 4, counts_of(18'000, 1'800, 2'000, 200));
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 2);
  CHECK_FALSE(pass.acts[0].acted);
  CHECK_FALSE(pass.acts[0].conflict);
  CHECK(has(pass.acts[0].words, "this was refused: t@1 cannot get 90 %"));
  CHECK(world.rollout(1)->state == RolloutState::paused);
  CHECK(has(world.rollout(1)->reason, "its next step was refused: t@1 cannot get 90 %"));
  CHECK(world.last().actor == "guard@here");
  const std::uint32_t revision = world.revision();
  (void)world.pass();
  CHECK(world.revision() == revision);  // said once
}

TEST_CASE("guard pass: a step that would leave the base nothing is not taken, and nothing finishes unproved",
          "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, {25 * percent, 50 * percent, 100 * percent});  // 4
  world.registry.canary("t", 2, 50 * percent);
  world.put(4, 4, counts_of(75'000, 7'500, 25'000, 2'500));
  CHECK(has(world.pass().acts.at(0).words, "would leave the base of t@1, the default, nothing to be compared with"));
  CHECK(world.row(1).weight_ppm == 25 * percent);
  world.registry.canary("t", 1, 50 * percent);  // by hand it can be done
  world.task.guard.steps_ppm = {10 * percent, 50 * percent};
  for (const GuardAct& each : world.pass().acts) {
    CHECK(each.look.verdict.action == Action::hold);
    CHECK(each.look.verdict.reason.find("nothing to compare with") != std::string::npos);
    CHECK_FALSE(each.acted);
  }
  CHECK(world.row(1).weight_ppm == 50 * percent);
}

TEST_CASE("guard pass: a candidate whose baseline is another begins a new life, and its rollout waits for a person",
          "[control][guard]") {
  World world;
  world.registry.promote("t", 1, 90 * percent);
  world.registry.start_rollout("t", 2, {10 * percent, 50 * percent, 100 * percent});
  world.put_proof(90'000, 10'000);
  world.registry.rollback_version("t", 1, {.actor = "ada"});  // the default takes its place
  CHECK(world.row(2).weight_ppm == 10 * percent);
  CHECK(world.rollout(2)->state == RolloutState::paused);
  CHECK(has(world.rollout(2)->reason, "compared with another baseline since rollback by ada"));
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.acts[0].look.since == world.revision());
  CHECK(pass.acts[0].look.verdict.units == 0);
  CHECK(pass.acts[0].look.verdict.action == Action::hold);
}

TEST_CASE("guard pass: of several candidates none is judged by what it did beside another baseline",
          "[control][guard]") {
  World world;
  world.registry.promote("t", 1, 80 * percent);
  world.registry.canary("t", 2, 10 * percent);  // 5
  world.registry.canary("t", 3, 10 * percent);  // 6
  world.put(5, 5, counts_of(80'000, 8'000, 10'000, 5'000));
  world.registry.rollback_version("t", 1);
  for (const GuardAct& each : world.pass().acts) {
    CHECK(each.look.verdict.action == Action::hold);
    CHECK(each.look.verdict.units == 0);
  }
}

TEST_CASE("guard pass: a rollout's own last step is the last, whatever the task's steps are", "[control][guard]") {
  World world;
  world.task.guard.steps_ppm = {percent, 5 * percent, 25 * percent};
  world.registry.start_rollout("t", 1, {25 * percent, 50 * percent, 100 * percent});
  world.put_proof(75'000, 25'000);
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.acts[0].look.verdict.action == Action::advance);
  CHECK(world.row(1).weight_ppm == 50 * percent);
}

TEST_CASE("guard pass: a share that an older program gave is held in words, and a rollout begins its evidence",
          "[control][guard]") {
  World world;
  world.registry.canary("t", 1, 10 * percent);
  TaskContents old;
  world.store.read_all([&](TaskContents&& each) { old = std::move(each); });
  old.task.epoch.clear();  // what a store of schema 1 has after its migration
  for (HistoryRow& row : old.history) row.epoch.clear();
  bool given = false;
  world.store.replace_all([&]() -> std::optional<TaskContents> {
    if (std::exchange(given, true)) return {};
    return old;
  });
  const GuardPass pass = world.pass();
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.acts[0].look.verdict.reason.find("no evidence is counted for it") != std::string::npos);
  world.registry.start_rollout("t", 1, {10 * percent, 50 * percent});
  world.put_proof(90'000, 10'000);
  CHECK(world.pass().acts.at(0).acted);
}

TEST_CASE("guard pass: whoever comes second is told of a conflict", "[control][guard]") {
  /// Somebody else rolls the candidate back between the look and the act.
  class Overtaken final : public Store {
   public:
    explicit Overtaken(MemoryStore& store) : store_{store} {}
    StoreInfo info() override { return store_.info(); }
    std::vector<std::string> tasks() override { return store_.tasks(); }
    TaskRecord load(std::string_view task, const VersionFilter& filter) override { return store_.load(task, filter); }
    CommitResult commit(const Commit& change) override {
      if (!done_) Registry{store_}.rollback_rollout(change.task, change.row.number, {.actor = "other"});
      done_ = true;
      return store_.commit(change);
    }
    std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override {
      return store_.history(task, filter);
    }
    std::vector<Job> jobs(const JobFilter& filter) override { return store_.jobs(filter); }
    std::optional<Job> find_job(std::string_view id) override { return store_.find_job(id); }
    CommitResult put_job(const Job& job) override { return store_.put_job(job); }
    std::unique_ptr<Follower> follow() override { return store_.follow(); }
    void read_all(const std::function<void(TaskContents&&)>& take) override { store_.read_all(take); }
    void replace_all(const std::function<std::optional<TaskContents>()>& next) override { store_.replace_all(next); }
    std::unique_ptr<InteractionStore> interactions() override { return store_.interactions(); }
    std::uint32_t migrate() override { return 0; }

   private:
    MemoryStore& store_;
    bool done_ = false;
  };
  World world;
  world.registry.start_rollout("t", 1, ramp);
  world.put_harm();
  Overtaken store{world.store};
  const std::vector<TaskConfig> tasks{world.task};
  const GuardPass pass = guard_pass(store, *store.interactions(), tasks, {.actor = "late"});
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.faults.empty());
  CHECK_FALSE(pass.acts[0].acted);
  CHECK(pass.acts[0].conflict);
  CHECK(has(pass.acts[0].words, "somebody else was first"));
  int rollbacks = 0;
  for (const HistoryRow& row : world.store.history("t", {})) rollbacks += row.action == "rollback" ? 1 : 0;
  CHECK(rollbacks == 1);
  CHECK(world.last().actor == "other");
}

TEST_CASE("guard pass: a task whose rows make no sense keeps no other from being judged", "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, ramp);
  world.put(4, 4, "nonsense");
  world.registry.register_version("u", {.model = "a"});
  world.registry.canary("u", 1, percent);
  put_evidence(world.store, "u", 2, 2, counts_of(99'000, 9'900, 1'000, 300).bytes(), "2");
  std::vector<TaskConfig> tasks{world.task, world.task, world.task};
  tasks[1].name = "u";
  tasks[2].name = "unknown";
  const GuardPass pass = guard_pass(world.store, *world.store.interactions(), tasks);
  REQUIRE(pass.faults.size() == 1);
  CHECK(pass.faults[0].task == "t");
  CHECK(pass.faults[0].error.code == StoreErrc::corrupt);
  REQUIRE(pass.acts.size() == 1);
  CHECK(pass.acts[0].task == "u");
  CHECK(pass.acts[0].acted);
}

TEST_CASE("guard pass: a dry run says what it would do", "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, ramp);
  world.put_harm();
  const TaskRecord before = world.record();
  const GuardPass pass = world.pass({.dry_run = true});
  CHECK_FALSE(pass.acts.at(0).acted);
  CHECK(pass.acts.at(0).words == "would be rolled back: from 1 to 0 %");
  CHECK(world.record() == before);
}

TEST_CASE("guard pass: a metric of any name is rolled back by", "[control][guard]") {
  World world;
  world.task.guard.metrics = {{.name = std::string{"o\"k\x1b\xC2\x9B\xFF\\\n", 10}}};
  world.registry.start_rollout("t", 1, ramp);
  world.put_harm();
  CHECK(world.pass({.note = "by night"}).acts.at(0).acted);
  CHECK(has(world.last().note, "`o\"k??\xEF\xBF\xBD\\?"));
  CHECK(world.last().note.ends_with("; by night"));
  CHECK(has(world.last().evidence, R"("name":"o\"k\u001b\u009b)"
                                   "\xEF\xBF\xBD"
                                   R"(\\\u000a)"));
}

TEST_CASE("guard pass: steps of a task with latency metrics freeze its thresholds", "[control][guard]") {
  World world;
  world.registry.start_rollout("t", 1, ramp);
  world.put_proof();
  world.task.guard.metrics.push_back({.name = "slow", .kind = MetricKind::latency, .weight = 1e-9, .slo_us = 7'000});
  world.task.guard.metrics.back().advance_margin = {1};
  world.registry.canary("t", 2, percent, {.slos_us = {7'000}});  // an epoch that has the threshold
  const Epoch before = *parse_epoch(world.record().epoch);
  CHECK(before.frozen.latency_us == std::vector<std::uint32_t>{7'000});
  world.put(4, 4, counts_of(99'000, 9'900, 1'000, 900));
  CHECK(world.pass().acts.at(0).acted);
  CHECK(parse_epoch(world.record().epoch)->frozen.latency_us == std::vector<std::uint32_t>{7'000});
}

TEST_CASE("verdict json: what is no number is null, and what does not fit is left out", "[control][guard]") {
  GuardLook look;
  look.baseline_id = "t@default";
  look.verdict.reason = "because";
  look.verdict.metrics.resize(2);
  look.verdict.metrics[0].name = "a";
  look.verdict.metrics[0].log_e_rollback = std::numeric_limits<double>::infinity();
  look.verdict.metrics[1].name = "b";
  look.verdict.metrics[1].log_e_rollback = 1.5;
  look.verdict.metrics[1].baseline = {3, -0.25};
  const std::string whole = verdict_json(look, max_evidence_bytes);
  CHECK(whole ==
        R"({"action":"hold","reason":"because","baseline":"t@default","weight_ppm":0,"since":0,"log_e_rollback":0,)"
        R"("threshold_rollback":0,"metrics":[{"name":"a","kind":"success","log_e_rollback":null,"log_e_advance":0,)"
        R"("threshold_rollback":0,"threshold_advance":0,"baseline":{"count":0,"value":0},"candidate":{"count":0,)"
        R"("value":0}},{"name":"b","kind":"success","log_e_rollback":1.5,"log_e_advance":0,"threshold_rollback":0,)"
        R"("threshold_advance":0,"baseline":{"count":3,"value":-0.25},"candidate":{"count":0,"value":0}}],)"
        R"("sample_ratio":{"log_e":0,"expected":0,"observed":0},"units":0})");
  look.verdict.metrics.resize(5'000);
  for (MetricVerdict& each : look.verdict.metrics) each.name = std::string(200, 'x');
  const std::string cut = verdict_json(look, max_evidence_bytes);
  CHECK(cut.size() <= max_evidence_bytes);
  CHECK(cut.size() > max_evidence_bytes / 2);
  CHECK(cut.ends_with(R"("units":0})"));
}

TEST_CASE("guard news: a candidate is told of at first, and when its verdict is another", "[control][guard]") {
  World world;
  GuardNews news;
  const auto told = [&] { return news.of(world.pass()).size(); };
  world.registry.start_rollout("t", 1, ramp);
  world.task.guard.step_min_s = 60;
  CHECK(told() == 1);
  CHECK(told() == 0);
  world.put_proof();
  world.now += 60'000'000;
  CHECK(told() == 1);  // advanced
  const GuardPass pass = world.pass();
  CHECK(news.of(pass).size() == 1);  // holds again
  GuardPass broken = pass;
  broken.acts.clear();
  broken.faults.push_back({"t", StoreError{StoreErrc::unreachable, "away"}});
  CHECK(news.of(broken).empty());
  CHECK(news.of(pass).empty());  // nothing has changed meanwhile
  GuardPass cut_short;
  cut_short.left.push_back("t");
  CHECK(news.of(cut_short).empty());
  CHECK(news.of(pass).empty());
}

}  // namespace guard_pass_test
