// alert.hpp: what people are told by themselves: something was done, or something is wrong. Layer control.
//
// As JSON, which webhooks and commands get, one object; later versions only add members:
//   {"format":1,"id":"5f1c...-7","kind":"rollback","resolved":false,"task":"checks","version":"checks@2",
//    "at":"2026-11-22T17:35:29.123456Z","message":"...","hint":"...","key":"rollback/checks@2/17","source":"host:4711",
//    "missed":0}
// `id` is one alert's, the same for every sink and every try: who was told twice knows it by this. `key` is what it is about,
// the same on every server unless it is one server's own: who hears a fleet needs it once. What does not apply is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "canary/control/store.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/utf8.hpp"

namespace canary {

enum class AlertKind : std::uint8_t {
  rollback,        ///< the guard took a candidate's traffic back
  sample_ratio,    ///< a candidate's records contradict its share, so nothing can be said of it
  shutdown_near,   ///< a model in use is to be shut down by its provider, or was
  store_degraded,  ///< trouble with the store: servers route by their last good state, or a task is not guarded
  drops,           ///< outcomes were not recorded: rings were full
  degradation,     ///< a version in use is worse than its own past
  test,            ///< somebody asked for it
};

[[nodiscard]] constexpr std::string_view to_text(AlertKind kind) noexcept;

struct Alert {
  AlertKind kind = AlertKind::test;
  std::string task = {};
  std::string version = {};  ///< its id
  TimeUs at_us = 0;
  std::string message = {};
  std::string hint = {};     ///< what to do
  std::string key = {};      ///< what it is about; empty: about nothing that can come again
  std::string source = {};   ///< who says so, `host:pid`
  std::string id = {};       ///< given by the desk
  bool resolved = false;     ///< what was told under this key is over
  std::uint64_t missed = 0;  ///< alerts before this one that the sink was not told of: its queue was full
  friend bool operator==(const Alert&, const Alert&) = default;
};

/// The alert as JSON, on one line without its end. What is no UTF-8 becomes U+FFFD.
[[nodiscard]] std::string alert_json(const Alert& alert);

enum class SendResult : std::uint8_t {
  delivered,
  try_again,  ///< not now; later it may go
  refused,    ///< not this one, whenever it comes
};

/// What became of an alert, in words that hold no secret.
struct Sent {
  SendResult result = SendResult::delivered;
  std::string message = {};   ///< why not; may say something of a delivery too
  std::uint32_t wait_ms = 0;  ///< try_again: the receiver asks for as much patience
};

/// Where alerts go. send() is called by one thread at a time, may take as long as its own time-outs say, and comes back
/// within about a second after cancel(), which any thread may call at any time and which holds for every later send() too.
/// An alert may come more than once, with the same id: a delivery whose answer was lost is tried again. What send() throws
/// counts as try_again.
class AlertSink {
 public:
  virtual ~AlertSink() = default;

  /// For people, without secrets: `webhook https://alerts.example`.
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual Sent send(const Alert& alert) = 0;
  virtual void cancel() noexcept {}
};

// ---------------------------------------------------------------------------------------------------------------------

constexpr std::string_view to_text(AlertKind kind) noexcept {
  switch (kind) {
    case AlertKind::rollback:
      return "rollback";
    case AlertKind::sample_ratio:
      return "sample_ratio";
    case AlertKind::shutdown_near:
      return "shutdown_near";
    case AlertKind::store_degraded:
      return "store_degraded";
    case AlertKind::drops:
      return "drops";
    case AlertKind::degradation:
      return "degradation";
    case AlertKind::test:
      return "test";
  }
  return "";
}

namespace detail {

/// `,"name":"text"`
inline void append_member(std::string& out, std::string_view name, std::string_view text) {
  ((out += ",\"") += name) += "\":\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const std::size_t length = utf8_sequence(text.substr(at));
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (byte == '"' || byte == '\\') {
      (out += '\\') += text[at];
    } else if (byte < 0x20) {
      ((out += "\\u00") += "0123456789abcdef"[byte >> 4]) += "0123456789abcdef"[byte & 15];
    } else {
      out += text.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  out += '"';
}

}  // namespace detail

inline std::string alert_json(const Alert& alert) {
  std::string out = "{\"format\":1";
  detail::append_member(out, "id", alert.id);
  detail::append_member(out, "kind", to_text(alert.kind));
  out += alert.resolved ? ",\"resolved\":true" : ",\"resolved\":false";
  detail::append_member(out, "task", alert.task);
  detail::append_member(out, "version", alert.version);
  detail::append_member(out, "at", time_text(alert.at_us));
  detail::append_member(out, "message", alert.message);
  detail::append_member(out, "hint", alert.hint);
  detail::append_member(out, "key", alert.key);
  detail::append_member(out, "source", alert.source);
  return out + ",\"missed\":" + std::to_string(alert.missed) + '}';
}

}  // namespace canary
