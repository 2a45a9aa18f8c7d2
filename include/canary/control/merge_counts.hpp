// merge_counts.hpp: what two spools counted of the same, as one; what InteractionStore::fold() asks for. Layer control.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/bytes.hpp"
#include "canary/control/evidence.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/window.hpp"

namespace canary {

/// Input   bytes of two CountsRows that differ in their spool alone.
/// Output  those of their sum.
/// Errors  StoreErrc::corrupt for bytes that are not of this kind.
[[nodiscard]] std::string merge_counts(CountsKind kind, std::string_view ours, std::string_view theirs);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Counts that are one number.
struct NumberCounts {
  std::uint64_t count = 0;

  void merge(const NumberCounts& other) noexcept { count += other.count; }
  [[nodiscard]] std::string bytes() const {
    std::string out;
    put_number(out, count);
    return out;
  }
  [[nodiscard]] static std::optional<NumberCounts> parse(std::string_view bytes) {
    NumberReader in{bytes};
    const NumberCounts counts{in.take()};
    if (!in.done()) return {};
    return counts;
  }
};

template <class Counts>
[[nodiscard]] std::string merged(std::string_view ours, std::string_view theirs) {
  std::optional<Counts> sum = Counts::parse(ours);
  const std::optional<Counts> more = Counts::parse(theirs);
  if (!sum || !more)
    throw StoreError{StoreErrc::corrupt, "counts that make no sense", "restore a backup: canary store restore"};
  sum->merge(*more);
  return sum->bytes();
}

}  // namespace detail

inline std::string merge_counts(CountsKind kind, std::string_view ours, std::string_view theirs) {
  if (kind == CountsKind::window) return detail::merged<WindowCounts>(ours, theirs);
  if (kind == CountsKind::evidence) return detail::merged<EvidenceCounts>(ours, theirs);
  return detail::merged<detail::NumberCounts>(ours, theirs);
}

}  // namespace canary
