// interaction_import.hpp: rows of a CSV file as interactions of one version, all of them or none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/interaction_store.hpp"
#include "canary/core/types.hpp"
#include "command_spool.hpp"
#include "csv_source.hpp"
#include "interaction_ids.hpp"

namespace canary::cli {

/// What a column holds.
enum class CellKind : std::uint8_t {
  ok,
  score,
  latency_us,
  tokens_in,
  tokens_out,
  cost_microusd,
  error,
  request,
  response,
  key,  ///< this and the next say nothing of the outcome
  at,
};

struct ImportColumn {
  CellKind kind = CellKind::ok;
  std::string name;
};

/// What every row of a file shares.
struct ImportTarget {
  std::string task;
  std::uint64_t seed = 0;  ///< of the task's salt
  std::uint16_t number = 0;
  std::uint32_t revision = 0;
};

/// Reads rows, and delivers them in batches within one transaction.
class InteractionImport {
 public:
  /// Input   columns in the order of the source's.
  InteractionImport(InteractionStore& store, ImportTarget target, const CsvSource& source,
                    std::vector<ImportColumn> columns);

  /// Takes a row.
  /// Errors  Failure with the cell's place, or StoreError; then nothing was imported.
  void add(const CsvRow& row);
  /// Brings the rest into the store, and makes all of it stand.
  void commit();

  [[nodiscard]] std::uint64_t imported() const noexcept { return imported_; }
  [[nodiscard]] std::uint64_t skipped() const noexcept { return skipped_; }
  [[nodiscard]] std::uint64_t empty_keys() const noexcept { return empty_keys_; }
  [[nodiscard]] std::uint64_t first_empty_key_line() const noexcept { return first_empty_key_line_; }

 private:
  struct Row {
    Interaction interaction;
    std::size_t texts = 0;  ///< where they begin
    std::size_t request_bytes = 0;
    std::size_t response_bytes = 0;
  };

  [[nodiscard]] bool says_nothing(const CsvRow& row) const noexcept;
  void read_cell(Row& to, std::size_t column, std::string_view text);
  [[nodiscard]] std::uint64_t amount(std::size_t column, std::string_view text, std::uint64_t most,
                                     std::string_view expected) const;
  [[nodiscard]] TimeUs time(std::size_t column, std::string_view text) const;
  void deliver();
  void give_ids();
  void add_rows();
  void add_texts();
  void count_rows();

  InteractionStore& store_;
  const ImportTarget target_;
  const CsvSource& source_;
  const std::vector<ImportColumn> columns_;
  const TimeUs started_us_;
  std::mt19937_64 random_{std::random_device{}()};
  CommandSpool spool_;
  std::unique_ptr<Delivery> delivery_;  // from the first batch on
  std::uint32_t task_number_ = 0;
  std::optional<InteractionIds> ids_;
  bool ok_seen_ = false;   // of the row at hand
  std::vector<Row> rows_;  // a batch
  std::string texts_;
  std::map<std::uint32_t, std::string> windows_;  // their counts as bytes: 15 KB each otherwise
  std::uint64_t imported_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t empty_keys_ = 0;
  std::uint64_t first_empty_key_line_ = 0;
};

}  // namespace canary::cli
