// sqlite_session.hpp: a store's connection, which comes and goes, and its transactions. Layer adapters; a part of
// sqlite_store.hpp.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_file.hpp"
#include "canary/control/store.hpp"

namespace canary::detail {

/// A connection that comes when it is needed and goes when it has failed. For one thread at a time.
class SqliteSession {
 public:
  explicit SqliteSession(std::shared_ptr<SqlitePlace> place) : place_{std::move(place)} {}

  enum class Schema : std::uint8_t { checked, any };

  /// What work(SqliteConnection&, const SqliteStoreRow&) returns, in one consistent view.
  template <class Work>
  auto read(Work work, Schema schema = Schema::checked) {
    return within(SqliteTransaction::Kind::read, schema, work);
  }
  /// As above, with what it writes: all of it, or nothing when it throws.
  template <class Work>
  auto write(Work work) {
    return within(SqliteTransaction::Kind::write, Schema::checked, work);
  }

  /// Nothing while there is none.
  [[nodiscard]] SqliteConnection* connection() const noexcept { return opened_.db.get(); }
  /// Counts the connections that there were.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_; }
  void drop() noexcept { opened_.db.reset(); }

 private:
  template <class Work>
  auto within(SqliteTransaction::Kind kind, Schema schema, Work& work) {
    try {
      SqliteConnection& db = connect();
      if (kind == SqliteTransaction::Kind::write && (opened_.frozen || db.read_only()))
        throw sqlite_error(place_->path, SQLITE_READONLY, 0, {});
      SqliteTransaction transaction{db, kind};
      const SqliteStoreRow row = read_store_row(db);
      if (schema == Schema::checked) check_schema(place_->path, row, place_->options.schema.number());
      auto result = work(db, row);
      transaction.commit();
      return result;
    } catch (const StoreError& error) {
      if (error.code != StoreErrc::invalid) drop();  // the next call looks at the file anew
      throw;
    }
  }

  SqliteConnection& connect() {
    if (opened_.db && (opened_.frozen || opened_.db->moved())) drop();
    if (!opened_.db) {
      opened_ = open_sqlite(*place_, true);
      ++connections_;
    }
    return *opened_.db;
  }

  std::shared_ptr<SqlitePlace> place_;
  SqliteOpened opened_;
  std::uint64_t connections_ = 0;
};

}  // namespace canary::detail
