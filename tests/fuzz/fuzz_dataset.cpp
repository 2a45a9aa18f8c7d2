// Any bytes as training data: the same report whatever the pieces in which they come; what the parser refuses is explained, and
// nothing else; places lie within the file; counts and findings agree.
#include <boost/json/src.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "canary/adapters/json_dataset_events.hpp"
#include "canary/control/dataset_pass.hpp"

namespace {

using namespace canary;

/// Looks through `text` in pieces whose sizes the bytes of `cuts` give, over and over; whole when there are none.
DatasetReport check(std::string_view text, std::string_view cuts, const DatasetOptions& options, bool validation) {
  static detail::BoostJsonParser parser;
  DatasetPass pass{[](std::string_view line, JsonEvents& events) { return parser.parse(line, events); }, options, 1};
  for (const bool second : {false, true}) {
    if (second && !validation) break;
    std::string_view left = text;
    pass.begin("file", second);
    for (std::size_t cut = 0; !left.empty(); ++cut) {
      const std::size_t piece = cuts.empty() ? left.size() : 1 + static_cast<unsigned char>(cuts[cut % cuts.size()]);
      pass.feed(left.substr(0, piece));
      left.remove_prefix(std::min(piece, left.size()));
    }
    pass.end();
  }
  return pass.report();
}

void expect(bool good) {
  if (!good) std::abort();
}

void expect_sound(const DatasetReport& report, std::string_view text, const DatasetOptions& options) {
  std::uint64_t errors = 0;
  std::uint64_t warnings = 0;
  for (const FindingCount& each : report.counts) (each.severity == Severity::error ? errors : warnings) += each.count;
  expect(errors == report.errors && warnings == report.warnings && report.ok == (errors == 0));
  expect(report.findings.size() <= 2 * options.findings_max && report.findings.size() <= errors + warnings);
  const auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  for (const Finding& finding : report.findings) {
    expect(finding.line <= lines && finding.column <= text.size() + 1);
    expect((finding.line == 0) == (finding.column == 0));
    expect(!finding.message.empty() && first_invalid_utf8(finding.message) == finding.message.size());
  }
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

void expect_explained(std::string_view text) {
  detail::BoostJsonParser parser;
  Ignored events;
  const bool good = parser.parse(text, events);
  const auto fault = explain_json(text);
  expect(good != fault.has_value() || (fault && fault->code == FindingCode::number_too_large));
  expect(!fault || fault->at <= text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  // The first byte says how, the next ones how to cut the others.
  DatasetOptions options;
  if ((data[0] & 7) < 4) options.format = dataset_formats[data[0] & 7];
  const bool validation = (data[0] & 8) != 0;
  if ((data[0] & 16) != 0) options.line_bytes_max = 64;
  if ((data[0] & 32) != 0) options.findings_max = 3;
  const std::size_t count = std::min<std::size_t>(1 + (data[0] >> 6), size);
  const std::string_view cuts = bytes.substr(0, count);
  const std::string_view text = bytes.substr(count);
  const DatasetReport whole = check(text, {}, options, validation);
  expect_sound(whole, text, options);
  for (const std::string_view pieces : {cuts, std::string_view{"\0", 1}}) {  // also byte by byte
    const DatasetReport cut = check(text, pieces, options, validation);
    expect(cut.findings == whole.findings && cut.counts == whole.counts && cut.estimate == whole.estimate);
    expect(cut.examples == whole.examples && cut.format == whole.format &&
           cut.training_sha256 == whole.training_sha256);
  }
  expect_explained(text.substr(0, text.find('\n')));
  return 0;
}
