// fake_provider.hpp: a Provider that needs nothing, for tests and for trying things out. Layer control.
// Its world outlives it, as a real provider outlives a process: make a FakeTuning, and a FakeProvider for each process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "canary/control/provider.hpp"

namespace canary {

/// When a call of a FakeProvider is interfered with.
enum class FakeMoment : std::uint8_t { before, after };

/// What a fake provider has. Any thread may use it.
class FakeTuning {
 public:
  struct Made {
    ProviderJob job;
    std::string made_for;  ///< id of our job
    std::string base_model;
    std::vector<JobEvent> events;
    std::vector<Checkpoint> checkpoints;
    std::uint32_t looks_left = 2;    ///< get_job() this often before it ends
    std::uint32_t hidden_looks = 0;  ///< find_jobs() this often before it shows
    JobStatus end = JobStatus::succeeded;
    std::string error = {};  ///< of a failure
  };

  /// Called before and after the effect of each call; what it throws, the caller gets.
  std::function<void(std::string_view call, FakeMoment moment)> interfere = [](std::string_view, FakeMoment) {};
  /// Called on each job when it is made.
  std::function<void(Made&)> on_made = [](Made&) {};
  std::string shutdown_date = {};  ///< of every model

  [[nodiscard]] std::vector<Made> jobs() const {
    const std::lock_guard lock{mutex_};
    return jobs_;
  }
  /// A job that has succeeded without naming its model names it from now on.
  void name_models() {
    const std::lock_guard lock{mutex_};
    for (Made& each : jobs_)
      if (each.job.status == JobStatus::succeeded) each.job.model = "ft:" + each.base_model + ':' + each.made_for;
  }
  [[nodiscard]] std::uint64_t files() const {
    const std::lock_guard lock{mutex_};
    return files_;
  }

 private:
  friend class FakeProvider;
  mutable std::mutex mutex_;
  std::vector<Made> jobs_;
  std::uint64_t files_ = 0;
};

class FakeProvider final : public Provider {
 public:
  explicit FakeProvider(FakeTuning& tuning) : tuning_{tuning} {}

  [[nodiscard]] std::string place() const override { return "a fake provider"; }

  [[nodiscard]] std::string upload(const std::string& path, const UploadProgress& progress) override {
    return call("upload", [&] {
      if (path.empty()) throw ProviderError{ProviderErrc::refused, "no file", "name one"};
      if (progress) progress(1, 1);
      return "file-" + std::to_string(++tuning_.files_);
    });
  }

  [[nodiscard]] ProviderJob create_job(const Job& job) override {
    return call("create_job", [&] {
      FakeTuning::Made made;
      made.job.id = "fake-" + std::to_string(tuning_.jobs_.size() + 1);
      made.job.provider_status = "queued";
      made.job.seed = job.method.seed;
      made.made_for = job.id;
      made.base_model = job.base_model;
      made.events.push_back({made.job.id + "-1", 0, "info", "created"});
      tuning_.on_made(made);
      tuning_.jobs_.push_back(made);
      return made.job;
    });
  }

  [[nodiscard]] std::vector<ProviderJob> find_jobs(const Job& job, std::int64_t) override {
    return call("find_jobs", [&] {
      std::vector<ProviderJob> found;
      for (FakeTuning::Made& each : tuning_.jobs_) {
        if (each.made_for != job.id) continue;
        if (each.hidden_looks == 0)
          found.push_back(each.job);
        else
          --each.hidden_looks;
      }
      return found;
    });
  }

  [[nodiscard]] ProviderJob get_job(const std::string& id) override {
    return call("get_job", [&] {
      FakeTuning::Made& made = find(id);
      if (!has_ended(made.job.status)) advance(made);
      return made.job;
    });
  }

  [[nodiscard]] ProviderJob cancel_job(const std::string& id) override {
    return call("cancel_job", [&] {
      FakeTuning::Made& made = find(id);
      if (has_ended(made.job.status)) throw ProviderError{ProviderErrc::refused, "the job has ended"};
      made.job.status = JobStatus::cancelled;
      made.job.provider_status = "cancelled";
      made.events.push_back({id + '-' + std::to_string(made.events.size() + 1), 0, "warn", "cancelled"});
      return made.job;
    });
  }

  [[nodiscard]] std::vector<JobEvent> events(const std::string& id, const std::string& after) override {
    return call("events", [&] {
      const std::vector<JobEvent>& all = find(id).events;
      const auto last = std::find_if(all.begin(), all.end(), [&](const JobEvent& each) { return each.id == after; });
      return std::vector<JobEvent>{last == all.end() ? all.begin() : last + 1, all.end()};
    });
  }

  [[nodiscard]] std::vector<Checkpoint> checkpoints(const std::string& id) override {
    return call("checkpoints", [&] { return find(id).checkpoints; });
  }

  [[nodiscard]] std::string shutdown_date(const std::string&) override {
    return call("shutdown_date", [&] { return tuning_.shutdown_date; });
  }

  void cancel() noexcept override {}

 private:
  /// `interfere` may look at what there is, so it is called without the lock.
  template <class Effect>
  std::invoke_result_t<Effect&> call(std::string_view name, Effect effect) {
    tuning_.interfere(name, FakeMoment::before);
    std::invoke_result_t<Effect&> result = [&] {
      const std::lock_guard lock{tuning_.mutex_};
      return effect();
    }();
    tuning_.interfere(name, FakeMoment::after);
    return result;
  }

  [[nodiscard]] FakeTuning::Made& find(const std::string& id) {
    for (FakeTuning::Made& each : tuning_.jobs_)
      if (each.job.id == id) return each;
    throw ProviderError{ProviderErrc::not_found, "no job " + id, "it may be another account's"};
  }

  static void advance(FakeTuning::Made& made) {
    made.job.status = JobStatus::running;
    made.job.provider_status = "running";
    if (made.looks_left != 0) --made.looks_left;
    if (made.looks_left != 0) return;
    made.job.status = made.end;
    made.job.trained_tokens = 1'000;
    made.job.provider_status = made.end == JobStatus::succeeded ? "succeeded"
                               : made.end == JobStatus::failed  ? "failed"
                                                                : "cancelled";
    if (made.end == JobStatus::succeeded) made.job.model = "ft:" + made.base_model + ':' + made.made_for;
    if (made.end == JobStatus::failed) made.job.error = made.error;
    made.events.push_back({made.job.id + "-end", 0, "info", made.job.provider_status});
  }

  FakeTuning& tuning_;
};

}  // namespace canary
