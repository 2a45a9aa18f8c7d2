// store_contract.hpp: what every store promises. A store joins with one source file:
//
//   class MyPlace {                                                  // a fresh, empty place, gone at the end;
//    public:                                                         // SKIP() in the constructor where there can be none
//     [[nodiscard]] std::unique_ptr<canary::Store> open();           // two of them are two processes at the same place
//   };
//   #define CANARY_STORE_PLACE MyPlace
//   #include "store_contract.hpp"
#pragma once

#ifndef CANARY_STORE_PLACE
#error "define CANARY_STORE_PLACE as the class that makes stores"
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/control/store.hpp"
#include "canary/core/partition.hpp"
#include "store_helpers.hpp"

namespace {

using namespace store_test;
using canary::Follower;
using canary::StoreDelta;
using canary::StorePosition;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Whatever a text column must carry.
const std::string awkward =
    "\xF0\x9F\x90\xA4 'single' \"double\" `back` \\slash\\ line\nbreak\r\n\ttab ; DROP TABLE versions; -- %s $1 ?1 {}";

}  // namespace

TEMPLATE_TEST_CASE("store: a fresh one is empty", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  CHECK(store->tasks().empty());
  const TaskRecord unknown = load_all(*store, "nobody");
  CHECK(unknown.name == "nobody");
  CHECK(unknown.revision == 0);
  CHECK(unknown.version_count == 0);
  CHECK(unknown.partition == canary::Partition{});
  CHECK(unknown.versions.empty());
  CHECK(store->history("nobody", {}).empty());
  CHECK(everything_in(*store).empty());
  const StoreDelta delta = store->follow()->changes({});
  CHECK(delta.everything);
  CHECK(delta.tasks.empty());
}

TEMPLATE_TEST_CASE("store: it says what it is, and two at one place agree", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto one = place.open();
  const auto two = place.open();
  const canary::StoreInfo info = one->info();
  CHECK_FALSE(info.place.empty());
  CHECK_FALSE(info.engine.empty());
  CHECK(info.schema == info.program_schema);
  CHECK(info.token == two->info().token);
  CHECK(info.token == two->follow()->changes({}).position.token);
  CHECK(one->migrate() == info.schema);  // there is nothing to do
  CHECK(two->info().schema == info.schema);
}

TEMPLATE_TEST_CASE("store: a change is read back field for field", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto writer = place.open();
  const auto reader = place.open();
  change(*writer, "checks", {version_of(1, 0)});

  ModelVersion row = version_of(2, 123'456, Status::active);
  row.model = "ft:gpt-4o-mini:org::" + repeated("m", 10'000);
  row.provider = "openai " + awkward;
  row.note = awkward;
  row.created_at_us = 1'753'600'000'123'456;
  row.changed_at_us = -1;
  row.shutdown_date = "2027-01-14";
  row.lineage = {"ftjob-1", std::string(64, 'a'), "gpt-4o-mini", awkward};
  Commit change = change_to(load_all(*writer, "checks"), {row});
  change.row.at_us = 1'753'600'000'654'321;
  change.row.actor = "ada@example.com " + awkward;
  change.row.action = "promote";
  change.row.number = 2;
  change.row.note = repeated("\xC3\xA9", 10'000);
  change.row.restores = 1;
  change.row.status_changes = {{1, Status::candidate, Status::deprecated}, {2, Status::candidate, Status::active}};
  change.row.evidence = R"({"e_value": 20.5, "why": "\u00e9 ' \""})";
  change.row.epoch = "2|0:3865470566|2:429496730:2|0 0.5 0.5 0.25 0 0.5 0.25| " + awkward;
  change.row.rollouts = "2 running 0 1753600000654321 10000,1000000 " + awkward;
  REQUIRE(writer->commit(change) == CommitResult::done);

  const TaskRecord task = load_all(*reader, "checks");
  CHECK(task.name == "checks");
  CHECK(task.revision == 2);
  CHECK(task.version_count == 2);
  CHECK(task.partition == change.row.partition);
  REQUIRE(task.versions.size() == 2);
  CHECK(task.versions[0] == version_of(1, 0));
  CHECK((task.versions[1] == row));
  CHECK(task.epoch == change.row.epoch);
  CHECK(task.rollouts == change.row.rollouts);
  const auto history = reader->history("checks", {});
  REQUIRE(history.size() == 2);
  CHECK((history[1] == change.row));
  CHECK(reader->tasks() == std::vector<std::string>{"checks"});
}

TEMPLATE_TEST_CASE("store: a task keeps the epoch that was opened last", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto next = [&](std::uint32_t weight_ppm, const std::string& epoch) {
    Commit change = change_to(load_all(*store, "checks"), {version_of(1, weight_ppm)});
    change.row.epoch = epoch;
    REQUIRE(store->commit(change) == CommitResult::done);
    return store->load("checks", {}).epoch;
  };
  CHECK(next(0, "").empty());
  CHECK(next(1, "first") == "first");
  CHECK(next(1, "") == "first");  // weights stood still
  CHECK(next(2, "second") == "second");
  std::vector<std::string> epochs;
  for (const HistoryRow& row : store->history("checks", {})) epochs.push_back(row.epoch);
  CHECK(epochs == std::vector<std::string>{"", "first", "", "second"});
  change(*store, "others", {version_of(1, 1)});
  CHECK(load_all(*store, "others").epoch.empty());
}

TEMPLATE_TEST_CASE("store: a task keeps the rollouts that were written last", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto next = [&](std::uint32_t weight_ppm, const std::string& rollouts) {
    Commit change = change_to(load_all(*store, "checks"), {version_of(1, weight_ppm)});
    change.row.rollouts = rollouts;
    REQUIRE(store->commit(change) == CommitResult::done);
    return store->load("checks", {}).rollouts;
  };
  CHECK(next(0, "").empty());
  CHECK(next(1, "first") == "first");
  CHECK(next(2, "") == "first");  // a change of none
  CHECK(next(2, "second") == "second");
  std::vector<std::string> rollouts;
  for (const HistoryRow& row : store->history("checks", {})) rollouts.push_back(row.rollouts);
  CHECK(rollouts == std::vector<std::string>{"", "first", "", "second"});
  CHECK(load_all(*store, "checks").epoch.empty());
  change(*store, "others", {version_of(1, 1)});
  CHECK(load_all(*store, "others").rollouts.empty());
}

TEMPLATE_TEST_CASE("store: a version's row is replaced whole, and every status is kept", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  ModelVersion row = version_of(1, 5'000);
  row.note = "before";
  row.lineage.job = "job";
  change(*store, "checks", {row});
  for (const Status status : {Status::active, Status::deprecated, Status::archived}) {
    row = version_of(1, 0, status);
    row.model = std::string{"now "} + std::string{to_string(status)};
    change(*store, "checks", {row});
    CHECK(load_all(*store, "checks").versions.at(0) == row);
  }
}

TEMPLATE_TEST_CASE("store: task names are bytes, sorted as bytes", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  for (const std::string_view name : {"b", "a_b", "B", "a-b", "\xC3\xA9", "a.b", "a", "a'b\"--"})
    change(*store, name, {version_of(1, 0)});
  CHECK(store->tasks() == std::vector<std::string>{"B", "a", "a'b\"--", "a-b", "a.b", "a_b", "b", "\xC3\xA9"});
  CHECK(load_all(*store, "A").revision == 0);
}

TEMPLATE_TEST_CASE("store: a change against another revision is a conflict and writes nothing", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto one = place.open();
  const auto two = place.open();
  const Commit first_of_two = change_to(load_all(*two, "checks"), {version_of(1, 400'000)});
  change(*one, "checks", {version_of(1, 100'000)});
  const auto follower = two->follow();
  const StorePosition position = follower->changes({}).position;
  const auto before = everything_in(*one);

  CHECK(two->commit(first_of_two) == CommitResult::conflict);
  TaskRecord ahead = load_all(*one, "checks");
  ahead.revision = 7;
  CHECK(two->commit(change_to(ahead, {version_of(2, 1)})) == CommitResult::conflict);
  ahead.name = "unknown";
  CHECK(two->commit(change_to(ahead, {version_of(2, 1)})) == CommitResult::conflict);

  CHECK(same(everything_in(*one), before));
  CHECK(follower->changes(position).tasks.empty());
  CHECK(follower->changes(position).position == position);
}

TEMPLATE_TEST_CASE("store: of two that race, each change that was done stands in history once, without a gap",
                   "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  constexpr int changes_each = 100;
  std::atomic<int> conflicts{0};
  std::atomic<int> failures{0};
  const auto work = [&](const std::string& who) {
    try {
      const auto store = place.open();
      for (int i = 0; i != changes_each;) {
        const TaskRecord now = load_all(*store, "checks");
        const auto weight_ppm = static_cast<std::uint32_t>(1'000 * (i + 1));
        const std::string note = who + std::to_string(i);
        if (store->commit(change_to(now, {version_of(1, weight_ppm)}, note)) == CommitResult::done)
          ++i;
        else
          ++conflicts;
      }
    } catch (const std::exception&) {
      ++failures;
    }
  };
  std::thread other{work, "other "};
  work("one ");
  other.join();
  CHECK(failures == 0);
  INFO(conflicts << " conflicts");

  const auto store = place.open();
  const auto history = store->history("checks", {});
  REQUIRE(history.size() == 2 * changes_each);
  std::set<std::string> notes;
  for (std::size_t i = 0; i != history.size(); ++i) {
    CHECK(history[i].revision == i + 1);
    notes.insert(history[i].note);
  }
  CHECK(notes.size() == 2 * changes_each);
  CHECK(load_all(*store, "checks").revision == 2 * changes_each);
  CHECK(load_all(*store, "checks").partition == history.back().partition);
}

TEMPLATE_TEST_CASE("store: load brings the versions in play, those named, or all", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 100'000)});
  change(*store, "checks", {version_of(2, 0, Status::active)});
  change(*store, "checks", {version_of(3, 0, Status::deprecated)});
  change(*store, "checks", {version_of(4, 0)});
  change(*store, "checks", {version_of(5, 50'000, Status::active)});
  change(*store, "others", {version_of(1, 100'000)});
  const auto numbers = [&](const canary::VersionFilter& filter) {
    const TaskRecord task = store->load("checks", filter);
    CHECK(task.revision == 5);
    CHECK(task.version_count == 5);
    std::vector<std::uint32_t> found;
    for (const ModelVersion& each : task.versions) found.push_back(each.number);
    return found;
  };
  using Numbers = std::vector<std::uint32_t>;
  CHECK(numbers({}) == Numbers{1, 2, 5});
  CHECK(numbers({.numbers = {4, 99, 0}}) == Numbers{1, 2, 4, 5});
  CHECK(numbers({.numbers = {2, 1, 2}}) == Numbers{1, 2, 5});
  CHECK(numbers({.in_play = false, .numbers = {4, 1}}) == Numbers{1, 4});
  CHECK(numbers({.in_play = false}) == Numbers{});
  CHECK(numbers({.in_play = false, .numbers = {3}, .all = true}) == Numbers{1, 2, 3, 4, 5});
}

TEMPLATE_TEST_CASE("store: history brings a range, or the newest of it, oldest first", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  for (std::uint32_t i = 1; i <= 6; ++i) change(*store, "checks", {version_of(1, i * 1'000)});
  const auto revisions = [&](const canary::HistoryFilter& filter) {
    std::vector<std::uint32_t> found;
    for (const HistoryRow& row : store->history("checks", filter)) found.push_back(row.revision);
    return found;
  };
  using Revisions = std::vector<std::uint32_t>;
  CHECK(revisions({}) == Revisions{1, 2, 3, 4, 5, 6});
  CHECK(revisions({.from = 3, .to = 4}) == Revisions{3, 4});
  CHECK(revisions({.from = 0, .to = 1}) == Revisions{1});
  CHECK(revisions({.newest = 2}) == Revisions{5, 6});
  CHECK(revisions({.to = 4, .newest = 2}) == Revisions{3, 4});
  CHECK(revisions({.from = 5, .newest = 9}) == Revisions{5, 6});
  CHECK(revisions({.from = 7}) == Revisions{});
  CHECK(revisions({.newest = 0}) == Revisions{});
}

TEMPLATE_TEST_CASE("store: a follower sees the tasks changed after its position, and no others", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto writer = place.open();
  const auto reader = place.open();
  const auto follower = reader->follow();
  change(*writer, "a", {version_of(1, 250'000)});
  change(*writer, "b", {version_of(1, 0)});

  StoreDelta delta = follower->changes({});
  CHECK(delta.everything);
  REQUIRE(delta.tasks.size() == 2);
  std::sort(delta.tasks.begin(), delta.tasks.end(), [](const auto& x, const auto& y) { return x.task < y.task; });
  CHECK(delta.tasks[0].task == "a");
  CHECK(delta.tasks[0].revision == 1);
  CHECK(delta.tasks[0].partition == load_all(*reader, "a").partition);
  CHECK(delta.tasks[0].versions == std::vector<canary::ServingVersion>{{1, "model-1", Status::candidate}});
  CHECK(delta.tasks[1].versions.empty());  // no weight, not served

  const StorePosition before = delta.position;
  CHECK(follower->changes(before).tasks.empty());
  change(*writer, "b", {version_of(2, 10, Status::deprecated)});
  change(*writer, "b", {version_of(3, 20, Status::active)});
  delta = follower->changes(before);
  CHECK_FALSE(delta.everything);
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].task == "b");
  CHECK(delta.tasks[0].revision == 3);
  CHECK(delta.tasks[0].versions ==
        std::vector<canary::ServingVersion>{{2, "model-2", Status::deprecated}, {3, "model-3", Status::active}});
  CHECK(delta.position.token == before.token);
  CHECK(follower->changes(delta.position).tasks.empty());
  CHECK(follower->changes(before).tasks.size() == 1);  // a position may be asked for twice
  CHECK(reader->follow()->changes(before).tasks.size() == 1);
}

TEMPLATE_TEST_CASE("store: a follower wakes when another process changes a task", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto writer = place.open();
  const auto reader = place.open();
  change(*writer, "checks", {version_of(1, 0)});
  const auto follower = reader->follow();
  StorePosition position = follower->changes({}).position;
  const Commit next = change_to(load_all(*writer, "checks"), {version_of(1, 1'000)});
  std::thread later{[&] {
    std::this_thread::sleep_for(milliseconds{50});
    (void)writer->commit(next);
  }};
  const auto start = Clock::now();
  StoreDelta delta;
  while (delta.tasks.empty() &&
         Clock::now() - start < milliseconds{20'000}) {  // a wake is a hint: it may come too soon
    follower->wait(milliseconds{20'000});
    delta = follower->changes(position);
  }
  later.join();
  CHECK(Clock::now() - start < milliseconds{10'000});
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].revision == 2);
}

TEMPLATE_TEST_CASE("store: a change between changes() and wait() is not slept through", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto writer = place.open();
  (void)writer->info();  // makes it
  const auto follower = place.open()->follow();
  (void)follower->changes({});
  change(*writer, "checks", {version_of(1, 0)});
  const auto start = Clock::now();
  follower->wait(milliseconds{20'000});
  CHECK(Clock::now() - start < milliseconds{10'000});
}

TEMPLATE_TEST_CASE("store: a change that was computed before a restore is a conflict, whatever its revision",
                   "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 0)});
  std::vector<TaskContents> kept = everything_in(*store);
  const TaskRecord before = load_all(*store, "checks");
  Commit late = change_to(before, {version_of(1, 5)});
  late.token = before.token;
  std::size_t next = 0;
  store->replace_all([&]() -> std::optional<TaskContents> {
    if (next == kept.size()) return {};
    return kept[next++];
  });
  CHECK(store->commit(late) == CommitResult::conflict);
  CHECK(load_all(*store, "checks") == before);
  late.token = load_all(*store, "checks").token;
  CHECK(late.token != before.token);
  CHECK(store->commit(late) == CommitResult::done);
}

TEMPLATE_TEST_CASE("store: a follower's wait ends when its time is over, or when it is interrupted",
                   "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  (void)store->info();  // makes it
  const auto follower = store->follow();
  (void)follower->changes({});
  auto start = Clock::now();
  follower->wait(milliseconds{30});
  CHECK(Clock::now() - start < milliseconds{10'000});

  start = Clock::now();
  std::thread other{[&] {
    std::this_thread::sleep_for(milliseconds{30});
    follower->interrupt();
  }};
  follower->wait(milliseconds{20'000});
  CHECK(Clock::now() - start < milliseconds{10'000});
  other.join();

  start = Clock::now();
  follower->interrupt();  // before the wait, and not lost
  follower->wait(milliseconds{20'000});
  CHECK(Clock::now() - start < milliseconds{10'000});
}

TEMPLATE_TEST_CASE("store: a follower that has read everything sleeps while nothing changes", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto follower = store->follow();
  for (std::uint32_t i = 1; i != 4; ++i) change(*store, "checks", {version_of(i, 0)});
  (void)follower->changes({});
  const auto start = Clock::now();
  for (int i = 0; i != 10; ++i) follower->wait(milliseconds{20});
  CHECK(Clock::now() - start >= milliseconds{100});  // a few waits may be woken for nothing
}

TEMPLATE_TEST_CASE("store: find_model takes the newest that is not archived", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  (void)store->info();  // makes it
  const auto follower = store->follow();
  const auto add = [&](std::uint32_t number, const std::string& model, Status status) {
    ModelVersion row = version_of(number, 0, status);
    row.model = model;
    change(*store, "checks", {row});
  };
  CHECK_FALSE(follower->find_model("checks", "m"));
  add(1, "m", Status::deprecated);
  add(2, "m", Status::candidate);
  add(3, "m", Status::archived);
  add(4, "M", Status::active);
  CHECK(follower->find_model("checks", "m") == 2u);
  add(2, "m", Status::archived);
  CHECK(follower->find_model("checks", "m") == 1u);
  add(1, "m", Status::archived);
  CHECK_FALSE(follower->find_model("checks", "m"));
  CHECK(follower->find_model("checks", "M") == 4u);
  CHECK_FALSE(follower->find_model("others", "M"));
}

TEMPLATE_TEST_CASE("store: what read_all gives, replace_all takes, at another place too", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  TestType other_place;
  const auto store = place.open();
  change(*store, "a", {version_of(1, 100'000, Status::active)}, awkward);
  change(*store, "a", {version_of(2, 30)});
  change(*store, "b", {version_of(1, 0, Status::archived)});
  Commit opens = change_to(load_all(*store, "a"), {version_of(2, 40)});
  opens.row.epoch = "an epoch";
  opens.row.rollouts = "a rollout";
  REQUIRE(store->commit(opens) == CommitResult::done);
  change(*store, "a", {version_of(2, 40)});
  const auto all = everything_in(*store);
  REQUIRE(all.size() == 2);
  CHECK(all[0].task == load_all(*store, "a"));
  CHECK(all[0].task.epoch == "an epoch");
  CHECK(all[0].task.rollouts == "a rollout");
  CHECK(all[0].history == store->history("a", {}));

  const auto other = other_place.open();
  change(*other, "c", {version_of(1, 5)});
  replace_by(*other, all);
  CHECK(same(everything_in(*other), all));
  change(*other, "a", {version_of(3, 1)});  // and goes on from there
  CHECK(load_all(*other, "a").revision == 5);
}

TEMPLATE_TEST_CASE("store: a replaced one has a new token, and its followers get everything", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto follower = place.open()->follow();
  change(*store, "a", {version_of(1, 1)});
  const auto backup = everything_in(*store);
  change(*store, "a", {version_of(1, 2)});
  change(*store, "b", {version_of(1, 1)});
  const StorePosition before = follower->changes({}).position;

  replace_by(*store, backup);
  const auto start = Clock::now();
  follower->wait(milliseconds{20'000});
  CHECK(Clock::now() - start < milliseconds{10'000});
  const StoreDelta delta = follower->changes(before);
  CHECK(delta.position.token != before.token);
  CHECK(delta.position.token == store->info().token);
  CHECK(delta.everything);
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].task == "a");
  CHECK(delta.tasks[0].revision == 1);
  const StoreDelta after = follower->changes(delta.position);
  CHECK_FALSE(after.everything);
  CHECK(after.tasks.empty());
}

TEMPLATE_TEST_CASE("store: a replacement that fails changes nothing", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "a", {version_of(1, 1)});
  const auto before = everything_in(*store);
  const canary::StoreInfo info = store->info();
  int calls = 0;
  CHECK_THROWS_AS(store->replace_all([&]() -> std::optional<TaskContents> {
    if (calls++ == 0) return wide_task("wide", 3, 10);
    throw std::runtime_error{"the backup ends here"};
  }),
                  std::runtime_error);
  CHECK(calls == 2);
  CHECK(same(everything_in(*store), before));
  CHECK(store->info().token == info.token);
  change(*store, "a", {version_of(1, 2)});
}

TEMPLATE_TEST_CASE("store: read_all is one view while others go on writing", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto other = place.open();
  for (const char* name : {"a", "b", "c"}) change(*store, name, {version_of(1, 1)});
  std::vector<TaskContents> all;
  store->read_all([&](TaskContents&& contents) {
    if (all.empty())
      for (const char* name : {"a", "b", "c"}) change(*other, name, {version_of(2, 2)});
    all.push_back(std::move(contents));
  });
  REQUIRE(all.size() == 3);
  for (const TaskContents& contents : all) {
    CHECK(contents.task.revision == 1);
    CHECK(contents.task.versions.size() == 1);
    CHECK(contents.history.size() == 1);
  }
  CHECK(load_all(*store, "c").revision == 2);
}

TEMPLATE_TEST_CASE("store: what breaks a constraint is refused as invalid, and nothing has changed",
                   "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 600'000)});
  const auto before = everything_in(*store);
  const auto follower = store->follow();
  const StorePosition position = follower->changes({}).position;
  Commit bad = change_to(load_all(*store, "checks"), {});
  SECTION("weights over 100 %") { bad.versions = {version_of(2, 400'001)}; }
  SECTION("one weight over 100 %") { bad.versions = {version_of(1, 1'000'001)}; }
  SECTION("a number out of turn") { bad.versions = {version_of(3, 0)}; }
  SECTION("number 0") { bad.versions = {version_of(0, 0)}; }
  SECTION("a history row of another revision") { bad.row.revision = 3; }
  SECTION("a partition that does not cover the ring") {
    bad.row.partition = canary::Partition{canary::Partition::Runs(1, canary::Run{5, 0}),
                                          canary::Partition::Shares(1, canary::OwnerShare{0, 1'000'000, 0})};
  }
  CHECK(refusal([&] { (void)store->commit(bad); }) == StoreErrc::invalid);
  CHECK(same(everything_in(*store), before));
  CHECK(follower->changes(position).tasks.empty());
  change(*store, "checks", {version_of(2, 400'000)});  // it is as good as before
}

TEMPLATE_TEST_CASE("store: weight goes from one version to another in one change", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 1'000'000)});
  change(*store, "checks", {version_of(1, 0, Status::deprecated), version_of(2, 1'000'000, Status::active)});
  const TaskRecord task = store->load("checks", {});
  REQUIRE(task.versions.size() == 1);
  CHECK(task.versions[0].number == 2);
  CHECK(task.versions[0].weight_ppm == 1'000'000);
}

TEMPLATE_TEST_CASE("store: a split over 1,000 versions survives, and so does its change", "[contract][store]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const TaskContents wide = wide_task("wide", 1'000, 1'000);
  replace_by(*store, {wide});
  CHECK((load_all(*store, "wide") == wide.task));

  std::vector<ModelVersion> rows;
  for (std::uint32_t number = 1; number <= 1'000; ++number) rows.push_back(version_of(number, 999));
  change(*store, "wide", rows);
  const TaskRecord after = place.open()->load("wide", {});
  CHECK(after.revision == 1'001);
  CHECK((after.versions == rows));
  CHECK(after.partition.shares().size() == 1'001);
  const auto delta = store->follow()->changes({});
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].versions.size() == 1'000);
  CHECK((delta.tasks[0].partition == after.partition));
}

TEMPLATE_TEST_CASE("store: 10,000 versions of a task are listed", "[contract][store]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const TaskContents many = wide_task("many", 10'000, 0);
  replace_by(*store, {many});
  CHECK((load_all(*store, "many") == many.task));
  CHECK(store->load("many", {}).versions.empty());
  CHECK(store->history("many", {.newest = 1}).at(0).revision == 10'000);
  CHECK(store->history("many", {}).size() == 10'000);
  change(*store, "many", {version_of(10'001, 1)});
  CHECK(store->load("many", {}).versions.size() == 1);
}
