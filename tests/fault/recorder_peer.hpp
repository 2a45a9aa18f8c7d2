// recorder_peer.hpp: how the peer that records is configured, and the engine that delivers what it left.
#pragma once

#include <string>

#include "canary/control/config.hpp"

namespace canary::test {

[[nodiscard]] inline Config recorder_config(const std::string& url, const std::string& folder) {
  Config config;
  config.store.url = url;
  config.store.state.clear();
  config.store.timeout_ms = 30'000;
  config.recorder.spool = folder + "/spool";
  config.recorder.lane_mb = 1;  // 16,384 entries: full most of the time
  config.recorder.flush_ms = 1;
  TaskConfig task;
  task.name = "checks";
  task.default_model = "base";
  config.tasks.push_back(task);
  return config;
}

}  // namespace canary::test
