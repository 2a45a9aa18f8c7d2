// One request, one answer or one error of a kind; against a server that behaves as badly as servers do.
#include <dlfcn.h>
#include <netdb.h>
#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/http.hpp"
#include "canary/adapters/http_retry.hpp"
#include "http_server.hpp"
#include "temporary_folder.hpp"
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

/// Names below stuck.invalid, of which no name server says anything for as long as a test holds them.
struct StuckNames {
  std::mutex mutex;
  std::condition_variable changed;
  bool held = false;
  bool gave_up = false;  // nobody let go
  int asked = 0;
  int waiting = 0;

  void ask() {
    std::unique_lock lock{mutex};
    ++asked;
    ++waiting;
    changed.notify_all();
    if (!changed.wait_for(lock, std::chrono::seconds{20}, [this] { return !held; })) gave_up = true;
    --waiting;
    changed.notify_all();
  }
  void hold() {
    const std::lock_guard lock{mutex};
    held = true;
  }
  void await_question() {
    std::unique_lock lock{mutex};
    changed.wait_for(lock, std::chrono::seconds{20}, [this] { return asked != 0; });
  }
  void let_go() {
    std::unique_lock lock{mutex};
    held = false;
    changed.notify_all();
    changed.wait(lock, [this] { return waiting == 0; });
  }
};
StuckNames stuck_names;

}  // namespace

/// In the place of the system's, which answers for all other names.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** found) {
  using Ask = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto ask = reinterpret_cast<Ask>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (name == nullptr || !std::string_view{name}.ends_with("stuck.invalid")) return ask(name, service, hints, found);
  stuck_names.ask();
  return EAI_AGAIN;
}

#if LIBCURL_VERSION_NUM >= 0x075700
TEST_CASE("http: neither cancel nor a time-out waits for a name server that does not answer", "[adapters][http]") {
  const Variable direct{"no_proxy", "*"};
  stuck_names.hold();
  HttpClient client;
  const HttpError late = error_of(client, {.url = "http://one.stuck.invalid/", .connect_ms = 50});
  CHECK(late.code == HttpErrc::connect);
  std::thread canceller{[&] {
    stuck_names.await_question();
    client.cancel();
  }};
  const HttpRequest request{.url = "http://two.stuck.invalid/", .connect_ms = 600'000, .total_ms = 600'000};
  CHECK(error_of(client, request).code == HttpErrc::cancelled);
  canceller.join();
  stuck_names.let_go();
  CHECK_FALSE(stuck_names.gave_up);
}
#endif

TEST_CASE("http: where the head of an answer says all, its body is waited for no longer than that",
          "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const HttpReply held{
      .status = 200, .headers = "X-Thing: here\r\n", .body = "half of it", .how = HttpReply::How::halve};
  const HttpReply away{302, "Location: /there\r\n", "half of it", HttpReply::How::halve};
  server.answer({held, {.status = 200, .body = "half of it", .how = HttpReply::How::truncate}, away, held, held});
  const HttpResponse response = client.send({.url = server.url(), .total_ms = 600'000, .body_ms = 50});
  CHECK(response.status == 200);
  CHECK(response.find("x-thing") != nullptr);
  CHECK(client.send({.url = server.url(), .body_ms = 60'000}).status == 200);
  CHECK(client.send({.url = server.url(), .total_ms = 600'000, .body_ms = 50}).status == 302);  // not followed
  CHECK(error_of(client, {.url = server.url(), .total_ms = 200}).code == HttpErrc::timeout);
  server.down();
  CHECK(error_of(client, {.url = server.url(), .body_ms = 50}).code == HttpErrc::connect);
}

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

TEST_CASE("http: no error says a word of the headers", "[adapters][http]") {
  using How = HttpReply::How;
  HttpServer server;
  HttpClient client;
  HttpRequest request{.method = "POST",
                      .url = server.url(),
                      .headers = {{"Authorization", std::string{"Bearer "} + marked}, {"api-key", marked}},
                      .body = "{}",
                      .body_bytes = 10};
  server.answer({{.how = How::reset}, {.body = std::string(100, 'x')}, {.body = "12345678", .how = How::truncate}});
  CHECK(error_of(client, request).code == HttpErrc::reset);
  CHECK(error_of(client, request).code == HttpErrc::too_large);
  CHECK(error_of(client, request).code == HttpErrc::reset);
  server.answer({{.how = How::hold}});
  request.idle_ms = 50;
  CHECK(error_of(client, request).code == HttpErrc::timeout);
  request.parts = {{.name = "file", .path = "/no/such/file"}};
  CHECK(error_of(client, request).code == HttpErrc::file);
  request.headers.push_back({"X", std::string{marked} + "\n"});
  CHECK(error_of(client, request).code == HttpErrc::invalid);
  request.headers.pop_back();
  request.parts.clear();
  server.down();
  CHECK(error_of(client, request).code == HttpErrc::connect);
  client.cancel();
  CHECK(error_of(client, request).code == HttpErrc::cancelled);
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

TEST_CASE("http: a body is given away piece by piece as it comes", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const std::string body = "data: one\n\n" + std::string(3'000'000, 'x') + "data: two\n\n";
  server.answer({{.body = body, .how = HttpReply::How::halve}});
  std::string got;
  const HttpResponse answer =
      client.send({.url = server.url(), .body_bytes = 10, .on_body = [&](std::string_view piece) {
                     got += piece;
                     server.release();  // the rest is not sent before
                     return true;
                   }});
  CHECK(answer.status == 200);
  CHECK(answer.body.empty());
  CHECK(got == body);
}

TEST_CASE("http: who reads an answer may end it, or throw", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const HttpReply endless{.body = std::string(1'000, 'x'), .how = HttpReply::How::halve};
  server.answer({endless, endless});
  CHECK(error_of(client, {.url = server.url(), .on_body = [](std::string_view) { return false; }}).code ==
        HttpErrc::cancelled);
  const auto throws = [](std::string_view) -> bool { throw std::out_of_range{"enough"}; };
  CHECK_THROWS_AS(client.send({.url = server.url(), .on_body = throws}), std::out_of_range);
  CHECK(client.send({.url = server.url()}).status == 200);  // the client is sound
}

TEST_CASE("http: the body of a refusal is gathered, whoever takes the others", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  for (const int status : {302, 400, 429, 500}) {
    server.answer({{status, "", "words"}});
    const HttpResponse answer = client.send(
        {.url = server.url(), .on_body = [](std::string_view) -> bool { throw std::logic_error{"not this one"}; }});
    CHECK(answer.status == status);
    CHECK(answer.body == "words");
  }
}

TEST_CASE("http: silence has its own time-out, before and in the middle of an answer", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  for (const HttpReply::How how : {HttpReply::How::hold, HttpReply::How::halve}) {
    server.answer({{.body = std::string(1'000, 'x'), .how = how}});
    CHECK(error_of(client, {.url = server.url(), .total_ms = 0, .idle_ms = 50}).code == HttpErrc::timeout);
  }
  server.answer({{.body = std::string(1'000, 'x')}});
  CHECK(client.send({.url = server.url(), .total_ms = 0, .idle_ms = 60'000}).body.size() == 1'000);
}

TEST_CASE("http: endless headers are an error, not memory", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  std::string headers;
  for (int i = 0; i != 4'000; ++i) headers += "X-" + std::to_string(i) + ": " + std::string(100, 'x') + "\r\n";
  server.answer({{200, headers, "ok"}});
  CHECK(error_of(client, {.url = server.url()}).code == HttpErrc::too_large);
}

TEST_CASE("http: what must not be done twice is never sent twice", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const HttpReply keep{.keep = true};
  const HttpReply lost{.how = HttpReply::How::reset};
  // Without being asked libcurl sends again what a connection that was open before has swallowed.
  server.answer({keep, lost, {}});
  CHECK(client.send({.method = "POST", .url = server.url(), .body = "x"}).status == 200);
  CHECK(client.send({.method = "POST", .url = server.url(), .body = "x"}).status == 200);
  CHECK(server.seen().size() == 3);
  server.answer({keep, lost, {}});
  CHECK(client.send({.method = "POST", .url = server.url(), .body = "x"}).status == 200);
  CHECK(error_of(client, {.method = "POST", .url = server.url(), .body = "x", .once = true}).code == HttpErrc::reset);
  CHECK(server.seen().size() == 5);
}

TEST_CASE("http: a form brings values, files and pieces of files", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i != 300'000; ++i) text += static_cast<char>('a' + i % 26);
  text += std::string{"\0end", 4};
  folder.write("data.jsonl", text);
  const std::string path = (folder.path() / "data.jsonl").string();
  std::uint64_t last = 0;
  std::uint64_t total = 0;
  bool rises = true;
  const HttpResponse answer =
      client.send({.method = "POST",
                   .url = server.url(),
                   .parts = {{.name = "purpose", .value = "fine-tune"},
                             {.name = "file", .path = path, .file_name = "a \"b\".jsonl", .content_type = "text/jsonl"},
                             {.name = "data", .path = path, .file_name = "piece", .offset = 100'000, .bytes = 50}},
                   .on_sent = [&](std::uint64_t sent, std::uint64_t of) {
                     rises = rises && sent > last && sent <= of;
                     last = sent;
                     total = of;
                   }});
  CHECK(answer.status == 200);
  const test::HttpSeen seen = server.seen(1)[0];
  CHECK(seen.headers.at("content-type").starts_with("multipart/form-data; boundary="));
  CHECK(seen.body.find("name=\"purpose\"\r\n\r\nfine-tune\r\n") != std::string::npos);
  CHECK(seen.body.find("\r\nContent-Type: text/jsonl\r\n\r\n" + text + "\r\n--") != std::string::npos);
  CHECK(seen.body.find("\r\nContent-Type: application/octet-stream\r\n\r\n" + text.substr(100'000, 50) + "\r\n--") !=
        std::string::npos);
  CHECK(rises);
  CHECK(last == total);
  CHECK(total == seen.body.size());
}

TEST_CASE("http: a file that cannot be read is named, and nothing is sent", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const TemporaryFolder folder;
  folder.write("short", "12345");
  const std::string pipe = (folder.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const auto send = [&](const std::string& path, std::uint64_t offset) {
    const HttpError error = error_of(
        client, {.method = "POST", .url = server.url(), .parts = {{.name = "file", .path = path, .offset = offset}}});
    CHECK(error.code == HttpErrc::file);
    CHECK(std::string{error.what()}.find(path) != std::string::npos);
  };
  send((folder.path() / "missing").string(), 0);
  send(folder.path().string(), 0);
  send(pipe, 0);
  send((folder.path() / "short").string(), 6);
  CHECK(error_of(client, {.method = "POST",
                          .url = server.url(),
                          .parts = {{.name = "file", .value = "x", .file_name = "a\r\nX: y"}}})
            .code == HttpErrc::invalid);
  CHECK(server.seen().empty());
}

TEST_CASE("http: a file that shrinks while it is sent is an error", "[adapters][http]") {
  HttpServer server;
  HttpClient client;
  const TemporaryFolder folder;
  folder.write("data", std::string(30'000'000, 'x'));
  const std::filesystem::path path = folder.path() / "data";
  const HttpError error =
      error_of(client, {.method = "POST",
                        .url = server.url(),
                        .parts = {{.name = "file", .path = path.string()}},
                        .on_sent = [&](std::uint64_t, std::uint64_t) { std::filesystem::resize_file(path, 10); }});
  CHECK(error.code == HttpErrc::file);
  CHECK(std::string{error.what()}.find("shorter") != std::string::npos);
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

TEST_CASE("http retry: what a server asks for goes before what is usual", "[adapters][http]") {
  const auto answer = [](int status, std::vector<HttpHeader> headers, std::optional<std::uint32_t> after_s = {}) {
    return HttpResponse{status, std::move(headers), "", after_s};
  };
  for (const int status : {408, 409, 429, 500, 503, 599}) CHECK(asks_again(answer(status, {})));
  for (const int status : {200, 302, 400, 401, 403, 404, 410, 413}) CHECK_FALSE(asks_again(answer(status, {})));
  CHECK(asks_again(answer(400, {{"x-should-retry", "true"}})));
  CHECK_FALSE(asks_again(answer(500, {{"x-should-retry", "false"}})));
  CHECK(asks_again(answer(500, {{"x-should-retry", "perhaps"}})));

  CHECK_FALSE(retry_after_ms(answer(429, {})));
  CHECK(retry_after_ms(answer(429, {}, 7)) == 7'000);
  CHECK(retry_after_ms(answer(429, {{"retry-after-ms", "250"}}, 7)) == 250);
  CHECK(retry_after_ms(answer(429, {{"retry-after-ms", "250.5"}}, 7)) == 251);
  CHECK(retry_after_ms(answer(429, {{"retry-after-ms", "soon"}}, 7)) == 7'000);
  CHECK(retry_after_ms(answer(429, {{"retry-after-ms", "-1"}}, 7)) == 7'000);
  CHECK_FALSE(retry_after_ms(answer(429, {{"retry-after-ms", "99999999999999999999999"}})));

  const HttpRetry retry{.tries = 4, .backoff = {.first_ms = 100, .longest_ms = 1'000}, .retry_after_most_s = 10};
  CHECK(retry_wait_ms(retry, 1, {}, 0.0) == 50);
  CHECK(retry_wait_ms(retry, 1, 3'000, 0.0) == 3'000);
  CHECK(retry_wait_ms(retry, 1, 3'000, 0.5) == 3'037);  // later than asked, and never sooner
  CHECK(retry_wait_ms(retry, 1, 10'000, 0.0) == 10'000);
  CHECK_FALSE(retry_wait_ms(retry, 1, 10'001, 0.0));
  CHECK_FALSE(retry_wait_ms(retry, 4, {}, 0.0));
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
