// canary guard replay TASK FILE: what the guard would have done on recorded outcomes, many times over.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/guard_replay.hpp"
#include "canary/control/guard_words.hpp"
#include "canary/control/nearest.hpp"
#include "canary/control/percent.hpp"
#include "configuration.hpp"
#include "csv_source.hpp"
#include "guard_view.hpp"
#include "outcome_cells.hpp"
#include "row_progress.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct ReplayArguments {
  std::string task;
  std::string file;
  std::string baseline;
  std::string candidate;
  std::string metric = "success";
  std::string percent = "10";
  std::string requests = "100000";
  std::string repeat = "100";
  std::string seed = "1";
  std::optional<std::string> margin;
};

constexpr std::array kinds{MetricKind::success, MetricKind::score, MetricKind::latency, MetricKind::cost};

MetricKind kind_argument(const std::string& text) {
  std::vector<std::string_view> words;
  for (const MetricKind kind : kinds) {
    if (kind_word(kind) == text) return kind;
    words.push_back(kind_word(kind));
  }
  const std::string near = nearest(text, words);
  throw Failure{Exit::usage, "--metric names a kind: success, score, latency or cost",
                near.empty() ? "" : "did you mean \"" + near + "\"?"};
}

// --- the file --------------------------------------------------------------------------------------------------------

struct ReplayFile {
  std::vector<ReplayRow> rows;
  std::uint64_t empty_cells = 0;  ///< outcomes that never came
};

/// A cell as its metric counts it; NaN for an empty one, which is no outcome.
double cell_value(const CsvSource& source, std::size_t column, std::string_view text, MetricKind kind) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (text.empty()) return std::numeric_limits<double>::quiet_NaN();
  switch (kind) {
    case MetricKind::success: {
      const std::optional<bool> ok = parse_ok(text);
      if (!ok) source.refuse(column, ok_forms);
      return *ok ? 1 : 0;
    }
    case MetricKind::score: {
      const std::optional<std::uint32_t> score = parse_score(text);
      if (!score) source.refuse(column, score_forms);
      return static_cast<double>(*score) / score_one;
    }
    case MetricKind::latency:
    case MetricKind::cost:
      break;
  }
  const std::optional<std::uint64_t> amount = parse_amount(text, most);
  if (!amount)
    source.refuse(column, kind == MetricKind::latency ? "a number of microseconds, 812000 for one"
                                                      : "a number of millionths of a US dollar, 140 for one");
  return static_cast<double>(*amount);
}

ReplayFile read_file(const ReplayArguments& arguments, MetricKind kind) {
  ReplayFile file;
  CsvSource source{arguments.file, {arguments.baseline, arguments.candidate}};
  RowProgress progress{"rows"};
  const auto take = [&](const CsvRow& row) {
    const ReplayRow& made = file.rows.emplace_back(
        ReplayRow{cell_value(source, 0, row.cells[0], kind), cell_value(source, 1, row.cells[1], kind)});
    file.empty_cells += (std::isnan(made.baseline) ? 1u : 0u) + (std::isnan(made.candidate) ? 1u : 0u);
  };
  while (source.next(take)) progress.update(file.rows.size(), source.bytes_read(), source.bytes_total());
  if (file.rows.empty()) throw Failure{Exit::invalid_input, source.name() + ": no row under the header"};
  if (file.empty_cells == 2 * file.rows.size())
    throw Failure{Exit::invalid_input, source.name() + ": every cell of these columns is empty"};
  return file;
}

// --- the runs --------------------------------------------------------------------------------------------------------

/// All runs, by as many threads as there are processors; which does which makes no difference.
ReplayResult replay_all(const std::vector<ReplayRow>& rows, const ReplayOptions& options) {
  std::vector<ReplayRun> runs(options.repeat);
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> done{0};
  const auto work = [&] {
    for (std::uint64_t run; (run = next++) < runs.size(); ++done) runs[run] = replay_run(rows, options, run);
  };
  const std::uint64_t threads = std::clamp<std::uint64_t>(std::thread::hardware_concurrency(), 1, 64);
  std::vector<std::future<void>> workers;
  for (std::uint64_t i = 0; i != std::min<std::uint64_t>(threads, runs.size()); ++i)
    workers.push_back(std::async(std::launch::async, work));
  RowProgress progress{"runs"};
  for (std::future<void>& worker : workers) {
    while (worker.wait_for(std::chrono::milliseconds{100}) != std::future_status::ready)
      progress.update_of(done, runs.size());
    worker.get();
  }
  return summary(runs);
}

double margin_argument(const std::string& text, MetricKind kind) {
  const bool ratio = is_margin_ratio(kind);
  const std::string expected = "for kind " + std::string{kind_word(kind)} + ", " + std::string{margin_range(ratio)};
  const double margin = number_argument("--margin", text, 0, most_margin_ratio, expected);
  if (is_margin(margin, ratio)) return margin;
  throw Failure{Exit::invalid_input, "--margin is \"" + text + '"', "expected " + expected};
}

ReplayOptions options_of(const ReplayArguments& arguments, const GuardConfig& guard) {
  ReplayOptions options;
  options.kind = kind_argument(arguments.metric);
  options.share_ppm = part_argument(arguments.percent);
  options.requests = count_argument("--requests", arguments.requests, 1, 1'000'000'000'000);
  options.repeat = count_argument("--repeat", arguments.repeat, 1, 10'000'000);
  options.seed = count_argument("--seed", arguments.seed, 0, std::numeric_limits<std::uint64_t>::max());
  const MetricConfig metric = metric_of(guard, options.kind);
  options.margin = arguments.margin ? margin_argument(*arguments.margin, options.kind) : metric.margin;
  options.advance_margin = advance_margin(metric, step_of(guard, options.share_ppm));
  options.alpha_rollback = guard.alpha_rollback;
  options.alpha_advance = guard.alpha_advance;
  return options;
}

// --- the answer ------------------------------------------------------------------------------------------------------

json::value number_or_null(const std::optional<double>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

std::string median_text(const std::optional<double>& requests) {
  return requests
             ? ", half of them within " + thousands(static_cast<std::uint64_t>(std::llround(*requests))) + " requests"
             : std::string{};
}

void write_text(Output& out, const ReplayArguments& arguments, const ReplayOptions& options, const ReplayFile& file,
                const ReplayResult& result) {
  std::string compared;
  append_visible(compared, arguments.candidate);
  compared += " at " + percent_text(options.share_ppm) + " % against ";
  append_visible(compared, arguments.baseline);
  out.write(compared + ", " + thousands(file.rows.size()) + (file.rows.size() == 1 ? " row" : " rows") + ", " +
            thousands(result.runs) + (result.runs == 1 ? " run" : " runs") + " of at most " +
            thousands(options.requests) + " requests\n");
  out.write("kind " + std::string{kind_word(options.kind)} + ", margin " + detail::figure(options.margin) +
            ", advance_margin " + margin_text(options.advance_margin) + ", alpha_rollback " +
            detail::figure(options.alpha_rollback) + ", alpha_advance " + detail::figure(options.alpha_advance) +
            "\n\n");
  const auto line = [&](std::string_view name, std::uint64_t count, const std::optional<double>& median) {
    out.write(coloured(1, "1", std::string{name} + std::string(13 - name.size(), ' ')) + thousands(count) + " of " +
              thousands(result.runs) + ", " + share_text(count, result.runs) + median_text(median) + '\n');
  };
  line("rolled back", result.rolled_back, result.median_requests_to_rollback);
  line("advanced", result.advanced, result.median_requests_to_advance);
  line("held", result.held, {});
  if (arguments.baseline == arguments.candidate)
    out.write("\nThe same column twice: every rollback is a false one, of which alpha_rollback allows " +
              detail::figure(100 * options.alpha_rollback) + " %.\n");
  if (file.empty_cells != 0)
    out.write('\n' + thousands(file.empty_cells) + (file.empty_cells == 1 ? " cell is" : " cells are") +
              " empty: outcomes that never came, which count as failures.\n");
}

void run(Context& context, const ReplayArguments& arguments) {
  const std::string config_file = config_path(context.config_file);
  const Config config = load_configuration(config_file);
  const TaskConfig& task = configured_task(config, config_file, arguments.task);
  const ReplayOptions options = options_of(arguments, task.guard);
  const ReplayFile file = read_file(arguments, options.kind);
  const ReplayResult result = replay_all(file.rows, options);
  if (!context.json) return write_text(context.out, arguments, options, file, result);
  write_document(context.out,
                 json::object{{"runs", result.runs},
                              {"rolled_back", result.rolled_back},
                              {"advanced", result.advanced},
                              {"held", result.held},
                              {"median_requests_to_rollback", number_or_null(result.median_requests_to_rollback)},
                              {"median_requests_to_advance", number_or_null(result.median_requests_to_advance)}});
}

}  // namespace

void add_guard_replay(Syntax guard, Context& context) {
  const Syntax verb =
      add_noun(guard, context, "replay", "Tells what the guard would have done on recorded outcomes, many times over");
  const auto arguments = std::make_shared<ReplayArguments>();
  add_text(verb, "task", arguments->task, "Task whose guard decides, as configured")->required()->type_name("TASK");
  add_text(verb, "file", arguments->file, "CSV with a header, - for stdin; a row for each request")
      ->required()
      ->type_name("FILE");
  add_text(verb, "--baseline", arguments->baseline, "Column: what the baseline made of the request")
      ->required()
      ->type_name("COLUMN");
  add_text(verb, "--candidate", arguments->candidate, "Column: what the candidate made of it")
      ->required()
      ->type_name("COLUMN");
  add_text(verb, "--metric", arguments->metric, "Kind: success, score, latency or cost (default: success)")
      ->type_name("KIND");
  add_text(verb, "--percent", arguments->percent, "The candidate's share of the traffic (default: 10)")
      ->type_name("PERCENT");
  add_text(verb, "--requests", arguments->requests, "A run's longest (default: 100000)")->type_name("N");
  add_text(verb, "--repeat", arguments->repeat, "Runs (default: 100)")->type_name("R");
  add_text(verb, "--seed", arguments->seed, "Of the draws; the same gives the same answer (default: 1)")
      ->type_name("S");
  verb.add_option(
          "--margin", [arguments](const std::string& text) { arguments->margin = unprotect(text); },
          "Tolerated harm before rollback, 0 too (default: that of the task's first metric of the kind)")
      ->type_name("X");
  verb.footer(
      "Each row holds what both versions made of one request. A run draws rows with replacement, gives each to one of "
      "the\n"
      "two at random, and asks the guard after every request, until it rolls back or advances. The same column twice "
      "tells\n"
      "how often a version that does no harm is taken back. An empty cell is an outcome that never came: a failure. "
      "Alphas\n"
      "and advance_margin (of the step that PERCENT stands on) are the task's. One metric, every row a user of its "
      "own,\n"
      "and evidence from the start alone: no sample-ratio test, no error_ratio, no slo_us, no restarts. Needs no "
      "database.");
  verb.callback([&context, arguments] { run(context, *arguments); });
}

}  // namespace canary::cli
