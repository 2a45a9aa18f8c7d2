// dataset_findings.hpp: what was found on one line of training data. Layer control.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/dataset_codes.hpp"

namespace canary {

/// Findings of the line at hand. All are counted; words are made for the first ones alone, so that a hostile line of
/// 32 MB costs no more memory than another.
class LineFindings {
 public:
  static constexpr std::size_t kept_max = 100;

  struct Entry {
    FindingCode code;
    std::size_t at;  ///< byte of the line
    std::string message;
  };

  void clear() noexcept {
    if (total_ == 0) return;
    entries_.clear();
    counts_.fill(0);
    total_ = 0;
  }

  /// Input   `words` makes the message, if it is wanted: what is wrong; how to mend it.
  template <class Words>
  void add(FindingCode code, std::size_t at, Words&& words) {
    ++counts_[static_cast<std::size_t>(code)];
    ++total_;
    if (entries_.size() < kept_max) entries_.push_back({code, at, std::forward<Words>(words)()});
  }

  /// From left to right.
  [[nodiscard]] std::vector<Entry>& sorted() {
    std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.at < b.at; });
    return entries_;
  }
  [[nodiscard]] bool empty() const noexcept { return total_ == 0; }
  [[nodiscard]] std::uint32_t count(FindingCode code) const noexcept { return counts_[static_cast<std::size_t>(code)]; }

 private:
  std::vector<Entry> entries_;
  std::array<std::uint32_t, finding_code_count> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace canary
