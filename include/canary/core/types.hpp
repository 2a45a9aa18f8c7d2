// types.hpp: the words every other header speaks. Layer core.
// A Decision is 24 bytes and points to an immortal VersionRecord, so it may be kept, copied and handed to any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

namespace canary {

/// The library's version; CMake reads this line.
inline constexpr std::string_view version = "0.1.0";

/// All of a task's traffic, in parts per million. 1 % = 10,000 ppm.
inline constexpr std::uint32_t total_ppm = 1'000'000;

/// Versions that may share one task's traffic at the same time.
inline constexpr std::size_t max_shares = 1'024;

/// Versions one task may see in the life of a router (owners are 16-bit, some values are reserved).
inline constexpr std::size_t max_versions = 65'000;

/// Where a key falls on the ring [0, 2^32).
using Point = std::uint32_t;

/// Points on the ring.
inline constexpr std::uint64_t ring_points = std::uint64_t{1} << 32;

/// Position of a task in its router, dense from 0.
enum class TaskIndex : std::uint32_t { none = std::numeric_limits<std::uint32_t>::max() };

/// Why a decision names the version it names.
enum class Reason : std::uint8_t {
  split,     ///< the task's partition chose
  forced,    ///< an override is in force for the task
  fallback,  ///< nothing to choose from: unknown task, no version with a share, or a share that no default serves
  tripped,   ///< this process stopped a version by itself
};

/// The reason in the word that JSON and tables use.
[[nodiscard]] constexpr std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::split:
      return "split";
    case Reason::forced:
      return "forced";
    case Reason::fallback:
      return "fallback";
    case Reason::tripped:
      return "tripped";
  }
  return "unknown";
}

/// What a control call answers. Nothing has changed unless it is `ok`.
enum class Errc : std::uint8_t {
  ok = 0,
  unknown_task,       ///< the handle is empty or comes from another router: take it from Router::task()
  invalid_name,       ///< a task name outside [A-Za-z0-9_.-]{1,128}
  invalid_version,    ///< a share without a model, or a text over 65,535 bytes
  over_total,         ///< the shares add up to more than 1,000,000 ppm
  duplicate_version,  ///< two shares name the same version
  version_mismatch,   ///< an id that stands for another model already: ids are never reused
  too_many_versions,  ///< over 1,024 shares at once, or over 65,000 versions in the router's life
  salt_fixed,         ///< a task's salt cannot change: every key would move
  invalid_partition,  ///< a stored split that does not cover the ring, or names an owner that it does not list
  full,               ///< no room for more tasks or version records
  out_of_memory,      ///< the allocator refused; routing goes on with what stood before
};

/// One sentence for people.
[[nodiscard]] constexpr std::string_view to_string(Errc error) noexcept {
  switch (error) {
    case Errc::ok:
      return "done";
    case Errc::unknown_task:
      return "no such task in this router";
    case Errc::invalid_name:
      return "a task name is 1 to 128 of A-Z a-z 0-9 _ . -";
    case Errc::invalid_version:
      return "a share must name a model, of at most 65,535 bytes, and an id that is not @default or @forced";
    case Errc::over_total:
      return "the shares add up to more than 100 %";
    case Errc::duplicate_version:
      return "two shares name the same version";
    case Errc::version_mismatch:
      return "this id stands for another model already";
    case Errc::too_many_versions:
      return "too many versions for one task";
    case Errc::salt_fixed:
      return "the salt of a task cannot change";
    case Errc::invalid_partition:
      return "the stored split does not cover the ring with versions that it lists";
    case Errc::full:
      return "the router holds as much as it can";
    case Errc::out_of_memory:
      return "out of memory";
  }
  return "unknown error";
}

/// One version's part of a task's traffic, as set_split() takes it.
struct VersionShare {
  std::string_view model;
  std::uint32_t weight_ppm = 0;
  std::string_view id = {};  ///< empty: the model names the version, which becomes TASK@N on first sight
};

/// What a task is made with; everything may be left out.
struct TaskOptions {
  std::string_view default_model = {};  ///< serves whatever share no version holds
  std::string_view salt = {};           ///< hashed into the seed; empty: the task's name
  std::string_view forced_model = {};   ///< serves everything while set
};

/// What set_split() did.
struct SplitResult {
  Errc error = Errc::ok;
  std::uint32_t revision = 0;        ///< the task's count of changes, after this one
  std::uint64_t points_moved = 0;    ///< points of the ring that changed version
  std::uint64_t points_minimum = 0;  ///< half the sum of |change|: no assignment could move fewer
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return error == Errc::ok; }
};

/// A task of one router. 16 bytes, copied freely; empty until taken from Router::task().
class Task {
 public:
  constexpr Task() noexcept = default;
  constexpr Task(TaskIndex index, std::uint64_t seed) noexcept : seed_{seed}, index_{index} {}
  [[nodiscard]] constexpr TaskIndex index() const noexcept { return index_; }
  [[nodiscard]] constexpr std::uint64_t seed() const noexcept { return seed_; }  ///< hash seed made from the salt
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return index_ != TaskIndex::none; }
  friend constexpr bool operator==(const Task&, const Task&) noexcept = default;

 private:
  std::uint64_t seed_ = 0;  // here, not in the table: hashing must not wait for the table's fetch
  TaskIndex index_ = TaskIndex::none;
};

/// What a decision points to: one version of one task, with the reason it is chosen for. Never freed before its router.
struct VersionRecord {
  const char* model = "";
  const char* id = "";
  std::uint32_t task = static_cast<std::uint32_t>(TaskIndex::none);
  std::uint16_t model_size = 0;
  std::uint16_t id_size = 0;
  std::uint16_t owner = 0;   ///< 0 is the task's default
  std::uint16_t number = 0;  ///< what the store calls it: N of TASK@N, 0 for the default
  Reason reason = Reason::fallback;
  bool watched = false;  ///< it is compared with another version: its assignments are recorded
  friend constexpr bool operator==(const VersionRecord&, const VersionRecord&) noexcept = default;
};
static_assert(sizeof(VersionRecord) == 32, "two records fill one cache line");

/// What a default-made decision points to, and every answer for an unknown task.
inline constexpr VersionRecord no_version{};

/// The answer of route(). Views stay valid as long as the router lives.
class Decision {
 public:
  constexpr Decision() noexcept = default;
  constexpr Decision(const VersionRecord* record, Point point, std::uint32_t revision) noexcept
      : record_{record}, point_{point}, revision_{revision} {}
  [[nodiscard]] constexpr std::string_view model() const noexcept { return {record_->model, record_->model_size}; }
  [[nodiscard]] constexpr std::string_view version_id() const noexcept { return {record_->id, record_->id_size}; }
  [[nodiscard]] constexpr Reason reason() const noexcept { return record_->reason; }
  [[nodiscard]] constexpr Point point() const noexcept { return point_; }
  [[nodiscard]] constexpr std::uint32_t revision() const noexcept { return revision_; }
  /// Id of the interaction; 0 until it has one. record() gives it, and route() of an engine where versions are compared.
  [[nodiscard]] constexpr std::uint64_t interaction() const noexcept { return interaction_; }
  constexpr void set_interaction(std::uint64_t id) noexcept { interaction_ = id; }
  /// The record behind it; two decisions for one version may point to two equal records.
  [[nodiscard]] constexpr const VersionRecord& record() const noexcept { return *record_; }

 private:
  const VersionRecord* record_ = &no_version;
  Point point_ = 0;
  std::uint32_t revision_ = 0;
  std::uint64_t interaction_ = 0;
};
static_assert(sizeof(Decision) == 24 && std::is_trivially_copyable_v<Decision>,
              "route() is inlined: it stays in registers");

}  // namespace canary
