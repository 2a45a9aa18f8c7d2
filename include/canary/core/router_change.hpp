// router_change.hpp: what a change of a router checks first, and how it is undone. Layer core; a part of router.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <span>
#include <string_view>

#include "canary/core/mix.hpp"
#include "canary/core/records.hpp"
#include "canary/core/task_state.hpp"
#include "canary/core/types.hpp"

namespace canary {
namespace detail {

[[noreturn]] inline void no_memory() {
#if defined(__cpp_exceptions)
  throw std::bad_alloc{};
#else
  std::abort();
#endif
}

inline constexpr std::size_t longest_text = 0xFFFF;  // sizes in a VersionRecord are 16 bits

[[nodiscard]] constexpr Errc check_options(const TaskOptions& options) noexcept {
  const bool fits = options.default_model.size() <= longest_text && options.forced_model.size() <= longest_text;
  return fits ? Errc::ok : Errc::invalid_version;
}

[[nodiscard]] inline Errc check_shares(std::span<const VersionShare> shares) noexcept {
  if (shares.size() > max_shares) return Errc::too_many_versions;
  std::uint64_t sum = 0;
  for (const VersionShare& share : shares) {
    if (share.model.empty() || share.model.size() > longest_text || share.id.size() > longest_text)
      return Errc::invalid_version;
    sum += share.weight_ppm;
  }
  return sum <= total_ppm ? Errc::ok : Errc::over_total;
}

/// True for the ids that no version may have: the task's default and its override go by them.
[[nodiscard]] constexpr bool is_reserved(std::string_view task, std::string_view id) noexcept {
  if (id.substr(0, task.size()) != task) return false;
  return id.substr(task.size()) == "@default" || id.substr(task.size()) == "@forced";
}

[[nodiscard]] inline VersionRecord make_record(TaskIndex task, Version version, Owner owner, Reason reason) noexcept {
  return {version.model.data(),
          version.id.data(),
          static_cast<std::uint32_t>(task),
          static_cast<std::uint16_t>(version.model.size()),
          static_cast<std::uint16_t>(version.id.size()),
          owner,
          version.number,
          reason,
          version.watched && reason == Reason::split};
}

/// Puts a task and the texts back as they were unless the change went through.
class Undo {
 public:
  Undo(TaskState& state, TextArena& texts)
      : state_{&state},
        texts_{texts},
        mark_{texts.mark()},
        default_model_{state.default_model},
        forced_model_{state.forced_model},
        forced_id_{state.forced_id},
        records_{state.records},
        revision_{state.revision},
        stored_{state.stored},
        tripped_{state.tripped},
        forced_owner_{state.forced_owner},
        had_split_{state.split != nullptr},
        known_{had_split_ ? state.split->versions.size() : 0} {}
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() {
    if (state_ == nullptr) return;
    state_->default_model = default_model_;
    state_->forced_model = forced_model_;
    state_->forced_id = forced_id_;
    state_->records = records_;
    state_->revision = revision_;
    state_->stored = stored_;
    state_->tripped = tripped_;
    state_->forced_owner = forced_owner_;
    if (had_split_)
      state_->split->forget_after(known_);
    else
      state_->split.reset();
    texts_.rewind(mark_);
  }
  void keep() noexcept { state_ = nullptr; }

 private:
  TaskState* state_;
  TextArena& texts_;
  TextArena::Mark mark_;
  std::string_view default_model_;
  std::string_view forced_model_;
  std::string_view forced_id_;
  RecordRange records_;
  std::uint32_t revision_;
  bool stored_;
  bool tripped_;
  Owner forced_owner_;
  bool had_split_;
  std::size_t known_;
};

}  // namespace detail

}  // namespace canary
