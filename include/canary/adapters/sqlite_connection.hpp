// sqlite_connection.hpp: a connection, its prepared statements, its transactions, and SQLite's errors as StoreErrors.
// Layer adapters; a part of sqlite_store.hpp. SQL is constant text; whatever comes from outside is bound.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "canary/control/store.hpp"

#if SQLITE_VERSION_NUMBER < 3037000
#error "sqlite_store.hpp needs SQLite 3.37 or newer: it uses STRICT tables"
#endif

namespace canary::detail {

[[nodiscard]] StoreError sqlite_error(const std::string& path, int code, int system_error, const std::string& words);

/// For one thread at a time.
class SqliteConnection {
 public:
  /// Input   `path` as people know the file; `file` and `flags` as SQLite takes them.
  SqliteConnection(std::string path, const std::string& file, int flags, std::uint32_t timeout_ms);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] sqlite3* get() const noexcept { return db_.get(); }

  /// Constant statements without rows that matter.
  void execute(const char* sql) {
    if (const int code = try_execute(sql); code != SQLITE_OK) fail(code);
  }
  [[nodiscard]] int try_execute(const char* sql) { return sqlite3_exec(get(), sql, nullptr, nullptr, nullptr); }

  /// A constant statement, prepared at its first use and kept.
  [[nodiscard]] sqlite3_stmt* prepared(const char* sql);

  [[noreturn]] void fail(int code) const { throw sqlite_error(path_, code, system_error(code), sqlite3_errmsg(get())); }
  [[noreturn]] void fail_corrupt(const std::string& words) const {
    throw sqlite_error(path_, SQLITE_CORRUPT, 0, words);
  }
  [[noreturn]] void fail_invalid(const std::string& words) const {
    throw sqlite_error(path_, SQLITE_CONSTRAINT, 0, words);
  }

  [[nodiscard]] bool read_only() const noexcept { return sqlite3_db_readonly(get(), "main") == 1; }

  /// True when the path leads to another file by now, or to none. SQLite's own look does not see a swapped link.
  [[nodiscard]] bool moved() const noexcept {
    int answer = 0;
    struct stat now {};
    return (sqlite3_file_control(get(), "main", SQLITE_FCNTL_HAS_MOVED, &answer) == SQLITE_OK && answer != 0) ||
           ::stat(file_.c_str(), &now) != 0 || now.st_ino != opened_as_.st_ino || now.st_dev != opened_as_.st_dev;
  }

  /// How each connection is set. FULL: a commit is on the disk before it returns; the default would lose the last ones with
  /// the power. These read the file, and so are the first to fail.
  static constexpr const char* settings =
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON";

 private:
  [[nodiscard]] int system_error(int code) const;

  struct Close {
    void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };

  std::string path_;
  std::string file_;
  struct stat opened_as_ {};
  std::unique_ptr<sqlite3, Close> db_;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, Close>> statements_;  // go before the connection does
};

/// Bytes that are no text.
struct SqliteBlob {
  std::string_view bytes;
};

/// One use of a prepared statement.
class SqliteQuery {
 public:
  template <class... Values>
  SqliteQuery(SqliteConnection& db, const char* sql, const Values&... values) : db_{db}, statement_{db.prepared(sql)} {
    int at = 0;
    (bind(++at, values), ...);
  }
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;
  ~SqliteQuery() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

  /// Goes to the next row; false when there is none.
  [[nodiscard]] bool next() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) db_.fail(code);
    return code == SQLITE_ROW;
  }

  [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  /// As an unsigned number of its size.
  template <std::unsigned_integral Number = std::uint32_t>
  [[nodiscard]] Number number(int column) const {
    const std::int64_t value = integer(column);
    if (value < 0 || static_cast<std::uint64_t>(value) > std::numeric_limits<Number>::max())
      db_.fail_corrupt("the number " + std::to_string(value) + " makes no sense where it stands");
    return static_cast<Number>(value);
  }
  [[nodiscard]] bool null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  /// As they are stored; good until the next row.
  [[nodiscard]] std::string_view bytes(int column) const {
    const void* found = sqlite3_column_blob(statement_, column);  // before the length, which it may change
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return size == 0 ? std::string_view{} : std::string_view{static_cast<const char*>(found), size};
  }
  [[nodiscard]] std::string text(int column) const { return std::string{bytes(column)}; }

 private:
  void bind(int at, std::string_view text) {
    const char* bytes = text.data() == nullptr ? "" : text.data();  // a null pointer would be NULL
    check(sqlite3_bind_text64(statement_, at, bytes, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  void bind(int at, SqliteBlob blob) {
    const char* bytes = blob.bytes.data() == nullptr ? "" : blob.bytes.data();
    check(sqlite3_bind_blob64(statement_, at, bytes, blob.bytes.size(), SQLITE_TRANSIENT));
  }
  template <std::integral Number>
  void bind(int at, Number value) {
    check(sqlite3_bind_int64(statement_, at, static_cast<sqlite3_int64>(value)));
  }
  void check(int code) const {
    if (code != SQLITE_OK) db_.fail(code);
  }

  SqliteConnection& db_;
  sqlite3_stmt* statement_;
};

/// Runs a statement that gives no rows.
template <class... Values>
void run(SqliteConnection& db, const char* sql, const Values&... values) {
  SqliteQuery query{db, sql, values...};
  while (query.next()) {
  }
}

/// Taken back at its end unless committed.
class SqliteTransaction {
 public:
  /// A writer takes the lock at once: taken later, what was read before could be out of date.
  enum class Kind : std::uint8_t { read, write };

  SqliteTransaction(SqliteConnection& db, Kind kind) : db_{db} {
    run(db, kind == Kind::read ? "BEGIN" : "BEGIN IMMEDIATE");
  }
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;
  ~SqliteTransaction() {
    // After some errors SQLite has done so by itself.
    if (sqlite3_get_autocommit(db_.get()) == 0) (void)db_.try_execute("ROLLBACK");
  }
  void commit() { run(db_, "COMMIT"); }

 private:
  SqliteConnection& db_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline SqliteConnection::SqliteConnection(std::string path, const std::string& file, int flags,
                                          std::uint32_t timeout_ms)
    : path_{std::move(path)}, file_{file} {
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(file.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  db_.reset(db);
  if (db == nullptr) throw std::bad_alloc{};
  if (code != SQLITE_OK) fail(sqlite3_extended_errcode(db));
  (void)::stat(file_.c_str(), &opened_as_);
  sqlite3_extended_result_codes(db, 1);
  constexpr std::uint32_t most_ms = std::numeric_limits<int>::max();
  sqlite3_busy_timeout(db, static_cast<int>(timeout_ms < most_ms ? timeout_ms : most_ms));
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
}

/// Why the system refused; 0 where it was not the system. SQLite 3.40 forgets it for a COMMIT, its files do not.
inline int SqliteConnection::system_error(int code) const {
  if ((code & 0xFF) != SQLITE_IOERR && (code & 0xFF) != SQLITE_CANTOPEN) return 0;
  int reason = sqlite3_system_errno(get());
  sqlite3_file* log = nullptr;
  if (reason == 0 &&
      sqlite3_file_control(get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log)) == SQLITE_OK &&
      log != nullptr && log->pMethods != nullptr)
    (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &reason);
  if (reason == 0) (void)sqlite3_file_control(get(), "main", SQLITE_FCNTL_LAST_ERRNO, &reason);
  return reason;
}

inline sqlite3_stmt* SqliteConnection::prepared(const char* sql) {
  auto& kept = statements_[sql];
  if (!kept) {
    sqlite3_stmt* made = nullptr;
    const int code = sqlite3_prepare_v3(get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    if (code != SQLITE_OK) fail(code);
    kept.reset(made);
  }
  return kept.get();
}

/// What an error of SQLite means to whoever runs the store.
inline StoreError sqlite_error(const std::string& path, int code, int system_error, const std::string& words) {
  const std::string quoted = "`" + path + "`";
  const std::string system_words =
      system_error == 0 ? std::string{} : " (" + std::generic_category().message(system_error) + ")";
  const std::string message = quoted + ": " + words + system_words;
  const int primary = code & 0xFF;
  const bool no_room = system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
  if (primary == SQLITE_FULL || (primary == SQLITE_IOERR && no_room))
    return {StoreErrc::full, quoted + ": there is no room left to write" + system_words,
            "make room where " + quoted + " lies, or raise the quota"};
  switch (primary) {
    case SQLITE_NOMEM:
      throw std::bad_alloc{};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {StoreErrc::unreachable, quoted + ": locked by another program for longer than the time-out",
              "`fuser " + path + "` names who has it open; end what holds it, or allow a longer time-out"};
    case SQLITE_READONLY:
      return {StoreErrc::read_only, quoted + ": can be read but not written" + system_words,
              "give this user the right to write the file and its folder"};
    case SQLITE_NOTADB:
      return {StoreErrc::corrupt, quoted + ": is no SQLite database, or its first page is destroyed",
              "check the path; or restore a backup: canary store restore"};
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:  // e.g. a table that is not there
    case SQLITE_FORMAT:
      return {StoreErrc::corrupt, message, "restore a backup: canary store restore"};
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
      return {StoreErrc::invalid, message};
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {StoreErrc::denied, message, "give this user the right to read and write the file and its folder"};
    default:
      if (system_error == EACCES || system_error == EPERM)
        return {StoreErrc::denied, message, "give this user the right to read and write the file and its folder"};
      return {StoreErrc::unreachable, message, "check that the folder exists and that its disk is well"};
  }
}

}  // namespace canary::detail
