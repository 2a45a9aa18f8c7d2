// faults.hpp: faults of a configuration, collected in words that are safe to show. Layer control.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"
#include "canary/control/nearest.hpp"
#include "canary/control/utf8.hpp"

namespace canary {

/// Faults that are told in words; any more are counted.
inline constexpr std::size_t max_config_faults = 1'000;

namespace detail {

/// Text from the file as a message shows it: short, on one line, and nothing that a terminal would obey.
[[nodiscard]] inline std::string shown(std::string_view text, std::size_t most) {
  std::string out;
  for (std::size_t at = 0; at < text.size() && at < most;) {
    const std::size_t length = std::max<std::size_t>(1, utf8_sequence(text.substr(at)));
    const bool plain =
        !is_control(text.substr(at, length)) && (length > 1 || static_cast<unsigned char>(text[at]) < 0x80);
    out += plain ? text.substr(at, length) : std::string_view{"?"};
    at += length;
  }
  return out + (text.size() > most ? "..." : "");
}

[[nodiscard]] inline std::string in_quotes(std::string_view name) { return '"' + shown(name, 64) + '"'; }

[[nodiscard]] inline std::string listed(const std::vector<std::string_view>& words) {
  std::string out;
  for (const std::string_view word : words) (out += out.empty() ? "" : ", ") += word;
  return out;
}

/// `did you mean ...?` when something is near, else all that would do.
[[nodiscard]] inline std::string suggestion(std::string_view word, const std::vector<std::string_view>& valid,
                                            std::string_view what) {
  const std::string near = nearest(word, valid);
  if (!near.empty()) return "did you mean \"" + near + "\"?";
  return std::string{what} + ": " + listed(valid);
}

/// Collects faults; the file's order is restored at the end.
class Faults {
 public:
  explicit Faults(std::string_view file) : file_{file} {}

  void add(std::size_t line, std::size_t column, std::string message, std::string hint = {}) {
    if (++count_ <= max_config_faults) faults_.push_back({file_, line, column, std::move(message), std::move(hint)});
  }
  /// For a place as a parser tells it: `where.begin` has a line and a column.
  template <class Region>
  requires requires(const Region& where) { where.begin.line; }
  void add(const Region& where, std::string message, std::string hint = {}) {
    add(where.begin.line, where.begin.column, std::move(message), std::move(hint));
  }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

  [[noreturn]] void raise() {
    // By place, and at one place in the order they were found.
    std::vector<std::size_t> order(faults_.size());
    for (std::size_t i = 0; i != order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return std::tuple{faults_[a].line, faults_[a].column, a} < std::tuple{faults_[b].line, faults_[b].column, b};
    });
    std::vector<ConfigFault> sorted;
    sorted.reserve(order.size() + 1);
    for (const std::size_t i : order) sorted.push_back(std::move(faults_[i]));
    faults_ = std::move(sorted);
    if (count_ > max_config_faults)
      faults_.push_back({file_, 0, 0, "and " + std::to_string(count_ - max_config_faults) + " more faults", {}});
    throw ConfigError{std::move(faults_)};
  }

 private:
  std::string file_;
  std::vector<ConfigFault> faults_;
  std::size_t count_ = 0;
};

}  // namespace detail
}  // namespace canary
