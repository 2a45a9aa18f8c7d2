// staged_files.hpp: files that come to be all together, or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/sha256.hpp"

namespace canary::cli {

/// A file under a name of its own until it is put in its place; gone if that never happens.
class StagedFile {
 public:
  /// Errors  Failure for one that cannot be made.
  explicit StagedFile(std::filesystem::path path);
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  ~StagedFile();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  /// What is written next; call settle() in between.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  void settle() {
    if (buffer_.size() >= flush_bytes) flush();
  }
  /// Writes the rest, and waits until the disk has it; the hash of all, in hexadecimal digits.
  [[nodiscard]] std::string finish();
  /// Puts it in its place, over what stood there.
  void place();

 private:
  static constexpr std::size_t flush_bytes = std::size_t{1} << 18;

  void flush();
  [[noreturn]] void fail(int reason) const;

  std::filesystem::path path_;
  std::string staged_;  // its name until then; empty when it has its place
  int fd_ = -1;
  std::string buffer_;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

/// A folder that is made if it is missing, and taken away again if nothing came to be in it.
class StagedFolder {
 public:
  /// Errors  Failure for one that cannot be made.
  explicit StagedFolder(std::filesystem::path path);
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  ~StagedFolder();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // the innermost first
};

}  // namespace canary::cli
