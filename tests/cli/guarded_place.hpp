// guarded_place.hpp: a place with a candidate under guard, and counts of a server that never was.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/sqlite_store.hpp"
#include "canary/control/evidence.hpp"
#include "canary/core/recorder.hpp"
#include "program.hpp"

namespace canary::test {

/// So many outcomes of each arm, of which so many failed.
[[nodiscard]] inline EvidenceCounts counts_of(std::uint64_t baseline, std::uint64_t failed_baseline,
                                              std::uint64_t candidate, std::uint64_t failed_candidate) {
  EvidenceCounts counts;
  Interaction row;
  row.id = InteractionId::first_at(1'795'368'929'000'000);
  row.at_us = InteractionId::time_us(row.id);
  const auto add = [&](Arm arm, std::uint64_t count, std::uint64_t failed) {
    for (std::uint64_t i = 0; i != count; ++i) {
      row.error = i < failed ? 1 : 0;
      for (const CountedBy by : {CountedBy::unit, CountedBy::request}) {
        counts.assign(by, arm, row.id);
        counts.settle(by, arm, row, Frozen{}, 1'000'000);
      }
    }
  };
  add(Arm::baseline, baseline, failed_baseline);
  add(Arm::candidate, candidate, failed_candidate);
  return counts;
}

/// A database place whose task `checks` is guarded, with checks@1 at 10 % since revision 3, by a command that says so, and
/// checks@2 at none.
class GuardedPlace : public DatabasePlace {
 public:
  explicit GuardedPlace(const std::vector<std::string>& share = {"model", "canary", "checks@1", "10"},
                        const std::string& alerts = "log = false\n") {
    write("canary.toml",
          "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\ndefault_model = 'base'\n"
          "[[task.checks.guard.metric]]\nname = 'ok'\n[task.risks]\ndefault_model = 'steady'\n[alerts]\n" +
              alerts);
    register_models({"v1", "v2"});
    done(share);
  }

  /// What a server counted in the epoch of revision 3.
  void put(const std::string& bytes) const {
    SqliteStore store{(path() / "canary.db").string()};
    const auto to = store.interactions();
    const SpoolRecord spool = to->claim("0123456789abcdef0123456789abcdef", 1);
    const auto delivery = to->begin(spool);
    REQUIRE(delivery != nullptr);
    delivery->put({CountsKind::evidence, delivery->task_number("checks"), 3, 3, 0, bytes});
    delivery->commit({}, 1);
  }

  [[nodiscard]] boost::json::object candidate() const {
    const auto all = json({"guard", "check", "checks"}).at("candidates").as_array();
    REQUIRE(all.size() == 1);
    return all[0].as_object();
  }
};

}  // namespace canary::test
