#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/training_export.hpp"
#include "interactions_place.hpp"

namespace export_test {

using namespace canary::test;
namespace fs = std::filesystem;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator{folder}) names.insert(entry.path().filename().string());
  return names;
}

const std::vector<std::string> columns{"--key", "k",         "--ok", "ok",         "--score",
                                       "score", "--request", "q",    "--response", "a"};

/// A place with exports of task checks to look at.
class ExportPlace : public RecordedPlace {
 public:
  /// Two thousand examples of four hundred users.
  void fill() const {
    std::string csv = "k,ok,score,q,a\n";
    for (int i = 0; i != 2'000; ++i) {
      const std::string n = std::to_string(i);
      csv += "user-" + std::to_string(i % 400) + ",1,0." + std::to_string(i % 10) + ",question " + n + " of user " +
             std::to_string(i % 400) + ",\"an answer, number " + n + "\"\n";
    }
    (void)import(csv, columns);
  }

  /// Lines of a file of the export, each the messages of one example.
  [[nodiscard]] std::vector<boost::json::array> examples(const std::string& file) const {
    std::vector<boost::json::array> all;
    for (const std::string& line : lines_of(read(file)))
      all.push_back(boost::json::parse(line).as_object().at("messages").as_array());
    return all;
  }
  [[nodiscard]] boost::json::object manifest(const std::string& folder) const {
    return boost::json::parse(read(folder + "/manifest.json")).as_object();
  }
  [[nodiscard]] std::string sha256(const std::string& file) const {
    return shell("sha256sum " + file).out.substr(0, 64);
  }
};

std::string content(const boost::json::array& messages, std::size_t at) {
  return text_of(messages.at(at).at("content"));
}

}  // namespace

TEST_CASE("export: lines of valid JSON, every example once, no user on both sides", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  const auto result = place.json({"export", "checks", "--out", "new/data/", "--val", "25"});
  const auto& files = result.at("files").as_array();
  REQUIRE(files.size() == 2);
  CHECK(text_of(files[0].at("path")) == "new/data/train.jsonl");
  CHECK(text_of(files[1].at("path")) == "new/data/val.jsonl");
  std::map<std::string, std::set<std::string>> users;
  std::set<std::string> questions;
  for (const std::string file : {"train", "val"}) {
    const auto examples = place.examples("new/data/" + file + ".jsonl");
    CHECK(examples.size() == number_of(files[file == "val" ? 1 : 0].at("examples")));
    for (const auto& messages : examples) {
      REQUIRE(messages.size() == 2);
      CHECK(text_of(messages[0].at("role")) == "user");
      CHECK(text_of(messages[1].at("role")) == "assistant");
      const std::string question = content(messages, 0);
      CHECK(questions.insert(question).second);
      users[file].insert(question.substr(question.find(" of user ")));
      CHECK(content(messages, 1).starts_with("an answer, number "));
    }
  }
  CHECK(questions.size() == 2'000);
  CHECK(users["train"].size() + users["val"].size() == 400);
  for (const std::string& user : users["val"]) CHECK_FALSE(users["train"].contains(user));
  CHECK(users["val"].size() > 60);  // 100 of 400 by chance; so few once in a million exports of other users
  CHECK(users["val"].size() < 145);
  CHECK(files_in(place.path() / "new/data") == std::set<std::string>{"manifest.json", "train.jsonl", "val.jsonl"});
}

TEST_CASE("export: the manifest says what was done, with the hashes of the files", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  place.done({"export", "checks", "--out", "d", "--min-score", "0.5", "--version", "checks@1", "--since", "1h"});
  const auto manifest = place.manifest("d");
  CHECK(text_of(manifest.at("task")) == "checks");
  CHECK(number_of(manifest.at("read")) == 2'000);
  CHECK(number_of(manifest.at("written")) == 1'000);
  CHECK(boost::json::serialize(manifest.at("left_out")) == R"({"low_score":1000})");
  CHECK(boost::json::serialize(manifest.at("filters").at("versions")) == R"(["checks@1"])");
  CHECK(manifest.at("filters").at("min_score").to_number<double>() == 0.5);
  CHECK(manifest.at("filters").at("until").is_null());
  CHECK(manifest.at("filters").at("since").is_string());
  CHECK(number_of(manifest.at("first_revision")) == 2);
  CHECK(place.ask("SELECT max(id) FROM interactions WHERE score >= 500000000") == text_of(manifest.at("last_id")));
  std::uint64_t examples = 0;
  for (const auto& file : manifest.at("files").as_array()) {
    const std::string name = "d/" + text_of(file.at("path"));
    CHECK(place.sha256(name) == text_of(file.at("sha256")));
    CHECK(fs::file_size(place.path() / name) == number_of(file.at("bytes")));
    CHECK(place.examples(name).size() == number_of(file.at("examples")));
    examples += number_of(file.at("examples"));
  }
  CHECK(examples == 1'000);
}

TEST_CASE("export: the same user is on the same side in every export, whatever else there is", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  place.done({"export", "checks", "--out", "one"});
  (void)place.import("k,q,a\nsomebody,new,text\n", {"--key", "k", "--request", "q", "--response", "a"}, "checks@2");
  place.done({"export", "checks", "--out", "two", "--version", "checks@1"});
  CHECK(place.read("one/val.jsonl") == place.read("two/val.jsonl"));
  place.done(
      {"export", "checks", "--out", "more", "--val", "50"});  // a larger share takes more users, and gives none back
  const std::string more = place.read("more/val.jsonl");
  for (const std::string& line : lines_of(place.read("one/val.jsonl"))) CHECK(more.find(line) != std::string::npos);
}

TEST_CASE("export: the split of a point never changes", "[cli][export]") {
  std::vector<canary::Point> first;
  for (canary::Point point = 0; first.size() != 5; ++point)
    if (canary::is_validation(point, 100'000)) first.push_back(point);
  CHECK(first == std::vector<canary::Point>{7, 10, 16, 31, 41});
  CHECK_FALSE(canary::is_validation(first[0], 0));
  CHECK(canary::is_validation(0, 1'000'000));
  CHECK(canary::is_validation(0xFFFF'FFFF, 1'000'000));
}

TEST_CASE("export: examples that were there before word for word are left out", "[cli][export]") {
  const ExportPlace place;
  (void)place.import("k,q,a\nu1,Hi,Hello\nu2,Hi,Hello\nu3,Hi,Hello!\nu4,HiH,ello\nu1,Hi,Hello\n",
                     {"--key", "k", "--request", "q", "--response", "a"});
  const auto result = place.json({"export", "checks", "--out", "d", "--val", "0"});
  CHECK(boost::json::serialize(result.at("left_out")) == R"({"duplicate":2})");
  CHECK(place.examples("d/train.jsonl").size() == 3);
  CHECK(files_in(place.path() / "d") == std::set<std::string>{"manifest.json", "train.jsonl"});
}

TEST_CASE("export: sets of seen examples grow without forgetting", "[cli][export]") {
  canary::SeenExamples seen;
  for (int pass = 0; pass != 2; ++pass)
    for (int i = 0; i != 50'000; ++i) CHECK(seen.add(std::to_string(i), "x") == (pass == 0));
}

TEST_CASE("export: errors, missing scores and missing texts are left out, unless they are asked for", "[cli][export]") {
  const ExportPlace place;
  (void)place.import(
      "k,ok,score,q,a\nu1,1,0.9,one,1\nu2,0,0.9,two,2\nu3,1,,three,3\nu4,1,0.2,four,4\nu5,1,0.9,five,\nu6,1,0.9,,\n",
      columns);
  const auto left_out = [&place](std::vector<std::string> options) {
    options.insert(options.begin(), {"export", "checks", "--out", "d", "--force"});
    return boost::json::serialize(place.json(options).at("left_out"));
  };
  CHECK(left_out({"--val", "0"}) == R"({"error":1,"no_text":1})");  // the sixth has no texts at all
  CHECK(left_out({"--val", "0", "--with-errors"}) == R"({"no_text":1})");
  CHECK(left_out({"--val", "0", "--min-score", "0.5"}) == R"({"error":1,"no_score":1,"low_score":1,"no_text":1})");
  CHECK(place.examples("d/train.jsonl").size() == 1);
}

TEST_CASE("export: a request that is a list of messages stands as it is", "[cli][export]") {
  const ExportPlace place;
  const auto exported = [&place](const std::string& request) {
    std::string quoted;
    for (const char c : request) quoted += c == '"' ? std::string{"\"\""} : std::string{c};
    (void)place.import("q,a\n\"" + quoted + "\",yes\n", {"--request", "q", "--response", "a"});
    place.done({"export", "checks", "--out", "d", "--val", "0", "--force"});
    place.sql("DELETE FROM interactions; DELETE FROM payloads");
    return place.examples("d/train.jsonl").at(0);
  };
  const std::string messages = R"([{"role":"system","content":"be kind"},{"role":"user","content":"hi"}])";
  for (const std::string& request : {messages, "\n " + messages, R"({"model":"m","messages":)" + messages + "}"}) {
    const auto example = exported(request);
    REQUIRE(example.size() == 3);
    CHECK(text_of(example[0].at("role")) == "system");
    CHECK(content(example, 1) == "hi");
    CHECK(content(example, 2) == "yes");
  }
  for (const std::string request :
       {"[1, 2]", "[]", "{}", "[{\"role\":\"user\"}]", "[{\"role\":1,\"content\":\"x\"}]", "{\"messages\":3}",
        "[not JSON", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},7]}"}) {
    const auto example = exported(request);
    REQUIRE(example.size() == 2);
    CHECK(content(example, 0) == request);
  }
  CHECK(content(exported("\"quotes\", \\ back\nand \x01 control \xF0\x9F\x90\xA6"), 0) ==
        "\"quotes\", \\ back\nand \x01 control \xF0\x9F\x90\xA6");
  const std::string broken = content(exported("bad \xFF byte"), 0);  // what the store made of it
  CHECK(broken == "bad \xEF\xBF\xBD byte");
}

TEST_CASE("export: versions, times and the errors of both", "[cli][export]") {
  const ExportPlace place;
  const std::vector<std::string> texts{"--at", "at", "--request", "q", "--response", "a"};
  (void)place.import("at,q,a\n1763800000,one,1\n1763803600,two,2\n", texts);
  (void)place.import("at,q,a\n1763800000,three,3\n", texts, "checks@2");
  (void)place.import("at,q,a\n1763800000,four,4\n", texts, "checks@default");
  const auto count = [&place](std::vector<std::string> options) {
    options.insert(options.begin(), {"export", "checks", "--out", "d", "--val", "0", "--force"});
    return number_of(place.json(options).at("files").at(0).at("examples"));
  };
  CHECK(count({}) == 4);
  CHECK(count({"--version", "checks@1"}) == 2);
  CHECK(count({"--version", "checks@1", "--version", "checks@default"}) == 3);
  CHECK(count({"--until", "1763803600"}) == 3);
  CHECK(count({"--since", "1763803600"}) == 1);
  const auto refused = [&place](int exit, std::vector<std::string> options) {
    options.insert(options.begin(), {"export", "checks", "--out", "other"});
    const std::string words = place.refused(exit, options);
    CHECK_FALSE(fs::exists(place.path() / "other"));
    return words;
  };
  CHECK(has(refused(3, {"--version", "checks@7"}), "no version checks@7"));
  CHECK(has(refused(5, {"--version", "risks@1"}), "is no version's id"));
  CHECK(has(refused(5, {"--val", "101"}), "is not a percentage"));
  CHECK(has(refused(5, {"--min-score", "2"}), "--min-score is no score"));
  CHECK(has(refused(2, {"--format", "text"}), "chat is the one there is"));
  CHECK(has(refused(2, {"--since", "soon"}), "is no time"));
  CHECK(has(place.refused(3, {"export", "chekcs", "--out", "other"}), "did you mean \"checks\"?"));
  CHECK(has(place.refused(2, {"export", "checks"}), "--out"));
  CHECK(has(place.refused(2, {"export", "checks", "--out", ""}), "--out: an empty value"));
}

TEST_CASE("export: without any example it is exit 1, says why, and writes nothing", "[cli][export]") {
  const ExportPlace place;
  CHECK(has(place.refused(1, {"export", "checks", "--out", "a/b"}), "recorder.payloads = true"));
  (void)place.import("ok,q,a\n0,one,1\n0,two,2\n", {"--ok", "ok", "--request", "q", "--response", "a"});
  CHECK(
      has(place.refused(1, {"export", "checks", "--out", "a/b"}), "all were left out (error 2); nothing was written"));
  CHECK_FALSE(fs::exists(place.path() / "a"));
}

TEST_CASE("export: files that are there stay, unless --force", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  for (const char* name : {"train.jsonl", "val.jsonl", "manifest.json"}) {
    fs::remove_all(place.path() / "d");
    fs::create_directory(place.path() / "d");
    place.write(std::string{"d/"} + name, "mine");
    CHECK(has(place.refused(4, {"export", "checks", "--out", "d"}), std::string{name} + " is there already"));
    CHECK(files_in(place.path() / "d") == std::set<std::string>{name});
    CHECK(place.read(std::string{"d/"} + name) == "mine");
  }
  place.done({"export", "checks", "--out", "d", "--force"});
  CHECK(files_in(place.path() / "d").size() == 3);
  place.done({"export", "checks", "--out", "d", "--force", "--val", "0"});  // no stale side stays
  CHECK(files_in(place.path() / "d") == std::set<std::string>{"manifest.json", "train.jsonl"});
  place.write("file", "");
  CHECK(has(place.refused(1, {"export", "checks", "--out", "file"}), "file"));
}

TEST_CASE("export: killed in the middle, or out of room, it leaves no file in its place", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  // The kernel ends it at the first byte past the limit, as kill -9 would.
  const Answer killed = place.shell("ulimit -c 0; ulimit -f 100; exec \"$CANARY\" export checks --out d");
  CHECK(killed.exit == 128 + SIGXFSZ);
  const std::set<std::string> left = files_in(place.path() / "d");
  CHECK(left.size() == 3);
  for (const std::string& name : left) CHECK(name.starts_with("."));
  fs::remove_all(place.path() / "d");
  const Answer full = place.shell("trap '' XFSZ; ulimit -f 100; exec \"$CANARY\" --json export checks --out d");
  CHECK(full.exit == 1);
  CHECK(has(full.out, "d/train.jsonl: cannot be written: File too large"));
  CHECK_FALSE(fs::exists(place.path() / "d"));
}

TEST_CASE("export: interrupted it leaves nothing", "[cli][export]") {
  const ExportPlace place;
  place.fill();
  // Some seconds' worth of examples: the first two thousand, again and again.
  place.sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
      "INSERT INTO payloads SELECT id + 4194304000 * i, request || i, response FROM payloads, n WHERE true; "
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
      "INSERT INTO interactions (id, at_us, task, revision, point, number, reason, error, tokens_in, tokens_out, "
      "cost_microusd) SELECT id + 4194304000 * i, at_us, task, revision, point, number, reason, error, 0, 0, 0 "
      "FROM interactions, n WHERE true");
  for (int attempt = 0;; ++attempt) {  // it may be done before it is looked at
    REQUIRE(attempt < 20);
    Answer answer;
    fs::remove(place.path() / "pid");
    std::thread exporting{[&] { answer = place.shell("echo $$ > pid; exec \"$CANARY\" export checks --out d"); }};
    while (files_in(place.path() / "d").empty()) std::this_thread::yield();
    ::kill(static_cast<pid_t>(std::atoi(place.read("pid").c_str())), SIGINT);
    exporting.join();
    INFO(answer.err);
    if (answer.exit == 0) {
      fs::remove_all(place.path() / "d");
      continue;
    }
    CHECK(answer.exit == 128 + SIGINT);
    CHECK(answer.out.empty());
    CHECK_FALSE(fs::exists(place.path() / "d"));
    return;
  }
}

}  // namespace export_test
