// workspace.hpp: what registry commands work on, and the options that they share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/config.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/store.hpp"
#include "context.hpp"
#include "stores.hpp"

namespace canary::cli {

/// The configuration and the store that it names.
struct Workspace {
  /// Errors  Failure invalid_input for a configuration that does not load, or that names no database.
  explicit Workspace(const Context& context, Missing missing = Missing::make_first);

  /// A configured task.
  /// Errors  Failure not_found with the nearest name.
  [[nodiscard]] const TaskConfig& task(std::string_view name) const;

  /// TASK@N taken apart; whether the store has it is another question.
  /// Errors  Failure: not_found for a task that is none, invalid_input for what no version is called.
  [[nodiscard]] VersionId version(std::string_view id) const;

  std::string config_file;
  Config config;
  std::unique_ptr<Store> store;
};

/// A version of this task by its id; whether the store has it is another question.
/// Errors  Failure: invalid_input for what no version is called, not_found for a number that no version can have.
[[nodiscard]] VersionId version_argument(const TaskConfig& task, std::string_view id);

/// Options of every command that changes production.
struct ChangeArguments {
  std::string note;
  std::optional<std::string> actor;
  bool dry_run = false;

  /// Who does it: --actor, else CANARY_ACTOR, else the login name.
  [[nodiscard]] ChangeOptions options() const;
  /// For a change of weights of a task: by its latency metrics thresholds are frozen.
  [[nodiscard]] ChangeOptions options(const GuardConfig& guard) const;
};

void add_change_options(Syntax verb, ChangeArguments& arguments);

/// A share as it was typed.
/// Errors  Failure invalid_input for all that is none.
[[nodiscard]] std::uint32_t percent_argument(std::string_view text);

}  // namespace canary::cli
