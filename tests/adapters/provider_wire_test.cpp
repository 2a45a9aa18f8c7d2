// What a fine-tune API says, read without trust.
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include "canary/adapters/provider_http.hpp"
#include "canary/adapters/provider_jobs.hpp"
#include "canary/adapters/provider_wire.hpp"

namespace provider_wire_test {

using namespace canary;
using namespace canary::detail;

TEST_CASE("provider wire: every known word has its status, and an unknown one runs on", "[adapters][provider]") {
  for (const char* word : {"validating_files", "queued", "pending", "STARTED", "VALIDATING", "VALIDATED", "Queued"})
    CHECK(status_of(word) == JobStatus::queued);
  for (const char* word : {"running", "compressing", "uploading", "pausing", "paused", "resuming", "cancel_requested",
                           "RUNNING", "reticulating_splines", "", "succeeded ", "suc\nceeded"})
    CHECK(status_of(word) == JobStatus::running);
  for (const char* word : {"succeeded", "completed", "SUCCEEDED"}) CHECK(status_of(word) == JobStatus::succeeded);
  for (const char* word : {"failed", "error", "FAILED_VALIDATION", "user_error"})
    CHECK(status_of(word) == JobStatus::failed);
  for (const char* word : {"cancelled", "canceled", "CANCELLED"}) CHECK(status_of(word) == JobStatus::cancelled);
  CHECK(status_of(std::string(1'000'000, 'x')) == JobStatus::running);
}

TEST_CASE("provider wire: times are read in each of their forms, and nonsense is none", "[adapters][provider]") {
  const auto time = [](const char* json) { return time_of(*parse_said(json)); };
  CHECK(time("1799884800") == 1'799'884'800);
  CHECK(time("1799884800.75") == 1'799'884'800);
  CHECK(time("\"1799884800\"") == 1'799'884'800);
  CHECK(time("\"2027-01-14\"") == 1'799'884'800);
  CHECK(time("\"2027-01-14T00:00:00Z\"") == 1'799'884'800);
  CHECK(time("\"2027-01-14t00:00:00.123456z\"") == 1'799'884'800);
  CHECK(time("\"2027-01-14 00:00:00\"") == 1'799'884'800);
  CHECK(time("\"2027-01-14T02:30:00+02:30\"") == 1'799'884'800);
  CHECK(time("\"2027-01-13T23:00:00-01:00\"") == 1'799'884'800);
  for (const char* json :
       {"null", "true", "0", "-5", "1e300", "-1e300", "1799884800000000", "18446744073709551615", "\"\"", "\"soon\"",
        "\"2027-02-30\"", "\"2027-13-01\"", "\"2027-01-14T25:00:00Z\"", "\"2027-01-14T00:00:00+99:00\"",
        "\"2027-01-14T00:00:00.Z\"", "\"2027-01-14T00:00:00 or so\"", "\"0001-01-01\"", "[2027]", "{\"a\":1}"}) {
    INFO(json);
    CHECK_FALSE(time(json));
  }
}

TEST_CASE("provider wire: words are shown on one line, cut, and without the key", "[adapters][provider]") {
  const std::string_view key = "sk-0123456789";
  CHECK(said_words("plain", key) == "plain");
  CHECK(said_words("a\n\tb\x1b[31mc\xE2\x80\xAE"
                   "d",
                   key) == "a b [31mc d");
  CHECK(said_words("\xFF\xC3\xA9", key) == "\xEF\xBF\xBD\xC3\xA9");
  CHECK(said_words("your key sk-0123456789 and sk-0123456789", key) == "your key *** and ***");
  CHECK(said_words("short", "sh") == "short");
  CHECK(said_words(std::string(495, 'x') + "sk-0123456789", key).find("0123") == std::string::npos);
  CHECK(said_words(std::string(1'000, 'x'), key) == std::string(500, 'x') + "...");
  CHECK(said_words("\xC3\xA9\xC3\xA9", key, 3) == "\xC3\xA9\xC3\xA9");
}

TEST_CASE("provider wire: names that could not be kept or sent again are none", "[adapters][provider]") {
  const auto name = [](const std::string& text) {
    const boost::json::value value = boost::json::string{text.data(), text.size()};
    return Said{value, "sk-0123456789"}.name();
  };
  CHECK(name("ft:gpt-4o-mini:acme:visa-v7:8abc") == "ft:gpt-4o-mini:acme:visa-v7:8abc");
  CHECK(name("acme/Meta-Llama-3-8B-visa-0a1b") == "acme/Meta-Llama-3-8B-visa-0a1b");
  CHECK(name("") == "");
  CHECK(name("a\nb") == "");
  CHECK(name(std::string(513, 'x')) == "");
  CHECK(name("ft:sk-0123456789") == "");
  CHECK(Said{boost::json::value{7}, ""}.name() == "");
}

TEST_CASE("provider wire: an error's words are found in each of the forms that servers have", "[adapters][provider]") {
  const auto words = [](std::string_view body) { return fault_of(body, "sk-0123456789").words; };
  CHECK(words(R"({"error":{"message":"No such job","type":"invalid_request_error","code":"not_found"}})") ==
        "No such job (not_found)");
  CHECK(words(R"({"error":{"message":"No such job","type":"invalid_request_error","code":null}})") ==
        "No such job (invalid_request_error)");
  CHECK(words(R"({"error":"No such job"})") == "No such job");
  CHECK(words(R"({"message":"No such job","code":404})") == "No such job");
  CHECK(words(R"({"detail":"No such job"})") == "No such job");
  CHECK(words(R"({"detail":[{"loc":["body"],"msg":"field required"}]})").find("field required") != std::string::npos);
  CHECK(words("<html>\x1b[31mBad gateway sk-0123456789</html>") == "<html> [31mBad gateway ***</html>");
  CHECK(words("") == "");
  CHECK(words("null") == "");
  CHECK(words("[]") == "[]");
}

TEST_CASE("provider wire: deep and broken JSON is none", "[adapters][provider]") {
  CHECK_FALSE(parse_said(""));
  CHECK_FALSE(parse_said("{\"a\":"));
  CHECK_FALSE(parse_said("{} {}"));
  CHECK_FALSE(parse_said("{\"a\":\"\xFF\"}"));
  CHECK_FALSE(parse_said(std::string(1'000'000, '[')));
  CHECK(parse_said("{}"));
}

TEST_CASE("provider wire: a platform that is closed to new users is known by its words", "[adapters][provider]") {
  CHECK(says_closed("Fine-tuning is no longer available to new users."));
  CHECK(says_closed("The self-serve fine-tuning platform is being wound down"));
  CHECK(says_closed("Your organization cannot create fine_tuning jobs: closed to new customers"));
  CHECK_FALSE(says_closed("You are not allowed to create fine-tuning jobs in this project"));
  CHECK_FALSE(says_closed("This endpoint is no longer there"));
  CHECK_FALSE(says_closed(""));
}

TEST_CASE("provider wire: suffixes have letters, digits and hyphens, and an end", "[adapters][provider]") {
  CHECK(suffix_of("visa-v7", 64) == "visa-v7");
  CHECK(suffix_of("  Visa v7.1 / test ", 64) == "Visa-v7-1-test");
  CHECK(suffix_of("\xF0\x9F\x90\xA4", 64) == "");
  CHECK(suffix_of(std::string(100, 'x'), 64) == std::string(64, 'x'));
  CHECK(suffix_of("abc-def", 4) == "abc");
  CHECK(sent_file_name("/home/me/my data.jsonl") == "my_data.jsonl");
  CHECK(sent_file_name("data.txt") == "data.txt.jsonl");
}

TEST_CASE("provider wire: a list is known to be over at something old only if it falls", "[adapters][provider]") {
  const auto stops_at = [](const std::vector<std::int64_t>& times) {
    NewestFirst order;
    for (std::size_t i = 0; i != times.size(); ++i)
      if (order.all_seen(times[i], 100)) return static_cast<int>(i);
    return -1;
  };
  CHECK(stops_at({300, 200, 99, 98}) == 2);
  CHECK(stops_at({50, 40, 30}) == 1);
  CHECK(stops_at({10, 20, 30, 300}) == -1);
  CHECK(stops_at({10, 10, 10}) == -1);
  CHECK(stops_at({50, 300, 40, 30}) == -1);
  CHECK(stops_at({0, 0, 0}) == -1);
}

}  // namespace provider_wire_test
