// Compares every value of assignment.json with what this build answers, through the router and through the parts that
// it is made of. The file pins behaviour for users: see the message that each mismatch carries.
#include <canary/core/router.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "test_paths.hpp"

namespace {

using canary::Owner;
using canary::Point;
using golden::Json;

// Every comparison of this file goes through here.
template <class Value>
void expect(const std::string& where, const Value& got, const Value& golden) {
  INFO(
      where << " is not what tests/golden/assignment.json says. "
            << "This is a break for users: with this build their traffic would move between versions, or disagree with "
            << "other programs that follow docs/assignment.md. Mend the code; the file only ever grows.");
  CHECK(got == golden);
}

const Json& document() {
  static const Json json = [] {
    const std::string path = std::string{CANARY_SOURCE_DIR} + "/tests/golden/assignment.json";
    std::string text;
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file != nullptr) {
      char buffer[1 << 16];
      while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, size);
      std::fclose(file);
    }
    golden::JsonReader reader{text};
    Json read;
    const bool good = reader.read(read);
    INFO(path << ':' << reader.error());
    REQUIRE(good);
    return read;
  }();
  return json;
}

std::uint64_t hex64(std::string_view text) {
  std::uint64_t value = 0;
  REQUIRE((text.size() == 18 && text.starts_with("0x")));
  for (const char c : text.substr(2)) value = value << 4 | std::string_view{"0123456789abcdef"}.find(c);
  return value;
}

struct Key {
  std::string bytes;
  std::uint64_t number = 0;
  bool is_number = false;

  [[nodiscard]] Point point(std::uint64_t seed) const {
    return is_number ? canary::point_of(number, seed) : canary::point_of(bytes, seed);
  }
  template <class Router>
  [[nodiscard]] canary::Decision route(Router&& router, canary::Task task) const {
    return is_number ? router.route(task, number) : router.route(task, bytes);
  }
};

/// `{"key": "TEXT"}`, `{"key": "hex:BYTES"}` or `{"u64": "NUMBER"}`.
Key key_of(const Json& entry) {
  Key key;
  key.is_number = entry.has("u64");
  if (key.is_number) {
    for (const char digit : entry["u64"].text()) key.number = key.number * 10 + static_cast<std::uint64_t>(digit - '0');
    return key;
  }
  const std::string& text = entry["key"].text();
  if (!text.starts_with("hex:")) return key.bytes = text, key;
  constexpr std::string_view digits = "0123456789abcdef";
  for (std::size_t i = 4; i + 1 < text.size(); i += 2)
    key.bytes += static_cast<char>(digits.find(text[i]) << 4 | digits.find(text[i + 1]));
  return key;
}

canary::Partition::Runs runs_of(const Json& step) {
  canary::Partition::Runs runs;
  for (const Json& run : step["runs"].items())
    runs.push_back({static_cast<Point>(run[0].number()), static_cast<Owner>(run[1].number())});
  return runs;
}

canary::Partition::Shares shares_of(const Json& step) {
  canary::Partition::Shares shares;
  for (const Json& version : step["versions"].items())
    if (version["ppm"].number() != 0)
      shares.push_back({static_cast<Owner>(version["owner"].number()),
                        static_cast<std::uint32_t>(version["ppm"].number()), version["points"].number()});
  return shares;
}

std::string place(const Json& task, const Json& step) {
  return task["task"].text() + " (" + step["about"].text() + "): ";
}

/// A key for people: what is not plain ASCII as a dot, long ones cut.
std::string text_of(const Key& key) {
  if (key.is_number) return std::to_string(key.number);
  std::string text = key.bytes.substr(0, 40);
  for (char& c : text)
    if (c < ' ' || c > '~') c = '.';
  return '`' + text + "` of " + std::to_string(key.bytes.size()) + " bytes";
}

void expect_partition(const std::string& where, const canary::Partition& got, const Json& step) {
  const canary::Partition golden{runs_of(step), shares_of(step)};
  expect(where + "validity of the partition", golden.valid(), true);
  expect(where + "number of runs", got.runs().size(), golden.runs().size());
  for (std::size_t i = 0; i != std::min(got.runs().size(), golden.runs().size()); ++i) {
    expect(where + "start of run " + std::to_string(i), got.runs()[i].start, golden.runs()[i].start);
    expect(where + "owner of run " + std::to_string(i), got.runs()[i].owner, golden.runs()[i].owner);
  }
  expect(where + "number of shares", got.shares().size(), golden.shares().size());
  for (std::size_t i = 0; i != std::min(got.shares().size(), golden.shares().size()); ++i)
    expect(where + "share " + std::to_string(i), got.shares()[i] == golden.shares()[i], true);
}

void expect_decision(const std::string& where, canary::Decision got, const Json& golden, std::uint64_t revision) {
  expect(where + " point", std::uint64_t{got.point()}, golden["point"].number());
  expect(where + " version", got.version_id(), std::string_view{golden["version"].text()});
  expect(where + " model", got.model(), std::string_view{golden["model"].text()});
  expect(where + " reason", to_string(got.reason()), std::string_view{golden["reason"].text()});
  expect(where + " revision", std::uint64_t{got.revision()}, revision);
}

/// One key at a time, by a Reader, and in a batch.
void expect_decisions(const std::string& where, const canary::Router& router, canary::Task task, const Json& step) {
  const std::uint64_t revision = step["revision"].number();
  const std::vector<Json>& entries = step["decisions"].items();
  canary::Reader reader = router.reader();
  std::vector<Key> keys;
  for (const Json& entry : entries) keys.push_back(key_of(entry));
  std::vector<std::string_view> texts;
  std::vector<std::uint64_t> numbers;
  for (std::size_t i = 0; i != entries.size(); ++i) {
    const std::string at = where + "key " + text_of(keys[i]);
    expect_decision(at + " by route():", keys[i].route(router, task), entries[i], revision);
    expect_decision(at + " by Reader:", keys[i].route(reader, task), entries[i], revision);
    if (keys[i].is_number)
      numbers.push_back(keys[i].number);
    else
      texts.push_back(keys[i].bytes);
  }
  std::vector<canary::Decision> by_text(texts.size());
  std::vector<canary::Decision> by_number(numbers.size());
  router.route_many(task, texts, by_text);
  router.route_many(task, numbers, by_number);
  auto text = by_text.begin();
  auto number = by_number.begin();
  for (std::size_t i = 0; i != entries.size(); ++i)
    expect_decision(where + "key " + text_of(keys[i]) + " by route_many():", keys[i].is_number ? *number++ : *text++,
                    entries[i], revision);
}

canary::TaskOptions options_of(const Json& task) {
  return {task["default_model"].text(), task["salt"].text(), task["forced_model"].text()};
}

/// The ppm that a step asks for, by owner. Owner numbers are the golden ones: naming is the router's part.
std::vector<canary::WantedShare> wanted_of(const Json& step) {
  std::vector<canary::WantedShare> wanted;
  for (const canary::OwnerShare& share : shares_of(step))
    if (share.owner != canary::default_owner) wanted.push_back({share.owner, share.ppm});
  return wanted;
}

/// What a compiled table answers at every border between owners, and for every key.
void expect_table(const std::string& where, const canary::Partition& partition, const Json& task, const Json& step) {
  const canary::AliasTable table = compile(partition);
  const auto at = [&](Point point) { return canary::select(table.cells.data(), table.columns_log2, point); };
  const canary::Partition::Runs runs = runs_of(step);
  for (std::size_t i = 0; i != runs.size(); ++i) {
    const std::string run = where + "run " + std::to_string(i);
    const Point last = (i + 1 == runs.size() ? 0 : runs[i + 1].start) - 1;
    expect(run + ": owner of its first point", at(runs[i].start), runs[i].owner);
    expect(run + ": owner of its last point", at(last), runs[i].owner);
  }
  const std::uint64_t seed = hex64(task["seed"].text());
  for (const Json& entry : step["decisions"].items()) {
    const Key key = key_of(entry);
    const Json& version = step["versions"][at(key.point(seed))];
    if (entry["reason"].text() == "forced") continue;
    expect(where + "version of " + text_of(key) + " by the table", version["id"].text(), entry["version"].text());
  }
}

bool has_crowded_column(const canary::Partition& partition) {
  const canary::AliasTable table = compile(partition);
  return std::any_of(table.cells.begin(), table.cells.begin() + (std::ptrdiff_t{1} << table.columns_log2),
                     [](const canary::Column& column) { return column.owners[0] == canary::crowded; });
}

}  // namespace

TEST_CASE("golden: a salt makes the same seed everywhere", "[golden][hash]") {
  REQUIRE(document()["seeds"].items().size() >= 10);
  for (const Json& entry : document()["seeds"].items())
    expect("the seed of salt " + entry["salt"].text(), canary::seed_of(entry["salt"].text()),
           hex64(entry["seed"].text()));
}

TEST_CASE("golden: a key falls on the same point everywhere", "[golden][hash]") {
  std::vector<std::size_t> sizes;
  for (const Json& entry : document()["points"].items()) {
    const std::uint64_t seed = hex64(entry["seed"].text());
    const Key key = key_of(entry);
    expect("the seed of salt " + entry["salt"].text(), canary::seed_of(entry["salt"].text()), seed);
    expect("the point of " + text_of(key), std::uint64_t{key.point(seed)}, entry["point"].number());
    if (!key.is_number) sizes.push_back(key.bytes.size());
  }
  // XXH3 takes another path in each of these classes of length.
  for (const std::size_t size : {0u, 1u, 3u, 4u, 8u, 9u, 16u, 17u, 36u, 64u, 128u, 129u, 240u, 241u, 1'000u}) {
    INFO("no key of " << size << " bytes");
    CHECK(std::find(sizes.begin(), sizes.end(), size) != sizes.end());
  }
}

TEST_CASE("golden: the router answers every split and every decision as pinned", "[golden][router]") {
  REQUIRE(document()["splits"].items().size() >= 10);
  for (const Json& entry : document()["splits"].items()) {
    canary::Router router;
    const canary::Task task = router.task(entry["task"].text(), options_of(entry));
    expect(entry["task"].text() + ": seed", task.seed(), hex64(entry["seed"].text()));
    for (const Json& step : entry["steps"].items()) {
      const std::string where = place(entry, step);
      if (!step["shares"].is(Json::Kind::null)) {
        std::vector<canary::VersionShare> shares;
        for (const Json& share : step["shares"].items())
          shares.push_back({share["model"].text(), static_cast<std::uint32_t>(share["ppm"].number()),
                            share.has("id") ? std::string_view{share["id"].text()} : std::string_view{}});
        const canary::SplitResult result = router.set_split(task, shares);
        expect(where + "error", result.error, canary::Errc::ok);
        expect(where + "points moved", result.points_moved, step["points_moved"].number());
        expect(where + "least possible", result.points_minimum, step["points_minimum"].number());
      }
      expect(where + "revision", std::uint64_t{router.revision(task)}, step["revision"].number());
      Owner owner = 0;
      for (const Json& version : step["versions"].items()) {
        const canary::VersionName name = router.version(task, owner++);
        expect(where + "id of owner " + std::to_string(owner - 1), name.id, std::string_view{version["id"].text()});
        expect(where + "model of owner " + std::to_string(owner - 1), name.model,
               std::string_view{version["model"].text()});
      }
      expect(where + "number of versions", router.version(task, owner).id, std::string_view{});
      expect_partition(where, router.partition(task), step);
      expect_decisions(where, router, task, step);
    }
  }
}

TEST_CASE("golden: partition and table alone answer as pinned", "[golden][partition]") {
  bool crowded = false;
  for (const Json& entry : document()["splits"].items()) {
    canary::Partition partition;
    for (const Json& step : entry["steps"].items()) {
      const std::string where = place(entry, step);
      if (!step["shares"].is(Json::Kind::null)) {
        const std::vector<canary::WantedShare> wanted = wanted_of(step);
        canary::Rebalanced to = rebalance(partition, wanted);
        expect(where + "points moved", to.points_moved, step["points_moved"].number());
        expect(where + "least possible", to.points_minimum, step["points_minimum"].number());
        partition = std::move(to.partition);
      }
      expect_partition(where, partition, step);
      expect_table(where, partition, entry, step);
      crowded = crowded || has_crowded_column(partition);
    }
  }
  INFO("no step has a column with several cuts: that path is not pinned");
  CHECK(crowded);
}

TEST_CASE("golden: the reader takes the JSON it is meant for and nothing else", "[golden][json]") {
  Json json;
  REQUIRE(golden::JsonReader{R"( {"a": [0, 18446744073709551615, true, null], "b": "\u00e9\ud83d\udc24\"\\\n"} )"}.read(
      json));
  CHECK(json["a"][1].number() == 18'446'744'073'709'551'615u);
  CHECK(json["a"][2].is(Json::Kind::boolean));
  CHECK(json["a"][3].is(Json::Kind::null));
  CHECK(json["b"].text() == "\xC3\xA9\xF0\x9F\x90\xA4\"\\\n");
  CHECK_FALSE(json.has("c"));
  for (const std::string_view bad : {"",
                                     "{",
                                     "[1,]",
                                     "[1 2]",
                                     R"({"a":1,})",
                                     R"({"a":1,"a":2})",
                                     "{a:1}",
                                     R"({"a" 1})",
                                     "01",
                                     "-1",
                                     "1.5",
                                     "1e3",
                                     "18446744073709551616",
                                     "tru",
                                     "[1]]",
                                     R"("a)",
                                     "\"\x01\"",
                                     "\"\xC3\xA9\"",
                                     R"("\x")",
                                     R"("\u12g4")",
                                     R"("\ud83d")",
                                     R"("\ud83d\u0041")",
                                     R"("\udc24")"}) {
    INFO("taken, though it is no JSON: " << bad);
    Json none;
    golden::JsonReader reader{bad};
    CHECK_FALSE(reader.read(none));
    CHECK_FALSE(reader.error().empty());
  }
  Json deep;
  CHECK_FALSE(golden::JsonReader{std::string(100'000, '[')}.read(deep));
  golden::JsonReader reader{"[1,\n  ?]"};
  CHECK_FALSE(reader.read(deep));
  CHECK(reader.error() == "2:3: no value");
}
