#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/core/text_ring.hpp"
#include "history.hpp"

namespace text_ring_test {

using namespace canary;

namespace {

/// A ring and what it stands on.
struct Ring {
  explicit Ring(std::size_t size) : bytes(size) {}
  /// As the next process finds it.
  void begin_again() { ring = std::make_unique<TextRing>(bytes.data(), bytes.size(), written); }

  std::vector<char> bytes;
  TextRing::Counter written{0};
  std::unique_ptr<TextRing> ring = std::make_unique<TextRing>(bytes.data(), bytes.size(), written);
};

/// Texts that tell their id, with every byte there is.
std::string text_of(std::uint64_t id, std::size_t size) {
  std::string text(size, '\0');
  test::Random random{id};
  for (char& each : text) each = static_cast<char>(random.next());
  return text;
}

constexpr std::size_t head_bytes = 32;

}  // namespace

TEST_CASE("texts: they come out as they went in, over many laps, round the end and when there is no text",
          "[text_ring]") {
  Ring ring{4'096};
  test::Random random{1};
  struct Expected {
    std::uint64_t id;
    std::string request;
    std::string response;
  };
  std::deque<Expected> inside;
  std::uint64_t position = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t id = 1; id != 20'000 || !inside.empty();) {
    const bool push = id != 20'000 && random.below(2) == 0;
    if (push) {
      const std::size_t sizes[] = {0, random.below(40), random.below(700)};
      Expected next{id, text_of(id, sizes[random.below(3)]), text_of(id + 1, sizes[random.below(3)])};
      if (ring.ring->push(id, 7, next.request, next.response)) {
        inside.push_back(std::move(next));
        ++id;
      } else {
        ++refused;
      }
    } else {
      Texts texts;
      const bool any = ring.ring->read(position, texts);
      REQUIRE(any == !inside.empty());
      if (!any) continue;
      REQUIRE(texts.id == inside.front().id);
      REQUIRE(texts.request == inside.front().request);
      REQUIRE(texts.response == inside.front().response);
      inside.pop_front();
      ring.ring->release(position);
    }
  }
  CHECK(position == ring.ring->written());
  CHECK(position > 500 * ring.bytes.size());
  CHECK(refused > 100);
}

TEST_CASE("texts: what is too large, or finds no room, is refused and changes nothing", "[text_ring]") {
  Ring ring{1'024};
  const std::string most = text_of(1, 1'024 - head_bytes);
  CHECK_FALSE(ring.ring->push(1, 7, text_of(1, 1'025), ""));
  CHECK_FALSE(ring.ring->push(1, 7, "", text_of(1, 1'025)));
  CHECK_FALSE(ring.ring->push(1, 7, most, "x"));
  CHECK_FALSE(ring.ring->push(1, 7, text_of(1, 1'024), text_of(1, 1'024)));
  CHECK(ring.ring->written() == 0);
  REQUIRE(ring.ring->push(1, 7, most, ""));
  CHECK_FALSE(ring.ring->push(2, 7, "", ""));
  std::uint64_t position = 0;
  Texts texts;
  REQUIRE(ring.ring->read(position, texts));
  CHECK(texts.request == most);
  CHECK_FALSE(ring.ring->push(2, 7, "", ""));  // read, but not released
  ring.ring->release(position);
  CHECK(ring.ring->push(2, 7, "", ""));
  CHECK(ring.ring->push(3, 7, text_of(3, 1'024 - 2 * head_bytes), ""));  // to the last byte
  CHECK_FALSE(ring.ring->push(4, 7, "", ""));
}

TEST_CASE("texts: a byte that changed is noticed, wherever it stands, and what follows is read or left out whole",
          "[text_ring]") {
  Ring ring{1'024};
  for (std::uint64_t id = 1; id != 6; ++id) REQUIRE(ring.ring->push(id, 7, text_of(id, 60), text_of(id + 1, 50)));
  const std::vector<char> whole = ring.bytes;
  const std::size_t frame = (head_bytes + 110 + 7) / 8 * 8;
  std::size_t padding = 0;
  for (std::size_t at = 0; at != ring.written; ++at) {
    for (const int flip : {1, 0x80, 0xFF}) {
      ring.bytes = whole;
      ring.bytes[at] = static_cast<char>(ring.bytes[at] ^ flip);
      std::vector<std::uint64_t> ids;
      std::uint64_t position = 0;
      for (Texts texts; ring.ring->read(position, texts);) {
        if (texts.id != 0) {
          REQUIRE(texts.request == text_of(texts.id, 60));
          REQUIRE(texts.response == text_of(texts.id + 1, 50));
        }
        ids.push_back(texts.id);
      }
      REQUIRE(position == ring.written);
      const std::size_t damaged = at / frame;
      if (at % frame >= head_bytes + 110) {
        ++padding;
        REQUIRE(ids == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
        continue;
      }
      for (std::size_t i = 0; i != damaged; ++i) REQUIRE(ids[i] == i + 1);
      REQUIRE(ids.size() > damaged);
      REQUIRE(ids[damaged] == 0);
    }
  }
  CHECK(padding == 3 * 5 * (frame - head_bytes - 110));
}

TEST_CASE("texts: random bytes are never taken for texts, and never read beyond the ring", "[text_ring]") {
  test::Random random{7};
  for (int round = 0; round != 2'000 * test::soak_factor(); ++round) {
    Ring ring{std::size_t{64} << random.below(5)};
    for (char& each : ring.bytes) each = static_cast<char>(random.below(3) == 0 ? 0 : random.next());
    ring.written = random.next() >> random.below(64);
    ring.begin_again();
    const std::uint64_t size = ring.bytes.size();
    std::uint64_t position =
        ring.written - std::min<std::uint64_t>(ring.written, random.below(2) == 0 ? size : size / 3);
    int frames = 0;
    for (Texts texts; ring.ring->read(position, texts); ++frames) REQUIRE(texts.id == 0);
    REQUIRE(position == ring.written);
    REQUIRE(frames <= static_cast<int>(size / head_bytes) + 1);
  }
}

TEST_CASE("texts: after a crash they go on where `written` says, and overwrite nothing that was not released",
          "[text_ring]") {
  Ring ring{1'024};
  std::uint64_t position = 0;
  Texts texts;
  for (std::uint64_t id = 1; id != 100; ++id) {
    REQUIRE(ring.ring->push(id, 7, text_of(id, 70), ""));
    if (id > 5) {
      REQUIRE(ring.ring->read(position, texts));
      ring.ring->release(position);
    }
  }
  ring.begin_again();
  CHECK_FALSE(ring.ring->push(100, 7, "", ""));  // nobody has said yet how far it was drained
  ring.ring->release(position);
  while (ring.ring->push(100, 7, text_of(100, 70), "")) continue;
  for (std::uint64_t id = 95; id != 100; ++id) {
    REQUIRE(ring.ring->read(position, texts));
    CHECK(texts.id == id);
    CHECK(texts.request == text_of(id, 70));
  }
  REQUIRE(ring.ring->read(position, texts));
  CHECK(texts.id == 100);
}

TEST_CASE("texts: one thread pushes while another reads, and nothing is lost, doubled or torn", "[text_ring]") {
  Ring ring{4'096};
  const std::uint64_t count = test::full_speed ? 300'000 : 30'000;
  std::thread writer{[&] {
    for (std::uint64_t id = 1; id <= count; ++id)
      while (!ring.ring->push(id, 7, text_of(id, id % 97), text_of(id * 3, id % 61))) std::this_thread::yield();
  }};
  std::uint64_t position = 0;
  std::uint64_t wrong = 0;
  for (std::uint64_t id = 1; id <= count; ++id) {
    Texts texts;
    while (!ring.ring->read(position, texts)) std::this_thread::yield();
    wrong += texts.id != id || texts.request != text_of(id, id % 97) || texts.response != text_of(id * 3, id % 61);
    ring.ring->release(position);
  }
  writer.join();
  CHECK(wrong == 0);
  CHECK(position == ring.ring->written());
}

}  // namespace text_ring_test
