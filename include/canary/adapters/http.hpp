// http.hpp: one HTTP request, one answer or one error that says which kind it is. Layer adapters; needs libcurl.
//
// Certificates are always verified. libcurl ignores SSL_CERT_FILE; here it is honoured, and `ca_file` goes before it.
// Proxies are libcurl's (https_proxy, no_proxy), but never for this machine. Redirects are followed only where a request
// asks for it, and never from https to http; headers of the request go along, but for Authorization to another host.
// Nothing that is said of a request names more of its URL than scheme, host and port: secrets may stand anywhere else.
// Headers are said nowhere.
//
// An answer may be taken piece by piece (`on_body`), and a body of files is read while it is sent (`parts`): neither is
// ever held whole.
#pragma once

#if !__has_include(<curl/curl.h>)
#error "http.hpp needs libcurl: install libcurl4-openssl-dev and link canary::http"
#endif

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/http_parts.hpp"
#include "canary/control/webhook_url.hpp"

namespace canary {

enum class HttpErrc : std::uint8_t {
  invalid,    ///< an URL or a header that cannot be sent
  file,       ///< a file of the request that cannot be read: it was not sent whole
  connect,    ///< no such host, or nobody answers there: nothing was sent
  tls,        ///< no certificate that can be trusted: nothing was sent
  timeout,    ///< it took too long: the request may have been taken
  reset,      ///< the connection ended early: the request may have been taken
  too_large,  ///< the answer is longer than `body_bytes`, or its headers than 256 KiB
  cancelled,  ///< by cancel() or on_body(): the request may have been taken
};

class HttpError : public std::runtime_error {
 public:
  HttpError(HttpErrc what_kind, const std::string& message, std::string what_to_do = {})
      : std::runtime_error{message}, code{what_kind}, hint{std::move(what_to_do)} {}
  HttpErrc code;
  std::string hint;  ///< may be empty
};

struct HttpHeader {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<HttpHeader> headers = {};
  std::string body = {};
  std::vector<HttpPart> parts = {};               ///< multipart/form-data instead of `body`
  std::uint32_t connect_ms = 5'000;               ///< longest wait for a connection, TLS included
  std::uint32_t total_ms = 30'000;                ///< and for all of it; 0: any time
  std::uint32_t idle_ms = 0;                      ///< longest time in which no byte comes or goes; 0: any time
  std::size_t body_bytes = std::size_t{1} << 20;  ///< of the answer, at most
  bool cut_body = false;                          ///< a longer answer is cut there, and is no error
  std::uint32_t body_ms = 0;    ///< not 0: the head says all; its body is waited for so long, and what
                                ///< keeps that from coming is no error
  std::uint32_t redirects = 0;  ///< followed at most; with 0 a 3xx is the answer
  /// Over a connection of its own. libcurl sends a request again by itself when an old connection ends without an answer,
  /// which nobody may do with what must not be done twice.
  bool once = false;
  /// Takes the body of a 2xx piece by piece as it comes; false ends the request. The answer's `body` stays empty, and
  /// `body_bytes` is no limit. Bodies of other answers are gathered as ever.
  std::function<bool(std::string_view piece)> on_body = {};
  /// Bytes of the request's body that were sent, of so many.
  std::function<void(std::uint64_t sent, std::uint64_t total)> on_sent = {};
};

struct HttpResponse {
  int status = 0;
  std::vector<HttpHeader> headers;  ///< of the last answer; names in lower case
  std::string body;
  std::optional<std::uint32_t> retry_after_s = {};  ///< Retry-After, in either of its forms

  /// The first header of this name, in lower case; null if there is none.
  [[nodiscard]] const std::string* find(std::string_view name) const noexcept {
    for (const HttpHeader& each : headers)
      if (each.name == name) return &each.value;
    return nullptr;
  }
};

struct HttpClientOptions {
  std::string ca_file = {};  ///< certificates to trust; empty: those of SSL_CERT_FILE, else the system's
  std::string user_agent = "canary";
};

/// Keeps connections open from one request to the next. send() may be called by any thread, one at a time.
class HttpClient {
 public:
  /// Errors  std::bad_alloc.
  explicit HttpClient(HttpClientOptions options = {});

  /// Sends a request and waits for the answer, whatever its status.
  /// Errors  HttpError, and what on_body() and on_sent() throw.
  [[nodiscard]] HttpResponse send(const HttpRequest& request);

  /// From any thread: ends a send() that is under way, and every later one.
  void cancel() noexcept {
    cancelled_.store(true, std::memory_order_relaxed);
    curl_multi_wakeup(multi_.get());
  }

 private:
  struct Transfer;
  struct ForgetRequest;
  struct CloseEasy {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
  };
  struct CloseMulti {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
  };
  struct FreeList {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };
  using HeaderList = std::unique_ptr<curl_slist, FreeList>;

  void configure(const HttpRequest& request, const HeaderList& headers, Transfer& transfer);
  void configure_body(const HttpRequest& request, Transfer& transfer);
  void configure_tls();
  static void check(const HttpRequest& request);
  [[nodiscard]] static HeaderList header_list(const HttpRequest& request);
  [[nodiscard]] bool nothing_was_sent() const;
  [[nodiscard]] std::uint32_t idle_left_ms(const Transfer& transfer) const;
  [[nodiscard]] static std::uint32_t body_left_ms(const Transfer& transfer);
  [[nodiscard]] CURLcode perform(Transfer& transfer);
  [[nodiscard]] HttpError error_of(CURLcode code, const HttpRequest& request, const Transfer& transfer) const;
  static std::size_t take_header(char* bytes, std::size_t size, std::size_t count, void* to) noexcept;
  static std::size_t take_body(char* bytes, std::size_t size, std::size_t count, void* to) noexcept;
  static int take_progress(void* to, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                           curl_off_t up) noexcept;

  HttpClientOptions options_;
  std::unique_ptr<CURLM, CloseMulti> multi_;
  std::unique_ptr<CURL, CloseEasy> easy_;  // closed first
  std::mutex mutex_;
  std::atomic<bool> cancelled_{false};
};

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// libcurl's own start, once in a process; older ones are not safe against two at once.
inline void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw std::bad_alloc{};
}

[[nodiscard]] inline bool fits_a_header(std::string_view text) noexcept {
  return text.find_first_of(std::string_view{"\r\n\0", 3}) == std::string_view::npos;
}

}  // namespace detail

/// What a request gathers while it is under way.
struct HttpClient::Transfer {
  explicit Transfer(const HttpRequest& of, CURL* handle) : request{of}, easy{handle} {}

  /// This head is the answer's, and no other comes after it.
  [[nodiscard]] bool is_last() const {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && (request.redirects == 0 || status < 300 || status > 399);
  }

  const HttpRequest& request;
  CURL* easy;
  HttpResponse response;
  std::optional<detail::MultipartBody> parts;
  std::size_t header_bytes = 0;
  bool full = false;          // the body is longer than it may be
  bool headers_full = false;  // or the headers are
  bool ended = false;         // by on_body
  bool idle = false;          // for too long
  std::exception_ptr thrown;  // a callback must not throw through C
  curl_off_t up = 0;
  std::optional<std::chrono::steady_clock::time_point> head_at;  // where that suffices
  std::chrono::steady_clock::time_point moved = std::chrono::steady_clock::now();
  char error[CURL_ERROR_SIZE] = "";
};

/// At the end of a request the handle must not point to it any more, not even for a connection that closes later.
struct HttpClient::ForgetRequest {
  CURL* easy;
  ~ForgetRequest() { curl_easy_reset(easy); }
};

inline HttpClient::HttpClient(HttpClientOptions options) : options_{std::move(options)} {
  detail::start_curl();
  multi_.reset(curl_multi_init());
  easy_.reset(curl_easy_init());
  if (!multi_ || !easy_) throw std::bad_alloc{};
  if (options_.ca_file.empty()) {
    const char* file = std::getenv("SSL_CERT_FILE");
    if (file != nullptr) options_.ca_file = file;
  }
}

inline std::size_t HttpClient::take_header(char* bytes, std::size_t size, std::size_t count, void* to) noexcept {
  auto& transfer = *static_cast<Transfer*>(to);
  try {
    transfer.moved = std::chrono::steady_clock::now();
    std::string_view line{bytes, size * count};
    transfer.header_bytes += line.size();
    transfer.headers_full = transfer.header_bytes > std::size_t{256} << 10;
    if (transfer.headers_full) return 0;
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) transfer.response.headers.clear();  // of a redirect, or of 100 Continue
    if (line.empty() && transfer.request.body_ms != 0 && transfer.is_last()) transfer.head_at = transfer.moved;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return size * count;
    HttpHeader header;
    for (const char c : line.substr(0, colon))
      header.name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    line.remove_prefix(colon + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    header.value = line;
    transfer.response.headers.push_back(std::move(header));
    return size * count;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

inline std::size_t HttpClient::take_body(char* bytes, std::size_t size, std::size_t count, void* to) noexcept {
  auto& transfer = *static_cast<Transfer*>(to);
  try {
    const std::size_t got = size * count;
    transfer.moved = std::chrono::steady_clock::now();
    long status = 0;
    curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer.request.on_body && status >= 200 && status <= 299) {
      transfer.ended = !transfer.request.on_body({bytes, got});
      return transfer.ended ? 0 : got;
    }
    const std::size_t room = transfer.request.body_bytes - transfer.response.body.size();
    transfer.response.body.append(bytes, std::min(got, room));
    transfer.full = got > room;
    return transfer.full ? 0 : got;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

/// libcurl calls it often, whether or not something has moved.
inline int HttpClient::take_progress(void* to, curl_off_t, curl_off_t, curl_off_t up_total, curl_off_t up) noexcept {
  auto& transfer = *static_cast<Transfer*>(to);
  if (up == transfer.up) return 0;
  transfer.up = up;
  transfer.moved = std::chrono::steady_clock::now();
  try {
    if (transfer.request.on_sent)
      transfer.request.on_sent(static_cast<std::uint64_t>(up), static_cast<std::uint64_t>(std::max(up, up_total)));
    return 0;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 1;
  }
}

/// What would smuggle other lines into a request.
inline void HttpClient::check(const HttpRequest& request) {
  if (!detail::fits_a_header(request.url) || !detail::fits_a_header(request.method))
    throw HttpError{HttpErrc::invalid, "an URL or a method with a line's end in it", "look for a stray newline"};
  for (const HttpPart& each : request.parts)
    if (!detail::fits_a_header(each.name) || !detail::fits_a_header(each.file_name) ||
        !detail::fits_a_header(each.content_type) || each.path.find('\0') != std::string::npos)
      throw HttpError{HttpErrc::invalid, "a part of the body whose name, or file's name, has a line's end in it",
                      "give the file a plain name"};
}

inline HttpClient::HeaderList HttpClient::header_list(const HttpRequest& request) {
  HeaderList list;
  const auto add = [&list](const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc{};
    if (!list) list.reset(longer);  // else it is the same, longer by one
  };
  add("Expect:");  // or a long body waits a second for a server that does not answer to it
  for (const HttpHeader& each : request.headers) {
    if (each.name.empty() || each.name.find_first_of(": ") != std::string::npos || !detail::fits_a_header(each.name) ||
        !detail::fits_a_header(each.value))
      throw HttpError{HttpErrc::invalid,
                      "a header that cannot be sent: its name or value has a line's end in it, or less",
                      "look for a stray newline, in a variable that was read from a file for one"};
    add(each.value.empty() ? each.name + ';' : each.name + ": " + each.value);
  }
  return list;
}

inline void HttpClient::configure_tls() {
  CURL* easy = easy_.get();
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
}

inline void HttpClient::configure(const HttpRequest& request, const HeaderList& headers, Transfer& transfer) {
  CURL* easy = easy_.get();
  curl_easy_reset(easy);  // options alone: connections stay
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // or cancel() and time-outs wait for a name server that is silent
#endif
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  const detail::UrlParts parts = detail::url_parts(request.url);
  const bool secure = parts.scheme == "https";
  if (detail::is_loopback(parts.host))
    curl_easy_setopt(easy, CURLOPT_PROXY, "");  // what is for this machine stays here
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
#else
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS,
                   static_cast<long>(secure ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request.redirects == 0 ? 0L : 1L);
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, static_cast<long>(request.redirects));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_ms));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.total_ms));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &HttpClient::take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's are no answer
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &HttpClient::take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &HttpClient::take_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request.once ? 1L : 0L);
  configure_tls();
  configure_body(request, transfer);
}

inline void HttpClient::configure_body(const HttpRequest& request, Transfer& transfer) {
  CURL* easy = easy_.get();
  const bool sends = !request.body.empty() || !request.parts.empty() || request.method == "POST" ||
                     request.method == "PUT" || request.method == "PATCH";
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (!request.parts.empty()) {
    transfer.parts.emplace(easy, request.parts);
    curl_easy_setopt(easy, CURLOPT_MIMEPOST, transfer.parts->get());
  } else if (sends) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
  }
  if (request.method != (sends ? "POST" : "GET") && request.method != "HEAD")
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

/// Also of a tunnel through a proxy: not even that was asked for.
inline bool HttpClient::nothing_was_sent() const {
  long bytes = 0;
  return curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK && bytes == 0;
}

/// Until the silence is too long. A connection that is still being made has a time-out of its own.
inline std::uint32_t HttpClient::idle_left_ms(const Transfer& transfer) const {
  constexpr std::uint32_t long_time_ms = 1'000;
  if (transfer.request.idle_ms == 0 || nothing_was_sent()) return long_time_ms;
  const auto silent_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - transfer.moved).count();
  if (silent_ms >= transfer.request.idle_ms) return 0;
  return std::min(long_time_ms, transfer.request.idle_ms - static_cast<std::uint32_t>(silent_ms));
}

/// Until what has come of the answer is enough.
inline std::uint32_t HttpClient::body_left_ms(const Transfer& transfer) {
  constexpr std::uint32_t long_time_ms = 1'000;
  if (!transfer.head_at) return long_time_ms;
  const auto waited_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - *transfer.head_at)
          .count();
  if (waited_ms >= transfer.request.body_ms) return 0;
  return std::min(long_time_ms, transfer.request.body_ms - static_cast<std::uint32_t>(waited_ms));
}

/// By the multi interface, whose wait can be ended from another thread.
inline CURLcode HttpClient::perform(Transfer& transfer) {
  if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
  CURLcode result = CURLE_ABORTED_BY_CALLBACK;
  for (int running = 1; running != 0 && !cancelled_.load(std::memory_order_relaxed);) {
    CURLMcode code = curl_multi_perform(multi_.get(), &running);
    const std::uint32_t idle_ms = idle_left_ms(transfer);
    const std::uint32_t wait_ms = std::min(idle_ms, body_left_ms(transfer));
    transfer.idle = running != 0 && idle_ms == 0;
    if (running != 0 && wait_ms == 0) break;
    if (code == CURLM_OK && running != 0)
      code = curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(wait_ms), nullptr);
    if (code == CURLM_OK) continue;
    result = CURLE_OUT_OF_MEMORY;
    break;
  }
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left))
    if (message->msg == CURLMSG_DONE) result = message->data.result;
  curl_multi_remove_handle(multi_.get(), easy_.get());
  return result;
}

inline HttpResponse HttpClient::send(const HttpRequest& request) {
  const std::lock_guard lock{mutex_};
  check(request);
  const HeaderList headers = header_list(request);
  Transfer transfer{request, easy_.get()};
  const ForgetRequest forget{easy_.get()};
  configure(request, headers, transfer);
  if (transfer.parts)
    if (const std::string fault = transfer.parts->fault(); !fault.empty())
      throw HttpError{HttpErrc::file, fault, "expected a file that can be read"};
  const CURLcode code = perform(transfer);
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  const bool suffices = transfer.head_at || (transfer.full && request.cut_body);
  if (code != CURLE_OK && !suffices) throw error_of(code, request, transfer);
  long status = 0;
  curl_off_t wait_s = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &wait_s);
  transfer.response.status = static_cast<int>(status);
  if (transfer.response.find("retry-after") != nullptr && wait_s >= 0)
    transfer.response.retry_after_s = static_cast<std::uint32_t>(std::min<curl_off_t>(wait_s, 0xFFFF'FFFF));
  return std::move(transfer.response);
}

/// libcurl's own words are added where they name no more than a host: for a connection and for certificates.
inline HttpError HttpClient::error_of(CURLcode code, const HttpRequest& request, const Transfer& transfer) const {
  const std::string where = shown_url(request.url) + ": ";
  const std::string words = transfer.error[0] != '\0' ? transfer.error : curl_easy_strerror(code);
  if (cancelled_.load(std::memory_order_relaxed)) return {HttpErrc::cancelled, where + "cancelled"};
  if (transfer.ended) return {HttpErrc::cancelled, where + "ended by who reads the answer"};
  if (transfer.parts)
    if (const std::string fault = transfer.parts->fault(); !fault.empty())
      return {HttpErrc::file, where + "sent only in part: " + fault, "leave the file alone until it is sent"};
  if (transfer.idle)
    return {HttpErrc::timeout, where + "nothing came or went for " + std::to_string(request.idle_ms) + " ms"};
  if (transfer.headers_full) return {HttpErrc::too_large, where + "the answer has too many headers"};
  if (transfer.full)
    return {HttpErrc::too_large, where + "the answer is longer than " + std::to_string(request.body_bytes) + " bytes"};
  switch (code) {
    case CURLE_OUT_OF_MEMORY:
      throw std::bad_alloc{};
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
      return {HttpErrc::invalid, where + curl_easy_strerror(code), "expected http:// or https://"};
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return {HttpErrc::connect, where + words, "see whether the name is right and the server is up"};
    case CURLE_OPERATION_TIMEDOUT:
      if (nothing_was_sent())
        return {HttpErrc::connect, where + "no connection within the time-out", "see whether the server is up"};
      return {HttpErrc::timeout, where + "no answer within the time-out"};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return {HttpErrc::tls, where + words,
              "where the certificate is of your own authority, name that in SSL_CERT_FILE"};
    default:
      if (nothing_was_sent())
        return {HttpErrc::connect, where + curl_easy_strerror(code), "see whether the server is up"};
      return {HttpErrc::reset, where + curl_easy_strerror(code)};
  }
}

}  // namespace canary
