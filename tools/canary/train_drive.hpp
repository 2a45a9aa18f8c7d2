// train_drive.hpp: what `canary train` follows jobs with: a tuner over the workspace's store and providers, driven until
// jobs are sent, or until they have ended.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "canary/control/job.hpp"
#include "canary/control/store.hpp"
#include "canary/control/tuner.hpp"
#include "interrupt.hpp"
#include "providers.hpp"
#include "workspace.hpp"

namespace canary::cli {

/// Ends early when a signal came.
/// Errors  Interrupted.
void wait_for(std::uint32_t wait_ms);

/// One tuner over a workspace's store and providers.
class Desk {
 public:
  Desk(const Workspace& workspace, const std::string& ca_file)
      : workspace_{workspace},
        providers_{workspace.config, readable(ca_file)},
        random_{std::random_device{}()},
        tuner_{*workspace.store, [this](const Job& job) -> Provider& { return provider_for_tuner(job); }, options()} {}

  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  [[nodiscard]] Tuner& tuner() noexcept { return tuner_; }
  [[nodiscard]] Store& store() noexcept { return *workspace_.store; }
  /// Errors  Failure invalid_input for a provider that cannot be had.
  [[nodiscard]] Provider& provider_of(const Job& job) { return providers_.of(job.provider); }
  [[nodiscard]] std::chrono::milliseconds settle_time(const Job& job) const {
    return std::chrono::milliseconds{tuner_.options().settle_ms(job)};
  }
  [[nodiscard]] Providers& providers() noexcept { return providers_; }

  /// Job ids tell their age and say nothing else; lower case, since some providers take them into a model's name.
  [[nodiscard]] std::string new_id();

 private:
  /// Before anything is stored.
  /// Errors  Failure invalid_input.
  [[nodiscard]] static std::string readable(const std::string& ca_file);
  /// One job's missing key must not end what is done for the others.
  [[nodiscard]] Provider& provider_for_tuner(const Job& job);
  [[nodiscard]] TunerOptions options();

  const Workspace& workspace_;
  Providers providers_;
  std::mt19937_64 random_;
  Tuner tuner_;
};

/// Ends a provider's calls when a signal comes, or when they have taken as long as they may: one may take half a minute, and
/// an upload an hour.
class CallEnder {
 public:
  explicit CallEnder(Providers& providers, std::chrono::seconds at_most = std::chrono::hours{24 * 365})
      : until_{std::chrono::steady_clock::now() + at_most}, thread_{[this, &providers] { watch(providers); }} {}
  CallEnder(const CallEnder&) = delete;
  CallEnder& operator=(const CallEnder&) = delete;
  ~CallEnder() {
    {
      const std::lock_guard lock{mutex_};
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void watch(Providers& providers) {
    std::unique_lock lock{mutex_};
    while (!changed_.wait_for(lock, std::chrono::milliseconds{50}, [this] { return over_; }))
      if (Interrupts::pending() || std::chrono::steady_clock::now() >= until_) providers.cancel();
  }

  const std::chrono::steady_clock::time_point until_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // begins when the rest is there
};

/// A line on stderr that begins with the job.
void tell(const Job& job, std::string_view words);

/// Until the provider has the job, or `to_the_end` until it has ended. Before the provider has it, one that does not answer as
/// it should is waited for by the `patient` alone: its adapter has tried several times by then.
/// Output  what to do about the last trouble; may be empty.
/// Errors  Failure provider where nothing more can be done; StoreError; Interrupted.
[[nodiscard]] std::string drive(Desk& desk, std::vector<Job>& jobs, bool to_the_end, bool patient);

}  // namespace canary::cli
