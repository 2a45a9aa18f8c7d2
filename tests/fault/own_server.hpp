// own_server.hpp: a PostgreSQL server of the test's own, that it may stop, kill and start again.
#pragma once

#include <sys/wait.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/temporary_folder.hpp"
#include "test_paths.hpp"

namespace canary::test {

/// Skips the test where there is no server to be had.
class Server {
 public:
  Server() {
    if (control("start") == 77) SKIP("no PostgreSQL server on this machine");
    std::ifstream env{(folder_.path() / "pg" / "env").string()};
    for (std::string line; std::getline(env, line);)
      if (line.starts_with("CANARY_TEST_POSTGRES='")) url = line.substr(22, line.size() - 23);
    REQUIRE_FALSE(url.empty());
  }
  ~Server() { (void)control("stop"); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int control(const std::string& verb) const {
    const std::string line =
        CANARY_SOURCE_DIR "/scripts/postgres.sh " + verb + ' ' + (folder_.path() / "pg").string() + " >/dev/null";
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] std::string password() const {
    const std::size_t begin = url.find(':', url.find("//")) + 1;
    return url.substr(begin, url.find('@') - begin);
  }
  [[nodiscard]] std::string spool() const { return (folder_.path() / "spool").string(); }
  [[nodiscard]] std::string state_file() const { return (folder_.path() / "canary.state").string(); }

  std::string url;

 private:
  struct Folder : TemporaryFolder {
    // The server runs as somebody else where the test is root.
    Folder() { std::filesystem::permissions(path(), std::filesystem::perms{0755}); }
  };
  Folder folder_;
};

}  // namespace canary::test
