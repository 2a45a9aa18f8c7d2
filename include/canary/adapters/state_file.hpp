// state_file.hpp: the last good state of a store, in one file beside the process. Layer adapters; needs a POSIX system.
// A server that starts while its store is down routes by it. It is a copy, never a source: nothing is written back from
// it, and whatever the store says later wins. Written whole to a new file that then takes the old one's name, so that a
// crash leaves either; a checksum tells a file that somebody cut or edited.
//
// The form is lines, so that people can read it:
//   canary-state 3                    its form; 2 had no place, 1 no status, and is read as if each were ACTIVE
//   store 0123456789abcdef            XXH3 of the store's URL: another store's state is none
//   place 0123456789abcdef            XXH3 of where it lies, seen from this file: however its URL is spelled
//   position 17 TOKEN                 count of changes, epoch token
//   task 5 checks                     revision, name
//   partition 0:0 ...|0:900000 ...    as in store_text.hpp
//   version 2 ACTIVE ft:gpt-4o:v2     number, status, model; as many as the task has
//   end 0123456789abcdef              XXH3 of all lines above
#pragma once

#if !__has_include(<fcntl.h>) || !__has_include(<unistd.h>)
#error "state_file.hpp needs a POSIX system: open, fsync, rename"
#endif

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/control/store.hpp"
#include "canary/control/store_text.hpp"
#include "canary/core/hash.hpp"
#include "canary/core/task_state.hpp"

namespace canary {

/// All that a router needs of a store.
struct StoreState {
  std::string url;  ///< of the store; the file keeps its hash alone
  StorePosition position;
  std::vector<TaskSplit> tasks;
};

/// A state file that cannot be written, or holds no state; what() names the file and why.
class StateFileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Of which store a state file is.
enum class StateOf : std::uint8_t {
  nothing,  ///< there is no such file
  store,    ///< of this store
  another,  ///< of a store at another place
  unclear,  ///< it cannot be read whole, or is of a form that did not keep the place
};

/// For whoever must know whether a store that is not there ever was.
/// Cost    reads the file once.
[[nodiscard]] inline StateOf owner_of_state(const std::filesystem::path& file, const std::string& url);

/// Errors  StateFileError; the file that was there stays as it was.
/// Cost    two writes to disk, about as long as the disk takes for them.
inline void save_state(const std::filesystem::path& file, const StoreState& state);

/// Nothing when there is no such file.
/// Errors  StateFileError when it cannot be read, is cut off, was edited, or belongs to a store of another URL.
[[nodiscard]] inline std::optional<StoreState> load_state(const std::filesystem::path& file, const std::string& url);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

inline constexpr std::string_view state_heading = "canary-state 3";
inline constexpr std::string_view state_heading_2 = "canary-state 2";
inline constexpr std::string_view state_heading_1 = "canary-state 1";

[[nodiscard]] inline std::string hex64(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- != 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

/// A registry makes no task without a legal name and no model with a line break; another program may have. Such a task is
/// left out: one row must not spoil everybody's file.
[[nodiscard]] inline bool fits_state(const TaskSplit& task) {
  return is_task_name(task.task) && task.partition.valid() &&
         std::none_of(task.versions.begin(), task.versions.end(),
                      [](const ServingVersion& each) { return each.model.find('\n') != std::string::npos; });
}

/// A file's way from the state's folder, so that the two may be moved together, and named from anywhere.
[[nodiscard]] inline std::string place_text(const std::filesystem::path& state, const std::string& url) {
  constexpr std::string_view scheme = "sqlite:";
  if (!url.starts_with(scheme)) return url;
  std::error_code error;
  // By its letters alone: a link that leads nowhere today must not make another place of it.
  const auto whole = [&error](const std::filesystem::path& file) {
    return std::filesystem::absolute(file, error).lexically_normal();
  };
  const std::filesystem::path way = whole(url.substr(scheme.size())).lexically_relative(whole(state).parent_path());
  return error || way.empty() ? url : std::string{scheme} + way.string();
}

[[nodiscard]] inline std::string store_line(const std::string& url) { return "store " + hex64(seed_of(url)); }
[[nodiscard]] inline std::string place_line(const std::filesystem::path& file, const std::string& url) {
  return "place " + hex64(seed_of(place_text(file, url)));
}

[[nodiscard]] inline std::string state_text(const std::filesystem::path& file, const StoreState& state) {
  std::string text{state_heading};
  text += '\n' + store_line(state.url) + '\n' + place_line(file, state.url);
  text += "\nposition " + std::to_string(state.position.change) + ' ' + state.position.token + '\n';
  for (const TaskSplit& task : state.tasks) {
    if (!fits_state(task)) continue;
    text += "task " + std::to_string(task.revision) + ' ' + task.task + "\npartition " +
            partition_text(task.partition) + '\n';
    for (const ServingVersion& served : task.versions) {
      text += "version " + std::to_string(served.number) + ' ';
      ((text += to_string(served.status)) += ' ' + served.model) += '\n';
    }
  }
  return text + "end " + hex64(seed_of(text)) + '\n';
}

/// Reads the lines of a state, one after another.
class StateReader {
 public:
  StateReader(std::string_view text, const std::filesystem::path& file, const std::string& url)
      : text_{text}, file_{file}, url_{url} {}

  /// Of which store it is; the lines behind that are not read.
  [[nodiscard]] StateOf owner() {
    const std::size_t end = text_.rfind("end ");
    if (end == std::string_view::npos || text_.substr(end) != "end " + hex64(seed_of(text_.substr(0, end))) + '\n')
      return StateOf::unclear;
    text_ = text_.substr(0, end);
    const std::string_view heading = line();
    with_status_ = heading != state_heading_1;
    with_place_ = heading == state_heading;
    if (!with_place_ && heading != state_heading_1 && heading != state_heading_2) return StateOf::unclear;
    whole_ = true;
    if (line() == store_line(url_)) {
      if (with_place_) (void)line();
      return StateOf::store;
    }
    if (!with_place_) return StateOf::unclear;
    return line() == place_line(file_, url_) ? StateOf::store : StateOf::another;
  }

  /// True when it is whole, but of another store: the same one by another name, maybe, where the place was not kept.
  [[nodiscard]] bool of_another() const noexcept { return of_another_; }

  [[nodiscard]] std::optional<StoreState> read() {
    of_another_ = owner() != StateOf::store && whole_;
    if (!whole_ || of_another_) return {};
    StoreState state;
    state.url = url_;
    std::uint64_t change = 0;
    if (!field("position", std::numeric_limits<std::int64_t>::max(), change, state.position.token)) return {};
    state.position.change = static_cast<std::int64_t>(change);
    while (!text_.empty()) {
      std::optional<TaskSplit> task = read_task();
      if (!task) return {};
      state.tasks.push_back(*std::move(task));
    }
    return state;
  }

 private:
  [[nodiscard]] std::string_view line() {
    const std::string_view one = text_.substr(0, text_.find('\n'));
    text_.remove_prefix(std::min(text_.size(), one.size() + 1));
    return one;
  }

  /// Takes a line `word number rest`.
  [[nodiscard]] bool field(std::string_view word, std::uint64_t most, std::uint64_t& number, std::string& rest) {
    std::string_view one = line();
    if (!one.starts_with(word)) return false;
    one.remove_prefix(word.size());
    if (!take(one, ' ')) return false;
    const auto value = take_number(one, most);
    if (!value || !take(one, ' ')) return false;
    number = *value;
    rest = one;
    return true;
  }

  [[nodiscard]] std::optional<TaskSplit> read_task() {
    TaskSplit task;
    std::uint64_t number = 0;
    if (!field("task", 0xFFFF'FFFF, number, task.task) || !is_task_name(task.task)) return {};
    task.revision = static_cast<std::uint32_t>(number);
    std::string_view split = line();
    constexpr std::string_view word = "partition ";
    if (!split.starts_with(word)) return {};
    std::optional<Partition> partition = parse_partition(split.substr(word.size()));
    if (!partition) return {};
    task.partition = *std::move(partition);
    while (text_.starts_with("version ")) {
      ServingVersion served;
      if (!field("version", max_version_number, number, served.model)) return {};
      served.number = static_cast<std::uint32_t>(number);
      if (with_status_ && !take_status(served)) return {};
      task.versions.push_back(std::move(served));
    }
    return task;
  }

  /// Moves the status off the front of the model.
  [[nodiscard]] static bool take_status(ServingVersion& served) {
    const std::size_t end = served.model.find(' ');
    const std::optional<Status> status = parse_status(std::string_view{served.model}.substr(0, end));
    if (!status || end == std::string::npos) return false;
    served.status = *status;
    served.model.erase(0, end + 1);
    return true;
  }

  std::string_view text_;
  const std::filesystem::path& file_;
  const std::string& url_;
  bool whole_ = false;
  bool of_another_ = false;
  bool with_status_ = true;
  bool with_place_ = true;
};

/// A file descriptor that closes itself.
class StateFd {
 public:
  explicit StateFd(int fd) noexcept : fd_{fd} {}
  StateFd(const StateFd&) = delete;
  StateFd& operator=(const StateFd&) = delete;
  ~StateFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// The new file is for whom the old one was: a command of root's must not take it from the server. Else for all to read.
inline void take_after(int fd, const std::filesystem::path& old) noexcept {
  struct stat was {};
  const bool there = ::stat(old.c_str(), &was) == 0;
  if (there && ::fchown(fd, was.st_uid, was.st_gid) != 0) return;  // as it is, then
  ::fchmod(fd, there ? was.st_mode & 0777 : 0644);
}

[[nodiscard]] inline bool write_whole(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(fd) == 0;
}

/// Nothing when there is no such file.
[[nodiscard]] inline std::optional<std::string> read_state_text(const std::filesystem::path& file) {
  const StateFd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (fd.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    throw StateFileError{file.string() + ": cannot be opened: " + std::strerror(errno)};
  }
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd.get(), block, sizeof block);
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw StateFileError{file.string() + ": cannot be read: " + std::strerror(errno)};
    text.append(block, static_cast<std::size_t>(got));
  }
}

}  // namespace detail

inline StateOf owner_of_state(const std::filesystem::path& file, const std::string& url) {
  try {
    const std::optional<std::string> text = detail::read_state_text(file);
    return text ? detail::StateReader{*text, file, url}.owner() : StateOf::nothing;
  } catch (const StateFileError&) {
    return StateOf::unclear;
  }
}

inline void save_state(const std::filesystem::path& file, const StoreState& state) {
  const std::string text = detail::state_text(file, state);
  std::string fresh = file.string() + ".XXXXXX";
  const auto fail = [&](const char* what) {
    throw StateFileError{file.string() + ": " + what + ": " + std::strerror(errno)};
  };
  {
    const detail::StateFd fd{::mkostemp(fresh.data(), O_CLOEXEC)};
    if (fd.get() < 0) fail("no file can be made beside it");
    detail::take_after(fd.get(), file);
    if (!detail::write_whole(fd.get(), text) || ::rename(fresh.c_str(), file.c_str()) != 0) {
      const int reason = errno;
      ::unlink(fresh.c_str());
      errno = reason;
      fail("cannot be written");
    }
  }
  // The new name is on disk when its folder is. A folder that cannot be synced still has the file.
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
  const detail::StateFd fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (fd.get() >= 0) ::fsync(fd.get());
}

inline std::optional<StoreState> load_state(const std::filesystem::path& file, const std::string& url) {
  const std::optional<std::string> text = detail::read_state_text(file);
  if (!text) return {};
  detail::StateReader reader{*text, file, url};
  std::optional<StoreState> state = reader.read();
  if (reader.of_another())
    throw StateFileError{file.string() +
                         ": holds the state of another store; move it away, or give each store its own store.state"};
  if (!state) throw StateFileError{file.string() + ": holds no whole state of a store"};
  return state;
}

}  // namespace canary
