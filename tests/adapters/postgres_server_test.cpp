// PostgresStore and a server that stops, dies and comes back: a cluster of the test's own.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/postgres_store.hpp"
#include "postgres_database.hpp"
#include "temporary_folder.hpp"
#include "test_paths.hpp"

namespace postgres_server_test {

namespace {

using canary::Commit;
using canary::CommitResult;
using canary::PostgresOptions;
using canary::PostgresStore;
using canary::StoreErrc;
using canary::StorePosition;
using std::chrono::milliseconds;
using test::change;
using test::change_to;
using test::error_of;
using test::version_of;
using Clock = std::chrono::steady_clock;

class Cluster {
 public:
  Cluster() {
    (void)test::postgres_server();  // skips
    control("start");
    std::ifstream env{folder_.path() / "env"};
    const std::string name = "CANARY_TEST_POSTGRES='";
    for (std::string line; std::getline(env, line);)
      if (line.starts_with(name)) url_ = line.substr(name.size(), line.size() - name.size() - 1);
    REQUIRE_FALSE(url_.empty());
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  ~Cluster() { (void)run("stop"); }

  void control(const std::string& verb) const { REQUIRE(run(verb) == 0); }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  [[nodiscard]] int run(const std::string& verb) const {
    const std::string script = CANARY_SOURCE_DIR "/scripts/postgres.sh";
    return std::system(("'" + script + "' " + verb + " '" + folder_.path().string() + "' >/dev/null").c_str());
  }

  TemporaryFolder folder_;
  std::string url_;
};

template <class Call>
milliseconds time_of_unreachable(Call call) {
  const auto start = Clock::now();
  CHECK(error_of(call).code == StoreErrc::unreachable);
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

}  // namespace

TEST_CASE("postgres: a stopped server is unreachable within the time-out, and works again when it goes on",
          "[adapters][postgres]") {
  const Cluster cluster;
  PostgresOptions options;
  options.timeout_ms = 500;
  PostgresStore store{cluster.url(), options};
  PostgresStore fresh{cluster.url(), options};
  const auto follower = store.follow();
  REQUIRE(change(store, "checks", {version_of(1, 1)}) == CommitResult::done);
  const StorePosition position = follower->changes({}).position;
  const Commit next = change_to(store.load("checks", {}), {version_of(1, 2)});

  cluster.control("pause");
  constexpr milliseconds least{480};
  constexpr milliseconds most{1'500};
  for (int i = 0; i != 2; ++i) {  // on the connection that was there, and on a new one
    CAPTURE(i);
    const milliseconds read = time_of_unreachable([&] { (void)store.load("checks", {}); });
    const milliseconds follow = time_of_unreachable([&] { (void)follower->changes(position); });
    CHECK((read >= least && read < most));
    CHECK((follow >= least && follow < most));
  }
  const milliseconds write = time_of_unreachable([&] { (void)fresh.commit(next); });
  CHECK((write >= least && write < most));

  cluster.control("resume");
  CHECK(store.commit(next) == CommitResult::done);
  CHECK(follower->changes(position).tasks.size() == 1);
  CHECK(store.load("checks", {}).revision == 2);
}

TEST_CASE("postgres: a server that was killed and started again is found by the next call, and nothing is lost",
          "[adapters][postgres]") {
  const Cluster cluster;
  PostgresStore store{cluster.url()};
  const auto follower = store.follow();
  REQUIRE(change(store, "checks", {version_of(1, 1)}) == CommitResult::done);
  const StorePosition position = follower->changes({}).position;
  const Commit next = change_to(store.load("checks", {}), {version_of(1, 2)});

  cluster.control("kill");
  cluster.control("restart");
  CHECK(store.commit(next) == CommitResult::done);
  CHECK(follower->changes(position).tasks.size() == 1);

  cluster.control("kill");
  CHECK(time_of_unreachable([&] { (void)store.load("checks", {}); }) < milliseconds{2'000});
  const auto start = Clock::now();
  for (int i = 0; i != 4; ++i) {  // 50, 100, 200, 400 ms
    CHECK(time_of_unreachable([&] { (void)follower->changes(position); }) < milliseconds{2'000});
    follower->wait(milliseconds{5'000});
  }
  CHECK(Clock::now() - start >= milliseconds{600});
  CHECK(Clock::now() - start < milliseconds{4'000});

  cluster.control("restart");
  std::size_t tasks = 0;
  const auto until = Clock::now() + milliseconds{20'000};
  while (tasks == 0 && Clock::now() < until) {
    follower->wait(milliseconds{5'000});
    try {
      tasks = follower->changes(position).tasks.size();
    } catch (const canary::StoreError&) {
    }
  }
  CHECK(tasks == 1);
  CHECK(store.load("checks", {}).revision == 2);
  CHECK(store.history("checks", {}).size() == 2);
}

TEST_CASE("postgres: a server that stops in the middle of commits loses none that was done", "[adapters][postgres]") {
  const Cluster cluster;
  PostgresOptions options;
  options.timeout_ms = 2'000;
  std::atomic<bool> stop{false};
  std::uint32_t done = 0;
  std::uint32_t unreachable = 0;
  std::uint32_t wrong = 0;
  bool unknown = false;  // the store said that it could not make it out
  std::thread writer{[&] {
    PostgresStore store{cluster.url(), options};
    while (!stop) {
      try {
        const auto now = store.load("checks", {.all = true});
        // One writer: what it was told last must be how the task stands.
        if (now.revision != done && !(unknown && now.revision == done + 1)) ++wrong;
        done = now.revision;
        unknown = false;
        if (store.commit(change_to(now, {version_of(1, now.revision % 1'000)})) == CommitResult::done) ++done;
      } catch (const canary::StoreError& error) {
        if (error.code != StoreErrc::unreachable) ++wrong;
        unknown = unknown || std::string_view{error.what()}.find("could not be made out") != std::string_view::npos;
        ++unreachable;
        std::this_thread::sleep_for(milliseconds{20});
      }
    }
  }};
  for (int i = 0; i != 3; ++i) {
    std::this_thread::sleep_for(milliseconds{300 + 100 * i});
    cluster.control("kill");
    cluster.control("restart");
  }
  std::this_thread::sleep_for(milliseconds{500});
  stop = true;
  writer.join();
  CHECK(wrong == 0);
  CHECK(done > 10);
  INFO(unreachable << " times unreachable");
  const std::uint32_t revision = PostgresStore{cluster.url()}.load("checks", {}).revision;
  CHECK((revision == done || (unknown && revision == done + 1)));
}

}  // namespace postgres_server_test
