// The choice of block kernels by code, arithmetic and CPU level.
#include "attention/block_kernels.hpp"

#include <veloxquant/core/cpu.hpp>

#include "attention/affine_blocks.hpp"
#include "attention/float_blocks.hpp"
#include "attention/mixed_blocks.hpp"
#include "attention/scalar_blocks.hpp"
#include "attention/trellis_blocks.hpp"

namespace veloxquant {
namespace {

// Highway's level with VBMI, VBMI2, VNNI and GFNI: the only one with kernels so far.
bool has_avx512() { return cpu_level() == "AVX3_DL"; }

}  // namespace

KeyKernel find_key_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  if (spec.kind <= CodeKind::fp8_e4m3) return float_keys(spec);
  if (arithmetic == AttentionArithmetic::precise) return {};
  const bool avx512 = has_avx512();
  switch (spec.kind) {
    case CodeKind::scalar:
      return scalar_keys(spec, avx512 ? scalar_scores_avx512(spec.bits) : nullptr);
    case CodeKind::trellis:
      return trellis_keys(spec, avx512 ? trellis_scores_avx512(spec.bits) : nullptr);
    case CodeKind::affine:
    case CodeKind::integer:
      return affine_keys(spec, avx512 ? affine_scores_avx512(spec.bits) : nullptr);
    case CodeKind::mixed:
      return mixed_keys(spec, arithmetic);
    default:
      return {};
  }
}

ValueKernel find_value_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  if (spec.kind <= CodeKind::fp8_e4m3) return float_values(spec);
  if (arithmetic == AttentionArithmetic::precise) return {};
  const bool avx512 = has_avx512();
  switch (spec.kind) {
    case CodeKind::scalar:
      return scalar_values(spec, avx512 ? scalar_add_avx512(spec.bits) : nullptr);
    case CodeKind::trellis:
      return trellis_values(spec, avx512 ? trellis_add_avx512(spec.bits) : nullptr);
    case CodeKind::affine:
    case CodeKind::integer:
      return affine_values(spec, avx512 ? affine_add_avx512(spec.bits) : nullptr);
    case CodeKind::mixed:
      return mixed_values(spec, arithmetic);
    default:
      return {};
  }
}

}  // namespace veloxquant
