// tuner_follow.hpp: many fine-tune jobs, followed to their end by one thread. Layer control.
// Each job has its own time for its next step, by back-off and with jitter, so that a hundred jobs are a hundred small
// requests spread over a minute and not a burst. A store that cannot be reached stops nothing at the provider: it is tried
// again until it is back, and the jobs go on from their rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "canary/control/backoff.hpp"
#include "canary/control/job.hpp"
#include "canary/control/provider.hpp"
#include "canary/control/store.hpp"
#include "canary/control/tuner.hpp"

namespace canary {

/// What follow_jobs() is given by who wants to see and to stop it.
struct FollowHooks {
  /// Waits so long; false ends the following.
  std::function<bool(std::uint32_t wait_ms)> wait;
  /// After each step. False: this job is not followed any further.
  std::function<bool(const Job& job, const JobNews& news)> on_news;
  UploadProgress progress = {};
  /// The store cannot do what it is asked to. False ends the following.
  std::function<bool(const StoreError& error)> on_store = [](const StoreError&) { return false; };
  Backoff store{.first_ms = 500, .longest_ms = 30'000};
};

/// Takes steps until every job has ended or is not followed any further.
/// Output  `jobs` as the store has them.
/// Errors  RegistryError for a job that the store does not have any more.
inline void follow_jobs(Tuner& tuner, Store& store, std::vector<Job>& jobs, const FollowHooks& hooks) {
  struct Place {
    Job* job;
    TimeUs due_us = 0;
  };
  std::vector<Place> open;
  open.reserve(jobs.size());
  for (Job& job : jobs) open.push_back({&job});
  std::uint32_t store_failures = 0;
  while (!open.empty()) {
    const auto next =
        std::min_element(open.begin(), open.end(), [](const Place& a, const Place& b) { return a.due_us < b.due_us; });
    const TimeUs now = tuner.options().now_us();
    if (next->due_us > now && !hooks.wait(static_cast<std::uint32_t>((next->due_us - now + 999) / 1'000))) return;
    bool goes_on = true;
    std::uint32_t wait_ms = 0;
    try {
      if (store_failures != 0) {  // it may have become another's in the meantime
        if (std::optional<Job> stored = store.find_job(next->job->id)) *next->job = *std::move(stored);
        store_failures = 0;
      }
      const JobNews news = tuner.step(*next->job, hooks.progress);
      goes_on = hooks.on_news(*next->job, news) && news.kind != JobNews::Kind::closed;
      wait_ms = news.wait_ms;
      if (news.kind == JobNews::Kind::held)
        if (std::optional<Job> stored = store.find_job(next->job->id)) *next->job = *std::move(stored);
    } catch (const StoreError& error) {
      if (!hooks.on_store(error)) throw;
      wait_ms = backoff_ms(hooks.store, ++store_failures, tuner.options().draw());
    }
    if (goes_on)
      next->due_us = tuner.options().now_us() + TimeUs{wait_ms} * 1'000;
    else
      open.erase(next);
  }
}

}  // namespace canary
