// A configuration that is edited while the server runs: each good version of the file is applied with the fewest keys
// moved, a bad one changes nothing and is reported.
#include <canary/adapters/config_watch.hpp>
#include <canary/adapters/toml_config.hpp>
#include <canary/control/splits.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>

#include <unistd.h>

namespace {

namespace fs = std::filesystem;

/// Written aside, then renamed, so that nobody ever reads half a file.
void write(const fs::path& path, const std::string& percent) {
  const fs::path aside = path.string() + ".new";
  std::ofstream{aside}
      << "[store]\nurl = \"memory:\"\n\n[task.checklist_enrichment]\ndefault_model = \"gpt-4o-mini\"\n\n"
         "[[task.checklist_enrichment.version]]\nmodel = \"ft:gpt-4o-mini:acme:v7\"\npercent = "
      << percent << '\n';
  fs::rename(aside, path);
}

/// Counts what the watch reports, so that this program can wait for it. A server need not.
class Heard {
 public:
  void one() {
    const std::lock_guard lock{mutex_};
    ++count_;
    changed_.notify_all();
  }
  bool wait_for(int count) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

}  // namespace

int main() {
  const fs::path folder = fs::temp_directory_path() / ("canary-reload-" + std::to_string(::getpid()));
  const fs::path path = folder / "canary.toml";
  fs::create_directory(folder);
  write(path, "10");

  canary::Router router;
  Heard heard;
  const auto on_load = [&](const canary::Config& config) {
    const canary::ApplyResult result =
        canary::apply(config, router, [](const char* name) { return std::getenv(name); });
    for (const canary::TaskChange& change : result.changes)
      std::cout << change.task << ": revision " << change.split.revision << ", " << change.split.points_moved
                << " points moved, the least possible is " << change.split.points_minimum << '\n';
    heard.one();
  };
  const auto on_error = [&](const canary::ConfigError& error) {
    std::cout << error.what() << "\nthe split stays as it was\n";
    heard.one();
  };

  bool good = true;
  {
    const canary::ConfigWatch watch{path, on_load, on_error};
    const canary::Task task = router.task("checklist_enrichment");
    good = heard.wait_for(1) && router.revision(task) == 1;
    write(path, "25");
    good = good && heard.wait_for(2) && router.revision(task) == 2;
    write(path, "250");
    good = good && heard.wait_for(3) && router.revision(task) == 2;
    write(path, "50");
    good = good && heard.wait_for(4) && router.revision(task) == 3;
  }
  fs::remove_all(folder);
  return good ? 0 : 1;
}
