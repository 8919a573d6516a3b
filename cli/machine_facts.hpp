// What `doctor` prints and what a report's environment block says about the machine, gathered once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace veloxquant::cli {

struct MachineFacts {
  std::string cpu, level;           // marketing name; the set of vector instructions in use
  std::vector<std::string> levels;  // available ones, best first
  unsigned processors = 0;
  std::uint64_t memory_bytes = 0;
  std::string kernel, huge_pages, compiler, version;
};

// What the system does not say is "unknown".
MachineFacts machine_facts();

}  // namespace veloxquant::cli
