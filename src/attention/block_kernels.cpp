// The choice of block kernels by code, arithmetic and CPU level.
#include "attention/block_kernels.hpp"

#include <string>
#include <veloxquant/core/cpu.hpp>

#include "attention/affine_blocks.hpp"
#include "attention/decoded_blocks.hpp"
#include "attention/float_blocks.hpp"
#include "attention/mixed_blocks.hpp"
#include "attention/product_blocks.hpp"
#include "attention/scalar_blocks.hpp"
#include "attention/scalar_words.hpp"
#include "attention/trellis_blocks.hpp"
#include "core/dispatch.hpp"

namespace veloxquant {
namespace {

// Levels of the kernels that are written in intrinsics: those for AVX-512 need VBMI, VBMI2, VNNI and GFNI,
// those for NEON dot products of bytes.
enum class KernelLevel { none, neon, avx2, avx512 };

KernelLevel kernel_level() {
  const std::string level = cpu_level();
  if (level == "AVX3_DL") return KernelLevel::avx512;
  if (level_has_dot_products()) return KernelLevel::neon;
  return level == "AVX3" || level == "AVX2" ? KernelLevel::avx2 : KernelLevel::none;
}

KeyKernel scalar_byte_keys(const CodeSpec& spec, KernelLevel level) {
  switch (level) {
    case KernelLevel::none:
      return {};
    case KernelLevel::neon:
      return scalar_keys(spec, scalar_scores_neon(spec.bits), ProductSums::of_four);
    case KernelLevel::avx2:
      return scalar_keys(spec, scalar_scores_avx2(spec.bits), ProductSums::of_two);
    case KernelLevel::avx512:
      KeyKernel kernel = scalar_keys(spec, scalar_scores_avx512(spec.bits), ProductSums::of_four);
      if (kernel.prepare != nullptr) kernel.prepare = prepare_scalar_bytes_avx512;
      return kernel;
  }
  return {};
}

ValueKernel scalar_byte_values(const CodeSpec& spec, KernelLevel level) {
  switch (level) {
    case KernelLevel::none:
      return {};
    case KernelLevel::neon:
      return scalar_values(spec, scalar_add_neon(spec.bits), ProductSums::of_four);
    case KernelLevel::avx2:
      return scalar_values(spec, scalar_add_avx2(spec.bits), ProductSums::of_two);
    case KernelLevel::avx512:
      return scalar_values(spec, scalar_add_avx512(spec.bits), ProductSums::of_four);
  }
  return {};
}

KeyKernel trellis_keys_of(const CodeSpec& spec, KernelLevel level) {
  switch (level) {
    case KernelLevel::none:
      return {};
    case KernelLevel::neon:
      return trellis_keys(spec, trellis_scores_neon(spec), Operands::bytes);
    case KernelLevel::avx2:
      return trellis_keys(spec, trellis_scores_avx2(spec), Operands::words);
    case KernelLevel::avx512:
      KeyKernel kernel = trellis_keys(spec, trellis_scores_avx512(spec), Operands::bytes);
      if (kernel.prepare != nullptr) kernel.prepare = prepare_trellis_bytes_avx512;
      return kernel;
  }
  return {};
}

ValueKernel trellis_values_of(const CodeSpec& spec, KernelLevel level) {
  switch (level) {
    case KernelLevel::none:
      return {};
    case KernelLevel::neon:
      return trellis_values(spec, trellis_add_neon(spec), Operands::bytes);
    case KernelLevel::avx2:
      return trellis_values(spec, trellis_add_avx2(spec), Operands::words);
    case KernelLevel::avx512:
      return trellis_values(spec, trellis_add_avx512(spec), Operands::bytes);
  }
  return {};
}

KeyKernel::Scores scalar_word_scores(const CodeSpec& spec, KernelLevel level) {
  if (level == KernelLevel::avx512) return scalar_word_scores_avx512(spec.bits);
  return level == KernelLevel::avx2 && has_odd_table(spec) ? scalar_word_scores_avx2(spec.bits) : nullptr;
}

ValueKernel::Add scalar_word_add(const CodeSpec& spec, KernelLevel level) {
  if (level == KernelLevel::avx512) return scalar_word_add_avx512(spec.bits);
  return level == KernelLevel::avx2 && has_odd_table(spec) ? scalar_word_add_avx2(spec.bits) : nullptr;
}

}  // namespace

bool has_odd_table(const CodeSpec& spec) {
  const std::vector<float>& table = *spec.table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (table[table.size() - 1 - i] != -table[i]) return false;
  }
  return true;
}

KeyKernel find_key_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  if (spec.kind <= CodeKind::fp8_e4m3) return float_keys(spec);
  if (spec.kind == CodeKind::mixed) {
    KeyKernel kernel = mixed_keys(spec, arithmetic);
    return kernel.scores != nullptr ? kernel : decoded_keys(spec);
  }
  if (spec.kind == CodeKind::product) return product_keys(spec);
  if (arithmetic == AttentionArithmetic::precise) return {};
  const KernelLevel level = kernel_level();
  const bool avx512 = level == KernelLevel::avx512;
  switch (spec.kind) {
    case CodeKind::scalar:
      return spec.bits > 4 ? scalar_word_keys(spec, scalar_word_scores(spec, level))
                           : scalar_byte_keys(spec, level);
    case CodeKind::trellis:
      return trellis_keys_of(spec, level);
    case CodeKind::affine:
    case CodeKind::integer:
      if (level == KernelLevel::avx2)
        return affine_keys(spec, affine_scores_avx2(spec.bits), Operands::words);
      return affine_keys(spec, avx512 ? affine_scores_avx512(spec.bits) : nullptr, Operands::bytes);
    default:
      return {};
  }
}

ValueKernel find_value_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic) {
  if (spec.kind <= CodeKind::fp8_e4m3) return float_values(spec);
  if (spec.kind == CodeKind::mixed) {
    ValueKernel kernel = mixed_values(spec, arithmetic);
    return kernel.add != nullptr ? kernel : decoded_values(spec);
  }
  if (spec.kind == CodeKind::product) return decoded_values(spec);
  if (arithmetic == AttentionArithmetic::precise) return {};
  const KernelLevel level = kernel_level();
  const bool avx512 = level == KernelLevel::avx512;
  switch (spec.kind) {
    case CodeKind::scalar:
      return spec.bits > 4 ? scalar_word_values(spec, scalar_word_add(spec, level))
                           : scalar_byte_values(spec, level);
    case CodeKind::trellis:
      return trellis_values_of(spec, level);
    case CodeKind::affine:
    case CodeKind::integer:
      if (level == KernelLevel::avx2) return affine_values(spec, affine_add_avx2(spec.bits));
      return affine_values(spec, avx512 ? affine_add_avx512(spec.bits) : nullptr);
    default:
      return {};
  }
}

}  // namespace veloxquant
