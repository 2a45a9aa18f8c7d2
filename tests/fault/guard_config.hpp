// guard_config.hpp: a task under guard, as the guards of a test have it configured.
#pragma once

#include <string>

#include "canary/control/config.hpp"

namespace canary::test {

[[nodiscard]] inline TaskConfig guarded_task(const std::string& name) {
  TaskConfig task;
  task.name = name;
  task.default_model = "base";
  task.guard.metrics = {{.name = "ok"}};
  return task;
}

}  // namespace canary::test
