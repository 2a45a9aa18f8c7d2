// Any bytes as CSV: records or one InputError, and the same whatever the pieces in which the bytes come.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "csv_reader.hpp"

namespace {

using namespace canary::cli;

/// Everything that reading a text brings: its records with their lines, and the fault that ended it.
struct Outcome {
  std::vector<std::string> records;
  std::string fault;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Reads `text` in pieces whose sizes the bytes of `cuts` give, over and over; whole when there are none.
Outcome read(std::string_view text, std::string_view cuts, bool keep_last) {
  Outcome outcome;
  CsvReader reader;
  const auto take = [&](const CsvRecord& record) {
    std::string flat = std::to_string(record.line);
    for (const std::string_view field : record.fields) (flat += '|') += field;
    if (keep_last && outcome.records.empty()) reader.keep(record.fields.size() - 1, record.fields.size());
    outcome.records.push_back(std::move(flat));
  };
  try {
    for (std::size_t cut = 0; !text.empty(); ++cut) {
      const std::size_t piece = cuts.empty() ? text.size() : 1 + static_cast<unsigned char>(cuts[cut % cuts.size()]);
      reader.feed(text.substr(0, piece), take);
      text.remove_prefix(std::min(piece, text.size()));
    }
    reader.finish(take);
  } catch (const InputError& error) {
    outcome.fault = std::to_string(error.line) + ':' + std::to_string(error.column) + ' ' + error.what();
    if (error.line == 0) std::abort();
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const std::size_t count =
      std::min<std::size_t>(1 + (data[0] & 7), size);  // the first bytes say how to cut the others
  const std::string_view cuts = bytes.substr(0, count);
  const std::string_view text = bytes.substr(count);
  for (const bool keep_last : {false, true}) {
    const Outcome whole = read(text, {}, keep_last);
    if (read(text, cuts, keep_last) != whole) std::abort();
    if (read(text, std::string_view{"\0", 1}, keep_last) != whole) std::abort();  // byte by byte
  }
  return 0;
}
