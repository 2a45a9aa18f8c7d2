// guard_view.hpp: what the guard says, in the shapes that JSON and people get it; and what its commands share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "canary/control/config.hpp"
#include "canary/control/guard_look.hpp"
#include "context.hpp"

namespace canary::cli {

// Verbs of `guard`, as in context.hpp.
void add_guard_check(Syntax guard, Context& context);
void add_guard_run(Syntax guard, Context& context);
void add_guard_replay(Syntax guard, Context& context);
void add_guard_plan(Syntax guard, Context& context);

/// One of a check's `candidates`.
[[nodiscard]] boost::json::object look_document(std::string_view task, const GuardLook& look);

/// What is compared, how sure it is, what would change the verdict, and about how many requests that takes.
/// Input   `outcome`: what was done already, instead of what would change it.
void write_look(Output& out, const TaskConfig& task, const GuardLook& look, std::string_view outcome = {});

/// JSON has no infinity and no NaN: null.
[[nodiscard]] boost::json::value finite(double value);

/// Four digits; `none` for NaN, which is an advance margin that is not configured.
[[nodiscard]] std::string margin_text(double margin);

[[nodiscard]] std::string_view kind_word(MetricKind kind) noexcept;

/// The task's first metric of a kind; one with the defaults, where it has none.
[[nodiscard]] MetricConfig metric_of(const GuardConfig& guard, MetricKind kind);

/// An option's number.
/// Errors  Failure invalid_input for all that is none from `least` to `most`.
[[nodiscard]] double number_argument(std::string_view option, const std::string& text, double least, double most,
                                     std::string_view expected);

/// An option's whole number.
/// Errors  Failure usage for all that is none from `least` to `most`.
[[nodiscard]] std::uint64_t count_argument(std::string_view option, const std::string& text, std::uint64_t least,
                                           std::uint64_t most);

/// A candidate's share that leaves both arms traffic.
/// Errors  Failure invalid_input.
[[nodiscard]] std::uint32_t part_argument(const std::string& text);

}  // namespace canary::cli
