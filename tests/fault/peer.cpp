// peer: another process on the same store, for tests that need one.
//   peer URL race TASK COUNT SEED     makes COUNT changes of random versions' shares; a line for each: `done REVISION`,
//                                     `conflict`, `refused`
//   peer URL churn TASK SEED          as race, without end
//   peer URL follow TASK              routes by the store; a line `REVISION NANOSECONDS` when a new revision is routed by
//   peer URL show TASK                `revision N` or the error's words; exits with 1 for an error
//   peer URL migrate                  the schema's number before and after
#include <unistd.h>

#include <time.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "../core/history.hpp"
#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "peer_store.hpp"

using namespace canary;

namespace {

void say(const std::string& line) {
  // One write: a reader never sees half of it, whenever this process is killed.
  const std::string text = line + '\n';
  if (::write(STDOUT_FILENO, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::_Exit(3);
}

void change(Registry& registry, const std::string& task, test::Random& random, std::uint64_t serial) {
  const std::uint32_t number = 1 + random.below(4);
  const std::string note = std::to_string(::getpid()) + '/' + std::to_string(serial);
  try {
    const std::uint32_t kind = random.below(20);
    Change done;
    if (kind == 0)
      done = registry.rollback(task, {}, {.note = note});
    else if (kind == 1)
      done = registry.promote(task, number, random.below(total_ppm), {.note = note});
    else
      done = registry.canary(task, number, random.below(total_ppm / 4), {.note = note});
    say("done " + std::to_string(done.row.revision) + ' ' + note);
  } catch (const RegistryError& error) {
    say(error.code == RegistryErrc::conflict ? "conflict" : "refused");
  }
}

int follow(std::unique_ptr<Store> store, const std::string& task) {
  Config config;
  config.store.url = "database";
  config.store.state.clear();
  TaskConfig one;
  one.name = task;
  one.default_model = "base";
  config.tasks.push_back(one);
  EngineOptions options;
  options.record = false;
  const Engine engine{config, std::move(store), options};
  const Task handle = engine.task(task);
  for (std::uint32_t last = 0xFFFF'FFFF;;) {
    const std::uint32_t revision = engine.route(handle, "key").revision();
    if (revision == last) {
      const timespec pause{0, 200'000};
      ::nanosleep(&pause, nullptr);
      continue;
    }
    last = revision;
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    say(std::to_string(revision) + ' ' + std::to_string(now.tv_sec * 1'000'000'000LL + now.tv_nsec));
  }
}

int run(int argc, char** argv) {
  const std::string_view command = argc > 2 ? argv[2] : "";
  std::unique_ptr<Store> store = test::peer_store(argc > 1 ? argv[1] : "");
  const std::string task = argc > 3 ? argv[3] : "checks";
  if (command == "follow") return follow(std::move(store), task);
  if (command == "migrate") {
    const std::uint32_t before = store->migrate();
    say(std::to_string(before) + ' ' + std::to_string(store->info().schema));
    return 0;
  }
  if (command == "show") {
    say("revision " + std::to_string(store->load(task, {}).revision));
    return 0;
  }
  Registry registry{*store};
  const std::uint64_t count = command == "race" && argc > 4 ? std::strtoull(argv[4], nullptr, 10) : ~0ull;
  test::Random random{std::strtoull(argc > 5 ? argv[5] : argc > 4 ? argv[4] : "1", nullptr, 10)};
  if (command != "race" && command != "churn") return 2;
  for (std::uint64_t i = 0; i != count; ++i) change(registry, task, random, i);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const StoreError& error) {
    say(std::string{error.what()} + (error.hint.empty() ? "" : "; " + error.hint));
    return 1;
  }
}
