// Many guards on one store, in threads and in processes that are killed: a verdict is acted on once.
#include <signal.h>
#include <time.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "../control/guard_world.hpp"
#include "../core/history.hpp"
#include "canary/control/guard_pass.hpp"
#include "guard_config.hpp"
#include "peer_store.hpp"
#include "process.hpp"
#include "sites.hpp"

namespace guard_race_test {

using namespace canary;
using namespace canary::test;

namespace {

void pause_us(std::uint32_t us) {
  const timespec pause{us / 1'000'000, static_cast<long>(us % 1'000'000) * 1'000};
  ::nanosleep(&pause, nullptr);
}

/// Makes a task whose version 1 is on the first step of its rollout, with evidence that it fails three times as often.
void add_harmful(Store& store, const std::string& task) {
  Registry registry{store};
  registry.register_version(task, {.model = "v1"});
  registry.start_rollout(task, 1, {10 * percent, 50 * percent, total_ppm});
  put_evidence(store, task, 2, 2, counts_of(9'000, 900, 1'000, 300).bytes());
}

/// How often history has the guard's rollback of a task.
int rollbacks_in(Store& store, const std::string& task) {
  int found = 0;
  for (const HistoryRow& row : store.history(task, {})) found += row.action == "rollback" ? 1 : 0;
  return found;
}

/// True if the task stands as after exactly one rollback by a guard.
bool is_rolled_back(Store& store, const std::string& task) {
  const TaskRecord record = store.load(task, {.all = true});
  const auto rollouts = parse_rollouts(record.rollouts);
  const ModelVersion& version = version_of(record, 1);
  return rollbacks_in(store, task) == 1 && version.weight_ppm == 0 && version.status == Status::deprecated &&
         record.partition == Partition{} && rollouts && rollouts->size() == 1 &&
         rollouts->front().state == RolloutState::rolled_back;
}

/// From a peer's beginning to its word about what it did.
std::uint32_t time_of_a_pass_us(const std::string& url, Store& store) {
  add_harmful(store, "measured");
  Process peer{{CANARY_TEST_GUARD_PEER, url, "measured"}};
  REQUIRE(peer.line() == "begins");
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(peer.line() == "acted");
  const auto took = std::chrono::steady_clock::now() - start;
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
}

GuardPass pass_over(Store& store, InteractionStore& interactions, const std::string& task) {
  const std::vector<TaskConfig> tasks{guarded_task(task)};
  return guard_pass(store, interactions, tasks, {.actor = "guard@" + task});
}

}  // namespace

TEMPLATE_TEST_CASE("guard race: of guards that come together exactly one rolls back, the others are told", "[fault]",
                   CANARY_TEST_SITES) {
  constexpr int guards = 6;
  constexpr int rounds = 10;
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  for (int round = 0; round != rounds; ++round) add_harmful(*store, "task-" + std::to_string(round));
  std::barrier together{guards};
  std::vector<std::atomic<int>> acted(rounds);
  std::atomic<int> conflicts = 0;
  std::atomic<int> faults = 0;
  std::atomic<int> refused = 0;
  const auto guard = [&] {
    const std::unique_ptr<Store> mine = peer_store(site.url());
    const std::unique_ptr<InteractionStore> interactions = mine->interactions();
    for (int round = 0; round != rounds; ++round) {
      together.arrive_and_wait();
      const GuardPass pass = pass_over(*mine, *interactions, "task-" + std::to_string(round));
      faults += static_cast<int>(pass.faults.size());
      for (const GuardAct& act : pass.acts) {
        acted[static_cast<std::size_t>(round)] += act.acted ? 1 : 0;
        conflicts += act.conflict ? 1 : 0;
        refused += !act.acted && !act.conflict ? 1 : 0;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i != guards; ++i) threads.emplace_back(guard);
  for (std::thread& thread : threads) thread.join();
  CHECK(faults == 0);
  CHECK(refused == 0);
  for (int round = 0; round != rounds; ++round) {
    CHECK(acted[static_cast<std::size_t>(round)] == 1);
    CHECK(is_rolled_back(*store, "task-" + std::to_string(round)));
  }
  SUCCEED(conflicts.load() << " conflicts");
}

TEMPLATE_TEST_CASE("guard race: a guard that is killed has rolled back once, or another takes it over", "[fault]",
                   CANARY_TEST_SITES) {
  const int kills = std::getenv("CANARY_SOAK") != nullptr ? 100 : 30;
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  const std::unique_ptr<InteractionStore> interactions = store->interactions();
  Random random{7};
  const std::uint32_t longest_us = 1 + time_of_a_pass_us(site.url(), *store) * 5 / 4;
  int taken_over = 0;
  for (int i = 0; i != kills; ++i) {
    const std::string task = "task-" + std::to_string(i);
    add_harmful(*store, task);
    Process peer{{CANARY_TEST_GUARD_PEER, site.url(), task}};
    REQUIRE(peer.line() == "begins");
    pause_us(random.below(longest_us));
    REQUIRE(peer.kill() == 128 + SIGKILL);
    // A server may finish the commit of a client that is gone: whoever comes meanwhile finds it done, or has a conflict.
    const GuardPass pass = pass_over(*store, *interactions, task);
    REQUIRE(pass.faults.empty());
    const bool acted = !pass.acts.empty() && pass.acts.front().acted;
    if (!pass.acts.empty() && !acted) REQUIRE(pass.acts.front().conflict);
    REQUIRE(is_rolled_back(*store, task));
    REQUIRE(store->history(task, {.newest = 1}).front().actor == (acted ? "guard@" + task : "guard@peer"));
    taken_over += acted ? 1 : 0;
  }
  const std::string words = std::to_string(kills) + " kills: " + std::to_string(kills - taken_over) +
                            " had rolled back, " + std::to_string(taken_over) + " were taken over";
  WARN(words);
}

TEMPLATE_TEST_CASE("guard race: guards in processes side by side, all but one killed, roll back once", "[fault]",
                   CANARY_TEST_SITES) {
  const TestType site;
  const std::unique_ptr<Store> store = peer_store(site.url());
  Random random{8};
  for (int i = 0; i != 5; ++i) {
    const std::string task = "task-" + std::to_string(i);
    add_harmful(*store, task);
    std::vector<Process> peers;
    for (int each = 0; each != 3; ++each)
      peers.emplace_back(std::vector<std::string>{CANARY_TEST_GUARD_PEER, site.url(), task});
    for (Process& peer : peers) REQUIRE(peer.line() == "begins");
    pause_us(random.below(4'000));
    for (std::size_t each = 1; each != peers.size(); ++each) (void)peers[each].kill();
    REQUIRE(peers[0].line());  // acted, conflict or nothing
    REQUIRE(is_rolled_back(*store, task));
  }
}

}  // namespace guard_race_test
