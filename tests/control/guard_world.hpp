// guard_world.hpp: a store with a task, three versions and counts of servers that never were, for tests of the guard.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/guard_look.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/control/registry.hpp"
#include "canary/core/recorder.hpp"

namespace canary::test {

inline constexpr TimeUs guard_start = 1'795'368'929'000'000;  // 2026-11-22
inline constexpr std::uint32_t percent = ppm_per_percent;

/// So many outcomes of each arm, of which so many failed; by unit and by request.
[[nodiscard]] inline EvidenceCounts counts_of(std::uint64_t baseline, std::uint64_t failed_baseline,
                                              std::uint64_t candidate, std::uint64_t failed_candidate,
                                              std::size_t thresholds = 0) {
  EvidenceCounts counts{thresholds};
  Interaction row;
  row.id = InteractionId::first_at(guard_start);
  row.at_us = InteractionId::time_us(row.id);
  const auto add = [&](Arm arm, std::uint64_t count, std::uint64_t failed) {
    for (std::uint64_t i = 0; i != count; ++i) {
      row.error = i < failed ? 1 : 0;
      for (const CountedBy by : {CountedBy::unit, CountedBy::request}) {
        counts.assign(by, arm, row.id);
        counts.settle(by, arm, row, Frozen{}, 1'000'000);
      }
    }
  };
  add(Arm::baseline, baseline, failed_baseline);
  add(Arm::candidate, candidate, failed_candidate);
  return counts;
}

/// Writes counts of one server's spool, in the place of what it had.
inline void put_evidence(Store& store, const std::string& task, std::uint32_t of, std::uint32_t at,
                         const std::string& bytes, const std::string& spool = "1") {
  const std::unique_ptr<InteractionStore> to = store.interactions();
  const SpoolRecord claimed = to->claim(std::string(31, '0') + spool, guard_start);
  const std::unique_ptr<Delivery> delivery = to->begin(claimed);
  REQUIRE(delivery != nullptr);
  delivery->put({CountsKind::evidence, delivery->task_number(task), of, at, 0, bytes});
  delivery->commit({}, guard_start);
}

/// A store with task `t`, three versions at 0 %, and a clock that stands still.
struct GuardWorld {
  GuardWorld() {
    task.name = "t";
    task.guard.metrics = {{.name = "ok"}};
    for (const char* model : {"a", "b", "c"}) registry.register_version("t", {.model = model});
  }

  void put(std::uint32_t of, std::uint32_t at, const std::string& bytes, const std::string& spool = "1") {
    put_evidence(store, "t", of, at, bytes, spool);
  }
  void put(std::uint32_t of, std::uint32_t at, const EvidenceCounts& counts, const std::string& spool = "1") {
    put(of, at, counts.bytes(), spool);
  }

  std::vector<GuardLook> look(TimeUs now_us = guard_start) {
    return guard_look(store, *store.interactions(), task, now_us);
  }

  [[nodiscard]] TaskRecord record() { return store.load("t", {.all = true}); }
  [[nodiscard]] std::uint32_t revision() { return record().revision; }

  MemoryStore store;
  TimeUs now = guard_start;
  Registry registry{store, [this] { return now; }};
  TaskConfig task;
};

}  // namespace canary::test
