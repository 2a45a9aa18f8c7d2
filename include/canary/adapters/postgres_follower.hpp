// postgres_follower.hpp: watches a PostgreSQL store over a connection of its own. Layer adapters; needs libpq. Part of
// postgres_store.hpp.
// NOTIFY is a hint that saves waiting; what counts is the store's count of changes, read every poll_ms. So a pooler
// that swallows LISTEN, or a notice lost with a connection, costs a second at most. A look that finds nothing is one
// statement.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "canary/adapters/postgres_connection.hpp"
#include "canary/adapters/postgres_rows.hpp"
#include "canary/adapters/postgres_session.hpp"
#include "canary/control/store.hpp"

namespace canary::detail {

class PostgresFollower final : public Follower {
 public:
  /// Errors  std::system_error without a file descriptor for interrupt().
  PostgresFollower(PostgresPlace place, const PostgresOptions& options)
      : session_{std::move(place), options, PostgresSession::Absent::refuse},
        options_{options},
        wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    if (wake_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
  }
  PostgresFollower(const PostgresFollower&) = delete;
  PostgresFollower& operator=(const PostgresFollower&) = delete;
  ~PostgresFollower() override { ::close(wake_); }

  [[nodiscard]] StoreDelta changes(const StorePosition& since) override;
  [[nodiscard]] std::optional<std::uint32_t> find_model(std::string_view task, std::string_view model) override;
  void wait(std::chrono::milliseconds at_most) noexcept override;
  void interrupt() noexcept override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Milliseconds = std::chrono::milliseconds;

  /// As PostgresSession::call, and keeps count of failures.
  template <class Body>
  auto call(Body body);
  void listen(PostgresConnection& connection);
  [[nodiscard]] bool notified() noexcept;
  [[nodiscard]] Milliseconds pause();
  [[nodiscard]] StoreDelta read_since(PostgresConnection& connection, const StorePosition& since);

  PostgresSession session_;
  PostgresOptions options_;
  int wake_;
  std::uint64_t listening_ = 0;  // connection that LISTEN was said on
  std::uint32_t failures_ = 0;   // since the last answer
  std::minstd_rand jitter_{std::random_device{}()};
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Body>
auto PostgresFollower::call(Body body) {
  try {
    auto made = session_.call([&](PostgresConnection& connection) {
      listen(connection);
      return body(connection);
    });
    failures_ = 0;
    return made;
  } catch (const StoreError&) {
    if (failures_ != 16) ++failures_;
    throw;
  }
}

/// Before the first look on a connection, so that no change falls between the two.
inline void PostgresFollower::listen(PostgresConnection& connection) {
  if (!options_.listen || listening_ == connection.made()) return;
  listening_ = connection.made();
  try {
    connection.script("LISTEN canary");
  } catch (const PostgresFailure& failure) {
    if (failure.kind != PostgresFailure::Kind::refused) throw;  // else polling will do
  }
}

inline StoreDelta PostgresFollower::changes(const StorePosition& since) {
  return call([&](PostgresConnection& connection) {
    (void)notified();  // whatever was told until now, the look will see
    StoreDelta delta = read_since(connection, since);
    const bool went_back = delta.position.change < since.change;  // a standby took over that had not got everything
    if (since.token.empty() || (delta.position.token == since.token && !went_back)) return delta;
    return read_since(connection, {});
  });
}

inline StoreDelta PostgresFollower::read_since(PostgresConnection& connection, const StorePosition& since) {
  const auto rows = connection.run(
      "SELECT s.schema, s.token, s.change, t.name, t.revision, t.partition, v.number, v.model, v.weight_ppm, v.status"
      " FROM canary_store s LEFT JOIN canary_tasks t ON t.change > $1"
      " LEFT JOIN canary_versions v ON v.task = t.name AND v.weight_ppm > 0 ORDER BY t.name, v.number",
      {since.token.empty() ? -1 : since.change});
  session_.check_schema(rows);
  StoreDelta delta;
  delta.position = {rows.text(0, 1), rows.number<std::int64_t>(0, 2)};
  delta.everything = since.token.empty();
  for (int i = 0; i != rows.size() && !rows.null(i, 3);) {
    PostgresFields fields{rows, i, 3};
    TaskSplit split{fields.text(), fields.number<std::uint32_t>(), fields.partition(), {}};
    for (const int first = i; i != rows.size() && (i == first || rows.text(i, 3) == split.task); ++i) {
      if (rows.null(i, 6)) continue;
      PostgresFields served{rows, i, 6};
      const auto number = served.number<std::uint32_t>();
      std::string model = served.text();
      check_weight(split.task, split.partition, number, served.number<std::uint32_t>());
      split.versions.push_back({number, std::move(model), served.parsed("a status", parse_status)});
    }
    check_owners(split.task, split.partition, split.versions.size());
    delta.tasks.push_back(std::move(split));
  }
  return delta;
}

inline std::optional<std::uint32_t> PostgresFollower::find_model(std::string_view task, std::string_view model) {
  return call([&](PostgresConnection& connection) -> std::optional<std::uint32_t> {
    const auto rows = connection.run(
        "SELECT s.schema, (SELECT max(number) FROM canary_versions WHERE task = $1 AND model = $2 AND status <> "
        "'ARCHIVED')"
        " FROM canary_store s",
        {task, model});
    session_.check_schema(rows);
    if (rows.null(0, 1)) return {};
    return rows.number<std::uint32_t>(0, 1);
  });
}

/// True if the server has told of a change; takes all that it has told. A lost connection counts: changes() will say
/// so.
inline bool PostgresFollower::notified() noexcept {
  PGconn* connection = session_.connection().raw();
  if (connection == nullptr) return false;
  bool told = false;
  if (::PQconsumeInput(connection) == 0) {
    session_.connection().drop();
    told = true;
  } else {
    while (PGnotify* notice = ::PQnotifies(connection)) {
      ::PQfreemem(notice);
      told = true;
    }
  }
  return told;
}

/// Until the next look: poll_ms; 50 ms up to 5 s, each twice the one before, while the server cannot be reached. Jitter
/// keeps a fleet from looking all at once.
inline PostgresFollower::Milliseconds PostgresFollower::pause() {
  std::uint32_t usual_ms = options_.poll_ms;
  if (failures_ != 0) usual_ms = std::min(50u << std::min(failures_ - 1, 7u), 5'000u);
  return Milliseconds{usual_ms * std::uniform_int_distribution<std::int64_t>{80, 120}(jitter_) / 100};
}

inline void PostgresFollower::wait(std::chrono::milliseconds at_most) noexcept {
  const auto until = Clock::now() + std::max(Milliseconds{0}, std::min(at_most, pause()));
  while (!notified()) {
    const auto left = std::chrono::ceil<Milliseconds>(until - Clock::now()).count();
    const PGconn* connection = session_.connection().raw();
    pollfd fds[] = {{wake_, POLLIN, 0}, {connection == nullptr ? -1 : ::PQsocket(connection), POLLIN, 0}};
    const int got = ::poll(fds, 2, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (fds[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto taken = ::read(wake_, &count, sizeof count);
      return;
    }
    if (got == 0 || (got < 0 && errno != EINTR)) return;
  }
}

}  // namespace canary::detail
