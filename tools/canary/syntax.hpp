// syntax.hpp: what commands say to the command line's parser, without the parser: CLI11's header costs every source that
// includes it some seconds, and only main.cpp, syntax.cpp and cmd_completion.cpp need it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): it is CLI11's
class App;
class Option;
}  // namespace CLI

namespace canary::cli {

/// An option or a positional, while it is being described; calls chain by `->`.
class Argument {
 public:
  explicit Argument(CLI::Option& option) noexcept : option_{&option} {}
  Argument* operator->() noexcept { return this; }

  Argument* required();
  Argument* type_name(const std::string& name);
  Argument* allow_extra_args(bool allowed);
  /// Refuses 0 and what is below.
  Argument* at_least_one();
  /// Takes an empty value, which an option refuses otherwise: it is an unset variable of a script, not a wish.
  Argument* may_be_empty();
  /// Refuses an empty value, which what has no name takes otherwise: a key may be empty, a file or a job may not.
  Argument* must_not_be_empty();

 private:
  CLI::Option* option_;
};

/// A noun or a verb of the command line. No option takes an empty value, unless it says so; positionals do.
class Syntax {
 public:
  explicit Syntax(CLI::App& app) noexcept : app_{&app} {}
  [[nodiscard]] CLI::App& app() const noexcept { return *app_; }

  Argument add_flag(const std::string& name, bool& target, const std::string& description) const;
  Argument add_option(const std::string& name, std::uint32_t& target, const std::string& description) const;
  Argument add_option(const std::string& name, std::uint64_t& target, const std::string& description) const;
  Argument add_option(const std::string& name, const std::function<void(const std::string&)>& take,
                      const std::string& description) const;
  Argument add_options(const std::string& name, const std::function<void(const std::vector<std::string>&)>& take,
                       const std::string& description) const;
  void footer(const std::string& text) const;
  void callback(std::function<void()> run) const;
  void require_subcommand(int count) const;

 private:
  CLI::App* app_;
};

}  // namespace canary::cli
