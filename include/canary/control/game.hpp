// game.hpp: the bets of e_value.hpp, played one observation after the other. Layer control.
//
// For replays and simulations, which look after every request: the factors are worked out once, an observation is sixteen
// multiplications. Capitals are numbers here, not logarithms. One that has sunk below 1e-200 is given up: it would need a
// gain of as much to matter again.
// Cost: some 8 ns an observation; nothing allocates after the start.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "canary/control/e_value.hpp"
#include "canary/control/evidence.hpp"

namespace canary {

class Game {
 public:
  /// Input   share, centre, variance and the values of a stratum; its counts play no part.
  Game(const Stratum& stratum, double tolerance, Claim claim);

  /// Goes on with its capital in the next epoch, whose stratum has as many values.
  void next(const Stratum& stratum, double tolerance, Claim claim);
  /// Sees a value, by its cell; returns the capital.
  double see(Arm arm, std::size_t cell) noexcept;
  [[nodiscard]] double capital() const noexcept { return sum_ / bets; }

 private:
  using Factors = std::array<double, bets>;
  std::vector<Factors> factors_;  // by cell, the baseline's first
  std::array<double, bets> capitals_;
  double sum_ = bets;
  std::uint32_t seen_ = 0;
  std::size_t cells_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline Game::Game(const Stratum& stratum, double tolerance, Claim claim) : cells_{stratum.size} {
  capitals_.fill(1);
  next(stratum, tolerance, claim);
}

inline void Game::next(const Stratum& stratum, double tolerance, Claim claim) {
  factors_.resize(2 * cells_);
  for (Factors& each : factors_) each.fill(1);
  if (!stratum.compares() || stratum.size != cells_) return;
  const detail::Stakes stakes{stratum, tolerance, claim};
  const double worst = stakes.worst(stratum.used().front().value, stratum.used().back().value);
  for (std::size_t j = 0; j != bets; ++j) {
    const double bet = detail::capped(detail::bet_sizes[j], detail::usable_variance(stratum.variance), worst);
    for (std::size_t i = 0; i != cells_; ++i) {
      factors_[i][j] = 1 + bet * stakes.baseline(stratum.cells[i].value);
      factors_[cells_ + i][j] = 1 + bet * stakes.candidate(stratum.cells[i].value);
    }
  }
}

inline double Game::see(Arm arm, std::size_t cell) noexcept {
  const Factors& factors = factors_[arm == Arm::candidate ? cells_ + cell : cell];
  std::array<double, 4> sums{};
  for (std::size_t j = 0; j != bets; ++j) sums[j % 4] += capitals_[j] *= factors[j];
  sum_ = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  if (++seen_ % 64 == 0)  // or numbers too small for the processor would make each step ten times as slow
    for (double& each : capitals_)
      if (each < 1e-200) each = 0;
  return sum_ / bets;
}

}  // namespace canary
