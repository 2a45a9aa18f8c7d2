// canary export TASK --out DIR: recorded texts as training data, split by user, whole or not at all.
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/nearest.hpp"
#include "canary/control/percent.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/training_export.hpp"
#include "canary/core/types.hpp"
#include "chat_example.hpp"
#include "interrupt.hpp"
#include "outcome_cells.hpp"
#include "recorded.hpp"
#include "row_progress.hpp"
#include "staged_files.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

struct ExportOptions {
  std::string task;
  std::string out;
  std::string val = "10";
  std::string min_score;
  std::vector<std::string> versions;
  TimeOptions times;
  std::string format = "chat";
  bool with_errors = false;
  bool force = false;
};

/// Why an interaction with texts is no example.
enum class LeftOut : std::uint8_t { none, error, no_score, low_score, no_text, duplicate };

constexpr std::array<const char*, 6> left_out_words{"", "error", "no_score", "low_score", "no_text", "duplicate"};

/// Which interactions become examples.
struct Wanted {
  std::uint32_t val_ppm = 0;
  std::optional<std::uint32_t> min_score;  ///< billionths
  std::vector<std::uint16_t> numbers;      ///< empty: all
  std::vector<std::string> versions;       ///< as they were named
  TimeRange range;
  bool with_errors = false;

  /// Of the time and the versions that were asked for.
  [[nodiscard]] bool concerns(const Interaction& row) const {
    if (!range.has(row.at_us)) return false;
    const bool of_none = row.number == 0 && row.reason == Reason::forced;
    return numbers.empty() || (!of_none && std::find(numbers.begin(), numbers.end(), row.number) != numbers.end());
  }
  [[nodiscard]] LeftOut reject(const Interaction& row, const Payload& texts) const {
    if (row.error != 0 && !with_errors) return LeftOut::error;
    if (min_score && row.score == no_score) return LeftOut::no_score;
    if (min_score && row.score < *min_score) return LeftOut::low_score;
    return texts.request.empty() || texts.response.empty() ? LeftOut::no_text : LeftOut::none;
  }
};

/// What was read and written, for the manifest.
struct Account {
  std::uint64_t read = 0;
  std::array<std::uint64_t, left_out_words.size()> left_out{};
  std::uint64_t first_id = 0;
  std::uint64_t last_id = 0;
  TimeUs first_us = std::numeric_limits<TimeUs>::max();
  TimeUs last_us = 0;
  std::uint32_t first_revision = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t last_revision = 0;

  void add(const Interaction& row) noexcept {
    if (first_id == 0) first_id = row.id;
    last_id = row.id;
    first_us = std::min(first_us, row.at_us);
    last_us = std::max(last_us, row.at_us);
    first_revision = std::min(first_revision, row.revision);
    last_revision = std::max(last_revision, row.revision);
  }
};

/// One side of the split.
struct Side {
  explicit Side(const fs::path& path) : file{path} {}
  StagedFile file;
  std::uint64_t examples = 0;
  std::string sha256;
};

class Export {
 public:
  Export(const Recorded& recorded, const TaskConfig& task, Wanted wanted, const fs::path& folder)
      : recorded_{recorded},
        task_{task},
        wanted_{std::move(wanted)},
        folder_{folder},
        train_{folder / "train.jsonl"},
        val_{folder / "val.jsonl"},
        manifest_{folder / "manifest.json"} {}

  void read();
  /// Puts everything in its place, the manifest last: where it stands, the others are whole.
  void place();

  [[nodiscard]] std::uint64_t written() const noexcept { return train_.examples + val_.examples; }
  [[nodiscard]] json::object left_out() const;
  /// Each with its examples; a side that has none has no file.
  [[nodiscard]] std::vector<const Side*> sides() const;

 private:
  void take(const Interaction& row, const Payload& texts);
  [[nodiscard]] json::object manifest() const;

  const Recorded& recorded_;
  const TaskConfig& task_;
  const Wanted wanted_;
  const fs::path folder_;
  Side train_;
  Side val_;
  StagedFile manifest_;
  SeenExamples seen_;
  Account account_;
};

void Export::read() {
  InteractionFilter filter = filter_of(wanted_.range, longest_outcome_us(recorded_.config, &task_));
  filter.task = recorded_.interactions->find_task(task_.name);
  if (!filter.task) return;
  if (wanted_.numbers.size() == 1) filter.number = wanted_.numbers.front();
  filter.with_payload = true;
  RowProgress progress{"interactions"};
  recorded_.interactions->read(filter, [&](const Interaction& row, const Payload& texts) {
    Interrupts::check();
    take(row, texts);
    progress.update(account_.read);
    return true;
  });
  Interrupts::check();
}

void Export::take(const Interaction& row, const Payload& texts) {
  if (!wanted_.concerns(row)) return;
  ++account_.read;
  LeftOut why = wanted_.reject(row, texts);
  if (why == LeftOut::none && !seen_.add(texts.request, texts.response)) why = LeftOut::duplicate;
  if (why != LeftOut::none) {
    ++account_.left_out[static_cast<std::size_t>(why)];
    return;
  }
  account_.add(row);
  Side& side = is_validation(row.point, wanted_.val_ppm) ? val_ : train_;
  append_chat_example(side.file.buffer(), texts.request, texts.response);
  ++side.examples;
  side.file.settle();
}

std::vector<const Side*> Export::sides() const {
  std::vector<const Side*> all;
  for (const Side* side : {&train_, &val_})
    if (side->examples != 0) all.push_back(side);
  return all;
}

json::object Export::left_out() const {
  json::object counts;
  for (std::size_t i = 1; i != left_out_words.size(); ++i)
    if (account_.left_out[i] != 0) counts[left_out_words[i]] = account_.left_out[i];
  return counts;
}

json::object Export::manifest() const {
  json::array versions;
  for (const std::string& id : wanted_.versions) versions.push_back(json_text(id));
  json::array files;
  for (const Side* side : sides())
    files.push_back({{"path", json_text(side->file.path().filename().string())},
                     {"examples", side->examples},
                     {"bytes", side->file.bytes()},
                     {"sha256", json_text(side->sha256)}});
  const auto time = [](TimeUs at_us, bool given) {
    return given ? json::value(json_text(time_text(at_us))) : json::value(nullptr);
  };
  const TimeRange& range = wanted_.range;
  return {
      {"canary", json_text(canary::version)},
      {"created_at", json_text(time_text(Registry::system_time()))},
      {"task", json_text(task_.name)},
      {"format", "chat"},
      {"filters",
       {{"versions", std::move(versions)},
        {"since", time(range.since_us, range.since_us != 0)},
        {"until", time(range.until_us, range.until_us != TimeRange{}.until_us)},
        {"min_score",
         wanted_.min_score ? json::value(*wanted_.min_score / static_cast<double>(score_one)) : json::value(nullptr)},
        {"with_errors", wanted_.with_errors}}},
      {"split", {{"val_percent", json_text(percent_text(wanted_.val_ppm))}, {"salt", json_text(training_split_salt)}}},
      {"read", account_.read},
      {"written", written()},
      {"left_out", left_out()},
      {"first_id", json_text(std::to_string(account_.first_id))},
      {"last_id", json_text(std::to_string(account_.last_id))},
      {"first_at", json_text(time_text(account_.first_us))},
      {"last_at", json_text(time_text(account_.last_us))},
      {"first_revision", account_.first_revision},
      {"last_revision", account_.last_revision},
      {"files", std::move(files)}};
}

void Export::place() {
  for (Side* side : {&train_, &val_}) side->sha256 = side->file.finish();
  manifest_.buffer() = json::serialize(manifest()) + '\n';
  (void)manifest_.finish();
  Interrupts::check();
  std::error_code ignored;
  fs::remove(manifest_.path(), ignored);  // of an export before: from here on it would speak of other files
  std::vector<fs::path> placed;
  try {
    for (Side* side : {&train_, &val_}) {
      if (side->examples == 0) {
        fs::remove(side->file.path(), ignored);
        continue;
      }
      side->file.place();
      placed.push_back(side->file.path());
    }
    manifest_.place();
  } catch (...) {
    for (const fs::path& path : placed) fs::remove(path, ignored);
    throw;
  }
}

// --- command line ----------------------------------------------------------------------------------------------------

Wanted wanted_of(const Recorded& recorded, const TaskConfig& task, const ExportOptions& options) {
  if (options.format != "chat")
    throw Failure{Exit::usage, "no format \"" + options.format.substr(0, 64) + '"', "chat is the one there is"};
  Wanted wanted;
  wanted.val_ppm = percent_argument(options.val);
  if (!options.min_score.empty()) {
    wanted.min_score = parse_score(options.min_score);
    if (!wanted.min_score)
      throw Failure{Exit::invalid_input, "--min-score is no score", "expected " + std::string{score_forms}};
  }
  for (const std::string& id : options.versions) {
    wanted.numbers.push_back(recorded.version_number(task, id));
    wanted.versions.push_back(id);
  }
  wanted.range = options.times.range(Registry::system_time());
  wanted.with_errors = options.with_errors;
  return wanted;
}

void refuse_to_overwrite(const fs::path& folder) {
  for (const char* name : {"train.jsonl", "val.jsonl", "manifest.json"}) {
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(folder / name, ignored))) continue;
    std::string shown;
    append_visible(shown, (folder / name).string());
    throw Failure{Exit::conflict, shown + " is there already", "name another folder, or say --force to replace it"};
  }
}

[[noreturn]] void refuse_empty(const Export& made, const TaskConfig& task) {
  std::string why;
  for (const auto& [reason, count] : made.left_out())
    why += (why.empty() ? "" : ", ") + std::string{std::string_view{reason.data(), reason.size()}} + ' ' +
           thousands(count.as_uint64());
  throw Failure{Exit::failed,
                "no example: " +
                    (why.empty() ? "task " + task.name + " has no such interactions with texts"
                                 : "all were left out (" + why + ')') +
                    "; nothing was written",
                why.empty() ? "texts are kept from when recorder.payloads = true on" : "ask for more of them"};
}

void write_result(Context& context, const Export& made, const fs::path& folder) {
  if (context.json) {
    json::array files;
    for (const Side* side : made.sides())
      files.push_back({{"path", json_text(side->file.path().string())}, {"examples", side->examples}});
    return write_document(context.out, json::object{{"files", std::move(files)},
                                                    {"manifest", json_text((folder / "manifest.json").string())},
                                                    {"left_out", made.left_out()}});
  }
  Table table;
  table.row({"FILE", "EXAMPLES", "MIB"});
  for (const Side* side : made.sides()) {
    std::string path;
    append_visible(path, side->file.path().string());
    table.row({path, thousands(side->examples), thousands(side->file.bytes() >> 20)});
  }
  table.write(context.out);
  for (const auto& [reason, count] : made.left_out())
    context.out.write("left out, " + std::string{std::string_view{reason.data(), reason.size()}} + ": " +
                      thousands(count.as_uint64()) + '\n');
}

void run(Context& context, const ExportOptions& options) {
  const Recorded recorded{context};
  const TaskConfig& task = recorded.task(options.task);
  Wanted wanted = wanted_of(recorded, task, options);
  const bool split = wanted.val_ppm != 0;
  if (options.out.empty()) throw Failure{Exit::usage, "--out names no folder", "--out training, for one"};
  fs::path path = fs::path{options.out}.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // DIR/
  if (!options.force) refuse_to_overwrite(path);
  const Interrupts interrupts;
  const StagedFolder folder{path};
  Export made{recorded, task, std::move(wanted), path};
  made.read();
  if (made.written() == 0) refuse_empty(made, task);
  if (!options.force) refuse_to_overwrite(path);  // another export may have been quicker
  made.place();
  std::string shown;
  append_visible(shown, path.string());
  context.committed = shown + " has the files";
  if (split && made.sides().size() == 1)
    warn("no user fell into the other side of the split; " + std::string{made.sides().front()->file.path().filename()} +
         " has all examples");
  write_result(context, made, path);
}

}  // namespace

void add_export(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "export", "Writes recorded texts as training data, split by user");
  const auto options = std::make_shared<ExportOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_text(noun, "--out", options->out, "Folder for train.jsonl, val.jsonl and manifest.json, made if missing")
      ->required()
      ->type_name("DIR");
  add_text(noun, "--val", options->val, "Share of the users whose examples go to val.jsonl (default: 10)")
      ->type_name("PERCENT");
  add_text(noun, "--min-score", options->min_score, "Only examples with at least this score")->type_name("SCORE");
  add_texts(noun, "--version", options->versions, "Only this version's: TASK@N or TASK@default; may be given often")
      ->allow_extra_args(false)
      ->type_name("ID");
  add_time_options(noun, options->times);
  noun.add_flag("--with-errors", options->with_errors, "Failed ones too");
  add_text(noun, "--format", options->format, "chat: {\"messages\":[...]}, a line each (default)")->type_name("FORMAT");
  noun.add_flag("--force", options->force, "Replaces files that are there");
  noun.footer(
      std::string{time_footer} +
      "\nThe user's text and the answer, a line each; a request that is a JSON array of messages is taken as they are. "
      "All\n"
      "examples of a user are on one side, in every export. What was there before word for word is left out. "
      "manifest.json\n"
      "comes last and has counts, filters and the files' SHA-256. Without any example: exit 1, and no file.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
