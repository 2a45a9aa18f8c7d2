// The one translation unit that compiles the SQLite adapter.
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_store.hpp"
#include "failure.hpp"
#include "store_adapters.hpp"
#include "stores.hpp"

namespace canary::cli {
namespace {

struct Close {
  void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
};
using Database = std::unique_ptr<sqlite3, Close>;

/// A folder for one file, gone at the end with whatever is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "canary-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error{errno, std::generic_category(), name};
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

[[nodiscard]] Database open_database(const std::filesystem::path& file, int flags, int& code) {
  sqlite3* opened = nullptr;
  code = sqlite3_open_v2(file.c_str(), &opened, flags, nullptr);
  return Database{opened};
}

/// Without a log beside it the file is all there is, and is read as one that does not change: not even a lock is left.
[[nodiscard]] Database open_unchanged(const std::filesystem::path& file, int& code) {
  struct stat log {};
  if (::stat((file.string() + "-wal").c_str(), &log) == 0 && log.st_size != 0)
    return open_database(file, SQLITE_OPEN_READONLY, code);
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(file).string()) {
    constexpr char hex[] = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    ((uri += '%') += hex[byte >> 4]) += hex[byte & 15];
  }
  return open_database(uri + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, code);
}

/// Page by page, so that an older schema can be brought forward in the copy.
void copy_database(const std::filesystem::path& from, const std::filesystem::path& to) {
  const auto refuse = [&from](const char* words) {
    throw Failure{Exit::invalid_input, from.string() + ": cannot be read as a backup: " + words,
                  "canary store backup FILE writes one"};
  };
  int code = SQLITE_OK;
  const Database source = open_unchanged(from, code);
  if (code != SQLITE_OK) refuse(sqlite3_errstr(code));
  const Database copy = open_database(to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, code);
  if (code != SQLITE_OK) refuse(sqlite3_errstr(code));
  sqlite3_backup* backup = sqlite3_backup_init(copy.get(), "main", source.get(), "main");
  if (backup == nullptr) refuse(sqlite3_errmsg(copy.get()));
  sqlite3_backup_step(backup, -1);
  code = sqlite3_backup_finish(backup);
  if (code != SQLITE_OK) refuse(sqlite3_errstr(code));
}

/// The same error, about the file that people know.
[[nodiscard]] StoreError about(const std::filesystem::path& file, const std::filesystem::path& copy,
                               const StoreError& error) {
  const auto renamed = [&](std::string text) {
    for (std::size_t at = 0; (at = text.find(copy.string(), at)) != std::string::npos; at += file.string().size())
      text.replace(at, copy.string().size(), file.string());
    return text;
  };
  return {error.code, renamed(error.what()), renamed(error.hint)};
}

}  // namespace

std::unique_ptr<Store> open_sqlite(std::string_view url, std::uint32_t timeout_ms, bool create,
                                   const std::string& missing_hint) {
  SqliteOptions options;
  if (!missing_hint.empty()) options.missing_hint = missing_hint;
  options.timeout_ms = timeout_ms;
  options.create = create;
  return std::make_unique<SqliteStore>(url, options);
}

std::vector<TaskContents> read_backup(const std::filesystem::path& file, std::uint32_t timeout_ms) {
  std::error_code error;
  if (!std::filesystem::exists(file, error))
    throw Failure{Exit::invalid_input, file.string() + ": no such file", "canary store backup FILE writes one"};
  const TemporaryFolder folder;
  const std::filesystem::path copy = folder.path() / "copy";
  copy_database(file, copy);
  SqliteOptions options;
  options.timeout_ms = timeout_ms;
  options.create = false;
  std::vector<TaskContents> tasks;
  try {
    SqliteStore{"sqlite:" + copy.string(), options}.read_all(
        [&tasks](TaskContents&& task) { tasks.push_back(std::move(task)); });
  } catch (const StoreError& refusal) {
    throw about(file, copy, refusal);
  }
  return tasks;
}

void write_backup(const std::filesystem::path& file, std::vector<TaskContents> tasks, std::uint32_t timeout_ms) {
  SqliteOptions options;
  options.timeout_ms = timeout_ms;
  auto next = tasks.begin();
  SqliteStore{"sqlite:" + file.string(), options}.replace_all([&]() -> std::optional<TaskContents> {
    if (next == tasks.end()) return {};
    return std::move(*next++);
  });
  // One file that can be read where nothing can be written.
  int code = SQLITE_OK;
  const Database db = open_database(file, SQLITE_OPEN_READWRITE, code);
  if (code == SQLITE_OK) code = sqlite3_exec(db.get(), "PRAGMA journal_mode = DELETE", nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) throw StoreError{StoreErrc::full, file.string() + ": " + sqlite3_errstr(code)};
}

}  // namespace canary::cli
