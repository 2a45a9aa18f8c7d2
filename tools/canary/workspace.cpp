#include "workspace.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "canary/control/percent.hpp"
#include "configuration.hpp"
#include "stores.hpp"

namespace canary::cli {
namespace {

std::string login_name() {
  const char* user = std::getenv("USER");
  if (user != nullptr && *user != '\0') return user;
  const passwd* entry = ::getpwuid(::geteuid());
  if (entry != nullptr && entry->pw_name != nullptr && *entry->pw_name != '\0') return entry->pw_name;
  return "uid " + std::to_string(::geteuid());
}

}  // namespace

Workspace::Workspace(const Context& context, Missing missing)
    : config_file{config_path(context.config_file)},
      config{load_configuration(config_file)},
      store{open_store(config, missing)} {}

const TaskConfig& Workspace::task(std::string_view name) const { return configured_task(config, config_file, name); }

VersionId Workspace::version(std::string_view id) const {
  return version_argument(task(id.substr(0, id.rfind('@'))), id);
}

VersionId version_argument(const TaskConfig& task, std::string_view id) {
  if (const std::optional<VersionId> parsed = parse_version_id(id); parsed && parsed->task == task.name) return *parsed;
  if (id == task.name + "@default")
    throw Failure{Exit::invalid_input, std::string{id} + " is no version: it takes what the versions leave over",
                  "change the share of a version; the model of the default stands in the configuration"};
  std::string shown;
  append_visible(shown, id.substr(0, 256));
  const std::string_view number = id.substr(std::min(id.size(), task.name.size() + 1));
  const bool of_task = id.starts_with(task.name + "@") && !number.empty() && number.front() != '0';
  if (of_task && std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; }))
    throw Failure{Exit::not_found, "no version " + shown, "see canary model list " + task.name};
  throw Failure{Exit::invalid_input, '"' + shown + "\" is no version's id",
                "a version of this task is " + task.name + "@NUMBER, " + task.name + "@1 for one"};
}

ChangeOptions ChangeArguments::options() const {
  const char* variable = std::getenv("CANARY_ACTOR");
  ChangeOptions options;
  options.actor = actor ? *actor : variable != nullptr && *variable != '\0' ? variable : login_name();
  options.note = note;
  options.dry_run = dry_run;
  return options;
}

ChangeOptions ChangeArguments::options(const GuardConfig& guard) const {
  ChangeOptions made = options();
  add_thresholds(made, guard);
  return made;
}

void add_change_options(Syntax verb, ChangeArguments& arguments) {
  add_text(verb, "--note", arguments.note, "Why, for the history")->may_be_empty()->type_name("TEXT");
  verb.add_option(
          "--actor", [&arguments](const std::string& name) { arguments.actor = unprotect(name); },
          "Who, for the history (default: $CANARY_ACTOR, else the login name)")
      ->type_name("NAME");
  verb.add_flag("--dry-run", arguments.dry_run, "Says what it would do, and does nothing");
}

std::uint32_t percent_argument(std::string_view text) {
  if (const std::optional<std::uint32_t> ppm = parse_percent(text)) return *ppm;
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::invalid_input, '"' + shown + "\" is not a percentage",
                "from 0 to 100, with up to four places: 10, 10%, 0.5, 0.0001"};
}

}  // namespace canary::cli
