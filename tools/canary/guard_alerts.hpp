// guard_alerts.hpp: what `canary guard run` tells people, wherever the configuration sends alerts.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "canary/control/alert_desk.hpp"
#include "canary/control/alert_round.hpp"
#include "canary/control/config.hpp"
#include "canary/control/guard_pass.hpp"

namespace canary::cli {

class GuardAlerts {
 public:
  /// Makes every sink. Without one, or for a dry run, nothing is looked at and nobody is told.
  /// Input   `once`: a single pass looks at everything.
  /// Errors  Failure for a sink that cannot be made: better now than when there is something to tell.
  GuardAlerts(const Config& config, bool once, bool dry_run);
  GuardAlerts(const GuardAlerts&) = delete;
  GuardAlerts& operator=(const GuardAlerts&) = delete;
  ~GuardAlerts() { finish(); }

  /// Raises what is new after a pass, and warns of sinks that have begun to fail.
  void tell(Store& store, InteractionStore& interactions, const GuardPass& pass);

  /// Waits some seconds for what is under way, gives up, and warns of what was not delivered. Once.
  void finish() noexcept;

 private:
  void warn_of_sinks();

  const Config& config_;
  AlertRound round_;
  std::optional<AlertDesk> desk_;
  std::set<std::string> failing_;  // sinks that were warned of
};

}  // namespace canary::cli
