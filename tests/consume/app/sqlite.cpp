#include <canary/adapters/sqlite_store.hpp>

#include <cstdio>

int main() {
  canary::SqliteStore store{"sqlite:/nonexistent/canary.db"};
  try {
    static_cast<void>(store.tasks());
  } catch (const canary::StoreError& error) {
    std::puts(error.what());
    return 0;
  }
  return 1;
}
