// dataset_text.hpp: one look at a text of an example: how many tokens it may be, and what in it should not leave the house.
// Layer control.
//
// Tokens are estimated by what vocabularies of byte pairs do with text: a word is one token and 5/16 more for each letter
// past the sixth, a number 20/16 and 7/16 for each digit past the third, a run of marks 13/16 and 3/16 for each after the
// first, a break between lines 8/16, blanks past the first 10/16 together; a character of two bytes is 9/16, of three 14/16
// (16/16 from U+3000 on), of four two. Compared with two vocabularies in wide use, of 100,000 and of 200,000 entries, on manuals, messages of programs,
// chats and sources, a few hundred thousand characters of each language:
//
//   English, and code                       -1 to +10 %
//   other languages in Latin letters       -29 to  +8 %   (Vietnamese to +59 %)
//   Chinese, Japanese, Korean              -25 to +23 %
//   Cyrillic                               -10 to +70 %
//   Greek, Arabic, Hebrew, Indic, Thai     -48 to +100 %  (low for old vocabularies, high for new ones)
//
// A vocabulary of another make differs by more. Long texts without spaces, as base64, come out at half.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace canary {

/// What estimates count in: parts of a token.
inline constexpr std::uint64_t token_parts = 16;

/// What should not be in training data: whoever has the model may get it out.
enum class Sensitive : std::uint8_t {
  api_key,
  cloud_key,
  repository_token,
  chat_token,
  bearer_token,
  web_token,
  private_key,
  email
};

/// What it looks like, for people; the text itself is never shown.
[[nodiscard]] constexpr std::string_view describe(Sensitive kind) noexcept {
  switch (kind) {
    case Sensitive::api_key:
      return "an API key (sk-...)";
    case Sensitive::cloud_key:
      return "a cloud provider's key (AKIA..., AIza...)";
    case Sensitive::repository_token:
      return "a repository token (ghp_...)";
    case Sensitive::chat_token:
      return "a chat service's token (xoxb-...)";
    case Sensitive::bearer_token:
      return "a bearer token";
    case Sensitive::web_token:
      return "a JSON web token (eyJ...)";
    case Sensitive::private_key:
      return "a private key (BEGIN ... PRIVATE KEY)";
    case Sensitive::email:
      return "an e-mail address";
  }
  return "a secret";
}

namespace detail {

enum class TextClass : std::uint8_t { letter, digit, space, line_break, mark, tail, two, three, wide, four };

inline constexpr std::array<TextClass, 256> text_classes = [] {
  std::array<TextClass, 256> classes{};
  for (std::size_t c = 0; c != classes.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    classes[c] = letter                   ? TextClass::letter
                 : c >= '0' && c <= '9'   ? TextClass::digit
                 : c == '\n' || c == '\r' ? TextClass::line_break
                 : c <= ' '               ? TextClass::space
                 : c < 0x80               ? TextClass::mark
                 : c < 0xC0               ? TextClass::tail
                 : c < 0xE0               ? TextClass::two
                 : c < 0xE3               ? TextClass::three
                 : c < 0xF0               ? TextClass::wide
                                          : TextClass::four;
  }
  return classes;
}();

/// What a byte of a class costs, by how many of its class stand right before it; the last holds for all beyond.
inline constexpr std::array<std::array<std::uint8_t, 8>, 10> text_costs{{
    {16, 0, 0, 0, 0, 0, 5},  // letter
    {20, 0, 0, 7, 7, 7, 7},  // digit
    {0, 10, 0, 0, 0, 0, 0},  // space
    {8, 0, 0, 0, 0, 0, 0},   // line_break
    {13, 3, 3, 3, 3, 3, 3},  // mark
    {},                      // tail
    {9, 9, 9, 9, 9, 9, 9},   // two
    {14, 14, 14, 14, 14, 14, 14},
    {16, 16, 16, 16, 16, 16, 16},
    {32, 32, 32, 32, 32, 32, 32},
}};
inline constexpr std::uint32_t text_run_max = 6;

/// Bytes that stand in every secret that we know, and are rare elsewhere.
inline constexpr std::array<bool, 256> secret_anchors = [] {
  std::array<bool, 256> anchors{};
  for (const char c : {'-', '_', '@', 'A', 'B', 'b', 'J'}) anchors[static_cast<unsigned char>(c)] = true;
  return anchors;
}();

[[nodiscard]] constexpr TextClass text_class(char c) noexcept { return text_classes[static_cast<unsigned char>(c)]; }
[[nodiscard]] constexpr bool is_letter(char c) noexcept { return text_class(c) == TextClass::letter; }
[[nodiscard]] constexpr bool is_letter_or_digit(char c) noexcept { return text_class(c) <= TextClass::digit; }

/// True if what stands at `at` is at least so long as a token's random part, and has a digit, as those have. Looks at 64
/// characters, so that a text full of beginnings costs no more than another.
[[nodiscard]] constexpr bool is_random_part(std::string_view text, std::size_t at, std::size_t least) noexcept {
  text = text.substr(std::min(at, text.size())).substr(0, 64);
  std::size_t size = 0;
  bool digit = false;
  for (; size != text.size(); ++size) {
    const char c = text[size];
    if (!is_letter_or_digit(c) && c != '-' && c != '_' && c != '.' && c != '+' && c != '/') break;
    digit |= text_class(c) == TextClass::digit;
  }
  return size >= least && digit;
}

/// True if `size` capitals and digits stand at `at`, one digit at least.
[[nodiscard]] constexpr bool is_capital_part(std::string_view text, std::size_t at, std::size_t size) noexcept {
  if (at + size > text.size()) return false;
  bool digit = false;
  for (const char c : text.substr(at, size)) {
    if (!is_letter_or_digit(c) || (c >= 'a' && c <= 'z')) return false;
    digit |= text_class(c) == TextClass::digit;
  }
  return digit;
}

/// True if `word` ends right before `end`, and is no part of a longer one.
[[nodiscard]] constexpr bool is_word_before(std::string_view text, std::size_t end, std::string_view word) noexcept {
  if (!text.substr(0, end).ends_with(word)) return false;
  const std::size_t begin = end - word.size();
  return begin == 0 || (!is_letter_or_digit(text[begin - 1]) && text[begin - 1] != '_');
}

/// Calls `on_found(kind, at)` if the - at `dash` is part of the beginning of a secret.
template <class OnFound>
constexpr void look_around_dash(std::string_view text, std::size_t dash, OnFound&& on_found) {
  const std::string_view before = text.substr(0, dash);
  if (is_word_before(text, dash, "sk") && is_random_part(text, dash + 1, 20))
    return on_found(Sensitive::api_key, dash - 2);
  if (dash >= 4 && before.substr(dash - 4, 3) == "xox" && is_word_before(text, dash, before.substr(dash - 4)) &&
      is_random_part(text, dash + 1, 10))
    return on_found(Sensitive::chat_token, dash - 4);
  const std::string_view behind = text.substr(dash + 1, 48);
  if (before.ends_with("----") && behind.starts_with("BEGIN ") &&
      behind.find("PRIVATE KEY-----") != std::string_view::npos)
    on_found(Sensitive::private_key, dash - 4);
}

/// The same for the _ at `at`.
template <class OnFound>
constexpr void look_around_underscore(std::string_view text, std::size_t at, OnFound&& on_found) {
  const std::string_view behind = text.substr(at);
  if (is_word_before(text, at, "sk") && behind.starts_with("_live_") && is_random_part(text, at + 6, 16))
    return on_found(Sensitive::api_key, at - 2);
  if (is_word_before(text, at, "github") && behind.starts_with("_pat_") && is_random_part(text, at + 5, 20))
    return on_found(Sensitive::repository_token, at - 6);
  for (const std::string_view word : {"ghp", "gho", "ghu", "ghs", "ghr"})
    if (is_word_before(text, at, word) && is_random_part(text, at + 1, 30))
      return on_found(Sensitive::repository_token, at - 3);
}

/// True for a domain that nobody can have an address at: those kept for examples and tests (RFC 2606).
[[nodiscard]] constexpr bool is_reserved_domain(std::string_view domain) noexcept {
  for (const std::string_view ending : {".example", ".test", ".invalid", ".localhost"})
    if (domain.ends_with(ending)) return true;
  for (const std::string_view name : {"example.com", "example.org", "example.net"})
    if (domain == name || (domain.ends_with(name) && domain[domain.size() - name.size() - 1] == '.')) return true;
  return false;
}

/// Start of the e-mail address around the @ at `at`; its own place when there is none.
[[nodiscard]] constexpr std::size_t email_begin(std::string_view text, std::size_t at) noexcept {
  constexpr std::size_t longest = 255;
  const auto is_local = [](char c) {
    return is_letter_or_digit(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
  };
  std::size_t begin = at;
  while (begin != 0 && at - begin != 64 && is_local(text[begin - 1])) --begin;
  if (text.substr(begin, at - begin) == "git") return at;  // git@host: is a place, not a person
  std::size_t end = at + 1;
  const auto is_domain = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.'; };
  while (end != text.size() && end - at <= longest && is_domain(text[end])) ++end;
  while (end != at + 1 && !is_letter_or_digit(text[end - 1])) --end;  // the full stop of the sentence
  const std::string_view domain = text.substr(at + 1, end - at - 1);
  const std::size_t dot = domain.rfind('.');
  if (begin == at || dot == std::string_view::npos || dot == 0) return at;
  const std::string_view top = domain.substr(dot + 1);
  const bool good = top.size() >= 2 && std::all_of(top.begin(), top.end(), is_letter) && !is_reserved_domain(domain) &&
                    domain.find("..") == std::string_view::npos;
  return good ? begin : at;
}

/// Calls `on_found(kind, at)` if the anchor at `at` is part of something that should not be there.
template <class OnFound>
constexpr void look_around(std::string_view text, std::size_t at, OnFound&& on_found) {
  const bool word = is_word_before(text, at, {});
  const std::string_view here = text.substr(at);
  switch (text[at]) {
    case '-':
      return look_around_dash(text, at, on_found);
    case '_':
      return look_around_underscore(text, at, on_found);
    case '@':
      if (const std::size_t begin = email_begin(text, at); begin != at) on_found(Sensitive::email, begin);
      return;
    case 'A':
      if (word && (((here.starts_with("AKIA") || here.starts_with("ASIA")) && is_capital_part(text, at, 20)) ||
                   (here.starts_with("AIza") && is_random_part(text, at, 39))))
        on_found(Sensitive::cloud_key, at);
      return;
    case 'J':
      if (is_word_before(text, at, "ey") && is_random_part(text, at, 18) &&
          here.substr(0, 512).find(".eyJ") != std::string_view::npos)
        on_found(Sensitive::web_token, at - 2);
      return;
    default:
      if (word && here.substr(1).starts_with("earer ") && is_random_part(text, at + 7, 20))
        on_found(Sensitive::bearer_token, at);
      return;
  }
}

/// Tokens of a text, in parts, byte by byte.
[[nodiscard]] constexpr std::uint64_t text_parts(std::string_view text) noexcept {
  std::uint64_t parts = 0;
  std::uint32_t run = 0;  // bytes of the class right before
  auto last = TextClass::tail;
  for (const char c : text) {
    const TextClass now = text_class(c);
    run = now == last ? std::min(run + 1, text_run_max) : 0;
    last = now;
    parts += text_costs[static_cast<std::size_t>(now)][run];
  }
  return parts;
}

/// Sixteen bytes at once: every compiler that we build with has these, whatever the processor. A condition is 0xFF or 0.
using Lanes = std::uint8_t __attribute__((vector_size(16)));

[[nodiscard]] inline Lanes load_lanes(const std::uint8_t* from) noexcept {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
[[nodiscard]] inline Lanes all_lanes(int value) noexcept {
  const auto x = static_cast<std::uint8_t>(value);
  return Lanes{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
/// True in the lanes from `first` to `last`.
[[nodiscard]] inline Lanes lanes_within(Lanes lanes, int first, int last) noexcept {
  return (Lanes)(lanes - all_lanes(first) <= all_lanes(last - first));
}
[[nodiscard]] inline Lanes lanes_from(Lanes lanes, int first) noexcept { return lanes_within(lanes, first, 0xFF); }
[[nodiscard]] inline Lanes lanes_of(Lanes lanes, int value) noexcept { return (Lanes)(lanes == all_lanes(value)); }

/// Bytes of a text that are looked at together, between those that their cost and their meaning hang on.
struct TextBlock {
  static constexpr std::size_t around = sizeof(Lanes);
  static constexpr std::size_t size = 64;
  std::array<std::uint8_t, around + size + around> bytes;  ///< 0x80, which costs nothing, where the text has none

  void load(std::string_view text, std::size_t at) noexcept {
    const std::size_t from = std::min(at, around);
    const std::size_t to = std::min(text.size() - at, size + around);
    if (from + to != bytes.size()) bytes.fill(0x80);
    std::memcpy(bytes.data() + around - from, text.data() + at - from, from + to);
  }
};

/// Lanes where look_around() may find something: what a secret begins with, or the @ of an address.
[[nodiscard]] inline Lanes suspect_lanes(const std::uint8_t* at) noexcept {
  const auto is = [at](int offset, int value) { return lanes_of(load_lanes(at + offset), value); };
  const auto is_any_case = [at](int offset, int value) {
    return lanes_of(load_lanes(at + offset) | all_lanes(0x20), value);
  };
  const Lanes dash =
      is(0, '-') & ((is(-1, 'k') & is(-2, 's')) | (is(-3, 'o') & is(-2, 'x')) | (is(-1, '-') & is(1, 'B')));
  const Lanes low = is(0, '_') & (is(-1, 'k') | is(-1, 'b') | is(-2, 'h'));
  const Lanes cloud = is(0, 'A') & (is(1, 'K') | (is(1, 'S') & is(2, 'I')) | (is(1, 'I') & is(2, 'z')));
  const Lanes bearer = is_any_case(0, 'b') & is(1, 'e') & is(2, 'a') & is(3, 'r');
  return is(0, '@') | dash | low | cloud | bearer | (is(0, 'J') & is(-1, 'y') & is(-2, 'e'));
}

/// Which bytes of a block are of which class.
struct TextMasks {
  using Mask = std::array<std::uint8_t, TextBlock::around + TextBlock::size>;
  Mask letter;
  Mask digit;
  Mask space;
  Mask line_break;
  Mask mark;

  explicit TextMasks(const TextBlock& block) noexcept {
    const auto store = [](Mask& to, std::size_t at, Lanes lanes) { std::memcpy(to.data() + at, &lanes, sizeof lanes); };
    for (std::size_t at = 0; at != letter.size(); at += sizeof(Lanes)) {
      const Lanes c = load_lanes(block.bytes.data() + at);
      const Lanes letters = lanes_within(c | all_lanes(0x20), 'a', 'z');
      const Lanes digits = lanes_within(c, '0', '9');
      const Lanes breaks = lanes_of(c, '\n') | lanes_of(c, '\r');
      store(letter, at, letters);
      store(digit, at, digits);
      store(line_break, at, breaks);
      store(space, at, lanes_within(c, 0, ' ') & ~breaks);
      store(mark, at, lanes_within(c, '!', 0x7F) & ~letters & ~digits);
    }
  }
};

/// The same as text_parts() for a block, and whether it has something suspect. Without a branch: no step hangs on the one
/// before it.
[[nodiscard]] inline std::uint64_t block_parts(const TextBlock& block, bool& suspect) noexcept {
  const TextMasks masks{block};
  Lanes sums{};  // at most four times 32
  Lanes suspects{};
  for (std::size_t at = TextBlock::around; at != TextBlock::around + TextBlock::size; at += sizeof(Lanes)) {
    const auto of = [at](const TextMasks::Mask& mask, std::size_t back) { return load_lanes(mask.data() + at - back); };
    const Lanes c = load_lanes(block.bytes.data() + at);
    const Lanes word = of(masks.letter, 0) & of(masks.letter, 1) & of(masks.letter, 2) & of(masks.letter, 3);
    sums += of(masks.letter, 0) & ~of(masks.letter, 1) & all_lanes(16);
    sums += word & of(masks.letter, 4) & of(masks.letter, 5) & of(masks.letter, 6) & all_lanes(5);
    sums += of(masks.digit, 0) & ~of(masks.digit, 1) & all_lanes(20);
    sums += of(masks.digit, 0) & of(masks.digit, 1) & of(masks.digit, 2) & of(masks.digit, 3) & all_lanes(7);
    sums += of(masks.space, 0) & of(masks.space, 1) & ~of(masks.space, 2) & all_lanes(10);
    sums += of(masks.line_break, 0) & ~of(masks.line_break, 1) & all_lanes(8);
    sums += of(masks.mark, 0) & (all_lanes(3) + (~of(masks.mark, 1) & all_lanes(10)));
    sums += (lanes_from(c, 0xC0) & all_lanes(9)) + (lanes_from(c, 0xE0) & all_lanes(5)) +
            (lanes_from(c, 0xE3) & all_lanes(2)) + (lanes_from(c, 0xF0) & all_lanes(16));
    suspects |= suspect_lanes(block.bytes.data() + at);
  }
  std::uint32_t parts = 0;
  std::array<std::uint64_t, 2> halves;
  static_assert(sizeof halves == sizeof suspects);
  std::memcpy(&halves, &suspects, sizeof halves);
  suspect = (halves[0] | halves[1]) != 0;
  for (std::size_t i = 0; i != sizeof(Lanes); ++i) parts += sums[i];
  return parts;
}

template <class OnFound>
constexpr void look_around_all(std::string_view text, std::size_t from, std::size_t to, OnFound&& on_found) {
  for (std::size_t at = from; at != to; ++at)
    if (secret_anchors[static_cast<unsigned char>(text[at])]) look_around(text, at, on_found);
}

}  // namespace detail

/// Estimates a text's tokens, in token_parts, and calls `on_found(Sensitive, byte)` for all that should not be there.
/// Input   any bytes.
/// Cost    about 1.4 ns a byte, linear whatever the text. Runs of text are what a processor cannot foresee, so a branch on each
///         would cost several times as much.
template <class OnFound>
[[nodiscard]] inline std::uint64_t scan_text(std::string_view text, OnFound&& on_found) {
  using detail::TextBlock;
  if (text.size() < TextBlock::size / 2) {
    detail::look_around_all(text, 0, text.size(), on_found);
    return detail::text_parts(text);
  }
  std::uint64_t parts = 0;
  TextBlock block;
  for (std::size_t at = 0; at < text.size(); at += TextBlock::size) {
    bool suspect = false;
    block.load(text, at);
    parts += detail::block_parts(block, suspect);
    if (suspect) detail::look_around_all(text, at, std::min(text.size(), at + TextBlock::size), on_found);
  }
  return parts;
}

/// A short text of the data as a message may show it: in quotes, cut, and never one that looks like a secret.
[[nodiscard]] inline std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 40;
  bool secret = false;
  (void)scan_text(text.substr(0, 4'096), [&](Sensitive, std::size_t at) { secret |= at < longest; });
  if (secret) return "(not shown: it looks like a secret)";
  if (text.size() <= longest) return '"' + std::string{text} + '"';
  std::size_t cut = longest;
  while (cut != 0 && detail::text_class(text[cut]) == detail::TextClass::tail) --cut;
  return '"' + std::string{text.substr(0, cut)} + "...\"";
}

}  // namespace canary
