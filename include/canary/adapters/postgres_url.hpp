// postgres_url.hpp: a PostgreSQL URL, taken apart by libpq. Layer adapters; needs libpq. Part of postgres_store.hpp.
// A password is in the URL, in the environment, or in ~/.pgpass; it must never be in a message. So libpq's own words
// about a malformed URL are not passed on, since they quote it.
#pragma once

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#elif __has_include(<postgresql/libpq-fe.h>)
#include <postgresql/libpq-fe.h>
#else
#error "postgres_store.hpp needs libpq: install libpq-dev and link canary::postgres"
#endif

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "canary/control/store.hpp"

namespace canary::detail {

/// Where a PostgreSQL store is, and how to get in.
struct PostgresPlace {
  std::vector<std::pair<std::string, std::string>> parameters;  ///< as libpq takes them
  std::string shown;                                            ///< HOST:PORT/DATABASE, user USER
  std::vector<std::string> secrets;                             ///< to be kept out of every message
  std::uint32_t connect_timeout_ms = 0;                         ///< the URL's own; 0: it has none

  /// Errors  StoreError `invalid`.
  [[nodiscard]] static PostgresPlace parse(std::string_view url);

  [[nodiscard]] std::string_view find(std::string_view name) const {
    for (const auto& [key, value] : parameters)
      if (key == name) return value;
    return {};
  }

  /// Words of libpq's on one line, without the secrets.
  [[nodiscard]] std::string clean(std::string_view words) const;
};

// ---------------------------------------------------------------------------------------------------------------------

inline PostgresPlace PostgresPlace::parse(std::string_view url) {
  const auto bad = [](const std::string& why) {
    return StoreError{StoreErrc::invalid, "the store's URL makes no sense: " + why,
                      "write postgresql://USER@HOST:PORT/DATABASE, special characters of a password as %XX"};
  };
  if (!url.starts_with("postgresql://") && !url.starts_with("postgres://"))
    throw bad("it does not begin with postgresql://");
  if (url.find('\0') != std::string_view::npos) throw bad("it has a NUL character");
  char* said = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&::PQconninfoFree)> options{
      ::PQconninfoParse(std::string{url}.c_str(), &said), &::PQconninfoFree};
  ::PQfreemem(said);
  if (!options) throw bad("libpq does not understand it");

  PostgresPlace place;
  for (const PQconninfoOption* each = options.get(); each->keyword != nullptr; ++each) {
    if (each->val == nullptr) continue;
    place.parameters.emplace_back(each->keyword, each->val);
    const std::string_view key = each->keyword;
    if ((key == "password" || key == "sslpassword") && *each->val != '\0') place.secrets.emplace_back(each->val);
  }
  // A slash in a password that was not written as %2F ends the host's part too early, and the rest is shown.
  const std::string_view port = place.find("port");
  const bool numbers = std::all_of(port.begin(), port.end(), [](char c) { return (c >= '0' && c <= '9') || c == ','; });
  if (!numbers) throw bad("its port is no number");
  if (place.find("dbname").find('@') != std::string_view::npos) throw bad("there is an @ in the name of its database");

  if (const std::string_view text = place.find("connect_timeout"); !text.empty()) {
    std::uint32_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc{} || end != text.data() + text.size() || seconds > 86'400)
      throw bad("its connect_timeout is no number of seconds");
    place.connect_timeout_ms = seconds * 1'000;
  }
  const std::string_view host = place.find("host").empty() ? place.find("hostaddr") : place.find("host");
  place.shown = host.empty() ? "local server" : std::string{host};
  if (!port.empty()) (place.shown += ':') += port;
  if (const auto name = place.find("dbname"); !name.empty()) (place.shown += '/') += name;
  if (const auto user = place.find("user"); !user.empty()) (place.shown += ", user ") += user;
  return place;
}

inline std::string PostgresPlace::clean(std::string_view words) const {
  std::string line;
  for (const char c : words) {
    const char plain = c == '\n' || c == '\t' || c == '\r' ? ' ' : c;
    if (plain != ' ' || (!line.empty() && line.back() != ' ')) line += plain;
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  for (const std::string& secret : secrets)
    for (std::size_t at = 0; (at = line.find(secret, at)) != std::string::npos; at += 3)
      line.replace(at, secret.size(), "***");
  return line;
}

}  // namespace canary::detail
