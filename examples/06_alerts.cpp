// A server that tells people by itself: of rollbacks, and of what its guard finds wrong. A model here is to be shut down in
// a week, so there is something to tell.
#include <canary/adapters/log_alert.hpp>
#include <canary/adapters/sqlite_store.hpp>
#include <canary/control/alert_desk.hpp>
#include <canary/engine.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

int main() {
  const std::string folder = std::filesystem::temp_directory_path().string() + "/canary-example-06";
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
  {
    canary::SqliteStore store{config.store.url};
    canary::Registry registry{store};
    const canary::TimeUs in_a_week = canary::Registry::system_time() + canary::TimeUs{7} * 86'400 * 1'000'000;
    registry.register_version("checklist_enrichment", {.model = "ft:gpt-4o-mini:acme:v7",
                                                       .shutdown_date = canary::time_text(in_a_week).substr(0, 10)});
    registry.canary("checklist_enrichment", 1, 100'000);
  }

  bool delivered = false;
  {
    // [readme:alerts]
    std::vector<std::unique_ptr<canary::AlertSink>> sinks;
    sinks.push_back(std::make_unique<canary::LogSink>(stdout));  // and WebhookSink, CommandSink, one of your own
    canary::AlertDesk desk{std::move(sinks), {.source = canary::process_name()}};  // outlives the engine

    canary::EngineOptions options;
    options.on_alert = [&desk](const canary::Alert& alert) { desk.raise(alert); };  // returns at once
    canary::Engine engine{config, std::make_unique<canary::SqliteStore>(config.store.url), options};
    // [/readme:alerts]
    (void)engine.guard_now();  // or wait a moment: it looks by itself
    delivered = desk.flush(std::chrono::seconds{10}) && desk.status().sinks[0].delivered == 1;
  }
  std::filesystem::remove_all(folder);
  return delivered ? 0 : 1;
}
