#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/toml_config.hpp"
#include "temporary_folder.hpp"

namespace toml_config_test {

using canary::Config;
using canary::ConfigError;
using canary::parse_config;

namespace {

constexpr const char* everything = R"(
[store]
url = "sqlite:canary.db"
timeout_ms = 750
state = "last.state"
[recorder]
spool = "canary.spool"
payloads = true
flush_ms = 250
keep_days = 7
lane_mb = 1
payload_mb = 2
spool_mb = 64
[alerts]
webhook = "https://alerts.example/canary"
webhook_secret_env = "OUR_SECRET"
command = ["bin/page", "ops team", ""]
log = false
repeat_s = 60
shutdown_days = 14
[alerts.degradation]
success_margin = 0.01
score_margin = 0.03
latency_margin = 0.5
false_alarm_days = 30
[fine_tune]
provider = "together"
base_model = "gpt-4o-mini"
prompt_version = "v1"
cost_max_usd = 12.5
[provider.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"
[provider.together]
kind = "together"
[task.zebra]
default_model = "gpt-4o-mini"
force_env = "CHECKLIST_FORCE_MODEL"
salt = "pepper"
sample_percent = 12.5
[task.aardvark]
default_model = "m"
[task.zebra.guard]
alpha_rollback = 0.02
alpha_advance = 0.1
steps_percent = [0.5, 10, 100]
outcome_timeout_s = 60
units_min = 250
step_min_s = 3600
on_missing = "rollback"
[[task.zebra.guard.metric]]
name = "ok"
kind = "latency"
margin = 0
advance_margin = [0.1, 0.2]
unit = "request"
weight = 2
slo_us = 1500000
[[task.zebra.guard.metric]]
name = "score"
kind = "score"
advance_margin = 0.3
[[task.zebra.guard.metric]]
name = "errors"
advance_margin = 0.01
error_ratio = 1.5
weight = 0
)";

}  // namespace

TEST_CASE("toml: every key of the documentation is read", "[adapters][toml]") {
  const Config config = parse_config(everything, "canary.toml");
  CHECK(config.store.timeout_ms == 750);
  CHECK(config.store.state == "last.state");
  CHECK(config.recorder.payloads);
  CHECK(config.recorder.flush_ms == 250);
  CHECK(config.recorder.keep_days == 7);
  CHECK(config.recorder.lane_mb == 1);
  CHECK(config.recorder.payload_mb == 2);
  CHECK(config.recorder.spool_mb == 64);
  CHECK(config.fine_tune.provider == "together");
  CHECK(config.fine_tune.base_model == "gpt-4o-mini");
  CHECK(config.fine_tune.prompt_version == "v1");
  CHECK(config.fine_tune.cost_max_usd == 12.5);
  CHECK(config.alerts.webhook == "https://alerts.example/canary");
  CHECK(config.alerts.webhook_secret_env == "OUR_SECRET");
  CHECK(config.alerts.command == std::vector<std::string>{"bin/page", "ops team", ""});
  CHECK_FALSE(config.alerts.log);
  CHECK(config.alerts.repeat_s == 60);
  CHECK(config.alerts.shutdown_days == 14);
  CHECK(config.alerts.degradation ==
        canary::DegradationConfig{
            .success_margin = 0.01, .score_margin = 0.03, .latency_margin = 0.5, .false_alarm_days = 30});
  REQUIRE(config.providers.size() == 2);
  CHECK(config.providers[0].base_url == "https://api.openai.com/v1");
  CHECK(config.providers[0].api_key_env == "OPENAI_API_KEY");
  CHECK(config.providers[1].kind == canary::ProviderKind::together);
  REQUIRE(config.tasks.size() == 2);
  const canary::TaskConfig& task = config.tasks[0];
  CHECK(task.name == "zebra");  // the file's order, not the alphabet's
  CHECK(task.force_env == "CHECKLIST_FORCE_MODEL");
  CHECK(task.salt == "pepper");
  CHECK(task.sample_ppm == 125'000);
  CHECK(task.guard.alpha_rollback == 0.02);
  CHECK(task.guard.alpha_advance == 0.1);
  CHECK(task.guard.steps_ppm == std::vector<std::uint32_t>{5'000, 100'000, 1'000'000});
  CHECK(task.guard.outcome_timeout_s == 60);
  CHECK(task.guard.units_min == 250);
  CHECK(task.guard.step_min_s == 3'600);
  CHECK(task.guard.on_missing == canary::OnMissing::rollback);
  REQUIRE(task.guard.metrics.size() == 3);
  CHECK(task.guard.metrics[0].kind == canary::MetricKind::latency);
  CHECK(task.guard.metrics[0].margin == 0.0);
  CHECK(task.guard.metrics[0].advance_margin == std::vector<double>{0.1, 0.2});
  CHECK(task.guard.metrics[0].unit == canary::MetricUnit::request);
  CHECK(task.guard.metrics[1].advance_margin == std::vector<double>{0.3});
  CHECK(task.guard.metrics[1].unit == canary::MetricUnit::key);
  CHECK(task.guard.metrics[0].weight == 2);
  CHECK(task.guard.metrics[0].slo_us == 1'500'000);
  CHECK(task.guard.metrics[1].weight == 1);
  CHECK(task.guard.metrics[2].kind == canary::MetricKind::success);
  CHECK(task.guard.metrics[2].error_ratio == 1.5);
  CHECK(task.guard.metrics[2].weight == 0);
}

TEST_CASE("toml: what a file leaves out has its default", "[adapters][toml]") {
  const Config config = parse_config("[task.t]\n", "canary.toml");
  Config expected;
  expected.tasks.emplace_back();
  expected.tasks[0].name = "t";
  CHECK(config == expected);
}

TEST_CASE("toml: static splits are read to the ppm", "[adapters][toml]") {
  const Config config = parse_config(
      "[store]\nurl = 'memory:'\n[task.t]\n"
      "[[task.t.version]]\nmodel = 'a'\npercent = 0.1\n[[task.t.version]]\nmodel = 'b'\npercent = 10\n"
      "[[task.t.version]]\nmodel = 'c'\npercent = 0.0001\n[[task.t.version]]\nmodel = 'd'\npercent = 89.8999\n",
      "canary.toml");
  REQUIRE(config.tasks.at(0).versions.size() == 4);
  CHECK(config.tasks[0].versions[0] == canary::StaticVersion{"a", 1'000});
  CHECK(config.tasks[0].versions[1] == canary::StaticVersion{"b", 100'000});
  CHECK(config.tasks[0].versions[2] == canary::StaticVersion{"c", 1});
  CHECK(config.tasks[0].versions[3] == canary::StaticVersion{"d", 898'999});
}

TEST_CASE("toml: 1,024 versions of one task are read, the 1,025th is refused", "[adapters][toml]") {
  std::string text = "[store]\nurl = 'memory:'\n";
  const auto version = [](int number) {
    return "[[task.t.version]]\nmodel = 'm" + std::to_string(number) + "'\npercent = 0.01\n";
  };
  for (int i = 0; i != 1'024; ++i) text += version(i);
  CHECK(parse_config(text, "f").tasks.at(0).versions.size() == 1'024);
  text += version(1'024);
  CHECK_THROWS_AS(parse_config(text, "f"), ConfigError);
}

TEST_CASE("toml: relative paths start from the file's folder", "[adapters][toml]") {
  const TemporaryFolder folder;
  folder.write("canary.toml",
               "[store]\nurl = 'sqlite:db/../canary.db'\nstate = 'state'\n[recorder]\nspool = 'spool'\n[task.t]\n");
  const Config config = canary::load_config(folder.path() / "canary.toml");
  CHECK(config.store.url == "sqlite:" + (folder.path() / "canary.db").string());
  CHECK(config.store.state == (folder.path() / "state").string());
  CHECK(config.recorder.spool == (folder.path() / "spool").string());

  folder.write("canary.toml",
               "[store]\nurl = 'sqlite:/data/canary.db'\nstate = ''\n[recorder]\nspool = ''\n[task.t]\n");
  const Config absolute = canary::load_config(canary::ConfigFile{folder.path() / "canary.toml"});
  CHECK(absolute.store.url == "sqlite:/data/canary.db");
  CHECK(absolute.store.state.empty());
  CHECK(absolute.recorder.spool.empty());

  folder.write("canary.toml", "[task.t]\n");  // the defaults, as if they stood there
  const Config defaults = canary::load_config(folder.path() / "canary.toml");
  CHECK(defaults.store.url == "sqlite:" + (folder.path() / "canary.db").string());
  CHECK(defaults.store.state == (folder.path() / "canary.state").string());
  CHECK(defaults.recorder.spool == (folder.path() / "canary.spool").string());
}

TEST_CASE("toml: task names with a dot are read when quoted", "[adapters][toml]") {
  const Config config =
      parse_config("[task.\"a.b\"]\ndefault_model = 'm'\n[task.\"a.b\".guard]\nalpha_advance = 0.1\n", "f");
  REQUIRE(config.tasks.size() == 1);
  CHECK(config.tasks[0].name == "a.b");
}

TEST_CASE("toml: a byte order mark and CRLF are no faults", "[adapters][toml]") {
  CHECK(parse_config("\xEF\xBB\xBF[task.t]\r\ndefault_model = 'm'\r\n", "f").tasks.at(0).default_model == "m");
}

TEST_CASE("toml: a hundred thousand tasks are read in seconds", "[adapters][toml]") {
  std::string text;
  for (int i = 0; i != 100'000; ++i) text += "[task.t" + std::to_string(i) + "]\ndefault_model = 'm'\n";
  CHECK(parse_config(text, "f").tasks.size() == 100'000);
}

}  // namespace toml_config_test
