// canary doctor: looks at all that a deployment stands on, and says what to do. One bad thing never hides the others.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "alert_sinks.hpp"
#include "canary/adapters/spool.hpp"
#include "canary/adapters/state_file.hpp"
#include "canary/control/bytes.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/percent.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/window.hpp"
#include "configuration.hpp"
#include "context.hpp"
#include "providers.hpp"
#include "registry_view.hpp"
#include "stores.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

struct Check {
  std::string name;
  bool ok = true;
  std::string message;
};

/// Looks at one thing after another, and goes on whatever it finds.
class Doctor {
 public:
  explicit Doctor(const Context& context) : config_file_{config_path(context.config_file)} {}

  void run();

  [[nodiscard]] const std::vector<Check>& checks() const noexcept { return checks_; }
  [[nodiscard]] Exit exit() const noexcept {
    if (!config_) return Exit::invalid_input;
    if (unreachable_) return Exit::store;
    const bool all_ok = std::all_of(checks_.begin(), checks_.end(), [](const Check& check) { return check.ok; });
    return all_ok ? Exit::done : Exit::failed;
  }

 private:
  /// What `look` throws becomes the check's message.
  bool check(const std::string& name, const std::function<Check()>& look);

  void check_store();
  void check_task(const TaskConfig& task);
  void check_provider(const ProviderConfig& provider);
  void check_fine_tune();
  void check_alerts();

  [[nodiscard]] Check schema() const;
  [[nodiscard]] Check writable() const;
  [[nodiscard]] Check state_folder() const;
  [[nodiscard]] Check recorder() const;
  [[nodiscard]] std::string drops() const;
  [[nodiscard]] Check clock();

  std::string config_file_;
  std::optional<Config> config_;
  std::unique_ptr<Store> store_;  // none when it cannot be used
  StoreInfo info_;
  bool unreachable_ = false;
  std::vector<Check> checks_;
};

std::string with_hint(const std::string& message, const std::string& hint) {
  return hint.empty() ? message : message + "; " + hint;
}

/// Why no file can be made beside this one; empty when one can. Permissions alone do not tell of a full disk.
std::string fault_beside(const std::string& file) {
  std::string probe = file + ".doctor-XXXXXX";
  const int fd = ::mkstemp(probe.data());
  if (fd < 0) return "no file can be made beside " + file + ": " + std::strerror(errno);
  ::close(fd);
  ::unlink(probe.c_str());
  return {};
}

Check good(std::string message) { return {{}, true, std::move(message)}; }
Check bad(std::string message) { return {{}, false, std::move(message)}; }

bool Doctor::check(const std::string& name, const std::function<Check()>& look) {
  Check found;
  try {
    found = look();
  } catch (const Failure& failure) {
    found = bad(with_hint(failure.what(), failure.hint));
  } catch (const StoreError& error) {
    unreachable_ |= failure_of(error).exit == Exit::store;
    found = bad(with_hint(error.what(), error.hint));
  } catch (const std::exception& error) {
    found = bad(error.what());
  }
  found.name = name;
  checks_.push_back(std::move(found));
  return checks_.back().ok;
}

Check locked_memory() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return good("not known");
  if (limit.rlim_cur == RLIM_INFINITY) return good("as much as one likes");
  return good(thousands(limit.rlim_cur / 1'024) + " KiB");
}

/// First line of a small file; empty when there is none.
std::string first_line(const fs::path& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

/// The least limit on the way up from this process's group.
Check group_memory() {
  const std::string line = first_line("/proc/self/cgroup");
  if (!line.starts_with("0::")) {  // version 1, which writes no limit as a huge one
    const std::string old = first_line("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    const std::uint64_t bytes = std::strtoull(old.c_str(), nullptr, 10);
    return good(bytes == 0 || bytes >> 60 != 0 ? "no limit known" : thousands(bytes >> 20) + " MiB");
  }
  const fs::path root = "/sys/fs/cgroup";
  std::optional<std::uint64_t> least;
  for (fs::path at = root / fs::path{line.substr(3)}.relative_path();; at = at.parent_path()) {
    const std::string limit = first_line(at / "memory.max");
    if (!limit.empty() && limit != "max") {
      const std::uint64_t bytes = std::strtoull(limit.c_str(), nullptr, 10);
      least = std::min(bytes, least.value_or(bytes));
    }
    if (at == root || !at.has_relative_path()) break;
  }
  return good(least ? thousands(*least >> 20) + " MiB" : "no limit");
}

void Doctor::run() {
  check("config", [this] {
    config_ = load_configuration(config_file_);
    const std::size_t tasks = config_->tasks.size();
    return good(config_file_ + ": " + thousands(tasks) + (tasks == 1 ? " task" : " tasks"));
  });
  if (config_) {
    check_store();
    check("state", [this] { return state_folder(); });
    check("recorder", [this] { return recorder(); });
    for (const TaskConfig& task : config_->tasks) check_task(task);
    for (const ProviderConfig& provider : config_->providers) check_provider(provider);
    check_fine_tune();
    check_alerts();
  }
  check("clock", [this] { return clock(); });
  check("memory.locked", locked_memory);
  check("memory.max", group_memory);
}

// --- store -----------------------------------------------------------------------------------------------------------

void Doctor::check_store() {
  if (config_->store.in_memory()) {
    check("store", [] { return good("memory: the splits stand in the configuration"); });
    return;
  }
  constexpr std::string_view sqlite = "sqlite:";
  const std::string file = config_->store.url.starts_with(sqlite) ? config_->store.url.substr(sqlite.size()) : "";
  if (!file.empty() && !fs::exists(file)) {  // looking at it would make it
    check("store", [this, &file] {
      if (const std::string hint = missing_hint(config_->store, known_by_state(config_->store)); !hint.empty()) {
        unreachable_ = true;
        return bad(file + " is not there; " + hint);
      }
      const std::string fault = fault_beside(file);
      return fault.empty() ? good(file + " is not there yet: the first command that needs it makes it") : bad(fault);
    });
    return;
  }
  const bool reached = check("store", [this] {
    store_ = open_store(*config_);
    info_ = store_->info();
    return good(info_.place + ", " + info_.engine);
  });
  if (!reached) return store_.reset();
  check("store.schema", [this] { return schema(); });
  const bool readable = check("store.read", [this] {
    const std::size_t tasks = store_->tasks().size();
    return good(thousands(tasks) + (tasks == 1 ? " task" : " tasks"));
  });
  check("store.write", [this] { return writable(); });
  if (!readable) store_.reset();  // said once is enough
}

Check Doctor::schema() const {
  const std::string numbers =
      "schema " + std::to_string(info_.schema) + ", this program writes " + std::to_string(info_.program_schema);
  if (info_.schema == info_.program_schema) return good(numbers);
  if (info_.schema > info_.program_schema) return bad(numbers + "; upgrade this program");
  return bad(numbers + "; when every program is upgraded: canary store migrate");
}

/// A change against a revision that no task has: the store takes its lock for writing, finds out, and writes nothing.
Check Doctor::writable() const {
  Commit probe;
  probe.task = "canary.doctor";
  probe.expected_revision = 0xFFFF'FFFE;
  probe.row.revision = 0xFFFF'FFFF;
  if (store_->commit(probe) != CommitResult::conflict)
    return bad("a change against no revision was taken; report this");
  return good("takes changes");
}

Check Doctor::state_folder() const {
  const std::string& file = config_->store.state;
  if (config_->store.in_memory()) return good("none needed");
  if (file.empty()) return good("none kept: a start without the database falls back to the defaults");
  const std::string fault = fault_beside(file);
  if (!fault.empty()) return bad(fault + "; see store.state in " + config_file_);
  if (fs::is_directory(file)) return bad(file + " is a folder; see store.state in " + config_file_);
  const std::optional<StoreState> state = load_state(file, config_->store.url);  // its errors say what is wrong
  return good(state ? file + ": " + thousands(state->tasks.size()) + (state->tasks.size() == 1 ? " task" : " tasks")
                    : file + " is not there yet");
}

// --- recorder --------------------------------------------------------------------------------------------------------

/// Spools in the directory, and which of them no living process has. A server that starts this very moment takes the
/// next one, or makes one.
std::string spools_text(const std::string& directory) {
  std::string fault;
  std::size_t all = 0;
  std::size_t left = 0;
  for (const fs::path& folder : detail::spool_folders(directory, fault)) {
    ++all;
    left += detail::SpoolLock{folder / "spool"}.held() ? 1 : 0;
  }
  if (!fault.empty()) throw Failure{Exit::failed, fault};
  std::string text = directory + ": " + thousands(all) + (all == 1 ? " spool" : " spools");
  if (left != 0)
    text += ", " + thousands(left) + " of ended processes: the next server here delivers what waits in them";
  return text;
}

Check Doctor::recorder() const {
  const std::string& directory = config_->recorder.spool;
  if (config_->store.in_memory()) return good("nothing is recorded: there is no database");
  std::string text = "rings in memory only: what is not in the store yet is lost with a process";
  if (!directory.empty()) {
    const bool there = fs::exists(directory);
    if (there && !fs::is_directory(directory))
      return bad(directory + " is no folder; see recorder.spool in " + config_file_);
    const std::string fault = fault_beside(there ? directory + "/probe" : directory);
    if (!fault.empty()) return bad(fault + "; see recorder.spool in " + config_file_);
    text = there ? spools_text(directory) : directory + " is not there yet: the first server makes it";
  }
  if (const std::string dropped = drops(); !dropped.empty())
    return bad(text + "; in the last day entries were dropped: " + dropped +
               "; raise recorder.spool_mb (recorder.lane_mb for a single busy thread), and see whether the store was "
               "out of reach");
  return good(text);
}

/// What did not fit into the rings in the last day, by task; empty for nothing, and where the store keeps no counts.
std::string Doctor::drops() const {
  constexpr TimeUs day_us = 86'400'000'000;
  std::string text;
  if (!store_ || info_.schema != info_.program_schema) return text;
  const std::unique_ptr<InteractionStore> interactions = store_->interactions();
  CountsFilter filter{.kind = CountsKind::drops, .from = window_of(Registry::system_time() - day_us)};
  for (const auto& [number, name] : interactions->task_names()) {
    filter.task = number;
    std::uint64_t sum = 0;
    for (const CountsRow& row : interactions->counts(filter)) sum += detail::NumberReader{row.bytes}.take();
    if (sum != 0) text += (text.empty() ? "" : ", ") + name + ' ' + thousands(sum);
  }
  return text;
}

// --- tasks -----------------------------------------------------------------------------------------------------------

/// A version that is missing is told by an exception.
Check shares(const TaskRecord& record) {
  if (!record.partition.valid())
    return bad("the partition does not cover the ring; restore a backup: canary store restore");
  std::string text;
  for (const OwnerShare& share : record.partition.shares()) {
    if (!text.empty()) text += ", ";
    text += owner_id(record.name, share.owner) + ' ' + percent_text(share.ppm) + " %";
    if (share.owner == default_owner) continue;
    if (version_of(record, share.owner).weight_ppm != share.ppm)
      return bad(owner_id(record.name, share.owner) + " has another share than its part of the ring; restore a backup");
  }
  return good("revision " + std::to_string(record.revision) + ": " + text);
}

Check shutdown_dates(const TaskRecord& record, TimeUs now_us) {
  std::string text;
  for (const ModelVersion& row : record.versions) {
    if (row.weight_ppm == 0 || !past_shutdown(row, now_us)) continue;
    if (!text.empty()) text += ", ";
    text += version_id(record.name, row.number) + " has " + percent_text(row.weight_ppm) +
            " % of the traffic, and its model was shut down on " + row.shutdown_date;
  }
  return text.empty() ? good("no traffic goes to a model that is shut down")
                      : bad(text + "; promote a version whose model lives on");
}

void Doctor::check_task(const TaskConfig& task) {
  const std::string name = "task." + task.name;
  check(name + ".default_model", [&task] {
    return task.default_model.empty() ? bad("none: what no version holds gets no model; set default_model")
                                      : good(task.default_model);
  });
  check(name + ".override", [&task] {
    if (task.force_env.empty()) return good("no variable forces a model");
    const char* value = std::getenv(task.force_env.c_str());
    if (value == nullptr || *value == '\0') return good(task.force_env + " is not set");
    return bad(task.force_env + " forces every key to " + value + "; unset it when the emergency is over");
  });
  if (!store_) return;
  std::optional<TaskRecord> record;
  check(name + ".shares", [&] {
    record = store_->load(task.name, {});
    return shares(*record);
  });
  if (record) check(name + ".shutdown", [&record] { return shutdown_dates(*record, Registry::system_time()); });
}

void Doctor::check_provider(const ProviderConfig& provider) {
  check("provider." + provider.name, [&provider] {
    if (provider.kind == ProviderKind::command) {
      check_program(provider);
      std::string program;
      append_visible(program, provider.command.front());
      return good(program + " can be run");
    }
    const std::string variable = key_variable(provider);
    if (variable.empty()) return good("no key is sent");
    const char* value = std::getenv(variable.c_str());
    const bool set = value != nullptr && *value != '\0';
    return set ? good(variable + " is set") : bad(variable + " is not set; export the key in it");
  });
}

/// The provider of the next start, where somebody has chosen one.
void Doctor::check_fine_tune() {
  Config config = *config_;
  apply_environment(config, [](const char* name) { return std::getenv(name); });
  const std::string& chosen = config.fine_tune.provider;
  if (chosen == FineTuneConfig{}.provider) return;
  check("fine_tune.provider", [&] { return good(provider_config(config, chosen).name); });
}

/// Makes each sink, which looks at its secret or its program, and sends nothing.
void Doctor::check_alerts() {
  const std::vector<AlertSinkPlan> plans = alert_sink_plans(*config_);
  if (plans.empty()) check("alerts", [] { return good("nobody is told: set webhook, command or log under [alerts]"); });
  for (const AlertSinkPlan& plan : plans)
    check("alerts." + plan.name.substr(0, plan.name.find(' ')), [&plan] {
      (void)plan.make();
      return good(plan.name == "log"
                      ? "lines on stderr"
                      : plan.name.substr(plan.name.find(' ') + 1) + "; canary alert test sends something there");
    });
}

// --- the machine -----------------------------------------------------------------------------------------------------

Check Doctor::clock() {
  const TimeUs now_us = Registry::system_time();
  const std::string now = time_text(now_us);
  if (now < "2025" || now >= "2100") return bad("it says " + now + "; set it, by NTP for one");
  if (!store_) return good(now);
  for (const TaskConfig& task : config_->tasks) {
    const std::vector<HistoryRow> newest = store_->history(task.name, {.newest = 1});
    constexpr TimeUs tolerated_us = 1'000'000;
    if (!newest.empty() && newest.front().at_us > now_us + tolerated_us)
      return bad("it says " + now + ", before the newest change of task " + task.name + " at " +
                 time_text(newest.front().at_us) + "; set it, here or where that change was made");
  }
  return good(now);
}

// --- what was found --------------------------------------------------------------------------------------------------

void write_text(Context& context, const std::vector<Check>& checks) {
  std::size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  for (const Check& check : checks) {
    const std::string mark = check.ok ? coloured(STDOUT_FILENO, "32", "ok ") : coloured(STDOUT_FILENO, "1;31", "BAD");
    std::string line = mark + "  " + check.name + std::string(width + 2 - check.name.size(), ' ');
    std::string_view rest = check.message;  // a line for each fault of a configuration
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      append_visible(line, rest.substr(0, end));
      line += '\n' + std::string(width + 7, ' ');
    }
    append_visible(line, rest);
    context.out.write(line + '\n');
  }
  const auto faults = std::count_if(checks.begin(), checks.end(), [](const Check& check) { return !check.ok; });
  const auto count = static_cast<std::uint64_t>(faults);
  context.out.write(count == 0 ? "all is well\n" : thousands(count) + (count == 1 ? " fault\n" : " faults\n"));
}

void run(Context& context) {
  Doctor doctor{context};
  doctor.run();
  const std::vector<Check>& checks = doctor.checks();
  context.exit = doctor.exit();
  if (!context.json) return write_text(context, checks);
  json::array documents;
  for (const Check& check : checks)
    documents.push_back({{"name", json_text(check.name)}, {"ok", check.ok}, {"message", json_text(check.message)}});
  write_document(context.out, json::object{{"checks", std::move(documents)}});
}

}  // namespace

void add_doctor(Syntax root, Context& context) {
  Syntax noun =
      add_noun(root, context, "doctor", "Checks configuration, store, tasks, providers, clock and memory limits");
  noun.footer(
      "Exit 0 when all is well, 5 when the configuration does not load, 7 when the store cannot be reached, else 1.");
  noun.callback([&context] { run(context); });
}

}  // namespace canary::cli
