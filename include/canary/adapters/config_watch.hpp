// config_watch.hpp: a configuration file that may change while the server runs. Layer adapters; needs Linux (inotify).
// Watches folders, not the file: editors and deployments replace a file rather than write into it. Every symbolic link on
// the way is watched where it stands, so that a swapped link counts as a change too (Kubernetes swaps `..data`).
// A file that does not load changes nothing: the last good configuration stays and on_error hears why.
//
// Not noticed: a renamed folder further up than the file's own, a change made by another machine on a network file
// system. A file written in place is read when its writer closes it; one that is renamed into place is never seen half.
#pragma once

#if !__has_include(<sys/inotify.h>)
#error "config_watch.hpp needs inotify: Linux"
#endif

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "canary/control/config.hpp"

namespace canary {

struct ConfigWatchOptions {
  std::chrono::milliseconds settle_ms{20};    ///< a change is read once nothing more came for this long
  std::chrono::milliseconds at_most_ms{200};  ///< and after this long at the latest
};

namespace detail {

/// A name in a folder whose change may change what a path leads to.
struct WatchedName {
  std::string folder;
  std::string name;
  friend bool operator==(const WatchedName&, const WatchedName&) = default;
};

/// The links on the way to `path`, and the file itself or the first part that is missing.
[[nodiscard]] std::vector<WatchedName> names_on_the_way(const std::filesystem::path& path);

/// A file descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor(int fd, const char* what) : fd_{fd} {
    if (fd < 0) throw std::system_error{errno, std::generic_category(), what};
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// Waits until what a path leads to may have changed. One thread waits, any may stop it.
class PathWatch {
 public:
  explicit PathWatch(const std::filesystem::path& path)
      : path_{std::filesystem::absolute(path)},
        events_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC), "inotify_init1"},
        stop_{::eventfd(0, EFD_CLOEXEC), "eventfd"} {
    follow();
  }

  /// True after a change, false when stopped.
  [[nodiscard]] bool wait(const ConfigWatchOptions& options);

  void stop() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop_.get(), &one, sizeof one);
  }

 private:
  static constexpr std::uint32_t mask =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

  void follow();
  [[nodiscard]] bool drain();
  [[nodiscard]] bool concerns(const inotify_event& event);
  [[nodiscard]] bool ready(int timeout_ms, bool& stopped) const;

  std::filesystem::path path_;
  Descriptor events_;
  Descriptor stop_;
  std::vector<WatchedName> names_;
  std::map<int, std::string> folders_;  // by watch descriptor
};

}  // namespace detail

/// Loads a configuration now and after each change of its file.
/// Input   callbacks on_load(const Config&) and on_error(const ConfigError&); the constructor makes the first call before
///         it returns, all others come from the watch's own thread, one at a time. They must not throw.
/// Errors  std::system_error when there is nothing to watch with; a file at fault goes to on_error, the first time too.
/// Cost    one thread, asleep between changes.
class ConfigWatch {
 public:
  using Load = std::function<Config(const std::filesystem::path&)>;
  using OnLoad = std::function<void(const Config&)>;
  using OnError = std::function<void(const ConfigError&)>;

  /// As below, for files in TOML: include adapters/toml_config.hpp.
  template <class File = ConfigFile>
  requires requires(const File& file) { load_config(file); }
  ConfigWatch(std::filesystem::path path, OnLoad on_load, OnError on_error, ConfigWatchOptions options = {})
      : ConfigWatch{std::move(path), [](const std::filesystem::path& from) { return load_config(File{from}); },
                    std::move(on_load), std::move(on_error), options} {}

  ConfigWatch(std::filesystem::path path, Load load, OnLoad on_load, OnError on_error, ConfigWatchOptions options = {})
      : path_{std::move(path)},
        load_{std::move(load)},
        on_load_{std::move(on_load)},
        on_error_{std::move(on_error)},
        watch_{path_} {
    reload();  // after the watch stands: a change in between is seen, at worst twice
    thread_ = std::thread{[this, options] { run(options); }};
  }
  ConfigWatch(const ConfigWatch&) = delete;
  ConfigWatch& operator=(const ConfigWatch&) = delete;
  /// Waits for a callback that is under way; none comes after.
  ~ConfigWatch() {
    watch_.stop();
    thread_.join();
  }

  /// The last configuration that loaded; nothing before the first.
  [[nodiscard]] std::shared_ptr<const Config> current() const {
    const std::lock_guard lock{mutex_};
    return current_;
  }

 private:
  void run(const ConfigWatchOptions& options) {
    try {
      while (watch_.wait(options)) reload();
    } catch (const std::system_error& error) {  // out of watches: say so, rather than end the server
      report(ConfigError{{ConfigFault{path_.string(), 0, 0, std::string{"no longer watched: "} + error.what()}}});
    }
  }

  /// Calls nobody when nothing has changed: a file is often written again as it was.
  void reload() {
    try {
      const auto loaded = std::make_shared<const Config>(load_(path_));
      if (failure_.empty() && current_ && *current_ == *loaded) return;  // this thread alone writes current_
      {
        const std::lock_guard lock{mutex_};
        current_ = loaded;
      }
      failure_.clear();
      on_load_(*loaded);
    } catch (const ConfigError& error) {
      report(error);
    } catch (const std::bad_alloc&) {
      report(ConfigError{{ConfigFault{path_.string(), 0, 0, "does not fit into memory"}}});
    }
  }

  void report(const ConfigError& error) {
    if (failure_ == error.what()) return;
    failure_ = error.what();
    on_error_(error);
  }

  std::filesystem::path path_;
  Load load_;
  OnLoad on_load_;
  OnError on_error_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Config> current_;
  std::string failure_;  // of the last load, empty after a good one
  detail::PathWatch watch_;
  std::thread thread_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

inline std::vector<WatchedName> names_on_the_way(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  constexpr int most_links = 40;  // as the kernel's own limit
  std::vector<WatchedName> names;
  fs::path at = "/";
  fs::path rest = fs::absolute(path).lexically_normal().relative_path();
  for (int links = 0; !rest.empty();) {
    const fs::path part = *rest.begin();
    fs::path after;
    for (auto it = std::next(rest.begin()); it != rest.end(); ++it) after /= *it;
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(at / part, ignored);
    if (part == "..") {
      at = at.parent_path();
      rest = after;
    } else if (fs::is_symlink(status) && links++ < most_links) {
      names.push_back({at.string(), part.string()});
      const fs::path target = fs::read_symlink(at / part, ignored);
      if (target.is_absolute()) at = "/";
      rest = target.relative_path() / after;
    } else if (fs::is_directory(status) && !after.empty()) {
      at /= part;
      rest = after;
    } else {  // the file; or what is missing, or in the way
      names.push_back({at.string(), part.string()});
      break;
    }
  }
  return names;
}

/// Watches the folders of the names as they stand now. A link may change while this looks, hence the second look.
inline void PathWatch::follow() {
  for (int tries = 0; tries != 8; ++tries) {
    names_ = names_on_the_way(path_);
    std::map<int, std::string> folders;
    for (const WatchedName& name : names_) {
      const int wd = ::inotify_add_watch(events_.get(), name.folder.c_str(), mask);
      if (wd >= 0)
        folders[wd] = name.folder;
      else if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
        throw std::system_error{errno, std::generic_category(), "inotify_add_watch " + name.folder};
    }
    for (const auto& [wd, folder] : folders_)
      if (!folders.contains(wd)) ::inotify_rm_watch(events_.get(), wd);
    folders_ = std::move(folders);
    if (names_ == names_on_the_way(path_)) return;
  }
}

inline bool PathWatch::wait(const ConfigWatchOptions& options) {
  using Clock = std::chrono::steady_clock;
  bool stopped = false;
  while (true) {
    if (!ready(-1, stopped)) return false;
    if (!drain()) continue;
    const auto latest = Clock::now() + options.at_most_ms;
    while (Clock::now() < latest && ready(static_cast<int>(options.settle_ms.count()), stopped)) (void)drain();
    if (stopped) return false;
    follow();
    return true;
  }
}

/// True when events stand ready; false after the timeout, or when stopped.
inline bool PathWatch::ready(int timeout_ms, bool& stopped) const {
  pollfd fds[] = {{stop_.get(), POLLIN, 0}, {events_.get(), POLLIN, 0}};
  int got = 0;
  do {
    got = ::poll(fds, 2, timeout_ms);
  } while (got < 0 && errno == EINTR);
  stopped = stopped || (fds[0].revents != 0);
  return !stopped && got > 0;
}

/// Takes all events that stand ready; true if one of them concerns the path.
inline bool PathWatch::drain() {
  alignas(inotify_event) char buffer[4'096];
  bool concerned = false;
  for (;;) {
    const ssize_t size = ::read(events_.get(), buffer, sizeof buffer);
    if (size <= 0) return concerned;
    for (const char* at = buffer; at < buffer + size;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(at);  // the kernel pads names to keep these aligned
      concerned = concerns(event) || concerned;
      at += sizeof event + event.len;
    }
  }
}

inline bool PathWatch::concerns(const inotify_event& event) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) return true;  // something was lost: look
  const auto folder = folders_.find(event.wd);
  if (folder == folders_.end()) return false;
  if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) return true;
  const std::string_view name = event.len == 0 ? std::string_view{} : std::string_view{event.name};
  const bool ours = std::any_of(names_.begin(), names_.end(), [&](const WatchedName& watched) {
    return watched.folder == folder->second && watched.name == name;
  });
  if (!ours || (event.mask & IN_CREATE) == 0) return ours;
  // A new file is still empty, and the end of its writing will follow; a new link or folder is all there is.
  struct stat now {};
  const bool found = ::lstat((std::filesystem::path{folder->second} / name).c_str(), &now) == 0;
  return !found || !S_ISREG(now.st_mode) || now.st_nlink > 1;
}

}  // namespace detail

}  // namespace canary
