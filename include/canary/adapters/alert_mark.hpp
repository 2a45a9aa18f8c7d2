// alert_mark.hpp: an empty file that says, from one process to the next: trouble with the store was told, and its end was
// not. Layer adapters; POSIX.
//
// It lies beside the routing state, where the guard and the engines of one configuration find it. Whoever starts there and
// finds the store well tells the end in the place of the process that is no more. Best effort: where no file can be made
// the end of what a killed process told is told by nobody.
#pragma once

#if !__has_include(<fcntl.h>) || !__has_include(<unistd.h>)
#error "alert_mark.hpp needs a POSIX system: open, unlink"
#endif

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

namespace canary {

/// Whose view of a store it is: the same after a restart, another on another server and beside another state.
[[nodiscard]] inline std::string alert_place(std::string host, std::string_view state) {
  if (!state.empty()) (host += ':') += state;
  return host;
}

class AlertMark {
 public:
  /// Input   path of the routing state, `store.state`; empty: nothing is remembered.
  explicit AlertMark(std::string state) : path_{std::move(state)} {
    if (!path_.empty()) path_ += ".alerted";
  }

  [[nodiscard]] bool stands() const noexcept { return !path_.empty() && ::access(path_.c_str(), F_OK) == 0; }

  void set(bool stands) const noexcept {
    if (path_.empty()) return;
    if (!stands) return void(::unlink(path_.c_str()));
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file >= 0) ::close(file);
  }

 private:
  std::string path_;
};

}  // namespace canary
