// Any bytes as a configuration: parse_config() returns a configuration or throws ConfigError, and nothing else happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "canary/adapters/toml_config.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// What parse_config() promises of every configuration that it returns.
void check(const canary::Config& config) {
  require(!config.tasks.empty());
  for (const canary::TaskConfig& task : config.tasks) {
    require(!task.name.empty() && task.name.size() <= 128);
    require(task.versions.empty() || config.store.in_memory());
    require(task.versions.size() <= canary::max_shares);
    std::uint64_t sum_ppm = 0;
    for (const canary::StaticVersion& version : task.versions) {
      require(!version.model.empty());
      sum_ppm += version.weight_ppm;
    }
    require(sum_ppm <= canary::total_ppm);
    for (std::size_t i = 1; i < task.guard.steps_ppm.size(); ++i)
      require(task.guard.steps_ppm[i - 1] < task.guard.steps_ppm[i]);
  }
}

/// What it promises of every refusal: faults with words, lines that exist, and text that a terminal can show.
void check(const canary::ConfigError& error, std::string_view text) {
  require(!error.faults().empty());
  const auto lines = 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  for (const canary::ConfigFault& fault : error.faults()) {
    require(!fault.message.empty());
    require(fault.line <= lines + 1);
    require(fault.message.size() < 1'000 && fault.hint.size() < 1'000);
  }
  for (const char c : std::string_view{error.what()}) require(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  try {
    check(canary::parse_config(text, "fuzz.toml", "/folder"));
  } catch (const canary::ConfigError& error) {
    check(error, text);
  }
  return 0;
}
