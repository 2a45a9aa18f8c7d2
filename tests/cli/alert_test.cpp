// canary alert test, and what doctor says of alerts.
#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../adapters/http_server.hpp"
#include "canary/control/hmac.hpp"
#include "program.hpp"

namespace alert_test {

using namespace canary::test;

namespace {

const std::string secret = "Zq7SECRETq7Z";

/// A place whose alerts are configured so, with a program that keeps what it gets, and one that fails.
struct AlertPlace : Place {
  explicit AlertPlace(const std::string& alerts) {
    write("canary.toml", "[store]\nurl = 'memory:'\n[task.t]\ndefault_model = 'm'\n[alerts]\n" + alerts);
    write("keeps", "#!/bin/sh\ncat > \"$1\"\nenv > env\n");
    write("fails", "#!/bin/sh\nexit 3\n");
    for (const char* name : {"keeps", "fails"}) ::chmod((path() / name).c_str(), 0755);
  }
};

boost::json::array told(const Answer& answer) {
  INFO(answer.out << answer.err);
  REQUIRE(lines_of(answer.out).size() == 1);
  return boost::json::parse(answer.out).at("alerts").as_array();
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("alert test: every sink is tried and told of", "[cli][alert]") {
  ::test::HttpServer server;
  const AlertPlace place{"webhook = '" + server.url("/hook") + "'\ncommand = ['keeps', 'got']\n"};
  const Answer answer = place.run({"alert", "test", "--json"}, {}, {{"CANARY_WEBHOOK_SECRET", secret}});
  CHECK(answer.exit == 0);
  const boost::json::array all = told(answer);
  REQUIRE(all.size() == 3);
  CHECK(text_of(all[0].at("sink")) == "webhook " + server.url(""));
  for (const auto& each : all) CHECK(each.at("delivered").as_bool());
  CHECK(has(answer.err, "canary alert: test: a test"));  // the log
  const ::test::HttpSeen seen = server.seen(1)[0];
  const boost::json::object body = boost::json::parse(seen.body).as_object();
  CHECK(text_of(body.at("kind")) == "test");
  CHECK(text_of(body.at("id")) == seen.headers.at("canary-delivery"));
  const std::string signature = seen.headers.at("canary-signature");
  const std::string time = signature.substr(2, signature.find(',') - 2);
  CHECK(signature.substr(signature.find("v1=") + 3) ==
        canary::hex_text(canary::hmac_sha256(secret, time + '.' + seen.body)));
  CHECK(boost::json::parse(place.read("got")) == boost::json::value(body));
  CHECK_FALSE(has(place.read("env"), secret));
  CHECK_FALSE(has(answer.out + answer.err, secret));
}

TEST_CASE("alert test: the program gets no secret of the configuration, nor the usual ones", "[cli][alert]") {
  const AlertPlace place{
      "command = ['keeps', 'got']\nlog = false\nwebhook_secret_env = 'MY_SECRET'\n"
      "[provider.openai]\napi_key_env = 'KEY_OF_OPENAI'\n"};
  const Answer answer = place.run({"alert", "test", "--json"}, {},
                                  {{"MY_SECRET", secret + '1'},
                                   {"KEY_OF_OPENAI", secret + '2'},
                                   {"OPENAI_API_KEY", secret + '3'},
                                   {"PGPASSWORD", secret + '4'},
                                   {"CANARY_WEBHOOK_SECRET", secret + '5'},
                                   {"PLAIN", "plain"}});
  CHECK(answer.exit == 0);
  CHECK(has(place.read("env"), "PLAIN=plain"));
  CHECK_FALSE(has(place.read("env"), secret));
}

TEST_CASE("alert test: one that fails is exit 1 and hides no other", "[cli][alert]") {
  ::test::HttpServer server;
  server.answer({{404, "", ""}});
  const AlertPlace place{"webhook = '" + server.url("/" + secret) + "'\ncommand = ['fails']\n"};
  const Answer answer = place.run({"alert", "test", "--json"}, {}, {{"CANARY_WEBHOOK_SECRET", secret}});
  CHECK(answer.exit == 1);
  const boost::json::array all = told(answer);
  REQUIRE(all.size() == 3);
  CHECK_FALSE(all[0].at("delivered").as_bool());
  CHECK(has(text_of(all[0].at("message")), "answered 404"));
  CHECK_FALSE(all[1].at("delivered").as_bool());
  CHECK(has(text_of(all[1].at("message")), "exit status 3"));
  CHECK(all[2].at("delivered").as_bool());
  CHECK_FALSE(has(answer.out + answer.err, secret));
  const Answer text = place.run({"alert", "test"}, {}, {{"CANARY_WEBHOOK_SECRET", secret}});
  CHECK(text.exit == 1);
  CHECK(has(text.out, "delivered"));
  CHECK(has(text.out, "FAILED"));
}

TEST_CASE("alert test: a secret that is not set is told by its variable's name", "[cli][alert]") {
  ::test::HttpServer server;
  const AlertPlace place{"webhook = '" + server.url() + "'\nwebhook_secret_env = 'MY_SECRET'\nlog = false\n"};
  const Answer answer = place.run({"alert", "test", "--json"});
  CHECK(answer.exit == 1);
  CHECK(answer.err.empty());
  CHECK(has(text_of(told(answer)[0].at("message")), "MY_SECRET is not set"));
  CHECK(server.seen().empty());
}

TEST_CASE("alert test: a program that is not there, and no sink at all", "[cli][alert]") {
  const AlertPlace missing{"command = ['nowhere']\nlog = false\n"};
  const Answer answer = missing.run({"alert", "test", "--json"});
  CHECK(answer.exit == 1);
  CHECK(has(text_of(told(answer)[0].at("message")), "cannot be run: No such file"));
  const AlertPlace nobody{"log = false\n"};
  CHECK(told(nobody.run({"alert", "test", "--json"})).empty());
  const Answer text = nobody.run({"alert", "test"});
  CHECK(text.exit == 0);
  CHECK(has(text.out, "no sink is configured"));
}

TEST_CASE("alert test: a webhook to another machine over plain http is refused with its place", "[cli][alert]") {
  const AlertPlace place{"webhook = 'http://alerts.example/'\n"};
  const auto [exit, error] = place.failure({"alert", "test"});
  CHECK(exit == 5);
  CHECK(has(text_of(error.at("message")), "canary.toml:6:11: error: plain http to another machine"));
}

TEST_CASE("doctor: alerts are looked at and not sent", "[cli][alert]") {
  ::test::HttpServer server;
  const AlertPlace place{"webhook = '" + server.url("/" + secret) + "'\ncommand = ['keeps', 'got']\n"};
  const Answer good = place.run({"doctor"}, {}, {{"CANARY_WEBHOOK_SECRET", secret}});
  CHECK(good.exit == 0);
  CHECK(has(good.out, "alerts.webhook"));
  CHECK(has(good.out, "alerts.command"));
  CHECK(has(good.out, "alerts.log"));
  CHECK_FALSE(has(good.out, secret));
  CHECK(server.seen().empty());
  const Answer bad = place.run({"doctor"});
  CHECK(bad.exit == 1);
  CHECK(has(bad.out, "BAD  alerts.webhook"));
  CHECK(has(bad.out, "CANARY_WEBHOOK_SECRET is not set"));
}

}  // namespace alert_test
