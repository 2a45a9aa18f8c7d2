// command_events.hpp: what a trainer prints: JSON lines, or anything else. Layer adapters; Boost.JSON; a part of
// command_provider.hpp.
//
//   {"event":"progress","step":10,"of":100,"loss":1.25}
//   {"event":"checkpoint","model":"/models/7-step-10","step":10,"metrics":{"loss":1.25}}
//   {"event":"result","model":"/models/7","trained_tokens":12345}
//   {"event":"error","message":"out of memory"}
//
// Any line may have "at", Unix time. What is none of these is an event all the same, as the line has it.
#pragma once

#if !__has_include(<boost/json.hpp>)
#error \
    "command_provider.hpp needs Boost.JSON (Boost 1.75 or newer): install libboost-dev, and link Boost::json or include <boost/json/src.hpp> in one source file"
#endif

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/faults.hpp"
#include "canary/control/job.hpp"
#include "canary/control/provider.hpp"

namespace canary::detail {

/// A line of a trainer's, as far as it can be understood.
struct TrainerEvent {
  enum class Kind : std::uint8_t { other, progress, checkpoint, result, error };
  Kind kind = Kind::other;
  std::uint64_t step = 0;
  std::uint64_t of = 0;
  std::optional<double> loss = {};
  std::string model = {};
  std::string metrics = {};  ///< of a checkpoint: one JSON object
  std::uint64_t trained_tokens = 0;
  std::string message = {};  ///< of an error
  std::int64_t at_s = 0;     ///< 0: it does not say
};

/// Any bytes: what is no object with an event that is known is of kind `other`.
[[nodiscard]] TrainerEvent parse_trainer_event(std::string_view line);

/// For people; hostile bytes are made harmless, and a long text is cut.
[[nodiscard]] std::string trainer_words(const TrainerEvent& event, std::string_view line);

/// Lines of a file that grows, from any place in it, in memory that does not.
class GrowingLines {
 public:
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t lines = 0;  ///< before it
  };
  static constexpr std::size_t longest = 65'536;  ///< of a longer line only its beginning is had

  GrowingLines(int fd, Place from) : fd_{fd}, place_{from}, read_{from.offset} {}

  /// The next line, without its end; nothing where there is no whole one yet.
  /// Input   `ended`: nobody writes any more, so that a last line needs no end.
  [[nodiscard]] std::optional<std::string_view> next(bool ended);
  /// Behind the last line that was had.
  [[nodiscard]] Place place() const noexcept { return place_; }

 private:
  [[nodiscard]] bool fill();

  int fd_;
  Place place_;
  std::uint64_t read_;  // offset behind what is in block_
  std::string block_ = {};
  std::size_t at_ = 0;
  std::string line_ = {};
};

// ---------------------------------------------------------------------------------------------------------------------

[[nodiscard]] inline std::uint64_t count_in(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr) return 0;
  if (const std::uint64_t* number = value->if_uint64()) return *number;
  if (const std::int64_t* number = value->if_int64()) return *number > 0 ? static_cast<std::uint64_t>(*number) : 0;
  const double* number = value->if_double();
  constexpr double most = 9.0e15;  // whole numbers are exact up to here
  return number != nullptr && *number >= 0 && *number <= most ? static_cast<std::uint64_t>(*number) : 0;
}

[[nodiscard]] inline std::string text_in(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains({name.data(), name.size()});
  const boost::json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string{} : std::string{text->data(), text->size()};
}

[[nodiscard]] inline std::optional<double> number_in(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_number()) return {};
  boost::json::error_code error;
  const auto number = value->to_number<double>(error);
  return error ? std::optional<double>{} : number;
}

/// `metrics` if that is an object, else all that is no part of the event itself.
[[nodiscard]] inline std::string metrics_of(const boost::json::object& object) {
  const boost::json::value* metrics = object.if_contains("metrics");
  if (metrics != nullptr && metrics->is_object()) return boost::json::serialize(*metrics);
  boost::json::object rest;
  for (const auto& member : object)
    if (member.key() != "event" && member.key() != "model" && member.key() != "step" && member.key() != "at")
      rest.insert(member);
  return rest.empty() ? std::string{} : boost::json::serialize(rest);
}

inline TrainerEvent parse_trainer_event(std::string_view line) {
  using Kind = TrainerEvent::Kind;
  TrainerEvent event;
  if (const std::size_t first = line.find_first_not_of(" \t\r"); first == line.npos || line[first] != '{') return event;
  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse(boost::json::string_view{line.data(), line.size()}, error);
  const boost::json::object* object = error ? nullptr : parsed.if_object();
  if (object == nullptr) return event;
  const std::string name = text_in(*object, "event");
  event.kind = name == "progress"     ? Kind::progress
               : name == "checkpoint" ? Kind::checkpoint
               : name == "result"     ? Kind::result
               : name == "error"      ? Kind::error
                                      : Kind::other;
  event.step = count_in(*object, "step");
  event.of = count_in(*object, "of");
  event.loss = number_in(*object, "loss");
  event.model = text_in(*object, "model");
  event.trained_tokens = count_in(*object, "trained_tokens");
  event.message = text_in(*object, "message");
  constexpr std::uint64_t last_time = 253'402'300'799;  // of year 9999
  event.at_s = static_cast<std::int64_t>(std::min(count_in(*object, "at"), last_time));
  if (event.kind == Kind::checkpoint) event.metrics = metrics_of(*object);
  return event;
}

[[nodiscard]] inline std::string short_number(double number) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, std::chars_format::general, 6);
  return {digits.data(), end.ptr};
}

inline std::string trainer_words(const TrainerEvent& event, std::string_view line) {
  using Kind = TrainerEvent::Kind;
  constexpr std::size_t most = 2'000;
  std::string words;
  switch (event.kind) {
    case Kind::progress:
      words = "step " + std::to_string(event.step);
      if (event.of != 0) words += " of " + std::to_string(event.of);
      if (event.loss) words += ", loss " + short_number(*event.loss);
      return words;
    case Kind::checkpoint:
      return "checkpoint at step " + std::to_string(event.step) + ": " + shown(event.model, most);
    case Kind::result:
      return "result: " + shown(event.model, most);
    case Kind::error:
      if (!event.message.empty()) return shown(event.message, most);
      break;
    case Kind::other:
      break;
  }
  return shown(line, most);
}

/// The file from `read_` on; false at its end.
inline bool GrowingLines::fill() {
  block_.resize(longest);
  ssize_t got = 0;
  while ((got = ::pread(fd_, block_.data(), block_.size(), static_cast<off_t>(read_))) < 0 && errno == EINTR) continue;
  block_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  at_ = 0;
  read_ += block_.size();
  return !block_.empty();
}

inline std::optional<std::string_view> GrowingLines::next(bool ended) {
  line_.clear();
  std::uint64_t length = 0;
  for (;;) {
    if (at_ == block_.size() && !fill()) break;
    const std::size_t end = std::min(block_.find('\n', at_), block_.size());
    line_.append(block_, at_, std::min(end - at_, longest - line_.size()));
    length += end - at_;
    at_ = end;
    if (end == block_.size()) continue;
    ++at_;
    place_ = {place_.offset + length + 1, place_.lines + 1};
    return line_;
  }
  if (ended && length != 0) {
    place_ = {place_.offset + length, place_.lines + 1};
    return line_;
  }
  read_ = place_.offset;  // what is there of a line is read again when there is more of it
  block_.clear();
  at_ = 0;
  return {};
}

}  // namespace canary::detail
