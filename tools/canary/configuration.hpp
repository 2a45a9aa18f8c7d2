// configuration.hpp: the configuration that a command works by.
#pragma once

#include <string>
#include <string_view>

#include "canary/control/config.hpp"

namespace canary::cli {

/// Where the configuration is: --config, else CANARY_CONFIG, else ./canary.toml.
[[nodiscard]] std::string config_path(const std::string& option);

/// Reads the configuration. The one place that compiles the TOML parser.
/// Errors  Failure invalid_input with every fault.
[[nodiscard]] Config load_configuration(const std::string& path);

/// A task of it; tasks exist when configured.
/// Errors  Failure not_found with the nearest name.
[[nodiscard]] const TaskConfig& configured_task(const Config& config, const std::string& file, std::string_view name);

}  // namespace canary::cli
