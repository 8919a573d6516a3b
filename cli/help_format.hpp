// How --help is laid out: what to write in place of a value, the default, lines of at most 100 columns.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace veloxquant::cli {

class HelpFormat : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_subcommand(const CLI::App* subcommand) const override;
};

}  // namespace veloxquant::cli
