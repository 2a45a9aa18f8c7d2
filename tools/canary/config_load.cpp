// The one translation unit that compiles the TOML parser: it takes longer than the rest of the tool together.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "canary/adapters/toml_config.hpp"
#include "canary/control/nearest.hpp"
#include "configuration.hpp"
#include "failure.hpp"

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

const TaskConfig& configured_task(const Config& config, const std::string& file, std::string_view name) {
  if (const TaskConfig* found = config.find_task(name)) return *found;
  std::vector<std::string_view> names;
  names.reserve(config.tasks.size());
  for (const TaskConfig& known : config.tasks) names.push_back(known.name);
  const std::string near = nearest(name, names);
  throw Failure{Exit::not_found, "no task \"" + std::string{name.substr(0, 128)} + "\" in " + file,
                near.empty() ? "add a [task.NAME] table" : "did you mean \"" + near + "\"?"};
}

}  // namespace canary::cli
