// openai_provider.hpp: fine-tunes at OpenAI, at Azure, and wherever a server speaks as OpenAI does. Layer adapters; needs
// libcurl and Boost.JSON (link Boost::json, or include <boost/json/src.hpp> in one source file).
//
// A job carries our id in its metadata, and is found again by it. A server that does not give metadata back is known by
// that, and there a job is ours if it trains on our file, which was uploaded for it alone, and has no other suffix than ours.
// The suffix is the user's; without one it is our id.
// Source  OpenAI's description of its API, 2.3.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/provider_http.hpp"
#include "canary/adapters/provider_jobs.hpp"
#include "canary/adapters/provider_wire.hpp"
#include "canary/control/provider.hpp"

namespace canary {

enum class OpenAiDialect : std::uint8_t {
  openai,  ///< and all that are compatible
  azure,   ///< the same under {endpoint}/openai/v1, with the key in another header
};

struct OpenAiOptions {
  std::string base_url = {};                   ///< https, or http to this machine; empty: https://api.openai.com/v1
  std::string api_key_env = "OPENAI_API_KEY";  ///< variable with the key; empty: no key is sent
  OpenAiDialect dialect = OpenAiDialect::openai;
  std::string ca_file = {};           ///< see HttpClientOptions
  std::uint32_t connect_ms = 10'000;  ///< longest wait for a connection
  std::uint32_t total_ms = 30'000;    ///< for an answer
  std::uint32_t idle_ms = 120'000;    ///< longest silence of an upload
  std::uint32_t call_ms = 90'000;     ///< for a call with all its requests, tries and waits, but for upload()
  HttpRetry retry = detail::provider_retry;
  std::uint64_t single_upload_most_bytes = 0;  ///< larger files go in parts; 0: 512 MB, for Azure 150 MB
  std::uint64_t upload_part_bytes = std::uint64_t{64} * 1'000'000;  ///< at most 64 MB
  std::function<const char*(const char*)> environment = {};         ///< instead of getenv
  std::function<bool(std::uint32_t wait_ms)> wait = {};             ///< instead of waiting; false to give up
};

class OpenAiProvider final : public detail::HttpProvider {
 public:
  /// Reads the key.
  /// Errors  ProviderError denied for a key that is not there, refused for an URL that a key may not be sent to.
  explicit OpenAiProvider(OpenAiOptions options)
      : HttpProvider{http_options(options), "/fine_tuning/jobs"}, options_{std::move(options)} {}

  /// In constant memory, whole or in parts, and waits until Azure has taken it in.
  [[nodiscard]] std::string upload(const std::string& path, const UploadProgress& progress) override;
  [[nodiscard]] ProviderJob create_job(const Job& job) override;
  [[nodiscard]] std::vector<JobEvent> events(const std::string& provider_job_id, const std::string& after) override;
  [[nodiscard]] std::vector<Checkpoint> checkpoints(const std::string& provider_job_id) override;
  /// Of the model itself, or of the list of models; Azure calls it `deprecation`.
  [[nodiscard]] std::string shutdown_date(const std::string& model) override;

 private:
  static constexpr std::uint64_t most_bytes = 8'000'000'000;
  static constexpr std::uint64_t most_part_bytes = 64'000'000;

  [[nodiscard]] static ProviderHttpOptions http_options(const OpenAiOptions& options);
  [[nodiscard]] ProviderJob job_of(const detail::Said& said) const override;
  [[nodiscard]] detail::SaidOwner owner_of(const detail::Said& said, const Job& job) const override;
  [[nodiscard]] std::uint64_t single_most() const noexcept;
  [[nodiscard]] std::string upload_whole(const std::string& path, std::uint64_t size, detail::FileProgress& progress);
  [[nodiscard]] std::string upload_in_parts(const std::string& path, std::uint64_t size,
                                            detail::FileProgress& progress);
  [[nodiscard]] boost::json::array send_parts(const std::string& upload, const std::string& path, std::uint64_t size,
                                              detail::FileProgress& progress);
  [[nodiscard]] std::string complete(const std::string& upload, boost::json::array parts);
  void await_import(const std::string& file);
  [[nodiscard]] std::string id_of(const boost::json::value& answer, const std::string& what) const;
  [[nodiscard]] boost::json::object method_of(const TrainingMethod& method) const;
  [[nodiscard]] std::string date_of(const detail::Said& model) const;

  OpenAiOptions options_;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// What a job of ours is called where the user has no wish.
[[nodiscard]] inline std::string openai_suffix(const Job& job) {
  std::string wished = suffix_of(job.suffix, 64);
  return wished.empty() ? suffix_of(job.id, 64) : wished;
}

}  // namespace detail

inline ProviderHttpOptions OpenAiProvider::http_options(const OpenAiOptions& options) {
  const bool azure = options.dialect == OpenAiDialect::azure;
  ProviderHttpOptions http;
  http.kind = azure ? "azure" : "openai";
  http.base_url = options.base_url;
  if (http.base_url.empty()) {
    if (azure)
      throw ProviderError{ProviderErrc::refused, "azure: no base_url",
                          "name your resource: https://NAME.openai.azure.com"};
    http.base_url = "https://api.openai.com/v1";
  }
  while (http.base_url.ends_with('/')) http.base_url.pop_back();
  if (azure && !http.base_url.ends_with("/openai/v1"))
    http.base_url += http.base_url.ends_with("/openai") ? "/v1" : "/openai/v1";
  http.api_key_env = options.api_key_env;
  http.key_alone = azure;
  http.ca_file = options.ca_file;
  http.connect_ms = options.connect_ms;
  http.total_ms = options.total_ms;
  http.idle_ms = options.idle_ms;
  http.call_ms = options.call_ms;
  http.retry = options.retry;
  http.environment = options.environment;
  http.wait = options.wait;
  return http;
}

inline std::uint64_t OpenAiProvider::single_most() const noexcept {
  if (options_.single_upload_most_bytes != 0) return options_.single_upload_most_bytes;
  return options_.dialect == OpenAiDialect::azure ? 150'000'000
                                                  : 512'000'000;  // Azure loses larger ones without a word
}

inline std::string OpenAiProvider::id_of(const boost::json::value& answer, const std::string& what) const {
  const detail::Said said{answer, http_.secret()};
  std::string id = said.at("id").name();
  if (id.empty()) throw http_.failure(ProviderErrc::unclear, what, "an answer without an id: " + said.json(200));
  return id;
}

inline std::string OpenAiProvider::upload(const std::string& path, const UploadProgress& progress) {
  http_.begin_upload();
  const std::uint64_t size = size_of(path);
  if (size > most_bytes)
    throw http_.failure(ProviderErrc::refused, "the upload", path + " has more than 8 GB", "leave examples out");
  detail::FileProgress sent{size, progress};
  const std::string id = size <= single_most() ? upload_whole(path, size, sent) : upload_in_parts(path, size, sent);
  await_import(id);
  sent.reach(size);
  return id;
}

inline std::string OpenAiProvider::upload_whole(const std::string& path, std::uint64_t size,
                                                detail::FileProgress& progress) {
  const std::string what = "the upload of " + path;
  return id_of(
      http_.ask({.path = "/files",
                 .what = what,
                 .method = "POST",
                 .parts = {{.name = "purpose", .value = "fine-tune"},
                           {.name = "file", .path = path, .file_name = detail::sent_file_name(path), .bytes = size}},
                 .on_sent = progress.of_piece(0, size)}),
      what);
}

inline std::string OpenAiProvider::upload_in_parts(const std::string& path, std::uint64_t size,
                                                   detail::FileProgress& progress) {
  const std::string what = "the upload of " + path;
  const std::string upload = id_of(http_.ask({.path = "/uploads",
                                              .what = what,
                                              .method = "POST",
                                              .body = {{"filename", detail::sent_text(detail::sent_file_name(path))},
                                                       {"purpose", "fine-tune"},
                                                       {"bytes", size},
                                                       {"mime_type", "text/jsonl"}}}),
                                   what);
  try {
    return complete(upload, send_parts(upload, path, size, progress));
  } catch (const ProviderError&) {
    try {  // what was sent goes by itself in an hour; better now
      (void)http_.ask(
          {.path = "/uploads/" + detail::in_path(upload) + "/cancel", .what = what, .method = "POST", .once = true});
    } catch (const ProviderError&) {  // NOLINT(bugprone-empty-catch): the first error is the one that matters
    }
    throw;
  }
}

inline boost::json::array OpenAiProvider::send_parts(const std::string& upload, const std::string& path,
                                                     std::uint64_t size, detail::FileProgress& progress) {
  const std::uint64_t most = std::clamp<std::uint64_t>(options_.upload_part_bytes, 1, most_part_bytes);
  boost::json::array ids;
  for (std::uint64_t begin = 0; begin < size; begin += most) {
    const std::uint64_t bytes = std::min(most, size - begin);
    const std::string what = "part " + std::to_string(ids.size() + 1) + " of the upload of " + path;
    const std::string id = id_of(
        http_.ask({.path = "/uploads/" + detail::in_path(upload) + "/parts",
                   .what = what,
                   .method = "POST",
                   .parts = {{.name = "data", .path = path, .file_name = "part", .offset = begin, .bytes = bytes}},
                   .on_sent = progress.of_piece(begin, bytes)}),
        what);
    ids.push_back(detail::sent_text(id));
  }
  return ids;
}

inline std::string OpenAiProvider::complete(const std::string& upload, boost::json::array parts) {
  const std::string what = "the end of the upload";
  try {
    const boost::json::value answer = http_.ask({.path = "/uploads/" + detail::in_path(upload) + "/complete",
                                                 .what = what,
                                                 .method = "POST",
                                                 .body = {{"part_ids", std::move(parts)}},
                                                 .slow = true});
    const detail::Said said{answer, http_.secret()};
    std::string file = said.at("file").at("id").name();
    if (file.empty()) throw http_.failure(ProviderErrc::unclear, what, "an answer without a file: " + said.json(200));
    return file;
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::refused || !http_.asked_again()) throw;
    // The try before may have completed it, and a second one is refused for that: all of it again may be well.
    throw ProviderError{ProviderErrc::unclear, error.what(), error.hint};
  }
}

/// Azure takes a file in after the upload, and refuses jobs on it until then.
inline void OpenAiProvider::await_import(const std::string& file) {
  if (options_.dialect != OpenAiDialect::azure) return;
  constexpr Backoff pause{.first_ms = 2'000, .longest_ms = 20'000};
  const std::string what = "the file " + file;
  for (std::uint32_t looks = 1; looks != 40; ++looks) {
    const boost::json::value answer = http_.ask({.path = "/files/" + detail::in_path(file), .what = what});
    const detail::Said said{answer, http_.secret()};
    const std::string status = said.at("status").words(64);
    const auto is = [&status](std::string_view word) { return detail::same_letters(status, word); };
    if (is("error") || is("failed"))
      throw http_.failure(ProviderErrc::refused, what, "it was not taken in: " + said.at("status_details").words());
    if (!is("pending") && !is("running") && !is("notRunning") && !is("queued")) return;
    if (!http_.wait(backoff_ms(pause, looks, 1.0))) throw http_.failure(ProviderErrc::cancelled, what, "cancelled");
  }
  throw http_.failure(ProviderErrc::unavailable, what, "it has not been taken in for minutes", "try again later");
}

inline boost::json::object OpenAiProvider::method_of(const TrainingMethod& method) const {
  boost::json::object hyper;
  if (method.epochs != 0) hyper["n_epochs"] = method.epochs;
  if (method.batch_size != 0) hyper["batch_size"] = method.batch_size;
  if (method.learning_rate_multiplier != 0) hyper["learning_rate_multiplier"] = method.learning_rate_multiplier;
  if (method.beta != 0 && method.type == "dpo") hyper["beta"] = method.beta;
  boost::json::object inner;
  if (!hyper.empty()) inner["hyperparameters"] = std::move(hyper);
  if (method.type == "reinforcement") {
    std::optional<boost::json::value> grader = detail::parse_said(method.grader);
    if (!grader || !grader->is_object())
      throw http_.failure(ProviderErrc::refused, "a new job", "the grader is no JSON object",
                          "reinforcement needs one: {\"type\":\"string_check\",...}");
    inner["grader"] = *std::move(grader);
  }
  if (inner.empty() && method.type == "supervised") return {};  // what it is anyway
  const boost::json::string type = detail::sent_text(method.type, 64);
  boost::json::object whole{{"type", type}};
  if (!inner.empty()) whole[boost::json::string_view{type.data(), type.size()}] = std::move(inner);
  return whole;
}

inline ProviderJob OpenAiProvider::create_job(const Job& job) {
  http_.begin();
  check_job(job);
  boost::json::object body{{"model", detail::sent_text(job.base_model)},
                           {"training_file", detail::sent_text(job.training_file_id)},
                           {"suffix", detail::sent_text(detail::openai_suffix(job))}};
  if (!job.validation_file_id.empty()) body["validation_file"] = detail::sent_text(job.validation_file_id);
  if (job.method.seed) body["seed"] = *job.method.seed;
  if (boost::json::object method = method_of(job.method); !method.empty()) body["method"] = std::move(method);
  boost::json::object metadata{{"canary_job", detail::sent_text(job.id)}};
  if (!job.task.empty()) metadata["canary_task"] = detail::sent_text(job.task);
  if (!job.prompt_version.empty()) metadata["canary_prompt_version"] = detail::sent_text(job.prompt_version);
  body["metadata"] = std::move(metadata);
  const std::string what = "a new job";
  return read_job(
      http_.ask({.path = "/fine_tuning/jobs", .what = what, .method = "POST", .body = std::move(body), .once = true}),
      what, {});
}

inline ProviderJob OpenAiProvider::job_of(const detail::Said& said) const {
  ProviderJob job;
  job.provider_status = said.at("status").words(64);
  job.status = detail::status_of(job.provider_status);
  job.model = said.at("fine_tuned_model").name();
  job.trained_tokens = said.at("trained_tokens").count();
  job.finished_at_s = said.at("finished_at").time_s();
  job.expected_end_s = said.at("estimated_finish").time_s();
  const detail::Said error = said.at("error");
  job.error = error.is_object() ? error.at("message").words() : error.words();
  if (const std::string code = error.at("code").words(64); !code.empty())
    job.error += (job.error.empty() ? "(" : " (") + code + ')';
  if (said.at("seed").is_number() && said.at("seed").count() <= 0xFFFF'FFFF)
    job.seed = static_cast<std::uint32_t>(said.at("seed").count());
  return job;
}

inline detail::SaidOwner OpenAiProvider::owner_of(const detail::Said& said, const Job& job) const {
  using enum detail::SaidOwner;
  if (const std::string_view id = said.at("metadata").at("canary_job").raw(); !id.empty())
    return id == job.id ? ours : others;
  const std::string_view file = said.at("training_file").raw();
  if (file.empty()) return unknown;
  if (file != job.training_file_id) return others;  // a row of an older backup, without its file, knows no such job
  for (const char* name : {"suffix", "user_provided_suffix"})
    if (const std::string_view suffix = said.at(name).raw(); !suffix.empty())
      return detail::same_letters(suffix, detail::openai_suffix(job)) ? ours : others;
  return ours;
}

inline std::vector<JobEvent> OpenAiProvider::events(const std::string& provider_job_id, const std::string& after) {
  constexpr std::uint32_t most_pages = 50;
  std::vector<JobEvent> events;
  detail::NewestFirst order;
  list_of(provider_job_id, "events", most_pages, [&](const detail::Said& said) {
    events.push_back(
        {said.at("id").name(), said.at("created_at").time_s(), said.at("level").words(16), said.at("message").words()});
    const bool newest_first = order.all_seen(events.back().at_s, events.back().at_s + 1);
    return after.empty() || events.back().id != after || !newest_first;
  });
  std::reverse(events.begin(), events.end());  // lists begin with the newest
  std::stable_sort(events.begin(), events.end(), [](const JobEvent& a, const JobEvent& b) { return a.at_s < b.at_s; });
  const auto known = std::find_if(events.begin(), events.end(),
                                  [&](const JobEvent& each) { return !after.empty() && each.id == after; });
  if (known != events.end()) events.erase(events.begin(), known + 1);
  return events;
}

inline std::vector<Checkpoint> OpenAiProvider::checkpoints(const std::string& provider_job_id) {
  constexpr std::uint32_t most_pages = 10;
  std::vector<Checkpoint> checkpoints;
  list_of(provider_job_id, "checkpoints", most_pages, [&](const detail::Said& said) {
    Checkpoint each{said.at("fine_tuned_model_checkpoint").name(), said.at("step_number").count(),
                    said.at("metrics").is_object() ? said.at("metrics").json(2'000) : std::string{}};
    if (!each.model.empty()) checkpoints.push_back(std::move(each));
    return true;
  });
  std::stable_sort(checkpoints.begin(), checkpoints.end(),
                   [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return checkpoints;
}

inline std::string OpenAiProvider::date_of(const detail::Said& model) const {
  std::string date = model.at("shutdown_date").date();
  if (date.empty()) date = model.at("deprecation").at("inference").date();
  return date;
}

inline std::string OpenAiProvider::shutdown_date(const std::string& model) {
  constexpr std::uint32_t most_pages = 20;
  http_.begin();
  if (model.empty()) return {};
  try {
    const boost::json::value answer = http_.ask(
        {.path = "/models/" + detail::in_path(model), .what = "the model " + detail::said_words(model, {}, 100)});
    if (std::string date = date_of(detail::Said{answer, http_.secret()}); !date.empty()) return date;
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::not_found && error.code != ProviderErrc::refused) throw;
  }
  std::string date;
  try {
    (void)http_.list("/models", "the list of models", most_pages, [&](const detail::Said& said) {
      if (said.at("id").raw() != model) return true;
      date = date_of(said);
      return false;
    });
  } catch (const ProviderError& error) {
    if (error.code != ProviderErrc::not_found && error.code != ProviderErrc::refused) throw;
  }
  return date;
}

}  // namespace canary
