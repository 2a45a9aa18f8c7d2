// toml_values.hpp: tables, texts, numbers and shares out of toml++ nodes, with a fault for each that is none. Layer
// adapters; a part of toml_config.hpp.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/toml_reader.hpp"
#include "canary/control/faults.hpp"
#include "canary/control/percent.hpp"

namespace canary::detail {

/// Takes values from nodes. What is wrong is added to the faults, and the target stays as it was.
class TomlValues {
 protected:
  using Node = toml::node;
  struct Key {
    std::string_view name;
    std::function<void(const Node&)> read;
  };

  TomlValues(Faults& faults, const std::filesystem::path& folder)
      : faults_{faults}, folder_{folder}, broken_{!faults.empty()} {}

  void section(const Node& node, const std::string& where, std::initializer_list<Key> keys);
  void each_table(const Node& node, const std::string& where,
                  const std::function<void(std::string_view, const toml::key&, const toml::table&)>& visit);
  void each_in_array(const Node& node, const std::string& where, const std::function<void(const toml::table&)>& visit);

  [[nodiscard]] bool text(const Node& node, std::string_view what, std::string& target);
  void path(const Node& node, std::string_view what, std::string& target);
  void variable(const Node& node, std::string& target);
  void flag(const Node& node, bool& target);
  void count(const Node& node, std::uint32_t least, std::uint32_t most, std::string_view unit, std::uint32_t& target);
  [[nodiscard]] bool number(const Node& node, double& target);
  [[nodiscard]] bool number(const Node& node, double least, double most, double& target);
  void open_odds(const Node& node, double& target);
  [[nodiscard]] bool share(const Node& node, std::uint32_t& target);
  template <class Enum>
  void choice(const Node& node, std::initializer_list<std::pair<std::string_view, Enum>> words, Enum& target);
  [[nodiscard]] std::string resolved(std::string_view path) const;
  void wrong_type(const Node& node, std::string_view expected);

  Faults& faults_;
  const std::filesystem::path& folder_;
  bool broken_;  // parts are blanked out: what is missing may be among them, so nothing is called missing
};

// ---------------------------------------------------------------------------------------------------------------------

/// Hands each key of a table to its reader. `keys` is the section's whole vocabulary.
inline void TomlValues::section(const Node& node, const std::string& where, std::initializer_list<Key> keys) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return wrong_type(node, "a table [" + where + "]");
  for (const auto& [key, value] : *table) {
    const std::string_view name = key.str();
    const auto known = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.name == name; });
    if (known != keys.end()) {
      known->read(value);
      continue;
    }
    if (broken_ && name.starts_with(TomlReader::unreadable)) continue;
    if (where.starts_with("task.") && value.is_table() && where.find('.', 5) == std::string::npos) {
      const std::string whole = where.substr(5) + '.' + shown(name, 64);
      faults_.add(key.source(), "unknown table " + in_quotes(name) + " in " + where,
                  "a name with a dot is quoted: [task.\"" + whole + "\"]");
      continue;
    }
    std::vector<std::string_view> valid;
    for (const Key& k : keys) valid.push_back(k.name);
    faults_.add(key.source(), "unknown key " + in_quotes(name) + " in " + where, suggestion(name, valid, "valid keys"));
  }
}

inline void TomlValues::each_table(
    const Node& node, const std::string& where,
    const std::function<void(std::string_view, const toml::key&, const toml::table&)>& visit) {
  const toml::table* tables = node.as_table();
  if (tables == nullptr) return wrong_type(node, "tables [" + where + ".NAME]");
  std::vector<std::pair<const toml::key*, const toml::table*>> in_file_order;
  for (const auto& [key, value] : *tables) {
    if (broken_ && key.str().starts_with(TomlReader::unreadable)) continue;
    if (const toml::table* table = value.as_table())
      in_file_order.emplace_back(&key, table);
    else
      faults_.add(key.source(), in_quotes(key.str()) + " is not a table", "write [" + where + ".NAME]");
  }
  const auto place = [](const auto& entry) {
    return std::pair{entry.first->source().begin.line, entry.first->source().begin.column};
  };
  std::sort(in_file_order.begin(), in_file_order.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  for (const auto& [key, table] : in_file_order) visit(key->str(), *key, *table);
}

inline void TomlValues::each_in_array(const Node& node, const std::string& where,
                                      const std::function<void(const toml::table&)>& visit) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return wrong_type(node, "an array of tables [[" + where + "]]");
  for (const Node& element : *array) {
    if (const toml::table* table = element.as_table())
      visit(*table);
    else
      wrong_type(element, "a table [[" + where + "]]");
  }
}

inline void TomlValues::wrong_type(const Node& node, std::string_view expected) {
  std::string_view found = "something else";
  switch (node.type()) {
    case toml::node_type::table:
      found = "a table";
      break;
    case toml::node_type::array:
      found = node.as_array()->empty() ? "an empty array" : "an array";
      break;
    case toml::node_type::string:
      found = "a string";
      break;
    case toml::node_type::integer:
      found = "an integer";
      break;
    case toml::node_type::floating_point:
      found = "a number";
      break;
    case toml::node_type::boolean:
      found = "a boolean";
      break;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      found = "a date or time";
      break;
    default:
      break;
  }
  faults_.add(node.source(), "expected " + std::string{expected} + ", found " + std::string{found});
}

/// A text of 1 to 65,535 bytes, the most that a decision can carry.
inline bool TomlValues::text(const Node& node, std::string_view what, std::string& target) {
  constexpr std::size_t most = 65'535;
  const auto* value = node.as_string();
  if (value == nullptr) return wrong_type(node, "a string, " + std::string{what}), false;
  const std::string& got = value->get();
  if (got.empty() || got.size() > most)
    return faults_.add(node.source(), got.empty() ? "an empty string" : "a string of more than 65535 bytes",
                       "expected " + std::string{what}),
           false;
  if (got.find('\0') != std::string::npos) return faults_.add(node.source(), "a string with a NUL character"), false;
  target = got;
  return true;
}

/// A path, from the file's folder; empty switches off what it is for.
inline void TomlValues::path(const Node& node, std::string_view what, std::string& target) {
  std::string path;
  if (const auto* value = node.as_string(); value != nullptr && value->get().empty())
    target.clear();
  else if (text(node, what, path))
    target = resolved(path);
}

/// The name of an environment variable. Anything else is refused unseen: it may be the secret itself.
inline void TomlValues::variable(const Node& node, std::string& target) {
  std::string name;
  if (!text(node, "an environment variable's name", name)) return;
  const auto legal = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.size() > 128 || (name[0] >= '0' && name[0] <= '9') || !std::all_of(name.begin(), name.end(), legal))
    return faults_.add(node.source(), "not the name of an environment variable",
                       "expected letters, digits and _; the value itself never stands in the file");
  target = std::move(name);
}

inline void TomlValues::flag(const Node& node, bool& target) {
  if (const auto* value = node.as_boolean())
    target = value->get();
  else
    wrong_type(node, "true or false");
}

inline void TomlValues::count(const Node& node, std::uint32_t least, std::uint32_t most, std::string_view unit,
                              std::uint32_t& target) {
  const auto* value = node.as_integer();
  const std::string expected = "a whole number of " + std::string{unit};
  if (value == nullptr) return wrong_type(node, expected);
  if (value->get() < least || value->get() > most)
    return faults_.add(node.source(), "out of range",
                       "expected " + expected + " from " + std::to_string(least) + " to " + std::to_string(most));
  target = static_cast<std::uint32_t>(value->get());
}

inline bool TomlValues::number(const Node& node, double& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number"), false;
  target = *value;
  return true;
}

inline bool TomlValues::number(const Node& node, double least, double most, double& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number"), false;
  if (!(*value >= least && *value <= most)) {  // NaN too
    faults_.add(node.source(), "out of range",
                "expected a number from " + std::to_string(static_cast<long long>(least)) + " to " +
                    std::to_string(static_cast<long long>(most)));
    return false;
  }
  target = *value;
  return true;
}

inline void TomlValues::open_odds(const Node& node, double& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number");
  if (!(*value > 0 && *value <= 0.5))  // NaN fails both
    return faults_.add(node.source(), "out of range", "expected a probability above 0, up to 0.5");
  target = *value;
}

/// Percent as an integer or a decimal, exactly.
inline bool TomlValues::share(const Node& node, std::uint32_t& target) {
  const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
  if (!value) return wrong_type(node, "a number of percent, e.g. 10 or 0.5"), false;
  const auto refuse = [&](std::string_view why, std::string_view hint) {
    faults_.add(node.source(), std::string{why}, std::string{hint});
    return false;
  };
  if (*value != *value) return refuse("not a number", "expected a percentage from 0 to 100");
  if (*value < 0) return refuse("a negative share", "expected a percentage from 0 to 100");
  if (*value > 100) return refuse("a share over 100 %", "expected a percentage from 0 to 100");
  const std::optional<std::uint32_t> ppm = ppm_of_percent(*value);
  if (!ppm) return refuse("a share finer than 0.0001 %", "shares are counted in parts per million");
  target = *ppm;
  return true;
}

template <class Enum>
void TomlValues::choice(const Node& node, std::initializer_list<std::pair<std::string_view, Enum>> words,
                        Enum& target) {
  std::vector<std::string_view> valid;
  for (const auto& word : words) valid.push_back(word.first);
  const auto* value = node.as_string();
  if (value == nullptr) return wrong_type(node, "one of " + listed(valid));
  for (const auto& [word, meaning] : words)
    if (value->get() == word) return void(target = meaning);
  faults_.add(node.source(), "not one of " + listed(valid), suggestion(value->get(), valid, "expected one of"));
}

inline std::string TomlValues::resolved(std::string_view path) const {
  const std::filesystem::path got{path};
  return (folder_.empty() || got.is_absolute() ? got : folder_ / got).lexically_normal().string();
}

}  // namespace canary::detail
