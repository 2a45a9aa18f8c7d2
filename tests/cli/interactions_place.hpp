// interactions_place.hpp: what the tests of recorded interactions share.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "program.hpp"

namespace canary::test {

/// A database place with versions checks@1 and checks@2.
class RecordedPlace : public DatabasePlace {
 public:
  RecordedPlace() { register_models({"v1", "v2"}); }

  /// The first column of each row, a line each.
  [[nodiscard]] std::string ask(const std::string& query) const {
    sqlite3* opened = nullptr;
    if (sqlite3_open((path() / "canary.db").c_str(), &opened) != SQLITE_OK) throw std::runtime_error{"sqlite3_open"};
    const std::unique_ptr<sqlite3, int (*)(sqlite3*)> db{opened, sqlite3_close_v2};
    std::string text;
    const auto take = [](void* to, int, char** values, char**) {
      (*static_cast<std::string*>(to) += values[0] == nullptr ? "NULL" : values[0]) += '\n';
      return 0;
    };
    sqlite3_busy_timeout(opened, 10'000);
    if (sqlite3_exec(opened, query.c_str(), take, &text, nullptr) != SQLITE_OK)
      throw std::runtime_error{query + ": " + sqlite3_errmsg(opened)};
    if (!text.empty()) text.pop_back();
    return text;
  }

  /// Imports a text as a file; what came of it.
  boost::json::object import(std::string_view csv, std::vector<std::string> options,
                             const std::string& id = "checks@1") const {
    write("rows.csv", csv);
    std::vector<std::string> arguments{"interactions", "import",    id.substr(0, id.find('@')),
                                       "rows.csv",     "--version", id};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return json(arguments);
  }

  /// `interactions list` with these options, a document each.
  [[nodiscard]] std::vector<boost::json::object> list(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"--json", "interactions", "list"});
    const Answer answer = run(options);
    if (answer.exit != 0) throw std::runtime_error{answer.out + answer.err};
    std::vector<boost::json::object> rows;
    for (const std::string& line : lines_of(answer.out)) rows.push_back(boost::json::parse(line).as_object());
    return rows;
  }

  /// `interactions stats` with these options, by version.
  [[nodiscard]] std::map<std::string, boost::json::object> stats(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"interactions", "stats"});
    const boost::json::object answer = json(options);
    std::map<std::string, boost::json::object> all;
    for (const auto& each : answer.at("versions").as_array()) all[text_of(each.at("id"))] = each.as_object();
    return all;
  }

  /// Nothing was recorded, and no spool has a node.
  [[nodiscard]] bool is_untouched() const {
    return ask("SELECT (SELECT count(*) FROM interactions) + (SELECT count(*) FROM counts) + "
               "(SELECT count(*) FROM payloads) + (SELECT count(*) FROM spools) + "
               "(SELECT count(*) FROM recorded_tasks)") == "0";
  }
};

}  // namespace canary::test
