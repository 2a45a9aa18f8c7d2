// sqlite_rows.hpp: a store's rows, to and from SQLite. Layer adapters; a part of sqlite_store.hpp.
// Every function works within the caller's transaction; `schema` is the file's, where a statement depends on it.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_jobs.hpp"
#include "canary/adapters/sqlite_schema.hpp"
#include "canary/control/store.hpp"
#include "canary/control/store_text.hpp"

namespace canary::detail {

/// Words about a task at fault.
[[nodiscard]] inline std::string of_task(std::string_view task, std::string_view words) {
  return "task `" + std::string{task} + "`: " + std::string{words};
}

[[nodiscard]] inline Partition read_partition(const SqliteConnection& db, std::string_view task,
                                              const std::string& text) {
  std::optional<Partition> partition = parse_partition(text);
  if (!partition) db.fail_corrupt(of_task(task, "a partition makes no sense"));
  return *std::move(partition);
}

[[nodiscard]] inline Status read_status(const SqliteConnection& db, std::string_view task, const std::string& word) {
  const std::optional<Status> status = parse_status(word);
  if (!status) db.fail_corrupt(of_task(task, "a status makes no sense"));
  return *status;
}

[[nodiscard]] inline std::vector<std::string> read_task_names(SqliteConnection& db) {
  SqliteQuery query{db, "SELECT name FROM tasks WHERE revision > 0 ORDER BY name"};
  std::vector<std::string> names;
  while (query.next()) names.push_back(query.text(0));
  return names;
}

/// The task's row without versions; nothing where there is none.
[[nodiscard]] inline std::optional<TaskRecord> read_task(SqliteConnection& db, std::uint32_t schema,
                                                         std::string_view task) {
  SqliteQuery query{db,
                    schema >= sqlite_records_from
                        ? "SELECT revision, version_count, partition, epoch, rollouts FROM tasks WHERE name = ?1"
                        : "SELECT revision, version_count, partition, '', '' FROM tasks WHERE name = ?1",
                    task};
  if (!query.next()) return {};
  TaskRecord record;
  record.name = task;
  record.revision = query.number(0);
  record.version_count = query.number(1);
  record.partition = read_partition(db, task, query.text(2));
  record.epoch = query.text(3);
  record.rollouts = query.text(4);
  return record;
}

/// Adds the versions numbered first..last.
inline void read_versions(SqliteConnection& db, std::string_view task, std::uint32_t first, std::uint32_t last,
                          std::vector<ModelVersion>& into) {
  SqliteQuery query{db,
                    "SELECT number, model, provider, status, weight_ppm, note, created_at_us, changed_at_us, "
                    "shutdown_date, job, training_file_hash, base_model, prompt_version "
                    "FROM versions WHERE task = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number",
                    task, first, last};
  while (query.next()) {
    into.push_back({query.number(0), query.text(1), query.text(2), read_status(db, task, query.text(3)),
                    query.number(4), query.text(5), query.integer(6), query.integer(7), query.text(8),
                    Lineage{query.text(9), query.text(10), query.text(11), query.text(12)}});
  }
}

inline void read_versions(SqliteConnection& db, const VersionFilter& filter, TaskRecord& record) {
  if (filter.all) return read_versions(db, record.name, 0, max_version_number, record.versions);
  std::set<std::uint32_t> wanted{filter.numbers.begin(), filter.numbers.end()};
  if (filter.in_play) {  // two halves, so that each has its index
    SqliteQuery query{db,
                      "SELECT number FROM versions WHERE task = ?1 AND weight_ppm > 0 "
                      "UNION ALL SELECT number FROM versions WHERE task = ?1 AND status = 'ACTIVE'",
                      record.name};
    while (query.next()) wanted.insert(query.number(0));
  }
  for (const std::uint32_t number : wanted) read_versions(db, record.name, number, number, record.versions);
}

/// Versions with a weight, by number; nothing if the partition's shares say anything else. The + keeps SQLite from reading
/// every version of the task for the sake of the order: 10,000 of them take 0.6 ms.
[[nodiscard]] inline std::optional<std::vector<ServingVersion>> read_serving(SqliteConnection& db,
                                                                             std::string_view task,
                                                                             const Partition& partition) {
  SqliteQuery query{
      db, "SELECT number, weight_ppm, model, status FROM versions WHERE task = ?1 AND weight_ppm > 0 ORDER BY +number",
      task};
  std::vector<ServingVersion> serving;
  auto share = partition.shares().begin();
  const auto end = partition.shares().end();
  if (share != end && share->owner == default_owner) ++share;
  for (; query.next(); ++share) {
    if (share == end || share->owner != query.integer(0) || share->ppm != query.integer(1)) return {};
    serving.push_back({query.number(0), query.text(2), read_status(db, task, query.text(3))});
  }
  if (share != end) return {};
  return serving;
}

[[nodiscard]] inline std::vector<ServingVersion> read_serving(SqliteConnection& db, const TaskRecord& task) {
  std::optional<std::vector<ServingVersion>> serving = read_serving(db, task.name, task.partition);
  if (!serving) db.fail_corrupt(of_task(task.name, "its partition is not that of its versions' weights"));
  return *std::move(serving);
}

[[nodiscard]] inline std::vector<HistoryRow> read_history(SqliteConnection& db, std::uint32_t schema,
                                                          std::string_view task, const HistoryFilter& filter) {
  SqliteQuery query{db,
                    schema >= sqlite_records_from
                        ? "SELECT revision, at_us, actor, action, number, note, partition, points_moved, "
                          "points_minimum, restores, status_changes, evidence, epoch, rollouts FROM history "
                          "WHERE task = ?1 AND revision BETWEEN ?2 AND ?3 ORDER BY revision DESC LIMIT ?4"
                        : "SELECT revision, at_us, actor, action, number, note, partition, points_moved, "
                          "points_minimum, restores, status_changes, evidence, '', '' FROM history "
                          "WHERE task = ?1 AND revision BETWEEN ?2 AND ?3 ORDER BY revision DESC LIMIT ?4",
                    task,
                    filter.from,
                    filter.to,
                    filter.newest};
  std::vector<HistoryRow> rows;
  while (query.next()) {
    auto changes = parse_status_changes(query.text(10));
    if (!changes) db.fail_corrupt(of_task(task, "a list of status changes makes no sense"));
    rows.push_back({query.number(0), query.integer(1), query.text(2), query.text(3), query.number(4), query.text(5),
                    read_partition(db, task, query.text(6)), query.number<std::uint64_t>(7),
                    query.number<std::uint64_t>(8), query.number(9), *std::move(changes), query.text(11),
                    query.text(12), query.text(13)});
  }
  std::reverse(rows.begin(), rows.end());
  return rows;
}

/// A text that is empty leaves what the task has.
inline void set_epoch(SqliteConnection& db, std::string_view task, std::string_view epoch, std::string_view rollouts) {
  if (!epoch.empty()) run(db, "UPDATE tasks SET epoch = ?2 WHERE name = ?1", task, epoch);
  if (!rollouts.empty()) run(db, "UPDATE tasks SET rollouts = ?2 WHERE name = ?1", task, rollouts);
}

inline void add_task(SqliteConnection& db, const TaskRecord& task, std::int64_t change, std::uint64_t allocated_ppm) {
  run(db,
      "INSERT INTO tasks (name, revision, change, version_count, allocated_ppm, partition) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
      task.name, task.revision, change, task.version_count, allocated_ppm, partition_text(task.partition));
}

inline void add_version(SqliteConnection& db, std::string_view task, const ModelVersion& row) {
  run(db,
      "INSERT INTO versions (task, number, model, provider, status, weight_ppm, note, created_at_us, changed_at_us, "
      "shutdown_date, job, training_file_hash, base_model, prompt_version) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
      task, row.number, row.model, row.provider, to_string(row.status), row.weight_ppm, row.note, row.created_at_us,
      row.changed_at_us, row.shutdown_date, row.lineage.job, row.lineage.training_file_hash, row.lineage.base_model,
      row.lineage.prompt_version);
}

inline void update_version(SqliteConnection& db, std::string_view task, const ModelVersion& row) {
  run(db,
      "UPDATE versions SET model = ?3, provider = ?4, status = ?5, weight_ppm = ?6, note = ?7, created_at_us = ?8, "
      "changed_at_us = ?9, shutdown_date = ?10, job = ?11, training_file_hash = ?12, base_model = ?13, "
      "prompt_version = ?14 WHERE task = ?1 AND number = ?2",
      task, row.number, row.model, row.provider, to_string(row.status), row.weight_ppm, row.note, row.created_at_us,
      row.changed_at_us, row.shutdown_date, row.lineage.job, row.lineage.training_file_hash, row.lineage.base_model,
      row.lineage.prompt_version);
}

inline void add_history(SqliteConnection& db, std::uint32_t schema, std::string_view task, const HistoryRow& row) {
  const auto add = [&](const char* sql, const auto&... more) {
    run(db, sql, task, row.revision, row.at_us, row.actor, row.action, row.number, row.note,
        partition_text(row.partition), row.points_moved, row.points_minimum, row.restores,
        status_changes_text(row.status_changes), row.evidence, more...);
  };
  if (schema >= sqlite_records_from)
    add("INSERT INTO history (task, revision, at_us, actor, action, number, note, partition, points_moved, "
        "points_minimum, restores, status_changes, evidence, epoch, rollouts) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        row.epoch, row.rollouts);
  else
    add("INSERT INTO history (task, revision, at_us, actor, action, number, note, partition, points_moved, "
        "points_minimum, restores, status_changes, evidence) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
}

/// Names that a backup has a part for: tasks, and what jobs were made for before it was one.
[[nodiscard]] inline std::vector<std::string> read_all_names(SqliteConnection& db, std::uint32_t schema) {
  if (schema < sqlite_records_from) return read_task_names(db);
  SqliteQuery query{db, "SELECT name FROM tasks WHERE revision > 0 UNION SELECT task FROM jobs ORDER BY 1"};
  std::vector<std::string> names;
  while (query.next()) names.push_back(query.text(0));
  return names;
}

/// All of a task, or of what jobs alone are there for.
[[nodiscard]] inline TaskContents read_contents(SqliteConnection& db, std::uint32_t schema, const std::string& name) {
  TaskContents contents;
  if (std::optional<TaskRecord> task = read_task(db, schema, name)) {
    contents.task = *std::move(task);
    (void)read_serving(db, contents.task);
    read_versions(db, {.all = true}, contents.task);
    contents.history = read_history(db, schema, name, {});
  }
  contents.task.name = name;
  if (schema >= sqlite_records_from) contents.jobs = read_jobs(db, {.task = name});
  return contents;
}

/// A whole task into a store without its triggers, which check here by hand what they would have.
inline void add_contents(SqliteConnection& db, std::uint32_t schema, const TaskContents& contents,
                         std::int64_t change) {
  const TaskRecord& task = contents.task;
  const std::vector<Job> jobs = restored_jobs(contents);
  bool good = task.partition.valid() && contents.history.size() == task.revision &&
              task.versions.size() == task.version_count && (task.revision != 0 || !jobs.empty());
  std::uint64_t allocated_ppm = 0;
  for (std::size_t i = 0; good && i != task.versions.size(); ++i) {
    good = task.versions[i].number == i + 1;
    allocated_ppm += task.versions[i].weight_ppm;
  }
  for (std::size_t i = 0; good && i != contents.history.size(); ++i)
    good = contents.history[i].revision == i + 1 && contents.history[i].partition.valid();
  if (good && task.revision != 0) {
    add_task(db, task, change, allocated_ppm);
    if (schema >= sqlite_records_from) set_epoch(db, task.name, task.epoch, task.rollouts);
    for (const ModelVersion& each : task.versions) add_version(db, task.name, each);
    for (const HistoryRow& each : contents.history) add_history(db, schema, task.name, each);
    good = read_serving(db, task.name, task.partition).has_value();
  }
  if (!good) db.fail_invalid(of_task(task.name, "what should replace it does not fit together"));
  for (const Job& each : jobs) add_job(db, each);
}

}  // namespace canary::detail
