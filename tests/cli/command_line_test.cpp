#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/types.hpp"
#include "program.hpp"

namespace command_line_test {

using namespace canary::test;

TEST_CASE("command line: version is the library's, as text and as JSON", "[cli]") {
  const Place place;
  const std::string version{canary::version};
  CHECK(place.run({"version"}).out == "canary " + version + "\n");
  CHECK(place.run({"--version"}).out == "canary " + version + "\n");
  CHECK(place.run({"version"}).exit == 0);
  CHECK(text_of(place.json({"version"}).at("version")) == version);
}

TEST_CASE("command line: help goes to stdout, names every command there is and none that is not", "[cli]") {
  const Place place;
  const Answer help = place.run({"--help"});
  CHECK(help.exit == 0);
  CHECK(help.err.empty());
  for (const char* noun : {"init", "model", "history", "route", "why", "simulate", "rollout", "guard", "interactions",
                           "export", "train", "alert", "store", "doctor", "version", "completion"}) {
    CHECK(help.out.find(noun) != std::string::npos);
    const Answer more = place.run({noun, "--help"});
    CHECK(more.exit == 0);
    CHECK(more.out.find("--json") != std::string::npos);
  }
  for (const char* later : {"serve"}) {
    CHECK(help.out.find("\n  " + std::string{later} + ' ') == std::string::npos);
    CHECK(place.run({later}).exit == 2);
  }
}

TEST_CASE("command line: what makes no sense is exit 2, with what may have been meant", "[cli]") {
  const ConfiguredPlace place;
  const auto check = [&](const std::vector<std::string>& arguments, const std::string& hint) {
    const auto [exit, error] = place.failure(arguments);
    CHECK(exit == 2);
    CHECK(text_of(error.at("code")) == "usage");
    INFO(text_of(error.at("message")) << " / " << text_of(error.at("hint")));
    CHECK(text_of(error.at("hint")).find(hint) != std::string::npos);
    const Answer text = place.run(arguments);
    CHECK(text.exit == 2);
    CHECK(text.out.empty());
    CHECK(text.err.starts_with("error: "));
  };
  check({}, "canary --help");
  check({"rout"}, "\"route\"");
  check({"route"}, "canary route --help");
  check({"route", "checks"}, "canary route --help");
  check({"route", "checks", "k", "--keys", "f"}, "canary route --help");
  check({"route", "checks", "k", "--column", "c"}, "canary route --help");
  check({"route", "checks", "k", "--jsno"}, "--json");
  check({"simulate", "checks"}, "canary simulate --help");
  check({"simulate", "checks", "--keys", "canary.toml", "--set", "v1"}, "@1=25");
  check({"why", "checks"}, "canary why --help");
  check({"why", "checks", "k", "--at", "soon"}, "canary history");
  check({"completion", "bsh"}, "\"bash\"");
  check({"version", "extra"}, "canary version --help");
  check({"model"}, "canary model --help");
  check({"model", "regster"}, "\"register\"");
  check({"model", "promote"}, "canary model promote --help");
  check({"model", "canary", "checks@1"}, "canary model canary --help");
  check({"model", "promote", "checks@1", "--nte", "x"}, "--note");
  check({"model", "promote", "checks@1", "5", "--actor", ""}, "canary model promote --help");
  check({"store", "backup"}, "canary store backup --help");
  check({"history", "checks", "--limit", "0"}, "canary history --help");
}

TEST_CASE("command line: an option with an empty value is refused, and no byte that was not typed comes back",
          "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.write("rows.csv", "ok,k\n0,a\n");
  std::vector<std::vector<std::string>> all{
      {"export", "checks", "--out", "x", "--min-score", ""},
      {"export", "checks", "--out", "x", "--since", ""},
      {"export", "checks", "--out", "x", "--until", ""},
      {"export", "checks", "--out", "x", "--version", ""},
      {"export", "checks", "--out", ""},
      {"interactions", "list", "checks", "--since", ""},
      {"interactions", "list", "checks", "--until", ""},
      {"interactions", "list", "checks", "--version", ""},
      {"interactions", "list", "checks", "--limit", ""},
      {"interactions", "list", "checks", "--limit="},
      {"history", "checks", "--limit", ""},
      {"model", "register", "checks", "m", "--provider", ""},
      {"model", "canary", "checks@1", "5", "--actor", ""},
      {"model", "rollback", "checks", "--to", ""},
      {"simulate", "checks", "--keys", ""},
      {"simulate", "checks", "--keys", "rows.csv", "--set", ""},
      {"simulate", "checks", "--keys", "rows.csv", "--column", ""},
      {"guard", "plan", "checks", "--drop", ""},
      {"guard", "run", "--once", "--interval", ""},
      {"why", "checks", "k", "--at", ""},
      {"--config", "", "route", "checks", "k"},
  };
  for (const char* column : {"--ok", "--score", "--latency-us", "--key", "--at", "--tokens-in", "--tokens-out",
                             "--cost-microusd", "--error", "--request", "--response"}) {
    const std::vector<std::string> import{"interactions", "import", "checks", "rows.csv", "--version", "checks@1"};
    all.push_back(import);
    all.back().insert(all.back().end(), {column, ""});
    all.push_back(import);
    all.back().push_back(column + std::string{"="});
  }
  for (const std::vector<std::string>& arguments : all) {
    const std::string words = place.refused(2, arguments);
    INFO(arguments[0] << ' ' << arguments[1] << ' ' << *(arguments.end() - 2) << ": " << words);
    CHECK(words.find("an empty value; leave it out, or give it one") != std::string::npos);
    CHECK(words.find('\x01') == std::string::npos);
  }
  CHECK(place.refused(2, {"interactions", "list", "checks", "--limit", "[5]"}).find("= [5]") != std::string::npos);
  CHECK(place.refused(2, {"version", "[a]"}).find('\x01') == std::string::npos);
  CHECK(place.refused(2, {"interactions", "list", "--json="}).find('\x01') == std::string::npos);
}

TEST_CASE("command line: a note may be empty, and so may a key", "[cli]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  place.done({"model", "canary", "checks@1", "5", "--note", ""});
  place.done({"model", "canary", "checks@1", "6", "--note="});
  place.done({"guard", "run", "--once", "--note", ""});
  place.done({"route", "checks", ""});
  place.done({"why", "checks", ""});
}

TEST_CASE("command line: a file that is not named is not one that cannot be opened", "[cli][bad]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"interactions", "import", "checks", "", "--version", "checks@1", "--ok", "ok"},
        {"guard", "replay", "checks", "", "--baseline", "a", "--candidate", "b"}})
    CHECK(place.refused(2, arguments).find("no file named") != std::string::npos);
}

TEST_CASE("command line: global options stand before or behind the noun", "[cli]") {
  const ConfiguredPlace place;
  place.write("other.toml", "[store]\nurl = 'memory:'\n[task.elsewhere]\ndefault_model = 'm'\n");
  const std::string expected = place.run({"--config", "other.toml", "--json", "route", "elsewhere", "k"}).out;
  CHECK(expected.find("\"elsewhere@default\"") != std::string::npos);
  CHECK(place.run({"route", "elsewhere", "k", "--json", "--config", "other.toml"}).out == expected);
  CHECK(place.run({"route", "--config=other.toml", "elsewhere", "--json", "k"}).out == expected);
}

TEST_CASE("command line: the configuration is --config, else CANARY_CONFIG, else ./canary.toml", "[cli]") {
  const ConfiguredPlace place;
  place.write("other.toml", "[store]\nurl = 'memory:'\n[task.elsewhere]\ndefault_model = 'm'\n");
  CHECK(place.run({"route", "checks", "k"}).exit == 0);
  CHECK(place.run({"route", "elsewhere", "k"}, {}, {{"CANARY_CONFIG", "other.toml"}}).exit == 0);
  CHECK(place.run({"route", "checks", "k"}, {}, {{"CANARY_CONFIG", ""}}).exit == 0);
  CHECK(place.run({"--config", "canary.toml", "route", "checks", "k"}, {}, {{"CANARY_CONFIG", "other.toml"}}).exit ==
        0);
}

TEST_CASE("command line: no colour but on a terminal", "[cli]") {
  const ConfiguredPlace place;
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"route", "checks", "k"}, {"route", "chekcs", "k"}}) {
    const Answer answer = place.run(arguments);
    CHECK(answer.out.find('\x1b') == std::string::npos);
    CHECK(answer.err.find('\x1b') == std::string::npos);
  }
  if (place.shell("command -v script").exit != 0) SKIP("no `script` here to make a terminal with");
  const auto on_terminal = [&](const std::string& settings) {
    return place.shell("env " + settings + " script -qec \"$CANARY route checks k\" /dev/null").out;
  };
  CHECK(on_terminal("TERM=xterm").find('\x1b') != std::string::npos);
  CHECK(on_terminal("TERM=xterm NO_COLOR=1").find('\x1b') == std::string::npos);
  CHECK(on_terminal("TERM=dumb").find('\x1b') == std::string::npos);
}

TEST_CASE("command line: a reader that has seen enough is no failure, a full disk is", "[cli]") {
  const ConfiguredPlace place;
  std::string keys;
  for (int i = 0; i != 200'000; ++i) keys += std::to_string(i) + '\n';
  place.write("keys", keys);
  const Answer head = place.shell("\"$CANARY\" route checks --keys keys | head -n 2; echo ${PIPESTATUS[0]}");
  CHECK(lines_of(head.out).size() == 3);
  CHECK(lines_of(head.out).back() == "0");
  CHECK(head.err.empty());

  for (const std::string arguments : {"route checks --keys keys", "route checks k", "version --json", "--help"}) {
    const Answer full = place.shell("\"$CANARY\" " + arguments + " > /dev/full");
    CHECK(full.exit == 1);
    CHECK(full.err.find("No space left on device") != std::string::npos);
    const Answer closed = place.shell("\"$CANARY\" " + arguments + " >&-");
    CHECK(closed.exit == 1);
    CHECK(closed.err.find("cannot write the results") != std::string::npos);
  }
}

TEST_CASE("command line: each exit code that this version can give is given", "[cli]") {
  const ConfiguredPlace place;
  CHECK(place.run({"route", "checks", "k"}).exit == 0);
  CHECK(place.shell("\"$CANARY\" version > /dev/full").exit == 1);
  CHECK(place.run({"nonsense"}).exit == 2);
  CHECK(place.run({"route", "nobody", "k"}).exit == 3);
  CHECK(place.run({"init"}).exit == 4);
  CHECK(place.run({"--config", "absent", "route", "checks", "k"}).exit == 5);
}

TEST_CASE("JSON: help and version are documents too", "[cli]") {
  const ConfiguredPlace place;
  CHECK(text_of(place.json({"--json", "--version"}).at("version")) == canary::version);
  const auto help = place.json({"simulate", "--help", "--json"});
  CHECK(text_of(help.at("help")).find("--keys") != std::string::npos);
}

TEST_CASE("JSON: --json=true is --json, also when the rest makes no sense", "[cli]") {
  const ConfiguredPlace place;
  const Answer answer = place.run({"--json=true", "rout"});
  CHECK(answer.exit == 2);
  CHECK(text_of(boost::json::parse(answer.out).at("error").at("code")) == "usage");
}

}  // namespace command_line_test
