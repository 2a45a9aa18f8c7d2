// postgres_database.hpp: a PostgreSQL database of a test's own, gone at the end, and whole servers to be ill-treated.
// The server is the one of CANARY_TEST_POSTGRES (scripts/postgres.sh run DIR -- ctest ...); without it tests skip.
#pragma once

#include <cstdlib>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "../contract/store_helpers.hpp"
#include "canary/adapters/postgres_url.hpp"
#include "canary/control/store.hpp"

namespace test {

[[nodiscard]] inline std::string postgres_server() {
  const char* url = std::getenv("CANARY_TEST_POSTGRES");
  if (url == nullptr || *url == '\0') SKIP("no PostgreSQL: run under `scripts/postgres.sh run DIR -- COMMAND...`");
  return url;
}

/// The same server, another database.
[[nodiscard]] inline std::string with_database(const std::string& url, const std::string& name) {
  return url.substr(0, url.rfind('/') + 1) + name;
}

/// Another program at the same database, with plain SQL.
class Sql {
 public:
  explicit Sql(const std::string& url) : connection_{::PQconnectdb(url.c_str()), &::PQfinish} {
    if (::PQstatus(connection_.get()) != CONNECTION_OK) throw std::runtime_error{::PQerrorMessage(connection_.get())};
    ::PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
  }

  /// SQLSTATE of a refusal; empty when it worked.
  std::string state(const std::string& sql) {
    const Result result{::PQexec(connection_.get(), sql.c_str()), &::PQclear};
    const char* state = ::PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    const char* words = ::PQresultErrorField(result.get(), PG_DIAG_MESSAGE_PRIMARY);
    said_ = words == nullptr ? "" : words;
    if (::PQstatus(connection_.get()) != CONNECTION_OK) return "lost";
    return state == nullptr ? "" : state;
  }
  [[nodiscard]] const std::string& said() const noexcept { return said_; }

  /// The first field of the answer; it must work.
  std::string run(const std::string& sql) {
    const Result result{::PQexec(connection_.get(), sql.c_str()), &::PQclear};
    const ExecStatusType status = ::PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      throw std::runtime_error{sql + ": " + ::PQerrorMessage(connection_.get())};
    return ::PQntuples(result.get()) == 0 ? "" : ::PQgetvalue(result.get(), 0, 0);
  }

 private:
  using Result = std::unique_ptr<PGresult, decltype(&::PQclear)>;
  std::unique_ptr<PGconn, decltype(&::PQfinish)> connection_;
  std::string said_;
};

class PostgresDatabase {
 public:
  explicit PostgresDatabase(std::string server = postgres_server()) : server_{std::move(server)} {
    std::random_device random;
    name_ = "canary_test_" + std::to_string(random()) + "_" + std::to_string(random());
    Sql{server_}.run("CREATE DATABASE " + name_);
  }
  PostgresDatabase(const PostgresDatabase&) = delete;
  PostgresDatabase& operator=(const PostgresDatabase&) = delete;
  ~PostgresDatabase() {
    try {
      Sql{server_}.run("DROP DATABASE IF EXISTS " + name_ + " WITH (FORCE)");
    } catch (const std::exception&) {  // the server goes away with its folder
    }
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::string url() const { return with_database(server_, name_); }

 private:
  std::string server_;
  std::string name_;
};

// --- Changes as the registry makes them.

using store_test::change_to;
using store_test::version_of;

inline canary::CommitResult change(canary::Store& store, std::string_view task,
                                   std::vector<canary::ModelVersion> rows) {
  return store.commit(change_to(store.load(task, {.all = true}), std::move(rows)));
}

/// The error that a call throws; it must throw one.
template <class Call>
[[nodiscard]] canary::StoreError error_of(Call call) {
  try {
    call();
  } catch (const canary::StoreError& error) {
    return error;
  }
  FAIL("no StoreError");
  throw std::logic_error{"not reached"};
}

}  // namespace test
