#include "canary/core/entry.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <limits>
#include <vector>

#include "canary/core/recorder.hpp"
#include "history.hpp"

namespace entry_test {

namespace {

using namespace canary;
using namespace canary::detail;
using canary::test::Random;

template <class Number>
constexpr Number most = std::numeric_limits<Number>::max();

Entry random_entry(Random& random) {
  Entry entry;
  entry.id = random.next() >> 1;
  entry.at_us = static_cast<std::int64_t>(random.next() >> 8);
  entry.task = static_cast<std::uint32_t>(random.next());
  entry.revision = static_cast<std::uint32_t>(random.next());
  entry.point = static_cast<std::uint32_t>(random.next());
  entry.number = static_cast<std::uint16_t>(random.next());
  entry.kind = static_cast<EntryKind>(random.below(3));
  entry.reason = static_cast<Reason>(random.below(4));
  entry.error = static_cast<std::uint8_t>(random.below(16));
  entry.watched = random.below(2) == 1;
  entry.payload = random.below(2) == 1;
  entry.latency_us = static_cast<std::uint32_t>(random.next());
  entry.score = static_cast<std::uint32_t>(random.next());
  entry.tokens_in = static_cast<std::uint32_t>(random.next());
  entry.tokens_out = static_cast<std::uint32_t>(random.next());
  entry.cost_microusd = random.next();
  return entry;
}

/// One entry of each field at its end, all else as it begins; and all at their ends.
std::vector<Entry> extremes() {
  std::vector<Entry> all(17);
  all[1].id = most<std::uint64_t> >> 1;
  all[2].at_us = last_time_us;
  all[3].task = most<std::uint32_t>;
  all[4].revision = most<std::uint32_t>;
  all[5].point = most<std::uint32_t>;
  all[6].number = most<std::uint16_t>;
  all[7].kind = EntryKind::feedback;
  all[8].reason = Reason::tripped;
  all[9].error = 15;
  all[10].watched = true;
  all[11].payload = true;
  all[12].latency_us = 0;
  all[13].score = 0;
  all[14].tokens_in = most<std::uint32_t>;
  all[15].tokens_out = most<std::uint32_t>;
  all[16].cost_microusd = most<std::uint64_t>;
  Entry full = all[1];
  full.at_us = last_time_us;
  full.task = full.revision = full.point = full.tokens_in = full.tokens_out = most<std::uint32_t>;
  full.latency_us = longest_latency_us;
  full.score = score_one;
  full.number = most<std::uint16_t>;
  full.kind = EntryKind::feedback;
  full.reason = Reason::tripped;
  full.error = 15;
  full.watched = full.payload = true;
  full.cost_microusd = most<std::uint64_t>;
  all.push_back(full);
  return all;
}

/// What a drainer finds at `position`: nothing of that position, or something that is whole or not.
enum class Found { nothing, torn, whole };
Found look(const EntryWords& words, std::uint64_t stamp, std::uint64_t position) {
  if (!is_of(stamp, position)) return Found::nothing;
  return stamp == stamp_of(position, words) ? Found::whole : Found::torn;
}

TEST_CASE("entry: what goes in comes out", "[core][entry]") {
  for (const Entry& entry : extremes()) CHECK(unpack(pack(entry)) == entry);
  Random random{1};
  for (int i = 0; i != 100'000; ++i) {
    const Entry entry = random_entry(random);
    REQUIRE(unpack(pack(entry)) == entry);
  }
}

TEST_CASE("entry: the words of a version record are those of its fields", "[core][entry]") {
  Random random{2};
  for (int i = 0; i != 1'000; ++i) {
    VersionRecord record;
    record.task = static_cast<std::uint32_t>(random.next());
    record.number = static_cast<std::uint16_t>(random.next());
    record.reason = static_cast<Reason>(random.below(4));
    record.watched = random.below(2) == 1;
    REQUIRE(version_word(record) == version_word(record.task, record.number, record.reason, record.watched));
  }
}

TEST_CASE("entry: each of its 512 bits shows when it turns over", "[core][entry]") {
  Random random{3};
  int unseen = 0;
  for (int i = 0; i != 200; ++i) {
    const EntryWords words = pack(random_entry(random));
    const std::uint64_t position = i < 100 ? static_cast<std::uint64_t>(i) : random.next() >> 16;
    const std::uint64_t stamp = stamp_of(position, words);
    REQUIRE(look(words, stamp, position) == Found::whole);
    for (std::size_t bit = 0; bit != 448; ++bit) {
      EntryWords changed = words;
      changed[bit / 64] ^= std::uint64_t{1} << bit % 64;
      unseen += look(changed, stamp, position) != Found::torn;
    }
    for (int bit = 0; bit != 64; ++bit) {
      const Found found = look(words, stamp ^ std::uint64_t{1} << bit, position);
      unseen += found != (bit < check_bits ? Found::torn : Found::nothing);
    }
  }
  CHECK(unseen == 0);
}

TEST_CASE("entry: words of the lap before among those of this one show but for one time in 65,536", "[core][entry]") {
  Random random{4};
  int unseen = 0;
  constexpr int rounds = 1 << 20;
  for (int i = 0; i != rounds; ++i) {
    Entry before = random_entry(random);
    Entry entry = before;  // most of what a lane's entries say is the same
    entry.id += 1 + random.below(5'000);
    entry.at_us += 1 + random.below(5'000'000);
    entry.point = static_cast<std::uint32_t>(random.next());
    entry.latency_us = random.below(5'000'000);
    before.latency_us = random.below(5'000'000);
    entry.tokens_in = random.below(4'000);
    before.tokens_in = random.below(4'000);
    entry.cost_microusd = random.below(20'000);
    before.cost_microusd = random.below(20'000);
    const EntryWords old = pack(before);
    const EntryWords words = pack(entry);
    const std::uint32_t stale = 1 + random.below(126);  // of the seven at least one and not all
    EntryWords mixed = words;
    for (std::size_t at = 0; at != mixed.size(); ++at)
      if ((stale >> at & 1) != 0) mixed[at] = old[at];
    unseen += mixed != words && look(mixed, stamp_of(9, words), 9) != Found::torn;
  }
  INFO(unseen << " of " << rounds);
  CHECK(unseen < 2 * rounds / 65'536);
}

TEST_CASE("entry: memory that was never written, and a stamp of another lap, are no entry", "[core][entry]") {
  const EntryWords zero{};
  Random random{5};
  for (std::uint64_t position = 0; position != 10'000; ++position) {
    REQUIRE(look(zero, 0, position) == Found::nothing);
    REQUIRE(stamp_of(position, random.next()) != 0);
    REQUIRE(look(zero, stamp_of(position, zero), position + 64) == Found::nothing);
    REQUIRE(look(zero, stamp_of(position + 64, zero), position) == Found::nothing);
  }
}

TEST_CASE("outcome: scores become billionths, and what is no score becomes none", "[core][entry]") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(score_billionths(0) == 0);
  CHECK(score_billionths(-0.0) == 0);
  CHECK(score_billionths(1) == score_one);
  CHECK(score_billionths(0.5) == 500'000'000);
  CHECK(score_billionths(0.123456789) == 123'456'789);
  CHECK(score_billionths(std::numeric_limits<double>::denorm_min()) == 0);
  for (const double bad : {-1e-9, -std::numeric_limits<double>::denorm_min(), 1.0000000001, 2.0, infinity, -infinity,
                           std::numeric_limits<double>::quiet_NaN()})
    CHECK(score_billionths(bad) == no_score);
}

TEST_CASE("outcome: every kind of error has a word of its own", "[core][entry]") {
  CHECK(to_string(ErrorKind::none).empty());
  for (std::uint8_t a = 1; a != error_kinds; ++a) {
    CHECK_FALSE(to_string(static_cast<ErrorKind>(a)).empty());
    for (std::uint8_t b = 0; b != a; ++b)
      CHECK(to_string(static_cast<ErrorKind>(a)) != to_string(static_cast<ErrorKind>(b)));
  }
  CHECK(to_string(static_cast<ErrorKind>(200)) == "other");
}

TEST_CASE("interaction id: time, node and count come out as they went in, in 63 bits", "[core][entry]") {
  Random random{6};
  for (int i = 0; i != 100'000; ++i) {
    const std::uint64_t cursor = random.next() & InteractionId::last_cursor;
    const std::uint32_t node = random.below(InteractionId::nodes);
    const std::uint64_t id = InteractionId::at(cursor, node);
    REQUIRE(id >> 63 == 0);
    REQUIRE(InteractionId::node(id) == node);
    REQUIRE(InteractionId::cursor_at(InteractionId::time_us(id)) == cursor >> 10 << 10);
    REQUIRE(InteractionId::left_at(cursor) == 1'024 - cursor % 1'024);
  }
  CHECK(InteractionId::at(InteractionId::last_cursor, InteractionId::nodes - 1) == ~std::uint64_t{0} >> 1);
  CHECK(InteractionId::cursor_at(InteractionId::start_us + 2'999) == 2 * 1'024);
  CHECK(InteractionId::cursor_at(std::numeric_limits<std::int64_t>::min()) == 0);
  CHECK(InteractionId::first_at(InteractionId::start_us + 1'000) == std::uint64_t{1} << 22);
}

}  // namespace

}  // namespace entry_test
