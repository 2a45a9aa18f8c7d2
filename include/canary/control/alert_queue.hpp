// alert_queue.hpp: which alert goes to a sink next, and when: bounded, with back-off, giving up in the end. Layer control.
// Decides only, for alert_desk.hpp, which has the threads and the clock. Times are microseconds of any clock that does not
// jump. A sink that fails rests as a whole, and the alert that failed goes behind the others: one that is never taken
// holds up nobody for longer than a rest, and a receiver that is down hears one try at a time. Those of its own key go with
// it, in their order: an end that overtook its beginning would leave the receiver with what is over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "canary/control/alert.hpp"
#include "canary/control/backoff.hpp"

namespace canary {

struct AlertQueueOptions {
  std::size_t capacity = 256;    ///< alerts that wait; one more, and the oldest is dropped
  Backoff backoff = {};          ///< of the sink, after failures in a row
  std::uint32_t keep_s = 3'600;  ///< an alert that could not be delivered for so long has failed
};

/// How a sink is doing.
struct SinkStatus {
  std::string name;
  std::uint64_t queued = 0;
  std::uint64_t delivered = 0;
  std::uint64_t failed = 0;   ///< refused, or given up
  std::uint64_t dropped = 0;  ///< the queue was full
  std::string last_error;     ///< of the last try that did not deliver; empty after one that did
};

/// What one sink has before it.
class AlertQueue {
 public:
  explicit AlertQueue(const AlertQueueOptions& options) : options_{options} {}

  void push(std::shared_ptr<const Alert> alert, TimeUs now_us);

  /// The alert whose turn it is, which is out until answer(); nothing while the sink rests, or without any.
  [[nodiscard]] std::optional<Alert> take(TimeUs now_us);
  /// When take() will have one; nothing while none waits, or one is out.
  [[nodiscard]] std::optional<TimeUs> due_us() const noexcept;
  /// What became of the one that is out.
  /// Input   `draw` evenly in [0, 1).
  void answer(const Sent& sent, TimeUs now_us, double draw);

  /// From now on nobody rests, and each alert has one try left.
  void hurry() noexcept {
    last_tries_ = true;
    rests_until_us_ = 0;
  }
  /// All that waits has failed.
  void abandon(const std::string& why);

  [[nodiscard]] bool empty() const noexcept { return waiting_.empty() && !out_; }
  /// Without the name.
  [[nodiscard]] SinkStatus status() const;

 private:
  struct Entry {
    std::shared_ptr<const Alert> alert;
    std::uint64_t order = 0;
    TimeUs since_us = 0;
  };

  void put_back(Entry entry);
  void drop_oldest();

  AlertQueueOptions options_;
  std::deque<Entry> waiting_;
  std::optional<Entry> out_;
  std::uint64_t next_order_ = 0;
  std::uint64_t missed_ = 0;       // dropped, and not told yet
  std::uint64_t told_missed_ = 0;  // by the one that is out
  std::uint32_t failures_ = 0;     // in a row
  TimeUs rests_until_us_ = 0;
  bool last_tries_ = false;
  SinkStatus counts_;
};

/// Keeps what was just said from being said again: an alert passes unless one of the same key and the same `resolved` was the
/// last of that key, less than `repeat_s` ago. A change passes always, so that whoever listens never keeps the wrong one; a
/// shutdown that has come nearer is one.
class AlertRepeats {
 public:
  explicit AlertRepeats(std::uint32_t repeat_s) : repeat_us_{TimeUs{repeat_s} * 1'000'000} {}

  [[nodiscard]] bool passes(const Alert& alert, TimeUs now_us);

 private:
  static constexpr std::size_t most_keys = 10'000;  // more, and all are forgotten: said twice is better than never

  struct Said {
    TimeUs at_us;
    bool resolved;
    std::string message;  // of a shutdown alone
  };
  TimeUs repeat_us_;
  std::map<std::string, Said> said_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline void AlertQueue::push(std::shared_ptr<const Alert> alert, TimeUs now_us) {
  waiting_.push_back({std::move(alert), next_order_++, now_us});
  if (waiting_.size() > options_.capacity) drop_oldest();
}

/// Tries turn the order around, so it need not be the first.
inline void AlertQueue::drop_oldest() {
  waiting_.erase(std::min_element(waiting_.begin(), waiting_.end(),
                                  [](const Entry& a, const Entry& b) { return a.order < b.order; }));
  ++counts_.dropped;
  ++missed_;
}

/// Behind all others, but before those of its key, which came after it.
inline void AlertQueue::put_back(Entry entry) {
  const std::string& key = entry.alert->key;
  std::deque<Entry> same;
  const auto is_same = [&key](const Entry& each) { return !key.empty() && each.alert->key == key; };
  std::copy_if(waiting_.begin(), waiting_.end(), std::back_inserter(same), is_same);
  std::erase_if(waiting_, is_same);
  waiting_.push_back(std::move(entry));
  std::move(same.begin(), same.end(), std::back_inserter(waiting_));
}

inline std::optional<Alert> AlertQueue::take(TimeUs now_us) {
  if (out_ || waiting_.empty() || now_us < rests_until_us_) return {};
  out_ = std::move(waiting_.front());
  waiting_.pop_front();
  Alert alert = *out_->alert;
  alert.missed = told_missed_ = missed_;
  return alert;
}

inline std::optional<TimeUs> AlertQueue::due_us() const noexcept {
  if (out_ || waiting_.empty()) return {};
  return rests_until_us_;
}

inline void AlertQueue::answer(const Sent& sent, TimeUs now_us, double draw) {
  if (!out_) return;
  Entry entry = *std::exchange(out_, std::nullopt);
  if (sent.result == SendResult::delivered) {
    ++counts_.delivered;
    counts_.last_error.clear();
    missed_ -= told_missed_;
    failures_ = 0;
    return;
  }
  counts_.last_error = sent.message;
  const bool again = sent.result == SendResult::try_again;
  if (!again) failures_ = 0;  // it answers
  if (again && !last_tries_) {
    ++failures_;
    const TimeUs rest_ms = std::max(backoff_ms(options_.backoff, failures_, draw), sent.wait_ms);
    rests_until_us_ = now_us + rest_ms * 1'000;
  }
  if (!again || last_tries_ || now_us - entry.since_us >= TimeUs{options_.keep_s} * 1'000'000) {
    ++counts_.failed;
    return;
  }
  put_back(std::move(entry));
  if (waiting_.size() > options_.capacity) drop_oldest();
}

inline void AlertQueue::abandon(const std::string& why) {
  if (waiting_.empty()) return;
  counts_.failed += waiting_.size();
  if (counts_.last_error.empty()) counts_.last_error = why;
  waiting_.clear();
}

inline SinkStatus AlertQueue::status() const {
  SinkStatus status = counts_;
  status.queued = waiting_.size() + (out_ ? 1 : 0);
  return status;
}

inline bool AlertRepeats::passes(const Alert& alert, TimeUs now_us) {
  if (alert.key.empty()) return true;
  const auto last = said_.find(alert.key);
  const std::string message = alert.kind == AlertKind::shutdown_near ? alert.message : std::string{};
  if (last != said_.end() && last->second.resolved == alert.resolved && last->second.message == message &&
      now_us - last->second.at_us < repeat_us_)
    return false;
  if (last == said_.end() && said_.size() >= most_keys) {
    std::erase_if(said_, [&](const auto& each) { return now_us - each.second.at_us >= repeat_us_; });
    if (said_.size() >= most_keys) said_.clear();
  }
  said_.insert_or_assign(alert.key, Said{now_us, alert.resolved, message});
  return true;
}

}  // namespace canary
