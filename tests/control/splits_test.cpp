#include <map>
#include <string>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/splits.hpp"

namespace splits_test {

namespace {

using canary::ApplyResult;
using canary::Config;
using canary::Errc;
using canary::Reason;
using canary::Router;
using canary::TaskConfig;

using Environment = std::map<std::string, std::string>;

auto lookup_in(const Environment& environment) {
  return [&environment](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
}

TaskConfig task_named(std::string name) {
  TaskConfig task;
  task.name = std::move(name);
  task.default_model = "base";
  return task;
}

Config two_tasks() {
  Config config;
  config.store.url = "memory:";
  config.tasks = {task_named("checks"), task_named("risks")};
  config.tasks[0].versions = {{"v1", 100'000}, {"v2", 0}};
  return config;
}

const Environment nothing;

}  // namespace

TEST_CASE("splits: a configuration becomes tasks with their shares", "[control][splits]") {
  Router router;
  const ApplyResult result = apply(two_tasks(), router, lookup_in(nothing));
  REQUIRE(result.ok());
  REQUIRE(result.changes.size() == 2);
  CHECK(result.changes[0].added);
  CHECK(result.changes[0].split_changed);
  CHECK(result.changes[0].split.points_moved == result.changes[0].split.points_minimum);
  CHECK(result.changes[1].added);
  CHECK_FALSE(result.changes[1].split_changed);
  const canary::Task checks = router.find("checks");
  CHECK(router.version(checks, 1).model == "v1");
  CHECK(router.version(checks, 2).id == "checks@2");  // waits at 0 %, and has its id
  CHECK(router.route(router.find("risks"), "anyone").model() == "base");
}

TEST_CASE("splits: said again, nothing changes and no revision is used", "[control][splits]") {
  Router router;
  const Environment forced{{"FORCE", "v9"}};
  Config config = two_tasks();
  config.tasks[1].force_env = "FORCE";
  (void)apply(config, router, lookup_in(forced));
  const auto checks = router.revision(router.find("checks"));
  const auto risks = router.revision(router.find("risks"));
  for (int again = 0; again != 3; ++again) CHECK(apply(config, router, lookup_in(forced)).changes.empty());
  CHECK(router.revision(router.find("checks")) == checks);
  CHECK(router.revision(router.find("risks")) == risks);
}

TEST_CASE("splits: one changed task leaves the others alone, and moves the fewest keys", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  (void)apply(config, router, lookup_in(nothing));
  const auto risks = router.revision(router.find("risks"));
  config.tasks[0].versions[1].weight_ppm = 50'000;
  const ApplyResult result = apply(config, router, lookup_in(nothing));
  REQUIRE(result.changes.size() == 1);
  CHECK(result.changes[0].task == "checks");
  CHECK(result.changes[0].split_changed);
  CHECK(result.changes[0].split.points_moved == result.changes[0].split.points_minimum);
  CHECK(result.changes[0].split.points_moved == 214'748'365);  // 2^32 / 20, by largest remainder
  CHECK(router.revision(router.find("risks")) == risks);
}

TEST_CASE("splits: a version that leaves the file gives its keys to the default", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  (void)apply(config, router, lookup_in(nothing));
  config.tasks[0].versions.clear();
  REQUIRE(apply(config, router, lookup_in(nothing)).changes.size() == 1);
  const auto shares = router.partition(router.find("checks"));
  REQUIRE(shares.shares().size() == 1);
  CHECK(shares.shares()[0].owner == canary::default_owner);
  CHECK(apply(config, router, lookup_in(nothing)).changes.empty());
}

TEST_CASE("splits: force_env overrides while it is set, an empty value is unset", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  config.tasks[0].force_env = "FORCE";
  Environment environment{{"FORCE", ""}};
  (void)apply(config, router, lookup_in(environment));
  const canary::Task task = router.find("checks");
  CHECK(router.decide(task, 0).reason() == Reason::split);

  environment["FORCE"] = "v1";
  REQUIRE(apply(config, router, lookup_in(environment)).changes.size() == 1);
  for (const std::uint32_t point : {0u, 0x8000'0000u, 0xFFFF'FFFFu}) {
    CHECK(router.decide(task, point).reason() == Reason::forced);
    CHECK(router.decide(task, point).version_id() == "checks@1");
  }
  environment["FORCE"] = "elsewhere";
  (void)apply(config, router, lookup_in(environment));
  CHECK(router.decide(task, 0).version_id() == "checks@forced");
  CHECK(router.decide(task, 0).model() == "elsewhere");

  environment.clear();
  const ApplyResult back = apply(config, router, lookup_in(environment));
  REQUIRE(back.changes.size() == 1);
  CHECK(back.changes[0].options_changed);
  CHECK_FALSE(back.changes[0].split_changed);
  CHECK(router.decide(task, 0).reason() == Reason::split);
}

TEST_CASE("splits: a new default model is taken over, a new salt is refused and named", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  (void)apply(config, router, lookup_in(nothing));
  config.tasks[1].default_model = "better";
  config.tasks[0].salt = "another";
  config.tasks[0].versions[0].weight_ppm = 1;
  const ApplyResult result = apply(config, router, lookup_in(nothing));
  CHECK_FALSE(result.ok());
  REQUIRE(result.changes.size() == 2);
  CHECK(result.changes[0].error == Errc::salt_fixed);
  CHECK_FALSE(result.changes[0].split_changed);  // all of the task stays as it was
  CHECK(result.changes[1].options_changed);
  CHECK(router.route(router.find("risks"), "anyone").model() == "better");
}

TEST_CASE("splits: a task that leaves the file keeps what it had", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  (void)apply(config, router, lookup_in(nothing));
  const auto before = router.partition(router.find("checks"));
  config.tasks.erase(config.tasks.begin());
  CHECK(apply(config, router, lookup_in(nothing)).changes.empty());
  CHECK(router.partition(router.find("checks")) == before);
}

TEST_CASE("splits: with a database the shares are not the file's to set", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  config.store.url = "sqlite:canary.db";
  const ApplyResult result = apply(config, router, lookup_in(nothing));
  REQUIRE(result.ok());
  CHECK_FALSE(result.changes[0].split_changed);
  CHECK(router.decide(router.find("checks"), 0).model() == "base");
}

TEST_CASE("splits: a share that the router refuses is told for its task, the others are applied", "[control][splits]") {
  Router router;
  Config config = two_tasks();
  config.tasks[0].versions = {{"v1", 600'000}, {"v2", 600'000}};  // no file gets this far, a program may
  config.tasks.push_back(task_named("no such name!"));
  const ApplyResult result = apply(config, router, lookup_in(nothing));
  CHECK_FALSE(result.ok());
  REQUIRE(result.changes.size() == 3);
  CHECK(result.changes[0].error == Errc::over_total);
  CHECK(result.changes[1].error == Errc::ok);
  CHECK(result.changes[2].error == Errc::invalid_name);
}

}  // namespace splits_test
