// provider.hpp: what a place that fine-tunes must be able to do. Layer control; the adapters are openai_provider.hpp,
// together_provider.hpp and command_provider.hpp, and every one passes tests/contract/provider_contract.hpp.
//
// A provider is asked for one step at a time, so that tuner.hpp can store what it knows between them. None of the calls
// waits for a job; each ends within the adapter's time-outs, or by cancel(). A call that may be made twice without harm is
// retried inside, as far as the wire allows; create_job() never is, since it may have made a job.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/job.hpp"

namespace canary {

enum class ProviderErrc : std::uint8_t {
  denied,       ///< the key is missing or wrong, or the account may not do this
  not_found,    ///< no such job, file or model there
  refused,      ///< the request makes no sense to it, or breaks one of its rules: the same again will not help
  limited,      ///< too much for now: later
  unavailable,  ///< it cannot be reached, or fails by itself; what was asked for was not done
  unclear,      ///< no answer came, or one that makes no sense: it may have been done
  too_large,    ///< its answer is longer than any that makes sense: the same again will not help
  cancelled,    ///< by cancel()
};

[[nodiscard]] constexpr std::string_view to_string(ProviderErrc code) noexcept {
  switch (code) {
    case ProviderErrc::denied:
      return "denied";
    case ProviderErrc::not_found:
      return "not found";
    case ProviderErrc::refused:
      return "refused";
    case ProviderErrc::limited:
      return "limited";
    case ProviderErrc::unavailable:
      return "unavailable";
    case ProviderErrc::unclear:
      return "unclear";
    case ProviderErrc::too_large:
      return "too large";
    case ProviderErrc::cancelled:
      return "cancelled";
  }
  return "unknown";
}

/// Thrown by every call of a provider. Its words name the provider's own, cut to a bearable length, and never a secret.
class ProviderError : public std::runtime_error {
 public:
  ProviderError(ProviderErrc what_kind, const std::string& message, std::string what_to_do = {},
                std::uint32_t wait_ms = 0)
      : std::runtime_error{message}, code{what_kind}, hint{std::move(what_to_do)}, retry_after_ms{wait_ms} {}
  ProviderErrc code;
  std::string hint;                  ///< what to do; may be empty
  std::uint32_t retry_after_ms = 0;  ///< that the provider asked to be left alone; 0: it did not say
};

/// True for an error that may be gone later.
[[nodiscard]] constexpr bool may_change(ProviderErrc code) noexcept {
  return code == ProviderErrc::limited || code == ProviderErrc::unavailable || code == ProviderErrc::unclear;
}

/// A job as its provider tells it.
struct ProviderJob {
  std::string id;
  JobStatus status = JobStatus::queued;
  std::string provider_status;  ///< as it was said; an unknown one is kept, and counts as RUNNING
  std::string model;            ///< fine-tuned; empty: none yet
  std::string error;            ///< why it failed
  std::uint64_t trained_tokens = 0;
  std::int64_t finished_at_s = 0;   ///< Unix time; 0: not yet
  std::int64_t expected_end_s = 0;  ///< Unix time; 0: unknown
  std::optional<std::uint32_t> seed = {};
};

/// One thing that happened to a job.
struct JobEvent {
  std::string id;
  std::int64_t at_s = 0;
  std::string level;    ///< info, warn, error
  std::string message;  ///< as the provider wrote it: show it as hostile text
};

/// A file on its way to a provider: so many bytes of so many.
using UploadProgress = std::function<void(std::uint64_t sent, std::uint64_t total)>;

/// A place that fine-tunes. Calls come from one thread; cancel() from any.
class Provider {
 public:
  virtual ~Provider() = default;

  /// For people, without a secret: `openai at https://api.openai.com`.
  [[nodiscard]] virtual std::string place() const = 0;

  /// Brings a file there; its id. Said again it brings it again: a file that nobody uses costs nothing there.
  [[nodiscard]] virtual std::string upload(const std::string& path, const UploadProgress& progress) = 0;

  /// Makes the job of `job`, whose files are there already. Sent once.
  /// Errors  `unclear` when it may have been made.
  [[nodiscard]] virtual ProviderJob create_job(const Job& job) = 0;

  /// Every job there that was made for ours: by its id in metadata, or in the suffix where there is no metadata. The oldest
  /// first. Looks through all that may be newer than `since_s`, Unix time.
  [[nodiscard]] virtual std::vector<ProviderJob> find_jobs(const Job& job, std::int64_t since_s) = 0;

  [[nodiscard]] virtual ProviderJob get_job(const std::string& provider_job_id) = 0;

  /// Asks for an end. The answer may still be running.
  /// Errors  `refused` when it has ended already.
  [[nodiscard]] virtual ProviderJob cancel_job(const std::string& provider_job_id) = 0;

  /// Events after the one with this id (empty: all), the oldest first. A provider without events has none.
  [[nodiscard]] virtual std::vector<JobEvent> events(const std::string& provider_job_id, const std::string& after) = 0;

  /// Checkpoints of a job, by step. A provider without any has none.
  [[nodiscard]] virtual std::vector<Checkpoint> checkpoints(const std::string& provider_job_id) = 0;

  /// The first day without this model, as its list of models says: YYYY-MM-DD; empty if it does not say.
  [[nodiscard]] virtual std::string shutdown_date(const std::string& model) = 0;

  /// Ends the call that is under way, and every later one.
  virtual void cancel() noexcept = 0;
};

}  // namespace canary
