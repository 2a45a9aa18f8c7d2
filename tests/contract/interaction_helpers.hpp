// interaction_helpers.hpp: what the tests of interactions share: deliveries in one call, and ways to look at a store.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/interaction_store.hpp"
#include "canary/core/recorder.hpp"
#include "store_helpers.hpp"

namespace interaction_test {

using namespace store_test;
using canary::CountsFilter;
using canary::CountsKind;
using canary::CountsRow;
using canary::Delivery;
using canary::Feedback;
using canary::Interaction;
using canary::InteractionFilter;
using canary::InteractionStore;
using canary::Joined;
using canary::JoinedFeedback;
using canary::LanePosition;
using canary::Payload;
using canary::SpoolRecord;
using canary::TimeUs;
using canary::UnitKey;
using canary::WaitingPlace;
using Ids = std::vector<std::uint64_t>;
using Bits = std::vector<bool>;
using Lanes = std::vector<LanePosition>;

inline constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
inline constexpr TimeUs start_us = 1'753'600'000'000'000;

inline const std::string spool_a(32, 'a');
inline const std::string spool_b(32, 'b');

/// A store whose schema is there, and what it keeps of interactions.
struct Opened {
  explicit Opened(std::unique_ptr<Store> made) : store{std::move(made)} {
    (void)store->tasks();
    kept = store->interactions();
  }
  std::unique_ptr<Store> store;
  std::unique_ptr<InteractionStore> kept;
};

/// An id as it is given at that time.
inline std::uint64_t id_at(TimeUs time_us, std::uint64_t count = 0) {
  return canary::InteractionId::first_at(time_us) + count;
}

inline Interaction row_of(std::uint64_t id, std::uint32_t task = 1, TimeUs at_us = start_us) {
  Interaction row;
  row.id = id;
  row.at_us = at_us;
  row.task = task;
  row.number = 2;
  return row;
}

inline std::vector<Interaction> rows_of(const Ids& ids) {
  std::vector<Interaction> rows;
  for (const std::uint64_t id : ids) rows.push_back(row_of(id));
  return rows;
}

/// One delivery of what `work` does, which must go through.
template <class Work>
void deliver(InteractionStore& kept, std::string_view spool, Work work) {
  const auto delivery = kept.begin(kept.claim(spool, start_us));
  REQUIRE(delivery != nullptr);
  work(*delivery);
  delivery->commit({}, start_us);
}

struct ReadRow {
  Interaction interaction;
  std::string request;
  std::string response;
};

inline std::vector<ReadRow> read_all(InteractionStore& kept, const InteractionFilter& filter = {}) {
  std::vector<ReadRow> rows;
  kept.read(filter, [&](const Interaction& row, const Payload& payload) {
    rows.push_back({row, std::string{payload.request}, std::string{payload.response}});
    return true;
  });
  return rows;
}

inline Ids read_ids(InteractionStore& kept, const InteractionFilter& filter = {}) {
  Ids ids;
  for (const ReadRow& row : read_all(kept, filter)) ids.push_back(row.interaction.id);
  return ids;
}

inline Ids sorted(Ids ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

inline std::vector<CountsRow> sorted(std::vector<CountsRow> rows) {
  const auto key = [](const CountsRow& row) { return std::tie(row.kind, row.task, row.of, row.at, row.serial); };
  std::sort(rows.begin(), rows.end(), [&](const CountsRow& a, const CountsRow& b) { return key(a) < key(b); });
  return rows;
}

inline std::vector<SpoolRecord> sorted(std::vector<SpoolRecord> spools) {
  std::sort(spools.begin(), spools.end(), [](const auto& a, const auto& b) { return a.serial < b.serial; });
  return spools;
}

inline Bits claim(Delivery& to, const std::vector<UnitKey>& units) {
  Bits fresh;
  to.claim_units(units, fresh);
  return fresh;
}
inline Bits settle(Delivery& to, const std::vector<UnitKey>& units) {
  Bits first;
  to.settle_units(units, first);
  return first;
}
inline Bits find(Delivery& to, const std::vector<UnitKey>& units) {
  Bits counted;
  to.find_units(units, counted);
  return counted;
}
/// Scores that wait and can be joined, from the beginning of the list.
inline std::vector<Feedback> ready(Delivery& to, std::size_t most = 9) {
  canary::WaitingPlace from;
  std::vector<Feedback> rows;
  (void)to.waiting(from, most, rows);
  return rows;
}
inline Ids found(InteractionStore& kept, const Ids& ids) {
  Ids there;
  kept.find(ids, [&](const Interaction& row) { there.push_back(row.id); });
  return sorted(there);
}
inline std::vector<JoinedFeedback> join(Delivery& to, const std::vector<Feedback>& rows) {
  std::vector<JoinedFeedback> joined;
  to.join(rows, joined);
  return joined;
}

}  // namespace interaction_test
