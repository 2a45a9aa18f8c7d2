// guard_news.hpp: what is new in one pass of the guard beside the one before. Layer control.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/guard_pass.hpp"
#include "canary/control/sample_ratio.hpp"
#include "canary/control/verdict.hpp"

namespace canary {

/// Remembers what was told of each candidate. One thread at a time.
class GuardNews {
 public:
  /// Acts and conflicts, and candidates whose verdict, or whose fit to the split, is another than it was. Live as long as
  /// the pass.
  [[nodiscard]] std::vector<const GuardAct*> of(const GuardPass& pass);

 private:
  struct Told {
    std::uint32_t since = 0;  // the life that it was told of
    Action action = Action::hold;
    bool mismatch = false;
    std::string words;
    friend bool operator==(const Told&, const Told&) = default;
  };
  std::map<std::pair<std::string, std::uint32_t>, Told> told_;  // by task and number
};

// ---------------------------------------------------------------------------------------------------------------------

inline std::vector<const GuardAct*> GuardNews::of(const GuardPass& pass) {
  decltype(told_) now;
  std::vector<const GuardAct*> news;
  for (const GuardAct& each : pass.acts) {
    const bool mismatch = each.look.verdict.sample_ratio.log_e >= -std::log(sample_ratio_alpha);
    Told told{each.look.since, each.look.verdict.action, mismatch, each.words};
    const std::pair place{each.task, each.look.number};
    const auto before = told_.find(place);
    if (each.acted || each.conflict || before == told_.end() || before->second != told) news.push_back(&each);
    now.insert_or_assign(place, std::move(told));
  }
  const auto unjudged = [&](const std::string& task) {
    return std::find(pass.left.begin(), pass.left.end(), task) != pass.left.end() ||
           std::any_of(pass.faults.begin(), pass.faults.end(), [&](const auto& each) { return each.task == task; });
  };
  for (const auto& [place, told] : told_)  // of what was not judged this time, what was told stands
    if (unjudged(place.first)) now.emplace(place, told);
  told_ = std::move(now);
  return news;
}

}  // namespace canary
