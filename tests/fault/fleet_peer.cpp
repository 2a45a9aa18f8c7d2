// fleet_peer: a server that routes and records a live stream of fresh users, under its own guard.
//   fleet_peer URL FOLDER INDEX
// Some ten thousand requests a second, of which 95 of 100 go well; half of the candidate's once FOLDER/fleet says that it
// turned bad.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "../core/history.hpp"
#include "canary/engine.hpp"
#include "fleet_peer.hpp"
#include "guard_config.hpp"
#include "peer_store.hpp"

using namespace canary;

namespace {

void serve(Engine& engine, test::Fleet& fleet, std::uint32_t index) {
  test::FleetServer& mine = fleet.servers[index];
  const Task task = engine.task("checks");
  test::Random random{index + 1};
  const std::uint32_t began_at = engine.route(task, std::uint64_t{0}).revision();
  auto next = std::chrono::steady_clock::now();
  for (std::uint64_t number = 1; fleet.stop == 0; ++number) {
    Decision decision = engine.route(task, std::uint64_t{index} << 40 | number);
    const bool candidate = decision.version_id() == "checks@1";
    const bool bad = candidate && fleet.bad != 0;
    Outcome outcome;
    outcome.latency_us = 1'000;
    outcome.ok = random.below(100) < (bad ? 50 : 95);
    if (bad && !outcome.ok && mine.first_bad_ns == 0) mine.first_bad_ns = test::wall_ns();
    if (candidate && mine.first_bad_ns != 0) ++mine.candidate_after;
    if (candidate) mine.last_candidate_ns = test::wall_ns();
    if (decision.reason() == Reason::tripped) ++mine.tripped;
    if (decision.revision() != began_at && mine.told_ns == 0) mine.told_ns = test::wall_ns();
    while (!engine.record(decision, outcome)) std::this_thread::yield();
    mine.requests = number;
    if (number % 20 == 0) std::this_thread::sleep_until(next += std::chrono::milliseconds{2});
  }
}

int run(const std::string& url, const std::string& folder, std::uint32_t index) {
  Config config;
  config.store.url = url;
  config.store.state.clear();
  config.recorder.spool = folder + "/spool";
  config.recorder.flush_ms = 20;
  config.tasks.push_back(test::guarded_task("checks"));
  config.tasks[0].guard.alpha_rollback = 0.0001;  // a test must not fail for one false alarm in a hundred
  EngineOptions options;
  options.guard_ms = 50;
  Engine engine{config, test::peer_store(url), options};
  serve(engine, test::map_fleet(folder + "/fleet"), index);
  return engine.flush(std::chrono::minutes{1}) ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    return run(argv[1], argv[2], static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fleet_peer: %s\n", error.what());
    return 1;
  }
}
