// json_dataset_file.hpp: a file read once, from its beginning to its end. Layer adapters; a part of json_dataset.hpp.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/dataset_pass.hpp"

namespace canary::detail {

/// A file, or a pipe, on its way into a DatasetPass. What cannot be read is a finding.
class DatasetFile {
 public:
  DatasetFile(DatasetPass& pass, const std::string& path, bool validation) : pass_{pass} {
    pass_.begin(path, validation);
    open(path);
  }
  DatasetFile(const DatasetFile&) = delete;
  DatasetFile& operator=(const DatasetFile&) = delete;
  ~DatasetFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  /// Reads the next piece; false at the end.
  bool read(std::vector<char>& block) {
    if (fd_ < 0) return false;
    ssize_t got = 0;
    do got = ::read(fd_, block.data(), block.size());
    while (got < 0 && errno == EINTR);
    if (got > 0) {
      pass_.feed({block.data(), static_cast<std::size_t>(got)});
      return true;
    }
    if (got < 0)
      pass_.fail(FindingCode::unreadable, std::string{"the file cannot be read: "} + std::strerror(errno));
    else
      pass_.end();
    return false;
  }

  /// Bytes of a file; 0 for a pipe, or what cannot be read.
  [[nodiscard]] static std::uint64_t size(const std::string& path) noexcept {
    struct stat about {};
    return ::stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) ? static_cast<std::uint64_t>(about.st_size) : 0;
  }

 private:
  void open(const std::string& path) {
    struct stat about {};
    // Looked at first: to open some devices does something.
    if (::stat(path.c_str(), &about) != 0) return refuse_to_open();
    if (S_ISDIR(about.st_mode)) return pass_.fail(FindingCode::not_a_file, "this is a folder; name a file in it");
    if (!S_ISREG(about.st_mode) && !S_ISFIFO(about.st_mode))
      return pass_.fail(FindingCode::not_a_file, "this is no file, but a device or the like; name a file");
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return refuse_to_open();
  }
  void refuse_to_open() {
    const int why = errno;
    pass_.fail(FindingCode::unreadable, std::string{"the file cannot be opened: "} + std::strerror(why) +
                                            (why == ENOENT   ? "; look at its name"
                                             : why == EACCES ? "; you may not read it: chmod gives the right"
                                                             : ""));
  }

  DatasetPass& pass_;
  int fd_ = -1;
};

}  // namespace canary::detail
