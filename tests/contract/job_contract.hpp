// job_contract.hpp: what every store promises of fine-tune jobs. A store joins as in store_contract.hpp: with one source
// file that defines CANARY_STORE_PLACE and includes this.
#pragma once

#ifndef CANARY_STORE_PLACE
#error "define CANARY_STORE_PLACE as the class that makes stores"
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "canary/control/job_row.hpp"
#include "canary/control/store.hpp"
#include "job_helpers.hpp"

namespace {

using namespace job_test;

/// Of one that races: with these behind it, it has lost for another reason than the others.
constexpr int most_tries = 2'000;

}  // namespace

TEMPLATE_TEST_CASE("jobs: a fresh store has none", "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  CHECK(store->jobs({}).empty());
  CHECK(store->jobs({.open = true}).empty());
  CHECK_FALSE(store->find_job("visa-1"));
  CHECK_FALSE(store->find_job(""));
  CHECK_FALSE(store->find_job(std::string("a\0'b\xFF", 5)));
}

TEMPLATE_TEST_CASE("jobs: a row is read back field for field, by another process too", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto writer = place.open();
  const auto reader = place.open();
  std::mt19937_64 random{20'260'729};
  for (int i = 0; i != 100; ++i) {
    Job job = random_job(random, "visa-" + std::to_string(i));
    INFO(canary::job_text(job));
    REQUIRE(writer->put_job(job) == CommitResult::done);
    std::optional<Job> found = reader->find_job(job.id);
    REQUIRE(found);
    REQUIRE((*found == job));
    const std::uint64_t revision = job.revision;
    job = random_job(random, job.id);  // a change may touch every field but id and task
    job.revision = revision;
    go_on(*writer, job, [](Job&) {});
    found = reader->find_job(job.id);
    REQUIRE(found);
    REQUIRE((*found == job));
  }
  CHECK(reader->jobs({}).size() == 100);
}

TEMPLATE_TEST_CASE("jobs: a put over another revision is a conflict and writes nothing", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto one = place.open();
  const auto two = place.open();
  Job job = job_of("visa-1");
  CHECK(one->put_job(job) == CommitResult::done);
  Job stale = job;
  go_on(*one, job, [](Job& row) { row.note = "first"; });

  const auto refused = [&](std::uint64_t revision) {
    stale.note = "second";
    stale.revision = revision;
    return two->put_job(stale) == CommitResult::conflict;
  };
  CHECK(refused(1));  // it is there already
  CHECK(refused(2));  // and was changed
  CHECK(refused(4));
  CHECK(refused(1'000'000));
  CHECK((*two->find_job("visa-1") == job));
  stale.id = "nobody";
  CHECK(refused(2));
  CHECK(ids(two->jobs({})) == std::vector<std::string>{"visa-1"});
}

TEMPLATE_TEST_CASE("jobs: of 8 threads that race, each put that was done took a revision of its own",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  constexpr int threads = 8;
  constexpr int changes_each = 12;
  {
    const auto store = place.open();
    (void)store->info();
  }
  std::atomic<int> failures{0};
  std::atomic<int> made{0};
  const auto work = [&](int who) {
    try {
      const auto store = place.open();
      Job first = job_of("visa-1");
      if (store->put_job(first) == CommitResult::done) ++made;
      for (int done = 0, tries = 0; done != changes_each && tries != most_tries; ++tries) {
        Job job = store->find_job("visa-1").value();
        job.note += static_cast<char>('a' + who);
        ++job.revision;
        if (store->put_job(job) == CommitResult::done) ++done;
      }
    } catch (const std::exception&) {
      ++failures;
    }
  };
  std::vector<std::thread> racers;
  for (int i = 0; i != threads; ++i) racers.emplace_back(work, i);
  for (std::thread& each : racers) each.join();
  CHECK(failures == 0);
  CHECK(made == 1);
  const Job job = place.open()->find_job("visa-1").value();
  CHECK(job.revision == 1 + threads * changes_each);
  for (int i = 0; i != threads; ++i)  // whoever was told `done` is in what the others built upon
    CHECK(std::count(job.note.begin(), job.note.end(), static_cast<char>('a' + i)) == changes_each);
}

TEMPLATE_TEST_CASE("jobs: a filter brings those of a task, open ones, the newest; always the oldest first",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto put = [&](const char* id, const char* task, canary::TimeUs at_us, JobPhase phase) {
    Job job = job_of(id, task, at_us);
    job.phase = phase;
    if (phase == JobPhase::closed) job.status = JobStatus::failed;
    REQUIRE(store->put_job(job) == CommitResult::done);
  };
  put("d", "checks", 40, JobPhase::following);
  put("a", "risks", 10, JobPhase::closed);
  put("c", "checks", 30, JobPhase::closed);
  put("b2", "risks", 20, JobPhase::stored);
  put("b1", "risks", 20, JobPhase::creating);
  put("e", "checks", -50, JobPhase::stored);

  using Ids = std::vector<std::string>;
  CHECK(ids(store->jobs({})) == Ids{"e", "a", "b1", "b2", "c", "d"});
  CHECK(ids(store->jobs({.task = "risks"})) == Ids{"a", "b1", "b2"});
  CHECK(ids(store->jobs({.open = true})) == Ids{"e", "b1", "b2", "d"});
  CHECK(ids(store->jobs({.task = "checks", .open = true})) == Ids{"e", "d"});
  CHECK(ids(store->jobs({.newest = 2})) == Ids{"c", "d"});
  CHECK(ids(store->jobs({.task = "risks", .open = true, .newest = 1})) == Ids{"b2"});
  CHECK(store->jobs({.newest = 0}).empty());
  CHECK(store->jobs({.task = "nobody"}).empty());
  CHECK(store->jobs({.task = "check"}).empty());
}

TEMPLATE_TEST_CASE("jobs: a job that is closed is not among the open ones any more", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  std::vector<Job> jobs;
  for (int i = 0; i != 300; ++i) {
    jobs.push_back(job_of("visa-" + std::to_string(i), "checks", i));
    REQUIRE(store->put_job(jobs.back()) == CommitResult::done);
  }
  CHECK(store->jobs({.open = true}).size() == 300);
  for (std::size_t i = 0; i != jobs.size(); ++i) {
    if (i % 100 == 7) continue;
    go_on(*store, jobs[i], [](Job& job) {
      job.phase = JobPhase::closed;
      job.status = JobStatus::cancelled;
    });
  }
  CHECK(ids(store->jobs({.open = true})) == std::vector<std::string>{"visa-7", "visa-107", "visa-207"});
  CHECK(store->jobs({.task = "checks"}).size() == 300);
}

TEMPLATE_TEST_CASE("jobs: a success registers one version with the job's link, in one change", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 100'000)});
  Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  const auto follower = store->follow();
  const auto position = follower->changes({}).position;
  const Commit success = success_of(*store, job);
  REQUIRE(store->commit(success) == CommitResult::done);

  const auto other = place.open();
  CHECK((*other->find_job("visa-1") == *success.job));
  const TaskRecord task = load_all(*other, "checks");
  CHECK(task.revision == 2);
  REQUIRE(task.versions.size() == 2);
  CHECK(task.versions[1].lineage.job == "visa-1");
  CHECK(task.versions[1].weight_ppm == 0);
  CHECK(follower->changes(position).tasks.size() == 1);
  CHECK(store->commit(success) == CommitResult::conflict);  // said once more
  CHECK(load_all(*other, "checks").versions.size() == 2);
}

TEMPLATE_TEST_CASE("jobs: the first version of a task may come of a job", "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const Job job = job_of("visa-1", "fresh");
  REQUIRE(store->put_job(job) == CommitResult::done);
  CHECK(store->tasks().empty());
  REQUIRE(store->commit(success_of(*store, job)) == CommitResult::done);
  CHECK(store->tasks() == std::vector<std::string>{"fresh"});
  CHECK(store->find_job("visa-1")->version == 1);
}

TEMPLATE_TEST_CASE("jobs: a change whose job was changed meanwhile is a conflict, and registers no version",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  Commit success = success_of(*store, job);
  go_on(*place.open(), job, [](Job& row) { row.cancel_asked = true; });
  const auto before = everything_in(*store);

  CHECK(store->commit(success) == CommitResult::conflict);
  success.job->revision = 7;
  CHECK(store->commit(success) == CommitResult::conflict);
  success.job->id = "nobody";
  CHECK(store->commit(success) == CommitResult::conflict);
  success.job = job_of("visa-1");  // as if there were none
  CHECK(store->commit(success) == CommitResult::conflict);
  CHECK(same(everything_in(*store), before));
  CHECK(load_all(*store, "checks").revision == 0);
  CHECK((*store->find_job("visa-1") == job));
  CHECK(store->commit(success_of(*store, job)) == CommitResult::done);
}

TEMPLATE_TEST_CASE("jobs: a change whose task was changed meanwhile is a conflict, and leaves the job as it is",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  Commit success = success_of(*store, job);
  change(*place.open(), "checks", {version_of(1, 5)});
  CHECK(store->commit(success) == CommitResult::conflict);
  CHECK((*store->find_job("visa-1") == job));
  success = success_of(*store, job);
  success.token = "of another store";
  CHECK(store->commit(success) == CommitResult::conflict);
  CHECK((*store->find_job("visa-1") == job));
  success.token = store->load("checks", {}).token;
  CHECK(store->commit(success) == CommitResult::done);
}

TEMPLATE_TEST_CASE("jobs: of 8 that would register a job's success, one does", "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  constexpr int threads = 8;
  constexpr int rounds = 5;
  {
    const auto store = place.open();
    for (int i = 0; i != rounds; ++i)
      REQUIRE(store->put_job(job_of("visa-" + std::to_string(i))) == CommitResult::done);
  }
  std::atomic<int> failures{0};
  std::atomic<int> done{0};
  const auto work = [&] {
    try {
      const auto store = place.open();
      for (int i = 0; i != rounds; ++i) {
        for (int tries = 0; tries != most_tries; ++tries) {
          const Job job = store->find_job("visa-" + std::to_string(i)).value();
          if (job.phase == JobPhase::closed) break;
          if (store->commit(success_of(*store, job)) == CommitResult::done) ++done;
        }
      }
    } catch (const std::exception&) {
      ++failures;
    }
  };
  std::vector<std::thread> racers;
  for (int i = 0; i != threads; ++i) racers.emplace_back(work);
  for (std::thread& each : racers) each.join();
  CHECK(failures == 0);
  CHECK(done == rounds);
  const auto store = place.open();
  const TaskRecord task = load_all(*store, "checks");
  REQUIRE(task.versions.size() == rounds);
  for (const Job& job : store->jobs({})) {
    REQUIRE(job.version != 0);
    CHECK(task.versions.at(job.version - 1).lineage.job == job.id);
  }
}

TEMPLATE_TEST_CASE("jobs: puts, changes with jobs and replacements at once come one after the other",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 5)});
  for (const char* id : {"put", "success"}) REQUIRE(store->put_job(job_of(id)) == CommitResult::done);
  const auto backup = everything_in(*store);
  std::atomic<int> failures{0};
  const auto in_a_loop = [&](const std::function<void(Store&)>& act) {
    try {
      const auto own = place.open();
      for (int i = 0; i != 10; ++i) act(*own);
    } catch (const std::exception&) {
      ++failures;
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(in_a_loop, [](Store& own) {
    Job job = own.find_job("put").value();
    ++job.revision;
    (void)own.put_job(job);
  });
  threads.emplace_back(in_a_loop, [](Store& own) {
    const Job job = own.find_job("success").value();
    if (job.version == 0) (void)own.commit(success_of(own, job));
  });
  threads.emplace_back(in_a_loop, [&](Store& own) { replace_by(own, backup); });
  for (std::thread& each : threads) each.join();
  CHECK(failures == 0);
  const Job job = store->find_job("success").value();
  CHECK(load_all(*store, "checks").versions.size() == (job.version == 0 ? 1u : 2u));
}

TEMPLATE_TEST_CASE("jobs: an ended status is final, whatever else is still written down", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  for (const JobStatus end : {JobStatus::succeeded, JobStatus::failed, JobStatus::cancelled}) {
    Job job = job_of("visa-" + std::to_string(static_cast<int>(end)));
    REQUIRE(store->put_job(job) == CommitResult::done);
    go_on(*store, job, [&](Job& row) { row.status = end; });
    for (const JobStatus next : canary::job_statuses) {
      Job changed = job;
      changed.status = next;
      changed.note = "why not";
      ++changed.revision;
      if (next == end) continue;
      CHECK(refusal([&] { (void)store->put_job(changed); }) == StoreErrc::invalid);
      Commit with_version = change_to(load_all(*store, "checks"), {version_of(1, 0)});
      with_version.job = changed;
      CHECK(refusal([&] { (void)store->commit(with_version); }) == StoreErrc::invalid);
      CHECK((*store->find_job(job.id) == job));
    }
    go_on(*store, job, [](Job& row) {
      row.note = "looked at";
      row.phase = JobPhase::closed;
    });
    CHECK((*store->find_job(job.id) == job));
  }
  CHECK(store->tasks().empty());
}

TEMPLATE_TEST_CASE("jobs: what breaks a rule is refused as invalid, and nothing has changed", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const Job other = job_of("other");
  REQUIRE(store->put_job(other) == CommitResult::done);
  REQUIRE(store->commit(success_of(*store, other)) == CommitResult::done);
  change(*store, "risks", {version_of(1, 0)});
  change(*store, "risks", {version_of(2, 0)});
  Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  const auto before = everything_in(*store);

  Job bad = job;
  ++bad.revision;
  const auto with_version = [&bad](std::uint32_t number) {
    bad.status = JobStatus::succeeded;
    bad.version = number;
  };
  SECTION("an id that is none") { bad.id = GENERATE("", "Visa-1", "visa_1", "a b", "\xC3\xA9"); }
  SECTION("an id of 41 characters") { bad.id = std::string(41, 'a'); }
  SECTION("an id with a NUL") { bad.id = std::string("visa\0-1", 7); }
  SECTION("a task without a name") { bad.task.clear(); }
  SECTION("a task's name that is none") { bad.task = "checks\n"; }
  SECTION("another task") { bad.task = "risks"; }
  SECTION("no revision") { bad.revision = 0; }
  SECTION("a revision beyond all") { bad.revision = std::uint64_t{1} << 63; }
  SECTION("a version without success") {
    with_version(1);
    bad.status = JobStatus::running;
  }
  SECTION("a version of another job") { with_version(1); }
  SECTION("a version that is not there, though another task has it") { with_version(2); }
  SECTION("a version that can never be") { with_version(65'001); }
  SECTION("a new job with a version") {
    bad.id = "visa-2";
    bad.revision = 1;
    with_version(1);
  }
  SECTION("closed before its end") { bad.phase = JobPhase::closed; }
  SECTION("more than a row holds") { bad.error = std::string(canary::max_job_bytes, 'x'); }
  CHECK(refusal([&] { (void)store->put_job(bad); }) == StoreErrc::invalid);
  Commit change_with_it = change_to(load_all(*store, "checks"), {version_of(2, 0)});
  if (bad.version != 2) {  // which this very change would make
    change_with_it.job = bad;
    CHECK(refusal([&] { (void)store->commit(change_with_it); }) == StoreErrc::invalid);
  }
  CHECK(same(everything_in(*store), before));
  go_on(*store, job, [](Job&) {});  // it is as good as before
}

TEMPLATE_TEST_CASE("jobs: a job keeps the version that it got", "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  REQUIRE(store->commit(success_of(*store, job)) == CommitResult::done);
  change(*store, "checks", {version_of(2, 0)});
  const Job done = store->find_job("visa-1").value();
  for (const std::uint32_t number : {0u, 2u}) {
    Job other = done;
    other.version = number;
    ++other.revision;
    CHECK(refusal([&] { (void)store->put_job(other); }) == StoreErrc::invalid);
  }
  CHECK((*store->find_job("visa-1") == done));
}

TEMPLATE_TEST_CASE("jobs: a job of another task than the change's is refused", "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  Commit change = change_to(load_all(*store, "checks"), {version_of(1, 0)});
  change.job = job_of("visa-1", "risks");
  CHECK(refusal([&] { (void)store->commit(change); }) == StoreErrc::invalid);
  CHECK(store->tasks().empty());
  CHECK(store->jobs({}).empty());
}

TEMPLATE_TEST_CASE("jobs: a put is nothing that a follower of splits has to see", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 5)});
  const auto follower = store->follow();
  const auto position = follower->changes({}).position;
  Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  go_on(*store, job, [](Job&) {});
  CHECK(follower->changes(position).tasks.empty());
  CHECK(follower->changes(position).position == position);
}

TEMPLATE_TEST_CASE("jobs: what read_all gives, replace_all takes, and nobody holds a job then", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  TestType other_place;
  const auto store = place.open();
  std::mt19937_64 random{7};
  change(*store, "checks", {version_of(1, 5)});
  change(*store, "quiet", {version_of(1, 0)});
  for (const char* task : {"checks", "fresh", "a-new-one"})
    for (int i = 0; i != 3; ++i)
      REQUIRE(store->put_job(random_job(random, std::string{task} + std::to_string(i), task)) == CommitResult::done);
  Job held = job_of("held");
  held.holder = "this process";
  held.held_until_us = 5;
  REQUIRE(store->put_job(held) == CommitResult::done);
  REQUIRE(store->commit(success_of(*store, held)) == CommitResult::done);

  const auto all = everything_in(*store);
  std::vector<std::string> names;
  for (const TaskContents& each : all) names.push_back(each.task.name);
  CHECK(names == std::vector<std::string>{"a-new-one", "checks", "fresh", "quiet"});
  CHECK(all[0].task.revision == 0);
  CHECK(all[0].history.empty());
  CHECK(all[0].jobs.size() == 3);
  CHECK(all[1].jobs.size() == 4);
  CHECK(all[3].jobs.empty());

  const auto other = other_place.open();
  REQUIRE(other->put_job(job_of("gone")) == CommitResult::done);
  replace_by(*other, all);
  std::vector<Job> expected = store->jobs({});
  for (Job& job : expected) {
    job.holder.clear();
    job.held_until_us = 0;
    if (job.phase == JobPhase::stored) job.phase = JobPhase::creating;  // it may have been sent since
  }
  CHECK((other->jobs({}) == expected));
  CHECK(other->tasks() == std::vector<std::string>{"checks", "quiet"});
  CHECK(other->find_job("held")->version == 2);
  Job next = other->find_job("fresh1").value();  // and goes on from there
  go_on(*other, next, [](Job& job) { job.holder = "another"; });
  replace_by(*other, {});
  CHECK(other->jobs({}).empty());
}

TEMPLATE_TEST_CASE("jobs: a replacement that fails, or whose jobs do not fit, changes nothing", "[contract][jobs]",
                   CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  change(*store, "checks", {version_of(1, 5)});
  const Job job = job_of("visa-1");
  REQUIRE(store->put_job(job) == CommitResult::done);
  const auto before = everything_in(*store);
  const auto refused = [&](auto spoil) {
    auto bad = before;
    spoil(bad);
    return refusal([&] { replace_by(*store, bad); }) == StoreErrc::invalid;
  };
  CHECK(refused([](auto& all) { all[0].jobs[0].task = "risks"; }));
  CHECK(refused([](auto& all) { all[0].jobs[0].id = "NO"; }));
  CHECK(refused([](auto& all) { all[0].jobs[0].revision = 0; }));
  CHECK(refused([](auto& all) { all[0].jobs.push_back(all[0].jobs[0]); }));
  CHECK(refused([](auto& all) {
    all[0].jobs[0].status = JobStatus::succeeded;
    all[0].jobs[0].revision = 2;
    all[0].jobs[0].version = 2;
  }));
  CHECK(refused([](auto& all) {
    Job& first = all[0].jobs[0];
    first.status = JobStatus::succeeded;
    first.revision = 2;
    first.version = 1;
    all[0].jobs.push_back(first);
    all[0].jobs[1].id = "visa-2";
  }));
  CHECK_THROWS_AS(store->replace_all([]() -> std::optional<TaskContents> { throw std::runtime_error{"broken"}; }),
                  std::runtime_error);
  CHECK((store->jobs({}) == std::vector<Job>{job}));
  CHECK(same(everything_in(*store), before));
}

TEMPLATE_TEST_CASE("jobs: read_all shows them in one view with the tasks, while others go on writing",
                   "[contract][jobs]", CANARY_STORE_PLACE) {
  TestType place;
  const auto store = place.open();
  const auto other = place.open();
  for (const char* task : {"a", "b"}) {
    change(*store, task, {version_of(1, 1)});
    REQUIRE(store->put_job(job_of(task, task)) == CommitResult::done);
  }
  std::vector<TaskContents> all;
  store->read_all([&](TaskContents&& contents) {
    if (all.empty()) {
      REQUIRE(other->commit(success_of(*other, *other->find_job("b"))) == CommitResult::done);
      REQUIRE(other->put_job(job_of("c", "b")) == CommitResult::done);
    }
    all.push_back(std::move(contents));
  });
  REQUIRE(all.size() == 2);
  CHECK(all[1].task.versions.size() == 1);
  REQUIRE(all[1].jobs.size() == 1);
  CHECK(all[1].jobs[0].version == 0);
  CHECK(store->jobs({.task = "b"}).size() == 2);
}
