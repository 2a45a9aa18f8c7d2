#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/store_text.hpp"
#include "canary/core/partition.hpp"
#include "program.hpp"

namespace day_in_the_life_test {

using namespace canary::test;

namespace {

constexpr int key_count = 100'000;

struct Routed {
  std::vector<std::string> ids;
  std::vector<canary::Point> points;
};

std::string keys() {
  std::string text;
  for (int i = 0; i != key_count; ++i) text += "user-" + std::to_string(i) + '\n';
  return text;
}

std::string field(const std::string& line, const std::string& name) {
  const std::string mark = "\"" + name + "\":";
  const std::size_t start = line.find(mark) + mark.size();
  if (line[start] != '"') return line.substr(start, line.find_first_of(",}", start) - start);
  return line.substr(start + 1, line.find('"', start + 1) - start - 1);
}

Routed route(const Place& place) {
  const Answer answer = place.run({"route", "checks", "--keys", "-", "--json"}, keys());
  REQUIRE(answer.exit == 0);
  const std::vector<std::string> lines = lines_of(answer.out);
  REQUIRE(lines.size() == key_count);
  Routed routed;
  for (const std::string& line : lines) {
    routed.ids.push_back(field(line, "version"));
    routed.points.push_back(static_cast<canary::Point>(std::stoul(field(line, "point"))));
  }
  return routed;
}

canary::Partition partition_at(const DatabasePlace& place, std::uint32_t revision) {
  const auto partition = canary::parse_partition(place.partition_text(revision));
  REQUIRE(partition);
  return *partition;
}

/// Every key is where the stored partition says, and those alone changed whose point changed hands.
void check_moves(const Routed& before, const Routed& after, const canary::Partition& was, const canary::Partition& is) {
  std::size_t astray = 0;
  std::size_t moved = 0;
  for (std::size_t i = 0; i != after.ids.size(); ++i) {
    const canary::Owner owner = is.owner_at(after.points[i]);
    astray += after.ids[i] != "checks@" + (owner == 0 ? std::string{"default"} : std::to_string(owner));
    const bool changed_hands = was.owner_at(after.points[i]) != owner;
    astray += (before.ids[i] != after.ids[i]) != changed_hands;
    moved += changed_hands;
  }
  CHECK(astray == 0);
  const double expected = key_count * static_cast<double>(canary::points_moved(was, is)) / canary::ring_points;
  CHECK(static_cast<double>(moved) > expected * 0.9);
  CHECK(static_cast<double>(moved) < expected * 1.1);
}

std::size_t count(const Routed& routed, const std::string& id) {
  return static_cast<std::size_t>(std::count(routed.ids.begin(), routed.ids.end(), id));
}

}  // namespace

TEST_CASE("a day in the life: a canary grows, is promoted and rolled back, and no key moves without need",
          "[cli][day]") {
  const DatabasePlace place;
  place.register_models({"ft:a", "ft:b"});
  Routed now = route(place);
  CHECK(count(now, "checks@default") == key_count);
  canary::Partition partition;  // the untouched ring
  std::uint32_t revision = 2;
  for (const char* percent : {"1", "5", "25"}) {
    INFO(percent);
    const auto answer = place.json({"model", "canary", "checks@1", percent});
    CHECK(answer.at("points_moved") == answer.at("points_minimum"));
    REQUIRE(number_of(answer.at("revision")) == ++revision);
    const Routed next = route(place);
    const canary::Partition grown = partition_at(place, revision);
    check_moves(now, next, partition, grown);
    for (int i = 0; i != key_count; ++i)
      if (now.ids[static_cast<std::size_t>(i)] == "checks@1")
        REQUIRE(next.ids[static_cast<std::size_t>(i)] == "checks@1");
    now = next;
    partition = grown;
  }
  CHECK(count(now, "checks@1") > key_count * 24 / 100);
  CHECK(count(now, "checks@1") < key_count * 26 / 100);

  const auto promoted = place.json({"model", "promote", "checks@1", "--note", "looks good"});
  CHECK(promoted.at("points_moved") == promoted.at("points_minimum"));
  const Routed all = route(place);
  CHECK(count(all, "checks@1") == key_count);
  check_moves(now, all, partition, partition_at(place, ++revision));

  // The other candidate comes beside it, and goes again.
  place.done({"model", "canary", "checks@2", "10"});
  const Routed beside = route(place);
  check_moves(all, beside, partition_at(place, revision), partition_at(place, revision + 1));
  place.done({"model", "rollback", "checks@2"});
  CHECK(route(place).ids == all.ids);
  revision += 2;

  place.done({"model", "rollback", "checks"});  // the candidate's end is the last change
  CHECK(route(place).ids == beside.ids);
  place.done({"model", "rollback", "checks"});  // its coming
  CHECK(route(place).ids == all.ids);
  place.done({"model", "rollback", "checks", "--note", "worse than it looked"});  // the promotion
  const Routed back = route(place);
  CHECK(back.ids == now.ids);
  CHECK(partition_at(place, revision + 3) == partition);
}

}  // namespace day_in_the_life_test
