// One request, one answer or one error of a kind; against a server that behaves as badly as servers do.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/http.hpp"
#include "canary/adapters/http_retry.hpp"
#include "http_server.hpp"
#include "tls_server.hpp"

using namespace canary;
using test::HttpReply;
using test::HttpServer;

namespace {

constexpr const char* marked = "Zq7SECRETq7Z";

/// The error of a request that is to fail; no word of it may hold the mark.
HttpError error_of(HttpClient& client, const HttpRequest& request) {
  try {
    const HttpResponse response = client.send(request);
    FAIL("answered " << response.status);
  } catch (const HttpError& error) {
    INFO(error.what() << "; " << error.hint);
    CHECK((std::string{error.what()} + error.hint).find(marked) == std::string::npos);
    return error;
  }
  return {HttpErrc::invalid, ""};
}

/// A variable of the environment for as long as this lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_{std::move(name)} {
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_.c_str()); }

 private:
  std::string name_;
};

}  // namespace

TEST_CASE("http: method, target, headers and body arrive as they were sent, and the answer as it is",
          "[adapters][http]") {
  HttpServer server;
  server.answer({{201, "X-Thing:  some value \r\n", "made"}});
  HttpClient client;
  const std::string body = "{\"a\":\"\xC3\xA9\"}\n" + std::string(70'000, 'x') + std::string{"\0end", 4};
  const HttpResponse made = client.send({.method = "POST",
                                         .url = server.url("/path?query=1"),
                                         .headers = {{"Content-Type", "application/json"}, {"X-Empty", ""}},
                                         .body = body});
  CHECK(made.status == 201);
  CHECK(made.body == "made");
  REQUIRE(made.find("x-thing"));
  CHECK(*made.find("x-thing") == "some value");
  CHECK(made.find("x-other") == nullptr);
  const std::vector<test::HttpSeen> seen = server.seen(1);
  CHECK(seen[0].method == "POST");
  CHECK(seen[0].target == "/path?query=1");
  CHECK(seen[0].body == body);
  CHECK(seen[0].headers.at("content-type") == "application/json");
  CHECK(seen[0].headers.at("x-empty").empty());
  CHECK(seen[0].headers.at("user-agent") == "canary");
  CHECK_FALSE(seen[0].headers.contains("expect"));
}

TEST_CASE("http: every method, with and without a body", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  for (const char* method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
    CHECK(client.send({.method = method, .url = server.url()}).status == 200);
  (void)client.send({.method = "DELETE", .url = server.url(), .body = "why"});
  (void)client.send({.url = server.url()});  // nothing stays of the request before
  const std::vector<test::HttpSeen> seen = server.seen(8);
  CHECK(seen[1].method == "HEAD");
  CHECK(seen[3].method == "PUT");
  CHECK(seen[5].method == "DELETE");
  CHECK(seen[6].body == "why");
  CHECK(seen[7].method == "GET");
  CHECK(seen[7].body.empty());
}

TEST_CASE("http: an answer of any status is an answer", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  for (const int status : {204, 302, 400, 404, 500, 503}) {
    server.answer({{status, status == 302 ? "Location: /other\r\n" : "", ""}});
    CHECK(client.send({.url = server.url()}).status == status);
  }
  CHECK(server.seen().size() == 6);  // the redirect was not followed
}

TEST_CASE("http: redirects are followed where they are asked for, so many and no more", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const HttpReply there{302, "Location: /there\r\n", ""};
  server.answer({there, {200, "", "arrived"}});
  const HttpResponse arrived = client.send({.url = server.url(), .redirects = 1});
  CHECK(arrived.status == 200);
  CHECK(arrived.body == "arrived");
  CHECK(arrived.find("location") == nullptr);
  CHECK(server.seen(2)[1].target == "/there");
  server.answer({there, there});
  CHECK(error_of(client, {.url = server.url(), .redirects = 1}).code == HttpErrc::invalid);
}

TEST_CASE("http: what goes wrong has its kind, and no word of the URL's secrets", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const std::string target = std::string{"/"} + marked + "?token=" + marked;
  SECTION("nobody listens") {
    server.down();
    CHECK(error_of(client, {.url = server.url(target)}).code == HttpErrc::connect);
  }
  SECTION("no such host") {
    CHECK(error_of(client, {.url = std::string{"http://user:"} + marked + "@no-such-host.invalid" + target}).code ==
          HttpErrc::connect);
  }
  SECTION("no answer in time") {
    server.answer({{.how = HttpReply::How::hold}});
    CHECK(error_of(client, {.url = server.url(target), .total_ms = 100}).code == HttpErrc::timeout);
  }
  SECTION("the connection is reset") {
    server.answer({{.how = HttpReply::How::reset}});
    CHECK(error_of(client, {.url = server.url(target)}).code == HttpErrc::reset);
  }
  SECTION("the answer is cut off") {
    server.answer({{.body = std::string(1'000, 'x'), .how = HttpReply::How::truncate}});
    CHECK(error_of(client, {.url = server.url(target)}).code == HttpErrc::reset);
  }
  SECTION("the answer is too long") {
    server.answer({{.body = std::string(100'000, 'x')}, {.body = std::string(100'000, 'x')}});
    CHECK(error_of(client, {.url = server.url(target), .body_bytes = 99'999}).code == HttpErrc::too_large);
    CHECK(client.send({.url = server.url(target), .body_bytes = 100'000}).body.size() == 100'000);
  }
  SECTION("no HTTP at all") {
    CHECK(error_of(client, {.url = std::string{"file:///etc/"} + marked}).code == HttpErrc::invalid);
    CHECK(error_of(client, {.url = std::string{"http://ho st/"} + marked}).code == HttpErrc::invalid);
    CHECK(error_of(client, {.url = ""}).code == HttpErrc::invalid);
  }
  SECTION("a line's end in a header, which would smuggle another in") {
    CHECK(error_of(client, {.url = server.url(), .headers = {{"Authorization", std::string{marked} + "\r\nX: y"}}})
              .code == HttpErrc::invalid);
    CHECK(error_of(client, {.url = server.url(), .headers = {{"A\nB", marked}}}).code == HttpErrc::invalid);
    CHECK(error_of(client, {.url = server.url("/a\nb")}).code == HttpErrc::invalid);
    CHECK(server.seen().empty());
  }
}

TEST_CASE("http: a longer answer may be cut instead", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  server.answer({{.status = 202, .body = std::string(100'000, 'x')}});
  const HttpResponse cut = client.send({.url = server.url(), .body_bytes = 10, .cut_body = true});
  CHECK(cut.status == 202);
  CHECK(cut.body == std::string(10, 'x'));
  CHECK(client.send({.url = server.url()}).status == 200);  // the connection's state is sound
}

TEST_CASE("http: cancel ends what is under way, and all that comes later", "[adapters][http]") {
  HttpServer server;
  server.answer({{.how = HttpReply::How::hold}});
  HttpClient client;
  std::thread other{[&] {
    (void)server.seen(1);
    client.cancel();
  }};
  CHECK(error_of(client, {.url = server.url(), .total_ms = 300'000}).code == HttpErrc::cancelled);
  other.join();
  CHECK(error_of(client, {.url = server.url()}).code == HttpErrc::cancelled);
  CHECK(server.seen().size() == 1);
}

TEST_CASE("http: a certificate that nobody vouches for is an error, one that SSL_CERT_FILE names is not",
          "[adapters][http]") {
  if (!test::TlsServer::possible()) SKIP("no openssl on this machine");
  const test::TlsServer server;
  {
    HttpClient client;
    CHECK(error_of(client, {.url = server.url() + marked}).code == HttpErrc::tls);
  }
  {
    HttpClient client{{.ca_file = server.ca_file()}};
    CHECK(client.send({.url = server.url()}).status == 200);
    std::string by_address = server.url();
    by_address.replace(by_address.find("localhost"), 9, "127.0.0.1");
    CHECK(error_of(client, {.url = by_address}).code == HttpErrc::tls);  // the certificate is another host's
  }
  {
    const Variable variable{"SSL_CERT_FILE", server.ca_file()};
    HttpClient client;
    CHECK(client.send({.url = server.url()}).status == 200);
  }
  {
    HttpClient client{{.ca_file = server.ca_file() + ".missing"}};
    CHECK(error_of(client, {.url = server.url()}).code == HttpErrc::tls);
  }
}

TEST_CASE("http: Retry-After is read in both of its forms", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  server.answer({{503, "Retry-After: 17\r\n", ""},
                 {503, "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n", ""},
                 {503, "Retry-After: soon\r\n", ""},
                 {503, "", ""}});
  const auto wait = [&] { return client.send({.url = server.url()}).retry_after_s; };
  CHECK(wait() == 17);
  CHECK(wait() > 365u * 86'400u);
  CHECK(wait().value_or(0) == 0);
  CHECK_FALSE(wait());
}

TEST_CASE("http retry: what may change is asked again, as often and as late as was said", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  std::vector<std::uint32_t> waits;
  const auto ask = [&](const HttpRetry& retry = {}) {
    waits.clear();
    return send_retrying(
        client, {.url = server.url()}, retry,
        [&](std::uint32_t ms) {
          waits.push_back(ms);
          return true;
        },
        [] { return 0.0; });
  };
  server.answer({{503, "", ""}, {429, "Retry-After: 3\r\n", ""}, {.how = HttpReply::How::reset}, {200, "", "at last"}});
  CHECK(ask().body == "at last");
  CHECK(waits == std::vector<std::uint32_t>{250, 3'000, 1'000});
  server.answer({{500, "", ""}, {500, "", ""}});
  CHECK(ask({.tries = 2}).status == 500);
  CHECK(waits.size() == 1);
  server.answer({{503, "Retry-After: 9999\r\n", ""}});
  CHECK(ask().status == 503);
  CHECK(waits.empty());
  server.answer({{404, "", ""}});
  CHECK(ask().status == 404);
  CHECK(waits.empty());
  server.down();
  CHECK_THROWS_AS(ask({.tries = 3}), HttpError);
  CHECK(waits.size() == 2);
}
