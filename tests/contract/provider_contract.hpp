// provider_contract.hpp: what every provider promises. A provider joins with one source file:
//
//   class MyPlace {                                                       // a fresh place that trains, without any job
//    public:                                                              // SKIP() in the constructor where there is none
//     [[nodiscard]] std::unique_ptr<canary::Provider> open();             // two of them are two processes that use it
//     [[nodiscard]] std::string training_file();                          // path of a file that it takes
//     void finish(const std::string& provider_job_id);                    // lets a job end well; until then none ends
//     void fail(const std::string& provider_job_id);                      // or badly
//     [[nodiscard]] std::size_t jobs_of(const std::string& our_job_id);   // how many it really has
//   };
//   #define CANARY_PROVIDER_PLACE MyPlace                                 // or several, with commas between them
//   #include "provider_contract.hpp"
#pragma once

#ifndef CANARY_PROVIDER_PLACE
#error "define CANARY_PROVIDER_PLACE as the class that makes providers"
#endif

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/control/provider.hpp"
#include "canary/control/time_text.hpp"

namespace {

using canary::Job;
using canary::JobStatus;
using canary::Provider;
using canary::ProviderErrc;
using canary::ProviderError;
using canary::ProviderJob;

/// A job that could be sent, but for its files.
inline Job contract_job(const std::string& id = "ft-20261129-083000-abcd") {
  Job job;
  job.id = id;
  job.task = "checklist_enrichment";
  job.base_model = "base-model";
  job.prompt_version = "v1";
  return job;
}

template <class Place>
Job sent_job(Place& place, Provider& provider, Job job = contract_job()) {
  job.training_file = place.training_file();
  job.training_file_id = provider.upload(job.training_file, {});
  job.provider_job_id = provider.create_job(job).id;
  return job;
}

/// What `call` throws; a test fails if it throws nothing.
inline ProviderErrc errc_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ProviderError& error) {
    INFO(error.what());
    CHECK_FALSE(std::string{error.what()}.empty());
    CHECK(std::string{error.what()}.size() < 4'000);
    return error.code;
  }
  FAIL("no error");
  return {};
}

/// Until it has ended; some places need a moment for that.
inline ProviderJob at_its_end(Provider& provider, const std::string& id) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{120};
  for (;;) {
    ProviderJob job = provider.get_job(id);
    if (canary::has_ended(job.status)) return job;
    if (std::chrono::steady_clock::now() > patience) throw std::runtime_error{"the job does not end"};
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

inline std::int64_t a_while_ago_s() { return std::time(nullptr) - 600; }

}  // namespace

TEMPLATE_TEST_CASE("provider: it says where it is", "[contract][provider]", CANARY_PROVIDER_PLACE) {
  TestType place;
  CHECK_FALSE(place.open()->place().empty());
}

TEMPLATE_TEST_CASE("provider: a file gets an id, and its progress only rises, to the last byte", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  bool rises = true;
  const std::string id = provider->upload(place.training_file(), [&](std::uint64_t sent, std::uint64_t total) {
    rises = rises && sent >= last && sent <= total;
    last = sent;
    all = total;
  });
  CHECK_FALSE(id.empty());
  CHECK(rises);
  CHECK(last == all);
}

TEMPLATE_TEST_CASE("provider: a file that cannot be read is refused", "[contract][provider]", CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  CHECK(errc_of([&] { (void)provider->upload(place.training_file() + ".missing", {}); }) == ProviderErrc::refused);
  CHECK(errc_of([&] { (void)provider->upload("", {}); }) == ProviderErrc::refused);
  CHECK(errc_of([&] { (void)provider->upload("/", {}); }) == ProviderErrc::refused);
}

TEMPLATE_TEST_CASE("provider: a job that was made is there", "[contract][provider]", CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job job = sent_job(place, *provider);
  REQUIRE_FALSE(job.provider_job_id.empty());
  const ProviderJob said = provider->get_job(job.provider_job_id);
  CHECK(said.id == job.provider_job_id);
  CHECK_FALSE(said.provider_status.empty());
  CHECK_FALSE(canary::has_ended(said.status));
  CHECK(said.model.empty());
  CHECK(said.error.empty());
  CHECK(place.jobs_of(job.id) == 1);
}

TEMPLATE_TEST_CASE("provider: a job is found by our id, from any process, and no other is", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  Job job = contract_job();
  job.training_file = place.training_file();
  job.training_file_id = provider->upload(job.training_file, {});
  CHECK(provider->find_jobs(job, a_while_ago_s()).empty());
  job.provider_job_id = provider->create_job(job).id;
  const Job other = sent_job(place, *provider, contract_job("ft-20261129-083000-abce"));
  for (const auto& each : {provider->find_jobs(job, a_while_ago_s()), place.open()->find_jobs(job, a_while_ago_s())}) {
    REQUIRE(each.size() == 1);
    CHECK(each.front().id == job.provider_job_id);
  }
  REQUIRE(provider->find_jobs(other, 0).size() == 1);
  CHECK(provider->find_jobs(other, 0).front().id == other.provider_job_id);
  CHECK(provider->find_jobs(contract_job("ft-20261129-083000-abc"), 0).empty());
  CHECK(provider->find_jobs(contract_job("083000"), 0).empty());
}

TEMPLATE_TEST_CASE("provider: a job that ends is still found", "[contract][provider]", CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job job = sent_job(place, *provider);
  place.finish(job.provider_job_id);
  CHECK(at_its_end(*provider, job.provider_job_id).status == JobStatus::succeeded);
  REQUIRE(provider->find_jobs(job, a_while_ago_s()).size() == 1);
  CHECK(provider->find_jobs(job, a_while_ago_s()).front().status == JobStatus::succeeded);
}

TEMPLATE_TEST_CASE("provider: a wished suffix, other texts and settings do not hide a job", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  std::size_t number = 0;
  const auto made = [&](const std::function<void(Job&)>& change) {
    Job job = contract_job("ft-20261129-083000-x" + std::to_string(number++));
    change(job);
    job = sent_job(place, *provider, job);
    INFO("number " << number);
    REQUIRE(provider->find_jobs(job, a_while_ago_s()).size() == 1);
    CHECK(provider->find_jobs(job, a_while_ago_s()).front().id == job.provider_job_id);
  };
  made([](Job& job) { job.suffix = "visa-v7"; });
  made([](Job& job) { job.suffix = std::string(500, 'x'); });
  made([](Job& job) { job.suffix = "\xF0\x9F\x90\xA4 'single' \"double\"\n\x1b[31m \xFF"; });
  made([](Job& job) { job.prompt_version = "\xF0\x9F\x90\xA4 \"\\\n\x1b \xFF" + std::string(2'000, 'y'); });
  made([](Job& job) { job.task = std::string(600, 'z'); });
  made([](Job& job) {
    job.method.epochs = 3;
    job.method.batch_size = 8;
    job.method.learning_rate_multiplier = 0.5;
    job.method.seed = 42;
  });
}

TEMPLATE_TEST_CASE("provider: success names a model, and failure its cause", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job good = sent_job(place, *provider);
  place.finish(good.provider_job_id);
  const ProviderJob succeeded = at_its_end(*provider, good.provider_job_id);
  CHECK(succeeded.status == JobStatus::succeeded);
  CHECK_FALSE(succeeded.model.empty());
  CHECK(succeeded.error.empty());

  const Job bad = sent_job(place, *provider, contract_job("ft-20261129-083000-fail"));
  place.fail(bad.provider_job_id);
  const ProviderJob failed = at_its_end(*provider, bad.provider_job_id);
  CHECK(failed.status == JobStatus::failed);
  CHECK(failed.model.empty());
  CHECK_FALSE(failed.error.empty());
  CHECK(provider->get_job(good.provider_job_id).model == succeeded.model);
}

TEMPLATE_TEST_CASE("provider: a job that is cancelled ends so, and one that has ended cannot be",
                   "[contract][provider]", CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job job = sent_job(place, *provider);
  CHECK(provider->cancel_job(job.provider_job_id).id == job.provider_job_id);
  CHECK(at_its_end(*provider, job.provider_job_id).status == JobStatus::cancelled);
  CHECK(errc_of([&] { (void)provider->cancel_job(job.provider_job_id); }) == ProviderErrc::refused);

  const Job done = sent_job(place, *provider, contract_job("ft-20261129-083000-done"));
  place.finish(done.provider_job_id);
  CHECK(at_its_end(*provider, done.provider_job_id).status == JobStatus::succeeded);
  CHECK(errc_of([&] { (void)provider->cancel_job(done.provider_job_id); }) == ProviderErrc::refused);
  CHECK(provider->get_job(done.provider_job_id).status == JobStatus::succeeded);
}

TEMPLATE_TEST_CASE("provider: a job that never was is not found, whatever its id looks like", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  (void)sent_job(place, *provider);
  for (const std::string& id : {std::string{"ftjob-never"}, std::string{}, std::string{"../files"},
                                std::string{"a/b?c#d"}, std::string{"\n\x1b[31m \xFF"}, std::string(5'000, 'x')}) {
    INFO(id.substr(0, 100));
    CHECK(errc_of([&] { (void)provider->get_job(id); }) == ProviderErrc::not_found);
    CHECK(errc_of([&] { (void)provider->cancel_job(id); }) == ProviderErrc::not_found);
    CHECK(errc_of([&] { (void)provider->events(id, {}); }) == ProviderErrc::not_found);
    CHECK(errc_of([&] { (void)provider->checkpoints(id); }) == ProviderErrc::not_found);
  }
}

TEMPLATE_TEST_CASE("provider: events come with the oldest first, and after one only later ones", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job job = sent_job(place, *provider);
  place.finish(job.provider_job_id);
  (void)at_its_end(*provider, job.provider_job_id);
  const std::vector<canary::JobEvent> all = provider->events(job.provider_job_id, {});
  std::set<std::string> ids;
  for (std::size_t i = 0; i != all.size(); ++i) {
    CHECK_FALSE(all[i].id.empty());
    CHECK(ids.insert(all[i].id).second);
    if (i != 0) CHECK(all[i].at_s >= all[i - 1].at_s);
    const std::vector<canary::JobEvent> later = provider->events(job.provider_job_id, all[i].id);
    REQUIRE(later.size() == all.size() - i - 1);
    for (std::size_t k = 0; k != later.size(); ++k) CHECK(later[k].id == all[i + 1 + k].id);
  }
}

TEMPLATE_TEST_CASE("provider: checkpoints come by their step, each with a model", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  const Job job = sent_job(place, *provider);
  CHECK(provider->checkpoints(job.provider_job_id).empty());
  place.finish(job.provider_job_id);
  (void)at_its_end(*provider, job.provider_job_id);
  const std::vector<canary::Checkpoint> checkpoints = provider->checkpoints(job.provider_job_id);
  for (std::size_t i = 0; i != checkpoints.size(); ++i) {
    CHECK_FALSE(checkpoints[i].model.empty());
    if (i != 0) CHECK(checkpoints[i].step >= checkpoints[i - 1].step);
  }
}

TEMPLATE_TEST_CASE("provider: the day of a model's end is a date, or nothing", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  for (const char* model : {"base-model", "no-such-model", "", "a/b:c d"}) {
    const std::string date = provider->shutdown_date(model);
    CHECK((date.empty() || (date.size() == 10 && canary::is_date(date))));
  }
}

TEMPLATE_TEST_CASE("provider: after cancel() every call ends with it, and nothing is made", "[contract][provider]",
                   CANARY_PROVIDER_PLACE) {
  TestType place;
  const auto provider = place.open();
  Job job = contract_job();
  job.training_file = place.training_file();
  job.training_file_id = provider->upload(job.training_file, {});
  provider->cancel();
  CHECK(errc_of([&] { (void)provider->upload(job.training_file, {}); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->create_job(job); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->find_jobs(job, 0); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->get_job("x"); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->cancel_job("x"); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->events("x", {}); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->checkpoints("x"); }) == ProviderErrc::cancelled);
  CHECK(errc_of([&] { (void)provider->shutdown_date("x"); }) == ProviderErrc::cancelled);
  CHECK(place.jobs_of(job.id) == 0);
  CHECK_FALSE(place.open()->upload(job.training_file, {}).empty());  // another process goes on
}
