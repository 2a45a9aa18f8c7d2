#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/config_watch.hpp"
#include "canary/adapters/toml_config.hpp"
#include "canary/control/splits.hpp"
#include "temporary_folder.hpp"

namespace config_watch_test {

namespace {

using canary::Config;
using canary::ConfigError;
using canary::ConfigWatch;

std::string file_with(const std::string& model) { return "[task.t]\ndefault_model = '" + model + "'\n"; }

/// What a watch reported, in order; tests wait for the next report.
class Reports {
 public:
  ConfigWatch::OnLoad on_load() {
    return [this](const Config& config) { add("loaded " + config.tasks.at(0).default_model); };
  }
  ConfigWatch::OnError on_error() {
    return [this](const ConfigError& error) { add("error at line " + std::to_string(error.faults().at(0).line)); };
  }

  /// The next report; a minute without one is a failure.
  std::string next() {
    std::unique_lock lock{mutex_};
    if (!arrived_.wait_for(lock, std::chrono::minutes{1}, [&] { return taken_ < reports_.size(); }))
      return "nothing came";
    return reports_[taken_++];
  }

  [[nodiscard]] std::size_t count() {
    const std::lock_guard lock{mutex_};
    return reports_.size();
  }

 private:
  void add(std::string text) {
    const std::lock_guard lock{mutex_};
    reports_.push_back(std::move(text));
    arrived_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::string> reports_;
  std::size_t taken_ = 0;
};

}  // namespace

TEST_CASE("watch: loads at once, and again after a rename over the file and a write into it", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("one"));
  Reports reports;
  const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.count() == 1);  // before the constructor returned
  CHECK(reports.next() == "loaded one");
  folder.replace("canary.toml", file_with("two"));
  CHECK(reports.next() == "loaded two");
  folder.write("canary.toml", file_with("three"));
  CHECK(reports.next() == "loaded three");
}

TEST_CASE("watch: a file that turns bad changes nothing, the last good configuration stays", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("good"));
  Reports reports;
  canary::Router router;
  const ConfigWatch watch{folder.path() / "canary.toml",
                          [&](const Config& config) {
                            (void)apply(config, router, [](const char*) -> const char* { return nullptr; });
                            reports.on_load()(config);
                          },
                          reports.on_error()};
  CHECK(reports.next() == "loaded good");
  folder.replace("canary.toml", "[task.t]\ndefault_model = 5\n");
  CHECK(reports.next() == "error at line 2");
  CHECK(watch.current()->tasks.at(0).default_model == "good");
  CHECK(router.route(router.find("t"), "anyone").model() == "good");
  folder.replace("canary.toml", "");
  CHECK(reports.next() == "error at line 0");
  folder.replace("canary.toml", file_with("better"));
  CHECK(reports.next() == "loaded better");
  CHECK(watch.current()->tasks.at(0).default_model == "better");
  CHECK(router.route(router.find("t"), "anyone").model() == "better");
}

TEST_CASE("watch: a file that is bad or missing from the start is reported, and loads once it is good",
          "[adapters][watch]") {
  const TemporaryFolder folder;
  Reports reports;
  const ConfigWatch watch{folder.path() / "etc" / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "error at line 0");
  CHECK(watch.current() == nullptr);
  std::filesystem::create_directory(folder.path() / "made");
  folder.write("made/canary.toml", file_with("late"));
  std::filesystem::rename(folder.path() / "made", folder.path() / "etc");
  CHECK(reports.next() == "loaded late");
}

TEST_CASE("watch: a file that goes away and comes back is followed", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("one"));
  Reports reports;
  const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "loaded one");
  std::filesystem::remove(folder.path() / "canary.toml");
  CHECK(reports.next() == "error at line 0");
  CHECK(watch.current()->tasks.at(0).default_model == "one");
  folder.replace("canary.toml", file_with("one"));
  CHECK(reports.next() == "loaded one");  // the same again, but it was lost in between
}

TEST_CASE("watch: links are followed where they stand, as a mounted config map swaps them", "[adapters][watch]") {
  namespace fs = std::filesystem;
  const TemporaryFolder folder;
  const fs::path volume = folder.path() / "volume";
  fs::create_directories(volume / "..2026_01");
  folder.write("volume/..2026_01/canary.toml", file_with("january"));
  fs::create_symlink("..2026_01", volume / "..data");
  fs::create_symlink("..data/canary.toml", volume / "canary.toml");
  fs::create_directory(folder.path() / "app");
  fs::create_symlink("../volume/canary.toml", folder.path() / "app" / "canary.toml");

  Reports reports;
  const ConfigWatch watch{folder.path() / "app" / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "loaded january");
  for (const std::string month : {"february", "march"}) {
    const std::string version = "..2026_" + month;
    fs::create_directory(volume / version);
    folder.write("volume/" + version + "/canary.toml", file_with(month));
    fs::create_symlink(version, volume / "..data_tmp");
    fs::rename(volume / "..data_tmp", volume / "..data");
    CHECK(reports.next() == "loaded " + month);
  }
  folder.write("volume/..2026_march/canary.toml", file_with("april"));  // and the file where it really is
  CHECK(reports.next() == "loaded april");
}

TEST_CASE("watch: what does not change the configuration calls nobody", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("one"));
  Reports reports;
  const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "loaded one");
  folder.write("other.toml", file_with("other"));                // another file
  folder.replace("canary.toml", "# note\n" + file_with("one"));  // the same configuration
  folder.replace("canary.toml", file_with("two"));
  CHECK(reports.next() == "loaded two");  // and nothing in between
}

TEST_CASE("watch: a file written in pieces is read when it is closed, not before", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("one"));
  Reports reports;
  const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "loaded one");
  std::filesystem::remove(folder.path() / "canary.toml");
  CHECK(reports.next() == "error at line 0");
  {
    std::ofstream file{folder.path() / "canary.toml"};  // a new, still empty file
    file << "[task.t]\n" << std::flush;
    folder.write("unrelated", "wakes the watch");
    file << "default_model = 'whole'\n" << std::flush;
  }
  CHECK(reports.next() == "loaded whole");
}

TEST_CASE("watch: many changes end with the last one", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("start"));
  Reports reports;
  const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
  for (int i = 0; i != 300; ++i) folder.replace("canary.toml", file_with("m" + std::to_string(i)));
  std::string last;
  while (last != "loaded m299" && last != "nothing came") last = reports.next();
  CHECK(last == "loaded m299");
  CHECK(reports.count() < 300);  // a burst is read once it settles
}

TEST_CASE("watch: comes and goes without leaving a descriptor or a thread", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("canary.toml", file_with("one"));
  const auto open_files = [] {
    const std::filesystem::directory_iterator files{"/proc/self/fd"};
    return std::distance(begin(files), end(files));
  };
  const auto before = open_files();
  for (int i = 0; i != 100; ++i) {
    Reports reports;
    const ConfigWatch watch{folder.path() / "canary.toml", reports.on_load(), reports.on_error()};
    CHECK(reports.count() == 1);
  }
  CHECK(open_files() == before);
}

TEST_CASE("watch: takes any loader, so that it needs no TOML", "[adapters][watch]") {
  const TemporaryFolder folder;
  folder.write("config", "anything");
  Reports reports;
  const auto load = [](const std::filesystem::path& path) {
    Config config;
    config.tasks.emplace_back().default_model = path.filename().string();
    return config;
  };
  const ConfigWatch watch{folder.path() / "config", load, reports.on_load(), reports.on_error()};
  CHECK(reports.next() == "loaded config");
}

}  // namespace config_watch_test
