#include "canary/adapters/spool.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../core/history.hpp"
#include "canary/control/drainer.hpp"
#include "canary/control/memory_store.hpp"
#include "temporary_folder.hpp"

namespace spool_test {

using namespace canary;
namespace fs = std::filesystem;

namespace {

constexpr SpoolOptions small{4'096, std::uint64_t{1} << 20, 4'096};  // 64 entries a lane
constexpr TimeUs noon_us = 1'790'000'000'000'000;

/// Runs `work` in a process of its own, which ends as if it had been killed: no object of it is destroyed.
pid_t start(const auto& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int answer = 99;
  try {
    answer = work();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "in another process: %s\n", error.what());
  }
  std::_Exit(answer);
}
int end_of(pid_t child) {
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
int in_another_process(const auto& work) { return end_of(start(work)); }

/// A gate between processes: one waits until another has opened it, or is gone.
class Gate {
 public:
  Gate() {
    if (::pipe(ends_) != 0) std::abort();
  }
  ~Gate() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() const {
    if (::write(ends_[1], "x", 1) != 1) std::abort();
  }
  void await() const {
    char byte = 0;
    if (::read(ends_[0], &byte, 1) != 1) std::abort();
  }

 private:
  int ends_[2] = {};
};

/// What is recorded at a position: all of it follows from lane and position.
Entry entry_of(std::uint32_t lane, std::uint64_t position) {
  Entry entry;
  entry.id = (std::uint64_t{lane} + 1) << 32 | (position + 1);
  entry.at_us = noon_us + static_cast<TimeUs>(position);
  entry.task = lane % 3;
  entry.revision = 7;
  entry.point = static_cast<Point>(position * 77);
  entry.latency_us = static_cast<std::uint32_t>(position * 3);
  entry.tokens_in = lane;
  entry.tokens_out = static_cast<std::uint32_t>(position);
  entry.cost_microusd = position * position;
  return entry;
}

/// As a recorder does it.
void record(const SpoolLane& lane, std::uint64_t position) {
  Recorder::Cell& cell = lane.cells[position % lane.count];
  cell.words = detail::pack(entry_of(lane.number, position));
  cell.stamp.store(detail::stamp_of(position, cell.words), std::memory_order_release);
}
void record(const SpoolLane& lane, std::uint64_t from, std::uint64_t to) {
  for (; from != to; ++from) record(lane, from);
}

const std::vector<std::string> task_names{"checks", "risks", "notes"};
std::string text_of(std::uint64_t id) { return "text of " + std::to_string(id); }

struct Delivered {
  std::map<std::uint64_t, Interaction> rows;
  std::map<std::uint64_t, std::string> texts;
  std::map<std::uint32_t, std::string> names;
  DrainTotals totals;

  /// True if there is nothing but what record() wrote.
  [[nodiscard]] bool all_written() const {
    return std::all_of(rows.begin(), rows.end(), [&](const auto& each) {
      const Interaction& row = each.second;
      const Entry written = entry_of(row.tokens_in, row.tokens_out);
      const auto text = texts.find(row.id);
      return row.id == written.id && row.at_us == written.at_us && row.point == written.point &&
             row.revision == written.revision && row.latency_us == written.latency_us && row.score == no_score &&
             row.cost_microusd == written.cost_microusd && row.number == 0 && row.error == 0 &&
             names.at(row.task) == task_names[written.task] && (text == texts.end() || text->second == text_of(row.id));
    });
  }
};

/// Delivers everything that earlier runs left in a spool, as an engine does.
Delivered deliver(Spool& spool) {
  MemoryStore store;
  const std::unique_ptr<InteractionStore> kept = store.interactions();
  Drainer drainer{*kept, spool.id(), {}};
  std::vector<TaskNames> names;
  std::vector<DrainLane> lanes;
  for (const SpoolLane& lane : spool.lanes()) {
    names.push_back([known = spool.names(lane.run)](std::uint32_t index) {
      return index < known.size() ? std::string_view{known[index]} : std::string_view{};
    });
    lanes.push_back({lane.number,
                     lane.cells,
                     lane.count - 1,
                     lane.drained,
                     names.size() - 1,
                     true,
                     {},
                     lane.texts,
                     lane.text_drained});
  }
  while (drainer.pass(lanes, names, noon_us)) continue;
  for (const DrainLane& lane : lanes) {
    REQUIRE(lane.drained());
    spool.set_drained(lane.number, lane.position, lane.text_position);
    spool.remove_lane(lane.number);
  }
  Delivered all;
  kept->read({}, [&](const Interaction& row, const Payload&) { return all.rows.emplace(row.id, row).second; });
  kept->read({.with_payload = true}, [&](const Interaction& row, const Payload& payload) {
    return all.texts.emplace(row.id, payload.request).second;
  });
  for (const auto& [number, name] : kept->task_names()) all.names.emplace(number, name);
  all.totals = drainer.totals();
  return all;
}

std::vector<std::unique_ptr<Spool>> orphans(const fs::path& directory) {
  std::string fault;
  auto found = Spool::orphans(directory, fault);
  INFO(fault);
  CHECK(fault.empty());
  return found;
}

/// Every file below a folder, with its bytes.
std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& each : fs::recursive_directory_iterator{folder}) {
    if (!each.is_regular_file()) continue;
    std::ifstream file{each.path(), std::ios::binary};
    files[fs::relative(each.path(), folder).string()].assign(std::istreambuf_iterator<char>{file}, {});
  }
  return files;
}
std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, {}));
}
void write(const fs::path& path, std::string_view bytes) {
  std::ofstream{path, std::ios::binary | std::ios::trunc}.write(bytes.data(),
                                                                static_cast<std::streamsize>(bytes.size()));
}

/// A spool that its process left behind: lanes 0 to 2, each with something to deliver.
std::string leave_behind(const fs::path& directory) {
  if (in_another_process([&] {
        Spool spool{directory, small};
        spool.add_names(0, task_names);
        for (std::uint32_t i = 0; i != 3; ++i) {
          const SpoolLane lane = *spool.add_lane();
          record(lane, 0, 100 * i + 30);
          spool.set_drained(lane.number, 100 * i, 0);
          const std::uint64_t id = entry_of(lane.number, 100 * i).id;
          if (!lane.texts->push(id, 7, text_of(id), "")) return 1;
        }
        return 0;
      }) != 0)
    std::abort();
  std::string name;
  for (const auto& each : fs::directory_iterator{directory}) name = each.path().filename().string();
  return name;
}

}  // namespace

TEST_CASE("spool: what a killed process left is there as it was: lanes, names, node, cursor, how far it was delivered",
          "[spool]") {
  const TemporaryFolder folder;
  const fs::path directory = folder.path() / "deep" / "spool";
  CHECK(in_another_process([&] {
          Spool spool{directory, small};
          spool.set_node(77);
          spool.cursor().store(123'456);
          spool.add_names(0, task_names);
          spool.add_names(3, std::vector<std::string>{"late"});
          for (int i = 0; i != 4; ++i)
            if (spool.add_lane() == nullptr) return 1;
          const std::vector<SpoolLane> lanes = spool.lanes();
          record(lanes[0], 0, 10);
          record(lanes[1], 0, 150);
          record(lanes[3], 0, 5);
          if (!lanes[0].texts->push(9, 7, "asked", "answered")) return 1;
          spool.set_drained(1, 140, 0);
          spool.set_drained(3, 5, 0);
          write(folder.path() / "id", spool.id());
          ::raise(SIGKILL);
          return 2;
        }) == 128 + SIGKILL);
  Spool spool{directory, small};
  CHECK(spool.fault().empty());
  CHECK(spool.on_disk());
  CHECK(spool.id() == files_in(folder.path()).at("id"));
  CHECK(spool.node() == 77);
  CHECK(spool.cursor() == 123'456);
  CHECK(spool.run() == 2);
  CHECK(spool.names(1) == std::vector<std::string>{"checks", "risks", "notes", "late"});
  std::vector<SpoolLane> lanes = spool.lanes();
  REQUIRE(lanes.size() == 2);  // 2 had nothing, and 3 nothing that was not delivered
  std::sort(lanes.begin(), lanes.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  CHECK(lanes[0].number == 0);
  CHECK(lanes[0].drained == 0);
  CHECK(lanes[1].number == 1);
  CHECK(lanes[1].drained == 140);
  CHECK(lanes[1].run == 1);
  CHECK(lanes[1].count == 64);
  CHECK(lanes[1].on_disk);
  CHECK(spool.add_lane()->number == 4);
  CHECK(spool.add_lane()->run == 2);
  spool.remove_lane(4);
  spool.remove_lane(5);
  std::uint64_t position = 0;
  Texts texts;
  REQUIRE(lanes[0].texts->read(position, texts));
  CHECK(texts.request == "asked");
  const Delivered all = deliver(spool);
  CHECK(all.rows.size() == 20);
  CHECK(all.all_written());
  CHECK(files_in(directory).size() == 2);  // the spool and this run's names
}

TEST_CASE("spool: its folder and its files are for its user alone", "[spool]") {
  const TemporaryFolder folder;
  const mode_t before = ::umask(0);
  Spool spool{folder.path() / "spool", small};
  spool.add_names(0, task_names);
  (void)spool.add_lane();
  ::umask(before);
  const fs::path own = folder.path() / "spool" / spool.id();
  CHECK((fs::status(own).permissions() & fs::perms::mask) == fs::perms{0700});
  std::size_t files = 0;
  for (const auto& each : fs::directory_iterator{own}) {
    INFO(each.path());
    CHECK((each.status().permissions() & fs::perms::mask) == fs::perms{0600});
    ++files;
  }
  CHECK(files == 3);
}

TEST_CASE("spool: no two that are open are the same, in one process or in several", "[spool]") {
  const TemporaryFolder folder;
  Spool one{folder.path(), small};
  Spool two{folder.path(), small};
  CHECK(one.id() != two.id());
  CHECK(orphans(folder.path()).empty());
  CHECK(in_another_process([&] {
          const Spool three{folder.path(), small};
          return three.id() != one.id() && three.id() != two.id() && three.on_disk() ? 0 : 1;
        }) == 0);
  const Spool three{folder.path(), small};  // what that one left
  CHECK(entries_in(folder.path()) == 3);
}

TEST_CASE("spool: orphans are held by who found them, and go when they are delivered", "[spool]") {
  const TemporaryFolder folder;
  std::vector<pid_t> children;
  const Gate ready;
  const Gate over;
  for (int i = 0; i != 3; ++i)  // at the same time, so that each has its own
    children.push_back(start([&] {
      Spool spool{folder.path(), small};
      spool.add_names(0, task_names);
      record(*spool.add_lane(), 0, 20);
      ready.open();
      over.await();
      return 0;
    }));
  for (int i = 0; i != 3; ++i) ready.await();
  CHECK(orphans(folder.path()).empty());
  for (int i = 0; i != 3; ++i) over.open();
  for (const pid_t child : children) CHECK(end_of(child) == 0);
  Spool own{folder.path(), small};  // takes the first
  auto found = orphans(folder.path());
  REQUIRE(found.size() == 2);
  CHECK(orphans(folder.path()).empty());
  CHECK(in_another_process([&] { return Spool::orphans(folder.path(), *new std::string).empty() ? 0 : 1; }) == 0);
  for (auto& each : found) {
    CHECK(deliver(*each).rows.size() == 20);
    each->remove();
  }
  CHECK(deliver(own).rows.size() == 20);
  CHECK(entries_in(folder.path()) == 1);
}

TEST_CASE("spool: a lock ends with its process, though a forked child of it lives on", "[spool]") {
  const TemporaryFolder folder;
  const Gate forked;
  const Gate over;
  const pid_t parent = start([&] {
    Spool spool{folder.path(), small};
    record(*spool.add_lane(), 0, 20);
    if (::fork() == 0) {
      forked.open();
      over.await();
      std::_Exit(0);
    }
    forked.await();
    ::raise(SIGKILL);
    return 1;
  });
  CHECK(end_of(parent) == 128 + SIGKILL);
  Spool spool{folder.path(), small};
  CHECK(spool.lanes().size() == 1);
  CHECK(entries_in(folder.path()) == 1);
  over.open();
}

TEST_CASE("spool: a forked child delivers nothing of its parent's, and cannot end its lock", "[spool]") {
  const TemporaryFolder folder;
  auto spool = std::make_unique<Spool>(folder.path(), small);
  spool->add_names(0, task_names);
  record(*spool->add_lane(), 0, 20);
  CHECK(in_another_process([&] {
          std::string fault;
          if (!Spool::orphans(folder.path(), fault).empty()) return 1;
          Spool own{folder.path(), small};
          if (own.id() == spool->id() || !own.on_disk() || !own.lanes().empty()) return 2;
          spool.reset();  // its copy
          return 0;
        }) == 0);
  // A stranger comes: it may have what the child left, and no more.
  CHECK(in_another_process([&] { return Spool{folder.path(), small}.id() == spool->id() ? 1 : 0; }) == 0);
  CHECK(spool->lanes().size() == 1);
}

TEST_CASE("spool: processes that come and go while nothing can be delivered leave no empty rings behind", "[spool]") {
  const TemporaryFolder folder;
  for (int i = 0; i != 50; ++i)
    REQUIRE(in_another_process([&] {
              Spool spool{folder.path(), small};
              spool.add_names(0, task_names);
              for (int lane = 0; lane != 4; ++lane)
                if (spool.add_lane() == nullptr) return 1;
              if (i == 25) record(spool.lanes().back(), 0, 3);
              return 0;
            }) == 0);
  Spool spool{folder.path(), small};
  CHECK(spool.lanes().size() == 1);
  CHECK(files_in(folder.path()).size() == 4);  // the spool, that lane, its names, and this run's
  CHECK(spool.add_lane()->number == 200);
  CHECK(deliver(spool).all_written());
}

TEST_CASE("spool: all rings together are no more than allowed", "[spool]") {
  const TemporaryFolder folder;
  for (const bool on_disk : {true, false}) {
    Spool spool{on_disk ? folder.path() : fs::path{}, {4'096, 5 * 4'096, 0}};
    for (int i = 0; i != 5; ++i) REQUIRE(spool.add_lane() != nullptr);
    CHECK(spool.add_lane() == nullptr);
    CHECK(spool.lanes().back().on_disk == on_disk);
    CHECK(spool.fault().empty());
    CHECK(spool.on_disk() == on_disk);
  }
}

TEST_CASE("spool: in memory it has an id, a node and a cursor as well", "[spool]") {
  Spool spool{{}, small};
  CHECK(spool.id().size() == 32);
  CHECK_FALSE(spool.node());
  spool.set_node(5);
  CHECK(spool.node() == 5);
  ++spool.cursor();
  CHECK(spool.cursor() == 1);
  const SpoolLane lane = *spool.add_lane();
  record(lane, 0, 200);
  CHECK(lane.texts->push(1, 7, "a", "b"));
  spool.add_names(0, task_names);
  spool.remove();
}

// --- no room ---------------------------------------------------------------------------------------------------------

namespace {

/// A disk of 6 MB; none where this user may not mount one.
class SmallDisk {
 public:
  SmallDisk() : mounted_{::mount("none", folder_.path().c_str(), "tmpfs", 0, "size=6m") == 0} {}
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] bool mounted() const noexcept { return mounted_; }
  [[nodiscard]] const fs::path& path() const noexcept { return folder_.path(); }
  void fill() const {
    std::ofstream file{path() / "filler", std::ios::binary};
    const std::string block(4'096, 'x');
    while (file.write(block.data(), 4'096).flush()) continue;
  }
  void make_room() const { fs::remove(path() / "filler"); }

 private:
  TemporaryFolder folder_;
  bool mounted_;
};

constexpr SpoolOptions large{std::uint64_t{4} << 20, std::uint64_t{64} << 20, 0};

/// Through the whole ring, and round its end.
bool takes_everything(const SpoolLane& lane) {
  record(lane, 0, lane.count + 10);
  return lane.cells[5].words == detail::pack(entry_of(lane.number, lane.count + 5));
}

}  // namespace

TEST_CASE("spool: a disk that is full when a ring is made means a ring in memory, and words about it", "[spool]") {
  const SmallDisk disk;
  if (!disk.mounted()) SKIP("this user may not mount a file system");
  Spool spool{disk.path() / "spool", large};
  CHECK(spool.add_lane()->on_disk);
  CHECK(spool.on_disk());
  const SpoolLane* second = spool.add_lane();
  REQUIRE(second != nullptr);
  CHECK_FALSE(second->on_disk);
  CHECK_FALSE(spool.on_disk());
  CHECK(spool.fault().find("No space left") != std::string::npos);
  CHECK(spool.fault().find("make room") != std::string::npos);
  for (const SpoolLane& lane : spool.lanes()) CHECK(takes_everything(lane));
  CHECK(files_in(disk.path()).size() == 3);  // the spool, one lane, names
}

TEST_CASE("spool: a disk that is full from the start means a spool in memory, and nothing half made stays", "[spool]") {
  const SmallDisk disk;
  if (!disk.mounted()) SKIP("this user may not mount a file system");
  fs::create_directory(disk.path() / "spool");
  disk.fill();
  Spool spool{disk.path() / "spool", large};
  CHECK_FALSE(spool.on_disk());
  CHECK(spool.fault().find("No space left") != std::string::npos);
  CHECK(spool.fault().find("kept in memory") != std::string::npos);
  CHECK(takes_everything(*spool.add_lane()));
  CHECK(fs::is_empty(disk.path() / "spool"));
}

TEST_CASE("spool: names that a full disk did not take are told, and noted when there is room", "[spool]") {
  const SmallDisk disk;
  if (!disk.mounted()) SKIP("this user may not mount a file system");
  Spool spool{disk.path() / "spool", small};
  spool.add_names(0, std::vector<std::string>{"first"});
  disk.fill();
  const std::vector<std::string> many(2'000, std::string(100, 'n'));
  spool.add_names(1, many);
  CHECK(spool.fault().find("No space left") != std::string::npos);
  CHECK(spool.names(1) == std::vector<std::string>{"first"});
  disk.make_room();
  spool.add_names(2'001, std::vector<std::string>{"last"});
  const std::vector<std::string> names = spool.names(1);
  REQUIRE(names.size() == 2'002);
  CHECK(names[0] == "first");
  CHECK(names[1'000] == many[0]);
  CHECK(names[2'001] == "last");
}

TEST_CASE("spool: a limit on the size of files is as good as a full disk", "[spool]") {
  const TemporaryFolder folder;
  CHECK(in_another_process([&] {
          ::signal(SIGXFSZ, SIG_IGN);
          const rlimit lane_fits_not{1 << 20, 1 << 20};
          if (::setrlimit(RLIMIT_FSIZE, &lane_fits_not) != 0) return 1;
          Spool spool{folder.path(), large};
          if (!spool.on_disk() || !spool.fault().empty()) return 2;
          const SpoolLane* lane = spool.add_lane();
          if (lane == nullptr || lane->on_disk || spool.on_disk()) return 3;
          if (spool.fault().find("File too large") == std::string::npos) return 4;
          if (!takes_everything(*lane)) return 5;
          const rlimit nothing_fits{1'000, 1'000};
          if (::setrlimit(RLIMIT_FSIZE, &nothing_fits) != 0) return 6;
          Spool other{folder.path(), large};
          if (other.on_disk() || other.fault().find("File too large") == std::string::npos) return 7;
          return takes_everything(*other.add_lane()) ? 0 : 8;
        }) == 0);
  CHECK(files_in(folder.path()).size() == 2);  // the first one's page and its names
}

TEST_CASE("spool: a place that is no directory, or may not be written, means memory, and words about it", "[spool]") {
  const TemporaryFolder folder;
  folder.write("file", "not a directory");
  for (const fs::path& path : {folder.path() / "file", folder.path() / "file" / "below"}) {
    Spool spool{path, small};
    CHECK_FALSE(spool.on_disk());
    CHECK(spool.fault().find(path.string()) != std::string::npos);
    CHECK(spool.fault().find("kept in memory") != std::string::npos);
    CHECK(takes_everything(*spool.add_lane()));
  }
  fs::create_directory(folder.path() / "locked");
  fs::permissions(folder.path(), fs::perms{0755});
  fs::permissions(folder.path() / "locked", fs::perms{0555});
  CHECK(in_another_process([&] {
          constexpr unsigned nobody = 65'534;  // root is not bound by modes
          if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) return 98;
          for (const fs::path& path : {folder.path() / "locked", folder.path() / "locked" / "below"}) {
            Spool spool{path, small};
            if (spool.on_disk() || !takes_everything(*spool.add_lane())) return 1;
            if (spool.fault().find("Permission denied") == std::string::npos) return 2;
          }
          return 0;
        }) == 0);
  CHECK(entries_in(folder.path() / "locked") == 0);
}

TEST_CASE("spool: it stays where it is when the process goes to another folder", "[spool]") {
  const TemporaryFolder folder;
  CHECK(in_another_process([&] {
          if (::chdir(folder.path().c_str()) != 0) return 1;
          Spool spool{"here", small};
          if (::chdir("/") != 0) return 2;
          spool.add_names(0, task_names);
          return spool.add_lane()->on_disk && spool.names(1) == task_names && spool.fault().empty() ? 0 : 3;
        }) == 0);
  CHECK(files_in(folder.path() / "here").size() == 3);
}

// --- what must not be believed -----------------------------------------------------------------------------------------

TEST_CASE("spool: symbolic links in the place of its files are not followed", "[spool]") {
  const TemporaryFolder folder;
  const fs::path directory = folder.path() / "spool";
  const std::string id = leave_behind(directory);
  const fs::path outside = folder.path() / "outside";
  fs::rename(directory / id / "lane-1", outside);
  fs::create_symlink(outside, directory / id / "lane-1");
  const std::string before = files_in(folder.path()).at("outside");
  {
    std::string fault;
    auto found = Spool::orphans(directory, fault);
    REQUIRE(found.size() == 1);
    CHECK(fault.find("lane-1") != std::string::npos);
    CHECK(deliver(*found[0]).rows.size() == 60);
    found[0]->remove();
  }
  CHECK(fs::is_symlink(directory / id / "lane-1"));  // what could not be read stays
  CHECK(files_in(folder.path()).at("outside") == before);

  fs::rename(directory / id / "spool", folder.path() / "header");
  fs::create_symlink(folder.path() / "header", directory / id / "spool");
  std::string fault;
  CHECK(Spool::orphans(directory, fault).empty());
  CHECK(fault.find(id) != std::string::npos);

  fs::remove(directory / id / "spool");
  fs::rename(folder.path() / "header", directory / id / "spool");
  fs::rename(directory / id, folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", directory / id);
  CHECK(orphans(directory).empty());
}

TEST_CASE("spool: one of another format, byte order or size is left alone, and told", "[spool]") {
  const TemporaryFolder folder;
  const fs::path directory = folder.path() / "spool";
  const std::string id = leave_behind(directory);
  struct Case {
    const char* file;
    std::size_t at;
    char byte;
    const char* words;
  };
  const auto cut = [&](const char* file, std::size_t size, const char* words) {
    const std::string whole = files_in(directory / id).at(file);
    fs::resize_file(directory / id / file, size);
    std::string fault;
    const auto found = Spool::orphans(directory, fault);
    INFO(file << " of " << size << " bytes: " << fault);
    CHECK(fault.find(words) != std::string::npos);
    CHECK(files_in(directory / id).at(file).size() == size);
    CHECK(found.size() == (std::string_view{file} == "spool" ? 0 : 1));
    if (!found.empty()) CHECK(found[0]->lanes().size() == 2);
    write(directory / id / file, whole);
  };
  for (const Case& each :
       {Case{"spool", 0, 'C', "no spool"}, Case{"spool", 8, 3, "format 3"}, Case{"spool", 12, 1, "another machine"},
        Case{"spool", 19, 0x7F, "damaged"}, Case{"lane-1", 7, 'x', "no lane"}, Case{"lane-1", 8, 9, "format 9"},
        Case{"lane-1", 12, 1, "another machine"}, Case{"lane-1", 16, 32, "another machine"},
        Case{"lane-1", 20, 2, "damaged"}, Case{"lane-1", 33, 1, "size"}}) {
    const std::string whole = files_in(directory / id).at(each.file);
    std::string changed = whole;
    changed[each.at] = each.byte;
    write(directory / id / each.file, changed);
    std::string fault;
    const auto found = Spool::orphans(directory, fault);
    INFO(each.words << ": " << fault);
    CHECK(fault.find(each.words) != std::string::npos);
    CHECK(files_in(directory / id).at(each.file) == changed);
    CHECK(found.size() == (std::string_view{each.file} == "spool" ? 0 : 1));
    write(directory / id / each.file, whole);
  }
  for (const std::size_t size : {0u, 1u, 4'095u}) cut("spool", size, "cut");
  for (const std::size_t size : {0u, 100u, 4'096u}) cut("lane-1", size, "cannot be read");
  for (const std::size_t size : {4'097u, 8'192u, 12'287u, 16'384u}) cut("lane-1", size, "size");
  fs::copy_file(directory / id / "lane-1", directory / id / "lane-9");
  {
    std::string fault;
    CHECK(Spool::orphans(directory, fault).size() == 1);
    CHECK(fault.find("another's") != std::string::npos);
  }
  fs::remove(directory / id / "lane-9");
  auto found = orphans(directory);
  REQUIRE(found.size() == 1);
  CHECK(deliver(*found[0]).rows.size() == 90);
}

TEST_CASE("spool: its process goes on in another one where its own is not to be believed", "[spool]") {
  const TemporaryFolder folder;
  const std::string id = leave_behind(folder.path());
  const std::string whole = files_in(folder.path() / id).at("spool");
  write(folder.path() / id / "spool", std::string(4'096, 'x'));
  {
    Spool spool{folder.path(), small};
    CHECK(spool.on_disk());
    CHECK(spool.id() != id);
    CHECK(spool.fault().find(id) != std::string::npos);
  }
  write(folder.path() / id / "spool", whole);
  Spool own{folder.path(), small};
  auto others = orphans(folder.path());
  REQUIRE(others.size() == 1);
  CHECK(deliver(own).rows.size() + deliver(*others[0]).rows.size() == 90);
}

namespace {

/// One random thing that can happen to files; none of them is an entry that was written.
void damage(std::map<std::string, std::string>& files, test::Random& random) {
  auto at = files.begin();
  std::advance(at, random.below(static_cast<std::uint32_t>(files.size())));
  std::string& bytes = at->second;
  const auto place = [&](std::size_t below) {
    return below == 0 ? 0 : random.below(static_cast<std::uint32_t>(below));
  };
  const auto noise = [&](std::size_t from, std::size_t count) {
    for (std::size_t i = from; i < std::min(bytes.size(), from + count); ++i)
      bytes[i] = static_cast<char>(random.next());
  };
  switch (random.below(7)) {
    case 0:  // a few bytes
      for (std::uint32_t i = 0, count = 1 + random.below(4); i != count; ++i) noise(place(bytes.size()), 1);
      return;
    case 1:  // of the header
      for (std::uint32_t i = 0, count = 1 + random.below(4); i != count; ++i) noise(place(96), 1);
      return;
    case 2:
      return noise(place(bytes.size()), 1 + random.below(600));
    case 3:
      return noise(0, bytes.size());
    case 4:
      return bytes.resize(place(bytes.size() + 1));
    case 5:
      bytes.append(random.below(9'000), '\0');
      return;
    default: {  // cells in each other's places
      if (bytes.size() < 8'192) return noise(place(bytes.size()), 8);
      const std::size_t from = 4'096 + std::size_t{64} * random.below(64);
      const std::size_t to = 4'096 + std::size_t{64} * random.below(64);
      std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                       bytes.begin() + static_cast<std::ptrdiff_t>(from) + 40,
                       bytes.begin() + static_cast<std::ptrdiff_t>(to));
    }
  }
}

}  // namespace

// A changed cell passes its check of 16 bits by chance once in 65,536; with these seeds none does.
TEST_CASE("spool: whatever happens to its files, nothing is delivered that was not recorded", "[spool]") {
  const TemporaryFolder folder;
  const fs::path directory = folder.path() / "spool";
  const std::string id = leave_behind(directory);
  const std::map<std::string, std::string> whole = files_in(directory / id);
  REQUIRE(whole.size() == 5);
  test::Random random{2'026};
  std::size_t rows = 0;
  std::size_t left_alone = 0;
  DrainTotals totals;
  for (int round = 0; round != 1'000 * test::soak_factor(); ++round) {
    std::map<std::string, std::string> files = whole;
    for (std::uint32_t i = 0, count = 1 + random.below(3); i != count; ++i) damage(files, random);
    fs::remove_all(directory / id);
    fs::create_directory(directory / id);
    for (const auto& [name, bytes] : files) write(directory / id / name, bytes);
    std::string fault;
    auto found = Spool::orphans(directory, fault);
    left_alone += found.empty();
    for (auto& spool : found) {
      const Delivered all = deliver(*spool);
      INFO("round " << round);
      REQUIRE(all.all_written());
      REQUIRE(all.rows.size() <= 160);  // old ones that are still in the rings, where `drained` was damaged
      rows += all.rows.size();
      totals += all.totals;
      spool->remove();
    }
    // And a process that records there is not disturbed.
    found.clear();
    Spool own{directory, small};
    const SpoolLane lane = *own.add_lane();
    record(lane, 0, 10);
    REQUIRE(own.on_disk());
    fs::remove_all(directory / own.id());
  }
  INFO(rows << " rows, " << left_alone << " left alone, " << totals.torn << " torn, " << totals.nameless
            << " nameless");
  CHECK(rows > 30'000);
  CHECK(left_alone > 50);
  CHECK(totals.torn > 200);
  CHECK(totals.nameless > 1'000);
}

TEST_CASE("spool: a line of names that was being written when the process ended is no name", "[spool]") {
  const TemporaryFolder folder;
  const std::string id = leave_behind(folder.path());
  const fs::path file = folder.path() / id / "names-1";
  const std::string whole = files_in(folder.path() / id).at("names-1");
  Spool spool{folder.path(), small};
  for (std::size_t size = 0; size != whole.size(); ++size) {
    write(file, whole.substr(0, size));
    const std::vector<std::string> names = spool.names(1);
    const auto lines =
        static_cast<std::size_t>(std::count(whole.begin(), whole.begin() + static_cast<long>(size), '\n'));
    REQUIRE(names == std::vector<std::string>(task_names.begin(), task_names.begin() + static_cast<long>(lines)));
  }
  const std::string line = whole.substr(0, whole.find('\n') + 1);
  for (const std::string& odd :
       {std::string{"7"}, std::string{"7 x\n"}, std::string{"x y z\n"}, std::string{" \n  \n\n"},
        std::string(5'000, 'x'), '9' + line, std::string{"4294967296 name 1\n"}}) {
    write(file, odd + '\n' + whole);
    CHECK(spool.names(1) == task_names);
  }
  CHECK(spool.names(99).empty());
}

// --- what is half made -----------------------------------------------------------------------------------------------

TEST_CASE("spool: what processes left that ended while they made something is taken away", "[spool]") {
  const TemporaryFolder folder;
  const std::string id = leave_behind(folder.path());
  write(folder.path() / id / "lane-7.new", std::string(1'000, '\0'));
  const std::string name_a(32, 'a');
  const std::string name_b(32, 'b');
  const std::string name_c(32, 'c');
  fs::create_directory(folder.path() / (name_a + ".new"));
  fs::create_directory(folder.path() / (name_b + ".new"));
  write(folder.path() / (name_b + ".new") / "spool", "");
  fs::create_directory(folder.path() / name_c);  // while it removed it
  fs::create_directory(folder.path() / "others.new");
  write(folder.path() / "others", "");
  Spool spool{folder.path(), small};
  CHECK(spool.id() == id);
  CHECK(spool.fault().empty());
  CHECK_FALSE(fs::exists(folder.path() / id / "lane-7.new"));
  std::set<std::string> left;
  for (const auto& each : fs::directory_iterator{folder.path()}) left.insert(each.path().filename().string());
  CHECK(left == std::set<std::string>{id, "others", "others.new"});
}

TEST_CASE("spool: processes that end while they make or remove spools leave nothing that is not taken away",
          "[spool]") {
  const TemporaryFolder folder;
  test::Random random{5};
  const int rounds = (test::full_speed ? 200 : 40) * test::soak_factor();
  for (int round = 0; round != rounds; ++round) {
    const pid_t child = start([&] {
      for (;;) {
        std::string fault;
        Spool one{folder.path(), small};
        Spool two{folder.path(), small};
        record(*one.add_lane(), 0, 3);
        for (auto& each : Spool::orphans(folder.path(), fault)) {
          for (const SpoolLane& lane : each->lanes()) each->remove_lane(lane.number);
          each->remove();
        }
        for (const SpoolLane& lane : one.lanes()) one.remove_lane(lane.number);
        one.remove();
      }
      return 0;
    });
    const timespec pause{0, static_cast<long>(random.below(3'000'000))};
    ::nanosleep(&pause, nullptr);
    ::kill(child, SIGKILL);
    REQUIRE(end_of(child) == 128 + SIGKILL);
    auto found = orphans(folder.path());
    for (auto& each : found) {
      for (const SpoolLane& lane : each->lanes()) each->remove_lane(lane.number);
      each->remove();
    }
    REQUIRE(entries_in(folder.path()) == 0);
  }
}

TEST_CASE("spool: those that start at the same moment do not take each other's away", "[spool]") {
  const TemporaryFolder folder;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i != 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round != 100; ++round) {
        Spool spool{folder.path(), small};
        const SpoolLane* lane = spool.add_lane();
        if (lane == nullptr || !lane->on_disk || !spool.fault().empty()) ++failed;
        if (lane != nullptr) spool.remove_lane(lane->number);
        spool.remove();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(entries_in(folder.path()) == 0);
}

}  // namespace spool_test
