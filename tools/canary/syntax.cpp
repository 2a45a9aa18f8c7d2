#include "syntax.hpp"

#include <cstdint>
#include <utility>

#include <CLI/CLI.hpp>

namespace canary::cli {

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

Argument Syntax::add_flag(const std::string& name, bool& target, const std::string& description) const {
  return Argument{*app_->add_flag(name, target, description)};
}

Argument Syntax::add_option(const std::string& name, std::uint32_t& target, const std::string& description) const {
  return Argument{*app_->add_option(name, target, description)};
}

Argument Syntax::add_option(const std::string& name, std::uint64_t& target, const std::string& description) const {
  return Argument{*app_->add_option(name, target, description)};
}

Argument Syntax::add_option(const std::string& name, const std::function<void(const std::string&)>& take,
                            const std::string& description) const {
  return Argument{*app_->add_option_function<std::string>(name, take, description)};
}

void Syntax::footer(const std::string& text) const { app_->footer(text); }
void Syntax::callback(std::function<void()> run) const { app_->callback(std::move(run)); }
void Syntax::require_subcommand(int count) const { app_->require_subcommand(count); }

}  // namespace canary::cli
