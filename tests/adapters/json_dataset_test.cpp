#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../control/dataset_table.hpp"
#include "canary/adapters/json_dataset.hpp"
#include "temporary_folder.hpp"
#include "test_paths.hpp"

namespace json_dataset_test {

using namespace canary;
using namespace canary::test;

namespace {

class Files : public TemporaryFolder {
 public:
  /// Writes a file; its path.
  [[nodiscard]] std::string file(const std::string& name, std::string_view text) const {
    write(name, text);
    return (path() / name).string();
  }
  [[nodiscard]] DatasetReport check(std::string_view text, const DatasetOptions& options = {}) const {
    return check_dataset({.training = file("train.jsonl", text)}, options);
  }
};

std::string good_lines(DatasetFormat format, int count, int first = 0) {
  std::string text;
  for (int i = first; i != first + count; ++i) text += good_line(format, i) + '\n';
  return text;
}

using Codes = std::vector<std::string>;

Codes codes_of(const DatasetReport& report) {
  Codes codes;
  for (const Finding& finding : report.findings) codes.emplace_back(finding.code);
  return codes;
}

std::string sha256_of(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.finish();
}

/// Events as text, to compare what two parsers tell.
class Told final : public JsonEvents {
 public:
  std::string text;

  void begin_object(std::size_t at) override { add("{", at); }
  void end_object(std::size_t at) override { add("}", at); }
  void begin_array(std::size_t at) override { add("[", at); }
  void end_array(std::size_t at) override { add("]", at); }
  void key(const JsonText& key) override { add("key " + std::string{key.text} + (key.plain ? "" : "*"), key.at); }
  void string(const JsonText& value) override {
    add("text " + std::string{value.text} + (value.plain ? "" : "*"), value.at);
  }
  void number(double value, std::size_t at) override { add(std::to_string(value), at); }
  void boolean(bool value, std::size_t at) override { add(value ? "true" : "false", at); }
  void null(std::size_t at) override { add("null", at); }

 private:
  void add(const std::string& what, std::size_t at) { text += std::to_string(at) + ' ' + what + '\n'; }
};

std::string told(std::string_view document) {
  detail::BoostJsonParser parser;
  Told events;
  return parser.parse(document, events) ? events.text : events.text + "bad";
}

std::uint64_t peak_memory_kb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss);
}

const std::string data = std::string{CANARY_SHARED_DATA_DIR} + "/fine_tune/";

}  // namespace

// --- the parser ------------------------------------------------------------------------------------------------------

TEST_CASE("json: every value is told with the byte where it begins", "[adapters][json]") {
  CHECK(told("{}") == "0 {\n1 }\n");
  CHECK(told(" [ 1 , -2.5e1,true, false ,null ] ") ==
        "1 [\n3 1.000000\n7 -25.000000\n14 true\n20 false\n27 null\n32 ]\n");
  CHECK(told(R"({"a":"b","":""})") == "0 {\n1 key a\n5 text b\n9 key \n12 text \n14 }\n");
  CHECK(told("{\"a\\n\" : \"\\\"\\\\\", \"c\":18446744073709551615}") ==
        "0 {\n1 key a\n*\n9 text \"\\*\n17 key c\n21 18446744073709551616.000000\n41 }\n");
  CHECK(told(R"([["\\"],"\\\"",{"x\"y":1}])") ==
        "0 [\n1 [\n2 text \\*\n6 ]\n8 text \\\"*\n15 {\n16 key x\"y*\n23 1.000000\n24 }\n25 ]\n");
  CHECK(told("[\"\u00E9\",\"x\"]") == "0 [\n1 text \u00E9\n6 text x\n9 ]\n");
  // Longer than the parser's own buffer for texts with escapes.
  const std::string longest(10'000, 'x');
  CHECK(told("[\"" + longest + "\\t" + longest + "\",1]") ==
        "0 [\n1 text " + longest + "\t" + longest + "*\n20006 1.000000\n20007 ]\n");
  CHECK(told("[\"\\u00e9" + longest + "\",\"y\"]") == "0 [\n1 text \u00E9" + longest + "*\n10010 text y\n10013 ]\n");
}

TEST_CASE("json: nothing is good but one document", "[adapters][json]") {
  for (const char* bad :
       {"", " ", "{", "{}{}", "{} x", "[1,]", "{\"a\":}", "\"\xFF\"", "01", "nul", "'a'", "\"\\ud800\""})
    CHECK(told(bad).ends_with("bad"));
  CHECK_FALSE(told(std::string(64, '[') + std::string(64, ']')).ends_with("bad"));
  CHECK(told(std::string(65, '[') + std::string(65, ']')).ends_with("bad"));
  CHECK(told(std::string(1'000'000, '[')).ends_with("bad"));
}

TEST_CASE("json: what the parser refuses is explained, and nothing else is", "[adapters][json]") {
  std::vector<std::string> seeds;
  for (const auto& table : {broken_lines(), wrong_lines()})
    for (const BadLine& bad : table) seeds.push_back(bad.line().substr(0, 400));
  constexpr char spices[] = "{}[]\",:\\ntf0123456789.eE+-u \t'/\x00\x1F\xC3\xA9\xFF";
  const std::string_view spice{spices, sizeof spices - 1};
  std::uint64_t random = 5;
  const auto next = [&random](std::size_t bound) {
    random = detail::mix(random + 0x9E37'79B9'7F4A'7C15);
    return static_cast<std::size_t>(random % bound);
  };
  std::size_t good = 0;
  std::size_t bad = 0;
  for (int i = 0; i != 60'000; ++i) {
    std::string line = seeds[next(seeds.size())];
    for (std::size_t change = next(4); change != 0 && !line.empty(); --change) {
      const std::size_t at = next(line.size());
      if (next(3) == 0)
        line.erase(at, 1 + next(3));
      else if (next(2) == 0)
        line[at] = spice[next(spice.size())];
      else
        line.insert(at, 1, spice[next(spice.size())]);
    }
    const bool parsed = !told(line).ends_with("bad");
    const auto fault = explain_json(line);
    (parsed ? good : bad) += 1;
    if (parsed == fault.has_value() && !(fault && fault->code == FindingCode::number_too_large))
      FAIL(line << ": parsed " << parsed << (fault ? ", but " + fault->message : std::string{}));
    if (fault && fault->at > line.size()) FAIL(line << ": a place behind the end");
  }
  CHECK(good > 5'000);
  CHECK(bad > 5'000);
}

// --- lines -----------------------------------------------------------------------------------------------------------

TEST_CASE("check_dataset: every kind of bad line is named at its file, line and column", "[adapters][json]") {
  const Files files;
  for (const auto& table : {broken_lines(), wrong_lines()})
    for (const BadLine& bad : table) {
      DYNAMIC_SECTION(bad.name) {
        const std::string training =
            files.file("train.jsonl", good_lines(bad.format, 10) + bad.line() + '\n' + good_line(bad.format, 10));
        const std::string validation = files.file("val.jsonl", good_lines(bad.format, 1, 100));
        const DatasetReport report = check_dataset({training, validation}, {.format = bad.format});
        bool found = false;
        for (const Finding& finding : report.findings) {
          CHECK(finding.file == training);
          CHECK(finding.line == 11);
          found |= finding.code == bad.code && finding.column == bad.column();
        }
        CAPTURE(bad.line(), bad.code, bad.column(), codes_of(report));
        CHECK(found);
        CHECK(report.findings.size() == 1 + bad.more);
      }
    }
}

TEST_CASE("check_dataset: real data passes, and the toy's faults are named at their lines", "[adapters][json]") {
  if (!std::filesystem::exists(data + "pirate_training_set.jsonl")) SKIP("no shared data in " << data);
  const DatasetReport pirate = check_dataset({.training = data + "pirate_training_set.jsonl"}, {});
  CHECK(pirate.findings.empty());
  CHECK(pirate.ok);
  CHECK(pirate.format == DatasetFormat::chat);
  CHECK(pirate.examples == 10);
  CHECK(pirate.estimate.epochs == 10);
  // 584 and 591 by two vocabularies in use.
  CHECK(pirate.estimate.tokens > 560);
  CHECK(pirate.estimate.tokens < 620);

  const DatasetReport toy = check_dataset({.training = data + "toy_chat_fine_tuning.jsonl"}, {});
  REQUIRE(codes_of(toy) == Codes{"no_user_message", "over_long", "too_few_examples"});
  CHECK(toy.findings[0].line == 4);
  CHECK(toy.findings[0].column == 14);
  CHECK(toy.findings[1].line == 5);
  CHECK(toy.findings[2].line == 0);
  CHECK_FALSE(toy.ok);
  CHECK(toy.examples == 5);
  CHECK(toy.estimate.tokens > 7'400);  // 8,233 and 8,242
  CHECK(toy.estimate.tokens < 8'700);
}

// --- files -----------------------------------------------------------------------------------------------------------

TEST_CASE("check_dataset: the hash is of the bytes that were checked", "[adapters][json]") {
  const Files files;
  const std::string training = good_lines(DatasetFormat::chat, 4'000) + "broken";  // several blocks
  const std::string validation = good_lines(DatasetFormat::chat, 3, 9'000);
  const DatasetReport report = check_dataset({files.file("a", training), files.file("b", validation)}, {});
  CHECK(report.training_sha256 == sha256_of(training));
  CHECK(report.validation_sha256 == sha256_of(validation));
  CHECK(report.training_bytes == training.size());
  CHECK(report.validation_bytes == validation.size());
  CHECK(report.examples == 4'000);
  CHECK(codes_of(report) == Codes{"bad_literal"});
}

TEST_CASE("check_dataset: files that cannot be read are findings", "[adapters][json]") {
  const Files files;
  const auto only = [](const DatasetReport& report) {
    REQUIRE(report.findings.size() == 1);
    CHECK_FALSE(report.ok);
    CHECK(report.findings[0].line == 0);
    CHECK(report.training_sha256.empty());
    return report.findings[0];
  };
  const std::string missing = (files.path() / "none.jsonl").string();
  const Finding none = only(check_dataset({.training = missing}, {}));
  CHECK(none.code == "unreadable");
  CHECK(none.file == missing);
  CHECK(none.message.find("No such file") != std::string::npos);
  CHECK(only(check_dataset({.training = files.path().string()}, {})).code == "not_a_file");
  CHECK(only(check_dataset({.training = "/dev/zero"}, {})).code == "not_a_file");
  CHECK(only(check_dataset({.training = ""}, {})).code == "unreadable");
  CHECK(only(check_dataset({.training = "/proc/self/mem"}, {})).code == "unreadable");  // opens, and cannot be read
  if (::geteuid() != 0) {
    const std::string closed = files.file("closed", "x");
    ::chmod(closed.c_str(), 0);
    CHECK(only(check_dataset({.training = closed}, {})).code == "unreadable");
  }
  const DatasetReport second =
      check_dataset({files.file("train.jsonl", good_lines(DatasetFormat::chat, 10)), missing}, {});
  CHECK(codes_of(second) == Codes{"unreadable"});
  CHECK(second.findings[0].file == missing);
  CHECK(codes_of(check_dataset({.training = files.file("empty", "")}, {})) == Codes{"empty_file"});
}

TEST_CASE("check_dataset: a pipe is read as a file is", "[adapters][json]") {
  const Files files;
  const std::string pipe = (files.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::string text = good_lines(DatasetFormat::chat, 5'000);
  std::thread writer{[&] { (void)files.file("pipe", text); }};
  std::uint64_t done = 0;
  const DatasetReport report = check_dataset({.training = pipe}, {}, [&done](std::uint64_t bytes, std::uint64_t total) {
    done = bytes;
    CHECK(total == 0);
  });
  writer.join();
  CHECK(report.ok);
  CHECK(report.examples == 5'000);
  CHECK(done == text.size());
}

TEST_CASE("check_dataset: progress rises to the size of both files", "[adapters][json]") {
  const Files files;
  const std::string training = files.file("a", good_lines(DatasetFormat::chat, 6'000));
  const std::string validation = files.file("b", good_lines(DatasetFormat::chat, 3'000, 6'000));
  const std::uint64_t all = std::filesystem::file_size(training) + std::filesystem::file_size(validation);
  std::uint64_t last = 0;
  int calls = 0;
  const DatasetReport report = check_dataset({training, validation}, {}, [&](std::uint64_t done, std::uint64_t total) {
    CHECK(done > last);
    CHECK(total == all);
    last = done;
    ++calls;
  });
  CHECK(report.ok);
  CHECK(last == all);
  CHECK(calls >= 5);
  CHECK_THROWS_AS(
      check_dataset({.training = training}, {}, [](std::uint64_t, std::uint64_t) { throw std::runtime_error{"stop"}; }),
      std::runtime_error);
}

TEST_CASE("check_dataset: a line of a gigabyte takes a few megabytes", "[adapters][json]") {
  const Files files;
  const std::string file = files.file("long.jsonl", "");
  REQUIRE(::truncate(file.c_str(), std::int64_t{1} << 30) == 0);  // a hole: zeros that take no room
  const std::uint64_t before = peak_memory_kb();
  const DatasetReport report = check_dataset({.training = file}, {});
  CHECK(codes_of(report) == Codes{"line_too_long", "too_few_examples"});
  CHECK(report.findings[0].line == 1);
  CHECK(report.training_bytes == std::uint64_t{1} << 30);
  CHECK(peak_memory_kb() - before < 120'000);
}

#if defined(__has_feature)
#define CANARY_TEST_SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define CANARY_TEST_SANITIZED 1
#else
#define CANARY_TEST_SANITIZED 0
#endif

TEST_CASE("check_dataset: a large file takes at most 32 bytes an example", "[adapters][json]") {
  if (CANARY_TEST_SANITIZED) SKIP("the sanitizer's own memory counts too");
  const Files files;
  constexpr int count = 400'000;
  const std::string file = (files.path() / "large.jsonl").string();
  {
    std::ofstream out{file, std::ios::binary};
    for (int i = 0; i != count; ++i) out << R"({"prompt":")" << i << R"(","completion":"a"})" << '\n';
    REQUIRE(out.flush());
  }
  (void)files.check(good_lines(DatasetFormat::chat, 10));  // what is allocated once
  const std::uint64_t before = peak_memory_kb();
  const DatasetReport report = check_dataset({.training = file}, {});
  CHECK(report.examples == count);
  CHECK(report.ok);
#if defined(__SANITIZE_ADDRESS__)
  SUCCEED("a sanitizer keeps what is given back");
#else
  CHECK((peak_memory_kb() - before) * 1'024 <= std::uint64_t{count} * 32 + (std::uint64_t{1} << 20));
#endif
}

}  // namespace json_dataset_test
