// dataset.hpp: what a preflight of training data is asked, and what it answers. Layer control, pure.
//
//   bytes -> lines (dataset_lines.hpp) -> JSON events -> the format's rules (dataset_example.hpp) -> DatasetReport
//
// dataset_pass.hpp puts these together; adapters/json_dataset.hpp reads the files and parses the JSON.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/config.hpp"

namespace canary {

/// What the lines of a file are examples for.
enum class DatasetFormat : std::uint8_t {
  chat,           ///< {"messages": [...]}: answers to imitate
  dpo,            ///< {"input": {...}, "preferred_output": [...], "non_preferred_output": [...]}
  reinforcement,  ///< {"messages": [...], whatever the grader reads}
  completions,    ///< {"prompt": "...", "completion": "..."}
};

[[nodiscard]] constexpr std::string_view to_string(DatasetFormat format) noexcept {
  switch (format) {
    case DatasetFormat::chat:
      return "chat";
    case DatasetFormat::dpo:
      return "dpo";
    case DatasetFormat::reinforcement:
      return "reinforcement";
    case DatasetFormat::completions:
      return "completions";
  }
  return "unknown";
}

inline constexpr std::array<DatasetFormat, 4> dataset_formats{DatasetFormat::chat, DatasetFormat::dpo,
                                                              DatasetFormat::reinforcement, DatasetFormat::completions};

/// The format behind a word; nothing for any other text.
[[nodiscard]] constexpr std::optional<DatasetFormat> parse_dataset_format(std::string_view word) noexcept {
  for (const DatasetFormat format : dataset_formats)
    if (to_string(format) == word) return format;
  return {};
}

enum class Severity : std::uint8_t {
  error,    ///< the provider refuses it, or what is learned from it is not what was meant
  warning,  ///< it can be trained on, and is worth a look
};

[[nodiscard]] constexpr std::string_view to_string(Severity severity) noexcept {
  return severity == Severity::error ? "error" : "warning";
}

/// One thing to look at.
struct Finding {
  std::string file;        ///< as it was named
  std::uint64_t line = 0;  ///< from 1; 0: the file as a whole
  std::size_t column = 0;  ///< from 1, in characters, of the value that is meant; 0: the file as a whole
  Severity severity = Severity::error;
  std::string_view code;  ///< a word that never changes; see dataset_codes.hpp
  std::string message;    ///< what is wrong; how to mend it. Holds no secret of the data
  friend bool operator==(const Finding&, const Finding&) = default;
};

/// How often a code was found, the findings that were not kept included.
struct FindingCount {
  std::string_view code;
  Severity severity = Severity::error;
  std::uint64_t count = 0;
  friend bool operator==(const FindingCount&, const FindingCount&) = default;
};

/// What a training will take. Tokens are estimated, see dataset_text.hpp for how and how well; so is what follows from them.
struct Estimate {
  std::uint64_t tokens = 0;        ///< of one epoch
  std::uint32_t epochs = 0;        ///< as asked, else by default_epochs()
  std::optional<double> cost_usd;  ///< null without a price
  friend bool operator==(const Estimate&, const Estimate&) = default;
};

/// Fewer examples than this are refused by providers.
inline constexpr std::uint64_t dataset_examples_min = 10;

/// An example of more tokens is worth a look where nobody said what the model takes: the smallest length that models on
/// offer are trained at. Such an example is cut there, not refused.
inline constexpr std::uint32_t long_example_tokens = 4'096;

/// What is refused depends on who trains.
struct DatasetLimits {
  std::uint64_t examples_min = dataset_examples_min;
  bool strict =
      true;  ///< false: wrong shapes, unknown keys and too few examples are warned of; what is no JSON is refused
  bool bounded = true;        ///< false: a file past `file_bytes_max` is warned of
  bool reinforcement = true;  ///< false: that is not offered
  friend bool operator==(const DatasetLimits&, const DatasetLimits&) = default;
};

/// Those of a kind of provider. A program of one's own reads what it likes.
[[nodiscard]] constexpr DatasetLimits dataset_limits(ProviderKind kind) noexcept {
  switch (kind) {
    case ProviderKind::openai:
    case ProviderKind::azure:
      return {};
    case ProviderKind::together:
      return {.bounded = false, .reinforcement = false};
    case ProviderKind::command:
      return {.strict = false, .bounded = false};
  }
  return {};
}

struct DatasetOptions {
  std::optional<DatasetFormat> format = {};  ///< empty: that of the first line which has one
  std::uint32_t epochs = 0;                  ///< 0: default_epochs()
  std::uint32_t max_tokens = 0;  ///< longest example that the model takes: what is beyond is not trained, and not paid.
                                 ///< 0: unknown: examples count whole, those over long_example_tokens are warned of
  std::optional<double> usd_per_million_tokens = {};  ///< of the base model
  std::optional<double> cost_max_usd = {};            ///< more is an error
  std::uint64_t examples_max = 50'000'000;
  std::uint64_t file_bytes_max = 8'000'000'000;        ///< what providers take in parts
  std::size_t line_bytes_max = std::size_t{32} << 20;  ///< a longer line is not held in memory, nor read
  std::size_t findings_max = 1'000;                    ///< errors that are kept, and as many warnings
  bool sha256 = true;                                  ///< false: the files are not hashed
  DatasetLimits limits = {};                           ///< see dataset_limits(); as they are: those of OpenAI
  friend bool operator==(const DatasetOptions&, const DatasetOptions&) = default;
};

struct DatasetReport {
  bool ok = false;                      ///< no finding is an error
  std::optional<DatasetFormat> format;  ///< empty: no line has one
  std::uint64_t examples = 0;           ///< JSON objects in the training file
  std::uint64_t validation_examples = 0;
  std::uint64_t errors = 0;
  std::uint64_t warnings = 0;
  std::vector<Finding> findings;     ///< in the order of the files; what concerns a file as a whole behind its lines
  std::vector<FindingCount> counts;  ///< of all findings, the most frequent first
  Estimate estimate;
  std::uint64_t training_bytes = 0;
  std::uint64_t validation_bytes = 0;
  std::string training_sha256;  ///< of the very bytes that were checked; empty for a file that was not read to its end
  std::string validation_sha256;
};

/// Epochs that providers train where none are asked for: three, more for few examples, fewer for very many.
/// Input   number of training examples.
[[nodiscard]] constexpr std::uint32_t default_epochs(std::uint64_t examples) noexcept {
  if (examples == 0) return 3;
  if (3 * examples < 100) return static_cast<std::uint32_t>(std::min<std::uint64_t>(25, 100 / examples));
  if (3 * examples > 25'000) return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, 25'000 / examples));
  return 3;
}

/// A cost in dollars, rounded up: it never looks smaller than it is.
[[nodiscard]] inline std::string dollars_text(double usd, int digits = 2) {
  const double scale = std::pow(10.0, digits);
  const double up = std::ceil(usd * scale * (1 - 1e-12));  // 0.07 is a little more than that as a double
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "$%.*f", digits, std::max(0.0, up) / scale);
  return text.data();
}

/// A cost and what it may be at most, as texts.
struct DollarTexts {
  std::string cost;
  std::string most;
};

/// With the digits that it takes to say `most` as it is, and to see that `cost` is more.
[[nodiscard]] inline DollarTexts dollar_texts(double cost, double most) {
  std::array<char, 400> text{};
  for (int digits = 2; digits <= 12; ++digits) {
    std::snprintf(text.data(), text.size(), "$%.*f", digits, most);
    DollarTexts texts{dollars_text(cost, digits), text.data()};
    if (std::strtod(text.data() + 1, nullptr) == most && texts.cost != texts.most) return texts;
  }
  DollarTexts texts;
  std::snprintf(text.data(), text.size(), "$%.17g", cost);
  texts.cost = text.data();
  std::snprintf(text.data(), text.size(), "$%.17g", most);
  texts.most = text.data();
  return texts;
}

}  // namespace canary
