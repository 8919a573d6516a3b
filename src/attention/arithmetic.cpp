#include <veloxquant/attention/arithmetic.hpp>

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

Arithmetic from_environment() {
  const char* name = std::getenv("VELOXQUANT_ARITHMETIC");
  if (name == nullptr || *name == '\0' || std::string_view(name) == "fast") return Arithmetic::fast;
  if (std::string_view(name) == "precise") return Arithmetic::precise;
  throw ConfigError("arithmetic",
                    fmt::format("VELOXQUANT_ARITHMETIC is '{}', must be fast or precise", name));
}

std::atomic<Arithmetic>& in_use() {
  static std::atomic<Arithmetic> value{from_environment()};
  return value;
}

}  // namespace

const char* to_string(Arithmetic arithmetic) noexcept {
  return arithmetic == Arithmetic::fast ? "fast" : "precise";
}
Arithmetic arithmetic() { return in_use().load(std::memory_order_relaxed); }
void set_arithmetic(Arithmetic arithmetic) { in_use().store(arithmetic, std::memory_order_relaxed); }

}  // namespace veloxquant
