#include <string>

#include <catch2/catch_test_macros.hpp>

#include "program.hpp"

namespace completion_test {

using namespace canary::test;

namespace {

/// What bash would offer for this line, whose last word is being typed.
std::string offered(const Place& place, const std::string& words, int count) {
  const Answer answer =
      place.shell("set -e; source <(\"$CANARY\" completion bash); COMP_WORDS=(" + words +
                  "); COMP_CWORD=" + std::to_string(count - 1) + "; _canary; printf '%s ' \"${COMPREPLY[@]}\"");
  INFO(answer.err);
  CHECK(answer.exit == 0);
  return answer.out;
}

}  // namespace

TEST_CASE("completion: bash takes the script and completes commands, options and tasks", "[cli][completion]") {
  const ConfiguredPlace place;
  CHECK(place.shell("\"$CANARY\" completion bash | bash -n").exit == 0);
  CHECK(offered(place, "canary ''", 2) ==
        "init model history route why simulate interactions export train rollout guard alert store doctor version "
        "completion --config --json --help --version ");
  CHECK(offered(place, "canary si", 2) == "simulate ");
  CHECK(offered(place, "canary --json rou", 3) == "route ");
  CHECK(offered(place, "canary simulate --s", 3) == "--set ");
  CHECK(offered(place, "canary route ''", 3) == "checks risks ");
  CHECK(offered(place, "canary why ri", 3) == "risks ");
  CHECK(offered(place, "canary why risks ''", 4) == " ");  // a key: nothing to offer
  CHECK(offered(place, "canary completion ''", 3) == "bash zsh fish ");
  CHECK(offered(place, "canary --config can", 3) == "canary.toml ");
}

TEST_CASE("completion: verbs, and what stands behind them", "[cli][completion]") {
  const ConfiguredPlace place;
  CHECK(offered(place, "canary model ''", 3) == "register list show promote canary rollback deprecate archive ");
  CHECK(offered(place, "canary model r", 3) == "register rollback ");
  CHECK(offered(place, "canary --json store ''", 4) == "migrate backup restore ");
  CHECK(offered(place, "canary model promote --n", 4) == "--note ");
  CHECK(offered(place, "canary model register ''", 4) == "checks risks ");
  CHECK(offered(place, "canary model --json promote ''", 5) == "checks@ risks@ ");
  CHECK(offered(place, "canary model canary checks@1 ''", 5) == " ");  // a share: nothing to offer
  CHECK(offered(place, "canary model rollback --note x ri", 6) == "risks ");
  CHECK(offered(place, "canary history che", 3) == "checks ");
  CHECK(offered(place, "canary store restore can", 4) == "canary.toml ");
  CHECK(offered(place, "canary train check can", 4) == "canary.toml ");
  CHECK(offered(place, "canary train check --epochs 3 a.jsonl can", 7) == "canary.toml ");
  CHECK(offered(place, "canary train check a b can", 6) == " ");  // two files are all
}

TEST_CASE("completion: task names come from the configuration that the line names", "[cli][completion]") {
  const ConfiguredPlace place;
  place.write("other.toml",
              "[ store ]\n[task.\"dotted.name\"]\n [task.alpha]\n[[task.alpha.version]]\n[task.alpha.guard]\n");
  CHECK(offered(place, "canary --config other.toml route ''", 5) == "alpha dotted.name ");
}

TEST_CASE("completion: zsh takes its script", "[cli][completion]") {
  const Place place;
  const Answer script = place.run({"completion", "zsh"});
  CHECK(script.exit == 0);
  CHECK(script.out.starts_with("#compdef canary\n"));
  if (place.shell("command -v zsh").exit != 0) SKIP("no zsh here");
  CHECK(place.shell("\"$CANARY\" completion zsh > script && zsh -n script").exit == 0);
}

TEST_CASE("completion: fish takes its script", "[cli][completion]") {
  const Place place;
  const Answer script = place.run({"completion", "fish"});
  CHECK(script.exit == 0);
  if (place.shell("command -v fish").exit != 0) SKIP("no fish here");
  CHECK(place.shell("\"$CANARY\" completion fish > script && fish -n script").exit == 0);
}

}  // namespace completion_test
