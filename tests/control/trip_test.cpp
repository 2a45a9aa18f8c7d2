// A process's own evidence: what it counts, that a good candidate is left alone, and that a bad one is not.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/trip.hpp"
#include "canary/control/trip_watch.hpp"

namespace trip_test {

using namespace canary;

namespace {

constexpr std::int64_t start = 1'795'368'929'000'000;  // 2026-11-22
constexpr std::int64_t second = 1'000'000;
constexpr std::uint16_t base = 1;
constexpr std::uint16_t bad = 2;

Epoch epoch(std::uint32_t revision, double percent, std::uint32_t since = 5) {
  Epoch made;
  made.revision = revision;
  made.baseline = base;
  const auto points = static_cast<std::uint64_t>(percent / 100 * 0x1p32);
  made.baseline_points = ring_points - points;
  made.candidates = {{bad, points, since}};
  made.frozen.success_mean = 0.9;
  made.frozen.outcomes = 1'000;
  return made;
}

GuardConfig watching() {
  GuardConfig config;
  config.metrics = {MetricConfig{.name = "ok"}};
  return config;
}

/// A task whose entries come as they would from the lanes of a process.
struct World {
  TripWatch watch;
  std::uint32_t revision = 5;
  std::uint64_t cursor = InteractionId::cursor_at(start);
  std::int64_t now_us = start;

  explicit World(GuardConfig config = watching()) {
    watch.configure(config);
    begin(epoch(5, 10));
  }
  void begin(const Epoch& next, std::int64_t opened_us = start) {
    revision = next.revision;
    watch.expect(revision);
    watch.open(revision, OpenedEpoch{next, opened_us});
  }
  [[nodiscard]] Entry entry(EntryKind kind, std::uint64_t id, Point point, std::uint16_t number) const {
    Entry made;
    made.kind = kind;
    made.id = id;
    made.at_us = now_us;
    made.revision = revision;
    made.point = point;
    made.number = number;
    made.watched = true;
    return made;
  }
  /// A request from end to end; its outcome.
  Entry request(Point point, std::uint16_t number, bool failed) {
    const std::uint64_t id = InteractionId::at(++cursor, 3);
    watch.take(entry(EntryKind::assigned, id, point, number));
    Entry outcome = entry(EntryKind::outcome, id, point, number);
    outcome.error = failed ? 1 : 0;
    watch.take(outcome);
    return outcome;
  }
  /// So many of each arm, the candidate's with failures; every key another one.
  void requests(int of_base, int of_bad, bool bad_fails) {
    for (int i = 0; i != of_base; ++i) request(next_point++, base, i % 10 == 0);
    for (int i = 0; i != of_bad; ++i) request(next_point++, bad, bad_fails || i % 10 == 0);
  }
  Point next_point = 0;
};

}  // namespace

// --- verdicts ----------------------------------------------------------------------------------------------------------

TEST_CASE("trip: a candidate that fails is overwhelmingly worse, and the words say what was compared",
          "[control][trip]") {
  World world;
  for (int i = 0; i != 9; ++i) world.requests(90, 10, true);
  const std::vector<Overwhelming> found = world.watch.judge();
  REQUIRE(found.size() == 1);
  CHECK(found[0].number == bad);
  CHECK(found[0].log_e >= std::log(overwhelming / 0.01));
  CHECK(found[0].reason.find("`ok`") != std::string::npos);
}

TEST_CASE("trip: it takes a hundred times the evidence that the guard takes", "[control][trip]") {
  LocalEvidence seen{bad, 5};
  const Epoch now = epoch(5, 10);
  seen.open(now);
  World world;
  std::optional<int> guard_at;
  std::optional<int> here_at;
  for (int i = 0; i != 2'000 && !here_at; ++i) {
    const bool candidate = i % 10 == 9;
    const std::uint64_t id = InteractionId::at(++world.cursor, 3);
    const auto point = static_cast<Point>(i);
    const std::uint16_t number = candidate ? bad : base;
    seen.assign(world.entry(EntryKind::assigned, id, point, number), now, 600 * second);
    Entry outcome = world.entry(EntryKind::outcome, id, point, number);
    outcome.error = candidate ? 1 : 0;
    CHECK(seen.settle(outcome, 600 * second));
    const Verdict guard = judge(watching(), {bad, seen.epochs(), {}}, {.display = false});
    const Verdict here = seen.judge(watching(), 1);
    CHECK(here.log_e_rollback == guard.log_e_rollback);
    CHECK(here.threshold_rollback > guard.threshold_rollback + 4.6);
    if (!guard_at && guard.action == Action::rollback) guard_at = i;
    if (here.action == Action::rollback) here_at = i;
  }
  REQUIRE(guard_at);
  REQUIRE(here_at);
  CHECK(*guard_at < *here_at);
  CHECK(seen.judge(watching(), 1'000'000).action == Action::hold);  // candidates share alpha
}

TEST_CASE("trip: of 400 processes with a good candidate at most one trips, though both arms get worse on the way",
          "[control][trip]") {
  // At alpha .01 each does with odds of 1e-4 at most, however often it looks: two of them with odds below 8e-4.
  int trips = 0;
  for (std::uint64_t seed = 0; seed != 400; ++seed) {
    World world;
    std::mt19937_64 random{seed};
    for (int look = 0; look != 20; ++look) {
      for (int i = 0; i != 200; ++i) {
        const bool candidate = random() % 10 == 0;
        const bool failed = random() % (look < 10 ? 10 : 3) == 0;  // both get worse in the middle
        world.request(static_cast<Point>(random()), candidate ? bad : base, failed);
      }
      trips += static_cast<int>(world.watch.judge().size());
    }
  }
  CHECK(trips <= 1);
}

TEST_CASE("trip: an outcome that has not come, or comes too late, is no failure", "[control][trip]") {
  World world;
  world.requests(400, 0, false);
  std::vector<Entry> open;
  for (int i = 0; i != 400; ++i) {
    const std::uint64_t id = InteractionId::at(++world.cursor, 3);
    world.watch.take(world.entry(EntryKind::assigned, id, static_cast<Point>(1'000 + i), bad));
    open.push_back(world.entry(EntryKind::outcome, id, static_cast<Point>(1'000 + i), bad));
  }
  CHECK(world.watch.judge().empty());
  for (Entry& outcome : open) {
    outcome.at_us += 601 * second;
    outcome.error = 1;
    world.watch.take(outcome);
  }
  CHECK(world.watch.judge().empty());
}

TEST_CASE("trip: records that contradict the split are no evidence, whatever becomes of them in the guard",
          "[control][trip]") {
  GuardConfig config = watching();
  config.on_missing = OnMissing::rollback;
  World world{config};
  world.requests(2'000, 2, true);  // where a tenth was promised
  CHECK(world.watch.judge().empty());
}

// --- what is counted -----------------------------------------------------------------------------------------------------

TEST_CASE("trip: a unit counts once in a life, a request every time, and a decision that is recorded twice once",
          "[control][trip]") {
  LocalEvidence seen{bad, 5};
  const Epoch first = epoch(5, 10);
  const Epoch second_epoch = epoch(7, 50);
  seen.open(first);
  seen.open(second_epoch);
  World world;
  const auto request = [&](const Epoch& in, Point point, std::uint16_t number) {
    const std::uint64_t id = InteractionId::at(++world.cursor, 3);
    seen.assign(world.entry(EntryKind::assigned, id, point, number), in, 600 * second);
    const Entry outcome = world.entry(EntryKind::outcome, id, point, number);
    CHECK(seen.settle(outcome, 600 * second));
    CHECK_FALSE(seen.settle(outcome, 600 * second));
  };
  for (int i = 0; i != 10; ++i) request(first, 77, base);
  for (int i = 0; i != 5; ++i) request(second_epoch, 77, bad);  // it moved with the ramp: the same coin
  request(second_epoch, 78, bad);
  seen.assign(world.entry(EntryKind::assigned, 1, 79, 9), second_epoch,
              600 * second);  // a version that is not compared
  REQUIRE(seen.epochs().size() == 2);
  const EvidenceCounts& before = seen.epochs()[0].counts;
  const EvidenceCounts& after = seen.epochs()[1].counts;
  CHECK(before.of(CountedBy::unit, Arm::baseline).assigned == 1);
  CHECK(before.of(CountedBy::unit, Arm::baseline).settled == 1);
  CHECK(before.of(CountedBy::request, Arm::baseline).settled == 10);
  CHECK(after.of(CountedBy::unit, Arm::candidate).settled == 1);
  CHECK(after.of(CountedBy::request, Arm::candidate).assigned == 6);
  CHECK(after.of(CountedBy::request, Arm::candidate).settled == 6);
  CHECK(after.of(CountedBy::request, Arm::baseline).assigned == 0);
}

TEST_CASE("trip: a million units are sampled, and memory of what never comes back is bounded", "[control][trip]") {
  LocalEvidence seen{bad, 5};
  const Epoch now = epoch(5, 10);
  seen.open(now);
  World world;
  for (Point point = 0; point != 1'000'000; ++point)
    seen.assign(world.entry(EntryKind::assigned, InteractionId::at(++world.cursor, 3), point, point % 10 ? base : bad),
                now, 600 * second);
  const EvidenceCounts& counts = seen.epochs()[0].counts;
  const auto units =
      counts.of(CountedBy::unit, Arm::baseline).assigned + counts.of(CountedBy::unit, Arm::candidate).assigned;
  CHECK(units > 100'000);
  CHECK(units < 300'000);
  Entry first = world.entry(EntryKind::outcome, InteractionId::at(InteractionId::cursor_at(start) + 1, 3), 0, bad);
  CHECK_FALSE(seen.settle(first, 600 * second));  // given up
  const Entry last = world.entry(EntryKind::outcome, InteractionId::at(world.cursor, 3), 999'999, base);
  CHECK(seen.settle(last, 600 * second));
}

TEST_CASE(
    "trip: forced, tripped and fallback decisions, those that nobody watches, and those without an id are ignored",
    "[control][trip]") {
  World world;
  const auto all = [&](auto change) {
    for (int i = 0; i != 1'000; ++i) {
      const std::uint64_t id = InteractionId::at(++world.cursor, 3);
      for (const EntryKind kind : {EntryKind::assigned, EntryKind::outcome, EntryKind::feedback}) {
        Entry entry = world.entry(kind, id, static_cast<Point>(i), i % 10 ? base : bad);
        entry.error = i % 10 ? 0 : 1;
        change(entry);
        world.watch.take(entry);
      }
    }
  };
  all([](Entry& entry) { entry.reason = Reason::forced; });
  all([](Entry& entry) { entry.reason = Reason::tripped; });
  all([](Entry& entry) { entry.reason = Reason::fallback; });
  all([](Entry& entry) { entry.watched = false; });
  all([](Entry& entry) { entry.id = 0; });
  all([](Entry& entry) { entry.revision = 4; });
  all([](Entry& entry) { entry.at_us -= 10 * second; });  // before the epoch opened
  CHECK(world.watch.judge().empty());
  all([](Entry&) {});
  CHECK(world.watch.judge().size() == 1);
}

// --- order -----------------------------------------------------------------------------------------------------------------

TEST_CASE("trip: an outcome that is seen before its assignment waits for it until the next look has ended",
          "[control][trip]") {
  World world;
  std::vector<Entry> outcomes;
  std::vector<Entry> assigned;
  for (int i = 0; i != 1'000; ++i) {
    const std::uint64_t id = InteractionId::at(++world.cursor, 3);
    assigned.push_back(world.entry(EntryKind::assigned, id, static_cast<Point>(i), i % 10 ? base : bad));
    outcomes.push_back(world.entry(EntryKind::outcome, id, static_cast<Point>(i), i % 10 ? base : bad));
    outcomes.back().error = i % 10 ? 0 : 1;
  }
  for (const Entry& each : outcomes) world.watch.take(each);
  world.watch.end_look();
  CHECK(world.watch.judge().empty());
  SECTION("it comes") {
    for (const Entry& each : assigned) world.watch.take(each);
    world.watch.end_look();
    CHECK(world.watch.judge().size() == 1);
  }
  SECTION("it does not") {
    world.watch.end_look();
    for (const Entry& each : assigned) world.watch.take(each);
    world.watch.end_look();
    CHECK(world.watch.judge().empty());
  }
}

TEST_CASE("trip: entries wait for their epoch, which may turn out not to be there", "[control][trip]") {
  World world;
  world.revision = 8;
  world.watch.expect(8);
  CHECK(world.watch.wants() == 8);
  world.requests(400, 45, true);
  CHECK(world.watch.judge().empty());
  SECTION("it is found") {
    world.watch.open(8, OpenedEpoch{epoch(8, 10), start});
    CHECK(world.watch.judge().size() == 1);
  }
  SECTION("there is none") {
    world.watch.open(8, std::nullopt);
    CHECK(world.watch.judge().empty());
    world.requests(400, 45, true);
    CHECK(world.watch.judge().empty());
  }
  CHECK_FALSE(world.watch.wants());
}

TEST_CASE("trip: a life's evidence goes on into its next epoch, and is judged again there without anything new",
          "[control][trip]") {
  World world;
  world.requests(400, 45, true);
  CHECK(world.watch.judge().size() == 1);
  CHECK(world.watch.judge().empty());  // nothing has changed
  world.begin(epoch(9, 50));
  CHECK(world.watch.judge().size() == 1);
  world.watch.expect(9);  // the same once more
  CHECK(world.watch.judge().size() == 1);
}

TEST_CASE("trip: another life begins with nothing, also where the number is the same", "[control][trip]") {
  World world;
  world.requests(400, 45, true);
  CHECK(world.watch.judge().size() == 1);
  world.begin(epoch(9, 10, 9));
  CHECK(world.watch.judge().empty());
  world.revision = 5;
  world.requests(400, 45, true);  // what is left of the old one comes still
  world.revision = 9;
  CHECK(world.watch.judge().empty());
  world.requests(400, 45, true);
  CHECK(world.watch.judge().size() == 1);
}

TEST_CASE("trip: of two candidates the one that fails is stopped, though both began in one change", "[control][trip]") {
  World world;
  Epoch two = epoch(9, 10, 9);
  two.candidates.push_back({3, two.candidates[0].points, 9});
  two.baseline_points -= two.candidates[0].points;
  world.begin(two);
  for (int i = 0; i != 45; ++i) {
    for (int of_base = 0; of_base != 8; ++of_base) world.request(world.next_point++, base, of_base == 7 && i % 2 == 0);
    world.request(world.next_point++, bad, true);
    world.request(world.next_point++, 3, i % 10 == 0);
  }
  const std::vector<Overwhelming> found = world.watch.judge();
  REQUIRE(found.size() == 1);
  CHECK(found[0].number == bad);
}

// --- whose points go where ---------------------------------------------------------------------------------------------

TEST_CASE("trip: only the points of what is stopped move, and all of them to the base", "[control][trip]") {
  const std::vector<WantedShare> shares{{1, 600'000}, {2, 100'001}, {3, 50'000}};
  Partition partition = rebalance(Partition{}, shares).partition;
  const std::vector<WantedShare> later{{1, 500'000}, {2, 150'000}, {3, 77'000}};
  partition = rebalance(partition, later).partition;
  const auto moved = [&](const std::vector<std::uint32_t>& stopped, std::uint32_t to) {
    const Partition after = without(partition, stopped, to);
    CHECK(after.valid());
    std::uint64_t given = 0;
    for (const OwnerShare& share : partition.shares())
      if (share.owner == to || std::find(stopped.begin(), stopped.end(), share.owner) != stopped.end())
        given += share.points;
    for (const OwnerShare& share : after.shares())
      if (share.owner == to) CHECK(share.points == given);
    std::mt19937_64 random{7};
    for (int i = 0; i != 20'000; ++i) {
      const auto point = static_cast<Point>(random());
      const Owner owner = partition.owner_at(point);
      const bool gone = std::find(stopped.begin(), stopped.end(), owner) != stopped.end();
      REQUIRE(after.owner_at(point) == (gone ? static_cast<Owner>(to) : owner));
    }
    return points_moved(partition, after);
  };
  const auto points = [&](Owner owner) {
    for (const OwnerShare& share : partition.shares())
      if (share.owner == owner) return share.points;
    return std::uint64_t{0};
  };
  CHECK(moved({2}, 1) == points(2));
  CHECK(moved({2}, 0) == points(2));
  CHECK(moved({2, 3}, 1) == points(2) + points(3));
  CHECK(moved({2, 3}, 4) == points(2) + points(3));  // a base without a share
  CHECK(moved({9}, 1) == 0);
}

}  // namespace trip_test
