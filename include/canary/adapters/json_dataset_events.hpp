// json_dataset_events.hpp: Boost.JSON's parser as a teller of JsonEvents. Layer adapters; a part of json_dataset.hpp.
// The parser says what comes, but for most values not where. Where is found beside it: a cursor in the same text skips blanks,
// commas and colons to what begins next, which costs a few instructions a value.
#pragma once

#if !__has_include(<boost/json/basic_parser_impl.hpp>)
#error \
    "json_dataset.hpp needs Boost.JSON >= 1.75: install libboost-dev, link canary::json, and Boost::json or a source with <boost/json/src.hpp>"
#endif

#include <boost/json/basic_parser_impl.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "canary/control/dataset_syntax.hpp"
#include "canary/control/json_events.hpp"

namespace canary::detail {

/// What basic_parser calls; see its documentation for the names. The whole document is in memory, in one piece.
class BoostJsonHandler {
 public:
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);

  using Error = boost::system::error_code;
  using Text = boost::json::string_view;

  void begin(std::string_view text, JsonEvents& events) noexcept {
    begin_ = cursor_ = text.data();
    end_ = text.data() + text.size();
    events_ = &events;
    parts_.clear();
  }

  bool on_document_begin(Error& /*error*/) { return true; }
  bool on_document_end(Error& /*error*/) { return true; }
  bool on_array_begin(Error& /*error*/) {
    events_->begin_array(take_token(1));
    return true;
  }
  bool on_array_end(std::size_t /*count*/, Error& /*error*/) {
    events_->end_array(take_token(1));
    return true;
  }
  bool on_object_begin(Error& /*error*/) {
    events_->begin_object(take_token(1));
    return true;
  }
  bool on_object_end(std::size_t /*count*/, Error& /*error*/) {
    events_->end_object(take_token(1));
    return true;
  }
  bool on_string_part(Text part, std::size_t /*total*/, Error& /*error*/) { return keep(part); }
  bool on_key_part(Text part, std::size_t /*total*/, Error& /*error*/) { return keep(part); }
  bool on_string(Text last, std::size_t /*total*/, Error& /*error*/) {
    events_->string(take_text(last));
    parts_.clear();
    return true;
  }
  bool on_key(Text last, std::size_t /*total*/, Error& /*error*/) {
    events_->key(take_text(last));
    parts_.clear();
    return true;
  }
  bool on_number_part(Text /*part*/, Error& /*error*/) { return true; }
  bool on_int64(std::int64_t value, Text /*last*/, Error& /*error*/) { return number(static_cast<double>(value)); }
  bool on_uint64(std::uint64_t value, Text /*last*/, Error& /*error*/) { return number(static_cast<double>(value)); }
  bool on_double(double value, Text /*last*/, Error& /*error*/) { return number(value); }
  bool on_bool(bool value, Error& /*error*/) {
    events_->boolean(value, take_token(value ? 4 : 5));
    return true;
  }
  bool on_null(Error& /*error*/) {
    events_->null(take_token(4));
    return true;
  }
  bool on_comment_part(Text /*part*/, Error& /*error*/) { return true; }
  bool on_comment(Text /*last*/, Error& /*error*/) { return true; }

 private:
  /// Start of what comes next.
  const char* next_token() noexcept {
    const auto between = [](char c) { return c == ' ' || c == ',' || c == ':' || c == '\t' || c == '\r' || c == '\n'; };
    while (cursor_ != end_ && between(*cursor_)) ++cursor_;
    return cursor_;
  }
  [[nodiscard]] std::size_t take_token(std::ptrdiff_t size) noexcept {
    const char* at = next_token();
    cursor_ += std::min(size, end_ - cursor_);
    return static_cast<std::size_t>(at - begin_);
  }
  bool number(double value) {
    const char* at = next_token();
    const auto within = [](char c) {
      return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
    };
    while (cursor_ != end_ && within(*cursor_)) ++cursor_;
    events_->number(value, static_cast<std::size_t>(at - begin_));
    return true;
  }

  bool keep(Text part) {
    parts_.append(part.data(), part.size());
    return true;
  }
  /// A text whose last piece this is. Without escapes it is one piece, and lies in the document itself.
  [[nodiscard]] JsonText take_text(Text last) {
    const char* at = next_token();
    const auto place = static_cast<std::size_t>(at - begin_);
    if (parts_.empty() && last.data() == at + 1) {
      cursor_ = last.data() + last.size() + 1;
      return {{last.data(), last.size()}, place, true};
    }
    (void)keep(last);
    cursor_ = behind_text(at);
    return {parts_, place, false};
  }
  /// Behind the quote that closes the text whose quote is at `at`.
  [[nodiscard]] const char* behind_text(const char* at) const noexcept {
    for (const char* quote = at + 1; quote < end_; ++quote) {
      quote = static_cast<const char*>(std::memchr(quote, '"', static_cast<std::size_t>(end_ - quote)));
      if (quote == nullptr) break;
      const char* escapes = quote;
      while (escapes[-1] == '\\') --escapes;  // ends at the opening quote at the latest
      if ((quote - escapes) % 2 == 0) return quote + 1;
    }
    return end_;
  }

  JsonEvents* events_ = nullptr;
  const char* begin_ = nullptr;
  const char* cursor_ = nullptr;  // behind the last token that was told
  const char* end_ = nullptr;
  std::string parts_;  // of the text at hand, when it has escapes
};

/// The parser, with what it keeps from one document to the next.
class BoostJsonParser {
 public:
  BoostJsonParser() : parser_{options()} {}

  /// As JsonParse wants it.
  [[nodiscard]] bool parse(std::string_view text, JsonEvents& events) {
    parser_.reset();
    parser_.handler().begin(text, events);
    boost::system::error_code error;
    const std::size_t read = parser_.write_some(false, text.data(), text.size(), error);
    return !error && read == text.size();
  }

 private:
  static boost::json::parse_options options() {
    boost::json::parse_options options;
    options.max_depth = json_depth_max;
    return options;
  }

  boost::json::basic_parser<BoostJsonHandler> parser_;
};

}  // namespace canary::detail
