// verdict_json.hpp: a verdict with its figures as one compact JSON document, for a history row's evidence. Layer control.
// Written by hand, since control knows no JSON library; what is written is small and of one shape.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "canary/control/config.hpp"
#include "canary/control/guard_look.hpp"
#include "canary/control/rollout.hpp"
#include "canary/control/stored_text.hpp"
#include "canary/control/utf8.hpp"
#include "canary/control/verdict.hpp"

namespace canary {

/// The word for a kind of metric, as configurations have it.
[[nodiscard]] constexpr std::string_view to_text(MetricKind kind) noexcept {
  switch (kind) {
    case MetricKind::success:
      return "success";
    case MetricKind::score:
      return "score";
    case MetricKind::latency:
      return "latency";
    case MetricKind::cost:
      return "cost";
  }
  return "";
}

/// `{"action":"rollback","reason":"...","baseline":"t@default","weight_ppm":50000,"since":4,"log_e_rollback":9.1,
/// "threshold_rollback":4.6,"metrics":[{"name":"ok","kind":"success","log_e_rollback":9.1,...,
/// "baseline":{"count":9,"value":0.9},"candidate":{...}}],"sample_ratio":{...},"units":1000}`
/// Output  what is no number is null; with more metrics than fit, the last ones are left out.
[[nodiscard]] std::string verdict_json(const GuardLook& look, std::size_t most_bytes);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// One object or array of JSON, member by member, at the end of a text.
class VerdictJson {
 public:
  VerdictJson(std::string& to, char open, char close) : to_{to}, close_{close} { to_ += open; }
  VerdictJson(const VerdictJson&) = delete;
  VerdictJson& operator=(const VerdictJson&) = delete;
  ~VerdictJson() { to_ += close_; }

  void member(std::string_view name, std::string_view value) { put_string(key(name), value); }
  void member(std::string_view name, double value) { put_number(key(name), value); }
  void member(std::string_view name, std::unsigned_integral auto value) { key(name) += std::to_string(value); }

  /// Where a member's value is to be written; without a name, an element's.
  std::string& key(std::string_view name = {}) {
    if (!first_) to_ += ',';
    first_ = false;
    if (!name.empty()) put_string(to_, name) += ':';
    return to_;
  }

  /// In quotes; broken UTF-8 as U+FFFD, control characters by their number.
  static std::string& put_string(std::string& to, std::string_view value) {
    std::string space;
    std::string_view rest = stored_text(value, space);
    constexpr std::string_view hex = "0123456789abcdef";
    to += '"';
    while (!rest.empty()) {
      const std::size_t length = std::max<std::size_t>(1, utf8_sequence(rest));
      if (is_control(rest)) {
        const auto code = static_cast<unsigned char>(rest[length - 1]);
        to += "\\u00";
        to += hex[code >> 4];
        to += hex[code & 15];
      } else {
        if (rest.front() == '"' || rest.front() == '\\') to += '\\';
        to += rest.substr(0, length);
      }
      rest.remove_prefix(length);
    }
    return to += '"';
  }

 private:
  static void put_number(std::string& to, double value) {
    char text[40];
    if (!std::isfinite(value)) {
      to += "null";
      return;
    }
    to.append(std::begin(text), std::to_chars(std::begin(text), std::end(text), value).ptr);
  }

  std::string& to_;
  char close_;
  bool first_ = true;
};

inline void put_arm(VerdictJson& in, std::string_view name, const ArmValue& arm) {
  VerdictJson object{in.key(name), '{', '}'};
  object.member("count", arm.count);
  object.member("value", arm.value);
}

inline void put_metric(std::string& to, const MetricVerdict& metric) {
  VerdictJson object{to, '{', '}'};
  object.member("name", metric.name);
  object.member("kind", to_text(metric.kind));
  object.member("log_e_rollback", metric.log_e_rollback);
  object.member("log_e_advance", metric.log_e_advance);
  object.member("threshold_rollback", metric.threshold_rollback);
  object.member("threshold_advance", metric.threshold_advance);
  put_arm(object, "baseline", metric.baseline);
  put_arm(object, "candidate", metric.candidate);
}

}  // namespace detail

inline std::string verdict_json(const GuardLook& look, std::size_t most_bytes) {
  const Verdict& verdict = look.verdict;
  constexpr std::size_t rest_bytes = 512;  // of what comes behind the metrics
  std::string text;
  {
    detail::VerdictJson object{text, '{', '}'};
    object.member("action", to_text(verdict.action));
    object.member("reason", detail::rollout_reason(verdict.reason));  // a name in it may have any length
    object.member("baseline", look.baseline_id);
    object.member("weight_ppm", look.weight_ppm);
    object.member("since", look.since);
    object.member("log_e_rollback", verdict.log_e_rollback);
    object.member("threshold_rollback", verdict.threshold_rollback);
    {
      detail::VerdictJson metrics{object.key("metrics"), '[', ']'};
      for (const MetricVerdict& each : verdict.metrics) {
        std::string one;
        detail::put_metric(one, each);
        if (text.size() + one.size() + rest_bytes > most_bytes) break;
        metrics.key() += one;
      }
    }
    {
      detail::VerdictJson ratio{object.key("sample_ratio"), '{', '}'};
      ratio.member("log_e", verdict.sample_ratio.log_e);
      ratio.member("expected", verdict.sample_ratio.expected);
      ratio.member("observed", verdict.sample_ratio.observed);
    }
    object.member("units", verdict.units);
  }
  return text;
}

}  // namespace canary
