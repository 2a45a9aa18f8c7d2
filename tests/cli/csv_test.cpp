#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "csv_reader.hpp"

namespace csv_test {

namespace {

using canary::cli::CsvReader;
using canary::cli::CsvRecord;
using canary::cli::InputError;
using Records = std::vector<std::vector<std::string>>;

/// All records of a text that comes in pieces of `piece` bytes.
Records read(std::string_view text, std::size_t piece = std::string_view::npos) {
  Records records;
  const auto take = [&](const CsvRecord& record) { records.emplace_back(record.fields.begin(), record.fields.end()); };
  CsvReader reader;
  for (std::size_t at = 0; at < text.size(); at += std::min(piece, text.size()))
    reader.feed(text.substr(at, piece), take);
  reader.finish(take);
  return records;
}

/// `LINE:COLUMN: message` of the fault in a text.
std::string fault(std::string_view text, std::size_t piece = std::string_view::npos) {
  try {
    (void)read(text, piece);
  } catch (const InputError& error) {
    return std::to_string(error.line) + ':' + std::to_string(error.column) + ": " + error.what();
  }
  return "no fault";
}

void check(std::string_view text, const Records& expected) {
  INFO(text);
  for (std::size_t piece = 1; piece <= text.size() + 1; ++piece) CHECK(read(text, piece) == expected);
}

void check_fault(std::string_view text, const std::string& expected) {
  INFO(text);
  for (std::size_t piece = 1; piece <= text.size() + 1; ++piece) CHECK(fault(text, piece) == expected);
}

}  // namespace

TEST_CASE("csv: fields, quotes and line ends, however the text is cut", "[cli][csv]") {
  check("", {});
  check("a", {{"a"}});
  check("a,b\n1,2\n", {{"a", "b"}, {"1", "2"}});
  check("a,b\r\n1,2\r\n", {{"a", "b"}, {"1", "2"}});
  check("a,b\n1,2", {{"a", "b"}, {"1", "2"}});
  check(",\n", {{"", ""}});
  check(",", {{"", ""}});
  check("\"\"\n", {{""}});
  check("\"\"", {{""}});
  check("\"a,b\",\"c\"\"d\",\"e\nf\",\"g\r\nh\"\n", {{"a,b", "c\"d", "e\nf", "g\r\nh"}});
  check("\n\na\n\n\nb\n\r\n", {{"a"}, {"b"}});  // empty lines are no records
  check("a\rb,c\r", {{"a\rb", "c"}});           // CR alone is a character, but at the very end
  check("\"a\"\r\n\"b\"\r", {{"a"}, {"b"}});
  check(std::string_view{"a\0b\n", 4}, {{std::string{"a\0b", 3}}});
}

TEST_CASE("csv: broken quotes are refused where they stand, however the text is cut", "[cli][csv]") {
  check_fault("a,b\n1,\"2\n3,4\n", "2:3: the quote that opens here is never closed");
  check_fault("a\n\"b\"c\n", "2:4: text after a closing quote");
  check_fault("a\n\"b\" ,c\n", "2:4: text after a closing quote");
  check_fault("a\nb\"c\"\n", "2:2: a quote inside a field");
  check_fault("a\n\"b\"\rc\n", "2:4: text after a closing quote");
  check_fault("\xC3\xBC\xC3\xBC\"\n", "1:3: a quote inside a field");  // columns count characters
}

TEST_CASE("csv: once told, a record of another width is refused", "[cli][csv]") {
  for (const char* text : {"a,b\n1\n", "a,b\n1,2,3\n", "a,b\n1,2\n\"x\"\n"}) {
    CsvReader reader;
    bool header = true;
    const auto take = [&](const CsvRecord& record) {
      if (header) reader.keep(1, record.fields.size());
      header = false;
    };
    CHECK_THROWS_AS((reader.feed(text, take), reader.finish(take)), InputError);
  }
}

TEST_CASE("csv: a kept column is all that takes memory", "[cli][csv]") {
  CsvReader reader;
  std::vector<std::string> keys;
  const auto take = [&](const CsvRecord& record) {
    if (keys.empty()) reader.keep(1, record.fields.size());
    keys.emplace_back(record.fields[1]);
  };
  reader.feed("a,b,c\n\"", take);
  const std::string block(1 << 20, 'x');
  for (int i = 0; i != 64; ++i) reader.feed(block, take);  // 64 MiB in a column that nobody wants
  reader.feed("\",key,\"", take);
  reader.feed(block, take);
  reader.feed("\"\n", take);
  reader.finish(take);
  CHECK(keys == std::vector<std::string>{"b", "key"});
}

TEST_CASE("csv: a kept field of more than 16 MiB is refused", "[cli][csv]") {
  CsvReader reader;
  const auto ignore = [](const CsvRecord&) {};
  const std::string block(1 << 20, 'x');
  reader.feed("a\n\"", ignore);
  CHECK_THROWS_AS(
      [&] {
        for (int i = 0; i != 17; ++i) reader.feed(block, ignore);
      }(),
      InputError);
}

TEST_CASE("csv: what is written by the rules is read back, whatever the fields hold", "[cli][csv]") {
  std::mt19937 random{20231116};
  const std::string_view letters = "ab,\"\r\n ";
  for (int round = 0; round != 2'000; ++round) {
    Records wanted(1 + random() % 4);
    const std::size_t width = 1 + random() % 3;
    std::string text;
    for (auto& record : wanted) {
      for (std::size_t i = 0; i != width; ++i) {
        std::string field;
        for (std::size_t n = random() % 5; n != 0; --n) field += letters[random() % letters.size()];
        std::string written = "\"";
        for (const char c : field) written += c == '"' ? std::string{"\"\""} : std::string{c};
        (text += i == 0 ? "" : ",") += written + '"';
        record.push_back(std::move(field));
      }
      text += random() % 2 == 0 ? "\n" : "\r\n";
    }
    if (read(text, 1 + random() % 7) != wanted) FAIL(text);
  }
}

}  // namespace csv_test
