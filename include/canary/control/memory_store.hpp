// memory_store.hpp: a Store that lives and dies with its object. Layer control; for tests, and for trying things out.
// Followers of the same object in any thread see its changes at once. Nothing is ever out of reach here, so the only
// StoreError of the store itself is `invalid`.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/interaction_store.hpp"
#include "canary/control/job_row.hpp"
#include "canary/control/memory_interactions.hpp"
#include "canary/control/store.hpp"

namespace canary {

class MemoryStore final : public Store {
 public:
  MemoryStore() : state_{std::make_shared<State>()} {}

  [[nodiscard]] StoreInfo info() override;
  [[nodiscard]] std::vector<std::string> tasks() override;
  [[nodiscard]] TaskRecord load(std::string_view task, const VersionFilter& filter) override;
  [[nodiscard]] CommitResult commit(const Commit& change) override;
  [[nodiscard]] std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override;
  [[nodiscard]] std::vector<Job> jobs(const JobFilter& filter) override;
  [[nodiscard]] std::optional<Job> find_job(std::string_view id) override;
  [[nodiscard]] CommitResult put_job(const Job& job) override;
  [[nodiscard]] std::unique_ptr<Follower> follow() override;
  void read_all(const std::function<void(TaskContents&&)>& take) override;
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override;
  [[nodiscard]] std::unique_ptr<InteractionStore> interactions() override;
  std::uint32_t migrate() override { return 0; }

 private:
  struct Task {
    TaskContents contents;
    std::int64_t change = 0;
  };
  using Jobs = std::map<std::string, Job, std::less<>>;
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, Task, std::less<>> tasks;
    Jobs jobs;
    std::int64_t change = 0;
    std::uint64_t generation = 1;
    std::shared_ptr<detail::MemoryRecorded> recorded = std::make_shared<detail::MemoryRecorded>();

    [[nodiscard]] std::string token() const { return "memory-" + std::to_string(generation); }
  };
  class MemoryFollower;

  static void check(const TaskRecord& task, const Commit& change);
  static void check(const Jobs& jobs, const Job& job, std::uint32_t version_count);
  [[nodiscard]] static bool is_next(const Jobs& jobs, const Job& job);
  [[nodiscard]] static std::vector<Job> filtered(const Jobs& jobs, const JobFilter& filter);

  std::shared_ptr<State> state_;
};

// ---------------------------------------------------------------------------------------------------------------------

class MemoryStore::MemoryFollower final : public Follower {
 public:
  explicit MemoryFollower(std::shared_ptr<State> state) : state_{std::move(state)} {}

  [[nodiscard]] StoreDelta changes(const StorePosition& since) override {
    const std::lock_guard lock{state_->mutex};
    StoreDelta delta;
    delta.everything = since.token != state_->token();
    for (const auto& [name, task] : state_->tasks) {
      if (!delta.everything && task.change <= since.change) continue;
      const TaskRecord& record = task.contents.task;
      TaskSplit split{name, record.revision, record.partition, {}};
      for (const ModelVersion& each : record.versions)
        if (each.weight_ppm != 0) split.versions.push_back({each.number, each.model, each.status});
      delta.tasks.push_back(std::move(split));
    }
    delta.position = {state_->token(), state_->change};
    seen_ = state_->change;
    return delta;
  }

  [[nodiscard]] std::optional<std::uint32_t> find_model(std::string_view task, std::string_view model) override {
    const std::lock_guard lock{state_->mutex};
    const auto at = state_->tasks.find(task);
    if (at == state_->tasks.end()) return {};
    const auto& versions = at->second.contents.task.versions;
    const auto found = std::find_if(versions.rbegin(), versions.rend(), [model](const ModelVersion& each) {
      return each.model == model && each.status != Status::archived;
    });
    if (found == versions.rend()) return {};
    return found->number;
  }

  void wait(std::chrono::milliseconds at_most) noexcept override {
    std::unique_lock lock{state_->mutex};
    state_->changed.wait_for(lock, at_most, [this] { return interrupted_ || state_->change != seen_; });
    interrupted_ = false;
  }

  void interrupt() noexcept override {
    const std::lock_guard lock{state_->mutex};
    interrupted_ = true;
    state_->changed.notify_all();
  }

 private:
  std::shared_ptr<State> state_;
  std::int64_t seen_ = -1;
  bool interrupted_ = false;
};

inline StoreInfo MemoryStore::info() {
  const std::lock_guard lock{state_->mutex};
  return {"memory:", "memory", 0, 0, state_->token()};
}

inline std::vector<std::string> MemoryStore::tasks() {
  const std::lock_guard lock{state_->mutex};
  std::vector<std::string> names;
  for (const auto& [name, task] : state_->tasks) names.push_back(name);
  return names;
}

inline TaskRecord MemoryStore::load(std::string_view name, const VersionFilter& filter) {
  const std::lock_guard lock{state_->mutex};
  const auto at = state_->tasks.find(name);
  TaskRecord record;
  if (at != state_->tasks.end()) record = at->second.contents.task;
  record.name = name;
  record.token = state_->token();
  const auto unwanted = [&filter](const ModelVersion& each) {
    const bool in_play = each.weight_ppm != 0 || each.status == Status::active;
    const bool named = std::find(filter.numbers.begin(), filter.numbers.end(), each.number) != filter.numbers.end();
    return !filter.all && !named && !(filter.in_play && in_play);
  };
  std::erase_if(record.versions, unwanted);
  return record;
}

/// What the constraints of a database check.
inline void MemoryStore::check(const TaskRecord& task, const Commit& change) {
  std::map<std::uint32_t, std::uint32_t> weights_ppm;
  for (const ModelVersion& each : task.versions)
    if (each.weight_ppm != 0) weights_ppm[each.number] = each.weight_ppm;
  std::map<std::uint32_t, std::uint32_t> shares_ppm;
  for (const OwnerShare& share : task.partition.shares())
    if (share.owner != default_owner) shares_ppm[share.owner] = share.ppm;
  if (weights_ppm != shares_ppm || !task.partition.valid() || change.row.revision != change.expected_revision + 1)
    throw StoreError{StoreErrc::invalid, "task " + task.name + ": the change breaks a constraint of the store"};
}

/// What the constraints of a database check, of a job that is the next change of its row.
inline void MemoryStore::check(const Jobs& jobs, const Job& job, std::uint32_t version_count) {
  const auto before = jobs.find(job.id);
  if (before != jobs.end()) check_job_change(before->second, job);
  const bool taken = std::any_of(jobs.begin(), jobs.end(), [&job](const auto& other) {
    return other.second.version == job.version && other.second.task == job.task && other.first != job.id;
  });
  if (job.version != 0 && (taken || job.version > version_count))
    throw StoreError{StoreErrc::invalid, "job " + job.id + ": its version is not there, or another job's"};
}

inline bool MemoryStore::is_next(const Jobs& jobs, const Job& job) {
  const auto before = jobs.find(job.id);
  return job.revision == (before == jobs.end() ? 0 : before->second.revision) + 1;
}

inline CommitResult MemoryStore::commit(const Commit& change) {
  check_job(change);
  const std::lock_guard lock{state_->mutex};
  const auto at = state_->tasks.find(change.task);
  Task task = at == state_->tasks.end() ? Task{} : at->second;
  TaskRecord& record = task.contents.task;
  record.name = change.task;
  if (record.revision != change.expected_revision) return CommitResult::conflict;
  if (!change.token.empty() && change.token != state_->token()) return CommitResult::conflict;
  if (change.job && !is_next(state_->jobs, *change.job)) return CommitResult::conflict;
  for (const ModelVersion& row : change.versions) {
    const bool fits = row.number != 0 && row.number <= record.version_count + 1;
    if (!fits) throw StoreError{StoreErrc::invalid, "task " + record.name + ": a version's number is out of turn"};
    if (row.number <= record.version_count) {
      record.versions[row.number - 1] = row;
    } else {
      record.versions.push_back(row);
      ++record.version_count;
    }
  }
  record.partition = change.row.partition;
  if (!change.row.epoch.empty()) record.epoch = change.row.epoch;
  if (!change.row.rollouts.empty()) record.rollouts = change.row.rollouts;
  ++record.revision;
  check(record, change);
  if (change.job) check(state_->jobs, *change.job, record.version_count);
  task.contents.history.push_back(change.row);
  task.change = state_->change + 1;
  state_->tasks.insert_or_assign(change.task, std::move(task));
  if (change.job) state_->jobs.insert_or_assign(change.job->id, *change.job);
  ++state_->change;
  state_->changed.notify_all();
  return CommitResult::done;
}

inline std::vector<HistoryRow> MemoryStore::history(std::string_view name, const HistoryFilter& filter) {
  const std::lock_guard lock{state_->mutex};
  const auto at = state_->tasks.find(name);
  if (at == state_->tasks.end()) return {};
  std::vector<HistoryRow> rows;
  for (const HistoryRow& row : at->second.contents.history)
    if (row.revision >= filter.from && row.revision <= filter.to) rows.push_back(row);
  if (rows.size() > filter.newest) rows.erase(rows.begin(), rows.end() - static_cast<std::ptrdiff_t>(filter.newest));
  return rows;
}

inline std::vector<Job> MemoryStore::filtered(const Jobs& jobs, const JobFilter& filter) {
  std::vector<Job> found;
  for (const auto& [id, job] : jobs)
    if ((filter.task.empty() || job.task == filter.task) && (!filter.open || job.phase != JobPhase::closed))
      found.push_back(job);
  std::stable_sort(found.begin(), found.end(),
                   [](const Job& a, const Job& b) { return a.created_at_us < b.created_at_us; });
  if (found.size() > filter.newest)
    found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(filter.newest));
  return found;
}

inline std::vector<Job> MemoryStore::jobs(const JobFilter& filter) {
  const std::lock_guard lock{state_->mutex};
  return filtered(state_->jobs, filter);
}

inline std::optional<Job> MemoryStore::find_job(std::string_view id) {
  const std::lock_guard lock{state_->mutex};
  const auto at = state_->jobs.find(id);
  if (at == state_->jobs.end()) return {};
  return at->second;
}

inline CommitResult MemoryStore::put_job(const Job& job) {
  check_job(job);
  const std::lock_guard lock{state_->mutex};
  if (!is_next(state_->jobs, job)) return CommitResult::conflict;
  const auto task = state_->tasks.find(job.task);
  check(state_->jobs, job, task == state_->tasks.end() ? 0 : task->second.contents.task.version_count);
  state_->jobs.insert_or_assign(job.id, job);
  return CommitResult::done;
}

inline std::unique_ptr<Follower> MemoryStore::follow() { return std::make_unique<MemoryFollower>(state_); }

inline std::unique_ptr<InteractionStore> MemoryStore::interactions() {
  return std::make_unique<detail::MemoryInteractions>(state_->recorded);
}

inline void MemoryStore::read_all(const std::function<void(TaskContents&&)>& take) {
  std::map<std::string, TaskContents, std::less<>> all;
  {
    const std::lock_guard lock{state_->mutex};
    for (const auto& [name, task] : state_->tasks) all.emplace(name, task.contents);
    for (Job& job : filtered(state_->jobs, {})) {
      TaskContents& contents = all[job.task];
      contents.task.name = job.task;
      contents.jobs.push_back(std::move(job));
    }
  }
  for (auto& [name, contents] : all) take(std::move(contents));
}

inline void MemoryStore::replace_all(const std::function<std::optional<TaskContents>()>& next) {
  std::map<std::string, Task, std::less<>> tasks;
  Jobs jobs;
  std::int64_t change = 0;
  while (std::optional<TaskContents> contents = next()) {
    for (Job& job : restored_jobs(*contents)) {
      check(jobs, job, contents->task.version_count);
      if (const std::string id = job.id; !jobs.emplace(id, std::move(job)).second)
        throw StoreError{StoreErrc::invalid, "job " + id + ": it is there twice"};
    }
    const bool jobs_alone = contents->task.revision == 0 && !contents->jobs.empty();
    contents->jobs.clear();
    std::string name = contents->task.name;
    if (!jobs_alone) tasks.insert_or_assign(std::move(name), Task{std::move(*contents), ++change});
  }
  const std::lock_guard lock{state_->mutex};
  state_->tasks = std::move(tasks);
  state_->jobs = std::move(jobs);
  ++state_->generation;
  state_->change += change + 1;  // waiting followers look again
  for (auto& [name, task] : state_->tasks) task.change = state_->change;
  state_->recorded->forget_evidence();
  state_->changed.notify_all();
}

}  // namespace canary
