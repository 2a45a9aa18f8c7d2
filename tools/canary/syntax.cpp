#include "syntax.hpp"

#include <cstdint>
#include <utility>

#include <CLI/CLI.hpp>

#include "context.hpp"

namespace canary::cli {
namespace {

constexpr const char* not_empty = "not empty";

CLI::Option* filled(CLI::Option* option) {
  const auto refuse = [](const std::string& text) {
    return unprotect(text).empty() ? std::string{"an empty value; leave it out, or give it one"} : std::string{};
  };
  return option->check(CLI::Validator{refuse, "", not_empty});
}

/// What every option checks before anything makes sense of its value.
CLI::Option* checked(CLI::Option* option) { return option->get_positional() ? option : filled(option); }

/// A number is what was typed: main()'s mark is no part of it, and none of an error about it.
CLI::Option* of_number(CLI::Option* option) {
  const auto take_off = [](std::string& text) {
    text = unprotect(std::move(text));
    return std::string{};
  };
  return checked(option)->check(CLI::Validator{take_off, ""});
}

}  // namespace

Argument* Argument::required() {
  option_->required();
  return this;
}

Argument* Argument::type_name(const std::string& name) {
  option_->type_name(name);
  return this;
}

Argument* Argument::allow_extra_args(bool allowed) {
  option_->allow_extra_args(allowed);
  return this;
}

Argument* Argument::at_least_one() {
  option_->check(CLI::Validator{[](const std::string& text) {
                                  return text == "0" || text.starts_with('-') ? std::string{"at least 1"}
                                                                              : std::string{};
                                },
                                "", ""});
  return this;
}

Argument* Argument::must_not_be_empty() {
  (void)filled(option_);
  return this;
}

Argument* Argument::may_be_empty() {
  option_->get_validator(not_empty)->active(false);
  return this;
}

Argument Syntax::add_flag(const std::string& name, bool& target, const std::string& description) const {
  return Argument{*app_->add_flag(name, target, description)};
}

Argument Syntax::add_option(const std::string& name, std::uint32_t& target, const std::string& description) const {
  return Argument{*of_number(app_->add_option(name, target, description))};
}

Argument Syntax::add_option(const std::string& name, std::uint64_t& target, const std::string& description) const {
  return Argument{*of_number(app_->add_option(name, target, description))};
}

Argument Syntax::add_option(const std::string& name, const std::function<void(const std::string&)>& take,
                            const std::string& description) const {
  return Argument{*checked(app_->add_option_function<std::string>(name, take, description))};
}

Argument Syntax::add_options(const std::string& name, const std::function<void(const std::vector<std::string>&)>& take,
                             const std::string& description) const {
  return Argument{*checked(app_->add_option_function<std::vector<std::string>>(name, take, description))};
}

void Syntax::footer(const std::string& text) const { app_->footer(text); }
void Syntax::callback(std::function<void()> run) const { app_->callback(std::move(run)); }
void Syntax::require_subcommand(int count) const { app_->require_subcommand(count); }

}  // namespace canary::cli
