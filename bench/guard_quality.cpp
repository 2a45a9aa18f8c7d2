// guard_quality: how often the guard takes back what does no harm, how soon what does, beside six published rivals.
//
//   guard_quality [--quick] [--check] [--out FILE] [--threads N] [--only WORD]
//
// Streams are simulated with fixed seeds: every method sees the same requests, one after the other, 10 % of them the
// canary's, alpha .05, no tolerance, at most 100,000 requests, unless a row says otherwise. A delay is the median over all
// runs, with those that found nothing as the longest. `--check` fails if the guard breaks its promises:
//
//   false rollbacks: the upper bound (Wilson, 95 %) at most 1.2 alpha in every scenario
//   delays at p = .90 for 2, 5, 10 points: at most a tenth above 20,000, 3,400, 983, and before every valid rival at 5, 10
//   1,000 tasks with 4 metrics and 3 candidates each are judged in less than 50 ms
//
// --quick: fewer runs, under half a minute on one processor. The check then asks that no lower bound lies above alpha, and
// gives delays a fifth.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "canary/control/guard.hpp"
#include "canary/control/guard_plan.hpp"
#include "canary/control/guard_replay.hpp"
#include "guard_rivals.hpp"

namespace canary::bench {
namespace {

using detail::Draws;

double uniform(Draws& draw) { return static_cast<double>(draw() >> 11) * 0x1p-53; }

double normal(Draws& draw) {
  return std::sqrt(-2 * std::log(1 - uniform(draw))) * std::cos(6.283185307179586 * uniform(draw));
}

// --- runs -----------------------------------------------------------------------------------------------------------

struct Settings {
  bool quick = false;
  bool check = false;
  std::string out;
  std::string only;
  unsigned threads = 2;
  [[nodiscard]] std::size_t runs(std::size_t full, std::size_t quick_runs) const { return quick ? quick_runs : full; }
};

using Make = std::function<std::unique_ptr<Method>()>;
struct Named {
  std::string name;
  Make make;
};

/// All methods at the same stream; each until it fires.
class Field {
 public:
  explicit Field(const std::vector<Named>& methods) : at_(methods.size(), 0) {
    for (const Named& each : methods) methods_.push_back(each.make());
  }
  void epoch(double share, double mean, double variance) {
    for (const auto& each : methods_) each->epoch(share, mean, variance);
  }
  /// False when everybody has fired.
  bool see(Arm arm, double value) {
    ++seen_;
    bool going = false;
    for (std::size_t i = 0; i != methods_.size(); ++i) {
      if (at_[i] != 0) continue;
      if (methods_[i]->see(arm, value))
        at_[i] = seen_;
      else
        going = true;
    }
    return going;
  }
  [[nodiscard]] const std::vector<std::uint64_t>& at() const { return at_; }
  [[nodiscard]] std::uint64_t seen() const { return seen_; }
  [[nodiscard]] Method& method(std::size_t i) { return *methods_[i]; }

 private:
  std::vector<std::unique_ptr<Method>> methods_;
  std::vector<std::uint64_t> at_;
  std::uint64_t seen_ = 0;
};

/// When each run fired; 0: never.
struct Times {
  std::vector<std::uint64_t> at;
  [[nodiscard]] std::size_t fired() const {
    return static_cast<std::size_t>(std::count_if(at.begin(), at.end(), [](auto each) { return each != 0; }));
  }
  [[nodiscard]] double share() const { return static_cast<double>(fired()) / static_cast<double>(at.size()); }
  /// Ends of Wilson's interval, 95 %.
  [[nodiscard]] double upper() const { return wilson(1.959964); }
  [[nodiscard]] double lower() const { return wilson(-1.959964); }
  [[nodiscard]] double wilson(double z) const {
    const auto n = static_cast<double>(at.size());
    const double p = share();
    return (p + z * z / (2 * n) + z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n);
  }
  [[nodiscard]] double median() const {
    std::vector<double> sorted;
    for (const std::uint64_t each : at) sorted.push_back(each == 0 ? HUGE_VAL : static_cast<double>(each));
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

template <class Body>
void in_parallel(unsigned threads, std::size_t count, Body&& body) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::thread> pool;
  for (unsigned i = 1; i < threads; ++i) pool.emplace_back(work);
  work();
  for (std::thread& each : pool) each.join();
}

using Stream = std::function<void(Draws&, Field&)>;

std::vector<Times> run(const Settings& settings, const std::vector<Named>& methods, std::size_t runs,
                       std::uint64_t seed, const Stream& stream) {
  std::vector<Times> times(methods.size());
  for (Times& each : times) each.at.resize(runs);
  in_parallel(settings.threads, runs, [&](std::size_t nth) {
    Draws draw{detail::mix(seed * 1'000'003 + 1) ^ detail::mix(~nth)};
    Field field{methods};
    stream(draw, field);
    for (std::size_t i = 0; i != methods.size(); ++i) times[i].at[nth] = field.at()[i];
  });
  return times;
}

// --- streams --------------------------------------------------------------------------------------------------------

/// Mean and variance as they are frozen: from 2,000 outcomes of the baseline.
void freeze_epoch(Draws& draw, Field& field, double share, double p) {
  double mean = 0;
  for (int i = 0; i != 2'000; ++i) mean += uniform(draw) < p ? 1.0 / 2'000 : 0;
  field.epoch(share, mean, mean * (1 - mean));
}

Stream iid(double p, double drop, double share = 0.1, std::uint64_t requests = 100'000) {
  return [=](Draws& draw, Field& field) {
    freeze_epoch(draw, field, share, p);
    for (std::uint64_t i = 0; i != requests; ++i) {
      const Arm arm = uniform(draw) < share ? Arm::candidate : Arm::baseline;
      if (!field.see(arm, uniform(draw) < (arm == Arm::candidate ? p - drop : p) ? 1 : 0)) return;
    }
  };
}

constexpr std::array<double, 5> ramp_shares{0.01, 0.05, 0.10, 0.25, 0.50};

/// Both arms alike, the base goes its way, the share rises from 1 to 50 %.
Stream drifting(double from, double to, double swing) {
  return [=](Draws& draw, Field& field) {
    const std::uint64_t each = 20'000;
    const auto base = [&](double at) {
      return std::clamp(from + (to - from) * at + swing * std::sin(40 * at), 0.001, 0.999);
    };
    for (std::size_t step = 0; step != ramp_shares.size(); ++step) {
      freeze_epoch(draw, field, ramp_shares[step], base(static_cast<double>(step) / ramp_shares.size()));
      for (std::uint64_t i = 0; i != each; ++i) {
        const double at = static_cast<double>(step * each + i) / (each * ramp_shares.size());
        const Arm arm = uniform(draw) < ramp_shares[step] ? Arm::candidate : Arm::baseline;
        if (!field.see(arm, uniform(draw) < base(at) ? 1 : 0)) return;
      }
    }
  };
}

enum class CountAs { request, unit_per_step, unit_per_life };

/// A unit's own rate: two-point mixture with the wanted correlation between its outcomes; p = .9.
double unit_rate(Draws& draw, double icc) {
  const double spread = std::sqrt(icc * 0.9 * 0.1);
  // Two points around .9, unevenly, so that both stay within [0, 1].
  const double below = std::min(0.9, spread * 3);
  const double chance = spread * spread / (below * below + spread * spread);
  return uniform(draw) < chance ? 0.9 - below : std::min(1.0, 0.9 + spread * spread / below);
}

/// Sticky units, both arms alike: a ramp of equal steps up to 50 % on fixed points, so that units are never drawn again.
Stream sticky(std::size_t units, double icc, std::size_t steps, std::uint64_t each, CountAs as) {
  return [=](Draws& draw, Field& field) {
    struct Unit {
      double point;
      double rate;
      std::size_t counted;
    };
    std::vector<Unit> all(units);
    for (Unit& unit : all) unit = {uniform(draw), unit_rate(draw, icc), 0};
    for (std::size_t step = 1; step <= steps; ++step) {
      const double share = 0.5 * static_cast<double>(step) / static_cast<double>(steps);
      freeze_epoch(draw, field, share, 0.9);
      for (std::uint64_t i = 0; i != each; ++i) {
        Unit& unit = all[detail::place_in(draw(), units)];
        const double value = uniform(draw) < unit.rate ? 1 : 0;
        if (as == CountAs::unit_per_life && unit.counted != 0) continue;
        if (as == CountAs::unit_per_step && unit.counted == step) continue;
        unit.counted = step;
        if (!field.see(unit.point < share ? Arm::candidate : Arm::baseline, value)) return;
      }
    }
  };
}

/// Alike for so long, then so much worse.
Stream late_damage(double p, double drop, std::uint64_t fine) {
  return [=](Draws& draw, Field& field) {
    freeze_epoch(draw, field, 0.1, p);
    for (std::uint64_t i = 0; i != fine + 100'000; ++i) {
      const Arm arm = uniform(draw) < 0.1 ? Arm::candidate : Arm::baseline;
      if (!field.see(arm, uniform(draw) < (arm == Arm::candidate && i >= fine ? p - drop : p) ? 1 : 0)) return;
    }
  };
}

/// Some outcomes of the canary never come, and count as failures.
Stream missing(double p, double lost) {
  return [=](Draws& draw, Field& field) {
    freeze_epoch(draw, field, 0.1, p);
    for (std::uint64_t i = 0; i != 100'000; ++i) {
      const Arm arm = uniform(draw) < 0.1 ? Arm::candidate : Arm::baseline;
      const bool gone = arm == Arm::candidate && uniform(draw) < lost;
      if (!field.see(arm, !gone && uniform(draw) < p ? 1 : 0)) return;
    }
  };
}

/// Fires when the records of the canary contradict its share; a look every ten records.
class Mismatch final : public Method {
 public:
  void epoch(double share, double, double) override { share_ = share; }
  bool see(Arm arm, double) override {
    ++counts_[static_cast<std::size_t>(arm)];
    return (counts_[0] + counts_[1]) % 10 == 0 &&
           log_sample_ratio(share_, counts_[1], counts_[0]) >= -std::log(sample_ratio_alpha);
  }

 private:
  double share_ = 0;
  std::array<std::uint64_t, 2> counts_{};
};

/// Some records of the canary never come, not even its assignment. Delays count the requests, not the records.
std::vector<std::uint64_t> lost_records(Draws& draw, double lost) {
  Mismatch mismatch;
  mismatch.epoch(0.1, 0, 0);
  for (std::uint64_t i = 1; i <= 100'000; ++i) {
    const Arm arm = uniform(draw) < 0.1 ? Arm::candidate : Arm::baseline;
    if (arm == Arm::candidate && uniform(draw) < lost) continue;
    if (mismatch.see(arm, 0)) return {i};
  }
  return {0};
}

// --- results --------------------------------------------------------------------------------------------------------

struct Row {
  std::string scenario;
  std::string method;
  bool null;  ///< no harm: firing is false
  double alpha;
  Times times;
};

class Report {
 public:
  explicit Report(const Settings& settings) : settings_{settings} {}

  void add(std::string scenario, const std::vector<Named>& methods, std::vector<Times> times, bool null,
           double alpha = 0.05) {
    for (std::size_t i = 0; i != methods.size(); ++i)
      rows_.push_back({scenario, methods[i].name, null, alpha, std::move(times[i])});
  }
  void add(std::string scenario, std::string method, Times times, bool null, double alpha = 0.05) {
    rows_.push_back({std::move(scenario), std::move(method), null, alpha, std::move(times)});
  }
  void note(std::string text) { notes_.push_back(std::move(text)); }

  [[nodiscard]] const Row* find(std::string_view scenario, std::string_view method) const {
    for (const Row& each : rows_)
      if (each.scenario == scenario && each.method == method) return &each;
    return nullptr;
  }

  void print() const {
    std::vector<std::string> methods;
    for (const Row& row : rows_)
      if (std::find(methods.begin(), methods.end(), row.method) == methods.end()) methods.push_back(row.method);
    std::string last;
    std::puts(
        "| scenario | method | runs | fired | upper 95 % | median delay |\n| --- | --- | --- | --- | --- | --- |");
    for (const Row& row : rows_) {
      const double median = row.times.median();
      std::printf("| %s | %s | %zu | %.2f %% | %.2f %% | %s |\n", row.scenario == last ? "" : row.scenario.c_str(),
                  row.method.c_str(), row.times.at.size(), 100 * row.times.share(), 100 * row.times.upper(),
                  row.null || median == HUGE_VAL ? "" : number(median).c_str());
      last = row.scenario;
    }
    for (const std::string& each : notes_) std::printf("\n%s\n", each.c_str());
  }

  [[nodiscard]] bool write() const {
    if (settings_.out.empty()) return true;
    std::FILE* file = std::fopen(settings_.out.c_str(), "w");
    if (file == nullptr) return false;
    std::fputs("{\"rows\":[", file);
    for (std::size_t i = 0; i != rows_.size(); ++i) {
      const Row& row = rows_[i];
      const double median = row.times.median();
      std::fprintf(file,
                   "%s\n{\"scenario\":\"%s\",\"method\":\"%s\",\"null\":%s,\"alpha\":%g,\"runs\":%zu,\"fired\":%zu,"
                   "\"upper\":%.5f,\"median\":%s}",
                   i == 0 ? "" : ",", row.scenario.c_str(), row.method.c_str(), row.null ? "true" : "false", row.alpha,
                   row.times.at.size(), row.times.fired(), row.times.upper(),
                   median == HUGE_VAL ? "null" : number(median).c_str());
    }
    std::fputs("\n],\"notes\":[", file);
    for (std::size_t i = 0; i != notes_.size(); ++i)
      std::fprintf(file, "%s\"%s\"", i == 0 ? "" : ",", notes_[i].c_str());
    std::fputs("]}\n", file);
    return std::fclose(file) == 0;
  }

  /// Every broken promise, one a line.
  [[nodiscard]] std::vector<std::string> broken() const {
    std::vector<std::string> out = broken_;
    for (const Row& row : rows_) {
      if (!row.null || row.method != "guard") continue;
      const bool fine = settings_.quick ? row.times.lower() <= row.alpha : row.times.upper() <= 1.2 * row.alpha;
      if (!fine)
        out.push_back(row.scenario + ": false in " + std::to_string(100 * row.times.share()) + " %, bound " +
                      std::to_string(100 * row.times.upper()) + " %");
    }
    const std::array<std::pair<const char*, double>, 3> wanted{
        {{"p .90, drop 2 pt", 20'000}, {"p .90, drop 5 pt", 3'400}, {"p .90, drop 10 pt", 983}}};
    for (const auto& [scenario, delay] : wanted) {
      const Row* ours = find(scenario, "guard");
      if (ours == nullptr) continue;
      if (ours->times.median() > (settings_.quick ? 1.2 : 1.1) * delay)
        out.push_back(std::string{scenario} + ": median " + number(ours->times.median()) + ", wanted " + number(delay));
      if (delay > 10'000) continue;
      for (const Row& row : rows_)
        if (row.scenario == scenario && row.method != "guard" && valid(row.method) &&
            row.times.median() <= ours->times.median())
          out.push_back(std::string{scenario} + ": " + row.method + " is faster, " + number(row.times.median()));
    }
    return out;
  }
  void breach(std::string text) { broken_.push_back(std::move(text)); }

  [[nodiscard]] static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.0f", value);
    return text;
  }

 private:
  /// Valid at least where nothing drifts, which is more than most rivals promise.
  [[nodiscard]] bool valid(const std::string& method) const {
    for (const char* scenario : {"p .60, no drop", "p .90, no drop", "p .99, no drop"}) {
      const Row* row = find(scenario, method);
      if (row == nullptr || row->times.share() > 0.06) return false;
    }
    return true;
  }

  const Settings& settings_;
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
  std::vector<std::string> broken_;
};

// --- scenarios ------------------------------------------------------------------------------------------------------

template <class Kind, class... Arguments>
Make made(const Arguments&... arguments) {
  return [=] { return std::make_unique<Kind>(arguments...); };
}

std::vector<Named> everybody() {
  return {{"guard", made<Ours>()},
          {"repeated z", made<RepeatedZ>()},
          {"Flagger", made<Flagger>()},
          {"Mann-Whitney", made<MannWhitney>()},
          {"Pocock", made<Pocock>(std::uint64_t{100'000})},
          {"mSPRT", made<Msprt>()},
          {"GrowthBook", made<GrowthBook>()}};
}

std::string points(double drop) { return drop == 0 ? "no drop" : "drop " + Report::number(100 * drop) + " pt"; }

std::string rate(double p) {
  char text[16];
  std::snprintf(text, sizeof text, "p .%02d", static_cast<int>(std::lround(100 * p)));
  return text;
}

void independent(const Settings& settings, Report& report) {
  std::uint64_t seed = 100;
  for (const double p : {0.60, 0.90, 0.99})
    for (const double drop : {0.0, 0.01, 0.02, 0.05, 0.10}) {
      if (settings.quick && drop == 0.01) continue;
      const std::vector<Named> methods = everybody();
      // Quick medians are exact enough where they are checked.
      const std::size_t quick = drop == 0 ? 100 : p == 0.90 || drop > 0.02 ? 400 : 60;
      const std::size_t runs = settings.runs(drop == 0 ? 4'000 : 2'000, quick);
      report.add(rate(p) + ", " + points(drop), methods, run(settings, methods, runs, ++seed, iid(p, drop)), drop == 0);
    }
}

void drift(const Settings& settings, Report& report) {
  std::uint64_t seed = 200;
  const std::vector<std::pair<const char*, Stream>> streams{{"ramp 1-50 %, base .95 to .85", drifting(0.95, 0.85, 0)},
                                                            {"ramp 1-50 %, base .85 to .95", drifting(0.85, 0.95, 0)},
                                                            {"ramp 1-50 %, base swings", drifting(0.92, 0.88, 0.04)}};
  for (const auto& [name, stream] : streams) {
    const std::vector<Named> methods = everybody();
    report.add(name, methods, run(settings, methods, settings.runs(3'000, 100), ++seed, stream), true);
  }
}

void sticky_units(const Settings& settings, Report& report) {
  std::uint64_t seed = 300;
  struct Case {
    std::size_t steps;
    double icc;
    std::size_t units;
    std::uint64_t each;
  };
  for (const Case& one : {Case{4, 0.3, 2'000, 12'500}, Case{12, 0.5, 2'000, 5'000}, Case{30, 0.3, 2'000, 5'000},
                          Case{30, 0.5, 20'000, 5'000}})
    for (const auto& [as, name] :
         {std::pair{CountAs::unit_per_life, "guard"}, std::pair{CountAs::unit_per_step, "unit once a step"},
          std::pair{CountAs::request, "every request"}}) {
      char text[96];
      std::snprintf(text, sizeof text, "%zu sticky units, %zu steps, ICC %.1f", one.units, one.steps, one.icc);
      const std::vector<Named> methods{{name, made<Ours>()}};
      report.add(text, methods,
                 run(settings, methods, settings.runs(2'000, 100), ++seed,
                     sticky(one.units, one.icc, one.steps, one.each, as)),
                 true);
    }
}

void late(const Settings& settings, Report& report) {
  const std::vector<Named> methods{{"guard with snapshots", made<Ours>(OursOptions{.snapshots = 10'000})},
                                   {"guard from the start alone", made<Ours>()},
                                   {"guard", made<Ours>(OursOptions{.snapshots = 10'000})}};
  for (const std::uint64_t fine : {50'000u, 200'000u})
    report.add(
        "5 pt worse after " + std::to_string(fine) + " requests (delay from the start)", {methods[0], methods[1]},
        run(settings, {methods[0], methods[1]}, settings.runs(600, 60), 400 + fine, late_damage(0.9, 0.05, fine)),
        false);
  report.add("snapshots each 10,000 requests, no drop", {methods[2]},
             run(settings, {methods[2]}, settings.runs(3'000, 160), 401, iid(0.9, 0)), true);
}

void losses(const Settings& settings, Report& report) {
  std::uint64_t seed = 500;
  for (const double lost : {0.01, 0.05, 0.10, 0.30}) {
    const std::vector<Named> methods{{"guard", made<Ours>()}};
    report.add(Report::number(100 * lost) + " % of the canary's outcomes missing", methods,
               run(settings, methods, settings.runs(600, 80), ++seed, missing(0.9, lost)), false);
  }
  for (const double lost : {0.0, 0.05, 0.10, 0.30}) {
    Times times;
    times.at.resize(settings.runs(lost == 0 ? 10'000 : 600, lost == 0 ? 60 : 30));
    ++seed;
    in_parallel(settings.threads, times.at.size(), [&](std::size_t nth) {
      Draws draw{detail::mix(seed) ^ detail::mix(~nth)};
      times.at[nth] = lost_records(draw, lost)[0];
    });
    report.add("sample ratio, " + Report::number(100 * lost) + " % of the canary's records lost", "guard",
               std::move(times), lost == 0, lost == 0 ? sample_ratio_alpha : 0.05);
  }
}

/// The replay that the tool offers, on rows whose arms differ by exactly what is said.
std::pair<Times, Times> replayed(const Settings& settings, const std::vector<ReplayRow>& rows, ReplayOptions options) {
  Times back;
  Times ahead;
  back.at.resize(options.repeat);
  ahead.at.resize(options.repeat);
  in_parallel(settings.threads, options.repeat, [&](std::size_t nth) {
    const ReplayRun one = replay_run(rows, options, nth);
    back.at[nth] = one.end == ReplayEnd::rolled_back ? one.requests : 0;
    ahead.at[nth] = one.end == ReplayEnd::advanced ? one.requests : 0;
  });
  return {back, ahead};
}

std::vector<ReplayRow> success_rows(double p, double drop) {
  std::vector<ReplayRow> rows;
  for (int i = 0; i != 1'000; ++i)
    rows.push_back({i < std::lround(1'000 * p) ? 1.0 : 0.0, i < std::lround(1'000 * (p - drop)) ? 1.0 : 0.0});
  return rows;
}

void other_kinds(const Settings& settings, Report& report) {
  ReplayOptions options{
      .kind = MetricKind::score, .margin = 0, .advance_margin = 0, .alpha_rollback = 0.05, .alpha_advance = 1e-300};
  Draws draw{detail::mix(600)};
  for (const double drop : {0.0, 0.01, 0.02, 0.05, 0.10}) {
    std::vector<ReplayRow> rows;
    for (int i = 0; i != 20'000; ++i) {
      const double score = std::clamp(0.8 + 0.1 * normal(draw), 0.1, 1.0);
      rows.push_back({score, score - drop});
    }
    options.repeat = drop == 0 ? settings.runs(3'000, 100) : settings.runs(600, 60);
    report.add("score .8 +- .1, " + points(drop), "guard", replayed(settings, rows, options).first, drop == 0);
  }
  options.kind = MetricKind::latency;
  for (const double slower : {1.0, 1.05, 1.1, 1.25, 1.5}) {
    std::vector<ReplayRow> rows;
    for (int i = 0; i != 20'000; ++i) {
      const double latency = 2e5 * std::exp(0.5 * normal(draw));
      rows.push_back({latency, latency * slower});
    }
    options.repeat = slower == 1 ? settings.runs(2'000, 100) : settings.runs(600, 60);
    char text[64];
    std::snprintf(text, sizeof text, "latency, lognormal .5, x%.2f", slower);
    report.add(text, "guard", replayed(settings, rows, options).first, slower == 1);
  }
}

void advances(const Settings& settings, Report& report) {
  ReplayOptions options{.margin = 1, .advance_margin = 0.02, .alpha_advance = 0.05};
  for (const double p : {0.90, 0.98}) {
    options.repeat = settings.runs(3'000, 160);
    report.add("advance at a true drop of the margin, 2 pt, " + rate(p), "guard",
               replayed(settings, success_rows(p, 0.02), options).second, true);
  }
  for (const std::uint32_t share : {100'000u, 500'000u})
    for (const double margin : {0.02, 0.03, 0.05}) {
      options.share_ppm = share;
      options.advance_margin = margin;
      options.repeat = settings.runs(600, 60);
      report.add("advance of an equal canary, margin " + Report::number(100 * margin) + " pt, share " +
                     Report::number(share / 10'000.0) + " %",
                 "guard", replayed(settings, success_rows(0.9, 0), options).second, false);
    }
}

/// The ramp as it is run: 1/5/10/25/50 %, each step left when its margin is ruled out over the whole life.
void ramps(const Settings& settings, Report& report) {
  const std::array<double, 5> margins{0.10, 0.06, 0.04, 0.03, 0.02};
  for (const double drop : {0.0, 0.05}) {
    Times promoted;
    Times back;
    const std::size_t runs = settings.runs(1'000, 60);
    promoted.at.resize(runs);
    back.at.resize(runs);
    in_parallel(settings.threads, runs, [&](std::size_t nth) {
      Draws draw{detail::mix(drop == 0 ? 701 : 702) ^ detail::mix(~nth)};
      Ours ours{{.alpha = 0.01, .tolerance = 0.005}};
      std::vector<Game> ahead;
      std::size_t step = 0;
      std::uint64_t candidates = 0;
      const auto base = [](std::uint64_t i) { return 0.92 + 0.03 * std::sin(static_cast<double>(i) / 8'000); };
      const auto begin = [&](std::uint64_t i) {
        double mean = 0;
        for (int k = 0; k != 2'000; ++k) mean += uniform(draw) < base(i) ? 1.0 / 2'000 : 0;
        const Stratum stratum = success_stratum(ramp_shares[step], mean, mean * (1 - mean));
        ours.epoch(ramp_shares[step], mean, mean * (1 - mean));
        for (std::size_t m = 0; m != margins.size(); ++m)
          if (ahead.size() <= m)
            ahead.emplace_back(stratum, margins[m], Claim::harm);
          else
            ahead[m].next(stratum, margins[m], Claim::harm);
      };
      begin(0);
      for (std::uint64_t i = 1; i <= 200'000; ++i) {
        const Arm arm = uniform(draw) < ramp_shares[step] ? Arm::candidate : Arm::baseline;
        candidates += arm == Arm::candidate ? 1 : 0;
        const std::size_t ok = uniform(draw) < base(i) - (arm == Arm::candidate ? drop : 0) ? 1 : 0;
        if (ours.see(arm, static_cast<double>(ok))) {
          back.at[nth] = std::max<std::uint64_t>(1, candidates);
          return;
        }
        for (Game& each : ahead) each.see(arm, ok);
        if (candidates < 100 || ahead[step].capital() < 20) continue;
        if (++step == ramp_shares.size()) {
          promoted.at[nth] = i;
          return;
        }
        begin(i);
      }
    });
    if (drop == 0) {
      report.add("whole ramp, equal canary: promoted (requests)", "guard", std::move(promoted), false);
      report.add("whole ramp, equal canary: rolled back", "guard", std::move(back), true, 0.01);
    } else {
      report.add("whole ramp, 5 pt worse: promoted", "guard", std::move(promoted), true);
      report.add("whole ramp, 5 pt worse: rolled back (canary requests)", "guard", std::move(back), false);
    }
  }
}

/// What else was tried as a bet. The first is what the guard does.
void variants(const Settings& settings, Report& report) {
  const auto grid = [](double from, double to, std::size_t count) {
    std::vector<double> sizes;
    for (std::size_t j = 0; j != count; ++j)
      sizes.push_back(from *
                      std::pow(to / from, count == 1 ? 0 : static_cast<double>(j) / static_cast<double>(count - 1)));
    return sizes;
  };
  const std::vector<double> ours = grid(0.001, 0.5, 16);
  const std::vector<Named> methods{
      {"bets: ours", made<Variant>(VariantOptions{.sizes = ours})},
      {"bets: 8", made<Variant>(VariantOptions{.sizes = grid(0.001, 0.5, 8)})},
      {"bets: 32", made<Variant>(VariantOptions{.sizes = grid(0.001, 0.5, 32)})},
      {"bets: 8, .005 to .5", made<Variant>(VariantOptions{.sizes = grid(0.005, 0.5, 8)})},
      {"bets: 16, .005 to .3", made<Variant>(VariantOptions{.sizes = grid(0.005, 0.3, 16)})},
      {"bets: 16, .003 to 1", made<Variant>(VariantOptions{.sizes = grid(0.003, 1, 16)})},
      {"bets: running centre", made<Variant>(VariantOptions{.sizes = ours, .running_centre = true})},
      {"bets: half on the ratio of failures", made<Variant>(VariantOptions{.sizes = ours, .ratio_half = true})},
      {"bets: one, best so far", made<Variant>(VariantOptions{.sizes = {0.01}, .one_adaptive = true})}};
  std::uint64_t seed = 800;
  for (const double p : {0.90, 0.99})
    for (const double drop : {0.0, 0.01, 0.02, 0.05, 0.10})
      report.add("other bets, " + rate(p) + ", " + points(drop), methods,
                 run(settings, methods, drop == 0 ? settings.runs(2'000, 100) : settings.runs(1'000, 40), ++seed,
                     iid(p, drop)),
                 drop == 0);
}

// --- the guard itself -------------------------------------------------------------------------------------------------

/// A candidate's life of one epoch with four metrics recorded, for three candidates.
std::vector<LifeEpoch> recorded_life() {
  Draws draw{detail::mix(900)};
  constexpr std::int64_t now = 1'795'368'929'000'000;
  const auto row = [&](std::uint64_t i) {
    Interaction made;
    made.id = InteractionId::at(InteractionId::cursor_at(now) + i % 1'024, 3);
    made.at_us = now;
    const double z = normal(draw);
    made.error = uniform(draw) < 0.1 ? 1 : 0;
    made.latency_us = static_cast<std::uint32_t>(2e5 * std::exp(0.5 * z));
    made.cost_microusd = static_cast<std::uint64_t>(140 * std::exp(0.5 * z));
    made.score = static_cast<std::uint32_t>(1e9 * std::clamp(0.8 + 0.1 * normal(draw), 0.0, 1.0));
    return made;
  };
  WindowCounts window;
  for (std::uint64_t i = 0; i != 2'000; ++i) window.add(row(i));
  LifeEpoch made{{}, EvidenceCounts{0}};
  made.epoch.frozen = freeze(window, {0.1});
  made.counts = EvidenceCounts{made.epoch.frozen.latency_us.size()};
  made.epoch.baseline_points = 1u << 31;
  for (std::uint32_t number = 1; number <= 3; ++number) made.epoch.candidates.push_back({number, 1u << 29, 1});
  for (std::uint64_t i = 0; i != 50'000; ++i) {
    const Interaction one = row(i);
    const Arm arm = uniform(draw) < 0.2 ? Arm::candidate : Arm::baseline;
    for (const CountedBy by : {CountedBy::unit, CountedBy::request}) {
      made.counts.assign(by, arm, one.id);
      made.counts.settle(by, arm, one, made.epoch.frozen, 600'000'000);
    }
  }
  return {made};
}

void speed(Report& report) {
  GuardConfig config;
  config.metrics = {{.name = "ok"},
                    {.name = "quality", .kind = MetricKind::score},
                    {.name = "speed", .kind = MetricKind::latency, .margin = 0.1},
                    {.name = "price", .kind = MetricKind::cost, .margin = 0.1}};
  const std::vector<LifeEpoch> life = recorded_life();
  double best_ms = HUGE_VAL;
  double checksum = 0;
  for (int round = 0; round != 15; ++round) {
    const std::clock_t start = std::clock();  // processor time: other work on the machine does not count
    for (int task = 0; task != 1'000; ++task)
      for (std::uint32_t candidate = 1; candidate <= 3; ++candidate)
        checksum += judge(config, {candidate, life}, {.index = 2, .candidates = 3, .display = false}).log_e_rollback;
    best_ms = std::min(best_ms, 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  char text[160];
  std::snprintf(text, sizeof text, "1,000 tasks x 4 metrics x 3 candidates judged in %.1f ms (best of 15; %s)", best_ms,
                std::isfinite(checksum) ? "every figure finite" : "a figure is lost");
  report.note(text);
  if (best_ms >= 50) report.breach(text);
}

/// The games of this bench end where judge() does on the same counts, or the figures are void.
void same_as_judge(Report& report) {
  Draws draw{detail::mix(950)};
  Ours ours{{.alpha = 1e-300}};
  std::vector<Stratum> strata;
  std::vector<LifeEpoch> life;
  GuardConfig config;
  config.metrics = {{.name = "ok", .margin = 0}};
  constexpr std::int64_t now = 1'795'368'929'000'000;
  for (const std::uint64_t points : {1u << 28, 1u << 30}) {
    LifeEpoch& made = life.emplace_back(LifeEpoch{{}, EvidenceCounts{0}});
    made.epoch.candidates = {{1, points, 1}};
    made.epoch.baseline_points = 3u << 30;
    made.epoch.frozen.success_mean = 0.9;
    const double share = share_of(made.epoch, 1);
    ours.epoch(share, 0.9, 0.09);
    for (std::uint64_t i = 0; i != 5'000; ++i) {
      Interaction one;
      one.id = InteractionId::at(InteractionId::cursor_at(now) + i % 1'024, 3);
      one.at_us = now;
      const Arm arm = uniform(draw) < share ? Arm::candidate : Arm::baseline;
      one.error = uniform(draw) < (arm == Arm::candidate ? 0.13 : 0.1) ? 1 : 0;
      made.counts.assign(CountedBy::unit, arm, one.id);
      made.counts.settle(CountedBy::unit, arm, one, made.epoch.frozen, 600'000'000);
      ours.see(arm, one.error == 0 ? 1 : 0);
    }
  }
  const double judged = judge(config, {1, life}, {.display = false}).log_e_rollback;
  if (std::abs(judged - std::log(ours.capital())) > 1e-9)
    report.breach("the simulated guard ends at " + std::to_string(std::log(ours.capital())) + ", judge() at " +
                  std::to_string(judged));
}

void plans(Report& report) {
  std::string text = "planned at p .90, 10 %, alpha .05:";
  for (const double drop : {0.01, 0.02, 0.05, 0.10})
    text += ' ' + points(drop) + ' ' +
            std::to_string(requests_needed({.baseline = 0.9, .drop = drop, .percent = 10, .alpha = 0.05}).value_or(0));
  report.note(text);
}

int main_with(const Settings& settings) {
  Report report{settings};
  const auto wanted = [&](std::string_view name) { return settings.only.empty() || settings.only == name; };
  same_as_judge(report);
  const std::vector<std::pair<const char*, void (*)(const Settings&, Report&)>> parts{
      {"independent", independent}, {"drift", drift},       {"sticky", sticky_units}, {"late", late},
      {"losses", losses},           {"kinds", other_kinds}, {"advance", advances},    {"ramp", ramps},
      {"variants", variants}};
  for (const auto& [name, part] : parts) {
    if (!wanted(name) || (settings.quick && settings.only.empty() && std::string_view{name} == "variants")) continue;
    std::fprintf(stderr, "guard_quality: %s\n", name);
    part(settings, report);
  }
  plans(report);
  speed(report);
  report.print();
  if (!report.write()) {
    std::fprintf(stderr, "guard_quality: cannot write %s\n", settings.out.c_str());
    return 1;
  }
  const std::vector<std::string> broken = report.broken();
  for (const std::string& each : broken) std::fprintf(stderr, "broken: %s\n", each.c_str());
  return settings.check && !broken.empty() ? 1 : 0;
}

}  // namespace
}  // namespace canary::bench

int main(int count, char** arguments) {
  canary::bench::Settings settings;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = arguments[i];
    const bool more = i + 1 < count;
    if (word == "--quick") {
      settings.quick = true;
    } else if (word == "--check") {
      settings.check = true;
    } else if (word == "--out" && more) {
      settings.out = arguments[++i];
    } else if (word == "--only" && more) {
      settings.only = arguments[++i];
    } else if (word == "--threads" && more) {
      settings.threads = static_cast<unsigned>(std::clamp(std::atoi(arguments[++i]), 1, 256));
    } else {
      std::fputs("usage: guard_quality [--quick] [--check] [--out FILE] [--threads N] [--only PART]\n", stderr);
      return 2;
    }
  }
  return canary::bench::main_with(settings);
}
