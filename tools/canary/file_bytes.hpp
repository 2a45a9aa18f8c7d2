// file_bytes.hpp: a file's hash, and a small file's text.
#pragma once

#include <cstddef>
#include <string>

namespace canary::cli {

/// SHA-256 in hex, in constant memory.
/// Errors  std::system_error for what cannot be read, and is no regular file.
[[nodiscard]] std::string hash_of_file(const std::string& path);

/// Errors  Failure invalid_input for what cannot be read, and for more than `most_bytes`.
[[nodiscard]] std::string text_of_file(const std::string& path, std::size_t most_bytes);

}  // namespace canary::cli
