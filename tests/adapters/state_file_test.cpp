// The state file: what is saved is what is loaded, files of the form before included, and nothing else is taken for one.
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../contract/store_helpers.hpp"
#include "canary/adapters/state_file.hpp"
#include "temporary_folder.hpp"

namespace state_file_test {

namespace {

using canary::load_state;
using canary::owner_of_state;
using canary::save_state;
using canary::ServingVersion;
using canary::StateFileError;
using canary::StateOf;
using canary::Status;
using canary::StoreState;
using canary::TaskSplit;

const std::string url = "sqlite:canary.db";

StoreState some_state() {
  TaskSplit split{"checks", 7, {}, {{2, "ft:gpt-4o:v2", Status::active}, {3, "with space ACTIVE", Status::deprecated}}};
  split.versions.push_back({4, "", Status::candidate});
  split.partition =
      canary::rebalance({}, std::vector<canary::WantedShare>{{2, 500'000}, {3, 100'000}, {4, 1}}).partition;
  return {url, {"a token", 17}, {split, {"others", 1, {}, {}}}};
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// The same lines with the checksum that they need.
std::string sealed(std::string lines) {
  lines += "end " + canary::detail::hex64(canary::seed_of(lines)) + '\n';
  return lines;
}

std::string without_end(const std::string& text) { return text.substr(0, text.rfind("end ")); }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

/// As an older program wrote it: without the place.
std::string in_form(int number, const std::string& lines) {
  std::string old = replaced(lines, "canary-state 3", "canary-state " + std::to_string(number));
  const std::size_t place = old.find("\nplace ");
  REQUIRE(place != std::string::npos);
  return old.erase(place, old.find('\n', place + 1) - place);
}

}  // namespace

TEST_CASE("state file: what is saved is loaded, each version with its status", "[adapters][state]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "canary.state";
  CHECK_FALSE(load_state(file, url));
  save_state(file, some_state());
  const auto loaded = load_state(file, url);
  REQUIRE(loaded);
  CHECK(loaded->url == url);
  CHECK(loaded->position == some_state().position);
  CHECK((loaded->tasks == some_state().tasks));
  CHECK(bytes_of(file).starts_with("canary-state 3\n"));
  CHECK(bytes_of(file).find("\nversion 3 DEPRECATED with space ACTIVE\n") != std::string::npos);
}

TEST_CASE("state file: one of the second form, which had no place, is read", "[adapters][state]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "canary.state";
  save_state(file, some_state());
  folder.write("canary.state", sealed(in_form(2, without_end(bytes_of(file)))));
  const auto loaded = load_state(file, url);
  REQUIRE(loaded);
  CHECK((loaded->tasks == some_state().tasks));
  CHECK(owner_of_state(file, url) == StateOf::store);
  CHECK(owner_of_state(file, "sqlite:another.db") == StateOf::unclear);  // or this one, spelled in another way
}

TEST_CASE("state file: it knows its store by where that lies, and never takes a broken file's word",
          "[adapters][state]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "canary.state";
  const std::string here = "sqlite:" + (folder.path() / "canary.db").string();
  CHECK(owner_of_state(file, here) == StateOf::nothing);
  StoreState state = some_state();
  state.url = here;
  save_state(file, state);
  CHECK(owner_of_state(file, here) == StateOf::store);
  const std::string roundabout = "sqlite:" + (folder.path() / "x" / ".." / "canary.db").string();
  CHECK(owner_of_state(file, roundabout) == StateOf::store);
  CHECK(load_state(file, roundabout));
  CHECK(owner_of_state(file, "sqlite:" + (folder.path() / "other.db").string()) == StateOf::another);
  CHECK(owner_of_state(file, "postgresql://ada@host/db") == StateOf::another);
  std::filesystem::create_directory(folder.path() / "moved");
  std::filesystem::rename(file, folder.path() / "moved" / "canary.state");
  CHECK(owner_of_state(folder.path() / "moved" / "canary.state",
                       "sqlite:" + (folder.path() / "moved" / "canary.db").string()) == StateOf::store);
  const std::string good = bytes_of(folder.path() / "moved" / "canary.state");
  for (const std::string& bad : {std::string{}, good.substr(0, good.size() / 2), replaced(good, "store ", "store x")}) {
    folder.write("canary.state", bad);
    CHECK(owner_of_state(file, "sqlite:/other.db") == StateOf::unclear);
  }
}

TEST_CASE("state file: one of the first form is read, its versions as ACTIVE", "[adapters][state]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "canary.state";
  save_state(file, some_state());
  std::string lines = in_form(1, without_end(bytes_of(file)));
  lines = replaced(lines, "version 2 ACTIVE ", "version 2 ");
  lines = replaced(lines, "version 3 DEPRECATED with space", "version 3 DEPRECATED");  // a model may begin so
  lines = replaced(lines, "version 4 CANDIDATE ", "version 4 ");
  folder.write("canary.state", sealed(lines));
  const auto loaded = load_state(file, url);
  REQUIRE(loaded);
  CHECK(loaded->tasks.at(0).versions == std::vector<ServingVersion>{{2, "ft:gpt-4o:v2", Status::active},
                                                                    {3, "DEPRECATED ACTIVE", Status::active},
                                                                    {4, "", Status::active}});
}

TEST_CASE("state file: what is of no known form is told", "[adapters][state]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "canary.state";
  save_state(file, some_state());
  const std::string good = bytes_of(file);
  const std::string lines = without_end(good);
  for (const std::string& bad :
       {good.substr(0, good.size() - 1), good.substr(0, good.size() / 2), replaced(good, "checks", "cheeks"),
        std::string{}, sealed(replaced(lines, "canary-state 3", "canary-state 4")),
        sealed(replaced(lines, "ACTIVE ft", "ON ft")), sealed(replaced(lines, "2 ACTIVE ft", "2 ft")),
        sealed(replaced(lines, "2 ACTIVE ft:gpt-4o:v2", "2 ACTIVE"))}) {
    INFO(bad);
    folder.write("canary.state", bad);
    CHECK_THROWS_AS(load_state(file, url), StateFileError);
  }
  folder.write("canary.state", good);
  CHECK(load_state(file, url));
  CHECK_THROWS_AS(load_state(file, "sqlite:another.db"), StateFileError);
}

}  // namespace state_file_test
