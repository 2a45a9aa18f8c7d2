// The one translation unit that compiles the providers of the network, and with them libcurl's headers.
#include "canary/adapters/openai_provider.hpp"
#include "canary/adapters/together_provider.hpp"
#include "failure.hpp"
#include "providers.hpp"

namespace canary::cli {

std::unique_ptr<Provider> open_http_provider(const ProviderConfig& config, const std::string& ca_file) {
  try {
    if (config.kind == ProviderKind::together) {
      TogetherOptions options;
      if (!config.base_url.empty()) options.base_url = config.base_url;
      options.api_key_env = key_variable(config);
      options.ca_file = ca_file;
      return std::make_unique<TogetherProvider>(std::move(options));
    }
    OpenAiOptions options;
    if (config.kind == ProviderKind::azure) options.dialect = OpenAiDialect::azure;
    if (!config.base_url.empty()) options.base_url = config.base_url;
    options.api_key_env = key_variable(config);
    options.ca_file = ca_file;
    return std::make_unique<OpenAiProvider>(std::move(options));
  } catch (const ProviderError& error) {  // a key that is not set, an URL that keys must not be sent to
    throw Failure{Exit::invalid_input, "provider." + config.name + ": " + error.what(), error.hint};
  }
}

}  // namespace canary::cli
