// sqlite_store.hpp: a Store in one SQLite file, the embedded default. Layer adapters; needs SQLite 3.37 and POSIX.
// Any number of processes of one machine may have the file open; each sees the others' changes within 50 ms. Not for
// network file systems, which do not keep SQLite's locks: use postgres_store.hpp for a fleet.
//
// A commit is on the disk when it returns (WAL, synchronous = FULL): milliseconds where the disk is honest. Readers never
// wait for the writer. A file, or its folder, that cannot be written can still be read.
// An object must not cross a fork(): make stores after it. (The child would let go of its parent's locks.)
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_file.hpp"
#include "canary/adapters/sqlite_interactions.hpp"
#include "canary/adapters/sqlite_jobs.hpp"
#include "canary/adapters/sqlite_recorded.hpp"
#include "canary/adapters/sqlite_rows.hpp"
#include "canary/adapters/sqlite_schema.hpp"
#include "canary/adapters/sqlite_session.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/job_row.hpp"
#include "canary/control/store.hpp"

namespace canary {

class SqliteStore final : public Store {
 public:
  /// Input   `sqlite:PATH` or PATH; any bytes but NUL.
  /// Errors  StoreErrc::invalid for a path that is none.
  explicit SqliteStore(std::string_view url, SqliteOptions options = {});

  /// Answers for files of any schema.
  [[nodiscard]] StoreInfo info() override;
  [[nodiscard]] std::vector<std::string> tasks() override;
  [[nodiscard]] TaskRecord load(std::string_view task, const VersionFilter& filter) override;
  [[nodiscard]] CommitResult commit(const Commit& change) override;
  [[nodiscard]] std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override;
  [[nodiscard]] std::vector<Job> jobs(const JobFilter& filter) override;
  [[nodiscard]] std::optional<Job> find_job(std::string_view id) override;
  [[nodiscard]] CommitResult put_job(const Job& job) override;
  [[nodiscard]] std::unique_ptr<Follower> follow() override;
  /// Over a connection of its own: `take` may call this store.
  void read_all(const std::function<void(TaskContents&&)>& take) override;
  /// `next` must not call this store.
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override;
  [[nodiscard]] std::unique_ptr<InteractionStore> interactions() override;
  std::uint32_t migrate() override;

 private:
  class SqliteFollower;

  [[nodiscard]] std::shared_ptr<detail::SqlitePlace> found_place() const;

  std::shared_ptr<detail::SqlitePlace> place_;
  std::mutex mutex_;
  detail::SqliteSession session_;
};

// ---------------------------------------------------------------------------------------------------------------------

class SqliteStore::SqliteFollower final : public Follower {
 public:
  explicit SqliteFollower(std::shared_ptr<detail::SqlitePlace> place) : session_{std::move(place)} {}

  [[nodiscard]] StoreDelta changes(const StorePosition& since) override {
    return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& row) {
      StoreDelta delta;
      // A count that went back: somebody has put an older copy of the file here.
      delta.everything = since.token != row.token || since.change > row.change;
      delta.position = {row.token, row.change};
      detail::SqliteQuery query{db, "SELECT name FROM tasks WHERE change > ?1 AND revision > 0",
                                delta.everything ? -1 : since.change};
      while (query.next()) {
        std::optional<TaskRecord> task = detail::read_task(db, row.schema, query.text(0));
        if (!task) continue;
        std::vector<ServingVersion> serving = detail::read_serving(db, *task);
        delta.tasks.push_back({task->name, task->revision, std::move(task->partition), std::move(serving)});
      }
      seen_ = data_version(db);
      seen_connection_ = session_.connections();
      return delta;
    });
  }

  [[nodiscard]] std::optional<std::uint32_t> find_model(std::string_view task, std::string_view model) override {
    using Found = std::optional<std::uint32_t>;
    return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow&) -> Found {
      // Left to itself, SQLite reads every version of the task.
      detail::SqliteQuery query{db,
                                "SELECT number FROM versions INDEXED BY versions_by_model "
                                "WHERE task = ?1 AND model = ?2 AND status <> 'ARCHIVED' ORDER BY number DESC LIMIT 1",
                                task, model};
      if (!query.next()) return {};
      return query.number(0);
    });
  }

  void wait(std::chrono::milliseconds at_most) noexcept override {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::milliseconds poll_ms{5};  // 5 us each: 0.1 % of a core, a tenth of what is promised
    const auto until = Clock::now() + std::min<std::chrono::milliseconds>(at_most, std::chrono::hours{24});
    std::unique_lock lock{mutex_};
    while (!interrupted_ && !changed()) {
      const auto now = Clock::now();
      if (now >= until) break;
      woken_.wait_until(lock, std::min(until, now + poll_ms));
    }
    interrupted_ = false;
  }

  void interrupt() noexcept override {
    const std::lock_guard lock{mutex_};
    interrupted_ = true;
    woken_.notify_all();
  }

 private:
  /// Changes when another connection commits; means something within one connection only.
  [[nodiscard]] static std::int64_t data_version(detail::SqliteConnection& db) {
    detail::SqliteQuery query{db, "PRAGMA data_version"};
    return query.next() ? query.integer(0) : 0;
  }

  [[nodiscard]] bool changed() noexcept {
    detail::SqliteConnection* db = session_.connection();
    if (db == nullptr) return false;
    try {
      return seen_connection_ != session_.connections() || db->moved() || data_version(*db) != seen_;
    } catch (...) {
      return false;  // changes() will say what is wrong
    }
  }

  detail::SqliteSession session_;
  std::int64_t seen_ = 0;
  std::uint64_t seen_connection_ = 0;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool interrupted_ = false;
};

inline SqliteStore::SqliteStore(std::string_view url, SqliteOptions options)
    : place_{std::make_shared<detail::SqlitePlace>()}, session_{place_} {
  constexpr std::string_view scheme = "sqlite:";
  const std::string path{url.starts_with(scheme) ? url.substr(scheme.size()) : url};
  if (path.empty() || path.find('\0') != std::string::npos)
    throw StoreError{StoreErrc::invalid, "`" + std::string{url} + "`: names no file", "write sqlite:PATH"};
  std::error_code ignored;
  const std::string absolute = std::filesystem::absolute(path, ignored);
  place_->path = path;
  place_->file = absolute.empty() ? path : absolute;
  place_->options = options;
}

inline StoreInfo SqliteStore::info() {
  const std::lock_guard lock{mutex_};
  const detail::SqliteStoreRow row =
      session_.read([](detail::SqliteConnection&, const detail::SqliteStoreRow& found) { return found; },
                    detail::SqliteSession::Schema::any);
  const std::uint32_t known = place_->options.schema.number();
  if (row.schema + 1 < known) session_.drop();  // the next call may find it alone, and bring it forward
  return {"sqlite:" + place_->path, std::string{"SQLite "} + sqlite3_libversion(), row.schema, known, row.token};
}

inline std::vector<std::string> SqliteStore::tasks() {
  const std::lock_guard lock{mutex_};
  return session_.read([](detail::SqliteConnection& db, const auto&) { return detail::read_task_names(db); });
}

inline TaskRecord SqliteStore::load(std::string_view task, const VersionFilter& filter) {
  const std::lock_guard lock{mutex_};
  return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    std::optional<TaskRecord> record = detail::read_task(db, store.schema, task);
    if (record) {
      (void)detail::read_serving(db, *record);  // checks the weights
      detail::read_versions(db, filter, *record);
    } else {
      record.emplace().name = task;
    }
    record->token = store.token;
    return *record;
  });
}

inline CommitResult SqliteStore::commit(const Commit& change) {
  check_job(change);
  const std::lock_guard lock{mutex_};
  return session_.write([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    const auto refuse = [&](std::string_view words) { db.fail_invalid(detail::of_task(change.task, words)); };
    if (change.job) detail::check_records(place_->path, store, "jobs");
    std::optional<TaskRecord> task = detail::read_task(db, store.schema, change.task);
    const bool unknown = !task;
    if (unknown) task.emplace().name = change.task;
    if (task->revision != change.expected_revision) return CommitResult::conflict;
    if (!change.token.empty() && change.token != store.token) return CommitResult::conflict;
    if (change.job && !detail::is_next(db, *change.job)) return CommitResult::conflict;
    if (change.row.revision != change.expected_revision + 1) refuse("the history row is of another revision");
    if (!change.row.partition.valid()) refuse("the partition does not cover the ring");

    if (unknown) detail::add_task(db, *task, store.change + 1, 0);
    for (const ModelVersion& row : change.versions) {
      if (row.number >= 1 && row.number <= task->version_count)
        detail::update_version(db, change.task, row);
      else
        detail::add_version(db, change.task, row);
    }
    detail::run(db, "UPDATE tasks SET revision = ?2, change = ?3, partition = ?4 WHERE name = ?1", change.task,
                change.row.revision, store.change + 1, partition_text(change.row.partition));
    detail::add_history(db, store.schema, change.task, change.row);
    if (store.schema >= detail::sqlite_records_from)
      detail::set_epoch(db, change.task, change.row.epoch, change.row.rollouts);
    if (!detail::read_serving(db, change.task, change.row.partition))
      refuse("the partition is not that of the versions' weights");
    if (change.job) detail::put_job(db, *change.job);
    detail::run(db, "UPDATE store SET change = ?1", store.change + 1);
    return CommitResult::done;
  });
}

inline std::vector<HistoryRow> SqliteStore::history(std::string_view task, const HistoryFilter& filter) {
  const std::lock_guard lock{mutex_};
  return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    return detail::read_history(db, store.schema, task, filter);
  });
}

inline std::vector<Job> SqliteStore::jobs(const JobFilter& filter) {
  const std::lock_guard lock{mutex_};
  return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    detail::check_records(place_->path, store, "jobs");
    return detail::read_jobs(db, filter);
  });
}

inline std::optional<Job> SqliteStore::find_job(std::string_view id) {
  const std::lock_guard lock{mutex_};
  return session_.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    detail::check_records(place_->path, store, "jobs");
    return detail::read_job(db, id);
  });
}

/// Followers have nothing to see in it: it is no change of the store's count.
inline CommitResult SqliteStore::put_job(const Job& job) {
  check_job(job);
  const std::lock_guard lock{mutex_};
  return session_.write([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    detail::check_records(place_->path, store, "jobs");
    if (!detail::is_next(db, job)) return CommitResult::conflict;
    detail::put_job(db, job);
    return CommitResult::done;
  });
}

/// The same file for another connection, which never makes it.
inline std::shared_ptr<detail::SqlitePlace> SqliteStore::found_place() const {
  auto found = std::make_shared<detail::SqlitePlace>();
  found->path = place_->path;
  found->file = place_->file;
  found->options = place_->options;
  found->options.create = false;
  return found;
}

inline std::unique_ptr<Follower> SqliteStore::follow() { return std::make_unique<SqliteFollower>(found_place()); }

inline std::unique_ptr<InteractionStore> SqliteStore::interactions() {
  return std::make_unique<detail::SqliteInteractions>(found_place());
}

inline void SqliteStore::read_all(const std::function<void(TaskContents&&)>& take) {
  detail::SqliteSession reader{place_};
  (void)reader.read([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    const std::vector<std::string> names = detail::read_all_names(db, store.schema);
    for (const std::string& name : names) take(detail::read_contents(db, store.schema, name));
    return names.size();
  });
}

inline void SqliteStore::replace_all(const std::function<std::optional<TaskContents>()>& next) {
  const std::lock_guard lock{mutex_};
  (void)session_.write([&](detail::SqliteConnection& db, const detail::SqliteStoreRow& store) {
    const SqliteMigration& guards = detail::guards_at(place_->options.schema, store.schema);
    db.execute(guards.no_guards);
    if (store.schema >= detail::sqlite_records_from) db.execute("DELETE FROM jobs");
    db.execute("DELETE FROM history; DELETE FROM versions; DELETE FROM tasks");
    while (const std::optional<TaskContents> contents = next()) {
      if (!contents->jobs.empty()) detail::check_records(place_->path, store, "jobs");
      detail::add_contents(db, store.schema, *contents, store.change + 1);
    }
    if (store.schema >= detail::sqlite_records_from) detail::forget_evidence(db);
    detail::run(db, "UPDATE store SET token = lower(hex(randomblob(16))), change = ?1", store.change + 1);
    db.execute(guards.guards);
    return store.change + 1;
  });
}

inline std::uint32_t SqliteStore::migrate() {
  const std::lock_guard lock{mutex_};
  session_.drop();
  const detail::SqliteOpened opened = detail::open_sqlite(*place_, false);
  if (opened.frozen || opened.db->read_only()) throw detail::sqlite_error(place_->path, SQLITE_READONLY, 0, {});
  detail::SqliteTransaction transaction{*opened.db, detail::SqliteTransaction::Kind::write};
  const detail::SqliteStoreRow row = detail::read_store_row(*opened.db);
  if (row.schema > place_->options.schema.number())
    detail::check_schema(place_->path, row, place_->options.schema.number());
  detail::bring_forward(*opened.db, place_->options.schema, row.schema);
  transaction.commit();
  return row.schema;
}

}  // namespace canary
