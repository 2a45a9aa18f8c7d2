// What every store promises of interactions, by a PostgreSQL database.
#include <memory>

#include "../adapters/postgres_database.hpp"
#include "canary/adapters/postgres_store.hpp"

namespace {

class PostgresPlace {
 public:
  [[nodiscard]] std::unique_ptr<canary::Store> open() const {
    return std::make_unique<canary::PostgresStore>(database_.url());
  }

 private:
  test::PostgresDatabase database_;
};

}  // namespace

#define CANARY_STORE_PLACE PostgresPlace
#include "interaction_contract.hpp"
