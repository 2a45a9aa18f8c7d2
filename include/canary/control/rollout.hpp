// rollout.hpp: a staged ramp of one candidate: where it stands, which moves are legal, and its text form. Layer control;
// one table decides, as in lifecycle.hpp.
//
//   (none) -> running -> finished                    every step passed
//             running <-> paused                     by a person, or by a change of the share by hand
//             running, paused -> rolled_back         by the guard
//             running, paused -> aborted             by a person
//             paused -> finished                     promoted by hand
// What has ended may be started anew, by a person. A task keeps its rollouts in its row, and history each change of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/store.hpp"
#include "canary/control/store_text.hpp"
#include "canary/control/utf8.hpp"
#include "canary/core/types.hpp"

namespace canary {

/// The numbers are persisted nowhere; the words are.
enum class RolloutState : std::uint8_t {
  running,      ///< the guard advances it
  paused,       ///< the guard takes it back for harm, and never advances it
  finished,     ///< its last step is passed
  rolled_back,  ///< by the guard; a person starts it anew, or nobody does
  aborted,      ///< by a person, or its version was taken out of use
};

enum class RolloutMove : std::uint8_t { start, pause, resume, advance, finish, abort, rollback };

/// The word that stores, tables and JSON use.
[[nodiscard]] constexpr std::string_view to_string(RolloutState state) noexcept {
  switch (state) {
    case RolloutState::running:
      return "running";
    case RolloutState::paused:
      return "paused";
    case RolloutState::finished:
      return "finished";
    case RolloutState::rolled_back:
      return "rolled_back";
    case RolloutState::aborted:
      return "aborted";
  }
  return "unknown";
}

inline constexpr std::array<RolloutState, 5> rollout_states{RolloutState::running, RolloutState::paused,
                                                            RolloutState::finished, RolloutState::rolled_back,
                                                            RolloutState::aborted};

/// The state behind a word; nothing for any other text.
[[nodiscard]] constexpr std::optional<RolloutState> parse_rollout_state(std::string_view word) noexcept {
  for (const RolloutState state : rollout_states)
    if (to_string(state) == word) return state;
  return {};
}

/// One legal move. A start is legal too where there was no rollout before.
struct RolloutStep {
  RolloutMove move;
  RolloutState from;
  RolloutState to;
};

inline constexpr std::array<RolloutStep, 13> rollout_steps{{
    {RolloutMove::start, RolloutState::finished, RolloutState::running},
    {RolloutMove::start, RolloutState::rolled_back, RolloutState::running},
    {RolloutMove::start, RolloutState::aborted, RolloutState::running},
    {RolloutMove::pause, RolloutState::running, RolloutState::paused},
    {RolloutMove::pause, RolloutState::paused, RolloutState::paused},
    {RolloutMove::resume, RolloutState::paused, RolloutState::running},
    {RolloutMove::advance, RolloutState::running, RolloutState::running},
    {RolloutMove::finish, RolloutState::running, RolloutState::finished},
    {RolloutMove::finish, RolloutState::paused, RolloutState::finished},
    {RolloutMove::abort, RolloutState::running, RolloutState::aborted},
    {RolloutMove::abort, RolloutState::paused, RolloutState::aborted},
    {RolloutMove::rollback, RolloutState::running, RolloutState::rolled_back},
    {RolloutMove::rollback, RolloutState::paused, RolloutState::rolled_back},
}};

/// Where `move` leads from here; nothing when it is illegal.
[[nodiscard]] constexpr std::optional<RolloutState> after(RolloutMove move, RolloutState from) noexcept {
  for (const RolloutStep& legal : rollout_steps)
    if (legal.move == move && legal.from == from) return legal.to;
  return {};
}

/// True if a rollout is under way: it may go on.
[[nodiscard]] constexpr bool is_live(RolloutState state) noexcept {
  return state == RolloutState::running || state == RolloutState::paused;
}

inline constexpr std::size_t most_rollout_steps = 64;
inline constexpr std::size_t most_ended_rollouts = 32;  ///< that a task's row keeps; history has all
inline constexpr std::size_t max_rollout_reason_bytes = 1'024;

struct Rollout {
  std::uint32_t number = 0;  ///< of the version
  RolloutState state = RolloutState::running;
  std::uint32_t step = 0;                ///< place in steps_ppm
  std::vector<std::uint32_t> steps_ppm;  ///< rising shares
  TimeUs since_us = 0;                   ///< of the state, and of the step
  std::string reason;                    ///< why it is there, in words

  [[nodiscard]] bool last() const noexcept { return step + 1 == steps_ppm.size(); }
  friend bool operator==(const Rollout&, const Rollout&) = default;
};

/// True for shares from 1 ppm to 100 %, each larger than the one before: what a rollout can go by.
[[nodiscard]] bool are_rollout_steps(const std::vector<std::uint32_t>& steps_ppm) noexcept;

/// The rollout of a version; null where there is none.
[[nodiscard]] const Rollout* find_rollout(const std::vector<Rollout>& rollouts, std::uint32_t number) noexcept;

/// Puts a rollout in the place of the version's last one. Of those that have ended the newest are kept.
void put_rollout(std::vector<Rollout>& rollouts, Rollout rollout);

/// `2 running 1 1795368929000000 10000,50000,1000000 started by ada|3 paused ...`: number, state, step, since, steps, reason
/// of each, by number; a | or a \ in a reason stands behind a \.
[[nodiscard]] std::string rollouts_text(const std::vector<Rollout>& rollouts);
/// Errors  nothing for a text that is not of rollouts_text(). An empty one has no rollouts.
[[nodiscard]] std::optional<std::vector<Rollout>> parse_rollouts(std::string_view text);

// ---------------------------------------------------------------------------------------------------------------------

inline bool are_rollout_steps(const std::vector<std::uint32_t>& steps_ppm) noexcept {
  const auto not_rising = [](std::uint32_t a, std::uint32_t b) { return a >= b; };
  return !steps_ppm.empty() && steps_ppm.size() <= most_rollout_steps && steps_ppm.front() != 0 &&
         steps_ppm.back() <= total_ppm &&
         std::adjacent_find(steps_ppm.begin(), steps_ppm.end(), not_rising) == steps_ppm.end();
}

inline const Rollout* find_rollout(const std::vector<Rollout>& rollouts, std::uint32_t number) noexcept {
  for (const Rollout& each : rollouts)
    if (each.number == number) return &each;
  return nullptr;
}

inline void put_rollout(std::vector<Rollout>& rollouts, Rollout rollout) {
  const std::uint32_t put = rollout.number;
  std::erase_if(rollouts, [&](const Rollout& each) { return each.number == put; });
  const auto by_number = [](const Rollout& each, std::uint32_t number) { return each.number < number; };
  rollouts.insert(std::lower_bound(rollouts.begin(), rollouts.end(), rollout.number, by_number), std::move(rollout));
  const auto ended = [](const Rollout& each) { return !is_live(each.state); };
  while (static_cast<std::size_t>(std::count_if(rollouts.begin(), rollouts.end(), ended)) > most_ended_rollouts) {
    // The clock may have gone back: what was just put stays.
    const auto may_go = [&](const Rollout& each) { return ended(each) && each.number != put; };
    auto oldest = std::find_if(rollouts.begin(), rollouts.end(), may_go);
    for (auto at = oldest; at != rollouts.end(); ++at)
      if (may_go(*at) && at->since_us < oldest->since_us) oldest = at;
    rollouts.erase(oldest);
  }
}

namespace detail {

/// A reason of a bearable length: cut before a character, never within one.
[[nodiscard]] inline std::string rollout_reason(std::string_view words) {
  constexpr std::string_view dots = "...";
  if (words.size() <= max_rollout_reason_bytes) return std::string{words};
  std::size_t end = 0;
  while (true) {
    const std::size_t next = end + std::max<std::size_t>(1, utf8_sequence(words.substr(end)));
    if (next > max_rollout_reason_bytes - dots.size()) break;
    end = next;
  }
  return std::string{words.substr(0, end)} += dots;
}

/// Takes a word and the space behind it off the front of `text`.
[[nodiscard]] inline std::string_view take_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

/// Takes a reason off the front of `text`, up to its end or a `|` that stands behind no `\`.
[[nodiscard]] inline std::optional<std::string> take_reason(std::string_view& text) {
  std::string reason;
  for (; !text.empty() && text.front() != '|'; text.remove_prefix(1)) {
    if (text.front() == '\\') text.remove_prefix(1);
    if (text.empty()) return {};
    reason += text.front();
  }
  return reason;
}

[[nodiscard]] inline std::optional<Rollout> take_rollout(std::string_view& text) {
  Rollout made;
  const auto number = take_number(text, max_version_number);
  if (!number || *number == 0 || !take(text, ' ')) return {};
  const auto state = parse_rollout_state(take_word(text));
  const auto step = take_number(text, most_rollout_steps - 1);
  if (!state || !step || !take(text, ' ')) return {};
  const bool before_1970 = take(text, '-');
  const auto since = take_number(text, static_cast<std::uint64_t>(std::numeric_limits<TimeUs>::max()));
  if (!since || !take(text, ' ')) return {};
  do {
    const auto ppm = take_number(text, total_ppm);
    if (!ppm) return {};
    made.steps_ppm.push_back(static_cast<std::uint32_t>(*ppm));
  } while (take(text, ','));
  if (!take(text, ' ') || !are_rollout_steps(made.steps_ppm) || *step >= made.steps_ppm.size()) return {};
  std::optional<std::string> reason = take_reason(text);
  if (!reason) return {};
  made.number = static_cast<std::uint32_t>(*number);
  made.state = *state;
  made.step = static_cast<std::uint32_t>(*step);
  made.since_us = before_1970 ? -static_cast<TimeUs>(*since) : static_cast<TimeUs>(*since);
  made.reason = *std::move(reason);
  return made;
}

}  // namespace detail

inline std::string rollouts_text(const std::vector<Rollout>& rollouts) {
  std::string text;
  for (const Rollout& each : rollouts) {
    if (!text.empty()) text += '|';
    text += std::to_string(each.number) + ' ';
    text += to_string(each.state);
    text += ' ' + std::to_string(each.step) + ' ' + std::to_string(each.since_us) + ' ';
    for (const std::uint32_t ppm : each.steps_ppm) {
      if (text.back() != ' ') text += ',';
      text += std::to_string(ppm);
    }
    text += ' ';
    for (const char c : each.reason) {
      if (c == '|' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text;
}

inline std::optional<std::vector<Rollout>> parse_rollouts(std::string_view text) {
  std::vector<Rollout> rollouts;
  if (text.empty()) return rollouts;
  do {
    std::optional<Rollout> made = detail::take_rollout(text);
    const bool in_turn = rollouts.empty() || (made && made->number > rollouts.back().number);
    if (!made || !in_turn) return {};
    rollouts.push_back(*std::move(made));
  } while (detail::take(text, '|'));
  if (!text.empty()) return {};
  return rollouts;
}

}  // namespace canary
