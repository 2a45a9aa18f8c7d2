// postgres_days.hpp: a partitioned table's parts, one for each day (UTC) of interaction ids. Layer adapters; needs
// libpq. Part of postgres_store.hpp. A part is made by the first batch that needs it, and the next day's ahead of it.
// It is made aside and then attached, so that nobody who reads or writes other days waits; one program at a time,
// behind an advisory lock, so that two that begin a day at once both get it. Parts that people made, of whatever span,
// count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_session.hpp"
#include "canary/control/time_text.hpp"
#include "canary/core/recorder.hpp"

namespace canary::detail {

inline constexpr TimeUs day_us = 86'400'000'000;

/// The largest id that a bigint holds, and that InteractionId makes.
inline constexpr std::uint64_t postgres_most_id = std::numeric_limits<std::int64_t>::max();

class PostgresDays {
 public:
  struct Part {
    std::string name;  ///< as SQL takes it
    std::uint64_t first = 0;
    std::uint64_t last = postgres_most_id;
  };

  explicit PostgresDays(std::string table) : table_{std::move(table)} {}

  [[nodiscard]] const std::string& table() const noexcept { return table_; }

  /// Day of an id, counted from 1970, and the first and last id of a day.
  [[nodiscard]] static constexpr std::int64_t day_of(std::uint64_t id) noexcept {
    return InteractionId::time_us(id) / day_us;
  }
  [[nodiscard]] static constexpr std::uint64_t first_of(std::int64_t day) noexcept {
    return InteractionId::first_at(day * day_us);
  }
  [[nodiscard]] static constexpr std::uint64_t last_of(std::int64_t day) noexcept {
    return std::min(InteractionId::first_at((day + 1) * day_us) - 1, postgres_most_id);
  }

  /// What is known may not be so any more: a transaction was taken back, or somebody dropped a day.
  void forget() noexcept { parts_.clear(); }

  /// Asks for the parts, by id.
  const std::vector<Part>& look(PostgresConnection& connection);

  /// Makes the parts that rows with these ids need, in the transaction that is open.
  template <class Row>
  void need(PostgresConnection& connection, std::span<const Row> rows);

  /// Makes the part of the day after the one that was needed last, in a transaction of its own; once a day, and if that
  /// fails, whoever needs it will be told why.
  void make_ahead(PostgresSession& session);

 private:
  [[nodiscard]] bool covers(std::uint64_t id) const noexcept {
    const auto after = std::upper_bound(parts_.begin(), parts_.end(), id,
                                        [](std::uint64_t wanted, const Part& part) { return wanted < part.first; });
    return after != parts_.begin() && id <= std::prev(after)->last;
  }
  void make(PostgresConnection& connection, const std::set<std::int64_t>& days);

  std::string table_;
  std::vector<Part> parts_;
  std::int64_t latest_ = 0;
  std::int64_t ahead_ = 0;  // that was tried
};

// ---------------------------------------------------------------------------------------------------------------------

inline const std::vector<PostgresDays::Part>& PostgresDays::look(PostgresConnection& connection) {
  const auto rows = connection.run(
      "SELECT name, coalesce(substring(bound FROM 'FROM \\(''(\\d+)''\\)'), '0'),"
      " coalesce(substring(bound FROM 'TO \\(''(\\d+)''\\)')::bigint - 1, 9223372036854775807)"
      " FROM (SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i"
      " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass) AS parts",
      {table_});
  parts_.clear();
  for (int i = 0; i != rows.size(); ++i)
    parts_.push_back({rows.text(i, 0), rows.number<std::uint64_t>(i, 1), rows.number<std::uint64_t>(i, 2)});
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) { return a.first < b.first; });
  return parts_;
}

template <class Row>
void PostgresDays::need(PostgresConnection& connection, std::span<const Row> rows) {
  std::set<std::int64_t> missing;
  std::uint64_t first = 1;
  std::uint64_t last = 0;  // of the day that the row before was of
  std::int64_t latest = 0;
  for (const Row& row : rows) {
    if (row.id >= first && row.id <= last) continue;
    const std::int64_t day = day_of(row.id);
    first = first_of(day);
    last = last_of(day);
    latest = std::max(latest, day);
    if (!covers(row.id)) missing.insert(day);
  }
  if (!rows.empty()) latest_ = latest;
  if (!missing.empty()) make(connection, missing);
}

inline void PostgresDays::make(PostgresConnection& connection, const std::set<std::int64_t>& days) {
  const auto all_there = [&] {
    look(connection);
    return std::all_of(days.begin(), days.end(), [this](std::int64_t day) { return covers(first_of(day)); });
  };
  if (all_there()) return;
  connection.run("SELECT pg_advisory_xact_lock($1)", {postgres_day_lock});
  if (all_there()) return;
  for (const std::int64_t day : days) {
    if (covers(first_of(day))) continue;
    std::string name = table_ + '_';
    const std::string date = time_text(day * day_us).substr(0, 10);
    std::copy_if(date.begin(), date.end(), std::back_inserter(name), [](char c) { return c != '-'; });
    const std::uint64_t last = last_of(day);
    connection.start_clock();
    connection.script("CREATE TABLE " + name + " (LIKE " + table_ + " INCLUDING ALL);ALTER TABLE " + table_ +
                      " ATTACH PARTITION " + name + " FOR VALUES FROM (" + std::to_string(first_of(day)) + ") TO (" +
                      (last == postgres_most_id ? "MAXVALUE" : std::to_string(last + 1)) + ")");
  }
  look(connection);
}

inline void PostgresDays::make_ahead(PostgresSession& session) {
  const std::int64_t next = latest_ + 1;
  if (latest_ == 0 || ahead_ == next || first_of(next) > postgres_most_id) return;
  ahead_ = next;
  if (covers(first_of(next))) return;
  try {
    session.begin();
    make(session.connection(), {next});
    session.commit();
  } catch (const PostgresFailure&) {
    forget();
    session.roll_back();
  } catch (const PostgresUnknown&) {
    forget();
  }
}

}  // namespace canary::detail
