#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <random>
#include <set>
#include <stdexcept>
#include <system_error>
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

void check_version_of_one(TunerWorld& world) {
  const Job job = world.stored();
  CHECK(job.status == JobStatus::succeeded);
  CHECK(job.phase == JobPhase::closed);
  CHECK(world.paid() == 1);
  const std::vector<ModelVersion> versions = world.versions();
  REQUIRE(versions.size() == 1);
  CHECK(versions[0].lineage.job == job.id);
  CHECK(job.version == 1);
}

void check_one_of_each(TunerWorld& world) {
  CHECK(world.tuning.jobs().size() == 1);
  check_version_of_one(world);
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
    options.hash_file = [](const std::string&) -> std::string {
      throw std::system_error{ENOENT, std::generic_category(), "train.jsonl"};
    };
  }
  Tuner tuner{world.store, [&](const Job&) -> Provider& { return provider; }, options};
  Job job = TunerWorld::wanted();
  tuner.add(job);
  CHECK(tuner.step(job).kind == JobNews::Kind::closed);
  CHECK(job.status == JobStatus::failed);
  CHECK(world.tuning.files() == 0);
}

TEST_CASE("tuner: a file that cannot be read for now is read again, and nothing ends for it", "[control][tuner]") {
  TunerWorld world;
  FakeProvider provider{world.tuning};
  TunerOptions options;
  options.now_us = [&] { return world.now_us; };
  int left = 3;
  options.hash_file = [&](const std::string&) -> std::string {
    if (left-- > 0) throw std::system_error{EIO, std::generic_category(), "train.jsonl"};
    return "aa";
  };
  Tuner tuner{world.store, [&](const Job&) -> Provider& { return provider; }, options};
  std::vector<Job> jobs{TunerWorld::wanted()};
  tuner.add(jobs.front());
  const JobNews news = tuner.step(jobs.front());
  CHECK(news.kind == JobNews::Kind::waits);
  CHECK(news.trouble == ProviderErrc::unavailable);
  CHECK(news.words.find("train.jsonl") != std::string::npos);
  follow_jobs(tuner, world.store, jobs, world.hooks());
  check_one_of_each(world);
}

TEST_CASE("tuner: what the registry would refuse is refused before anything is stored", "[control][tuner]") {
  const std::string control = "bad\x01name";
  for (int field = 0; field != 6; ++field) {
    TunerWorld world;
    const auto process = world.process();
    Job job = TunerWorld::wanted();
    switch (field) {
      case 0:
        job.note = control;
        break;
      case 1:
        job.actor = "two\nlines";
        break;
      case 2:
        job.prompt_version = control;
        break;
      case 3:
        job.base_model = "\xff";
        break;
      case 4:
        job.provider = control;
        break;
      default:
        job.note = std::string(max_note_bytes + 1, 'n');
    }
    INFO(field);
    try {
      process.tuner->add(job);
      CHECK(false);
    } catch (const RegistryError& error) {
      CHECK(error.code == RegistryErrc::invalid);
    }
    CHECK(world.store.jobs({}).empty());
  }
}

TEST_CASE("tuner: a model's name that no version can have keeps the job open, with the name and the words",
          "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.base_model = "bad\nname"; };
  const auto process = world.process();
  Job job = TunerWorld::wanted();
  process.tuner->add(job);
  JobNews news;
  while (!news.lasting) news = process.tuner->step(job);
  CHECK(news.kind == JobNews::Kind::waits);
  CHECK(news.words.find("control character") != std::string::npos);
  CHECK(news.hint.find("canary train cancel " + job.id) != std::string::npos);
  CHECK(world.stored().phase == JobPhase::following);
  CHECK(world.stored().model.starts_with("ft:bad\nname:"));
  CHECK(world.stored().error == news.words);
  CHECK(world.versions().empty());
  const std::uint64_t revision = world.stored().revision;
  (void)process.tuner->step(job);
  CHECK(world.stored().revision == revision);  // said once

  process.tuner->ask_cancel(job);
  CHECK(process.tuner->step(job).kind == JobNews::Kind::closed);
  CHECK(world.stored().status == JobStatus::cancelled);
  CHECK(world.stored().model.starts_with("ft:bad\nname:"));
}

TEST_CASE("tuner: a shutdown date that is none does not cost the version", "[control][tuner]") {
  TunerWorld world;
  world.tuning.shutdown_date = "next summer";
  run_once(world);
  check_one_of_each(world);
  CHECK(world.versions().front().shutdown_date.empty());
}

TEST_CASE("tuner: success without a model's name is waited for, and ends by a person alone", "[control][tuner]") {
  TunerWorld world;
  bool named = false;
  world.tuning.on_made = [](FakeTuning::Made& made) {
    made.job.status = JobStatus::succeeded;
    made.job.provider_status = "succeeded";
  };
  const auto process = world.process();
  std::vector<Job> jobs{TunerWorld::wanted()};
  process.tuner->add(jobs.front());
  const TimeUs begin = world.now_us;
  FollowHooks hooks = world.hooks();
  std::string hint;
  hooks.on_news = [&](const Job&, const JobNews& news) {
    hint = news.hint;
    return news.kind != JobNews::Kind::closed && hint.empty();
  };
  follow_jobs(*process.tuner, world.store, jobs, hooks);
  CHECK(world.now_us - begin > TimeUs{300} * 1'000'000);
  CHECK(hint.find("canary train cancel") != std::string::npos);
  CHECK(world.stored().phase == JobPhase::following);
  CHECK(world.stored().error.find("names no model") != std::string::npos);
  SECTION("it is named at last") {
    world.tuning.name_models();
    named = true;
    world.resume();
    check_one_of_each(world);
  }
  SECTION("somebody wants it closed") {
    Job job = world.stored();
    process.tuner->ask_cancel(job);
    CHECK(process.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(job.status == JobStatus::cancelled);
  }
  CHECK(world.versions().size() == (named ? 1U : 0U));
}

TEST_CASE("tuner: a job that its provider does not know stays open, until somebody wants it cancelled",
          "[control][tuner]") {
  TunerWorld world;
  bool forgotten = true;
  world.tuning.interfere = [&](std::string_view call, FakeMoment) {
    if (forgotten && (call == "get_job" || call == "cancel_job"))
      throw ProviderError{ProviderErrc::not_found, "no such job"};
  };
  const auto process = world.process();
  std::vector<Job> jobs{TunerWorld::wanted()};
  process.tuner->add(jobs.front());
  FollowHooks hooks = world.hooks();
  int told = 0;
  hooks.on_news = [&](const Job&, const JobNews& news) {
    if (news.trouble != ProviderErrc::not_found) return true;
    CHECK(news.words.find("no such job") != std::string::npos);
    CHECK(news.hint.find("base_url") != std::string::npos);
    CHECK(news.hint.find("canary train cancel " + TunerWorld::wanted().id) != std::string::npos);
    return ++told != 20;
  };
  follow_jobs(*process.tuner, world.store, jobs, hooks);
  CHECK(told == 20);
  CHECK(world.stored().phase == JobPhase::following);
  SECTION("it was another key") {
    forgotten = false;
    world.resume();
    check_one_of_each(world);
  }
  SECTION("it is wanted no more") {
    Job job = world.stored();
    process.tuner->ask_cancel(job);
    CHECK(process.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(world.stored().status == JobStatus::cancelled);
    CHECK(world.stored().error.find("no such job") != std::string::npos);
  }
}

TEST_CASE("tuner: a job that was just made is not given up because its provider does not show it yet",
          "[control][tuner]") {
  TunerWorld world;
  bool shown = false;
  world.tuning.interfere = [&](std::string_view call, FakeMoment) {
    if (!shown && (call == "get_job" || call == "cancel_job"))
      throw ProviderError{ProviderErrc::not_found, "no such job"};
  };
  const auto process = world.process();
  Job job = TunerWorld::wanted();
  process.tuner->add(job);
  while (job.phase != JobPhase::following) (void)process.tuner->step(job);
  process.tuner->ask_cancel(job);
  CHECK(process.tuner->step(job).trouble == ProviderErrc::not_found);
  CHECK(job.phase == JobPhase::following);
  shown = true;
  CHECK(process.tuner->step(job).kind == JobNews::Kind::closed);
  CHECK(world.paid() == 0);
}

TEST_CASE("tuner: a cancelling that is refused does not keep the job from being polled", "[control][tuner]") {
  for (const ProviderErrc code :
       {ProviderErrc::not_found, ProviderErrc::denied, ProviderErrc::limited, ProviderErrc::refused}) {
    TunerWorld world;
    world.tuning.interfere = [&](std::string_view call, FakeMoment) {
      if (call == "cancel_job") throw ProviderError{code, "not by you", "ask"};
    };
    const auto process = world.process();
    std::vector<Job> jobs{TunerWorld::wanted()};
    Job& job = jobs.front();
    process.tuner->add(job);
    while (job.phase != JobPhase::following) (void)process.tuner->step(job);
    process.tuner->ask_cancel(job);
    const JobNews news = process.tuner->step(job);
    CHECK(job.status == JobStatus::running);  // so it was polled
    CHECK(news.trouble == code);
    CHECK(news.words == "not by you");
    follow_jobs(*process.tuner, world.store, jobs, world.hooks());
    check_one_of_each(world);
  }
}

TEST_CASE("tuner: a creation that is sent again is looked for once more, and the younger job is cancelled",
          "[control][tuner]") {
  TunerWorld world;
  bool lost = false;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call == "create_job" && moment == FakeMoment::after && !std::exchange(lost, true))
      throw ProviderError{ProviderErrc::unclear, "no answer"};
  };
  std::uint32_t hidden = 0;
  SECTION("it shows right after the second") { hidden = 0; }
  SECTION("it shows with the polls") { hidden = 2; }
  world.settle_ms = 0;  // until the second is made
  world.tuning.on_made = [&, first = true](FakeTuning::Made& made) mutable {
    made.looks_left = 6;
    made.hidden_looks = std::exchange(first, false) ? 1 + hidden : 0;
    if (!first && made.job.id == "fake-2") world.settle_ms = 60'000;
  };
  run_once(world);
  CHECK(world.tuning.jobs().size() == 2);
  CHECK(world.paid() == 1);
  const Job job = world.stored();
  CHECK(job.status == JobStatus::succeeded);
  CHECK(world.versions().size() == 1);
  if (hidden == 0) CHECK(job.provider_job_id == "fake-1");
}

TEST_CASE("tuner: a sender that was overtaken cancels what it has made", "[control][tuner]") {
  TunerWorld world;
  const auto slow = world.process();
  Job job = TunerWorld::wanted();
  slow.tuner->add(job);
  while (next_step(job) != JobStep::send) (void)slow.tuner->step(job);
  world.settle_ms = 0;
  bool overtaken = false;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call != "create_job" || moment != FakeMoment::before || std::exchange(overtaken, true)) return;
    const auto quick = world.process();  // it takes the slow one for dead, and sees nothing at the provider
    Job seen = world.stored();
    while (seen.phase != JobPhase::following) (void)quick.tuner->step(seen);
  };
  (void)slow.tuner->step(job);
  CHECK(world.tuning.jobs().size() == 2);
  CHECK(world.paid() == 1);
  CHECK(job.provider_job_id == "fake-1");
  world.resume();
  check_version_of_one(world);
}

TEST_CASE("tuner: a second sending that is refused for now does not make the first forgotten", "[control][tuner]") {
  for (const ProviderErrc code : {ProviderErrc::limited, ProviderErrc::unavailable, ProviderErrc::refused}) {
    TunerWorld world;
    world.settle_ms = 0;
    world.tuning.on_made = [](FakeTuning::Made& made) { made.hidden_looks = 1; };
    int sent = 0;
    world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
      if (call != "create_job") return;
      if (moment == FakeMoment::after && sent == 1) throw ProviderError{ProviderErrc::unclear, "no answer"};
      if (moment == FakeMoment::before && ++sent == 2) throw ProviderError{code, "not now"};
    };
    const auto process = world.process();
    std::vector<Job> jobs{TunerWorld::wanted()};
    process.tuner->add(jobs.front());
    while (sent < 2) (void)process.tuner->step(jobs.front());
    if (code != ProviderErrc::refused) CHECK(jobs.front().phase == JobPhase::creating);
    follow_jobs(*process.tuner, world.store, jobs, world.hooks());
    CHECK(sent == 2);
    check_one_of_each(world);
  }
}

TEST_CASE("tuner: a creation that is never answered is not sent without end", "[control][tuner]") {
  TunerWorld world;
  world.settle_ms = 1'000;
  int sent = 0;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call != "create_job" || moment != FakeMoment::before) return;
    ++sent;
    throw ProviderError{ProviderErrc::unclear, "no answer"};
  };
  const auto process = world.process();
  std::vector<Job> jobs{TunerWorld::wanted()};
  process.tuner->add(jobs.front());
  FollowHooks hooks = world.hooks();
  hooks.on_news = [&](const Job&, const JobNews& news) {
    return news.words.find("not sent again") == std::string::npos;
  };
  follow_jobs(*process.tuner, world.store, jobs, hooks);
  CHECK(sent == 6);
  CHECK(world.stored().phase == JobPhase::creating);
  world.tuning.interfere = [](std::string_view, FakeMoment) {};
  world.resume();
  check_one_of_each(world);
}

TEST_CASE("tuner: a wish to cancel is seen by the process that holds the job", "[control][tuner]") {
  TunerWorld world;
  const auto holder = world.process();
  Job job = TunerWorld::wanted();
  holder.tuner->add(job);
  const auto wish = [&] {
    const auto other = world.process();
    Job seen = world.stored();
    other.tuner->ask_cancel(seen);
  };
  SECTION("just before the creation is sent") {
    while (next_step(job) != JobStep::send) (void)holder.tuner->step(job);
    wish();
    while (job.phase != JobPhase::closed) (void)holder.tuner->step(job);
    CHECK(world.tuning.jobs().empty());
  }
  SECTION("while its hold is renewed, before anything is sent") {
    world.now_us += TimeUs{90'000} * 1'000;  // more than half of it is over
    wish();
    CHECK(holder.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(world.tuning.files() == 0);
  }
  SECTION("while it is looked for") {
    world.settle_ms = 0;
    bool lost = false;
    world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
      if (call == "create_job" && moment == FakeMoment::before && !std::exchange(lost, true))
        throw ProviderError{ProviderErrc::unclear, "no answer"};
    };
    while (job.phase != JobPhase::creating) (void)holder.tuner->step(job);
    wish();
    CHECK(holder.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(world.tuning.jobs().empty());
  }
  SECTION("while it runs, with nothing new to write down") {
    world.tuning.on_made = [](FakeTuning::Made& made) { made.looks_left = 1'000; };
    while (job.status != JobStatus::running) (void)holder.tuner->step(job);
    wish();
    CHECK(holder.tuner->step(job).kind == JobNews::Kind::closed);
    CHECK(world.paid() == 0);
  }
  CHECK(world.stored().status == JobStatus::cancelled);
}

TEST_CASE("tuner: a clock that was set back does not make a creation settled", "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.hidden_looks = 3; };
  bool lost = false;
  world.tuning.interfere = [&](std::string_view call, FakeMoment moment) {
    if (call == "create_job" && moment == FakeMoment::after && !std::exchange(lost, true))
      throw ProviderError{ProviderErrc::unclear, "no answer"};
  };
  {
    const auto process = world.process();
    Job job = TunerWorld::wanted();
    process.tuner->add(job);
    while (job.phase != JobPhase::creating) (void)process.tuner->step(job);
  }
  world.now_us -= TimeUs{3'600} * 1'000'000;
  world.resume();
  check_one_of_each(world);
}

TEST_CASE("tuner: a restored job that was not sent when the backup was made is looked for first", "[control][tuner]") {
  TunerWorld world;
  world.tuning.on_made = [](FakeTuning::Made& made) { made.looks_left = 10; };
  const auto process = world.process();
  Job job = TunerWorld::wanted();
  process.tuner->add(job);
  const bool uploaded = GENERATE(false, true);
  const bool sent = GENERATE(false, true);
  if (uploaded) (void)process.tuner->step(job);
  Job backup = world.stored();
  while (sent && job.phase != JobPhase::following) (void)process.tuner->step(job);

  TaskContents contents;
  contents.task = world.store.load("t", {});
  contents.task.name = "t";
  contents.jobs = {backup};
  MemoryStore restored;
  bool given = false;
  restored.replace_all([&]() -> std::optional<TaskContents> {
    if (std::exchange(given, true)) return {};
    return contents;
  });
  const auto later = world.process();
  FakeProvider provider{world.tuning};
  Tuner tuner{restored, [&](const Job&) -> Provider& { return provider; }, later.tuner->options()};
  std::vector<Job> jobs = restored.jobs({.open = true});
  REQUIRE(jobs.size() == 1);
  follow_jobs(tuner, restored, jobs, world.hooks());
  CHECK(world.tuning.jobs().size() == 1);
  CHECK(jobs.front().status == JobStatus::succeeded);
  CHECK(jobs.front().version == 1);
}

TEST_CASE("tuner: checkpoints that no row has room for are left out, and not the version", "[control][tuner]") {
  TunerWorld world;
  const bool long_names = GENERATE(false, true);
  world.tuning.on_made = [&](FakeTuning::Made& made) {
    for (std::uint64_t step = 1; step <= 1'000; ++step)
      made.checkpoints.push_back({std::string(long_names ? 8'000 : 10, 'm'), step, std::string(8'000, 'x')});
  };
  run_once(world);
  check_one_of_each(world);
  const std::vector<Checkpoint> kept = world.stored().checkpoints;
  CHECK(kept.size() == (long_names ? 500U : 1'000U));
  CHECK(kept.back().step == 1'000);
  CHECK(kept.back().metrics.empty());
}

TEST_CASE("tuner: a provider that cannot be had ends no job", "[control][tuner]") {
  TunerWorld world;
  FakeProvider provider{world.tuning};
  TunerOptions options;
  options.now_us = [&] { return world.now_us; };
  bool there = false;
  Tuner tuner{world.store,
              [&](const Job&) -> Provider& {
                if (!there) throw ProviderError{ProviderErrc::denied, "no key", "export it"};
                return provider;
              },
              options};
  std::vector<Job> jobs{TunerWorld::wanted()};
  tuner.add(jobs.front());
  const JobNews news = tuner.step(jobs.front());
  CHECK(news.kind == JobNews::Kind::waits);
  CHECK(news.trouble == ProviderErrc::denied);
  CHECK(news.lasting);
  SECTION("it is followed when it can be had") {
    there = true;
    follow_jobs(tuner, world.store, jobs, world.hooks());
    check_one_of_each(world);
  }
  SECTION("it can be cancelled all the same") {
    tuner.ask_cancel(jobs.front());
    CHECK(tuner.step(jobs.front()).kind == JobNews::Kind::closed);
  }
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
