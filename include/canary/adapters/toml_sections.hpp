// toml_sections.hpp: toml::table -> Config, one vocabulary of keys per section. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/toml_values.hpp"
#include "canary/control/config.hpp"
#include "canary/control/faults.hpp"

namespace canary::detail {

/// True if a URL's query has a parameter that by its name holds a secret.
[[nodiscard]] inline bool asks_for_secret(std::string_view url) {
  const std::size_t query = url.find('?');
  if (query == std::string_view::npos) return false;
  std::string names;
  bool in_name = true;
  for (const char c : url.substr(query + 1)) {
    if (c == '&' || c == ';' || c == '=') in_name = c != '=';
    if (in_name) names += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  for (const std::string_view secret : {"password", "passwd", "secret", "token", "key", "signature"})
    if (names.find(secret) != std::string::npos) return true;
  return false;
}

/// True for USER:PASSWORD@HOST.
[[nodiscard]] inline bool names_a_password(std::string_view authority) {
  const std::size_t at = authority.rfind('@');
  return at != std::string_view::npos && authority.substr(0, at).find(':') != std::string_view::npos;
}

/// toml::table -> Config: one table of keys per section.
class ConfigReader : TomlValues {
 public:
  ConfigReader(Faults& faults, const std::filesystem::path& folder) : TomlValues{faults, folder} {}

  [[nodiscard]] Config read(const toml::table& root);

 private:
  void store(const Node& node);
  void store_url(const Node& node, std::string& target);
  void recorder(const Node& node);
  void ring(const Node& node, std::uint32_t& target);
  void fine_tune(const Node& node);
  void prices(const Node& node, FineTuneConfig& to);
  void alerts(const Node& node);
  void webhook(const Node& node, std::string& target);
  void command(const Node& node, std::vector<std::string>& target);
  void degradation(const Node& node, DegradationConfig& to);
  void provider(std::string_view name, const toml::table& table);
  void base_url(const Node& node, std::string& target);
  void check_kind(const ProviderConfig& provider, const toml::table& table);
  void task(std::string_view name, const toml::key& key, const toml::table& table);
  void versions(const Node& node, TaskConfig& task);
  void check_versions(TaskConfig& task, const std::vector<const toml::table*>& tables);
  void guard(const Node& node, TaskConfig& task);
  void metric(const toml::table& table, GuardConfig& guard, const std::string& where);
  void check_margins(GuardConfig& guard, const std::vector<const toml::table*>& tables);
  void check_ranges(const MetricConfig& metric, const toml::table& table);
  void check_metrics(const GuardConfig& guard, const std::vector<const toml::table*>& tables);
  void check_provider();
  void check_splits();

  static constexpr std::size_t most_latency_metrics = 8;  // with five percentiles each: an epoch has 64 thresholds

  Config config_;
  const Node* provider_choice_ = nullptr;
  std::vector<const Node*> splits_;  // one [[task.X.version]] of each task that has any
};

inline Config ConfigReader::read(const toml::table& root) {
  // A key that is left out means what it would mean if its default stood there.
  config_.store.url = "sqlite:" + resolved("canary.db");
  config_.store.state = resolved(config_.store.state);
  config_.recorder.spool = resolved(config_.recorder.spool);
  const Node* tasks = root.get("task");
  section(root, "canary.toml",
          {{"store", [this](const Node& n) { store(n); }},
           {"recorder", [this](const Node& n) { recorder(n); }},
           {"alerts", [this](const Node& n) { alerts(n); }},
           {"fine_tune", [this](const Node& n) { fine_tune(n); }},
           {"provider",
            [this](const Node& n) {
              each_table(n, "provider", [this](std::string_view name, const toml::key&, const toml::table& table) {
                provider(name, table);
              });
            }},
           {"task", [this](const Node& n) {
              each_table(n, "task", [this](std::string_view name, const toml::key& key, const toml::table& table) {
                task(name, key, table);
              });
            }}});
  const bool without_task = tasks == nullptr || (tasks->is_table() && tasks->as_table()->empty());
  if (without_task && !broken_)
    faults_.add(0, 0, "no [task.NAME] table: nothing to route", "`canary init` writes an example");
  check_provider();
  check_splits();
  return std::move(config_);
}

// --- sections --------------------------------------------------------------------------------------------------------

inline void ConfigReader::store(const Node& node) {
  StoreConfig& to = config_.store;
  section(node, "store",
          {{"url", [&](const Node& n) { store_url(n, to.url); }},
           {"timeout_ms", [&](const Node& n) { count(n, 50, 600'000, "milliseconds", to.timeout_ms); }},
           {"state", [&](const Node& n) { path(n, "a file", to.state); }}});
}

inline void ConfigReader::store_url(const Node& node, std::string& target) {
  std::string url;
  if (!text(node, "a store URL", url)) return;
  constexpr std::string_view sqlite = "sqlite:";
  const bool postgres = url.starts_with("postgresql://") || url.starts_with("postgres://");
  const std::size_t host = url.find("://") + 3;
  const std::string_view authority =
      std::string_view{url}.substr(std::min(host, url.size()), url.find('/', host) - host);
  if (url.starts_with(sqlite) && url.size() > sqlite.size()) {
    target = "sqlite:" + resolved(std::string_view{url}.substr(sqlite.size()));
  } else if (postgres && (names_a_password(authority) || asks_for_secret(url))) {
    faults_.add(node.source(), "a password in the store's URL",
                "secrets are never in the file: use PGPASSWORD or ~/.pgpass");
  } else if (url == "memory:" || postgres) {
    target = url;
  } else {
    faults_.add(node.source(), "not a store URL",
                "expected \"sqlite:PATH\", \"postgresql://user@host/db\" or \"memory:\"");
  }
}

inline void ConfigReader::recorder(const Node& node) {
  RecorderConfig& to = config_.recorder;
  section(node, "recorder",
          {{"spool", [&](const Node& n) { path(n, "a directory", to.spool); }},
           {"payloads", [&](const Node& n) { flag(n, to.payloads); }},
           {"flush_ms", [&](const Node& n) { count(n, 1, 60'000, "milliseconds", to.flush_ms); }},
           {"keep_days", [&](const Node& n) { count(n, 0, 36'500, "days", to.keep_days); }},
           {"lane_mb", [&](const Node& n) { ring(n, to.lane_mb); }},
           {"payload_mb", [&](const Node& n) { ring(n, to.payload_mb); }},
           {"spool_mb", [&](const Node& n) { count(n, 1, 1 << 20, "megabytes", to.spool_mb); }}});
  const std::uint32_t thread_mb = to.lane_mb + (to.payloads ? to.payload_mb : 0);
  if (node.as_table() == nullptr || to.spool_mb >= thread_mb) return;
  const Node* wrong = nullptr;  // one of them stands there: the defaults fit
  for (const std::string_view key : {"spool_mb", "lane_mb", "payload_mb"})
    if (wrong == nullptr) wrong = node.as_table()->get(key);
  faults_.add(wrong->source(), "the rings of one thread take more than spool_mb: nothing would be recorded",
              "one thread's take " + std::to_string(thread_mb) + ", spool_mb is " + std::to_string(to.spool_mb));
}

/// A ring's size: positions wrap around by masking bits.
inline void ConfigReader::ring(const Node& node, std::uint32_t& target) {
  std::uint32_t megabytes = target;
  count(node, 1, 1'024, "megabytes", megabytes);
  if (std::has_single_bit(megabytes)) return void(target = megabytes);
  const std::uint32_t below = std::bit_floor(megabytes);
  faults_.add(node.source(), "not a power of two",
              "expected " + std::to_string(below) + " or " + std::to_string(2 * below));
}

}  // namespace canary::detail

#include "canary/adapters/toml_alerts.hpp"
#include "canary/adapters/toml_fine_tune.hpp"
#include "canary/adapters/toml_tasks.hpp"
