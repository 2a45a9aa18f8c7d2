#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "tuner_world.hpp"

namespace tuner_test {

namespace {

using namespace canary;
using canary::test::Killed;
using canary::test::TunerWorld;

/// One process that starts the job and follows it to its end.
void run_once(TunerWorld& world) {
  const TunerWorld::Process process = world.process();
  std::vector<Job> jobs{TunerWorld::wanted()};
  process.tuner->add(jobs.front());
  follow_jobs(*process.tuner, world.store, jobs, world.hooks());
}

void check_one_of_each(TunerWorld& world) {
  const Job job = world.stored();
  CHECK(job.status == JobStatus::succeeded);
  CHECK(job.phase == JobPhase::closed);
  CHECK(world.tuning.jobs().size() == 1);
  const std::vector<ModelVersion> versions = world.versions();
  REQUIRE(versions.size() == 1);
  CHECK(versions[0].lineage.job == job.id);
  CHECK(job.version == 1);
}

}  // namespace

TEST_CASE("tuner: success registers a candidate at 0 % with its lineage", "[control][tuner]") {
  TunerWorld world;
  world.tuning.shutdown_date = "2027-01-14";
  world.tuning.on_made = [](FakeTuning::Made& made) {
    made.checkpoints = {{"ft:base:step-1", 1, R"({"train_loss":0.5})"}};
    made.job.seed = 7;
  };
  run_once(world);
  check_one_of_each(world);
  const ModelVersion made = world.versions().front();
  CHECK(made.status == Status::candidate);
  CHECK(made.weight_ppm == 0);
  CHECK(made.model == "ft:base:" + TunerWorld::wanted().id);
  CHECK(made.provider == "fake");
  CHECK(made.shutdown_date == "2027-01-14");
  CHECK(made.lineage == Lineage{TunerWorld::wanted().id, "aa", "base", "v1"});
  const Job job = world.stored();
  CHECK(job.checkpoints.size() == 1);
  CHECK(job.trained_tokens == 1'000);
  CHECK(job.method.seed == 7U);
  CHECK(job.holder.empty());
  const std::vector<HistoryRow> history = world.store.history("t", {});
  REQUIRE(history.size() == 1);
  CHECK(history[0].action == "register");
  CHECK(history[0].actor == "ada");
  CHECK(history[0].note == "a try");
}

TEST_CASE("tuner: killed before or after any call, there is one job and one version in the end", "[control][tuner]") {
  // Which call is the last of the first process, counted over store and provider; until a run needs no kill.
  int killed = 0;
  for (int last = 0;; ++last) {
    TunerWorld world;
    int calls = 0;
    bool armed = true;
    const auto interfere = [&](std::string_view, FakeMoment) {
      if (armed && calls++ == last) throw Killed{};
    };
    world.store.interfere = interfere;
    world.tuning.interfere = interfere;
    bool ended = true;
    try {
      run_once(world);
    } catch (const Killed&) {
      ended = false;
    }
    armed = false;
    if (!world.store.find_job(TunerWorld::wanted().id)) {
      CHECK(world.tuning.jobs().empty());  // nothing was sent before it was stored
      ++killed;
      continue;
    }
    world.resume();
    INFO("killed at call " << last);
    check_one_of_each(world);
    if (ended) break;
    ++killed;
  }
  CHECK(killed > 20);
}

TEST_CASE("tuner: killed again and again at random, there is one job and one version in the end", "[control][tuner]") {
  for (std::uint32_t seed = 1; seed <= 500; ++seed) {
    std::mt19937 random{seed};
    TunerWorld world;
    int kills_left = 8;
    const auto interfere = [&](std::string_view, FakeMoment) {
      if (kills_left > 0 && random() % 7 == 0) {
        --kills_left;
        throw Killed{};
      }
    };
    world.store.interfere = interfere;
    world.tuning.interfere = interfere;
    const auto survive = [&](const auto& what) {
      try {
        what();
        return true;
      } catch (const Killed&) {
        return false;
      }
    };
    (void)survive([&] { run_once(world); });
    const auto is_there = [&] {
      const int kept = std::exchange(kills_left, 0);
      const bool there = world.store.find_job(TunerWorld::wanted().id).has_value();
      kills_left = kept;
      return there;
    };
    if (!is_there()) continue;
    while (!survive([&] { world.resume(); })) continue;
    kills_left = 0;
    INFO("seed " << seed);
    check_one_of_each(world);
  }
}

TEST_CASE("tuner: whatever the provider fails with, there is one job and one version in the end", "[control][tuner]") {
  for (std::uint32_t seed = 1; seed <= 2'000; ++seed) {
    std::mt19937 random{seed};
    TunerWorld world;
    int faults_left = 12;
    world.tuning.on_made = [&](FakeTuning::Made& made) {
      made.hidden_looks = static_cast<std::uint32_t>(random() % 3);
    };
    world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
      if (faults_left == 0 || random() % 4 != 0) return;
      --faults_left;
      // What is certain not to have been done is said before it is done only; and these do not say `refused`, which ends it.
      const bool before = moment == FakeMoment::before;
      const ProviderErrc code = before && random() % 2 == 0
                                    ? (random() % 2 == 0 ? ProviderErrc::limited : ProviderErrc::unavailable)
                                    : ProviderErrc::unclear;
      throw ProviderError{code, std::string{call} + " failed", "", random() % 2 == 0 ? 3'000U : 0U};
    };
    run_once(world);
    INFO("seed " << seed);
    check_one_of_each(world);
    CHECK(world.waits_ms.size() < 200);
  }
}

TEST_CASE("tuner: a job that shows late is waited for before its creation is sent again", "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.hidden_looks = 4; };
  bool lost = false;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call == "create_job" && moment == FakeMoment::after && !std::exchange(lost, true))
      throw ProviderError{ProviderErrc::unclear, "no answer"};
  };
  run_once(world);
  check_one_of_each(world);
}

TEST_CASE("tuner: of two jobs that were made after all, the younger is cancelled", "[control][tuner]") {
  TunerWorld world;
  world.settle_ms = 1'000;
  int lost = 0;
  world.tuning.on_made = [&](FakeTuning::Made& made) { made.hidden_looks = lost == 0 ? 3 : 0; };
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call == "create_job" && moment == FakeMoment::after && lost++ < 2)
      throw ProviderError{ProviderErrc::unclear, "no answer"};
  };
  run_once(world);
  CHECK(world.versions().size() == 1);
  CHECK(world.paid() == 1);
}

TEST_CASE("tuner: what the provider refuses fails the job, and nothing is left there", "[control][tuner]") {
  for (const ProviderErrc code : {ProviderErrc::denied, ProviderErrc::refused, ProviderErrc::not_found}) {
    for (const std::string_view at : {"upload", "create_job"}) {
      TunerWorld world;
      world.tuning.interfere = [&](std::string_view call, FakeMoment) {
        if (call == at) throw ProviderError{code, "no", "ask for rights"};
      };
      run_once(world);
      const Job job = world.stored();
      CHECK(job.status == JobStatus::failed);
      CHECK(job.error == "no");
      CHECK(job.finished_at_us != 0);
      CHECK(world.versions().empty());
      CHECK(world.tuning.jobs().empty());
    }
  }
}

TEST_CASE("tuner: a job that fails or is cancelled at the provider is closed without a version", "[control][tuner]") {
  for (const JobStatus end : {JobStatus::failed, JobStatus::cancelled}) {
    TunerWorld world;
    world.tuning.on_made = [&](FakeTuning::Made& made) {
      made.end = end;
      made.error = end == JobStatus::failed ? "the loss is NaN" : "";
    };
    run_once(world);
    CHECK(world.stored().status == end);
    CHECK(world.stored().error == (end == JobStatus::failed ? "the loss is NaN" : ""));
    CHECK(world.stored().phase == JobPhase::closed);
    CHECK(world.versions().empty());
  }
}

TEST_CASE("tuner: a wish to cancel ends the job wherever it stands", "[control][tuner]") {
  SECTION("before anything was sent") {
    TunerWorld world;
    const auto process = world.process();
    Job job = TunerWorld::wanted();
    process.tuner->add(job);
    process.tuner->ask_cancel(job);
    CHECK(process.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(job.status == JobStatus::cancelled);
    CHECK(world.tuning.jobs().empty());
  }
  SECTION("while its creation is unclear, and it was not made") {
    TunerWorld world;
    world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
      if (call == "create_job" && moment == FakeMoment::before) throw ProviderError{ProviderErrc::unclear, "no answer"};
    };
    const auto process = world.process();
    std::vector<Job> jobs{TunerWorld::wanted()};
    process.tuner->add(jobs.front());
    while (jobs.front().phase != JobPhase::creating) (void)process.tuner->step(jobs.front());
    process.tuner->ask_cancel(jobs.front());
    follow_jobs(*process.tuner, world.store, jobs, world.hooks());
    CHECK(world.stored().status == JobStatus::cancelled);
    CHECK(world.paid() == 0);
  }
  SECTION("while its creation is unclear, and it was made") {
    TunerWorld world;
    world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
      if (call == "create_job" && moment == FakeMoment::after) throw ProviderError{ProviderErrc::unclear, "no answer"};
    };
    const auto process = world.process();
    std::vector<Job> jobs{TunerWorld::wanted()};
    process.tuner->add(jobs.front());
    while (jobs.front().phase != JobPhase::creating) (void)process.tuner->step(jobs.front());
    process.tuner->ask_cancel(jobs.front());
    follow_jobs(*process.tuner, world.store, jobs, world.hooks());
    CHECK(world.stored().status == JobStatus::cancelled);
    CHECK(world.tuning.jobs().size() == 1);
    CHECK(world.paid() == 0);
  }
  SECTION("by another process while it runs") {
    TunerWorld world;
    world.tuning.on_made = [](FakeTuning::Made& made) { made.looks_left = 1'000; };
    const auto process = world.process();
    Job job = TunerWorld::wanted();
    process.tuner->add(job);
    while (job.phase != JobPhase::following) (void)process.tuner->step(job);
    const auto other = world.process();
    Job seen = world.stored();
    other.tuner->ask_cancel(seen);
    while (job.phase != JobPhase::closed) (void)process.tuner->step(job);
    CHECK(job.status == JobStatus::cancelled);
    CHECK(world.paid() == 0);
  }
  SECTION("and not when it has ended") {
    TunerWorld world;
    run_once(world);
    const auto process = world.process();
    Job job = world.stored();
    CHECK_THROWS_AS(process.tuner->ask_cancel(job), RegistryError);
  }
}

TEST_CASE("tuner: a live holder is left alone, one that is gone or late is not", "[control][tuner]") {
  TunerWorld world;
  const auto first = world.process();
  Job job = TunerWorld::wanted();
  first.tuner->add(job);

  TunerOptions options;
  options.holder = "elsewhere";
  options.now_us = [&] { return world.now_us; };
  FakeProvider provider{world.tuning};
  Tuner other{world.store, [&](const Job&) -> Provider& { return provider; }, options};
  Job seen = world.stored();
  const JobNews news = other.step(seen);
  CHECK(news.kind == JobNews::Kind::held);
  CHECK(news.words.find("process-1") != std::string::npos);
  CHECK(world.tuning.files() == 0);
  world.now_us += TimeUs{options.hold_ms} * 1'000 + 1;
  CHECK(other.step(seen).kind == JobNews::Kind::moved);
  CHECK(seen.holder == "elsewhere");
  CHECK(world.tuning.files() == 1);
  // The first one was only slow: it does not go on.
  (void)first.tuner->step(job);
  CHECK(world.tuning.jobs().empty());
}

TEST_CASE("tuner: eight threads on one store make one job of it", "[control][tuner]") {
  TunerWorld world;
  {
    const auto process = world.process();
    Job job = TunerWorld::wanted();
    process.tuner->add(job);
    process.tuner->release(job);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i != 8; ++i)
    threads.emplace_back([&world, i] {
      FakeProvider provider{world.tuning};
      TunerOptions options;
      options.holder = "thread-" + std::to_string(i);
      options.look = options.poll = options.retry = {.first_ms = 1, .longest_ms = 2};
      Tuner tuner{world.store, [&](const Job&) -> Provider& { return provider; }, options};
      std::vector<Job> jobs = world.store.jobs({.open = true});
      FollowHooks hooks;
      hooks.wait = [](std::uint32_t) {
        std::this_thread::yield();
        return true;
      };
      hooks.on_news = [](const Job&, const JobNews&) { return true; };
      follow_jobs(tuner, world.store, jobs, hooks);
    });
  for (std::thread& each : threads) each.join();
  check_one_of_each(world);
}

TEST_CASE("tuner: a file that has changed since its check is not sent", "[control][tuner]") {
  TunerWorld world;
  FakeProvider provider{world.tuning};
  TunerOptions options;
  options.now_us = [&] { return world.now_us; };
  SECTION("another one") {
    options.hash_file = [](const std::string&) { return std::string{"bb"}; };
  }
  SECTION("gone") {
    options.hash_file = [](const std::string&) -> std::string { throw std::runtime_error{"it is gone"}; };
  }
  Tuner tuner{world.store, [&](const Job&) -> Provider& { return provider; }, options};
  Job job = TunerWorld::wanted();
  tuner.add(job);
  CHECK(tuner.step(job).kind == JobNews::Kind::closed);
  CHECK(job.status == JobStatus::failed);
  CHECK(world.tuning.files() == 0);
}

TEST_CASE("tuner: a model's name that no version can have fails the job, and says why", "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.base_model = "bad\nname"; };
  run_once(world);
  CHECK(world.stored().status == JobStatus::failed);
  CHECK(world.stored().error.find("control character") != std::string::npos);
  CHECK(world.versions().empty());
}

TEST_CASE("tuner: a job that its provider forgets fails, after several looks", "[control][tuner]") {
  TunerWorld world;
  world.settle_ms = 10;
  int looks = 0;
  world.tuning.interfere = [&](std::string_view call, FakeMoment) {
    if (call == "get_job" && ++looks != 0) throw ProviderError{ProviderErrc::not_found, "no such job"};
  };
  run_once(world);
  CHECK(world.stored().status == JobStatus::failed);
  CHECK(looks >= 4);
}

TEST_CASE("tuner: a provider that denies later leaves the job open", "[control][tuner]") {
  TunerWorld world;
  world.tuning.interfere = [&](std::string_view call, FakeMoment) {
    if (call == "get_job") throw ProviderError{ProviderErrc::denied, "the key has expired", "export another one"};
  };
  const auto process = world.process();
  Job job = TunerWorld::wanted();
  process.tuner->add(job);
  JobNews news;
  while (!news.trouble) news = process.tuner->step(job);
  CHECK(news.trouble == ProviderErrc::denied);
  CHECK(news.hint == "export another one");
  CHECK(world.stored().phase == JobPhase::following);
  world.tuning.interfere = [](std::string_view, FakeMoment) {};
  world.resume();
  check_one_of_each(world);
}

TEST_CASE("tuner: checkpoints and a shutdown date that cannot be had do not cost the version", "[control][tuner]") {
  TunerWorld world;
  world.tuning.interfere = [&](std::string_view call, FakeMoment) {
    if (call == "checkpoints") throw ProviderError{ProviderErrc::unavailable, "down"};
  };
  run_once(world);
  check_one_of_each(world);
}

TEST_CASE("tuner: one thread follows a hundred jobs, with jitter and ever more rarely", "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.looks_left = 12; };
  std::mt19937 random{1};
  FakeProvider provider{world.tuning};
  TunerOptions options;
  options.now_us = [&] { return world.now_us; };
  options.draw = [&] { return std::uniform_real_distribution<double>{0, 1}(random); };
  Tuner tuner{world.store, [&](const Job&) -> Provider& { return provider; }, options};
  std::vector<Job> jobs(100, TunerWorld::wanted());
  for (std::size_t i = 0; i != jobs.size(); ++i) {
    jobs[i].id = "job-" + std::to_string(i);
    tuner.add(jobs[i]);
  }
  std::set<TimeUs> polls;
  int asked = 0;
  const TimeUs begin = world.now_us;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call != "get_job" || moment != FakeMoment::before) return;
    ++asked;
    polls.insert(world.now_us);
  };
  follow_jobs(tuner, world.store, jobs, world.hooks());
  CHECK(world.versions().size() == 100);
  CHECK(asked == 1'200);
  CHECK(polls.size() > 900);                              // they do not come together
  CHECK(world.now_us - begin > TimeUs{180} * 1'000'000);  // twelve polls in 2, 4, 8, ... 60 s
}

TEST_CASE("tuner: a store that is away for a while loses nothing", "[control][tuner]") {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random{seed};
    TunerWorld world;
    int left = 10;
    bool on = false;
    world.store.interfere = [&](std::string_view, FakeMoment) {
      if (on && left > 0 && random() % 3 == 0) {
        --left;
        throw StoreError{StoreErrc::unreachable, "no reply"};
      }
    };
    const auto process = world.process();
    std::vector<Job> jobs{TunerWorld::wanted()};
    process.tuner->add(jobs.front());
    on = true;
    FollowHooks hooks = world.hooks();
    hooks.on_store = [](const StoreError&) { return true; };
    follow_jobs(*process.tuner, world.store, jobs, hooks);
    on = false;
    INFO("seed " << seed);
    check_one_of_each(world);
  }
}

}  // namespace tuner_test
