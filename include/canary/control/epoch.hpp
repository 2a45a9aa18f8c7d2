// epoch.hpp: what stands still between two changes of weights: who is compared with whom, by which share of the points,
// and by which centre, variance and thresholds outcomes are counted. Layer control.
//
// An epoch is written with the change that opens it, in its history row. The frozen figures come from what the baseline did
// before, or are missing: any values keep the guard's promise, good ones give it power.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/store.hpp"
#include "canary/control/window.hpp"
#include "canary/core/partition.hpp"

namespace canary {

/// A version that is compared with the baseline.
struct Candidate {
  std::uint32_t number = 0;
  std::uint64_t points = 0;  ///< of the ring, in this epoch
  std::uint32_t since = 0;   ///< revision of its latest start from 0 %: its life's name
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

/// Figures of the baseline, frozen when the epoch opened.
struct Frozen {
  double success_mean = 0.5;
  double score_mean = 0.5;
  double score_variance = 0.25;
  double cost_cap_microusd = 0;  ///< ten times the 99th percentile; 0: not known, costs are not counted
  double cost_mean = 0.5;        ///< of costs over the cap
  double cost_variance = 0.25;
  std::vector<std::uint32_t> latency_us;  ///< thresholds, rising; empty: not known, latencies are not counted
  std::uint64_t outcomes = 0;             ///< that these come from; 0: from none
  friend bool operator==(const Frozen&, const Frozen&) = default;
};

struct Epoch {
  std::uint32_t revision = 0;  ///< that opened it
  std::uint32_t baseline = 0;  ///< number of the version that candidates are compared with; 0: the default
  std::uint64_t baseline_points = 0;
  std::vector<Candidate> candidates;  ///< by number; without any nothing is compared
  Frozen frozen;

  [[nodiscard]] const Candidate* find(std::uint32_t number) const noexcept {
    for (const Candidate& each : candidates)
      if (each.number == number) return &each;
    return nullptr;
  }
  friend bool operator==(const Epoch&, const Epoch&) = default;
};

/// Shares that latency thresholds are taken at.
inline constexpr std::array<double, 5> latency_quantiles{0.50, 0.75, 0.90, 0.95, 0.99};

/// Figures of what the baseline did.
/// Input   `margins`: of the metrics of latency, e.g. .25; each threshold stands there once more with each margin.
///         `slos_us`: thresholds that stand there whatever the baseline did.
[[nodiscard]] inline Frozen freeze(const WindowCounts& counts, const std::vector<double>& margins,
                                   const std::vector<std::uint32_t>& slos_us = {}) {
  Frozen frozen;
  frozen.latency_us = slos_us;
  const auto in_order = [&] {
    std::sort(frozen.latency_us.begin(), frozen.latency_us.end());
    frozen.latency_us.erase(std::unique(frozen.latency_us.begin(), frozen.latency_us.end()), frozen.latency_us.end());
  };
  in_order();
  if (counts.count == 0) return frozen;
  const auto count = static_cast<double>(counts.count);
  frozen.outcomes = counts.count;
  frozen.success_mean = 1 - static_cast<double>(counts.errors) / count;
  if (counts.scored > 1) {
    const auto scored = static_cast<double>(counts.scored);
    frozen.score_mean = *counts.score_mean();
    const double square = static_cast<double>(counts.score_square_sum) / (scored * 1e12);
    frozen.score_variance = std::max(square - frozen.score_mean * frozen.score_mean, 1e-4);
  }
  if (const auto p99 = counts.cost.quantile(0.99); p99 && *p99 > 0) {
    frozen.cost_cap_microusd = 10 * *p99;
    frozen.cost_mean = std::min(1.0, static_cast<double>(counts.cost_microusd) / count / frozen.cost_cap_microusd);
    frozen.cost_variance = std::clamp(frozen.cost_mean * (1 - frozen.cost_mean), 1e-4, 0.25);
  }
  for (const double share : latency_quantiles) {
    const auto value = counts.latency_us.quantile(share);
    if (!value) break;
    frozen.latency_us.push_back(static_cast<std::uint32_t>(*value));
    for (const double margin : margins)
      frozen.latency_us.push_back(static_cast<std::uint32_t>(std::min(*value * (1 + margin), 4e9)));
  }
  in_order();
  return frozen;
}

/// The ACTIVE version with the largest share, else the default, is the baseline; every CANDIDATE with a share is compared
/// with it. `since` and the frozen figures are not known here.
[[nodiscard]] inline Epoch who_is_compared(const std::vector<ServingVersion>& serving, const Partition& partition) {
  Epoch epoch;
  std::uint64_t most = 0;
  const auto status = [&](std::uint32_t number) {
    const auto at =
        std::find_if(serving.begin(), serving.end(), [&](const auto& each) { return each.number == number; });
    return at == serving.end() ? std::optional<Status>{} : at->status;
  };
  for (const OwnerShare& share : partition.shares()) {
    if (status(share.owner) == Status::active && share.ppm > most) {
      most = share.ppm;
      epoch.baseline = share.owner;
    }
    if (status(share.owner) == Status::candidate && share.points != 0)
      epoch.candidates.push_back({share.owner, share.points, 0});
  }
  for (const OwnerShare& share : partition.shares())
    if (share.owner == epoch.baseline) epoch.baseline_points = share.points;
  return epoch;
}

/// `12|0:3865470566|2:429496730:12|500 0.93 0.8 0.02 14000 0.01 0.0099|900 1100`: revision | baseline:points | candidates
/// number:points:since | outcomes and figures | thresholds.
[[nodiscard]] std::string epoch_text(const Epoch& epoch);
/// Errors  nothing for a text that is not of epoch_text().
[[nodiscard]] std::optional<Epoch> parse_epoch(std::string_view text);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// The shortest text that reads back as the same number, in any locale.
inline void put_double(std::string& out, double value) {
  char text[32];
  const auto end = std::to_chars(std::begin(text), std::end(text), value).ptr;
  out.append(std::begin(text), end);
}

class EpochReader {
 public:
  explicit EpochReader(std::string_view text) noexcept : rest_{text} {}

  template <class Number>
  [[nodiscard]] Number take() noexcept {
    Number value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{}) failed_ = true;
    rest_.remove_prefix(failed_ ? rest_.size() : static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  void expect(char wanted) noexcept {
    if (!skip(wanted)) failed_ = true;
  }
  [[nodiscard]] bool skip(char wanted) noexcept {
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }
  [[nodiscard]] bool at(char c) const noexcept { return !rest_.empty() && rest_.front() == c; }
  [[nodiscard]] bool going() const noexcept { return !failed_ && !rest_.empty(); }
  [[nodiscard]] bool done() const noexcept { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace detail

inline std::string epoch_text(const Epoch& epoch) {
  std::string out = std::to_string(epoch.revision) + '|' + std::to_string(epoch.baseline) + ':' +
                    std::to_string(epoch.baseline_points) + '|';
  for (const Candidate& each : epoch.candidates) {
    if (out.back() != '|') out += ' ';
    out += std::to_string(each.number) + ':' + std::to_string(each.points) + ':' + std::to_string(each.since);
  }
  const Frozen& frozen = epoch.frozen;
  out += '|' + std::to_string(frozen.outcomes);
  for (const double value : {frozen.success_mean, frozen.score_mean, frozen.score_variance, frozen.cost_cap_microusd,
                             frozen.cost_mean, frozen.cost_variance}) {
    out += ' ';
    detail::put_double(out, value);
  }
  out += '|';
  for (const std::uint32_t value : frozen.latency_us) {
    if (out.back() != '|') out += ' ';
    out += std::to_string(value);
  }
  return out;
}

inline std::optional<Epoch> parse_epoch(std::string_view text) {
  detail::EpochReader in{text};
  Epoch epoch;
  epoch.revision = in.take<std::uint32_t>();
  in.expect('|');
  epoch.baseline = in.take<std::uint32_t>();
  in.expect(':');
  epoch.baseline_points = in.take<std::uint64_t>();
  in.expect('|');
  while (in.going() && !in.at('|')) {
    if (!epoch.candidates.empty()) in.expect(' ');
    Candidate each;
    each.number = in.take<std::uint32_t>();
    in.expect(':');
    each.points = in.take<std::uint64_t>();
    in.expect(':');
    each.since = in.take<std::uint32_t>();
    epoch.candidates.push_back(each);
  }
  in.expect('|');
  Frozen& frozen = epoch.frozen;
  frozen.outcomes = in.take<std::uint64_t>();
  for (double* value : {&frozen.success_mean, &frozen.score_mean, &frozen.score_variance, &frozen.cost_cap_microusd,
                        &frozen.cost_mean, &frozen.cost_variance}) {
    in.expect(' ');
    *value = in.take<double>();
  }
  in.expect('|');
  while (in.going()) {
    if (!frozen.latency_us.empty()) in.expect(' ');
    frozen.latency_us.push_back(in.take<std::uint32_t>());
  }
  const bool rising = std::adjacent_find(frozen.latency_us.begin(), frozen.latency_us.end(),
                                         [](auto a, auto b) { return a >= b; }) == frozen.latency_us.end();
  if (!in.done() || !rising || frozen.latency_us.size() > 64) return {};
  return epoch;
}

}  // namespace canary
