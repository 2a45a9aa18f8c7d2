#include "csv_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "canary/control/nearest.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

constexpr std::size_t csv_block_bytes = std::size_t{1} << 18;

bool is_empty_line(std::string_view line) { return line == "\n" || line == "\r\n"; }

std::string visible(std::string_view text) {
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  return text.size() > 64 ? shown + "..." : shown;
}

/// Where a field of a record begins, by the record's text; line and column as the reader counts them.
std::pair<std::uint64_t, std::uint64_t> place_of(std::size_t field, std::string_view record, std::uint64_t line) {
  std::uint64_t column = 1;
  bool quoted = false;  // a doubled quote ends it and begins it again
  for (std::size_t at = 0; field != 0 && at != record.size(); ++at) {
    const char c = record[at];
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) --field;
    if (c == '\n') {
      ++line;
      column = 1;
    } else {
      column += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }
  }
  return {line, column};
}

}  // namespace

CsvSource::CsvSource(const std::string& file, std::vector<std::string> columns)
    : name_{file == "-" ? "stdin" : visible(file)}, columns_{std::move(columns)}, block_(csv_block_bytes) {
  if (file.empty()) throw Failure{Exit::usage, "no file named", "name a CSV file, or - for stdin"};
  fd_ = file == "-" ? ::dup(STDIN_FILENO) : ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw Failure{Exit::invalid_input, name_ + ": cannot be opened: " + std::strerror(errno)};
  struct stat about {};
  if (::fstat(fd_, &about) == 0 && S_ISREG(about.st_mode)) bytes_total_ = static_cast<std::uint64_t>(about.st_size);
}

CsvSource::~CsvSource() {
  if (fd_ >= 0) ::close(fd_);
}

/// The next piece; empty at the end. The first is long enough to hold a mark whole.
std::string_view CsvSource::fill() {
  std::size_t size = 0;
  const std::size_t least = bytes_read_ == 0 ? 3 : 1;
  while (size < least) {
    Interrupts::check();
    const ssize_t got = ::read(fd_, block_.data() + size, block_.size() - size);
    if (got < 0 && errno != EINTR)
      throw Failure{Exit::invalid_input, name_ + ": cannot be read: " + std::strerror(errno)};
    if (got == 0) break;
    if (got > 0) size += static_cast<std::size_t>(got);
  }
  std::string_view piece{block_.data(), size};
  if (bytes_read_ == 0) {
    if (piece.starts_with("\xFF\xFE") || piece.starts_with("\xFE\xFF"))
      throw Failure{Exit::invalid_input, name_ + ": is UTF-16", "convert it to UTF-8, with iconv for one"};
    if (piece.starts_with("\xEF\xBB\xBF")) piece.remove_prefix(3);
  }
  bytes_read_ += size;
  return piece;
}

bool CsvSource::next(const std::function<void(const CsvRow&)>& on_row) {
  const std::uint64_t before = bytes_read_;
  std::string_view piece = fill();
  try {
    while (!piece.empty()) {
      const std::size_t end = std::min(piece.find('\n'), piece.size() - 1) + 1;
      feed(piece.substr(0, end), on_row);
      piece.remove_prefix(end);
    }
    if (bytes_read_ != before) return true;
    line_ = {};
    reader_.finish([&](const CsvRecord& record) { take(record, on_row); });
    if (!header_seen_) throw InputError{1, 0, "no header: the file is empty"};
  } catch (const InputError& error) {
    std::string place = name_ + ':' + std::to_string(error.line);
    if (error.column != 0) place += ':' + std::to_string(error.column);
    throw Failure{Exit::invalid_input, place + ": " + error.what(), error.hint};
  }
  return false;
}

void CsvSource::feed(std::string_view line, const std::function<void(const CsvRow&)>& on_row) {
  line_ = line;
  bool ended = false;
  reader_.feed(line, [&](const CsvRecord& record) {
    ended = true;
    take(record, on_row);
  });
  if (ended)
    before_.clear();
  else if (!before_.empty() || !is_empty_line(line))
    before_ += line;
  if (is_empty_line(before_)) before_.clear();  // cut in two by the end of a piece
}

void CsvSource::take(const CsvRecord& record, const std::function<void(const CsvRow&)>& on_row) {
  record_line_ = record.line;
  if (!header_seen_) return find_columns(record);
  for (std::size_t i = 0; i != places_.size(); ++i) cells_[i] = record.fields[places_[i]];
  on_row({cells_, record.line});
}

void CsvSource::find_columns(const CsvRecord& header) {
  for (const std::string& column : columns_) places_.push_back(find_column(header, column));
  cells_.resize(places_.size());
  reader_.keep(CsvReader::every_field, header.fields.size());
  header_seen_ = true;
}

std::size_t CsvSource::find_column(const CsvRecord& header, const std::string& column) const {
  const auto found = std::find(header.fields.begin(), header.fields.end(), column);
  if (found == header.fields.end()) {
    constexpr std::size_t most = 32;
    std::string listed;
    for (const std::string_view each : header.fields.first(std::min(header.fields.size(), most)))
      listed += (listed.empty() ? "" : ", ") + visible(each);
    if (header.fields.size() > most) listed += ", ...";
    const std::string near = nearest(column, header.fields);
    throw InputError{header.line, 0, "no column \"" + visible(column) + "\"; the columns are: " + listed,
                     near.empty() ? "" : "did you mean \"" + near + "\"?"};
  }
  if (std::find(found + 1, header.fields.end(), column) != header.fields.end())
    throw InputError{header.line, 0, "two columns are named \"" + visible(column) + '"'};
  return static_cast<std::size_t>(found - header.fields.begin());
}

void CsvSource::refuse(std::size_t column, std::string_view expected) const {
  const std::string record = before_ + std::string{line_};
  const auto [line, at] = place_of(places_[column], record, record_line_);
  const std::string shown = cells_[column].empty() ? "an empty cell" : '"' + visible(cells_[column]) + '"';
  throw InputError{line, at, "column \"" + visible(columns_[column]) + "\": " + shown,
                   "expected " + std::string{expected}};
}

}  // namespace canary::cli
