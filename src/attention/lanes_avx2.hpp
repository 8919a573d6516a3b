// Registers of AVX2 for the kernels that are written once for several levels (scalar_bytes.hpp). Only for
// files compiled for that level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "attention/kernel_inline.hpp"

namespace veloxquant {

// vpmaddubsw multiplies unsigned by signed bytes and adds two neighbours to 16 bits; nothing is lost there
// (ProductSums::of_two):
//
//     keys     unsigned t + 128 <= 255, signed queries |q| + |q'| <= 128
//     values   unsigned weights w <= 255, signed |t| <= 64
//
// vpmaddwd by ones adds the pairs to 32 bits.
struct Avx2 {
  using Bytes = __m256i;
  using Sums = __m256i;  // of 32 bits
  static constexpr int kBytes = 32;
  static constexpr int kSums = 8;                       // that stay in registers
  static constexpr int kKeyBias = 128, kValueBias = 0;  // what tables want added to be multiplied

  static VELOXQUANT_INLINE Bytes load(const void* bytes) {
    return _mm256_load_si256(static_cast<const __m256i*>(bytes));
  }
  static VELOXQUANT_INLINE Bytes load_unaligned(const void* bytes) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
  }
  // Bytes 40 to 63 of a line, then its first 8.
  static VELOXQUANT_INLINE Bytes load_around(const std::uint8_t* line) {
    std::int64_t begin;
    __builtin_memcpy(&begin, line, 8);
    const __m256i last = _mm256_blend_epi32(load(line + 32), _mm256_set1_epi64x(begin), 3);
    return _mm256_permute4x64_epi64(last, _MM_SHUFFLE(0, 3, 2, 1));
  }
  static VELOXQUANT_INLINE Bytes broadcast4(const void* bytes) {
    std::int32_t four;
    __builtin_memcpy(&four, bytes, 4);
    return _mm256_set1_epi32(four);
  }
  static VELOXQUANT_INLINE Bytes fill(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  static VELOXQUANT_INLINE Bytes both(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
  static VELOXQUANT_INLINE Bytes either(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
  // Every byte shifted right by Shift bits (left if negative); what comes in from the neighbour is not
  // cleared.
  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted(Bytes x) {
    if constexpr (Shift > 0) return _mm256_srli_epi16(x, Shift);
    if constexpr (Shift < 0) return _mm256_slli_epi16(x, -Shift);
    return x;
  }

  // Lanes of 32 and of 16 bits shifted right by Shift bits (left if negative).
  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted_words(Bytes x) {
    if constexpr (Shift > 0) return _mm256_srli_epi32(x, Shift);
    if constexpr (Shift < 0) return _mm256_slli_epi32(x, -Shift);
    return x;
  }
  template <int Shift>
  static VELOXQUANT_INLINE Bytes shifted_halves(Bytes x) {
    return shifted<Shift>(x);
  }
  // Even bytes (halves) of the first, odd ones of the second.
  static VELOXQUANT_INLINE Bytes odd_bytes_from(Bytes even, Bytes odd) {
    const __m256i low_bytes = _mm256_set1_epi16(255);
    return _mm256_or_si256(_mm256_and_si256(even, low_bytes), _mm256_andnot_si256(low_bytes, odd));
  }
  static VELOXQUANT_INLINE Bytes odd_halves_from(Bytes even, Bytes odd) {
    return _mm256_blend_epi16(even, odd, 0xaa);
  }
  // In every 128-bit block the low bytes of the halves of both.
  static VELOXQUANT_INLINE Bytes low_bytes(Bytes a, Bytes b) {
    const __m256i byte = _mm256_set1_epi16(255);
    return _mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
  }

  // 16 entries with a bias, and a look-up of indices below 16.
  static VELOXQUANT_INLINE Bytes table(const std::int8_t* entries, int bias) {
    const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(entries));
    return _mm256_add_epi8(_mm256_broadcastsi128_si256(bytes), fill(bias));
  }
  static VELOXQUANT_INLINE Bytes look_up(Bytes table, Bytes indices) {
    return _mm256_shuffle_epi8(table, indices);
  }

  static VELOXQUANT_INLINE Sums fill_sums(std::int32_t sum) { return _mm256_set1_epi32(sum); }
  static VELOXQUANT_INLINE Sums add_key_products(Sums sums, Bytes table_bytes, Bytes query) {
    return add_products(sums, table_bytes, query);
  }
  static VELOXQUANT_INLINE Sums add_value_products(Sums sums, Bytes table_bytes, Bytes weights) {
    return add_products(sums, weights, table_bytes);
  }
  // to <- step * sums, or that added.
  static VELOXQUANT_INLINE void store(float* to, Sums sums, float step) {
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(step)));
  }
  static VELOXQUANT_INLINE void add(float* to, Sums sums, float step) {
    _mm256_storeu_ps(to,
                     _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(step), _mm256_loadu_ps(to)));
  }

  // Asks for lines for the second cache: a share asked for at once has room there.
  static VELOXQUANT_INLINE void prefetch(const std::uint8_t* begin, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64)
      _mm_prefetch(reinterpret_cast<const char*>(begin + i), _MM_HINT_T1);
  }

 private:
  static VELOXQUANT_INLINE Sums add_products(Sums sums, Bytes unsigned_bytes, Bytes signed_bytes) {
    const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
    __m256i added = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    // Else the compiler adds up many products before the sum, for which there are no registers.
    asm("" : "+x"(added));
    return added;
  }
};

}  // namespace veloxquant
