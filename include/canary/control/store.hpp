// store.hpp: where versions, splits and their history outlive the process. Layer control.
// A store keeps rows and knows one rule: a change of a task is written against the revision that it was computed from, as
// one transaction with its history row, or not at all. What may change is decided by registry.hpp. Every adapter passes
// tests/contract/store_contract.hpp; memory_store.hpp is the one that needs nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/job.hpp"
#include "canary/control/lifecycle.hpp"
#include "canary/control/time_us.hpp"
#include "canary/core/partition.hpp"

namespace canary {

/// What a version was made from; whatever is not known is empty.
struct Lineage {
  std::string job;                 ///< fine-tune job
  std::string training_file_hash;  ///< of the training file's bytes
  std::string base_model;
  std::string prompt_version;
  friend bool operator==(const Lineage&, const Lineage&) = default;
};

/// A registered model of one task. Its id is TASK@number; its number is its owner in the task's partition.
struct ModelVersion {
  std::uint32_t number = 0;  ///< from 1, never reused
  std::string model;
  std::string provider;  ///< may be empty
  Status status = Status::candidate;
  std::uint32_t weight_ppm = 0;
  std::string note;
  TimeUs created_at_us = 0;
  TimeUs changed_at_us = 0;
  std::string shutdown_date;  ///< YYYY-MM-DD, the first day without the model at its provider; empty: none known
  Lineage lineage;
  friend bool operator==(const ModelVersion&, const ModelVersion&) = default;
};

/// Numbers a task can count to: a partition's owners are 16 bits.
inline constexpr std::uint32_t max_version_number = static_cast<std::uint32_t>(max_versions);

/// A task's row, with those of its versions that were asked for.
struct TaskRecord {
  std::string name;
  std::uint32_t revision = 0;          ///< 0: the store does not know the task yet
  std::uint32_t version_count = 0;     ///< registered so far; the next one gets this + 1
  Partition partition;                 ///< owners are version numbers
  std::vector<ModelVersion> versions;  ///< by number
  std::string epoch = {};              ///< epoch_text() of the last change of weights; empty: it had none
  std::string rollouts = {};           ///< rollouts_text() of its rollouts; empty: it had none
  std::string token = {};              ///< epoch token of the store that it was read from; not compared
  friend bool operator==(const TaskRecord& a, const TaskRecord& b) {
    return a.name == b.name && a.revision == b.revision && a.version_count == b.version_count &&
           a.partition == b.partition && a.versions == b.versions && a.epoch == b.epoch && a.rollouts == b.rollouts;
  }
};

/// A version's status before and after one change.
struct StatusChange {
  std::uint32_t number = 0;
  Status before = Status::candidate;
  Status after = Status::candidate;
  friend bool operator==(const StatusChange&, const StatusChange&) = default;
};

/// One change of a task. Rows are only ever added; their revisions have no gap.
struct HistoryRow {
  std::uint32_t revision = 0;  ///< after the change
  TimeUs at_us = 0;
  std::string actor;
  std::string action;        ///< register, canary, promote, rollback, deprecate, archive, `rollout start`, ...
  std::uint32_t number = 0;  ///< version that the action named; 0: none
  std::string note;
  Partition partition;  ///< after the change; that of revision 0 is the untouched ring
  std::uint64_t points_moved = 0;
  std::uint64_t points_minimum = 0;
  std::uint32_t restores = 0;  ///< a rollback of the task: the revision whose split it restored
  std::vector<StatusChange> status_changes;
  std::string evidence;       ///< one JSON document, or empty
  std::string epoch = {};     ///< epoch_text() of the epoch that the change opened; empty: weights stood still
  std::string rollouts = {};  ///< rollouts_text() after the change; empty: it changed none
  friend bool operator==(const HistoryRow&, const HistoryRow&) = default;
};

/// A change, computed from the task at `expected_revision`.
struct Commit {
  std::string task;
  std::uint32_t expected_revision = 0;
  /// Whole rows, as they shall stand. At most one is new: number version_count + 1. Those that lose weight come first, so
  /// that the sum of the weights is legal after each.
  std::vector<ModelVersion> versions;
  HistoryRow row;          ///< its revision is expected_revision + 1; its partition becomes the task's
  std::string token = {};  ///< TaskRecord's: a store that was restored since says `conflict`. Empty: any will do
  std::optional<Job> job =
      {};  ///< written in the same transaction, as put_job() would; a conflict of either is of both
};

enum class CommitResult : std::uint8_t {
  done,
  conflict,  ///< the task or the job is at another revision, or of another epoch token: nothing was written
};

/// Which rows load() brings beside the task's own.
struct VersionFilter {
  bool in_play = true;                      ///< those with a weight, and ACTIVE ones
  std::vector<std::uint32_t> numbers = {};  ///< and these
  bool all = false;
};

/// Rows of history() to bring, oldest first.
struct HistoryFilter {
  std::uint32_t from = 1;              ///< first revision
  std::uint32_t to = 0xFFFF'FFFF;      ///< last revision
  std::uint32_t newest = 0xFFFF'FFFF;  ///< at most so many, the newest of them
};

/// How far a follower has read. The token changes when a store is restored from a backup: revisions start anew then.
struct StorePosition {
  std::string token;         ///< epoch token; empty before the first look
  std::int64_t change = -1;  ///< the store's count of changes
  friend bool operator==(const StorePosition&, const StorePosition&) = default;
};

/// What a router needs to know of a version.
struct ServingVersion {
  std::uint32_t number = 0;
  std::string model;
  Status status = Status::active;
  friend bool operator==(const ServingVersion&, const ServingVersion&) = default;
};

/// A task as a router publishes it.
struct TaskSplit {
  std::string task;
  std::uint32_t revision = 0;
  Partition partition;
  std::vector<ServingVersion> versions;  ///< those with a weight, by number
  friend bool operator==(const TaskSplit&, const TaskSplit&) = default;
};

/// Tasks that changed since a position; every one of them when that was of another token.
struct StoreDelta {
  StorePosition position;
  bool everything = false;  ///< a task that is not listed is not in the store
  std::vector<TaskSplit> tasks;
};

/// One task with all that belongs to it, for backup and restore.
struct TaskContents {
  TaskRecord
      task;  ///< with every version; of revision 0, and with its name alone, where there are jobs before versions
  std::vector<HistoryRow> history;
  std::vector<Job> jobs = {};  ///< a restored store holds none of them for anybody
};

/// What a store answers about itself.
struct StoreInfo {
  std::string place;                 ///< for people; holds no password
  std::string engine;                ///< e.g. `SQLite 3.40.1`
  std::uint32_t schema = 0;          ///< number of the schema that it has
  std::uint32_t program_schema = 0;  ///< number of the schema that this program writes into a new store
  std::string token;                 ///< epoch token
};

enum class StoreErrc : std::uint8_t {
  unreachable,   ///< no reply within the time-out; try again, routing goes on with the last good state
  denied,        ///< it answers, and refuses: password, rights
  read_only,     ///< it can be read but not written
  full,          ///< no room left for the write
  corrupt,       ///< what it holds makes no sense: restore a backup
  schema_newer,  ///< written by a newer program: upgrade this one
  schema_older,  ///< older than this program reads: `canary store migrate`
  invalid,       ///< the rows break a constraint of the store, or its URL makes no sense
};

/// Thrown by every call of a store that cannot do what it is asked to. Nothing was changed.
class StoreError : public std::runtime_error {
 public:
  StoreError(StoreErrc what_kind, const std::string& message, std::string what_to_do = {})
      : std::runtime_error{message}, code{what_kind}, hint{std::move(what_to_do)} {}
  StoreErrc code;
  std::string hint;      ///< what to do; may be empty
  bool unknown = false;  ///< a commit's answer was lost: it may be in the store
};

class InteractionStore;

/// Watches a store for one thread, over a connection of its own where that is what it takes.
class Follower {
 public:
  virtual ~Follower() = default;

  /// Tasks that changed after `since`.
  /// Errors  StoreError; the next call tries again.
  [[nodiscard]] virtual StoreDelta changes(const StorePosition& since) = 0;

  /// The newest version of a task that has this model and is not archived, whatever its share.
  [[nodiscard]] virtual std::optional<std::uint32_t> find_model(std::string_view task, std::string_view model) = 0;

  /// Returns when there may be a change, at the latest after `at_most`; a hint only. Never throws: a store that cannot be
  /// reached is told by changes().
  virtual void wait(std::chrono::milliseconds at_most) noexcept = 0;

  /// From any thread: ends a wait() that is under way, or the next one.
  virtual void interrupt() noexcept = 0;
};

/// Where versions outlive the process. commit() is durable once it returns; one writer wins, the others get
/// CommitResult::conflict. Calls may come from any thread and are serialised. Making a store touches nothing: the first
/// call connects, and makes the schema where there is none at all.
/// Proved by tests/contract/store_contract.hpp and job_contract.hpp for every store.
class Store {
 public:
  virtual ~Store() = default;

  [[nodiscard]] virtual StoreInfo info() = 0;

  /// Names of all tasks, sorted.
  [[nodiscard]] virtual std::vector<std::string> tasks() = 0;

  /// One task, consistent in itself; revision 0 when the store does not know it.
  [[nodiscard]] virtual TaskRecord load(std::string_view task, const VersionFilter& filter) = 0;

  /// Writes a change whole or not at all. A connection lost in the middle is made out: the answer says what happened.
  /// Errors  StoreError; `unreachable` when even that could not be made out, which a look at the task's history answers.
  [[nodiscard]] virtual CommitResult commit(const Commit& change) = 0;

  [[nodiscard]] virtual std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) = 0;

  /// Fine-tune jobs, the oldest first.
  /// Errors  StoreError `schema_older`, here and below, for a store of a schema that keeps none.
  [[nodiscard]] virtual std::vector<Job> jobs(const JobFilter& filter) = 0;

  /// Nothing for an id that no job has.
  [[nodiscard]] virtual std::optional<Job> find_job(std::string_view id) = 0;

  /// Writes a job's row over that of revision `job.revision - 1`; 1 makes it. Durable once it returns. A connection lost in
  /// the middle is made out; `conflict` is then said, too, when the row has gone on since, past what may have been ours.
  /// Errors  StoreError `invalid` for what no job can be, or cannot become; job_row.hpp has the rules.
  [[nodiscard]] virtual CommitResult put_job(const Job& job) = 0;

  /// A follower for one thread; it may be made while the store cannot be reached. It never makes the schema: a store that
  /// has vanished is out of reach, and not an empty one.
  [[nodiscard]] virtual std::unique_ptr<Follower> follow() = 0;

  /// Every task and every job, in one consistent view, while others go on writing.
  virtual void read_all(const std::function<void(TaskContents&&)>& take) = 0;

  /// In one transaction: everything goes, what `next` gives comes instead until it gives nothing, and the store gets a new
  /// epoch token.
  virtual void replace_all(const std::function<std::optional<TaskContents>()>& next) = 0;

  /// Where interactions are kept, over a connection of its own. Like a follower it never makes the schema.
  [[nodiscard]] virtual std::unique_ptr<InteractionStore> interactions() = 0;

  /// Brings an older schema to the one that this program writes; the schema it had. Safe while servers are running.
  virtual std::uint32_t migrate() = 0;
};

/// `TASK@N`
[[nodiscard]] inline std::string version_id(std::string_view task, std::uint32_t number) {
  return std::string{task} + '@' + std::to_string(number);
}

}  // namespace canary
