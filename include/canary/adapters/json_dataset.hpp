// json_dataset.hpp: the preflight of training data in files. Layer adapters; needs Boost.JSON alone: link canary::json, and
// either Boost::json or one source of yours that includes <boost/json/src.hpp>.
//
//   const DatasetReport report = canary::check_dataset({.training = "train.jsonl", .validation = "val.jsonl"}, {});
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "canary/adapters/json_dataset_events.hpp"
#include "canary/adapters/json_dataset_file.hpp"
#include "canary/control/dataset.hpp"
#include "canary/control/dataset_pass.hpp"

namespace canary {

struct DatasetFiles {
  std::string training;
  std::string validation = {};  ///< empty: none
};

/// Bytes looked at, of so many; 0 of all when a pipe's size is not known.
using DatasetProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Looks through training data before anything is paid for it.
/// Input   files or pipes of any size and any bytes; each is read once, from its beginning to its end.
/// Output  every fault with its place, and an estimate; files that cannot be read are findings too. The SHA-256 of a file is
///         of the very bytes that were checked.
/// Errors  none but std::bad_alloc, and whatever `progress` throws.
/// Cost    some 150 MB/s of one core, SHA-256 included (bench/bench_dataset.cpp); memory: a block, the longest line up to
///         options.line_bytes_max, and 20 to 25 bytes for each example.
[[nodiscard]] inline DatasetReport check_dataset(const DatasetFiles& files, const DatasetOptions& options,
                                                 const DatasetProgress& progress = {}) {
  constexpr std::size_t block_bytes = std::size_t{1} << 18;  // stays in a core's own cache while it is looked at
  std::random_device random;
  detail::BoostJsonParser parser;
  DatasetPass pass{[&parser](std::string_view text, JsonEvents& events) { return parser.parse(text, events); }, options,
                   std::uint64_t{random()} << 32 | random()};
  std::vector<char> block(block_bytes);
  const std::uint64_t training_bytes = detail::DatasetFile::size(files.training);
  const std::uint64_t all =
      training_bytes + (files.validation.empty() ? 0 : detail::DatasetFile::size(files.validation));
  std::uint64_t done = 0;
  for (const bool validation : {false, true}) {
    const std::string& path = validation ? files.validation : files.training;
    if (validation && path.empty()) break;
    detail::DatasetFile file{pass, path, validation};
    const std::uint64_t before = done;
    while (file.read(block)) {
      done = before + pass.bytes();
      if (progress) progress(done, all);
    }
  }
  return pass.report();
}

}  // namespace canary
