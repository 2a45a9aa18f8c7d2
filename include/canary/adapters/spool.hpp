// spool.hpp: rings that outlive the process: file-backed mappings for a recorder's lanes. Layer adapters; POSIX.
//
// A spool is a folder of one process at a time, held by a lock that ends with it however it ends:
//   spool            who it is, how far interaction ids got, which lane comes next
//   names-RUN        task names by their index in the router of one run, a line each, with a check
//   lane-N           a header page, then cells; what was recorded stands there the moment record() returns
// So what was recorded survives kill -9, and is delivered by the next process that opens the directory. It does not
// survive a power cut: nothing is flushed on the way. Files are allocated before they are mapped, since a hole is a
// SIGBUS; where the disk is full, or cannot be written, lanes are kept in memory, and fault() says so.
//
// Formats are this machine's own (byte order, 64-byte cells): a spool is not for carrying elsewhere.
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/adapters/spool_file.hpp"
#include "canary/core/hash.hpp"
#include "canary/core/recorder.hpp"
#include "canary/core/text_ring.hpp"

namespace canary {

struct SpoolOptions {
  std::uint64_t lane_bytes = std::uint64_t{16} << 20;  ///< of one thread's ring; a power of two, at least 4,096
  std::uint64_t most_bytes = std::uint64_t{1} << 30;   ///< of all rings together, those in memory included
  std::uint64_t text_bytes = 0;                        ///< of one thread's ring of texts; 0: none are kept
};

/// One ring of a spool.
struct SpoolLane {
  std::uint32_t number = 0;  ///< never given again in this spool
  std::uint32_t run = 0;     ///< of the process that recorded there
  Recorder::Cell* cells = nullptr;
  std::size_t count = 0;      ///< of cells, a power of two
  std::uint64_t drained = 0;  ///< everything before this position was delivered, as far as the file knows
  TextRing* texts = nullptr;  ///< null: no texts are kept
  std::uint64_t text_drained = 0;
  bool on_disk = false;
};

/// The spool of this process, or one that a process left behind. For one thread at a time, but for cursor().
class Spool {
 public:
  /// Opens the first spool of the directory that no living process holds, or makes one. An empty directory name keeps
  /// everything in memory, and so does a directory that cannot be used: see fault(). Never throws for what is on the disk.
  explicit Spool(std::filesystem::path directory, SpoolOptions options = {});
  ~Spool() = default;
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Spools that dead processes left in the directory, each held from now on; they are delivered and removed.
  /// Output  `fault`: why some of what is there cannot be delivered; empty when all can.
  [[nodiscard]] static std::vector<std::unique_ptr<Spool>> orphans(const std::filesystem::path& directory,
                                                                   std::string& fault);

  /// 32 hexadecimal digits.
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  /// True as long as every ring is; any thread may ask.
  [[nodiscard]] bool on_disk() const noexcept { return on_disk_.load(std::memory_order_relaxed); }
  /// Why something is not on the disk, and what to do; empty when all is.
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

  /// How far the interaction ids of its node got.
  [[nodiscard]] Recorder::Counter& cursor() noexcept { return header_ != nullptr ? header_->cursor : memory_cursor_; }
  /// The node that the store gave it; nothing before the first contact.
  [[nodiscard]] std::optional<std::uint32_t> node() const noexcept;
  void set_node(std::uint32_t node) noexcept;

  /// Makes a lane, on the disk where that is possible; null at most_bytes, and without memory.
  const SpoolLane* add_lane();
  /// Every lane, those of earlier runs too.
  [[nodiscard]] std::vector<SpoolLane> lanes() const;
  /// This process's run.
  [[nodiscard]] std::uint32_t run() const noexcept { return run_; }

  /// Notes that everything before the position was delivered.
  void set_drained(std::uint32_t lane, std::uint64_t position, std::uint64_t text_position) noexcept;
  /// Removes a lane of an earlier run.
  void remove_lane(std::uint32_t lane) noexcept;
  /// Removes the spool; it has no lanes left, and is not used any more. What could not be read stays, and the spool with it.
  void remove() noexcept;

  /// Notes the names of tasks, from `first` on, before anything of them is recorded.
  void add_names(std::uint32_t first, std::span<const std::string> names);
  /// Tries again to note what could not be noted.
  void save_names();
  /// Names of an earlier run, by index.
  [[nodiscard]] std::vector<std::string> names(std::uint32_t run) const;

 private:
  struct Held {
    SpoolLane lane;
    std::uint64_t bytes = 0;
    detail::Mapping mapping;
    detail::LaneHeader* header = nullptr;  ///< null: in memory
    TextRing::Counter text_written{0};     ///< of a lane in memory
    std::optional<TextRing> texts = {};
  };

  Spool() = default;
  bool adopt(const std::filesystem::path& folder);
  bool make(const std::filesystem::path& directory);
  void begin_run();
  void find_lanes();
  [[nodiscard]] std::string find_lane(const std::filesystem::path& path);
  [[nodiscard]] static bool is_empty(const Held& held) noexcept;
  bool add_on_disk(Held& held, std::uint32_t number);
  bool add_in_memory(Held& held);
  static void add_texts(Held& held, std::uint64_t bytes);
  void tell(const std::string& what);
  [[nodiscard]] std::filesystem::path lane_path(std::uint32_t number) const {
    return folder_ / ("lane-" + std::to_string(number));
  }
  [[nodiscard]] std::filesystem::path names_path(std::uint32_t run) const {
    return folder_ / ("names-" + std::to_string(run));
  }

  SpoolOptions options_;
  std::filesystem::path folder_;
  std::string id_;
  std::string fault_;
  detail::SpoolLock lock_;
  detail::Mapping header_mapping_;
  detail::SpoolHeader* header_ = nullptr;
  Recorder::Counter memory_cursor_{0};
  std::uint32_t memory_node_ = Recorder::no_node;
  std::uint32_t next_lane_ = 0;  // in memory
  std::uint32_t run_ = 1;
  std::atomic<bool> on_disk_{false};
  std::string unsaved_names_;
  std::vector<std::unique_ptr<Held>> lanes_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline Spool::Spool(std::filesystem::path directory, SpoolOptions options) : options_{options} {
  options_.lane_bytes = std::bit_ceil(std::max<std::uint64_t>(options.lane_bytes, detail::page_bytes));
  if (options.text_bytes != 0)
    options_.text_bytes = std::bit_ceil(std::max<std::uint64_t>(options.text_bytes, detail::page_bytes));
  if (!directory.empty()) {
    std::error_code error;
    directory = std::filesystem::absolute(directory, error);  // the process may go to another folder
    std::filesystem::create_directories(directory, error);
    std::string unseen;
    for (const std::filesystem::path& folder : detail::spool_folders(directory, unseen))
      if (adopt(folder)) break;
    if (header_ == nullptr && !make(directory)) {
      const std::string why = error ? error.message() : std::generic_category().message(errno);
      // Over all else that is wrong there.
      fault_ =
          "`" + directory.string() + "`: no spool can be made there (" + why +
          "); interactions are kept in memory, and lost with the process: make room, or give this user the right " +
          "to write";
    }
    if (!unseen.empty()) tell(unseen);
  }
  if (header_ == nullptr) id_ = detail::spool_id();
  if (header_ != nullptr) begin_run();
}

inline std::vector<std::unique_ptr<Spool>> Spool::orphans(const std::filesystem::path& directory, std::string& fault) {
  std::vector<std::unique_ptr<Spool>> found;
  std::string unseen;
  if (directory.empty()) return found;
  for (const std::filesystem::path& folder : detail::spool_folders(directory, unseen)) {
    std::unique_ptr<Spool> spool{new Spool};
    const bool adopted = spool->adopt(folder);
    if (fault.empty()) fault = spool->fault_;
    if (!adopted) continue;
    spool->run_ = 0;  // it records nothing
    found.push_back(std::move(spool));
  }
  return found;
}

/// What went wrong first is what stays told: the rest follows from it.
inline void Spool::tell(const std::string& what) {
  if (fault_.empty()) fault_ = what;
}

/// Takes over a folder that nobody holds; false for one that somebody does, or that makes no sense.
inline bool Spool::adopt(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "spool";
  detail::SpoolLock lock{path};
  if (!lock.held()) {
    // Another process's or user's, or just removed.
    if (errno != EWOULDBLOCK && errno != EACCES && errno != ENOENT) tell(detail::cannot(path, errno));
    return false;
  }
  detail::Mapping mapping = detail::Mapping::of_file(detail::File::open(path).get(), detail::page_bytes);
  auto* header = static_cast<detail::SpoolHeader*>(mapping.data());
  const std::string wrong = header == nullptr ? "it is cut, or cannot be read: it is left alone" : header->wrong();
  if (!wrong.empty()) {
    tell("`" + folder.string() + "`: " + wrong);
    return false;
  }
  folder_ = folder;
  id_ = folder.filename().string();
  lock_ = std::move(lock);
  header_mapping_ = std::move(mapping);
  header_ = header;
  on_disk_.store(true, std::memory_order_relaxed);
  find_lanes();
  return true;
}

/// Under another name until it is whole and held: what has a spool's name is one. False, and errno, where it cannot be made.
inline bool Spool::make(const std::filesystem::path& directory) {
  const std::string id = detail::spool_id();
  const std::filesystem::path folder = directory / id;
  const std::filesystem::path fresh = folder.string() + ".new";
  const detail::DirectoryLock making{directory};
  making.shared();
  const auto failed = [&fresh] {
    const int reason = errno;
    std::error_code ignored;
    std::filesystem::remove_all(fresh, ignored);
    errno = reason;
    return false;
  };
  if (::mkdir(fresh.c_str(), 0700) != 0) return false;
  const detail::File file = detail::File::make(fresh / "spool", detail::page_bytes);
  detail::Mapping mapping;
  if (file) mapping = detail::Mapping::of_file(file.get(), detail::page_bytes);
  if (!mapping) return failed();
  auto* header = ::new (mapping.data()) detail::SpoolHeader;
  detail::SpoolLock lock{fresh / "spool"};
  if (!lock.held() || ::rename(fresh.c_str(), folder.c_str()) != 0) return failed();
  folder_ = folder;
  id_ = id;
  lock_ = std::move(lock);
  header_mapping_ = std::move(mapping);
  header_ = header;
  on_disk_.store(true, std::memory_order_relaxed);
  return true;
}

inline void Spool::begin_run() {
  run_ = ++header_->run;
  const detail::File names = detail::File::open_append(names_path(run_));
  if (!names) tell(detail::cannot(names_path(run_), errno));
}

inline std::optional<std::uint32_t> Spool::node() const noexcept {
  const std::uint32_t node = header_ != nullptr ? header_->node.load(std::memory_order_relaxed) : memory_node_;
  if (node >= InteractionId::nodes) return {};
  return node;
}

inline void Spool::set_node(std::uint32_t node) noexcept {
  if (header_ != nullptr)
    header_->node.store(node, std::memory_order_relaxed);
  else
    memory_node_ = node;
}

inline const SpoolLane* Spool::add_lane() {
  std::uint64_t bytes = options_.lane_bytes + options_.text_bytes;
  for (const auto& each : lanes_) bytes += each->bytes;
  if (bytes > options_.most_bytes) return nullptr;
  auto held = std::make_unique<Held>();
  held->lane.run = run_;
  held->lane.count = options_.lane_bytes / sizeof(Recorder::Cell);
  held->lane.number = header_ != nullptr ? header_->next_lane++ : next_lane_++;
  held->bytes = options_.lane_bytes + options_.text_bytes;
  if (!add_on_disk(*held, held->lane.number) && !add_in_memory(*held)) return nullptr;
  add_texts(*held, options_.text_bytes);
  lanes_.push_back(std::move(held));
  return &lanes_.back()->lane;
}

inline bool Spool::add_on_disk(Held& held, std::uint32_t number) {
  if (header_ == nullptr) return false;
  const std::filesystem::path path = lane_path(number);
  const std::filesystem::path fresh = path.string() + ".new";
  const std::size_t bytes = detail::page_bytes + held.bytes;
  detail::File file = detail::File::make(fresh, bytes);
  if (file) held.mapping = detail::Mapping::of_file(file.get(), bytes);
  if (!file || !held.mapping) {
    tell(detail::cannot(path, errno) + "; this ring is kept in memory, and lost with the process: make room");
    ::unlink(fresh.c_str());
    return false;
  }
  held.header = ::new (held.mapping.data()) detail::LaneHeader;
  held.header->number = number;
  held.header->run = run_;
  held.header->count = held.lane.count;
  held.header->text_bytes = options_.text_bytes;
  held.header->check = held.header->check_of();
  held.lane.cells = detail::cells_of(held.mapping);
  held.lane.on_disk = true;
  detail::touch(held.lane.cells, held.bytes);
  if (::rename(fresh.c_str(), path.c_str()) == 0) return true;
  tell(detail::cannot(path, errno));
  ::unlink(fresh.c_str());
  held.mapping = {};
  held.header = nullptr;
  held.lane.on_disk = false;
  return false;
}

inline bool Spool::add_in_memory(Held& held) {
  held.mapping = detail::Mapping::of_memory(held.bytes);
  if (!held.mapping) return false;
  on_disk_.store(false, std::memory_order_relaxed);
  held.lane.cells = static_cast<Recorder::Cell*>(held.mapping.data());
  return true;
}

/// The texts stand behind the cells.
inline void Spool::add_texts(Held& held, std::uint64_t bytes) {
  if (bytes == 0) return;
  char* at = reinterpret_cast<char*>(held.lane.cells + held.lane.count);
  held.texts.emplace(at, bytes, held.header != nullptr ? held.header->text_written : held.text_written);
  held.texts->release(held.lane.text_drained);
  held.lane.texts = &*held.texts;
}

inline std::vector<SpoolLane> Spool::lanes() const {
  std::vector<SpoolLane> lanes;
  lanes.reserve(lanes_.size());
  for (const auto& each : lanes_) lanes.push_back(each->lane);
  return lanes;
}

/// Maps the lanes of earlier runs. One that makes no sense stays where it is, and is told; one that was delivered goes.
inline void Spool::find_lanes() {
  std::error_code error;
  std::set<std::string> names;
  bool all_read = true;
  for (std::filesystem::directory_iterator at{folder_, error}, end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(".new"))  // a process ended while it made it
      ::unlink(at->path().c_str());
    else if (name.starts_with("names-"))
      names.insert(name);
    else if (name.starts_with("lane-"))
      if (const std::string wrong = find_lane(at->path()); !wrong.empty()) {
        tell("`" + at->path().string() + "`: " + wrong + "; what it holds is not delivered");
        all_read = false;
      }
  }
  if (error) return tell("`" + folder_.string() + "`: " + error.message());
  for (const auto& each : lanes_) names.erase("names-" + std::to_string(each->lane.run));
  if (!all_read) return;  // nobody knows whose names those are
  for (const std::string& name : names) ::unlink((folder_ / name).c_str());
}

/// Maps a lane, unless it is empty; what is wrong with it.
inline std::string Spool::find_lane(const std::filesystem::path& path) {
  const detail::File file = detail::File::open(path);
  auto held = std::make_unique<Held>();
  const std::size_t bytes = file ? file.size() : 0;
  if (bytes > detail::page_bytes) held->mapping = detail::Mapping::of_file(file.get(), bytes);
  if (!held->mapping) return "it cannot be read";
  held->header = static_cast<detail::LaneHeader*>(held->mapping.data());
  const detail::LaneHeader& header = *held->header;
  if (std::string wrong = header.wrong(bytes); !wrong.empty()) return wrong;
  if (lane_path(header.number) != path) return "its number is another's";
  held->lane.number = header.number;
  held->lane.run = header.run;
  held->lane.cells = detail::cells_of(held->mapping);
  held->lane.count = static_cast<std::size_t>(header.count);
  held->lane.drained = header.drained.load(std::memory_order_relaxed);
  held->lane.text_drained = header.text_drained.load(std::memory_order_relaxed);
  held->lane.on_disk = true;
  held->bytes = bytes - detail::page_bytes;
  const std::uint64_t written = header.text_written.load(std::memory_order_relaxed);
  if (written - held->lane.text_drained > header.text_bytes) held->lane.text_drained = written;  // no ring says that
  add_texts(*held, header.text_bytes);
  header_->next_lane = std::max(header_->next_lane, header.number + 1);
  header_->run = std::max(header_->run, header.run);
  if (is_empty(*held))
    ::unlink(path.c_str());
  else
    lanes_.push_back(std::move(held));
  return {};
}

/// True if everything was delivered. Such lanes must not pile up while the store is down and processes come and go.
inline bool Spool::is_empty(const Held& held) noexcept {
  const SpoolLane& lane = held.lane;
  if (held.texts && held.texts->written() != lane.text_drained) return false;
  for (std::uint64_t at = lane.drained; at != lane.drained + lane.count; ++at)
    if (detail::is_of(lane.cells[at & (lane.count - 1)].stamp.load(std::memory_order_relaxed), at)) return false;
  return true;
}

inline void Spool::set_drained(std::uint32_t lane, std::uint64_t position, std::uint64_t text_position) noexcept {
  for (const auto& each : lanes_) {
    if (each->lane.number != lane) continue;
    each->lane.drained = position;
    each->lane.text_drained = text_position;
    if (each->texts) each->texts->release(text_position);
    if (each->header == nullptr) continue;
    each->header->drained.store(position, std::memory_order_relaxed);
    each->header->text_drained.store(text_position, std::memory_order_relaxed);
  }
}

inline void Spool::remove_lane(std::uint32_t lane) noexcept {
  const auto at =
      std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& each) { return each->lane.number == lane; });
  if (at == lanes_.end()) return;
  const std::uint32_t run = (*at)->lane.run;
  if ((*at)->header != nullptr) ::unlink(lane_path(lane).c_str());
  lanes_.erase(at);
  const auto same_run = [&](const auto& each) { return each->lane.run == run; };
  if (run != run_ && std::none_of(lanes_.begin(), lanes_.end(), same_run)) ::unlink(names_path(run).c_str());
}

inline void Spool::remove() noexcept {
  if (header_ == nullptr) return;
  lanes_.clear();
  header_ = nullptr;
  header_mapping_ = {};
  std::error_code error;
  std::vector<std::string> names;
  bool others = false;
  for (std::filesystem::directory_iterator at{folder_, error}, end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with("names-"))
      names.push_back(at->path().string());
    else if (name != "spool")
      others = true;
  }
  if (!error && !others) {  // in this order: whenever the process ends, what is left is a spool, or an empty folder
    for (const std::string& name : names) ::unlink(name.c_str());
    ::unlink((folder_ / "spool").c_str());
    ::rmdir(folder_.c_str());
  }
  lock_ = {};
}

inline void Spool::add_names(std::uint32_t first, std::span<const std::string> names) {
  if (header_ == nullptr) return;
  for (std::size_t i = 0; i != names.size(); ++i) {
    const std::string line = std::to_string(first + i) + ' ' + names[i] + ' ';
    unsaved_names_ += line + std::to_string(hash_bytes(line, 0)) + '\n';
  }
  save_names();
}

inline void Spool::save_names() {
  if (unsaved_names_.empty()) return;
  const detail::File file = detail::File::open_append(names_path(run_));
  const auto before = static_cast<off_t>(file ? file.size() : 0);
  if (file && file.append(unsaved_names_)) return unsaved_names_.clear();
  const int reason = errno;
  if (file && ::ftruncate(file.get(), before) != 0)  // half a line would run into the next one
    unsaved_names_.insert(0, "\n");
  tell(detail::cannot(names_path(run_), reason) + "; what is recorded would be lost in a crash: make room");
}

inline std::vector<std::string> Spool::names(std::uint32_t run) const {
  std::vector<std::string> names;
  for (const std::string& line : detail::lines_of(names_path(run))) {
    const std::size_t name = line.find(' ') + 1;
    const std::size_t check = line.rfind(' ') + 1;
    std::uint32_t index = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), index);
    constexpr std::uint32_t most = 1u << 24;
    if (check <= name || std::to_string(hash_bytes(line.substr(0, check), 0)) != line.substr(check)) continue;
    if (error != std::errc{} || index >= most) continue;
    if (names.size() <= index) names.resize(index + std::size_t{1});
    names[index] = line.substr(name, check - name - 1);
  }
  return names;
}

}  // namespace canary
