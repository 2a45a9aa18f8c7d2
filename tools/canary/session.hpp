// session.hpp: one task, routed as the configuration and its store say, for the commands that look at decisions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/splits.hpp"
#include "canary/control/store.hpp"
#include "canary/core/router.hpp"

namespace canary {
class Engine;
}

namespace canary::cli {

/// A version that may take part in a task's traffic.
struct Participant {
  Owner owner = default_owner;  ///< in the router
  std::string_view id;
  std::string_view model;
  std::uint32_t weight_ppm = 0;
};

/// N of TASK@N; 0 for the default and for a forced model.
[[nodiscard]] std::uint32_t version_number(std::string_view id);

/// The default first, then the versions by number.
[[nodiscard]] std::vector<Participant> participants_of(const Router& router, Task task);

/// A task with the options that the configuration and the environment give it, in a router of its own; no split yet.
/// Errors  Failure invalid_input for options that no task can have.
[[nodiscard]] Task add_task(Router& router, const TaskConfig& settings);

/// Gives the task a split as the store keeps it.
/// Errors  StoreError corrupt for one that makes no sense.
void load_split(Router& router, Task task, const TaskRecord& record);

/// A task in a router. A split in the file has no history, so it is laid out from an untouched ring; one in a database
/// comes from there, or from the state file when the database is out of reach, which is told on stderr.
class Session {
 public:
  /// Errors  Failure: invalid_input for the configuration, not_found for the task, store without any state to route by.
  Session(const std::string& config_option, std::string_view task);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  std::string config_file;
  TaskConfig settings;
  Task task;
  SplitResult split;  ///< how a split in the file came to be

  [[nodiscard]] const Router& router() const noexcept;
  /// True if the split stands in the configuration.
  [[nodiscard]] bool in_file() const noexcept { return own_ != nullptr; }
  [[nodiscard]] std::vector<Participant> participants() const { return participants_of(router(), task); }

  /// The variable that forces a model on the task now; empty when none does.
  [[nodiscard]] std::string_view forced_by() const;

  /// The database, for what a router does not hold; null when the split stands in the file, or it is out of reach.
  [[nodiscard]] Store* store() const noexcept { return store_.get(); }

 private:
  void route_by_file();
  void route_by_store(const Config& config);

  std::unique_ptr<Router> own_;     // a split in the file
  std::unique_ptr<Engine> engine_;  // one in a database
  std::unique_ptr<Store> store_;
};

}  // namespace canary::cli
