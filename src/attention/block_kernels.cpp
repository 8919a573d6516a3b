// The choice of block kernels by code, arithmetic and CPU level.
#include "attention/block_kernels.hpp"

#include <veloxquant/core/cpu.hpp>

#include "attention/scalar_blocks.hpp"

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
  if (spec.kind == CodeKind::scalar && level == Level::avx512)
    return scalar_keys(spec, scalar_scores_avx512(spec.bits));
  return {};
}

ValueKernel find_value_kernel(const CodeSpec& spec, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::precise) return {};
  const Level level = level_in_use();
  if (spec.kind == CodeKind::scalar && level == Level::avx512)
    return scalar_values(spec, scalar_add_avx512(spec.bits));
  return {};
}

}  // namespace veloxquant
