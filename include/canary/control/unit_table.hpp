// unit_table.hpp: which units a drainer knows, so that it asks the store about each once. Layer control.
// Open addressing over slots of 16 bytes, at most half of them used; the store has the truth, this only spares questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "canary/core/mix.hpp"
#include "canary/core/types.hpp"

namespace canary::detail {

class UnitTable {
 public:
  static constexpr std::uint64_t others = 0;  ///< another interaction counts for the unit
  static constexpr std::uint64_t asked = 1;   ///< the store was asked about an outcome, and knew nothing of it

  /// The interaction that counts for a unit, or `others`; null for a unit that is not known.
  [[nodiscard]] std::uint64_t* find(Point point) noexcept {
    if (slots_.empty()) return nullptr;
    Slot& slot = slots_[place(point)];
    return slot.used ? &slot.id : nullptr;
  }

  void put(Point point, std::uint64_t id) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = slots_[place(point)];
    if (!slot.used) ++size_;
    slot = {id, point, true};
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  struct Slot {
    std::uint64_t id = others;
    Point point = 0;
    bool used = false;
  };

  [[nodiscard]] std::size_t place(Point point) const noexcept {
    std::size_t at = mix(point) & (slots_.size() - 1);
    while (slots_[at].used && slots_[at].point != point) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 1'024 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.used) slots_[place(slot.point)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace canary::detail
