// toml_fine_tune.hpp: [fine_tune] and [provider.NAME] -> Config. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/toml_sections.hpp"
#include "canary/control/webhook_url.hpp"

namespace canary::detail {

inline void ConfigReader::fine_tune(const Node& node) {
  FineTuneConfig& to = config_.fine_tune;
  section(node, "fine_tune",
          {{"provider",
            [&](const Node& n) {
              if (text(n, "a provider's name", to.provider)) provider_choice_ = &n;
            }},
           {"base_model", [&](const Node& n) { (void)text(n, "a model's name", to.base_model); }},
           {"prompt_version", [&](const Node& n) { (void)text(n, "a name", to.prompt_version); }},
           {"cost_max_usd", [&](const Node& n) { (void)number(n, 0, 1e9, to.cost_max_usd); }},
           {"price_per_million_usd", [&](const Node& n) { prices(n, to); }}});
}

/// Its keys are models' names, whatever they are.
inline void ConfigReader::prices(const Node& node, FineTuneConfig& to) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return wrong_type(node, "a table, e.g. { \"gpt-4o-mini\" = 3.0 }");
  for (const auto& [model, value] : *table) {
    if (broken_ && model.str().starts_with(TomlReader::unreadable)) continue;
    ModelPrice price{std::string{model.str()}, 0};
    if (number(value, 0, 1e9, price.usd_per_million_tokens)) to.prices.push_back(std::move(price));
  }
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
           {"base_url", [&](const Node& n) { base_url(n, to.base_url); }},
           {"api_key_env", [&](const Node& n) { variable(n, to.api_key_env); }},
           {"settle_ms", [&](const Node& n) { count(n, 0, 3'600'000, "milliseconds", to.settle_ms); }},
           {"command", [&](const Node& n) { command(n, to.command); }},
           {"folder", [&](const Node& n) { path(n, "a directory", to.folder); }}});
  if (to.kind == ProviderKind::command && to.folder.empty()) to.folder = resolved("canary.jobs");
  check_kind(to, table);
  config_.providers.push_back(std::move(to));
}

inline void ConfigReader::base_url(const Node& node, std::string& target) {
  std::string url;
  if (!text(node, "a URL", url)) return;
  const bool http = url.starts_with("https://") || url.starts_with("http://");
  const std::size_t host = url.find("://") + 3;
  if (!http) return faults_.add(node.source(), "not a URL", "expected https://HOST/PATH");
  if (url.find('@') < url.find('/', host) || asks_for_secret(url))
    return faults_.add(node.source(), "a user, password or key in the URL",
                       "secrets are never in the file: use api_key_env");
  const UrlParts parts = url_parts(url);
  if (parts.scheme == "http" && !is_loopback(parts.host))
    return faults_.add(node.source(), "http:// to another machine: the key would go there for everyone to read",
                       "expected https://, or http:// to this machine alone");
  target = std::move(url);
}

/// What a kind cannot do without, and what it has no use for.
inline void ConfigReader::check_kind(const ProviderConfig& provider, const toml::table& table) {
  if (broken_) return;
  const auto need = [&](bool given, const char* what, const char* hint) {
    if (given) return;
    const Node* kind = table.get("kind");
    faults_.add(kind == nullptr ? table.source() : kind->source(), what, hint);
  };
  if (provider.kind == ProviderKind::azure)
    need(table.get("base_url") != nullptr, "an Azure provider without its endpoint",
         "add base_url = \"https://NAME.openai.azure.com\"");
  if (provider.kind == ProviderKind::command)
    need(table.get("command") != nullptr, "a command provider without a command",
         "add command = [\"./train\", \"{training_file}\"]");
  if (const toml::array* command = table["command"].as_array(); command != nullptr && command->empty())
    faults_.add(command->source(), "a command of nothing", "expected [\"./train\", \"{training_file}\"]");
  const bool local = provider.kind == ProviderKind::command;
  for (const std::string_view key : {"base_url", "api_key_env", "settle_ms", "command", "folder"}) {
    const Node* node = table.get(key);
    if (node == nullptr || local == (key == "command" || key == "folder")) continue;
    faults_.add(
        node->source(),
        "kind \"" + std::string{local ? "command" : "openai, azure or together"} + "\" has no " + std::string{key},
        local ? "leave it out" : "it belongs to kind = \"command\"");
  }
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

}  // namespace canary::detail
