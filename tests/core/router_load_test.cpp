#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/router.hpp"
#include "history.hpp"

namespace router_load_test {

using namespace canary;
using canary::test::Random;

namespace {

std::array<WantedShare, 2> shares(std::uint32_t seven_ppm, std::uint32_t nine_ppm) {
  return {WantedShare{7, seven_ppm}, WantedShare{9, nine_ppm}};
}

const std::array<StoredVersion, 2> versions{{{9, "checks@9", "v9"}, {7, "checks@7", "v7"}}};

}  // namespace

TEST_CASE("load_split: every point gets the version that the stored partition names", "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const auto wanted = shares(250'000, 100'001);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  const SplitResult result = router.load_split(task, {partition, versions, 41});
  REQUIRE(result.error == Errc::ok);
  CHECK(result.revision == 41);
  CHECK(router.revision(task) == 41);
  Random random{11};
  for (int i = 0; i != 100'000; ++i) {
    const auto point = static_cast<Point>(random.next());
    const Decision decision = router.decide(task, point);
    const Owner owner = partition.owner_at(point);
    REQUIRE(decision.version_id() == (owner == 0 ? "checks@default" : "checks@" + std::to_string(owner)));
    REQUIRE(decision.model() == (owner == 0 ? "base" : "v" + std::to_string(owner)));
    REQUIRE(decision.revision() == 41);
  }
}

TEST_CASE("load_split: a partition that is loaded again, also at a lower revision, decides as it did",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const auto first = shares(250'000, 0);
  const auto second = shares(10'000, 500'000);
  const Partition before = rebalance(Partition{}, first).partition;
  const Partition after = rebalance(before, second).partition;
  REQUIRE(router.load_split(task, {before, versions, 5}));
  std::vector<std::string_view> ids;
  for (std::uint64_t key = 0; key != 10'000; ++key) ids.push_back(router.route(task, key).version_id());
  REQUIRE(router.load_split(task, {after, versions, 6}));
  REQUIRE(router.load_split(task, {before, versions, 3}));
  for (std::uint64_t key = 0; key != 10'000; ++key) REQUIRE(router.route(task, key).version_id() == ids[key]);
  CHECK(router.revision(task) == 3);
}

TEST_CASE("load_split: a store that was restored may give an id to another model", "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const std::array all{WantedShare{9, total_ppm}};
  const Partition partition = rebalance(Partition{}, all).partition;
  for (const std::string_view model : {"v9", "other", "v9", "third", "other"}) {
    const std::array<StoredVersion, 1> listed{{{9, "checks@9", model}}};
    REQUIRE(router.load_split(task, {partition, listed, 1}));
    CHECK(router.route(task, "user").model() == model);
    CHECK(router.route(task, "user").version_id() == "checks@9");
  }
  CHECK(router.version(task, 4).id.empty());  // three were seen, not five
}

TEST_CASE("load_split: a forced model that is a listed version reports its id, with or without a share",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base", .forced_model = "v9"});
  CHECK(router.route(task, "user").version_id() == "checks@forced");
  const auto wanted = shares(250'000, 0);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  REQUIRE(router.load_split(task, {partition, versions, 1, 9}));
  CHECK(router.route(task, "user").version_id() == "checks@9");
  CHECK(router.route(task, "user").reason() == Reason::forced);
  REQUIRE(router.load_split(task, {partition, versions, 1}));  // the store says that no version stands for it
  CHECK(router.route(task, "user").version_id() == "checks@forced");
  REQUIRE(router.load_split(task, {partition, versions, 1, 7}));  // of another model
  CHECK(router.route(task, "user").version_id() == "checks@forced");
}

TEST_CASE("load_split: what makes no sense is refused and changes nothing", "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const auto wanted = shares(250'000, 500'000);
  const Partition good = rebalance(Partition{}, wanted).partition;
  REQUIRE(router.load_split(task, {good, versions, 1}));
  const Partition before = router.partition(task);
  const auto error = [&](const Partition& partition, std::vector<StoredVersion> listed) {
    return router.load_split(task, {partition, listed, 2}).error;
  };
  CHECK(error(good, {{7, "checks@7", "v7"}}) == Errc::invalid_partition);
  CHECK(error(good, {{7, "checks@7", "v7"}, {9, "checks@7", "v7"}}) == Errc::invalid_partition);
  CHECK(error(good, {{7, "checks@7", "v7"}, {9, "checks@9", ""}}) == Errc::invalid_version);
  CHECK(error(good, {{7, "checks@7", "v7"}, {9, "", "v9"}}) == Errc::invalid_version);
  CHECK(error(good, {{7, "checks@7", "v7"}, {9, "checks@forced", "v9"}}) == Errc::invalid_version);
  CHECK(error(good, {{7, "checks@7", "v7"}, {7, "checks@8", "v8"}, {9, "checks@9", "v9"}}) == Errc::duplicate_version);
  CHECK(error(Partition{{}, {}}, {}) == Errc::invalid_partition);
  CHECK(error(Partition{{Run{5, 0}}, {{0, total_ppm, ring_points}}}, {}) == Errc::invalid_partition);
  CHECK(error(Partition{{Run{0, 0}}, {{0, total_ppm, ring_points - 1}}}, {}) == Errc::invalid_partition);
  CHECK(router.load_split(Task{}, {good, versions, 2}).error == Errc::unknown_task);
  CHECK(router.partition(task) == before);
  CHECK(router.revision(task) == 1);
  CHECK(router.version(task, 3).id.empty());
}

TEST_CASE("load_split: decisions carry the store's version number, and whether the version is watched",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const auto wanted = shares(250'000, 500'000);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  const auto load = [&](bool seven, bool nine, bool base) {
    const std::array<StoredVersion, 2> listed{{{9, "checks@9", "v9", nine}, {7, "checks@7", "v7", seven}}};
    REQUIRE(router.load_split(task, {partition, listed, 5, default_owner, base}));  // the same revision every time
  };
  for (const int watched : {0, 1, 2, 3, 4, 5, 6, 7, 0}) {
    load((watched & 1) != 0, (watched & 2) != 0, (watched & 4) != 0);
    for (std::uint64_t key = 0; key != 1'000; ++key) {
      const VersionRecord& record = router.route(task, key).record();
      const std::uint16_t number = record.model == std::string_view{"base"} ? 0 : record.model[1] == '7' ? 7 : 9;
      REQUIRE(record.number == number);
      REQUIRE(record.watched == ((watched & (number == 7 ? 1 : number == 9 ? 2 : 4)) != 0));
    }
  }
}

TEST_CASE("load_split: a decision that was taken before keeps what it said when its version is watched",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const std::array all{WantedShare{9, total_ppm}};
  const Partition partition = rebalance(Partition{}, all).partition;
  const std::array<StoredVersion, 1> before{{{9, "checks@9", "v9"}}};
  const std::array<StoredVersion, 1> after{{{9, "checks@9", "v9", true}}};
  REQUIRE(router.load_split(task, {partition, before, 1}));
  const Decision old = router.route(task, "user");
  REQUIRE(router.load_split(task, {partition, after, 1}));
  CHECK_FALSE(old.record().watched);
  CHECK(router.route(task, "user").record().watched);
  CHECK(router.route(task, "user").record().number == 9);
}

TEST_CASE("load_split: a forced model is never watched, and a split that is set by hand watches nobody",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base", .forced_model = "v9"});
  const auto wanted = shares(250'000, 500'000);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  const std::array<StoredVersion, 2> listed{{{9, "checks@9", "v9", true}, {7, "checks@7", "v7", true}}};
  REQUIRE(router.load_split(task, {partition, listed, 1, 9, true}));
  const VersionRecord& forced = router.route(task, "user").record();
  CHECK(forced.reason == Reason::forced);
  CHECK(forced.number == 9);
  CHECK_FALSE(forced.watched);
  REQUIRE(router.configure(task, {.default_model = "base"}) == Errc::ok);
  CHECK(router.route(task, "user").record().watched);
  REQUIRE(router.set_split(task, {{.model = "v9", .weight_ppm = 500'000, .id = "checks@9"}}));
  for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE_FALSE(router.route(task, key).record().watched);
}

TEST_CASE("load_split: a refused one leaves what is watched as it was", "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const auto wanted = shares(250'000, 500'000);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  const std::array<StoredVersion, 2> watched{{{9, "checks@9", "v9", true}, {7, "checks@7", "v7", true}}};
  REQUIRE(router.load_split(task, {partition, watched, 1, default_owner, true}));
  const std::array<StoredVersion, 1> missing{{{9, "checks@9", "v9"}}};
  CHECK(router.load_split(task, {partition, missing, 2}).error == Errc::invalid_partition);
  CHECK(router.set_split(task, {{.model = "v9", .weight_ppm = 2'000'000}}).error == Errc::over_total);
  REQUIRE(router.configure(task, {.default_model = "base"}) == Errc::ok);  // publishes again
  for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE(router.route(task, key).record().watched);
}

TEST_CASE("set_split: without a store a version's number is its place among those seen", "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  REQUIRE(router.set_split(task, {{.model = "a", .weight_ppm = 300'000}, {.model = "b", .weight_ppm = 300'000}}));
  for (std::uint64_t key = 0; key != 1'000; ++key) {
    const VersionRecord& record = router.route(task, key).record();
    REQUIRE(record.number == record.owner);
    REQUIRE_FALSE(record.watched);
  }
}

TEST_CASE("load_split: every decision of a tripped split says so, whoever serves it, and nobody is watched",
          "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const std::array<StoredVersion, 2> listed{{{9, "checks@9", "v9", true}, {7, "checks@7", "v7", true}}};
  for (const std::uint32_t nine_ppm : {500'000u, 0u}) {  // also where the default has all that is left
    const auto wanted = shares(0, nine_ppm);
    const Partition partition = rebalance(Partition{}, wanted).partition;
    REQUIRE(router.load_split(task, {partition, listed, 5, default_owner, true, true}));
    for (std::uint64_t key = 0; key != 10'000; ++key) {
      const Decision decision = router.route(task, key);
      REQUIRE(decision.reason() == Reason::tripped);
      REQUIRE(decision.revision() == 5);
      REQUIRE(decision.record().number != 7);
      REQUIRE(decision.model() == (decision.record().number == 9 ? "v9" : "base"));
      REQUIRE_FALSE(decision.record().watched);
    }
  }
}

TEST_CASE(
    "load_split: what tripped is as before when the stored split is loaded again, and decisions keep what they said",
    "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base"});
  const std::array<StoredVersion, 2> listed{{{9, "checks@9", "v9", true}, {7, "checks@7", "v7"}}};
  const auto wanted = shares(250'000, 500'000);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  std::vector<Decision> before;
  std::vector<Decision> while_tripped;
  REQUIRE(router.load_split(task, {partition, listed, 5, default_owner, true}));
  for (std::uint64_t key = 0; key != 1'000; ++key) before.push_back(router.route(task, key));
  REQUIRE(router.load_split(task, {partition, listed, 5, default_owner, true, true}));
  for (std::uint64_t key = 0; key != 1'000; ++key) while_tripped.push_back(router.route(task, key));
  REQUIRE(router.load_split(task, {partition, listed, 5, default_owner, true}));
  for (std::uint64_t key = 0; key != 1'000; ++key) {
    REQUIRE(router.route(task, key).record() == before[key].record());
    REQUIRE(before[key].reason() == Reason::split);
    REQUIRE(while_tripped[key].reason() == Reason::tripped);
    REQUIRE(while_tripped[key].version_id() == before[key].version_id());
  }
}

TEST_CASE(
    "load_split: an override goes before a trip, a trip outlasts a change of options, and a split by hand ends it",
    "[core][router]") {
  Router router;
  const Task task = router.task("checks", {.default_model = "base", .forced_model = "v9"});
  const auto wanted = shares(0, 500'000);
  const Partition partition = rebalance(Partition{}, wanted).partition;
  REQUIRE(router.load_split(task, {partition, versions, 1, 9, false, true}));
  CHECK(router.route(task, "user").reason() == Reason::forced);
  REQUIRE(router.configure(task, {.default_model = "other"}) == Errc::ok);
  for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE(router.route(task, key).reason() == Reason::tripped);
  CHECK(router.load_split(task, {partition, {}, 2}).error == Errc::invalid_partition);  // and so does a refused split
  CHECK(router.route(task, "user").reason() == Reason::tripped);
  REQUIRE(router.configure(task, {}) == Errc::ok);  // a part that nobody serves is a fallback still
  for (std::uint64_t key = 0; key != 1'000; ++key) {
    const Decision decision = router.route(task, key);
    REQUIRE(decision.reason() == (decision.record().number == 9 ? Reason::tripped : Reason::fallback));
  }
  REQUIRE(router.set_split(task, {{.model = "v9", .weight_ppm = total_ppm, .id = "checks@9"}}));
  for (std::uint64_t key = 0; key != 1'000; ++key) REQUIRE(router.route(task, key).reason() == Reason::split);
}

}  // namespace router_load_test
