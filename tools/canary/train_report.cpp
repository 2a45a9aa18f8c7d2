// The one translation unit that compiles the preflight.
#include "train_report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/json_dataset.hpp"
#include "canary/control/nearest.hpp"
#include "row_progress.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

/// Of a command that goes no further.
constexpr std::size_t shown_max = 20;

DatasetFormat format_argument(const std::string& text) {
  if (const auto format = parse_dataset_format(text)) return *format;
  std::vector<std::string_view> words;
  words.reserve(dataset_formats.size());
  for (const DatasetFormat format : dataset_formats) words.push_back(to_string(format));
  const std::string near = nearest(text, words);
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::usage, "no format \"" + shown + '"',
                near.empty() ? "chat, dpo, reinforcement or completions" : "did you mean \"" + near + "\"?"};
}

/// `train.jsonl:3:15: error: what is wrong; how to mend it [code]`
std::string line_of(const Finding& finding, int fd) {
  std::string line;
  append_visible(line, finding.file);
  if (finding.line != 0) line += ':' + std::to_string(finding.line) + ':' + std::to_string(finding.column);
  const bool error = finding.severity == Severity::error;
  line += ": " + coloured(fd, error ? "1;31" : "1;35", std::string{to_string(finding.severity)} + ':') + ' ';
  append_visible(line, finding.message);
  return line + " [" + std::string{finding.code} + "]\n";
}

/// The first ones, in their order: errors before warnings, where not all have room.
std::vector<const Finding*> first_findings(const DatasetReport& report, std::size_t most) {
  std::vector<const Finding*> first;
  for (const Severity severity : {Severity::error, Severity::warning})
    for (const Finding& finding : report.findings)
      if (finding.severity == severity && first.size() != most) first.push_back(&finding);
  std::sort(first.begin(), first.end());  // they lie in one vector
  return first;
}

std::string plural(std::uint64_t count, const std::string& word) {
  return thousands(count) + ' ' + word + (count == 1 ? "" : "s");
}

/// `2 errors and 1 warning (unknown_role 2, duplicate 1)`
std::string counts_text(const DatasetReport& report) {
  std::string text = plural(report.errors, "error") + " and " + plural(report.warnings, "warning");
  std::string codes;
  for (const FindingCount& each : report.counts)
    codes += (codes.empty() ? " (" : ", ") + std::string{each.code} + ' ' + thousands(each.count);
  return codes.empty() ? text : text + codes + ')';
}

std::string findings_text(const DatasetReport& report, int fd, std::size_t most) {
  std::string text;
  const std::vector<const Finding*> first = first_findings(report, most);
  for (const Finding* finding : first) text += line_of(*finding, fd);
  if (const std::uint64_t more = report.errors + report.warnings - first.size(); more != 0)
    text += "and " + thousands(more) + " more\n";
  return text;
}

}  // namespace

void add_preflight_options(Syntax verb, PreflightOptions& options) {
  add_text(verb, "--format", options.format,
           "chat, dpo, reinforcement or completions (default: what the first example is)")
      ->type_name("FORMAT");
  verb.add_option("--epochs", options.epochs, "Times to go through the data (default: by the number of examples)")
      ->at_least_one()
      ->type_name("N");
  verb.add_option("--max-tokens", options.max_tokens,
                  "Longest example that the model takes; more is cut off, and not paid")
      ->at_least_one()
      ->type_name("N");
}

DatasetReport run_preflight(const FineTuneConfig& settings, const std::string& training, const std::string& validation,
                            const PreflightOptions& options) {
  DatasetOptions wanted;
  if (!options.format.empty()) wanted.format = format_argument(options.format);
  wanted.limits = dataset_limits(options.provider);
  wanted.epochs = options.epochs;
  wanted.max_tokens = options.max_tokens;
  if (const ModelPrice* price = settings.find_price(settings.base_model))
    wanted.usd_per_million_tokens = price->usd_per_million_tokens;
  wanted.cost_max_usd = settings.cost_max_usd;
  RowProgress progress{"MiB"};
  return check_dataset({training, validation}, wanted, [&progress](std::uint64_t done, std::uint64_t total) {
    progress.update_of(done >> 20, std::max(done, total) >> 20);
  });
}

json::object estimate_document(const Estimate& estimate) {
  return {{"tokens", estimate.tokens},
          {"epochs", estimate.epochs},
          {"cost_usd", estimate.cost_usd ? json::value(*estimate.cost_usd) : json::value(nullptr)}};
}

std::string estimate_words(const Estimate& estimate) {
  const std::string words =
      "about " + plural(estimate.tokens, "token") + " an epoch, " + plural(estimate.epochs, "epoch");
  return estimate.cost_usd ? words + ": " + dollars_text(*estimate.cost_usd) : words;
}

json::object report_value(const DatasetReport& report) {
  json::array findings;
  for (const Finding& each : report.findings)
    findings.push_back({{"file", json_text(each.file)},
                        {"line", each.line},
                        {"column", each.column},
                        {"severity", json_text(to_string(each.severity))},
                        {"code", json_text(each.code)},
                        {"message", json_text(each.message)}});
  json::object counts;
  for (const FindingCount& each : report.counts) counts[json_text(each.code)] = each.count;
  const auto hash = [](const std::string& sha256) {
    return sha256.empty() ? json::value(nullptr) : json::value(json_text(sha256));
  };
  return {{"ok", report.ok},
          {"format", report.format ? json::value(json_text(to_string(*report.format))) : json::value(nullptr)},
          {"examples", report.examples},
          {"validation_examples", report.validation_examples},
          {"errors", report.errors},
          {"warnings", report.warnings},
          {"counts", std::move(counts)},
          {"findings", std::move(findings)},
          {"estimate", estimate_document(report.estimate)},
          {"training_sha256", hash(report.training_sha256)},
          {"validation_sha256", hash(report.validation_sha256)}};
}

void write_report(Context& context, const DatasetReport& report) {
  if (!report.ok) context.exit = Exit::invalid_input;
  if (context.json) return write_document(context.out, report_value(report));
  context.out.write(findings_text(report, STDOUT_FILENO, report.findings.size()));
  std::string text = report.format ? std::string{to_string(*report.format)} + ", " : std::string{};
  text += plural(report.examples, "example");
  if (report.validation_examples != 0) text += ", " + thousands(report.validation_examples) + " for validation";
  text += ": " + counts_text(report) + '\n';
  if (report.examples != 0)
    text += estimate_words(report.estimate) +
            (report.estimate.cost_usd ? "\n" : "; no cost without the base model's price in [fine_tune]\n");
  context.out.write(text);
}

void refuse_dataset(Context& context, const DatasetReport& report) {
  const std::string message = "the training data has " + counts_text(report) + "; nothing was started";
  const std::string hint = "canary train check says all about it";
  if (!context.json) {
    std::fputs(findings_text(report, STDERR_FILENO, shown_max).c_str(), stderr);
    throw Failure{Exit::invalid_input, message, hint};
  }
  json::object document{{"error",
                         {{"code", json_text(to_string(Exit::invalid_input))},
                          {"message", json_text(message)},
                          {"hint", json_text(hint)}}}};
  for (auto& [key, value] : report_value(report)) document[key] = std::move(value);
  write_document(context.out, document);
  context.exit = Exit::invalid_input;
}

void warn_of_dataset(const DatasetReport& report) {
  if (report.warnings == 0) return;
  std::string codes;
  for (const FindingCount& each : report.counts)
    if (each.severity == Severity::warning)
      codes += (codes.empty() ? "" : ", ") + std::string{each.code} + ' ' + thousands(each.count);
  warn("the training data has " + plural(report.warnings, "warning") + " (" + codes +
       "); canary train check says all about it");
}

}  // namespace canary::cli
