#include "providers.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "canary/adapters/command_provider.hpp"
#include "canary/control/nearest.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

std::unique_ptr<Provider> open_command_provider(const Config& whole, const ProviderConfig& config) {
  check_program(config);
  CommandProviderOptions options;
  options.command = config.command;
  options.folder = config.folder;
  options.hidden = secret_variables(whole);
  return std::make_unique<CommandProvider>(std::move(options));
}

}  // namespace

ProviderConfig provider_config(const Config& config, const std::string& name) {
  if (const ProviderConfig* found = config.find_provider(name)) return *found;
  if (name == "openai" && config.providers.empty()) {
    ProviderConfig plain;
    plain.name = name;
    plain.api_key_env = "OPENAI_API_KEY";
    return plain;
  }
  std::vector<std::string> names;
  names.reserve(config.providers.size());
  for (const ProviderConfig& each : config.providers) names.push_back(each.name);
  const std::string near = nearest(name, names);
  std::string shown;
  append_visible(shown, name.substr(0, 128));
  throw Failure{Exit::invalid_input, "no provider \"" + shown + "\" in the configuration",
                near.empty() ? "add a table [provider.NAME], or see fine_tune.provider and AI_FT_PROVIDER"
                             : "did you mean \"" + near + "\"?"};
}

std::string key_variable(const ProviderConfig& config) {
  if (!config.api_key_env.empty() || config.kind != ProviderKind::together) return config.api_key_env;
  return "TOGETHER_API_KEY";  // nobody gets in there without one
}

std::vector<std::string> secret_variables(const Config& config) {
  std::vector<std::string> names{"CANARY_WEBHOOK_SECRET", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "TOGETHER_API_KEY",
                                 "PGPASSWORD"};
  names.push_back(config.alerts.webhook_secret_env);
  for (const ProviderConfig& each : config.providers) names.push_back(key_variable(each));
  std::erase(names, std::string{});
  return names;
}

void check_program(const ProviderConfig& config) {
  const std::string& program = config.command.front();
  if (::access(program.c_str(), X_OK) != 0)
    throw Failure{Exit::invalid_input,
                  "provider." + config.name + ".command: " + program + " cannot be run: " + std::strerror(errno),
                  "name the path of a program; PATH is not searched, and a relative one starts from the configuration"};
}

std::unique_ptr<Provider> open_provider(const Config& whole, const ProviderConfig& config, const std::string& ca_file) {
  return config.kind == ProviderKind::command ? open_command_provider(whole, config)
                                              : open_http_provider(config, ca_file);
}

#ifndef CANARY_CLI_HTTP
std::unique_ptr<Provider> open_http_provider(const ProviderConfig& config, const std::string&) {
  throw Failure{Exit::invalid_input, "provider." + config.name + ": this program was built without libcurl",
                "build it where libcurl4-openssl-dev is installed, or use a provider of kind \"command\""};
}
#endif

}  // namespace canary::cli
