// tuner_world.hpp: a store, a fake provider and a clock for tests of the tuner, each call of which can be the last.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "canary/control/fake_provider.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/memory_store.hpp"
#include "canary/control/tuner.hpp"
#include "canary/control/tuner_follow.hpp"

namespace canary::test {

/// Stands for kill -9: nothing below the test catches it.
struct Killed {};

/// A memory store whose calls can be interfered with, before and after their effect.
class InterferedStore final : public Store {
 public:
  std::function<void(std::string_view call, FakeMoment moment)> interfere = [](std::string_view, FakeMoment) {};

  StoreInfo info() override { return real_.info(); }
  std::vector<std::string> tasks() override { return real_.tasks(); }
  TaskRecord load(std::string_view task, const VersionFilter& filter) override {
    return call("load", [&] { return real_.load(task, filter); });
  }
  CommitResult commit(const Commit& change) override {
    return call("commit", [&] { return real_.commit(change); });
  }
  std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override {
    return real_.history(task, filter);
  }
  std::vector<Job> jobs(const JobFilter& filter) override {
    return call("jobs", [&] { return real_.jobs(filter); });
  }
  std::optional<Job> find_job(std::string_view id) override {
    return call("find_job", [&] { return real_.find_job(id); });
  }
  CommitResult put_job(const Job& job) override {
    return call("put_job", [&] { return real_.put_job(job); });
  }
  std::unique_ptr<Follower> follow() override { return real_.follow(); }
  void read_all(const std::function<void(TaskContents&&)>& take) override { real_.read_all(take); }
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override { real_.replace_all(next); }
  std::unique_ptr<InteractionStore> interactions() override { return real_.interactions(); }
  std::uint32_t migrate() override { return real_.migrate(); }

 private:
  template <class Effect>
  std::invoke_result_t<Effect&> call(std::string_view name, Effect effect) {
    interfere(name, FakeMoment::before);
    std::invoke_result_t<Effect&> result = effect();
    interfere(name, FakeMoment::after);
    return result;
  }

  MemoryStore real_;
};

/// Everything around a tuner. Processes come and go by process().
struct TunerWorld {
  InterferedStore store;
  FakeTuning tuning;
  TimeUs now_us = 1'796'000'000'000'000;
  int processes = 0;
  std::uint32_t settle_ms = 60'000;
  std::vector<std::uint32_t> waits_ms;

  struct Process {
    std::unique_ptr<FakeProvider> provider;
    std::unique_ptr<Tuner> tuner;
  };

  /// A new one; all before it are gone.
  [[nodiscard]] Process process() {
    Process made;
    made.provider = std::make_unique<FakeProvider>(tuning);
    TunerOptions options;
    options.holder = "process-" + std::to_string(++processes);
    options.is_gone = [holder = options.holder](const std::string& other) { return other != holder; };
    options.now_us = [this] { return now_us; };
    options.settle_ms = [this](const Job&) { return settle_ms; };
    made.tuner = std::make_unique<Tuner>(
        store, [provider = made.provider.get()](const Job&) -> Provider& { return *provider; }, options);
    return made;
  }

  [[nodiscard]] static Job wanted() {
    Job job;
    job.id = "ft-20261129-083000-abcdefgh";
    job.task = "t";
    job.provider = "fake";
    job.base_model = "base";
    job.prompt_version = "v1";
    job.training_file = "/data/train.jsonl";
    job.training_file_hash = "aa";
    job.actor = "ada";
    job.note = "a try";
    return job;
  }

  [[nodiscard]] FollowHooks hooks() {
    FollowHooks made;
    made.wait = [this](std::uint32_t wait_ms) {
      waits_ms.push_back(wait_ms);
      now_us += TimeUs{wait_ms} * 1'000;
      return waits_ms.size() < 10'000;
    };
    made.on_news = [](const Job&, const JobNews&) { return true; };
    return made;
  }

  /// What a program does that is started anew: every open job to its end.
  void resume() {
    const Process made = process();
    std::vector<Job> jobs = store.jobs({.open = true});
    follow_jobs(*made.tuner, store, jobs, hooks());
  }

  [[nodiscard]] Job stored(const std::string& id = wanted().id) { return store.find_job(id).value(); }
  [[nodiscard]] std::vector<ModelVersion> versions() { return store.load("t", {.all = true}).versions; }
  /// Jobs at the provider that were not cancelled.
  [[nodiscard]] std::size_t paid() const {
    std::size_t count = 0;
    for (const FakeTuning::Made& each : tuning.jobs()) count += each.job.status != JobStatus::cancelled ? 1 : 0;
    return count;
  }
};

}  // namespace canary::test
