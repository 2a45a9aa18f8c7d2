// Questions to models: who is asked, what comes back, what goes wrong, and what of it is recorded.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <boost/json.hpp>

#include "canary/adapters/openai_chat.hpp"
#include "canary/adapters/sqlite_store.hpp"
#include "canary/engine.hpp"
#include "http_server.hpp"
#include "temporary_folder.hpp"
#include "tls_server.hpp"

namespace openai_chat_test {

using namespace canary;
using test::HttpReply;
using test::HttpServer;

namespace {

constexpr const char* secret = "Zq7SECRETq7Z";

/// Routes as a router does, and keeps what is recorded.
class PlainEngine {
 public:
  struct Kept {
    std::string version;
    Reason reason;
    Outcome outcome;
    std::string request;
    std::string response;
  };

  PlainEngine() {
    task_ = router_.task("checks", {.default_model = "gpt-base"});
    bare_ = router_.task("bare");
  }
  void split(std::uint32_t candidate_ppm) {
    router_.set_split(task_, {{.model = "ft:new", .weight_ppm = candidate_ppm, .id = "checks@7"}});
  }
  [[nodiscard]] Decision route(Task task, std::string_view key) const { return router_.route(task, key); }
  [[nodiscard]] Decision route(Task task, std::uint64_t key) const { return router_.route(task, key); }
  bool record(Decision& decision, const Outcome& outcome) {
    const std::lock_guard lock{mutex_};
    kept_.push_back({std::string{decision.version_id()}, decision.reason(), outcome, std::string{outcome.request},
                     std::string{outcome.response}});
    kept_.back().outcome.request = kept_.back().outcome.response = {};
    return records_;
  }
  [[nodiscard]] const Router& router() const { return router_; }
  [[nodiscard]] Router& router() { return router_; }
  [[nodiscard]] Task task() const { return task_; }
  [[nodiscard]] Task bare() const { return bare_; }
  [[nodiscard]] std::vector<Kept> kept() const {
    const std::lock_guard lock{mutex_};
    return kept_;
  }
  bool records_ = true;

 private:
  Router router_;
  Task task_;
  Task bare_;
  mutable std::mutex mutex_;
  std::vector<Kept> kept_;
};

std::string answer(const std::string& text, const std::string& reason = "stop") {
  return R"({"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":)" +
         boost::json::serialize(boost::json::value(text)) + R"(},"finish_reason":")" + reason +
         R"("}],"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}})";
}

HttpReply stream_of(const std::vector<std::string>& pieces, bool done = true) {
  HttpReply reply;
  reply.headers = "Content-Type: text/event-stream\r\n";
  reply.body = ": hello\n\n";
  for (const std::string& each : pieces)
    reply.body += R"(data: {"choices":[{"index":0,"delta":{"content":)" +
                  boost::json::serialize(boost::json::value(each)) + "},\"finish_reason\":null}]}\n\n";
  if (!done) return reply;
  reply.body += "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n";
  reply.body += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
  return reply;
}

HttpReply error_reply(int status, const std::string& message, const std::string& code = "",
                      const std::string& param = "") {
  boost::json::object error;
  error["message"] = message;
  error["type"] = "invalid_request_error";
  error["code"] = code.empty() ? boost::json::value{} : boost::json::value(code);
  error["param"] = param.empty() ? boost::json::value{} : boost::json::value(param);
  HttpReply reply;
  reply.status = status;
  reply.body = boost::json::serialize(boost::json::object{{"error", error}});
  return reply;
}

OpenAiChatOptions options_of(const HttpServer& server) {
  OpenAiChatOptions options;
  options.base_url = server.url("/v1/");
  options.environment = [](const char* name) { return std::string_view{name} == "OPENAI_API_KEY" ? secret : nullptr; };
  options.retry.backoff = {.first_ms = 1, .longest_ms = 2};
  options.prices = {{"gpt-base", 150'000, 600'000}, {"ft:*", 300'000, 1'200'000}, {"ft:new*", 1'000'000, 2'000'000}};
  return options;
}

const std::vector<ChatMessage> question{{"system", "You list documents."}, {"user", "Which are missing?"}};

/// One task in a database in the folder, with texts recorded.
Config config_in(const TemporaryFolder& folder) {
  Config config;
  config.store.url = "sqlite:" + (folder.path() / "canary.db").string();
  config.store.state = (folder.path() / "canary.state").string();
  config.recorder.spool = (folder.path() / "spool").string();
  config.recorder.payloads = true;
  TaskConfig task;
  task.name = "checks";
  task.default_model = "gpt-base";
  config.tasks.push_back(task);
  return config;
}

}  // namespace

TEST_CASE("chat: the version's model is asked, and what came of it is recorded with its figures", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  engine.split(total_ppm);
  OpenAiChat chat{engine, options_of(server)};
  server.answer({{.body = answer("a passport")}});
  const ChatReply reply = chat.complete(engine.task(), "user-1", question, {.parameters = R"({"temperature":0.5})"});
  CHECK(reply.ok);
  CHECK(reply.text == "a passport");
  CHECK(reply.finish_reason == "stop");
  CHECK(reply.decision.version_id() == "checks@7");
  CHECK(reply.recorded);
  CHECK_FALSE(reply.fell_back);
  CHECK(reply.message.empty());
  const test::HttpSeen seen = server.seen(1)[0];
  CHECK(seen.method == "POST");
  CHECK(seen.target == "/v1/chat/completions");
  CHECK(seen.headers.at("authorization") == std::string{"Bearer "} + secret);
  CHECK(seen.headers.at("content-type") == "application/json");
  const boost::json::value sent = boost::json::parse(seen.body);
  CHECK(sent.at("model").as_string() == "ft:new");
  CHECK(sent.at("messages").as_array().size() == 2);
  CHECK(sent.at("messages").at(1).at("content").as_string() == "Which are missing?");
  CHECK(sent.at("temperature").to_number<double>() == 0.5);
  CHECK_FALSE(sent.as_object().contains("stream"));
  const auto kept = engine.kept();
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].version == "checks@7");
  CHECK(kept[0].reason == Reason::split);
  CHECK(kept[0].outcome.ok);
  CHECK(kept[0].outcome.latency_us > 0);
  CHECK(kept[0].outcome.tokens_in == 12);
  CHECK(kept[0].outcome.tokens_out == 5);
  CHECK(kept[0].outcome.cost_microusd == 12 + 2 * 5);  // by the longest prefix that fits
  CHECK(boost::json::parse(kept[0].request).as_array().size() == 2);
  CHECK(kept[0].response == "a passport");
}

TEST_CASE("chat: a task without versions asks its default, by a number as key too", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChatOptions options = options_of(server);
  options.api_key_env.clear();
  OpenAiChat chat{engine, options};
  server.answer({{.body = answer("yes")}});
  const ChatReply reply = chat.complete(engine.task(), 4711, question);
  CHECK(reply.ok);
  CHECK(reply.decision.version_id() == "checks@default");
  const test::HttpSeen seen = server.seen(1)[0];
  CHECK_FALSE(seen.headers.contains("authorization"));
  CHECK(boost::json::parse(seen.body).at("model").as_string() == "gpt-base");
  CHECK(engine.kept()[0].outcome.cost_microusd == 5);  // 12 * .15 + 5 * .6 = 4.8
}

TEST_CASE("chat: a key may go in a header of its own, as some endpoints have it", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChatOptions options = options_of(server);
  options.key_alone = true;
  OpenAiChat chat{engine, options};
  server.answer({{.body = answer("yes")}});
  CHECK(chat.complete(engine.task(), "a", question).ok);
  CHECK(server.seen(1)[0].headers.at("api-key") == secret);
  CHECK_FALSE(server.seen(1)[0].headers.contains("authorization"));
}

TEST_CASE("chat: a stream is handed on piece by piece, with its figures at the end", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  server.answer({stream_of({"a pass", "port", ""})});
  std::vector<std::string> pieces;
  const ChatReply reply = chat.complete(engine.task(), "a", question, {.on_text = [&](std::string_view piece) {
                                          pieces.emplace_back(piece);
                                          return true;
                                        }});
  CHECK(reply.ok);
  CHECK(reply.text == "a passport");
  CHECK(pieces == std::vector<std::string>{"a pass", "port"});
  CHECK(reply.tokens_in == 7);
  CHECK(reply.tokens_out == 3);
  CHECK(engine.kept()[0].response == "a passport");
  const boost::json::value sent = boost::json::parse(server.seen(1)[0].body);
  CHECK(sent.at("stream").as_bool());
  CHECK(sent.at("stream_options").at("include_usage").as_bool());
}

TEST_CASE("chat: of a stream the first piece comes before the last is sent", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply reply = stream_of({"first", std::string(2'000, 'x')});
  reply.how = HttpReply::How::halve;
  server.answer({reply});
  bool first = true;
  const ChatReply got = chat.complete(engine.task(), "a", question, {.on_text = [&](std::string_view piece) {
                                        if (std::exchange(first, false)) {
                                          CHECK(piece == "first");
                                          server.release();  // or the rest never comes
                                        }
                                        return true;
                                      }});
  CHECK(got.ok);
  CHECK(got.text.size() == 2'005);
}

TEST_CASE("chat: a server that does not stream, and events that are none of ours, are taken as well",
          "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply pinged = stream_of({"hi"});
  pinged.body = "event: ping\ndata: {\"type\":\"ping\"}\n\n" + pinged.body;
  server.answer({{.body = answer("whole")}, pinged});
  std::string text;
  const ChatOptions streaming{.on_text = [&](std::string_view piece) {
    text += piece;
    return true;
  }};
  CHECK(chat.complete(engine.task(), "a", question, streaming).text == "whole");
  CHECK(text == "whole");
  CHECK(chat.complete(engine.task(), "a", question, streaming).text == "hi");
}

TEST_CASE("chat: who reads may end a stream, which is recorded as cancelled", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  server.answer({stream_of({"one", "two", "three"}), stream_of({"one", "two"})});
  int pieces = 0;
  const ChatReply reply =
      chat.complete(engine.task(), "a", question, {.on_text = [&](std::string_view) { return ++pieces != 2; }});
  CHECK_FALSE(reply.ok);
  CHECK(reply.error == ErrorKind::cancelled);
  CHECK(reply.text == "onetwo");
  CHECK(pieces == 2);
  const auto throws = [](std::string_view) -> bool { throw std::runtime_error{"the caller's own"}; };
  bool thrown = false;
  try {
    (void)chat.complete(engine.task(), "a", question, {.on_text = throws});
  } catch (const std::runtime_error& error) {
    thrown = std::string_view{error.what()} == "the caller's own";
  }
  CHECK(thrown);
  REQUIRE(engine.kept().size() == 2);
  for (const auto& each : engine.kept()) CHECK(each.outcome.error == ErrorKind::cancelled);
}

TEST_CASE("chat: each way to fail has its kind, its words, and its record", "[adapters][chat]") {
  struct Case {
    HttpReply reply;
    ErrorKind kind;
    std::string words;
  };
  const std::string refusal =
      R"({"choices":[{"index":0,"message":{"content":null,"refusal":"I cannot help"},"finish_reason":"stop"}]})";
  HttpReply truncated{.body = answer(std::string(500, 'x'))};
  truncated.how = HttpReply::How::truncate;
  HttpReply reset;
  reset.how = HttpReply::How::reset;
  const std::vector<Case> cases{
      {error_reply(400, "bad request"), ErrorKind::other, "answered 400: bad request"},
      {error_reply(401, "Incorrect API key provided: Zq7SECRETq7Z."), ErrorKind::other, "provided: [key]."},
      {error_reply(400, "filtered", "content_filter"), ErrorKind::refused, "content_filter"},
      {error_reply(404, "no such path"), ErrorKind::other, "no such path"},
      {error_reply(408, "slow"), ErrorKind::timeout, "408"},
      {error_reply(429, "too many", "rate_limit_exceeded"), ErrorKind::rate_limited, "429: too many"},
      {error_reply(500, "oops"), ErrorKind::server, "500"},
      {error_reply(504, "gateway"), ErrorKind::timeout, "504"},
      {{.status = 503, .body = "<html>no JSON</html>"}, ErrorKind::server, "answered 503"},
      {{.status = 302, .headers = "Location: /elsewhere\r\n"}, ErrorKind::other, "302"},
      {{.body = "no JSON"}, ErrorKind::invalid_output, "no chat completion"},
      {{.body = ""}, ErrorKind::invalid_output, "no chat completion"},
      {{.body = "[]"}, ErrorKind::invalid_output, "no chat completion"},
      {{.body = R"({"choices":7})"}, ErrorKind::invalid_output, "no chat completion"},
      {{.body = R"({"choices":[7]})"}, ErrorKind::invalid_output, "no chat completion"},
      {{.body = R"({"choices":[]})"}, ErrorKind::invalid_output, "is empty"},
      {{.body = R"({"choices":[{"message":{"content":null}}]})"}, ErrorKind::invalid_output, "no text"},
      {{.body = R"({"choices":[{"message":7}]})"}, ErrorKind::invalid_output, "no text"},
      {{.body = answer("half", "content_filter")}, ErrorKind::refused, "declined"},
      {{.body = refusal}, ErrorKind::refused, "I cannot help"},
      {{.body = R"({"error":{"message":"inside a 200"}})"}, ErrorKind::server, "inside a 200"},
      {truncated, ErrorKind::network, ""},
      {reset, ErrorKind::network, ""},
  };
  for (const Case& each : cases) {
    HttpServer server;
    PlainEngine engine;
    OpenAiChatOptions options = options_of(server);
    options.retry.tries = 1;
    OpenAiChat chat{engine, options};
    server.answer({each.reply});
    const ChatReply reply = chat.complete(engine.task(), "a", question);
    INFO(each.words << " in: " << reply.message);
    CHECK_FALSE(reply.ok);
    CHECK(reply.error == each.kind);
    CHECK(reply.message.find(each.words) != std::string::npos);
    CHECK((reply.message + reply.hint).find(secret) == std::string::npos);
    REQUIRE(engine.kept().size() == 1);
    CHECK(engine.kept()[0].outcome.error == each.kind);
    CHECK_FALSE(engine.kept()[0].outcome.ok);
    CHECK(engine.kept()[0].response.empty());
    CHECK_FALSE(engine.kept()[0].request.empty());
  }
}

TEST_CASE("chat: each way for a stream to fail has its kind", "[adapters][chat]") {
  struct Case {
    HttpReply reply;
    ErrorKind kind;
    std::string text;
  };
  HttpReply broken = stream_of({"one"}, false);
  broken.body += "data: {no JSON\n\n";
  HttpReply failed = stream_of({"one"}, false);
  failed.body += "data: {\"error\":{\"message\":\"overloaded\",\"code\":\"rate_limit_exceeded\"}}\n\n";
  HttpReply endless{.headers = "Content-Type: text/event-stream\r\n", .body = "data: " + std::string(5 << 20, 'x')};
  HttpReply cut = stream_of({"one", std::string(3'000, 'y')});
  cut.how = HttpReply::How::truncate;
  const std::vector<Case> cases{
      {stream_of({"one"}, false), ErrorKind::network, "one"},
      {stream_of({}, false), ErrorKind::network, ""},
      {broken, ErrorKind::invalid_output, "one"},
      {failed, ErrorKind::rate_limited, "one"},
      {endless, ErrorKind::invalid_output, ""},
      {cut, ErrorKind::network, "one"},
      {stream_of({std::string(5 << 20, 'z')}), ErrorKind::invalid_output, ""},
      {error_reply(500, "oops"), ErrorKind::server, ""},
      {{.body = ""}, ErrorKind::network, ""},
      {{.body = "<html>no stream</html>"}, ErrorKind::invalid_output, ""},
  };
  for (const Case& each : cases) {
    HttpServer server;
    PlainEngine engine;
    OpenAiChatOptions options = options_of(server);
    options.retry.tries = 1;
    OpenAiChat chat{engine, options};
    server.answer({each.reply});
    const ChatReply reply =
        chat.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }});
    INFO(reply.message);
    CHECK_FALSE(reply.ok);
    CHECK(reply.error == each.kind);
    CHECK(reply.text == each.text);
    CHECK(engine.kept().size() == 1);
  }
}

TEST_CASE("chat: an answer that is too long is an error, whole or streamed", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChatOptions options = options_of(server);
  options.reply_bytes = 1'000;
  OpenAiChat chat{engine, options};
  server.answer({{.body = answer(std::string(2'000, 'x'))}, stream_of({std::string(600, 'x'), std::string(600, 'y')})});
  CHECK(chat.complete(engine.task(), "a", question).error == ErrorKind::invalid_output);
  const ChatReply streamed =
      chat.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }});
  CHECK(streamed.error == ErrorKind::invalid_output);
  CHECK(streamed.message.find("longer than 1000 bytes") != std::string::npos);
}

TEST_CASE("chat: what may pass is tried again, as late as the server asks, and is one interaction",
          "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply limited = error_reply(429, "slowly");
  limited.headers = "retry-after-ms: 30\r\n";
  HttpReply reset;
  reset.how = HttpReply::How::reset;
  server.answer({limited, reset, {.body = answer("at last")}});
  const ChatReply reply = chat.complete(engine.task(), "a", question);
  CHECK(reply.text == "at last");
  CHECK(reply.latency_us >= 30'000);
  CHECK(server.seen().size() == 3);
  CHECK(engine.kept().size() == 1);
  limited.headers = "Retry-After: 3600\r\n";  // longer than anybody waits
  server.answer({limited});
  CHECK(chat.complete(engine.task(), "a", question).error == ErrorKind::rate_limited);
  CHECK(server.seen().size() == 4);
  HttpReply never = error_reply(500, "for good");
  never.headers = "x-should-retry: false\r\n";
  server.answer({never});
  CHECK(chat.complete(engine.task(), "a", question).error == ErrorKind::server);
  CHECK(server.seen().size() == 5);
}

TEST_CASE("chat: no wait goes past the deadline", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply limited = error_reply(429, "slowly");
  limited.headers = "Retry-After: 20\r\n";
  server.answer({limited});
  const ChatReply reply = chat.complete(engine.task(), "a", question, {.total_ms = 5'000});
  CHECK(reply.error == ErrorKind::rate_limited);
  CHECK(server.seen().size() == 1);
}

TEST_CASE("chat: what was handed on is not asked for again", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  server.answer({stream_of({}, false), stream_of({"one"}, false), stream_of({"one", "two"})});
  std::string text;
  const ChatReply reply = chat.complete(engine.task(), "a", question, {.on_text = [&](std::string_view piece) {
                                          text += piece;
                                          return true;
                                        }});
  CHECK(reply.error == ErrorKind::network);
  CHECK(text == "one");
  CHECK(server.seen().size() == 2);  // the first had nothing to hand on
}

TEST_CASE("chat: silence and slowness are time-outs, and no server is the network's fault", "[adapters][chat]") {
  PlainEngine engine;
  HttpReply held;
  held.how = HttpReply::How::hold;
  OpenAiChatOptions options;
  {
    HttpServer server;
    options = options_of(server);
    options.retry.tries = 1;
    OpenAiChat chat{engine, options};
    server.answer({held, held});
    CHECK(chat.complete(engine.task(), "a", question, {.total_ms = 100}).error == ErrorKind::timeout);
    options.idle_ms = 100;
    OpenAiChat impatient{engine, options};
    CHECK(impatient.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }}).error ==
          ErrorKind::timeout);
  }
  OpenAiChat alone{engine, options};  // the server is gone
  const ChatReply reply = alone.complete(engine.task(), "a", question);
  CHECK(reply.error == ErrorKind::network);
  CHECK_FALSE(reply.hint.empty());
  CHECK(engine.kept().size() == 3);
}

TEST_CASE("chat: silence before an answer that comes whole is no time-out: it is silent until it is made",
          "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChatOptions options = options_of(server);
  options.idle_ms = 1;
  OpenAiChat chat{engine, options};
  HttpReply held;
  held.how = HttpReply::How::hold;
  server.answer({held});
  const ChatReply reply = chat.complete(engine.task(), "a", question, {.total_ms = 300});
  CHECK(reply.error == ErrorKind::timeout);
  CHECK(reply.message.find("no answer within the time-out") != std::string::npos);  // of all, not of silence
}

TEST_CASE("chat: a question that was sent and not answered in time is not sent again", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChatOptions options = options_of(server);
  options.idle_ms = 50;
  OpenAiChat chat{engine, options};
  HttpReply held;
  held.how = HttpReply::How::hold;
  server.answer({held, held, held});
  const ChatReply reply =
      chat.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }});
  CHECK(reply.error == ErrorKind::timeout);
  CHECK(server.seen().size() == 1);
}

TEST_CASE("chat: a cut of a server's words never leaves a part of the key", "[adapters][chat]") {
  const std::string words = std::string(495, 'x') + secret + " is no key";
  const std::string code = std::string(59, 'c') + secret;
  const boost::json::value told = {
      {"choices",
       {{{"index", 0}, {"message", {{"content", nullptr}, {"refusal", words}}}, {"finish_reason", "stop"}}}}};
  const boost::json::value coded = {{"error", {{"code", words}}}};
  const boost::json::value whole = {{"error", {{"message", words}}}};
  const std::vector<HttpReply> replies{error_reply(401, words),
                                       error_reply(400, "no", code),
                                       {.body = boost::json::serialize(told)},
                                       {.body = boost::json::serialize(coded)},
                                       {.body = boost::json::serialize(whole)}};
  for (const HttpReply& each : replies) {
    HttpServer server;
    PlainEngine engine;
    OpenAiChatOptions options = options_of(server);
    options.retry.tries = 1;
    OpenAiChat chat{engine, options};
    server.answer({each});
    const ChatReply reply = chat.complete(engine.task(), "a", question);
    INFO(reply.message);
    CHECK_FALSE(reply.ok);
    CHECK(reply.message.find("[key]") != std::string::npos);
    CHECK(reply.message.find(std::string_view{secret}.substr(0, 4)) == std::string::npos);
  }
}

TEST_CASE("chat: what is not known of tokens and cost is said, and recorded as 0", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply silent;  // as servers that do not know stream_options
  silent.body = R"({"choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}]})";
  server.answer({{.body = answer("yes")}, silent, error_reply(400, "no")});
  const ChatReply known = chat.complete(engine.task(), "a", question);
  CHECK(known.usage_known);
  CHECK(known.priced);
  CHECK(known.cost_microusd == 5);
  const ChatReply unknown = chat.complete(engine.task(), "a", question);
  CHECK(unknown.ok);
  CHECK_FALSE(unknown.usage_known);
  CHECK(unknown.priced);
  CHECK(unknown.cost_microusd == 0);
  const ChatReply refused = chat.complete(engine.task(), "a", question);
  CHECK_FALSE(refused.usage_known);
  CHECK(refused.priced);
  server.answer({stream_of({"one"}, false)});
  CHECK_FALSE(
      chat.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }}).usage_known);
  engine.router().set_split(engine.task(), {{.model = "unlisted", .weight_ppm = total_ppm, .id = "checks@8"}});
  server.answer({{.body = answer("yes")}});
  const ChatReply unpriced = chat.complete(engine.task(), "a", question);
  CHECK(unpriced.usage_known);
  CHECK_FALSE(unpriced.priced);
  CHECK(unpriced.tokens_in == 12);
  CHECK(unpriced.cost_microusd == 0);
  OpenAiChatOptions options = options_of(server);
  options.prices.push_back({"*", 1'000'000, 1'000'000});  // for all others
  OpenAiChat careful{engine, options};
  server.answer({{.body = answer("yes")}});
  const ChatReply other = careful.complete(engine.task(), "a", question);
  CHECK(other.priced);
  CHECK(other.cost_microusd == 17);
}

TEST_CASE("chat: one event of a stream may be as long as an answer", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  server.answer({stream_of({std::string(2 << 20, 'x')})});
  const ChatReply reply =
      chat.complete(engine.task(), "a", question, {.on_text = [](std::string_view) { return true; }});
  INFO(reply.message);
  CHECK(reply.ok);
  CHECK(reply.text.size() == 2 << 20);
}

TEST_CASE("chat: cancel ends what is under way and what comes later", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  HttpReply held;
  held.how = HttpReply::How::hold;
  server.answer({held});
  std::thread other{[&] {
    (void)server.seen(1);
    chat.cancel();
  }};
  CHECK(chat.complete(engine.task(), "a", question).error == ErrorKind::cancelled);
  other.join();
  CHECK(chat.complete(engine.task(), "a", question).error == ErrorKind::cancelled);
  CHECK(engine.kept().size() == 2);
}

TEST_CASE("chat: a version whose model cannot be had falls back, and both are told as they were", "[adapters][chat]") {
  const std::vector<HttpReply> missing{
      error_reply(404, "The model `ft:new` does not exist", "model_not_found"),
      error_reply(404, "model \"ft:new\" not found, try pulling it first"),
      error_reply(400, "invalid model ID", "", "model"),
      error_reply(403, "Project does not have access to model `ft:new`", "model_not_found"),
      {.status = 404,
       .body = R"({"object":"error","message":"The model `ft:new` does not exist.","param":null,"code":404})"},
      {.status = 404, .body = R"({"error":"model 'ft:new' not found"})"},
  };
  for (const HttpReply& each : missing) {
    INFO(each.body);
    HttpServer server;
    PlainEngine engine;
    engine.split(total_ppm);
    OpenAiChat chat{engine, options_of(server)};
    server.answer({each, {.body = answer("from the default")}});
    const ChatReply reply = chat.complete(engine.task(), "a", question, {.fallback = true});
    CHECK(reply.ok);
    CHECK(reply.text == "from the default");
    CHECK(reply.fell_back);
    CHECK(reply.replaced.version_id() == "checks@7");
    CHECK(reply.decision.version_id() == "checks@default");
    CHECK(reply.decision.reason() == Reason::fallback);
    CHECK(reply.decision.point() == reply.replaced.point());
    CHECK_FALSE(reply.message.empty());  // why
    CHECK(boost::json::parse(server.seen(2)[1].body).at("model").as_string() == "gpt-base");
    const auto kept = engine.kept();
    REQUIRE(kept.size() == 2);
    CHECK(kept[0].version == "checks@7");
    CHECK(kept[0].reason == Reason::split);
    CHECK_FALSE(kept[0].outcome.ok);
    CHECK(kept[0].outcome.tokens_in == 0);
    CHECK(kept[1].version == "checks@default");
    CHECK(kept[1].reason == Reason::fallback);  // no evidence
    CHECK(kept[1].outcome.ok);
    CHECK(kept[1].outcome.tokens_in == 12);
  }
}

TEST_CASE("chat: it falls back for nothing else, and not unless it is told to", "[adapters][chat]") {
  const std::vector<HttpReply> others{error_reply(404, "no such path"),
                                      error_reply(400, "too long", "context_length_exceeded"),
                                      error_reply(401, "who are you"),
                                      error_reply(500, "the model ft:new crashed"),
                                      error_reply(400, "ft:new does not take this", "unsupported", "temperature"),
                                      error_reply(400, "ft:new takes no images"),
                                      error_reply(403, "ft:new is busy"),
                                      error_reply(404, "ft:newer does not exist"),
                                      error_reply(404, "ft:new-2 does not exist"),
                                      error_reply(404, "ft:new.1 does not exist"),
                                      error_reply(404, "soft:new does not exist"),
                                      {.body = "no JSON about ft:new"}};
  for (const HttpReply& each : others) {
    INFO(each.body);
    HttpServer server;
    PlainEngine engine;
    engine.split(total_ppm);
    OpenAiChatOptions options = options_of(server);
    options.retry.tries = 1;
    OpenAiChat chat{engine, options};
    server.answer({each});
    const ChatReply reply = chat.complete(engine.task(), "a", question, {.fallback = true});
    CHECK_FALSE(reply.ok);
    CHECK_FALSE(reply.fell_back);
    CHECK(engine.kept().size() == 1);
    CHECK(server.seen().size() == 1);
  }
  HttpServer server;
  PlainEngine engine;
  engine.split(total_ppm);
  OpenAiChat chat{engine, options_of(server)};
  server.answer({error_reply(404, "gone", "model_not_found"), error_reply(404, "gone", "model_not_found"),
                 error_reply(404, "gone too", "model_not_found")});
  CHECK_FALSE(chat.complete(engine.task(), "a", question).fell_back);
  CHECK(server.seen().size() == 1);
  const ChatReply both = chat.complete(engine.task(), "a", question, {.fallback = true});
  CHECK(both.fell_back);
  CHECK_FALSE(both.ok);
  CHECK(both.message.find("gone too") != std::string::npos);
  engine.split(0);  // the default's own model has nobody to fall back to
  server.answer({error_reply(404, "gone", "model_not_found")});
  CHECK_FALSE(chat.complete(engine.task(), "a", question, {.fallback = true}).fell_back);
}

TEST_CASE("chat: without any model nothing is sent, and that is said", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  const ChatReply reply = chat.complete(engine.bare(), "a", question, {.fallback = true});
  CHECK(reply.error == ErrorKind::other);
  CHECK(reply.message.find("no model to ask") != std::string::npos);
  CHECK(reply.hint.find("default_model") != std::string::npos);
  CHECK(chat.complete(Task{}, "a", question, {.fallback = true}).error == ErrorKind::other);
  CHECK(server.seen().empty());
}

TEST_CASE("chat: settings that cannot be are said at once, without the secret", "[adapters][chat]") {
  PlainEngine engine;
  const auto fault = [&](const OpenAiChatOptions& options) -> std::string {
    try {
      OpenAiChat chat{engine, options};
    } catch (const ChatError& error) {
      return error.what();
    }
    return "none";
  };
  OpenAiChatOptions options;
  options.environment = [](const char*) -> const char* { return nullptr; };
  CHECK(fault(options).find("the variable OPENAI_API_KEY is not set") != std::string::npos);
  options.environment = [](const char*) { return ""; };
  CHECK(fault(options).find("is not set") != std::string::npos);
  options.environment = [](const char*) { return secret; };
  CHECK(fault(options) == "none");
  options.base_url = "http://models.example/v1";
  CHECK(fault(options).find("plain http to another machine") != std::string::npos);
  options.base_url = "https://user:Zq7SECRETq7Z@models.example/v1";
  CHECK(fault(options).find("user or password") != std::string::npos);
  CHECK(fault(options).find(secret) == std::string::npos);
  options.base_url = "models.example/v1";
  CHECK(fault(options).find("not a URL") != std::string::npos);
  for (const char* url : {"https://models.example/v1?version=2", "https://models.example/v1#top"}) {
    options.base_url = url;
    CHECK(fault(options).find("leave ? and # out") != std::string::npos);
  }
  HttpServer server;
  options = options_of(server);
  OpenAiChat chat{engine, options};
  for (const char* parameters : {"[]", "{", "7", "temperature", R"({"tools":[]})", R"({"functions":[]})", R"({"n":2})"})
    CHECK_THROWS_AS(chat.complete(engine.task(), "a", question, {.parameters = parameters}), ChatError);
  CHECK(engine.kept().empty());  // nobody's failure but the caller's
  options.environment = [](const char*) { return "Zq7SECRETq7Z\r\nX-Smuggled: yes"; };
  CHECK(fault(options).find("stray newline") != std::string::npos);
  CHECK(fault(options).find(secret) == std::string::npos);
  options.environment = [](const char*) { return "Zq7SECRETq7Z\n"; };
  CHECK(fault(options).find("stray newline") != std::string::npos);
  CHECK(server.seen().empty());
}

TEST_CASE("chat: what parameters may not have is named", "[adapters][chat]") {
  PlainEngine engine;
  OpenAiChatOptions options;
  options.api_key_env.clear();
  OpenAiChat chat{engine, options};
  for (const std::string name : {"tools", "functions", "n"}) {
    std::string said;
    try {
      (void)chat.complete(engine.task(), "a", question, {.parameters = "{\"" + name + "\":2}"});
    } catch (const ChatError& error) {
      said = error.what();
    }
    CHECK(said.find('"' + name + '"') != std::string::npos);
  }
}

TEST_CASE("chat: a request's own members cannot be taken by parameters, and bytes that are no text are mended",
          "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  OpenAiChat chat{engine, options_of(server)};
  server.answer({{.body = answer("yes")}});
  const std::string bytes{"a\0b\xFF\xC3\xA9", 6};
  CHECK(chat.complete(engine.task(), "a", {{"user", bytes}},
                      {.parameters = R"({"model":"other","messages":[],"stream":true,"max_tokens":7})"})
            .ok);
  const boost::json::value sent = boost::json::parse(server.seen(1)[0].body);
  CHECK(sent.at("model").as_string() == "gpt-base");
  CHECK(sent.at("messages").at(0).at("content").as_string() ==
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD\xC3\xA9");
  CHECK(sent.at("max_tokens").as_int64() == 7);
  CHECK_FALSE(sent.as_object().contains("stream"));
}

TEST_CASE("chat: hostile answers harm nothing", "[adapters][chat]") {
  std::mt19937 random{20260507};
  const std::string whole = answer("text");
  const std::string piece =
      R"({"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":{"prompt_tokens":1}})";
  for (int round = 0; round != 20'000; ++round) {
    const bool streamed = random() % 2 == 0;
    std::string body = streamed ? piece : whole;
    for (std::uint32_t i = random() % 4; i != 0; --i) {
      const std::size_t at = random() % body.size();
      if (random() % 2 == 0)
        body[at] = static_cast<char>(random());
      else
        body.replace(at, random() % 12, random() % 2 == 0 ? "{[\"" : "null");
      if (body.empty()) body = "x";
    }
    detail::ChatRead read;
    (void)detail::take_chat(read, body, streamed ? "delta" : "message");
    const detail::ChatFault fault = detail::chat_fault(body);
    (void)detail::is_about_model(404, fault, "m");
    (void)detail::chat_error_kind(200, fault);
  }
  detail::ChatRead read;
  CHECK_FALSE(detail::take_chat(read, std::string(1'000'000, '['), "message"));
  CHECK_FALSE(detail::take_chat(read, R"({"a":)" + std::string(100'000, '{'), "message"));
  CHECK(detail::take_chat(read, R"({"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":99999999999}})",
                          "message"));
  CHECK(read.tokens_in == 0);
  CHECK(read.tokens_out == 0x7FFF'FFFF);
}

TEST_CASE("chat: many threads share a client", "[adapters][chat]") {
  HttpServer server;
  PlainEngine engine;
  engine.split(total_ppm / 2);
  OpenAiChat chat{engine, options_of(server)};
  constexpr int threads = 8;
  constexpr int each = 10;
  for (int i = 0; i != threads * each; ++i) server.answer({{.body = answer("yes")}});
  std::atomic<int> good{0};
  std::vector<std::thread> all;
  for (int i = 0; i != threads; ++i)
    all.emplace_back([&, i] {
      for (int j = 0; j != each; ++j)
        good += chat.complete(engine.task(), std::to_string(i * each + j), question).ok ? 1 : 0;
    });
  for (std::thread& one : all) one.join();
  CHECK(good == threads * each);
  CHECK(engine.kept().size() == threads * each);
}

TEST_CASE("chat: a certificate that nobody knows is not trusted, and one that is named is", "[adapters][chat]") {
  if (!test::TlsServer::possible()) SKIP("no openssl command");
  const test::TlsServer server;
  PlainEngine engine;
  OpenAiChatOptions options;
  options.environment = [](const char*) { return secret; };
  options.base_url = server.url();
  options.retry.tries = 1;
  OpenAiChat stranger{engine, options};
  const ChatReply untrusted = stranger.complete(engine.task(), "a", question);
  CHECK(untrusted.error == ErrorKind::network);
  CHECK(untrusted.hint.find("SSL_CERT_FILE") != std::string::npos);
  options.ca_file = server.ca_file();
  OpenAiChat known{engine, options};
  CHECK(known.complete(engine.task(), "a", question, {.total_ms = 10'000}).error != ErrorKind::network);
}

TEST_CASE("chat: with an engine on a database, rows carry version, figures, texts and the reason", "[adapters][chat]") {
  const TemporaryFolder folder;
  const Config config = config_in(folder);
  HttpServer server;
  server.answer(
      {{.body = answer("a passport")}, error_reply(404, "no", "model_not_found"), {.body = answer("from base")}});
  Engine engine{config, std::make_unique<SqliteStore>(config.store.url)};
  Registry registry = engine.registry();
  registry.register_version("checks", {.model = "ft:new"});
  registry.promote("checks", 1);
  REQUIRE(engine.refresh());
  OpenAiChat chat{engine, options_of(server)};
  const ChatReply first = chat.complete(engine.task("checks"), "user-1", question, {.fallback = true});
  const ChatReply second = chat.complete(engine.task("checks"), "user-2", question, {.fallback = true});
  CHECK(first.recorded);
  CHECK(second.recorded);
  CHECK(second.fell_back);
  CHECK(second.decision.interaction() != 0);
  CHECK(second.decision.interaction() != second.replaced.interaction());
  REQUIRE(engine.flush(std::chrono::minutes{1}));
  struct Row {
    Interaction row;
    std::string request;
    std::string response;
  };
  std::map<std::uint64_t, Row> rows;
  SqliteStore store{config.store.url};
  store.interactions()->read({.with_payload = true}, [&](const Interaction& row, const Payload& texts) {
    rows[row.id] = {row, std::string{texts.request}, std::string{texts.response}};
    return true;
  });
  REQUIRE(rows.size() == 3);
  const Row& good = rows.at(first.decision.interaction());
  CHECK(good.row.number == 1);
  CHECK(good.row.reason == Reason::split);
  CHECK(good.row.tokens_in == 12);
  CHECK(good.row.cost_microusd == 22);
  CHECK(good.row.latency_us == static_cast<std::uint32_t>(first.latency_us));
  CHECK(good.response == "a passport");
  CHECK(good.request.find("Which are missing?") != std::string::npos);
  const Row& failed = rows.at(second.replaced.interaction());
  CHECK(failed.row.number == 1);
  CHECK(failed.row.reason == Reason::split);
  CHECK(failed.row.error == static_cast<std::uint8_t>(ErrorKind::other));
  const Row& instead = rows.at(second.decision.interaction());
  CHECK(instead.row.number == 0);
  CHECK(instead.row.reason == Reason::fallback);
  CHECK(instead.row.error == 0);
  CHECK(instead.row.point == failed.row.point);
  CHECK(instead.response == "from base");
}

TEST_CASE("chat: no file that is left holds the key, whatever the server says of it", "[adapters][chat]") {
  const TemporaryFolder folder;
  const Config config = config_in(folder);
  const auto holds = [&folder](std::string_view words) {
    std::size_t files = 0;
    std::size_t with = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder.path()}) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file{entry.path(), std::ios::binary};
      const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
      ++files;
      with += bytes.find(words) != std::string::npos ? 1 : 0;
    }
    CHECK(files >= 3);  // database, state, a ring at least
    return with != 0;
  };
  const std::string echo = std::string{"you sent "} + secret + " marked";
  HttpServer server;
  server.answer({{.body = answer("a plain answer")},
                 {.body = answer(echo)},
                 stream_of({echo}),
                 error_reply(401, echo, secret),
                 error_reply(404, echo, "model_not_found"),
                 {.body = std::string{"no JSON, but "} + secret}});
  {
    Engine engine{config, std::make_unique<SqliteStore>(config.store.url)};
    OpenAiChat chat{engine, options_of(server)};
    const auto ask = [&](const ChatOptions& options = {}) {
      return chat.complete(engine.task("checks"), "user-1", {{"user", std::string{"is it "} + secret + '?'}}, options);
    };
    CHECK(ask().ok);
    CHECK(ask().text == echo);  // the caller gets what was said
    CHECK(ask({.on_text = [](std::string_view) { return true; }}).ok);
    for (int i = 0; i != 3; ++i) CHECK_FALSE(ask().ok);
    CHECK(server.seen().size() == 6);
    CHECK_FALSE(holds(secret));  // while all of it is in the rings
    REQUIRE(engine.flush(std::chrono::minutes{1}));
    CHECK_FALSE(holds(secret));
    CHECK(holds("[key] marked"));  // it was looked for where texts are
  }
  CHECK_FALSE(holds(secret));
}

TEST_CASE("chat: with the store down the default answers, and it is recorded for later", "[adapters][chat]") {
  const TemporaryFolder folder;
  Config config;
  config.store.url = "sqlite:" + (folder.path() / "missing" / "canary.db").string();
  config.store.state.clear();
  config.recorder.spool = (folder.path() / "spool").string();
  TaskConfig task;
  task.name = "checks";
  task.default_model = "gpt-base";
  config.tasks.push_back(task);
  HttpServer server;
  server.answer({{.body = answer("still here")}});
  Engine engine{config, std::make_unique<SqliteStore>(config.store.url)};
  CHECK(engine.status().health == Health::degraded);
  OpenAiChat chat{engine, options_of(server)};
  const ChatReply reply = chat.complete(engine.task("checks"), "user-1", question);
  CHECK(reply.text == "still here");
  CHECK(reply.decision.version_id() == "checks@default");
  CHECK(reply.recorded);
}

}  // namespace openai_chat_test
