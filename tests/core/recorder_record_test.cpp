// What record(), assign() and feedback() keep, and what they refuse.
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "history.hpp"
#include "recorder_support.hpp"

template class canary::BasicRecorder<canary::StdAtomics>;
template struct canary::detail::Lane<canary::StdAtomics>;

namespace recorder_record_test {

namespace {

using namespace canary;
using namespace canary::test;

TEST_CASE("recorder: an outcome comes out with all that its decision said", "[core][recorder]") {
  Recording<> r;
  r.set_node(9);
  r.recorder.set_time(noon_us);
  const VersionRecord chosen = record_of(2, 41, Reason::forced, true);
  Decision decision{&chosen, 0xDEAD'BEEF, 77};
  REQUIRE(r.recorder.record(decision,
                            {.latency_us = 1'234, .score = 0.25, .tokens_in = 5, .tokens_out = 6, .cost_microusd = 7}));
  CHECK(decision.interaction() != 0);
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 1);
  CHECK(entries[0] == Entry{.id = decision.interaction(),
                            .at_us = noon_us,
                            .task = 2,
                            .revision = 77,
                            .point = 0xDEAD'BEEF,
                            .number = 41,
                            .kind = EntryKind::outcome,
                            .reason = Reason::forced,
                            .error = 0,
                            .watched = true,
                            .payload = false,
                            .latency_us = 1'234,
                            .score = 250'000'000,
                            .tokens_in = 5,
                            .tokens_out = 6,
                            .cost_microusd = 7});
  CHECK(r.recorder.invalid() == 0);
}

TEST_CASE("recorder: an assignment and its outcome say the same of the decision, and have one id", "[core][recorder]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  Decision decision = decision_of(1, 5, 6);
  REQUIRE(r.recorder.assign(decision));
  const std::uint64_t id = decision.interaction();
  r.recorder.set_time(noon_us + 5'000'000);
  REQUIRE(r.recorder.record(decision, {}));
  CHECK(decision.interaction() == id);
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 2);
  Entry outcome = entries[0];
  CHECK(entries[0].kind == EntryKind::assigned);
  CHECK(entries[0].at_us == noon_us);
  CHECK(entries[0].latency_us == no_latency);
  CHECK(entries[0].score == no_score);
  outcome.kind = EntryKind::outcome;
  outcome.at_us = noon_us + 5'000'000;
  CHECK(entries[1] == outcome);
  // A decision that is assigned anew is another interaction.
  REQUIRE(r.recorder.assign(decision));
  CHECK(decision.interaction() != id);
}

TEST_CASE("recorder: a decision that must stay as it is stays so, and is kept with an id", "[core][recorder]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  const Decision decision = decision_of(1);
  REQUIRE(r.recorder.record(decision, {}));
  REQUIRE(r.recorder.record(decision_of(2), {}));
  CHECK(decision.interaction() == 0);
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].id != 0);
  CHECK(entries[1].id > entries[0].id);
  CHECK(entries[1].task == 2);
}

struct OutcomeCase {
  Outcome given;
  Entry kept;
  bool invalid = false;
};

std::vector<OutcomeCase> outcome_cases() {
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto latency = [](std::int64_t us, std::uint32_t kept, bool invalid) {
    return OutcomeCase{{.latency_us = us}, {.latency_us = kept}, invalid};
  };
  const auto score = [](double given, std::uint32_t kept) {
    return OutcomeCase{{.score = given}, {.score = kept}, kept == no_score};
  };
  const auto error = [](bool ok, ErrorKind kind, ErrorKind kept, bool invalid) {
    return OutcomeCase{{.ok = ok, .error = kind}, {.error = static_cast<std::uint8_t>(kept)}, invalid};
  };
  std::vector<OutcomeCase> cases{
      {},
      latency(-1, no_latency, false),
      latency(0, 0, false),
      latency(longest_latency_us - 1, longest_latency_us - 1, false),
      latency(longest_latency_us, longest_latency_us, false),
      latency(std::int64_t{longest_latency_us} + 1, longest_latency_us, false),
      latency(std::int64_t{longest_latency_us} + 2, longest_latency_us, false),
      latency(most, longest_latency_us, false),
      latency(-2, no_latency, true),
      latency(least, no_latency, true),
      score(0, 0),
      score(-0.0, 0),
      score(1, score_one),
      score(0.1, 100'000'000),
      score(std::numeric_limits<double>::denorm_min(), 0),
      score(-1e-300, no_score),
      score(1.0000000000000002, no_score),
      score(infinity, no_score),
      score(-infinity, no_score),
      score(std::numeric_limits<double>::quiet_NaN(), no_score),
      score(-std::numeric_limits<double>::quiet_NaN(), no_score),
      {{.cost_microusd = most}, {.cost_microusd = static_cast<std::uint64_t>(most)}},
      {{.cost_microusd = -1}, {.cost_microusd = 0}, true},
      {{.cost_microusd = least}, {.cost_microusd = 0}, true},
      error(false, ErrorKind::none, ErrorKind::other, false),
      error(true, static_cast<ErrorKind>(error_kinds), ErrorKind::other, true),
      error(true, static_cast<ErrorKind>(255), ErrorKind::other, true),
      {{.tokens_in = 0xFFFF'FFFF, .tokens_out = 0xFFFF'FFFF}, {.tokens_in = 0xFFFF'FFFF, .tokens_out = 0xFFFF'FFFF}},
      // One bad part leaves the others, a failure too; and it counts once.
      {{.latency_us = -7, .ok = false, .score = 7.0, .tokens_in = 1, .tokens_out = 2, .cost_microusd = -7},
       {.error = static_cast<std::uint8_t>(ErrorKind::other), .tokens_in = 1, .tokens_out = 2},
       true},
      {{.latency_us = 10, .ok = false, .score = 0.5, .cost_microusd = 3, .error = ErrorKind::timeout},
       {.error = 1, .latency_us = 10, .score = 500'000'000, .cost_microusd = 3}},
  };
  for (std::uint8_t kind = 1; kind != error_kinds; ++kind)
    for (const bool ok : {true, false})
      cases.push_back(error(ok, static_cast<ErrorKind>(kind), static_cast<ErrorKind>(kind), false));
  return cases;
}

TEST_CASE("recorder: of an outcome that makes no sense the rest is kept, and it is counted", "[core][recorder]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  for (int i = 0; i != 100; ++i) REQUIRE(r.recorder.record(decision_of(0), {}) == (i < 64));  // ids for many at once
  (void)r.drain();
  std::uint64_t invalid = 0;
  std::size_t at = 0;
  for (const OutcomeCase& c : outcome_cases()) {
    INFO("case " << at++);
    Decision decision = decision_of(1, 5, 6);
    REQUIRE(r.recorder.record(decision, c.given));
    Entry expected = c.kept;
    expected.id = decision.interaction();
    expected.at_us = noon_us;
    expected.task = 1;
    expected.point = 5;
    expected.revision = 6;
    const std::vector<Entry> entries = r.drain();
    REQUIRE(entries.size() == 1);
    CHECK(entries[0] == expected);
    invalid += c.invalid;
    CHECK(r.recorder.invalid() == invalid);
  }
  CHECK(r.torn == 0);
}

TEST_CASE("recorder: every score is kept as the nearest billionth", "[core][recorder]") {
  Recording<> r{1, 4'096};
  r.set_node(1);
  Random random{3};
  for (int round = 0; round != 50; ++round) {
    std::vector<double> scores;
    for (int i = 0; i != 2'000; ++i) {
      scores.push_back(static_cast<double>(random.next() >> 11) * 0x1p-53);
      REQUIRE(r.recorder.record(decision_of(0), {.score = scores.back()}));
    }
    const std::vector<Entry> entries = r.drain();
    REQUIRE(entries.size() == scores.size());
    for (std::size_t i = 0; i != scores.size(); ++i) REQUIRE(entries[i].score == score_billionths(scores[i]));
  }
}

TEST_CASE("recorder: texts are kept under their interaction's id, or counted when they cannot be", "[core][recorder]") {
  Recording<> r{0};
  std::array<char, 256> bytes{};
  TextRing::Counter written{0};
  TextRing texts{bytes.data(), bytes.size(), written};
  r.rings.push_back(std::make_unique<Recorder::Cell[]>(8));
  r.positions.push_back(0);
  REQUIRE(r.recorder.add_lane(r.rings.back().get(), 8, &texts));
  r.recorder.set_time(noon_us);
  REQUIRE(r.recorder.record(decision_of(0), {.request = "no id to keep it by"}));
  CHECK(r.recorder.lost_texts() == 1);
  r.set_node(1);
  r.recorder.set_time(noon_us + 1'000);
  Decision both = decision_of(0);
  Decision answer = decision_of(0);
  REQUIRE(r.recorder.record(both, {.request = "question", .response = "answer"}));
  REQUIRE(r.recorder.record(answer, {.ok = false, .response = "sorry"}));
  REQUIRE(r.recorder.record(decision_of(0), {}));
  CHECK(r.recorder.lost_texts() == 1);
  std::uint64_t position = 0;
  Texts kept;
  REQUIRE(texts.read(position, kept));
  CHECK(kept.id == both.interaction());
  CHECK(kept.request == "question");
  CHECK(kept.response == "answer");
  REQUIRE(texts.read(position, kept));
  CHECK(kept.id == answer.interaction());
  CHECK(kept.request.empty());
  CHECK(kept.response == "sorry");
  CHECK_FALSE(texts.read(position, kept));
  // Without room the outcome is kept all the same.
  REQUIRE(r.recorder.record(decision_of(0), {.request = std::string_view{bytes.data(), bytes.size()}}));
  CHECK(r.recorder.lost_texts() == 2);
  CHECK(r.drain().size() == 5);
  CHECK(r.torn == 0);
}

TEST_CASE("recorder: where no texts are kept they change nothing", "[core][recorder]") {
  Recording<> r;
  r.recorder.set_time(noon_us);
  REQUIRE(r.recorder.record(decision_of(0), {.latency_us = 5, .score = 0.5, .request = "question"}));
  CHECK(r.recorder.lost_texts() == 0);
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].latency_us == 5);
  CHECK(entries[0].score == 500'000'000);
}

TEST_CASE("recorder: feedback keeps an id and a score, and refuses what is neither", "[core][recorder]") {
  Recording<> r;
  r.recorder.set_time(noon_us);
  CHECK(r.recorder.feedback(77, 0.5));
  CHECK(r.recorder.feedback(~std::uint64_t{0} >> 1, 1));
  std::uint64_t refused = 0;
  for (const double bad : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_FALSE(r.recorder.feedback(77, bad));
    CHECK(r.recorder.invalid() == ++refused);
  }
  for (const std::uint64_t bad : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    CHECK_FALSE(r.recorder.feedback(bad, 0.5));
    CHECK(r.recorder.invalid() == ++refused);
  }
  const std::vector<Entry> entries = r.drain();
  REQUIRE(entries.size() == 2);
  CHECK(entries[0] == Entry{.id = 77, .at_us = noon_us, .kind = EntryKind::feedback, .score = 500'000'000});
  CHECK(entries[1].id == ~std::uint64_t{0} >> 1);
  CHECK(entries[1].score == score_one);
  for (const auto& drops : r.drops) CHECK(drops == 0);
}

TEST_CASE("recorder: a decision of no task is refused, counted beyond all tasks, and gets no id", "[core][recorder]") {
  Recording<> r;
  r.set_node(1);
  r.recorder.set_time(noon_us);
  Decision decision;
  const auto refused = [&] {
    return !r.recorder.record(decision, {}) && !r.recorder.assign(decision) &&
           !r.recorder.record(std::as_const(decision), {.ok = false}) && decision.interaction() == 0;
  };
  CHECK(refused());
  CHECK(r.drops[3] == 3);
  for (int i = 0; i != 5; ++i) REQUIRE(r.recorder.record(decision_of(0), {}));  // now it has a lane, and ids
  CHECK(refused());
  CHECK(r.drops[3] == 6);
  CHECK(r.drain().size() == 5);
  Decision next = decision_of(0);
  REQUIRE(r.recorder.record(next, {}));
  REQUIRE(r.drain().size() == 1);
}

TEST_CASE("recorder: a full ring drops, counts by task, and goes on after release", "[core][recorder]") {
  Recording<> r{1, 8};
  r.set_node(1);
  r.recorder.set_time(noon_us);
  for (std::uint32_t i = 0; i != 8; ++i) REQUIRE(r.recorder.record(decision_of(0, i), {}));
  for (std::size_t task = 0; task != 5; ++task)
    for (std::size_t i = 0; i <= task; ++i) {
      Decision decision = decision_of(task);
      CHECK_FALSE(r.recorder.record(decision, {}));
      CHECK(decision.interaction() == 0);
    }
  Decision assigned = decision_of(1);
  assigned.set_interaction(5);
  CHECK_FALSE(r.recorder.assign(assigned));
  CHECK(assigned.interaction() == 0);
  CHECK(r.recorder.drops()[0] == 1);
  CHECK(r.recorder.drops()[1] == 3);
  CHECK(r.recorder.drops()[2] == 3);
  CHECK(r.recorder.drops()[3] == 9);  // its own four, and task 4, which has no counter
  CHECK_FALSE(r.recorder.feedback(1, 0.5));
  CHECK(r.recorder.drops()[3] == 10);
  REQUIRE(r.drain().size() == 8);
  CHECK(r.recorder.record(decision_of(2), {}));
  CHECK(r.drain().size() == 1);
}

TEST_CASE("recorder: it may have no counters at all", "[core][recorder]") {
  Recorder recorder{{}};
  Decision decision = decision_of(1);
  CHECK_FALSE(recorder.record(decision, {}));
  CHECK(recorder.drops().empty());
}

TEST_CASE("recorder: nothing is overwritten before it is released", "[core][recorder]") {
  Recording<> r{1, 8};
  for (std::uint32_t i = 0; i != 8; ++i) REQUIRE(r.recorder.record(decision_of(0, i), {}));
  std::vector<Entry> seen = r.drain(0, true);  // read, but not released
  REQUIRE(seen.size() == 8);
  for (int i = 0; i != 20; ++i) CHECK_FALSE(r.recorder.record(decision_of(0, 100), {}));
  r.recorder.lane(0).release(3);
  for (std::uint32_t i = 8; i != 11; ++i) CHECK(r.recorder.record(decision_of(0, i), {}));
  CHECK_FALSE(r.recorder.record(decision_of(0, 100), {}));
  r.positions[0] = 3;
  seen = r.drain();
  REQUIRE(seen.size() == 8);
  for (std::uint32_t i = 0; i != 8; ++i) CHECK(seen[i].point == i + 3);
}

TEST_CASE("recorder: positions go on over many laps, however much is drained at once", "[core][recorder]") {
  for (const std::size_t cells : {1u, 2u, 16u}) {
    Recording<> r{1, cells};
    Random random{cells};
    std::uint32_t recorded = 0;
    std::uint32_t drained = 0;
    while (drained < 20'000) {
      for (std::uint32_t i = random.below(20); i != 0; --i) {
        const bool kept = r.recorder.record(decision_of(0, recorded), {.cost_microusd = recorded});
        REQUIRE(kept == (recorded - drained < cells));
        recorded += kept;
      }
      for (const Entry& entry : r.drain()) {
        REQUIRE(entry.point == drained);
        REQUIRE(entry.cost_microusd == drained);
        ++drained;
      }
      REQUIRE(r.positions[0] == drained);
    }
    CHECK(r.torn == 0);
  }
}

TEST_CASE("recorder: a drainer takes as many as it wants, and an entry that was damaged is shown as such",
          "[core][recorder]") {
  Recording<> r{1, 8};
  for (std::uint32_t i = 0; i != 5; ++i) REQUIRE(r.recorder.record(decision_of(0, i), {}));
  r.rings[0][2].words[4] ^= 1;
  std::vector<bool> whole;
  const auto visit = [&](const detail::EntryWords&, bool is_whole) { whole.push_back(is_whole); };
  CHECK(r.recorder.lane(0).read(0, 2, visit) == 2);
  CHECK(r.recorder.lane(0).read(2, 100, visit) == 5);
  CHECK(r.recorder.lane(0).read(5, 100, visit) == 5);
  CHECK(whole == std::vector<bool>{true, true, false, true, true});
}

TEST_CASE("recorder: without a lane everything is dropped and counted, until one comes", "[core][recorder]") {
  Recording<> r{0};
  r.set_node(1);
  Decision decision = decision_of(1);
  CHECK_FALSE(r.recorder.record(decision, {}));
  CHECK_FALSE(r.recorder.assign(decision));
  CHECK_FALSE(r.recorder.feedback(1, 1));
  CHECK(r.drops[1] == 2);
  CHECK(r.drops[3] == 1);
  r.add(8);
  CHECK(r.recorder.vacant_lanes() == 1);
  CHECK(r.recorder.record(decision, {}));
  CHECK(r.recorder.vacant_lanes() == 0);
}

TEST_CASE("recorder: it takes max_lanes and no more", "[core][recorder]") {
  Recording<> r{0};
  std::vector<Recorder::Cell> cells(Recorder::max_lanes + 1);
  for (std::size_t i = 0; i != Recorder::max_lanes; ++i) REQUIRE(r.recorder.add_lane(&cells[i], 1));
  CHECK_FALSE(r.recorder.add_lane(&cells.back(), 1));
  CHECK(r.recorder.lane_count() == Recorder::max_lanes);
}

TEST_CASE("recorder: a time before 1970 or beyond reason is the nearest that an entry can hold", "[core][recorder]") {
  Recording<> r;
  for (const std::int64_t time : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(), detail::last_time_us + 1,
                                  std::numeric_limits<std::int64_t>::max()}) {
    r.recorder.set_time(time);
    REQUIRE(r.recorder.record(decision_of(0), {}));
    const std::vector<Entry> entries = r.drain();
    REQUIRE(entries.size() == 1);
    CHECK(entries[0].at_us == (time < 0 ? 0 : detail::last_time_us));
    CHECK(entries[0].kind == EntryKind::outcome);
    CHECK(entries[0].error == 0);
  }
}

}  // namespace

}  // namespace recorder_record_test
