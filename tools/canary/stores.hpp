// stores.hpp: the store that a configuration names, and backups of it. Each adapter is compiled in a file of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "canary/adapters/state_file.hpp"
#include "canary/control/config.hpp"
#include "canary/control/plan.hpp"
#include "canary/control/store.hpp"
#include "failure.hpp"

namespace canary::cli {

/// Whether an empty place becomes a store.
enum class Missing : std::uint8_t {
  make,        ///< it does
  make_first,  ///< unless a state file tells that it was there before, or may: it must not come back empty
  refuse,      ///< it does not
};

/// What the state file knows of the store.
[[nodiscard]] StateOf known_by_state(const StoreConfig& store);

/// What to do about a store that is not there and is not made; empty for one that may be.
[[nodiscard]] std::string missing_hint(const StoreConfig& store, StateOf known);

/// Touches no store yet: its first call connects.
/// Errors  Failure invalid_input for `memory:`, and for a database that this program was built without.
[[nodiscard]] std::unique_ptr<Store> open_store(const Config& config, Missing missing = Missing::make_first);

/// Everything in a backup, whatever store it was made of. The file stays as it is, its journal and its schema too.
/// Errors  Failure invalid_input for no file, and for one that is no store; StoreError.
[[nodiscard]] std::vector<TaskContents> read_backup(const std::filesystem::path& file, std::uint32_t timeout_ms);

/// Makes `file`, which must not be there, a store with these tasks; one file, without a journal beside it.
/// Errors  StoreError; part of a file may be left.
void write_backup(const std::filesystem::path& file, std::vector<TaskContents> tasks, std::uint32_t timeout_ms);

/// How a command ends when its store or its registry refuses.
[[nodiscard]] Failure failure_of(const StoreError& error);
[[nodiscard]] Failure failure_of(const RegistryError& error);

}  // namespace canary::cli
