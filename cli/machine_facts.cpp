#include "machine_facts.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/version.hpp>

namespace veloxquant::cli {
namespace {

std::string kernel() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "unknown";
}

// "always [madvise] never": the one in brackets.
std::string huge_pages() {
  std::ifstream stream("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  if (!std::getline(stream, line)) return "unknown";
  const auto begin = line.find('['), end = line.find(']');
  return begin < end && end != std::string::npos ? line.substr(begin + 1, end - begin - 1) : line;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

MachineFacts machine_facts() {
  return {.cpu = cpu_name(),
          .level = cpu_level(),
          .levels = available_cpu_levels(),
          .processors = std::thread::hardware_concurrency(),
          .memory_bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                          static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)),
          .kernel = kernel(),
          .huge_pages = huge_pages(),
          .compiler = compiler(),
          .version = version()};
}

}  // namespace veloxquant::cli
