// provider_http.hpp: asks a fine-tune API, and turns whatever comes of it into an answer or a ProviderError. Part of
// openai_provider.hpp and together_provider.hpp. Layer adapters; needs libcurl and Boost.JSON.
//
// What may be asked twice is asked again, a few times and within the call's time; what may not goes out once. The key
// comes from the environment, goes into one header of requests to one host, and stands in no text: redirects are not
// followed, and answers lose it before anybody reads them.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/http.hpp"
#include "canary/adapters/http_retry.hpp"
#include "canary/adapters/provider_wire.hpp"
#include "canary/control/provider.hpp"
#include "canary/control/webhook_url.hpp"

namespace canary {

/// How a provider is reached. Every call but upload() ends within `call_ms`, with all its tries and waits.
struct ProviderHttpOptions {
  std::string kind;  ///< for people: openai
  std::string base_url;
  std::string api_key_env;  ///< variable with the key; empty: no key is sent
  bool key_alone = false;   ///< `api-key: KEY`, and not a bearer's token
  std::string ca_file = {};
  std::uint32_t connect_ms = 10'000;
  std::uint32_t total_ms = 30'000;
  std::uint32_t idle_ms = 120'000;
  std::uint32_t call_ms = 90'000;
  HttpRetry retry = {};
  std::function<const char*(const char*)> environment = {};
  std::function<bool(std::uint32_t wait_ms)> wait = {};
};

namespace detail {

/// What a provider retries by itself: little, since whoever drives many jobs has other things to do meanwhile. A longer
/// wait that a server asks for goes up with the error.
inline constexpr HttpRetry provider_retry{
    .tries = 3, .backoff = {.first_ms = 500, .longest_ms = 5'000}, .retry_after_most_s = 10};

/// One request, as far as it differs from the others.
struct ProviderAsk {
  std::string path;                  ///< after the base URL
  std::string what;                  ///< for people: `the job ftjob-1`
  std::string method = "GET";        //
  boost::json::object body = {};     ///< sent where the method is POST and there are no parts
  std::vector<HttpPart> parts = {};  //
  bool once = false;                 ///< it must not be made twice
  bool slow = false;                 ///< its answer may take as long as a piece of an upload
  std::function<void(std::uint64_t, std::uint64_t)> on_sent = {};
};

class ProviderHttp {
 public:
  /// Reads the key.
  /// Errors  ProviderError denied for a key that is not there, refused for an URL that a key may not be sent to.
  explicit ProviderHttp(ProviderHttpOptions options);

  [[nodiscard]] std::string place() const { return options_.kind + " at " + shown_url(options_.base_url); }
  [[nodiscard]] std::string_view secret() const noexcept { return key_; }

  /// A call begins, or an upload, which may take any time as long as bytes go.
  void begin() { end_ = Clock::now() + std::chrono::milliseconds{options_.call_ms}; }
  void begin_upload() { end_ = Clock::time_point::max(); }

  /// The answer of a 2xx.
  /// Errors  ProviderError. `unclear` for what is asked once, and may have been done.
  [[nodiscard]] boost::json::value ask(const ProviderAsk& what);

  /// True if the last ask() was sent more than once.
  [[nodiscard]] bool asked_again() const noexcept { return asked_again_; }

  /// Goes through a list, over all its pages.
  /// Input   `each(const Said&)`: false ends it.
  /// Output  false if there may be more: a list that goes on after `most_pages`, or says that it does and brings nothing.
  template <class Each>
  [[nodiscard]] bool list(const std::string& path, const std::string& what, std::uint32_t most_pages, Each each);

  [[nodiscard]] bool is_cancelled() {
    const std::lock_guard lock{mutex_};
    return cancelled_;
  }
  /// False when the time is over, or after cancel().
  [[nodiscard]] bool wait(std::uint32_t wait_ms);

  void cancel() noexcept {
    {
      const std::lock_guard lock{mutex_};
      cancelled_ = true;
    }
    changed_.notify_all();
    client_.cancel();
  }

  [[nodiscard]] ProviderError failure(ProviderErrc code, const std::string& what, const std::string& message,
                                      std::string hint = {}) const {
    return {code, place() + ": " + what + ": " + message, std::move(hint)};
  }

 private:
  using Clock = std::chrono::steady_clock;

  void check_url() const;
  void read_key();
  [[nodiscard]] HttpRequest request_of(const ProviderAsk& what) const;
  [[nodiscard]] std::uint32_t left_ms() const;
  [[nodiscard]] std::uint32_t total_ms_of(const ProviderAsk& what) const {
    return what.parts.empty() && !what.slow ? std::min(options_.total_ms, left_ms()) : 0;
  }
  [[nodiscard]] ProviderError refusal(const HttpResponse& response, const ProviderAsk& what) const;
  [[nodiscard]] ProviderError lost(const HttpError& error, const ProviderAsk& what) const;
  [[nodiscard]] std::string hint_of(int status, const SaidFault& fault) const;

  ProviderHttpOptions options_;
  std::string key_;
  HttpClient client_;
  std::mt19937_64 random_{std::random_device{}()};
  Clock::time_point end_ = Clock::time_point::max();
  bool asked_again_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------

/// An id as a piece of a path.
[[nodiscard]] inline std::string in_path(std::string_view id) {
  std::string text;
  for (const char c : id) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    const auto byte = static_cast<unsigned char>(c);
    if (plain)
      text += c;
    else
      ((text += '%') += "0123456789ABCDEF"[byte >> 4]) += "0123456789ABCDEF"[byte & 15];
  }
  return text;
}

/// What kind of error a status is.
/// Input   `once`: what was asked may have been done, where a server only says that it is in trouble.
[[nodiscard]] constexpr ProviderErrc provider_errc(int status, bool once) noexcept {
  const ProviderErrc trouble = once ? ProviderErrc::unclear : ProviderErrc::unavailable;
  if (status == 401 || status == 402 || status == 403) return ProviderErrc::denied;
  if (status == 404) return ProviderErrc::not_found;
  if (status == 408 || status == 409) return trouble;
  if (status == 429) return ProviderErrc::limited;
  if (status >= 300 && status <= 499) return ProviderErrc::refused;
  return status >= 500 && status <= 599 ? trouble : ProviderErrc::unclear;
}

/// True for the words of a platform that takes no new users for fine-tuning.
[[nodiscard]] inline bool says_closed(std::string_view words) {
  std::string text{words};
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  const auto has = [&text](const char* part) { return text.find(part) != std::string::npos; };
  if (!has("fine-tun") && !has("fine_tun") && !has("fine tun") && !has("finetun")) return false;
  for (const char* part : {"new user", "new customer", "new organization", "no longer", "closed", "winding down",
                           "wound down", "deprecat", "discontinu", "sunset", "not accepting"})
    if (has(part)) return true;
  return false;
}

inline ProviderHttp::ProviderHttp(ProviderHttpOptions options)
    : options_{std::move(options)}, client_{{.ca_file = options_.ca_file}} {
  while (options_.base_url.ends_with('/')) options_.base_url.pop_back();
  check_url();
  if (!options_.api_key_env.empty()) read_key();
}

inline void ProviderHttp::check_url() const {
  UrlFault fault = webhook_url_fault(options_.base_url);
  if (!url_parts(options_.base_url).user.empty())
    fault = {"a user or password in the URL", "leave it out: the key comes from the variable that api_key_env names"};
  else if (fault.message.empty() && options_.base_url.find_first_of("?#") != std::string::npos)
    fault = {"more than a path in the URL", "leave out what begins with ? or #"};
  if (!fault.message.empty())
    throw ProviderError{ProviderErrc::refused, options_.kind + ": base_url: " + std::string{fault.message},
                        std::string{fault.hint}};
}

inline void ProviderHttp::read_key() {
  const char* key = options_.environment ? options_.environment(options_.api_key_env.c_str())
                                         : std::getenv(options_.api_key_env.c_str());
  if (key == nullptr || *key == '\0')
    throw ProviderError{ProviderErrc::denied, place() + ": the variable " + options_.api_key_env + " is not set",
                        "export the key in it, or name another variable in api_key_env"};
  key_ = key;
  if (std::any_of(key_.begin(), key_.end(), [](char c) { return c <= ' ' || c >= 0x7F; })) {
    throw ProviderError{
        ProviderErrc::denied,
        place() + ": the key in the variable " + options_.api_key_env + " has a character that no key has",
        "look for a space or a line's end in it, or for quotes that were meant for the shell"};
  }
}

inline std::uint32_t ProviderHttp::left_ms() const {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 0x7FFF'FFFF));
}

inline HttpRequest ProviderHttp::request_of(const ProviderAsk& what) const {
  HttpRequest request;
  request.method = what.method;
  request.url = options_.base_url + what.path;
  if (!key_.empty())
    request.headers.push_back(options_.key_alone ? HttpHeader{"api-key", key_}
                                                 : HttpHeader{"Authorization", "Bearer " + key_});
  request.parts = what.parts;
  if (what.method == "POST" && what.parts.empty()) {
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = boost::json::serialize(what.body);
  }
  request.connect_ms = options_.connect_ms;
  request.total_ms = total_ms_of(what);
  request.idle_ms = options_.idle_ms;
  request.body_bytes = std::size_t{4} << 20;
  request.once = what.method == "POST";  // libcurl would send it again without telling
  request.on_sent = what.on_sent;
  return request;
}

inline boost::json::value ProviderHttp::ask(const ProviderAsk& what) {
  HttpRequest request = request_of(what);
  std::optional<boost::json::value> said;
  asked_again_ = false;
  const auto again = [&said](const HttpResponse& response) {
    said.reset();
    if (response.status < 200 || response.status > 299) return asks_again(response);
    said = parse_said(response.body);
    return !said;
  };
  const auto pause = [this, &request, &what](std::uint32_t wait_ms) {
    if (!wait(wait_ms)) return false;
    asked_again_ = true;
    request.total_ms = total_ms_of(what);
    return true;
  };
  const auto draw = [this] { return std::uniform_real_distribution<double>{}(random_); };
  HttpRetry retry = options_.retry;
  if (what.once) retry.tries = 1;
  try {
    const HttpResponse response = send_retrying(client_, request, retry, pause, draw, again);
    if (said) return *std::move(said);
    throw is_cancelled() ? failure(ProviderErrc::cancelled, what.what, "cancelled") : refusal(response, what);
  } catch (const HttpError& error) {
    throw is_cancelled() ? failure(ProviderErrc::cancelled, what.what, "cancelled") : lost(error, what);
  }
}

inline bool ProviderHttp::wait(std::uint32_t wait_ms) {
  const auto until = Clock::now() + std::chrono::milliseconds{wait_ms};
  if (until >= end_ || is_cancelled()) return false;
  if (options_.wait) return options_.wait(wait_ms);
  std::unique_lock lock{mutex_};
  return !changed_.wait_until(lock, until, [this] { return cancelled_; });
}

inline ProviderError ProviderHttp::refusal(const HttpResponse& response, const ProviderAsk& what) const {
  const int status = response.status;
  if (status >= 200 && status <= 299)
    return failure(ProviderErrc::unclear, what.what,
                   std::to_string(status) + ", with an answer that is no JSON: " + said_words(response.body, key_, 100),
                   "see whether base_url is that of an API");
  const SaidFault fault = fault_of(response.body, key_);
  ProviderErrc code = provider_errc(status, what.once);
  if (fault.code == "insufficient_quota" || fault.code == "billing_hard_limit_reached") code = ProviderErrc::denied;
  ProviderError refused =
      failure(code, what.what, std::to_string(status) + (fault.words.empty() ? "" : ": " + fault.words),
              hint_of(status, fault));
  refused.retry_after_ms = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(retry_after_ms(response).value_or(0), std::uint64_t{86'400} * 1'000));
  return refused;
}

inline std::string ProviderHttp::hint_of(int status, const SaidFault& fault) const {
  const std::string variable = options_.api_key_env.empty() ? "api_key_env" : "the variable " + options_.api_key_env;
  if (status >= 400 && status <= 499 && says_closed(fault.words))
    return "self-serve fine-tuning is closed to new users there; a provider of kind together, azure or command is a "
           "way on";
  if (status == 401) return "see whether the key in " + variable + " is right, and meant for this place";
  if (status == 402 || fault.code == "insufficient_quota" || fault.code == "billing_hard_limit_reached")
    return "see the plan and the billing of the account";
  if (status == 403) return "see whether the account of the key in " + variable + " may do this";
  if (status == 404 && fault.code.empty()) return "see base_url: it ends in /v1 as a rule";
  if (status == 413) return "the file is too large for this place";
  if (status >= 300 && status <= 399)
    return "redirects are not followed, since the key is meant for this place; name the one that answers in base_url";
  return {};
}

inline ProviderError ProviderHttp::lost(const HttpError& lost, const ProviderAsk& what) const {
  const auto said = [&](ProviderErrc code) {
    return ProviderError{code, options_.kind + ": " + what.what + ": " + lost.what(), lost.hint};
  };
  switch (lost.code) {
    case HttpErrc::invalid:
    case HttpErrc::file:
      return said(ProviderErrc::refused);
    case HttpErrc::connect:
    case HttpErrc::tls:
      return said(ProviderErrc::unavailable);
    case HttpErrc::cancelled:
      return said(ProviderErrc::cancelled);
    case HttpErrc::too_large:
      if (what.once) break;
      return ProviderError{ProviderErrc::too_large, options_.kind + ": " + what.what + ": " + lost.what(),
                           "see whether base_url is that of an API; no answer of one is so long"};
    case HttpErrc::timeout:
    case HttpErrc::reset:
      break;
  }
  return said(what.method == "GET" ? ProviderErrc::unavailable : ProviderErrc::unclear);
}

template <class Each>
bool ProviderHttp::list(const std::string& path, const std::string& what, std::uint32_t most_pages, Each each) {
  std::string after;
  for (std::uint32_t page = 0; page != most_pages; ++page) {
    const boost::json::value answer =
        ask({.path = path + "?limit=100" + (after.empty() ? "" : "&after=" + in_path(after)), .what = what});
    const Said said{answer, key_};
    const boost::json::array* rows = said.rows();
    if (rows == nullptr)
      throw failure(ProviderErrc::unclear, what, "an answer without a list", "expected {\"data\":[...]}");
    std::string last;
    for (const boost::json::value& row : *rows) {
      const Said one{row, key_};
      if (!each(one)) return true;
      last = one.at("id").name();
    }
    if (!said.at("has_more").is_true()) return true;
    if (last.empty() || last == after) return false;
    after = std::move(last);
  }
  return false;
}

}  // namespace detail
}  // namespace canary
