#include <veloxquant/core/cpu.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

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

// The targets in use; kept, since Highway asks the CPU each time and virtual machines answer that slowly (15 us here).
std::atomic<std::int64_t> in_use{0};

// The level's bit among Highway's targets; lower bits are better. 0: all that the CPU serves.
void use_targets(std::int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  in_use.store(hwy::SupportedTargets() & HWY_TARGETS, std::memory_order_release);
}

std::int64_t supported() {
  static const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets;
}

// `source` is named in the refusal: the environment variable or the caller's argument.
void pin(const std::string& name, const char* source) {
  if (name.empty()) return use_targets(0);
  for (std::int64_t rest = supported(); rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    if (name == hwy::TargetName(target)) return use_targets(target);
  }
  throw UnsupportedError("cpu level", fmt::format("{} '{}' is not available here; available are {}", source,
                                                  name, fmt::join(available_cpu_levels(), ", ")));
}

}  // namespace

// The environment is read once, before the first kernel, question or pin. A refused level throws each time.
void obey_cpu_environment() {
  static std::atomic<bool> obeyed{false};
  if (obeyed.load(std::memory_order_acquire)) return;
  static std::once_flag once;
  std::call_once(once, [] {
    in_use.store(supported(), std::memory_order_release);
    if (const char* name = std::getenv("VELOXQUANT_CPU"); name != nullptr && *name != '\0')
      pin(name, "VELOXQUANT_CPU");
  });
  obeyed.store(true, std::memory_order_release);
}

std::string cpu_level() {
  obey_cpu_environment();
  const std::int64_t targets = in_use.load(std::memory_order_acquire);
  return hwy::TargetName(targets & -targets);
}

std::vector<std::string> available_cpu_levels() {
  std::vector<std::string> names;
  for (std::int64_t rest = supported(); rest != 0; rest &= rest - 1)
    names.emplace_back(hwy::TargetName(rest & -rest));
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
