// tcp_proxy.hpp: stands between a program and its server, and cuts the connection where a test wants it cut.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

[[nodiscard]] inline sockaddr_in local_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// A socket that listens on a free port of 127.0.0.1, and never answers by itself.
class Listener {
 public:
  Listener() : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address = local_address(0);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd_, plain, size) != 0 || ::listen(fd_, 64) != 0 || ::getsockname(fd_, plain, &size) != 0)
      throw std::runtime_error{"no socket to listen on"};
    port_ = ntohs(address.sin_port);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { ::close(fd_); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

/// Passes everything on until a client says COMMIT while armed.
class TcpProxy {
 public:
  enum class Cut : std::uint8_t {
    none,
    before,  ///< the server does not hear the COMMIT
    after,   ///< the server hears it, the client does not hear the answer
    hold,    ///< the server hears it after `meanwhile`
  };

  explicit TcpProxy(std::uint16_t server_port) : server_port_{server_port}, thread_{[this] { run(); }} {}
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;
  ~TcpProxy() {
    stop_ = true;
    thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port(); }
  /// For the next COMMIT. `meanwhile` happens after the server has lost the connection, before the client has.
  void arm(
      Cut cut, std::function<void()> meanwhile = [] {}) {
    meanwhile_ = std::move(meanwhile);
    cut_ = cut;
  }
  [[nodiscard]] int cuts() const noexcept { return cuts_; }
  /// From now on no connection lasts.
  void refuse() { refuses_ = true; }

 private:
  void run() {
    std::vector<std::thread> connections;
    while (!stop_) {
      if (!ready(listener_.get())) continue;
      const int client = ::accept(listener_.get(), nullptr, nullptr);
      connections.emplace_back([this, client] { serve(client); });
    }
    for (std::thread& each : connections) each.join();
  }

  void serve(int client) {
    int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = local_address(server_port_);
    const bool connected = !refuses_ && ::connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    while (!stop_ && connected && pass(client, server)) {
    }
    if (server >= 0) ::close(server);
    ::close(client);
  }

  static bool ready(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 20) > 0;
  }

  /// False at the end of the connection; the server's side is closed then.
  bool pass(int client, int& server) {
    pollfd both[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(both, 2, 20) <= 0) return true;
    char buffer[65'536];
    for (const bool from_client : {true, false}) {
      if (both[from_client ? 0 : 1].revents == 0) continue;
      const ssize_t size = ::recv(from_client ? client : server, buffer, sizeof buffer, 0);
      if (size <= 0) return false;
      const std::string_view bytes{buffer, static_cast<std::size_t>(size)};
      const bool commit = from_client && bytes.find(std::string_view{"COMMIT\0", 7}) != std::string_view::npos;
      const Cut cut = commit ? cut_.exchange(Cut::none) : Cut::none;
      if (cut == Cut::hold) meanwhile_();
      if (cut != Cut::before) (void)::send(from_client ? server : client, buffer, bytes.size(), MSG_NOSIGNAL);
      if (cut == Cut::none || cut == Cut::hold) continue;
      if (cut == Cut::after) (void)::recv(server, buffer, sizeof buffer, 0);
      ::close(server);
      server = -1;
      ++cuts_;
      meanwhile_();
      return false;
    }
    return true;
  }

  Listener listener_;
  std::uint16_t server_port_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> refuses_{false};
  std::atomic<Cut> cut_{Cut::none};
  std::atomic<int> cuts_{0};
  std::function<void()> meanwhile_;
  std::thread thread_;
};

}  // namespace test
