// Alerts as JSON, and which of them goes to a sink when.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/alert.hpp"
#include "canary/control/alert_queue.hpp"
#include "canary/control/webhook_url.hpp"

namespace alert_test {

using namespace canary;

namespace {

constexpr TimeUs second = 1'000'000;

std::shared_ptr<const Alert> named(const std::string& message) {
  Alert alert;
  alert.message = message;
  return std::make_shared<const Alert>(alert);
}

std::string taken(AlertQueue& queue, TimeUs now_us) {
  const std::optional<Alert> alert = queue.take(now_us);
  return alert ? alert->message : "nothing";
}

}  // namespace

TEST_CASE("alert: its JSON has every member in its place, whatever applies", "[control][alert]") {
  CHECK(alert_json({.kind = AlertKind::rollback,
                    .task = "checks",
                    .version = "checks@2",
                    .at_us = 1'795'368'929'000'001,
                    .message = "it fails",
                    .hint = "look",
                    .key = "rollback/checks@2/7",
                    .source = "host:1",
                    .id = "ab-1",
                    .resolved = true,
                    .missed = 3}) ==
        R"({"format":1,"id":"ab-1","kind":"rollback","resolved":true,"task":"checks","version":"checks@2",)"
        R"("at":"2026-11-22T17:35:29.000001Z","message":"it fails","hint":"look","key":"rollback/checks@2/7",)"
        R"("source":"host:1","missed":3})");
  CHECK(alert_json({}) ==
        R"({"format":1,"id":"","kind":"test","resolved":false,"task":"","version":"","at":"1970-01-01T00:00:00Z",)"
        R"("message":"","hint":"","key":"","source":"","missed":0})");
}

TEST_CASE("alert: quotes, controls and broken UTF-8 leave it JSON", "[control][alert]") {
  const std::string json =
      alert_json({.message = std::string{"\"a\\b\n\x01\0\xC3\xA9\xFF\xF0\x9F\x90", 13} + "\xF0\x9F\x90\xA4"});
  CHECK(json.find(R"("message":"\"a\\b\u000a\u0001\u0000é)"
                  "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xF0\x9F\x90\xA4\"") != std::string::npos);
}

TEST_CASE("alert queue: alerts go in turn, one at a time", "[control][alert]") {
  AlertQueue queue{{}};
  CHECK_FALSE(queue.due_us());
  queue.push(named("a"), 0);
  queue.push(named("b"), 0);
  CHECK(queue.due_us());
  CHECK(taken(queue, 0) == "a");
  CHECK(taken(queue, 0) == "nothing");  // one is out
  CHECK_FALSE(queue.due_us());
  CHECK(queue.status().queued == 2);
  queue.answer({}, 0, 0);
  CHECK(taken(queue, 0) == "b");
  queue.answer({}, 0, 0);
  CHECK(queue.empty());
  CHECK(queue.status().delivered == 2);
}

TEST_CASE("alert queue: waits double up to the longest, jitter takes half at most, success starts anew",
          "[control][alert]") {
  AlertQueue queue{{.backoff = {.first_ms = 1'000, .longest_ms = 5'000}, .keep_s = 1'000'000}};
  queue.push(named("a"), 0);
  TimeUs now = 0;
  const auto fail = [&](double draw) {
    REQUIRE(queue.take(now));
    queue.answer({SendResult::try_again, "down"}, now, draw);
    const TimeUs wait = queue.due_us().value() - now;
    CHECK_FALSE(queue.take(now + wait - 1));
    now += wait;
    return wait;
  };
  CHECK(fail(0) == second / 2);
  CHECK(fail(0) == second);
  CHECK(fail(0) == 2 * second);
  CHECK(fail(0) == 5 * second / 2);
  CHECK(fail(0.5) == 15 * second / 4);
  CHECK(queue.status().last_error == "down");
  REQUIRE(queue.take(now));
  queue.answer({}, now, 0);
  CHECK(queue.status().last_error.empty());
  queue.push(named("b"), now);
  CHECK(fail(0) == second / 2);
}

TEST_CASE("alert queue: a receiver that asks for patience gets it", "[control][alert]") {
  AlertQueue queue{{}};
  queue.push(named("a"), 0);
  REQUIRE(queue.take(0));
  queue.answer({SendResult::try_again, "busy", 90'000}, 0, 0);
  CHECK(queue.due_us() == 90 * second);
}

TEST_CASE("alert queue: one that always fails goes behind the others, and is given up in the end", "[control][alert]") {
  AlertQueue queue{{.backoff = {.first_ms = 1'000, .longest_ms = 1'000}, .keep_s = 60}};
  queue.push(named("poison"), 0);
  queue.push(named("good"), 0);
  REQUIRE(taken(queue, 0) == "poison");
  queue.answer({SendResult::try_again, "no"}, 0, 0);
  REQUIRE(taken(queue, second) == "good");
  queue.answer({}, second, 0);
  REQUIRE(taken(queue, 59 * second) == "poison");
  queue.answer({SendResult::try_again, "no"}, 59 * second, 0);
  CHECK_FALSE(queue.empty());
  REQUIRE(taken(queue, 60 * second) == "poison");
  queue.answer({SendResult::try_again, "no"}, 60 * second, 0);
  CHECK(queue.empty());
  CHECK(queue.status().failed == 1);
  CHECK(queue.status().last_error == "no");
}

TEST_CASE("alert queue: whatever fails, what is said under one key arrives in its order", "[control][alert]") {
  AlertQueue queue{{.backoff = {.first_ms = 1'000, .longest_ms = 1'000}}};
  const auto push = [&](const std::string& message, const std::string& key) {
    queue.push(std::make_shared<const Alert>(Alert{.message = message, .key = key}), 0);
  };
  push("k begins", "k");
  push("without a key", "");
  REQUIRE(taken(queue, 0) == "k begins");
  push("k is over", "k");  // while its beginning is out
  push("j begins", "j");
  push("k begins again", "k");
  queue.answer({SendResult::try_again, "down"}, 0, 0);
  TimeUs now = second;
  for (const char* next : {"without a key", "j begins"}) {
    REQUIRE(taken(queue, now) == next);
    queue.answer({}, now, 0);
  }
  REQUIRE(taken(queue, now) == "k begins");
  queue.answer({SendResult::try_again, "down"}, now, 0);
  now += second;
  for (const char* next : {"k begins", "k is over", "k begins again"}) {
    REQUIRE(taken(queue, now) == next);
    queue.answer({}, now, 0);
  }
  CHECK(queue.empty());
  push("j begins", "j");
  push("j is over", "j");
  REQUIRE(taken(queue, now) == "j begins");
  queue.answer({SendResult::refused, "no"}, now, 0);
  CHECK(taken(queue, now) == "j is over");  // which waits for nothing any more
}

TEST_CASE("alert queue: what is refused is not tried again, and holds up nobody", "[control][alert]") {
  AlertQueue queue{{}};
  queue.push(named("a"), 0);
  queue.push(named("b"), 0);
  REQUIRE(taken(queue, 0) == "a");
  queue.answer({SendResult::refused, "404"}, 0, 0);
  CHECK(taken(queue, 0) == "b");
  CHECK(queue.status().failed == 1);
}

TEST_CASE("alert queue: a full one drops its oldest, counts that, and tells it with what arrives next",
          "[control][alert]") {
  AlertQueue queue{{.capacity = 2, .backoff = {.first_ms = 10, .longest_ms = 10}}};
  for (const char* name : {"a", "b"}) queue.push(named(name), 0);
  REQUIRE(taken(queue, 0) == "a");
  queue.answer({SendResult::try_again, "down"}, 0, 0);  // a goes behind b, and is older all the same
  queue.push(named("c"), 0);
  CHECK(queue.status().dropped == 1);
  const std::optional<Alert> first = queue.take(second);
  REQUIRE(first);
  CHECK(first->message == "b");
  CHECK(first->missed == 1);
  queue.answer({SendResult::try_again, "down"}, second, 0);
  const std::optional<Alert> next = queue.take(2 * second);
  REQUIRE(next);
  CHECK(next->missed == 1);  // nobody has heard it yet
  queue.answer({}, 2 * second, 0);
  CHECK(queue.take(3 * second)->missed == 0);
}

TEST_CASE("alert queue: in a hurry each alert has one try, without a rest", "[control][alert]") {
  AlertQueue queue{{}};
  for (const char* name : {"a", "b"}) queue.push(named(name), 0);
  REQUIRE(queue.take(0));
  queue.answer({SendResult::try_again, "down"}, 0, 0);
  REQUIRE_FALSE(queue.take(0));
  queue.hurry();
  for (int i = 0; i != 2; ++i) {
    REQUIRE(queue.take(0));
    queue.answer({SendResult::try_again, "down"}, 0, 0);
  }
  CHECK(queue.empty());
  CHECK(queue.status().failed == 2);
}

TEST_CASE("alert repeats: the same is not said twice in a while, a change always is", "[control][alert]") {
  AlertRepeats repeats{60};
  const Alert begins{.key = "k"};
  Alert over = begins;
  over.resolved = true;
  CHECK(repeats.passes(begins, 0));
  CHECK_FALSE(repeats.passes(begins, 59 * second));
  CHECK(repeats.passes(over, 59 * second));
  CHECK_FALSE(repeats.passes(over, 60 * second));
  CHECK(repeats.passes(begins, 61 * second));  // or the receiver would believe that it is over
  CHECK_FALSE(repeats.passes(begins, 120 * second));
  CHECK(repeats.passes(begins, 121 * second));
  const Alert month{.kind = AlertKind::shutdown_near, .message = "in 30 days", .key = "s"};
  Alert week = month;
  week.message = "in 7 days";
  CHECK(repeats.passes(month, 0));
  CHECK_FALSE(repeats.passes(month, 0));
  CHECK(repeats.passes(week, 0));  // it has come nearer
  CHECK(repeats.passes({.key = "other"}, 0));
  CHECK(repeats.passes({}, 0));
  CHECK(repeats.passes({}, 0));  // no key: about nothing that can come again
  for (int i = 0; i != 30'000; ++i)
    CHECK(repeats.passes({.key = std::to_string(i)}, 0));  // bounded, or sanitizers tell
}

TEST_CASE("webhook URL: https anywhere, http to this machine alone, and no secrets", "[control][alert]") {
  for (const char* good : {"https://alerts.example/x?y=1", "https://10.0.0.1:8443", "http://127.0.0.1:8080/x",
                           "http://localhost/", "http://[::1]:99/", "https://[2001:db8::1]/", "http://127.255.0.9"})
    CHECK(webhook_url_fault(good).message == "");
  const auto fault = [](const char* url) { return std::string{webhook_url_fault(url).message}; };
  for (const char* plain : {"http://alerts.example/", "http://127.0.0.1.evil.example/", "http://localhost.evil.example",
                            "http://127.0.0", "http://[::2]/", "http://127.0.0.1000/", "http://127..0.1"})
    CHECK(fault(plain) == "plain http to another machine");
  for (const char* user : {"https://u:p@h/", "http://127.0.0.1@evil.example/", "https://token@h"})
    CHECK(fault(user) == "a user or password in the URL");
  for (const char* none : {"", "ftp://h/", "alerts.example", "https:/h", "HTTPS://h"})
    CHECK(fault(none) == "not a URL");
  for (const char* empty :
       {"https://", "https:///x", "https://:8080/", "https://h:/", "https://h:8x/", "https://h:123456/"})
    CHECK(fault(empty) == "a URL without a host");
  for (const char* illegal : {"https://h/a b", "https://h\\@evil.example/", "https://h/\n", "https://h/\xC3\xA9"})
    CHECK(fault(illegal) == "a character that no URL has");
  CHECK(shown_url("https://user:secret@h.example:8443/services/secret?token=secret") == "https://h.example:8443");
  CHECK(shown_url("http://[::1]:99/secret") == "http://[::1]:99");
  CHECK(shown_url("https://h?secret") == "https://h");
}

}  // namespace alert_test
