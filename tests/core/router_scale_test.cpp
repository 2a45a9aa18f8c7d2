// What the contract promises at its limits: 1,024 versions at once, 1,000,000 tasks, versions without end.
#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "canary/core/router.hpp"
#include "history.hpp"

namespace router_scale_test {

namespace {

using namespace canary;

TEST_CASE("router: 1,024 versions share one task's traffic", "[core][router][scale]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  std::vector<std::string> models;
  for (std::size_t i = 0; i != max_shares; ++i) models.push_back("model-" + std::to_string(i));
  test::Random random{3};
  for (int change = 0; change != 3; ++change) {
    std::vector<VersionShare> shares;
    for (const std::string& model : models) shares.push_back({.model = model, .weight_ppm = 1 + random.below(1'900)});
    const SplitResult result = router.set_split(task, shares);
    REQUIRE(result.error == Errc::ok);
    CHECK(result.points_moved == result.points_minimum);
  }
  const Partition partition = router.partition(task);
  CHECK(partition.valid());
  bool agrees = true;
  for (std::uint64_t key = 0; key != 100'000; ++key) {
    const Decision d = router.route(task, key);
    agrees = agrees && d.record().owner == partition.owner_at(d.point()) &&
             d.version_id() == router.version(task, d.record().owner).id;
  }
  CHECK(agrees);
}

TEST_CASE("router: a million tasks, each found again and routed by its own split", "[core][router][scale]") {
  constexpr std::uint32_t tasks = test::full_speed ? 1'000'000 : 20'000;
  Router router;
  std::vector<Task> handles;
  handles.reserve(tasks);
  for (std::uint32_t i = 0; i != tasks; ++i)
    handles.push_back(router.task("task-" + std::to_string(i), {.default_model = "base"}));
  CHECK(router.task_count() == tasks);
  for (std::uint32_t i = 0; i < tasks; i += 997)
    REQUIRE(router.set_split(handles[i], {{.model = "m" + std::to_string(i), .weight_ppm = 1'000'000}}));
  bool right = true;
  for (std::uint32_t i = 0; i != tasks; ++i) {
    const Decision d = router.route(handles[i], std::uint64_t{i});
    right = right && d.model() == (i % 997 == 0 ? "m" + std::to_string(i) : "base");
  }
  CHECK(right);
  CHECK(router.find("task-" + std::to_string(tasks - 1)) == handles.back());
}

TEST_CASE("router: tables of one page keep their columns apart through every change", "[core][router][scale]") {
  Router router;
  constexpr std::size_t tasks = 200;  // over one page
  std::vector<Task> handles;
  for (std::size_t i = 0; i != tasks; ++i)
    handles.push_back(router.task("task-" + std::to_string(i), {.default_model = "base"}));
  test::Random random{5};
  std::vector<std::string> models;
  for (int i = 0; i != 30; ++i) models.push_back("m" + std::to_string(i));
  for (int change = 0; change != 600; ++change) {
    std::vector<VersionShare> shares;
    const std::uint32_t count = random.below(30);
    for (std::uint32_t i = 0; i != count; ++i)
      shares.push_back({.model = models[i], .weight_ppm = random.below(33'000)});
    REQUIRE(router.set_split(handles[random.below(tasks)], shares));
    if (change % 50 != 49) continue;
    bool agrees = true;
    for (const Task task : handles) {
      const Partition partition = router.partition(task);
      for (int i = 0; i != 50; ++i) {
        const Decision d = router.route(task, random.next());
        agrees = agrees && d.record().owner == partition.owner_at(d.point());
      }
    }
    REQUIRE(agrees);
  }
}

TEST_CASE("router: a task that has seen 65,000 versions refuses one more and goes on", "[core][router][scale]") {
  if (!test::full_speed) SKIP("minutes when instrumented or emulated");
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  std::string model;
  std::vector<std::string> models(1'000);
  std::vector<VersionShare> shares(1'000);
  for (std::size_t have = 0; have != max_versions; have += 1'000) {
    for (std::size_t i = 0; i != 1'000; ++i) models[i] = "m" + std::to_string(have + i);
    for (std::size_t i = 0; i != 1'000; ++i) shares[i] = {.model = models[i], .weight_ppm = 0};
    shares[0].weight_ppm = 1'000'000;
    REQUIRE(router.set_split(task, shares));
  }
  const Decision kept = router.route(task, "k");
  CHECK(kept.version_id() == "t@64001");
  CHECK(router.set_split(task, {{.model = "one more", .weight_ppm = 1}}).error == Errc::too_many_versions);
  CHECK(router.set_split(task, {{.model = "m0", .weight_ppm = 1'000'000}}));
  CHECK(router.route(task, "k").version_id() == "t@1");
  CHECK(kept.model() == "m64000");
}

}  // namespace

}  // namespace router_scale_test
