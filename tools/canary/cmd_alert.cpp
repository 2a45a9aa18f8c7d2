// canary alert test: sends an alert that says it is a test wherever alerts are configured to go.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "alert_sinks.hpp"
#include "canary/adapters/log_alert.hpp"
#include "canary/control/registry.hpp"
#include "configuration.hpp"
#include "context.hpp"

namespace canary::cli {
namespace {

namespace json = boost::json;

struct Told {
  std::string sink;
  bool delivered = false;
  std::string message;
};

Alert test_alert() {
  const TimeUs now_us = Registry::system_time();
  Alert alert;
  alert.kind = AlertKind::test;
  alert.at_us = now_us;
  alert.message = "a test: alerts arrive here";
  alert.hint = "nothing to do";
  alert.source = process_name();
  alert.id = "test-" + alert.source + '-' + std::to_string(now_us);
  return alert;
}

/// One try: what would be tried again later has failed here. A sink that cannot be made hides no other.
Told tell(const AlertSinkPlan& plan, const Alert& alert) {
  try {
    const Sent sent = plan.make()->send(alert);
    return {plan.name, sent.result == SendResult::delivered, sent.message};
  } catch (const Failure& failure) {
    return {plan.name, false, failure.what() + (failure.hint.empty() ? "" : "; " + failure.hint)};
  } catch (const std::exception& error) {
    return {plan.name, false, error.what()};
  }
}

void write_text(Context& context, const std::vector<Told>& all) {
  if (all.empty()) return context.out.write("no sink is configured: set webhook, command or log under [alerts]\n");
  Table table;
  table.row({"SINK", "RESULT", "MESSAGE"});
  for (const Told& told : all) {
    std::string sink;
    std::string message;
    append_visible(sink, told.sink);
    append_visible(message, told.message);
    table.row({sink, told.delivered ? "delivered" : "FAILED", message});
  }
  table.write(context.out);
}

void test(Context& context) {
  const Config config = load_configuration(config_path(context.config_file));
  const Alert alert = test_alert();
  std::vector<Told> all;
  for (const AlertSinkPlan& plan : alert_sink_plans(config)) all.push_back(tell(plan, alert));
  if (std::any_of(all.begin(), all.end(), [](const Told& told) { return !told.delivered; }))
    context.exit = Exit::failed;
  if (!context.json) return write_text(context, all);
  json::array documents;
  for (const Told& told : all)
    documents.push_back(
        {{"sink", json_text(told.sink)}, {"delivered", told.delivered}, {"message", json_text(told.message)}});
  write_document(context.out, json::object{{"alerts", std::move(documents)}});
}

}  // namespace

void add_alert(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "alert", "Tries the ways that alerts go");
  noun.require_subcommand(1);
  const Syntax verb = add_noun(noun, context, "test", "Sends a test alert to every sink that is configured");
  verb.footer(
      "One try for each: webhook, command and log, as [alerts] of the configuration names them. Exit 1 when one of "
      "them "
      "failed.\n"
      "The log's line goes to stderr. A webhook is a POST of JSON with Canary-Signature: t=TIME,v1=HEX, the "
      "HMAC-SHA256 "
      "with\n"
      "the secret over \"TIME.BODY\", in hexadecimal digits.");
  verb.callback([&context] { test(context); });
}

}  // namespace canary::cli
