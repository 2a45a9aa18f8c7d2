// peer_store.hpp: the store that a peer works on. A peer may be built as a program of a later schema: PEER_SCHEMA.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/store.hpp"
#if CANARY_TEST_WITH_POSTGRES
#include "canary/adapters/postgres_store.hpp"
#endif

#ifndef PEER_SCHEMA
#define PEER_SCHEMA 1
#endif

namespace canary::test {

/// What releases to come might do: another column, and one more.
[[nodiscard]] inline SqliteSchema peer_sqlite_schema() {
  static const std::array<SqliteMigration, 3> migrations{
      {sqlite_schema.migrations[0],
       {"ALTER TABLE tasks ADD COLUMN owner TEXT NOT NULL DEFAULT ''"},
       {"ALTER TABLE versions ADD COLUMN region TEXT NOT NULL DEFAULT ''"}}};
  return {std::span{migrations}.first(PEER_SCHEMA)};
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
