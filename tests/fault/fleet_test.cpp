// Two servers, one store, one candidate that turns bad while both serve it: the whole way from its first bad outcome to
// its last decision, with real processes.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/control/registry.hpp"
#include "fleet_peer.hpp"
#include "peer_store.hpp"
#include "process.hpp"
#include "sites.hpp"

namespace fleet_test {

using namespace canary;
using namespace canary::test;

namespace {

/// Waits for what must come; the test's own time-out ends it if it does not.
void await(const auto& come) {
  while (!come()) std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

double ms(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

TEMPLATE_TEST_CASE("fleet: a candidate that turns bad under two servers is taken back once, and by both",
                   "[fault][guard]", CANARY_TEST_SITES) {
  const TestType site;
  const TemporaryFolder folder;
  const std::unique_ptr<Store> store = peer_store(site.url());
  Registry registry{*store};
  (void)registry.register_version("checks", {.model = "v1"});
  (void)registry.canary("checks", 1, 200'000);
  Fleet& fleet = map_fleet((folder.path() / "fleet").string());
  std::vector<Process> servers;
  for (std::size_t i = 0; i != fleet_servers; ++i)
    servers.emplace_back(
        std::vector<std::string>{CANARY_TEST_FLEET_PEER, site.url(), folder.path().string(), std::to_string(i)});

  for (const FleetServer& each : fleet.servers) await([&] { return each.requests > 5'000; });
  CHECK(store->load("checks", {}).revision == 2);  // nothing was wrong so far
  fleet.bad = 1;
  for (const FleetServer& each : fleet.servers) await([&] { return each.told_ns != 0; });
  for (const FleetServer& each : fleet.servers)
    await([&, then = each.requests.load()] { return each.requests > then + 2'000; });
  fleet.stop = 1;
  for (Process& each : servers) CHECK(each.wait() == 0);

  const std::vector<HistoryRow> rows = store->history("checks", {});
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].actor.starts_with("guard@"));
  CHECK_FALSE(rows[2].evidence.empty());
  const TaskRecord record = store->load("checks", {.all = true});
  REQUIRE(record.versions.size() == 1);
  CHECK(record.versions[0].weight_ppm == 0);
  CHECK(record.versions[0].status == Status::deprecated);

  const std::int64_t verdict_ns = rows[2].at_us * 1'000;
  std::int64_t first_ns = fleet.servers[0].first_bad_ns;
  std::int64_t last_ns = 0;
  std::int64_t told_ns = 0;
  std::uint64_t served = 0;
  std::uint64_t tripped = 0;
  for (const FleetServer& each : fleet.servers) {
    first_ns = std::min(first_ns, each.first_bad_ns.load());
    last_ns = std::max(last_ns, each.last_candidate_ns.load());
    told_ns = std::max(told_ns, each.told_ns.load());
    served += each.candidate_after;
    tripped += each.tripped;
    CHECK(each.last_candidate_ns <= each.told_ns);
  }
  WARN("from the first bad outcome to the candidate's last decision: "
       << served << " of its requests, " << ms(last_ns - first_ns) << " ms; the last server followed "
       << ms(told_ns - verdict_ns) << " ms after the verdict; " << tripped << " decisions were tripped before");
}

}  // namespace fleet_test
