// The choice of block kernels by code, arithmetic and CPU level.
#include "attention/block_kernels.hpp"

#include <veloxquant/core/cpu.hpp>

#include "attention/affine_blocks.hpp"
#include "attention/scalar_blocks.hpp"
#include "attention/trellis_blocks.hpp"

namespace veloxquant {
namespace {

enum class Level : std::uint8_t { other, avx2, avx512 };

Level level_in_use() {
  const std::string name = cpu_level();
  if (name == "AVX3_DL") return Level::avx512;
  if (name == "AVX3" || name == "AVX2") return Level::avx2;
  return Level::other;
}

}  // namespace

KeyKernel find_key_kernel(const CodeSpec& spec, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::precise) return {};
  const Level level = level_in_use();
  if (spec.kind == CodeKind::scalar && level == Level::avx512) return scalar_keys(spec, scalar_scores_avx512(spec.bits));
  if (spec.kind == CodeKind::trellis && level == Level::avx512) return trellis_keys_avx512(spec);
  if (level == Level::avx512) return affine_keys_avx512(spec);
  return {};
}

ValueKernel find_value_kernel(const CodeSpec& spec, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::precise) return {};
  const Level level = level_in_use();
  if (spec.kind == CodeKind::scalar && level == Level::avx512) return scalar_values(spec, scalar_add_avx512(spec.bits));
  if (spec.kind == CodeKind::trellis && level == Level::avx512) return trellis_values_avx512(spec);
  if (level == Level::avx512) return affine_values_avx512(spec);
  return {};
}

}  // namespace veloxquant
