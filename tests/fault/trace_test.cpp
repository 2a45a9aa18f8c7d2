// A real trace of chat requests, replayed at its own pace made faster: every request is routed, recorded and in the store.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "canary/engine.hpp"
#include "recorded.hpp"
#include "sites.hpp"
#include "test_paths.hpp"

namespace trace_test {

using namespace canary;
using namespace canary::test;

namespace {

struct Request {
  double at_s = 0;  ///< since the first
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
};

/// Lines are `2023-11-16 18:15:46.6805900,374,44`, all of one day.
std::vector<Request> read_trace(std::ifstream& file) {
  std::vector<Request> all;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    int hour = 0;
    int minute = 0;
    Request request;
    if (std::sscanf(line.c_str(), "%*d-%*d-%*d %d:%d:%lf,%u,%u", &hour, &minute, &request.at_s, &request.tokens_in,
                    &request.tokens_out) != 5)
      continue;
    request.at_s += hour * 3'600 + minute * 60;
    all.push_back(request);
  }
  const double first_s = all.empty() ? 0 : all.front().at_s;
  for (Request& request : all) request.at_s -= first_s;
  return all;
}

}  // namespace

TEST_CASE("trace: every request of a real trace, replayed at its own pace made faster, is in the store",
          "[fault][trace]") {
  std::ifstream file{CANARY_SHARED_DATA_DIR "/traces/azure_conv_2023.csv"};
  if (!file) SKIP("no trace in " CANARY_SHARED_DATA_DIR);
  const std::vector<Request> trace = read_trace(file);
  REQUIRE(trace.size() == 19'366);
  const double faster = soak_factor() != 1 ? 100 : 1'000;  // an hour in 35 s, or in 3.5

  const SqliteSite site;
  const TemporaryFolder folder;
  {
    SqliteStore store{site.url()};
    (void)Registry{store}.register_version("chat", {.model = "v1"});
    (void)Registry{store}.canary("chat", 1, 100'000);
  }
  Config config;
  config.store.url = site.url();
  config.store.state.clear();
  config.recorder.spool = (folder.path() / "spool").string();
  TaskConfig configured;
  configured.name = "chat";
  configured.default_model = "base";
  config.tasks.push_back(configured);
  Engine engine{config, std::make_unique<SqliteStore>(site.url())};
  const Task task = engine.task("chat");

  std::uint64_t kept = 0;
  double late_most_s = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i != trace.size(); ++i) {
    const Request& request = trace[i];
    std::this_thread::sleep_until(begin + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                              std::chrono::duration<double>{request.at_s / faster}));
    const double now_s = std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count();
    late_most_s = std::max(late_most_s, now_s - request.at_s / faster);
    Decision decision = engine.route(task, std::uint64_t{i});
    kept += engine.record(
        decision,
        {.latency_us = request.tokens_out * 20'000, .tokens_in = request.tokens_in, .tokens_out = request.tokens_out});
  }
  CHECK(kept == trace.size());
  REQUIRE(engine.flush(std::chrono::minutes{5}));

  SqliteStore store{site.url()};
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> missing;  // by tokens in and out
  for (const Request& request : trace) ++missing[{request.tokens_in, request.tokens_out}];
  const auto rows = recorded_rows(store);
  CHECK(rows.size() == trace.size());
  for (const auto& [id, row] : rows) --missing[{row.tokens_in, row.tokens_out}];
  for (const auto& [tokens, count] : missing) REQUIRE(count == 0);
  CHECK(engine.status().recording.dropped == 0);
  std::printf("%zu requests of %.0f s in %.1f s, the latest %.1f ms behind its time\n", trace.size(), trace.back().at_s,
              trace.back().at_s / faster, late_most_s * 1'000);
}

}  // namespace trace_test
