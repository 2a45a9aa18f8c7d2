// text_ring.hpp: one thread's ring of request and response texts, beside its lane. Layer core.
// Only where payloads are on. A frame is a check, the interaction's id, two sizes, the task and the bytes, on 8-byte places; `written`
// stands with the bytes, so that what it counts outlives the process like the lane does.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "canary/core/hash.hpp"
#include "canary/core/slots.hpp"

namespace canary {

/// Texts of an interaction, taken out of a ring.
struct Texts {
  std::uint64_t id = 0;
  std::uint32_t task = 0;  ///< its index in the router that decided
  std::string request;
  std::string response;
};

template <class Atomics = StdAtomics>
class BasicTextRing {
 public:
  using Counter = typename Atomics::template atomic<std::uint64_t>;

  BasicTextRing() = default;
  /// Input   `size` bytes, a power of two of at least 64; `written`: 0, or what it was when its process ended. Both outlive the
  /// ring.
  BasicTextRing(char* bytes, std::size_t size, Counter& written) noexcept
      : bytes_{bytes}, mask_{size - 1}, written_{&written}, next_{written.load(std::memory_order_relaxed)} {}
  BasicTextRing(const BasicTextRing&) = delete;
  BasicTextRing& operator=(const BasicTextRing&) = delete;

  /// Keeps the texts of an interaction; false when there is no room for them.
  /// Cost    the copy, and a hash of what is copied.
  [[nodiscard]] bool push(std::uint64_t id, std::uint32_t task, std::string_view request,
                          std::string_view response) noexcept {
    const std::uint64_t size = mask_ + 1;
    if (request.size() > size || response.size() > size) return false;
    const std::uint64_t frame = frame_bytes(request.size(), response.size());
    // (T1) acquire: pairs with (T2). What the drainer read there, it read before this overwrites it.
    const std::uint64_t used = next_ - drained_.load(std::memory_order_acquire);
    if (used > size || frame > size - used) return false;  // more than there is: taken up again, and not released yet
    Head head{0, id, static_cast<std::uint32_t>(request.size()), static_cast<std::uint32_t>(response.size()), task, 0};
    head.check = check_of(next_, head, request, response);
    put(next_, {reinterpret_cast<const char*>(&head), sizeof head});
    put(next_ + sizeof head, request);
    put(next_ + sizeof head + request.size(), response);
    next_ += frame;
    // (T3) release: pairs with (T4). Whoever sees the count sees the frame.
    written_->store(next_, std::memory_order_release);
    return true;
  }

  /// Takes the frame at `position` out, and moves the position behind it.
  /// Output  true if there was one; `texts` has id 0 where it was not whole.
  [[nodiscard]] bool read(std::uint64_t& position, Texts& texts) const {
    const std::uint64_t end = written_->load(std::memory_order_acquire);  // (T4)
    texts = {};
    if (position >= end) return false;
    Head head;
    char raw[sizeof head];
    get(position, raw, sizeof raw);
    std::memcpy(&head, raw, sizeof head);
    const std::uint64_t frame = frame_bytes(head.request, head.response);
    if (frame > end - position || frame > mask_ + 1) {
      position = end;
      return true;
    }
    texts.request.resize(head.request);
    texts.response.resize(head.response);
    get(position + sizeof head, texts.request.data(), head.request);
    get(position + sizeof head + head.request, texts.response.data(), head.response);
    if (check_of(position, head, texts.request, texts.response) == head.check) {
      texts.id = head.id;
      texts.task = head.task;
    }
    position += frame;
    return true;
  }

  /// All that was pushed ends here.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_->load(std::memory_order_acquire); }

  /// Lets the writer have everything before `position` again.
  void release(std::uint64_t position) noexcept { drained_.store(position, std::memory_order_release); }  // (T2)

 private:
  struct Head {
    std::uint64_t check;
    std::uint64_t id;
    std::uint32_t request;
    std::uint32_t response;
    std::uint32_t task;
    std::uint32_t zero;
  };
  static_assert(sizeof(Head) == 32, "no padding: frames lie on 8-byte places");

  [[nodiscard]] static constexpr std::uint64_t frame_bytes(std::uint64_t request, std::uint64_t response) noexcept {
    return (sizeof(Head) + request + response + 7) / 8 * 8;
  }
  [[nodiscard]] static std::uint64_t check_of(std::uint64_t position, const Head& head, std::string_view request,
                                              std::string_view response) noexcept {
    const std::uint64_t tasks = head.task | std::uint64_t{head.zero} << 32;
    const std::uint64_t sizes = head.request | std::uint64_t{head.response} << 32;
    return hash_bytes(response, hash_bytes(request, position ^ head.id * 3 ^ sizes * 5 ^ tasks * 7));
  }

  void put(std::uint64_t position, std::string_view text) noexcept {
    const std::size_t at = position & mask_;
    const std::size_t first = std::min<std::size_t>(text.size(), mask_ + 1 - at);
    std::copy_n(text.begin(), first, bytes_ + at);
    const std::string_view rest = text.substr(first);
    std::copy(rest.begin(), rest.end(), bytes_);
  }
  void get(std::uint64_t position, char* text, std::size_t size) const noexcept {
    const std::size_t at = position & mask_;
    const std::size_t first = std::min<std::size_t>(size, mask_ + 1 - at);
    std::copy_n(bytes_ + at, first, text);
    std::copy_n(bytes_, size - first, text + first);
  }

  char* bytes_ = nullptr;
  std::uint64_t mask_ = 0;
  Counter* written_ = nullptr;
  std::uint64_t next_ = 0;
  Counter drained_{0};
};

using TextRing = BasicTextRing<>;

}  // namespace canary
