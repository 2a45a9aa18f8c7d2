// A server on a database: it follows the store by itself, goes on with the last good state while that is away, and records
// what became of its decisions.
#include <canary/adapters/sqlite_store.hpp>
#include <canary/engine.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

int main() {
  const std::string folder = std::filesystem::temp_directory_path().string() + "/canary-example-04";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  canary::Config config;  // or load_config("canary.toml")
  config.store.url = "sqlite:" + folder + "/canary.db";
  config.store.state = folder + "/canary.state";
  config.recorder.spool = folder + "/canary.spool";
  canary::TaskConfig settings;
  settings.name = "checklist_enrichment";
  settings.default_model = "gpt-4o-mini";
  config.tasks.push_back(settings);

  // [readme:engine]
  canary::Engine engine{config, std::make_unique<canary::SqliteStore>(config.store.url)};
  canary::Registry registry = engine.registry();  // as `canary model register` and `canary model canary` do
  registry.register_version("checklist_enrichment", {.model = "ft:gpt-4o-mini:acme:v7"});
  registry.canary("checklist_enrichment", 1, 100'000, {.actor = "ada", .note = "first users"});  // 10 %
  engine.refresh();  // or wait some milliseconds: it follows by itself

  const canary::Task task = engine.task("checklist_enrichment");
  const canary::Decision decision = engine.route(task, "user-42");
  std::printf("%s %u\n", decision.version_id().data(), decision.revision());

  registry.rollback("checklist_enrichment", {}, {.actor = "ada", .note = "worse answers"});
  if (engine.status().health != canary::Health::ok) std::puts(engine.status().message.c_str());
  // [/readme:engine]

  // [readme:record]
  canary::Decision d = engine.route(task, "user-42");
  // ... ask d.model() ...
  const bool kept = engine.record(
      d, {.latency_us = 812'000, .ok = true, .score = 0.93, .tokens_in = 512, .tokens_out = 88, .cost_microusd = 140});
  engine.feedback(d.interaction(), 0.4);  // a score that comes later, from any process, once
  // [/readme:record]
  if (!kept || !engine.flush(std::chrono::seconds{10})) std::puts(engine.status().recording.message.c_str());
  std::filesystem::remove_all(folder);
}
