// interrupt.hpp: Ctrl-C for commands that have something to take back first.
#pragma once

#include <csignal>
#include <cstddef>

namespace canary::cli {

/// Thrown by Interrupts::check(); main() ends by the signal, when everything was taken back.
struct Interrupted {
  int signal = 0;
};

/// Holds SIGINT, SIGTERM and SIGHUP back while it lives; one at a time. Calls that wait end with EINTR.
class Interrupts {
 public:
  Interrupts() noexcept {
    for (std::size_t i = 0; i != count; ++i) {
      struct sigaction ours {};
      ours.sa_handler = [](int signal) { came = signal; };
      sigaction(signals[i], nullptr, &before_[i]);
      // Who has them ignored, nohup for one, wants them ignored.
      if (before_[i].sa_handler != SIG_IGN) sigaction(signals[i], &ours, nullptr);
    }
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts() {
    for (std::size_t i = 0; i != count; ++i) sigaction(signals[i], &before_[i], nullptr);
  }

  /// True when one came.
  [[nodiscard]] static bool pending() noexcept { return came != 0; }

  /// Errors  Interrupted when one came.
  static void check() {
    if (came != 0) throw Interrupted{came};
  }

 private:
  static constexpr std::size_t count = 3;
  static constexpr int signals[count] = {SIGINT, SIGTERM, SIGHUP};
  static inline volatile std::sig_atomic_t came = 0;

  struct sigaction before_[count] {};
};

}  // namespace canary::cli
