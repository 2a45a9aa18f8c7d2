#include "key_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "canary/control/nearest.hpp"
#include "context.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

constexpr std::size_t key_block_bytes = std::size_t{1} << 18;

bool names_csv(std::string_view file) {
  if (file.size() < 4) return false;
  std::string ending{file.substr(file.size() - 4)};
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return ending == ".csv";
}

}  // namespace

Argument add_key_options(Syntax noun, KeyOptions& options) {
  noun.add_option(
          "--column", [&options](const std::string& name) { options.column = unprotect(name); },
          "Column that holds the keys; the file is CSV with a header then")
      ->type_name("NAME");
  return *add_text(noun, "--keys", options.file, "File with keys, - for stdin: plain lines, or CSV if it ends in .csv")
              ->type_name("FILE");
}

KeySource::KeySource(KeyOptions options)
    : options_{std::move(options)}, name_{options_.file == "-" ? "stdin" : options_.file}, block_(key_block_bytes) {
  csv_ = options_.column.has_value() || names_csv(options_.file);
  fd_ = options_.file == "-" ? ::dup(STDIN_FILENO) : ::open(options_.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw Failure{Exit::invalid_input, name_ + ": cannot be opened: " + std::strerror(errno)};
  struct stat about {};
  if (::fstat(fd_, &about) == 0 && S_ISREG(about.st_mode)) bytes_total_ = static_cast<std::uint64_t>(about.st_size);
}

KeySource::~KeySource() {
  if (fd_ >= 0) ::close(fd_);
}

const std::vector<std::string_view>& KeySource::next() {
  keys_.clear();
  try {
    while (keys_.empty() && !ended_) csv_ ? read_records() : read_lines();
  } catch (const InputError& error) {
    fail(error);
  }
  return keys_;
}

void KeySource::fail(const InputError& error) const {
  std::string place = name_ + ':' + std::to_string(error.line);
  if (error.column != 0) place += ':' + std::to_string(error.column);
  throw Failure{Exit::invalid_input, place + ": " + error.what(), error.hint};
}

/// Reads behind `from`; the number of bytes, 0 at the end.
std::size_t KeySource::fill(std::size_t from) {
  for (;;) {
    const ssize_t got = ::read(fd_, block_.data() + from, block_.size() - from);
    if (got >= 0) {
      bytes_read_ += static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR) throw Failure{Exit::invalid_input, name_ + ": cannot be read: " + std::strerror(errno)};
  }
}

/// At the very start, where a mark may stand: reads until one would be whole.
std::size_t KeySource::fill_first() {
  std::size_t got = fill(0);
  while (got != 0 && got < 3) {
    const std::size_t more = fill(got);
    if (more == 0) break;
    got += more;
  }
  return got;
}

/// The number of bytes to skip at the very start.
std::size_t KeySource::skip_mark(std::size_t size) {
  const std::string_view start{block_.data(), size};
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF"))
    throw Failure{Exit::invalid_input, name_ + ": is UTF-16", "convert it to UTF-8, with iconv for one"};
  return start.starts_with("\xEF\xBB\xBF") ? 3 : 0;
}

void KeySource::read_lines() {
  const bool first = bytes_read_ == 0;
  const std::size_t tail = tail_end_ - tail_begin_;
  if (tail != 0 && tail_begin_ != 0) std::memmove(block_.data(), block_.data() + tail_begin_, tail);
  if (tail == block_.size()) {  // one line fills the block: a larger one, up to the limit
    if (tail >= max_field_bytes) throw InputError{line_ + 1, 0, "a line of more than 16 MiB"};
    block_.resize(block_.size() * 2);
  }
  const std::size_t got = first ? fill_first() : fill(tail);
  std::size_t at = first ? skip_mark(got) : 0;
  const std::size_t size = tail + got;
  std::size_t search = std::max(at, tail);  // the tail holds no line break
  while (search < size) {
    const auto* end = static_cast<const char*>(std::memchr(block_.data() + search, '\n', size - search));
    if (end == nullptr) break;
    const auto stop = static_cast<std::size_t>(end - block_.data());
    add_key({block_.data() + at, stop - at}, ++line_);
    at = search = stop + 1;
  }
  tail_begin_ = at;
  tail_end_ = size;
  if (got != 0) return;
  ended_ = true;
  if (tail_begin_ != tail_end_) add_key({block_.data() + at, size - at}, ++line_);
}

void KeySource::add_key(std::string_view key, std::uint64_t line) {
  if (!csv_ && key.ends_with('\r')) key.remove_suffix(1);
  ++count_;
  if (key.empty() && empty_keys_++ == 0) first_empty_line_ = line;
  if (!csv_) return keys_.push_back(key);
  arena_ += key;
  ends_.push_back(arena_.size());
}

void KeySource::read_records() {
  const bool first = bytes_read_ == 0;
  arena_.clear();
  ends_.clear();
  const std::size_t got = first ? fill_first() : fill(0);
  const std::size_t at = first ? skip_mark(got) : 0;
  const auto take = [this](const CsvRecord& record) { take_record(record); };
  reader_.feed({block_.data() + at, got - at}, take);
  if (got == 0) {
    ended_ = true;
    reader_.finish(take);
    if (!header_seen_) throw InputError{1, 0, "no header: the file is empty"};
  }
  std::size_t start = 0;
  for (const std::size_t end : ends_) {
    keys_.push_back(std::string_view{arena_}.substr(start, end - start));
    start = end;
  }
}

void KeySource::take_record(const CsvRecord& record) {
  if (header_seen_) return add_key(record.fields[column_], record.line);
  choose_column(record);
  header_seen_ = true;
  reader_.keep(column_, record.fields.size());
}

void KeySource::choose_column(const CsvRecord& header) {
  if (!options_.column) {
    std::string shown;
    append_visible(shown, header.fields[0].substr(0, 64));
    warn(name_ + ": read as CSV, keys from its first column \"" + shown + "\"; --column names another");
    return;
  }
  const auto found = std::find(header.fields.begin(), header.fields.end(), *options_.column);
  if (found == header.fields.end()) {
    std::string columns;
    for (const std::string_view name : header.fields.first(std::min<std::size_t>(header.fields.size(), 32))) {
      if (!columns.empty()) columns += ", ";
      append_visible(columns, name.substr(0, 64));
    }
    if (header.fields.size() > 32) columns += ", ...";
    const std::string near = nearest(*options_.column, header.fields);
    throw InputError{header.line, 0, "no column \"" + *options_.column + "\"; the columns are: " + columns,
                     near.empty() ? "" : "did you mean \"" + near + "\"?"};
  }
  if (std::find(found + 1, header.fields.end(), *options_.column) != header.fields.end())
    throw InputError{header.line, 0, "two columns are named \"" + *options_.column + '"'};
  column_ = static_cast<std::size_t>(found - header.fields.begin());
}

void KeySource::warn_of_oddities() const {
  if (count_ == 0) return warn(name_ + ": no keys in it");
  if (empty_keys_ == 0) return;
  warn(name_ + ": " + thousands(empty_keys_) + (empty_keys_ == 1 ? " key is" : " keys are") +
       " empty, the first in line " + std::to_string(first_empty_line_) + "; they all get the same version");
}

}  // namespace canary::cli
