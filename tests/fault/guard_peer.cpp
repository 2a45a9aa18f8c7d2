// guard_peer: a guard of its own process, for tests that kill it.
//   guard_peer URL TASK ...    for each task says `begins`, judges it, and says what became of it: `acted`, `conflict` or
//                              `nothing`; then waits to be killed
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "canary/control/guard_pass.hpp"
#include "guard_config.hpp"
#include "peer_store.hpp"

using namespace canary;

namespace {

void say(const char* word) {
  std::puts(word);
  std::fflush(stdout);
}

[[noreturn]] void run(const std::string& url, const std::vector<std::string>& names) {
  const std::unique_ptr<Store> store = test::peer_store(url);
  const std::unique_ptr<InteractionStore> interactions = store->interactions();
  (void)store->tasks();
  for (const std::string& name : names) {
    const std::vector<TaskConfig> tasks{test::guarded_task(name)};
    say("begins");
    const GuardPass pass = guard_pass(*store, *interactions, tasks, {.actor = "guard@peer"});
    if (!pass.faults.empty()) throw StoreError{pass.faults.front().error};
    say(pass.acts.empty()            ? "nothing"
        : pass.acts.front().acted    ? "acted"
        : pass.acts.front().conflict ? "conflict"
                                     : "nothing");
  }
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    run(argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guard_peer: %s\n", error.what());
    return 1;
  }
}
