// toml_alerts.hpp: [alerts] -> AlertsConfig. Layer adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <cstddef>
#include <string>
#include <utility>

#include "canary/adapters/toml_sections.hpp"
#include "canary/control/webhook_url.hpp"

namespace canary::detail {

inline void ConfigReader::alerts(const Node& node) {
  AlertsConfig& to = config_.alerts;
  section(node, "alerts",
          {{"webhook", [&](const Node& n) { webhook(n, to.webhook); }},
           {"webhook_secret_env", [&](const Node& n) { variable(n, to.webhook_secret_env); }},
           {"command", [&](const Node& n) { command(n, to.command); }},
           {"log", [&](const Node& n) { flag(n, to.log); }},
           {"repeat_s", [&](const Node& n) { count(n, 0, 30 * 86'400, "seconds", to.repeat_s); }},
           {"shutdown_days", [&](const Node& n) { count(n, 0, 3'650, "days", to.shutdown_days); }},
           {"degradation", [&](const Node& n) { degradation(n, to.degradation); }}});
}

inline void ConfigReader::webhook(const Node& node, std::string& target) {
  std::string url;
  if (!text(node, "a URL", url)) return;
  const UrlFault fault = webhook_url_fault(url);
  if (!fault.message.empty()) return faults_.add(node.source(), std::string{fault.message}, std::string{fault.hint});
  if (asks_for_secret(url))
    return faults_.add(node.source(), "a password or key in the URL",
                       "secrets are never in the file: alerts are signed, see webhook_secret_env");
  target = std::move(url);
}

/// A program, from the file's folder, and its arguments as they are.
inline void ConfigReader::command(const Node& node, std::vector<std::string>& target) {
  constexpr std::size_t most = 256;
  const toml::array* words = node.as_array();
  if (words == nullptr) return wrong_type(node, "a program and its arguments, e.g. [\"/usr/local/bin/page\", \"ops\"]");
  if (words->size() > most) return faults_.add(node.source(), "more than 256 arguments");
  target.clear();
  for (const Node& word : *words) {
    std::string got;
    const auto* value = word.as_string();
    const bool may_be_empty = !target.empty() && value != nullptr && value->get().empty();
    if (!may_be_empty && !text(word, target.empty() ? "a program's path" : "an argument", got)) return;
    target.push_back(target.empty() ? resolved(got) : std::move(got));
  }
}

inline void ConfigReader::degradation(const Node& node, DegradationConfig& to) {
  section(node, "alerts.degradation",
          {{"success_margin", [&](const Node& n) { (void)number(n, 0, 1, to.success_margin); }},
           {"score_margin", [&](const Node& n) { (void)number(n, 0, 1, to.score_margin); }},
           {"latency_margin", [&](const Node& n) { (void)number(n, 0, 1'000, to.latency_margin); }},
           {"false_alarm_days", [&](const Node& n) { count(n, 0, 36'500, "days", to.false_alarm_days); }}});
}

}  // namespace canary::detail
