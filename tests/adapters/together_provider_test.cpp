// Fine-tuning as Together has it: another API, and jobs without metadata.
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "canary/adapters/together_provider.hpp"
#include "provider_place.hpp"

namespace together_provider_test {

using namespace canary;
using test::provider_error_of;
using test::ProviderPlace;
using test::Trouble;

namespace {

boost::json::object sent_job(const test::TuningServer& server) {
  std::string body;
  for (const test::TuningSeen& each : server.seen())
    if (each.line == "POST /fine-tunes") body = each.body;
  return boost::json::parse(body).as_object();
}

std::int64_t long_ago() { return std::time(nullptr) - 600; }

}  // namespace

TEST_CASE("together: a file and a job are sent as Together wants them", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  CHECK(provider.place() == "together at " + place.server.url());
  Job job = place.job(provider);
  CHECK(place.server.seen("POST /files/upload") == 1);
  CHECK(place.server.files()[0].name == "train.jsonl");
  (void)provider.create_job(job);
  CHECK(sent_job(place.server) == boost::json::object{{"model", "base-model"},
                                                      {"training_file", job.training_file_id},
                                                      {"suffix", job.id},
                                                      {"training_method", {{"method", "sft"}}}});
  job.suffix = "visa v7";
  job.validation_file_id = job.training_file_id;
  job.method = test::training("dpo", [](TrainingMethod& to) {
    to.epochs = 3;
    to.batch_size = 16;
    to.learning_rate_multiplier = 2;
    to.beta = 0.2;
  });
  (void)provider.create_job(job);
  const boost::json::object sent = sent_job(place.server);
  CHECK(sent.at("suffix").as_string() == "visa-v7-" + job.id);
  CHECK(sent.at("training_method") == boost::json::value{{"method", "dpo"}, {"dpo_beta", 0.2}});
  CHECK(sent.at("n_epochs") == 3);
  CHECK(sent.at("batch_size") == 16);
  CHECK(sent.at("learning_rate") == 0.00002);
  CHECK(sent.at("validation_file").as_string() == job.training_file_id);
  CHECK(sent.at("n_evals") == 1);
  job.method = test::training("reinforcement", [](TrainingMethod& to) { to.grader = "{}"; });
  CHECK(provider_error_of([&] { (void)provider.create_job(job); }).code == ProviderErrc::refused);
  for (const test::TuningSeen& each : place.server.seen())
    CHECK(each.head.find("\r\nAuthorization: Bearer " + std::string{test::marked_key}) != std::string::npos);
}

TEST_CASE("together: a job is followed over its own statuses, and its model named at the end", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  const Job job = place.job(provider);
  const std::string id = provider.create_job(job).id;
  std::vector<std::string> statuses;
  ProviderJob said;
  while (!has_ended(said.status)) {
    said = provider.get_job(id);
    statuses.push_back(said.provider_status + ' ' + std::string{to_string(said.status)});
    CHECK(said.model.empty() == !has_ended(said.status));
  }
  CHECK(statuses ==
        std::vector<std::string>{"queued QUEUED", "running RUNNING", "compressing RUNNING", "completed SUCCEEDED"});
  CHECK(said.model == "acme/base-model-" + job.id + "-0a1b2c3d");
  CHECK(said.trained_tokens == 1'234);
  CHECK(said.finished_at_s >= long_ago());

  place.server.plan({.statuses = {"pending", "error"}, .error = "out of memory"});
  const std::string bad = provider.create_job(job).id;
  said = provider.get_job(bad);
  CHECK(said.status == JobStatus::failed);
  CHECK(said.error == "out of memory");
}

TEST_CASE("together: a job is found by our id in its suffix or its model's name", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  const bool shown = GENERATE(true, false);
  place.server.rules([&](test::TuningRules& rules) { rules.suffix = shown; });
  Job job = place.job(provider, "ft-1");
  job.suffix = "Visa";
  const std::string id = provider.create_job(job).id;
  Job longer = job;
  longer.id = "ft-12";
  longer.suffix.clear();
  (void)provider.create_job(longer);
  Job elsewhere = job;
  elsewhere.training_file_id = provider.upload(place.file(), {});
  CHECK(provider.find_jobs(elsewhere, long_ago()).empty());
  REQUIRE(provider.find_jobs(job, long_ago()).size() == 1);
  CHECK(provider.find_jobs(job, long_ago()).front().id == id);
  CHECK(provider.find_jobs(longer, long_ago()).size() == 1);
}

TEST_CASE("together: a list whose jobs say too little is an error, not a list without ours", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  const Job job = place.job(provider);
  (void)provider.create_job(job);
  for (const Trouble trouble : {Trouble::missing_fields, Trouble::missing_id}) {
    place.server.fault({.what = trouble, .on = "GET /fine-tunes"});
    CHECK(provider_error_of([&] { (void)provider.find_jobs(job, long_ago()); }).code == ProviderErrc::unclear);
  }
}

TEST_CASE("together: a creation goes out once, and what came of it is told apart", "[adapters][provider]") {
  using enum ProviderErrc;
  struct Row {
    Trouble trouble;
    std::optional<ProviderErrc> code;
    std::size_t made;
  };
  for (const Row& row : std::vector<Row>{{Trouble::too_many, limited, 0},
                                         {Trouble::broken, unclear, 0},
                                         {Trouble::reset_before, unclear, 0},
                                         {Trouble::reset_after, unclear, 1},
                                         {Trouble::broken_after, unclear, 1},
                                         {Trouble::truncate, unclear, 1},
                                         {Trouble::malformed, unclear, 1},
                                         {Trouble::missing_id, unclear, 1},
                                         {Trouble::unknown_status, {}, 1}}) {
    INFO("trouble " << static_cast<int>(row.trouble));
    ProviderPlace place;
    TogetherProvider provider{place.options<TogetherOptions>()};
    const Job job = place.job(provider);
    place.server.fault({.what = row.trouble, .on = "POST /fine-tunes"});
    if (row.code)
      CHECK(provider_error_of([&] { (void)provider.create_job(job); }).code == *row.code);
    else
      CHECK(provider.create_job(job).status == JobStatus::running);
    CHECK(place.server.seen("POST /fine-tunes") == 1);
    CHECK(place.server.jobs_of(job.id) == row.made);
    CHECK(provider.find_jobs(job, long_ago()).size() == row.made);
  }
}

TEST_CASE("together: what is to be cancelled says so, and then it is", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  const std::string id = provider.create_job(place.job(provider)).id;
  place.server.fault({.what = Trouble::reset_after, .on = "POST /fine-tunes/*/cancel"});
  const ProviderJob asked = provider.cancel_job(id);
  CHECK(asked.provider_status == "cancel_requested");
  CHECK(asked.status == JobStatus::running);
  CHECK(provider.get_job(id).status == JobStatus::cancelled);
}

TEST_CASE("together: events get ids of ours that stay, and checkpoints their names", "[adapters][provider]") {
  ProviderPlace place;
  TogetherProvider provider{place.options<TogetherOptions>()};
  place.server.rules([](test::TuningRules& rules) { rules.now_s = 1'799'884'800; });
  const std::string id = provider.create_job(place.job(provider)).id;
  (void)provider.get_job(id);
  std::vector<JobEvent> events = provider.events(id, {});
  REQUIRE(events.size() == 2);
  CHECK(events[0].id == "1799884800-0");
  CHECK(events[1].id == "1799884800-1");
  CHECK(events[1].message == "status: queued");
  const std::string last = events[1].id;
  while (!has_ended(provider.get_job(id).status)) continue;
  events = provider.events(id, last);
  REQUIRE(events.size() == 3);
  CHECK(events[2].message == "status: completed");
  CHECK(provider.checkpoints(id).size() == 2);
  CHECK(provider.checkpoints(id)[0].model == id + ":100");
  CHECK(provider.shutdown_date("base-model").empty());
}

}  // namespace together_provider_test
