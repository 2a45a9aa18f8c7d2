// window.hpp: what a version did in ten minutes, in counts that add up over servers and windows. Layer control.
// All integers: the same interactions give the same counts in whatever order and on however many servers they come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/bytes.hpp"
#include "canary/control/histogram.hpp"
#include "canary/control/interaction.hpp"
#include "canary/core/outcome.hpp"

namespace canary {

inline constexpr std::int64_t window_us = 600'000'000;

/// The window that a time falls into, counted from 1970.
[[nodiscard]] constexpr std::uint32_t window_of(std::int64_t time_us) noexcept {
  return time_us <= 0 ? 0 : static_cast<std::uint32_t>(time_us / window_us);
}

struct WindowCounts {
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t scored = 0;
  std::uint64_t score_sum = 0;         ///< billionths
  std::uint64_t score_square_sum = 0;  ///< millionths of millionths: each score to six digits, squared
  std::uint64_t tokens_in = 0;
  std::uint64_t tokens_out = 0;
  std::uint64_t cost_microusd = 0;
  Histogram latency_us;
  Histogram cost;  ///< microdollars, those above 4,294 dollars as that

  void add(const Interaction& row) noexcept {
    ++count;
    errors += row.error != 0 ? 1u : 0u;
    tokens_in += row.tokens_in;
    tokens_out += row.tokens_out;
    cost_microusd += row.cost_microusd;
    if (row.latency_us != no_latency) latency_us.add(row.latency_us);
    cost.add(row.cost_microusd > 0xFFFF'FFFF ? 0xFFFF'FFFF : static_cast<std::uint32_t>(row.cost_microusd));
    if (row.score != no_score) add_score(row.score);
  }
  /// A score that came later.
  void add_score(std::uint32_t billionths) noexcept {
    ++scored;
    score_sum += billionths;
    const std::uint64_t millionths = billionths / 1'000;
    score_square_sum += millionths * millionths;
  }
  /// A score in the place of another. Sums may go below zero here, as unsigned numbers do: those of all servers add up right.
  void replace_score(std::uint32_t before, std::uint32_t after) noexcept {
    add_score(after);
    WindowCounts old;
    old.add_score(before);
    scored -= old.scored;
    score_sum -= old.score_sum;
    score_square_sum -= old.score_square_sum;
  }
  void merge(const WindowCounts& other) noexcept {
    count += other.count;
    errors += other.errors;
    scored += other.scored;
    score_sum += other.score_sum;
    score_square_sum += other.score_square_sum;
    tokens_in += other.tokens_in;
    tokens_out += other.tokens_out;
    cost_microusd += other.cost_microusd;
    latency_us.merge(other.latency_us);
    cost.merge(other.cost);
  }

  [[nodiscard]] std::optional<double> score_mean() const noexcept {
    if (scored == 0) return {};
    return static_cast<double>(score_sum) / (static_cast<double>(scored) * score_one);
  }

  [[nodiscard]] std::string bytes() const {
    std::string out;
    detail::put_number(out, format);
    for (const std::uint64_t value :
         {count, errors, scored, score_sum, score_square_sum, tokens_in, tokens_out, cost_microusd})
      detail::put_number(out, value);
    latency_us.put(out);
    cost.put(out);
    return out;
  }
  /// Errors  nothing for bytes that are not of bytes().
  [[nodiscard]] static std::optional<WindowCounts> parse(std::string_view bytes) {
    detail::NumberReader in{bytes};
    WindowCounts counts;
    if (in.take() != format) return {};
    for (std::uint64_t* value :
         {&counts.count, &counts.errors, &counts.scored, &counts.score_sum, &counts.score_square_sum, &counts.tokens_in,
          &counts.tokens_out, &counts.cost_microusd})
      *value = in.take();
    counts.latency_us.take(in);
    counts.cost.take(in);
    if (!in.done()) return {};
    return counts;
  }

  friend bool operator==(const WindowCounts&, const WindowCounts&) = default;

 private:
  static constexpr std::uint64_t format = 0x77;  // whoever reads another kind's bytes shall notice
};

}  // namespace canary
