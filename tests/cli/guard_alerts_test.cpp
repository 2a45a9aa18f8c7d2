// canary guard run tells people: wherever alerts go, however receivers behave.
#include <sys/stat.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/http_server.hpp"
#include "canary/control/hmac.hpp"
#include "guarded_place.hpp"
#include "program.hpp"

namespace guard_alerts_test {

using namespace canary::test;

namespace {

const std::string secret = "Zq7SECRETq7Z";
const std::vector<std::pair<std::string, std::string>> with_secret{{"CANARY_WEBHOOK_SECRET", secret}};
const std::vector<std::string> once{"guard", "run", "--once", "--json"};

/// A place whose candidate does harm, whose alerts are configured so, with programs that keep, refuse and hang.
struct HarmedPlace : GuardedPlace {
  explicit HarmedPlace(const std::string& alerts) : GuardedPlace{{"model", "canary", "checks@1", "10"}, alerts} {
    write("keeps", "#!/bin/sh\ncat >> \"$1\"\n");
    write("fails", "#!/bin/sh\nexit 3\n");
    write("hangs", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n");
    for (const char* name : {"keeps", "fails", "hangs"}) ::chmod((path() / name).c_str(), 0755);
    put(counts_of(9'000, 900, 1'000, 300).bytes());
  }
};

bool has(const std::string& text, std::string_view part) {
  INFO(text << " / " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

/// What the program kept, a document a line.
std::vector<boost::json::object> kept(const Place& place, const std::string& name = "got") {
  std::vector<boost::json::object> all;
  for (const std::string& line : lines_of(place.read(name))) all.push_back(boost::json::parse(line).as_object());
  return all;
}

/// The guard's document of task `checks`: the candidate was rolled back.
void check_rolled_back(const HarmedPlace& place, const Answer& answer) {
  INFO(answer.out << answer.err);
  CHECK(answer.exit == 0);
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  CHECK(boost::json::parse(lines[0]).at("candidates").at(0).at("acted").as_bool());
  CHECK(place.shares().at("checks@default") == 1'000'000);
}

/// A line of bash that runs the guard until the command of the alerts has been run, with its end.
std::string until_kept(const std::string& before, const std::string& meanwhile = "") {
  return "mkfifo told; " + before + "; \"$CANARY\" guard run > out 2> err & pid=$!; " + meanwhile +
         "cat told; kill -TERM $pid; wait $pid; echo \"exit $?\"";
}

}  // namespace

TEST_CASE("guard run alerts: a rollback is told to a program, once, and to the log", "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'got']\n"};
  const Answer answer = place.run(once);
  check_rolled_back(place, answer);
  const auto all = kept(place);
  REQUIRE(all.size() == 1);
  CHECK(text_of(all[0].at("kind")) == "rollback");
  CHECK(text_of(all[0].at("version")) == "checks@1");
  CHECK(text_of(all[0].at("key")) == "rollback/checks@1/4");
  CHECK(has(text_of(all[0].at("message")), "`ok`: share of successes 0.7 of 1000"));
  CHECK_FALSE(text_of(all[0].at("source")).empty());
  CHECK(lines_of(answer.err).size() == 1);
  CHECK(has(answer.err, "canary alert: rollback checks@1: "));
  CHECK(place.run(once).err.empty());
  CHECK(kept(place).size() == 1);
}

TEST_CASE("guard run alerts: a webhook gets them signed, and the secret is nowhere else", "[cli][guard][alert]") {
  ::test::HttpServer server;
  const HarmedPlace place{"webhook = '" + server.url("/hook") + "'\nlog = false\n"};
  const Answer answer = place.run(once, {}, with_secret);
  check_rolled_back(place, answer);
  CHECK(answer.err.empty());
  const auto all = server.seen(1);
  REQUIRE(all.size() == 1);
  CHECK(text_of(boost::json::parse(all[0].body).at("kind")) == "rollback");
  const std::string signature = all[0].headers.at("canary-signature");
  const std::string time = signature.substr(2, signature.find(',') - 2);
  CHECK(signature.substr(signature.find("v1=") + 3) ==
        canary::hex_text(canary::hmac_sha256(secret, time + '.' + all[0].body)));
  CHECK((answer.out + answer.err + all[0].body).find(secret) == std::string::npos);
}

TEST_CASE("guard run alerts: a receiver that is slow, down, redirecting or broken holds up no rollback, and is told",
          "[cli][guard][alert]") {
  using How = ::test::HttpReply::How;
  ::test::HttpServer server;
  std::string alerts = "webhook = '" + server.url("/" + secret) + "'\nlog = false\n";
  std::string warning;
  SECTION("slow") {
    server.answer({{.how = How::hold}, {.how = How::hold}});
    warning = "not delivered";
  }
  SECTION("down") {
    server.down();
    warning = "not delivered, at last since: ";
  }
  SECTION("redirecting") {
    server.answer(std::vector<::test::HttpReply>(20, {302, "Location: http://127.0.0.1:1/\r\n", ""}));
    warning = "redirects are not followed";
  }
  SECTION("broken") {
    server.answer(std::vector<::test::HttpReply>(20, {500, "", ""}));
    warning = "answered 500";
  }
  SECTION("refusing") {
    server.answer({{400, "", ""}});
    warning = "answered 400";
  }
  SECTION("a program that fails") {
    alerts = "command = ['fails']\nlog = false\n";
    warning = "exit status 3";
  }
  SECTION("a program that hangs") {
    alerts = "command = ['hangs']\nlog = false\n";
    warning = "not delivered";
  }
  const HarmedPlace place{alerts};
  const auto begin = std::chrono::steady_clock::now();
  const Answer answer = place.run(once, {}, with_secret);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{60});  // it does not wait for an hour
  check_rolled_back(place, answer);
  CHECK(has(answer.err, "warning: "));
  CHECK(has(answer.err, "1 alert to "));
  CHECK(has(answer.err, warning));
  CHECK(answer.err.find(secret) == std::string::npos);
}

TEST_CASE("guard run alerts: a receiver that fails once gets it all the same", "[cli][guard][alert]") {
  ::test::HttpServer server;
  server.answer({{503, "", ""}});
  const HarmedPlace place{"webhook = '" + server.url() + "'\nlog = false\n"};
  const Answer answer = place.run(once, {}, with_secret);
  check_rolled_back(place, answer);
  const auto all = server.seen(2);
  CHECK(all[0].headers.at("canary-delivery") == all[1].headers.at("canary-delivery"));
  CHECK(answer.err.find("not delivered") == std::string::npos);
}

TEST_CASE("guard run alerts: a sink that cannot be made is told before anything is judged",
          "[cli][guard][alert][bad]") {
  const auto check = [](const std::string& alerts, std::string_view words) {
    const HarmedPlace place{alerts};
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"guard", "run", "--once"}, {"guard", "run"}})
      CHECK(has(place.refused(5, arguments), words));
    CHECK(place.shares().at("checks@1") == 100'000);
    CHECK(place.run({"guard", "run", "--once", "--dry-run"}).exit == 0);  // it tells nobody
  };
  check("webhook = 'https://alerts.example/'\nwebhook_secret_env = 'MY_SECRET'\n", "MY_SECRET is not set");
  check("command = ['nowhere']\n", "cannot be run: No such file");
}

TEST_CASE("guard run alerts: a dry run tells nobody", "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'got']\n"};
  const Answer answer = place.run({"guard", "run", "--once", "--dry-run"});
  CHECK(answer.exit == 0);
  CHECK(answer.err.empty());
  CHECK(place.read("got").empty());
}

TEST_CASE("guard run alerts: what stands is told too, of tasks without a guard as well", "[cli][guard][alert]") {
  const GuardedPlace place{{"model", "register", "risks", "old", "--shutdown-date", "2026-01-01"},
                           "command = ['keeps', 'told']\nlog = false\n"};
  place.write("keeps", "#!/bin/sh\ncat >> \"$1\"\n");
  ::chmod((place.path() / "keeps").c_str(), 0755);
  place.sql("UPDATE versions SET status = 'ACTIVE' WHERE task = 'risks'");
  for (int call = 0; call != 2; ++call) CHECK(place.run(once).exit == 0);  // by cron, say: not told, or at each call
  CHECK(place.read("told").empty());
  const Answer answer = place.shell(until_kept(":"));
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  const auto alert = boost::json::parse(lines[0]).as_object();
  CHECK(text_of(alert.at("kind")) == "shutdown_near");
  CHECK(text_of(alert.at("version")) == "risks@1");
  CHECK(lines[1] == "exit 0");
}

TEST_CASE("guard run alerts: a store that is away is no alert of --once, but how it ends", "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'got']\nlog = false\n"};
  place.write("canary.state", "");
  CHECK(place.shell("mv canary.db away.db; \"$CANARY\" guard run --once").exit != 0);
  CHECK(place.read("got").empty());
}

TEST_CASE("guard run alerts: a stderr that nobody reads holds up neither a rollback nor the end",
          "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'told']\n"};
  const Answer answer = place.shell(
      "mkfifo stuck; exec 9<>stuck; head -c 65536 /dev/zero >&9; mkfifo told; \"$CANARY\" guard run > out 2>&9 & "
      "pid=$!; cat told; kill -TERM $pid; (sleep 60; kill -KILL $pid) 9>&- & wait $pid; echo \"exit $?\"; kill %2");
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  CHECK(text_of(boost::json::parse(lines[0]).at("kind")) == "rollback");
  CHECK(lines[1] == "exit 0");
}

TEST_CASE("guard run alerts: one task that cannot be judged keeps nothing from being told", "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'told']\nlog = false\n"};
  place.put("nonsense");
  place.done({"model", "register", "risks", "old", "--shutdown-date", "2026-01-01"});
  place.sql("UPDATE versions SET status = 'ACTIVE' WHERE task = 'risks'");
  CHECK(place.run(once).exit == 1);
  const auto lines = lines_of(place.shell(until_kept(":")).out);
  REQUIRE(lines.size() == 2);
  CHECK(text_of(boost::json::parse(lines[0]).at("kind")) == "shutdown_near");
}

TEST_CASE("guard run alerts: a guard that runs tells when it acts, and ends when it is told to",
          "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'told']\nlog = false\n"};
  const Answer answer = place.shell(until_kept(":"));
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  CHECK(text_of(boost::json::parse(lines[0]).at("key")) == "rollback/checks@1/4");
  CHECK(lines[1] == "exit 0");
  CHECK(place.read("err").empty());
  CHECK(place.shares().at("checks@default") == 1'000'000);
}

TEST_CASE("guard run alerts: a store that stays away is told while it is away", "[cli][guard][alert]") {
  const HarmedPlace place{"command = ['keeps', 'told']\nlog = false\n"};
  place.write("canary.state", "");  // there was a store before
  const Answer answer = place.shell(until_kept("mv canary.db away.db"));
  const auto lines = lines_of(answer.out);
  REQUIRE(lines.size() == 2);
  const auto alert = boost::json::parse(lines[0]).as_object();
  CHECK(text_of(alert.at("kind")) == "store_degraded");
  CHECK(has(text_of(alert.at("message")), "task checks is not guarded"));
  CHECK(place.shell("test -e canary.state.alerted").exit == 0);  // so that the next guard tells the end
  CHECK(lines[1] == "exit 0");
}

}  // namespace guard_alerts_test
