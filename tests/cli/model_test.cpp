#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"
#include "test_paths.hpp"

namespace model_test {

using namespace canary::test;

namespace {

using Shares = std::map<std::string, std::uint32_t>;

std::string status_of(const Place& place, const std::string& id) {
  return text_of(place.json({"model", "show", id}).at("version").at("status"));
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("model register: a CANDIDATE at 0 % with all that it was given", "[cli][model]") {
  const DatabasePlace place;
  const auto answer = place.json({"model", "register", "checks", "ft:gpt:v7", "--provider", "openai", "--note",
                                  "it's \"new\"", "--shutdown-date", "2031-05-04", "--base-model", "gpt",
                                  "--prompt-version", "p2", "--training-file-hash", "abc", "--job", "ftjob-1"});
  const auto& row = answer.at("version").as_object();
  CHECK(text_of(row.at("id")) == "checks@1");
  CHECK(text_of(row.at("task")) == "checks");
  CHECK(text_of(row.at("model")) == "ft:gpt:v7");
  CHECK(text_of(row.at("provider")) == "openai");
  CHECK(text_of(row.at("status")) == "CANDIDATE");
  CHECK(number_of(row.at("weight_ppm")) == 0);
  CHECK(text_of(row.at("note")) == "it's \"new\"");
  CHECK(text_of(row.at("shutdown_date")) == "2031-05-04");
  CHECK(text_of(row.at("created_at")).ends_with("Z"));
  const auto& lineage = row.at("lineage").as_object();
  CHECK(text_of(lineage.at("job")) == "ftjob-1");
  CHECK(text_of(lineage.at("training_file_hash")) == "abc");
  CHECK(text_of(lineage.at("base_model")) == "gpt");
  CHECK(text_of(lineage.at("prompt_version")) == "p2");
  const auto plain = place.json({"model", "register", "checks", "v8"}).at("version").as_object();
  CHECK(text_of(plain.at("id")) == "checks@2");
  CHECK(plain.at("shutdown_date").is_null());
  CHECK(plain.at("lineage").at("job").is_null());
  // The same when it is read back.
  CHECK(place.json({"model", "show", "checks@1"}).at("version") == answer.at("version"));
  CHECK(has(place.run({"model", "register", "checks", "v9"}).out,
            "checks@3 is a CANDIDATE at 0 %, model v9: revision 3"));
}

TEST_CASE("model canary: only the base gives and takes, and only the least possible moves", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  const auto first = place.json({"model", "canary", "checks@1", "10"});
  CHECK(number_of(first.at("revision")) == 3);
  CHECK(number_of(first.at("points_moved")) == 429'496'730);
  CHECK(number_of(first.at("points_minimum")) == 429'496'730);
  CHECK(number_of(first.at("version").at("weight_ppm")) == 100'000);
  place.done({"model", "promote", "checks@1"});
  place.done({"model", "canary", "checks@2", "0.0001%"});
  CHECK(place.shares() == Shares{{"checks@default", 0}, {"checks@1", 999'999}, {"checks@2", 1}});
  place.done({"model", "canary", "checks@2", "25.5"});
  CHECK(place.shares() == Shares{{"checks@default", 0}, {"checks@1", 745'000}, {"checks@2", 255'000}});
}

TEST_CASE("model promote: at 100 % the former ACTIVE ones step down, below the others give in proportion",
          "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "canary", "checks@1", "20"});
  place.done({"model", "promote", "checks@2", "50"});
  CHECK(place.shares() == Shares{{"checks@default", 400'000}, {"checks@1", 100'000}, {"checks@2", 500'000}});
  CHECK(status_of(place, "checks@1") == "CANDIDATE");
  place.done({"model", "promote", "checks@1"});
  CHECK(place.shares() == Shares{{"checks@default", 0}, {"checks@1", 1'000'000}, {"checks@2", 0}});
  CHECK(status_of(place, "checks@1") == "ACTIVE");
  CHECK(status_of(place, "checks@2") == "DEPRECATED");
}

TEST_CASE("model rollback: a task goes back to the very same partition, a version to 0 %", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "canary", "checks@1", "7"});
  place.done({"model", "canary", "checks@2", "11"});
  place.done({"model", "promote", "checks@1", "60"});
  const auto back = place.json({"model", "rollback", "checks"});
  CHECK(back.at("version").is_null());
  CHECK(number_of(back.at("revision")) == 6);
  CHECK(place.partition_text(6) == place.partition_text(4));
  CHECK(status_of(place, "checks@1") == "CANDIDATE");
  // Said again it goes further back, never forth.
  place.done({"model", "rollback", "checks"});
  CHECK(place.partition_text(7) == place.partition_text(3));
  place.done({"model", "rollback", "checks", "--to", "4"});
  CHECK(place.partition_text(8) == place.partition_text(4));
  const auto one = place.json({"model", "rollback", "checks@2"});
  CHECK(text_of(one.at("version").at("status")) == "DEPRECATED");
  CHECK(place.shares() == Shares{{"checks@default", 930'000}, {"checks@1", 70'000}, {"checks@2", 0}});
  CHECK(place.run({"model", "rollback", "checks@1", "--to", "1"}).exit == 2);
}

TEST_CASE("model: status steps go down to ARCHIVED", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  CHECK(text_of(place.json({"model", "deprecate", "checks@1"}).at("version").at("status")) == "DEPRECATED");
  CHECK(text_of(place.json({"model", "promote", "checks@1", "5"}).at("version").at("status")) == "ACTIVE");
  place.done({"model", "canary", "checks@1", "0"});
  place.done({"model", "deprecate", "checks@1"});
  const Answer archived = place.run({"model", "archive", "checks@1"});
  CHECK(archived.out == "checks@1 is ARCHIVED, after DEPRECATED: revision 6\n");
  CHECK(status_of(place, "checks@1") == "ARCHIVED");
}

TEST_CASE("model list: every configured task, those that the store alone knows, and one", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  auto list = place.json({"model", "list"}).at("tasks").as_array();
  REQUIRE(list.size() == 2);
  CHECK(text_of(list[0].at("task")) == "checks");
  CHECK(number_of(list[0].at("revision")) == 1);
  CHECK(text_of(list[0].at("default_model")) == "base");
  CHECK(number_of(list[0].at("default_weight_ppm")) == 1'000'000);
  CHECK(list[0].at("versions").as_array().size() == 1);
  CHECK(text_of(list[1].at("task")) == "risks");
  CHECK(number_of(list[1].at("revision")) == 0);
  CHECK(list[1].at("versions").as_array().empty());
  CHECK(place.json({"model", "list", "risks"}).at("tasks").as_array().size() == 1);

  place.write("canary.toml", "[store]\nurl = 'sqlite:canary.db'\n[task.risks]\n");
  list = place.json({"model", "list"}).at("tasks").as_array();
  REQUIRE(list.size() == 2);
  CHECK(text_of(list[1].at("task")) == "checks");
  CHECK(has(place.run({"model", "list"}).out, "not in the configuration"));
  CHECK(place.run({"model", "list", "checks"}).exit == 3);  // tasks exist when configured
}

TEST_CASE("model list: 10,000 versions come in one look", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.sql(
      "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
      "INSERT INTO versions (task, number, model, provider, status, weight_ppm, note, created_at_us, changed_at_us, "
      "shutdown_date, job, training_file_hash, base_model, prompt_version) "
      "SELECT 'checks', i, 'm' || i, '', 'CANDIDATE', 0, '', 0, 0, '', '', '', '', '' FROM n");
  const auto start = std::chrono::steady_clock::now();
  const auto task = place.json({"model", "list", "checks"}).at("tasks").as_array().at(0).as_object();
  CHECK(task.at("versions").as_array().size() == 10'000);
  CHECK(lines_of(place.run({"model", "list", "checks"}).out).size() == 10'002);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{20});  // seconds under sanitizers
}

TEST_CASE("model show: a version with its own history", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "canary", "checks@1", "5"});
  place.done({"model", "promote", "checks@2"});
  const auto shown = place.json({"model", "show", "checks@1"});
  const auto& history = shown.at("history").as_array();
  REQUIRE(history.size() == 3);  // registered, given a share, and lost it to the other
  CHECK(number_of(history[0].at("revision")) == 1);
  CHECK(number_of(history[1].at("revision")) == 3);
  CHECK(number_of(history[2].at("revision")) == 4);
  const Answer text = place.run({"model", "show", "checks@1"});
  for (const char* word : {"checks@1", "v1", "CANDIDATE", "REVISION", "promote"}) CHECK(has(text.out, word));
}

TEST_CASE("model: --dry-run says what would come, and nothing comes", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  const auto before = place.json({"model", "list"});
  const auto would = place.json({"model", "canary", "checks@1", "5", "--dry-run"});
  CHECK(would.at("dry_run").as_bool());
  CHECK(number_of(would.at("revision")) == 2);
  CHECK(number_of(would.at("points_moved")) == 214'748'365);
  CHECK(number_of(would.at("version").at("weight_ppm")) == 50'000);
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"register", "checks", "v2"},
                                                    {"promote", "checks@1"},
                                                    {"deprecate", "checks@1"},
                                                    {"rollback", "checks@1"}}) {
    std::vector<std::string> all{"model"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    all.push_back("--dry-run");
    CHECK(place.json(all).at("dry_run").as_bool());
    CHECK(has(place.run(all).out, "dry run: nothing was changed\n"));
  }
  CHECK(place.json({"model", "list"}) == before);
  const Answer text = place.run({"model", "canary", "checks@1", "5", "--dry-run"});
  CHECK(has(text.out, "checks@1 would have 5 % of the traffic"));
  CHECK(has(text.out, "5 % of all keys would get another version"));
  CHECK(has(text.out, "100 %   95 %"));
}

TEST_CASE("model: text says what happened, how much moved, and the shares that came of it", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  const Answer text = place.run({"model", "canary", "checks@1", "5"});
  CHECK(text.exit == 0);
  CHECK(text.err.empty());
  CHECK(text.out ==
        "checks@1 has 5 % of the traffic, after 0 %, and is CANDIDATE: revision 2\n"
        "214,748,365 points of the ring moved, the least possible is 214,748,365; 5 % of all keys get another version\n"
        "\n"
        "VERSION         MODEL  STATUS     BEFORE  AFTER\n"
        "checks@default  base               100 %   95 %\n"
        "checks@1        v1     CANDIDATE     0 %    5 %\n");
}

TEST_CASE("model: a version that loses its share is shown too, whatever took it", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1", "v2"});
  place.done({"model", "promote", "checks@1", "40"});
  const Answer text = place.run({"model", "promote", "checks@2"});
  CHECK(has(text.out, "ACTIVE -> DEPRECATED    40 %    0 %"));
  CHECK(has(text.out, "CANDIDATE -> ACTIVE      0 %  100 %"));
}

TEST_CASE("model: what an exit code of 0 says is what followers route by", "[cli][model]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "promote", "checks@1"});
  const Answer routed = place.run({"--json", "route", "checks", "u"});
  CHECK(has(routed.out, "\"version\":\"checks@1\",\"model\":\"v1\",\"reason\":\"split\""));
  CHECK(has(routed.out, "\"revision\":2"));
  CHECK(has(place.run({"--json", "route", "risks", "u"}).out, "\"version\":\"risks@default\",\"model\":\"steady\""));
}

TEST_CASE("data/visa.toml: the reference deployment works as it stands", "[cli][model]") {
  const Place place;
  std::filesystem::copy_file(CANARY_SOURCE_DIR "/data/visa.toml", place.path() / "canary.toml");
  const auto tasks = place.json({"model", "list"}).at("tasks").as_array();
  const std::vector<std::pair<std::string, std::string>> expected{
      {"checklist_enrichment", "CHECKLIST_FORCE_MODEL"},
      {"document_check", "DOC_CHECK_FORCE_MODEL"},
      {"risk_explanation", "RISK_FORCE_MODEL"},
      {"document_explanation", "DOC_EXPLANATION_FORCE_MODEL"},
      {"rules_extraction", "RULES_EXTRACTION_FORCE_MODEL"}};
  REQUIRE(tasks.size() == expected.size());
  for (std::size_t i = 0; i != expected.size(); ++i) {
    const auto& [task, variable] = expected[i];
    CHECK(text_of(tasks[i].at("task")) == task);
    CHECK(text_of(tasks[i].at("default_model")) == "gpt-4o-mini");
    CHECK(has(place.run({"--json", "route", task, "u"}).out, "\"model\":\"gpt-4o-mini\""));
    CHECK(has(place.run({"--json", "route", task, "u"}, {}, {{variable, "spare"}}).out, "\"model\":\"spare\""));
  }
}

}  // namespace model_test
