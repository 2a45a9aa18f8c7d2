// A pass of the guard, and what a store holds -> alerts: each kind begins and ends, nothing is told twice, no task hides
// another.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "canary/control/alert_round.hpp"
#include "canary/control/guard_pass.hpp"
#include "canary/control/time_text.hpp"
#include "guard_world.hpp"

namespace alert_round_test {

using namespace canary;
using namespace canary::test;

namespace {

constexpr TimeUs second = 1'000'000;
constexpr TimeUs minute = 60 * second;

/// So many requests of a window, of which so many failed.
std::string window_bytes(std::uint64_t count, std::uint64_t failed) {
  WindowCounts counts;
  counts.count = count;
  counts.errors = failed;
  return counts.bytes();
}

TaskConfig plain_task(const std::string& name) {
  TaskConfig task;
  task.name = name;
  return task;
}

/// The store of the guard's tests with its task `t`, a task `u` without a guard, and a round over both.
struct World : GuardWorld {
  explicit World(AlertsConfig config = {}, AlertRoundOptions options = {}) : round{std::move(config), options} {
    tasks.push_back(task);
    tasks.push_back(plain_task("u"));
  }

  [[nodiscard]] GuardPass judge() {
    GuardPassOptions options;
    options.clock = [this] { return now; };
    return guard_pass(store, *store.interactions(), std::vector{task}, options);
  }
  /// What a pass tells after so long, by kind and version or task: `drops t`, `drops over t`.
  std::vector<std::string> tell(TimeUs later_us = minute) { return tell(judge(), later_us); }
  std::vector<std::string> tell(const GuardPass& pass, TimeUs later_us) {
    now += later_us;
    last = round.of_pass(store, *store.interactions(), tasks, pass, now);
    std::vector<std::string> words;
    for (const Alert& each : last)
      words.push_back(std::string{to_text(each.kind)} + (each.resolved ? " over " : " ") +
                      (each.version.empty() ? each.task : each.version));
    return words;
  }
  void put_counts(CountsKind kind, const std::string& name, std::uint32_t of, std::uint32_t at,
                  const std::string& bytes, const std::string& spool = "7") {
    const auto to = store.interactions();
    const SpoolRecord claimed = to->claim(std::string(31, '0') + spool, now);
    const auto delivery = to->begin(claimed);
    REQUIRE(delivery);
    delivery->put({kind, delivery->task_number(name), of, at, 0, bytes});
    delivery->commit({}, now);
  }
  void put_drops(const std::string& name, std::uint64_t count) {
    std::string bytes;
    detail::put_number(bytes, count);
    put_counts(CountsKind::drops, name, 0, window_of(now), bytes);
  }
  /// A week and a day of a version, of whose last windows many more fail.
  void put_past(const std::string& name, std::uint32_t number, std::uint32_t bad_windows) {
    const std::uint32_t end = window_of(now - VersionPast::settle_us);
    const auto to = store.interactions();
    const SpoolRecord claimed = to->claim(std::string(31, '0') + "8", now);
    const auto delivery = to->begin(claimed);
    REQUIRE(delivery);
    const std::uint32_t of = delivery->task_number(name);
    for (std::uint32_t age = 1; age <= 8 * VersionPast::day_windows + 12; ++age)
      delivery->put({CountsKind::window, of, number, end - age, 0, window_bytes(200, age <= bad_windows ? 100 : 6)});
    delivery->commit({}, now);
  }

  AlertRound round;
  std::vector<TaskConfig> tasks;
  std::vector<Alert> last;
};

using Words = std::vector<std::string>;

/// A store of which some calls fail for some tasks.
class Broken final : public Store {
 public:
  explicit Broken(MemoryStore& store) : store_{store} {}
  StoreInfo info() override { return store_.info(); }
  std::vector<std::string> tasks() override { return store_.tasks(); }
  TaskRecord load(std::string_view task, const VersionFilter& filter) override {
    ++loads;
    if (task == broken) throw StoreError{how, "no sense in " + std::string{task}, "restore it"};
    if (away) throw StoreError{StoreErrc::unreachable, "away"};
    return store_.load(task, filter);
  }
  CommitResult commit(const Commit& change) override {
    if (!loses) return store_.commit(change);
    if (*loses == Loses::answer) (void)store_.commit(change);
    away = true;
    StoreError error{StoreErrc::unreachable, "the answer was lost"};
    error.unknown = true;
    throw error;
  }
  std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override {
    if (away) throw StoreError{StoreErrc::unreachable, "away"};
    return store_.history(task, filter);
  }
  std::vector<Job> jobs(const JobFilter& filter) override { return store_.jobs(filter); }
  std::optional<Job> find_job(std::string_view id) override { return store_.find_job(id); }
  CommitResult put_job(const Job& job) override { return store_.put_job(job); }
  std::unique_ptr<Follower> follow() override { return store_.follow(); }
  void read_all(const std::function<void(TaskContents&&)>& take) override { store_.read_all(take); }
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override { store_.replace_all(next); }
  std::unique_ptr<InteractionStore> interactions() override { return store_.interactions(); }
  std::uint32_t migrate() override { return 0; }

  enum class Loses : std::uint8_t { change, answer };
  std::optional<Loses> loses = {};  // of the next commit, after which it is away
  bool away = false;
  std::string broken;
  StoreErrc how = StoreErrc::corrupt;
  int loads = 0;

 private:
  MemoryStore& store_;
};

}  // namespace

TEST_CASE("alert round: a candidate that was taken back is told once, with the guard's reason", "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  CHECK(world.tell().empty());
  world.put(world.revision(), world.revision(), counts_of(99'000, 9'900, 1'000, 300));
  CHECK(world.tell() == Words{"rollback t@1"});
  CHECK(world.last[0].key == "rollback/t@1/" + std::to_string(world.revision()));
  CHECK(world.last[0].message.find("`ok`: share of successes 0.7 of 1000") != std::string::npos);
  CHECK(world.last[0].at_us == world.now);
  CHECK(world.tell().empty());
}

TEST_CASE("alert round: neither a dry run, nor an advance, nor a conflict is told as a rollback", "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  world.put(world.revision(), world.revision(), counts_of(99'000, 9'900, 1'000, 300));
  GuardPass pass = guard_pass(world.store, *world.store.interactions(), std::vector{world.task}, {.dry_run = true});
  REQUIRE(pass.acts.at(0).look.verdict.action == Action::rollback);
  CHECK(world.tell(pass, second).empty());
  pass.acts[0].conflict = true;
  CHECK(world.tell(pass, second).empty());
  pass.acts[0].conflict = false;
  pass.acts[0].acted = true;
  pass.acts[0].look.verdict.action = Action::advance;
  CHECK(world.tell(pass, second).empty());
}

TEST_CASE("alert round: a rollback whose answer was lost is told once, when the store is back and has it",
          "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  world.put(world.revision(), world.revision(), counts_of(99'000, 9'900, 1'000, 300));
  const std::string key = "rollback/t@1/" + std::to_string(world.revision() + 1);
  Broken store{world.store};
  LostActs lost;
  GuardPassOptions options;
  options.lost = &lost;
  const auto pass = [&](const std::vector<TaskConfig>& tasks) {
    world.now += minute;
    options.clock = [now = world.now] { return now; };
    const GuardPass made = guard_pass(store, *store.interactions(), tasks, options);
    return world.tell(made, 0);
  };
  const std::vector<TaskConfig> judged{world.task};
  const bool written = GENERATE(true, false);
  store.loses = written ? Broken::Loses::answer : Broken::Loses::change;
  CHECK(pass(judged).empty());
  REQUIRE(lost.size() == 1);
  const std::uint32_t revision = world.revision();
  CHECK(pass(judged) == Words{"store_degraded "});  // away for a minute
  CHECK(lost.size() == 1);
  store.loses.reset();
  store.away = false;
  if (written) {
    CHECK(pass({}) == Words{"rollback t@1"});  // though nothing is compared any more
    CHECK(world.revision() == revision);
  } else {
    CHECK(pass({}).empty());
    REQUIRE(lost.size() == 1);  // it may still come
    const Words told = pass(judged);
    CHECK(std::find(told.begin(), told.end(), "rollback t@1") != told.end());
  }
  CHECK(lost.empty());
  const auto is_back = [](const Alert& each) { return each.kind == AlertKind::rollback; };
  const auto back = std::find_if(world.last.begin(), world.last.end(), is_back);
  REQUIRE(back != world.last.end());
  CHECK(back->key == key);
  const Words told = pass(judged);
  CHECK(std::find(told.begin(), told.end(), "rollback t@1") == told.end());
}

TEST_CASE("alert round: an act that was lost is not told when somebody else's change came instead",
          "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  world.put(world.revision(), world.revision(), counts_of(99'000, 9'900, 1'000, 300));
  Broken store{world.store};
  LostActs lost;
  GuardPassOptions options;
  options.lost = &lost;
  options.clock = [&] { return world.now; };
  store.loses = Broken::Loses::change;
  (void)guard_pass(store, *store.interactions(), std::vector{world.task}, options);
  REQUIRE(lost.size() == 1);
  store.away = false;
  world.registry.canary("t", 1, 2 * percent, {.actor = "guard"});  // its name alone does not make it the same act
  CHECK(guard_pass(store, *store.interactions(), {}, options).acts.empty());
  CHECK(lost.empty());
}

TEST_CASE("alert round: records that contradict the split are told until their candidate has no share",
          "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  const std::uint32_t life = world.revision();
  world.put(life, life, counts_of(9'000, 900, 1'000, 100));  // a tenth, where a hundredth is right
  CHECK(world.tell() == Words{"sample_ratio t@1"});
  CHECK(world.tell(second).empty());
  GuardPass faulty;
  faulty.faults.push_back({"t", StoreError{StoreErrc::corrupt, "no sense"}});
  CHECK(world.tell(faulty, second).empty());  // not judged: it stands
  faulty.faults[0] = {"s", StoreError{StoreErrc::unreachable, "away"}};
  CHECK(world.tell(faulty, second).empty());  // perhaps left out
  world.registry.canary("t", 1, 0);
  CHECK(world.tell(second) == Words{"sample_ratio over t@1"});
  CHECK(world.tell(second).empty());
}

TEST_CASE("alert round: drops are told of every task, guarded or not, within a minute, and end", "[control][alert]") {
  World world;
  CHECK(world.tell().empty());
  world.put_drops("u", 5);
  CHECK(world.tell(59 * second).empty());  // not yet looked at again
  CHECK(world.tell(second) == Words{"drops u"});
  CHECK(world.tell().empty());
  CHECK(world.tell(80 * minute) == Words{"drops over u"});
}

TEST_CASE("alert round: a model near its shutdown is told, and that it is out of use", "[control][alert]") {
  World world;
  world.registry.register_version(
      "u", {.model = "old", .shutdown_date = time_text(world.now + 86'400 * 5 * second).substr(0, 10)});
  CHECK(world.tell().empty());  // nobody uses it
  world.registry.canary("u", 1, percent);
  CHECK(world.tell() == Words{"shutdown_near u@1"});
  CHECK(world.tell().empty());
  world.registry.canary("u", 1, 0);
  CHECK(world.tell() == Words{"shutdown_near over u@1"});
}

TEST_CASE("alert round: an ACTIVE version and the default are watched beside their past while they have traffic",
          "[control][alert]") {
  World world;
  world.put_past("u", 0, 12);
  world.put_past("t", 1, 12);
  CHECK(world.tell(second) == Words{"degradation u@default"});  // t@1 is a candidate
  CHECK(world.tell(second).empty());
  world.registry.promote("t", 1, 50 * percent);
  CHECK(world.tell() == Words{"degradation t@1"});
  world.put_past("t", 0, 12);
  CHECK(world.tell().empty());  // in this window it was looked at
  CHECK(world.tell(10 * minute) == Words{"degradation t@default"});
  world.registry.promote("t", 1);  // nothing is left for the default
  CHECK(world.tell() == Words{"degradation over t@default"});
  world.registry.promote("t", 2);
  CHECK(world.tell() == Words{"degradation over t@1"});
  CHECK(world.tell().empty());
}

TEST_CASE("alert round: where no false alarm is wanted, no past is read", "[control][alert]") {
  AlertsConfig config;
  config.degradation.false_alarm_days = 0;
  World world{config};
  world.put_past("u", 0, 12);
  CHECK(world.tell().empty());
  world.round.configure({});
  CHECK(world.tell(second) == Words{"degradation u@default"});
  world.round.configure(config);
  CHECK(world.tell(second) == Words{"degradation over u@default"});
  CHECK(world.tell(second).empty());
  world.round.configure({});
  CHECK(world.tell(second) == Words{"degradation u@default"});  // it is as it was
}

TEST_CASE("alert round: one pass looks at few tasks and pasts, and the others come with the next", "[control][alert]") {
  World world{{}, {.tasks_at_once = 2, .pasts_at_once = 1}};
  world.tasks.clear();
  const Words names{"a", "b", "c", "d", "e"};
  for (const std::string& each : names) {
    world.tasks.push_back(plain_task(each));
    world.put_drops(each, 1);
    world.put_past(each, 0, 12);
  }
  Words told;
  std::size_t most = 0;
  for (int pass = 0; pass != 6; ++pass) {
    const Words words = world.tell({}, second);
    most = std::max(most, words.size());
    told.insert(told.end(), words.begin(), words.end());
  }
  CHECK(most == 3);
  std::sort(told.begin(), told.end());
  Words all;
  for (const char* kind : {"degradation ", "drops "})
    for (const std::string& each : names)
      all.push_back(kind + each + (*kind == 'd' && kind[1] == 'e' ? "@default" : ""));
  CHECK(told == all);
  CHECK(world.tell({}, second).empty());
}

TEST_CASE("alert round: a task that cannot be read hides no other, and is told as trouble with the store",
          "[control][alert]") {
  World world;
  Broken store{world.store};
  const auto tell = [&](TimeUs later_us) {
    world.now += later_us;
    return world.round.of_pass(store, *store.interactions(), world.tasks, {}, world.now);
  };
  store.broken = "t";
  world.put_drops("u", 5);
  std::vector<Alert> told = tell(second);
  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == AlertKind::drops);
  CHECK(tell(29 * second).empty());
  told = tell(second);
  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == AlertKind::store_degraded);
  CHECK(told[0].message == "trouble with the store: no sense in t; restore it");
  CHECK(tell(minute).empty());
  store.broken.clear();
  CHECK(tell(minute).empty());  // well, but not for long enough
  told = tell(minute);
  REQUIRE(told.size() == 1);
  CHECK(told[0].resolved);
}

TEST_CASE("alert round: counts that make no sense are told without a flicker, and hide no other version",
          "[control][alert]") {
  World world;
  world.put_counts(CountsKind::window, "t", 0, window_of(world.now) - 3, "nonsense");
  world.put_past("u", 0, 12);
  CHECK(world.tell(second) == Words{"degradation u@default"});
  CHECK(world.tell(31 * second) == Words{"store_degraded "});
  for (int i = 0; i != 40; ++i) CHECK(world.tell(30 * second).empty());  // two windows
}

TEST_CASE("alert round: a store that does not answer is asked once in half a minute, and told after as long",
          "[control][alert]") {
  World world;
  Broken store{world.store};
  const auto tell = [&](TimeUs later_us) {
    world.now += later_us;
    return world.round.of_pass(store, *store.interactions(), world.tasks, {}, world.now);
  };
  store.broken = "t";
  store.how = StoreErrc::unreachable;
  CHECK(tell(second).empty());
  CHECK(store.loads == 1);  // u would wait as long
  for (int i = 0; i != 29; ++i) CHECK(tell(second).empty());
  CHECK(store.loads == 1);
  const std::vector<Alert> told = tell(second);
  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == AlertKind::store_degraded);
  CHECK(store.loads == 2);
  store.broken.clear();
  world.put_drops("u", 5);
  CHECK(tell(30 * second).at(0).kind == AlertKind::drops);
  CHECK(tell(minute).at(0).resolved);
}

TEST_CASE("alert round: a pass that could not reach the store asks it nothing more", "[control][alert]") {
  World world;
  Broken store{world.store};
  GuardPass away;
  away.faults.push_back({"t", StoreError{StoreErrc::unreachable, "no reply", "start it"}});
  const auto interactions = store.interactions();
  CHECK(world.round.of_pass(store, *interactions, world.tasks, away, world.now).empty());
  const auto told = world.round.of_pass(store, *interactions, world.tasks, away, world.now + 30 * second);
  CHECK(store.loads == 0);
  REQUIRE(told.size() == 1);
  CHECK(told[0].message == "trouble with the store: task t is not guarded: no reply; start it");
  CHECK(world.round.of_pass(store, *interactions, world.tasks, {}, world.now + 31 * second).empty());
  const auto over = world.round.of_pass(store, *interactions, world.tasks, {}, world.now + 91 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
}

TEST_CASE("alert round: what the rest of the process finds wrong with the store is told, passes or none",
          "[control][alert]") {
  std::vector<bool> remembered;
  AlertRoundOptions options{.place = "host"};
  options.remember_store = [&](bool stands) { remembered.push_back(stands); };
  AlertRound round{{}, options};
  MemoryStore store;
  CHECK(round.of_health("", 1).empty());
  CHECK(round.of_health("no reply", second).empty());
  CHECK(round.of_pass(store, *store.interactions(), {}, {}, 20 * second).empty());  // a good pass does not hide it
  const std::vector<Alert> told = round.of_health("no reply", 31 * second);
  REQUIRE(told.size() == 1);
  CHECK(told[0].key == "store_degraded/host");
  CHECK(told[0].message == "trouble with the store: no reply");
  CHECK(round.of_health("no reply", 40 * second).empty());
  CHECK(round.of_health("", 50 * second).empty());
  CHECK(remembered == std::vector<bool>{true});
  const std::vector<Alert> over = round.of_pass(store, *store.interactions(), {}, {}, 110 * second);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
  CHECK(remembered == std::vector<bool>{true, false});
  options.store_stood = true;  // as if it had been killed before
  AlertRound next{{}, options};
  CHECK(next.of_health("", 200 * second).empty());
  const std::vector<Alert> handed_on = next.of_pass(store, *store.interactions(), {}, {}, 260 * second);
  REQUIRE(handed_on.size() == 1);
  CHECK(handed_on[0].resolved);
  CHECK(handed_on[0].key == told[0].key);
  CHECK(remembered == std::vector<bool>{true, false, false});
}

TEST_CASE("alert round: what stood for a task is over when that leaves the configuration", "[control][alert]") {
  World world;
  world.registry.canary("t", 1, percent);
  const std::uint32_t life = world.revision();
  world.put(life, life, counts_of(9'000, 900, 1'000, 100));
  world.put_drops("t", 1);
  world.put_past("t", 0, 12);
  Words told = world.tell(second);
  std::sort(told.begin(), told.end());
  CHECK(told == Words{"degradation t@default", "drops t", "sample_ratio t@1"});
  world.tasks.erase(world.tasks.begin());
  told = world.tell({}, second);
  std::sort(told.begin(), told.end());
  CHECK(told == Words{"degradation over t@default", "drops over t", "sample_ratio over t@1"});
  CHECK(world.tell({}, minute).empty());
}

TEST_CASE("alert round: trouble with a task is over when that leaves the configuration", "[control][alert]") {
  World world;
  Broken store{world.store};
  store.broken = "t";
  const auto tell = [&](TimeUs later_us) {
    world.now += later_us;
    return world.round.of_pass(store, *store.interactions(), world.tasks, {}, world.now);
  };
  CHECK(tell(second).empty());
  CHECK(tell(31 * second).size() == 1);
  world.tasks.erase(world.tasks.begin());
  CHECK(tell(second).empty());
  const std::vector<Alert> over = tell(minute);
  REQUIRE(over.size() == 1);
  CHECK(over[0].resolved);
}

TEST_CASE("alert round: a clock that is set back holds up no look", "[control][alert]") {
  World world;
  CHECK(world.tell().empty());
  world.now -= 86'400 * second;
  world.put_drops("t", 1);
  CHECK(world.tell(second) == Words{"drops t"});
}

}  // namespace alert_round_test
