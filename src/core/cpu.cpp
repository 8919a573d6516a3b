#include <veloxquant/core/cpu.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <veloxquant/core/error.hpp>

// The targets that the kernels are compiled for; must be the same set as in their files.
#define HWY_WANT_AVX3_DL
#include <hwy/highway.h>
#include <hwy/targets.h>

#include "core/dispatch.hpp"

namespace veloxquant {
namespace {

struct Level {
  std::string name;
  std::int64_t target;  // of Highway
  bool dot_products;    // of bytes, on Arm
};

bool cpu_has_dot_products() {
#if defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

// What this build has and this CPU serves, best first. Arm's dot products are a level of their own above
// NEON.
const std::vector<Level>& levels() {
  static const std::vector<Level> served = [] {
    const bool dots = cpu_has_dot_products();
    std::vector<Level> found;
    for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
      const std::int64_t target = rest & -rest;
      if (target == HWY_NEON && dots) found.push_back({"NEON_DOT", target, true});
      found.push_back({hwy::TargetName(target), target, dots && target != HWY_NEON});
    }
    return found;
  }();
  return served;
}

// The level in use; kept, since Highway asks the CPU each time and virtual machines answer that slowly (15 us
// here).
std::atomic<const Level*> in_use{nullptr};

// `source` is named in the refusal: the environment variable or the caller's argument.
void pin(const std::string& name, const char* source) {
  const auto is_asked_for = [&](const Level& level) { return name.empty() || level.name == name; };
  const auto level = std::find_if(levels().begin(), levels().end(), is_asked_for);
  if (level == levels().end()) {
    throw UnsupportedError("cpu level", fmt::format("{} '{}' is not available here; available are {}", source,
                                                    name, fmt::join(available_cpu_levels(), ", ")));
  }
  hwy::SetSupportedTargetsForTest(name.empty() ? 0 : level->target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  in_use.store(&*level, std::memory_order_release);
}

}  // namespace

// The environment is read once, before the first kernel, question or pin. A refused level throws each time.
void obey_cpu_environment() {
  static std::atomic<bool> obeyed{false};
  if (obeyed.load(std::memory_order_acquire)) return;
  static std::once_flag once;
  std::call_once(once, [] {
    in_use.store(&levels().front(), std::memory_order_release);
    if (const char* name = std::getenv("VELOXQUANT_CPU"); name != nullptr && *name != '\0')
      pin(name, "VELOXQUANT_CPU");
  });
  obeyed.store(true, std::memory_order_release);
}

std::string cpu_level() {
  obey_cpu_environment();
  return in_use.load(std::memory_order_acquire)->name;
}

bool level_has_dot_products() {
  obey_cpu_environment();
  return in_use.load(std::memory_order_acquire)->dot_products;
}

std::vector<std::string> available_cpu_levels() {
  std::vector<std::string> names;
  for (const Level& level : levels()) names.push_back(level.name);
  return names;
}

void set_cpu_level(const std::string& name) {
  obey_cpu_environment();
  pin(name, "level");
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

}  // namespace veloxquant
