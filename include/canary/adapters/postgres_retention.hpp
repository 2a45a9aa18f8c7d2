// postgres_retention.hpp: takes away what is older, in parts. Layer adapters; needs libpq. Part of postgres_store.hpp.
// A day of ids is dropped whole once the line lies two hours past its end: an outcome that came later than that goes
// with its decision. What lies nearer goes row by row, by the time of its outcome. So retention is cheapest with a line
// at two o'clock UTC.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "canary/adapters/postgres_recorded.hpp"
#include "canary/control/window.hpp"

namespace canary::detail {

class PostgresRetention {
 public:
  explicit PostgresRetention(PostgresRecording& recording) : recording_{recording} {}

  /// One part, on a connection without a transaction; false when there is more.
  /// Errors  PostgresFailure, PostgresUnknown; the next call sees how far it is.
  [[nodiscard]] bool forget_before(TimeUs time_us);
  /// Likewise.
  [[nodiscard]] bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living);

 private:
  static constexpr std::size_t rows_a_part = 10'000;

  [[nodiscard]] bool drop_day(PostgresDays& days);
  [[nodiscard]] bool forget_rows();
  [[nodiscard]] bool forget_windows();

  PostgresRecording& recording_;
  TimeUs time_us_ = 0;
  std::uint64_t looked_to_ = 0;  // id up to which single rows were looked at
};

// ---------------------------------------------------------------------------------------------------------------------

inline bool PostgresRetention::forget_before(TimeUs time_us) {
  if (std::exchange(time_us_, time_us) != time_us) looked_to_ = 0;
  if (drop_day(recording_.interactions) || drop_day(recording_.payloads)) return false;
  if (!forget_rows() || !forget_windows()) return false;
  looked_to_ = 0;
  return true;
}

/// Drops one day whose end lies far enough before; false if there is none. It waits for the deliveries that are under
/// way, and others wait for it: it gives up before they do.
inline bool PostgresRetention::drop_day(PostgresDays& days) {
  constexpr TimeUs late_us = 2 * 3'600'000'000;
  PostgresConnection& connection = recording_.session.connection();
  connection.start_clock();
  const auto& parts = days.look(connection);
  const std::uint64_t line = InteractionId::first_at(time_us_ - late_us);
  const auto old = std::find_if(parts.begin(), parts.end(), [line](const auto& part) { return part.last < line; });
  if (old == parts.end()) return false;
  const std::string name = old->name;
  days.forget();
  recording_.session.begin();
  connection.script("SET LOCAL lock_timeout = " + std::to_string(std::max(connection.timeout_ms() / 2, 1u)) +
                    ";DROP TABLE IF EXISTS " + name);
  recording_.session.commit();
  return true;
}

/// Ids rise with time, but for the length of a request and for nodes that run ahead: past the first id of the time, a
/// part without anything old is the last.
inline bool PostgresRetention::forget_rows() {
  PostgresConnection& connection = recording_.session.connection();
  const std::uint64_t first = InteractionId::first_at(time_us_);
  const std::uint64_t end = std::min(InteractionId::first_at(time_us_ + day_us), postgres_most_id);
  connection.start_clock();
  recording_.session.begin();
  connection.script(postgres_by_index);
  const PostgresRows found =
      connection.run("SELECT id FROM canary_interactions WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3",
                     {looked_to_, end, rows_a_part - 1});
  const std::uint64_t to = found.size() == 0 ? end : found.number<std::uint64_t>(0, 0);
  connection.start_clock();
  connection.run(
      "DELETE FROM canary_payloads p WHERE id > $1 AND id <= $2 AND coalesce("
      "(SELECT at_us < $3 FROM canary_interactions i WHERE i.id = p.id AND i.id <= $2), p.id < $4)",
      {looked_to_, to, time_us_, first});
  connection.start_clock();
  const PostgresRows gone = connection.run("DELETE FROM canary_interactions WHERE id > $1 AND id <= $2 AND at_us < $3",
                                           {looked_to_, to, time_us_});
  connection.start_clock();
  recording_.session.commit();
  looked_to_ = to;
  return to == end || (!gone.touched() && to >= first);
}

inline bool PostgresRetention::forget_windows() {
  PostgresConnection& connection = recording_.session.connection();
  connection.start_clock();
  const PostgresRows gone = connection.run(
      "WITH gone AS (DELETE FROM canary_counts WHERE ctid = ANY(ARRAY(SELECT ctid FROM canary_counts"
      " WHERE kind = 1 AND \"at\" < $1 LIMIT $2)) RETURNING 1) SELECT count(*) FROM gone",
      {window_of(time_us_), rows_a_part});
  return gone.number<std::size_t>(0, 0) < rows_a_part;
}

/// From life to life: those that go on, a million rows each, are passed over. It waits for nobody: units that a spool
/// settles so late, or that another server takes away at this very time, are left for the next time.
inline bool PostgresRetention::forget_units(std::uint32_t task, std::uint32_t to,
                                            std::span<const std::uint32_t> living) {
  PostgresConnection& connection = recording_.session.connection();
  connection.start_clock();
  recording_.session.begin();
  connection.script(postgres_by_index);
  std::size_t room = rows_a_part;
  for (std::int64_t from = 0; room != 0;) {
    connection.start_clock();
    const PostgresRows next =
        connection.run("SELECT life FROM canary_units WHERE task = $1 AND life BETWEEN $2 AND $3 ORDER BY life LIMIT 1",
                       {task, from, to});
    if (next.size() == 0) break;
    const auto life = next.number<std::uint32_t>(0, 0);
    from = std::int64_t{life} + 1;
    if (std::find(living.begin(), living.end(), life) != living.end()) continue;
    const PostgresRows gone = connection.run(
        "WITH gone AS (DELETE FROM canary_units WHERE ctid = ANY(ARRAY(SELECT ctid FROM canary_units"
        " WHERE task = $1 AND life = $2 ORDER BY point LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING 1)"
        " SELECT count(*) FROM gone",
        {task, life, room});
    room -= gone.number<std::size_t>(0, 0);
  }
  connection.start_clock();
  recording_.session.commit();
  return room != 0;
}

}  // namespace canary::detail
