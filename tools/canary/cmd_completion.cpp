// canary completion bash|zsh|fish: scripts made from the command line itself, so that no command can be missing.
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/nearest.hpp"
#include "context.hpp"

namespace canary::cli {
namespace {

struct Flag {
  std::string name;  ///< --json
  std::string description;
  std::string value;  ///< FILE, NAME, ...; empty when it takes none
};

struct Noun {
  std::string name;
  std::string description;
  std::vector<Flag> flags;
  bool takes_task = false;
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

std::vector<Noun> nouns_of(const CLI::App& root) {
  std::vector<Noun> nouns;
  for (const CLI::App* app : root.get_subcommands({})) {
    Noun noun{app->get_name(), app->get_description(), flags_of(*app), false};
    for (const CLI::Option* option : app->get_options()) noun.takes_task |= option->get_name() == "task";
    nouns.push_back(std::move(noun));
  }
  return nouns;
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
  local noun='' place=0 words='' i file="${CANARY_CONFIG:-canary.toml}"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "${COMP_WORDS[i]}" in
    --config) file="${COMP_WORDS[++i]}" ;;
    --keys|--column|--set|--at) ((++i)) ;;
    -*) ;;
    *) if [[ -z $noun ]]; then noun="${COMP_WORDS[i]}"; else ((++place)); fi ;;
    esac
  done
  case "$last" in
  --config|--keys) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
  --column|--set|--at) return ;;
  esac
  if [[ -z $noun ]]; then
    words='@NOUNS@ --config --json --help --version'
  elif [[ $word == -* ]]; then
    case "$noun" in
@OPTIONS@    esac
  else
    case "$noun:$place" in
    completion:0) words='bash zsh fish' ;;
    init:0) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    @WITH_TASK@) words="$(@TASKS@)" ;;
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

std::string bash_script(const CLI::App& root) {
  std::string names;
  std::string cases;
  std::string with_task;
  for (const Noun& noun : nouns_of(root)) {
    (names += names.empty() ? "" : " ") += noun.name;
    cases += "    " + noun.name + ") words='";
    for (const Flag& flag : noun.flags) cases += flag.name + ' ';
    cases.back() = '\'';
    cases += " ;;\n";
    if (noun.takes_task) (with_task += with_task.empty() ? "" : "|") += noun.name + ":0";
  }
  return filled(bash_template,
                {{"@NOUNS@", names}, {"@OPTIONS@", cases}, {"@WITH_TASK@", with_task}, {"@TASKS@", task_names}});
}

std::string zsh_script(const CLI::App& root) {
  std::string nouns;
  std::string cases;
  for (const Noun& noun : nouns_of(root)) {
    nouns += "    " + single_quoted(noun.name + ":" + noun.description) + '\n';
    cases += "  " + noun.name + ")\n    _arguments";
    for (const Flag& flag : noun.flags) {
      std::string description;
      for (const char c : flag.description)
        description += c == '[' || c == ']' || c == ':' ? std::string{"\\"} + c : std::string{c};
      std::string spec = flag.name + '[' + description + ']';
      if (!flag.value.empty()) spec += ':' + flag.value + (flag.value == "FILE" ? ":_files" : ":");
      cases += " \\\n      " + single_quoted(spec);
    }
    if (noun.takes_task) cases += " \\\n      '1:task:_canary_tasks' '*: :'";
    if (noun.name == "completion") cases += " \\\n      '1:shell:(bash zsh fish)'";
    if (noun.name == "init") cases += " \\\n      '1:directory:_files -/'";
    cases += "\n    ;;\n";
  }
  return "#compdef canary\n# zsh completion for canary:  canary completion zsh > \"${fpath[1]}/_canary\"\n"
         "_canary_tasks() {\n  local file=\"${opt_args[--config]:-${CANARY_CONFIG:-canary.toml}}\"\n  local -a tasks\n"
         "  tasks=(\"${(@f)$(" +
         std::string{task_names} +
         ")}\")\n  compadd -- $tasks\n}\n"
         "_canary() {\n  local context state state_descr line\n  typeset -A opt_args\n  local -a nouns\n  nouns=(\n" +
         nouns +
         "  )\n  _arguments -C '--config[Configuration file]:FILE:_files' '--json[Results and errors as JSON]' "
         "'--version[Version]' '--help[Help]' '1:command:->noun' '*::rest:->rest'\n"
         "  case $state in\n  noun) _describe command nouns ;;\n  rest)\n  case $words[1] in\n" +
         cases +
         "  esac\n  ;;\n  esac\n}\n"
         "if [[ $funcstack[1] == _canary ]]; then _canary \"$@\"; else compdef _canary canary; fi\n";
}

std::string fish_script(const CLI::App& root) {
  std::string names;
  std::string script;
  for (const Noun& noun : nouns_of(root)) (names += names.empty() ? "" : " ") += noun.name;
  for (const Noun& noun : nouns_of(root)) {
    script += "complete -c canary -f -n '__fish_use_subcommand' -a " + noun.name + " -d " +
              single_quoted(noun.description) + '\n';
    const std::string when = "complete -c canary -n '__fish_seen_subcommand_from " + noun.name + "'";
    for (const Flag& flag : noun.flags)
      script += when + " -l " + flag.name.substr(2) +
                (flag.value.empty()     ? ""
                 : flag.value == "FILE" ? " -r -F"
                                        : " -x") +
                " -d " + single_quoted(flag.description) + '\n';
    if (noun.takes_task) script += when + " -f -a '(__canary_tasks)'\n";
    if (noun.name == "completion") script += when + " -f -a 'bash zsh fish'\n";
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

void add_completion(CLI::App& root, Context& context) {
  CLI::App& noun = add_noun(root, context, "completion", "Prints a completion script for a shell");
  const auto shell = std::make_shared<std::string>();
  add_text(noun, "shell", *shell, "bash, zsh or fish")->required()->type_name("SHELL");
  noun.callback([&root, &context, shell] {
    std::string script;
    if (*shell == "bash") script = bash_script(root);
    if (*shell == "zsh") script = zsh_script(root);
    if (*shell == "fish") script = fish_script(root);
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
