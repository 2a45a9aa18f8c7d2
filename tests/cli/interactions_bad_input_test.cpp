#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/sqlite_store.hpp"
#include "interactions_place.hpp"

namespace interactions_bad_input_test {

using namespace canary::test;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

/// The words with which an import of this text is refused; it leaves nothing behind.
std::string refused_import(const RecordedPlace& place, std::string_view csv, std::vector<std::string> options) {
  place.write("rows.csv", csv);
  options.insert(options.begin(), {"interactions", "import", "checks", "rows.csv", "--version", "checks@1"});
  const std::string words = place.refused(5, options);
  INFO(words);
  CHECK(place.is_untouched());
  return words;
}

/// Rows of an import, more than one batch.
std::string many_rows(std::size_t count) {
  std::string csv = "ok\n";
  for (std::size_t i = 0; i != count; ++i) csv += i % 10 == 0 ? "0\n" : "1\n";
  return csv;
}

/// An import from a pipe that stays open, as long as `meanwhile(pid)` runs once its transaction has begun.
template <class Meanwhile>
Answer import_from_pipe(const RecordedPlace& place, Meanwhile meanwhile) {
  const std::string pipe = (place.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Answer answer;
  std::thread importing{[&] {
    answer = place.shell("echo $$ > pid; exec \"$CANARY\" interactions import checks pipe --version checks@1 --ok ok");
  }};
  const int fd = ::open(pipe.c_str(), O_WRONLY | O_CLOEXEC);
  const std::string rows = many_rows(100'000);
  for (std::size_t at = 0; at < rows.size();) {
    const ssize_t written = ::write(fd, rows.data() + at, rows.size() - at);
    if (written <= 0) break;
    at += static_cast<std::size_t>(written);
  }
  while (place.ask("SELECT count(*) FROM spools") == "0") std::this_thread::yield();
  meanwhile(static_cast<pid_t>(std::atoi(place.read("pid").c_str())));
  importing.join();
  ::close(fd);
  std::filesystem::remove(pipe);
  return answer;
}

}  // namespace

TEST_CASE("interactions bad input: a bad cell is named with its place, its column and what was expected",
          "[cli][interactions][bad]") {
  const RecordedPlace place;
  const std::string csv = "k,ok,score,us,at,in,cost,why\n";
  const std::vector<std::string> all{
      "--key", "k",           "--ok", "ok",      "--score", "score",           "--at", "at", "--latency-us",
      "us",    "--tokens-in", "in",   "--error", "why",     "--cost-microusd", "cost"};
  struct Case {
    const char* row;
    const char* words;
  };
  for (const Case& bad : {
           Case{"a,maybe,,,0,,,", R"(rows.csv:3:3: column "ok": "maybe"; expected 1, 0, true, false, yes or no)"},
           Case{"a,,0.5,,0,,,", R"(rows.csv:3:3: column "ok": an empty cell; expected 1, 0)"},
           Case{"a,1,nan,,0,,,", R"(rows.csv:3:5: column "score": "nan"; expected a number from 0 to 1)"},
           Case{"a,1,inf,,0,,,", R"(column "score": "inf")"},
           Case{"a,1,1.0001,,0,,,", R"(column "score": "1.0001")"},
           Case{"a,1,-0.1,,0,,,", R"(column "score": "-0.1")"},
           Case{"a,1,\"0,5\",,0,,,", R"(rows.csv:3:5: column "score": "0,5")"},
           Case{"a,1,,-1,0,,,", R"(rows.csv:3:6: column "us": "-1"; expected a number of microseconds)"},
           Case{"a,1,,5ms,0,,,", R"(column "us": "5ms")"},
           Case{"a,1,,,yesterday,,,", R"(rows.csv:3:7: column "at": "yesterday"; expected a time: RFC 3339)"},
           Case{"a,1,,,,,,", R"(column "at": an empty cell; expected a time)"},
           Case{"a,1,,,2025-02-30T00:00:00Z,,,", R"(column "at": "2025-02-30)"},
           Case{"a,1,,,2025-11-22T25:00:00Z,,,", R"(column "at")"},
           Case{"a,1,,,9999-01-01,,,", "expected a time that has come already"},
           Case{"a,1,,,-5,,,", R"(column "at": "-5")"},
           Case{"a,1,,,0,4294967296,,", R"(column "in": "4294967296"; expected a number of tokens)"},
           Case{"a,1,,,0,,-1,", R"(column "cost": "-1")"},
           Case{"a,1,,,0,,,broken", R"(column "why": "broken"; expected timeout, rate_limited)"},
           Case{"\"\xC3\xA4 \"\"x\"\"\n\",perhaps,,,0,,,", R"(rows.csv:4:3: column "ok": "perhaps")"},
           Case{"\"a,b\",perhaps,,,0,,,", R"(rows.csv:3:7: column "ok": "perhaps")"},
           Case{"a,1,,,0,,", "rows.csv:3: a record of 7 fields under a header of 8"},
           Case{"a,\"1,,,0,,,", "rows.csv:3:3: the quote that opens here is never closed"},
       })
    CHECK(has(refused_import(place, csv + "x,1,,,0,,,\n" + bad.row + "\n", all), bad.words));
}

TEST_CASE("interactions bad input: a bad last row of many leaves nothing behind", "[cli][interactions][bad]") {
  const RecordedPlace place;
  CHECK(has(refused_import(place, many_rows(40'000) + "x\n", {"--ok", "ok"}), "rows.csv:40002:1: column \"ok\""));
}

TEST_CASE("interactions bad input: columns that are not there, or there twice", "[cli][interactions][bad]") {
  const RecordedPlace place;
  CHECK(has(refused_import(place, "user,ok,score\n", {"--score", "scroe"}),
            "rows.csv:1: no column \"scroe\"; the columns are: user, ok, score; did you mean \"score\"?"));
  CHECK(has(refused_import(place, "ok,ok\n1,1\n", {"--ok", "ok"}), "two columns are named \"ok\""));
  CHECK(has(refused_import(place, "", {"--ok", "ok"}), "rows.csv:1: no header: the file is empty"));
  CHECK(has(refused_import(place, "\n\n", {}), "no header: the file is empty"));
  CHECK(has(refused_import(place, std::string_view{"\xFF\xFEo\0", 4}, {}), "UTF-16"));
}

TEST_CASE("interactions bad input: a header alone brings nothing in", "[cli][interactions][bad]") {
  const RecordedPlace place;
  CHECK(number_of(place.import("ok\n", {"--ok", "ok"}).at("imported")) == 0);
  CHECK(place.is_untouched());
}

TEST_CASE("interactions bad input: files that are none, tasks and versions that are not there",
          "[cli][interactions][bad]") {
  const RecordedPlace place;
  place.write("rows.csv", "ok\n1\n");
  const auto import = [](const char* task, const char* file, const char* id) {
    return std::vector<std::string>{"interactions", "import", task, file, "--version", id};
  };
  CHECK(has(place.refused(5, import("checks", ".", "checks@1")), ".: cannot be read: Is a directory"));
  CHECK(has(place.refused(5, import("checks", "absent.csv", "checks@1")), "absent.csv: cannot be opened"));
  CHECK(has(place.refused(3, import("chekcs", "rows.csv", "chekcs@1")), "did you mean \"checks\"?"));
  CHECK(has(place.refused(3, import("checks", "rows.csv", "checks@3")), "no version checks@3"));
  CHECK(has(place.refused(3, import("risks", "rows.csv", "risks@1")), "no version"));
  CHECK(has(place.refused(5, import("checks", "rows.csv", "risks@1")), "is no version's id"));
  CHECK(has(place.refused(5, import("checks", "rows.csv", "v1")), "checks@1 for one"));
  CHECK(has(place.refused(2, {"interactions", "import", "checks", "rows.csv"}), "--version"));
  CHECK(has(place.refused(3, {"interactions", "list", "chekcs"}), "did you mean"));
  CHECK(has(place.refused(3, {"interactions", "list", "--version", "checks@9"}), "no version checks@9"));
  CHECK(has(place.refused(3, {"interactions", "stats", "chekcs"}), "did you mean"));
  CHECK(has(place.refused(2, {"interactions", "list", "--since", "yesterday"}), "--since: \"yesterday\" is no time"));
  CHECK(has(place.refused(2, {"interactions", "stats", "--since", "1h", "--until", "2h"}), "--until is not after"));
  CHECK(has(place.refused(2, {"interactions", "list", "--limit", "0"}), "at least 1"));
  CHECK(has(place.refused(2, {"interactions"}), "subcommand"));
  CHECK(place.is_untouched());
}

TEST_CASE("interactions bad input: a line of a gigabyte is refused in little memory", "[cli][interactions][bad]") {
  const RecordedPlace place;
  const Answer answer = place.shell(
      "ulimit -v 1500000; head -c 1000000000 /dev/zero | tr '\\0' x | (echo ok; cat) | "
      "\"$CANARY\" interactions import checks - --version checks@1 --ok ok");
  INFO(answer.err);
  CHECK(answer.exit == 5);
  CHECK(has(answer.err, "stdin:2: a record that does not fit into 16 MiB"));
  CHECK(place.is_untouched());
}

TEST_CASE("interactions bad input: an interrupted import leaves nothing behind", "[cli][interactions][bad]") {
  const RecordedPlace place;
  for (const int signal : {SIGINT, SIGTERM}) {
    const Answer answer = import_from_pipe(place, [signal](pid_t pid) { ::kill(pid, signal); });
    INFO(answer.err);
    CHECK(answer.exit == 128 + signal);
    CHECK(answer.out.empty());
    CHECK(place.is_untouched());
  }
}

TEST_CASE("interactions bad input: a killed import has imported nothing, and a later one clears up after it",
          "[cli][interactions][bad]") {
  const RecordedPlace place;
  const Answer answer = import_from_pipe(place, [](pid_t pid) { ::kill(pid, SIGKILL); });
  CHECK(answer.exit == 128 + SIGKILL);
  CHECK(place.ask("SELECT count(*) FROM interactions") == "0");
  CHECK(place.ask("SELECT count(*) FROM spools") == "1");
  (void)place.import("ok\n1\n", {"--ok", "ok"});
  CHECK(place.ask("SELECT count(*) FROM spools") == "1");  // it may be at work still
  place.sql("UPDATE spools SET at_us = at_us - 86400000001");
  (void)place.import("ok\n1\n", {"--ok", "ok"});
  CHECK(place.ask("SELECT count(*) FROM spools") == "0");
  CHECK(number_of(place.stats().at("checks@1").at("count")) == 2);
}

TEST_CASE("interactions bad input: without a database, out of its reach, and with an older one",
          "[cli][interactions][bad]") {
  const std::vector<std::vector<std::string>> commands{
      {"interactions", "import", "checks", "rows.csv", "--version", "checks@default"},
      {"interactions", "list"},
      {"interactions", "stats"},
      {"interactions", "feedback", "1", "0.5"},
      {"export", "checks", "--out", "d"}};
  const RecordedPlace place;
  place.write("rows.csv", "ok\n1\n");
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.checks]\ndefault_model = 'm'\n");
  for (const auto& command : commands) CHECK(has(place.refused(5, command), "need a database"));
  place.write("canary.toml",
              "[store]\nurl = 'postgresql://127.0.0.1:1/x'\ntimeout_ms = 500\n[task.checks]\ndefault_model = 'm'\n");
  for (const auto& command : commands) (void)place.refused(7, command);

  place.write("canary.toml", "[store]\nurl = 'sqlite:older.db'\n[task.checks]\ndefault_model = 'm'\n");
  canary::SqliteOptions older;
  older.schema = {std::span{canary::sqlite_migrations}.first(1)};
  canary::SqliteStore held{(place.path() / "older.db").string(), older};
  CHECK(held.tasks().empty());
  for (const auto& command : commands) {
    const std::string words = place.refused(1, command);
    CHECK(has(words, "schema 1 keeps no interactions"));
    CHECK(has(words, "canary store migrate"));
  }
  CHECK_FALSE(std::filesystem::exists(place.path() / "d"));
}

TEST_CASE("interactions bad input: a database that cannot be written is read, and says so",
          "[cli][interactions][bad]") {
  const RecordedPlace place;
  place.write("rows.csv", "ok\n1\n");
  (void)place.import("at\n1763800000\n", {"--at", "at"});
  const std::string id = text_of(place.list().at(0).at("id"));
  namespace fs = std::filesystem;
  fs::permissions(place.path() / "canary.db", fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  std::string as_nobody;
  if (::geteuid() == 0) {
    if (place.shell("command -v setpriv").exit != 0) SKIP("root writes everything, and there is no setpriv");
    as_nobody = "setpriv --reuid=65534 --clear-groups ";
    if (place.shell("chmod 755 . && " + as_nobody + "test -x \"$CANARY\"").exit != 0)
      SKIP("nobody may run the program where it stands");
  }
  const Answer list = place.shell(as_nobody + "\"$CANARY\" --json interactions list");
  INFO(list.err);
  CHECK(list.exit == 0);
  CHECK(has(list.out, id));
  for (const std::string& command :
       {std::string{"import checks rows.csv --version checks@1"}, "feedback " + id + " 1"}) {
    const Answer refused = place.shell(as_nobody + "\"$CANARY\" interactions " + command);
    CHECK(refused.exit == 1);
    CHECK(has(refused.err, "error: "));
  }
}

}  // namespace interactions_bad_input_test
