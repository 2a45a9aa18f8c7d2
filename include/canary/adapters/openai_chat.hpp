// openai_chat.hpp: a task's question to the model that its version names, and what became of it into the record. Layer
// adapters; libcurl, Boost.JSON (link Boost::json, or include <boost/json/src.hpp> in one source file).
//
//   canary::OpenAiChat chat{engine, {.base_url = "https://api.openai.com/v1"}};
//   canary::ChatReply reply = chat.complete(task, user_id, {{"user", "Which documents are missing?"}}, {.fallback = true});
//
// One decision of the engine is one interaction in its record: latency, tokens, cost, and the kind of error, with the texts
// where payloads are on. Where the version's own model cannot be had and the task has a fallback, the record has two. The
// version's is a failure, and counts as one. The default's is an interaction of the default with reason `fallback`: it shows
// what was spent and what was answered, and is no evidence for either side of a split, since nobody's coin chose it.
//
// What is not known is recorded as 0: tokens that the server did not tell (`usage_known`: it ignores stream_options, or the
// stream ended early), and the cost of a model without a price (`priced`). To a metric of cost such an answer was free, and a
// candidate that has many of them looks cheap: with prices, give every model one, `*` for all others, before the guard
// watches cost.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/adapters/openai_chat_client.hpp"
#include "canary/core/outcome.hpp"
#include "canary/core/partition.hpp"
#include "canary/core/types.hpp"

namespace canary {

/// What came of a question.
struct ChatReply {
  Decision decision;  ///< whose model gave `text`, or failed to; good as long as the engine and the client
  bool ok = false;
  std::string text;
  std::string finish_reason;
  ErrorKind error = ErrorKind::none;
  std::string message;     ///< why it failed, or why the default had to answer
  std::string hint;        ///< what to do; may be empty
  bool fell_back = false;  ///< the default was asked, since the model of `replaced` cannot be had
  Decision replaced;
  bool recorded = false;     ///< all of it
  bool usage_known = false;  ///< the server told tokens; else tokens and cost are recorded as 0
  bool priced = false;       ///< the model has a price; else its cost is recorded as 0
  std::int64_t latency_us = 0;
  std::uint32_t tokens_in = 0;
  std::uint32_t tokens_out = 0;
  std::int64_t cost_microusd = 0;
};

/// Asks models for tasks. Any thread, any number at once.
/// Input   an engine, or whatever routes, records and has a router like one. It outlives this.
template <class Engine>
class OpenAiChat {
 public:
  /// Errors  as ChatClient().
  OpenAiChat(Engine& engine, OpenAiChatOptions options) : engine_{engine}, client_{std::move(options)} {}

  /// Picks the version that serves `key`, asks its model, and records what became of it.
  /// Output  always a reply: without a network, a store or a default too.
  /// Errors  ChatError for parameters that are no JSON object, or have tools, functions or n; what on_text throws, after
  ///         it is recorded as cancelled.
  [[nodiscard]] ChatReply complete(Task task, std::string_view key, const std::vector<ChatMessage>& messages,
                                   const ChatOptions& options = {}) {
    check(options);
    return complete(engine_.route(task, key), task, messages, options);
  }
  [[nodiscard]] ChatReply complete(Task task, std::uint64_t key, const std::vector<ChatMessage>& messages,
                                   const ChatOptions& options = {}) {
    check(options);
    return complete(engine_.route(task, key), task, messages, options);
  }

  /// From any thread: ends what is under way, and all that comes later.
  void cancel() noexcept { client_.cancel(); }

 private:
  using Clock = ChatClient::Clock;

  /// Before anything is routed: what the caller did wrong is no failure of a version.
  static void check(const ChatOptions& options) { (void)detail::chat_parameters(options.parameters); }
  [[nodiscard]] ChatReply complete(const Decision& decision, Task task, const std::vector<ChatMessage>& messages,
                                   const ChatOptions& options);
  void ask(ChatReply& reply, const std::vector<ChatMessage>& messages, const ChatOptions& options,
           Clock::time_point deadline, bool& about_model);
  [[nodiscard]] Decision default_instead(Task task, const Decision& decision);

  Engine& engine_;
  ChatClient client_;
  std::mutex mutex_;
  std::deque<VersionRecord> defaults_;  // they stay where they are: decisions point to them
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Engine>
ChatReply OpenAiChat<Engine>::complete(const Decision& decision, Task task, const std::vector<ChatMessage>& messages,
                                       const ChatOptions& options) {
  const std::uint32_t total_ms = options.total_ms != 0 ? options.total_ms : client_.options().total_ms;
  const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds{total_ms};
  ChatReply reply;
  reply.decision = decision;
  bool about_model = false;
  ask(reply, messages, options, deadline, about_model);
  if (reply.ok || !about_model || !options.fallback) return reply;
  const Decision instead = default_instead(task, reply.decision);
  if (instead.model().empty() || instead.model() == reply.decision.model()) return reply;
  ChatReply second;
  second.decision = instead;
  ask(second, messages, options, deadline, about_model);
  second.fell_back = true;
  second.replaced = reply.decision;
  second.recorded = second.recorded && reply.recorded;
  second.latency_us += reply.latency_us;
  if (second.ok) {
    second.message = std::move(reply.message);
    second.hint = std::move(reply.hint);
  }
  return second;
}

/// One model, one interaction.
template <class Engine>
void OpenAiChat<Engine>::ask(ChatReply& reply, const std::vector<ChatMessage>& messages, const ChatOptions& options,
                             Clock::time_point deadline, bool& about_model) {
  const Clock::time_point begin = Clock::now();
  ChatAnswer answer;
  std::exception_ptr thrown;
  try {
    if (!reply.decision.model().empty()) {
      answer = client_.ask(reply.decision.model(), messages, options, deadline);
    } else {
      answer.error = ErrorKind::other;
      answer.message = "there is no model to ask: the task is unknown, or has neither a version nor a default";
      answer.hint = "see default_model of the task";
    }
  } catch (...) {
    answer.error = ErrorKind::cancelled;
    thrown = std::current_exception();
  }
  reply.latency_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
  const std::string request = client_.without_key(boost::json::serialize(detail::chat_messages(messages)));
  const std::string response = answer.ok ? client_.without_key(answer.text) : std::string{};
  reply.recorded = engine_.record(reply.decision, {.latency_us = reply.latency_us,
                                                   .ok = answer.ok,
                                                   .tokens_in = answer.tokens_in,
                                                   .tokens_out = answer.tokens_out,
                                                   .cost_microusd = answer.cost_microusd,
                                                   .error = answer.error,
                                                   .request = request,
                                                   .response = response});
  if (thrown) std::rethrow_exception(thrown);
  reply.ok = answer.ok;
  reply.text = std::move(answer.text);
  reply.finish_reason = std::move(answer.finish_reason);
  reply.error = answer.error;
  reply.message = std::move(answer.message);
  reply.hint = std::move(answer.hint);
  reply.usage_known = answer.usage_known;
  reply.priced = answer.priced;
  reply.tokens_in = answer.tokens_in;
  reply.tokens_out = answer.tokens_out;
  reply.cost_microusd = answer.cost_microusd;
  about_model = answer.about_model;
}

/// The task's default in the place of what the split chose, as a decision that no split made.
template <class Engine>
Decision OpenAiChat<Engine>::default_instead(Task task, const Decision& decision) {
  const auto [id, model] = engine_.router().version(task, default_owner);
  constexpr std::size_t longest = 0xFFFF;
  if (model.empty() || model.size() > longest || id.size() > longest) return {};
  VersionRecord record;
  record.model = model.data();
  record.id = id.data();
  record.task = static_cast<std::uint32_t>(task.index());
  record.model_size = static_cast<std::uint16_t>(model.size());
  record.id_size = static_cast<std::uint16_t>(id.size());
  record.reason = Reason::fallback;
  const std::lock_guard lock{mutex_};
  for (const VersionRecord& each : defaults_) {  // one for each default that a task has had: few
    const Decision known{&each, decision.point(), decision.revision()};
    if (each.task == record.task && known.model() == model && known.version_id() == id) return known;
  }
  return {&defaults_.emplace_back(record), decision.point(), decision.revision()};
}

}  // namespace canary
