#include "output.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <boost/json.hpp>

#include "canary/control/utf8.hpp"
#include "failure.hpp"

namespace canary::cli {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr char hex_digits[] = "0123456789abcdef";

/// Bytes that `text` starts with and that stand for one broken character: the longest beginning of a sequence, so that
/// a cut-off character becomes one U+FFFD and not one for each byte.
std::size_t broken_length(std::string_view text) {
  for (std::size_t length = std::min<std::size_t>(3, text.size()); length > 1; --length) {
    std::string whole{text.substr(0, length)};
    for (const char filler : {'\x80', '\x90', '\xA0'}) {  // one of them can follow any lead byte
      std::string tried = whole;
      while (tried.size() < 4) tried += tried.size() == length ? filler : '\x80';
      if (utf8_sequence(tried) > length) return length;
    }
  }
  return 1;
}

}  // namespace

void Output::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, left.data(), left.size());
    if (written >= 0) {
      left.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      const int reason = errno;
      buffer_.clear();
      if (reason == EPIPE) throw ReaderGone{};
      throw Failure{Exit::failed, std::string{"cannot write the results: "} + std::strerror(reason)};
    }
  }
  buffer_.clear();
}

bool wants_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  return !refused && term != nullptr && std::string_view{term} != "dumb" && ::isatty(fd) == 1;
}

std::string coloured(int fd, std::string_view sgr, std::string_view text) {
  if (!wants_colour(fd)) return std::string{text};
  return "\x1b[" + std::string{sgr} + 'm' + std::string{text} + "\x1b[0m";
}

void warn(const std::string& text) {
  const std::string line = coloured(STDERR_FILENO, "33", "warning:") + ' ' + text + '\n';
  std::fputs(line.c_str(), stderr);
}

void write_document(Output& out, const boost::json::value& document) {
  out.write(boost::json::serialize(document));
  out.write("\n");
}

boost::json::string json_text(std::string_view text) {
  boost::json::string clean;
  while (!text.empty()) {
    const std::size_t good = first_invalid_utf8(text);
    clean.append(boost::json::string_view{text}.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    clean.append(boost::json::string_view{replacement.data(), replacement.size()});
    text.remove_prefix(broken_length(text));
  }
  return clean;
}

boost::json::value text_or_null(std::string_view text) {
  return text.empty() ? boost::json::value(nullptr) : boost::json::value(json_text(text));
}

bool append_json_string(std::string& to, std::string_view text) {
  bool good = true;
  to += '"';
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
      const std::size_t from = at;
      const auto plain = [&](char c) {
        return c >= 0x20 && c != '"' && c != '\\';
      };  // char above 0x7F is negative here
      while (at < text.size() && plain(text[at]) && static_cast<unsigned char>(text[at]) < 0x80) ++at;
      to += text.substr(from, at - from);
    } else if (byte < 0x80) {
      if (byte == '"' || byte == '\\')
        (to += '\\') += text[at];
      else
        ((to += "\\u00") += hex_digits[byte >> 4]) += hex_digits[byte & 15];
      ++at;
    } else if (const std::size_t length = utf8_sequence(text.substr(at)); length != 0) {
      to += text.substr(at, length);
      at += length;
    } else {
      to += replacement;
      at += broken_length(text.substr(at));
      good = false;
    }
  }
  to += '"';
  return good;
}

void append_visible(std::string& to, std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_sequence(text.substr(at));
    const auto byte = static_cast<unsigned char>(text[at]);
    if (length == 0 || is_control(text.substr(at))) {
      (((to += "\\x") += hex_digits[byte >> 4]) += hex_digits[byte & 15]);
      ++at;
      continue;
    }
    to += text.substr(at, length);
    at += length;
  }
}

void append_number(std::string& to, std::uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  to.append(digits, end);
}

std::string thousands(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::string share_text(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

void Table::write(Output& out) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i != row.size(); ++i) widths[i] = std::max(widths[i], utf8_length(row[i]));
  }
  // A heading stands as its column does, and a column as its first cell.
  const auto right = [&](std::size_t i) {
    const std::string cell = rows_.size() > 1 && i < rows_[1].size() ? rows_[1][i] : std::string{};
    return !cell.empty() && ((cell[0] >= '0' && cell[0] <= '9') || cell == "-");
  };
  for (std::size_t r = 0; r != rows_.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i != rows_[r].size(); ++i) {
      const std::string pad(widths[i] - utf8_length(rows_[r][i]), ' ');
      if (i != 0) line += "  ";
      line += right(i) ? pad + rows_[r][i] : rows_[r][i] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out.write(r == 0 ? coloured(STDOUT_FILENO, "1", line) : line);
    out.write("\n");
  }
}

}  // namespace canary::cli
