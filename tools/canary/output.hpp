// output.hpp: results on stdout, everything else on stderr; JSON for programs, aligned tables and colour for people.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

namespace canary::cli {

/// The reader of our stdout has gone, `| head` for one: no failure, and nothing more to say.
struct ReaderGone : std::exception {};

/// Standard output, buffered. Every write is checked: a full disk must not look like success.
class Output {
 public:
  void write(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() >= flush_bytes) flush();
  }
  /// The buffer itself, for who fills it many times; call settle() in between.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  void settle() {
    if (buffer_.size() >= flush_bytes) flush();
  }
  /// Errors  Failure when the bytes cannot be written, ReaderGone when nobody wants them.
  void flush();

 private:
  static constexpr std::size_t flush_bytes = std::size_t{1} << 16;
  std::string buffer_;
};

/// True if this stream is a terminal that wants colour: never with NO_COLOR or TERM=dumb.
[[nodiscard]] bool wants_colour(int fd);

/// `text` in the colour of an SGR code, where the stream wants it.
[[nodiscard]] std::string coloured(int fd, std::string_view sgr, std::string_view text);

/// One line on stderr: `warning: ...`
void warn(const std::string& text);

/// One JSON document on one line.
void write_document(Output& out, const boost::json::value& document);

/// Text for JSON: what is no UTF-8 becomes U+FFFD.
[[nodiscard]] boost::json::string json_text(std::string_view text);
/// The same; null for none.
[[nodiscard]] boost::json::value text_or_null(std::string_view text);

/// Appends `text` as a JSON string in quotes; what is no UTF-8 becomes U+FFFD. False if there was any such.
bool append_json_string(std::string& to, std::string_view text);

/// Appends `text` so that a terminal shows it on one line: control characters and broken UTF-8 as \xNN.
void append_visible(std::string& to, std::string_view text);

void append_number(std::string& to, std::uint64_t number);

/// 1234567 -> `1,234,567`
[[nodiscard]] std::string thousands(std::uint64_t number);

/// `part` of `whole` as a percentage with two places; `-` of nothing.
[[nodiscard]] std::string share_text(std::uint64_t part, std::uint64_t whole);

/// Columns set to their widest cell. The first row is the heading; cells that start with a digit stand to the right.
class Table {
 public:
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void write(Output& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace canary::cli
