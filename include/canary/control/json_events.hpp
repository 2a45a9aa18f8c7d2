// json_events.hpp: what a JSON parser tells while it reads. Layer control, so that who judges JSON needs no library for it.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace canary {

/// A text in a document: a key, or a value.
struct JsonText {
  std::string_view text;  ///< without quotes and escapes; as long as the call lasts
  std::size_t at = 0;     ///< byte of its opening quote
  bool plain = true;      ///< no escapes: a byte of `text` lies as far behind the quote as in the document

  /// Where a byte of it stands; its quote when that cannot be told.
  [[nodiscard]] constexpr std::size_t place(std::size_t byte) const noexcept { return plain ? at + 1 + byte : at; }
};

/// Receives a document piece by piece, in its order; `at` is the byte where each begins, of an end the bracket's own.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;
  virtual void begin_object(std::size_t at) = 0;
  virtual void end_object(std::size_t at) = 0;
  virtual void begin_array(std::size_t at) = 0;
  virtual void end_array(std::size_t at) = 0;
  virtual void key(const JsonText& text) = 0;
  virtual void string(const JsonText& text) = 0;
  virtual void number(double value, std::size_t at) = 0;
  virtual void boolean(bool value, std::size_t at) = 0;
  virtual void null(std::size_t at) = 0;
};

/// Reads a text that is to be one JSON document, whole, nested at most json_depth_max deep: tells `events` what is in it up
/// to the first fault; true if there is none.
using JsonParse = std::function<bool(std::string_view text, JsonEvents& events)>;

}  // namespace canary
