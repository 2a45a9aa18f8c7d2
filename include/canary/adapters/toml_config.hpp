// toml_config.hpp: canary.toml -> Config, or every fault of the file at once. Layer adapters; needs toml++ and exceptions.
// toml++ stops at its first syntax fault, so the statement at fault is blanked out and the rest read again; what the file
// means is then checked against one table of keys per section. A value is never quoted in a message: it could be a secret
// that somebody put into the wrong place. Time and memory stay linear in the file, whatever is in it.
#pragma once

#if !__has_include(<toml++/toml.h>)
#error "toml_config.hpp needs toml++: install libtomlplusplus-dev and link canary::toml"
#endif

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "canary/adapters/toml_reader.hpp"
#include "canary/adapters/toml_sections.hpp"
#include "canary/control/config.hpp"
#include "canary/control/faults.hpp"

namespace canary {

/// Larger files are refused: a million tasks take half of this.
inline constexpr std::size_t max_config_bytes = std::size_t{64} << 20;

/// Reads a configuration from text.
/// Input   the text, the name that faults carry, and the folder that relative paths in it start from.
/// Errors  ConfigError with every fault, by line and column.
/// Cost    about 50 MB/s.
[[nodiscard]] inline Config parse_config(std::string_view text, std::string_view name,
                                         const std::filesystem::path& folder = {});

/// Reads a configuration file; relative paths in it start from its folder.
/// Errors  ConfigError, for a file that cannot be read too.
[[nodiscard]] inline Config load_config(const std::filesystem::path& path);
[[nodiscard]] inline Config load_config(const ConfigFile& file) { return load_config(file.path); }

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

[[noreturn]] inline void raise_unreadable(const std::string& name, std::string why, std::string hint = {}) {
  throw ConfigError{{ConfigFault{name, 0, 0, std::move(why), std::move(hint)}}};
}

/// The whole file; a pipe will do. The cap bounds a device without an end.
[[nodiscard]] inline std::string read_config_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) raise_unreadable(name, "is a directory", "name the file in it");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(name.c_str(), "rb"), std::fclose};
  if (!file) {
    const int reason = errno;
    raise_unreadable(name, std::string{"cannot be opened: "} + std::strerror(reason),
                     reason == ENOENT ? "`canary init` writes one, --config names another" : "");
  }
  std::string text;
  char block[1 << 16];
  while (const std::size_t got = std::fread(block, 1, sizeof block, file.get())) {
    text.append(block, got);
    if (text.size() > max_config_bytes) raise_unreadable(name, "is larger than 64 MiB");
  }
  if (std::ferror(file.get()) != 0) raise_unreadable(name, std::string{"cannot be read: "} + std::strerror(errno));
  return text;
}

}  // namespace detail

inline Config parse_config(std::string_view text, std::string_view name, const std::filesystem::path& folder) {
  detail::Faults faults{name};
  if (text.size() > max_config_bytes) {
    faults.add(0, 0, "is larger than 64 MiB");
    faults.raise();
  }
  const std::optional<toml::table> root = detail::TomlReader{text, faults}.read();
  if (!root) faults.raise();
  Config config = detail::ConfigReader{faults, folder}.read(*root);
  if (!faults.empty()) faults.raise();
  return config;
}

inline Config load_config(const std::filesystem::path& path) {
  const std::string text = detail::read_config_file(path);
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  return parse_config(text, path.string(), absolute.parent_path());
}

}  // namespace canary
