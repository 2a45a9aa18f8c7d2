// What SqliteStore promises beyond the contract of every store: its file, and what other programs cannot do to it.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "sqlite_place.hpp"

namespace sqlite_store_test {

namespace {

using namespace store_test;
using canary::SqliteStore;
using canary::StoreDelta;
using canary::StorePosition;
using Names = std::set<std::string>;

/// Task `checks`: 1 archived, 2 and 3 with 60 % and 30 %.
void fill(SqliteStore& store) {
  change(store, "checks", {version_of(1, 0)});
  change(store, "checks", {version_of(1, 0, Status::archived)});
  change(store, "checks", {version_of(2, 600'000, Status::active)});
  change(store, "checks", {version_of(3, 300'000)});
}

}  // namespace

TEST_CASE("sqlite: making a store object touches nothing", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  const auto follower = store->follow();
  follower->wait(std::chrono::milliseconds{1});
  CHECK(file.names().empty());
}

TEST_CASE("sqlite: a new file is a marked WAL database that nobody saw half made", "[adapters][sqlite]") {
  const SqliteFile file;
  {
    const auto store = file.open();
    CHECK(store->tasks().empty());
    CHECK(store->info().place == "sqlite:" + file.path);
    CHECK(store->info().engine.starts_with("SQLite 3."));
  }
  CHECK(file.names() == Names{"canary.db"});
  PlainSql sql{file.path};
  CHECK(sql.ask("PRAGMA journal_mode") == "wal");
  CHECK(sql.ask("PRAGMA application_id") == std::to_string(0x636E7279));
  CHECK(sql.ask("PRAGMA integrity_check") == "ok");
  struct stat status {};
  REQUIRE(::stat(file.path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07133) == 0);  // 0644 at most
}

TEST_CASE("sqlite: any path will do, with and without sqlite: in front", "[adapters][sqlite]") {
  const SqliteFile file;
  for (const char* name : {"plain", "with space", "ques?tion=1&mode=memory", "per%20cent", "h#sh", "qu'o\"te",
                           ":memory:", "file:name", "\xF0\x9F\x90\xA4", "b\xFFroken", "sqlite:twice", "new\nline"}) {
    const std::string path = (file.folder.path() / name).string();
    SqliteStore one{"sqlite:" + path};
    change(one, "checks", {version_of(1, 1)});
    SqliteStore two{path};
    CHECK(two.tasks().size() == 1);
    CHECK(std::filesystem::exists(path));
  }
  for (const std::string& url : {std::string{}, std::string{"sqlite:"}, std::string("a\0b", 3)})
    CHECK(refusal([&] { SqliteStore{url}; }) == StoreErrc::invalid);
}

TEST_CASE("sqlite: a relative path stays where it was when the program changes its folder", "[adapters][sqlite]") {
  const SqliteFile file;
  CHECK(in_another_process([&] {
          std::filesystem::current_path(file.folder.path());
          SqliteStore named_as_in_memory{":memory:"};
          std::filesystem::current_path("/");
          return named_as_in_memory.tasks().empty() ? 0 : 1;
        }) == 0);
  CHECK(file.names().contains(":memory:"));
}

TEST_CASE("sqlite: eight processes that begin with no file end with every change in history", "[adapters][sqlite]") {
  const SqliteFile file;
  constexpr int processes = 8;
  constexpr std::uint32_t changes_each = 20;
  const int answer = in_another_process([&] {
    for (int i = 0; i != processes; ++i) {
      if (::fork() != 0) continue;
      int code = 1;
      try {
        SqliteStore store{file.path};
        for (std::uint32_t done = 0; done != changes_each;)
          if (store.commit(change_to(load_all(store, "checks"), {version_of(1, done)}, std::to_string(i))) ==
              CommitResult::done)
            ++done;
        code = 0;
      } catch (const StoreError&) {
      }
      std::_Exit(code);
    }
    int failures = 0;
    int status = 0;
    while (::wait(&status) > 0) failures += status == 0 ? 0 : 1;
    return failures;
  });
  CHECK(answer == 0);
  const auto store = file.open();
  const auto rows = store->history("checks", {});
  REQUIRE(rows.size() == processes * changes_each);
  for (std::uint32_t i = 0; i != rows.size(); ++i) CHECK(rows[i].revision == i + 1);
  for (int i = 0; i != processes; ++i)
    CHECK(std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row.note == std::to_string(i); }) ==
          changes_each);
}

TEST_CASE("sqlite: a second program that writes plain SQL cannot break what must never be wrong",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  fill(*store);
  const auto before = everything_in(*store);
  PlainSql other{file.path};  // foreign keys off, as SQLite is by default
  const std::string as_before = other.ask("SELECT * FROM tasks") + other.ask("SELECT * FROM store");
  const std::string columns = ", 'm', '', 'CANDIDATE', ";
  const std::string texts = ", '', 0, 0, '', '', '', '', '')";
  const std::string history = ", 'id', 0, '', '', 0, '', '0:0|0:1000000', 0, 0, 0, '', '', '', '')";
  const std::vector<std::string> attempts{
      "UPDATE versions SET weight_ppm = 700001 WHERE number = 2",
      "UPDATE OR IGNORE versions SET weight_ppm = 700001 WHERE number = 2",
      "UPDATE OR REPLACE versions SET weight_ppm = 700001 WHERE number = 2",
      "UPDATE OR FAIL versions SET weight_ppm = weight_ppm + 300000 WHERE number > 1",
      "UPDATE versions SET weight_ppm = -1 WHERE number = 2",
      "UPDATE versions SET weight_ppm = 'half' WHERE number = 2",
      "UPDATE versions SET weight_ppm = 1 WHERE number = 1",
      "UPDATE versions SET status = 'ACTIVE' WHERE number = 1",
      "UPDATE OR IGNORE versions SET status = 'ACTIVE' WHERE number = 1",
      "UPDATE versions SET status = 'BETA' WHERE number = 2",
      "UPDATE versions SET number = 9 WHERE number = 2",
      "UPDATE OR REPLACE versions SET number = 3 WHERE number = 2",
      "UPDATE versions SET task = 'others' WHERE number = 2",
      "DELETE FROM versions WHERE number = 3",
      "INSERT INTO versions VALUES ('checks', 5" + columns + "0" + texts,
      "INSERT INTO versions VALUES ('checks', 3" + columns + "0" + texts,
      "INSERT OR REPLACE INTO versions VALUES ('checks', 3" + columns + "0" + texts,
      "REPLACE INTO versions VALUES ('checks', 1" + columns + "0" + texts,
      "INSERT INTO versions VALUES ('checks', 4" + columns + "100001" + texts,
      "INSERT OR IGNORE INTO versions VALUES ('checks', 4" + columns + "100001" + texts,
      "INSERT INTO versions VALUES ('nobody', 1" + columns + "0" + texts,
      "UPDATE tasks SET allocated_ppm = 0",
      "UPDATE tasks SET version_count = 2",
      "UPDATE tasks SET version_count = 9",
      "UPDATE tasks SET revision = revision - 1",
      "UPDATE tasks SET revision = revision + 2",
      "UPDATE tasks SET name = 'others'",
      "DELETE FROM tasks",
      "INSERT INTO tasks VALUES ('others', 3, 1, 0, 0, '', '', '')",
      "REPLACE INTO tasks VALUES ('checks', 0, 1, 0, 0, '', '', '')",
      "UPDATE history SET note = 'it was not me'",
      "UPDATE OR IGNORE history SET revision = 9 WHERE revision = 4",
      "DELETE FROM history",
      "INSERT INTO history VALUES ('checks', 5" + history,
      "INSERT INTO history VALUES ('checks', 4" + history,
      "REPLACE INTO history VALUES ('checks', 4" + history,
      "REPLACE INTO history VALUES ('checks', 2" + history,
      "INSERT INTO history VALUES ('nobody', 1" + history,
      "DELETE FROM store",
      "UPDATE store SET change = change - 1",
      "UPDATE store SET id = 2",
      "INSERT INTO store VALUES (2, 1, 'x', 0)",
      "UPDATE tasks SET revision = revision + 1; UPDATE tasks SET revision = revision + 1",
  };
  for (const std::string& attempt : attempts) {
    INFO(attempt);
    other.must("BEGIN");
    const int code = other.run(attempt);
    if (attempt.find("OR FAIL") == std::string::npos) {
      // With OR IGNORE a CHECK may skip the row without a word.
      if (attempt.find("OR IGNORE") == std::string::npos) CHECK(code == SQLITE_CONSTRAINT);
      if (attempt.find(';') == std::string::npos)
        CHECK(other.ask("SELECT * FROM tasks") + other.ask("SELECT * FROM store") == as_before);
    }
    CHECK(other.ask("SELECT allocated_ppm - (SELECT sum(weight_ppm) FROM versions) FROM tasks") == "0");
    other.must("ROLLBACK");
  }
  CHECK(same(everything_in(*store), before));
  change(*store, "checks", {version_of(4, 100'000)});
}

TEST_CASE("sqlite: the sum of a task's weights follows its versions by itself", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  fill(*store);
  PlainSql other{file.path};
  CHECK(other.ask("SELECT allocated_ppm, version_count FROM tasks") == "900000|3");
  other.must("UPDATE versions SET weight_ppm = weight_ppm - 100000 WHERE number > 1");
  CHECK(other.ask("SELECT allocated_ppm FROM tasks") == "700000");
  // Now the weights are not those of the partition, which is told rather than routed by.
  CHECK(refusal([&] { (void)store->load("checks", {}); }) == StoreErrc::corrupt);
  CHECK(refusal([&] { (void)store->follow()->changes({}); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite: a change whose partition is not that of the weights is refused", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  fill(*store);
  const auto before = everything_in(*store);
  Commit bad = change_to(load_all(*store, "checks"), {version_of(3, 200'000)});
  bad.versions[0].weight_ppm = 100'000;
  CHECK(refusal([&] { (void)store->commit(bad); }) == StoreErrc::invalid);
  bad = change_to(load_all(*store, "checks"), {});
  bad.versions = {version_of(1, 0, Status::active)};  // it is archived
  CHECK(refusal([&] { (void)store->commit(bad); }) == StoreErrc::invalid);
  CHECK(same(everything_in(*store), before));
}

TEST_CASE("sqlite: after a replacement the constraints stand as before, and bad rows do not get in",
          "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  fill(*store);
  const auto all = everything_in(*store);
  PlainSql other{file.path};
  const std::string schema = other.ask("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name");
  replace_by(*store, all);
  CHECK(other.ask("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name") == schema);
  CHECK(other.ask("SELECT allocated_ppm, version_count FROM tasks") == "900000|3");

  const auto refused = [&](auto spoil) {
    auto bad = all;
    spoil(bad[0]);
    return refusal([&] { replace_by(*store, bad); }) == StoreErrc::invalid;
  };
  CHECK(refused([](TaskContents& task) { task.history.pop_back(); }));
  CHECK(refused([](TaskContents& task) { task.history[1].revision = 7; }));
  CHECK(refused([](TaskContents& task) { task.task.versions.pop_back(); }));
  CHECK(refused([](TaskContents& task) { task.task.versions[1].weight_ppm = 5; }));
  CHECK(refused([](TaskContents& task) { task.task.versions[1].number = 3; }));
  CHECK(refused([](TaskContents& task) { task.task.partition = {}; }));
  CHECK(refusal([&] { replace_by(*store, {all[0], all[0]}); }) == StoreErrc::invalid);
  CHECK(same(everything_in(*store), all));
  CHECK(other.ask("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name") == schema);
}

TEST_CASE("sqlite: another program's lock is waited for, then told; readers go on", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open({.timeout_ms = 50});
  fill(*store);
  PlainSql other{file.path};
  other.must("BEGIN IMMEDIATE");
  const Commit next = change_to(load_all(*store, "checks"), {version_of(4, 1)});
  try {
    (void)store->commit(next);
    FAIL("it was locked");
  } catch (const StoreError& error) {
    CHECK(error.code == StoreErrc::unreachable);
    CHECK(std::string{error.what()}.find("locked by another program") != std::string::npos);
    CHECK(std::string{error.what()}.find(file.path) != std::string::npos);
    CHECK(error.hint.find("fuser") != std::string::npos);
  }
  CHECK(store->tasks().size() == 1);
  CHECK(file.open({.timeout_ms = 50})->follow()->changes({}).tasks.size() == 1);
  other.must("ROLLBACK");
  CHECK(store->commit(next) == CommitResult::done);
}

TEST_CASE("sqlite: every change of another connection wakes a follower", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto writer = file.open();
  change(*writer, "checks", {version_of(1, 0)});
  const auto follower = file.open()->follow();
  StorePosition position = follower->changes({}).position;
  for (std::uint32_t revision = 2; revision != 52; ++revision) {
    change(*writer, "checks", {version_of(1, revision)});
    StoreDelta delta;
    while (delta.tasks.empty()) {
      follower->wait(std::chrono::hours{1});
      delta = follower->changes(position);
    }
    position = delta.position;
    CHECK(delta.tasks.front().revision == revision);
  }
}

TEST_CASE("sqlite: a follower makes no store: a file that is not there is out of reach", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  const auto follower = store->follow();
  CHECK(refusal([&] { (void)follower->changes({}); }) == StoreErrc::unreachable);
  CHECK_FALSE(std::filesystem::exists(file.path));
  (void)store->info();
  CHECK(follower->changes({}).everything);
}

TEST_CASE("sqlite: a file that has gone is not made again by those who knew it", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  fill(*store);
  const auto follower = store->follow();
  (void)follower->changes({});
  for (const std::string& name : file.names()) std::filesystem::remove(file.folder.path() / name);
  follower->wait(std::chrono::milliseconds{10'000});  // at once: the next one looks
  CHECK(refusal([&] { (void)follower->changes({}); }) == StoreErrc::unreachable);
  CHECK(refusal([&] { (void)store->tasks(); }) == StoreErrc::unreachable);
  CHECK(refusal([&] { (void)store->commit(Commit{"checks", 0, {}, {}}); }) == StoreErrc::unreachable);
  CHECK(file.names().empty());
  CHECK(file.open()->tasks().empty());  // another program begins anew
  CHECK(store->tasks().empty());        // and is followed there
  CHECK(follower->changes({}).tasks.empty());
}

TEST_CASE("sqlite: another file at the path is read as such, by name and by link", "[adapters][sqlite]") {
  const SqliteFile file;
  const SqliteFile other;
  const auto store = file.open();
  fill(*store);
  change(*other.open(), "others", {version_of(1, 5)});
  const std::string link = (file.folder.path() / "link").string();
  std::filesystem::create_symlink(file.path, link);
  SqliteStore by_link{link};
  const auto follower = by_link.follow();
  const StorePosition position = follower->changes({}).position;
  CHECK(by_link.tasks() == std::vector<std::string>{"checks"});

  SECTION("a swapped link") {
    std::filesystem::create_symlink(other.path, link + ".new");
    std::filesystem::rename(link + ".new", link);
  }
  SECTION("a renamed file") {
    for (const std::string& name : file.names())
      if (name != "link") std::filesystem::remove(file.folder.path() / name);
    std::filesystem::copy_file(other.path, file.path + ".new");
    std::filesystem::rename(file.path + ".new", file.path);
  }
  follower->wait(std::chrono::milliseconds{10'000});
  const StoreDelta delta = follower->changes(position);
  CHECK(delta.everything);
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].task == "others");
  CHECK(by_link.tasks() == std::vector<std::string>{"others"});
}

TEST_CASE("sqlite: an older copy of the same file is read wholly", "[adapters][sqlite]") {
  const SqliteFile file;
  fill(*file.open());
  std::filesystem::copy_file(file.path, file.path + ".copy");
  const auto store = file.open();
  change(*store, "checks", {version_of(4, 1)});
  change(*store, "others", {version_of(1, 1)});
  const auto follower = store->follow();
  const StorePosition position = follower->changes({}).position;
  for (const char* end : {"-wal", "-shm"}) std::filesystem::remove(file.path + end);
  std::filesystem::rename(file.path + ".copy", file.path);
  const StoreDelta delta = follower->changes(position);
  CHECK(delta.position.token == position.token);
  CHECK(delta.everything);
  REQUIRE(delta.tasks.size() == 1);
  CHECK(delta.tasks[0].revision == 4);
}

TEST_CASE("sqlite: what a killed process had committed is there", "[adapters][sqlite]") {
  const SqliteFile file;
  CHECK(in_another_process([&] {
          auto* const store = file.open().release();  // nobody closes it
          fill(*store);
          return 0;
        }) == 0);
  CHECK(file.names().contains("canary.db-wal"));
  const auto store = file.open();
  CHECK(store->history("checks", {}).size() == 4);
  change(*store, "checks", {version_of(4, 1)});
}

}  // namespace sqlite_store_test
