// session.hpp: one task, routed as the configuration says, for the commands that look at decisions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/splits.hpp"
#include "canary/core/router.hpp"

namespace canary::cli {

/// Where the configuration is: --config, else CANARY_CONFIG, else ./canary.toml.
[[nodiscard]] std::string config_path(const std::string& option);

/// Reads the configuration. The one place that compiles the TOML parser.
/// Errors  Failure invalid_input with every fault.
[[nodiscard]] Config load_configuration(const std::string& path);

/// A version that may take part in a task's traffic.
struct Participant {
  Owner owner = default_owner;
  std::string_view id;
  std::string_view model;
  std::uint32_t weight_ppm = 0;
};

/// A task in a router of its own. A split in the file has no history, so it is laid out from an untouched ring.
class Session {
 public:
  /// Errors  Failure: invalid_input for the configuration or its store, not_found for the task.
  Session(const std::string& config_option, std::string_view task);

  Router router;
  Task task;
  std::string config_file;
  TaskConfig settings;
  SplitResult split;  ///< how today's split came to be

  /// The default first, then the versions by number.
  [[nodiscard]] std::vector<Participant> participants() const { return participants(router, task); }
  [[nodiscard]] static std::vector<Participant> participants(const Router& router, Task task);

  /// The variable that forces a model on the task now; empty when none does.
  [[nodiscard]] std::string_view forced_by() const;
};

}  // namespace canary::cli
