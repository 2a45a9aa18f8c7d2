// csv_source.hpp: some columns of a CSV file with a header, row by row, in memory that does not grow with the file.
// The dialect is csv_reader.hpp's. The file is fed to it line by line, so that the text of a record is at hand when one
// of its cells turns out to be wrong, and the cell's place can be named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csv_reader.hpp"

namespace canary::cli {

/// One row, as long as the callback runs.
struct CsvRow {
  std::span<const std::string_view> cells;  ///< of the columns that were asked for, in that order
  std::uint64_t line;                       ///< where it starts
};

class CsvSource {
 public:
  /// Input   `file`: `-` is stdin. `columns`: names in the header.
  /// Errors  Failure invalid_input with the file's name, for what cannot be opened.
  CsvSource(const std::string& file, std::vector<std::string> columns);
  CsvSource(const CsvSource&) = delete;
  CsvSource& operator=(const CsvSource&) = delete;
  ~CsvSource();

  /// Reads a piece of the file, and gives on_row each row that ends in it; false at the end of the file.
  /// Errors  Failure invalid_input with FILE:LINE:COLUMN; Interrupted, where signals are held back.
  bool next(const std::function<void(const CsvRow&)>& on_row);

  /// Within on_row: this cell is not what was expected.
  [[noreturn]] void refuse(std::size_t column, std::string_view expected) const;

  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  /// Size of a regular file; nothing for a pipe.
  [[nodiscard]] std::optional<std::uint64_t> bytes_total() const noexcept { return bytes_total_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  std::string_view fill();
  void feed(std::string_view line, const std::function<void(const CsvRow&)>& on_row);
  void take(const CsvRecord& record, const std::function<void(const CsvRow&)>& on_row);
  void find_columns(const CsvRecord& header);
  [[nodiscard]] std::size_t find_column(const CsvRecord& header, const std::string& column) const;

  std::string name_;
  std::vector<std::string> columns_;
  int fd_ = -1;
  std::optional<std::uint64_t> bytes_total_;
  std::uint64_t bytes_read_ = 0;
  std::vector<char> block_;
  CsvReader reader_;
  bool header_seen_ = false;
  std::vector<std::size_t> places_;      // of the columns in a record
  std::vector<std::string_view> cells_;  // of the record at hand
  std::string before_;                   // the record's lines before the one that is fed right now
  std::string_view line_;                // that one
  std::uint64_t record_line_ = 0;
};

}  // namespace canary::cli
