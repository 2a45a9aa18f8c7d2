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

/// A warning of a guard that goes on: dropped when nobody reads stderr, instead of being waited for.
void warn_in_time(const std::string& text);

class GuardAlerts {
 public:
  /// Makes every sink. Without one, or for a dry run, nothing is looked at and nobody is told.
  /// Input   `once`: tells what the one pass did, and nothing that stands: it would be told at each call, and its end never.
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
  const bool once_;
  AlertRound round_;
  std::optional<AlertDesk> desk_;
  std::set<std::string> failing_;  // sinks that were warned of
};

}  // namespace canary::cli
