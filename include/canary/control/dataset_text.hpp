// dataset_text.hpp: one look at a text of an example: how many tokens it may be, and what in it should not leave the house.
// Layer control.
//
// Tokens are estimated by what vocabularies of byte pairs do with text: a word is one token and 5/16 more for each letter
// past the sixth, three digits are 20/16, a run of marks 13/16 and 3/16 for each after the first, a break between lines
// 8/16, blanks past the first 10/16 together; a character of two bytes is 9/16, of three 14/16 (16/16 from U+3000 on), of
// four two. Compared with two vocabularies in wide use, of 100,000 and of 200,000 entries, on manuals, messages of programs,
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

[[nodiscard]] constexpr TextClass text_class(char c) noexcept { return text_classes[static_cast<unsigned char>(c)]; }
[[nodiscard]] constexpr bool is_letter(char c) noexcept { return text_class(c) == TextClass::letter; }
[[nodiscard]] constexpr bool is_letter_or_digit(char c) noexcept { return text_class(c) <= TextClass::digit; }

/// End of the run of this class that begins at `at`.
[[nodiscard]] constexpr std::size_t run_end(std::string_view text, std::size_t at, TextClass of) noexcept {
  while (at != text.size() && text_class(text[at]) == of) ++at;
  return at;
}

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

/// True if the word from `begin` to `end` is what a secret of this kind begins with, and the secret follows.
[[nodiscard]] constexpr bool is_secret(Sensitive kind, std::string_view text, std::size_t begin,
                                       std::size_t end) noexcept {
  const std::string_view word = text.substr(begin, end - begin);
  const std::string_view rest = text.substr(end);
  switch (kind) {
    case Sensitive::api_key:
      return word == "sk" && ((rest.starts_with('-') && is_random_part(text, end + 1, 20)) ||
                              (rest.starts_with("_live_") && is_random_part(text, end + 6, 16)));
    case Sensitive::cloud_key:
      return ((word.starts_with("AKIA") || word.starts_with("ASIA")) && is_capital_part(text, begin, 20)) ||
             (word.starts_with("AIza") && is_random_part(text, begin, 39));
    case Sensitive::repository_token:
      if (word == "github") return rest.starts_with("_pat_") && is_random_part(text, end + 5, 20);
      return word.size() == 3 && word[1] == 'h' && std::string_view{"pousr"}.find(word[2]) != std::string_view::npos &&
             rest.starts_with('_') && is_random_part(text, end + 1, 30);
    case Sensitive::chat_token:
      return word.size() == 4 && word.starts_with("xox") && rest.starts_with('-') && is_random_part(text, end + 1, 10);
    case Sensitive::bearer_token:
      return word.substr(1) == "earer" && rest.starts_with(' ') && is_random_part(text, end + 1, 20);
    case Sensitive::web_token:
      return word.starts_with("eyJ") && is_random_part(text, begin, 20) &&
             text.substr(begin, 512).find(".eyJ") != std::string_view::npos;
    case Sensitive::private_key:
      return word == "BEGIN" && begin >= 5 && text.substr(begin - 5, 5) == "-----" &&
             rest.substr(0, 40).find("PRIVATE KEY-----") != std::string_view::npos;
    case Sensitive::email:
      return false;  // found by its @
  }
  return false;
}

/// Calls `on_found(kind, at)` if the word from `begin` to `end` begins a secret. Most words are ruled out by their first
/// letter.
template <class OnFound>
constexpr void look_for_secret(std::string_view text, std::size_t begin, std::size_t end, OnFound&& on_found) {
  const auto try_kind = [&](Sensitive kind) {
    if (!is_secret(kind, text, begin, end)) return;
    on_found(kind, kind == Sensitive::private_key ? begin - 5 : begin);
  };
  if (begin != 0 && (is_letter_or_digit(text[begin - 1]) || text[begin - 1] == '_')) return;
  switch (text[begin]) {
    case 's':
      return try_kind(Sensitive::api_key);
    case 'A':
      return try_kind(Sensitive::cloud_key);
    case 'g':
      return try_kind(Sensitive::repository_token);
    case 'x':
      return try_kind(Sensitive::chat_token);
    case 'e':
      return try_kind(Sensitive::web_token);
    case 'B':
      try_kind(Sensitive::private_key);
      [[fallthrough]];
    case 'b':
      return try_kind(Sensitive::bearer_token);
    default:
      return;
  }
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
  while (end != text.size() && end - at <= longest &&
         (is_letter_or_digit(text[end]) || text[end] == '-' || text[end] == '.'))
    ++end;
  while (end != at + 1 && !is_letter_or_digit(text[end - 1])) --end;  // the full stop of the sentence
  const std::string_view domain = text.substr(at + 1, end - at - 1);
  const std::size_t dot = domain.rfind('.');
  if (begin == at || dot == std::string_view::npos || dot == 0) return at;
  const std::string_view top = domain.substr(dot + 1);
  const bool good = top.size() >= 2 && std::all_of(top.begin(), top.end(), is_letter) && !is_reserved_domain(domain) &&
                    domain.find("..") == std::string_view::npos;
  return good ? begin : at;
}

}  // namespace detail

/// Estimates a text's tokens, in token_parts, and calls `on_found(Sensitive, byte)` for all that should not be there.
/// Input   any bytes.
/// Cost    about 1 ns a byte; linear whatever the text.
template <class OnFound>
[[nodiscard]] constexpr std::uint64_t scan_text(std::string_view text, OnFound&& on_found) {
  using detail::TextClass;
  std::uint64_t parts = 0;
  for (std::size_t at = 0; at != text.size();) {
    const std::size_t begin = at;
    const TextClass kind = detail::text_class(text[at]);
    at = kind >= TextClass::tail ? at + 1 : detail::run_end(text, at, kind);
    const std::size_t size = at - begin;
    switch (kind) {
      case TextClass::letter:
        parts += 16 + (size > 6 ? (size - 6) * 5 : 0);
        detail::look_for_secret(text, begin, at, on_found);
        break;
      case TextClass::digit:
        parts += (size + 2) / 3 * 20;
        break;
      case TextClass::space:
        parts += size > 1 ? 10 : 0;
        break;
      case TextClass::line_break:
        parts += 8;
        break;
      case TextClass::mark:
        parts += 13 + (size - 1) * 3;
        for (std::size_t i = begin; i != at; ++i)
          if (text[i] == '@')
            if (const std::size_t from = detail::email_begin(text, i); from != i) on_found(Sensitive::email, from);
        break;
      case TextClass::tail:
        break;
      case TextClass::two:
        parts += 9;
        break;
      case TextClass::three:
        parts += 14;
        break;
      case TextClass::wide:
        parts += 16;
        break;
      case TextClass::four:
        parts += 32;
        break;
    }
  }
  return parts;
}

/// A short text of the data as a message may show it: in quotes, cut, and never one that looks like a secret.
[[nodiscard]] inline std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 40;
  bool secret = false;
  (void)scan_text(text.substr(0, 4'096), [&](Sensitive, std::size_t at) { secret |= at < longest; });
  if (secret) return "a text that is not shown, since it looks like a secret,";
  if (text.size() <= longest) return '"' + std::string{text} + '"';
  std::size_t cut = longest;
  while (cut != 0 && detail::text_class(text[cut]) == detail::TextClass::tail) --cut;
  return '"' + std::string{text.substr(0, cut)} + "...\"";
}

}  // namespace canary
