// sample_ratio.hpp: does each arm have its share of the records? An e-value against the split that is known. Layer control.
//
// A beta-binomial against the known share pi, with the weight of k observations on pi itself:
//
//   E = B(k pi + c, k (1 - pi) + s) / B(k pi, k (1 - pi)) / (pi^c (1 - pi)^s)
//
// Differences of lgamma lose it: 2.7e-9 off at 1e7 counts, thousands off near 2^63. Here Stirling's main terms are
// subtracted on paper, so that what is left is small where the answer is: 1e-9 at 1e10 counts, finite below 2^64.
// Cost: some fifty operations and about ten logarithms.   Source: Lindon & Malek 2022; docs/decisions/0011-guard.md
#pragma once

#include <cmath>
#include <cstdint>

namespace canary {

inline constexpr double sample_ratio_weight = 1'000;
inline constexpr double sample_ratio_alpha = 0.001;

/// Log of the e-value against "each record is the candidate's with a chance of `share`". Those of several epochs add up.
/// Input   any counts; a share of 0 or 1 is no evidence.
[[nodiscard]] double log_sample_ratio(double share, std::uint64_t candidate, std::uint64_t baseline) noexcept;

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// lgamma(x) - ((x - 1/2) log x - x + log(2 pi)/2), for x > 0: what Stirling's formula leaves out.
[[nodiscard]] inline double stirling_rest(double x) noexcept {
  double rest = 0;
  for (; x < 10; ++x) {  // rest(x) = rest(x + 1) + (x + 1/2) log(1 + 1/x) - 1
    const double log = x < 0.5 ? std::log1p(x) - std::log(x) : std::log1p(1 / x);
    rest += (x + 0.5) * log - 1;
  }
  const double y = 1 / x;
  const double z = y * y;
  return rest +
         y * (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188 - z * 691 / 360360)))));
}

/// One arm's part: expected * ((1 + u) log(1 + u) - u) - log(1 + u)/2, where (1 + u) = with_prior/expected and
/// `surplus` = with_prior - expected, which the caller knows better than by subtracting.
[[nodiscard]] inline double arm_surprise(double with_prior, double log_expected, double expected,
                                         double surplus) noexcept {
  const double u = surplus / expected;
  if (std::abs(u) < 0.01) {  // the series, where the difference would cancel
    double sum = 0;
    for (int i = 10; i != 1; --i) sum = (i % 2 == 0 ? 1.0 : -1.0) / (i * (i - 1)) + u * sum;
    return surplus * u * sum - std::log1p(u) / 2;
  }
  const double log = std::abs(u) < 0.5 ? std::log1p(u) : std::log(with_prior) - log_expected;
  return with_prior * log - surplus - log / 2;
}

}  // namespace detail

inline double log_sample_ratio(double share, std::uint64_t candidate, std::uint64_t baseline) noexcept {
  if (!(share > 0 && share < 1) || (candidate == 0 && baseline == 0)) return 0;
  constexpr double k = sample_ratio_weight;
  const double rest = 1 - share;
  const auto c = static_cast<double>(candidate);
  const auto s = static_cast<double>(baseline);
  const double n = c + s;
  const double all = k + n;
  const double surplus = share <= 0.5 ? std::fma(-share, n, c) : -std::fma(-rest, n, s);
  const double log_all = std::log(all);
  const double candidate_part = detail::arm_surprise(k * share + c, std::log(share) + log_all, share * all, surplus);
  const double baseline_part = detail::arm_surprise(k * rest + s, std::log1p(-share) + log_all, rest * all, -surplus);
  return candidate_part + baseline_part - std::log1p(n / k) / 2 +                     //
         (detail::stirling_rest(k * share + c) - detail::stirling_rest(k * share)) +  //
         (detail::stirling_rest(k * rest + s) - detail::stirling_rest(k * rest)) -    //
         (detail::stirling_rest(all) - detail::stirling_rest(k));
}

}  // namespace canary
