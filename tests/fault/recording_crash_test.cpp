// Processes that record are killed at any moment. Whatever record() answered true for must be in the store, once.
#include <signal.h>
#include <time.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "peer_store.hpp"
#include "process.hpp"
#include "recorded.hpp"
#include "recorder_peer.hpp"
#include "sites.hpp"

namespace recording_crash_test {

using namespace canary;
using namespace canary::test;
namespace fs = std::filesystem;

namespace {

/// The last numbers that a peer's two threads were told of as kept; none when it died before it began.
std::array<std::uint64_t, 2> confirmed_in(const fs::path& folder, std::uint32_t source) {
  std::array<std::uint64_t, 2> last{};
  std::ifstream file{folder / ("confirmed-" + std::to_string(source)), std::ios::binary};
  file.read(reinterpret_cast<char*>(last.data()), sizeof last);
  return last;
}

void pause_us(std::uint32_t us) {
  const timespec pause{us / 1'000'000, static_cast<long>(us % 1'000'000) * 1'000};
  ::nanosleep(&pause, nullptr);
}

/// Every outcome counts by request, settled or late; what was assigned is settled or open, since no time was over.
void check_evidence(const EvidenceCounts& evidence, std::uint64_t outcomes) {
  std::uint64_t counted = 0;
  for (const CountedBy by : {CountedBy::unit, CountedBy::request})
    for (const Arm arm : {Arm::baseline, Arm::candidate}) {
      const ArmCounts& counts = evidence.of(by, arm);
      std::int64_t open = 0;
      for (const Open& each : evidence.open()) open += each.by == by && each.arm == arm ? each.count : 0;
      CHECK(counts.assigned == counts.settled + static_cast<std::uint64_t>(open));
      CHECK(counts.missing == 0);
      if (by == CountedBy::request) counted += counts.settled + counts.late;
    }
  CHECK(counted == outcomes);
}

struct Tally {
  std::uint64_t kills = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t delivered = 0;
};

/// A store and a folder of spools, which processes use and are killed.
template <class Site>
class Ground {
 public:
  Ground() {
    const std::unique_ptr<Store> store = peer_store(site_.url());
    (void)Registry{*store}.register_version("checks", {.model = "v1"});
    (void)Registry{*store}.canary("checks", 1, 300'000);
  }

  /// Starts `count` at once, kills each at a moment of its own.
  void kill(const char* mode, int count, Random& random) {
    std::vector<Process> peers;
    const bool early = random.below(4) == 0;  // perhaps before it records
    for (int i = 0; i != count; ++i, source_ += 2)
      peers.emplace_back(std::vector<std::string>{CANARY_TEST_RECORDER_PEER, site_.url(), folder_.path().string(),
                                                  std::to_string(source_), mode});
    for (Process& peer : peers) {
      if (!early) REQUIRE(peer.line() == "recording");
      pause_us(random.below(early ? 20'000 : 60'000));
      REQUIRE(peer.kill() == 128 + SIGKILL);
      ++tally_.kills;
    }
  }

  /// Delivers what is left, and looks at all of it.
  void check() {
    {
      Engine engine{recorder_config(site_.url(), folder_.path().string()), peer_store(site_.url())};
      REQUIRE(engine.flush(std::chrono::minutes{10}));
      const RecordingStatus status = engine.status().recording;
      INFO(status.message);
      CHECK(status.message.empty());
      CHECK(status.on_disk);
      CHECK(status.drained.nameless == 0);
    }
    const std::unique_ptr<Store> store = peer_store(site_.url());
    const auto rows = recorded_rows(*store);
    const Sequences found = sequences_of(rows);
    for (std::uint32_t source = 0; source != source_; source += 2) {
      const auto confirmed = confirmed_in(folder_.path(), source);
      for (std::uint32_t thread = 0; thread != 2; ++thread) {
        const auto at = found.find(source + thread);
        const std::uint64_t count = at == found.end() ? 0 : at->second.size();
        INFO("source " << source + thread << ": " << count << " in the store, " << confirmed[thread] << " confirmed");
        REQUIRE(count >= confirmed[thread]);
        REQUIRE(count <= confirmed[thread] + 1);  // the one that it was being told of
        if (count != 0) REQUIRE(is_whole(at->second, count));
        tally_.confirmed += confirmed[thread];
        tally_.delivered += count;
      }
    }
    REQUIRE(tally_.delivered == rows.size());
    CHECK(recorded_windows(*store) == windows_of(rows));
    check_evidence(recorded_evidence(*store, "checks"), rows.size());
    std::size_t spools = 0;
    for (const auto& each : fs::directory_iterator{folder_.path() / "spool"}) {
      INFO(each.path());
      CHECK(detail::is_spool_id(each.path().filename().string()));
      ++spools;
    }
    CHECK(spools == 1);
  }
  [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

 private:
  Site site_;
  TemporaryFolder folder_;
  std::uint32_t source_ = 0;
  Tally tally_;
};

/// Each ground is killed upon so often; a soak takes more of them, so that no store grows too large to look at.
template <class Site>
void kill_and_check(const char* mode, int rounds, int at_once, std::uint64_t seed) {
  Random random{seed};
  Tally all;
  for (int ground = 0; ground != soak_factor(); ++ground) {
    Ground<Site> here;
    for (int i = 0; i != rounds; ++i) here.kill(mode, at_once, random);
    here.check();
    all.kills += here.tally().kills;
    all.confirmed += here.tally().confirmed;
    all.delivered += here.tally().delivered;
  }
  CHECK(all.confirmed > all.kills);
  const std::string words = std::to_string(all.kills) + " kills, " + std::to_string(all.confirmed) + " confirmed, " +
                            std::to_string(all.delivered) + " in the store";
  if (soak_factor() != 1) std::fprintf(stderr, "%s: %s\n", mode, words.c_str());
  SUCCEED(words);
}

}  // namespace

TEMPLATE_TEST_CASE(
    "recording: a process killed at any moment loses nothing of what it was told is kept, and doubles none", "[fault]",
    CANARY_TEST_SITES) {
  kill_and_check<TestType>("fast", 10, 1, 1);
}

TEMPLATE_TEST_CASE("recording: a process killed in the middle of commits loses and doubles nothing", "[fault]",
                   CANARY_TEST_SITES) {
  kill_and_check<TestType>("commits", 10, 1, 2);
}

TEMPLATE_TEST_CASE("recording: processes killed side by side leave nothing that the next do not deliver", "[fault]",
                   CANARY_TEST_SITES) {
  kill_and_check<TestType>("routed", 3, 3, 3);
}

}  // namespace recording_crash_test
