// Event streams, whole and in pieces.
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/sse.hpp"

namespace sse_test {

using namespace canary;

namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

/// Type and data of each event, where the pieces end at these places.
Events read(std::string_view stream, const std::vector<std::size_t>& cuts = {}) {
  SseReader reader;
  Events events;
  const auto take = [&](const SseEvent& event) {
    events.emplace_back(event.type, event.data);
    return true;
  };
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    CHECK(reader.feed(stream.substr(at, cut - at), take));
    at = cut;
  }
  CHECK(reader.feed(stream.substr(at), take));
  return events;
}

}  // namespace

TEST_CASE("sse: events end with an empty line, whatever ends the lines", "[control][sse]") {
  const Events two{{"", "a"}, {"", "b"}};
  CHECK(read("data: a\n\ndata: b\n\n") == two);
  CHECK(read("data: a\r\n\r\ndata: b\r\n\r\n") == two);
  CHECK(read("data: a\r\rdata: b\r\r") == two);
  CHECK(read("data:a\n\r\ndata:b\r\n\n") == two);
  CHECK(read("\xEF\xBB\xBF"
             "data: a\n\n\n\n\ndata: b\n\n") == two);
}

TEST_CASE("sse: lines of data are joined, one space goes, comments and other fields are read over", "[control][sse]") {
  CHECK(read("data: one\ndata:two\ndata:  three\ndata\ndata: \n\n") == Events{{"", "one\ntwo\n three\n\n"}});
  CHECK(read(": hello\n:\nid: 7\nretry: 5\nnonsense\nDATA: x\ndata : y\ndata: z\n\n") == Events{{"", "z"}});
  CHECK(read("event: error\ndata: {}\n\ndata: next\n\n") == Events{{"error", "{}"}, {"", "next"}});
  CHECK(read("event: nothing\n\ndata: x\n\n") == Events{{"", "x"}});
  CHECK(read("data\n\n") == Events{{"", ""}});
}

TEST_CASE("sse: an event that is not ended is none", "[control][sse]") {
  CHECK(read("data: a").empty());
  CHECK(read("data: a\n").empty());
  CHECK(read("").empty());
  CHECK(read(std::string(3, '\0')).empty());
}

TEST_CASE("sse: cut anywhere, the events are the same", "[control][sse]") {
  const std::string stream =
      "\xEF\xBB\xBF: hi\r\n\r\ndata: h\xC3\xA9\r\ndata: two\r\n\r\nevent: x\rdata: y\r\rdata\n\ndata: "
      "[DONE]\n\n\r\ndata: late\r\n\n";
  const Events whole = read(stream);
  REQUIRE(whole.size() == 5);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    CHECK(read(stream, {cut}) == whole);
    CHECK(read(stream, {cut, std::min(cut + 1, stream.size())}) == whole);
  }
  std::vector<std::size_t> each(stream.size());
  for (std::size_t i = 0; i != each.size(); ++i) each[i] = i;
  CHECK(read(stream, each) == whole);
}

TEST_CASE("sse: random bytes in random pieces are read alike, and harm nothing", "[control][sse]") {
  std::mt19937 random{20260507};
  constexpr std::string_view alphabet = "\r\n\r\n:: datae ventx\xEF\xBB\xBF\0";
  for (int round = 0; round != 5'000; ++round) {
    std::string stream(random() % 120, '\0');
    for (char& c : stream) c = random() % 4 == 0 ? "data:\n\r "[random() % 8] : alphabet[random() % alphabet.size()];
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; (at += random() % 9) < stream.size();) cuts.push_back(at);
    CHECK(read(stream, cuts) == read(stream));
  }
}

TEST_CASE("sse: an event that is too long ends it, in bounded memory", "[control][sse]") {
  const auto none = [](const SseEvent&) { return true; };
  SseReader one{100};
  CHECK(one.feed("data: " + std::string(90, 'x') + "\n\n", none));
  CHECK_FALSE(one.overflown());
  CHECK_FALSE(one.feed("data: " + std::string(200, 'x'), none));
  CHECK(one.overflown());
  CHECK_FALSE(one.feed("\n\ndata: x\n\n", none));
  SseReader many{100};
  bool good = true;
  for (int i = 0; i != 30 && good; ++i) good = many.feed("data: 12345\n", none);
  CHECK(many.overflown());
  SseReader comment{100};
  good = true;
  for (int i = 0; i != 1'000 && good; ++i) good = comment.feed(":::::::::::", none);
  CHECK(comment.overflown());
  SseReader quiet{100};
  for (int i = 0; i != 1'000; ++i) CHECK(quiet.feed(": a comment ends\n", none));
}

TEST_CASE("sse: who takes the events may stop", "[control][sse]") {
  SseReader reader;
  int taken = 0;
  CHECK_FALSE(reader.feed("data: a\n\ndata: b\n\ndata: c\n\n", [&](const SseEvent&) { return ++taken != 2; }));
  CHECK(taken == 2);
  CHECK_FALSE(reader.overflown());
}

}  // namespace sse_test
