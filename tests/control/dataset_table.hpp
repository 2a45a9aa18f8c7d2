// dataset_table.hpp: lines of training data that are not right, and what is to be said of each. For the rules alone, and for
// them behind a real parser.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/dataset.hpp"
#include "canary/control/utf8.hpp"

namespace canary::test {

/// Stands before the character that a finding must point at.
inline constexpr std::string_view here = "\u00B6";

struct BadLine {
  std::string name;
  DatasetFormat format;
  std::string marked;  ///< with one `here`
  std::string code;
  std::size_t more = 0;  ///< findings on the line beside it

  [[nodiscard]] std::string line() const {
    std::string text = marked;
    return text.erase(text.find(here), here.size());
  }
  [[nodiscard]] std::size_t column() const { return utf8_length(marked.substr(0, marked.find(here))) + 1; }
};

/// A good line; every number gives another.
inline std::string good_line(DatasetFormat format, int number) {
  const std::string n = std::to_string(number);
  const std::string question = R"({"role": "user", "content": "question )" + n + R"("})";
  const std::string answer = R"({"role": "assistant", "content": "answer )" + n + R"("})";
  switch (format) {
    case DatasetFormat::chat:
      return R"({"messages": [)" + question + ", " + answer + "]}";
    case DatasetFormat::dpo:
      return R"({"input": {"messages": [)" + question + R"(]}, "preferred_output": [)" + answer +
             R"(], "non_preferred_output": [{"role": "assistant", "content": "no"}]})";
    case DatasetFormat::reinforcement:
      return R"({"messages": [)" + question + R"(], "expected": {"answer": )" + n + "}}";
    case DatasetFormat::completions:
      return R"({"prompt": "question )" + n + R"(", "completion": "answer )" + n + R"("})";
  }
  return {};
}

namespace lines {

/// A chat of a question, and these messages.
inline std::string chat(const std::string& messages) {
  return R"({"messages": [{"role": "user", "content": "hi"}, )" + messages + "]}";
}

/// A chat whose answer has these keys beside its role.
inline std::string answer(const std::string& keys) { return chat(R"({"role": "assistant", )" + keys + "}"); }

/// A chat whose question has this content.
inline std::string asked(const std::string& content) {
  return R"({"messages": [{"role": "user", "content": )" + content + R"(}, {"role": "assistant", "content": "yes"}]})";
}

/// A chat whose question has this text, in quotes.
inline std::string said(const std::string& text) { return asked('"' + text + '"'); }

/// A chat with a call, these messages behind it, and an answer.
inline std::string called(const std::string& messages) {
  return chat(
      R"({"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]})" +
      messages + R"(, {"role": "assistant", "content": "done"})" +
      R"(], "tools": [{"type": "function", "function": {"name": "look"}})");
}

/// A chat whose answer calls by this object.
inline std::string calls(const std::string& call) {
  return answer(R"("tool_calls": [)" + call + R"(])")
      .insert(1, R"("tools": [{"type": "function", "function": {"name": "look"}}], )");
}

inline std::string preference(const std::string& preferred, const std::string& other) {
  return R"({"input": {"messages": [{"role": "user", "content": "hi"}]}, "preferred_output": )" + preferred +
         R"(, "non_preferred_output": )" + other + "}";
}

inline const std::string yes = R"([{"role": "assistant", "content": "yes"}])";
inline const std::string no = R"([{"role": "assistant", "content": "no"}])";

}  // namespace lines

/// Lines that are no JSON.
inline std::vector<BadLine> broken_lines() {
  using lines::asked;
  using lines::said;
  const DatasetFormat chat = DatasetFormat::chat;
  return {
      {"a comma at the end of an object", chat, R"({"messages": [{"role": "user", "content": "hi"¶,}]})",
       "trailing_comma"},
      {"a comma at the end of an array", chat, R"({"messages": [{"role": "user", "content": "hi"}¶,]})",
       "trailing_comma"},
      {"a comma behind the example", chat, R"({"messages": []}¶,)", "extra_data"},
      {"two examples on a line", chat, R"({"messages": []} ¶{"messages": []})", "extra_data"},
      {"a text that is cut off", chat, R"({"messages": [{"role": "user", "content": ¶"hi)", "json_truncated"},
      {"an example that is cut off", chat, R"({"messages": [{"role": "user"}¶)", "json_truncated"},
      {"an example that is cut off before a value", chat, R"({"messages":¶)", "json_truncated"},
      {"an example that is cut off in an escape", chat, R"({"messages": ¶"\)", "json_truncated"},
      {"a Latin-1 byte", chat, said("caf¶\xE9 au lait"), "invalid_utf8"},
      {"UTF-8 that is cut off", chat, said("\u00E9t\u00E9 ¶\xE2\x82"), "invalid_utf8"},
      {"an overlong form", chat, said("¶\xC0\xAF"), "invalid_utf8"},
      {"a surrogate as UTF-8", chat, said("¶\xED\xA0\x80"), "invalid_utf8"},
      {"a NUL in a text", chat, said(std::string{"a\u00B6\0b", 5}), "nul_byte"},
      {"a NUL between", chat, std::string{"{\u00B6\0}", 5}, "nul_byte"},
      {"a tab in a text", chat, said("a¶\tb"), "control_character"},
      {"a backslash of its own", chat, said("C:¶\\Program Files"), "bad_escape"},
      {"an escaped single quote", chat, said("it¶\\'s"), "bad_escape"},
      {"a byte as in C", chat, said("¶\\x41"), "bad_escape"},
      {"too few digits of an escape", chat, said("¶\\u00e"), "bad_escape"},
      {"the first half of a character", chat, said("¶\\ud83d"), "lone_surrogate"},
      {"the second half of a character", chat, said("¶\\ude00"), "lone_surrogate"},
      {"two first halves", chat, said("¶\\ud83d\\ud83d"), "lone_surrogate"},
      {"a quote within a text", chat, said("he said \"¶hi\" to me"), "unescaped_quote"},
      {"no comma between keys", chat, R"({"role": "user" ¶"content": "hi"})", "missing_comma"},
      {"no comma between messages", chat, R"({"messages": [{} ¶{}]})", "missing_comma"},
      {"no colon", chat, R"({"messages" ¶[]})", "missing_colon"},
      {"an equals sign", chat, R"({"messages" ¶= []})", "missing_colon"},
      {"no value", chat, R"({"messages": ¶})", "missing_value"},
      {"two commas", chat, R"({"messages": [1,¶,2]})", "missing_value"},
      {"a key without quotes", chat, R"({¶messages: []})", "unquoted_key"},
      {"single quotes around keys", chat, R"({¶'messages': []})", "single_quotes"},
      {"single quotes around a value", chat, R"({"messages": [{"role": ¶'user'}]})", "single_quotes"},
      {"typographic quotes around a key", chat, "{¶\u201Cmessages\u201D: []}", "typographic_quotes"},
      {"typographic quotes around a value", chat, "{\"messages\": ¶\u201Chi\u201D}", "typographic_quotes"},
      {"Python's None", chat, asked("¶None"), "python_literal"},
      {"Python's True", chat, R"({"messages": [], "parallel_tool_calls": ¶True})", "python_literal"},
      {"not a number", chat, R"({"messages": [{"weight": ¶NaN}]})", "not_a_number"},
      {"minus infinity", chat, R"({"messages": [{"weight": ¶-Infinity}]})", "not_a_number"},
      {"a word without quotes", chat, asked("¶hello"), "bad_literal"},
      {"JavaScript's undefined", chat, asked("¶undefined"), "bad_literal"},
      {"a zero in front", chat, R"({"messages": [{"weight": ¶01}]})", "bad_number"},
      {"a plus in front", chat, R"({"messages": [{"weight": ¶+1}]})", "bad_number"},
      {"no digit before the point", chat, R"({"messages": [{"weight": ¶.5}]})", "bad_number"},
      {"no digit behind the point", chat, R"({"messages": [{"weight": 1.¶}]})", "bad_number"},
      {"no digit in the exponent", chat, R"({"messages": [{"weight": 1e¶}]})", "bad_number"},
      {"a number past every computer", chat, R"({"messages": [{"weight": ¶1e99999999999}]})", "number_too_large"},
      {"a bracket that closes another", chat, R"({"messages": [{"role": "user"¶]})", "mismatched_bracket"},
      {"a closing bracket too many", chat, R"({"messages": []}¶})", "extra_data"},
      {"a comment", chat, R"({"messages": [] ¶// greeting)", "comment"},
      {"a comment in place of an example", chat, "¶# greetings", "comment"},
      {"a separator", chat, R"({"messages"¶; []})", "missing_colon"},
      {"nested without end", chat, "{\"messages\": " + std::string(63, '[') + "\u00B6[", "too_deep"},
      {"text that is no JSON", chat, "¶Hello, how are you?", "bad_literal"},
      {"a mark where a key should be", chat, R"({¶;})", "json_syntax"},
  };
}

/// JSON that is no good example.
inline std::vector<BadLine> wrong_lines() {
  using lines::answer;
  using lines::asked;
  using lines::called;
  using lines::calls;
  using lines::no;
  using lines::preference;
  using lines::said;
  using lines::yes;
  const DatasetFormat chat = DatasetFormat::chat;
  const DatasetFormat dpo = DatasetFormat::dpo;
  const DatasetFormat reinforcement = DatasetFormat::reinforcement;
  const DatasetFormat completions = DatasetFormat::completions;
  return {
      {"an array", chat, R"(¶[{"messages": []}])", "not_an_object"},
      {"a text", chat, R"(¶"hello")", "not_an_object"},
      {"a number", chat, "¶42", "not_an_object"},
      {"null", chat, " ¶null", "not_an_object"},
      {"no key at all", chat, "¶{}", "missing_key"},
      {"a misspelt key", chat, R"({¶"mesages": []})", "unknown_key", 1},
      {"a key beside the messages", chat,
       R"({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}], ¶"id": 7})",
       "unknown_key"},
      {"an escaped key, twice", chat,
       R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a", ¶"cont\u0065nt": "b"}]})",
       "duplicate_key"},
      {"the messages twice", chat,
       R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}], ¶"messages": [{"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]})",
       "duplicate_key"},
      {"a key twice in a tool's parameters", chat,
       answer(
           R"("content": "yes"}], "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", ¶"type": "object"}})"),
       "duplicate_key"},
      {"messages that are no list", chat, R"({"messages": ¶{"role": "user"}})", "wrong_type"},
      {"messages that are a text", chat, R"({"messages": ¶"hi"})", "wrong_type"},
      {"a message that is a text", chat, lines::chat(R"(¶"hello", {"role": "assistant", "content": "a"})"),
       "wrong_type"},
      {"no messages", chat, R"({"messages": ¶[]})", "no_messages"},
      {"a message without a role", chat, lines::chat(R"(¶{"content": "yes"})"), "missing_key"},
      {"a role that is a number", chat, lines::chat(R"({"role": ¶1, "content": "yes"})"), "wrong_type"},
      {"a misspelt role", chat, lines::chat(R"({"role": ¶"asistant", "content": "yes"})"), "unknown_role"},
      {"a role with a capital", chat, lines::chat(R"({"role": ¶"Assistant", "content": "yes"})"), "unknown_role"},
      {"another tool's role", chat, lines::chat(R"({"role": ¶"gpt", "content": "yes"})"), "unknown_role"},
      {"an old role", chat, lines::chat(R"({"role": ¶"function", "name": "look", "content": "yes"})"), "unknown_role"},
      {"a message without content", chat, lines::chat(R"(¶{"role": "assistant"})"), "missing_key"},
      {"a misspelt content", chat, lines::chat(R"({"role": "assistant", ¶"contant": "yes"})"), "unknown_key", 1},
      {"a content that is a number", chat, answer(R"("content": ¶5)"), "wrong_type"},
      {"a content that is an object", chat, asked(R"(¶{"text": "hi"})"), "wrong_type"},
      {"a content of null for an answer", chat, answer(R"("content": ¶null)"), "null_content"},
      {"a content of null for a question", chat, asked("¶null"), "null_content"},
      {"a content of null beside a refusal", chat, answer(R"("content": ¶null, "refusal": "I will not")"),
       "null_content"},
      {"a content of null beside audio", chat, answer(R"("audio": {"id": "a1"}, "content": ¶null)"), "null_content"},
      {"no content beside a refusal", chat, lines::chat(R"(¶{"role": "assistant", "refusal": "I will not"})"),
       "missing_key"},
      {"no content beside audio", chat, lines::chat(R"(¶{"role": "assistant", "audio": {"id": "a1"}})"), "missing_key"},
      {"an empty answer", chat, answer(R"("content": ¶"")"), "empty_content"},
      {"an answer of blanks", chat, answer(R"("content": ¶" \n ")"), "empty_content"},
      {"an empty question", chat, asked(R"(¶"")"), "empty_content"},
      {"a content of no parts", chat, asked("¶[]"), "empty_content"},
      {"a content of empty parts", chat, asked(R"(¶[{"type": "text", "text": ""}])"), "empty_content"},
      {"a part that is a text", chat, asked(R"([{"type": "text", "text": "a"}, ¶"hi"])"), "wrong_type"},
      {"a part without a type", chat, asked(R"([{"type": "text", "text": "a"}, ¶{"text": "hi"}])"), "missing_key"},
      {"a part of unknown type", chat, asked(R"([{"type": "text", "text": "a"}, {"type": ¶"video", "text": "hi"}])"),
       "unknown_part_type"},
      {"a part without its text", chat, asked(R"([{"type": "text", "text": "a"}, ¶{"type": "text"}])"), "missing_key"},
      {"a part of two types", chat,
       asked(R"([¶{"type": "text", "text": "a", "image_url": {"url": "https://a/b.png"}}])"), "unexpected_key"},
      {"an image that is a text", chat,
       asked(R"([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": ¶"https://a/b.png"}])"),
       "wrong_type"},
      {"an image without an address", chat, asked(R"([{"type": "image_url", "image_url": ¶{"detail": "low"}}])"),
       "missing_key"},
      {"an image on a disk", chat, asked(R"([{"type": "image_url", "image_url": {"url": ¶"/home/me/b.png"}}])"),
       "bad_image_url"},
      {"an image of unknown detail", chat,
       asked(R"([{"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": ¶"medium"}}])"), "bad_value"},
      {"a sound of unknown format", chat,
       asked(R"([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": ¶"ogg"}}])"), "bad_value"},
      {"a file without anything", chat, asked(R"([{"type": "file", "file": ¶{"filename": "a.pdf"}}])"), "missing_key"},
      {"an image in an answer", chat,
       answer(
           R"("content": [{"type": "text", "text": "a"}, {"type": ¶"image_url", "image_url": {"url": "https://a/b.png"}}])"),
       "part_not_allowed"},
      {"a refusal in a question", chat,
       asked(R"([{"type": "text", "text": "a"}, {"type": ¶"refusal", "refusal": "no"}])"), "part_not_allowed"},
      {"a weight between", chat, answer(R"("content": "yes", "weight": ¶0.5)"), "bad_weight"},
      {"a weight that is a text", chat, answer(R"("content": "yes", "weight": ¶"1")"), "wrong_type"},
      {"a weight that is true", chat, answer(R"("content": "yes", "weight": ¶true)"), "wrong_type"},
      {"a weight of a question", chat,
       R"({"messages": [{"role": "user", "content": "hi", "weight": ¶1}, {"role": "assistant", "content": "yes"}]})",
       "unexpected_key"},
      {"weights of 0 alone", chat,
       R"({"messages": ¶[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes", "weight": 0}]})",
       "all_weights_zero"},
      {"a name with a blank", chat,
       R"({"messages": [{"role": "user", "name": ¶"Jane Doe", "content": "hi"}, {"role": "assistant", "content": "yes"}]})",
       "bad_name"},
      {"an empty name", chat,
       R"({"messages": [{"role": "user", "name": ¶"", "content": "hi"}, {"role": "assistant", "content": "yes"}]})",
       "bad_name"},
      {"nobody answers", chat, R"({"messages": ¶[{"role": "user", "content": "hi"}]})", "no_assistant_message"},
      {"nobody asks", chat,
       R"({"messages": ¶[{"role": "system", "content": "hi"}, {"role": "assistant", "content": "yes"}]})",
       "no_user_message"},
      {"a question at the end", chat, answer(R"("content": "yes"}, ¶{"role": "user", "content": "and?")"),
       "last_not_assistant"},
      {"instructions in the middle", chat,
       lines::chat(R"({"role": ¶"system", "content": "be kind"}, {"role": "assistant", "content": "yes"})"),
       "system_not_first"},
      {"an empty list of calls", chat, answer(R"("content": "yes", "tool_calls": ¶[])"), "no_tool_calls"},
      {"calls of null", chat, answer(R"("content": "yes", "tool_calls": ¶null)"), "wrong_type"},
      {"calls of a user", chat,
       R"({"messages": [{"role": "user", "content": "hi", "tool_calls": ¶[]}, {"role": "assistant", "content": "yes"}]})",
       "unexpected_key", 1},
      {"a call without an id", chat, calls(R"(¶{"type": "function", "function": {"name": "look", "arguments": "{}"}})"),
       "missing_key"},
      {"a call without a type", chat, calls(R"(¶{"id": "c1", "function": {"name": "look", "arguments": "{}"}})"),
       "missing_key"},
      {"a call of unknown type", chat,
       calls(R"({"id": "c1", "type": ¶"tool", "function": {"name": "look", "arguments": "{}"}})"), "bad_value"},
      {"a call without a function", chat, calls(R"(¶{"id": "c1", "type": "function"})"), "missing_key"},
      {"a function without a name", chat,
       calls(R"({"id": "c1", "type": "function", "function": ¶{"arguments": "{}"}})"), "missing_key"},
      {"arguments that are an object", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": ¶{"at": 1}}})"),
       "wrong_type"},
      {"arguments that are no JSON", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{¶at: 1}"}})"),
       "arguments_not_json"},
      {"arguments that are no JSON, with escapes", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": ¶"{\"at\": }"}})"),
       "arguments_not_json"},
      {"arguments that are a list", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "¶[1]"}})"),
       "arguments_not_json"},
      {"empty arguments", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "¶"}})"),
       "arguments_not_json"},
      {"a function's name with a dot", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": ¶"a.look", "arguments": "{}"}})"), "bad_name", 1},
      {"a tool that was not named", chat,
       calls(R"({"id": "c1", "type": "function", "function": {"name": ¶"listen", "arguments": "{}"}})"),
       "undeclared_tool"},
      {"two calls of one id", chat,
       calls(
           R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}, {"id": ¶"c1", "type": "function", "function": {"name": "look", "arguments": "{}"}})"),
       "duplicate_call_id"},
      {"a call that nobody answers", chat, called("").replace(called("").find("\"c1\""), 4, "¶\"c1\""),
       "unanswered_tool_call"},
      {"an answer to no call", chat,
       called(
           R"(, {"role": "tool", "tool_call_id": "c1", "content": "a"}, {"role": "tool", "tool_call_id": ¶"c2", "content": "b"})"),
       "tool_without_call"},
      {"two answers to one call", chat,
       called(
           R"(, {"role": "tool", "tool_call_id": "c1", "content": "a"}, {"role": "tool", "tool_call_id": ¶"c1", "content": "b"})"),
       "tool_without_call"},
      {"an answer before its call", chat,
       lines::chat(
           R"({"role": "tool", "tool_call_id": ¶"c1", "content": "a"}, {"role": "assistant", "content": "yes"})"),
       "tool_without_call"},
      {"a tool message without an id", chat,
       called(R"(, {"role": "tool", "tool_call_id": "c1", "content": "a"}, ¶{"role": "tool", "content": "b"})"),
       "missing_key"},
      {"an id in an answer", chat, answer(R"("content": "yes", "tool_call_id": ¶"c1")"), "unexpected_key"},
      {"tools that are an object", chat,
       R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], "tools": ¶{}})",
       "wrong_type"},
      {"a tool without a function", chat, answer(R"("content": "yes"}], "tools": [¶{"type": "function")"),
       "missing_key"},
      {"a tool without a name", chat,
       answer(R"("content": "yes"}], "tools": [{"type": "function", "function": ¶{"description": "looks"})"),
       "missing_key"},
      {"parameters that are a list", chat,
       answer(R"("content": "yes"}], "tools": [{"type": "function", "function": {"name": "look", "parameters": ¶[]})"),
       "wrong_type"},
      {"parallel calls that are a text", chat,
       R"({"parallel_tool_calls": ¶"true", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]})",
       "wrong_type"},
      {"old functions", chat,
       R"({¶"functions": [], "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]})",
       "deprecated_key"},
      {"an old call", chat, answer(R"("content": null, ¶"function_call": {"name": "look", "arguments": "{}"})"),
       "deprecated_key"},
      {"a preference among chats", chat, good_line(dpo, 1).insert(1, "¶"), "mixed_format"},
      {"a completion among chats", chat, good_line(completions, 1).insert(1, "¶"), "mixed_format"},
      {"a chat among preferences", dpo, good_line(chat, 1).insert(1, "¶"), "mixed_format"},
      {"a chat among completions", completions, good_line(chat, 1).insert(1, "¶"), "mixed_format"},

      {"a preference without another", dpo,
       R"(¶{"input": {"messages": [{"role": "user", "content": "hi"}]}, "preferred_output": [{"role": "assistant", "content": "yes"}]})",
       "missing_key"},
      {"an old name of the preferred", dpo,
       R"({"input": {"messages": [{"role": "user", "content": "hi"}]}, ¶"preferred_completion": [], "non_preferred_output": [{"role": "assistant", "content": "no"}]})",
       "renamed_key", 1},
      {"an output that is a text", dpo, preference(R"(¶"yes")", no), "wrong_type"},
      {"an output of nothing", dpo, preference("¶[]", no), "no_messages"},
      {"an output of two messages", dpo,
       preference(yes, R"(¶[{"role": "assistant", "content": "no"}, {"role": "assistant", "content": "never"}])"),
       "output_count"},
      {"an output of a user", dpo, preference(R"([{"role": ¶"user", "content": "yes"}])", no), "output_not_assistant"},
      {"a weight of the preferred output", dpo,
       preference(R"([{"role": "assistant", "content": "yes", "weight": ¶1}])", no), "unexpected_key"},
      {"a weight of the other output", dpo,
       preference(yes, R"([{"weight": ¶0, "role": "assistant", "content": "no"}])"), "unexpected_key"},
      {"two outputs that are the same", dpo, preference("¶" + yes, R"([{"content": "\u0079es", "role": "assistant"}])"),
       "same_outputs"},
      {"an input without messages", dpo,
       R"({"input": ¶{}, "preferred_output": [{"role": "assistant", "content": "yes"}], "non_preferred_output": [{"role": "assistant", "content": "no"}]})",
       "missing_key"},
      {"an input that is answered already", dpo,
       R"({"input": {"messages": [{"role": "user", "content": "hi"}, ¶{"role": "assistant", "content": "ho"}]}, "preferred_output": [{"role": "assistant", "content": "yes"}], "non_preferred_output": [{"role": "assistant", "content": "no"}]})",
       "last_not_user"},

      {"an answer at the end", reinforcement,
       R"({"messages": [{"role": "user", "content": "hi"}, ¶{"role": "assistant", "content": "yes"}], "expected": 1})",
       "last_not_user"},
      {"no messages for a grader", reinforcement, R"(¶{"expected": 1})", "missing_key"},

      {"no completion", completions, R"(¶{"prompt": "hi"})", "missing_key"},
      {"an empty completion", completions, R"({"prompt": "hi", "completion": ¶""})", "empty_completion"},
      {"an empty prompt", completions, R"({"prompt": ¶"", "completion": "yes"})", "empty_prompt"},
      {"a completion that is a list", completions, R"({"prompt": "hi", "completion": ¶["yes"]})", "wrong_type"},
      {"a key beside prompt and completion", completions, R"({"prompt": "hi", "completion": "yes", ¶"text": "x"})",
       "unknown_key"},

      {"an API key", chat, said("use ¶sk-proj-abcdEFGH1234ijklMNOP5678 for it"), "secret"},
      {"a cloud's key", chat, said("¶AKIAIOSFODNN7EXAMPLE"), "secret"},
      {"a repository's token", chat, said("token: ¶ghp_abcdefghijklmnopqrstuvwxyz0123456789"), "secret"},
      {"a chat service's token", chat, said("¶xoxb-123456789012-abcdef"), "secret"},
      {"a bearer token", chat, said("Authorization: ¶Bearer abcdefghij0123456789xyz"), "secret"},
      {"a web token", chat, said("¶eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"), "secret"},
      {"a private key", chat, said("¶-----BEGIN RSA PRIVATE KEY-----"), "secret"},
      {"a secret behind an escape", chat, asked("¶\"line\\nsk-proj-abcdEFGH1234ijklMNOP5678\""), "secret"},
      {"a secret as a key", chat,
       R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], ¶"sk-proj-abcdEFGH1234ijklMNOP5678": 1})",
       "unknown_key"},
      {"an e-mail address", chat, said("write to ¶jane.doe+visa@mail.gov.uk."), "email_address"},
      {"an example of many words", chat, "¶" + said(std::string(30'000, 'a') + " b"), "over_long"},
  };
}

}  // namespace canary::test
