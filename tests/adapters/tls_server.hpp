// tls_server.hpp: a TLS server with a certificate that nobody knows, by the openssl command.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "temporary_folder.hpp"

namespace test {

class TlsServer {
 public:
  [[nodiscard]] static bool possible() { return std::system("openssl version >/dev/null 2>&1") == 0; }

  TlsServer() {
    const std::string folder = folder_.path().string();
    const std::string make =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
        "subjectAltName=DNS:localhost -keyout " +
        folder + "/key.pem -out " + ca_file() + " >/dev/null 2>&1";
    if (std::system(make.c_str()) != 0) throw std::runtime_error{"openssl makes no certificate"};
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error{"pipe"};
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(ends[1], 1);
      ::dup2(::open("/dev/null", O_WRONLY), 2);
      ::close(ends[0]);
      ::close(ends[1]);
      ::execlp("openssl", "openssl", "s_server", "-accept", "0", "-cert", ca_file().c_str(), "-key",
               (folder + "/key.pem").c_str(), "-www", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = ::fdopen(ends[0], "r");
    char line[256];
    while (out_ != nullptr && port_.empty() && std::fgets(line, sizeof line, out_) != nullptr) {
      const std::string text = line;  // ACCEPT 0.0.0.0:38411
      if (text.starts_with("ACCEPT"))
        port_ = text.substr(text.rfind(':') + 1, text.find_last_not_of("\r\n") - text.rfind(':'));
    }
    if (port_.empty()) throw std::runtime_error{"openssl s_server does not start"};
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    if (out_ != nullptr) std::fclose(out_);
  }

  [[nodiscard]] std::string url() const { return "https://localhost:" + port_ + "/"; }
  [[nodiscard]] std::string ca_file() const { return (folder_.path() / "cert.pem").string(); }

 private:
  TemporaryFolder folder_;
  pid_t child_ = -1;
  std::FILE* out_ = nullptr;
  std::string port_;
};

}  // namespace test
