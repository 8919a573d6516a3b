// Block kernels of scalar codes of 5 to 8 bits: products of 16-bit words, because bytes would lose more than
// such codes do. What levels share.
//
// Sums stay within 32 bits: table words are at most kTableTop in magnitude, and
//
//     keys     the magnitudes of a query's words add up to at most kQuerySum:    kQuerySum * kTableTop < 2^31
//     values   weights are at most kWeightTop, of 64 tokens:               64 * kWeightTop * kTableTop < 2^31
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/block_kernels.hpp"

namespace veloxquant {

inline constexpr int kTableTop = 4095, kWeightTop = 8191, kQuerySum = 524000;

// The table of the code, value = step * word.
struct alignas(64) WordTable {
  std::int16_t words[256];
  float step;
};

// Head of the prepared queries; words at query_word_place() follow.
struct alignas(64) WordQueryHead {
  float step[kKernelRows];  // of the scores
};

// The kernels of a scalar code of 5 to 8 bits with these inner loops; without functions where there are none.
KeyKernel scalar_word_keys(const CodeSpec& spec, KeyKernel::Scores scores);
ValueKernel scalar_word_values(const CodeSpec& spec, ValueKernel::Add add);

// The inner loops of a level, null for other widths, and where it has none. Those of AVX2 read odd tables
// only.
KeyKernel::Scores scalar_word_scores_avx512(int bits) noexcept;
ValueKernel::Add scalar_word_add_avx512(int bits) noexcept;
KeyKernel::Scores scalar_word_scores_avx2(int bits) noexcept;
ValueKernel::Add scalar_word_add_avx2(int bits) noexcept;

}  // namespace veloxquant
