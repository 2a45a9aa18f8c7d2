#include "file_bytes.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string_view>
#include <system_error>
#include <vector>

#include "canary/control/hmac.hpp"
#include "canary/control/sha256.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  std::string shown;
  append_visible(shown, path);
  throw std::system_error{error, std::generic_category(), shown + " cannot be read"};
}

/// Piece by piece, until `take` says that it has enough.
/// Errors  std::system_error.
void read_file(const std::string& path, const std::function<bool(std::string_view)>& take) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  };
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat found {};
  if (file.fd < 0 || ::fstat(file.fd, &found) != 0) fail(path, errno);
  if (S_ISDIR(found.st_mode)) fail(path, EISDIR);
  if (!S_ISREG(found.st_mode)) fail(path, EINVAL);  // a pipe would be waited for
  std::vector<char> buffer(std::size_t{1} << 18);
  while (true) {
    Interrupts::check();
    const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, errno);
    if (got == 0 || !take({buffer.data(), static_cast<std::size_t>(got)})) return;
  }
}

}  // namespace

std::string hash_of_file(const std::string& path) {
  Sha256 hash;
  read_file(path, [&](std::string_view bytes) {
    hash.add(bytes);
    return true;
  });
  return hex_text(hash.digest());
}

std::string text_of_file(const std::string& path, std::size_t most_bytes) {
  std::string text;
  try {
    read_file(path, [&](std::string_view bytes) {
      text += bytes;
      return text.size() <= most_bytes;
    });
  } catch (const std::system_error& error) {
    throw Failure{Exit::invalid_input, error.what()};
  }
  std::string shown;
  append_visible(shown, path);
  if (text.size() > most_bytes)
    throw Failure{Exit::invalid_input, shown + " cannot be read: it has more than " + thousands(most_bytes) + " bytes"};
  return text;
}

}  // namespace canary::cli
