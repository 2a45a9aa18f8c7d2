// provider_jobs.hpp: what providers that are asked over HTTP have in common. Part of openai_provider.hpp and
// together_provider.hpp. Layer adapters; needs libcurl and Boost.JSON.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/http_parts.hpp"
#include "canary/adapters/provider_http.hpp"
#include "canary/adapters/provider_wire.hpp"
#include "canary/control/job.hpp"
#include "canary/control/provider.hpp"

namespace canary::detail {

/// Whose a job in a list is.
enum class SaidOwner : std::uint8_t {
  ours,
  others,
  unknown,  ///< it does not say enough of itself: it may be ours
};

/// A provider but for its dialect.
class HttpProvider : public Provider {
 public:
  [[nodiscard]] std::string place() const override { return http_.place(); }
  [[nodiscard]] std::vector<ProviderJob> find_jobs(const Job& job, std::int64_t since_s) override;
  [[nodiscard]] ProviderJob get_job(const std::string& provider_job_id) override {
    http_.begin();
    return look(provider_job_id);
  }
  [[nodiscard]] ProviderJob cancel_job(const std::string& provider_job_id) override;
  void cancel() noexcept override { http_.cancel(); }

 protected:
  /// `jobs_path`: where the dialect has its jobs; `/fine_tuning/jobs`.
  HttpProvider(ProviderHttpOptions options, std::string jobs_path)
      : http_{std::move(options)}, jobs_path_{std::move(jobs_path)} {}

  /// A job as the dialect writes it, but for its id.
  [[nodiscard]] virtual ProviderJob job_of(const Said& said) const = 0;
  [[nodiscard]] virtual SaidOwner owner_of(const Said& said, const Job& job) const = 0;

  [[nodiscard]] static std::string what_of(const std::string& provider_job_id) {
    return "the job " + said_words(provider_job_id, {}, 100);
  }
  [[nodiscard]] std::string path_of(const std::string& provider_job_id) const {
    return jobs_path_ + '/' + in_path(provider_job_id);
  }
  /// Errors  `unclear` for an answer that is not this job, or that has no id where none is expected.
  [[nodiscard]] ProviderJob read_job(const boost::json::value& answer, const std::string& what,
                                     const std::string& expected_id) const;
  [[nodiscard]] ProviderJob look(const std::string& provider_job_id) {
    if (provider_job_id.empty())
      throw ProviderError{ProviderErrc::not_found, place() + ": a job without an id is nowhere"};
    const std::string what = what_of(provider_job_id);
    return read_job(http_.ask({.path = path_of(provider_job_id), .what = what}), what, provider_job_id);
  }
  /// Rows of a list that belongs to a job. A server that does not have such a list has no rows.
  /// Errors  `not_found` for a job that is not there.
  template <class Each>
  void list_of(const std::string& provider_job_id, const std::string& name, std::uint32_t most_pages, Each each);

  /// What the provider may be asked for: nothing without a model and a file.
  void check_job(const Job& job) const;
  /// The size of a file that can be sent.
  /// Errors  `refused` for one that cannot be read, or is empty.
  [[nodiscard]] std::uint64_t size_of(const std::string& path) const;

  ProviderHttp http_;

 private:
  std::string jobs_path_;
};

// ---------------------------------------------------------------------------------------------------------------------

/// Part of a model's name: what is no letter, digit or - becomes -; at most so many bytes, none of them a - at an end.
[[nodiscard]] inline std::string suffix_of(std::string_view text, std::size_t most) {
  std::string suffix;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (suffix.size() == most) break;
    if (plain)
      suffix += c;
    else if (!suffix.empty() && suffix.back() != '-')
      suffix += '-';
  }
  while (suffix.ends_with('-')) suffix.pop_back();
  return suffix;
}

[[nodiscard]] inline bool same_letters(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

/// A file's name as a server is told it: no folders, plain characters, and the ending that all of them want.
[[nodiscard]] inline std::string sent_file_name(const std::string& path) {
  std::string name = std::filesystem::path{path}.filename().string().substr(0, 100);
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!plain) c = '_';
  }
  return name.ends_with(".jsonl") ? name : name + ".jsonl";
}

/// Bytes of a file that were sent, out of what was sent of its requests: it only ever rises, retries and all.
class FileProgress {
 public:
  FileProgress(std::uint64_t total, const UploadProgress& progress) : total_{total}, progress_{progress} {}

  void reach(std::uint64_t sent) {
    sent = std::min(sent, total_);
    if (!progress_ || sent <= last_) return;
    last_ = sent;
    progress_(sent, total_);
  }

  /// Of one request: a piece of the file from `begin` on, and some bytes around it.
  [[nodiscard]] std::function<void(std::uint64_t, std::uint64_t)> of_piece(std::uint64_t begin, std::uint64_t bytes) {
    // The end is reached when the server has said so.
    return [this, begin, bytes](std::uint64_t sent, std::uint64_t) {
      reach(std::min(begin + std::min(sent, bytes), total_ - 1));
    };
  }

 private:
  std::uint64_t total_;
  std::uint64_t last_ = 0;
  const UploadProgress& progress_;
};

/// Tells whether a list that has come to something old has nothing newer behind it: if it has been falling, and never rose.
class NewestFirst {
 public:
  /// True if all that follows is older than `since_s`.
  [[nodiscard]] bool all_seen(std::int64_t created_at_s, std::int64_t since_s) noexcept {
    if (created_at_s == 0) return false;
    if (last_ != 0 && created_at_s > last_) rose_ = true;
    if (last_ != 0 && created_at_s < last_) fell_ = true;
    last_ = created_at_s;
    return fell_ && !rose_ && created_at_s < since_s;
  }

 private:
  std::int64_t last_ = 0;
  bool fell_ = false;
  bool rose_ = false;
};

inline ProviderJob HttpProvider::read_job(const boost::json::value& answer, const std::string& what,
                                          const std::string& expected_id) const {
  const Said said{answer, http_.secret()};
  const std::string id = said.at("id").name();
  if (id.empty() || (!expected_id.empty() && id != expected_id))
    throw http_.failure(ProviderErrc::unclear, what, "an answer without this job in it: " + said.json(200));
  ProviderJob job = job_of(said);
  job.id = id;
  return job;
}

inline std::vector<ProviderJob> HttpProvider::find_jobs(const Job& job, std::int64_t since_s) {
  constexpr std::int64_t slack_s = 86'400;  // two clocks may differ
  constexpr std::uint32_t most_pages = 200;
  http_.begin();
  struct Found {
    ProviderJob job;
    std::int64_t created_at_s;
  };
  std::vector<Found> found;
  bool doubtful = false;
  NewestFirst order;
  const std::string what = "the list of jobs";
  const bool complete = http_.list(jobs_path_, what, most_pages, [&](const Said& said) {
    const std::int64_t created_at_s = said.at("created_at").time_s();
    const std::string id = said.at("id").name();
    const SaidOwner owner = owner_of(said, job);
    const auto known = [&id](const Found& each) { return each.job.id == id; };  // a job made meanwhile moves the pages
    if (owner == SaidOwner::unknown || (owner == SaidOwner::ours && id.empty())) {
      doubtful = doubtful || created_at_s == 0 || created_at_s >= since_s - slack_s;
    } else if (owner == SaidOwner::ours && std::none_of(found.begin(), found.end(), known)) {
      found.push_back({job_of(said), created_at_s});
      found.back().job.id = id;
    }
    return found.size() < 1'000 && !order.all_seen(created_at_s, since_s - slack_s);
  });
  // What is not found is made again, so nothing may be left open here.
  if (found.empty() && (doubtful || !complete))
    throw http_.failure(ProviderErrc::unclear, what,
                        complete ? "jobs that say nothing of themselves, so that ours may be one of them"
                                 : "it does not end, so that our job may be in it",
                        "see whether base_url is that of an API");
  std::reverse(found.begin(), found.end());  // lists begin with the newest
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return a.created_at_s < b.created_at_s; });
  std::vector<ProviderJob> jobs;
  jobs.reserve(found.size());
  for (Found& each : found) jobs.push_back(std::move(each.job));
  return jobs;
}

/// A second try may be told that the job has ended, by the first: then it is as was wanted.
inline ProviderJob HttpProvider::cancel_job(const std::string& provider_job_id) {
  http_.begin();
  if (provider_job_id.empty()) return look(provider_job_id);
  const std::string what = "to cancel " + what_of(provider_job_id);
  const auto ended = [&](const ProviderJob& job) {
    return http_.failure(ProviderErrc::refused, what, "it has ended already: " + std::string{to_string(job.status)});
  };
  try {
    ProviderJob job =
        read_job(http_.ask({.path = path_of(provider_job_id) + "/cancel", .what = what, .method = "POST"}), what,
                 provider_job_id);
    if (has_ended(job.status) && job.status != JobStatus::cancelled) throw ended(job);
    return job;
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::refused && error.code != ProviderErrc::unavailable) throw;
    const bool tried_before = http_.asked_again();
    ProviderJob job = look(provider_job_id);
    if (tried_before && job.status == JobStatus::cancelled) return job;
    if (has_ended(job.status)) throw ended(job);
    throw;
  }
}

template <class Each>
void HttpProvider::list_of(const std::string& provider_job_id, const std::string& name, std::uint32_t most_pages,
                           Each each) {
  http_.begin();
  if (provider_job_id.empty()) (void)look(provider_job_id);
  try {
    (void)http_.list(path_of(provider_job_id) + '/' + name, "the " + name + " of " + what_of(provider_job_id),
                     most_pages, each);
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::not_found && error.code != ProviderErrc::refused) throw;
    (void)look(provider_job_id);
  }
}

inline void HttpProvider::check_job(const Job& job) const {
  const auto refuse = [this](const std::string& message, const std::string& hint) {
    throw http_.failure(ProviderErrc::refused, "a new job", message, hint);
  };
  if (job.base_model.empty()) refuse("no base model", "name one in fine_tune.base_model, or in AI_FT_BASE_MODEL");
  if (job.training_file_id.empty()) refuse("no training file", "it is uploaded first");
  if (job.method.seed && *job.method.seed > 0x7FFF'FFFF)
    refuse("the seed is larger than 2147483647", "choose a smaller one");
}

inline std::uint64_t HttpProvider::size_of(const std::string& path) const {
  HttpPart part;
  part.path = path;
  const FilePiece piece{part};
  std::string fault = piece.fault();
  if (fault.empty() && piece.size() == 0) fault = path + ": the file is empty";
  if (!fault.empty())
    throw http_.failure(ProviderErrc::refused, "the upload", fault, "expected a file of examples, one on each line");
  return piece.size();
}

}  // namespace canary::detail
