// histogram.hpp: how long requests took, in so few numbers that any server's can be added to any other's. Layer control.
// Log-linear: values below 64 have a bucket each, and from there on every doubling has 32. A percentile is off by at most
// 1/64 of its value, 1.6 %, whatever the values are.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "canary/control/bytes.hpp"

namespace canary {

/// Counts of 32-bit values.
class Histogram {
 public:
  static constexpr int sub_bits = 5;
  static constexpr std::uint32_t exact = 2u << sub_bits;  ///< values below have a bucket of their own
  static constexpr std::size_t buckets = exact + (32 - sub_bits - 1) * (1u << sub_bits);

  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint32_t value) noexcept {
    if (value < exact) return value;
    const int shift = static_cast<int>(std::bit_width(value)) - sub_bits - 1;
    return (static_cast<std::size_t>(shift) << sub_bits) + (value >> shift);
  }
  /// The least value of a bucket.
  [[nodiscard]] static constexpr std::uint64_t lowest(std::size_t bucket) noexcept {
    if (bucket < exact) return bucket;
    const std::size_t shift = (bucket >> sub_bits) - 1;
    return ((bucket & ((1u << sub_bits) - 1)) | (1u << sub_bits)) << shift;
  }

  void add(std::uint32_t value, std::uint64_t times = 1) noexcept {
    counts_[bucket_of(value)] += times;
    total_ += times;
  }
  void merge(const Histogram& other) noexcept {
    for (std::size_t i = 0; i != buckets; ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
  }
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  [[nodiscard]] std::uint64_t at(std::size_t bucket) const noexcept { return counts_[bucket]; }

  /// The value that a share of the values does not exceed, to 1/64; nothing without values.
  /// Input   `share` in (0, 1].
  [[nodiscard]] std::optional<double> quantile(double share) const noexcept {
    if (total_ == 0) return {};
    const double wanted = std::max(1.0, share * static_cast<double>(total_));
    double seen = 0;
    for (std::size_t i = 0; i != buckets; ++i) {
      seen += static_cast<double>(counts_[i]);
      if (seen < wanted) continue;
      return (static_cast<double>(lowest(i)) + static_cast<double>(lowest(i + 1) - 1)) / 2;
    }
    return static_cast<double>(lowest(buckets));
  }

  /// As pairs of a gap and a count, for buckets that have one.
  void put(std::string& out) const {
    detail::put_number(out, static_cast<std::uint64_t>(
                                std::count_if(counts_.begin(), counts_.end(), [](auto count) { return count != 0; })));
    std::size_t next = 0;
    for (std::size_t i = 0; i != buckets; ++i) {
      if (counts_[i] == 0) continue;
      detail::put_number(out, i - next);
      detail::put_number(out, counts_[i]);
      next = i + 1;
    }
  }
  /// Adds what put() wrote.
  void take(detail::NumberReader& in) noexcept {
    std::size_t next = 0;
    for (std::uint64_t left = in.take(buckets); left != 0 && !in.failed(); --left) {
      const std::size_t at = next + in.take(buckets - 1);
      if (at >= buckets) {
        (void)in.take(0);
        return;
      }
      const std::uint64_t count = in.take();
      counts_[at] += count;
      total_ += count;
      next = at + 1;
    }
  }

  friend bool operator==(const Histogram&, const Histogram&) = default;

 private:
  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace canary
