// command_environment.hpp: what a program of one's own is started with: its arguments and its variables, as the system takes
// them. Layer adapters; POSIX; a part of command_alert.hpp and command_provider.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX wants it declared by who uses it

namespace canary::detail {

/// This process's variables as NAME=VALUE, but for those of these names: the ones with secrets.
/// Input   `own`: NAME=VALUE, in the place of those of the same name.
[[nodiscard]] inline std::vector<std::string> environment_without(const std::vector<std::string>& hidden,
                                                                  const std::vector<std::string>& own = {}) {
  const auto name_of = [](std::string_view variable) { return variable.substr(0, variable.find('=')); };
  std::vector<std::string> variables;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view variable{*at};
    const std::string_view name = name_of(variable);
    if (std::find(hidden.begin(), hidden.end(), name) == hidden.end() &&
        std::none_of(own.begin(), own.end(), [&](const std::string& each) { return name_of(each) == name; }))
      variables.emplace_back(variable);
  }
  variables.insert(variables.end(), own.begin(), own.end());
  return variables;
}

/// For exec and spawn: a pointer to each, and a null one. They are good as long as the texts are.
[[nodiscard]] inline std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace canary::detail
