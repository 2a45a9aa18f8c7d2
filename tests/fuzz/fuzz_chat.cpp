// Any bytes as an event stream, as an answer of a chat endpoint, as its error, and as a trainer's line: no crash, and events
// that are the same whatever the pieces in which the bytes come.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/src.hpp>

#include "canary/adapters/command_events.hpp"
#include "canary/adapters/openai_chat_wire.hpp"
#include "canary/control/sse.hpp"
#include "canary/control/utf8.hpp"

namespace {

using namespace canary;

/// Every event of a stream in pieces whose sizes the bytes of `cuts` give, over and over; whole when there are none.
std::vector<std::string> read(std::string_view stream, std::string_view cuts) {
  std::vector<std::string> events;
  SseReader reader{512};
  for (std::size_t cut = 0; !stream.empty(); ++cut) {
    const std::size_t piece =
        cuts.empty() ? stream.size() : 1 + static_cast<unsigned char>(cuts[cut % cuts.size()]) % 9;
    const bool good = reader.feed(stream.substr(0, piece), [&](const SseEvent& event) {
      events.push_back(std::string{event.type} + '\0' + std::string{event.data});
      return true;
    });
    if (!good) {
      if (!reader.overflown()) std::abort();
      return events;
    }
    stream.remove_prefix(std::min(piece, stream.size()));
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const std::size_t cuts = std::min<std::size_t>(bytes.front() & 7, size - 1);
  const std::string_view text = bytes.substr(1 + cuts);
  const std::vector<std::string> events = read(text, {});
  if (read(text, bytes.substr(1, cuts)) != events) std::abort();
  detail::ChatRead whole;
  (void)detail::take_chat(whole, text, "message");
  detail::ChatRead streamed;
  for (const std::string& event : events)
    (void)detail::take_chat(streamed, event.substr(event.find('\0') + 1), "delta");
  const detail::ChatFault fault = detail::chat_fault(text);
  for (const int status : {200, 400, 404, 429, 503}) {
    (void)detail::is_about_model(status, fault, "m");
    (void)detail::chat_error_kind(status, fault);
  }
  const std::string words = detail::trainer_words(detail::parse_trainer_event(text), text);
  if (first_invalid_utf8(words) != words.size() || words.size() > 2'200) std::abort();
  for (std::size_t at = 0; at < words.size(); ++at)
    if (is_control(std::string_view{words}.substr(at))) std::abort();
  return 0;
}
