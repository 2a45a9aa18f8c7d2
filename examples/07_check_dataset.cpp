// Training data looked through before anything is paid for it:
//   canary_example_07_check_dataset [TRAIN [VAL]]
// Without a file it writes one of its own, with three faults.
#include <canary/adapters/json_dataset.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include <boost/json/src.hpp>  // once in a program, or link Boost::json

namespace {

/// True if it can be trained on.
bool check(const std::string& train, const std::string& val) {
  // [readme:dataset]
  canary::DatasetOptions options;
  options.limits = canary::dataset_limits(canary::ProviderKind::openai);  // who trains decides what is refused
  options.usd_per_million_tokens = 3.0;
  const canary::DatasetReport report = canary::check_dataset({.training = train, .validation = val}, options);
  for (const canary::Finding& each : report.findings)
    std::cout << each.file << ':' << each.line << ':' << each.column << ": " << each.message << '\n';
  std::cout << report.errors << " errors; about " << report.estimate.tokens << " tokens an epoch, "
            << report.estimate.epochs << " epochs, $" << report.estimate.cost_usd.value_or(0) << '\n';
  // [/readme:dataset]
  return report.ok;
}

void write(const std::string& path) {
  std::ofstream file{path};
  for (int i = 0; i != 10; ++i)
    file << R"({"messages":[{"role":"user","content":"question )" << i << R"("},{"role":"assistant","content":"answer )"
         << i << "\"}]}\n";
  file << R"({"messages":[{"role":"user","content":"question 3"},{"role":"assistant","content":"answer 3"}]})"
          "\n"
          R"({"messages":[{"role":"human","content":"a"},{"role":"assistant","content":"b"}]})"
          "\n"
          R"({"messages":[{"role":"user","content":"a"},]})"
          "\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) return check(argv[1], argc > 2 ? argv[2] : "") ? 0 : 5;
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "canary-example-07.jsonl";
  write(path.string());
  const bool good = check(path.string(), "");
  std::filesystem::remove(path);
  return good ? 1 : 0;  // its faults were found
}
