#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/dataset_pass.hpp"
#include "dataset_table.hpp"
#include "json_walk.hpp"

namespace dataset_test {

using namespace canary;
using namespace canary::test;

namespace {

/// A preflight of texts as files; `pieces` at a time.
DatasetReport check(const std::string& training, const DatasetOptions& options = {},
                    const std::string* validation = nullptr, std::size_t pieces = std::string::npos) {
  DatasetPass pass{JsonWalk::parse, options};
  for (const std::string* file : {&training, validation}) {
    if (file == nullptr) break;
    pass.begin(file == &training ? "train" : "val", file != &training);
    for (std::size_t at = 0; at < file->size(); at += std::min(pieces, file->size() - at))
      pass.feed(std::string_view{*file}.substr(at, pieces));
    pass.end();
  }
  return pass.report();
}

std::string good_lines(DatasetFormat format, int count, int first = 0) {
  std::string text;
  for (int i = first; i != first + count; ++i) text += good_line(format, i) + '\n';
  return text;
}

/// Ten good lines, and this one.
DatasetReport check_line(DatasetFormat format, const std::string& line) {
  const std::string validation = good_lines(format, 1, 100);
  return check(good_lines(format, 10) + line + '\n', {.format = format}, &validation);
}

std::uint64_t count_of(const DatasetReport& report, std::string_view code) {
  for (const FindingCount& each : report.counts)
    if (each.code == code) return each.count;
  return 0;
}

std::vector<std::string> codes_of(const DatasetReport& report) {
  std::vector<std::string> codes;
  for (const Finding& finding : report.findings) codes.emplace_back(finding.code);
  return codes;
}

using Codes = std::vector<std::string>;

void check_table(const std::vector<BadLine>& lines) {
  std::set<std::string> names;
  for (const BadLine& bad : lines) {
    CHECK(names.insert(bad.name).second);
    DYNAMIC_SECTION(bad.name) {
      const DatasetReport report = check_line(bad.format, bad.line());
      INFO(bad.line());
      bool found = false;
      for (const Finding& finding : report.findings) {
        INFO(finding.code << ' ' << finding.line << ':' << finding.column << ' ' << finding.message);
        CHECK(finding.line == 11);
        CHECK(finding.file == "train");
        CHECK(finding.message.find_first_of(";:") != std::string::npos);  // what is wrong; how to mend it
        found |= finding.code == bad.code && finding.column == bad.column();
      }
      CAPTURE(codes_of(report), bad.code, bad.column());
      CHECK(found);
      CHECK(report.findings.size() == 1 + bad.more);
      CHECK(report.examples == (report.errors != 0 && explain_json(bad.line()) ? 10
                                : bad.code == "not_an_object"                  ? 10
                                                                               : 11));
    }
  }
}

}  // namespace

TEST_CASE("dataset: every kind of broken line is named at its place", "[control][dataset]") {
  check_table(broken_lines());
}

TEST_CASE("dataset: every kind of wrong example is named at its place", "[control][dataset]") {
  check_table(wrong_lines());
}

TEST_CASE("dataset: the tables hold more than sixty kinds, and almost every code", "[control][dataset]") {
  std::set<std::string> codes;
  std::size_t count = 0;
  for (const auto& table : {broken_lines(), wrong_lines()}) {
    count += table.size();
    for (const BadLine& bad : table) codes.insert(bad.code);
  }
  CHECK(count >= 150);
  std::vector<std::string> missing;
  for (std::size_t i = 0; i != finding_code_count; ++i)
    if (const std::string word{to_string(static_cast<FindingCode>(i))}; !codes.contains(word)) missing.push_back(word);
  CHECK(missing == Codes{"unreadable",
                         "not_a_file",
                         "empty_file",
                         "blank_file",
                         "utf16",
                         "byte_order_mark",
                         "crlf",
                         "blank_line",
                         "line_too_long",
                         "json_array",
                         "spread_over_lines",
                         "file_too_large",
                         "too_few_examples",
                         "too_many_examples",
                         "validation_missing",
                         "over_budget",
                         "method_not_offered",
                         "unknown_format",
                         "too_many_tools",
                         "duplicate",
                         "overlap"});
}

TEST_CASE("dataset: good files of each format have no finding", "[control][dataset]") {
  for (const DatasetFormat format : dataset_formats) {
    CAPTURE(to_string(format));
    const std::string validation = good_lines(format, 3, 50);
    const DatasetReport report = check(good_lines(format, 12), {}, &validation);
    CHECK(report.findings.empty());
    CHECK(report.ok);
    CHECK(report.format == format);
    CHECK(report.examples == 12);
    CHECK(report.validation_examples == 3);
  }
}

TEST_CASE("dataset: what is right and looks odd has no finding", "[control][dataset]") {
  const std::string call =
      R"({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": [1, {\"x\": null}]}"}})";
  const std::string tools =
      R"("tools": [{"type": "function", "function": {"name": "look", "description": "d", "strict": null, "parameters": {"type": "object", "properties": {"type": {"type": "string"}}}}}])";
  const std::string user = R"({"role": "user", "content": "hi"})";
  for (
      const std::string& line : std::vector<std::string>{
          R"({"messages":[{"content":"yes","role":"assistant"},)" + user +
              R"(,{"weight":0,"content":"a","role":"assistant"},{"role":"assistant","content":"b","weight":1.0}]})",
          R"({"messages":[{"role":"system","content":"s"},{"role":"developer","content":"d","name":"boss_1"},)" + user +
              R"(,{"role":"assistant","content":"a"}]})",
          // calls that end the example are what is learned
          R"({"parallel_tool_calls":false,"messages":[)" + user +
              R"(,{"role":"assistant","content":null,"tool_calls":[)" + call + "]}]," + tools + "}",
          R"({"messages":[)" + user + R"(,{"role":"assistant","content":"","tool_calls":[)" + call +
              R"(]},{"role":"tool","tool_call_id":"c1","content":"x"},{"role":"assistant","content":"a"}],)" + tools +
              "}",
          R"({"messages":[)" + user + R"(,{"role":"assistant","content":"","refusal":"I will not"}]})",
          R"({"messages":[{"role":"user","content":[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}},{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}},{"type":"file","file":{"file_id":"file-1"}}]},{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"b"}]}]})",
          R"(  {"messages" :	[ {"role": "user", "content": "\ud83d\ude00 \u00e9\/\b\f\n\r\t\"\\"} , {"role": "assistant", "content": "été 😀"} ] }  )",
          R"({"messages":[{"role":"user","content":"mail jane@example.com, git@host.org:a/b, a@b, sk-learn, task-force-1234567890123456, AKIA, user@localhost"},{"role":"assistant","content":"a"}]})"}) {
    INFO(line);
    const DatasetReport report = check_line(DatasetFormat::chat, line);
    for (const Finding& finding : report.findings)
      UNSCOPED_INFO(finding.code << ' ' << finding.column << ' ' << finding.message);
    CHECK(report.findings.empty());
  }
  // Graders read what they like.
  CHECK(check_line(DatasetFormat::reinforcement,
                   R"({"messages":[)" + user + R"(],"prompt":1,"input":{"a":[]},"reference":{"x":null}})")
            .findings.empty());
}

TEST_CASE("dataset: JSON is explained as broken exactly when it is", "[control][dataset]") {
  for (const std::string good : {"{}", "[]", "null", " true ", "-0.5e+10", "0", "[0,-1,1.5E3]", R"({"a":{"b":[[]]}})",
                                 R"("\ud83d\ude00")", "\"\x7F\"", "1e12345678"})
    CHECK_FALSE(explain_json(good));
  for (const std::string bad :
       {"",      " ",         "-",        "01",    "1.", "1e", "[1,]", "{,}", "[,]", "{\"a\"}",        "nul",
        "truee", "\"\\u12\"", "\"\x1F\"", "[1 2]", "}",  "]",  ":",    "[}",  "{]",  "\xEF\xBB\xBF{}", "{\"a\":1,,}",
        "'a'"})
    CHECK(explain_json(bad));
  CHECK_FALSE(explain_json(std::string(64, '[') + std::string(64, ']')));
  CHECK(explain_json(std::string(65, '[') + std::string(65, ']'))->code == FindingCode::too_deep);
}

// --- files -----------------------------------------------------------------------------------------------------------

TEST_CASE("dataset: pieces make no difference", "[control][dataset]") {
  std::string file = "\xEF\xBB\xBF" + good_lines(DatasetFormat::chat, 4) + "\r\n \n";
  for (const auto& table : {broken_lines(), wrong_lines()})
    for (const BadLine& bad : table)
      if (bad.format == DatasetFormat::chat) file += bad.line() + "\r\n";
  file += good_line(DatasetFormat::chat, 77);  // without a line break
  const DatasetOptions options{.line_bytes_max = 5'000};
  const DatasetReport whole = check(file, options, &file);
  CHECK(whole.examples > 90);
  CHECK(count_of(whole, "line_too_long") == 2);
  for (const std::size_t pieces : std::initializer_list<std::size_t>{1, 2, 3, 64, 1'000, 4'999, 5'000, 5'001}) {
    const DatasetReport cut = check(file, options, &file, pieces);
    CHECK(cut.findings == whole.findings);
    CHECK(cut.counts == whole.counts);
    CHECK(cut.estimate == whole.estimate);
    CHECK(cut.training_sha256 == whole.training_sha256);
    CHECK(cut.training_bytes == file.size());
  }
}

TEST_CASE("dataset: a line past the limit is told, and the next ones are looked at", "[control][dataset]") {
  const std::string file = good_lines(DatasetFormat::chat, 10) + std::string(100'000, 'x') + '\n' +
                           R"({"messages": 1})" + '\n' + std::string(50'000, ' ');
  const DatasetReport report = check(file, {.line_bytes_max = 4'096}, nullptr, 100);
  REQUIRE(codes_of(report) == Codes{"line_too_long", "wrong_type", "line_too_long"});
  CHECK(report.findings[0].line == 11);
  CHECK(report.findings[1].line == 12);
  CHECK(report.findings[2].line == 13);
}

TEST_CASE("dataset: marks, line ends and blank lines are warned of, once or at their line", "[control][dataset]") {
  std::string lines;
  for (int i = 0; i != 10; ++i) lines += good_line(DatasetFormat::chat, i) + "\r\n";
  const DatasetReport marked = check("\xEF\xBB\xBF" + lines);
  CHECK(codes_of(marked) == Codes{"byte_order_mark", "crlf"});
  CHECK(marked.ok);
  CHECK(marked.findings[1].column == good_line(DatasetFormat::chat, 0).size() + 1);

  const DatasetReport blank =
      check(" \n\n" + good_lines(DatasetFormat::chat, 5) + "\n\t\n" + good_lines(DatasetFormat::chat, 5, 5));
  CHECK(codes_of(blank) == Codes{"blank_line", "blank_line", "blank_line"});
  CHECK(blank.findings[0].line == 3);
  CHECK(blank.findings[1].line == 8);
  CHECK(blank.findings[2].line == 9);
  CHECK(blank.examples == 10);
}

TEST_CASE("dataset: a file without an example is an error, whatever it has instead", "[control][dataset]") {
  CHECK(codes_of(check("")) == Codes{"empty_file"});
  CHECK(codes_of(check(" \n\n\r\n")) == Codes{"blank_file"});
  CHECK(codes_of(check("\xFF\xFE{\0\"\0", {})) == Codes{"utf16"});
  CHECK(codes_of(check(std::string{"{\0\"\0m\0", 6})) == Codes{"utf16"});
  CHECK(codes_of(check(std::string{"\0{\0\"\0m", 6})) == Codes{"utf16"});
  const std::string good = good_lines(DatasetFormat::chat, 10);
  const std::string empty;
  const DatasetReport report = check(good, {}, &empty);
  CHECK(codes_of(report) == Codes{"empty_file"});
  CHECK(report.findings[0].file == "val");
  CHECK(report.findings[0].line == 0);
}

TEST_CASE("dataset: one JSON array, and JSON over many lines, are told once", "[control][dataset]") {
  const std::string example = good_line(DatasetFormat::chat, 1);
  CHECK(codes_of(check("[" + example + ",\n" + example + "]\n")) == Codes{"json_array"});
  CHECK(codes_of(check("[" + example + "," + example + "]")) == Codes{"json_array"});
  CHECK(codes_of(check(" [\n  {\n    \"messages\": [")) == Codes{"json_array"});
  CHECK(codes_of(check("{\n  \"messages\": [\n    {\"role\": \"user\",\n")) == Codes{"spread_over_lines"});
  // A first line that is cut off, alone or among good ones, is that.
  CHECK(codes_of(check("{\"messages\": [")) == Codes{"json_truncated", "too_few_examples"});
  const DatasetReport cut = check("{\"messages\": [\n" + good_lines(DatasetFormat::chat, 10));
  REQUIRE(codes_of(cut) == Codes{"json_truncated"});
  CHECK(cut.findings[0].line == 1);
  CHECK(cut.findings[0].column == 15);
  CHECK(cut.examples == 10);
}

TEST_CASE("dataset: the format is that of the first line that has one", "[control][dataset]") {
  CHECK(check("{\"messages\": \n" + good_lines(DatasetFormat::dpo, 10)).format == DatasetFormat::dpo);
  CHECK(check("{\"text\": \"x\"}\n" + good_lines(DatasetFormat::completions, 10)).format == DatasetFormat::completions);
  CHECK_FALSE(check("[1]\n7\n{\"text\": \"x\"}\n").format);
  // A question alone is a chat whose answer is missing; with something beside it, it is for a grader.
  CHECK(check(R"({"messages": [{"role": "user", "content": "a"}]})").format == DatasetFormat::chat);
  CHECK(check(R"({"answer": 4, "messages": [{"role": "user", "content": "a"}]})").format ==
        DatasetFormat::reinforcement);
  CHECK(check(R"({"answer": 4, "messages": [{"role": "user", "content": "a"}, {"content": "b", "role": "assistant"}]})")
            .format == DatasetFormat::chat);
  CHECK(check(R"({"input": {"messages": []}})").format == DatasetFormat::dpo);
  // A grader may read what is called as another format's keys.
  for (const std::string key : {"prompt", "completion", "input", "reference"})
    CHECK(check(R"({"messages": [{"role": "user", "content": "a"}], ")" + key + R"(": {"x": 1}})").format ==
          DatasetFormat::reinforcement);
  // What logs of requests have, and what is misspelt, is for no grader.
  for (const std::string key : {"metadata", "temperature", "model", "id", "toolz", "parallel_tool_cals", "functions"})
    CHECK(check(R"({"messages": [{"role": "user", "content": "a"}], ")" + key + R"(": []})").format ==
          DatasetFormat::chat);
}

TEST_CASE("dataset: where the last word decides the format, the finding says how to name another",
          "[control][dataset]") {
  const DatasetReport asked = check(R"({"messages": [{"role": "user", "content": "a"}]})");
  REQUIRE(!asked.findings.empty());
  CHECK(asked.findings[0].code == "no_assistant_message");
  CHECK(asked.findings[0].message.find("--format reinforcement") != std::string::npos);
  const DatasetReport told = check(R"({"messages": [{"role": "system", "content": "a"}]})");
  REQUIRE(!told.findings.empty());
  CHECK(told.findings[0].message.find("--format") == std::string::npos);
  const DatasetReport graded = check(R"({"messages": [{"role": "user", "content": "a"}], "reference": 1})"
                                     "\n" +
                                     good_line(DatasetFormat::chat, 1));
  REQUIRE(!graded.findings.empty());
  CHECK(graded.findings[0].code == "last_not_user");
  CHECK(graded.findings[0].message.find("--format chat") != std::string::npos);
}

TEST_CASE("dataset: other tools' formats are known, and what to do about them", "[control][dataset]") {
  const auto told = [](const std::string& line, std::string_view hint) {
    const DatasetReport report = check(line);
    REQUIRE(!report.findings.empty());
    INFO(report.findings[0].message);
    CHECK(report.findings[0].code == "unknown_format");
    CHECK(report.findings[0].column == 2);
    CHECK(report.findings[0].message.find(hint) != std::string::npos);
  };
  told(R"({"conversations": [{"from": "human", "value": "hi"}]})", "\"role\"");
  told(R"({"instruction": "a", "input": "", "output": "b"})", "two messages");
  told(R"({"mesages": []})", "did you mean \"messages\"?");
  told(R"({"chosen": "a", "rejected": "b"})", "preferred_output");
  told(R"({"text": "a"})", "\"messages\"");
}

TEST_CASE("dataset: a named format holds for the first line too", "[control][dataset]") {
  const DatasetReport report = check(good_lines(DatasetFormat::chat, 10), {.format = DatasetFormat::completions});
  CHECK(report.format == DatasetFormat::completions);
  CHECK(count_of(report, "mixed_format") == 10);
  CHECK(report.errors == 10);
}

// --- what is said of files as a whole --------------------------------------------------------------------------------

TEST_CASE("dataset: fewer than ten examples are refused, ten are not", "[control][dataset]") {
  CHECK(codes_of(check(good_lines(DatasetFormat::chat, 9))) == Codes{"too_few_examples"});
  CHECK(check(good_lines(DatasetFormat::chat, 10)).ok);
  const DatasetReport many = check(good_lines(DatasetFormat::chat, 12), {.examples_max = 11});
  CHECK(codes_of(many) == Codes{"too_many_examples"});
  CHECK(codes_of(check(good_lines(DatasetFormat::chat, 12), {.file_bytes_max = 100})) == Codes{"file_too_large"});
}

TEST_CASE("dataset: who trains decides what is refused", "[control][dataset]") {
  const auto severities = [](const std::string& file, ProviderKind kind, DatasetOptions options = {}) {
    options.limits = dataset_limits(kind);
    const DatasetReport report = check(file, options);
    std::string all;
    for (const Finding& finding : report.findings)
      all += std::string{finding.code} + (finding.severity == Severity::error ? "! " : "? ");
    CHECK(report.ok == (all.find('!') == std::string::npos));
    std::uint64_t errors = 0;
    for (const FindingCount& each : report.counts)
      if (each.severity == Severity::error) errors += each.count;
    CHECK(report.errors == errors);
    return all;
  };
  const std::string few = good_lines(DatasetFormat::chat, 3);
  const std::string odd = good_lines(DatasetFormat::chat, 10) + "{\"messages\": 1, \"more\": 2}\n[7]\n";
  const std::string broken = good_lines(DatasetFormat::chat, 10) + "{no JSON\n";
  const std::string graded = good_lines(DatasetFormat::reinforcement, 10);
  const DatasetOptions small{.file_bytes_max = 100};
  for (const ProviderKind kind : {ProviderKind::openai, ProviderKind::azure}) {
    CHECK(severities(few, kind) == "too_few_examples! ");
    CHECK(severities(odd, kind) == "wrong_type! unknown_key! not_an_object! ");
    CHECK(severities(good_lines(DatasetFormat::chat, 10), kind, small) == "file_too_large! ");
    CHECK(severities(graded, kind) == "validation_missing! ");
  }
  CHECK(severities(few, ProviderKind::together) == "too_few_examples! ");
  CHECK(severities(good_lines(DatasetFormat::chat, 10), ProviderKind::together, small) == "file_too_large? ");
  CHECK(severities(graded, ProviderKind::together) == "method_not_offered! ");
  CHECK(severities(few, ProviderKind::command) == "too_few_examples? ");
  CHECK(severities(odd, ProviderKind::command) == "wrong_type? unknown_key? not_an_object? ");
  CHECK(severities(good_lines(DatasetFormat::chat, 10), ProviderKind::command, small) == "file_too_large? ");
  CHECK(severities(graded, ProviderKind::command) == "validation_missing? ");
  CHECK(severities("{\"text\": \"a\"}\n", ProviderKind::command) == "unknown_format? too_few_examples? ");
  for (const ProviderKind kind : {ProviderKind::openai, ProviderKind::together, ProviderKind::command}) {
    const std::string all = severities(broken, kind);
    CHECK(all.ends_with("! "));
    CHECK(severities("", kind) == "empty_file! ");
  }
}

TEST_CASE("dataset: reinforcement needs a validation file", "[control][dataset]") {
  CHECK(codes_of(check(good_lines(DatasetFormat::reinforcement, 10))) == Codes{"validation_missing"});
}

TEST_CASE("dataset: the same example twice is told with its first line, however it is written", "[control][dataset]") {
  const std::string file = good_lines(DatasetFormat::chat, 10) +
                           "{ \"messages\":[{\"content\":\"qu\\u0065stion 3\",\"role\":\"user\"},"
                           "{\"role\":\"assistant\",\"content\":\"answer 3\"}]}\n";
  const DatasetReport report = check(file);
  REQUIRE(codes_of(report) == Codes{"duplicate"});
  CHECK(report.findings[0].line == 11);
  CHECK(report.findings[0].message.find("line 4;") != std::string::npos);
  CHECK(report.ok);
  // The order of messages is no matter of writing.
  const std::string user = R"({"role": "user", "content": "a"})";
  const std::string answer = R"({"role": "assistant", "content": "a"})";
  const DatasetReport turned =
      check(good_lines(DatasetFormat::chat, 10) + "{\"messages\": [" + user + "," + answer + "," + answer +
            "]}\n{\"messages\": [" + answer + "," + user + "," + answer + "]}\n");
  CHECK(turned.findings.empty());
}

TEST_CASE("dataset: an example of both files is an error at its line in the second", "[control][dataset]") {
  const std::string training = good_lines(DatasetFormat::chat, 10);
  const std::string validation = good_lines(DatasetFormat::chat, 3, 8);
  const DatasetReport report = check(training, {}, &validation);
  REQUIRE(codes_of(report) == Codes{"overlap", "overlap"});
  CHECK(report.findings[1].file == "val");
  CHECK(report.findings[1].line == 2);
  CHECK(report.findings[1].message.find("training file, line 10;") != std::string::npos);
  CHECK_FALSE(report.ok);
}

TEST_CASE("dataset: an example takes at most 32 bytes", "[control][dataset]") {
  ExampleTable table;
  std::uint64_t random = 1;
  for (std::uint64_t line = 1; line <= 1'000'000; ++line) {
    random = detail::mix(random + 0x9E37'79B9'7F4A'7C15);
    if (table.add(random, {line, false})) FAIL("a new example was there before");
    if (line >= 100'000 && line % 10'007 == 0) CHECK(table.bytes() <= line * 32);
  }
  CHECK(table.bytes() >= 1'000'000 * 20);
  random = 1;
  for (std::uint64_t line = 1; line <= 1'000'000; ++line) {
    random = detail::mix(random + 0x9E37'79B9'7F4A'7C15);
    const auto place = table.add(random, {line, true});
    if (!place || place->line != line || place->validation) FAIL("a place was forgotten");
  }
  CHECK(table.add(0, {5, true}) == std::nullopt);
  CHECK(table.add(0, {6, false})->line == 5);
  CHECK(table.add(0, {6, false})->validation);
}

TEST_CASE("dataset: findings are kept up to a number of each severity, and all are counted", "[control][dataset]") {
  std::string file;
  for (int i = 0; i != 3'000; ++i)
    file += R"({"messages": [{"role": "usr", "content": "jane@mail.org"}, {"role": "assistant", "content": ")" +
            std::to_string(i) + "\"}]}\n";
  const DatasetReport report = check(file, {.findings_max = 100});
  CHECK(report.findings.size() == 200);
  CHECK(count_of(report, "unknown_role") == 3'000);
  CHECK(count_of(report, "email_address") == 3'000);
  CHECK(report.errors == 3'000);
  CHECK(report.warnings == 3'000);
  CHECK(report.findings.front().line == 1);
  CHECK(report.findings.back().line == 100);
  // Of one line as well.
  std::string line = "{\"messages\": [";
  for (int i = 0; i != 5'000; ++i) line += "7,";
  const DatasetReport flood = check(line + "7]}");
  CHECK(count_of(flood, "wrong_type") == 5'001);
  CHECK(flood.findings.size() <= LineFindings::kept_max + 10);
}

TEST_CASE("dataset: findings of a line stand from left to right", "[control][dataset]") {
  const DatasetReport report = check_line(
      DatasetFormat::chat,
      R"({"messages": [{"role": "usr", "content": ""}, {"content": 7, "role": "assistant", "x": 1}], "y": 2})");
  CHECK(codes_of(report) == Codes{"unknown_role", "wrong_type", "unknown_key", "unknown_key"});
  CHECK(std::is_sorted(report.findings.begin(), report.findings.end(),
                       [](const Finding& a, const Finding& b) { return a.column < b.column; }));
}

// --- the estimate ----------------------------------------------------------------------------------------------------

TEST_CASE("dataset: epochs by the number of examples", "[control][dataset]") {
  const std::vector<std::pair<std::uint64_t, std::uint32_t>> table{
      {0, 3},     {1, 25},    {4, 25},     {5, 20},     {10, 10},    {33, 3},     {34, 3},        {50, 3},
      {8'333, 3}, {8'334, 2}, {12'500, 2}, {12'501, 1}, {25'000, 1}, {25'001, 1}, {10'000'000, 1}};
  for (const auto& [examples, epochs] : table) {
    CAPTURE(examples);
    CHECK(default_epochs(examples) == epochs);
  }
}

TEST_CASE("dataset: tokens of a text", "[control][dataset]") {
  const auto parts = [](std::string_view text) { return scan_text(text, [](Sensitive, std::size_t) {}); };
  CHECK(parts("") == 0);
  CHECK(parts("word") == 16);
  CHECK(parts("two words") == 32);
  CHECK(parts("internationally") == 16 + 9 * 5);
  CHECK(parts("123") == 20);
  CHECK(parts("1234567") == 20 + 4 * 7);
  CHECK(parts("a   b") == 16 + 10 + 16);
  CHECK(parts("a\n\nb") == 16 + 8 + 16);
  CHECK(parts("!") == 13);
  CHECK(parts("...") == 13 + 6);
  CHECK(parts("\u00E9") == 9);
  CHECK(parts("\u0E01") == 14);
  CHECK(parts("\u4E2D\u6587") == 32);
  CHECK(parts("\U0001F600") == 32);
}

TEST_CASE("dataset: many bytes at once say what one by one say", "[control][dataset]") {
  const std::vector<std::string> pieces{"word",
                                        "internationally",
                                        "a",
                                        "-",
                                        "--",
                                        "_",
                                        "@",
                                        " ",
                                        "   ",
                                        "\n",
                                        "\r\n\n",
                                        "12",
                                        "12345",
                                        "?!",
                                        "sk-",
                                        "sk_live_",
                                        "xoxb-",
                                        "ghp_",
                                        "github_pat_",
                                        "AKIA",
                                        "ASIA",
                                        "AIza",
                                        "eyJ",
                                        ".eyJ",
                                        "Bearer ",
                                        "bearer ",
                                        "-----BEGIN ",
                                        "RSA PRIVATE KEY-----",
                                        "abcdefghij1234567890",
                                        "ABCDEFGH12345678",
                                        "jane.doe",
                                        "@mail.org",
                                        "@example.com",
                                        "\u00E9",
                                        "\u0E01",
                                        "\u4E2D",
                                        "\U0001F600",
                                        "\xFF",
                                        std::string(1, '\0'),
                                        "\x7F"};
  using Found = std::vector<std::pair<Sensitive, std::size_t>>;
  std::uint64_t random = 3;
  const auto next = [&random](std::size_t bound) {
    random = detail::mix(random + 0x9E37'79B9'7F4A'7C15);
    return static_cast<std::size_t>(random % bound);
  };
  std::size_t secrets = 0;
  for (int i = 0; i != 20'000; ++i) {
    std::string text;
    for (std::size_t count = next(40); count != 0; --count) text += pieces[next(pieces.size())];
    Found one_by_one;
    Found together;
    detail::look_around_all(text, 0, text.size(),
                            [&](Sensitive kind, std::size_t at) { one_by_one.emplace_back(kind, at); });
    const std::uint64_t parts =
        scan_text(text, [&](Sensitive kind, std::size_t at) { together.emplace_back(kind, at); });
    if (together != one_by_one || parts != detail::text_parts(text)) FAIL(text);
    secrets += together.size();
  }
  CHECK(secrets > 10'000);
}

TEST_CASE("dataset: cost is tokens times epochs times price, of the training file alone", "[control][dataset]") {
  const std::string training = good_lines(DatasetFormat::chat, 10);
  const std::string validation = good_lines(DatasetFormat::chat, 10, 50);
  const DatasetReport free = check(training, {}, &validation);
  // 3 for the answer, and for each message 3, its role, its two words or so
  CHECK(free.estimate.tokens == 10 * (3 + 2 * (3 + 1 + 1 + 2) + 1));
  CHECK(free.estimate.epochs == 10);
  CHECK_FALSE(free.estimate.cost_usd);
  const DatasetReport priced =
      check(training, {.epochs = 2, .usd_per_million_tokens = 25.0, .cost_max_usd = 1'000.0}, &validation);
  CHECK(priced.ok);
  CHECK(priced.estimate.epochs == 2);
  CHECK(*priced.estimate.cost_usd == static_cast<double>(free.estimate.tokens) * 2 * 25 / 1e6);
  const DatasetReport dear = check(training, {.epochs = 2, .usd_per_million_tokens = 25.0, .cost_max_usd = 0.001});
  REQUIRE(codes_of(dear) == Codes{"over_budget"});
  CHECK_FALSE(dear.ok);
  CHECK(dear.findings[0].message.find("cost_max_usd") != std::string::npos);
  CHECK(dear.findings[0].message.find(std::to_string(free.estimate.tokens) + " tokens an epoch, 2 epochs") !=
        std::string::npos);
  CHECK(dear.findings[0].message.find("= $0.001:") != std::string::npos);
  CHECK(check(training, {.cost_max_usd = 0.0}).ok);  // no price, no cost
}

TEST_CASE("dataset: a cost never looks smaller than it is, nor the same as a smaller limit", "[control][dataset]") {
  CHECK(dollars_text(0) == "$0.00");
  CHECK(dollars_text(0.07) == "$0.07");
  CHECK(dollars_text(1.1) == "$1.10");
  CHECK(dollars_text(0.000'000'1) == "$0.01");
  CHECK(dollars_text(12.341) == "$12.35");
  CHECK(dollars_text(50, 4) == "$50.0000");
  const auto both = [](double cost, double most) {
    const DollarTexts texts = dollar_texts(cost, most);
    return texts.cost + " > " + texts.most;
  };
  CHECK(both(51.2, 50) == "$51.20 > $50.00");
  CHECK(both(50.000'1, 50) == "$50.01 > $50.00");
  CHECK(both(0.0126, 0.001) == "$0.013 > $0.001");
  CHECK(both(0.001'000'1, 0.001) == "$0.002 > $0.001");
  CHECK(both(50, 0) == "$50.00 > $0.00");
  for (const double most : {0.001, 0.07, 0.1, 1.0 / 3, 50.0, 1e6}) {
    const DollarTexts next = dollar_texts(std::nextafter(most, 1e9), most);
    CHECK(next.cost != next.most);
  }
}

TEST_CASE("dataset: past what the model takes nothing is paid, and without a limit everything is",
          "[control][dataset]") {
  const std::string longest = lines::said(std::string(60'000, 'a') + " x");
  const std::string file = good_lines(DatasetFormat::chat, 10) + longest + '\n';
  const std::uint64_t short_ones = check(good_lines(DatasetFormat::chat, 10)).estimate.tokens;
  const DatasetReport unknown = check(file);
  CHECK(codes_of(unknown) == Codes{"over_long"});
  CHECK(unknown.ok);
  CHECK(unknown.estimate.tokens > short_ones + 15'000);
  const DatasetReport known = check(file, {.max_tokens = 8'000});
  CHECK(codes_of(known) == Codes{"over_long"});
  CHECK(known.estimate.tokens == short_ones + 8'000);
  CHECK(check(file, {.max_tokens = 60'000}).findings.empty());
}

TEST_CASE("dataset: what a grader reads, images and sounds are not counted as text", "[control][dataset]") {
  const auto tokens = [](const std::string& line, DatasetFormat format) {
    return check(line, {.format = format}).estimate.tokens;
  };
  const std::string question = R"({"messages": [{"role": "user", "content": "hi"}])";
  const std::uint64_t plain = tokens(question + "}", DatasetFormat::reinforcement);
  CHECK(tokens(question + R"(, "reference": "a long text that nobody trains on", "more": {"a": ["b c d e f"]}})",
               DatasetFormat::reinforcement) == plain);
  const auto image = [&](const std::string& data) {
    return tokens(
        R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,)" +
            data + R"("}}]}, {"role": "assistant", "content": "a"}]})",
        DatasetFormat::chat);
  };
  CHECK(image("AAAA") == image(std::string(10'000, 'A')));
  CHECK(image("AAAA") > image_tokens);
}

// --- secrets ---------------------------------------------------------------------------------------------------------

TEST_CASE("dataset: secrets are found at their place, and what only looks a little like one is not",
          "[control][dataset]") {
  const auto found = [](std::string_view text) {
    std::vector<std::pair<Sensitive, std::size_t>> all;
    (void)scan_text(text, [&](Sensitive kind, std::size_t at) { all.emplace_back(kind, at); });
    return all;
  };
  using Found = std::vector<std::pair<Sensitive, std::size_t>>;
  CHECK(found("x sk-abcdefghijklmnopqrs1 y") == Found{{Sensitive::api_key, 2}});
  CHECK(found("sk_live_abcdefghijklmno1") == Found{{Sensitive::api_key, 0}});
  CHECK(found("key=AIzaSyA1234567890abcdefghijklmnopqrstuv") == Found{{Sensitive::cloud_key, 4}});
  CHECK(found("github_pat_11ABCDEFG0abcdefghij") == Found{{Sensitive::repository_token, 0}});
  CHECK(found("gho_abcdefghijklmnopqrstuvwxyz0123") == Found{{Sensitive::repository_token, 0}});
  CHECK(found("bearer abcdefghijklmnopqrs1") == Found{{Sensitive::bearer_token, 0}});
  CHECK(found("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl") == Found{{Sensitive::private_key, 0}});
  CHECK(found("a@b.co c.d@e-f.org,") == Found{{Sensitive::email, 0}, {Sensitive::email, 7}});
  for (const char* innocent : {"sk-short1",
                               "ask-abcdefghijklmnopqrs1",
                               "risk-management-and-so-on-2024",
                               "sk-abcdefghijklmnopqrstu",
                               "AKIA1234",
                               "AKIAabcdefghijklmnop1",
                               "ghp_short1",
                               "xoxb-",
                               "bearer of good news, of which there are 5",
                               "-----BEGIN CERTIFICATE-----",
                               "eyJhbGciOiJIUzI1NiJ9",
                               "@",
                               "a@",
                               "@b.com",
                               "a@b",
                               "a@b.1",
                               "me@example.com",
                               "you@mail.example.org",
                               "x@y.test",
                               "a@b..com"})
    CHECK(found(innocent) == Found{});
}

TEST_CASE("dataset: no message shows a secret, wherever it stands", "[control][dataset]") {
  const std::string secret = "sk-proj-abcdEFGH1234ijklMNOP5678";
  std::vector<std::string> lines;
  for (const auto& table : {broken_lines(), wrong_lines()})
    for (const BadLine& bad : table) lines.push_back(bad.line());
  std::size_t findings = 0;
  for (std::string line : lines) {
    // In place of each text in turn, key or value.
    for (std::size_t at = line.find('"'); at != std::string::npos; at = line.find('"', at + 1)) {
      const std::size_t end = line.find('"', at + 1);
      if (end == std::string::npos) break;
      const std::string with = line.substr(0, at + 1) + secret + line.substr(end);
      for (const Finding& finding : check(with).findings) {
        ++findings;
        if (finding.message.find("abcdEFGH") != std::string::npos) FAIL(with << " -> " << finding.message);
      }
      at = end;
    }
  }
  CHECK(findings > 3'000);
  CHECK(canary::quoted("plain") == "\"plain\"");
  CHECK(canary::quoted(std::string(39, 'a') + "\u00E9\u00E9") == '"' + std::string(39, 'a') + "...\"");
  CHECK(canary::quoted("x " + secret).find("sk-") == std::string::npos);
}

// --- hostile events --------------------------------------------------------------------------------------------------

TEST_CASE("dataset: a parser that nests deeper than it may does no harm", "[control][dataset]") {
  LineFindings findings;
  ExampleChecker checker{findings};
  for (int pass = 0; pass != 2; ++pass) {
    checker.begin(DatasetFormat::chat);
    for (int i = 0; i != 1'000; ++i) {
      checker.begin_object(0);
      checker.key({"messages", 0, true});
      checker.begin_array(0);
    }
    checker.string({"x", 0, true});
    checker.number(1, 0);
    checker.null(0);
    checker.boolean(true, 0);
    for (int i = 0; i != 1'000; ++i) {
      checker.end_array(0);
      checker.end_object(0);
    }
  }
  CHECK_FALSE(findings.empty());
}

TEST_CASE("dataset: an object of many keys is looked through among its first ones", "[control][dataset]") {
  std::string keys;
  for (int i = 0; i != 2'000; ++i) keys += "\"k" + std::to_string(i) + "\": 1, ";
  const std::string head =
      R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], "tools": [{"type": "function", "function": {"name": "look", "parameters": {)";
  CHECK(count_of(check_line(DatasetFormat::chat, head + keys + "\"k7\": 1}}}]}"), "duplicate_key") == 1);
  CHECK(count_of(check_line(DatasetFormat::chat, head + keys + "\"last\": 1}}}]}"), "duplicate_key") == 0);
}

TEST_CASE("dataset: many tools and many calls stay bounded, and make no wrong finding", "[control][dataset]") {
  std::string calls;
  std::string answers;
  std::string tools;
  for (int i = 0; i != 400; ++i) {
    const std::string n = std::to_string(i);
    calls += std::string{i == 0 ? "" : ","} + R"({"id": "c)" + n +
             R"(", "type": "function", "function": {"name": "f", "arguments": "{}"}})";
    answers += R"({"role": "tool", "tool_call_id": "c)" + n + R"(", "content": "x"},)";
    tools += std::string{i == 0 ? "" : ","} + R"({"type": "function", "function": {"name": "f)" + n + R"("}})";
  }
  const DatasetReport report =
      check_line(DatasetFormat::chat,
                 R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [)" + calls +
                     "]}," + answers + R"({"role": "assistant", "content": "done"}], "tools": [)" + tools + "]}");
  CHECK(codes_of(report) == Codes{"over_long", "too_many_tools"});
}

}  // namespace dataset_test
