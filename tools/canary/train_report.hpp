// train_report.hpp: training data looked through before anything is paid for it, and what is said of it.
#pragma once

#include <cstdint>
#include <string>

#include <boost/json/fwd.hpp>

#include "canary/control/config.hpp"
#include "canary/control/dataset.hpp"
#include "context.hpp"

namespace canary::cli {

/// What commands that look at training data are told about it.
struct PreflightOptions {
  std::string format;                            ///< empty: as the first line says
  std::uint32_t epochs = 0;                      ///< 0: as providers do
  std::uint32_t max_tokens = 0;                  ///< longest example of the model; 0: unknown
  ProviderKind provider = ProviderKind::openai;  ///< whose rules hold
};

void add_preflight_options(Syntax verb, PreflightOptions& options);

/// Looks through the files, with progress on a terminal. The price is the base model's, where the configuration has one.
/// Input   an empty `validation`: none.
/// Errors  Failure usage for a format that is none. Files that cannot be read are findings.
[[nodiscard]] DatasetReport run_preflight(const FineTuneConfig& settings, const std::string& training,
                                          const std::string& validation, const PreflightOptions& options);

/// `{"tokens":1200,"epochs":3,"cost_usd":0.01}`; a cost that nobody knows is null.
[[nodiscard]] boost::json::object estimate_document(const Estimate& estimate);

/// `about 1,200 tokens an epoch, 3 epochs: $0.01`
[[nodiscard]] std::string estimate_words(const Estimate& estimate);

/// As --json prints it.
[[nodiscard]] boost::json::object report_value(const DatasetReport& report);

/// All of it as a result: every finding that was kept, as a compiler prints it, counts, the estimate. The exit is
/// invalid_input when there are errors.
void write_report(Context& context, const DatasetReport& report);

/// For a command that goes no further, since the data has errors: says so, with the first findings on stderr.
/// Errors  Failure invalid_input, but with --json, where the document has both.
void refuse_dataset(Context& context, const DatasetReport& report);

/// For a command that goes on: what was warned of, on stderr.
void warn_of_dataset(const DatasetReport& report);

}  // namespace canary::cli
