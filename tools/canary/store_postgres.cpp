// The one translation unit that compiles the PostgreSQL adapter.
#include "canary/adapters/postgres_store.hpp"
#include "store_adapters.hpp"

namespace canary::cli {

std::unique_ptr<Store> open_postgres(std::string_view url, std::uint32_t timeout_ms, bool create) {
  return std::make_unique<PostgresStore>(url, PostgresOptions{.timeout_ms = timeout_ms, .create = create});
}

}  // namespace canary::cli
