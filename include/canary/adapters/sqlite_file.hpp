// sqlite_file.hpp: the file of an SQLite store: made, opened, and brought forward to a newer schema.
// Layer adapters; a part of sqlite_store.hpp.
//
// A new file is made beside its path and linked into place when it is complete, so that nobody ever meets half a store.
// One that has gone is not made again by those who knew it: an operator who swaps files must not be met by an empty one.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_schema.hpp"
#include "canary/control/store.hpp"

namespace canary {

struct SqliteOptions {
  std::uint32_t timeout_ms = 5'000;  ///< how long to wait for other programs' locks
  bool create = true;                ///< make the file where there is none
  SqliteSchema schema = sqlite_schema;
  std::string missing_hint = "put the file back, or restore a backup: canary store restore FILE";  ///< if not made
};

namespace detail {

/// Where a store lies; shared by its connections.
struct SqlitePlace {
  std::string path;  ///< as people wrote it
  std::string file;  ///< absolute: a server may change its folder later
  SqliteOptions options;
  std::atomic<bool> seen{false};  ///< the file was there once
};

/// The one row about the store itself.
struct SqliteStoreRow {
  std::uint32_t schema = 0;
  std::string token;
  std::int64_t change = 0;
};

[[nodiscard]] SqliteStoreRow read_store_row(SqliteConnection& db);

/// Throws unless a program of schema `known` reads and writes a file of `row`'s.
void check_schema(const std::string& path, const SqliteStoreRow& row, std::uint32_t known);

/// Throws unless the file's schema keeps what is asked for, which the first one did not.
void check_records(const std::string& path, const SqliteStoreRow& row, const char* what = "interactions");

/// Within a write transaction: from the schema `from` to that of the program. 0: from nothing at all.
void bring_forward(SqliteConnection& db, const SqliteSchema& schema, std::uint32_t from);

struct SqliteOpened {
  std::unique_ptr<SqliteConnection> db;
  bool frozen = false;  ///< read as a file that does not change: good for one transaction
};

/// Opens the file, makes it where there is none, and, if wanted, brings it forward when nobody else has it open.
[[nodiscard]] SqliteOpened open_sqlite(SqlitePlace& place, bool forward);

// ---------------------------------------------------------------------------------------------------------------------

inline SqliteStoreRow read_store_row(SqliteConnection& db) {
  SqliteQuery query{db, "SELECT schema, token, change FROM store WHERE id = 1"};
  if (!query.next()) db.fail_corrupt("the row of the store is missing");
  return {query.number(0), query.text(1), query.integer(2)};
}

inline void check_schema(const std::string& path, const SqliteStoreRow& row, std::uint32_t known) {
  if (row.schema > known)
    throw StoreError{StoreErrc::schema_newer,
                     "`" + path + "`: written by a newer canary: schema " + std::to_string(row.schema) +
                         ", this program knows " + std::to_string(known),
                     "upgrade this program"};
  if (row.schema + 1 < known)
    throw StoreError{StoreErrc::schema_older,
                     "`" + path + "`: schema " + std::to_string(row.schema) + " is too old: this program knows " +
                         std::to_string(known) + " and " + std::to_string(known - 1),
                     "upgrade the other programs that have it open, then: canary store migrate"};
}

inline void check_records(const std::string& path, const SqliteStoreRow& row, const char* what) {
  if (row.schema >= sqlite_records_from) return;
  throw StoreError{StoreErrc::schema_older,
                   "`" + path + "`: schema " + std::to_string(row.schema) + " keeps no " + what,
                   "upgrade the other programs that have it open, then: canary store migrate"};
}

/// The triggers as they stand at a schema.
[[nodiscard]] inline const SqliteMigration& guards_at(const SqliteSchema& schema, std::uint32_t number) {
  while (number > 1 && schema.migrations[number - 1].guards == nullptr) --number;
  return schema.migrations[number - 1];
}

inline void bring_forward(SqliteConnection& db, const SqliteSchema& schema, std::uint32_t from) {
  if (from >= schema.number()) return;
  if (from != 0) db.execute(guards_at(schema, from).no_guards);
  for (const SqliteMigration& step : schema.migrations.subspan(from)) db.execute(step.change);
  db.execute(guards_at(schema, schema.number()).guards);
  run(db, "UPDATE store SET schema = ?1", schema.number());
}

/// True for a store, false for a database that holds nothing at all.
[[nodiscard]] inline bool holds_store(SqliteConnection& db) {
  const SqliteTransaction view{db, SqliteTransaction::Kind::read};
  SqliteQuery id{db, "PRAGMA application_id"};
  SqliteQuery things{db, "SELECT count(*) FROM sqlite_schema"};
  if (!things.next() || !id.next()) return false;
  if (things.integer(0) == 0 && id.integer(0) == 0) return false;
  if (id.integer(0) == sqlite_application_id) return true;
  throw StoreError{StoreErrc::invalid, "`" + db.path() + "`: is no canary store, but a database of another program",
                   "give the store a path of its own"};
}

/// Makes the tables, unless another program was faster.
inline void fill_sqlite(SqliteConnection& db, const SqliteSchema& schema) {
  SqliteTransaction transaction{db, SqliteTransaction::Kind::write};
  SqliteQuery things{db, "SELECT count(*) FROM sqlite_schema"};
  if (things.next() && things.integer(0) != 0) return;
  static_assert(sqlite_application_id == 1'668'182'649, "a PRAGMA takes no parameter");
  db.execute("PRAGMA application_id = 1668182649");
  bring_forward(db, schema, 0);
  transaction.commit();
}

/// Readers and the writer do not wait for each other then. No more than a look where it is so already.
inline void use_write_ahead_log(SqliteConnection& db, std::uint32_t timeout_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{timeout_ms};
  while (true) {  // SQLite's own busy time-out does not cover this
    const int code = db.try_execute("PRAGMA journal_mode = WAL");
    if (code == SQLITE_OK) return;
    if ((code & 0xFF) != SQLITE_BUSY || std::chrono::steady_clock::now() >= until) db.fail(code);
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
}

/// False where a file system knows no hard links: the file is made in place then.
[[nodiscard]] inline bool make_sqlite_file(const SqlitePlace& place) {
  struct Beside {
    std::string file;
    ~Beside() {
      for (const char* end : {"", "-journal", "-wal", "-shm"}) ::unlink((file + end).c_str());
    }
  };
  const Beside beside{place.file + ".new-" + std::to_string(std::random_device{}())};
  // Made here rather than by SQLite, which would lose the system's reason.
  const int made = ::open(beside.file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (made < 0) throw sqlite_error(place.path, SQLITE_CANTOPEN, errno, "cannot be made");
  ::close(made);
  {
    // In this order all of it is in the file itself, and nothing in a log beside it.
    SqliteConnection db{place.path, beside.file, SQLITE_OPEN_READWRITE, place.options.timeout_ms};
    db.execute(SqliteConnection::settings);
    fill_sqlite(db, place.options.schema);
    use_write_ahead_log(db, place.options.timeout_ms);
  }
  if (::link(beside.file.c_str(), place.file.c_str()) != 0 && errno != EEXIST) return false;
  const std::string folder = std::filesystem::path{place.file}.parent_path();
  const int opened = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened >= 0) {
    ::fsync(opened);  // the name is to outlive a power cut, as the rows do
    ::close(opened);
  }
  return true;
}

[[nodiscard]] inline std::string immutable_uri(const std::string& file) {
  std::string uri = "file:";
  for (const char c : file) {
    const auto byte = static_cast<unsigned char>(c);
    constexpr std::string_view hex = "0123456789ABCDEF";
    if (std::isalnum(byte) != 0 || c == '/')
      uri += c;
    else
      ((uri += '%') += hex[byte >> 4]) += hex[byte & 15];
  }
  return uri + "?immutable=1";
}

/// A log needs a folder that can be written. Where it cannot, and no log lies there, nobody writes: the file is read as
/// one that does not change. A writer that comes to such a folder in the middle of a read may spoil that one.
[[nodiscard]] inline bool may_be_frozen(const std::string& file) {
  const std::string folder = std::filesystem::path{file}.parent_path();
  struct stat log {};
  return ::faccessat(AT_FDCWD, folder.c_str(), W_OK, AT_EACCESS) != 0 &&
         (::stat((file + "-wal").c_str(), &log) != 0 || log.st_size == 0);
}

/// A connection that has been used once, and so knows that it can be.
[[nodiscard]] inline SqliteOpened connect_sqlite(const SqlitePlace& place, int flags) {
  const std::uint32_t timeout_ms = place.options.timeout_ms;
  SqliteOpened opened;
  opened.db = std::make_unique<SqliteConnection>(place.path, place.file, flags, timeout_ms);
  const int code = opened.db->try_execute(SqliteConnection::settings);
  if (code == SQLITE_OK) return opened;
  const int primary = code & 0xFF;
  if ((primary != SQLITE_CANTOPEN && primary != SQLITE_READONLY) || !may_be_frozen(place.file)) opened.db->fail(code);
  opened.db = std::make_unique<SqliteConnection>(place.path, immutable_uri(place.file),
                                                 SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, timeout_ms);
  opened.db->execute(SqliteConnection::settings);
  opened.frozen = true;
  return opened;
}

/// Brings a file forward if nobody else has it open. An exclusive lock on a file with a log says so: whoever has one open
/// shares a lock for as long.
inline void forward_if_alone(const SqlitePlace& place) {
  SqliteConnection db{place.path, place.file, SQLITE_OPEN_READWRITE, 0};
  db.execute("PRAGMA locking_mode = EXCLUSIVE");  // before the first look into the file
  int code = db.try_execute(SqliteConnection::settings);
  if (code == SQLITE_OK) code = db.try_execute("BEGIN IMMEDIATE");
  if ((code & 0xFF) == SQLITE_BUSY) return;
  if (code != SQLITE_OK) db.fail(code);
  bring_forward(db, place.options.schema, read_store_row(db).schema);
  db.execute("COMMIT");
}

inline SqliteOpened open_sqlite(SqlitePlace& place, bool forward) {
  int flags = SQLITE_OPEN_READWRITE;
  struct stat there {};
  if (::stat(place.file.c_str(), &there) != 0 && errno == ENOENT) {
    if (!place.options.create || place.seen)
      throw StoreError{
          StoreErrc::unreachable, "`" + place.path + "`: there is no such file",
          place.seen ? "put the file back, or restart to begin with an empty store" : place.options.missing_hint};
    if (!make_sqlite_file(place)) flags |= SQLITE_OPEN_CREATE;
  }
  SqliteOpened opened = connect_sqlite(place, flags);
  const bool writable = !opened.frozen && !opened.db->read_only();
  if (!holds_store(*opened.db)) {
    if (!place.options.create || !writable)
      throw StoreError{StoreErrc::invalid, "`" + place.path + "`: is no canary store, but empty", "check the path"};
    use_write_ahead_log(*opened.db, place.options.timeout_ms);
    fill_sqlite(*opened.db, place.options.schema);
  }
  place.seen = true;
  if (!writable) return opened;
  use_write_ahead_log(*opened.db, place.options.timeout_ms);  // a restored copy may be without
  if (forward && read_store_row(*opened.db).schema < place.options.schema.number()) {
    opened.db.reset();
    forward_if_alone(place);
    opened = connect_sqlite(place, SQLITE_OPEN_READWRITE);
  }
  return opened;
}

}  // namespace detail
}  // namespace canary
