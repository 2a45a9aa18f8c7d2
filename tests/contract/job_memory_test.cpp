// What every store promises of fine-tune jobs, by the one in memory.
#include <memory>

#include "canary/control/memory_store.hpp"

namespace {

class MemoryPlace {
 public:
  /// A copy of a store shares its rows.
  [[nodiscard]] std::unique_ptr<canary::Store> open() const { return std::make_unique<canary::MemoryStore>(first_); }

 private:
  canary::MemoryStore first_;
};

}  // namespace

#define CANARY_STORE_PLACE MemoryPlace
#include "job_contract.hpp"
