#include "help_format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "command.hpp"
#include "core/quote.hpp"
#include "text_layout.hpp"

namespace veloxquant::cli {
namespace {

constexpr std::size_t kColumn = 34, kLine = 100;

std::string entry(const std::string& name, const std::string& text) {
  const std::string left = "  " + name;
  const std::string gap =
      left.size() + 2 > kColumn ? "\n" + std::string(kColumn, ' ') : std::string(kColumn - left.size(), ' ');
  return left + gap + wrapped(text, kColumn, kLine) + "\n";
}

// CLI11 describes a value as TYPE:CHECK: "INT:POSITIVE", "TEXT:{table,json}", "FILE".
std::string value_of(const CLI::Option& option) {
  const std::string description = option.get_type_name();
  const std::size_t colon = description.find(':'), choices = description.find('{');
  if (choices != std::string::npos) {
    std::string words = description.substr(choices + 1, description.find('}') - choices - 1);
    std::ranges::replace(words, ',', '|');
    return words;
  }
  const std::string type = description.substr(0, colon);
  if (type == "INT" || type == "UINT" || type == "FLOAT") return "N";
  return type;
}

std::string default_of(const CLI::Option& option) {
  std::string text = option.get_default_str();
  std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
  return text;
}

}  // namespace

std::string HelpFormat::make_option(const CLI::Option* option, bool is_positional) const {
  std::string name = make_option_name(option, is_positional), text = option->get_description();
  if (option->get_type_size() != 0 && !is_positional) name += " " + value_of(*option);
  if (option->get_required() && !is_positional) text += " (required)";
  if (const std::string value = default_of(*option); !value.empty())
    text += fmt::format(" (default {})", value);
  return entry(name, text);
}

// Without the blank lines that CLI11 puts between groups beside its own.
std::string HelpFormat::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  return CLI::detail::find_and_replace(CLI::Formatter::make_help(app, std::move(name), mode), "\n\n\n",
                                       "\n\n");
}

std::string HelpFormat::make_subcommand(const CLI::App* subcommand) const {
  return entry(subcommand->get_name(), subcommand->get_description());
}

CLI::Validator at_least(std::int64_t least) {
  const auto check = [least](const std::string& text) -> std::string {
    std::int64_t value = 0;
    if (!CLI::detail::lexical_cast(text, value)) return quote(text) + " is no whole number";
    return value < least ? fmt::format("{} is below {}", value, least) : "";
  };
  return {check, ""};
}

}  // namespace veloxquant::cli
