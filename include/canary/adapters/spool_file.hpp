// spool_file.hpp: files, mappings and the lock that a spool is made of. Layer adapters; POSIX; a part of spool.hpp.
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/core/mix.hpp"
#include "canary/core/recorder.hpp"

namespace canary::detail {

inline constexpr std::size_t page_bytes = 4'096;
inline constexpr std::uint32_t spool_format = 2;
inline constexpr std::uint32_t spool_byte_order = 0x0102'0304;

/// What went wrong with a path.
[[nodiscard]] inline std::string cannot(const std::filesystem::path& path, int reason) {
  return "`" + path.string() + "`: " + std::generic_category().message(reason);
}

/// A descriptor.
class File {
 public:
  File() = default;
  explicit File(int descriptor) noexcept : descriptor_{descriptor} {}
  File(File&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] static File open(const std::filesystem::path& path) noexcept {
    return File{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  }
  [[nodiscard]] static File open_append(const std::filesystem::path& path) noexcept {
    return File{::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  }
  /// A fresh file of so many zero bytes that the disk has room for; none, and errno, where it has not.
  [[nodiscard]] static File make(const std::filesystem::path& path, std::size_t bytes) noexcept {
    File file{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!file) return file;
    int failed = 0;
    do failed = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
    while (failed == EINTR);
    if (failed == 0) return file;
    ::unlink(path.c_str());
    errno = failed;
    return {};
  }

  [[nodiscard]] explicit operator bool() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] std::size_t size() const noexcept {
    struct stat now {};
    return ::fstat(descriptor_, &now) == 0 && S_ISREG(now.st_mode) ? static_cast<std::size_t>(now.st_size) : 0;
  }
  [[nodiscard]] bool append(std::string_view text) const noexcept {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }

 private:
  int descriptor_ = -1;
};

/// Mapped memory.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* data, std::size_t bytes) noexcept : data_{data == MAP_FAILED ? nullptr : data}, bytes_{bytes} {}
  Mapping(Mapping&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }

  [[nodiscard]] static Mapping of_file(int descriptor, std::size_t bytes) noexcept {
    struct stat now {};
    if (::fstat(descriptor, &now) != 0 || static_cast<std::size_t>(now.st_size) < bytes) return {};
    return {::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), bytes};
  }
  [[nodiscard]] static Mapping of_memory(std::size_t bytes) noexcept {
    return {::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes};
  }

  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  [[nodiscard]] void* data() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Brings every page into memory, so that no thread waits for one later.
inline void touch(void* data, std::size_t bytes) noexcept {
  auto* at = static_cast<volatile char*>(data);
  for (std::size_t i = 0; i < bytes; i += page_bytes) at[i] = 0;
}

/// The first page of a lane's file.
struct LaneHeader {
  char magic[8] = {'c', 'a', 'n', 'a', 'r', 'y', 'L', 'N'};
  std::uint32_t format = spool_format;
  std::uint32_t byte_order = spool_byte_order;
  std::uint32_t cell_bytes = sizeof(Recorder::Cell);
  std::uint32_t number = 0;
  std::uint32_t run = 0;
  std::uint64_t count = 0;       ///< of cells, a power of two
  std::uint64_t text_bytes = 0;  ///< behind the cells; 0, or a power of two
  std::uint64_t check = 0;       ///< of these four
  std::atomic<std::uint64_t> drained{0};
  std::atomic<std::uint64_t> text_written{0};
  std::atomic<std::uint64_t> text_drained{0};

  [[nodiscard]] std::uint64_t check_of() const noexcept {
    return mix(mix(number | std::uint64_t{run} << 32) ^ count * 3 ^ text_bytes * 5);
  }
  /// Empty for a header that fits a file of so many bytes.
  [[nodiscard]] std::string wrong(std::size_t bytes) const {
    if (std::memcmp(magic, "canaryLN", sizeof magic) != 0) return "it is no lane of a spool";
    if (byte_order != spool_byte_order || cell_bytes != sizeof(Recorder::Cell)) return "it is of another machine";
    if (format != spool_format)
      return "it has format " + std::to_string(format) + ", not " + std::to_string(spool_format);
    if (count == 0 || !std::has_single_bit(count) || count > bytes / sizeof(Recorder::Cell) || text_bytes > bytes ||
        (text_bytes != 0 && (text_bytes < page_bytes || !std::has_single_bit(text_bytes))) ||
        bytes != page_bytes + count * sizeof(Recorder::Cell) + text_bytes)
      return "its size is not what it says";
    if (check != check_of() || drained.load(std::memory_order_relaxed) >> 47 != 0) return "its header is damaged";
    return {};
  }
};
static_assert(sizeof(LaneHeader) <= page_bytes && std::atomic<std::uint64_t>::is_always_lock_free);

/// A spool's own page.
struct SpoolHeader {
  char magic[8] = {'c', 'a', 'n', 'a', 'r', 'y', 'S', 'P'};
  std::uint32_t format = spool_format;
  std::uint32_t byte_order = spool_byte_order;
  std::uint32_t run = 0;        ///< processes that recorded here
  std::uint32_t next_lane = 0;  ///< number of the next lane
  std::atomic<std::uint32_t> node{Recorder::no_node};
  std::atomic<std::uint64_t> cursor{0};

  [[nodiscard]] std::string wrong() const {
    if (std::memcmp(magic, "canarySP", sizeof magic) != 0) return "it is no spool";
    if (byte_order != spool_byte_order) return "it is of another machine";
    if (format != spool_format)
      return "it has format " + std::to_string(format) + ", this program has " + std::to_string(spool_format) +
             ": it is left alone, start the program that made it to deliver it";
    if ((run | next_lane) >> 30 != 0 || cursor.load(std::memory_order_relaxed) >> 1 > InteractionId::last_cursor / 2)
      return "its header is damaged: it is left alone";
    return {};
  }
};
static_assert(sizeof(SpoolHeader) <= page_bytes);

[[nodiscard]] inline Recorder::Cell* cells_of(const Mapping& mapping) noexcept {
  return reinterpret_cast<Recorder::Cell*>(static_cast<char*>(mapping.data()) + page_bytes);
}

/// Holds a spool for as long as the process lives. A forked child has no part in it: it lets go of its copy, so that the
/// lock ends with its parent. Its descriptor is never mapped: the child would keep the mapping, and the lock with it.
class SpoolLock {
 public:
  SpoolLock() = default;
  /// Not held where another holds it, or there is nothing to hold: errno tells.
  explicit SpoolLock(const std::filesystem::path& path) : file_{list().take(path)} {}
  SpoolLock(SpoolLock&&) noexcept = default;
  SpoolLock& operator=(SpoolLock&&) noexcept = default;
  ~SpoolLock() {
    if (file_) list().let_go(file_);
  }

  [[nodiscard]] bool held() const noexcept { return static_cast<bool>(file_); }

 private:
  /// Descriptors come and go under the mutex that a fork takes: a child never has one that it does not know of.
  class List {
   public:
    List() {
      pthread_atfork([] { list().mutex_.lock(); }, [] { list().mutex_.unlock(); },
                     [] {
                       // Replaced, not closed: the number must stay taken until its owner closes it.
                       for (const int descriptor : list().held_) ::dup3(list().nothing_.get(), descriptor, O_CLOEXEC);
                       list().mutex_.unlock();
                     });
    }
    [[nodiscard]] File take(const std::filesystem::path& path) {
      const std::lock_guard lock{mutex_};
      File file = File::open(path);
      if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return {};
      struct stat now {};  // without a name it was removed by who held it until now
      if (::fstat(file.get(), &now) != 0 || now.st_nlink == 0) {
        errno = ENOENT;
        return {};
      }
      held_.push_back(file.get());
      return file;
    }
    void let_go(File& file) noexcept {
      const std::lock_guard lock{mutex_};
      std::erase(held_, file.get());
      const File closed = std::move(file);
    }

   private:
    std::mutex mutex_;
    std::vector<int> held_;
    File nothing_{::open("/", O_PATH | O_CLOEXEC)};  // ready beforehand: the child may have no descriptor to spare
  };
  static List& list() {
    static auto* immortal = new List;
    return *immortal;
  }

  File file_;
};

[[nodiscard]] inline std::string spool_id() {
  std::random_device source;
  std::string id;
  for (int i = 0; i != 32; ++i) id += "0123456789abcdef"[source() % 16];
  return id;
}

[[nodiscard]] inline bool is_spool_id(std::string_view name) noexcept {
  return name.size() == 32 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Held by who makes a spool in a directory, shared, or by who takes away what was half made, alone: so that of processes
/// that start at the same moment none takes away what another is making.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& directory) noexcept
      : file_{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)} {}

  [[nodiscard]] bool alone() const noexcept { return file_ && ::flock(file_.get(), LOCK_EX | LOCK_NB) == 0; }
  /// Does not insist: who takes away is done in a moment, or is a process that was stopped.
  void shared() const noexcept {
    constexpr timespec moment{0, 1'000'000};
    for (int i = 0; file_ && i != 1'000 && ::flock(file_.get(), LOCK_SH | LOCK_NB) != 0; ++i)
      ::nanosleep(&moment, nullptr);
  }

 private:
  File file_;
};

[[nodiscard]] inline bool is_half_made(std::string_view name) noexcept {
  return name.ends_with(".new") && is_spool_id(name.substr(0, name.size() - 4));
}

/// Folders in a directory that are spools by their names, in order; `fault` says why there are none to be seen. Takes away
/// what processes left that ended while they made a spool, or removed one.
[[nodiscard]] inline std::vector<std::filesystem::path> spool_folders(const std::filesystem::path& directory,
                                                                      std::string& fault) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  const DirectoryLock lock{directory};
  const bool alone = lock.alone();
  for (std::filesystem::directory_iterator at{directory, error}, end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->symlink_status(ignored).type() != std::filesystem::file_type::directory) continue;
    const std::string name = at->path().filename().string();
    if (alone && is_half_made(name)) std::filesystem::remove_all(at->path(), ignored);
    if (!is_spool_id(name)) continue;
    if (::rmdir(at->path().c_str()) != 0) folders.push_back(at->path());  // an empty one: removed but for that
  }
  if (error) fault = "`" + directory.string() + "`: " + error.message();
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Whole lines of a file; what follows the last line break was being written when its process ended.
[[nodiscard]] inline std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  std::string text;
  char part[4'096];
  for (ssize_t got = 0; file && (got = ::read(file.get(), part, sizeof part)) > 0;)
    text.append(part, static_cast<std::size_t>(got));
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(text.substr(at, end - at));
  return lines;
}

}  // namespace canary::detail
