// sqlite_place.hpp: what the tests of SqliteStore share: a file of their own, other programs, other processes.
#pragma once

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include "../contract/store_helpers.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "temporary_folder.hpp"

/// A file for a store, in a folder of its own.
struct SqliteFile {
  TemporaryFolder folder;
  std::string path = (folder.path() / "canary.db").string();

  [[nodiscard]] std::unique_ptr<canary::SqliteStore> open(canary::SqliteOptions options = {}) const {
    return std::make_unique<canary::SqliteStore>(path, options);
  }
  [[nodiscard]] std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator{folder.path()})
      found.insert(entry.path().filename().string());
    return found;
  }
};

/// Another program, which knows nothing of canary.
class PlainSql {
 public:
  explicit PlainSql(const std::string& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) throw std::runtime_error{"sqlite3_open"};
  }
  PlainSql(const PlainSql&) = delete;
  PlainSql& operator=(const PlainSql&) = delete;
  ~PlainSql() { sqlite3_close(db_); }

  [[nodiscard]] int run(const std::string& sql) { return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); }
  void must(const std::string& sql) {
    if (run(sql) != SQLITE_OK) throw std::runtime_error{sql + ": " + sqlite3_errmsg(db_)};
  }
  /// All rows, a line each.
  [[nodiscard]] std::string ask(const std::string& sql) {
    std::string lines;
    const auto add = [](void* into, int columns, char** values, char**) {
      auto& text = *static_cast<std::string*>(into);
      for (int i = 0; i != columns; ++i) (text += i == 0 ? "" : "|") += values[i] == nullptr ? "NULL" : values[i];
      text += '\n';
      return 0;
    };
    if (sqlite3_exec(db_, sql.c_str(), add, &lines, nullptr) != SQLITE_OK)
      throw std::runtime_error{sql + ": " + sqlite3_errmsg(db_)};
    if (!lines.empty()) lines.pop_back();
    return lines;
  }

 private:
  sqlite3* db_ = nullptr;
};

/// Runs `work` in a process of its own, without the end of its objects; its answer, or -1 if it did not end well.
/// No store may be open here: its locks do not cross a fork.
template <class Work>
int in_another_process(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    int answer = 99;
    try {
      answer = work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in another process: %s\n", error.what());
    }
    std::_Exit(answer);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/// As above, as a user whom modes of files bind: root is not bound by them.
template <class Work>
int as_a_common_user(Work work) {
  return in_another_process([&] {
    constexpr unsigned nobody = 65'534;
    if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) return 98;
    return work();
  });
}

[[nodiscard]] inline std::string file_bytes(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}
