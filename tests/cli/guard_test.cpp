#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "guarded_place.hpp"
#include "program.hpp"
#include "test_paths.hpp"

namespace guard_test {

using namespace canary::test;

namespace {

const std::string outcomes = std::string{CANARY_SHARED_DATA_DIR} + "/outcomes/mmlu_pairs.csv";

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

/// `guard replay checks` on a text, with more options.
std::vector<std::string> replay(std::vector<std::string> options, const std::string& file = "rows.csv") {
  options.insert(options.begin(), {"guard", "replay", "checks", file});
  return options;
}

}  // namespace

// --- check -----------------------------------------------------------------------------------------------------------

TEST_CASE("guard check: without a candidate in flight there is nothing to judge", "[cli][guard]") {
  const DatabasePlace place;
  place.register_models({"v1"});
  CHECK(boost::json::serialize(place.json({"guard", "check", "checks"})) == R"({"task":"checks","candidates":[]})");
  const Answer text = place.run({"guard", "check", "checks"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "no candidate of checks has a share"));
  CHECK(place.json({"guard", "check", "risks"}).at("candidates").as_array().empty());  // not in the store yet
}

TEST_CASE("guard check: the document has the fields that scripts rely on, in their order", "[cli][guard]") {
  const GuardedPlace place;
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  const auto found = place.candidate();
  std::string keys;
  for (const auto& [key, value] : found) keys += std::string{key} + ' ';
  CHECK(keys == "id baseline action reason metrics sample_ratio units ");
  CHECK(text_of(found.at("id")) == "checks@1");
  CHECK(text_of(found.at("baseline")) == "checks@default");
  CHECK(text_of(found.at("action")) == "rollback");
  CHECK(has(text_of(found.at("reason")), "worse by more than the margin"));
  CHECK(number_of(found.at("units")) == 1'000);
  CHECK(number_of(found.at("sample_ratio").at("observed")) == 1'000);
  CHECK(std::abs(found.at("sample_ratio").at("expected").to_number<double>() - 1'000) < 1);
  CHECK(found.at("sample_ratio").at("log_e").to_number<double>() < 1);
  REQUIRE(found.at("metrics").as_array().size() == 1);
  const auto& metric = found.at("metrics").at(0).as_object();
  keys.clear();
  for (const auto& [key, value] : metric) keys += std::string{key} + ' ';
  CHECK(keys ==
        "name kind log_e_rollback log_e_advance threshold_rollback threshold_advance baseline candidate interval "
        "requests_to_verdict ");
  CHECK(text_of(metric.at("name")) == "ok");
  CHECK(text_of(metric.at("kind")) == "success");
  CHECK(metric.at("log_e_rollback").to_number<double>() > std::log(100));
  CHECK(std::abs(metric.at("threshold_rollback").to_number<double>() - std::log(100)) < 1e-9);
  CHECK(std::abs(metric.at("threshold_advance").to_number<double>() - std::log(20)) < 1e-9);
  CHECK(boost::json::serialize(metric.at("baseline")) == R"({"count":9000,"value":9E-1})");
  CHECK(boost::json::serialize(metric.at("candidate")) == R"({"count":1000,"value":7E-1})");
  CHECK(metric.at("interval").at(0).to_number<double>() < -0.2);
  CHECK(metric.at("interval").at(1).to_number<double>() > -0.2);
  CHECK(number_of(metric.at("requests_to_verdict")) == 0);
}

TEST_CASE("guard check: people are told what is compared, how sure it is, and what would change it", "[cli][guard]") {
  const GuardedPlace place;
  const auto told = [&place] {
    const Answer answer = place.run({"guard", "check", "checks"});
    CHECK(answer.exit == 0);
    CHECK(answer.err.empty());
    return answer.out;
  };
  std::string text = told();
  CHECK(has(text, "checks@1: hold\n"));
  CHECK(has(text, "Compared with checks@default since revision 3, at 10 %, step 3 of 6; 0 units of it so far."));
  CHECK(has(text, "no outcome has been recorded yet"));
  CHECK(has(text, "Imported interactions, and those from before revision 3, are no evidence."));
  place.put(counts_of(900, 90, 100, 10).bytes());
  text = told();
  CHECK(has(text, "checks@1: hold\n"));
  CHECK(has(text, "90 % of 900"));
  CHECK(has(text, "It is rolled back when HARM, over all metrics, reaches 100 to 1"));
  CHECK(has(text, "advances when NO HARM reaches 20 to 1 in its metric."));
  CHECK(has(text, "more requests of both versions decide, if it goes on like this."));
  place.put(counts_of(90'000, 9'000, 10'000, 1'000).bytes());
  text = told();
  CHECK(has(text, "checks@1: advance\n"));
  CHECK(has(text, "The next step: canary model canary checks@1 25\n"));
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  text = told();
  CHECK(has(text, "checks@1: rollback\n"));
  CHECK(has(text, "Take its traffic back: canary model rollback checks@1\n"));
  CHECK(text_of(place.json({"model", "show", "checks@1"}).at("version").at("status")) == "CANDIDATE");  // it only looks
}

TEST_CASE("guard check: several candidates are told one after the other", "[cli][guard]") {
  const GuardedPlace place;
  place.done({"model", "canary", "checks@2", "5"});
  const auto all = place.json({"guard", "check", "checks"}).at("candidates").as_array();
  REQUIRE(all.size() == 2);
  CHECK(text_of(all[1].at("id")) == "checks@2");
  CHECK(has(place.run({"guard", "check", "checks"}).out, "\n\nchecks@2: hold\n"));
}

TEST_CASE("guard check: what JSON has no number for is null", "[cli][guard]") {
  const GuardedPlace place;
  place.write("canary.toml",
              "[store]\nurl = 'sqlite:canary.db'\n[task.checks]\n"
              "[[task.checks.guard.metric]]\nname = 'ok'\nweight = 0\n"
              "[[task.checks.guard.metric]]\nname = 'quality'\nkind = 'score'\n");
  place.put(counts_of(900, 90, 100, 10).bytes());
  const auto found = place.candidate();
  CHECK(found.at("metrics").at(0).at("threshold_rollback").is_null());  // it never rolls back alone
  CHECK(found.at("metrics").at(1).at("requests_to_verdict").is_null());
  CHECK(has(text_of(found.at("reason")), "nobody records a score"));
  CHECK(has(place.run({"guard", "check", "checks"}).out, "of never"));
}

TEST_CASE("guard check: bad input, each with its exit code", "[cli][guard][bad]") {
  const GuardedPlace place;
  CHECK(has(place.refused(3, {"guard", "check", "check"}), "did you mean \"checks\"?"));
  CHECK(has(place.refused(2, {"guard", "check"}), "task"));
  CHECK(has(place.refused(2, {"guard", "chek", "checks"}), "did you mean \"check\"?"));
  CHECK(has(place.refused(2, {"guard", "walk", "checks"}), "no command"));
  CHECK(has(place.refused(2, {"gard", "check", "checks"}), "did you mean \"guard\"?"));
  place.put("nonsense");
  CHECK(has(place.refused(1, {"guard", "check", "checks"}),
            "task checks: the evidence of version checks@1 at revision 3 makes no sense"));
  place.sql("UPDATE tasks SET epoch = 'nonsense'");
  CHECK(has(place.refused(1, {"guard", "check", "checks"}), "the epoch of revision 3 makes no sense"));
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.checks]\n");
  CHECK(has(place.refused(5, {"guard", "check", "checks"}), "registry commands need a database"));
  place.write("canary.toml",
              "[store]\nurl = 'postgresql://127.0.0.1:1/x'\ntimeout_ms = 500\n[task.checks]\ndefault_model = 'm'\n");
  (void)place.refused(7, {"guard", "check", "checks"});
}

// --- replay ----------------------------------------------------------------------------------------------------------

TEST_CASE("guard replay: recorded outcomes of two models: no false alarm, a worse one goes, a better one stays",
          "[cli][guard]") {
  if (!std::filesystem::exists(outcomes)) SKIP("no outcomes at " << outcomes);
  const ConfiguredPlace place;
  place.write("canary.toml",
              "[store]\nurl = 'memory:'\n[task.checks]\n[task.checks.guard]\nalpha_rollback = 0.05\n"
              "[[task.checks.guard.metric]]\nname = 'ok'\nmargin = 0.0\n");
  const std::vector<std::string> size{"--repeat", "40", "--requests", "20000"};
  const auto result = [&](const std::string& baseline, const std::string& candidate) {
    auto arguments = replay({"--baseline", baseline, "--candidate", candidate}, outcomes);
    arguments.insert(arguments.end(), size.begin(), size.end());
    const auto document = place.json(arguments);
    CHECK(number_of(document.at("runs")) == 40);
    CHECK(number_of(document.at("rolled_back")) + number_of(document.at("advanced")) + number_of(document.at("held")) ==
          40);
    return document;
  };
  const auto same = result("gpt4_1106_ok", "gpt4_1106_ok");
  CHECK(number_of(same.at("rolled_back")) <= 6);  // of 40 at 5 %: more has a chance of 0.7 %, and the seed is fixed
  const auto worse = result("gpt4_1106_ok", "mixtral_8x7b_ok");
  CHECK(number_of(worse.at("rolled_back")) == 40);
  CHECK(worse.at("median_requests_to_rollback").to_number<double>() < 5'000);
  CHECK(worse.at("median_requests_to_advance").is_null());
  const auto better = result("mixtral_8x7b_ok", "gpt4_1106_ok");
  CHECK(number_of(better.at("advanced")) == 40);
  CHECK(better.at("median_requests_to_rollback").is_null());
}

TEST_CASE("guard replay: a seed gives the same answer, and options change it", "[cli][guard]") {
  const ConfiguredPlace place;
  std::string csv = "a,b\n";
  for (int i = 0; i != 200; ++i) csv += std::string{i % 10 == 0 ? "0" : "1"} + ',' + (i % 5 == 0 ? "0" : "1") + '\n';
  place.write("rows.csv", csv);
  const auto answer = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--baseline", "a", "--candidate", "b", "--repeat", "30", "--requests", "3000"});
    return boost::json::serialize(place.json(replay(more)));
  };
  const std::string usual = answer({});
  CHECK(answer({}) == usual);
  CHECK(answer({"--seed", "1", "--percent", "10%", "--metric", "success"}) == usual);
  CHECK(answer({"--seed", "2"}) != usual);
  CHECK(answer({"--percent", "50"}) != usual);
  CHECK(answer({"--margin", "0"}) != usual);
  const Answer piped = place.run({"--json", "guard", "replay", "checks", "-", "--baseline", "a", "--candidate", "b",
                                  "--repeat", "30", "--requests", "3000"},
                                 csv);
  CHECK(piped.out == usual + '\n');
}

TEST_CASE("guard replay: people are told the same in words", "[cli][guard]") {
  const ConfiguredPlace place;
  place.write("rows.csv", "a,b\n1,0\n1,\n1,0\n");
  const Answer text = place.run(replay({"--baseline", "a", "--candidate", "b", "--repeat", "5", "--requests", "2000"}));
  CHECK(text.exit == 0);
  CHECK(text.err.empty());
  CHECK(has(text.out, "b at 10 % against a, 3 rows, 5 runs of at most 2,000 requests\n"));
  CHECK(has(text.out, "rolled back  5 of 5, 100.00 %, half of them within "));
  CHECK(has(text.out, "held         0 of 5, 0.00 %\n"));
  CHECK(has(text.out, "1 cell is empty: outcomes that never came, which count as failures."));
  const Answer same = place.run(replay({"--baseline", "a", "--candidate", "a", "--repeat", "5", "--requests", "100"}));
  CHECK(has(same.out, "every rollback is a false one, of which alpha_rollback allows 1 %."));
}

TEST_CASE("guard replay: scores, latencies and costs", "[cli][guard]") {
  const ConfiguredPlace place;
  std::string csv = "score,worse,us,slower,cost,dearer\n";
  for (int i = 0; i != 100; ++i)
    csv += "0." + std::to_string(50 + i % 40) + ",0." + std::to_string(20 + i % 40) + ',' +
           std::to_string(1'000 + 10 * i) + ',' + std::to_string(3'000 + 10 * i) + ".0," + std::to_string(100 + i) +
           ',' + std::to_string(300 + i) + '\n';
  place.write("rows.csv", csv);
  for (const std::vector<std::string>& each :
       {std::vector<std::string>{"score", "score", "worse"}, {"latency", "us", "slower"}, {"cost", "cost", "dearer"}}) {
    INFO(each[0]);
    const auto result = place.json(replay(
        {"--metric", each[0], "--baseline", each[1], "--candidate", each[2], "--repeat", "5", "--requests", "20000"}));
    CHECK(number_of(result.at("rolled_back")) == 5);
  }
}

TEST_CASE("guard replay: bad input, each with its place and its exit code", "[cli][guard][bad]") {
  const DatabasePlace place;  // its database is never asked for
  const auto refused = [&place](int exit, std::string_view csv, std::vector<std::string> options = {}) {
    place.write("rows.csv", csv);
    options.insert(options.begin(), {"--baseline", "old", "--candidate", "new", "--repeat", "2", "--requests", "50"});
    return place.refused(exit, replay(options));
  };
  const std::string good = "old,new\n1,0\n";
  CHECK(has(refused(5, "old,new\n1,1\n1,perhaps\n"),
            "rows.csv:3:3: column \"new\": \"perhaps\"; expected 1, 0, true, false, yes or no"));
  CHECK(has(refused(5, "old,new\n1,nan\n"), "rows.csv:2:3: column \"new\": \"nan\""));
  CHECK(has(refused(5, "old,new\nnan,0.5\n", {"--metric", "score"}), "rows.csv:2:1: column \"old\": \"nan\""));
  CHECK(has(refused(5, "old,new\n1.5,0.5\n", {"--metric", "score"}), "expected a number from 0 to 1"));
  CHECK(has(refused(5, "old,new\n-5,7\n", {"--metric", "latency"}), "expected a number of microseconds"));
  CHECK(has(refused(5, "old,new\n5,inf\n", {"--metric", "cost"}), "rows.csv:2:3"));
  CHECK(has(refused(5, "old,nev\n1,0\n"), "did you mean \"nev\"?"));
  CHECK(has(refused(5, "old,new,new\n1,0,0\n"), "two columns are named"));
  CHECK(has(refused(5, "old,new\n"), "no row under the header"));
  CHECK(has(refused(5, "old,new\n,\n,\n"), "every cell of these columns is empty"));
  CHECK(has(refused(5, ""), "the file is empty"));
  CHECK(has(refused(5, "old,new\n1\n"), "a record of 1 fields under a header of 2"));
  CHECK(has(refused(5, good, {"--percent", "0"}), "at 0 % the candidate has no traffic"));
  CHECK(has(refused(5, good, {"--percent", "100"}), "at 100 % the baseline has no traffic"));
  for (const char* percent : {"nan", "-1", "101", "0.00001", "ten"})
    CHECK(has(refused(5, good, {"--percent=" + std::string{percent}}), "is not a percentage"));
  for (const char* margin : {"nan", "-0.1", "inf", "x", "1e10", "2", "1"})
    CHECK(has(refused(5, good, {"--margin=" + std::string{margin}}),
              "expected for kind success, a share, or points, from 0 to below 1: 0.02 for 2 %"));
  CHECK(has(refused(5, "old,new\n5,5\n", {"--metric", "latency", "--margin", "10.5"}),
            "expected for kind latency, a ratio from 0 to 10"));
  place.write("rows.csv", good);
  for (const char* option : {"--requests", "--repeat"})
    for (const char* count : {"0", "-1", "1.5", "nan", "99999999999999999999", "x"})
      CHECK(
          has(place.refused(2, replay({"--baseline", "old", "--candidate", "new", std::string{option} + '=' + count})),
              "expected a whole number from 1 to "));
  CHECK(has(refused(2, good, {"--seed=-1"}), "expected a whole number from 0 to "));
  CHECK(has(refused(2, good, {"--metric", "succes"}), "did you mean \"success\"?"));
  CHECK(has(refused(2, good, {"--metric", "ok"}), "--metric names a kind"));
  CHECK(has(place.refused(2, {"guard", "replay", "checks", "rows.csv", "--baseline", "old"}), "--candidate"));
  CHECK(has(place.refused(2, replay({"--baseline", "old", "--candidat", "new"})), "did you mean \"--candidate\"?"));
  CHECK(has(place.refused(5, replay({"--baseline", "old", "--candidate", "new"}, "none.csv")), "cannot be opened"));
  CHECK(has(place.refused(3, {"guard", "replay", "risk", "rows.csv", "--baseline", "old", "--candidate", "new"}),
            "did you mean \"risks\"?"));
  CHECK_FALSE(std::filesystem::exists(place.path() / "canary.db"));
}

// --- plan ------------------------------------------------------------------------------------------------------------

TEST_CASE("guard plan: each step of the guard, or the share that is named", "[cli][guard]") {
  const ConfiguredPlace place;
  const auto all = place.json({"guard", "plan", "checks"});
  CHECK(text_of(all.at("task")) == "checks");
  REQUIRE(all.at("steps").as_array().size() == 5);
  CHECK(all.at("alpha_rollback").to_number<double>() == 0.01);
  double last = 1e300;
  for (const auto& step : all.at("steps").as_array()) {
    CHECK(step.at("drop") == step.at("advance_margin"));
    CHECK(number_of(step.at("requests_to_rollback")) > 100);
    last = step.at("percent").to_number<double>();
  }
  CHECK(last == 50);
  const auto one = place.json({"guard", "plan", "checks", "--percent", "10", "--drop", "0.05", "--baseline", "0.95"});
  REQUIRE(one.at("steps").as_array().size() == 1);
  const auto requests = number_of(one.at("steps").at(0).at("requests_to_rollback"));
  const auto worse = place.json({"guard", "plan", "checks", "--percent", "10", "--drop", "0.1", "--rate", "0.95"});
  CHECK(number_of(worse.at("steps").at(0).at("requests_to_rollback")) < requests);
  CHECK(worse.at("steps").at(0).at("requests_to_advance") == one.at("steps").at(0).at("requests_to_advance"));
  const auto never = place.json({"guard", "plan", "checks", "--drop", "0.005"});
  CHECK(never.at("steps").at(0).at("requests_to_rollback").is_null());
  const Answer text = place.run({"guard", "plan", "checks", "--drop", "0"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "UNTIL ROLLBACK"));
  CHECK(has(text.out, "Never: what the margin tolerates is not rolled back."));
}

TEST_CASE("guard plan: a task without a metric of success is told that it has none", "[cli][guard]") {
  const ConfiguredPlace place;
  CHECK(place.json({"guard", "plan", "checks"}).at("metric").is_null());
  const std::string told = place.run({"guard", "plan", "checks"}).out;
  CHECK(told.starts_with("The task has no metric of kind success"));
  CHECK(has(told, "An example, with the defaults:\n"));
  CHECK(told.find("`success`") == std::string::npos);
  place.write("canary.toml", "[store]\nurl = 'memory:'\n[task.checks]\n[[task.checks.guard.metric]]\nname = 'ok'\n");
  CHECK(text_of(place.json({"guard", "plan", "checks"}).at("metric")) == "ok");
  CHECK(place.run({"guard", "plan", "checks"}).out.starts_with("The baseline succeeds in 90 % of its requests; `ok`"));
}

TEST_CASE("guard plan: nothing can be worse by more than the baseline succeeds", "[cli][guard]") {
  const DatabasePlace place;
  CHECK(has(place.refused(5, {"guard", "plan", "checks", "--drop", "1"}), "at most 0.9 here"));
  CHECK(has(place.refused(5, {"guard", "plan", "checks", "--drop", "0.3", "--baseline", "0.2"}), "at most 0.2 here"));
  CHECK(place.run({"guard", "plan", "checks", "--drop", "0.9"}).exit == 0);
  const auto steps = place.json({"guard", "plan", "checks", "--baseline", "0.05"}).at("steps").as_array();
  CHECK(steps.at(0).at("drop").to_number<double>() == 0.05);  // its advance_margin is 0.1
  CHECK(steps.at(1).at("drop").to_number<double>() == 0.05);
  CHECK(steps.at(4).at("drop").to_number<double>() == 0.02);
}

TEST_CASE("guard plan: metrics share alpha_rollback by their weights", "[cli][guard]") {
  const ConfiguredPlace place;
  place.write("canary.toml",
              "[store]\nurl = 'memory:'\n[task.checks]\n"
              "[[task.checks.guard.metric]]\nname = 'fast'\nkind = 'latency'\nweight = 3\n"
              "[[task.checks.guard.metric]]\nname = 'fine'\nmargin = 0.0\n");
  const auto plan = place.json({"guard", "plan", "checks"});
  CHECK(text_of(plan.at("metric")) == "fine");
  CHECK(plan.at("margin").to_number<double>() == 0);
  CHECK(plan.at("alpha_rollback").to_number<double>() == 0.0025);
}

TEST_CASE("guard plan: bad input, each with its exit code", "[cli][guard][bad]") {
  const DatabasePlace place;
  const auto refused = [&place](int exit, std::vector<std::string> options) {
    options.insert(options.begin(), {"guard", "plan", "checks"});
    return place.refused(exit, options);
  };
  CHECK(has(refused(5, {"--percent", "0"}), "at 0 % the candidate has no traffic"));
  CHECK(has(refused(5, {"--percent", "100"}), "at 100 % the baseline has no traffic"));
  CHECK(has(refused(5, {"--percent", "NaN"}), "is not a percentage"));
  for (const char* drop : {"nan", "-0.1", "1.1", "x"})
    CHECK(has(refused(5, {"--drop=" + std::string{drop}}), "expected a difference of two shares"));
  for (const char* share : {"nan", "0", "1", "95", "x"})
    CHECK(has(refused(5, {"--baseline=" + std::string{share}}), "expected the baseline's share of successes"));
  CHECK(has(place.refused(3, {"guard", "plan", "check"}), "did you mean \"checks\"?"));
  place.write("canary.toml", "[task.checks]\n[task.checks.guard]\nsteps_percent = [100]\n");
  CHECK(has(refused(5, {}), "no step below 100 %"));
  place.write("canary.toml",
              "[task.checks]\n[task.checks.guard]\nsteps_percent = [100]\n"
              "[[task.checks.guard.metric]]\nname = 'ok'\nadvance_margin = []\n");
  CHECK(has(refused(5, {"--percent", "10"}), "no advance_margin to take the drop from"));
  const auto plan = place.json({"guard", "plan", "checks", "--percent", "10", "--drop", "0.1"});
  CHECK(plan.at("steps").at(0).at("advance_margin").is_null());
  CHECK(plan.at("steps").at(0).at("requests_to_advance").is_null());
}

TEST_CASE("guard: bash completes the verbs, tasks, files and options", "[cli][guard][completion]") {
  const ConfiguredPlace place;
  const auto offered = [&place](const std::string& words) {
    const Answer answer =
        place.shell("set -e; source <(\"$CANARY\" completion bash); COMP_WORDS=(canary " + words +
                    "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _canary; printf '%s ' \"${COMPREPLY[@]}\"");
    INFO(answer.err);
    CHECK(answer.exit == 0);
    return answer.out;
  };
  CHECK(offered("guard ''") == "check run replay plan ");
  CHECK(offered("guard check ''") == "checks risks ");
  CHECK(offered("guard replay checks canary.t") == "canary.toml ");
  CHECK(offered("guard replay --basel") == "--baseline ");
  CHECK(offered("guard plan --dr") == "--drop ");
}

}  // namespace guard_test
