// canary route TASK KEY... | --keys FILE [--column NAME]: the decision for each key, in constant memory.
#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/utf8.hpp"
#include "context.hpp"
#include "key_source.hpp"
#include "progress.hpp"
#include "session.hpp"

namespace canary::cli {
namespace {

constexpr std::size_t keys_at_once = 1'024;

struct RouteOptions {
  std::string task;
  std::vector<std::string> keys;
  KeyOptions source;
};

/// Formats decisions, a line each. What a version contributes to its lines is made once and kept.
class DecisionLines {
 public:
  DecisionLines(Context& context, const Session& session) : context_{context} {
    for (const Participant& p : session.participants()) widen(p.id, p.model);
    const Decision any = session.router().decide(session.task, 0);
    widen(any.version_id(), any.model());  // a forced model may be none of the versions
  }

  void heading() {
    if (context_.json) return;
    std::string line;
    pad(line, "VERSION", id_width_);
    pad(line, "MODEL", model_width_);
    context_.out.write(coloured(1, "1", line + "REASON         POINT  REVISION  KEY") + '\n');
  }

  void write(std::string_view key, const Decision& decision) {
    std::string& to = context_.out.buffer();
    if (context_.json)
      write_json(to, key, decision);
    else
      write_text(to, key, decision);
    context_.out.settle();
  }

 private:
  struct Kept {
    const VersionRecord* record = nullptr;
    std::string text;
  };

  void widen(std::string_view id, std::string_view model) {
    std::string shown_id;
    std::string shown_model;
    append_visible(shown_id, id);
    append_visible(shown_model, model);
    id_width_ = std::max(id_width_, utf8_length(shown_id));
    model_width_ = std::max(model_width_, utf8_length(shown_model));
  }

  static void pad(std::string& to, std::string_view text, std::size_t width) {
    const std::size_t before = to.size();
    append_visible(to, text);
    to.append(width + 2 - std::min(width, utf8_length(std::string_view{to}.substr(before))), ' ');
  }

  static void number(std::string& to, std::uint64_t value, std::size_t width) {
    std::string digits;
    append_number(digits, value);
    to.append(width - std::min(width, digits.size()), ' ');
    to += digits;
  }

  /// Everything that depends on the version alone.
  const std::string& kept(const Decision& decision) {
    Kept& place = kept_[(reinterpret_cast<std::uintptr_t>(&decision.record()) >> 5) % kept_.size()];
    if (place.record == &decision.record()) return place.text;
    place.record = &decision.record();
    place.text.clear();
    if (context_.json) {
      place.text += ",\"version\":";
      append_json_string(place.text, decision.version_id());
      place.text += ",\"model\":";
      append_json_string(place.text, decision.model());
      ((place.text += ",\"reason\":\"") += to_string(decision.reason())) += "\",\"point\":";
    } else {
      pad(place.text, decision.version_id(), id_width_);
      pad(place.text, decision.model(), model_width_);
      pad(place.text, to_string(decision.reason()), 8);
    }
    return place.text;
  }

  void write_json(std::string& to, std::string_view key, const Decision& decision) {
    to += "{\"key\":";
    const bool text = append_json_string(to, key);
    to += kept(decision);
    append_number(to, decision.point());
    to += ",\"revision\":";
    append_number(to, decision.revision());
    if (!text) {  // the key as it is: U+FFFD above stands for bytes that JSON cannot hold
      to += ",\"key_hex\":\"";
      constexpr char digits[] = "0123456789abcdef";
      for (const char c : key) (to += digits[static_cast<unsigned char>(c) >> 4]) += digits[c & 15];
      to += '"';
    }
    to += "}\n";
  }

  void write_text(std::string& to, std::string_view key, const Decision& decision) {
    to += kept(decision);
    number(to, decision.point(), 10);
    number(to, decision.revision(), 10);
    to += "  ";
    append_visible(to, key);
    to += '\n';
  }

  Context& context_;
  std::array<Kept, 64> kept_;
  std::size_t id_width_ = 7;
  std::size_t model_width_ = 5;
};

void route_all(const Session& session, std::span<const std::string_view> keys, DecisionLines& lines) {
  std::array<Decision, keys_at_once> decisions;
  for (; !keys.empty(); keys = keys.subspan(std::min(keys_at_once, keys.size()))) {
    const auto some = keys.first(std::min(keys_at_once, keys.size()));
    session.router().route_many(session.task, some, decisions);
    for (std::size_t i = 0; i != some.size(); ++i) lines.write(some[i], decisions[i]);
  }
}

void run(Context& context, const RouteOptions& options) {
  if (options.keys.empty() == options.source.file.empty())
    throw Failure{Exit::usage, "route needs KEY... or --keys FILE, one of them", "canary route --help"};
  if (options.source.file.empty() && options.source.column)
    throw Failure{Exit::usage, "--column goes with --keys FILE", "canary route --help"};
  const Session session{context.config_file, options.task};
  DecisionLines lines{context, session};
  if (!session.forced_by().empty())
    warn("every key gets the model in " + std::string{session.forced_by()} + ": it overrides the split");
  if (options.source.file.empty()) {
    const std::vector<std::string_view> keys(options.keys.begin(), options.keys.end());
    lines.heading();
    return route_all(session, keys, lines);
  }
  KeySource source{options.source};
  Progress progress{Progress::Results::stream};
  std::uint64_t count = 0;
  const auto* keys = &source.next();  // before the heading: a file that cannot be read has no results
  lines.heading();
  for (; !keys->empty(); keys = &source.next()) {
    route_all(session, *keys, lines);
    progress.update(count += keys->size(), source.bytes_read(), source.bytes_total());
  }
  source.warn_of_oddities();
}

}  // namespace

void add_route(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "route", "Prints the decision for each key");
  const auto options = std::make_shared<RouteOptions>();
  add_text(noun, "task", options->task, "Task, as configured")->required()->type_name("TASK");
  add_texts(noun, "key", options->keys, "Keys; put -- before one that starts with a dash")->type_name("KEY");
  add_key_options(noun, options->source);
  noun.footer(
      "With --json, a line for each key: {\"key\",\"version\",\"model\",\"reason\",\"point\",\"revision\"}.\n"
      "A key that is not UTF-8 is routed by its bytes; its line has U+FFFD for them, and \"key_hex\" with the bytes.\n"
      "Plain lines end with LF or CRLF; an empty line is the empty key. In CSV, empty lines are no records.");
  noun.callback([&context, options] { run(context, *options); });
}

}  // namespace canary::cli
