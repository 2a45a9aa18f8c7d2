// postgres_delivery.hpp: one transaction of a drainer in PostgreSQL. Layer adapters; needs libpq. Part of
// postgres_store.hpp. Rows go in by COPY, in a savepoint: that none of them is there already is the rule, and when one
// is, the ids are looked up and the others copied again. Counts are kept until the commit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_recorded.hpp"
#include "canary/adapters/postgres_units.hpp"

namespace canary::detail {

class PostgresDelivery final : public Delivery {
 public:
  /// In a transaction that is open on the recording's connection, with the spool's row locked.
  PostgresDelivery(std::shared_ptr<PostgresRecording> recording, std::uint32_t serial)
      : recording_{std::move(recording)}, serial_{serial} {}
  PostgresDelivery(const PostgresDelivery&) = delete;
  PostgresDelivery& operator=(const PostgresDelivery&) = delete;
  ~PostgresDelivery() override {
    if (over_) return;
    recording_->forget();
    if (stands()) recording_->session.roll_back();
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
  void put(const CountsRow& row) override { counts_.put(row); }
  void commit(std::span<const LanePosition> lanes, TimeUs now_us) override;

 private:
  using Element = PostgresArray::Element;
  using Order = PostgresOrder;

  [[nodiscard]] bool stands() const noexcept {
    const PostgresConnection& connection = recording_->session.connection();
    return connection.open() && !connection.idle();
  }
  /// What work(connection) returns; after an error the delivery is of no use.
  template <class Work>
  auto within(Work work);
  /// Calls work(connection, part) for parts of an order that one statement takes.
  template <class Work>
  void in_parts(const Order& order, Work work);

  template <class Row, class Put>
  [[nodiscard]] std::vector<std::uint64_t> copy_new(PostgresDays& days, const std::string& copy, std::int16_t columns,
                                                    std::span<const Row> rows, Put put_row);
  template <class Row>
  void leave_out(PostgresConnection& connection, const std::string& table, std::span<const Row> rows,
                 std::vector<bool>& out);

  std::shared_ptr<PostgresRecording> recording_;
  std::uint32_t serial_;
  bool over_ = false;
  std::map<std::string, std::uint32_t, std::less<>> new_tasks_;
  PostgresCounts counts_;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Work>
auto PostgresDelivery::within(Work work) {
  PostgresSession& session = recording_->session;
  if (over_ || !stands()) {
    over_ = true;
    throw StoreError{StoreErrc::unreachable, session.connection().place().shown + ": the delivery is over",
                     "begin another"};
  }
  session.connection().start_clock();
  try {
    return session.call_once(work);
  } catch (...) {
    over_ = true;
    recording_->forget();
    throw;
  }
}

template <class Work>
void PostgresDelivery::in_parts(const Order& order, Work work) {
  constexpr std::size_t at_once = 32'768;
  within([&](PostgresConnection& connection) {
    for (std::size_t at = 0; at < order.size(); at += at_once) {
      connection.start_clock();
      work(connection, std::span{order}.subspan(at, std::min(at_once, order.size() - at)));
    }
  });
}

inline std::uint32_t PostgresDelivery::task_number(std::string_view task) {
  for (const auto* known : {&recording_->tasks, &new_tasks_})
    if (const auto at = known->find(task); at != known->end()) return at->second;
  return within([&](PostgresConnection& connection) {
    constexpr std::string_view find = "SELECT number FROM canary_recorded_tasks WHERE name = $1";
    PostgresRows rows = connection.run(find, {task});
    if (rows.size() == 0)
      rows = connection.run(
          "INSERT INTO canary_recorded_tasks (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING number", {task});
    if (rows.size() == 0) rows = connection.run(find, {task});
    if (rows.size() == 0) throw postgres_nonsense("a task was given a number, and has none");
    return new_tasks_[std::string{task}] = rows.number<std::uint32_t>(0, 0);
  });
}

// --- Rows

inline std::vector<std::uint64_t> PostgresDelivery::add(std::span<const Interaction> rows) {
  static const std::string copy = std::string{"COPY canary_interactions ("} + postgres_interaction_names + ")";
  return copy_new(recording_->interactions, copy, postgres_interaction_columns, rows, put_interaction);
}

inline void PostgresDelivery::add_payloads(std::span<const Payload> rows) {
  (void)copy_new(recording_->payloads, "COPY canary_payloads (id, request, response)", 3, rows,
                 [](PostgresCopy& copy, const Payload& row) {
                   copy.row();
                   copy.number(static_cast<std::int64_t>(row.id));
                   copy.text(row.request);
                   copy.text(row.response);
                 });
}

/// Copies rows without those whose id is there; ids of those. Somebody may add the same ones meanwhile, or drop a day.
template <class Row, class Put>
std::vector<std::uint64_t> PostgresDelivery::copy_new(PostgresDays& days, const std::string& copy, std::int16_t columns,
                                                      std::span<const Row> rows, Put put_row) {
  constexpr int most_tries = 8;
  const std::string sql = "SAVEPOINT canary_copy;" + copy + " FROM STDIN (FORMAT binary);RELEASE SAVEPOINT canary_copy";
  return within([&](PostgresConnection& connection) {
    for (const Row& row : rows)
      if (row.id > postgres_most_id) throw StoreError{StoreErrc::invalid, "an interaction's id is too large"};
    std::vector<bool> out(rows.size());
    for (int tries = 0; std::find(out.begin(), out.end(), false) != out.end(); ++tries) {
      days.need(connection, rows);
      try {
        PostgresCopy rows_in{connection, sql, columns};
        for (std::size_t i = 0; i != rows.size(); ++i)
          if (!out[i]) put_row(rows_in, rows[i]);
        rows_in.end();
        break;
      } catch (const PostgresFailure& failure) {
        const bool there = failure.state == "23505";
        const bool no_day = failure.state == "23514";
        if (tries == most_tries || !connection.open() || (!there && !no_day)) throw;
        connection.start_clock();
        connection.script(postgres_end_copy);
        if (no_day) days.forget();
        if (there) leave_out(connection, days.table(), rows, out);
      }
    }
    std::vector<std::uint64_t> ids;
    for (std::size_t i = 0; i != rows.size(); ++i)
      if (out[i]) ids.push_back(rows[i].id);
    return ids;
  });
}

/// Marks rows whose ids are in the store, and all but the first of an id.
template <class Row>
void PostgresDelivery::leave_out(PostgresConnection& connection, const std::string& table, std::span<const Row> rows,
                                 std::vector<bool>& out) {
  const Order order = postgres_order(rows.size(), [&](std::size_t i) { return rows[i].id; });
  PostgresArray wanted{Element::bigint, rows.size()};
  for (std::size_t i = 0; i != order.size(); ++i) {
    if (i != 0 && rows[order[i]].id == rows[order[i - 1]].id)
      out[order[i]] = true;
    else
      wanted.add(static_cast<std::int64_t>(rows[order[i]].id));
  }
  const std::string sql = "SELECT t.id FROM unnest($1::bigint[]) AS x(id) JOIN " + table +
                          " t ON t.id = x.id WHERE t.id BETWEEN $2::bigint AND $3::bigint ORDER BY t.id";
  const PostgresRows there =
      connection.run_binary(sql.c_str(), {wanted.take(), static_cast<std::int64_t>(rows[order.front()].id),
                                          static_cast<std::int64_t>(rows[order.back()].id)});
  auto at = order.begin();
  for (int i = 0; i != there.size(); ++i) {
    const auto id = there.binary<std::uint64_t>(i, 0);
    while (rows[*at].id < id) ++at;
    out[*at] = true;
  }
}

// --- Units

inline void PostgresDelivery::find_units(std::span<const UnitKey> units, std::vector<bool>& counted) {
  counted.assign(units.size(), false);
  in_parts(postgres_by_key(units), [&](PostgresConnection& connection, std::span<const std::size_t> part) {
    find_units_of(connection, units, part, counted);
  });
}

inline void PostgresDelivery::settle_units(std::span<const UnitKey> units, std::vector<bool>& first) {
  first.assign(units.size(), false);
  in_parts(postgres_by_key(units), [&](PostgresConnection& connection, std::span<const std::size_t> part) {
    settle_units_of(connection, units, part, first);
  });
}

inline void PostgresDelivery::claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) {
  fresh.assign(units.size(), false);
  in_parts(postgres_by_key(units), [&](PostgresConnection& connection, std::span<const std::size_t> part) {
    claim_units_of(connection, units, part, recording_->units_are_new, fresh);
  });
}

// --- Scores that come later

inline void PostgresDelivery::join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) {
  joined.assign(rows.size(), {});
  const Order order = postgres_order(rows.size(), [&](std::size_t i) { return rows[i].id; });
  const auto limits = [&](std::span<const std::size_t> part, std::vector<PostgresBinary> arrays) {
    for (const std::size_t end : {part.front(), part.back()})
      arrays.emplace_back(static_cast<std::int64_t>(std::min(rows[end].id, postgres_most_id)));
    return arrays;
  };
  static const std::string columns = postgres_columns_of("i");
  static const std::string update =
      "UPDATE canary_interactions i SET score = x.score, rescored = true"
      " FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS x(id, score, n) JOIN canary_interactions old"
      " ON old.id = x.id AND old.id BETWEEN $3::bigint AND $4::bigint"
      " WHERE i.id = x.id AND NOT i.rescored AND i.id BETWEEN $3::bigint AND $4::bigint"
      " RETURNING x.n, " +
      columns + ", old.score";
  static const std::string find = "SELECT x.n, " + columns +
                                  ", i.score FROM unnest($1::bigint[]) WITH ORDINALITY AS x(id, n)"
                                  " JOIN canary_interactions i"
                                  " ON i.id = x.id AND i.id BETWEEN $2::bigint AND $3::bigint";
  in_parts(order, [&](PostgresConnection& connection, std::span<const std::size_t> part) {
    const auto take = [&](const PostgresRows& found, Joined result) {
      constexpr int before = 1 + postgres_interaction_columns;
      for (int i = 0; i != found.size(); ++i)
        joined[part[found.binary<std::size_t>(i, 0) - 1]] = {
            result, read_interaction(found, i, 1),
            found.null(i, before) ? no_score : found.binary<std::uint32_t>(i, before)};
    };
    // All of them, then those that had a score before over it: the second of an id too, by what the first has written.
    PostgresArray ids{Element::bigint, part.size()};
    PostgresArray firsts{Element::bigint, part.size()};
    PostgresArray scores{Element::bigint, part.size()};
    for (std::size_t i = 0; i != part.size(); ++i) {
      const Feedback& row = rows[part[i]];
      const bool first = i == 0 || rows[part[i - 1]].id != row.id;
      ids.add(static_cast<std::int64_t>(row.id));
      firsts.add(first ? static_cast<std::int64_t>(row.id) : std::int64_t{-1});
      scores.add(std::int64_t{row.score});
    }
    const PostgresRows done = connection.run_binary(update.c_str(), limits(part, {firsts.take(), scores.take()}));
    if (done.size() != static_cast<int>(part.size()))
      take(connection.run_binary(find.c_str(), limits(part, {ids.take()})), Joined::already);
    take(done, Joined::done);
  });
}

inline void PostgresDelivery::put_waiting(std::span<const Feedback> rows) {
  const Order order = postgres_order(rows.size(), [&](std::size_t i) { return rows[i].id; });
  in_parts(order, [&](PostgresConnection& connection, std::span<const std::size_t> part) {
    PostgresArray ids{Element::bigint, part.size()};
    PostgresArray times{Element::bigint, part.size()};
    PostgresArray scores{Element::bigint, part.size()};
    for (const std::size_t i : part) {
      ids.add(static_cast<std::int64_t>(rows[i].id));
      times.add(rows[i].at_us);
      scores.add(std::int64_t{rows[i].score});
    }
    connection.run_binary(
        "INSERT INTO canary_waiting_feedback SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])"
        " ON CONFLICT DO NOTHING",
        {ids.take(), times.take(), scores.take()});
  });
}

/// Brings those that can be joined, and the last that was looked at. LATERAL with its LIMIT is a look by the index for each.
inline std::size_t PostgresDelivery::waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) {
  return within([&](PostgresConnection& connection) {
    const PostgresRows rows = connection.run_binary(
        "WITH page AS MATERIALIZED (SELECT id, at_us, score, row_number() OVER (ORDER BY at_us, id) AS n FROM"
        " (SELECT id, at_us, score FROM canary_waiting_feedback WHERE (at_us, id) > ($1::bigint, $2::bigint)"
        " ORDER BY at_us, id LIMIT $3::bigint) AS oldest)"
        " SELECT page.id, page.at_us, page.score, page.n, there.id IS NOT NULL FROM page LEFT JOIN LATERAL"
        " (SELECT i.id FROM canary_interactions i WHERE i.id = page.id LIMIT 1) AS there ON true"
        " WHERE there.id IS NOT NULL OR page.n = (SELECT max(n) FROM page) ORDER BY page.n",
        {from.at_us, static_cast<std::int64_t>(from.id), static_cast<std::int64_t>(waiting_at_once)});
    ready.clear();
    std::size_t looks = 0;
    for (int i = 0; i != rows.size(); ++i) {
      if (ready.size() == most) return looks;
      from = {static_cast<TimeUs>(rows.binary<std::uint64_t>(i, 1)), rows.binary<std::uint64_t>(i, 0)};
      looks = rows.binary<std::size_t>(i, 3);
      const bool there = rows.binary<std::uint8_t>(i, 4) != 0;
      if (there) ready.push_back({from.id, from.at_us, rows.binary<std::uint32_t>(i, 2)});
    }
    if (looks != waiting_at_once) from = {};
    return looks;
  });
}

inline void PostgresDelivery::drop_waiting(std::span<const std::uint64_t> ids) {
  PostgresArray dropped{Element::bigint, ids.size()};
  for (const std::uint64_t id : ids) dropped.add(static_cast<std::int64_t>(id));
  within([&](PostgresConnection& connection) {
    connection.run_binary("DELETE FROM canary_waiting_feedback WHERE id = ANY($1::bigint[])", {dropped.take()});
  });
}

/// Those that another server takes off at this very time are left to it.
inline std::size_t PostgresDelivery::drop_waiting_before(TimeUs time_us) {
  return within([&](PostgresConnection& connection) {
    const PostgresRows gone = connection.run(
        "WITH gone AS (DELETE FROM canary_waiting_feedback WHERE id = ANY(ARRAY(SELECT id FROM canary_waiting_feedback"
        " WHERE at_us < $1 ORDER BY at_us, id LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING 1)"
        " SELECT count(*) FROM gone",
        {time_us, waiting_at_once});
    return gone.number<std::size_t>(0, 0);
  });
}

// --- The end

inline void PostgresDelivery::commit(std::span<const LanePosition> lanes, TimeUs now_us) {
  PostgresSession& session = recording_->session;
  try {
    within([&](PostgresConnection& connection) {
      counts_.write(connection, serial_);
      connection.start_clock();
      connection.run_binary(
          "UPDATE canary_spools SET generation = generation + 1, at_us = $2::bigint, lanes = $3::bytea"
          " WHERE serial = $1::bigint",
          {std::int64_t{serial_}, now_us, lanes_bytes(lanes)});
      session.commit();
    });
  } catch (const PostgresUnknown& unknown) {
    StoreError error{StoreErrc::unreachable,
                     session.connection().place().shown + ": the connection was lost at the end of a delivery (" +
                         unknown.words + "); whether it is in the store is unknown",
                     "claim the spool: it tells"};
    error.unknown = true;
    throw error;
  }
  over_ = true;
  recording_->tasks.merge(new_tasks_);
}

}  // namespace canary::detail
