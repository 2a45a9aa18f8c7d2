// canary completion bash|zsh|fish: scripts made from the command line itself, so that no command can be missing.
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include <CLI/CLI.hpp>
#include "canary/control/nearest.hpp"

#include "context.hpp"

namespace canary::cli {
namespace {

struct Flag {
  std::string name;  ///< --json
  std::string description;
  std::string value;  ///< FILE, NAME, ...; empty when it takes none
};

/// What stands first behind a command, as far as a shell can know it.
enum class Operand : std::uint8_t { nothing, task, id, file, two_files, task_and_file };

struct Command {
  std::string words;  ///< `model promote`
  std::string description;
  std::vector<Flag> flags;
  Operand place = Operand::nothing;
  std::vector<Command> verbs;
};

std::vector<Flag> flags_of(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames())
      flags.push_back({"--" + name, option->get_description(),
                       option->get_expected_max() == 0 ? std::string{} : option->get_type_name()});
  }
  return flags;
}

Operand place_of(const CLI::App& app) {
  const bool with_file = app.get_option_no_throw("file") != nullptr;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_name() == "task") return with_file ? Operand::task_and_file : Operand::task;
    if (option->get_name() == "id") return Operand::id;
    if (option->get_name() == "file")
      return app.get_option_no_throw("validation") != nullptr ? Operand::two_files : Operand::file;
  }
  return Operand::nothing;
}

std::vector<Command> commands_of(const CLI::App& above, const std::string& before = {}) {
  std::vector<Command> commands;
  for (const CLI::App* app : above.get_subcommands({})) {
    const std::string words = before + app->get_name();
    commands.push_back({words, app->get_description(), flags_of(*app), place_of(*app), commands_of(*app, words + ' ')});
  }
  return commands;
}

/// Nouns, and the verbs of each behind it.
std::vector<Command> flat(const std::vector<Command>& commands) {
  std::vector<Command> all;
  for (const Command& command : commands) {
    all.push_back(command);
    all.insert(all.end(), command.verbs.begin(), command.verbs.end());
  }
  return all;
}

/// The last of its words.
std::string own_name(const Command& command) { return command.words.substr(command.words.rfind(' ') + 1); }

std::string names_of(const std::vector<Command>& commands) {
  std::string names;
  for (const Command& command : commands) (names += names.empty() ? "" : " ") += own_name(command);
  return names;
}

/// In single quotes, for any of the three shells' needs here: descriptions are ours and hold no control characters.
std::string single_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return out + "'";
}

/// Task names stand at the head of tables: no need to start canary at every key press.
constexpr std::string_view task_names =
    R"sh(sed -n 's/^[[:space:]]*\[\{1,2\}task\.\("\{0,1\}\)\([A-Za-z0-9_.-]*\)\1.*/\2/p' "$file" 2>/dev/null | sed 's/\.\(guard\|version\).*$//' | sort -u)sh";

constexpr std::string_view bash_template = R"sh(# bash completion for canary:  source <(canary completion bash)
_canary() {
  local word="${COMP_WORDS[COMP_CWORD]}" last="${COMP_WORDS[COMP_CWORD-1]}"
  local command='' place=0 words='' i file="${CANARY_CONFIG:-canary.toml}"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "${COMP_WORDS[i]}" in
    --config) file="${COMP_WORDS[++i]}" ;;
    @VALUED@) ((++i)) ;;
    -*) ;;
    *)
      case "$command" in
      '') command="${COMP_WORDS[i]}" ;;
      @GROUPS@) command="$command ${COMP_WORDS[i]}" ;;
      *) ((++place)) ;;
      esac
      ;;
    esac
  done
  case "$last" in
  @FILES@) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
  @FOLDERS@) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
  @IDS@)
    mapfile -t COMPREPLY < <(compgen -W "$(@TASKS@ | sed 's/$/@/')" -- "$word")
    compopt -o nospace 2>/dev/null || true
    return
    ;;
  @VALUED@) return ;;
  esac
  if [[ -z $command ]]; then
    words='@NOUNS@ --config --json --help --version'
  elif [[ $word == -* ]]; then
    case "$command" in
@OPTIONS@    esac
  else
    case "$command:$place" in
    completion:0) words='bash zsh fish' ;;
    init:0) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
@VERBS@    @WITH_FILE@) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    @WITH_TASK@) words="$(@TASKS@)" ;;
    @WITH_ID@) words="$(@TASKS@ | sed 's/$/@/')"; compopt -o nospace 2>/dev/null || true ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o filenames -F _canary canary
)sh";

/// `text` with each placeholder replaced.
std::string filled(std::string_view text, std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
  std::string out{text};
  for (const auto& [placeholder, value] : values) {
    for (std::size_t at = out.find(placeholder); at != std::string::npos; at = out.find(placeholder, at + value.size()))
      out.replace(at, placeholder.size(), value);
  }
  return out;
}

/// Patterns of a shell's case, `"model register:0"|route:0`.
std::string either(const std::vector<std::string>& patterns) {
  std::string out;
  for (const std::string& pattern : patterns)
    (out += out.empty() ? "" : "|") += pattern.find(' ') == std::string::npos ? pattern : '"' + pattern + '"';
  return out;
}

/// Names of the options that take a value; of this kind, or of any.
std::vector<std::string> valued_flags(const std::vector<Command>& commands, std::string_view kind = {}) {
  std::vector<std::string> names;
  for (const Command& command : commands)
    for (const Flag& flag : command.flags)
      if (!flag.value.empty() && (kind.empty() || flag.value == kind) &&
          std::find(names.begin(), names.end(), flag.name) == names.end())
        names.push_back(flag.name);
  return names;
}

std::string bash_script(const CLI::App& root) {
  const std::vector<Command> nouns = commands_of(root);
  const std::vector<Command> all = flat(nouns);
  std::vector<std::string> groups;
  std::vector<std::string> with_task;
  std::vector<std::string> with_id;
  std::vector<std::string> with_file;
  std::string options;
  std::string verbs;
  for (const Command& command : all) {
    options += "    " + either({command.words}) + ") words='";
    for (const Flag& flag : command.flags) options += flag.name + ' ';
    options.back() = '\'';
    options += " ;;\n";
    const std::string first = command.words + ":0";
    const bool task_and_file = command.place == Operand::task_and_file;
    if (command.place == Operand::task || task_and_file) with_task.push_back(first);
    if (command.place == Operand::id) with_id.push_back(first);
    if (command.place == Operand::file || command.place == Operand::two_files) with_file.push_back(first);
    if (command.place == Operand::two_files) with_file.push_back(command.words + ":1");
    if (task_and_file) with_file.push_back(command.words + ":1");
    if (command.verbs.empty()) continue;
    groups.push_back(command.words);
    verbs += "    " + first + ") words='" + names_of(command.verbs) + "' ;;\n";
  }
  return filled(bash_template, {{"@NOUNS@", names_of(nouns)},
                                {"@GROUPS@", either(groups)},
                                {"@OPTIONS@", options},
                                {"@VERBS@", verbs},
                                {"@VALUED@", either(valued_flags(all))},
                                {"@FILES@", either(valued_flags(all, "FILE"))},
                                {"@FOLDERS@", either(valued_flags(all, "DIR"))},
                                {"@IDS@", either(valued_flags(all, "ID"))},
                                {"@WITH_TASK@", either(with_task)},
                                {"@WITH_ID@", either(with_id)},
                                {"@WITH_FILE@", either(with_file)},
                                {"@TASKS@", task_names}});
}

std::string zsh_arguments(const Command& command) {
  std::string text = "    _arguments";
  for (const Flag& flag : command.flags) {
    std::string description;
    for (const char c : flag.description)
      description += c == '[' || c == ']' || c == ':' ? std::string{"\\"} + c : std::string{c};
    std::string spec = flag.name + '[' + description + ']';
    const std::string_view offered = flag.value == "FILE"  ? "_files"
                                     : flag.value == "DIR" ? "_files -/"
                                     : flag.value == "ID"  ? "_canary_ids"
                                                           : "";
    if (!flag.value.empty()) ((spec += ':' + flag.value) += ':') += offered;
    text += " \\\n      " + single_quoted(spec);
  }
  if (command.place == Operand::task) text += " \\\n      '1:task:_canary_tasks' '*: :'";
  if (command.place == Operand::task_and_file) text += " \\\n      '1:task:_canary_tasks' '2:file:_files'";
  if (command.place == Operand::id) text += " \\\n      '1:version:_canary_ids' '*: :'";
  if (command.place == Operand::file) text += " \\\n      '1:file:_files'";
  if (command.place == Operand::two_files) text += " \\\n      '1:file:_files' '2:file:_files'";
  if (command.words == "completion") text += " \\\n      '1:shell:(bash zsh fish)'";
  if (command.words == "init") text += " \\\n      '1:directory:_files -/'";
  return text + '\n';
}

/// A function that completes the next word of a command line, and what stands behind each.
std::string zsh_function(const std::string& name, const std::string& globals, const std::vector<Command>& commands) {
  std::string list;
  std::string cases;
  for (const Command& command : commands) {
    list += "    " + single_quoted(own_name(command) + ":" + command.description) + '\n';
    cases += "  " + own_name(command) + ")\n" +
             (command.verbs.empty() ? zsh_arguments(command) : "    _canary_" + own_name(command) + '\n') + "    ;;\n";
  }
  return name +
         "() {\n  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n  commands=(\n" +
         list + "  )\n  _arguments -C " + globals + " '1:command:->command' '*::rest:->rest'\n" +
         "  case $state in\n  command) _describe command commands ;;\n  rest)\n  case $words[1] in\n" + cases +
         "  esac\n  ;;\n  esac\n}\n";
}

std::string zsh_script(const CLI::App& root) {
  const std::vector<Command> nouns = commands_of(root);
  const std::string globals = "'--config[Configuration file]:FILE:_files' '--json[Results and errors as JSON]'";
  std::string groups;
  for (const Command& noun : nouns)
    if (!noun.verbs.empty()) groups += zsh_function("_canary_" + noun.words, globals, noun.verbs);
  return "#compdef canary\n# zsh completion for canary:  canary completion zsh > \"${fpath[1]}/_canary\"\n"
         "_canary_task_names() {\n  local file=\"${opt_args[--config]:-${CANARY_CONFIG:-canary.toml}}\"\n  " +
         std::string{task_names} +
         "\n}\n"
         "_canary_tasks() {\n  local -a tasks\n  tasks=(\"${(@f)$(_canary_task_names)}\")\n  compadd -- $tasks\n}\n"
         "_canary_ids() {\n  local -a tasks\n  tasks=(\"${(@f)$(_canary_task_names)}\")\n"
         "  compadd -S '' -- ${^tasks}@\n}\n" +
         groups + zsh_function("_canary", globals + " '--version[Version]' '--help[Help]'", nouns) +
         "if [[ $funcstack[1] == _canary ]]; then _canary \"$@\"; else compdef _canary canary; fi\n";
}

/// What fish offers behind a command; `when` is true there.
std::string fish_arguments(const Command& command, const std::string& condition) {
  const std::string when = "complete -c canary -n '" + condition + "'";
  std::string script;
  for (const Flag& flag : command.flags)
    script += when + " -l " + flag.name.substr(2) +
              (flag.value.empty()     ? ""
               : flag.value == "FILE" ? " -r -F"
               : flag.value == "DIR"  ? " -x -a '(__fish_complete_directories)'"
               : flag.value == "ID"   ? " -x -a '(__canary_tasks)@'"
                                      : " -x") +
              " -d " + single_quoted(flag.description) + '\n';
  if (command.place == Operand::task) script += when + " -f -a '(__canary_tasks)'\n";
  if (command.place == Operand::task_and_file) script += when + " -F -a '(__canary_tasks)'\n";
  if (command.place == Operand::id) script += when + " -f -a '(__canary_tasks)@'\n";
  if (command.place == Operand::file || command.place == Operand::two_files) script += when + " -F\n";
  if (command.words == "completion") script += when + " -f -a 'bash zsh fish'\n";
  return script;
}

std::string fish_script(const CLI::App& root) {
  const std::string seen = "__fish_seen_subcommand_from ";
  std::string script;
  for (const Command& noun : commands_of(root)) {
    script += "complete -c canary -f -n '__fish_use_subcommand' -a " + noun.words + " -d " +
              single_quoted(noun.description) + '\n' + fish_arguments(noun, seen + noun.words);
    const std::string no_verb = seen + noun.words + "; and not " + seen + names_of(noun.verbs);
    for (const Command& verb : noun.verbs)
      script += "complete -c canary -f -n '" + no_verb + "' -a " + own_name(verb) + " -d " +
                single_quoted(verb.description) + '\n' +
                fish_arguments(verb, seen + noun.words + "; and " + seen + own_name(verb));
  }
  return "# fish completion for canary:  canary completion fish > ~/.config/fish/completions/canary.fish\n"
         "function __canary_tasks\n  set -l file canary.toml\n  set -q CANARY_CONFIG; and set file $CANARY_CONFIG\n"
         "  set -l words (commandline -opc)\n  set -l at (contains -i -- --config $words); and set file $words[(math "
         "$at + 1)]\n  " +
         std::string{task_names} + "\nend\ncomplete -c canary -f\n" +
         "complete -c canary -n '__fish_use_subcommand' -l config -r -F -d 'Configuration file'\n"
         "complete -c canary -n '__fish_use_subcommand' -l json -d 'Results and errors as JSON'\n" +
         script;
}

}  // namespace

void add_completion(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "completion", "Prints a completion script for a shell");
  const auto shell = std::make_shared<std::string>();
  add_text(noun, "shell", *shell, "bash, zsh or fish")->required()->type_name("SHELL");
  noun.callback([root, &context, shell] {
    std::string script;
    if (*shell == "bash") script = bash_script(root.app());
    if (*shell == "zsh") script = zsh_script(root.app());
    if (*shell == "fish") script = fish_script(root.app());
    if (script.empty()) {
      const std::string near = nearest(*shell, std::vector<std::string_view>{"bash", "zsh", "fish"});
      throw Failure{Exit::usage, "completion is for bash, zsh or fish",
                    near.empty() ? "" : "did you mean \"" + near + "\"?"};
    }
    if (context.json) return write_document(context.out, boost::json::object{{"shell", *shell}, {"script", script}});
    context.out.write(script);
  });
}

}  // namespace canary::cli
