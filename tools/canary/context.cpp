#include "context.hpp"

#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

namespace canary::cli {
namespace {

constexpr char mark = '\x01';

}  // namespace

void add_global_options(Syntax app, Context& context) {
  app.add_option(
         "--config", [&context](const std::string& file) { context.config_file = unprotect(file); },
         "Configuration file (default: $CANARY_CONFIG, else ./canary.toml)")
      ->type_name("FILE");
  app.add_flag("--json", context.json, "Results and errors as JSON, one document, or one a line where noted");
}

Syntax add_noun(Syntax root, Context& context, const char* name, const char* description) {
  const Syntax noun{*root.app().add_subcommand(name, description)};
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
    // CLI11 would take the next word for the value of `--ok=`.
    const bool no_value = argument.starts_with("--") && argument.find('=') == argument.size() - 1;
    marked.push_back(positional_only || special ? mark + argument : no_value ? argument + mark : argument);
  }
  return marked;
}

std::string unprotect(std::string argument) {
  if (argument.starts_with(mark)) argument.erase(argument.begin());
  return argument;
}

std::string without_marks(std::string message) {
  std::erase(message, mark);
  return message;
}

Argument add_text(Syntax app, const std::string& name, std::string& target, const std::string& description) {
  return app.add_option(
      name, [&target](const std::string& text) { target = unprotect(text); }, description);
}

Argument add_texts(Syntax app, const std::string& name, std::vector<std::string>& target,
                   const std::string& description) {
  return app.add_options(
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
  if (error == std::errc::result_out_of_range)
    throw Failure{Exit::not_found,
                  "no task ever had revision " + digits.substr(0, 64) + (digits.size() > 64 ? "..." : ""),
                  "canary history TASK lists them"};
  return number;
}

}  // namespace canary::cli
