#include "cache/coded_side.hpp"

#include <veloxquant/core/cpu.hpp>

namespace veloxquant {
CodedSide::CodedSide(const VectorQuantizer& method, Role role, int kv_heads, AttentionArithmetic arithmetic)
    : method_(&method), heads_(static_cast<std::size_t>(kv_heads)) {
  const bool short_frames = method.frame() > 0 && method.frame() < kShortestFrame;
  for (int h = 0; h < kv_heads; ++h) {
    Head& head = heads_[static_cast<std::size_t>(h)];
    const CodeSpec* spec = method.code_spec(h);
    head.basis = method.basis(h);
    head.in_code_space = spec != nullptr && head.basis == nullptr;
    head.decoder = head.in_code_space ? tile_decoder(*spec) : tile_decoder(method, h);
    if (spec == nullptr || short_frames) continue;
    if (role == Role::keys) head.key = find_key_kernel(*spec, arithmetic);
    if (role == Role::values) head.value = find_value_kernel(*spec, arithmetic);
  }
}

LayerKernels::LayerKernels(const LayerMethods& methods, int kv_heads)
    : arithmetic(attention_arithmetic()),
      level(cpu_level()),
      keys(*methods.keys, Role::keys, kv_heads, arithmetic),
      values(*methods.values, Role::values, kv_heads, arithmetic) {}

bool LayerKernels::current() const { return arithmetic == attention_arithmetic() && level == cpu_level(); }

}  // namespace veloxquant
