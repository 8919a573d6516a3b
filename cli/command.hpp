// What the subcommands share: how they join the command, and its exit codes.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace veloxquant::cli {

enum ExitCode : int {
  kDone = 0,
  kUsage = 1,        // the command line has no meaning
  kRefused = 2,      // an input file, model or option is missing, unreadable or refused
  kGateFailed = 3,   // a check that was asked for did not hold
  kEnvironment = 4,  // the system lacks or refuses something: memory, disk, output, a CPU level
  kOurBug = 5,
};

// The subcommands in the order in which --help lists them. Each has a function that runs it and returns an
// ExitCode.
class Commands {
 public:
  explicit Commands(CLI::App& app) : app_(app) {}
  // `run` must outlive the parsing of its own options: keep them in a shared_ptr that it captures.
  CLI::App* add(const std::string& name, const std::string& summary, std::function<int()> run) {
    CLI::App* sub = app_.add_subcommand(name, summary);
    entries_.emplace_back(sub, std::move(run));
    return sub;
  }
  const std::vector<std::pair<CLI::App*, std::function<int()>>>& entries() const { return entries_; }

 private:
  CLI::App& app_;
  std::vector<std::pair<CLI::App*, std::function<int()>>> entries_;
};

// Whole numbers from `least` on.
CLI::Validator at_least(std::int64_t least);

void add_benchmark(Commands& commands);
void add_precompute(Commands& commands);
void add_list(Commands& commands);
void add_inspect(Commands& commands);
void add_plan(Commands& commands);
void add_doctor(Commands& commands);

}  // namespace veloxquant::cli
