// change_view.hpp: what a change did, or would do, for people and for programs.
#pragma once

#include <string>

#include "canary/control/config.hpp"
#include "canary/control/registry.hpp"
#include "context.hpp"

namespace canary::cli {

/// A change with all that is said of it.
struct ChangeReport {
  const TaskConfig& task;
  Change change;
  bool dry_run = false;
};

/// A change of weights: V, revision and points; for people a sentence and the shares before and after.
void write_change_of_weights(Context& context, const ChangeReport& report);

/// A registration or a step in a version's life: V; for people one sentence.
void write_change_of_version(Context& context, const ChangeReport& report);

}  // namespace canary::cli
