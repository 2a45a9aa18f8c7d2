#include "session.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "canary/control/registry.hpp"
#include "canary/engine.hpp"
#include "configuration.hpp"
#include "output.hpp"
#include "stores.hpp"

namespace canary::cli {
namespace {

/// A task's own part of a configuration: the others are none of a command's business.
Config alone(const Config& config, const TaskConfig& task) {
  Config one = config;
  one.tasks = {task};
  return one;
}

void refuse(const TaskChange& change) {
  throw Failure{Exit::invalid_input, "task " + change.task + ": " + std::string{canary::to_string(change.error)}};
}

}  // namespace

std::uint32_t version_number(std::string_view id) {
  const std::optional<VersionId> parsed = parse_version_id(id);
  return parsed ? parsed->number : 0;
}

std::vector<Participant> participants_of(const Router& router, Task task) {
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
  std::sort(all.begin() + 1, all.end(),
            [](const Participant& a, const Participant& b) { return version_number(a.id) < version_number(b.id); });
  return all;
}

Task add_task(Router& router, const TaskConfig& settings) {
  Config config;
  config.tasks.push_back(settings);
  for (const TaskChange& change : apply(config, router, ::getenv).changes)
    if (change.error != Errc::ok) refuse(change);
  return router.find(settings.name);
}

void load_split(Router& router, Task task, const TaskRecord& record) {
  std::vector<std::string> ids;
  std::vector<StoredVersion> versions;
  ids.reserve(record.versions.size());
  for (const ModelVersion& row : record.versions) {
    ids.push_back(version_id(record.name, row.number));
    versions.push_back({static_cast<Owner>(row.number), ids.back(), row.model});
  }
  const SplitResult result = router.load_split(task, {record.partition, versions, record.revision});
  if (!result)
    throw StoreError{StoreErrc::corrupt,
                     "task " + record.name + ", revision " + std::to_string(record.revision) + ": " +
                         std::string{canary::to_string(result.error)},
                     "restore a backup: canary store restore"};
}

Session::Session(const std::string& config_option, std::string_view name) : config_file{config_path(config_option)} {
  const Config config = load_configuration(config_file);
  settings = configured_task(config, config_file, name);
  if (config.store.in_memory())
    route_by_file();
  else
    route_by_store(alone(config, settings));
  task = router().find(name);
}

Session::~Session() = default;

void Session::route_by_file() {
  own_ = std::make_unique<Router>();
  Config one;
  one.store.url = "memory:";
  one.tasks.push_back(settings);
  for (const TaskChange& change : apply(one, *own_, ::getenv).changes) {
    if (change.error != Errc::ok) refuse(change);
    split = change.split;
  }
}

/// A warning with what may have come from outside.
static void warn_of(const std::string& text) {
  std::string line;
  append_visible(line, text);
  warn(line);
}

void Session::route_by_store(const Config& config) {
  store_ = open_store(config);
  std::error_code ignored;
  // Without a state to go by, the store's own error says best what is wrong.
  const auto ask = [this] { (void)store_->load(settings.name, {.in_play = false}); };
  const bool has_state = !config.store.state.empty() && std::filesystem::exists(config.store.state, ignored);
  if (!has_state) ask();
  EngineOptions options;
  options.follow = false;
  options.record = false;  // it looks at decisions that nobody acts on
  engine_ = std::make_unique<Engine>(config, open_store(config), options);
  const EngineStatus status = engine_->status();
  if (status.health == Health::ok) {
    if (!status.message.empty()) warn_of(status.message);  // the state cannot be saved, for one
    return;
  }
  if (!status.from_disk) {
    if (has_state) warn_of("no last good state to route by: " + status.message);
    ask();
    throw Failure{Exit::failed, status.message};
  }
  store_.reset();
  warn_of("routing by the last good state, " + config.store.state + ": " + status.message);
}

const Router& Session::router() const noexcept { return engine_ ? engine_->router() : *own_; }

std::string_view Session::forced_by() const {
  return router().decide(task, 0).reason() == Reason::forced ? std::string_view{settings.force_env}
                                                             : std::string_view{};
}

}  // namespace canary::cli
