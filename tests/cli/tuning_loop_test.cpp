// From recorded interactions to routed traffic, with the program as a user runs it, a real database, and a provider that
// breaks. With CANARY_TEST_AIMOCK, the URL of a server of somebody else's, the loop runs and is killed against that too.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../adapters/tuning_server.hpp"
#include "canary/adapters/http.hpp"
#include "program.hpp"

namespace tuning_loop_test {

namespace {

namespace json = boost::json;
using canary::HttpClient;
using canary::HttpResponse;
using canary::test::Answer;
using canary::test::Place;

constexpr const char* marked_key = "sk-marked-0123456789abcdef-key";

/// A place whose provider is at `url`.
class LoopPlace : public Place {
 public:
  explicit LoopPlace(const std::string& url, int settle_ms = 400, const std::string& kind = "openai") {
    write("canary.toml",
          "[store]\nurl = 'sqlite:canary.db'\n[recorder]\npayloads = true\n[fine_tune]\nprovider = 'there'\n"
          "base_model = 'base-model'\nprompt_version = 'v1'\nprice_per_million_usd = { \"base-model\" = 3.0 }\n"
          "[provider.there]\nkind = '" +
              kind + "'\nbase_url = '" + url + "'\napi_key_env = 'LOOP_KEY'\nsettle_ms = " + std::to_string(settle_ms) +
              "\n[task.checks]\ndefault_model = 'base'\n");
    std::string text;
    for (int i = 0; i != 12; ++i) {
      const std::string n = std::to_string(i);
      text += R"({"messages":[{"role":"user","content":"question )" + n +
              R"("},{"role":"assistant","content":"answer )" + n + "\"}]}\n";
    }
    write("train.jsonl", text);
  }

  [[nodiscard]] Answer canary(const std::vector<std::string>& arguments) const {
    return run(arguments, {}, {{"LOOP_KEY", marked_key}});
  }
  /// Killed after so long, if it has not ended by then.
  [[nodiscard]] Answer canary_killed(const std::string& arguments, unsigned after_ms) const {
    const std::string digits = std::to_string(1'000 + after_ms % 1'000).substr(1);
    return shell("export LOOP_KEY=" + std::string{marked_key} + "; timeout -s KILL " +
                 std::to_string(after_ms / 1'000) + "." + digits + " \"$CANARY\" " + arguments);
  }
  [[nodiscard]] json::object document(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "--json");
    const Answer answer = canary(arguments);
    json::error_code error;
    const json::value value = json::parse(answer.out, error);
    if (error || !value.is_object()) throw std::runtime_error{"no document: " + answer.out + answer.err};
    return value.as_object();
  }
  [[nodiscard]] json::array stored_jobs() const {
    return document({"train", "status", "--offline"}).at("jobs").as_array();
  }
  [[nodiscard]] std::size_t versions() const {
    return document({"model", "list", "checks"})
        .at("tasks")
        .as_array()
        .at(0)
        .as_object()
        .at("versions")
        .as_array()
        .size();
  }
};

std::string text_of(const json::object& object, std::string_view key) {
  const json::value& value = object.at(json::string_view{key.data(), key.size()});
  return value.is_null() ? "" : std::string{value.as_string()};
}

/// What the provider makes of the job in a run.
enum class Fate : std::uint8_t { well, held, closed, failed, cancelled };

void plan_fate(test::TuningServer& server, Fate fate, bool together) {
  if (fate == Fate::held)  // it is made, and nobody is told
    server.fault({.what = test::Trouble::hold_after, .on = together ? "POST /fine-tunes" : "POST /fine_tuning/jobs"});
  if (fate == Fate::closed) server.rules([](test::TuningRules& rules) { rules.closed = true; });
  const std::string first = together ? "pending" : "validating_files";
  if (fate == Fate::failed) server.plan({.statuses = {first, "running", together ? "error" : "failed"}});
  if (fate == Fate::cancelled) server.plan({.statuses = {first, "running", "cancelled"}});
}

/// What is wrong with one run of crashes and faults; empty if nothing is.
std::string crash_run(std::uint32_t seed, unsigned kills, std::uint32_t faults_percent, Fate fate, bool together) {
  std::mt19937 random{seed};
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.key = marked_key; });
  if (faults_percent != 0) server.chaos({.seed = seed, .percent = faults_percent});
  plan_fate(server, fate, together);
  const LoopPlace place{server.url() + "/v1", 400, together ? "together" : "openai"};
  for (int round = 0; round != 200; ++round) {
    const bool killed = kills != 0;
    if (killed) --kills;
    if (!killed && round > 20) server.chaos({.seed = seed, .percent = 0});
    json::array jobs;
    if (std::filesystem::exists(place.path() / "canary.db")) jobs = place.stored_jobs();
    std::string command = "train start checks train.jsonl";
    if (!jobs.empty()) {
      const json::object& job = jobs.front().as_object();
      if (text_of(job, "phase") == "closed") break;
      command = random() % 3 == 0 ? "train status" : "train watch " + text_of(job, "id");
    }
    (void)place.canary_killed(command, killed ? static_cast<unsigned>(random() % 350) : 60'000);
  }
  const json::array jobs = place.stored_jobs();
  if (jobs.size() != 1) return std::to_string(jobs.size()) + " jobs are stored";
  const json::object& job = jobs.front().as_object();
  const std::string id = text_of(job, "id");
  const bool well = fate == Fate::well || fate == Fate::held;
  const std::string status = well ? "SUCCEEDED" : fate == Fate::cancelled ? "CANCELLED" : "FAILED";
  if (text_of(job, "status") != status) return "the job is " + json::serialize(job);
  const std::size_t made = server.jobs().size();
  if (made != (fate == Fate::closed ? 0U : 1U)) return std::to_string(made) + " jobs are at the provider";
  if (place.versions() != (well ? 1U : 0U)) return std::to_string(place.versions()) + " versions";
  if (text_of(job, "version") != (well ? "checks@1" : "")) return "the job's version is " + text_of(job, "version");
  return {};
}

/// Runs are mostly waits, so several go side by side.
void check_runs(std::uint32_t first, std::uint32_t count, const std::function<std::string(std::uint32_t seed)>& run) {
  std::atomic<std::uint32_t> next{0};
  std::mutex mutex;
  std::vector<std::string> faults;
  std::vector<std::thread> threads;
  for (int i = 0; i != 8; ++i)
    threads.emplace_back([&] {
      for (std::uint32_t at; (at = next++) < count;) {
        std::string fault;
        try {
          fault = run(first + at);
        } catch (const std::exception& error) {
          fault = error.what();
        }
        if (fault.empty()) continue;
        const std::lock_guard lock{mutex};
        faults.push_back("seed " + std::to_string(first + at) + ": " + fault);
      }
    });
  for (std::thread& each : threads) each.join();
  for (const std::string& each : faults) {
    INFO(each);
    CHECK(false);
  }
  CHECK(next >= count);
}

/// A version, and what was recorded of it.
void record(const LoopPlace& place) {
  std::string csv = "k,ok,score,q,a\n";
  for (int i = 0; i != 200; ++i) {
    const std::string n = std::to_string(i);
    csv += "user-" + std::to_string(i % 50) + ",1,0.9,question " + n + ",answer " + n + "\n";
  }
  place.write("rows.csv", csv);
  REQUIRE(place.canary({"model", "register", "checks", "v1"}).exit == 0);
  REQUIRE(place
              .canary({"interactions", "import", "checks", "rows.csv", "--version", "checks@1", "--key", "k", "--ok",
                       "ok", "--score", "score", "--request", "q", "--response", "a"})
              .exit == 0);
  std::string keys;
  for (int i = 0; i != 100; ++i) keys += "user-" + std::to_string(i) + "\n";
  place.write("keys.txt", keys);
}

/// With interactions that were recorded and exported, until requests reach the new version.
void whole_loop(const LoopPlace& place) {
  record(place);
  REQUIRE(place.canary({"export", "checks", "--out", "data", "--val", "25"}).exit == 0);
  REQUIRE(place.document({"train", "check", "data/train.jsonl", "data/val.jsonl"}).at("ok") == true);
  const json::object started = place.document({"train", "start", "checks", "data/train.jsonl", "data/val.jsonl"});
  const std::string id = text_of(started.at("job").as_object(), "id");
  const json::object done = place.document({"train", "watch", id}).at("job").as_object();
  CHECK(text_of(done, "status") == "SUCCEEDED");
  REQUIRE(text_of(done, "version") == "checks@2");
  const json::object version = place.document({"model", "show", "checks@2"}).at("version").as_object();
  CHECK(text_of(version, "status") == "CANDIDATE");
  CHECK(version.at("weight_ppm") == 0);
  REQUIRE(place.canary({"rollout", "start", "checks@2", "--steps", "50,100"}).exit == 0);
  const Answer routed = place.canary({"--json", "route", "checks", "--keys", "keys.txt"});
  CHECK(routed.out.find("\"version\":\"checks@2\",\"model\":\"" + text_of(version, "model") + "\"") !=
        std::string::npos);
}

/// The whole loop, each of whose commands is killed once after so long, and then said again.
/// Input   made: how many jobs the provider has for one of ours.
/// Output  what is wrong; empty if nothing is.
std::string killed_loop(const LoopPlace& place, unsigned after_ms,
                        const std::function<std::size_t(const std::string& id)>& made) {
  record(place);
  const auto killed_then = [&](const std::string& line, const std::vector<std::string>& again) -> std::string {
    (void)place.canary_killed(line, after_ms);
    const Answer answer = place.canary(again);
    return answer.exit == 0 ? "" : line + ": " + answer.out + answer.err;
  };
  const std::string fault =
      killed_then("export checks --out data --val 25", {"export", "checks", "--out", "data", "--val", "25", "--force"});
  if (!fault.empty()) return fault;
  const std::vector<std::string> train{"train", "start", "checks", "data/train.jsonl", "data/val.jsonl", "--watch"};
  (void)place.canary_killed("train start checks data/train.jsonl data/val.jsonl --watch", after_ms);
  const Answer trained = place.canary(place.stored_jobs().empty() ? train : std::vector<std::string>{"train", "watch"});
  if (trained.exit != 0) return "train: " + trained.out + trained.err;
  const json::array jobs = place.stored_jobs();
  if (jobs.size() != 1) return std::to_string(jobs.size()) + " jobs";
  const std::size_t there = made(text_of(jobs[0].as_object(), "id"));
  if (there != 1) return std::to_string(there) + " jobs at the provider";
  if (place.versions() != 2) return std::to_string(place.versions()) + " versions";
  (void)place.canary_killed("rollout start checks@2 --steps 50,100", after_ms);
  const json::value seen = place.document({"rollout", "status", "checks"});
  if (json::serialize(seen).find("running") == std::string::npos) {
    const Answer answer = place.canary({"rollout", "start", "checks@2", "--steps", "50,100"});
    if (answer.exit != 0) return "rollout: " + answer.out + answer.err;
  }
  const Answer routed = place.canary({"--json", "route", "checks", "--keys", "keys.txt"});
  return routed.out.find("\"version\":\"checks@2\"") == std::string::npos ? "nobody is routed there: " + routed.out
                                                                          : "";
}

/// A start that gives up: the job stays open, in this phase.
void check_left_open(const LoopPlace& place, const std::string& phase) {
  const Answer answer = place.canary({"--json", "train", "start", "checks", "train.jsonl"});
  INFO(answer.out << answer.err);
  CHECK(answer.exit == 6);
  CHECK(answer.out.find("stays open") != std::string::npos);
  const json::array jobs = place.stored_jobs();
  REQUIRE(jobs.size() == 1);
  CHECK(text_of(jobs[0].as_object(), "phase") == phase);
}

}  // namespace

TEST_CASE("tuning loop: from recorded interactions to requests that reach the new version", "[cli][train]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.key = marked_key; });
  whole_loop(LoopPlace{server.url() + "/v1"});
  CHECK(server.jobs().size() == 1);
  CHECK(server.files().size() == 2);
}

TEST_CASE("tuning loop: the same against a server of somebody else's", "[cli][train]") {
  const char* url = std::getenv("CANARY_TEST_AIMOCK");
  if (url == nullptr || *url == '\0') SKIP("no CANARY_TEST_AIMOCK: scripts/tuning_loop.sh starts one");
  const std::string base = std::string{url} + "/v1";
  whole_loop(LoopPlace{base});
  const auto made = [&](const std::string& id) {
    HttpClient client;
    const HttpResponse all = client.send({.url = base + "/fine_tuning/jobs?limit=100"});
    const json::value document = json::parse(all.body);
    std::size_t count = 0;
    for (const json::value& each : document.as_object().at("data").as_array())
      count += text_of(each.as_object().at("metadata").as_object(), "canary_job") == id ? 1 : 0;
    return count;
  };
  check_runs(0, 24, [&](std::uint32_t step) { return killed_loop(LoopPlace{base}, 5 * step, made); });
}

TEST_CASE("tuning loop: killed at every moment, there is one job and one version in the end", "[cli][train]") {
  // The first command is killed ever later, until it is not killed any more.
  check_runs(0, 80, [](std::uint32_t step) -> std::string {
    test::TuningServer server;
    const LoopPlace place{server.url() + "/v1"};
    (void)place.canary_killed("train start checks train.jsonl --watch", 5 * step);
    const bool stored = std::filesystem::exists(place.path() / "canary.db") && !place.stored_jobs().empty();
    const Answer second =
        place.canary(stored ? std::vector<std::string>{"train", "watch"}
                            : std::vector<std::string>{"train", "start", "checks", "train.jsonl", "--watch"});
    if (second.exit != 0) return "exit " + std::to_string(second.exit) + ": " + second.out + second.err;
    if (server.jobs().size() != 1) return std::to_string(server.jobs().size()) + " jobs at the provider";
    if (place.versions() != 1) return std::to_string(place.versions()) + " versions";
    return {};
  });
  // And so is each command of the whole loop.
  check_runs(0, 30, [](std::uint32_t step) {
    test::TuningServer server;
    return killed_loop(LoopPlace{server.url() + "/v1"}, 2 * step,
                       [&](const std::string& /*id*/) { return server.jobs().size(); });
  });
}

TEST_CASE("tuning loop: crashes and faults at random, one job and one version in every run, or as it fares there",
          "[cli][train]") {
  check_runs(1, 300, [](std::uint32_t seed) {
    constexpr Fate fates[] = {Fate::well, Fate::held,   Fate::well,     Fate::closed,
                              Fate::well, Fate::failed, Fate::cancelled};
    const Fate fate = fates[seed % std::size(fates)];
    // Held until its time-out, which takes half a minute, in few runs; in the others somebody has no patience.
    const unsigned kills = fate != Fate::held ? seed % 8 : seed > 16 ? 1 + seed % 8 : 0;
    return crash_run(seed, kills, 5 * (seed % 5), fate, seed % 2 == 0);
  });
}

TEST_CASE("tuning loop: a creation that is never answered ends the start, and the job stays open", "[cli][train]") {
  test::TuningServer server;
  server.fault({.what = test::Trouble::broken, .on = "POST /fine_tuning/jobs", .times = 1'000});
  const LoopPlace place{server.url() + "/v1"};
  check_left_open(place, "creating");
  CHECK(server.seen("POST /fine_tuning/jobs") == 2);
}

TEST_CASE("tuning loop: ranges that the provider does not take are refused before anything is sent", "[cli][train]") {
  test::TuningServer server;
  const LoopPlace place{server.url() + "/v1"};
  for (const std::vector<std::string>& each : std::vector<std::vector<std::string>>{
           {"--epochs", "51"}, {"--batch-size", "257"}, {"--format", "dpo", "--beta", "2.1"}}) {
    std::vector<std::string> arguments{"train", "start", "checks", "train.jsonl"};
    arguments.insert(arguments.end(), each.begin(), each.end());
    const Answer answer = place.canary(arguments);
    INFO(answer.err);
    CHECK(answer.exit == 2);
    CHECK(answer.err.find(each[each.size() - 2]) != std::string::npos);
  }
  CHECK(server.seen().empty());
}

TEST_CASE("tuning loop: the end of the new model is told with its success, and warned of when it is near",
          "[cli][train]") {
  for (const std::string date : {"2099-01-31", "2020-02-29"}) {
    test::TuningServer server;
    server.rules([&](test::TuningRules& rules) { rules.models["base-model"] = json::string{date}; });
    const LoopPlace place{server.url() + "/v1"};
    const Answer watched = place.canary({"--json", "train", "start", "checks", "train.jsonl"});
    REQUIRE(watched.exit == 0);
    const Answer done = place.canary({"--json", "train", "watch"});
    INFO(done.out << done.err);
    CHECK(done.out.find("\"shutdown_date\":\"" + date + '"') != std::string::npos);
    const Answer status = place.canary({"train", "status", text_of(place.stored_jobs().at(0).as_object(), "id")});
    CHECK(status.out.find(date) != std::string::npos);
    const bool near = date.starts_with("2020");
    for (const Answer* each : {&done, &status})
      CHECK((each->err.find("shut down on " + date) != std::string::npos) == near);
  }
}

TEST_CASE("tuning loop: a signal ends a cancelling that waits for the provider", "[cli][train]") {
  test::TuningServer server;
  server.plan({.statuses = {"running", "running", "running", "running", "running", "running", "running"}});
  const LoopPlace place{server.url() + "/v1"};
  const std::string id =
      text_of(place.document({"train", "start", "checks", "train.jsonl"}).at("job").as_object(), "id");
  server.fault({.what = test::Trouble::hold_after, .on = "POST /fine_tuning/jobs/*/cancel", .times = 100});
  std::thread signal{[&] {
    while (server.seen("POST /fine_tuning/jobs/*/cancel") == 0) std::this_thread::yield();
    (void)place.shell(": > asked");
  }};
  const Answer answer =
      place.shell("mkfifo asked; export LOOP_KEY=" + std::string{marked_key} + "; \"$CANARY\" train cancel " + id +
                  " & pid=$!; read line < asked; kill -TERM $pid; wait $pid; exit $?");
  signal.join();
  INFO(answer.err);
  CHECK(answer.exit == 128 + 15);
  CHECK(answer.err.find("the wish is stored") != std::string::npos);
  CHECK(place.stored_jobs().at(0).as_object().at("cancel_asked") == true);
}

TEST_CASE("tuning loop: an answer that never comes is looked for, and not asked for again", "[cli][train]") {
  test::TuningServer server;
  server.fault({.what = test::Trouble::hold_after, .on = "POST /fine_tuning/jobs"});
  const LoopPlace place{server.url() + "/v1"};
  // The tool waits for the answer; it is killed, and another looks.
  (void)place.canary_killed("train start checks train.jsonl", 1'500);
  const Answer answer = place.canary({"train", "watch"});
  INFO(answer.err);
  CHECK(answer.exit == 0);
  CHECK(server.jobs().size() == 1);
  CHECK(server.seen("POST /fine_tuning/jobs") == 1);
  CHECK(place.versions() == 1);
}

TEST_CASE("tuning loop: a job that fails, and one that is cancelled there, leave no version", "[cli][train]") {
  for (const std::string status : {"failed", "cancelled"}) {
    test::TuningServer server;
    server.plan({.statuses = {"validating_files", "running", status}, .error = "line 7 is no good"});
    const LoopPlace place{server.url() + "/v1"};
    const Answer answer = place.canary({"train", "start", "checks", "train.jsonl", "--watch"});
    CHECK(answer.exit == (status == "failed" ? 6 : 1));
    if (status == "failed") CHECK(answer.err.find("line 7 is no good") != std::string::npos);
    CHECK(place.versions() == 0);
  }
}

TEST_CASE("tuning loop: an unknown status is shown as it is, and followed", "[cli][train]") {
  test::TuningServer server;
  server.plan({.statuses = {"pausing", "paused", "resuming", "quantum_annealing", "succeeded"}});
  const LoopPlace place{server.url() + "/v1"};
  const Answer answer = place.canary({"train", "start", "checks", "train.jsonl", "--watch"});
  INFO(answer.err);
  CHECK(answer.exit == 0);
  CHECK(answer.err.find("quantum_annealing") != std::string::npos);
}

TEST_CASE("tuning loop: a platform that is closed to new users is explained", "[cli][train]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.closed = true; });
  const LoopPlace place{server.url() + "/v1"};
  const Answer answer = place.canary({"--json", "train", "start", "checks", "train.jsonl"});
  INFO(answer.out);
  CHECK(answer.exit == 6);
  CHECK(answer.out.find("new users") != std::string::npos);
  CHECK(server.jobs().empty());
}

TEST_CASE("tuning loop: a wrong key is told by the name of its variable", "[cli][train]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.key = "another"; });
  const LoopPlace place{server.url() + "/v1"};
  const Answer answer = place.canary({"--json", "train", "start", "checks", "train.jsonl"});
  INFO(answer.out);
  CHECK(answer.exit == 6);
  CHECK(answer.out.find("LOOP_KEY") != std::string::npos);
}

TEST_CASE("tuning loop: the key is in no file, no output and no argument", "[cli][train]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.key = marked_key; });
  server.chaos({.seed = 3, .percent = 30});
  const LoopPlace place{server.url() + "/v1"};
  std::string said;
  for (const std::vector<std::string>& each :
       std::vector<std::vector<std::string>>{{"train", "start", "checks", "train.jsonl", "--watch"},
                                             {"train", "watch"},
                                             {"train", "status"},
                                             {"--json", "train", "status"},
                                             {"history", "checks"},
                                             {"--json", "history", "checks"},
                                             {"doctor"},
                                             {"store", "backup", "backup.db"}}) {
    const Answer answer = place.canary(each);
    said += answer.out + answer.err;
  }
  CHECK(said.find("marked") == std::string::npos);
  CHECK(server.seen().size() > 3);
  // What stands anywhere below the place: databases, journals, spools.
  CHECK(place.shell("grep -r -a -l " + std::string{marked_key} + " . ; true").out.empty());
  // While it runs: its arguments, as everybody on the machine can read them.
  server.chaos({.seed = 1, .percent = 0});
  server.fault({.what = test::Trouble::hold_after, .on = "GET *", .times = 100});
  const Answer seen = place.shell(
      "export LOOP_KEY=" + std::string{marked_key} +
      "; \"$CANARY\" train start checks train.jsonl --again >/dev/null 2>&1 & pid=$!; "
      "while ! grep -q start /proc/$pid/cmdline; do :; done; tr '\\0' ' ' < /proc/$pid/cmdline; kill -9 $pid");
  CHECK(seen.out.find("train start") != std::string::npos);
  CHECK(seen.out.find("marked") == std::string::npos);
}

TEST_CASE("tuning loop: a provider that nobody can reach ends the start, and the job stays open", "[cli][train]") {
  const LoopPlace place{"http://127.0.0.1:1/v1"};
  check_left_open(place, "stored");
}

TEST_CASE("tuning loop: an upload that is never answered sensibly ends the start, and the job stays open",
          "[cli][train]") {
  test::TuningServer server;
  server.fault({.what = test::Trouble::malformed, .on = "POST /files", .times = 1'000});
  const LoopPlace place{server.url() + "/v1"};
  check_left_open(place, "stored");
  CHECK(server.seen("POST /files") == 3);  // no more than one call makes
}

TEST_CASE("tuning loop: a cancelling that comes through at its second try is done, and no illegal step",
          "[cli][train]") {
  test::TuningServer server;
  server.plan({.statuses = {"running", "running", "running", "running", "running", "running", "running", "running"}});
  const LoopPlace place{server.url() + "/v1"};
  const std::string id =
      text_of(place.document({"train", "start", "checks", "train.jsonl"}).at("job").as_object(), "id");
  server.fault({.what = test::Trouble::closed, .on = "POST /fine_tuning/jobs/*/cancel", .times = 1});
  CHECK(place.canary({"train", "cancel", id}).exit == 6);
  CHECK(place.stored_jobs().at(0).as_object().at("cancel_asked") == true);
  const Answer again = place.canary({"--json", "train", "cancel", id});
  INFO(again.out << again.err);
  CHECK(again.exit == 0);
  CHECK(again.out.find("CANCELLED") != std::string::npos);
  CHECK(place.canary({"train", "cancel", id}).exit == 4);  // it has ended
}

}  // namespace tuning_loop_test
