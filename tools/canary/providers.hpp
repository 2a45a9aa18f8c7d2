// providers.hpp: the fine-tune providers that a configuration names. Each adapter is compiled in a file of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/job.hpp"
#include "canary/control/provider.hpp"

namespace canary::cli {

/// The provider of this name; `openai` is one without a table too.
/// Errors  Failure invalid_input with the nearest name.
[[nodiscard]] ProviderConfig provider_config(const Config& config, const std::string& name);

/// The variable with a provider's key: the one that it names, else its kind's own; empty: no key is sent.
[[nodiscard]] std::string key_variable(const ProviderConfig& config);

/// Every variable that may hold a secret of this program or of another provider: no program that it starts gets one.
[[nodiscard]] std::vector<std::string> secret_variables(const Config& config);

/// Of the kind `command`.
/// Errors  Failure invalid_input for a program that cannot be run.
void check_program(const ProviderConfig& config);

/// Input   `whole`: the configuration that the provider is of.
/// Errors  Failure invalid_input: a key that is not set, a program that cannot be run, a build without libcurl.
[[nodiscard]] std::unique_ptr<Provider> open_provider(const Config& whole, const ProviderConfig& config,
                                                      const std::string& ca_file);

/// The one door to libcurl.
[[nodiscard]] std::unique_ptr<Provider> open_http_provider(const ProviderConfig& config, const std::string& ca_file);

/// Providers of jobs, each made when a job needs it first. One thread, but for cancel().
class Providers {
 public:
  Providers(const Config& config, std::string ca_file) : config_{config}, ca_file_{std::move(ca_file)} {}

  /// Errors  Failure as above.
  [[nodiscard]] Provider& of(const std::string& name) {
    const auto at = made_.find(name);
    if (at != made_.end()) return *at->second;
    std::unique_ptr<Provider> made = open_provider(config_, provider_config(config_, name), ca_file_);
    const std::lock_guard lock{mutex_};
    return *made_.emplace(name, std::move(made)).first->second;
  }

  /// Ends the call that is under way, and every later one.
  void cancel() noexcept {
    const std::lock_guard lock{mutex_};
    for (const auto& [name, provider] : made_) provider->cancel();
  }

 private:
  const Config& config_;
  std::string ca_file_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Provider>, std::less<>> made_;
};

}  // namespace canary::cli
