// dataset_talk.hpp: the rules of a conversation: who may say what, and in which order. Layer control.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/dataset_findings.hpp"

namespace canary::detail {

enum class Role : std::uint8_t { unknown, system, developer, user, assistant, tool };

inline constexpr std::array<std::string_view, 5> role_words{"system", "developer", "user", "assistant", "tool"};

[[nodiscard]] constexpr Role parse_role(std::string_view word) noexcept {
  for (std::size_t i = 0; i != role_words.size(); ++i)
    if (role_words[i] == word) return static_cast<Role>(i + 1);
  return Role::unknown;
}

/// Types of the parts of a content, in the order of part_keys.
enum class MessagePart : std::uint8_t { text, image_url, input_audio, file, refusal };

inline constexpr std::array<std::string_view, 5> part_words{"text", "image_url", "input_audio", "file", "refusal"};

/// Where something stands in the line; nowhere if it does not.
using Mark = std::optional<std::size_t>;

/// What a message was found to hold, in whatever order its keys came.
struct Message {
  enum class Content : std::uint8_t { absent, text, parts, null, wrong };

  std::size_t at = 0;
  Mark role_at;
  Role role = Role::unknown;
  Mark content_at;
  Content content = Content::absent;
  bool content_blank = false;
  std::array<Mark, part_words.size()> parts;  ///< the first of each type
  Mark name_at;
  Mark weight_at;
  bool trained = true;  ///< weight is not 0
  Mark refusal_at;
  Mark audio_at;
  Mark old_call_at;
  Mark tool_calls_at;
  Mark tool_call_id_at;
  std::uint64_t tool_call_id = 0;  ///< a hash of it
  bool broken = false;             ///< something that the order of messages hangs on has the wrong type
};

/// What a list of messages is for.
enum class Talk : std::uint8_t {
  chat,           ///< the assistant's messages are imitated
  dpo_input,      ///< the outputs go on with it
  reinforcement,  ///< the model goes on with it
  output,         ///< one assistant's message
};

/// Judges a list of messages, one by one.
/// Cost    memory for some 256 tool calls.
class TalkRules {
 public:
  explicit TalkRules(LineFindings& findings) noexcept : findings_{findings} {}

  void begin(Talk talk, std::size_t at) {
    talk_ = talk;
    at_ = at;
    messages_ = 0;
    assistants_ = users_ = trained_ = 0;
    unknown_ = too_many_calls_ = false;
    only_system_ = true;
    last_ = Role::unknown;
    calls_.clear();
    open_.clear();
  }

  /// A call of the message at hand; before its end().
  void call(std::uint64_t id, std::size_t at) {
    for (const Call& other : calls_)
      if (other.id == id)
        return findings_.add(FindingCode::duplicate_call_id, at,
                             [] { return "two calls of one message have the same id; give each its own"; });
    if (calls_.size() == calls_max)
      too_many_calls_ = true;
    else
      calls_.push_back({id, at});
  }

  void message(const Message& message) {
    ++messages_;
    last_at_ = message.at;
    last_ = message.role;
    if (message.role == Role::unknown || message.broken) {  // told already; what follows from it is not known
      unknown_ = true;
      calls_.clear();
      open_.clear();
      return;
    }
    if (talk_ == Talk::output && message.role != Role::assistant)
      add(FindingCode::output_not_assistant, *message.role_at,
          "an output is one message of the assistant; say \"assistant\", or take the message out");
    order(message);
    content(message);
    keys(message);
    assistants_ += message.role == Role::assistant;
    users_ += message.role == Role::user;
    trained_ += message.role == Role::assistant && message.trained;
  }

  /// The list is over.
  void end() {
    if (last_ == Role::tool) refuse_open();  // calls of the last message may stay open: they are what is learned
    if (messages_ == 0)
      return add(FindingCode::no_messages, at_,
                 talk_ == Talk::output ? "an output without a message; put one message of the assistant there"
                                       : "no messages; an example has at least one");
    if (talk_ == Talk::output) {
      if (messages_ != 1)
        add(FindingCode::output_count, at_,
            std::to_string(messages_) + " messages in an output; an output is exactly one message of the assistant");
    } else if (unknown_) {
      return;
    } else if (talk_ == Talk::chat) {
      end_of_chat();
    } else if (last_ != Role::user && !(talk_ == Talk::dpo_input && last_ == Role::tool)) {
      add(FindingCode::last_not_user, last_at_,
          talk_ == Talk::reinforcement
              ? "the last message is not the user's; the model answers behind it, so end with what it is to answer, or "
                "say --format chat where answers are imitated"
              : "the last message is not the user's; the model answers behind it, so end with what it is to answer");
    }
  }

 private:
  struct Call {
    std::uint64_t id;
    std::size_t at;
  };
  static constexpr std::size_t calls_max = 256;

  void add(FindingCode code, std::size_t at, std::string_view words) {
    findings_.add(code, at, [words] { return std::string{words}; });
  }

  void end_of_chat() {
    if (assistants_ == 0)
      return add(FindingCode::no_assistant_message, at_,
                 last_ == Role::user
                     ? "no message of the assistant: nothing would be learned; add the answer, or say --format "
                       "reinforcement where a grader judges what the model answers"
                     : "no message of the assistant: nothing would be learned; add the answer, or take the line out");
    if (trained_ == 0)
      add(FindingCode::all_weights_zero, at_,
          "every message of the assistant has weight 0: nothing would be learned; give one weight 1");
    if (users_ == 0)
      add(FindingCode::no_user_message, at_,
          "no message of a user: the model would learn to answer nobody; add the question, or take the line out");
    if (last_ != Role::assistant)
      add(FindingCode::last_not_assistant, last_at_,
          "the last message is not the assistant's: nothing is learned from it; end with an answer");
  }

  void refuse_open() {
    for (const Call& call : open_)
      add(FindingCode::unanswered_tool_call, call.at,
          "no tool message answers this call; add one with its id as tool_call_id, behind the assistant's message");
    open_.clear();
  }

  void order(const Message& message) {
    if (message.role == Role::system || message.role == Role::developer) {
      if (!only_system_)
        add(FindingCode::system_not_first, *message.role_at,
            "instructions behind the conversation's beginning; put them first");
    } else {
      only_system_ = false;
    }
    if (message.role == Role::tool) {
      answer(message);
      calls_.clear();  // a tool calls nobody; told by keys()
      return;
    }
    refuse_open();
    open_.swap(calls_);
    calls_.clear();
  }

  void answer(const Message& message) {
    if (!message.tool_call_id_at)
      return add(FindingCode::missing_key, message.at,
                 "a tool message without \"tool_call_id\"; name the call that it answers");
    const auto found =
        std::find_if(open_.begin(), open_.end(), [&](const Call& call) { return call.id == message.tool_call_id; });
    if (found != open_.end()) {
      open_.erase(found);
    } else if (!too_many_calls_ && !unknown_) {
      add(FindingCode::tool_without_call, *message.tool_call_id_at,
          "no call with this id before it that is still open; a tool message follows the assistant's message that "
          "called");
    }
  }

  void content(const Message& message) {
    using Content = Message::Content;
    const bool assistant = message.role == Role::assistant;
    const bool calls = assistant && (message.tool_calls_at || message.old_call_at);
    const bool something_else = calls || (assistant && (message.refusal_at || message.audio_at));
    if (message.content == Content::absent && !calls)
      add(FindingCode::missing_key, message.at,
          something_else ? "a message without \"content\", which only calls may lack; add its text"
                         : "a message without \"content\"; add its text");
    if (message.content == Content::null && !calls)
      add(FindingCode::null_content, *message.content_at,
          assistant ? "content may be null only beside tool_calls; write the text"
                    : "content may be null only for an assistant that calls tools; write the text");
    const bool has_content = message.content == Content::text || message.content == Content::parts;
    if (has_content && message.content_blank && !something_else)
      add(FindingCode::empty_content, *message.content_at,
          assistant ? "an empty answer: the model would learn to say nothing; write it, or take the line out"
                    : "an empty content; write it, or take the message out");
    for (std::size_t i = 0; i != message.parts.size(); ++i) {
      const auto part = static_cast<MessagePart>(i);
      const bool allowed =
          part == MessagePart::text || (part == MessagePart::refusal ? assistant : message.role == Role::user);
      if (message.parts[i] && !allowed)
        add(FindingCode::part_not_allowed, *message.parts[i],
            part == MessagePart::refusal
                ? "a refusal is for messages of the assistant; write a part of type \"text\""
                : "images, audio and files are for messages of users alone; take the part out");
    }
  }

  /// Keys that belong to one role alone.
  void keys(const Message& message) {
    const auto refuse = [&](const Mark& at, std::string_view words) {
      if (at) add(FindingCode::unexpected_key, *at, words);
    };
    if (message.role != Role::tool)
      refuse(message.tool_call_id_at,
             "tool_call_id is for tool messages alone; take it out, or say \"tool\" as the role");
    if (talk_ == Talk::output && message.role == Role::assistant)
      refuse(message.weight_at, "an output has no weight: it is preferred, or it is not; take it out");
    if (message.role == Role::assistant) return;
    refuse(message.weight_at, "weight is for messages of the assistant alone; take it out");
    refuse(message.tool_calls_at, "tool_calls are for messages of the assistant alone; take them out");
    refuse(message.refusal_at, "a refusal is for messages of the assistant alone; take it out");
    refuse(message.audio_at, "audio is for messages of the assistant alone; a user's is a part of the content");
    refuse(message.old_call_at, "function_call is for messages of the assistant alone; take it out");
  }

  LineFindings& findings_;
  Talk talk_ = Talk::chat;
  std::size_t at_ = 0;
  std::uint64_t messages_ = 0;
  std::uint64_t assistants_ = 0;
  std::uint64_t users_ = 0;
  std::uint64_t trained_ = 0;
  bool unknown_ = false;
  bool only_system_ = true;
  bool too_many_calls_ = false;
  Role last_ = Role::unknown;
  std::size_t last_at_ = 0;
  std::vector<Call> calls_;  // of the message at hand
  std::vector<Call> open_;   // not answered yet
};

}  // namespace canary::detail
