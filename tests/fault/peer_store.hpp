// peer_store.hpp: the store that a peer works on. A peer may be built as a program of a release to come: PEER_AHEAD.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/store.hpp"
#if CANARY_TEST_WITH_POSTGRES
#include "canary/adapters/postgres_store.hpp"
#endif

#ifndef PEER_AHEAD
#define PEER_AHEAD 0
#endif

namespace canary::test {

/// What releases to come might do: another column, and one more.
[[nodiscard]] inline SqliteSchema peer_sqlite_schema() {
  static const std::vector<SqliteMigration> migrations = [] {
    std::vector<SqliteMigration> all{sqlite_schema.migrations.begin(), sqlite_schema.migrations.end()};
    all.push_back({"ALTER TABLE tasks ADD COLUMN owner TEXT NOT NULL DEFAULT ''"});
    all.push_back({"ALTER TABLE versions ADD COLUMN region TEXT NOT NULL DEFAULT ''"});
    return all;
  }();
  return {std::span{migrations}.first(sqlite_schema.migrations.size() + PEER_AHEAD)};
}

[[nodiscard]] inline std::unique_ptr<Store> peer_store(std::string_view url) {
#if CANARY_TEST_WITH_POSTGRES
  if (url.starts_with("postgres")) return std::make_unique<PostgresStore>(url);
#endif
  SqliteOptions options;
  options.timeout_ms = 30'000;
  options.schema = peer_sqlite_schema();
  return std::make_unique<SqliteStore>(url, options);
}

}  // namespace canary::test
