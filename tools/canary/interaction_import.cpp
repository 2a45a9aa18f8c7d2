#include "interaction_import.hpp"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include "canary/control/registry.hpp"
#include "canary/control/window.hpp"
#include "canary/core/hash.hpp"
#include "outcome_cells.hpp"
#include "time_argument.hpp"

namespace canary::cli {
namespace {

constexpr std::size_t batch_rows = 16'384;
constexpr std::size_t batch_text_bytes = std::size_t{8} << 20;
constexpr TimeUs tolerated_ahead_us = 86'400'000'000;  // another machine's clock, or its zone

}  // namespace

InteractionImport::InteractionImport(InteractionStore& store, ImportTarget target, const CsvSource& source,
                                     std::vector<ImportColumn> columns)
    : store_{store},
      target_{std::move(target)},
      source_{source},
      columns_{std::move(columns)},
      started_us_{Registry::system_time()},
      spool_{store} {
  rows_.reserve(batch_rows);
}

// --- a row -----------------------------------------------------------------------------------------------------------

/// With a column of outcomes at all, and none of them filled.
bool InteractionImport::says_nothing(const CsvRow& row) const noexcept {
  bool any = false;
  for (std::size_t i = 0; i != columns_.size(); ++i) {
    if (columns_[i].kind >= CellKind::key) continue;
    if (!row.cells[i].empty()) return false;
    any = true;
  }
  return any;
}

void InteractionImport::add(const CsvRow& row) {
  if (says_nothing(row)) {
    ++skipped_;
    return;
  }
  Row to;
  to.texts = texts_.size();
  to.interaction.at_us = started_us_;
  to.interaction.number = target_.number;
  to.interaction.revision = target_.revision;
  std::optional<std::size_t> empty_ok;
  bool with_key = false;
  for (std::size_t i = 0; i != columns_.size(); ++i) {
    const CellKind kind = columns_[i].kind;
    if (kind == CellKind::ok && row.cells[i].empty()) empty_ok = i;
    if (kind == CellKind::key) {
      with_key = true;
      if (row.cells[i].empty() && empty_keys_++ == 0) first_empty_key_line_ = row.line;
    }
    if (!row.cells[i].empty() || kind >= CellKind::key) read_cell(to, i, row.cells[i]);
  }
  if (empty_ok && to.interaction.error == 0)
    source_.refuse(*empty_ok, std::string{ok_forms} + ", or a row without any outcome, which is skipped");
  if (!with_key) to.interaction.point = static_cast<Point>(random_() >> 32);
  rows_.push_back(to);
  if (rows_.size() == batch_rows || texts_.size() >= batch_text_bytes) deliver();
}

void InteractionImport::read_cell(Row& to, std::size_t column, std::string_view text) {
  constexpr std::uint64_t most_32 = std::numeric_limits<std::uint32_t>::max();
  constexpr std::uint64_t most_63 = std::numeric_limits<std::int64_t>::max();
  constexpr std::string_view tokens = "a number of tokens, below 4294967296";
  Interaction& row = to.interaction;
  switch (columns_[column].kind) {
    case CellKind::ok: {
      const std::optional<bool> ok = parse_ok(text);
      if (!ok) source_.refuse(column, ok_forms);
      if (!*ok && row.error == 0) row.error = static_cast<std::uint8_t>(ErrorKind::other);
      return;
    }
    case CellKind::error: {
      const std::optional<ErrorKind> kind = parse_error(text);
      if (!kind) source_.refuse(column, error_forms);
      if (*kind != ErrorKind::none) row.error = static_cast<std::uint8_t>(*kind);
      return;
    }
    case CellKind::score: {
      const std::optional<std::uint32_t> score = parse_score(text);
      if (!score) source_.refuse(column, score_forms);
      row.score = *score;
      return;
    }
    case CellKind::latency_us:  // longer ones than can be kept count as the longest
      row.latency_us = static_cast<std::uint32_t>(std::min<std::uint64_t>(
          amount(column, text, most_63, "a number of microseconds, 812000 for one"), longest_latency_us));
      return;
    case CellKind::tokens_in:
      row.tokens_in = static_cast<std::uint32_t>(amount(column, text, most_32, tokens));
      return;
    case CellKind::tokens_out:
      row.tokens_out = static_cast<std::uint32_t>(amount(column, text, most_32, tokens));
      return;
    case CellKind::cost_microusd:
      row.cost_microusd = amount(column, text, most_63, "a number of millionths of a US dollar, 140 for one");
      return;
    case CellKind::request:
      texts_ += text;
      to.request_bytes = text.size();
      return;
    case CellKind::response:
      texts_ += text;
      to.response_bytes = text.size();
      return;
    case CellKind::key:
      row.point = point_of(text, target_.seed);
      return;
    case CellKind::at:
      row.at_us = time(column, text);
      return;
  }
}

std::uint64_t InteractionImport::amount(std::size_t column, std::string_view text, std::uint64_t most,
                                        std::string_view expected) const {
  const std::optional<std::uint64_t> value = parse_amount(text, most);
  if (!value) source_.refuse(column, expected);
  return *value;
}

TimeUs InteractionImport::time(std::size_t column, std::string_view text) const {
  const std::optional<TimeUs> at = parse_time(text);
  if (!at) source_.refuse(column, std::string{"a time: "} + time_forms);
  if (*at > started_us_ + tolerated_ahead_us) source_.refuse(column, "a time that has come already");
  return *at;
}

// --- a batch ---------------------------------------------------------------------------------------------------------

void InteractionImport::deliver() {
  if (rows_.empty()) return;
  if (!delivery_) {
    delivery_ = spool_.begin();
    task_number_ = delivery_->task_number(target_.task);
    ids_.emplace(spool_.node(), static_cast<std::uint32_t>(random_()));
  }
  // Ids that rise are the fast way into every store.
  std::stable_sort(rows_.begin(), rows_.end(),
                   [](const Row& a, const Row& b) { return a.interaction.at_us < b.interaction.at_us; });
  add_rows();
  add_texts();
  count_rows();
  imported_ += rows_.size();
  rows_.clear();
  texts_.clear();
}

/// An id that the store has already is of an import before, whose node was the same: such rows get others.
void InteractionImport::add_rows() {
  for (Row& row : rows_) {
    row.interaction.task = task_number_;
    row.interaction.id = ids_->next(row.interaction.at_us);
  }
  std::vector<Interaction> fresh;
  fresh.reserve(rows_.size());
  for (const Row& row : rows_) fresh.push_back(row.interaction);
  for (;;) {
    const std::vector<std::uint64_t> left_out = delivery_->add(fresh);
    if (left_out.empty()) break;
    const std::unordered_set<std::uint64_t> taken{left_out.begin(), left_out.end()};
    fresh.clear();
    for (Row& row : rows_) {
      if (!taken.contains(row.interaction.id)) continue;
      row.interaction.id = ids_->next(row.interaction.at_us);
      fresh.push_back(row.interaction);
    }
  }
  ids_->forget_some();
}

void InteractionImport::add_texts() {
  const std::string_view texts = texts_;
  std::vector<Payload> payloads;
  for (const Row& row : rows_)
    if (row.request_bytes + row.response_bytes != 0)
      payloads.push_back({row.interaction.id, texts.substr(row.texts, row.request_bytes),
                          texts.substr(row.texts + row.request_bytes, row.response_bytes)});
  if (!payloads.empty()) delivery_->add_payloads(payloads);
}

/// One window after another, as the rows stand.
void InteractionImport::count_rows() {
  for (std::size_t i = 0; i != rows_.size();) {
    const std::uint32_t window = window_of(rows_[i].interaction.at_us);
    std::string& bytes = windows_[window];
    WindowCounts counts = bytes.empty() ? WindowCounts{} : WindowCounts::parse(bytes).value();
    for (; i != rows_.size() && window_of(rows_[i].interaction.at_us) == window; ++i) counts.add(rows_[i].interaction);
    bytes = counts.bytes();
  }
}

void InteractionImport::commit() {
  deliver();
  if (!delivery_) return;
  for (const auto& [window, bytes] : windows_)
    delivery_->put({CountsKind::window, task_number_, target_.number, window, 0, bytes});
  spool_.commit(std::move(delivery_));
  spool_.close();
}

}  // namespace canary::cli
