// bench_sink: how many interactions a second reach each store, through everything that lies between record() and a commit.
//
//   bench_sink [--postgres URL] [--folder DIR] [--rows N] [--keys N] [--out FILE] [--only TEXT]
//
// One thread routes and records as fast as the rings take it, and waits where they are full, so that nothing is dropped; the
// clock runs from the first record to the moment when everything is in the store. Every row is counted there afterwards.
// URL names an empty database; without it PostgreSQL is left out.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/plan_epoch.hpp"
#include "canary/engine.hpp"
#if CANARY_BENCH_POSTGRES
#include "canary/adapters/postgres_store.hpp"
#endif
#include "support.hpp"

namespace canary::bench {
namespace {

struct Options {
  std::string postgres;
  std::filesystem::path folder = ".";
  std::uint64_t rows = 10'000'000;
  std::uint64_t keys = 10'000'000;
  std::string only;
  const char* out = nullptr;
};

std::unique_ptr<Store> open(const std::string& url) {
#if CANARY_BENCH_POSTGRES
  if (url.starts_with("postgres")) return std::make_unique<PostgresStore>(url);
#endif
  return std::make_unique<SqliteStore>(url);
}

struct Run {
  std::string store;
  std::string what;
  std::string url;
  bool candidate = false;
  std::string task;
};

struct Result {
  double seconds = 0;
  std::uint64_t stored = 0;
  std::uint64_t units = 0;
  double grown_mb = 0;
};

Config config_of(const Options& options, const Run& run) {
  Config config;
  config.store.url = run.url;
  config.store.state.clear();
  config.recorder.spool = options.folder / "spool";
  config.recorder.lane_mb = 16;
  config.recorder.keep_days = 0;
  TaskConfig task;
  task.name = run.task;
  task.default_model = "base";
  config.tasks.push_back(task);
  return config;
}

/// Memory that belongs to this process alone: the mapped spool is the page cache's.
double private_mb() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::atof(line.c_str() + 8) / 1'024;
  return 0;
}

/// Rows are recorded in stretches that the ring has room for, so that no assignment is dropped.
bool record_all(Engine& engine, Task task, const Options& options, double& most_mb) {
  constexpr std::uint64_t stretch = 65'536;
  for (std::uint64_t i = 0; i != options.rows; ++i) {
    if (i % stretch == 0) {
      const auto drained = [&] { return engine.status().recording.drained.interactions; };
      while (i > drained() + stretch) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      most_mb = std::max(most_mb, private_mb());
    }
    Decision decision = engine.route(task, i % options.keys);
    const bool kept = engine.record(decision, {.latency_us = static_cast<std::int64_t>(900 + i % 7'919),
                                               .ok = i % 97 != 0,
                                               .score = 0.75,
                                               .tokens_in = 512,
                                               .tokens_out = 88,
                                               .cost_microusd = 140});
    if (!kept) return false;
  }
  return engine.flush(std::chrono::minutes{30});
}

std::uint64_t stored_rows(Store& store, const std::string& task, std::uint64_t& units) {
  const std::unique_ptr<InteractionStore> interactions = store.interactions();
  std::uint64_t rows = 0;
  units = 0;
  for (const std::uint32_t number : {0u, 1u}) rows += counts_since(*interactions, task, number, 0).count;
  for (const CountsRow& row :
       interactions->counts({.kind = CountsKind::evidence, .task = interactions->find_task(task)}))
    for (const Arm arm : {Arm::baseline, Arm::candidate})
      units += EvidenceCounts::parse(row.bytes).value().of(CountedBy::unit, arm).settled;
  return rows;
}

bool sink(const Options& options, const Run& run, Result& result) {
  {
    const std::unique_ptr<Store> store = open(run.url);
    Registry registry{*store};
    (void)registry.register_version(run.task, {.model = "candidate"});
    if (run.candidate) (void)registry.canary(run.task, 1, 100'000);
  }
  const double before_mb = private_mb();
  double most_mb = before_mb;
  Engine engine{config_of(options, run), open(run.url)};
  const std::int64_t begin = now_ns();
  const bool right = record_all(engine, engine.task(run.task), options, most_mb);
  result.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  result.grown_mb = most_mb - before_mb;
  const std::unique_ptr<Store> store = open(run.url);
  result.stored = stored_rows(*store, run.task, result.units);
  return right && result.stored == options.rows;
}

/// A spool that a killed process left full, until all of it is in the store.
bool recovery(const Options& options, const Run& run, Result& result) {
  Config config = config_of(options, run);
  config.recorder.lane_mb = 128;
  const std::uint64_t rows = std::min<std::uint64_t>(options.rows, 2'000'000);
  const pid_t child = ::fork();
  if (child == 0) {
    config.store.url = "sqlite:" + (options.folder / "nowhere" / "db").string();  // nothing is delivered
    Engine engine{config, open(config.store.url)};
    const Task task = engine.task(run.task);
    for (std::uint64_t i = 0; i != rows; ++i) (void)engine.record(engine.route(task, i), {.latency_us = 900});
    ::raise(SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const std::int64_t begin = now_ns();
  Engine engine{config, open(run.url)};
  const bool right = engine.flush(std::chrono::minutes{10});
  result.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  const std::unique_ptr<Store> store = open(run.url);
  result.stored = stored_rows(*store, run.task, result.units);
  return right && result.stored == rows;
}

bool run_all(const Options& options) {
  std::FILE* out = options.out == nullptr ? stdout : std::fopen(options.out, "w");
  if (out == nullptr) return false;
  const std::string file = (options.folder / "sink.db").string();
  const auto clean = [&] {
    for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(file + ending);
    std::filesystem::remove_all(options.folder / "spool");
  };
  std::fprintf(out, "{\"context\": {\"compiler\": \"%s\", \"flags\": \"%s\", \"postgres\": %s},\n\"rows\": [",
               __VERSION__, CANARY_BENCH_FLAGS, options.postgres.empty() ? "false" : "true");
  const char* comma = "";
  bool right = true;
  const auto measure = [&](const Run& run, bool (*how)(const Options&, const Run&, Result&)) {
    if ((run.store + ' ' + run.what).find(options.only) == std::string::npos) return;
    clean();
    Result result;
    const bool well = how(options, run, result);
    right = right && well;
    std::fprintf(out,
                 "%s\n{\"store\": \"%s\", \"what\": \"%s\", \"stored\": %llu, \"units\": %llu, \"seconds\": %.3f, "
                 "\"per_s\": %.0f, \"grown_mb\": %.1f, \"right\": %s}",
                 comma, run.store.c_str(), run.what.c_str(), static_cast<unsigned long long>(result.stored),
                 static_cast<unsigned long long>(result.units), result.seconds,
                 static_cast<double>(result.stored) / result.seconds, result.grown_mb, well ? "true" : "false");
    comma = ",";
    std::fflush(out);
  };
  for (const bool postgres : {false, true}) {
    if (postgres && options.postgres.empty()) break;
    const std::string store = postgres ? "PostgreSQL" : "SQLite";
    const std::string url = postgres ? options.postgres : "sqlite:" + file;
    measure({store, "no candidate", url, false, "plain"}, sink);
    measure({store, "a candidate, units deduplicated", url, true, "compared"}, sink);
    measure({store, "a spool left full", url, false, "recovered"}, recovery);
  }
  clean();
  std::fprintf(out, "\n],\n\"keys\": %llu, \"right\": %s}\n", static_cast<unsigned long long>(options.keys),
               right ? "true" : "false");
  if (out != stdout) std::fclose(out);
  if (!right) std::fprintf(stderr, "rows were missing: the timing is void\n");
  return right;
}

}  // namespace
}  // namespace canary::bench

int main(int argc, char** argv) {
  canary::bench::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--postgres") == 0) options.postgres = argv[i + 1];
    if (std::strcmp(argv[i], "--folder") == 0) options.folder = argv[i + 1];
    if (std::strcmp(argv[i], "--rows") == 0) options.rows = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--keys") == 0) options.keys = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--only") == 0) options.only = argv[i + 1];
    if (std::strcmp(argv[i], "--out") == 0) options.out = argv[i + 1];
  }
  return canary::bench::run_all(options) ? 0 : 1;
}
