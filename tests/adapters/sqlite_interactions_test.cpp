// What SQLite promises of interactions beyond the contract of every store: its one writer, its file, other programs.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "sqlite_place.hpp"

namespace sqlite_interactions_test {

namespace {

using namespace store_test;
using canary::CountsKind;
using canary::Delivery;
using canary::Interaction;
using canary::InteractionStore;
using canary::SpoolRecord;
using canary::SqliteStore;
using Ids = std::vector<std::uint64_t>;

std::vector<Interaction> rows_of(std::uint64_t first, std::uint64_t count) {
  std::vector<Interaction> rows(count);
  for (std::uint64_t i = 0; i != count; ++i) rows[i].id = first + i;
  return rows;
}

std::uint64_t count_of(InteractionStore& kept) {
  std::uint64_t count = 0;
  kept.read({}, [&](auto&&...) { return ++count != 0; });
  return count;
}

void deliver(InteractionStore& kept, const std::string& spool, const std::vector<Interaction>& rows) {
  const auto delivery = kept.begin(kept.claim(spool, 1));
  REQUIRE(delivery != nullptr);
  (void)delivery->add(rows);
  delivery->commit({}, 2);
}

}  // namespace

TEST_CASE("sqlite interactions: they never make the file, nor anew one that has gone", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  const auto kept = store->interactions();
  CHECK(refusal([&] { (void)kept->claim("a", 1); }) == StoreErrc::unreachable);
  CHECK(refusal([&] { (void)kept->begin({}); }) == StoreErrc::unreachable);
  CHECK(file.names().empty());
  (void)store->tasks();
  CHECK(kept->claim("a", 1).node == 0);
  for (const std::string& name : file.names()) std::filesystem::remove(file.folder.path() / name);
  CHECK(refusal([&] { (void)kept->claim("a", 1); }) == StoreErrc::unreachable);
  CHECK(file.names().empty());
}

TEST_CASE("sqlite interactions: a row costs no index", "[adapters][sqlite]") {
  const SqliteFile file;
  (void)file.open()->tasks();
  CHECK(PlainSql{file.path}.ask(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'interactions'") == "0");
}

TEST_CASE("sqlite interactions: a spool gets the lowest node that is free, and is told when there is none",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  (void)store->tasks();
  const auto kept = store->interactions();
  for (const char* spool : {"a", "b", "c"}) (void)kept->claim(spool, 1);
  REQUIRE(kept->fold(kept->claim("b", 1), [](auto, auto, auto theirs) { return std::string{theirs}; }));
  CHECK(kept->claim("d", 1).node == 1);
  CHECK(kept->claim("d", 1).serial == 4);
  CHECK(kept->claim("e", 1).node == 3);
  PlainSql{file.path}.must(
      "WITH RECURSIVE n(node) AS (SELECT 4 UNION ALL SELECT node + 1 FROM n WHERE node < 4094) "
      "INSERT INTO spools (spool, node, generation, at_us, lanes) SELECT 'of ' || node, node, 0, 0, x'' FROM n");
  CHECK(kept->claim("f", 1).node == 4'095);
  CHECK(refusal([&] { (void)kept->claim("g", 1); }) == StoreErrc::full);
  CHECK(kept->claim("f", 1).node == 4'095);  // it is known
  CHECK(kept->spools().size() == 4'096);
}

TEST_CASE("sqlite interactions: while a delivery is under way its store refuses, and others read what was before",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open({.timeout_ms = 50});
  (void)store->tasks();
  const auto kept = store->interactions();
  const auto other = store->interactions();
  const SpoolRecord spool = kept->claim("a", 1);
  const Commit next = change_to(load_all(*store, "checks"), {version_of(1, 1)});
  auto delivery = kept->begin(spool);
  (void)delivery->add(rows_of(1, 10));
  CHECK(refusal([&] { (void)kept->claim("a", 1); }) == StoreErrc::invalid);
  CHECK(refusal([&] { (void)kept->begin(spool); }) == StoreErrc::invalid);
  CHECK(refusal([&] { (void)kept->forget_before(1); }) == StoreErrc::invalid);
  CHECK(count_of(*other) == 0);
  CHECK(other->claim("a", 1) == spool);
  CHECK(refusal([&] { (void)other->begin(spool); }) == StoreErrc::unreachable);  // there is one writer
  CHECK(refusal([&] { (void)store->commit(next); }) == StoreErrc::unreachable);
  delivery->commit({}, 2);
  CHECK(count_of(*kept) == 10);  // before the object has gone
  CHECK(store->commit(next) == CommitResult::done);
  CHECK(refusal([&] { (void)delivery->add(rows_of(11, 1)); }) == StoreErrc::invalid);
  CHECK(refusal([&] { delivery->commit({}, 3); }) == StoreErrc::invalid);
  CHECK(count_of(*kept) == 10);
}

TEST_CASE("sqlite interactions: a delivery may outlive the objects that it came from", "[adapters][sqlite]") {
  const SqliteFile file;
  auto store = file.open();
  (void)store->tasks();
  auto kept = store->interactions();
  const auto delivery = kept->begin(kept->claim("a", 1));
  kept.reset();
  store.reset();
  (void)delivery->add(rows_of(1, 10));
  delivery->commit({}, 2);
  CHECK(count_of(*file.open()->interactions()) == 10);
}

TEST_CASE("sqlite interactions: an id that is none is refused, and the delivery is of no use then",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  (void)store->tasks();
  const auto kept = store->interactions();
  for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()}) {
    const auto delivery = kept->begin(kept->claim("a", 1));
    auto rows = rows_of(1, 100);
    rows[50].id = id;
    CHECK(refusal([&] { (void)delivery->add(rows); }) == StoreErrc::invalid);
    CHECK(refusal([&] { (void)delivery->add(rows_of(1, 1)); }) == StoreErrc::invalid);
    CHECK(refusal([&] { delivery->commit({}, 2); }) == StoreErrc::invalid);
  }
  CHECK(count_of(*kept) == 0);
  CHECK(kept->claim("a", 1).generation == 0);
}

TEST_CASE("sqlite interactions: a process that dies leaves what it committed, and nothing else", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto dies = [&](bool commits) {
    return in_another_process([&] {
      const auto store = file.open();
      (void)store->tasks();
      auto kept = store->interactions();
      auto delivery = kept->begin(kept->claim("a", 1));
      (void)delivery->add(rows_of(commits ? 1 : 100'001, 50'000));
      if (commits) delivery->commit(std::vector<canary::LanePosition>{{0, 50'000}}, 2);
      (void)delivery.release();  // as kill -9 leaves it
      return 0;
    });
  };
  CHECK(dies(true) == 0);
  CHECK(dies(false) == 0);
  const auto kept = file.open()->interactions();
  CHECK(count_of(*kept) == 50'000);
  const SpoolRecord spool = kept->claim("a", 1);
  CHECK(spool.generation == 1);
  CHECK(spool.lanes == std::vector<canary::LanePosition>{{0, 50'000}});
}

TEST_CASE("sqlite interactions: a full disk is told, and the delivery goes through once there is room",
          "[adapters][sqlite]") {
  const SqliteFile file;
  (void)file.open()->tasks();
  const auto at_most = [](rlim_t bytes) {
    (void)::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    (void)::getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    return ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  CHECK(in_another_process([&] {
          const auto store = file.open();
          const auto kept = store->interactions();
          deliver(*kept, "a", rows_of(1, 10));
          if (at_most(300'000) != 0) return 1;
          const SpoolRecord spool = kept->claim("a", 1);
          const auto code = refusal([&] { deliver(*kept, "a", rows_of(11, 50'000)); });
          if (code != StoreErrc::full) return 2;
          if (at_most(50'000'000) != 0) return 3;
          if (kept->claim("a", 1) != spool || count_of(*kept) != 10) return 4;
          deliver(*kept, "a", rows_of(11, 50'000));
          return count_of(*kept) == 50'010 ? 50 : 5;
        }) == 50);
}

TEST_CASE("sqlite interactions: a reader that takes its time keeps nobody from cutting the log", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  (void)store->tasks();
  const auto kept = store->interactions();
  deliver(*kept, "a", rows_of(1, 10'000));
  PlainSql other{file.path};
  std::uint64_t count = 0;
  kept->read({}, [&](const Interaction&, const auto&) {
    if (++count % 1'000 == 1) {
      other.must("UPDATE spools SET at_us = at_us + 1");
      CHECK(other.ask("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0");
    }
    return true;
  });
  CHECK(count == 10'000);
}

TEST_CASE("sqlite interactions: what makes no sense is told as corrupt, by its spool", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  (void)store->tasks();
  const auto kept = store->interactions();
  deliver(*kept, "a", rows_of(1, 10));
  PlainSql other{file.path};
  for (const char* lanes : {"x'80'", "x'01'", "x'ffffffffff01'", "x'8080808080808080808001'"}) {
    INFO(lanes);
    other.must(std::string{"UPDATE spools SET lanes = "} + lanes);
    std::string words;
    try {
      (void)kept->claim("a", 1);
    } catch (const StoreError& error) {
      CHECK(error.code == StoreErrc::corrupt);
      words = error.what();
    }
    CHECK(words.find("spool `a`") != std::string::npos);
  }
  other.must("UPDATE interactions SET point = 4294967296 WHERE id = 5");
  CHECK(refusal([&] { (void)count_of(*kept); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite interactions: of a read-only file they can be read", "[adapters][sqlite]") {
  const SqliteFile file;
  {
    const auto store = file.open();
    (void)store->tasks();
    deliver(*store->interactions(), "a", rows_of(1, 5'000));
  }
  REQUIRE(::chmod(file.path.c_str(), 0444) == 0);
  REQUIRE(::chmod(file.folder.path().c_str(), 0555) == 0);
  CHECK(as_a_common_user([&] {
          const auto kept = file.open()->interactions();
          if (count_of(*kept) != 5'000 || kept->spools().size() != 1) return 1;
          const SpoolRecord spool = kept->claim("a", 1);
          if (refusal([&] { (void)kept->begin(spool); }) != StoreErrc::read_only) return 2;
          if (refusal([&] { (void)kept->claim("b", 1); }) != StoreErrc::read_only) return 3;
          return 50;
        }) == 50);
  REQUIRE(::chmod(file.folder.path().c_str(), 0777) == 0);
}

}  // namespace sqlite_interactions_test
