// Five services of a visa office, each a task of data/visa.toml, on any OpenAI-compatible endpoint:
//   CANARY_CHAT_URL=http://127.0.0.1:4010/v1 [OPENAI_API_KEY=...] canary_example_05_services [data/visa.toml]
// They show that each answer is recorded with the version that gave it, that the defaults answer while the database is away,
// and that a variable overrides a task.
#include <canary/adapters/openai_chat.hpp>
#include <canary/adapters/sqlite_store.hpp>
#include <canary/adapters/toml_config.hpp>
#include <canary/engine.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/src.hpp>  // once in a program, or link Boost::json

namespace {

/// What every service has: the engine that decides, and the client that asks.
struct Office {
  canary::Engine& engine;
  canary::OpenAiChat<canary::Engine>& chat;

  canary::ChatReply ask(std::string_view task, std::string_view key, const std::string& system, const std::string& user,
                        canary::ChatOptions options = {}) const {
    options.fallback = true;  // a version whose model is gone must cost nobody an answer
    return chat.complete(engine.task(task), key, {{"system", system}, {"user", user}}, options);
  }
};

canary::ChatReply enrich_checklist(const Office& office, std::string_view applicant, const std::string& list) {
  return office.ask("checklist_enrichment", applicant, "Complete the list of documents for this visa.", list,
                    {.parameters = R"({"temperature":0})"});
}

canary::ChatReply check_document(const Office& office, std::string_view applicant, const std::string& scan) {
  return office.ask("document_check", applicant, "Is this document what it claims to be? Answer yes or no, and why.",
                    scan);
}

canary::ChatReply explain_risk(const Office& office, std::string_view officer, const std::string& findings) {
  return office.ask("risk_explanation", officer, "Explain the risks of this application to an officer.", findings);
}

/// Word by word, as the model writes.
canary::ChatReply explain_document(const Office& office, std::string_view applicant, const std::string& document,
                                   const std::function<bool(std::string_view)>& on_text) {
  return office.ask("document_explanation", applicant, "Explain this document to the applicant.", document,
                    {.on_text = on_text});
}

canary::ChatReply extract_rules(const Office& office, std::string_view consulate, const std::string& page) {
  return office.ask("rules_extraction", consulate, "Turn this page into rules, as a JSON list.", page);
}

void show(const char* service, const canary::ChatReply& reply) {
  std::printf("%-22s %-26s %-9s %s\n", service, std::string{reply.decision.version_id()}.c_str(),
              std::string{to_string(reply.decision.reason())}.c_str(),
              reply.ok ? reply.text.c_str() : ("failed: " + reply.message).c_str());
}

void a_day(const Office& office) {
  for (const char* applicant : {"ada", "grace", "linus", "barbara"})
    show("checklist_enrichment", enrich_checklist(office, applicant, "passport, photo"));
  show("document_check", check_document(office, "ada", "PASSPORT No. C01X00T47"));
  show("risk_explanation", explain_risk(office, "officer-7", "two refusals in three years"));
  std::size_t pieces = 0;
  show("document_explanation",
       explain_document(office, "ada", "form 14b", [&](std::string_view) { return ++pieces != 0; }));
  show("rules_extraction", extract_rules(office, "consulate-3", "Photos must not be older than six months."));
}

/// How often each version is in the record, and why it was asked: an override is no version, and a default that answers in
/// the place of one is no evidence.
void show_record(canary::Store& store) {
  const std::unique_ptr<canary::InteractionStore> kept = store.interactions();
  std::map<std::uint32_t, std::string> names;
  for (const auto& [number, name] : kept->task_names()) names[number] = name;
  std::map<std::string, int> counts;
  kept->read({}, [&](const canary::Interaction& row, const canary::Payload&) {
    const char* unnumbered = row.reason == canary::Reason::forced ? "forced" : "default";
    ++counts[names[row.task] + '@' + (row.number == 0 ? unnumbered : std::to_string(row.number)) + ' ' +
             std::string{to_string(row.reason)}];
    return true;
  });
  for (const auto& [version, count] : counts) std::printf("recorded: %s %d\n", version.c_str(), count);
}

/// All that a service needs, in short.
void ask_in_short(canary::Engine& engine, const canary::OpenAiChatOptions& options) {
  // [readme:chat]
  canary::OpenAiChat chat{engine, options};  // base_url, the name of the key's variable, prices, time-outs, retries
  const canary::ChatReply reply =
      chat.complete(engine.task("document_check"), "user-42", {{"user", "Is this a passport: C01X00T47?"}},
                    {.fallback = true});  // when the version's model is gone, the default answers
  std::puts(reply.ok ? reply.text.c_str() : reply.message.c_str());  // recorded by now: latency, tokens, cost, error
  // [/readme:chat]
}

void run(const std::string& url, const std::string& file, const std::string& folder) {
  canary::Config config = canary::load_config(file);
  config.store.url = "sqlite:" + folder + "/visa.db";
  config.store.state = folder + "/visa.state";
  config.recorder.spool = folder + "/visa.spool";
  canary::OpenAiChatOptions options;
  options.base_url = url;
  if (std::getenv("OPENAI_API_KEY") == nullptr) options.api_key_env.clear();  // a server of one's own may want none
  options.prices = {{"gpt-4o-mini*", 150'000, 600'000}, {"ft:gpt-4o-mini*", 300'000, 1'200'000}};

  canary::Engine engine{config, std::make_unique<canary::SqliteStore>(config.store.url)};
  canary::OpenAiChat chat{engine, options};
  canary::Registry registry = engine.registry();
  registry.register_version("checklist_enrichment", {.model = "ft:gpt-4o-mini:acme:v7"});
  registry.canary("checklist_enrichment", 1, 500'000);  // half of the applicants
  engine.refresh();
  a_day({engine, chat});

  ::setenv("CHECKLIST_FORCE_MODEL", "gpt-4o", 1);  // as an operator would, before a restart or a reload
  engine.reload(config);
  show("forced:", enrich_checklist({engine, chat}, "ada", "passport"));
  ::unsetenv("CHECKLIST_FORCE_MODEL");
  if (!engine.flush(std::chrono::seconds{30})) std::puts(engine.status().recording.message.c_str());
  canary::SqliteStore store{config.store.url};
  show_record(store);

  config.store.url = "sqlite:" + folder + "/nowhere/visa.db";  // a database that is away
  config.store.state.clear();
  config.recorder.spool = folder + "/other.spool";
  canary::Engine cut_off{config, std::make_unique<canary::SqliteStore>(config.store.url)};
  canary::OpenAiChat still{cut_off, options};
  show("store away:", enrich_checklist({cut_off, still}, "ada", "passport"));
  ask_in_short(cut_off, options);
}

}  // namespace

int main(int argc, char** argv) {
  const char* url = std::getenv("CANARY_CHAT_URL");
  if (url == nullptr) {
    std::puts(
        "Nothing is asked: set CANARY_CHAT_URL to an OpenAI-compatible endpoint, https://api.openai.com/v1 with\n"
        "OPENAI_API_KEY, or http://127.0.0.1:PORT/v1 for a server of your own.");
    return 0;
  }
  const std::string folder = std::filesystem::temp_directory_path().string() + "/canary-example-05";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  int status = 0;
  try {
    run(url, argc > 1 ? argv[1] : "data/visa.toml", folder);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::filesystem::remove_all(folder);
  return status;
}
