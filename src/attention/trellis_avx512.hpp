// What the AVX-512 kernels of trellis codes share. Only for files compiled for that level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "attention/block_rows.hpp"
#include "attention/planes_avx512.hpp"
#include "attention/trellis_blocks.hpp"

namespace veloxquant {

inline __attribute__((always_inline)) __m512i load(const void* line) { return _mm512_load_si512(line); }

// Windows to bytes of the table, unsigned or (with the top bits flipped) signed.
class LookUp {
 public:
  inline __attribute__((always_inline)) LookUp(const TrellisBytes& table, std::uint8_t flip)
      : lower_(_mm512_xor_si512(load(table.bytes), _mm512_set1_epi8(static_cast<char>(flip)))),
        upper_(_mm512_xor_si512(load(table.bytes + 64), _mm512_set1_epi8(static_cast<char>(flip)))),
        spread_(_mm512_set1_epi8(static_cast<char>(0x80))) {}

  inline __attribute__((always_inline)) __m512i operator()(__m512i windows) const {
    // Every bit of a byte becomes its top bit.
    const __m512i negative = _mm512_gf2p8affine_epi64_epi8(windows, spread_, 0);
    const __m512i at = _mm512_xor_si512(windows, negative);
    return _mm512_xor_si512(_mm512_permutex2var_epi8(lower_, at, upper_), negative);
  }

 private:
  __m512i lower_, upper_, spread_;
};

// What half a step of the table, by which every signed byte is too low, adds up to.
struct HalfSums {
  float rows[kKernelRows];
};

inline HalfSums half_sums(const BlockWeights& weights, int rows, bool wide) {
  HalfSums sums;
  for (int r = 0; r < rows; ++r) {
    const auto sum = [r](const std::uint8_t* bytes) {
      return static_cast<float>(
          _mm512_reduce_add_epi64(_mm512_sad_epu8(load(bytes + r * kBlockTokens), _mm512_setzero_si512())));
    };
    sums.rows[r] = 0.5f * (wide ? 256.0f * sum(weights.u8) + sum(weights.low) : sum(weights.u8));
  }
  return sums;
}

}  // namespace veloxquant
