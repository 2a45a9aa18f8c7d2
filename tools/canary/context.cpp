#include "context.hpp"

#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

namespace canary::cli {
namespace {

constexpr char mark = '\x01';

}  // namespace

void add_global_options(CLI::App& app, Context& context) {
  app.add_option_function<std::string>(
         "--config",
         [&context](const std::string& file) {
           context.config_file = unprotect(file);
           // An unset variable of a script, not a wish for the default.
           if (context.config_file.empty()) throw Failure{Exit::usage, "--config names no file", "leave it out"};
         },
         "Configuration file (default: $CANARY_CONFIG, else ./canary.toml)")
      ->type_name("FILE");
  app.add_flag("--json", context.json, "Results and errors as JSON, one document, or one a line where noted");
}

CLI::App& add_noun(CLI::App& root, Context& context, const char* name, const char* description) {
  CLI::App& noun = *root.add_subcommand(name, description);
  add_global_options(noun, context);
  return noun;
}

std::vector<std::string> protect(const std::vector<std::string>& arguments) {
  std::vector<std::string> marked;
  bool positional_only = false;
  for (const std::string& argument : arguments) {
    if (argument == "--" && !positional_only) {
      positional_only = true;
      continue;
    }
    const bool list = argument.starts_with('[') && argument.ends_with(']');
    const bool special = argument.empty() || list || argument == "++" || argument == "%%" || argument.front() == mark;
    marked.push_back(positional_only || special ? mark + argument : argument);
  }
  return marked;
}

std::string unprotect(std::string argument) {
  if (argument.starts_with(mark)) argument.erase(argument.begin());
  return argument;
}

CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& target, const std::string& description) {
  return app.add_option_function<std::string>(
      name, [&target](const std::string& text) { target = unprotect(text); }, description);
}

CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& target,
                       const std::string& description) {
  return app.add_option_function<std::vector<std::string>>(
      name,
      [&target](const std::vector<std::string>& texts) {
        for (const std::string& text : texts) target.push_back(unprotect(text));
      },
      description);
}

std::uint32_t revision_argument(std::string_view option, const std::string& text) {
  const std::string digits = unprotect(text);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size())
    throw Failure{Exit::usage, std::string{option} + " wants a revision, a number", "canary history TASK lists them"};
  return error == std::errc::result_out_of_range ? 0xFFFF'FFFF : number;
}

}  // namespace canary::cli
