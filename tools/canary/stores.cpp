#include "stores.hpp"

#include <filesystem>
#include <string>
#include <string_view>

#include "store_adapters.hpp"

namespace canary::cli {
namespace {

[[noreturn]] [[maybe_unused]] void refuse(std::string_view database, std::string_view package) {
  throw Failure{Exit::invalid_input, "this program was built without " + std::string{database},
                "build it where " + std::string{package} + " is installed"};
}

}  // namespace

StateOf known_by_state(const StoreConfig& store) {
  return store.state.empty() ? StateOf::nothing : owner_of_state(store.state, store.url);
}

std::string missing_hint(const StoreConfig& store, StateOf known) {
  const std::string back = "put the file back, or restore a backup: canary store restore FILE";
  if (known == StateOf::store)
    return store.state + " tells that it was there: " + back + "; or move " + store.state +
           " away to begin with an empty store";
  if (known == StateOf::unclear)
    return store.state + " does not tell of which store it is. If this one was there before, " + back +
           "; if it is new, move " + store.state + " away, or set store.state to a file of its own";
  return {};
}

std::unique_ptr<Store> open_store(const Config& config, Missing missing) {
  const StoreConfig& store = config.store;
  if (store.in_memory())
    throw Failure{Exit::invalid_input, "registry commands need a database, and store.url is \"memory:\"",
                  "set store.url = \"sqlite:canary.db\", and register the versions: canary model register TASK MODEL"};
  const StateOf known = missing == Missing::make_first ? known_by_state(store) : StateOf::nothing;
  const bool create = missing == Missing::make ||
                      (missing == Missing::make_first && (known == StateOf::nothing || known == StateOf::another));
  if (store.url.starts_with("sqlite:"))
    return open_sqlite(store.url, store.timeout_ms, create, missing_hint(store, known));
  return open_postgres(store.url, store.timeout_ms, create);
}

#ifndef CANARY_CLI_SQLITE
std::unique_ptr<Store> open_sqlite(std::string_view, std::uint32_t, bool, const std::string&) {
  refuse("SQLite", "libsqlite3-dev");
}
std::vector<TaskContents> read_backup(const std::filesystem::path&, std::uint32_t) {
  refuse("SQLite", "libsqlite3-dev");
}
void write_backup(const std::filesystem::path&, std::vector<TaskContents>, std::uint32_t) {
  refuse("SQLite", "libsqlite3-dev");
}
#endif

#ifndef CANARY_CLI_POSTGRES
std::unique_ptr<Store> open_postgres(std::string_view, std::uint32_t, bool) { refuse("PostgreSQL", "libpq-dev"); }
#endif

Failure failure_of(const StoreError& error) {
  switch (error.code) {
    case StoreErrc::unreachable:
    case StoreErrc::denied:
      return {Exit::store, error.what(), error.hint};
    case StoreErrc::invalid:
      return {Exit::invalid_input, error.what(), error.hint};
    case StoreErrc::read_only:
    case StoreErrc::full:
    case StoreErrc::corrupt:
    case StoreErrc::schema_newer:
    case StoreErrc::schema_older:
      break;
  }
  return {Exit::failed, error.what(), error.hint};
}

Failure failure_of(const RegistryError& error) {
  switch (error.code) {
    case RegistryErrc::not_found:
      return {Exit::not_found, error.what(), error.hint};
    case RegistryErrc::conflict:
    case RegistryErrc::illegal_step:
      return {Exit::conflict, error.what(), error.hint};
    case RegistryErrc::invalid:
      break;
  }
  return {Exit::invalid_input, error.what(), error.hint};
}

}  // namespace canary::cli
