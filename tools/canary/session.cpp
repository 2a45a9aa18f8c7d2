#include "session.hpp"

#include <cstdlib>

#include "canary/control/nearest.hpp"
#include "failure.hpp"

namespace canary::cli {

Session::Session(const std::string& config_option, std::string_view name) : config_file{config_path(config_option)} {
  Config config = load_configuration(config_file);
  if (!config.store.in_memory())
    throw Failure{
        Exit::invalid_input, config_file + ": this version has no database store",
        "set store.url = \"memory:\" and give the split as [[task." + std::string{name.substr(0, 128)} + ".version]]"};
  const TaskConfig* wanted = config.find_task(name);
  if (wanted == nullptr) {
    std::vector<std::string_view> names;
    names.reserve(config.tasks.size());
    for (const TaskConfig& known : config.tasks) names.push_back(known.name);
    const std::string near = nearest(name, names);
    throw Failure{Exit::not_found, "no task \"" + std::string{name.substr(0, 128)} + "\" in " + config_file,
                  near.empty() ? "add a [task.NAME] table" : "did you mean \"" + near + "\"?"};
  }
  settings = *wanted;
  Config alone;  // the other tasks are none of this command's business
  alone.store = config.store;
  alone.tasks.push_back(settings);
  const ApplyResult applied = apply(alone, router, ::getenv);
  task = router.find(name);
  for (const TaskChange& change : applied.changes) {
    if (change.error != Errc::ok)
      throw Failure{Exit::invalid_input, "task " + change.task + ": " + std::string{canary::to_string(change.error)}};
    split = change.split;
  }
}

std::vector<Participant> Session::participants(const Router& router, Task task) {
  std::vector<Participant> all;
  const auto first = router.version(task, default_owner);
  all.push_back({default_owner, first.id, first.model, 0});
  for (std::size_t owner = 1; owner <= max_versions; ++owner) {
    const auto version = router.version(task, static_cast<Owner>(owner));
    if (version.id.empty()) break;
    all.push_back({static_cast<Owner>(owner), version.id, version.model, 0});
  }
  const Partition partition = router.partition(task);
  for (const OwnerShare& share : partition.shares()) all[share.owner].weight_ppm = share.ppm;
  return all;
}

std::string_view Session::forced_by() const {
  return router.decide(task, 0).reason() == Reason::forced ? std::string_view{settings.force_env} : std::string_view{};
}

}  // namespace canary::cli
