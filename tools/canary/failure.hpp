// failure.hpp: how a command ends when it does not succeed. The exit codes are a promise to scripts.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"

namespace canary::cli {

enum class Exit : int {
  done = 0,
  failed = 1,         ///< none of the below
  usage = 2,          ///< the command line makes no sense
  not_found = 3,      ///< no such task or version
  conflict = 4,       ///< changed by someone else, or an illegal step
  invalid_input = 5,  ///< configuration, data file, percentage
  provider = 6,       ///< the provider refused or failed
  store = 7,          ///< the store cannot be reached
};

/// The word for `code` in JSON errors.
[[nodiscard]] constexpr std::string_view to_string(Exit exit) noexcept {
  switch (exit) {
    case Exit::done:
      return "done";
    case Exit::failed:
      return "failed";
    case Exit::usage:
      return "usage";
    case Exit::not_found:
      return "not_found";
    case Exit::conflict:
      return "conflict";
    case Exit::invalid_input:
      return "invalid_input";
    case Exit::provider:
      return "provider";
    case Exit::store:
      return "store_unreachable";
  }
  return "failed";
}

/// Thrown by commands, caught once in main.
class Failure : public std::runtime_error {
 public:
  Failure(Exit code, const std::string& message, std::string what_to_do = {}, std::vector<ConfigFault> of_file = {})
      : std::runtime_error{message}, exit{code}, hint{std::move(what_to_do)}, faults{std::move(of_file)} {}
  Exit exit;
  std::string hint;
  std::vector<ConfigFault> faults;  ///< when a configuration file is to blame
};

}  // namespace canary::cli
