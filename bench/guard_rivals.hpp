// guard_rivals.hpp: ways to decide whether a canary is worse, from their published formulas, one observation at a time.
//
//   repeated z       two proportions, one-sided at .05, a look after every request from 100 on
//   Flagger          windows of 1,000 requests; the canary 2 points below the known rate is a failed check, five end it
//   Mann-Whitney     as Kayenta's judge: windows of 20 points of 1,000 requests, 98 % confidence
//   Pocock           group sequential, 20 looks, one-sided .05: the constant 2.392 (Jennison & Turnbull, table 2.1)
//   mSPRT            Johari, Koomen, Pekelis, Walsh 2017; normal mixture of standard deviation .05
//   GrowthBook       its sequential test: asymptotic confidence sequence, one-sided, tuned for 5,000 (Waudby-Smith et al. 2021)
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "canary/control/game.hpp"

namespace canary::bench {

/// Sees every request in turn and says when it would roll back.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;
  /// The share changes. Mean and variance are the baseline's, from before.
  virtual void epoch(double /*share*/, double /*mean*/, double /*variance*/) {}
  virtual bool see(Arm arm, double value) = 0;
};

/// Sums of both arms.
struct Sums {
  std::array<double, 2> count{};
  std::array<double, 2> sum{};
  std::array<double, 2> squares{};

  void add(Arm arm, double value) {
    const auto i = static_cast<std::size_t>(arm);
    count[i] += 1;
    sum[i] += value;
    squares[i] += value * value;
  }
  [[nodiscard]] bool enough(double least) const { return count[0] >= least && count[1] >= least; }
  [[nodiscard]] double mean(std::size_t i) const { return sum[i] / count[i]; }
  [[nodiscard]] double variance(std::size_t i) const {
    return std::max(squares[i] / count[i] - mean(i) * mean(i), 0.0);
  }
  [[nodiscard]] double difference() const { return mean(1) - mean(0); }
  [[nodiscard]] double error2() const { return variance(0) / count[0] + variance(1) / count[1]; }
};

class RepeatedZ final : public Method {
 public:
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (sums_.count[0] + sums_.count[1] < 100 || !sums_.enough(2)) return false;
    const double pooled = (sums_.sum[0] + sums_.sum[1]) / (sums_.count[0] + sums_.count[1]);
    const double error2 = pooled * (1 - pooled) * (1 / sums_.count[0] + 1 / sums_.count[1]);
    return error2 > 0 && sums_.difference() < -1.645 * std::sqrt(error2);
  }

 private:
  Sums sums_;
};

class Flagger final : public Method {
 public:
  void epoch(double, double mean, double) override {
    if (known_ < 0) known_ = mean;
  }
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (++seen_ % 1'000 != 0) return false;
    if (sums_.count[1] > 0 && sums_.mean(1) < known_ - 0.02) ++failed_;
    sums_ = {};
    return failed_ >= 5;
  }

 private:
  double known_ = -1;
  Sums sums_;
  std::uint64_t seen_ = 0;
  int failed_ = 0;
};

class MannWhitney final : public Method {
 public:
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (++seen_ % 1'000 != 0) return false;
    if (sums_.enough(1)) {
      baseline_.push_back(sums_.mean(0));
      candidate_.push_back(sums_.mean(1));
    }
    sums_ = {};
    if (seen_ % 20'000 != 0) return false;
    const bool worse = !baseline_.empty() && z() < -2.326;
    baseline_.clear();
    candidate_.clear();
    return worse;
  }

 private:
  [[nodiscard]] double z() const {
    double u = 0;
    for (const double b : baseline_)
      for (const double c : candidate_) u += c > b ? 1 : c == b ? 0.5 : 0;
    std::vector<double> all = baseline_;
    all.insert(all.end(), candidate_.begin(), candidate_.end());
    std::sort(all.begin(), all.end());
    const auto n = static_cast<double>(baseline_.size());
    const double both = 2 * n;
    double ties = 0;
    for (std::size_t i = 0; i != all.size();) {
      std::size_t end = i;
      while (end != all.size() && all[end] == all[i]) ++end;
      const auto t = static_cast<double>(end - i);
      ties += t * t * t - t;
      i = end;
    }
    const double variance = n * n / 12 * (both + 1 - ties / (both * (both - 1)));
    return variance > 0 ? (u - n * n / 2 + 0.5) / std::sqrt(variance) : 0;
  }

  Sums sums_;
  std::vector<double> baseline_, candidate_;
  std::uint64_t seen_ = 0;
};

class Pocock final : public Method {
 public:
  explicit Pocock(std::uint64_t total) : look_{total / 20} {}
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (++seen_ % look_ != 0 || !sums_.enough(2)) return false;
    const double error2 = sums_.error2();
    return error2 > 0 && sums_.difference() < -2.392 * std::sqrt(error2);
  }

 private:
  std::uint64_t look_;
  std::uint64_t seen_ = 0;
  Sums sums_;
};

class Msprt final : public Method {
 public:
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (!sums_.enough(10)) return false;
    constexpr double tau2 = 0.05 * 0.05;
    const double difference = sums_.difference();
    const double v = sums_.error2();
    if (!(difference < 0) || !(v > 0)) return false;
    const double log = 0.5 * std::log(v / (v + tau2)) + tau2 * difference * difference / (2 * v * (v + tau2));
    return log >= 2.9957;  // log 20
  }

 private:
  Sums sums_;
};

class GrowthBook final : public Method {
 public:
  bool see(Arm arm, double value) override {
    sums_.add(arm, value);
    if (!sums_.enough(10)) return false;
    const double difference = sums_.difference();
    if (!(difference < 0)) return false;
    constexpr double alpha = 0.05;
    static const double rho2 = (-2 * std::log(2 * alpha) + std::log(-2 * std::log(2 * alpha) + 1)) / 5'000;
    const double n = sums_.count[0] + sums_.count[1];
    const double half = std::sqrt(sums_.error2() * n * 2 * (n * rho2 + 1) / (n * n * rho2) *
                                  std::log(1 + std::sqrt(n * rho2 + 1) / (2 * alpha)));
    return sums_.error2() > 0 && difference + half < 0;
  }

 private:
  Sums sums_;
};

/// Success or failure.
inline Stratum success_stratum(double share, double mean, double variance) {
  Stratum made{.share = share, .centre = mean, .variance = variance};
  made.add({0});
  made.add({1});
  return made;
}

struct OursOptions {
  double alpha = 0.05;
  double tolerance = 0;
  bool restarts = true;         ///< at each epoch
  std::uint64_t snapshots = 0;  ///< one each so many observations; 0: none
};

/// The guard's own games, with what it keeps for damage that comes late.
class Ours final : public Method {
 public:
  explicit Ours(const OursOptions& options = {}) : options_{options} {}
  void epoch(double share, double mean, double variance) override {
    now_ = success_stratum(share, mean, variance);
    for (Late& each : games_) each.game.next(now_, options_.tolerance, Claim::no_harm);
    start(games_.empty() ? 0.9 : options_.restarts ? late(epochs_) : 0);
    ++epochs_;
  }
  bool see(Arm arm, double value) override {
    double capital = 0;
    for (Late& each : games_) capital += each.weight * each.game.see(arm, value >= 0.5 ? 1 : 0);
    capital_ = capital;
    ++seen_;
    if (options_.snapshots != 0 && seen_ % options_.snapshots == 0) start(late(seen_ / options_.snapshots));
    return capital >= 1 / options_.alpha;
  }
  [[nodiscard]] double capital() const { return capital_; }

 private:
  struct Late {
    double weight;
    Game game;
  };
  [[nodiscard]] static double late(std::uint64_t k) {
    return 0.05 / (static_cast<double>(k) * static_cast<double>(k + 1));
  }
  void start(double weight) {
    if (weight > 0) games_.push_back({weight, Game{now_, options_.tolerance, Claim::no_harm}});
  }

  OursOptions options_;
  Stratum now_;
  std::vector<Late> games_;
  std::uint64_t epochs_ = 0;
  std::uint64_t seen_ = 0;
  double capital_ = 1;
};

/// Other ways to bet, that were tried against ours.
struct VariantOptions {
  std::vector<double> sizes;
  bool running_centre = false;  ///< the baseline's mean and variance so far, from before each observation
  bool ratio_half = false;      ///< half of the capital on the ratio of failures
  bool one_adaptive = false;    ///< a single bet, of the size that would have done best so far
};

class Variant final : public Method {
 public:
  explicit Variant(VariantOptions options) : options_{std::move(options)}, capitals_(options_.sizes.size(), 1.0) {}
  void epoch(double share, double mean, double variance) override {
    share_ = share;
    centre_ = mean;
    variance_ = std::max(variance, 1e-4);
  }
  bool see(Arm arm, double value) override {
    if (options_.running_centre && base_.count[0] > 200) {
      centre_ = base_.mean(0);
      variance_ = std::max(centre_ * (1 - centre_), 1e-4);
    }
    const double scale = share_ * (1 - share_);
    const double gain = arm == Arm::candidate ? -(value - centre_) * (1 - share_) : (value - centre_) * share_;
    const double worst = std::max((1 - centre_) * (1 - share_), centre_ * share_);
    double sum = 0;
    if (options_.one_adaptive) {
      const double mean = moments_[0] > 50 ? moments_[1] / moments_[0] : 0;
      const double square = moments_[0] > 50 ? moments_[2] / moments_[0] : variance_ * scale;
      const double bet = std::clamp(mean / square, 0.0, 0.5 / worst);
      capitals_[0] *= 1 + bet * gain;
      sum = capitals_[0];
      moments_[0] += 1;
      moments_[1] += gain;
      moments_[2] += gain * gain;
    } else {
      for (std::size_t j = 0; j != capitals_.size(); ++j)
        sum += capitals_[j] *= 1 + std::min(options_.sizes[j] / variance_, 0.95 / worst) * gain;
      sum /= static_cast<double>(capitals_.size());
    }
    if (options_.ratio_half) {
      if (value < 0.5)
        for (std::size_t j = 0; j != ratios_.size(); ++j) {
          const double m = 1.05 * std::pow(16 / 1.05, static_cast<double>(j) / 11);
          const double both = share_ * m + 1 - share_;
          ratios_[j] *= arm == Arm::candidate ? m / both : 1 / both;
        }
      double ratio = 0;
      for (const double each : ratios_) ratio += each / 12;
      sum = (sum + ratio) / 2;
    }
    base_.add(arm, value);
    if (++seen_ % 64 == 0)
      for (double& each : capitals_)
        if (each < 1e-200) each = 0;
    return sum >= 20;
  }

 private:
  VariantOptions options_;
  std::vector<double> capitals_;
  std::array<double, 12> ratios_{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  std::array<double, 3> moments_{};
  Sums base_;
  double share_ = 0.1, centre_ = 0.5, variance_ = 0.25;
  std::uint64_t seen_ = 0;
};

}  // namespace canary::bench
