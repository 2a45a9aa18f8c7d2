// canary simulate TASK --keys FILE [--set ID=PERCENT ...]: today's split and a tried one, side by side. Changes nothing.
#include <algorithm>
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
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/nearest.hpp"
#include "canary/control/percent.hpp"
#include "context.hpp"
#include "key_source.hpp"
#include "progress.hpp"
#include "session.hpp"
#include "workspace.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t tried_at_once = 1'024;

struct SimulateOptions {
  std::string task;
  KeyOptions source;
  std::vector<std::string> changes;  ///< ID=PERCENT
};

/// A version under both splits.
struct VersionRow {
  std::string_view id;
  std::string_view model;
  std::uint32_t ppm_before = 0;
  std::uint32_t ppm_after = 0;
  std::uint64_t count_before = 0;  ///< keys
  std::uint64_t count_after = 0;
};

/// A share to try.
struct TriedShare {
  std::string_view version;
  std::string_view percent;
};

/// Today's split and the tried one, each in a router. The tried one starts from today's, as a change would.
class Trial {
 public:
  Trial(const Session& today, const std::vector<std::string>& changes);

  void route(std::span<const std::string_view> keys);

  /// The default first, then the versions by number; a forced model that is none of them comes last.
  [[nodiscard]] const std::vector<VersionRow>& places() const noexcept { return places_; }
  [[nodiscard]] std::uint64_t keys() const noexcept { return keys_; }
  [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
  [[nodiscard]] const SplitResult& split() const noexcept { return split_; }
  /// Time in the router over decisions made, both splits together; 0 before the first.
  [[nodiscard]] double ns_per_decision() const noexcept;

 private:
  using PlaceByOwner = std::vector<std::size_t>;

  void try_in_file(const std::vector<TriedShare>& shares);
  void set_split(const std::vector<Participant>& before, const std::vector<Participant>& after);
  void try_in_store(const std::vector<TriedShare>& shares);
  void line_up();
  [[nodiscard]] std::size_t place_named(std::string_view id) const noexcept;
  [[nodiscard]] std::size_t place_of(const Decision& decision, const PlaceByOwner& by_owner) const noexcept;

  const Session& today_;
  Router own_;
  const Router* tried_ = nullptr;  // own_, or today's when nothing is tried
  Task task_;
  std::vector<VersionRow> places_;
  PlaceByOwner places_today_;
  PlaceByOwner places_tried_;
  SplitResult split_;
  std::uint64_t keys_ = 0;
  std::uint64_t moved_ = 0;
  std::chrono::nanoseconds spent_ns_{0};
};

TriedShare parse_share(std::string_view text, const TaskConfig& task) {
  const std::size_t equals = text.rfind('=');  // a model's name may hold one too
  if (equals == std::string_view::npos || equals == 0)
    throw Failure{Exit::usage, "--set wants ID=PERCENT", "--set " + task.name + "@1=25"};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::uint32_t tried_ppm(std::string_view id, std::string_view percent) {
  if (const std::optional<std::uint32_t> ppm = parse_percent(percent)) return *ppm;
  throw Failure{Exit::invalid_input, "--set " + std::string{id} + ": not a percentage",
                "from 0 to 100, with up to four places: 10, 10%, 0.5, 0.0001"};
}

Trial::Trial(const Session& today, const std::vector<std::string>& changes)
    : today_{today}, tried_{&today.router()}, task_{today.task} {
  std::vector<TriedShare> shares;
  shares.reserve(changes.size());
  for (const std::string& text : changes) shares.push_back(parse_share(text, today.settings));
  if (!shares.empty() && today.in_file()) try_in_file(shares);
  if (!shares.empty() && !today.in_file()) try_in_store(shares);
  line_up();
}

// --- a split in the file ---------------------------------------------------------------------------------------------

/// By id, else by model. The default is named by its id alone: its model may be a version's too.
std::size_t participant_named(const std::vector<Participant>& all, std::string_view id, const std::string& task) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i != all.size(); ++i) {
    if (all[i].id == id || (i != 0 && all[i].model == id)) return i;
    names.push_back(all[i].id);
    if (i != 0) names.push_back(all[i].model);
  }
  const std::string near = nearest(id, names);
  std::string shown;
  append_visible(shown, id.substr(0, 128));
  throw Failure{Exit::not_found, "no version \"" + shown + "\" of task " + task,
                near.empty() ? "name it by its id, TASK@N, or by its model" : "did you mean \"" + near + "\"?"};
}

/// The default gives and takes, as it does when a share is changed in the file.
void Trial::try_in_file(const std::vector<TriedShare>& shares) {
  Config config;
  config.store.url = "memory:";
  config.tasks.push_back(today_.settings);
  (void)apply(config, own_, ::getenv);
  tried_ = &own_;
  task_ = own_.find(today_.settings.name);
  const std::vector<Participant> before = participants_of(own_, task_);
  std::vector<Participant> after = before;
  for (const TriedShare& share : shares) {
    const std::size_t at = participant_named(after, share.version, today_.settings.name);
    const std::uint32_t ppm = tried_ppm(after[at].id, share.percent);
    if (at == 0)
      throw Failure{Exit::invalid_input, "the default takes what the versions leave over, it has no share of its own",
                    "set the versions' shares"};
    after[at].weight_ppm = ppm;
  }
  set_split(before, after);
}

void Trial::set_split(const std::vector<Participant>& before, const std::vector<Participant>& after) {
  std::vector<VersionShare> shares;
  std::uint64_t sum_ppm = 0;
  for (std::size_t i = 1; i != after.size(); ++i) {
    shares.push_back({after[i].model, after[i].weight_ppm, after[i].id});
    sum_ppm += after[i].weight_ppm;
  }
  if (sum_ppm > total_ppm) {
    std::string message = "the shares add up to " + percent_text(static_cast<std::uint32_t>(sum_ppm)) + " %";
    for (std::size_t i = 1; i != after.size(); ++i) {
      if (after[i].weight_ppm == before[i].weight_ppm) continue;
      const std::uint64_t others_ppm = sum_ppm - after[i].weight_ppm;
      const auto left_ppm = static_cast<std::uint32_t>(others_ppm > total_ppm ? 0 : total_ppm - others_ppm);
      message += "; the default can give " + std::string{after[i].id} + " at most " + percent_text(left_ppm) + " %";
    }
    throw Failure{Exit::invalid_input, message};
  }
  split_ = own_.set_split(task_, shares);
  if (split_.error != Errc::ok) throw Failure{Exit::failed, std::string{canary::to_string(split_.error)}};
}

// --- one in a database -----------------------------------------------------------------------------------------------

/// The task as it would stand after the change.
void carry_out(TaskRecord& record, const Commit& change) {
  for (const ModelVersion& row : change.versions)
    for (ModelVersion& old : record.versions)
      if (old.number == row.number) old = row;
  record.partition = change.row.partition;
  record.revision = change.row.revision;
}

/// To the shares that `canary model canary ID PERCENT` would lead to, one after another; as one change.
void Trial::try_in_store(const std::vector<TriedShare>& shares) {
  const TaskConfig& settings = today_.settings;
  if (today_.store() == nullptr)
    throw Failure{Exit::store, "--set needs the database, which cannot be reached", "leave --set out"};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> wishes;  // number, ppm
  wishes.reserve(shares.size());
  for (const TriedShare& share : shares)
    wishes.emplace_back(version_argument(settings, share.version).number, tried_ppm(share.version, share.percent));
  VersionFilter filter;
  for (const Participant& p : today_.participants()) filter.numbers.push_back(version_number(p.id));
  for (const auto& [number, ppm] : wishes) filter.numbers.push_back(number);
  std::sort(filter.numbers.begin(), filter.numbers.end());
  filter.numbers.erase(std::unique(filter.numbers.begin(), filter.numbers.end()), filter.numbers.end());
  TaskRecord record = today_.store()->load(settings.name, filter);
  if (record.revision != today_.router().revision(today_.task))
    throw Failure{Exit::conflict, "task " + settings.name + " was changed meanwhile", "say it again"};
  const Partition before = record.partition;
  Author author;
  author.at_us = Registry::system_time();
  for (const auto& [number, ppm] : wishes) carry_out(record, plan_canary(record, number, ppm, author));
  std::vector<WantedShare> wanted;
  for (const OwnerShare& share : record.partition.shares())
    if (share.owner != default_owner) wanted.push_back({share.owner, share.ppm});
  Rebalanced once = rebalance(before, wanted);
  split_.points_minimum = once.points_minimum;
  if (wishes.size() > 1) record.partition = std::move(once.partition);  // on the way a key may have moved twice
  split_.points_moved = points_moved(before, record.partition);
  task_ = add_task(own_, settings);
  load_split(own_, task_, record);
  tried_ = &own_;
}

// --- both ------------------------------------------------------------------------------------------------------------

std::size_t Trial::place_named(std::string_view id) const noexcept {
  const auto at =
      std::find_if(places_.begin(), places_.end(), [id](const VersionRow& place) { return place.id == id; });
  return static_cast<std::size_t>(at - places_.begin());
}

/// One list for both routers, which number the versions each in its own way.
void Trial::line_up() {
  const std::vector<Participant> before = today_.participants();
  const std::vector<Participant> after = participants_of(*tried_, task_);
  for (const Participant& p : before) places_.push_back({p.id, p.model, p.weight_ppm, 0, 0, 0});
  for (const Participant& p : after) {
    const std::size_t at = place_named(p.id);
    if (at == places_.size()) places_.push_back({p.id, p.model, 0, 0, 0, 0});
    places_[at].ppm_after = p.weight_ppm;
  }
  std::sort(places_.begin() + 1, places_.end(),
            [](const VersionRow& a, const VersionRow& b) { return version_number(a.id) < version_number(b.id); });
  places_today_.resize(before.size());
  places_tried_.resize(after.size());
  for (const Participant& p : before) places_today_[p.owner] = place_named(p.id);
  for (const Participant& p : after) places_tried_[p.owner] = place_named(p.id);
  const Decision any = today_.router().decide(today_.task, 0);
  if (any.reason() == Reason::forced && any.record().owner == default_owner)
    places_.push_back({any.version_id(), any.model(), 0, 0, 0, 0});
}

std::size_t Trial::place_of(const Decision& decision, const PlaceByOwner& by_owner) const noexcept {
  const VersionRecord& record = decision.record();
  const bool outsider = record.reason == Reason::forced && record.owner == default_owner;
  return outsider ? places_.size() - 1 : by_owner[record.owner];
}

/// The clock runs around whole batches, and around the routing alone: reading the clock costs more than a decision.
void Trial::route(std::span<const std::string_view> keys) {
  using Clock = std::chrono::steady_clock;
  std::array<Decision, tried_at_once> now;
  std::array<Decision, tried_at_once> tried;
  for (; !keys.empty(); keys = keys.subspan(std::min(tried_at_once, keys.size()))) {
    const auto some = keys.first(std::min(tried_at_once, keys.size()));
    const auto start = Clock::now();
    today_.router().route_many(today_.task, some, now);
    tried_->route_many(task_, some, tried);
    spent_ns_ += Clock::now() - start;
    for (std::size_t i = 0; i != some.size(); ++i) {
      const std::size_t was = place_of(now[i], places_today_);
      const std::size_t is = place_of(tried[i], places_tried_);
      ++places_[was].count_before;
      ++places_[is].count_after;
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
  for (const VersionRow& place : trial.places()) {
    before.push_back({{"id", json_text(place.id)}, {"count", place.count_before}});
    after.push_back({{"id", json_text(place.id)}, {"count", place.count_after}});
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
  for (const VersionRow& place : trial.places()) {
    std::string model;
    append_visible(model, place.model);
    std::vector<std::string> cells{std::string{place.id}, model, percent_text(place.ppm_before) + " %",
                                   thousands(place.count_before), share_text(place.count_before, trial.keys())};
    if (tried)
      cells.insert(cells.end(), {percent_text(place.ppm_after) + " %", thousands(place.count_after),
                                 share_text(place.count_after, trial.keys())});
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

void add_simulate(Syntax root, Context& context) {
  Syntax noun = add_noun(root, context, "simulate", "Routes keys under today's split and a tried one; changes nothing");
  const auto options = std::make_shared<SimulateOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_key_options(noun, options->source)->required();
  add_texts(noun, "--set", options->changes,
            "Try this share for a version; its base gives and takes, as in model canary")
      ->allow_extra_args(false)
      ->type_name("ID=PERCENT");
  noun.footer(
      "Percentages: 10, 10%, 0.5, down to 0.0001. --set may be given for several versions; they are tried as one "
      "change,\n"
      "while model canary, said for one after another, may move more keys. Where the split stands in the file, a "
      "version\n"
      "may be named by its model too, and the default alone gives and takes.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
