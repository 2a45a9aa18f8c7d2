// train_wanted.hpp: the job that `canary train start` is asked for, refused for what it cannot be before any data is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "canary/control/config.hpp"
#include "canary/control/dataset.hpp"
#include "canary/control/job.hpp"
#include "canary/control/store.hpp"
#include "train_report.hpp"
#include "workspace.hpp"

namespace canary::cli {

struct StartOptions {
  std::string task;
  std::string train;
  std::string validation;
  std::string ca_file;
  std::string suffix;
  std::string grader;
  std::string learning_rate;
  std::string beta;
  std::optional<std::uint32_t> seed;
  std::uint32_t batch_size = 0;
  PreflightOptions preflight;
  ChangeArguments change;
  bool again = false;
  bool watch = false;
};

/// The job but for its id, its hashes, and its method's type where the first line of the data does not tell it.
/// Errors  Failure: usage for options that make no sense, by themselves, together, or to this kind of provider; invalid_input
///         for settings that do not suffice, and for files that are none. RegistryError invalid for what no version can have.
[[nodiscard]] Job wanted_job(const Workspace& workspace, const FineTuneConfig& settings, ProviderKind kind,
                             const StartOptions& options);

/// What the data is, once all of it was looked through.
/// Errors  Failure usage for options that do not go with it.
void take_in_report(Job& job, const DatasetReport& report);

/// An open job that trains the same model on the same file, if there is one.
[[nodiscard]] std::optional<Job> same_open_job(Store& store, const Job& wanted);

/// Saying it twice must not pay twice: looks before the data is read. Only where a job could be the same, the file's hash is
/// taken for it.
/// Errors  Failure conflict.
void refuse_second(Store& store, Job wanted);
[[noreturn]] void refuse_for(const Job& other);

}  // namespace canary::cli
