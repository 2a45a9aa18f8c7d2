// postgres_interactions.hpp: where a PostgreSQL store keeps interactions, over a connection of its own. Layer adapters;
// needs libpq. Part of postgres_store.hpp. Spools, counts and reading are here; what a drainer writes is in
// postgres_delivery.hpp. Nothing of a session outlives a transaction, so a pooler may stand in between.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_delivery.hpp"
#include "canary/adapters/postgres_recorded.hpp"
#include "canary/adapters/postgres_retention.hpp"

namespace canary::detail {

class PostgresInteractions final : public InteractionStore {
 public:
  using Merge = std::function<std::string(CountsKind, std::string_view, std::string_view)>;
  using Take = std::function<bool(const Interaction&, const Payload&)>;

  PostgresInteractions(PostgresPlace place, const PostgresOptions& options)
      : recording_{std::make_shared<PostgresRecording>(std::move(place), options)} {}

  [[nodiscard]] SpoolRecord claim(std::string_view spool, TimeUs now_us) override;
  [[nodiscard]] std::vector<SpoolRecord> spools() override;
  [[nodiscard]] std::unique_ptr<Delivery> begin(const SpoolRecord& spool) override;
  bool fold(const SpoolRecord& spool, const Merge& merge) override;
  [[nodiscard]] std::optional<std::uint32_t> find_task(std::string_view task) override;
  [[nodiscard]] std::vector<std::pair<std::uint32_t, std::string>> task_names() override;
  [[nodiscard]] std::vector<CountsRow> counts(const CountsFilter& filter) override;
  void read(const InteractionFilter& filter, const Take& take) override;
  void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) override;
  bool forget_before(TimeUs time_us) override;
  bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) override;

 private:
  /// What body(connection) returns, as PostgresSession::call, on a store that keeps interactions.
  template <class Body>
  auto call(Body body);
  void look(PostgresConnection& connection);
  [[nodiscard]] StoreError unreachable(const std::string& words) const {
    return {StoreErrc::unreachable, recording_->session.connection().place().shown + ": " + words, "try again"};
  }

  /// True if the spool's row, which is locked from then on, is of this generation.
  [[nodiscard]] static bool lock(PostgresConnection& connection, const SpoolRecord& spool);
  [[nodiscard]] std::optional<SpoolRecord> make_spool(PostgresConnection& connection, std::string_view spool,
                                                      TimeUs now_us);
  static void fold_counts(PostgresConnection& connection, std::uint32_t serial, const Merge& merge);
  [[nodiscard]] static std::string page_sql(const InteractionFilter& filter, bool scan);
  /// False when `take` has enough, or `most` were given.
  [[nodiscard]] bool read_part(InteractionFilter& filter, const Take& take);

  std::shared_ptr<PostgresRecording> recording_;
  PostgresRetention retention_{*recording_};
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Body>
auto PostgresInteractions::call(Body body) {
  const PostgresConnection& open = recording_->session.connection();
  if (open.open() && !open.idle())
    throw StoreError{StoreErrc::invalid, open.place().shown + ": a delivery is open on this connection"};
  return recording_->session.call([&](PostgresConnection& connection) {
    if (recording_->looked != connection.made()) look(connection);
    return body(connection);
  });
}

/// At the store's schema, and whether it is still the same store.
inline void PostgresInteractions::look(PostgresConnection& connection) {
  const PostgresRows rows = connection.run("SELECT schema, token FROM canary_store WHERE id = 1");
  recording_->session.check_schema(rows);
  recording_->session.check_records(rows.number<std::uint32_t>(0, 0), "interactions");
  if (recording_->token != rows.text(0, 1)) recording_->forget();
  recording_->token = rows.text(0, 1);
  recording_->looked = connection.made();
}

// --- Spools

inline SpoolRecord PostgresInteractions::claim(std::string_view spool, TimeUs now_us) {
  for (int tries = 0;; ++tries) {
    try {
      const auto found = call([&](PostgresConnection& connection) { return make_spool(connection, spool, now_us); });
      if (found) return *found;
      throw StoreError{StoreErrc::full,
                       recording_->session.connection().place().shown + ": each of the " +
                           std::to_string(InteractionId::nodes) + " nodes has its spool",
                       "spools of servers that are gone must be folded"};
    } catch (const PostgresUnknown& unknown) {
      if (tries != 0) throw unreachable(unknown.words);
    }
  }
}

/// Nothing when there is no node left. Whoever is there already is found without a lock.
inline std::optional<SpoolRecord> PostgresInteractions::make_spool(PostgresConnection& connection,
                                                                   std::string_view spool, TimeUs now_us) {
  static const std::string names = postgres_spool_names;
  static const std::string find = "SELECT " + names + " FROM canary_spools WHERE spool = $1::text";
  static const std::string insert =
      "INSERT INTO canary_spools (spool, node, at_us) SELECT $1::text, node, $2::bigint"
      " FROM generate_series(0, 4095) AS node WHERE NOT EXISTS (SELECT FROM canary_spools s WHERE s.node = node.node)"
      " ORDER BY node LIMIT 1 RETURNING " +
      names;
  const std::string name{spool};
  PostgresRows rows = connection.run_binary(find.c_str(), {name});
  if (rows.size() != 0) return read_spool(rows, 0);
  recording_->session.begin();
  connection.run("SELECT pg_advisory_xact_lock($1)", {postgres_spool_lock});
  rows = connection.run_binary(find.c_str(), {name});
  if (rows.size() == 0) rows = connection.run_binary(insert.c_str(), {name, now_us});
  std::optional<SpoolRecord> made;
  if (rows.size() != 0) made = read_spool(rows, 0);
  recording_->session.commit();
  return made;
}

inline std::vector<SpoolRecord> PostgresInteractions::spools() {
  return call([](PostgresConnection& connection) {
    static const std::string sql =
        std::string{"SELECT "} + postgres_spool_names + " FROM canary_spools ORDER BY serial";
    const PostgresRows rows = connection.run_binary(sql.c_str(), {});
    std::vector<SpoolRecord> all;
    for (int i = 0; i != rows.size(); ++i) all.push_back(read_spool(rows, i));
    return all;
  });
}

inline bool PostgresInteractions::lock(PostgresConnection& connection, const SpoolRecord& spool) {
  const PostgresRows rows = connection.run(
      "SELECT generation FROM canary_spools WHERE spool = $1 AND serial = $2 FOR UPDATE", {spool.spool, spool.serial});
  return rows.size() != 0 && rows.number<std::uint64_t>(0, 0) == spool.generation;
}

inline std::unique_ptr<Delivery> PostgresInteractions::begin(const SpoolRecord& spool) {
  return call([&](PostgresConnection& connection) -> std::unique_ptr<Delivery> {
    look(connection);
    for (PostgresDays* days : {&recording_->interactions, &recording_->payloads}) {
      connection.start_clock();
      days->make_ahead(recording_->session);
    }
    connection.start_clock();
    recording_->session.begin();
    connection.script(postgres_by_index);
    if (!lock(connection, spool)) {
      connection.script("ROLLBACK");
      return nullptr;
    }
    return std::make_unique<PostgresDelivery>(recording_, spool.serial);
  });
}

inline bool PostgresInteractions::fold(const SpoolRecord& spool, const Merge& merge) {
  try {
    return call([&](PostgresConnection& connection) {
      recording_->session.begin(true);
      connection.start_clock(postgres_long_ms);
      // One fold at a time: each reads what it writes over.
      connection.run("SELECT pg_advisory_xact_lock($1)", {postgres_spool_lock});
      if (!lock(connection, spool)) {
        connection.script("ROLLBACK");
        return false;
      }
      fold_counts(connection, spool.serial, merge);
      connection.start_clock();
      connection.run("DELETE FROM canary_spools WHERE serial = $1", {spool.serial});
      recording_->session.commit();
      return true;
    });
  } catch (const PostgresUnknown& unknown) {
    StoreError error = unreachable("whether spool " + spool.spool + " was folded is unknown: " + unknown.words);
    error.unknown = true;
    throw error;
  }
}

inline void PostgresInteractions::fold_counts(PostgresConnection& connection, std::uint32_t serial,
                                              const Merge& merge) {
  static const std::string sql =
      "SELECT theirs.kind, theirs.task, theirs.\"of\", theirs.\"at\", theirs.serial, theirs.bytes, ours.bytes"
      " FROM canary_counts theirs LEFT JOIN canary_counts ours ON ours.kind = theirs.kind AND ours.task = theirs.task"
      " AND ours.\"of\" = theirs.\"of\" AND ours.\"at\" = theirs.\"at\" AND ours.serial = 0"
      " WHERE theirs.serial = $1::bigint";
  const PostgresRows rows = connection.run_binary(sql.c_str(), {std::int64_t{serial}});
  PostgresCounts folded;
  for (int i = 0; i != rows.size(); ++i) {
    CountsRow row = read_counts_row(rows, i);
    if (!rows.null(i, 6)) row.bytes = merge(row.kind, rows.bytes(i, 6), row.bytes);
    folded.put(row);
  }
  folded.write(connection, 0);
  connection.start_clock(postgres_long_ms);
  connection.run("DELETE FROM canary_counts WHERE serial = $1", {serial});
}

// --- Reading

inline std::optional<std::uint32_t> PostgresInteractions::find_task(std::string_view task) {
  return call([&](PostgresConnection& connection) -> std::optional<std::uint32_t> {
    const PostgresRows rows = connection.run("SELECT number FROM canary_recorded_tasks WHERE name = $1", {task});
    if (rows.size() == 0) return {};
    return rows.number<std::uint32_t>(0, 0);
  });
}

inline std::vector<std::pair<std::uint32_t, std::string>> PostgresInteractions::task_names() {
  return call([](PostgresConnection& connection) {
    const PostgresRows rows = connection.run("SELECT number, name FROM canary_recorded_tasks ORDER BY number");
    std::vector<std::pair<std::uint32_t, std::string>> names;
    for (int i = 0; i != rows.size(); ++i) names.emplace_back(rows.number<std::uint32_t>(i, 0), rows.text(i, 1));
    return names;
  });
}

inline std::vector<CountsRow> PostgresInteractions::counts(const CountsFilter& filter) {
  return call([&](PostgresConnection& connection) {
    std::string sql = std::string{"SELECT "} + postgres_counts_names +
                      " FROM canary_counts WHERE kind = $1::bigint AND \"at\" BETWEEN $2::bigint AND $3::bigint";
    std::vector<PostgresBinary> values{static_cast<std::int64_t>(filter.kind), std::int64_t{filter.from},
                                       std::int64_t{filter.to}};
    const auto also = [&](const char* column, std::optional<std::uint32_t> wanted) {
      if (!wanted) return;
      values.emplace_back(std::int64_t{*wanted});
      sql += std::string{" AND "} + column + " = $" + std::to_string(values.size()) + "::bigint";
    };
    also("task", filter.task);
    also("\"of\"", filter.of);
    also("serial", filter.serial);
    const PostgresRows rows = connection.run_binary(sql.c_str(), values);
    std::vector<CountsRow> found;
    for (int i = 0; i != rows.size(); ++i) found.push_back(read_counts_row(rows, i));
    return found;
  });
}

/// One page. A `scan` for some rows only looks at so many rows, and gives the last of them too, wanted or not: however
/// rare they are, no statement takes long.
inline std::string PostgresInteractions::page_sql(const InteractionFilter& filter, bool scan) {
  const std::string order = filter.newest_first ? " ORDER BY id DESC" : " ORDER BY id";
  std::string page = std::string{"SELECT "} + postgres_interaction_names +
                     " FROM canary_interactions WHERE id BETWEEN $1::bigint AND $2::bigint" + order +
                     " LIMIT $3::bigint";
  if (!scan) return page;
  std::string wanted = "true";
  if (filter.task) wanted += " AND task = " + std::to_string(*filter.task);
  if (filter.number) wanted += " AND number = " + std::to_string(*filter.number);
  if (filter.with_payload) wanted += " AND request IS NOT NULL";
  return "WITH page AS MATERIALIZED (" + page + ") SELECT " + postgres_interaction_names + ", " + wanted +
         (filter.with_payload ? ", request, response FROM page LEFT JOIN (SELECT * FROM canary_payloads"
                                " WHERE id BETWEEN $1::bigint AND $2::bigint) AS p USING (id)"
                              : " FROM page") +
         " WHERE (" + wanted + ") OR id = (SELECT " + (filter.newest_first ? "min" : "max") + "(id) FROM page)" + order;
}

inline void PostgresInteractions::read(const InteractionFilter& filter, const Take& take) {
  InteractionFilter rest = filter;
  rest.to = std::min(rest.to, postgres_most_id);
  if (rest.most == 0 || rest.from > rest.to) return;
  if (PostgresDays::day_of(rest.from) == PostgresDays::day_of(rest.to)) {
    (void)read_part(rest, take);
    return;
  }
  // Day by day: a page then plans for one table, however many there are.
  auto parts = call([&](PostgresConnection& connection) { return recording_->interactions.look(connection); });
  if (filter.newest_first) std::reverse(parts.begin(), parts.end());
  for (const PostgresDays::Part& part : parts) {
    rest.from = std::max(filter.from, part.first);
    rest.to = std::min({filter.to, part.last, postgres_most_id});
    if (rest.from <= rest.to && !read_part(rest, take)) return;
  }
}

inline bool PostgresInteractions::read_part(InteractionFilter& filter, const Take& take) {
  const bool scan = filter.task || filter.number || filter.with_payload;
  const std::uint64_t rows_a_page = filter.with_payload ? 256 : scan ? 16'384 : 4'096;
  const std::string sql = page_sql(filter, scan);
  while (filter.from <= filter.to) {
    const std::uint64_t most = scan ? rows_a_page : std::min(rows_a_page, filter.most);
    const PostgresRows rows = call([&](PostgresConnection& connection) {
      const bool one = filter.from == filter.to;  // has one plan only
      if (!one) connection.script("BEGIN READ ONLY;" + std::string{postgres_by_index});
      auto page =
          connection.run_binary(sql.c_str(), {static_cast<std::int64_t>(filter.from),
                                              static_cast<std::int64_t>(filter.to), static_cast<std::int64_t>(most)});
      if (!one) connection.script("COMMIT");
      return page;
    });
    std::uint64_t last = 0;
    for (int i = 0; i != rows.size(); ++i) {
      Interaction row;
      recording_->session.call_once([&](PostgresConnection&) { row = read_interaction(rows, i); });
      last = row.id;
      if (scan && rows.binary<std::uint8_t>(i, postgres_interaction_columns) == 0) continue;
      Payload payload{row.id, {}, {}};
      if (filter.with_payload) {
        payload.request = rows.bytes(i, postgres_interaction_columns + 1);
        payload.response = rows.bytes(i, postgres_interaction_columns + 2);
      }
      if (!take(row, payload) || --filter.most == 0) return false;
    }
    if (rows.size() == 0 || (!scan && static_cast<std::uint64_t>(rows.size()) < most)) return true;
    if (filter.newest_first && last == 0) return true;
    (filter.newest_first ? filter.to : filter.from) = filter.newest_first ? last - 1 : last + 1;
  }
  return true;
}

inline void PostgresInteractions::find(std::span<const std::uint64_t> ids,
                                       const std::function<void(const Interaction&)>& take) {
  constexpr std::size_t at_once = 8'192;
  static const std::string sql = "SELECT " + postgres_columns_of("i") +
                                 " FROM unnest($1::bigint[]) AS x(id) JOIN canary_interactions i ON i.id = x.id"
                                 " AND i.id BETWEEN $2::bigint AND $3::bigint";
  std::vector<std::uint64_t> rest{ids.begin(), ids.end()};
  std::erase_if(rest, [](std::uint64_t id) { return id > postgres_most_id; });
  std::sort(rest.begin(), rest.end());
  for (std::size_t at = 0; at < rest.size(); at += at_once) {
    const auto part = std::span{rest}.subspan(at, std::min(at_once, rest.size() - at));
    PostgresArray wanted{PostgresArray::Element::bigint, part.size()};
    for (const std::uint64_t id : part) wanted.add(static_cast<std::int64_t>(id));
    const std::vector<PostgresBinary> values{wanted.take(), static_cast<std::int64_t>(part.front()),
                                             static_cast<std::int64_t>(part.back())};
    const std::vector<Interaction> found = call([&](PostgresConnection& connection) {
      connection.script("BEGIN READ ONLY;" + std::string{postgres_by_index});
      const PostgresRows rows = connection.run_binary(sql.c_str(), values);
      connection.script("COMMIT");
      std::vector<Interaction> all;
      for (int i = 0; i != rows.size(); ++i) all.push_back(read_interaction(rows, i));
      return all;
    });
    for (const Interaction& row : found) take(row);
  }
}

// --- Retention

inline bool PostgresInteractions::forget_before(TimeUs time_us) {
  try {
    return call([&](PostgresConnection&) { return retention_.forget_before(time_us); });
  } catch (const PostgresUnknown&) {
    return false;  // the next call sees
  }
}

inline bool PostgresInteractions::forget_units(std::uint32_t task, std::uint32_t to,
                                               std::span<const std::uint32_t> living) {
  try {
    return call([&](PostgresConnection&) { return retention_.forget_units(task, to, living); });
  } catch (const PostgresUnknown&) {
    return false;
  }
}

}  // namespace canary::detail
