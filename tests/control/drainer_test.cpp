// The drainer: lanes in, a store that has each entry once out, whatever fails in between.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/drainer.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/control/plan_epoch.hpp"

namespace drainer_test {

using namespace canary;

namespace {

constexpr TimeUs start = 1'795'368'929'000'000;  // 2026-11-22
constexpr TimeUs second = 1'000'000;
constexpr TimeUs minute = 60 * second;

/// Fails when it is told to: at the beginning, or around a commit.
class Fragile final : public InteractionStore {
 public:
  explicit Fragile(MemoryStore& store) : store_{store.interactions()} {}

  enum class Fault { none, begin, before_commit, after_commit };
  Fault fault = Fault::none;
  int begun = 0;
  std::function<void()> before_begin;  ///< called once
  int looked_up = 0;                   ///< calls that read interactions

  SpoolRecord claim(std::string_view spool, TimeUs now_us) override { return store_->claim(spool, now_us); }
  std::vector<SpoolRecord> spools() override { return store_->spools(); }
  std::unique_ptr<Delivery> begin(const SpoolRecord& spool) override;
  bool fold(const SpoolRecord& spool,
            const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) override {
    return store_->fold(spool, merge);
  }
  std::optional<std::uint32_t> find_task(std::string_view task) override { return store_->find_task(task); }
  std::vector<std::pair<std::uint32_t, std::string>> task_names() override { return store_->task_names(); }
  std::vector<CountsRow> counts(const CountsFilter& filter) override { return store_->counts(filter); }
  void read(const InteractionFilter& filter,
            const std::function<bool(const Interaction&, const Payload&)>& take) override {
    ++looked_up;
    store_->read(filter, take);
  }
  void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) override {
    ++looked_up;
    store_->find(ids, take);
  }
  bool forget_before(TimeUs time_us) override { return store_->forget_before(time_us); }
  bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) override {
    return store_->forget_units(task, to, living);
  }

 private:
  std::unique_ptr<InteractionStore> store_;
};

class FragileDelivery final : public Delivery {
 public:
  FragileDelivery(std::unique_ptr<Delivery> delivery, Fragile::Fault& fault)
      : delivery_{std::move(delivery)}, fault_{fault} {}

  std::uint32_t task_number(std::string_view task) override { return delivery_->task_number(task); }
  std::vector<std::uint64_t> add(std::span<const Interaction> rows) override { return delivery_->add(rows); }
  void add_payloads(std::span<const Payload> rows) override { delivery_->add_payloads(rows); }
  void claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) override {
    delivery_->claim_units(units, fresh);
  }
  void settle_units(std::span<const UnitKey> units, std::vector<bool>& first) override {
    delivery_->settle_units(units, first);
  }
  void find_units(std::span<const UnitKey> units, std::vector<bool>& counted) override {
    delivery_->find_units(units, counted);
  }
  void join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) override {
    delivery_->join(rows, joined);
  }
  void put_waiting(std::span<const Feedback> rows) override { delivery_->put_waiting(rows); }
  std::size_t waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) override {
    return delivery_->waiting(from, most, ready);
  }
  void drop_waiting(std::span<const std::uint64_t> ids) override { delivery_->drop_waiting(ids); }
  std::size_t drop_waiting_before(TimeUs time_us) override { return delivery_->drop_waiting_before(time_us); }
  void put(const CountsRow& row) override { delivery_->put(row); }
  void commit(std::span<const LanePosition> lanes, TimeUs now_us) override {
    const Fragile::Fault fault = std::exchange(fault_, Fragile::Fault::none);
    StoreError lost{StoreErrc::unreachable, "the connection was lost"};
    lost.unknown = true;
    if (fault == Fragile::Fault::before_commit) throw lost;
    delivery_->commit(lanes, now_us);
    if (fault == Fragile::Fault::after_commit) throw lost;
  }

 private:
  std::unique_ptr<Delivery> delivery_;
  Fragile::Fault& fault_;
};

std::unique_ptr<Delivery> Fragile::begin(const SpoolRecord& spool) {
  ++begun;
  if (const auto meanwhile = std::exchange(before_begin, nullptr)) meanwhile();
  if (fault == Fault::begin) {
    fault = Fault::none;
    throw StoreError{StoreErrc::unreachable, "no reply"};
  }
  std::unique_ptr<Delivery> delivery = store_->begin(spool);
  if (!delivery) return nullptr;
  return std::make_unique<FragileDelivery>(std::move(delivery), fault);
}

/// A lane without threads.
struct TestLane {
  explicit TestLane(std::size_t count) : cells(count), mask{count - 1} {}

  bool push(const Entry& entry) {
    if (next == drained + mask + 1) return false;
    const detail::EntryWords words = detail::pack(entry);
    cells[next & mask].words = words;
    cells[next & mask].stamp.store(detail::stamp_of(next, words));
    ++next;
    return true;
  }

  std::vector<Recorder::Cell> cells;
  std::uint64_t mask;
  std::uint64_t next = 0;
  std::uint64_t drained = 0;
};

/// A process with two lanes and a task with a candidate at a half of the traffic from revision 2 on, the default the rest.
struct World {
  explicit World(std::size_t batch = 64, std::string spool_id = std::string(32, 'a')) : spool{std::move(spool_id)} {
    options.batch = batch;
    options.task = [this](std::string_view) { return DrainTask{keep, 10 * minute}; };
    options.epoch = [this](std::string_view, std::uint32_t revision) -> std::optional<OpenedEpoch> {
      if (revision < 2) return {};
      return OpenedEpoch{epoch, epoch_opened_us};
    };
    options.new_id = [this](std::uint32_t node, TimeUs) { return InteractionId::at(++ids, node); };
    epoch.revision = 2;
    epoch.candidates = {{1, ring_points / 2, 2}};
    epoch.baseline_points = ring_points / 2;
    lanes_of(0);
    restart();
  }

  void lanes_of(std::size_t first) {
    lanes.clear();
    for (std::size_t i = 0; i != 2; ++i) {
      lanes.emplace_back(256);
      drain.push_back({static_cast<std::uint32_t>(first + i), lanes[i].cells.data(), lanes[i].mask});
    }
  }

  /// A drainer that knows nothing.
  void restart() { drainer = std::make_unique<Drainer>(store, spool, options); }

  /// One pass; false for one that failed.
  bool pass() {
    try {
      more = drainer->pass(drain, names, now);
    } catch (const StoreError&) {
      return false;
    }
    for (std::size_t i = 0; i != lanes.size(); ++i) lanes[i].drained = drain[i].position;
    return true;
  }
  void drain_all() {
    for (int i = 0; i != 1'000; ++i) {
      REQUIRE(pass());
      if (!more) return;
    }
    FAIL("it never ends");
  }

  std::uint64_t id() {
    (void)drainer->contact(drain, now);
    return InteractionId::at(InteractionId::cursor_at(now) + ++ids, drainer->record()->node);
  }
  Entry entry(EntryKind kind, std::uint64_t id, Point point, std::uint16_t number, std::uint32_t revision = 2) const {
    Entry made;
    made.kind = kind;
    made.id = id;
    made.at_us = now;
    made.revision = revision;
    made.point = point;
    made.number = number;
    made.latency_us = kind == EntryKind::outcome ? 1'000 : no_latency;
    made.score = no_score;
    return made;
  }
  /// A request from beginning to end, on one lane.
  std::uint64_t request(Point point, std::uint16_t number, bool ok = true, std::size_t lane = 0) {
    const std::uint64_t made = id();
    REQUIRE(lanes[lane].push(entry(EntryKind::assigned, made, point, number)));
    Entry done = entry(EntryKind::outcome, made, point, number);
    done.error = ok ? 0 : 1;
    REQUIRE(lanes[lane].push(done));
    return made;
  }

  std::vector<Interaction> rows() {
    std::vector<Interaction> all;
    store.read({}, [&](const Interaction& row, const Payload&) {
      all.push_back(row);
      return true;
    });
    return all;
  }
  EvidenceCounts evidence() {
    EvidenceCounts sum;
    for (const CountsRow& row : store.counts({.kind = CountsKind::evidence})) {
      CHECK(row.of == 2);
      CHECK(row.at == 2);
      sum.merge(EvidenceCounts::parse(row.bytes).value());
    }
    return sum;
  }
  WindowCounts window(std::uint16_t number) {
    WindowCounts sum;
    for (const CountsRow& row : store.counts({.kind = CountsKind::window, .of = number}))
      sum.merge(WindowCounts::parse(row.bytes).value());
    return sum;
  }

  TimeUs now = start;
  TimeUs epoch_opened_us = start - minute;
  double keep = 1;
  std::uint64_t ids = 0;
  bool more = false;
  std::string spool;
  Epoch epoch;
  DrainerOptions options;
  MemoryStore memory;
  Fragile store{memory};
  std::deque<TestLane> lanes;
  std::vector<DrainLane> drain;
  std::vector<TaskNames> names{[](std::uint32_t index) { return index == 0 ? std::string_view{"checks"} : ""; }};
  std::unique_ptr<Drainer> drainer;
};

constexpr Arm baseline = Arm::baseline;
constexpr Arm candidate = Arm::candidate;

}  // namespace

TEST_CASE("drainer: each entry is in the store once, whichever step fails and however often", "[control][drainer]") {
  std::mt19937_64 random{41};
  for (int round = 0; round != 60; ++round) {
    World world{1 + random() % 50};
    std::uint64_t recorded = 0;
    std::uint64_t units[2][2] = {};  // by arm: assigned, failed
    std::set<Point> seen;
    for (int step = 0; step != 60; ++step) {
      world.now += static_cast<TimeUs>(random() % (5 * second));
      for (std::uint64_t left = random() % 6; left != 0; --left) {
        const auto point = static_cast<Point>(random() % 40);
        const auto number = static_cast<std::uint16_t>(point % 2);
        const bool ok = random() % 3 != 0;
        const std::size_t lane = random() % 2;
        if (world.lanes[lane].next + 2 > world.lanes[lane].drained + 256) continue;
        world.now += 5'000;  // of one tick, lanes have no order
        world.request(point, number, ok, lane);
        ++recorded;
        if (!seen.insert(point).second) continue;
        ++units[number][0];
        if (!ok) ++units[number][1];
      }
      if (random() % 3 == 0) world.store.fault = static_cast<Fragile::Fault>(random() % 4);
      if (random() % 9 == 0) world.restart();
      (void)world.pass();
    }
    world.store.fault = Fragile::Fault::none;
    world.drain_all();
    REQUIRE(world.rows().size() == recorded);
    REQUIRE(world.window(0).count + world.window(1).count == recorded);
    const EvidenceCounts evidence = world.evidence();
    for (const Arm arm : {baseline, candidate}) {
      const auto number = static_cast<std::size_t>(arm);
      INFO("round " << round << " arm " << number);
      REQUIRE(evidence.of(CountedBy::unit, arm).assigned == units[number][0]);
      REQUIRE(evidence.of(CountedBy::unit, arm).settled == units[number][0]);
      REQUIRE(evidence.of(CountedBy::unit, arm).failed == units[number][1]);
      REQUIRE(evidence.of(CountedBy::request, arm).assigned == world.window(static_cast<std::uint16_t>(number)).count);
      REQUIRE(evidence.of(CountedBy::request, arm).failed == world.window(static_cast<std::uint16_t>(number)).errors);
    }
  }
}

TEST_CASE("drainer: a unit counts by its first assignment, not by its first outcome", "[control][drainer]") {
  World world;
  const std::uint64_t first = world.id();
  world.lanes[0].push(world.entry(EntryKind::assigned, first, 7, 1));
  world.request(7, 1, true);
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, candidate).assigned == 1);
  CHECK(world.evidence().of(CountedBy::unit, candidate).settled == 0);
  Entry late = world.entry(EntryKind::outcome, first, 7, 1);
  late.error = 1;
  world.lanes[1].push(late);
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, candidate).failed == 1);
}

TEST_CASE("drainer: an outcome on another lane waits for its assignment, however lanes are read",
          "[control][drainer]") {
  for (const std::size_t batch : {1u, 2u, 3u, 64u}) {
    World world{batch};
    std::uint64_t ids[20];
    for (int i = 0; i != 20; ++i) {
      ids[i] = world.id();
      // All of one tick, so that time tells nothing, the outcomes on the lane that is read first.
      world.lanes[1].push(world.entry(EntryKind::assigned, ids[i], static_cast<Point>(100 + i), 1));
    }
    for (int i = 0; i != 20; ++i)
      world.lanes[0].push(world.entry(EntryKind::outcome, ids[i], static_cast<Point>(100 + i), 1));
    world.drain_all();
    INFO("batch " << batch);
    CHECK(world.rows().size() == 20);
    CHECK(world.evidence().of(CountedBy::unit, candidate).settled == 20);
    CHECK(world.evidence().of(CountedBy::request, candidate).assigned == 20);
    CHECK(world.evidence().of(CountedBy::request, candidate).settled == 20);
    world.now += 20 * minute;
    world.drain_all();
    CHECK(world.evidence().of(CountedBy::request, candidate).missing == 0);
    CHECK(world.evidence().of(CountedBy::request, candidate).late == 0);
  }
}

TEST_CASE("drainer: an outcome whose assignment was dropped counts by request as one that was assigned",
          "[control][drainer]") {
  World world;
  world.lanes[0].push(world.entry(EntryKind::outcome, world.id(), 5, 1));
  world.drain_all();
  world.now += 20 * minute;
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::request, candidate).assigned == 1);
  CHECK(world.evidence().of(CountedBy::request, candidate).settled == 1);
  CHECK(world.evidence().of(CountedBy::unit, candidate).assigned == 0);
  CHECK(world.evidence().open().empty());
}

TEST_CASE("drainer: an outcome of what another server assigned is late here", "[control][drainer]") {
  World world;
  (void)world.id();
  const std::uint64_t foreign = InteractionId::at(InteractionId::cursor_at(world.now), 77);
  world.lanes[0].push(world.entry(EntryKind::outcome, foreign, 5, 1));
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::request, candidate).late == 1);
  CHECK(world.evidence().of(CountedBy::request, candidate).settled == 0);
}

TEST_CASE("drainer: whether a unit is of the sample hangs on no outcome, whichever was drained first",
          "[control][drainer]") {
  World world;
  world.request(0, 1);
  world.drain_all();
  {  // another server has so many units that every second of those to come is counted
    EvidenceCounts many;
    const std::uint64_t id = world.id();
    for (std::uint64_t i = 0; i != UnitSample::first; ++i) many.assign(CountedBy::unit, baseline, id);
    const auto delivery = world.store.begin(world.store.claim(std::string(32, 'b'), world.now));
    delivery->put({CountsKind::evidence, *world.store.find_task("checks"), 2, 2, 0, many.bytes()});
    delivery->commit({}, world.now);
  }
  world.restart();
  const std::uint64_t before = world.evidence().of(CountedBy::unit, candidate).assigned;
  std::uint64_t expected = 0;
  for (Point point = 1; point != 2'001; ++point) {
    const std::uint64_t id = world.id();
    world.lanes[1].push(world.entry(EntryKind::outcome, id, point, 1));
    if (point % 2 == 0) world.drain_all();  // before its assignment
    world.lanes[0].push(world.entry(EntryKind::assigned, id, point, 1));
    world.drain_all();
    expected += UnitSample::has(point, 1) ? 1 : 0;
  }
  CHECK(world.evidence().of(CountedBy::unit, candidate).assigned - before == expected);
}

TEST_CASE("drainer: an assignment without an outcome is a failure when its time is over, also after a restart",
          "[control][drainer]") {
  World world;
  const std::uint64_t lost = world.id();
  world.lanes[0].push(world.entry(EntryKind::assigned, lost, 9, 0));
  world.drain_all();
  world.now += 9 * minute;
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, baseline).missing == 0);
  world.restart();
  world.now += 3 * minute;
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, baseline).missing == 1);
  CHECK(world.evidence().of(CountedBy::request, baseline).missing == 1);
  world.lanes[0].push(world.entry(EntryKind::outcome, lost, 9, 0));
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, baseline).settled == 0);
  CHECK(world.evidence().of(CountedBy::unit, baseline).late == 1);
  CHECK(world.rows().size() == 1);
}

TEST_CASE("drainer: what is open when weights change is closed by its time all the same, also after a restart",
          "[control][drainer]") {
  World world;
  world.lanes[0].push(world.entry(EntryKind::assigned, world.id(), 9, 1));
  world.drain_all();
  world.restart();
  world.epoch.revision = 3;
  Entry next = world.entry(EntryKind::outcome, world.id(), 10, 1, 3);
  world.lanes[0].push(next);
  world.drain_all();
  world.now += 20 * minute;
  world.drain_all();
  std::uint64_t missing = 0;
  for (const CountsRow& row : world.store.counts({.kind = CountsKind::evidence, .from = 2, .to = 2}))
    missing += EvidenceCounts::parse(row.bytes).value().of(CountedBy::unit, candidate).missing;
  CHECK(missing == 1);
}

TEST_CASE("drainer: what a silent spool left open is closed by another, once", "[control][drainer]") {
  World world;
  world.lanes[0].push(world.entry(EntryKind::assigned, world.id(), 9, 1));
  world.drain_all();
  Drainer other{world.store, std::string(32, 'b'), world.options};
  std::vector<DrainLane> none;
  (void)other.contact(none, world.now);
  world.now += 15 * minute;
  other.close_silent(world.now);
  CHECK(world.evidence().of(CountedBy::unit, candidate).missing == 0);
  world.now += 10 * minute;
  other.close_silent(world.now);
  other.close_silent(world.now);
  CHECK(world.evidence().of(CountedBy::unit, candidate).missing == 1);
  world.request(11, 1);  // it was not dead: it goes on from what the other wrote
  world.drain_all();
  CHECK(world.evidence().of(CountedBy::unit, candidate).missing == 1);
  CHECK(world.evidence().of(CountedBy::unit, candidate).settled == 1);
}

TEST_CASE("drainer: a spool that is silent for a week is folded, once nothing of it is open", "[control][drainer]") {
  World world;
  constexpr TimeUs day = 24 * 60 * minute;
  world.request(8, 1);
  world.lanes[0].push(world.entry(EntryKind::assigned, world.id(), 9, 1));
  world.drainer->count_drops("checks", 5);
  world.drain_all();
  const SpoolRecord before = *world.drainer->record();
  std::vector<DrainLane> none;
  Drainer other{world.store, std::string(32, 'b'), world.options};
  const auto look = [&](TimeUs now_us) {
    (void)other.contact(none, world.now);
    other.close_silent(now_us);
    return world.store.spools().size();
  };
  world.options.task = [](std::string_view) { return DrainTask{1, 10 * day}; };
  Drainer patient{world.store, std::string(32, 'c'), world.options};
  (void)patient.contact(none, world.now);
  patient.close_silent(world.now + 9 * day);
  CHECK(world.store.claim(world.spool, world.now) == before);  // an outcome may still come
  const std::size_t spools = world.store.spools().size();
  CHECK(look(world.now + 6 * day) == spools + 1);  // closes what is open
  CHECK(look(world.now + 7 * day) == spools + 1);
  CHECK(look(world.now + 7 * day + minute) == 1);  // its own
  CHECK(world.store.counts({.serial = 0}).size() == 1);
  CHECK(world.store.counts({}).size() == 1);
  CHECK(world.window(1).count == 1);
  CHECK(world.evidence().of(CountedBy::unit, candidate).assigned == 2);
  CHECK(world.evidence().of(CountedBy::unit, candidate).missing == 1);
  const auto drops = [&] {
    std::uint64_t sum = 0;
    for (const CountsRow& row : world.store.counts({.kind = CountsKind::drops}))
      sum += detail::NumberReader{row.bytes}.take();
    return sum;
  };
  CHECK(drops() == 5);

  world.request(10, 1);  // it was not gone: it goes on under another serial
  world.drainer->count_drops("checks", 2);
  world.drain_all();
  CHECK(world.drainer->record()->serial > before.serial);
  CHECK(world.rows().size() == 2);
  CHECK(world.window(1).count == 2);
  CHECK(world.evidence().of(CountedBy::unit, candidate).assigned == 3);
  CHECK(drops() == 7);
}

TEST_CASE("drainer: a spool without entries shows once a day that it is there, and is not folded",
          "[control][drainer]") {
  World world;
  world.request(8, 1);
  world.drain_all();
  const SpoolRecord before = *world.drainer->record();
  Drainer other{world.store, std::string(32, 'b'), world.options};
  std::vector<DrainLane> none;
  for (int hour = 1; hour <= 24 * 10; ++hour) {
    world.now += 60 * minute;
    world.drain_all();
    (void)other.contact(none, world.now);
    if (hour % 24 == 0) other.close_silent(world.now);
  }
  const SpoolRecord after = world.store.claim(world.spool, world.now);
  CHECK(after.serial == before.serial);
  CHECK(after.generation - before.generation < 12);
  CHECK(after.lanes == before.lanes);
}

TEST_CASE("drainer: forced and fallback decisions, and those without an id, are rows but no evidence",
          "[control][drainer]") {
  World world;
  for (const Reason reason : {Reason::forced, Reason::fallback, Reason::tripped}) {
    Entry entry = world.entry(EntryKind::outcome, world.id(), 3, 1);
    entry.reason = reason;
    world.lanes[0].push(entry);
  }
  world.lanes[0].push(world.entry(EntryKind::outcome, 0, 3, 1));
  world.drain_all();
  CHECK(world.rows().size() == 4);
  CHECK(world.window(1).count == 4);
  CHECK(world.evidence() == EvidenceCounts{});
  for (const Interaction& row : world.rows()) CHECK(row.id != 0);
}

TEST_CASE("drainer: entries older than the epoch that their revision names are no evidence of it",
          "[control][drainer]") {
  World world;
  world.epoch_opened_us = start + minute;  // a restored store gave the revision out anew
  world.request(5, 1);
  world.drain_all();
  CHECK(world.rows().size() == 1);
  CHECK(world.evidence() == EvidenceCounts{});
}

TEST_CASE("drainer: a decision that is recorded twice counts once", "[control][drainer]") {
  World world;
  const std::uint64_t id = world.request(5, 1);
  world.drain_all();
  Entry again = world.entry(EntryKind::outcome, id, 5, 1);
  again.error = 1;
  world.lanes[0].push(again);
  world.lanes[0].push(again);
  world.drain_all();
  CHECK(world.rows().size() == 1);
  CHECK(world.window(1).count == 1);
  CHECK(world.window(1).errors == 0);
  CHECK(world.evidence().of(CountedBy::request, candidate).settled == 1);
  CHECK(world.drainer->totals().doubled == 2);
}

TEST_CASE("drainer: a sample of the rows is kept, and all are counted", "[control][drainer]") {
  World world;
  world.keep = 0.1;
  std::uint64_t recorded = 0;
  for (int i = 0; i != 200; ++i) {
    for (int each = 0; each != 40; ++each, ++recorded)
      world.lanes[0].push(world.entry(EntryKind::outcome, world.id(), 1, 0, 1));
    world.drain_all();
  }
  CHECK(world.window(0).count == recorded);
  const double kept = static_cast<double>(world.rows().size());
  CHECK(kept > 600);
  CHECK(kept < 1'000);
}

TEST_CASE("drainer: rows of counted units are kept whatever the sample says", "[control][drainer]") {
  World world;
  world.keep = 0;
  (void)world.id();
  world.now += second;
  world.request(1, 1);
  world.request(1, 1);
  world.drain_all();
  CHECK(world.rows().size() == 1);
  CHECK(world.window(1).count == 2);
}

TEST_CASE("drainer: a score that comes later joins its interaction, its window and its unit, once",
          "[control][drainer]") {
  World world;
  const auto score = [&](std::uint64_t id, std::uint32_t billionths) {
    Entry entry = world.entry(EntryKind::feedback, id, 0, 0);
    entry.score = billionths;
    world.lanes[1].push(entry);
  };
  const std::uint64_t early = world.id();
  score(early, 250'000'000);  // before its outcome is drained
  world.drain_all();
  CHECK(world.drainer->totals().feedback_refused == 0);
  world.lanes[0].push(world.entry(EntryKind::assigned, early, 5, 1));
  world.lanes[0].push(world.entry(EntryKind::outcome, early, 5, 1));
  const std::uint64_t id = world.request(6, 1);
  score(id, 500'000'000);  // in the batch of its outcome
  world.drain_all();
  world.now += minute;
  world.drain_all();
  const std::uint64_t other = world.request(5, 1);  // not the unit's first
  world.drain_all();
  score(other, score_one);
  score(id, score_one);  // it has had one
  world.drain_all();
  world.now += minute;
  world.request(8, 0);
  world.drain_all();
  std::map<std::uint64_t, std::uint32_t> scores;
  for (const Interaction& row : world.rows()) scores[row.id] = row.score;
  CHECK(scores[early] == 250'000'000);
  CHECK(scores[id] == 500'000'000);
  CHECK(scores[other] == score_one);
  CHECK(world.window(1).scored == 3);
  CHECK(world.window(1).score_sum == 1'750'000'000);
  CHECK(world.drainer->totals().feedback_refused == 1);
  std::uint64_t units = 0;
  std::uint64_t requests = 0;
  const EvidenceCounts evidence = world.evidence();
  for (const std::uint64_t bin : evidence.of(CountedBy::unit, candidate).score) units += bin;
  for (const std::uint64_t bin : evidence.of(CountedBy::request, candidate).score) requests += bin;
  CHECK(units == 2);
  CHECK(requests == 3);
}

TEST_CASE("drainer: a score whose interaction comes between the look and the transaction is counted",
          "[control][drainer]") {
  World world;
  const std::uint64_t id = world.id();
  World* server = &world;
  Drainer other{world.store, std::string(32, 'b'), world.options};
  TestLane lane{256};
  std::vector<DrainLane> lanes(1);
  lanes[0].cells = lane.cells.data();
  lanes[0].mask = lane.mask;
  Entry score = world.entry(EntryKind::feedback, id, 0, 0);
  score.score = 500'000'000;
  lane.push(score);
  world.store.before_begin = [server, id] {
    server->lanes[0].push(server->entry(EntryKind::assigned, id, 5, 1));
    server->lanes[0].push(server->entry(EntryKind::outcome, id, 5, 1));
    server->drain_all();
  };
  (void)other.pass(lanes, world.names, world.now);
  CHECK(world.rows().size() == 1);
  for (int looks = 0; looks != 3; ++looks) {
    world.now += minute;
    (void)other.pass(lanes, world.names, world.now);
  }
  CHECK(world.rows()[0].score == 500'000'000);
  CHECK(world.window(1).scored == 1);
  const EvidenceCounts evidence = world.evidence();
  std::uint64_t scored = 0;
  for (const std::uint64_t bin : evidence.of(CountedBy::unit, candidate).score) scored += bin;
  CHECK(scored == 1);
}

TEST_CASE("drainer: scores that wait for nobody keep none waiting behind them, and go after a day",
          "[control][drainer]") {
  World world;
  constexpr std::uint64_t hopeless = 1'500;
  const auto score = [&](std::uint64_t id) {
    Entry entry = world.entry(EntryKind::feedback, id, 0, 0);
    entry.score = 500'000'000;
    REQUIRE(world.lanes[1].push(entry));
  };
  for (std::uint64_t i = 0; i != hopeless; ++i) {
    score(world.id());
    if (i % 64 == 0) world.drain_all();
  }
  world.drain_all();
  world.now += second;
  const std::uint64_t early = world.id();
  score(early);
  world.drain_all();
  world.now += minute;
  world.drain_all();
  world.lanes[0].push(world.entry(EntryKind::outcome, early, 5, 1));
  world.drain_all();
  world.now += minute;
  world.drain_all();
  world.drain_all();
  REQUIRE(world.rows().size() == 1);
  CHECK(world.rows()[0].score == 500'000'000);
  CHECK(world.window(1).scored == 1);
  CHECK(world.drainer->totals().feedback_refused == 0);
  world.now += 24 * 60 * minute;
  world.drain_all();
  CHECK(world.drainer->totals().feedback_refused == hopeless);
  const int begun = world.store.begun;
  for (int i = 0; i != 5; ++i) {
    world.now += minute;
    world.drain_all();
  }
  CHECK(world.store.begun <= begun + 1);  // a last look
}

TEST_CASE("drainer: however many scores a batch has, their interactions are looked up at once", "[control][drainer]") {
  World world{1'000};
  std::vector<std::uint64_t> ids;
  for (int i = 0; i != 100; ++i) ids.push_back(world.request(static_cast<Point>(i), 1));
  world.drain_all();
  for (const std::uint64_t id : ids) {
    Entry entry = world.entry(EntryKind::feedback, id, 0, 0);
    entry.score = score_one;
    world.lanes[1].push(entry);
    world.lanes[0].push(entry);
  }
  const int looked_up = world.store.looked_up;
  world.drain_all();
  CHECK(world.store.looked_up == looked_up + 1);
  CHECK(world.window(1).scored == 100);
  CHECK(world.drainer->totals().feedback_refused == 100);
}

TEST_CASE("drainer: torn entries are dropped and counted, those around them are not", "[control][drainer]") {
  World world;
  for (int i = 0; i != 10; ++i) world.lanes[0].push(world.entry(EntryKind::outcome, world.id(), 1, 0, 1));
  world.lanes[0].cells[3].words[5] ^= 1;
  world.lanes[0].cells[6].stamp.store(0);  // a page that never reached the disk
  world.drain[0].finished = true;
  world.drain_all();
  CHECK(world.rows().size() == 8);
  CHECK(world.drainer->totals().torn == 2);
  CHECK(world.drain[0].drained());
}

TEST_CASE("drainer: drops are counted once, though the answer to their commit was lost", "[control][drainer]") {
  World world;
  const auto dropped = [&] {
    std::uint64_t sum = 0;
    for (const CountsRow& row : world.store.counts({.kind = CountsKind::drops}))
      sum += detail::NumberReader{row.bytes}.take();
    return sum;
  };
  world.drainer->count_drops("checks", 5);
  world.store.fault = Fragile::Fault::after_commit;
  CHECK_FALSE(world.pass());
  world.drain_all();
  CHECK(dropped() == 5);
  world.drainer->count_drops("checks", 2);
  world.store.fault = Fragile::Fault::before_commit;
  CHECK_FALSE(world.pass());
  world.drain_all();
  CHECK(dropped() == 7);
  world.restart();
  world.drainer->count_drops("checks", 1);
  world.drain_all();
  CHECK(dropped() == 8);
}

TEST_CASE("drainer: drops that are told while a commit's answer is open are counted too", "[control][drainer]") {
  World world;
  world.drainer->count_drops("checks", 5);
  world.store.fault = Fragile::Fault::after_commit;
  CHECK_FALSE(world.pass());
  world.drainer->count_drops("checks", 2);
  world.drainer->count_drops("risks", 3);
  world.drain_all();
  std::uint64_t sum = 0;
  for (const CountsRow& row : world.store.counts({.kind = CountsKind::drops}))
    sum += detail::NumberReader{row.bytes}.take();
  CHECK(sum == 10);
}

TEST_CASE("drainer: nothing to write is no transaction", "[control][drainer]") {
  World world;
  world.request(1, 1);
  world.drain_all();
  world.drain_all();
  const int begun = world.store.begun;
  for (int i = 0; i != 5; ++i) world.drain_all();
  CHECK(world.store.begun == begun);
}

}  // namespace drainer_test
