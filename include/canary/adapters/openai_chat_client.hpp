// openai_chat_client.hpp: asks one model at an OpenAI-compatible endpoint, whole or as a stream. Layer adapters; libcurl,
// Boost.JSON; a part of openai_chat.hpp, which knows of versions and of what is recorded.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/http.hpp"
#include "canary/adapters/http_retry.hpp"
#include "canary/adapters/openai_chat_wire.hpp"
#include "canary/control/faults.hpp"
#include "canary/control/sse.hpp"
#include "canary/control/webhook_url.hpp"
#include "canary/core/outcome.hpp"

namespace canary {

/// What a model's tokens cost, in millionths of a US dollar for a million of them: 150,000 is $0.15.
struct ChatPrice {
  std::string model;  ///< one that ends in * stands for all that begin so; the longest that fits counts
  std::uint32_t in_microusd = 0;
  std::uint32_t out_microusd = 0;
};

struct OpenAiChatOptions {
  std::string base_url = "https://api.openai.com/v1";
  std::string api_key_env = "OPENAI_API_KEY";  ///< variable with the key; empty: no key is sent
  bool key_alone = false;    ///< the key as `api-key: KEY`, as Azure has it, and not as a bearer's token
  std::string ca_file = {};  ///< see HttpClientOptions
  std::uint32_t connect_ms = 5'000;
  std::uint32_t idle_ms = 30'000;   ///< longest silence of a stream; an answer that comes whole has total_ms
  std::uint32_t total_ms = 60'000;  ///< for an answer with all tries and waits, a fallback's too
  HttpRetry retry{.tries = 3, .backoff = {.first_ms = 250, .longest_ms = 5'000}, .retry_after_most_s = 30};
  std::size_t reply_bytes = std::size_t{4} << 20;  ///< of an answer, at most
  std::vector<ChatPrice> prices = {};              ///< see ChatAnswer::priced for a model without one; * stands for all
  std::function<const char*(const char*)> environment = [](const char* name) -> const char* {
    return std::getenv(name);
  };
};

/// Of one request.
struct ChatOptions {
  /// A JSON object with more members for the request: `{"temperature":0.2,"max_tokens":500}`.
  std::string parameters = {};
  /// Asks for a stream, and gets the answer's text piece by piece, on the calling thread; false ends it.
  std::function<bool(std::string_view piece)> on_text = {};
  /// Where the version's own model cannot be had (there is none of that name, or none for this account), the task's default
  /// answers.
  bool fallback = false;
  std::uint32_t total_ms = 0;  ///< instead of OpenAiChatOptions::total_ms; 0: that
};

/// What a model said.
struct ChatAnswer {
  bool ok = false;
  ErrorKind error = ErrorKind::none;
  std::string text;  ///< all of it, or what had come when it failed
  std::string finish_reason;
  std::string message;  ///< why it failed; holds no secret
  std::string hint;
  bool about_model = false;  ///< it failed because of the model's name: another may do
  bool usage_known = false;  ///< the server told tokens; else they are 0, and so is the cost
  bool priced = false;       ///< the model has a price; else the cost is 0
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
  std::int64_t cost_microusd = 0;
};

/// Connections to one endpoint. Any number of threads: each request under way has a connection of its own, and gives it
/// back.
class ChatClient {
 public:
  using Clock = std::chrono::steady_clock;

  /// Reads the key.
  /// Errors  ChatError for a variable that is not set or holds no key, and for an URL that is none, has a query, or is
  ///         plain http to another machine: with or without a key, what is asked could be read on the way.
  explicit ChatClient(OpenAiChatOptions options);

  /// Asks, and again where that may help and nothing has been handed on yet, until the deadline. A question that was sent
  /// and not answered in time is not sent again: it may be answered and billed all the same.
  /// Errors  ChatError for parameters that cannot be; what on_text throws. All else is in the answer.
  [[nodiscard]] ChatAnswer ask(std::string_view model, const std::vector<ChatMessage>& messages,
                               const ChatOptions& options, Clock::time_point deadline);

  /// From any thread: ends every ask() that is under way, and every later one.
  void cancel() noexcept;

  [[nodiscard]] const OpenAiChatOptions& options() const noexcept { return options_; }
  /// The text with `[key]` where the key stood: a server may say what it was sent.
  [[nodiscard]] std::string without_key(std::string text) const;
  [[nodiscard]] bool has_price(std::string_view model) const noexcept { return price_of(model) != nullptr; }

 private:
  struct Stream;
  class Lease;

  [[nodiscard]] std::string body_of(std::string_view model, const std::vector<ChatMessage>& messages,
                                    const ChatOptions& options) const;
  [[nodiscard]] ChatAnswer try_once(HttpClient& client, const std::string& body, std::string_view model,
                                    const ChatOptions& options, Clock::time_point deadline,
                                    std::optional<std::uint64_t>& again_after_ms, bool& again);
  [[nodiscard]] HttpRequest request_of(const std::string& body, bool streamed, Clock::time_point deadline) const;
  [[nodiscard]] ChatAnswer answer_of(detail::ChatRead&& read, std::string_view model) const;
  [[nodiscard]] ChatAnswer refused(const HttpResponse& response, std::string_view model) const;
  [[nodiscard]] ChatAnswer lost(const HttpError& error) const;
  [[nodiscard]] ChatAnswer failed(ErrorKind kind, std::string message, std::string hint = {}) const;
  [[nodiscard]] std::string shown_without_key(std::string text, std::size_t most) const;
  void take_figures(ChatAnswer& answer, const detail::ChatRead& read, std::string_view model) const noexcept;
  [[nodiscard]] const ChatPrice* price_of(std::string_view model) const noexcept;
  [[nodiscard]] bool wait(std::uint32_t wait_ms, Clock::time_point deadline);

  OpenAiChatOptions options_;
  std::string key_;
  std::mutex mutex_;  // guards these
  std::condition_variable changed_;
  std::vector<std::unique_ptr<HttpClient>> clients_;
  std::vector<HttpClient*> idle_;
  bool cancelled_ = false;
};

// ---------------------------------------------------------------------------------------------------------------------

/// A client of the pool, for as long as one request takes.
class ChatClient::Lease {
 public:
  explicit Lease(ChatClient& of) : of_{of} {
    const std::lock_guard lock{of_.mutex_};
    if (of_.idle_.empty()) {
      of_.idle_.reserve(of_.clients_.size() + 1);  // giving one back must not fail
      of_.clients_.push_back(std::make_unique<HttpClient>(HttpClientOptions{.ca_file = of_.options_.ca_file}));
      client_ = of_.clients_.back().get();
      if (of_.cancelled_) client_->cancel();
    } else {
      client_ = of_.idle_.back();
      of_.idle_.pop_back();
    }
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    const std::lock_guard lock{of_.mutex_};
    of_.idle_.push_back(client_);
  }
  [[nodiscard]] HttpClient& client() const noexcept { return *client_; }

 private:
  ChatClient& of_;
  HttpClient* client_ = nullptr;
};

/// An answer on its way, as events, or whole from a server that does not stream.
struct ChatClient::Stream {
  const ChatOptions& options;
  std::size_t most;
  detail::ChatRead read = {};
  SseReader events{most};
  std::string whole = {};  // until there is an event
  bool any_event = false;
  bool any_text = false;
  bool done = false;
  bool malformed = false;
  bool too_long = false;
  bool stopped = false;  // by on_text

  bool take(std::string_view piece) {
    if (done) return true;  // and the connection stays good for another request
    if (!any_event) whole.append(piece.substr(0, most - std::min(most, whole.size())));
    const bool good = events.feed(piece, [this](const SseEvent& event) { return take_event(event); });
    too_long = too_long || events.overflown();
    return good;
  }

  bool take_event(const SseEvent& event) {
    any_event = true;
    whole.clear();
    done = done || event.data == "[DONE]";
    if (done || (!event.type.empty() && event.type != "message" && event.type != "error")) return true;
    const std::size_t before = read.text.size();
    malformed = !detail::take_chat(read, event.data, "delta");
    too_long = read.text.size() + read.refusal.size() > most;
    if (malformed || too_long || read.failed) return false;
    if (read.text.size() == before) return true;
    any_text = true;
    stopped = !options.on_text(std::string_view{read.text}.substr(before));
    return !stopped;
  }

  /// True if all of it has come.
  bool finish() {
    if (any_event) return done || !read.finish_reason.empty();
    const std::size_t first = whole.find_first_not_of(" \t\r\n");
    constexpr std::string_view of_streams = ":dier";  // a comment, data, event, id, retry: it ended before an event did
    if (first == std::string::npos || of_streams.find(whole[first]) != std::string_view::npos) return false;
    malformed = !detail::take_chat(read, whole, "message");
    if (!malformed && !read.text.empty()) stopped = !options.on_text(read.text);
    return !malformed;
  }
};

inline ChatClient::ChatClient(OpenAiChatOptions options) : options_{std::move(options)} {
  while (options_.base_url.ends_with('/')) options_.base_url.pop_back();
  if (!detail::url_parts(options_.base_url).user.empty())
    throw ChatError{"the chat endpoint's URL has a user or password in it; leave it out: keys come from a variable"};
  if (const UrlFault fault = webhook_url_fault(options_.base_url); !fault.message.empty())
    throw ChatError{"the chat endpoint's URL is " + std::string{fault.message} + "; " + std::string{fault.hint}};
  if (options_.base_url.find_first_of("?#") != std::string::npos)
    throw ChatError{
        "the chat endpoint's URL has a query or a fragment, behind which no path can be; leave ? and # out"};
  if (options_.api_key_env.empty()) return;
  const char* key = options_.environment(options_.api_key_env.c_str());
  if (key == nullptr || *key == '\0')
    throw ChatError{"no key for " + shown_url(options_.base_url) + ": the variable " + options_.api_key_env +
                    " is not set; export the key in it, or name no variable where none is needed"};
  key_ = key;
  if (std::any_of(key_.begin(), key_.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7F; }))
    throw ChatError{"the variable " + options_.api_key_env +
                    " holds no key: there is a line's end or another control byte in it; look for a stray newline"};
}

inline void ChatClient::cancel() noexcept {
  const std::lock_guard lock{mutex_};
  cancelled_ = true;
  for (const std::unique_ptr<HttpClient>& each : clients_) each->cancel();
  changed_.notify_all();
}

/// False when it is not worth waiting: cancelled, or over before.
inline bool ChatClient::wait(std::uint32_t wait_ms, Clock::time_point deadline) {
  const auto until = Clock::now() + std::chrono::milliseconds{wait_ms};
  if (until >= deadline) return false;
  std::unique_lock lock{mutex_};
  return !changed_.wait_until(lock, until, [this] { return cancelled_; });
}

inline std::string ChatClient::body_of(std::string_view model, const std::vector<ChatMessage>& messages,
                                       const ChatOptions& options) const {
  boost::json::object body = detail::chat_parameters(options.parameters);
  body["model"] = detail::json_view(model);
  body["messages"] = detail::chat_messages(messages);
  if (options.on_text) {
    body["stream"] = true;
    if (!body.contains("stream_options")) body["stream_options"] = {{"include_usage", true}};
  } else {
    body.erase("stream");
  }
  return boost::json::serialize(body);
}

inline HttpRequest ChatClient::request_of(const std::string& body, bool streamed, Clock::time_point deadline) const {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const auto left_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 0x7FFF'FFFF));
  HttpRequest request;
  request.method = "POST";
  request.url = options_.base_url + "/chat/completions";
  request.headers = {{"Content-Type", "application/json"}};
  if (!key_.empty())
    request.headers.push_back(options_.key_alone ? HttpHeader{"api-key", key_}
                                                 : HttpHeader{"Authorization", "Bearer " + key_});
  request.body = body;
  request.connect_ms = std::min(options_.connect_ms, left_ms);
  request.idle_ms = streamed ? options_.idle_ms : 0;
  request.total_ms = left_ms;
  request.body_bytes = options_.reply_bytes;
  return request;
}

inline ChatAnswer ChatClient::ask(std::string_view model, const std::vector<ChatMessage>& messages,
                                  const ChatOptions& options, Clock::time_point deadline) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const std::string body = body_of(model, messages, options);
  const Lease lease{*this};
  for (std::uint32_t failures = 1;; ++failures) {
    std::optional<std::uint64_t> asked_ms;
    bool again = false;
    ChatAnswer answer = try_once(lease.client(), body, model, options, deadline, asked_ms, again);
    answer.priced = has_price(model);
    if (!again) return answer;
    const double draw = std::uniform_real_distribution<double>{}(random);
    const std::optional<std::uint32_t> wait_ms = retry_wait_ms(options_.retry, failures, asked_ms, draw);
    if (!wait_ms || !wait(*wait_ms, deadline)) return answer;
  }
}

/// Output  `again`: another try may help, and nothing was handed on.
inline ChatAnswer ChatClient::try_once(HttpClient& client, const std::string& body, std::string_view model,
                                       const ChatOptions& options, Clock::time_point deadline,
                                       std::optional<std::uint64_t>& again_after_ms, bool& again) {
  HttpRequest request = request_of(body, options.on_text != nullptr, deadline);
  Stream stream{options, options_.reply_bytes};
  if (options.on_text) request.on_body = [&stream](std::string_view piece) { return stream.take(piece); };
  bool whole = false;
  ChatAnswer answer;
  try {
    const HttpResponse response = client.send(request);
    if (response.status < 200 || response.status > 299) {
      again = asks_again(response);
      again_after_ms = retry_after_ms(response);
      return refused(response, model);
    }
    if (options.on_text)
      whole = stream.finish();
    else
      stream.malformed = !(whole = detail::take_chat(stream.read, response.body, "message"));
  } catch (const HttpError& error) {
    whole = stream.done || !stream.read.finish_reason.empty();  // then all that is missing is the end
    answer = lost(error);
    again = may_change(error.code) && error.code != HttpErrc::timeout && !stream.any_text;
  }
  const auto with_text = [&](ChatAnswer made) {
    made.text = std::move(stream.read.text);
    take_figures(made, stream.read, model);
    return made;
  };
  const std::string where = shown_url(options_.base_url);
  if (stream.stopped) return with_text(failed(ErrorKind::cancelled, "ended by who reads the answer"));
  if (stream.too_long)
    return with_text(failed(ErrorKind::invalid_output,
                            where + ": the answer is longer than " + std::to_string(options_.reply_bytes) + " bytes",
                            "raise reply_bytes, or ask for less"));
  if (stream.malformed)
    return with_text(failed(ErrorKind::invalid_output, where + ": the answer is no chat completion",
                            "see whether base_url is that of an OpenAI-compatible endpoint"));
  if (whole || stream.read.failed) {
    again = false;
    return answer_of(std::move(stream.read), model);
  }
  if (answer.error == ErrorKind::none) {
    again = !stream.any_text;
    answer = failed(ErrorKind::network, where + ": the answer ended early");
  }
  return with_text(std::move(answer));
}

inline ChatAnswer ChatClient::answer_of(detail::ChatRead&& read, std::string_view model) const {
  const std::string where = shown_url(options_.base_url);
  ChatAnswer answer;
  if (read.failed) {
    const std::string words = shown_without_key(read.fault.message.empty() ? read.fault.code : read.fault.message, 500);
    answer = failed(detail::chat_error_kind(200, read.fault), where + " gave up in its answer: " + words);
  } else if (!read.has_choice) {
    answer = failed(ErrorKind::invalid_output, where + ": the answer is empty");
  } else if (read.finish_reason == "content_filter" || (!read.refusal.empty() && read.text.empty())) {
    answer = failed(ErrorKind::refused,
                    "the model declined" + (read.refusal.empty() ? "" : ": " + shown_without_key(read.refusal, 500)));
  } else if (read.text.empty()) {
    answer = failed(ErrorKind::invalid_output, where + ": the answer has no text");
  } else {
    answer.ok = true;
  }
  answer.text = std::move(read.text);
  answer.finish_reason = std::move(read.finish_reason);
  take_figures(answer, read, model);
  return answer;
}

inline ChatAnswer ChatClient::refused(const HttpResponse& response, std::string_view model) const {
  const detail::ChatFault fault = detail::chat_fault(response.body);
  std::string message = shown_url(options_.base_url) + " answered " + std::to_string(response.status);
  if (!fault.message.empty()) message += ": " + shown_without_key(fault.message, 500);
  if (!fault.code.empty()) message += " (" + shown_without_key(fault.code, 64) + ')';
  std::string hint;
  if (response.status == 401 && options_.api_key_env.empty()) hint = "it wants a key: name its variable in api_key_env";
  if (response.status == 401 && !options_.api_key_env.empty())
    hint = "see whether the variable " + options_.api_key_env + " holds a key of this place";
  if (response.status >= 300 && response.status <= 399) hint = "redirects are not followed: name the URL that answers";
  ChatAnswer answer = failed(detail::chat_error_kind(response.status, fault), std::move(message), std::move(hint));
  answer.about_model = detail::is_about_model(response.status, fault, model);
  return answer;
}

inline ChatAnswer ChatClient::lost(const HttpError& error) const {
  switch (error.code) {
    case HttpErrc::timeout:
      return failed(ErrorKind::timeout, error.what(), error.hint);
    case HttpErrc::connect:
    case HttpErrc::tls:
    case HttpErrc::reset:
      return failed(ErrorKind::network, error.what(), error.hint);
    case HttpErrc::too_large:
      return failed(ErrorKind::invalid_output, error.what(), error.hint);
    case HttpErrc::cancelled:
      return failed(ErrorKind::cancelled, error.what(), error.hint);
    default:
      return failed(ErrorKind::other, error.what(), error.hint);
  }
}

inline ChatAnswer ChatClient::failed(ErrorKind kind, std::string message, std::string hint) const {
  ChatAnswer answer;
  answer.error = kind;
  answer.message = without_key(std::move(message));
  answer.hint = std::move(hint);
  return answer;
}

inline std::string ChatClient::without_key(std::string text) const {
  for (std::size_t at = 0; !key_.empty() && (at = text.find(key_, at)) != std::string::npos;)
    text.replace(at, key_.size(), "[key]");
  return text;
}

/// Cut behind that: a cut through a key would leave a part of it.
inline std::string ChatClient::shown_without_key(std::string text, std::size_t most) const {
  return detail::shown(without_key(std::move(text)), most);
}

inline const ChatPrice* ChatClient::price_of(std::string_view model) const noexcept {
  const ChatPrice* best = nullptr;
  for (const ChatPrice& each : options_.prices) {
    const std::string_view name = each.model;
    const bool prefix = name.ends_with('*') && model.starts_with(name.substr(0, name.size() - 1));
    if (name != model && !prefix) continue;
    if (best == nullptr || name == model || (best->model != model && best->model.size() < name.size())) best = &each;
  }
  return best;
}

inline void ChatClient::take_figures(ChatAnswer& answer, const detail::ChatRead& read,
                                     std::string_view model) const noexcept {
  const ChatPrice* price = price_of(model);
  answer.usage_known = read.usage_known;
  answer.tokens_in = read.tokens_in;
  answer.tokens_out = read.tokens_out;
  if (price == nullptr) return;
  constexpr std::uint64_t million = 1'000'000;  // tokens have 31 bits, prices 32: two products fit
  const std::uint64_t parts =
      std::uint64_t{read.tokens_in} * price->in_microusd + std::uint64_t{read.tokens_out} * price->out_microusd;
  answer.cost_microusd = static_cast<std::int64_t>((parts + million / 2) / million);
}

}  // namespace canary
