// canary: the command line. Each noun lives in a file of its own; here is what they share: parsing, errors, exit codes.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "canary/control/nearest.hpp"
#include "canary/core/types.hpp"
#include "context.hpp"
#include "interrupt.hpp"
#include "recorded.hpp"
#include "stores.hpp"

namespace {

using namespace canary::cli;
namespace json = boost::json;

constexpr const char* footer =
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 invalid input, 6 provider, 7 store "
    "unreachable.\n"
    "`canary NOUN --help` says more.";

void build(CLI::App& app, Context& context) {
  app.name("canary");
  app.require_subcommand(1);
  app.set_version_flag("--version", "canary " + std::string{canary::version}, "Prints the version");
  app.footer(footer);
  const Syntax root{app};
  add_global_options(root, context);
  add_init(root, context);
  add_model(root, context);
  add_history(root, context);
  add_route(root, context);
  add_why(root, context);
  add_simulate(root, context);
  add_interactions(root, context);
  add_export(root, context);
  add_train(root, context);
  add_rollout(root, context);
  add_guard(root, context);
  add_alert(root, context);
  add_store(root, context);
  add_doctor(root, context);
  add_version(root, context);
  add_completion(root, context);
}

/// The command that was understood, down to the verb.
const CLI::App& understood(const CLI::App& root) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return *app;
}

/// As it is typed: `canary model promote`.
std::string command_of(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : command_of(*app.get_parent()) + ' ' + app.get_name();
}

/// The words of a command line that are no options, and not the file of --config.
std::vector<std::string> words_of(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i != arguments.size(); ++i)
    if (!arguments[i].starts_with('-') && (i == 0 || arguments[i - 1] != "--config")) words.push_back(arguments[i]);
  return words;
}

/// A command line that makes no sense, with what may have been meant.
Failure usage_failure(const CLI::App& root, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  const CLI::App& app = understood(root);
  const std::string help = "see " + command_of(app) + " --help";
  const std::string message = without_marks(error.what());
  std::vector<std::string> candidates;
  if (!app.get_subcommands({}).empty()) {  // the word behind what was understood is meant to be a noun, or a verb
    for (const CLI::App* next : app.get_subcommands({})) candidates.push_back(next->get_name());
    const std::vector<std::string> words = words_of(arguments);
    std::size_t depth = 0;
    for (const CLI::App* at = &app; at->get_parent() != nullptr; at = at->get_parent()) ++depth;
    if (words.size() > depth) {
      std::string shown = depth == 0 ? "" : app.get_name() + ' ';
      append_visible(shown, words[depth].substr(0, 64));
      const std::string near = canary::nearest(words[depth], candidates);
      return {Exit::usage, "no command \"" + shown + '"', near.empty() ? help : "did you mean \"" + near + "\"?"};
    }
    candidates.clear();
  }
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) candidates.push_back("--" + name);
  for (const std::string& argument : arguments) {
    const std::string word = argument.substr(0, argument.find('='));
    const std::string near = word.starts_with("--") ? canary::nearest(word, candidates) : std::string{};
    if (!near.empty() && near != word) return {Exit::usage, message, "did you mean \"" + near + "\"? Or " + help};
  }
  return {Exit::usage, message, help};
}

/// A message as a terminal may have it: it can quote arguments and file names.
std::string visible_lines(std::string_view text) {
  std::string out;
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    append_visible(out, text.substr(0, end));
    out += '\n';
  }
  append_visible(out, text);
  return out;
}

int report(Context& context, const Failure& failure) {
  if (context.json) {
    const bool of_fault = failure.hint.empty() && !failure.faults.empty();
    const std::string& hint = of_fault ? failure.faults.front().hint : failure.hint;
    json::object error{{"code", json_text(to_string(failure.exit))},
                       {"message", json_text(failure.what())},
                       {"hint", json_text(hint)}};
    if (!failure.faults.empty()) {
      json::array& faults = error["faults"].emplace_array();
      for (const canary::ConfigFault& fault : failure.faults)
        faults.push_back({{"file", json_text(fault.file)},
                          {"line", fault.line},
                          {"column", fault.column},
                          {"message", json_text(fault.message)},
                          {"hint", json_text(fault.hint)}});
    }
    write_document(context.out, json::object{{"error", std::move(error)}});
    context.out.flush();
    return static_cast<int>(failure.exit);
  }
  try {
    context.out.flush();  // the results so far come first
  } catch (const ReaderGone&) {
    context.out.buffer().clear();  // nobody reads them; the error is still told
  }
  std::string text;
  const bool located = !failure.faults.empty();  // such lines say `error:` themselves
  if (!located) text += coloured(STDERR_FILENO, "1;31", "error:") + ' ';
  text += visible_lines(failure.what());
  if (!failure.hint.empty()) text += '\n' + coloured(STDERR_FILENO, "1", "hint:") + ' ' + visible_lines(failure.hint);
  std::fputs((text + '\n').c_str(), stderr);
  return static_cast<int>(failure.exit);
}

/// Ends as `failure` says, even when saying so fails as well.
int end(Context& context, const Failure& failure) {
  try {
    return report(context, failure);
  } catch (const Failure& second) {
    const bool stands = !context.committed.empty();  // that is what matters then
    std::fprintf(stderr, "error: %s\n", stands ? visible_lines(failure.what()).c_str() : second.what());
    return static_cast<int>(failure.exit);
  } catch (const ReaderGone&) {
    return static_cast<int>(failure.exit);
  }
}

int run(CLI::App& root, Context& context, const std::vector<std::string>& arguments) {
  // Known before the parser is: a command line that cannot be parsed is answered in JSON too.
  const auto stop = std::find(arguments.begin(), arguments.end(), "--");
  const bool json = std::any_of(arguments.begin(), stop, [](std::string_view argument) {
    return argument == "--json" || argument == "--json=true";
  });
  try {
    context.json = json;
    std::vector<std::string> marked = protect(arguments);
    std::reverse(marked.begin(), marked.end());  // as CLI11 wants it
    root.parse(std::move(marked));
    context.out.flush();
    return static_cast<int>(context.exit);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {  // --help, --version
      std::ostringstream text;
      root.exit(error, text, text);
      if (json)  // one document, whatever was asked for
        write_document(context.out, error.get_name() == "CallForVersion"
                                        ? json::object{{"version", json_text(canary::version)}}
                                        : json::object{{"help", json_text(text.str())}});
      else
        context.out.write(text.str());
      context.out.flush();
      return 0;
    }
    context.json = json;
    return end(context, usage_failure(root, error, arguments));
  } catch (const Failure& failure) {
    if (context.committed.empty()) return end(context, failure);
    return end(context, {failure.exit, failure.what() + ("; " + context.committed), "do not say it again"});
  } catch (const canary::StoreError& error) {
    return end(context, failure_of(error));
  } catch (const canary::RegistryError& error) {
    return end(context, failure_of(error));
  } catch (const std::bad_alloc&) {
    return end(context, Failure{Exit::failed, "out of memory"});
  }
}

/// A stream that was closed before we started: its number must not go to a file that we open.
void occupy_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd)
    while (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR) >= 0) continue;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // write() tells instead
  Context context;
  try {
    CLI::App root{"Canary releases for model versions: who gets which version, and why"};
    build(root, context);
    return run(root, context, {argv + 1, argv + argc});
  } catch (const ReaderGone&) {
    return 0;
  } catch (const Interrupted& interrupted) {  // everything is taken back: end as if nobody had held the signal
    std::signal(interrupted.signal, SIG_DFL);
    std::raise(interrupted.signal);
    return 128 + interrupted.signal;
  } catch (const std::exception& error) {
    return end(context, Failure{Exit::failed, error.what()});
  }
}
