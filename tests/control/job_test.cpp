// Fine-tune jobs as words, as text and as rows: what is written is read back, anything else is refused.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../contract/job_helpers.hpp"
#include "canary/control/job_row.hpp"
#include "canary/control/job_text.hpp"
#include "canary/control/utf8.hpp"

namespace job_test {

namespace {

using namespace job_test;
using canary::JobRow;
using canary::parse_job;

/// A job's text with another value behind a field's name.
std::string with(const Job& job, const std::string& field, const std::string& value) {
  std::string text = job_text(job);
  const std::size_t at = ('\n' + text).find('\n' + field + ' ') + field.size() + 1;
  return text.replace(at, text.find('\n', at) - at, value);
}

/// Why a row is refused; empty if it is not.
std::string why(const Job& job) {
  try {
    check_job(job);
  } catch (const StoreError& error) {
    return error.code == StoreErrc::invalid ? error.what() : "of another kind";
  }
  return {};
}

}  // namespace

TEST_CASE("job: statuses and phases are the words that are stored, and no other word is one", "[control][job]") {
  for (const JobStatus status : canary::job_statuses) CHECK(canary::parse_job_status(to_string(status)) == status);
  for (const JobPhase phase : canary::job_phases) CHECK(canary::parse_job_phase(to_string(phase)) == phase);
  for (const char* word : {"", "queued", "QUEUED ", "PENDING", "unknown", "SUCCEEDE"})
    CHECK_FALSE(canary::parse_job_status(word));
  for (const char* word : {"", "Stored", "stored ", "open", "unknown"}) CHECK_FALSE(canary::parse_job_phase(word));
  CHECK(to_string(static_cast<JobStatus>(9)) == "unknown");
  CHECK(to_string(static_cast<JobPhase>(9)) == "unknown");
}

TEST_CASE("job: an end is followed by itself alone", "[control][job]") {
  for (const JobStatus from : canary::job_statuses)
    for (const JobStatus to : canary::job_statuses)
      CHECK(may_follow(from, to) == (from == JobStatus::queued || from == JobStatus::running || from == to));
}

TEST_CASE("job text: a line for each field, for people", "[control][job]") {
  Job job = job_of("visa-7");
  job.note = "two\nlines";
  job.method.seed = 42;
  job.method.learning_rate_multiplier = 0.1;
  job.checkpoints = {{"ft:a", 10, "{\"loss\": 0.5}"}, {"ft:b", 20, ""}};
  const std::string text = job_text(job);
  for (const std::string_view part :
       {"id visa-7\ntask checks\n", "\nstatus QUEUED\n", "\nphase stored\n", "\nseed 42\n",
        "\nlearning_rate_multiplier 0.1\n", "\nnote two\\nlines\n", "\nrevision 1\n", "\ncancel_asked no\n",
        "\ncheckpoints 2\ncheckpoint ft:a\nstep 10\nmetrics {\"loss\": 0.5}\ncheckpoint ft:b\nstep 20\nmetrics \n"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK((parse_job(text) == job));
}

TEST_CASE("job text: any bytes are read back as they were, and the text is UTF-8 without NUL or control characters",
          "[control][job]") {
  std::mt19937_64 random{2'026};
  for (int i = 0; i != 5'000; ++i) {
    const Job job = random_job(random, "visa-" + std::to_string(i));
    const std::string text = job_text(job);
    const std::optional<Job> parsed = parse_job(text);
    REQUIRE(parsed);
    REQUIRE((*parsed == job));
    REQUIRE(canary::first_invalid_utf8(text) == text.size());
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(canary::utf8_sequence(rest)))
      REQUIRE((rest.front() == '\n' || !canary::is_control(rest)));
  }
  Job every;
  every.id = "all";
  for (int byte = 0; byte != 256; ++byte) every.note += static_cast<char>(byte);
  CHECK((parse_job(job_text(every)) == every));
  CHECK((parse_job(job_text(Job{})) == Job{}));
}

TEST_CASE("job text: numbers are kept to the last digit, odd ones too", "[control][job]") {
  Job job = job_of("visa-1");
  job.trained_tokens = job.revision = std::numeric_limits<std::uint64_t>::max();
  job.created_at_us = std::numeric_limits<std::int64_t>::min();
  job.held_until_us = std::numeric_limits<std::int64_t>::max();
  job.version = job.method.epochs = std::numeric_limits<std::uint32_t>::max();
  for (const double value :
       {0.0, 0.1, 1.0 / 3, 1e-300, -5e-324, 1.7976931348623157e308, std::numeric_limits<double>::infinity()}) {
    job.method.beta = value;
    const auto parsed = parse_job(job_text(job));
    REQUIRE(parsed);
    CHECK((*parsed == job));
  }
  job.method.beta = std::numeric_limits<double>::quiet_NaN();
  const auto parsed = parse_job(job_text(job));
  REQUIRE(parsed);
  CHECK(std::isnan(parsed->method.beta));
}

TEST_CASE("job text: what job_text() does not write is refused", "[control][job]") {
  const Job job = job_of("visa-1");
  REQUIRE(parse_job(with(job, "note", "other")));
  struct Bad {
    const char* field;
    const char* value;
  };
  for (const Bad& bad : {
           Bad{"status", "queued"},
           Bad{"status", "PAUSED"},
           Bad{"status", ""},
           Bad{"phase", "unknown"},
           Bad{"epochs", ""},
           Bad{"epochs", "-1"},
           Bad{"epochs", "+1"},
           Bad{"epochs", "01"},
           Bad{"epochs", "4294967296"},
           Bad{"epochs", "1.0"},
           Bad{"epochs", " 1"},
           Bad{"epochs", "1 "},
           Bad{"seed", "-"},
           Bad{"seed", "4294967296"},
           Bad{"beta", "1.0"},
           Bad{"beta", "0x1"},
           Bad{"beta", "1e999"},
           Bad{"beta", ""},
           Bad{"cancel_asked", "1"},
           Bad{"cancel_asked", "YES"},
           Bad{"created_at_us", "9223372036854775808"},
           Bad{"revision", "18446744073709551616"},
           Bad{"checkpoints", "1"},
           Bad{"checkpoints", "-1"},
           Bad{"checkpoints", "18446744073709551615"},
           Bad{"note", "\\"},
           Bad{"note", "\\q"},
           Bad{"note", "\\x"},
           Bad{"note", "\\x0"},
           Bad{"note", "\\x0g"},
           Bad{"note", "\\x-1"},
           Bad{"note", "\\x0A"},
           Bad{"note", "\\x0a"},
           Bad{"note", "\\x41"},
           Bad{"note", "\x01"},
           Bad{"note", "\xFF"},
           Bad{"note", "a\r"},
       }) {
    INFO(bad.field << " `" << bad.value << '`');
    CHECK_FALSE(parse_job(with(job, bad.field, bad.value)));
  }
  const std::string text = job_text(job);
  CHECK_FALSE(parse_job(""));
  CHECK_FALSE(parse_job("garbage"));
  CHECK_FALSE(parse_job(text + '\n'));
  CHECK_FALSE(parse_job(text + "more 1\n"));
  CHECK_FALSE(parse_job('\n' + text));
  CHECK_FALSE(parse_job(text.substr(text.find('\n') + 1)));
  CHECK_FALSE(parse_job(text + text));
  for (std::size_t size = 0; size != text.size(); ++size) REQUIRE_FALSE(parse_job(text.substr(0, size)));
}

TEST_CASE("job text: whatever bytes are changed, a text is refused or is another job's own", "[control][job]") {
  std::mt19937_64 random{7};
  std::string text;
  for (int i = 0; i != 20'000; ++i) {
    if (i % 100 == 0) text = job_text(random_job(random, "visa-1"));
    std::string changed = text;
    for (auto left = random() % 3 + 1; left-- != 0;) {
      const std::size_t at = random() % changed.size();
      switch (random() % 3) {
        case 0:
          changed[at] = static_cast<char>(random());
          break;
        case 1:
          changed.erase(at, random() % 20);
          break;
        default:
          changed.insert(at, random_bytes(random));
          break;
      }
      if (changed.empty()) changed = " ";
    }
    if (const auto parsed = parse_job(changed)) REQUIRE(job_text(*parsed) == changed);
  }
}

TEST_CASE("job row: its columns are what its text says, or it is refused", "[control][job]") {
  std::mt19937_64 random{20};
  for (int i = 0; i != 500; ++i) {
    const Job job = random_job(random, "visa-1");
    const JobRow row = job_row(job);
    REQUIRE((parse_job_row(row) == job));
    for (const std::string* text : {&row.provider, &row.provider_job_id}) {  // any database takes these
      REQUIRE(canary::first_invalid_utf8(*text) == text->size());
      REQUIRE(text->find('\0') == std::string::npos);
    }
  }
  const JobRow row = job_row(job_of("visa-1"));
  const auto refused = [&row](auto spoil) {
    JobRow other = row;
    spoil(other);
    return !parse_job_row(other);
  };
  CHECK(refused([](JobRow& other) { other.id = "visa-2"; }));
  CHECK(refused([](JobRow& other) { other.task = "risks"; }));
  CHECK(refused([](JobRow& other) { other.provider = "x"; }));
  CHECK(refused([](JobRow& other) { other.provider_job_id = "x"; }));
  CHECK(refused([](JobRow& other) { other.status = "RUNNING"; }));
  CHECK(refused([](JobRow& other) { other.phase = "closed"; }));
  CHECK(refused([](JobRow& other) { other.revision = 2; }));
  CHECK(refused([](JobRow& other) { other.created_at_us = 0; }));
  CHECK(refused([](JobRow& other) { other.changed_at_us = 0; }));
  CHECK(refused([](JobRow& other) { other.version = 1; }));
  CHECK(refused([](JobRow& other) { other.job = job_text(job_of("visa-2")); }));
  CHECK(refused([](JobRow& other) { other.job.pop_back(); }));
}

TEST_CASE("job row: what no store takes is told with its job and its reason", "[control][job]") {
  CHECK(why(job_of("visa-1")).empty());
  CHECK(why(job_of(std::string(40, 'a'))).empty());
  Job job = job_of("Visa");
  CHECK(why(job) == "a job: its id is none");  // which may hold anything: it is not repeated
  job = job_of("visa-1", "");
  CHECK(why(job) == "job visa-1: its task has no name");
  job = job_of("visa-1");
  job.version = 1;
  CHECK(why(job) == "job visa-1: it has a version without success");
  job.status = JobStatus::succeeded;
  CHECK(why(job) == "job visa-1: it begins with a version");
  job.revision = 2;
  CHECK(why(job).empty());
  job.version = 65'001;
  CHECK(why(job) == "job visa-1: it has a version that cannot be");
  job.version = 0;
  job.phase = JobPhase::closed;
  CHECK(why(job).empty());
  job.status = JobStatus::running;
  CHECK(why(job) == "job visa-1: it is closed and has not ended");
  job.phase = JobPhase::following;
  job.note.assign(canary::max_job_bytes / 4, '\0');  // each is four characters there
  CHECK(why(job).starts_with("job visa-1: its row would have "));
}

TEST_CASE("job row: a restore lets go of every job, and refuses one that does not fit its task", "[control][job]") {
  TaskContents contents;
  contents.task.name = "checks";
  contents.jobs = {job_of("visa-1"), job_of("visa-2")};
  contents.jobs[0].holder = "somebody";
  contents.jobs[0].held_until_us = 7;
  contents.jobs[1].phase = JobPhase::following;
  std::vector<Job> expected{job_of("visa-1"), job_of("visa-2")};
  expected[0].phase = JobPhase::creating;  // it may have been sent since the backup, so it is looked for
  expected[1].phase = JobPhase::following;
  CHECK((restored_jobs(contents) == expected));
  contents.jobs[1].task = "risks";
  CHECK(refusal([&] { (void)restored_jobs(contents); }) == StoreErrc::invalid);
}

}  // namespace job_test
