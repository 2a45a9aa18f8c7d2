// postgres_answer.hpp: what goes to a PostgreSQL server with a statement, and what comes back. Layer adapters; needs
// libpq. Part of postgres_store.hpp. Records go as text; interactions, of which there are many, in the protocol's
// binary forms: big-endian numbers, and arrays of them.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "canary/adapters/postgres_url.hpp"

namespace canary::detail {

/// What the server answered, or that it did not.
class PostgresFailure : public std::runtime_error {
 public:
  enum class Kind : std::uint8_t {
    refused,    ///< the server said no; the connection stands
    lost,       ///< the connection is gone, or was never made
    timed_out,  ///< no answer by the deadline; the connection was dropped
  };
  PostgresFailure(Kind what_kind, std::string sql_state, const std::string& message)
      : std::runtime_error{message}, kind{what_kind}, state{std::move(sql_state)} {}

  [[nodiscard]] bool in_class(std::string_view two) const { return std::string_view{state}.starts_with(two); }

  Kind kind;
  std::string state;  ///< SQLSTATE; empty when the words are libpq's own
};

[[nodiscard]] inline PostgresFailure postgres_nonsense(const std::string& what) {
  return {PostgresFailure::Kind::refused, "XX001", what};
}

/// A parameter, or an answer's field, as text.
struct PostgresValue {
  template <class T>
  requires std::is_convertible_v<const T&, std::string_view> PostgresValue(const T& value)
      : text{std::string_view{value}} {}  // NOLINT(google-explicit-constructor)
  template <class T>
  requires std::is_integral_v<T> PostgresValue(T value)
      : text{std::to_string(value)} {}  // NOLINT(google-explicit-constructor)

  std::string text;
};

/// Appends a number as the protocol has it.
template <class T>
inline void put_big_endian(std::string& out, T value) {
  char bytes[sizeof(T)];
  const auto bits = static_cast<std::make_unsigned_t<T>>(value);
  for (std::size_t i = 0; i != sizeof(T); ++i) bytes[i] = static_cast<char>(bits >> (8 * (sizeof(T) - 1 - i)));
  out.append(bytes, sizeof(T));
}

[[nodiscard]] inline std::uint64_t big_endian(const char* bytes, std::size_t size) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i != size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// A parameter in binary: a bigint, the bytes of a text or bytea, or what a PostgresArray made.
struct PostgresBinary {
  PostgresBinary(std::int64_t value) { put_big_endian(bytes, value); }  // NOLINT(google-explicit-constructor)
  PostgresBinary(std::string value) : bytes{std::move(value)} {}        // NOLINT(google-explicit-constructor)
  std::string bytes;
};

/// A parameter that is an array; its statement casts it to the type that is named here.
class PostgresArray {
 public:
  enum class Element : std::uint8_t { bytea = 17, bigint = 20, smallint = 21, integer = 23 };

  explicit PostgresArray(Element element, std::size_t expected = 0) {
    bytes_.reserve(20 + 12 * expected);
    for (const std::int32_t word : {1, 0, static_cast<std::int32_t>(element), 0, 1}) put_big_endian(bytes_, word);
  }
  /// The number's type is the element's.
  template <class T>
  void add(T number) {
    put_big_endian(bytes_, static_cast<std::int32_t>(sizeof number));
    put_big_endian(bytes_, number);
    ++count_;
  }
  void add_bytes(std::string_view value) {
    put_big_endian(bytes_, static_cast<std::int32_t>(value.size()));
    bytes_ += value;
    ++count_;
  }
  /// Empties this.
  [[nodiscard]] PostgresBinary take() {
    std::string count;
    put_big_endian(count, count_);
    bytes_.replace(12, count.size(), count);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
  std::int32_t count_ = 0;
};

/// The rows of one answer.
class PostgresRows {
 public:
  explicit PostgresRows(PGresult* result) : result_{result, &::PQclear} {}

  [[nodiscard]] int size() const noexcept { return ::PQntuples(result_.get()); }
  [[nodiscard]] bool null(int row, int column) const noexcept { return ::PQgetisnull(result_.get(), row, column) != 0; }
  [[nodiscard]] std::string text(int row, int column) const {
    return {::PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(::PQgetlength(result_.get(), row, column))};
  }
  /// Errors  PostgresFailure for what does not fit T.
  template <class T>
  [[nodiscard]] T number(int row, int column) const {
    const std::string value = text(row, column);
    T number{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc{} && end == value.data() + value.size()) return number;
    throw postgres_nonsense(std::string{"column "} + ::PQfname(result_.get(), column) + " holds `" + value + "`");
  }
  // The same of an answer in binary.
  [[nodiscard]] std::string_view bytes(int row, int column) const noexcept {
    return {::PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(::PQgetlength(result_.get(), row, column))};
  }
  template <class T>
  [[nodiscard]] T binary(int row, int column) const {
    const std::string_view field = bytes(row, column);
    const std::uint64_t bits = big_endian(field.data(), field.size());
    if (field.size() <= sizeof bits && bits <= static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
      return static_cast<T>(bits);
    throw postgres_nonsense(std::string{"column "} + ::PQfname(result_.get(), column) + " holds what it cannot hold");
  }
  /// Rows that a statement without an answer wrote.
  [[nodiscard]] bool touched() const noexcept { return std::string_view{::PQcmdTuples(result_.get())} != "0"; }
  [[nodiscard]] std::string_view command() const noexcept { return ::PQcmdStatus(result_.get()); }

 private:
  std::unique_ptr<PGresult, decltype(&::PQclear)> result_;
};

}  // namespace canary::detail
