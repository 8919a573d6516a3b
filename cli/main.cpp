// The command: parses, runs one subcommand, and turns failures into messages on stderr and exit codes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>

#include "command.hpp"
#include "core/quote.hpp"
#include "error_text.hpp"
#include "help_format.hpp"
#include "inputs.hpp"
#include "ranks.hpp"
#include "text_layout.hpp"

namespace veloxquant::cli {
namespace {

// What the library does not serve is a matter of the model, of the method or of a file, which are refused, or of the
// machine and the build: then the operation is one of these.
bool is_of_the_system(const UnsupportedError& error) {
  const std::string text = error.what();
  return std::ranges::any_of(
      std::array{"[cpu level] ", "[load model] ", "[forward] ", "[measure memory] ", "[mpi] "},
      [&](const char* operation) { return text.starts_with(operation); });
}

// A file that cannot be opened, or is none, is refused like one of wrong content. What fails later, as the
// reading of a broken disk, is a matter of the system, and so is all writing.
bool is_of_an_input(const Error& error) {
  const std::string text = error.what();
  return (text.starts_with("[read] ") || text.starts_with("[open] ")) &&
         !std::ranges::any_of(std::array{"cannot examine ", "cannot read ", "cannot map "},
                              [&](const char* doing) { return without_operation(text).starts_with(doing); });
}

int exit_code(const Error& error) {
  if (error.kind() == ErrorKind::io) return is_of_an_input(error) ? kRefused : kEnvironment;
  const auto* unsupported = dynamic_cast<const UnsupportedError*>(&error);
  return unsupported != nullptr && is_of_the_system(*unsupported) ? kEnvironment : kRefused;
}

// Output that did not arrive is a failure, also where only the last flush finds out.
int finished(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  throw std::system_error(errno, std::generic_category(), "cannot write the output");
}

// What was written and is not known, with the nearest word that is; empty when all words are known.
std::string unknown_word(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining(true);
  if (words.empty()) return "";
  const auto parsed = app.get_subcommands();
  const CLI::App& place = parsed.empty() ? app : *parsed.back();
  const bool is_option = words[0].starts_with('-');
  std::vector<std::string> known;
  if (is_option) {
    for (const CLI::Option* option : place.get_options()) known.push_back(option->get_name());
  } else if (parsed.empty()) {
    for (const CLI::App* subcommand : app.get_subcommands({})) {
      if (!subcommand->get_group().empty()) known.push_back(subcommand->get_name());
    }
  }
  const std::string word = is_option ? words[0].substr(0, words[0].find('=')) : words[0];
  const auto near = nearest(word, known);
  return fmt::format("unknown {} {}{}",
                     is_option        ? "option"
                     : parsed.empty() ? "subcommand"
                                      : "word",
                     quote(word), near ? fmt::format("; did you mean {}?", *near) : "");
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto parsed = app.get_subcommands();
  const std::string who = parsed.empty() ? "veloxquant" : "veloxquant " + parsed.back()->get_name();
  const std::string unknown = unknown_word(app);
  fmt::print(stderr, "{}: {}\n`{} --help` says what can be written\n", who,
             unknown.empty() ? printable(error.what()) : unknown, who);
  return kUsage;
}

// Of the failure that is being handled.
int failed(const std::string& who) {
  try {
    throw;
  } catch (const RankFailed&) {
    return kDone;  // that rank says why, and its exit code is the job's
  } catch (const Error& e) {
    fmt::print(stderr, "{}: {} error: {}\n", who, to_string(e.kind()),
               without_operation(printable(e.what())));
    return exit_code(e);
  } catch (const UsageError& e) {
    fmt::print(stderr, "{}: {}\n`{} --help` says what can be written\n", who, printable(e.what()), who);
    return kUsage;
  } catch (const MissingInput& e) {
    fmt::print(stderr, "{}: {}\n", who, printable(e.what()));
    return kRefused;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: out of memory; try fewer or shorter windows\n", who);
    return kEnvironment;
  } catch (const std::system_error& e) {
    fmt::print(stderr, "{}: {}\n", who, printable(e.what()));
    return kEnvironment;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: internal error: {}; please report it\n", who, e.what());
    return kOurBug;
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Compresses the key/value cache of large language models and measures what it costs."};
  app.name("veloxquant");
  app.set_version_flag("--version", version(), "print the version and end");
  app.set_help_flag("-h,--help", "print this help and end");
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormat>());
  Commands commands(app);
  add_precompute(commands);
  add_benchmark(commands);
  add_plan(commands);
  add_list(commands);
  add_inspect(commands);
  add_doctor(commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    // Rank 0 says it. No other may end with a failure of its own: mpirun would end the job at once, perhaps
    // before rank 0 has spoken.
    if (launched_rank() > 0) return kDone;
    return e.get_exit_code() == 0 ? app.exit(e) : usage_error(app, e);
  }
  for (const auto& [subcommand, body] : commands.entries()) {
    if (!subcommand->parsed()) continue;
    try {
      return finished(body());
    } catch (...) {
      return failed("veloxquant " + subcommand->get_name());
    }
  }
  return kUsage;
}

}  // namespace
}  // namespace veloxquant::cli

int main(int argc, char** argv) {
  try {
    return veloxquant::cli::run(argc, argv);
  } catch (...) {
    return veloxquant::cli::failed("veloxquant");
  }
}
