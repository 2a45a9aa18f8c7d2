// The main job, start to end: a canary is ramped up, a third version joins, the middle one is rolled back; and no step
// makes more users change version than arithmetic demands. Exits with 1 if one does.
#include <canary/core/router.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::uint32_t users = 200'000;
constexpr std::uint32_t requests = 1'000'000;
constexpr std::uint32_t random_seed = 20'240'229;
constexpr int passes = 9;
constexpr std::string_view models[] = {"gpt-4o-mini", "ft:gpt-4o-mini:acme:v7", "ft:gpt-4o-mini:acme:v8"};
using PerVersion = std::array<std::uint32_t, std::size(models)>;

constexpr struct Step {
  const char* title;
  PerVersion ppm;
} steps[] = {{"90/10: a canary starts", {900'000, 100'000, 0}},
             {"75/25: it ramps up", {750'000, 250'000, 0}},
             {"70/25/5: a third version joins", {700'000, 250'000, 50'000}},
             {"95/0/5: the middle version is rolled back", {950'000, 0, 50'000}}};

/// Requests in the order of their arrival, their keys one after another as in a receive buffer.
struct Trace {
  std::vector<std::string> names;   // by user
  std::vector<std::uint32_t> user;  // by request
  std::string bytes;
  std::vector<std::string_view> keys;  // by request
};

/// Every user comes once; all further requests follow Zipf's law, the user of rank r in proportion to 1/r.
Trace make_trace() {
  Trace trace;
  std::mt19937_64 random{random_seed};
  for (std::uint32_t u = 0; u != users; ++u) trace.names.push_back("user-" + std::to_string(100'000 + u));
  for (std::uint32_t r = 0; r != requests; ++r) {
    const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
    const auto rank = static_cast<std::uint32_t>(std::exp(uniform * std::log(users)));
    trace.user.push_back(r < users ? r : rank - 1);
  }
  for (std::uint32_t r = requests; r > 1; --r) std::swap(trace.user[r - 1], trace.user[random() % r]);
  for (const std::uint32_t u : trace.user) trace.bytes += trace.names[u];
  std::string_view rest = trace.bytes;
  for (const std::uint32_t u : trace.user) {
    trace.keys.push_back(rest.substr(0, trace.names[u].size()));
    rest.remove_prefix(trace.names[u].size());
  }
  return trace;
}

/// Nanoseconds a decision, of some passes over the trace, sorted. Ends the program if a pass chooses otherwise.
std::array<double, passes> time_passes(const canary::Router& router, canary::Task task, const Trace& trace,
                                       std::uint64_t sum_of_owners) {
  std::array<double, passes> ns{};
  for (double& each : ns) {
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t sum = 0;
    for (const std::string_view key : trace.keys) sum += router.route(task, key).record().owner;
    each = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / requests;
    if (sum != sum_of_owners) std::abort();
  }
  std::sort(ns.begin(), ns.end());
  return ns;
}

/// 1234567 -> 1,234,567
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

/// How ranges side by side, cut anew at each change, would choose: what moves when nobody cares.
std::size_t by_ranges(canary::Point point, const PerVersion& ppm) {
  const std::uint64_t at = std::uint64_t{point} * canary::total_ppm >> 32;
  return at < ppm[0] ? 0 : at < ppm[0] + ppm[1] ? 1 : 2;
}

void print_shares(const canary::Router& router, canary::Task task, const Step& step, const PerVersion& of_users,
                  const PerVersion& of_requests) {
  std::printf("\n%s\n  %-30s %-24s %9s %9s %9s\n", step.title, "version", "model", "set", "users", "requests");
  for (canary::Owner owner = 0; !router.version(task, owner).id.empty(); ++owner)  // ends where the names do
    std::printf("  %-30s %-24s %7.2f %% %7.2f %% %7.2f %%\n", router.version(task, owner).id.data(),
                models[owner].data(), step.ppm[owner] / 1e4, 100.0 * of_users[owner] / users,
                100.0 * of_requests[owner] / requests);
}

/// Takes a step; true if it moved the least possible.
bool take(const Step& step, const PerVersion& ppm_before, canary::Router& router, canary::Task task,
          const Trace& trace) {
  const auto versions_of_users = [&] {
    std::vector<canary::Owner> chosen;
    for (const std::string& name : trace.names) chosen.push_back(router.route(task, name).record().owner);
    return chosen;
  };
  const std::vector<canary::Owner> before = versions_of_users();
  std::vector<canary::VersionShare> shares;  // what they leave over is the default's
  for (std::size_t v = 1; v != std::size(models); ++v)
    if (step.ppm[v] != 0) shares.push_back({.model = models[v], .weight_ppm = step.ppm[v]});
  const canary::SplitResult change = router.set_split(task, shares);
  const std::vector<canary::Owner> after = versions_of_users();

  PerVersion of_users{}, of_requests{}, had{};
  std::uint32_t moved = 0, astray = 0, moved_by_ranges = 0, least = 0;
  for (const std::uint32_t u : trace.user) ++of_requests[after[u]];
  for (std::uint32_t u = 0; u != users; ++u) {
    const canary::Owner from = before[u], to = after[u];
    ++had[from], ++of_users[to];
    moved += from != to;  // allowed from a version that gives to one that takes, and in no other way
    astray += from != to && (step.ppm[from] >= ppm_before[from] || step.ppm[to] <= ppm_before[to]);
    const canary::Point point = canary::point_of(trace.names[u], task.seed());
    moved_by_ranges += by_ranges(point, ppm_before) != by_ranges(point, step.ppm);
  }
  for (std::size_t v = 0; v != std::size(models); ++v) least += of_users[v] - std::min(of_users[v], had[v]);

  print_shares(router, task, step, of_users, of_requests);
  const double expected = static_cast<double>(change.points_minimum) / canary::ring_points * users;
  const std::array<double, passes> ns = time_passes(router, task, trace, of_requests[1] + 2 * of_requests[2]);
  std::cout << "  points moved " << grouped(change.points_moved) << ", least possible "
            << grouped(change.points_minimum) << "\n  users moved  " << grouped(moved) << ", least possible "
            << grouped(least) << "; without need: " << astray << '\n';
  std::printf("               (expected: %.0f; ranges side by side, cut anew, would have moved %u)\n", expected,
              moved_by_ranges);
  std::printf("  decision     %.1f ns at best, %.1f in the median, %.1f at worst of %d passes over the trace\n",
              ns.front(), ns[passes / 2], ns.back(), passes);
  return change && change.points_moved == change.points_minimum && moved == least && astray == 0;
}

}  // namespace

int main() {
  const Trace trace = make_trace();
  std::cout << "This trace is synthetic: " << grouped(requests) << " requests from " << grouped(users)
            << " users, Zipf-like, drawn with seed " << random_seed << ".\n";
  canary::Router router;
  const canary::Task task = router.task("checklist_enrichment", {.default_model = models[0]});
  bool held = true;
  PerVersion ppm{canary::total_ppm};
  for (const Step& step : steps) {
    held = take(step, ppm, router, task, trace) && held;
    ppm = step.ppm;
  }
  std::cout << (held ? "\nThe promise held: each change moved the fewest users possible, and nobody else.\n"
                     : "\nTHE PROMISE DID NOT HOLD: a change moved more users than it had to.\n");
  return held ? 0 : 1;
}
