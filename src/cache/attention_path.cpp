// Which way attention reads a layer, in words.
#include <fmt/format.h>

#include "cache/coded_side.hpp"

namespace veloxquant {
namespace {

// Empty where there is a kernel.
std::string why_no_kernel(const LayerKernels& kernels, const VectorQuantizer& method, Role role, int head) {
  const bool found = role == Role::keys ? kernels.keys.key_kernel(head).scores != nullptr
                                        : kernels.values.value_kernel(head).add != nullptr;
  if (found) return {};
  const CodeSpec* spec = method.code_spec(head);
  if (spec == nullptr) return fmt::format("{} are not in a code that kernels read", to_string(role));
  if (kernels.arithmetic == AttentionArithmetic::precise)
    return fmt::format("{} ({}) have no kernel in precise arithmetic", to_string(role), spec->name());
  if (method.frame() > 0 && method.frame() < CodedSide::kShortestFrame)
    return fmt::format("frames of {} tokens are too short", method.frame());
  return fmt::format("{} ({}) have no kernel at the CPU level {}", to_string(role), spec->name(),
                     kernels.level);
}

}  // namespace

std::string attention_path(const LayerMethods& methods, int kv_heads) {
  const LayerKernels kernels(methods, kv_heads);
  int decoded = 0;
  std::string reason;
  for (int h = 0; h < kv_heads; ++h) {
    std::string why = why_no_kernel(kernels, *methods.keys, Role::keys, h);
    if (why.empty()) why = why_no_kernel(kernels, *methods.values, Role::values, h);
    if (why.empty()) continue;
    if (decoded++ == 0) reason = std::move(why);
  }
  if (decoded == 0) return "packed kernels";
  if (decoded == kv_heads) return "decoded tiles: " + reason;
  return fmt::format("packed kernels, and decoded tiles for {} of {} KV heads: {}", decoded, kv_heads,
                     reason);
}

}  // namespace veloxquant
