#include <map>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/config.hpp"

namespace config_test {

TEST_CASE("config: a configuration without a file has the defaults of the documentation", "[control][config]") {
  const canary::Config config;
  CHECK(config.store.url == "sqlite:canary.db");
  CHECK_FALSE(config.store.in_memory());
  CHECK(config.recorder.spool == "canary.spool");
  CHECK_FALSE(config.recorder.payloads);
  CHECK(config.recorder.flush_ms == 100);
  CHECK(config.fine_tune.provider == "openai");
  CHECK(config.fine_tune.base_model.empty());
  CHECK(config.fine_tune.cost_max_usd == 50.0);
  const canary::GuardConfig guard;
  CHECK(guard.alpha_rollback == 0.01);
  CHECK(guard.alpha_advance == 0.05);
  CHECK(guard.steps_ppm == std::vector<std::uint32_t>{10'000, 50'000, 100'000, 250'000, 500'000, 1'000'000});
  CHECK(guard.outcome_timeout_s == 600);
}

TEST_CASE("config: the environment overrides fine-tuning, an empty value does not", "[control][config]") {
  std::map<std::string, std::string> environment{{"AI_FT_PROVIDER", "together"}, {"AI_FT_BASE_MODEL", ""}};
  const auto lookup = [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
  canary::Config config;
  config.fine_tune = {.provider = "openai", .base_model = "gpt-4o-mini", .prompt_version = "v1", .prices = {}};
  apply_environment(config, lookup);
  CHECK(config.fine_tune.provider == "together");
  CHECK(config.fine_tune.base_model == "gpt-4o-mini");
  CHECK(config.fine_tune.prompt_version == "v1");
  environment["AI_FT_PROMPT_VERSION"] = "v2";
  apply_environment(config, lookup);
  CHECK(config.fine_tune.prompt_version == "v2");
}

TEST_CASE("config: an error shows every fault on a line of its own", "[control][config]") {
  const canary::ConfigError error{{{"a.toml", 3, 7, "wrong", "do right"}, {"a.toml", 0, 0, "unreadable"}}};
  CHECK(std::string{error.what()} == "a.toml:3:7: error: wrong; do right\na.toml: error: unreadable");
  CHECK(error.faults().size() == 2);
}

}  // namespace config_test
