// Fine-tuning as OpenAI and Azure have it: what is sent, what is made of the answers, and of everything that is none.
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "canary/adapters/openai_provider.hpp"
#include "http_server.hpp"
#include "provider_place.hpp"
#include "tls_server.hpp"

namespace openai_provider_test {

using namespace canary;
using test::provider_error_of;
using test::ProviderPlace;
using test::Trouble;

namespace {

boost::json::object sent_json(const test::TuningServer& server, const std::string& line) {
  std::string body;
  for (const test::TuningSeen& each : server.seen())
    if (each.line == line) body = each.body;
  return boost::json::parse(body).as_object();
}

const std::string jobs_line = "POST /fine_tuning/jobs";

std::int64_t long_ago() { return std::time(nullptr) - 600; }

}  // namespace

TEST_CASE("openai: a job is asked for with our id, and with nothing that was not set", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  CHECK(provider.place() == "openai at " + place.server.url());
  const Job job = place.job(provider);
  const ProviderJob made = provider.create_job(job);
  CHECK(made.status == JobStatus::queued);
  CHECK(made.provider_status == "validating_files");
  const boost::json::object expected{
      {"model", "base-model"},
      {"training_file", job.training_file_id},
      {"suffix", job.id},
      {"metadata", {{"canary_job", job.id}, {"canary_task", "risk_explanation"}, {"canary_prompt_version", "v3"}}}};
  CHECK(sent_json(place.server, jobs_line) == expected);
  CHECK(place.server.jobs_of(job.id) == 1);
  CHECK(place.waits.empty());
}

TEST_CASE("openai: settings go into the method of their type", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  Job job = place.job(provider);
  const auto method = [&] {
    (void)provider.create_job(job);
    const boost::json::object sent = sent_json(place.server, jobs_line);
    return sent.contains("method") ? boost::json::serialize(sent.at("method")) : std::string{};
  };
  job.suffix = "visa v7";
  job.validation_file_id = job.training_file_id;
  job.method = test::training("supervised", [](TrainingMethod& to) {
    to.epochs = 3;
    to.batch_size = 8;
    to.learning_rate_multiplier = 0.5;
    to.beta = 0.1;
    to.seed = 42;
  });
  CHECK(method() == R"({"type":"supervised","supervised":{"hyperparameters":)"
                    R"({"n_epochs":3,"batch_size":8,"learning_rate_multiplier":5E-1}}})");
  const boost::json::object sent = sent_json(place.server, jobs_line);
  CHECK(sent.at("suffix") == "visa-v7");
  CHECK(sent.at("seed") == 42);
  CHECK(sent.at("validation_file").as_string() == job.training_file_id);
  job.method = test::training("dpo", [](TrainingMethod& to) { to.beta = 0.25; });
  CHECK(method() == R"({"type":"dpo","dpo":{"hyperparameters":{"beta":2.5E-1}}})");
  job.method = test::training("dpo");
  CHECK(method() == R"({"type":"dpo"})");
  job.method = test::training("reinforcement", [](TrainingMethod& to) {
    to.epochs = 1;
    to.grader = R"({"type":"string_check"})";
  });
  CHECK(method() == R"({"type":"reinforcement","reinforcement":{"hyperparameters":{"n_epochs":1},)"
                    R"("grader":{"type":"string_check"}}})");
}

TEST_CASE("openai: what makes no sense is refused before anything is sent", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job good = place.job(provider);
  const auto refused = [&](const auto& change) {
    Job job = good;
    change(job);
    return provider_error_of([&] { (void)provider.create_job(job); }).code == ProviderErrc::refused;
  };
  CHECK(refused([](Job& job) { job.base_model.clear(); }));
  CHECK(refused([](Job& job) { job.training_file_id.clear(); }));
  CHECK(refused([](Job& job) { job.method.seed = 0x8000'0000; }));
  CHECK(refused([](Job& job) { job.method.type = "reinforcement"; }));
  CHECK(refused(
      [](Job& job) { job.method = test::training("reinforcement", [](TrainingMethod& to) { to.grader = "[1]"; }); }));
  CHECK(place.server.seen(jobs_line) == 0);
}

TEST_CASE("openai: a job's fields are read", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  Job job = place.job(provider);
  job.method.seed = 7;
  const std::string id = provider.create_job(job).id;
  std::vector<std::string> statuses;
  ProviderJob said;
  while (!has_ended(said.status)) statuses.push_back((said = provider.get_job(id)).provider_status);
  CHECK(statuses == std::vector<std::string>{"queued", "running", "succeeded"});
  CHECK(said.model == "ft:base-model:acme:" + job.id + ':' + id);
  CHECK(said.trained_tokens == 1'234);
  CHECK(said.finished_at_s >= long_ago());
  CHECK(said.seed == 7u);
  CHECK(said.error.empty());

  place.server.plan({.statuses = {"queued", "failed"}, .error = "line 3 is no good"});
  const std::string bad = provider.create_job(job).id;
  said = provider.get_job(bad);
  CHECK(said.status == JobStatus::failed);
  CHECK(said.error == "line 3 is no good (invalid_training_file)");
}

TEST_CASE("azure: the key goes alone, the path is Azure's, and a file is waited for", "[adapters][provider]") {
  ProviderPlace place;
  place.server.rules([](test::TuningRules& rules) { rules.import_looks = 3; });
  for (const char* base : {"", "/", "/openai", "/openai/v1/"}) {
    OpenAiOptions options = place.options<OpenAiOptions>(base);
    options.dialect = OpenAiDialect::azure;
    OpenAiProvider provider{options};
    CHECK(provider.place() == "azure at " + place.server.url());
    place.waits.clear();
    (void)provider.create_job(place.job(provider));
    CHECK(place.waits.size() == 3);
  }
  for (const test::TuningSeen& each : place.server.seen()) {
    CHECK(each.head.find(" /openai/v1/f") != std::string::npos);
    CHECK(each.head.find("\r\napi-key: " + std::string{test::marked_key} + "\r\n") != std::string::npos);
    CHECK(each.head.find("Authorization") == std::string::npos);
  }
  OpenAiOptions nowhere = place.options<OpenAiOptions>();
  nowhere.base_url.clear();
  nowhere.dialect = OpenAiDialect::azure;
  CHECK(provider_error_of([&] { OpenAiProvider{nowhere}; }).code == ProviderErrc::refused);
}

TEST_CASE("openai: the key stands in one header of each request, and in no error", "[adapters][provider]") {
  ProviderPlace place;
  {
    OpenAiProvider provider{place.options<OpenAiOptions>()};
    Job job = place.job(provider);
    job.provider_job_id = provider.create_job(job).id;
    (void)provider.find_jobs(job, 0);
    (void)provider.events(job.provider_job_id, {});
    (void)provider.shutdown_date("base-model");
    (void)provider.cancel_job(job.provider_job_id);
  }
  for (const test::TuningSeen& each : place.server.seen()) {
    const std::size_t at = each.head.find("SECRET");
    REQUIRE(at != std::string::npos);
    CHECK(each.head.find("SECRET", at + 1) == std::string::npos);
    CHECK(each.head.rfind("\r\nAuthorization: Bearer sk-", at) != std::string::npos);
    CHECK(each.body.find("SECRET") == std::string::npos);
  }
  place.server.rules([](test::TuningRules& rules) { rules.key = "another"; });  // the refusal repeats ours
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const ProviderError error = provider_error_of([&] { (void)provider.get_job("ftjob-1"); });
  CHECK(error.code == ProviderErrc::denied);
  CHECK(std::string{error.what()}.find("Incorrect API key provided: Bearer ***") != std::string::npos);
  CHECK(error.hint.find("TUNING_KEY") != std::string::npos);
}

TEST_CASE("openai: without a good key or URL there is no provider, and words say why", "[adapters][provider]") {
  ProviderPlace place;
  const auto error_of = [&](const auto& change) {
    OpenAiOptions options = place.options<OpenAiOptions>();
    change(options);
    return provider_error_of([&] { OpenAiProvider{options}; });
  };
  const auto says = [](const ProviderError& error, std::string_view words) {
    INFO(error.what() << "; " << error.hint);
    return (std::string{error.what()} + error.hint).find(words) != std::string::npos;
  };
  const ProviderError unset = error_of([](OpenAiOptions& options) { options.api_key_env = "NO_SUCH_KEY"; });
  CHECK(unset.code == ProviderErrc::denied);
  CHECK(says(unset, "NO_SUCH_KEY is not set"));
  for (const char* key : {"", "sk-SECRET\n", "sk-SECRET x", "\"sk-SECRET\xC3\xA9\""})
    CHECK(error_of([key](OpenAiOptions& options) { options.environment = [key](const char*) { return key; }; }).code ==
          ProviderErrc::denied);
  for (const char* url :
       {"http://api.example.com/v1", "http://127.0.0.1.example.com/v1", "ftp://127.0.0.1/v1", "api.openai.com/v1",
        "https://user:SECRET@api.example.com/v1", "https://api.example.com/v1?a=b", "https://api.example.com/v1#a",
        "https:///v1", "file:///etc/passwd"}) {
    INFO(url);
    const ProviderError error = error_of([url](OpenAiOptions& options) { options.base_url = url; });
    CHECK(error.code == ProviderErrc::refused);
    CHECK(says(error, "base_url"));
    CHECK_FALSE(error.hint.empty());
  }
  OpenAiOptions keyless = place.options<OpenAiOptions>();
  keyless.api_key_env.clear();
  place.server.rules([](test::TuningRules& rules) { rules.key.clear(); });
  OpenAiProvider provider{keyless};
  CHECK_FALSE(provider.upload(place.file(), {}).empty());
  CHECK(place.server.seen().front().head.find("uthorization") == std::string::npos);
}

TEST_CASE("openai: a creation goes out once, and what came of it is told apart", "[adapters][provider]") {
  struct Row {
    Trouble trouble;
    std::optional<ProviderErrc> code;  // none: the job is there
    std::size_t made;
  };
  using enum ProviderErrc;
  const std::vector<Row> rows{
      {Trouble::too_many, limited, 0},     {Trouble::broken, unclear, 0},      {Trouble::bad_gateway, unclear, 0},
      {Trouble::unavailable, unclear, 0},  {Trouble::closed, denied, 0},       {Trouble::reset_before, unclear, 0},
      {Trouble::hold_before, unclear, 0},  {Trouble::reset_after, unclear, 1}, {Trouble::close_after, unclear, 1},
      {Trouble::broken_after, unclear, 1}, {Trouble::hold_after, unclear, 1},  {Trouble::truncate, unclear, 1},
      {Trouble::malformed, unclear, 1},    {Trouble::missing_id, unclear, 1},  {Trouble::slow, {}, 1},
      {Trouble::unknown_status, {}, 1},    {Trouble::missing_fields, {}, 1},
  };
  for (const Row& row : rows) {
    INFO("trouble " << static_cast<int>(row.trouble));
    ProviderPlace place;
    OpenAiOptions options = place.options<OpenAiOptions>();
    options.total_ms = 10'000;
    OpenAiProvider setup{options};
    const Job job = place.job(setup);
    if (row.trouble == Trouble::hold_before || row.trouble == Trouble::hold_after) options.total_ms = 300;
    OpenAiProvider provider{options};
    (void)provider.shutdown_date("base-model");  // so that a connection is open already
    place.server.fault({.what = row.trouble, .on = jobs_line});
    if (row.code) {
      const ProviderError error = provider_error_of([&] { (void)provider.create_job(job); });
      CHECK(error.code == *row.code);
      if (row.trouble == Trouble::too_many) CHECK(error.retry_after_ms == 5);
      if (row.trouble == Trouble::closed) CHECK(error.hint.find("closed to new users") != std::string::npos);
    } else {
      const ProviderJob made = provider.create_job(job);
      CHECK_FALSE(made.id.empty());
      if (row.trouble != Trouble::slow) CHECK(made.status == JobStatus::running);
      if (row.trouble == Trouble::unknown_status) CHECK(made.provider_status == "reticulating_splines");
    }
    CHECK(place.server.seen(jobs_line) == 1);
    CHECK(place.server.jobs_of(job.id) == row.made);
    CHECK(provider.find_jobs(job, long_ago()).size() == row.made);
    CHECK(place.waits.empty());
  }
}

TEST_CASE("openai: a creation that nobody hears is not made, and a clear refusal neither", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  Job job = place.job(provider);
  job.training_file_id = "file-unknown";
  const ProviderError refused = provider_error_of([&] { (void)provider.create_job(job); });
  CHECK(refused.code == ProviderErrc::refused);
  CHECK(std::string{refused.what()}.find("400: invalid training_file: file-unknown (invalid_file)") !=
        std::string::npos);

  OpenAiOptions nobody = place.options<OpenAiOptions>();
  {
    const test::HttpServer gone;
    nobody.base_url = gone.url("/v1");
  }
  OpenAiProvider lost{nobody};
  CHECK(provider_error_of([&] { (void)lost.create_job(job); }).code == ProviderErrc::unavailable);
  CHECK(place.waits.empty());
  CHECK(provider_error_of([&] { (void)lost.get_job("ftjob-1"); }).code == ProviderErrc::unavailable);
  CHECK(place.waits.size() == 2);
}

TEST_CASE("openai: statuses of refusals have their kinds", "[adapters][provider]") {
  using enum ProviderErrc;
  test::HttpServer server;
  OpenAiOptions options;
  options.base_url = server.url("/v1");
  options.api_key_env.clear();
  options.retry.tries = 1;
  OpenAiProvider provider{options};
  Job job;
  job.base_model = "base-model";
  job.training_file_id = "file-1";
  struct Row {
    int status;
    std::string body;
    ProviderErrc get;
    ProviderErrc create;
    std::string_view hint;
  };
  const std::string quota = R"({"error":{"message":"You exceeded your quota","code":"insufficient_quota"}})";
  const std::string closed =
      R"({"error":{"message":"The fine-tuning platform is not accepting new users.","code":"forbidden"}})";
  for (const Row& row : std::vector<Row>{
           {301, "", refused, refused, "redirects are not followed"},
           {400, "{}", refused, refused, ""},
           {401, "", denied, denied, "api_key_env"},
           {402, "", denied, denied, "billing"},
           {403, "", denied, denied, "may do this"},
           {403, closed, denied, denied, "together, azure or command"},
           {404, "<html>", not_found, not_found, "/v1"},
           {408, "", unavailable, unclear, ""},
           {409, "", unavailable, unclear, ""},
           {413, "", refused, refused, "too large"},
           {422, "", refused, refused, ""},
           {429, "", limited, limited, ""},
           {429, quota, denied, denied, "billing"},
           {500, "", unavailable, unclear, ""},
           {599, "", unavailable, unclear, ""},
           {200, "no JSON", unclear, unclear, "base_url"},
           {200, "[]", unclear, unclear, ""},
           {204, "", unclear, unclear, ""},
       }) {
    INFO(row.status << ' ' << row.body);
    server.answer({{row.status, "", row.body}, {row.status, "", row.body}});
    const ProviderError get = provider_error_of([&] { (void)provider.get_job("ftjob-1"); });
    CHECK(get.code == row.get);
    CHECK(get.hint.find(row.hint) != std::string::npos);
    CHECK(provider_error_of([&] { (void)provider.create_job(job); }).code == row.create);
  }
}

TEST_CASE("openai: what may be asked twice is asked again, and then it is as it should be", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  const std::string id = provider.create_job(job).id;
  place.server.rules([](test::TuningRules& rules) { rules.steps = false; });
  for (const Trouble trouble :
       {Trouble::too_many, Trouble::broken, Trouble::bad_gateway, Trouble::unavailable, Trouble::reset_before,
        Trouble::reset_after, Trouble::close_after, Trouble::broken_after, Trouble::truncate, Trouble::malformed}) {
    INFO("trouble " << static_cast<int>(trouble));
    place.waits.clear();
    place.server.fault({.what = trouble, .times = 2});
    CHECK(provider.get_job(id).provider_status == "validating_files");
    // An old connection that ends without an answer is tried again by libcurl, at once.
    CHECK(place.waits.size() <= 2);
    CHECK(place.server.faults_met() != 0);
    place.server.fault({.what = trouble});
    CHECK(provider.find_jobs(job, long_ago()).size() == 1);
    place.server.fault({.what = trouble});
    CHECK_FALSE(provider.upload(place.file(), {}).empty());
    place.server.fault({.what = trouble});
    CHECK(provider.events(id, {}).size() == 1);
  }
  place.server.fault({.what = Trouble::unknown_status});
  CHECK(provider.get_job(id).provider_status == "reticulating_splines");
  place.server.fault({.what = Trouble::missing_id});
  CHECK(provider_error_of([&] { (void)provider.get_job(id); }).code == ProviderErrc::unclear);
}

TEST_CASE("openai: waits are as long as was asked, and no longer than is bearable", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const std::string id = provider.create_job(place.job(provider)).id;
  const auto asks = [&](const std::string& headers, std::uint32_t times) {
    place.server.rules([&](test::TuningRules& rules) { rules.retry_after = headers; });
    place.waits.clear();
    place.server.fault({.what = Trouble::too_many, .times = times});
  };
  asks("Retry-After: 3\r\n", 1);
  (void)provider.get_job(id);
  REQUIRE(place.waits.size() == 1);
  CHECK(place.waits[0] >= 3'000);
  asks("retry-after-ms: 4000\r\n", 1);
  (void)provider.get_job(id);
  REQUIRE(place.waits.size() == 1);
  CHECK(place.waits[0] >= 4'000);
  asks("x-should-retry: false\r\n", 1);
  CHECK(provider_error_of([&] { (void)provider.get_job(id); }).code == ProviderErrc::limited);
  CHECK(place.waits.empty());
  asks("Retry-After: 60\r\n", 1);  // somebody else may be served meanwhile
  const ProviderError later = provider_error_of([&] { (void)provider.get_job(id); });
  CHECK(later.code == ProviderErrc::limited);
  CHECK(later.retry_after_ms == 60'000);
  CHECK(place.waits.empty());
  asks("Retry-After: 1\r\n", 3);
  CHECK(provider_error_of([&] { (void)provider.get_job(id); }).retry_after_ms == 1'000);
  CHECK(place.waits.size() == 2);
}

TEST_CASE("openai: a call ends within its time, however often it would have tried", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.wait = {};
  options.call_ms = 200;
  options.retry = {.tries = 1'000'000, .backoff = {.first_ms = 1, .longest_ms = 2}};
  place.server.fault({.what = Trouble::broken, .on = "GET *", .times = 1'000'000});
  OpenAiProvider provider{options};
  CHECK(provider_error_of([&] { (void)provider.get_job("ftjob-1"); }).code == ProviderErrc::unavailable);
}

TEST_CASE("openai: a job is found among hundreds, over pages", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  const std::string id = provider.create_job(job).id;
  Job other = job;
  for (int i = 0; i != 250; ++i) {
    other.id = "ft-other-" + std::to_string(i);
    (void)provider.create_job(other);
  }
  const std::size_t before = place.server.seen("GET /fine_tuning/jobs");
  REQUIRE(provider.find_jobs(job, long_ago()).size() == 1);
  CHECK(provider.find_jobs(job, long_ago()).front().id == id);
  CHECK(place.server.seen("GET /fine_tuning/jobs") == before + 6);
  place.server.rules([](test::TuningRules& rules) { rules.oldest_first = true; });
  CHECK(provider.find_jobs(job, long_ago()).size() == 1);
  other.id = "ft-other-249";
  CHECK(provider.find_jobs(other, long_ago()).size() == 1);
}

TEST_CASE("openai: the search ends at what is older than the job can be, in a list that falls",
          "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  Job other = job;
  std::int64_t now_s = 1'700'000'000;
  for (int i = 0; i != 150; ++i) {
    place.server.rules([&](test::TuningRules& rules) { rules.now_s = now_s += 60; });
    other.id = "ft-other-" + std::to_string(i);
    (void)provider.create_job(other);
  }
  const auto looks = [&](std::int64_t since_s) {
    const std::size_t before = place.server.seen("GET /fine_tuning/jobs");
    CHECK(provider.find_jobs(job, since_s).empty());
    return place.server.seen("GET /fine_tuning/jobs") - before;
  };
  CHECK(looks(now_s + 86'400 + 60) == 1);
  CHECK(looks(0) == 2);
  place.server.rules([](test::TuningRules& rules) { rules.oldest_first = true; });
  CHECK(looks(now_s + 86'400 + 60) == 2);
}

TEST_CASE("openai: jobs that were made twice are both found, the older first", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  const std::string first = provider.create_job(job).id;
  const std::string second = provider.create_job(job).id;
  std::vector<ProviderJob> found = provider.find_jobs(job, long_ago());
  REQUIRE(found.size() == 2);  // within one second the list's order tells
  CHECK(found[0].id == first);
  CHECK(found[1].id == second);
  place.server.rules([](test::TuningRules& rules) {
    rules.now_s = std::time(nullptr) + 5;
    rules.oldest_first = true;
  });
  const std::string third = provider.create_job(job).id;
  found = provider.find_jobs(job, long_ago());
  REQUIRE(found.size() == 3);
  CHECK(found[2].id == third);
}

TEST_CASE("openai: where metadata is forgotten a job is known by its file and its suffix", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const bool suffix = GENERATE(true, false);
  place.server.rules([&](test::TuningRules& rules) {
    rules.metadata = false;
    rules.suffix = suffix;
  });
  Job job = place.job(provider);
  job.suffix = "visa";
  CHECK(provider.find_jobs(job, long_ago()).empty());
  const std::string id = provider.create_job(job).id;
  Job other = place.job(provider, "ft-other");
  other.suffix = "visa";
  (void)provider.create_job(other);
  REQUIRE(provider.find_jobs(job, long_ago()).size() == 1);
  CHECK(provider.find_jobs(job, long_ago()).front().id == id);
  Job never = job;
  never.training_file_id = "file-never";
  CHECK(provider.find_jobs(never, long_ago()).empty());
  if (!suffix) return;
  Job same_file = job;  // by somebody else
  same_file.suffix = "else";
  CHECK(provider.find_jobs(same_file, long_ago()).empty());
}

TEST_CASE("openai: a job with another's id in its metadata is another's, whatever its file", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  Job job = place.job(provider);
  (void)provider.create_job(job);
  job.id = "ft-other";
  CHECK(provider.find_jobs(job, long_ago()).empty());
}

TEST_CASE("openai: a list without an end is an error, unless the job is in it", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  Job other = job;
  other.id = "ft-other";
  (void)provider.create_job(other);
  place.server.rules([](test::TuningRules& rules) { rules.endless = true; });
  CHECK(provider_error_of([&] { (void)provider.find_jobs(job, long_ago()); }).code == ProviderErrc::unclear);
  CHECK(provider.find_jobs(other, long_ago()).size() == 1);
}

TEST_CASE("openai: a list whose jobs say too little is an error, not a list without ours", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  (void)provider.create_job(job);
  for (const Trouble trouble : {Trouble::missing_fields, Trouble::missing_id}) {
    place.server.fault({.what = trouble, .on = "GET /fine_tuning/jobs"});
    CHECK(provider_error_of([&] { (void)provider.find_jobs(job, long_ago()); }).code == ProviderErrc::unclear);
  }
  CHECK(provider.find_jobs(job, long_ago()).size() == 1);
}

TEST_CASE("openai: to cancel is well, also if the first answer was lost", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  const Job job = place.job(provider);
  for (const Trouble trouble : {Trouble::reset_after, Trouble::broken_after, Trouble::malformed, Trouble::truncate}) {
    const std::string id = provider.create_job(job).id;
    place.server.fault({.what = trouble, .on = "POST /fine_tuning/jobs/*/cancel"});
    CHECK(provider.cancel_job(id).status == JobStatus::cancelled);
    const ProviderError again = provider_error_of([&] { (void)provider.cancel_job(id); });
    CHECK(again.code == ProviderErrc::refused);
    CHECK(std::string{again.what()}.find("it has ended already: CANCELLED") != std::string::npos);
  }
  CHECK(provider_error_of([&] { (void)provider.cancel_job("ftjob-never"); }).code == ProviderErrc::not_found);
}

TEST_CASE("openai: hundreds of events come over pages, the oldest first", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  test::TuningPlan plan;
  plan.statuses.assign(250, "running");
  plan.statuses.push_back("succeeded");
  place.server.plan(plan);
  std::int64_t now_s = 1'700'000'000;
  place.server.rules([&](test::TuningRules& rules) { rules.now_s = now_s; });
  const std::string id = provider.create_job(place.job(provider)).id;
  for (int i = 0; i != 250; ++i) {
    place.server.rules([&](test::TuningRules& rules) { rules.now_s = now_s += i % 2; });
    (void)provider.get_job(id);
  }
  const std::vector<JobEvent> all = provider.events(id, {});
  REQUIRE(all.size() == 251);
  CHECK(all.back().message == "status: succeeded");
  CHECK(all.back().level == "info");
  const std::size_t before = place.server.seen("GET /fine_tuning/jobs/*/events");
  const std::vector<JobEvent> last = provider.events(id, all[247].id);
  CHECK(last.size() == 3);
  CHECK(place.server.seen("GET /fine_tuning/jobs/*/events") == before + 1);  // newer ones are all on the first page
  CHECK(provider.events(id, "ftevent-unknown").size() == 251);
  CHECK(provider.checkpoints(id).size() == 2);
  CHECK(provider.checkpoints(id)[0].step == 100);
  CHECK(provider.checkpoints(id)[0].metrics == R"({"train_loss":5E-1,"step":100})");
}

TEST_CASE("openai: a server without events or checkpoints has none", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  test::HttpServer server;
  OpenAiOptions options;
  options.base_url = server.url("/v1");
  options.api_key_env.clear();
  OpenAiProvider plain{options};
  for (const int status : {404, 405}) {
    server.answer({{status, "", ""}, {200, "", R"({"id":"ftjob-1","status":"running"})"}});
    CHECK(plain.events("ftjob-1", {}).empty());
    server.answer({{status, "", ""}, {200, "", R"({"id":"ftjob-1","status":"running"})"}});
    CHECK(plain.checkpoints("ftjob-1").empty());
  }
}

TEST_CASE("openai: the day of a model's end is read in every form, from the model or from the list",
          "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  place.server.rules([](test::TuningRules& rules) {
    rules.models = {{"date", "2027-01-14"},         {"time", "2027-01-14T23:30:00-01:00"},
                    {"unix", 1'799'884'800},        {"none", nullptr},
                    {"words", "when it is time"},   {"far", 1'799'884'800'000},
                    {"list", boost::json::array{1}}};
  });
  CHECK(provider.shutdown_date("date") == "2027-01-14");
  CHECK(provider.shutdown_date("time") == "2027-01-15");
  CHECK(provider.shutdown_date("unix") == "2027-01-14");
  for (const char* model : {"none", "words", "far", "list", "unknown", ""})
    CHECK(provider.shutdown_date(model).empty());

  test::HttpServer server;
  OpenAiOptions options;
  options.base_url = server.url("/v1");
  options.api_key_env.clear();
  OpenAiProvider plain{options};
  server.answer({{404, "", ""}, {200, "", R"({"data":[{"id":"other"},{"id":"m","shutdown_date":"2027-02-01"}]})"}});
  CHECK(plain.shutdown_date("m") == "2027-02-01");
  server.answer({{200, "", R"({"id":"m","deprecation":{"fine_tune":1,"inference":1799884800}})"}});
  CHECK(plain.shutdown_date("m") == "2027-01-14");
  server.answer({{404, "", ""}, {404, "", ""}});
  CHECK(plain.shutdown_date("m").empty());
  CHECK(server.seen().back().target.starts_with("/v1/models?"));
}

TEST_CASE("openai: a large file goes in parts, in order and none larger than allowed", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.single_upload_most_bytes = 1'000'000;
  options.upload_part_bytes = 700'000;
  OpenAiProvider provider{options};
  const test::ByteHash hash = test::write_large(place.file(), 3'000'001);
  std::vector<std::uint64_t> steps;
  const std::string id = provider.upload(place.file(), [&](std::uint64_t sent, std::uint64_t total) {
    CHECK(total == 3'000'001);
    steps.push_back(sent);
  });
  CHECK(std::is_sorted(steps.begin(), steps.end()));
  CHECK(steps.back() == 3'000'001);
  REQUIRE(place.server.files().size() == 1);
  CHECK(place.server.files()[0].id == id);
  CHECK(place.server.files()[0].bytes == 3'000'001);
  CHECK(place.server.files()[0].hash == hash);
  CHECK(place.server.largest_part() == 700'000);
  CHECK(sent_json(place.server, "POST /uploads") ==
        boost::json::object{
            {"filename", "train.jsonl"}, {"purpose", "fine-tune"}, {"bytes", 3'000'001}, {"mime_type", "text/jsonl"}});
  (void)test::write_large(place.file(), 1'000'000);
  (void)provider.upload(place.file(), {});
  CHECK(place.server.seen("POST /files") == 1);
}

TEST_CASE("openai: parts whose answer was lost are sent again, and count once", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.single_upload_most_bytes = 1;
  options.upload_part_bytes = 400'000;
  OpenAiProvider provider{options};
  const test::ByteHash hash = test::write_large(place.file(), 1'000'000);
  for (const Trouble trouble : {Trouble::too_many, Trouble::broken, Trouble::reset_before, Trouble::reset_after,
                                Trouble::truncate, Trouble::malformed, Trouble::slow}) {
    INFO("trouble " << static_cast<int>(trouble));
    place.server.fault({.what = trouble, .on = "POST /uploads/*/parts", .times = 2});
    (void)provider.upload(place.file(), {});
    CHECK(place.server.files().back().bytes == 1'000'000);
    CHECK(place.server.files().back().hash == hash);
  }
  // A completion whose answer was lost is refused when it is said again; then all of it may be said again.
  place.server.fault({.what = Trouble::reset_after, .on = "POST /uploads/*/complete"});
  const ProviderError error = provider_error_of([&] { (void)provider.upload(place.file(), {}); });
  CHECK(error.code == ProviderErrc::unclear);
  // What comes to nothing is taken back.
  place.server.fault({.what = Trouble::broken, .on = "POST /uploads/*/parts", .times = 3});
  CHECK(provider_error_of([&] { (void)provider.upload(place.file(), {}); }).code == ProviderErrc::unavailable);
  CHECK(place.server.seen("POST /uploads/*/cancel") == 2);
}

TEST_CASE("openai: the end of an upload in parts may take as long as a part", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.single_upload_most_bytes = 1;
  options.total_ms = 1'000;
  options.idle_ms = 1'500;
  options.retry.tries = 1;
  OpenAiProvider provider{options};
  place.server.fault({.what = Trouble::hold_after, .on = "POST /uploads/*/complete"});
  const ProviderError error = provider_error_of([&] { (void)provider.upload(place.file(), {}); });
  CHECK(std::string{error.what()}.find("nothing came or went for 1500 ms") != std::string::npos);
}

TEST_CASE("openai: an answer that is too long is said to be, and is not asked for again", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  place.server.plan({.statuses = {"queued", "failed"}, .error = std::string(5'000'000, 'e')});
  const std::string id = provider.create_job(place.job(provider)).id;
  const ProviderError error = provider_error_of([&] { (void)provider.get_job(id); });
  CHECK(error.code == ProviderErrc::too_large);
  CHECK(std::string{error.what()}.find("longer than") != std::string::npos);
  CHECK(error.hint.find("base_url") != std::string::npos);
  CHECK_FALSE(may_change(error.code));
  CHECK(place.server.seen("GET /fine_tuning/jobs/*") == 1);
}

TEST_CASE("openai: what cannot be uploaded is refused with its name", "[adapters][provider]") {
  ProviderPlace place;
  OpenAiProvider provider{place.options<OpenAiOptions>()};
  place.folder.write("empty.jsonl", "");
  for (const char* name : {"empty.jsonl", "missing.jsonl", ""}) {
    const std::string path = (place.folder.path() / name).string();
    const ProviderError error = provider_error_of([&] { (void)provider.upload(path, {}); });
    CHECK(error.code == ProviderErrc::refused);
    CHECK(std::string{error.what()}.find(path) != std::string::npos);
    CHECK_FALSE(error.hint.empty());
  }
  std::ofstream{place.folder.path() / "vast.jsonl"}.close();
  std::filesystem::resize_file(place.folder.path() / "vast.jsonl", 8'000'000'001);
  CHECK(provider_error_of([&] { (void)provider.upload((place.folder.path() / "vast.jsonl").string(), {}); }).code ==
        ProviderErrc::refused);
  CHECK(place.server.seen().empty());
  OpenAiOptions azure = place.options<OpenAiOptions>("");
  azure.dialect = OpenAiDialect::azure;
  place.server.rules([](test::TuningRules& rules) { rules.import_looks = 1'000'000; });
  OpenAiProvider slow{azure};
  CHECK(provider_error_of([&] { (void)slow.upload(place.file(), {}); }).code == ProviderErrc::unavailable);
}

TEST_CASE("openai: a certificate that nobody vouches for is named as the trouble", "[adapters][provider]") {
  if (!test::TlsServer::possible()) SKIP("no openssl on this machine");
  ProviderPlace place;
  const test::TlsServer server;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.base_url = server.url();
  OpenAiProvider provider{options};
  const ProviderError error = provider_error_of([&] { (void)provider.get_job("ftjob-1"); });
  CHECK(error.code == ProviderErrc::unavailable);
  CHECK(std::string{error.what()}.find("certificate") != std::string::npos);
  CHECK(error.hint.find("SSL_CERT_FILE") != std::string::npos);
  const Job job = [&] {
    Job made;
    made.base_model = "base-model";
    made.training_file_id = "file-1";
    return made;
  }();
  CHECK(provider_error_of([&] { (void)provider.create_job(job); }).code == ProviderErrc::unavailable);
  options.ca_file = server.ca_file();
  OpenAiProvider trusting{options};
  CHECK(provider_error_of([&] { (void)trusting.get_job("ftjob-1"); }).code == ProviderErrc::unclear);  // no API there
}

TEST_CASE("openai: cancel() ends a call that waits for an answer, and one that waits to try again",
          "[adapters][provider]") {
  ProviderPlace place;
  OpenAiOptions options = place.options<OpenAiOptions>();
  options.wait = {};
  options.call_ms = 0x7FFF'FFFF;
  options.total_ms = 0x7FFF'FFFF;
  options.retry = {.tries = 2, .backoff = {.first_ms = 0x3FFF'FFFF, .longest_ms = 0x3FFF'FFFF}};
  for (const Trouble trouble : {Trouble::hold_before, Trouble::broken}) {
    OpenAiProvider provider{options};
    const std::size_t before = place.server.seen().size();
    place.server.fault({.what = trouble});
    std::thread other{[&] {
      while (place.server.seen().size() == before) std::this_thread::yield();
      provider.cancel();
    }};
    CHECK(provider_error_of([&] { (void)provider.get_job("ftjob-1"); }).code == ProviderErrc::cancelled);
    other.join();
  }
}

TEST_CASE("tuning server: it chats, whole and as a stream, and does not know every model", "[adapters][provider]") {
  ProviderPlace place;
  place.server.rules([](test::TuningRules& rules) { rules.missing_models = {"gone"}; });
  HttpClient client;
  std::string streamed;
  const auto ask = [&](const std::string& model, bool stream) {
    HttpRequest request;
    request.method = "POST";
    request.url = place.server.url() + "/v1/chat/completions";
    request.headers = {{"Authorization", "Bearer " + std::string{test::marked_key}}};
    request.body = boost::json::serialize(
        boost::json::value{{"model", model},
                           {"stream", stream},
                           {"messages", boost::json::array{{{"role", "user"}, {"content", "what is it?"}}}}});
    if (stream)
      request.on_body = [&](std::string_view piece) {
        streamed += piece;
        return true;
      };
    return client.send(request);
  };
  const boost::json::value whole = boost::json::parse(ask("base-model", false).body);
  CHECK(whole.at("choices").at(0).at("message").at("content") == "base-model says: what is it?");
  CHECK(whole.at("usage").at("prompt_tokens") == 11);
  const HttpResponse stream = ask("base-model", true);
  CHECK(stream.status == 200);
  CHECK(*stream.find("content-type") == "text/event-stream");
  CHECK(streamed.starts_with("data: {"));
  CHECK(streamed.find("\"usage\":{\"prompt_tokens\":11") != std::string::npos);
  CHECK(streamed.ends_with("\n\ndata: [DONE]\n\n"));
  CHECK(ask("gone", false).status == 404);
}

TEST_CASE("openai: no bytes of a server crash anything, or come out as more than an error", "[adapters][provider]") {
  test::HttpServer server;
  OpenAiOptions options;
  options.base_url = server.url("/v1");
  options.api_key_env.clear();
  options.retry.tries = 1;
  OpenAiProvider provider{options};
  Job job;
  job.id = "ft-1";
  job.base_model = "base-model";
  job.training_file_id = "file-1";
  const std::vector<std::string> seeds{
      R"({"id":"ftjob-1","status":"running","created_at":1,"finished_at":null,"fine_tuned_model":"m","error":{"code":"a","message":"b"},"trained_tokens":5,"seed":7,"metadata":{"canary_job":"ft-1"}})",
      R"({"object":"list","data":[{"id":"ftjob-1","status":"queued","created_at":1.5,"training_file":"file-1","suffix":"x"}],"has_more":false})",
      R"({"error":{"message":"words","type":"t","param":null,"code":null}})",
      R"({"data":[{"id":"e","created_at":"2027-01-14T00:00:00Z","level":"info","message":"m","step_number":3,"fine_tuned_model_checkpoint":"c","metrics":{"a":1}}]})",
  };
  const std::vector<std::string> pieces{
      "null",        "-1",          "1e999", "[]",     "{}",   "\"\"", "18446744073709551615",
      "\"\\u0000\"", "\"\\ud800\"", "true",  "[[[[[[", "\xFF", ",",    "\"\x1b[31m\""};
  std::mt19937_64 random{20261129};
  std::size_t answers = 0;
  for (int round = 0; round != 400; ++round) {
    std::string body = seeds[random() % seeds.size()];
    for (auto changes = random() % 4; changes != 0; --changes) {
      const std::size_t at = random() % body.size();
      const std::size_t size = std::min<std::size_t>(random() % 12, body.size() - at);
      body.replace(at, size,
                   random() % 4 == 0 ? std::string(1, static_cast<char>(random())) : pieces[random() % pieces.size()]);
    }
    const int status = random() % 3 == 0 ? static_cast<int>(200 + random() % 400) : 200;
    const test::HttpReply reply{status, "", body};
    server.answer({reply, reply, reply, reply, reply, reply, reply});
    try {
      switch (random() % 7) {
        case 0:
          answers += provider.get_job("ftjob-1").id == "ftjob-1";
          break;
        case 1:
          (void)provider.create_job(job);
          break;
        case 2:
          answers += provider.find_jobs(job, 0).size();
          break;
        case 3:
          (void)provider.cancel_job("ftjob-1");
          break;
        case 4:
          answers += provider.events("ftjob-1", "e").size();
          break;
        case 5:
          answers += provider.checkpoints("ftjob-1").size();
          break;
        default:
          (void)provider.shutdown_date("m");
      }
    } catch (const ProviderError& error) {
      const std::string_view words = error.what();
      CHECK(words.size() < 2'000);
      CHECK(std::none_of(words.begin(), words.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }));
    }
    server.forget();
  }
  CHECK(answers > 10);
}

TEST_CASE("openai: a file of any size is sent in constant memory, and its progress is seen", "[adapters][provider]") {
  const bool soak = std::getenv("CANARY_SOAK") != nullptr;
  const std::uint64_t bytes = soak ? 600'000'000 : 64'000'000;
  const auto peak_kb = [] {
    std::ifstream status{"/proc/self/status"};
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
    return 0LL;
  };
  ProviderPlace place;
  const test::ByteHash hash = test::write_large(place.file(), bytes);
  for (const bool in_parts : {false, true}) {
    OpenAiOptions options = place.options<OpenAiOptions>();
    options.single_upload_most_bytes = in_parts ? 1 : 1'000'000'000;
    OpenAiProvider provider{options};
    place.folder.write("small.jsonl", "{}\n");
    (void)provider.upload((place.folder.path() / "small.jsonl").string(), {});
    std::ofstream{"/proc/self/clear_refs"} << 5;  // the peak is counted anew
    const long long before = peak_kb();
    std::size_t steps = 0;
    (void)provider.upload(place.file(), [&](std::uint64_t, std::uint64_t) { ++steps; });
    const long long grown = peak_kb() - before;
    CHECK(place.server.files().back().bytes == bytes);
    CHECK(place.server.files().back().hash == hash);
    CHECK(steps > 100);
    CHECK(grown < 16'384);
    if (soak)
      WARN((in_parts ? "in parts: " : "whole: ")
           << bytes / 1'000'000 << " MB, peak grown by " << grown << " KiB, " << steps << " steps of progress");
  }
}

}  // namespace openai_provider_test
