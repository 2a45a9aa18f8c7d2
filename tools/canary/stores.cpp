#include "stores.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "store_adapters.hpp"

namespace canary::cli {
namespace {

[[noreturn]] [[maybe_unused]] void refuse(std::string_view database, std::string_view package) {
  throw Failure{Exit::invalid_input, "this program was built without " + std::string{database},
                "build it where " + std::string{package} + " is installed"};
}

}  // namespace

std::unique_ptr<Store> open_store(const Config& config, Missing missing) {
  const StoreConfig& store = config.store;
  if (store.in_memory())
    throw Failure{Exit::invalid_input, "registry commands need a database, and store.url is \"memory:\"",
                  "set store.url = \"sqlite:canary.db\", and register the versions: canary model register TASK MODEL"};
  std::error_code ignored;
  const bool known = !store.state.empty() && std::filesystem::exists(store.state, ignored);
  const bool create = missing == Missing::make || (missing == Missing::make_first && !known);
  if (store.url.starts_with("sqlite:")) return open_sqlite(store.url, store.timeout_ms, create);
  return open_postgres(store.url, store.timeout_ms, create);
}

#ifndef CANARY_CLI_SQLITE
std::unique_ptr<Store> open_sqlite(std::string_view, std::uint32_t, bool) { refuse("SQLite", "libsqlite3-dev"); }
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
