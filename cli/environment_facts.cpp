#include "environment_facts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <thread>
#include <veloxquant/core/cpu.hpp>

namespace veloxquant::cli {
namespace {

std::string kernel() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "unknown";
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

nlohmann::ordered_json environment_facts(int threads) {
  return {{"cpu", cpu_name()},
          {"cpu_level", cpu_level()},
          {"processors", std::thread::hardware_concurrency()},
          {"threads", threads},
          {"memory_bytes", static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                               static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))},
          {"kernel", kernel()},
          {"compiler", compiler()},
          {"version", VELOXQUANT_VERSION},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

}  // namespace veloxquant::cli
