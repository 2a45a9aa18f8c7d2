// tuning_wire.hpp: the sockets of the tuning server: any number of connections that stay open, bodies that stream in, and
// answers that come as badly as answers do.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

/// A request but for its body.
struct WireRequest {
  std::string method;
  std::string target;                          ///< with what stands behind the ?
  std::string head;                            ///< every byte up to the body
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::uint64_t body_bytes = 0;
};

struct WireReply {
  enum class How : std::uint8_t {
    answer,
    slow,      ///< a byte at a time
    truncate,  ///< half of it, then the end
    reset,     ///< none, and the connection is reset
    close,     ///< none, and the connection ends
    hold,      ///< none for as long as the client waits
  };
  int status = 200;
  std::string headers = {};              ///< lines with their ends
  std::vector<std::string> pieces = {};  ///< of the body; more than one are sent as chunks
  How how = How::answer;
};

/// The server's sockets. A subclass answers; it calls stop() in its destructor.
class WireServer {
 public:
  WireServer() : listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, end_{::eventfd(0, EFD_CLOEXEC)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (end_ < 0 || ::bind(listener_, plain, size) != 0 || ::listen(listener_, 128) != 0 ||
        ::getsockname(listener_, plain, &size) != 0)
      throw std::runtime_error{"no socket to listen on"};
    port_ = ntohs(address.sin_port);
  }
  WireServer(const WireServer&) = delete;
  WireServer& operator=(const WireServer&) = delete;
  virtual ~WireServer() {
    ::close(listener_);
    ::close(end_);
  }

  /// For any process of this machine.
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 protected:
  /// One request on its way.
  class Exchange {
   public:
    virtual ~Exchange() = default;
    /// The next bytes of the body.
    virtual void take(std::string_view bytes) = 0;
    /// All of it is there.
    virtual WireReply answer() = 0;
  };

  /// Called by many threads. Null: the connection is reset at once, with the body unread.
  virtual std::unique_ptr<Exchange> begin(const WireRequest& request) = 0;

  void start() {
    thread_ = std::thread{[this] { accept(); }};
  }
  void stop() {
    const std::uint64_t one = 1;
    if (::write(end_, &one, sizeof one) != sizeof one) std::abort();
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Connection {
    std::thread thread;
    std::atomic<bool> done{false};
  };

  /// False when the server ends. Else something has come, or the time is over.
  bool wait(int fd, short events, int ms = -1) const {
    pollfd both[2] = {{end_, POLLIN, 0}, {fd, events, 0}};
    return ::poll(both, fd < 0 ? 1 : 2, ms) >= 0 && both[0].revents == 0;
  }

  void accept() {
    std::list<Connection> connections;
    while (wait(listener_, POLLIN)) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      for (auto each = connections.begin(); each != connections.end();) {
        if (each->done) each->thread.join();
        each = each->done ? connections.erase(each) : std::next(each);
      }
      if (client < 0) continue;
      Connection& connection = connections.emplace_back();
      connection.thread = std::thread{[this, client, &connection] {
        serve(client);
        ::close(client);
        connection.done = true;
      }};
    }
    for (Connection& each : connections) each.thread.join();
  }

  void serve(int client) {
    std::string bytes;
    std::vector<char> buffer(std::size_t{256} << 10);
    const auto more = [&]() -> std::string_view {
      if (!wait(client, POLLIN)) return {};
      const ssize_t got = ::recv(client, buffer.data(), buffer.size(), 0);
      return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
    };
    for (bool keep = true; keep;) {
      std::size_t end = std::string::npos;
      while ((end = bytes.find("\r\n\r\n")) == std::string::npos) {
        const std::string_view piece = more();
        if (piece.empty() || bytes.size() > 65'536) return;
        bytes += piece;
      }
      const WireRequest request = parse(bytes.substr(0, end + 4));
      bytes.erase(0, end + 4);
      const std::unique_ptr<Exchange> exchange = begin(request);
      if (!exchange) return reset(client);
      std::uint64_t left = request.body_bytes;
      const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
      exchange->take(std::string_view{bytes}.substr(0, now));
      bytes.erase(0, now);
      for (left -= now; left != 0;) {
        const std::string_view piece = more();
        if (piece.empty()) return;
        const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
        exchange->take(piece.substr(0, taken));
        left -= taken;
        bytes += piece.substr(taken);
      }
      keep = write(client, exchange->answer());
    }
  }

  static WireRequest parse(const std::string& head) {
    WireRequest request;
    request.head = head;
    const std::size_t line = head.find("\r\n");
    const std::size_t space = head.find(' ');
    request.method = head.substr(0, space);
    request.target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    for (std::size_t at = line + 2; at + 2 < head.size();) {
      const std::size_t next = head.find("\r\n", at);
      const std::size_t colon = std::min(head.find(':', at), next);
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
      const std::size_t value = std::min(head.find_first_not_of(' ', colon + 1), next);
      request.headers[name] = head.substr(value, next - value);
      at = next + 2;
    }
    if (const auto length = request.headers.find("content-length"); length != request.headers.end())
      request.body_bytes = std::strtoull(length->second.c_str(), nullptr, 10);
    return request;
  }

  static void reset(int client) {
    const linger now{1, 0};
    (void)::setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }

  static std::string text_of(const WireReply& reply) {
    std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\n" + reply.headers;
    if (reply.pieces.size() < 2) {
      const std::string body = reply.pieces.empty() ? std::string{} : reply.pieces.front();
      return text + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    text += "Transfer-Encoding: chunked\r\n\r\n";
    for (const std::string& each : reply.pieces) {
      char size[20];
      std::snprintf(size, sizeof size, "%zx\r\n", each.size());
      if (!each.empty()) text += size + each + "\r\n";
    }
    return text + "0\r\n\r\n";
  }

  /// False when the connection has ended.
  bool write(int client, const WireReply& reply) const {
    using How = WireReply::How;
    if (reply.how == How::reset) reset(client);
    if (reply.how == How::reset || reply.how == How::close) return false;
    if (reply.how == How::hold) {
      (void)wait(client, POLLIN | POLLRDHUP);
      return false;
    }
    const std::string text = text_of(reply);
    std::string_view left = text;
    if (reply.how == How::truncate)
      left = left.substr(0, text.find("\r\n\r\n") + 4 + (text.size() - text.find("\r\n\r\n")) / 2 - 2);
    while (!left.empty()) {
      const std::size_t size = reply.how == How::slow ? 1 : left.size();
      if (reply.how == How::slow && !wait(-1, 0, 1)) return false;
      const ssize_t put = ::send(client, left.data(), size, MSG_NOSIGNAL);
      if (put <= 0) return false;
      left.remove_prefix(static_cast<std::size_t>(put));
    }
    return reply.how != How::truncate;
  }

  int listener_;
  int end_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace test
