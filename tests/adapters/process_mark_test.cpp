#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "canary/adapters/process_mark.hpp"

namespace process_mark_test {

TEST_CASE("process mark: a process that lives is not gone, and is once it has ended", "[adapters][process]") {
  CHECK_FALSE(canary::process_is_gone(canary::process_mark()));
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string mark = canary::process_mark();
    const bool written = ::write(ends[1], mark.data(), mark.size()) == static_cast<ssize_t>(mark.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::array<char, 512> bytes{};
  const ssize_t got = ::read(ends[0], bytes.data(), bytes.size());
  ::close(ends[0]);
  REQUIRE(got > 0);
  const std::string mark{bytes.data(), static_cast<std::size_t>(got)};
  CHECK(mark != canary::process_mark());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(canary::process_is_gone(mark));
}

TEST_CASE("process mark: a number that was given again is another process", "[adapters][process]") {
  std::string mark = canary::process_mark();
  CHECK(canary::process_is_gone(mark.substr(0, mark.rfind('/')) + "/1"));
}

TEST_CASE("process mark: of what is not known to be gone it is not said", "[adapters][process]") {
  for (const char* mark :
       {"", "/", "//", "elsewhere/1/2", "a b c", "host/x/1", "host/-1/1", "host/99999999999999999999/1"})
    CHECK_FALSE(canary::process_is_gone(mark));
  const std::string mark = canary::process_mark();
  CHECK_FALSE(canary::process_is_gone(mark.substr(0, mark.find('/')) + "/4194304000/"));
}

}  // namespace process_mark_test
