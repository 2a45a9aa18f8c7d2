#include "program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

#include <catch2/catch_test_macros.hpp>

namespace canary::test {
namespace {

struct Pipe {
  int read_end = -1;
  int write_end = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error{"pipe2"};
    read_end = ends[0];
    write_end = ends[1];
  }
};

void close_once(int& fd) {
  if (fd >= 0) ::close(std::exchange(fd, -1));
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// Feeds the input and takes both outputs at once: with one after the other, a full pipe would stop both sides.
void exchange(Pipe& in, Pipe& out, Pipe& err, std::string_view input, Answer& answer) {
  ::fcntl(in.write_end, F_SETFL, O_NONBLOCK);
  char buffer[1 << 16];
  const auto take = [&](const pollfd& ready, int& fd, std::string& to) {
    if (ready.fd < 0 || ready.revents == 0) return;
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got > 0)
      to.append(buffer, static_cast<std::size_t>(got));
    else
      close_once(fd);
  };
  while (out.read_end >= 0 || err.read_end >= 0) {
    if (input.empty()) close_once(in.write_end);
    pollfd fds[] = {{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}, {in.write_end, POLLOUT, 0}};
    if (::poll(fds, 3, 300'000) <= 0) throw std::runtime_error{"the program hangs"};
    take(fds[0], out.read_end, answer.out);
    take(fds[1], err.read_end, answer.err);
    if (fds[2].fd < 0 || fds[2].revents == 0) continue;
    const ssize_t put = ::write(in.write_end, input.data(), input.size());
    if (put > 0)
      input.remove_prefix(static_cast<std::size_t>(put));
    else
      input = {};
  }
  close_once(in.write_end);
}

Answer run_program(const std::string& file, std::vector<std::string> arguments, std::vector<std::string> environment,
                   const std::filesystem::path& folder, std::string_view input) {
  Pipe in;
  Pipe out;
  Pipe err;
  arguments.insert(arguments.begin(), file);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(folder.c_str()) != 0) ::_exit(126);
    ::dup2(in.read_end, 0);
    ::dup2(out.write_end, 1);
    ::dup2(err.write_end, 2);
    ::execve(file.c_str(), argv.data(), envp.data());
    ::_exit(127);
  }
  close_once(in.read_end);
  close_once(out.write_end);
  close_once(err.write_end);
  Answer answer;
  exchange(in, out, err, input, answer);
  int status = 0;
  ::waitpid(child, &status, 0);
  answer.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return answer;
}

std::vector<std::string> plain_environment() {
  std::vector<std::string> environment{"LC_ALL=C", "TERM=xterm"};
  for (const char* name : {"PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH"})
    if (const char* value = std::getenv(name)) environment.push_back(std::string{name} + '=' + value);
  return environment;
}

}  // namespace

Place::Place() {
  std::signal(SIGPIPE, SIG_IGN);  // a program that ends before it has read its input is none of our death
  std::string name = (std::filesystem::temp_directory_path() / "canary-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"mkdtemp"};
  path_ = std::filesystem::canonical(name);
}

Place::~Place() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void Place::write(const std::string& name, std::string_view text) const {
  std::ofstream file{path_ / name, std::ios::binary | std::ios::trunc};
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.flush()) throw std::runtime_error{"cannot write " + name};
}

std::string Place::read(const std::string& name) const {
  std::ifstream file{path_ / name, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

Answer Place::run(const std::vector<std::string>& arguments, std::string_view input,
                  const std::vector<std::pair<std::string, std::string>>& environment) const {
  std::vector<std::string> variables = plain_environment();
  for (const auto& [name, value] : environment) variables.push_back(name + '=' + value);
  return run_program(CANARY_PROGRAM, arguments, std::move(variables), path_, input);
}

Answer Place::shell(const std::string& line, const std::string& shell) const {
  std::vector<std::string> variables = plain_environment();
  variables.push_back("CANARY=" CANARY_PROGRAM);
  return run_program("/usr/bin/env", {shell, "-c", line}, std::move(variables), path_, {});
}

boost::json::object Place::json(std::vector<std::string> arguments, std::string_view input) const {
  arguments.push_back("--json");
  const Answer answer = run(arguments, input);
  INFO(answer.out << answer.err);
  REQUIRE(answer.exit == 0);
  CHECK(answer.err.empty());
  REQUIRE(lines_of(answer.out).size() == 1);
  return boost::json::parse(answer.out).as_object();
}

std::pair<int, boost::json::object> Place::failure(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), "--json");
  const Answer answer = run(arguments);
  INFO(answer.out << answer.err);
  REQUIRE_FALSE(lines_of(answer.out).empty());
  const boost::json::value document = boost::json::parse(lines_of(answer.out).back());
  return {answer.exit, document.at("error").as_object()};
}

ConfiguredPlace::ConfiguredPlace() {
  write("canary.toml",
        "[store]\nurl = 'memory:'\n"
        "[task.checks]\ndefault_model = 'base'\nforce_env = 'CHECKS_FORCE'\n"
        "[[task.checks.version]]\nmodel = 'v1'\npercent = 10\n"
        "[[task.checks.version]]\nmodel = 'v2'\npercent = 5\n"
        "[task.risks]\ndefault_model = 'steady'\n");
}

DatabasePlace::DatabasePlace() {
  write("canary.toml",
        "[store]\nurl = 'sqlite:canary.db'\n"
        "[task.checks]\ndefault_model = 'base'\nforce_env = 'CHECKS_FORCE'\n"
        "[task.risks]\ndefault_model = 'steady'\n");
}

void DatabasePlace::done(const std::vector<std::string>& arguments) const {
  const Answer answer = run(arguments);
  INFO(answer.out << answer.err);
  REQUIRE(answer.exit == 0);
}

void DatabasePlace::register_models(const std::vector<std::string>& models) const {
  for (const std::string& model : models) done({"model", "register", "checks", model});
}

namespace {

struct CloseDatabase {
  void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
};

std::unique_ptr<sqlite3, CloseDatabase> database_in(const std::filesystem::path& folder) {
  sqlite3* opened = nullptr;
  if (sqlite3_open((folder / "canary.db").c_str(), &opened) != SQLITE_OK) throw std::runtime_error{"sqlite3_open"};
  return std::unique_ptr<sqlite3, CloseDatabase>{opened};
}

}  // namespace

void DatabasePlace::sql(const std::string& statements) const {
  const auto db = database_in(path());
  INFO(statements);
  REQUIRE(sqlite3_exec(db.get(), statements.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
}

std::string DatabasePlace::partition_text(std::uint32_t revision) const {
  const auto db = database_in(path());
  std::string text;
  const auto take = [](void* to, int, char** values, char**) {
    *static_cast<std::string*>(to) = values[0];
    return 0;
  };
  const std::string query = "SELECT partition FROM history WHERE task = 'checks' AND revision = ";
  REQUIRE(sqlite3_exec(db.get(), (query + std::to_string(revision)).c_str(), take, &text, nullptr) == SQLITE_OK);
  return text;
}

std::map<std::string, std::uint32_t> DatabasePlace::shares() const {
  const boost::json::object list = json({"model", "list", "checks"});
  const boost::json::object& task = list.at("tasks").as_array().at(0).as_object();
  std::map<std::string, std::uint32_t> shares{
      {"checks@default", task.at("default_weight_ppm").to_number<std::uint32_t>()}};
  for (const auto& row : task.at("versions").as_array())
    shares[text_of(row.at("id"))] = row.at("weight_ppm").to_number<std::uint32_t>();
  return shares;
}

std::string DatabasePlace::refused(int exit, const std::vector<std::string>& arguments) const {
  std::string words;
  for (const std::string& argument : arguments) words += argument.substr(0, 100) + ' ';
  INFO(words);
  const auto [code, error] = failure(arguments);
  CHECK(code == exit);
  const char* names[] = {"",         "failed",        "usage",    "not_found",
                         "conflict", "invalid_input", "provider", "store_unreachable"};
  CHECK(text_of(error.at("code")) == names[exit]);
  const Answer text = run(arguments);
  CHECK(text.exit == exit);
  CHECK(text.out.empty());
  CHECK(text.err.find("error: ") != std::string::npos);
  std::string message = text_of(error.at("message"));
  if (const std::string hint = text_of(error.at("hint")); !hint.empty()) message += "; " + hint;
  return message;
}

std::uint64_t number_of(const boost::json::value& value) { return value.to_number<std::uint64_t>(); }

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string text_of(const boost::json::value& value) { return boost::json::value_to<std::string>(value); }

}  // namespace canary::test
