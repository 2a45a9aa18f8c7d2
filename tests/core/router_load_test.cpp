#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/router.hpp"
#include "history.hpp"

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
