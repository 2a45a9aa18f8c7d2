#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/toml_config.hpp"
#include "temporary_folder.hpp"

namespace toml_bad_input_test {

namespace {

using canary::ConfigError;
using canary::ConfigFault;

std::vector<ConfigFault> faults_of(std::string_view text) {
  try {
    (void)canary::parse_config(text, "f.toml");
  } catch (const ConfigError& error) {
    return error.faults();
  }
  return {};
}

std::string lines_of(std::string_view text) {
  try {
    (void)canary::parse_config(text, "f.toml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no fault";
}

std::string load_fault(const std::filesystem::path& path) {
  try {
    (void)canary::load_config(path);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no fault";
}

/// A memory: file with one task and these lines about its versions.
std::string split(const std::string& versions) { return "[store]\nurl = 'memory:'\n[task.t]\n" + versions; }

std::string version(const std::string& model, const std::string& percent) {
  return "[[task.t.version]]\nmodel = '" + model + "'\npercent = " + percent + '\n';
}

void check_one(const std::string& text, std::string_view expected) {
  INFO(text.substr(0, 500));
  CHECK(lines_of(text) == expected);
}

}  // namespace

TEST_CASE("toml faults: an unknown key is named with its place and the nearest valid key", "[adapters][toml]") {
  check_one("[task.t]\ndefualt_model = 'm'\n",
            "f.toml:2:1: error: unknown key \"defualt_model\" in task.t; did you mean \"default_model\"?");
  check_one("[task.t]\n[recorder]\nxyz = 1\n",
            "f.toml:3:1: error: unknown key \"xyz\" in recorder; valid keys: spool, payloads, flush_ms, keep_days, "
            "lane_mb, payload_mb, spool_mb");
  check_one("[task.t]\n[stor]\nurl = 'memory:'\n",
            "f.toml:2:2: error: unknown key \"stor\" in canary.toml; did you mean \"store\"?");
  check_one("[task.a.b]\ndefault_model = 'm'\n",
            "f.toml:1:9: error: unknown table \"b\" in task.a; a name with a dot is quoted: [task.\"a.b\"]");
}

TEST_CASE("toml faults: a wrong type says what was expected and what was found", "[adapters][toml]") {
  check_one("[task.t]\ndefault_model = 5\n", "f.toml:2:17: error: expected a string, a model's name, found an integer");
  check_one("[task.t]\n[recorder]\npayloads = 'yes'\n", "f.toml:3:12: error: expected true or false, found a string");
  check_one("[task.t]\n[recorder]\nflush_ms = 1.5\n",
            "f.toml:3:12: error: expected a whole number of milliseconds, found a number");
  check_one("task = 5\n", "f.toml:1:8: error: expected tables [task.NAME], found an integer");
  check_one("[task]\nt = 5\n", "f.toml:2:1: error: \"t\" is not a table; write [task.NAME]");
  check_one("store = 'memory:'\n[task.t]\n", "f.toml:1:9: error: expected a table [store], found a string");
  check_one(split("version = 5\n"),
            "f.toml:4:11: error: expected an array of tables [[task.t.version]], found an integer");
  check_one(split("version = [5]\n"), "f.toml:4:12: error: expected a table [[task.t.version]], found an integer");
  check_one(split(version("a", "'10'")),
            "f.toml:6:11: error: expected a number of percent, e.g. 10 or 0.5, found a string");
}

TEST_CASE("toml faults: shares out of range are refused by name", "[adapters][toml]") {
  const std::string range = "; expected a percentage from 0 to 100";
  check_one(split(version("a", "100.5")), "f.toml:6:11: error: a share over 100 %" + range);
  check_one(split(version("a", "-1")), "f.toml:6:11: error: a negative share" + range);
  check_one(split(version("a", "nan")), "f.toml:6:11: error: not a number" + range);
  check_one(split(version("a", "inf")), "f.toml:6:11: error: a share over 100 %" + range);
  check_one(split(version("a", "0.00005")),
            "f.toml:6:11: error: a share finer than 0.0001 %; shares are counted in parts per million");
}

TEST_CASE("toml faults: a task's shares above 100 % name what is left", "[adapters][toml]") {
  check_one(split(version("a", "60") + version("b", "40.0001")),
            "f.toml:9:11: error: the shares of t add up to more than 100 %; at most 40 is left here");
  CHECK(lines_of(split(version("a", "60") + version("b", "40"))) == "no fault");
}

TEST_CASE("toml faults: a duplicate version is refused", "[adapters][toml]") {
  check_one(split(version("a", "1") + version("a", "2")),
            "f.toml:8:9: error: duplicate version: \"a\" stands above already; a task names each model once");
}

TEST_CASE("toml faults: a version needs a model and a share", "[adapters][toml]") {
  check_one(split("[[task.t.version]]\npercent = 5\n"),
            "f.toml:4:1: error: missing \"model\" in task.t.version; name the model that this version serves");
  check_one(split("[[task.t.version]]\nmodel = 'a'\n"),
            "f.toml:4:1: error: missing \"percent\" in task.t.version; give its share, e.g. percent = 10");
  check_one(split(version("", "5")), "f.toml:5:9: error: an empty string; expected a model's name");
}

TEST_CASE("toml faults: an empty file is told how to begin", "[adapters][toml]") {
  for (const char* text : {"", "\n", "# only a comment\n", "[store]\nurl = 'memory:'\n", "[task]\n"})
    check_one(text, "f.toml: error: no [task.NAME] table: nothing to route; `canary init` writes an example");
}

TEST_CASE("toml faults: invalid UTF-8 and NUL are refused where they stand", "[adapters][toml]") {
  check_one("[task.t]\ndefault_model = 'm\xC3\xBC\xFF'\n",
            "f.toml:2:20: error: invalid UTF-8; save the file as UTF-8 text");
  check_one("# \xC0\x80\n[task.t]\n", "f.toml:1:3: error: invalid UTF-8; save the file as UTF-8 text");
  check_one(std::string("[task.t]\n# a\0b\n", 14), "f.toml:2:4: error: a NUL byte; save the file as UTF-8 text");
  check_one("[task.t]\ndefault_model = \"m\\u0000\"\n", "f.toml:2:17: error: a string with a NUL character");
}

TEST_CASE("toml faults: a line of 10 MB is read or refused in bounded time", "[adapters][toml]") {
  const std::string huge(10'000'000, 'x');
  std::string dotted;
  for (int i = 0; i != 5'000'000; ++i) dotted += "a.";
  std::string escapes;
  for (int i = 0; i != 2'000'000; ++i) escapes += "\\n\\\\";
  const auto start = std::chrono::steady_clock::now();
  CHECK(lines_of("[task.t]\ndefault_model = '" + huge + "'\n") ==
        "f.toml:2:17: error: a string of more than 65535 bytes; expected a model's name");
  CHECK(lines_of("# " + huge + "\n[task.t]\n") == "no fault");
  CHECK(lines_of("[task.t]\n" + huge + " = 1\n").size() < 300);
  CHECK(lines_of("[task.t]\n" + huge).size() < 300);
  CHECK(lines_of(dotted + "a = 1\n") == "f.toml:1:1: error: a dotted key with more than 64 parts");
  CHECK(lines_of("a = {" + dotted + "a = 1}\n") == "f.toml:1:1: error: a dotted key with more than 64 parts");
  CHECK(lines_of("[" + dotted + "a]\n") == "f.toml:1:1: error: a dotted key with more than 64 parts");
  CHECK(lines_of("a = " + std::string(10'000'000, '[')).size() < 300);
  CHECK(lines_of("a = " + std::string(10'000'000, '9') + '\n').size() < 300);
  CHECK(lines_of("a = \"" + escapes + "\"\n").size() < 300);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes{2});
}

TEST_CASE("toml faults: dots inside strings, comments and arrays are not taken for a deep key", "[adapters][toml]") {
  const std::string dots(200, '.');
  CHECK(lines_of("# " + dots + "\n[task.t] # " + dots + "\ndefault_model = '" + dots + "' # x\nsalt = \"\"\"\n" + dots +
                 "\n\\\"" + dots + "\"\"\"\n") == "no fault");
  std::string numbers = "[task.t.guard]\nsteps_percent = [";
  for (int i = 1; i != 100; ++i) numbers += std::to_string(i) + ".5, ";
  CHECK(lines_of(numbers + "100]\n[[task.t.guard.metric]]\nname = 'a'\nadvance_margin = 0.1\n") == "no fault");
}

TEST_CASE("toml faults: what the parser takes for granted never reaches it", "[adapters][toml]") {
  for (const char* header : {"[[", "[", "[ [", "[[\t", "[.a]", "[+]", "[=", "[#", "[\r"}) {
    INFO(header);
    CHECK(lines_of("[task.t]\n" + std::string{header} + "\n[task.u]\nsalt = 5\n").starts_with("f.toml:2:"));
  }
  for (const char* value : {"[}", "[1, }", "}", "{a = 1, }", "[ # note\n }"}) {
    INFO(value);
    CHECK(lines_of("[task.t]\nsalt = " + std::string{value} + "\n") != "no fault");
  }
  check_one("[task.t]\nsalt = \xD2\x95\n", "f.toml:2:8: error: a character that stands in strings and comments only");
  check_one("[task.t\xD2\x95]\n", "f.toml:1:8: error: a character that stands in strings and comments only");
  CHECK(lines_of("[task.t]\nsalt = \"\"\"a \\\n  \xD2\x95\"\"\"\n").starts_with("f.toml:2:13: error: a backslash"));
  check_one("[task.t]\nsalt = --10\"\xD2\x95\"\n", "f.toml:2:12: error: a quote inside a word");
  check_one("[task.t]\nsalt = 1.\"\xD2\x95\"\n", "f.toml:2:10: error: a quote inside a word");
  CHECK(lines_of("task.\"t\".\"salt\" = 'a'\n[task.u.\"guard\"]\n") == "no fault");
  CHECK(lines_of("[task.t] # \xD2\x95\nsalt = '\xD2\x95'\n") == "no fault");
  for (const char* date : {"1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "1979-05-27Tx", "[1, 1979-05-27Tx]"}) {
    INFO(date);
    CHECK(lines_of("[task.t]\nsalt = " + std::string{date} + "\n").find("a date or time") != std::string::npos);
  }
  CHECK(lines_of("[task.2026-01-01]\nguard.alpha_advance = 1e-5\n[task.t.guard]\nalpha_advance = 5E-2\n") ==
        "no fault");
}

TEST_CASE("toml faults: a file that cannot be read says why", "[adapters][toml]") {
  const TemporaryFolder folder;
  const auto absent = folder.path() / "absent.toml";
  CHECK(load_fault(absent) ==
        absent.string() +
            ": error: cannot be opened: No such file or directory; `canary init` writes one, --config names another");
  CHECK(load_fault(folder.path()) == folder.path().string() + ": error: is a directory; name the file in it");
  const auto dangling = folder.path() / "dangling.toml";
  std::filesystem::create_symlink("nowhere", dangling);
  CHECK(load_fault(dangling).find("cannot be opened") != std::string::npos);
  const auto below_file = folder.path() / "file" / "canary.toml";
  folder.write("file", "");
  CHECK(load_fault(below_file).find("cannot be opened: Not a directory") != std::string::npos);
}

TEST_CASE("toml faults: a device without an end is refused at the cap", "[adapters][toml]") {
  CHECK(load_fault("/dev/zero") == "/dev/zero: error: is larger than 64 MiB");
}

TEST_CASE("toml faults: with a database a split in the file points to `canary model register`", "[adapters][toml]") {
  const std::string hint =
      "; register versions with `canary model register TASK MODEL`, or set store.url = \"memory:\"";
  check_one("[task.t]\n" + version("a", "5") + version("b", "6"),
            "f.toml:2:1: error: a split in the file, but the store is a database" + hint);
}

TEST_CASE("toml faults: task names outside the allowed letters are refused", "[adapters][toml]") {
  const std::string rule = "; a task name is 1 to 128 of A-Z a-z 0-9 _ . -";
  check_one("[task.\"a b\"]\n", "f.toml:1:7: error: task name \"a b\"" + rule);
  check_one("[task.\"\"]\n", "f.toml:1:7: error: task name \"\"" + rule);
  CHECK(lines_of("[task." + std::string(129, 'a') + "]\n").ends_with(rule));
  CHECK(lines_of("[task." + std::string(128, 'a') + "]\n") == "no fault");
  check_one("[task.\"\\u001b[31m\"]\n",
            "f.toml:1:7: error: task name \"?[31m\"" + rule);  // nothing a terminal would obey
}

TEST_CASE("toml faults: no message holds a control character or a name without end", "[adapters][toml]") {
  const std::string huge(1'000'000, 'x');
  for (const std::string& name : {std::string{"a\tb"}, std::string{"a\\nb"}, huge}) {
    const std::string table = "[task.\"" + name + "\"]\n";
    for (const std::string& text :
         {table + "x = 1\n", table + table, table + "[task.\"" + name + "\".guard]\nx = 1\n", table + "x.y = 1\n",
          table + "[[task.\"" + name + "\".version]]\nmodel = 5\n", "[task.t]\n[provider.\"" + name + "\"]\nx = 1\n",
          "[task.t]\n\"" + name + "\" = 1\n\"" + name + "\" = 1\n"}) {
      const std::string lines = lines_of(text);
      CHECK(lines != "no fault");
      CHECK(lines.size() < 2'000);
      CHECK(std::all_of(lines.begin(), lines.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
    }
  }
}

TEST_CASE("toml faults: secrets are refused, and never shown", "[adapters][toml]") {
  const std::string secret = "sk-Q7fKp2";
  for (const std::string& text : {
           "[task.t]\n[provider.openai]\napi_key = '" + secret + "'\n",
           "[task.t]\n[provider.openai]\napi_key_env = '" + secret + "'\n",
           "[task.t]\n[provider.openai]\napi_key = " + secret + "\n",
           "[task.t]\n[provider.openai]\napi_key = t" + secret + "\n",
           "[task.t]\n[provider.openai]\napi_key = 12" + secret + "\n",
           "[task.t]\n[provider.openai]\napi_key = \"" + secret + "\n",
           "[task.t]\n[provider.openai]\napi_key = ['" + secret + "'\n",
           "[task.t]\n[provider.openai]\nkind = '" + secret + "'\n",
           "[task.t]\n[provider.openai]\nkind = 'openai'\nbase_url = 'https://h/x?api-key=" + secret + "'\n",
           "[task.t]\n[store]\nurl = 'postgresql://u@h/db?sslmode=require&Password=" + secret + "'\n",
           "[task.t]\n[provider.openai]\nbase_url = 'https://u:" + secret + "@host/'\n",
           "[task.t]\n[provider.openai]\nbase_url = '" + secret + "'\n",
           "[task.t]\n[store]\nurl = 'postgresql://u:" + secret + "@host/db'\n",
           "[task.t]\n[store]\nurl = '" + secret + "'\n",
           "[task.t]\n[fine_tune]\nprovider = '" + secret + "'\n",
       }) {
    INFO(text);
    const std::string lines = lines_of(text);
    CHECK(lines != "no fault");
    CHECK(lines.find("Q7f") == std::string::npos);
    CHECK(lines.find("sk-") == std::string::npos);
  }
  CHECK(lines_of("[task.t]\n[store]\nurl = 'postgresql://user@host:5432/db?sslmode=require'\n") == "no fault");
}

TEST_CASE("toml faults: all faults come in one pass, in the order of the file", "[adapters][toml]") {
  const std::string lines = lines_of(
      "[store]\n"
      "ulr = 'memory:'\n"
      "[recorder]\n"
      "flush_ms = 0\n"
      "payloads = maybe\n"
      "[task.broken\n"
      "default_model = 'm'\n"
      "[task.t]\n"
      "default_model = 5\n"
      "default_model = 6\n"
      "[task.t.guard]\n"
      "alpha_rollback = 2\n"
      "steps_percent = [1,\n"
      "  oops, 3]\n"
      "outcome_timeout_s = true\n");
  CHECK(lines ==
        "f.toml:2:1: error: unknown key \"ulr\" in store; did you mean \"url\"?\n"
        "f.toml:4:12: error: out of range; expected a whole number of milliseconds from 1 to 60000\n"
        "f.toml:5:12: error: value: could not determine value type\n"
        "f.toml:6:13: error: table header: expected ']'\n"
        "f.toml:9:17: error: expected a string, a model's name, found an integer\n"
        "f.toml:10:17: error: key-value pair: cannot redefine existing integer 'default_model'\n"
        "f.toml:12:18: error: out of range; expected a probability above 0, up to 0.5\n"
        "f.toml:14:3: error: value: could not determine value type\n"
        "f.toml:15:21: error: expected a whole number of seconds, found a boolean");
}

TEST_CASE("toml faults: nothing is called missing that stands in a broken line", "[adapters][toml]") {
  CHECK(faults_of(split("[[task.t.version]]\nmodel = ?\npercent = 5\n")).size() == 1);
  CHECK(faults_of("[task.t\n").size() == 1);
}

TEST_CASE("toml faults: the store's time-out and state file are checked", "[adapters][toml]") {
  const std::string range = "; expected a whole number of milliseconds from 50 to 600000";
  check_one("[store]\ntimeout_ms = 49\n[task.t]\n", "f.toml:2:14: error: out of range" + range);
  check_one("[store]\ntimeout_ms = 600001\n[task.t]\n", "f.toml:2:14: error: out of range" + range);
  CHECK(lines_of("[store]\ntimeout_ms = 50\n[task.t]\n") == "no fault");
  CHECK(lines_of("[store]\ntimeout_ms = 600000\n[task.t]\n") == "no fault");
  check_one("[store]\nstate = 5\n[task.t]\n", "f.toml:2:9: error: expected a string, a file, found an integer");
  check_one("[store]\ntimeout = 5\n[task.t]\n",
            "f.toml:2:1: error: unknown key \"timeout\" in store; did you mean \"timeout_ms\"?");
}

TEST_CASE("toml faults: the guard's numbers are checked", "[adapters][toml]") {
  check_one("[task.t.guard]\nsteps_percent = []\n",
            "f.toml:2:17: error: expected rising percentages, e.g. [1, 10, 50, 100], found an empty array");
  check_one("[task.t.guard]\nsteps_percent = [5, 5]\n",
            "f.toml:2:21: error: a step that does not rise; expected rising percentages above 0");
  check_one("[task.t.guard]\nalpha_advance = 0\n",
            "f.toml:2:17: error: out of range; expected a probability above 0, up to 0.5");
  check_one("[task.t.guard]\nalpha_advance = nan\n",
            "f.toml:2:17: error: out of range; expected a probability above 0, up to 0.5");
  check_one("[[task.t.guard.metric]]\nname = 'a'\nadvance_margin = [0.1, 0.2]\n",
            "f.toml:3:18: error: advance_margin has 2 numbers for 5 steps below 100 %; give one number for each such "
            "step, or one for all");
  check_one("[[task.t.guard.metric]]\nkind = 'succes'\n",
            "f.toml:1:1: error: missing \"name\" in task.t.guard.metric; name the metric\n"
            "f.toml:2:8: error: not one of success, score, latency, cost; did you mean \"success\"?");
  check_one("[[task.t.guard.metric]]\nname = 'a'\n[[task.t.guard.metric]]\nname = 'a'\n",
            "f.toml:3:1: error: duplicate metric \"a\"; name each metric once");
  check_one("[task.t.guard]\nunits_min = -1\n",
            "f.toml:2:13: error: out of range; expected a whole number of units from 0 to 1000000000");
  check_one("[task.t.guard]\nunits_min = 1.5\n",
            "f.toml:2:13: error: expected a whole number of units, found a number");
  check_one("[task.t.guard]\nstep_min_s = 31536001\n",
            "f.toml:2:14: error: out of range; expected a whole number of seconds from 0 to 31536000");
  check_one("[task.t.guard]\non_missing = 'rolback'\n",
            "f.toml:2:14: error: not one of hold, rollback; did you mean \"rollback\"?");
  check_one("[task.t.guard]\nunit_min = 1\n",
            "f.toml:2:1: error: unknown key \"unit_min\" in task.t.guard; did you mean \"units_min\"?");
}

TEST_CASE("toml faults: a margin is in the range of its metric's kind, wherever that stands", "[adapters][toml]") {
  const std::string metric = "[[task.t.guard.metric]]\nname = 'a'\n";
  const auto range = [](const char* kind, bool ratio) {
    return std::string{"error: out of range; expected, for kind = \""} + kind + "\", " +
           (ratio ? "a ratio from 0 to 10: 0.1 for 10 %" : "a share, or points, from 0 to below 1: 0.02 for 2 %");
  };
  check_one(metric + "margin = 2\n", "f.toml:3:10: " + range("success", false));
  check_one(metric + "margin = 1\nkind = 'success'\n", "f.toml:3:10: " + range("success", false));
  check_one(metric + "margin = 2e9\nkind = 'score'\n", "f.toml:3:10: " + range("score", false));
  check_one(metric + "margin = nan\n", "f.toml:3:10: " + range("success", false));
  check_one(metric + "margin = -0.01\nkind = 'cost'\n", "f.toml:3:10: " + range("cost", true));
  check_one(metric + "kind = 'latency'\nmargin = 10.1\n", "f.toml:4:10: " + range("latency", true));
  check_one(metric + "kind = 'latency'\nadvance_margin = 1\n", "f.toml:4:18: " + range("latency", false));
  check_one(metric + "kind = 'cost'\nadvance_margin = inf\n", "f.toml:4:18: " + range("cost", true));
  check_one(metric + "advance_margin = [0.5, 0.4, 3, 0.2, 0.1]\n", "f.toml:3:29: " + range("success", false));
  check_one(metric + "margin = 5\nkind = 'latncy'\n",
            "f.toml:4:8: error: not one of success, score, latency, cost; did you mean \"latency\"?");
  for (const char* good : {"margin = 0.999\nadvance_margin = 0.999\n", "kind = 'score'\nmargin = 0\n",
                           "kind = 'latency'\nmargin = 10\nadvance_margin = 0\n",
                           "kind = 'cost'\nmargin = 1.5\nadvance_margin = 10\n", "error_ratio = 100\n"})
    CHECK(lines_of(metric + good) == "no fault");
}

TEST_CASE("toml faults: a metric's further keys are checked, and fit its kind", "[adapters][toml]") {
  const std::string metric = "[[task.t.guard.metric]]\nname = 'a'\n";
  check_one(metric + "weight = -1\n", "f.toml:3:10: error: out of range; expected a number from 0 to 1000000000");
  check_one(metric + "weight = nan\n", "f.toml:3:10: error: out of range; expected a number from 0 to 1000000000");
  check_one(metric + "weight = 0\n",
            "f.toml:1:1: error: the weights of the metrics add up to nothing; leave weight out, or give one of them a "
            "weight above 0");
  check_one(metric + "kind = 'latency'\nslo_us = 0\n",
            "f.toml:4:10: error: out of range; expected a whole number of microseconds from 1 to " +
                std::to_string(canary::longest_latency_us));
  check_one(metric + "slo_us = 5\n",
            "f.toml:3:10: error: slo_us in a metric of another kind; slo_us is for kind = \"latency\"");
  check_one(metric + "error_ratio = 0.5\n", "f.toml:3:15: error: out of range; expected a number from 1 to 100");
  check_one(metric + "error_ratio = 150\n", "f.toml:3:15: error: out of range; expected a number from 1 to 100");
  check_one(metric + "kind = 'score'\nerror_ratio = 2\n",
            "f.toml:4:15: error: error_ratio in a metric of another kind; error_ratio is for kind = \"success\"");
  check_one(metric + "eror_ratio = 2\n",
            "f.toml:3:1: error: unknown key \"eror_ratio\" in task.t.guard.metric; did you mean \"error_ratio\"?");
  std::string many;
  for (int i = 0; i != 9; ++i)
    many += "[[task.t.guard.metric]]\nname = 'a" + std::to_string(i) + "'\nkind = 'latency'\n";
  check_one(many, "f.toml:25:1: error: more than 8 metrics of latency in one task");
}

TEST_CASE("toml faults: a provider must exist", "[adapters][toml]") {
  check_one("[task.t]\n[fine_tune]\nprovider = 'opnai'\n[provider.openai]\nkind = 'openai'\n",
            "f.toml:3:12: error: no such provider; did you mean \"openai\"?");
  CHECK(lines_of("[task.t]\n[fine_tune]\nprovider = 'openai'\n") == "no fault");
}

TEST_CASE("toml faults: thousands of faults are counted, a thousand are told", "[adapters][toml]") {
  std::string text = "[task.t]\n";
  for (int i = 0; i != 5'000; ++i) text += "wrong" + std::to_string(i) + " = 1\n";
  const std::vector<ConfigFault> faults = faults_of(text);
  REQUIRE(faults.size() == canary::max_config_faults + 1);
  CHECK(faults.back().message == "and 4000 more faults");
}

TEST_CASE("toml faults: rings are powers of two that fit into the spool, and samples are percentages",
          "[adapters][toml]") {
  const std::string recorder = "[task.t]\n[recorder]\n";
  check_one(recorder + "lane_mb = 3\n", "f.toml:3:11: error: not a power of two; expected 2 or 4");
  check_one(recorder + "payload_mb = 1000\n", "f.toml:3:14: error: not a power of two; expected 512 or 1024");
  check_one(recorder + "lane_mb = 2048\n",
            "f.toml:3:11: error: out of range; expected a whole number of megabytes from 1 to 1024");
  check_one(recorder + "spool_mb = 0\n",
            "f.toml:3:12: error: out of range; expected a whole number of megabytes from 1 to 1048576");
  check_one(recorder + "keep_days = -1\n",
            "f.toml:3:13: error: out of range; expected a whole number of days from 0 to 36500");
  check_one(recorder + "spool_mb = 3\n",
            "f.toml:3:12: error: the rings of one thread take more than spool_mb: nothing would be recorded; "
            "one thread's take 4, spool_mb is 3");
  check_one(recorder + "lane_mb = 512\n",
            "f.toml:3:11: error: the rings of one thread take more than spool_mb: nothing would be recorded; "
            "one thread's take 512, spool_mb is 256");
  check_one(recorder + "payloads = true\nspool_mb = 7\n",
            "f.toml:4:12: error: the rings of one thread take more than spool_mb: nothing would be recorded; "
            "one thread's take 8, spool_mb is 7");
  check_one("[task.t]\nsample_percent = 101\n",
            "f.toml:2:18: error: a share over 100 %; expected a percentage from 0 to 100");
}

TEST_CASE("toml faults: alerts go to URLs and programs that can be, and secrets stay out", "[adapters][toml]") {
  const std::string alerts = "[task.t]\n[alerts]\n";
  check_one(
      alerts + "webhook = 'http://alerts.example/x'\n",
      "f.toml:3:11: error: plain http to another machine; expected https://; http:// is for 127.0.0.1, localhost and "
      "[::1] alone");
  check_one(alerts + "webhook = 'alerts.example'\n", "f.toml:3:11: error: not a URL; expected https://HOST/PATH");
  check_one(alerts + "webhook = 5\n", "f.toml:3:11: error: expected a string, a URL, found an integer");
  for (const std::string url :
       {"https://u:Zq7SECRET@h/", "https://h/?token=Zq7SECRET", "https://h/?api_key=Zq7SECRET"}) {
    const std::string fault = lines_of(alerts + "webhook = '" + url + "'\n");
    CHECK(fault.starts_with("f.toml:3:11: error: "));
    CHECK(fault.find("secrets are never in the file") != std::string::npos);
    CHECK(fault.find("Zq7SECRET") == std::string::npos);
  }
  check_one(alerts + "webhook_secret = 'Zq7SECRET'\n",
            "f.toml:3:1: error: unknown key \"webhook_secret\" in alerts; did you mean \"webhook_secret_env\"?");
  check_one(
      alerts + "webhook_secret_env = 'whsec/Zq7SECRET'\n",
      "f.toml:3:22: error: not the name of an environment variable; expected letters, digits and _; the value itself "
      "never stands in the file");
  check_one(
      alerts + "command = '/bin/page ops'\n",
      "f.toml:3:11: error: expected a program and its arguments, e.g. [\"/usr/local/bin/page\", \"ops\"], found a "
      "string");
  check_one(alerts + "command = ['']\n", "f.toml:3:12: error: an empty string; expected a program's path");
  check_one(alerts + "command = ['/bin/page', 5]\n",
            "f.toml:3:25: error: expected a string, an argument, found an integer");
  CHECK(lines_of(alerts + "command = []\n") == "no fault");
  check_one(alerts + "repeat_s = -1\n",
            "f.toml:3:12: error: out of range; expected a whole number of seconds from 0 to 2592000");
  check_one(alerts + "shutdown_days = 4000\n",
            "f.toml:3:17: error: out of range; expected a whole number of days from 0 to 3650");
  check_one(alerts + "log = 'yes'\n", "f.toml:3:7: error: expected true or false, found a string");
  const std::string degradation = "[task.t]\n[alerts.degradation]\n";
  check_one(degradation + "success_margin = 2\n", "f.toml:3:18: error: out of range; expected a number from 0 to 1");
  check_one(degradation + "latency_margin = nan\n",
            "f.toml:3:18: error: out of range; expected a number from 0 to 1000");
  check_one(degradation + "false_alarm_days = 0.5\n",
            "f.toml:3:20: error: expected a whole number of days, found a number");
  check_one(degradation + "sucess_margin = 0\n",
            "f.toml:3:1: error: unknown key \"sucess_margin\" in alerts.degradation; did you mean \"success_margin\"?");
}

}  // namespace toml_bad_input_test
