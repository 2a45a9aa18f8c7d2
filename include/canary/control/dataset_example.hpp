// dataset_example.hpp: judges one example, told as JSON events, by the rules of its format. Layer control.
// Keys may come in any order, so a message is judged when it ends. dataset_values.hpp has what single values are.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/dataset_findings.hpp"
#include "canary/control/dataset_schema.hpp"
#include "canary/control/dataset_syntax.hpp"
#include "canary/control/dataset_talk.hpp"
#include "canary/control/dataset_text.hpp"
#include "canary/control/json_events.hpp"
#include "canary/core/hash.hpp"
#include "canary/core/mix.hpp"

namespace canary {

/// What an image is estimated to take: one of about 1,000 by 1,000 points, looked at closely. Its own size is not known.
inline constexpr std::uint64_t image_tokens = 765;

/// Judges examples one after the other.
/// Input   begin(), the events of one document, then whatever it found.
/// Output  findings go to the list that it was given; a document that is no object has one.
/// Cost    a few kilobytes, whatever the example; duplicate keys are found among an object's first 256.
class ExampleChecker final : public JsonEvents {
 public:
  /// Input   `seed` goes into hash(), so that nobody can write examples that collide.
  explicit ExampleChecker(LineFindings& findings, std::uint64_t seed = 0)
      : findings_{findings}, seed_{seed}, talk_{findings} {}

  void begin(DatasetFormat format) {
    format_ = format;
    root_ = {"an example", detail::object_type, detail::KeySlot::plain, detail::shape_of(format)};
    depth_ = beyond_ = 0;
    keys_.clear();
    declared_.clear();
    called_.clear();
    tools_at_ = other_at_ = preferred_at_ = {};
    tokens_ = 3 * token_parts;  // what begins an answer
    hash_ = 0;
  }

  /// The same for two examples that say the same: blanks, escapes and the order of keys make no difference.
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  /// Estimated.
  [[nodiscard]] std::uint64_t tokens() const noexcept { return (tokens_ + token_parts - 1) / token_parts; }

  void begin_object(std::size_t at) override { open(detail::JsonType::object, at); }
  void begin_array(std::size_t at) override { open(detail::JsonType::array, at); }
  void end_object(std::size_t /*at*/) override {
    if (leave_beyond()) return;
    finish_object(here());
    close();
  }
  void end_array(std::size_t /*at*/) override {
    if (leave_beyond()) return;
    finish_array(here());
    close();
  }
  void key(const JsonText& text) override;
  void string(const JsonText& text) override;
  void number(double value, std::size_t at) override;
  void boolean(bool value, std::size_t at) override {
    if (beyond_ != 0) return;
    (void)admit(detail::JsonType::boolean, at);
    add_value(value ? 3 : 2);
  }
  void null(std::size_t at) override;

 private:
  struct Frame {
    detail::Shape shape = detail::Shape::free;
    detail::JsonType type = detail::JsonType::object;
    detail::KeySlot slot = detail::KeySlot::plain;
    bool paid = true;                       ///< its texts are trained on
    std::uint32_t seen = 0;                 ///< a bit for each key that it may have
    const detail::KeyRule* rule = nullptr;  ///< of the value that comes next; null: it may be anything
    std::size_t at = 0;
    std::size_t keys_begin = 0;  ///< of its keys in keys_
    std::uint64_t count = 0;     ///< values
    std::uint64_t key_hash = 0;  ///< of the key at hand
    std::uint64_t hash = 0;
  };
  struct Called {
    std::uint64_t name;
    std::size_t at;
  };
  static constexpr std::size_t keys_max = 256;
  static constexpr std::size_t tools_max = 128;

  [[nodiscard]] Frame& here() noexcept { return frames_[depth_ - 1]; }
  [[nodiscard]] std::uint64_t hash_of(std::string_view text) const noexcept { return hash_bytes(text, seed_); }
  void add(FindingCode code, std::size_t at, std::string_view words) {
    findings_.add(code, at, [words] { return std::string{words}; });
  }
  bool leave_beyond() noexcept {
    if (beyond_ == 0) return false;
    --beyond_;
    return true;
  }

  void open(detail::JsonType type, std::size_t at);
  void close();
  const detail::KeyRule* admit(detail::JsonType type, std::size_t at);
  void wrong_type(const detail::KeyRule& rule, detail::JsonType type, std::size_t at);
  void add_value(std::uint64_t hash) noexcept;
  void count_text(const JsonText& text, bool paid);
  /// True if a value at hand is trained on, by its rule: what a grader reads is not.
  [[nodiscard]] bool is_paid(const detail::KeyRule* rule) noexcept {
    return depth_ != 0 && here().paid && (rule != nullptr || here().shape != detail::Shape::reinforcement);
  }

  void known_key(Frame& frame, std::size_t number, const JsonText& text);
  void other_key(Frame& frame, const JsonText& text);
  void unknown_key(const Frame& frame, const JsonText& text);
  void duplicate_key(const JsonText& text) {
    findings_.add(FindingCode::duplicate_key, text.at,
                  [&] { return "key " + quoted(text.text) + " is there twice; take one out"; });
  }

  void finish_object(Frame& frame);
  void finish_array(Frame& frame);
  void finish_part(const Frame& frame);
  void finish_example(Frame& frame);

  void take(detail::KeySlot slot, const JsonText& text);
  void take_role(const JsonText& text);
  void take_part_type(const JsonText& text);
  void take_url(const JsonText& text);
  void take_function_name(const JsonText& text);
  void take_arguments(const JsonText& text);
  void expect_name(const JsonText& text);
  void expect_word(const JsonText& text, std::string_view first, std::string_view second = {},
                   std::string_view third = {});

  LineFindings& findings_;
  const std::uint64_t seed_;
  DatasetFormat format_ = DatasetFormat::chat;
  detail::KeyRule root_;
  std::array<Frame, json_depth_max> frames_;
  std::size_t depth_ = 0;
  std::size_t beyond_ = 0;  // open brackets past the deepest frame: a parser that keeps its promise brings none
  std::vector<std::uint64_t> keys_;  // hashes of the keys of every open object
  detail::TalkRules talk_;
  detail::Message message_;
  detail::Mark part_type_at_;
  std::optional<detail::MessagePart> part_type_;
  std::vector<std::uint64_t> declared_;  // tools, by the hash of their names
  std::vector<Called> called_;
  detail::Mark tools_at_;
  detail::Mark other_at_;  // a key of another format
  DatasetFormat other_format_ = DatasetFormat::chat;
  detail::Mark preferred_at_;
  std::uint64_t preferred_ = 0;
  std::uint64_t non_preferred_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t hash_ = 0;
};

// --- the walk --------------------------------------------------------------------------------------------------------

inline void ExampleChecker::open(detail::JsonType type, std::size_t at) {
  if (beyond_ != 0 || depth_ == frames_.size()) {
    ++beyond_;
    return;
  }
  const detail::KeyRule* rule = admit(type, at);
  Frame& frame = frames_[depth_];
  frame = {};
  frame.paid = depth_ == 0 || is_paid(rule);
  ++depth_;
  frame.shape = rule == nullptr ? detail::Shape::free : rule->child;
  frame.slot = rule == nullptr ? detail::KeySlot::plain : rule->slot;
  frame.type = type;
  frame.at = at;
  frame.keys_begin = keys_.size();
  if (type == detail::JsonType::array) frame.rule = detail::item_of(frame.shape);
  switch (frame.shape) {
    case detail::Shape::messages:
      talk_.begin(format_ == DatasetFormat::dpo             ? detail::Talk::dpo_input
                  : format_ == DatasetFormat::reinforcement ? detail::Talk::reinforcement
                                                            : detail::Talk::chat,
                  at);
      break;
    case detail::Shape::outputs:
      talk_.begin(detail::Talk::output, at);
      break;
    case detail::Shape::message:
      message_ = {};
      message_.at = at;
      tokens_ += 3 * token_parts;  // what stands around a message
      break;
    case detail::Shape::parts:
      message_.content = detail::Message::Content::parts;
      message_.content_at = at;
      message_.content_blank = true;
      break;
    case detail::Shape::part:
      part_type_at_ = {};
      part_type_ = {};
      break;
    case detail::Shape::tools:
      tools_at_ = at;
      break;
    default:
      break;
  }
  if (frame.slot == detail::KeySlot::tool_calls) message_.tool_calls_at = at;
  if (frame.slot == detail::KeySlot::audio) message_.audio_at = at;
  if (frame.slot == detail::KeySlot::old) message_.old_call_at = at;
}

inline void ExampleChecker::close() {
  Frame& frame = here();
  const std::uint64_t hash = detail::mix(frame.hash ^ detail::mix(frame.count << 3 | bit_of(frame.type)));
  if (frame.slot == detail::KeySlot::preferred) preferred_ = hash;
  if (frame.slot == detail::KeySlot::preferred) preferred_at_ = frame.at;
  if (frame.slot == detail::KeySlot::non_preferred) non_preferred_ = hash;
  keys_.resize(frame.keys_begin);
  --depth_;
  add_value(hash);
}

/// The rule of the value at hand; null if it has none, or the wrong type.
inline const detail::KeyRule* ExampleChecker::admit(detail::JsonType type, std::size_t at) {
  if (depth_ == 0) {
    if (type == detail::JsonType::object) return &root_;
    findings_.add(FindingCode::not_an_object, at, [type] {
      return "an example is an object {...}, not " + std::string{to_string(type)} +
             (type == detail::JsonType::array ? "; take the brackets off, one object a line"
                                              : "; write one object a line");
    });
    return nullptr;
  }
  Frame& frame = here();
  ++frame.count;
  if (frame.rule == nullptr || (frame.rule->types & bit_of(type)) != 0) return frame.rule;
  wrong_type(*frame.rule, type, at);
  return nullptr;
}

inline void ExampleChecker::wrong_type(const detail::KeyRule& rule, detail::JsonType type, std::size_t at) {
  findings_.add(FindingCode::wrong_type, at, [&] {
    const bool item = here().type == detail::JsonType::array;
    const std::string name = item ? std::string{rule.name} : '"' + std::string{rule.name} + '"';
    return name + " is " + std::string{to_string(type)} + "; expected " + detail::words_of(rule.types) +
           (type == detail::JsonType::null && !item && !rule.required ? ", or leave it out" : "");
  });
  // What else would be said of these follows from their type alone.
  switch (rule.slot) {
    case detail::KeySlot::content:
      message_.content = detail::Message::Content::wrong;
      break;
    case detail::KeySlot::tool_call_id:
      message_.broken = true;
      break;
    case detail::KeySlot::tool_calls:
      message_.tool_calls_at = at;
      break;
    default:
      break;
  }
}

inline void ExampleChecker::add_value(std::uint64_t hash) noexcept {
  if (depth_ == 0) {
    hash_ = hash;
    return;
  }
  Frame& frame = here();
  if (frame.type == detail::JsonType::object)
    frame.hash += detail::mix(frame.key_hash ^ detail::mix(hash));  // a sum: whatever the order of the keys
  else
    frame.hash = detail::mix(detail::mix(frame.hash) ^ hash);
}

inline void ExampleChecker::count_text(const JsonText& text, bool paid) {
  const std::uint64_t parts = scan_text(text.text, [&](Sensitive kind, std::size_t byte) {
    const bool email = kind == Sensitive::email;
    findings_.add(email ? FindingCode::email_address : FindingCode::secret, text.place(byte), [&] {
      return "looks like " + std::string{describe(kind)} +
             (email ? "; whoever has the model may get it out: replace it"
                    : "; whoever has the model may get it out: replace it, and make the old one void");
    });
  });
  if (paid) tokens_ += parts;
}

inline void ExampleChecker::key(const JsonText& text) {
  if (beyond_ != 0 || depth_ == 0) return;
  Frame& frame = here();
  frame.key_hash = hash_of(text.text);
  frame.rule = nullptr;
  const auto rules = keys_of(frame.shape);
  for (std::size_t i = 0; i != rules.size(); ++i)
    if (rules[i].name == text.text) return known_key(frame, i, text);
  other_key(frame, text);
}

inline void ExampleChecker::known_key(Frame& frame, std::size_t number, const JsonText& text) {
  frame.rule = &keys_of(frame.shape)[number];
  const std::uint32_t bit = std::uint32_t{1} << number;
  if ((frame.seen & bit) != 0) duplicate_key(text);
  frame.seen |= bit;
  if (frame.rule->slot == detail::KeySlot::old)
    findings_.add(FindingCode::deprecated_key, text.at, [&] {
      return quoted(text.text) + " is what providers give up; write " +
             (text.text == "functions" ? "tools" : "tool_calls, with tool messages that answer");
    });
}

inline void ExampleChecker::other_key(Frame& frame, const JsonText& text) {
  const std::size_t count = keys_.size() - frame.keys_begin;
  bool again = false;
  for (std::size_t i = frame.keys_begin; i != keys_.size(); ++i) again |= keys_[i] == frame.key_hash;
  if (again)
    duplicate_key(text);
  else if (count != keys_max)
    keys_.push_back(frame.key_hash);
  if (frame.shape == detail::Shape::free)
    count_text(text, frame.paid);
  else if (!is_open(frame.shape))
    unknown_key(frame, text);
}

}  // namespace canary

#include "canary/control/dataset_values.hpp"  // IWYU pragma: export
