// Queries rounded to whole numbers in AVX-512 registers, 16 at a time. Only for files compiled for that
// level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace veloxquant {

// The lanes of coordinates c .. c + 15 that a row of `dims` has.
inline __attribute__((always_inline)) __mmask16 lanes_of_row(int dims, int c) {
  return static_cast<__mmask16>(dims - c >= 16 ? 0xffff : (1 << (dims - c)) - 1);
}

inline float largest_of_row(const float* row, int dims) {
  __m512 largest = _mm512_setzero_ps();
  for (int c = 0; c < dims; c += 16)
    largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes_of_row(dims, c), row + c)));
  return _mm512_reduce_max_ps(largest);
}

// Calls put(c, whole numbers nearest to factor * coordinates c .. c + 15), 0 beyond the row; returns their
// sum.
template <class Put>
inline __attribute__((always_inline)) std::int32_t round_row(const float* row, int dims, float factor,
                                                             const Put& put) {
  const __m512 by = _mm512_set1_ps(factor);
  __m512i sum = _mm512_setzero_si512();
  for (int c = 0; c < dims; c += 16) {
    const __m512i whole =
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes_of_row(dims, c), row + c), by));
    sum = _mm512_add_epi32(sum, whole);
    put(c, whole);
  }
  return _mm512_reduce_add_epi32(sum);
}

// Whole numbers that fit -> bytes.
inline __attribute__((always_inline)) void store_bytes(__m512i whole, std::int8_t* to) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(whole));
}

// Quads of a row -> theirs among those of all rows, `width` side by side.
inline void spread_quads(const std::int8_t* row, std::size_t quads, std::size_t width, std::int8_t* to) {
  for (std::size_t q = 0; q < quads; ++q) __builtin_memcpy(to + 4 * q * width, row + 4 * q, 4);
}

}  // namespace veloxquant
