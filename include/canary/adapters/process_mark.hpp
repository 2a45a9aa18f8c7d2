// process_mark.hpp: a mark of this process that no other has, and whether the bearer of one is gone. Layer adapters; needs
// a POSIX system, and tells of the dead only where there is a /proc.
#pragma once

#if !__has_include(<unistd.h>)
#error "process_mark.hpp needs a POSIX system: gethostname, getpid"
#endif

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

namespace canary {

/// `HOST/PID/START`: a number that is given again comes with another start.
[[nodiscard]] std::string process_mark();

/// True if the process of this name ran on this machine and does not any more; false for all that cannot be known.
[[nodiscard]] bool process_is_gone(std::string_view name);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// When a process began, in ticks since the machine did; empty where that cannot be read.
[[nodiscard]] inline std::string process_start(long pid) {
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "re");
  if (file == nullptr) return {};
  std::array<char, 1'024> bytes;
  const std::size_t got = std::fread(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
  std::string_view line{bytes.data(), got};
  const std::size_t name_end = line.rfind(')');  // a program's name may have anything in it
  if (name_end == std::string_view::npos) return {};
  line.remove_prefix(name_end + 1);
  constexpr int fields_before = 20;  // the start is field 22, the name was the second
  for (int i = 0; i != fields_before; ++i) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return {};
    line.remove_prefix(space + 1);
  }
  return std::string{line.substr(0, line.find(' '))};
}

/// Which machine this is, and which of its containers: a number means another process in each.
[[nodiscard]] inline std::string machine_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return {};
  std::array<char, 64> space{};
  if (::readlink("/proc/self/ns/pid", space.data(), space.size() - 1) < 0) space[0] = '\0';
  std::string name = std::string{host.data()} + '-' + space.data();
  for (char& c : name)
    if (c == '/' || c <= ' ' || c > '~') c = '_';
  return name;
}

}  // namespace detail

inline std::string process_mark() {
  const long pid = ::getpid();
  return detail::machine_name() + '/' + std::to_string(pid) + '/' + detail::process_start(pid);
}

inline bool process_is_gone(std::string_view name) {
  const std::size_t first = name.find('/');
  const std::size_t second = first == std::string_view::npos ? first : name.find('/', first + 1);
  if (second == std::string_view::npos || name.substr(0, first) != detail::machine_name()) return false;
  const std::string_view digits = name.substr(first + 1, second - first - 1);
  const std::string_view start = name.substr(second + 1);
  long pid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  if (error != std::errc{} || end != digits.data() + digits.size() || pid <= 0 || start.empty()) return false;
  if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return true;
  const std::string now = detail::process_start(pid);
  return !now.empty() && now != start;
}

}  // namespace canary
