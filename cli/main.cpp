// The command: parses, runs one subcommand, and turns failures into messages on stderr and exit codes.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>

#include "command.hpp"
#include "core/quote.hpp"
#include "inputs.hpp"
#include "ranks.hpp"

namespace veloxquant::cli {
namespace {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::io:
    case ErrorKind::unsupported:
      return kEnvironment;
    default:
      return kRefused;
  }
}

// Output that did not arrive is a failure, also where only the last flush finds out.
int finished(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  throw std::system_error(errno, std::generic_category(), "cannot write the output");
}

int run(int argc, char** argv) {
  CLI::App app{"Compresses the key/value cache of large language models and measures what it costs."};
  app.name("veloxquant");
  app.set_version_flag("--version", version());
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
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
    return app.exit(e) == 0 ? kDone : kUsage;
  }
  for (const auto& [subcommand, body] : commands.entries()) {
    if (subcommand->parsed()) return finished(body());
  }
  return kUsage;
}

}  // namespace
}  // namespace veloxquant::cli

int main(int argc, char** argv) {
  using namespace veloxquant;
  try {
    return cli::run(argc, argv);
  } catch (const RankFailed&) {
    return cli::kDone;  // that rank says why, and its exit code is the job's
  } catch (const Error& e) {
    fmt::print(stderr, "veloxquant: {} error: {}\n", to_string(e.kind()), printable(e.what()));
    return cli::exit_code(e.kind());
  } catch (const cli::MissingInput& e) {
    fmt::print(stderr, "veloxquant: {}\n", e.what());
    return cli::kRefused;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "veloxquant: out of memory; try fewer or shorter windows\n");
    return cli::kEnvironment;
  } catch (const std::system_error& e) {
    fmt::print(stderr, "veloxquant: {}\n", printable(e.what()));
    return cli::kEnvironment;
  } catch (const std::exception& e) {
    fmt::print(stderr, "veloxquant: internal error: {}; please report it\n", e.what());
    return cli::kOurBug;
  }
}
