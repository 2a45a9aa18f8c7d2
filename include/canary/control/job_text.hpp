// job_text.hpp: a fine-tune job's whole row as one text, for stores that keep it in a column. Layer control.
// A line for each field, every field in its place; meant to be read by people too, at the prompt of their database:
//   id visa-7
//   task checks
//   status RUNNING
//   ...
// A job may hold any bytes, since providers do what they like. The text is UTF-8 without NUL all the same: line breaks,
// control characters, bytes that are no UTF-8 and the backslash stand there as \n, \xHH and \\, and are read back as they
// were. The form is part of the schema: it changes with the schema's number only.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "canary/control/job.hpp"
#include "canary/control/utf8.hpp"

namespace canary {

[[nodiscard]] std::string job_text(const Job& job);

/// Errors  nothing for a text that is not of job_text(), to the byte.
[[nodiscard]] std::optional<Job> parse_job(std::string_view text);

// ---------------------------------------------------------------------------------------------------------------------
namespace detail {

/// Every field once, in the order of the text: both directions go by this list.
template <class AnyJob, class Each>
void each_job_field(AnyJob& job, Each& each) {
  each("id", job.id);
  each("task", job.task);
  each("provider", job.provider);
  each("provider_job_id", job.provider_job_id);
  each("status", job.status);
  each("provider_status", job.provider_status);
  each("base_model", job.base_model);
  each("prompt_version", job.prompt_version);
  each("suffix", job.suffix);
  each("method", job.method.type);
  each("epochs", job.method.epochs);
  each("batch_size", job.method.batch_size);
  each("learning_rate_multiplier", job.method.learning_rate_multiplier);
  each("beta", job.method.beta);
  each("grader", job.method.grader);
  each("seed", job.method.seed);
  each("training_file", job.training_file);
  each("validation_file", job.validation_file);
  each("training_file_hash", job.training_file_hash);
  each("validation_file_hash", job.validation_file_hash);
  each("training_file_id", job.training_file_id);
  each("validation_file_id", job.validation_file_id);
  each("phase", job.phase);
  each("created_at_us", job.created_at_us);
  each("changed_at_us", job.changed_at_us);
  each("sent_at_us", job.sent_at_us);
  each("finished_at_us", job.finished_at_us);
  each("trained_tokens", job.trained_tokens);
  each("model", job.model);
  each("checkpoints", job.checkpoints);
  each("error", job.error);
  each("cancel_asked", job.cancel_asked);
  each("actor", job.actor);
  each("note", job.note);
  each("version", job.version);
  each("holder", job.holder);
  each("held_until_us", job.held_until_us);
  each("revision", job.revision);
}

/// The fields of a checkpoint, below the line with their count.
template <class AnyCheckpoint, class Each>
void each_checkpoint_field(AnyCheckpoint& checkpoint, Each& each) {
  each("checkpoint", checkpoint.model);
  each("step", checkpoint.step);
  each("metrics", checkpoint.metrics);
}

class JobWriter {
 public:
  template <class Field>
  void operator()(std::string_view name, const Field& field) {
    (text_ += name) += ' ';
    put(field);
    text_ += '\n';
  }
  /// Many of them follow their count, each on lines of its own.
  void operator()(std::string_view name, const std::vector<Checkpoint>& list) {
    (*this)(name, list.size());
    for (const Checkpoint& each : list) each_checkpoint_field(each, *this);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void put(const std::string& field) {
    std::string_view rest = field;
    while (!rest.empty()) {
      const std::size_t length = utf8_sequence(rest);
      const std::string_view character = rest.substr(0, std::max<std::size_t>(1, length));
      if (character == "\\")
        text_ += "\\\\";
      else if (character == "\n")
        text_ += "\\n";
      else if (length == 0 || is_control(character))
        for (const char byte : character) put_hex(static_cast<unsigned char>(byte));
      else
        text_ += character;
      rest.remove_prefix(character.size());
    }
  }
  void put_hex(unsigned char byte) {
    constexpr std::string_view digits = "0123456789abcdef";
    ((text_ += "\\x") += digits[byte >> 4]) += digits[byte & 15];
  }
  void put(bool field) { text_ += field ? "yes" : "no"; }
  void put(std::integral auto field) { text_ += std::to_string(field); }
  /// The shortest text that reads back as the same number, in any locale.
  void put(double field) {
    char digits[32];
    text_.append(digits, std::to_chars(std::begin(digits), std::end(digits), field).ptr);
  }
  void put(JobStatus field) { text_ += to_string(field); }
  void put(JobPhase field) { text_ += to_string(field); }
  void put(const std::optional<std::uint32_t>& field) {
    if (field) put(*field);
  }

  std::string text_;
};

/// Takes the lines of a text, one after the other; once it has failed it stays failed.
class JobReader {
 public:
  explicit JobReader(std::string_view text) noexcept : rest_{text} {}

  template <class Field>
  void operator()(std::string_view name, Field& field) {
    const std::string_view value = take_line(name);
    failed_ = failed_ || !get(value, field);
  }
  void operator()(std::string_view name, std::vector<Checkpoint>& list) {
    std::uint64_t count = 0;
    (*this)(name, count);
    // Each takes its lines off the text, which ends whatever the count says.
    for (; count != 0 && !failed_; --count) each_checkpoint_field(list.emplace_back(), *this);
  }
  [[nodiscard]] bool done() const noexcept { return !failed_ && rest_.empty(); }

 private:
  /// What stands behind `name ` on the next line.
  [[nodiscard]] std::string_view take_line(std::string_view name) noexcept {
    const std::size_t end = rest_.find('\n');
    std::string_view line = rest_.substr(0, end);
    if (failed_ || end == std::string_view::npos || !line.starts_with(name) || line.size() == name.size() ||
        line[name.size()] != ' ') {
      failed_ = true;
      return {};
    }
    rest_.remove_prefix(end + 1);
    line.remove_prefix(name.size() + 1);
    return line;
  }

  [[nodiscard]] static bool get(std::string_view text, std::string& field) {
    for (; !text.empty(); text.remove_prefix(1)) {
      char c = text.front();
      if (c == '\\') {
        text.remove_prefix(1);
        if (text.starts_with('n')) {
          c = '\n';
        } else if (text.starts_with('x')) {
          unsigned byte = 0;
          const std::string_view digits = text.substr(1, 2);
          const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
          if (error != std::errc{} || end != text.data() + 3) return false;
          text.remove_prefix(2);
          c = static_cast<char>(byte);
        } else if (!text.starts_with('\\')) {
          return false;
        }
      }
      field += c;
    }
    return true;
  }
  template <class Number>
  requires std::integral<Number> || std::floating_point<Number>
  [[nodiscard]] static bool get(std::string_view text, Number& field) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), field);
    return error == std::errc{} && end == text.data() + text.size();
  }
  [[nodiscard]] static bool get(std::string_view text, bool& field) {
    field = text == "yes";
    return field || text == "no";
  }
  [[nodiscard]] static bool get(std::string_view text, JobStatus& field) {
    const std::optional<JobStatus> status = parse_job_status(text);
    field = status.value_or(field);
    return status.has_value();
  }
  [[nodiscard]] static bool get(std::string_view text, JobPhase& field) {
    const std::optional<JobPhase> phase = parse_job_phase(text);
    field = phase.value_or(field);
    return phase.has_value();
  }
  [[nodiscard]] static bool get(std::string_view text, std::optional<std::uint32_t>& field) {
    return text.empty() || get(text, field.emplace());
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace detail

inline std::string job_text(const Job& job) {
  detail::JobWriter writer;
  detail::each_job_field(job, writer);
  return writer.take();
}

inline std::optional<Job> parse_job(std::string_view text) {
  Job job;
  job.method.type.clear();  // which a new job begins with
  detail::JobReader reader{text};
  detail::each_job_field(job, reader);
  if (!reader.done() || job_text(job) != text) return {};  // one way to write each
  return job;
}

}  // namespace canary
