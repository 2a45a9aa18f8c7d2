// postgres_copy.hpp: many rows into a table by PostgreSQL's binary COPY. Layer adapters; needs libpq. Part of
// postgres_store.hpp. Sent in pieces while it is made, so that the server works meanwhile, and memory stays small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "canary/adapters/postgres_answer.hpp"
#include "canary/adapters/postgres_connection.hpp"
#include "canary/control/stored_text.hpp"

namespace canary::detail {

/// One COPY, from its first row to end(). Errors are PostgresFailure; a row that the server refuses is told at the end.
class PostgresCopy {
 public:
  /// Input   statements of which one is a COPY FROM STDIN of so many columns, in binary.
  PostgresCopy(PostgresConnection& connection, const std::string& sql, std::int16_t columns)
      : connection_{connection}, columns_{columns} {
    connection_.begin_copy(sql);
    buffer_.reserve(2 * piece);
    buffer_.append("PGCOPY\n\xFF\r\n\0\0\0\0\0\0\0\0\0", 19);
  }

  /// Begins a row; its fields follow, from left to right.
  void row() {
    if (buffer_.size() >= piece) {
      connection_.put_copy(buffer_);
      buffer_.clear();
    }
    put_big_endian(buffer_, columns_);
  }
  /// The number's type is the column's.
  template <class T>
  void number(T value) {
    put_big_endian(buffer_, static_cast<std::int32_t>(sizeof value));
    put_big_endian(buffer_, value);
  }
  void null() { put_big_endian(buffer_, std::int32_t{-1}); }
  void boolean(bool value) {
    put_big_endian(buffer_, std::int32_t{1});
    buffer_ += value ? '\1' : '\0';
  }
  void text(std::string_view value) {
    const std::string_view clean = stored_text(value, space_);
    put_big_endian(buffer_, static_cast<std::int32_t>(clean.size()));
    buffer_ += clean;
  }
  void end() {
    put_big_endian(buffer_, std::int16_t{-1});
    connection_.put_copy(buffer_);
    connection_.end_copy();
  }

 private:
  static constexpr std::size_t piece = 131'072;

  PostgresConnection& connection_;
  std::int16_t columns_;
  std::string buffer_;
  std::string space_;
};

}  // namespace canary::detail
