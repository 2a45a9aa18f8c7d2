// SqliteStore where the disk, the rights or the bytes are not as they should be: told in words, and nothing broken.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "sqlite_place.hpp"

namespace sqlite_faults_test {

namespace {

using namespace store_test;
using canary::SqliteStore;

/// A file with a hundred tasks, closed.
void fill(const SqliteFile& file) {
  const auto store = file.open();
  for (int i = 0; i != 100; ++i) {
    ModelVersion row = version_of(1, 5'000);
    row.note = repeated("note ", 200);
    change(*store, "task-" + std::to_string(i), {row});
  }
  const auto kept = store->interactions();
  const auto spool = kept->claim("a spool", 1);
  const auto delivery = kept->begin(spool);
  std::vector<canary::Interaction> rows(500);
  for (std::size_t i = 0; i != rows.size(); ++i) rows[i].id = i + 1;
  (void)delivery->add(rows);
  for (std::uint32_t at = 0; at != 50; ++at)
    delivery->put({canary::CountsKind::window, 1, 2, at, 0, std::string(100, 'w')});
  delivery->commit(std::vector<canary::LanePosition>{{0, 500}}, 2);
}

void overwrite(const std::string& path, std::size_t at, const std::string& bytes) {
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.flush());
}

/// Calls everything that reads.
void read_everything(SqliteStore& store) {
  (void)everything_in(store);
  for (const std::string& task : store.tasks()) {
    (void)load_all(store, task);
    (void)store.load(task, {});
    (void)store.history(task, {});
    (void)store.follow()->find_model(task, "model-1");
  }
  (void)store.follow()->changes({});
  const auto kept = store.interactions();
  (void)kept->spools();
  (void)kept->counts({});
  (void)kept->counts({.serial = 1});
  kept->read({}, [](auto&&...) { return true; });
}

/// The number of a kind of error, for the exit code of a process; 50 for none.
template <class Call>
int code_of(Call call) {
  const auto code = refusal(call);
  return code ? static_cast<int>(*code) : 50;
}
constexpr int number_of(StoreErrc code) { return static_cast<int>(code); }

constexpr int fine = 50;

}  // namespace

TEST_CASE("sqlite: a destroyed header is told as corrupt, with the way out", "[adapters][sqlite]") {
  const SqliteFile file;
  fill(file);
  overwrite(file.path, 0, std::string(100, 'x'));
  const auto store = file.open();
  try {
    (void)store->tasks();
    FAIL("it is destroyed");
  } catch (const StoreError& error) {
    CHECK(error.code == StoreErrc::corrupt);
    CHECK(std::string{error.what()}.find(file.path) != std::string::npos);
    CHECK(error.hint.find("canary store restore") != std::string::npos);
  }
  CHECK(refusal([&] { (void)store->commit(Commit{"x", 0, {}, {}}); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite: destroyed pages are told as corrupt", "[adapters][sqlite]") {
  const SqliteFile file;
  fill(file);
  const std::size_t size = file_bytes(file.path).size();
  REQUIRE(size > 20 * 4'096);
  for (std::size_t page = 1; page < size / 4'096; ++page) overwrite(file.path, page * 4'096, std::string(64, '\xFF'));
  const auto store = file.open();
  CHECK(refusal([&] { read_everything(*store); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite: a file that ends too early is told as corrupt", "[adapters][sqlite]") {
  const SqliteFile file;
  fill(file);
  std::filesystem::resize_file(file.path, 3 * 4'096);
  const auto store = file.open();
  CHECK(refusal([&] { read_everything(*store); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite: whatever bytes are flipped, a call answers or tells", "[adapters][sqlite]") {
  const SqliteFile file;
  fill(file);
  const std::string good = file_bytes(file.path);
  std::mt19937 random{20'260'801};
  int told = 0;
  for (int round = 0; round != 60; ++round) {
    std::string bad = good;
    for (int i = 0; i != 40; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    file.folder.write("canary.db", bad);
    const auto store = file.open();
    if (refusal([&] { read_everything(*store); })) ++told;
    (void)refusal([&] { (void)store->commit(change_to(load_all(*store, "new"), {version_of(1, 1)})); });
  }
  CHECK(told > 10);
}

TEST_CASE("sqlite: rows that make no sense are told as corrupt, by task", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto store = file.open();
  change(*store, "checks", {version_of(1, 5'000)});
  PlainSql other{file.path};
  const auto corrupt = [&](const std::string& sql, auto call) {
    INFO(sql);
    other.must("BEGIN");
    other.must(sql);
    other.must("COMMIT");
    std::string words;
    try {
      call();
    } catch (const StoreError& error) {
      words = error.what();
      CHECK(error.code == StoreErrc::corrupt);
    }
    CHECK(words.find("task `checks`") != std::string::npos);
  };
  const auto load = [&] { (void)store->load("checks", {}); };
  corrupt("UPDATE tasks SET partition = 'garbage'", load);
  corrupt("UPDATE tasks SET partition = '0:0|0:1000000'", load);
  corrupt("UPDATE tasks SET partition = '0:2 21474836:0|0:995000 2:5000'", load);
  corrupt("UPDATE tasks SET partition = ''", [&] { (void)store->follow()->changes({}); });
  corrupt("DROP TRIGGER history_stays_as_it_is; UPDATE history SET partition = '0:0|0:5'",
          [&] { (void)store->history("checks", {}); });
  corrupt("UPDATE history SET partition = '0:0|0:1000000', status_changes = '1:ON>OFF'",
          [&] { (void)store->history("checks", {}); });
  other.must("DROP TRIGGER store_stays; DELETE FROM store");
  CHECK(refusal([&] { (void)store->tasks(); }) == StoreErrc::corrupt);
  other.must("DROP TABLE store");
  CHECK(refusal([&] { (void)store->tasks(); }) == StoreErrc::corrupt);
}

TEST_CASE("sqlite: what is no canary store is left alone", "[adapters][sqlite]") {
  const SqliteFile file;
  SECTION("another program's database") {
    PlainSql{file.path}.must("CREATE TABLE store (id INTEGER, schema INTEGER, token TEXT, change INTEGER)");
    const std::string before = file_bytes(file.path);
    try {
      (void)file.open()->tasks();
      FAIL("it is not ours");
    } catch (const StoreError& error) {
      CHECK(error.code == StoreErrc::invalid);
      CHECK(std::string{error.what()}.find("is no canary store") != std::string::npos);
    }
    CHECK(refusal([&] { (void)file.open()->migrate(); }) == StoreErrc::invalid);
    CHECK(file_bytes(file.path) == before);
  }
  SECTION("a database that is marked as another program's, and empty") {
    PlainSql{file.path}.must("PRAGMA application_id = 7");
    CHECK(refusal([&] { (void)file.open()->tasks(); }) == StoreErrc::invalid);
  }
  SECTION("a text") {
    const std::string text = repeated("[store]\nurl = \"sqlite:canary.db\"\n", 100);
    file.folder.write("canary.db", text);
    CHECK(refusal([&] { (void)file.open()->tasks(); }) == StoreErrc::corrupt);
    CHECK(file_bytes(file.path) == text);
  }
  SECTION("a folder") {
    std::filesystem::create_directory(file.path);
    CHECK(refusal([&] { (void)file.open()->tasks(); }) == StoreErrc::unreachable);
  }
}

TEST_CASE("sqlite: an empty file becomes a store, unless none shall be made", "[adapters][sqlite]") {
  const SqliteFile file;
  CHECK(refusal([&] { (void)file.open({.create = false})->tasks(); }) == StoreErrc::unreachable);
  CHECK(file.names().empty());
  file.folder.write("canary.db", "");
  CHECK(refusal([&] { (void)file.open({.create = false})->tasks(); }) == StoreErrc::invalid);
  const auto store = file.open();
  change(*store, "checks", {version_of(1, 5)});
  CHECK(PlainSql{file.path}.ask("PRAGMA journal_mode") == "wal");
  CHECK(file.open({.create = false})->tasks().size() == 1);
}

TEST_CASE("sqlite: a folder that is missing is told", "[adapters][sqlite]") {
  const SqliteFile file;
  SqliteStore store{(file.folder.path() / "missing" / "canary.db").string()};
  const auto follower = store.follow();
  CHECK(refusal([&] { (void)store.tasks(); }) == StoreErrc::unreachable);
  CHECK(refusal([&] { (void)follower->changes({}); }) == StoreErrc::unreachable);
  follower->wait(std::chrono::milliseconds{1});
  std::filesystem::create_directory(file.folder.path() / "missing");
  CHECK(store.tasks().empty());
  CHECK(follower->changes({}).tasks.empty());
}

TEST_CASE("sqlite: a read-only file or folder can be read, and a change is told as read-only", "[adapters][sqlite]") {
  const SqliteFile file;
  const auto closed = [&] { change(*file.open(), "checks", {version_of(1, 5'000)}); };
  const auto killed = [&] {  // leaves its log behind
    CHECK(in_another_process([&] {
            change(*file.open().release(), "checks", {version_of(1, 5'000)});
            return 0;
          }) == 0);
    REQUIRE(std::filesystem::exists(file.path + "-wal"));
  };
  const auto modes = [&](unsigned of_file, unsigned of_folder) {
    for (const char* end : {"", "-wal", "-shm"}) (void)::chmod((file.path + end).c_str(), of_file);
    REQUIRE(::chmod(file.folder.path().c_str(), of_folder) == 0);
  };
  SECTION("neither can be written") { closed(), modes(0444, 0555); }
  SECTION("neither can be written, and a log lies there") { killed(), modes(0444, 0555); }
  SECTION("the file cannot be written") { closed(), modes(0444, 0777); }
  SECTION("the folder cannot be written") { closed(), modes(0666, 0555); }
  CHECK(as_a_common_user([&] {
          const auto store = file.open();
          if (store->tasks().size() != 1 || load_all(*store, "checks").versions.size() != 1) return 1;
          if (store->history("checks", {}).size() != 1 || everything_in(*store).size() != 1) return 2;
          const auto follower = store->follow();
          if (follower->changes({}).tasks.size() != 1) return 3;
          if (follower->find_model("checks", "model-1") != 1u) return 4;
          follower->wait(std::chrono::milliseconds{1});
          const Commit next = change_to(load_all(*store, "checks"), {version_of(2, 1)});
          if (code_of([&] { (void)store->commit(next); }) != number_of(StoreErrc::read_only)) return 5;
          if (code_of([&] { replace_by(*store, {}); }) != number_of(StoreErrc::read_only)) return 6;
          if (code_of([&] { (void)store->migrate(); }) != number_of(StoreErrc::read_only)) return 7;
          if (load_all(*store, "checks").versions.size() != 1) return 8;
          return fine;
        }) == fine);
  modes(0666, 0777);
}

TEST_CASE("sqlite: a file that may not be read, or not be made, is told as denied", "[adapters][sqlite]") {
  const SqliteFile file;
  SECTION("not read") {
    (void)file.open()->tasks();
    REQUIRE(::chmod(file.path.c_str(), 0) == 0);
    REQUIRE(::chmod(file.folder.path().c_str(), 0777) == 0);
  }
  SECTION("not made") { REQUIRE(::chmod(file.folder.path().c_str(), 0555) == 0); }
  CHECK(as_a_common_user([&] { return code_of([&] { (void)file.open()->tasks(); }); }) == number_of(StoreErrc::denied));
  REQUIRE(::chmod(file.folder.path().c_str(), 0777) == 0);
}

TEST_CASE("sqlite: a full disk is told, loses nothing, and is got over", "[adapters][sqlite]") {
  const SqliteFile file;
  change(*file.open(), "checks", {version_of(1, 5'000)});
  const auto at_most = [](rlim_t bytes) {
    (void)::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    (void)::getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    return ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  CHECK(in_another_process([&] {
          const auto store = file.open();
          const auto before = everything_in(*store);
          Commit big = change_to(load_all(*store, "checks"), {version_of(1, 6'000)}, repeated("much ", 100'000));
          if (at_most(200'000) != 0) return 1;
          if (code_of([&] { (void)store->commit(big); }) != number_of(StoreErrc::full)) return 2;
          try {
            (void)store->commit(big);
            return 6;
          } catch (const StoreError& error) {
            if (!error.unknown) return 7;  // what stands in the log may come to life
          }
          if (!same(everything_in(*store), before)) return 3;
          big.row.note = "little";
          if (store->commit(big) != CommitResult::done) return 4;
          return fine;
        }) == fine);
  CHECK(load_all(*file.open(), "checks").revision == 2);

  const SqliteFile fresh;
  CHECK(in_another_process([&] {
          const auto store = fresh.open();
          if (at_most(20'000) != 0) return 1;
          if (code_of([&] { (void)store->tasks(); }) != number_of(StoreErrc::full)) return 2;
          if (!fresh.names().empty()) return 3;  // nothing stays behind
          if (at_most(10'000'000) != 0) return 4;
          return store->tasks().empty() ? fine : 5;
        }) == fine);
}

}  // namespace sqlite_faults_test
