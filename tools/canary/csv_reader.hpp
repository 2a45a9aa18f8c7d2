// csv_reader.hpp: CSV as it comes in, piece by piece, in memory that does not grow with the file.
// The dialect is RFC 4180: commas, fields in quotes may hold commas, line breaks and doubled quotes. Lines end with LF or
// CRLF; empty lines are no records. What breaks the dialect is refused with its place, never guessed at: a wrong guess
// shifts columns, and keys would come from the wrong one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace canary::cli {

/// What is wrong with an input, and where.
class InputError : public std::runtime_error {
 public:
  InputError(std::uint64_t at_line, std::uint64_t at_column, const std::string& message, std::string what_to_do = {})
      : std::runtime_error{message}, line{at_line}, column{at_column}, hint{std::move(what_to_do)} {}
  std::uint64_t line;    ///< from 1
  std::uint64_t column;  ///< from 1, in characters; 0: the whole line
  std::string hint;
};

/// Largest key, field or header that is kept.
inline constexpr std::size_t max_field_bytes = std::size_t{16} << 20;

/// One record, as long as the callback runs.
struct CsvRecord {
  std::span<const std::string_view> fields;
  std::uint64_t line;  ///< where it starts
};

/// Turns pieces of a CSV text into records. The records do not depend on how the text is cut.
class CsvReader {
 public:
  static constexpr std::size_t every_field = std::numeric_limits<std::size_t>::max();

  /// Reads a piece; on_record(const CsvRecord&) for each record that ends in it.
  template <class OnRecord>
  void feed(std::string_view piece, OnRecord&& on_record) {
    while (!piece.empty()) piece.remove_prefix(step(piece, on_record));
  }

  /// The text has ended: hands over the last record, should it lack its line break.
  template <class OnRecord>
  void finish(OnRecord&& on_record) {
    if (state_ == State::quoted)
      throw InputError{quote_line_, quote_column_, "the quote that opens here is never closed"};
    if (begun_) end_record(on_record);
  }

  /// From the next record on keeps this field's bytes alone, and wants `count` fields; the others come as empty views.
  void keep(std::size_t field, std::size_t count) noexcept {
    kept_ = field;
    expected_ = count;
  }

 private:
  enum class State : std::uint8_t {
    field_start,
    plain,
    quoted,
    after_quote,      ///< in a quoted field, behind a quote: it closed the field, or is the first of two
    carriage_return,  ///< behind CR: a line break if LF follows, else a character as any other
  };

  template <class OnRecord>
  std::size_t step(std::string_view piece, OnRecord& on_record);
  template <class OnRecord>
  std::size_t unquoted(std::string_view piece, OnRecord& on_record);
  std::size_t quoted(std::string_view piece);
  void add(std::string_view bytes);
  void advance(std::string_view bytes);
  void end_field();
  template <class OnRecord>
  void end_record(OnRecord& on_record);
  static constexpr bool special(char c) noexcept { return c == ',' || c == '"' || c == '\n' || c == '\r'; }
  [[noreturn]] void stray_quote() const {
    throw InputError{line_, column_, "a quote inside a field",
                     "put the whole field into quotes, and double the quotes in it"};
  }

  static constexpr std::size_t max_fields = 16'384;

  State state_ = State::field_start;
  State before_return_ = State::field_start;
  bool begun_ = false;  // the record has at least one byte
  std::uint64_t line_ = 1;
  std::uint64_t column_ = 1;
  std::uint64_t record_line_ = 1;
  std::uint64_t quote_line_ = 0;
  std::uint64_t quote_column_ = 0;
  std::size_t kept_ = every_field;
  std::size_t expected_ = 0;  // fields per record; 0: any
  std::string bytes_;         // the kept fields, one after another
  std::vector<std::size_t> ends_;
  std::vector<std::string_view> fields_;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class OnRecord>
std::size_t CsvReader::step(std::string_view piece, OnRecord& on_record) {
  const char c = piece.front();
  if (!begun_) record_line_ = line_;
  switch (state_) {
    case State::quoted:
      return quoted(piece);
    case State::after_quote:
      if (c == '"') {
        add(piece.substr(0, 1));
        state_ = State::quoted;
      } else if (c == ',' || c == '\n' || c == '\r') {
        return unquoted(piece, on_record);
      } else {
        throw InputError{line_, column_, "text after a closing quote",
                         "a quote inside a quoted field is written twice"};
      }
      ++column_;
      return 1;
    case State::carriage_return:
      if (c == '\n') {
        state_ = before_return_;
        return unquoted(piece, on_record);
      }
      if (before_return_ == State::after_quote)
        throw InputError{line_, column_ - 1, "text after a closing quote",
                         "a quote inside a quoted field is written twice"};
      add("\r");
      begun_ = true;
      state_ = State::plain;
      return 0;
    case State::field_start:
      if (c != '"') return unquoted(piece, on_record);
      quote_line_ = line_;
      quote_column_ = column_++;
      begun_ = true;
      state_ = State::quoted;
      return 1;
    case State::plain:
      return unquoted(piece, on_record);
  }
  return piece.size();
}

/// Plain characters up to the next one that means something, or that one.
template <class OnRecord>
std::size_t CsvReader::unquoted(std::string_view piece, OnRecord& on_record) {
  std::size_t run = 0;
  while (run != piece.size() && !special(piece[run])) ++run;
  if (run != 0) {
    add(piece.substr(0, run));
    advance(piece.substr(0, run));
    begun_ = true;
    state_ = State::plain;
    return run;
  }
  switch (piece.front()) {
    case '"':
      stray_quote();
    case ',':
      end_field();
      begun_ = true;
      state_ = State::field_start;
      ++column_;
      break;
    case '\r':
      before_return_ = state_;
      state_ = State::carriage_return;
      ++column_;
      break;
    default:
      if (begun_) end_record(on_record);
      state_ = State::field_start;
      ++line_;
      column_ = 1;
  }
  return 1;
}

inline std::size_t CsvReader::quoted(std::string_view piece) {
  const std::size_t run = std::min(piece.find('"'), piece.size());
  add(piece.substr(0, run));
  advance(piece.substr(0, run));
  if (run == piece.size()) return run;
  state_ = State::after_quote;
  ++column_;
  return run + 1;
}

inline void CsvReader::add(std::string_view bytes) {
  if (kept_ != every_field && ends_.size() != kept_) return;
  if (bytes_.size() + bytes.size() > max_field_bytes)
    throw InputError{record_line_, 0, "a record that does not fit into 16 MiB", "is a quote missing?"};
  bytes_ += bytes;
}

inline void CsvReader::advance(std::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      ++line_;
      column_ = 1;
    } else {
      column_ += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }
  }
}

inline void CsvReader::end_field() {
  if (ends_.size() == max_fields) throw InputError{record_line_, 0, "more than 16384 columns"};
  ends_.push_back(bytes_.size());
}

template <class OnRecord>
void CsvReader::end_record(OnRecord& on_record) {
  end_field();
  if (expected_ != 0 && ends_.size() != expected_)
    throw InputError{
        record_line_, 0,
        "a record of " + std::to_string(ends_.size()) + " fields under a header of " + std::to_string(expected_)};
  fields_.clear();
  std::size_t start = 0;
  for (const std::size_t end : ends_) {
    fields_.push_back(std::string_view{bytes_}.substr(start, end - start));
    start = end;
  }
  on_record(CsvRecord{fields_, record_line_});
  bytes_.clear();
  ends_.clear();
  begun_ = false;
}

}  // namespace canary::cli
