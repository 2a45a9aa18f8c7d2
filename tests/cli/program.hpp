// program.hpp: runs the built program as a user would, and looks at all that comes back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
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

/// A place whose canary.toml names an SQLite database: tasks `checks` and `risks`, no versions yet.
class DatabasePlace : public Place {
 public:
  DatabasePlace();

  /// Runs a command that is to succeed.
  void done(const std::vector<std::string>& arguments) const;

  /// Registers models for `checks`, in turn.
  void register_models(const std::vector<std::string>& models) const;

  /// Runs SQL on the database, past the program.
  void sql(const std::string& statements) const;

  /// The partition of a revision of `checks`, as the database has it.
  [[nodiscard]] std::string partition_text(std::uint32_t revision) const;

  /// Shares of `checks` in ppm by id, the default's included.
  [[nodiscard]] std::map<std::string, std::uint32_t> shares() const;

  /// A command that is refused: text and JSON, both with this exit code; the message with its hint.
  [[nodiscard]] std::string refused(int exit, const std::vector<std::string>& arguments) const;
};

[[nodiscard]] std::uint64_t number_of(const boost::json::value& value);

[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

[[nodiscard]] std::string text_of(const boost::json::value& value);

}  // namespace canary::test
