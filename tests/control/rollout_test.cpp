// Rollouts: which moves are legal, their text, and what every change of a task makes of them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/rollout.hpp"

namespace rollout_test {

using namespace canary;
using canary::test::Random;
using canary::test::soak_factor;

namespace {

constexpr TimeUs now = 1'795'368'929'000'000;  // 2026-11-22
constexpr std::uint32_t percent = ppm_per_percent;
const std::vector<std::uint32_t> ramp{percent, 5 * percent, 25 * percent, 50 * percent, 100 * percent};

/// A registry on a store with versions at 0 %, by actor `ada`.
struct Desk {
  explicit Desk(int versions = 2) {
    for (int i = 1; i <= versions; ++i) registry.register_version("checks", {.model = "v" + std::to_string(i)});
  }
  [[nodiscard]] TaskRecord task() { return store.load("checks", {.all = true}); }
  [[nodiscard]] ModelVersion row(std::uint32_t number) { return version_of(task(), number); }
  [[nodiscard]] HistoryRow last() { return store.history("checks", {.newest = 1}).at(0); }
  [[nodiscard]] std::optional<Rollout> rollout(std::uint32_t number) {
    const std::vector<Rollout> all = stored_rollouts(task());
    const Rollout* found = find_rollout(all, number);
    return found == nullptr ? std::optional<Rollout>{} : *found;
  }
  [[nodiscard]] bool is(std::uint32_t number, RolloutState state, std::uint32_t step) {
    const auto found = rollout(number);
    INFO((found ? rollouts_text({*found}) : std::string{"no rollout"}));
    CHECK((found && found->state == state && found->step == step));
    return found && found->state == state && found->step == step;
  }
  [[nodiscard]] bool says(std::uint32_t number, const std::string& words) {
    const auto found = rollout(number);
    INFO((found ? found->reason : std::string{"no rollout"}));
    CHECK((found && found->reason.find(words) != std::string::npos));
    return found && found->reason.find(words) != std::string::npos;
  }

  TimeUs time = now;
  MemoryStore store;
  Registry registry{store, [this] { return time; }};
  ChangeOptions by{.actor = "ada"};
};

template <class Call>
std::optional<RegistryErrc> error_of(Call call) {
  try {
    call();
    return {};
  } catch (const RegistryError& error) {
    UNSCOPED_INFO(error.what());
    CHECK_FALSE(std::string{error.what()}.empty());
    return error.code;
  }
}

}  // namespace

// --- the table, and the text -----------------------------------------------------------------------------------------

TEST_CASE("rollout: the legal moves are those of the table, and what has ended moves by a start alone",
          "[control][rollout]") {
  int legal = 0;
  for (const RolloutState state : rollout_states)
    for (const RolloutMove move : {RolloutMove::start, RolloutMove::pause, RolloutMove::resume, RolloutMove::advance,
                                   RolloutMove::finish, RolloutMove::abort, RolloutMove::rollback}) {
      const auto to = after(move, state);
      legal += to ? 1 : 0;
      INFO(to_string(state) << " by " << static_cast<int>(move));
      if (!is_live(state)) CHECK(to.has_value() == (move == RolloutMove::start));
      if (move == RolloutMove::start && to) CHECK(to == RolloutState::running);
    }
  CHECK(legal == static_cast<int>(rollout_steps.size()));
  CHECK(after(RolloutMove::advance, RolloutState::running) == RolloutState::running);
  CHECK_FALSE(after(RolloutMove::advance, RolloutState::paused));
  CHECK_FALSE(after(RolloutMove::resume, RolloutState::running));
  for (const RolloutState state : rollout_states) CHECK(parse_rollout_state(to_string(state)) == state);
  CHECK_FALSE(parse_rollout_state("Running"));
}

TEST_CASE("rollout: a text is read back as what it was written from", "[control][rollout]") {
  const std::vector<Rollout> all{{1, RolloutState::running, 0, ramp, now, "started by ada"},
                                 {2, RolloutState::rolled_back, 4, ramp, -1, R"(a | b \ c \| d)"},
                                 {7, RolloutState::paused, 1, {1, 2}, 0, ""},
                                 {65'000, RolloutState::aborted, 0, {total_ppm}, 5, "|\\\n \xC3\xA9 "}};
  CHECK(parse_rollouts(rollouts_text(all)) == all);
  CHECK(parse_rollouts("") == std::vector<Rollout>{});
  CHECK(rollouts_text({all[0]}) == "1 running 0 1795368929000000 10000,50000,250000,500000,1000000 started by ada");
  for (const Rollout& each : all) CHECK(parse_rollouts(rollouts_text({each})) == std::vector<Rollout>{each});
}

TEST_CASE("rollout: a text that makes no sense is nothing", "[control][rollout]") {
  for (const char* text :
       {"1", "1 running", "1 running 0", "1 running 0 5", "1 running 0 5 10000", "1 running 1 5 10000 why",
        "1 running 0 5 20000,10000 why", "1 running 0 5 0,1 why", "1 running 0 5 1000001 why", "0 running 0 5 1 why",
        "1 walking 0 5 1 why", "1 running 0 5 1 why\\", "1 running 0 5 1 why|", "2 paused 0 5 1 a|1 paused 0 5 1 b",
        "1 paused 0 5 1 a|1 paused 0 5 1 b", " 1 running 0 5 1 why", "1  running 0 5 1 why", "65001 running 0 5 1 why",
        "1 running 0 99999999999999999999 1 why"}) {
    INFO(text);
    CHECK_FALSE(parse_rollouts(text));
  }
  CHECK(parse_rollouts("1 running 0 5 1 "));
}

TEST_CASE("rollout: a task's row keeps those under way, and the newest of those that have ended",
          "[control][rollout]") {
  std::vector<Rollout> all;
  put_rollout(all, {1, RolloutState::paused, 0, {5}, 0, ""});
  for (std::uint32_t number = 100; number != 2; --number)
    put_rollout(all, {number, RolloutState::finished, 0, {5}, 1'000 - number, ""});
  CHECK(all.size() == most_ended_rollouts + 1);
  CHECK(find_rollout(all, 1) != nullptr);
  CHECK(find_rollout(all, 3) != nullptr);
  CHECK(find_rollout(all, 100) == nullptr);
  put_rollout(all, {3, RolloutState::running, 0, {7}, 0, ""});  // in the place of the last one
  CHECK(find_rollout(all, 3)->steps_ppm == std::vector<std::uint32_t>{7});
  CHECK(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.number < b.number; }));
}

// --- commands --------------------------------------------------------------------------------------------------------

TEST_CASE("rollout: it climbs its steps by the base's share, and the last one promotes", "[control][rollout]") {
  Desk desk;
  desk.registry.promote("checks", 2);
  const Change begun = desk.registry.start_rollout("checks", 1, ramp, desk.by);
  CHECK(begun.row.action == "rollout start");
  CHECK(begun.row.points_moved == begun.row.points_minimum);
  CHECK(desk.row(1).weight_ppm == percent);
  CHECK(desk.row(2).weight_ppm == 99 * percent);
  CHECK(desk.is(1, RolloutState::running, 0));
  CHECK(desk.says(1, "started by ada"));
  CHECK_FALSE(begun.row.epoch.empty());
  for (std::uint32_t step = 1; step != 4; ++step) {
    desk.time += 1'000;
    const Change done = desk.registry.advance_rollout("checks", 1, {.actor = "guard@here", .note = "proved"});
    CHECK(done.row.action == "rollout advance");
    CHECK(done.row.points_moved == done.row.points_minimum);
    CHECK(desk.row(1).weight_ppm == ramp[step]);
    CHECK(desk.is(1, RolloutState::running, step));
    CHECK(desk.rollout(1)->since_us == desk.time);
    CHECK(desk.says(1, "proved"));
  }
  const Change done = desk.registry.advance_rollout("checks", 1, desk.by);
  CHECK(done.row.action == "rollout finish");
  CHECK(desk.is(1, RolloutState::finished, 4));
  CHECK(desk.row(1).weight_ppm == total_ppm);
  CHECK(desk.row(1).status == Status::active);
  CHECK(desk.row(2).status == Status::deprecated);
  CHECK(error_of([&] { desk.registry.advance_rollout("checks", 1); }) == RegistryErrc::illegal_step);
}

TEST_CASE("rollout: one that ends below 100 % is finished there, and its version stays CANDIDATE",
          "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, {1, 5 * percent});
  desk.registry.advance_rollout("checks", 1);
  CHECK(desk.is(1, RolloutState::running, 1));
  const Change done = desk.registry.advance_rollout("checks", 1);
  CHECK(done.row.action == "rollout finish");
  CHECK(done.row.points_moved == 0);
  CHECK(done.row.epoch.empty());
  CHECK(desk.is(1, RolloutState::finished, 1));
  CHECK(desk.row(1).status == Status::candidate);
  CHECK(desk.row(1).weight_ppm == 5 * percent);
  desk.registry.start_rollout("checks", 1, ramp);  // a new one, from its first step on
  CHECK(desk.row(1).weight_ppm == percent);
}

TEST_CASE("rollout: steps that do not rise, or are no shares, are refused", "[control][rollout]") {
  Desk desk;
  for (const std::vector<std::uint32_t>& steps : {std::vector<std::uint32_t>{},
                                                  {0},
                                                  {0, percent},
                                                  {percent, percent},
                                                  {5 * percent, percent},
                                                  {percent, total_ppm + 1},
                                                  {total_ppm},
                                                  std::vector<std::uint32_t>(65, 1)})
    CHECK(error_of([&] { desk.registry.start_rollout("checks", 1, steps); }) == RegistryErrc::invalid);
  CHECK(desk.task().rollouts.empty());
  CHECK(desk.task().revision == 2);
}

TEST_CASE("rollout: only a CANDIDATE is ramped, one at a time, and what was taken back needs another way",
          "[control][rollout]") {
  Desk desk{4};
  desk.registry.start_rollout("checks", 1, ramp);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 1, ramp); }) == RegistryErrc::illegal_step);
  desk.registry.pause_rollout("checks", 1);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 1, ramp); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 9, ramp); }) == RegistryErrc::not_found);
  CHECK(error_of([&] { desk.registry.start_rollout("other", 1, ramp); }) == RegistryErrc::not_found);
  desk.registry.promote("checks", 2, 10 * percent);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 2, ramp); }) == RegistryErrc::illegal_step);
  desk.registry.rollback_version("checks", 3);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 3, ramp); }) == RegistryErrc::illegal_step);
  for (const auto move :
       {&Registry::pause_rollout, &Registry::resume_rollout, &Registry::advance_rollout, &Registry::abort_rollout}) {
    CHECK(error_of([&] { (desk.registry.*move)("checks", 4, {}); }) == RegistryErrc::not_found);
    CHECK(error_of([&] { (desk.registry.*move)("checks", 9, {}); }) == RegistryErrc::not_found);
  }
}

TEST_CASE("rollout: pause and resume keep its step and its share, abort gives the share back", "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, ramp);
  desk.registry.advance_rollout("checks", 1);
  CHECK(error_of([&] { desk.registry.resume_rollout("checks", 1); }) == RegistryErrc::illegal_step);
  const Change paused = desk.registry.pause_rollout("checks", 1, {.actor = "ada", .note = "holiday"});
  CHECK(paused.row.points_moved == 0);
  CHECK(paused.row.action == "rollout pause");
  CHECK(desk.is(1, RolloutState::paused, 1));
  CHECK(desk.says(1, "holiday"));
  CHECK(error_of([&] { desk.registry.advance_rollout("checks", 1); }) == RegistryErrc::illegal_step);
  const TimeUs since_us = desk.rollout(1)->since_us;
  desk.time += 1'000;
  const Change again = desk.registry.pause_rollout("checks", 1, desk.by);
  CHECK(again.row.revision == paused.row.revision + 1);
  CHECK(desk.says(1, "paused by ada"));
  CHECK(desk.rollout(1)->since_us == since_us);  // it stands still since the first
  desk.registry.resume_rollout("checks", 1, desk.by);
  CHECK(desk.is(1, RolloutState::running, 1));
  CHECK(desk.row(1).weight_ppm == 5 * percent);
  desk.registry.abort_rollout("checks", 1, desk.by);
  CHECK(desk.is(1, RolloutState::aborted, 1));
  CHECK(desk.row(1).weight_ppm == 0);
  CHECK(desk.row(1).status == Status::candidate);
  CHECK(desk.last().points_moved == desk.last().points_minimum);
  CHECK(error_of([&] { desk.registry.abort_rollout("checks", 1); }) == RegistryErrc::illegal_step);
  desk.registry.start_rollout("checks", 1, ramp);  // an aborted one may be started anew
  CHECK(desk.is(1, RolloutState::running, 0));
}

TEST_CASE("rollout: the guard's rollback takes a candidate to 0 % and DEPRECATED, with a rollout or without",
          "[control][rollout]") {
  Desk desk{3};
  desk.registry.promote("checks", 3);
  desk.registry.start_rollout("checks", 1, ramp);
  desk.registry.canary("checks", 2, 10 * percent);
  const Change done =
      desk.registry.rollback_rollout("checks", 1, {.actor = "guard@here", .note = "worse", .evidence = "{}"});
  CHECK(done.row.action == "rollback");
  CHECK(done.row.evidence == "{}");
  CHECK(done.row.points_moved == done.row.points_minimum);
  CHECK(desk.is(1, RolloutState::rolled_back, 0));
  CHECK(desk.says(1, "worse"));
  CHECK(desk.row(1).weight_ppm == 0);
  CHECK(desk.row(1).status == Status::deprecated);
  CHECK(desk.row(3).weight_ppm == 90 * percent);
  desk.registry.rollback_rollout("checks", 2);
  CHECK_FALSE(desk.rollout(2));
  CHECK(desk.row(2).status == Status::deprecated);
  CHECK(desk.row(3).weight_ppm == total_ppm);
  CHECK(error_of([&] { desk.registry.rollback_rollout("checks", 1); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.rollback_rollout("checks", 3); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.start_rollout("checks", 1, ramp); }) == RegistryErrc::illegal_step);
}

TEST_CASE("rollout: a change meant for one revision is a conflict on another, and never tried again",
          "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, ramp);
  const std::uint32_t judged = desk.task().revision;
  desk.registry.register_version("checks", {.model = "other"});
  const ChangeOptions meant{.expected_revision = judged};
  const TaskRecord before = desk.task();
  CHECK(error_of([&] { desk.registry.advance_rollout("checks", 1, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.rollback_rollout("checks", 1, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.pause_rollout("checks", 1, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.abort_rollout("checks", 1, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.canary("checks", 1, 5, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.rollback("checks", {}, meant); }) == RegistryErrc::conflict);
  CHECK(error_of([&] { desk.registry.rollback("checks", 1, meant); }) == RegistryErrc::conflict);
  CHECK(desk.task() == before);
  CHECK_FALSE(error_of([&] { desk.registry.advance_rollout("checks", 1, {.expected_revision = judged + 1}); }));
  CHECK(error_of([&] { desk.registry.advance_rollout("checks", 1, {.expected_revision = judged + 1}); }) ==
        RegistryErrc::conflict);
}

TEST_CASE("rollout: a dry run writes nothing", "[control][rollout]") {
  Desk desk;
  const TaskRecord before = desk.task();
  const Change planned = desk.registry.start_rollout("checks", 1, ramp, {.dry_run = true});
  CHECK(parse_rollouts(planned.row.rollouts)->at(0).state == RolloutState::running);
  CHECK(desk.task() == before);
}

// --- changes by hand -------------------------------------------------------------------------------------------------

TEST_CASE("rollout: a change of its share by hand pauses it, and says who it was", "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, ramp);
  desk.registry.advance_rollout("checks", 1);
  const std::string before = desk.task().rollouts;
  desk.registry.canary("checks", 2, percent);  // from the default alone
  CHECK(desk.task().rollouts == before);
  CHECK(desk.last().rollouts.empty());
  SECTION("by canary") {
    desk.registry.canary("checks", 1, 2 * percent, desk.by);
    CHECK(desk.says(1, "its share was changed from 5 to 2 %: canary by ada"));
  }
  SECTION("by a promotion of another") {
    desk.registry.promote("checks", 2, 50 * percent, desk.by);
    CHECK(desk.says(1, "promote by ada"));
  }
  SECTION("by a rollback of the task") {
    desk.registry.rollback("checks", 0, desk.by);
    CHECK(desk.says(1, "from 5 to 0 %: rollback by ada"));
  }
  CHECK(desk.is(1, RolloutState::paused, 1));
  const std::string told = desk.task().rollouts;
  desk.registry.canary("checks", 1, 3 * percent, desk.by);
  CHECK(desk.task().rollouts == told);  // it is paused already
  desk.registry.resume_rollout("checks", 1, desk.by);
  CHECK(desk.is(1, RolloutState::running, 0));  // 3 % is above the first step alone
  CHECK(desk.row(1).weight_ppm == percent);
}

TEST_CASE("rollout: a step of its status by hand ends it, or pauses it", "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, ramp);
  SECTION("rolled back by hand") {
    desk.registry.rollback_version("checks", 1, desk.by);
    CHECK(desk.is(1, RolloutState::aborted, 0));
    CHECK(desk.says(1, "the version is DEPRECATED since rollback by ada"));
  }
  SECTION("deprecated at 0 %") {
    desk.registry.canary("checks", 1, 0);
    CHECK(desk.is(1, RolloutState::paused, 0));
    desk.registry.deprecate("checks", 1);
    CHECK(desk.is(1, RolloutState::aborted, 0));
  }
  SECTION("promoted to everything") {
    desk.registry.promote("checks", 1, total_ppm, desk.by);
    CHECK(desk.is(1, RolloutState::finished, 0));
    CHECK(desk.says(1, "all of the traffic since promote by ada"));
  }
  SECTION("promoted to a part") {
    desk.registry.promote("checks", 1, 30 * percent, desk.by);
    CHECK(desk.is(1, RolloutState::paused, 0));
    CHECK(desk.says(1, "only a CANDIDATE is ramped"));
    CHECK(error_of([&] { desk.registry.resume_rollout("checks", 1); }) == RegistryErrc::illegal_step);
    desk.registry.abort_rollout("checks", 1);  // the rollout's end, not the version's
    CHECK(desk.row(1).weight_ppm == 30 * percent);
    CHECK(desk.row(1).status == Status::active);
  }
  SECTION("another promoted to everything") {
    desk.registry.promote("checks", 2);
    CHECK(desk.is(1, RolloutState::paused, 0));
    CHECK(desk.row(1).weight_ppm == 0);
  }
}

TEST_CASE("rollout: the last step of one pauses another whose share it takes", "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, {5 * percent, total_ppm});
  desk.registry.start_rollout("checks", 2, {10 * percent, 20 * percent});
  desk.registry.advance_rollout("checks", 1, {.actor = "guard@here"});
  CHECK(desk.is(1, RolloutState::finished, 1));
  CHECK(desk.is(2, RolloutState::paused, 0));
  CHECK(desk.says(2, "from 10 to 0 %: rollout finish by guard@here"));
}

TEST_CASE("rollout: rows that make no sense are told, and keep no harm in traffic", "[control][rollout]") {
  Desk desk;
  desk.registry.start_rollout("checks", 1, ramp);
  Commit broken;
  const TaskRecord task = desk.task();
  broken.task = "checks";
  broken.expected_revision = task.revision;
  broken.row.revision = task.revision + 1;
  broken.row.partition = task.partition;
  broken.row.rollouts = "1 strolling";
  REQUIRE(desk.store.commit(broken) == CommitResult::done);
  CHECK_THROWS_AS(desk.registry.advance_rollout("checks", 1), StoreError);
  CHECK_THROWS_AS(desk.registry.start_rollout("checks", 2, ramp), StoreError);
  desk.registry.canary("checks", 2, percent);
  desk.registry.rollback_rollout("checks", 1);
  CHECK(desk.row(1).weight_ppm == 0);
  CHECK(desk.task().rollouts == "1 strolling");
}

// --- random sequences ------------------------------------------------------------------------------------------------

namespace {

/// One random change; false where it was refused.
bool change(Registry& registry, Random& random, int serial, std::uint32_t versions) {
  const std::uint32_t number = versions - random.below(4);
  const ChangeOptions by{.actor = "actor " + std::to_string(serial)};
  std::vector<std::uint32_t> steps;
  for (std::uint32_t ppm = 0; steps.size() != 1 + static_cast<std::size_t>(serial) % 5;)
    if ((ppm += 1 + random.below(300'000)) <= total_ppm)
      steps.push_back(ppm);
    else
      break;
  try {
    switch (random.below(15)) {
      case 0:
      case 1:
      case 2:
        registry.start_rollout("checks", number, steps, by);
        return true;
      case 3:
      case 4:
      case 5:
        registry.advance_rollout("checks", number, by);
        return true;
      case 6:
        registry.pause_rollout("checks", number, by);
        return true;
      case 7:
        registry.resume_rollout("checks", number, by);
        return true;
      case 8:
        registry.abort_rollout("checks", number, by);
        return true;
      case 9:
        registry.rollback_rollout("checks", number, by);
        return true;
      case 10:
        registry.canary("checks", number, random.below(300'000), by);
        return true;
      case 11:
        registry.promote("checks", number, random.below(3) == 0 ? total_ppm : random.below(total_ppm), by);
        return true;
      case 12:
        registry.rollback("checks", {}, by);
        return true;
      case 13:
        registry.deprecate("checks", number, by);
        return true;
      default:
        registry.register_version("checks", {.model = "m"}, by);
        return true;
    }
  } catch (const RegistryError&) {
    return false;
  }
}

bool may_follow(const Rollout* before, const Rollout& then, bool started) {
  if (before != nullptr && *before == then) return true;
  if (started) return then.state == RolloutState::running && (before == nullptr || !is_live(before->state));
  if (before == nullptr) return false;
  return std::any_of(rollout_steps.begin(), rollout_steps.end(), [&](const RolloutStep& legal) {
    return legal.from == before->state && legal.to == then.state && legal.move != RolloutMove::start;
  });
}

}  // namespace

TEST_CASE("rollout: whatever is done in whatever order, shares, moves and states stay legal", "[control][rollout]") {
  for (int seed = 0; seed != 20 * soak_factor(); ++seed) {
    INFO("seed " << seed);
    Random random{static_cast<std::uint64_t>(seed)};
    Desk desk{4};
    int done = 0;
    for (int i = 0; i != 400; ++i) {
      const TaskRecord before = desk.task();
      const bool made = change(desk.registry, random, i, before.version_count);
      const TaskRecord task = desk.task();
      if (!made) {
        REQUIRE(task == before);
        continue;
      }
      ++done;
      const HistoryRow row = desk.last();
      std::uint32_t sum = 0;
      for (const ModelVersion& each : task.versions) {
        sum += each.weight_ppm;
        REQUIRE(each.weight_ppm == detail::Draft::weight_in(task.partition, each.number));
      }
      REQUIRE(sum <= total_ppm);
      REQUIRE(task.partition.valid());
      if (row.number != 0) REQUIRE(row.points_moved == row.points_minimum);
      const auto was = parse_rollouts(before.rollouts);
      const auto now_all = parse_rollouts(task.rollouts);
      REQUIRE((was && now_all));
      for (const Rollout& each : *now_all) {
        INFO(row.action << " @" << row.number << ": " << before.rollouts << " -> " << task.rollouts);
        const bool started = row.action == "rollout start" && row.number == each.number;
        REQUIRE(may_follow(find_rollout(*was, each.number), each, started));
        if (each.state != RolloutState::running) continue;
        REQUIRE(version_of(task, each.number).status == Status::candidate);
        REQUIRE(version_of(task, each.number).weight_ppm == each.steps_ppm[each.step]);
      }
    }
    CHECK(done > 100);
  }
}

}  // namespace rollout_test
