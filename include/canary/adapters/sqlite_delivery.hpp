// sqlite_delivery.hpp: one transaction of a drainer. Layer adapters; a part of sqlite_store.hpp.
//
// Rows come by the hundred thousand a second, so the statements for them are kept, bound number by number, and for
// interactions take many rows at once: a step of SQLite costs as much as half a row.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_recorded.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/stored_text.hpp"

namespace canary::detail {

class SqliteDelivery final : public Delivery {
 public:
  /// Within guarded() of the recording's session.
  explicit SqliteDelivery(std::shared_ptr<SqliteRecording> recording)
      : recording_{std::move(recording)},
        db_{recording_->session.writable()},
        transaction_{std::in_place, db_, SqliteTransaction::Kind::write} {
    check_records(recording_->path, recording_->session.checked_row(db_));
    recording_->lent = true;
  }
  ~SqliteDelivery() override { end(); }
  SqliteDelivery(const SqliteDelivery&) = delete;
  SqliteDelivery& operator=(const SqliteDelivery&) = delete;

  [[nodiscard]] bool begins(const SpoolRecord& spool) {
    serial_ = spool.serial;
    return is_current(db_, spool);
  }

  [[nodiscard]] std::uint32_t task_number(std::string_view task) override;
  [[nodiscard]] std::vector<std::uint64_t> add(std::span<const Interaction> rows) override;
  void add_payloads(std::span<const Payload> rows) override;
  void claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) override;
  void settle_units(std::span<const UnitKey> units, std::vector<bool>& first) override;
  void find_units(std::span<const UnitKey> units, std::vector<bool>& counted) override;
  void join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) override;
  void put_waiting(std::span<const Feedback> rows) override;
  [[nodiscard]] std::size_t waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) override;
  void drop_waiting(std::span<const std::uint64_t> ids) override;
  std::size_t drop_waiting_before(TimeUs time_us) override;
  void put(const CountsRow& row) override;
  void commit(std::span<const LanePosition> lanes, TimeUs now_us) override;

 private:
  static constexpr std::size_t rows_at_once = 32;

  /// What work(connection) returns. After an error the delivery is of no use, and it says so.
  template <class Work>
  auto within(Work work) {
    if (!transaction_ || failed_)
      throw StoreError{StoreErrc::invalid, "`" + recording_->path + "`: the delivery is over: begin another"};
    try {
      return work(db_);
    } catch (const StoreError& error) {
      failed_ = true;
      drop_ = error.code != StoreErrc::invalid;
      throw;
    }
  }

  /// Takes back what was not committed. The transaction goes before its connection does.
  void end() noexcept {
    if (!transaction_) return;
    transaction_.reset();
    recording_->lent = false;
    if (drop_) recording_->session.drop();
  }

  /// `INSERT ... VALUES (?, ...), ...` with `rows` rows.
  [[nodiscard]] static std::string insert_text(const char* verb, std::size_t rows);
  void check_ids(std::span<const Interaction> rows) const;
  static int bind_row(sqlite3_stmt* statement, int at, const Interaction& row) noexcept;
  void add_singly(std::span<const Interaction> rows, std::vector<std::uint64_t>& left_out);

  /// Calls visit(i) for each unit, in the order of the table: its pages are touched once, however the units come.
  template <class Visit>
  static void in_order(std::span<const UnitKey> units, Visit visit);

  std::shared_ptr<SqliteRecording> recording_;
  SqliteConnection& db_;
  std::optional<SqliteTransaction> transaction_;
  std::uint32_t serial_ = 0;
  bool failed_ = false;
  bool drop_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------

inline std::uint32_t SqliteDelivery::task_number(std::string_view task) {
  return within([&](SqliteConnection& db) {
    {
      SqliteQuery found{db, "SELECT number FROM recorded_tasks WHERE name = ?1", task};
      if (found.next()) return found.number(0);
    }
    SqliteQuery made{db, "INSERT INTO recorded_tasks (name) VALUES (?1) RETURNING number", task};
    if (!made.next()) db.fail_corrupt("a task got no number");
    const std::uint32_t number = made.number(0);
    (void)made.next();
    return number;
  });
}

inline std::string SqliteDelivery::insert_text(const char* verb, std::size_t rows) {
  std::string text{verb};
  ((text += " INTO interactions (") += interaction_column_names) += ") VALUES ";
  for (std::size_t row = 0; row != rows; ++row) {
    text += row == 0 ? "(?" : ", (?";
    for (int column = 1; column != interaction_columns; ++column) text += ",?";
    text += ')';
  }
  return text;
}

/// OR IGNORE would pass over what a CHECK refuses.
inline void SqliteDelivery::check_ids(std::span<const Interaction> rows) const {
  for (const Interaction& row : rows)
    if (row.id == 0 || row.id > sqlite_most)
      db_.fail_invalid("the number " + std::to_string(row.id) + " is no id of an interaction");
}

inline int SqliteDelivery::bind_row(sqlite3_stmt* statement, int at, const Interaction& row) noexcept {
  int failed = 0;
  const auto number = [&](std::uint64_t value) {
    failed |= sqlite3_bind_int64(statement, ++at, static_cast<sqlite3_int64>(value));
  };
  const auto unless = [&](std::uint32_t value, std::uint32_t none) {
    if (value == none)
      failed |= sqlite3_bind_null(statement, ++at);
    else
      number(value);
  };
  number(row.id);
  number(static_cast<std::uint64_t>(row.at_us));
  number(row.task);
  number(row.revision);
  number(row.point);
  number(row.number);
  number(static_cast<std::uint64_t>(row.reason));
  number(row.error);
  unless(row.latency_us, no_latency);
  unless(row.score, no_score);
  number(row.tokens_in);
  number(row.tokens_out);
  number(std::min(row.cost_microusd, sqlite_most));
  return failed;
}

inline void SqliteDelivery::add_singly(std::span<const Interaction> rows, std::vector<std::uint64_t>& left_out) {
  static const std::string sql = insert_text("INSERT OR IGNORE", 1);
  SqliteRepeated insert{db_, sql.c_str()};
  for (const Interaction& row : rows) {
    if (const int code = bind_row(insert.get(), 0, row); code != SQLITE_OK) db_.fail(code);
    if (insert.change() == 0) left_out.push_back(row.id);
  }
}

inline std::vector<std::uint64_t> SqliteDelivery::add(std::span<const Interaction> rows) {
  return within([&](SqliteConnection& db) {
    static const std::string sql = insert_text("INSERT", rows_at_once);
    check_ids(rows);
    std::vector<std::uint64_t> left_out;
    SqliteRepeated insert{db, sql.c_str()};
    for (; rows.size() >= rows_at_once; rows = rows.subspan(rows_at_once)) {
      int at = 0;
      int failed = 0;
      for (const Interaction& row : rows.first(rows_at_once)) {
        failed |= bind_row(insert.get(), at, row);
        at += interaction_columns;
      }
      if (failed != SQLITE_OK) db.fail(failed);
      const int code = insert.step();
      insert.reset();
      if (code == SQLITE_CONSTRAINT)
        add_singly(rows.first(rows_at_once), left_out);  // which of them it was, it says not
    }
    add_singly(rows, left_out);
    return left_out;
  });
}

inline void SqliteDelivery::add_payloads(std::span<const Payload> rows) {
  within([&](SqliteConnection& db) {
    std::string request;
    std::string response;
    for (const Payload& row : rows)
      run(db, "INSERT OR IGNORE INTO payloads (id, request, response) VALUES (?1, ?2, ?3)", row.id,
          stored_text(row.request, request), stored_text(row.response, response));
  });
}

template <class Visit>
void SqliteDelivery::in_order(std::span<const UnitKey> units, Visit visit) {
  std::vector<std::size_t> order(units.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tie(units[a].task, units[a].life, units[a].point) <
           std::tie(units[b].task, units[b].life, units[b].point);
  });
  for (const std::size_t i : order) visit(i);
}

inline void SqliteDelivery::claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) {
  within([&](SqliteConnection& db) {
    fresh.assign(units.size(), false);
    SqliteRepeated claim{db,
                         "INSERT INTO units (task, life, point, id, settled) VALUES (?1, ?2, ?3, ?4, ?5) "
                         "ON CONFLICT (task, life, point) DO NOTHING"};
    in_order(units, [&](std::size_t i) {
      const UnitKey& unit = units[i];
      claim.bind(unit.task, unit.life, unit.point, unit.id, unit.settled ? 1 : 0);
      fresh[i] = claim.change() != 0;
    });
  });
}

inline void SqliteDelivery::settle_units(std::span<const UnitKey> units, std::vector<bool>& first) {
  within([&](SqliteConnection& db) {
    first.assign(units.size(), false);
    SqliteRepeated settle{db,
                          "UPDATE units SET settled = 1 "
                          "WHERE task = ?1 AND life = ?2 AND point = ?3 AND id = ?4 AND settled = 0"};
    in_order(units, [&](std::size_t i) {
      settle.bind(units[i].task, units[i].life, units[i].point, units[i].id);
      first[i] = settle.change() != 0;
    });
  });
}

inline void SqliteDelivery::find_units(std::span<const UnitKey> units, std::vector<bool>& counted) {
  within([&](SqliteConnection& db) {
    counted.assign(units.size(), false);
    SqliteRepeated find{db, "SELECT 1 FROM units WHERE task = ?1 AND life = ?2 AND point = ?3 AND id = ?4"};
    in_order(units, [&](std::size_t i) {
      find.bind(units[i].task, units[i].life, units[i].point, units[i].id);
      counted[i] = find.step() == SQLITE_ROW;
      find.reset();
    });
  });
}

inline void SqliteDelivery::join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) {
  within([&](SqliteConnection& db) {
    static const std::string sql =
        "SELECT " + std::string{interaction_column_names} + ", rescored FROM interactions WHERE id = ?1";
    joined.assign(rows.size(), {});
    for (std::size_t i = 0; i != rows.size(); ++i) {
      JoinedFeedback& each = joined[i];
      {
        SqliteQuery found{db, sql.c_str(), rows[i].id};
        if (!found.next()) continue;
        each.interaction = read_interaction(found);
        each.before = each.interaction.score;
        each.result = found.integer(interaction_columns) == 0 ? Joined::done : Joined::already;
      }
      if (each.result == Joined::already) continue;
      each.interaction.score = rows[i].score;
      run(db, "UPDATE interactions SET score = ?2, rescored = 1 WHERE id = ?1", rows[i].id, rows[i].score);
    }
  });
}

inline void SqliteDelivery::put_waiting(std::span<const Feedback> rows) {
  within([&](SqliteConnection& db) {
    SqliteRepeated put{db,
                       "INSERT INTO waiting_feedback (id, at_us, score) VALUES (?1, ?2, ?3) "
                       "ON CONFLICT (id) DO NOTHING"};
    for (const Feedback& row : rows) {
      put.bind(row.id, row.at_us, row.score);
      (void)put.change();
    }
  });
}

/// The row of one that cannot be joined is not looked at: the index has its time and its id.
inline std::size_t SqliteDelivery::waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) {
  return within([&](SqliteConnection& db) {
    ready.clear();
    SqliteQuery query{db,
                      "SELECT id, at_us, CASE WHEN EXISTS (SELECT 1 FROM interactions WHERE interactions.id = "
                      "waiting_feedback.id) THEN score END FROM waiting_feedback INDEXED BY waiting_feedback_by_time "
                      "WHERE (at_us, id) > (?1, ?2) ORDER BY at_us, id",
                      from.at_us, from.id};
    std::size_t looks = 0;
    while (query.next()) {
      if (looks == waiting_at_once || ready.size() == most) return looks;
      ++looks;
      from = {query.integer(1), query.number<std::uint64_t>(0)};
      if (!query.null(2)) ready.push_back({from.id, from.at_us, query.number(2)});
    }
    from = {};
    return looks;
  });
}

inline void SqliteDelivery::drop_waiting(std::span<const std::uint64_t> ids) {
  within([&](SqliteConnection& db) {
    SqliteRepeated drop{db, "DELETE FROM waiting_feedback WHERE id = ?1"};
    for (const std::uint64_t id : ids) {
      drop.bind(id);
      (void)drop.change();
    }
  });
}

inline std::size_t SqliteDelivery::drop_waiting_before(TimeUs time_us) {
  return within([&](SqliteConnection& db) {
    run(db,
        "DELETE FROM waiting_feedback WHERE id IN (SELECT id FROM waiting_feedback "
        "INDEXED BY waiting_feedback_by_time WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)",
        time_us, waiting_at_once);
    return static_cast<std::size_t>(sqlite3_changes(db.get()));
  });
}

inline void SqliteDelivery::put(const CountsRow& row) {
  within([&](SqliteConnection& db) { put_counts(db, {row.kind, row.task, row.of, row.at, serial_, row.bytes}); });
}

inline void SqliteDelivery::commit(std::span<const LanePosition> lanes, TimeUs now_us) {
  within([&](SqliteConnection& db) {
    run(db, "UPDATE spools SET generation = generation + 1, at_us = ?2, lanes = ?3 WHERE serial = ?1", serial_, now_us,
        SqliteBlob{lanes_bytes(lanes)});
    try {
      transaction_->commit();
    } catch (StoreError& error) {
      error.unknown = true;  // what the log holds of it may come to life when the file is opened after a crash
      throw;
    }
  });
  end();
}

}  // namespace canary::detail
