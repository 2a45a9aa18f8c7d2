// bench_dataset: how fast training data is looked through, and what of that is which part.
//
//   bench_dataset [--folder DIR] [--mb N] [--rounds N] [--out FILE]
//
// A file of N MB is written once, of chats as they are in practice: two to eight messages of 10 to 120 words, a tenth of them with
// calls, a twentieth in other scripts. One thread checks it, parts of it alone, and hashes it; rounds take turns. Every round
// of a check must find the same.
#include <boost/json/src.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "canary/adapters/json_dataset.hpp"
#include "canary/control/sha256.hpp"
#include "support.hpp"

namespace canary::bench {
namespace {

struct Options {
  std::filesystem::path folder = ".";
  std::uint64_t mb = 600;
  int rounds = 5;
  const char* out = nullptr;
};

constexpr std::array<std::string_view, 24> words{"the",       "of",   "visa",      "application", "is",   "a",
                                                 "document",  "that", "you",       "passport",    "to",   "please",
                                                 "checklist", "and",  "embassy",   "for",         "in",   "travel",
                                                 "insurance", "with", "statement", "we",          "bank", "required"};
constexpr std::array<std::string_view, 8> foreign{
    "\u00FCbersetzung", "\u65E5\u672C\u8A9E", "\u043F\u0430\u0441\u043F\u043E\u0440\u0442",
    "\u00E9tudiant",    "\u4F60\u597D",       "\u0623\u0647\u0644\u0627",
    "se\u00F1or",       "\U0001F600"};

void add_text(std::string& to, Random& random, bool other_script) {
  for (std::uint64_t left = 10 + random() % 110; left != 0; --left) {
    to += other_script && left % 3 == 0 ? foreign[random() % foreign.size()] : words[random() % words.size()];
    const std::uint64_t break_after = random() % 40;
    to += break_after == 0 ? "\\n" : break_after == 1 ? ". " : break_after == 2 ? " \\\"" : " ";
  }
}

void add_example(std::string& to, Random& random, std::uint64_t number) {
  const bool other_script = random() % 20 == 0;
  to += R"({"messages": [{"role": "system", "content": "You check documents, case )" + std::to_string(number) + "\"}";
  const bool calls = random() % 10 == 0;
  for (std::uint64_t turns = 1 + random() % 4; turns != 0; --turns) {
    to += R"(, {"role": "user", "content": ")";
    add_text(to, random, other_script);
    if (calls)
      to +=
          R"("}, {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{\"country\": \"FR\", \"days\": 90}"}}]}, {"role": "tool", "tool_call_id": "call_1", "content": "90 days)";
    to += R"("}, {"role": "assistant", "content": ")";
    add_text(to, random, other_script);
    to += "\"}";
  }
  to +=
      calls
          ? R"(], "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"country": {"type": "string"}}}}}]})"
            "\n"
          : "]}\n";
}

/// Examples that were written.
std::uint64_t write_file(const std::string& path, std::uint64_t bytes) {
  std::ofstream out{path, std::ios::binary};
  Random random{600};
  std::uint64_t examples = 0;
  std::string block;
  for (std::uint64_t written = 0; written < bytes; written += block.size(), block.clear()) {
    while (block.size() < (std::size_t{1} << 20)) add_example(block, random, examples++);
    out.write(block.data(), static_cast<std::streamsize>(block.size()));
  }
  return out.flush() ? examples : 0;
}

/// Gives the file's bytes in blocks; how many there were.
std::uint64_t read_file(const std::string& path, const std::function<void(std::string_view)>& take) {
  std::vector<char> block(std::size_t{1} << 18);
  std::FILE* in = std::fopen(path.c_str(), "rb");
  std::uint64_t bytes = 0;
  while (const std::size_t got = std::fread(block.data(), 1, block.size(), in)) {
    take({block.data(), got});
    bytes += got;
  }
  std::fclose(in);
  return bytes;
}

class Ignored final : public JsonEvents {
  void begin_object(std::size_t /*at*/) override {}
  void end_object(std::size_t /*at*/) override {}
  void begin_array(std::size_t /*at*/) override {}
  void end_array(std::size_t /*at*/) override {}
  void key(const JsonText& /*text*/) override {}
  void string(const JsonText& /*text*/) override {}
  void number(double /*value*/, std::size_t /*at*/) override {}
  void boolean(bool /*value*/, std::size_t /*at*/) override {}
  void null(std::size_t /*at*/) override {}
};

struct Part {
  std::string what;
  std::function<bool()> run;  ///< false: a wrong answer
  std::vector<double> seconds = {};
};

double private_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1'024;
}

/// Everything that a report says, as one number.
std::uint64_t checksum(const DatasetReport& report) {
  std::uint64_t sum = report.estimate.tokens + report.examples;
  for (const FindingCount& each : report.counts) sum = detail::mix(sum ^ hash_bytes(each.code, each.count));
  for (const Finding& each : report.findings)
    sum = detail::mix(sum ^ hash_bytes(each.message, each.line << 20 | each.column));
  return sum;
}

bool run_all(const Options& options) {
  std::FILE* out = options.out == nullptr ? stdout : std::fopen(options.out, "w");
  if (out == nullptr) return false;
  const std::string path = (options.folder / "dataset.jsonl").string();
  const std::uint64_t examples = write_file(path, options.mb * 1'000'000);
  const std::uint64_t bytes = std::filesystem::file_size(path);
  std::uint64_t sum = 0;
  std::uint64_t findings = 0;
  std::string sha256;
  double grown_mb = 0;
  const auto same = [](auto& known, const auto& value) {
    if (known == std::remove_reference_t<decltype(known)>{}) known = value;
    return known == value;
  };
  std::vector<Part> parts;
  parts.push_back({"the whole check", [&] {
                     const double before = private_mb();
                     const DatasetReport report = check_dataset({.training = path}, {});
                     grown_mb = std::max(grown_mb, private_mb() - before);
                     findings = report.errors + report.warnings;
                     return report.examples == examples && same(sum, checksum(report)) &&
                            same(sha256, report.training_sha256);
                   }});
  parts.push_back({"the same without SHA-256",
                   [&] { return same(sum, checksum(check_dataset({.training = path}, {.sha256 = false}))); }});
  parts.push_back({"lines, and the parser alone", [&] {
                     detail::BoostJsonParser parser;
                     LineCutter cutter{std::size_t{1} << 25};
                     Ignored events;
                     std::uint64_t good = 0;
                     (void)read_file(path, [&](std::string_view block) {
                       cutter.feed(block, [&](std::string_view line, bool) { good += parser.parse(line, events); });
                     });
                     return good == examples;
                   }});
  parts.push_back({"SHA-256 alone", [&] {
                     Sha256 hash;
                     (void)read_file(path, [&](std::string_view block) { hash.add(block); });
                     return same(sha256, hash.finish());
                   }});
  parts.push_back({"reading alone", [&] { return read_file(path, [](std::string_view) {}) == bytes; }});
  bool right = examples != 0;
  for (int round = 0; round != options.rounds; ++round)
    for (Part& part : parts) {
      const std::int64_t begin = now_ns();
      right = part.run() && right;
      part.seconds.push_back(static_cast<double>(now_ns() - begin) / 1e9);
    }
  std::filesystem::remove(path);
  std::fprintf(out, "{\"context\": {\"compiler\": \"%s\", \"flags\": \"%s\"},\n\"rows\": [", __VERSION__,
               CANARY_BENCH_FLAGS);
  const char* comma = "";
  for (Part& part : parts) {
    std::sort(part.seconds.begin(), part.seconds.end());
    const double mb = static_cast<double>(bytes) / 1e6;
    std::fprintf(out, "%s\n{\"what\": \"%s\", \"mb_per_s\": %.1f, \"best_mb_per_s\": %.1f}", comma, part.what.c_str(),
                 mb / part.seconds[part.seconds.size() / 2], mb / part.seconds.front());
    comma = ",";
  }
  std::fprintf(
      out,
      "\n],\n\"bytes\": %llu, \"examples\": %llu, \"findings\": %llu, \"checksum\": \"%016llx\", \"rounds\": %d, "
      "\"grown_mb\": %.1f, \"bytes_per_example\": %.1f, \"right\": %s}\n",
      static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(examples),
      static_cast<unsigned long long>(findings), static_cast<unsigned long long>(sum), options.rounds, grown_mb,
      grown_mb * 1'048'576 / static_cast<double>(examples), right ? "true" : "false");
  if (out != stdout) std::fclose(out);
  if (!right) std::fprintf(stderr, "a round found something else: the timing is void\n");
  return right;
}

}  // namespace
}  // namespace canary::bench

int main(int argc, char** argv) {
  canary::bench::pin_to(0);
  canary::bench::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--folder") == 0) options.folder = argv[i + 1];
    if (std::strcmp(argv[i], "--mb") == 0) options.mb = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--rounds") == 0) options.rounds = std::max(1, std::atoi(argv[i + 1]));
    if (std::strcmp(argv[i], "--out") == 0) options.out = argv[i + 1];
  }
  return canary::bench::run_all(options) ? 0 : 1;
}
