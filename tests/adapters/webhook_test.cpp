// Alerts over HTTP: what a receiver can rely on, and what becomes of each of its answers.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/webhook.hpp"
#include "canary/control/alert_desk.hpp"
#include "http_server.hpp"

namespace webhook_test {

using namespace canary;
using test::HttpReply;
using test::HttpServer;

namespace {

constexpr const char* secret = "Zq7SECRETq7Z";

WebhookOptions options_for(const HttpServer& server) {
  WebhookOptions options;
  options.url = server.url("/hooks/Zq7SECRETq7Z?x=Zq7SECRETq7Z");
  options.environment = [](const char* name) -> const char* {
    return std::string_view{name} == "CANARY_WEBHOOK_SECRET" ? secret : nullptr;
  };
  return options;
}

Alert alert_named(const std::string& message) {
  Alert alert;
  alert.message = message;
  alert.id = "id-of-" + message;
  return alert;
}

std::string error_of(const WebhookOptions& options) {
  try {
    const WebhookSink sink{options};
  } catch (const WebhookError& error) {
    return error.what();
  }
  return "no error";
}

/// As a receiver checks it, written from what is published.
bool is_signed(const test::HttpSeen& request, std::string_view key) {
  const std::string& header = request.headers.at("canary-signature");
  const std::size_t comma = header.find(",v1=");
  if (!header.starts_with("t=") || comma == std::string::npos) return false;
  const std::string time = header.substr(2, comma - 2);
  return header.substr(comma + 4) == hex_text(hmac_sha256(key, time + "." + request.body));
}

}  // namespace

TEST_CASE("webhook: a receiver gets JSON that is signed, under the id of the alert", "[adapters][webhook]") {
  HttpServer server;
  WebhookSink sink{options_for(server)};
  const Alert alert = alert_named("h\xC3\xA9");
  const Sent sent = sink.send(alert);
  CHECK(sent.result == SendResult::delivered);
  const test::HttpSeen seen = server.seen(1)[0];
  CHECK(seen.method == "POST");
  CHECK(seen.target == "/hooks/Zq7SECRETq7Z?x=Zq7SECRETq7Z");
  CHECK(seen.headers.at("content-type") == "application/json");
  CHECK(seen.headers.at("canary-delivery") == alert.id);
  CHECK(seen.body == alert_json(alert));
  CHECK(is_signed(seen, secret));
  CHECK_FALSE(is_signed(seen, "another"));
  test::HttpSeen changed = seen;
  changed.body += ' ';
  CHECK_FALSE(is_signed(changed, secret));
  CHECK(webhook_signature("key", 1'700'000'000, "{}") ==
        "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae");
}

TEST_CASE("webhook: each answer has its consequence, in words without a secret", "[adapters][webhook]") {
  HttpServer server;
  WebhookSink sink{options_for(server)};
  const auto send = [&](HttpReply reply) {
    server.answer({std::move(reply)});
    const Sent sent = sink.send(alert_named("a"));
    INFO(sent.message);
    CHECK(sent.message.find(secret) == std::string::npos);
    return sent;
  };
  for (const int status : {200, 201, 202, 204, 299}) CHECK(send({status, "", ""}).result == SendResult::delivered);
  for (const int status : {408, 429, 500, 502, 503, 599}) CHECK(send({status, "", ""}).result == SendResult::try_again);
  for (const int status : {400, 401, 410, 413, 414, 415, 422})
    CHECK(send({status, "", ""}).result == SendResult::refused);
  for (const int status : {403, 404, 405, 409, 421})  // while the receiver is put in place
    CHECK(send({status, "", ""}).result == SendResult::try_again);
  for (const int status : {301, 302, 307, 308}) {
    const Sent redirected = send({status, "Location: " + server.url("/other") + "\r\n", ""});
    CHECK(redirected.result == SendResult::try_again);
    CHECK(redirected.message.find("redirects are not followed") != std::string::npos);
  }
  CHECK(send({.how = HttpReply::How::reset}).result == SendResult::try_again);
  CHECK(send({503, "Retry-After: 20\r\n", ""}).wait_ms == 20'000);
  CHECK(send({503, "Retry-After: 99999999\r\n", ""}).wait_ms == 600'000);
  CHECK(send({.status = 200, .body = std::string(1'000'000, 'x')}).result == SendResult::delivered);
  for (const test::HttpSeen& each : server.seen()) CHECK(each.target.starts_with("/hooks/"));
}

TEST_CASE("webhook: what was answered with 2xx is delivered, whatever becomes of the body", "[adapters][webhook]") {
  HttpServer server;
  WebhookOptions options = options_for(server);
  options.total_ms = 4'000;
  WebhookSink sink{options};
  server.answer({{.status = 200, .body = "half of it", .how = HttpReply::How::halve},
                 {.status = 202, .body = "half of it", .how = HttpReply::How::truncate},
                 {.status = 503, .headers = "Retry-After: 7\r\n", .body = "half", .how = HttpReply::How::halve}});
  CHECK(sink.send(alert_named("held")).result == SendResult::delivered);
  CHECK(sink.send(alert_named("cut")).result == SendResult::delivered);
  const Sent busy = sink.send(alert_named("busy"));
  CHECK(busy.result == SendResult::try_again);
  CHECK(busy.wait_ms == 7'000);
  CHECK(sink.send(alert_named("another")).result == SendResult::delivered);
  CHECK(server.seen().size() == 4);
}

TEST_CASE("webhook: a receiver that is slow or down is asked again", "[adapters][webhook]") {
  HttpServer server;
  WebhookOptions options = options_for(server);
  options.total_ms = 100;
  WebhookSink sink{options};
  server.answer({{.how = HttpReply::How::hold}});
  const Sent slow = sink.send(alert_named("a"));
  CHECK(slow.result == SendResult::try_again);
  CHECK(slow.message.find(secret) == std::string::npos);
  server.down();
  const Sent down = sink.send(alert_named("a"));
  CHECK(down.result == SendResult::try_again);
  CHECK(down.message.find(secret) == std::string::npos);
}

TEST_CASE("webhook: without a secret there is none, and the variable is named", "[adapters][webhook]") {
  const HttpServer server;
  WebhookOptions options = options_for(server);
  options.secret_env = "OTHER_SECRET";
  CHECK(error_of(options) ==
        "alerts.webhook: no secret to sign with: the variable OTHER_SECRET is not set; export the "
        "secret that the receiver knows in it");
  options.environment = [](const char*) -> const char* { return ""; };
  CHECK(error_of(options).find("OTHER_SECRET is not set") != std::string::npos);
  options.secret_env.clear();
  CHECK(error_of(options).find("webhook_secret_env names no variable") != std::string::npos);
  options = options_for(server);
  options.url = "http://alerts.example/Zq7SECRETq7Z";
  const std::string plain = error_of(options);
  CHECK(plain.find("plain http to another machine") != std::string::npos);
  CHECK(plain.find(secret) == std::string::npos);
}

TEST_CASE("webhook: its name tells where alerts go, and no more", "[adapters][webhook]") {
  const HttpServer server;
  const WebhookSink sink{options_for(server)};
  CHECK(sink.name() == "webhook " + server.url(""));
}

TEST_CASE("webhook: by the desk, a failed alert comes again under the same id, signed anew", "[adapters][webhook]") {
  HttpServer server;
  server.answer({{503, "", ""}, {.how = HttpReply::How::reset}, {200, "", ""}});
  std::vector<std::unique_ptr<AlertSink>> sinks;
  sinks.push_back(std::make_unique<WebhookSink>(options_for(server)));
  AlertDesk desk{std::move(sinks), {.source = "me:1", .queue = {.backoff = {.first_ms = 1, .longest_ms = 2}}}};
  desk.raise({.message = "once"});
  REQUIRE(desk.flush(std::chrono::seconds{60}));
  const std::vector<test::HttpSeen> seen = server.seen(3);
  REQUIRE(seen.size() == 3);
  for (const test::HttpSeen& each : seen) {
    CHECK(each.headers.at("canary-delivery") == seen[0].headers.at("canary-delivery"));
    CHECK(each.body == seen[0].body);
    CHECK(is_signed(each, secret));
  }
  const AlertDeskStatus status = desk.status();
  REQUIRE(status.sinks.size() == 1);
  CHECK(status.sinks[0].delivered == 1);
  CHECK(status.sinks[0].name.find(secret) == std::string::npos);
}

TEST_CASE("webhook: a desk that ends does not wait for a receiver that hangs", "[adapters][webhook]") {
  HttpServer server;
  server.answer({{.how = HttpReply::How::hold}});
  WebhookOptions options = options_for(server);
  options.total_ms = 600'000;
  {
    std::vector<std::unique_ptr<AlertSink>> sinks;
    sinks.push_back(std::make_unique<WebhookSink>(options));
    AlertDesk desk{std::move(sinks), {.stop_ms = 50}};
    desk.raise({.message = "never"});
    (void)server.seen(1);
  }
  CHECK(server.seen().size() == 1);  // it ended, long before the time-out
}

}  // namespace webhook_test
