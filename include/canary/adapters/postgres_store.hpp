// postgres_store.hpp: a Store in a PostgreSQL database, for fleets. Layer adapters; needs libpq.
//
//   PostgresStore store{"postgresql://canary@db.example.com/canary?sslmode=verify-full"};
//
// The URL is libpq's, with all of its parameters; a password is better kept in ~/.pgpass. A call that nobody answers
// ends within the time-out, whatever has become of the server. The revision of a task decides who wins a race; the order
// of changes is the order in which one row, canary_store, is locked. Several programs may begin on an empty database at
// once. A pooler in between may hand out connections by the transaction.
//
// Not for a store within one machine: SqliteStore needs no server. A commit takes five round trips and one for each
// version.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_follower.hpp"
#include "canary/adapters/postgres_interactions.hpp"
#include "canary/adapters/postgres_jobs.hpp"
#include "canary/adapters/postgres_rows.hpp"
#include "canary/adapters/postgres_session.hpp"
#include "canary/control/job_row.hpp"
#include "canary/control/store.hpp"

namespace canary {

class PostgresStore final : public Store {
 public:
  /// Touches nothing; the first call connects.
  /// Errors  StoreError `invalid` for a URL that makes no sense.
  explicit PostgresStore(std::string_view url, PostgresOptions options = {})
      : options_{options}, place_{detail::PostgresPlace::parse(url)}, session_{place_, options} {}

  [[nodiscard]] StoreInfo info() override;
  [[nodiscard]] std::vector<std::string> tasks() override;
  [[nodiscard]] TaskRecord load(std::string_view task, const VersionFilter& filter) override;
  [[nodiscard]] CommitResult commit(const Commit& change) override;
  [[nodiscard]] std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override;
  [[nodiscard]] std::vector<Job> jobs(const JobFilter& filter) override;
  [[nodiscard]] std::optional<Job> find_job(std::string_view id) override;
  [[nodiscard]] CommitResult put_job(const Job& job) override;
  [[nodiscard]] std::unique_ptr<Follower> follow() override {
    return std::make_unique<detail::PostgresFollower>(place_, options_);
  }
  /// Over connections of their own, so that the store can be used meanwhile.
  void read_all(const std::function<void(TaskContents&&)>& take) override;
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override;
  [[nodiscard]] std::unique_ptr<InteractionStore> interactions() override {
    return std::make_unique<detail::PostgresInteractions>(place_, options_);
  }
  std::uint32_t migrate() override {
    const std::lock_guard lock{mutex_};
    return session_.migrate();
  }

 private:
  template <class Body>
  auto call(Body body) {
    const std::lock_guard lock{mutex_};
    return session_.call(body);
  }
  [[nodiscard]] CommitResult write(detail::PostgresConnection& connection, const Commit& change, std::string_view id);
  [[nodiscard]] CommitResult make_out(const Commit& change, std::string_view id, const std::string& words);
  [[nodiscard]] CommitResult make_out(const Job& job, const std::string& words);
  template <class Look>
  [[nodiscard]] CommitResult make_out(const std::string& what, const std::string& words, Look look);
  [[nodiscard]] static std::uint32_t lock_store(detail::PostgresConnection& connection);
  [[nodiscard]] static TaskRecord load_by(detail::PostgresSession& session, std::string_view task,
                                          const VersionFilter& filter);
  [[nodiscard]] static std::vector<HistoryRow> history_by(detail::PostgresSession& session, std::string_view task,
                                                          const HistoryFilter& filter);
  static void write_task(detail::PostgresConnection& connection, std::uint32_t schema, const TaskContents& contents);
  static void write_record(detail::PostgresConnection& connection, std::uint32_t schema, const TaskContents& contents);

  PostgresOptions options_;
  detail::PostgresPlace place_;
  std::mutex mutex_;
  detail::PostgresSession session_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline StoreInfo PostgresStore::info() {
  return call([this](detail::PostgresConnection& connection) {
    const auto rows = connection.run(
        "SELECT schema, token, split_part(current_setting('server_version'), ' ', 1) FROM canary_store WHERE id = 1");
    if (rows.size() != 1) throw detail::postgres_nonsense("canary_store has no row");
    return StoreInfo{place_.shown, "PostgreSQL " + rows.text(0, 2), rows.number<std::uint32_t>(0, 0), session_.newest(),
                     rows.text(0, 1)};
  });
}

// Reads are one statement each, and bring the schema's number with the rows: one snapshot says both.

inline std::vector<std::string> PostgresStore::tasks() {
  return call([this](detail::PostgresConnection& connection) {
    const auto rows =
        connection.run("SELECT s.schema, t.name FROM canary_store s LEFT JOIN canary_tasks t ON true ORDER BY t.name");
    session_.check_schema(rows);
    std::vector<std::string> names;
    for (int i = 0; i != rows.size() && !rows.null(i, 1); ++i) names.push_back(rows.text(i, 1));
    return names;
  });
}

inline TaskRecord PostgresStore::load(std::string_view task, const VersionFilter& filter) {
  return call([&](detail::PostgresConnection&) { return load_by(session_, task, filter); });
}

inline TaskRecord PostgresStore::load_by(detail::PostgresSession& session, std::string_view task,
                                         const VersionFilter& filter) {
  static const std::string head =
      "SELECT s.schema, s.token, t.revision, t.version_count, t.partition, t.epoch, t.rollouts, " +
      detail::postgres_version_columns + " FROM canary_store s" + detail::postgres_no_epoch +
      " LEFT JOIN LATERAL (SELECT name, revision, version_count, partition, epoch, rollouts"
      " FROM canary_tasks WHERE name = $1) t ON true"
      " LEFT JOIN canary_versions v ON v.task = $1 AND t.name IS NOT NULL";
  static const std::string all = head + " ORDER BY v.number";
  static const std::string named = head + " AND v.number = ANY($2::bigint[]) ORDER BY v.number";
  static const std::string in_play =
      head + " AND (v.weight_ppm > 0 OR v.status = 'ACTIVE' OR v.number = ANY($2::bigint[])) ORDER BY v.number";
  std::string numbers;
  for (const std::uint32_t number : filter.numbers) (numbers += numbers.empty() ? '{' : ',') += std::to_string(number);
  numbers += numbers.empty() ? "{}" : "}";
  detail::PostgresConnection& connection = session.connection();
  const auto rows =
      filter.all ? connection.run(all, {task}) : connection.run(filter.in_play ? in_play : named, {task, numbers});
  session.check_schema(rows);
  TaskRecord record;
  record.name = task;
  record.token = rows.text(0, 1);
  if (rows.null(0, 2)) return record;
  detail::PostgresFields fields{rows, 0, 2};
  record.revision = fields.number<std::uint32_t>();
  record.version_count = fields.number<std::uint32_t>();
  record.partition = fields.partition();
  record.epoch = fields.text();
  record.rollouts = fields.text();
  std::size_t weights = 0;
  for (int i = 0; i != rows.size() && !rows.null(i, 7); ++i) {
    record.versions.push_back(detail::postgres_version({rows, i, 7}));
    const ModelVersion& row = record.versions.back();
    detail::check_weight(record.name, record.partition, row.number, row.weight_ppm);
    weights += row.weight_ppm != 0 ? 1 : 0;
  }
  if (filter.all || filter.in_play) detail::check_owners(record.name, record.partition, weights);
  return record;
}

inline std::vector<HistoryRow> PostgresStore::history(std::string_view task, const HistoryFilter& filter) {
  return call([&](detail::PostgresConnection&) { return history_by(session_, task, filter); });
}

inline std::vector<HistoryRow> PostgresStore::history_by(detail::PostgresSession& session, std::string_view task,
                                                         const HistoryFilter& filter) {
  static const std::string sql =
      "SELECT s.schema, " + detail::postgres_history_columns + " FROM canary_store s" + detail::postgres_no_epoch +
      " LEFT JOIN LATERAL (SELECT revision, at_us, actor, action, number, note, partition, points_moved,"
      " points_minimum, restores, status_changes, evidence, epoch, rollouts FROM canary_history WHERE task = $1 AND"
      " revision BETWEEN $2 AND $3 ORDER BY revision DESC LIMIT $4) h ON true ORDER BY h.revision";
  const auto rows = session.connection().run(sql, {task, filter.from, filter.to, filter.newest});
  session.check_schema(rows);
  std::vector<HistoryRow> history;
  for (int i = 0; i != rows.size() && !rows.null(i, 1); ++i)
    history.push_back(detail::postgres_history_row({rows, i, 1}));
  return history;
}

inline CommitResult PostgresStore::commit(const Commit& change) {
  check_job(change);
  const std::lock_guard lock{mutex_};
  const std::string id = detail::postgres_id();
  try {
    return session_.call([&](detail::PostgresConnection& connection) { return write(connection, change, id); });
  } catch (const detail::PostgresUnknown& unknown) {
    return make_out(change, id, unknown.words);
  }
}

inline CommitResult PostgresStore::write(detail::PostgresConnection& connection, const Commit& change,
                                         std::string_view id) {
  const std::string& task = change.task;
  const auto broken = [&](const char* what) { return StoreError{StoreErrc::invalid, "task " + task + ": " + what}; };
  const std::string partition = partition_text(change.row.partition);
  if (change.job) detail::check_keeps_jobs(session_);
  const std::uint32_t schema = session_.last_schema();
  session_.begin();
  const auto moved =
      change.expected_revision == 0
          ? connection.run(
                "INSERT INTO canary_tasks (name, revision, partition) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING"
                " RETURNING version_count",
                {task, partition})
          : connection.run(
                "UPDATE canary_tasks SET revision = revision + 1, partition = $3 WHERE name = $1 AND revision = $2"
                " RETURNING version_count",
                {task, change.expected_revision, partition});
  if (moved.size() == 0) {
    session_.check_schema(session_.schema());
    connection.script("ROLLBACK");
    return CommitResult::conflict;
  }
  if (change.row.revision != change.expected_revision + 1) throw broken("its history row is of another revision");
  if (!change.row.partition.valid()) throw broken("its partition does not cover the ring");
  const auto count = moved.number<std::uint32_t>(0, 0);
  for (const ModelVersion& row : change.versions) {
    connection.start_clock();  // an answer has come: the server is alive
    if (row.number > count)
      detail::insert_versions(connection, task, {&row, 1});
    else if (!detail::update_version(connection, task, row))
      throw broken("a version's number is out of turn");
  }
  detail::insert_history(connection, schema, task, {&change.row, 1}, id);
  detail::set_epoch(connection, schema, task, change.row.epoch, change.row.rollouts);
  // From here to the end one commit after the other: the order of `change` is the order in which they can be seen.
  const auto counted = connection.run(
      "WITH store AS (UPDATE canary_store SET change = change + 1 WHERE id = 1 RETURNING change, schema, token),"
      " task AS (UPDATE canary_tasks SET change = store.change FROM store WHERE name = $1)"
      " SELECT schema, token, pg_notify('canary', change::text) FROM store",
      {task});
  session_.check_schema(counted);
  if (session_.last_schema() != schema)  // migrated before the first lock, which no migration passes: once more
    throw detail::PostgresFailure{detail::PostgresFailure::Kind::refused, "40001", "the schema has changed"};
  const bool restored = !change.token.empty() && change.token != counted.text(0, 1);
  if (restored || (change.job && !detail::write_job(connection, *change.job))) {
    connection.script("ROLLBACK");
    return CommitResult::conflict;
  }
  session_.commit();
  return CommitResult::done;
}

inline CommitResult PostgresStore::make_out(const Commit& change, std::string_view id, const std::string& words) {
  return make_out(
      "task " + change.task, words, [&](detail::PostgresConnection& connection) -> std::optional<CommitResult> {
        const auto rows = connection.run("SELECT commit_id FROM canary_history WHERE task = $1 AND revision = $2",
                                         {change.task, change.row.revision});
        if (rows.size() == 0) return {};
        return rows.text(0, 0) == id ? CommitResult::done : CommitResult::conflict;
      });
}

inline CommitResult PostgresStore::make_out(const Job& job, const std::string& words) {
  return make_out("job " + job.id, words, [&](detail::PostgresConnection&) -> std::optional<CommitResult> {
    const std::optional<Job> found = detail::read_job(session_, job.id);
    if ((found ? found->revision : 0) < job.revision) return {};
    return job_row(*found) == job_row(job) ? CommitResult::done : CommitResult::conflict;
  });
}

/// After a COMMIT without an answer; asks for as long as the time-out while nobody answers. Whoever gets the lock of
/// canary_store knows that the lost transaction has ended.
/// Input   `look(connection)`: what became of the change; nothing where it was not written.
template <class Look>
inline CommitResult PostgresStore::make_out(const std::string& what, const std::string& words, Look look) {
  const auto lost = place_.shown + ": the connection was lost at the end of a change of " + what + " (" + words + ')';
  const auto locked = [&](detail::PostgresConnection& connection) {
    session_.begin();
    (void)lock_store(connection);
    const std::optional<CommitResult> found = look(connection);
    connection.script("ROLLBACK");
    return found;
  };
  const auto unknown = [](const std::string& message, std::string hint) {
    StoreError error{StoreErrc::unreachable, message, std::move(hint)};
    error.unknown = true;
    return error;
  };
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{options_.timeout_ms};
  for (std::chrono::milliseconds pause{50};; pause *= 2) {
    try {
      if (const std::optional<CommitResult> found = session_.call(locked)) return *found;
      break;
    } catch (const StoreError& error) {
      if (error.code != StoreErrc::unreachable || std::chrono::steady_clock::now() + pause > until)
        throw unknown(lost + "; whether it was written could not be made out: " + error.what(),
                      "look at " + what + " before it is said again");
    }
    std::this_thread::sleep_for(pause);
  }
  throw StoreError{StoreErrc::unreachable, lost + "; it was not written"};
}

/// For the rest of a transaction, so that one writer comes after the other; the number of the schema.
inline std::uint32_t PostgresStore::lock_store(detail::PostgresConnection& connection) {
  const auto rows = connection.run("SELECT schema FROM canary_store WHERE id = 1 FOR UPDATE");
  if (rows.size() == 0) throw detail::postgres_nonsense("canary_store has no row");
  return rows.number<std::uint32_t>(0, 0);
}

inline std::vector<Job> PostgresStore::jobs(const JobFilter& filter) {
  return call([&](detail::PostgresConnection&) {
    detail::check_keeps_jobs(session_);
    return detail::read_jobs(session_, filter);
  });
}

inline std::optional<Job> PostgresStore::find_job(std::string_view id) {
  return call([&](detail::PostgresConnection&) {
    detail::check_keeps_jobs(session_);
    return detail::read_job(session_, id);
  });
}

/// Followers have nothing to see in it: it is no change of the store's count. The lock keeps migrations and restores out,
/// and tells make_out() when a lost one has ended.
inline CommitResult PostgresStore::put_job(const Job& job) {
  check_job(job);
  const std::lock_guard lock{mutex_};
  try {
    return session_.call([&](detail::PostgresConnection& connection) {
      session_.begin();
      session_.check_schema(lock_store(connection));
      session_.check_records(session_.last_schema(), "jobs");
      if (!detail::write_job(connection, job)) {
        connection.script("ROLLBACK");
        return CommitResult::conflict;
      }
      session_.commit();
      return CommitResult::done;
    });
  } catch (const detail::PostgresUnknown& unknown) {
    return make_out(job, unknown.words);
  }
}

inline void PostgresStore::read_all(const std::function<void(TaskContents&&)>& take) {
  detail::PostgresSession session{place_, options_};
  session.connection().unname();  // a clash of names would be in the middle of what cannot be begun again
  std::set<std::string> names;
  bool with_jobs = false;
  session.call([&](detail::PostgresConnection& connection) {
    names.clear();
    session.begin_reading();
    const auto rows = connection.run("SELECT s.schema, t.name FROM canary_store s LEFT JOIN canary_tasks t ON true");
    session.check_schema(rows);
    for (int i = 0; i != rows.size() && !rows.null(i, 1); ++i) names.insert(rows.text(i, 1));
    with_jobs = session.last_schema() >= detail::postgres_records_from;
    if (!with_jobs) return;
    const auto more = connection.run("SELECT DISTINCT task FROM canary_jobs");
    for (int i = 0; i != more.size(); ++i) names.insert(more.text(i, 0));
  });
  // What was given away cannot be given a second time: from here on nothing is tried again.
  session.call_once([&](detail::PostgresConnection& connection) {
    for (const std::string& name : names) {
      connection.start_clock();
      TaskContents contents{load_by(session, name, {.all = true}), history_by(session, name, {})};
      if (with_jobs) contents.jobs = detail::read_jobs(session, {.task = name});
      take(std::move(contents));
    }
    connection.start_clock();
    connection.script("COMMIT");
  });
}

inline void PostgresStore::replace_all(const std::function<std::optional<TaskContents>()>& next) {
  detail::PostgresSession session{place_, options_};
  session.connection().unname();  // a clash of names would be in the middle of what cannot be begun again
  const std::string token = detail::postgres_id();
  session.call([&](detail::PostgresConnection& connection) {
    session.begin(true);
    connection.start_clock(detail::postgres_long_ms);
    connection.script(
        "LOCK TABLE canary_tasks, canary_versions, canary_history, canary_store IN SHARE ROW EXCLUSIVE MODE");
    session.check_schema(lock_store(connection));
    connection.script("SET LOCAL canary.replacing = 'on'");
    if (session.last_schema() >= detail::postgres_records_from)
      connection.script("LOCK TABLE canary_jobs IN SHARE ROW EXCLUSIVE MODE;DELETE FROM canary_jobs");
    connection.script("DELETE FROM canary_history;DELETE FROM canary_versions;DELETE FROM canary_tasks");
  });
  try {
    session.call_once([&](detail::PostgresConnection& connection) {
      const std::uint32_t schema = session.last_schema();
      while (const std::optional<TaskContents> contents = next()) {
        if (!contents->jobs.empty()) session.check_records(schema, "jobs");
        write_task(connection, schema, *contents);
      }
      connection.start_clock(detail::postgres_long_ms);
      if (schema >= detail::postgres_records_from) connection.script(std::string{detail::postgres_forget_evidence});
      const auto counted = connection.run(
          "WITH store AS (UPDATE canary_store SET change = change + 1, token = $1 WHERE id = 1 RETURNING change, "
          "schema),"
          " tasks AS (UPDATE canary_tasks SET change = store.change FROM store)"
          " SELECT schema, pg_notify('canary', change::text) FROM store",
          {token});
      session.check_schema(counted);
      session.commit();
    });
  } catch (const detail::PostgresUnknown& unknown) {
    if (info().token == token) return;
    throw StoreError{StoreErrc::unreachable,
                     place_.shown + ": the connection was lost before the store was replaced: " + unknown.words};
  }
}

inline void PostgresStore::write_task(detail::PostgresConnection& connection, std::uint32_t schema,
                                      const TaskContents& contents) {
  const TaskRecord& task = contents.task;
  const std::vector<Job> jobs = restored_jobs(contents);
  if (task.revision != 0 || jobs.empty()) write_record(connection, schema, contents);
  for (const Job& each : jobs) {
    connection.start_clock();
    if (!detail::insert_job(connection, each))
      throw StoreError{StoreErrc::invalid, "job " + each.id + ": it is there twice"};
  }
}

/// All of a task but its jobs.
inline void PostgresStore::write_record(detail::PostgresConnection& connection, std::uint32_t schema,
                                        const TaskContents& contents) {
  const TaskRecord& task = contents.task;
  std::uint64_t sum_ppm = 0;
  for (const ModelVersion& row : task.versions) sum_ppm += row.weight_ppm;
  connection.start_clock();
  connection.run(
      "INSERT INTO canary_tasks (name, revision, version_count, allocated_ppm, partition) VALUES ($1, $2, $3, $4, $5)",
      {task.name, task.revision, task.version_count, sum_ppm, partition_text(task.partition)});
  detail::set_epoch(connection, schema, task.name, task.epoch, task.rollouts);
  constexpr std::size_t at_once = 500;
  for (std::size_t at = 0; at < task.versions.size(); at += at_once) {
    connection.start_clock();
    const std::span<const ModelVersion> rest = std::span{task.versions}.subspan(at);
    detail::insert_versions(connection, task.name, rest.first(std::min(rest.size(), at_once)));
  }
  for (std::size_t at = 0; at < contents.history.size(); at += at_once) {
    connection.start_clock();
    const std::span<const HistoryRow> rest = std::span{contents.history}.subspan(at);
    detail::insert_history(connection, schema, task.name, rest.first(std::min(rest.size(), at_once)), "restored");
  }
}

}  // namespace canary
