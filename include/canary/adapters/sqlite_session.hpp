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
  /// Input   `settings`: constant statements for each connection, beside SqliteConnection::settings.
  explicit SqliteSession(std::shared_ptr<SqlitePlace> place, const char* settings = "")
      : place_{std::move(place)}, settings_{settings} {}

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

  /// What work() returns; the connection goes where that is of no use any more.
  template <class Work>
  auto guarded(Work work) {
    try {
      return work();
    } catch (const StoreError& error) {
      if (error.code != StoreErrc::invalid) drop();  // the next call looks at the file anew
      throw;
    }
  }
  /// A connection for a transaction of the caller's own, within guarded().
  [[nodiscard]] SqliteConnection& writable() {
    SqliteConnection& db = connect();
    if (opened_.frozen || db.read_only()) throw sqlite_error(place_->path, SQLITE_READONLY, 0, {});
    return db;
  }
  /// The row of the store, whose schema this program knows.
  [[nodiscard]] SqliteStoreRow checked_row(SqliteConnection& db) const {
    SqliteStoreRow row = read_store_row(db);
    check_schema(place_->path, row, place_->options.schema.number());
    return row;
  }

  /// Nothing while there is none.
  [[nodiscard]] SqliteConnection* connection() const noexcept { return opened_.db.get(); }
  /// Counts the connections that there were.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_; }
  void drop() noexcept { opened_.db.reset(); }

 private:
  template <class Work>
  auto within(SqliteTransaction::Kind kind, Schema schema, Work& work) {
    return guarded([&] {
      SqliteConnection& db = kind == SqliteTransaction::Kind::write ? writable() : connect();
      SqliteTransaction transaction{db, kind};
      const SqliteStoreRow row = schema == Schema::checked ? checked_row(db) : read_store_row(db);
      auto result = work(db, row);
      try {
        transaction.commit();
      } catch (StoreError& error) {
        // What the log holds of it may come to life when the file is opened after a crash.
        error.unknown = kind == SqliteTransaction::Kind::write && error.code != StoreErrc::invalid;
        throw;
      }
      return result;
    });
  }

  SqliteConnection& connect() {
    if (opened_.db && (opened_.frozen || opened_.db->moved())) drop();
    if (!opened_.db) {
      opened_ = open_sqlite(*place_, true);
      opened_.db->execute(settings_);
      ++connections_;
    }
    return *opened_.db;
  }

  std::shared_ptr<SqlitePlace> place_;
  const char* settings_;
  SqliteOpened opened_;
  std::uint64_t connections_ = 0;
};

}  // namespace canary::detail
