// http_parts.hpp: a multipart/form-data body whose files are read while they are sent. Part of http.hpp. Layer adapters;
// needs libcurl and a POSIX system. A file is never held whole: a body of any size takes libcurl's buffer and no more.
#pragma once

#if !__has_include(<curl/curl.h>)
#error "http_parts.hpp needs libcurl: install libcurl4-openssl-dev and link canary::http"
#endif

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

namespace canary {

/// One part of a multipart/form-data body: a value, or a piece of a file.
struct HttpPart {
  std::string name;
  std::string value = {};                   ///< sent where there is no path
  std::string path = {};                    ///< of a regular file
  std::string file_name = {};               ///< as the server is told it; empty: none
  std::string content_type = {};            ///< empty: none for a value, application/octet-stream for a file
  std::uint64_t offset = 0;                 ///< where the piece begins
  std::uint64_t bytes = ~std::uint64_t{0};  ///< of the piece, at most
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// A piece of an open file, as libcurl reads it. What goes wrong is kept, since nothing may be thrown through C.
class FilePiece {
 public:
  explicit FilePiece(const HttpPart& part)
      : path_{part.path}, begin_{part.offset}, file_{::open(part.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {
    struct stat status {};
    if (file_ < 0 || ::fstat(file_, &status) != 0) {
      error_ = errno;
    } else if (!S_ISREG(status.st_mode)) {
      irregular_ = true;  // a pipe would be waited for, and has no size
    } else if (static_cast<std::uint64_t>(status.st_size) < begin_) {
      shorter_ = true;
    } else {
      size_ = std::min(part.bytes, static_cast<std::uint64_t>(status.st_size) - begin_);
    }
  }
  FilePiece(const FilePiece&) = delete;
  FilePiece& operator=(const FilePiece&) = delete;
  ~FilePiece() {
    if (file_ >= 0) ::close(file_);
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Why it cannot be read; empty while it can.
  [[nodiscard]] std::string fault() const {
    if (irregular_) return path_ + ": not a regular file";
    if (shorter_) return path_ + ": the file has become shorter";
    return error_ == 0 ? std::string{} : path_ + ": " + std::system_category().message(error_);
  }

  static std::size_t read(char* to, std::size_t size, std::size_t count, void* from) noexcept {
    auto& piece = *static_cast<FilePiece*>(from);
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size * count, piece.size_ - piece.at_));
    if (wanted == 0) return 0;
    ssize_t got = -1;
    do got = ::pread(piece.file_, to, wanted, static_cast<off_t>(piece.begin_ + piece.at_));
    while (got < 0 && errno == EINTR);
    if (got > 0) {
      piece.at_ += static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
    piece.shorter_ = got == 0;
    piece.error_ = got == 0 ? 0 : errno;
    return CURL_READFUNC_ABORT;
  }

  /// libcurl goes back to the beginning where it has to send again.
  static int seek(void* from, curl_off_t to, int origin) noexcept {
    auto& piece = *static_cast<FilePiece*>(from);
    if (origin != SEEK_SET || to < 0 || static_cast<std::uint64_t>(to) > piece.size_) return CURL_SEEKFUNC_CANTSEEK;
    piece.at_ = static_cast<std::uint64_t>(to);
    return CURL_SEEKFUNC_OK;
  }

 private:
  std::string path_;
  std::uint64_t begin_;
  std::uint64_t size_ = 0;
  std::uint64_t at_ = 0;
  int error_ = 0;
  bool shorter_ = false;
  bool irregular_ = false;
  int file_;
};

/// The parts of a request, for as long as it is under way.
class MultipartBody {
 public:
  /// Opens the files; fault() says whether they can be read.
  /// Errors  std::bad_alloc.
  MultipartBody(CURL* easy, const std::vector<HttpPart>& parts) : mime_{curl_mime_init(easy)} {
    const auto check = [](CURLcode code) {
      if (code != CURLE_OK) throw std::bad_alloc{};  // there is no other cause
    };
    if (!mime_) throw std::bad_alloc{};
    for (const HttpPart& each : parts) {
      curl_mimepart* part = curl_mime_addpart(mime_.get());
      if (part == nullptr) throw std::bad_alloc{};
      check(curl_mime_name(part, each.name.c_str()));
      if (!each.file_name.empty()) check(curl_mime_filename(part, each.file_name.c_str()));
      if (!each.content_type.empty()) check(curl_mime_type(part, each.content_type.c_str()));
      if (each.path.empty()) {
        check(curl_mime_data(part, each.value.data(), each.value.size()));
        continue;
      }
      FilePiece& piece = pieces_.emplace_back(each);
      if (each.content_type.empty()) check(curl_mime_type(part, "application/octet-stream"));
      check(curl_mime_data_cb(part, static_cast<curl_off_t>(piece.size()), &FilePiece::read, &FilePiece::seek, nullptr,
                              &piece));
    }
  }

  [[nodiscard]] curl_mime* get() const noexcept { return mime_.get(); }

  /// Of the first file that cannot be read; empty while all can.
  [[nodiscard]] std::string fault() const {
    for (const FilePiece& each : pieces_)
      if (std::string fault = each.fault(); !fault.empty()) return fault;
    return {};
  }

 private:
  struct Free {
    void operator()(curl_mime* mime) const noexcept { curl_mime_free(mime); }
  };
  std::deque<FilePiece> pieces_;  // libcurl points to each
  std::unique_ptr<curl_mime, Free> mime_;
};

}  // namespace detail
}  // namespace canary
