// canary train start|status|watch|cancel, with a program as the provider: what a shell script can show.
#include <catch2/catch_test_macros.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "program.hpp"

namespace train_jobs_test {

namespace {

namespace json = boost::json;
using canary::test::Answer;
using canary::test::Place;

/// Twelve good examples.
std::string examples() {
  std::string text;
  for (int i = 0; i != 12; ++i) {
    const std::string n = std::to_string(i);
    text += R"({"messages":[{"role":"user","content":"question )" + n + R"("},{"role":"assistant","content":"answer )" +
            n + "\"}]}\n";
  }
  return text;
}

/// A place with a trainer of two lines.
class TrainingPlace : public Place {
 public:
  explicit TrainingPlace(
      std::string_view trainer = R"(echo '{"event":"result","model":"local:'"$1"'","trained_tokens":42}')",
      std::string_view more = "price_per_million_usd = { \"small\" = 3.0 }\n") {
    write("canary.toml",
          "[store]\nurl = 'sqlite:canary.db'\n[fine_tune]\nprovider = 'local'\nbase_model = 'small'\n"
          "prompt_version = 'v2'\n" +
              std::string{more} +
              "[provider.local]\nkind = 'command'\ncommand = ['train.sh', '{job}', '{training_file}']\n"
              "[task.checks]\ndefault_model = 'base'\n");
    write("train.sh", "#!/bin/sh\n" + std::string{trainer} + "\n");
    std::filesystem::permissions(path() / "train.sh", std::filesystem::perms::owner_all);
    write("train.jsonl", examples());
  }

  /// The job of a command that prints one.
  [[nodiscard]] json::object job(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "--json");
    const Answer answer = run(arguments);
    INFO(answer.out << answer.err);
    return json::parse(answer.out).as_object().at("job").as_object();
  }
};

/// From now on nobody can change this job's row.
void lock_row(const Place& place, const std::string& id) {
  sqlite3* opened = nullptr;
  const int failed = sqlite3_open((place.path() / "canary.db").c_str(), &opened);
  const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database{opened, &sqlite3_close};
  const std::string trigger = "CREATE TRIGGER locked BEFORE UPDATE ON jobs WHEN old.id = '" + id +
                              "' BEGIN SELECT RAISE(ABORT, 'the row is locked'); END";
  if (failed != SQLITE_OK || sqlite3_exec(opened, trigger.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    throw std::runtime_error{sqlite3_errmsg(opened)};
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value& value = object.at(json::string_view{key.data(), key.size()});
  return value.is_null() ? "null" : std::string{value.as_string()};
}

}  // namespace

TEST_CASE("train: a local program makes a candidate at 0 %, with its lineage", "[cli][train]") {
  const TrainingPlace place;
  const json::object started = place.job({"train", "start", "checks", "train.jsonl", "--note", "first", "--seed", "7"});
  const std::string id = text_of(started, "id");
  CHECK(text_of(started, "task") == "checks");
  CHECK(text_of(started, "provider") == "local");
  CHECK(text_of(started, "prompt_version") == "v2");
  const json::object done = place.job({"train", "watch", id});
  CHECK(text_of(done, "status") == "SUCCEEDED");
  CHECK(text_of(done, "version") == "checks@1");
  CHECK(done.at("trained_tokens") == 42);
  const json::object shown = place.json({"model", "show", "checks@1"});
  const json::object& version = shown.at("version").as_object();
  CHECK(text_of(version, "status") == "CANDIDATE");
  CHECK(version.at("weight_ppm") == 0);
  CHECK(text_of(version, "model") == "local:" + id);
  const json::object& lineage = version.at("lineage").as_object();
  CHECK(text_of(lineage, "job") == id);
  CHECK(text_of(lineage, "base_model") == "small");
  CHECK(text_of(lineage, "training_file_hash").size() == 64);
  CHECK(lineage.at("seed") == 7);
  CHECK(place.run({"rollout", "start", "checks@1"}).exit == 0);
  // Every field that scripts rely on.
  for (const char* key :
       {"id", "task", "provider", "provider_job_id", "status", "provider_status", "base_model", "prompt_version",
        "training_file", "validation_file", "created_at", "finished_at", "trained_tokens", "error", "version"})
    CHECK(done.contains(key));
  CHECK(place.json({"train", "status"}).at("jobs").as_array().size() == 1);
}

TEST_CASE("train: --watch follows to the end, and a failure is exit 6 with the trainer's words", "[cli][train]") {
  const TrainingPlace place{"echo 'out of memory on gpu 0' >&2; exit 3"};
  const Answer answer = place.run({"train", "start", "checks", "train.jsonl", "--watch"});
  CHECK(answer.exit == 6);
  CHECK(answer.err.find("out of memory on gpu 0") != std::string::npos);
  CHECK(place.json({"model", "list", "checks"})
            .at("tasks")
            .as_array()
            .at(0)
            .as_object()
            .at("versions")
            .as_array()
            .empty());
}

TEST_CASE("train: a job is cancelled, once", "[cli][train]") {
  const TrainingPlace place{"exec sleep 600"};
  const std::string id = text_of(place.job({"train", "start", "checks", "train.jsonl"}), "id");
  const json::object cancelled = place.job({"train", "cancel", id});
  if (text_of(cancelled, "status") != "CANCELLED")
    CHECK(text_of(place.job({"train", "watch", id}), "status") == "CANCELLED");
  const auto [exit, error] = place.failure({"train", "cancel", id});
  CHECK(exit == 4);
  CHECK(text_of(error, "message").find("has ended") != std::string::npos);
  CHECK(place.run({"train", "watch", id}).exit == 1);
}

TEST_CASE("train: the same file again is a conflict while its job is open", "[cli][train]") {
  const TrainingPlace place{"exec sleep 600"};
  const std::string id = text_of(place.job({"train", "start", "checks", "train.jsonl"}), "id");
  const auto [exit, error] = place.failure({"train", "start", "checks", "train.jsonl"});
  CHECK(exit == 4);
  CHECK(text_of(error, "hint").find("canary train watch " + id) != std::string::npos);
  const std::string second = text_of(place.job({"train", "start", "checks", "train.jsonl", "--again"}), "id");
  CHECK(second != id);
  for (const std::string& each : {id, second}) (void)place.job({"train", "cancel", each});
}

TEST_CASE("train: of many starts at once one goes on, and one trainer runs", "[cli][train]") {
  const TrainingPlace place{"exec sleep 600"};
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::map<int, int> exits;
  for (int i = 0; i != 6; ++i)
    threads.emplace_back([&] {
      const Answer answer = place.run({"train", "start", "checks", "train.jsonl"});
      const std::lock_guard lock{mutex};
      ++exits[answer.exit];
    });
  for (std::thread& each : threads) each.join();
  CHECK((exits == std::map<int, int>{{0, 1}, {4, 5}}));
  std::vector<std::string> open;
  const json::object shown = place.json({"train", "status", "--offline"});
  for (const json::value& each : shown.at("jobs").as_array())
    if (text_of(each.as_object(), "phase") != "closed") open.push_back(text_of(each.as_object(), "id"));
  REQUIRE(open.size() == 1);
  CHECK(std::distance(std::filesystem::directory_iterator{place.path() / "canary.jobs"}, {}) == 1);
  (void)place.job({"train", "cancel", open.front()});
}

TEST_CASE("train: a second start is refused before the data is looked through", "[cli][train]") {
  const TrainingPlace place{"exec sleep 600"};
  place.write("train.jsonl", examples() + examples());  // which is warned of
  const std::string id = text_of(place.job({"train", "start", "checks", "train.jsonl"}), "id");
  const Answer second = place.run({"train", "start", "checks", "train.jsonl"});
  CHECK(second.exit == 4);
  CHECK(second.err.find("warning") == std::string::npos);
  (void)place.job({"train", "cancel", id});
}

TEST_CASE("train: a trainer gets none of the secrets that this program has", "[cli][train]") {
  const TrainingPlace place{
      R"(env > "$(dirname "$2")/environ"; echo '{"event":"result","model":"m"}')",
      "[provider.cloud]\nkind = 'openai'\napi_key_env = 'CLOUD_KEY'\n[provider.other]\nkind = 'together'\n"
      "[alerts]\nwebhook_secret_env = 'HOOK_SECRET'\n"};
  const std::vector<std::string> secrets{"OPENAI_API_KEY", "AZURE_OPENAI_API_KEY",  "TOGETHER_API_KEY", "CLOUD_KEY",
                                         "HOOK_SECRET",    "CANARY_WEBHOOK_SECRET", "PGPASSWORD"};
  std::vector<std::pair<std::string, std::string>> environment{{"PLAIN", "is passed on"}};
  for (const std::string& each : secrets) environment.emplace_back(each, "Zq7SECRETq7Z");
  const Answer answer = place.run({"train", "start", "checks", "train.jsonl", "--watch"}, {}, environment);
  INFO(answer.out << answer.err);
  REQUIRE(answer.exit == 0);
  const std::string environ_text = place.read("environ");
  CHECK(environ_text.find("PLAIN=is passed on") != std::string::npos);
  CHECK(environ_text.find("Zq7SECRETq7Z") == std::string::npos);
  for (const std::string& each : secrets) CHECK(environ_text.find(each + '=') == std::string::npos);
}

TEST_CASE("train: what no version can have is refused before anything is stored", "[cli][train]") {
  const TrainingPlace place;
  const std::string control = "bad\x01name";
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--note", control}, {"--actor", "two\nlines"}}) {
    std::vector<std::string> arguments{"train", "start", "checks", "train.jsonl"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto [exit, error] = place.failure(arguments);
    CHECK(exit == 5);
    CHECK(text_of(error, "message").find("control character") != std::string::npos);
  }
  const Answer version = place.run({"--json", "train", "start", "checks", "train.jsonl", "--dry-run"}, {},
                                   {{"AI_FT_PROMPT_VERSION", control}});
  CHECK(version.exit == 5);
  CHECK(version.out.find("prompt version") != std::string::npos);
  CHECK(place.json({"train", "status"}).at("jobs").as_array().empty());
}

TEST_CASE("train: a job that cannot be written does not hide the others, nor is it tried without end", "[cli][train]") {
  const TrainingPlace place;
  const std::string stuck = text_of(place.job({"train", "start", "checks", "train.jsonl"}), "id");
  const std::string well = text_of(place.job({"train", "start", "checks", "train.jsonl", "--again"}), "id");
  lock_row(place, stuck);
  // Both trainers end by themselves; each look may bring the good one to its end.
  std::string status;
  while (status != "SUCCEEDED") {
    const Answer answer = place.run({"--json", "train", "status"});
    REQUIRE(answer.exit == 0);
    const json::array jobs = json::parse(answer.out).as_object().at("jobs").as_array();
    REQUIRE(jobs.size() == 2);
    status = text_of(jobs.at(1).as_object(), "status");
    CHECK(text_of(jobs.at(0).as_object(), "phase") == "following");
  }
  CHECK(text_of(place.job({"train", "status", well}), "version") == "checks@1");
  CHECK(place.run({"train", "status"}).err.find("the row is locked") != std::string::npos);
  const Answer watched = place.run({"train", "watch", stuck});
  CHECK(watched.exit != 0);
  CHECK(watched.err.find("the row is locked") != std::string::npos);
  CHECK(watched.err.find("tried again") == std::string::npos);
}

TEST_CASE("train: a provider that is gone from the configuration ends its own job's watch alone", "[cli][train]") {
  const std::string other = "[provider.other]\nkind = 'command'\ncommand = ['train.sh', '{job}', '{training_file}']\n";
  const TrainingPlace place{"echo '{\"event\":\"result\",\"model\":\"m\"}'", other};
  const Answer first =
      place.run({"--json", "train", "start", "checks", "train.jsonl"}, {}, {{"AI_FT_PROVIDER", "other"}});
  INFO(first.out << first.err);
  REQUIRE(first.exit == 0);
  const std::string gone = text_of(json::parse(first.out).as_object().at("job").as_object(), "id");
  const std::string here = text_of(place.job({"train", "start", "checks", "train.jsonl"}), "id");
  std::string config = place.read("canary.toml");
  config.erase(config.find(other), other.size());
  place.write("canary.toml", config);
  const Answer watched = place.run({"train", "watch"});
  INFO(watched.err);
  CHECK(watched.exit == 6);
  CHECK(watched.err.find("no provider \"other\"") != std::string::npos);
  CHECK(text_of(place.job({"train", "status", here}), "status") == "SUCCEEDED");
  CHECK(text_of(place.job({"train", "status", gone, "--offline"}), "phase") == "following");
}

TEST_CASE("train: what a job will cost is told, and also that nobody knows it", "[cli][train]") {
  const TrainingPlace place;
  const Answer known = place.run({"train", "start", "checks", "train.jsonl", "--dry-run"});
  CHECK(known.out.find("estimate          about ") != std::string::npos);
  CHECK(known.out.find(": $0.0") != std::string::npos);
  CHECK(known.err.empty());
  const json::object document = place.json({"train", "start", "checks", "train.jsonl", "--dry-run"});
  CHECK(document.at("estimate").as_object().at("cost_usd").is_double());
  CHECK(document.at("estimate").as_object().at("epochs") == 8);

  const std::vector<std::pair<std::string, std::string>> without_price{{"AI_FT_BASE_MODEL", "large"}};
  const Answer unknown = place.run({"--json", "train", "start", "checks", "train.jsonl", "--watch"}, {}, without_price);
  INFO(unknown.out << unknown.err);
  CHECK(unknown.exit == 0);
  CHECK(unknown.err.find("cost_max_usd does not hold: no price of large") != std::string::npos);
  CHECK(json::parse(unknown.out).as_object().at("estimate").as_object().at("cost_usd").is_null());
}

TEST_CASE("train: a program of one's own is given data of its own shape", "[cli][train]") {
  const TrainingPlace place;
  std::string rows;
  for (int i = 0; i != 12; ++i) rows += "{\"x\":" + std::to_string(i) + ",\"y\":1}\n";
  place.write("rows.jsonl", rows);
  const Answer answer = place.run({"--json", "train", "start", "checks", "rows.jsonl", "--watch"});
  INFO(answer.out << answer.err);
  CHECK(answer.exit == 0);
  CHECK(answer.out.find("\"type\":\"supervised\"") != std::string::npos);
}

TEST_CASE("train: a pipe is refused, not waited for", "[cli][train]") {
  const TrainingPlace place;
  const Answer answer = place.shell("mkfifo pipe; timeout 60 \"$CANARY\" train start checks pipe");
  CHECK(answer.exit == 5);
  CHECK(answer.err.find("pipe is no regular file") != std::string::npos);
}

TEST_CASE("train: doctor looks for the key that a start would use", "[cli][train]") {
  const TrainingPlace place{"echo", "[provider.other]\nkind = 'together'\n"};
  const Answer without = place.run({"--json", "doctor"});
  CHECK(without.out.find("TOGETHER_API_KEY is not set") != std::string::npos);
  const Answer with = place.run({"--json", "doctor"}, {}, {{"TOGETHER_API_KEY", "k"}});
  CHECK(with.out.find("TOGETHER_API_KEY is set") != std::string::npos);
}

TEST_CASE("train: a dry run checks everything, and stores and sends nothing", "[cli][train]") {
  const TrainingPlace place;
  const json::object document = place.json({"train", "start", "checks", "train.jsonl", "--dry-run"});
  CHECK(document.at("dry_run") == true);
  CHECK(place.json({"train", "status"}).at("jobs").as_array().empty());
  CHECK_FALSE(std::filesystem::exists(place.path() / "canary.jobs"));
}

TEST_CASE("train: overrides from the environment choose provider, base model and prompt version", "[cli][train]") {
  const TrainingPlace place;
  const Answer answer = place.run({"--json", "train", "start", "checks", "train.jsonl", "--dry-run"}, {},
                                  {{"AI_FT_BASE_MODEL", "large"}, {"AI_FT_PROMPT_VERSION", "v9"}});
  REQUIRE(answer.exit == 0);
  const json::object job = json::parse(answer.out).as_object().at("job").as_object();
  CHECK(text_of(job, "base_model") == "large");
  CHECK(text_of(job, "prompt_version") == "v9");
  const Answer wrong =
      place.run({"--json", "train", "start", "checks", "train.jsonl"}, {}, {{"AI_FT_PROVIDER", "locla"}});
  CHECK(wrong.exit == 5);
  CHECK(wrong.out.find("did you mean") != std::string::npos);
}

TEST_CASE("train: what is wrong is told before anything is stored", "[cli][train]") {
  const TrainingPlace place{"echo", "cost_max_usd = 0.000001\nprice_per_million_usd = { \"dear\" = 1000.0 }\n"};
  place.write("empty.jsonl", "");
  place.write("grader.json", "{\"type\":\"string_check\"}");
  place.write("bad.jsonl", "{\"messages\":[]\n");
  struct Case {
    std::vector<std::string> arguments;
    int exit;
    std::string words;
  };
  for (const Case& each : std::vector<Case>{
           {{"train", "start", "checsk", "train.jsonl"}, 3, "checks"},
           {{"train", "start", "checks", "nowhere.jsonl"}, 5, "nowhere.jsonl"},
           {{"train", "start", "checks", "empty.jsonl"}, 5, "empty"},
           {{"train", "start", "checks", "bad.jsonl"}, 5, "bad.jsonl"},
           {{"train", "start", "checks", "."}, 5, "not_a_file"},
           {{"train", "start", "checks", "train.jsonl", "gone.jsonl"}, 5, "gone.jsonl"},
           {{"train", "start", "checks", "train.jsonl", "train.jsonl"}, 5, "overlap"},
           {{"train", "start", "checks", "train.jsonl", "--suffix", std::string(65, 's')}, 2, "64"},
           {{"train", "start", "checks", "train.jsonl", "--learning-rate", "nan"}, 2, "--learning-rate"},
           {{"train", "start", "checks", "train.jsonl", "--beta", "0.1"}, 2, "dpo"},
           {{"train", "start", "checks", "train.jsonl", "--grader", "grader.json"}, 2, "reinforcement"},
           {{"train", "start", "checks", "nowhere.jsonl", "--format", "reinforcement"}, 2, "grader"},
           {{"train", "start", "checks", "nowhere.jsonl", "--learning-rate", "-1"}, 2, "--learning-rate"},
           {{"train", "start", "checks", "nowhere.jsonl", "--beta", "much"}, 2, "--beta"},
           {{"train", "start", "checks", "train.jsonl", "--grader", "bad.jsonl2"}, 5, "bad.jsonl2"},
           {{"train", "start", "checks", "train.jsonl", "--seed", "4000000000"}, 2, "2147483647"},
           {{"train", "start", "checks", "train.jsonl", "--seed", "-1"}, 2, "--seed"},
           {{"train", "start", "checks", "train.jsonl", "--seed", "many"}, 2, "whole number"},
           {{"train", "start", "checks", "train.jsonl", "--ca-file", "nowhere.pem"}, 5, "nowhere.pem"},
           {{"train", "start", "checks", ""}, 2, "empty"},
           {{"train", "start", "checks", "train.jsonl", ""}, 2, "empty"},
           {{"train", "check", "train.jsonl", ""}, 2, "empty"},
           {{"train", "status", ""}, 2, "empty"},
           {{"train", "watch", ""}, 2, "empty"},
           {{"train", "cancel", ""}, 2, "empty"},
           {{"train", "status", "ft-nothing"}, 3, "no job"},
           {{"train", "watch", "ft-nothing"}, 3, "no job"},
           {{"train", "cancel", "ft-nothing"}, 3, "no job"},
           {{"train", "status", "--task", "nothing"}, 3, "nothing"},
       }) {
    std::vector<std::string> arguments = each.arguments;
    arguments.insert(arguments.begin(), "--json");
    const Answer answer = place.run(arguments);
    INFO(answer.out);
    CHECK(answer.exit == each.exit);
    CHECK(json::parse(answer.out).as_object().at("error").as_object().contains("hint"));
    CHECK(answer.out.find(each.words) != std::string::npos);
  }
  const Answer dear =
      place.run({"--json", "train", "start", "checks", "train.jsonl"}, {}, {{"AI_FT_BASE_MODEL", "dear"}});
  CHECK(dear.exit == 5);
  CHECK(dear.out.find("cost_max_usd") != std::string::npos);
  CHECK(place.json({"train", "status"}).at("jobs").as_array().empty());
}

TEST_CASE("train: configurations that cannot train are told with what to do", "[cli][train]") {
  struct Case {
    std::string config;
    std::string words;
  };
  const std::string task = "[task.checks]\ndefault_model = 'base'\n";
  const std::string store = "[store]\nurl = 'sqlite:canary.db'\n";
  for (const Case& each : std::vector<Case>{
           {store + task, "fine_tune.base_model"},
           {store + "[fine_tune]\nbase_model = 'm'\n" + task, "OPENAI_API_KEY"},
           {"[store]\nurl = 'memory:'\n[fine_tune]\nbase_model = 'm'\n" + task, "memory:"},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nkind = 'ouija'\n" + task, "openai"},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nbase_url = 'ftp://host/'\n" + task, "https://"},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nbase_url = 'http://example.com/v1'\n" + task,
            "https://"},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nkind = 'azure'\n" + task, "azure.com"},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nkind = 'command'\n" + task, "command ="},
           {store + "[fine_tune]\nprovider = 'x'\n[provider.x]\nkind = 'command'\ncommand = []\n" + task,
            "canary.toml:7:11: error: a command of nothing"},
           {store +
                "[fine_tune]\nprovider = 'x'\nbase_model = 'm'\n[provider.x]\nkind = 'command'\ncommand = "
                "['nowhere']\n" +
                task,
            "cannot be run"},
       }) {
    const Place place;
    place.write("canary.toml", each.config);
    place.write("train.jsonl", examples());
    const auto [exit, error] = place.failure({"train", "start", "checks", "train.jsonl"});
    INFO(json::serialize(error));
    CHECK(exit == 5);
    CHECK(json::serialize(error).find(each.words) != std::string::npos);
  }
}

TEST_CASE("train: a job whose provider cannot work yet stays open, and goes on later", "[cli][train]") {
  const TrainingPlace place;
  place.write("canary.jobs", "in the way of the provider's folder");
  const Answer first = place.run({"--json", "train", "start", "checks", "train.jsonl"});
  INFO(first.out << first.err);
  CHECK(first.exit == 6);
  const json::array jobs = place.json({"train", "status", "--offline"}).at("jobs").as_array();
  REQUIRE(jobs.size() == 1);
  const std::string id = text_of(jobs.at(0).as_object(), "id");
  std::filesystem::remove(place.path() / "canary.jobs");
  if (text_of(jobs.at(0).as_object(), "phase") == "closed") return;  // it says that it never will
  SECTION("with its file as it was") { CHECK(text_of(place.job({"train", "watch", id}), "version") == "checks@1"); }
  SECTION("and not with another file") {
    place.write("train.jsonl", examples() + examples());
    CHECK(text_of(place.job({"train", "watch", id}), "status") == "FAILED");
  }
}

}  // namespace train_jobs_test
