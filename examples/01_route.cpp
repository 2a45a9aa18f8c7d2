// The router alone: no store, no threads, no exceptions. What this prints is the same on every machine.
// [readme:route]
#include <canary/core/router.hpp>

#include <iostream>

int main() {
  canary::Router router;
  const canary::Task task = router.task("checklist_enrichment");  // find or add, once, at start-up
  router.set_split(task, {{.model = "gpt-4o-mini", .weight_ppm = 900'000},
                          {.model = "ft:gpt-4o-mini:acme:v7", .weight_ppm = 100'000}});  // moves the fewest keys

  const canary::Decision d = router.route(task, "user-42");  // noexcept, wait-free; keys: text, uint64_t, or none
  std::cout << d.model() << ' ' << d.version_id() << ' ' << to_string(d.reason()) << ' ' << d.point() << ' '
            << d.revision() << '\n';
}
// [/readme:route]
