// host_name.hpp: this machine's name, for histories: who did it. Layer adapters; POSIX.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <string>

namespace canary {

/// The machine's name; `unknown` where it has none that can stand in a history.
[[nodiscard]] inline std::string host_name() {
  char name[256]{};
  if (::gethostname(name, sizeof name - 1) != 0) return "unknown";
  const std::string text = name;
  for (const char c : text)
    if (c <= ' ' || c > '~') return "unknown";
  return text.empty() ? "unknown" : text;
}

/// As the guard of this machine signs what it does.
[[nodiscard]] inline std::string guard_actor() { return "guard@" + host_name(); }

}  // namespace canary
