#include "canary/core/publish.hpp"

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <thread>
#include <vector>

namespace publish_test {

namespace {

int alive = 0;

struct Value {
  explicit Value(int n) : number{n} { ++alive; }
  ~Value() { --alive; }
  int number;
};

using Values = canary::Publication<Value>;

void dispose(Value* value) noexcept { delete value; }

void publish(Values& values, int number) {
  const auto lock = values.lock();
  values.prepare();
  values.publish(new Value{number});
}

int read(const Values& values) {
  return values.read([](const Value& value) { return value.number; });
}

TEST_CASE("publication: a reader sees the newest value", "[core][publish]") {
  {
    Values values{new Value{1}, dispose};
    CHECK(read(values) == 1);
    publish(values, 2);
    CHECK(read(values) == 2);
    CHECK(read(values) == 2);
  }
  CHECK(alive == 0);
}

TEST_CASE("publication: what nobody has pinned is freed at once", "[core][publish]") {
  Values values{new Value{0}, dispose};
  for (int i = 1; i != 100; ++i) publish(values, i);
  CHECK(alive == 1);
}

TEST_CASE("publication: a stopped reader holds back one snapshot, however many follow", "[core][publish]") {
  Values values{new Value{0}, dispose};
  Values::Reader stopped{values};
  int pinned = -1;
  stopped.read([&](const Value& value) {
    for (int i = 1; i != 100; ++i) publish(values, i);
    pinned = value.number;  // alive still
  });
  CHECK(pinned == 0);
  CHECK(alive == 2);
  CHECK(stopped.read([](const Value& value) { return value.number; }) == 99);
  publish(values, 100);
  CHECK(alive == 2);  // 99 is what the reader pins now
}

TEST_CASE("publication: readers + 1 values are alive at most", "[core][publish]") {
  Values values{new Value{0}, dispose};
  std::vector<Values::Reader> readers;
  for (int i = 0; i != 20; ++i) {
    readers.emplace_back(values).read([](const Value&) {});
    publish(values, i + 1);
  }
  CHECK(alive == 21);
  readers.clear();
  publish(values, 0);
  CHECK(alive == 1);
}

TEST_CASE("publication: more readers than prepared slots get slots all the same", "[core][publish]") {
  Values values{new Value{7}, dispose};
  {
    std::vector<Values::Reader> readers;
    for (int i = 0; i != 3'000; ++i) readers.emplace_back(values);
    int sum = 0;
    for (auto& reader : readers) sum += reader.read([](const Value& value) { return value.number; });
    CHECK(sum == 21'000);
    publish(values, 8);
    CHECK(alive == 2);
    for (auto& reader : readers) sum += reader.read([](const Value& value) { return value.number; });
    CHECK(sum == 45'000);
  }
  publish(values, 9);
  CHECK(alive == 1);
}

TEST_CASE("publication: one after another at one address, each is read for what it is", "[core][publish]") {
  for (int round = 0; round != 50; ++round) {
    auto values = std::make_unique<Values>(new Value{round}, dispose);
    CHECK(read(*values) == round);
    values.reset();
    CHECK(alive == 0);
  }
}

}  // namespace

}  // namespace publish_test
