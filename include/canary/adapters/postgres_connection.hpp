// postgres_connection.hpp: one connection to PostgreSQL on which nothing waits for ever. Layer adapters; needs libpq.
// Part of postgres_store.hpp. Every step is libpq's non-blocking one with poll(2) up to a deadline: a stopped server
// or a swallowed packet costs the time-out, then the connection is dropped. Only the lookup of a host's name is the
// system's, with the system's patience.
//
// Statements are prepared once a connection. A pooler that hands its connections out by the transaction loses them
// (26000), or has them from somebody else (42P05): the names are hashes of the statements, so that never another
// one runs, and after unname() each statement goes with its text.
#pragma once

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/adapters/postgres_answer.hpp"
#include "canary/adapters/postgres_url.hpp"

namespace canary::detail {

class PostgresConnection {
 public:
  PostgresConnection(PostgresPlace place, std::uint32_t timeout_ms)
      : place_{std::move(place)}, timeout_ms_{timeout_ms} {}

  [[nodiscard]] const PostgresPlace& place() const noexcept { return place_; }
  [[nodiscard]] std::uint32_t timeout_ms() const noexcept { return timeout_ms_; }
  [[nodiscard]] bool open() const noexcept { return connection_ != nullptr; }
  [[nodiscard]] bool idle() const noexcept {
    return open() && ::PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
  }
  [[nodiscard]] bool in_transaction() const noexcept {
    return open() && ::PQtransactionStatus(connection_.get()) == PQTRANS_INTRANS;
  }
  [[nodiscard]] PGconn* raw() const noexcept { return connection_.get(); }
  /// How often it was made; whatever the server knows of one connection, it does not know of the next.
  [[nodiscard]] std::uint64_t made() const noexcept { return made_; }

  /// Everything from here on shall be done within the time-out, or within `ms`.
  void start_clock() { start_clock(timeout_ms_); }
  void start_clock(std::uint32_t ms) { deadline_ = Clock::now() + std::chrono::milliseconds{ms}; }

  /// Errors  PostgresFailure, here and below.
  void connect();
  void drop() noexcept {
    connection_.reset();
    prepared_.clear();
  }

  /// Runs one statement.
  PostgresRows run(std::string_view sql, const std::vector<PostgresValue>& values = {});
  /// Runs several statements at once, as one transaction unless they say otherwise. Never made from input.
  PostgresRows script(const std::string& sql);

  /// Runs one statement without a name; everything goes and comes in binary.
  PostgresRows run_binary(const char* sql, const std::vector<PostgresBinary>& values);

  /// Sends statements of which one is a COPY FROM STDIN, which takes what is put then.
  void begin_copy(const std::string& sql);
  /// Starts the clock anew: whoever takes bytes is alive.
  void put_copy(std::string_view bytes);
  void end_copy() {
    sent(::PQputCopyEnd(raw(), nullptr) == 1);
    finish();
  }

  /// From now on statements have no name. True if they had one before.
  bool unname() noexcept { return std::exchange(named_, false); }

 private:
  using Clock = std::chrono::steady_clock;
  using Kind = PostgresFailure::Kind;

  void await(short events);
  void sent(int success);
  void flush();
  [[nodiscard]] PGresult* next();
  PostgresRows finish();
  [[nodiscard]] PostgresFailure connect_failure();
  [[nodiscard]] PostgresFailure failure(const PGresult* result);

  PostgresPlace place_;
  std::uint32_t timeout_ms_;
  bool named_ = true;
  std::uint64_t made_ = 0;
  Clock::time_point deadline_{};
  std::unique_ptr<PGconn, decltype(&::PQfinish)> connection_{nullptr, &::PQfinish};
  std::set<std::string, std::less<>> prepared_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline void PostgresConnection::connect() {
  drop();
  ++made_;
  std::vector<const char*> keys;
  std::vector<const char*> values;
  const auto add = [&](const char* key, const char* value) {
    keys.push_back(key);
    values.push_back(value);
  };
  add("fallback_application_name", "canary");
  for (const auto& [key, value] : place_.parameters) add(key.c_str(), value.c_str());
  add("client_encoding", "UTF8");
  add(nullptr, nullptr);
  if (place_.connect_timeout_ms != 0) start_clock(place_.connect_timeout_ms);
  connection_.reset(::PQconnectStartParams(keys.data(), values.data(), 0));
  if (!connection_) throw PostgresFailure{Kind::lost, {}, "out of memory"};
  ::PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  ::PQsetErrorVerbosity(connection_.get(), PQERRORS_VERBOSE);  // the one way to an SQLSTATE while connecting
  for (auto state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK; state = ::PQconnectPoll(connection_.get())) {
    if (state == PGRES_POLLING_FAILED || ::PQstatus(connection_.get()) == CONNECTION_BAD) throw connect_failure();
    await(state == PGRES_POLLING_READING ? POLLIN : POLLOUT);
  }
  ::PQsetErrorVerbosity(connection_.get(), PQERRORS_DEFAULT);
  ::PQsetnonblocking(connection_.get(), 1);
  if (place_.connect_timeout_ms != 0) start_clock();
}

/// `... FATAL:  28P01: password authentication failed ...`, then lines about the place in the server's sources.
inline PostgresFailure PostgresConnection::connect_failure() {
  std::string words = ::PQerrorMessage(connection_.get());
  std::string state;
  const auto is_code = [&words](std::size_t at) {
    for (std::size_t i = at; i != at + 5; ++i)
      if (!((words[i] >= '0' && words[i] <= '9') || (words[i] >= 'A' && words[i] <= 'Z'))) return false;
    return true;
  };
  for (std::size_t at = words.find(":  "); at != std::string::npos; at = words.find(":  ", at + 1)) {
    if (at + 10 >= words.size() || words.compare(at + 8, 2, ": ") != 0 || !is_code(at + 3)) continue;
    state = words.substr(at + 3, 5);
    words.replace(at, 10, ": ");
    words.resize(std::min(words.size(), words.find('\n', at)));
  }
  if (state.empty() && ::PQconnectionNeedsPassword(connection_.get()) != 0) state = "28P01";
  drop();
  return {Kind::lost, state, place_.clean(words)};
}

inline void PostgresConnection::await(short events) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd fd{::PQsocket(connection_.get()), events, 0};
    const int got = left <= 0 ? 0 : ::poll(&fd, 1, static_cast<int>(left));
    if (got > 0) return;
    if (got < 0 && errno == EINTR) continue;
    drop();
    if (got < 0) throw PostgresFailure{Kind::lost, {}, "poll: " + std::generic_category().message(errno)};
    throw PostgresFailure{Kind::timed_out, {}, "no reply within the time-out"};
  }
}

inline PostgresRows PostgresConnection::run(std::string_view sql, const std::vector<PostgresValue>& values) {
  std::vector<const char*> texts;
  for (const PostgresValue& value : values) {
    if (value.text.find('\0') != std::string::npos)
      throw StoreError{StoreErrc::invalid, "a text holds a NUL character, which PostgreSQL cannot store"};
    texts.push_back(value.text.c_str());
  }
  const int count = static_cast<int>(texts.size());
  if (!open()) throw PostgresFailure{Kind::lost, {}, "the connection is gone"};
  if (!named_) {
    sent(::PQsendQueryParams(raw(), std::string{sql}.c_str(), count, nullptr, texts.data(), nullptr, nullptr, 0));
    return finish();
  }
  std::uint64_t hash = 0xCBF2'9CE4'8422'2325;  // FNV-1a
  for (const char c : sql) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01B3;
  const std::string name = "canary_" + std::to_string(hash);
  if (!prepared_.contains(name)) {
    sent(::PQsendPrepare(raw(), name.c_str(), std::string{sql}.c_str(), 0, nullptr));
    finish();
    prepared_.insert(name);
  }
  sent(::PQsendQueryPrepared(raw(), name.c_str(), count, texts.data(), nullptr, nullptr, 0));
  return finish();
}

inline PostgresRows PostgresConnection::script(const std::string& sql) {
  if (!open()) throw PostgresFailure{Kind::lost, {}, "the connection is gone"};
  sent(::PQsendQuery(raw(), sql.c_str()));
  return finish();
}

inline PostgresRows PostgresConnection::run_binary(const char* sql, const std::vector<PostgresBinary>& values) {
  std::vector<const char*> bytes;
  std::vector<int> lengths;
  for (const PostgresBinary& value : values) {
    bytes.push_back(value.bytes.data());
    lengths.push_back(static_cast<int>(value.bytes.size()));
  }
  const std::vector<int> formats(values.size(), 1);
  if (!open()) throw PostgresFailure{Kind::lost, {}, "the connection is gone"};
  sent(::PQsendQueryParams(raw(), sql, static_cast<int>(values.size()), nullptr, bytes.data(), lengths.data(),
                           formats.data(), 1));
  return finish();
}

inline void PostgresConnection::begin_copy(const std::string& sql) {
  if (!open()) throw PostgresFailure{Kind::lost, {}, "the connection is gone"};
  sent(::PQsendQuery(raw(), sql.c_str()));
  while (PGresult* result = next()) {
    const PostgresRows taken{result};
    const ExecStatusType status = ::PQresultStatus(result);
    if (status == PGRES_COPY_IN) return;
    if (status == PGRES_COMMAND_OK) continue;
    PostgresFailure first = failure(result);
    if (open()) finish();
    throw first;
  }
  throw postgres_nonsense("COPY was not obeyed");
}

inline void PostgresConnection::put_copy(std::string_view bytes) {
  sent(::PQputCopyData(raw(), bytes.data(), static_cast<int>(bytes.size())) == 1);
  flush();
  start_clock();
}

inline void PostgresConnection::sent(int success) {
  if (success == 0) throw failure(nullptr);
}

inline void PostgresConnection::flush() {
  for (int left = ::PQflush(raw()); left != 0; left = ::PQflush(raw())) {
    if (left < 0) break;  // the server may have said why before it closed
    await(POLLIN | POLLOUT);
    if (::PQconsumeInput(raw()) == 0) throw failure(nullptr);
  }
}

/// The next result of what was sent; null after the last one.
inline PGresult* PostgresConnection::next() {
  flush();
  while (::PQisBusy(raw()) != 0) {
    await(POLLIN);
    if (::PQconsumeInput(raw()) == 0) break;  // what came before the end is still to be read
  }
  return ::PQgetResult(raw());
}

/// The last of the results; the first error instead, if there is one.
inline PostgresRows PostgresConnection::finish() {
  PostgresRows rows{nullptr};
  std::optional<PostgresFailure> first;
  while (PGresult* result = next()) {
    PostgresRows taken{result};
    const ExecStatusType status = ::PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !first) first.emplace(failure(result));
    if (!open()) break;
    rows = std::move(taken);
  }
  if (first) throw std::move(*first);
  return rows;
}

/// Drops the connection if it is of no more use.
inline PostgresFailure PostgresConnection::failure(const PGresult* result) {
  const char* state = ::PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* words = ::PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string message = place_.clean(words != nullptr ? words : ::PQerrorMessage(raw()));
  PostgresFailure made{Kind::refused, state != nullptr ? state : "", message};
  const bool gone =
      ::PQstatus(raw()) == CONNECTION_BAD || made.in_class("57P") || made.in_class("08") || made.state == "25P03";
  if (gone) {
    made.kind = Kind::lost;
    drop();
  }
  return made;
}

}  // namespace canary::detail
