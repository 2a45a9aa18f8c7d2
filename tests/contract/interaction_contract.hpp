// interaction_contract.hpp: what every store promises of interactions. A store joins as in store_contract.hpp: with one
// source file that defines CANARY_STORE_PLACE and includes this.
#pragma once

#ifndef CANARY_STORE_PLACE
#error "define CANARY_STORE_PLACE as the class that makes stores"
#endif

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/control/interaction_store.hpp"
#include "canary/control/window.hpp"
#include "canary/core/recorder.hpp"
#include "interaction_helpers.hpp"

namespace {

using namespace interaction_test;

}  // namespace

TEMPLATE_TEST_CASE("interactions: a fresh store has none", "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  CHECK(one.kept->spools().empty());
  CHECK(one.kept->task_names().empty());
  CHECK_FALSE(one.kept->find_task("checks"));
  CHECK(one.kept->counts({}).empty());
  CHECK(one.kept->counts({.kind = CountsKind::evidence}).empty());
  CHECK(read_all(*one.kept).empty());
  CHECK(one.kept->forget_before(start_us));
}

TEMPLATE_TEST_CASE("interactions: a spool is known by its first claim, and no two have a node or a serial in common",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const Opened two{place.open()};
  const SpoolRecord a = one.kept->claim(spool_a, 17);
  CHECK(a.spool == spool_a);
  CHECK(a.serial >= 1);
  CHECK(a.node < canary::InteractionId::nodes);
  CHECK(a.generation == 0);
  CHECK(a.at_us == 17);
  CHECK(a.lanes.empty());
  CHECK(one.kept->claim(spool_a, 18) == a);
  CHECK(two.kept->claim(spool_a, 19) == a);
  const SpoolRecord b = two.kept->claim(spool_b, 20);
  CHECK(b.serial != a.serial);
  CHECK(b.node != a.node);
  CHECK(sorted(one.kept->spools()) == sorted({a, b}));
}

TEMPLATE_TEST_CASE("interactions: a delivery is in the store whole once it is committed", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const Opened two{place.open()};
  const UnitKey unit{1, 5, 77, 10, false};
  const SpoolRecord before = one.kept->claim(spool_a, 1);
  const auto delivery = one.kept->begin(before);
  REQUIRE(delivery != nullptr);
  const std::uint32_t number = delivery->task_number("checks");
  CHECK(delivery->task_number("checks") == number);
  CHECK(delivery->add(rows_of({10})).empty());
  delivery->add_payloads(std::vector<Payload>{{10, "question", "answer"}});
  CHECK(claim(*delivery, {unit}) == Bits{true});
  delivery->put_waiting(std::vector<Feedback>{{99, start_us, 5}});
  delivery->put({CountsKind::window, number, 2, 300, 12'345, "counted"});

  CHECK(read_all(*two.kept).empty());  // nobody sees half of it
  CHECK_FALSE(two.kept->find_task("checks"));
  CHECK(two.kept->counts({}).empty());
  CHECK(two.kept->claim(spool_a, 2) == before);
  delivery->commit(Lanes{{1, 5}, {0, 3}}, start_us);

  CHECK(two.kept->find_task("checks") == number);
  const auto rows = read_all(*two.kept, {.with_payload = true});
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].interaction == row_of(10));
  CHECK(rows[0].request == "question");
  CHECK(rows[0].response == "answer");
  CHECK(two.kept->counts({}) == std::vector<CountsRow>{{CountsKind::window, number, 2, 300, before.serial, "counted"}});
  const SpoolRecord after = two.kept->claim(spool_a, 2);
  CHECK(after == SpoolRecord{spool_a, before.serial, before.node, before.generation + 1, start_us, {{0, 3}, {1, 5}}});
  deliver(*two.kept, spool_a, [&](Delivery& next) {
    CHECK(find(next, {unit}) == Bits{true});
    (void)next.add(rows_of({99}));
    CHECK(ready(next) == std::vector<Feedback>{{99, start_us, 5}});
  });
}

TEMPLATE_TEST_CASE("interactions: a delivery that is not committed leaves nothing", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const UnitKey unit{1, 5, 77, 10, false};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.add(rows_of({1}));
    to.put_waiting(std::vector<Feedback>{{98, 1, 5}});
    to.put({CountsKind::window, 1, 2, 300, 0, "before"});
  });
  const SpoolRecord before = one.kept->claim(spool_a, 2);
  {
    const auto delivery = one.kept->begin(before);
    REQUIRE(delivery != nullptr);
    (void)delivery->task_number("checks");
    (void)delivery->add(rows_of({10}));
    delivery->add_payloads(std::vector<Payload>{{1, "question", "answer"}});
    (void)claim(*delivery, {unit});
    CHECK(join(*delivery, {{1, 2, 3}})[0].result == Joined::done);
    delivery->put_waiting(std::vector<Feedback>{{99, 1, 5}});
    delivery->drop_waiting(Ids{98});
    delivery->put({CountsKind::window, 1, 2, 300, 0, "after"});
  }
  CHECK(one.kept->claim(spool_a, 2) == before);
  CHECK_FALSE(one.kept->find_task("checks"));
  CHECK(read_ids(*one.kept) == Ids{1});
  CHECK(read_all(*one.kept)[0].interaction.score == canary::no_score);
  CHECK(read_all(*one.kept, {.with_payload = true}).empty());
  CHECK(one.kept->counts({})[0].bytes == "before");
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(find(to, {unit}) == Bits{false});
    (void)to.add(rows_of({98, 99}));
    CHECK(ready(to) == std::vector<Feedback>{{98, 1, 5}});
  });
}

TEMPLATE_TEST_CASE("interactions: whoever comes with another generation has lost", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const Opened two{place.open()};
  const SpoolRecord claimed = one.kept->claim(spool_a, 1);
  deliver(*two.kept, spool_a, [](Delivery& to) { (void)to.add(rows_of({10})); });
  CHECK(one.kept->begin(claimed) == nullptr);
  SpoolRecord ahead = claimed;
  ahead.generation += 2;
  CHECK(one.kept->begin(ahead) == nullptr);
  SpoolRecord unknown = one.kept->claim(spool_b, 1);
  unknown.serial += 1'000;
  CHECK(one.kept->begin(unknown) == nullptr);
  CHECK(one.kept->fold(claimed, [](auto, auto, auto) { return std::string{}; }) == false);
  CHECK(one.kept->begin(one.kept->claim(spool_a, 1)) != nullptr);
}

TEMPLATE_TEST_CASE("interactions: lanes come back by number, and those that are not named are forgotten",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const auto commit = [&](const Lanes& lanes, TimeUs now_us) {
    one.kept->begin(one.kept->claim(spool_a, 1))->commit(lanes, now_us);
    return one.kept->claim(spool_a, 2);
  };
  const std::uint64_t far = std::numeric_limits<std::uint64_t>::max();
  CHECK(commit({{7, 1}, {0xFFFF'FFFF, far}, {0, 0}, {130, 128}}, start_us).lanes ==
        Lanes{{0, 0}, {7, 1}, {130, 128}, {0xFFFF'FFFF, far}});
  CHECK(commit({{130, 129}}, start_us + 1).lanes == Lanes{{130, 129}});
  Lanes many;
  for (std::uint32_t lane = 0; lane != 1'024; ++lane) many.push_back({lane, lane * 1'000'003ull});
  CHECK(commit(many, start_us + 2).lanes == many);
  const SpoolRecord last = commit({}, start_us + 3);
  CHECK(last.lanes.empty());
  CHECK(last.generation == 4);
  CHECK(last.at_us == start_us + 3);
}

TEMPLATE_TEST_CASE("interactions: every field comes back, to its ends", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  Interaction least = row_of(1, 0, std::numeric_limits<std::int64_t>::min());
  least.latency_us = least.score = least.number = 0;
  Interaction most;
  most.id = largest;
  most.at_us = std::numeric_limits<std::int64_t>::max();
  most.task = most.revision = most.point = most.tokens_in = most.tokens_out = 0xFFFF'FFFF;
  most.number = 0xFFFF;
  most.reason = canary::Reason::tripped;
  most.error = 0xFF;
  most.latency_us = canary::longest_latency_us;
  most.score = canary::score_one;
  most.cost_microusd = largest;
  const std::vector<Interaction> rows{least, row_of(2), most};
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(to.add(rows).empty()); });
  std::vector<Interaction> found;
  for (const ReadRow& row : read_all(*one.kept)) found.push_back(row.interaction);
  CHECK((found == rows));
}

TEMPLATE_TEST_CASE("interactions: a cost that cannot be kept counts as the largest that can",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  Interaction row = row_of(1);
  row.cost_microusd = largest + 1;
  deliver(*one.kept, spool_a, [&](Delivery& to) { (void)to.add({&row, 1}); });
  CHECK(read_all(*one.kept).at(0).interaction.cost_microusd == largest);
}

TEMPLATE_TEST_CASE("interactions: texts come back as they are, with U+FFFD for what is no text",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const std::string hay = "\xF0\x9F\x90\xA4 'q' \"d\" `b` \\ \\N \\x41 line\r\n\ttab ; %s $1 ?1 {} \xC3\xA9 \x01\x7F";
  const std::string large = "large " + repeated(hay, 30'000);
  const std::string nul("a\0b\0", 4);
  const std::string larger = "2 " + large;
  const std::vector<Payload> texts{{1, hay, ""},
                                   {2, "", hay},
                                   {3, "", ""},
                                   {4, large, larger},
                                   {5, nul,
                                    "\xFF"
                                    "a\x80"
                                    "b\xC3"}};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.add(rows_of({1, 2, 3, 4, 5, 6}));
    to.add_payloads(texts);
    to.add_payloads(std::vector<Payload>{{1, "another", "another"}});  // the first stays
  });
  const auto rows = read_all(*one.kept, {.with_payload = true});
  REQUIRE(rows.size() == 5);
  for (std::size_t i = 0; i != 4; ++i) {
    CHECK(rows[i].interaction.id == texts[i].id);
    CHECK((rows[i].request == texts[i].request));
    CHECK((rows[i].response == texts[i].response));
  }
  CHECK(rows[4].request ==
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD");
  CHECK(rows[4].response ==
        "\xEF\xBF\xBD"
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD");
  for (const ReadRow& row : read_all(*one.kept)) CHECK((row.request.empty() && row.response.empty()));
}

TEMPLATE_TEST_CASE("interactions: an id that is there is left out and named, wherever it comes again",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(to.add(rows_of({100, 200, 300})).empty());
    CHECK(sorted(to.add(rows_of({50, 200, 400}))) == Ids{200});  // of the same delivery
  });
  Interaction changed = row_of(100);
  changed.error = 1;
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    CHECK(to.add({&changed, 1}) == Ids{100});
    CHECK(sorted(to.add(rows_of({500, 500, 600, 500}))) == Ids{500, 500});  // within one call
    CHECK(to.add({}).empty());
  });
  CHECK(read_ids(*one.kept) == Ids{50, 100, 200, 300, 400, 500, 600});
  CHECK(read_all(*one.kept)[1].interaction == row_of(100));  // the first stays
}

TEMPLATE_TEST_CASE("interactions: of a big batch exactly those that are there already are left out",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::uint64_t count = 20'011;  // no multiple of whatever goes at once
  Ids there;
  for (std::uint64_t id = 1; id <= count; id += id < 5'000 ? 7 : 997) there.push_back(id);
  Ids all;
  for (std::uint64_t id = 1; id <= count; ++id) all.push_back(id);
  SECTION("rising") {}
  SECTION("in any order") { std::shuffle(all.begin(), all.end(), std::mt19937{5}); }
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(to.add(rows_of(there)).empty()); });
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK((sorted(to.add(rows_of(all))) == there)); });
  CHECK((read_ids(*one.kept) == sorted(all)));
}

TEMPLATE_TEST_CASE("interactions: a unit counts once in a life, by the interaction that came first",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const UnitKey unit{1, 5, 0xFFFF'FFFF, 10, false};
  const UnitKey other_point{1, 5, 0, 11, false};
  const UnitKey other_life{1, 6, 0xFFFF'FFFF, 12, false};
  const UnitKey other_task{2, 5, 0xFFFF'FFFF, 13, false};
  UnitKey late = unit;
  late.id = largest;
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(find(to, {unit}) == Bits{false});
    CHECK(settle(to, {unit}) == Bits{false});  // nobody claimed it
    CHECK(claim(to, {unit, other_life}) == Bits{true, true});
    CHECK(claim(to, {other_point, unit}) == Bits{true, false});
    CHECK(claim(to, {late}) == Bits{false});
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    CHECK(claim(to, {late, other_task}) == Bits{false, true});
    CHECK(find(to, {late, unit, other_point, other_life, other_task}) == Bits{false, true, true, true, true});
    CHECK(settle(to, {late}) == Bits{false});
    CHECK(settle(to, {other_life, unit}) == Bits{true, true});
    CHECK(settle(to, {unit, other_point}) == Bits{false, true});
    CHECK(find(to, {unit, late}) == Bits{true, false});  // settled, and counted as before
    CHECK(claim(to, {}).empty());
    CHECK(settle(to, {}).empty());
    CHECK(find(to, {}).empty());
  });
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(settle(to, {other_point, other_task, unit}) == Bits{false, true, false});
  });
}

TEMPLATE_TEST_CASE("interactions: a unit that is claimed with its outcome is settled", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const UnitKey unit{1, 5, 7, 10, true};
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(claim(to, {unit}) == Bits{true}); });
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(settle(to, {unit}) == Bits{false}); });
}

TEMPLATE_TEST_CASE("interactions: answers about many units stand where they were asked", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  std::vector<UnitKey> units;
  std::set<canary::Point> points;
  std::mt19937 random{11};
  while (points.size() != 20'011) points.insert(static_cast<canary::Point>(random()));
  for (const canary::Point point : points) units.push_back({3, 9, point, units.size() + 1, false});
  std::shuffle(units.begin(), units.end(), random);
  std::vector<UnitKey> third;
  for (std::size_t i = 0; i < units.size(); i += 3) third.push_back(units[i]);
  std::shuffle(third.begin(), third.end(), random);
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK((claim(to, third) == Bits(third.size(), true))); });
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    Bits there;
    Bits fresh;
    for (std::size_t i = 0; i != units.size(); ++i) {
      there.push_back(i % 3 == 0);
      fresh.push_back(i % 3 != 0);
    }
    CHECK((find(to, units) == there));
    CHECK((settle(to, units) == there));
    CHECK((claim(to, units) == fresh));
    CHECK((settle(to, units) == fresh));
    CHECK((find(to, units) == Bits(units.size(), true)));
  });
}

TEMPLATE_TEST_CASE("interactions: a score that comes later joins its interaction once", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  Interaction scored = row_of(2);
  scored.score = 0;  // a score like any other
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.add(std::vector<Interaction>{row_of(1), scored, row_of(largest)});
    const auto joined = join(to, {{largest, 1, canary::score_one}, {3, 1, 5}, {2, 1, 5}});
    REQUIRE(joined.size() == 3);
    CHECK(joined[0].result == Joined::done);
    CHECK(joined[0].interaction.id == largest);
    CHECK(joined[0].interaction.score == canary::score_one);
    CHECK(joined[0].before == canary::no_score);
    CHECK(joined[1].result == Joined::unknown);
    CHECK(joined[1].interaction == Interaction{});
    CHECK(joined[2].result == Joined::done);  // it takes the place of the outcome's own
    CHECK(joined[2].interaction.score == 5);
    CHECK(joined[2].before == 0);
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    const auto joined = join(to, {{1, 1, 7}, {largest, 1, 9}, {2, 1, 9}});
    CHECK(joined[0].result == Joined::done);
    CHECK(joined[1].result == Joined::already);
    CHECK(joined[1].interaction.score == canary::score_one);
    CHECK(joined[2].result == Joined::already);
    CHECK(joined[2].interaction.score == 5);
    CHECK(join(to, {{1, 2, 8}})[0].interaction.score == 7);
    CHECK(join(to, {}).empty());
  });
  const auto rows = read_all(*one.kept);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].interaction.score == 7);
  CHECK(rows[1].interaction.score == 5);
  CHECK(rows[2].interaction.score == canary::score_one);
}

TEMPLATE_TEST_CASE("interactions: many scores join at once, each its own interaction", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::uint32_t count = 2'003;
  Ids ids;
  std::vector<Feedback> feedback;
  for (std::uint32_t i = 1; i <= count; ++i) {
    if (i % 2 == 0) ids.push_back(i);
    feedback.push_back({i, start_us, i * 10});
  }
  std::shuffle(feedback.begin(), feedback.end(), std::mt19937{3});
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.add(rows_of(ids));
    const auto joined = join(to, feedback);
    REQUIRE(joined.size() == count);
    bool right = true;
    for (std::size_t i = 0; i != joined.size(); ++i) {
      const bool there = feedback[i].id % 2 == 0;
      right =
          right && joined[i].result == (there ? Joined::done : Joined::unknown) &&
          (!there || (joined[i].interaction.id == feedback[i].id && joined[i].interaction.score == feedback[i].score));
    }
    CHECK(right);
  });
  for (const ReadRow& row : read_all(*one.kept)) REQUIRE(row.interaction.score == row.interaction.id * 10);
}

TEMPLATE_TEST_CASE("interactions: scores wait for their interaction, and are given when it is there, the oldest first",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const Feedback oldest{largest, 10, canary::score_one};
  const Feedback middle{5, 20, 0};
  const Feedback newest{1, 30, 7};
  const Feedback of_none{3, 15, 7};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(ready(to).empty());
    to.put_waiting(std::vector<Feedback>{newest, oldest});
    to.put_waiting(std::vector<Feedback>{middle, {1, 5, 8}, of_none});  // the first of an id stays
    CHECK(ready(to).empty());
    (void)to.add(rows_of({1, 2, 5}));
    CHECK(ready(to) == std::vector<Feedback>{middle, newest});
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    to.put_waiting(std::vector<Feedback>{{5, 1, 1}});
    CHECK(ready(to) == std::vector<Feedback>{middle, newest});
    (void)to.add(rows_of({largest}));
    CHECK(ready(to) == std::vector<Feedback>{oldest, middle, newest});
    CHECK(ready(to, 2) == std::vector<Feedback>{oldest, middle});
    to.drop_waiting(Ids{largest, 4'711});
    CHECK(ready(to) == std::vector<Feedback>{middle, newest});
  });
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(ready(to) == std::vector<Feedback>{middle, newest});
    to.drop_waiting(Ids{1, 5});
    CHECK(ready(to).empty());
    to.put_waiting(std::vector<Feedback>{newest});
    CHECK(ready(to) == std::vector<Feedback>{newest});
  });
}

TEMPLATE_TEST_CASE(
    "interactions: however many scores wait for nobody, a look is short, and the next one goes on from there",
    "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::size_t at_once = Delivery::waiting_at_once;
  constexpr std::size_t count = at_once + 1'000;
  std::vector<Feedback> list;  // pairs of one time
  for (std::size_t i = 0; i != count; ++i) list.push_back({count - i, static_cast<TimeUs>(i / 2), 7});
  std::sort(list.begin(), list.end(),
            [](const auto& a, const auto& b) { return std::tie(a.at_us, a.id) < std::tie(b.at_us, b.id); });
  const std::vector<Feedback> wanted{list[0], list[7], list[at_once - 1], list[at_once], list[count - 1]};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    Ids ids;
    for (const Feedback& each : wanted) ids.push_back(each.id);
    (void)to.add(rows_of(ids));
    std::shuffle(list.begin(), list.end(), std::mt19937{4});
    to.put_waiting(list);
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    using Rows = std::vector<Feedback>;
    WaitingPlace from;
    Rows rows;
    CHECK(to.waiting(from, 9, rows) == at_once);
    CHECK(rows == Rows{wanted[0], wanted[1], wanted[2]});
    CHECK(from == WaitingPlace{wanted[2].at_us, wanted[2].id});
    CHECK(to.waiting(from, 9, rows) == count - at_once);
    CHECK(rows == Rows{wanted[3], wanted[4]});
    CHECK(from == WaitingPlace{});
    CHECK(to.waiting(from, 2, rows) == 8);
    CHECK(rows == Rows{wanted[0], wanted[1]});
    CHECK(from == WaitingPlace{wanted[1].at_us, wanted[1].id});
    CHECK(to.waiting(from, 2, rows) == at_once - 7);
    CHECK(rows == Rows{wanted[2], wanted[3]});
    CHECK(to.waiting(from, 1, rows) == count - at_once - 1);
    CHECK(rows == Rows{wanted[4]});
    CHECK(from == WaitingPlace{});
  });
}

TEMPLATE_TEST_CASE("interactions: scores that waited for too long go, the oldest first, and are counted",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::size_t at_once = Delivery::waiting_at_once;
  constexpr std::size_t count = at_once + 10;
  std::vector<Feedback> rows;
  for (std::size_t i = 1; i <= count; ++i) rows.push_back({i, start_us + static_cast<TimeUs>(i), 7});
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(to.drop_waiting_before(start_us) == 0);
    to.put_waiting(rows);
    (void)to.add(rows_of({1, count - 2, count}));
    CHECK(to.drop_waiting_before(start_us + 1) == 0);
    CHECK(to.drop_waiting_before(start_us + 2) == 1);
    CHECK(ready(to) == std::vector<Feedback>{});
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    const TimeUs line_us = start_us + static_cast<TimeUs>(count) - 1;
    CHECK(to.drop_waiting_before(line_us) == at_once);  // in parts
    CHECK(ready(to) == std::vector<Feedback>{rows[count - 3], rows[count - 1]});
    CHECK(to.drop_waiting_before(line_us) == count - 3 - at_once);
    CHECK(to.drop_waiting_before(line_us) == 0);
    CHECK(ready(to) == std::vector<Feedback>{rows[count - 1]});
  });
  {
    const auto delivery = one.kept->begin(one.kept->claim(spool_a, 1));
    CHECK(delivery->drop_waiting_before(largest) == 2);  // but not committed
  }
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(ready(to) == std::vector<Feedback>{rows[count - 1]}); });
}

TEMPLATE_TEST_CASE("interactions: counts are written over those of their own spool, and read by what they are of",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const std::uint32_t a = one.kept->claim(spool_a, 1).serial;
  const std::uint32_t b = one.kept->claim(spool_b, 1).serial;
  constexpr std::uint32_t end = 0xFFFF'FFFF;
  const std::string bytes("\0\x80\xFF text", 8);
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    to.put({CountsKind::window, 1, 2, 100, b, "not that serial"});
    to.put({CountsKind::window, 1, 2, 100, 0, bytes});
    to.put({CountsKind::window, 1, 3, 100, 0, ""});
    to.put({CountsKind::window, 2, 2, 101, 0, "2 2 101"});
    to.put({CountsKind::evidence, 1, 2, 100, 0, "evidence"});
    to.put({CountsKind::evidence, end, end, end, 0, std::string(100'000, '\xEE')});
    to.put({CountsKind::drops, 1, 0, 100, 0, "drops"});
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    to.put({CountsKind::window, 1, 2, 100, 0, "of b"});
    to.put({CountsKind::window, 1, 2, 102, 0, "later"});
  });
  const auto found = [&](const CountsFilter& filter) { return sorted(one.kept->counts(filter)); };
  using Rows = std::vector<CountsRow>;
  const CountsRow first{CountsKind::window, 1, 2, 100, a, bytes};
  const CountsRow of_b{CountsKind::window, 1, 2, 100, b, "of b"};
  const CountsRow later{CountsKind::window, 1, 2, 102, b, "later"};
  const CountsRow empty{CountsKind::window, 1, 3, 100, a, ""};
  const CountsRow second{CountsKind::window, 2, 2, 101, a, "2 2 101"};
  CHECK(found({}) == sorted(Rows{first, of_b, later, empty, second}));
  CHECK(found({.task = 1}) == sorted(Rows{first, of_b, later, empty}));
  CHECK(found({.of = 2}) == sorted(Rows{first, of_b, later, second}));
  CHECK(found({.task = 1, .of = 2}) == sorted(Rows{first, of_b, later}));
  CHECK(found({.task = 1, .of = 2, .from = 101}) == Rows{later});
  CHECK(found({.from = 101, .to = 101}) == Rows{second});
  CHECK(found({.task = 1, .to = 101, .serial = a}) == Rows{first, empty});
  CHECK(found({.serial = b}) == Rows{of_b, later});
  CHECK(found({.task = 1, .of = 2, .from = 102, .serial = b}) == Rows{later});
  CHECK(found({.serial = 0}).empty());
  CHECK(found({.task = 9}).empty());
  CHECK(found({.kind = CountsKind::evidence, .task = 1}) == Rows{{CountsKind::evidence, 1, 2, 100, a, "evidence"}});
  CHECK((found({.kind = CountsKind::evidence, .from = end}) ==
         Rows{{CountsKind::evidence, end, end, end, a, std::string(100'000, '\xEE')}}));
  CHECK(found({.kind = CountsKind::drops}) == Rows{{CountsKind::drops, 1, 0, 100, a, "drops"}});
  CHECK(found({CountsKind::drops, 1, 0, 100, 100, a}) == Rows{{CountsKind::drops, 1, 0, 100, a, "drops"}});
  CHECK(found({.kind = CountsKind::drops, .serial = b}).empty());

  deliver(*one.kept, spool_a, [&](Delivery& to) { to.put({CountsKind::window, 1, 2, 100, 0, "over it"}); });
  CHECK(found({.task = 1, .of = 2, .serial = a}) == Rows{{CountsKind::window, 1, 2, 100, a, "over it"}});
  CHECK(found({.task = 1, .of = 2, .to = 100, .serial = b}) == Rows{of_b});
}

TEMPLATE_TEST_CASE("interactions: read gives those that are wanted, by id", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    std::vector<Interaction> rows;
    for (const std::uint64_t id : {30u, 10u, 60u, 50u, 20u, 40u}) rows.push_back(row_of(id, id % 20 == 0 ? 1 : 2));
    rows[0].number = 9;  // 30
    rows[3].number = 9;  // 50
    (void)to.add(rows);
    to.add_payloads(std::vector<Payload>{{20, "q20", "a20"}, {50, "q50", "a50"}, {70, "of none", ""}});
  });
  const auto found = [&](const InteractionFilter& filter) { return read_ids(*one.kept, filter); };
  CHECK(found({}) == Ids{10, 20, 30, 40, 50, 60});
  CHECK(found({.newest_first = true}) == Ids{60, 50, 40, 30, 20, 10});
  CHECK(found({.task = 1}) == Ids{20, 40, 60});
  CHECK(found({.number = 9}) == Ids{30, 50});
  CHECK(found({.task = 1, .number = 9}).empty());
  CHECK(found({.from = 20, .to = 50}) == Ids{20, 30, 40, 50});
  CHECK(found({.from = 20, .to = 50, .most = 2, .newest_first = true}) == Ids{50, 40});
  CHECK(found({.from = 21, .to = 29}).empty());
  CHECK(found({.from = 50, .to = 20}).empty());
  CHECK(found({.from = 0, .to = 0}).empty());
  CHECK(found({.from = largest, .to = std::numeric_limits<std::uint64_t>::max()}).empty());
  CHECK(found({.most = 0}).empty());
  CHECK(found({.task = 2, .most = 2}) == Ids{10, 30});
  CHECK(found({.with_payload = true}) == Ids{20, 50});
  CHECK(found({.newest_first = true, .with_payload = true}) == Ids{50, 20});
  CHECK(found({.task = 2, .most = 1, .with_payload = true}) == Ids{50});
  CHECK(read_all(*one.kept, {.from = 50, .with_payload = true}).at(0).response == "a50");

  Ids until;
  one.kept->read({}, [&](const Interaction& row, const Payload&) {
    until.push_back(row.id);
    return row.id != 30;
  });
  CHECK(until == Ids{10, 20, 30});
  CHECK_THROWS_AS(one.kept->read({}, [](const Interaction&, const Payload&) -> bool { throw std::string{"mine"}; }),
                  std::string);
  CHECK(found({.most = 1}) == Ids{10});
}

TEMPLATE_TEST_CASE("interactions: read goes through many, in both directions, and through rare ones",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::uint64_t count = 70'001;
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    std::vector<Interaction> rows;
    std::vector<Payload> payloads;
    std::vector<std::string> texts(count + 1);
    for (std::uint64_t id = 1; id <= count; ++id) {
      rows.push_back(row_of(id * 3, id == count || id == 1 ? 7 : 1));
      texts[id] = std::to_string(id * 3);
      if (id % 10 == 0) payloads.push_back({id * 3, texts[id], "a"});
    }
    (void)to.add(rows);
    to.add_payloads(payloads);
  });
  for (const bool newest_first : {false, true}) {
    const Ids ids = read_ids(*one.kept, {.newest_first = newest_first});
    REQUIRE(ids.size() == count);
    bool right = true;
    for (std::uint64_t i = 0; i != count; ++i) right = right && ids[i] == (newest_first ? count - i : i + 1) * 3;
    CHECK(right);
    const Ids rare = read_ids(*one.kept, {.task = 7, .newest_first = newest_first});
    CHECK(rare == (newest_first ? Ids{count * 3, 3} : Ids{3, count * 3}));
    const auto with_texts = read_all(*one.kept, {.newest_first = newest_first, .with_payload = true});
    CHECK(with_texts.size() == count / 10);
    for (const ReadRow& row : with_texts) REQUIRE(row.request == std::to_string(row.interaction.id));
    CHECK(read_ids(*one.kept, {.most = 10'000, .newest_first = newest_first}).size() == 10'000);
  }
}

TEMPLATE_TEST_CASE("interactions: find gives those that there are", "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::uint64_t count = 20'011;  // no multiple of whatever goes at once
  Ids there;
  Ids asked;
  for (std::uint64_t i = 1; i <= count; ++i) {
    asked.push_back(id_at(start_us, i));
    if (i % 3 == 0) there.push_back(asked.back());
  }
  const std::uint64_t next_day = id_at(start_us + 86'400'000'000);
  CHECK(found(*one.kept, asked).empty());
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.add(rows_of(there));
    (void)to.add(rows_of({1, next_day, largest}));
  });
  std::shuffle(asked.begin(), asked.end(), std::mt19937{6});
  CHECK((found(*one.kept, asked) == there));
  CHECK(found(*one.kept, {}).empty());
  CHECK(found(*one.kept, {largest, next_day, 2, 1}) == Ids{1, next_day, largest});
  CHECK(found(*one.kept, {0, largest + 1, std::numeric_limits<std::uint64_t>::max()}).empty());
  one.kept->find(Ids{next_day}, [&](const Interaction& row) { CHECK(row == row_of(next_day)); });
  CHECK_THROWS_AS(one.kept->find(Ids{1}, [](const Interaction&) { throw std::string{"mine"}; }), std::string);
  CHECK(found(*one.kept, {1}) == Ids{1});
}

TEMPLATE_TEST_CASE("interactions: others write while somebody reads", "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened reader{place.open()};
  const Opened writer{place.open()};
  deliver(*writer.kept, spool_a, [](Delivery& to) { (void)to.add(rows_of({1, 2, 3})); });
  Ids ids;
  reader.kept->read({}, [&](const Interaction& row, const Payload&) {
    if (ids.empty()) deliver(*writer.kept, spool_a, [](Delivery& to) { (void)to.add(rows_of({4})); });
    ids.push_back(row.id);
    return row.id < 3;
  });
  CHECK(ids == Ids{1, 2, 3});
  CHECK(read_ids(*reader.kept) == Ids{1, 2, 3, 4});
}

TEMPLATE_TEST_CASE("interactions: what is older goes in parts, with its texts and windows", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const TimeUs line_us = start_us - start_us % canary::window_us + canary::window_us;
  const std::uint32_t window = canary::window_of(line_us);
  constexpr std::uint64_t count = 12'345;
  Ids kept_ids;
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    std::vector<Interaction> rows;
    std::vector<Payload> payloads;
    for (std::uint64_t i = 0; i != count; ++i) {  // the last tenth is newer; so is one that took its time
      const TimeUs began_us =
          line_us - 1'000 * static_cast<TimeUs>(count - count / 10) + 1'000 * static_cast<TimeUs>(i);
      const TimeUs at_us = i == 77 ? line_us : began_us;
      rows.push_back(row_of(id_at(began_us), 1, at_us));
      if (i % 5 == 2) payloads.push_back({rows.back().id, "q", "a"});
      if (at_us >= line_us) kept_ids.push_back(rows.back().id);
    }
    (void)to.add(rows);
    to.add_payloads(payloads);
    for (const std::uint32_t at : {0u, window - 2, window - 1, window, window + 1}) {
      to.put({CountsKind::window, 1, 2, at, 0, "w"});
      to.put({CountsKind::evidence, 1, 2, at, 0, "e"});
    }
  });
  REQUIRE(kept_ids.size() == count / 10 + 1);
  int parts = 1;
  for (; parts != 1'000 && !one.kept->forget_before(line_us); ++parts) {
  }
  CHECK(parts != 1'000);
  CHECK((read_ids(*one.kept) == kept_ids));
  Ids with_payload;
  for (std::uint64_t i = 77; i < count; i += 5)
    if (i == 77 || i >= count - count / 10) with_payload.push_back(i);
  CHECK(read_ids(*one.kept, {.with_payload = true}).size() == with_payload.size());
  std::vector<std::uint32_t> windows;
  for (const CountsRow& row : sorted(one.kept->counts({}))) windows.push_back(row.at);
  CHECK(windows == std::vector<std::uint32_t>{window, window + 1});
  CHECK(one.kept->counts({.kind = CountsKind::evidence}).size() == 5);
  CHECK(one.kept->forget_before(line_us));

  while (!one.kept->forget_before(line_us + 1'000'000'000'000)) {
  }
  CHECK(read_ids(*one.kept).empty());
  CHECK(one.kept->counts({}).empty());
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(to.add(rows_of({id_at(line_us)})).empty()); });
  CHECK(read_ids(*one.kept, {.with_payload = true}).empty());  // the texts have gone too
}

TEMPLATE_TEST_CASE("interactions: what is older goes, however many that took their time stand before it",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  constexpr std::uint64_t slow = 25'000;
  const std::uint64_t first = id_at(start_us - 60'000'000);
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    std::vector<Interaction> rows;
    for (std::uint64_t i = 0; i != slow; ++i) rows.push_back(row_of(first + i));
    rows.push_back(row_of(first + slow, 1, start_us - 1));
    (void)to.add(rows);
  });
  while (!one.kept->forget_before(start_us)) {
  }
  CHECK(read_ids(*one.kept).size() == slow);
  CHECK(read_ids(*one.kept, {.from = first + slow}).empty());
}

TEMPLATE_TEST_CASE("interactions: units of lives that are over go in parts, and no others", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  std::vector<UnitKey> over;
  std::vector<UnitKey> kept;
  for (std::uint32_t i = 0; i != 12'345; ++i) over.push_back({3, i % 2 == 0 ? 5u : 8u, i, i + 1, i % 3 == 0});
  for (std::uint32_t i = 0; i != 50; ++i)
    for (const auto& [task, life] : {std::pair{3u, 4u}, {3u, 7u}, {3u, 10u}, {2u, 5u}, {4u, 5u}, {3u, 0xFFFF'FFFFu}})
      kept.push_back({task, life, i, i + 1, false});
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)claim(to, over);
    (void)claim(to, kept);
  });
  const std::vector<std::uint32_t> living{7, 4, 99};
  CHECK(one.kept->forget_units(9, 100, living));
  CHECK(one.kept->forget_units(3, 4, living));
  CHECK(one.kept->forget_units(3, 4, {}) == true);
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK((claim(to, {{3, 4, 0, 1, false}}) == Bits{true})); });
  int parts = 1;
  for (; parts != 1'000 && !one.kept->forget_units(3, 9, living); ++parts) {
  }
  CHECK(parts <= 2);
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    CHECK((find(to, over) == Bits(over.size(), false)));
    std::erase_if(kept, [](const UnitKey& unit) { return unit.task == 3 && unit.life == 4; });
    CHECK((find(to, kept) == Bits(kept.size(), true)));
    CHECK(find(to, {{3, 4, 0, 1, false}}) == Bits{true});
    CHECK(claim(to, {over[0]}) == Bits{true});  // the key is free
  });
}

TEMPLATE_TEST_CASE("interactions: a spool that is folded leaves its counts to the store, and is forgotten",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    to.put({CountsKind::window, 1, 2, 100, 0, "wa"});
    to.put({CountsKind::evidence, 1, 2, 100, 0, "ea"});
    to.put({CountsKind::drops, 1, 0, 100, 0, "da"});
    to.put({CountsKind::drops, 2, 0, 100, 0, "da2"});
  });
  deliver(*one.kept, spool_b, [&](Delivery& to) {
    to.put({CountsKind::window, 1, 2, 100, 0, "wb"});
    to.put({CountsKind::evidence, 1, 2, 101, 0, "eb"});
    to.put({CountsKind::drops, 1, 0, 100, 0, "db"});
  });
  const auto merge = [](CountsKind kind, std::string_view ours, std::string_view theirs) {
    constexpr std::string_view words[] = {" w ", " e ", " d "};
    std::string merged{ours};
    return (merged += words[static_cast<std::size_t>(kind) - 1]) += theirs;
  };
  const SpoolRecord a = one.kept->claim(spool_a, 1);
  const SpoolRecord b = one.kept->claim(spool_b, 1);
  SpoolRecord stale = a;
  --stale.generation;
  CHECK_FALSE(one.kept->fold(stale, merge));
  CHECK(one.kept->claim(spool_a, 1) == a);
  CHECK(one.kept->counts({.serial = 0}).empty());

  CHECK(one.kept->fold(a, merge));
  using Rows = std::vector<CountsRow>;
  CHECK(sorted(one.kept->counts({})) ==
        Rows{{CountsKind::window, 1, 2, 100, 0, "wa"}, {CountsKind::window, 1, 2, 100, b.serial, "wb"}});
  CHECK(one.kept->spools() == std::vector<SpoolRecord>{b});
  CHECK(one.kept->begin(a) == nullptr);
  CHECK_FALSE(one.kept->fold(a, merge));
  CHECK(one.kept->fold(b, merge));
  CHECK(one.kept->counts({}) == Rows{{CountsKind::window, 1, 2, 100, 0, "wa w wb"}});
  CHECK(sorted(one.kept->counts({.kind = CountsKind::evidence})) ==
        Rows{{CountsKind::evidence, 1, 2, 100, 0, "ea"}, {CountsKind::evidence, 1, 2, 101, 0, "eb"}});
  CHECK(sorted(one.kept->counts({.kind = CountsKind::drops})) ==
        Rows{{CountsKind::drops, 1, 0, 100, 0, "da d db"}, {CountsKind::drops, 2, 0, 100, 0, "da2"}});

  const SpoolRecord again = one.kept->claim(spool_b, 2);  // its node is free, its serial is not
  CHECK(again.serial > std::max(a.serial, b.serial));
  CHECK(again.generation == 0);
  CHECK((again.node == a.node || again.node == b.node));
}

TEMPLATE_TEST_CASE("interactions: a fold whose merge fails changes nothing", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const auto count = [](Delivery& to) { to.put({CountsKind::window, 1, 2, 100, 0, "w"}); };
  deliver(*one.kept, spool_a, count);
  deliver(*one.kept, spool_b, count);
  const auto take_theirs = [](CountsKind, std::string_view, std::string_view theirs) { return std::string{theirs}; };
  REQUIRE(one.kept->fold(one.kept->claim(spool_a, 1), take_theirs));
  const auto before = sorted(one.kept->counts({}));
  const auto b = one.kept->claim(spool_b, 1);
  CHECK_THROWS_AS(
      one.kept->fold(b, [](CountsKind, std::string_view, std::string_view) -> std::string { throw std::string{"no"}; }),
      std::string);
  CHECK(sorted(one.kept->counts({})) == before);
  CHECK(one.kept->claim(spool_b, 2) == b);
}

TEMPLATE_TEST_CASE("interactions: a task keeps its number, whoever asks", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  const Opened two{place.open()};
  std::uint32_t checks = 0;
  std::uint32_t others = 0;
  const std::string odd = "odd 'name' \"\xC3\xA9\"";
  deliver(*one.kept, spool_a, [&](Delivery& to) { checks = to.task_number("checks"); });
  deliver(*two.kept, spool_b, [&](Delivery& to) {
    CHECK(to.task_number("checks") == checks);
    others = to.task_number(odd);
    CHECK(others != checks);
    CHECK(to.task_number("Checks") != checks);
  });
  deliver(*one.kept, spool_a, [&](Delivery& to) { CHECK(to.task_number(odd) == others); });
  CHECK(one.kept->find_task("checks") == checks);
  CHECK(two.kept->find_task(odd) == others);
  CHECK_FALSE(one.kept->find_task("CHECKS"));
  auto names = one.kept->task_names();
  std::sort(names.begin(), names.end());
  CHECK(names.size() == 3);
  CHECK(std::find(names.begin(), names.end(), std::pair{checks, std::string{"checks"}}) != names.end());
  CHECK(std::find(names.begin(), names.end(), std::pair{others, odd}) != names.end());
}

TEMPLATE_TEST_CASE("interactions: of two that deliver at once, each has all of it, and each unit counts once",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  (void)Opened{place.open()};
  constexpr std::uint64_t rounds = 20;
  constexpr std::uint64_t rows_each = 50;
  std::atomic<std::uint64_t> fresh{0};
  std::atomic<std::uint64_t> left_out{0};
  std::atomic<int> failures{0};
  const auto work = [&](const std::string& spool) {
    try {
      const Opened mine{place.open()};
      for (std::uint64_t round = 0; round != rounds; ++round) {
        const auto delivery = mine.kept->begin(mine.kept->claim(spool, start_us));
        if (!delivery) throw StoreError{StoreErrc::invalid, "nobody else delivers this spool"};
        Ids ids;
        std::vector<UnitKey> units;
        for (std::uint64_t i = 1; i <= rows_each; ++i) {
          ids.push_back(round * rows_each + i);  // both have the same
          units.push_back({1, 5, static_cast<canary::Point>(ids.back()), ids.back(), false});
        }
        left_out += delivery->add(rows_of(ids)).size();
        for (const bool each : claim(*delivery, units)) fresh += each ? 1u : 0u;
        delivery->put({CountsKind::window, 1, 2, 100, 0, std::to_string(round)});
        delivery->commit(Lanes{{0, round}}, start_us);
      }
    } catch (const std::exception&) {
      ++failures;
    }
  };
  std::thread other{work, spool_a};
  work(spool_b);
  other.join();
  CHECK(failures == 0);
  CHECK(fresh == rounds * rows_each);
  CHECK(left_out == rounds * rows_each);
  const Opened one{place.open()};
  CHECK(read_ids(*one.kept).size() == rounds * rows_each);
  CHECK(one.kept->counts({}).size() == 2);
  for (const std::string& spool : {spool_a, spool_b}) {
    const SpoolRecord record = one.kept->claim(spool, 1);
    CHECK(record.generation == rounds);
    CHECK(record.lanes == Lanes{{0, rounds - 1}});
  }
}

TEMPLATE_TEST_CASE("interactions: a restore keeps what was recorded and drops what was counted for the guard",
                   "[contract][interactions]", CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  change(*one.store, "checks", {version_of(1, 5)});
  const UnitKey unit{1, 5, 7, 10, false};
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    (void)to.task_number("checks");
    (void)to.add(rows_of({10}));
    to.add_payloads(std::vector<Payload>{{10, "question", "answer"}});
    (void)claim(to, {unit});
    to.put_waiting(std::vector<Feedback>{{99, 1, 5}});
    to.put({CountsKind::window, 1, 2, 100, 0, "w"});
    to.put({CountsKind::evidence, 1, 2, 100, 0, "e"});
  });
  const SpoolRecord before = one.kept->claim(spool_a, 1);
  const SpoolRecord other = one.kept->claim(spool_b, 1);
  replace_by(*one.store, everything_in(*one.store));

  CHECK(read_all(*one.kept, {.with_payload = true}).at(0).response == "answer");
  CHECK(one.kept->counts({}).size() == 1);
  CHECK(one.kept->counts({.kind = CountsKind::evidence}).empty());
  CHECK(one.kept->find_task("checks"));
  CHECK(one.kept->begin(before) == nullptr);
  CHECK(one.kept->begin(other) == nullptr);
  SpoolRecord after = one.kept->claim(spool_a, 1);
  CHECK(after.generation > before.generation);
  after.generation = before.generation;
  CHECK(after == before);
  deliver(*one.kept, spool_a, [&](Delivery& to) {
    CHECK(find(to, {unit}) == Bits{false});
    (void)to.add(rows_of({99}));
    CHECK(ready(to).empty());
  });
}

TEMPLATE_TEST_CASE("interactions: a restore that fails leaves them as they are", "[contract][interactions]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const Opened one{place.open()};
  deliver(*one.kept, spool_a, [](Delivery& to) { to.put({CountsKind::evidence, 1, 2, 100, 0, "e"}); });
  const SpoolRecord before = one.kept->claim(spool_a, 1);
  CHECK_THROWS_AS(one.store->replace_all([]() -> std::optional<TaskContents> { throw std::string{"broken"}; }),
                  std::string);
  CHECK(one.kept->counts({.kind = CountsKind::evidence}).size() == 1);
  CHECK(one.kept->begin(before) != nullptr);
}
