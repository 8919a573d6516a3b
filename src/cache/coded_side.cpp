#include "cache/coded_side.hpp"

#include <set>
#include <veloxquant/core/cpu.hpp>

#include "attention/float_blocks.hpp"

namespace veloxquant {
CodedSide::CodedSide(const VectorQuantizer& method, Role role, int kv_heads, AttentionArithmetic arithmetic)
    : method_(&method), heads_(static_cast<std::size_t>(kv_heads)) {
  const bool short_frames = method.frame() > 0 && method.frame() < kShortestFrame;
  const TurnedKeys* turned = nullptr;  // of an earlier head
  for (int h = 0; h < kv_heads; ++h) {
    Head& head = heads_[static_cast<std::size_t>(h)];
    const CodeSpec* spec = method.code_spec(h);
    head.basis = method.basis(h);
    head.in_code_space = spec != nullptr && head.basis == nullptr;
    if (spec == nullptr) {
      head.decoder = tile_decoder(method, h);
    } else if (head.basis != nullptr && role == Role::keys) {
      const bool fast = arithmetic == AttentionArithmetic::fast;
      head.decoder = tile_decoder(*spec, *head.basis, fast ? FrameProducts::words : FrameProducts::f32);
    } else {
      head.decoder = tile_decoder(*spec);
    }
    if (spec == nullptr) continue;
    if (short_frames) {
      head.key = float_keys(
          {.kind = CodeKind::f32, .bits = 32, .head_dim = method.head_dim(), .group = 0, .table = {}});
      if (head.decoder.products == FrameProducts::words)
        head.turned = TurnedKeys::make(*head.basis, find_key_kernel(*spec, arithmetic), turned);
      if (head.turned) turned = head.turned.get();
      continue;
    }
    if (role == Role::keys) head.key = find_key_kernel(*spec, arithmetic);
    if (role == Role::values) head.value = find_value_kernel(*spec, arithmetic);
  }
}

std::size_t CodedSide::nbytes() const {
  std::set<const std::vector<float>*> turns;
  std::size_t bytes = 0;
  for (const Head& head : heads_) {
    if (!head.turned) continue;
    bytes += head.turned->nbytes();
    if (turns.insert(&head.turned->turns()).second) bytes += sizeof(float) * head.turned->turns().size();
  }
  return bytes;
}

LayerKernels::LayerKernels(const LayerMethods& methods, int kv_heads)
    : arithmetic(attention_arithmetic()),
      level(cpu_level()),
      keys(*methods.keys, Role::keys, kv_heads, arithmetic),
      values(*methods.values, Role::values, kv_heads, arithmetic) {}

bool LayerKernels::current() const { return arithmetic == attention_arithmetic() && level == cpu_level(); }

}  // namespace veloxquant
