// What every store promises of interactions, by an SQLite file.
#include <memory>

#include "../adapters/temporary_folder.hpp"
#include "canary/adapters/sqlite_store.hpp"

namespace {

class SqlitePlace {
 public:
  [[nodiscard]] std::unique_ptr<canary::Store> open() const {
    return std::make_unique<canary::SqliteStore>("sqlite:" + (folder_.path() / "canary.db").string());
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace

#define CANARY_STORE_PLACE SqlitePlace
#include "interaction_contract.hpp"
