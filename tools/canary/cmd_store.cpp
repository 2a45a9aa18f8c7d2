// canary store migrate|backup|restore: the database itself. A backup is an SQLite file, whatever the store is.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "stores.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

// --- migrate ---------------------------------------------------------------------------------------------------------

void migrate(Context& context) {
  const Workspace workspace{context};
  const std::uint32_t before = workspace.store->migrate();
  const StoreInfo info = workspace.store->info();
  if (context.json)
    return write_document(context.out, json::object{{"schema_before", before}, {"schema", info.schema}});
  const std::string now = std::to_string(info.schema);
  std::string line;
  append_visible(line, info.place);
  context.out.write(line + (before == info.schema
                                ? " has schema " + now + " already\n"
                                : ": schema " + std::to_string(before) + " brought to " + now + '\n'));
}

// --- what backup and restore count -----------------------------------------------------------------------------------

struct Counts {
  std::size_t tasks = 0;
  std::size_t versions = 0;
  std::size_t history = 0;
  std::size_t jobs = 0;
};

Counts count(const std::vector<TaskContents>& tasks) {
  Counts counts;
  for (const TaskContents& each : tasks) {
    counts.tasks += each.task.revision == 0 ? 0 : 1;  // jobs may come before their task's first version
    counts.versions += each.task.versions.size();
    counts.history += each.history.size();
    counts.jobs += each.jobs.size();
  }
  return counts;
}

std::string some(std::size_t n, const char* one) { return thousands(n) + ' ' + one + (n == 1 ? "" : "s"); }

std::string counts_text(const Counts& counts) {
  return some(counts.tasks, "task") + ", " + some(counts.versions, "version") + ", " + thousands(counts.history) +
         (counts.history == 1 ? " row of history" : " rows of history") +
         (counts.jobs == 0 ? std::string{} : ", " + some(counts.jobs, "job"));
}

/// What a restore would let go of, in words: nobody's jobs go with tasks alone in mind.
std::string held_text(const Counts& counts) {
  if (counts.jobs == 0) return some(counts.tasks, "task");
  return (counts.tasks == 0 ? std::string{} : some(counts.tasks, "task") + " and ") + some(counts.jobs, "job");
}

json::object counts_document(const Counts& counts, const std::string& token) {
  return {{"tasks", counts.tasks},
          {"versions", counts.versions},
          {"history", counts.history},
          {"jobs", counts.jobs},
          {"epoch_token", json_text(token)}};
}

/// True if the store is an SQLite database in this very file.
bool is_the_store(const Workspace& workspace, const fs::path& file) {
  constexpr std::string_view scheme = "sqlite:";
  const std::string& url = workspace.config.store.url;
  std::error_code ignored;
  return url.starts_with(scheme) && fs::equivalent(url.substr(scheme.size()), file, ignored);
}

// --- backup ----------------------------------------------------------------------------------------------------------

struct BackupOptions {
  std::string file;
  bool force = false;
};

[[noreturn]] void fail(const fs::path& file, int reason) {
  throw Failure{Exit::failed, file.string() + ": cannot be written: " + std::strerror(reason)};
}

[[noreturn]] void refuse_existing(const fs::path& file) {
  throw Failure{Exit::conflict, file.string() + " is there already", "move it away, or --force replaces it"};
}

/// The folder must be there, and take a file; said before anything is read.
void check_folder(const fs::path& file) {
  const fs::path folder = fs::absolute(file).parent_path();
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw Failure{Exit::invalid_input,
                  folder.string() + (fs::exists(folder, error) ? " is no folder" : ": no such folder"),
                  "make it, or name a file elsewhere"};
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw Failure{Exit::failed, folder.string() + ": no file can be made in it: " + std::strerror(errno)};
}

/// A file beside the one that is to come; gone unless it took that one's name.
class Beside {
 public:
  explicit Beside(fs::path target) : target_{std::move(target)} {
    path_ = target_.string() + ".part-" + std::to_string(::getpid());
    remove();
  }
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;
  ~Beside() { remove(); }

  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

  /// Onto the disk, and to the name; a crash leaves the whole file or none.
  void take_name(bool replace) const {
    synchronise(path_, O_RDONLY);
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), replace ? 0 : RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) refuse_existing(target_);
      const bool unknown = errno == EINVAL || errno == ENOSYS;  // a file system that cannot refuse by itself
      if (!unknown || ::rename(path_.c_str(), target_.c_str()) != 0) fail(target_, errno);
    }
    synchronise(fs::absolute(target_).parent_path(), O_RDONLY | O_DIRECTORY);
  }

 private:
  void remove() const noexcept {
    for (const char* end : {"", "-journal", "-wal", "-shm"}) ::unlink((path_.string() + end).c_str());
  }

  void synchronise(const fs::path& what, int flags) const {
    const int fd = ::open(what.c_str(), flags | O_CLOEXEC);
    if (fd < 0) fail(target_, errno);
    const int reason = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (reason != 0 && reason != EINVAL) fail(target_, reason);  // EINVAL: a folder that knows no fsync
  }

  fs::path target_;
  fs::path path_;
};

void check_target(const Workspace& workspace, const fs::path& file, bool force) {
  std::error_code error;
  if (is_the_store(workspace, file))
    throw Failure{Exit::invalid_input, file.string() + " is the store itself", "give the backup another name"};
  if (fs::is_directory(file, error))
    throw Failure{Exit::invalid_input, file.string() + " is a directory", "name a file"};
  if (!force && fs::exists(fs::symlink_status(file, error))) refuse_existing(file);
  check_folder(file);
  // An old database's journal would be taken for the new file's.
  for (const char* end : {"-wal", "-journal"})
    if (fs::exists(file.string() + end, error))
      throw Failure{Exit::conflict, file.string() + end + " is there: a database of that name was not closed",
                    "give the backup another name"};
}

/// A refusal speaks of the file that people know; it is none of the store's.
void write_beside(const Beside& beside, const fs::path& file, std::vector<TaskContents> tasks,
                  std::uint32_t timeout_ms) {
  try {
    write_backup(beside.path(), std::move(tasks), timeout_ms);
  } catch (const StoreError& error) {
    std::string message = error.what();
    const std::string name = beside.path().string();
    for (std::size_t at = 0; (at = message.find(name, at)) != std::string::npos; at += file.string().size())
      message.replace(at, name.size(), file.string());
    throw Failure{Exit::failed, message, "the backup was not written"};
  }
}

void backup(Context& context, const BackupOptions& options) {
  if (options.file.empty()) throw Failure{Exit::usage, "no file named", "canary store backup nightly.db, for one"};
  const Workspace workspace{context,
                            Missing::refuse};  // an empty backup of a store that is lost would be the end of it
  const fs::path file{options.file};
  check_target(workspace, file, options.force);
  const StoreInfo info = workspace.store->info();
  std::vector<TaskContents> tasks;
  workspace.store->read_all([&tasks](TaskContents&& task) { tasks.push_back(std::move(task)); });
  const Counts counts = count(tasks);
  const Beside beside{file};
  write_beside(beside, file, std::move(tasks), workspace.config.store.timeout_ms);
  beside.take_name(options.force);
  if (context.json) {
    json::object document = counts_document(counts, info.token);
    document["path"] = json_text(options.file);
    return write_document(context.out, document);
  }
  std::string line;
  append_visible(line, options.file);
  context.out.write(line + ": " + counts_text(counts) + "; interactions stay in the store alone\n");
}

// --- restore ---------------------------------------------------------------------------------------------------------

struct RestoreOptions {
  std::string file;
  bool replace = false;
  bool dry_run = false;
};

std::size_t count_jobs(Store& store) {
  try {
    return store.jobs({}).size();
  } catch (const StoreError& error) {
    if (error.code == StoreErrc::schema_older) return 0;  // it keeps none
    if (error.code == StoreErrc::corrupt) return 1;       // at least; a restore is what mends it
    throw;
  }
}

/// Tasks and jobs that the store has. One that is destroyed cannot be written over: SQLite would have to trust it.
Counts count_held(const Workspace& workspace) {
  try {
    return {.tasks = workspace.store->tasks().size(), .jobs = count_jobs(*workspace.store)};
  } catch (const StoreError& error) {
    constexpr std::string_view scheme = "sqlite:";
    const std::string& url = workspace.config.store.url;
    if (error.code != StoreErrc::corrupt || !url.starts_with(scheme)) throw;
    const std::string file = url.substr(scheme.size());
    throw StoreError{error.code, error.what(),
                     "move " + file + ", " + file + "-wal and " + file + "-shm away, then restore again"};
  }
}

void restore(Context& context, const RestoreOptions& options) {
  if (options.file.empty()) throw Failure{Exit::usage, "no file named", "canary store restore nightly.db, for one"};
  const Workspace workspace{context, Missing::make};
  if (is_the_store(workspace, options.file))
    throw Failure{Exit::invalid_input, options.file + " is the store itself", "name a backup of it"};
  std::vector<TaskContents> tasks = read_backup(options.file, workspace.config.store.timeout_ms);
  const Counts counts = count(tasks);
  const Counts held = count_held(workspace);
  const bool holds = held.tasks + held.jobs != 0;
  if (holds && !options.replace)
    throw Failure{Exit::conflict, "the store has " + held_text(held) + " already",
                  "--replace puts what is in the backup in their place; canary store backup FILE keeps them"};
  if (!options.dry_run) {
    auto next = tasks.begin();
    workspace.store->replace_all([&]() -> std::optional<TaskContents> {
      if (next == tasks.end()) return {};
      return std::move(*next++);
    });
  }
  const StoreInfo info = workspace.store->info();
  if (context.json) {
    json::object document = counts_document(counts, info.token);
    if (options.dry_run) document["dry_run"] = true;
    return write_document(context.out, document);
  }
  std::string place;
  append_visible(place, info.place);
  context.out.write(place + (options.dry_run ? " would get " : " holds ") + counts_text(counts));
  if (holds) context.out.write("; its " + held_text(held) + (options.dry_run ? " would go" : " went"));
  context.out.write(options.dry_run ? "\ndry run: nothing was changed\n" : "\n");
}

}  // namespace

void add_store(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "store", "Migrates, backs up and restores the database");
  noun.require_subcommand(1);

  const Syntax migration = add_noun(noun, context, "migrate", "Brings the database to this program's schema");
  migration.footer("Programs of the schema before go on reading and writing.");
  migration.callback([&context] { migrate(context); });

  const Syntax saving = add_noun(noun, context, "backup", "Writes tasks, versions, history and jobs to an SQLite file");
  const auto to = std::make_shared<BackupOptions>();
  add_text(saving, "file", to->file, "File to write")->required()->type_name("FILE");
  saving.add_flag("--force", to->force, "Replace a file that is there");
  saving.footer(
      "From one consistent view, while everybody goes on. Interactions, and the counts and the evidence made of them, "
      "are\n"
      "left out: they stay in the store that they are in; the database's own tools copy it whole.");
  saving.callback([&context, to] { backup(context, *to); });

  const Syntax loading = add_noun(noun, context, "restore", "Fills the database from a backup");
  const auto from = std::make_shared<RestoreOptions>();
  add_text(loading, "file", from->file, "Backup to read; it stays as it is")->required()->type_name("FILE");
  loading.add_flag("--replace", from->replace, "Let go of every task and job that the store has now");
  loading.add_flag("--dry-run", from->dry_run, "Says what it would do, and does nothing");
  loading.footer(
      "Followers notice: the store gets a new epoch token, and they read everything anew. A backup holds no "
      "interactions.");
  loading.callback([&context, from] { restore(context, *from); });
}

}  // namespace canary::cli
