// dataset_format.hpp: what an example is an example of, by its keys. Layer control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "canary/control/dataset.hpp"
#include "canary/control/dataset_schema.hpp"
#include "canary/control/dataset_values.hpp"
#include "canary/control/json_events.hpp"

namespace canary {

/// Looks at the keys at the top of one document, and at who speaks in its messages, and last.
class FormatFinder final : public JsonEvents {
 public:
  /// Nothing for a document that is no example, or of no format that we know.
  [[nodiscard]] std::optional<DatasetFormat> format() const noexcept {
    if (!object_) return {};
    if (preference_ || (input_object_ && !messages_)) return DatasetFormat::dpo;
    // What is answered last is a chat; a question with something beside it that a grader may read is reinforcement.
    const bool graded = other_ || input_ || completion_;
    if (messages_) return last_user_ && graded ? DatasetFormat::reinforcement : DatasetFormat::chat;
    if (completion_) return DatasetFormat::completions;
    return {};
  }
  [[nodiscard]] bool is_object() const noexcept { return object_; }
  /// Where the first key stands; 0 without one.
  [[nodiscard]] std::size_t first_key() const noexcept { return first_key_; }
  /// What to do about a document without a format.
  [[nodiscard]] std::string hint() const { return hint_.empty() ? std::string{expected} : hint_; }

  void begin_object(std::size_t /*at*/) override {
    if (depth_ == 0) object_ = true;
    if (depth_ == 1 && key_ == Key::input) input_object_ = true;
    if (depth_ == 2 && key_ == Key::messages) last_user_ = false;
    ++depth_;
  }
  void end_object(std::size_t /*at*/) override { --depth_; }
  void begin_array(std::size_t /*at*/) override { ++depth_; }
  void end_array(std::size_t /*at*/) override { --depth_; }
  void number(double /*value*/, std::size_t /*at*/) override {}
  void boolean(bool /*value*/, std::size_t /*at*/) override {}
  void null(std::size_t /*at*/) override {}

  void key(const JsonText& text) override {
    role_ = depth_ == 3 && text.text == "role";
    if (depth_ != 1) return;
    key_ = Key::other;
    if (first_key_ == 0) first_key_ = text.at;
    const std::optional<DatasetFormat> told = detail::format_of_key(text.text);
    if (told == DatasetFormat::chat) {
      key_ = Key::messages;
      messages_ = true;
    } else if (told == DatasetFormat::completions) {
      completion_ = true;
    } else if (text.text == "input") {
      key_ = Key::input;
      input_ = true;
    } else if (told == DatasetFormat::dpo) {
      preference_ = true;
    } else if (text.text != "tools" && text.text != "parallel_tool_calls" && text.text != "functions") {
      other_ = other_ || !is_of_a_request(text.text);
      if (hint_.empty()) hint_ = hint_of(text.text);
    }
  }
  void string(const JsonText& text) override {
    if (depth_ == 3 && key_ == Key::messages && role_) last_user_ = text.text == "user";
    role_ = false;
  }

 private:
  enum class Key : std::uint8_t { other, messages, input };

  /// What logs of requests have beside the messages, and misspelt keys of a chat: no grader reads these.
  static bool is_of_a_request(std::string_view key) {
    for (const std::string_view name : {"id",
                                        "object",
                                        "created",
                                        "model",
                                        "stream",
                                        "stream_options",
                                        "temperature",
                                        "top_p",
                                        "n",
                                        "stop",
                                        "seed",
                                        "max_tokens",
                                        "max_completion_tokens",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "logit_bias",
                                        "logprobs",
                                        "top_logprobs",
                                        "user",
                                        "store",
                                        "metadata",
                                        "tool_choice",
                                        "function_call",
                                        "response_format",
                                        "reasoning_effort",
                                        "service_tier",
                                        "usage"})
      if (key == name) return true;
    return !nearest(key, std::initializer_list<std::string_view>{"tools", "parallel_tool_calls", "functions"}).empty();
  }
  static std::string hint_of(std::string_view key) {
    if (key == "conversations" || key == "conversation")
      return "for chat write {\"messages\": [{\"role\": ..., \"content\": ...}, ...]} instead of conversations with "
             "from "
             "and value";
    if (key == "instruction" || key == "output" || key == "response" || key == "question" || key == "answer")
      return "for chat make two messages of it: {\"messages\": [{\"role\": \"user\", ...}, {\"role\": \"assistant\", "
             "...}]}";
    if (key == "chosen" || key == "rejected") return "for dpo write input, preferred_output and non_preferred_output";
    const std::string near =
        nearest(key, std::initializer_list<std::string_view>{"messages", "preferred_output", "prompt", "completion"});
    return near.empty() ? std::string{} : "did you mean \"" + near + "\"?";
  }

  static constexpr std::string_view expected =
      "an example has \"messages\" (chat, reinforcement), \"input\" with two outputs (dpo), or \"prompt\" and "
      "\"completion\"";

  std::size_t depth_ = 0;
  Key key_ = Key::other;
  bool object_ = false;
  bool role_ = false;
  bool messages_ = false;
  bool last_user_ = false;
  bool other_ = false;
  bool preference_ = false;
  bool input_ = false;
  bool input_object_ = false;
  bool completion_ = false;
  std::size_t first_key_ = 0;
  std::string hint_;
};

}  // namespace canary
