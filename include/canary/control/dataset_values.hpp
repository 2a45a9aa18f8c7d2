// dataset_values.hpp: what single values, keys and objects of an example must be. Layer control; a part of
// dataset_example.hpp, which includes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/dataset_example.hpp"
#include "canary/control/nearest.hpp"

namespace canary {

namespace detail {

[[nodiscard]] constexpr bool is_blank(std::string_view text) noexcept {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// Names of tools, and of who speaks.
[[nodiscard]] constexpr bool is_talk_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_letter_or_digit(c) || c == '_' || c == '-'; });
}

/// `; did you mean "role"?`, or nothing.
template <class Candidates>
[[nodiscard]] std::string did_you_mean(std::string_view word, const Candidates& candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? std::string{} : "; did you mean \"" + near + "\"?";
}

/// What other tools call a role.
[[nodiscard]] constexpr std::string_view usual_role(std::string_view word) noexcept {
  if (word == "human" || word == "customer" || word == "prompter") return "user";
  if (word == "bot" || word == "gpt" || word == "model" || word == "ai" || word == "chatgpt") return "assistant";
  if (word == "function") return "tool";
  return {};
}

}  // namespace detail

// --- values ----------------------------------------------------------------------------------------------------------

inline void ExampleChecker::string(const JsonText& text) {
  if (beyond_ != 0) return;
  const detail::KeyRule* rule = admit(detail::JsonType::string, text.at);
  add_value(hash_of(text.text));
  const detail::KeySlot slot = rule == nullptr ? detail::KeySlot::plain : rule->slot;
  const bool bytes = slot == detail::KeySlot::bytes || (slot == detail::KeySlot::url && text.text.starts_with("data:"));
  if (!bytes) count_text(text, is_paid(rule));
  if (rule != nullptr) take(slot, text);
}

inline void ExampleChecker::number(double value, std::size_t at) {
  if (beyond_ != 0) return;
  const detail::KeyRule* rule = admit(detail::JsonType::number, at);
  add_value(detail::mix(std::bit_cast<std::uint64_t>(value == 0 ? 0.0 : value)) ^ seed_);
  if (rule == nullptr) {
    if (is_paid(rule)) tokens_ += token_parts;
    return;
  }
  if (rule->slot != detail::KeySlot::weight) return;
  message_.weight_at = at;
  message_.trained = value != 0;
  if (value != 0 && value != 1)
    add(FindingCode::bad_weight, at, "a weight is 0, not learned, or 1, learned; write one of them");
}

inline void ExampleChecker::null(std::size_t at) {
  if (beyond_ != 0) return;
  const detail::KeyRule* rule = admit(detail::JsonType::null, at);
  add_value(1);
  if (rule == nullptr || rule->slot != detail::KeySlot::content) return;
  message_.content = detail::Message::Content::null;
  message_.content_at = at;
}

inline void ExampleChecker::take(detail::KeySlot slot, const JsonText& text) {
  using detail::KeySlot;
  switch (slot) {
    case KeySlot::role:
      return take_role(text);
    case KeySlot::content:
      message_.content = detail::Message::Content::text;
      message_.content_at = text.at;
      message_.content_blank = detail::is_blank(text.text);
      return;
    case KeySlot::name:
      message_.name_at = text.at;
      return expect_name(text);
    case KeySlot::refusal:
      message_.refusal_at = text.at;
      return;
    case KeySlot::tool_call_id:
      message_.tool_call_id_at = text.at;
      message_.tool_call_id = hash_of(text.text);
      return;
    case KeySlot::part_type:
      return take_part_type(text);
    case KeySlot::part_value:
      if (!detail::is_blank(text.text)) message_.content_blank = false;
      return;
    case KeySlot::url:
      return take_url(text);
    case KeySlot::detail:
      return expect_word(text, "auto", "low", "high");
    case KeySlot::audio_format:
      return expect_word(text, "wav", "mp3");
    case KeySlot::bytes:  // sound: some ten tokens a second of 32 kB
      if (here().shape == detail::Shape::input_audio) tokens_ += text.text.size() * token_parts / 4'266;
      return;
    case KeySlot::call_id:
      return talk_.call(hash_of(text.text), text.at);
    case KeySlot::tool_type:
      return expect_word(text, "function");
    case KeySlot::function_name:
      return take_function_name(text);
    case KeySlot::arguments:
      return take_arguments(text);
    case KeySlot::prompt:
      if (detail::is_blank(text.text)) add(FindingCode::empty_prompt, text.at, "an empty prompt; write what is asked");
      return;
    case KeySlot::completion:
      if (detail::is_blank(text.text))
        add(FindingCode::empty_completion, text.at,
            "an empty completion: nothing would be learned; write it, or take the line out");
      return;
    default:
      return;
  }
}

inline void ExampleChecker::take_role(const JsonText& text) {
  message_.role_at = text.at;
  message_.role = detail::parse_role(text.text);
  if (message_.role != detail::Role::unknown) return;
  findings_.add(FindingCode::unknown_role, text.at, [&] {
    std::string words = "unknown role " + quoted(text.text);
    const std::string_view usual = detail::usual_role(text.text);
    if (!usual.empty()) return words + "; here it is \"" + std::string{usual} + '"';
    const std::string hint = detail::did_you_mean(text.text, detail::role_words);
    return words + (hint.empty() ? "; write system, developer, user, assistant or tool" : hint);
  });
}

inline void ExampleChecker::take_part_type(const JsonText& text) {
  part_type_at_ = text.at;
  for (std::size_t i = 0; i != detail::part_words.size(); ++i)
    if (detail::part_words[i] == text.text) part_type_ = static_cast<detail::MessagePart>(i);
  if (part_type_) return;
  findings_.add(FindingCode::unknown_part_type, text.at, [&] {
    const std::string hint = detail::did_you_mean(text.text, detail::part_words);
    return "unknown type of a content's part " + quoted(text.text) +
           (hint.empty() ? "; write text, image_url, input_audio or file" : hint);
  });
}

inline void ExampleChecker::take_url(const JsonText& text) {
  tokens_ += image_tokens * token_parts;
  const std::string_view url = text.text;
  const bool data = url.starts_with("data:image/") && url.substr(0, 64).find(";base64,") != std::string_view::npos;
  if (!data && !url.starts_with("https://") && !url.starts_with("http://"))
    add(FindingCode::bad_image_url, text.at,
        "no address of an image; write https://..., or data:image/png;base64,... with the image itself");
}

inline void ExampleChecker::take_function_name(const JsonText& text) {
  expect_name(text);
  const std::uint64_t name = hash_of(text.text);
  if (here().shape == detail::Shape::tool_function) {
    if (declared_.size() != tools_max) declared_.push_back(name);
  } else if (called_.size() != tools_max) {
    called_.push_back({name, text.at});
  }
}

inline void ExampleChecker::take_arguments(const JsonText& text) {
  if (const std::optional<SyntaxFault> fault = explain_json(text.text))
    return findings_.add(FindingCode::arguments_not_json, text.place(fault->at),
                         [&] { return "the text of \"arguments\" is no JSON: " + fault->message; });
  const std::size_t first = text.text.find_first_not_of(" \t\r\n");
  if (text.text[first] != '{')
    add(FindingCode::arguments_not_json, text.place(first),
        "the text of \"arguments\" is no JSON object; write \"{}\" for a call without arguments");
}

inline void ExampleChecker::expect_name(const JsonText& text) {
  if (detail::is_talk_name(text.text)) return;
  findings_.add(FindingCode::bad_name, text.at,
                [&] { return quoted(text.text) + " is no name; write 1 to 64 letters, digits, \"_\" and \"-\""; });
}

inline void ExampleChecker::expect_word(const JsonText& text, std::string_view first, std::string_view second,
                                        std::string_view third) {
  if (text.text == first || (!second.empty() && text.text == second) || (!third.empty() && text.text == third)) return;
  findings_.add(FindingCode::bad_value, text.at, [&] {
    std::string words = "unknown value " + quoted(text.text) + "; write \"" + std::string{first} + '"';
    for (const std::string_view other : {second, third})
      if (!other.empty()) words += " or \"" + std::string{other} + '"';
    return words;
  });
}

// --- keys ------------------------------------------------------------------------------------------------------------

inline void ExampleChecker::unknown_key(const Frame& frame, const JsonText& text) {
  if (depth_ == 1) {
    const std::optional<DatasetFormat> other = detail::format_of_key(text.text);
    if (other && *other != format_ && !other_at_) {
      other_at_ = text.at;
      other_format_ = *other;
    }
    if (format_ == DatasetFormat::dpo && text.text.ends_with("preferred_completion"))
      return findings_.add(FindingCode::renamed_key, text.at, [&] {
        return quoted(text.text) + " has a new name; write \"" +
               (text.text.starts_with("non_") ? "non_preferred_output" : "preferred_output") + '"';
      });
  }
  findings_.add(FindingCode::unknown_key, text.at, [&] {
    std::vector<std::string_view> names;
    for (const detail::KeyRule& rule : keys_of(frame.shape)) names.push_back(rule.name);
    const std::string hint = detail::did_you_mean(text.text, names);
    std::string words = "unknown key " + quoted(text.text);
    if (!hint.empty()) return words + hint;
    ((words += "; ") += name_of(frame.shape)) += " has ";
    for (std::size_t i = 0; i != names.size(); ++i)
      (words += i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") += names[i];
    return words + ": take it out";
  });
}

// --- objects and arrays ----------------------------------------------------------------------------------------------

inline void ExampleChecker::finish_object(Frame& frame) {
  using detail::Shape;
  if (depth_ == 1 && frame.shape != Shape::free) return finish_example(frame);
  const auto rules = keys_of(frame.shape);
  for (std::size_t i = 0; i != rules.size(); ++i) {
    if (!rules[i].required || (frame.seen >> i & 1) != 0) continue;
    findings_.add(FindingCode::missing_key, frame.at, [&] {
      return std::string{name_of(frame.shape)} + " without \"" + std::string{rules[i].name} + "\"; add it";
    });
    if (rules[i].slot == detail::KeySlot::part_type) part_type_ = {};
  }
  if (frame.shape == Shape::message) talk_.message(message_);
  if (frame.shape == Shape::part) finish_part(frame);
  if (frame.shape == Shape::file && (frame.seen & 3) == 0)
    add(FindingCode::missing_key, frame.at, "a file without \"file_id\" or \"file_data\"; add one of them");
}

inline void ExampleChecker::finish_array(Frame& frame) {
  using detail::Shape;
  if (frame.shape == Shape::messages || frame.shape == Shape::outputs) talk_.end();
  if (frame.shape == Shape::tool_calls && frame.count == 0)
    add(FindingCode::no_tool_calls, frame.at, "an empty list of tool calls; leave tool_calls out");
  if (frame.shape == Shape::tools && frame.count > tools_max)
    add(FindingCode::too_many_tools, frame.at, "more than 128 tools; providers take no more");
}

inline void ExampleChecker::finish_part(const Frame& frame) {
  if (!part_type_) return;
  const auto number = static_cast<std::size_t>(*part_type_);
  const std::string type{detail::part_words[number]};
  if (!message_.parts[number]) message_.parts[number] = part_type_at_;
  if (*part_type_ != detail::MessagePart::text && *part_type_ != detail::MessagePart::refusal)
    message_.content_blank = false;
  const std::uint32_t own = std::uint32_t{2} << number;  // the first key is the type
  if ((frame.seen & own) == 0)
    findings_.add(FindingCode::missing_key, frame.at,
                  [&] { return "a part of type \"" + type + "\" without \"" + type + "\"; add it"; });
  if ((frame.seen & ~own & ~std::uint32_t{1}) != 0)
    findings_.add(FindingCode::unexpected_key, frame.at, [&] {
      return "a part of type \"" + type + "\" that holds another type's key too; make two parts of it";
    });
}

inline void ExampleChecker::finish_example(Frame& frame) {
  const auto rules = keys_of(frame.shape);
  bool any = false;
  for (std::size_t i = 0; i != rules.size(); ++i) any |= rules[i].required && (frame.seen >> i & 1) != 0;
  if (other_at_ && !any) {  // everything else that was found follows from this
    findings_.clear();
    return findings_.add(FindingCode::mixed_format, *other_at_, [&] {
      return "a line of format " + std::string{to_string(other_format_)} + ", among " +
             std::string{to_string(format_)} + "; a file has one format: put it into a file of its own";
    });
  }
  for (std::size_t i = 0; i != rules.size(); ++i)
    if (rules[i].required && (frame.seen >> i & 1) == 0)
      findings_.add(FindingCode::missing_key, frame.at, [&] {
        return "an example of format " + std::string{to_string(format_)} + " without \"" + std::string{rules[i].name} +
               "\"; add it";
      });
  if (preferred_at_ && preferred_ == non_preferred_)
    add(FindingCode::same_outputs, *preferred_at_,
        "both outputs are the same: nothing is preferred; change one, or take the line out");
  for (const Called& called : called_) {
    if (declared_.size() == tools_max || std::find(declared_.begin(), declared_.end(), called.name) != declared_.end())
      continue;
    add(FindingCode::undeclared_tool, called.at,
        tools_at_ ? "no tool of this name in \"tools\"; add it there, as it is at work"
                  : "a call, but no \"tools\"; add those that the model has at work");
  }
}

}  // namespace canary
