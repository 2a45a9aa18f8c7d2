// training_export.hpp: which side of the split an example is on, and whether it was there before. Layer control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "canary/core/hash.hpp"
#include "canary/core/types.hpp"

namespace canary {

/// What hashes a unit onto its side; written into manifests, so that anybody can repeat the split.
inline constexpr std::string_view training_split_salt = "canary training split 1";

/// True for units of the validation set. By the sticky unit: no user has examples on both sides, whenever and however
/// often it is exported; and by a hash of its own, since the one that chose the version would give all of it to one version.
[[nodiscard]] inline bool is_validation(Point unit, std::uint32_t val_ppm) noexcept {
  const Point place = point_of(std::uint64_t{unit}, seed_of(training_split_salt));
  return std::uint64_t{place} * total_ppm < std::uint64_t{val_ppm} << 32;
}

/// Examples that were there before, told by 128 bits of their texts. For one thread.
/// Cost    20 to 25 bytes each; a part of the set grows at a time, so that growing takes no second copy of it.
class SeenExamples {
 public:
  /// True for one that is new.
  bool add(std::string_view request, std::string_view response) {
    Key key{hash_bytes(response, hash_bytes(request, 1)), hash_bytes(response, hash_bytes(request, 2))};
    if (key.high == 0 && key.low == 0) key.low = 1;  // zeros are a free place
    return parts_[key.high >> (64 - part_bits)].add(key);
  }

 private:
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

  class Part {
   public:
    bool add(Key key) {
      if (used_ * 5 >= places_.size() * 4) grow();
      Key& place = find(key);
      if (place == key) return false;
      place = key;
      ++used_;
      return true;
    }

   private:
    [[nodiscard]] Key& find(Key key) noexcept {
      __extension__ using Wide = unsigned __int128;
      auto at = static_cast<std::size_t>(Wide{key.low} * places_.size() >> 64);
      while (places_[at] != key && places_[at] != Key{}) at = at + 1 == places_.size() ? 0 : at + 1;
      return places_[at];
    }
    void grow() {
      std::vector<Key> before(places_.size() + places_.size() / 4 + 16);
      before.swap(places_);
      for (const Key& key : before)
        if (key != Key{}) find(key) = key;
    }

    std::vector<Key> places_;
    std::size_t used_ = 0;
  };

  static constexpr int part_bits = 8;
  std::vector<Part> parts_{std::size_t{1} << part_bits};
};

}  // namespace canary
