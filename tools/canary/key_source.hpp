// key_source.hpp: keys from a file or stdin, as plain lines or a CSV column, in constant memory.
// Plain lines: one key each, LF or CRLF, an empty line is the empty key. CSV: see csv_reader.hpp; the key is one column.
// A UTF-8 byte order mark is skipped. Keys are bytes and need not be UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syntax.hpp"

#include "csv_reader.hpp"

namespace canary::cli {

/// Where --keys and --column point.
struct KeyOptions {
  std::string file;  ///< `-` is stdin
  std::optional<std::string>
      column;  ///< given: CSV with a header. Not given: a *.csv file's first column, else plain lines
};

/// The options --keys and --column of a command; returns --keys.
Argument add_key_options(Syntax noun, KeyOptions& options);

class KeySource {
 public:
  /// Errors  Failure with the file's name, for whatever cannot be read.
  explicit KeySource(KeyOptions options);
  KeySource(const KeySource&) = delete;
  KeySource& operator=(const KeySource&) = delete;
  ~KeySource();

  /// The next keys, some thousand at a time, valid until the next call; empty at the end of the input.
  [[nodiscard]] const std::vector<std::string_view>& next();

  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  /// Size of a regular file; nothing for a pipe.
  [[nodiscard]] std::optional<std::uint64_t> bytes_total() const noexcept { return bytes_total_; }

  /// Warns on stderr about what looks like a mistake: no keys at all, or empty ones.
  void warn_of_oddities() const;

 private:
  void read_lines();
  void read_records();
  void take_record(const CsvRecord& record);
  void choose_column(const CsvRecord& header);
  void add_key(std::string_view key, std::uint64_t line);
  [[nodiscard]] std::size_t fill(std::size_t from);
  [[nodiscard]] std::size_t fill_first();
  std::size_t skip_mark(std::size_t size);
  [[noreturn]] void fail(const InputError& error) const;

  KeyOptions options_;
  std::string name_;
  int fd_ = -1;
  std::optional<std::uint64_t> bytes_total_;
  std::uint64_t bytes_read_ = 0;
  bool ended_ = false;
  bool csv_ = false;
  bool header_seen_ = false;
  std::vector<char> block_;
  std::size_t tail_begin_ = 0;  // plain lines: the beginning of a line whose end is not read yet
  std::size_t tail_end_ = 0;
  std::uint64_t line_ = 0;
  CsvReader reader_;
  std::size_t column_ = 0;
  std::string arena_;  // CSV: the keys of a block, one after another
  std::vector<std::size_t> ends_;
  std::vector<std::string_view> keys_;
  std::uint64_t count_ = 0;
  std::uint64_t empty_keys_ = 0;
  std::uint64_t first_empty_line_ = 0;
};

}  // namespace canary::cli
