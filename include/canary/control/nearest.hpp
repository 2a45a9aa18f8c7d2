// nearest.hpp: "did you mean ...?" for keys, tasks, columns and commands. Layer control.
// Edit distance with neighbouring letters swapped counted once (optimal string alignment), since that and one wrong
// letter are what hands do. Cost is bounded whatever the input: words far from any candidate in length are never compared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace canary {

/// Single-letter insertions, removals, replacements and swaps between two words; gives up above `limit` with limit + 1.
/// Source  Boytsov 2011, optimal string alignment
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > limit) return limit + 1;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::vector<std::size_t> before_last(a.size() + 1);
  std::vector<std::size_t> last(a.size() + 1);
  std::vector<std::size_t> now(a.size() + 1);
  for (std::size_t i = 0; i <= a.size(); ++i) last[i] = i;
  for (std::size_t j = 1; j <= b.size(); ++j) {
    now[0] = j;
    std::size_t least = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      const std::size_t differs = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      now[i] = std::min({last[i] + 1, now[i - 1] + 1, last[i - 1] + differs});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[i] = std::min(now[i], before_last[i - 2] + 1);
      least = std::min(least, now[i]);
    }
    if (least > limit) return limit + 1;
    before_last.swap(last);
    last.swap(now);
  }
  return std::min(last[a.size()], limit + 1);
}

/// The candidate that was most likely meant; empty when none is near. The first one wins a tie.
template <class Candidates>
[[nodiscard]] std::string nearest(std::string_view word, const Candidates& candidates) {
  constexpr std::size_t longest = 256;  // nobody means a name of 10 MB
  if (word.empty() || word.size() > longest) return {};
  std::size_t limit = word.size() == 1 ? 0 : std::max<std::size_t>(1, word.size() / 3);
  std::string found;
  for (const auto& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate, limit);
    if (distance > limit) continue;
    found = candidate;
    if (distance == 0) break;
    limit = distance - 1;
  }
  constexpr std::size_t least = 3;  // `api_key` for `api_key_env`: far by letters, near by meaning
  for (const auto& candidate : candidates)
    if (found.empty() && word.size() >= least && std::string_view{candidate}.starts_with(word)) found = candidate;
  return found;
}

}  // namespace canary
