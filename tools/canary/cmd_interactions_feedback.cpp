// canary interactions feedback ID SCORE: a score that comes later, counted wherever the interaction counts.
#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/drainer.hpp"
#include "canary/control/registry.hpp"
#include "command_spool.hpp"
#include "outcome_cells.hpp"
#include "recorded.hpp"
#include "registry_view.hpp"

namespace canary::cli {
namespace {

struct FeedbackOptions {
  std::string id;
  std::string score;
};

/// Errors  Failure usage for what is no number. What is more than any id can be will not be found either.
std::uint64_t id_argument(const std::string& text) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error == std::errc::invalid_argument || end != text.data() + text.size())
    throw Failure{Exit::usage, "an interaction's id is a number", "canary interactions list shows them"};
  constexpr std::uint64_t most = std::uint64_t{1} << 63;
  return error == std::errc::result_out_of_range || id >= most ? 0 : id;
}

std::uint32_t score_argument(const std::string& text) {
  if (const std::optional<std::uint32_t> score = parse_score(text)) return *score;
  std::string shown;
  append_visible(shown, text.substr(0, 64));
  throw Failure{Exit::invalid_input, '"' + shown + "\" is no score", "expected " + std::string{score_forms}};
}

std::optional<Interaction> find(InteractionStore& store, std::uint64_t id) {
  std::optional<Interaction> found;
  if (id == 0) return found;
  store.read({.from = id, .to = id}, [&found](const Interaction& row, const Payload&) {
    found = row;
    return false;
  });
  return found;
}

[[noreturn]] void refuse_unknown(const std::string& id) {
  throw Failure{Exit::not_found, "no interaction " + id,
                "its row may not be kept (sample_percent, keep_days), or still be in its server's spool"};
}

[[noreturn]] void refuse_scored(const std::string& id, std::uint32_t score) {
  throw Failure{Exit::conflict, "interaction " + id + " had feedback before: its score is " + score_text(score),
                "the first feedback of an interaction stays"};
}

/// The newest epoch at or before a revision.
std::optional<OpenedEpoch> epoch_of(Store& store, std::string_view task, std::uint32_t revision) {
  const std::optional<PastChange> change = last_change_of_weights(store, task, revision);
  if (!change) return {};
  std::optional<Epoch> epoch = parse_epoch(change->row.epoch);
  if (!epoch) return {};
  return OpenedEpoch{*std::move(epoch), change->row.at_us};
}

/// Brings one entry into the store as a server's drainer would: windows and evidence change by the very same rules.
/// Output  false if the interaction had feedback before.
bool drain(const Recorded& recorded, std::uint64_t id, std::uint32_t score) {
  const TimeUs now_us = Registry::system_time();
  Entry entry;
  entry.kind = EntryKind::feedback;
  entry.id = id;
  entry.at_us = now_us;
  entry.score = score;
  std::array<Recorder::Cell, 2> cells{};
  cells[0].words = detail::pack(entry);
  cells[0].stamp.store(detail::stamp_of(0, cells[0].words), std::memory_order_relaxed);
  std::vector<DrainLane> lanes(1);
  lanes[0].cells = cells.data();
  lanes[0].mask = cells.size() - 1;
  lanes[0].finished = true;

  CommandSpool spool{*recorded.interactions};
  DrainerOptions options;
  options.task = [&recorded](std::string_view name) {
    const TaskConfig* task = recorded.config.find_task(name);
    if (task == nullptr) return DrainTask{};
    return DrainTask{task->sample_ppm / 1e6, std::int64_t{task->guard.outcome_timeout_s} * 1'000'000};
  };
  options.epoch = [&recorded](std::string_view task, std::uint32_t revision) {
    return epoch_of(*recorded.store, task, revision);
  };
  Drainer drainer{*recorded.interactions, spool.id(), std::move(options)};
  const TaskNames nameless = [](std::uint32_t) { return std::string_view{}; };
  spool.lend();
  for (bool asked = false;;) {
    try {
      if (!drainer.pass(lanes, {&nameless, 1}, now_us)) return drainer.totals().feedback_refused == 0;
    } catch (const StoreError& error) {
      if (!error.unknown || asked) throw;
      asked = true;  // the next pass goes on from where the store has it
    }
  }
}

void run(Context& context, const FeedbackOptions& options) {
  const std::uint64_t id = id_argument(options.id);
  const std::uint32_t score = score_argument(options.score);
  const Recorded recorded{context};
  const std::optional<Interaction> before = find(*recorded.interactions, id);
  if (!before) refuse_unknown(options.id);
  const bool first = drain(recorded, id, score);
  const std::optional<Interaction> after = find(*recorded.interactions, id);
  if (!after) refuse_unknown(options.id);  // it was forgotten meanwhile
  if (!first) refuse_scored(options.id, after->score);
  context.committed = "the score is in the store";
  if (context.json)
    return write_document(context.out, boost::json::object{{"interaction", json_text(std::to_string(id))},
                                                           {"score", static_cast<double>(score) / score_one}});
  context.out.write("interaction " + std::to_string(id) + " has score " + score_text(score) + '\n');
}

}  // namespace

void add_interactions_feedback(Syntax interactions, Context& context) {
  const Syntax verb =
      add_noun(interactions, context, "feedback", "Gives an interaction the score that came later, once");
  const auto options = std::make_shared<FeedbackOptions>();
  add_text(verb, "interaction", options->id, "Its id")->required()->type_name("ID");
  add_text(verb, "score", options->score, "Quality, from 0 to 1")->required()->type_name("SCORE");
  verb.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
