// latency_thresholds.hpp: which latencies of the two arms are compared: the baseline's frozen percentiles, and where the
// candidate's must lie for a ratio that is tolerated. Layer control; a part of guard_strata.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/e_value.hpp"
#include "canary/control/epoch.hpp"

namespace canary {

/// Two thresholds that are compared.
struct ThresholdPair {
  std::size_t baseline = 0;   ///< place in Frozen::latency_us
  std::size_t candidate = 0;  ///< that with the margin
  double share = 0.5;         ///< of the baseline's requests that should be at most that
};

/// Which thresholds a metric of latency compares in an epoch; at most five.
/// Where the margins have changed since the epoch opened, the candidate gets the next threshold above (to roll back, so
/// that never less is tolerated than was asked for) or below (to advance).
[[nodiscard]] std::vector<ThresholdPair> threshold_pairs(const MetricConfig& metric, std::span<const MetricConfig> all,
                                                         const Frozen& frozen, Claim claim);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// The place of T (1 + margin) among thresholds, of which each was cut to an integer; size() if it is not there.
[[nodiscard]] inline std::size_t place_of(std::span<const std::uint32_t> thresholds, double base,
                                          double margin) noexcept {
  const double wanted = base * (1 + margin);
  std::size_t best = thresholds.size();
  for (std::size_t i = 0; i != thresholds.size(); ++i) {
    const double off = thresholds[i] - wanted;
    if (off <= -1 || off > 1 + margin) continue;
    if (best == thresholds.size() || std::abs(off) < std::abs(thresholds[best] - wanted)) best = i;
  }
  return best;
}

/// The places of the frozen percentiles themselves: those that stand there with every margin, too.
[[nodiscard]] inline std::vector<std::size_t> percentile_places(std::span<const MetricConfig> all,
                                                                const Frozen& frozen) {
  const std::span<const std::uint32_t> thresholds{frozen.latency_us};
  std::vector<std::size_t> any;
  std::vector<std::size_t> sure;
  for (std::size_t i = 0; i != thresholds.size(); ++i) {
    bool with_all = true;
    bool slo = false;
    for (const MetricConfig& each : all) {
      if (each.kind != MetricKind::latency) continue;
      slo = slo || (each.slo_us != 0 && each.slo_us == thresholds[i]);
      with_all = with_all && place_of(thresholds, thresholds[i], each.margin) != thresholds.size();
    }
    if (!slo) any.push_back(i);
    if (!slo && with_all) sure.push_back(i);
  }
  std::vector<std::size_t>& places = sure.empty() ? any : sure;
  if (places.size() > latency_quantiles.size()) {  // other margins than now: some of them, evenly
    std::vector<std::size_t> some;
    for (std::size_t i = 0; i != latency_quantiles.size(); ++i)
      some.push_back(places[i * (places.size() - 1) / (latency_quantiles.size() - 1)]);
    return some;
  }
  return places;
}

}  // namespace detail

inline std::vector<ThresholdPair> threshold_pairs(const MetricConfig& metric, std::span<const MetricConfig> all,
                                                  const Frozen& frozen, Claim claim) {
  const std::span<const std::uint32_t> thresholds{frozen.latency_us};
  const std::vector<std::size_t> places = detail::percentile_places(all, frozen);
  const auto quantile = [&](std::size_t nth) {  // of the nth place; all five are there unless some coincide
    const std::size_t last = latency_quantiles.size() - 1;
    return places.size() < 2 ? latency_quantiles[0] : latency_quantiles[nth * last / (places.size() - 1)];
  };
  std::vector<ThresholdPair> pairs;
  if (metric.slo_us != 0) {
    const auto at = std::find(thresholds.begin(), thresholds.end(), metric.slo_us);
    if (at == thresholds.end()) return pairs;
    const auto place = static_cast<std::size_t>(at - thresholds.begin());
    double share = 0.5;
    for (std::size_t i = 0; i != places.size(); ++i)
      if (places[i] <= place) share = quantile(i);
    pairs.push_back({place, place, share});
    return pairs;
  }
  for (std::size_t i = 0; i != places.size(); ++i) {
    const double base = thresholds[places[i]];
    std::size_t with_margin = detail::place_of(thresholds, base, metric.margin);
    if (with_margin == thresholds.size()) {
      const double wanted = base * (1 + metric.margin);
      const auto above =
          std::find_if(thresholds.begin(), thresholds.end(), [&](double each) { return each >= wanted; });
      with_margin = static_cast<std::size_t>(above - thresholds.begin());
      if (claim == Claim::harm)
        --with_margin;  // `base` itself lies below
      else if (above == thresholds.end())
        continue;
    }
    pairs.push_back({places[i], with_margin, quantile(i)});
  }
  return pairs;
}

}  // namespace canary
