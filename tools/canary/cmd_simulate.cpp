// canary simulate TASK --keys FILE [--set ID=PERCENT ...]: today's split and a tried one, side by side. Changes nothing.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/nearest.hpp"
#include "canary/control/percent.hpp"
#include "context.hpp"
#include "key_source.hpp"
#include "progress.hpp"
#include "session.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t batch = 1'024;

struct SimulateOptions {
  std::string task;
  KeyOptions source;
  std::vector<std::string> changes;  ///< ID=PERCENT
};

/// Keys per version under one split; the last place is a forced model that is none of the versions.
using Counts = std::vector<std::uint64_t>;

/// Today's split and the tried one, each in a router. The tried one starts from today's, as a change would.
class Trial {
 public:
  Trial(const Session& today, const std::vector<std::string>& changes);

  void route(std::span<const std::string_view> keys);

  [[nodiscard]] const std::vector<Participant>& before() const noexcept { return before_; }
  [[nodiscard]] const std::vector<Participant>& after() const noexcept { return after_; }
  [[nodiscard]] std::uint64_t count_before(std::size_t place) const { return counts_before_[place]; }
  [[nodiscard]] std::uint64_t count_after(std::size_t place) const { return counts_after_[place]; }
  [[nodiscard]] std::uint64_t keys() const noexcept { return keys_; }
  [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
  [[nodiscard]] const SplitResult& split() const noexcept { return split_; }
  /// Time in the router over decisions made, both splits together; 0 before the first.
  [[nodiscard]] double ns_per_decision() const noexcept;

 private:
  [[nodiscard]] std::size_t participant_named(std::string_view id) const;
  void change(std::string_view text);
  void set_split();
  [[nodiscard]] std::size_t place_of(const Decision& decision) const noexcept;

  const Session& today_;
  Router tried_;
  Task task_;
  std::vector<Participant> before_;
  std::vector<Participant> after_;
  SplitResult split_;
  Counts counts_before_;
  Counts counts_after_;
  std::uint64_t keys_ = 0;
  std::uint64_t moved_ = 0;
  std::chrono::nanoseconds spent_ns_{0};
};

Trial::Trial(const Session& today, const std::vector<std::string>& changes)
    : today_{today}, before_{today.participants()} {
  Config config;
  config.store.url = "memory:";
  config.tasks.push_back(today.settings);
  (void)apply(config, tried_, ::getenv);
  task_ = tried_.find(today.settings.name);
  after_ = before_;
  for (const std::string& text : changes) change(text);
  if (!changes.empty()) set_split();
  const Decision any = tried_.decide(task_, 0);
  if (any.reason() == Reason::forced && any.record().owner == default_owner) {
    const Participant forced{default_owner, any.version_id(), any.model(), 0};
    before_.push_back(forced);
    after_.push_back(forced);
  }
  counts_before_.resize(before_.size());
  counts_after_.resize(after_.size());
}

/// By id, else by model. The default is named by its id alone: its model may be a version's too.
std::size_t Trial::participant_named(std::string_view id) const {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i != after_.size(); ++i) {
    if (after_[i].id == id || (i != 0 && after_[i].model == id)) return i;
    names.push_back(after_[i].id);
    if (i != 0) names.push_back(after_[i].model);
  }
  const std::string near = nearest(id, names);
  std::string shown;
  append_visible(shown, id.substr(0, 128));
  throw Failure{Exit::not_found, "no version \"" + shown + "\" of task " + today_.settings.name,
                near.empty() ? "name it by its id, TASK@N, or by its model" : "did you mean \"" + near + "\"?"};
}

void Trial::change(std::string_view text) {
  const std::size_t equals = text.rfind('=');  // a model's name may hold one too
  if (equals == std::string_view::npos || equals == 0)
    throw Failure{Exit::usage, "--set wants ID=PERCENT", "--set " + today_.settings.name + "@1=25"};
  const std::size_t place = participant_named(text.substr(0, equals));
  const std::optional<std::uint32_t> ppm = parse_percent(text.substr(equals + 1));
  if (!ppm)
    throw Failure{Exit::invalid_input, "--set " + std::string{after_[place].id} + ": not a percentage",
                  "from 0 to 100, with up to four places: 10, 10%, 0.5, 0.0001"};
  if (place == 0)
    throw Failure{Exit::invalid_input, "the default takes what the versions leave over, it has no share of its own",
                  "set the versions' shares"};
  after_[place].weight_ppm = *ppm;
}

/// The default gives and takes, as it does when a share is changed in the file.
void Trial::set_split() {
  std::vector<VersionShare> shares;
  std::uint64_t sum_ppm = 0;
  for (std::size_t i = 1; i != after_.size(); ++i) {
    shares.push_back({after_[i].model, after_[i].weight_ppm, after_[i].id});
    sum_ppm += after_[i].weight_ppm;
  }
  if (sum_ppm > total_ppm) {
    std::string message = "the shares add up to " + percent_text(static_cast<std::uint32_t>(sum_ppm)) + " %";
    for (std::size_t i = 1; i != after_.size(); ++i) {
      if (after_[i].weight_ppm == before_[i].weight_ppm) continue;
      const std::uint64_t others_ppm = sum_ppm - after_[i].weight_ppm;
      const auto left_ppm = static_cast<std::uint32_t>(others_ppm > total_ppm ? 0 : total_ppm - others_ppm);
      message += "; the default can give " + std::string{after_[i].id} + " at most " + percent_text(left_ppm) + " %";
    }
    throw Failure{Exit::invalid_input, message};
  }
  split_ = tried_.set_split(task_, shares);
  if (split_.error != Errc::ok) throw Failure{Exit::failed, std::string{canary::to_string(split_.error)}};
  after_[0].weight_ppm = total_ppm - static_cast<std::uint32_t>(sum_ppm);
}

std::size_t Trial::place_of(const Decision& decision) const noexcept {
  const VersionRecord& record = decision.record();
  const bool outsider = record.reason == Reason::forced && record.owner == default_owner;
  return outsider ? counts_before_.size() - 1 : record.owner;
}

/// The clock runs around whole batches, and around the routing alone: reading the clock costs more than a decision.
void Trial::route(std::span<const std::string_view> keys) {
  using Clock = std::chrono::steady_clock;
  std::array<Decision, batch> now;
  std::array<Decision, batch> tried;
  for (; !keys.empty(); keys = keys.subspan(std::min(batch, keys.size()))) {
    const auto some = keys.first(std::min(batch, keys.size()));
    const auto start = Clock::now();
    today_.router.route_many(today_.task, some, now);
    tried_.route_many(task_, some, tried);
    spent_ns_ += Clock::now() - start;
    for (std::size_t i = 0; i != some.size(); ++i) {
      const std::size_t was = place_of(now[i]);
      const std::size_t is = place_of(tried[i]);
      ++counts_before_[was];
      ++counts_after_[is];
      moved_ += was != is;
    }
    keys_ += some.size();
  }
}

double Trial::ns_per_decision() const noexcept {
  return keys_ == 0 ? 0.0 : static_cast<double>(spent_ns_.count()) / (2.0 * static_cast<double>(keys_));
}

void write_json(Context& context, const Trial& trial) {
  json::array before;
  json::array after;
  for (std::size_t i = 0; i != trial.before().size(); ++i) {
    before.push_back({{"id", json_text(trial.before()[i].id)}, {"count", trial.count_before(i)}});
    after.push_back({{"id", json_text(trial.after()[i].id)}, {"count", trial.count_after(i)}});
  }
  write_document(context.out, json::object{{"keys", trial.keys()},
                                           {"before", std::move(before)},
                                           {"after", std::move(after)},
                                           {"moved_keys", trial.moved()},
                                           {"points_moved", trial.split().points_moved},
                                           {"points_minimum", trial.split().points_minimum},
                                           {"ns_per_decision", trial.ns_per_decision()}});
}

void write_text(Context& context, const Trial& trial, bool tried) {
  Table table;
  std::vector<std::string> heading{"VERSION", "MODEL", "SHARE", "KEYS", "OF ALL"};
  if (tried) heading.insert(heading.end(), {"TRIED SHARE", "KEYS", "OF ALL"});
  table.row(std::move(heading));
  for (std::size_t i = 0; i != trial.before().size(); ++i) {
    const Participant& p = trial.before()[i];
    std::string model;
    append_visible(model, p.model);
    std::vector<std::string> cells{std::string{p.id}, model, percent_text(p.weight_ppm) + " %",
                                   thousands(trial.count_before(i)), share_text(trial.count_before(i), trial.keys())};
    if (tried)
      cells.insert(cells.end(), {percent_text(trial.after()[i].weight_ppm) + " %", thousands(trial.count_after(i)),
                                 share_text(trial.count_after(i), trial.keys())});
    table.row(std::move(cells));
  }
  table.write(context.out);
  char ns[32];
  std::snprintf(ns, sizeof ns, "%.1f", trial.ns_per_decision());
  context.out.write("\n" + thousands(trial.keys()) + (trial.keys() == 1 ? " key, " : " keys, ") + ns +
                    " ns per decision\n");
  if (!tried) return;
  context.out.write(thousands(trial.moved()) + (trial.moved() == 1 ? " key moves (" : " keys move (") +
                    share_text(trial.moved(), trial.keys()) + "); " + thousands(trial.split().points_moved) +
                    " points of the ring move, the least possible is " + thousands(trial.split().points_minimum) +
                    " (" + share_text(trial.split().points_minimum, ring_points) + ")\n");
}

void run(Context& context, const SimulateOptions& options) {
  const Session session{context.config_file, options.task};
  Trial trial{session, options.changes};
  if (!session.forced_by().empty())
    warn("every key gets the model in " + std::string{session.forced_by()} + ": it overrides both splits");
  KeySource source{options.source};
  {
    Progress progress{Progress::Results::at_end};
    for (const auto* keys = &source.next(); !keys->empty(); keys = &source.next()) {
      trial.route(*keys);
      progress.update(trial.keys(), source.bytes_read(), source.bytes_total());
    }
  }
  source.warn_of_oddities();
  if (context.json) return write_json(context, trial);
  write_text(context, trial, !options.changes.empty());
}

}  // namespace

void add_simulate(CLI::App& root, Context& context) {
  CLI::App& noun =
      add_noun(root, context, "simulate", "Routes keys under today's split and a tried one; changes nothing");
  const auto options = std::make_shared<SimulateOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_key_options(noun, options->source)->required();
  add_texts(noun, "--set", options->changes,
            "Try this share for a version, by id or model; the default gives and takes")
      ->allow_extra_args(false)
      ->type_name("ID=PERCENT");
  noun.footer("Percentages: 10, 10%, 0.5, down to 0.0001. --set may be given for several versions.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
