// fleet_peer.hpp: what servers of a fleet under test share with whoever watches them: a file that all of them map.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace canary::test {

inline constexpr std::size_t fleet_servers = 2;

/// One server's figures; times in nanoseconds since 1970, 0 while there is none.
struct FleetServer {
  std::atomic<std::uint64_t> requests;
  std::atomic<std::uint64_t> tripped;          ///< decisions that said so
  std::atomic<std::uint64_t> candidate_after;  ///< the candidate's decisions from the first bad outcome on
  std::atomic<std::int64_t> first_bad_ns;
  std::atomic<std::int64_t> last_candidate_ns;
  std::atomic<std::int64_t> told_ns;  ///< first decision by the revision that took the candidate's share
};

struct Fleet {
  std::atomic<std::uint32_t> bad;  ///< the candidate has turned bad
  std::atomic<std::uint32_t> stop;
  FleetServer servers[fleet_servers];
};

[[nodiscard]] inline Fleet& map_fleet(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, sizeof(Fleet)) != 0) throw std::runtime_error{"cannot make " + path};
  void* at = ::mmap(nullptr, sizeof(Fleet), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (at == MAP_FAILED) throw std::runtime_error{"cannot map " + path};
  return *static_cast<Fleet*>(at);  // zero, as files begin
}

[[nodiscard]] inline std::int64_t wall_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace canary::test
