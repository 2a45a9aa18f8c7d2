// provider_place.hpp: a tuning server and what a provider needs to use it; waits are written down, not waited.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/provider.hpp"
#include "temporary_folder.hpp"
#include "tuning_server.hpp"

namespace test {

/// A key that a text can be searched for.
inline constexpr std::string_view marked_key = "sk-Zq7SECRETq7Z-0123456789";

struct ProviderPlace {
  ProviderPlace() {
    server.rules([](TuningRules& rules) { rules.key = marked_key; });
    folder.write("train.jsonl", "{\"messages\":[]}\n");
  }

  /// Settings with which a provider of this kind gets there.
  template <class Options>
  [[nodiscard]] Options options(const std::string& path = "/v1") {
    Options options;
    options.base_url = server.url() + path;
    options.api_key_env = "TUNING_KEY";
    options.environment = [](const char* name) {
      return std::string_view{name} == "TUNING_KEY" ? marked_key.data() : nullptr;
    };
    options.wait = [this](std::uint32_t ms) {
      waits.push_back(ms);
      return true;
    };
    return options;
  }

  [[nodiscard]] std::string file() const { return (folder.path() / "train.jsonl").string(); }

  /// A job whose file is there.
  [[nodiscard]] canary::Job job(canary::Provider& provider, const std::string& id = "ft-20261129-083000-abcd") const {
    canary::Job job;
    job.id = id;
    job.task = "risk_explanation";
    job.prompt_version = "v3";
    job.base_model = "base-model";
    job.training_file = file();
    job.training_file_id = provider.upload(file(), {});
    return job;
  }

  TemporaryFolder folder;
  std::vector<std::uint32_t> waits;
  TuningServer server;
};

/// A method with some settings.
inline canary::TrainingMethod training(const char* type, const std::function<void(canary::TrainingMethod&)>& set = {}) {
  canary::TrainingMethod method;
  method.type = type;
  if (set) set(method);
  return method;
}

/// What a call throws. No word of it holds the key.
inline canary::ProviderError provider_error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const canary::ProviderError& error) {
    const std::string words = std::string{error.what()} + "; " + error.hint;
    INFO(words);
    CHECK(words.find("SECRET") == std::string::npos);
    CHECK(words.find('\x1b') == std::string::npos);
    CHECK(words.size() < 2'000);
    return error;
  }
  FAIL("no error");
  return {canary::ProviderErrc::refused, ""};
}

/// A file of so many bytes that differ from place to place, and its hash.
inline ByteHash write_large(const std::string& path, std::uint64_t bytes) {
  std::ofstream file{path, std::ios::binary | std::ios::trunc};
  ByteHash hash;
  std::string block(1 << 20, '\n');
  for (std::uint64_t at = 0; at < bytes; at += block.size()) {
    for (std::size_t i = 0; i + 8 <= block.size(); i += 4'096)
      for (int k = 0; k != 8; ++k) block[i + static_cast<std::size_t>(k)] = static_cast<char>((at + i) >> (8 * k));
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), bytes - at));
    file.write(block.data(), static_cast<std::streamsize>(size));
    hash.add(std::string_view{block}.substr(0, size));
  }
  REQUIRE(file.flush());
  return hash;
}

}  // namespace test
