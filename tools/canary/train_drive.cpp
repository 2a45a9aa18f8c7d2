#include "train_drive.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "canary/adapters/process_mark.hpp"
#include "canary/control/registry.hpp"
#include "canary/control/time_text.hpp"
#include "canary/control/tuner_follow.hpp"
#include "failure.hpp"
#include "file_bytes.hpp"
#include "output.hpp"
#include "row_progress.hpp"

namespace canary::cli {

void wait_for(std::uint32_t wait_ms) {
  constexpr std::chrono::milliseconds slice{50};
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{wait_ms};
  for (Interrupts::check(); std::chrono::steady_clock::now() < until; Interrupts::check())
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(slice, until - std::chrono::steady_clock::now()));
}

std::string Desk::new_id() {
  std::string digits;
  for (const char c : time_text(Registry::system_time()).substr(0, 19))
    if (c >= '0' && c <= '9') digits += c;
  constexpr std::string_view letters = "0123456789abcdefghijkmnpqrstuvwxyz";
  std::string id = "ft-" + digits.substr(0, 8) + '-' + digits.substr(8) + '-';
  for (int i = 0; i != 8; ++i) id += letters[random_() % letters.size()];
  return id;
}

std::string Desk::readable(const std::string& ca_file) {
  if (!ca_file.empty()) (void)text_of_file(ca_file, std::size_t{1} << 24);
  return ca_file;
}

Provider& Desk::provider_for_tuner(const Job& job) {
  try {
    return provider_of(job);
  } catch (const Failure& failure) {
    throw ProviderError{ProviderErrc::denied, failure.what(), failure.hint};
  }
}

TunerOptions Desk::options() {
  TunerOptions made;
  made.holder = process_mark();
  made.is_gone = [](const std::string& holder) { return process_is_gone(holder); };
  made.hash_file = [](const std::string& path) { return hash_of_file(path); };
  made.draw = [this] { return std::uniform_real_distribution<double>{0, 1}(random_); };
  made.settle_ms = [this](const Job& job) {
    const ProviderConfig* found = workspace_.config.find_provider(job.provider);
    return found == nullptr ? ProviderConfig{}.settle_ms : found->settle_ms;
  };
  return made;
}

void tell(const Job& job, std::string_view words) {
  std::string line = job.id + ": ";
  append_visible(line, words);
  std::fputs((line + '\n').c_str(), stderr);
}

namespace {

/// Says on stderr what is new, once each.
class Teller {
 public:
  void news(const Job& job, const JobNews& news) {
    std::string words = news.words;
    if (!news.hint.empty()) words += "; " + news.hint;
    if (words.empty() && news.kind != JobNews::Kind::waits) words = std::string{to_string(job.status)};
    if (words.empty()) words = job.provider_status;
    std::string& last = last_[job.id];
    if (!words.empty() && words != last) tell(job, words);
    last = std::move(words);
  }
  /// What the provider says happened, as far as it was not told before.
  void events(const Job& job, Provider& provider) {
    if (job.provider_job_id.empty()) return;
    std::string& after = after_[job.id];
    try {
      for (const JobEvent& event : provider.events(job.provider_job_id, after)) {
        tell(job, (event.level.empty() || event.level == "info" ? "" : event.level + ": ") + event.message);
        after = event.id;
      }
    } catch (const ProviderError&) {  // NOLINT(bugprone-empty-catch): they are asked for again with the next poll
    }
  }

 private:
  std::map<std::string, std::string, std::less<>> last_;
  std::map<std::string, std::string, std::less<>> after_;
};

/// When a start without patience gives up on a creation that is not answered: once it was sent again and not answered either,
/// or when its settling time is over and the provider cannot be asked for the job.
class Unanswered {
 public:
  [[nodiscard]] bool for_too_long(const Job& job, const JobNews& news, std::chrono::milliseconds settle_time) {
    const auto now = std::chrono::steady_clock::now();
    if (job.phase != JobPhase::creating) {
      first_.reset();
    } else if (!first_) {
      first_ = Sending{job.sent_at_us, now};
    } else {
      return job.sent_at_us != first_->sent_at_us || (news.trouble && now - first_->seen_at >= settle_time);
    }
    return false;
  }

 private:
  struct Sending {
    TimeUs sent_at_us;
    std::chrono::steady_clock::time_point seen_at;
  };
  std::optional<Sending> first_;
};

}  // namespace

std::string drive(Desk& desk, std::vector<Job>& jobs, bool to_the_end, bool patient) {
  const CallEnder ender{desk.providers()};
  Teller teller;
  Unanswered unanswered;  // the impatient have one job
  RowProgress progress{"bytes sent"};
  std::optional<Failure> failure;
  std::string hint;
  FollowHooks hooks;
  hooks.wait = [](std::uint32_t wait_ms) {
    wait_for(wait_ms);
    return true;
  };
  hooks.progress = [&progress](std::uint64_t sent, std::uint64_t total) { progress.update_of(sent, total); };
  hooks.on_store = [](const StoreError& error) {
    if (error.code != StoreErrc::unreachable) return false;
    warn("the store cannot be reached: " + std::string{error.what()} + "; it is tried again");
    return true;
  };
  hooks.on_news = [&](const Job& job, const JobNews& news) {
    if (news.trouble != ProviderErrc::cancelled) teller.news(job, news);
    if (to_the_end) {
      try {
        teller.events(job, desk.provider_of(job));
      } catch (const Failure&) {  // NOLINT(bugprone-empty-catch): the tuner has told that the provider cannot be had
      }
    }
    if (news.trouble) hint = news.hint;
    const bool away = news.trouble && news.trouble != ProviderErrc::cancelled && job.phase == JobPhase::stored;
    const bool too_long = unanswered.for_too_long(job, news, desk.settle_time(job));
    const bool give_up = news.lasting || (!patient && (away || too_long));
    if (give_up && news.kind != JobNews::Kind::closed) {
      failure.emplace(Exit::provider,
                      news.words.empty() ? "the provider does not say whether it has made the job" : news.words,
                      news.hint);
      return false;
    }
    const bool sent = job.phase == JobPhase::following || job.phase == JobPhase::closed;
    return to_the_end || !sent;
  };
  const auto let_go = [&] {
    for (Job& job : jobs) {
      try {
        desk.tuner().release(job);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): its time runs out by itself
      }
    }
  };
  try {
    follow_jobs(desk.tuner(), desk.store(), jobs, hooks);
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
  if (failure) throw *failure;
  return hint;
}

}  // namespace canary::cli
