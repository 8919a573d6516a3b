// Fields of plane order (pack/plane_order.hpp) in AVX2 registers. Only for files compiled for that level.
//
// A register of plane order is 64 bytes; these functions give 32 of them, half 0 or 1: 8 tokens of a group of
// keys, or 8 dimensions of a unit of values.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace veloxquant {

// Half of line `line`, every byte shifted right by Shift bits (left if negative); what comes in from the
// neighbour is not cleared.
template <int Shift>
inline __attribute__((always_inline)) __m256i shifted_half(const std::uint8_t* lines, int line, int half) {
  const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(lines + 64 * line + 32 * half));
  if constexpr (Shift > 0) return _mm256_srli_epi16(x, Shift);
  if constexpr (Shift < 0) return _mm256_slli_epi16(x, -Shift);
  return x;
}

// Indices below 16 whose low three bits are the codes, from a plane of two bits and one of single bits, the
// latter shifted to bit 2.
inline __attribute__((always_inline)) __m256i joined_planes(__m256i low, __m256i high) {
  return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(3)),
                         _mm256_and_si256(high, _mm256_set1_epi8(4)));
}

// Half of register K (quad K / 4, group K % 4) of a unit of 8 dimensions of keys, as indices below 16 whose
// low `Bits` <= 4 bits are the codes. Bits above are junk, for tables that repeat.
template <int Bits, int K>
inline __attribute__((always_inline)) __m256i key_indices(const std::uint8_t* unit, int half) {
  if constexpr (Bits == 3) {
    return joined_planes(shifted_half<2 * (K % 4)>(unit, K / 4, half), shifted_half<K - 2>(unit, 2, half));
  } else {
    constexpr int kFields = 8 / Bits;
    return _mm256_and_si256(shifted_half<Bits*(K % kFields)>(unit, K / kFields, half), _mm256_set1_epi8(15));
  }
}

// Token quads of values are taken in steps of so many, those of a line of the plane with the most.
constexpr int value_step_quads(int bits) noexcept { return bits == 3 ? 8 : 8 / bits; }

// As key_indices(): half of token quad Q of a step of a unit of 16 dimensions of values.
template <int Bits, int Q>
inline __attribute__((always_inline)) __m256i value_indices(const std::uint8_t* unit, int step, int half) {
  if constexpr (Bits == 3) {
    return joined_planes(shifted_half<2 * (Q % 4)>(unit, 2 * step + Q / 4, half),
                         shifted_half<Q - 2>(unit, 4 + step, half));
  } else {
    return _mm256_and_si256(shifted_half<Bits * Q>(unit, step, half), _mm256_set1_epi8(15));
  }
}

}  // namespace veloxquant
