#include <canary/adapters/json_dataset.hpp>

#include <cstdio>

#include <boost/json/src.hpp>  // once in a program, or link Boost::json

int main() {
  const canary::DatasetReport report = canary::check_dataset({.training = "/nonexistent/train.jsonl"}, {});
  for (const canary::Finding& finding : report.findings) std::puts(finding.message.c_str());
  return !report.ok && report.findings.size() == 1 && report.findings[0].code == "unreadable" ? 0 : 1;
}
