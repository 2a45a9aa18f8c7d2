// Alerts from any thread to every sink: none waits for another, none is lost in silence.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/log_alert.hpp"
#include "canary/control/alert_desk.hpp"

namespace alert_desk_test {

using namespace canary;

namespace {

constexpr std::chrono::seconds long_enough{60};

/// What a test tells sinks to do, and what they were given; outlives the desk.
class Script {
 public:
  /// Answers, in turn; without any left, delivered.
  void answer(std::vector<Sent> sents) {
    const std::lock_guard lock{mutex_};
    answers_ = std::move(sents);
    next_ = 0;
  }
  void hold() {
    const std::lock_guard lock{mutex_};
    held_ = true;
  }
  void release() {
    const std::lock_guard lock{mutex_};
    held_ = false;
    changed_.notify_all();
  }
  void cancel() {
    const std::lock_guard lock{mutex_};
    cancelled_ = true;
    changed_.notify_all();
  }
  Sent send(const Alert& alert) {
    std::unique_lock lock{mutex_};
    seen_.push_back(alert);
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_ || cancelled_; });
    if (cancelled_) return {SendResult::try_again, "cancelled"};
    return next_ < answers_.size() ? answers_[next_++] : Sent{};
  }
  /// Waits for so many calls.
  std::vector<Alert> seen(std::size_t at_least) {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, long_enough, [&] { return seen_.size() >= at_least; }))
      throw std::runtime_error{"the alerts do not come"};
    return seen_;
  }
  [[nodiscard]] bool cancelled() {
    const std::lock_guard lock{mutex_};
    return cancelled_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Sent> answers_;
  std::size_t next_ = 0;
  std::vector<Alert> seen_;
  bool held_ = false;
  bool cancelled_ = false;
};

class ScriptedSink : public AlertSink {
 public:
  explicit ScriptedSink(std::string name, Script& script) : name_{std::move(name)}, script_{script} {}
  std::string name() const override { return name_; }
  Sent send(const Alert& alert) override { return script_.send(alert); }
  void cancel() noexcept override { script_.cancel(); }

 private:
  std::string name_;
  Script& script_;
};

class ThrowingSink : public AlertSink {
 public:
  explicit ThrowingSink(std::atomic<int>& calls) : calls_{calls} {}
  std::string name() const override { return "throws"; }
  Sent send(const Alert&) override {
    if (++calls_ == 1) throw std::runtime_error{"it broke"};
    if (calls_ == 2) throw 5;  // NOLINT
    return {};
  }

 private:
  std::atomic<int>& calls_;
};

template <class... Sinks>
std::vector<std::unique_ptr<AlertSink>> list(Sinks... sinks) {
  std::vector<std::unique_ptr<AlertSink>> all;
  (all.push_back(std::move(sinks)), ...);
  return all;
}

std::unique_ptr<AlertSink> scripted(const std::string& name, Script& script) {
  return std::make_unique<ScriptedSink>(name, script);
}

AlertDeskOptions quick() { return {.source = "me:1", .queue = {.backoff = {.first_ms = 1, .longest_ms = 2}}}; }

Alert named(const std::string& message, const std::string& key = {}) {
  Alert alert;
  alert.message = message;
  alert.key = key;
  return alert;
}

}  // namespace

TEST_CASE("alert desk: every sink gets every alert once, with an id, a source and a time", "[adapters][alert]") {
  Script one;
  Script two;
  AlertDesk desk{list(scripted("one", one), scripted("two", two)), quick()};
  desk.raise(named("a"));
  desk.raise(named("b"));
  REQUIRE(desk.flush(long_enough));
  const std::vector<Alert> seen = one.seen(2);
  CHECK(seen == two.seen(2));
  CHECK(seen[0].message == "a");
  CHECK(seen[0].source == "me:1");
  CHECK(seen[0].at_us > 0);
  CHECK_FALSE(seen[0].id.empty());
  CHECK(seen[0].id != seen[1].id);
  const AlertDeskStatus status = desk.status();
  CHECK(status.sinks[1].name == "two");
  CHECK(status.sinks[1].delivered == 2);
  CHECK(status.sinks[1].queued == 0);
}

TEST_CASE("alert desk: raise does not wait for a slow sink, nor does another sink", "[adapters][alert]") {
  Script slow;
  Script fast;
  slow.hold();
  AlertDesk desk{list(scripted("slow", slow), scripted("fast", fast)), quick()};
  for (int i = 0; i != 10; ++i) desk.raise(named("a" + std::to_string(i)));
  CHECK(fast.seen(10).size() == 10);
  CHECK(slow.seen(1).size() == 1);
  CHECK(desk.status().sinks[0].queued == 10);
  slow.release();
  REQUIRE(desk.flush(long_enough));
  CHECK(slow.seen(10).size() == 10);
}

TEST_CASE("alert desk: a sink that throws has failed, and is asked again", "[adapters][alert]") {
  std::atomic<int> calls{0};
  AlertDesk desk{list(std::make_unique<ThrowingSink>(calls)), quick()};
  desk.raise(named("a"));
  REQUIRE(desk.flush(long_enough));
  CHECK(calls == 3);
  CHECK(desk.status().sinks[0].delivered == 1);
}

TEST_CASE("alert desk: what is refused is counted, with the words, and not asked again", "[adapters][alert]") {
  Script script;
  script.answer({{SendResult::refused, "404"}});
  AlertDesk desk{list(scripted("one", script)), quick()};
  desk.raise(named("a"));
  REQUIRE(desk.flush(long_enough));
  CHECK(desk.status().sinks[0].failed == 1);
  CHECK(desk.status().sinks[0].last_error == "404");
  CHECK(script.seen(1).size() == 1);
}

TEST_CASE("alert desk: a failed try comes again with the same id", "[adapters][alert]") {
  Script script;
  script.answer({{SendResult::try_again, "down"}, {SendResult::try_again, "down"}});
  AlertDesk desk{list(scripted("one", script)), quick()};
  desk.raise(named("a"));
  REQUIRE(desk.flush(long_enough));
  const std::vector<Alert> seen = script.seen(3);
  CHECK(seen.size() == 3);
  CHECK(seen[0] == seen[2]);
}

TEST_CASE("alert desk: a full queue drops its oldest and tells how many", "[adapters][alert]") {
  Script script;
  script.hold();
  AlertDeskOptions options = quick();
  options.queue.capacity = 2;
  AlertDesk desk{list(scripted("one", script)), options};
  desk.raise(named("out"));
  (void)script.seen(1);
  for (const char* name : {"a", "b", "c", "d"}) desk.raise(named(name));
  CHECK(desk.status().sinks[0].dropped == 2);
  script.release();
  REQUIRE(desk.flush(long_enough));
  const std::vector<Alert> seen = script.seen(3);
  REQUIRE(seen.size() == 3);
  CHECK(seen[1].message == "c");
  CHECK(seen[1].missed == 2);
  CHECK(seen[2].missed == 0);
}

TEST_CASE("alert desk: what was just said is not said again, and is counted", "[adapters][alert]") {
  Script script;
  AlertDesk desk{list(scripted("one", script)), quick()};
  desk.raise(named("a", "k"));
  desk.raise(named("b", "k"));
  desk.raise(named("c", "other"));
  REQUIRE(desk.flush(long_enough));
  CHECK(script.seen(2).size() == 2);
  CHECK(desk.status().repeated == 1);
}

TEST_CASE("alert desk: at its end it tries what waits once more, without a rest", "[adapters][alert]") {
  Script script;
  script.answer({{SendResult::try_again, "down"}});
  AlertDeskOptions options = quick();
  options.queue.backoff = {.first_ms = 3'600'000, .longest_ms = 3'600'000};
  {
    AlertDesk desk{list(scripted("one", script)), options};
    desk.raise(named("a"));
    (void)script.seen(1);
    while (desk.status().sinks[0].last_error.empty()) std::this_thread::yield();  // it rests for an hour now
  }
  CHECK(script.seen(2).size() == 2);
}

TEST_CASE("alert desk: at its end a sink that hangs is cancelled", "[adapters][alert]") {
  Script script;
  script.hold();
  AlertDeskOptions options = quick();
  options.stop_ms = 20;
  {
    AlertDesk desk{list(scripted("one", script)), options};
    for (const char* name : {"a", "b", "c"}) desk.raise(named(name));
    (void)script.seen(1);
  }
  CHECK(script.cancelled());
  CHECK(script.seen(1).size() == 1);
}

TEST_CASE("alert desk: once it has stopped its status says what was not delivered", "[adapters][alert]") {
  Script script;
  script.hold();
  AlertDeskOptions options = quick();
  options.stop_ms = 20;
  AlertDesk desk{list(scripted("one", script)), options};
  for (const char* name : {"a", "b", "c"}) desk.raise(named(name));
  (void)script.seen(1);
  desk.stop();
  CHECK(desk.status().sinks[0].queued == 0);
  CHECK(desk.status().sinks[0].failed == 3);
  desk.stop();  // again, as its end does
  CHECK(script.seen(1).size() == 1);
}

TEST_CASE("alert desk: many threads raise, and every alert arrives", "[adapters][alert]") {
  Script script;
  AlertDeskOptions options = quick();
  options.queue.capacity = 10'000;
  AlertDesk desk{list(scripted("one", script)), options};
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t)
    threads.emplace_back([&desk, t] {
      for (int i = 0; i != 200; ++i) desk.raise(named(std::to_string(t * 1'000 + i)));
    });
  for (std::thread& each : threads) each.join();
  REQUIRE(desk.flush(long_enough));
  CHECK(script.seen(800).size() == 800);
}

TEST_CASE("alert desk: without a sink it takes alerts all the same", "[adapters][alert]") {
  AlertDesk desk{{}, quick()};
  desk.raise(named("a"));
  CHECK(desk.flush(long_enough));
}

TEST_CASE("log sink: one line that no terminal obeys", "[adapters][alert]") {
  Alert alert = named("two\nlines \x1B[31mred\xFF");
  alert.kind = AlertKind::drops;
  alert.task = "checks";
  alert.hint = "do";
  alert.missed = 2;
  CHECK(alert_line(alert) ==
        "1970-01-01T00:00:00Z canary alert: drops checks: two?lines ?[31mred?; do (2 alerts before this "
        "one were dropped)");
  alert.resolved = true;
  CHECK(alert_line(alert).find("drops resolved checks") != std::string::npos);
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  LogSink sink{file};
  CHECK(sink.send(alert).result == SendResult::delivered);
  CHECK(std::ftell(file) == static_cast<long>(alert_line(alert).size() + 1));
  std::fclose(file);
  std::FILE* full = std::fopen("/dev/full", "w");
  if (full == nullptr) return;
  LogSink broken{full};
  CHECK(broken.send(alert).result == SendResult::try_again);
  std::fclose(full);
}

TEST_CASE("log sink: a pipe that nobody reads holds up neither the sink nor its end", "[adapters][alert]") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_NONBLOCK) == 0);
  const std::string filler(4'096, 'x');
  while (::write(ends[1], filler.data(), filler.size()) > 0) continue;
  REQUIRE(::fcntl(ends[1], F_SETFL, 0) == 0);  // as stderr is
  std::FILE* stream = ::fdopen(ends[1], "w");
  REQUIRE(stream != nullptr);
  LogSink sink{stream};
  const Sent stuck = sink.send(named("a"));
  CHECK(stuck.result == SendResult::try_again);
  CHECK(stuck.message == "nobody reads the log");
  {
    AlertDesk desk{list(std::make_unique<LogSink>(stream)), {.stop_ms = 20}};
    for (int i = 0; i != 50; ++i) desk.raise(named("a" + std::to_string(i)));  // two seconds each would be long
  }
  sink.cancel();
  CHECK(sink.send(named("a")).result == SendResult::try_again);
  std::string read(filler.size(), ' ');
  LogSink later{stream};
  REQUIRE(::read(ends[0], read.data(), read.size()) == static_cast<ssize_t>(read.size()));
  CHECK(later.send(named("b")).result == SendResult::delivered);
  ::close(ends[0]);
  const Sent gone = later.send(named("c"));  // and no SIGPIPE
  CHECK(gone.result == SendResult::try_again);
  CHECK(gone.message == "nobody reads the log any more");
  std::fclose(stream);
}

TEST_CASE("process name: host and process", "[adapters][alert]") {
  CHECK(process_name().ends_with(':' + std::to_string(::getpid())));
}

}  // namespace alert_desk_test
