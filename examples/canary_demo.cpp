// The main job, start to end, on a real SQLite store: an operator registers versions, ramps a canary, adds a third version,
// rolls the middle one back, promotes, and takes that back too, while a server follows the store and routes. No step makes
// more users change version than arithmetic demands, and the last one gives everybody the version back. Exits with 1 if not.
#include <canary/adapters/sqlite_store.hpp>
#include <canary/engine.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <stdlib.h>

namespace {

constexpr std::uint32_t users = 200'000;
constexpr std::uint32_t requests = 1'000'000;
constexpr std::uint32_t random_seed = 20'240'229;
constexpr int passes = 9;
constexpr std::string_view models[] = {"gpt-4o-mini", "ft:gpt-4o-mini:acme:v7", "ft:gpt-4o-mini:acme:v8"};
using PerVersion = std::array<std::uint32_t, std::size(models)>;

constexpr const char* task_name = "checklist_enrichment";

/// What the operator does, and the shares it should come to.
struct Step {
  const char* title;
  PerVersion ppm;
  std::function<canary::Change(canary::Registry&)> command;
};

const std::vector<Step>& steps() {
  using canary::Registry;
  static const std::vector<Step> all{
      {"canary model canary @1 10: a canary starts",
       {900'000, 100'000, 0},
       [](Registry& r) { return r.canary(task_name, 1, 100'000, {.actor = "demo", .note = "a canary starts"}); }},
      {"canary model canary @1 25: it ramps up",
       {750'000, 250'000, 0},
       [](Registry& r) { return r.canary(task_name, 1, 250'000, {.actor = "demo", .note = "it ramps up"}); }},
      {"canary model canary @2 5: a third version joins",
       {700'000, 250'000, 50'000},
       [](Registry& r) { return r.canary(task_name, 2, 50'000, {.actor = "demo", .note = "a third version joins"}); }},
      {"canary model rollback @1: the middle version is taken back",
       {950'000, 0, 50'000},
       [](Registry& r) { return r.rollback_version(task_name, 1, {.actor = "demo", .note = "it answered worse"}); }},
      {"canary model promote @2: the third version gets everything",
       {0, 0, 1'000'000},
       [](Registry& r) { return r.promote(task_name, 2, canary::total_ppm, {.actor = "demo", .note = "looks good"}); }},
      {"canary model rollback: and that is taken back, to the very same split", {950'000, 0, 50'000}, [](Registry& r) {
         return r.rollback(task_name, {}, {.actor = "demo", .note = "it was not"});
       }}};
  return all;
}

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

using Chosen = std::vector<canary::Owner>;

Chosen versions_of_users(const canary::Engine& server, canary::Task task, const Trace& trace) {
  Chosen chosen;
  for (const std::string& name : trace.names) chosen.push_back(server.route(task, name).record().owner);
  return chosen;
}

/// Milliseconds until the server routes by a revision; it follows the store by itself.
double await(const canary::Engine& server, canary::Task task, std::uint32_t revision) {
  const auto start = std::chrono::steady_clock::now();
  while (server.route(task, "anybody").revision() != revision) std::this_thread::yield();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// Takes a step; true if it moved the least possible.
bool take(const Step& step, const PerVersion& ppm_before, canary::Registry& operators, const canary::Engine& server,
          const Trace& trace) {
  const canary::Task task = server.task(task_name);
  const Chosen before = versions_of_users(server, task, trace);
  const canary::HistoryRow change = step.command(operators).row;
  const double seen_ms = await(server, task, change.revision);
  const Chosen after = versions_of_users(server, task, trace);

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

  print_shares(server.router(), task, step, of_users, of_requests);
  const double expected = static_cast<double>(change.points_minimum) / canary::ring_points * users;
  const std::array<double, passes> ns = time_passes(server.router(), task, trace, of_requests[1] + 2 * of_requests[2]);
  std::cout << "  points moved " << grouped(change.points_moved) << ", least possible "
            << grouped(change.points_minimum) << "\n  users moved  " << grouped(moved) << ", least possible "
            << grouped(least) << "; without need: " << astray << '\n';
  std::printf("               (expected: %.0f; ranges side by side, cut anew, would have moved %u)\n", expected,
              moved_by_ranges);
  std::printf("  the server routed by revision %u %.1f ms after the commit\n", change.revision, seen_ms);
  std::printf("  decision     %.1f ns at best, %.1f in the median, %.1f at worst of %d passes over the trace\n",
              ns.front(), ns[passes / 2], ns.back(), passes);
  return change.points_moved == change.points_minimum && moved == least && astray == 0;
}

/// A folder of its own, gone at the end.
struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "canary-demo-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"cannot make " + name};
    path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

void print_history(canary::Store& store) {
  std::printf("\nHistory of %s, as the store has it:\n", task_name);
  for (const canary::HistoryRow& row : store.history(task_name, {}))
    std::printf("  %2u  %s  %-9s %-24s %12s points\n", row.revision, canary::time_text(row.at_us).substr(0, 19).c_str(),
                row.action.c_str(), row.note.c_str(), grouped(row.points_moved).c_str());
}

}  // namespace

int main() {
  const Trace trace = make_trace();
  const Folder folder;
  canary::Config config;
  config.store.url = "sqlite:" + (folder.path / "canary.db").string();
  config.store.state = (folder.path / "canary.state").string();
  config.recorder.spool = (folder.path / "spool").string();
  canary::TaskConfig settings;
  settings.name = task_name;
  settings.default_model = models[0];
  config.tasks.push_back(settings);
  std::cout << "This trace is synthetic: " << grouped(requests) << " requests from " << grouped(users)
            << " users, Zipf-like, drawn with seed " << random_seed << ".\nThe store is " << config.store.url
            << ", removed at the end.\n";

  canary::SqliteStore store{config.store.url};  // the operator's
  canary::Registry operators{store};
  for (const std::string_view model : {models[1], models[2]})
    (void)operators.register_version(task_name, {.model = std::string{model}}, {.actor = "demo", .note = "registered"});
  const canary::Engine server{config, std::make_unique<canary::SqliteStore>(config.store.url)};

  bool held = true;
  PerVersion ppm{canary::total_ppm};
  std::vector<Chosen> stood;
  for (const Step& step : steps()) {
    held = take(step, ppm, operators, server, trace) && held;
    ppm = step.ppm;
    stood.push_back(versions_of_users(server, server.task(task_name), trace));
  }
  print_history(store);
  const bool same = stood[stood.size() - 1] == stood[stood.size() - 3];
  std::cout << (same ? "\nAfter the last rollback every user has the version from before the promotion.\n"
                     : "\nTHE ROLLBACK DID NOT RESTORE: a user has another version than before the promotion.\n");
  std::cout << (held ? "The promise held: each change moved the fewest users possible, and nobody else.\n"
                     : "THE PROMISE DID NOT HOLD: a change moved more users than it had to.\n");
  return held && same ? 0 : 1;
}
