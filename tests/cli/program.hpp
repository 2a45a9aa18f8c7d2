// program.hpp: runs the built program as a user would, and looks at all that comes back.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

namespace canary::test {

struct Answer {
  int exit = -1;  ///< 128 + signal when it was killed
  std::string out;
  std::string err;
};

/// A folder of its own, in which the program runs; gone at the end.
class Place {
 public:
  Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  void write(const std::string& name, std::string_view text) const;
  [[nodiscard]] std::string read(const std::string& name) const;

  /// Runs `canary` with these arguments; the environment holds PATH, HOME and these variables alone.
  [[nodiscard]] Answer run(const std::vector<std::string>& arguments, std::string_view input = {},
                           const std::vector<std::pair<std::string, std::string>>& environment = {}) const;

  /// Runs a line of bash in which $CANARY is the program.
  [[nodiscard]] Answer shell(const std::string& line, const std::string& shell = "bash") const;

  /// Runs with --json and reads the one document that comes back; also fails when stderr is not empty.
  [[nodiscard]] boost::json::object json(std::vector<std::string> arguments, std::string_view input = {}) const;

  /// As above for a command that is to fail: its exit code and the error in the document.
  [[nodiscard]] std::pair<int, boost::json::object> failure(std::vector<std::string> arguments) const;

 private:
  std::filesystem::path path_;
};

/// A place with a canary.toml: task `checks` with two versions at 10 % and 5 %, task `risks` with none.
class ConfiguredPlace : public Place {
 public:
  ConfiguredPlace();
};

[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

[[nodiscard]] std::string text_of(const boost::json::value& value);

}  // namespace canary::test
