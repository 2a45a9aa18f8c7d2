#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/hash.hpp"
#include "canary/core/router.hpp"
#include "program.hpp"

namespace why_test {

using namespace canary::test;

TEST_CASE("why: hash, point, run, version and who set it are those of the library", "[cli][why]") {
  const ConfiguredPlace place;
  canary::Router router;
  const canary::Task task = router.task("checks", {.default_model = "base"});
  router.set_split(task, {{.model = "v1", .weight_ppm = 100'000}, {.model = "v2", .weight_ppm = 50'000}});
  const canary::Partition partition = router.partition(task);
  for (int i = 0; i != 20; ++i) {
    const std::string key = "user-" + std::to_string(i);
    const auto why = place.json({"why", "checks", key});
    const canary::Decision decision = router.route(task, key);
    CHECK(text_of(why.at("task")) == "checks");
    CHECK(text_of(why.at("key")) == key);
    CHECK(std::stoull(text_of(why.at("seed")), nullptr, 16) == canary::seed_of("checks"));
    CHECK(why.at("point").to_number<std::uint32_t>() == decision.point());
    const auto start = why.at("run").at("start").to_number<std::uint64_t>();
    const auto end = why.at("run").at("end").to_number<std::uint64_t>();
    CHECK(start <= decision.point());
    CHECK(decision.point() < end);
    CHECK(end <= canary::ring_points);
    CHECK(partition.owner_at(static_cast<canary::Point>(start)) == decision.record().owner);
    CHECK(partition.owner_at(static_cast<canary::Point>(end - 1)) == decision.record().owner);
    CHECK(text_of(why.at("version")) == decision.version_id());
    CHECK(text_of(why.at("model")) == decision.model());
    CHECK(text_of(why.at("reason")) == "split");
    CHECK(why.at("revision").to_number<std::uint32_t>() == decision.revision());
    const auto& row = why.at("set_by").as_object();
    CHECK(text_of(row.at("action")) == "config");
    CHECK(text_of(row.at("note")) == "canary.toml");
    CHECK(row.at("after").as_array().size() == 3);
    CHECK(row.at("points_moved") == row.at("points_minimum"));
  }
}

TEST_CASE("why: nobody set a task without versions, the environment set a forced one", "[cli][why]") {
  const ConfiguredPlace place;
  CHECK(place.json({"why", "risks", "k"}).at("set_by").is_null());
  const Answer forced = place.run({"--json", "why", "checks", "k"}, {}, {{"CHECKS_FORCE", "x"}});
  const auto why = boost::json::parse(forced.out).as_object();
  CHECK(text_of(why.at("reason")) == "forced");
  CHECK(text_of(why.at("version")) == "checks@forced");
  CHECK(text_of(why.at("set_by").at("action")) == "environment");
  CHECK(text_of(why.at("set_by").at("note")) == "CHECKS_FORCE");
}

TEST_CASE("why: the past needs a database", "[cli][why]") {
  const ConfiguredPlace place;
  const auto [exit, error] = place.failure({"why", "checks", "k", "--at", "1"});
  CHECK(exit == 5);
  CHECK(text_of(error.at("message")).find("database") != std::string::npos);
}

TEST_CASE("why: text says the same for people", "[cli][why]") {
  const ConfiguredPlace place;
  const Answer answer = place.run({"why", "checks", "user-1"});
  CHECK(answer.exit == 0);
  for (const char* word : {"seed", "point", "run", "version", "model", "reason", "revision", "set by", "user-1"})
    CHECK(answer.out.find(word) != std::string::npos);
}

}  // namespace why_test
