// Programs of different schemas at one SQLite file: what works together, what is refused in words, who migrates.
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "sqlite_place.hpp"

namespace sqlite_schema_test {

namespace {

using namespace store_test;
using canary::SqliteMigration;
using canary::SqliteOptions;
using canary::SqliteStore;

/// The schemas that there are, and three to come. The fourth has a guard of its own.
constexpr std::array<SqliteMigration, 5> migrations{{
    canary::sqlite_migrations[0],
    canary::sqlite_migrations[1],
    {"ALTER TABLE tasks ADD COLUMN owner TEXT NOT NULL DEFAULT ''"},
    {"ALTER TABLE versions ADD COLUMN region TEXT NOT NULL DEFAULT ''; UPDATE versions SET region = 'eu'",
     "CREATE TRIGGER only_guard BEFORE DELETE ON versions BEGIN SELECT RAISE(ABORT, 'no'); END",
     "DROP TRIGGER only_guard"},
    {"CREATE TABLE more (x INTEGER) STRICT"},
}};

/// What a program of this schema is compiled with.
SqliteOptions program(std::uint32_t schema) {
  return {.timeout_ms = 200, .schema = {std::span{migrations}.first(schema)}};
}

std::string triggers(const SqliteFile& file) {
  return PlainSql{file.path}.ask("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'");
}

/// The words with which a call is refused.
template <class Call>
std::string words(Call call) {
  try {
    call();
  } catch (const StoreError& error) {
    return std::string{error.what()} + "; " + error.hint;
  }
  return {};
}

}  // namespace

TEST_CASE("sqlite schema: a new file has the newest that its maker knows", "[adapters][sqlite]") {
  for (const std::uint32_t schema : {1u, 2u, 3u, 4u, 5u}) {
    const SqliteFile file;
    const auto store = file.open(program(schema));
    CHECK(store->info().schema == schema);
    CHECK(store->info().program_schema == schema);
    change(*store, "checks", {version_of(1, 5)});
    CHECK(triggers(file) == (schema == 1 ? "19" : schema < 4 ? "25" : "1"));
  }
}

TEST_CASE("sqlite schema: an older file is brought forward by whoever has it alone", "[adapters][sqlite]") {
  const SqliteFile file;
  change(*file.open(program(1)), "checks", {version_of(1, 5)});
  const std::string guards = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name <> 'jobs' ORDER BY sql";
  const std::string schema_1 = PlainSql{file.path}.ask(guards);
  const auto store = file.open(program(2));
  CHECK(load_all(*store, "checks").versions.size() == 1);
  CHECK(store->info().schema == 2);
  CHECK(PlainSql{file.path}.ask(guards) == schema_1);
  CHECK(triggers(file) == "25");
  CHECK(PlainSql{file.path}.ask("PRAGMA journal_mode") == "wal");
  change(*store, "checks", {version_of(2, 5)});
}

TEST_CASE("sqlite schema: several steps are taken at once", "[adapters][sqlite]") {
  const SqliteFile file;
  change(*file.open(program(1)), "checks", {version_of(1, 5)});
  const auto store = file.open(program(5));
  CHECK(store->follow()->changes({}).tasks.size() == 1);
  CHECK(store->info().schema == 5);
  CHECK(PlainSql{file.path}.ask("SELECT region FROM versions") == "eu");
  CHECK(triggers(file) == "1");
}

TEST_CASE("sqlite schema: programs N and N + 1 share a file of schema N", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto old_program = file.open(program(1));
  change(*old_program, "checks", {version_of(1, 5)});
  const auto new_program = file.open(program(2));
  change(*new_program, "checks", {version_of(2, 6)});
  CHECK(new_program->info().schema == 1);
  CHECK(new_program->info().program_schema == 2);
  change(*old_program, "checks", {version_of(3, 7)});
  CHECK(load_all(*new_program, "checks").versions.size() == 3);

  // A replacement by the newer one leaves the older one's guards.
  replace_by(*new_program, everything_in(*new_program));
  CHECK(triggers(file) == "19");
  change(*old_program, "checks", {version_of(4, 7)});
}

TEST_CASE("sqlite schema: a migration under way of others is noticed by their next call", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto old_program = file.open(program(1));
  change(*old_program, "checks", {version_of(1, 5)});
  const auto old_follower = old_program->follow();
  (void)old_follower->changes({});
  const auto new_program = file.open(program(2));
  const auto new_follower = new_program->follow();
  const auto position = new_follower->changes({}).position;
  const Commit change_of_old = change_to(load_all(*old_program, "checks"), {version_of(2, 6)});

  CHECK(new_program->migrate() == 1);
  CHECK(new_program->migrate() == 2);
  CHECK(new_program->info().schema == 2);
  CHECK(refusal([&] { (void)old_program->commit(change_of_old); }) == StoreErrc::schema_newer);
  CHECK(refusal([&] { (void)old_program->load("checks", {}); }) == StoreErrc::schema_newer);
  CHECK(refusal([&] { (void)old_follower->changes({}); }) == StoreErrc::schema_newer);
  CHECK(words([&] { (void)old_program->tasks(); }) ==
        "`" + file.path + "`: written by a newer canary: schema 2, this program knows 1; upgrade this program");
  CHECK(old_program->info().schema == 2);  // it can still say what is the matter
  CHECK(new_program->commit(change_of_old) == CommitResult::done);
  CHECK(new_follower->changes(position).tasks.size() == 1);
  CHECK(refusal([&] { (void)old_program->migrate(); }) == StoreErrc::schema_newer);
}

TEST_CASE("sqlite schema: a file two schemas back is refused while others have it open", "[adapters][sqlite]") {
  const SqliteFile file;
  auto old_program = file.open(program(1));
  change(*old_program, "checks", {version_of(1, 5)});
  const auto new_program = file.open(program(3));
  CHECK(refusal([&] { (void)new_program->tasks(); }) == StoreErrc::schema_older);
  CHECK(words([&] { (void)new_program->tasks(); }).find("schema 1 is too old: this program knows 3 and 2") !=
        std::string::npos);
  CHECK(new_program->info().schema == 1);
  SECTION("until they have closed it") { old_program.reset(); }
  SECTION("until it is migrated on demand") { CHECK(new_program->migrate() == 1); }
  CHECK(new_program->tasks().size() == 1);
  CHECK(new_program->info().schema == 3);
}

TEST_CASE("sqlite schema: a migration that fails changes nothing", "[adapters][sqlite]") {
  static constexpr std::array<SqliteMigration, 3> broken{{
      canary::sqlite_migrations[0],
      canary::sqlite_migrations[1],
      {"ALTER TABLE tasks ADD COLUMN owner TEXT NOT NULL DEFAULT ''; INSERT INTO no_such_table VALUES (1)"},
  }};
  const SqliteFile file;
  change(*file.open(), "checks", {version_of(1, 5)});
  const auto store = file.open({.schema = {broken}});
  CHECK(refusal([&] { (void)store->migrate(); }).has_value());
  CHECK(refusal([&] { (void)store->tasks(); }).has_value());
  const auto as_before = file.open();
  CHECK(as_before->info().schema == 2);
  CHECK(triggers(file) == "25");
  change(*as_before, "checks", {version_of(2, 5)});
  const SqliteFile none;
  CHECK(refusal([&] { (void)none.open({.schema = {broken}})->tasks(); }).has_value());
  CHECK(none.names().empty());
}

TEST_CASE("sqlite schema: a file of schema 1 serves its registry, and says who brings it to keep interactions",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto old_program = file.open(program(1));
  change(*old_program, "checks", {version_of(1, 5)});
  const auto new_program = file.open(program(2));
  Commit opens = change_to(load_all(*new_program, "checks"), {version_of(2, 6, Status::active)});
  opens.row.epoch = "an epoch";
  opens.row.rollouts = "a rollout";
  CHECK(new_program->commit(opens) == CommitResult::done);
  CHECK(load_all(*new_program, "checks").epoch.empty());  // nowhere to keep it
  CHECK(new_program->history("checks", {}).at(1).epoch.empty());
  CHECK(load_all(*new_program, "checks").rollouts.empty());
  CHECK(new_program->history("checks", {}).at(1).rollouts.empty());
  CHECK(new_program->follow()->changes({}).tasks.at(0).versions.at(1).status == Status::active);
  const auto kept = new_program->interactions();
  CHECK(refusal([&] { (void)kept->claim("a", 1); }) == StoreErrc::schema_older);
  CHECK(refusal([&] { (void)kept->begin({}); }) == StoreErrc::schema_older);
  CHECK(refusal([&] { kept->read({}, [](auto&&...) { return true; }); }) == StoreErrc::schema_older);
  CHECK(words([&] { (void)kept->counts({}); }) == "`" + file.path +
                                                      "`: schema 1 keeps no interactions; upgrade the other programs "
                                                      "that have it open, then: canary store migrate");

  CHECK(new_program->migrate() == 1);
  CHECK(kept->claim("a", 1).generation == 0);
  CHECK(load_all(*new_program, "checks").versions.size() == 2);
  CHECK(load_all(*new_program, "checks").epoch.empty());
  opens = change_to(load_all(*new_program, "checks"), {version_of(2, 7)});
  opens.row.epoch = "an epoch";
  opens.row.rollouts = "a rollout";
  CHECK(new_program->commit(opens) == CommitResult::done);
  CHECK(load_all(*new_program, "checks").epoch == "an epoch");
  CHECK(load_all(*new_program, "checks").rollouts == "a rollout");
}

TEST_CASE("sqlite schema: what an older program writes in a newer file stands beside what it does not know",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  change(*store, "checks", {version_of(1, 5)});
  PlainSql other{file.path};  // the statements of schema 1 name their columns
  other.must(
      "INSERT INTO tasks (name, revision, change, version_count, allocated_ppm, partition) "
      "VALUES ('older', 0, 9, 0, 0, '0:0|0:1000000')");
  other.must("UPDATE tasks SET revision = 1 WHERE name = 'older'");
  other.must(
      "INSERT INTO history (task, revision, at_us, actor, action, number, note, partition, points_moved, "
      "points_minimum, restores, status_changes, evidence) "
      "VALUES ('older', 1, 0, '', '', 0, '', '0:0|0:1000000', 0, 0, 0, '', '')");
  CHECK(load_all(*store, "older").epoch.empty());
  CHECK(store->history("older", {}).at(0).epoch.empty());
  CHECK(load_all(*store, "older").rollouts.empty());
}

}  // namespace sqlite_schema_test
