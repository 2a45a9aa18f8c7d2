// postgres_recorded.hpp: interactions, counts and spools as rows of PostgreSQL, both ways. Layer adapters; needs libpq.
// Part of postgres_store.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_answer.hpp"
#include "canary/adapters/postgres_copy.hpp"
#include "canary/adapters/postgres_days.hpp"
#include "canary/adapters/postgres_session.hpp"
#include "canary/control/bytes.hpp"
#include "canary/control/interaction_store.hpp"

namespace canary::detail {

/// The connection of one PostgresInteractions and its Delivery, and what both know of the store.
struct PostgresRecording {
  PostgresRecording(PostgresPlace place, const PostgresOptions& options)
      : session{std::move(place), options, PostgresSession::Absent::refuse} {
    session.connection().unname();  // a pooler that has lost a name would be in the middle of a delivery
  }

  void forget() noexcept {
    interactions.forget();
    payloads.forget();
    tasks.clear();
  }

  PostgresSession session;
  PostgresDays interactions{"canary_interactions"};
  PostgresDays payloads{"canary_payloads"};
  std::map<std::string, std::uint32_t, std::less<>> tasks;  // numbers that are in the store
  std::string token;                                        // of the store that all this is known of
  std::uint64_t looked = 0;                                 // connection whose schema was looked at
  bool units_are_new = false;                               // the last ones that were claimed were, all of them
};

/// For the rest of a transaction. Few rows are asked for among very many, often before the server has counted any: it
/// goes by the index, whatever it believes, and keeps and compiles nothing for that.
inline constexpr const char* postgres_by_index =
    "SET LOCAL enable_hashjoin = off;SET LOCAL enable_mergejoin = off;SET LOCAL enable_seqscan = off;"
    "SET LOCAL enable_bitmapscan = off;SET LOCAL jit = off;SELECT set_config('enable_memoize', 'off', true)"
    " WHERE current_setting('enable_memoize', true) IS NOT NULL";  // from PostgreSQL 14 on

// --- Interactions

inline constexpr std::int16_t postgres_interaction_columns = 13;
inline constexpr const char* postgres_interaction_names =
    "id, at_us, task, revision, point, number, reason, error, latency_us, score, tokens_in, tokens_out, cost_microusd";

/// Those names, each of this table.
[[nodiscard]] inline std::string postgres_columns_of(const char* table) {
  std::string names = postgres_interaction_names;
  for (std::size_t at = 0; at != std::string::npos; at = names.find(", ", at))
    names.insert(at += at ? 2 : 0, std::string{table} + '.');
  return names;
}

inline void put_interaction(PostgresCopy& copy, const Interaction& row) {
  const auto bigint = [&copy](std::uint64_t value) {
    copy.number(static_cast<std::int64_t>(std::min(value, std::uint64_t{std::numeric_limits<std::int64_t>::max()})));
  };
  copy.row();
  bigint(row.id);
  copy.number(row.at_us);
  bigint(row.task);
  bigint(row.revision);
  bigint(row.point);
  copy.number(std::int32_t{row.number});
  copy.number(static_cast<std::int16_t>(row.reason));
  copy.number(std::int16_t{row.error});
  row.latency_us == no_latency ? copy.null() : bigint(row.latency_us);
  row.score == no_score ? copy.null() : bigint(row.score);
  bigint(row.tokens_in);
  bigint(row.tokens_out);
  bigint(row.cost_microusd);
}

/// Input   a row of an answer in binary, whose columns from `at` on are an interaction's.
/// Errors  PostgresFailure for what is none.
[[nodiscard]] inline Interaction read_interaction(const PostgresRows& rows, int row, int at = 0) {
  Interaction made;
  made.id = rows.binary<std::uint64_t>(row, at);
  made.at_us = static_cast<std::int64_t>(rows.binary<std::uint64_t>(row, at + 1));
  made.task = rows.binary<std::uint32_t>(row, at + 2);
  made.revision = rows.binary<std::uint32_t>(row, at + 3);
  made.point = rows.binary<std::uint32_t>(row, at + 4);
  made.number = rows.binary<std::uint16_t>(row, at + 5);
  const auto reason = rows.binary<std::uint8_t>(row, at + 6);
  if (reason > static_cast<std::uint8_t>(Reason::tripped)) throw postgres_nonsense("an interaction of no known reason");
  made.reason = static_cast<Reason>(reason);
  made.error = rows.binary<std::uint8_t>(row, at + 7);
  if (!rows.null(row, at + 8)) made.latency_us = rows.binary<std::uint32_t>(row, at + 8);
  if (!rows.null(row, at + 9)) made.score = rows.binary<std::uint32_t>(row, at + 9);
  made.tokens_in = rows.binary<std::uint32_t>(row, at + 10);
  made.tokens_out = rows.binary<std::uint32_t>(row, at + 11);
  made.cost_microusd = rows.binary<std::uint64_t>(row, at + 12);
  return made;
}

// --- Spools

inline constexpr const char* postgres_spool_names = "serial, spool, node, generation, at_us, lanes";

[[nodiscard]] inline SpoolRecord read_spool(const PostgresRows& rows, int row) {
  SpoolRecord made;
  made.serial = rows.binary<std::uint32_t>(row, 0);
  made.spool = rows.bytes(row, 1);
  made.node = rows.binary<std::uint32_t>(row, 2);
  made.generation = rows.binary<std::uint64_t>(row, 3);
  made.at_us = static_cast<TimeUs>(rows.binary<std::uint64_t>(row, 4));
  NumberReader in{rows.bytes(row, 5)};
  while (!in.done() && !in.failed()) {
    const auto lane = static_cast<std::uint32_t>(in.take(0xFFFF'FFFF));
    made.lanes.push_back({lane, in.take()});
  }
  if (in.failed()) throw postgres_nonsense("the positions of spool " + made.spool + " make no sense");
  return made;
}

// --- Counts

inline constexpr const char* postgres_counts_names = "kind, task, \"of\", \"at\", serial, bytes";

[[nodiscard]] inline CountsRow read_counts_row(const PostgresRows& rows, int row) {
  const auto kind = static_cast<CountsKind>(rows.binary<std::uint8_t>(row, 0));
  if (std::find(std::begin(counts_kinds), std::end(counts_kinds), kind) == std::end(counts_kinds))
    throw postgres_nonsense("counts of no known kind");
  return {kind,
          rows.binary<std::uint32_t>(row, 1),
          rows.binary<std::uint32_t>(row, 2),
          rows.binary<std::uint32_t>(row, 3),
          rows.binary<std::uint32_t>(row, 4),
          std::string{rows.bytes(row, 5)}};
}

/// Counts that are to be written, the last of a key, in the order of their keys.
class PostgresCounts {
 public:
  void put(const CountsRow& row) { rows_[{row.kind, row.task, row.of, row.at}] = row.bytes; }
  void write(PostgresConnection& connection, std::uint32_t serial);

 private:
  std::map<std::tuple<CountsKind, std::uint32_t, std::uint32_t, std::uint32_t>, std::string> rows_;
};

inline void PostgresCounts::write(PostgresConnection& connection, std::uint32_t serial) {
  constexpr std::size_t most_bytes = 8 << 20;  // in one statement
  using Element = PostgresArray::Element;
  for (auto next = rows_.begin(); next != rows_.end();) {
    PostgresArray kinds{Element::smallint};
    PostgresArray tasks{Element::bigint};
    PostgresArray ofs{Element::bigint};
    PostgresArray ats{Element::bigint};
    PostgresArray bytes{Element::bytea};
    for (std::size_t size = 0; next != rows_.end() && size < most_bytes; ++next) {
      const auto& [kind, task, of, at] = next->first;
      kinds.add(static_cast<std::int16_t>(kind));
      tasks.add(std::int64_t{task});
      ofs.add(std::int64_t{of});
      ats.add(std::int64_t{at});
      bytes.add_bytes(next->second);
      size += next->second.size() + 100;
    }
    connection.start_clock();
    connection.run_binary(
        "INSERT INTO canary_counts SELECT x.kind, x.task, x.of_, x.at_, $1::bigint, x.bytes"
        " FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])"
        " AS x(kind, task, of_, at_, bytes)"
        " ON CONFLICT (kind, task, \"of\", \"at\", serial) DO UPDATE SET bytes = excluded.bytes",
        {std::int64_t{serial}, kinds.take(), tasks.take(), ofs.take(), ats.take(), bytes.take()});
  }
  rows_.clear();
}

/// What a restore does to what was recorded: evidence and units were of revisions that are gone. The deliveries that
/// are under way end first, and none of them is committed after it.
inline constexpr std::string_view postgres_forget_evidence =
    "SET LOCAL lock_timeout = 60000;LOCK TABLE canary_spools IN EXCLUSIVE MODE;"
    "UPDATE canary_spools SET generation = generation + 1;DELETE FROM canary_counts WHERE kind = 2;"
    "DELETE FROM canary_units;DELETE FROM canary_waiting_feedback";

}  // namespace canary::detail
