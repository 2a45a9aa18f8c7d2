// postgres_units.hpp: units in PostgreSQL, many at a time. Layer adapters; needs libpq. Part of postgres_store.hpp.
// They are asked for and written in the order of their keys, so that two servers wait for each other and never lock
// each other out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <tuple>
#include <vector>

#include "canary/adapters/postgres_answer.hpp"
#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_copy.hpp"
#include "canary/control/interaction_store.hpp"

namespace canary::detail {

/// Positions in a batch.
using PostgresOrder = std::vector<std::size_t>;

/// The positions of so many, by what key(position) says; equal ones as they stand.
template <class Key>
[[nodiscard]] PostgresOrder postgres_order(std::size_t count, Key key) {
  PostgresOrder order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  return order;
}

[[nodiscard]] inline PostgresOrder postgres_by_key(std::span<const UnitKey> units) {
  return postgres_order(units.size(),
                        [&](std::size_t i) { return std::tie(units[i].task, units[i].life, units[i].point); });
}

// Each of these takes the part of `units` that `part` names, in the order of keys, and sets the answers that are true.

inline void find_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                          std::span<const std::size_t> part, std::vector<bool>& counted);
inline void settle_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                            std::span<const std::size_t> part, std::vector<bool>& first);
/// Input   `all_new`: whether the last ones were all fresh, and so may be these; brought up to date.
inline void claim_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                           std::span<const std::size_t> part, bool& all_new, std::vector<bool>& fresh);

/// For a COPY between `SAVEPOINT canary_copy` and its release that was refused.
inline constexpr const char* postgres_end_copy = "ROLLBACK TO SAVEPOINT canary_copy;RELEASE SAVEPOINT canary_copy";

// ---------------------------------------------------------------------------------------------------------------------

/// Their task, life, point and id, a column each.
[[nodiscard]] inline std::vector<PostgresBinary> unit_arrays(std::span<const UnitKey> units,
                                                             std::span<const std::size_t> part) {
  using Element = PostgresArray::Element;
  PostgresArray tasks{Element::bigint, part.size()};
  PostgresArray lives{Element::bigint, part.size()};
  PostgresArray points{Element::bigint, part.size()};
  PostgresArray ids{Element::bigint, part.size()};
  for (const std::size_t i : part) {
    tasks.add(std::int64_t{units[i].task});
    lives.add(std::int64_t{units[i].life});
    points.add(std::int64_t{units[i].point});
    ids.add(static_cast<std::int64_t>(units[i].id));
  }
  return {tasks.take(), lives.take(), points.take(), ids.take()};
}

/// Those that are there: where in `part`, from 1, and whether by this very interaction.
[[nodiscard]] inline PostgresRows look_units_up(PostgresConnection& connection, std::span<const UnitKey> units,
                                                std::span<const std::size_t> part) {
  return connection.run_binary(
      "SELECT x.n, u.id = x.id FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY"
      " AS x(task, life, point, id, n)"
      " JOIN canary_units u ON u.task = x.task AND u.life = x.life AND u.point = x.point",
      unit_arrays(units, part));
}

inline void find_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                          std::span<const std::size_t> part, std::vector<bool>& counted) {
  const PostgresRows rows = look_units_up(connection, units, part);
  for (int i = 0; i != rows.size(); ++i)
    counted[part[rows.binary<std::size_t>(i, 0) - 1]] = rows.binary<std::uint8_t>(i, 1) != 0;
}

inline void settle_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                            std::span<const std::size_t> part, std::vector<bool>& first) {
  const PostgresRows rows = connection.run_binary(
      "UPDATE canary_units u SET settled = true"
      " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY"
      " AS x(task, life, point, id, n) WHERE u.task = x.task AND u.life = x.life AND u.point = x.point"
      " AND u.id = x.id AND NOT u.settled RETURNING x.n",
      unit_arrays(units, part));
  for (int i = 0; i != rows.size(); ++i) first[part[rows.binary<std::size_t>(i, 0) - 1]] = true;
}

/// Writes units that are all fresh; none, and false, when one is there.
[[nodiscard]] inline bool copy_units(PostgresConnection& connection, std::span<const UnitKey> units,
                                     std::span<const std::size_t> part, std::vector<bool>& fresh) {
  try {
    PostgresCopy copy{connection,
                      "SAVEPOINT canary_copy;COPY canary_units (task, life, point, id, settled) FROM STDIN"
                      " (FORMAT binary);RELEASE SAVEPOINT canary_copy",
                      5};
    for (const std::size_t i : part) {
      copy.row();
      copy.number(std::int64_t{units[i].task});
      copy.number(std::int64_t{units[i].life});
      copy.number(std::int64_t{units[i].point});
      copy.number(static_cast<std::int64_t>(units[i].id));
      copy.boolean(units[i].settled);
    }
    copy.end();
  } catch (const PostgresFailure& failure) {
    if (!connection.open() || failure.state != "23505") throw;
    connection.start_clock();
    connection.script(postgres_end_copy);
    return false;
  }
  for (const std::size_t i : part) fresh[i] = true;
  return true;
}

/// Writes those that are fresh, when another server claims some of them at this very time.
inline void insert_units(PostgresConnection& connection, std::span<const UnitKey> units,
                         std::span<const std::size_t> part, std::vector<bool>& fresh) {
  PostgresArray settled{PostgresArray::Element::smallint, part.size()};
  for (const std::size_t i : part) settled.add(std::int16_t{units[i].settled});
  std::vector<PostgresBinary> values = unit_arrays(units, part);
  values.push_back(settled.take());
  const PostgresRows rows = connection.run_binary(
      "INSERT INTO canary_units SELECT x.task, x.life, x.point, x.id, x.settled <> 0"
      " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[])"
      " AS x(task, life, point, id, settled) ON CONFLICT DO NOTHING RETURNING task, life, point",
      values);
  using Key = std::tuple<std::uint32_t, std::uint32_t, Point>;
  const auto key = [&](std::size_t i) { return Key{units[i].task, units[i].life, units[i].point}; };
  for (int i = 0; i != rows.size(); ++i) {
    const Key found{rows.binary<std::uint32_t>(i, 0), rows.binary<std::uint32_t>(i, 1), rows.binary<Point>(i, 2)};
    const auto at = std::lower_bound(part.begin(), part.end(), found,
                                     [&](std::size_t each, const Key& wanted) { return key(each) < wanted; });
    if (at != part.end() && key(*at) == found) fresh[*at] = true;
  }
}

/// A look and a COPY take half the time of an INSERT that looks for conflicts; a server that shares no units with
/// another does without the look.
inline void claim_units_of(PostgresConnection& connection, std::span<const UnitKey> units,
                           std::span<const std::size_t> part, bool& all_new, std::vector<bool>& fresh) {
  if (all_new && copy_units(connection, units, part, fresh)) return;
  std::vector<bool> there(part.size());
  {
    const PostgresRows rows = look_units_up(connection, units, part);
    for (int i = 0; i != rows.size(); ++i) there[rows.binary<std::size_t>(i, 0) - 1] = true;
    all_new = rows.size() == 0;
  }
  PostgresOrder rest;
  for (std::size_t i = 0; i != part.size(); ++i)
    if (!there[i]) rest.push_back(part[i]);
  if (rest.empty() || copy_units(connection, units, rest, fresh)) return;
  all_new = false;
  insert_units(connection, units, rest, fresh);
}

}  // namespace canary::detail
