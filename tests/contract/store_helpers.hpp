// store_helpers.hpp: what the tests of stores share: changes as the registry makes them, and ways to look at a store.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/store.hpp"
#include "canary/core/partition.hpp"

namespace store_test {

using canary::Commit;
using canary::CommitResult;
using canary::HistoryRow;
using canary::ModelVersion;
using canary::Status;
using canary::Store;
using canary::StoreErrc;
using canary::StoreError;
using canary::TaskContents;
using canary::TaskRecord;

inline ModelVersion version_of(std::uint32_t number, std::uint32_t weight_ppm, Status status = Status::candidate) {
  ModelVersion made;
  made.number = number;
  made.model = "model-" + std::to_string(number);
  made.status = status;
  made.weight_ppm = weight_ppm;
  return made;
}

/// A change as the registry makes it: the partition says what the weights say.
inline Commit change_to(const TaskRecord& now, std::vector<ModelVersion> rows, std::string note = {}) {
  std::map<std::uint32_t, std::uint32_t> weights_ppm;
  for (const canary::OwnerShare& share : now.partition.shares())
    if (share.owner != canary::default_owner) weights_ppm[share.owner] = share.ppm;
  for (const ModelVersion& row : rows) weights_ppm[row.number] = row.weight_ppm;
  std::vector<canary::WantedShare> wanted;
  for (const auto& [number, ppm] : weights_ppm)
    if (ppm != 0) wanted.push_back({static_cast<canary::Owner>(number), ppm});
  canary::Rebalanced next = rebalance(now.partition, wanted);
  Commit change{now.name, now.revision, std::move(rows), {}};
  change.row.revision = now.revision + 1;
  change.row.action = "canary";
  change.row.note = std::move(note);
  change.row.points_moved = next.points_moved;
  change.row.points_minimum = next.points_minimum;
  change.row.partition = std::move(next.partition);
  return change;
}

inline TaskRecord load_all(Store& store, std::string_view task) { return store.load(task, {.all = true}); }

/// Changes a task by these rows, which must work.
inline void change(Store& store, std::string_view task, std::vector<ModelVersion> rows, std::string note = {}) {
  REQUIRE(store.commit(change_to(load_all(store, task), std::move(rows), std::move(note))) == CommitResult::done);
}

/// The kind of StoreError that a call throws; nothing if it throws none.
template <class Call>
std::optional<StoreErrc> refusal(Call call) {
  try {
    call();
  } catch (const StoreError& error) {
    UNSCOPED_INFO(error.what());
    return error.code;
  }
  return {};
}

inline std::vector<TaskContents> everything_in(Store& store) {
  std::vector<TaskContents> all;
  store.read_all([&all](TaskContents&& contents) { all.push_back(std::move(contents)); });
  return all;
}

inline bool same(const std::vector<TaskContents>& left, const std::vector<TaskContents>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const auto& a, const auto& b) {
    return a.task == b.task && a.history == b.history && a.jobs == b.jobs;
  });
}

inline void replace_by(Store& store, std::vector<TaskContents> all) {
  store.replace_all([&all, at = std::size_t{0}]() mutable -> std::optional<TaskContents> {
    if (at == all.size()) return {};
    return all[at++];
  });
}

/// A task of many versions as it would stand after as many registrations, each version with this weight.
inline TaskContents wide_task(std::string name, std::uint32_t versions, std::uint32_t weight_ppm) {
  TaskContents wide;
  wide.task.name = std::move(name);
  wide.task.revision = wide.task.version_count = versions;
  std::vector<canary::WantedShare> wanted;
  for (std::uint32_t number = 1; number <= versions; ++number) {
    wide.task.versions.push_back(version_of(number, weight_ppm));
    if (weight_ppm != 0) wanted.push_back({static_cast<canary::Owner>(number), weight_ppm});
    HistoryRow row;
    row.revision = row.number = number;
    row.action = "register";
    wide.history.push_back(row);
  }
  wide.task.partition = rebalance(wide.task.partition, wanted).partition;
  wide.history.back().partition = wide.task.partition;
  return wide;
}

inline std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i != times; ++i) all += text;
  return all;
}

}  // namespace store_test
