#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/hash.hpp"
#include "interactions_place.hpp"
#include "test_paths.hpp"

namespace interactions_test {

using namespace canary::test;

namespace {

const std::string outcomes = std::string{CANARY_SHARED_DATA_DIR} + "/outcomes/mmlu_pairs.csv";

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("interactions: bash completes their verbs, versions, files and folders", "[cli][interactions][completion]") {
  const RecordedPlace place;
  std::filesystem::create_directory(place.path() / "folder");
  const auto offered = [&place](const std::string& words) {
    const Answer answer =
        place.shell("set -e; source <(\"$CANARY\" completion bash); COMP_WORDS=(canary " + words +
                    "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _canary; printf '%s ' \"${COMPREPLY[@]}\"");
    INFO(answer.err);
    CHECK(answer.exit == 0);
    return answer.out;
  };
  CHECK(offered("interactions ''") == "import list stats feedback ");
  CHECK(offered("interactions import ch") == "checks ");
  CHECK(offered("interactions import checks canary.t") == "canary.toml ");
  CHECK(offered("interactions import checks x.csv --version ''") == "checks@ risks@ ");
  CHECK(offered("interactions import --lat") == "--latency-us ");
  CHECK(offered("interactions stats ''") == "checks risks ");
  CHECK(offered("interactions feedback ''") == " ");  // an id: nothing to offer
  CHECK(offered("export ri") == "risks ");
  CHECK(offered("export risks --out fol") == "folder ");
  CHECK(place.shell("\"$CANARY\" completion bash | bash -n").exit == 0);
}

TEST_CASE("model: a change of weights freezes latency thresholds, with the margins of the task's metrics too",
          "[cli][model]") {
  const RecordedPlace place;
  place.write("canary.toml",
              "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\n"
              "[[task.checks.guard.metric]]\nname = 'slow'\nkind = 'latency'\nmargin = 1.0\n"
              "[[task.checks.guard.metric]]\nname = 'ok'\nkind = 'success'\nmargin = 0.25\n");
  std::string csv = "us\n";
  for (int i = 0; i != 100; ++i) csv += "40\n";
  (void)place.import(csv, {"--latency-us", "us"}, "checks@default");
  const auto thresholds = [&place] {
    return place.ask("SELECT substr(epoch, -6) FROM history WHERE task = 'checks' ORDER BY revision DESC LIMIT 1");
  };
  for (const std::vector<std::string>& change :
       {std::vector<std::string>{"canary", "checks@1", "5"}, {"canary", "checks@1", "10"}, {"rollback", "checks"}}) {
    std::vector<std::string> arguments{"model"};
    arguments.insert(arguments.end(), change.begin(), change.end());
    place.done(arguments);
    CHECK(thresholds() == "|40 80");  // values below 64 are exact
  }
}

TEST_CASE("interactions import: every column arrives as it stands in the file", "[cli][interactions]") {
  const RecordedPlace place;
  const auto result = place.import(
      "user,fine,quality,us,when,in,out,cost,why,ask,answer\n"
      "\"Ann, B\",1,0.93,812000,2025-11-22T10:00:00.5Z,512,88,140,,Hello?,Hi\n"
      "bob,no,,,2025-11-22T10:00:01+02:00,0,0,0,timeout,\"two\nlines\",\n",
      {"--key",   "user", "--ok",        "fine", "--score",      "quality", "--latency-us",    "us",
       "--at",    "when", "--tokens-in", "in",   "--tokens-out", "out",     "--cost-microusd", "cost",
       "--error", "why",  "--request",   "ask",  "--response",   "answer"});
  CHECK(boost::json::serialize(result) == R"({"imported":2,"skipped":0})");
  const auto rows = place.list();
  REQUIRE(rows.size() == 2);
  const std::string id = text_of(rows[0].at("id"));
  CHECK(boost::json::serialize(rows[0]) ==
        R"({"id":")" + id +
            R"(","at":"2025-11-22T10:00:00.500000Z","task":"checks","version":"checks@1","reason":"split","ok":true,)"
            R"("error":null,"latency_us":812000,"score":9.3E-1,"tokens_in":512,"tokens_out":88,"cost_microusd":140})");
  CHECK(text_of(rows[1].at("at")) == "2025-11-22T08:00:01Z");
  CHECK_FALSE(rows[1].at("ok").as_bool());
  CHECK(text_of(rows[1].at("error")) == "timeout");
  CHECK(rows[1].at("latency_us").is_null());
  CHECK(rows[1].at("score").is_null());
  CHECK(place.ask("SELECT point FROM interactions ORDER BY at_us DESC LIMIT 1") ==
        std::to_string(canary::point_of(std::string_view{"Ann, B"}, canary::seed_of("checks"))));
  CHECK(place.ask("SELECT revision FROM interactions GROUP BY 1") == "2");
  CHECK(place.ask("SELECT hex(request) || '/' || hex(response) FROM payloads ORDER BY id") ==
        "74776F0A6C696E6573/\n48656C6C6F3F/4869");
  CHECK(place.ask("SELECT count(*) FROM spools") == "0");
  const Answer text = place.run({"interactions", "list"});
  CHECK(lines_of(text.out).size() == 3);
  CHECK(has(text.out, "812 ms"));
}

TEST_CASE("interactions import: the salt of the task makes the point", "[cli][interactions]") {
  const RecordedPlace place;
  place.write("canary.toml", "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\nsalt = 'pepper'\n");
  (void)place.import("k\nu1\n", {"--key", "k"});
  CHECK(place.ask("SELECT point FROM interactions") ==
        std::to_string(canary::point_of(std::string_view{"u1"}, canary::seed_of("pepper"))));
}

TEST_CASE("interactions import: rows without any outcome are skipped, and only those", "[cli][interactions]") {
  const RecordedPlace place;
  const std::string csv = "k,ok,score\na,1,\nb,,\nc,0,0.5\nd,,\n";
  CHECK(boost::json::serialize(place.import(csv, {"--key", "k", "--ok", "ok", "--score", "score"})) ==
        R"({"imported":2,"skipped":2})");
  CHECK(number_of(place.import(csv, {"--key", "k"}).at("imported")) == 4);  // no outcome is asked for: all succeeded
  CHECK(number_of(place.stats().at("checks@1").at("errors")) == 1);
}

TEST_CASE("interactions import: all of a real file, with the very rates that the file has",
          "[cli][interactions][trace]") {
  if (!std::filesystem::exists(outcomes)) SKIP("no outcomes at " << outcomes);
  const RecordedPlace place;
  const auto import = [&](const std::string& id, const std::string& column) {
    return place.json(
        {"interactions", "import", "checks", outcomes, "--version", id, "--ok", column, "--key", "prompt_sha1_16"});
  };
  CHECK(number_of(import("checks@1", "gpt4_1106_ok").at("imported")) == 14'042);
  CHECK(number_of(import("checks@2", "mixtral_8x7b_ok").at("imported")) == 14'042);
  const auto stats = place.stats({"checks"});
  REQUIRE(stats.size() == 2);
  CHECK(number_of(stats.at("checks@1").at("count")) == 14'042);
  CHECK(number_of(stats.at("checks@1").at("errors")) == 2'727);
  CHECK(number_of(stats.at("checks@2").at("errors")) == 4'482);
  CHECK(stats.at("checks@1").at("error_rate").to_number<double>() == 2'727 / 14'042.0);
  CHECK(stats.at("checks@1").at("score_mean").is_null());
  CHECK(place.ask("SELECT count(DISTINCT point) FROM interactions WHERE number = 1") ==
        place.ask("SELECT count(DISTINCT point) FROM interactions WHERE number = 2"));
}

TEST_CASE("interactions import: times in any order, twice the same file: every row has an id of its own and its time",
          "[cli][interactions]") {
  const RecordedPlace place;
  std::string csv = "at\n";  // more than a batch; many of one moment, some before ids begin
  for (int i = 0; i != 20'000; ++i) csv += std::to_string(1'763'800'000 - i % 7 * 1'000) + '\n';
  for (int i = 0; i != 100; ++i) csv += std::to_string(1'500'000'000 + i) + '\n';
  for (int i = 0; i != 3; ++i) CHECK(number_of(place.import(csv, {"--at", "at"}).at("imported")) == 20'100);
  CHECK(place.ask("SELECT count(*) FROM interactions") == "60300");
  CHECK(place.ask("SELECT count(DISTINCT id) FROM interactions") == "60300");
  // An id has its row's time, but for what a millisecond has no room for.
  CHECK(place.ask("SELECT count(*) FROM interactions WHERE at_us >= 1704067200000000 AND "
                  "abs((id >> 22) * 1000 + 1704067200000000 - at_us) > 60000000") == "0");
  CHECK(number_of(place.stats().at("checks@1").at("count")) == 60'300);
  CHECK(place.list({"--until", "2018-01-01", "--limit", "1000"}).size() == 300);
}

TEST_CASE("interactions import: stdin, a byte order mark, and the versions that can be named", "[cli][interactions]") {
  const RecordedPlace place;
  const auto result = place.json({"interactions", "import", "checks", "-", "--version", "checks@default", "--ok", "ok"},
                                 "\xEF\xBB\xBFok\r\nTrue\r\n\r\nFALSE\r\n");
  CHECK(number_of(result.at("imported")) == 2);
  CHECK(number_of(place.stats().at("checks@default").at("errors")) == 1);
  CHECK(place.list({"--version", "checks@default"}).size() == 2);
  CHECK(place.list({"--version", "checks@1"}).empty());
}

TEST_CASE("interactions list: the newest first, by task, version, time, errors and number", "[cli][interactions]") {
  const RecordedPlace place;
  CHECK(place.run({"interactions", "list"}).out == "no interactions\n");
  std::string csv = "ok,at\n";
  for (int i = 0; i != 120; ++i) csv += std::to_string(i % 3 != 0) + ',' + std::to_string(1'763'800'000 + i) + '\n';
  (void)place.import(csv, {"--ok", "ok", "--at", "at"});
  (void)place.import("at\n1763800060\n", {"--at", "at"}, "risks@default");
  CHECK(place.list().size() == 50);
  CHECK(place.list({"checks", "--limit", "1000"}).size() == 120);
  CHECK(place.list({"--limit", "1000"}).size() == 121);
  CHECK(place.list({"--errors", "--limit", "1000"}).size() == 40);
  CHECK(place.list({"risks"}).size() == 1);
  const auto some = place.list({"checks", "--since", "1763800010", "--until", "2025-11-22T08:26:55Z"});
  REQUIRE(some.size() == 5);  // from second 10 on, before second 15
  CHECK(text_of(some.front().at("at")) == "2025-11-22T08:26:54Z");
  CHECK(text_of(some.back().at("at")) == "2025-11-22T08:26:50Z");
  CHECK(place.list({"--since", "1h"}).empty());
  CHECK(place.list({"--since", "36500d", "--limit", "1"}).size() == 1);
}

TEST_CASE("interactions list: an override's outcomes are of no version", "[cli][interactions]") {
  const RecordedPlace place;
  (void)place.import("at\n1763800000\n1763800001\n", {"--at", "at"}, "checks@default");
  place.sql("UPDATE interactions SET reason = 1 WHERE at_us = 1763800001000000");
  CHECK(text_of(place.list().at(0).at("version")) == "checks@forced");
  CHECK(place.list({"--version", "checks@default"}).size() == 1);
}

TEST_CASE("interactions stats: counts of all windows, percentiles within 1/64, and times by whole windows",
          "[cli][interactions]") {
  const RecordedPlace place;
  CHECK(place.run({"interactions", "stats"}).out == "no interactions\n");
  std::string csv = "us,score,in,out,cost,at\n";
  for (int i = 1; i <= 1'000; ++i)
    csv += std::to_string(i * 1'000) + ",0." + std::to_string(i % 10) + ",3,2,7," +
           std::to_string(1'763'800'000 + i * 60) + '\n';
  (void)place.import(csv, {"--latency-us", "us", "--score", "score", "--tokens-in", "in", "--tokens-out", "out",
                           "--cost-microusd", "cost", "--at", "at"});
  const auto stats = place.stats().at("checks@1");
  CHECK(number_of(stats.at("count")) == 1'000);
  CHECK(number_of(stats.at("scored")) == 1'000);
  CHECK(std::abs(stats.at("score_mean").to_number<double>() - 0.45) < 1e-9);
  CHECK(number_of(stats.at("tokens_in")) == 3'000);
  CHECK(number_of(stats.at("tokens_out")) == 2'000);
  CHECK(number_of(stats.at("cost_microusd")) == 7'000);
  CHECK(number_of(stats.at("dropped")) == 0);
  for (const auto& [name, value] : {std::pair{"p50", 500'000.0}, {"p95", 950'000.0}, {"p99", 990'000.0}})
    CHECK(std::abs(stats.at("latency_us").at(name).to_number<double>() - value) <= value / 64);
  CHECK(number_of(place.stats({"--since", "1763801400", "--until", "1763801401"}).at("checks@1").at("count")) == 10);
  CHECK(place.stats({"--until", "2025-01-01"}).empty());
  const Answer text = place.run({"interactions", "stats", "checks"});
  CHECK(has(text.out, "checks@1  1,000"));
}

TEST_CASE("interactions stats: what was dropped is told, here and by the doctor", "[cli][interactions][doctor]") {
  const RecordedPlace place;
  (void)place.import("ok\n1\n", {"--ok", "ok"});
  place.sql(
      "INSERT INTO counts (kind, task, of, at, serial, bytes) "
      "SELECT 3, number, 0, unixepoch() / 600, 0, x'AC02' FROM recorded_tasks");
  CHECK(number_of(place.stats().at("checks@1").at("dropped")) == 300);
  const Answer doctor = place.run({"doctor"});
  CHECK(doctor.exit == 1);
  CHECK(has(doctor.out, "in the last day entries were dropped: checks 300; raise recorder.spool_mb"));
}

TEST_CASE("doctor: the recorder's directory, and spools that ended processes left in it", "[cli][doctor]") {
  const RecordedPlace place;
  CHECK(has(place.run({"doctor"}).out, "canary.spool is not there yet"));
  CHECK_FALSE(std::filesystem::exists(place.path() / "canary.spool"));
  std::filesystem::create_directories(place.path() / "canary.spool" / std::string(32, 'a'));
  place.write("canary.spool/" + std::string(32, 'a') + "/spool", "");
  const Answer left = place.run({"doctor"});
  CHECK(left.exit == 0);
  CHECK(has(left.out, "1 spool, 1 of ended processes: the next server here delivers what waits in them"));
  std::filesystem::remove_all(place.path() / "canary.spool");
  place.write("canary.spool", "");
  const Answer file = place.run({"doctor"});
  CHECK(file.exit == 1);
  CHECK(has(file.out, "canary.spool is no folder"));
}

TEST_CASE("interactions feedback: a score once, counted in its window", "[cli][interactions]") {
  const RecordedPlace place;
  (void)place.import("at\n1763800000\n1763800000\n", {"--at", "at"});
  const std::string id = text_of(place.list().at(0).at("id"));
  CHECK(boost::json::serialize(place.json({"interactions", "feedback", id, "0.25"})) ==
        R"({"interaction":")" + id + R"(","score":2.5E-1})");
  const auto stats = place.stats({"--since", "1763799600", "--until", "1763800200"}).at("checks@1");
  CHECK(number_of(stats.at("count")) == 2);
  CHECK(number_of(stats.at("scored")) == 1);
  CHECK(stats.at("score_mean").to_number<double>() == 0.25);
  CHECK(place.list().at(0).at("score").to_number<double>() == 0.25);
  CHECK(has(place.refused(4, {"interactions", "feedback", id, "0.5"}), "had feedback before: its score is 0.25"));
  CHECK(has(place.refused(4, {"interactions", "feedback", id, "0.25"}), "had feedback before: its score is 0.25"));
  CHECK(number_of(place.stats().at("checks@1").at("scored")) == 1);
  CHECK(place.ask("SELECT count(*) FROM spools") == "0");
  CHECK(place.ask("SELECT count(*) FROM waiting_feedback") == "0");
}

TEST_CASE("interactions feedback: what makes no sense, and what is not there", "[cli][interactions]") {
  const RecordedPlace place;
  (void)place.import("at\n1763800000\n", {"--at", "at"});
  const std::string id = text_of(place.list().at(0).at("id"));
  for (const char* unknown : {"1", "0", "9223372036854775807", "9223372036854775808", "99999999999999999999999"})
    CHECK(has(place.refused(3, {"interactions", "feedback", unknown, "0.5"}), "sample_percent, keep_days"));
  for (const char* score : {"1.01", "nan", "inf", "", "half", "0.5x", "1e999"})
    CHECK(has(place.refused(5, {"interactions", "feedback", id, score}), "expected a number from 0 to 1"));
  CHECK(has(place.refused(2, {"interactions", "feedback", "checks@1", "0.5"}), "id is a number"));
  CHECK(place.ask("SELECT count(*) FROM spools") == "0");
}

TEST_CASE("interactions feedback: the evidence of a comparison gets the score, by request and by unit",
          "[cli][interactions]") {
  const RecordedPlace place;
  place.done({"model", "canary", "checks@1", "50"});  // revision 3 opens an epoch, and the life of checks@1
  (void)place.import("k\nu1\nu2\n", {"--key", "k"});
  place.sql(
      "INSERT INTO units (task, life, point, id, settled) "
      "SELECT task, 3, point, id, 1 FROM interactions ORDER BY id LIMIT 1");
  const auto evidence = [&place] {
    return place.ask("SELECT hex(bytes) FROM counts WHERE kind = 2 AND of = 3 AND at = 3");
  };
  CHECK(evidence().empty());
  const auto rows = place.list();
  REQUIRE(rows.size() == 2);
  place.done({"interactions", "feedback", text_of(rows[0].at("id")), "1"});  // counts by request alone
  const std::string by_request = evidence();
  CHECK(std::count(by_request.begin(), by_request.end(), '1') == 2);  // the format, and one score
  place.done({"interactions", "feedback", text_of(rows[1].at("id")), "1"});
  const std::string both = evidence();
  CHECK(std::count(both.begin(), both.end(), '1') == 2);  // the format, and the unit's score
  CHECK(std::count(both.begin(), both.end(), '2') == 1);  // two by request
}

}  // namespace interactions_test
