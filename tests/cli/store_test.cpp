#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/sqlite_store.hpp"
#include "program.hpp"

namespace store_test {

using namespace canary::test;
namespace fs = std::filesystem;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Two tasks, two versions and five rows of history.
class FilledPlace : public DatabasePlace {
 public:
  FilledPlace() {
    register_models({"v1"});
    done({"model", "canary", "checks@1", "5", "--note", "it's \"so\""});
    done({"model", "register", "risks", "r1"});
    done({"model", "promote", "risks@1", "12.5"});
    done({"model", "rollback", "risks"});
  }
};

const std::string kept_out = "; interactions stay in the store alone\n";

/// All that can be seen of a place's registry.
std::string everything(const Place& place) {
  std::string text;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"model", "list"}, {"history", "checks"}, {"history", "risks"}})
    text += boost::json::serialize(place.json(arguments)) + '\n';
  return text;
}

std::vector<std::string> files_in(const Place& place) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator{place.path()}) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("store backup and restore: another store holds the same, under a new epoch token", "[cli][store]") {
  const FilledPlace place;
  const auto saved = place.json({"store", "backup", "saved.db"});
  CHECK(number_of(saved.at("tasks")) == 2);
  CHECK(number_of(saved.at("versions")) == 2);
  CHECK(number_of(saved.at("history")) == 5);
  const std::string before = everything(place);

  place.write("other.toml",
              "[store]\nurl = 'sqlite:other.db'\nstate = ''\n[task.checks]\ndefault_model = 'base'\n"
              "[task.risks]\ndefault_model = 'steady'\n");
  const auto restored = place.json({"--config", "other.toml", "store", "restore", "saved.db"});
  CHECK(number_of(restored.at("tasks")) == 2);
  CHECK(number_of(restored.at("versions")) == 2);
  CHECK(number_of(restored.at("history")) == 5);
  CHECK(text_of(restored.at("epoch_token")) != text_of(saved.at("epoch_token")));
  fs::rename(place.path() / "canary.toml", place.path() / "first.toml");
  fs::copy_file(place.path() / "other.toml", place.path() / "canary.toml");
  CHECK(everything(place) == before);
}

TEST_CASE("store backup: one file, which the store's own commands can open", "[cli][store]") {
  const FilledPlace place;
  const std::string before = everything(place);
  CHECK(place.run({"store", "backup", "saved.db"}).out ==
        "saved.db: 2 tasks, 2 versions, 5 rows of history" + kept_out);
  for (const std::string& name : files_in(place)) {
    INFO(name);
    CHECK_FALSE((name.starts_with("saved.db") && name != "saved.db"));
  }
  fs::remove(place.path() / "canary.db");
  fs::rename(place.path() / "saved.db", place.path() / "canary.db");
  CHECK(everything(place) == before);
}

TEST_CASE("store backup: a file that is there is kept, unless --force", "[cli][store]") {
  const FilledPlace place;
  place.write("saved.db", "mine");
  CHECK(has(place.refused(4, {"store", "backup", "saved.db"}), "--force"));
  CHECK(place.read("saved.db") == "mine");
  CHECK(place.run({"store", "backup", "saved.db", "--force"}).exit == 0);
  CHECK(place.read("saved.db").starts_with("SQLite format 3"));
  CHECK(has(place.refused(5, {"store", "backup", "canary.db", "--force"}), "is the store itself"));
  CHECK(has(place.refused(5, {"store", "backup", "."}), "is a directory"));
  place.write("open.db-wal", "x");
  CHECK(has(place.refused(4, {"store", "backup", "open.db", "--force"}), "was not closed"));
  place.write("file", "");
  CHECK(has(place.refused(5, {"store", "backup", "no/such/folder/b.db"}), "no/such/folder: no such folder"));
  CHECK(has(place.refused(5, {"store", "backup", "file/b.db"}), "file is no folder"));
  CHECK(has(place.refused(2, {"store", "backup", ""}), "no file named"));
  for (const std::string& name : files_in(place)) CHECK_FALSE(has(name, ".part-"));
}

TEST_CASE("store restore: a store that has tasks is kept, unless --replace", "[cli][store]") {
  const FilledPlace place;
  place.done({"store", "backup", "saved.db"});
  const std::string before = everything(place);
  place.done({"model", "canary", "checks@1", "50"});
  CHECK(has(place.refused(4, {"store", "restore", "saved.db"}), "--replace"));
  const auto would = place.json({"store", "restore", "saved.db", "--replace", "--dry-run"});
  CHECK(would.at("dry_run").as_bool());
  CHECK(number_of(would.at("history")) == 5);
  CHECK(everything(place) != before);
  const Answer text = place.run({"store", "restore", "saved.db", "--replace"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "holds 2 tasks, 2 versions, 5 rows of history; its 2 tasks went"));
  CHECK(everything(place) == before);
}

TEST_CASE("store restore: the backup is read, never written, made or migrated", "[cli][store]") {
  const FilledPlace place;
  place.done({"store", "backup", "saved.db"});
  const std::string bytes = place.read("saved.db");
  place.done({"store", "restore", "saved.db", "--replace"});
  CHECK(place.read("saved.db") == bytes);
  const std::vector<std::string> files = files_in(place);
  CHECK(has(place.refused(5, {"store", "restore", "absent.db"}), "no such file"));
  CHECK(has(place.refused(2, {"store", "restore", ""}), "no file named"));
  CHECK(files_in(place) == files);
  CHECK(has(place.refused(5, {"store", "restore", "canary.toml"}), "canary.toml"));
  CHECK(has(place.refused(5, {"store", "restore", "canary.db"}), "is the store itself"));
  place.write("empty.db", "");
  CHECK(has(place.refused(5, {"store", "restore", "empty.db", "--replace"}), "empty.db"));
  CHECK(place.read("empty.db").empty());
}

TEST_CASE("store restore: half a backup is refused, and the store stays", "[cli][store]") {
  const FilledPlace place;
  place.done({"store", "backup", "saved.db"});
  const std::string before = everything(place);
  const std::string bytes = place.read("saved.db");
  place.write("saved.db", bytes.substr(0, bytes.size() / 2));
  CHECK(place.run({"store", "restore", "saved.db", "--replace"}).exit != 0);
  place.write("saved.db", bytes.substr(0, 4'096) + std::string(bytes.size() - 4'096, '\x5A'));
  const Answer broken = place.run({"store", "restore", "saved.db", "--replace"});
  CHECK(broken.exit != 0);
  CHECK_FALSE(has(broken.err, "/copy"));  // the file that people know, not our copy of it
  CHECK(everything(place) == before);
}

TEST_CASE("store backup and restore: fine-tune jobs come along, those of a task without a version too, held by nobody",
          "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  const auto open = [&place](const char* name) { return canary::SqliteStore{(place.path() / name).string()}; };
  std::vector<canary::Job> jobs;
  for (const char* task : {"checks", "risks"}) {
    canary::Job job;
    job.id = "job-of-" + std::string{task};
    job.task = task;
    job.holder = "this process";
    job.held_until_us = 9;
    job.revision = 1;
    REQUIRE(open("canary.db").put_job(job) == canary::CommitResult::done);
    job.holder.clear();
    job.held_until_us = 0;
    job.phase = canary::JobPhase::creating;  // it may have been sent since the backup, so it is looked for first
    jobs.push_back(job);
  }
  CHECK(place.run({"store", "backup", "saved.db"}).out ==
        "saved.db: 1 task, 1 version, 1 row of history, 2 jobs" + kept_out);
  CHECK(number_of(place.json({"store", "backup", "again.db"}).at("jobs")) == 2);
  CHECK((open("saved.db").jobs({}) == jobs));

  place.done({"store", "restore", "saved.db", "--replace"});
  CHECK((open("canary.db").jobs({}) == jobs));
  CHECK(has(place.run({"store", "restore", "saved.db", "--replace"}).out, "2 jobs; its 1 task and 2 jobs went"));

  // A store that has jobs alone is not an empty one.
  place.write("other.toml", "[store]\nurl = 'sqlite:other.db'\nstate = ''\n[task.checks]\ndefault_model = 'base'\n");
  REQUIRE(open("other.db").put_job(jobs[0]) == canary::CommitResult::done);
  CHECK(
      has(place.refused(4, {"--config", "other.toml", "store", "restore", "saved.db"}), "the store has 1 job already"));
  CHECK((open("other.db").jobs({}) == std::vector<canary::Job>{jobs[0]}));
}

TEST_CASE("store migrate: says what it had and what it has", "[cli][store]") {
  const FilledPlace place;
  const auto migrated = place.json({"store", "migrate"});
  CHECK(migrated.at("schema_before") == migrated.at("schema"));
  CHECK(has(place.run({"store", "migrate"}).out, "already"));
}

TEST_CASE("store: followers read everything anew after a restore", "[cli][store]") {
  const FilledPlace place;
  place.done({"store", "backup", "saved.db"});
  place.done({"model", "promote", "checks@1"});
  CHECK(has(place.run({"--json", "route", "checks", "u"}).out, "\"version\":\"checks@1\""));
  place.done({"store", "restore", "saved.db", "--replace"});
  CHECK(has(place.run({"--json", "route", "checks", "u"}).out, "\"revision\":2}"));
}

TEST_CASE("store: without the database the last good state serves, with a warning", "[cli][store]") {
  const FilledPlace place;
  const std::string before = place.run({"--json", "route", "checks", "a", "b", "c"}).out;
  fs::create_directory(place.path() / "away");
  fs::rename(place.path() / "canary.db", place.path() / "away" / "canary.db");
  fs::create_directory(place.path() / "canary.db");  // a path that cannot be opened as a database
  const Answer answer = place.run({"--json", "route", "checks", "a", "b", "c"});
  CHECK(answer.exit == 0);
  CHECK(answer.out == before);
  CHECK(has(answer.err, "warning: routing by the last good state"));
  CHECK(has(place.run({"why", "checks", "a"}).out, "not known: the database cannot be reached"));
  CHECK(place.run({"why", "checks", "a", "--at", "1"}).exit == 7);
  CHECK(place.run({"simulate", "checks", "--keys", "-", "--set", "checks@1=9"}, "a\n").exit == 7);
  CHECK(place.run({"simulate", "checks", "--keys", "-"}, "a\n").exit == 0);
  fs::remove(place.path() / "canary.state");
  CHECK(place.run({"route", "checks", "a"}).exit != 0);
}

TEST_CASE("why: --at explains any past decision, and who made it", "[cli][store][why]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "50", "--actor", "ann"});
  place.done({"model", "register", "checks", "v2"});  // changes no weight
  std::string key = "k";
  while (!has(place.run({"--json", "route", "checks", key}).out, "checks@1")) key += 'k';
  place.done({"model", "promote", "checks@1", "--actor", "bob"});

  const auto now = place.json({"why", "checks", key});
  CHECK(number_of(now.at("revision")) == 4);
  CHECK(text_of(now.at("set_by").at("actor")) == "bob");
  const auto third = place.json({"why", "checks", key, "--at", "3"});
  CHECK(number_of(third.at("revision")) == 3);
  CHECK(text_of(third.at("version")) == "checks@1");
  CHECK(text_of(third.at("model")) == "v1");
  CHECK(text_of(third.at("set_by").at("actor")) == "ann");
  CHECK(number_of(third.at("set_by").at("revision")) == 2);
  CHECK(third.at("point") == now.at("point"));
  const auto first = place.json({"why", "checks", key, "--at", "1"});
  CHECK(text_of(first.at("version")) == "checks@default");
  CHECK(first.at("set_by").is_null());
  CHECK(text_of(place.json({"why", "checks", key, "--at", "0"}).at("version")) == "checks@default");
  CHECK(has(place.refused(3, {"why", "checks", key, "--at", "99"}), "never had revision 99; it has 0 to 4"));
  CHECK(has(place.refused(3, {"why", "checks", key, "--at", "99999999999999999999"}),
            "ever had revision 99999999999999999999"));
  CHECK(has(place.run({"why", "checks", key}).out, "set by    bob at "));

  const Answer forced = place.run({"--json", "why", "checks", key, "--at", "1"}, {}, {{"CHECKS_FORCE", "x"}});
  const auto why = boost::json::parse(forced.out).as_object();
  CHECK(text_of(why.at("reason")) == "forced");
  CHECK(text_of(why.at("set_by").at("action")) == "environment");
}

TEST_CASE("why: a past rollback is explained by the rollback", "[cli][store][why]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "promote", "checks@1"});
  place.done({"model", "rollback", "checks", "--note", "no good"});
  const auto why = place.json({"why", "checks", "k"});
  CHECK(text_of(why.at("version")) == "checks@default");
  CHECK(text_of(why.at("set_by").at("action")) == "rollback");
  CHECK(text_of(why.at("set_by").at("note")) == "no good");
}

TEST_CASE("simulate: --set predicts what model canary does, key by key", "[cli][store][simulate]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "promote", "checks@1", "60"});
  std::string keys;
  for (int i = 0; i != 5'000; ++i) keys += "user-" + std::to_string(i) + '\n';
  const auto counts = [](const boost::json::value& list) {
    std::map<std::string, std::uint64_t> out;
    for (const auto& each : list.as_array()) out[text_of(each.at("id"))] = number_of(each.at("count"));
    return out;
  };
  const auto before = place.json({"history", "checks"});
  const auto tried = place.json({"simulate", "checks", "--keys", "-", "--set", "checks@2=25"}, keys);
  CHECK(place.json({"history", "checks"}) == before);  // changes nothing
  const auto did = place.json({"model", "canary", "checks@2", "25"});
  CHECK(tried.at("points_moved") == did.at("points_moved"));
  CHECK(tried.at("points_minimum") == did.at("points_minimum"));
  const auto now = place.json({"simulate", "checks", "--keys", "-"}, keys);
  CHECK(counts(tried.at("after")) == counts(now.at("before")));
  CHECK(counts(now.at("before")) == counts(now.at("after")));
  CHECK(number_of(tried.at("moved_keys")) == counts(tried.at("after"))["checks@2"]);
  CHECK(counts(tried.at("after"))["checks@default"] == counts(tried.at("before"))["checks@default"]);

  CHECK(has(place.refused(5, {"simulate", "checks", "--keys", "canary.toml", "--set", "checks@2=70"}), "60 % at most"));
  CHECK(has(place.refused(3, {"simulate", "checks", "--keys", "canary.toml", "--set", "checks@9=5"}), "checks@9"));
  (void)place.refused(5, {"simulate", "checks", "--keys", "canary.toml", "--set", "checks@default=5"});
  (void)place.refused(5, {"simulate", "checks", "--keys", "canary.toml", "--set", "v2=5"});
}

TEST_CASE("simulate: several --set are tried as one change, which moves the least possible", "[cli][store][simulate]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "promote", "checks@1", "60"});
  // One after another, checks@1 would give 25 % to checks@2 and then get them back from the default.
  const auto tried =
      place.json({"simulate", "checks", "--keys", "-", "--set", "checks@2=25", "--set", "checks@1=60"}, "a\nb\n");
  CHECK(tried.at("points_moved") == tried.at("points_minimum"));
  CHECK(number_of(tried.at("points_moved")) == 1'073'741'824);
  const Answer text =
      place.run({"simulate", "checks", "--keys", "-", "--set", "checks@2=25", "--set", "checks@1=60"}, "a\nb\n");
  CHECK(has(text.out, "25 %"));
  CHECK(has(text.out, "15 %"));  // what is left to the default
  CHECK(has(place.run({"simulate", "--help"}).out, "tried as one"));
}

TEST_CASE("simulate: under an override with a registered model every key is that version's", "[cli][store][simulate]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "canary", "checks@1", "10"});
  for (const char* model : {"v2", "elsewhere"}) {
    const Answer answer = place.run({"--json", "simulate", "checks", "--keys", "-", "--set", "checks@1=20"},
                                    "a\nb\nc\n", {{"CHECKS_FORCE", model}});
    REQUIRE(answer.exit == 0);
    const auto result = boost::json::parse(answer.out).as_object();
    CHECK(number_of(result.at("moved_keys")) == 0);
    const auto& last = result.at("after").as_array().back();
    CHECK(text_of(last.at("id")) == (model == std::string{"v2"} ? "checks@2" : "checks@forced"));
    CHECK(number_of(last.at("count")) == 3);
  }
}

TEST_CASE("store: a database that went missing is made anew by no command, and doctor says so", "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  CHECK(place.run({"model", "promote", "checks@1"}).exit == 0);
  CHECK(place.run({"route", "checks", "k"}).exit == 0);  // keeps the state
  CHECK(place.run({"store", "backup", "b.db"}).exit == 0);
  const std::string backup = place.read("b.db");
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(place.path() / ("canary.db" + std::string{end}));
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"model", "list"},
                                                    {"model", "register", "checks", "v2"},
                                                    {"history", "checks"},
                                                    {"model", "canary", "checks@1", "5", "--dry-run"},
                                                    {"store", "backup", "b.db", "--force"},
                                                    {"doctor"}}) {
    INFO(arguments.front() << ' ' << arguments.back());
    CHECK(place.run(arguments).exit == 7);
    CHECK_FALSE(std::filesystem::exists(place.path() / "canary.db"));
  }
  CHECK(place.read("b.db") == backup);
  CHECK(place.run({"route", "checks", "k"}).out.find("checks@1") != std::string::npos);
  CHECK(place.run({"store", "restore", "b.db"}).exit == 0);
  CHECK(place.run({"model", "list"}).out.find("checks@1") != std::string::npos);
}

TEST_CASE("store: another url is another database, which the state of the one before does not forbid", "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "promote", "checks@1"});
  REQUIRE(place.run({"route", "checks", "k"}).exit == 0);  // keeps the state
  const std::string file = place.read("canary.toml");
  std::string other = file;
  other.replace(other.find("canary.db"), 9, "other.db");
  place.write("canary.toml", other);
  CHECK(has(place.run({"doctor"}).out, "other.db is not there yet"));
  CHECK(has(place.run({"doctor"}).out, "move it away, or give each store its own store.state"));
  CHECK_FALSE(fs::exists(place.path() / "other.db"));
  CHECK(place.run({"model", "list"}).exit == 0);
  CHECK(fs::exists(place.path() / "other.db"));
  CHECK(place.run({"model", "register", "checks", "w1"}).exit == 0);
  CHECK(has(place.run({"--json", "route", "checks", "k"}).out, "checks@default"));  // and the state is other.db's
  place.write("canary.toml", file);
  CHECK(has(place.run({"--json", "route", "checks", "k"}).out, "checks@1"));
}

TEST_CASE("store: however its path is spelled, a database that went missing is not made anew", "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  REQUIRE(place.run({"route", "checks", "k"}).exit == 0);
  for (const char* end : {"", "-wal", "-shm"}) fs::remove(place.path() / ("canary.db" + std::string{end}));
  const std::string whole = (place.path() / "canary.toml").string();
  const std::string words = place.refused(7, {"--config", whole, "model", "list"});
  CHECK(has(words, "canary.state tells that it was there"));
  CHECK(has(words, "away to begin with an empty store"));
  CHECK_FALSE(fs::exists(place.path() / "canary.db"));
}

TEST_CASE("store: a state that does not tell of which store it is lets nothing be made, and both ways out are named",
          "[cli][store]") {
  const DatabasePlace place;
  place.write("canary.state", "of an older form, or damaged");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"model", "list"}, {"route", "checks", "k"}, {"doctor"}}) {
    const Answer answer = place.run(arguments);
    INFO(answer.out << answer.err);
    CHECK(answer.exit == 7);
    CHECK(has(answer.out + answer.err, "canary.state does not tell of which store it is"));
    CHECK(has(answer.out + answer.err, "restore a backup"));
    CHECK(has(answer.out + answer.err, "away, or set store.state"));
    CHECK_FALSE(fs::exists(place.path() / "canary.db"));
  }
}

TEST_CASE("store backup: what is left out is said", "[cli][store]") {
  const Place place;
  CHECK(has(place.run({"store", "backup", "--help"}).out, "Interactions, and the counts and the evidence"));
}

TEST_CASE("store: what stands in the way of a restore is named", "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  CHECK(place.run({"store", "backup", "b.db"}).exit == 0);
  place.write("canary.db", std::string(20'000, 'x'));
  const Answer answer = place.run({"store", "restore", "b.db", "--replace"});
  CHECK(answer.exit == 1);
  CHECK(answer.err.find("canary.db-wal") != std::string::npos);
}

TEST_CASE("store: a change that cannot be told stands, and the error says so", "[cli][store]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  const Answer answer = place.shell("\"$CANARY\" --json model canary checks@1 40 >/dev/full");
  CHECK(answer.exit == 1);
  CHECK(answer.err.find("the change stands") != std::string::npos);
}

TEST_CASE("doctor: a state file that is damaged is no good", "[cli][doctor]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  CHECK(place.run({"route", "checks", "k"}).exit == 0);
  place.write("canary.state", "garbage");
  const Answer answer = place.run({"doctor"});
  CHECK(answer.exit == 1);
  CHECK(answer.out.find("holds no whole state") != std::string::npos);
}

}  // namespace store_test
