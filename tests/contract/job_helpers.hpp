// job_helpers.hpp: what the tests of fine-tune jobs in stores share.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "canary/control/job.hpp"
#include "canary/control/store.hpp"
#include "store_helpers.hpp"

namespace job_test {

using namespace store_test;
using canary::Job;
using canary::JobFilter;
using canary::JobPhase;
using canary::JobStatus;

/// A job as it is first put.
inline Job job_of(std::string id, std::string task = "checks", canary::TimeUs created_at_us = 1'753'600'000'000'000) {
  Job job;
  job.id = std::move(id);
  job.task = std::move(task);
  job.provider = "openai";
  job.base_model = "gpt-4o-mini";
  job.created_at_us = job.changed_at_us = created_at_us;
  job.revision = 1;
  return job;
}

/// Bytes that a text column does not take by itself, and such as it does.
inline std::string random_bytes(std::mt19937_64& random) {
  static const std::vector<std::string> pieces{std::string(1, '\0'),
                                               "\n",
                                               "\\",
                                               "\\x00",
                                               "\\n",
                                               "\r\n",
                                               "\t",
                                               "\x1B[31m",
                                               "\x7F",
                                               "\xC2\x9B",
                                               "\xFF\xFE",
                                               "\xC3",
                                               "\xED\xA0\x80",
                                               "\xF0\x9F\x90\xA4",
                                               "\xC3\xA9",
                                               "\xEF\xBF\xBD",
                                               "'",
                                               "\"",
                                               "`",
                                               "; DROP TABLE jobs; --",
                                               "$1 ?1",
                                               "id ",
                                               "revision 7\n",
                                               " ",
                                               "{\"loss\": 0.5}",
                                               "plain"};
  std::string bytes;
  for (auto left = random() % 8; left-- != 0;)
    random() % 3 == 0 ? bytes += static_cast<char>(random()) : bytes += pieces[random() % pieces.size()];
  return bytes;
}

/// A job with something hostile in every field that a store does not check.
inline Job random_job(std::mt19937_64& random, std::string id, std::string task = "checks") {
  const auto number = [&] { return random() % 2 == 0 ? random() : std::numeric_limits<std::uint64_t>::max(); };
  const auto time = [&] { return static_cast<canary::TimeUs>(random() % 2 == 0 ? random() : random() % 1'000); };
  const auto real = [&] { return std::numeric_limits<double>::max() / static_cast<double>(random() % 1'000 + 1); };
  Job job = job_of(std::move(id), std::move(task), time());
  for (std::string* field :
       {&job.provider, &job.provider_job_id, &job.provider_status, &job.base_model, &job.prompt_version, &job.suffix,
        &job.method.type, &job.method.grader, &job.training_file, &job.validation_file, &job.training_file_hash,
        &job.validation_file_hash, &job.training_file_id, &job.validation_file_id, &job.model, &job.error, &job.actor,
        &job.note, &job.holder})
    *field = random_bytes(random);
  job.status = canary::job_statuses[random() % 2];
  job.phase = canary::job_phases[random() % 3];
  job.method.epochs = static_cast<std::uint32_t>(number());
  job.method.batch_size = static_cast<std::uint32_t>(number());
  job.method.learning_rate_multiplier = real();
  job.method.beta = -real();
  if (random() % 2 == 0) job.method.seed = static_cast<std::uint32_t>(number());
  job.changed_at_us = time();
  job.sent_at_us = time();
  job.finished_at_us = time();
  job.held_until_us = time();
  job.trained_tokens = number();
  job.cancel_asked = random() % 2 == 0;
  for (auto left = random() % 4; left-- != 0;)
    job.checkpoints.push_back({random_bytes(random), number(), random_bytes(random)});
  return job;
}

/// Puts the next change of a job, which must work; `job` is then what the store has.
template <class Mutate>
void go_on(Store& store, Job& job, Mutate mutate) {
  mutate(job);
  ++job.revision;
  REQUIRE(store.put_job(job) == CommitResult::done);
}

/// The change that registers a new version at 0 %, which came of this job as it stands in the store.
inline Commit success_of(Store& store, const Job& job) {
  const TaskRecord now = load_all(store, job.task);
  ModelVersion version = version_of(now.version_count + 1, 0);
  version.lineage.job = job.id;
  Commit change = change_to(now, {version}, "came of " + job.id);
  Job done = job;
  done.status = JobStatus::succeeded;
  done.phase = JobPhase::closed;
  done.version = version.number;
  ++done.revision;
  change.job = std::move(done);
  return change;
}

inline std::vector<std::string> ids(const std::vector<Job>& jobs) {
  std::vector<std::string> found;
  for (const Job& job : jobs) found.push_back(job.id);
  return found;
}

}  // namespace job_test
