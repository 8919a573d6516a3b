// Block kernels of affine and integer codes: a scale s and a bias z for each group of dimensions of each
// vector.
//
// With codes u (integer codes: q = u - zero, so z = -zero * s),
//
//     score   <q, k>     = sum over groups g of   s_g * sum_c q_c u_c  +  z_g * sum_c q_c
//     sums    sum_t w_t v_t[c] = sum_t (w_t s_g(t)) u_t[c]  +  sum_t w_t z_g(t)
//
// Codes of up to 8 bits are exact as bytes. Queries, and weights times scales, are rounded to 15 bits and
// sign, because 8 bits of code deserve more than 8 bits of query: high and low bytes apart, or words.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/block_kernels.hpp"
#include "attention/block_rows.hpp"

namespace veloxquant {

// The largest rounded query or weight, as high and low bytes of which the high one is at most 127. Sums of
// products of words fit in 32 bits for groups of keys up to kMostWordGroup, and for the 64 tokens of values.
inline constexpr float kAffineTop = 127.0f * 256.0f;
inline constexpr int kMostWordGroup = 256;
static_assert(std::int64_t{kMostWordGroup} * 255 * (127 * 256) < (std::int64_t{1} << 31));

inline constexpr int kMaxGroups = 32;  // has_group_order() sees to it

// Head of the prepared queries; high bytes [quad][row of `width`][4] follow, then low bytes; or words at
// query_word_place().
struct alignas(64) AffineQueryHead {
  float step[kKernelRows];
  float group_sum[kMaxGroups][kKernelRows];  // of the query's rounded coordinates
};

// What is added to a code of an integer kind to be unsigned.
constexpr int integer_zero(const CodeSpec& spec) noexcept {
  return spec.kind != CodeKind::integer ? 0 : spec.bits == 8 ? 128 : 8;
}

// The kernels of an affine or integer code with these inner loops; without functions where there are none, or
// where the code has no group order.
KeyKernel affine_keys(const CodeSpec& spec, KeyKernel::Scores scores, Operands operands);
ValueKernel affine_values(const CodeSpec& spec, ValueKernel::Add add);

// The inner loops of a level, null where it has none.
KeyKernel::Scores affine_scores_avx512(int bits) noexcept;
ValueKernel::Add affine_add_avx512(int bits) noexcept;
KeyKernel::Scores affine_scores_avx2(int bits) noexcept;
ValueKernel::Add affine_add_avx2(int bits) noexcept;

}  // namespace veloxquant
