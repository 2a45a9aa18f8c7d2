// tuning_form.hpp: multipart/form-data as it comes, of any size and in no memory: of a file its size and a hash are kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace test {

/// A hash that pieces can be put together by: of(a) with of(b) appended is of(ab).
struct ByteHash {
  std::uint64_t value = 0;
  std::uint64_t power = 1;

  void add(std::string_view bytes) noexcept {
    for (const char byte : bytes) {
      value = value * base + static_cast<unsigned char>(byte) + 1;
      power *= base;
    }
  }
  void append(const ByteHash& next) noexcept {
    value = value * next.power + next.value;
    power *= next.power;
  }
  friend bool operator==(const ByteHash&, const ByteHash&) = default;

 private:
  static constexpr std::uint64_t base = 0x9E37'79B9'7F4A'7C15;
};

/// Reads a form from its bytes, cut anywhere.
class FormReader {
 public:
  struct File {
    std::string field;
    std::string name;
    std::uint64_t bytes = 0;
    ByteHash hash;
  };

  explicit FormReader(const std::string& boundary) : mark_{"\r\n--" + boundary} {}

  void feed(std::string_view bytes) {
    bytes_ += bytes;
    while (step()) continue;
  }

  [[nodiscard]] bool complete() const noexcept { return where_ == Where::end; }
  [[nodiscard]] const File& file() const noexcept { return file_; }
  [[nodiscard]] std::string value(const std::string& name) const {
    const auto at = values_.find(name);
    return at == values_.end() ? std::string{} : at->second;
  }

 private:
  enum class Where : std::uint8_t { content, after_mark, headers, end };

  bool step() {
    switch (where_) {
      case Where::content:
        return take_content();
      case Where::after_mark:
        if (bytes_.size() < 2) return false;
        where_ = bytes_.starts_with("--") ? Where::end : Where::headers;
        return true;
      case Where::headers:
        return take_headers();
      case Where::end:
        bytes_.clear();
        return false;
    }
    return false;
  }

  bool take_content() {
    const std::size_t mark = bytes_.find(mark_);
    const std::size_t keep = mark_.size() - 1;  // the beginning of a mark, perhaps
    const std::size_t good = mark != std::string::npos ? mark : bytes_.size() > keep ? bytes_.size() - keep : 0;
    const std::string_view content = std::string_view{bytes_}.substr(0, good);
    if (is_file_) {
      file_.bytes += content.size();
      file_.hash.add(content);
    } else if (values_.size() < 32) {
      std::string& value = values_[field_];
      value += content.substr(0, 65'536 - std::min<std::size_t>(value.size(), 65'536));
    }
    bytes_.erase(0, mark == std::string::npos ? good : mark + mark_.size());
    if (mark == std::string::npos) return false;
    where_ = Where::after_mark;
    return true;
  }

  bool take_headers() {
    const std::size_t end = bytes_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (bytes_.size() > 65'536) where_ = Where::end;
      return false;
    }
    const std::string_view headers = std::string_view{bytes_}.substr(0, end);
    field_ = parameter(headers, " name=\"");
    const std::string name = parameter(headers, " filename=\"");
    is_file_ = headers.find(" filename=\"") != std::string_view::npos;
    if (is_file_) file_ = {field_, name, 0, {}};
    bytes_.erase(0, end + 4);
    where_ = Where::content;
    return true;
  }

  static std::string parameter(std::string_view headers, std::string_view begin) {
    const std::size_t at = headers.find(begin);
    if (at == std::string_view::npos) return {};
    headers.remove_prefix(at + begin.size());
    return std::string{headers.substr(0, headers.find('"'))};
  }

  std::string mark_;
  std::string bytes_ = "\r\n";  // so that the first mark is like the others
  Where where_ = Where::content;
  std::string field_;
  bool is_file_ = false;
  File file_;
  std::map<std::string, std::string> values_;
};

}  // namespace test
