// canary interactions import TASK FILE --version ID: outcomes that were recorded elsewhere.
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/core/hash.hpp"
#include "interaction_import.hpp"
#include "interrupt.hpp"
#include "recorded.hpp"
#include "row_progress.hpp"

namespace canary::cli {
namespace {

struct ColumnOption {
  CellKind kind;
  const char* option;
  const char* description;
};

constexpr std::array<ColumnOption, 11> column_options{{
    {CellKind::ok, "--ok", "Column: 1, 0, true, false, yes or no (default: all succeeded)"},
    {CellKind::score, "--score", "Column: quality, from 0 to 1"},
    {CellKind::latency_us, "--latency-us", "Column: microseconds"},
    {CellKind::key, "--key", "Column: the sticky key (default: each row is a user of its own)"},
    {CellKind::at, "--at", "Column: when it was recorded (default: now)"},
    {CellKind::tokens_in, "--tokens-in", "Column: tokens of the request"},
    {CellKind::tokens_out, "--tokens-out", "Column: tokens of the answer"},
    {CellKind::cost_microusd, "--cost-microusd", "Column: millionths of a US dollar"},
    {CellKind::error, "--error", "Column: why it failed; empty or none when it did not"},
    {CellKind::request, "--request", "Column: text of the request, for canary export"},
    {CellKind::response, "--response", "Column: text of the answer, for canary export"},
}};

struct ImportOptions {
  std::string task;
  std::string file;
  std::string id;
  std::array<std::string, column_options.size()> columns;

  [[nodiscard]] std::vector<ImportColumn> named() const {
    std::vector<ImportColumn> all;
    for (std::size_t i = 0; i != columns.size(); ++i)
      if (!columns[i].empty()) all.push_back({column_options[i].kind, columns[i]});
    return all;
  }
};

void run(Context& context, const ImportOptions& options) {
  const Recorded recorded{context};
  const TaskConfig& task = recorded.task(options.task);
  const std::uint16_t number = recorded.version_number(task, options.id);
  const std::uint32_t revision = recorded.store->load(task.name, {.in_play = false}).revision;
  const std::vector<ImportColumn> columns = options.named();
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const ImportColumn& column : columns) names.push_back(column.name);

  const Interrupts interrupts;
  CsvSource source{options.file, names};
  const std::uint64_t seed = seed_of(task.salt.empty() ? task.name : task.salt);
  InteractionImport import{*recorded.interactions, {task.name, seed, number, revision}, source, columns};
  {
    RowProgress progress{"rows"};
    while (source.next([&import](const CsvRow& row) { import.add(row); }))
      progress.update(import.imported() + import.skipped(), source.bytes_read(), source.bytes_total());
    import.commit();
  }
  const std::string id = number == 0 ? task.name + "@default" : version_id(task.name, number);
  if (import.imported() != 0)
    context.committed = thousands(import.imported()) + " interactions of " + id + " were imported";
  if (import.empty_keys() != 0)
    warn(source.name() + ": " + thousands(import.empty_keys()) + (import.empty_keys() == 1 ? " key is" : " keys are") +
         " empty, the first in line " + std::to_string(import.first_empty_key_line()) + "; they count as one user");
  if (context.json)
    return write_document(context.out,
                          boost::json::object{{"imported", import.imported()}, {"skipped", import.skipped()}});
  context.out.write(thousands(import.imported()) + (import.imported() == 1 ? " interaction of " : " interactions of ") +
                    id + " imported, " + thousands(import.skipped()) + (import.skipped() == 1 ? " row" : " rows") +
                    " without an outcome skipped\n");
}

}  // namespace

void add_interactions_import(Syntax interactions, Context& context) {
  Syntax verb = add_noun(interactions, context, "import", "Brings in outcomes that were recorded elsewhere, from CSV");
  const auto options = std::make_shared<ImportOptions>();
  add_text(verb, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_text(verb, "file", options->file, "CSV with a header, - for stdin")->required()->type_name("FILE");
  add_text(verb, "--version", options->id, "Version that answered: TASK@N or TASK@default")
      ->required()
      ->type_name("ID");
  for (std::size_t i = 0; i != column_options.size(); ++i)
    add_text(verb, column_options[i].option, options->columns[i], column_options[i].description)->type_name("COLUMN");
  verb.footer(
      "The whole file or nothing: a cell that makes no sense is named with its line and column, and nothing is "
      "imported.\n"
      "A row whose cells of these columns, but for --key and --at, are all empty is skipped. Times are RFC 3339 (UTC "
      "where\n"
      "the zone is missing), or seconds, milliseconds or microseconds since 1970; rows may come in any order. "
      "Imported\n"
      "interactions count in stats and can be exported; the guard's evidence they are not, since nobody drew their "
      "version\n"
      "by lot. On SQLite other writers wait until the import is over.");
  verb.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
