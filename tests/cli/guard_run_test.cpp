#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "guarded_place.hpp"
#include "program.hpp"

namespace guard_run_test {

using namespace canary::test;

namespace {

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

const std::vector<std::string> start{"rollout", "start", "checks@1", "--steps", "10,50,100"};

/// What `guard run --once --json` says of the tasks, a document each.
std::vector<boost::json::object> once(const GuardedPlace& place, std::vector<std::string> more = {}) {
  more.insert(more.begin(), {"guard", "run", "--once", "--json"});
  const Answer answer = place.run(more);
  CHECK(answer.exit == 0);
  CHECK(answer.err.empty());
  std::vector<boost::json::object> documents;
  for (const std::string& line : lines_of(answer.out)) documents.push_back(boost::json::parse(line).as_object());
  return documents;
}

/// A line of bash with the guard's process in $pid, its output in file 3 and its warnings in file 4.
std::string with_guard(const std::string& line, const std::string& options = "") {
  return "mkfifo out err; \"$CANARY\" guard run " + options + " > out 2> err & pid=$!; exec 3< out 4< err; " + line +
         "; kill -TERM $pid; wait $pid; echo \"exit $?\"";
}

}  // namespace

TEST_CASE("guard run: once, every task has its document, with what was done of each candidate", "[cli][guard]") {
  const GuardedPlace place{start};
  auto documents = once(place);
  REQUIRE(documents.size() == 2);
  CHECK(text_of(documents[0].at("task")) == "checks");
  CHECK(boost::json::serialize(documents[1]) == R"({"task":"risks","candidates":[]})");
  REQUIRE(documents[0].at("candidates").as_array().size() == 1);
  auto found = documents[0].at("candidates").at(0).as_object();
  std::string keys;
  for (const auto& [key, value] : found) keys += std::string{key} + ' ';
  CHECK(keys == "id baseline action reason metrics sample_ratio units acted conflict happened revision ");
  CHECK_FALSE(found.at("acted").as_bool());
  CHECK(found.at("happened").is_null());

  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  found = once(place, {"--note", "by night"}).at(0).at("candidates").at(0).as_object();
  CHECK(text_of(found.at("action")) == "rollback");
  CHECK(found.at("acted").as_bool());
  CHECK(text_of(found.at("happened")) == "rolled back: from 10 to 0 %");
  CHECK(number_of(found.at("revision")) == 4);
  const auto row = place.json({"history", "checks"}).at("history").as_array().back().as_object();
  CHECK(text_of(row.at("actor")).starts_with("guard@"));
  CHECK(text_of(row.at("action")) == "rollback");
  CHECK(text_of(row.at("note")).ends_with("; by night"));
  CHECK(text_of(row.at("evidence").at("action")) == "rollback");
  CHECK(number_of(row.at("evidence").at("metrics").at(0).at("candidate").at("count")) == 1'000);
  CHECK(has(place.run({"history", "checks"}).out, R"({"action":"rollback","reason":)"));
  const auto rollout = place.json({"rollout", "status", "checks@1"}).at("rollout").as_object();
  CHECK(text_of(rollout.at("state")) == "rolled_back");
  CHECK(rollout.at("reason").as_string().starts_with("`ok`: share of successes 0.7 of 1000"));
  CHECK(once(place).at(0).at("candidates").as_array().empty());
  CHECK(has(place.refused(4, {"rollout", "start", "checks@1"}), "DEPRECATED"));
}

TEST_CASE("guard run: once, people are told what was found and done", "[cli][guard]") {
  const GuardedPlace place{start};
  place.put(counts_of(9'000, 900, 1'000, 50).bytes());
  CHECK(has(place.run({"guard", "check", "checks"}).out, "Its rollout goes on with the guard's next pass"));
  const Answer planned = place.run({"guard", "run", "--once", "--dry-run"});
  CHECK(has(planned.out, "would be advanced: from 10 to 50 %"));
  CHECK(place.shares().at("checks@1") == 100'000);
  const Answer text = place.run({"guard", "run", "--once", "--actor", "night watch"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "checks@1: advance"));
  CHECK(has(text.out, "step 1 of 3 of its running rollout"));
  CHECK(has(text.out, "advanced: from 10 to 50 %; revision 4"));
  CHECK(place.shares().at("checks@1") == 500'000);
  CHECK(has(place.run({"history", "checks"}).out, "night watch"));
}

TEST_CASE("guard run: a share by hand is taken back for harm, and never raised", "[cli][guard]") {
  const GuardedPlace place;
  place.put(counts_of(9'000, 900, 1'000, 50).bytes());
  const auto found = once(place).at(0).at("candidates").at(0).as_object();
  CHECK(text_of(found.at("action")) == "advance");
  CHECK_FALSE(found.at("acted").as_bool());
  CHECK(has(text_of(found.at("happened")), "no rollout of it is under way"));
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  CHECK(once(place).at(0).at("candidates").at(0).at("acted").as_bool());
}

TEST_CASE("guard run: evidence of one task that makes no sense is how it ends, after the others were judged",
          "[cli][guard]") {
  const GuardedPlace place;
  place.put("nonsense");
  const Answer answer = place.run({"guard", "run", "--once", "--json"});
  CHECK(answer.exit == 1);
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  CHECK(has(lines[0], R"({"task":"risks")"));
  CHECK(has(lines[1], "task checks was not judged"));
}

TEST_CASE("guard run: it acts when there is something to act on, and ends with 0 when it is told to", "[cli][guard]") {
  const GuardedPlace place{start};
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  const Answer answer = place.shell(with_guard("read -r line <&3; echo \"$line\""));
  CHECK(has(answer.out, "checks@1: rolled back: from 10 to 0 %; revision 4, because `ok`: share of successes"));
  CHECK(answer.out.ends_with("exit 0\n"));
  CHECK(place.shares().at("checks@default") == 1'000'000);
}

TEST_CASE("guard run: as JSON it tells of what is new, a document a line", "[cli][guard]") {
  const GuardedPlace place{start};
  const Answer answer = place.shell(with_guard("read -r line <&3; echo \"$line\"", "--json --interval 1"));
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  const auto found = boost::json::parse(lines[0]).as_object();
  CHECK(text_of(found.at("task")) == "checks");
  CHECK(text_of(found.at("candidates").at(0).at("action")) == "hold");
  CHECK(lines[1] == "exit 0");
}

TEST_CASE("guard run: a store that is away is told once, and guarded again when it is back", "[cli][guard]") {
  const GuardedPlace place{start};
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  place.write("canary.state", "");  // there was a store before
  const Answer answer = place.shell("mv canary.db away.db; " +
                                    with_guard("read -r line <&4; echo \"$line\"; mv away.db canary.db; "
                                               "read -r line <&3; echo \"$line\"; read -r line <&4; echo \"$line\""));
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 4);
  CHECK(has(lines[0], "warning: task checks is not guarded: `"));
  CHECK(has(lines[1], "checks@1: rolled back"));
  CHECK(has(lines[2], "guarded again"));
  CHECK(lines[3] == "exit 0");
}

TEST_CASE("guard run bad input: what makes no sense is refused before anything is judged", "[cli][guard][bad]") {
  const GuardedPlace place{start};
  place.put(counts_of(9'000, 900, 1'000, 300).bytes());
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"guard", "run", "--interval", "0"},
                                                    {"guard", "run", "--interval", "soon"},
                                                    {"guard", "run", "--once", "--actor", ""},
                                                    {"guard", "run", "checks"}})
    (void)place.refused(2, arguments);
  CHECK(has(place.refused(5, {"guard", "run", "--once", "--actor", "a\nb"}), "control character"));
  CHECK(place.shares().at("checks@1") == 100'000);
}

}  // namespace guard_run_test
