#include "chat_example.hpp"

#include <algorithm>

#include <boost/json.hpp>

#include "output.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

bool is_message(const json::value& value) {
  const json::object* message = value.if_object();
  if (message == nullptr) return false;
  const json::value* role = message->if_contains("role");
  return role != nullptr && role->is_string() && message->contains("content");
}

/// The messages in a request; null for what is no such document.
const json::array* messages_in(const json::value& document) {
  const json::value* inside = &document;
  if (const json::object* object = document.if_object()) inside = object->if_contains("messages");
  const json::array* messages = inside == nullptr ? nullptr : inside->if_array();
  const bool good =
      messages != nullptr && !messages->empty() && std::all_of(messages->begin(), messages->end(), is_message);
  return good ? messages : nullptr;
}

/// Most requests are no documents: their first character tells.
bool may_be_document(std::string_view text) {
  const std::size_t at = text.find_first_not_of(" \t\r\n");
  return at != std::string_view::npos && (text[at] == '[' || text[at] == '{');
}

bool append_messages(std::string& to, std::string_view request) {
  if (!may_be_document(request)) return false;
  json::error_code error;
  const json::value document = json::parse(json::string_view{request.data(), request.size()}, error);
  const json::array* messages = error ? nullptr : messages_in(document);
  if (messages == nullptr) return false;
  for (const json::value& message : *messages) (to += json::serialize(message)) += ',';
  return true;
}

}  // namespace

void append_chat_example(std::string& to, std::string_view request, std::string_view response) {
  to += "{\"messages\":[";
  if (!append_messages(to, request)) {
    to += "{\"role\":\"user\",\"content\":";
    append_json_string(to, request);
    to += "},";
  }
  to += "{\"role\":\"assistant\",\"content\":";
  append_json_string(to, response);
  to += "}]}\n";
}

}  // namespace canary::cli
