// bench_store: what a change costs in each store, and how long until another process routes by it.
//
//   bench_store [--postgres URL] [--folder DIR] [--changes N] [--out FILE]
//
// Propagation runs from the moment the command begins to commit to the first decision of the new revision in the other
// process, which looks every 200 us; so it holds the commit itself. URL names an empty database; without it PostgreSQL is left out.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/engine.hpp"
#if CANARY_BENCH_POSTGRES
#include "canary/adapters/postgres_store.hpp"
#endif
#include "support.hpp"

namespace canary::bench {
namespace {

struct Options {
  std::string postgres;
  std::string folder = ".";
  int changes = 300;
  const char* out = nullptr;
};

/// One number a line, sorted: percentiles by rank.
class Samples {
 public:
  void add(double us) { us_.push_back(us); }
  [[nodiscard]] double quantile(double q) {
    std::sort(us_.begin(), us_.end());
    const auto rank = static_cast<std::size_t>(q * static_cast<double>(us_.size() - 1) + 0.5);
    return us_.empty() ? 0 : us_[rank];
  }
  [[nodiscard]] std::size_t count() const noexcept { return us_.size(); }

 private:
  std::vector<double> us_;
};

class Report {
 public:
  explicit Report(std::FILE* out) : out_{out} {}
  void row(const std::string& store, const std::string& what, Samples& samples) {
    std::fprintf(out_,
                 "%s\n{\"store\": \"%s\", \"what\": \"%s\", \"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, "
                 "\"max_us\": %.1f}",
                 comma_, store.c_str(), what.c_str(), samples.count(), samples.quantile(0.5), samples.quantile(0.99),
                 samples.quantile(1));
    comma_ = ",";
    std::fflush(out_);
  }

 private:
  std::FILE* out_;
  const char* comma_ = "";
};

std::unique_ptr<Store> open(const std::string& url) {
#if CANARY_BENCH_POSTGRES
  if (url.starts_with("postgres")) return std::make_unique<PostgresStore>(url);
#endif
  if (url == "memory:") return std::make_unique<MemoryStore>();
  return std::make_unique<SqliteStore>(url);
}

template <class Call>
double time_us(Call call) {
  const std::int64_t begin = now_ns();
  call();
  return static_cast<double>(now_ns() - begin) / 1'000;
}

/// What the disk alone costs: 4 KB written and synced, which is the least that a durable change can do.
void floor(const Options& options, Report& report) {
  const std::string file = options.folder + "/floor";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::vector<char> page(4'096, 'x');
  Samples samples;
  for (int i = 0; i != options.changes; ++i)
    samples.add(time_us([&] {
      if (::pwrite(fd, page.data(), page.size(), 4'096 * i) != 4'096 || ::fdatasync(fd) != 0) std::abort();
    }));
  ::close(fd);
  std::filesystem::remove(file);
  report.row("disk", "write 4 KB and sync", samples);
}

bool operations(const std::string& name, const std::string& url, const Options& options, Report& report) {
  const std::unique_ptr<Store> store = open(url);
  Registry registry{*store};
  constexpr std::uint32_t many = 10'000;
  Samples registers;
  for (std::uint32_t i = 0; i != static_cast<std::uint32_t>(options.changes); ++i)
    registers.add(time_us([&] { (void)registry.register_version("ops", {.model = "v" + std::to_string(i)}); }));
  report.row(name, "register", registers);
  Samples canaries;
  for (std::uint32_t i = 0; i != static_cast<std::uint32_t>(options.changes); ++i)
    canaries.add(time_us([&] { (void)registry.canary("ops", 1, 1 + i % 500'000); }));
  report.row(name, "canary", canaries);

  // 10,000 versions by one restore: registering them one by one is not what is measured here.
  TaskContents task;
  task.task.name = "many";
  task.task.revision = task.task.version_count = many;
  for (std::uint32_t i = 1; i <= many; ++i) {
    ModelVersion row;
    row.number = i;
    row.model = "ft:base:acme:v" + std::to_string(i);
    task.task.versions.push_back(row);
    HistoryRow step;
    step.revision = i;
    step.action = "register";
    step.number = i;
    task.history.push_back(step);
  }
  bool given = false;
  store->replace_all([&]() -> std::optional<TaskContents> {
    if (std::exchange(given, true)) return {};
    return task;
  });
  Samples lists;
  bool right = true;
  for (int i = 0; i != 30; ++i)
    lists.add(time_us([&] { right = right && store->load("many", {.all = true}).versions.size() == many; }));
  report.row(name, "list 10,000 versions", lists);
  Samples late;
  for (std::uint32_t i = 0; i != static_cast<std::uint32_t>(options.changes); ++i)
    late.add(time_us([&] { (void)registry.canary("many", 9'999, 1 + i); }));
  report.row(name, "canary among 10,000 versions", late);
  return right;
}

/// In a process of its own: routes by the store through `followers` engines, and tells when the last one met a revision.
[[noreturn]] void follow(const std::string& url, std::size_t followers, int out) {
  Config config;
  config.store.url = url;
  config.store.state.clear();
  TaskConfig one;
  one.name = "ops";
  one.default_model = "base";
  config.tasks.push_back(one);
  std::vector<std::unique_ptr<Engine>> engines;
  EngineOptions only_follow;
  only_follow.record = false;  // a hundred drainers would be a load of their own
  for (std::size_t i = 0; i != followers; ++i)
    engines.push_back(std::make_unique<Engine>(config, open(url), only_follow));
  const Task task = engines.front()->task("ops");
  std::vector<std::uint32_t> seen(followers, 0);
  for (;;) {
    for (std::size_t i = 0; i != followers; ++i) {
      const std::uint32_t revision = engines[i]->route(task, "key").revision();
      if (revision == seen[i]) continue;
      seen[i] = revision;
      const std::int64_t told[2] = {revision, now_ns()};
      if (::write(out, told, sizeof told) != sizeof told) std::_Exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds{200});
  }
}

bool propagation(const std::string& name, const std::string& url, std::size_t followers, const Options& options,
                 Report& report) {
  {
    const std::unique_ptr<Store> fresh = open(url);
    fresh->replace_all([] { return std::optional<TaskContents>{}; });
    (void)Registry{*fresh}.register_version("ops", {.model = "v1"});
  }
  int ends[2];
  if (::pipe(ends) != 0) return false;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    follow(url, followers, ends[1]);
  }
  ::close(ends[1]);
  const std::unique_ptr<Store> store = open(url);
  Registry registry{*store};
  Samples samples;
  Samples slowest;
  bool right = true;
  std::uint32_t revision = 1;
  const auto await = [&](std::int64_t begin, bool count) {
    double last = 0;
    for (std::size_t met = 0; met != followers;) {
      std::int64_t told[2];
      pollfd ready{ends[0], POLLIN, 0};
      if (::poll(&ready, 1, 30'000) != 1 || ::read(ends[0], told, sizeof told) != sizeof told) return false;
      if (told[0] != revision) continue;
      ++met;
      const double us = static_cast<double>(told[1] - begin) / 1'000;
      last = std::max(last, us);
      if (count) samples.add(us);
    }
    if (count) slowest.add(last);
    return true;
  };
  right = await(now_ns(), false);
  const int changes = followers == 1 ? options.changes : options.changes / 3;
  for (int i = 0; right && i != changes; ++i) {
    // Not in step with the follower's own looks.
    std::this_thread::sleep_for(std::chrono::microseconds{5'000 + 137 * (i % 71)});
    const std::int64_t begin = now_ns();
    revision = registry.canary("ops", 1, 1 + static_cast<std::uint32_t>(i)).row.revision;
    right = await(begin, true);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  const std::string of = followers == 1 ? "" : " of " + std::to_string(followers);
  report.row(name, "commit to first decision elsewhere" + (followers == 1 ? "" : ", each" + of), samples);
  if (followers != 1) report.row(name, "commit to first decision elsewhere, last" + of, slowest);
  return right;
}

bool run(const Options& options) {
  std::FILE* out = options.out == nullptr ? stdout : std::fopen(options.out, "w");
  if (out == nullptr) return false;
  const std::string file = options.folder + "/canary-bench.db";
  const auto clean = [&] {
    for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(file + ending);
  };
  clean();
  std::fprintf(out, "{\"context\": {\"compiler\": \"%s\", \"flags\": \"%s\", \"postgres\": %s},\n\"rows\": [",
               __VERSION__, CANARY_BENCH_FLAGS, options.postgres.empty() ? "false" : "true");
  Report report{out};
  floor(options, report);
  bool right = operations("memory", "memory:", options, report);
  right = operations("SQLite", "sqlite:" + file, options, report) && right;
  clean();
  right = propagation("SQLite", "sqlite:" + file, 1, options, report) && right;
  if (!options.postgres.empty()) {
    right = operations("PostgreSQL", options.postgres, options, report) && right;
    right = propagation("PostgreSQL", options.postgres, 1, options, report) && right;
    right = propagation("PostgreSQL", options.postgres, 100, options, report) && right;
  }
  clean();
  std::fprintf(out, "\n],\n\"right\": %s}\n", right ? "true" : "false");
  if (out != stdout) std::fclose(out);
  if (!right) std::fprintf(stderr, "a follower never met a change, or rows were missing: the timing is void\n");
  return right;
}

}  // namespace
}  // namespace canary::bench

int main(int argc, char** argv) {
  canary::bench::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--postgres") == 0) options.postgres = argv[i + 1];
    if (std::strcmp(argv[i], "--folder") == 0) options.folder = argv[i + 1];
    if (std::strcmp(argv[i], "--changes") == 0) options.changes = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--out") == 0) options.out = argv[i + 1];
  }
  return canary::bench::run(options) ? 0 : 1;
}
