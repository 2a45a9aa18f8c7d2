// dataset_schema.hpp: which keys the objects of an example have, of which types, and what each is. Layer control.
// Source  see docs/decisions/0016-dataset.md
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "canary/control/dataset.hpp"

namespace canary::detail {

enum class JsonType : std::uint8_t { object, array, string, number, boolean, null };

using JsonTypes = std::uint8_t;  ///< a bit for each

[[nodiscard]] constexpr JsonTypes bit_of(JsonType type) noexcept {
  return static_cast<JsonTypes>(1u << static_cast<unsigned>(type));
}

[[nodiscard]] constexpr std::string_view to_string(JsonType type) noexcept {
  constexpr std::array<std::string_view, 6> words{"an object", "an array",      "a string",
                                                  "a number",  "true or false", "null"};
  return words[static_cast<std::size_t>(type)];
}

/// `a string, an array or null`
[[nodiscard]] inline std::string words_of(JsonTypes types) {
  std::string words;
  for (unsigned i = 0; i != 6; ++i) {
    if ((types >> i & 1u) == 0) continue;
    const bool last = (types >> (i + 1)) == 0;
    words += words.empty() ? "" : last ? " or " : ", ";
    words += to_string(static_cast<JsonType>(i));
  }
  return words;
}

/// Objects and arrays by what they hold.
enum class Shape : std::uint8_t {
  free,  ///< anything
  chat,
  dpo,
  reinforcement,
  completions,
  dpo_input,
  messages,
  outputs,
  message,
  parts,
  part,
  image_url,
  input_audio,
  file,
  tool_calls,
  tool_call,
  call_function,
  tools,
  tool,
  tool_function,
};

/// What a value is to the rules.
enum class KeySlot : std::uint8_t {
  plain,
  messages,
  tools,
  old,  ///< what newer keys replaced
  preferred,
  non_preferred,
  prompt,
  completion,
  role,
  content,
  name,
  weight,
  refusal,
  audio,
  tool_calls,
  tool_call_id,
  part_type,
  part_value,  ///< what a part of some type holds
  url,
  detail,
  bytes,  ///< base64
  audio_format,
  call_id,
  tool_type,
  function_name,
  arguments,
};

struct KeyRule {
  std::string_view name;
  JsonTypes types = 0;
  KeySlot slot = KeySlot::plain;
  Shape child = Shape::free;  ///< of an object or array that stands there
  bool required = false;
};

inline constexpr JsonTypes object_type = bit_of(JsonType::object);
inline constexpr JsonTypes array_type = bit_of(JsonType::array);
inline constexpr JsonTypes string_type = bit_of(JsonType::string);
inline constexpr JsonTypes number_type = bit_of(JsonType::number);
inline constexpr JsonTypes boolean_type = bit_of(JsonType::boolean);
inline constexpr JsonTypes null_type = bit_of(JsonType::null);

inline constexpr std::array chat_keys{
    KeyRule{"messages", array_type, KeySlot::messages, Shape::messages, true},
    KeyRule{"tools", array_type, KeySlot::tools, Shape::tools},
    KeyRule{"parallel_tool_calls", boolean_type},
    KeyRule{"functions", array_type, KeySlot::old},
};
inline constexpr std::array dpo_keys{
    KeyRule{"input", object_type, KeySlot::plain, Shape::dpo_input, true},
    KeyRule{"preferred_output", array_type, KeySlot::preferred, Shape::outputs, true},
    KeyRule{"non_preferred_output", array_type, KeySlot::non_preferred, Shape::outputs, true},
};
inline constexpr std::array completion_keys{
    KeyRule{"prompt", string_type, KeySlot::prompt, Shape::free, true},
    KeyRule{"completion", string_type, KeySlot::completion, Shape::free, true},
};
inline constexpr std::array message_keys{
    KeyRule{"role", string_type, KeySlot::role, Shape::free, true},
    KeyRule{"content", string_type | array_type | null_type, KeySlot::content, Shape::parts},
    KeyRule{"name", string_type, KeySlot::name},
    KeyRule{"weight", number_type, KeySlot::weight},
    KeyRule{"tool_calls", array_type, KeySlot::tool_calls, Shape::tool_calls},
    KeyRule{"tool_call_id", string_type, KeySlot::tool_call_id},
    KeyRule{"refusal", string_type | null_type, KeySlot::refusal},
    KeyRule{"audio", object_type | null_type, KeySlot::audio},
    KeyRule{"function_call", object_type | null_type, KeySlot::old},
};
/// What a part holds stands under the name of its type, a file's under `file`.
inline constexpr std::array part_keys{
    KeyRule{"type", string_type, KeySlot::part_type, Shape::free, true},
    KeyRule{"text", string_type, KeySlot::part_value},
    KeyRule{"image_url", object_type, KeySlot::part_value, Shape::image_url},
    KeyRule{"input_audio", object_type, KeySlot::part_value, Shape::input_audio},
    KeyRule{"file", object_type, KeySlot::part_value, Shape::file},
    KeyRule{"refusal", string_type, KeySlot::part_value},
};
inline constexpr std::array image_keys{
    KeyRule{"url", string_type, KeySlot::url, Shape::free, true},
    KeyRule{"detail", string_type, KeySlot::detail},
};
inline constexpr std::array audio_keys{
    KeyRule{"data", string_type, KeySlot::bytes, Shape::free, true},
    KeyRule{"format", string_type, KeySlot::audio_format, Shape::free, true},
};
inline constexpr std::array file_keys{
    KeyRule{"file_data", string_type, KeySlot::bytes},
    KeyRule{"file_id", string_type},
    KeyRule{"filename", string_type},
};
inline constexpr std::array tool_call_keys{
    KeyRule{"id", string_type, KeySlot::call_id, Shape::free, true},
    KeyRule{"type", string_type, KeySlot::tool_type, Shape::free, true},
    KeyRule{"function", object_type, KeySlot::plain, Shape::call_function, true},
};
inline constexpr std::array call_function_keys{
    KeyRule{"name", string_type, KeySlot::function_name, Shape::free, true},
    KeyRule{"arguments", string_type, KeySlot::arguments, Shape::free, true},
};
inline constexpr std::array tool_keys{
    KeyRule{"type", string_type, KeySlot::tool_type, Shape::free, true},
    KeyRule{"function", object_type, KeySlot::plain, Shape::tool_function, true},
};
inline constexpr std::array tool_function_keys{
    KeyRule{"name", string_type, KeySlot::function_name, Shape::free, true},
    KeyRule{"description", string_type},
    KeyRule{"parameters", object_type},
    KeyRule{"strict", boolean_type | null_type},
};

/// Keys of an object; empty for one that may have any.
[[nodiscard]] constexpr std::span<const KeyRule> keys_of(Shape shape) noexcept {
  switch (shape) {
    case Shape::chat:
    case Shape::reinforcement:
    case Shape::dpo_input:
      return chat_keys;
    case Shape::dpo:
      return dpo_keys;
    case Shape::completions:
      return completion_keys;
    case Shape::message:
      return message_keys;
    case Shape::part:
      return part_keys;
    case Shape::image_url:
      return image_keys;
    case Shape::input_audio:
      return audio_keys;
    case Shape::file:
      return file_keys;
    case Shape::tool_call:
      return tool_call_keys;
    case Shape::call_function:
      return call_function_keys;
    case Shape::tool:
      return tool_keys;
    case Shape::tool_function:
      return tool_function_keys;
    default:
      return {};
  }
}

/// True if other keys than keys_of() are none of our business: a grader reads them.
[[nodiscard]] constexpr bool is_open(Shape shape) noexcept {
  return shape == Shape::free || shape == Shape::reinforcement;
}

inline constexpr KeyRule message_item{"a message", object_type, KeySlot::plain, Shape::message};
inline constexpr KeyRule part_item{"a part of a content", object_type, KeySlot::plain, Shape::part};
inline constexpr KeyRule tool_call_item{"a tool call", object_type, KeySlot::plain, Shape::tool_call};
inline constexpr KeyRule tool_item{"a tool", object_type, KeySlot::plain, Shape::tool};

/// What the items of an array are; null where they may be anything.
[[nodiscard]] constexpr const KeyRule* item_of(Shape shape) noexcept {
  switch (shape) {
    case Shape::messages:
    case Shape::outputs:
      return &message_item;
    case Shape::parts:
      return &part_item;
    case Shape::tool_calls:
      return &tool_call_item;
    case Shape::tools:
      return &tool_item;
    default:
      return nullptr;
  }
}

/// How messages call an object.
[[nodiscard]] constexpr std::string_view name_of(Shape shape) noexcept {
  switch (shape) {
    case Shape::message:
      return "a message";
    case Shape::part:
      return "a part of a content";
    case Shape::image_url:
      return "an image_url";
    case Shape::input_audio:
      return "an input_audio";
    case Shape::file:
      return "a file";
    case Shape::tool_call:
      return "a tool call";
    case Shape::call_function:
    case Shape::tool_function:
      return "a function";
    case Shape::tool:
      return "a tool";
    case Shape::dpo_input:
      return "an input";
    default:
      return "an example";
  }
}

[[nodiscard]] constexpr Shape shape_of(DatasetFormat format) noexcept {
  switch (format) {
    case DatasetFormat::chat:
      return Shape::chat;
    case DatasetFormat::dpo:
      return Shape::dpo;
    case DatasetFormat::reinforcement:
      return Shape::reinforcement;
    case DatasetFormat::completions:
      return Shape::completions;
  }
  return Shape::free;
}

/// The format that a key at the top of an example tells of; nothing for a key that tells of none.
[[nodiscard]] constexpr std::optional<DatasetFormat> format_of_key(std::string_view key) noexcept {
  if (key == "messages") return DatasetFormat::chat;
  for (const std::string_view name :
       {"input", "preferred_output", "non_preferred_output", "preferred_completion", "non_preferred_completion"})
    if (key == name) return DatasetFormat::dpo;
  if (key == "prompt" || key == "completion") return DatasetFormat::completions;
  return {};
}

}  // namespace canary::detail
