// context.hpp: what every command is given, and how commands join the command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "output.hpp"
#include "syntax.hpp"

namespace canary::cli {

/// Options of the whole tool, and where results go.
struct Context {
  std::string config_file;  ///< empty: CANARY_CONFIG, else ./canary.toml
  bool json = false;
  std::string committed;  ///< what stands in the store already, whatever goes wrong with telling it
  Output out;
  Exit exit = Exit::done;  ///< how a command ends that has said all itself
};

// Each noun's file defines one of these: it adds the noun, its options and what it does to the command line.
void add_init(Syntax root, Context& context);
void add_route(Syntax root, Context& context);
void add_why(Syntax root, Context& context);
void add_simulate(Syntax root, Context& context);
void add_model(Syntax root, Context& context);
void add_model_changes(Syntax model, Context& context);  ///< verbs of `model`
void add_history(Syntax root, Context& context);
void add_store(Syntax root, Context& context);
void add_doctor(Syntax root, Context& context);
void add_version(Syntax root, Context& context);
void add_completion(Syntax root, Context& context);
void add_guard(Syntax root, Context& context);
void add_alert(Syntax root, Context& context);
void add_rollout(Syntax root, Context& context);
void add_train(Syntax root, Context& context);

/// Options that stand before or behind the noun.
void add_global_options(Syntax app, Context& context);

/// A noun, or a verb of one, with the global options.
Syntax add_noun(Syntax root, Context& context, const char* name, const char* description);

/// Command-line texts are bytes: keys may be anything. CLI11 gives some a meaning of their own ("[a,b]" would become two
/// values, "++" would end the command, and what stands behind "--" would go to the wrong command), so main() marks those,
/// and the options below take the mark off.
[[nodiscard]] std::vector<std::string> protect(const std::vector<std::string>& arguments);
[[nodiscard]] std::string unprotect(std::string argument);
/// A message of CLI11's that may quote arguments, without marks.
[[nodiscard]] std::string without_marks(std::string message);

/// Adds an option or a positional whose text arrives as it was typed.
Argument add_text(Syntax app, const std::string& name, std::string& target, const std::string& description);
Argument add_texts(Syntax app, const std::string& name, std::vector<std::string>& target,
                   const std::string& description);

/// A task's revision.
/// Errors  Failure: usage for what is no number, not_found for one that is more than any can be.
[[nodiscard]] std::uint32_t revision_argument(std::string_view option, const std::string& text);

}  // namespace canary::cli
