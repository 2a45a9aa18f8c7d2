// The one translation unit that compiles the TOML parser: it takes longer than the rest of the tool together.
#include <cstdlib>
#include <string>

#include "canary/adapters/toml_config.hpp"
#include "failure.hpp"
#include "session.hpp"

namespace canary::cli {

std::string config_path(const std::string& option) {
  if (!option.empty()) return option;
  const char* variable = std::getenv("CANARY_CONFIG");
  return variable != nullptr && *variable != '\0' ? variable : "canary.toml";
}

Config load_configuration(const std::string& path) {
  try {
    return load_config(path);
  } catch (const ConfigError& error) {
    const std::size_t count = error.faults().size();
    const std::string heading = count == 1 ? std::string{} : path + ": " + std::to_string(count) + " faults";
    throw Failure{
        Exit::invalid_input, heading.empty() ? error.what() : heading + '\n' + error.what(), {}, error.faults()};
  }
}

}  // namespace canary::cli
