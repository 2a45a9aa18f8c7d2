// canary train start|status|watch|cancel, with a program as the provider: what a shell script can show.
#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <string_view>
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
      std::string_view more = "") {
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
  place.write("bad.jsonl", "{\"messages\":[]}\n");
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
           {{"train", "start", "checks", "train.jsonl", "--seed", "4000000000"}, 2, "2147483647"},
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
