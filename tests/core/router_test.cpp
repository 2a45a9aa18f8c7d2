#include "canary/core/router.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace router_test {

namespace {

using namespace canary;

constexpr int keys = 100'000;

std::map<std::string, int> count_ids(const Router& router, Task task) {
  std::map<std::string, int> seen;
  for (std::uint64_t key = 0; key != keys; ++key) ++seen[std::string{router.route(task, key).version_id()}];
  return seen;
}

/// Within five standard deviations of what `share` of the keys makes.
bool about(int seen, double share) {
  return std::abs(seen - keys * share) <= 5 * std::sqrt(keys * share * (1 - share)) + 1;
}

TEST_CASE("router: a key keeps its version while weights stand still", "[core][router]") {
  Router router;
  const Task task = router.task("checklist_enrichment");
  router.set_split(task, {{.model = "gpt-4o-mini", .weight_ppm = 900'000},
                          {.model = "ft:gpt-4o-mini:acme:v7", .weight_ppm = 100'000}});
  const Decision first = router.route(task, "user-42");
  CHECK(first.reason() == Reason::split);
  CHECK(first.revision() == 1);
  CHECK(first.point() == point_of("user-42", task.seed()));
  const Task again = router.task("checklist_enrichment");
  CHECK(again == task);
  const Task other = router.task("document_check");
  router.set_split(other, {{.model = "x", .weight_ppm = 500'000}});
  for (int i = 0; i != 100; ++i) CHECK(router.route(again, "user-42").version_id() == first.version_id());
  const auto seen = count_ids(router, task);
  CHECK(about(seen.at("checklist_enrichment@1"), 0.9));
  CHECK(about(seen.at("checklist_enrichment@2"), 0.1));
  CHECK(seen.size() == 2);
}

TEST_CASE("router: what the shares leave over goes to the default", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  const std::array<VersionShare, 1> shares{VersionShare{.model = "new", .weight_ppm = 250'000}};
  CHECK(router.set_split(task, shares).error == Errc::ok);
  const auto seen = count_ids(router, task);
  CHECK(about(seen.at("t@1"), 0.25));
  CHECK(about(seen.at("t@default"), 0.75));
  for (std::uint64_t key = 0; key != 100; ++key) {
    const Decision d = router.route(task, key);
    CHECK(d.reason() == Reason::split);
    CHECK(d.model() == (d.version_id() == "t@1" ? "new" : "base"));
  }
}

TEST_CASE("router: without a default the rest of the share falls back to an empty model", "[core][router]") {
  Router router;
  const Task task = router.task("t");
  router.set_split(task, {{.model = "new", .weight_ppm = 250'000}});
  int fallbacks = 0;
  for (std::uint64_t key = 0; key != keys; ++key) {
    const Decision d = router.route(task, key);
    const bool fallback = d.reason() == Reason::fallback;
    fallbacks += fallback;
    if (fallback != d.model().empty() || d.version_id() != (fallback ? "t@default" : "t@1")) FAIL("mixed up");
  }
  CHECK(about(fallbacks, 0.75));
}

TEST_CASE("router: route() is total: a task with nothing, and a task that is none, answer", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  CHECK(router.route(task, "k").model() == "base");
  CHECK(router.route(task, "k").version_id() == "t@default");
  CHECK(router.route(task, "k").reason() == Reason::fallback);
  router.set_split(task, {{.model = "new", .weight_ppm = 0}});
  CHECK(router.route(task, "k").reason() == Reason::fallback);
  CHECK(router.route(Task{}, "k").reason() == Reason::fallback);
  CHECK(router.route(Task{}, "k").model().empty());
  CHECK(router.route(Task{}, "k").version_id().empty());
  const Task foreign{static_cast<TaskIndex>(77), 1};
  CHECK(router.route(foreign, std::uint64_t{5}).reason() == Reason::fallback);
  CHECK(router.route(foreign).reason() == Reason::fallback);
}

TEST_CASE("router: a forced model serves everything and says so, whatever the split", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base", .forced_model = "pinned"});
  CHECK(router.route(task, "k").model() == "pinned");
  CHECK(router.route(task, "k").version_id() == "t@forced");
  CHECK(router.route(task, "k").reason() == Reason::forced);
  router.set_split(task, {{.model = "a", .weight_ppm = 500'000}});
  CHECK(router.route(task, "k").version_id() == "t@forced");
  const Decision kept = router.route(task, "k");
  // Once a version has the forced model, its id is reported; decisions made before stay as they were.
  router.set_split(task, {{.model = "a", .weight_ppm = 500'000}, {.model = "pinned", .weight_ppm = 1}});
  CHECK(router.route(task, "k").version_id() == "t@2");
  CHECK(router.route(task, "k").reason() == Reason::forced);
  CHECK(kept.version_id() == "t@forced");
  CHECK(router.configure(task, {.default_model = "base"}) == Errc::ok);
  CHECK(router.route(task, "k").reason() == Reason::split);
  CHECK(count_ids(router, task).size() >= 2);
}

TEST_CASE("router: a new default serves from the next decision on, old decisions keep their names", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "old"});
  router.set_split(task, {{.model = "a", .weight_ppm = 1}});
  const Decision before = router.route(task, "k");
  CHECK(router.configure(task, {.default_model = "new"}) == Errc::ok);
  CHECK(before.model() == "old");
  CHECK(router.route(task, "k").model() == "new");
  CHECK(router.route(task, "k").revision() == 1);
  CHECK(router.configure(task, {.default_model = "new", .salt = "other"}) == Errc::salt_fixed);
  CHECK(router.configure(task, {.default_model = "new", .salt = "t"}) == Errc::ok);
}

TEST_CASE("router: options count only when the task is added", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base", .salt = "s"});
  CHECK(task.seed() == seed_of("s"));
  CHECK(router.task("t", {.default_model = "other", .salt = "z"}) == task);
  CHECK(router.route(task, "k").model() == "base");
  CHECK(router.find("t") == task);
  CHECK_FALSE(router.find("absent"));
}

TEST_CASE("router: a bad split is refused whole and changes nothing", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  REQUIRE(router.set_split(task, {{.model = "a", .weight_ppm = 300'000}}).error == Errc::ok);
  const Partition before = router.partition(task);
  const std::string long_text(70'000, 'x');
  std::vector<VersionShare> many(max_shares + 1, VersionShare{.model = "m"});
  const auto refused = [&](Errc expected, std::span<const VersionShare> shares) {
    const SplitResult result = router.set_split(task, shares);
    CHECK(result.error == expected);
    CHECK_FALSE(result);
    CHECK(router.partition(task) == before);
    CHECK(router.revision(task) == 1);
    CHECK(router.version(task, 2).id.empty());
  };
  using Shares = std::vector<VersionShare>;
  refused(Errc::over_total, Shares{{.model = "a", .weight_ppm = 600'000}, {.model = "b", .weight_ppm = 400'001}});
  refused(Errc::over_total,
          Shares{{.model = "a", .weight_ppm = 4'000'000'000}, {.model = "b", .weight_ppm = 4'000'000'000}});
  refused(Errc::duplicate_version, Shares{{.model = "b", .weight_ppm = 1}, {.model = "b", .weight_ppm = 1}});
  refused(Errc::duplicate_version,
          Shares{{.model = "a", .weight_ppm = 1}, {.model = "a", .weight_ppm = 1, .id = "t@1"}});
  refused(Errc::version_mismatch, Shares{{.model = "b", .weight_ppm = 1, .id = "t@1"}});
  refused(Errc::invalid_version, Shares{{.model = "", .weight_ppm = 1}});
  refused(Errc::invalid_version, Shares{{.model = long_text, .weight_ppm = 1}});
  refused(Errc::invalid_version, Shares{{.model = "b", .weight_ppm = 1, .id = "t@default"}});
  refused(Errc::invalid_version, Shares{{.model = "b", .weight_ppm = 1, .id = "t@forced"}});
  refused(Errc::too_many_versions, many);
  CHECK(router.set_split(Task{}, Shares{}).error == Errc::unknown_task);
  CHECK(router.configure(Task{}, {}) == Errc::unknown_task);
  Router other;
  (void)other.task("x");
  CHECK(other.set_split(task, Shares{}).error == Errc::unknown_task);
  // The number of a version that was refused is given to the next one.
  CHECK(router.set_split(task, {{.model = "c", .weight_ppm = 1}}).error == Errc::ok);
  CHECK(router.version(task, 2).id == "t@2");
}

TEST_CASE("router: task names outside the contract get no task", "[core][router]") {
  Router router;
  CHECK_FALSE(router.task(""));
  CHECK_FALSE(router.task("a b"));
  CHECK_FALSE(router.task("\xC3\xA9"));
  CHECK_FALSE(router.task(std::string(129, 'a')));
  CHECK(router.task(std::string(128, 'a')));
  CHECK(router.task("A-Z_0.9"));
  CHECK(router.task_count() == 2);
}

TEST_CASE("router: explicit ids name versions, and numbered ones step aside", "[core][router]") {
  Router router;
  const Task task = router.task("t");
  CHECK(router.set_split(task,
                         {{.model = "m", .weight_ppm = 100'000, .id = "t@2"}, {.model = "n", .weight_ppm = 100'000}}));
  CHECK(router.version(task, 1).id == "t@2");
  CHECK(router.version(task, 2).id == "t@3");
  CHECK(router.set_split(task, {{.model = "m", .weight_ppm = 200'000}, {.model = "m", .weight_ppm = 1, .id = "t@9"}}));
  CHECK(router.version(task, 3).id == "t@9");
  CHECK(router.version(task, 3).model == "m");
}

TEST_CASE("router: every change takes the next revision and says what it moved", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  SplitResult r = router.set_split(task, {{.model = "a", .weight_ppm = 100'000}});
  CHECK(r.revision == 1);
  CHECK(r.points_moved == 429'496'730);
  r = router.set_split(task, {{.model = "a", .weight_ppm = 100'000}});
  CHECK(r.revision == 2);
  CHECK(r.points_moved == 0);
  r = router.set_split(task, {});
  CHECK(r.revision == 3);
  CHECK(r.points_moved == 429'496'730);
  CHECK(r.points_minimum == r.points_moved);
  CHECK(router.route(task, "k").revision() == 3);
}

TEST_CASE("router: route_many() decides as route() does, for any count", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  std::vector<VersionShare> shares;
  std::vector<std::string> models;
  for (int i = 0; i != 40; ++i) models.push_back("m" + std::to_string(i));
  for (int i = 0; i != 40; ++i)
    shares.push_back(
        {.model = models[static_cast<std::size_t>(i)], .weight_ppm = 997u * static_cast<std::uint32_t>(1 + i)});
  REQUIRE(router.set_split(task, shares));
  std::vector<std::string> texts;
  for (int i = 0; i != 100; ++i) texts.push_back(std::string(static_cast<std::size_t>(i), 'k') + std::to_string(i));
  const std::vector<std::string_view> views{texts.begin(), texts.end()};
  std::vector<std::uint64_t> numbers(100);
  for (std::size_t i = 0; i != 100; ++i) numbers[i] = i * i;
  for (const std::size_t count : {0u, 1u, 15u, 16u, 17u, 64u, 100u}) {
    std::vector<Decision> decisions(count);
    router.route_many(task, views, decisions);
    for (std::size_t i = 0; i != count; ++i)
      CHECK(decisions[i].version_id() == router.route(task, views[i]).version_id());
    router.route_many(task, numbers, decisions);
    for (std::size_t i = 0; i != count; ++i) CHECK(decisions[i].point() == router.route(task, numbers[i]).point());
  }
  std::vector<Decision> more(200, Decision{&no_version, 7, 7});
  router.route_many(task, views, more);
  CHECK(more[99].revision() == 1);
  CHECK(more[100].revision() == 7);
  router.route_many(Task{}, views, more);
  CHECK(more[0].reason() == Reason::fallback);
}

TEST_CASE("router: without a key each request is drawn in proportion to the weights", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  router.set_split(task, {{.model = "a", .weight_ppm = 200'000}});
  int seen = 0;
  for (int i = 0; i != keys; ++i) seen += router.route(task).version_id() == "t@1";
  // The draw is random in earnest: 8 standard deviations fail once in 10^15 runs.
  CHECK(std::abs(seen - keys * 0.2) < 8 * std::sqrt(keys * 0.2 * 0.8));
  Point mine = router.route(task).point();
  Point others = mine;
  std::thread{[&] { others = router.route(task).point(); }}.join();
  CHECK(mine != others);
}

TEST_CASE("router: a Reader decides as the router does, before and after changes", "[core][router]") {
  Router router;
  const Task task = router.task("t", {.default_model = "base"});
  Reader reader = router.reader();
  CHECK(reader.route(task, "k").model() == "base");
  router.set_split(task, {{.model = "a", .weight_ppm = 1'000'000}});
  CHECK(reader.route(task, "k").model() == "a");
  Reader moved = std::move(reader);
  router.set_split(task, {});
  CHECK(moved.route(task, std::uint64_t{3}).model() == "base");
  CHECK(reader.route(task, "k").model() == "base");  // NOLINT(bugprone-use-after-move): goes through the mutex
  CHECK(moved.route(task).model() == "base");
}

TEST_CASE("router: two routers in one thread do not disturb each other", "[core][router]") {
  std::vector<std::unique_ptr<Router>> routers;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i != 9; ++i) {  // more than a thread's cache has ways
    routers.push_back(std::make_unique<Router>());
    tasks.push_back(routers[i]->task("t", {.default_model = "model-" + std::to_string(i)}));
  }
  for (int round = 0; round != 3; ++round)
    for (std::size_t i = 0; i != 9; ++i)
      CHECK(routers[i]->route(tasks[i], "k").model() == "model-" + std::to_string(i));
}

}  // namespace

}  // namespace router_test
