// sse.hpp: server-sent events out of bytes that come in pieces. Layer control; no socket, no clock.
// Lines end with LF, CR or CRLF, wherever the pieces are cut; an empty line ends an event. Comments, ids and times for
// reconnecting are read over.
// Source  WHATWG HTML, "Server-sent events", parsing and interpreting an event stream
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace canary {

/// One event; its views are good until the next byte is taken.
struct SseEvent {
  std::string_view type;  ///< empty: a message
  std::string_view data;  ///< lines of it, joined by LF
};

/// Takes a stream apart. An event that is not ended when the stream is, is none.
class SseReader {
 public:
  /// Input   `most`: bytes of one event, its data and a line of it together.
  explicit SseReader(std::size_t most = std::size_t{1} << 20) noexcept : most_{most} {}

  /// Takes the next bytes and hands each event that they end to `on_event(const SseEvent&)`, which says false to stop.
  /// Output  false when it was stopped, and for an event that is too long; the reader is of no use then.
  template <class OnEvent>
  bool feed(std::string_view bytes, OnEvent&& on_event);

  /// True after an event that was too long.
  [[nodiscard]] bool overflown() const noexcept { return overflown_; }

 private:
  template <class OnEvent>
  bool take_line(std::string_view line, OnEvent& on_event);

  std::size_t most_;
  std::string line_;  // what is there of the next one
  std::string data_;
  std::string type_;
  bool has_data_ = false;
  bool skip_lf_ = false;  // the last line ended with CR: an LF now belongs to it
  bool first_ = true;
  bool overflown_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class OnEvent>
bool SseReader::feed(std::string_view bytes, OnEvent&& on_event) {
  if (overflown_) return false;
  while (!bytes.empty()) {
    if (skip_lf_ && bytes.front() == '\n') bytes.remove_prefix(1);
    skip_lf_ = false;
    const std::size_t end = std::min(bytes.find_first_of("\r\n"), bytes.size());
    overflown_ = line_.size() + data_.size() + type_.size() + end > most_;
    if (overflown_) return false;
    if (end == bytes.size()) {
      line_ += bytes;
      return true;
    }
    std::string_view line = bytes.substr(0, end);
    if (!line_.empty()) line = line_ += line;
    skip_lf_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (!take_line(line, on_event)) return false;
    line_.clear();
  }
  return true;
}

template <class OnEvent>
bool SseReader::take_line(std::string_view line, OnEvent& on_event) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (first_ && line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
  first_ = false;
  if (line.empty()) {
    const bool go_on = !has_data_ || on_event(SseEvent{type_, data_});
    data_.clear();
    type_.clear();
    has_data_ = false;
    return go_on;
  }
  const std::size_t colon = std::min(line.find(':'), line.size());
  const std::string_view name = line.substr(0, colon);  // of a comment, empty
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  }
  return true;
}

}  // namespace canary
