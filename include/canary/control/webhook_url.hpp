// webhook_url.hpp: which URLs alerts may be sent to, and how an URL is shown. Layer control.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace canary {

/// What is wrong with an URL, and what would do; empty texts for one that is fine.
struct UrlFault {
  std::string_view message = {};
  std::string_view hint = {};
};

/// https to any host, http to this machine alone: what goes over a network could be read there.
/// Errors  for a user or password in it too: secrets are never in the file.
[[nodiscard]] constexpr UrlFault webhook_url_fault(std::string_view url) noexcept;

/// Scheme, host and port alone, since secrets may stand in any other part: `https://hooks.example:8443`.
[[nodiscard]] std::string shown_url(std::string_view url);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// An URL's parts, as far as they matter here; empty views for what is no http URL.
struct UrlParts {
  std::string_view scheme;
  std::string_view user;  ///< with the @
  std::string_view host;  ///< an IPv6 address with its brackets
  std::string_view port;  ///< with the :
};

[[nodiscard]] constexpr UrlParts url_parts(std::string_view url) noexcept {
  UrlParts parts;
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return parts;
  parts.scheme = url.substr(0, scheme);
  std::string_view authority = url.substr(scheme + 3);
  authority = authority.substr(0, authority.find_first_of("/?#\\"));
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    parts.user = authority.substr(0, at + 1);
    authority.remove_prefix(at + 1);
  }
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  const std::size_t colon = bracket == std::string_view::npos ? bracket : authority.find(':', bracket);
  parts.host = authority.substr(0, colon);
  if (colon != std::string_view::npos) parts.port = authority.substr(colon);
  return parts;
}

/// 127.x.y.z and nothing that only begins like it.
[[nodiscard]] constexpr bool is_loopback(std::string_view host) noexcept {
  if (host == "localhost" || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  int dots = 0;
  int digits = 0;
  for (const char c : host) {
    if (c == '.') {
      if (digits == 0) return false;
      ++dots;
      digits = 0;
    } else if (c >= '0' && c <= '9' && digits < 3) {
      ++digits;
    } else {
      return false;
    }
  }
  return dots == 3 && digits != 0;
}

}  // namespace detail

constexpr UrlFault webhook_url_fault(std::string_view url) noexcept {
  constexpr std::string_view expected = "expected https://HOST/PATH";
  const auto legal = [](char c) {
    return c > ' ' && c < 0x7F && std::string_view{"\"<>\\^`{|}"}.find(c) == std::string_view::npos;
  };
  const detail::UrlParts parts = detail::url_parts(url);
  if (parts.scheme != "https" && parts.scheme != "http") return {"not a URL", expected};
  if (!std::all_of(url.begin(), url.end(), legal))
    return {"a character that no URL has", "write it as %XX, by its hexadecimal code"};
  if (!parts.user.empty()) return {"a user or password in the URL", "secrets are never in the file: alerts are signed"};
  const bool port_is_number = parts.port.size() != 1 && std::all_of(parts.port.begin(), parts.port.end(), [](char c) {
                                return c == ':' || (c >= '0' && c <= '9');
                              });
  if (parts.host.empty() || !port_is_number || parts.port.size() > 6) return {"a URL without a host", expected};
  if (parts.scheme == "http" && !detail::is_loopback(parts.host))
    return {"plain http to another machine", "expected https://; http:// is for 127.0.0.1, localhost and [::1] alone"};
  return {};
}

inline std::string shown_url(std::string_view url) {
  const detail::UrlParts parts = detail::url_parts(url);
  return std::string{parts.scheme} + "://" + std::string{parts.host} + std::string{parts.port};
}

}  // namespace canary
