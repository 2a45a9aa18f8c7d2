#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/control/registry.hpp"

namespace registry_test {

using namespace canary;
using canary::test::Random;
using canary::test::soak_factor;

namespace {

constexpr TimeUs now = 1'795'368'929'000'000;  // 2026-11-22

/// A registry on a store of its own, at a time of its own.
struct Desk {
  TimeUs time = now;
  MemoryStore store;
  Registry registry{store, [this] { return time; }};

  std::uint32_t add(const std::string& model, const std::string& shutdown_date = {}) {
    NewVersion wanted;
    wanted.model = model;
    wanted.shutdown_date = shutdown_date;
    return registry.register_version("checks", wanted).changed.number;
  }
  [[nodiscard]] TaskRecord task() { return store.load("checks", {.all = true}); }
  [[nodiscard]] ModelVersion row(std::uint32_t number) { return version_of(task(), number); }
  [[nodiscard]] std::uint32_t default_ppm() { return detail::default_ppm(task()); }
  [[nodiscard]] std::vector<HistoryRow> history() { return store.history("checks", {}); }
};

std::uint32_t percent(std::uint32_t value) { return value * 10'000; }

template <class Call>
std::optional<RegistryErrc> error_of(Call call) {
  try {
    call();
    return {};
  } catch (const RegistryError& error) {
    return error.code;
  }
}

/// Every point that changed owner went from an owner that lost to one that gained.
void check_movement(const TaskRecord& before, const TaskRecord& after, const HistoryRow& row) {
  CHECK(row.points_moved == points_moved(before.partition, after.partition));
  CHECK(row.points_moved >= row.points_minimum);
}

}  // namespace

TEST_CASE("registry: a new version is a CANDIDATE at 0 % with the next number", "[control][registry]") {
  Desk desk;
  CHECK(desk.add("v1") == 1);
  CHECK(desk.add("v2") == 2);
  const TaskRecord task = desk.task();
  CHECK(task.revision == 2);
  CHECK(task.partition == Partition{});
  CHECK(task.versions[1].status == Status::candidate);
  CHECK(task.versions[1].weight_ppm == 0);
  CHECK(task.versions[1].created_at_us == now);
}

TEST_CASE("registry: canary trades with the base alone", "[control][registry]") {
  Desk desk;
  for (const char* model : {"v1", "v2", "v3"}) desk.add(model);
  desk.registry.canary("checks", 1, percent(10));  // no ACTIVE one: the default is the base
  CHECK(desk.default_ppm() == percent(90));
  desk.registry.promote("checks", 2, percent(60));
  CHECK(desk.row(2).weight_ppm == percent(60));
  const std::uint32_t first = desk.row(1).weight_ppm;
  const std::uint32_t rest = desk.default_ppm();
  desk.registry.canary("checks", 3, percent(5));  // now v2 is
  CHECK(desk.row(2).weight_ppm == percent(55));
  CHECK(desk.row(1).weight_ppm == first);
  CHECK(desk.default_ppm() == rest);
  const Change back = desk.registry.canary("checks", 3, 0);
  CHECK(desk.row(2).weight_ppm == percent(60));
  CHECK(back.row.points_moved == back.row.points_minimum);
}

TEST_CASE("registry: a share that the base cannot give is refused, with the largest possible named",
          "[control][registry]") {
  Desk desk;
  desk.add("v1");
  desk.add("v2");
  desk.registry.promote("checks", 1, percent(30));
  desk.registry.canary("checks", 2, percent(10));
  const TaskRecord before = desk.task();
  try {
    desk.registry.canary("checks", 2, percent(50));
    FAIL("it was given");
  } catch (const RegistryError& error) {
    CHECK(error.code == RegistryErrc::invalid);
    CHECK(std::string{error.what()}.find("30 % at most") != std::string::npos);
  }
  CHECK(desk.task() == before);
  CHECK_FALSE(error_of([&] { desk.registry.canary("checks", 2, percent(30)); }));
  CHECK(desk.row(1).weight_ppm == 0);
}

TEST_CASE("registry: promote below 100 % takes from everybody in proportion, the default too", "[control][registry]") {
  Desk desk;
  for (const char* model : {"v1", "v2", "v3"}) desk.add(model);
  desk.registry.canary("checks", 1, percent(20));
  desk.registry.canary("checks", 2, percent(40));
  desk.registry.promote("checks", 3, percent(50));
  CHECK(desk.row(1).weight_ppm == percent(10));
  CHECK(desk.row(2).weight_ppm == percent(20));
  CHECK(desk.row(3).weight_ppm == percent(50));
  CHECK(desk.default_ppm() == percent(20));
  CHECK(desk.row(3).status == Status::active);
  CHECK(desk.row(1).status == Status::candidate);
}

TEST_CASE("registry: a promotion that lowers a share gives nothing to versions past their shutdown date",
          "[control][registry]") {
  Desk desk;
  desk.add("v1");
  desk.add("v2", "2027-01-14");
  desk.add("v3", "2027-01-14");
  desk.registry.canary("checks", 1, percent(24));
  desk.registry.canary("checks", 2, percent(16));
  desk.registry.canary("checks", 3, percent(20));
  desk.time += 90LL * 86'400 * 1'000'000;
  desk.registry.promote("checks", 1, percent(9));
  CHECK(desk.row(1).weight_ppm == percent(9));
  CHECK(desk.row(2).weight_ppm == percent(16));
  CHECK(desk.row(3).weight_ppm == percent(20));
  CHECK(desk.default_ppm() == percent(55));
}

TEST_CASE("registry: a share over 100 % is refused", "[control][registry]") {
  Desk desk;
  desk.add("v1");
  for (const std::uint32_t ppm : {1'000'001u, 0xFFFF'FFFFu}) {
    CHECK(error_of([&] { desk.registry.promote("checks", 1, ppm); }) == RegistryErrc::invalid);
    CHECK(error_of([&] { desk.registry.canary("checks", 1, ppm); }) == RegistryErrc::invalid);
  }
}

TEST_CASE("registry: a rollback makes no task, and walks back over any number of changes", "[control][registry]") {
  Desk desk;
  CHECK(error_of([&] { desk.registry.rollback("bad\nname", 0); }) == RegistryErrc::not_found);
  CHECK(error_of([&] { desk.registry.rollback("checks", 0); }) == RegistryErrc::illegal_step);
  CHECK(desk.store.tasks().empty());
  desk.add("v1");
  desk.registry.canary("checks", 1, percent(10));
  for (int i = 0; i != 700; ++i) desk.registry.canary("checks", 1, percent(10));
  CHECK(desk.registry.rollback("checks").row.restores == 1);
}

TEST_CASE("registry: promote to 100 % takes everything and deprecates who was ACTIVE", "[control][registry]") {
  Desk desk;
  for (const char* model : {"v1", "v2", "v3"}) desk.add(model);
  desk.registry.promote("checks", 1, percent(60));
  desk.registry.canary("checks", 2, percent(5));
  const Change change = desk.registry.promote("checks", 3);
  CHECK(desk.row(3).weight_ppm == total_ppm);
  CHECK(desk.row(1).weight_ppm == 0);
  CHECK(desk.row(1).status == Status::deprecated);
  CHECK(desk.row(2).status == Status::candidate);
  CHECK(desk.default_ppm() == 0);
  CHECK(change.row.points_moved == change.row.points_minimum);
  desk.registry.promote("checks", 1, percent(10));  // DEPRECATED comes back by promote
  CHECK(desk.row(1).status == Status::active);
}

TEST_CASE("registry: a rollback of one version moves that version's keys and no others", "[control][registry]") {
  Desk desk;
  for (const char* model : {"v1", "v2", "v3"}) desk.add(model);
  for (std::uint32_t number = 1; number != 4; ++number) desk.registry.canary("checks", number, percent(10 * number));
  const TaskRecord before = desk.task();
  desk.registry.rollback_version("checks", 2);
  const TaskRecord after = desk.task();
  CHECK(version_of(after, 2).status == Status::deprecated);
  for (std::uint64_t point = 0; point < ring_points; point += 65'521) {
    const Owner was = before.partition.owner_at(static_cast<Point>(point));
    const Owner is = after.partition.owner_at(static_cast<Point>(point));
    if (was == 2)
      REQUIRE(is == default_owner);
    else
      REQUIRE(is == was);
  }
}

TEST_CASE("registry: a rollback of the task restores partition, shares and statuses, and said again goes further back",
          "[control][registry]") {
  Desk desk;
  desk.add("v1");
  desk.add("v2");
  std::vector<TaskRecord> stood{desk.task()};
  desk.registry.promote("checks", 1, percent(100));
  stood.push_back(desk.task());
  desk.registry.canary("checks", 2, percent(1));
  stood.push_back(desk.task());
  desk.registry.canary("checks", 2, percent(25));
  stood.push_back(desk.task());
  desk.registry.promote("checks", 2);
  for (std::size_t i = stood.size(); i-- != 0;) {
    const Change change = desk.registry.rollback("checks");
    const TaskRecord is = desk.task();
    CHECK(is.partition == stood[i].partition);
    CHECK(change.row.restores == stood[i].revision);
    for (std::size_t k = 0; k != 2; ++k) {
      CHECK(is.versions[k].status == stood[i].versions[k].status);
      CHECK(is.versions[k].weight_ppm == stood[i].versions[k].weight_ppm);
    }
  }
  CHECK(error_of([&] { desk.registry.rollback("checks"); }) == RegistryErrc::illegal_step);
}

TEST_CASE("registry: commands that move no traffic are no change that a rollback takes back", "[control][registry]") {
  Desk desk;
  desk.add("v1");
  desk.registry.canary("checks", 1, percent(10));
  desk.registry.canary("checks", 1, percent(20));
  desk.add("v2");
  desk.registry.canary("checks", 1, percent(20));  // takes a revision all the same
  CHECK(desk.task().revision == 5);
  CHECK(desk.registry.rollback("checks").row.restores == 2);
  CHECK(desk.row(1).weight_ppm == percent(10));
}

TEST_CASE("registry: a rollback to a revision restores that one, and the next goes back from there",
          "[control][registry]") {
  Desk desk;
  desk.add("v1");
  for (const std::uint32_t share : {1u, 5u, 10u, 25u}) desk.registry.canary("checks", 1, percent(share));
  desk.registry.rollback("checks", 3);
  CHECK(desk.row(1).weight_ppm == percent(5));
  desk.registry.rollback("checks");
  CHECK(desk.row(1).weight_ppm == percent(1));
  desk.registry.rollback("checks", 0);
  CHECK(desk.task().partition == Partition{});
  CHECK(error_of([&] { desk.registry.rollback("checks", 99); }) == RegistryErrc::not_found);
}

TEST_CASE("registry: what cannot be restored is refused and changes nothing", "[control][registry]") {
  Desk desk;
  desk.add("v1", "2027-01-14");
  desk.add("v2");
  desk.registry.canary("checks", 1, percent(10));
  desk.registry.rollback_version("checks", 1);
  SECTION("an archived version had a share") { desk.registry.archive("checks", 1); }
  SECTION("a version past its shutdown date had a share") { desk.time += 90LL * 86'400 * 1'000'000; }
  const TaskRecord before = desk.task();
  CHECK(error_of([&] { desk.registry.rollback("checks"); }) == RegistryErrc::illegal_step);
  CHECK(desk.task() == before);
}

TEST_CASE("registry: a version past its shutdown date gains no traffic, and may lose it", "[control][registry]") {
  Desk desk;
  desk.add("v1", "2027-01-14");
  desk.add("v2");
  desk.registry.promote("checks", 1, percent(50));
  desk.registry.canary("checks", 2, percent(10));
  desk.time = 1'799'884'799'999'999;  // the last moment of 2027-01-13
  CHECK_FALSE(error_of([&] { desk.registry.canary("checks", 2, percent(9)); }));
  desk.time += 1;
  CHECK(error_of([&] { desk.registry.canary("checks", 1, percent(60)); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.promote("checks", 1); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.canary("checks", 2, percent(8)); }) == RegistryErrc::illegal_step);
  CHECK_FALSE(error_of([&] { desk.registry.canary("checks", 2, percent(10)); }));
  const std::uint32_t expired = desk.row(1).weight_ppm;
  desk.registry.rollback_version("checks", 2);  // must always be possible: the default takes it
  CHECK(desk.row(1).weight_ppm == expired);
  CHECK(desk.default_ppm() == total_ppm - expired);
}

TEST_CASE("registry: illegal steps are refused and leave no trace", "[control][registry]") {
  Desk desk;
  desk.add("v1");
  desk.add("v2");
  desk.registry.canary("checks", 1, percent(10));
  const TaskRecord before = desk.task();
  CHECK(error_of([&] { desk.registry.deprecate("checks", 1); }) == RegistryErrc::illegal_step);  // has traffic
  CHECK(error_of([&] { desk.registry.archive("checks", 1); }) == RegistryErrc::illegal_step);
  CHECK(error_of([&] { desk.registry.archive("checks", 2); }) == RegistryErrc::illegal_step);  // CANDIDATE
  CHECK(error_of([&] { desk.registry.canary("checks", 3, 1); }) == RegistryErrc::not_found);
  CHECK(error_of([&] { desk.registry.canary("other", 1, 1); }) == RegistryErrc::not_found);
  CHECK(desk.task() == before);
  CHECK(desk.history().size() == 3);
  desk.registry.deprecate("checks", 2);
  CHECK(error_of([&] { desk.registry.canary("checks", 2, 1); }) == RegistryErrc::illegal_step);
  desk.registry.archive("checks", 2);
  for (const Step step : {Step::promote, Step::deprecate})
    CHECK(error_of([&] {
            step == Step::promote ? desk.registry.promote("checks", 2) : desk.registry.deprecate("checks", 2);
          }) == RegistryErrc::illegal_step);
}

TEST_CASE("registry: texts that no row could hold are refused in words", "[control][registry]") {
  Desk desk;
  const auto model = [&](std::string name) { return error_of([&] { desk.add(name); }); };
  CHECK(model("") == RegistryErrc::invalid);
  CHECK(model("a\nb") == RegistryErrc::invalid);
  CHECK(model(std::string{"a\0b", 3}) == RegistryErrc::invalid);
  CHECK(model("\xFF") == RegistryErrc::invalid);
  CHECK(model("v1\u200B") == RegistryErrc::invalid);  // would look like v1
  CHECK(model("\u202Eevil") == RegistryErrc::invalid);
  CHECK(error_of([&] {
          desk.registry.register_version("checks", {.model = "v", .note = std::string{"a\0b", 3}});
        }) == RegistryErrc::invalid);
  CHECK(model(std::string(10'000, 'x')) == RegistryErrc::invalid);
  CHECK_FALSE(model("it's \"quoted\"; DROP TABLE tasks; -- \U0001F600"));
  CHECK(error_of([&] { desk.add("v", "tomorrow"); }) == RegistryErrc::invalid);
  CHECK(error_of([&] { desk.registry.canary("checks", 1, 1, {.note = std::string(20'000, 'x')}); }) ==
        RegistryErrc::invalid);
  CHECK_FALSE(error_of([&] { desk.registry.canary("checks", 1, 1, {.note = "two\nlines"}); }));
  CHECK(desk.history().size() == 2);
}

TEST_CASE("registry: a dry run answers as the change would, and changes nothing", "[control][registry]") {
  Desk desk;
  desk.add("v1");
  const TaskRecord before = desk.task();
  const Change tried = desk.registry.canary("checks", 1, percent(10), {.dry_run = true});
  CHECK(desk.task() == before);
  const Change done = desk.registry.canary("checks", 1, percent(10));
  CHECK(tried.row == done.row);
  CHECK(tried.changed == done.changed);
}

TEST_CASE("registry: after any commands weights sum to 100 %, rows have no gap, and every movement is the least",
          "[control][registry]") {
  const int rounds = 300 * soak_factor();
  for (int round = 0; round != rounds; ++round) {
    Random random{static_cast<std::uint64_t>(round)};
    Desk desk;
    for (int i = 0; i != 5; ++i) desk.add("v" + std::to_string(i), i % 2 == 0 ? "" : "2027-01-14");
    for (int step = 0; step != 40; ++step) {
      if (step == 25) desk.time += 90LL * 86'400 * 1'000'000;  // two models are shut down
      const TaskRecord before = desk.task();
      const std::uint32_t number = 1 + random.below(5);
      const std::uint32_t ppm = random.below(3) == 0 ? percent(random.below(101)) : random.below(total_ppm + 1);
      const std::uint32_t kind = random.below(8);
      const std::optional<RegistryErrc> error = error_of([&] {
        if (kind < 3) desk.registry.canary("checks", number, ppm);
        if (kind == 3) desk.registry.promote("checks", number, ppm);
        if (kind == 4) desk.registry.promote("checks", number);
        if (kind == 5) desk.registry.rollback("checks");
        if (kind == 6) desk.registry.rollback_version("checks", number);
        if (kind == 7) desk.registry.deprecate("checks", number);
      });
      const TaskRecord after = desk.task();
      if (error) {
        REQUIRE(after == before);
        continue;
      }
      REQUIRE(after.revision == before.revision + 1);
      REQUIRE(after.partition.valid());
      for (const ModelVersion& row : after.versions) {
        REQUIRE(row.weight_ppm == detail::Draft::weight_in(after.partition, row.number));
        if (past_shutdown(row, desk.time)) REQUIRE(row.weight_ppm <= version_of(before, row.number).weight_ppm);
      }
      const HistoryRow row = desk.history().back();
      REQUIRE(row.revision == after.revision);
      REQUIRE(row.partition == after.partition);
      check_movement(before, after, row);
      if (kind != 5) REQUIRE(row.points_moved == row.points_minimum);
      if (kind < 3) {  // the two that trade, and nobody else
        std::size_t changed = 0;
        for (std::size_t i = 0; i != after.versions.size(); ++i)
          changed += after.versions[i].weight_ppm != before.versions[i].weight_ppm;
        REQUIRE(changed <= 2);
      }
    }
  }
}

TEST_CASE("registry: changes that race are all in history once, in some order", "[control][registry]") {
  Desk desk;
  for (int i = 0; i != 4; ++i) desk.add("v" + std::to_string(i));
  std::vector<std::thread> threads;
  for (std::uint32_t number = 1; number != 5; ++number)
    threads.emplace_back([&desk, number] {
      Registry registry{desk.store};
      for (std::uint32_t i = 0; i != 250; ++i)
        (void)registry.canary("checks", number, i * 100, {.note = std::to_string(number) + '/' + std::to_string(i)});
    });
  for (std::thread& thread : threads) thread.join();
  const std::vector<HistoryRow> rows = desk.history();
  REQUIRE(rows.size() == 1'004);
  std::set<std::string> notes;
  for (std::size_t i = 0; i != rows.size(); ++i) {
    REQUIRE(rows[i].revision == i + 1);
    if (i >= 4) REQUIRE(notes.insert(rows[i].note).second);
  }
}

TEST_CASE("registry: a rollback is not tried again on somebody else's change", "[control][registry]") {
  /// Lets somebody else in before the first commit.
  class Interrupted final : public Store {
   public:
    explicit Interrupted(MemoryStore& store) : store_{store} {}
    StoreInfo info() override { return store_.info(); }
    std::vector<std::string> tasks() override { return store_.tasks(); }
    TaskRecord load(std::string_view task, const VersionFilter& filter) override { return store_.load(task, filter); }
    CommitResult commit(const Commit& change) override {
      if (!std::exchange(done_, true)) (void)Registry{store_}.canary("checks", 1, percent(33));
      return store_.commit(change);
    }
    std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override {
      return store_.history(task, filter);
    }
    std::vector<Job> jobs(const JobFilter& filter) override { return store_.jobs(filter); }
    std::optional<Job> find_job(std::string_view id) override { return store_.find_job(id); }
    CommitResult put_job(const Job& job) override { return store_.put_job(job); }
    std::unique_ptr<Follower> follow() override { return store_.follow(); }
    std::unique_ptr<InteractionStore> interactions() override { return store_.interactions(); }
    void read_all(const std::function<void(TaskContents&&)>& take) override { store_.read_all(take); }
    void replace_all(const std::function<std::optional<TaskContents>()>& next) override { store_.replace_all(next); }
    std::uint32_t migrate() override { return 0; }

   private:
    MemoryStore& store_;
    bool done_ = false;
  };
  Desk desk;
  desk.add("v1");
  desk.registry.canary("checks", 1, percent(10));
  {
    Interrupted store{desk.store};
    CHECK(error_of([&] { Registry{store}.rollback("checks"); }) == RegistryErrc::conflict);
    CHECK(desk.row(1).weight_ppm == percent(33));
  }
  Interrupted store{desk.store};
  CHECK_FALSE(error_of([&] { Registry{store}.canary("checks", 1, percent(50)); }));  // means the same whoever was first
  CHECK(desk.row(1).weight_ppm == percent(50));
}

TEST_CASE("registry: every change of weights opens an epoch, and nothing else does", "[control][registry]") {
  Desk desk;
  const auto epoch = [&] { return parse_epoch(desk.task().epoch); };
  desk.add("v1");
  desk.add("v2");
  CHECK(desk.task().epoch.empty());
  desk.registry.canary("checks", 1, percent(10));
  REQUIRE(epoch());
  CHECK(epoch()->revision == 3);
  CHECK(epoch()->baseline == 0);
  REQUIRE(epoch()->candidates.size() == 1);
  CHECK(epoch()->candidates[0].number == 1);
  CHECK(epoch()->candidates[0].since == 3);
  CHECK(epoch()->candidates[0].points + epoch()->baseline_points == ring_points);
  desk.registry.canary("checks", 2, percent(5));
  desk.registry.canary("checks", 1, percent(20));  // its life goes on
  CHECK(epoch()->revision == 5);
  REQUIRE(epoch()->candidates.size() == 2);
  CHECK(epoch()->candidates[0].since == 3);
  CHECK(epoch()->candidates[1].since == 4);
  const std::string before = desk.task().epoch;
  desk.registry.canary("checks", 1, percent(20));  // no change of weights
  CHECK(desk.task().epoch == before);
  CHECK(desk.history().back().epoch.empty());
  desk.registry.canary("checks", 1, 0);
  desk.registry.canary("checks", 1, percent(1));  // from 0 % a new life begins
  CHECK(epoch()->find(1)->since == 8);
  CHECK(epoch()->find(2)->since == 4);
  desk.registry.promote("checks", 2);
  CHECK(epoch()->baseline == 2);
  CHECK(epoch()->candidates.empty());
  desk.registry.rollback("checks");
  CHECK(epoch()->baseline == 0);
  CHECK(epoch()->find(1)->since == 10);
  CHECK(desk.history()[3].epoch != desk.history()[4].epoch);
}

TEST_CASE("registry: an epoch freezes what its baseline did in the week before", "[control][registry]") {
  Desk desk;
  desk.add("v1");
  const std::unique_ptr<InteractionStore> store = desk.store.interactions();
  const SpoolRecord spool = store->claim(std::string(32, 'a'), now);
  {
    const std::unique_ptr<Delivery> delivery = store->begin(spool);
    const std::uint32_t task = delivery->task_number("checks");
    const auto put = [&](std::uint32_t number, TimeUs at_us, std::uint8_t error, std::uint32_t latency_us) {
      WindowCounts counts;
      for (int i = 0; i != 100; ++i) {
        Interaction row;
        row.error = i < 10 ? error : 0;
        row.latency_us = latency_us;
        counts.add(row);
      }
      delivery->put({CountsKind::window, task, number, window_of(at_us), 0, counts.bytes()});
    };
    put(0, now - 3'600'000'000, 1, 1'000);
    put(1, now - 3'600'000'000, 0, 9'000);                 // another version
    put(0, now - 8 * 86'400'000'000LL, 1, 1'000'000'000);  // too long ago
    delivery->commit({}, now);
  }
  ChangeOptions options;
  options.latency_margins = {0.5};
  desk.registry.canary("checks", 1, percent(10), options);
  const std::optional<Epoch> epoch = parse_epoch(desk.task().epoch);
  REQUIRE(epoch);
  CHECK(epoch->frozen.outcomes == 100);
  CHECK(epoch->frozen.success_mean == 0.9);
  REQUIRE(epoch->frozen.latency_us.size() == 2);
  CHECK(epoch->frozen.latency_us[1] - epoch->frozen.latency_us[0] == 500);
}

TEST_CASE("registry: version ids are written one way", "[control][registry]") {
  const auto number = [](std::string_view id) {
    const auto parsed = parse_version_id(id);
    return parsed ? parsed->number : 0;
  };
  CHECK(number("checks@1") == 1);
  CHECK(number("a.b-c_D@65000") == 65'000);
  for (const char* id : {"checks", "@1", "checks@", "checks@0", "checks@01", "checks@+1", "checks@1 ", "checks@65001",
                         "a@b@1", "checks@default", "checks@99999999999999999999"}) {
    INFO(id);
    CHECK(number(id) == 0);
  }
}

}  // namespace registry_test
