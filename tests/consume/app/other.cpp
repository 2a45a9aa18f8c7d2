#include <canary/core/router.hpp>

int points_seen_elsewhere(const canary::Router& router, canary::Task task) {
  int large = 0;
  for (std::uint64_t key = 0; key < 1'000; ++key) {
    if (router.route(task, key).model() == "large") ++large;
  }
  return large;
}
