// A guarded rollout, start to end, on a real SQLite store: a candidate as good as what serves climbs its steps by itself, a
// worse one is caught and rolled back by itself, and history says why. Users are made up, all else is what a server runs.
// Exits with 1 if the guard does otherwise.
#include <canary/adapters/sqlite_store.hpp>
#include <canary/engine.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <stdlib.h>

namespace {

constexpr const char* task_name = "checklist_enrichment";
constexpr std::string_view good_model = "ft:gpt-4o-mini:acme:v7";
constexpr std::string_view bad_model = "ft:gpt-4o-mini:acme:v8";
constexpr double goes_well = 0.92;
constexpr double goes_well_when_bad = 0.80;
constexpr int requests_a_second = 30'000;

/// A folder of its own, gone at the end.
struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "canary-story-XXXXXX").string();
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

/// 1234567 -> 1,234,567
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

/// A server's requests, each of another user, until it goes.
class Traffic {
 public:
  explicit Traffic(canary::Engine& server) : server_{server}, thread_{[this] { serve(); }} {}
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;
  ~Traffic() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] std::uint64_t requests() const { return requests_; }
  [[nodiscard]] std::uint64_t of_bad() const { return of_bad_; }

 private:
  void serve() {
    using namespace std::chrono;
    const canary::Task task = server_.task(task_name);
    std::mt19937_64 random{20'240'229};
    auto next = steady_clock::now();
    for (std::uint64_t user = 0; !stop_; ++user) {
      canary::Decision decision = server_.route(task, user);
      const bool bad = decision.model() == bad_model;
      const double chance = static_cast<double>(random() >> 11) * 0x1p-53;
      const auto latency_us = static_cast<std::int64_t>(200'000 + random() % 600'000);  // what a model would take
      while (
          !server_.record(decision, {.latency_us = latency_us, .ok = chance < (bad ? goes_well_when_bad : goes_well)}))
        std::this_thread::yield();
      ++requests_;
      if (bad) ++of_bad_;
      if (user % 600 == 0) std::this_thread::sleep_until(next += microseconds{600 * 1'000'000 / requests_a_second});
    }
  }

  canary::Engine& server_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> requests_ = 0;
  std::atomic<std::uint64_t> of_bad_ = 0;
  std::thread thread_;
};

/// How far the evidence was on its way to either verdict at some time: 1 is a proof.
struct Sample {
  std::uint64_t requests = 0;
  std::uint32_t weight_ppm = 0;
  double harm = 0;
  double no_harm = 0;
};

/// Evidence over requests: `x` of harm, `o` of its absence, and below them the candidate's share.
void draw(const std::vector<Sample>& samples) {
  constexpr std::size_t columns = 64;
  constexpr int rows = 8;
  if (samples.empty()) return;
  const std::uint64_t first = samples.front().requests;
  const std::uint64_t last = std::max(samples.back().requests, first + 1);
  std::vector<std::string> picture(rows, std::string(columns, ' '));
  std::string shares(columns + 8, ' ');
  std::uint32_t weight_ppm = 0;
  std::size_t free_from = 0;
  for (const Sample& each : samples) {
    const auto column = static_cast<std::size_t>((each.requests - first) * (columns - 1) / (last - first));
    const auto put = [&](double part, char mark) {
      if (part <= 0) return;
      picture[static_cast<std::size_t>(std::min(part, 1.0) * (rows - 1) + 0.5)][column] = mark;
    };
    put(each.no_harm, 'o');
    put(each.harm, 'x');
    if (each.weight_ppm == weight_ppm) continue;
    weight_ppm = each.weight_ppm;
    const std::string label = '|' + canary::percent_text(weight_ppm) + '%';
    if (column < free_from || column + label.size() > shares.size()) continue;
    shares.replace(column, label.size(), label);
    free_from = column + label.size();
  }
  for (int row = rows - 1; row >= 0; --row)
    std::printf("    %-7s %s%s\n",
                row == rows - 1 ? "proof"
                : row == 0      ? "nothing"
                                : "",
                row == rows - 1 ? "+" : "|", picture[static_cast<std::size_t>(row)].c_str());
  std::printf("    share    %s\n    requests %s ... %s   (x: it does harm, o: it does none)\n", shares.c_str(),
              grouped(first).c_str(), grouped(last).c_str());
}

/// What the guard did, as it did it.
class Acts {
 public:
  void add(const canary::GuardAct& act) {
    if (!act.acted) return;
    const std::lock_guard lock{mutex_};
    waiting_.push_back(canary::version_id(act.task, act.look.number) + ' ' + act.words + "\n        " +
                       act.look.verdict.reason);
  }
  void print(std::uint64_t requests) {
    const std::lock_guard lock{mutex_};
    for (const std::string& each : waiting_)
      std::printf("  %9s requests: %s\n", grouped(requests).c_str(), each.c_str());
    waiting_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> waiting_;
};

struct World {
  Folder folder;
  canary::Config config;
  Acts acts;

  World() {
    config.store.url = "sqlite:" + (folder.path / "canary.db").string();
    config.store.state = (folder.path / "canary.state").string();
    config.recorder.spool = (folder.path / "spool").string();
    config.recorder.flush_ms = 20;
    canary::TaskConfig task;
    task.name = task_name;
    task.default_model = "gpt-4o-mini";
    task.guard.steps_ppm = {10'000, 50'000, 250'000, 500'000, 1'000'000};
    task.guard.metrics = {{.name = "answered well", .advance_margin = {0.10, 0.06, 0.04, 0.03}}};
    config.tasks.push_back(task);
  }
};

/// Follows a rollout to its end, and draws its evidence.
canary::Rollout follow(World& world, canary::Store& store, const Traffic& traffic, std::uint32_t number) {
  const std::unique_ptr<canary::InteractionStore> interactions = store.interactions();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes{2};
  std::vector<Sample> samples;
  canary::Rollout rollout;
  do {
    for (const canary::GuardLook& look :
         canary::guard_look(store, *interactions, world.config.tasks[0], canary::Registry::system_time(), false)) {
      if (look.number != number || look.verdict.metrics.empty()) continue;
      const canary::MetricVerdict& metric = look.verdict.metrics[0];
      samples.push_back({traffic.requests(), look.weight_ppm, metric.log_e_rollback / metric.threshold_rollback,
                         look.step.last ? 0 : metric.log_e_advance / metric.threshold_advance});
    }
    world.acts.print(traffic.requests());
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    for (const canary::Rollout& each : canary::stored_rollouts(store.load(task_name, {})))
      if (each.number == number) rollout = each;
  } while (rollout.state == canary::RolloutState::running && std::chrono::steady_clock::now() < give_up);
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  world.acts.print(traffic.requests());
  draw(samples);
  return rollout;
}

void print_history(canary::Store& store) {
  std::printf("\nHistory of %s, as the store has it:\n", task_name);
  for (const canary::HistoryRow& row : store.history(task_name, {}))
    std::printf("  %2u  %s  %-16s by %-20s %s\n", row.revision, canary::time_text(row.at_us).substr(11, 8).c_str(),
                row.action.c_str(), row.actor.substr(0, 20).c_str(), row.note.c_str());
}

int run() {
  World world;
  canary::SqliteStore store{world.config.store.url};  // the operator's
  canary::Registry operators{store};
  for (const std::string_view model : {good_model, bad_model})
    (void)operators.register_version(task_name, {.model = std::string{model}}, {.actor = "demo", .note = "registered"});
  canary::EngineOptions options;
  options.guard_ms = 100;
  options.on_guard = [&](const canary::GuardAct& act) { world.acts.add(act); };
  canary::Engine server{world.config, std::make_unique<canary::SqliteStore>(world.config.store.url), options};
  const Traffic traffic{server};

  std::printf(
      "A server answers some %s requests a second; %.0f of 100 go well.\n\ncanary rollout start %s@1: %s is as good\n",
      grouped(requests_a_second).c_str(), 100 * goes_well, task_name, good_model.data());
  const std::vector<std::uint32_t>& steps = world.config.tasks[0].guard.steps_ppm;
  (void)operators.start_rollout(task_name, 1, steps, {.actor = "demo", .note = "as good as what serves"});
  const canary::Rollout good = follow(world, store, traffic, 1);

  std::printf("\ncanary rollout start %s@2: of %s only %.0f of 100 go well\n", task_name, bad_model.data(),
              100 * goes_well_when_bad);
  (void)operators.start_rollout(task_name, 2, steps, {.actor = "demo", .note = "nobody knows yet that it is worse"});
  const canary::Rollout bad = follow(world, store, traffic, 2);
  print_history(store);
  std::printf("\nThe worse version served %s of %s requests before its traffic was taken back.\n",
              grouped(traffic.of_bad()).c_str(), grouped(traffic.requests()).c_str());
  const bool right = good.state == canary::RolloutState::finished && bad.state == canary::RolloutState::rolled_back;
  std::puts(
      right ? "The good version went up by itself, and the bad one down."
            : "THE GUARD DID NOT DO ITS WORK: the good version should have finished, the bad one been rolled back.");
  return right ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "canary_story: %s\n", error.what());
    return 1;
  }
}
