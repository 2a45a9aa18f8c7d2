// http_server.hpp: a small HTTP server on this machine, which answers as a test tells it to, and keeps what it was asked.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

struct HttpSeen {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
};

/// How one request is answered.
struct HttpReply {
  enum class How : std::uint8_t {
    answer,
    reset,     ///< the connection is reset once the request is there
    truncate,  ///< half of the body, then the end
    hold,      ///< no answer until release(), or until the client has gone
    halve,     ///< half of the body, and the rest after release()
  };
  int status = 200;
  std::string headers = {};  ///< lines with their ends
  std::string body = "ok";
  How how = How::answer;
  bool keep = false;  ///< the connection, for another request
};

class HttpServer {
 public:
  HttpServer() : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd_, plain, size) != 0 || ::listen(fd_, 64) != 0 || ::getsockname(fd_, plain, &size) != 0)
      throw std::runtime_error{"no socket to listen on"};
    port_ = ntohs(address.sin_port);
    ::setenv("no_proxy", "127.0.0.1,localhost,no-such-host.invalid",
             1);  // a proxy of the machine's is not what is tested
    thread_ = std::thread{[this] { run(); }};
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() { down(); }

  [[nodiscard]] std::string url(const std::string& target = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + target;
  }
  /// The next requests are answered by these, in turn; without any left, by 200.
  void answer(std::vector<HttpReply> replies) {
    const std::lock_guard lock{mutex_};
    for (HttpReply& each : replies) replies_.push_back(std::move(each));
  }
  /// Waits until so many requests have come, then returns all of them.
  std::vector<HttpSeen> seen(std::size_t at_least = 0) {
    std::unique_lock lock{mutex_};
    if (!came_.wait_for(lock, std::chrono::seconds{60}, [&] { return seen_.size() >= at_least; }))
      throw std::runtime_error{"the requests do not come"};
    return seen_;
  }
  void release() { released_ = true; }
  /// Replies that nobody has had are not given any more, and what was asked is forgotten.
  void forget() {
    const std::lock_guard lock{mutex_};
    replies_.clear();
    seen_.clear();
  }
  /// Nobody listens any more.
  void down() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  static bool readable(int fd, int ms) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, ms) > 0;
  }

  void run() {
    std::vector<std::thread> connections;
    while (!stop_) {
      if (!readable(fd_, 10)) continue;
      const int client = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client >= 0) connections.emplace_back([this, client] { serve(client); });
    }
    for (std::thread& each : connections) each.join();
  }

  /// One request for each connection, or more where replies say so.
  void serve(int client) {
    HttpReply reply;
    do {
      HttpSeen request;
      if (!read(client, request)) break;
      reply = {};
      {
        const std::lock_guard lock{mutex_};
        seen_.push_back(std::move(request));
        if (!replies_.empty()) {
          reply = std::move(replies_.front());
          replies_.pop_front();
        }
      }
      came_.notify_all();
      write(client, reply);
    } while (reply.keep);
    ::close(client);
  }

  bool read(int client, HttpSeen& request) {
    std::string bytes;
    std::size_t end = std::string::npos;
    while ((end = bytes.find("\r\n\r\n")) == std::string::npos)
      if (!more(client, bytes)) return false;
    std::string head = bytes.substr(0, end + 2);
    const std::size_t line = head.find("\r\n");
    const std::size_t space = head.find(' ');
    request.method = head.substr(0, space);
    request.target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    for (std::size_t at = line + 2; at < head.size();) {
      const std::size_t next = head.find("\r\n", at);
      const std::size_t colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
      const std::size_t value = std::min(head.find_first_not_of(' ', colon + 1), next);
      request.headers[name] = head.substr(value, next - value);
      at = next + 2;
    }
    const auto length = request.headers.find("content-length");
    const std::size_t size = length == request.headers.end() ? 0 : std::strtoul(length->second.c_str(), nullptr, 10);
    while (bytes.size() < end + 4 + size)
      if (!more(client, bytes)) return false;
    request.body = bytes.substr(end + 4, size);
    return true;
  }

  bool more(int client, std::string& bytes) {
    while (!readable(client, 10))
      if (stop_) return false;
    char buffer[65'536];
    const ssize_t got = ::recv(client, buffer, sizeof buffer, 0);
    if (got > 0) bytes.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }

  void write(int client, const HttpReply& reply) {
    using How = HttpReply::How;
    if (reply.how == How::hold)
      while (!stop_ && !released_ && !readable(client, 10)) continue;
    if (reply.how == How::reset) {
      const linger now{1, 0};
      (void)::setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      return;
    }
    std::string out =
        "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\n" + (reply.keep ? "" : "Connection: close\r\n") +
        "Content-Length: " + std::to_string(reply.body.size()) + "\r\n" + reply.headers + "\r\n" + reply.body;
    const std::size_t half = out.size() - reply.body.size() / 2;
    if (reply.how == How::truncate) out.resize(half);
    if (reply.how != How::halve) return put(client, out);
    put(client, std::string_view{out}.substr(0, half));
    while (!stop_ && !released_ && !readable(client, 10)) continue;
    put(client, std::string_view{out}.substr(half));
  }

  static void put(int client, std::string_view left) {
    while (!left.empty()) {
      const ssize_t put = ::send(client, left.data(), left.size(), MSG_NOSIGNAL);
      if (put <= 0) return;
      left.remove_prefix(static_cast<std::size_t>(put));
    }
  }

  int fd_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> released_{false};
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<HttpReply> replies_;
  std::vector<HttpSeen> seen_;
  std::thread thread_;
};

}  // namespace test
