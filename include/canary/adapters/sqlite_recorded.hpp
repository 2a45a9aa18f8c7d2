// sqlite_recorded.hpp: interactions, spools and counts, to and from SQLite. Layer adapters; a part of sqlite_store.hpp.
// Every function works within the caller's transaction, in a file that keeps interactions.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <sqlite3.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_file.hpp"
#include "canary/adapters/sqlite_schema.hpp"
#include "canary/adapters/sqlite_session.hpp"
#include "canary/control/bytes.hpp"
#include "canary/control/interaction_store.hpp"

namespace canary::detail {

/// The connection of an InteractionStore, and whether a Delivery has it.
struct SqliteRecording {
  explicit SqliteRecording(std::shared_ptr<SqlitePlace> place)
      : path{place->path}, session{std::move(place), settings} {}

  /// Units of a life, at random points, fit into this cache: 2^20 take 21 MB.
  static constexpr const char* settings = "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 16384";

  std::string path;
  SqliteSession session;
  bool lent = false;
};

/// A statement that is run again and again with other numbers.
class SqliteRepeated {
 public:
  SqliteRepeated(SqliteConnection& db, const char* sql) : db_{db}, statement_{db.prepared(sql)} {}
  SqliteRepeated(const SqliteRepeated&) = delete;
  SqliteRepeated& operator=(const SqliteRepeated&) = delete;
  ~SqliteRepeated() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

  template <std::integral... Numbers>
  void bind(Numbers... numbers) {
    int at = 0;
    int failed = 0;
    ((failed |= sqlite3_bind_int64(statement_, ++at, static_cast<sqlite3_int64>(numbers))), ...);
    if (failed != SQLITE_OK) db_.fail(failed);
  }
  [[nodiscard]] sqlite3_stmt* get() const noexcept { return statement_; }

  /// SQLITE_DONE, SQLITE_ROW or SQLITE_CONSTRAINT; other errors are thrown.
  [[nodiscard]] int step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_DONE || code == SQLITE_ROW || (code & 0xFF) == SQLITE_CONSTRAINT) return code & 0xFF;
    db_.fail(code);
  }
  void reset() noexcept { sqlite3_reset(statement_); }

  /// Runs it to its end; how many rows it changed.
  int change() {
    if (step() == SQLITE_CONSTRAINT) db_.fail(SQLITE_CONSTRAINT);
    reset();
    return sqlite3_changes(db_.get());
  }

 private:
  SqliteConnection& db_;
  sqlite3_stmt* statement_;
};

/// Largest number that a column holds.
inline constexpr std::uint64_t sqlite_most = std::numeric_limits<std::int64_t>::max();

// --- spools ----------------------------------------------------------------------------------------------------------

/// Reads `serial, spool, node, generation, at_us, lanes`.
[[nodiscard]] inline SpoolRecord read_spool(const SqliteConnection& db, const SqliteQuery& query) {
  SpoolRecord record;
  record.serial = query.number(0);
  record.spool = query.text(1);
  record.node = query.number(2);
  record.generation = query.number<std::uint64_t>(3);
  record.at_us = query.integer(4);
  NumberReader lanes{query.bytes(5)};
  while (!lanes.done() && !lanes.failed()) {
    const auto lane = static_cast<std::uint32_t>(lanes.take(0xFFFF'FFFF));
    record.lanes.push_back({lane, lanes.take()});
  }
  if (lanes.failed()) db.fail_corrupt("spool `" + record.spool + "`: its lanes make no sense");
  return record;
}

[[nodiscard]] inline std::optional<SpoolRecord> find_spool(SqliteConnection& db, std::string_view spool) {
  SqliteQuery query{db, "SELECT serial, spool, node, generation, at_us, lanes FROM spools WHERE spool = ?1", spool};
  if (!query.next()) return {};
  return read_spool(db, query);
}

/// True while nothing else was committed for the spool since the record was read.
[[nodiscard]] inline bool is_current(SqliteConnection& db, const SpoolRecord& spool) {
  SqliteQuery query{db, "SELECT 1 FROM spools WHERE serial = ?1 AND spool = ?2 AND generation = ?3", spool.serial,
                    spool.spool, spool.generation};
  return query.next();
}

// --- interactions ----------------------------------------------------------------------------------------------------

inline constexpr int interaction_columns = 13;
/// In the order that is read and written.
inline constexpr std::string_view interaction_column_names =
    "id, at_us, task, revision, point, number, reason, error, latency_us, score, tokens_in, tokens_out, cost_microusd";

/// Reads those columns.
[[nodiscard]] inline Interaction read_interaction(const SqliteQuery& query) {
  Interaction row;
  row.id = query.number<std::uint64_t>(0);
  row.at_us = query.integer(1);
  row.task = query.number(2);
  row.revision = query.number(3);
  row.point = query.number(4);
  row.number = query.number<std::uint16_t>(5);
  row.reason = static_cast<Reason>(query.number<std::uint8_t>(6));
  row.error = query.number<std::uint8_t>(7);
  row.latency_us = query.null(8) ? no_latency : query.number(8);
  row.score = query.null(9) ? no_score : query.number(9);
  row.tokens_in = query.number(10);
  row.tokens_out = query.number(11);
  row.cost_microusd = query.number<std::uint64_t>(12);
  return row;
}

// --- counts ----------------------------------------------------------------------------------------------------------

inline void put_counts(SqliteConnection& db, const CountsRow& row) {
  run(db,
      "INSERT INTO counts (kind, task, of, at, serial, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT (kind, task, of, at, serial) DO UPDATE SET bytes = excluded.bytes",
      static_cast<std::uint8_t>(row.kind), row.task, row.of, row.at, row.serial, SqliteBlob{row.bytes});
}

[[nodiscard]] inline std::vector<CountsRow> read_counts(SqliteConnection& db, const CountsFilter& filter) {
  constexpr std::uint32_t most = 0xFFFF'FFFF;
  // A key helps as far as its columns are known to be equal, so each form of the question has a statement of its own; all
  // take the same parameters.
  const char* sql =
      filter.serial ? "SELECT task, of, at, serial, bytes FROM counts INDEXED BY counts_by_serial "
                      "WHERE kind = ?1 AND task BETWEEN ?2 AND ?3 AND of BETWEEN ?4 AND ?5 AND at BETWEEN ?6 AND ?7 "
                      "AND serial = ?8 ORDER BY task, of, at"
      : filter.task && filter.of
          ? "SELECT task, of, at, serial, bytes FROM counts WHERE kind = ?1 AND task = ?2 AND task = ?3 AND of = ?4 "
            "AND of = ?5 AND at BETWEEN ?6 AND ?7 AND ?8 IS NOT NULL ORDER BY at, serial"
          : "SELECT task, of, at, serial, bytes FROM counts "
            "WHERE kind = ?1 AND task BETWEEN ?2 AND ?3 AND of BETWEEN ?4 AND ?5 AND at BETWEEN ?6 AND ?7 "
            "AND ?8 IS NOT NULL ORDER BY task, of, at, serial";
  SqliteQuery query{db,
                    sql,
                    static_cast<std::uint8_t>(filter.kind),
                    filter.task.value_or(0),
                    filter.task.value_or(most),
                    filter.of.value_or(0),
                    filter.of.value_or(most),
                    filter.from,
                    filter.to,
                    filter.serial.value_or(0)};
  std::vector<CountsRow> rows;
  while (query.next())
    rows.push_back({filter.kind, query.number(0), query.number(1), query.number(2), query.number(3), query.text(4)});
  return rows;
}

/// What a restore cannot keep: revisions begin anew, and evidence is told apart by them. Whoever delivers right now must
/// look again.
inline void forget_evidence(SqliteConnection& db) {
  static_assert(static_cast<int>(CountsKind::evidence) == 2);
  db.execute(
      "DELETE FROM counts WHERE kind = 2; DELETE FROM units; DELETE FROM waiting_feedback; "
      "UPDATE spools SET generation = generation + 1");
}

}  // namespace canary::detail
