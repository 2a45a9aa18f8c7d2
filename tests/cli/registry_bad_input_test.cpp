#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace registry_bad_input_test {

using namespace canary::test;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("registry bad input: unknown tasks and versions are not found, with the nearest", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "register", "chekcs", "m"},
                                                    {"model", "list", "chekcs"},
                                                    {"model", "show", "chekcs@1"},
                                                    {"model", "promote", "chekcs@1"},
                                                    {"model", "canary", "chekcs@1", "5"},
                                                    {"model", "rollback", "chekcs"},
                                                    {"model", "rollback", "chekcs@1"},
                                                    {"model", "deprecate", "chekcs"},
                                                    {"history", "chekcs"}})
    CHECK(has(place.refused(3, arguments), "did you mean \"checks\"?"));
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "show", "checks@2"},
                                                    {"model", "promote", "checks@2"},
                                                    {"model", "canary", "checks@2", "5"},
                                                    {"model", "rollback", "checks@2"},
                                                    {"model", "archive", "checks@2"}})
    CHECK(has(place.refused(3, arguments), "no version checks@2; it has one, checks@1"));
  CHECK(has(place.refused(3, {"model", "promote", "checks@99999999999999999999"}), "no version checks@9"));
  CHECK(has(place.refused(3, {"model", "promote", "risks@1"}), "register one: canary model register risks MODEL"));
}

TEST_CASE("registry bad input: what is no id says how one looks", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  for (const char* id :
       {"checks", "checks@", "checks@0", "checks@01", "checks@x", "checks@-1", "checks@1 ", "checks@forced"})
    CHECK(has(place.refused(5, {"model", "promote", id}), "checks@1 for one"));
  CHECK(has(place.refused(5, {"model", "canary", "checks@default", "5"}), "takes what the versions leave over"));
  for (const char* id : {"", "@1", "v1", "nothing@1"}) (void)place.refused(3, {"model", "show", id});
  const Answer huge = place.run({"model", "show", std::string(10'000, 'x') + "@1"});
  CHECK(huge.exit == 3);
  CHECK(huge.err.size() < 1'000);
}

TEST_CASE("registry bad input: a share that the base cannot give names the largest possible", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "promote", "checks@1", "60"});
  place.done({"model", "canary", "checks@2", "10.5"});
  CHECK(has(place.refused(5, {"model", "canary", "checks@2", "60.0001"}), "60 % at most"));
  CHECK(has(place.refused(5, {"model", "canary", "checks@2", "100"}), "its base, checks@1,"));
  CHECK(has(place.refused(5, {"model", "canary", "checks@1", "95"}), "the default"));
  place.done({"model", "canary", "checks@2", "60"});  // exactly that much is given
}

TEST_CASE("registry bad input: what is no percentage is refused, and nothing is guessed", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  for (const char* percent : {"0.00001", "0.00001%", "NaN", "nan", "inf", "-5", "-0.5", "100.0001", "101", "1e1", "ten",
                              "", " 5", "5 %", "0x5", "5,5"}) {
    INFO(percent);
    CHECK(has(place.refused(5, {"model", "canary", "checks@1", percent}), "is not a percentage; from 0 to 100"));
    CHECK(has(place.refused(5, {"model", "promote", "checks@1", percent}), "is not a percentage"));
  }
  CHECK(place.shares().at("checks@1") == 0);
}

TEST_CASE("registry bad input: illegal steps and traffic that forbids one are conflicts", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  CHECK(has(place.refused(4, {"model", "archive", "checks@1"}), "is CANDIDATE"));
  place.done({"model", "promote", "checks@1", "30"});
  CHECK(has(place.refused(4, {"model", "archive", "checks@1"}), "is ACTIVE"));
  CHECK(has(place.refused(4, {"model", "deprecate", "checks@1"}), "has 30 % of the traffic; canary model rollback"));
  place.done({"model", "deprecate", "checks@2"});
  CHECK(has(place.refused(4, {"model", "canary", "checks@2", "5"}), "is DEPRECATED"));
  place.done({"model", "archive", "checks@2"});
  CHECK(has(place.refused(4, {"model", "promote", "checks@2"}), "ARCHIVED for good"));
  CHECK(has(place.refused(4, {"model", "deprecate", "checks@2"}), "is ARCHIVED"));
  CHECK(has(place.refused(4, {"model", "rollback", "checks@2"}), "is ARCHIVED"));
}

TEST_CASE("registry bad input: rollbacks without a past", "[cli][bad]") {
  const DatabasePlace place;
  CHECK(has(place.refused(4, {"model", "rollback", "checks"}), "no change of weights"));
  place.register_models({"v1"});
  CHECK(has(place.refused(4, {"model", "rollback", "checks"}), "no change of weights"));
  CHECK(has(place.refused(3, {"model", "rollback", "checks", "--to", "7"}), "never had revision 7"));
  (void)place.refused(2, {"model", "rollback", "checks", "--to", "-1"});
  CHECK(has(place.refused(3, {"model", "rollback", "checks", "--to", "99999999999"}), "ever had revision 99999999999"));
  (void)place.refused(2, {"model", "rollback", "checks", "--to", "soon"});
  place.done({"model", "canary", "checks@1", "5"});
  place.done({"model", "rollback", "checks"});
  (void)place.refused(4, {"model", "rollback", "checks"});  // it went as far back as there is
}

TEST_CASE("registry bad input: a model past its shutdown date gains nothing", "[cli][bad]") {
  const DatabasePlace place;
  place.done({"model", "register", "checks", "old", "--shutdown-date", "2020-01-01"});
  CHECK(has(place.refused(4, {"model", "promote", "checks@1"}), "shut down on 2020-01-01"));
  CHECK(has(place.refused(4, {"model", "canary", "checks@1", "1"}), "shut down on 2020-01-01"));
  for (const char* date : {"tomorrow", "2020-13-01", "2021-02-29", "01.02.2030", "2030-1-1"})
    CHECK(has(place.refused(5, {"model", "register", "checks", "m", "--shutdown-date", date}), "is no date"));
}

TEST_CASE("registry bad input: names with anything in them come back as they went in, or are refused", "[cli][bad]") {
  const DatabasePlace place;
  const std::string odd = "it's \"q\" \\ \xF0\x9F\x90\xA6 -- ; DROP TABLE versions; %s {}";
  const auto row = place.json({"model", "register", "checks", odd, "--note", "line\none\t" + odd, "--provider", odd});
  CHECK(text_of(row.at("version").at("model")) == odd);
  const auto shown = place.json({"model", "show", "checks@1"});
  CHECK(text_of(shown.at("version").at("model")) == odd);
  CHECK(text_of(shown.at("version").at("note")) == "line\none\t" + odd);
  CHECK(lines_of(place.run({"model", "list", "checks"}).out).size() == 3);

  const std::string long_note(10'000, 'n');
  CHECK(text_of(place.json({"model", "register", "checks", "m", "--note", long_note}).at("version").at("note")) ==
        long_note);
  CHECK(has(place.refused(5, {"model", "register", "checks", std::string(10'000, 'm')}), "has 10000 bytes"));
  CHECK(has(place.refused(5, {"model", "register", "checks", "two\nlines"}), "control character"));
  CHECK(has(place.refused(5, {"model", "register", "checks", "\xFF"}), "is not UTF-8"));
  CHECK(has(place.refused(5, {"model", "register", "checks", ""}), "no name"));
  CHECK(has(place.refused(5, {"model", "register", "checks", "m", "--note", "a\x1b[31m"}), "control character"));
  CHECK(has(place.refused(5, {"model", "register", "checks", "m", "--actor", "a\nb"}), "control character"));
  CHECK(has(place.refused(3, {"model", "register", std::string(10'000, 't'), "m"}), "no task"));
  CHECK(has(place.refused(3, {"model", "register", "che\ncks", "m"}), "no task"));

  place.write("canary.toml", "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\ndefault_model = \"a\\u0000b\"\n");
  CHECK(has(place.refused(5, {"model", "list"}), "NUL"));
}

TEST_CASE("registry bad input: on memory: the registry's commands are refused", "[cli][bad]") {
  const DatabasePlace place;
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.checks]\ndefault_model = 'm'\n");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "register", "checks", "m"},
                                                    {"model", "list"},
                                                    {"model", "promote", "checks@1"},
                                                    {"history", "checks"},
                                                    {"store", "migrate"},
                                                    {"store", "backup", "b"},
                                                    {"store", "restore", "b"}})
    CHECK(has(place.refused(5, arguments), "need a database"));
}

TEST_CASE("registry bad input: a corrupted database is told, and not written", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  const std::string bytes = place.read("canary.db");
  place.write("canary.db", bytes.substr(0, 1'024) + std::string(bytes.size() - 1'024, '\x5A'));
  (void)place.refused(1, {"model", "list"});
  (void)place.refused(1, {"model", "canary", "checks@1", "5"});
  place.write("canary.db",
              "no database at all, but a text that is long enough to look like one " + std::string(4'096, 'x'));
  const Answer text = place.run({"model", "list"});
  CHECK(text.exit != 0);
  CHECK(place.read("canary.db").starts_with("no database at all"));
}

TEST_CASE("registry bad input: a partition that makes no sense is corruption, wherever it is met", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.sql("UPDATE tasks SET partition = '0:0 5:9|0:1000000'");
  (void)place.refused(1, {"model", "list"});
  (void)place.refused(1, {"route", "checks", "k"});
}

TEST_CASE("registry bad input: a database of a newer program is left alone", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.sql("UPDATE store SET schema = 99");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "list"},
                                                    {"model", "canary", "checks@1", "5"},
                                                    {"history", "checks"},
                                                    {"store", "migrate"},
                                                    {"store", "backup", "b.db"},
                                                    {"route", "checks", "k"}})
    CHECK(has(place.refused(1, arguments), "upgrade this program"));
  CHECK_FALSE(std::filesystem::exists(place.path() / "b.db"));
}

TEST_CASE("registry bad input: a database that cannot be written is read, and says so", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  namespace fs = std::filesystem;
  fs::permissions(place.path() / "canary.db", fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  std::string as_nobody;
  if (::geteuid() == 0) {
    if (place.shell("command -v setpriv").exit != 0) SKIP("root writes everything, and there is no setpriv");
    as_nobody = "setpriv --reuid=65534 --clear-groups ";
    if (place.shell("chmod 755 . && " + as_nobody + "test -x \"$CANARY\"").exit != 0)
      SKIP("nobody may run the program where it stands");
  }
  const Answer list = place.shell(as_nobody + "\"$CANARY\" model list");
  INFO(list.err);
  CHECK(list.exit == 0);
  const Answer text = place.shell(as_nobody + "\"$CANARY\" model canary checks@1 5");
  CHECK(text.exit == 1);
  CHECK(has(text.err, "error: "));
  const Answer json = place.shell(as_nobody + "\"$CANARY\" model canary checks@1 5 --json");
  CHECK(json.exit == 1);
  CHECK(text_of(boost::json::parse(json.out).at("error").at("code")) == "failed");
}

TEST_CASE("registry bad input: a database out of reach is exit 7 within its time-out", "[cli][bad]") {
  const DatabasePlace place;
  place.write("canary.toml",
              "[store]\nurl = 'postgresql://127.0.0.1:1/x'\ntimeout_ms = 2000\n[task.checks]\ndefault_model = 'm'\n");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "list"},
                                                    {"model", "register", "checks", "m"},
                                                    {"history", "checks"},
                                                    {"store", "migrate"},
                                                    {"route", "checks", "k"}}) {
    const auto start = std::chrono::steady_clock::now();
    (void)place.refused(7, arguments);  // runs it twice
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{6});
  }
}

TEST_CASE("registry bad input: a wrong password is exit 7, and is never shown", "[cli][bad]") {
  const char* url = std::getenv("CANARY_TEST_POSTGRES");
  if (url == nullptr) SKIP("CANARY_TEST_POSTGRES names no server");
  std::string without{url};
  const std::size_t at = without.find('@');
  const std::size_t colon = without.find(':', without.find("://") + 3);
  if (at == std::string::npos || colon > at) SKIP("the server asks for no password");
  without.erase(colon, at - colon);
  const DatabasePlace place;
  place.write("canary.toml", "[store]\nurl = '" + without + "'\n[task.checks]\ndefault_model = 'm'\n");
  const Answer answer = place.run({"model", "list"}, {}, {{"PGPASSWORD", "wrong-Q7f"}});
  CHECK(answer.exit == 7);
  CHECK(answer.err.find("Q7f") == std::string::npos);
}

}  // namespace registry_bad_input_test
