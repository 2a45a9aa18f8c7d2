#include "staged_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "failure.hpp"
#include "output.hpp"

namespace canary::cli {

StagedFile::StagedFile(std::filesystem::path path)
    : path_{std::move(path)}, staged_{path_.parent_path() / ("." + path_.filename().string() + ".XXXXXX")} {
  fd_ = ::mkostemp(staged_.data(), O_CLOEXEC);
  if (fd_ < 0) {
    const int reason = errno;
    staged_.clear();
    fail(reason);
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(fd_, 0666 & ~mask);  // as any other file; mkostemp() keeps it to its owner
}

StagedFile::~StagedFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!staged_.empty()) ::unlink(staged_.c_str());
}

void StagedFile::fail(int reason) const {
  std::string shown;
  append_visible(shown, path_.string());
  throw Failure{Exit::failed, shown + ": cannot be written: " + std::strerror(reason),
                reason == ENOSPC || reason == EDQUOT ? "make room, or name another folder" : ""};
}

void StagedFile::flush() {
  std::string_view left = buffer_;
  hash_.add(left);
  bytes_ += left.size();
  while (!left.empty()) {
    const ssize_t written = ::write(fd_, left.data(), left.size());
    if (written >= 0)
      left.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      fail(errno);
  }
  buffer_.clear();
}

std::string StagedFile::finish() {
  flush();
  if (::fsync(fd_) != 0) fail(errno);
  if (::close(std::exchange(fd_, -1)) != 0) fail(errno);
  return hash_.finish();
}

void StagedFile::place() {
  if (::rename(staged_.c_str(), path_.c_str()) != 0) fail(errno);
  staged_.clear();
}

StagedFolder::StagedFolder(std::filesystem::path path) : path_{std::move(path)} {
  std::error_code error;
  for (std::filesystem::path at = path_; !at.empty() && !std::filesystem::exists(at, error); at = at.parent_path())
    made_.push_back(at);
  std::filesystem::create_directories(path_, error);
  if (!error && !std::filesystem::is_directory(path_)) error = std::make_error_code(std::errc::not_a_directory);
  if (!error) return;
  std::string shown;
  append_visible(shown, path_.string());
  throw Failure{Exit::failed, shown + ": " + error.message()};
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;  // it stays where something is in it
  for (const std::filesystem::path& folder : made_)
    if (!std::filesystem::remove(folder, ignored)) break;
}

}  // namespace canary::cli
