// openai_chat_wire.hpp: what goes to a chat endpoint and what comes back, as JSON. Layer adapters; Boost.JSON; a part of
// openai_chat.hpp. No network here: any bytes in, and never a crash.
#pragma once

#if !__has_include(<boost/json.hpp>)
#error \
    "openai_chat.hpp needs Boost.JSON (Boost 1.75 or newer): install libboost-dev, and link Boost::json or include <boost/json/src.hpp> in one source file"
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/faults.hpp"
#include "canary/control/stored_text.hpp"
#include "canary/core/outcome.hpp"

namespace canary {

struct ChatMessage {
  std::string role;  ///< system, developer, user, assistant
  std::string content;
};

/// A setting of a chat client that cannot be: what() says why and what to do.
class ChatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

[[nodiscard]] inline boost::json::string_view json_view(std::string_view text) noexcept {
  return {text.data(), text.size()};
}

/// The messages as a JSON array. What is no UTF-8 becomes U+FFFD.
[[nodiscard]] inline boost::json::array chat_messages(const std::vector<ChatMessage>& messages) {
  boost::json::array array;
  std::string space;
  for (const ChatMessage& each : messages) {
    boost::json::object message;
    message["role"] = json_view(stored_text(each.role, space));
    message["content"] = json_view(stored_text(each.content, space));
    array.push_back(std::move(message));
  }
  return array;
}

/// Errors  ChatError for what is no object, and for what asks for answers that are no one text.
[[nodiscard]] inline boost::json::object chat_parameters(std::string_view text) {
  if (text.empty()) return {};
  boost::json::error_code error;
  boost::json::value parsed = boost::json::parse(json_view(text), error);
  if (error || !parsed.is_object())
    throw ChatError{R"(ChatOptions::parameters is no JSON object; expected {"temperature":0.2}, or nothing)"};
  for (const char* name : {"tools", "functions", "n"})
    if (parsed.get_object().contains(name))
      throw ChatError{"ChatOptions::parameters has \"" + std::string{name} +
                      "\": an answer is one text here, and calls and choices beside it would be lost; leave it out"};
  return std::move(parsed.as_object());
}

/// What a chat endpoint says that is wrong; texts are as it sent them.
struct ChatFault {
  std::string message;
  std::string code;
  std::string param;
};

/// Of `{"error":{...}}`, of `{"error":"..."}`, and of the same without `error`, as some servers have it. Empty for other bytes.
[[nodiscard]] inline ChatFault chat_fault(const boost::json::value& body) {
  ChatFault fault;
  const boost::json::object* object = body.if_object();
  if (object == nullptr) return fault;
  if (const boost::json::value* error = object->if_contains("error")) {
    if (const boost::json::string* words = error->if_string()) fault.message.assign(words->data(), words->size());
    if (error->is_object()) object = &error->get_object();
  }
  const auto text = [object](const char* name) {
    const boost::json::value* value = object->if_contains(name);
    const boost::json::string* found = value == nullptr ? nullptr : value->if_string();
    return found == nullptr ? std::string{} : std::string{found->data(), found->size()};
  };
  if (fault.message.empty()) fault.message = text("message");
  fault.code = text("code");
  if (fault.code.empty()) fault.code = text("type");
  fault.param = text("param");
  return fault;
}
[[nodiscard]] inline ChatFault chat_fault(std::string_view body) {
  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse(json_view(body), error);
  return error ? ChatFault{} : chat_fault(parsed);
}

/// True if the model is named, whole, and it is said that it cannot be had.
[[nodiscard]] inline bool says_model_is_missing(std::string_view words, std::string_view model) {
  const auto letter = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  const auto goes_on = [&](std::size_t at) {  // a name may have these within it; at its end they are the sentence's
    if (at >= words.size()) return false;
    if (letter(words[at]) || words[at] == '/' || words[at] == '@') return true;
    return (words[at] == '.' || words[at] == ':') && at + 1 < words.size() && letter(words[at + 1]);
  };
  bool named = false;
  for (std::size_t at = 0; !model.empty() && !named && (at = words.find(model, at)) != std::string_view::npos; ++at)
    named = (at == 0 || (!letter(words[at - 1]) && words[at - 1] != '.')) && !goes_on(at + model.size());
  if (!named) return false;
  std::string lower{words};
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  constexpr std::array<std::string_view, 10> phrases{
      "not found",     "not exist",         "no access",     "not have access", "no such model",
      "not available", "not a valid model", "invalid model", "unknown model",   "no longer available"};
  return std::any_of(phrases.begin(), phrases.end(),
                     [&](std::string_view each) { return lower.find(each) != std::string::npos; });
}

/// True if it is this model that cannot be had, so that another may do.
[[nodiscard]] inline bool is_about_model(int status, const ChatFault& fault, std::string_view model) {
  if (status != 400 && status != 403 && status != 404 && status != 410) return false;
  constexpr std::array<std::string_view, 5> codes{"model_not_found", "invalid_model", "unknown_model",
                                                  "model_not_supported", "DeploymentNotFound"};
  if (fault.param == "model" || std::find(codes.begin(), codes.end(), fault.code) != codes.end()) return true;
  return fault.param.empty() && says_model_is_missing(fault.message, model);
}

[[nodiscard]] inline ErrorKind chat_error_kind(int status, const ChatFault& fault) {
  const auto has = [&fault](std::string_view part) { return fault.code.find(part) != std::string::npos; };
  if (has("content_filter") || has("content_policy")) return ErrorKind::refused;
  if (status == 429 || (status == 200 && has("rate_limit"))) return ErrorKind::rate_limited;
  if (status == 408 || status == 504) return ErrorKind::timeout;
  return status >= 500 || status == 200 ? ErrorKind::server : ErrorKind::other;
}

/// What was read of an answer, whole or piece by piece.
struct ChatRead {
  std::string text;
  std::string refusal;  ///< the model's words for not answering
  std::string finish_reason;
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
  bool usage_known = false;
  bool has_choice = false;
  bool failed = false;  ///< there was an error in the stream: `fault`
  ChatFault fault;
};

[[nodiscard]] inline std::uint32_t chat_tokens(const boost::json::object& usage, const char* name) {
  const boost::json::value* value = usage.if_contains(name);
  if (value == nullptr) return 0;
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  const std::int64_t* number = value->if_int64();
  return number == nullptr ? 0 : static_cast<std::uint32_t>(std::clamp<std::int64_t>(*number, 0, most));
}

[[nodiscard]] inline const boost::json::object* object_in(const boost::json::object& object, const char* name) {
  const boost::json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

inline void append_text(std::string& to, const boost::json::object& object, const char* name) {
  const boost::json::value* value = object.if_contains(name);
  if (const boost::json::string* text = value == nullptr ? nullptr : value->if_string())
    to.append(text->data(), text->size());
}

/// Takes in a whole answer (`part` is "message"), or a piece of a streamed one ("delta").
/// Output  false for what is none.
inline bool take_chat(ChatRead& read, std::string_view body, const char* part) {
  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse(json_view(body), error);
  const boost::json::object* object = error ? nullptr : parsed.if_object();
  if (object == nullptr) return false;
  if (const boost::json::value* wrong = object->if_contains("error"); wrong != nullptr && !wrong->is_null()) {
    read.failed = true;
    read.fault = chat_fault(parsed);
    return true;
  }
  const boost::json::object* usage = object_in(*object, "usage");
  if (usage != nullptr) {
    read.tokens_in = chat_tokens(*usage, "prompt_tokens");
    read.tokens_out = chat_tokens(*usage, "completion_tokens");
    const auto is_told = [usage](const char* name) {
      const boost::json::value* value = usage->if_contains(name);
      return value != nullptr && value->is_int64();
    };
    read.usage_known = is_told("prompt_tokens") && is_told("completion_tokens");
  }
  const boost::json::value* list = object->if_contains("choices");
  const boost::json::array* choices = list == nullptr ? nullptr : list->if_array();
  if (choices == nullptr) return usage != nullptr;
  for (const boost::json::value& each : *choices) {
    const boost::json::object* choice = each.if_object();
    if (choice == nullptr) return false;
    const boost::json::value* index = choice->if_contains("index");
    if (index != nullptr && index->is_int64() && index->get_int64() != 0) continue;  // one was asked for
    read.has_choice = true;
    if (const boost::json::object* message = object_in(*choice, part)) {
      append_text(read.text, *message, "content");
      append_text(read.refusal, *message, "refusal");
    }
    std::string reason;
    append_text(reason, *choice, "finish_reason");
    if (!reason.empty()) read.finish_reason = std::move(reason);
  }
  return true;
}

}  // namespace detail
}  // namespace canary
