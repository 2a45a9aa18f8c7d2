#include <canary/core/router.hpp>

#include <cstdio>

int points_seen_elsewhere(const canary::Router& router, canary::Task task);

int main() {
  canary::Router router;
  canary::Task task = router.task("checklist_enrichment", {.default_model = "small"});
  router.set_split(task, {{.model = "large", .weight_ppm = 250'000}});
  int large = 0;
  for (std::uint64_t key = 0; key < 1'000; ++key) {
    if (router.route(task, key).model() == "large") ++large;
  }
  const int elsewhere = points_seen_elsewhere(router, task);
  std::printf("%d of 1000 here, %d there\n", large, elsewhere);
  return large == elsewhere && large > 150 && large < 350 ? 0 : 1;
}
