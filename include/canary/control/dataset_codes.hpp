// dataset_codes.hpp: every kind of finding in training data, its word and how grave it is. Layer control.
// The words are a promise to scripts: they are added to, never changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "canary/control/dataset.hpp"

namespace canary {

enum class FindingCode : std::uint8_t {
  // of a file
  unreadable,
  not_a_file,
  empty_file,
  blank_file,
  utf16,
  byte_order_mark,
  crlf,
  blank_line,
  line_too_long,
  json_array,
  spread_over_lines,
  file_too_large,
  too_few_examples,
  too_many_examples,
  validation_missing,
  over_budget,
  method_not_offered,
  // of a line that is no JSON
  json_truncated,
  invalid_utf8,
  nul_byte,
  control_character,
  bad_escape,
  lone_surrogate,
  unescaped_quote,
  trailing_comma,
  missing_comma,
  missing_colon,
  missing_value,
  unquoted_key,
  single_quotes,
  typographic_quotes,
  python_literal,
  not_a_number,
  bad_literal,
  bad_number,
  number_too_large,
  mismatched_bracket,
  comment,
  extra_data,
  too_deep,
  json_syntax,
  // of an example's shape
  not_an_object,
  unknown_format,
  mixed_format,
  duplicate_key,
  unknown_key,
  missing_key,
  renamed_key,
  deprecated_key,
  unexpected_key,
  wrong_type,
  bad_value,
  // of a conversation
  no_messages,
  unknown_role,
  bad_name,
  empty_content,
  null_content,
  unknown_part_type,
  part_not_allowed,
  bad_image_url,
  bad_weight,
  no_tool_calls,
  duplicate_call_id,
  tool_without_call,
  unanswered_tool_call,
  arguments_not_json,
  too_many_tools,
  undeclared_tool,
  system_not_first,
  no_assistant_message,
  no_user_message,
  last_not_assistant,
  last_not_user,
  all_weights_zero,
  output_count,
  output_not_assistant,
  same_outputs,
  empty_prompt,
  empty_completion,
  // of the data
  duplicate,
  overlap,
  over_long,
  secret,
  email_address,
};

inline constexpr std::size_t finding_code_count = static_cast<std::size_t>(FindingCode::email_address) + 1;

namespace detail {

struct FindingKind {
  FindingCode code;
  std::string_view word;
  Severity severity = Severity::error;
};

inline constexpr std::array<FindingKind, finding_code_count> finding_kinds{{
    {FindingCode::unreadable, "unreadable"},
    {FindingCode::not_a_file, "not_a_file"},
    {FindingCode::empty_file, "empty_file"},
    {FindingCode::blank_file, "blank_file"},
    {FindingCode::utf16, "utf16"},
    {FindingCode::byte_order_mark, "byte_order_mark", Severity::warning},
    {FindingCode::crlf, "crlf", Severity::warning},
    {FindingCode::blank_line, "blank_line", Severity::warning},
    {FindingCode::line_too_long, "line_too_long"},
    {FindingCode::json_array, "json_array"},
    {FindingCode::spread_over_lines, "spread_over_lines"},
    {FindingCode::file_too_large, "file_too_large"},
    {FindingCode::too_few_examples, "too_few_examples"},
    {FindingCode::too_many_examples, "too_many_examples"},
    {FindingCode::validation_missing, "validation_missing"},
    {FindingCode::over_budget, "over_budget"},
    {FindingCode::method_not_offered, "method_not_offered"},
    {FindingCode::json_truncated, "json_truncated"},
    {FindingCode::invalid_utf8, "invalid_utf8"},
    {FindingCode::nul_byte, "nul_byte"},
    {FindingCode::control_character, "control_character"},
    {FindingCode::bad_escape, "bad_escape"},
    {FindingCode::lone_surrogate, "lone_surrogate"},
    {FindingCode::unescaped_quote, "unescaped_quote"},
    {FindingCode::trailing_comma, "trailing_comma"},
    {FindingCode::missing_comma, "missing_comma"},
    {FindingCode::missing_colon, "missing_colon"},
    {FindingCode::missing_value, "missing_value"},
    {FindingCode::unquoted_key, "unquoted_key"},
    {FindingCode::single_quotes, "single_quotes"},
    {FindingCode::typographic_quotes, "typographic_quotes"},
    {FindingCode::python_literal, "python_literal"},
    {FindingCode::not_a_number, "not_a_number"},
    {FindingCode::bad_literal, "bad_literal"},
    {FindingCode::bad_number, "bad_number"},
    {FindingCode::number_too_large, "number_too_large"},
    {FindingCode::mismatched_bracket, "mismatched_bracket"},
    {FindingCode::comment, "comment"},
    {FindingCode::extra_data, "extra_data"},
    {FindingCode::too_deep, "too_deep"},
    {FindingCode::json_syntax, "json_syntax"},
    {FindingCode::not_an_object, "not_an_object"},
    {FindingCode::unknown_format, "unknown_format"},
    {FindingCode::mixed_format, "mixed_format"},
    {FindingCode::duplicate_key, "duplicate_key"},
    {FindingCode::unknown_key, "unknown_key"},
    {FindingCode::missing_key, "missing_key"},
    {FindingCode::renamed_key, "renamed_key"},
    {FindingCode::deprecated_key, "deprecated_key", Severity::warning},
    {FindingCode::unexpected_key, "unexpected_key"},
    {FindingCode::wrong_type, "wrong_type"},
    {FindingCode::bad_value, "bad_value"},
    {FindingCode::no_messages, "no_messages"},
    {FindingCode::unknown_role, "unknown_role"},
    {FindingCode::bad_name, "bad_name"},
    {FindingCode::empty_content, "empty_content", Severity::warning},
    {FindingCode::null_content, "null_content"},
    {FindingCode::unknown_part_type, "unknown_part_type"},
    {FindingCode::part_not_allowed, "part_not_allowed"},
    {FindingCode::bad_image_url, "bad_image_url"},
    {FindingCode::bad_weight, "bad_weight"},
    {FindingCode::no_tool_calls, "no_tool_calls"},
    {FindingCode::duplicate_call_id, "duplicate_call_id"},
    {FindingCode::tool_without_call, "tool_without_call"},
    {FindingCode::unanswered_tool_call, "unanswered_tool_call"},
    {FindingCode::arguments_not_json, "arguments_not_json"},
    {FindingCode::too_many_tools, "too_many_tools"},
    {FindingCode::undeclared_tool, "undeclared_tool", Severity::warning},
    {FindingCode::system_not_first, "system_not_first", Severity::warning},
    {FindingCode::no_assistant_message, "no_assistant_message"},
    {FindingCode::no_user_message, "no_user_message", Severity::warning},
    {FindingCode::last_not_assistant, "last_not_assistant", Severity::warning},
    {FindingCode::last_not_user, "last_not_user"},
    {FindingCode::all_weights_zero, "all_weights_zero"},
    {FindingCode::output_count, "output_count"},
    {FindingCode::output_not_assistant, "output_not_assistant"},
    {FindingCode::same_outputs, "same_outputs", Severity::warning},
    {FindingCode::empty_prompt, "empty_prompt", Severity::warning},
    {FindingCode::empty_completion, "empty_completion"},
    {FindingCode::duplicate, "duplicate", Severity::warning},
    {FindingCode::overlap, "overlap"},
    {FindingCode::over_long, "over_long", Severity::warning},
    {FindingCode::secret, "secret", Severity::warning},
    {FindingCode::email_address, "email_address", Severity::warning},
}};

[[nodiscard]] consteval bool in_order() {
  for (std::size_t i = 0; i != finding_kinds.size(); ++i)
    if (static_cast<std::size_t>(finding_kinds[i].code) != i) return false;
  return true;
}
static_assert(in_order(), "a code is looked up by its number");

}  // namespace detail

[[nodiscard]] constexpr std::string_view to_string(FindingCode code) noexcept {
  return detail::finding_kinds[static_cast<std::size_t>(code)].word;
}

[[nodiscard]] constexpr Severity severity_of(FindingCode code) noexcept {
  return detail::finding_kinds[static_cast<std::size_t>(code)].severity;
}

/// How grave it is where the data is trained on.
[[nodiscard]] constexpr Severity severity_of(FindingCode code, const DatasetLimits& limits) noexcept {
  const bool of_shape = code >= FindingCode::not_an_object && code <= FindingCode::empty_completion;
  const bool of_need = code == FindingCode::too_few_examples || code == FindingCode::validation_missing;
  if ((of_shape || of_need) && !limits.strict) return Severity::warning;
  if (code == FindingCode::file_too_large && !limits.bounded) return Severity::warning;
  return severity_of(code);
}

}  // namespace canary
