// dataset_seen.hpp: which examples were there before, and where. Layer control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace canary {

/// Examples told apart by 64 bits of what they say, with the line of the first of each. For one thread.
/// Errors  among n examples some two that differ are taken for the same with odds of n^2 / 2^65: 3 in a million for ten
///         million examples.
/// Cost    20 to 25 bytes each; a part of the table grows at a time, so that growing takes no second copy of it.
class ExampleTable {
 public:
  struct Place {
    std::uint64_t line = 0;
    bool validation = false;
  };

  /// Where this example was first; nothing for one that is new.
  [[nodiscard]] std::optional<Place> add(std::uint64_t hash, Place place) {
    if (hash == 0) hash = 1;  // zeros are a free place
    const Entry* before = parts_[hash >> (64 - part_bits)].add({hash, place.line << 1 | (place.validation ? 1u : 0u)});
    if (before == nullptr) return {};
    return Place{before->place >> 1, (before->place & 1) != 0};
  }

  /// Memory for its entries.
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = 0;
    for (const Part& part : parts_) sum += part.bytes();
    return sum;
  }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint64_t place = 0;
  };
  static_assert(sizeof(Entry) == 16,
                "at four fifths full, and after growth at two thirds, an example takes 20 to 25 bytes");

  class Part {
   public:
    /// The entry that was there; null when this one is the first.
    [[nodiscard]] const Entry* add(Entry entry) {
      if (used_ * 5 >= places_.size() * 4) grow();
      Entry& place = find(entry.hash);
      if (place.hash != 0) return &place;
      place = entry;
      ++used_;
      return nullptr;
    }
    [[nodiscard]] std::size_t bytes() const noexcept { return places_.capacity() * sizeof(Entry); }

   private:
    /// By the bits below those that chose the part.
    [[nodiscard]] Entry& find(std::uint64_t hash) noexcept {
      __extension__ using Wide = unsigned __int128;
      auto at = static_cast<std::size_t>(Wide{hash << part_bits} * places_.size() >> 64);
      while (places_[at].hash != hash && places_[at].hash != 0) at = at + 1 == places_.size() ? 0 : at + 1;
      return places_[at];
    }
    void grow() {
      std::vector<Entry> before(places_.size() + places_.size() / 4 + 16);
      before.swap(places_);
      for (const Entry& entry : before)
        if (entry.hash != 0) find(entry.hash) = entry;
    }

    std::vector<Entry> places_;
    std::size_t used_ = 0;
  };

  static constexpr int part_bits = 8;
  std::vector<Part> parts_{std::size_t{1} << part_bits};
};

}  // namespace canary
