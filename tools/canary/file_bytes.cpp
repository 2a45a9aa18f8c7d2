#include "file_bytes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "canary/control/hmac.hpp"
#include "canary/control/sha256.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  std::string shown;
  append_visible(shown, path);
  throw Failure{Exit::invalid_input, shown + " cannot be read: " + why};
}

/// Piece by piece, until `take` says that it has enough.
void read_file(const std::string& path, const std::function<bool(std::string_view)>& take) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  };
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, std::strerror(errno));
  std::vector<char> buffer(std::size_t{1} << 18);
  while (true) {
    Interrupts::check();
    const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, std::strerror(errno));
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
  read_file(path, [&](std::string_view bytes) {
    text += bytes;
    return text.size() <= most_bytes;
  });
  if (text.size() > most_bytes) fail(path, "it has more than " + thousands(most_bytes) + " bytes");
  return text;
}

}  // namespace canary::cli
