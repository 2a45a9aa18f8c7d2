// config.hpp: what a configuration file means, as plain structs. Layer control.
// No parser here: adapters/toml_config.hpp fills these from canary.toml, and a program may as well fill them by hand.
// Each default is the one that a file gets by leaving the key out. Shares are integers in ppm, so that two machines can
// never round them differently; paths are as they stand here, the TOML adapter has resolved them against its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/core/types.hpp"

namespace canary {

/// Where versions and their shares live.
struct StoreConfig {
  std::string url = "sqlite:canary.db";  ///< sqlite:PATH, postgresql://..., or memory:, where the file holds the shares
  std::uint32_t timeout_ms = 5'000;      ///< longest wait for the database
  std::string state =
      "canary.state";  ///< file with a node's last good state, for a start without the database; empty: none
  /// True if the split stands in the configuration itself.
  [[nodiscard]] bool in_memory() const noexcept { return url == "memory:"; }
  friend bool operator==(const StoreConfig&, const StoreConfig&) = default;
};

/// How decisions and outcomes are recorded.
struct RecorderConfig {
  std::string spool = "canary.spool";  ///< directory; empty keeps the rings in memory only
  bool payloads = false;               ///< keep request and response text for training export
  std::uint32_t flush_ms = 100;        ///< longest time between two batches into the store
  std::uint32_t keep_days = 90;        ///< older interactions are taken out of the store; 0: none are
  std::uint32_t lane_mb = 4;           ///< ring of one thread: 16,384 entries a megabyte; a power of two
  std::uint32_t payload_mb = 4;        ///< ring of one thread for texts, where payloads are on; a power of two
  std::uint32_t spool_mb = 256;        ///< all rings together: what a store may miss while it is down
  friend bool operator==(const RecorderConfig&, const RecorderConfig&) = default;
};

/// What a provider takes for training a model.
struct ModelPrice {
  std::string model;
  double usd_per_million_tokens = 0;
  friend bool operator==(const ModelPrice&, const ModelPrice&) = default;
};

/// What fine-tune jobs start with; see apply_environment().
struct FineTuneConfig {
  std::string provider = "openai";  ///< name of a [provider.NAME] table
  std::string base_model;           ///< no model name is built in
  std::string prompt_version;
  double cost_max_usd = 50.0;           ///< a job that is estimated to cost more is not started
  std::vector<ModelPrice> prices = {};  ///< in the order of the file; no price is built in

  /// The price of a model; null where there is none.
  [[nodiscard]] const ModelPrice* find_price(std::string_view model) const noexcept {
    for (const ModelPrice& price : prices)
      if (price.model == model) return &price;
    return nullptr;
  }
  friend bool operator==(const FineTuneConfig&, const FineTuneConfig&) = default;
};

enum class ProviderKind : std::uint8_t { openai, azure, together, command };

/// A place that fine-tunes. Holds the name of the variable with the secret, never the secret.
struct ProviderConfig {
  std::string name;
  ProviderKind kind = ProviderKind::openai;
  std::string base_url;                   ///< empty: the kind's own
  std::string api_key_env;                ///< empty: no key is sent
  std::uint32_t settle_ms = 60'000;       ///< longest that a job whose creation went unanswered may take to show there
  std::vector<std::string> command = {};  ///< kind command: a program and its arguments, without a shell
  std::string folder = {};                ///< kind command: where its jobs keep their files
  friend bool operator==(const ProviderConfig&, const ProviderConfig&) = default;
};

enum class MetricKind : std::uint8_t { success, score, latency, cost };

/// What a metric counts once.
enum class MetricUnit : std::uint8_t {
  key,      ///< a key's first outcome
  request,  ///< every outcome, where users do not differ
};

/// One thing that the guard watches. What a margin is measured in follows the kind:
///
///   kind      margin                                               advance_margin
///   success   share of the requests that may fail beside           the same
///   score     points of a score in [0, 1]                          the same
///   latency   ratio: 0.1 lets every percentile be 10 % slower      share of the requests that may be slower than that
///   cost      ratio of the mean cost: 0.1 lets it be 10 % dearer   the same
///
/// Shares and points are from 0 to below 1, ratios from 0 to 10.
struct MetricConfig {
  std::string name;
  MetricKind kind = MetricKind::success;
  double margin = 0.005;                                             ///< tolerated harm before rollback
  std::vector<double> advance_margin{0.10, 0.06, 0.04, 0.03, 0.02};  ///< one per step below 100 %, or one for all
  MetricUnit unit = MetricUnit::key;
  double weight = 1;         ///< in the sum that rolls back, relative to the other metrics
  std::uint32_t slo_us = 0;  ///< latency: watch this threshold alone; 0: the baseline's frozen percentiles
  double error_ratio = 0;    ///< success: failures may be so many times as frequent, instead of `margin`; 0: off
  friend bool operator==(const MetricConfig&, const MetricConfig&) = default;
};

inline constexpr double most_margin_ratio = 10;  ///< eleven times as slow, or as dear, is no tolerance any more

/// What a margin is measured in: a ratio, else a share or points, which end below 1.
[[nodiscard]] constexpr bool is_margin_ratio(MetricKind kind) noexcept {
  return kind == MetricKind::latency || kind == MetricKind::cost;
}
[[nodiscard]] constexpr bool is_advance_margin_ratio(MetricKind kind) noexcept { return kind == MetricKind::cost; }

/// False for what is out of its range, and for NaN.
[[nodiscard]] constexpr bool is_margin(double value, bool ratio) noexcept {
  return value >= 0 && (ratio ? value <= most_margin_ratio : value < 1);
}

/// The range in words.
[[nodiscard]] constexpr std::string_view margin_range(bool ratio) noexcept {
  return ratio ? "a ratio from 0 to 10: 0.1 for 10 %" : "a share, or points, from 0 to below 1: 0.02 for 2 %";
}

/// What becomes of a candidate whose records fall short of its share, so that nothing can be compared.
enum class OnMissing : std::uint8_t { hold, rollback };

/// When a new version of a task advances and when it is taken back.
struct GuardConfig {
  double alpha_rollback = 0.01;  ///< odds of taking back a version that does no harm
  double alpha_advance = 0.05;   ///< odds of advancing one that does
  std::vector<std::uint32_t> steps_ppm{10'000, 50'000, 100'000, 250'000, 500'000, 1'000'000};  ///< rising shares
  std::uint32_t outcome_timeout_s = 600;  ///< an assigned request without an outcome by then counts as a failure
  std::vector<MetricConfig> metrics;      ///< empty: no metric is watched
  std::uint64_t units_min = 100;          ///< of the candidate, with an outcome, before any advance
  std::uint32_t step_min_s = 0;           ///< least stay on a step before an advance
  OnMissing on_missing = OnMissing::hold;
  friend bool operator==(const GuardConfig&, const GuardConfig&) = default;
};

/// One version whose share stands in the file (memory: only). Its id is TASK@N, N its place in the file.
struct StaticVersion {
  std::string model;
  std::uint32_t weight_ppm = 0;
  friend bool operator==(const StaticVersion&, const StaticVersion&) = default;
};

/// A kind of request.
struct TaskConfig {
  std::string name;           ///< [A-Za-z0-9_.-]{1,128}
  std::string default_model;  ///< serves whatever share no version holds
  std::string force_env;      ///< environment variable that overrides the split while it is set and not empty
  std::string salt;           ///< empty: the name. A change moves every key, so a running router refuses it
  std::uint32_t sample_ppm = total_ppm;  ///< share of the interactions whose rows are kept; counts count all of them
  std::vector<StaticVersion> versions;
  GuardConfig guard;
  friend bool operator==(const TaskConfig&, const TaskConfig&) = default;
};

/// When a version in use is worse than its own past; see degradation.hpp.
struct DegradationConfig {
  double success_margin = 0.02;          ///< share of the requests that may fail beside the past's
  double score_margin = 0.02;            ///< points of a score in [0, 1]
  double latency_margin = 0.25;          ///< ratio: 0.25 lets the 95th percentile be 25 % slower
  std::uint32_t false_alarm_days = 365;  ///< mean time between two false alarms of a version's metric; 0: not watched
  friend bool operator==(const DegradationConfig&, const DegradationConfig&) = default;
};

/// Who is told what the guard did, and what is wrong.
struct AlertsConfig {
  std::string webhook;  ///< https://..., or http:// on this machine alone; empty: none
  std::string webhook_secret_env = "CANARY_WEBHOOK_SECRET";  ///< variable with the key that signs; never the key itself
  std::vector<std::string> command;  ///< a program and its arguments, without a shell; empty: none
  bool log = true;                   ///< a line on stderr
  std::uint32_t repeat_s = 3'600;    ///< what was just said is not said again for so long
  std::uint32_t shutdown_days = 30;  ///< a model's shutdown is told so long before, and 7 days and 1 day before
  DegradationConfig degradation;
  friend bool operator==(const AlertsConfig&, const AlertsConfig&) = default;
};

/// All of canary.toml.
struct Config {
  StoreConfig store;
  RecorderConfig recorder;
  AlertsConfig alerts;
  FineTuneConfig fine_tune;
  std::vector<ProviderConfig> providers;  ///< in the order of the file
  std::vector<TaskConfig> tasks;          ///< in the order of the file

  [[nodiscard]] const ProviderConfig* find_provider(std::string_view name) const noexcept {
    for (const ProviderConfig& provider : providers)
      if (provider.name == name) return &provider;
    return nullptr;
  }
  [[nodiscard]] const TaskConfig* find_task(std::string_view name) const noexcept {
    for (const TaskConfig& task : tasks)
      if (task.name == name) return &task;
    return nullptr;
  }
  friend bool operator==(const Config&, const Config&) = default;
};

/// A configuration file by its path; what load_config() takes.
struct ConfigFile {
  std::filesystem::path path;
};

/// One thing that is wrong with a configuration file.
struct ConfigFault {
  std::string file;
  std::size_t line = 0;    ///< from 1; 0: the file as a whole
  std::size_t column = 0;  ///< from 1, in characters
  std::string message;
  std::string hint = {};  ///< what to do; may be empty

  /// `file:line:column: error: message; hint`
  [[nodiscard]] std::string text() const {
    std::string out = file;
    if (line != 0) out += ':' + std::to_string(line) + ':' + std::to_string(column);
    out += ": error: " + message;
    if (!hint.empty()) out += "; " + hint;
    return out;
  }
};

/// Every fault of a configuration file, in the order of the file; what() is one line for each.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(std::vector<ConfigFault> faults)
      : std::runtime_error{lines(faults)}, faults_{std::move(faults)} {}
  [[nodiscard]] const std::vector<ConfigFault>& faults() const noexcept { return faults_; }

 private:
  static std::string lines(const std::vector<ConfigFault>& faults) {
    std::string out;
    for (const ConfigFault& fault : faults) (out += out.empty() ? "" : "\n") += fault.text();
    return out;
  }

  std::vector<ConfigFault> faults_;
};

/// Lets AI_FT_PROVIDER, AI_FT_BASE_MODEL and AI_FT_PROMPT_VERSION override [fine_tune]; an empty value is unset.
/// Input   a look-up like std::getenv: const char* by const char*, null when unset.
template <class Lookup>
void apply_environment(Config& config, Lookup&& lookup) {
  const auto override_with = [&](const char* name, std::string& target) {
    const char* value = lookup(name);
    if (value != nullptr && *value != '\0') target = value;
  };
  override_with("AI_FT_PROVIDER", config.fine_tune.provider);
  override_with("AI_FT_BASE_MODEL", config.fine_tune.base_model);
  override_with("AI_FT_PROMPT_VERSION", config.fine_tune.prompt_version);
}

}  // namespace canary
