// The five services of examples/05_services.cpp, against a server of this process.
#include <sys/wait.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "temporary_folder.hpp"
#include "test_paths.hpp"
#include "tuning_server.hpp"

namespace services_test {

namespace {

struct Run {
  int status = -1;
  std::vector<std::string> lines;
  std::string all;

  [[nodiscard]] std::vector<std::string> starting(const std::string& word) const {
    std::vector<std::string> found;
    for (const std::string& line : lines)
      if (line.starts_with(word)) found.push_back(line);
    return found;
  }
};

/// Runs the example with these variables; its temporary files are in a folder of their own.
Run run(const std::string& variables) {
  const TemporaryFolder folder;
  const std::string command =
      "env -u OPENAI_API_KEY -u CANARY_CHAT_URL -u CHECKLIST_FORCE_MODEL no_proxy=127.0.0.1 TMPDIR=" +
      folder.path().string() + ' ' + variables + ' ' + CANARY_TEST_SERVICES + ' ' +
      CANARY_SOURCE_DIR "/data/visa.toml 2>&1";
  std::FILE* out = ::popen(command.c_str(), "r");
  if (out == nullptr) throw std::runtime_error{"popen"};
  Run result;
  char block[4'096];
  for (std::size_t got = 0; (got = std::fread(block, 1, sizeof block, out)) != 0;) result.all.append(block, got);
  const int status = ::pclose(out);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  for (std::size_t at = 0; at < result.all.size();) {
    const std::size_t end = std::min(result.all.find('\n', at), result.all.size());
    result.lines.push_back(result.all.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

std::set<std::string> models_asked(test::TuningServer& server) {
  std::set<std::string> models;
  for (const test::TuningSeen& each : server.seen())
    if (each.line.starts_with("POST /chat/completions") || each.line.starts_with("POST /v1/chat/completions"))
      models.emplace(boost::json::parse(each.body).at("model").as_string());
  return models;
}

/// How often a version is in the record for this reason.
int recorded(const Run& run, const std::string& version, const std::string& reason = "split") {
  for (const std::string& line : run.starting("recorded: " + version + ' ' + reason + ' '))
    return std::stoi(line.substr(line.rfind(' ') + 1));
  return 0;
}

}  // namespace

TEST_CASE("services: without an endpoint nothing is asked, and that is explained", "[adapters][services]") {
  const Run result = run("");
  CHECK(result.status == 0);
  CHECK(result.all.find("set CANARY_CHAT_URL") != std::string::npos);
}

TEST_CASE(
    "services: each interaction carries its version, the variable is obeyed, and the default answers without a store",
    "[adapters][services]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.key = "sk-Zq7SECRETq7Z"; });
  const Run result = run("OPENAI_API_KEY=sk-Zq7SECRETq7Z CANARY_CHAT_URL=" + server.url() + "/v1");
  INFO(result.all);
  CHECK(result.status == 0);
  CHECK(result.all.find("failed") == std::string::npos);
  CHECK(result.all.find("Zq7SECRETq7Z") == std::string::npos);
  const auto checklists = result.starting("checklist_enrichment");
  REQUIRE(checklists.size() == 4);
  int by_version = 0;
  for (const std::string& line : checklists) {
    const bool version = line.find("checklist_enrichment@1 ") != std::string::npos;
    by_version += version ? 1 : 0;
    CHECK(line.find(version ? "ft:gpt-4o-mini:acme:v7 says: passport" : "gpt-4o-mini says: passport") !=
          std::string::npos);
    CHECK(line.find(" split ") != std::string::npos);
  }
  CHECK(by_version == recorded(result, "checklist_enrichment@1"));
  CHECK(4 - by_version == recorded(result, "checklist_enrichment@default"));
  // The forced one is no version of the registry: its row has number 0, and the reason.
  CHECK(recorded(result, "checklist_enrichment@forced", "forced") == 1);
  for (const char* task : {"document_check", "risk_explanation", "document_explanation", "rules_extraction"}) {
    REQUIRE(result.starting(task).size() == 1);
    CHECK(result.starting(task)[0].find(std::string{task} + "@default") != std::string::npos);
    CHECK(recorded(result, std::string{task} + "@default", "fallback") == 1);  // it has no versions to split among
  }
  REQUIRE(result.starting("forced:").size() == 1);
  CHECK(result.starting("forced:")[0].find("checklist_enrichment@forced") != std::string::npos);
  CHECK(result.starting("forced:")[0].find("gpt-4o says: passport") != std::string::npos);
  REQUIRE(result.starting("store away:").size() == 1);
  CHECK(result.starting("store away:")[0].find("checklist_enrichment@default fallback") != std::string::npos);
  CHECK(result.starting("store away:")[0].find("gpt-4o-mini says: passport") != std::string::npos);
  std::set<std::string> models{"gpt-4o", "gpt-4o-mini"};
  if (by_version != 0) models.insert("ft:gpt-4o-mini:acme:v7");
  CHECK(models_asked(server) == models);
}

TEST_CASE("services: a variable that is set from the start overrides the split", "[adapters][services]") {
  test::TuningServer server;
  const Run result = run("CHECKLIST_FORCE_MODEL=gpt-9 CANARY_CHAT_URL=" + server.url() + "/v1");
  INFO(result.all);
  CHECK(result.status == 0);
  const auto checklists = result.starting("checklist_enrichment");
  REQUIRE(checklists.size() == 4);
  for (const std::string& line : checklists) CHECK(line.find("gpt-9 says: passport") != std::string::npos);
}

TEST_CASE("services: a version whose model is gone costs nobody an answer", "[adapters][services]") {
  test::TuningServer server;
  server.rules([](test::TuningRules& rules) { rules.missing_models = {"ft:gpt-4o-mini:acme:v7"}; });
  const Run result = run("CANARY_CHAT_URL=" + server.url() + "/v1");
  INFO(result.all);
  CHECK(result.status == 0);
  CHECK(result.all.find("failed") == std::string::npos);
  for (const std::string& line : result.starting("checklist_enrichment"))
    CHECK(line.find("gpt-4o-mini says: passport") != std::string::npos);
  // Both calls are in the record: the version's failure, and the default's answer in its place.
  const int replaced = recorded(result, "checklist_enrichment@default", "fallback");
  CHECK(replaced == recorded(result, "checklist_enrichment@1"));
  CHECK(replaced + recorded(result, "checklist_enrichment@default") == 4);
  CHECK(recorded(result, "checklist_enrichment@forced", "forced") == 1);
}

TEST_CASE("services: a server that is away is told as a failure of each, and nothing else breaks",
          "[adapters][services]") {
  std::string url;
  {
    const test::TuningServer server;
    url = server.url();
  }
  const Run result = run("CANARY_CHAT_URL=" + url + "/v1");
  INFO(result.all);
  CHECK(result.status == 0);
  CHECK(result.starting("checklist_enrichment").size() == 4);
  CHECK(result.all.find("failed: ") != std::string::npos);
}

}  // namespace services_test
