// json_walk.hpp: a JSON parser for tests of what needs none: it tells the events of good JSON, and takes the rest as bad.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "canary/control/dataset_syntax.hpp"
#include "canary/control/json_events.hpp"

namespace canary::test {

class JsonWalk {
 public:
  /// A JsonParse.
  static bool parse(std::string_view text, JsonEvents& events) {
    if (explain_json(text)) return false;
    JsonWalk walk{text, events};
    walk.value();
    return true;
  }

 private:
  JsonWalk(std::string_view text, JsonEvents& events) : text_{text}, events_{events} {}

  char next() {
    while (std::string_view{" \t\r\n,:"}.find(text_[at_]) != std::string_view::npos) ++at_;
    return text_[at_];
  }
  void value() {
    const char c = next();
    const std::size_t at = at_;
    if (c == '{') {
      events_.begin_object(at_++);
      while (next() != '}') {
        string(true);
        value();
      }
      events_.end_object(at_++);
    } else if (c == '[') {
      events_.begin_array(at_++);
      while (next() != ']') value();
      events_.end_array(at_++);
    } else if (c == '"') {
      string(false);
    } else if (c == 't' || c == 'f') {
      at_ += c == 't' ? 4 : 5;
      events_.boolean(c == 't', at);
    } else if (c == 'n') {
      at_ += 4;
      events_.null(at);
    } else {
      while (at_ != text_.size() && std::string_view{"+-.eE0123456789"}.find(text_[at_]) != std::string_view::npos)
        ++at_;
      events_.number(std::strtod(std::string{text_.substr(at, at_ - at)}.c_str(), nullptr), at);
    }
  }
  unsigned hex() {
    const auto value = static_cast<unsigned>(std::strtoul(std::string{text_.substr(at_ + 2, 4)}.c_str(), nullptr, 16));
    at_ += 6;
    return value;
  }
  static void append(std::string& to, unsigned point) {
    const auto tail = [&](int shift) { to += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
    if (point < 0x80) {
      to += static_cast<char>(point);
    } else if (point < 0x800) {
      to += static_cast<char>(0xC0 | point >> 6);
      tail(0);
    } else if (point < 0x10000) {
      to += static_cast<char>(0xE0 | point >> 12);
      tail(6);
      tail(0);
    } else {
      to += static_cast<char>(0xF0 | point >> 18);
      tail(12);
      tail(6);
      tail(0);
    }
  }
  void string(bool key) {
    (void)next();
    const std::size_t at = at_++;
    std::string out;
    bool plain = true;
    while (text_[at_] != '"') {
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      plain = false;
      const std::string_view names = "bfnrt";
      const std::size_t which = names.find(text_[at_ + 1]);
      if (text_[at_ + 1] == 'u') {
        unsigned point = hex();
        if (point >= 0xD800 && point <= 0xDFFF) point = 0x10000 + ((point - 0xD800) << 10) + (hex() - 0xDC00);
        append(out, point);
      } else {
        out += which == std::string_view::npos ? text_[at_ + 1] : "\b\f\n\r\t"[which];
        at_ += 2;
      }
    }
    ++at_;
    if (key)
      events_.key({out, at, plain});
    else
      events_.string({out, at, plain});
  }

  std::string_view text_;
  JsonEvents& events_;
  std::size_t at_ = 0;
};

}  // namespace canary::test
