#include <veloxquant/attention/arithmetic.hpp>

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

AttentionArithmetic from_environment() {
  const char* name = std::getenv("VELOXQUANT_ARITHMETIC");
  if (name == nullptr || *name == '\0' || std::string_view(name) == "fast") return AttentionArithmetic::fast;
  if (std::string_view(name) == "precise") return AttentionArithmetic::precise;
  throw ConfigError("arithmetic",
                    fmt::format("VELOXQUANT_ARITHMETIC is '{}', must be fast or precise", name));
}

std::atomic<AttentionArithmetic>& in_use() {
  static std::atomic<AttentionArithmetic> value{from_environment()};
  return value;
}

}  // namespace

const char* to_string(AttentionArithmetic arithmetic) noexcept {
  return arithmetic == AttentionArithmetic::fast ? "fast" : "precise";
}
AttentionArithmetic attention_arithmetic() { return in_use().load(std::memory_order_relaxed); }
void set_attention_arithmetic(AttentionArithmetic arithmetic) {
  in_use().store(arithmetic, std::memory_order_relaxed);
}

}  // namespace veloxquant
