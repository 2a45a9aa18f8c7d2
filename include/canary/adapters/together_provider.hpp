// together_provider.hpp: fine-tunes at Together, whose API is its own. Layer adapters; needs libcurl and Boost.JSON (link
// Boost::json, or include <boost/json/src.hpp> in one source file).
//
// Jobs have no metadata there, so the suffix always ends in our id: the model is called BASE-SUFFIX-ID-..., and the job is
// found again by that and by its file. Learning rates are absolute there: ours is a multiple of Together's own, 0.00001.
// Source  Together's description of its API, 2.0.0, and its client for Python.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/provider_http.hpp"
#include "canary/adapters/provider_jobs.hpp"
#include "canary/adapters/provider_wire.hpp"
#include "canary/control/provider.hpp"

namespace canary {

struct TogetherOptions {
  std::string base_url = "https://api.together.ai/v1";  ///< https, or http to this machine
  std::string api_key_env = "TOGETHER_API_KEY";         ///< variable with the key; empty: no key is sent
  std::string ca_file = {};                             ///< see HttpClientOptions
  std::uint32_t connect_ms = 10'000;                    ///< longest wait for a connection
  std::uint32_t total_ms = 30'000;                      ///< for an answer
  std::uint32_t idle_ms = 120'000;                      ///< longest silence of an upload
  std::uint32_t call_ms = 90'000;  ///< for a call with all its requests, tries and waits, but for upload()
  HttpRetry retry = detail::provider_retry;
  std::function<const char*(const char*)> environment = {};  ///< instead of getenv
  std::function<bool(std::uint32_t wait_ms)> wait = {};      ///< instead of waiting; false to give up
};

class TogetherProvider final : public detail::HttpProvider {
 public:
  /// Reads the key.
  /// Errors  ProviderError denied for a key that is not there, refused for an URL that a key may not be sent to.
  explicit TogetherProvider(const TogetherOptions& options) : HttpProvider{http_options(options), "/fine-tunes"} {}

  [[nodiscard]] std::string upload(const std::string& path, const UploadProgress& progress) override;
  /// Errors  `refused` for reinforcement too, which Together does not offer.
  [[nodiscard]] ProviderJob create_job(const Job& job) override;
  /// They have no ids there: ours are their time and their number within it.
  [[nodiscard]] std::vector<JobEvent> events(const std::string& provider_job_id, const std::string& after) override;
  [[nodiscard]] std::vector<Checkpoint> checkpoints(const std::string& provider_job_id) override;
  /// Together's list does not say.
  [[nodiscard]] std::string shutdown_date(const std::string&) override {
    if (http_.is_cancelled()) throw http_.failure(ProviderErrc::cancelled, "the end of a model", "cancelled");
    return {};
  }

 private:
  [[nodiscard]] static ProviderHttpOptions http_options(const TogetherOptions& options);
  [[nodiscard]] ProviderJob job_of(const detail::Said& said) const override;
  [[nodiscard]] detail::SaidOwner owner_of(const detail::Said& said, const Job& job) const override;
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// What the user wished, and our id.
[[nodiscard]] inline std::string together_suffix(const Job& job) {
  constexpr std::size_t most = 64;
  const std::string id = suffix_of(job.id, most);
  const std::string wished = id.size() + 1 < most ? suffix_of(job.suffix, most - id.size() - 1) : std::string{};
  return wished.empty() ? id : wished + '-' + id;
}

/// True if `id` stands in `text` and is not a piece of a longer word.
[[nodiscard]] inline bool has_word(std::string_view text, std::string_view id) noexcept {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  for (std::size_t i = 0; !id.empty() && i + id.size() <= text.size(); ++i) {
    const std::size_t end = i + id.size();
    if (same_letters(text.substr(i, id.size()), id) && (i == 0 || !plain(text[i - 1])) &&
        (end == text.size() || !plain(text[end])))
      return true;
  }
  return false;
}

}  // namespace detail

inline ProviderHttpOptions TogetherProvider::http_options(const TogetherOptions& options) {
  ProviderHttpOptions http;
  http.kind = "together";
  http.base_url = options.base_url;
  http.api_key_env = options.api_key_env;
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

inline std::string TogetherProvider::upload(const std::string& path, const UploadProgress& progress) {
  http_.begin_upload();
  const std::uint64_t size = size_of(path);
  const std::string name = detail::sent_file_name(path);
  const std::string what = "the upload of " + path;
  detail::FileProgress sent{size, progress};
  const boost::json::value answer =
      http_.ask({.path = "/files/upload",
                 .what = what,
                 .method = "POST",
                 .parts = {{.name = "purpose", .value = "fine-tune"},
                           {.name = "file_name", .value = name},
                           {.name = "file_type", .value = "jsonl"},
                           {.name = "file", .path = path, .file_name = name, .bytes = size}},
                 .on_sent = sent.of_piece(0, size)});
  const detail::Said said{answer, http_.secret()};
  std::string id = said.at("id").name();
  if (id.empty()) throw http_.failure(ProviderErrc::unclear, what, "an answer without an id: " + said.json(200));
  sent.reach(size);
  return id;
}

inline ProviderJob TogetherProvider::create_job(const Job& job) {
  constexpr double own_learning_rate = 0.00001;
  http_.begin();
  check_job(job);
  const TrainingMethod& method = job.method;
  if (method.type != "supervised" && method.type != "dpo")
    throw http_.failure(ProviderErrc::refused, "a new job", "the method " + detail::said_words(method.type, {}, 40),
                        "expected supervised or dpo");
  boost::json::object body{{"model", detail::sent_text(job.base_model)},
                           {"training_file", detail::sent_text(job.training_file_id)},
                           {"suffix", detail::sent_text(detail::together_suffix(job))}};
  boost::json::object training{{"method", method.type == "dpo" ? "dpo" : "sft"}};
  if (method.type == "dpo" && method.beta != 0) training["dpo_beta"] = method.beta;
  body["training_method"] = std::move(training);
  if (method.epochs != 0) body["n_epochs"] = method.epochs;
  if (method.batch_size != 0) body["batch_size"] = method.batch_size;
  if (method.learning_rate_multiplier != 0) body["learning_rate"] = own_learning_rate * method.learning_rate_multiplier;
  if (!job.validation_file_id.empty()) {
    body["validation_file"] = detail::sent_text(job.validation_file_id);
    body["n_evals"] = 1;  // with none, which is usual, the file would not be looked at
  }
  const std::string what = "a new job";
  return read_job(
      http_.ask({.path = "/fine-tunes", .what = what, .method = "POST", .body = std::move(body), .once = true}), what,
      {});
}

inline ProviderJob TogetherProvider::job_of(const detail::Said& said) const {
  ProviderJob job;
  job.provider_status = said.at("status").words(64);
  job.status = detail::status_of(job.provider_status);
  if (job.status == JobStatus::succeeded)
    job.model = said.at("model_output_name").name();  // it is known from the start
  job.trained_tokens = said.at("token_count").count();
  if (has_ended(job.status)) job.finished_at_s = said.at("updated_at").time_s();
  if (job.status != JobStatus::failed) return job;
  job.error = said.at("error").words();
  if (const boost::json::array* events = said.at("events").rows())
    for (const boost::json::value& each : *events) {
      const detail::Said event{each, http_.secret()};
      if (detail::same_letters(event.at("level").raw(), "error")) job.error = event.at("message").words();
    }
  return job;
}

inline detail::SaidOwner TogetherProvider::owner_of(const detail::Said& said, const Job& job) const {
  using enum detail::SaidOwner;
  const std::string_view file = said.at("training_file").raw();
  if (!job.training_file_id.empty() && !file.empty() && file != job.training_file_id) return others;
  if (const std::string_view suffix = said.at("suffix").raw(); !suffix.empty())
    return detail::same_letters(suffix, detail::together_suffix(job)) ? ours : others;
  const std::string_view model = said.at("model_output_name").raw();
  if (model.empty()) return unknown;
  return detail::has_word(model, detail::suffix_of(job.id, 64)) ? ours : others;
}

inline std::vector<JobEvent> TogetherProvider::events(const std::string& provider_job_id, const std::string& after) {
  std::vector<JobEvent> events;
  list_of(provider_job_id, "events", 1, [&](const detail::Said& said) {
    events.push_back({{}, said.at("created_at").time_s(), said.at("level").words(16), said.at("message").words()});
    return events.size() < 5'000;
  });
  std::stable_sort(events.begin(), events.end(), [](const JobEvent& a, const JobEvent& b) { return a.at_s < b.at_s; });
  std::uint32_t number = 0;
  for (std::size_t i = 0; i != events.size(); ++i) {
    number = i != 0 && events[i].at_s == events[i - 1].at_s ? number + 1 : 0;
    events[i].id = std::to_string(events[i].at_s) + '-' + std::to_string(number);
  }
  const auto known = std::find_if(events.begin(), events.end(), [&](const JobEvent& each) { return each.id == after; });
  if (known != events.end()) events.erase(events.begin(), known + 1);
  return events;
}

/// One can be used by itself under the job's id and its step.
inline std::vector<Checkpoint> TogetherProvider::checkpoints(const std::string& provider_job_id) {
  std::vector<Checkpoint> checkpoints;
  list_of(provider_job_id, "checkpoints", 1, [&](const detail::Said& said) {
    const std::uint64_t step = said.at("step").count();
    checkpoints.push_back({provider_job_id + ':' + std::to_string(step), step, {}});
    return checkpoints.size() < 1'000;
  });
  std::stable_sort(checkpoints.begin(), checkpoints.end(),
                   [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return checkpoints;
}

}  // namespace canary
