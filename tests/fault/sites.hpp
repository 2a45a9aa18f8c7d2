// sites.hpp: a place for a store that lasts as long as the test.
#pragma once

#include <string>

#include "../adapters/temporary_folder.hpp"
#if CANARY_TEST_WITH_POSTGRES
#include "../adapters/postgres_database.hpp"
#define CANARY_TEST_SITES SqliteSite, PostgresSite
#else
#define CANARY_TEST_SITES SqliteSite
#endif

namespace canary::test {

struct SqliteSite {
  static constexpr bool is_sqlite = true;
  TemporaryFolder folder;
  [[nodiscard]] std::string url() const { return "sqlite:" + (folder.path() / "canary.db").string(); }
};

#if CANARY_TEST_WITH_POSTGRES
/// Skips the test where there is no server.
struct PostgresSite {
  static constexpr bool is_sqlite = false;
  ::test::PostgresDatabase database;
  [[nodiscard]] std::string url() const { return database.url(); }
};
#endif

}  // namespace canary::test
