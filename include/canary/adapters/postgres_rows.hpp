// postgres_rows.hpp: a store's records as rows of PostgreSQL, both ways. Layer adapters; needs libpq. Part of
// postgres_store.hpp. What does not parse, or contradicts itself, is an error here and never reaches a router.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_schema.hpp"
#include "canary/control/store.hpp"
#include "canary/control/store_text.hpp"

namespace canary::detail {

/// Takes the fields of one row, from left to right.
class PostgresFields {
 public:
  PostgresFields(const PostgresRows& rows, int row, int column = 0) : rows_{rows}, row_{row}, column_{column} {}

  [[nodiscard]] std::string text() { return rows_.text(row_, column_++); }
  template <class T>
  [[nodiscard]] T number() {
    return rows_.number<T>(row_, column_++);
  }
  /// What `parse` makes of a text.
  template <class Parse>
  [[nodiscard]] auto parsed(std::string_view what, Parse parse) {
    const std::string value = text();
    auto made = parse(value);
    if (!made) throw postgres_nonsense(std::string{what} + " that makes no sense: `" + value + "`");
    return *std::move(made);
  }
  [[nodiscard]] Partition partition() { return parsed("a partition", parse_partition); }

 private:
  const PostgresRows& rows_;
  int row_;
  int column_;
};

inline const std::string postgres_version_columns =
    "v.number, v.model, v.provider, v.status, v.weight_ppm, v.note, v.created_at_us, v.changed_at_us, v.shutdown_date,"
    " v.job, v.training_file_hash, v.base_model, v.prompt_version";
inline const std::string postgres_history_columns =
    "h.revision, h.at_us, h.actor, h.action, h.number, h.note, h.partition, h.points_moved, h.points_minimum,"
    " h.restores, h.status_changes, h.evidence, h.epoch, h.rollouts";
/// Goes before a LATERAL query, whose `epoch` and `rollouts` are then the columns where there are some, and else these: one
/// statement reads both schemas, and goes on to while a server is migrated.
inline const std::string postgres_no_epoch = " CROSS JOIN (SELECT ''::text AS epoch, ''::text AS rollouts) AS absent";

[[nodiscard]] inline ModelVersion postgres_version(PostgresFields fields) {
  ModelVersion made;
  made.number = fields.number<std::uint32_t>();
  made.model = fields.text();
  made.provider = fields.text();
  made.status = fields.parsed("a status", parse_status);
  made.weight_ppm = fields.number<std::uint32_t>();
  made.note = fields.text();
  made.created_at_us = fields.number<TimeUs>();
  made.changed_at_us = fields.number<TimeUs>();
  made.shutdown_date = fields.text();
  made.lineage.job = fields.text();
  made.lineage.training_file_hash = fields.text();
  made.lineage.base_model = fields.text();
  made.lineage.prompt_version = fields.text();
  return made;
}

[[nodiscard]] inline HistoryRow postgres_history_row(PostgresFields fields) {
  HistoryRow made;
  made.revision = fields.number<std::uint32_t>();
  made.at_us = fields.number<TimeUs>();
  made.actor = fields.text();
  made.action = fields.text();
  made.number = fields.number<std::uint32_t>();
  made.note = fields.text();
  made.partition = fields.partition();
  made.points_moved = fields.number<std::uint64_t>();
  made.points_minimum = fields.number<std::uint64_t>();
  made.restores = fields.number<std::uint32_t>();
  made.status_changes = fields.parsed("a list of status changes", parse_status_changes);
  made.evidence = fields.text();
  made.epoch = fields.text();
  made.rollouts = fields.text();
  return made;
}

[[nodiscard]] inline std::uint32_t share_ppm(const Partition& partition, std::uint32_t number) {
  const auto shares = partition.shares();
  const auto at = std::lower_bound(shares.begin(), shares.end(), number,
                                   [](const OwnerShare& share, std::uint32_t wanted) { return share.owner < wanted; });
  return at != shares.end() && at->owner == number ? at->ppm : 0;
}

/// Errors  PostgresFailure when a version's weight is not its share of the ring.
inline void check_weight(const std::string& task, const Partition& partition, std::uint32_t number, std::uint32_t ppm) {
  if (share_ppm(partition, number) != ppm)
    throw postgres_nonsense("the weight of " + version_id(task, number) + " is not its share of the partition");
}

/// Errors  PostgresFailure when the partition has an owner that was not among the versions with a weight.
inline void check_owners(const std::string& task, const Partition& partition, std::size_t weights) {
  const auto shares = partition.shares();
  const std::size_t owners = shares.size() - (share_ppm(partition, default_owner) != 0 ? 1 : 0);
  if (owners != weights) throw postgres_nonsense("the partition of task " + task + " has an owner without a weight");
}

// --- Writing. Many new rows go as one statement: a column each, as arrays.

class PostgresColumns {
 public:
  /// One row more, of as many fields as the others.
  void add(std::initializer_list<PostgresValue> fields) {
    if (columns_.empty()) columns_.resize(fields.size());
    auto column = columns_.begin();
    for (const PostgresValue& field : fields) {
      (*column += column->empty() ? '{' : ',') += '"';
      for (const char c : field.text) {
        if (c == '"' || c == '\\') *column += '\\';
        *column += c;
      }
      *column++ += '"';
    }
  }
  /// Parameters of a statement, after those given.
  [[nodiscard]] std::vector<PostgresValue> after(std::vector<PostgresValue> values) const {
    for (const std::string& column : columns_) values.emplace_back(column + '}');
    return values;
  }

 private:
  std::vector<std::string> columns_;
};

inline void insert_versions(PostgresConnection& connection, std::string_view task, std::span<const ModelVersion> rows) {
  PostgresColumns columns;
  for (const ModelVersion& row : rows)
    columns.add({row.number, row.model, row.provider, to_string(row.status), row.weight_ppm, row.note,
                 row.created_at_us, row.changed_at_us, row.shutdown_date, row.lineage.job,
                 row.lineage.training_file_hash, row.lineage.base_model, row.lineage.prompt_version});
  connection.run(
      "INSERT INTO canary_versions (task, number, model, provider, status, weight_ppm, note, created_at_us, "
      "changed_at_us,"
      " shutdown_date, job, training_file_hash, base_model, prompt_version)"
      " SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], "
      "$8::bigint[],"
      " $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])",
      columns.after({task}));
}

/// Statements of their own for what is new and what is there, so that each trigger knows what it sees.
/// False if there is no such version.
[[nodiscard]] inline bool update_version(PostgresConnection& connection, std::string_view task,
                                         const ModelVersion& row) {
  return connection
      .run(
          "UPDATE canary_versions SET model = $3, provider = $4, status = $5, weight_ppm = $6, note = $7,"
          " created_at_us = $8, changed_at_us = $9, shutdown_date = $10, job = $11, training_file_hash = $12,"
          " base_model = $13, prompt_version = $14 WHERE task = $1 AND number = $2",
          {task, row.number, row.model, row.provider, to_string(row.status), row.weight_ppm, row.note,
           row.created_at_us, row.changed_at_us, row.shutdown_date, row.lineage.job, row.lineage.training_file_hash,
           row.lineage.base_model, row.lineage.prompt_version})
      .touched();
}

/// Input   `schema`: the store's; one without epochs does without them. A text that is empty leaves what the task has.
inline void set_epoch(PostgresConnection& connection, std::uint32_t schema, std::string_view task,
                      std::string_view epoch, std::string_view rollouts) {
  if (schema < postgres_records_from) return;
  if (!epoch.empty()) connection.run("UPDATE canary_tasks SET epoch = $2 WHERE name = $1", {task, epoch});
  if (!rollouts.empty()) connection.run("UPDATE canary_tasks SET rollouts = $2 WHERE name = $1", {task, rollouts});
}

/// Input   `schema`: the store's; one without epochs does without them.
inline void insert_history(PostgresConnection& connection, std::uint32_t schema, std::string_view task,
                           std::span<const HistoryRow> rows, std::string_view commit_id) {
  PostgresColumns columns;
  PostgresColumns epochs;
  for (const HistoryRow& row : rows) {
    columns.add({row.revision, row.at_us, row.actor, row.action, row.number, row.note, partition_text(row.partition),
                 row.points_moved, row.points_minimum, row.restores, status_changes_text(row.status_changes),
                 row.evidence});
    epochs.add({row.epoch, row.rollouts});
  }
  const auto statement = [](const std::string& column, const std::string& array) {
    return "INSERT INTO canary_history (task, commit_id, revision, at_us, actor, action, number, note, partition,"
           " points_moved, points_minimum, restores, status_changes, evidence" +
           column +
           ") SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],"
           " $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[]" +
           array + ")";
  };
  static const std::string without = statement("", "");
  static const std::string with_epochs = statement(", epoch, rollouts", ", $15::text[], $16::text[]");
  const std::vector<PostgresValue> values = columns.after({task, commit_id});
  if (schema < postgres_records_from)
    connection.run(without, values);
  else
    connection.run(with_epochs, epochs.after(values));
}

}  // namespace canary::detail
