// lifecycle.hpp: which status may follow which. Layer control; one table, and nothing else decides.
//
//   CANDIDATE -> ACTIVE -> DEPRECATED -> ARCHIVED
//   CANDIDATE -> DEPRECATED                          never went live
//   DEPRECATED -> ACTIVE                             by promote alone
// Beside these, a rollback of the task restores whatever stood before; ARCHIVED is the end for that too.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace canary {

/// Where a model version stands in its life. The numbers are persisted nowhere; the words are.
enum class Status : std::uint8_t {
  candidate,   ///< registered, may get a canary share
  active,      ///< promoted: may be the base that others trade with
  deprecated,  ///< stepped down; may come back by promote
  archived,    ///< out of use for good
};

/// What makes a version change its status.
enum class Step : std::uint8_t { promote, deprecate, archive };

/// The word that stores, tables and JSON use.
[[nodiscard]] constexpr std::string_view to_string(Status status) noexcept {
  switch (status) {
    case Status::candidate:
      return "CANDIDATE";
    case Status::active:
      return "ACTIVE";
    case Status::deprecated:
      return "DEPRECATED";
    case Status::archived:
      return "ARCHIVED";
  }
  return "unknown";
}

/// The status behind a word; nothing for any other text.
[[nodiscard]] constexpr std::optional<Status> parse_status(std::string_view word) noexcept {
  for (const Status status : {Status::candidate, Status::active, Status::deprecated, Status::archived})
    if (to_string(status) == word) return status;
  return {};
}

/// One legal step. A step to where the version stands already is legal too, and changes nothing.
struct StatusStep {
  Step step;
  Status from;
  Status to;
};

inline constexpr std::array<StatusStep, 8> status_steps{{
    {Step::promote, Status::candidate, Status::active},
    {Step::promote, Status::active, Status::active},
    {Step::promote, Status::deprecated, Status::active},
    {Step::deprecate, Status::candidate, Status::deprecated},
    {Step::deprecate, Status::active, Status::deprecated},
    {Step::deprecate, Status::deprecated, Status::deprecated},
    {Step::archive, Status::deprecated, Status::archived},
    {Step::archive, Status::archived, Status::archived},
}};

/// Where `step` leads from here; nothing when it is illegal.
[[nodiscard]] constexpr std::optional<Status> after(Step step, Status from) noexcept {
  for (const StatusStep& legal : status_steps)
    if (legal.step == step && legal.from == from) return legal.to;
  return {};
}

/// True if a version of this status may be given traffic by `canary`. DEPRECATED comes back by promote, ARCHIVED never.
[[nodiscard]] constexpr bool may_canary(Status status) noexcept {
  return status == Status::candidate || status == Status::active;
}

}  // namespace canary
