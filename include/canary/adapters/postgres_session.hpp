// postgres_session.hpp: calls of a PostgreSQL store: which failures are tried again, which words the others get, and
// which schemas are understood. Layer adapters; needs libpq. Part of postgres_store.hpp. Tried again, whole, are
// calls that have changed nothing for certain: on a connection that turns out to be dead, once, at once; after a
// deadlock; when a pooler has lost our statements; when there are no tables yet, after making them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_schema.hpp"

namespace canary {

struct PostgresOptions {
  std::uint32_t timeout_ms = 5'000;  ///< for each call; a connect_timeout in the URL, in seconds, for connecting
  std::uint32_t poll_ms = 1'000;     ///< a follower looks at least so often, give or take a fifth
  bool create = true;                ///< make the tables in a database that has none
  bool listen = true;                ///< followers ask to be notified, which a pooler may not pass on
  PostgresSchema schema{};
};

namespace detail {

/// So many hexadecimal digits that nobody draws them twice.
[[nodiscard]] inline std::string postgres_id() {
  std::random_device source;
  std::string id;
  for (int i = 0; i != 32; ++i) id += "0123456789abcdef"[source() % 16];
  return id;
}

/// The end of a transaction whose COMMIT was sent and not answered.
struct PostgresUnknown {
  std::string words;
};

class PostgresSession {
 public:
  /// What a session does where there are no tables.
  enum class Absent : std::uint8_t { make, refuse };

  PostgresSession(PostgresPlace place, const PostgresOptions& options, Absent absent = Absent::make)
      : connection_{std::move(place), options.timeout_ms},
        schema_{options.schema},
        absent_{options.create ? absent : Absent::refuse} {}

  [[nodiscard]] PostgresConnection& connection() noexcept { return connection_; }
  [[nodiscard]] std::uint32_t newest() const noexcept { return schema_.number(); }

  /// What `body(connection)` returns, connected, and tried again where that is safe.
  /// Errors  StoreError; PostgresUnknown from commit().
  template <class Body>
  auto call(Body body);
  /// The same on the connection as it stands, once: a transaction that goes on.
  template <class Body>
  auto call_once(Body body);

  /// Opens a transaction that gives way when it waits for others for too long, and when this program stalls in it; a
  /// patient one may stall.
  void begin(bool patient = false);
  /// A transaction on one snapshot that writes nothing.
  void begin_reading() { connection_.script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); }
  /// Errors  PostgresUnknown when the answer is lost.
  void commit();

  /// Takes back what is open; a connection on which that fails is of no use to the next call.
  void roll_back() noexcept;

  /// Errors  StoreError for a schema that this program cannot work with.
  void check_schema(std::uint32_t number);
  /// The same for an answer whose first column is the number.
  void check_schema(const PostgresRows& rows);
  /// Errors  StoreError for a schema that does not keep what is asked for, as the first one did not.
  void check_records(std::uint32_t number, const char* what);

  /// The number of the store's schema.
  [[nodiscard]] std::uint32_t schema();
  /// The number that the store had when it was last looked at, to choose a statement by; check_schema() at the end of
  /// the transaction tells whether it was right.
  [[nodiscard]] std::uint32_t last_schema() {
    if (schema_seen_ == 0) check_schema(schema());
    return schema_seen_;
  }
  /// Brings the schema to the newest; the one it had.
  std::uint32_t migrate();

 private:
  using Kind = PostgresFailure::Kind;

  [[nodiscard]] bool again(const PostgresFailure& failure, bool reused, int tries);
  void make_tables();
  void run_migrations(std::uint32_t from);
  [[nodiscard]] StoreError explain(const PostgresFailure& failure);

  PostgresConnection connection_;
  PostgresSchema schema_;
  Absent absent_;
  std::uint32_t schema_seen_ = 0;
};

// ---------------------------------------------------------------------------------------------------------------------

inline constexpr std::int64_t postgres_lock = 0x63616E617279;         // `canary`: one at a time makes or changes tables
inline constexpr std::int64_t postgres_day_lock = postgres_lock + 1;  // and adds a day
inline constexpr std::int64_t postgres_spool_lock = postgres_lock + 2;  // and adds or takes away a spool
inline constexpr std::uint32_t postgres_long_ms = 600'000;              // for statements that touch every row

/// Which error it is, and what to do about it.
[[nodiscard]] inline std::pair<StoreErrc, std::string_view> postgres_errc(const PostgresFailure& failure) {
  using enum StoreErrc;
  const std::string& state = failure.state;
  const std::string_view words = failure.what();
  const auto says = [&words](std::string_view part) { return words.find(part) != std::string_view::npos; };
  if (failure.kind == PostgresFailure::Kind::timed_out)
    return {unreachable, "is the server there, and not overloaded?"};
  if (state == "3D000") return {denied, "create the database first: createdb NAME"};
  if (failure.in_class("28")) return {denied, "check user and password, and the server's pg_hba.conf"};
  // A pooler's refusals: pgbouncer speaks English only, and has one code for everything.
  if (state == "08P01" && (says("authentication failed") || says("no such user") || says("no such database")))
    return {denied, "check user, password and database in the pooler's settings"};
  if (state == "42501")
    return {denied, "the user needs rights on the canary_ tables, and to create them in an empty database"};
  if (state == "25006") return {read_only, "connect to the primary server"};
  if (state == "53100") return {full, "the server's disk is full"};
  if (failure.in_class("40") || state == "55P03") return {unreachable, "others were in the way: try again"};
  if (failure.in_class("XX")) return {corrupt, "restore a backup"};
  if (failure.in_class("23") || failure.in_class("22") || failure.in_class("54")) return {invalid, {}};
  if (failure.in_class("42") || failure.in_class("0A")) return {corrupt, "somebody has changed the canary_ tables"};
  return {unreachable, state == "53300" ? "raise the server's max_connections, or use a pooler"
                                        : "is the server running, and are host and port right?"};
}

template <class Body>
auto PostgresSession::call(Body body) {
  for (int tries = 0;; ++tries) {
    const bool reused = connection_.open();
    connection_.start_clock();
    try {
      if (!reused) connection_.connect();
      return body(connection_);
    } catch (const PostgresFailure& failure) {
      roll_back();
      if (!again(failure, reused, tries)) throw explain(failure);
    } catch (...) {
      roll_back();
      throw;
    }
  }
}

template <class Body>
auto PostgresSession::call_once(Body body) {
  try {
    return body(connection_);
  } catch (const PostgresFailure& failure) {
    roll_back();
    throw explain(failure);
  } catch (...) {
    roll_back();
    throw;
  }
}

inline void PostgresSession::roll_back() noexcept {
  if (!connection_.open() || connection_.idle()) return;
  try {
    connection_.start_clock();
    connection_.script("ROLLBACK");
  } catch (...) {
    connection_.drop();
  }
}

inline bool PostgresSession::again(const PostgresFailure& failure, bool reused, int tries) {
  constexpr int most_tries = 8;
  if (failure.kind == Kind::timed_out || tries == most_tries) return false;
  if (failure.kind == Kind::lost) return reused;
  if (failure.state == "26000" || failure.state == "42P05") return connection_.unname();
  if (failure.state == "40001" || failure.state == "40P01") {
    std::this_thread::sleep_for(std::chrono::milliseconds{std::random_device{}() % (10u << tries)});
    return true;
  }
  if (failure.state == "0A000" && reused) {  // a migration changed the type of a prepared statement's answer
    connection_.drop();
    return true;
  }
  if (failure.state == "42703" && schema_seen_ != 0) {  // the database was made anew, by an older program
    schema_seen_ = 0;
    return true;
  }
  if (failure.state != "42P01" || tries != 0) return false;
  if (absent_ == Absent::refuse)
    throw StoreError{StoreErrc::unreachable, connection_.place().shown + ": holds no canary tables",
                     "is it the right database? `canary model register` makes them"};
  try {
    connection_.start_clock();
    make_tables();
    schema_seen_ = 0;  // or another program has just made them, of an older schema
    return true;
  } catch (const PostgresFailure& worse) {
    roll_back();
    if (worse.kind == Kind::refused && (worse.state == "26000" || worse.state == "42P05") && connection_.unname())
      return again(failure, reused, tries);
    throw explain(worse);
  } catch (const PostgresUnknown&) {
    return true;  // look whether it was made
  }
}

inline void PostgresSession::begin(bool patient) {
  const std::uint32_t ms = std::max(connection_.timeout_ms(), 2u);
  connection_.script("BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL lock_timeout = " + std::to_string(ms) +
                     ";SET LOCAL idle_in_transaction_session_timeout = " + std::to_string(patient ? 0 : ms / 2) +
                     // Durable once it returns, whatever is usual on the server.
                     ";SELECT set_config('synchronous_commit', 'on', true)"
                     " WHERE current_setting('synchronous_commit') = 'off'");
}

inline void PostgresSession::commit() {
  try {
    if (connection_.script("COMMIT").command() != "COMMIT") throw postgres_nonsense("COMMIT was not obeyed");
  } catch (const PostgresFailure& failure) {
    if (failure.kind == Kind::refused) throw;
    throw PostgresUnknown{failure.what()};
  }
}

inline void PostgresSession::check_schema(std::uint32_t number) {
  const std::uint32_t mine = newest();
  schema_seen_ = number;
  if (number == mine || number + 1 == mine) return;
  const std::string has = connection_.place().shown + " has schema " + std::to_string(number) +
                          ", this program works with " + (mine > 1 ? std::to_string(mine - 1) + " and " : "") +
                          std::to_string(mine);
  if (number > mine) throw StoreError{StoreErrc::schema_newer, has, "upgrade this program"};
  throw StoreError{StoreErrc::schema_older, has, "run `canary store migrate`"};
}

inline void PostgresSession::check_schema(const PostgresRows& rows) {
  if (rows.size() == 0) throw postgres_nonsense("canary_store has no row");
  check_schema(rows.number<std::uint32_t>(0, 0));
}

inline void PostgresSession::check_records(std::uint32_t number, const char* what) {
  if (number >= postgres_records_from) return;
  throw StoreError{StoreErrc::schema_older,
                   connection_.place().shown + " has schema " + std::to_string(number) + ", which keeps no " + what,
                   "run `canary store migrate`"};
}

inline std::uint32_t PostgresSession::schema() {
  const PostgresRows rows = connection_.run("SELECT schema FROM canary_store WHERE id = 1");
  if (rows.size() == 0) throw postgres_nonsense("canary_store has no row");
  return rows.number<std::uint32_t>(0, 0);
}

inline void PostgresSession::run_migrations(std::uint32_t from) {
  connection_.start_clock(postgres_long_ms);
  for (const PostgresMigration& each : schema_.migrations.subspan(from)) connection_.script(std::string{each.sql});
}

inline void PostgresSession::make_tables() {
  begin();
  connection_.run("SELECT pg_advisory_xact_lock($1)", {postgres_lock});
  if (connection_.run("SELECT to_regclass('canary_store')").null(0, 0)) {
    run_migrations(0);
    connection_.run("INSERT INTO canary_store (id, schema, token, change) VALUES (1, $1, $2, 0)",
                    {newest(), postgres_id()});
  }
  commit();
}

inline std::uint32_t PostgresSession::migrate() {
  return call([this](PostgresConnection& connection) {
    const std::uint32_t before = schema();
    if (before == newest()) return before;
    begin();
    connection.run("SELECT pg_advisory_xact_lock($1)", {postgres_lock});
    // In the order of a commit, so that the two cannot lock each other out.
    connection.script(
        "LOCK TABLE canary_tasks, canary_versions, canary_history, canary_store IN ACCESS EXCLUSIVE MODE");
    const std::uint32_t had = schema();  // another one may have been first
    if (had > newest()) check_schema(had);
    if (had < newest()) {
      run_migrations(had);
      connection.run("UPDATE canary_store SET schema = $1 WHERE id = 1", {newest()});
    }
    try {
      commit();
    } catch (const PostgresUnknown& unknown) {
      throw StoreError{StoreErrc::unreachable,
                       connection.place().shown + ": whether the schema was changed is unknown: " + unknown.words,
                       "run the same once more: it does nothing that is done"};
    }
    return had;
  });
}

/// A statement that fails on tables of another schema is told as that.
inline StoreError PostgresSession::explain(const PostgresFailure& failure) {
  const auto [code, hint] = postgres_errc(failure);
  if ((code == StoreErrc::corrupt || code == StoreErrc::invalid) && connection_.idle()) {
    try {
      connection_.start_clock();
      check_schema(schema());
    } catch (const PostgresFailure&) {  // then the first failure has to do
      roll_back();
    } catch (const StoreError& other_schema) {
      return other_schema;
    }
  }
  return {code, connection_.place().shown + ": " + failure.what(), std::string{hint}};
}

}  // namespace detail
}  // namespace canary
