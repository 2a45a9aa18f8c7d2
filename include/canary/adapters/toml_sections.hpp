// toml_sections.hpp: toml::table -> Config, one vocabulary of keys per section. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/toml_reader.hpp"
#include "canary/control/faults.hpp"
#include "canary/control/percent.hpp"
#include "canary/core/task_state.hpp"

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
class ConfigReader {
 public:
  ConfigReader(Faults& faults, const std::filesystem::path& folder)
      : faults_{faults}, folder_{folder}, broken_{!faults.empty()} {}

  [[nodiscard]] Config read(const toml::table& root);

 private:
  using Node = toml::node;
  struct Key {
    std::string_view name;
    std::function<void(const Node&)> read;
  };

  void section(const Node& node, const std::string& where, std::initializer_list<Key> keys);
  void each_table(const Node& node, const std::string& where,
                  const std::function<void(std::string_view, const toml::key&, const toml::table&)>& visit);
  void each_in_array(const Node& node, const std::string& where, const std::function<void(const toml::table&)>& visit);

  void store(const Node& node);
  void store_url(const Node& node, std::string& target);
  void recorder(const Node& node);
  void fine_tune(const Node& node);
  void provider(std::string_view name, const toml::table& table);
  void task(std::string_view name, const toml::key& key, const toml::table& table);
  void versions(const Node& node, TaskConfig& task);
  void check_versions(TaskConfig& task, const std::vector<const toml::table*>& tables);
  void guard(const Node& node, TaskConfig& task);
  void metric(const toml::table& table, GuardConfig& guard, const std::string& where);
  void check_margins(GuardConfig& guard, const std::vector<const toml::table*>& tables);
  void check_provider();
  void check_splits();

  [[nodiscard]] bool text(const Node& node, std::string_view what, std::string& target);
  void path(const Node& node, std::string_view what, std::string& target);
  void variable(const Node& node, std::string& target);
  void flag(const Node& node, bool& target);
  void count(const Node& node, std::uint32_t least, std::uint32_t most, std::string_view unit, std::uint32_t& target);
  [[nodiscard]] bool number(const Node& node, double least, double most, double& target);
  void open_odds(const Node& node, double& target);
  [[nodiscard]] bool share(const Node& node, std::uint32_t& target);
  template <class Enum>
  void choice(const Node& node, std::initializer_list<std::pair<std::string_view, Enum>> words, Enum& target);
  [[nodiscard]] std::string resolved(std::string_view path) const;
  void wrong_type(const Node& node, std::string_view expected);

  Faults& faults_;
  const std::filesystem::path& folder_;
  bool broken_;  // parts are blanked out: what is missing may be among them, so nothing is called missing
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

/// Hands each key of a table to its reader. `keys` is the section's whole vocabulary.
inline void ConfigReader::section(const Node& node, const std::string& where, std::initializer_list<Key> keys) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return wrong_type(node, "a table [" + where + "]");
  for (const auto& [key, value] : *table) {
    const std::string_view name = key.str();
    const auto known = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.name == name; });
    if (known != keys.end()) {
      known->read(value);
      continue;
    }
    if (broken_ && name.starts_with(TomlReader::unreadable)) continue;
    if (where.starts_with("task.") && value.is_table() && where.find('.', 5) == std::string::npos) {
      const std::string whole = where.substr(5) + '.' + shown(name, 64);
      faults_.add(key.source(), "unknown table " + in_quotes(name) + " in " + where,
                  "a name with a dot is quoted: [task.\"" + whole + "\"]");
      continue;
    }
    std::vector<std::string_view> valid;
    for (const Key& k : keys) valid.push_back(k.name);
    faults_.add(key.source(), "unknown key " + in_quotes(name) + " in " + where, suggestion(name, valid, "valid keys"));
  }
}

inline void ConfigReader::each_table(
    const Node& node, const std::string& where,
    const std::function<void(std::string_view, const toml::key&, const toml::table&)>& visit) {
  const toml::table* tables = node.as_table();
  if (tables == nullptr) return wrong_type(node, "tables [" + where + ".NAME]");
  std::vector<std::pair<const toml::key*, const toml::table*>> in_file_order;
  for (const auto& [key, value] : *tables) {
    if (broken_ && key.str().starts_with(TomlReader::unreadable)) continue;
    if (const toml::table* table = value.as_table())
      in_file_order.emplace_back(&key, table);
    else
      faults_.add(key.source(), in_quotes(key.str()) + " is not a table", "write [" + where + ".NAME]");
  }
  const auto place = [](const auto& entry) {
    return std::pair{entry.first->source().begin.line, entry.first->source().begin.column};
  };
  std::sort(in_file_order.begin(), in_file_order.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  for (const auto& [key, table] : in_file_order) visit(key->str(), *key, *table);
}

inline void ConfigReader::each_in_array(const Node& node, const std::string& where,
                                        const std::function<void(const toml::table&)>& visit) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return wrong_type(node, "an array of tables [[" + where + "]]");
  for (const Node& element : *array) {
    if (const toml::table* table = element.as_table())
      visit(*table);
    else
      wrong_type(element, "a table [[" + where + "]]");
  }
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
           {"flush_ms", [&](const Node& n) { count(n, 1, 60'000, "milliseconds", to.flush_ms); }}});
}

inline void ConfigReader::fine_tune(const Node& node) {
  FineTuneConfig& to = config_.fine_tune;
  section(node, "fine_tune",
          {{"provider",
            [&](const Node& n) {
              if (text(n, "a provider's name", to.provider)) provider_choice_ = &n;
            }},
           {"base_model", [&](const Node& n) { (void)text(n, "a model's name", to.base_model); }},
           {"prompt_version", [&](const Node& n) { (void)text(n, "a name", to.prompt_version); }},
           {"cost_max_usd", [&](const Node& n) { (void)number(n, 0, 1e9, to.cost_max_usd); }}});
}

inline void ConfigReader::provider(std::string_view name, const toml::table& table) {
  ProviderConfig to;
  to.name = name;
  section(table, "provider." + shown(name, 128),
          {{"kind",
            [&](const Node& n) {
              choice(n,
                     {{"openai", ProviderKind::openai},
                      {"azure", ProviderKind::azure},
                      {"together", ProviderKind::together},
                      {"command", ProviderKind::command}},
                     to.kind);
            }},
           {"base_url",
            [&](const Node& n) {
              std::string url;
              if (!text(n, "a URL", url)) return;
              const bool http = url.starts_with("https://") || url.starts_with("http://");
              const std::size_t host = url.find("://") + 3;
              if (!http) return faults_.add(n.source(), "not a URL", "expected https://HOST/PATH");
              if (url.find('@') < url.find('/', host) || asks_for_secret(url))
                return faults_.add(n.source(), "a user, password or key in the URL",
                                   "secrets are never in the file: use api_key_env");
              to.base_url = std::move(url);
            }},
           {"api_key_env", [&](const Node& n) { variable(n, to.api_key_env); }}});
  config_.providers.push_back(std::move(to));
}

inline void ConfigReader::check_provider() {
  if (provider_choice_ == nullptr || broken_) return;
  std::vector<std::string_view> names;
  names.reserve(config_.providers.size());
  for (const ProviderConfig& p : config_.providers) names.push_back(p.name);
  const std::string& chosen = config_.fine_tune.provider;
  if (names.empty() && chosen == "openai") return;  // its kind's own address and settings
  if (std::find(names.begin(), names.end(), chosen) == names.end())
    faults_.add(provider_choice_->source(), "no such provider",
                names.empty() ? "add a [provider.NAME] table" : suggestion(chosen, names, "providers"));
}

inline void ConfigReader::task(std::string_view name, const toml::key& key, const toml::table& table) {
  TaskConfig to;
  to.name = name;
  if (!is_task_name(name))
    faults_.add(key.source(), "task name " + in_quotes(name), "a task name is 1 to 128 of A-Z a-z 0-9 _ . -");
  const std::string where = "task." + shown(name, 128);
  section(table, where,
          {{"default_model", [&](const Node& n) { (void)text(n, "a model's name", to.default_model); }},
           {"force_env", [&](const Node& n) { variable(n, to.force_env); }},
           {"salt", [&](const Node& n) { (void)text(n, "a salt", to.salt); }},
           {"version", [&](const Node& n) { versions(n, to); }},
           {"guard", [&](const Node& n) { guard(n, to); }}});
  config_.tasks.push_back(std::move(to));
}

inline void ConfigReader::versions(const Node& node, TaskConfig& task) {
  const std::string where = "task." + shown(task.name, 128) + ".version";
  std::vector<const toml::table*> tables;
  each_in_array(node, where, [&](const toml::table& table) {
    StaticVersion to;
    section(table, where,
            {{"model", [&](const Node& n) { (void)text(n, "a model's name", to.model); }},
             {"percent", [&](const Node& n) { (void)share(n, to.weight_ppm); }}});
    for (const std::string_view key : {"model", "percent"})
      if (!table.contains(key) && !broken_)
        faults_.add(table.source(), "missing " + in_quotes(key) + " in " + where,
                    key == "model" ? "name the model that this version serves" : "give its share, e.g. percent = 10");
    task.versions.push_back(std::move(to));
    tables.push_back(&table);
  });
  check_versions(task, tables);
  splits_.push_back(tables.empty() ? &node : tables.front());
}

/// With a database the shares live there, and a second place for them would have to lose.
inline void ConfigReader::check_splits() {
  if (config_.store.in_memory() || broken_) return;
  for (const Node* split : splits_)
    faults_.add(split->source(), "a split in the file, but the store is a database",
                "register versions with `canary model register TASK MODEL`, or set store.url = \"memory:\"");
}

inline void ConfigReader::check_versions(TaskConfig& task, const std::vector<const toml::table*>& tables) {
  std::set<std::string_view> models;
  std::uint64_t sum_ppm = 0;
  for (std::size_t i = 0; i != tables.size(); ++i) {
    const StaticVersion& version = task.versions[i];
    const Node* model = tables[i]->get("model");
    const Node* percent = tables[i]->get("percent");
    if (!version.model.empty() && !models.insert(version.model).second)
      faults_.add(model->source(), "duplicate version: " + in_quotes(version.model) + " stands above already",
                  "a task names each model once");
    const bool was_within = sum_ppm <= total_ppm;
    sum_ppm += version.weight_ppm;
    if (was_within && sum_ppm > total_ppm && percent != nullptr)
      faults_.add(percent->source(), "the shares of " + shown(task.name, 128) + " add up to more than 100 %",
                  "at most " + percent_text(total_ppm - static_cast<std::uint32_t>(sum_ppm - version.weight_ppm)) +
                      " is left here");
    if (i == max_shares) faults_.add(tables[i]->source(), "more than 1024 versions in one task");
  }
}

inline void ConfigReader::guard(const Node& node, TaskConfig& task) {
  GuardConfig& to = task.guard;
  const std::string where = "task." + shown(task.name, 128) + ".guard";
  std::vector<const toml::table*> tables;
  section(node, where,
          {{"alpha_rollback", [&](const Node& n) { open_odds(n, to.alpha_rollback); }},
           {"alpha_advance", [&](const Node& n) { open_odds(n, to.alpha_advance); }},
           {"steps_percent",
            [&](const Node& n) {
              const toml::array* steps = n.as_array();
              if (steps == nullptr || steps->empty()) return wrong_type(n, "rising percentages, e.g. [1, 10, 50, 100]");
              to.steps_ppm.clear();
              for (const Node& step : *steps) {
                std::uint32_t ppm = 0;
                if (!share(step, ppm)) continue;
                if (ppm <= (to.steps_ppm.empty() ? 0 : to.steps_ppm.back()))
                  faults_.add(step.source(), "a step that does not rise", "expected rising percentages above 0");
                to.steps_ppm.push_back(ppm);
              }
            }},
           {"outcome_timeout_s", [&](const Node& n) { count(n, 1, 30 * 86'400, "seconds", to.outcome_timeout_s); }},
           {"metric", [&](const Node& n) {
              each_in_array(n, where + ".metric", [&](const toml::table& table) {
                metric(table, to, where + ".metric");
                tables.push_back(&table);
              });
            }}});
  check_margins(to, tables);
}

inline void ConfigReader::metric(const toml::table& table, GuardConfig& guard, const std::string& where) {
  MetricConfig to;
  section(table, where,
          {{"name", [&](const Node& n) { (void)text(n, "a metric's name", to.name); }},
           {"kind",
            [&](const Node& n) {
              choice(n,
                     {{"success", MetricKind::success},
                      {"score", MetricKind::score},
                      {"latency", MetricKind::latency},
                      {"cost", MetricKind::cost}},
                     to.kind);
            }},
           {"margin", [&](const Node& n) { (void)number(n, 0, 1e9, to.margin); }},
           {"advance_margin",
            [&](const Node& n) {
              to.advance_margin.clear();
              const toml::array* list = n.as_array();
              const auto add = [&](const Node& value) {
                double margin = 0;
                if (number(value, 0, 1e9, margin)) to.advance_margin.push_back(margin);
              };
              if (list == nullptr) return add(n);
              for (const Node& value : *list) add(value);
            }},
           {"unit", [&](const Node& n) {
              choice(n, {{"key", MetricUnit::key}, {"request", MetricUnit::request}}, to.unit);
            }}});
  if (!table.contains("name") && !broken_)
    faults_.add(table.source(), "missing \"name\" in " + where, "name the metric");
  guard.metrics.push_back(std::move(to));
}

/// advance_margin speaks of the steps that can be left; 100 % is the last one and is not.
inline void ConfigReader::check_margins(GuardConfig& guard, const std::vector<const toml::table*>& tables) {
  const auto below_all = [](std::uint32_t ppm) { return ppm < total_ppm; };
  const auto steps = static_cast<std::size_t>(std::count_if(guard.steps_ppm.begin(), guard.steps_ppm.end(), below_all));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i != tables.size(); ++i) {
    const MetricConfig& metric = guard.metrics[i];
    const Node* margin = tables[i]->get("advance_margin");
    if (metric.advance_margin.size() != 1 && metric.advance_margin.size() != steps)
      faults_.add(margin != nullptr ? margin->source() : tables[i]->source(),
                  (margin != nullptr ? "advance_margin has " : "no advance_margin, and the default one has ") +
                      std::to_string(metric.advance_margin.size()) + " numbers for " + std::to_string(steps) +
                      (steps == 1 ? " step" : " steps") + " below 100 %",
                  "give one number for each such step, or one for all");
    if (!metric.name.empty() && !names.insert(metric.name).second)
      faults_.add(tables[i]->source(), "duplicate metric " + in_quotes(metric.name), "name each metric once");
  }
}

// --- values ----------------------------------------------------------------------------------------------------------

inline void ConfigReader::wrong_type(const Node& node, std::string_view expected) {
  std::string_view found = "something else";
  switch (node.type()) {
    case toml::node_type::table:
      found = "a table";
      break;
    case toml::node_type::array:
      found = node.as_array()->empty() ? "an empty array" : "an array";
      break;
    case toml::node_type::string:
      found = "a string";
      break;
    case toml::node_type::integer:
      found = "an integer";
      break;
    case toml::node_type::floating_point:
      found = "a number";
      break;
    case toml::node_type::boolean:
      found = "a boolean";
      break;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      found = "a date or time";
      break;
    default:
      break;
  }
  faults_.add(node.source(), "expected " + std::string{expected} + ", found " + std::string{found});
}

/// A text of 1 to 65,535 bytes, the most that a decision can carry.
inline bool ConfigReader::text(const Node& node, std::string_view what, std::string& target) {
  constexpr std::size_t most = 65'535;
  const auto* value = node.as_string();
  if (value == nullptr) return wrong_type(node, "a string, " + std::string{what}), false;
  const std::string& got = value->get();
  if (got.empty() || got.size() > most)
    return faults_.add(node.source(), got.empty() ? "an empty string" : "a string of more than 65535 bytes",
                       "expected " + std::string{what}),
           false;
  if (got.find('\0') != std::string::npos) return faults_.add(node.source(), "a string with a NUL character"), false;
  target = got;
  return true;
}

/// A path, from the file's folder; empty switches off what it is for.
inline void ConfigReader::path(const Node& node, std::string_view what, std::string& target) {
  std::string path;
  if (const auto* value = node.as_string(); value != nullptr && value->get().empty())
    target.clear();
  else if (text(node, what, path))
    target = resolved(path);
}

/// The name of an environment variable. Anything else is refused unseen: it may be the secret itself.
inline void ConfigReader::variable(const Node& node, std::string& target) {
  std::string name;
  if (!text(node, "an environment variable's name", name)) return;
  const auto legal = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.size() > 128 || (name[0] >= '0' && name[0] <= '9') || !std::all_of(name.begin(), name.end(), legal))
    return faults_.add(node.source(), "not the name of an environment variable",
                       "expected letters, digits and _; the value itself never stands in the file");
  target = std::move(name);
}

inline void ConfigReader::flag(const Node& node, bool& target) {
  if (const auto* value = node.as_boolean())
    target = value->get();
  else
    wrong_type(node, "true or false");
}

inline void ConfigReader::count(const Node& node, std::uint32_t least, std::uint32_t most, std::string_view unit,
                                std::uint32_t& target) {
  const auto* value = node.as_integer();
  const std::string expected = "a whole number of " + std::string{unit};
  if (value == nullptr) return wrong_type(node, expected);
  if (value->get() < least || value->get() > most)
    return faults_.add(node.source(), "out of range",
                       "expected " + expected + " from " + std::to_string(least) + " to " + std::to_string(most));
  target = static_cast<std::uint32_t>(value->get());
}

inline bool ConfigReader::number(const Node& node, double least, double most, double& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number"), false;
  if (!(*value >= least && *value <= most)) {  // NaN too
    faults_.add(node.source(), "out of range",
                "expected a number from " + std::to_string(static_cast<long long>(least)) + " to " +
                    std::to_string(static_cast<long long>(most)));
    return false;
  }
  target = *value;
  return true;
}

inline void ConfigReader::open_odds(const Node& node, double& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number");
  if (!(*value > 0 && *value <= 0.5))  // NaN fails both
    return faults_.add(node.source(), "out of range", "expected a probability above 0, up to 0.5");
  target = *value;
}

/// Percent as an integer or a decimal, exactly.
inline bool ConfigReader::share(const Node& node, std::uint32_t& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number of percent, e.g. 10 or 0.5"), false;
  const auto refuse = [&](std::string_view why, std::string_view hint) {
    faults_.add(node.source(), std::string{why}, std::string{hint});
    return false;
  };
  if (*value != *value) return refuse("not a number", "expected a percentage from 0 to 100");
  if (*value < 0) return refuse("a negative share", "expected a percentage from 0 to 100");
  if (*value > 100) return refuse("a share over 100 %", "expected a percentage from 0 to 100");
  const std::optional<std::uint32_t> ppm = ppm_of_percent(*value);
  if (!ppm) return refuse("a share finer than 0.0001 %", "shares are counted in parts per million");
  target = *ppm;
  return true;
}

template <class Enum>
void ConfigReader::choice(const Node& node, std::initializer_list<std::pair<std::string_view, Enum>> words,
                          Enum& target) {
  std::vector<std::string_view> valid;
  for (const auto& word : words) valid.push_back(word.first);
  const auto* value = node.as_string();
  if (value == nullptr) return wrong_type(node, "one of " + listed(valid));
  for (const auto& [word, meaning] : words)
    if (value->get() == word) return void(target = meaning);
  faults_.add(node.source(), "not one of " + listed(valid), suggestion(value->get(), valid, "expected one of"));
}

inline std::string ConfigReader::resolved(std::string_view path) const {
  const std::filesystem::path got{path};
  return (folder_.empty() || got.is_absolute() ? got : folder_ / got).lexically_normal().string();
}

}  // namespace canary::detail
