// dataset_pass.hpp: the preflight itself: bytes of one or two files in, a report out. Layer control, pure: who calls it
// reads the files and parses the JSON.
// Each file goes through once. Its bytes are hashed on the way, so that what was checked is what the hash is of.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/dataset.hpp"
#include "canary/control/dataset_codes.hpp"
#include "canary/control/dataset_example.hpp"
#include "canary/control/dataset_findings.hpp"
#include "canary/control/dataset_format.hpp"
#include "canary/control/dataset_lines.hpp"
#include "canary/control/dataset_seen.hpp"
#include "canary/control/dataset_syntax.hpp"
#include "canary/control/json_events.hpp"
#include "canary/control/sha256.hpp"
#include "canary/control/utf8.hpp"

namespace canary {

/// begin(), feed() and end() for the training file, the same for the validation file if there is one, then report().
/// Input   any bytes, in pieces of any size; the pieces make no difference.
/// Output  nothing is ever thrown but by the parser, or for want of memory.
/// Cost    20 to 25 bytes of memory an example, and the longest line up to options.line_bytes_max.
class DatasetPass {
 public:
  /// Input   `seed` goes into the hashes of examples: a random one keeps anybody from writing examples that collide.
  DatasetPass(JsonParse parse, const DatasetOptions& options, std::uint64_t seed = 0)
      : parse_{std::move(parse)}, options_{options}, checker_{line_, seed} {
    format_ = options.format;
  }
  DatasetPass(const DatasetPass&) = delete;
  DatasetPass& operator=(const DatasetPass&) = delete;

  void begin(std::string name, bool validation) {
    validation_ = validation;
    side() = {};
    side().given = true;
    side().name = std::move(name);
    cutter_ = LineCutter{options_.line_bytes_max};
    sha256_ = {};
    number_ = 0;
    notes_ = {};
    blank_begin_ = crlf_told_ = closed_ = false;
    broken_first_.reset();
  }
  void feed(std::string_view bytes) {
    if (options_.sha256) sha256_.add(bytes);
    side().bytes += bytes.size();
    cutter_.feed(bytes, [&](std::string_view line, bool whole) { take(line, whole); });
  }
  void end();
  /// Of the file at hand, so far.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return sides_[validation_ ? 1 : 0].bytes; }
  /// In place of end(): the file could not be read, to its end or at all.
  void fail(FindingCode code, std::string message) {
    add_of_file(code, std::move(message));
    side().failed = true;
  }

  [[nodiscard]] DatasetReport report();

 private:
  struct Side {
    std::string name;
    std::string sha256;
    std::uint64_t bytes = 0;
    std::uint64_t lines = 0;  ///< with something on them
    std::uint64_t examples = 0;
    bool given = false;
    bool failed = false;  ///< not looked at to its end
  };

  [[nodiscard]] Side& side() noexcept { return sides_[validation_ ? 1 : 0]; }

  void take(std::string_view line, bool whole);
  bool is_no_jsonl(std::string_view line);
  void take_text(std::string_view line);
  void take_example(std::string_view line);
  bool find_format(std::string_view line);
  void take_broken(std::string_view line, SyntaxFault fault);
  void settle_broken_first(bool next_is_good);
  void weigh();
  void look_for_twin();
  void add_notes(std::size_t line_bytes);
  void commit(std::string_view line);
  void count(FindingCode code, std::uint64_t times) noexcept;
  void keep(FindingCode code, std::uint64_t line, std::size_t column, std::string message);
  void add_of_file(FindingCode code, std::string message) {
    count(code, 1);
    keep(code, 0, 0, std::move(message));
  }
  void check_counts();
  void estimate(DatasetReport& report);

  JsonParse parse_;
  const DatasetOptions options_;
  std::optional<DatasetFormat> format_;
  LineFindings line_;
  ExampleChecker checker_;
  ExampleTable seen_;
  std::array<Side, 2> sides_;
  std::uint64_t tokens_ = 0;
  std::array<std::uint64_t, finding_code_count> counts_{};
  std::array<std::uint64_t, 2> by_severity_{};
  std::array<std::size_t, 2> kept_{};
  std::vector<Finding> findings_;
  // of the file at hand
  bool validation_ = false;
  LineCutter cutter_{0};
  Sha256 sha256_;
  std::uint64_t number_ = 0;  // of the line
  struct Notes {              // about the line's bytes; they stand whatever its example is
    bool byte_order_mark = false;
    bool crlf = false;
    bool after_blanks = false;
  } notes_;
  bool blank_begin_ = false;  // blank lines before the first other one
  bool crlf_told_ = false;
  bool closed_ = false;  // what is this file is known; its lines would say nothing more
  struct BrokenFirst {
    std::uint64_t number;
    std::size_t column;
    SyntaxFault fault;
  };
  static constexpr std::string_view array_words =
      "the file is one JSON array; write one object a line: jq -c '.[]' FILE > FILE.jsonl";
  std::optional<BrokenFirst>
      broken_first_;  // the file's first line, cut off: a fault of its own, or JSON over many lines
};

// --- lines -----------------------------------------------------------------------------------------------------------

inline void DatasetPass::end() {
  cutter_.finish([&](std::string_view line, bool whole) { take(line, whole); });
  settle_broken_first(true);
  if (side().bytes == 0)
    add_of_file(FindingCode::empty_file, "the file is empty; write one example a line");
  else if (side().lines == 0 && !closed_)
    add_of_file(FindingCode::blank_file, "the file has blank lines alone; write one example a line");
  if (side().bytes > options_.file_bytes_max)
    add_of_file(FindingCode::file_too_large, std::to_string(side().bytes) + " bytes; providers take at most " +
                                                 std::to_string(options_.file_bytes_max) + ": leave examples out");
  side().failed = closed_;
  if (options_.sha256) side().sha256 = sha256_.finish();
}

inline void DatasetPass::take(std::string_view line, bool whole) {
  ++number_;
  if (closed_) return;
  if (!whole) {
    ++side().lines;
    settle_broken_first(true);
    line_.add(FindingCode::line_too_long, 0, [&] {
      return "a line of more than " + std::to_string(options_.line_bytes_max) +
             " bytes, which was not looked at; shorten it, or name images by their addresses";
    });
    return commit({});
  }
  if (number_ == 1 && is_no_jsonl(line)) return commit(line);
  if (number_ == 1 && line.starts_with("\xEF\xBB\xBF")) {
    line.remove_prefix(3);
    notes_.byte_order_mark = true;
  }
  take_text(line);
}

/// Text that is not JSON, line by line, at all; told by its first bytes.
inline bool DatasetPass::is_no_jsonl(std::string_view line) {
  const auto byte = [&](std::size_t i) { return i < line.size() ? line[i] : '\1'; };
  const bool marked = line.starts_with("\xFF\xFE") || line.starts_with("\xFE\xFF");
  if (!marked && (byte(0) == '\0') == (byte(1) == '\0')) return false;  // of ASCII in UTF-16 one in two bytes is 0
  line_.add(FindingCode::utf16, 0, [] { return "the file looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8"; });
  closed_ = true;
  return true;
}

inline void DatasetPass::take_text(std::string_view line) {
  if (detail::is_blank(line)) {
    settle_broken_first(true);
    if (side().lines == 0)
      blank_begin_ = true;  // told with the first other line; a file of blank lines alone is told once, at its end
    else
      line_.add(FindingCode::blank_line, 0, [] { return "a blank line; every line is an example: take it out"; });
    return commit(line);
  }
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
    notes_.crlf = !std::exchange(crlf_told_, true);
  }
  ++side().lines;
  notes_.after_blanks = std::exchange(blank_begin_, false);
  take_example(line);
}

inline void DatasetPass::take_example(std::string_view line) {
  const bool known = format_ || find_format(line);
  FormatFinder finder;
  checker_.begin(format_.value_or(DatasetFormat::chat));
  bool good = known ? parse_(line, checker_) : parse_(line, finder);
  if (good && !known) {
    if (finder.is_object())
      line_.add(FindingCode::unknown_format, finder.first_key(),
                [&] { return "an example of no format that is known; " + finder.hint(); });
    else
      good = parse_(line, checker_);  // it says what it is instead
  }
  if (!good) {
    line_.clear();  // what was found before the fault may follow from it
    return take_broken(
        line, explain_json(line).value_or(
                  SyntaxFault{FindingCode::json_syntax, 0, "JSON that no parser takes; look for a very large number"}));
  }
  settle_broken_first(true);
  if (line_.count(FindingCode::not_an_object) == 0) {
    ++side().examples;
    if (known) weigh();
  } else if (side().lines == 1 && line[line.find_first_not_of(" \t\r")] == '[') {
    line_.clear();
    line_.add(FindingCode::json_array, 0, [] { return std::string{array_words}; });
    closed_ = true;
  }
  commit(line);
}

/// Takes the format of this line for the files', if it has one.
inline bool DatasetPass::find_format(std::string_view line) {
  FormatFinder finder;
  if (parse_(line, finder)) format_ = finder.format();
  return format_.has_value();
}

/// Two habits make every line of a file broken, and are told once: one large array, and JSON set over many lines.
inline void DatasetPass::take_broken(std::string_view line, SyntaxFault fault) {
  const std::size_t column = utf8_length(line.substr(0, fault.at)) + 1;
  const bool cut_off = fault.code == FindingCode::json_truncated && fault.at == line.size();
  if (side().lines == 1 && cut_off) {
    if (line[line.find_first_not_of(" \t\r")] == '[') {
      fault = {FindingCode::json_array, 0, std::string{array_words}};
      closed_ = true;
    } else {
      commit(line);  // what else there is about it
      broken_first_ = {number_, column, std::move(fault)};
      return;
    }
  } else {
    settle_broken_first(false);
    if (closed_) return;
  }
  line_.add(fault.code, fault.at, [&] { return std::move(fault.message); });
  commit(line);
}

/// What the first line was is known with the second.
inline void DatasetPass::settle_broken_first(bool next_is_good) {
  if (!broken_first_) return;
  BrokenFirst first = std::move(*broken_first_);
  broken_first_.reset();
  closed_ = !next_is_good;
  if (closed_)
    first.fault = {FindingCode::spread_over_lines, 0,
                   "JSON set over many lines; write one object a line: jq -c . FILE > FILE.jsonl"};
  count(first.fault.code, 1);
  keep(first.fault.code, first.number, closed_ ? 1 : first.column, std::move(first.fault.message));
}

/// What an example costs, and whether all of it is learned.
inline void DatasetPass::weigh() {
  const std::uint32_t limit = options_.max_tokens != 0 ? options_.max_tokens : long_example_tokens;
  const std::uint64_t tokens = checker_.tokens();
  if (tokens > limit)
    line_.add(FindingCode::over_long, 0, [&] {
      return "an example of about " + std::to_string(tokens) + " tokens, more than " + std::to_string(limit) +
             (options_.max_tokens != 0
                  ? ": what is beyond is not learned; make it shorter"
                  : ": some models cut it there; make it shorter, or say what the model takes with --max-tokens");
    });
  if (!validation_) tokens_ += options_.max_tokens != 0 ? std::min<std::uint64_t>(tokens, options_.max_tokens) : tokens;
  if (line_.count(FindingCode::mixed_format) == 0) look_for_twin();
}

inline void DatasetPass::look_for_twin() {
  const auto twin = seen_.add(checker_.hash(), {number_, validation_});
  if (!twin) return;
  if (validation_ && !twin->validation)
    line_.add(FindingCode::overlap, 0, [&] {
      return "the same example as in the training file, line " + std::to_string(twin->line) +
             "; what was trained on proves nothing: take it out of one of them";
    });
  else
    line_.add(FindingCode::duplicate, 0, [&] {
      return "the same example as in line " + std::to_string(twin->line) + "; it weighs twice: take it out";
    });
}

// --- findings --------------------------------------------------------------------------------------------------------

inline void DatasetPass::count(FindingCode code, std::uint64_t times) noexcept {
  counts_[static_cast<std::size_t>(code)] += times;
  by_severity_[static_cast<std::size_t>(severity_of(code, options_.limits))] += times;
}

inline void DatasetPass::keep(FindingCode code, std::uint64_t line, std::size_t column, std::string message) {
  const Severity severity = severity_of(code, options_.limits);
  std::size_t& kept = kept_[static_cast<std::size_t>(severity)];
  if (kept == options_.findings_max) return;
  ++kept;
  findings_.push_back({side().name, line, column, severity, to_string(code), std::move(message)});
}

inline void DatasetPass::add_notes(std::size_t line_bytes) {
  const Notes notes = std::exchange(notes_, {});
  if (notes.byte_order_mark)
    line_.add(FindingCode::byte_order_mark, 0, [] {
      return "the file begins with a byte order mark; some providers refuse it: save it as UTF-8 without one";
    });
  if (notes.after_blanks)
    line_.add(FindingCode::blank_line, 0, [] { return "blank lines before this one; take them out"; });
  if (notes.crlf)
    line_.add(FindingCode::crlf, line_bytes,
              [] { return "lines end as on Windows, with CR LF; providers expect LF alone: dos2unix mends it"; });
}

/// What was found on the line becomes part of the report.
inline void DatasetPass::commit(std::string_view line) {
  add_notes(line.size());
  if (line_.empty()) return;
  for (std::size_t i = 0; i != finding_code_count; ++i)
    if (const std::uint32_t times = line_.count(static_cast<FindingCode>(i))) count(static_cast<FindingCode>(i), times);
  std::size_t at = 0;
  std::size_t column = 1;
  for (LineFindings::Entry& entry : line_.sorted()) {
    const std::size_t to = std::min(entry.at, line.size());
    column += utf8_length(line.substr(at, to - at));
    at = to;
    keep(entry.code, number_, column, std::move(entry.message));
  }
  line_.clear();
}

// --- the end ---------------------------------------------------------------------------------------------------------

/// What can be said of the files as a whole.
inline void DatasetPass::check_counts() {
  const Side& training = sides_[0];
  validation_ = false;
  if (training.given && !training.failed && training.lines != 0 && training.lines < options_.limits.examples_min)
    add_of_file(FindingCode::too_few_examples, std::to_string(training.lines) + " examples; providers take " +
                                                   std::to_string(options_.limits.examples_min) +
                                                   " or more, and 50 to 100 are a good beginning: add some");
  if (training.examples > options_.examples_max)
    add_of_file(FindingCode::too_many_examples, std::to_string(training.examples) + " examples; at most " +
                                                    std::to_string(options_.examples_max) +
                                                    " are taken: leave some out");
  if (format_ == DatasetFormat::reinforcement && !options_.limits.reinforcement)
    add_of_file(
        FindingCode::method_not_offered,
        "the provider offers no reinforcement; name another in [fine_tune], or say --format chat if answers are "
        "imitated");
  else if (format_ == DatasetFormat::reinforcement && !sides_[1].given)
    add_of_file(FindingCode::validation_missing, "reinforcement needs a validation file too; name one");
}

inline void DatasetPass::estimate(DatasetReport& report) {
  Estimate& made = report.estimate;
  made.tokens = tokens_;
  made.epochs = options_.epochs != 0 ? options_.epochs : default_epochs(report.examples);
  if (!options_.usd_per_million_tokens) return;
  const double cost = static_cast<double>(made.tokens) * made.epochs * *options_.usd_per_million_tokens / 1'000'000;
  made.cost_usd = cost;
  if (!options_.cost_max_usd || cost <= *options_.cost_max_usd) return;
  const DollarTexts texts = dollar_texts(cost, *options_.cost_max_usd);
  add_of_file(FindingCode::over_budget, "about " + texts.cost + ": " + std::to_string(made.tokens) +
                                            " tokens an epoch, " + std::to_string(made.epochs) +
                                            (made.epochs == 1 ? " epoch" : " epochs") +
                                            "; that is more than cost_max_usd = " + texts.most +
                                            ": leave examples out, ask for fewer epochs, or raise it");
}

inline DatasetReport DatasetPass::report() {
  check_counts();
  DatasetReport report;
  report.format = format_;
  report.examples = sides_[0].examples;
  report.validation_examples = sides_[1].examples;
  estimate(report);
  report.errors = by_severity_[0];
  report.warnings = by_severity_[1];
  report.ok = report.errors == 0;
  report.findings = std::move(findings_);
  for (std::size_t i = 0; i != finding_code_count; ++i) {
    const auto code = static_cast<FindingCode>(i);
    if (counts_[i] != 0) report.counts.push_back({to_string(code), severity_of(code, options_.limits), counts_[i]});
  }
  std::stable_sort(report.counts.begin(), report.counts.end(),
                   [](const FindingCount& a, const FindingCount& b) { return a.count > b.count; });
  report.training_bytes = sides_[0].bytes;
  report.validation_bytes = sides_[1].bytes;
  report.training_sha256 = std::move(sides_[0].sha256);
  report.validation_sha256 = std::move(sides_[1].sha256);
  return report;
}

}  // namespace canary
