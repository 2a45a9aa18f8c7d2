// canary init [DIR]: a commented canary.toml to start from.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include <boost/json.hpp>

#include "context.hpp"

namespace canary::cli {
namespace {

constexpr std::string_view example =
    R"(# canary.toml: which tasks there are, and which model versions share their traffic.
# Try it:  canary model register checklist_enrichment ft:gpt-4o-mini:acme:v7
#          canary model canary checklist_enrichment@1 5
#          canary route checklist_enrichment user-42
#          canary simulate checklist_enrichment --keys users.csv --column user_id --set checklist_enrichment@1=25

[store]
url = "sqlite:canary.db"            # a database for one machine, made at first use; "postgresql://user@host/db" for a
                                    # fleet; "memory:" without one: the split stands in this file then, see below
# timeout_ms = 5000                 # longest wait for the database
# state = "canary.state"            # last good state, for a start without the database; "" keeps none

[task.checklist_enrichment]
default_model = "gpt-4o-mini"       # serves whatever share no version holds
force_env = "CHECKLIST_FORCE_MODEL" # a model in this environment variable overrides everything
# salt = "..."                      # the task's name unless set; a new salt moves every key
# sample_percent = 100              # share of the interactions whose own rows are kept; counts count all of them

# With "memory:" alone, one table for each version: a reload moves the fewest keys. With a database,
# `canary model register` and `canary model canary` do that.
# [[task.checklist_enrichment.version]]
# model = "ft:gpt-4o-mini:acme:v7"
# percent = 10                      # down to 0.0001

# [task.checklist_enrichment.guard]
# alpha_rollback = 0.01
# alpha_advance = 0.05
# steps_percent = [1, 5, 10, 25, 50, 100]
# outcome_timeout_s = 600           # an assigned request without an outcome by then counts as a failure
# units_min = 100                   # of the candidate, with an outcome, before any advance
# step_min_s = 0                    # least stay on a step before an advance
# on_missing = "hold"               # hold | rollback: when a candidate's records fall short of its share

# What the guard watches; one table for each metric.
[[task.checklist_enrichment.guard.metric]]
name = "ok"
kind = "success"                    # success | score | latency | cost
margin = 0.005                      # tolerated harm before rollback: a share below 1, 0.02 for 2 %
advance_margin = [0.10, 0.06, 0.04, 0.03, 0.02]     # needed to leave each step, or one number for all
unit = "key"                        # "key": a key's first outcome counts, once; "request": every outcome
weight = 1                          # in the sum that rolls back, beside the other metrics
# error_ratio = 1.5                 # success: failures may be so many times as frequent, instead of margin

# [[task.checklist_enrichment.guard.metric]]
# name = "slow"
# kind = "latency"
# margin = 0.1                      # a ratio there, up to 10: 0.1 lets every percentile be 10 % slower
# slo_us = 2000000                  # this threshold alone, instead of the baseline's percentiles

# [recorder]
# spool = "canary.spool"            # directory; "" keeps rings in memory only
# payloads = false                  # keep request and response text for training export
# flush_ms = 100                    # longest time between two batches into the store
# keep_days = 90                    # older interactions and windows are taken out of the store; 0 keeps all
# lane_mb = 4                       # ring of one thread, 16,384 entries a megabyte; a power of two
# payload_mb = 4                    # ring of one thread for texts, where payloads are on; a power of two
# spool_mb = 256                    # all rings together: what can wait while the store is down

# [alerts]                          # told of rollbacks, broken splits, drops, shutdown dates, a version that gets worse
# webhook = "https://alerts.example/canary"          # gets JSON, signed; http:// to this machine alone
# webhook_secret_env = "CANARY_WEBHOOK_SECRET"       # variable with the key that signs; secrets are never in this file
# command = ["/usr/local/bin/page", "ops"]           # gets the JSON on stdin; no shell
# log = true                        # a line on stderr
# repeat_s = 3600                   # what was just said is not said again for so long
# shutdown_days = 30                # a model's shutdown is told so long before, and 7 days and 1 day before

# [alerts.degradation]              # a version in use against its own last seven days
# success_margin = 0.02             # share of requests that may fail beside the past's
# score_margin = 0.02               # points of a score
# latency_margin = 0.25             # ratio: 25 % slower
# false_alarm_days = 365            # mean time between two false alarms of a version's metric; 0: not watched

# [fine_tune]                       # AI_FT_PROVIDER, AI_FT_BASE_MODEL, AI_FT_PROMPT_VERSION override
# provider = "openai"
# base_model = "gpt-4o-mini"
# prompt_version = "v1"
# cost_max_usd = 50.0               # a job that is estimated to cost more is not started
# price_per_million_usd = { "gpt-4o-mini" = 3.0 }    # of trained tokens, by model; without one a cost is not estimated

# [provider.openai]
# kind = "openai"                   # openai | azure | together | command
# base_url = "https://api.openai.com/v1"
# api_key_env = "OPENAI_API_KEY"    # the variable's name; secrets are never in this file
# settle_ms = 60000                 # longest that a job whose creation went unanswered may take to show there

# [provider.local]                  # a program of your own that trains; canary train start runs it
# kind = "command"
# command = ["./train", "--data", "{training_file}", "--base", "{base_model}"]       # no shell
# folder = "canary.jobs"            # where its jobs keep their files
)";

[[noreturn]] void fail(const std::string& path, int reason) {
  throw Failure{Exit::failed, path + ": cannot be written: " + std::strerror(reason)};
}

/// O_EXCL: two calls at once must not both believe that they wrote it.
void write_new(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST)
    throw Failure{Exit::conflict, path + " is there already", "move it away, or name another directory"};
  if (fd < 0) fail(path, errno);
  const ssize_t written = ::write(fd, example.data(), example.size());
  const int reason = written < 0 ? errno : ENOSPC;
  const bool closed = ::close(fd) == 0;
  if (written == static_cast<ssize_t>(example.size()) && closed) return;
  ::unlink(path.c_str());
  fail(path, reason);
}

}  // namespace

void add_init(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "init", "Writes a commented canary.toml");
  const auto folder = std::make_shared<std::string>(".");
  add_text(noun, "dir", *folder, "Directory to write it to, made if missing (default: this one)")->type_name("DIR");
  noun.callback([&context, folder] {
    if (folder->empty()) throw Failure{Exit::usage, "no directory named", "leave it out for this one"};
    std::error_code error;
    std::filesystem::create_directories(*folder, error);
    if (error) throw Failure{Exit::failed, *folder + ": " + error.message()};
    const std::string path = (std::filesystem::path{*folder} / "canary.toml").lexically_normal().string();
    write_new(path);
    if (context.json)
      return write_document(context.out, boost::json::object{{"created", boost::json::array{json_text(path)}}});
    std::string line = "created ";
    append_visible(line, path);
    context.out.write(line + '\n');
  });
}

}  // namespace canary::cli
