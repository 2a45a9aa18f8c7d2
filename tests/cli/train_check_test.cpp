#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "interactions_place.hpp"
#include "test_paths.hpp"

namespace train_check_test {

using namespace canary::test;
namespace fs = std::filesystem;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

std::string example(int number) {
  const std::string n = std::to_string(number);
  return R"({"messages": [{"role": "user", "content": "question )" + n +
         R"("}, {"role": "assistant", "content": "answer )" + n + "\"}]}\n";
}

std::string examples(int count, int first = 0) {
  std::string text;
  for (int i = first; i != first + count; ++i) text += example(i);
  return text;
}

/// Runs with --json: the exit code and the one document.
std::pair<int, boost::json::object> checked(const Place& place, std::vector<std::string> arguments,
                                            const std::vector<std::pair<std::string, std::string>>& environment = {}) {
  arguments.insert(arguments.begin(), {"--json", "train", "check"});
  const Answer answer = place.run(arguments, {}, environment);
  INFO(answer.out << answer.err);
  CHECK(answer.err.empty());
  REQUIRE(lines_of(answer.out).size() == 1);
  return {answer.exit, boost::json::parse(answer.out).as_object()};
}

std::vector<std::string> codes_of(const boost::json::object& report) {
  std::vector<std::string> codes;
  for (const auto& finding : report.at("findings").as_array()) codes.push_back(text_of(finding.at("code")));
  return codes;
}

using Codes = std::vector<std::string>;

const std::string data = std::string{CANARY_SHARED_DATA_DIR} + "/fine_tune/";

}  // namespace

TEST_CASE("train check: a good file is exit 0, without any configuration", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(12));
  place.write("val.jsonl", examples(2, 50));
  const auto [exit, report] = checked(place, {"train.jsonl", "val.jsonl"});
  CHECK(exit == 0);
  CHECK(report.at("ok").as_bool());
  CHECK(text_of(report.at("format")) == "chat");
  CHECK(number_of(report.at("examples")) == 12);
  CHECK(number_of(report.at("validation_examples")) == 2);
  CHECK(report.at("findings").as_array().empty());
  const auto& estimate = report.at("estimate").as_object();
  CHECK(number_of(estimate.at("tokens")) > 150);
  CHECK(number_of(estimate.at("epochs")) == 8);
  CHECK(estimate.at("cost_usd").is_null());
  CHECK(text_of(report.at("training_sha256")) == place.shell("sha256sum train.jsonl").out.substr(0, 64));
  const Answer text = place.run({"train", "check", "train.jsonl", "val.jsonl"});
  CHECK(text.exit == 0);
  CHECK(text.err.empty());
  has(text.out, "chat, 12 examples, 2 for validation: 0 errors and 0 warnings\n");
  has(text.out, " tokens an epoch, 8 epochs; no cost");
}

TEST_CASE("train check: errors are exit 5, each as a compiler says it", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10) +
                                 "{\"messages\": [{\"role\": \"usr\", \"content\": \"hi\"}, {\"role\": \"assistant\", "
                                 "\"content\": \"yes\"}]}\n" +
                                 example(3));
  const Answer text = place.run({"train", "check", "train.jsonl"});
  CHECK(text.exit == 5);
  CHECK(text.err.empty());
  const auto lines = lines_of(text.out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "train.jsonl:11:24: error: unknown role \"usr\"; did you mean \"user\"? [unknown_role]");
  CHECK(lines[1] ==
        "train.jsonl:12:1: warning: the same example as in line 4; it weighs twice: take it out [duplicate]");
  CHECK(lines[2] == "chat, 12 examples: 1 error and 1 warning (unknown_role 1, duplicate 1)");
  const auto [exit, report] = checked(place, {"train.jsonl"});
  CHECK(exit == 5);
  CHECK_FALSE(report.at("ok").as_bool());
  const auto& finding = report.at("findings").as_array().at(0).as_object();
  CHECK(text_of(finding.at("file")) == "train.jsonl");
  CHECK(number_of(finding.at("line")) == 11);
  CHECK(number_of(finding.at("column")) == 24);
  CHECK(text_of(finding.at("severity")) == "error");
  CHECK(text_of(finding.at("code")) == "unknown_role");
  CHECK(text_of(finding.at("message")) == "unknown role \"usr\"; did you mean \"user\"?");
  CHECK(finding.size() == 6);
  CHECK(number_of(report.at("counts").at("duplicate")) == 1);
}

TEST_CASE("train check: warnings alone are exit 0", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10) + example(1));
  CHECK(place.run({"train", "check", "train.jsonl"}).exit == 0);
}

TEST_CASE("train check: every finding that is kept is shown, and all are counted", "[cli][train]") {
  const Place place;
  std::string file;
  for (int i = 0; i != 30; ++i) file += example(1);
  for (int i = 0; i != 3; ++i) file += "[]\n";
  place.write("train.jsonl", file);
  const Answer text = place.run({"train", "check", "train.jsonl"});
  CHECK(text.exit == 5);
  const auto lines = lines_of(text.out);
  REQUIRE(lines.size() == 32 + 2);
  has(lines[0], "train.jsonl:2:1: warning:");
  has(lines[28], "train.jsonl:30:1: warning:");
  has(lines[29], ":31:1: error: an example is an object {...}, not an array");
  has(lines[31], ":33:1: error:");
  CHECK(lines[32] == "chat, 30 examples: 3 errors and 29 warnings (duplicate 29, not_an_object 3)");

  file.clear();
  for (int i = 0; i != 1'101; ++i) file += example(1);
  place.write("more.jsonl", file);
  const auto most = lines_of(place.run({"train", "check", "more.jsonl"}).out);
  REQUIRE(most.size() == 1'000 + 3);
  CHECK(most[1'000] == "and 100 more");
  CHECK(checked(place, {"more.jsonl"}).second.at("findings").as_array().size() == 1'000);
  has(place.run({"train", "check", "--help"}).out, "1,000");
}

TEST_CASE("train check: train start shows the first twenty, errors before warnings", "[cli][train]") {
  const Place place;
  place.write("canary.toml",
              "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\ndefault_model = 'base'\n[fine_tune]\n"
              "base_model = 'small'\nprompt_version = 'v1'\n[provider.openai]\nkind = 'openai'\n");
  std::string file;
  for (int i = 0; i != 30; ++i) file += example(1);
  for (int i = 0; i != 3; ++i) file += "[]\n";
  place.write("train.jsonl", file);
  const Answer answer = place.run({"train", "start", "checks", "train.jsonl", "--dry-run"});
  INFO(answer.err);
  CHECK(answer.exit == 5);
  const auto lines = lines_of(answer.err);
  REQUIRE(lines.size() >= 21);
  has(lines[0], "train.jsonl:2:1: warning:");
  has(lines[17], ":31:1: error:");
  has(lines[19], ":33:1: error:");
  CHECK(lines[20] == "and 12 more");
}

TEST_CASE("train check: the provider that is configured decides what is refused", "[cli][train]") {
  const Place place;
  place.write("canary.toml",
              "[store]\nurl = 'memory:'\n[task.checks]\ndefault_model = 'base'\n[fine_tune]\nprovider = 'own'\n"
              "[provider.own]\nkind = 'command'\ncommand = ['./train']\n[provider.there]\nkind = 'together'\n");
  place.write("few.jsonl", examples(3) + "{\"messages\": [], \"more\": 1}\n");
  std::string graded;
  for (int i = 0; i != 10; ++i)
    graded +=
        R"({"messages": [{"role": "user", "content": "question )" + std::to_string(i) + "\"}], \"reference\": 1}\n";
  place.write("graded.jsonl", graded);
  place.write("broken.jsonl", examples(10) + "{no JSON\n");
  const auto own = checked(place, {"few.jsonl"});
  CHECK(own.first == 0);
  CHECK(codes_of(own.second) == Codes{"no_messages", "unknown_key", "too_few_examples"});
  for (const auto& finding : own.second.at("findings").as_array()) CHECK(text_of(finding.at("severity")) == "warning");
  CHECK(checked(place, {"broken.jsonl"}).first == 5);
  const auto there = checked(place, {"graded.jsonl", "graded.jsonl"}, {{"AI_FT_PROVIDER", "there"}});
  CHECK(there.first == 5);
  CHECK(number_of(there.second.at("counts").at("method_not_offered")) == 1);
  CHECK(checked(place, {"few.jsonl"}, {{"AI_FT_PROVIDER", "there"}}).first == 5);
  CHECK(checked(place, {"graded.jsonl"}).first == 0);
  const Answer unknown = place.run({"--json", "train", "check", "few.jsonl"}, {}, {{"AI_FT_PROVIDER", "onw"}});
  CHECK(unknown.exit == 5);
  CHECK(unknown.out.find("own") != std::string::npos);
}

TEST_CASE("train check: files that are none are exit 5, with a finding", "[cli][train]") {
  const Place place;
  place.write("good.jsonl", examples(10));
  place.write("empty.jsonl", "");
  place.write("blank.jsonl", "\n \n");
  fs::create_directory(place.path() / "folder");
  const auto only = [&](std::vector<std::string> arguments, const std::string& file) {
    const auto [exit, report] = checked(place, arguments);
    CHECK(exit == 5);
    REQUIRE(report.at("findings").as_array().size() == 1);
    CHECK(text_of(report.at("findings").at(0).at("file")) == file);
    CHECK(number_of(report.at("findings").at(0).at("line")) == 0);
    return codes_of(report).front();
  };
  CHECK(only({"none.jsonl"}, "none.jsonl") == "unreadable");
  CHECK(only({"empty.jsonl"}, "empty.jsonl") == "empty_file");
  CHECK(only({"blank.jsonl"}, "blank.jsonl") == "blank_file");
  CHECK(only({"folder"}, "folder") == "not_a_file");
  CHECK(only({"good.jsonl", "none.jsonl"}, "none.jsonl") == "unreadable");
  CHECK(only({"good.jsonl", "empty.jsonl"}, "empty.jsonl") == "empty_file");
  const Answer text = place.run({"train", "check", "none.jsonl"});
  CHECK(text.exit == 5);
  has(text.out,
      "none.jsonl: error: the file cannot be opened: No such file or directory; look at its name [unreadable]\n");
}

TEST_CASE("train check: a command line that makes no sense is exit 2", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10));
  const auto refused = [&](const std::vector<std::string>& arguments) {
    const auto [exit, error] = place.failure(arguments);
    CHECK(exit == 2);
    return text_of(error.at("message")) + "; " + text_of(error.at("hint"));
  };
  has(refused({"train", "check", "train.jsonl", "--format", "chta"}), "did you mean \"chat\"?");
  has(refused({"train", "check", "train.jsonl", "--format", "parquet"}), "chat, dpo, reinforcement or completions");
  has(refused({"train", "check"}), "file is required");
  has(refused({"train", "chekc"}), "did you mean \"check\"?");
  (void)refused({"train", "check", "train.jsonl", "--epochs", "0"});
  (void)refused({"train", "check", "train.jsonl", "--max-tokens", "many"});
  (void)refused({"train"});
}

TEST_CASE("train check: --format, --epochs and --max-tokens", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10));
  const auto named = checked(place, {"train.jsonl", "--format", "dpo"});
  CHECK(named.first == 5);
  CHECK(text_of(named.second.at("format")) == "dpo");
  CHECK(number_of(named.second.at("counts").at("mixed_format")) == 10);
  const auto asked = checked(place, {"train.jsonl", "--epochs", "4", "--max-tokens", "10"});
  CHECK(asked.first == 0);
  CHECK(number_of(asked.second.at("estimate").at("epochs")) == 4);
  CHECK(number_of(asked.second.at("estimate").at("tokens")) == 100);
  CHECK(number_of(asked.second.at("counts").at("over_long")) == 10);
}

TEST_CASE("train check: the price of the base model makes a cost, and too much is an error", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10));
  const auto configure = [&place](const std::string& more) {
    place.write("canary.toml",
                "[store]\nurl = 'memory:'\n[task.checks]\ndefault_model = 'base'\n[fine_tune]\nbase_model = 'small'\n"
                "price_per_million_usd = { small = 25.0, \"large:v1\" = 1e6 }\n" +
                    more);
  };
  configure("");
  const auto cheap = checked(place, {"train.jsonl", "--epochs", "2"});
  CHECK(cheap.first == 0);
  const auto& estimate = cheap.second.at("estimate").as_object();
  const double tokens = estimate.at("tokens").to_number<double>();
  CHECK(estimate.at("cost_usd").as_double() == tokens * 2 * 25 / 1e6);

  const auto dear = checked(place, {"train.jsonl", "--epochs", "2"}, {{"AI_FT_BASE_MODEL", "large:v1"}});
  CHECK(dear.first == 5);
  CHECK(codes_of(dear.second) == Codes{"over_budget"});
  CHECK(dear.second.at("estimate").at("cost_usd").as_double() == tokens * 2);
  const auto unknown = checked(place, {"train.jsonl"}, {{"AI_FT_BASE_MODEL", "other"}});
  CHECK(unknown.first == 0);
  CHECK(unknown.second.at("estimate").at("cost_usd").is_null());

  configure("cost_max_usd = 0.001\n");
  const Answer text = place.run({"train", "check", "train.jsonl", "--epochs", "2"});
  CHECK(text.exit == 5);
  has(text.out, "train.jsonl: error: about $0.0");
  has(text.out, " tokens an epoch, 2 epochs; that is more than cost_max_usd = $0.001: ");
  has(text.out, " tokens an epoch, 2 epochs: $0.0");
  has(text.out, "[over_budget]\n");
}

TEST_CASE("train check: a configuration that does not load is exit 5, a named one that is not there too",
          "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10));
  CHECK(place.failure({"--config", "none.toml", "train", "check", "train.jsonl"}).first == 5);
  place.write("canary.toml", "[store\n");
  CHECK(place.failure({"train", "check", "train.jsonl"}).first == 5);
}

TEST_CASE("train check: real data passes, and the toy's faults are named at their lines", "[cli][train]") {
  if (!fs::exists(data + "pirate_training_set.jsonl")) SKIP("no shared data in " << data);
  const Place place;
  const auto pirate = checked(place, {data + "pirate_training_set.jsonl"});
  CHECK(pirate.first == 0);
  CHECK(pirate.second.at("findings").as_array().empty());
  CHECK(number_of(pirate.second.at("estimate").at("epochs")) == 10);
  const auto toy = checked(place, {data + "toy_chat_fine_tuning.jsonl"});
  CHECK(toy.first == 5);
  REQUIRE(codes_of(toy.second) == Codes{"no_user_message", "over_long", "too_few_examples"});
  CHECK(number_of(toy.second.at("findings").at(0).at("line")) == 4);
  CHECK(number_of(toy.second.at("findings").at(1).at("line")) == 5);
}

TEST_CASE("train check: what canary export writes passes", "[cli][train]") {
  const RecordedPlace place;
  std::string csv = "k,q,a\n";
  for (int i = 0; i != 200; ++i) {
    const std::string n = std::to_string(i);
    csv += "user-" + n + ",\"a \"\"question\"\", number " + n + "\n\xF0\x9F\x90\xA6 \x01 \xFF\",\"an answer \\ " + n +
           "\"\n";
  }
  csv +=
      "user-x,\"[{\"\"role\"\":\"\"system\"\",\"\"content\"\":\"\"be "
      "kind\"\"},{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"hi\"\"}]\",yes\n";
  (void)place.import(csv, {"--key", "k", "--request", "q", "--response", "a"});
  place.done({"export", "checks", "--out", "data", "--val", "25"});
  const auto [exit, report] = checked(place, {"data/train.jsonl", "data/val.jsonl"});
  INFO(boost::json::serialize(report));
  CHECK(exit == 0);
  CHECK(report.at("findings").as_array().empty());
  CHECK(number_of(report.at("examples")) + number_of(report.at("validation_examples")) == 201);
  const auto manifest = boost::json::parse(place.read("data/manifest.json")).as_object();
  CHECK(report.at("training_sha256") == manifest.at("files").at(0).at("sha256"));
}

TEST_CASE("train check: hostile text comes out as text", "[cli][train]") {
  const Place place;
  place.write("train.jsonl",
              examples(10) +
                  "{\"messages\": [{\"role\": \"us\\u001b[31mer\", \"content\": \"hi\"}, {\"role\": \"assistant\", "
                  "\"content\": \"yes\"}], \"sk-proj-abcdEFGH1234ijklMNOP5678\": 1}\n\xFF\xFE\xFD\n");
  const Answer text = place.run({"train", "check", "train.jsonl"});
  CHECK(text.exit == 5);
  CHECK(text.out.find('\x1b') == std::string::npos);
  CHECK(text.out.find("abcdEFGH") == std::string::npos);
  has(text.out, "us\\x1b[31mer");
  has(text.out, "train.jsonl:12:1: error: a byte that is no UTF-8");
  const Answer json = place.run({"--json", "train", "check", "train.jsonl"});
  CHECK(json.out.find("abcdEFGH") == std::string::npos);
  CHECK(boost::json::parse(json.out).as_object().at("findings").as_array().size() == 3);
}

TEST_CASE("train check: a pipe is checked as a file is", "[cli][train]") {
  const Place place;
  place.write("train.jsonl", examples(10));
  const Answer answer =
      place.shell("\"$CANARY\" train check <(cat train.jsonl) && cat train.jsonl | \"$CANARY\" train check /dev/stdin");
  CHECK(answer.exit == 0);
  has(answer.out, "chat, 10 examples");
}

TEST_CASE("train check: a large file is checked in little memory", "[cli][train]") {
  const Place place;
  // 400,000 examples, 80 MB, and a line of 100 MB: 32 bytes an example, and not the line.
  const Answer answer = place.shell(
      "awk 'BEGIN { for (i = 0; i < 400000; ++i) printf \"{\\\"messages\\\": [{\\\"role\\\": \\\"user\\\", "
      "\\\"content\\\": \\\"%d %0100d\\\"}, "
      "{\\\"role\\\": \\\"assistant\\\", \\\"content\\\": \\\"x\\\"}]}\\n\", i, 7; printf \"%0100000000d\\n\", 1 }' > "
      "train.jsonl; "
      "ulimit -v 200000; \"$CANARY\" --json train check train.jsonl");
  INFO(answer.err);
  CHECK(answer.exit == 5);
  const auto report = boost::json::parse(answer.out).as_object();
  CHECK(number_of(report.at("examples")) == 400'000);
  CHECK(codes_of(report) == Codes{"line_too_long"});
}

}  // namespace train_check_test
