// canary train check FILE [VAL]: a preflight of training data. Spends nothing, and needs no configuration. The verbs that
// start and follow jobs are in cmd_train_jobs.cpp.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "canary/control/config.hpp"
#include "configuration.hpp"
#include "context.hpp"
#include "providers.hpp"
#include "train_jobs.hpp"
#include "train_report.hpp"

namespace canary::cli {
namespace {

struct CheckOptions {
  std::string file;
  std::string validation;
  PreflightOptions preflight;
};

/// The file's, with what the environment says; defaults where nobody named a file and none is there.
Config configuration_of(const Context& context) {
  const std::string path = config_path(context.config_file);
  std::error_code ignored;
  const char* variable = std::getenv("CANARY_CONFIG");
  const bool named = !context.config_file.empty() || (variable != nullptr && *variable != '\0');
  Config config;
  if (named || std::filesystem::exists(path, ignored)) config = load_configuration(path);
  apply_environment(config, [](const char* name) { return std::getenv(name); });
  return config;
}

void check(Context& context, const CheckOptions& options) {
  const Config config = configuration_of(context);
  PreflightOptions preflight = options.preflight;
  // Data can be checked before any provider is configured; one that is named must be there.
  const std::string& name = config.fine_tune.provider;
  if (name != FineTuneConfig{}.provider || config.find_provider(name) != nullptr)
    preflight.provider = provider_config(config, name).kind;
  write_report(context, run_preflight(config.fine_tune, options.file, options.validation, preflight));
}

void add_check(Syntax train, Context& context) {
  const Syntax verb = add_noun(train, context, "check", "Looks for faults in training data, and estimates its cost");
  const auto options = std::make_shared<CheckOptions>();
  add_text(verb, "file", options->file, "Training data, JSONL")->required()->must_not_be_empty()->type_name("FILE");
  add_text(verb, "validation", options->validation, "Validation data, JSONL")->must_not_be_empty()->type_name("VAL");
  add_preflight_options(verb, options->preflight);
  verb.footer(
      "Every finding has file, line, column, and what to do; of more than 1,000 errors or 1,000 warnings the first\n"
      "are shown, by --json too, and all are counted. Exit 5 when one is an error, and when the cost is above\n"
      "cost_max_usd of [fine_tune]. What is an error depends on the kind of its provider: of a program of your own,\n"
      "data of another shape is warned of. The price is the base model's in [fine_tune.price_per_million_usd];\n"
      "AI_FT_BASE_MODEL goes before base_model, AI_FT_PROVIDER before provider. Without a canary.toml there is no\n"
      "cost, and the rules are OpenAI's. Tokens are estimated, and nothing is sent.");
  verb.callback([&context, options] { check(context, *options); });
}

}  // namespace

void add_train(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "train", "Checks training data, and runs fine-tune jobs");
  noun.require_subcommand(1);
  add_check(noun, context);
  add_train_jobs(noun, context);
}

}  // namespace canary::cli
