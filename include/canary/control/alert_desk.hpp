// alert_desk.hpp: takes alerts from any thread and brings them to every sink. Layer control.
//
// raise() puts an alert into a bounded queue for each sink and returns: it waits for no sink. A thread for each of them
// delivers, and tries again what could not be delivered, so a slow receiver is slow for itself alone. What is promised is
// at least once within `keep_s`; what still waits when the process is killed is lost. A full queue drops its oldest alert,
// counts that, and says so with the next one that arrives (Alert::missed).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "canary/control/alert.hpp"
#include "canary/control/alert_queue.hpp"
#include "canary/core/mix.hpp"

namespace canary {

struct AlertDeskOptions {
  std::string source = {};         ///< for alerts that name none: `host:pid`
  AlertQueueOptions queue = {};    ///< of each sink
  std::uint32_t repeat_s = 3'600;  ///< what was just said is not said again for so long; 0: it is
  std::uint32_t stop_ms = 2'000;   ///< at the end: what waits gets one more try, for so long
};

struct AlertDeskStatus {
  std::vector<SinkStatus> sinks;
  std::uint64_t repeated = 0;  ///< not passed on: it had just been said
  std::uint64_t lost = 0;      ///< there was no memory to take them
};

class AlertDesk {
 public:
  /// Errors  std::system_error where no thread is to be had.
  explicit AlertDesk(std::vector<std::unique_ptr<AlertSink>> sinks, AlertDeskOptions options = {});
  AlertDesk(const AlertDesk&) = delete;
  AlertDesk& operator=(const AlertDesk&) = delete;
  /// Tries what waits once more, for `stop_ms` at most, then cancels the sinks.
  ~AlertDesk();

  /// Takes an alert; an id, a source and a time are filled in where it has none.
  /// Errors  none; one that there is no memory for is counted as lost.
  /// Cost    a lock that is never held while a sink works.
  void raise(Alert alert) noexcept;

  /// Waits until nothing waits any more, or the time is over.
  /// Output  true when every queue is empty.
  bool flush(std::chrono::milliseconds at_most);

  [[nodiscard]] AlertDeskStatus status() const;

  /// What the destructor does, for who wants the status of it. Nothing is delivered from then on.
  void stop() noexcept;

 private:
  struct Worker {
    Worker(std::unique_ptr<AlertSink> to, const AlertQueueOptions& options)
        : sink{std::move(to)}, name{sink->name()}, queue{options} {}
    std::unique_ptr<AlertSink> sink;
    std::string name;
    AlertQueue queue;  // guarded by mutex_
    std::thread thread;
  };

  void run(Worker& worker);
  [[nodiscard]] bool all_empty() const noexcept;
  [[nodiscard]] double draw() noexcept;
  [[nodiscard]] static TimeUs steady_us() noexcept;
  [[nodiscard]] static Sent send(AlertSink& sink, const Alert& alert);

  AlertDeskOptions options_;
  std::string prefix_;  // of this desk's ids
  std::vector<std::unique_ptr<Worker>> workers_;
  mutable std::mutex mutex_;  // guards the queues and what follows
  std::condition_variable wake_;
  std::condition_variable settled_;
  AlertRepeats repeats_;
  std::uint64_t next_id_ = 0;
  std::uint64_t repeated_ = 0;
  std::uint64_t random_ = 0;
  bool stopping_ = false;
  bool abandoned_ = false;
  std::atomic<std::uint64_t> lost_{0};
};

// ---------------------------------------------------------------------------------------------------------------------

inline AlertDesk::AlertDesk(std::vector<std::unique_ptr<AlertSink>> sinks, AlertDeskOptions options)
    : options_{std::move(options)}, repeats_{options_.repeat_s} {
  std::random_device device;
  random_ = std::uint64_t{device()} << 32 | device();
  for (int shift = 60; shift >= 0; shift -= 4) prefix_ += "0123456789abcdef"[random_ >> shift & 15];
  random_ = detail::mix(random_);
  for (std::unique_ptr<AlertSink>& sink : sinks)
    workers_.push_back(std::make_unique<Worker>(std::move(sink), options_.queue));
  try {
    for (const auto& worker : workers_) worker->thread = std::thread{[this, &each = *worker] { run(each); }};
  } catch (...) {
    stop();
    throw;
  }
}

inline AlertDesk::~AlertDesk() { stop(); }

inline void AlertDesk::stop() noexcept {
  {
    std::unique_lock lock{mutex_};
    stopping_ = true;
    for (const auto& worker : workers_) worker->queue.hurry();
    wake_.notify_all();
    settled_.wait_for(lock, std::chrono::milliseconds{options_.stop_ms}, [this] { return all_empty(); });
    abandoned_ = true;
  }
  wake_.notify_all();
  for (const auto& worker : workers_) worker->sink->cancel();
  for (const auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
}

inline void AlertDesk::raise(Alert alert) noexcept {
  try {
    if (alert.source.empty()) alert.source = options_.source;
    if (alert.at_us == 0)
      alert.at_us =
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
              .count();
    const std::lock_guard lock{mutex_};
    const TimeUs now_us = steady_us();
    if (!repeats_.passes(alert, now_us)) {
      ++repeated_;
      return;
    }
    if (alert.id.empty()) alert.id = prefix_ + '-' + std::to_string(++next_id_);
    const auto shared = std::make_shared<const Alert>(std::move(alert));
    for (const auto& worker : workers_) worker->queue.push(shared, now_us);
  } catch (...) {
    lost_.fetch_add(1, std::memory_order_relaxed);
  }
  wake_.notify_all();
}

inline bool AlertDesk::flush(std::chrono::milliseconds at_most) {
  std::unique_lock lock{mutex_};
  return settled_.wait_for(lock, at_most, [this] { return all_empty(); });
}

inline AlertDeskStatus AlertDesk::status() const {
  AlertDeskStatus status;
  const std::lock_guard lock{mutex_};
  for (const auto& worker : workers_) {
    status.sinks.push_back(worker->queue.status());
    status.sinks.back().name = worker->name;
  }
  status.repeated = repeated_;
  status.lost = lost_.load(std::memory_order_relaxed);
  return status;
}

inline bool AlertDesk::all_empty() const noexcept {
  return std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->queue.empty(); });
}

/// Evenly in [0, 1).
inline double AlertDesk::draw() noexcept {
  random_ += 0x9E37'79B9'7F4A'7C15;
  return static_cast<double>(detail::mix(random_) >> 11) * 0x1p-53;
}

inline TimeUs AlertDesk::steady_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline Sent AlertDesk::send(AlertSink& sink, const Alert& alert) {
  try {
    return sink.send(alert);
  } catch (const std::exception& error) {
    return {SendResult::try_again, error.what()};
  } catch (...) {
    return {SendResult::try_again, "it threw what is no exception"};
  }
}

inline void AlertDesk::run(Worker& worker) {
  std::unique_lock lock{mutex_};
  while (!abandoned_) {
    if (const std::optional<Alert> alert = worker.queue.take(steady_us())) {
      lock.unlock();
      const Sent sent = send(*worker.sink, *alert);
      lock.lock();
      worker.queue.answer(sent, steady_us(), draw());
      if (worker.queue.empty()) settled_.notify_all();
      continue;
    }
    if (stopping_) break;  // nobody rests any more, so nothing waits
    if (const std::optional<TimeUs> due = worker.queue.due_us())
      wake_.wait_until(lock, std::chrono::steady_clock::time_point{std::chrono::microseconds{*due}});
    else
      wake_.wait(lock);
  }
  worker.queue.abandon("the program ended before it could be delivered");
}

}  // namespace canary
